from __future__ import annotations

from dataclasses import replace

import pytest

from mathdl.errors import UsageError
from mathdl.theory import self_test as subject
from mathdl.theory.mutants import Edit, Mutant, read_mutants
from mathdl.theory.self_test import self_test


def mutant(old: str, new: str, module: str = "mathdl.layers.dense", expected: str | None = None) -> Mutant:
    return Mutant("a", "spoils it", (Edit(module, old, new),), expected)


def test_every_mutant_that_ships_is_refused_by_a_check_that_names_what_is_wrong():
    verdicts = list(self_test(read_mutants()))
    assert [verdict.mutant.name for verdict in verdicts if verdict.refusal is None] == []
    fallen = [v.mutant.name for v in verdicts if v.refusal is not None and "expected" not in v.refusal.reason]
    assert fallen == [], "refused only because the code no longer runs"
    for verdict in verdicts:
        assert verdict.mutant.expected in (None, verdict.refusal.proposition), verdict.mutant.name


def test_what_changes_nothing_survives():
    (verdict,) = self_test([mutant("def dense_forward(", "\n\ndef dense_forward(")])
    assert verdict.refusal is None
    assert verdict.seconds > 0


def test_what_nothing_speaks_of_survives_and_says_so(monkeypatch):
    monkeypatch.setattr(subject, "PROPOSITIONS", {})
    (verdict,) = self_test([mutant("matmul(A, W)", "matmul(A, W) + 1")])
    assert verdict.note == "no proposition speaks of mathdl.layers.dense"


def test_a_refusal_does_not_count_if_the_code_itself_is_refused(monkeypatch):
    subject._passes.cache_clear()
    dense = subject.PROPOSITIONS["dense-forward"]
    wrong = replace(dense, evidence=tuple(replace(check, run=check.control) for check in dense.evidence))
    monkeypatch.setattr(subject, "PROPOSITIONS", {"dense-forward": wrong})
    (verdict,) = self_test([mutant("matmul(A, W)", "matmul(A, W) + 1")])
    subject._passes.cache_clear()
    assert verdict.refusal is None
    assert "refuses the code as it ships, too" in verdict.note


def test_spoilt_code_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(subject, "LIMIT", 2)
    (verdict,) = self_test([mutant("Z = namespace(A).matmul(A, W)", "while True:\n        Z = A")])
    assert verdict.refusal is None
    assert verdict.note == "given up after 2 s"


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (mutant("no such text", ""), "mutant a: the old text must stand exactly once"),
        (
            mutant("matmul(A, W)", "matmul(W, A)", expected="no-such-id"),
            "mutant a: expected names no proposition: 'no-such-id'",
        ),
        (
            mutant("class DenseCache(NamedTuple):", "class DenseCache(NoName):"),
            "mutant a: .* cannot be tried: NameError",
        ),
    ],
)
def test_a_mutant_that_cannot_be_tried_is_named(spoilt, message):
    with pytest.raises(UsageError, match=message):
        list(self_test([spoilt]))
