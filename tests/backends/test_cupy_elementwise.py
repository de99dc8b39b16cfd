"""CUDA kernels of our own against their references, without a GPU: their bodies, compiled as C.

`Emulated` stands for `cupy.ElementwiseKernel`: the same parameters and the same body, in a loop over i.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometries import pools
from mathdl import tables
from mathdl.layers import average_pool, max_pool
from mathdl.layers.pooling import Line
from mathdl.losses import categorical_cross_entropy as cce
from mathdl.primitive import PRIMITIVES
from mathdl_backends.cupy import elementwise, kernels
from support import normal

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int64": "long long",
    "int32": "int",
    "uint32": "unsigned",
    "bool": "_Bool",
}
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


class Emulated:
    """A kernel of raw arrays and whole numbers: types by their letters, all numbers in row-major order."""

    folder = None
    loaded: dict = {}  # noqa: RUF012

    def __init__(self, inputs, outputs, body, name):
        self.parameters = [part.split() for part in f"{inputs}, {outputs}".split(", ")]
        self.outputs, self.body, self.name = outputs.count(",") + 1, body, name

    def __call__(self, *args, size):
        assert len(args) == len(self.parameters)
        letters, declared, given, copies = {}, [], [], []
        for k, (parameter, arg) in enumerate(zip(self.parameters, args, strict=True)):
            *raw, kind, name = parameter
            is_output = k >= len(args) - self.outputs
            if not raw:
                assert isinstance(arg, int), name
                declared.append(f"const {C_TYPES[kind]} {name}")
                given.append(ctypes.c_int64(arg))
                continue
            assert isinstance(arg, np.ndarray), name
            dtype = str(arg.dtype)
            if len(kind) == 1:  # a letter stands for one type in all of a call
                assert letters.setdefault(kind, dtype) == dtype, name
            else:
                assert kind == dtype, name
            assert arg.flags.c_contiguous or not is_output
            copies.append(arg if is_output else np.ascontiguousarray(arg))
            declared.append(f"{'' if is_output else 'const '}{C_TYPES[dtype]} *{name}")
            given.append(ctypes.c_void_p(copies[-1].ctypes.data))
        types = "".join(f"typedef {C_TYPES[dtype]} {letter};\n" for letter, dtype in letters.items())
        run = self.compiled(
            f"#include <stddef.h>\n#include <tgmath.h>\n{types}void run(ptrdiff_t size, {', '.join(declared)}) {{\n"
            f"for (ptrdiff_t i = 0; i < size; i++) {{{self.body}}}\n}}\n"
        )
        run(ctypes.c_int64(size), *given)

    def compiled(self, code):
        if code not in self.loaded:
            stem = self.folder / f"{self.name}{len(self.loaded)}"
            stem.with_suffix(".c").write_text(code)
            options = ("-std=c11", "-O1", "-Wall", "-Werror", "-ffp-contract=off", "-shared", "-fPIC")
            command = [COMPILER, *options, str(stem.with_suffix(".c")), "-o", str(stem.with_suffix(".so")), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            self.loaded[code] = ctypes.CDLL(str(stem.with_suffix(".so"))).run
        return self.loaded[code]


@pytest.fixture(scope="module", autouse=True)
def cupy(tmp_path_factory):
    """A module of that name with what the kernels take of it; new arrays are not empty, but full of rubbish."""
    fake = ModuleType("cupy")
    fake.ElementwiseKernel = Emulated
    fake.empty = lambda shape, dtype: np.full(shape, True if dtype == "bool" else 77, dtype)
    Emulated.folder = tmp_path_factory.mktemp("kernels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake)
        elementwise.compiled.cache_clear()
        yield
    elementwise.compiled.cache_clear()


def spiced(shape, dtype, seed):
    """Small whole numbers, so that there are ties, with signed zeros, infinities and NaN."""
    rng = np.random.default_rng(seed)
    A = rng.integers(-2, 3, shape).astype(dtype)
    A[rng.random(shape) < 0.05] = -np.inf
    A[rng.random(shape) < 0.03] = np.nan
    return A


def same(a, b):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


dtypes = st.sampled_from(["float32", "float64"])


@given(geometry=pools(), B=st.integers(1, 3), k=st.integers(1, 3), dtype=dtypes, seed=st.integers(0, 99))
def test_pooling_has_the_bits_of_the_reference(geometry, B, k, dtype, seed):
    A = spiced((B, *geometry.input, k), dtype, seed)
    for axis in (1, 2):
        line = Line(axis, geometry.kernel[axis - 1], geometry.stride[axis - 1], (0, 0))
        if line.size > A.shape[axis]:
            continue
        Z, beats = elementwise.max_line(A, line)
        Z_expected, beats_expected = max_pool.max_line.reference(A, line)
        same(Z, Z_expected)
        assert len(beats) == len(beats_expected) == line.size - 1
        for a, b in zip(beats, beats_expected, strict=True):
            same(a, b)
        dZ = normal(*Z.shape, dtype=dtype, seed=seed)
        found = elementwise.max_line_backward(dZ, max_pool.MaxLineCache(beats, A.shape, line))
        same(found, max_pool.max_line_backward.reference(dZ.copy(), max_pool.MaxLineCache(beats, A.shape, line)))
        same(elementwise.sum_line(A, line), average_pool.sum_line.reference(A, line))
        same(
            elementwise.sum_line_backward(dZ, line, A.shape[axis]),
            average_pool.sum_line_backward.reference(dZ, line, A.shape[axis]),
        )


def test_sums_are_made_in_the_order_of_the_reference():
    """Three windows meet in each element, or (max) in those that are the largest of all three."""
    A, line = normal(4, 9, 16, dtype="float32"), Line(1, 3, 1, (0, 0))
    A[:, 2::3] += 9
    dZ = normal(4, 7, 16, dtype="float32", seed=1)
    _, beats = elementwise.max_line(A, line)
    cache = max_pool.MaxLineCache(beats, A.shape, line)
    same(elementwise.max_line_backward(dZ, cache), max_pool.max_line_backward.reference(dZ.copy(), cache))
    same(elementwise.sum_line(A, line), average_pool.sum_line.reference(A, line))
    same(elementwise.sum_line_backward(dZ, line, 9), average_pool.sum_line_backward.reference(dZ, line, 9))


def test_arrays_that_do_not_lie_row_after_row():
    A, line = spiced((2, 5, 4, 3), "float32", 1).transpose(0, 2, 1, 3), Line(1, 2, 1, (0, 0))
    assert not A.flags.c_contiguous
    for a, b in zip(elementwise.max_line(A, line), max_pool.max_line.reference(A, line), strict=True):
        np.testing.assert_array_equal(a, b)


@given(B=st.integers(1, 5), classes=st.integers(1, 64), dtype=dtypes, seed=st.integers(0, 99), wide=st.booleans())
def test_the_loss_of_labels(B, classes, dtype, seed, wide):
    rng = np.random.default_rng(seed)
    Z = normal(B, classes, dtype=dtype, seed=seed) * 30
    Z[rng.random(Z.shape) < 0.1] = -np.inf
    labels = rng.integers(0, classes, B).astype("int64" if wide else "int32")
    Z[np.arange(B), labels] = 1.5
    terms = elementwise.labels_terms(Z, labels)
    expected = cce.categorical_cross_entropy_labels_terms.reference(Z, labels)
    close = {"rtol": 64 * np.finfo(dtype).eps, "atol": 64 * np.finfo(dtype).eps}
    for a, b in zip(terms, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, **close)
    dlosses = normal(B, 1, dtype=dtype, seed=seed)
    slopes = elementwise.labels_slopes(*expected[1:], labels, dlosses)
    same(slopes, cce.categorical_cross_entropy_labels_slopes.reference(*expected[1:], labels, dlosses))


def test_what_is_no_class_has_no_loss():
    losses, _, _ = elementwise.labels_terms(np.zeros((3, 2), "float32"), np.array([-1, 1, 2]))
    np.testing.assert_array_equal(np.isnan(losses[:, 0]), [True, False, True])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_loss_of_logits_that_are_not_numbers_is_none(bad):
    for row in ([0.0, bad, 1.0], [bad, 0.0, 1.0], [-np.inf] * 3):
        losses, _, _ = elementwise.labels_terms(np.array([[0.0, 1.0, 2.0], row]), np.array([0, 0]))
        assert np.isfinite(losses[0, 0])
        assert np.isnan(losses[1, 0])


def test_a_row_is_taken_from_where_the_cursor_stands():
    for T in (normal(3, 4, dtype="float32"), np.arange(12).reshape(3, 2, 2), np.ones((3, 0), "uint32")):
        found, expected = np.zeros_like(T[0]), np.zeros_like(T[0])
        for at in (2, 0, 1):
            elementwise.take_row(T, np.array([at]), found)
            tables.take_row.reference(T, np.array([at]), expected)
            same(found, expected)
        elementwise.take_row(T, np.array([3]), found)
        same(found, expected)  # there is no such row, and nothing is read that is not the table's


def test_finite_numbers_are_counted_up_to_the_first_that_is_not():
    for dtype in ("float32", "float64"):
        good = np.array([1, 0])
        for J, expected in ((2, [1, 1]), (-0.0, [1, 2]), (np.nan, [0, 2]), (1, [0, 2]), (np.inf, [0, 2])):
            elementwise.count_finite(np.array([J], dtype), good)
            assert good.tolist() == expected


def test_a_row_is_put_where_the_cursor_stands():
    for at in (0, 2, 3, -1):
        found, expected = normal(3, 4, dtype="float32"), normal(3, 4, dtype="float32")
        row = normal(4, dtype="float32", seed=5)
        elementwise.put_row(found, np.array([at]), row)
        tables.put_row.reference(expected, np.array([at]), row)
        same(found, expected)


@pytest.mark.parametrize(
    ("name", "args", "reason"),
    [
        ("max_line", (np.zeros((1, 2), "int64"), None), "numbers of int64"),
        ("max_line_backward", (np.zeros((1, 2)), max_pool.MaxLineCache((), (1, 2), None)), "what the reference left"),
        ("sum_line_backward", (np.zeros((1, 2), "float16"), None, 2), "numbers of float16"),
        ("categorical_cross_entropy_labels_terms", (np.zeros((2, 65)), np.zeros(2, int)), "65 classes"),
        ("categorical_cross_entropy_labels_terms", (np.zeros((2, 0)), np.zeros(2, int)), "0 classes"),
        ("put_row", (np.zeros((2, 3)), np.zeros(1, "int64"), np.zeros(3, "float32")), "float64 and float32"),
        ("put_row", (np.zeros((2, 3)), np.zeros(1, "int32"), np.zeros(3)), "at int32"),
    ],
)
def test_what_is_declined(name, args, reason):
    assert reason in elementwise.KERNELS[name].supports(*args)


def test_kernels_are_those_of_primitives():
    assert set(elementwise.KERNELS) <= set(kernels()) <= set(PRIMITIVES)
    for name in elementwise.KERNELS:
        assert kernels()[name] is elementwise.KERNELS[name]
