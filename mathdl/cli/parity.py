"""Compare two devices: do they agree, as far as rounding allows?

MODEL is mlp, cnn, a TOML file or a run directory; without one, mlp and cnn are compared. The table has a line for each
op: the largest difference as a part of its bound (ratio), each side against a float64 reference (a/ref, b/ref), the
smallest relative fault in sight (resolves), the entries with the same bits (equal). docs/parity.md says more.

Exit status 1 if a difference is more than rounding explains, or if an op is blind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mathdl.cli.arguments import one_of, seed
from mathdl.errors import DeviceError, MissingExtraError, UsageError
from mathdl.training.files import write_whole

if TYPE_CHECKING:
    from mathdl.parity.report import Report
    from mathdl.parity.subject import Subject

NAME = "parity"
HELP = "compare two devices: do they agree, as far as rounding allows?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    sides = "cpu, cuda, cuda:1, strict, permuted (the CPU, sums in another order) or float64 (the CPU in float64)"
    add("model", metavar="MODEL", nargs="?", help="mlp, cnn, a TOML file or a run directory (default: mlp and cnn)")
    add("--a", default="cpu", help=f"{sides} (default: cpu)")
    add("--b", default="cuda", help="likewise (default: cuda)")
    add("--data", help="what the model learns from (default: that of the run, else digits)")
    add("--target", metavar="COLUMN", help="the target in these data")
    suites = "which suites, with commas between: probes, ops, step, special, randomness (default: all)"
    add("--suite", metavar="NAMES", help=suites)
    dtype = "float32, float64 (default: that of the run, else float32)"
    add("--dtype", type=one_of("dtype", ("float32", "float64")), help=dtype)
    precision = "allow products of float32 to round their operands to tf32, bf16 or fp16"
    add("--precision", type=one_of("precision", ("tf32", "bf16", "fp16")), metavar="FORMAT", help=precision)
    add("--flushes", action="store_true", help="allow subnormal numbers to be taken for 0")
    add("--seed", type=seed, default=0, help="of the inputs that are drawn (default: 0)")
    add("--all", action="store_true", help="print a line for every op, not the worst alone")
    add("--rows", action="store_true", help="print every row")
    add("--json", metavar="FILE", help="also write every row to FILE, with what its figures are made of")
    add("--self-test", action="store_true", help="give b one fault after the other: is each found?")
    add("--patch", metavar="FILE", help="faults of one's own for --self-test, a TOML file")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; 1 if the sides do not agree, or if a fault is not found."""
    if arguments.patch is not None and not arguments.self_test:
        raise UsageError("--patch gives faults to --self-test: add --self-test")
    return _self_test(arguments) if arguments.self_test else _compare(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    from mathdl.cli.console import say
    from mathdl.parity.rows import SUITES
    from mathdl.parity.running import compared, open_pair
    from mathdl.parity.table import lines

    subjects = _subjects(arguments)
    dtype = arguments.dtype or (str(subjects[0].X.dtype) if subjects else "float32")
    with _hint(arguments):
        pair = open_pair(arguments.a, arguments.b, dtype, arguments.precision, arguments.flushes)
    suites = SUITES if arguments.suite is None else tuple(arguments.suite.replace(" ", "").split(","))
    report = compared(pair, subjects, suites, arguments.seed)
    if arguments.json is not None:
        write_json(report, Path(arguments.json))
    for line in lines(report, "row" if arguments.rows else "op" if arguments.all else ""):
        say(line.text, line.style)
    return report.status


@contextmanager
def _hint(arguments: argparse.Namespace) -> Iterator[None]:
    """Say what else can be compared where there is no GPU."""
    try:
        yield
    except (DeviceError, MissingExtraError) as error:
        if "cuda" in arguments.a or "cuda" in arguments.b:
            error.add_note("without a GPU: mathdl parity --a cpu --b permuted (or strict, or float64)")
        raise


def _subjects(arguments: argparse.Namespace) -> list[Subject]:
    """What is asked for; mlp and cnn by default."""
    from mathdl.cli.models import BUILT_IN

    models = [arguments.model] if arguments.model is not None else list(BUILT_IN)
    return [_subject(model, arguments) for model in models]


def _subject(model: str, arguments: argparse.Namespace) -> Subject:
    """A run directory with its own data and options; or a model, as `mathdl train` would train it."""
    from mathdl.cli.config import Config
    from mathdl.cli.model_data import open_model
    from mathdl.cli.run_directory import RunDirectory
    from mathdl.cli.task import make_task
    from mathdl.parity.running import subject_of

    given = {"data": arguments.data, "target": arguments.target, "dtype": arguments.dtype}
    options = {name: value for name, value in given.items() if value is not None} | {"device": "cpu"}
    path, trained = Path(model), None
    if path.is_dir() or (path.suffix == ".safetensors" and path.is_file()):
        directory = RunDirectory(path if path.is_dir() else path.parent)
        config = Config.from_dict(directory.config() | options)
        if directory.model_file.is_file():
            trained = open_model(str(directory.path), "cpu").params
    else:
        config = Config.from_dict({"model": model, **options})
    task = make_task(config)
    train = task.parts["train"].table
    return subject_of(task.trainer, train.X, train.Y, path.stem, trained)


def _self_test(arguments: argparse.Namespace) -> int:
    from mathdl.cli.console import say, table
    from mathdl.parity.faults import built_in, read_faults
    from mathdl.parity.self_test import self_test

    faults = built_in() if arguments.patch is None else read_faults(Path(arguments.patch))
    outcomes = self_test(faults, arguments.dtype or "float32")
    rows = [(outcome.fault, outcome.expected, outcome.found, outcome.row) for outcome in outcomes]
    table(("fault in b", "must be", "is", "by the row"), rows)
    control, *others = outcomes
    survivors = [outcome.fault for outcome in others if not outcome.passed]
    if not control.passed:
        say(f"the sides differ without any fault, so the faults show nothing: {control.row}", "bold red")
        return 1
    if survivors:
        say(f"{len(survivors)} of {len(others)} faults survive: {', '.join(survivors)}", "bold red")
        return 1
    say(f"all {len(others)} faults are found, and none where there is none", "bold green")
    return 0


def write_json(report: Report, path: Path) -> None:
    """Write every row."""
    write_whole(path, (json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
