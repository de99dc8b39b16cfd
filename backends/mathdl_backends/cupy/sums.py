"""CuPy kernels for the sums over instances: products of cuBLAS, written where they belong."""

from __future__ import annotations

from functools import cache
from typing import Any

from mathdl.primitive import Kernel
from mathdl_backends.cupy.blas import for_ever, matmul, matmul_into
from mathdl_backends.cupy.fusing import forced, partial_column_sums
from mathdl_backends.cupy.lazy import Lazy


def sum_rows(D: Any, into: Any = None) -> Any:
    """Σ_i D(i). What waits is not computed for this, where it is large: it is added up as it is, in parts."""
    return _sum_rows(partial_column_sums(D) if isinstance(D, Lazy) else D, into)


def _by_product(D: Any, into: Any = None) -> Any:
    """Σ_i D(i) as a product with ones: CuPy's sum over the first axis fills a few of the multiprocessors only."""
    ones = _ones(D.shape[0], str(D.dtype), D.device.id)
    if into is None:
        return matmul(ones, D)
    matmul_into(ones[None, :], D, into[None, :])
    return into


def sum_outer(A: Any, D: Any, into: Any = None) -> Any:
    """Aᵀ D, written to `into` by the product itself."""
    return matmul(A.T, D) if into is None else matmul_into(A.T, D, into)


@cache
def _ones(n: int, dtype: str, device: int) -> Any:
    """On the current device, which is `device`; made in a step that runs call by call, before any capture.

    Never forgotten: graphs read it, and would read on where it has been.
    """
    return for_ever(lambda cupy: cupy.ones((n,), dtype=dtype))


def _matrix(D: Any, *_: Any, **__: Any) -> str | None:
    return None if D.ndim == 2 and D.dtype.kind == "f" else f"{D.ndim} axes of {D.dtype}"


_sum_rows = forced(_by_product, writes=(1,))

KERNELS = {
    "sum_rows": Kernel(sum_rows, _matrix),
    "sum_outer": Kernel(forced(sum_outer, writes=(2, "into"))),
}
