"""scripts/build_native.py: a library that loads, or a reason and no file."""

from __future__ import annotations

import ctypes
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mathdl_backends.numpy import native

SCRIPT = Path(__file__).parent.parent / "scripts" / "build_native.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, at work in a copy of the sources."""
    spec = spec_from_file_location("build_native", SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    for source in ("__init__.py", "steps.c", "ops.h", "windows.h", "loops.h", "words.h"):
        shutil.copy(module.FOLDER / source, tmp_path)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "LIBRARY", tmp_path / "_steps.so")
    return module


def files(script):
    return sorted(path.name for path in script.FOLDER.iterdir())


def test_it_builds_a_library_that_loads(script):
    assert script.build() is None
    assert files(script) == ["__init__.py", "_steps.so", "loops.h", "ops.h", "steps.c", "windows.h", "words.h"]
    library = ctypes.CDLL(str(script.LIBRARY))
    names = "pool_new", "pool_run", "pool_run_alone", "pool_steps", "random_words"
    assert all(hasattr(library, name) for name in names)
    library.built_from.restype = ctypes.c_char_p
    assert library.built_from().decode() == native.digest(script.FOLDER) == native.digest()


def test_a_library_from_other_sources_is_left_alone(script, monkeypatch):
    (script.FOLDER / "ops.h").write_text((script.FOLDER / "ops.h").read_text() + "/* another */\n")
    assert script.build() is None
    monkeypatch.delenv("MATHDL_NATIVE", raising=False)
    monkeypatch.setattr(native, "_PATH", script.LIBRARY)
    assert native.loaded.__wrapped__() is None
    assert "from other sources" in native.why_absent()


def test_without_a_compiler(script, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    assert script.build() == "no C compiler for POSIX threads was found"
    monkeypatch.setenv("CC", str(script.FOLDER / "missing"))
    assert "missing" in script.build()
    assert files(script) == ["__init__.py", "loops.h", "ops.h", "steps.c", "windows.h", "words.h"]


def test_a_compiler_that_fails_leaves_the_library_that_was(script, monkeypatch):
    compiler = script.FOLDER.parent / "compiler"
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho half > "$2"\necho broken >&2\nexit 3\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    script.LIBRARY.write_text("before")
    assert script.build().endswith("failed: broken")
    assert files(script) == ["__init__.py", "_steps.so", "loops.h", "ops.h", "steps.c", "windows.h", "words.h"]
    assert script.LIBRARY.read_text() == "before"
