"""`sh scripts/accuracy`: it trains as users do, compares with least squares, and fails where figures are too low."""

from __future__ import annotations

import json

import pytest
from sklearn.linear_model import LinearRegression

from mathdl.cli.config import Config
from mathdl.cli.parts import cut
from mathdl.data import load


@pytest.fixture
def accuracy(scripts):
    return scripts("accuracy")


def test_diabetes(accuracy, tmp_path, capsys):
    out = tmp_path / "figures.json"
    status = accuracy.main(["--only", "diabetes", "--seeds", "0,3", "--out", str(out)])
    figures = json.loads(out.read_text())
    (result,) = figures["results"]
    assert set(figures) >= {"commit", "cpu", "cores", "python"}
    assert set(figures["versions"]) == {"mathdl", "numpy"}
    assert [row["seed"] for row in result["seeds"]] == [0, 3]
    assert result["mean"] == pytest.approx(sum(row["r2"] for row in result["seeds"]) / 2)
    assert result["holds"] is None  # of two seeds nothing is asked
    assert status == 0
    assert "mean r2" in capsys.readouterr().out


def test_least_squares_sees_the_same_rows(accuracy):
    parts = cut(load("diabetes"), Config(seed=4))
    train, test = parts["train"].table, parts["test"].table
    expected = LinearRegression().fit(train.X, train.Y).score(test.X, test.Y)
    assert accuracy.least_squares("diabetes", 4) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("r2", "seconds", "holds"),
    [(0.5, 1.0, True), (0.44, 1.0, False), (0.5, 31.0, False)],
)
def test_what_is_asked(accuracy, monkeypatch, capsys, r2, seconds, holds):
    monkeypatch.setattr(accuracy, "trained", lambda data, model, seed: {"test": {"r2": r2}, "seconds": seconds})
    monkeypatch.setattr(accuracy, "least_squares", lambda data, seed: 0.5)
    assert accuracy.main(["--only", "diabetes"]) == (0 if holds else 1)
    assert ("DOES NOT HOLD" in capsys.readouterr().out) is not holds


def test_far_below_least_squares(accuracy, monkeypatch, capsys):
    for gap, status in [(0.09, 0), (0.11, 1)]:
        r2 = lambda seed, gap=gap: 0.6 - gap * (seed == 7)  # noqa: E731
        monkeypatch.setattr(
            accuracy, "trained", lambda data, model, seed, r2=r2: {"test": {"r2": r2(seed)}, "seconds": 1.0}
        )
        monkeypatch.setattr(accuracy, "least_squares", lambda data, seed: 0.6)
        assert accuracy.main(["--only", "diabetes"]) == status
    assert accuracy.main(["--only", "diabetes", "--seeds", "7"]) == 0
    assert "too few seeds to judge" in capsys.readouterr().out
