from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mathdl.theory import trial
from mathdl.theory.mutants import Edit, Mutant, spoilt_sources


@pytest.fixture
def import_from(tmp_path, monkeypatch):
    """A module of one's own on the path, and a finder for its other source."""
    (tmp_path / "spoilt_example.py").write_text("VALUE = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield lambda sources: sys.meta_path.insert(0, trial.SpoiltFinder(sources))
    sys.modules.pop("spoilt_example", None)


def test_a_module_is_loaded_from_its_place_and_from_the_other_source(import_from, tmp_path):
    import_from({"spoilt_example": "VALUE = 2\n"})
    module = importlib.import_module("spoilt_example")
    assert module.VALUE == 2
    assert Path(module.__file__) == tmp_path / "spoilt_example.py"


def test_other_modules_are_left_alone(import_from):
    import_from({"another": "VALUE = 2\n"})
    assert importlib.import_module("spoilt_example").VALUE == 1


def test_a_module_that_is_not_there_is_not_made(import_from):
    import_from({"no_such_module": "VALUE = 2\n"})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")


def answer(mutant, *propositions):
    request = json.dumps({"sources": spoilt_sources(mutant) if mutant else {}, "propositions": propositions})
    command, path = [sys.executable, "-P", trial.__file__], ":".join(filter(None, sys.path))
    done = subprocess.run(command, input=request, capture_output=True, text=True, env={"PYTHONPATH": path}, check=True)
    return json.loads(done.stdout)


DENSE = Edit("mathdl.layers.dense", 'sum_rows(dZ, into.get("b"))', 'sum_rows(2 * dZ, into.get("b"))')


def test_the_first_check_that_refuses_is_named():
    found = answer(Mutant("m", "b", (DENSE,)), "conv-size", "dense-forward", "dense-backward")
    assert found["proposition"] == "dense-backward"
    assert found["kind"] in ("C", "X", "N")
    assert "db" in found["reason"]


def test_the_code_as_it_ships_is_not_refused():
    assert answer(None, "dense-forward", "dense-backward") is None


def test_a_check_that_falls_over_is_reported_where_no_check_refuses():
    broken = Edit("mathdl.layers.dense", "matmul(A, W)", "no_such_function(A, W)")
    found = answer(Mutant("m", "b", (broken,)), "dense-forward")
    assert found["proposition"] == "dense-forward"
    assert found["reason"].startswith("AttributeError: ")
