"""Two witnesses against a backward: dual numbers, and differences.

For y = f(x), a random direction v and a random G, the shipped backward says that

    b = ⟨∂⟨G, f⟩/∂x, v⟩        is        a = ⟨G, f'(x) v⟩.

**Duals.** a comes from dual numbers run through forward, exact but for rounding. Both figures are sums whose terms
carry rounding errors u κ, where κ is the condition of the code and u = 2⁻⁵³. κ is measured: the same code in float32
errs by about u₃₂ κ, u₃₂ = 2⁻²⁴, so what the terms differ by between float32 and float64 is 2²⁹ times their error:

    |a − b| ≤ C 2⁻²⁹ (Σ |G| |δ(f' v)| + Σ |δ(gradient)| |v|) + C u S        S = Σ |G f' v| + Σ |gradient v|

with δ that difference and C = 8 for one error being luckier than another. The sums themselves are exact (`math.fsum`).

**Differences** know no rules of differentiation. D(h) = (φ(h) − φ(−h)) / 2h with φ(t) = ⟨G, f(x + t v)⟩ is off by
h² φ'''/6 and by e/h, e the rounding error of φ (bounded as above). Richardson's (4 D(h/2) − D(h)) / 3 is off by O(h⁴),
which |D(h) − D(h/2)|, about h² φ'''/8, is more than, and by 3 e/h:

    |(4 D(h/2) − D(h)) / 3 − b| ≤ |D(h) − D(h/2)| + 3 e/h

That holds where f is smooth between the points, so the branches that the code takes (comparisons, winners of maxima)
are recorded at all five: where they differ, another direction is drawn and the step made a quarter; a bound is never
loosened. Nor does a difference count whose own bound is more than a thousandth of what it measures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mathdl.arrays import Array, Device, device, to_host
from mathdl.errors import UsageError
from mathdl.theory.gradients.report import AGREES, KINK, WRONG, Agreement, Row
from mathdl.theory.gradients.subject import Numbers, Subject, random_direction

C = 8.0
U = 2.0**-53
FLOAT32_TO_FLOAT64 = 2.0**-29
LARGEST_STEP = 2.0**-10
ATTEMPTS = 10
COARSEST = 1e-3


class Examination:
    """A subject at its point, with G: what its forward and its backward give, in float64 and in float32."""

    def __init__(self, subject: Subject, rng: np.random.Generator) -> None:
        self.subject = subject
        self.rng = rng
        self.cpu, self.dual = device("cpu"), device("dual")
        self.changed = ""
        y = self._outputs("float64")
        self.G = rng.standard_normal(y.shape)
        self.size = float(np.sum(np.abs(self.G * y)))
        spread = float(np.sum(np.abs(self.G * (self._outputs("float32") - y))))
        self.noise = C * (FLOAT32_TO_FLOAT64 * _finite(spread, self.size) + U * self.size)
        self.gradients = self._gradients("float64")
        self.gradients32 = self._gradients("float32")
        self.is_finite = bool(np.all(np.isfinite(y)))

    def rows(self, directions: int) -> Iterator[Row]:
        """A row for each gradient that is asked for."""
        for name in self.subject.checked:
            yield self._row(name, directions)

    def _row(self, name: str, directions: int) -> Row:
        subject, gradient, expected = self.subject, self.gradients.get(name), self.subject.inputs[name].shape
        found = Row(subject.path, subject.place, f"d{name}", None, None, WRONG)
        if gradient is None:
            return found._replace(note="backward returns none")
        if gradient.shape != expected:
            return found._replace(note=f"its shape is {gradient.shape}, expected {expected}")
        if name == self.changed:
            return found._replace(note=f"{name} is changed in place, and other layers may hold it")
        if not (self.is_finite and np.all(np.isfinite(gradient))):
            return found._replace(note=f"{'it' if self.is_finite else 'what forward gives'} is not finite")
        if not self._is_stored(name, gradient):
            return found._replace(note="what backward leaves in `into` is not what it returns without")
        pairs = [self._against_duals(name, gradient) for _ in range(directions)]
        duals = max((agreement for agreement, _ in pairs), key=lambda agreement: agreement.excess)
        differences = self._against_differences(name, gradient)
        verdict = _verdict(duals, differences, any(ties for _, ties in pairs))
        return found._replace(duals=duals, differences=differences, verdict=verdict)

    # -- the two witnesses ---------------------------------------------------------------------------------------------

    def _against_duals(self, name: str, gradient: Numbers) -> tuple[Agreement, int]:
        """(agreement along a random direction, how many ties the tangents broke)."""
        v = random_direction(self.rng, self.subject.inputs[name])
        tangent, ties = self._tangent(name, v, "float64")
        tangent32, _ = self._tangent(name, v, "float32")
        a, b = self.G * tangent, gradient * v
        size = float(np.sum(np.abs(a)) + np.sum(np.abs(b)))
        gradient32 = self.gradients32.get(name, gradient)
        spread = float(np.sum(np.abs(self.G * (tangent32 - tangent))) + np.sum(np.abs((gradient32 - gradient) * v)))
        bound = C * (FLOAT32_TO_FLOAT64 * _finite(spread, size) + U * size)
        return _relative(_sum(a) - _sum(b), bound, size), ties

    def _against_differences(self, name: str, gradient: Numbers) -> Agreement | None:
        """The agreement with the first difference that tells; None if every direction crosses a kink."""
        for attempt in range(ATTEMPTS):
            v, h = random_direction(self.rng, self.subject.inputs[name]), LARGEST_STEP / 4**attempt
            if not self._is_smooth(name, v, h):
                continue
            coarse, fine = (self._difference(name, v, step) for step in (h, h / 2))
            b = gradient * v
            size = float(np.sum(np.abs(b))) + abs(fine)
            bound = abs(coarse - fine) + 3 * self.noise / h + C * U * size
            if bound <= COARSEST * (size + self.size):  # never if it is NaN: a step may lead out of the domain of f
                return _relative((4 * fine - coarse) / 3 - _sum(b), bound, size)
        return None

    def _difference(self, name: str, v: Numbers, h: float) -> float:
        above, below = (self._outputs("float64", {name: self.subject.inputs[name] + t * v}) for t in (h, -h))
        return _sum(self.G * (above - below)) / (2 * h)

    def _is_smooth(self, name: str, v: Numbers, h: float) -> bool:
        """Whether the code takes the same branches at x and at the four points of the differences."""
        here = self._branches(name, v, 0.0)
        if not here.decisions:
            return True
        return all(self._branches(name, v, t).digest == here.digest for t in (h, -h, h / 2, -h / 2))

    # -- running the code ----------------------------------------------------------------------------------------------

    def _outputs(self, dtype: str, moved: Mapping[str, Numbers] | None = None) -> Numbers:
        values = {**self.subject.inputs, **(moved or {})}
        return np.asarray(self.subject.forward(_put(values, self.cpu, dtype)), dtype=np.float64)

    def _gradients(self, dtype: str) -> dict[str, Numbers]:
        values = _put(self.subject.inputs, self.cpu, dtype)
        G = self.G.astype(dtype)
        found = self.subject.backward(values, G if self.G.ndim == 0 else G.copy())
        changed = [name for name, x in self.subject.inputs.items() if not np.array_equal(values[name], x.astype(dtype))]
        self.changed = changed[0] if changed else self.changed
        return {name: np.asarray(to_host(g), dtype=np.float64) for name, g in found.items() if g is not None}

    def _is_stored(self, name: str, gradient: Numbers) -> bool:
        """Whether a flat gradient gets what backward returns."""
        shapes = {each: found.shape for each, found in self.gradients.items()}
        if self.subject.stored is None or shapes != {each: x.shape for each, x in self.subject.inputs.items()}:
            return True  # what is missing, or of another shape, has a row that says so
        values = _put(self.subject.inputs, self.cpu, "float64")
        found = self.subject.stored(values, self.G.copy()).get(name, gradient)
        return np.allclose(found, gradient, rtol=1e-10, atol=1e-10 * float(np.max(np.abs(gradient), initial=0.0)))

    def _on_duals(self, name: str, v: Numbers, t: float, dtype: str = "float64") -> Any:
        values: dict[str, Array] = dict(_put(self.subject.inputs, self.dual, dtype))
        x = self.subject.inputs[name] + t * v if t else self.subject.inputs[name]
        values[name] = self.dual.backend.array(x.astype(dtype), v)
        try:
            return self.subject.forward(values)
        except (TypeError, AttributeError, IndexError) as error:  # forward has run on NumPy: it is the duals that fail
            where = f"layer l = {'.'.join(map(str, self.subject.path))}, " if self.subject.path else ""
            raise UsageError(
                f"{where}{self.subject.place}: forward does not run on dual numbers: {error}. "
                "Write it with functions of namespace(A) that have a derivative there, as the layers of mathdl are"
            ) from error

    def _tangent(self, name: str, v: Numbers, dtype: str) -> tuple[Numbers, int]:
        with self.dual.backend.branches() as record:
            y = self._on_duals(name, v, 0.0, dtype)
        return np.asarray(y.tangent, dtype=np.float64), record.ties

    def _branches(self, name: str, v: Numbers, t: float) -> Any:
        with self.dual.backend.branches() as record:
            self._on_duals(name, v, t)
        return record


def _verdict(duals: Agreement, differences: Agreement | None, ties: bool) -> str:
    """Both witnesses must agree. Without differences the point is at a kink, and ties excuse the duals."""
    if (differences is not None and not differences.holds) or not (duals.holds or ties):
        return WRONG
    return KINK if differences is None or not duals.holds else AGREES


def _put(values: Mapping[str, Numbers], place: Device, dtype: str) -> dict[str, Array]:
    """Copies on the device: what runs may not change the point."""
    return {name: place.put(np.array(x, dtype=dtype)) for name, x in values.items()}


def _sum(terms: Numbers) -> float:
    return math.fsum(terms.ravel().tolist())


def _finite(spread: float, size: float) -> float:
    """The spread; where float32 overflows it says nothing, and all of the size is taken for doubtful."""
    return spread if math.isfinite(spread) else size


def _relative(error: float, bound: float, size: float) -> Agreement:
    return Agreement(abs(error) / size, bound / size) if size > 0 else Agreement(abs(error), bound)
