"""Labels: what kind targets are, which class has which number, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.data.labels import checked_kind, class_name, encode_labels, guess_kind, learn_classes
from mathdl.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b", "a"], "classification"),
        ([0, 1, 0, 1], "classification"),
        ([0.0, 1.0, 0.0, 1.0], "classification"),
        ([True, False, True, True], "classification"),
        ([[1, 0], [0, 1]], "classification"),
        ([[0.25, 0.75], [0.5, 0.5]], "classification"),
        ([[0.25, 0.7], [0.5, 0.5]], "regression"),
        ([[1.5, -0.5], [0.5, 0.5]], "regression"),
        ([0, 1, 2, 3], "regression"),  # every value once
        ([-1, 1, -1, 1], "regression"),
        ([0.5, 1, 0.5, 1], "regression"),
        (list(range(21)) * 2, "classification"),  # integers
        ([float(v) for v in range(21)] * 2, "regression"),
        ([float(v) for v in range(20)] * 2, "classification"),
        ([0.0, np.nan, 0.0, np.nan], "regression"),
    ],
)
def test_what_kind_targets_are(values, kind):
    assert guess_kind(np.array(values)) == kind


def test_kinds():
    assert (checked_kind("regression"), checked_kind(None)) == ("regression", None)
    with pytest.raises(UsageError, match="kind must be one of classification, regression or None, got 'clustering'"):
        checked_kind("clustering")


@pytest.mark.parametrize(
    ("values", "classes", "labels"),
    [
        ([2, 0, 1], None, [2, 0, 1]),
        ([3.0, 1.0, 3.0], ("1", "3"), [1, 0, 1]),
        ([10, -1, 2], ("-1", "2", "10"), [2, 0, 1]),
        ([2.0, 1e30], ("2", str(10**30 + 19884624838656)), [0, 1]),
        (["b", "a"], ("a", "b"), [1, 0]),
        ([b"b", b"a"], ("a", "b"), [1, 0]),
        (["10", "9"], ("10", "9"), [0, 1]),
        ([True, False], None, [1, 0]),
    ],
)
def test_which_class_has_which_number(values, classes, labels):
    values = np.array(values)
    assert learn_classes(values, str) == classes
    encoded = encode_labels(values, classes, str)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == labels


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1))
def test_classes_of_text_come_back(texts):
    values = np.array(texts)
    classes = learn_classes(values, str)
    assert [classes[c] for c in encode_labels(values, classes, str)] == texts


def test_numbers_are_found_however_they_are_written():
    assert encode_labels(np.array(["3", "3.0", "1e0"]), ("1", "3"), str).tolist() == [1, 1, 0]
    assert encode_labels(np.array(["2", "0.0"]), None, str).tolist() == [2, 0]
    assert class_name(3.0) == class_name("3.00") == class_name(np.int8(3)) == "3"


@pytest.mark.parametrize(
    ("values", "classes", "message"),
    [
        (["a", "c", "a"], ("a", "b"), "row 1: expected one of the classes a, b, got 'c'"),
        ([0, 1, -1], None, r"row 2: expected a whole number ≥ 0, got -1"),
        ([0.5, 1], None, "row 0: expected a whole number ≥ 0, got 0.5"),
        ([0.0, np.nan], ("0",), "row 1: expected one of the classes 0, got nan"),
    ],
)
def test_unknown_labels_are_named_by_their_place(values, classes, message):
    with pytest.raises(DataError, match=message):
        encode_labels(np.array(values), classes, lambda i: f"row {i}")


def test_nan_is_no_class():
    assert learn_classes(np.array([1.0, np.nan, 3.0]), str) == ("1", "3")
    assert learn_classes(np.array([0.0, 1.0, np.inf]), str) is None


def test_a_number_with_a_fraction_is_no_label():
    with pytest.raises(DataError, match=r"row 2: expected a label, .* got 1\.5\. .* regression loss"):
        learn_classes(np.array([1.0, np.nan, 1.5, 0.25]), lambda i: f"row {i}")
