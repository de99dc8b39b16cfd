"""BatchNorm: values and gradients in both modes, shards, the state, float32 far from 0, wide rows, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.errors import ShapeError, UsageError
from mathdl.layers.batch_norm import BatchNorm, BatchNormCache, across, channel_sums, wide
from mathdl.theory import definitions
from support import assert_close, check_layer_gradient, context_for, host, normal, put_tree, run_layer

SHAPES = st.sampled_from([(1,), (3,), (5, 2), (2, 3, 4)])


def parameters(k):
    return {"gamma": 1 + 0.3 * normal(k, seed=1), "beta": normal(k, seed=2)}


def state_of(backend, k, dtype="float64"):
    state = {"mean": normal(k, seed=3, dtype=dtype), "variance": np.exp(normal(k, seed=4, dtype=dtype))}
    return put_tree(state, backend)


def rows(X):
    return X.reshape(-1, X.shape[-1]).tolist()


def lists(params):
    return params["gamma"].tolist(), params["beta"].tolist()


@given(B=st.integers(2, 5), shape=SHAPES)
def test_training(backend, B, shape):
    X, params = 3 + 2 * normal(B, *shape), parameters(shape[-1])
    A, _, _ = run_layer(BatchNorm(), params, X, backend, training=True)
    expected = definitions.batch_norm(rows(X), *lists(params), 1e-5)
    assert_close(A, np.reshape(expected, X.shape), rtol=1e-10, atol=1e-12)
    if X[..., 0].size > 2:  # two entries are always ±1: a function with nothing to differentiate
        check_layer_gradient(BatchNorm(epsilon=0.01), params, X, backend, training=True)


@given(B=st.integers(1, 4), shape=SHAPES)
def test_inference(backend, B, shape):
    X, params, state = normal(B, *shape), parameters(shape[-1]), state_of(backend, shape[-1])
    A, _, _ = run_layer(BatchNorm(), params, X, backend, state=state)
    mean, variance = host(state["mean"]).tolist(), host(state["variance"]).tolist()
    expected = definitions.batch_norm_inference(rows(X), *lists(params), mean, variance, 1e-5)
    assert_close(A, np.reshape(expected, X.shape))
    check_layer_gradient(BatchNorm(), params, X, backend, state=state)


def test_inference_sums_over_nothing(backend):
    def total(x):
        raise AssertionError("the statistics are constants")

    run_layer(BatchNorm(), parameters(2), normal(3, 2), backend, dA=normal(3, 2), total=total)


def test_one_instance_of_one_pixel_is_beta(backend):
    params = parameters(3)
    A, dX, _ = run_layer(BatchNorm(), params, normal(1, 3), backend, dA=normal(1, 3, seed=1), training=True)
    assert_close(A, params["beta"][np.newaxis])
    assert_close(dX, np.zeros((1, 3)))


class Meeting:
    """Σ over two shards that run in two threads, in the order of the shards."""

    def __init__(self):
        self.parts, self.barrier, self.calls = [None, None], Barrier(2, timeout=60), [0, 0]

    def total(self, shard):
        def add(x):
            self.calls[shard] += 1
            self.parts[shard] = x
            self.barrier.wait()
            x = self.parts[0] + self.parts[1]
            self.barrier.wait()
            return x

        return add


@given(cut=st.integers(1, 5), shape=SHAPES)
def test_two_shards_are_the_whole_minibatch(backend, cut, shape):
    X, R, params = normal(6, *shape), normal(6, *shape, seed=1), parameters(shape[-1])
    A, dX, grads = run_layer(BatchNorm(), params, X, backend, dA=R, training=True)
    meeting, cuts = Meeting(), (slice(0, cut), slice(cut, 6))

    def run(shard):
        part = cuts[shard]
        fields = {"training": True, "instances": 6, "first": part.start, "total": meeting.total(shard)}
        context = context_for(BatchNorm(), shape, backend, **fields)
        out, cache = BatchNorm().forward(put_tree(params, backend), backend.put(X[part]), context)
        dX, grads = BatchNorm().backward(backend.put(R[part].copy()), cache)
        state = BatchNorm().new_state(context.state, cache)
        return host(out), host(dX), {k: host(g) for k, g in grads.items()}, {k: host(v) for k, v in state.items()}

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, (0, 1))
    assert_close(np.concatenate([first[0], second[0]]), A, rtol=1e-9, atol=1e-10)
    assert_close(np.concatenate([first[1], second[1]]), dX, rtol=1e-7, atol=1e-8)
    for name in grads:
        assert_close(first[2][name] + second[2][name], grads[name], rtol=1e-9, atol=1e-10)
        assert_close(first[3]["mean"], second[3]["mean"], rtol=0, atol=0)
    assert meeting.calls == [4, 4]  # the mean, the variance, and both sums of backward


@given(B=st.integers(2, 4), shape=SHAPES)
def test_new_state(backend, B, shape):
    X, state, layer = normal(B, *shape), state_of(backend, shape[-1]), BatchNorm(momentum=0.8)
    context = context_for(layer, shape, backend, training=True, instances=B, state=state)
    _, cache = layer.forward(put_tree(parameters(shape[-1]), backend), backend.put(X), context)
    new = layer.new_state(state, cache)
    count = X[..., 0].size
    unbiased = np.array(definitions.feature_variances(rows(X))) * count / (count - 1)
    old = {name: host(value).tolist() for name, value in state.items()}
    assert_close(new["mean"], definitions.batch_norm_running(old["mean"], definitions.feature_means(rows(X)), 0.8))
    assert_close(new["variance"], definitions.batch_norm_running(old["variance"], unbiased.tolist(), 0.8))
    assert_close(state["mean"], old["mean"], rtol=0, atol=0)  # forward and new_state read the state, the step writes it


def test_one_entry_leaves_the_variance_of_the_state(backend):
    layer, state = BatchNorm(momentum=0.8), state_of(backend, 3)
    context = context_for(layer, (3,), backend, training=True, instances=1, state=state)
    X = normal(1, 3)
    _, cache = layer.forward(put_tree(parameters(3), backend), backend.put(X), context)
    new = layer.new_state(state, cache)
    assert_close(new["mean"], 0.8 * host(state["mean"]) + 0.2 * X[0])
    assert_close(new["variance"], host(state["variance"]), rtol=0, atol=0)


def test_float32_far_from_zero_keeps_its_variance(backend):
    X = (1e4 + normal(10_000, 3)).astype("float32")
    params = {"gamma": np.ones(3, dtype="float32"), "beta": np.zeros(3, dtype="float32")}
    context = context_for(BatchNorm(), (3,), backend, training=True, instances=10_000)
    _, cache = BatchNorm().forward(put_tree(params, backend), backend.put(X), context)
    assert_close(cache.variance, X.astype("float64").var(axis=0), rtol=1e-3)
    assert_close(cache.mean, X.astype("float64").mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_float32_stays_float32(backend, training):
    X, R = normal(4, 3, dtype="float32"), normal(4, 3, seed=1, dtype="float32")
    params = {name: value.astype("float32") for name, value in parameters(3).items()}
    fields = {"training": training, "state": state_of(backend, 3, "float32")}
    A, dX, grads = run_layer(BatchNorm(), params, X, backend, dA=R, **fields)
    assert {A.dtype, dX.dtype, grads["gamma"].dtype, grads["beta"].dtype} == {np.dtype("float32")}
    context = context_for(BatchNorm(), (3,), backend, instances=4, **fields)
    _, cache = BatchNorm().forward(put_tree(params, backend), backend.put(X), context)
    assert {host(v).dtype for v in BatchNorm().new_state(context.state, cache).values()} == {np.dtype("float32")}


@given(B=st.integers(1, 4), p=st.sampled_from([1, 3, 8, 16]), k=st.sampled_from([1, 3, 8, 100, 600]))
def test_wide_rows_hold_whole_pixels(backend, B, p, k):
    A, v = normal(B, p, k), normal(k, seed=1)
    X = wide(backend.put(A))
    assert X.shape[1] % k == 0
    assert X.shape[1] <= max(512, k)
    assert_close(host(X * across(backend.put(v), X)).reshape(A.shape), A * v)
    assert_close(channel_sums(X, k), A.sum(axis=(0, 1)))


def test_rows_of_narrow_channels_become_wide():
    assert wide(normal(32, 28, 28, 32)).shape[1] == 512


def test_cache_is_the_centred_input_and_rows_of_channels(backend):
    X = backend.put(normal(4, 2, 3))
    context = context_for(BatchNorm(), (2, 3), backend, training=True, instances=4)
    _, cache = BatchNorm().forward(put_tree(parameters(3), backend), X, context)
    assert isinstance(cache, BatchNormCache)
    assert BatchNormCache._fields == ("C", "gamma", "scale", "mean", "variance", "entries", "total")
    assert cache.C.shape[0] * cache.C.shape[1] == 24
    assert cache.gamma.shape == cache.scale.shape == cache.mean.shape == cache.variance.shape == (3,)
    assert cache.entries == 8


def test_shapes_states_and_initial_values():
    layer = BatchNorm()
    assert layer.couples_instances
    assert layer.shapes((4, 3)) == ((4, 3), {"gamma": (3,), "beta": (3,)})
    assert layer.states((4, 3)) == {"mean": ((3,), 0.0), "variance": ((3,), 1.0)}
    initial = {name: make((3,), (3, 3), (0, 0)).tolist() for name, make in layer.initializers().items()}
    assert initial == {"gamma": [1, 1, 1], "beta": [0, 0, 0]}


def test_an_instance_needs_an_axis():
    with pytest.raises(ShapeError, match=r"BatchNorm: .*Reshape.*\(…, k\) = \(\)"):
        BatchNorm().shapes(())


@pytest.mark.parametrize("options", [{"momentum": 1}, {"momentum": -0.1}, {"epsilon": 0}, {"epsilon": np.inf}])
def test_momentum_and_epsilon_have_a_range(options):
    with pytest.raises(UsageError, match=rf"BatchNorm: {next(iter(options))} must"):
        BatchNorm(**options)
