"""Losses: a file for each, forward and backward on one screen.

| name | targets Y | last layer it is fused with |
|---|---|---|
| `categorical_cross_entropy` | labels (n,) or rows on the simplex (n, l) | Softmax, LogSoftmax |
| `binary_cross_entropy` | 0/1, (n,) or (n, l) | Sigmoid |
| `mean_squared_error`, `mean_absolute_error`, `huber` | numbers, (n,) or (n, d) | |
| `poisson` | counts ≥ 0, (n,) or (n, d) | |
"""

from __future__ import annotations

from mathdl.errors import UsageError, unknown_name
from mathdl.losses.binary_cross_entropy import BinaryCrossEntropy
from mathdl.losses.categorical_cross_entropy import CategoricalCrossEntropy
from mathdl.losses.huber import Huber
from mathdl.losses.loss import Kind, Loss, LossCache
from mathdl.losses.mean_absolute_error import MeanAbsoluteError
from mathdl.losses.mean_squared_error import MeanSquaredError
from mathdl.losses.poisson import Poisson
from mathdl.losses.targets import require_two_classes

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Huber",
    "Kind",
    "Loss",
    "LossCache",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "loss",
    "require_two_classes",
]

LOSSES: dict[str, type[Loss]] = {
    "categorical_cross_entropy": CategoricalCrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "huber": Huber,
    "poisson": Poisson,
}
"""Every loss by name."""


def loss(spec: str | Loss) -> Loss:
    """The loss called `spec` with its default arguments; a loss is returned as it is."""
    if isinstance(spec, str):
        if spec not in LOSSES:
            raise unknown_name("loss", spec, LOSSES)
        return LOSSES[spec]()
    if isinstance(spec, type) or not isinstance(spec, Loss):
        raise UsageError(f"a loss must be a name or an object such as MeanSquaredError(), got {spec!r}")
    return spec
