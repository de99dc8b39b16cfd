"""Train a model on data, and leave a run directory.

The data are cut into train, validation and test, stratified for classes, by the seed; data that come with a test part
of their own keep it. Early stopping (--patience) looks at validation rows only; the test figures are of the final
model, computed once, at the end.

Ctrl-C stops after the running minibatch. --out RUN_DIR --resume goes on with a run that was stopped in any way, and
ends with the same bits as a run that never stopped. It takes the options of the run; --device, --workers and --data
(the same data in another place) can be given anew. A run that has ended is not resumed.
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mathdl.cli.arguments import fraction, non_negative_number, one_of, positive, positive_number, seed
from mathdl.errors import MathdlError, NonFiniteError, UsageError

if TYPE_CHECKING:
    from mathdl.cli.run_directory import RunDirectory
    from mathdl.cli.task import Task
    from mathdl.training.history import Row
    from mathdl.training.trainer import Trainer

NAME = "train"
HELP = "train a model and leave a run directory"

INTERRUPTED = 130
"""The exit status after Ctrl-C."""
_MAY_CHANGE_ON_RESUME = {"data", "device", "workers"}
SECONDS_BETWEEN_CHECKPOINTS = 5.0
"""What a run that is killed may lose (and the epoch that was running)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options. None has a default here: `mathdl.cli.config` decides what is not given."""
    parser.argument_default = argparse.SUPPRESS
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("model"))
    _add_training(parser.add_argument_group("training"))
    _add_run(parser.add_argument_group("run"))


def _add_data(group: Any) -> None:
    add = group.add_argument
    add("--data", help="digits, diabetes, a file or a folder (default: digits)")
    add("--target", metavar="COLUMN", help="what is predicted (default: target, label, y or class, else the last)")
    add("--categorical", metavar="COLUMN", action="append", help="a column of numbers that are categories; repeatable")
    add("--validation", type=fraction, metavar="SHARE", help="share of validation rows (default: 0.1)")
    add("--test", type=fraction, metavar="SHARE", help="share of test rows (default: 0.2)")
    add("--no-standardize", action="store_true", help="leave features, and targets that are numbers, as they are")


def _add_model(group: Any) -> None:
    add = group.add_argument
    losses = "categorical_cross_entropy, binary_cross_entropy, mean_squared_error, mean_absolute_error, huber, poisson"
    chosen = "the first for classes, mean_squared_error for numbers"
    add("--model", help="mlp, cnn or a TOML file (default: mlp)")
    add("--loss", help=f"{losses} (default: {chosen})")
    add("--label-smoothing", type=fraction, metavar="SHARE", help="for cross-entropies (default: 0)")
    balanced = "balanced: weigh each class by the inverse of its share"
    add("--class-weight", type=one_of("class weight", ("balanced",)), metavar="NAME", help=balanced)


def _add_training(group: Any) -> None:
    add = group.add_argument
    add("--epochs", type=positive, metavar="N", help="default: 40 (cnn: 25)")
    add("--batch-size", type=positive, metavar="B", help="default: 32")
    add("--optimizer", metavar="NAME", help="sgd, adam, adamw, rmsprop (default: adamw)")
    add("--learning-rate", type=positive_number, metavar="RATE", help="default: 0.002 (sgd: 0.05)")
    add("--schedule", metavar="NAME", help="constant, cosine, exponential, inverse, plateau, step (default: cosine)")
    add("--warmup", type=non_negative_number, metavar="EPOCHS", help="a linear warm-up (default: 0)")
    add("--momentum", type=fraction, metavar="RATE", help="of sgd (default: 0.9) and rmsprop (default: 0)")
    decay = "of W (default: 0; adamw, but with cnn: 3 / training rows, at most 0.1, over the learning rate)"
    add("--weight-decay", type=non_negative_number, metavar="RATE", help=decay)
    add("--clip-norm", type=positive_number, metavar="NORM", help="the largest norm that a gradient may have")
    patience = "stop when val_loss has not improved for so long, and keep the best epoch"
    add("--patience", type=positive, metavar="EPOCHS", help=patience)


def _add_run(group: Any) -> None:
    add = group.add_argument
    add("--device", help="auto, cpu, cuda, cuda:1 (default: auto)")
    add("--dtype", type=one_of("dtype", ("float32", "float64")), help="float32, float64 (default: float32)")
    add("--seed", type=seed, help="of the cut, the weights, the minibatches and dropout (default: 0)")
    add("--workers", type=positive, metavar="N", help="CPU threads; changes no bit of the result (default: all cores)")
    add("--out", metavar="RUN_DIR", help="where to write (default: runs/DATA-MODEL-1, -2, …)")
    add("--resume", action="store_true", help="go on with the run in --out")


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    given = {name: value for name, value in vars(arguments).items() if name not in ("command", "debug")}
    out: str | None = given.pop("out", None)
    return _resume(out, given) if given.pop("resume", False) else _start(out, given)


def _start(out: str | None, given: dict[str, Any]) -> int:
    from pathlib import Path

    from mathdl.cli.config import Config
    from mathdl.cli.report import report_at_start
    from mathdl.cli.run_directory import RunDirectory, fresh_directory
    from mathdl.cli.task import make_task

    config = Config.from_dict(given)
    if out is not None:
        RunDirectory(Path(out)).check_free()  # before the work
    task = make_task(config)
    directory = fresh_directory(config.data, config.model) if out is None else RunDirectory(Path(out))
    made = directory.create(task.config.to_dict(), report_at_start(task))
    try:
        return _train(task, directory)
    except Exception:
        if not directory.has_begun():
            directory.remove(made)
        raise


def _resume(out: str | None, given: dict[str, Any]) -> int:
    from pathlib import Path

    from mathdl.cli.config import Config
    from mathdl.cli.report import report_at_start
    from mathdl.cli.run_directory import RunDirectory
    from mathdl.cli.task import make_task
    from mathdl.training.checkpoint import restore_checkpoint

    if out is None:
        raise UsageError("--resume: say which run to go on with, --out RUN_DIR")
    directory = RunDirectory(Path(out))
    stored = directory.config()
    changed = set(given) - _MAY_CHANGE_ON_RESUME
    if changed:
        option = f"--{min(changed).replace('_', '-')}"
        raise UsageError(f"--resume takes the options of {directory.config_file}; {option} cannot be given anew")
    if directory.has_ended():
        raise UsageError(f"{out}: this run has ended, there is nothing to resume; train again with another --out")
    try:
        config = Config.from_dict(stored | given)
    except MathdlError as error:
        error.add_note(f"in {directory.config_file}")
        raise
    task = make_task(config)
    before, now = directory.report(), report_at_start(task)
    for what, found in {
        "data_sha256": f"the data ({task.config.data}) are no longer those",
        "network": f"the model ({task.config.model}) is no longer the one",
    }.items():
        if before.get(what, now[what]) != now[what]:
            raise UsageError(f"{out}: {found} that the run was started with: start another run")
    if directory.checkpoint_file.is_file():
        restore_checkpoint(task.trainer, directory.checkpoint_file)
    directory.write_metrics(task.trainer.history.rows)  # without epochs that ended after the checkpoint
    return _train(task, directory)


def _train(task: Task, directory: RunDirectory) -> int:
    from mathdl.cli.console import say
    from mathdl.cli.report import finish, introduce
    from mathdl.training.checkpoint import save_checkpoint

    introduce(task)
    trainer, train, validation = task.trainer, task.parts["train"].table, task.parts["validation"].table
    was_over = task.has_stopped_early
    try:
        history = trainer.fit(
            train.X,
            train.Y,
            epochs=task.epochs_left,
            validation_data=(validation.X, validation.Y) if len(validation) else None,
            class_weight=task.config.class_weight,
            early_stopping=task.early_stopping,
            callbacks=[_Recorder(directory)],
        )
    except NonFiniteError as error:
        error.add_note(f"rows are counted among the {len(train)} training rows")
        raise
    if history.stopped == "interrupted":
        save_checkpoint(trainer, directory.checkpoint_file)
        say(f"interrupted {_place(trainer)}")
        say(f"to go on: {directory.how_to_resume}")
        return INTERRUPTED
    if was_over:  # it was killed between its last epoch and its end
        history.stopped = "early stopping"
    finish(task, directory)
    return 0


def _place(trainer: Trainer) -> str:
    if trainer.m:
        return f"in epoch {trainer.epoch + 1}, after minibatch {{{trainer.m - 1}}}"
    return f"after epoch {trainer.epoch}"


class _Recorder:
    """A callback that adds a line to metrics.jsonl, and now and then writes a checkpoint."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._saved = perf_counter()

    def __call__(self, trainer: Trainer, row: Row) -> None:
        from mathdl.training.checkpoint import save_checkpoint

        self._directory.add_metrics(row)
        if perf_counter() - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
            save_checkpoint(trainer, self._directory.checkpoint_file)
            self._saved = perf_counter()
