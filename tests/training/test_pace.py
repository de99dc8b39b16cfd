"""How many steps run in a row: more while they are quick, fewer when they are not."""

from __future__ import annotations

import pytest

from mathdl.training import pace as module
from mathdl.training.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that a run moves on."""
    time = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: time[0])
    return time


def run(pace, clock, seconds_a_step, count=None):
    def steps(first, count):
        clock[0] += seconds_a_step * count
        return count

    return pace.timed(steps, 0, pace.steps if count is None else count)


def test_quick_steps_run_more_and_more_in_a_row_up_to_the_time(clock):
    pace, made = Pace(), []
    for _ in range(12):
        made.append(run(pace, clock, 0.001))
    assert made == [1, 2, 4, 8, *[16] * 8]


def test_steps_that_slow_down_run_fewer_in_a_row(clock):
    pace = Pace()
    for _ in range(5):
        run(pace, clock, 0.001)
    made = [run(pace, clock, 0.01) for _ in range(6)]
    assert made == [16, 8, 4, 2, 2, 2]


def test_a_short_rest_of_an_epoch_says_nothing(clock):
    pace = Pace()
    run(pace, clock, 0.001)
    run(pace, clock, 0.001, count=1)
    assert pace.steps == 2


def test_slow_steps_run_one_by_one(clock):
    pace = Pace()
    assert [run(pace, clock, 1.0) for _ in range(3)] == [1, 1, 1]
