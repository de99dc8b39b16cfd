"""`mathdl parity`: the exit status, the JSON, run directories, the self-test, and what wrong usage is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mathdl import arrays

FAULT = """
[[faults]]
name = "mine"
breaks = "{breaks}"
functions = {{ exp = "{exp}" }}
expected = "ops/exp"
"""


def patch(exp, breaks="exp"):
    Path("mine.toml").write_text(FAULT.format(exp=exp, breaks=breaks), encoding="utf-8")
    return "mine.toml"


@pytest.fixture
def few(monkeypatch):
    """States of a training: the untrained one alone, to be quick."""
    from mathdl.parity import subject

    monkeypatch.setattr(subject, "EPOCHS", (0,))


def test_correct_sides_pass_and_the_figures_can_be_recomputed(mathdl, few):
    done = mathdl("parity", "small.toml", "--b", "permuted", "--suite", "step, randomness", "--json", "report.json")
    assert done.status == 0, done.err
    assert done.out.startswith("a: cpu, b: permuted, in float32\n")
    assert "explained by rounding" in done.out
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert report["suites"] == ["step", "randomness"]
    rows = [row for row in report["rows"] if row["worst"]["bound_a"]]
    assert len(rows) > 5
    for row in rows:
        worst = row["worst"]
        assert row["ratio"] == abs(worst["a"] - worst["b"]) / (worst["bound_a"] + worst["bound_b"])


def test_a_run_directory_brings_its_own_data_and_its_trained_weights(train, mathdl, few):
    train()
    done = mathdl("parity", "run", "--b", "strict", "--suite", "step", "--rows")
    assert done.status == 0, done.err
    assert "step/update/J/run, untrained" in done.out
    assert "step/update/J/run, as saved" in done.out


def test_a_difference_fails(mathdl, few):
    from mathdl.parity.faults import built_in

    (tf32,) = [fault for fault in built_in() if fault.name == "TF32"]
    with tf32.in_place():  # in the permuted backend alone
        done = mathdl("parity", "small.toml", "--b", "permuted", "--suite", "probes")
    assert done.status == 1
    assert "FAIL: TF32 is on in b" in done.out


@pytest.mark.parametrize(
    ("exp", "status", "said"),
    [
        ("lambda healthy, x: healthy(x) * 1.01", 0, "found"),
        ("lambda healthy, x: healthy(x)", 1, "1 of 1 faults survive: mine"),
        ("lambda healthy, x: no_such_name", 1, "an error"),
    ],
)
def test_faults_of_ones_own(mathdl, exp, status, said):
    done = mathdl("parity", "--self-test", "--patch", patch(exp))
    assert done.status == status, done.err
    assert said in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--b", "permute"), "unknown device 'permute'. Did you mean 'permuted'?"),
        (("--b", "permuted", "--suite", "probe"), "unknown suite 'probe'. Did you mean 'probes'?"),
        (("--b", "permuted", "--dtype", "float16"), "unknown dtype 'float16'"),
        (("--b", "permuted", "--precision", "fp8"), "unknown precision 'fp8'"),
        (("mlpp", "--b", "permuted"), "unknown model 'mlpp'. Did you mean 'mlp'?"),
        ((".", "--b", "permuted"), "not a run directory"),
        (("--patch", "mine.toml"), "add --self-test"),
        (("--self-test", "--patch", "nowhere.toml"), "no such file of faults: nowhere.toml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage(mathdl, options, message):
    done = mathdl("parity", *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_without_a_gpu_it_says_what_can_be_compared(mathdl, monkeypatch):
    monkeypatch.setattr(arrays.backend("cupy"), "why_unusable", lambda: "no driver")
    done = mathdl("parity", "mlp")
    assert (done.status, done.out) == (2, "")
    assert 'device "cuda": no driver' in done.err
    assert "mathdl parity --a cpu --b permuted" in done.err


def test_sides_that_differ_without_a_fault_show_nothing(mathdl, monkeypatch):
    from mathdl.parity import self_test

    control = self_test.Outcome(self_test.HEALTHY, "PASS", "FAIL", "probes/matmul/A I/n = 32")
    monkeypatch.setattr(self_test, "self_test", lambda faults, dtype: [control])
    done = mathdl("parity", "--self-test")
    assert done.status == 1
    assert "the sides differ without any fault" in done.out
