from __future__ import annotations

import json

import pytest

from mathdl.cli.self_test import run_self_test

BIAS = '{ module = "mathdl.layers.dense", old = "Z += b", new = "Z += 2 * b" }'
NOTHING = '{ module = "mathdl.layers.dense", old = "Z += b", new = "Z += b * 1" }'


@pytest.fixture
def patch(tmp_path):
    def written(**mutants):
        text = "".join(
            f'[[mutants]]\nname = "{name}"\nbreaks = "breaks {name}"\nedits = [{edit}]\n'
            for name, edit in mutants.items()
        )
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_the_table_names_the_check_that_refused(patch, capsys):
    assert run_self_test(patch(twice=BIAS), as_json=False) == 0
    header, row, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["mutant", "refused", "by", "kind", "check", "seconds"]
    assert row.split()[:2] == ["twice", "dense-forward"]
    assert last.startswith("1 of 1 mutants refused")


def test_a_survivor_makes_the_exit_status_1_and_says_what_it_breaks(patch, capsys):
    assert run_self_test(patch(twice=BIAS, nothing=NOTHING), as_json=False) == 1
    out = capsys.readouterr().out
    assert "SURVIVED nothing: breaks nothing" in out
    assert "every check passed; write one that refuses it" in out
    assert "1 of 2 mutants refused" in out


def test_as_json(patch, capsys):
    assert run_self_test(patch(twice=BIAS, nothing=NOTHING), as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    refused, survived = report["mutants"]
    assert (refused["name"], refused["refused_by"], refused["modules"]) == (
        "twice",
        "dense-forward",
        ["mathdl.layers.dense"],
    )
    assert refused["kind"] in ("C", "X", "N")
    assert survived["refused_by"] is None
    assert report["survived"] == 1
