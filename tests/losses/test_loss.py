"""What losses have in common: names, weights and totals, shapes; the table."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl.errors import DataError, ShapeError, UnknownNameError, UsageError
from mathdl.losses import LOSSES, BinaryCrossEntropy, CategoricalCrossEntropy, Huber, Loss, MeanSquaredError, loss
from mathdl.losses.loss import LossCache
from support import normal


@pytest.mark.parametrize("name", LOSSES)
def test_every_name_gives_its_loss(name):
    found = loss(name)
    assert type(found) is LOSSES[name]
    assert isinstance(found, Loss)
    assert found == LOSSES[name]()
    assert hash(found) == hash(LOSSES[name]())
    assert found.kind in ("categorical", "binary", "regression")
    assert found.propositions


def test_a_loss_is_returned_as_it_is():
    mine = Huber(delta=2.0)
    assert loss(mine) is mine
    assert repr(mine) == "Huber(delta=2.0)"


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"unknown loss 'mean_square_error'. Did you mean 'mean_squared_error'\?"
    ):
        loss("mean_square_error")


@pytest.mark.parametrize("spec", [MeanSquaredError, 3, None])
def test_neither_a_name_nor_a_loss(spec):
    with pytest.raises(UsageError, match=r"a loss must be a name or an object such as MeanSquaredError\(\)"):
        loss(spec)


def test_pairings():
    pairs = {name: found.pairs_with for name, found in LOSSES.items() if found.pairs_with}
    assert pairs == {
        "categorical_cross_entropy": ("Softmax", "LogSoftmax"),
        "binary_cross_entropy": ("Sigmoid",),
    }
    assert all(LOSSES[name](logits=True).logits and not LOSSES[name]().logits for name in pairs)


def test_the_cache_is_a_named_tuple_of_the_shares_and_the_terms():
    P, Y = normal(3, 2), normal(3, 2, seed=1)
    _, cache = MeanSquaredError().forward(P, Y, np.asarray([1.0, 2.0, 1.0]))
    assert isinstance(cache, LossCache)
    np.testing.assert_array_equal(cache.dlosses, [[0.25], [0.5], [0.25]])
    np.testing.assert_array_equal(cache.terms.D, P - Y)


@pytest.mark.parametrize(
    ("weights", "total"), [(np.zeros(3), None), (np.asarray([1.0, -2.0, 1.0]), None), (None, 0), (np.ones(3), 0.0)]
)
def test_no_weight_at_all(backend, weights, total):
    P = backend.put(normal(3, 2))
    with pytest.raises(DataError, match="weights of the minibatch sum to 0"):
        MeanSquaredError().forward(P, P, None if weights is None else backend.put(weights), total)


def test_no_instances():
    with pytest.raises(DataError, match="sum to 0"):
        MeanSquaredError().forward(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize("shape", [(2,), (3, 1), (1,), ()])
def test_weights_are_one_for_each_instance(backend, shape):
    P = backend.put(normal(3, 2))
    with pytest.raises(ShapeError, match=r"one for each instance · weights \(B,\) = .* · P \(B, l\) = \(3, 2\)"):
        MeanSquaredError().forward(P, P, backend.put(np.ones(shape)), 3.0)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "categorical_cross_entropy"])
@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 2), (2, 3), (3, 2, 1), ()])
def test_nothing_broadcasts(backend, name, shape):
    with pytest.raises(ShapeError, match="same shape; nothing broadcasts"):
        loss(name).forward(backend.put(np.full((3, 2), 0.5)), backend.put(np.ones(shape)))


def test_more_axes_than_two_are_refused(backend):
    A = backend.put(np.full((2, 3, 4), 0.5))
    with pytest.raises(ShapeError, match=r"MeanSquaredError: .*P \(B, l\) = \(2, 3, 4\)"):
        MeanSquaredError().forward(A, A)


@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_integer_targets_and_weights_take_the_dtype_of_p(backend, dtype):
    P = backend.put(normal(3, 2, dtype="float32"))
    Y, weights = backend.put(np.ones((3, 2), dtype)), backend.put(np.ones(3, dtype))
    J, cache = MeanSquaredError().forward(P, Y, weights)
    assert J.dtype == P.dtype
    assert MeanSquaredError().backward(cache).dtype == P.dtype


@pytest.mark.parametrize(
    "own",
    [*(found() for found in LOSSES.values()), CategoricalCrossEntropy(logits=True), BinaryCrossEntropy(logits=True)],
    ids=repr,
)
def test_backward_gives_a_fresh_array_each_time(own):
    P = np.full((2, 3), 0.25)
    for Y in (np.eye(2, 3), np.asarray([0, 2]))[: 2 if own.kind == "categorical" else 1]:
        _, cache = own.forward(P, Y)
        first = own.backward(cache)
        expected = first.copy()
        first[...] = np.nan
        np.testing.assert_array_equal(own.backward(cache), expected)
