"""One trial: a process in which some modules of mathdl have another source, and which asks checks about it.

It runs as a script, and imports nothing of mathdl until the spoilt sources are in place. It reads a request from
standard input, `{"sources": {module: source}, "propositions": [id, …]}`, and prints the first refusal,
`{"proposition": …, "kind": …, "check": …, "reason": …}`, or `null` if every check passed. A check that falls over, by
another error than a refusal, is only reported where no check refuses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any


class SpoiltLoader(SourceFileLoader):
    """Loads a module from its place, but from another source."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.source.encode(), self.path)
        return code


class SpoiltFinder(MetaPathFinder):
    """Finds the modules of `sources`, ahead of all other finders."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.sources:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = SpoiltLoader(fullname, spec.origin, self.sources[fullname])
        return spec


def first_refusal(ids: Sequence[str]) -> dict[str, str] | None:
    """The first check of these propositions that refuses; else the first that falls over; else None.

    Derivations are left out: they are computer algebra alone, and run no code that ships.
    """
    from mathdl.theory.chapters import PROPOSITIONS
    from mathdl.theory.check import Refused

    fallen: dict[str, str] | None = None
    for proposition in ids:
        for check in PROPOSITIONS[proposition].evidence:
            found = {"proposition": proposition, "kind": check.kind, "check": check.says}
            try:
                check.run()
            except Refused as refusal:
                return found | {"reason": str(refusal)}
            except Exception as error:
                fallen = fallen or found | {"reason": f"{type(error).__name__}: {error}"}
    return fallen


def main() -> None:
    """Answer the request on standard input."""
    request: dict[str, Any] = json.load(sys.stdin)
    sys.meta_path.insert(0, SpoiltFinder(request["sources"]))
    print(json.dumps(first_refusal(request["propositions"])))


if __name__ == "__main__":
    main()
