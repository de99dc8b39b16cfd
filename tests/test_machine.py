"""What scripts say of the machine: names as drivers give them, versions of what is there."""

from __future__ import annotations

import platform
from importlib.metadata import version

import pytest

from mathdl import __version__
from mathdl.cli.doctor import usable_cores


@pytest.fixture
def machine(scripts):
    return scripts("machine")


def test_about(machine):
    found = machine.about("numpy", "no-such-package")
    assert list(found) == ["cpu", "cores", "system", "python", "versions", "commit", "date"]
    assert found["cores"] == usable_cores()
    assert found["python"] == platform.python_version()
    assert found["versions"] == {"numpy": version("numpy")}
    assert found["cpu"]


def test_mathdl_of_a_clone_that_is_not_installed(machine, monkeypatch):
    def absent(name):
        raise machine.PackageNotFoundError(name)

    monkeypatch.setattr(machine, "version", absent)
    assert machine.versions("mathdl", "numpy") == {"mathdl": __version__}


def test_a_gpu_is_named_by_its_driver(machine, monkeypatch):
    answer = type("Done", (), {"stdout": "NVIDIA A, 1.2\nNVIDIA B, 3.4\n"})
    monkeypatch.setattr(machine.subprocess, "run", lambda *argv, **options: answer)
    assert machine.about_device("cuda") == {"device": "NVIDIA A", "driver": "1.2"}
    assert machine.about_device("cuda:1") == {"device": "NVIDIA B", "driver": "3.4"}
    assert machine.about_device("strict") == {"device": "strict"}


def test_a_commit_is_none_where_there_is_no_git(machine, monkeypatch):
    def absent(*argv, **options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(machine.subprocess, "run", absent)
    assert machine.commit() is None


def test_a_name_as_a_file_name(machine):
    assert machine.file_name("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
