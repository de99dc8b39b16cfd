"""The propositions, a file per chapter. Needs SymPy, the extra `theory`."""

from __future__ import annotations

from mathdl.theory.chapters import (
    activations,
    algebra,
    backpropagation,
    convolution,
    dense,
    errata,
    initializers,
    losses,
    minibatches,
    normalization,
    optimizers,
    outputs,
    penalties,
    pooling,
    regression,
    regularization,
    schedules,
)
from mathdl.theory.proposition import Chapter, Proposition

CHAPTERS: tuple[Chapter, ...] = (
    algebra.CHAPTER,
    dense.CHAPTER,
    activations.CHAPTER,
    outputs.CHAPTER,
    losses.CHAPTER,
    regression.CHAPTER,
    convolution.CHAPTER,
    pooling.CHAPTER,
    normalization.CHAPTER,
    regularization.CHAPTER,
    backpropagation.CHAPTER,
    minibatches.CHAPTER,
    optimizers.CHAPTER,
    penalties.CHAPTER,
    schedules.CHAPTER,
    initializers.CHAPTER,
    errata.CHAPTER,
)
"""The chapters, in the order in which they are read."""


def by_id(chapters: tuple[Chapter, ...]) -> dict[str, Proposition]:
    """Every proposition by its id; raises `ValueError` if two have one id."""
    found: dict[str, Proposition] = {}
    for chapter in chapters:
        for proposition in chapter.propositions:
            if proposition.id in found:
                raise ValueError(f"two propositions are called {proposition.id!r}")
            found[proposition.id] = proposition
    return found


PROPOSITIONS: dict[str, Proposition] = by_id(CHAPTERS)
"""Every proposition by its id."""
