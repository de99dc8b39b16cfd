"""A task taken down call by call, and run again without the Python between the calls.

A small step spends more time on finding out what to call than in the calls. But it makes the same calls on the same
buffers every time (DESIGN: a step reads and writes fixed buffers only). So its first run is recorded, on arrays that
take down what is done to them, `Recorded`; every result becomes a buffer of its own. The second run is made both ways,
from the same state, and only if all bits agree is the record run from then on. What cannot be recorded (a call that
answers to the numbers, an array that comes from elsewhere, too much memory) runs as before.

What a layer, a loss, a metric and an optimizer owe for this: they are pure functions of their arguments (DESIGN). Much
of what is not is noticed: host numbers made of arrays, arrays of its own that it reads, and all that differs between
the first two steps. Not noticed is a Python number that changes only later: a counter of its own that a layer compares
with 100, say, is seen as the record found it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from functools import partial, wraps
from threading import local
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mathdl_backends.numpy.memory import Buffer, Hold, Memory, owner

_OF_FIXED_SHAPE = frozenset(
    """argmax argmin argsort broadcast_to clip concatenate copy cumprod cumsum dot einsum expand_dims flatten flip
    full_like max mean min moveaxis ones_like outer pad prod ravel reshape roll round sort squeeze stack std sum
    swapaxes take tensordot tile trace transpose tril triu var vdot where zeros_like""".split()  # noqa: SIM905
)
"""Functions and methods that make one array, whose shape the numbers do not decide."""

F = TypeVar("F", bound=Callable[..., None])
Make = Callable[[Callable[[Any], Any]], Callable[[], Any]]
"""make(view): the task, on arrays that are seen through `view`."""


class Call(NamedTuple):
    """function(*args), and the arrays that it reads and writes, all of them."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    reads: tuple[Any, ...]
    writes: tuple[Any, ...]


class Unrecordable(Exception):
    """Raised while recording, by what cannot be taken down."""


class _Current(local):
    recorder: Recorder | None = None


_current = _Current()


def is_recording() -> bool:
    """Whether this thread takes down what it does: what other threads did for it would be missing."""
    return _current.recorder is not None


