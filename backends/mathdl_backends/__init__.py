"""HOW it is computed: the table of backends, and the protocol that each fulfils.

A backend is a module (or a package) of this folder, imported on first use by `mathdl.arrays.backend(name)`.
It imports `mathdl.primitive` and `mathdl.errors` at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["ARRAYS_FROM", "DEVICES", "MODULES", "Backend", "Execution"]

MODULES = {
    name: f"mathdl_backends.{name}" for name in ("numpy", "cupy", "strict", "symbolic", "dual", "rounding", "permuted")
}
"""Backend → the module that holds it."""

ARRAYS_FROM = {
    "numpy": "numpy",
    "cupy": "cupy",
    "mathdl_backends.cupy.lazy": "cupy",
    "array_api_strict": "strict",
    "mathdl_backends.symbolic.array": "symbolic",
    "mathdl_backends.dual.array": "dual",
    "mathdl_backends.rounding.array": "rounding",
    "mathdl_backends.permuted": "permuted",
}
"""Module of an array's type, or its top-level package → the backend it belongs to."""

DEVICES = {
    "cpu": "numpy",
    "cuda": "cupy",
    **{name: name for name in ("strict", "symbolic", "dual", "rounding", "permuted")},
}
"""Device as users write it (before ``:k``) → backend."""


class Execution(Protocol):
    """How the steps of one run are executed: a context manager, entered for as long as steps run."""

    lanes: int
    """How many tasks `side_by_side` runs at a time."""

    def __enter__(self) -> Execution: ...
    def __exit__(self, *error: object) -> None: ...

    def map(self, task: Callable[[int], Any], count: int) -> list[Any]:
        """`[task(0), …, task(count - 1)]`, on the workers; the first error is raised when all have ended.

        What a task answers of arrays seen through `view` are arrays of the backend."""
        ...

    def total(self, shard: int, count: int) -> Callable[[Any], Any]:
        """For a layer that couples instances: x ↦ Σ x over the shards of the minibatch, in the order of the shards."""
        ...

    def spread(self, task: Callable[[slice], Any], size: int) -> None:
        """`task` on slices that cover 0 … size: for elementwise work, whose bits no cut can change."""
        ...

    def recorded(self, make: Callable[[Callable[[Any], Any]], Callable[[], Any]], writes: Any) -> Callable[[], Any]:
        """A task that makes the same calls on the same buffers at every call, in a form that is quick to run again.

        `make(view)` makes the task on arrays that are seen through `view`; `writes` are the arrays that it changes. It
        may answer with buffers of its own, whose values the next call overwrites. A task may have `by_itself`: None, or
        what runs it while the execution is not open.
        """
        ...

    def view(self, A: Any) -> Any:
        """A as the tasks of `recorded` see it once they run: what is computed of it has the same bits."""
        ...

    def replay(self, task: Callable[[], Any]) -> None:
        """Run a task that `recorded` has made."""
        ...

    def run(self, gradient: Callable[[], Any], update: Callable[[], Any], J: Any, count: int) -> int:
        """`gradient` and `update` in turn, `count` times, as long as J (1,) is finite after `gradient`: how many times.

        The tasks are made by `recorded`, or plain functions. Where J is not finite, nothing is updated.
        """
        ...

    def side_by_side(self, tasks: Sequence[Any], own: Sequence[Sequence[Any]], whole: Sequence[Any]) -> bool:
        """Chunk after chunk of the arrays `whole`, each by one of the tasks: whether it was done.

        The tasks, made by `recorded`, do the same with arrays of their own: `own[j]` are those of `tasks[j]`, of the
        size of a chunk, which `whole` takes the place of, array by array. Where that cannot be done, nothing is.
        """
        ...

    def about(self, gradient: Callable[[], Any], update: Callable[[], Any]) -> str:
        """How `run` runs these two by now, in words: call by call, and why; or as one program or graph, and of what."""
        ...


class Backend(Protocol):
    """What a backend exports. (A module is checked against this like an object.)"""

    NAME: str
    MAX_SHARDS: int
    """The most shards that a step is cut into: 1 where a step is not cut."""
    MOST_ACTIVATIONS: int
    """Activations of a layer up to which rows are predicted at a time: those that stay in the cache, say."""
    namespace: Any

    def kernels(self) -> Mapping[str, Any]:
        """Primitive name → `mathdl.primitive.Kernel`."""
        ...

    def fuse(self, primitive: Any) -> Any:
        """A `Kernel` for a pointwise primitive, or None to run its body as it is."""
        ...

    def device(self, index: int) -> Any:
        """The handle of a device, as the namespace's `device=` arguments take it."""
        ...

    def device_name(self, A: Any) -> str:
        """The name, as users write it, of the device that A lives on."""
        ...

    def lives_on(self, A: Any, handle: Any) -> bool:
        """Whether A, an array of this backend, lives on that device."""
        ...

    def why_unusable(self) -> str | None:
        """None, or the reason why this backend cannot be used on this machine."""
        ...

    def to_host(self, A: Any) -> Any:
        """A as a NumPy array."""
        ...

    def from_host(self, A: Any, handle: Any, dtype: str | None = None) -> Any:
        """A NumPy array as an array on the device, cast to `dtype` (a name) if given."""
        ...

    def active(self, handle: Any) -> AbstractContextManager[Any]:
        """A context in which the device is the current one."""
        ...

    def aside(self, handle: Any) -> AbstractContextManager[Any]:
        """A context for what a thread puts on the device while others compute there: at its end all of it is there."""
        ...

    def execution(self, handle: Any, workers: int | None, shards: int, couples_instances: bool) -> Execution:
        """An `Execution` on the device for steps that are cut into `shards` shards."""
        ...
