"""The CuPy namespace: array-api-compat's, with a matmul that may be captured in a CUDA graph."""

from __future__ import annotations

from types import ModuleType

import array_api_compat.cupy as compat

from mathdl_backends.cupy.blas import matmul

namespace = ModuleType("mathdl_backends.cupy.names.namespace", "The array API functions for CuPy arrays.")
namespace.__dict__.update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
namespace.__dict__["matmul"] = matmul
