"""What convolutions of one and of two dimensions share: sums over windows, as gathers and matrix products.

Everywhere below: A (B, p, q, k), its gradient likewise; W (f·f', k/groups, k'), taps in row-major order; Z and dZ by
place, (B·p'·q', k'). With groups, the j-th group of the k' outputs sees the j-th group of the k channels only.
"""

from __future__ import annotations

from math import prod
from typing import Any

from mathdl.arrays import Array, Shape, Tree, like, namespace
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.validation import plain_ints, positive_int
from mathdl.primitive import primitive
from mathdl.sums import sum_outer, sum_rows
from mathdl.windows import Gather, Pair, Window, check_window, cropped, gather_table, padded, patches


@primitive
def convolve(A: Array, W: Array, b: Array | None, gather: Gather, groups: int) -> Array:
    """Z = (what the window sees) W + b: gather, then multiply. One product for each group."""
    xp = namespace(A)
    P = patches(A, gather)
    if groups == 1:
        Z = xp.matmul(_joined(P, 1), _joined(W, 0))
    else:
        Z = xp.empty((P.shape[0], W.shape[2]), **like(A))
        for k_in, k_out in channel_groups(P.shape[2], W.shape[2], groups):
            Z[:, k_out] = xp.matmul(_joined(P[:, :, k_in], 1), _joined(W[:, :, k_out], 0))
    if b is not None:
        Z += b
    return Z


