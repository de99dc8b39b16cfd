"""The layers: a file per layer, its mathematics as two pure functions and its configuration as a frozen dataclass."""

from mathdl.layers.average_pool import AveragePool1D as AveragePool1D
from mathdl.layers.average_pool import AveragePool2D as AveragePool2D
from mathdl.layers.batch_norm import BatchNorm as BatchNorm
from mathdl.layers.conv1d import Conv1D as Conv1D
from mathdl.layers.conv2d import Conv2D as Conv2D
from mathdl.layers.dense import Dense as Dense
from mathdl.layers.dropout import Dropout as Dropout
from mathdl.layers.elu import ELU as ELU
from mathdl.layers.flatten import Flatten as Flatten
from mathdl.layers.gelu import GELU as GELU
from mathdl.layers.global_pool import GlobalAveragePool1D as GlobalAveragePool1D
from mathdl.layers.global_pool import GlobalAveragePool2D as GlobalAveragePool2D
from mathdl.layers.global_pool import GlobalMaxPool1D as GlobalMaxPool1D
from mathdl.layers.global_pool import GlobalMaxPool2D as GlobalMaxPool2D
from mathdl.layers.layer_norm import LayerNorm as LayerNorm
from mathdl.layers.leaky_relu import LeakyReLU as LeakyReLU
from mathdl.layers.log_softmax import LogSoftmax as LogSoftmax
from mathdl.layers.max_pool import MaxPool1D as MaxPool1D
from mathdl.layers.max_pool import MaxPool2D as MaxPool2D
from mathdl.layers.perceptron import Perceptron as Perceptron
from mathdl.layers.relu import ReLU as ReLU
from mathdl.layers.reshape import Reshape as Reshape
from mathdl.layers.residual import Residual as Residual
from mathdl.layers.sigmoid import Sigmoid as Sigmoid
from mathdl.layers.silu import SiLU as SiLU
from mathdl.layers.softmax import Softmax as Softmax
from mathdl.layers.softplus import Softplus as Softplus
from mathdl.layers.tanh import Tanh as Tanh

__all__ = [
    "ELU",
    "GELU",
    "AveragePool1D",
    "AveragePool2D",
    "BatchNorm",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool1D",
    "GlobalAveragePool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "LayerNorm",
    "LeakyReLU",
    "LogSoftmax",
    "MaxPool1D",
    "MaxPool2D",
    "Perceptron",
    "ReLU",
    "Reshape",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]
