"""The door to arrays: namespaces by type, devices by name, moving between them, flat vectors with named views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mathdl_backends
from mathdl import arrays
from mathdl.arrays import (
    Vector,
    as_array,
    backend_of,
    concatenated,
    device,
    device_of,
    flatten_tree,
    is_array,
    like,
    namespace,
    to_host,
)
from mathdl.errors import DataError, DeviceError, UnknownNameError
from support import host, normal

CPU, STRICT = device("cpu"), device("strict")


class Mine(np.ndarray):
    """A subclass from outside of NumPy."""


def test_namespace_is_that_of_the_backend(backend):
    A = backend.put(np.zeros(3))
    assert namespace(A) is backend.namespace is backend_of(A).namespace
    assert backend_of(A) is backend.backend


def test_namespace_of_a_subclass():
    assert namespace(np.zeros(2).view(Mine)) is CPU.namespace


@pytest.mark.parametrize("thing", [[1.0], 1.0, "A", None, {"W": 1}], ids=repr)
def test_what_is_no_array(thing):
    assert not is_array(thing)
    with pytest.raises(
        DeviceError, match=rf"not an array of any backend: builtins\.{type(thing).__name__}\. Expected .*num"
    ):
        namespace(thing)
    with pytest.raises(DeviceError):
        CPU.put(thing)


def test_is_array(backend):
    assert is_array(backend.put(np.zeros(2)))
    assert is_array(np.zeros(2).view(Mine))


def test_backends_by_name():
    assert {name: arrays.backend(name).NAME for name in mathdl_backends.MODULES} == {
        name: name for name in mathdl_backends.MODULES
    }
    with pytest.raises(UnknownNameError, match=r"unknown backend 'numpi'. Did you mean 'numpy'\?"):
        arrays.backend("numpi")


def test_like(backend):
    A = backend.put(np.zeros(2, dtype=np.float32))
    B = backend.namespace.ones((3,), **like(A))
    assert (B.dtype, B.device) == (A.dtype, A.device)


@pytest.mark.parametrize("name", ["cpu", "strict"])
def test_devices_by_name(name):
    found = device(name)
    assert found.name == name
    assert mathdl_backends.DEVICES[name] == found.backend.NAME
    A = found.put(np.zeros(2))
    assert found.backend.lives_on(A, found.handle)
    assert device_of(A) == found
    with found.active():
        pass


@pytest.mark.parametrize(
    "name", ["cpu:0", "cpu:", "strict:1", "cuda:", "cuda:x", "cuda:-1", "cuda:1.0", "cuda:²", "cuda:٣"]
)
def test_device_names_that_make_no_sense(name):
    with pytest.raises(DeviceError, match=rf"device '{name}': expected 'cpu', 'cuda' or 'cuda:k'"):
        device(name)


def test_a_device_is_a_name():
    with pytest.raises(UnknownNameError, match="unknown device 0"):
        arrays.device(0)


def test_unknown_device():
    known = ", ".join(sorted([*mathdl_backends.DEVICES, "auto"]))
    with pytest.raises(UnknownNameError, match=rf"unknown device 'cpuu'. Did you mean 'cpu'\? Known: {known}"):
        device("cpuu")


@pytest.mark.parametrize(("reason", "kind"), [(None, "cuda"), ("no driver", "cpu")])
def test_auto_takes_cuda_if_it_is_usable(monkeypatch, reason, kind):
    cupy = arrays.backend("cupy")
    monkeypatch.setattr(cupy, "why_unusable", lambda: reason)
    monkeypatch.setattr(cupy, "device", lambda index: f"handle {index}")
    found = device("auto", np.zeros(2))
    assert (found.name, found.handle) == {"cuda": ("cuda", "handle 0"), "cpu": ("cpu", "cpu")}[kind]


def test_put_does_not_copy_without_need(backend):
    A = backend.put(normal(3))
    assert backend.put(A) is A
    xp = backend.namespace
    assert backend.put(A, "float64") is A
    cast = backend.put(A, "float32")
    assert cast.dtype == xp.float32
    assert A.dtype == xp.float64


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "int64"])
@pytest.mark.parametrize("source", [CPU, STRICT], ids=["from-cpu", "from-strict"])
def test_put_between_devices(backend, source, dtype):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    A = backend.put(source.put(values), dtype)
    assert backend_of(A) is backend.backend
    assert backend.backend.lives_on(A, backend.handle)
    assert host(A).dtype == np.dtype(dtype or "float32")
    np.testing.assert_array_equal(to_host(A), values)


def test_put_of_a_type_that_is_met_for_the_first_time(backend):
    class New(np.ndarray):
        pass

    A = backend.put(normal(3).view(New), "float32")
    assert backend_of(A) is backend.backend
    assert host(A).dtype == np.float32


def test_put_on_strict_shares_no_memory():
    values = normal(3)
    A = STRICT.put(values)
    A[0] = 7.0
    assert values[0] != 7.0


# -- vectors -------------------------------------------------------------------------------------------------------

SHAPES = {
    1: {"W": (2, 3), "b": (3,)},
    2: {},
    3: {1: {"gamma": (3,), "beta": (3,)}, 2: {"W": (3, 1, 2)}, 4: {}},
    5: {"b": ()},
}
NAMES = ["W[1]", "W[3.2]", "b[1]", "gamma[3.1]", "beta[3.1]", "b[5]"]


def vector(backend, shapes=SHAPES):
    xp = backend.namespace
    return Vector(shapes, xp, xp.float32, backend.handle)


def test_weights_lie_first_then_the_rest_by_layer(backend):
    params = vector(backend)
    assert list(params) == list(params.shapes) == NAMES
    assert len(params) == len(NAMES)
    assert [(params.slices[name].start, params.slices[name].stop) for name in NAMES] == [
        *((0, 6), (6, 12)),
        *((12, 15), (15, 18), (18, 21), (21, 22)),
    ]
    assert params.vector.shape == (22,)
    assert params.vector.dtype == backend.namespace.float32
    assert backend.backend.lives_on(params.vector, backend.handle)
    assert not np.any(host(params.vector))


def test_views_are_views_both_ways(backend):
    params = vector(backend)
    params.vector += 2.0
    assert all(np.all(host(params[name]) == 2.0) for name in params)
    for position, name in enumerate(params):
        view = params[name]
        view[...] = float(position)
    for position, name in enumerate(params):
        assert np.all(host(params.vector[params.slices[name]]) == position)
        assert params[name].shape == params.shapes[name]


def test_tree_holds_the_same_views(backend):
    params = vector(backend)
    assert set(params.tree) == set(SHAPES)
    assert params.tree[2] == {}
    assert params.tree[3][4] == {}
    assert params.tree[1]["W"] is params["W[1]"]
    assert params.tree[3][1]["gamma"] is params["gamma[3.1]"]
    assert params.tree[3][2]["W"] is params["W[3.2]"]


def test_unknown_parameter(backend):
    params = vector(backend)
    assert "W[1]" in params
    assert "W[2]" not in params
    assert params.get("W[2]") is None
    with pytest.raises(UnknownNameError, match=r"unknown parameter 'w\[3.2\]'. Did you mean 'W\[3.2\]'\?"):
        params["w[3.2]"]


def test_an_empty_vector(backend):
    params = vector(backend, {1: {}, 2: {1: {}}})
    assert params.vector.shape == (0,)
    assert list(params) == []
    assert params.tree == {1: {}, 2: {1: {}}}


trees = st.recursive(
    st.dictionaries(
        st.sampled_from(["W", "b", "gamma"]), st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=3
    ),
    lambda inner: st.dictionaries(st.integers(1, 9), inner, max_size=3),
    max_leaves=6,
)


@given(tree=st.dictionaries(st.integers(1, 9), trees, max_size=4))
def test_any_tree(tree):
    flat = flatten_tree(tree)
    params = vector(CPU, tree)
    assert dict(params.shapes) == flat
    params.vector[...] = np.arange(len(params.vector))
    seen = [x for name in params for x in np.ravel(params[name])]
    assert seen == list(range(len(params.vector)))
    assert flatten_tree(params.tree).keys() == flat.keys()


def test_flatten_tree():
    assert flatten_tree({3: {1: {"W": 1}, 12: {"b": 2}}, 4: {"W": 3}}) == {"W[3.1]": 1, "b[3.12]": 2, "W[4]": 3}
    assert flatten_tree({"W": 1}) == {"W": 1}


# -- from lists and from parts ----------------------------------------------------------------------------------------


def test_as_array(backend):
    A = backend.put(normal(3))
    assert as_array(A) is A
    np.testing.assert_array_equal(as_array([[1, 2], [3, 4]]), [[1, 2], [3, 4]])


@pytest.mark.parametrize("value", ["text", [1.0, None], [[1, 2], [3]], 1j])
def test_what_is_no_array_of_numbers(value):
    with pytest.raises(DataError, match=f"expected numbers, got a {type(value).__name__}"):
        as_array(value)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_concatenated(backend, count):
    values = [normal(k % 3, 2) for k in range(1, count + 1)]
    whole = concatenated([backend.put(part) for part in values])
    assert backend.backend.lives_on(whole, backend.handle)
    np.testing.assert_array_equal(host(whole), np.concatenate(values))
