"""Residual: values and gradients with every kind of shortcut, what is handed down to the layers inside, errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl import arrays
from mathdl.errors import ShapeError, UsageError
from mathdl.initializers import zeros
from mathdl.layers.batch_norm import BatchNorm
from mathdl.layers.conv2d import Conv2D
from mathdl.layers.dense import Dense
from mathdl.layers.dropout import Dropout
from mathdl.layers.layer import Layer
from mathdl.layers.relu import ReLU
from mathdl.layers.residual import Residual, ResidualCache
from mathdl.layers.tanh import Tanh
from mathdl.network import Network
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, context_for, host, normal, put_tree, run_layer


def parameters(layer, input, seed=0):
    def values(tree, seed):
        return {
            key: values(value, [*seed, key]) if isinstance(key, int) else normal(*value, seed=sum(seed) + ord(key[0]))
            for key, value in tree.items()
        }

    return values(layer.shapes(input)[1], [seed])


def dense(X, params):
    return definitions.dense(X, params["W"].tolist(), params["b"].tolist())


@given(B=st.integers(1, 4), n=st.integers(1, 5), width=st.integers(1, 4))
def test_identity_shortcut(backend, B, n, width):
    layer = Residual([Dense(width), Tanh(), Dense(n)])
    X, params = normal(B, n), parameters(layer, (n,))
    A, _, _ = run_layer(layer, params, X, backend)
    hidden = [[definitions.tanh(z) for z in row] for row in dense(X.tolist(), params[1])]
    assert_close(A, definitions.residual(dense(hidden, params[3]), X.tolist()))
    check_layer_gradient(layer, params, X, backend)


@given(B=st.integers(1, 4), n=st.integers(1, 5), width=st.integers(1, 4))
def test_projection_shortcut(backend, B, n, width):
    layer = Residual([Dense(width), ReLU()], shortcut=[Dense(width)])
    X, params = normal(B, n), parameters(layer, (n,))
    A, _, _ = run_layer(layer, params, X, backend)
    body = [[definitions.relu(z) for z in row] for row in dense(X.tolist(), params[1])]
    assert_close(A, definitions.residual(body, dense(X.tolist(), params[3])))
    check_layer_gradient(layer, params, X, backend)


def test_images_with_a_strided_shortcut(backend):
    layer = Residual(
        [Conv2D(3, 3, stride=2, padding="same"), BatchNorm(epsilon=0.01), Tanh(), Conv2D(2, 3, padding="same")],
        shortcut=[Conv2D(2, 1, stride=2)],
    )
    check_layer_gradient(layer, parameters(layer, (4, 6, 2)), normal(3, 4, 6, 2), backend, training=True)


def test_residual_inside_residual(backend):
    layer = Residual([Dense(3), Residual([Tanh(), Dense(3)]), Tanh()])
    params = parameters(layer, (3,))
    assert set(params) == {1, 2, 3}
    assert set(params[2]) == {1, 2}
    check_layer_gradient(layer, params, normal(2, 3), backend)


def test_layers_inside_draw_and_keep_state(backend):
    layer = Residual([BatchNorm(), Dropout(0.5)])
    key = backend.put(np.array([7, 9], dtype=np.uint32))
    params, X = parameters(layer, (50,)), normal(4, 50)
    A, _, _ = run_layer(layer, params, X, backend, training=True, key=key)
    F = A - X
    kept = F != 0
    assert 0.3 < kept.mean() < 0.7
    normalized, _, _ = run_layer(BatchNorm(), params[1], X, backend, training=True)
    assert_close(F, np.where(kept, 2 * normalized, 0.0))
    check_layer_gradient(layer, params, X, backend, training=True, key=key)
    still, _, _ = run_layer(layer, params, X, backend)
    inference, _, _ = run_layer(BatchNorm(), params[1], X, backend)
    assert_close(still, X + inference)


def test_state_is_of_the_layers_inside(backend):
    layer = Residual([Dense(3, bias=False), BatchNorm()], shortcut=[BatchNorm()])
    states = layer.states((3,))
    assert states == {1: {}, 2: BatchNorm().states((3,)), 3: BatchNorm().states((3,))}
    context = context_for(layer, (3,), backend, training=True, instances=4)
    X = backend.put(normal(4, 3))
    params = put_tree(parameters(layer, (3,)), backend)
    _, cache = layer.forward(params, X, context)
    new = layer.new_state(context.state, cache)
    assert set(new) == {2, 3}
    for l, l_cache in ((2, cache.body[2]), (3, cache.shortcut[3])):
        expected = BatchNorm().new_state(context.state[l], l_cache)
        for name in ("mean", "variance"):
            assert_close(new[l][name], host(expected[name]))


@dataclass(frozen=True)
class Greedy(Layer):
    """The identity, whose backward makes use of its right to overwrite dA."""

    trainable: bool = True

    def forward(self, params, A, context):
        return A, None

    def backward(self, dA, cache, into, input_gradient=True):
        d = dA * 1.0
        dA *= 0.0
        return d, {}


@pytest.mark.parametrize("layers", [([Greedy()], []), ([Greedy()], [Greedy()]), ([ReLU()], [Greedy()])])
def test_a_chain_may_overwrite_the_dA_that_it_is_given(backend, layers):
    X, dA = np.abs(normal(2, 3)) + 1, normal(2, 3, seed=1)
    _, dX, _ = run_layer(Residual(*layers), {1: {}, 2: {}}, X, backend, dA=dA)
    assert_close(dX, 2 * dA)


@pytest.mark.parametrize("shortcut", [[], [Dense(3)]])
def test_without_input_gradient(backend, shortcut):
    layer = Residual([Dense(4), ReLU(), Dense(3)], shortcut)
    X, dA, params = normal(2, 3), normal(2, 3, seed=1), parameters(layer, (3,))
    _, _, expected = run_layer(layer, params, X, backend, dA=dA)
    _, cache = layer.forward(put_tree(params, backend), backend.put(X), context_for(layer, (3,), backend))
    dX, grads = layer.backward(backend.put(dA.copy()), cache, {}, False)
    assert dX is None
    assert set(grads) == set(params)
    for l in params:
        for name in params[l]:
            assert_close(grads[l][name], expected[f"{name}[{l}]"])


def test_forward_leaves_its_input_alone(backend):
    X = normal(2, 3)
    before = X.copy()
    layer = Residual([ReLU(), Dense(3)], [Tanh()])
    run_layer(layer, parameters(layer, (3,)), X, backend, dA=normal(2, 3, seed=1))
    np.testing.assert_array_equal(X, before)


def test_cache_is_the_tapes_of_both_chains():
    layer = Residual([Dense(3), ReLU()], [Dense(3)])
    context = context_for(layer, (3,), arrays.device("cpu"))
    _, cache = layer.forward(parameters(layer, (3,)), normal(2, 3), context)
    assert isinstance(cache, ResidualCache)
    assert (list(cache.body), list(cache.shortcut)) == ([1, 2], [3])


def test_numbering_continues_in_the_shortcut():
    layer = Residual([Dense(5), ReLU(), Dense(4)], shortcut=[Dense(4, bias=False)])
    output, shapes = layer.shapes((3,))
    assert output == (4,)
    assert shapes == {1: {"W": (3, 5), "b": (5,)}, 2: {}, 3: {"W": (5, 4), "b": (4,)}, 4: {"W": (3, 4)}}
    assert list(layer.inner) == [1, 2, 3, 4]
    assert layer.inner[4] == Dense(4, bias=False)
    net = Network([Dense(3), layer], input_shape=3)
    params = net.initialize()
    assert list(params) == [
        *("W[1]", "W[2.1]", "W[2.3]", "W[2.4]"),
        *("b[1]", "b[2.1]", "b[2.3]"),
    ]


def test_what_is_asked_of_the_layers_inside_gets_their_own_input_shape():
    conv = Conv2D(4, 3, padding="same", initializer=zeros())
    layer = Residual([conv, conv], shortcut=[Conv2D(4, 1)])
    input, between = (5, 5, 2), (5, 5, 4)
    assert layer.multiply_adds(input) == sum(
        each.multiply_adds(shape) for each, shape in ((conv, input), (conv, between), (Conv2D(4, 1), input))
    )
    assert layer.fans(input) == {1: conv.fans(input), 2: conv.fans(between), 3: Conv2D(4, 1).fans(input)}
    assert layer.initializers() == {1: conv.initializers(), 2: conv.initializers(), 3: Conv2D(4, 1).initializers()}
    assert set(layer.constants(input)) == {1, 2, 3}
    assert set(layer.constants(input)[1]) == set(conv.constants(input))


def test_inner_activations(backend):
    layer = Residual([Dense(3), Residual([Tanh()])], shortcut=[Dense(3)])
    X, params = normal(2, 3), parameters(layer, (3,))
    own = put_tree(params, backend)
    found = dict(layer.inner_activations(own, backend.put(X), context_for(layer, (3,), backend)))
    assert list(found) == [(1,), (2, 1), (2,), (3,)]
    first = np.array(dense(X.tolist(), params[1]))
    for path, expected in (
        ((1,), first),
        ((2, 1), np.tanh(first)),
        ((2,), first + np.tanh(first)),
        ((3,), dense(X.tolist(), params[3])),
    ):
        assert_close(found[path], expected)


def test_shapes_that_differ():
    with pytest.raises(ShapeError, match=r"Residual: .* must give one shape · F \(A\[l-1\]\) = \(4,\) · S .* = \(3,\)"):
        Residual([Dense(4)]).shapes((3,))
    with pytest.raises(ShapeError, match=r"= \(4,\) .* = \(5,\)"):
        Residual([Dense(4)], [Dense(5)]).shapes((3,))


@pytest.mark.parametrize(
    ("layer", "path"),
    [
        (Residual([ReLU(), Conv2D(1, 3)]), (1, 2)),
        (Residual([Dense(4)], [Conv2D(1, 3)]), (1, 2)),
        (Residual([ReLU(), Residual([Dense(4)])]), (1, 2)),
        (Residual([ReLU(), Residual([ReLU(), Conv2D(1, 3)])]), (1, 2, 2)),
    ],
)
def test_errors_have_the_path_of_the_layer(layer, path):
    with pytest.raises(ShapeError) as caught:
        layer.shapes((3,))
    assert caught.value.layer_path == path[1:]
    with pytest.raises(ShapeError) as caught:
        Network([layer], input_shape=3)
    assert any(f"layer l = {'.'.join(map(str, path))}," in note for note in caught.value.__notes__)


def test_configuration():
    assert hash(Residual([Dense(3)])) == hash(Residual((Dense(3),)))
    assert Residual([Dense(3)]) == Residual((Dense(3),))
    mine = [Dense(3)]
    layer = Residual(mine)
    mine.append(ReLU())
    assert layer.layers == (Dense(3),)
    with pytest.raises(UsageError, match="Residual: no layers; expected at least one"):
        Residual([])
    with pytest.raises(UsageError, match=r"Residual: shortcut: expected a list of layers, got Dense\(width=3"):
        Residual([Dense(3)], Dense(3))
    with pytest.raises(
        UsageError, match=r"Residual: inner layer 2: expected a layer, got 'relu', which has no .*inherit md.Layer"
    ):
        Residual([Dense(3), "relu"])
    with pytest.raises(UsageError, match=r"Residual: inner layer 2: .* the class ReLU: write ReLU\(\)"):
        Residual([Dense(3)], [ReLU])
