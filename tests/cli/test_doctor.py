"""`mathdl doctor`: it looks at everything, and what is broken makes it fail."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mathdl import arrays, cli
from mathdl.cli import doctor
from mathdl.layers import dense
from mathdl_backends.cupy import cudnn
from mathdl_backends.numpy import blas, native


def findings(capsys):
    status = cli.main(["doctor", "--json"])
    return status, {each["name"]: each for each in json.loads(capsys.readouterr().out)}


def test_it_works_here(capsys):
    status, found = findings(capsys)
    assert status == 0
    assert found["NumPy"] == {"name": "NumPy", "status": "ok", "found": np.__version__}
    assert int(found["cores"]["found"]) >= 1
    assert {"Python", "BLAS", "array-api-compat", "self-check", "CUDA", "array_api_strict"} <= set(found)


def test_in_words(capsys):
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("mathdl works here\n")


def test_a_wrong_gradient_is_found(monkeypatch, capsys):
    monkeypatch.setattr(dense, "sum_outer", lambda A, D, into=None: 1.001 * (A.T @ D))
    status, found = findings(capsys)
    assert status == 1
    assert found["self-check"]["status"] == "broken"
    assert "gradient of a dense layer is off" in found["self-check"]["found"]
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out.endswith("broken: self-check\n")


def test_cuda_that_is_not_usable_says_why(monkeypatch, capsys):
    monkeypatch.setattr(arrays.backend("cupy"), "why_unusable", lambda: "no driver")
    status, found = findings(capsys)
    assert status == 0
    assert found["CUDA"] == {"name": "CUDA", "status": "absent", "found": "no driver"}


def test_where_cuda_is_usable_it_says_how_convolutions_are_computed(monkeypatch, capsys):
    monkeypatch.setattr(arrays.backend("cupy"), "why_unusable", lambda: None)
    monkeypatch.setattr(cudnn, "about", lambda: "9.13.0")
    for reason, status, words in (
        (None, "ok", "9.13.0 for convolutions"),
        ("no cuDNN was found", "absent", "convolutions gather and multiply: no cuDNN was found"),
    ):
        monkeypatch.setattr(cudnn, "why_absent", lambda reason=reason: reason)
        _, found = findings(capsys)
        assert found["CUDA"]["found"] == "usable: --device cuda"
        assert found["cuDNN"] == {"name": "cuDNN", "status": status, "found": words}


def test_an_extra_that_is_not_installed_says_how(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    status, found = findings(capsys)
    assert status == 0
    assert 'pip install "mathdl[test]"' in found["array_api_strict"]["found"]


@pytest.mark.parametrize("cores", [1, 3])
def test_cores_are_those_this_process_may_use(monkeypatch, cores):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert doctor.usable_cores() == cores


def test_whether_steps_are_compiled(monkeypatch, tmp_path, capsys):
    name = "compiled steps"
    assert findings(capsys)[1][name]["found"].startswith("steps run as programs of compiled code")
    with monkeypatch.context() as patch:
        patch.setattr(blas, "routines", lambda: None)
        assert findings(capsys)[1][name]["found"].startswith("absent: NumPy's BLAS is not")
    monkeypatch.setattr(native, "loaded", native.loaded.__wrapped__)  # what it remembers does not count here
    (tmp_path / "_steps.so").write_text("no library")
    for path, reason in (("_steps.so", "built for another kind"), ("none", "no C compiler was there")):
        monkeypatch.setattr(native, "_PATH", tmp_path / path)
        status, found = findings(capsys)
        assert status == 0
        assert found[name]["found"].startswith(f"absent: {reason}")
    monkeypatch.setenv("MATHDL_NATIVE", "0")
    assert findings(capsys)[1][name]["found"] == "absent: switched off by MATHDL_NATIVE=0"


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_how_a_step_of_a_model_runs(model, mathdl):
    done = mathdl("doctor", "--model", model, "--device", "cpu", "--json")
    (found,) = [finding for finding in json.loads(done.out) if finding["name"] == f"a step of {model}"]
    assert re.fullmatch(r"one program of compiled code, made of \d+ \+ \d calls \(cpu\)", found["found"])


def test_a_model_that_there_is_not(mathdl):
    assert "unknown model 'nope'" in mathdl("doctor", "--model", "nope").err
