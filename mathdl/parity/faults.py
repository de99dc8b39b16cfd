"""Faults: what one device may get wrong, as data, and how side b is given one.

`faults.toml` beside this file holds those that ship, and says what a file of one's own may hold. Such a file holds
Python: it is run, like any program of yours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from inspect import getsource
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from mathdl import arrays
from mathdl.errors import FileFormatError, UsageError
from mathdl.parity import signatures
from mathdl.parity.rows import FAIL, WARN

SHIPPED = Path(__file__).with_name("faults.toml")


class Edit(NamedTuple):
    """In the functions of `module`, `old` becomes `new`."""

    module: str
    old: str
    new: str


class Fault(NamedTuple):
    """Something that is wrong on b alone."""

    name: str
    breaks: str
    functions: Mapping[str, str]
    """Function of the namespace, or primitive → the expression of what takes its place."""
    edits: tuple[Edit, ...]
    expected: str = ""
    """The beginning of the id of the rows that must find it; empty: any row."""
    verdict: str = FAIL

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the fault is there. Raises `UsageError` for edits and functions that do not fit."""
        with ExitStack() as stack:
            for edit in self.edits:
                stack.enter_context(_edited(self.name, edit))
            if self.functions:
                replacements = {name: _function(self.name, text) for name, text in self.functions.items()}
                permuted: Any = arrays.backend("permuted")
                stack.enter_context(permuted.faulty(**replacements))
            yield


def built_in() -> tuple[Fault, ...]:
    """The faults that ship."""
    return read_faults(SHIPPED)


