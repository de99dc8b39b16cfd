"""PERMUTED: numbers in host memory, computed correctly in another way; and on request computed wrongly.

It answers, on any machine: does a comparison of two devices work? Sums and matrix products are taken in another order
than NumPy takes them, exp, log, tanh … are evaluated in a wider format and rounded once: two correct machines differ
like that. `faulty` makes this one incorrect in one function, as a GPU with TF32 products would be:

    with permuted.faulty(matmul=lambda matmul, A, B: matmul(tf32(A), tf32(B))):
        ...

Its arrays go with their like and with Python numbers only: what would leave a GPU by mistake fails here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import lru_cache, partial, update_wrapper
from operator import index
from types import MappingProxyType, ModuleType
from typing import Any

import array_api_compat.numpy as compat
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from mathdl.errors import unknown_name
from mathdl.primitive import PRIMITIVES, Kernel
from mathdl_backends.serial import SerialExecution

NAME = "permuted"
MAX_SHARDS = 1
MOST_ACTIVATIONS = 1 << 22
_HANDLE = "permuted"

_Faults = Mapping[str, Callable[..., Any]]
_NO_FAULTS: _Faults = MappingProxyType({})
_faults: ContextVar[_Faults] = ContextVar("faults", default=_NO_FAULTS)
_order: ContextVar[int] = ContextVar("order", default=0)

_BLOCK = 32
"""Terms of a matrix product that go to BLAS together."""


class PermutedArray(NDArrayOperatorsMixin):
    """A NumPy array, `values`, on a pretended device. Operators are functions of the namespace: faults reach them."""

    __slots__ = ("values",)

    def __init__(self, values: Any) -> None:
        self.values = values

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def ndim(self) -> int:
        return int(self.values.ndim)

    @property
    def size(self) -> int:
        return int(self.values.size)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def device(self) -> str:
        return _HANDLE

    @property
    def T(self) -> PermutedArray:
        return PermutedArray(self.values.T)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return namespace

    def __repr__(self) -> str:
        return f"PermutedArray({self.values!r})"

    def __len__(self) -> int:
        return len(self.values)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __int__(self) -> int:
        return int(self.values)

    def __float__(self) -> float:
        return float(self.values)

    def __index__(self) -> int:
        return index(self.values)

    def __getitem__(self, key: Any) -> PermutedArray:
        parts = key if isinstance(key, tuple) else (key,)
        return PermutedArray(self.values[key if any(part is Ellipsis for part in parts) else (*parts, ...)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[key] = _plain(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, out: Any = None) -> Any:
        """The operators, by the names of NumPy's functions; `A += B` comes with `out`."""
        if method != "__call__":
            return NotImplemented
        result = _call(ufunc.__name__, _plainly(ufunc), *operands)
        if out is None:
            return result
        np.copyto(out[0].values, result.values, casting="same_kind")
        return out[0]


@contextmanager
def faulty(**replacements: Callable[..., Any]) -> Iterator[None]:
    """Replace functions in this context: of the namespace (and so operators: `multiply`, `add` …), or primitives.

    A replacement is called with the healthy function, then with the arguments of the call. Contexts may be nested; what
    the healthy function calls is not replaced. Raises `UnknownNameError` for a name that is neither.
    """
    for name in replacements:
        if name not in PRIMITIVES and not (hasattr(np, name) and hasattr(namespace, name)):
            raise unknown_name("function or primitive", name, [*PRIMITIVES, *vars(namespace)])
    token = _faults.set({**_faults.get(), **replacements})
    try:
        yield
    finally:
        _faults.reset(token)


@contextmanager
def reordered(order: int) -> Iterator[None]:
    """Take sums and products in another of the many orders: a machine that never repeats itself changes it at will."""
    token = _order.set(order)
    try:
        yield
    finally:
        _order.reset(token)


