"""Model: a network with its parameters and all that is needed to use it: preprocessing, classes, the form of targets.

model = md.load("model.safetensors");  model.predict(X);  model.evaluate(X, Y);  model.save("copy.safetensors")

A model file is one safetensors file: arrays by key, and in its header, as JSON, `format_version`, `architecture` (the
layers and their arguments) and `model` (input shape, dtype, loss, preprocessing, classes …). Nothing is ever executed:
an unknown layer is refused by name, and layers of one's own are passed to `load`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl import arrays
from mathdl.architecture import kinds_with, layer_to_dict, layers_from_dicts, record_from_dict, record_to_dict
from mathdl.arrays import Array, Shape, concatenated, is_array, namespace, to_host
from mathdl.data import Standardize, as_arrays
from mathdl.data.selection import is_on_file
from mathdl.data.source import InMemory, Source, Streamed
from mathdl.data.weights import ClassWeight, class_weights, sample_weights
from mathdl.errors import (
    DataError,
    FileFormatError,
    MathdlError,
    OutOfMemoryError,
    UnknownNameError,
    UsageError,
    integer,
)
from mathdl.layers.chain import chain_collect
from mathdl.layers.layer import Context, Layer
from mathdl.losses import LOSSES, Loss
from mathdl.network import Network, Parameters
from mathdl.objective import Objective
from mathdl.training.chunks import ChunkTasks, Subject
from mathdl.training.files import read_tensors, write_tensors

FORMAT_VERSION = 1

_MOST_ROWS = 8192
"""Instances that are predicted at a time, at most."""
_ROWS_OF_A_PRODUCT = 256
"""And at least, if all of the network were one product: with fewer, to bring in the weights takes too long."""


class Rows(NamedTuple):
    """Data that came through the door: checked, and not yet standardized."""

    X: Any
    """(n, …) in the model's dtype; a memory map is one still, an array of another backend is where it was."""
    Y: NDArray[Any]
    """As it came."""
    targets: NDArray[Any]
    """Y in the form that the loss takes."""
    weights: NDArray[np.float64] | None
    """w (n,) = sample weight × class weight; None: all 1."""


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
        self._tasks = ChunkTasks()
        self._outputs: Subject | None = None

    # -- use ---------------------------------------------------------------------------------------------------------

    def predict(self, X: Any, batch_size: int | None = None) -> Array:
        """What the network puts out for X (n, …): probabilities, or numbers in the units of the targets.

        Computed `batch_size` rows at a time; by default as many as stay in the cache, or more where there are many
        weights. The result is of the kind and on the device of X. Raises `DataError` on NaN and infinities,
        `ShapeError`.
        """
        home = arrays.device_of(X) if is_array(X) else arrays.device("cpu")
        X = self.network.check_shape(self.params, as_arrays(X, dtype=self.params.dtype)[0])
        chunks, output = self._chunks(X.shape[0], batch_size), self._output_shape
        with self.params.device.active():
            parts = self._tasks.computed(
                self._predicted(), chunks, lambda rows: [self.prepare(X[rows, ...])], lambda B: (B, *output)
            )
            return home.put(self._finish(concatenated(parts)))

    def _predicted(self) -> Subject:
        """What is computed of X. It views θ and the state, and so never ages; making it takes as long as predicting."""
        if self._outputs is None or self._outputs.params is not self.params:
            objective, contexts = self.objective, self.network.contexts(self.params)

            def outputs(params: Parameters, contexts: Mapping[int, Context], X: Array) -> Array:
                return objective.outputs(objective.forward(params, X, contexts))

            self._outputs = Subject(outputs, self.params, contexts, (objective,))
        return self._outputs

    @cached_property
    def _output_shape(self) -> Shape:
        return self.objective.output_shape(self.params.input_shape)

    @cached_property
    def _rows_of_a_chunk(self) -> int:
        input, chain = self.params.input_shape, self.network.chain
        work: int = sum(chain_collect(chain, input, lambda layer, shape: layer.multiply_adds(shape)).values())
        least = _ROWS_OF_A_PRODUCT * int(self.params.vector.shape[0]) // max(work, 1)
        in_cache = int(self.params.device.backend.MOST_ACTIVATIONS) // max(map(prod, self.network.shapes(input)))
        return max(1, min(_MOST_ROWS, max(least, in_cache)))

    def _chunks(self, n: int, batch_size: int | None = None) -> list[slice]:
        B = self._rows_of_a_chunk if batch_size is None else integer("batch_size", batch_size)
        if n <= B:
            return [slice(0, n)]
        B = -(-n // -(-n // B))  # of about one size: so most of them are like one another
        return [slice(first, min(first + B, n)) for first in range(0, n, B)]

    def evaluate(self, X: Any, Y: Any, sample_weight: Any = None, workers: int | None = None) -> dict[str, float]:
        """{"loss": …, "accuracy": …} for classes, {"loss", "mae", "rmse", "r2"} for numbers: Σ w·figure / Σ w."""
        rows = self.rows(as_arrays(X, dtype=self.params.dtype)[0], Y, sample_weight)
        return self.figures(rows, self.source(rows), workers)

    def save(self, path: Any) -> None:
        """Write one safetensors file; an existing file is replaced whole or not at all."""
        params = self.params
        about = {
            "input_shape": list(params.input_shape),
            "dtype": params.dtype,
            "loss": record_to_dict(self.loss),
            "inputs": None if self.inputs is None else self.inputs.to_dict(),
            "targets": None if self.targets is None else self.targets.to_dict(),
            "squeeze": self.squeeze,
            "classes": None if self.classes is None else list(self.classes),
            "frozen": [".".join(map(str, path)) for path in sorted(self.network.frozen)],
            "about": dict(self.about),
        }
        metadata = {
            "format_version": str(FORMAT_VERSION),
            "architecture": json.dumps([layer_to_dict(layer) for layer in self.network.layers]),
            "model": json.dumps(about),
        }
        tensors = {name: np.asarray(to_host(A), order="C") for name, A in {**params, **params.state}.items()}
        write_tensors(path, tensors, metadata)

    # -- data ----------------------------------------------------------------------------------------------------------

    def rows(self, X: Any, Y: Any, sample_weight: Any = None, class_weight: ClassWeight | None = None) -> Rows:
        """X, as `mathdl.data.as_arrays` gave it, with Y and the weights, all checked.

        Raises `ShapeError` and `DataError` if they do not fit the network, the loss, or one another.
        """
        self.network.check_shape(self.params, X)
        Y = to_host(Y) if is_array(Y) else Y
        outputs = self.objective.output_shape(self.params.input_shape)
        targets = self.loss.check_targets(Y, outputs)
        n = int(X.shape[0])
        if len(targets) != n:
            raise DataError(f"X and Y must have as many rows · X has {n} · Y has {len(targets)}")
        weights = None if sample_weight is None else sample_weights(sample_weight, n)
        if class_weight is not None:
            weights = (1.0 if weights is None else weights) * self._class_weights(class_weight, targets)
            weights = sample_weights(weights, n)
        for name, A in (("Y", targets), ("sample_weight", weights)):
            if A is not None:
                _check_range(name, A, self.params.dtype)
        return Rows(X, np.asarray(Y), targets, weights)

    def _class_weights(self, class_weight: ClassWeight, targets: NDArray[Any]) -> NDArray[np.float64]:
        outputs = self.objective.output_shape(self.params.input_shape)[0]
        if self.loss.kind == "categorical":
            return class_weights(class_weight, targets, outputs, self.classes)
        if self.loss.kind == "binary" and outputs == 1:
            return class_weights(class_weight, targets[:, 0].astype(np.int64), 2, self.classes)
        raise UsageError("class_weight is for one class of several, or one yes or no; use sample_weight instead")

    def source(self, rows: Rows, given: Sequence[Any] | None = None) -> Source:
        """These rows, ready to train or evaluate on: on the device; streamed if X is a memory map, or too large for it.

        `given` is what the caller gave, whose memory is not to be written to (None: the rows are the caller's).
        """
        if is_on_file(rows.X):
            return self._streamed(rows)
        try:
            return self._in_memory(rows, (rows.X, rows.Y, rows.weights) if given is None else given)
        except OutOfMemoryError:
            if not isinstance(rows.X, np.ndarray):
                raise  # it lies on a device: there is nothing to stream from
        return self._streamed(rows)

    def _streamed(self, rows: Rows) -> Streamed:
        weights = None if rows.weights is None else rows.weights.astype(self.params.dtype)
        return Streamed(rows.X, rows.targets, weights, self.params.device, self.prepare, self.prepare_targets)

    def _in_memory(self, rows: Rows, theirs: Sequence[Any]) -> InMemory:
        device, weights = self.params.device, rows.weights
        with device.active():
            put_weights = None if weights is None else device.put(weights, self.params.dtype)
            arrays = self.prepare(rows.X), self.prepare_targets(rows.targets), put_weights
            own = [A for A in arrays if not any(_may_be_of_others(A, each) for each in theirs)]
            return InMemory(*arrays, device, own)

    def prepare(self, X: Any) -> Array:
        """X as it came through the door, standardized, in the dtype and on the device of θ."""
        if is_on_file(X):
            X = np.asarray(X)
        if self.inputs is not None:
            X = self.inputs.apply(to_host(X), self.params.dtype)
        return self.params.device.put(X, self.params.dtype)

    def prepare_targets(self, targets: NDArray[Any]) -> Array:
        """Targets as `Loss.check_targets` gave them, standardized, on the device."""
        if self.targets is not None:
            targets = self.targets.apply(targets, self.params.dtype)
        labels = self.loss.kind == "categorical" and targets.ndim == 1
        return self.params.device.put(targets, None if labels else self.params.dtype)

    def _finish(self, P: Array) -> Array:
        if self.targets is not None:
            P = self.params.device.put(self.targets.invert(to_host(P)), self.params.dtype)
        return P[:, 0] if self.squeeze and P.shape[1:] == (1,) else P

    # -- figures -------------------------------------------------------------------------------------------------------

    def figures(self, rows: Rows, source: Source, workers: int | None = None) -> dict[str, float]:
        """The figures of prepared rows, computed in chunks whose cut depends on n alone, and added in their order."""
        objective, has_weights = self.objective, rows.weights is not None

        def sums(params: Parameters, contexts: Mapping[int, Context], X: Array, Y: Array, *weights: Array) -> Array:
            xp, A = namespace(X), objective.forward(params, X, contexts)
            values = [objective.instance_losses(A, Y), *(metric(A, Y) for metric in chosen.values())]
            found = [*map(xp.sum, weights), *(xp.sum(v * weights[0] if weights else v) for v in values)]
            return xp.stack(found)[None, :]

        def read(part: slice) -> list[Array]:
            return [A for A in source.slice(part.start, part.stop) if A is not None]

        with self.params.device.active():
            chosen = objective.metrics(self.target_scale())
            contexts = self._predicted().contexts
            subject = Subject(sums, self.params, contexts, (objective, self.targets, has_weights))
            shape = (1, len(chosen) + 1 + has_weights)
            parts = self._tasks.computed(subject, self._chunks(source.n), read, lambda B: shape, workers)
            found: list[float] = to_host(concatenated(parts)).sum(axis=0, dtype=np.float64).tolist()
        total, of_rows = (found[0], found[1:]) if has_weights else (source.n, found)
        return self.named([figure / total for figure in of_rows], rows)

    def named(self, means: list[float], rows: Rows) -> dict[str, float]:
        """Mean loss and metrics of `rows` under their names; of squared errors, their root and R²."""
        figures = dict(zip(["loss", *self.objective.metrics()], means, strict=True))
        if "mse" in figures:
            mse = figures.pop("mse")
            figures |= {"rmse": mse**0.5, "r2": r2_from(mse, rows)}
        return figures

    def target_scale(self) -> Array | None:
        """The deviations of standardized targets as (1, d) on the device, or None."""
        if self.targets is None:
            return None
        scale = np.array([self.targets.deviation], dtype=self.params.dtype)
        scale.flags.writeable = False  # a step that reads it may be recorded
        return self.params.device.put(scale)


def _check_range(name: str, A: NDArray[Any], dtype: str) -> None:
    large = np.argwhere(np.abs(A) > np.finfo(dtype).max)
    if len(large):
        raise DataError(f"{name}: row {large[0][0]} is {A[tuple(large[0])]}, too large for {dtype}")


def r2_from(mse: float, rows: Rows) -> float:
    """R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², of all outputs together.

    Where targets do not vary it is 0, or 1 if all of them are hit.
    """
    mean = np.average(rows.targets, axis=0, weights=rows.weights)
    variance = float(np.mean(np.average((rows.targets - mean) ** 2, axis=0, weights=rows.weights)))
    if variance == 0.0:
        return 1.0 if mse == 0.0 else 0.0
    return 1.0 - mse / variance


def load(path: Any, layers: Sequence[type] = (), device: str = "cpu") -> Model:
    """The model in a file that `Model.save` wrote, on `device`. `layers`: the classes of layers of one's own.

    Raises `FileFormatError` if the file is not a model of this format, `UnknownNameError` on an unknown layer.
    """
    tensors, metadata = read_tensors(path)
    version = metadata.get("format_version")
    if version is None or "architecture" not in metadata or "model" not in metadata:
        raise FileFormatError(f"{path}: a safetensors file, but not a model of mathdl (no architecture in its header)")
    if version != str(FORMAT_VERSION):
        raise FileFormatError(f"{path}: format version {version}, this mathdl reads {FORMAT_VERSION}: update mathdl")
    try:
        about = json.loads(metadata["model"])
        network = Network(_layers(json.loads(metadata["architecture"]), layers))
        network.frozen = frozenset(map(network.path, about["frozen"]))
        loss = record_from_dict(about["loss"], {kind.__name__: kind for kind in LOSSES.values()}, "loss")
        params = network.empty_parameters(tuple(about["input_shape"]), device, about["dtype"])
        network.input_shape = params.input_shape
        expected = {**params.shapes, **params.state.shapes}
        found = {name: tuple(A.shape) for name, A in tensors.items()}
        if found != expected:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise FileFormatError(
                f"{path}: arrays do not fit the architecture: "
                + "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong[:4])
            )
        params.assign(tensors)
        return Model(
            network,
            params,
            loss,
            inputs=None if about["inputs"] is None else Standardize.from_dict(about["inputs"]),
            targets=None if about["targets"] is None else Standardize.from_dict(about["targets"]),
            squeeze=bool(about["squeeze"]),
            classes=None if about["classes"] is None else tuple(about["classes"]),
            about=dict(about["about"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MathdlError):  # says by itself what is wrong
            raise
        raise FileFormatError(f"{path}: the header is damaged ({type(error).__name__}: {error})") from error


def _layers(records: Any, own: Sequence[type]) -> list[Layer]:
    try:
        return layers_from_dicts(records, kinds_with(own))
    except UnknownNameError as error:
        error.add_note("a layer of your own is given by its class: md.load(path, layers=[MyLayer])")
        raise


def _may_be_of_others(A: Any, given: Any) -> bool:
    """Whether writing to A might write to what the caller gave."""
    if given is None or isinstance(given, list):
        return False
    if isinstance(A, np.ndarray):
        return not isinstance(given, np.ndarray) or np.may_share_memory(A, given)
    return not isinstance(given, np.ndarray)  # put on the device from the host: a copy
