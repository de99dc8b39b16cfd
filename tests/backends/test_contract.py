"""What every backend owes the layers: the functions that they call, arrays changed in place, and the protocol."""

from __future__ import annotations

import ast
import inspect
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mathdl
import mathdl_backends
from mathdl import arrays
from mathdl.arrays import like
from support import host, normal

SOURCES = [path for path in Path(mathdl.__file__).parent.rglob("*.py") if "theory" not in path.parts]


def is_namespace(node):
    """Whether an expression is `xp`, or `namespace(…)`."""
    if isinstance(node, ast.Call):
        node = node.func
        return isinstance(node, ast.Name) and node.id == "namespace"
    return isinstance(node, ast.Name) and node.id == "xp"


def calls():
    """(name, positional arguments, keywords, where) of every call of a function of a namespace."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_namespace(node.func.value):
                keywords = {keyword.arg for keyword in node.keywords}
                yield node.func.attr, len(node.args), keywords, f"{path.name}:{node.lineno}"


X = normal(3, 4)
I = np.array([2, 0, 2])
PLACE = ("dtype", "device")

SAMPLES = {
    "abs": [((X,), {})],
    "all": [((X > 0,), {}), ((X > 0,), {"axis": 0})],
    "arange": [((5,), {}), ((2, 7), {}), ((0, 7, 3), {})],
    "argmax": [((X,), {"axis": 1}), ((X,), {"axis": -1}), ((X,), {"axis": 0, "keepdims": True})],
    "argmin": [((X[0],), {})],
    "astype": [((X > 0, "float32"), {}), ((X, "float64"), {"copy": True}), ((X, "float64"), {"copy": False})],
    "concat": [(([X, X],), {"axis": 1})],
    "empty": [(((3, 0),), {})],
    "exp": [((X,), {})],
    "expand_dims": [((X,), {"axis": 1}), ((X,), {"axis": -1})],
    "expm1": [((X,), {})],
    "flip": [((X,), {"axis": 0})],
    "full": [(((2, 3), 0.5), {}), (((2, 3), -np.inf), {})],
    "isdtype": [],
    "isfinite": [((np.array([1.0, np.nan, np.inf]),), {})],
    "log": [((np.abs(X),), {})],
    "log1p": [((np.abs(X),), {})],
    "matmul": [((X, X.T), {}), ((X.T, X), {}), ((X[1:2, :], X.T[:, :1]), {})],
    "max": [((X,), {"axis": 1}), ((X,), {"axis": -1, "keepdims": True}), ((X,), {"axis": (0, 1)})],
    "maximum": [((X, 0.0), {}), ((X, -X), {})],
    "mean": [((X,), {"axis": 0}), ((X,), {"axis": -1, "keepdims": True}), ((normal(2, 3, 4),), {"axis": (0, 2)})],
    "minimum": [((X, 0.0), {}), ((X, -X), {})],
    "permute_dims": [((normal(2, 3, 4), (2, 0, 1)), {})],
    "reshape": [((X, (2, 6)), {}), ((X, (-1,)), {}), ((X, (4, 3)), {"copy": False}), ((X, (4, 3)), {"copy": True})],
    "sign": [((np.array([-2.0, 0.0, 3.0, np.nan]),), {})],
    "sqrt": [((np.abs(X),), {})],
    "squeeze": [((normal(3, 1, 2),), {"axis": 1})],
    "stack": [(([X, X],), {}), (([X, X],), {"axis": -1})],
    "sum": [((X,), {}), ((X,), {"axis": 0}), ((X,), {"axis": -1, "keepdims": True})],
    "take": [((X, I), {"axis": 0}), ((X, I), {"axis": 1})],
    "tanh": [((X,), {})],
    "tile": [((X, (2, 1)), {})],
    "where": [((X > 0, X, -X), {}), ((X > 0, X, 1.0), {})],
    "zeros": [(((2, 3),), {}), (((),), {})],
}
"""Calls of every function that mathdl uses. Their answer is NumPy's."""

CREATE = ("arange", "empty", "full", "ones", "zeros")


