"""Evidence: the checks that serve many propositions, each made from subjects.

A check compares arrays that the shipped code gave with what they must equal. Its control adds 1 to the last entry of
one of these arrays at a time, and each such claim must be refused: so every array is known to count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import sympy as sp

from mathdl.arrays import device, to_host
from mathdl.layers.layer import Layer
from mathdl.losses import Loss
from mathdl.theory import definitions
from mathdl.theory.check import Check, Kind, Refused, Role, each_refused
from mathdl.theory.definitions_on_symbols import definitions_on_symbols
from mathdl.theory.domains import each, integers, symbol
from mathdl.theory.equality import is_zero
from mathdl.theory.subject import Subject, of_layer

Spoil: TypeAlias = Callable[[str, Any], Any]
"""(name, array that the code gave) → the array to compare: itself, or spoilt in one entry."""
Pairs: TypeAlias = Callable[[Spoil], Iterable[tuple[str, Any, Any]]]
"""Spoil → (name, array found, array expected), once or more often for each name."""
Equal: TypeAlias = Callable[[Any, Any], bool]
"""Whether two entries count as equal."""


def compares(kind: Kind, shows: Role, says: str, names: Sequence[str] | None, pairs: Pairs, equal: Equal) -> Check:
    """The check that every pair is equal, entry by entry.

    `names` are those of the arrays that are compared; None: those that the pairs turn out to have. Nothing is run
    before the check is.
    """

    def claim(spoilt: str | None = None) -> None:
        compared = set()
        for name, found, expected in pairs(partial(_spoil, spoilt)):
            compared.add(name)
            _require(f"{says}: {name}", np.asarray(found), np.asarray(expected), equal)
        if not compared or (names is not None and compared != set(names)):
            raise Refused(says, f"a comparison of {', '.join(names or ['something'])}", ", ".join(compared) or "none")

    def control() -> None:
        found = names or sorted({name for name, _, _ in pairs(partial(_spoil, None))})
        each_refused(*(partial(claim, name) for name in found))()

    return Check(kind, shows, says, claim, control)


def _spoil(spoilt: str | None, name: str, array: Any) -> Any:
    if name != spoilt:
        return array
    array = np.array(array)
    last = (-1,) * array.ndim
    is_finite = array.dtype.kind != "f" or np.isfinite(array[last])
    array[last] = array[last] + 1 if is_finite else 0  # ∞ + 1 would be no other number
    return array


def _require(claim: str, found: np.ndarray, expected: np.ndarray, equal: Equal) -> None:
    if found.shape != expected.shape:
        raise Refused(f"{claim}, its shape", expected.shape, found.shape)
    for place in np.ndindex(*found.shape):
        if not equal(found[place], expected[place]):
            raise Refused(f"{claim}, entry {place}", expected[place], found[place])


# ----------------------------------------------------------------------------------------- C: the code on symbols


def code_values(says: str, *subjects: Subject) -> Check:
    """C: the code's value on symbols is the definition's, for every alternative of the inputs' domains."""

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_symbols(subjects):
            value, _, _ = _run_on_symbols(subject, inputs, gradients=False)
            yield "value", spoil("value", value), subject.defined(definitions_on_symbols(), _lists(inputs))

    return compares("C", "forward", says, ["value"], pairs, _symbols_are_equal)


def code_gradients(says: str, *subjects: Subject) -> Check:
    """C: the code's backward on symbols is the derivative of its own forward, for every alternative of the domains.

    An entry may be an expression of symbols, such as t + d₁ in an order: both sides are differentiated by the symbols.
    """

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_symbols(subjects):
            value, gradients, G = _run_on_symbols(subject, inputs, gradients=True)
            phi = sp.expand(np.sum(value * G))
            for name, gradient in gradients.items():
                entries, slopes = inputs[name], spoil(f"d{name}", gradient)
                symbols = sorted(sp.Matrix(entries.ravel().tolist()).free_symbols, key=str)
                yield f"d{name}", [_directional(entries, slopes, s) for s in symbols], [phi.diff(s) for s in symbols]

    return compares("C", "gradient", says, None, pairs, _symbols_are_equal)


