"""Trainer: data and targets of every kind, and all that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mathdl as md
from mathdl.data import Standardize
from mathdl.errors import DataError, MathdlError, ShapeError, UnknownNameError, UsageError
from support import assert_close, host, lies_on, normal
from trainings import ADAM, CLASSES, mlp, numbers, plain, result, train, vectors

X, Y = vectors()
WEIGHTS = np.random.default_rng(3).integers(0, 4, len(X)) + 0.5


# ---- targets ---------------------------------------------------------------------------------------------------------


def test_regression_comes_out_as_it_came_in():
    A, y = numbers()
    net = md.Network([md.Dense(1)])
    assert train(net, (A, y), loss="huber").predict(A).shape == (40,)
    assert train(net, (A, y[:, None]), loss="huber").predict(A).shape == (40, 1)
    two = train(md.Network([md.Dense(2)]), (A, np.stack([y, -y], axis=1)), loss="huber")
    assert two.predict(A).shape == (40, 2)
    assert two.minibatches[0][2].shape == (16, 2)


def test_yes_or_no_comes_out_as_it_came_in():
    net = md.Network([md.Dense(1), md.Sigmoid()])
    trainer = train(net, (X, Y == 1), loss="binary_cross_entropy")
    P = trainer.predict(X)
    assert P.shape == (50,)
    assert ((P > 0) & (P < 1)).all()
    assert trainer.evaluate(X, Y == 1)["accuracy"] == np.mean((P > 0.5) == (Y == 1))
    assert trainer.minibatches[0][2].dtype == bool


def test_standardized_targets():
    A, y = numbers()
    learnt = Standardize.learn(y[:, None])
    net = md.Network([md.Dense(4), md.Tanh(), md.Dense(1)])
    options = {"loss": "mean_squared_error", "epochs": 3}
    auto = train(net, (A, y), standardize_targets=True, fit={"validation_data": (A, y)}, **options)
    manual = train(net, (A, learnt.apply(y[:, None])[:, 0]), **options)
    assert host(auto.params.vector).tobytes() == host(manual.params.vector).tobytes()
    assert auto.history["loss"] == manual.history["loss"]
    assert_close(auto.predict(A), learnt.invert(manual.predict(A)[:, None])[:, 0], rtol=1e-5)
    assert auto.history["mae"] == pytest.approx([learnt.deviation[0] * mae for mae in manual.history["mae"]], rel=1e-4)
    assert auto.history["rmse"] == pytest.approx([learnt.deviation[0] * e for e in manual.history["rmse"]], rel=1e-4)
    assert auto.history["r2"] == pytest.approx(manual.history["r2"], rel=1e-4)
    expected = {"mae": md.metrics.mean_absolute_error(y, auto.predict(A)), "r2": md.metrics.r2(y, auto.predict(A))}
    found = auto.evaluate(A, y)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert auto.history[-1]["val_r2"] == found["r2"]


def test_standardized_inputs():
    A = 50.0 + 9.0 * X
    learnt = Standardize.learn(A)
    auto, manual = train(data=(A, Y), standardize=True), train(data=(learnt.apply(A), Y))
    assert result(auto) == result(manual)
    np.testing.assert_array_equal(auto.predict(A), manual.predict(learnt.apply(A)))
    np.testing.assert_array_equal(auto.A[0, 1], manual.A[0, 1])
    np.testing.assert_array_equal(auto.minibatches[1][1], A[auto.minibatches[1][0]])
    before = auto.model.inputs
    auto.fit(A + 1.0, Y)
    assert auto.model.inputs == before, "learnt at the first fit, and kept"


def test_logits_losses():
    net = md.Network([md.Dense(8), md.Tanh(), md.Dense(CLASSES)])
    trainer = train(net, loss=md.CategoricalCrossEntropy(logits=True))
    paired = train(plain())
    np.testing.assert_array_equal(trainer.params.vector, paired.params.vector)
    np.testing.assert_array_equal(trainer.predict(X), paired.predict(X))
    with pytest.raises(UsageError, match="end it in Softmax or LogSoftmax, or pass logits=True"):
        md.Trainer(net)


@pytest.mark.parametrize("loss", ["mean_absolute_error", "huber", "poisson"])
def test_other_losses_learn(loss):
    A = normal(60, 4, dtype="float32")
    y = np.exp(A @ np.array([0.5, -0.3, 0.2, 0.1]))
    net = md.Network([md.Dense(8), md.Tanh(), md.Dense(1), md.Softplus()])
    losses = train(net, (A, y), loss=loss, epochs=40, optimizer=md.Adam(0.02)).history["loss"]
    assert losses[-1] < losses[0] - 0.1


# ---- data of every kind ----------------------------------------------------------------------------------------------


def test_lists_and_integers():
    whole = np.round(4 * X).astype("int16")
    assert result(train(data=(whole.tolist(), Y.tolist()))) == result(train(data=(whole.astype("float32"), Y)))
    assert result(train(data=(whole, Y.astype(float)))) == result(train(data=(whole.astype("float32"), Y)))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("kind", ["float32", "float64", "uint8"])
def test_memory_maps_give_the_same_bits(backend, tmp_path, kind, standardize):
    A = (40 * np.abs(X)).astype(kind)
    np.save(tmp_path / "X.npy", A)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    fit = {"sample_weight": WEIGHTS}
    one, two = (
        train(
            mlp(), (B, Y), device=backend.name, standardize=standardize,
            fit=fit | {"validation_data": (B[:9], Y[:9])},
        )
        for B in (A, mapped)
    )  # fmt: skip
    assert result(one) == result(two)
    np.testing.assert_array_equal(one.predict(A), two.predict(mapped))
    assert one.evaluate(A, Y, WEIGHTS) == two.evaluate(mapped, Y, WEIGHTS)
    np.testing.assert_array_equal(one.A[1, 2], two.A[1, 2])
    assert type(two.predict(mapped)) is np.ndarray
    assert type(two.minibatches[0][1]) is np.ndarray


def test_regression_from_a_memory_map(tmp_path):
    A, y = numbers()
    np.save(tmp_path / "X.npy", A)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    options = {"loss": "mean_squared_error", "standardize_targets": True}
    one, two = (train(md.Network([md.Dense(1)]), (B, y), **options) for B in (A, mapped))
    assert result(one) == result(two)
    assert one.evaluate(A, y) == two.evaluate(mapped, y)


def test_data_on_a_device(backend):
    """Arrays of a backend are trained on anywhere, and answers lie where the question lay."""
    A, labels = backend.put(X), backend.put(Y)
    for device in ("cpu", backend.name):
        trainer = train(mlp(), (A, labels), device=device, fit={"sample_weight": backend.put(WEIGHTS)})
        assert trainer.params.device.name == device
        assert result(trainer) == result(train(mlp(), device=device, fit={"sample_weight": WEIGHTS}))
        assert lies_on(trainer.predict(A), backend)
        assert type(trainer.predict(X)) is np.ndarray
        assert lies_on(trainer.A[2, 1, 3:5], backend)
        rows, found, _ = trainer.minibatches[1]
        np.testing.assert_array_equal(host(found), X[rows])
        assert trainer.evaluate(A, labels) == trainer.evaluate(X, Y)


# ---- what is refused -------------------------------------------------------------------------------------------------


def with_(A, index, value):
    A = np.array(A, dtype=np.float64)
    A[index] = value
    return A


BAD = {
    "NaN": (with_(X, (7, 3), np.nan), Y, DataError, r"X\[7, 3\] is nan: row 7, column 3"),
    "infinity": (with_(X, (0, 1), -np.inf), Y, DataError, r"X\[0, 1\] is -inf"),
    "too large": (with_(X, (2, 1), 1e39), Y, DataError, "too large for float32"),
    "empty": (X[:0], Y[:0], DataError, r"X is empty: shape \(0, 6\)"),
    "one axis": (X[:, 0], Y, DataError, "axis of rows and one of features"),
    "text": (X.astype(str), Y, DataError, "X must hold numbers, found text"),
    "ragged": ([[1.0], [1.0, 2.0]], [0, 1], DataError, "row 0 has 1 entries and row 1 has 2"),
    "lengths": (X, Y[:-1], DataError, "X has 50 · Y has 49"),
    "label too large": (X, with_(Y, 4, 3), DataError, "row 4 of Y is 3.0, expected a label, a whole number in 0 … 2"),
    "label negative": (X, with_(Y, 5, -1), DataError, "row 5 of Y is -1"),
    "label not whole": (X, with_(Y, 5, 0.5), DataError, "row 5 of Y is 0.5"),
    "label NaN": (X, with_(Y, 5, np.nan), DataError, "row 5 of Y is nan, expected a finite number"),
    "labels as text": (X, Y.astype(str), DataError, "Y holds strings"),
    "one class": (X, np.ones(50, dtype=int), DataError, "all 50 instances have the label 1"),
    "simplex": (X, np.full((50, 3), 0.5), DataError, "row 0 of Y sums to 1.5"),
    "ragged Y": (X, [[1], [1, 2]], DataError, "the rows of Y have different lengths"),
    "columns of Y": (X, np.eye(4)[Y], ShapeError, r"labels of shape \(50,\) or rows of shape \(50, 3\)"),
    "a number as Y": (X, 1, ShapeError, r"expected Y of shape \(n,\) or \(n, l\), got \(\)"),
}


def test_numbers_that_are_too_large():
    A, y = numbers()
    net = md.Network([md.Dense(1)])
    with pytest.raises(DataError, match=r"Y: row 3 is 1e.39, too large for float32"):
        train(net, (A, with_(y, 3, 1e39)), loss="huber")
    with pytest.raises(DataError, match=r"sample_weight: row 0 is 1e.39, too large for float32"):
        train(net, (A, y), loss="huber", fit={"sample_weight": np.full(40, 1e39)})
    train(net, (A, with_(y, 3, 1e39)), loss="mean_absolute_error", dtype="float64")


@pytest.mark.parametrize("name", BAD)
def test_bad_data(name):
    A, labels, error, message = BAD[name]
    trainer = md.Trainer(plain(), device="cpu")
    for _ in range(2):
        with pytest.raises(error, match=message):
            trainer.fit(A, labels)
    trainer.fit(X[:, :2], Y)  # what was refused left no trace
    assert trainer.params.input_shape == (2,)


@pytest.mark.parametrize("name", ["NaN", "empty", "lengths", "label too large", "labels as text"])
def test_bad_validation_and_evaluation_data(name):
    A, labels, error, message = BAD[name]
    trainer = md.Trainer(plain(), device="cpu")
    with pytest.raises(error, match=message) as caught:
        trainer.fit(X, Y, validation_data=(A, labels))
    assert caught.value.__notes__ == ["in validation_data"]
    assert len(trainer.history) == 0
    trainer.prepare(X, Y)
    with pytest.raises(error, match=message):
        trainer.evaluate(A, labels)


def test_validation_may_hold_one_class():
    train(fit={"validation_data": (X[:3], [1, 1, 1])})


def test_shapes_that_do_not_fit():
    trainer = train()
    for act in (trainer.predict, lambda A: trainer.fit(A, Y[:4]), lambda A: trainer.evaluate(A, Y[:4])):
        with pytest.raises(ShapeError, match=r"X \(B, 6\) expected · got X \(4, 5\)"):
            act(normal(4, 5))
    with pytest.raises(ShapeError, match=r"in layer l = 1, Dense"):
        train(data=(normal(50, 3, 3), Y))
    with pytest.raises(ShapeError, match=r"made for input_shape=\(4,\), got \(6,\)"):
        train(md.Network([md.Dense(3), md.Softmax()], input_shape=4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "cross_entropy"}, "unknown loss 'cross_entropy'. Did you mean"),
        ({"optimizer": "adma"}, "unknown optimizer 'adma'. Did you mean 'adam'"),
        ({"dtype": "float16"}, "unknown dtype 'float16'. Did you mean 'float"),
        ({"batch_size": 0}, "batch_size must be an int ≥ 1"),
        ({"batch_size": True}, "batch_size must be an int ≥ 1"),
        ({"workers": 0}, "workers must be an int ≥ 1, got 0"),
        ({"standardize_targets": True}, "standardize_targets is for regression losses"),
        ({"loss": "binary_cross_entropy"}, "end it in Sigmoid"),
        ({"network": [md.Dense(3)]}, r"expected a Network, got \[Dense"),
    ],
)
def test_arguments_are_checked_at_once(options, message):
    with pytest.raises(MathdlError, match=message):
        md.Trainer(**{"network": plain(), **options})


def test_numpy_integers_are_as_good_as_ints():
    sizes = {"batch_size": 16, "seed": 3, "workers": 2}
    trainers = [md.Trainer(plain(), **{name: kind(size) for name, size in sizes.items()}) for kind in (int, np.int64)]
    for trainer, patience in zip(trainers, (2, np.int64(2)), strict=True):
        stopping = md.EarlyStopping(patience, monitor="loss")
        assert type(stopping.patience) is int
        trainer.fit(X, Y, epochs=np.int64(2), early_stopping=stopping)
        assert [type(getattr(trainer, name)) for name in sizes] == [int] * 3
    np.testing.assert_array_equal(trainers[0].params.vector, trainers[1].params.vector)
    np.testing.assert_array_equal(trainers[1].A[2, np.int64(1)], trainers[0].A[2, 1])


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"epochs": -1}, "epochs must be an int ≥ 0"),
        ({"epochs": 1.5}, "epochs must be an int ≥ 0"),
        ({"validation_data": (X, Y, WEIGHTS, 1)}, r"validation_data must be \(X, Y\) or \(X, Y, weights\)"),
        ({"sample_weight": WEIGHTS[:4]}, "one weight for each of 50 rows"),
        ({"sample_weight": 0 * WEIGHTS}, "the weights sum to 0"),
        ({"class_weight": "balancd"}, "Did you mean 'balanced'"),
        ({"class_weight": {7: 1.0}}, "no class 7; classes are 0 … 2"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, "the weights sum to 0"),
        ({"early_stopping": md.EarlyStopping()}, "pass validation_data"),
    ],
)
def test_arguments_of_fit(fit, message):
    with pytest.raises(MathdlError, match=message):
        md.Trainer(plain(), device="cpu").fit(X, Y, **fit)


def test_a_minibatch_without_weight():
    w = np.ones(50)
    w[16:32] = 0
    with pytest.raises(DataError, match=r"the weights of minibatch \{1\} sum to 0: leave rows of weight 0 out"):
        train(shuffle=False, fit={"sample_weight": w})


def test_unknown_device():
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'"):
        train(device="gpu")


def test_prepare_is_what_fit_begins_with():
    trainer = md.Trainer(mlp(), optimizer=ADAM, batch_size=16, device="cpu", standardize=True)
    trainer.prepare(X, Y, classes=["a", "b", "c"])
    assert trainer.model.classes == ("a", "b", "c")
    assert trainer.model.inputs == Standardize.learn(X)
    assert trainer.evaluate(X, Y)["loss"] > 0
    trainer.fit(X, Y, 2, class_weight={"b": 2.0})
    assert result(trainer) == result(train(mlp(), standardize=True, fit={"class_weight": {1: 2.0}}))
    theta = trainer.params.vector.copy()
    trainer.prepare(X, Y)
    np.testing.assert_array_equal(trainer.params.vector, theta)
    with pytest.raises(ShapeError):
        trainer.prepare(X[:, :2], Y)


def test_a_model_that_was_prepared_may_be_given_weights():
    source = train(epochs=3)
    trainer = md.Trainer(plain(), device="cpu")
    trainer.prepare(X, Y)
    trainer.params.assign(source.params)
    np.testing.assert_array_equal(trainer.predict(X), source.predict(X))


def test_a_loss_may_be_an_object():
    smoothed = train(loss=md.CategoricalCrossEntropy(label_smoothing=0.1))
    assert smoothed.history["loss"] != train().history["loss"]
    assert smoothed.loss == replace(md.CategoricalCrossEntropy(), label_smoothing=0.1)


def test_the_seed_decides_weights_order_and_masks():
    assert result(train(mlp(), seed=1)) == result(train(mlp(), seed=1))
    assert result(train(mlp(), seed=1))["theta"] != result(train(mlp(), seed=2))["theta"]
