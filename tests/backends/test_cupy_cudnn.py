"""What cuDNN is asked for: the arguments, carried out on bare memory as its documentation says; what it declines."""

from __future__ import annotations

import ctypes
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_cudnn import NOT_SUPPORTED, Library
from mathdl.errors import DeviceError
from mathdl.layers import convolution
from mathdl.primitive import reference_only
from mathdl.windows import Gather, Window, gather_table
from mathdl_backends.cupy import cudnn
from mathdl_backends.cupy.cudnn import DATA, FILTER, FORWARD
from support import normal


class HostDevice(str):
    id = 0


class Host(np.ndarray):
    """Host memory with the addresses that CuPy's arrays have."""

    device = HostDevice("cpu")

    @property
    def data(self):
        return SimpleNamespace(ptr=self.__array_interface__["data"][0])


@contextmanager
def on_host_memory():
    """cuDNN and CuPy, on host memory."""
    library = Library()
    fake = SimpleNamespace(
        empty=lambda shape, dtype: np.full(shape, np.nan, dtype).view(Host),
        ascontiguousarray=lambda A: np.ascontiguousarray(A).view(Host),
        cuda=SimpleNamespace(
            get_current_stream=lambda: SimpleNamespace(ptr=17), alloc=lambda size: SimpleNamespace(ptr=99)
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cudnn, "_library", lambda: library)
        patch.setitem(sys.modules, "cupy", fake)
        patch.delenv("MATHDL_CUDNN", raising=False)
        patch.delenv("CUPY_TF32", raising=False)
        for cached in (cudnn._handle, cudnn.plan, cudnn.why_absent):
            cached.cache_clear()
        yield library
    for cached in (cudnn._handle, cudnn.plan, cudnn.why_absent):
        cached.cache_clear()


@pytest.fixture
def library():
    with on_host_memory() as found:
        yield found


def problem(window, images, n, groups=1, dtype="float32"):
    """Arrays of a convolution: A, W (f·f', c, n), b, dZ by place, and the `Gather`."""
    B, p, q, k = images
    f, g = window.kernel
    output = window.output((p, q))
    A, W = normal(*images, dtype=dtype), normal(f * g, k // groups, n, seed=1, dtype=dtype)
    b, dZ = normal(n, seed=2, dtype=dtype), normal(B * output[0] * output[1], n, seed=3, dtype=dtype)
    gather = Gather(window, (p, q), gather_table(window, (p, q)))
    return (*(X.view(Host) for X in (A, W, b, dZ)), gather)


def window_of(kernel=(3, 3), stride=(1, 1), padding=1, dilation=(1, 1)):
    return Window(kernel, stride, ((padding, padding), (padding, padding)), dilation)


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(
    kernel=pairs, stride=pairs, padding=st.integers(0, 2), dilation=st.tuples(*2 * [st.integers(1, 2)]),
    groups=st.sampled_from([1, 2]), c=st.integers(1, 3), m=st.integers(1, 3), p=st.integers(5, 7), q=st.integers(5, 7),
    dtype=st.sampled_from(["float32", "float64"]), bias=st.booleans(),
)  # fmt: skip
def test_the_three_products_are_those_of_the_reference(
    kernel, stride, padding, dilation, groups, c, m, p, q, dtype, bias
):
    window = window_of(kernel, stride, padding, dilation)
    A, W, b, dZ, gather = problem(window, (2, p, q, c * groups), m * groups, groups, dtype)
    b, tolerance = b if bias else None, {"rtol": 1e-4, "atol": 1e-5}
    into = np.full(W.shape, np.nan, dtype).view(Host)
    D = dZ.reshape(2, *window.output((p, q)), -1)
    with on_host_memory() as library:
        Z = cudnn.convolve(A, W, b, gather, groups)
        dW = cudnn.convolve_dW(A, dZ, gather, groups)
        assert cudnn.convolve_dW(A, dZ, gather, groups, into) is into
        dA = cudnn.convolve_dA(D, W, window, (p, q), None, groups)
        names = [name for name, *_ in library.calls]
    assert names == ["Forward", "BackwardFilter", "BackwardFilter", "BackwardData"]
    with reference_only():
        plain = [X.view(np.ndarray) for X in (A, W, dZ, D)]
        A, W, dZ, D = plain
        np.testing.assert_allclose(Z, convolution.convolve(A, W, b, gather, groups), **tolerance)
        expected = convolution.convolve_dW(A, dZ, gather, groups)
        np.testing.assert_allclose(dW, expected, **tolerance)
        np.testing.assert_array_equal(into, dW)
        np.testing.assert_allclose(dA, convolution.convolve_dA_by_taps(D, W, window, (p, q), groups), **tolerance)
    assert all(X.flags.c_contiguous for X in (Z, dW, dA))


@pytest.mark.parametrize(("tf32", "math"), [("0", 3), ("1", 0)])
def test_algorithm_precision_and_stream(library, monkeypatch, tf32, math):
    """PRECOMP_GEMM and the algorithms 1, which add in a fixed order; without TF32, CUDNN_FMA_MATH."""
    monkeypatch.setenv("CUPY_TF32", tf32)
    A, W, b, _, gather = problem(window_of(), (2, 5, 5, 3), 4)
    cudnn.convolve(A, W, b, gather, 1)
    library.known["Forward"] = {0: 0}
    cudnn.convolve(A[:1], W, b, gather, 1)
    assert library.calls == [("Forward", 1, math, 17), ("Forward", 0, math, 17)]


def test_a_plan_is_made_once_for_a_setting(library):
    A, W, b, _, gather = problem(window_of(), (2, 5, 5, 3), 4)
    for _ in range(3):
        cudnn.convolve(A, W, b, gather, 1)
    made = len(library.made)
    assert made == 5  # a handle and four descriptors
    cudnn.convolve(A[:1], W, b, gather, 1)
    assert len(library.made) == made + 4


def test_what_cudnn_does_not_take(library):
    A, W, b, dZ, gather = problem(window_of(), (2, 5, 5, 3), 4)
    takes = cudnn.KERNELS["convolve"].supports
    assert takes(A, W, b, gather, 1) is None
    assert cudnn.KERNELS["convolve_dW"].supports(A, dZ, gather, 1, into=None) is None
    assert cudnn.KERNELS["convolve_dA"].supports(dZ.reshape(2, 5, 5, 4), W, gather.window, (5, 5), None, 1) is None
    assert takes(A.astype(np.float16), W, b, gather, 1) == "numbers of float16"
    point = Gather(window_of((1, 1), padding=0), (5, 5), None)
    assert takes(A, W[:1], b, point, 1) == "a window of one pixel is a product already"
    for padding in (((0, 1), (1, 1)), ((1, 1), (-1, -1))):
        odd = gather._replace(window=gather.window._replace(padding=padding))
        assert takes(A, W, b, odd, 1).startswith("cuDNN pads alike on both sides")
    assert takes(A[:0], W, b, gather, 1).startswith("images (0, 5, 5, 3)")
    large = np.lib.stride_tricks.as_strided(A, (2**27, 5, 5, 3), (0, 0, 0, 0)).view(Host)
    assert "numbers" in takes(large, W, b, gather, 1)
    library.known["BackwardFilter"] = {}
    assert "fixed order" in cudnn.KERNELS["convolve_dW"].supports(A[:1], dZ[:25], gather, 1)


@pytest.mark.parametrize("status", [NOT_SUPPORTED, 3001, 2000, 9, 3])
def test_a_product_that_is_declined_when_it_is_run_goes_to_the_reference(library, status):
    A, W, b, dZ, gather = problem(window_of(), (2, 5, 5, 3), 4)
    calls = {
        "convolve": (A, W, b, gather, 1),
        "convolve_dW": (A, dZ, gather, 1),
        "convolve_dA": (dZ.reshape(2, 5, 5, 4), W, gather.window, (5, 5), None, 1),
    }
    for name, arguments in calls.items():
        kernel, reference = cudnn.KERNELS[name], getattr(convolution, name).reference
        assert kernel.supports(*arguments) is None
        library.status = status
        if name == "convolve_dA":
            arguments = (*arguments[:4], gather_table(gather.window.adjoint(), (5, 5)), 1)
        np.testing.assert_allclose(kernel.run(*arguments), reference(*arguments), rtol=1e-5)
        library.status = 0
        assert "fixed order" in kernel.supports(*arguments)  # it is not asked again
    assert library.calls == []


def test_an_error_is_told_in_cudnns_words(library):
    A, W, b, _, gather = problem(window_of(), (2, 5, 5, 3), 4)
    library.status = 5000
    with pytest.raises(DeviceError, match="cudnnConvolutionForward failed: CUDNN_STATUS_5000; MATHDL_CUDNN=0"):
        cudnn.convolve(A, W, b, gather, 1)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (1001, "cudnnCreate failed: CUDNN_STATUS_1001; MATHDL_CUDNN=0"),
        (2000, "cudnnCreate failed: cuDNN does not take these arguments"),
    ],
)
def test_a_cudnn_that_does_not_start_leaves_all_to_the_reference(library, status, reason):
    A, W, b, _, gather = problem(window_of(), (2, 5, 5, 3), 4)
    library.cudnnCreate = lambda handle: status
    kernel = cudnn.KERNELS["convolve"]
    assert kernel.supports(A, W, b, gather, 1).startswith(reason)
    np.testing.assert_array_equal(kernel.run(A, W, b, gather, 1), convolution.convolve.reference(A, W, b, gather, 1))


