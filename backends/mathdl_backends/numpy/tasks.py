"""A task that runs from its record: recorded once, tried once beside the calls themselves, then replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mathdl_backends.numpy.compiled import compiled
from mathdl_backends.numpy.recording import Call, Make, Recorder, arrays_of, is_recording, leaves, plain_leaves, record

_MOST_BYTES = {False: 6 << 20, True: 2 << 30}
"""Results that a record may hold, by whether a pool runs it. Without one, larger steps spend their time in the calls
anyway, and memory that is used again is warmer."""


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
        return self._eager() if is_recording() else self._run()

    def _record(self) -> Any:
        before = [A.copy() for A in self._writes]
        try:
            recorder, result = record(self._make, _MOST_BYTES[self._pool() is not None])
            program = as_function(self._calls(recorder, result))
        except Exception:  # whatever a recorded array cannot do, or the task's own error: the eager run will tell
            self._run = self._eager
            _restore(self._writes, before)
            return self._eager()
        self._program, self._result, self._run = program, plain_leaves(result), self._try
        return self._result

    def _calls(self, recorder: Recorder, result: Any) -> Sequence[Call]:
        for A in leaves(result):
            recorder.read(A)
        pool = self._pool()
        return recorder.calls if pool is None else compiled(recorder.calls, arrays_of(result), recorder.makes, pool)

    def _try(self) -> Any:
        before = [A.copy() for A in self._writes]
        expected = [A.copy() for A in (*arrays_of(self._eager()), *self._writes)]
        _restore(self._writes, before)
        self._program()
        found = [*arrays_of(self._result), *self._writes]
        if all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True)):
            self._run = self._replay
            return self._result
        _restore(self._writes, before)
        self._run = self._eager
        return self._eager()

    def _replay(self) -> Any:
        self._program()
        return self._result


def as_function(calls: Sequence[Call]) -> Callable[[], None]:
    """The calls, one after the other, as one function without arguments."""
    names: dict[str, Any] = {}
    lines = []
    for j, call in enumerate(calls):
        names[f"f{j}"] = call.function
        names.update({f"a{j}_{k}": arg for k, arg in enumerate(call.args)})
        lines.append(f"    f{j}({', '.join(f'a{j}_{k}' for k in range(len(call.args)))})")
    head = f"def program({', '.join(f'{name}={name}' for name in names)}):"
    exec("\n".join([head, *lines, "    return None"]), names)  # names that we made, and nothing else
    program: Callable[[], None] = names["program"]
    return program


def _nothing() -> None:
    return None


def _restore(arrays: Sequence[Any], values: Sequence[Any]) -> None:
    for A, value in zip(arrays, values, strict=True):
        A[...] = value
