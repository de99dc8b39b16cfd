"""What a training says before and after, and what it writes into run.json."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mathdl import __version__
from mathdl.cli.console import say
from mathdl.cli.hashes import data_hash, weights_hash
from mathdl.cli.parts import own_test
from mathdl.cli.run_directory import RunDirectory
from mathdl.cli.task import Task

_PACKAGES = ("numpy", "array-api-compat", "safetensors", "threadpoolctl", "cupy-cuda12x", "cupy-cuda13x")


def introduce(task: Task) -> None:
    """Say what the data, the cut and the network are, in three lines."""
    config, network, params = task.config, task.trainer.network, task.trainer.params
    say(task.table.source)
    sizes = ", ".join(f"{len(part)} {name}" for name, part in task.parts.items())
    own = "" if own_test(task.table) is None else "; the test rows are the data's own, --test is not used"
    say(f"rows: {sizes} (seed {config.seed}{own})")
    what = [f"L = {network.L}", f"{params.vector.shape[0]:,} parameters", config.dtype, f"on {params.device.name}"]
    say(f"{config.model}: {', '.join(what)}, {epochs_text(config.epochs)}")


def report_at_start(task: Task) -> dict[str, Any]:
    """What is known when a run starts. By the data and the network a resumed run knows that it is the same."""
    return {
        "ended": False,
        "seed": task.config.seed,
        "device": task.trainer.params.device.name,
        "machine": f"{platform.machine()}, {platform.system()}",
        "versions": {"mathdl": __version__, "python": platform.python_version(), **_versions()},
        "rows": {name: len(part) for name, part in task.parts.items()},
        "network": [repr(layer) for layer in task.trainer.network.layers],
        "data_sha256": data_hash(task.table),
    }


def finish(task: Task, directory: RunDirectory) -> None:
    """Save the model, evaluate it on the test rows, complete run.json, say how it went."""
    trainer, test = task.trainer, task.parts["test"]
    model, history = trainer.model, trainer.history
    report = report_at_start(task)
    model.about = {
        "encoding": task.table.encoding.to_dict(),
        "config": task.config.to_dict(),
        "data_sha256": report["data_sha256"],
    }
    model.save(directory.model_file)
    figures = model.evaluate(test.table.X, test.table.Y) if len(test) else {}
    seconds = sum(row["seconds"] for row in history)
    model_of_epoch = trainer.epoch if trainer.best is None else trainer.best.epoch
    directory.write_report(
        {
            **report,
            "ended": True,
            "epochs": trainer.epoch,
            "stopped": history.stopped,
            "model_of_epoch": model_of_epoch,
            "seconds": round(seconds, 3),
            "weights_sha256": weights_hash(model.params),
            "test": figures,
        }
    )
    directory.checkpoint_file.unlink(missing_ok=True)
    best = "" if model_of_epoch == trainer.epoch else f"; the model is that of epoch {model_of_epoch}, the best"
    say(f"trained {epochs_text(trainer.epoch)} in {seconds:.1f} s{best}")
    if figures:
        say(f"test: {figures_text(figures)} ({len(test)} rows that it never saw)", "bold")
    say(f"saved in {directory.path}")


def figures_text(figures: Mapping[str, float]) -> str:
    """``loss 0.0612, accuracy 0.9833``."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def epochs_text(epochs: int | None) -> str:
    """``1 epoch``, ``40 epochs``."""
    return f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
