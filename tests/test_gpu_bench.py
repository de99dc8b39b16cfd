"""`sh scripts/gpu/bench`: the whole of it on the CPU, what becomes of a run that is cut off, and the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mathdl import arrays

ROOT = Path(__file__).parent.parent
EVERY = ("--device", "cpu", "--smallest", "--quick", "--rounds", "2", "--burst", "0.01")


@pytest.fixture
def bench(scripts):
    return scripts("bench")


def test_a_dry_run_on_the_cpu(bench, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name in ("torch", "jax") else name)
    monkeypatch.setattr(bench, "plot", lambda steps, shown, path, log: path.write_text(f"{list(steps)} {shown}"))
    argv = [*EVERY, "--frameworks", "mathdl", "mathdl-eager", "torch", "torch-graph", "--only", "B=128", "digits"]
    assert bench.main([*argv, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "cpu-bench.json").read_text(encoding="utf-8"))
    assert set(results["checks"]) >= {"mlp, Adam", "cnn", "residual CNN", "control: a constant learning rate"}
    assert all(check["same"] for check in results["checks"].values())
    assert results["ceilings"]["float32"].keys() == {"product", "copy"}
    mlp, digits = results["rows"]
    assert (mlp["name"], mlp["precision"]) == ("MLP 784-512-256-10, B=128", "float32")
    assert mlp["left_out"] == {"torch": "not installed", "torch-graph": "needs a CUDA GPU"}
    for row in (mlp, digits):
        assert set(row["figures"]) == {"mathdl", "mathdl-eager"}
        assert all(0 < f["least"] <= f["ms"] <= f["most"] for f in row["figures"].values())
    assert mlp["floor"]["floor"] == max(mlp["floor"]["FLOPs"], mlp["floor"]["bytes"])
    text = (tmp_path / "cpu-bench.md").read_text(encoding="utf-8")
    assert "A dry run" in text
    assert "| mlp, Adam | the same bits |" in text
    assert "- MLP 784-512-256-10, B=128, float32, torch: not installed" in text
    assert text.rstrip() == capsys.readouterr().out.rstrip()
    assert (tmp_path / "cpu-bench.png").read_text() == (
        "['MLP 784-512-256-10, B=128, float32', 'digits to 97 %, float32'] ['mathdl-eager']"
    )
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".png"}


def test_a_run_that_is_cut_off_keeps_what_it_has(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.Bench, "check", lambda self: None)
    honest = bench.in_turns

    def once(workers, *more):
        monkeypatch.setattr(bench, "in_turns", lambda *_: 1 / 0)
        return honest(workers, *more)

    monkeypatch.setattr(bench, "in_turns", once)
    with pytest.raises(ZeroDivisionError):
        bench.main([*EVERY, "--frameworks", "mathdl", "--only", "MLP", "--out", str(tmp_path)])
    (row,) = json.loads((tmp_path / "cpu-bench.json").read_text(encoding="utf-8"))["rows"]
    assert row["figures"]["mathdl"]["ms"] > 0


def test_without_time_rows_are_named(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.Bench, "check", lambda self: None)
    argv = [*EVERY, "--minutes", "0.01", "--only", "CNN", "--out", str(tmp_path)]
    assert bench.main(argv) == 0
    text = (tmp_path / "cpu-bench.md").read_text(encoding="utf-8")
    assert "- CNN 28×28×1, B=256, float32: no time left" in text
    assert "- residual CNN 32×32×3, B=256, float32: no time left" in text


def test_a_check_that_fails_is_the_exit_status(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(
        bench, "answer", lambda child, limit: (child.communicate(), (None, "ValueError: out of order"))[1]
    )
    assert bench.main([*EVERY, "--only", "nothing", "--out", str(tmp_path)]) == 1
    assert "ValueError: out of order" in (tmp_path / "cpu-bench.md").read_text(encoding="utf-8")


def test_no_cuda_says_so(bench, monkeypatch, capsys):
    monkeypatch.setattr(arrays.backend("cupy"), "why_unusable", lambda: "CuPy is not installed: pip")
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--quick"])
    assert stopped.value.code == 2
    assert "CuPy is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Say which CUDA"),
        (["14"], "Say which CUDA"),
        (["13", "--wheels", "."], "--wheels goes with --installed"),
        (["13", "--installed", "--wheels", "no such folder"], "is not a folder"),
        (["13", "--installed", "--wheels"], "--wheels takes a folder"),
        (["12", "--installed", "--device", "cpu", "--frameworks", "no such"], "invalid choice: 'no such'"),
    ],
)
def test_the_command(argv, said):
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["sh", str(ROOT / "scripts" / "gpu" / "bench"), *argv]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert said in found.stderr


def test_another_precision_than_that_of_the_row_is_left_out(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.Bench, "check", lambda self: None)
    monkeypatch.setattr(bench, "_PRECISIONS", {"TF32": "1"})
    monkeypatch.setattr(bench.Bench, "find_ceilings", lambda self: setattr(self, "on_gpu", True))
    argv = [*EVERY, "--frameworks", "mathdl", "--only", "B=128", "--out", str(tmp_path)]
    assert bench.main(argv) == 0
    (row,) = json.loads((tmp_path / "cpu-bench.json").read_text(encoding="utf-8"))["rows"]
    assert row["left_out"] == {"mathdl": "its products are of float32"}


def test_cupy_is_told_its_precision(bench):
    assert bench.precision_environment("float32")["CUPY_TF32"] == "0"
    assert bench.precision_environment("TF32")["CUPY_TF32"] == "1"
    assert bench.precision_environment("TF32")["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


# -- the page ----------------------------------------------------------------------------------------------------------


def rows(name, **ms):
    return [{"name": name, "precision": "TF32", "figures": {f.replace("_", "-"): {"ms": v} for f, v in ms.items()}}]


def test_what_is_asked_of_the_mlp(scripts):
    report = scripts("report")
    found = report.targets(
        rows("MLP 784-512-256-10, B=128", mathdl=0.1, mathdl_eager=0.5, torch=0.29, torch_graph=0.2, jax_scan=0.11)
    )
    assert "| MLP 784-512-256-10, B=128, TF32 | mathdl-eager | 5× | 5.00× | holds |" in found
    assert "| MLP 784-512-256-10, B=128, TF32 | torch | 3× | 2.90× | does not hold |" in found
    assert "| MLP 784-512-256-10, B=128, TF32 | the best of torch-graph, jax-scan | 1× | 1.10× | holds |" in found


def test_what_was_not_measured_is_not_judged(scripts):
    report = scripts("report")
    assert all(
        line.endswith("| – | not measured |") for line in report.targets(rows("CNN 28×28×1, B=256", jax=1.0))[2:]
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Traceback\n  File x\nRuntimeError: no | here\nSet SOME_FLAG=1 for more", "RuntimeError: no \\| here"),
        ("not installed", "not installed"),
        ("", "?"),
    ],
)
def test_the_line_that_says_what_an_error_is(scripts, text, line):
    assert scripts("report").last_line(text) == line
