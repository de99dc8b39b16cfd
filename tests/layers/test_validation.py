"""Arguments of layers: NumPy's integers are as good as Python's."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mathdl as md
from mathdl.architecture import layer_to_dict
from mathdl.errors import UsageError
from mathdl.layers.validation import in_interval, positive

TWO, THREE = np.int64(2), np.int32(3)


@pytest.mark.parametrize(
    ("layer", "same"),
    [
        (md.Dense(THREE), md.Dense(3)),
        (md.Reshape((TWO, THREE)), md.Reshape((2, 3))),
        (md.Conv1D(THREE, TWO, padding=(TWO, THREE)), md.Conv1D(3, 2, padding=(2, 3))),
        (
            md.Conv2D(THREE, (TWO, THREE), stride=TWO, padding=((TWO, 0), (THREE, 1)), groups=THREE),
            md.Conv2D(3, (2, 3), stride=2, padding=((2, 0), (3, 1)), groups=3),
        ),
        (md.MaxPool2D(TWO, stride=(THREE, TWO)), md.MaxPool2D(2, stride=(3, 2))),
        (md.AveragePool1D(THREE, padding=np.uint8(1)), md.AveragePool1D(3, padding=1)),
    ],
)
def test_numpy_integers_are_stored_as_plain_ones(layer, same):
    assert (layer, repr(layer)) == (same, repr(same))
    assert json.dumps(layer_to_dict(layer)) == json.dumps(layer_to_dict(same))


@pytest.mark.parametrize("width", [np.int64(0), np.float64(3), np.bool_(True), np.array([3])])
def test_other_numbers_of_numpy_are_refused(width):
    with pytest.raises(UsageError, match="Dense: width must be an int ≥ 1"):
        md.Dense(width)


@pytest.mark.parametrize("value", [1, -0.1, float("nan"), True, "0.5", None])
def test_in_interval(value):
    in_interval("Dropout", 0, 1, rate=0.5)
    with pytest.raises(UsageError, match=r"Dropout: rate must lie in \[0, 1\), got"):
        in_interval("Dropout", 0, 1, rate=value)


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan"), True, "1"])
def test_positive(value):
    positive("ELU", alpha=1)
    with pytest.raises(UsageError, match="ELU: alpha must be a finite number > 0, got"):
        positive("ELU", alpha=value)
