"""Classes by name: what they are called, and which one a model predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.training.model import Model


def is_one_class_of_several(model: Model) -> bool:
    """Whether the model tells classes apart, rather than give numbers or several answers of yes or no."""
    return model.loss.kind == "categorical" or (model.loss.kind == "binary" and width(model) == 1)


def width(model: Model) -> int:
    """Nodes of the output layer."""
    return int(model.network.shapes(model.params.input_shape)[-1][0])


def class_names(model: Model) -> list[str]:
    """What the classes are called: as in the data, or by their labels 0, 1, …"""
    return list(model.classes or map(str, range(max(2, width(model)))))


def predicted_labels(P: NDArray[Any]) -> NDArray[np.int64]:
    """The label with the largest probability; of one probability, whether it is more than a half."""
    if P.ndim == 2 and P.shape[1] > 1:
        return np.asarray(np.argmax(P, axis=1), dtype=np.int64)
    return (P.reshape(P.shape[0]) > 0.5).astype(np.int64)
