"""A task that runs from its record: recorded once, tried once beside the calls themselves, then replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mathdl_backends.numpy.compiled import compiled
from mathdl_backends.numpy.memory import Memory
from mathdl_backends.numpy.programs import Program
from mathdl_backends.numpy.recording import Call, Make, Recorder, arrays_of, is_recording, leaves, plain_leaves, record

_MOST_BYTES = {False: 6 << 20, True: 2 << 30}
_MOST_BYTES_APART = 64 << 20
"""Results that a record may hold, by whether a pool runs it. Without one, larger steps spend their time in the calls
anyway, and memory that is used again is warmer. And what it may hold where each result has memory of its own."""


class RecordedTask:
    """A task that is recorded at its first call, tried at its second, and run from the record from the third on.

    `writes` are the arrays that it changes. What it returns are buffers of the record: copy what is to stay.
    """

    def __init__(self, make: Make, writes: Sequence[Any], pool: Any) -> None:
        self._pool = pool
        self._eager = make(lambda A: A)
        self._make = make
        self._writes = writes
        self._memory = Memory(_MOST_BYTES[pool is not None])
        self._next = "record"
        self._program: Callable[[], None] | None = None
        self._result: Any = None
        self.calls = 0
        """How many calls were recorded."""
        self.refused: str | None = None
        """Why the task runs call by call, if it does."""

    def __call__(self) -> Any:
        if self._next == "replay" and self._program is not None and not is_recording():
            self._program()
            return self._result
        if self._next == "record" and not is_recording():
            return self._record()
        if self._next == "try" and not is_recording():
            return self._try()
        return self._eager()

    @property
    def program(self) -> Program | None:
        """The program that the task is, all of it; None as long as it is not, or is more than that."""
        return self._program if self._next == "replay" and isinstance(self._program, Program) else None

    @property
    def by_itself(self) -> Callable[[], None] | None:
        """What runs the task while no execution is open, if it is a program that needs no other thread."""
        program = self.program
        return program.by_itself if program is not None and program.alone and not is_recording() else None

    def _record(self) -> Any:
        before = [A.copy() for A in self._writes]
        try:
            recorder, result = record(self._make, self._memory)
            calls = self._calls(recorder, result)
            is_program = len(calls) == 1 and isinstance(calls[0].function, Program)
            if self._pool is not None and (not is_program or arrays_of(result)):
                # Programs between calls, or results that stay where they are: buffers are not placed anew, and the
                # order of a program is not that in which their memory was handed on.
                _restore(self._writes, before)
                self._memory = Memory(_MOST_BYTES_APART, hands_on=False)
                recorder, result = record(self._make, self._memory)
                calls = self._calls(recorder, result)
            self.calls = len(recorder.calls)
            only = calls[0].function if len(calls) == 1 else None
            self._program = only if isinstance(only, Program) else as_function(calls)
        except Exception as error:  # whatever a recorded array cannot do, or the task's own: the eager run will tell
            return self._refuse(f"{type(error).__name__}: {error}", before)
        self._result, self._next = plain_leaves(result), "try"
        return self._result

    def _calls(self, recorder: Recorder, result: Any) -> Sequence[Call]:
        for A in leaves(result):
            recorder.read(A)
        if self._pool is None:
            return recorder.calls
        memory = self._memory if self._memory.hands_on else None
        return compiled(recorder.calls, arrays_of(result), recorder.makes, self._pool, memory)

    def _try(self) -> Any:
        before = [A.copy() for A in self._writes]
        memory = self._memory if self._memory.hands_on else Memory(_MOST_BYTES_APART)
        memory.begin_anew()  # nothing of the first run is needed, and this needs no more than that did
        try:
            _, result = record(self._make, memory)
        except Exception as error:
            return self._refuse(f"{type(error).__name__}: {error}", before)
        expected = [A.copy() for A in (*arrays_of(plain_leaves(result)), *self._writes)]
        _restore(self._writes, before)
        assert self._program is not None
        self._program()
        found = [*arrays_of(self._result), *self._writes]
        if all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True)):
            self._next = "replay"
            self._memory.release()
            return self._result
        return self._refuse("the calls of the second run were others", before)

    def _refuse(self, why: str, before: Sequence[Any]) -> Any:
        self.refused, self._next = why, "eager"
        self._program = self._result = None
        self._memory.release()
        _restore(self._writes, before)
        return self._eager()


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


def _restore(arrays: Sequence[Any], values: Sequence[Any]) -> None:
    for A, value in zip(arrays, values, strict=True):
        A[...] = value
