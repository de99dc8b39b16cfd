"""The report: what is ok, what is named, how it is printed."""

from __future__ import annotations

import json
import math

import pytest

from mathdl.theory.gradients.report import AGREES, COLUMNS, FOLLOWS, KINK, WRONG, Agreement, GradientReport, Row

FINE = Agreement(1e-16, 2e-15)
GOOD = Row((2,), "Dense", "dW[2]", FINE, Agreement(1e-12, 1e-10), AGREES)
BAD = Row((3, 1), "Scale", "dg[3.1]", Agreement(0.25, 2e-15), Agreement(0.25, 1e-10), WRONG)
AFTER = Row((), "the network", "dθ", FINE, None, FOLLOWS, "from dg[3.1]")
ON_KINK = Row((4,), "MaxPool2D", "dA[3]", FINE, None, KINK)


@pytest.mark.parametrize(
    ("error", "tolerance", "holds", "excess"),
    [
        (1.0, 2.0, True, 0.5),
        (2.0, 1.0, False, 2.0),
        (0.0, 0.0, True, 0.0),
        (1e-300, 0.0, False, math.inf),
        (math.nan, 1.0, False, math.inf),
        (1.0, math.nan, False, math.inf),
    ],
)
def test_agreement(error, tolerance, holds, excess):
    agreement = Agreement(error, tolerance)
    assert (agreement.holds, agreement.excess) == (holds, excess)


def test_only_agreement_everywhere_is_ok():
    assert GradientReport((GOOD,)).ok
    for other in (BAD, AFTER, ON_KINK):
        assert not GradientReport((GOOD, other)).ok
    assert not GradientReport(()).ok


def test_the_summary_names_what_is_wrong_by_itself():
    assert GradientReport((GOOD, GOOD)).summary == "all 2 gradients agree with dual numbers and with differences"
    assert GradientReport((GOOD, BAD, AFTER)).summary == "dg[3.1] of layer l = 3.1, Scale is wrong"
    assert GradientReport((GOOD, ON_KINK)).summary.startswith("on a kink: dA[3] of layer l = 4, MaxPool2D.")


def test_as_text():
    lines = str(GradientReport((GOOD, BAD, AFTER))).splitlines()
    assert lines[0].split() == [cell.strip() for cell in COLUMNS]
    assert lines[1].split() == ["2", "Dense", "dW[2]", "1.0e-16", "2.0e-15", "1.0e-12", "1.0e-10", "agrees"]
    assert lines[2].split() == ["3.1", "Scale", "dg[3.1]", "2.5e-01", "2.0e-15", "2.5e-01", "1.0e-10", "WRONG"]
    assert lines[3].split() == ["the", "network", "dθ", "1.0e-16", "2.0e-15", "follows:", "from", "dg[3.1]"]
    assert lines[4] == "dg[3.1] of layer l = 3.1, Scale is wrong"


def test_as_json():
    row = BAD._replace(duals=Agreement(math.nan, math.inf), differences=None)
    assert json.loads(json.dumps(row.to_dict(), allow_nan=False)) == {
        "path": [3, 1],
        "place": "Scale",
        "gradient": "dg[3.1]",
        "duals": {"error": None, "tolerance": None},
        "differences": None,
        "verdict": "WRONG",
        "note": "",
    }
