"""Convolution over rows and columns.

    Z(i, j, c') = b(c') + Σ_{a, a', c} A(i s + a d − top, j s' + a' d' − left, c) W(a, a', c, c')        (0 outside)
    dA = dZ convolved with W flipped and transposed     dW = (what the window sees)ᵀ dZ     db = Σ dZ

That is: gather what the window sees in each place, and apply one dense layer to all of it; a 1 × 1 window sees the
pixel itself. With `groups` the sum over c runs over the channels of the group of c'. The kernel is not flipped: like
every library of the field, this one means a correlation.

Shapes: A (B, p, q, k) · W (f, f', k/groups, k') · b (k',) · Z (B, p', q', k'). Several channel axes are contracted
together: A (B, p, q, k₁, k₂) · W (f, f', k₁, k₂, k').
Propositions: conv-size, conv-forward, im2col, conv-input-grad, conv-kernel-grad, 1x1-conv,
conv-equivariance.
Source: Kasliwal, sections 6 and 6.1 (headed); the formulas are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, NamedTuple

from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.initializers import Initializer, zeros
from mathdl.layers.convolution import (
    channels_per_group,
    check_convolution,
    convolve,
    convolve_dA,
    convolve_dW,
    depthwise,
    depthwise_dA,
    depthwise_dW,
    is_depthwise,
    tables,
)
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.sums import sum_rows
from mathdl.windows import Gather, Padding, Size, Window, fit, rows_and_columns, spatial


class Conv2DCache(NamedTuple):
    """What the backward pass needs: A[l-1] (not what the window sees, f·f' times as much), W[l] and the geometry."""

    A: Array
    W: Array
    window: Window
    groups: int
    bias: bool
    tables: Tree


def conv2d_forward(
    A: Array, W: Array, b: Array | None, window: Window, groups: int = 1, tables: Tree = NOTHING
) -> tuple[Array, Conv2DCache]:
    """(Z, cache); b may be None. `tables` are those of `convolution.tables`, on the device of A."""
    xp = namespace(A)
    cache = Conv2DCache(A, W, window, groups, b is not None, tables)
    A, W = _flat(cache)
    B, p, q, k = A.shape
    if is_depthwise(k, groups):
        Z = depthwise(A, W, b, window)
    else:
        Z = convolve(A, W, b, Gather(window, (p, q), tables.get("forward")), groups)
    return xp.reshape(Z, (B, *window.output((p, q)), W.shape[2])), cache


def conv2d_backward(
    dZ: Array, cache: Conv2DCache, into: Tree = NOTHING, input_gradient: bool = True
) -> tuple[Array, dict[str, Array]]:
    """(dA or None, {"W": dW, "b": db}); no "b" where forward had none."""
    xp = namespace(dZ)
    window, groups, tables = cache.window, cache.groups, cache.tables
    A, W = _flat(cache)
    _, p, q, k = A.shape
    D = xp.reshape(dZ, (prod(dZ.shape[:3]), dZ.shape[3]))
    into_W = xp.reshape(into["W"], W.shape, copy=False) if "W" in into else None
    dA = None
    if is_depthwise(k, groups):
        dW = depthwise_dW(A, D, window, into_W)
        if input_gradient:
            dA = depthwise_dA(dZ, W, window, (p, q), k)
    else:
        dW = convolve_dW(A, D, Gather(window, (p, q), tables.get("forward")), groups, into_W)
        if input_gradient:
            dA = convolve_dA(dZ, W, window, (p, q), tables.get("adjoint"), groups)
    grads = {"W": xp.reshape(dW, cache.W.shape)}
    if cache.bias:
        grads["b"] = sum_rows(D, into.get("b"))
    return (xp.reshape(dA, cache.A.shape) if input_gradient else None), grads


def _flat(cache: Conv2DCache) -> tuple[Array, Array]:
    """A with one channel axis, W with one axis of taps and one of channels."""
    xp = namespace(cache.A)
    A, W = cache.A, cache.W
    taps, k = prod(W.shape[:2]), prod(W.shape[2:-1])
    return xp.reshape(A, (*A.shape[:3], k * cache.groups)), xp.reshape(W, (taps, k, W.shape[-1]))


@dataclass(frozen=True)
class Conv2D(Layer):
    """A convolution with `channels` outputs, on images (p, q, k), or (p, q, k₁, k₂ …) with several channel axes.

    `kernel`, `stride` and `dilation` are an int or (rows, columns). `padding`: `"valid"`, `"same"` (output ⌈p / s⌉, the
    odd pixel after), an int or (rows, columns) on both sides, or ((top, bottom), (left, right)). `groups` cuts the
    channels; with groups = k the layer is depthwise. `initializer` is that of W (None: He before a ReLU-like
    activation, Glorot otherwise; fan-in f·f'·k/groups, fan-out f·f'·k'/groups); b starts at 0. `l1`, `l2` add the
    penalty l1 Σ|W| + l2/2 Σ W² to the cost.

    Raises `UsageError` for arguments that make no sense, `ShapeError` for inputs that do not fit.
    """

    channels: int
    kernel: Size
    stride: Size = 1
    padding: Padding = "valid"
    dilation: Size = 1
    groups: int = 1
    bias: bool = True
    initializer: str | Initializer | None = None
    l1: float = 0.0
    l2: float = 0.0
    trainable: bool = True

    propositions: ClassVar[tuple[str, ...]] = (
        "conv-size",
        "conv-forward",
        "im2col",
        "conv-input-grad",
        "conv-kernel-grad",
        "1x1-conv",
        "conv-equivariance",
    )

    def __post_init__(self) -> None:
        check_convolution(self, 2)

    def window(self, input: Shape) -> Window:
        """The window on inputs of this shape."""
        return fit("Conv2D", spatial("Conv2D", 2, input), self.kernel, self.stride, self.padding, self.dilation)

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        window = self.window(input)
        W = (*window.kernel, *channels_per_group("Conv2D", input[2:], self.groups), self.channels)
        b = {"b": (self.channels,)} if self.bias else {}
        return (*window.output(rows_and_columns(input, 2)), self.channels), {"W": W} | b

    def initializers(self) -> Tree:
        return {"W": self.initializer, "b": zeros()}

    def fans(self, input: Shape) -> Tree:
        f, g, *k, n = self.shapes(input)[1]["W"]
        return {"W": (f * g * prod(k), f * g * n // self.groups)}

    def constants(self, input: Shape) -> Tree:
        return tables(self.window(input), rows_and_columns(input, 2), prod(input[2:]), self.groups)

    def multiply_adds(self, input: Shape) -> int:
        output, parameters = self.shapes(input)
        return prod(output[:-1]) * prod(parameters["W"])

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Conv2DCache]:
        window = self.window(A.shape[1:])
        return conv2d_forward(A, params["W"], params.get("b"), window, self.groups, context.constants)

    def backward(
        self, dA: Array, cache: Conv2DCache, into: Tree = NOTHING, input_gradient: bool = True
    ) -> tuple[Array, Tree]:
        return conv2d_backward(dA, cache, into, input_gradient)