class Recorded(np.ndarray):
    """An array that takes down what is done to it, in this thread's recorder; without one, an array like any other."""

    hold: Hold | None = None
    """What keeps the array's memory from being handed on: every view of it has it too."""

    def __array_finalize__(self, origin: Any) -> None:
        self.hold = getattr(origin, "hold", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any) -> Any:
        recorder = _current.recorder
        if recorder is not None:
            return recorder.ufunc(ufunc, method, inputs, out, keywords)
        if out is not None:
            keywords["out"] = tuple(plain(A) for A in out)
        return getattr(ufunc, method)(*map(plain, inputs), **keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        if function is np.empty_like and _current.recorder is not None:  # nothing is in it: no call to be repeated
            return _current.recorder.buffer(np.empty_like(*plain_leaves(args), **plain_leaves(keywords)))[1]
        return _taken_down(function, *args, **keywords)

    def __getitem__(self, key: Any) -> Any:
        if _is_basic(key):
            return super().__getitem__(_of_arrays(key))
        return _taken_down(np.ndarray.__getitem__, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        recorder = _current.recorder
        if recorder is None:
            plain(self)[plain(key)] = plain(value)
            return
        if not _is_basic(key):
            raise Unrecordable("an assignment to chosen entries")
        recorder.write(np.copyto, self[key], value)

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
        recorder = _current.recorder
        if recorder is None or out is not None or mode != "raise":
            return _taken_down(np.ndarray.take, self, indices, axis, out, mode)
        source, found = recorder.read(self), recorder.read(indices)
        # Without a check for indices that lie outside: it costs a copy, and the rows of minibatches lie inside.
        mode = "wrap" if recorder.is_given(found) else "raise"
        return recorder.made(source.take(found, axis), lambda made: (source.take, (found, axis, made, mode)))

    def astype(self, dtype: Any, copy: bool = True, **_: Any) -> Any:  # type: ignore[override]
        if self.dtype == dtype and not copy:
            return self
        recorder = _current.recorder
        if recorder is None:
            return plain(self).astype(dtype)
        source = recorder.read(self)
        return recorder.made(source.astype(dtype), lambda made: (np.copyto, (made, source, "unsafe")))

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        recorder = _current.recorder
        if recorder is None or out is not None:
            return _taken_down(np.ndarray.argmax, self, axis, out, keepdims=keepdims)
        source = recorder.read(self)
        function = partial(source.argmax, keepdims=True) if keepdims else source.argmax
        return recorder.made(function(axis), lambda made: (function, (axis, made)))


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: Recorded, *args: Any, **keywords: Any) -> Any:
        return _taken_down(function, self, *args, **keywords)

    return method


# All other methods; sum and its like call ufuncs, and are taken down there. Host numbers cannot be taken down at all.
_ARE_UFUNCS = {"all", "any", "clip", "max", "mean", "min", "prod", "std", "sum", "var"}
_TO_THE_HOST = {
    "__bool__",
    "__complex__",
    "__contains__",
    "__copy__",
    "__deepcopy__",
    "__float__",
    "__index__",
    "__int__",
}
for _name in {name for name in dir(np.ndarray) if name[0] != "_"} | _TO_THE_HOST:
    if _name not in {*vars(Recorded), *_ARE_UFUNCS, "view"} and callable(getattr(np.ndarray, _name)):
        setattr(Recorded, _name, _method(_name))
Recorded.flat = property(lambda self: _taken_down(np.ndarray.flat.__get__, self))  # type: ignore[assignment]


def maximum(A: Any, B: Any, out: Any = None, **options: Any) -> Any:
    """np.maximum, which takes its result by name only (so does np.minimum)."""
    return np.maximum(A, B, out=out, **options)


def minimum(A: Any, B: Any, out: Any = None, **options: Any) -> Any:
    """np.minimum, likewise."""
    return np.minimum(A, B, out=out, **options)


_OUT_BY_NAME = {np.maximum: maximum, np.minimum: minimum}


class Recorder:
    """The calls of a task, in their order."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.calls: list[Call] = []
        self._given: dict[int, Any] = {}
        self._buffers: dict[int, Any] = {}
        """What owns the memory of the task's own arrays, and of those that the record makes, by identity."""

    def given(self, A: Any) -> Any:
        """An array of the task, to be recorded on."""
        self._given[id(owner(A))] = owner(A)
        return A.view(Recorded)

    def makes(self, A: Any) -> bool:
        """Whether A lies in a buffer of the record, which nobody else knows."""
        return id(owner(A)) in self._buffers

    def is_given(self, A: Any) -> bool:
        """Whether A is the task's own, or fixed: nothing that its calls make."""
        return not self.makes(A)

    def read(self, A: Any) -> Any:
        """A, plain, if it will be at every run what the step makes it: not what was made outside of the record."""
        if isinstance(A, np.ndarray):
            own = owner(A)
            if id(own) not in self._given and id(own) not in self._buffers and own.flags.writeable:
                raise Unrecordable("an array that comes from elsewhere")
            if isinstance(own, Buffer) and not isinstance(A, Recorded):
                raise Unrecordable("an array without its hold: its memory may be another's by now")
        return plain(A)

    def write(self, function: Callable[..., Any], into: Any, value: Any) -> None:
        """into ← value, again at every run."""
        into = self.read(into)
        args = into, self.read(value), "unsafe"
        function(*args)
        self.add(function, args, into)

    def buffer(self, A: Any) -> tuple[Any, Any]:
        """(a new array of the record that is like A, the same to be recorded on)."""
        hold = Hold()
        array = self._memory.like(A, hold)
        if array is None:
            raise Unrecordable("more than the record may hold")
        own, recorded = owner(array), array.view(Recorded)
        self._buffers[id(own)], recorded.hold = own, hold
        return array, recorded

    def constant(self, A: Any) -> Any:
        """An array of numbers that stay: it cannot be written to."""
        A.flags.writeable = False
        self._buffers[id(A)] = A
        return A.view(Recorded)

    def ufunc(self, ufunc: Any, method: str, inputs: Any, out: Any, keywords: dict[str, Any]) -> Any:
        """A call of a NumPy ufunc, or its reduction."""
        operands = [self.read(A) for A in inputs]
        if any(isinstance(value, np.ndarray) for value in keywords.values()):
            raise Unrecordable(f"{ufunc.__name__} with an array as an option")
        if method == "reduce":
            before: tuple[Any, ...] = operands[0], keywords.pop("axis", 0), keywords.pop("dtype", None)
            after: tuple[Any, ...] = (keywords.pop("keepdims", False),)
            function = ufunc.reduce
            if keywords.get("where") is True:
                del keywords["where"]  # the methods of arrays say so explicitly
            if keywords:
                raise Unrecordable(f"{ufunc.__name__}.reduce with {', '.join(keywords)}")
        elif method == "__call__" and ufunc.nout == 1:
            function = _OUT_BY_NAME.get(ufunc, ufunc)
            function = partial(function, **keywords) if keywords else function
            before, after = tuple(_as_arrays(operands)), ()
        else:
            raise Unrecordable(f"{ufunc.__name__}.{method}")
        if out is None or out[0] is None:
            return self.made(function(*before, None, *after), lambda made: (function, (*before, made, *after)))
        if not isinstance(out[0], Recorded):
            raise Unrecordable("a result written to an array that comes from elsewhere")
        into = self.read(out[0])
        function(*before, into, *after)
        self.add(function, (*before, into, *after), into)
        return out[0]

    def add(self, function: Callable[..., Any], args: tuple[Any, ...], into: Any, reads: Sequence[Any] = ()) -> None:
        """A call that writes `into`, and reads the arrays among its arguments, that whose method it is, and `reads`."""
        its_own = getattr(getattr(function, "func", function), "__self__", None)
        found = [A for A in (its_own, *args) if isinstance(A, np.ndarray) and A is not into]
        self.calls.append(Call(function, args, (*found, *reads), (into,)))

    def made(
        self,
        result: Any,
        call: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]],
        reads: Sequence[Any] = (),
    ) -> Any:
        """A new array that a call makes; run again, `call(array)` writes it."""
        result = np.asarray(result)
        array, recorded = self.buffer(result)
        array[...] = result
        self.add(*call(array), array, reads)
        return recorded


