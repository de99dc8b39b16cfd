"""Every check of every proposition holds, and refuses a spoilt claim; every layer is covered, and every id exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mathdl
from mathdl.initializers import INITIALIZERS
from mathdl.theory.chapters import CHAPTERS, PROPOSITIONS, by_id
from mathdl.theory.check import Refused
from mathdl.theory.cover import covered_kinds
from mathdl.theory.proposition import missing_evidence

CHECKS = [
    pytest.param(check, id=f"{proposition.id}-{check.kind}-{number}")
    for proposition in PROPOSITIONS.values()
    for number, check in enumerate(proposition.checks)
]
STATED_FOR_THEMSELVES = {
    "affine-collapse",
    "backprop",
    "bias-augmentation",
    "chain-rule-vjp",
    "descent-lemma",
    "elementwise-differential",
    "erratum-convolution",
    "erratum-perceptron-product",
    "erratum-row-length",
    "erratum-sigma-positive",
    "k-layer-forward",
    "kink-caveat",
    "matmul-rows",
    "row-column",
    "trace-adjoint",
}
"""Propositions on which others rest; no single layer computes them."""


@pytest.mark.parametrize("check", CHECKS)
def test_the_claim_holds(check):
    check.run()


@pytest.mark.parametrize("check", CHECKS)
def test_a_spoilt_claim_is_refused(check):
    with pytest.raises(Refused):
        check.control()


@pytest.mark.parametrize("proposition", PROPOSITIONS.values(), ids=lambda proposition: proposition.id)
def test_there_is_the_evidence_that_the_rule_asks_for(proposition):
    assert missing_evidence(proposition) == []
    assert proposition.sources
    assert proposition.statement


def test_an_id_stands_for_one_proposition():
    with pytest.raises(ValueError, match="two propositions are called"):
        by_id((CHAPTERS[0], CHAPTERS[0]))


WITHOUT_MATHEMATICS = {INITIALIZERS[name] for name in ("zeros", "constant", "normal", "uniform")}


@pytest.mark.parametrize("kind", covered_kinds(), ids=lambda kind: kind.__name__)
def test_every_kind_names_its_propositions_and_its_docstring_the_same(kind):
    if kind in WITHOUT_MATHEMATICS:
        return
    assert kind.propositions
    assert set(kind.propositions) <= set(PROPOSITIONS)
    module = Path(mathdl.__file__).parent.parent / (kind.__module__.replace(".", "/") + ".py")
    listed = re.search(r"Propositions: ([^.]*)\.", module.read_text(encoding="utf-8"))
    assert listed is not None
    assert set(kind.propositions) <= set(re.split(r",\s+", listed[1]))


def test_every_proposition_is_named_or_stated_for_itself():
    named = {name for kind in covered_kinds() for name in getattr(kind, "propositions", ())}
    assert set(PROPOSITIONS) - named == STATED_FOR_THEMSELVES
