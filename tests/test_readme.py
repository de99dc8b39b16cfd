"""The README is true: its Python runs, its TOML is a model, the layer that it shows is the one that ships."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mathdl.cli import COMMANDS
from mathdl.cli.models import build
from mathdl.layers import relu
from mathdl.network import Network
from mathdl.theory.mutants import read_mutants, spoilt_sources
from support import check_layer_gradient, normal

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    monkeypatch.setitem(sys.modules, "readme", ModuleType("readme"))  # where a dataclass looks up its annotations
    for example in blocks("python"):
        if "import mathdl" in example:
            exec(compile(example, "README.md", "exec"), names)
    assert names["history"][-1]["val_accuracy"] > 0.8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.safetensors", "scale.safetensors"]
    assert isinstance(names["model"].network.layers[1], names["Scale"])


def test_the_layer_of_your_own_is_right(backend):
    (example,) = (block for block in blocks("python") if "class Scale" in block)
    names = {}
    exec(compile(example.partition("\n\nnet = ")[0], "README.md", "exec"), names)
    check_layer_gradient(names["Scale"](), {"g": normal(4)}, normal(3, 4, seed=1), backend)


def test_the_layer_is_the_one_that_ships():
    (shown,) = (block for block in blocks("python") if "@pointwise" in block)
    assert shown in inspect.getsource(relu)


def test_the_model_file_is_one(tmp_path):
    (text,) = [block for block in blocks("toml") if "[[layers]]" in block]
    (tmp_path / "model.toml").write_text(text, encoding="utf-8")
    network = Network(build(str(tmp_path / "model.toml"), (8, 8, 1), 10))
    assert network.shapes((8, 8, 1))[-1] == (10,)


def test_the_mutant_is_one(tmp_path):
    (text,) = [block for block in blocks("toml") if "[[mutants]]" in block]
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    (mutant,) = read_mutants(tmp_path / "mine.toml")
    (source,) = spoilt_sources(mutant).values()
    assert "Z += 2 * b" in source


def test_the_commands_are_there():
    shown = {line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("mathdl ")}
    assert shown <= set(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_figures_are_those_that_were_measured():
    results = json.loads((ROOT / "docs" / "accuracy.json").read_text(encoding="utf-8"))["results"]
    for result in results:
        middle = "median" if "median" in result else "mean"
        slowest = max(row["seconds"] for row in result["seeds"])
        assert f"| {middle} {result[middle]:.4f} | {result['lowest']:.4f} | {slowest:.1f} s |" in README
        below = result["most_below_least_squares"]
        assert below is None or f"at most {below:.4f} better" in README
