"""A run directory: what is in the way, what is left, what is taken back."""

from __future__ import annotations

import pytest

from mathdl.cli.run_directory import RunDirectory, fresh_directory
from mathdl.errors import FileFormatError, UsageError


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "a" / "run")


def test_what_is_written_can_be_read(run):
    run.create({"epochs": 3}, {"ended": False, "seed": 0})
    assert run.config() == {"epochs": 3}
    assert run.report() == {"ended": False, "seed": 0}
    run.write_metrics([{"epoch": 1, "loss": 0.1}])
    run.add_metrics({"epoch": 2, "loss": 0.2})
    assert run.metrics_file.read_text() == '{"epoch": 1, "loss": 0.1}\n{"epoch": 2, "loss": 0.2}\n'


def test_what_was_made_is_taken_back(run, tmp_path):
    run.remove(run.create({}, {}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays(run):
    run.path.mkdir(parents=True)
    run.remove(run.create({}, {}))
    assert list(run.path.iterdir()) == []


def test_what_others_put_there_stays(run):
    made = run.create({}, {})
    (run.path / "notes.txt").touch()
    run.remove(made)
    assert [file.name for file in run.path.iterdir()] == ["notes.txt"]


def test_nothing_may_be_in_the_way(run):
    run.path.parent.mkdir()
    run.path.touch()
    with pytest.raises(UsageError, match="exists already: give another --out"):
        run.check_free()
    run.path.unlink()
    run.path.mkdir()
    run.check_free()
    (run.path / "notes.txt").touch()
    with pytest.raises(UsageError, match="exists already"):
        run.create({}, {})
    assert not run.config_file.exists()


def test_a_run_in_the_way_that_can_be_resumed(run):
    run.create({}, {"ended": False})
    with pytest.raises(UsageError, match=r"has not ended\. To go on with it: mathdl train --out .*run --resume"):
        run.check_free()
    run.write_report({"ended": True})
    with pytest.raises(UsageError, match="exists already"):
        run.check_free()


def test_has_begun(run):
    run.create({}, {})
    assert not run.has_begun()
    run.add_metrics({"epoch": 1})
    assert run.has_begun()
    run.write_metrics([])
    run.checkpoint_file.touch()
    assert run.has_begun()


def test_what_is_no_run_directory(run):
    with pytest.raises(FileFormatError, match="no such run directory"):
        run.config()
    run.path.mkdir(parents=True)
    with pytest.raises(FileFormatError, match="not a run directory"):
        run.config()


def test_damaged_files(run):
    run.create({}, {})
    run.config_file.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match=r"config\.toml: not a TOML file"):
        run.config()
    run.report_file.write_text('{"ended": tr')
    with pytest.raises(FileFormatError, match=r"run\.json: not a JSON file"):
        run.report()


def test_a_fresh_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(2):
        run = fresh_directory("data/table.csv", "models/net.toml")
        run.create({}, {})
        names.append(str(run.path))
    assert names == ["runs/table-net-1", "runs/table-net-2"]
    assert str(fresh_directory(".", "mlp").path) == "runs/data-mlp-1"


def test_how_to_resume_can_be_pasted(tmp_path):
    assert RunDirectory(tmp_path / "my run").how_to_resume == f"mathdl train --out '{tmp_path}/my run' --resume"


def test_figures_that_are_not_finite_are_null(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics([{"epoch": 1, "val_loss": float("nan")}])
    run.add_metrics({"epoch": 2, "val_loss": float("inf")})
    assert run.metrics_file.read_text() == '{"epoch": 1, "val_loss": null}\n{"epoch": 2, "val_loss": null}\n'
