"""Plans: the cut into shards, constants on the device, contexts for layers inside layers."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl import arrays, plan
from mathdl.errors import ShapeError, UsageError
from mathdl.layers.chain import numbered
from mathdl.layers.conv2d import Conv2D
from mathdl.layers.dense import Dense
from mathdl.layers.dropout import Dropout
from mathdl.layers.flatten import Flatten
from mathdl.layers.layer import NOTHING, Layer, same
from mathdl.layers.max_pool import MaxPool2D
from mathdl.layers.relu import ReLU
from mathdl.layers.residual import Residual
from mathdl.plan import constants_on, cut, drawing, make_contexts, make_plan, shard_count
from support import host

CPU, STRICT = arrays.device("cpu"), arrays.device("strict")
CNN = numbered([Conv2D(8, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(10)])


@given(B=st.integers(1, 5000), shards=st.sampled_from([1, 2, 4, 8]))
def test_cut(B, shards):
    cuts = cut(B, shards)
    assert len(cuts) == shards
    assert cuts[0][0] == 0
    assert cuts[-1][1] == B
    assert all(end == first for (_, end), (first, _) in itertools.pairwise(cuts))
    lengths = [end - first for first, end in cuts]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def nominal(S, B, f, e, P):
    if S == 1:
        return B * (f / 400e9 + e / 10e9)
    return B * (f / 100e9 + e / 10e9) / S + S * (0.5e-9 * P + 100e-6)


@given(
    B=st.integers(1, 4096),
    f=st.floats(0, 1e10),
    e=st.floats(0, 1e8),
    P=st.integers(0, 10**9),
    most=st.sampled_from([1, 2, 4]),
)
def test_shard_count_is_the_fastest_at_nominal_figures(B, f, e, P, most):
    S = shard_count(B, f, e, P, most)
    assert S in (1, 2, 4)
    assert min(B, most) >= S
    for other in (1, 2, 4):
        if other <= min(B, most):
            assert nominal(S, B, f, e, P) <= nominal(other, B, f, e, P)
            if other < S:
                assert nominal(S, B, f, e, P) < nominal(other, B, f, e, P)


@pytest.mark.parametrize(
    ("microseconds", "shards"), [(390, 1), (410, 2), (790, 2), (810, 4), (10_000, 4), (10_000_000, 4)]
)
def test_where_one_more_cut_begins_to_pay(microseconds, shards):
    assert shard_count(64, 0.0, microseconds * 1e-6 * 10e9 / 64, 0) == shards


@pytest.mark.parametrize(
    ("layers", "input", "multiply_adds", "values", "parameters"),
    [
        ([Conv2D(8, 3)], (28, 28, 8), 26 * 26 * 8 * 72, 28 * 28 * 8 + 26 * 26 * 8, 72 * 8 + 8),
        ([ReLU(), Residual([Dense(9)])], (9,), 81, 9 * 4, 90),
        ([Residual([Dense(7), Residual([ReLU()])], [Dense(7)])], (9,), 126, 9 + 5 * 7, 140),
    ],
)
def test_a_plan_counts_flops_bytes_and_parameters(layers, input, multiply_adds, values, parameters):
    for B in (*range(1, 200, 7), 10_000, 10**6):
        expected = shard_count(B, 6.0 * multiply_adds, 8.0 * values, parameters)
        made = make_plan(numbered(layers), input, B, "float32", STRICT)
        assert (made.multiply_adds, len(made.cuts)) == (multiply_adds, expected)


def test_measured_cuts():
    mlp = {"flops": 6.0 * 240_000, "bytes": 8.0 * 1200, "parameters": 240_000}
    assert shard_count(64, **mlp) == 1
    cnn = {"flops": 6.0 * 5e6, "bytes": 8.0 * 60_000, "parameters": 400_000}
    assert shard_count(64, **cnn) > 1
    assert shard_count(3, **cnn) <= 2


def test_plan(backend):
    made = make_plan(CNN, (10, 12, 3), 40, "float32", backend)
    assert made.shapes == ((10, 12, 3), (8, 10, 8), (8, 10, 8), (4, 5, 8), (160,), (10,))
    assert (made.B, made.dtype, made.device) == (40, "float32", backend)
    assert made.multiply_adds == 8 * 10 * 8 * 27 + 160 * 10
    assert made.cuts == cut(40, len(made.cuts))
    assert set(made.constants) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("most", [1, 2, 4])
def test_max_shards_of_the_backend(monkeypatch, most):
    monkeypatch.setattr(CPU.backend, "MAX_SHARDS", most)
    big = make_plan(numbered([Conv2D(64, 3)]), (64, 64, 32), 64, "float32", CPU)
    assert len(big.cuts) <= most
    assert most < 4 or len(big.cuts) > 1


def test_the_cut_does_not_depend_on_the_machine(monkeypatch):
    monkeypatch.setattr(CPU.backend, "MAX_SHARDS", 4)

    def cuts(cores):
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        if hasattr(os, "sched_getaffinity"):
            monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
        return [make_plan(CNN, (28, 28, 1), B, "float32", CPU).cuts for B in (1, 7, 32, 64, 256)]

    assert cuts(1) == cuts(2) == cuts(64)
    assert len(cuts(1)[-1]) > 1


def test_a_cpu_without_the_compiled_part_is_cut_as_strict_is(monkeypatch):
    monkeypatch.setattr(CPU.backend, "MAX_SHARDS", 4)
    for B in (1, 5, 64):
        assert (
            make_plan(CNN, (28, 28, 1), B, "float32", CPU).cuts
            == make_plan(CNN, (28, 28, 1), B, "float32", STRICT).cuts
        )


@pytest.mark.parametrize("B", [0, -3])
def test_empty_minibatch(B):
    with pytest.raises(UsageError, match=f"at least one instance, got B = {B}"):
        make_plan(CNN, (10, 12, 3), B, "float32", CPU)


def test_shapes_are_checked():
    with pytest.raises(ShapeError) as caught:
        make_plan(CNN, (10,), 4, "float32", CPU)
    assert caught.value.layer_path == (1,)


# -- constants -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table(Layer):
    """A layer with a constant, that counts how often it is made."""

    made: list
    hashable: bool = True
    trainable: bool = True

    def __hash__(self):
        if not self.hashable:
            raise TypeError("unhashable")
        return id(self.made)

    def forward(self, params, A, context):
        return A, None

    def backward(self, dA, cache, into, input_gradient=True):
        return dA, {}

    def constants(self, input):
        self.made.append(input)
        return {"table": np.arange(input[0])}


def test_constants_are_made_once_for_a_layer_a_shape_and_a_device(backend):
    layer = Table([])
    chain = numbered([layer, ReLU()])
    first = constants_on(chain, (4,), backend)
    assert set(first) == {1, 2}
    assert backend.backend.lives_on(first[1]["table"], backend.handle)
    np.testing.assert_array_equal(host(first[1]["table"]), np.arange(4))
    assert constants_on(chain, (4,), backend)[1]["table"] is first[1]["table"]
    assert make_plan(chain, (4,), 2, "float32", backend).constants[1]["table"] is first[1]["table"]
    assert layer.made == [(4,)]
    assert constants_on(chain, (5,), backend)[1]["table"].shape == (5,)
    assert layer.made == [(4,), (5,)]


def test_each_device_has_its_own_constants():
    chain = numbered([Table([])])
    on_cpu, on_strict = (constants_on(chain, (4,), place)[1]["table"] for place in (CPU, STRICT))
    assert arrays.backend_of(on_cpu).NAME == "numpy"
    assert arrays.backend_of(on_strict).NAME == "strict"


def test_constants_of_a_layer_that_cannot_be_hashed():
    layer = Table([], hashable=False)
    for _ in range(2):
        np.testing.assert_array_equal(constants_on({1: layer}, (3,), CPU)[1]["table"], [0, 1, 2])
    assert len(layer.made) == 2


def test_constants_of_layers_inside(backend):
    chain = numbered([Residual([Table([]), ReLU()])])
    found = constants_on(chain, (3,), backend)
    np.testing.assert_array_equal(host(found[1][1]["table"]), [0, 1, 2])
    assert found[1][2] == {}


# -- contexts ------------------------------------------------------------------------------------------------------

NESTED = numbered([ReLU(), Residual([Dropout(0.5), Residual([Dropout(0.1), ReLU()])])])


def test_drawing():
    assert drawing(NESTED) == [(2, 1), (2, 2, 1)]
    assert drawing(CNN) == []


def total(x):
    return x


def contexts(is_frozen=lambda path: False, **fields):
    constants = {1: {"t": "c1"}, 2: {1: {"t": "c2.1"}, 2: {1: {"t": "c2.2.1"}, 2: {}}}}
    state = {1: {}, 2: {1: {}, 2: {1: {}, 2: {"mean": "s2.2.2"}}}}
    keys = {(2, 1): "k2.1", (2, 2, 1): "k2.2.1"}
    return make_contexts(
        NESTED, constants, state, training=True, instances=9, first=4, keys=keys, total=total, is_frozen=is_frozen
    )


def everywhere(found):
    for context in found.values():
        yield context
        yield from everywhere(context.inner)


def test_contexts_nest():
    found = contexts()
    assert [(c.training, c.instances, c.first, c.total) for c in everywhere(found)] == [(True, 9, 4, total)] * 6
    assert found[1].constants == {"t": "c1"}
    assert found[2].inner[1].constants == {"t": "c2.1"}
    assert found[2].inner[2].inner[1].constants == {"t": "c2.2.1"}
    assert found[2].inner[2].inner[2].state == {"mean": "s2.2.2"}
    assert (found[1].key, found[2].key) == (None, None)
    assert (found[2].inner[1].key, found[2].inner[2].inner[1].key) == ("k2.1", "k2.2.1")


def test_a_frozen_layer_runs_as_when_predicting():
    found = contexts(is_frozen=lambda path: path[:2] == (2, 2))
    assert found[1].training
    assert found[2].training
    assert found[2].inner[1].training
    assert not found[2].inner[2].training
    assert not found[2].inner[2].inner[1].training
    assert not found[2].inner[2].inner[2].training


def test_contexts_for_predicting():
    found = make_contexts(NESTED, NOTHING, NOTHING)
    assert {(c.training, c.instances, c.first, c.total, c.key) for c in everywhere(found)} == {
        (False, 0, 0, same, None)
    }
    assert plan.make_contexts({}, {}, {}) == {}
