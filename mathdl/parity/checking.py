"""A case run on both sides, and its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mathdl import arrays
from mathdl.parity.cases import Case
from mathdl.parity.compare import ANYTHING, EXACT, Bounds, Reference, compare, failed
from mathdl.parity.rows import RAISED, Comparison, Row
from mathdl.parity.sides import Arrays, Side

FLOAT64_OF_CODE = "float64"
"""The reference where there is no definition in reach: the shipped code, evaluated in float64 on the CPU."""


SIGMAS = 3.0
"""λ of the probable bound γ̃_n(λ), for warnings."""


@dataclass(frozen=True)
class Pair:
    """The two sides, and the machine that their bounds are for."""

    a: Side
    b: Side
    precision: str | None = None
    """A format that the operands of float32 products may be rounded to: "tf32", "bf16", "fp16"; None: none."""
    flushes: bool = False
    """Whether numbers too small to be normal may be taken for 0."""

    @property
    def inputs(self) -> str:
        """The dtype of inputs, which both sides hold exactly."""
        return "float32" if "float32" in (self.a.dtype, self.b.dtype) else "float64"

    @property
    def alike(self) -> bool:
        """Whether both sides compute in the same dtype."""
        return self.a.dtype == self.b.dtype


def check(case: Case, pair: Pair) -> Iterator[Row]:
    """The rows of a case, one for each result; one that fails if a side raises an error."""
    if pair.precision is not None and case.suite == "probes":
        case = replace(case, exact=False)  # operands may be rounded: the bound says how far that goes
    runs = []
    for name, side in (("a", pair.a), ("b", pair.b)):
        try:
            runs.append((side.run(case.evaluate), side.run(case.evaluate)))
        except Exception as error:  # whatever a device raises is a difference to the one that raises nothing
            yield _row(case, RAISED, failed(f"{name} raised {type(error).__name__}: {error}"))
            return
    (on_a, again_a), (on_b, again_b) = runs
    analysed = {} if case.exact else analyse(case, pair)
    references = _of_code(case) if case.references is None and case.exact else {}
    references |= {} if case.references is None else case.references()
    for k, name in enumerate(on_a):
        bounds, value, ambiguous = analysed.get(name, (EXACT, None, 0))
        repeats = _same_bits(on_a[name], again_a[name]), _same_bits(on_b[name], again_b[name])
        if case.needs_repetition and not all(repeats):
            bounds = ANYTHING
        comparison = compare(on_a[name], on_b[name], bounds, references.get(name, value), pair.alike)
        yield _row(case, name, comparison, k, 0 if k else ambiguous, *repeats)


def _row(
    case: Case,
    name: str,
    comparison: Comparison,
    k: int = 0,
    ambiguous: int = 0,
    repeats_a: bool = True,
    repeats_b: bool = True,
) -> Row:
    return Row(
        suite=case.suite,
        op=case.op,
        tensor=name,
        what=case.what,
        proposition=case.propositions.get(name, ""),
        seed=case.seed,
        comparison=comparison,
        exact=case.exact,
        length=case.lengths.get(name),
        ambiguous=ambiguous,
        repeats_a=repeats_a,
        repeats_b=repeats_b,
        group=case.group or case.op,
        minibatch=case.minibatch,
        order=(*case.order, k) if case.order else (),
    )


def _of_code(case: Case) -> dict[str, Reference]:
    """What the shipped code gives in float64, for a case in which nothing is rounded."""
    values = Side("float64", arrays.device("cpu"), "float64").run(case.evaluate)
    return {name: Reference(value, 0.0, FLOAT64_OF_CODE) for name, value in values.items()}


@dataclass(frozen=True)
class Bounded:
    """What arrays with bounds say of a case on one side."""

    values: Arrays
    errors: Arrays
    ambiguous: int


def analyse(case: Case, pair: Pair) -> dict[str, tuple[Bounds, Reference | None, int]]:
    """Result → (bounds of both sides, reference by the shipped code in float64 or None, ambiguous decisions)."""
    if case.bounds is not None:
        return {name: (bounds, None, 0) for name, bounds in case.bounds.items()}
    on_a = with_bounds(case, pair.a.dtype, pair)
    on_b = on_a if pair.alike else with_bounds(case, pair.b.dtype, pair)
    likely_a = with_bounds(case, pair.a.dtype, pair, sigmas=SIGMAS)
    likely_b = likely_a if pair.alike else with_bounds(case, pair.b.dtype, pair, sigmas=SIGMAS)
    ambiguous = max(on_a.ambiguous, on_b.ambiguous)
    found: dict[str, tuple[Bounds, Reference | None, int]] = {}
    for name, value in on_b.values.items():
        # Numbers of the code, such as a slope of 0.01, are exact in the dtype of each side: what that makes of the
        # values is known.
        shift = np.abs(on_a.values[name] - value)
        bounds = Bounds(
            on_a.errors[name] + shift, on_b.errors[name], likely_a.errors[name] + likely_b.errors[name] + shift
        )
        found[name] = (bounds, Reference(value, 0.0, FLOAT64_OF_CODE), ambiguous)
    return found


def with_bounds(case: Case, dtype: str, pair: Pair, sigmas: float | None = None) -> Bounded:
    """The case on arrays that carry bounds, for a machine of this dtype."""
    backend: Any = arrays.backend("rounding")
    side = Side("rounding", arrays.device("rounding"), dtype)
    products = pair.precision if dtype == "float32" else None
    with backend.analysis(products=products, sigmas=sigmas, flushes=pair.flushes) as decisions, side.running():
        found = dict(case.evaluate(side))
    errors = {name: np.zeros(A.shape) if A.error is None else np.array(A.error) for name, A in found.items()}
    return Bounded({name: np.array(A.value) for name, A in found.items()}, errors, decisions.ambiguous)


def _same_bits(first: Any, second: Any) -> bool:
    return bool(first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes())
