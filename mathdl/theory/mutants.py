"""Mutants: ways to spoil the shipped code, as data, and the sources that they make of it.

`mutants.toml` beside this file holds those that ship; a file of one's own has the same form. The old text of an edit
must stand exactly once in the source of its module, so a list that no longer fits the code is an error and never a
mutant that changes nothing.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mathdl.errors import FileFormatError, UsageError

SHIPPED = Path(__file__).with_name("mutants.toml")
"""The mutants that every release must refuse."""

PACKAGES = ("mathdl", "mathdl_backends")
"""The packages whose code may be spoilt: what is computed, and how."""


class Edit(NamedTuple):
    """In the source of `module`, `old` becomes `new`."""

    module: str
    old: str
    new: str


class Mutant(NamedTuple):
    """One way to spoil the code: its name, what is wrong afterwards, and the edits that make it so."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    expected: str | None = None
    """The proposition that should refuse it."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that are spoilt, each once."""
        return tuple(dict.fromkeys(edit.module for edit in self.edits))


def read_mutants(path: Path = SHIPPED) -> tuple[Mutant, ...]:
    """The mutants of a TOML file. Raises `FileFormatError` that says what is missing, and in which mutant."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not a TOML file: {error}") from error
    tables = content.get("mutants")
    if set(content) != {"mutants"} or not isinstance(tables, list) or not tables:
        raise FileFormatError(
            f"{path}: expected tables [[mutants]] and nothing else, got {', '.join(content) or 'none'}"
        )
    mutants = tuple(_mutant(f"{path}: mutant {number}", table) for number, table in enumerate(tables, 1))
    names = [mutant.name for mutant in mutants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FileFormatError(f"{path}: two mutants are called {twice[0]!r}: a name must say which one survived")
    return mutants


def _mutant(place: str, table: Any) -> Mutant:
    name, breaks, edits = _fields(place, table, {"name": str, "breaks": str, "edits": list}, optional=("expected",))
    place = f"{place} ({name})"
    if not edits:
        raise FileFormatError(f"{place}: edits is empty; expected at least one {{ module, old, new }}")
    read = [Edit(*_fields(place, edit, {"module": str, "old": str, "new": str})) for edit in edits]
    return Mutant(name, breaks, tuple(read), table.get("expected"))


def _fields(place: str, table: Any, kinds: Mapping[str, type], optional: Sequence[str] = ()) -> list[Any]:
    """The values of these fields; raises `FileFormatError` unless the table has them, of these kinds, and no others."""
    if not isinstance(table, dict):
        raise FileFormatError(f"{place}: expected {{ {', '.join(kinds)} }}, got {table!r}")
    for name in [*kinds, *(name for name in optional if name in table)]:
        kind = kinds.get(name, str)
        if not isinstance(table.get(name), kind):
            got = f"got {table[name]!r}" if name in table else "it is missing"
            raise FileFormatError(f"{place}: {name} must be a {'string' if kind is str else 'list'}, {got}")
    for name in table:
        if name not in kinds and name not in optional:
            raise FileFormatError(f"{place}: unknown field {name!r}; expected {', '.join([*kinds, *optional])}")
    return [table[name] for name in kinds]


def spoilt_sources(mutant: Mutant) -> dict[str, str]:
    """{module: its source with the edits of the mutant}, in the order of the edits.

    Raises `UsageError` that names the mutant, for a module that is not mathdl's or an old text that does not stand
    exactly once in it.
    """
    sources: dict[str, str] = {}
    for module, old, new in mutant.edits:
        source = sources[module] if module in sources else _source(mutant, module)
        times = source.count(old)
        if times != 1:
            raise UsageError(
                f"mutant {mutant.name}: the old text must stand exactly once in {module}, found {times} times: {old!r}"
            )
        sources[module] = source.replace(old, new)
    return sources


def _source(mutant: Mutant, module: str) -> str:
    if module.partition(".")[0] not in PACKAGES:
        raise UsageError(f"mutant {mutant.name}: {module!r} is not a module of {' or '.join(PACKAGES)}")
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise UsageError(f"mutant {mutant.name}: there is no module {module!r}")
    return Path(spec.origin).read_text(encoding="utf-8")
