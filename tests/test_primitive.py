"""Primitives: the body is the reference; a kernel runs where it takes the arguments, and `explain` says which."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest

import mathdl
import mathdl_backends
from mathdl import arrays, primitive
from mathdl.primitive import PRIMITIVES, Kernel, pointwise, reference_only
from support import assert_close, host, normal


class FakeArray:
    """An array of a backend that is made for these tests."""

    __module__ = "fakearrays.core"

    def __init__(self, value):
        self.value = value


@pytest.fixture
def fake(monkeypatch):
    """A backend whose kernels are set by the test, before the first call."""
    module = ModuleType("mathdl_backends.fake")
    module.NAME, module.namespace = "fake", ModuleType("fake namespace")
    module.table, module.fused = {}, []
    module.kernels = lambda: module.table
    module.fuse = lambda p: module.fused.append(p.name)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(mathdl_backends.MODULES, "fake", module.__name__)
    monkeypatch.setitem(mathdl_backends.ARRAYS_FROM, "fakearrays", "fake")
    yield module
    arrays._backend_of.pop(FakeArray, None)
    arrays._namespace_of.pop(FakeArray, None)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(primitive, "PRIMITIVES", dict(PRIMITIVES))


def twice(A, factor=2, *, note=""):
    """The double."""
    return f"reference {A.value * factor}{note}"


def kernel_twice(A, factor=2, *, note=""):
    return f"kernel {A.value * factor}{note}"


A = FakeArray(3)


def test_without_a_kernel_the_body_runs(fake):
    p = primitive.primitive(twice)
    assert p(A) == "reference 6"
    assert p(A, 3, note="!") == "reference 9!"
    assert p.explain(A) == "reference: fake has no kernel for twice"
    assert fake.fused == []


def test_a_kernel_runs_with_the_same_arguments(fake):
    fake.table["twice"] = Kernel(kernel_twice)
    p = primitive.primitive(twice)
    assert p(A) == "kernel 6"
    assert p(A, 3, note="!") == "kernel 9!"
    assert p.reference(A, 3) == "reference 9"
    assert p.explain(A) == "fake kernel"


def test_a_kernel_that_declines(fake):
    asked = []

    def supports(A, factor=2, *, note=""):
        asked.append((A.value, factor, note))
        return "only even factors" if factor % 2 else None

    fake.table["twice"] = Kernel(kernel_twice, supports)
    p = primitive.primitive(twice)
    assert p(A, 3, note="!") == "reference 9!"
    assert asked == [(3, 3, "!")]
    assert p(A, 4) == "kernel 12"
    assert p.explain(A, 3) == "reference: fake declined, only even factors"
    assert p.explain(A, 4) == "fake kernel"


def test_explain_tells_what_call_does_even_for_an_empty_reason(fake):
    fake.table["twice"] = Kernel(kernel_twice, lambda A: "")
    p = primitive.primitive(twice)
    assert p(A) == "reference 6"
    assert p.explain(A).startswith("reference: fake declined")


def test_a_kernel_that_promised_and_fails_is_not_covered_up(fake):
    def broken(A):
        raise ZeroDivisionError("in the kernel")

    fake.table["twice"] = Kernel(broken, lambda A: None)
    with pytest.raises(ZeroDivisionError, match="in the kernel"):
        primitive.primitive(twice)(A)


def test_pointwise_bodies_get_the_namespace(backend):
    def halved(xp, A, by):
        return xp.abs(A) / by

    p = pointwise(halved)
    assert p.pointwise
    assert_close(p(backend.put(normal(3)), 2.0), np.abs(normal(3)) / 2)


def test_pointwise_bodies_may_be_fused(fake):
    def halved(xp, A):
        assert xp is fake.namespace
        return "reference"

    fake.fuse = lambda p: Kernel(lambda A: f"fused {p.name} {A.value}")
    p = pointwise(halved)
    assert p(A) == "fused halved 3"
    assert p.explain(A) == "fake kernel"
    assert p.reference(A) == "reference"


def test_a_kernel_goes_before_fusion(fake):
    fake.table["halved"] = Kernel(lambda A: "kernel")

    def halved(xp, A):
        raise AssertionError

    assert pointwise(halved)(A) == "kernel"
    assert fake.fused == []


def test_the_table_of_kernels_is_read_once(fake):
    reads = []
    fake.kernels = lambda: reads.append(1) or fake.table
    p = primitive.primitive(twice)
    p(A), p(A)
    assert len(reads) == 1


def test_reference_only(fake):
    fake.table["twice"] = Kernel(kernel_twice)
    p = primitive.primitive(twice)
    with reference_only():
        assert p(A) == "reference 6"
        assert p.explain(A) == "reference: kernels are switched off by reference_only()"
        with reference_only():
            assert p(A) == "reference 6"
        assert p(A) == "reference 6"
        with ThreadPoolExecutor(1) as pool:  # a thread that is nobody's worker
            assert pool.submit(p, A).result() == "kernel 6"
    assert p(A) == "kernel 6"


def test_reference_only_ends_with_an_error(fake):
    fake.table["twice"] = Kernel(kernel_twice)
    p = primitive.primitive(twice)
    with pytest.raises(ZeroDivisionError), reference_only():
        raise ZeroDivisionError
    assert p(A) == "kernel 6"


def test_each_kind_of_array_has_its_own_kernel(fake):
    def doubled(A):
        return A * 2

    fake.table["doubled"] = Kernel(lambda A: "kernel")
    p = primitive.primitive(doubled)
    assert p(A) == "kernel"
    np.testing.assert_array_equal(p(np.ones(2)), [2, 2])
    assert p(A) == "kernel"


def test_it_reads_like_the_function_it_wraps():
    p = primitive.primitive(twice)
    assert (p.name, p.__name__, p.__doc__, p.__module__) == ("twice", "twice", "The double.", __name__)
    assert p.__wrapped__ is twice


def test_two_primitives_of_one_name():
    primitive.primitive(twice)
    with pytest.raises(ValueError, match="two primitives are called 'twice'"):
        pointwise(twice)


def test_every_kernel_is_that_of_a_primitive(backend):
    for found in pkgutil.walk_packages(mathdl.__path__, "mathdl."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    assert set(backend.backend.kernels()) <= set(PRIMITIVES)
    assert all(isinstance(kernel, Kernel) for kernel in backend.backend.kernels().values())


def test_numpy_runs_its_own_kernels():
    from mathdl.layers.convolution import convolve

    assert arrays.backend("numpy").kernels()["convolve"].run is not convolve.__wrapped__
    assert host(np.zeros(1)).shape == (1,)