@primitive
def convolve_dW(A: Array, dZ: Array, gather: Gather, groups: int, into: Array | None = None) -> Array:
    """dW = (what the window sees)ᵀ dZ, for each group."""
    xp = namespace(A)
    P = patches(A, gather)
    _, taps, k = P.shape
    dW = xp.empty((taps, k // groups, dZ.shape[1]), **like(A)) if into is None else into
    if groups == 1:
        sum_outer(_joined(P, 1), dZ, xp.reshape(dW, (taps * k, dZ.shape[1]), copy=False))
        return dW
    for k_in, k_out in channel_groups(k, dZ.shape[1], groups):
        product = sum_outer(_joined(P[:, :, k_in], 1), dZ[:, k_out])
        dW[:, :, k_out] = xp.reshape(product, (taps, k // groups, product.shape[1]))
    return dW


@primitive
def convolve_dA(dZ: Array, W: Array, window: Window, input: Pair, adjoint: Array | None, groups: int) -> Array:
    """dA, for dZ of shape (B, p', q', k').

    At stride 1 it is the convolution of dZ with the flipped and transposed kernel (the adjoint of a gather is a gather;
    `adjoint` is its table). At larger strides that would mostly multiply zeros: there it is the product dZ Wᵀ, each of
    whose taps is added to the pixels that the tap saw.
    """
    if window.stride != (1, 1):
        return convolve_dA_by_taps(dZ, W, window, input, groups)
    B, *places, _ = dZ.shape
    gather = Gather(window.adjoint(), (places[0], places[1]), adjoint)
    dA = convolve(dZ, transposed_kernel(W, groups), None, gather, groups)
    return namespace(dZ).reshape(dA, (B, *input, W.shape[1] * groups))


@primitive
def convolve_dA_by_taps(dZ: Array, W: Array, window: Window, input: Pair, groups: int) -> Array:
    """dA as the product dZ Wᵀ, each of whose taps is added to the pixels that the tap saw."""
    xp = namespace(dZ)
    B, *places, n = dZ.shape
    output = (places[0], places[1])
    taps, c, _ = W.shape
    k = c * groups
    size = (p + before + after for p, (before, after) in zip(input, window.padding, strict=True))
    dA = xp.zeros((B, *size, k), **like(dZ))
    for k_in, k_out in channel_groups(k, n, groups):
        D = xp.reshape(dZ[:, :, :, k_out], (B * prod(output), n // groups))
        G = xp.reshape(xp.matmul(D, _joined(W[:, :, k_out], 0).T), (B, *output, taps, c))
        for t, (rows, columns) in enumerate(window.taps(output)):
            dA[:, rows, columns, k_in] += G[:, :, :, t, :]
    return _without_padding(dA, window)


def transposed_kernel(W: Array, groups: int) -> Array:
    """(f·f', k/groups, k') → (f·f', k'/groups, k), the taps flipped: the kernel of the adjoint convolution."""
    xp = namespace(W)
    taps, c, n = W.shape
    by_group = xp.reshape(xp.flip(W, axis=0), (taps, c, groups, n // groups))
    return xp.reshape(xp.permute_dims(by_group, (0, 3, 2, 1)), (taps, n // groups, groups * c))


def depthwise(A: Array, W: Array, b: Array | None, window: Window) -> Array:
    """Z where every channel is a group, with one or more outputs: multiply and add over taps."""
    xp = namespace(A)
    B, p, q, k = A.shape
    output, m = window.output((p, q)), W.shape[2] // k
    A, W = _with_padding(A, window)[..., None], xp.reshape(W, (W.shape[0], k, m))
    Z = xp.zeros((B, *output, k, m), **like(A))
    for t, (rows, columns) in enumerate(window.taps(output)):
        Z += A[:, rows, columns, :, :] * W[t, :, :]
    Z = xp.reshape(Z, (B * prod(output), k * m))
    if b is not None:
        Z += b
    return Z


def depthwise_dW(A: Array, dZ: Array, window: Window, into: Array | None = None) -> Array:
    """dW of `depthwise`."""
    xp = namespace(A)
    B, p, q, k = A.shape
    output, n = window.output((p, q)), dZ.shape[1]
    A, dZ = _with_padding(A, window)[..., None], xp.reshape(dZ, (B, *output, k, n // k))
    taps = window.taps(output)
    dW = xp.empty((len(taps), 1, n), **like(dZ)) if into is None else into
    for t, (rows, columns) in enumerate(taps):
        dW[t, 0, :] = sum_rows(xp.reshape(A[:, rows, columns, :, :] * dZ, (B * prod(output), n)))
    return dW


def depthwise_dA(dZ: Array, W: Array, window: Window, input: Pair, k: int) -> Array:
    """dA of `depthwise`, for dZ of shape (B, p', q', k')."""
    xp = namespace(dZ)
    B, *places, n = dZ.shape
    output, m = (places[0], places[1]), n // k
    dZ, W = xp.reshape(dZ, (B, *output, k, m)), xp.reshape(W, (W.shape[0], k, m))
    size = (p + before + after for p, (before, after) in zip(input, window.padding, strict=True))
    dA = xp.zeros((B, *size, k), **like(dZ))
    for t, (rows, columns) in enumerate(window.taps(output)):
        dA[:, rows, columns, :] += xp.sum(dZ * W[t, :, :], axis=4)
    return _without_padding(dA, window)


def channel_groups(k: int, n: int, groups: int) -> list[tuple[slice, slice]]:
    """(channels in, channels out) of each group."""
    c, m = k // groups, n // groups
    return [(slice(g * c, (g + 1) * c), slice(g * m, (g + 1) * m)) for g in range(groups)]


def is_depthwise(k: int, groups: int) -> bool:
    """Whether every channel is a group of its own (and there is more than one)."""
    return groups == k > 1


def tables(window: Window, input: Pair, k: int, groups: int) -> Tree:
    """The constants of a convolution that gathers: the table of forward and, at stride 1, that of its adjoint."""
    if is_depthwise(k, groups) or window.is_point:
        return {}
    forward = {"forward": gather_table(window, input)}
    if window.stride != (1, 1):
        return forward
    return forward | {"adjoint": gather_table(window.adjoint(), window.output(input))}


def check_convolution(layer: Any, axes: int) -> None:
    """Raise `UsageError` for a convolution along so many axes that fits no input."""
    name, channels, groups = type(layer).__name__, layer.channels, layer.groups
    positive_int(layer, "channels", "groups")
    plain_ints(layer, "kernel", "stride", "padding", "dilation")
    check_window(name, axes, layer.padding, kernel=layer.kernel, stride=layer.stride, dilation=layer.dilation)
    if channels % groups:
        raise UsageError(f"{name}: groups must divide channels, got channels = {channels}, groups = {groups}")


def channels_per_group(layer: str, channels: Shape, groups: int) -> Shape:
    """(k/groups,), or all the channel axes of an input where there is one group; raises `ShapeError`."""
    if groups == 1:
        return channels
    if len(channels) > 1:
        raise ShapeError(
            f"{layer}: groups needs a single channel axis, several are contracted together · groups = {groups},"
            f" channels {channels}"
        )
    if channels[0] % groups:
        raise ShapeError(f"{layer}: groups must divide the channels of A[l-1] · groups = {groups}, k = {channels[0]}")
    return (channels[0] // groups,)


def _joined(X: Array, axis: int) -> Array:
    """The axes `axis` and `axis + 1` of three as one."""
    first, second, third = X.shape
    return namespace(X).reshape(X, (first * second, third) if axis == 0 else (first, second * third))


def _with_padding(A: Array, window: Window) -> Array:
    rows, columns = window.padding
    return padded(padded(A, 1, rows), 2, columns)


def _without_padding(dA: Array, window: Window) -> Array:
    rows, columns = window.padding
    return cropped(cropped(dA, 1, rows), 2, columns)
