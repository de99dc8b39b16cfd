"""Early stopping: which way a figure improves, and what is refused."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

import mathdl as md
from mathdl.errors import UnknownNameError, UsageError
from mathdl.training.callbacks import Best


@pytest.mark.parametrize(
    ("monitor", "upwards"),
    [("val_loss", False), ("loss", False), ("mae", False), ("val_rmse", False), ("accuracy", True),
     ("val_accuracy", True), ("r2", True), ("val_r2", True)],
)  # fmt: skip
def test_which_way_is_better(monitor, upwards):
    stopping = md.EarlyStopping(monitor=monitor)
    assert stopping.improves(0.6, 0.5) is upwards
    assert stopping.improves(0.4, 0.5) is not upwards
    assert not stopping.improves(0.5, 0.5)


def test_minimum_change():
    stopping = md.EarlyStopping(minimum_change=0.1)
    assert stopping.improves(0.35, 0.5)
    assert not stopping.improves(0.45, 0.5)
    assert not stopping.improves(0.55, 0.5)
    upwards = md.EarlyStopping(monitor="accuracy", minimum_change=0.1)
    assert upwards.improves(0.65, 0.5)
    assert not upwards.improves(0.55, 0.5)


def test_any_number_is_better_than_nan():
    for monitor in ("loss", "accuracy"):
        stopping = md.EarlyStopping(monitor=monitor)
        assert stopping.improves(9.0, nan)
        assert stopping.improves(inf, nan)
        assert not stopping.improves(nan, nan)
        assert not stopping.improves(nan, 9.0)


def test_value():
    assert md.EarlyStopping().value({"epoch": 1, "loss": 0.5, "val_loss": 0.25}) == 0.25


def test_figures_are_checked():
    md.EarlyStopping().check(["loss", "val_loss"])
    with pytest.raises(UnknownNameError, match=r"unknown figure to monitor 'val_los'. Did you mean 'val_loss'"):
        md.EarlyStopping(monitor="val_los").check(["loss", "val_loss"])


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1.5}, {"patience": True}, {"minimum_change": -0.1}])
def test_what_is_refused(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        md.EarlyStopping(**options)


def test_figures_of_the_best_make_it_again():
    best = Best("loss", 0.5, 3, np.zeros(2), np.zeros(0), waited=2)
    again = Best(**best.figures(), theta=best.theta, state=best.state)
    assert (again.monitor, again.value, again.epoch, again.waited) == ("loss", 0.5, 3, 2)
