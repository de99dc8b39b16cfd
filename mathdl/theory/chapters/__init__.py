"""The propositions, a file per chapter. Needs SymPy, the extra `theory`."""

from __future__ import annotations

from mathdl.theory.chapters import activations, dense
from mathdl.theory.proposition import Chapter, Proposition

CHAPTERS: tuple[Chapter, ...] = (dense.CHAPTER, activations.CHAPTER)
"""The chapters, in the order in which they are read."""


def _by_id(chapters: tuple[Chapter, ...]) -> dict[str, Proposition]:
    found: dict[str, Proposition] = {}
    for chapter in chapters:
        for proposition in chapter.propositions:
            if proposition.id in found:
                raise ValueError(f"two propositions are called {proposition.id!r}")
            found[proposition.id] = proposition
    return found


PROPOSITIONS: dict[str, Proposition] = _by_id(CHAPTERS)
"""Every proposition by its id."""