def on_device(value, device):
    if isinstance(value, np.ndarray):
        return device.put(value)
    return [on_device(each, device) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_functions(backend, name):
    xp = backend.namespace
    for args, keywords in SAMPLES[name]:
        given = [on_device(arg, backend) for arg in args]
        if name in CREATE:
            keywords = {**like(backend.put(X)), **keywords}
            expected = getattr(np, name)(*args, dtype=X.dtype)
        elif name == "astype":
            given[1] = getattr(xp, args[1])
            expected = args[0].astype(args[1])
        else:
            expected = getattr(np, name)(*args, **keywords)
        found = getattr(xp, name)(*given, **keywords)
        assert arrays.backend_of(found) is backend.backend
        assert backend.backend.lives_on(found, backend.handle)
        assert tuple(found.shape) == expected.shape
        assert host(found).dtype == expected.dtype
        np.testing.assert_allclose(host(found), expected, rtol=1e-14, atol=1e-15)


def test_isdtype(backend):
    xp = backend.namespace
    assert xp.isdtype(backend.put(X).dtype, "real floating")
    assert xp.isdtype(backend.put(I).dtype, "integral")
    assert not xp.isdtype(backend.put(I).dtype, "real floating")


def test_every_function_that_is_called_has_a_sample_with_its_keywords():
    found = list(calls())
    assert len(found) > 100
    for name, _, keywords, where in found:
        assert name in SAMPLES, f"{where}: {name} has no sample"
        known = {keyword for _, sample in SAMPLES[name] for keyword in sample} | (
            set(PLACE) if name in CREATE else set()
        )
        assert keywords - {None} <= known, f"{where}: {name}({keywords - known}) has no sample"


def test_every_array_is_created_on_a_device_and_with_a_dtype():
    created = [each for each in calls() if each[0] in CREATE]
    assert created
    for name, _, keywords, where in created:
        assert None in keywords or keywords >= set(PLACE), f"{where}: {name} without **like(A)"


# -- in place --------------------------------------------------------------------------------------------------------

OPERATORS = {
    "+=": lambda A, B: A.__iadd__(B),
    "-=": lambda A, B: A.__isub__(B),
    "*=": lambda A, B: A.__imul__(B),
    "/=": lambda A, B: A.__itruediv__(B),
}
NOT_IN_PLACE = {"+=": np.add, "-=": np.subtract, "*=": np.multiply, "/=": np.divide}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("operand", [2.0, 3, "same", "row"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operators_in_place(backend, operator, operand, dtype):
    values = normal(3, 4, dtype=dtype)
    A = backend.put(values.copy())
    other = A
    B = {"same": normal(3, 4, seed=1, dtype=dtype), "row": normal(4, seed=2, dtype=dtype)}.get(operand, operand)
    assert OPERATORS[operator](A, on_device(B, backend)) is A
    expected = NOT_IN_PLACE[operator](values, B)
    assert host(other).dtype == dtype == expected.dtype
    np.testing.assert_array_equal(host(other), expected)


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_in_place_on_views(backend, operator):
    xp, values = backend.namespace, normal(24)
    flat = backend.put(values.copy())
    view = xp.reshape(flat[4:16], (3, 4), copy=False)
    view = OPERATORS[operator](view, 2.0)
    part = view[1:, :]
    OPERATORS[operator](part, backend.put(np.full((2, 4), 4.0)))
    expected = values.copy()
    expected[4:16] = NOT_IN_PLACE[operator](expected[4:16], 2.0)
    expected[8:16] = NOT_IN_PLACE[operator](expected[8:16], 4.0)
    np.testing.assert_array_equal(host(flat), expected)


def test_assignment_is_in_place_also_through_views(backend):
    xp = backend.namespace
    flat = backend.put(np.zeros(12))
    view = xp.reshape(flat[2:8], (2, 3), copy=False)
    view[...] = backend.put(np.arange(6.0).reshape(2, 3))
    view[0, :] = 7.0
    flat[8:9] = backend.put(np.array(9.0))  # a 0-d array
    flat[9:12:2] = backend.put(np.array([5.0, 6.0]))
    np.testing.assert_array_equal(host(flat), [0, 0, 7, 7, 7, 3, 4, 5, 9, 5, 0, 6])


def test_reshape_without_copy_is_a_view_of_a_slice_both_ways(backend):
    xp = backend.namespace
    flat = backend.put(np.arange(10.0))
    for shape in ((6,), (2, 3), (1, 6, 1), (3, 2)):
        view = xp.reshape(flat[3:9], shape, copy=False)
        flat[3:4] = -1.0
        assert host(xp.reshape(view, (-1,)))[0] == -1.0
        view[...] = 8.0
        np.testing.assert_array_equal(host(flat[3:9]), np.full(6, 8.0))
    scalar = xp.reshape(flat[9:10], (), copy=False)
    scalar[...] = 5.0
    assert host(flat)[9] == 5.0


def test_reshape_with_copy_is_no_view(backend):
    flat = backend.put(np.zeros(6))
    copy = backend.namespace.reshape(flat, (2, 3), copy=True)
    copy += 1.0
    assert not np.any(host(flat))


def test_astype_with_copy_is_no_view(backend):
    xp, A = backend.namespace, backend.put(np.zeros(3))
    assert xp.astype(A, A.dtype, copy=False) is A
    copy = xp.astype(A, A.dtype, copy=True)
    copy += 1.0
    assert not np.any(host(A))


def test_slices_and_transposes_are_views(backend):
    A = backend.put(np.zeros((2, 3)))
    column, transposed = A[:, 1], A.T
    column += 1.0
    transposed[0, :] = 5.0
    np.testing.assert_array_equal(host(A), [[5, 1, 0], [5, 1, 0]])


# -- scalars ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_python_scalars_keep_the_dtype(backend, dtype):
    xp, values = backend.namespace, normal(3, 2, dtype=dtype)
    A = backend.put(values)
    for found, expected in (
        (A * 0.5, values * 0.5),
        (2 * A, 2 * values),
        (1.0 - A, 1.0 - values),
        (1.0 / A, 1.0 / values),
        (A**2, values**2),
        (-A, -values),
        (A / 3, values / 3),
        (A > 0, values > 0),
        (A <= 0.5, values <= 0.5),
        (xp.maximum(A, 0.0), np.maximum(values, 0.0)),
        (xp.minimum(A, 1.0), np.minimum(values, 1.0)),
        (xp.where(A > 0, A, 1.0), np.where(values > 0, values, 1.0)),
    ):
        assert host(found).dtype == expected.dtype
        np.testing.assert_array_equal(host(found), expected)


def test_a_sum_of_everything_is_still_on_the_device(backend):
    A = backend.put(normal(3, 2, dtype="float32"))
    J = backend.namespace.sum(A)
    assert arrays.backend_of(J) is backend.backend
    assert J.shape == ()
    assert J.dtype == A.dtype
    out = backend.put(np.zeros(2, dtype=np.float32))
    out[1:2] = J * 2.0
    np.testing.assert_allclose(host(out), [0, 2 * host(A).sum()], rtol=1e-6)


def test_unsigned_words_wrap_around(backend):
    A = backend.put(np.array([2**32 - 1, 5], dtype=np.uint32))
    np.testing.assert_array_equal(host(A + A), np.array([2**32 - 2, 10], dtype=np.uint32))
    wide = backend.namespace.astype(A, backend.namespace.uint64)
    np.testing.assert_array_equal(host((wide * wide) >> 32), (np.uint64(2**32 - 1) ** 2 >> 32, 0))


@pytest.mark.parametrize("name", ["relu", "no_such_function", "convolve2d"])
def test_what_is_missing_raises(backend, name):
    with pytest.raises(AttributeError, match=name):
        getattr(backend.namespace, name)


def test_arrays_are_not_created_on_a_device_of_another_kind(backend):
    other = {"numpy": "device1"}.get(backend.backend.NAME, "nowhere")
    with pytest.raises((ValueError, TypeError, AttributeError)):
        backend.namespace.zeros((2,), device=other)


def test_to_the_device_and_back(backend):
    for dtype in ("float32", "float64", "int64", "int32", "uint32", "bool"):
        values = (np.arange(6).reshape(2, 3) % 4).astype(dtype)
        found = arrays.to_host(backend.put(values))
        assert type(found) is np.ndarray
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values)


# -- the protocol ----------------------------------------------------------------------------------------------------

BACKEND = [name for name in vars(mathdl_backends.Backend) if not name.startswith("_")]
EXECUTION = ["__enter__", "__exit__", "map", "total", "spread", "recorded", "run"]


@pytest.mark.parametrize("name", sorted(mathdl_backends.MODULES))
def test_a_backend_has_every_member_of_the_protocol(name):
    module = arrays.backend(name)
    assert name == module.NAME
    assert module.MAX_SHARDS in (1, 2, 4, 8)
    if name == "cupy" and find_spec("cupy") is None:
        assert "namespace" in inspect.getsource(module.__getattr__)  # to ask for it would import CuPy
    else:
        assert hasattr(module, "namespace")
    assert len(BACKEND) > 8
    for member in BACKEND:
        expected = list(inspect.signature(getattr(mathdl_backends.Backend, member)).parameters)[1:]
        assert list(inspect.signature(getattr(module, member)).parameters) == expected, member
    if module.why_unusable() is None:
        executions = [type(module.execution(module.device(0), 1, 1, False))]
    else:
        executions = [module.GraphExecution]
    for execution in executions:
        for member in EXECUTION:
            expected = list(inspect.signature(getattr(mathdl_backends.Execution, member)).parameters)
            assert list(inspect.signature(getattr(execution, member)).parameters) == expected, member


def test_the_tables_agree():
    assert set(mathdl_backends.ARRAYS_FROM.values()) == set(mathdl_backends.DEVICES.values())
    assert set(mathdl_backends.DEVICES.values()) == set(mathdl_backends.MODULES)
    assert all(find_spec(module) is not None for module in mathdl_backends.MODULES.values())


def test_a_whole_step_on_an_execution(backend):
    with backend.backend.execution(backend.handle, 2, 1, False) as execution:
        assert execution.map(lambda shard: shard + 1, 1) == [1]
        A = backend.put(np.ones(5))
        assert execution.total(0, 1)(A) is A
        seen = []
        execution.spread(seen.append, 10)
        assert seen == [slice(0, 10)]
        for values, made in (([1.0, 2.0, 3.0], 3), ([1.0, np.nan], 1), ([np.inf], 0), ([1.0, 2.0, -np.inf], 2)):
            J, left, updated = backend.put(np.array([0.0])), [backend.put(np.array([v])) for v in values], []

            def gradient(J=J, left=left):
                J[...] = left.pop(0)

            assert execution.run(gradient, partial(updated.append, None), J, len(values)) == len(updated) == made


def test_a_task_is_replayed_and_may_run_on_chunks_side_by_side(backend):
    """Whatever a backend does with a task that was recorded: it is the task, on the numbers of the moment."""
    with backend.backend.execution(backend.handle, 2, 1, False) as execution:
        tasks, own = [], []
        for _ in range(execution.lanes):
            A, B = backend.put(np.ones((2, 3))), backend.put(np.zeros((2, 3)))

            def make(view, A=A, B=B):
                A, B = view(A), view(B)

                def task():
                    B[...] = A * 2.0 + 1.0

                return task

            tasks.append(execution.recorded(make, [B]))
            own.append([A, B])
            for value in range(5):
                A[...] = backend.put(np.full((2, 3), float(value)))
                execution.replay(tasks[-1])
                np.testing.assert_array_equal(host(B), 2.0 * value + 1.0)
        whole, into = backend.put(normal(10, 3)), backend.put(np.zeros((10, 3)))
        done = execution.side_by_side(tasks, own, [whole, into])
        np.testing.assert_array_equal(host(into), host(whole) * 2.0 + 1.0 if done else 0.0)
        for task, (A, B) in zip(tasks, own, strict=True):  # their own arrays are theirs again
            A[...] = backend.put(np.full((2, 3), 7.0))
            execution.replay(task)
            np.testing.assert_array_equal(host(B), 15.0)