def _with_symbols(subjects: Iterable[Subject]) -> Iterator[tuple[Subject, dict[str, np.ndarray]]]:
    for subject in subjects:
        alternatives = [subject.domain(name).symbols(name, shape) for name, shape in subject.shapes.items()]
        for arrays in product(*alternatives):
            yield subject, dict(zip(subject.shapes, arrays, strict=True))


def _run_on_symbols(subject: Subject, inputs: Mapping[str, np.ndarray], gradients: bool) -> tuple[Any, Any, Any]:
    place = device("symbolic")
    value, cache = subject.forward(place, {name: place.put(array) for name, array in inputs.items()})
    shape = value.shape
    G = np.ones(shape, dtype=object) if subject.is_cost else each(shape, lambda at: symbol("G", at))
    found = subject.backward(place.put(G), cache) if gradients else {}
    return to_host(value), {name: to_host(gradient) for name, gradient in found.items()}, G


def _directional(entries: np.ndarray, slopes: np.ndarray, s: sp.Symbol) -> Any:
    return sum(slope * sp.sympify(entry).diff(s) for entry, slope in zip(entries.flat, slopes.flat, strict=True))


def _symbols_are_equal(found: Any, expected: Any) -> bool:
    return is_zero(sp.sympify(found) - sp.sympify(expected))


# ------------------------------------------------------------------------------------------------ X: exact integers


def integer_values(says: str, subjects: Sequence[Subject]) -> Check:
    """X: the code's value equals the definition's, on random integers, for every subject."""

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_integers(subjects):
            value, _, _ = _run(subject, inputs)
            yield "value", spoil("value", value), subject.defined(definitions, _lists(inputs))

    return compares("X", "forward", f"{says}, {len(subjects)} shapes", ["value"], pairs, _identical)


def integer_gradients(says: str, subjects: Sequence[Subject]) -> Check:
    """X: the code's gradients equal the central differences of the definition's value, on random integers.

    Central differences are the derivative where the value is a polynomial of degree ≤ 2 in each single entry.
    """

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        for subject, inputs in _with_integers(subjects):
            _, gradients, G = _run(subject, inputs)
            for name, gradient in gradients.items():
                expected = _central_differences(subject, inputs, name, G)
                yield f"d{name}", spoil(f"d{name}", gradient), expected

    return compares("X", "gradient", f"{says}, {len(subjects)} shapes", None, pairs, _identical)


def _with_integers(subjects: Iterable[Subject]) -> Iterator[tuple[Subject, dict[str, np.ndarray]]]:
    for number, subject in enumerate(subjects):
        rng = np.random.default_rng(number)
        yield subject, {name: integers(rng, shape) for name, shape in subject.shapes.items()}


