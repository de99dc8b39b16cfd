"""Fused bodies: every pointwise body keeps to what CuPy's good engine takes; what it refuses runs as it is.

`Proxy` is what that engine traces a body with (cupy/_core/_fusion_interface.py): operators, in-place operators,
`astype` and `dtype`, but no shape, no indices, no abs and no power with the array above. It carries numbers, so a body
that gets through is also compared with the same body on arrays.
"""

from __future__ import annotations

import inspect
import operator
from types import SimpleNamespace

import numpy as np
import pytest

import mathdl  # noqa: F401 - defines all primitives
from mathdl.primitive import PRIMITIVES
from mathdl_backends.cupy.fusing import Fused, fuse

UFUNCS = ["abs", "exp", "expm1", "isfinite", "isnan", "log", "log1p", "maximum", "minimum", "sqrt", "tanh", "where"]
"""Functions that CuPy's engine takes, and that array-api-compat hands on as they are."""


def values(A):
    return A.values if isinstance(A, Proxy) else A


def lifted(function):
    return lambda *args: Proxy(function(*map(values, args)))


class Proxy:
    """An array while a body is traced."""

    __hash__ = None

    def __init__(self, numbers):
        self.values = numbers

    @property
    def dtype(self):
        return self.values.dtype

    @property
    def shape(self):
        raise NotImplementedError("`shape` is not supported, currently.")

    def astype(self, dtype, copy=True):
        return Proxy(self.values.astype(dtype))

    def __bool__(self):
        raise TypeError("Cannot convert to Python scalar in cupy.fuse")

    def __setitem__(self, key, value):
        if key is not Ellipsis:
            raise ValueError("The fusion supports `[...]` or `[:]`.")
        self.values[...] = values(value)


for _name in ("add", "sub", "mul", "truediv", "mod", "lshift", "rshift", "and_", "or_", "xor"):
    _function = getattr(operator, _name)
    _plain = _name.rstrip("_")
    setattr(Proxy, f"__{_plain}__", lambda self, other, f=_function: Proxy(f(self.values, values(other))))
    setattr(Proxy, f"__r{_plain}__", lambda self, other, f=_function: Proxy(f(values(other), self.values)))

    def _in_place(self, other, f=_function):
        self.values[...] = f(self.values, values(other))
        return self

    setattr(Proxy, f"__i{_plain}__", _in_place)
for _name in ("lt", "le", "eq", "ne", "ge", "gt"):
    _function = getattr(operator, _name)
    setattr(Proxy, f"__{_name}__", lambda self, other, f=_function: Proxy(f(self.values, values(other))))
Proxy.__pow__ = lambda self, other: Proxy(self.values ** values(other))
Proxy.__neg__ = lambda self: Proxy(-self.values)
Proxy.__invert__ = lambda self: Proxy(~self.values)

TRACED = SimpleNamespace(
    **{name: lifted(getattr(np, name)) for name in UFUNCS},
    astype=lambda A, dtype, copy=True: A.astype(dtype, copy=copy),
)
POINTWISE = {name: each for name, each in PRIMITIVES.items() if each.pointwise and each.__module__.startswith("mathdl")}


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bodies_keep_to_what_the_good_engine_takes(name, dtype):
    parameters = list(inspect.signature(POINTWISE[name].__wrapped__).parameters.values())[1:]
    assert all(each.kind is each.POSITIONAL_OR_KEYWORD for each in parameters)
    inside = (0.1 + 0.8 * np.random.default_rng(0).random((len(parameters), 3, 4))).astype(dtype)
    args = [0.25 if each.annotation == "float" else A for each, A in zip(parameters, inside, strict=True)]
    copies = [A.copy() if isinstance(A, np.ndarray) else A for A in args]
    expected = POINTWISE[name].__wrapped__(np, *args)
    traced = [Proxy(A) if isinstance(A, np.ndarray) else A for A in copies]
    found = POINTWISE[name].__wrapped__(TRACED, *traced)
    assert (found is None) is (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(values(found), expected)
        assert values(found).dtype == expected.dtype
    for A, B in zip(args, copies, strict=True):
        np.testing.assert_array_equal(A, B)


def test_there_are_bodies_of_every_kind():
    assert {"relu_backward", "momentum_step", "adam_step", "dropout_forward"} <= set(POINTWISE)


# -- the guard -------------------------------------------------------------------------------------------------------


class CuPy:
    """`cupy.fuse`, of which a body may leave the good engine at some call, or which cannot take it at all."""

    def __init__(self, slow_from=None, error=None):
        self.slow_from, self.error, self.calls, self.names = slow_from, error, 0, []

    def fuse(self, kernel_name):
        self.names.append(kernel_name)

        def decorate(body):
            def kernel(*args):
                if self.error is not None:
                    raise self.error
                self.calls += 1
                kernel.new_fusion = "slow" if self.slow_from is not None and self.calls >= self.slow_from else None
                return body(*args)

            kernel.new_fusion = None
            return kernel

        return decorate


def double(xp, A, by=2.0):
    return A * by


def test_a_body_is_one_kernel_by_its_name():
    cupy = CuPy()
    kernel = fuse(SimpleNamespace(name="double", __wrapped__=double), cupy, np)
    assert kernel.supports(np.ones(2)) is None
    np.testing.assert_array_equal(kernel.run(np.ones(2), 3.0), [3.0, 3.0])
    assert (cupy.names, cupy.calls) == (["double"], 1)


def test_keywords_are_not_for_it():
    fused = Fused("double", double, CuPy(), np)
    assert "by position" in fused.why_not(np.ones(2), by=3.0)
    assert fused.why_not(np.ones(2)) is None


@pytest.mark.parametrize("slow_from", [1, 2])
def test_a_body_that_left_the_good_engine_runs_as_it_is(slow_from):
    fused = Fused("double", double, CuPy(slow_from=slow_from), np)
    for call in range(1, slow_from + 1):
        assert fused.why_not(np.ones(2)) is None, call
        np.testing.assert_array_equal(fused(np.ones(2)), [2.0, 2.0])
    assert fused.why_not(np.ones(2)) == "CuPy fuses it by an engine that is slow"


@pytest.mark.parametrize(
    "error",
    [
        TypeError("keepdims"),
        NotImplementedError("`shape` is not supported, currently."),
        AttributeError("'_ArrayProxy' object has no attribute 'T'"),
        ValueError("The fusion supports `[...]` or `[:]`."),
    ],
)
def test_a_body_that_cannot_be_fused_runs_as_it_is(error):
    fused = Fused("double", double, CuPy(error=error), np)
    np.testing.assert_array_equal(fused(np.ones(2)), [2.0, 2.0])
    assert fused.why_not(np.ones(2)) == f"CuPy cannot fuse it ({error})"


def test_other_errors_are_the_callers():
    with pytest.raises(MemoryError):
        Fused("double", double, CuPy(error=MemoryError()), np)(np.ones(2))
