"""Small data sets and networks that the tests of networks and of training share, and layers of a user's own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import mathdl as md
from mathdl import plan
from mathdl.arrays import namespace
from support import host, normal

CLASSES = 3
ADAM = md.Adam(0.01)


def vectors(n: int = 50, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(X (n, d), labels) that can be learnt."""
    X = normal(n, d, seed=seed, dtype="float32")
    return X, np.argmax(X @ normal(d, CLASSES, seed=9, dtype="float32"), axis=1)


def images(n: int = 22, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(X (n, 6, 6, 2), labels)."""
    X = normal(n, 6, 6, 2, seed=seed, dtype="float32")
    return X, np.argmax(X.reshape(n, -1)[:, :CLASSES], axis=1)


def numbers(n: int = 40, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(X (n, d), y (n,)) of a regression in units that are far from 1."""
    X = normal(n, d, dtype="float32")
    return X, (70.0 + 20.0 * (X @ normal(d, seed=3)) + normal(n, seed=4)).astype("float32")


def mlp(*more: Any) -> md.Network:
    """Dropout and batch normalization between two dense layers."""
    return md.Network(
        [md.Dense(8), md.BatchNorm(), md.ReLU(), md.Dropout(0.25), *more, md.Dense(CLASSES), md.Softmax()]
    )


def cnn() -> md.Network:
    """A convolution, a residual layer with all that it may hold, pooling."""
    inside = [md.Conv2D(4, 3, padding="same"), md.BatchNorm(), md.ReLU(), md.Dropout(0.25)]
    return md.Network(
        [
            md.Conv2D(4, 3, padding="same"),
            md.ReLU(),
            md.Residual(inside, shortcut=[md.Conv2D(4, 1)]),
            md.MaxPool2D(2),
            md.Flatten(),
            md.Dense(CLASSES),
            md.Softmax(),
        ]
    )


def plain() -> md.Network:
    """Nothing but two dense layers."""
    return md.Network([md.Dense(8), md.Tanh(), md.Dense(CLASSES), md.Softmax()])


def train(
    net: md.Network | None = None, data: Any = None, epochs: int = 2, fit: Any = None, **options: Any
) -> md.Trainer:
    """A trainer that has trained, by default `plain()` on `vectors()`; `fit` are more arguments of `fit`."""
    options = {"optimizer": ADAM, "batch_size": 16, "device": "cpu", **options}
    trainer = md.Trainer(plain() if net is None else net, **options)
    trainer.fit(*(vectors() if data is None else data), epochs, **(fit or {}))
    return trainer


def cut_into(monkeypatch: Any, shards: int) -> None:
    """Have every minibatch cut into so many shards."""
    monkeypatch.setattr(plan, "shard_count", lambda B, **_: min(B, shards))


def result(trainer: md.Trainer) -> dict[str, Any]:
    """All that a training leaves behind, but for the time it took."""
    vectors = {"theta": trainer.params.vector, "state": trainer.params.state.vector, **(trainer.slots or {})}
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trainer.history]
    best = trainer.best and {**vars(trainer.best), "theta": trainer.best.theta.tobytes()}
    return {
        **{name: host(vector).tobytes() for name, vector in vectors.items()},
        "rows": rows,
        "at": (trainer.epoch, trainer.m, trainer.step),
        "best": best and {name: value for name, value in best.items() if name != "state"},
    }


@dataclass(frozen=True)
class Scale(md.Layer):
    """A ∘ s with a learnt s: a layer that says no more than it must, and leaves `into` alone."""

    def shapes(self, input):
        return input, {"Ws": input[-1:]}

    def forward(self, params, A, context):
        return A * params["Ws"], (A, params["Ws"])

    def backward(self, dA, cache, into, input_gradient=True):
        A, s = cache
        return (dA * s if input_gradient else None), {"Ws": namespace(A).sum(dA * A, axis=0)}


@dataclass(frozen=True)
class Reciprocal(md.Layer):
    """1 / A: +∞ where A is 0."""

    def forward(self, params, A, context):
        return 1.0 / A, A

    def backward(self, dA, cache, into, input_gradient=True):
        return -dA / (cache * cache), {}


@dataclass(frozen=True)
class Unasked(md.Layer):
    """A layer whose gradient nobody may ask for."""

    def forward(self, params, A, context):
        return A, None

    def backward(self, dA, cache, into, input_gradient=True):
        raise AssertionError("nothing below is learnt")


@dataclass
class Bare:
    """Every member of a layer, none of them inherited: b is added to A."""

    couples_instances = False
    draws = False
    propositions = ()
    trainable = True
    l1 = 0.0
    l2 = 0.0
    inner: dict = field(default_factory=dict)

    def shapes(self, input):
        return input, {"b": input}

    def initializers(self):
        return {"b": md.initializers.constant(0.5)}

    def fans(self, input):
        return {}

    def states(self, input):
        return {}

    def constants(self, input):
        return {}

    def multiply_adds(self, input):
        return 0

    def activations(self, input):
        return math.prod(input)

    def forward(self, params, A, context):
        return A + params["b"], None

    def backward(self, dA, cache, into, input_gradient=True):
        return dA, {"b": namespace(dA).sum(dA, axis=0)}

    def inner_activations(self, params, A, context):
        return iter(())

    def new_state(self, state, cache):
        return {}