def _call(name: str, healthy: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """The healthy function, or what is put in its place; the fault is off while the replacement runs."""
    faults = _faults.get()
    if name not in faults:
        return healthy(*args, **keywords)
    token = _faults.set({other: fault for other, fault in faults.items() if other != name})
    try:
        return _own(faults[name](healthy, *args, **keywords))
    finally:
        _faults.reset(token)


def _own(A: Any) -> Any:
    return PermutedArray(np.asarray(A)) if isinstance(A, np.ndarray | np.generic) else A


def _plain(A: Any) -> Any:
    """What NumPy takes. Raises `TypeError` for arrays of another backend."""
    if isinstance(A, PermutedArray):
        return A.values
    if isinstance(A, list | tuple):
        return [_plain(each) for each in A]
    if isinstance(A, np.ndarray | np.generic):
        raise TypeError(f"arrays of the permuted backend go with their like and Python numbers, not with {type(A)!r}")
    return A


def _plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of NumPy's, from arrays of this backend to arrays of this backend."""

    def f(*args: Any, **keywords: Any) -> Any:
        return _own(function(*map(_plain, args), **keywords))

    return f


# -- sums in another order -------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _permutation(n: int, order: int) -> Any:
    return np.random.default_rng([n, order]).permutation(n)


def _tree(terms: Any) -> Any:
    """Σ over axis 0: the first half added to the second, again and again, as the threads of a GPU do."""
    while len(terms) > 1:
        half = len(terms) // 2
        rest = terms[2 * half :]
        terms = terms[:half] + terms[half : 2 * half]
        if len(rest):
            terms[0] += rest[0]
    return terms[0]


def _sum(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    A = _plain(x) if dtype is None else _plain(x).astype(dtype)
    axes = range(A.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(k % A.ndim for k in axes)
    if A.size == 0 or A.dtype.kind != "f" or not axes:
        return _own(np.sum(A, axis=axis, keepdims=keepdims))
    others = tuple(k for k in range(A.ndim) if k not in axes)
    terms = A.transpose(*axes, *others).reshape(-1, *(A.shape[k] for k in others))
    total = np.asarray(_tree(terms[_permutation(len(terms), _order.get())]))
    return _own(np.expand_dims(total, axes) if keepdims else total)


def _mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    total = _sum(x, axis=axis, keepdims=keepdims)
    return total * (1.0 / (x.size // max(total.size, 1)))  # not divided: a machine may do either


def _matmul(A: Any, B: Any, /) -> Any:
    A, B = _plain(A), _plain(B)
    order = _permutation(A.shape[1], _order.get())
    A, B = A[:, order], B[order]
    blocks = [A[:, k : k + _BLOCK] @ B[k : k + _BLOCK] for k in range(0, max(A.shape[1], 1), _BLOCK)]
    return _own(_tree(np.stack(blocks)))


# -- functions, rounded once -----------------------------------------------------------------------------------------

_WIDER = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}


def _correctly_rounded(ufunc: Any) -> Callable[..., Any]:
    def f(x: Any, /) -> Any:
        A = _plain(x)
        return _own(np.asarray(ufunc(A.astype(_WIDER.get(A.dtype, A.dtype)))).astype(A.dtype))

    return f


# -- the namespace ---------------------------------------------------------------------------------------------------


def _created(function: Callable[..., Any]) -> Callable[..., Any]:
    def f(*args: Any, device: Any = None, **keywords: Any) -> Any:
        if device not in (None, _HANDLE):
            raise ValueError(f"arrays of the permuted backend live on {_HANDLE!r}, not on {device!r}")
        return _own(function(*args, **keywords))

    return f


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    return x if not copy and x.dtype == dtype else PermutedArray(x.values.astype(dtype))


def _faultable(name: str, healthy: Any) -> Any:
    return update_wrapper(partial(_call, name, healthy), healthy)


_OTHERWISE = {
    "sum": _sum,
    "mean": _mean,
    "matmul": _matmul,
    "astype": _astype,
    **{name: _correctly_rounded(getattr(np, name)) for name in ("exp", "expm1", "log", "log1p", "tanh")},
    **{name: _created(getattr(np, name)) for name in ("arange", "empty", "full", "ones", "zeros")},
}

namespace = ModuleType("mathdl_backends.permuted.namespace", "The array API functions for permuted arrays.")
for _name in dir(compat):
    if not _name.startswith("_"):
        _value = getattr(compat, _name)
        if callable(_value) and not isinstance(_value, type) and _name != "isdtype":
            _value = _faultable(_name, _OTHERWISE.get(_name) or _plainly(_value))
        setattr(namespace, _name, _value)


# -- the protocol ----------------------------------------------------------------------------------------------------


def kernels() -> Mapping[str, Any]:
    """For every primitive: what `faulty` puts in its place, if anything."""
    return {name: Kernel(partial(_replaced, name), partial(_healthy, name)) for name in PRIMITIVES}


def _replaced(name: str, *args: Any, **keywords: Any) -> Any:
    return _call(name, PRIMITIVES[name].reference, *args, **keywords)


def _healthy(name: str, *args: Any, **keywords: Any) -> str | None:
    return None if name in _faults.get() else "it has no fault"


def fuse(primitive: Any) -> None:
    return None


def device(index: int) -> str:
    return _HANDLE


def device_name(A: Any) -> str:
    return NAME


def lives_on(A: Any, handle: Any) -> bool:
    return True


def why_unusable() -> None:
    return None


def to_host(A: Any) -> Any:
    return _plain(A)


def from_host(A: Any, handle: Any, dtype: str | None = None) -> PermutedArray:
    return PermutedArray(np.array(A, dtype=dtype))


def active(handle: Any) -> AbstractContextManager[Any]:
    return nullcontext()


aside = active  # a thread needs nothing more


def execution(handle: Any, workers: int | None, shards: int, couples_instances: bool) -> SerialExecution:
    return SerialExecution()