def read_faults(path: Path) -> tuple[Fault, ...]:
    """The faults of a TOML file. Raises `FileFormatError` that says what is wrong, and in which fault."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileFormatError(f"no such file of faults: {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not a TOML file: {error}") from error
    tables = content.get("faults")
    if set(content) != {"faults"} or not isinstance(tables, list) or not tables:
        raise FileFormatError(
            f"{path}: expected tables [[faults]] and nothing else, got {', '.join(content) or 'none'}"
        )
    faults = tuple(_fault(f"{path}: fault {number}", table) for number, table in enumerate(tables, 1))
    names = [fault.name for fault in faults]
    for name in names:
        if names.count(name) > 1:
            raise FileFormatError(f"{path}: two faults are called {name!r}: a name must say which one survived")
    return faults


_KINDS: Mapping[str, type] = {
    "name": str,
    "breaks": str,
    "functions": dict,
    "edits": list,
    "expected": str,
    "verdict": str,
}


def _fault(place: str, table: Any) -> Fault:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise FileFormatError(f"{place}: expected a table with a name, got {table!r}")
    place = f"{place} ({table['name']})"
    for name, value in table.items():
        if name not in _KINDS:
            raise FileFormatError(f"{place}: unknown key {name!r}; known: {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[name]):
            raise FileFormatError(f"{place}: {name} must be a {_KINDS[name].__name__}, got {value!r}")
    functions, edits = table.get("functions", {}), table.get("edits", [])
    if not functions and not edits:
        raise FileFormatError(f"{place}: expected functions or edits, got neither")
    if not all(isinstance(text, str) for text in functions.values()):
        raise FileFormatError(f'{place}: functions must be {{ name = "expression" }}, got {functions!r}')
    for edit in edits:
        if not isinstance(edit, dict) or set(edit) != set(Edit._fields):
            raise FileFormatError(f"{place}: an edit must be {{ module, old, new }}, got {edit!r}")
    if table.get("verdict", FAIL) not in (FAIL, WARN):
        raise FileFormatError(f"{place}: verdict must be {FAIL} or {WARN}, got {table['verdict']!r}")
    return Fault(
        table["name"],
        table.get("breaks", ""),
        functions,
        tuple(Edit(**edit) for edit in edits),
        table.get("expected", ""),
        table.get("verdict", FAIL),
    )


# ------------------------------------------------------------------------------------------------------- functions


def _function(fault: str, text: str) -> Callable[..., Any]:
    """The replacement that an expression describes."""
    known: dict[str, Any] = {
        "np": np,
        "host": lambda A: arrays.to_host(A) if arrays.is_array(A) else A,
        "rounded": lambda A, bits: _like(A, signatures.rounded(arrays.to_host(A), bits)),
        "truncated": lambda A, bits: _like(A, signatures.truncated(arrays.to_host(A), bits)),
        "half": lambda A: _like(A, signatures.half(arrays.to_host(A))),
        "flushed": _flushed,
        "reordered": _reordered,
    }
    try:
        replacement: Any = eval(text, known)
    except Exception as error:
        raise UsageError(f"fault {fault!r}: not an expression that Python can read ({error}): {text}") from error
    if not callable(replacement):
        raise UsageError(f"fault {fault!r}: expected an expression for a function, got {text}")
    found: Callable[..., Any] = replacement
    return found


def _like(A: Any, values: Any) -> Any:
    """Values of the host as an array of the kind of A."""
    return arrays.device_of(A).put(values)


def _flushed(A: Any) -> Any:
    values = arrays.to_host(A)
    return _like(A, np.where(np.abs(values) < np.finfo(values.dtype).tiny, values.dtype.type(0), values))


def _reordered(healthy: Callable[..., Any], *arguments: Any, **where: Any) -> Any:
    """The healthy function, with sums in an order that nobody can foresee."""
    permuted: Any = arrays.backend("permuted")
    with permuted.reordered(int(np.random.default_rng().integers(1, 2**31))):
        return healthy(*arguments, **where)


# ----------------------------------------------------------------------------------------------------------- edits


@contextmanager
def _edited(fault: str, edit: Edit) -> Iterator[None]:
    """Give the functions of a module the code that its edited source has. Whoever holds such a function runs it."""
    try:
        module = import_module(edit.module)
    except ImportError as error:
        raise UsageError(f"fault {fault!r}: there is no module {edit.module!r}") from error
    source = getsource(module)
    if source.count(edit.old) != 1:
        raise UsageError(f"fault {fault!r}: in {edit.module} this stands {source.count(edit.old)} times: {edit.old}")
    try:
        compiled = compile(source.replace(edit.old, edit.new), str(module.__file__), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise UsageError(f"fault {fault!r}: what comes of {edit.module} is no Python: {error}") from error
    new = _codes(compiled)
    changed = [(f, new[f.__qualname__]) for f in _functions(module) if _differs(f.__code__, new.get(f.__qualname__))]
    if not changed:
        raise UsageError(f"fault {fault!r}: the edit of {edit.module} changes no function")
    before = [(f, f.__code__) for f, _ in changed]
    try:
        for function, code in changed:
            function.__code__ = code
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def _codes(compiled: CodeType) -> dict[str, CodeType]:
    """Qualified name → code, of every function in a module's code."""
    found = {}
    for constant in compiled.co_consts:
        if isinstance(constant, CodeType):
            found[constant.co_qualname] = constant
            found |= _codes(constant)
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions that a module defines, those of its classes, and the bodies of its primitives."""
    for value in vars(module).values():
        for found in (value, *(vars(value).values() if isinstance(value, type) else ())):
            found = getattr(found, "__wrapped__", found)
            if isinstance(found, FunctionType) and found.__module__ == module.__name__:
                yield found


def _differs(old: CodeType, new: CodeType | None) -> bool:
    if new is None:
        return False
    return (old.co_code, old.co_names, _values(old)) != (new.co_code, new.co_names, _values(new))


def _values(code: CodeType) -> tuple[Any, ...]:
    """The constants of a function, and those of the functions inside it."""
    return tuple((*_values(c), c.co_code, c.co_names) if isinstance(c, CodeType) else c for c in code.co_consts)
