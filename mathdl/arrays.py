"""The only door to arrays: the namespace of an array, devices, and flat vectors with named views.

A **backend** is a kind of array (`mathdl_backends`). It is chosen by the arrays themselves: `namespace(A)` is one
dictionary look-up by the type of A, so the same layer code runs on every backend and asks none of them its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any, Self, TypeAlias

import mathdl_backends
from mathdl.errors import DataError, DeviceError, unknown_name
from mathdl.notation import flat_name

Array: TypeAlias = Any
"""An array of any backend (the array API standard does not give its arrays a common type)."""

Shape: TypeAlias = tuple[int, ...]
Tree: TypeAlias = Mapping[Any, Any]
"""Values by layer: `{1: {"W": …, "b": …}, 3: {1: {"W": …}}}`. Numbers are layers l (or inner layers of a
`Residual`), words are the names of parameters."""

_backend_of: dict[type, mathdl_backends.Backend] = {}
_namespace_of: dict[type, Any] = {}
_name_of: dict[type, str | None] = {}
"""What is known of a type: looked up once, for predicting one row looks three times."""


def backend(name: str) -> mathdl_backends.Backend:
    """The backend called `name`, imported on first use."""
    if name not in mathdl_backends.MODULES:
        raise unknown_name("backend", name, mathdl_backends.MODULES)
    module: mathdl_backends.Backend = import_module(mathdl_backends.MODULES[name])
    return module


def backend_of(A: Array) -> mathdl_backends.Backend:
    """The backend whose arrays A is one of. Raises `DeviceError` for anything else."""
    kind = type(A)
    found = _backend_of.get(kind)
    if found is None:
        name = _backend_name(kind)
        if name is None:
            raise DeviceError(
                f"not an array of any backend: {kind.__module__}.{kind.__qualname__}. "
                f"Expected an array of one of: {', '.join(sorted(mathdl_backends.ARRAYS_FROM))}"
            )
        found = _backend_of[kind] = backend(name)
        _namespace_of[kind] = getattr(kind, "own_namespace", found.namespace)
    return found


def _backend_name(kind: type) -> str | None:
    """The name of the backend that arrays of this type belong to; a subclass belongs where its base does."""
    if kind not in _name_of:
        known = mathdl_backends.ARRAYS_FROM
        names = (name for base in kind.__mro__ for name in (base.__module__, base.__module__.partition(".")[0]))
        _name_of[kind] = next((known[name] for name in names if name in known), None)
    return _name_of[kind]


def namespace(A: Array) -> Any:
    """The array API namespace that A belongs to: its backend's, or the `own_namespace` of its type."""
    try:
        return _namespace_of[type(A)]
    except KeyError:
        backend_of(A)
        return _namespace_of[type(A)]


def like(A: Array) -> dict[str, Any]:
    """`dtype` and `device` of A, for creating arrays beside it: `xp.zeros(shape, **like(A))`."""
    return {"dtype": A.dtype, "device": A.device}


@dataclass(frozen=True)
class Device:
    """A place where arrays live: `name` as users write it, its backend, and the backend's own handle."""

    name: str
    backend: Any
    handle: Any

    @property
    def namespace(self) -> Any:
        """The array API namespace of this device's arrays."""
        return self.backend.namespace

    def active(self) -> AbstractContextManager[Any]:
        """A context in which this is the current device."""
        context: AbstractContextManager[Any] = self.backend.active(self.handle)
        return context

    def aside(self) -> AbstractContextManager[Any]:
        """A context for what a thread puts on this device while others compute there; at its end all of it is there."""
        context: AbstractContextManager[Any] = self.backend.aside(self.handle)
        return context

    def put(self, A: Array, dtype: str | None = None) -> Array:
        """A (on any device) as an array on this one, cast to `dtype` if given; no copy where none is needed."""
        if backend_of(A) is self.backend and self.backend.lives_on(A, self.handle):
            xp = self.namespace
            return A if dtype is None else xp.astype(A, getattr(xp, dtype), copy=False)
        return self.backend.from_host(to_host(A), self.handle, dtype)


