"""Layers as plain data and back: what a model file says, and what the header of a saved model holds.

    {"kind": "Conv2D", "channels": 32, "kernel": [3, 3], "initializer": {"kind": "he_normal"}}

`kind` is the name of the class; every other key is one of its fields. A field that is None is left out (None always
stands for a default), a tuple is a list, a layer or an initializer inside is a record of its own. Nothing is executed:
a kind that is not in the table is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeAlias

from mathdl import layers
from mathdl.errors import FileFormatError, MathdlError, UsageError, unknown_name
from mathdl.initializers import INITIALIZERS, initializer
from mathdl.layers.layer import Layer

Record: TypeAlias = dict[str, Any]
"""A layer as plain data: strings, numbers, lists and records, as JSON and TOML have them."""

KINDS: Mapping[str, Any] = {name: getattr(layers, name) for name in layers.__all__}
"""The built-in layers by name."""


def kinds_with(own: Iterable[type] = ()) -> dict[str, Any]:
    """`KINDS` and layers of one's own: dataclasses, known by the names of their classes."""
    table = dict(KINDS)
    for kind in own:
        name = kind.__name__
        if not is_dataclass(kind):
            raise UsageError(f"{name} must be a dataclass to be written to and read from a file")
        if table.setdefault(name, kind) is not kind:
            raise UsageError(f"{name} is the name of another layer: rename yours")
    return table


def record_to_dict(value: Any) -> Record:
    """A dataclass (a layer, a loss, an initializer …) as a record. Raises `UsageError` where none can describe it."""
    if not is_dataclass(value):
        raise UsageError(f"{type(value).__name__} must be a dataclass to be written to a file")
    stored = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    return {"kind": type(value).__name__} | {name: _plain(v) for name, v in stored.items() if v is not None}


def written(value: Any) -> str:
    """A layer, a loss, an optimizer … as one writes it: ``Conv2D(32, 3, padding='same')``, without its defaults."""
    if isinstance(value, list | tuple) and any(map(is_dataclass, value)):
        return f"[{', '.join(map(written, value))}]"
    if not is_dataclass(value):
        return repr(value)
    words = []
    for field in fields(value):
        own = getattr(value, field.name)
        if field.default is MISSING and field.default_factory is MISSING:
            words.append(written(own))
        elif own != field.default:
            words.append(f"{field.name}={written(own)}")
    return f"{type(value).__name__}({', '.join(words)})"


def layer_to_dict(layer: Layer) -> Record:
    """The layer as a record. Raises `UsageError` where no record can describe it."""
    name = type(layer).__name__
    if KINDS.get(name, type(layer)) is not type(layer):
        raise UsageError(f"{name} is the name of a built-in layer: rename yours, or a file would mean the built-in one")
    return record_to_dict(layer)


def _plain(value: Any) -> Any:
    if isinstance(value, Layer):
        return layer_to_dict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | bool | int | float):
        return value
    return record_to_dict(value)


def record_from_dict(record: Any, kinds: Mapping[str, Any], what: str = "kind") -> Any:
    """What a record describes: an object of one of the classes `kinds`; `what` they are is said in errors.

    Raises `UnknownNameError` for an unknown kind or key, `FileFormatError` for a record that is none, `UsageError` for
    a value that the class refuses.
    """
    if not isinstance(record, Mapping) or not isinstance(record.get("kind"), str):
        raise FileFormatError(f'expected a table with a kind, such as kind = "Dense", found {record!r}')
    name = record["kind"]
    if name not in kinds:
        raise unknown_name(what, name, kinds)
    arguments = _checked(kinds[name], {key: value for key, value in record.items() if key != "kind"})
    inner = 1  # the layers inside are numbered through: those of a shortcut go on where the first ones end
    for key, value in arguments.items():
        if isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            arguments[key] = tuple(_layers(value, kinds, inner))
            inner += len(value)
        elif isinstance(value, Mapping):
            arguments[key] = record_from_dict(value, {**INITIALIZERS, **kinds})
        elif key == "initializer" and value is not None:
            arguments[key] = initializer(value)
        else:
            arguments[key] = _tuples(value)
    return kinds[name](**arguments)


def layer_from_dict(record: Mapping[str, Any], kinds: Mapping[str, Any] = KINDS) -> Layer:
    """The layer that a record describes; errors as of `record_from_dict`."""
    layer: Layer = record_from_dict(record, kinds, "layer")
    return layer


def layers_from_dicts(records: Any, kinds: Mapping[str, Any] = KINDS) -> list[Layer]:
    """The layers that a list of records describes; an error is told its place, such as ``in layer l = 3.1``."""
    try:
        return _layers(records, kinds)
    except MathdlError as error:
        if error.layer_path:
            error.add_note(f"in layer l = {'.'.join(map(str, error.layer_path))}")
            error.layer_path = ()
        raise


def _layers(records: Any, kinds: Mapping[str, Any], first: int = 1) -> list[Layer]:
    if not isinstance(records, list | tuple):
        raise FileFormatError(f"expected a list of layers, found {records!r}")
    found = []
    for l, record in enumerate(records, first):
        try:
            found.append(layer_from_dict(record, kinds))
        except MathdlError as error:
            error.layer_path = (l, *error.layer_path)
            raise
    return found


def _checked(kind: Any, given: dict[str, Any]) -> dict[str, Any]:
    """`given`, in the order of the fields, if each key is a field and each field that must be given is."""
    known = {field.name: field for field in fields(kind) if field.init}
    for key in given:
        if key not in known:
            raise unknown_name(f"argument of {kind.__name__}", key, known)
    needed = [name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING]
    missing = [name for name in needed if name not in given]
    if missing:
        raise UsageError(f"{kind.__name__} needs {', '.join(missing)}")
    return {name: given[name] for name in known if name in given}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
