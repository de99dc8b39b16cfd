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
from typing import Any, TypeVar

import numpy as np

_MOST_BYTES = {False: 6 << 20, True: 64 << 20}
"""Results that a record may hold, by whether a pool runs it. Without one, larger steps spend their time in the calls
anyway, and memory that is used again is warmer."""

_OF_FIXED_SHAPE = frozenset(
    """argmax argmin argsort broadcast_to clip concatenate copy cumprod cumsum dot einsum expand_dims flatten flip
    full_like max mean min moveaxis ones_like outer pad prod ravel reshape roll round sort squeeze stack std sum
    swapaxes take tensordot tile trace transpose tril triu var vdot where zeros_like""".split()  # noqa: SIM905
)
"""Functions and methods that make one array, whose shape the numbers do not decide."""

F = TypeVar("F", bound=Callable[..., None])
Make = Callable[[Callable[[Any], Any]], Callable[[], Any]]
"""make(view): the task, on arrays that are seen through `view`."""


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

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **keywords: Any) -> Any:
        recorder = _current.recorder
        if recorder is not None:
            return recorder.ufunc(ufunc, method, inputs, out, keywords)
        if out is not None:
            keywords["out"] = tuple(plain(A) for A in out)
        return getattr(ufunc, method)(*map(plain, inputs), **keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        if function is np.empty_like and _current.recorder is not None:  # nothing is in it: no call to be repeated
            return _current.recorder.buffer(np.empty_like(*_plain_leaves(args), **_plain_leaves(keywords)))
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
        recorder.write(np.copyto, plain(self)[_of_arrays(key)], value)

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

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.bytes = 0
        self._given: dict[int, Any] = {}
        self._buffers: dict[int, Any] = {}
        """What owns the memory of the task's own arrays, and of those that the record makes, by identity."""

    def given(self, A: Any) -> Any:
        """An array of the task, to be recorded on."""
        self._given[id(_owner(A))] = _owner(A)
        return A.view(Recorded)

    def is_given(self, A: Any) -> bool:
        """Whether A is the task's own, or fixed: nothing that its calls make."""
        return id(_owner(A)) not in self._buffers

    def read(self, A: Any) -> Any:
        """A, plain, if it will be at every run what the step makes it: not what was made outside of the record."""
        if isinstance(A, np.ndarray):
            owner = _owner(A)
            if id(owner) not in self._given and id(owner) not in self._buffers and owner.flags.writeable:
                raise Unrecordable("an array that comes from elsewhere")
        return plain(A)

    def write(self, function: Callable[..., Any], into: Any, value: Any) -> None:
        """into ← value, again at every run."""
        self.read(into)
        args = into, self.read(value), "unsafe"
        function(*args)
        self.calls.append((function, args))

    def buffer(self, array: Any) -> Any:
        """A new array of the record."""
        self.bytes += array.nbytes
        if self.bytes > self._most_bytes:
            raise Unrecordable("more than the record may hold")
        self._buffers[id(array)] = array
        return array.view(Recorded)

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
        self.calls.append((function, (*before, into, *after)))
        return out[0]

    def made(self, result: Any, call: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]) -> Any:
        """A new array that a call makes; run again, `call(array)` writes it."""
        array = np.asarray(result)
        if array is not result or array.base is not None:
            array = array.copy()  # a number, or a view: it gets memory of its own
        recorded = self.buffer(array)
        self.calls.append(call(array))
        return recorded

    def program(self, pool: Any, result: Any) -> Callable[[], None]:
        """The calls as one function without arguments, those that the pool knows in programs of its own."""
        for A in _leaves(result):
            self.read(A)
        calls = self.calls if pool is None else pool.compiled(self.calls, _arrays(result))
        names: dict[str, Any] = {}
        lines = []
        for j, (function, args) in enumerate(calls):
            names[f"f{j}"] = function
            names.update({f"a{j}_{k}": arg for k, arg in enumerate(args)})
            lines.append(f"    f{j}({', '.join(f'a{j}_{k}' for k in range(len(args)))})")
        head = f"def program({', '.join(f'{name}={name}' for name in names)}):"
        exec("\n".join([head, *lines, "    return None"]), names)  # names that we made, and nothing else
        program: Callable[[], None] = names["program"]
        return program