def test_absent_or_switched_off(library, monkeypatch):
    A, W, b, _, gather = problem(window_of(), (2, 5, 5, 3), 4)
    assert cudnn.about() == "9.13.0"
    library.version = 8907
    assert cudnn.about() == "8.9.7"
    cudnn.why_absent.cache_clear()
    monkeypatch.setenv("MATHDL_CUDNN", "0")
    assert cudnn.KERNELS["convolve"].supports(A, W, b, gather, 1) == "cuDNN is switched off by MATHDL_CUDNN=0"
    cudnn.why_absent.cache_clear()
    monkeypatch.delenv("MATHDL_CUDNN")
    monkeypatch.setattr(cudnn, "_library", lambda: None)
    assert cudnn.about() == cudnn.why_absent()
    assert 'pip install "mathdl[cudnn13]"' in cudnn.about()


def test_the_library_that_is_loaded_comes_first(monkeypatch, tmp_path):
    wheel = tmp_path / "nvidia" / "cudnn" / "lib"
    wheel.mkdir(parents=True)
    for name in ("libcudnn.so.9", "libcudnn_cnn.so.9"):
        (wheel / name).touch()
    monkeypatch.setattr(cudnn, "loaded_libraries", lambda name: [f"/opt/{name}.so.9"])
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path / "nvidia")])
    monkeypatch.setattr(cudnn, "find_spec", lambda name: found if name == "nvidia" else None)
    expected = ["/opt/libcudnn.so.9", str(wheel / "libcudnn.so.9"), "libcudnn.so.9", "libcudnn.so.8"]
    assert [*cudnn._names()] == expected
    monkeypatch.setattr(cudnn, "find_spec", lambda name: None)
    assert [*cudnn._names()] == [expected[0], *expected[2:]]
    tried = []

    def load(name):
        tried.append(name)
        if name == expected[0]:
            return SimpleNamespace(cudnnGetVersion=SimpleNamespace(), cudnnGetErrorString=SimpleNamespace())
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert cudnn._library.__wrapped__() is None  # the first has no convolutions any more, the others are not there
    assert tried == [expected[0], *expected[2:]]


