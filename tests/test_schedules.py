"""Schedules: values against the formulas of their docstrings, the clock, plateaus, errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import UsageError
from mathdl.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Inverse,
    LinearWarmup,
    Plateau,
    Schedule,
    Step,
    schedule,
)

epochs = st.floats(0, 50)


def rate(spec: Schedule, epoch: float, steps_per_epoch: int = 8) -> float:
    return spec.at(round(epoch * steps_per_epoch), epoch)


@given(e=epochs)
def test_formulas(e):
    assert rate(Constant(0.3), e) == 0.3
    assert rate(Step(0.3, 4, 0.5), e) == pytest.approx(0.3 * 0.5 ** (e // 4))
    assert rate(Exponential(0.3, 0.9), e) == pytest.approx(0.3 * 0.9**e)
    assert rate(Inverse(0.3, 0.2), e) == pytest.approx(0.3 / (1 + 0.2 * e))
    turn = math.pi * e / 20 if e < 20 else math.pi
    assert rate(Cosine(0.3, 20, 0.1), e) == pytest.approx(0.1 + 0.2 * (1 + math.cos(turn)) / 2)
    assert rate(Plateau(0.3), e) == 0.3


def test_steps_fall_after_whole_periods():
    assert [rate(Step(1.0, 2), e) for e in (0, 1.99, 2, 3.99, 4)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_cosine_ends_at_its_final_rate_and_stays():
    assert [rate(Cosine(1.0, 10, 0.25), e) for e in (0, 5, 10, 11)] == pytest.approx([1, 0.625, 0.25, 0.25])


def test_warmup_grows_to_the_first_rate_of_then():
    warm = LinearWarmup(4, Cosine(1.0, 10))
    assert [rate(warm, e) for e in (0, 1, 2, 3, 4)] == [0, 0.25, 0.5, 0.75, 1]
    assert rate(warm, 4 + 5) == pytest.approx(0.5)
    assert [rate(LinearWarmup(4, 2.0, start=0.5), e) for e in (0, 2, 4, 9)] == [1, 1.5, 2, 2]


def test_the_clock_of_then_starts_after_the_warmup():
    class Clock(Schedule):
        def at(self, step, epoch):
            return 1000.0 * step + epoch

    warm = LinearWarmup(2.5, Clock())
    assert [warm.at(step, step / 8) for step in (20, 21, 40)] == [0.0, 1000.125, 20_002.5]


def test_warmups_nest():
    assert rate(LinearWarmup(2, LinearWarmup(2, 1.0, start=0.5)), 1) == 0.25
    assert rate(LinearWarmup(2, LinearWarmup(2, 1.0, start=0.5)), 3) == 0.75


def factors(spec: Schedule, losses: list[float]) -> list[float]:
    return [spec.factor_after(losses[:n]) for n in range(len(losses) + 1)]


def test_plateau():
    spec = Plateau(1.0, factor=0.5, patience=2)
    assert factors(spec, [3, 2, 2, 2, 2, 2]) == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    assert factors(spec, [3, 4, 2, 3, 1]) == [1, 1, 1, 1, 1, 1]
    assert factors(spec, [3, 4, 4, 2, 2]) == [1, 1, 1, 0.5, 0.5, 0.5]
    nan = float("nan")
    assert factors(spec, [nan, nan, 1, nan, nan]) == [1, 1, 0.5, 0.5, 0.5, 0.25]


def test_plateau_stops_at_its_minimum():
    assert Plateau(0.2, factor=0.1, patience=1, minimum=0.05).factor_after([1, 1, 1, 1]) == pytest.approx(0.25)


def test_only_plateau_looks_at_losses():
    stuck = [1.0] * 100
    assert Cosine(1.0, 5).factor_after(stuck) == 1.0
    assert LinearWarmup(1, Cosine(1.0, 5)).factor_after(stuck) == 1.0
    assert LinearWarmup(1, Plateau(1.0, 0.5, 60)).factor_after(stuck) == 0.5
    assert LinearWarmup(1, 0.1).factor_after(stuck) == 1.0


def test_schedule():
    assert schedule(0.1) == Constant(0.1)
    assert schedule(1) == Constant(1.0)
    assert schedule(Step(1.0, 2)) == Step(1.0, 2)
    for wrong in ("cosine", None, True):
        with pytest.raises(UsageError, match=r"must be a number ≥ 0 or a schedule \(Constant, .*Plateau\), got"):
            schedule(wrong)


def test_records():
    assert repr(Cosine(0.1, 10)) == "Cosine(rate=0.1, epochs=10, final=0.0)"
    assert len({Constant(0.1), Constant(0.1), Exponential(0.1, 0.5)}) == 2
    assert {kind.__name__ for kind in SCHEDULES.values()} == {
        "Constant", "Step", "Exponential", "Inverse", "Cosine", "LinearWarmup", "Plateau",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-0.1), "Constant: rate must be a finite number ≥ 0, got -0.1"),
        (lambda: schedule(float("nan")), "Constant: rate must be a finite number ≥ 0, got nan"),
        (lambda: Step(0.1, 0), "Step: every must be a finite number > 0, got 0"),
        (lambda: Step(0.1, 1, -1.0), "Step: factor must be a finite number ≥ 0, got -1.0"),
        (lambda: Exponential("0.1", 1), "Exponential: rate must be a finite number ≥ 0, got '0.1'"),
        (lambda: Inverse(0.1, -1), "Inverse: decay must be a finite number ≥ 0, got -1"),
        (lambda: Cosine(0.1, 0), "Cosine: epochs must be a finite number > 0, got 0"),
        (lambda: LinearWarmup(0, 0.1), "LinearWarmup: epochs must be a finite number > 0, got 0"),
        (lambda: LinearWarmup(1, 0.1, 1.0), "LinearWarmup: start must lie in [0, 1), got 1.0"),
        (lambda: LinearWarmup(1, -1.0), "Constant: rate must be a finite number ≥ 0, got -1.0"),
        (lambda: Plateau(0.0), "Plateau: rate must be a finite number > 0, got 0.0"),
        (lambda: Plateau(1.0, 1.0), "Plateau: factor must lie in [0, 1), got 1.0"),
        (lambda: Plateau(1.0, patience=2.5), "Plateau: patience must be an int ≥ 1, got 2.5"),
        (lambda: Plateau(0.1, minimum=0.2), "Plateau: minimum must lie in [0, rate] = [0, 0.1], got 0.2"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
