"""One trial: a process of its own, in which some modules of mathdl have another source, runs checks.

Run as a script, before anything of mathdl is imported: so it imports the standard library alone until the spoilt
sources are in place. It reads a `{"sources": …, "checks": …}` from standard input and writes what came of the checks.
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


class SpoiltSources(MetaPathFinder):
    """Finds the modules of `sources`, ahead of all other finders."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.sources:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = SpoiltLoader(fullname, spec.origin, self.sources[fullname])
        return spec
