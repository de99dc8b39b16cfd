"""Trainer: the same bits with any number of workers, stopped and resumed; the same numbers for any cut and backend."""

from __future__ import annotations

import os
import signal
from threading import Thread

import numpy as np
import pytest

import mathdl as md
from mathdl.errors import UsageError
from mathdl.schedules import Cosine, LinearWarmup, Plateau, Step
from mathdl.training import pace
from mathdl.training import trainer as trainer_module
from mathdl_backends.numpy import native
from mathdl_backends.numpy.execution import ShardedExecution
from mathdl_backends.numpy.tasks import RecordedTask
from support import assert_close, host, normal
from trainings import ADAM, Scale, cnn, cut_into, images, mlp, numbers, plain, result, train, vectors

X, Y = vectors()
WEIGHTS = np.random.default_rng(3).integers(0, 4, len(X)) + 0.5


# ---- workers, shards, backends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3, 8])
@pytest.mark.parametrize(("build", "data"), [(mlp, vectors()), (cnn, images())])
def test_the_number_of_workers_changes_no_bit(monkeypatch, build, data, shards):
    """Dropout, batch normalization, sample weights, a short last minibatch, validation."""
    cut_into(monkeypatch, shards)
    n = len(data[0])
    fit = {"sample_weight": WEIGHTS[:n], "validation_data": (data[0][:9], data[1][:9])}
    results = [result(train(build(), data, fit=fit, batch_size=12, workers=workers)) for workers in (1, 2, 3, 8)]
    assert results[0] == results[1] == results[2] == results[3]


def test_large_products_neither(monkeypatch):
    """Products that are large enough to be shared out among the workers, whole and in two shards."""
    data = normal(400, 600, dtype="float32"), np.arange(400) % 3
    net = [md.Dense(500), md.ReLU(), md.Dense(3), md.Softmax()]
    for shards in (1, 2):
        cut_into(monkeypatch, shards)
        results = [result(train(md.Network(net), data, 1, batch_size=256, workers=workers)) for workers in (1, 2, 3)]
        assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("optimizer", [md.SGD(0.1), md.SGD(0.1, momentum=0.9, clip_norm=0.5)], ids=["plain", "clipped"])
@pytest.mark.parametrize(("build", "data"), [(mlp, vectors()), (cnn, images())])
def test_shards_add_up_to_the_minibatch(monkeypatch, build, data, optimizer):
    """θ after two epochs, in float64: with any cut the same, up to rounding."""
    found = []
    for shards in (1, 2, 4, 8):
        cut_into(monkeypatch, shards)
        trainer = train(build(), data, optimizer=optimizer, dtype="float64", batch_size=12)
        found.append((host(trainer.params.vector), host(trainer.params.state.vector), trainer.history["loss"]))
    for theta, state, loss in found[1:]:
        assert_close(theta, found[0][0], rtol=1e-9, atol=1e-11)
        assert_close(state, found[0][1], rtol=1e-9, atol=1e-11)
        assert_close(loss, found[0][2])


@pytest.mark.parametrize(("build", "data"), [(mlp, vectors()), (cnn, images())])
def test_backends_agree(backend, build, data):
    fit = {"sample_weight": WEIGHTS[: len(data[0])], "validation_data": (data[0][:9], data[1][:9])}
    here, there = (
        train(build(), data, device=device, fit=fit, optimizer=md.SGD(0.05, momentum=0.9), batch_size=12)
        for device in ("cpu", backend.name)
    )
    assert_close(there.params.vector, host(here.params.vector), rtol=1e-5, atol=1e-6)
    assert_close(there.params.state.vector, host(here.params.state.vector), rtol=1e-5, atol=1e-6)
    for name in ("loss", "accuracy", "val_loss"):
        assert there.history[name] == pytest.approx(here.history[name], rel=1e-5)
    for ours, theirs in zip(here.minibatches, there.minibatches, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_same_masks_on_every_backend_and_for_every_cut(monkeypatch, backend):
    """A network of dropout and a learnt scale: in float64 its gradient tells which entries were kept."""
    net = [md.Dropout(0.5), Scale(), md.Dense(1)]
    data = np.ones((12, 40)), np.zeros(12)
    found = []
    for device, shards in (("cpu", 1), (backend.name, 1), (backend.name, 4)):
        cut_into(monkeypatch, shards)
        trainer = train(md.Network(net), data, loss="mean_squared_error", device=device, dtype="float64", batch_size=5)
        found.append(host(trainer.params["Ws[2]"]))
    for other in found[1:]:
        assert_close(other, found[0], rtol=1e-9)


# ---- going on --------------------------------------------------------------------------------------------------------


SCHEDULES = {
    "momentum": md.SGD(0.1, momentum=0.9),
    "Adam": ADAM,
    "plateau": md.SGD(Plateau(0.1, factor=0.5, patience=1), momentum=0.9),
    "cosine": md.RMSprop(Cosine(0.01, 5)),
    "warm-up": md.AdamW(LinearWarmup(1.5, then=Step(0.01, 2))),
}


@pytest.mark.parametrize("optimizer", SCHEDULES.values(), ids=SCHEDULES)
def test_fit_goes_on(optimizer):
    fit = {"sample_weight": WEIGHTS, "validation_data": (X[:9], Y[:9])}
    whole = train(mlp(), epochs=5, fit=fit, optimizer=optimizer)
    parts = train(mlp(), epochs=2, fit=fit, optimizer=optimizer)
    history = parts.fit(X, Y, 3, **fit)
    assert history is parts.history
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert result(whole) == result(parts)


def test_learning_rates():
    trainer = train(optimizer=md.SGD(Step(0.1, every=1, factor=0.5)), epochs=3)
    assert trainer.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])
    trainer = train(optimizer=md.SGD(Cosine(1.0, 2)), epochs=1)
    assert trainer.history["learning_rate"] == pytest.approx([(1 + np.cos(np.pi * 0.75 / 2)) / 2])


