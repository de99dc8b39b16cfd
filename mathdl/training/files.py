"""Model files: one safetensors file, arrays by key, everything else as JSON in its header. Nothing is ever executed.

The header's metadata: `format_version`, `architecture` (the layers and their arguments), and `model` (input shape,
dtype, loss, preprocessing, classes, …). An unknown layer is refused by name; layers of one's own are passed to `load`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.architecture import kinds_with, layer_to_dict, layers_from_dicts, record_from_dict, record_to_dict
from mathdl.arrays import to_host
from mathdl.data import Standardize
from mathdl.errors import FileFormatError, MathdlError, UnknownNameError, UsageError
from mathdl.layers.layer import Layer
from mathdl.losses import LOSSES
from mathdl.network import Network
from mathdl.training.model import Model

FORMAT_VERSION = 1


def save_model(model: Model, path: Any) -> None:
    """Write `model` to `path`, whole or not at all."""
    params = model.params
    tensors = {name: np.asarray(to_host(A), order="C") for name, A in {**params, **params.state}.items()}
    about = {
        "input_shape": list(params.input_shape),
        "dtype": params.dtype,
        "loss": record_to_dict(model.loss),
        "inputs": None if model.inputs is None else model.inputs.to_dict(),
        "targets": None if model.targets is None else model.targets.to_dict(),
        "squeeze": model.squeeze,
        "classes": None if model.classes is None else list(model.classes),
        "frozen": [".".join(map(str, path)) for path in sorted(model.network.frozen)],
        "about": dict(model.about),
    }
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "architecture": json.dumps([layer_to_dict(layer) for layer in model.network.layers]),
        "model": json.dumps(about),
    }
    write_tensors(path, tensors, metadata)


def load(path: Any, layers: Sequence[type] = (), device: str = "cpu") -> Model:
    """The model in a file that `Model.save` wrote, on `device`. `layers`: the classes of layers of one's own.

    Raises `FileFormatError` if the file is not a model of this format, `UnknownNameError` on an unknown layer.
    """
    tensors, metadata = read_tensors(path)
    version = metadata.get("format_version")
    if version is None or "architecture" not in metadata or "model" not in metadata:
        raise FileFormatError(f"{path}: a safetensors file, but not a model of mathdl (no architecture in its header)")
    if version != str(FORMAT_VERSION):
        raise FileFormatError(f"{path}: format version {version}, this mathdl reads {FORMAT_VERSION}: update mathdl")
    try:
        about = json.loads(metadata["model"])
        network = Network(_layers(json.loads(metadata["architecture"]), layers))
        network.frozen = frozenset(map(network.path, about["frozen"]))
        loss = record_from_dict(about["loss"], {kind.__name__: kind for kind in LOSSES.values()}, "loss")
        params = network.empty_parameters(tuple(about["input_shape"]), device, about["dtype"])
        network.input_shape = params.input_shape
        expected = {**params.shapes, **params.state.shapes}
        found = {name: tuple(A.shape) for name, A in tensors.items()}
        if found != expected:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
            raise FileFormatError(
                f"{path}: arrays do not fit the architecture: "
                + "; ".join(f"{name}: expected {expected.get(name)}, found {found.get(name)}" for name in wrong[:4])
            )
        params.assign(tensors)
        return Model(
            network,
            params,
            loss,
            inputs=None if about["inputs"] is None else Standardize.from_dict(about["inputs"]),
            targets=None if about["targets"] is None else Standardize.from_dict(about["targets"]),
            squeeze=bool(about["squeeze"]),
            classes=None if about["classes"] is None else tuple(about["classes"]),
            about=dict(about["about"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, MathdlError):  # says by itself what is wrong
            raise
        raise FileFormatError(f"{path}: the header is damaged ({type(error).__name__}: {error})") from error


def _layers(records: Any, own: Sequence[type]) -> list[Layer]:
    try:
        return layers_from_dicts(records, kinds_with(own))
    except UnknownNameError as error:
        error.add_note("a layer of your own is given by its class: md.load(path, layers=[MyLayer])")
        raise


def write_tensors(path: Any, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file beside `path` and move it into place: a reader sees the old file or the new one."""
    from safetensors.numpy import save

    write_whole(path, save(dict(tensors), metadata=dict(metadata)))


def write_whole(path: Any, content: bytes) -> None:
    """Write a file whole or not at all. Raises `UsageError` if none can be at `path`."""
    path = Path(path)
    check_writable(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise `UsageError` if no file can be at `path`."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_tensors(path: Any) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """(arrays by key, metadata) of a safetensors file. Raises `FileFormatError` if it is not one."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, TypeError) as error:  # TypeError: a dtype that NumPy does not have
        raise FileFormatError(f"{path}: not a safetensors file ({error}); expected a file that mathdl saved") from error
