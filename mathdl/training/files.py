"""Files that are written whole or not at all; arrays and text in the safetensors format. Nothing is ever executed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mathdl.errors import FileFormatError, UsageError


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
