"""Targets at the door: the form they leave in, and the row that an error names."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mathdl.errors import DataError, ShapeError
from mathdl.losses import LOSSES, CategoricalCrossEntropy, loss, require_two_classes

REGRESSIONS = ["mean_squared_error", "mean_absolute_error", "huber", "poisson"]


def checked(name, Y, *outputs):
    return loss(name).check_targets(Y, outputs)


def refuses(error, name, Y, outputs, *messages):
    with pytest.raises(error, match=re.escape(name)) as caught:
        loss(name).check_targets(Y, outputs)
    for message in messages:
        assert message in str(caught.value)


# ---- categorical


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float16", "float32", "float64"])
def test_labels_of_any_number_dtype_become_int64(dtype):
    Y = checked("categorical_cross_entropy", np.asarray([2, 0, 1], dtype), 3)
    assert Y.dtype == np.int64
    np.testing.assert_array_equal(Y, [2, 0, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_keep_their_floats(dtype):
    Y = np.asarray([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]], dtype)
    assert checked("categorical_cross_entropy", Y, 3) is Y


def test_one_hot_integers_become_floats():
    Y = checked("categorical_cross_entropy", np.eye(3, dtype=int), 3)
    assert Y.dtype == np.float64
    np.testing.assert_array_equal(Y, np.eye(3))


def test_lists_are_taken():
    np.testing.assert_array_equal(checked("categorical_cross_entropy", [0, 1], 2), [0, 1])


@pytest.mark.parametrize("bad", [-1, 3, 300, 1.5])
def test_a_label_out_of_range_is_named_by_its_row(bad):
    refuses(
        DataError, "categorical_cross_entropy", np.asarray([0, 1, bad, 2, bad]), (3,),
        f"row 2 of Y is {np.asarray([0, bad])[1]}", "a whole number in 0 … 2", "(and 1 more like it)",
    )  # fmt: skip


def test_a_row_that_does_not_sum_to_one_is_named():
    Y = np.asarray([[0.5, 0.5], [0.5, 0.4]])
    refuses(DataError, "categorical_cross_entropy", Y, (2,), "row 1 of Y sums to 0.9, expected 1")


def test_rounding_of_a_row_is_forgiven():
    l = 1000
    Y = np.full((2, l), 1 / l, np.float32)
    Y[1, 0] += 0.9e-6 * l
    checked("categorical_cross_entropy", Y, l)
    Y[1, 0] += 0.2e-6 * l
    refuses(DataError, "categorical_cross_entropy", Y, (l,), "row 1 of Y sums to 1.0011")


def test_a_negative_probability_is_named_by_row_and_column():
    refuses(
        DataError, "categorical_cross_entropy", np.asarray([[1.0, 0.0], [1.5, -0.5]]), (2,),
        "row 1, column 1 of Y is -0.5, expected a probability ≥ 0",
    )  # fmt: skip


def test_the_number_of_columns_is_that_of_the_outputs():
    refuses(ShapeError, "categorical_cross_entropy", np.eye(4), (3,), "(4,)", "(4, 3)", "got Y of shape (4, 4)")
    refuses(ShapeError, "categorical_cross_entropy", [[1], [2]], (3,), "got Y of shape (2, 1)", "Give Y[:, 0]")


def test_booleans_are_no_labels():
    refuses(
        DataError, "categorical_cross_entropy", [True, False], (2,), "boolean", "astype(int)", "binary_cross_entropy"
    )


def test_one_output_has_no_classes():
    refuses(ShapeError, "categorical_cross_entropy", [0, 0], (1,), "1 output", "binary_cross_entropy")


def test_smoothing_and_logits_change_nothing_at_the_door():
    smooth = CategoricalCrossEntropy(logits=True, label_smoothing=0.1)
    np.testing.assert_array_equal(smooth.check_targets(np.asarray([1, 0]), (2,)), [1, 0])


# ---- binary


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8", "float32"])
def test_answers_become_a_column_of_floats(dtype):
    Y = checked("binary_cross_entropy", np.asarray([0, 1, 1], dtype), 1)
    assert Y.dtype == ("float32" if dtype == "float32" else "float64")
    np.testing.assert_array_equal(Y, [[0.0], [1.0], [1.0]])


def test_answers_for_several_outputs():
    np.testing.assert_array_equal(checked("binary_cross_entropy", np.eye(2), 2), np.eye(2))


def test_an_answer_is_0_or_1():
    refuses(DataError, "binary_cross_entropy", [0, 1, 2], (1,), "row 2, column 0 of Y is 2, expected 0 or 1")
    refuses(DataError, "binary_cross_entropy", [[0, 1], [0.5, 1]], (2,), "row 1, column 0 of Y is 0.5")


# ---- regression


@pytest.mark.parametrize("name", REGRESSIONS)
def test_numbers_become_a_column_of_floats(name):
    Y = checked(name, np.asarray([3, 1, 2]), 1)
    assert Y.dtype == np.float64
    np.testing.assert_array_equal(Y, [[3.0], [1.0], [2.0]])
    assert checked(name, np.ones((2, 3), np.float32), 3).dtype == np.float32


@pytest.mark.parametrize("name", [*REGRESSIONS, "binary_cross_entropy"])
def test_columns_are_outputs(name):
    refuses(ShapeError, name, np.ones((4, 2)), (3,), "expected Y of shape (4, 3)", "3 outputs", "got (4, 2)")
    refuses(ShapeError, name, np.ones(4), (2,), "expected Y of shape (4, 2)", "got (4,)")


@pytest.mark.parametrize("name", REGRESSIONS)
def test_booleans_are_no_numbers(name):
    refuses(DataError, name, np.asarray([True]), (1,), "boolean", "astype(float)")


def test_counts_are_not_negative():
    refuses(
        DataError, "poisson", [[1.0, 2.0], [0.0, -1.0]], (2,), "row 1, column 1 of Y is -1.0, expected a number ≥ 0"
    )
    np.testing.assert_array_equal(checked("mean_squared_error", [-1.0], 1), [[-1.0]])


# ---- every loss


@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    @pytest.mark.parametrize("Y", [["cat", "dog"], np.asarray(["cat", "dog"], object), [b"cat", b"dog"]])
    def test_strings(self, name, Y):
        refuses(DataError, name, Y, (2,), "strings such as", "cat", "command line", "estimators", "return_inverse=True")

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_non_finite(self, name, bad):
        refuses(DataError, name, [0.0, 1.0, bad], (2,), f"row 2 of Y is {bad}, expected a finite number")
        refuses(DataError, name, [[0.0, 1.0], [0.0, bad]], (2,), f"row 1, column 1 of Y is {bad}")

    @pytest.mark.parametrize("Y", [[], np.zeros((0, 2)), np.zeros((2, 0))])
    def test_empty(self, name, Y):
        refuses(DataError, name, Y, (2,), "Y is empty, of shape")

    @pytest.mark.parametrize("Y", [1.0, np.ones((2, 2, 2))])
    def test_axes(self, name, Y):
        refuses(ShapeError, name, Y, (2,), "expected Y of shape (n,) or (n, l), got")

    def test_ragged(self, name):
        refuses(DataError, name, [[1.0, 0.0], [1.0]], (2,), "different lengths")

    @pytest.mark.parametrize("Y", [np.asarray([1, None]), np.asarray([1j, 0]), np.asarray(["2024-01-01"], "M8[D]")])
    def test_other_dtypes(self, name, Y):
        refuses(DataError, name, Y, (2,), f"dtype {Y.dtype}, expected numbers")

    def test_images_out(self, name):
        refuses(ShapeError, name, [0, 1], (7, 7, 10), "(7, 7, 10)", "Flatten()")

    def test_the_caller_keeps_its_array(self, name):
        Y = np.eye(2)
        before = Y.copy()
        checked(name, Y, 2)
        np.testing.assert_array_equal(Y, before)


# ---- two classes


@pytest.mark.parametrize(
    "Y", [np.asarray([3, 3, 3]), np.asarray([0]), np.ones((4, 1)), np.zeros((2, 1)), np.eye(3)[[1, 1]]]
)
def test_one_class_is_refused(Y):
    with pytest.raises(DataError, match=rf"all {len(Y)} instances have the .*: training needs .* at least two classes"):
        require_two_classes(Y)


def test_the_class_is_named():
    with pytest.raises(DataError, match="have the label 3"):
        require_two_classes(np.asarray([3, 3]))
    with pytest.raises(DataError, match=r"have the target \[1.0\]"):
        require_two_classes(np.ones((2, 1)))


@pytest.mark.parametrize(
    "Y", [np.asarray([0, 0, 1]), np.asarray([[0.0], [1.0]]), np.eye(3), np.asarray([[0.5, 0.5], [0.5, 0.5]])]
)
def test_two_classes_or_soft_rows_pass(Y):
    require_two_classes(Y)
