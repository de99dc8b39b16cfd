"""Diagnosis: the address of the first non-finite number, and a trainer that is as it was before."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

import mathdl as md
from mathdl.data import Minibatches
from mathdl.errors import MathdlError, NonFiniteError
from trainings import Reciprocal, cut_into, result, vectors

X, Y = vectors(40)
ROW = 23
BAD = X.copy()
BAD[ROW, 2] = 0.0


def network(*first):
    return md.Network([*first, md.Dense(8), md.BatchNorm(), md.Tanh(), md.Dense(3), md.Softmax()])


def trainer_of(net, **options):
    return md.Trainer(net, **{"batch_size": 16, "device": "cpu", "optimizer": md.Adam(0.01), **options})


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_address(monkeypatch, backend, seed, shards):
    cut_into(monkeypatch, shards)
    place = next(
        (m, rows.tolist().index(ROW)) for m, rows in enumerate(Minibatches(40, 16, seed).rows(0)) if ROW in rows
    )
    trainer = trainer_of(network(md.Reshape((3, 2)), Reciprocal(), md.Flatten()), seed=seed, device=backend.name)
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(BAD, Y)
    m, i = place
    assert str(caught.value) == (
        f"J is NaN from epoch 1, minibatch {{{m}}}: first non-finite A[2]{{{m}}}({i}) = +∞, dataset row {ROW}. "
        "θ is as it was before this minibatch. Try a smaller learning rate, or clip_norm= in the optimizer"
    )
    assert isinstance(caught.value, ArithmeticError)
    assert (trainer.m, trainer.step, trainer.epoch) == (m, m, 0)


def test_inner_layers_come_first():
    trainer = trainer_of(network(md.Residual([md.Tanh(), Reciprocal()])), shuffle=False)
    with pytest.raises(NonFiniteError, match=r"first non-finite A\[1\.2\]\{1\}\(7\) = \+∞, dataset row 23"):
        trainer.fit(BAD, Y)


@pytest.mark.parametrize("value", [inf, -inf])
def test_the_sign(value):
    class Blow(md.Layer):
        def forward(self, params, A, context):
            return A * 1e38 * 1e38 * (1.0 if value > 0 else -1.0), None

        def backward(self, dA, cache, into, input_gradient=True):
            return dA, {}

    word = "+∞" if value > 0 else "−∞"
    with pytest.raises(NonFiniteError, match=rf"first non-finite A\[1\]\{{0\}}\(0\) = {word}".replace("+", r"\+")):
        trainer_of(network(Blow())).fit(np.abs(X) + 1.0, Y)


def test_everything_is_as_it_was_before(backend):
    """Rows in their own order: {0} is good, {1} holds the bad row. So the trainer is where {0} alone would take it."""
    options = {"shuffle": False, "device": backend.name, "optimizer": md.SGD(0.1, momentum=0.9)}
    trainer = trainer_of(network(Reciprocal()), **options)
    with pytest.raises(NonFiniteError, match=r"minibatch \{1\}"):
        trainer.fit(BAD, Y)
    alone = trainer_of(network(Reciprocal()), **options)
    alone.fit(X[:16], Y[:16])
    for name in ("theta", "state", "V"):
        assert result(trainer)[name] == result(alone)[name]
    trainer.fit(X, Y)  # the same rows, repaired: the epoch goes on from {1}
    whole = trainer_of(network(Reciprocal()), **options)
    whole.fit(X, Y)
    assert result(trainer) == result(whole)


def test_the_forward_pass_is_done_again_as_in_training(backend):
    """The batch's statistics: the row that is their mean becomes 0, its reciprocal +∞."""
    A = np.array([[4.0], [6.0], [5.0], [3.0], [7.0]])
    net = md.Network([md.BatchNorm(), Reciprocal(), md.Dense(2), md.Softmax()])
    trainer = trainer_of(net, dtype="float64", shuffle=False, device=backend.name)
    with pytest.raises(NonFiniteError, match=r"first non-finite A\[2\]\{0\}\(2\) = \+∞, dataset row 2"):
        trainer.fit(A, [0, 1, 0, 1, 0])


def test_with_the_same_masks(backend):
    """What dropout drops is 0, and its reciprocal +∞: the first such entry, found through the public functions."""
    dropout = md.Dropout(0.02)
    net = md.Network([dropout, Reciprocal(), md.Dense(3), md.Softmax()])
    trainer = trainer_of(net, seed=5, batch_size=10, device=backend.name)
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(np.abs(X) + 1.0, Y)
    for m, rows in enumerate(Minibatches(40, 10, seed=5).rows(0)):
        alone = md.Network([dropout])
        A, _ = alone.forward(alone.initialize((6,)), np.abs(X[rows]) + 1.0, training=True, seed=5, epoch=0, m=m)
        if (A == 0).any():
            i = int(np.argwhere(A == 0)[0][0])
            break
    caught.match(rf"first non-finite A\[2\]\{{{m}\}}\({i}\) = \+∞, dataset row {rows[i]}\.")


def test_theta_that_is_not_finite():
    trainer = trainer_of(network())
    trainer.fit(X, Y)
    trainer.params["W[4]"][1, 2] = nan
    trainer.params["b[1]"][0] = inf
    with pytest.raises(NonFiniteError, match=r"J is NaN from epoch 2, minibatch \{0\}: W\[4\] holds NaN at \[1, 2\]"):
        trainer.fit(X, Y)


def test_a_loss_of_infinity():
    """P = 0 where Y > 0 is +∞, never a clipped number: rates that are all 0."""

    class Zero(md.Layer):
        def forward(self, params, A, context):
            return A * 0.0, None

        def backward(self, dA, cache, into, input_gradient=True):
            return dA * 0.0, {}

    trainer = trainer_of(md.Network([md.Dense(1), Zero()]), loss="poisson", shuffle=False)
    y = np.zeros(40)
    y[20] = 3.0
    with pytest.raises(NonFiniteError) as caught:
        trainer.fit(X, y)
    caught.match(
        r"J is \+∞ from epoch 1, minibatch \{1\}: every A is finite, and the loss of \(4\) is \+∞, dataset row 20"
    )


def test_a_mean_that_overflows():
    """Ten losses of the largest float32: a tenth of each, rounded up, adds to more than it."""
    net = md.Network([md.Dense(1, initializer=md.initializers.zeros())])
    trainer = trainer_of(net, loss="mean_absolute_error")
    with pytest.raises(NonFiniteError, match="every A and every loss is finite, and their weighted mean is not"):
        trainer.fit(X[:10], np.full(10, np.finfo("float32").max))


def test_diverging_weights_are_an_error_and_no_warning():
    net = md.Network([md.Dense(8), md.ReLU(), md.Dense(1)])
    trainer = trainer_of(net, loss="mean_squared_error", optimizer=md.SGD(1e6))
    with pytest.raises(MathdlError, match=r"J is .* from epoch \d+, minibatch \{\d+\}: .*Try a smaller learning rate"):
        trainer.fit(X, X[:, 0], 50)
