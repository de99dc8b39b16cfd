"""The options of a run: what `config.toml` holds, and how those that were not given are decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args, get_type_hints

from mathdl.errors import FileFormatError, unknown_name


@dataclass(frozen=True)
class Config:
    """Every option of `mathdl train` but --out and --resume.

    None is for `with_defaults` to decide; where it does not (`target`, `class_weight`, `clip_norm`, `patience`,
    `workers`), None it is.
    """

    data: str = "digits"
    target: str | None = None
    categorical: tuple[str, ...] = ()
    validation: float = 0.1
    test: float = 0.2
    no_standardize: bool = False
    model: str = "mlp"
    loss: str | None = None
    label_smoothing: float = 0.0
    class_weight: str | None = None
    epochs: int | None = None
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float | None = None
    schedule: str = "cosine"
    warmup: float = 0.0
    momentum: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None
    patience: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0
    workers: int | None = None

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Config:
        """The config with these options. Raises `UnknownNameError` on another, `FileFormatError` on a wrong type."""
        types = get_type_hints(cls)
        for name, value in given.items():
            if name not in types:
                raise unknown_name("option", name, types)
            if not _is_of(value, types[name]):
                raise FileFormatError(f"option {name}: expected {_in_words(types[name])}, found {value!r}")
        return cls(**{**given, "categorical": tuple(given.get("categorical", ()))})

    def to_dict(self) -> dict[str, Any]:
        """What config.toml holds: options that are None are left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {**values, "categorical": list(self.categorical)}

    def with_defaults(self, is_classification: bool, rows: int) -> Config:
        """With what was left open decided, for data with `rows` rows to train on."""
        sgd, cnn = self.optimizer == "sgd", self.model == "cnn"
        learning_rate = self.learning_rate or (0.05 if sgd else 0.002)
        return replace(
            self,
            loss=self.loss or ("categorical_cross_entropy" if is_classification else "mean_squared_error"),
            epochs=self.epochs or (25 if cnn else 40),
            learning_rate=learning_rate,
            momentum=(0.9 if sgd else 0.0) if self.momentum is None else self.momentum,
            weight_decay=self._weight_decay(rows, learning_rate) if self.weight_decay is None else self.weight_decay,
        )

    def _weight_decay(self, rows: int, learning_rate: float) -> float:
        """λ such that a step of AdamW takes η λ = 3 / rows of a weight: much on small tables, little on large ones."""
        if self.optimizer != "adamw" or self.model == "cnn":
            return 0.0
        return round(min(3 / rows, 0.1) / learning_rate, 6)


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value, as TOML and JSON have it, is of the type of an option."""
    if kind == tuple[str, ...]:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))


def _in_words(kind: Any) -> str:
    words = {bool: "true or false", int: "an int", float: "a number", str: "a string"}
    found = [words[kind] for kind in get_args(kind) or (kind,) if kind in words]
    return found[0] if kind != tuple[str, ...] else "a list of strings"
