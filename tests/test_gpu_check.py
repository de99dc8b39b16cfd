"""`sh scripts/gpu/check`, with `strict` in the place of the GPU: what it compares, and the page that it writes."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def check(scripts):
    return scripts("check")


def test_the_page(check, tmp_path):
    argv = ["--device", "strict", "--models", "mlp", "--epochs", "1", "--suite", "9 passed", "--out", str(tmp_path)]
    assert check.main(argv) == 0
    text = (tmp_path / "strict.md").read_text(encoding="utf-8")
    assert "Test-suite: 9 passed." in text
    for what in ("initial weights", "minibatches", "dropout masks"):
        assert f"- {what} of mlp: the same bits" in text
    for dtype in ("float32", "float64"):
        assert f"`mathdl parity`, mlp, {dtype}: exit status 0" in text
    assert "explained by rounding" in text
    for device in ("cpu", "strict"):
        assert f"| mlp | {device} | 1 | 0." in text


@pytest.mark.parametrize("what", ["initial weights", "minibatches", "dropout masks"])
def test_a_bit_that_differs_is_found(check, monkeypatch, what):
    honest = check.started

    def spoilt(model, device):
        found = honest(model, device)
        if device == "strict":
            found[what] = [np.array(found[what][0]) ^ 1, *found[what][1:]]
        return found

    monkeypatch.setattr(check, "started", spoilt)
    assert {name for name, same in check.same_bits("mlp", "strict").items() if not same} == {what}


def test_the_page_says_where_and_with_what(check, monkeypatch):
    monkeypatch.setattr(check, "about_device", lambda device: {"device": f"the name of {device}", "driver": "1.2"})
    found = check.circumstances("cuda:1")
    assert (found["device"], found["driver"]) == ("the name of cuda:1", "1.2")
    assert {"cpu", "commit", "python", "numpy", "mathdl", "array-api-compat"} <= set(found)


def test_a_difference_that_rounding_does_not_explain_fails(check, monkeypatch, tmp_path):
    monkeypatch.setattr(check, "parity", lambda model, device, *options, **environment: (1, "FAIL"))
    argv = ["--device", "strict", "--models", "mlp", "--epochs", "1", "--out", str(tmp_path)]
    assert check.main(argv) == 1
