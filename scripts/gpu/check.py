"""Train on a device and on the CPU, compare what both start from, and write a page; called by `sh scripts/gpu/check`.

Initial weights, the order of the minibatches and the dropout masks must be the same bits; what is learnt from there on
is not, for sums are added in another order: `mathdl parity` must explain the differences by rounding, in float32 and
float64, and must fail and say why where a GPU's products are TF32.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import trained
from machine import ROOT, about, about_device, file_name

import mathdl as md
from mathdl.arrays import to_host
from mathdl.cli.models import BUILT_IN, build

SHAPE, CLASSES, SEED = (8, 8, 1), 10, 0
DTYPES = ("float32", "float64")


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, train, write the page; 1 if bits differ."""
    parser = argparse.ArgumentParser(prog="check.py", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", default=",".join(BUILT_IN), help="default: mlp,cnn")
    parser.add_argument("--epochs", help="default: those of `mathdl train`")
    parser.add_argument("--suite", default="not run", help="what the test-suite said")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu")
    options = parser.parse_args(arguments)
    models, device = options.models.split(","), options.device
    bits = {f"{what} of {model}": same for model in models for what, same in same_bits(model, device).items()}
    more = [] if options.epochs is None else ["--epochs", options.epochs]
    runs = [
        (model, where, trained("digits", model, SEED, "--device", where, *more))
        for model in models
        for where in ("cpu", device)
    ]
    measured_on = circumstances(device)
    compared = {f"{m}, {dtype}": parity(m, device, "--dtype", dtype) for m in models for dtype in DTYPES}
    expected = dict.fromkeys(compared, 0)
    if device.startswith("cuda"):
        tf32 = {f"{m}, TF32 on": parity(m, device, CUPY_TF32="1", NVIDIA_TF32_OVERRIDE="1") for m in models}
        compared, expected = compared | tf32, expected | dict.fromkeys(tf32, 1)
    text = page(measured_on, options.suite, bits, runs, compared)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{file_name(measured_on['device'])}.md").write_text(text, encoding="utf-8")
    print(text)
    agree = all(status == expected[case] for case, (status, _) in compared.items())
    seen = all("TF32 is on" in said for case, (_, said) in compared.items() if expected[case] == 1)
    return 0 if all(bits.values()) and agree and seen else 1


def parity(model: str, device: str, *options: str, **environment: str) -> tuple[int, str]:
    """(exit status, what was printed) of `mathdl parity` on the CPU and the device, in a process of its own."""
    command = [sys.executable, "-m", "mathdl", "parity", model, "--a", "cpu", "--b", device, *options]
    found = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    return found.returncode, found.stdout + found.stderr


def same_bits(model: str, device: str) -> dict[str, bool]:
    """Whether a seed gives the same bits on the CPU and on the device."""
    here, there = (started(model, where) for where in ("cpu", device))
    return {what: all(map(np.array_equal, here[what], there[what])) for what in here}


def started(model: str, device: str) -> dict[str, list[Any]]:
    """What the seed gives on a device, as integers: `array_equal` then compares bits."""
    data = md.data.load("digits")
    X, Y = data.X[:100] / 16, data.Y[:100]
    network = md.Network(build(model, SHAPE, CLASSES))
    weights = to_host(network.initialize(SHAPE, SEED, device).vector)
    trainer = md.Trainer(network, seed=SEED, device=device)
    trainer.fit(X, Y, epochs=2, verbose=False)
    dropout = md.Network([md.Flatten(), md.Dropout(0.5)])
    kept, _ = dropout.forward(dropout.initialize(SHAPE, SEED, device), np.ones_like(X), training=True, seed=SEED)
    return {
        "initial weights": [weights.view(np.uint32)],
        "minibatches": [rows for rows, _, _ in trainer.minibatches],
        "dropout masks": [to_host(kept).view(np.uint32)],
    }


def circumstances(device: str) -> dict[str, str]:
    """The device, the machine, and the versions of what was run on it."""
    packages = [d.name for d in distributions() if d.name.startswith(("cupy", "array-api-", "array_api_"))]
    found = about("mathdl", "numpy", *sorted(packages))
    found |= found.pop("versions")
    return about_device(device) | {name: str(value) for name, value in found.items()}


def page(
    measured_on: dict[str, str],
    suite: str,
    bits: dict[str, bool],
    runs: Sequence[tuple[str, str, Any]],
    compared: dict[str, tuple[int, str]],
) -> str:
    """The page, in Markdown."""
    lines = [f"# {measured_on['device']}", "", "Written by `sh scripts/gpu/check`.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in measured_on.items()]
    lines += ["", f"Test-suite: {suite}.", "", f"From seed {SEED}, on the CPU and on the device:", ""]
    lines += [f"- {what}: {'the same bits' if same else 'DIFFERENT BITS'}" for what, same in bits.items()]
    lines += ["", "Digits, as `mathdl train` trains them; test rows that the model never saw:", ""]
    lines += ["| model | device | epochs | test accuracy | test loss | seconds |", "|---|---|---|---|---|---|"]
    for model, device, report in runs:
        test = report["test"]
        figures = f"{test['accuracy']:.4f} | {test['loss']:.4f} | {report['seconds']:.1f}"
        lines.append(f"| {model} | {device} | {report['epochs']} | {figures} |")
    for case, (status, said) in compared.items():
        lines += ["", f"`mathdl parity`, {case}: exit status {status}", "", "```", said.rstrip(), "```"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
