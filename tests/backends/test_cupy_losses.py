"""The loss of labels as one expression, against the reference on NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_cupy import COMPILER, Machine, ndarray
from mathdl.losses import categorical_cross_entropy as cce
from mathdl_backends.cupy import losses
from mathdl_backends.cupy.lazy import Lazy
from support import normal

pytestmark = [pytest.mark.skipif(COMPILER is None, reason="no C compiler"), pytest.mark.usefixtures("xp", "launches")]
terms = losses.KERNELS["categorical_cross_entropy_labels_terms"].run
slopes = losses.KERNELS["categorical_cross_entropy_labels_slopes"].run


def lazy(*arrays):
    return [Lazy(ndarray(A), shared=True) for A in arrays]


@given(
    B=st.integers(1, 5), classes=st.sampled_from([1, 2, 10, 33, 1500]), dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 99), wide=st.booleans(), step=st.sampled_from(["each", "all"]),
)  # fmt: skip
def test_the_loss_of_labels_and_its_gradient(B, classes, dtype, seed, wide, step):
    rng = np.random.default_rng(seed)
    Z = normal(B, classes, dtype=dtype, seed=seed) * 30
    Z[rng.random(Z.shape) < 0.1] = -np.inf
    labels = rng.integers(0, classes, B).astype("int64" if wide else "int32")
    Z[np.arange(B), labels] = 1.5
    dlosses = normal(*((B, 1) if step == "each" else (1,)), dtype=dtype, seed=seed)
    expected = cce.categorical_cross_entropy_labels_terms.reference(Z, labels)
    expected_slopes = cce.categorical_cross_entropy_labels_slopes.reference(*expected[1:], labels, dlosses)
    close = {"rtol": 99 * np.finfo(dtype).eps, "atol": 99 * np.finfo(dtype).eps}
    for given_, read in ((list(map(ndarray, (Z, labels, dlosses))), lambda A: A.get()),
                         (lazy(Z, labels, dlosses), lambda A: A.array.get())):  # fmt: skip
        found = terms(*given_[:2])
        dZ = slopes(*found[1:], given_[1], given_[2])
        for a, b in zip((*found, dZ), (*expected, expected_slopes), strict=True):
            assert (read(a).shape, read(a).dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(read(a), b, **close)


def test_loss_and_gradient_are_a_kernel_each():
    Z, labels, total = lazy(normal(4, 10, dtype="float32"), np.arange(4), np.full(1, 4, "float32"))
    Machine.launches.clear()
    found, E, T = terms(Z, labels)
    dZ = slopes(E, T, labels, 1.0 / total)
    assert Machine.launches == []
    found.array, dZ.array  # noqa: B018
    assert len(Machine.launches) == 2


def test_what_is_no_class_has_no_loss():
    found, _, _ = terms(ndarray(np.zeros((3, 2), "float32")), ndarray(np.array([-1, 1, 2])))
    np.testing.assert_array_equal(np.isnan(found.get()[:, 0]), [True, False, True])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_loss_of_logits_that_are_not_numbers_is_none(bad):
    for row in ([0.0, bad, 1.0], [bad, 0.0, 1.0], [-np.inf] * 3):
        found, _, _ = terms(ndarray(np.array([[0.0, 1.0, 2.0], row])), ndarray(np.array([0, 0])))
        assert np.isfinite(found.get()[0, 0])
        assert np.isnan(found.get()[1, 0])


def test_figures_are_one_kernel_for_sums_of_as_many_terms(xp):
    A, B, row = lazy(np.arange(9.0), np.arange(5.0), np.zeros(4))
    numbers = xp.sum(A), xp.sum(A * A) / 2.0, xp.sum(B), lazy(np.asarray(7.0))[0]
    Machine.launches.clear()
    losses.KERNELS["put_numbers"].run(row, *numbers)
    np.testing.assert_array_equal(row.array.get(), [36, 102, 10, 7])
    assert len(Machine.launches) == 3
