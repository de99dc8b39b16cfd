"""Build the compiled part of the NumPy backend where a C compiler is; without one mathdl works as well, slower.

Run by hatchling when mathdl is installed or its wheel is made; by hand: python scripts/build_native.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from runpy import run_path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).resolve().parent.parent / "backends" / "mathdl_backends" / "numpy" / "native"
LIBRARY = FOLDER / "_steps.so"
# Every operation rounds as NumPy's does: none may be fused with another, and none reordered. Nobody looks at what it
# raises, so a choice between two numbers needs no branch: without that, GCC computes ReLU's gradient one by one.
_ROUNDING = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
FLAGS = ("-std=gnu11", "-O3", *_ROUNDING, "-fPIC", "-shared", "-pthread")


def build() -> str | None:
    """Compile the library in place; None, or why it could not be."""
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if sys.platform == "win32" or compiler is None:
        return "no C compiler for POSIX threads was found"
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        made = Path(folder) / LIBRARY.name
        source = f'-DBUILT_FROM="{run_path(str(FOLDER / "__init__.py"))["digest"](FOLDER)}"'
        command = [*compiler.split(), *FLAGS, source, "-o", str(made), str(FOLDER / "steps.c"), "-lm"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        if result.returncode != 0:
            return f"{' '.join(command)} failed: {result.stderr.strip()}"
        made.replace(LIBRARY)  # whole, or not at all: another process may be about to load it
    return None


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and say that the wheel is for this kind of machine if that succeeded."""
        reason = build()
        if reason is not None:
            self.app.display_warning(f"mathdl is installed without its compiled part: {reason}")
            return
        from packaging.tags import sys_tags

        build_data["artifacts"].append(str(LIBRARY.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{next(sys_tags()).platform}"


if __name__ == "__main__":
    sys.exit(build())