def record(make: Make, memory: Memory) -> tuple[Recorder, Any]:
    """Run a task once, and take it down: (its calls, what it answers). Raises `Unrecordable`, or the task's error."""
    recorder = _current.recorder = Recorder(memory)
    try:
        return recorder, make(recorder.given)()
    finally:
        _current.recorder = None


def as_one_call(function: F) -> F:
    """A function that writes to its arguments and returns nothing: taken down as one call, whatever it does inside."""

    @wraps(function)
    def call(*args: Any) -> None:
        recorder = _current.recorder
        if recorder is not None:
            args = tuple(recorder.read(arg) for arg in args)
            arrays = tuple(arg for arg in args if isinstance(arg, np.ndarray))
            recorder.calls.append(Call(function, args, arrays, arrays))
        function(*args)

    return call  # type: ignore[return-value]


def plain(A: Any) -> Any:
    """The array itself, that takes nothing down."""
    return A.view(np.ndarray) if isinstance(A, Recorded) else A


def as_constant(function: F) -> F:
    """A function that makes an array of numbers only: while recording it cannot be written to, so it stays right."""

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        made: Any = function(*args, **keywords)
        if _current.recorder is None:
            return made
        return _current.recorder.constant(made)

    return call  # type: ignore[return-value]


def as_new(function: F) -> F:
    """A function that makes an array to be written to, of zeros or of anything: a buffer of the record, made anew."""

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        made: Any = function(*args, **keywords)
        recorder = _current.recorder
        if recorder is None:
            return made
        if function.__name__ == "empty":
            return recorder.buffer(made)[1]
        return recorder.made(made, lambda made: (np.copyto, (made, np.zeros((), made.dtype))))

    return call  # type: ignore[return-value]


