from __future__ import annotations

from dataclasses import replace

import pytest

from mathdl import cli
from mathdl.cli import prove
from mathdl.theory import chapters


def test_some_propositions(capsys):
    assert cli.main(["prove", "conv-size", "flatten"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["proposition", "title", "evidence", "checks", "seconds", "verdict"]
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [("conv-size", "ok"), ("flatten", "ok")]


def test_a_check_that_fails_and_one_that_cannot_fail_are_exit_status_1(capsys, monkeypatch):
    proposition = chapters.PROPOSITIONS["conv-equivariance"]
    (check,) = proposition.evidence
    spoilt = replace(proposition, evidence=(replace(check, run=check.control), replace(check, control=check.run)))
    monkeypatch.setitem(chapters.PROPOSITIONS, "conv-equivariance", spoilt)
    assert cli.main(["prove", "conv-equivariance"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert "conv-equivariance: a moved image gives a moved result: moved, entry" in out
    assert "conv-equivariance: a moved image gives a moved result: a spoilt claim is not refused" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["conv-sise"], "unknown proposition 'conv-sise'. Did you mean 'conv-size'?"),
        (["--json"], "--patch and --json belong to --self-test"),
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
