"""Model: a network with its parameters and all that is needed to use it: preprocessing, classes, the form of targets.

    model = md.load("model.safetensors");  model.predict(X);  model.evaluate(X, Y);  model.save("copy.safetensors")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import arrays
from mathdl.arrays import Array, is_array, to_host
from mathdl.data import Standardize, as_arrays, first_non_finite
from mathdl.data.source import InMemory, Source, Streamed
from mathdl.errors import DataError, UsageError, unknown_name
from mathdl.layers.layer import Context
from mathdl.losses import Loss
from mathdl.network import Network, Parameters, concatenated
from mathdl.objective import Objective

_CHUNK = 1024
"""Instances that are predicted at a time."""


@dataclass
class Model:
    """A network under a loss, with parameters θ. `predict` and `evaluate` take raw X and Y: preprocessing is inside."""

    network: Network
    params: Parameters
    loss: Loss
    inputs: Standardize | None = None
    """What is applied to X first."""
    targets: Standardize | None = None
    """What Y was standardized with; predictions are turned back."""
    squeeze: bool = False
    """Whether targets came as (n,): predictions then leave as (n,)."""
    classes: tuple[str, ...] | None = None
    """The names of the classes, where labels came as text."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the file should tell: the columns of a table, how it was trained. JSON only."""

    def __post_init__(self) -> None:
        self.objective = Objective(self.network, self.loss)
        self._contexts: dict[int, Context] | None = None

    # -- use ---------------------------------------------------------------------------------------------------------

    def predict(self, X: Any, batch_size: int = _CHUNK) -> Array:
        """What the network puts out for X (n, …): probabilities, or numbers in the units of the targets.

        The result is of the kind and on the device of X. Raises `DataError` on NaN and infinities, `ShapeError`.
        """
        home = arrays.device_of(X) if is_array(X) else arrays.device("cpu")
        X = enter(X, self.params.dtype)
        self._check_shape(X)
        xp = self.params.device.namespace
        with self.params.device.active():
            P = concatenated(
                xp, [self._finish(self.run(self.prepare(X[part]))) for part in chunks(X.shape[0], batch_size)]
            )
        return home.put(P)

    def evaluate(self, X: Any, Y: Any, sample_weight: Any = None, workers: int | None = None) -> dict[str, float]:
        """{"loss": …, "accuracy": …} for classes, {"loss", "mae", "rmse", "r2"} for numbers: Σ w·figure / Σ w."""
        return self.figures(self.source(X, Y, sample_weight), workers)

    def save(self, path: Any) -> None:
        """Write one safetensors file; an existing file is replaced whole or not at all."""
        from mathdl.training.files import save_model

        save_model(self, path)

    # -- the parts -----------------------------------------------------------------------------------------------------

    def prepare(self, X: Any) -> Array:
        """X as it came through the door, standardized, in the dtype and on the device of θ."""
        if self.inputs is not None:
            X = self.inputs.apply(np.asarray(to_host(X)), self.params.dtype)
        return self.params.device.put(X, self.params.dtype)

    def _check_shape(self, X: Any) -> None:
        if tuple(X.shape[1:]) != self.params.input_shape:
            self.network.check_input(self.params, X)  # raises, with both shapes

    def prepare_targets(self, Y: NDArray[Any]) -> Array:
        """Y as `Loss.check_targets` gave it, standardized, on the device."""
        if self.targets is not None:
            Y = self.targets.apply(Y, self.params.dtype)
        labels = self.loss.kind == "categorical" and Y.ndim == 1
        return self.params.device.put(Y, None if labels else self.params.dtype)

    def check_targets(self, Y: Any, n: int) -> NDArray[Any]:
        """Y as a NumPy array in the form that the loss takes. Raises `DataError`."""
        Y = np.asarray(to_host(Y) if is_array(Y) else Y)
        if Y.shape[:1] != (n,):
            raise DataError(f"X has {n} rows, Y has {Y.shape[0] if Y.ndim else 'none (it is one value)'}")
        return self.loss.check_targets(Y, self.objective.output_shape(self.params.input_shape))

    def source(self, X: Any, Y: Any, weights: Any = None) -> Source:
        """Rows that are ready to train or evaluate on: in memory, or streamed if X is a memory map."""
        X = enter(X, self.params.dtype)
        self._check_shape(X)
        Y = self.check_targets(Y, X.shape[0])
        w = None if weights is None else checked_weights(weights, X.shape[0])
        device = self.params.device
        if is_memory_map(X):
            weights = None if w is None else w.astype(self.params.dtype)
            return Streamed(X, Y, weights, device, self.prepare, self.prepare_targets)
        put_weights = None if w is None else device.put(w, self.params.dtype)
        with device.active():
            return InMemory(self.prepare(X), self.prepare_targets(Y), put_weights, device)

    def run(self, A: Array) -> Array:
        """What the objective's layers put out for prepared inputs."""
        if self._contexts is None:
            self._contexts = self.network.contexts(self.params)
        return self.objective.forward(self.params, A, self._contexts)

    def _finish(self, A: Array) -> Array:
        P = self.objective.outputs(A)
        if self.targets is not None:
            P = self.params.device.put(self.targets.invert(to_host(P)), self.params.dtype)
        return P[:, 0] if self.squeeze and P.shape[1:] == (1,) else P

    def figures(self, source: Source, workers: int | None = None) -> dict[str, float]:
        """The figures of prepared rows, computed in chunks whose cut depends on n alone, and added in their order."""
        device = self.params.device
        scale = self.target_scale()
        with device.active():
            put_scale = None if scale is None else device.put(scale, self.params.dtype)
            chosen = self.objective.metrics(put_scale)
            parts = chunks(source.n, _CHUNK)

            def sums_of(k: int) -> list[Array]:
                xp = device.namespace
                X, Y, weights = source.slice(parts[k].start, parts[k].stop)
                A = self.run(X)
                values = [self.objective.instance_losses(A, Y), *(metric(A, Y) for metric in chosen.values())]
                if weights is not None:
                    values = [value * weights for value in values]
                count = X.shape[0] if weights is None else xp.sum(weights)
                return [count, *(xp.sum(value) for value in values)]

            if self._contexts is None:
                self._contexts = self.network.contexts(self.params)
            with device.backend.execution(device.handle, workers, len(parts), False) as execution:
                sums_of_parts = execution.map(sums_of, len(parts))
            sums = np.sum([[float(value) for value in part] for part in sums_of_parts], axis=0)
        if sums[0] == 0:
            raise DataError("evaluate: the weights sum to 0, so there is no mean figure")
        figures = dict(zip(["loss", *chosen], (sums[1:] / sums[0]).tolist(), strict=True))
        if "mse" in figures:
            mse = figures.pop("mse")
            figures["rmse"] = mse**0.5
            figures["r2"] = self._r2(mse, source)
        return figures

    def target_scale(self) -> NDArray[Any] | None:
        """The deviations of standardized targets as (1, d), or None."""
        return None if self.targets is None else np.asarray(self.targets.deviation)[None, :]

    def _r2(self, mse: float, source: Source) -> float:
        w = None if source.weights is None else np.asarray(to_host(source.weights), dtype=np.float64)
        variance = target_variance(np.asarray(to_host(source.Y), dtype=np.float64), w)
        scale = self.target_scale()
        if isinstance(source, InMemory) and scale is not None:  # its Y is standardized; a streamed one's is not
            variance = variance * scale[0] ** 2
        return r2_from(mse, variance)


