"""What a row of the report holds: one tensor of one computation, compared on two sides.

Every figure comes with the entry that it was taken at, so that it can be recomputed by hand:

    ratio          = |a − b| / (bound_a + bound_b)                     at `worst`
    resolves       = (bound_a + bound_b) / |reference|                 at `median`: the smallest relative fault in sight
    a/ref, b/ref   = |a − reference| / (bound_a + bound_reference)     at `worst_a`, `worst_b`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

PASS, WARN, FAIL = "PASS", "WARN", "FAIL"
RAISED = "raised"
"""What stands for the tensor where a side raised an error."""
SUITES = ("probes", "ops", "step", "special", "randomness")
"""The suites, in the order in which they run and are printed."""

BLIND = 1e-2
"""A row whose median bound is more than this part of the value itself sees nothing."""


@dataclass(frozen=True)
class Entry:
    """One entry of a tensor: the figures that a ratio is made of."""

    index: tuple[int, ...]
    a: float
    b: float
    bound_a: float
    bound_b: float
    reference: float | None = None
    bound_reference: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Two arrays, entry by entry, against a bound."""

    shape: tuple[int, ...]
    entries: int
    equal: int
    """Entries with the same bits."""
    ratio: float
    worst: Entry | None
    probable_ratio: float | None
    """The ratio to the probable bound, of which rounding errors that are independent stay clear; never the verdict."""
    resolves: float
    """0: every difference is seen. inf: none is."""
    median: Entry | None
    reference: str
    """What the reference is; empty where there is none."""
    a_ratio: float | None
    worst_a: Entry | None
    b_ratio: float | None
    worst_b: Entry | None
    patterns: tuple[str, ...]
    """Differences that no rounding makes: in dtype, shape, NaN, infinity."""
    remarks: tuple[str, ...]
    """What is worth a word and no failure: zeros of another sign."""


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    suite: str
    op: str
    """What was computed: a layer, a loss, a function of the namespace, or a part of a step."""
    tensor: str
    """Which of its results: A, dX, dW, J …"""
    what: str
    """The configuration and the sizes: ``Dense(3) on (5,)``."""
    proposition: str
    seed: int
    comparison: Comparison
    exact: bool = False
    """A probe: nothing is rounded, so the bound is 0."""
    length: int | None = None
    """n, the terms that an entry is a sum of, where the bound is γ_n."""
    ambiguous: int = 0
    """Decisions (the sign of a ReLU, the winner of a window) that lie within the bound."""
    repeats_a: bool = True
    """Whether the side gave the same bits when it was asked twice."""
    repeats_b: bool = True
    group: str = ""
    """What it is printed under."""
    minibatch: int | None = None
    """The {m} of the user's data."""
    order: tuple[int, ...] = ()
    """When in a training it is computed; () where it is no part of one."""

    @property
    def id(self) -> str:
        """The name of the row, by which `--only` finds it."""
        return f"{self.suite}/{self.op}/{self.tensor}/{self.what}"

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the row fails: what no rounding explains."""
        c, found = self.comparison, list(self.comparison.patterns)
        if not c.ratio <= 1 and c.worst is not None:
            found.append("not the same" if self.exact else f"{figure(c.ratio)} times the bound")
        for side, ratio in (("a", c.a_ratio), ("b", c.b_ratio)):
            if ratio is not None and not ratio <= 1:
                found.append(f"{side} is off" if self.exact else f"{side} is off by {figure(ratio)} times its bound")
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed, and worth a look."""
        found = []
        if self.comparison.probable_ratio is not None and self.comparison.probable_ratio > 1:
            found.append(f"{figure(self.comparison.probable_ratio)} times what is probable")
        found += [f"{side} does not repeat its bits" for side, same in self._repeats if not same]
        if self.ambiguous:
            found.append(f"{self.ambiguous} decisions within the bound")
        return tuple(found)

    @property
    def _repeats(self) -> tuple[tuple[str, bool], ...]:
        return ("a", self.repeats_a), ("b", self.repeats_b)

    @property
    def verdict(self) -> str:
        """PASS, WARN or FAIL."""
        return FAIL if self.failures else WARN if self.warnings else PASS

    @property
    def is_blind(self) -> bool:
        """Whether the bound is so loose that the row sees nothing."""
        return not self.comparison.resolves <= BLIND

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON; an infinite figure is a string, for JSON has no word for it."""
        flat = {name: value for name, value in asdict(self).items() if name != "comparison"}
        verdict = {"verdict": self.verdict, "failures": list(self.failures), "warnings": list(self.warnings)}
        found: dict[str, Any] = plain(
            {"id": self.id, **flat, "blind": self.is_blind, **verdict, **asdict(self.comparison)}
        )
        return found


def figure(value: float | None) -> str:
    """A ratio in at most seven characters: ``0.013``, ``4.1e+03``, ``inf``."""
    if value is None:
        return ""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else "inf" if value == inf else "nan"
    return f"{value:.2g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+")


def plain(value: Any) -> Any:
    """A value of plain JSON: tuples as lists, numbers that are not finite as the strings inf, -inf and nan."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
