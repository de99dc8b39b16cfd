"""Every shipped layer, loss, optimizer and function, forward and backward, from the same bits on both sides.

Small shapes are held against the definition (`by_definition`), sizes of real networks against the shipped code in
float64. The list is made from what mathdl exports: an op without an example here has no row, and is reported as blind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl import layers as md
from mathdl import losses as ml
from mathdl.architecture import written
from mathdl.arrays import Array, Shape
from mathdl.layers.layer import Layer
from mathdl.losses import LOSSES, Loss
from mathdl.optimizers import OPTIMIZERS, Optimizer
from mathdl.parity.by_definition import layer_references, loss_references
from mathdl.parity.cases import Case, draw, kind, propositions, spaced
from mathdl.parity.layer_runs import parameter_shapes, run_layer, run_loss
from mathdl.parity.sides import Side
from mathdl.sums import sum_outer


class Example(NamedTuple):
    """A layer on B instances of a shape."""

    layer: Layer
    input: Shape
    B: int = 3
    scale: float = 1.0
    """Inputs lie in (−2, 2) times this."""
    training: bool = True


def shipped() -> list[str]:
    """The names of all layers, losses and optimizers that mathdl has."""
    return [*md.__all__, *(loss.__name__ for loss in LOSSES.values()), *(o.__name__ for o in OPTIMIZERS.values())]


def ops(dtype: str, seed: int, real_sizes: bool = True) -> Iterator[Case]:
    """Every case; without `real_sizes` the small ones alone."""
    for name in md.__all__:
        for example in SMALL.get(name, ()):
            yield layer_case(example, dtype, seed, by_definition=True)
        for example in REAL.get(name, ()) if real_sizes else ():
            yield layer_case(example, dtype, seed, by_definition=False)
    for loss in (loss for name in LOSSES for loss in LOSS_EXAMPLES.get(name, ())):
        yield loss_case(loss, 5, 4, dtype, seed, by_definition=True)
        if real_sizes:
            yield loss_case(loss, 64, 100, dtype, seed, by_definition=False)
    for name in OPTIMIZERS:
        for optimizer in OPTIMIZER_EXAMPLES.get(name, ()):
            yield optimizer_case(optimizer, dtype, seed)
    yield from functions(dtype, seed, 4096 if real_sizes else 64)


SMALL: Mapping[str, tuple[Example, ...]] = {
    "Dense": (Example(md.Dense(4), (6,)), Example(md.Dense(4, bias=False), (6,))),
    "Perceptron": (Example(md.Perceptron(md.Sigmoid()), (6,)), Example(md.Perceptron(md.Tanh()), (6,))),
    "Conv2D": (
        Example(md.Conv2D(3, 3, padding="same"), (5, 5, 2), 2),
        Example(md.Conv2D(3, (3, 2), stride=2, padding=1), (6, 5, 2), 2),
        Example(md.Conv2D(4, 2, groups=2, dilation=2), (5, 5, 4), 2),
        Example(md.Conv2D(4, 2, groups=2), (4, 4, 2), 2),
        Example(md.Conv2D(3, 1), (3, 3, 4), 2),
    ),
    "Conv1D": (Example(md.Conv1D(3, 3, padding="same"), (6, 2)), Example(md.Conv1D(3, 2, stride=2), (7, 2))),
    "MaxPool2D": (Example(md.MaxPool2D(2), (4, 4, 2)), Example(md.MaxPool2D(3, stride=2, padding=1), (5, 5, 2))),
    "MaxPool1D": (Example(md.MaxPool1D(3, stride=1), (7, 2)),),
    "AveragePool2D": (
        Example(md.AveragePool2D(3), (6, 6, 2)),
        Example(md.AveragePool2D(3, stride=2, padding=1), (5, 5, 2)),
        Example(md.AveragePool2D(3, stride=2, padding=1, count_padding=True), (5, 5, 2)),
    ),
    "AveragePool1D": (Example(md.AveragePool1D(3, stride=1), (7, 2)),),
    "GlobalMaxPool2D": (Example(md.GlobalMaxPool2D(), (3, 3, 2)),),
    "GlobalMaxPool1D": (Example(md.GlobalMaxPool1D(), (5, 2)),),
    "GlobalAveragePool2D": (Example(md.GlobalAveragePool2D(), (3, 3, 2)),),
    "GlobalAveragePool1D": (Example(md.GlobalAveragePool1D(), (5, 2)),),
    "Flatten": (Example(md.Flatten(), (2, 3, 2)),),
    "Reshape": (Example(md.Reshape((3, 4)), (2, 3, 2)),),
    "ReLU": (Example(md.ReLU(), (8,)),),
    "LeakyReLU": (Example(md.LeakyReLU(), (8,)),),
    "ELU": (Example(md.ELU(), (8,)), Example(md.ELU(0.5), (8,))),
    "GELU": (Example(md.GELU(), (8,)),),
    "SiLU": (Example(md.SiLU(), (8,)),),
    "Sigmoid": (Example(md.Sigmoid(), (8,)),),
    "Softplus": (Example(md.Softplus(), (8,)),),
    "Tanh": (Example(md.Tanh(), (8,)),),
    "Softmax": (Example(md.Softmax(), (5,)),),
    "LogSoftmax": (Example(md.LogSoftmax(), (5,)),),
    "BatchNorm": (Example(md.BatchNorm(), (4,), 6), Example(md.BatchNorm(), (3, 3, 2))),
    "LayerNorm": (Example(md.LayerNorm(), (6,)),),
    "Dropout": (Example(md.Dropout(0.3), (8,)),),
    "Residual": (
        Example(md.Residual([md.Dense(4), md.Tanh()]), (4,)),
        Example(md.Residual([md.Dense(3)], shortcut=[md.Dense(3, bias=False)]), (4,)),
    ),
}
"""Layer → examples that are small enough for the definition."""

REAL: Mapping[str, tuple[Example, ...]] = {
    "Dense": (Example(md.Dense(128), (784,), 32), Example(md.Dense(10), (256,), 64)),
    "Perceptron": (Example(md.Perceptron(md.Sigmoid()), (784,), 32),),
    "Conv2D": (Example(md.Conv2D(16, 3, padding="same"), (14, 14, 8), 4), Example(md.Conv2D(8, 5), (28, 28, 1), 4)),
    "Conv1D": (Example(md.Conv1D(16, 5), (100, 8), 4),),
    "MaxPool2D": (Example(md.MaxPool2D(2), (28, 28, 8), 4),),
    "AveragePool2D": (Example(md.AveragePool2D(2), (28, 28, 8), 4),),
    "GlobalAveragePool2D": (Example(md.GlobalAveragePool2D(), (14, 14, 16), 4),),
    "ReLU": (Example(md.ReLU(), (1000,), 4),),
    "LeakyReLU": (Example(md.LeakyReLU(), (1000,), 4),),
    "ELU": (Example(md.ELU(), (1000,), 4, 5.0),),
    "GELU": (Example(md.GELU(), (1000,), 4, 2.0),),
    "SiLU": (Example(md.SiLU(), (1000,), 4, 5.0),),
    "Sigmoid": (Example(md.Sigmoid(), (1000,), 4, 8.0),),
    "Softplus": (Example(md.Softplus(), (1000,), 4, 8.0),),
    "Tanh": (Example(md.Tanh(), (1000,), 4, 3.0),),
    "Softmax": (Example(md.Softmax(), (1000,), 4, 10.0),),
    "LogSoftmax": (Example(md.LogSoftmax(), (1000,), 4, 10.0),),
    "BatchNorm": (Example(md.BatchNorm(), (14, 14, 16), 4), Example(md.BatchNorm(), (64,), 32, training=False)),
    "LayerNorm": (Example(md.LayerNorm(), (256,), 8),),
    "Dropout": (Example(md.Dropout(0.5), (1000,), 4),),
    "Residual": (Example(md.Residual([md.Conv2D(8, 3, padding="same"), md.ReLU()]), (8, 8, 8), 4),),
}
"""Layer → examples of the size of real networks."""

LOSS_EXAMPLES: Mapping[str, tuple[Loss, ...]] = {
    "categorical_cross_entropy": (
        ml.CategoricalCrossEntropy(),
        ml.CategoricalCrossEntropy(logits=True),
        ml.CategoricalCrossEntropy(logits=True, label_smoothing=0.1),
    ),
    "binary_cross_entropy": (ml.BinaryCrossEntropy(), ml.BinaryCrossEntropy(logits=True)),
    "mean_squared_error": (ml.MeanSquaredError(),),
    "mean_absolute_error": (ml.MeanAbsoluteError(),),
    "huber": (ml.Huber(),),
    "poisson": (ml.Poisson(),),
}
"""Loss → examples."""

OPTIMIZER_EXAMPLES: Mapping[str, tuple[Optimizer, ...]] = {
    name: tuple(OPTIMIZERS[name](**options) for options in variants)
    for name, variants in {
        "sgd": ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {"clip_norm": 1.0}),
        "adam": ({}, {"weight_decay": 0.01}),
        "adamw": ({"weight_decay": 0.01},),
        "rmsprop": ({}, {"momentum": 0.9}),
    }.items()
}
"""Optimizer → examples."""


def layer_case(example: Example, dtype: str, seed: int, by_definition: bool) -> Case:
    """A layer, forward and backward. Small inputs have no ties and lie away from kinks, for differences."""
    layer, input, B, scale, training = example
    shapes = sorted(parameter_shapes(layer, input).items())
    place = (seed, len(shapes), B)
    inputs = spaced(dtype, B, *input, seed=place) if by_definition else draw(dtype, B, *input, seed=place)
    X = np.asarray(scale * inputs, dtype=dtype)
    dA = draw(dtype, B, *layer.shapes(input)[0], seed=(*place, 1))
    parameters = {name: draw(dtype, *shape, seed=(*place, 2, k)) for k, (name, shape) in enumerate(shapes)}

    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_layer(layer, parameters, X, dA, side, training, seed=seed)

    return Case(
        "ops",
        kind(layer),
        f"{written(layer)} on {input}, B = {B}" + ("" if training else ", not training"),
        evaluate,
        propositions(layer, ("A", "dX", *(f"d{name}" for name, _ in shapes))),
        references=(lambda: layer_references(layer, parameters, X, dA, training, seed)) if by_definition else None,
        seed=seed,
    )


def loss_case(loss: Loss, B: int, l: int, dtype: str, seed: int, by_definition: bool) -> Case:
    """A loss on weighted instances."""
    P, Y = loss_inputs(loss, B, l, dtype, seed)
    weights = np.random.default_rng((seed, B, 3)).integers(1, 4, B).astype(dtype)

    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_loss(loss, P, Y, weights, side)

    what = f"{written(loss)} on ({l},), B = {B}"
    references = (lambda: loss_references(loss, P, Y, weights, seed)) if by_definition else None
    return Case("ops", kind(loss), what, evaluate, propositions(loss), references=references, seed=seed)


def loss_inputs(loss: Loss, B: int, l: int, dtype: str, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """(P, Y): logits, probabilities away from 0 and 1, rates, or numbers; labels, 0/1, counts, or numbers."""
    Z = spaced(dtype, B, l, seed=(seed, B, l))
    logits = bool(getattr(loss, "logits", False))
    rng = np.random.default_rng((seed, B, l, 1))
    if loss.kind == "categorical":
        E = np.exp(0.5 * Z.astype(np.float64))
        P = 3 * Z if logits else E / np.sum(E, axis=1, keepdims=True)
        return P.astype(dtype), rng.integers(l, size=B)
    if loss.kind == "binary":
        return (3 * Z if logits else 0.5 + 0.2 * Z).astype(dtype), rng.integers(2, size=(B, l)).astype(dtype)
    if kind(loss) == "Poisson":
        return (1.0 + 0.4 * Z + 0.5).astype(dtype), rng.integers(5, size=(B, l)).astype(dtype)
    residual = spaced(dtype, B, l, seed=(seed, B, l, 2))  # neither 0 nor ±1, where slopes jump
    return Z, (Z - residual).astype(dtype)


def optimizer_case(optimizer: Optimizer, dtype: str, seed: int) -> Case:
    """The second step of an optimizer, from the same θ, gradient and state."""
    n = 500
    given: dict[str, NDArray[Any]] = {
        name: draw(dtype, n, seed=(seed, 20, k)) for k, name in enumerate(("theta", "G", *optimizer.slots))
    }
    for name in ("S", "V") if optimizer.slots != ("V",) else ():
        if name in given:
            given[name] = np.abs(given[name])
    coefficients = np.array(optimizer.coefficients(2, 0.01), dtype=dtype)

    def evaluate(side: Side) -> Mapping[str, Array]:
        own = {name: side.put(value) for name, value in given.items()}
        slots = {name: own[name] for name in optimizer.slots}
        optimizer.clip(own["G"])
        optimizer.update(own["theta"], own["G"], slots, side.put(coefficients), True)
        return {"θ": own["theta"], **slots}

    return Case("ops", kind(optimizer), f"{written(optimizer)}, n = {n}", evaluate, {}, seed=seed)


def functions(dtype: str, seed: int, longest: int) -> Iterator[Case]:
    """The functions of the namespace that layers are made of, each by itself: they say which one it is."""
    places: Mapping[str, NDArray[Any]] = {
        "exp": -50.0 * np.abs(spaced(dtype, 2000, seed=(seed, 30))) / 2,
        "expm1": 4.0 * spaced(dtype, 2000, seed=(seed, 31)),
        "log": 25.0 * np.abs(spaced(dtype, 2000, seed=(seed, 32))),
        "log1p": np.abs(spaced(dtype, 2000, seed=(seed, 33))),
        "tanh": 4.0 * spaced(dtype, 2000, seed=(seed, 34)),
        "sqrt": 1e3 * np.abs(spaced(dtype, 2000, seed=(seed, 35))),
    }
    for name, x in places.items():
        yield _function(name, x.astype(dtype), seed)
    for n in (n for n in (64, 784, 4096) if n <= max(longest, 64)):
        A, B = draw(dtype, 32, n, seed=(seed, n, 36)), draw(dtype, n, 32, seed=(seed, n, 37))
        yield _product(A, B, n, seed)
    S = np.abs(draw(dtype, 64, 1000, seed=(seed, 38)))

    def added(side: Side) -> Mapping[str, Array]:
        return {"Σ": side.device.namespace.sum(side.put(S), axis=1)}

    yield Case(
        "ops", "sum", "of 1000 positive numbers", added, {"Σ": "broadcast-adjoint"}, lengths={"Σ": 1000}, seed=seed
    )


def _function(name: str, x: NDArray[Any], seed: int) -> Case:
    def evaluate(side: Side) -> Mapping[str, Array]:
        return {"f(x)": getattr(side.device.namespace, name)(side.put(x))}

    return Case("ops", name, f"on [{x.min():.3g}, {x.max():.3g}]", evaluate, seed=seed)


def _product(A: NDArray[Any], B: NDArray[Any], n: int, seed: int) -> Case:
    def evaluate(side: Side) -> Mapping[str, Array]:
        left, right = side.put(A), side.put(B)
        return {"A B": side.device.namespace.matmul(left, right), "Aᵀ D": sum_outer(side.put(A.T.copy()), right)}

    ids = {"A B": "dense-forward", "Aᵀ D": "dense-backward"}
    return Case("ops", "matmul", f"n = {n}", evaluate, ids, lengths=dict.fromkeys(ids, n), seed=seed)
