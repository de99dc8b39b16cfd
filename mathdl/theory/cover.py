"""Which propositions speak of which code: what a class names in `propositions` covers its module, and all its imports.

So a change in `mathdl.windows` concerns the propositions of convolution and pooling; one in `mathdl.sums`, those of
every layer with parameters. A kernel concerns whom its primitive concerns.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mathdl_backends
from mathdl import initializers, layers, losses, optimizers, schedules
from mathdl.objective import Objective
from mathdl.primitive import PRIMITIVES
from mathdl.theory.mutants import PACKAGES


def covered_kinds() -> list[type]:
    """Every class of the library that names propositions: layers, losses, optimizers …, and the objective."""
    tables: tuple[Iterable[Any], ...] = (
        (getattr(layers, name) for name in layers.__all__),
        losses.LOSSES.values(),
        optimizers.OPTIMIZERS.values(),
        schedules.SCHEDULES.values(),
        initializers.INITIALIZERS.values(),
    )
    return [*(kind for table in tables for kind in table), Objective]


def concerned(modules: Collection[str], propositions: Collection[str]) -> list[str]:
    """Those of the propositions that a change in these modules concerns, the most direct first.

    What no class names, such as the chain rule, concerns every module. All propositions are concerned where no class
    answers for a module: what runs the training of every network, for example.
    """
    spoilt = {answerable for module in modules for answerable in _answerable(module)}
    kinds = covered_kinds()
    direct = _named(kind for kind in kinds if kind.__module__ in spoilt)
    indirect = _named(kind for kind in kinds if not spoilt.isdisjoint(imported_by(kind.__module__)))
    named = set(_named(kinds))
    unnamed = [name for name in propositions if name not in named]
    if not spoilt <= {module for kind in kinds for module in imported_by(kind.__module__)}:
        indirect = list(propositions)
    return [name for name in dict.fromkeys([*direct, *indirect, *unnamed]) if name in propositions]


def _named(kinds: Iterable[type]) -> list[str]:
    return [name for kind in kinds for name in getattr(kind, "propositions", ())]


def _answerable(module: str) -> Iterator[str]:
    """The module itself; of a backend's kernels, the modules of their primitives."""
    if not module.startswith("mathdl_backends."):
        yield module
        return
    backend = import_module(".".join(module.split(".")[:2]))
    kernels = backend.kernels() if getattr(backend, "NAME", None) in mathdl_backends.MODULES else {}
    own = [name for name, kernel in kernels.items() if kernel.run.__module__ == module]
    yield from (PRIMITIVES[name].__module__ for name in own) if own else (module,)


@cache
def imported_by(module: str) -> frozenset[str]:
    """The module, and all modules of mathdl that it imports, or that those import."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_imports(name))
    return frozenset(seen)


@cache
def _imports(module: str) -> tuple[str, ...]:
    """The modules of mathdl that stand in the import statements of a module."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ()
    found = []
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(
        name for name in found if name.startswith(tuple(f"{package}." for package in PACKAGES)) and _is_module(name)
    )


@cache
def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a member of a module, which is no package
        return False
