"""A run directory: what `mathdl train` leaves, and what `evaluate`, `predict` and `--resume` read.

config.toml              every option of the run, defaults included
metrics.jsonl            a line of figures an epoch
run.json                 seed, device, versions, hashes of data and weights, the final test figures
model.safetensors        the final model
checkpoint.safetensors   what an unfinished run resumes from; gone when it has ended
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from shlex import quote
from typing import Any

from mathdl.errors import FileFormatError, UsageError
from mathdl.training.files import write_whole
from mathdl.training.history import Row

RUNS = Path("runs")
"""Where runs without --out lie."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The options."""
        return self.path / "config.toml"

    @property
    def metrics_file(self) -> Path:
        """The figures of each epoch."""
        return self.path / "metrics.jsonl"

    @property
    def report_file(self) -> Path:
        """What there is to know about the run."""
        return self.path / "run.json"

    @property
    def model_file(self) -> Path:
        """The final model."""
        return self.path / "model.safetensors"

    @property
    def checkpoint_file(self) -> Path:
        """What an unfinished run resumes from."""
        return self.path / "checkpoint.safetensors"

    @property
    def how_to_resume(self) -> str:
        """The command that goes on with the run."""
        return f"mathdl train --out {quote(str(self.path))} --resume"

    def check_free(self) -> None:
        """Raise `UsageError` if there is something in the way of a new run."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if self.config_file.is_file() and not self.has_ended():
            raise UsageError(
                f"{self.path} holds a run that has not ended. To go on with it: {self.how_to_resume}; "
                "for another run give another --out"
            )
        raise UsageError(f"{self.path} exists already: give another --out, or remove it")

    def create(self, config: Mapping[str, Any], report: Mapping[str, Any]) -> list[Path]:
        """Make the directory, with config.toml, run.json and no metrics yet; the folders made for it, inmost first."""
        self.check_free()
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_config(config)
        self.write_report(report)
        self.write_metrics([])
        return made

    def remove(self, folders: Sequence[Path]) -> None:
        """Take `create` back; `folders` is what it returned."""
        for file in (self.config_file, self.report_file, self.metrics_file):
            file.unlink(missing_ok=True)
        for folder in folders:
            if any(folder.iterdir()):  # somebody else has put something there
                return
            folder.rmdir()

    def has_begun(self) -> bool:
        """Whether there is something to go on from, or an epoch's figures to look at."""
        return self.checkpoint_file.is_file() or (self.metrics_file.is_file() and self.metrics_file.stat().st_size > 0)

    def has_ended(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.report().get("ended"))

    def write_config(self, config: Mapping[str, Any]) -> None:
        """config.toml."""
        import tomli_w

        write_whole(self.config_file, tomli_w.dumps(dict(config)).encode())

    def config(self) -> dict[str, Any]:
        """The options that the run was started with. Raises `FileFormatError`."""
        if not self.path.exists():
            raise FileFormatError(f"{self.path}: no such run directory")
        if not self.config_file.is_file():
            raise FileFormatError(f"{self.path}: not a run directory (it holds no config.toml)")
        try:
            return tomllib.loads(self.config_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileFormatError(f"{self.config_file}: not a TOML file: {error}") from error

    def write_metrics(self, rows: Sequence[Row]) -> None:
        """metrics.jsonl: one line an epoch; a figure that is not finite is null, for JSON has no word for it."""
        write_whole(self.metrics_file, "".join(map(_line, rows)).encode())

    def add_metrics(self, row: Row) -> None:
        """Add the line of one epoch."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def write_report(self, report: Mapping[str, Any]) -> None:
        """run.json."""
        write_whole(self.report_file, (json.dumps(report, indent=2) + "\n").encode())

    def report(self) -> dict[str, Any]:
        """run.json, or {} if there is none. Raises `FileFormatError`."""
        if not self.report_file.is_file():
            return {}
        try:
            report: dict[str, Any] = json.loads(self.report_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileFormatError(f"{self.report_file}: not a JSON file: {error}") from error
        return report


def fresh_directory(data: str, model: str) -> RunDirectory:
    """runs/DATA-MODEL-1, or the next number that is free."""
    name = f"{Path(data).stem or 'data'}-{Path(model).stem}"
    k = 1
    while (RUNS / f"{name}-{k}").exists():
        k += 1
    return RunDirectory(RUNS / f"{name}-{k}")


def _line(row: Row) -> str:
    finite = {name: value if isfinite(value) else None for name, value in row.items()}
    return json.dumps(finite, allow_nan=False) + "\n"
