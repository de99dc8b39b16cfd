"""`trainer.A[l, m, i]`: every layer, inner paths, instances and slices, the errors."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.errors import UsageError
from support import assert_close
from trainings import cnn, images, mlp, plain, vectors


@pytest.fixture(scope="module")
def trainer():
    made = md.Trainer(cnn(), batch_size=8, device="cpu", dtype="float64")
    made.fit(*images(), 2)
    return made


def test_every_layer_is_what_the_one_before_makes_of_it(trainer):
    net, params = trainer.network, trainer.params
    contexts = net.contexts(params)
    for m in range(len(trainer.minibatches)):
        A = trainer.minibatches[m][1]
        np.testing.assert_array_equal(trainer.A[0, m], A)
        for l in range(1, net.L + 1):
            A, _ = net.chain[l].forward(params.tree[l], A, contexts[l])
            assert A.shape[1:] == net.shapes((6, 6, 2))[l]
            np.testing.assert_array_equal(trainer.A[l, m], A)
        assert_close(trainer.predict(trainer.minibatches[m][1]), A)


def test_inner_layers(trainer):
    body, shortcut = trainer.A["3.4", 1], trainer.A[(3, 5), 1]
    assert_close(body + shortcut, trainer.A[3, 1])
    np.testing.assert_array_equal(trainer.A["3.3", 1], np.maximum(trainer.A["3.2", 1], 0.0))
    np.testing.assert_array_equal(trainer.A["3.3", 1], body)
    np.testing.assert_array_equal(trainer.A[-1, 0], trainer.A[7, 0])


def test_instances(trainer):
    whole = trainer.A[4, 1]
    assert whole.shape == (8, 3, 3, 4)
    np.testing.assert_array_equal(trainer.A[4, 1, 5], whole[5])
    np.testing.assert_array_equal(trainer.A[4, 1, -1], whole[-1])
    np.testing.assert_array_equal(trainer.A[4, 1, 2:6], whole[2:6])
    assert trainer.A[4, -1].shape[0] == 6, "the last minibatch is short"


def test_the_present_parameters_of_the_latest_epoch():
    X, Y = vectors()
    trainer = md.Trainer(mlp(), batch_size=16, device="cpu")
    trainer.fit(X, Y)
    first, rows = trainer.A[2, 0].copy(), trainer.minibatches[0][0]
    trainer.params["W[1]"][...] = 0.0
    assert not np.array_equal(trainer.A[2, 0], first)
    trainer.fit(X, Y)
    assert not np.array_equal(trainer.minibatches[0][0], rows)
    assert_close(trainer.A[-1, 0], trainer.predict(trainer.minibatches[0][1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (1, r"write A\[l, m\] or A\[l, m, i\]; got A\[1\]"),
        ((1,), r"write A\[l, m\]"),
        ((1, 2, 3, 4), r"write A\[l, m\]"),
        ((8, 0), r"no layer 8 in this network: l = 1 … 7, or a path such as '3\.1'"),
        (("3.6", 0), r"no layer '3\.6'"),
        ((1, 3), r"no minibatch \{3\}: m = 0 … 2"),
        ((1, -4), r"no minibatch \{-4\}"),
        ((1, 1.0), r"no minibatch \{1\.0\}"),
        ((1, slice(0, 2)), r"no minibatch"),
    ],
)
def test_addresses_that_do_not_exist(trainer, address, message):
    with pytest.raises(UsageError, match=message):
        trainer.A[address]


def test_an_instance_that_does_not_exist(trainer):
    with pytest.raises(IndexError):
        trainer.A[1, 0, 8]


def test_nothing_is_kept_between_two_looks():
    X, Y = vectors()
    trainer = md.Trainer(plain(), batch_size=16, device="cpu")
    trainer.fit(X, Y)
    trainer.A[1, 0][...] = 7.0
    assert not (trainer.A[1, 0] == 7.0).any()
    trainer.A[0, 0][...] = 7.0
    assert not (trainer.A[0, 0] == 7.0).any()
    assert not (X == 7.0).any()
