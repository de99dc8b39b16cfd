"""A config made real: what is built from data and options, and what is refused before anything starts."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.cli.config import Config
from mathdl.cli.task import SCHEDULES, make_task
from mathdl.errors import DataError, MathdlError, ShapeError, UnknownNameError, UsageError
from mathdl.optimizers import OPTIMIZERS
from mathdl.training.callbacks import Best


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The task of a config, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda **options: make_task(Config(**options))


def npz(X, Y, **more):
    np.savez("data.npz", X=X, Y=Y, **more)
    return "data.npz"


def X(n=40, d=3):
    return np.random.default_rng(0).normal(size=(n, d))


def test_classes(task):
    made = task()
    assert made.config.loss == "categorical_cross_entropy"
    assert made.trainer.network.layers[-2:] == (md.Dense(10), md.Softmax())
    assert made.trainer.standardize
    assert not made.trainer.standardize_targets


def test_numbers(task):
    made = task(data="diabetes")
    assert made.config.loss == "mean_squared_error"
    assert made.trainer.network.layers[-1] == md.Dense(1)
    assert made.trainer.standardize_targets
    assert not task(data="diabetes", no_standardize=True).trainer.standardize_targets
    assert not task(data="diabetes", no_standardize=True).trainer.standardize


def test_counts_are_predicted_by_rates_that_are_positive(task):
    made = task(data=npz(X(), np.arange(40) % 7), loss="poisson")
    assert made.trainer.network.layers[-2:] == (md.Dense(1), md.Softplus())
    assert not made.trainer.standardize_targets


def test_several_numbers(task):
    assert task(data=npz(X(), X(40, 2))).trainer.network.layers[-1] == md.Dense(2)


def test_labels_as_numbers(task):
    """The loss decides what the targets are."""
    assert task(loss="mean_squared_error").trainer.network.layers[-1] == md.Dense(1)


def test_yes_or_no(task):
    made = task(data=npz(X(), np.arange(40) % 2), loss="binary_cross_entropy")
    assert made.trainer.network.layers[-2:] == (md.Dense(1), md.Sigmoid())


def test_several_yes_or_no(task):
    made = task(data=npz(X(), (X() > 0).astype(int)), loss="binary_cross_entropy")
    assert made.trainer.network.layers[-2:] == (md.Dense(3), md.Sigmoid())


def test_the_trainer_takes_the_options(task):
    trainer = task(batch_size=7, dtype="float64", seed=5, workers=1, label_smoothing=0.1, device="cpu").trainer
    assert (trainer.batch_size, trainer.dtype, trainer.seed, trainer.workers) == (7, "float64", 5, 1)
    assert trainer.loss == md.CategoricalCrossEntropy(label_smoothing=0.1)
    assert trainer.params.vector.dtype == np.float64


def test_the_trainer_has_seen_the_training_rows_only(task):
    made = task()
    np.testing.assert_allclose(made.trainer.model.inputs.mean, made.parts["train"].table.X.mean(), rtol=1e-12)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer(task, name):
    options = {"clip_norm": 2.0, "weight_decay": 0.5, "learning_rate": 0.25, "schedule": "constant"}
    optimizer = task(optimizer=name, **options).trainer.optimizer
    assert type(optimizer) is OPTIMIZERS[name]
    assert (optimizer.clip_norm, optimizer.weight_decay, optimizer.learning_rate.at(0, 0.0)) == (2.0, 0.5, 0.25)


def test_momentum(task):
    assert task(optimizer="sgd").trainer.optimizer.momentum == 0.9
    assert task(optimizer="sgd", momentum=0.5).trainer.optimizer.momentum == 0.5
    assert task(optimizer="rmsprop", momentum=0.5).trainer.optimizer.momentum == 0.5
    with pytest.raises(UnknownNameError, match="option of adamw 'momentum'"):
        task(momentum=0.5)


@pytest.mark.parametrize(
    ("name", "end"),
    [("constant", 1.0), ("cosine", 0.0), ("exponential", 0.01), ("inverse", 0.1), ("plateau", 1.0), ("step", 0.01)],
)
@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_every_schedule_ends_with_the_training(task, name, end, warmup):
    rate = task(schedule=name, learning_rate=0.5, epochs=12, warmup=warmup).trainer.optimizer.learning_rate
    last = 12 - 1e-9
    assert rate.at(0, 0.0) == (0.0 if warmup else 0.5)
    assert rate.at(int(warmup * 40), warmup) == pytest.approx(0.5)
    assert rate.at(int(last * 40), last) == pytest.approx(0.5 * end, abs=1e-8)


def test_no_schedule_is_forgotten():
    assert set(SCHEDULES) == set(md.schedules.SCHEDULES) - {"linear_warmup"}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"loss": "mse"}, UnknownNameError, "unknown loss 'mse'"),
        ({"optimizer": "adm"}, UnknownNameError, "unknown optimizer 'adm'. Did you mean 'adam'"),
        ({"schedule": "cos"}, UnknownNameError, "unknown schedule 'cos'. Did you mean 'cosine'"),
        ({"data": "digit"}, UnknownNameError, "'digit'. Did you mean 'digits'"),
        ({"model": "cn"}, UnknownNameError, "unknown model 'cn'. Did you mean 'cnn'"),
        ({"patience": 3, "validation": 0.0}, UsageError, "--validation must be more than 0"),
        ({"data": "diabetes", "class_weight": "balanced"}, UsageError, "--class-weight is for classes"),
        ({"data": "diabetes", "label_smoothing": 0.1}, UsageError, "--label-smoothing is for cross-entropies"),
        ({"data": "diabetes", "model": "cnn"}, UsageError, "cnn takes images"),
        ({"data": "diabetes", "loss": "categorical_cross_entropy"}, ShapeError, "the network has 1 output"),
        ({"data": "diabetes", "loss": "binary_cross_entropy"}, DataError, "expected 0 or 1"),
        ({"loss": "binary_cross_entropy"}, UsageError, "is for two classes, the target has 10"),
        ({"warmup": 3.0, "epochs": 3}, UsageError, "--warmup 3 leaves nothing of --epochs 3"),
        ({"validation": 0.5, "test": 0.5}, UsageError, "must be below 1"),
        ({"device": "gpu"}, UnknownNameError, "unknown device 'gpu'. Did you mean 'cpu'"),
    ],
)
def test_what_is_refused(task, options, error, message):
    with pytest.raises(error, match=message):
        task(**options)


def test_one_class_only(task):
    for Y in (np.zeros(40, dtype=int), np.full(40, 3), np.array(["a"] * 40)):
        with pytest.raises(DataError, match="every row has the same class; training needs at least two"):
            task(data=npz(X(), Y))


@pytest.mark.parametrize("row", [0, 17, 39])
def test_an_error_names_the_row_as_it_came(task, row):
    """Whatever part the row would have been in."""
    bad = X()
    bad[row, 2] = np.nan
    with pytest.raises(DataError, match=f"row {row}, column 2") as caught:
        task(data=npz(bad, np.arange(40) % 2))
    assert "data.npz" in caught.value.__notes__[0]
    rates = np.arange(40.0)
    rates[row] = -1.5
    with pytest.raises(DataError, match=f"row {row}, column 0 of Y is -1.5"):
        task(data=npz(X(), rates), loss="poisson")


@pytest.mark.parametrize(
    ("X_test", "Y_test", "message"),
    [
        (np.full((4, 3), np.inf), np.zeros(4, dtype=int), "row 0, column 0"),
        (X(4, 2), np.zeros(4, dtype=int), r"instances of shape \(2,\); those to train on are \(3,\)"),
    ],
)
def test_a_published_test_part_is_checked_before_it_is_needed(task, X_test, Y_test, message):
    with pytest.raises(MathdlError, match=message) as caught:
        task(data=npz(X(), np.arange(40) % 2, X_test=X_test, Y_test=Y_test))
    assert "its test part" in caught.value.__notes__[0]


def test_epochs_left(task):
    made = task(epochs=10, patience=3)
    assert made.epochs_left == 10
    made.trainer.epoch = 4
    assert made.epochs_left == 6
    made.trainer.best = Best("val_loss", 0.5, 2, None, None, waited=2)
    assert made.epochs_left == 6
    made.trainer.best.waited = 3
    assert made.epochs_left == 0
    made.trainer.best, made.trainer.epoch = None, 12
    assert made.epochs_left == 0
