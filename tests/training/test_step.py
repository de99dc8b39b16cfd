"""One step: its buffers stay where they are, what it learns, the tables of an epoch, a J that is not finite."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest

import mathdl as md
from mathdl.arrays import Vector
from mathdl.data.source import InMemory
from mathdl.network import Network
from mathdl.objective import Objective
from mathdl.random import fold_many
from mathdl.training.step import Penalty, Segment, Step, coefficient_count, epoch_table, penalties, penalty, segments
from support import assert_close, host, normal
from trainings import Unasked, cnn, cut_into, mlp, vectors

X, Y = vectors(12)


@contextmanager
def step_for(net, device, optimizer=None, dtype="float64", weights=None, X=X, metrics=True, M=1):
    """(step, params) of a minibatch that is all of the data."""
    optimizer = md.SGD(0.5) if optimizer is None else optimizer
    params = net.initialize(X.shape[1:], device=device.name, dtype=dtype)
    objective = Objective(net, md.CategoricalCrossEntropy())
    slots = Vector(
        {name: tuple(params.vector.shape) for name in optimizer.slots},
        device.namespace, params.vector.dtype, device.handle,
    )  # fmt: skip
    w = None if weights is None else device.put(weights, dtype)
    source = InMemory(device.put(X, dtype), device.put(Y), w, device)
    plan = net.plan(X.shape[1:], len(X), dtype, device.name)
    figures = objective.metrics() if metrics else {}
    with Step(objective, params, optimizer, slots, plan, source.minibatch(len(X), M), figures, M=M) as step:
        yield step, params


def load(step, total=12.0, rows=None):
    step.begin(epoch_table(step, [total], [0.5], 0, seed=0, epoch=0), [np.arange(12) if rows is None else rows])


@pytest.mark.parametrize("build", [mlp, cnn])
@pytest.mark.parametrize("shards", [1, 4])
def test_nothing_that_is_kept_moves(monkeypatch, backend, build, shards):
    """θ, state, slots, gradients, figures and what is read are the same arrays after a step: it could be replayed."""
    cut_into(monkeypatch, shards)
    data = X if build is mlp else normal(12, 6, 6, 2)
    with step_for(build(), backend, md.Adam(0.01), X=data) as (step, params):

        def kept():
            gradients = [gradient.vector for gradient in step.gradients]
            own = [step.figures, step.J, step.coefficients, step.total, step.keys, step.cursor, *step.table]
            return [params.vector, params.state.vector, *step.slots.values(), *gradients, *own]

        before = kept()
        assert len(step.gradients) == shards
        theta = host(params.vector).copy()
        for _ in range(2):
            load(step)
            assert step.run(0) == 1
        assert all(a is b for a, b in zip(before, kept(), strict=True))
        assert not np.array_equal(theta, host(params.vector))
        assert_close(step.figures[0:1], host(step.J))


def test_figures_and_update(backend):
    """J, the accuracy and θ − η ∂J/∂θ against the public functions."""
    net, loss, w = md.Network([md.Dense(3), md.Softmax()]), md.CategoricalCrossEntropy(), np.linspace(0, 2, 12)
    with step_for(net, backend, weights=w) as (step, params):
        before = params.copy()
        A, tape = net.forward(before, X)
        J, cache = loss.forward(A, backend.put(Y), backend.put(w))
        _, grads = net.backward(loss.backward(cache), tape)
        load(step, total=float(w.sum()))
        step.run(0)
        accuracy = np.average(host(A).argmax(axis=1) == Y, weights=w)
        assert_close(step.figures, [float(host(J)), accuracy])
        assert_close(params.vector, host(before.vector) - 0.5 * host(grads.vector))


def test_rows_are_taken_as_they_are_loaded(backend):
    net = md.Network([md.Dense(3), md.Softmax()])
    with step_for(net, backend) as (step, params):
        params.assign({"W[1]": np.zeros((6, 3)), "b[1]": np.log([0.7, 0.2, 0.1])})
        rows = np.full(12, int(np.flatnonzero(Y == 2)[0]))
        load(step, rows=rows)
        step.run(0)
        assert_close(step.J, [-np.log(0.1)])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_J_that_is_not_finite_changes_nothing(monkeypatch, backend, shards):
    cut_into(monkeypatch, shards)
    with step_for(mlp(), backend, md.Adam(0.01, clip_norm=1.0)) as (step, params):
        load(step)
        step.run(0)
        params["W[1]"][0, 0] = np.nan
        before = [host(v).tobytes() for v in (params.vector, params.state.vector, *step.slots.values())]
        load(step)
        assert step.run(0) == 0
        assert [host(v).tobytes() for v in (params.vector, params.state.vector, *step.slots.values())] == before
        assert np.isnan(host(step.J)[0])


def test_a_frozen_state_is_not_committed(backend):
    net = md.Network([md.Dense(3), md.BatchNorm(), md.Residual([md.BatchNorm(), md.BatchNorm()]), md.Softmax()])
    net.freeze("3.1")
    with step_for(net, backend) as (step, params):
        before = params.copy().state
        load(step)
        step.run(0)
        moved = {name for name in before if not np.array_equal(host(before[name]), host(params.state[name]))}
        assert moved == {f"{name}[{l}]" for name in ("mean", "variance") for l in ("2", "3.2")}


def test_a_frozen_batch_norm_has_the_statistics_of_its_state(backend):
    net = md.Network([md.BatchNorm(), md.Dense(3), md.Softmax()])
    net.freeze(1)
    with step_for(net, backend) as (step, params):
        A, _ = net.forward(params, X, training=False)
        J, _ = md.CategoricalCrossEntropy().forward(A, backend.put(Y))
        load(step)
        step.run(0)
        assert_close(step.J, [float(host(J))])


@pytest.mark.parametrize("layers", [[Unasked()], [md.Dense(6, trainable=False), Unasked()]])
def test_nothing_below_the_first_layer_that_learns_is_asked_for(backend, layers):
    with step_for(md.Network([*layers, md.Dense(3), md.Softmax()]), backend) as (step, _):
        load(step)
        assert step.run(0) == 1


def test_penalties_come_before_clipping(backend):
    net = md.Network([md.Dense(3, l2=1e3), md.Softmax()])
    with step_for(net, backend, md.SGD(1.0, clip_norm=0.5)) as (step, params):
        before = host(params.vector).copy()
        step.begin(epoch_table(step, [12.0], [1.0], 0, 0, 0), [np.arange(12)])
        step.run(0)
        assert_close(np.linalg.norm(host(params.vector) - before), 0.5)


def test_gradients_are_shared_between_steps_of_two_sizes(monkeypatch):
    cut_into(monkeypatch, 2)
    net = mlp()
    params, objective = net.initialize((6,)), Objective(net, md.CategoricalCrossEntropy())
    source = InMemory(X, Y, None, params.device)
    whole = Step(objective, params, md.SGD(0.1), {}, net.plan((6,), 8), source.minibatch(8), {})
    monkeypatch.undo()
    cut_into(monkeypatch, 4)
    short = Step(objective, params, md.SGD(0.1), {}, net.plan((6,), 4), source.minibatch(4), {}, None, whole.gradients)
    assert [a is b for a, b in zip(whole.gradients, short.gradients[:2], strict=True)] == [True, True]
    assert len(short.gradients) == 4


def test_segments():
    net = md.Network([md.Dense(2), md.BatchNorm(), md.Dense(3), md.Dense(4)])
    params = net.initialize((5,))
    weights = sum(params[name].size for name in params if name.startswith("W"))
    n = params.vector.size
    assert segments(net, params, decays=False) == [Segment(slice(0, n), False)]
    assert segments(net, params, decays=True) == [Segment(slice(0, weights), True), Segment(slice(weights, n), False)]
    net.freeze(3)
    found = segments(net, params, decays=False)
    learnt = np.zeros(n, dtype=bool)
    for where, decay in found:
        learnt[where] = True
        assert not decay
    for name, where in params.slices.items():
        assert (learnt[where] == ("[3]" not in name)).all()
    assert len(found) == 3


def test_penalties():
    net = md.Network(
        [md.Dense(2, l1=0.5), md.Residual([md.Dense(2, l2=2.0)]), md.Dense(2), md.Dense(2, l1=1.0, trainable=False)]
    )
    params = net.initialize((2,), dtype="float64")
    assert penalties(net, params) == [Penalty("W[1]", 0.5, 0.0), Penalty("W[2.1]", 0.0, 2.0)]
    params.assign({"W[1]": [[1.0, -2.0], [0.0, 3.0]], "W[2.1]": [[1.0, 2.0], [0.0, -1.0]], "b[1]": [9.0, 9.0]})
    assert penalty(net, params) == 0.5 * 6 + 6.0
    assert penalty(md.Network([md.Dense(1)]), Network([md.Dense(1)]).initialize((2,))) == 0.0


def test_the_table_of_an_epoch(backend):
    net = md.Network([md.Dropout(0.5), md.Residual([md.Dense(6), md.Dropout(0.5)]), md.Dense(3), md.Softmax()])
    optimizer = md.Adam(0.1)
    with step_for(net, backend, optimizer, M=3) as (step, _):
        table = epoch_table(step, [12.0, 5.0, 1.0], [0.1, 0.2, 0.3], first_step=40, seed=3, epoch=7)
        assert host(table.coefficients)[:, 0].tolist() == [12.0, 5.0, 1.0]
        for m, rate in enumerate([0.1, 0.2, 0.3]):
            assert_close(table.coefficients[m, 1:], optimizer.coefficients(41 + m, rate))
        for j, path in enumerate([(1,), (2, 2)]):
            np.testing.assert_array_equal(host(table.keys)[:, j], fold_many(3, "dropout", path, 7, [0, 1, 2]))
        assert host(table.figures).tolist() == [[0.0, 0.0]] * 3
        step.begin(table, [np.arange(12)] * 3)
        assert step.run(1, 2) == 2
        assert_close(step.coefficients, host(table.coefficients)[2])
        np.testing.assert_array_equal(host(step.drawn_keys()[2, 2]), host(table.keys)[2, 1])
        figures = host(step.table.figures)
        assert_close(figures[2], host(step.figures))
        assert figures[0].tolist() == [0.0, 0.0] != figures[1].tolist()
        assert host(step.cursor).tolist() == [3]


@pytest.mark.parametrize(("optimizer", "count"), [(md.SGD(0.1), 1), (md.Adam(0.1), 3), (md.RMSprop(0.1), 1)])
def test_coefficient_count(optimizer, count):
    assert coefficient_count(optimizer) == count
