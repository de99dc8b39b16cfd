"""Evidence: the checks that serve many propositions, each from a subject.

A check compares arrays that the shipped code gave with arrays that it must equal. Its control spoils one entry of one
of them at a time, and each of these claims must be refused: so every array, to its last entry, is known to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from mathdl.arrays import device
from mathdl.theory import definitions
from mathdl.theory.check import Check, Kind, Refused, Role, each_refused
from mathdl.theory.domains import integers
from mathdl.theory.subject import Subject

Pairs: TypeAlias = Iterable[tuple[str, Any, Any]]
"""(name, array found, array expected)."""
Equal: TypeAlias = Callable[[Any, Any], bool]
"""Whether two entries count as equal."""


def compares(
    kind: Kind,
    shows: Role,
    says: str,
    names: Iterable[str],
    pairs: Callable[[], Pairs],
    equal: Callable[[Any, Any], bool],
) -> Check:
    """The check that every pair is equal, entry by entry; `names` are those that the pairs have."""

    def claim(spoilt: str | None = None) -> None:
        compared = set()
        for name, found, expected in pairs():
            compared.add(name)
            found = np.array(found)
            if name == spoilt:
                found[(-1,) * found.ndim] = found[(-1,) * found.ndim] + 1
            _require(f"{says}: {name}", found, np.asarray(expected), equal)
        if compared != set(names):
            raise Refused(says, f"a comparison of {', '.join(names)}", ", ".join(sorted(compared)) or "none")

    return Check(kind, shows, says, claim, each_refused(*(partial(claim, name) for name in names)))


def _require(claim: str, found: np.ndarray, expected: np.ndarray, equal: Equal) -> None:
    if found.shape != expected.shape:
        raise Refused(f"{claim}, its shape", expected.shape, found.shape)
    for place in np.ndindex(*found.shape):
        if not equal(found[place], expected[place]):
            raise Refused(f"{claim}, entry {place}", expected[place], found[place])


# ------------------------------------------------------------------------------------------------ X: exact integers


def integer_values(says: str, subjects: Iterable[Subject]) -> Check:
    """X: the code's value equals the definition's, on random integers, for every subject."""
    subjects = tuple(subjects)

    def pairs() -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_integers(subjects):
            yield "value", _run(subject, inputs)[0], subject.defined(definitions, _lists(inputs))

    return compares("X", "forward", f"{says}, {len(subjects)} shapes", ["value"], pairs, _identical)


def integer_gradients(says: str, subjects: Iterable[Subject]) -> Check:
    """X: the code's gradients equal the central differences of the definition's value, on random integers.

    Central differences are the derivative where the value is a polynomial of degree ≤ 2 in each single entry.
    """
    subjects = tuple(subjects)
    names = sorted({name for subject in subjects for name in _gradient_names(subject)})

    def pairs() -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_integers(subjects):
            _, gradients, G = _run(subject, inputs)
            for name, gradient in gradients.items():
                yield f"d{name}", gradient, _central_differences(subject, inputs, name, G)

    return compares("X", "gradient", f"{says}, {len(subjects)} shapes", names, pairs, _identical)


def _with_integers(subjects: Iterable[Subject]) -> Iterator[tuple[Subject, dict[str, np.ndarray]]]:
    for number, subject in enumerate(subjects):
        rng = np.random.default_rng(number)
        yield subject, {name: integers(rng, shape) for name, shape in subject.shapes.items()}


def _run(subject: Subject, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """(value, gradients, the G they are gradients for) on the CPU; G is random integers, or 1 for a cost."""
    cpu = device("cpu")
    value, cache = subject.forward(cpu, {name: array.copy() for name, array in inputs.items()})
    shape = np.shape(value)
    G = np.ones(shape) if subject.is_cost else integers(np.random.default_rng(7), shape)
    return np.asarray(value), {n: np.asarray(g) for n, g in subject.backward(G.copy(), cache).items()}, G


def _gradient_names(subject: Subject) -> list[str]:
    zeros = {name: np.ones(shape) for name, shape in subject.shapes.items()}
    return [f"d{name}" for name in _run(subject, zeros)[1]]


def _central_differences(subject: Subject, inputs: Mapping[str, np.ndarray], name: str, G: np.ndarray) -> np.ndarray:
    slopes = np.empty(inputs[name].shape, dtype=object)
    for place in np.ndindex(*slopes.shape):
        ends = []
        for sign in (1, -1):
            moved = inputs[name].copy()
            moved[place] += sign
            ends.append(subject.defined(definitions, _lists({**inputs, name: moved})))
        twice = np.sum(G * (ends[0] - ends[1]))
        slopes[place] = twice / 2
    return slopes


def _lists(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in inputs.items()}


def _identical(found: Any, expected: Any) -> bool:
    return bool(found == expected)