def test_time_goes_on_in_epochs_when_the_data_change():
    trainer = train(optimizer=md.SGD(Step(0.1, every=1, factor=0.5)), epochs=2)
    trainer.fit(X[:16], Y[:16], 1)
    assert trainer.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.025])


def test_a_plateau_looks_at_the_validation_loss():
    def rates(sign):
        optimizer = md.SGD(Plateau(1e-9, factor=0.5, patience=1), momentum=0.9)
        trainer = train(optimizer=optimizer, epochs=1)
        for k in range(3):
            trainer.history.rows.append({**trainer.history[0], "val_loss": 1.0 + sign * k, "loss": 1.0 - k})
        trainer.fit(X, Y)
        return trainer.history["learning_rate"][-1]

    assert rates(-1) == pytest.approx(1e-9)
    assert rates(+1) == pytest.approx(0.25e-9)


def test_reset_starts_anew():
    trainer = train(mlp(), fit={"early_stopping": md.EarlyStopping(monitor="loss", restore_best=False)})
    first = result(trainer) | {"best": None}
    trainer.reset()
    with pytest.raises(UsageError, match="there is no model yet"):
        trainer.params  # noqa: B018
    trainer.fit(X, Y, 2)
    assert result(trainer) == first
    trainer.reset()
    trainer.fit(X[:, :3], Y)
    assert trainer.params["W[1]"].shape == (3, 8)


