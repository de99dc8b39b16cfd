"""The recursion over layers: numbering, shapes and their errors, the tape, where backward ends, fresh gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from mathdl.arrays import Vector
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.chain import (
    chain_activations,
    chain_backward,
    chain_collect,
    chain_forward,
    chain_shapes,
    first_with_parameters,
    numbered,
    require_layers,
    walk,
)
from mathdl.layers.conv2d import Conv2D
from mathdl.layers.dense import Dense
from mathdl.layers.layer import Context, Layer
from mathdl.layers.relu import ReLU
from mathdl.layers.residual import Residual
from mathdl.layers.tanh import Tanh
from support import assert_close, check_gradient, host, normal, put_tree


@dataclass(frozen=True)
class Recorded(Layer):
    """A Dense layer that notes how it was called, and leaves `into` alone if asked to."""

    width: int
    calls: list
    fresh: bool = False
    trainable: bool = True

    __hash__ = object.__hash__

    def shapes(self, input):
        return Dense(self.width).shapes(input)

    def forward(self, params, A, context):
        self.calls.append("forward")
        return Dense(self.width).forward(params, A, context)

    def backward(self, dA, cache, into, input_gradient=True):
        self.calls.append(("backward", sorted(into), input_gradient))
        return Dense(self.width).backward(dA, cache, {} if self.fresh else into, input_gradient)


def network(fresh=False):
    calls = {l: [] for l in (1, 3)}
    chain = numbered([Recorded(4, calls[1], fresh), Tanh(), Recorded(2, calls[3], fresh)])
    return chain, calls


def parameters(seed=0):
    return {
        1: {"W": normal(3, 4, seed=seed), "b": normal(4, seed=seed)},
        2: {},
        3: {"W": normal(4, 2, seed=seed), "b": normal(2, seed=seed)},
    }


CONTEXTS = {l: Context() for l in (1, 2, 3)}
X = normal(5, 3)
R = normal(5, 2)


def test_numbered():
    assert numbered([ReLU(), Tanh()]) == {1: ReLU(), 2: Tanh()}
    assert numbered([ReLU()], start=4) == {4: ReLU()}
    assert numbered([]) == {}


def test_require_layers():
    require_layers({1: ReLU()}, "layer ")
    with pytest.raises(UsageError, match=r"layer 2: expected a layer, got the class Tanh: write Tanh\(\)$"):
        require_layers({1: ReLU(), 2: Tanh}, "layer ")
    with pytest.raises(UsageError, match=r"layer 1: expected a layer, got 7, which has no .*: inherit md.Layer"):
        require_layers({1: 7}, "layer ")

    class Half(Layer):
        def forward(self, params, A, context):
            return A, None

    with pytest.raises(UsageError, match=r"layer 1: .*Half object .*, which has no backward: define it"):
        require_layers({1: Half()}, "layer ")


def test_shapes():
    chain, _ = network()
    assert chain_shapes(chain, (3,)) == (
        {1: (4,), 2: (4,), 3: (2,)},
        {1: {"W": (3, 4), "b": (4,)}, 2: {}, 3: {"W": (4, 2), "b": (2,)}},
    )
    assert chain_shapes({}, (3,)) == ({}, {})


def test_an_error_has_the_path_of_its_layer():
    with pytest.raises(ShapeError) as caught:
        chain_shapes(numbered([ReLU(), Conv2D(1, 3)], start=5), (3,))
    assert caught.value.layer_path == (6,)


def test_collect_gives_each_layer_its_input_shape():
    chain, _ = network()
    assert chain_collect(chain, (3,), lambda layer, shape: (type(layer).__name__, shape)) == {
        1: ("Recorded", (3,)),
        2: ("Tanh", (4,)),
        3: ("Recorded", (4,)),
    }


def test_forward_and_backward(backend):
    chain, calls = network()
    params = parameters()

    def forward(inputs):
        hidden = np.tanh(inputs["X"] @ inputs["W1"] + inputs["b1"])
        return hidden @ inputs["W3"] + inputs["b3"]

    flat = {"X": X, "W1": params[1]["W"], "b1": params[1]["b"], "W3": params[3]["W"], "b3": params[3]["b"]}
    A, tape = chain_forward(chain, put_tree(params, backend), backend.put(X), CONTEXTS)
    assert_close(A, forward(flat))
    assert list(tape) == [1, 2, 3]
    dX, grads = chain_backward(chain, backend.put(R.copy()), tape)
    assert set(grads) == {1, 2, 3}
    gradients = {"X": dX} | {f"{name}{l}": grads[l][name] for l in (1, 3) for name in ("W", "b")}
    check_gradient(lambda own: float(np.sum(R * forward(own))), flat, {k: host(g) for k, g in gradients.items()})
    assert calls == {1: ["forward", ("backward", [], True)], 3: ["forward", ("backward", [], True)]}


@pytest.mark.parametrize("fresh", [False, True])
def test_gradients_are_written_to_into(backend, fresh):
    chain, _ = network(fresh)
    params = put_tree(parameters(), backend)
    xp = backend.namespace
    into = Vector(chain_shapes(chain, (3,))[1], xp, xp.float64, backend.handle)
    into.vector[...] = float("nan")
    _, tape = chain_forward(chain, params, backend.put(X), CONTEXTS)
    _, expected = chain_backward(chain, backend.put(R.copy()), tape)
    chain_backward(chain, backend.put(R.copy()), tape, into.tree, input_gradient=False)
    for l in (1, 3):
        for name in ("W", "b"):
            assert_close(into[f"{name}[{l}]"], host(expected[l][name]))


def test_without_input_gradient_the_first_layer_computes_no_dA(backend):
    chain, calls = network()
    _, tape = chain_forward(chain, put_tree(parameters(), backend), backend.put(X), CONTEXTS)
    dX, grads = chain_backward(chain, backend.put(R.copy()), tape, input_gradient=False)
    assert dX is None
    assert set(grads) == {1, 2, 3}
    assert (calls[1][-1], calls[3][-1]) == (("backward", [], False), ("backward", [], True))


def test_a_chain_that_is_numbered_from_elsewhere(backend):
    calls = []
    chain = {4: Recorded(4, calls), 5: Tanh()}
    params = put_tree({4: parameters()[1], 5: {}}, backend)
    _, tape = chain_forward(chain, params, backend.put(X), {4: Context(), 5: Context()})
    dX, grads = chain_backward(chain, backend.put(normal(5, 4)), tape, input_gradient=False)
    assert dX is None
    assert sorted(grads) == [4, 5]
    assert calls[-1] == ("backward", [], False)


@pytest.mark.parametrize(("first", "reached"), [(1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (4, [])])
def test_backward_ends_at_first(backend, first, reached):
    chain, calls = network()
    _, tape = chain_forward(chain, put_tree(parameters(), backend), backend.put(X), CONTEXTS)
    dX, grads = chain_backward(chain, backend.put(R.copy()), tape, input_gradient=False, first=first)
    assert dX is None
    assert sorted(grads) == reached
    if first == 3:
        assert calls[3][-1] == ("backward", [], False)


def test_backward_goes_down_from_the_last_layer_on_the_tape(backend):
    chain, calls = network()
    params = put_tree(parameters(), backend)
    short = {l: chain[l] for l in (1, 2)}
    _, tape = chain_forward(short, params, backend.put(X), CONTEXTS)
    _, grads = chain_backward(chain, backend.put(normal(5, 4)), tape)
    assert sorted(grads) == [1, 2]
    assert calls[3] == []


def test_an_empty_chain_is_the_identity(backend):
    A, tape = chain_forward({}, {}, X, {})
    assert A is X
    assert chain_backward({}, R, tape) == (R, {})


def test_activations(backend):
    chain = numbered([ReLU(), Residual([Tanh(), ReLU()])])
    context = Context(inner={1: Context(), 2: Context()})
    found = dict(
        chain_activations(chain, {1: {}, 2: {1: {}, 2: {}}}, backend.put(X), {1: Context(), 2: context}, path=(9,))
    )
    assert list(found) == [(9, 1), (9, 2, 1), (9, 2, 2), (9, 2)]
    A1 = np.maximum(X, 0)
    assert_close(found[9, 1], A1)
    assert_close(found[9, 2, 1], np.tanh(A1))
    assert_close(found[9, 2], A1 + np.tanh(A1))


def test_walk():
    inner = Residual([Tanh()], [ReLU()])
    chain = numbered([ReLU(), Residual([inner])])
    assert list(walk(chain)) == [
        ((1,), ReLU()),
        ((2,), Residual([inner])),
        ((2, 1), inner),
        ((2, 1, 1), Tanh()),
        ((2, 1, 2), ReLU()),
    ]


@pytest.mark.parametrize(
    ("shapes", "l"),
    [
        ({1: {"W": (2, 3)}}, 1),
        ({1: {}, 2: {"gamma": (3,)}}, 2),
        ({1: {}, 2: {1: {}, 2: {"W": (2, 3)}}}, 2),
        ({1: {}, 2: {1: {}}}, 3),
        ({}, 1),
    ],
)
def test_first_with_parameters(shapes, l):
    assert first_with_parameters(shapes) == l