def test_the_products_are_named_as_in_the_library():
    for product in (FORWARD, DATA, FILTER):
        assert hasattr(Library, f"cudnnConvolution{product.name}")
        assert hasattr(Library, f"cudnnGetConvolution{product.name}WorkspaceSize")


@pytest.mark.skipif(cudnn._library() is None, reason="no cuDNN here")
@pytest.mark.parametrize(
    "window",
    [window_of(), Window((3, 2), (2, 1), ((1, 1), (2, 2)), (1, 3)), Window((2, 3), (1, 2), ((0, 0), (1, 1)), (2, 1))],
)
def test_cudnn_itself_reads_the_descriptors_as_they_are_meant(monkeypatch, window):
    """It needs no GPU for that: the sizes of the output, the layouts, the geometry, precision and groups."""

    def told(function, part, count, *more):
        numbers = [ctypes.c_int() for _ in range(count)]
        assert getattr(cudnn._library(), function)(part, *more, *map(ctypes.byref, numbers)) == 0
        return [number.value for number in numbers]

    monkeypatch.setattr(cudnn, "_handle", lambda device, thread: ctypes.c_void_p(None))
    setting = cudnn.Setting("float64", (7, 9, 11, 6), window, 8, 2, False, 0)
    plan, (B, rows, columns, n) = cudnn.Plan(setting), setting.output
    x, w, convolution = plan._parts["x"], plan._parts["w"], plan._convolution
    assert told("cudnnGetConvolution2dForwardOutputDim", convolution, 4, x, w) == [B, n, rows, columns]
    assert told("cudnnGetTensor4dDescriptor", x, 9) == [1, 7, 6, 9, 11, 9 * 11 * 6, 1, 11 * 6, 6]
    assert told("cudnnGetFilter4dDescriptor", w, 6) == [1, 1, 8, 3, *window.kernel]
    (top, _), (left, _) = window.padding
    geometry = [top, left, *window.stride, *window.dilation, 1, 1]
    assert told("cudnnGetConvolution2dDescriptor", convolution, 8) == geometry
    assert told("cudnnGetConvolutionMathType", convolution, 1) == [3]
    assert told("cudnnGetConvolutionGroupCount", convolution, 1) == [2]
    for product in (FORWARD, DATA, FILTER):
        assert plan.why_not(product).startswith("cuDNN has no algorithm")  # the handle is none
    assert cudnn._library().cudnnGetErrorString(NOT_SUPPORTED) in (
        b"CUDNN_STATUS_NOT_SUPPORTED",
        b"CUDNN_UNKNOWN_STATUS",
    )
