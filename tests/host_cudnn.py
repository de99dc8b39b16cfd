"""cuDNN on host memory.

The functions of `Library` know a convolution from nothing but its descriptors, and compute it tap by tap.
"""

from __future__ import annotations

import ctypes
import itertools

import numpy as np

CODES = {0: (np.float32, ctypes.c_float), 1: (np.float64, ctypes.c_double)}
NOT_SUPPORTED = 3000


def memory(pointer, shape, dtype):
    """The numbers that begin at an address: a view."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer.value), dtype=dtype).reshape(shape)


class Library:
    """cuDNN on host memory: NHWC images, (n, f, f', c) kernels, a correlation with padding, stride and dilation."""

    def __init__(self):
        self.made, self.calls = {}, []
        self.stream = self.status = None
        self.known = {"Forward": {1: 24, 0: 0}, "BackwardData": {1: 24}, "BackwardFilter": {1: 24}}
        """The algorithms that there are, and the bytes that each works in."""
        self.version = 91300

    def cudnnGetVersion(self):
        return self.version

    def cudnnGetErrorString(self, status):
        return f"CUDNN_STATUS_{status}".encode()

    def make(self, reference):
        reference._obj.value = len(self.made) + 1
        self.made[len(self.made) + 1] = {}
        return 0

    def cudnnCreate(self, reference):
        return self.make(reference)

    def cudnnCreateTensorDescriptor(self, reference):
        return self.make(reference)

    def cudnnCreateFilterDescriptor(self, reference):
        return self.make(reference)

    def cudnnCreateConvolutionDescriptor(self, reference):
        return self.make(reference)

    def set(self, descriptor, **values):
        self.made[descriptor.value] |= values
        return 0

    def cudnnSetTensor4dDescriptor(self, descriptor, layout, kind, n, c, h, w):
        return self.set(descriptor, layout=layout, kind=kind, shape=(n, h, w, c))

    def cudnnSetFilter4dDescriptor(self, descriptor, kind, layout, k, c, h, w):
        return self.set(descriptor, layout=layout, kind=kind, shape=(k, h, w, c))

    def cudnnSetConvolution2dDescriptor(self, descriptor, pad_h, pad_w, u, v, dilation_h, dilation_w, mode, kind):
        pairs = {"pad": (pad_h, pad_w), "stride": (u, v), "dilation": (dilation_h, dilation_w)}
        return self.set(descriptor, **pairs, mode=mode, kind=kind)

    def cudnnSetConvolutionMathType(self, descriptor, math):
        return self.set(descriptor, math=math)

    def cudnnSetConvolutionGroupCount(self, descriptor, groups):
        return self.set(descriptor, groups=groups)

    def cudnnSetStream(self, handle, stream):
        self.stream = stream.value
        return 0

    def workspace(self, name, first, second, convolution, out, algorithm, size):
        if algorithm not in self.known[name]:
            return NOT_SUPPORTED
        size._obj.value = self.known[name][algorithm]
        return 0

    def cudnnGetConvolutionForwardWorkspaceSize(self, handle, *args):
        return self.workspace("Forward", *args)

    def cudnnGetConvolutionBackwardDataWorkspaceSize(self, handle, *args):
        return self.workspace("BackwardData", *args)

    def cudnnGetConvolutionBackwardFilterWorkspaceSize(self, handle, *args):
        return self.workspace("BackwardFilter", *args)

    def cudnnConvolutionForward(self, *args):
        return self.product("Forward", "XWY", *args)

    def cudnnConvolutionBackwardData(self, *args):
        return self.product("BackwardData", "WYX", *args)

    def cudnnConvolutionBackwardFilter(self, *args):
        return self.product("BackwardFilter", "XYW", *args)

    def product(self, name, order, handle, one, a_, a, b_, b, convolution, algorithm, workspace, size, zero, c_, c):
        """`order` says which of images X, kernels W and output Y the arrays a, b and c are; c is computed."""
        if self.status:
            return self.status
        about = self.made[convolution.value]
        dtype, number = CODES[about["kind"]]
        assert type(one._obj) is type(zero._obj) is number
        assert (one._obj.value, zero._obj.value, about["mode"]) == (1.0, 0.0, 1)
        assert size.value == self.known[name][algorithm]
        assert (workspace.value is None) == (size.value == 0)
        found = {}
        for which, descriptor, pointer in zip(order, (a_, b_, c_), (a, b, c), strict=True):
            told = self.made[descriptor.value]
            assert (told["layout"], told["kind"]) == (1, about["kind"])
            found[which] = memory(pointer, told["shape"], dtype)
        self.calls.append((name, algorithm, about["math"], self.stream))
        X, W, Y = (found[which] for which in "XWY")
        found[order[-1]][...] = 0
        for pairs, tap, k_in, k_out in self.taps(about, X.shape, W.shape, Y.shape):
            for (u, v), (i, j) in pairs:
                x, w, y = X[:, u, v, k_in], W[k_out, tap[0], tap[1]], Y[:, i, j, k_out]
                match order[-1]:
                    case "Y":
                        y += x @ w.T
                    case "X":
                        x += y @ w
                    case "W":
                        w += y.T @ x
        return 0

    @staticmethod
    def taps(about, X, W, Y):
        """(pixel, place) pairs of each tap, the tap, and the channels in and out of each group."""
        (top, left), (s, t), (d, e), groups = (about[name] for name in ("pad", "stride", "dilation", "groups"))
        _, p, q, k = X
        _, rows, columns, n = Y
        assert (n, k // groups) == (W[0], W[3])
        for a, b, g in itertools.product(range(W[1]), range(W[2]), range(groups)):
            pairs = [((i * s + a * d - top, j * t + b * e - left), (i, j)) for i in range(rows) for j in range(columns)]
            inside = [((u, v), place) for (u, v), place in pairs if 0 <= u < p and 0 <= v < q]
            m, c = n // groups, k // groups
            yield inside, (a, b), slice(g * c, (g + 1) * c), slice(g * m, (g + 1) * m)