def _taken_down(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Any function of fixed shape: what it makes is copied into a buffer of the record; views need no call."""
    recorder = _current.recorder
    if recorder is None:
        return function(*plain_leaves(args), **plain_leaves(keywords))
    name = getattr(function, "__name__", str(function))
    if name not in _OF_FIXED_SHAPE and not (name == "__getitem__" and not _has_mask(args[1])):
        raise Unrecordable(name)
    recorded: list[Recorded] = [A for A in leaves((args, keywords)) if isinstance(A, Recorded)]
    sources = [recorder.read(A) for A in leaves((args, keywords)) if isinstance(A, np.ndarray)]
    args, keywords = plain_leaves(args), plain_leaves(keywords)
    result = function(*args, **keywords)
    given = [id(A) for A in leaves((args, keywords))]
    if id(result) in given or not isinstance(result, np.ndarray | np.generic):
        raise Unrecordable(f"{name}, which writes to an array or makes none")
    if any(np.may_share_memory(result, source) for source in sources):
        view: Any = result.view(Recorded)
        view.hold = next(A.hold for A in recorded if np.may_share_memory(result, plain(A)))
        return view

    if name == "reshape" and isinstance(args[0], np.ndarray):  # a copy, of which only the strides are new
        source = args[0]
        return recorder.made(result, lambda made: (np.copyto, (made.reshape(source.shape), source, "unsafe")))

    def again(made: Any) -> None:
        np.copyto(made, function(*args, **keywords), casting="unsafe")

    return recorder.made(result, lambda made: (again, (made,)), sources)


def _has_mask(key: Any) -> bool:
    """Whether an index has a mask, that is a shape that the numbers decide."""
    return any(np.asarray(part).dtype == bool for part in leaves(key) if not isinstance(part, slice))


def leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in leaves(branch)]
    if isinstance(tree, dict):
        return leaves(list(tree.values()))
    if is_dataclass(tree) and not isinstance(tree, type):
        return leaves(vars(tree))
    return [tree]


def plain_leaves(tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        branches = [plain_leaves(branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    if isinstance(tree, dict):
        return {key: plain_leaves(value) for key, value in tree.items()}
    return plain(tree)


def _is_basic(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, int | slice) for part in parts)


def _of_arrays(key: Any) -> Any:
    """The key, such that it gives an array even where it names a single entry."""
    parts = key if isinstance(key, tuple) else (key,)
    return parts if Ellipsis in parts else (*parts, Ellipsis)


def _as_arrays(operands: list[Any]) -> list[Any]:
    """Python's numbers as arrays of the type that they take beside the arrays: NumPy converts them at every call."""
    kinds = [A.dtype for A in operands if isinstance(A, np.ndarray)]
    if not kinds or any(kind != kinds[0] for kind in kinds):
        return operands
    fits = {"f": (int, float), "i": (int,), "u": (int,)}.get(kinds[0].kind, ())
    return [_constant(A, kinds[0]) if isinstance(A, fits) and not isinstance(A, bool) else A for A in operands]


def _constant(number: Any, dtype: Any) -> Any:
    A = np.asarray(number, dtype=dtype)
    A.flags.writeable = False
    return A


def arrays_of(tree: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in leaves(tree) if isinstance(leaf, np.ndarray | np.generic | int | float)]
