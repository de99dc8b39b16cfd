"""Objective: the fused forms equal the unfused ones, what is refused, outputs, metrics, the first layer that learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import mathdl as md
from mathdl import losses
from mathdl.errors import UsageError
from mathdl.objective import Objective, weighted_mean
from mathdl.theory import definitions
from support import as_inside_a_step, assert_close, host, normal
from trainings import Unasked

B, WIDTH = 6, 4
LABELS = np.array([0, 3, 1, 2, 2, 0])
SIMPLEX = np.abs(normal(B, WIDTH, seed=5)) / np.sum(np.abs(normal(B, WIDTH, seed=5)), axis=1, keepdims=True)
BITS = (normal(B, WIDTH, seed=6) > 0).astype(np.float64)
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0, 1.0])

PAIRS = {
    "softmax, labels": (md.Softmax(), md.CategoricalCrossEntropy(), LABELS),
    "softmax, rows": (md.Softmax(), md.CategoricalCrossEntropy(), SIMPLEX),
    "softmax, smoothed": (md.Softmax(), md.CategoricalCrossEntropy(label_smoothing=0.2), LABELS),
    "sigmoid": (md.Sigmoid(), md.BinaryCrossEntropy(), BITS),
    "sigmoid, smoothed": (md.Sigmoid(), md.BinaryCrossEntropy(label_smoothing=0.2), BITS),
}


def network(last=None):
    layers = [md.Dense(5), md.Tanh(), md.Dense(WIDTH)]
    return md.Network(layers if last is None else [*layers, last])


def evaluate(objective, backend, Y, **options):
    """(J, A, gradients) of an objective in float64, from and to NumPy."""
    net = objective.network
    params = net.initialize((3,), seed=1, device=backend.name, dtype="float64")
    _, grads = net.backward(*_zeros(net, params), input_gradient=False)
    X, targets = backend.put(normal(B, 3)), backend.put(Y)
    weights, total = backend.put(WEIGHTS), backend.put(np.array([WEIGHTS.sum()]))
    with as_inside_a_step(backend):
        contexts = net.contexts(params, training=True, instances=B)
        J, A, _ = objective.gradient(params, contexts, X, targets, weights, total, grads.tree, **options)
    return float(host(J)), A, host(grads.vector)


def _zeros(net, params):
    A, tape = net.forward(params, np.zeros((1, 3)))
    return np.zeros(A.shape), tape


@pytest.mark.parametrize("name", PAIRS)
def test_the_fused_form_equals_the_unfused(backend, name):
    last, loss, Y = PAIRS[name]
    objective = Objective(network(last), loss)
    assert objective.depth == 3
    J, A, grads = evaluate(objective, backend, Y)

    net = objective.network
    params = net.initialize((3,), seed=1, device=backend.name, dtype="float64")
    P, tape = net.forward(params, normal(B, 3), training=True)
    unfused, cache = loss.forward(P, backend.put(Y), backend.put(WEIGHTS))
    _, expected = net.backward(loss.backward(cache), tape, input_gradient=False)
    assert_close(J, float(host(unfused)))
    assert_close(grads, host(expected.vector))
    assert_close(objective.outputs(A), host(P))
    assert_close(objective.instance_losses(A, backend.put(Y)), host(loss.instance_losses(P, backend.put(Y))))


def test_log_softmax_is_fused_too(backend):
    J, A, grads = evaluate(Objective(network(md.LogSoftmax()), md.CategoricalCrossEntropy()), backend, LABELS)
    also_J, also_A, also_grads = evaluate(
        Objective(network(md.Softmax()), md.CategoricalCrossEntropy()), backend, LABELS
    )
    assert (J, grads.tobytes()) == (also_J, also_grads.tobytes())
    objective = Objective(network(md.LogSoftmax()), md.CategoricalCrossEntropy())
    assert_close(
        np.exp(host(objective.outputs(A))),
        host(Objective(network(md.Softmax()), md.CategoricalCrossEntropy()).outputs(also_A)),
    )


def test_the_definition(backend):
    objective = Objective(network(md.Softmax()), md.CategoricalCrossEntropy())
    J, A, _ = evaluate(objective, backend, LABELS)
    P = [definitions.softmax(row) for row in host(A).tolist()]
    one_hot = np.eye(WIDTH)[LABELS].tolist()
    assert_close(J, definitions.categorical_cross_entropy(P, one_hot, WEIGHTS.tolist()))


@pytest.mark.parametrize(
    ("loss", "Y", "probabilities"),
    [
        (md.CategoricalCrossEntropy(logits=True), LABELS, lambda Z: [definitions.softmax(row) for row in Z]),
        (md.BinaryCrossEntropy(logits=True), BITS, lambda Z: [[definitions.sigmoid(z) for z in row] for row in Z]),
    ],
)
def test_logits_put_out_probabilities(backend, loss, Y, probabilities):
    objective = Objective(network(), loss)
    assert objective.depth == 3
    _, Z, _ = evaluate(objective, backend, Y)
    assert_close(objective.outputs(Z), probabilities(host(Z).tolist()))


def test_what_is_not_fused_is_run_as_it_is(backend):
    objective = Objective(network(md.Softmax()), md.MeanSquaredError())
    assert objective.depth == 4
    _, A, _ = evaluate(objective, backend, SIMPLEX)
    assert objective.outputs(A) is A
    assert_close(np.sum(host(A), axis=1), np.ones(B))


@pytest.mark.parametrize(
    ("last", "loss", "message"),
    [
        (
            None,
            "categorical_cross_entropy",
            r"ends in Dense\(width=4.*end it in Softmax or LogSoftmax, or pass logits=True",
        ),
        (md.Sigmoid(), "categorical_cross_entropy", "end it in Softmax or LogSoftmax"),
        (md.Softmax(), "binary_cross_entropy", "end it in Sigmoid, or pass logits=True"),
        (md.Softmax(), md.CategoricalCrossEntropy(logits=True), r"takes logits, but the network ends in Softmax\(\)"),
        (md.LogSoftmax(), md.CategoricalCrossEntropy(logits=True), "leave out one of the two"),
        (md.Sigmoid(), md.BinaryCrossEntropy(logits=True), "leave out one of the two"),
    ],
)
def test_pairs_that_make_no_sense(last, loss, message):
    with pytest.raises(UsageError, match=message):
        Objective(network(last), losses.loss(loss))


def test_a_namesake_is_not_fused():
    @dataclass(frozen=True)
    class Softmax(md.Layer):
        def forward(self, params, A, context):
            return A, None

        def backward(self, dA, cache, into, input_gradient=True):
            return dA, {}

    with pytest.raises(UsageError, match="or pass logits=True"):
        Objective(network(Softmax()), md.CategoricalCrossEntropy())


@pytest.mark.parametrize(
    ("last", "loss", "Y", "expected"),
    [
        (md.Softmax(), md.CategoricalCrossEntropy(), LABELS, lambda A: {"accuracy": A.argmax(1) == LABELS}),
        (md.Sigmoid(), md.BinaryCrossEntropy(), BITS, lambda A: {"accuracy": ((A > 0) == BITS).mean(1)}),
        (None, md.BinaryCrossEntropy(logits=True), BITS, lambda A: {"accuracy": ((A > 0) == BITS).mean(1)}),
        (
            None,
            md.Huber(),
            SIMPLEX,
            lambda A: {"mae": np.abs(A - SIMPLEX).mean(1), "mse": ((A - SIMPLEX) ** 2).mean(1)},
        ),
    ],
)
def test_metrics(backend, last, loss, Y, expected):
    objective = Objective(network(last), loss)
    _, A, _ = evaluate(objective, backend, Y)
    found = {name: host(metric(A, backend.put(Y))) for name, metric in objective.metrics().items()}
    assert list(found) == list(expected(host(A)))
    for name, value in expected(host(A)).items():
        assert_close(found[name], value.astype(np.float64))


def test_metrics_in_the_units_of_the_targets(backend):
    objective, scale = Objective(network(), md.MeanSquaredError()), np.array([[1.0, 10.0, 2.0, 0.5]])
    A, Y = normal(B, WIDTH), normal(B, WIDTH, seed=8)
    found = {name: host(m(backend.put(A), backend.put(Y))) for name, m in objective.metrics(backend.put(scale)).items()}
    assert_close(found["mae"], np.abs((A - Y) * scale).mean(1))
    assert_close(found["mse"], (((A - Y) * scale) ** 2).mean(1))


def test_the_first_layer_that_learns():
    net = md.Network(
        [md.ReLU(), md.Dense(4), md.BatchNorm(), md.Residual([md.Dense(4), md.Dense(4)]), md.Dense(2), md.Softmax()]
    )
    params, objective = net.initialize((3,)), Objective(net, md.CategoricalCrossEntropy())
    found = [objective.first_learnt(params)]
    for l in (2, "4.1", 3, "4.2"):
        net.freeze(l)
        found.append(objective.first_learnt(params))
    assert found == [2, 3, 3, 4, 5]
    net.freeze(5)
    with pytest.raises(UsageError, match="nothing to learn"):
        objective.first_learnt(params)


def test_nothing_below_the_first_layer_that_learns_is_asked_for(backend):
    net = md.Network([Unasked(), md.Dense(5), md.Tanh(), md.Dense(WIDTH), md.Softmax()])
    objective = Objective(net, md.CategoricalCrossEntropy())
    assert evaluate(objective, backend, LABELS, first=2)[2].any()


def test_weighted_mean(backend):
    values, w = backend.put(normal(5)), backend.put(WEIGHTS[:5])
    assert_close(weighted_mean(values, w, 4.0), np.sum(normal(5) * WEIGHTS[:5]) / 4)
    assert_close(weighted_mean(values, None, backend.put(np.array(5.0))), np.mean(normal(5)))


def test_output_shape():
    assert Objective(network(md.Softmax()), md.CategoricalCrossEntropy()).output_shape((3,)) == (WIDTH,)
