"""Every shipped layer on a shape that is small enough for symbols, and every loss."""

from __future__ import annotations

import mathdl as md
from mathdl import layers

LAYERS = [
    (md.Dense(2), (2,)),
    (md.Perceptron(md.Tanh()), (2,)),
    (md.Conv1D(2, 2, padding="same"), (3, 1)),
    (md.Conv2D(1, 2), (3, 3, 1)),
    (md.Conv2D(1, 2, stride=2, padding=1), (2, 2, 2)),
    (md.Conv2D(2, (2, 1), groups=2, dilation=2), (3, 1, 2)),
    (md.MaxPool1D(2), (4, 1)),
    (md.MaxPool2D(2, stride=1), (2, 3, 1)),
    (md.AveragePool1D(2, padding="same"), (3, 1)),
    (md.AveragePool2D(2, stride=1, padding=1), (2, 2, 1)),
    (md.GlobalAveragePool1D(), (3, 2)),
    (md.GlobalAveragePool2D(), (2, 2, 1)),
    (md.GlobalMaxPool1D(), (3, 1)),
    (md.GlobalMaxPool2D(), (2, 2, 1)),
    (md.ReLU(), (2,)),
    (md.LeakyReLU(), (2,)),
    (md.ELU(0.5), (2,)),
    (md.GELU(), (2,)),
    (md.SiLU(), (2,)),
    (md.Sigmoid(), (2,)),
    (md.Tanh(), (2,)),
    (md.Softplus(), (2,)),
    (md.Softmax(), (3,)),
    (md.LogSoftmax(), (3,)),
    (md.Flatten(), (2, 2)),
    (md.Reshape((2, 2)), (4,)),
    (md.Dropout(0.5), (4,)),
    (md.BatchNorm(), (1,)),
    (md.LayerNorm(), (2,)),
    (md.Residual([md.Dense(2), md.Tanh()], shortcut=[md.Dense(2, bias=False)]), (2,)),
]
"""(layer, shape of one instance)."""

LOSSES = [
    md.CategoricalCrossEntropy(),
    md.CategoricalCrossEntropy(logits=True),
    md.CategoricalCrossEntropy(logits=True, label_smoothing=0.1),
    md.BinaryCrossEntropy(),
    md.BinaryCrossEntropy(logits=True),
    md.MeanSquaredError(),
    md.MeanAbsoluteError(),
    md.Huber(),
    md.Poisson(),
]

assert {type(layer).__name__ for layer, _ in LAYERS} == set(layers.__all__)