def enter(X: Any, dtype: str) -> Any:
    """X (n, …) through the door: checked for finiteness, cast; a memory map stays one, a CuPy array stays on its device."""
    if is_array(X) and arrays.backend_of(X).NAME != "numpy":
        if not X.shape or X.shape[0] == 0:
            raise DataError(f"X is empty: shape {tuple(X.shape)}")
        X = arrays.device_of(X).put(X, dtype)
        at = first_non_finite(X)
        if at is not None:
            raise DataError(f"X holds a NaN or an infinity in row {at[0]}, at {list(at[1:])}")
        return X
    return as_arrays(X, dtype=dtype)[0]


def chunks(n: int, most: int) -> list[slice]:
    """0 … n in runs of `most`."""
    return [slice(start, min(start + most, n)) for start in range(0, n, most)]


def r2_from(mse: float, variance: NDArray[Any]) -> float:
    """R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², of all outputs together; targets that do not vary give 0 (1 if all are hit)."""
    total = float(np.mean(variance))
    if total == 0.0:
        return 1.0 if mse == 0.0 else 0.0
    return 1.0 - mse / total


def target_variance(Y: NDArray[Any], weights: NDArray[Any] | None) -> NDArray[Any]:
    """Σ w (y − ȳ)² / Σ w for each output."""
    mean = np.average(Y, axis=0, weights=weights)
    variance: NDArray[Any] = np.average((Y - mean) ** 2, axis=0, weights=weights)
    return variance


def checked_weights(weights: Any, n: int) -> NDArray[Any]:
    """w (n,) as float64. Raises `DataError` unless they are n finite numbers ≥ 0."""
    w = np.asarray(to_host(weights) if is_array(weights) else weights, dtype=np.float64)
    if w.shape != (n,):
        raise DataError(f"sample_weight: expected one weight for each of {n} rows, got shape {w.shape}")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if bad.size:
        raise DataError(f"sample_weight: expected finite numbers ≥ 0, got {w[bad[0]]} in row {bad[0]}")
    return w


def class_weights(weights: Mapping[Any, float] | str, Y: NDArray[Any], classes: Sequence[str] | None) -> NDArray[Any]:
    """w (n,) from a weight for each class; "balanced": n / (l · count of the class). Rows on the simplex mix them."""
    if isinstance(weights, str):
        if weights != "balanced":
            raise unknown_name("class_weight", weights, ["balanced"])
        counts = np.bincount(Y) if Y.ndim == 1 else Y.sum(axis=0)
        table = Y.shape[0] / (len(counts) * np.where(counts > 0, counts, 1.0))
    else:
        count = int(Y.max()) + 1 if Y.ndim == 1 else Y.shape[1]
        names = {name: c for c, name in enumerate(classes or ())}
        table = np.ones(max(count, len(names)))
        for key, weight in weights.items():
            label = names.get(key, key)
            if not isinstance(label, int | np.integer) or not 0 <= label < len(table):
                raise UsageError(f"class_weight: no class {key!r}; classes are 0 … {len(table) - 1}")
            table[label] = weight
    mixed: NDArray[Any] = table[Y] if Y.ndim == 1 else Y @ table
    return mixed


def is_memory_map(X: object) -> bool:
    """Whether X is read from a file as it is used."""
    return isinstance(X, np.memmap)
