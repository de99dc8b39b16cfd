from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mathdl import cli, layers, losses
from mathdl.cli import prove
from mathdl.errors import ShapeError
from mathdl.theory import chapters


def test_some_propositions(capsys):
    assert cli.main(["prove", "conv-size", "flatten"]) == 0
    header, *rows, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["proposition", "title", "evidence", "checks", "prose", "seconds", "verdict"]
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [("conv-size", "ok"), ("flatten", "ok")]
    checks = sum(len(chapters.PROPOSITIONS[name].checks) for name in ("conv-size", "flatten"))
    assert last.startswith(f"2 propositions, {checks} checks, each of which also refused a spoilt claim; ")


def test_steps_in_prose_are_counted(capsys):
    unchecked = len(chapters.PROPOSITIONS["softmax-simplex"].unchecked)
    assert unchecked > 0
    assert cli.main(["prove", "softmax-simplex"]) == 0
    steps = "1 step is" if unchecked == 1 else f"{unchecked} steps are"
    assert f"; {steps} prose, checked by no machine" in capsys.readouterr().out


def test_as_json(capsys):
    assert cli.main(["prove", "flatten", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (proposition,) = found["propositions"]
    assert (proposition["id"], proposition["faults"]) == ("flatten", [])
    assert found["cover"] == {}


def test_all_of_them_come_with_what_they_cover(capsys, monkeypatch):
    monkeypatch.setattr(prove, "_faults", lambda proposition: [])
    assert cli.main(["prove"]) == 0
    out = capsys.readouterr().out
    cover = prove.covered()
    assert {*layers.__all__, *(kind.__name__ for kind in losses.LOSSES.values()), "Adam"} <= set(cover)
    for name, ids in cover.items():
        assert any(line.split()[:1] == [name] and ids[0] in line for line in out.splitlines())


def test_a_check_that_fails_and_one_that_cannot_fail_are_exit_status_1(capsys, monkeypatch):
    proposition = chapters.PROPOSITIONS["conv-equivariance"]
    (check,) = proposition.evidence
    spoilt = replace(proposition, evidence=(replace(check, run=check.control), replace(check, control=check.run)))
    monkeypatch.setitem(chapters.PROPOSITIONS, "conv-equivariance", spoilt)
    assert cli.main(["prove", "conv-equivariance"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "not shown: conv-equivariance" in out
    assert "conv-equivariance: a moved image gives a moved result: moved, entry" in out
    assert "conv-equivariance: a moved image gives a moved result: a spoilt claim is not refused" in out


def test_code_that_falls_over_is_exit_status_1_and_the_others_are_still_asked(capsys, monkeypatch):
    proposition = chapters.PROPOSITIONS["conv-equivariance"]
    (check,) = proposition.evidence

    def fall():
        raise ShapeError("no such shape")

    fallen = replace(proposition, evidence=(replace(check, run=fall), check))
    monkeypatch.setitem(chapters.PROPOSITIONS, "conv-equivariance", fallen)
    assert cli.main(["prove", "conv-equivariance", "flatten"]) == 1
    out = capsys.readouterr().out
    assert f"conv-equivariance: {check.says}: fell over with ShapeError: no such shape" in out
    assert "not shown: conv-equivariance" in out
    assert [line.split()[-1] for line in out.splitlines() if line.startswith("flatten ")] == ["ok"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["conv-sise"], "unknown proposition 'conv-sise'. Did you mean 'conv-size'?"),
        (["--patch", "mine.toml"], "--patch gives mutants to --self-test"),
        (["--self-test", "relu"], "--self-test tries all propositions: leave out relu"),
        (["--self-test", "--patch", "nowhere.toml"], "No such file or directory: nowhere.toml"),
    ],
)
def test_wrong_usage(argv, message, capsys):
    assert cli.main(["prove", *argv]) == 2
    assert message in capsys.readouterr().err


def test_without_sympy_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(prove, "find_spec", lambda name: None)
    assert cli.main(["prove"]) == 2
    assert 'needs sympy: pip install "mathdl[theory]"' in capsys.readouterr().err
