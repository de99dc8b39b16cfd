"""Schedules: the learning rate as a function of the epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import cos, floor, inf, nan, pi
from typing import Any

import sympy as sp

from mathdl.schedules import Constant, Cosine, Exponential, Inverse, LinearWarmup, Plateau, Schedule
from mathdl.schedules import Step as StepSchedule
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.exact import closely, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source

rate, final = sp.symbols("eta_0 eta_1", positive=True)

RULES: tuple[tuple[Schedule, Callable[[float], float]], ...] = (
    (Constant(0.25), lambda e: 0.25),
    (StepSchedule(0.8, 2.0, 0.5), lambda e: 0.8 * 0.5 ** floor(e / 2.0)),
    (Exponential(0.8, 0.9), lambda e: 0.8 * 0.9**e),
    (Inverse(0.8, 0.5), lambda e: 0.8 / (1 + 0.5 * e)),
    (Cosine(0.8, 6.0, 0.1), lambda e: 0.1 + 0.7 * (1 + cos(pi * min(e / 6.0, 1.0))) / 2),
    (LinearWarmup(2.0, 0.8), lambda e: 0.8 * min(e / 2.0, 1.0)),
    (LinearWarmup(2.0, Exponential(0.8, 0.9), 0.5), lambda e: 0.8 * (0.5 + e / 4 if e < 2 else 0.9 ** (e - 2))),
)
"""Each schedule with its formula, as a function of the epoch."""


def rates() -> Iterator[tuple[str, Any, Any]]:
    """Ten epochs of four steps."""
    for schedule, rule in RULES:
        yield "η", [schedule.at(step, step / 4) for step in range(40)], [rule(step / 4) for step in range(40)]


def plateaus() -> Iterator[tuple[str, Any, Any]]:
    """Factors after losses: patience 2, a NaN is no improvement, the best loss stays, and a least rate."""
    plateau = Plateau(1.0, 0.5, patience=2, minimum=0.25)
    for losses, expected in (
        ([], 1.0),
        ([3.0, 2.0, 1.0], 1.0),
        ([3.0, 3.0], 1.0),
        ([3.0, 3.0, 3.0], 0.5),
        ([3.0, nan, 4.0, 2.0], 0.5),
        ([3.0, 4.0, 4.0, 3.5, 3.0], 0.25),
        ([inf, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 0.25),
    ):
        yield "factor", plateau.factor_after(losses), expected


phase = sp.Symbol("x", real=True)
cosine = final + (rate - final) * (1 + sp.cos(sp.pi * phase)) / 2
SCHEDULE_ENDS = Derivation(
    (
        Step(cosine.subs(phase, 0) + cosine.subs(phase, 1), "the cosine schedule at its start and at its end"),
        Step(rate + final, "it starts at η₀ and ends at η₁"),
    ),
    title="ends of the cosine",
    shows="other",
)
RATES = Proposition(
    id="schedules",
    title="Learning rates over time",
    statement=r"\text{step: } \eta_0 \gamma^{\lfloor e/E \rfloor}, \quad \text{exponential: } \eta_0 \gamma^e, \quad "
    r"\text{inverse: } \frac{\eta_0}{1 + d e}, \quad \text{cosine: } \eta_1 + (\eta_0 - \eta_1) \frac{1 + \cos(\pi "
    r"\min(e/E, 1))}{2}, \quad \text{warm-up: } \eta_0 \Bigl(a + (1 - a) \frac eE\Bigr),\ e < E",
    roles=("other",),
    sources=(Source("mathdl/schedules.py names the paper of each", "", "ours"),),
    hypotheses=(Hypothesis(r"$e$ = step / (steps per epoch), both counted from 0", "tests/test_schedules.py"),),
    derivations=(SCHEDULE_ENDS,),
    evidence=(
        closely("N", "other", "η, step after step", ["η"], rates),
        exactly("X", "other", "plateaus", ["factor"], plateaus),
    ),
)

CHAPTER = Chapter("Schedules", "Time is counted in epochs, as a fraction, from 0.", (RATES,))
