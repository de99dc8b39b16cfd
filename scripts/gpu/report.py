"""The page of a benchmark on a GPU: what was asked of captured steps, and the table of milliseconds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_MLP = ("mathdl", "torch-graph", "jax-scan", "torch", "mathdl-eager", "mathdl-plain", "jax", "torch-compile")
_CNN = (
    "mathdl", "torch-graph", "torch-graph-channels-last", "jax-scan", "torch", "mathdl-plain", "mathdl-gather",
    "mathdl-eager", "jax", "torch-compile",
)  # fmt: skip
COMPETITORS = {
    "mlp": _MLP,
    "cnn": _CNN,
    "residual": _CNN,
    "digits to 97 %": ("mathdl", "mathdl-eager", "torch"),
}
"""Network, or task → who is measured on it, the most telling first."""

MEANINGS = {
    "mathdl": "`Trainer.fit`, as a user calls it: steps captured in a CUDA graph, the loss and accuracy of every "
    "minibatch, a new permutation every epoch; the first epoch of a `fit`, where steps are captured, does not count.",
    "mathdl-eager": "the same with `MATHDL_CUDA_GRAPHS=0` and `MATHDL_LAZY=0`: one call of CuPy after the other.",
    "mathdl-plain": "mathdl with `MATHDL_LAZY=0`: captured, with a kernel for each call of an array function.",
    "mathdl-gather": "mathdl with `MATHDL_CUDNN=0`: convolutions gather what their windows see, and multiply.",
    "torch": "eager, with the fused SGD.",
    "torch-compile": '`torch.compile(mode="reduce-overhead")` for loss and gradient, then the fused SGD.',
    "torch-graph": "the whole step, gather included, in one `torch.cuda.graph`; the host only replays.",
    "torch-graph-channels-last": "the same with images in the layout that tensor cores prefer.",
    "jax": "one jitted function for the whole step, called for each.",
    "jax-scan": "`lax.scan` over the steps of an epoch, in one jitted function.",
}
"""What each competitor does."""


class Target(NamedTuple):
    """mathdl is asked to be `factor` times as fast as the best of `others`."""

    row: str
    others: tuple[str, ...]
    factor: float


TARGETS = (
    Target("MLP 784-512-256-10, B=128", ("mathdl-eager",), 5.0),
    Target("MLP 784-512-256-10, B=128", ("torch",), 3.0),
    Target("MLP 784-512-256-10, B=128", ("torch-graph", "jax-scan"), 1.0),
    Target("CNN 28×28×1, B=256", ("torch", "torch-compile", "torch-graph", "torch-graph-channels-last"), 0.8),
)


def page(results: Mapping[str, Any]) -> str:
    """The whole page, in Markdown."""
    m, device = results["machine"], results["device"]
    versions = ", ".join(f"{name} {version}" for name, version in m["versions"].items())
    driver = f", driver {device['driver']}" if "driver" in device else ""
    lines = [
        f"# {device['device']}: benchmark", "",
        f"Written by `sh scripts/gpu/bench`: {device['device']}{driver}; {m['cpu']}, {m['cores']} cores; Python "
        f"{m['python']}, {versions}; commit {m['commit']}, {m['date']}.", "",
    ]  # fmt: skip
    if results["smallest"]:
        lines += ["**A dry run with next to no work: the figures mean nothing.**", ""]
    lines += ["## Captured steps and eager ones", "", *checks(results["checks"]), ""]
    if results["doctor"]:
        lines += ["`mathdl doctor --model mlp --device cuda`:", "", "```", results["doctor"].rstrip(), "```", ""]
    lines += ["## Milliseconds a step", "", *steps(results), ""]
    lines += ["## What is asked", "", *targets(results["rows"]), ""]
    return "\n".join([*lines, "## Who is who", "", *(f"- {name}: {meaning}" for name, meaning in MEANINGS.items())])


def checks(found: Mapping[str, Any]) -> list[str]:
    """A line for each training."""
    if not found:
        return ["Not checked."]
    lines = ["| training | | nodes of the graphs |", "|---|---|---|"]
    for name, check in found.items():
        verdict = "as it should be" if name.startswith("control") else "the same bits"
        nodes = ", ".join("?" if count is None else str(count) for count in check["nodes"]) or "–"
        lines.append(f"| {name} | {verdict if check['same'] else last_line('; '.join(check['faults']))} | {nodes} |")
    return lines


def steps(results: Mapping[str, Any]) -> list[str]:
    """The table: median, least and most; the floor beside it; what is missing, and why, below."""
    rows = results["rows"]
    shown = [f for f in COMPETITORS["cnn"] if any(f in row["figures"] or f in row["left_out"] for row in rows)]
    parts = ("FLOPs", "bytes", "nodes", "floor")
    lines = [
        f"Median [least … most] of {results['rounds']} rounds, bursts of {results['burst_seconds']:g} s in turns.", "",
        f"| | {' | '.join(shown)} | {' | '.join(parts)} |", "|---|" + "---|" * (len(shown) + len(parts)),
    ]  # fmt: skip
    for row in rows:
        cells = [cell(row["figures"].get(name)) for name in shown]
        cells += [f"{row['floor'][part]:.3g}" if part in row.get("floor", {}) else "–" for part in parts]
        lines.append(f"| {row['name']}, {row['precision']} | {' | '.join(cells)} |")
    lines += ["", *ceilings(results["ceilings"])]
    left_out = [
        f"- {row['name']}, {row['precision']}, {name}: {last_line(reason)}"
        for row in rows for name, reason in row["left_out"].items()
    ]  # fmt: skip
    left_out += [f"- {row}: no time left" for row in results["no_time_for"]]
    return [*lines, "", "Left out:", "", *left_out] if left_out else lines


def cell(figures: Mapping[str, float] | None) -> str:
    """Median [least … most]."""
    if figures is None:
        return "–"
    return "{} [{} … {}]".format(*(number(figures[name]) for name in ("ms", "least", "most")))


def number(value: float) -> str:
    """Three digits, and no exponent where they are many."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def ceilings(found: Mapping[str, Any]) -> list[str]:
    """A line for each precision."""
    lines = []
    for precision, rates in found.items():
        if "error" in rates:
            lines.append(f"- Ceilings, {precision}: {last_line(rates['error'])}")
            continue
        text = f"products {rates['product'] / 1e12:.3g} TFLOP/s, copies {rates['copy'] / 1e9:.3g} GB/s"
        if "node" in rates:
            text += f", a node {rates['node'] * 1e6:.3g} µs, a launch {rates['launch'] * 1e6:.3g} µs"
        lines.append(f"- Ceilings, {precision}: {text}.")
    return lines


def targets(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each target and precision: how many times as fast, and whether that is enough."""
    lines = ["| | mathdl beside | asked | found | |", "|---|---|---|---|---|"]
    for row in rows:
        for target in TARGETS:
            if target.row == row["name"]:
                found = ratio(row["figures"], target)
                verdict = "not measured" if found is None else "holds" if found >= target.factor else "does not hold"
                shown = "–" if found is None else f"{found:.2f}×"
                others = "the best of " * (len(target.others) > 1) + ", ".join(target.others)
                name = f"{row['name']}, {row['precision']}"
                lines.append(f"| {name} | {others} | {target.factor:g}× | {shown} | {verdict} |")
    return lines


def ratio(figures: Mapping[str, Mapping[str, float]], target: Target) -> float | None:
    """The milliseconds of the best of the others, over those of mathdl; None if either was not measured."""
    others = [figures[name]["ms"] for name in target.others if name in figures]
    return min(others) / figures["mathdl"]["ms"] if others and "mathdl" in figures else None


def last_line(text: str) -> str:
    """Of an error, the line that says what it is, fit for a table."""
    lines = text.strip().splitlines() or ["?"]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return (errors or lines)[-1].replace("|", "\\|")[:200]
