"""Chunks that come again are recorded: the same bits as before, of the θ of the moment, and nothing is shared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mathdl as md
from mathdl.training import chunks
from mathdl_backends.numpy.programs import why_absent
from support import host, normal
from trainings import cnn, images, mlp


def model_of(build=mlp, shape=(6,), device="cpu", dtype="float32"):
    net = build()
    return md.Model(net, net.initialize(shape, device=device, dtype=dtype), md.CategoricalCrossEntropy())


def normalized():
    return md.Network([md.Dense(7), md.BatchNorm(), md.ReLU(), md.Dropout(0.5), md.Dense(3), md.Softmax()])


@pytest.mark.parametrize(("build", "shape"), [(mlp, (6,)), (normalized, (6,)), (cnn, (6, 6, 2))])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_every_call_gives_the_same_bits(backend, build, shape, n):
    model, X = model_of(build, shape, backend.name), normal(n, *shape, dtype="float32")
    Y, weights = np.arange(n) % 3, np.linspace(1, 2, n)
    predicted = [host(model.predict(X)).tobytes() for _ in range(6)]
    assert len(set(predicted)) == 1
    assert len({tuple(model.evaluate(X, Y, weights).items()) for _ in range(6)}) == 1
    np.testing.assert_allclose(
        host(model.predict(X)), host(model.network.predict(model.params, X)), rtol=1e-4, atol=1e-6
    )


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
@pytest.mark.parametrize("n", [1, 300])
def test_what_comes_again_is_one_program(n):
    model, X = model_of(), normal(n, 6, dtype="float32")
    for _ in range(chunks._UNRECORDED):
        model.predict(X)
        assert model._tasks._tasks == {}
    for _ in range(3):
        model.predict(X)
    (task,) = model._tasks._tasks.values()
    assert task._task.program is not None


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
def test_a_row_is_predicted_without_an_execution(monkeypatch):
    """What needs no other thread runs at once; what does, or is in use, takes the longer way: the same bits."""
    model, X = model_of(), normal(1, 6, dtype="float32")
    expected = [model.predict(X).tobytes() for _ in range(5)][-1]
    (task,) = model._tasks._tasks.values()
    with monkeypatch.context() as patch:
        patch.setattr(type(task._execution), "__enter__", lambda self: pytest.fail("opened"))
        assert model.predict(X).tobytes() == expected
    with task.lock:
        assert model.predict(X).tobytes() == expected
    monkeypatch.setattr(task._task.program, "alone", False)
    assert task.at_once([X]) is None
    assert model.predict(X).tobytes() == expected


def test_many_chunks_are_recorded_at_once():
    model, X = model_of(), normal(40, 6, dtype="float32")
    model.predict(X, batch_size=10)
    assert len(model._tasks._tasks) == 1


def test_predictions_follow_the_parameters_and_the_state(backend):
    net, X, Y = normalized(), normal(64, 6, dtype="float32"), np.arange(64) % 3
    trainer = md.Trainer(net, optimizer=md.SGD(0.5), batch_size=16, device=backend.name)
    for _ in range(5):
        trainer.fit(X, Y, validation_data=(X[:20], Y[:20]), verbose=False)
        expected = host(net.predict(trainer.params, X))
        np.testing.assert_allclose(host(trainer.predict(X)), expected, rtol=1e-4, atol=1e-6)
        loss = -np.mean(np.log(expected[np.arange(20), Y[:20]]))
        assert trainer.history[-1]["val_loss"] == pytest.approx(loss, rel=1e-4)


def test_what_was_given_out_stays():
    model, A, B = model_of(), normal(5, 6, dtype="float32"), normal(5, 6, seed=1, dtype="float32")
    expected = model.predict(A).copy()
    for _ in range(5):
        P = model.predict(A)
        assert not np.array_equal(model.predict(B), expected)
        np.testing.assert_array_equal(P, expected)


def test_threads_that_predict_at_once():
    model = model_of()
    data = [normal(30, 6, seed=seed, dtype="float32") for seed in range(8)]
    expected = [model.predict(X).tobytes() for X in data]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            assert [P.tobytes() for P in pool.map(model.predict, data)] == expected


def test_other_parameters_are_other_tasks():
    model, X = model_of(normalized), normal(5, 6, dtype="float32")
    for seed in (0, 1, 0):
        model.params = model.network.initialize((6,), seed=seed)
        model.params.state["mean[2]"][...] = seed
        for _ in range(4):
            np.testing.assert_allclose(model.predict(X), model.network.predict(model.params, X), rtol=1e-5)


def test_few_tasks_are_kept(monkeypatch):
    monkeypatch.setattr(chunks, "_MOST_SIZES", 5)
    model, X = model_of(), normal(12, 6, dtype="float32")
    expected = {n: model.predict(X[:n]).tobytes() for n in range(1, 13)}
    for _ in range(3):
        for n in range(1, 13):
            for _ in range(4):
                assert model.predict(X[:n]).tobytes() == expected[n]
    assert len(model._tasks._tasks) == chunks._MOST_TASKS
    assert len(model._tasks._seen) <= 5


class Undecided(md.Layer):
    """A layer that asks its numbers, so that no record can be right for all of them."""

    def forward(self, params, A, context):
        return (A if bool(np.asarray(A).sum() > 0) else -A), None

    def backward(self, dA, cache, into=None, input_gradient=True):
        raise NotImplementedError


def test_a_layer_that_cannot_be_recorded():
    model = model_of(lambda: md.Network([Undecided(), md.Dense(3), md.Softmax()]))
    up, down = np.ones((4, 6), np.float32), -np.ones((4, 6), np.float32)
    for _ in range(5):
        np.testing.assert_array_equal(model.predict(up), model.predict(down))


def test_chunks_are_of_one_size_and_small_where_activations_are_many(monkeypatch):
    model = model_of(cnn, (6, 6, 2))
    sizes = [part.stop - part.start for part in model._chunks(10_000)]
    assert sizes == [5000, 5000]
    monkeypatch.setattr("mathdl.training.model._MOST_ACTIVATIONS", 1000)
    data, _ = images()
    small = model_of(cnn, (6, 6, 2))
    assert small._rows_of_a_chunk == 1000 // max(np.prod(shape) for shape in small.network.shapes((6, 6, 2)))
    np.testing.assert_allclose(
        small.predict(data.astype(np.float32)), model.predict(data.astype(np.float32)), rtol=1e-4, atol=1e-6
    )