def _run(subject: Subject, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """(value, gradients, the G they are gradients for) on the CPU; G is random integers, or 1 for a cost."""
    value, cache = subject.forward(device("cpu"), {name: array.copy() for name, array in inputs.items()})
    G = np.ones(value.shape) if subject.is_cost else integers(np.random.default_rng(7), value.shape)
    return value, dict(subject.backward(G.copy(), cache)), G


def _central_differences(subject: Subject, inputs: Mapping[str, np.ndarray], name: str, G: np.ndarray) -> np.ndarray:
    slopes = np.empty(inputs[name].shape, dtype=object)
    for place in np.ndindex(*slopes.shape):
        ends = []
        for sign in (1, -1):
            moved = inputs[name].copy()
            moved[place] += sign
            ends.append(subject.defined(definitions, _lists({**inputs, name: moved})))
        slopes[place] = np.sum(G * (ends[0] - ends[1])) / 2
    return slopes


def _lists(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {name: array.tolist() for name, array in inputs.items()}


def _identical(found: Any, expected: Any) -> bool:
    return bool(found == expected)


# ------------------------------------------------------------------------------------------------- N: dual numbers


def dual_gradients(says: str, *subjects: Subject) -> Check:
    """N: the code's gradients give the tangents of the code's value on dual numbers, along a random direction each.

    Float64, to a relative 10⁻⁹ of the sum of magnitudes.
    """

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        for number, subject in enumerate(subjects):
            rng = np.random.default_rng(number)
            inputs = {name: subject.domain(name).numbers(rng, shape) for name, shape in subject.shapes.items()}
            _, gradients, G = _run(subject, inputs)
            for name, gradient in gradients.items():
                direction = rng.standard_normal(gradient.shape)
                along = float(np.sum(spoil(f"d{name}", gradient) * direction))
                tangent = _tangent(subject, inputs, name, direction)
                yield f"d{name}", along, _Approximate(float(np.sum(G * tangent)), float(np.sum(np.abs(G * tangent))))

    return compares("N", "gradient", says, None, pairs, lambda found, expected: expected.near(found))


@dataclass(frozen=True)
class _Approximate:
    """A number known to 10⁻⁹ of the magnitudes that it was summed from."""

    value: float
    magnitude: float

    def near(self, other: float) -> bool:
        return abs(other - self.value) <= 1e-9 * (1 + self.magnitude)

    def __str__(self) -> str:
        return f"{self.value} ± {1e-9 * (1 + self.magnitude):.1g}"


def _tangent(subject: Subject, inputs: Mapping[str, np.ndarray], name: str, direction: np.ndarray) -> np.ndarray:
    from mathdl_backends import dual

    moving = {each: dual.array(array, direction if each == name else None) for each, array in inputs.items()}
    value, _ = subject.forward(device("dual"), moving)
    return np.asarray(value.tangent)


# --------------------------------------------------------------------------------------------------------- E: edges


def at_points(says: str, layer: Layer, *points: tuple[float, float, float]) -> Check:
    """E: an activation at the points z: its value and its slope there, exactly; a NaN equals a NaN."""

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        subject = of_layer(layer, (len(points),), B=1)
        z, values, slopes = (np.array([column]) for column in zip(*points, strict=True))
        with np.errstate(all="ignore"):  # as in a step
            value, cache = subject.forward(device("cpu"), {"A": z})
            yield "value", spoil("value", value), values
            yield "slope", spoil("slope", subject.backward(np.ones(z.shape), cache)["A"]), slopes

    return compares("E", "gradient", says, ["value", "slope"], pairs, _same_float)


def _same_float(found: Any, expected: Any) -> bool:
    return bool(found == expected or (np.isnan(found) and np.isnan(expected)))


def loss_at(says: str, loss: Loss, P: Any, Y: Any, J: float, dP: Any) -> Check:
    """E: a loss at one point: J and dP there, to rounding; a NaN equals a NaN."""

    def pairs(spoil: Spoil) -> Iterator[tuple[str, Any, Any]]:
        with np.errstate(all="ignore"):  # as in a step
            found, cache = loss.forward(np.array(P, dtype=np.float64), np.array(Y))
            yield "J", spoil("J", found), np.array(J)
            yield "dP", spoil("dP", loss.backward(cache)), np.array(dP, dtype=np.float64)

    return compares("E", "gradient", says, ["J", "dP"], pairs, _almost_the_same_float)


def _almost_the_same_float(found: Any, expected: Any) -> bool:
    return _same_float(found, expected) or bool(abs(found - expected) <= 1e-15 * max(1.0, abs(expected)))


def refuses(says: str, error: type[Exception], wrong: Callable[[], Any], right: Callable[[], Any]) -> Check:
    """E: the library raises `error` for what a hypothesis excludes; the control does the same with what it allows."""

    def claim(call: Callable[[], Any]) -> None:
        try:
            call()
        except error:
            return
        raise Refused(says, error.__name__, "no error")

    return Check("E", "other", says, partial(claim, wrong), partial(claim, right))
