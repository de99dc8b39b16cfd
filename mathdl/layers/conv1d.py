"""Convolution over a sequence: the convolution of an image of p × 1.

    Z(i, c') = b(c') + Σ_{a, c} A(i s + a d − before, c) W(a, c, c')        (0 outside)
    dA = dZ convolved with W flipped and transposed     dW = (what the window sees)ᵀ dZ     db = Σ dZ

Shapes: A (B, p, k) · W (f, k/groups, k') · b (k',) · Z (B, p', k'). Several channel axes are contracted together:
A (B, p, k₁, k₂) · W (f, k₁, k₂, k').
Propositions: conv-size, conv-forward, im2col, conv-input-grad, conv-kernel-grad, 1x1-conv,
conv-equivariance.
Source: Kasliwal, sections 6 and 6.1 (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.initializers import Initializer, zeros
from mathdl.layers.conv2d import Conv2D, Conv2DCache, conv2d_backward, conv2d_forward
from mathdl.layers.convolution import channels_per_group, check_convolution, tables
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.windows import Padding, Window, fit, rows_and_columns, spatial


def conv1d_forward(
    A: Array, W: Array, b: Array | None, window: Window, groups: int = 1, tables: Tree = NOTHING
) -> tuple[Array, Conv2DCache]:
    """(Z, cache); b may be None, and the window is that of the image p × 1."""
    Z, cache = conv2d_forward(_with_columns(A, 2), _with_columns(W, 1), b, window, groups, tables)
    return namespace(Z).reshape(Z, (*Z.shape[:2], Z.shape[3])), cache


def conv1d_backward(
    dZ: Array, cache: Conv2DCache, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dA or None, {"W": dW, "b": db}); no "b" where forward had none."""
    xp = namespace(dZ)
    into = {name: _with_columns(view, 1) if name == "W" else view for name, view in into.items()}
    dA, grads = conv2d_backward(_with_columns(dZ, 2), cache, into, input_gradient)
    grads["W"] = xp.squeeze(grads["W"], axis=1)
    return (xp.squeeze(dA, axis=2) if input_gradient else None), grads


def _with_columns(A: Array, axis: int) -> Array:
    """A as a view with one column, the new axis `axis`."""
    return namespace(A).reshape(A, (*A.shape[:axis], 1, *A.shape[axis:]), copy=False)


@dataclass(frozen=True)
class Conv1D(Layer):
    """A convolution with `channels` outputs, on sequences (p, k), or (p, k₁, k₂ …) with several channel axes.

    `kernel`, `stride` and `dilation` are ints. `padding`: `"valid"`, `"same"` (output ⌈p / s⌉, the odd element after),
    an int on both sides, or (before, after). `groups` cuts the channels; with groups = k the layer is depthwise.
    `initializer` is that of W (None: He before a ReLU-like activation, Glorot otherwise; fan-in f·k/groups, fan-out
    f·k'/groups); b starts at 0. `l1`, `l2` add the penalty l1 Σ|W| + l2/2 Σ W² to the cost.

    Raises `UsageError` for arguments that make no sense, `ShapeError` for inputs that do not fit.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: Padding = "valid"
    dilation: int = 1
    groups: int = 1
    bias: bool = True
    initializer: str | Initializer | None = None
    l1: float = 0.0
    l2: float = 0.0
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = Conv2D.propositions

    def __post_init__(self) -> None:
        check_convolution(self, 1)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape, as images p × 1."""
        return fit("Conv1D", spatial("Conv1D", 1, input), self.kernel, self.stride, self.padding, self.dilation)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        places, _ = self.window(input).output(rows_and_columns(input, 1))
        W = (self.kernel, *channels_per_group("Conv1D", input[1:], self.groups), self.channels)
        b = {"b": (self.channels,)} if self.bias else {}
        return (places, self.channels), {"W": W} | b

    def initializers(self) -> Tree:
        return {"W": self.initializer, "b": zeros()}

    def fans(self, input: Shape) -> Tree:
        f, *k, n = self.shapes(input)[1]["W"]
        return {"W": (f * prod(k), f * n // self.groups)}

    def constants(self, input: Shape) -> Tree:
        return tables(self.window(input), rows_and_columns(input, 1), prod(input[1:]), self.groups)

    def multiply_adds(self, input: Shape) -> int:
        output, parameters = self.shapes(input)
        return output[0] * prod(parameters["W"])

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Conv2DCache]:
        window = self.window(A.shape[1:])
        return conv1d_forward(A, params["W"], params.get("b"), window, self.groups, context.constants)

    def backward(
        self, dA: Array, cache: Conv2DCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return conv1d_backward(dA, cache, into, input_gradient)
