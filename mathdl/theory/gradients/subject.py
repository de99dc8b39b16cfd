"""What is checked: functions of named arrays, with the gradients that their backward gives.

A subject runs the code that ships (or a user's own) on the arrays that it is handed: NumPy's or dual numbers, float64
or float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mathdl import random
from mathdl.arrays import Array, Device, Tree, Vector, device, device_of, flatten_tree, namespace, to_host
from mathdl.layers import Residual
from mathdl.layers.chain import Chain, Path, chain_backward, chain_forward, first_with_parameters, numbered, walk
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.losses import Loss
from mathdl.network import Network, Parameters
from mathdl.notation import flat_name
from mathdl.objective import Objective, weighted_mean
from mathdl.plan import constants_on, drawing, make_contexts

Numbers: TypeAlias = NDArray[Any]
Values: TypeAlias = Mapping[str, Array]
THETA = "θ"
DEVICES = ("cpu", "dual")
DTYPES = ("float64", "float32")


@dataclass(frozen=True)
class Subject:
    """y = f(inputs), and ∂⟨G, y⟩ / ∂input."""

    path: Path
    """Of the layer; () for what is none."""
    place: str
    inputs: Mapping[str, Numbers]
    """Name (``"A[2]"``, ``"W[3]"``) → the point, in float64."""
    checked: tuple[str, ...]
    """The inputs whose gradients are asked for."""
    forward: Callable[[Values], Array]
    backward: Callable[[Values, Array], Mapping[str, Array]]
    """(inputs, G) → gradients by the names of the inputs."""
    stored: Callable[[Values, Array], Mapping[str, Array]] | None = None
    """The same as `backward`, as a network asks for it: what is found in the views of a flat gradient."""

    def moved(self, rng: np.random.Generator) -> Subject:
        """The same at a point a little beside: every entry moved by about a hundredth of what entries are."""
        return replace(self, inputs={name: x + 0.01 * random_direction(rng, x) for name, x in self.inputs.items()})


def _scale(x: Numbers) -> float:
    """The root of the mean square of x; 1 where that is 0."""
    return sqrt(float(np.mean(x * x))) or 1.0 if x.size else 1.0


def random_direction(rng: np.random.Generator, x: Numbers) -> Numbers:
    """A Gaussian direction, as large as x is."""
    return np.asarray(rng.standard_normal(x.shape) * _scale(x))


class Setting:
    """What the layers run in: constants, state and keys of randomness, on each device and in each dtype."""

    def __init__(self, network: Network, params: Parameters, instances: int, seed: int, training: bool) -> None:
        self.training = training
        self._contexts = {
            (name, dtype): _contexts(network, params, instances, seed, training, device(name), dtype)
            for name in DEVICES
            for dtype in DTYPES
        }

    def contexts(self, A: Array, path: Path = ()) -> Mapping[int, Context]:
        """{l: context} beside A, for the network or for the layers inside the layer at `path`."""
        found = self._contexts[device_of(A).name, A.dtype.name]
        for l in path:
            found = found[l].inner
        return found


def _contexts(
    network: Network, params: Parameters, instances: int, seed: int, training: bool, place: Device, dtype: str
) -> Mapping[int, Context]:
    return make_contexts(
        network.chain,
        constants_on(network.chain, params.input_shape, place),
        _put(params.state.tree, place, dtype),
        training=training,
        instances=instances,
        keys={path: place.put(random.fold_many(seed, "dropout", path, 0, [0])[0]) for path in drawing(network.chain)},
    )


def _put(tree: Tree, place: Device, dtype: str) -> Tree:
    return {
        key: _put(value, place, dtype) if isinstance(key, int) else place.put(value, dtype)
        for key, value in tree.items()
    }


def _nested(tree: Tree, values: Values, path: Path) -> Tree:
    """`values` (by flat name) in the form of `tree`."""
    return {
        key: _nested(value, values, (*path, key)) if isinstance(key, int) else values[flat_name(key, path)]
        for key, value in tree.items()
    }


# -- layers ------------------------------------------------------------------------------------------------------------


def of_layers(
    chain: Chain, params: Tree, A: Numbers, setting: Setting, path: Path = (), came_as: str = "A[0]"
) -> Iterator[tuple[Layer, Subject]]:
    """(layer, subject) for every layer, those inside a layer before it; what comes in is what does in training."""
    contexts = setting.contexts(A, path)
    for l, layer in chain.items():
        here = (*path, l)
        if isinstance(layer, Residual):
            for part in (numbered(layer.layers), numbered(layer.shortcut, start=len(layer.layers) + 1)):
                yield from of_layers(part, params[l], A, setting, here, came_as)
        yield layer, _of_layer(layer, here, params[l], A, came_as, setting)
        A, came_as = to_host(layer.forward(params[l], A.copy(), contexts[l])[0]), flat_name("A", here)


def _of_layer(layer: Layer, path: Path, params: Tree, A: Numbers, came_as: str, setting: Setting) -> Subject:
    def run(values: Values) -> tuple[Array, Any]:
        X = values[came_as]
        return layer.forward(_nested(params, values, path), X, setting.contexts(X, path[:-1])[path[-1]])

    def backward(values: Values, G: Array) -> Mapping[str, Array]:
        dX, grads = layer.backward(G, run(values)[1], NOTHING, True)
        return {came_as: dX, **flatten_tree(grads, path)}

    def stored(values: Values, G: Array) -> Mapping[str, Array]:
        into = {name: np.full_like(values[name], np.nan) for name in own}
        tape = {path[-1]: run(values)[1]}
        chain_backward({path[-1]: layer}, G, tape, {path[-1]: _nested(params, into, path)}, True)
        return into

    own = {name: np.array(value) for name, value in flatten_tree(params, path).items()}
    return Subject(
        path,
        type(layer).__name__ + ("" if setting.training or not _has_two_modes(layer) else ", predicting"),
        {came_as: np.array(A), **own},
        (came_as,) if isinstance(layer, Residual) else (came_as, *own),
        lambda values: run(values)[0],
        backward,
        stored,
    )


def has_two_modes(layer: Layer) -> bool:
    """Whether a layer, or one inside it, computes something else while training than when it predicts."""
    return any(_has_two_modes(each) for _, each in walk({1: layer}))


def _has_two_modes(layer: Layer) -> bool:
    return layer.draws or layer.couples_instances


# -- a loss, and the whole network -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Targets:
    """What a loss compares with: Y as `Loss.check_targets` gave it, and w."""

    Y: Numbers
    weights: Numbers
    labels: bool
    """Whether Y are labels: integers on every device."""

    @property
    def total(self) -> float:
        """Σ w."""
        return float(np.sum(self.weights))

    def beside(self, A: Array) -> tuple[Array, Array]:
        """(Y, w) on the device and in the dtype of A."""
        place, dtype = device_of(A), A.dtype.name
        return place.put(self.Y, None if self.labels else dtype), place.put(self.weights, dtype)


def of_loss(loss: Loss, name: str, P: Numbers, targets: Targets, place: str = "") -> Subject:
    """J as a function of what the network puts out."""

    def run(values: Values) -> tuple[Array, Any]:
        return loss.forward(values[name], *targets.beside(values[name]), targets.total)

    def backward(values: Values, G: Array) -> Mapping[str, Array]:
        return {name: loss.backward(run(values)[1]) * G}

    return Subject((), place or type(loss).__name__, {name: P}, (name,), lambda values: run(values)[0], backward)


def of_network(
    network: Network, params: Parameters, X: Numbers, setting: Setting, loss: Loss | None, targets: Targets | None
) -> Subject:
    """All layers together (and the loss), as a function of θ: the recursion, and the views that gradients go to."""
    objective = None if loss is None else Objective(network, loss)

    def vector(like: Array) -> Vector:
        return Vector(params.shape_tree, namespace(like), like.dtype, like.device)

    def with_values(values: Values) -> tuple[Vector, Array, Mapping[int, Context]]:
        given = values[THETA]
        theta = vector(given)
        theta.vector[...] = given
        return theta, device_of(given).put(X.copy(), given.dtype.name), setting.contexts(given)

    def forward(values: Values) -> Array:
        theta, A, contexts = with_values(values)
        if objective is None or targets is None:
            return chain_forward(network.chain, theta.tree, A, contexts)[0]
        for l in objective.chain:
            A, _ = objective.chain[l].forward(theta.tree[l], A, contexts[l])
        Y, weights = targets.beside(A)
        return weighted_mean(objective.instance_losses(A, Y), weights, targets.total)

    def backward(values: Values, G: Array) -> Mapping[str, Array]:
        theta, A, contexts = with_values(values)
        grads, first = vector(values[THETA]), first_with_parameters(params.shape_tree)
        if objective is None or targets is None:
            _, tape = chain_forward(network.chain, theta.tree, A, contexts)
            chain_backward(network.chain, G, tape, grads.tree, False, first)
            return {THETA: grads.vector}
        Y, weights = targets.beside(A)
        objective.gradient(theta, contexts, A, Y, weights, targets.total, grads.tree, first)  # type: ignore[arg-type]
        return {THETA: grads.vector * G}

    place = "the network" if loss is None else f"the network under {type(loss).__name__}"
    return Subject((), place, {THETA: np.array(params.vector)}, (THETA,), forward, backward)
