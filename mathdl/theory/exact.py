"""Exact comparisons, and the two ways in which a primitive may run: a kernel's, and the reference's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import isclose
from typing import Any

import numpy as np

from mathdl.arrays import device
from mathdl.primitive import reference_only
from mathdl.theory import definitions
from mathdl.theory.check import Check, Kind, Role
from mathdl.theory.evidence import compares
from mathdl.theory.subject import Subject

Pairs = Callable[[], Iterable[tuple[str, Any, Any]]]
"""(name, what the code gave, what it must be), once or more often for each name."""


def exactly(kind: Kind, shows: Role, says: str, names: Sequence[str], pairs: Pairs) -> Check:
    """The check that the entries of every pair are the same numbers; a NaN is the same as a NaN."""
    return _compared(kind, shows, says, names, pairs, same)


def _compared(
    kind: Kind, shows: Role, says: str, names: Sequence[str], pairs: Pairs, equal: Callable[[Any, Any], bool]
) -> Check:
    def spoilt(spoil: Callable[[str, Any], Any]) -> Iterator[tuple[str, Any, Any]]:
        for name, found, expected in pairs():
            yield name, spoil(name, found), expected

    return compares(kind, shows, says, names, spoilt, equal)


def closely(kind: Kind, shows: Role, says: str, names: Sequence[str], pairs: Pairs) -> Check:
    """The check that the entries of every pair are equal up to the rounding of a few operations in float64."""
    return _compared(kind, shows, says, names, pairs, _are_close)


def number_values(says: str, *subjects: Subject) -> Check:
    """N: the code's value on numbers is the definition's, at shapes that are too large for symbols."""

    def pairs() -> Iterator[tuple[str, Any, Any]]:
        for number, subject in enumerate(subjects):
            rng = np.random.default_rng(number)
            inputs = {name: subject.domain(name).numbers(rng, shape) for name, shape in subject.shapes.items()}
            value, _ = subject.forward(device("cpu"), inputs)
            yield "value", value, subject.defined(definitions, {name: A.tolist() for name, A in inputs.items()})

    return closely("N", "forward", says, ["value"], pairs)


def same(found: Any, expected: Any) -> bool:
    """Whether two entries are the same number, or both NaN."""
    return bool(found == expected or (found != found and expected != expected))


def _are_close(found: Any, expected: Any) -> bool:
    return isclose(found, expected, rel_tol=1e-12, abs_tol=1e-12)


def both_ways(subjects: Iterable[Subject]) -> list[Subject]:
    """Each subject twice: as the backend runs it, and with its kernels switched off."""
    return [way for subject in subjects for way in (subject, _by_reference(subject))]


def gradients_of(names: Iterable[str], subjects: Iterable[Subject]) -> list[Subject]:
    """The subjects, with the gradients of these inputs alone."""
    names = tuple(names)

    def part(subject: Subject) -> Subject:
        def backward(dA: Any, cache: Any) -> Any:
            return {name: gradient for name, gradient in subject.backward(dA, cache).items() if name in names}

        return replace(subject, backward=backward)

    return [part(subject) for subject in subjects]


def _by_reference(subject: Subject) -> Subject:
    def forward(*arguments: Any) -> Any:
        with reference_only():
            return subject.forward(*arguments)

    def backward(*arguments: Any) -> Any:
        with reference_only():
            return subject.backward(*arguments)

    return replace(subject, name=f"{subject.name}, without kernels", forward=forward, backward=backward)