def device(name: str, data: Array = None) -> Device:
    """The device called `name`: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"strict"``, or ``"auto"``.

    ``"auto"`` is the device of `data` if that is a CuPy array; else CUDA if it is usable; else the CPU.
    Raises `DeviceError` (or `MissingExtraError`) that says why a device cannot be used.
    """
    if name == "auto":
        if _backend_name(type(data)) == "cupy":
            return device_of(data)
        name = "cuda" if backend("cupy").why_unusable() is None else "cpu"
    kind, colon, index = str(name).partition(":")
    if kind not in mathdl_backends.DEVICES:
        raise unknown_name("device", name, [*mathdl_backends.DEVICES, "auto"])
    if colon and (kind != "cuda" or not (index.isascii() and index.isdecimal())):
        raise DeviceError(f"device {name!r}: expected 'cpu', 'cuda' or 'cuda:k' with k = 0, 1, …")
    found = backend(mathdl_backends.DEVICES[kind])
    return Device(name, found, found.device(int(index or 0)))


def device_of(A: Array) -> Device:
    """The device that A lives on."""
    found = backend_of(A)
    return Device(found.device_name(A), found, A.device)


def to_host(A: Array) -> Any:
    """A as a NumPy array in host memory (A itself if it is one)."""
    return backend_of(A).to_host(A)


def is_array(A: object) -> bool:
    """Whether A is an array of one of the backends."""
    return _backend_name(type(A)) is not None


def as_array(value: object) -> Array:
    """An array as it is; a list, a frame or a number as a NumPy array. Raises `DataError` unless it holds numbers."""
    if is_array(value):
        return value
    try:
        array = backend("numpy").from_host(value, "cpu")
    except ValueError as error:
        raise DataError(
            f"expected numbers, got a {type(value).__name__} that cannot be made an array: {error}"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"expected numbers, got a {type(value).__name__} of {array.dtype}")
    return array


def concatenated(parts: Sequence[Array]) -> Array:
    """The parts, of any number, after one another along axis 0."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    whole = namespace(first).empty((sum(part.shape[0] for part in parts), *first.shape[1:]), **like(first))
    start = 0
    for part in parts:
        whole[start : start + part.shape[0], ...] = part
        start += part.shape[0]
    return whole


class Vector(Mapping[str, Array]):
    """One flat 1-D array and its named views, by flat name (``"W[3.1]"``) and as a tree.

    `vector` never moves: `views` are made once with ``reshape(copy=False)``, so an update of the vector in place is an
    update of every view. All weights (names that begin with W) lie first, then the rest: decay acts on a slice.
    """

    def __init__(self, shapes: Tree, xp: Any, dtype: Any, device: Any) -> None:
        self.shape_tree = shapes
        flat = flatten_tree(shapes)
        names = sorted(flat, key=lambda name: not name.startswith("W"))  # stable: by layer within each part
        self.shapes: dict[str, Shape] = {name: flat[name] for name in names}
        size = sum(prod(shape) for shape in flat.values())
        self.vector: Array = xp.zeros((size,), dtype=dtype, device=device)
        self.slices: dict[str, slice] = {}
        self._views: dict[str, Array] = {}
        start = 0
        for name, shape in self.shapes.items():
            self.slices[name] = slice(start, start + prod(shape))
            self._views[name] = xp.reshape(self.vector[self.slices[name]], shape, copy=False)
            start += prod(shape)
        self.tree: Tree = _nest(shapes, self._views)

    def seen_through(self, view: Callable[[Array], Array]) -> Self:
        """A twin on the same memory, whose arrays are `view` of these."""
        twin = copy(self)
        twin.vector = view(self.vector)
        twin._views = {name: view(A) for name, A in self._views.items()}
        twin.tree = _nest(self.shape_tree, twin._views)
        return twin

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name]
        except KeyError:
            raise unknown_name("parameter", name, self._views) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    # Mapping would ask __getitem__ and wait for a KeyError, which `UnknownNameError` is not.
    def __contains__(self, name: object) -> bool:
        return name in self._views

    def get(self, name: str, default: Any = None) -> Any:
        """The view of that name, or `default`."""
        return self._views.get(name, default)

    def __len__(self) -> int:
        return len(self._views)


def flatten_tree(tree: Tree, path: tuple[int, ...] = ()) -> dict[str, Any]:
    """`{3: {1: {"W": v}}}` as `{"W[3.1]": v}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(key, int):
            flat |= flatten_tree(value, (*path, key))
        else:
            flat[flat_name(key, path)] = value
    return flat


def map_tree(view: Callable[[Any], Any], tree: Tree) -> dict[Any, Any]:
    """The tree with `view` of each of its values."""
    return {key: map_tree(view, value) if isinstance(value, Mapping) else view(value) for key, value in tree.items()}


def _nest(shapes: Tree, views: Mapping[str, Array], path: tuple[int, ...] = ()) -> Tree:
    return {
        key: _nest(value, views, (*path, key)) if isinstance(key, int) else views[flat_name(key, path)]
        for key, value in shapes.items()
    }
