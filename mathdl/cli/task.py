"""A config made real: the rows of each part, and a trainer that is ready to start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from mathdl.cli.config import Config
from mathdl.cli.models import build
from mathdl.cli.parts import Part, cut, own_test
from mathdl.data import Table, as_arrays, load
from mathdl.errors import DataError, MathdlError, UsageError, unknown_name
from mathdl.losses import LOSSES, Loss, Poisson
from mathdl.network import Network
from mathdl.optimizers import OPTIMIZERS, Optimizer, optimizer
from mathdl.schedules import Constant, Cosine, Exponential, Inverse, LinearWarmup, Plateau, Schedule, Step
from mathdl.training.callbacks import EarlyStopping
from mathdl.training.trainer import Trainer

SCHEDULES = ("constant", "cosine", "exponential", "inverse", "plateau", "step")
"""What `--schedule` takes."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what, and how."""

    config: Config
    """With every option decided."""
    table: Table
    """All rows."""
    parts: Mapping[str, Part]
    """"train", "validation" and "test"."""
    trainer: Trainer
    """It knows its data: θ is drawn, the standardization is learnt."""

    @cached_property
    def early_stopping(self) -> EarlyStopping | None:
        """By `--patience`."""
        return None if self.config.patience is None else EarlyStopping(patience=self.config.patience)

    @property
    def has_stopped_early(self) -> bool:
        """Whether the patience has run out."""
        best, stopping = self.trainer.best, self.early_stopping
        return best is not None and stopping is not None and best.waited >= stopping.patience

    @property
    def epochs_left(self) -> int:
        """How many more epochs to train, at most; 0 if the training is over."""
        return 0 if self.has_stopped_early else max(0, int(self.config.epochs or 0) - self.trainer.epoch)


def make_task(config: Config) -> Task:
    """Load the data, decide what the config leaves open, check that all fits together, and prepare the trainer."""
    _check_names(config)
    table = load(config.data, config.target, kind=_kind(config), categorical=config.categorical)
    parts = cut(table, config)
    config = config.with_defaults(table.kind == "classification", len(parts["train"]))
    loss = _loss(config)
    _check_options(config, loss, table)
    input_shape = tuple(int(d) for d in table.X.shape[1:])
    is_counts = isinstance(loss, Poisson)
    network = Network(build(config.model, input_shape, _outputs(table, loss), "counts" if is_counts else loss.kind))
    trainer = Trainer(
        network,
        loss,
        _optimizer(config),
        batch_size=config.batch_size,
        device=config.device,
        dtype=config.dtype,
        seed=config.seed,
        workers=config.workers,
        standardize=not config.no_standardize,
        standardize_targets=loss.kind == "regression" and not is_counts and not config.no_standardize,
    )
    _check_rows(table, trainer)
    train = parts["train"].table
    trainer.prepare(train.X, train.Y, classes=table.classes)
    return Task(config, table, parts, trainer)


def _check_names(config: Config) -> None:
    for what, name, known in [
        ("loss", config.loss, LOSSES),
        ("optimizer", config.optimizer, OPTIMIZERS),
        ("schedule", config.schedule, SCHEDULES),
    ]:
        if name is not None and name not in known:
            raise unknown_name(what, name, known)


def _kind(config: Config) -> str | None:
    """What the loss makes of the targets: "classification", "regression", or None if it is the data that decide."""
    if config.loss is None:
        return None
    return "regression" if LOSSES[config.loss].kind == "regression" else "classification"


def _check_options(config: Config, loss: Loss, table: Table) -> None:
    if config.patience is not None and not config.validation:
        raise UsageError("--patience looks at validation rows: --validation must be more than 0")
    if config.warmup and config.warmup >= int(config.epochs or 0):
        raise UsageError(f"--warmup {config.warmup:g} leaves nothing of --epochs {config.epochs}: make it less")
    if config.class_weight is not None and loss.kind == "regression":
        raise UsageError(f"--class-weight is for classes, and {config.loss} is for numbers")
    if table.kind == "classification" and table.Y is not None and table.Y.ndim == 1:
        if table.outputs < 2:
            raise DataError(f"{table.source}: every row has the same class; training needs at least two")
        if loss.kind == "binary" and table.outputs > 2:
            raise UsageError(
                f"binary_cross_entropy is for two classes, the target has {table.outputs}: "
                "use --loss categorical_cross_entropy"
            )


def _check_rows(table: Table, trainer: Trainer) -> None:
    """Check all rows at once, before they are cut: an error then names a row of the data as they came."""
    outputs = trainer.network.shapes(table.X.shape[1:])[-1]
    for part, place in ((table, ""), (own_test(table), ", its test part")):
        if part is None or part.Y is None:
            continue
        try:
            as_arrays(part.X, dtype=trainer.dtype)
            trainer.loss.check_targets(part.Y, outputs)
            if part.X.shape[1:] != table.X.shape[1:]:
                raise DataError(f"instances of shape {part.X.shape[1:]}; those to train on are {table.X.shape[1:]}")
        except MathdlError as error:
            error.add_note(f"in {part.source}{place}")
            raise


def _loss(config: Config) -> Loss:
    kind: Any = LOSSES[str(config.loss)]
    if not config.label_smoothing:
        return kind()  # type: ignore[no-any-return]
    if "label_smoothing" not in {field.name for field in fields(kind)}:
        raise UsageError(f"--label-smoothing is for cross-entropies, not {config.loss}")
    return kind(label_smoothing=config.label_smoothing)  # type: ignore[no-any-return]


def _outputs(table: Table, loss: Loss) -> int:
    """Nodes of the output layer: l for classes, d for numbers and for yes or no."""
    if table.Y is None or table.Y.ndim > 1 or loss.kind == "categorical":
        return table.outputs
    return 1


def _optimizer(config: Config) -> Optimizer:
    options: dict[str, Any] = {"learning_rate": _schedule(config), "weight_decay": config.weight_decay}
    if config.momentum:
        options["momentum"] = config.momentum
    return optimizer(config.optimizer, clip_norm=config.clip_norm, **options)


def _schedule(config: Config) -> Schedule:
    rate, epochs = float(config.learning_rate or 0), int(config.epochs or 0)
    rest = max(epochs - config.warmup, 1.0)
    schedules: dict[str, Schedule] = {
        "constant": Constant(rate),
        "cosine": Cosine(rate, epochs=rest),
        "exponential": Exponential(rate, factor=0.01 ** (1 / rest)),  # to a hundredth at the end
        "inverse": Inverse(rate, decay=9 / rest),  # to a tenth
        "plateau": Plateau(rate),
        "step": Step(rate, every=rest / 3),  # twice to a tenth
    }
    chosen = schedules[config.schedule]
    return LinearWarmup(config.warmup, chosen) if config.warmup else chosen
