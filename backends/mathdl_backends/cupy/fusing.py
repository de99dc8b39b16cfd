"""`@pointwise` bodies as one CUDA kernel each, by `cupy.fuse`.

Its old engine makes an ElementwiseKernel of a body of ufuncs and operators. Whatever that cannot take goes, without a
word, to a newer engine whose kernels run on a small part of the GPU, and may be slower than no fusing at all: a body
that ended there runs as it is from then on, and `Primitive.explain` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from mathdl.primitive import Kernel


class Fused:
    """A body of (namespace, *arrays and numbers) as one kernel, compiled at its first call."""

    def __init__(self, name: str, body: Callable[..., Any], cupy: Any, namespace: Any) -> None:
        self._body = partial(body, namespace)
        self._kernel = cupy.fuse(kernel_name=name)(self._body)
        self._refused: str | None = None

    def __call__(self, *args: Any) -> Any:
        try:
            result = self._kernel(*args)
        except MemoryError:
            raise
        except Exception as error:  # either engine raises what it likes while it traces, and nothing ran yet
            self._refused = f"CuPy cannot fuse it ({error})"
            return self._body(*args)
        if getattr(self._kernel, "new_fusion", None) is not None:
            self._refused = "CuPy fuses it by an engine that is slow"
        return result

    def why_not(self, *args: Any, **keywords: Any) -> str | None:
        """None, or the reason why the body runs as it is."""
        return "a fused body takes its arguments by position" if keywords else self._refused


def fuse(primitive: Any, cupy: Any, namespace: Any) -> Kernel:
    """A kernel for a pointwise primitive."""
    fused = Fused(primitive.name, primitive.__wrapped__, cupy, namespace)
    return Kernel(fused, fused.why_not)
