"""The strict backend: host scalars raise inside a step and nowhere else; what is not in the standard raises."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mathdl import arrays
from mathdl.errors import DeviceError
from support import host, normal

STRICT = arrays.device("strict")
BACKEND, xp = STRICT.backend, STRICT.namespace

TO_HOST = {
    "bool": lambda A: bool(A > 0),
    "float": float,
    "int": lambda A: int(xp.astype(A, xp.int64)),
    "complex": lambda A: complex(xp.astype(A, xp.complex128)),
    "index": lambda A: operator.index(xp.astype(A, xp.int64)),
    "if": lambda A: 1 if A > 0 else 0,
    "range": lambda A: range(xp.astype(A, xp.int64)),
}


def scalar():
    return STRICT.put(np.array(3.0))


def works(of):
    return TO_HOST[of](scalar()) is not None


def refuses(of):
    with pytest.raises(DeviceError, match=r"host scalar inside a step: __\w+__ of an array of shape \(\)"):
        TO_HOST[of](scalar())
    return True


@pytest.fixture(autouse=True)
def allowed_before_and_after():
    assert works("float")
    yield
    assert all(works(of) for of in TO_HOST)


@pytest.mark.parametrize("of", TO_HOST)
def test_host_scalars(of):
    assert works(of)
    with BACKEND.forbid_host_scalars():
        refuses(of)
    assert works(of)


@pytest.mark.parametrize("of", TO_HOST)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("shards", "coupled"), [(1, False), (2, False), (2, True)])
def test_inside_a_step(of, workers, shards, coupled):
    with BACKEND.execution(STRICT.handle, workers, shards, coupled) as execution:
        assert works(of)
        assert execution.map(lambda shard: refuses(of), shards) == [True] * shards
        assert works(of)
        execution.spread(lambda where: refuses(of), 10)
        assert works(of)


def test_in_threads_that_are_no_workers():
    with BACKEND.forbid_host_scalars(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(refuses, "float").result()


def test_nested_and_overlapping():
    with BACKEND.forbid_host_scalars():
        with BACKEND.forbid_host_scalars():
            refuses("float")
        refuses("float")
    first, second = BACKEND.forbid_host_scalars(), BACKEND.forbid_host_scalars()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    refuses("float")
    second.__exit__(None, None, None)
    assert works("float")


def test_after_errors():
    with pytest.raises(ZeroDivisionError), BACKEND.forbid_host_scalars():
        raise ZeroDivisionError
    assert works("float")
    with BACKEND.execution(STRICT.handle, 2, 2, True) as execution:
        with pytest.raises(DeviceError, match="host scalar"):
            execution.map(lambda shard: float(scalar()), 2)
        assert works("float")


def test_many_threads_at_once():
    start = threading.Barrier(8, timeout=60)

    def task(_):
        start.wait()
        for _ in range(50):
            with BACKEND.forbid_host_scalars():
                refuses("float")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(task, range(8)))


def test_host_scalars_are_forbidden_in_a_step_and_J_is_looked_at_between_its_parts():
    A = STRICT.put(np.array([1.0]))
    with BACKEND.execution(STRICT.handle, 1, 1, False) as execution:
        assert execution.run(lambda: None, lambda: None, A, 2) == 2
        for gradient, update in ((lambda: float(A[0]), lambda: None), (lambda: None, lambda: bool(A[0]))):
            with pytest.raises(DeviceError, match="host scalar inside a step"):
                execution.run(gradient, update, A, 1)


def test_indices_of_python_still_work_inside_a_step():
    A = STRICT.put(normal(3, 4))
    with BACKEND.forbid_host_scalars():
        assert A[1:2, :].shape == (1, 4)
        assert A[0, 1].shape == ()
        assert xp.take(A, STRICT.put(np.array([0, 2])), axis=0).shape == (2, 4)


def test_boolean_indexing_is_off():
    A = STRICT.put(normal(3))
    with pytest.raises(RuntimeError, match="boolean"):
        A[A > 0]


@pytest.mark.parametrize("name", ["nonzero", "unique_values", "unique_all"])
def test_shapes_that_depend_on_data_are_off(name):
    with pytest.raises(RuntimeError, match="data-dependent"):
        getattr(xp, name)(STRICT.put(normal(3)))


@pytest.mark.parametrize("name", ["einsum", "clip_by_norm", "dot", "fft2", "ascontiguousarray"])
def test_what_is_not_in_the_standard_is_not_there(name):
    assert not hasattr(xp, name)


def test_the_pretended_device():
    A = STRICT.put(normal(3))
    assert BACKEND.device_name(A) == "strict"
    assert BACKEND.device(0) == STRICT.handle == A.device
    elsewhere = xp.zeros((3,))
    assert not BACKEND.lives_on(elsewhere, STRICT.handle)
    with pytest.raises((ValueError, RuntimeError), match="device"):
        A + elsewhere
    assert BACKEND.lives_on(STRICT.put(elsewhere), STRICT.handle)
    with pytest.raises((ValueError, RuntimeError, TypeError)):
        A + normal(3)


def test_numpy_scalars_are_refused():
    with pytest.raises(TypeError):
        STRICT.put(normal(3)) * np.float64(2.0)


def test_from_host_copies():
    values = normal(3)
    A = BACKEND.from_host(values, STRICT.handle, "float32")
    assert A.dtype == xp.float32
    values[...] = 0
    assert np.all(host(A) != 0)


def test_without_array_api_strict():
    program = """
import sys
sys.modules["array_api_strict"] = None
from mathdl import arrays
from mathdl.errors import MissingExtraError
try:
    arrays.device("strict")
except MissingExtraError as error:
    assert 'pip install "mathdl[test]"' in str(error), error
else:
    raise SystemExit("no error")
assert arrays.device("cpu").name == "cpu"
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_array_is_made_of_host_data_inside_a_step():
    A, xp = STRICT.put(np.ones(3)), STRICT.namespace
    with BACKEND.forbid_host_scalars():
        assert xp.asarray(A) is not None
        for host in (0.1, [1.0, 2.0]):
            with pytest.raises(DeviceError, match="an array of host data inside a step"):
                xp.asarray(host, device=STRICT.handle)
    assert xp.asarray(0.1, device=STRICT.handle).shape == ()


def test_few_arrays_are_joined_inside_a_step():
    A, xp = STRICT.put(np.ones((1, 3))), STRICT.namespace
    with BACKEND.forbid_host_scalars():
        for join in (xp.concat, xp.stack):
            assert join([A] * 8).shape[0] == 8
            with pytest.raises(DeviceError, match="of 9 arrays inside a step: CuPy captures 8 at most"):
                join([A] * 9)
    assert xp.concat([A] * 9).shape == (9, 3)
