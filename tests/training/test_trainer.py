"""Trainer: what a step learns, what stays still, the figures, early stopping, callbacks, and what can be looked at."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

import mathdl as md
from mathdl.data import Minibatches
from mathdl.errors import UnknownNameError, UsageError
from mathdl.notation import split_name
from support import assert_close, host
from trainings import ADAM, CLASSES, Bare, Scale, cut_into, mlp, numbers, plain, result, train, vectors

X, Y = vectors()
WEIGHTS = np.random.default_rng(3).integers(0, 4, len(X)) + 0.5


# ---- one step, by hand -----------------------------------------------------------------------------------------------


def by_hand(net, rows, w, params, loss):
    """∂J/∂θ of one minibatch through the public functions."""
    A, tape = net.forward(params, X[rows])
    J, cache = loss.forward(A, Y[rows], w[rows])
    return float(J), net.backward(loss.backward(cache), tape)[1]


def test_steps_are_those_of_the_texts():
    net, loss = plain(), md.CategoricalCrossEntropy()
    trainer = train(plain(), epochs=1, dtype="float64", optimizer=md.SGD(0.3), fit={"sample_weight": WEIGHTS}, seed=5)
    params = plain().initialize((6,), seed=5, dtype="float64")
    total, losses = 0.0, 0.0
    for rows in Minibatches(len(X), 16, seed=5).rows(0):
        J, grads = by_hand(net, rows, WEIGHTS, params, loss)
        losses += J * WEIGHTS[rows].sum()
        total += WEIGHTS[rows].sum()
        params.vector[...] -= 0.3 * grads.vector
    assert_close(trainer.params.vector, params.vector)
    assert trainer.history["loss"] == pytest.approx([losses / total], rel=1e-9)


def test_penalties_are_in_the_gradient_and_reported_apart(monkeypatch):
    cut_into(monkeypatch, 2)

    def network(l1=0.0, l2=0.0):
        return md.Network(
            [md.Dense(4, l1=l1, l2=l2), md.Tanh(), md.Residual([md.Dense(4, l2=l2)]), md.Dense(3), md.Softmax()]
        )

    one = {"epochs": 1, "dtype": "float64", "optimizer": md.SGD(1.0), "batch_size": len(X)}
    start = network().initialize((6,), dtype="float64")
    without, with_ = train(network(), **one), train(network(0.01, 0.1), **one)
    difference = host(without.params.vector) - host(with_.params.vector)
    expected = network().initialize((6,), dtype="float64")
    expected.vector[...] = 0.0
    expected["W[1]"][...] = 0.1 * start["W[1]"] + 0.01 * np.sign(start["W[1]"])
    expected["W[3.1]"][...] = 0.1 * start["W[3.1]"]
    assert_close(difference, expected.vector, atol=1e-10)
    assert with_.history["loss"] == without.history["loss"]
    W1, W3 = with_.params["W[1]"], with_.params["W[3.1]"]
    penalty = 0.01 * np.abs(W1).sum() + 0.05 * (W1**2).sum() + 0.05 * (W3**2).sum()
    assert with_.history["penalty"] == pytest.approx([penalty])
    assert "penalty" not in without.history[0]


def test_weight_decay_is_on_weights_only():
    """The same gradient, so θ differs by η λ W on weights and by nothing elsewhere."""
    options = {"epochs": 1, "dtype": "float64", "batch_size": len(X)}
    without = train(mlp(Scale()), optimizer=md.SGD(0.5), **options).params
    with_ = train(mlp(Scale()), optimizer=md.SGD(0.5, weight_decay=0.1), **options).params
    start = mlp(Scale()).initialize((6,), dtype="float64")
    for name in start:
        decay = 0.05 * start[name] if name.startswith("W") else np.zeros(start.shapes[name])
        assert_close(without[name] - with_[name], decay, atol=1e-12)


def test_clipping():
    def distance(**clip):
        trainer = train(optimizer=md.SGD(1.0, **clip), epochs=1, dtype="float64", batch_size=len(X))
        return trainer.params.vector - plain().initialize((6,), dtype="float64").vector

    free = distance()
    assert_close(np.linalg.norm(distance(clip_norm=1e-3)), 1e-3)
    assert_close(distance(clip_norm=1e3), free)
    assert_close(distance(clip_value=1e-3), np.clip(free, -1e-3, 1e-3), atol=1e-12)


# ---- frozen layers ---------------------------------------------------------------------------------------------------


def deep():
    return md.Network(
        [
            md.Dense(8, l2=0.1),
            md.BatchNorm(),
            md.Residual([md.Dense(8), md.BatchNorm()], shortcut=[md.Dense(8)]),
            md.Dense(CLASSES),
            md.Softmax(),
        ]
    )


@pytest.mark.parametrize("optimizer", [ADAM, md.SGD(0.1, momentum=0.9, weight_decay=0.1, clip_norm=0.1)])
@pytest.mark.parametrize("frozen", [[1], [2, 4], [3], ["3.2", "3.3"], [1, 2, 3]])
def test_frozen_layers_stay_still(frozen, optimizer):
    net = deep()
    net.freeze(*frozen)
    trainer = train(net, optimizer=optimizer, epochs=2)
    start = deep().initialize((6,))
    for part, before in ((trainer.params, start), (trainer.params.state, start.state)):
        for name in before:
            assert np.array_equal(part[name], before[name]) == net.is_frozen(split_name(name)[1]), name
    for slot in trainer.slots.values():
        for name, where in trainer.params.slices.items():
            assert bool(slot[where].any()) != net.is_frozen(split_name(name)[1]), name


def test_what_is_frozen_does_not_count_in_the_norm():
    net = plain()
    net.freeze(3)
    options = {"epochs": 1, "dtype": "float64", "batch_size": len(X), "optimizer": md.SGD(1.0, clip_norm=1e-3)}
    trainer = train(net, **options)
    assert_close(np.linalg.norm(trainer.params.vector - plain().initialize((6,), dtype="float64").vector), 1e-3)


def test_trainable_false_and_unfreeze():
    net = md.Network([md.Dense(8, trainable=False), md.Tanh(), md.Dense(CLASSES), md.Softmax()])
    trainer = train(net)
    start = plain().initialize((6,))
    np.testing.assert_array_equal(trainer.params["W[1]"], start["W[1]"])
    net.unfreeze(1)
    trainer.fit(X, Y)
    assert not np.array_equal(trainer.params["W[1]"], start["W[1]"])


def test_nothing_to_learn():
    net = plain()
    net.freeze(1, 3)
    with pytest.raises(UsageError, match="nothing to learn"):
        train(net)


def test_layers_of_ones_own(backend):
    net = md.Network([md.Dense(8), Scale(), Bare(), md.Tanh(), md.Residual([Scale()]), md.Dense(CLASSES), md.Softmax()])
    trainer = train(net, epochs=20, device=backend.name)
    assert trainer.history["loss"][-1] < 0.7 * trainer.history["loss"][0]
    start = net.initialize((6,))
    assert all(not np.array_equal(host(trainer.params[name]), start[name]) for name in start)


# ---- figures ---------------------------------------------------------------------------------------------------------


def test_columns_of_the_history():
    row = train(fit={"validation_data": (X, Y)}).history[-1]
    assert list(row) == ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    assert (row["epoch"], row["step"], row["learning_rate"]) == (2, 8, 0.01)
    assert row["seconds"] > 0
    data = numbers()
    row = train(md.Network([md.Dense(1)]), data, loss="huber", fit={"validation_data": data}).history[0]
    figures = ["loss", "mae", "rmse", "r2"]
    assert list(row) == ["epoch", "step", *figures, *[f"val_{name}" for name in figures], "learning_rate", "seconds"]


def test_figures_of_an_epoch_are_weighted_means():
    """With a learning rate of 0 every minibatch sees the same θ, and the figures of an epoch are those of the whole."""
    options = {"optimizer": md.SGD(0.0), "dtype": "float64"}
    trainer = train(fit={"sample_weight": WEIGHTS, "validation_data": (X, Y, WEIGHTS)}, **options)
    P = trainer.predict(X)
    loss = np.average(-np.log(P[np.arange(len(X)), Y]), weights=WEIGHTS)
    accuracy = np.average(P.argmax(axis=1) == Y, weights=WEIGHTS)
    for row in trainer.history:
        assert (row["loss"], row["accuracy"]) == pytest.approx((loss, accuracy))
        assert (row["val_loss"], row["val_accuracy"]) == pytest.approx((loss, accuracy))
    assert trainer.evaluate(X, Y, WEIGHTS) == pytest.approx({"loss": loss, "accuracy": accuracy})
    data = numbers()
    w = WEIGHTS[: len(data[0])]
    fit = {"sample_weight": w, "validation_data": (*data, w)}
    trainer = train(md.Network([md.Dense(1)]), data, loss="mean_squared_error", fit=fit, **options)
    P = trainer.predict(data[0])
    expected = {
        "mae": md.metrics.mean_absolute_error(data[1], P, w),
        "rmse": md.metrics.root_mean_squared_error(data[1], P, w),
        "r2": md.metrics.r2(data[1], P, w),
    }
    for name, value in expected.items():
        assert trainer.history[name] == pytest.approx([value] * 2)
        assert trainer.history[f"val_{name}"] == pytest.approx([value] * 2)


def test_weights_count_instances():
    """Whole weights count a row so many times: a minibatch of repeated rows gives the same step."""
    times = np.arange(len(X)) % 3
    options = {"dtype": "float64", "optimizer": md.SGD(0.5), "batch_size": 200, "shuffle": False}
    repeated = train(data=(np.repeat(X, times, axis=0), np.repeat(Y, times)), **options)
    assert_close(train(fit={"sample_weight": times}, **options).params.vector, repeated.params.vector)


def test_class_weights_are_sample_weights():
    by_class = {0: 1.0, 1: 0.5, 2: 3.0}
    weights = np.array([by_class[label] for label in Y])
    one = train(fit={"sample_weight": WEIGHTS, "class_weight": by_class})
    assert result(one) == result(train(fit={"sample_weight": WEIGHTS * weights}))
    balanced = len(Y) / (3 * np.bincount(Y)[Y])
    assert result(train(fit={"class_weight": "balanced"})) == result(train(fit={"sample_weight": balanced}))
    rows = train(data=(X, np.eye(3, dtype="float32")[Y]), fit={"class_weight": "balanced"})
    assert_close(rows.params.vector, train(fit={"sample_weight": balanced}).params.vector, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_class_weights_of_yes_or_no(shape):
    bits = (Y > 0).astype(int)
    net = md.Network([md.Dense(1), md.Sigmoid()])
    options = {"loss": "binary_cross_entropy", "data": (X, bits.reshape(shape))}
    balanced = len(Y) / (2 * np.bincount(bits)[bits])
    one = train(net, fit={"class_weight": "balanced"}, **options)
    assert result(one) == result(train(net, fit={"sample_weight": balanced}, **options))
    one = train(net, fit={"class_weight": {1: 3}}, **options)
    assert result(one) == result(train(net, fit={"sample_weight": 1.0 + 2.0 * bits}, **options))


def test_class_weights_need_classes():
    with pytest.raises(UsageError, match="class_weight is for one class of several"):
        train(md.Network([md.Dense(1)]), numbers(), loss="huber", fit={"class_weight": "balanced"})
    net = md.Network([md.Dense(2), md.Sigmoid()])
    with pytest.raises(UsageError, match="class_weight is for one class of several"):
        train(net, (X, np.eye(3)[Y][:, :2]), loss="binary_cross_entropy", fit={"class_weight": "balanced"})


# ---- early stopping, callbacks ---------------------------------------------------------------------------------------


def test_early_stopping_restores_the_best():
    kept = []
    fit = {
        "validation_data": vectors(30, seed=1),
        "early_stopping": md.EarlyStopping(patience=2),
        "callbacks": [lambda t, row: kept.append((t.params.vector.copy(), t.params.state.vector.copy())) and None],
    }
    trainer = train(mlp(), epochs=100, optimizer=md.SGD(1.0, momentum=0.9), fit=fit)
    losses = trainer.history["val_loss"]
    best = int(np.argmin(losses))
    assert trainer.history.stopped == "early stopping"
    assert len(losses) == best + 3 < 100
    assert trainer.best.epoch == best + 1
    np.testing.assert_array_equal(trainer.params.vector, kept[best][0])
    np.testing.assert_array_equal(trainer.params.state.vector, kept[best][1])
    assert trainer.evaluate(*fit["validation_data"])["loss"] == losses[best]
    assert trainer.epoch == len(losses)
    kept.clear()
    trainer.fit(X, Y, 5, **fit)
    assert len(kept) >= 2, "the patience begins anew"


def test_without_restoring():
    fit = {"validation_data": (X, Y), "early_stopping": md.EarlyStopping(patience=1, restore_best=False)}
    trainer = train(epochs=9, optimizer=md.SGD(0.0), fit=fit)
    assert (trainer.epoch, trainer.best.epoch) == (2, 1)
    assert trainer.evaluate(X, Y)["loss"] == trainer.history["val_loss"][-1]


def test_early_stopping_on_an_accuracy_and_on_training_figures():
    fit = {"early_stopping": md.EarlyStopping(patience=1, monitor="accuracy")}
    trainer = train(epochs=50, fit=fit)
    accuracies = trainer.history["accuracy"]
    assert all(a < b for a, b in pairwise(accuracies[:-1]))
    assert accuracies[-1] <= accuracies[-2]
    with pytest.raises(UsageError, match="pass validation_data"):
        trainer.fit(X, Y, early_stopping=md.EarlyStopping())


@pytest.mark.parametrize(
    ("net", "data", "loss"),
    [(None, (X, Y), "categorical_cross_entropy"), (md.Network([md.Dense(1)]), numbers(), "huber")],
)
def test_a_figure_to_monitor_is_one_that_training_reports(net, data, loss):
    trainer = train(net, data, loss=loss, fit={"validation_data": data})
    figures = trainer.history[0].keys() - {"epoch", "step", "learning_rate", "seconds"}
    for name in figures:
        trainer.fit(*data, validation_data=data, early_stopping=md.EarlyStopping(monitor=name))
    with pytest.raises(UnknownNameError, match=r"'val_los'\. Did you mean 'val_loss'") as caught:
        trainer.fit(*data, validation_data=data, early_stopping=md.EarlyStopping(monitor="val_los"))
    assert str(caught.value).endswith(f"Known: {', '.join(sorted(figures))}")
    assert trainer.epoch == 2 + len(figures)  # refused before the first step


def test_another_figure_has_another_best():
    trainer = train(epochs=3, fit={"early_stopping": md.EarlyStopping(monitor="accuracy")})
    trainer.fit(X, Y, early_stopping=md.EarlyStopping(monitor="loss"))
    assert (trainer.best.monitor, trainer.best.epoch, trainer.best.value) == ("loss", 4, trainer.history["loss"][-1])


def test_callbacks():
    seen = []
    stop = [lambda t, row: row["epoch"] == 2, lambda t, row: seen.append((t.epoch, row["epoch"]))]
    trainer = train(epochs=9, fit={"callbacks": stop})
    assert seen == [(1, 1), (2, 2)]
    assert (trainer.epoch, trainer.history.stopped) == (2, "callback")
    trainer.fit(X, Y, 2)
    assert (trainer.epoch, trainer.history.stopped) == (4, None)


def test_a_callback_may_use_the_trainer():
    """Predictions and evaluation between epochs change nothing."""

    def look(trainer, row):
        trainer.predict(X), trainer.evaluate(X, Y), trainer.A[1, 0], trainer.minibatches[0]

    assert result(train(mlp(), epochs=3, fit={"callbacks": [look]})) == result(train(mlp(), epochs=3))


# ---- what can be looked at -------------------------------------------------------------------------------------------


def test_minibatches():
    trainer = train(epochs=3, seed=4)
    batches = trainer.minibatches
    expected = Minibatches(len(X), 16, seed=4).rows(2)
    assert len(batches) == 4
    for (rows, A, labels), those in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(rows, those)
        np.testing.assert_array_equal(A, X[rows])
        np.testing.assert_array_equal(labels, Y[rows])
    assert len(batches[-1][0]) == 2
    assert [len(rows) for rows, _, _ in batches[1:3]] == [16, 16]
    with pytest.raises(IndexError):
        batches[4]


def test_activations(backend):
    trainer = train(mlp(), device=backend.name)
    rows, A, _ = trainer.minibatches[2]
    np.testing.assert_array_equal(trainer.A[0, 2], A)
    assert_close(trainer.A[-1, 2], trainer.predict(A), rtol=1e-6)
    assert type(trainer.A[1, 2]) is np.ndarray
    assert len(rows) == 16
    np.testing.assert_array_equal(trainer.A[3, 2, 5], np.maximum(trainer.A[2, 2, 5], 0))
    np.testing.assert_array_equal(trainer.A[4, 2], trainer.A[3, 2])


def test_shuffle_off():
    trainer = train(shuffle=False)
    assert trainer.minibatches[1][0].tolist() == list(range(16, 32))


def test_batch_size_larger_than_the_data():
    trainer = train(batch_size=1000)
    assert (len(trainer.minibatches), trainer.step) == (1, 2)
    assert result(trainer) == result(train(batch_size=50))


def test_nothing_yet():
    trainer = md.Trainer(plain())
    for look in ("minibatches", "A", "model", "params"):
        with pytest.raises(UsageError, match="call fit"):
            getattr(trainer, look)
    trainer.prepare(X, Y)
    with pytest.raises(UsageError, match="no minibatch has been seen yet"):
        trainer.A  # noqa: B018


def test_no_epochs():
    trainer = train(epochs=0)
    assert (len(trainer.history), trainer.step) == (0, 0)
    np.testing.assert_array_equal(trainer.params.vector, plain().initialize((6,)).vector)


@pytest.mark.parametrize(
    ("layers", "most"),
    [
        ([md.Dense(32), md.ReLU(), md.Dense(16), md.ReLU(), md.Dense(3), md.Softmax()], 60),
        ([md.Conv2D(4, 3), md.ReLU(), md.MaxPool2D(2), md.Flatten(), md.Dense(3), md.Softmax()], 60),
        ([md.Conv2D(4, 3), md.BatchNorm(), md.ReLU(), md.Flatten(), md.Dense(3), md.Softmax()], 110),
    ],
)
def test_a_step_is_few_calls(layers, most):
    """Each call is a pass over memory here, and a kernel on a GPU: a budget for loss, gradient, update and accuracy."""
    X, Y = np.random.default_rng(0).random((48, 8, 8, 1), dtype=np.float32), np.arange(48) % 3
    trainer = md.Trainer(md.Network(layers), optimizer=md.SGD(0.1, momentum=0.9), batch_size=16, device="cpu")
    if not isinstance(layers[0], md.Conv2D):
        X = X.reshape(48, -1)
    trainer.fit(X, Y, epochs=1, verbose=False)
    counts = [int(count) for count in re.findall(r"\d+", trainer.about_steps())]
    assert len(counts) == 2
    assert sum(counts) <= most


def test_how_steps_run_is_known_after_a_fit():
    trainer = md.Trainer(md.Network([md.Dense(3), md.Softmax()]), device="cpu")
    with pytest.raises(UsageError, match="no step has been run yet: call fit first"):
        trainer.about_steps()
