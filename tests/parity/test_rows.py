"""What a row says of its comparison: verdict, reasons, blindness, and JSON from which its figures can be recomputed."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from mathdl.parity.compare import Bounds, Reference, compare
from mathdl.parity.rows import FAIL, PASS, WARN, Row, figure, plain


def row(a=(1.0, 2.0), b=(1.0, 2.1), bound=0.1, reference=None, **fields):
    comparison = compare(np.array(a), np.array(b), Bounds(bound, bound), reference)
    return Row("ops", "Dense", "A", "Dense(2)", "dense-forward", 0, comparison, **fields)


def test_within_the_bound_it_passes():
    assert (row().verdict, row().failures, row().warnings) == (PASS, (), ())
    assert row().id == "ops/Dense/A/Dense(2)"


def test_above_the_bound_it_fails():
    assert row(bound=0.01).verdict == FAIL
    assert row(bound=0.01).failures == ("5 times the bound",)


def test_a_side_that_is_off_its_reference_is_named():
    found = row(b=(1.0, 2.0), bound=0.1, reference=Reference([1.0, 2.5], 0.0, "definition"))
    assert found.failures == ("a is off by 5 times its bound", "b is off by 5 times its bound")


def test_an_exact_row_says_who_is_off():
    reference = Reference(np.array([1.0, 2.0]), 0.0, "exact")
    found = row(bound=0.0, reference=reference, exact=True)
    assert found.failures == ("not the same", "b is off")


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"repeats_b": False}, "b does not repeat its bits"),
        ({"repeats_a": False}, "a does not repeat its bits"),
        ({"ambiguous": 3}, "3 decisions within the bound"),
    ],
)
def test_warnings(fields, warning):
    assert (row(**fields).verdict, row(**fields).warnings) == (WARN, (warning,))


def test_what_is_improbable_warns_and_does_not_fail():
    comparison = compare(np.array([1.0]), np.array([1.1]), Bounds(0.1, 0.1, 0.05))
    found = replace(row(), comparison=comparison)
    assert found.verdict == WARN
    assert found.warnings == ("2 times what is probable",)


@pytest.mark.parametrize(("bound", "blind"), [(1e-3, False), (4.9e-3, False), (1e-2, True), (inf, True), (0.0, False)])
def test_blind_is_a_bound_of_more_than_a_hundredth(bound, blind):
    assert row((1.0, 1.0), (1.0, 1.0), bound).is_blind is blind


def test_the_figures_can_be_recomputed_from_the_json():
    reference = Reference(np.array([1.0, 2.04]), 0.01, "definition")
    found = json.loads(json.dumps(row(reference=reference).to_dict(), allow_nan=False))
    worst, median = found["worst"], found["median"]
    assert found["ratio"] == abs(worst["a"] - worst["b"]) / (worst["bound_a"] + worst["bound_b"])
    assert found["resolves"] == (median["bound_a"] + median["bound_b"]) / abs(median["reference"])
    for side in "ab":
        at = found[f"worst_{side}"]
        width = at[f"bound_{side}"] + at["bound_reference"]
        assert found[f"{side}_ratio"] == pytest.approx(abs(at[side] - at["reference"]) / width, rel=1e-15)
    assert (found["equal"], found["entries"], found["verdict"], found["id"]) == (1, 2, PASS, row().id)


def test_json_has_a_word_for_what_is_not_finite():
    assert plain({"x": (inf, -inf, 1.0)}) == {"x": ["inf", "-inf", 1.0]}
    assert plain([nan]) == ["nan"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.0, "0"),
        (inf, "inf"),
        (nan, "nan"),
        (0.0134, "0.013"),
        (1.0, "1"),
        (5e-7, "5e-7"),
        (4213.0, "4e+3"),
    ],
)
def test_figure(value, text):
    assert figure(value) == text
