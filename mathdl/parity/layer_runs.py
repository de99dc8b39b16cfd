"""One layer or one loss, forward and backward, on any side: what cases of layers and losses are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl import random
from mathdl.arrays import Array, Shape, Tree, flatten_tree
from mathdl.layers.layer import Context, Layer
from mathdl.losses import Loss
from mathdl.notation import flat_name
from mathdl.parity.sides import Side
from mathdl.plan import constants_on, drawing, make_contexts

Values = Mapping[str, NDArray[Any]]
"""Arrays of the host by flat name: "W", or "W[1]" for a parameter of the first layer inside a residual one."""


def parameter_shapes(layer: Layer, input: Shape) -> dict[str, Shape]:
    """Name → shape of a layer's parameters."""
    return flatten_tree(layer.shapes(input)[1])


class Address(NamedTuple):
    """Where in a training a layer runs: its randomness hangs on that."""

    l: int = 1
    epoch: int = 0
    m: int = 0


def run_layer(
    layer: Layer,
    parameters: Values,
    X: NDArray[Any],
    dA: NDArray[Any] | None,
    side: Side,
    training: bool = True,
    state: Values | None = None,
    seed: int = 0,
    at: Address = Address(),  # noqa: B008 - a tuple
) -> dict[str, Array]:
    """{"A": …, "dX": …, "dW": …} of a layer, or {"A": …} if there is no dA.

    `state` (default: its start) is what the layer keeps from step to step.
    """
    input = tuple(X.shape[1:])
    tree = nested(layer.shapes(input)[1], {name: side.put(value) for name, value in parameters.items()})
    context = layer_context(layer, input, X.shape[0], side, training, state, seed, at)
    A, cache = layer.forward(tree, side.put(X), context)
    if dA is None:
        return {"A": A}
    dX, grads = layer.backward(side.put(dA), cache, {}, True)
    return {"A": A, "dX": dX, **{f"d{name}": value for name, value in flatten_tree(grads).items()}}


def layer_context(
    layer: Layer,
    input: Shape,
    B: int,
    side: Side,
    training: bool,
    state: Values | None = None,
    seed: int = 0,
    at: Address = Address(),  # noqa: B008
) -> Context:
    """The context of a layer by itself, as layer l of minibatch {m} of an epoch."""
    chain, place = {at.l: layer}, side.device
    start = {name: np.full(shape, value) for name, (shape, value) in flatten_tree(layer.states(input)).items()}
    own = {name: side.put(value) for name, value in (start if state is None else state).items()}
    keys = {
        path: place.put(random.fold_many(seed, "dropout", path, at.epoch, [at.m])[0])
        for path in (drawing(chain) if training else ())
    }
    constants = constants_on(chain, input, place)
    tree = {at.l: nested(layer.states(input), own)}
    return make_contexts(chain, constants, tree, training=training, instances=B, keys=keys)[at.l]


def run_loss(
    loss: Loss, P: NDArray[Any], Y: NDArray[Any], weights: NDArray[Any] | None, side: Side
) -> dict[str, Array]:
    """{"J": …, "dP": …} of a loss, with Σw computed on the host as for a step."""
    total = float(len(P) if weights is None else np.sum(weights, dtype=np.float64))
    own = None if weights is None else side.put(weights)
    J, cache = loss.forward(side.put(P), side.put(Y), own, total)
    return {"J": J, "dP": loss.backward(cache)}


def nested(tree: Tree, flat: Mapping[str, Any], path: tuple[int, ...] = ()) -> dict[Any, Any]:
    """The values of `flat` in the form of `tree`: the reverse of `flatten_tree`."""
    return {
        key: nested(value, flat, (*path, key)) if isinstance(key, int) else flat[flat_name(key, path)]
        for key, value in tree.items()
    }
