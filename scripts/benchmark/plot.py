"""The plot of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot(steps: Mapping[str, Mapping[str, Any]], shown: Sequence[str], path: Path, log: bool = False) -> None:
    """Each framework's time a step, over that of mathdl: {workload: {framework: {"ratio": …}}}. Needs matplotlib.

    With `log` bars begin at 1, and twice as fast is as long as half as fast.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    steps = {name: figures for name, figures in steps.items() if "mathdl" in figures}
    figure, axes = pyplot.subplots(figsize=(9, 0.75 * len(steps) + 1.2))
    height = 0.75 / len(shown)
    for j, name in enumerate(shown):
        rows = [k for k, f in enumerate(steps.values()) if name in f]
        if not rows:
            continue
        ratios = [f[name]["ratio"] for f in steps.values() if name in f]
        offset = height * (j - (len(shown) - 1) / 2)
        left = 1.0 if log else 0.0
        bars = [ratio - left for ratio in ratios]
        axes.barh([row + offset for row in rows], bars, left=left, height=0.93 * height, label=name)
    axes.axvline(1, color="black", linewidth=1)
    if log:
        axes.set_xscale("log")
    axes.set_yticks(range(len(steps)), list(steps))
    axes.invert_yaxis()
    axes.set_xlabel("time a step, over that of mathdl (right of the line: mathdl is faster)")
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