class InterruptAt:
    """A progress that sends SIGINT after minibatch {m} of an epoch (or after the epoch itself, m None)."""

    def __init__(self, epoch, m):
        self.at = epoch, m

    def __call__(self, *args):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def minibatches(self, epoch, done, J):
        if (epoch, done - 1) == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, row):
        if (row["epoch"], None) == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("optimizer", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize(("epoch", "m"), [(1, 0), (2, 1), (2, 3), (2, None)])
def test_ctrl_c_stops_after_the_minibatch_and_fit_goes_on(monkeypatch, optimizer, epoch, m):
    fit = {
        "sample_weight": WEIGHTS,
        "validation_data": (X[:9], Y[:9]),
        "early_stopping": md.EarlyStopping(patience=3),
    }
    whole = train(mlp(), epochs=4, fit=fit, optimizer=optimizer)
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(pace, "_SECONDS", 0.0)
        patch.setattr(trainer_module, "progress", InterruptAt(epoch, m))
        stopped = train(mlp(), epochs=4, fit=fit, optimizer=optimizer)
    assert signal.getsignal(signal.SIGINT) is before
    assert stopped.history.stopped == "interrupted"
    assert (stopped.epoch, stopped.m) == ((epoch, 0) if m in (3, None) else (epoch - 1, m + 1))
    stopped.fit(X, Y, 4 - stopped.epoch, **fit)
    assert result(stopped) == result(whole)


def test_an_interrupted_epoch_needs_its_data(monkeypatch):
    monkeypatch.setattr(pace, "_SECONDS", 0.0)
    monkeypatch.setattr(trainer_module, "progress", InterruptAt(1, 1))
    trainer = train()
    with pytest.raises(UsageError, match="an epoch of 4 minibatches was interrupted after 2, and these data make 1"):
        trainer.fit(X[:16], Y[:16])
    trainer.reset()
    trainer.fit(X[:16], Y[:16])


# ---- recorded steps --------------------------------------------------------------------------------------------------


@pytest.fixture
def replays(monkeypatch):
    """A list of the tasks that were recorded and tried, and run from their record from then on."""
    tasks = []
    tried = RecordedTask._try

    def noted(task):
        result = tried(task)
        if task.refused is None:
            tasks.append(task)
        return result

    monkeypatch.setattr(RecordedTask, "_try", noted)
    return tasks


def call_by_call(patch):
    patch.setattr(ShardedExecution, "recorded", lambda self, make, writes: make(lambda A: A))


def without_programs(patch):
    patch.setattr(native, "loaded", lambda: None)


def dense_layers():
    """Every layer for vectors that a record may hold."""
    activations = [md.Tanh(), md.Sigmoid(), md.ELU(), md.GELU(), md.SiLU(), md.LeakyReLU(), md.Softplus()]
    inside = [layer for activation in activations for layer in (md.Dense(8), activation)]
    return md.Network(
        [
            md.Dense(8, l2=0.01),
            md.BatchNorm(),
            md.ReLU(),
            md.Dropout(0.25),
            md.Residual(inside),
            md.LayerNorm(),
            md.Dense(3, l1=0.001),
            md.Softmax(),
        ]
    )


RECORDED = {
    "layers": (dense_layers, vectors(), {}),
    "cnn": (cnn, images(), {}),
    "mlp": (mlp, vectors(), {"optimizer": md.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=0.5, weight_decay=0.1)}),
    "adamw": (plain, vectors(), {"optimizer": md.AdamW(LinearWarmup(1.5, then=Step(0.01, 2)))}),
    "rmsprop": (plain, vectors(), {"optimizer": md.RMSprop(0.01, momentum=0.9, clip_value=0.1), "dtype": "float64"}),
    "wide": (
        lambda: md.Network([md.Dense(700), md.ReLU(), md.Dense(300), md.ReLU(), md.Dense(3), md.Softmax()]),
        vectors(150, 40),
        {"batch_size": 64},
    ),
    "regression": (
        lambda: md.Network([md.Dense(30), md.ReLU(), md.Dense(1)]),
        numbers(),
        {"loss": "mean_squared_error", "standardize": True, "standardize_targets": True},
    ),
}


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("name", RECORDED)
def test_records_change_no_bit(monkeypatch, replays, name, shards):
    """Recorded, with and without the compiled part and for any number of workers, or call by call."""
    cut_into(monkeypatch, shards)
    build, data, options = RECORDED[name]
    n = len(data[0])
    fit = {"sample_weight": WEIGHTS[:n] if n <= len(WEIGHTS) else None}

    def trained(*changes, workers=2):
        with monkeypatch.context() as patch:
            for change in changes:
                change(patch)
            return result(train(build(), data, 3, fit, **{"batch_size": 12, "workers": workers, **options}))

    expected = trained(call_by_call)
    assert replays == []
    for workers in (1, 2, 3, 8):
        assert trained(workers=workers) == expected
    assert trained(without_programs) == expected
    assert bool(replays) == (shards == 1 or name not in ("layers", "mlp", "cnn"))  # shards that are coupled run so


def test_a_second_fit_goes_on_with_the_records_of_the_first(replays):
    trainer = train(plain(), (X, Y))
    first = len(replays)
    assert first > 0
    trainer.fit(X, Y, 2)
    assert len(replays) == first
    assert result(trainer) == result(train(plain(), epochs=4))


class Impure(Scale):
    """A scale that asks the host, and one that keeps a count: neither can be recorded."""

    def forward(self, params, A, context):
        A, cache = super().forward(params, A, context)
        return A * (1.0 + 0.0 * float(A.sum())), cache


def test_a_layer_that_cannot_be_recorded_trains_as_before(monkeypatch, replays):
    net = [md.Dense(8), Impure(), md.Tanh(), md.Dense(3), md.Softmax()]
    found = result(train(md.Network(net)))
    assert {task._writes[0].size for task in replays} == {8 * 7 + 8 + 8 * 3 + 3}  # the update alone
    with monkeypatch.context() as patch:
        call_by_call(patch)
        assert result(train(md.Network(net))) == found


def test_two_trainings_at_once_and_one_in_the_others_callback():
    expected = result(train(plain(), epochs=4))
    found = []

    def run():
        found.append(result(train(plain(), epochs=4)))

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    train(plain(), epochs=2, fit={"callbacks": [lambda trainer, row: run()]})
    assert found == [expected] * 4
