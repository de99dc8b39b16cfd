"""Chunks that come again are recorded: the same bits as before, of the θ of the moment, and nothing is shared."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mathdl as md
from mathdl.data import Standardize
from mathdl.training import chunks
from mathdl_backends.numpy.execution import ShardedExecution
from mathdl_backends.numpy.programs import Pool, why_absent
from support import host, normal
from trainings import cnn, images, mlp


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Few calls are enough for a record."""
    monkeypatch.setattr(chunks, "_UNRECORDED", 2)


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
    (lane,) = task._lanes
    assert lane.task.program is not None


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
def test_a_row_is_predicted_without_an_execution(monkeypatch):
    """What needs no other thread runs at once; what does, or is in use, takes the longer way: the same bits."""
    model, X = model_of(), normal(1, 6, dtype="float32")
    expected = [model.predict(X).tobytes() for _ in range(chunks._UNRECORDED + 3)][-1]
    (task,) = model._tasks._tasks.values()
    with monkeypatch.context() as patch:
        patch.setattr(type(task._execution), "__enter__", lambda self: pytest.fail("opened"))
        assert model.predict(X).tobytes() == expected
    with task.lock:
        assert model.predict(X).tobytes() == expected
    monkeypatch.setattr(task._lanes[0].task.program, "alone", False)
    assert task.at_once([X]) is None
    assert model.predict(X).tobytes() == expected


class Squares(md.Layer):
    """A layer whose calls find their operands by what ops point to."""

    def forward(self, params, A, context):
        return np.square(A), A

    def backward(self, dA, cache, into=None, input_gradient=True):
        raise NotImplementedError


def squared():
    return md.Network([Squares(), md.Dense(3), md.Softmax()])


@pytest.fixture
def side_by_side(monkeypatch):
    """How many chunks were computed each by one thread, call by call."""
    counts, run_chunks = [], Pool.run_chunks

    def counted(self, programs, moves, count):
        counts.append(count)
        run_chunks(self, programs, moves, count)

    monkeypatch.setattr(Pool, "run_chunks", counted)
    return counts


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(("build", "shape"), [(mlp, (6,)), (normalized, (6,)), (cnn, (6, 6, 2)), (squared, (6,))])
def test_chunks_side_by_side_give_the_bits_of_chunks_in_a_row(side_by_side, monkeypatch, build, shape, workers):
    model = model_of(build, shape)
    monkeypatch.setattr(sys.modules[ShardedExecution.__module__], "usable_cores", lambda: workers)
    data = [normal(131, *shape, seed=seed, dtype="float32") for seed in range(3)]
    alone = md.Model(model.network, model.params, model.loss)
    expected = [np.concatenate([alone.predict(X[j : j + 10]) for j in range(0, 131, 10)]) for X in data]
    Y, weights = np.arange(131) % 3, np.linspace(1, 2, 131)
    whole = alone.evaluate(data[0], Y, weights)
    model._rows_of_a_chunk = 10
    for X, P in 2 * [*zip(data, expected, strict=True)]:
        np.testing.assert_array_equal(model.predict(X, batch_size=10), P)
    ready = 13 - workers * chunks._FIRST_RUNS  # each has to run alone first
    assert side_by_side == [ready, *5 * [13]]
    figures = [model.evaluate(data[0], Y, weights, workers=workers) for _ in range(3)]
    assert side_by_side[6:] == [ready, 13, 13]
    assert all(each == figures[0] for each in figures)
    assert figures[0] == pytest.approx(whole, rel=1e-5)
    of_tens = [task for task in model._tasks._tasks.values() if task._lanes[0].arrays[0].shape[0] == 10]
    assert [len(task._lanes) for task in of_tens] == [workers, workers]


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
def test_chunks_side_by_side_are_of_the_parameters_of_the_moment(side_by_side):
    model, X = model_of(normalized), normal(200, 6, dtype="float32")
    for _ in range(4):
        model.params.vector *= np.float32(0.9)
        expected = np.concatenate([model.network.predict(model.params, X[j : j + 8]) for j in range(0, 200, 8)])
        np.testing.assert_allclose(model.predict(X, batch_size=8), expected, rtol=1e-5)
    assert len(side_by_side) == 4


@pytest.mark.skipif(why_absent() is not None, reason="needs the compiled part")
def test_rows_that_do_not_lie_row_after_row_are_computed_chunk_by_chunk(side_by_side):
    model, X = model_of(), normal(60, 6, dtype="float32")
    expected = [model.predict(X, batch_size=6) for _ in range(2)][-1]
    (task,) = model._tasks._tasks.values()
    spread = np.repeat(X, 2, axis=0)[::2]
    before = len(side_by_side)
    with task:
        np.testing.assert_array_equal(task([spread], 10), expected)
        assert len(side_by_side) == before
        np.testing.assert_array_equal(task([X], 10), expected)
        np.testing.assert_array_equal(task([X[:6]]), expected[:6])  # the buffers are the task's own again
    assert len(side_by_side) == before + 1


@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=9), rows=st.integers(0, 12), B=st.integers(1, 4))
def test_stretches_cover_the_chunks_in_their_order(sizes, rows, B):
    alike = [slice(j * B, (j + 1) * B) for j in range(len(sizes))]
    stretches = chunks._stretches(alike, rows)
    assert [row for part in stretches for row in range(part.start, part.stop)] == [*range(B * len(sizes))]
    assert all((part.stop - part.start) % B == 0 for part in stretches)
    assert all(part.stop - part.start <= max(rows, B) for part in stretches)


def test_many_rows_are_read_in_stretches(monkeypatch):
    monkeypatch.setattr(chunks, "_READ", 6 * 25)
    model, X = model_of(), normal(137, 6, dtype="float32")
    model.inputs = Standardize.learn(X)
    seen, prepare = [], model.prepare
    monkeypatch.setattr(model, "prepare", lambda rows: seen.append(len(rows)) or prepare(rows))
    expected = [model.predict(X, batch_size=10).tobytes() for _ in range(3)]
    assert seen == 3 * [*6 * [20], 10, 7]
    assert len(set(expected)) == 1


def test_many_chunks_are_recorded_at_once():
    model, X = model_of(), normal(100, 6, dtype="float32")
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
            for _ in range(chunks._UNRECORDED + 2):
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
    widest = max(np.prod(shape) for shape in model.network.shapes((6, 6, 2)))
    assert model._rows_of_a_chunk == model.params.device.backend.MOST_ACTIVATIONS // widest == 455
    assert [part.stop - part.start for part in model._chunks(900)] == [450, 450]
    monkeypatch.setattr("mathdl_backends.numpy.MOST_ACTIVATIONS", 1000)
    data, _ = images()
    small = model_of(cnn, (6, 6, 2))
    assert 1000 // widest < small._rows_of_a_chunk == 10  # for the sake of the products
    np.testing.assert_allclose(
        small.predict(data.astype(np.float32)), model.predict(data.astype(np.float32)), rtol=1e-4, atol=1e-6
    )


def test_a_chunk_is_high_enough_for_its_products():
    """256 rows where all is one product: then the weights are brought in for many rows."""
    wide = model_of(lambda: md.Network([md.Dense(1000), md.ReLU(), md.Dense(3), md.Softmax()]), (2000,))
    assert wide._rows_of_a_chunk == 256 * wide.params.vector.size // (2000 * 1000 + 1000 * 3) == 256
