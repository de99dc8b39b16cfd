"""The CuPy namespace: array-api-compat's, with a matmul and a sign that may be captured in a CUDA graph."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import array_api_compat.cupy as compat
import cupy

from mathdl_backends.cupy import lazy_names
from mathdl_backends.cupy.blas import matmul
from mathdl_backends.cupy.lazy import Lazy


def sign(X: Any) -> Any:
    """1, 0 or −1; NaN stays NaN. CuPy makes 0 of NaN, and array-api-compat mends that by a mask, which looks at the
    device from the host.
    """
    return cupy.where(cupy.isnan(X), X, cupy.sign(X))


namespace = ModuleType("mathdl_backends.cupy.names.namespace", "The array API functions for CuPy arrays.")
namespace.__dict__.update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
namespace.__dict__.update(matmul=matmul, sign=sign)

of_lazy_arrays = Lazy.own_namespace = lazy_names.namespace(namespace)