def as_one_call(function: F) -> F:
    """A function that writes to its arguments and returns nothing: taken down as one call, whatever it does inside."""

    @wraps(function)
    def call(*args: Any) -> None:
        recorder = _current.recorder
        if recorder is not None:
            args = tuple(recorder.read(arg) for arg in args)
            recorder.calls.append((function, args))
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
        made.flags.writeable = False
        return _current.recorder.buffer(made)

    return call  # type: ignore[return-value]


def _owner(A: Any) -> Any:
    """The array that owns the memory of A."""
    while isinstance(A.base, np.ndarray):
        A = A.base
    return A


def _taken_down(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Any function of fixed shape: what it makes is copied into a buffer of the record; views need no call."""
    recorder = _current.recorder
    if recorder is None:
        return function(*_plain_leaves(args), **_plain_leaves(keywords))
    name = getattr(function, "__name__", str(function))
    if name not in _OF_FIXED_SHAPE and not (name == "__getitem__" and not _has_mask(args[1])):
        raise Unrecordable(name)
    sources = [recorder.read(A) for A in _leaves((args, keywords)) if isinstance(A, np.ndarray)]
    args, keywords = _plain_leaves(args), _plain_leaves(keywords)
    result = function(*args, **keywords)
    given = [id(A) for A in _leaves((args, keywords))]
    if id(result) in given or not isinstance(result, np.ndarray | np.generic):
        raise Unrecordable(f"{name}, which writes to an array or makes none")
    if any(np.may_share_memory(result, source) for source in sources):
        return result.view(Recorded)

    def again(made: Any) -> None:
        np.copyto(made, function(*args, **keywords), casting="unsafe")

    return recorder.made(result, lambda made: (again, (made,)))


def _has_mask(key: Any) -> bool:
    """Whether an index has a mask, that is a shape that the numbers decide."""
    return any(np.asarray(part).dtype == bool for part in _leaves(key) if not isinstance(part, slice))


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    if isinstance(tree, dict):
        return _leaves(list(tree.values()))
    if is_dataclass(tree) and not isinstance(tree, type):
        return _leaves(vars(tree))
    return [tree]


def _plain_leaves(tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        branches = [_plain_leaves(branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    if isinstance(tree, dict):
        return {key: _plain_leaves(value) for key, value in tree.items()}
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
    return [np.asarray(A, dtype=kinds[0]) if isinstance(A, fits) and not isinstance(A, bool) else A for A in operands]


class RecordedTask:
    """A task that is recorded at its first call, tried at its second, and run from the record from the third on.

    `writes` are the arrays that it changes. What it returns are buffers of the record: copy what is to stay.
    """

    def __init__(self, make: Make, writes: Sequence[Any], pool: Callable[[], Any]) -> None:
        self._pool = pool
        self._eager = make(lambda A: A)
        self._make = make
        self._writes = writes
        self.forget()

    def forget(self) -> None:
        """Begin anew: the pool has ended, and with it the record."""
        self._run: Callable[[], Any] = self._record
        self._program: Callable[[], None] = _nothing
        self._result: Any = None

    def __call__(self) -> Any:
        return self._run() if _current.recorder is None else self._eager()

    def _record(self) -> Any:
        before = [A.copy() for A in self._writes]
        recorder = _current.recorder = Recorder(_MOST_BYTES[self._pool() is not None])
        try:
            result = self._make(recorder.given)()
            program = recorder.program(self._pool(), result)
        except Exception:  # whatever a recorded array cannot do, or the task's own error: the eager run will tell
            self._run = self._eager
        else:
            self._program, self._result, self._run = program, _plain_leaves(result), self._try
            return self._result
        finally:
            _current.recorder = None
        _restore(self._writes, before)
        return self._eager()

    def _try(self) -> Any:
        before = [A.copy() for A in self._writes]
        expected = [A.copy() for A in (*_arrays(self._eager()), *self._writes)]
        _restore(self._writes, before)
        self._program()
        found = [*_arrays(self._result), *self._writes]
        if all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True)):
            self._run = self._replay
            return self._result
        _restore(self._writes, before)
        self._run = self._eager
        return self._eager()

    def _replay(self) -> Any:
        self._program()
        return self._result


def _nothing() -> None:
    return None


def _restore(arrays: Sequence[Any], values: Sequence[Any]) -> None:
    for A, value in zip(arrays, values, strict=True):
        A[...] = value


def _arrays(tree: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in _leaves(tree) if isinstance(leaf, np.ndarray | np.generic | int | float)]
