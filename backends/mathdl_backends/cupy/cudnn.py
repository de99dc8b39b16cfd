"""Convolutions by cuDNN, where it is there: it does not write down what the windows see, f·f' times the images.

CuPy has no part of cuDNN since its version 14, so the library is called as cuBLAS is (blas.py): directly, on the stream
of the moment and with a workspace from the memory of the step, so that a step may be captured. Its functions for
convolutions need no package beside the library, and take the algorithm by its number: those below add in the same order
every time, and none of them is of Winograd's or Fourier's kind, which round otherwise. `MATHDL_CUDNN=0` in the
environment leaves cuDNN out; then, and for what it does not take, the reference gathers and multiplies.

Images lie in memory as they do everywhere in mathdl, pixel after pixel with all channels (NHWC). Of a kernel
W (f·f', c, n) cuDNN wants (n, f·f', c): a small copy.
Source: the cuDNN documentation, cudnn_cnn library.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from math import prod
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple

from mathdl.errors import DeviceError
from mathdl.primitive import PRIMITIVES, Kernel
from mathdl_backends.cupy.blas import loaded_libraries, uses_tf32
from mathdl_backends.cupy.fusing import forced, kernel

_DATA = {"float32": 0, "float64": 1}  # CUDNN_DATA_FLOAT, _DOUBLE
_NHWC = 1  # CUDNN_TENSOR_NHWC
_CROSS_CORRELATION = 1
_DEFAULT_MATH, _FMA_MATH = 0, 3  # with TF32 where the device has it; without
_MOST = 2**31 - 1
"""Numbers of an array: cuDNN counts in 32 bits."""

_INSTALL = 'pip install "mathdl[cudnn13]" (CUDA 13) or "mathdl[cudnn12]" (CUDA 12)'


class Product(NamedTuple):
    """One of the products of a convolution: what cuDNN calls it, its operands and its result, and its algorithms."""

    name: str
    first: str
    second: str
    out: str
    algorithms: tuple[int, ...]
    """By preference."""


FORWARD = Product("Forward", "x", "w", "y", (1, 0))  # IMPLICIT_PRECOMP_GEMM, IMPLICIT_GEMM
DATA = Product("BackwardData", "w", "y", "x", (1,))
FILTER = Product("BackwardFilter", "x", "y", "w", (1,))


class Setting(NamedTuple):
    """What decides on a convolution: images (B, p, q, k), a window on them, the outputs n, the groups of channels."""

    dtype: str
    images: tuple[int, int, int, int]
    window: Any
    n: int
    groups: int
    tf32: bool
    device: int

    @property
    def output(self) -> tuple[int, int, int, int]:
        """(B, p', q', n)."""
        B, p, q, _ = self.images
        rows, columns = self.window.output((p, q))
        return B, rows, columns, self.n


class Plan:
    """The descriptors of a setting; of each product its algorithm, and the bytes that this works in."""

    def __init__(self, setting: Setting) -> None:
        self._ways: dict[Product, tuple[int, int] | None] = {}
        self._refused = "cuDNN has no algorithm for it that adds in a fixed order"
        try:
            self._describe(setting)
            self._ways = {product: self._way(product, setting.device) for product in (FORWARD, DATA, FILTER)}
        except DeviceError as error:  # the reference takes all of them
            self._refused = str(error)

    def _describe(self, setting: Setting) -> None:
        self._number = ctypes.c_double if setting.dtype == "float64" else ctypes.c_float
        (B, p, q, k), (_, rows, columns, n) = setting.images, setting.output
        window, kind = setting.window, _DATA[setting.dtype]
        (top, _), (left, _) = window.padding
        math = _DEFAULT_MATH if setting.tf32 else _FMA_MATH
        x, y, w = (_made(f"cudnnCreate{what}Descriptor") for what in ("Tensor", "Tensor", "Filter"))
        self._parts = {"x": x, "y": y, "w": w}
        self._convolution = _made("cudnnCreateConvolutionDescriptor")
        _check("cudnnSetTensor4dDescriptor", x, _NHWC, kind, B, k, p, q)
        _check("cudnnSetTensor4dDescriptor", y, _NHWC, kind, B, n, rows, columns)
        _check("cudnnSetFilter4dDescriptor", w, kind, _NHWC, n, k // setting.groups, *window.kernel)
        geometry = top, left, *window.stride, *window.dilation
        _check("cudnnSetConvolution2dDescriptor", self._convolution, *geometry, _CROSS_CORRELATION, kind)
        _check("cudnnSetConvolutionMathType", self._convolution, math)
        _check("cudnnSetConvolutionGroupCount", self._convolution, setting.groups)

    def why_not(self, product: Product) -> str | None:
        """None, or why cuDNN does not take it."""
        return self._refused if self._ways.get(product) is None else None

    def run(self, product: Product, first: Any, second: Any, out: Any) -> bool:
        """out ← the product of two contiguous arrays. False: cuDNN declines after all, and will not be asked again."""
        way = self._ways.get(product)
        if way is None:
            return False
        algorithm, size = way
        cupy = _cupy()
        workspace = cupy.cuda.alloc(size) if size else None
        one, zero = self._number(1.0), self._number(0.0)
        handle = _handle(out.device.id, get_ident())
        _check("cudnnSetStream", handle, ctypes.c_void_p(cupy.cuda.get_current_stream().ptr))
        done = _done(
            f"cudnnConvolution{product.name}", handle,
            ctypes.byref(one), self._parts[product.first], _pointer(first.data), self._parts[product.second],
            _pointer(second.data), self._convolution, algorithm, _pointer(workspace), ctypes.c_size_t(size),
            ctypes.byref(zero), self._parts[product.out], _pointer(out.data),
        )  # fmt: skip
        if not done:
            self._ways[product] = None
        return done

    def _way(self, product: Product, device: int) -> tuple[int, int] | None:
        parts = self._parts[product.first], self._parts[product.second], self._convolution, self._parts[product.out]
        ask, size = getattr(_library(), f"cudnnGetConvolution{product.name}WorkspaceSize"), ctypes.c_size_t()
        for algorithm in product.algorithms:
            if ask(_handle(device, get_ident()), *parts, algorithm, ctypes.byref(size)) == 0:
                return algorithm, size.value
        return None


@cache
def plan(setting: Setting) -> Plan:
    """The plan of a setting on its device, which is the current one. Made in a step that runs call by call."""
    return Plan(setting)


# -- the primitives ----------------------------------------------------------------------------------------------------


def convolve(A: Any, W: Any, b: Any, gather: Any, groups: int) -> Any:
    """Z by place, (B·p'·q', n)."""
    Z = _convolve(A, W, gather, groups)
    if b is not None:
        Z += b  # where arrays are lazy, with what comes next
    return Z


@forced
def _convolve(A: Any, W: Any, gather: Any, groups: int) -> Any:
    setting = _of_convolve(A, W, None, gather, groups)
    Z = _cupy().empty(setting.output, dtype=A.dtype)
    if not plan(setting).run(FORWARD, _contiguous(A), _by_output(W), Z):
        return PRIMITIVES["convolve"].reference(A, W, None, gather, groups)
    return Z.reshape(-1, setting.n)


def convolve_dW(A: Any, dZ: Any, gather: Any, groups: int, into: Any = None) -> Any:
    """dW (f·f', k/groups, n)."""
    setting = _of_dW(A, dZ, gather, groups)
    f, g = gather.window.kernel
    by_output = _cupy().empty((setting.n, f * g, A.shape[3] // groups), dtype=A.dtype)
    if not plan(setting).run(FILTER, _contiguous(A), _contiguous(dZ), by_output):
        return PRIMITIVES["convolve_dW"].reference(A, dZ, gather, groups, into)
    dW = by_output.transpose(1, 2, 0)
    if into is None:
        return _contiguous(dW)
    into[...] = dW
    return into


def convolve_dA(dZ: Any, W: Any, window: Any, input: Any, adjoint: Any, groups: int) -> Any:
    """dA (B, p, q, k)."""
    setting = _of_dA(dZ, W, window, input, adjoint, groups)
    dA = _cupy().empty(setting.images, dtype=dZ.dtype)
    if not plan(setting).run(DATA, _by_output(W), _contiguous(dZ), dA):
        return PRIMITIVES["convolve_dA"].reference(dZ, W, window, input, adjoint, groups)
    return dA


def _of_convolve(A: Any, W: Any, b: Any, gather: Any, groups: int) -> Setting:
    return _setting(A, A.shape, gather.window, W.shape[2], groups)


def _of_dW(A: Any, dZ: Any, gather: Any, groups: int, into: Any = None) -> Setting:
    return _setting(A, A.shape, gather.window, dZ.shape[1], groups)


def _of_dA(dZ: Any, W: Any, window: Any, input: Any, adjoint: Any, groups: int) -> Setting:
    return _setting(dZ, (dZ.shape[0], *input, W.shape[1] * groups), window, dZ.shape[3], groups)


def _setting(A: Any, images: Any, window: Any, n: int, groups: int) -> Setting:
    return Setting(str(A.dtype), tuple(images), window, n, groups, uses_tf32(), A.device.id)


def _by_output(W: Any) -> Any:
    """(f·f', c, n) → (n, f·f', c)."""
    return _contiguous(W.transpose(2, 0, 1))


def _contiguous(A: Any) -> Any:
    return _cupy().ascontiguousarray(A)


# -- when they are used ------------------------------------------------------------------------------------------------


@cache
def why_absent() -> str | None:
    """None, or why there is no cuDNN."""
    if os.environ.get("MATHDL_CUDNN") == "0":
        return "cuDNN is switched off by MATHDL_CUDNN=0"
    return f"no cuDNN was found: {_INSTALL}" if _library() is None else None


def about() -> str:
    """The version of cuDNN, or why there is none."""
    absent = why_absent()
    if absent is not None:
        return absent
    found = int(_library().cudnnGetVersion())
    of_major = 10_000 if found >= 90_000 else 1000
    return f"{found // of_major}.{found % of_major // 100}.{found % 100}"


def why_not(product: Product, setting: Setting) -> str | None:
    """None, or why cuDNN does not take this product of this setting."""
    window = setting.window
    if setting.dtype not in _DATA:
        return f"numbers of {setting.dtype}"
    if window.is_point:
        return "a window of one pixel is a product already"
    if any(before != after or before < 0 for before, after in window.padding):
        return f"cuDNN pads alike on both sides, and not by {window.padding}"
    if max(prod(setting.images), prod(setting.output)) > _MOST or min(*setting.images, *setting.output) < 1:
        return f"images {setting.images}: cuDNN takes arrays of 1 to {_MOST} numbers"
    return plan(setting).why_not(product)


def _supports(product: Product, setting: Callable[..., Setting]) -> Callable[..., str | None]:
    return lambda *args, **keywords: why_absent() or why_not(product, setting(*args, **keywords))


KERNELS = {
    "convolve": Kernel(convolve, _supports(FORWARD, _of_convolve)),
    "convolve_dW": kernel(convolve_dW, _supports(FILTER, _of_dW), writes=(4, "into")),
    "convolve_dA": kernel(convolve_dA, _supports(DATA, _of_dA)),
}


# -- the library -------------------------------------------------------------------------------------------------------


@cache
def _library() -> Any:
    """The libcudnn of this process, or None."""
    for name in _names():
        try:
            found = ctypes.CDLL(name)
            found.cudnnGetVersion.restype = ctypes.c_size_t
            found.cudnnGetErrorString.restype = ctypes.c_char_p
            for product in (FORWARD, DATA, FILTER):
                getattr(found, f"cudnnConvolution{product.name}")
        except (OSError, AttributeError):  # not there, or a later one that has these functions no more
            continue
        return found
    return None


def _names() -> Iterator[str]:
    """What may be loaded: what this process has loaded (PyTorch brings one), the wheel `nvidia-cudnn`, the system's."""
    yield from loaded_libraries("libcudnn")
    package = find_spec("nvidia")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        yield from map(str, sorted(Path(folder).glob("cudnn/lib/libcudnn.so.*")))
    yield from ("libcudnn.so.9", "libcudnn.so.8")


@cache
def _handle(device: int, thread: int) -> ctypes.c_void_p:
    """A handle on the current device, which is `device`, for one thread: it works on one stream at a time."""
    return _made("cudnnCreate")


def _made(function: str) -> ctypes.c_void_p:
    """What a function of cuDNN makes."""
    made = ctypes.c_void_p()
    _check(function, ctypes.byref(made))
    return made


def _check(function: str, *args: Any) -> None:
    """Call a function of cuDNN that does not decline."""
    if not _done(function, *args):
        raise DeviceError(f"{function} failed: cuDNN does not take these arguments")


def _done(function: str, *args: Any) -> bool:
    """Call a function of cuDNN. False: it does not take that; any other failure is a `DeviceError`."""
    status = getattr(_library(), function)(*args)
    if status in (3, 9) or 2000 <= status < 4000:  # CUDNN_STATUS_BAD_PARAM, _NOT_SUPPORTED; since version 9 in detail
        return False
    if status != 0:
        words = _library().cudnnGetErrorString(status)
        reason = words.decode() if isinstance(words, bytes) else f"status {status}"
        raise DeviceError(f"{function} failed: {reason}; MATHDL_CUDNN=0 in the environment leaves cuDNN out")
    return True


def _pointer(data: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if data is None else data.ptr)


def _cupy() -> Any:
    import cupy

    return cupy
