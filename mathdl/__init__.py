"""mathdl: deep learning, derived. The mathematics of neural networks as a library that people train with.

    import mathdl as md

    net = md.Network([md.Dense(64), md.ReLU(), md.Dense(10), md.Softmax()])
    trainer = md.Trainer(net, loss="categorical_cross_entropy", optimizer=md.SGD(0.1, momentum=0.9))
    trainer.fit(X, Y, epochs=10)
    trainer.A[2, 17, 4]          # A^{[2]{17}(4)}

`mathdl notation` prints what the letters mean.
"""

from typing import TYPE_CHECKING, Any

from mathdl import data as data
from mathdl import errors as errors
from mathdl import initializers as initializers
from mathdl import metrics as metrics
from mathdl import schedules as schedules
from mathdl.layers import ELU as ELU
from mathdl.layers import GELU as GELU
from mathdl.layers import AveragePool1D as AveragePool1D
from mathdl.layers import AveragePool2D as AveragePool2D
from mathdl.layers import BatchNorm as BatchNorm
from mathdl.layers import Conv1D as Conv1D
from mathdl.layers import Conv2D as Conv2D
from mathdl.layers import Dense as Dense
from mathdl.layers import Dropout as Dropout
from mathdl.layers import Flatten as Flatten
from mathdl.layers import GlobalAveragePool1D as GlobalAveragePool1D
from mathdl.layers import GlobalAveragePool2D as GlobalAveragePool2D
from mathdl.layers import GlobalMaxPool1D as GlobalMaxPool1D
from mathdl.layers import GlobalMaxPool2D as GlobalMaxPool2D
from mathdl.layers import LayerNorm as LayerNorm
from mathdl.layers import LeakyReLU as LeakyReLU
from mathdl.layers import LogSoftmax as LogSoftmax
from mathdl.layers import MaxPool1D as MaxPool1D
from mathdl.layers import MaxPool2D as MaxPool2D
from mathdl.layers import Perceptron as Perceptron
from mathdl.layers import ReLU as ReLU
from mathdl.layers import Reshape as Reshape
from mathdl.layers import Residual as Residual
from mathdl.layers import Sigmoid as Sigmoid
from mathdl.layers import SiLU as SiLU
from mathdl.layers import Softmax as Softmax
from mathdl.layers import Softplus as Softplus
from mathdl.layers import Tanh as Tanh
from mathdl.layers.layer import Context as Context
from mathdl.layers.layer import Layer as Layer
from mathdl.losses import BinaryCrossEntropy as BinaryCrossEntropy
from mathdl.losses import CategoricalCrossEntropy as CategoricalCrossEntropy
from mathdl.losses import Huber as Huber
from mathdl.losses import MeanAbsoluteError as MeanAbsoluteError
from mathdl.losses import MeanSquaredError as MeanSquaredError
from mathdl.losses import Poisson as Poisson
from mathdl.network import Network as Network
from mathdl.network import Parameters as Parameters
from mathdl.optimizers import SGD as SGD
from mathdl.optimizers import Adam as Adam
from mathdl.optimizers import AdamW as AdamW
from mathdl.optimizers import RMSprop as RMSprop
from mathdl.parity import parity as parity
from mathdl.training.callbacks import EarlyStopping as EarlyStopping
from mathdl.training.model import Model as Model
from mathdl.training.model import load as load
from mathdl.training.trainer import Trainer as Trainer

if TYPE_CHECKING:
    from mathdl.theory.gradients import check_gradients as check_gradients

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CategoricalCrossEntropy",
    "Context",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "Huber",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Model",
    "Network",
    "Parameters",
    "Perceptron",
    "Poisson",
    "RMSprop",
    "ReLU",
    "Reshape",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Trainer",
    "check_gradients",
    "data",
    "errors",
    "initializers",
    "load",
    "metrics",
    "parity",
    "schedules",
]


def __getattr__(name: str) -> Any:
    """What checks is imported when it is asked for: those who train do not wait for it."""
    if name == "check_gradients":
        from mathdl.theory.gradients import check_gradients

        return check_gradients
    raise AttributeError(f"module 'mathdl' has no attribute {name!r}")
