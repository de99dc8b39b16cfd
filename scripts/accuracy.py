"""How well the defaults of `mathdl train` do, seed by seed; called by `sh scripts/accuracy`.

Each training is the command itself, with nothing but its data, model and seed; its figures are those of its run.json:
of the final model, on test rows that it never saw. Least squares sees the same training rows as the network.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
from machine import about

from mathdl.cli import main as mathdl
from mathdl.cli.config import Config
from mathdl.cli.parts import cut
from mathdl.data import load


class Measure(NamedTuple):
    """A training of which a figure over seeds is asked."""

    name: str
    data: str
    model: str
    figure: str
    least: float
    """The median accuracy, or the mean R², must be at least this."""


MEASURES = (
    Measure("mlp", "digits", "mlp", "accuracy", 0.97),
    Measure("cnn", "digits", "cnn", "accuracy", 0.985),
    Measure("diabetes", "diabetes", "mlp", "r2", 0.45),
)
MOST_BELOW_LEAST_SQUARES = 0.1
SECONDS = 30.0
"""What one training may take."""
SEEDS = tuple(range(10))
"""What is asked is asked of all of these; figures of fewer are printed, and not judged."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print a table, write the figures if --out is given; 1 if one of them is too low."""
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog="sh scripts/accuracy", description=__doc__)
    parser.add_argument("--only", choices=names, action="append", help="one of the measures; repeatable")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="default: 0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(arguments)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    results = [measured(measure, seeds) for measure in MEASURES if measure.name in (options.only or names)]
    if options.out is not None:
        options.out.write_text(
            json.dumps({**about("mathdl", "numpy"), "results": results}, indent=2) + "\n", encoding="utf-8"
        )
    return 1 if any(result["holds"] is False for result in results) else 0


def measured(measure: Measure, seeds: Sequence[int]) -> dict[str, Any]:
    """The figures of every seed, and what they come to; printed as they come."""
    rows = []
    for seed in seeds:
        report = trained(measure.data, measure.model, seed)
        row = {"seed": seed, **report["test"], "seconds": report["seconds"]}
        if measure.figure == "r2":
            row["least_squares_r2"] = least_squares(measure.data, seed)
        rows.append(row)
        text = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name not in ("seed", "seconds"))
        print(f"{measure.name:9} seed {seed}: {text} ({report['seconds']:.1f} s)", flush=True)
    values = [row[measure.figure] for row in rows]
    middle, how = (mean(values), "mean") if measure.figure == "r2" else (median(values), "median")
    slowest = max(row["seconds"] for row in rows)
    below = max((row["least_squares_r2"] - row["r2"] for row in rows if "least_squares_r2" in row), default=None)
    holds = middle >= measure.least and slowest <= SECONDS and (below is None or below <= MOST_BELOW_LEAST_SQUARES)
    judged = holds if set(seeds) >= set(SEEDS) else None
    verdict = {True: "holds", False: "DOES NOT HOLD", None: "too few seeds to judge"}[judged]
    beside = "" if below is None else f"; at most {below:+.4f} below least squares (allowed {MOST_BELOW_LEAST_SQUARES})"
    print(
        f"{measure.name:9} {how} {measure.figure} {middle:.4f} (asked {measure.least}), lowest {min(values):.4f}"
        f"{beside}; slowest {slowest:.1f} s: {verdict}\n",
        flush=True,
    )
    return {
        **measure._asdict(),
        how: middle,
        "lowest": min(values),
        "most_below_least_squares": below,
        "holds": judged,
        "seeds": rows,
    }


def trained(data: str, model: str, seed: int, *options: str) -> dict[str, Any]:
    """run.json of `mathdl train --data … --model … --seed …`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        argv = ["train", "--data", data, "--model", model, "--seed", str(seed), "--out", str(out), *options]
        with contextlib.redirect_stdout(io.StringIO()):
            status = mathdl(argv)
        if status != 0:
            sys.exit(f"mathdl {' '.join(argv)}: exit status {status}")
        report: dict[str, Any] = json.loads((out / "run.json").read_text(encoding="utf-8"))
        return report


def least_squares(data: str, seed: int) -> float:
    """R² on the test rows of least squares with an intercept on the training rows."""
    parts = cut(load(data), Config(data=data, seed=seed))
    train, test = parts["train"].table, parts["test"].table
    theta, *_ = np.linalg.lstsq(with_one(train.X), np.asarray(train.Y), rcond=None)
    residual = np.asarray(test.Y) - with_one(test.X) @ theta
    return float(1 - np.mean(residual**2) / np.var(np.asarray(test.Y)))


def with_one(X: Any) -> Any:
    """X with a column of ones."""
    return np.column_stack([X, np.ones(len(X))])


if __name__ == "__main__":
    sys.exit(main())
