"""What layers and losses give by `mathdl.theory.definitions`: plain loops in float64, which share no code with them.

Values come from the definition itself. Gradients come from the definition too, and from no formula for a gradient:
g_j = ∂/∂x_j ⟨R, F(x)⟩ by differences of F,

    (f(1) − f(−1)) / 2                                                 where F is linear in x,
    (8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h at two steps h         elsewhere, whose disagreement is their error,

at a few entries of every tensor, for each takes as long as the whole forward pass. Both are judged generously: 2⁻⁴⁶ of
the largest magnitude that occurs for the rounding of the loops themselves, and u of the value where the layer has a
number of its own (a slope, a rate), which sides round to their dtype before they use it.

The sizes of windows are the layer's own; what is done with them is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import layers as md
from mathdl import losses as ml
from mathdl import random
from mathdl.layers.layer import Layer
from mathdl.losses import Loss
from mathdl.parity.compare import Reference
from mathdl.parity.layer_runs import Values
from mathdl.theory import definitions as d

KIND = "definition"
ENTRIES = 4
"""Entries of a gradient that are computed."""
_NOISE = 2.0**-46
_STEP = 2.0**-11

Floats = NDArray[np.float64]
Forward = Callable[[Mapping[str, Floats]], Floats]
"""Inputs by name ("X", "W" …) → what the definition gives."""


def layer_references(
    layer: Layer, parameters: Values, X: NDArray[Any], dA: NDArray[Any], training: bool, seed: int
) -> dict[str, Reference]:
    """A, dX, dW … of a layer; {} where it has no definition here."""
    if type(layer) not in LAYERS:
        return {}
    keep = _kept(layer, X, seed) if isinstance(layer, md.Dropout) and training else None

    def forward(inputs: Mapping[str, Floats]) -> Floats:
        return np.asarray(LAYERS[type(layer)](layer, inputs, keep), dtype=np.float64)

    inputs = {"X": X.astype(np.float64), **{name: np.asarray(v, np.float64) for name, v in parameters.items()}}
    found = _references(forward, inputs, dA.astype(np.float64), "A", type(layer) in LINEAR, seed)
    return found if not _has_number(layer) else {name: _widened(value, X.dtype) for name, value in found.items()}


def loss_references(
    loss: Loss, P: NDArray[Any], Y: NDArray[Any], weights: NDArray[Any] | None, seed: int
) -> dict[str, Reference]:
    """J and dP of a loss; {} where it has no definition here."""
    if type(loss) not in LOSSES:
        return {}
    own = None if weights is None else weights.astype(np.float64).tolist()

    def forward(inputs: Mapping[str, Floats]) -> Floats:
        return np.asarray(LOSSES[type(loss)](loss, inputs["P"].tolist(), Y.tolist(), own), dtype=np.float64)

    found = _references(forward, {"P": P.astype(np.float64)}, np.ones(()), "J", False, seed)
    return found if not _has_number(loss) else {name: _widened(value, P.dtype) for name, value in found.items()}


def _has_number(computed: Any) -> bool:
    """Whether a layer or a loss holds a number that is not whole."""
    values = (getattr(computed, field.name) for field in fields(computed))
    return any(isinstance(value, float) and value != int(value) for value in values)


def _widened(reference: Reference, dtype: Any) -> Reference:
    u = float(np.finfo(dtype).eps) / 2.0
    return reference._replace(bound=reference.bound + u * np.abs(reference.value))


def _references(
    forward: Forward, inputs: Mapping[str, Floats], R: Floats, output: str, linear: bool, seed: int
) -> dict[str, Reference]:
    value = forward(inputs)
    largest = float(np.max(np.abs(forward({n: np.abs(v) for n, v in inputs.items()}) if linear else value), initial=0))
    found = {output: Reference(value, _NOISE * largest, KIND)}
    for k, (name, x) in enumerate(inputs.items()):
        places = np.random.default_rng((seed, k)).permutation(x.size)[:ENTRIES]
        where = tuple(tuple(map(int, np.unravel_index(int(j), x.shape))) for j in places)
        pairs = [_derivative(forward, inputs, R, name, index, linear, largest) for index in where]
        values, widths = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        found[f"d{name}"] = Reference(values, widths, KIND, where)
    return found


def _derivative(
    forward: Forward,
    inputs: Mapping[str, Floats],
    R: Floats,
    name: str,
    index: tuple[int, ...],
    linear: bool,
    largest: float,
) -> tuple[float, float]:
    """(∂/∂x ⟨R, F⟩ at one entry of the input `name`, how far it may be off)."""

    def f(t: float) -> float:
        moved = inputs[name].copy()
        moved[index] += t
        return float(np.sum(R * forward({**inputs, name: moved})))

    noise = _NOISE * (largest + 1.0) * float(np.sum(np.abs(R)))
    if linear:
        return (f(1.0) - f(-1.0)) / 2.0, 4.0 * noise
    half, one, two = (f(t * _STEP) - f(-t * _STEP) for t in (0.5, 1.0, 2.0))
    coarse, fine = (8.0 * one - two) / (12.0 * _STEP), (8.0 * half - one) / (6.0 * _STEP)
    return fine, abs(coarse - fine) + noise / _STEP


# ------------------------------------------------------------------------------------------------------- layers

Definition = Callable[[Any, Mapping[str, Floats], Any], Any]
"""(layer, inputs, the mask of dropout) → A as nested lists or an array."""


def _elementwise(phi: Callable[[Any, float], Any]) -> Definition:
    """A function of one number, entry by entry."""

    def of(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
        X = inputs["X"]
        return np.array([phi(layer, z) for z in X.ravel().tolist()], dtype=np.float64).reshape(X.shape)

    return of


def _rowwise(of_row: Callable[[Any], Any]) -> Definition:
    """A function of the last axis."""

    def of(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
        X = inputs["X"]
        return np.array(d.vectorwise(of_row, X.reshape(-1, X.shape[-1]).tolist())).reshape(X.shape)

    return of


def _pooled(images: Callable[..., Any]) -> Definition:
    """Pooling with a window."""

    def of(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
        X = inputs["X"]
        window = layer.window(X.shape[1:])
        axes = 1 if type(layer).__name__.endswith("1D") else 2
        geometry = (window.kernel, window.stride, window.padding)
        args = [part[0] for part in geometry] if axes == 1 else list(geometry)
        return images(X.tolist(), *args, **({"count_padding": True} if getattr(layer, "count_padding", False) else {}))

    return of


def _dense(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    b = inputs.get("b")
    return d.dense(inputs["X"].tolist(), inputs["W"].tolist(), None if b is None else b.tolist())


def _convolution(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    X, b = inputs["X"], inputs.get("b")
    window, bias = layer.window(X.shape[1:]), None if b is None else b.tolist()
    geometry = (window.stride, window.padding, window.dilation)
    if isinstance(layer, md.Conv1D):
        stride, padding, dilation = (part[0] for part in geometry)
        return d.conv1d(X.tolist(), inputs["W"].tolist(), bias, stride, padding, dilation, layer.groups)
    return d.conv2d(X.tolist(), inputs["W"].tolist(), bias, *geometry, layer.groups)


def _perceptron(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    phi = LAYERS[type(layer.activation)]

    def activation(z: float) -> float:
        return float(phi(layer.activation, {"X": np.array([z])}, None)[0])

    w, b = inputs["W"][0].tolist(), float(inputs["b"][0])
    return [[d.perceptron(y, w, b, activation)] for y in inputs["X"].tolist()]


def _batch_norm(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    X = inputs["X"]
    rows = X.reshape(-1, X.shape[-1]).tolist()
    return np.array(d.batch_norm(rows, inputs["gamma"].tolist(), inputs["beta"].tolist(), layer.epsilon)).reshape(
        X.shape
    )


def _layer_norm(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    gamma, beta = inputs["gamma"].tolist(), inputs["beta"].tolist()
    return d.layer_norm(inputs["X"].tolist(), gamma, beta, layer.epsilon)


def _dropout(layer: Any, inputs: Mapping[str, Floats], keep: Any) -> Any:
    return d.dropout(inputs["X"].tolist(), keep, layer.rate)


def _residual(layer: Any, inputs: Mapping[str, Floats], _: Any) -> Any:
    X = inputs["X"]
    branch, shortcut = X, X
    for l, inner in layer.inner.items():
        own = {name.removesuffix(f"[{l}]"): value for name, value in inputs.items() if name.endswith(f"[{l}]")}
        if l <= len(layer.layers):
            branch = np.asarray(LAYERS[type(inner)](inner, {**own, "X": branch}, None), dtype=np.float64)
        else:
            shortcut = np.asarray(LAYERS[type(inner)](inner, {**own, "X": shortcut}, None), dtype=np.float64)
    return d.residual(branch.tolist(), shortcut.tolist())


def _kept(layer: md.Dropout, X: NDArray[Any], seed: int) -> Any:
    key = np.array(random.fold(seed, "dropout", 1, 0, 0), dtype=np.uint32)
    words = np.asarray(random.bits(key, 0, X.shape[0], X[0].size))
    return (words >= int(layer.rate * 2**32)).reshape(X.shape).tolist()


LAYERS: Mapping[type[Any], Definition] = {
    md.Dense: _dense,
    md.Perceptron: _perceptron,
    md.Conv1D: _convolution,
    md.Conv2D: _convolution,
    md.MaxPool1D: _pooled(d.max_pool1d),
    md.MaxPool2D: _pooled(d.max_pool2d),
    md.AveragePool1D: _pooled(d.average_pool1d),
    md.AveragePool2D: _pooled(d.average_pool2d),
    md.GlobalMaxPool1D: lambda layer, inputs, _: d.global_max_pool1d(inputs["X"].tolist()),
    md.GlobalMaxPool2D: lambda layer, inputs, _: d.global_max_pool2d(inputs["X"].tolist()),
    md.GlobalAveragePool1D: lambda layer, inputs, _: d.global_average_pool1d(inputs["X"].tolist()),
    md.GlobalAveragePool2D: lambda layer, inputs, _: d.global_average_pool2d(inputs["X"].tolist()),
    md.Flatten: lambda layer, inputs, _: [d.flatten(image) for image in inputs["X"].tolist()],
    md.Reshape: lambda layer, inputs, _: np.reshape(
        [d.flatten(image) for image in inputs["X"].tolist()], (len(inputs["X"]), *layer.shape)
    ),
    md.ReLU: _elementwise(lambda layer, z: d.relu(z)),
    md.LeakyReLU: _elementwise(lambda layer, z: d.leaky_relu(z, layer.slope)),
    md.ELU: _elementwise(lambda layer, z: d.elu(z, layer.alpha)),
    md.GELU: _elementwise(lambda layer, z: d.gelu(z)),
    md.SiLU: _elementwise(lambda layer, z: d.silu(z)),
    md.Sigmoid: _elementwise(lambda layer, z: d.sigmoid(z)),
    md.Softplus: _elementwise(lambda layer, z: d.softplus(z)),
    md.Tanh: _elementwise(lambda layer, z: d.tanh(z)),
    md.Softmax: _rowwise(d.softmax),
    md.LogSoftmax: _rowwise(d.log_softmax),
    md.BatchNorm: _batch_norm,
    md.LayerNorm: _layer_norm,
    md.Dropout: _dropout,
    md.Residual: _residual,
}
"""Layer → its definition."""

LINEAR = (
    *(md.Dense, md.Conv1D, md.Conv2D, md.AveragePool1D, md.AveragePool2D),
    *(md.GlobalAveragePool1D, md.GlobalAveragePool2D, md.Flatten, md.Reshape, md.Dropout),
)
"""Layers that are linear in each of their inputs by itself."""


# ------------------------------------------------------------------------------------------------------- losses


def _rows_of(loss: Any, P: Any, Y: Any) -> Any:
    rows = d.one_hot(Y, len(P[0])) if not isinstance(Y[0], list) else Y
    return d.smooth_labels(rows, loss.label_smoothing) if loss.label_smoothing else rows


def _categorical(loss: Any, P: Any, Y: Any, w: Any) -> Any:
    of = d.categorical_cross_entropy_logits if loss.logits else d.categorical_cross_entropy
    return of(P, _rows_of(loss, P, Y), w)


def _binary(loss: Any, P: Any, Y: Any, w: Any) -> Any:
    of = d.binary_cross_entropy_logits if loss.logits else d.binary_cross_entropy
    return of(P, d.smooth_binary_labels(Y, loss.label_smoothing) if loss.label_smoothing else Y, w)


LOSSES: Mapping[type[Any], Callable[[Any, Any, Any, Any], Any]] = {
    ml.CategoricalCrossEntropy: _categorical,
    ml.BinaryCrossEntropy: _binary,
    ml.MeanSquaredError: lambda loss, P, Y, w: d.mean_squared_error(P, Y, w),
    ml.MeanAbsoluteError: lambda loss, P, Y, w: d.mean_absolute_error(P, Y, w),
    ml.Huber: lambda loss, P, Y, w: d.huber(P, Y, w, loss.delta),
    ml.Poisson: lambda loss, P, Y, w: d.poisson(P, Y, w),
}
"""Loss → its definition."""
