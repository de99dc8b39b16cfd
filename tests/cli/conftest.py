"""The command line in a folder of its own, with small data and a small model to run it on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mathdl import cli

SMALL_MODEL = """
outputs = "auto"
[[layers]]
kind = "Flatten"
[[layers]]
kind = "Dense"
width = 16
[[layers]]
kind = "ReLU"
[[layers]]
kind = "Dropout"
rate = 0.2
"""
FLAT_MODEL = SMALL_MODEL.replace('[[layers]]\nkind = "Flatten"\n', "")


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def mathdl(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; no command ends in a traceback."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL_MODEL, encoding="utf-8")
    Path("flat.toml").write_text(FLAT_MODEL, encoding="utf-8")

    def run(*argv):
        capsys.readouterr()
        status = cli.main([str(word) for word in argv])
        done = Done(status, *capsys.readouterr())
        assert "fault of mathdl" not in done.err
        return done

    return run


@pytest.fixture
def train(mathdl):
    """Train the small model on digits for two epochs (by default), without failing."""

    def run(*options, data="digits", model="small.toml", epochs=2, out="run"):
        done = mathdl(
            *("train", "--data", data, "--model", model, "--epochs", epochs, "--batch-size", 128, "--out", out),
            *options,
        )
        assert done.status == 0, done.err
        return done

    return run


@pytest.fixture
def report():
    """run.json of a run."""
    return lambda out="run": json.loads((Path(out) / "run.json").read_text(encoding="utf-8"))


@pytest.fixture
def metrics():
    """The lines of metrics.jsonl of a run."""
    return lambda out="run": list(map(json.loads, (Path(out) / "metrics.jsonl").read_text().splitlines()))


@pytest.fixture
def table(tmp_path):
    """Write a CSV file of two columns of numbers, one of text, and a target that they decide."""

    def write(name="table.csv", rows=60, target=lambda score: "yes" if score > 0 else "no", start=0):
        random = np.random.default_rng(start)
        lines = ["age,colour,size,target"] if target is not None else ["age,colour,size"]
        for _ in range(rows):
            age, size, red = random.normal(), random.normal(), random.random() < 0.5
            line = f"{age:.3f},{'red' if red else 'blue'},{size:.3f}"
            lines.append(line if target is None else f"{line},{target(age - size + red - 0.5)}")
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return name

    return write
