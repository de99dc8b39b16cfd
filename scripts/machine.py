"""What figures were measured on: processor, GPU, versions, commit. Every script that writes figures writes this too."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mathdl.cli.doctor import usable_cores
from mathdl.cli.ulp import instructions, processor

ROOT = Path(__file__).resolve().parent.parent


def about(*packages: str) -> dict[str, Any]:
    """Processor with its vector instructions, cores, system, versions of Python and of the packages, commit and date.

    A package that is not installed is left out.
    """
    return {
        "cpu": f"{processor()} ({instructions()})", "cores": usable_cores(), "system": platform.system(),
        "python": platform.python_version(), "versions": versions(*packages), "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def about_device(device: str) -> dict[str, str]:
    """A GPU's name, as its driver gives it, and the driver; another device keeps the name that it has here."""
    if not device.startswith("cuda"):
        return {"device": device}
    asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    name, driver = found[int(device.partition(":")[2] or 0)].split(", ")
    return {"device": name, "driver": driver}


def file_name(device: str) -> str:
    """A device's name as the stem of a file: ``NVIDIA H100 80GB HBM3`` as ``nvidia-h100-80gb-hbm3``."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def versions(*packages: str) -> dict[str, str]:
    """The version of each of the packages; one that is not installed is left out."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if name == "mathdl":  # not installed, but in a clone on the path
                from mathdl import __version__

                found[name] = __version__
    return found


def commit() -> str | None:
    """The commit of this clone; marked `dirty` if files differ from it."""
    asked = ["git", "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
