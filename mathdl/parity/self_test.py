"""The test of the comparison itself: b is given one fault after the other, and each must be found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mathdl import layers as md
from mathdl.losses import CategoricalCrossEntropy
from mathdl.network import Network
from mathdl.optimizers import SGD
from mathdl.parity.checking import Pair, check
from mathdl.parity.faults import Fault
from mathdl.parity.rows import FAIL, RAISED, SUITES, WARN, Row
from mathdl.parity.running import cases, open_pair
from mathdl.parity.subject import Subject

HEALTHY = "none"


class Outcome(NamedTuple):
    """What became of a fault."""

    fault: str
    expected: str
    """FAIL, WARN, or PASS without any fault."""
    found: str
    """What it was found as; "survives", or "an error": a fault that raises shows nothing."""
    row: str
    """The first row that found it, empty if none did."""

    @property
    def passed(self) -> bool:
        """Whether it was found, and as what it is."""
        return self.found == self.expected


def self_test(faults: Iterable[Fault], dtype: str = "float32") -> list[Outcome]:
    """First the sides as they are, which must agree; then each fault in b, the CPU with sums in another order."""
    pair = open_pair("cpu", "permuted", dtype)
    healthy = next((row for suite in SUITES for row in rows(pair, f"{suite}/") if row.verdict == FAIL), None)
    outcomes = [Outcome(HEALTHY, "PASS", "PASS" if healthy is None else FAIL, "" if healthy is None else healthy.id)]
    return outcomes + [try_fault(fault, pair) for fault in faults]


def try_fault(fault: Fault, pair: Pair) -> Outcome:
    """Give b the fault, and look for a row that finds it: a failure at once, a warning if nothing fails."""
    with fault.in_place():
        pass  # raises what is wrong with the fault itself, which on a side would count as found
    spoilt = with_fault(pair, fault)
    warned = ""
    for row in rows(spoilt, fault.expected):
        if row.tensor == RAISED:
            return Outcome(fault.name, fault.verdict, "an error", "; ".join(row.failures))
        if row.verdict == FAIL:
            return Outcome(fault.name, fault.verdict, FAIL, row.id)
        if row.verdict == WARN and not warned:
            warned = row.id
    return Outcome(fault.name, fault.verdict, WARN if warned else "survives", warned)


def with_fault(pair: Pair, fault: Fault) -> Pair:
    """The pair, with the fault in b."""
    return replace(pair, b=replace(pair.b, spoilt=fault.in_place))


def rows(pair: Pair, beginning: str) -> Iterator[Row]:
    """The rows whose ids begin so, of small shapes; all rows, of every size and of a network, if that is empty."""
    suite, _, op = beginning.partition("/")
    suites = [suite] if suite in SUITES else SUITES
    for case in cases(pair, [small_network(pair.inputs)], suites, 0, real_sizes=not beginning):
        if case.op == op.partition("/")[0] or not op:
            yield from (row for row in check(case, pair) if row.id.startswith(beginning))


def small_network(dtype: str) -> Subject:
    """A convolution, pooling and two dense layers on made-up images."""
    rng = np.random.default_rng(0)
    layers = [md.Conv2D(4, 3), md.ReLU(), md.MaxPool2D(2), md.Flatten(), md.Dense(8), md.Tanh(), md.Dense(3)]
    X, Y = rng.standard_normal((48, 6, 6, 1)).astype(dtype), rng.integers(3, size=48)
    network = Network([*layers, md.Softmax()])
    return Subject("small", network, CategoricalCrossEntropy(), SGD(0.05, momentum=0.9), X, Y, batch_size=12)
