"""`@primitive` and `@pointwise`: a function written once, that a backend may run in a way of its own.

The body is the reference and says what the result is. A backend may register a `Kernel` by the function's name;
the kernel's `supports` returns None, or the *reason* why it does not take these arguments, and then the reference runs.
`Primitive.__call__` is the only branch on backends in the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

from mathdl.arrays import backend_of, namespace

PRIMITIVES: dict[str, Primitive] = {}
"""Every primitive by name."""

_reference_only: ContextVar[bool] = ContextVar("reference_only", default=False)


class Kernel(NamedTuple):
    """A backend's own way to run a primitive."""

    run: Callable[..., Any]
    supports: Callable[..., str | None] | None = None
    """None: always. Else a function of the same arguments that returns None, or the reason why not."""


class Primitive:
    """A function whose body is the reference, and for which a backend may have a `Kernel`."""

    def __init__(self, body: Callable[..., Any], pointwise: bool) -> None:
        self.name = self.__name__ = body.__name__
        self.__doc__ = body.__doc__
        self.__module__ = body.__module__
        self.__wrapped__ = body
        self.pointwise = pointwise
        self._runs: dict[type, Callable[..., Any]] = {}
        if self.name in PRIMITIVES:
            raise ValueError(f"two primitives are called {self.name!r}: kernels are registered by name")
        PRIMITIVES[self.name] = self

    def __call__(self, A: Any, *args: Any, **keywords: Any) -> Any:
        try:
            run = self._runs[type(A)]
        except KeyError:
            run = self._runs[type(A)] = self._choose(A)
        if _reference_only.get():
            return self.reference(A, *args, **keywords)
        return run(A, *args, **keywords)

    def reference(self, A: Any, *args: Any, **keywords: Any) -> Any:
        """Run the body itself."""
        if self.pointwise:
            return self.__wrapped__(namespace(A), A, *args, **keywords)
        return self.__wrapped__(A, *args, **keywords)

    def _choose(self, A: Any) -> Callable[..., Any]:
        """What runs for arrays of the type of A: decided once, so that a call costs no more than it must."""
        kernel = self._find(A)
        if kernel is None:
            return partial(self.__wrapped__, namespace(A)) if self.pointwise else self.__wrapped__
        supports = kernel.supports
        if supports is None:
            return kernel.run

        def run_if_supported(*args: Any, **keywords: Any) -> Any:
            return (kernel.run if supports(*args, **keywords) is None else self.reference)(*args, **keywords)

        return run_if_supported

    def explain(self, A: Any, *args: Any, **keywords: Any) -> str:
        """What a call with these arguments runs, and why: `numpy kernel`, or `reference: …`."""
        found, kernel = backend_of(A), self._find(A)
        if kernel is None:
            return f"reference: {found.NAME} has no kernel for {self.name}"
        if _reference_only.get():
            return "reference: kernels are switched off by reference_only()"
        reason = kernel.supports(A, *args, **keywords) if kernel.supports is not None else None
        return f"{found.NAME} kernel" if reason is None else f"reference: {found.NAME} declined, {reason}"

    def _find(self, A: Any) -> Kernel | None:
        found = backend_of(A)
        kernel: Kernel | None = found.kernels().get(self.name)
        return found.fuse(self) if kernel is None and self.pointwise else kernel


def primitive(body: Callable[..., Any]) -> Primitive:
    """Mark `body(A, …)` as a primitive: its first argument is the array that decides the backend."""
    return Primitive(body, pointwise=False)


def pointwise(body: Callable[..., Any]) -> Primitive:
    """Mark `body(xp, A, …)` as elementwise: a backend may fuse it into one kernel. Callers leave `xp` out."""
    return Primitive(body, pointwise=True)


@contextmanager
def reference_only() -> Iterator[None]:
    """Switch every kernel off: in this context (and the workers it starts) the references run."""
    token = _reference_only.set(True)
    try:
        yield
    finally:
        _reference_only.reset(token)
