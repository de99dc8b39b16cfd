"""The report: all rows, what is blind, the verdict in a sentence; as a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mathdl.parity.checking import SIGMAS, Pair
from mathdl.parity.compare import INFLATION
from mathdl.parity.ops import shipped
from mathdl.parity.rows import BLIND, FAIL, PASS, RAISED, SUITES, WARN, Row, figure
from mathdl.parity.signatures import Signature

FORMAT = "mathdl parity 1"

HYPOTHESES = (
    "+ − × ÷ √ are correctly rounded; a product and a sum may be fused; small numbers are subnormal, not 0",
    "a sum or a matrix product is some tree over its terms: any order, any blocking, any number of threads",
    "exp, log, tanh … are off by no more units in the last place than `mathdl ulp` lists",
    "nothing overflows",
)
"""What every bound rests on: a ratio above 1 shows that a side does not keep them."""

FOOTER = "Both sides run the same formulas: whether these are right, `mathdl prove` says."


@dataclass(frozen=True)
class Report:
    """What a comparison of two sides has found."""

    pair: Pair
    rows: tuple[Row, ...]
    suites: tuple[str, ...]
    about: Mapping[str, str]
    """Versions and devices."""
    signatures: tuple[Signature, ...] = ()

    @property
    def failures(self) -> list[Row]:
        """The rows whose difference rounding cannot explain."""
        return [row for row in self.rows if row.verdict == FAIL]

    @property
    def blind(self) -> list[str]:
        """Layers, losses and optimizers of mathdl none of whose rows sees anything."""
        if "ops" not in self.suites:
            return []
        seen = {row.op for row in self.rows if not row.is_blind}
        return [op for op in shipped() if op not in seen]

    @property
    def verdict(self) -> str:
        """FAIL if a row fails or an op is blind; WARN if a row warns; else PASS."""
        if self.failures or self.blind:
            return FAIL
        return WARN if any(row.verdict == WARN for row in self.rows) else PASS

    @property
    def sentences(self) -> list[str]:
        """The verdict in words, the most telling first."""
        found = [str(signature) for signature in self.signatures]
        failures = self.failures
        placed = sorted((row for row in failures if row.order), key=lambda row: row.order)
        if placed:
            first = placed[0]
            tensor = first.tensor if first.tensor != RAISED else first.group
            found.append(f"first unexplained difference: {tensor}, minibatch {{{first.minibatch}}} ({first.what})")
        if failures:
            ops = sorted({row.op for row in failures})
            count = f"{len(failures)} of {len(self.rows)} rows differ by more than rounding"
            found.append(f"{count}: {', '.join(ops)}")
        found += [f"blind op: no row of {op} sees a relative difference of {BLIND:g}" for op in self.blind]
        if self.verdict != FAIL:
            largest = max((row.comparison.ratio for row in self.rows), default=0.0)
            found.append(
                f"explained by rounding: {len(self.rows)} rows, the largest difference {figure(largest)} of its bound"
            )
        return found + self._notes

    @property
    def _notes(self) -> list[str]:
        """What is allowed and worth a word."""
        found = []
        if self.pair.precision is not None:
            seen = {signature.side for signature in self.signatures}
            found += [f"no product of {side} shows {self.pair.precision}" for side in ("a", "b") if side not in seen]
        for side in ("a", "b"):
            unsteady = [row for row in self.rows if not (row.repeats_a if side == "a" else row.repeats_b)]
            if unsteady:
                ops = ", ".join(sorted({row.op for row in unsteady}))
                found.append(f"{side} does not repeat its bits: {len(unsteady)} rows ({ops})")
        improbable = [row for row in self.rows if (row.comparison.probable_ratio or 0.0) > 1 and row.verdict != FAIL]
        if improbable:
            found.append(
                f"{len(improbable)} rows are within the bound and yet improbable, the first {improbable[0].id}"
            )
        ambiguous = sum(row.ambiguous for row in self.rows)
        if ambiguous:
            found.append(f"{ambiguous} decisions (ReLU, max pooling) lie within the bound: either way is right there")
        return found

    @property
    def status(self) -> int:
        """The exit status: 0 unless the verdict is FAIL."""
        return int(self.verdict == FAIL)

    def lines(self) -> Iterator[Line]:
        """A line for each group of rows, in the order of the suites, with the worst of each figure."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.suite, row.group), []).append(row)
        for suite in SUITES:
            for (of, name), rows in groups.items():
                if of == suite:
                    yield line(suite, name, rows)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON; `rows.py` says how a row's figures are recomputed."""
        pair = self.pair
        return {
            "format": FORMAT,
            "verdict": self.verdict,
            "sentences": self.sentences,
            "a": {"device": pair.a.name, "dtype": pair.a.dtype},
            "b": {"device": pair.b.name, "dtype": pair.b.dtype},
            "precision": pair.precision,
            "flushes": pair.flushes,
            "inflation": INFLATION,
            "lambda": SIGMAS,
            "blind_above": BLIND,
            "hypotheses": list(HYPOTHESES),
            "about": dict(self.about),
            "suites": list(self.suites),
            "blind_ops": self.blind,
            "rows": [row.to_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        """The table and the verdict."""
        from mathdl.parity.table import text

        return text(self)


class Line(NamedTuple):
    """A group of rows: what one line of the table says."""

    suite: str
    name: str
    """The group, and the tensor with the largest ratio."""
    proposition: str
    rows: int
    ratio: float
    a_ratio: float | None
    b_ratio: float | None
    resolves: float
    """That of the sharpest row."""
    equal: float
    """The part of the entries with the same bits."""
    blind: int
    verdict: str


def line(suite: str, group: str, rows: Sequence[Row]) -> Line:
    """The line of some rows: the worst of each figure, and the sharpest resolution."""
    worst = max(rows, key=lambda row: (row.verdict == FAIL, row.verdict == WARN, row.comparison.ratio))
    entries = sum(row.comparison.entries for row in rows)
    verdicts = {row.verdict for row in rows}
    return Line(
        suite,
        f"{group} {worst.tensor}",
        worst.proposition,
        len(rows),
        max(row.comparison.ratio for row in rows),
        _most(row.comparison.a_ratio for row in rows),
        _most(row.comparison.b_ratio for row in rows),
        min(row.comparison.resolves for row in rows),
        sum(row.comparison.equal for row in rows) / entries if entries else 0.0,
        sum(row.is_blind for row in rows),
        next(verdict for verdict in (FAIL, WARN, PASS) if verdict in verdicts),
    )


def _most(ratios: Iterable[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return max(known, default=None)
