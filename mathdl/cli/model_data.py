"""Which model and which rows: what `evaluate` and `predict` have in common."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mathdl.arrays import device
from mathdl.cli.arguments import one_of
from mathdl.cli.config import Config
from mathdl.cli.hashes import data_hash
from mathdl.cli.parts import PARTS, Part, cut, whole
from mathdl.cli.run_directory import RunDirectory
from mathdl.data import Encoding, Table, load
from mathdl.errors import DataError, FileFormatError, UsageError
from mathdl.training.model import Model
from mathdl.training.model import load as load_model


class ModelAndData(NamedTuple):
    """A model, the rows that it is asked about, and in words which rows these are."""

    model: Model
    part: Part
    source: str


def add_arguments(parser: argparse.ArgumentParser, part: str) -> None:
    """Declare the options; `part` is which rows of the run's own data are meant if none is named."""
    parser.add_argument("run", metavar="RUN_DIR", help="a run directory, or a model file")
    parser.add_argument("--data", help="digits, diabetes, a file or a folder (default: the data of the run)")
    parser.add_argument("--target", metavar="COLUMN", help="the target, if it is not called as it was in training")
    known = ("all", *PARTS)
    rows = f"which rows of the run's own data: {', '.join(known)} (default: {part})"
    parser.add_argument("--part", type=one_of("part", known), help=rows)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")


def open_model_and_data(arguments: argparse.Namespace, part: str) -> ModelAndData:
    """The model of `arguments.run` and the rows that are asked for.

    The data are the run's own if their hash is that of the data that it was trained on, whatever the file is called.
    """
    model = open_model(arguments.run, device(arguments.device).name)
    config = Config.from_dict(model.about["config"]) if "config" in model.about else None
    table = _load(arguments, model, config)
    asked = arguments.part or part
    if config is not None and data_hash(table) == model.about.get("data_sha256"):
        if asked == "all":
            return ModelAndData(model, whole(table), f"{table.source}; all rows")
        found = cut(table, config)[asked]
        if not len(found):
            raise UsageError(f"this run has no {asked} rows: it was trained with --{asked} 0")
        return ModelAndData(model, found, f"{table.source}; its {asked} rows, as cut by seed {config.seed}")
    if arguments.part not in (None, "all") or (asked != "all" and _is_same_place(arguments, config)):
        raise DataError(
            f"{table.source}: these are not the data that {arguments.run} was trained on (their hash is another), "
            f"so its {asked} rows cannot be told apart; use --part all for all of them"
        )
    return ModelAndData(model, whole(table), f"{table.source}; all rows")


def open_model(path: str, device: str) -> Model:
    """The model of a run directory, or of a model file. Raises `FileFormatError` that says what is missing."""
    if Path(path).is_file():
        return load_model(path, device=device)
    run = RunDirectory(Path(path))
    if not run.model_file.is_file():
        config = run.config()  # raises if this is no run directory at all
        raise FileFormatError(
            f"{path}: this run ({config.get('model')} on {config.get('data')}) has not ended, so it has no model yet; "
            f"to go on with it: {run.how_to_resume}"
        )
    return load_model(run.model_file, device=device)


def _load(arguments: argparse.Namespace, model: Model, config: Config | None) -> Table:
    """The data, read as those that the model was trained on."""
    data, target = arguments.data, arguments.target
    if data is None:
        if config is None:
            raise UsageError(f"{arguments.run} does not say what it was trained on: give --data")
        data = config.data
    if target is None and _is_same_place(arguments, config) and config is not None:
        target = config.target
    record: Any = model.about.get("encoding")
    table = load(data, target, encoding=None if record is None else Encoding.from_dict(record))
    expected, found = model.params.input_shape, tuple(table.X.shape[1:])
    if found != expected and math.prod(found) == math.prod(expected):  # the pixels of an image in a row
        return replace(table, X=table.X.reshape(len(table), *expected), test=None)
    return table


def _is_same_place(arguments: argparse.Namespace, config: Config | None) -> bool:
    """Whether the data asked for are called as those of the run."""
    return config is not None and arguments.data in (None, config.data)
