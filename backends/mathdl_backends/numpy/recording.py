"""A task taken down call by call, and run again without the Python between the calls.

A small step spends more time on finding out what to call than in the calls. But it makes the same calls on the same
buffers every time (DESIGN: a step reads and writes fixed buffers only). So its first run is recorded, on arrays that
take down what is done to them, `Recorded`; every result becomes a buffer of its own. The second run is made both ways,
from the same state, and only if all bits agree is the record run from then on. What cannot be recorded (a call that
answers to the numbers, an array that comes from elsewhere, too much memory) runs as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from threading import local
from typing import Any, TypeVar

import numpy as np

_MOST_BYTES = {False: 6 << 20, True: 64 << 20}
"""Results that a record may hold, by whether a pool runs it. Without one, larger steps spend their time in the calls
anyway, and memory that is used again is warmer."""

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
        if function is np.empty_like:  # nothing is in it yet: no call need be repeated
            args, keywords = _plain_leaves(args), _plain_leaves(keywords)
            return np.empty_like(*args, **keywords).view(Recorded)
        return _taken_down(function, *args, **keywords)

    def __getitem__(self, key: Any) -> Any:
        if _is_basic(key):
            return super().__getitem__(_of_arrays(key))
        return _taken_down(np.ndarray.__getitem__, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not _is_basic(key):
            raise Unrecordable("an assignment to chosen entries")
        _written(np.copyto, plain(self)[_of_arrays(key)], plain(value), "unsafe")

    def take(self, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
        source, indices = plain(self), plain(indices)
        return _made(source.take(indices, axis), lambda made: (source.take, (indices, axis, made, "wrap")))

    def astype(self, dtype: Any, copy: bool = True, **_: Any) -> Any:  # type: ignore[override]
        if self.dtype == dtype and not copy:
            return self
        source = plain(self)
        return _made(source.astype(dtype), lambda made: (np.copyto, (made, source, "unsafe")))

    def argmax(self, axis: Any = None, out: Any = None, *, keepdims: bool = False) -> Any:
        source = plain(self)
        function = partial(source.argmax, keepdims=True) if keepdims else source.argmax
        return _made(function(axis), lambda made: (function, (axis, made)))

    def reshape(self, *shape: Any, **keywords: Any) -> Any:
        return _taken_down(np.ndarray.reshape, self, *shape, **keywords)


class Recorder:
    """The calls of a task, in their order."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.bytes = 0

    def ufunc(self, ufunc: Any, method: str, inputs: Any, out: Any, keywords: dict[str, Any]) -> Any:
        """A call of a NumPy ufunc, or its reduction."""
        operands = [plain(A) for A in inputs]
        if method == "reduce":
            before: tuple[Any, ...] = operands[0], keywords.pop("axis", 0), keywords.pop("dtype", None)
            after: tuple[Any, ...] = (keywords.pop("keepdims", False),)
            function = ufunc.reduce
            if keywords:
                raise Unrecordable(f"{ufunc.__name__}.reduce with {', '.join(keywords)}")
        elif method == "__call__" and ufunc.nout == 1:
            function = partial(ufunc, **keywords) if keywords else ufunc
            before, after = tuple(_as_arrays(operands)), ()
        else:
            raise Unrecordable(f"{ufunc.__name__}.{method}")
        if out is None or out[0] is None:
            return self.made(function(*before, None, *after), lambda made: (function, (*before, made, *after)))
        if not isinstance(out[0], Recorded):
            raise Unrecordable("a result written to an array that comes from elsewhere")
        into = plain(out[0])
        function(*before, into, *after)
        self.calls.append((function, (*before, into, *after)))
        return out[0]

    def made(self, result: Any, call: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]) -> Any:
        """A new array that a call makes; run again, `call(array)` writes it."""
        array = np.asarray(result)
        if array is not result or array.base is not None:
            array = array.copy()  # a number, or a view: it gets memory of its own
        self.bytes += array.nbytes
        if self.bytes > self._most_bytes:
            raise Unrecordable("more than the record may hold")
        self.calls.append(call(array))
        return array.view(Recorded)

    def program(self, pool: Any) -> Callable[[], None]:
        """The calls as one function without arguments, those that the pool knows in programs of its own."""
        calls = self.calls if pool is None else pool.compiled(self.calls)
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
            args = tuple(plain(arg) for arg in args)
            recorder.calls.append((function, args))
        function(*args)

    return call  # type: ignore[return-value]


def plain(A: Any) -> Any:
    """The array itself, that takes nothing down."""
    return A.view(np.ndarray) if isinstance(A, Recorded) else A


def _written(function: Callable[..., Any], *args: Any) -> None:
    function(*args)
    if _current.recorder is not None:
        _current.recorder.calls.append((function, args))


def _made(result: Any, call: Callable[[Any], tuple[Callable[..., Any], tuple[Any, ...]]]) -> Any:
    return result if _current.recorder is None else _current.recorder.made(result, call)


def _taken_down(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Any function without side effects: what it makes is copied into the buffer; views need no call."""
    sources = [plain(A) for A in _leaves((args, keywords)) if isinstance(A, Recorded)]
    args, keywords = _plain_leaves(args), _plain_leaves(keywords)
    result = function(*args, **keywords)
    if result is None or not isinstance(result, np.ndarray | np.generic):
        raise Unrecordable(getattr(function, "__name__", str(function)))
    if any(np.may_share_memory(result, source) for source in sources):
        return result.view(Recorded)

    def again(made: Any) -> None:
        np.copyto(made, function(*args, **keywords), casting="unsafe")

    return _made(result, lambda made: (again, (made,)))


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, tuple | list):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    if isinstance(tree, dict):
        return _leaves(list(tree.values()))
    return [tree]


def _plain_leaves(tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        return type(tree)([_plain_leaves(branch) for branch in tree])
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
        return self._run()

    def _record(self) -> Any:
        before = [A.copy() for A in self._writes]
        recorder = _current.recorder = Recorder(_MOST_BYTES[self._pool() is not None])
        try:
            result = self._make(lambda A: A.view(Recorded))()
        except Exception:  # whatever a recorded array cannot do, or the task's own error: the eager run will tell
            _restore(self._writes, before)
            self._run = self._eager
            return self._eager()
        finally:
            _current.recorder = None
        self._program, self._result, self._run = recorder.program(self._pool()), result, self._try
        return result

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
    return [np.asarray(leaf) for leaf in _leaves(tree) if isinstance(leaf, np.ndarray | np.generic)]
