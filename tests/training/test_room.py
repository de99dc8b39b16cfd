"""Where a step does not fit, the error names a batch size that does; what was learnt is left alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mathdl as md
from mathdl.errors import OutOfMemoryError
from mathdl.training.step import Step
from support import host, normal

X, Y = normal(100, 5, dtype="float32"), np.arange(100) % 3


@pytest.fixture
def room(monkeypatch):
    """Steps on more than `room.most` instances run out of memory."""

    class Room:
        most = 20

    gradient = Step._gradient

    def limited(step, shard):
        if Room.most < step.plan.B:
            raise OutOfMemoryError("pretended: no memory left")
        return gradient(step, shard)

    monkeypatch.setattr(Step, "_gradient", limited)
    return Room


def trainer(backend, **options):
    network = md.Network([md.Dense(4), md.BatchNorm(), md.ReLU(), md.Dropout(0.5), md.Dense(3), md.Softmax()])
    return md.Trainer(network, optimizer="adam", device=backend.name, **options)


def named(error):
    return int(re.search(r"set batch_size=(\d+)$", str(error.value))[1])


@pytest.mark.parametrize(("most", "batch_size", "expected"), [(20, 64, 20), (99, 4096, 93), (1, 64, 1), (7, 8, 7)])
def test_the_largest_size_that_fits_is_named(backend, room, most, batch_size, expected):
    room.most = most
    with pytest.raises(OutOfMemoryError, match=r"^pretended: no memory left\. a step on \d+ instances") as error:
        trainer(backend, batch_size=batch_size).fit(X, Y, verbose=False)
    assert named(error) <= most
    assert named(error) == expected


def test_nothing_fits(backend, room):
    room.most = 0
    with pytest.raises(OutOfMemoryError, match="not even a step on one instance fits"):
        trainer(backend, batch_size=64).fit(X, Y, verbose=False)


def test_a_step_that_fits_by_itself(backend, room, monkeypatch):
    """Memory ran out elsewhere."""

    def fails(*_):
        raise OutOfMemoryError("pretended: none for the epoch's end")

    monkeypatch.setattr(md.Trainer, "_end_epoch", fails)
    with pytest.raises(OutOfMemoryError, match="a step on 16 instances fits by itself"):
        trainer(backend, batch_size=16).fit(X, Y, verbose=False)


def test_what_was_learnt_is_left_alone_and_training_goes_on(backend, room):
    def learnt(t):
        slots = [] if t.slots is None else [t.slots.vector]
        return [host(A).copy() for A in (t.params.vector, t.params.state.vector, *slots)]

    running, other = trainer(backend, batch_size=16), trainer(backend, batch_size=16)
    running.fit(X, Y, verbose=False)
    before = learnt(running)
    running.batch_size = 64
    with pytest.raises(OutOfMemoryError) as error:
        running.fit(X, Y, verbose=False)
    for a, b in zip(learnt(running), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (running.epoch, running.m, len(running.history)) == (1, 0, 1)
    other.fit(X, Y, verbose=False)
    for each in (running, other):
        each.batch_size = named(error)
        each.fit(X, Y, epochs=2, verbose=False)
    for a, b in zip(learnt(running), learnt(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_data_that_do_not_fit_are_streamed(backend, monkeypatch):
    """The same bits as with all of them on the device."""
    whole, streamed = trainer(backend, batch_size=16), trainer(backend, batch_size=16)
    whole.fit(X, Y, epochs=2, verbose=False)

    def no_room(*_):
        raise OutOfMemoryError("pretended: no room for the data")

    monkeypatch.setattr(md.training.model.Model, "_in_memory", no_room)
    streamed.fit(X, Y, epochs=2, verbose=False)
    np.testing.assert_array_equal(host(streamed.params.vector), host(whole.params.vector))
    assert streamed.history[-1]["loss"] == whole.history[-1]["loss"]
