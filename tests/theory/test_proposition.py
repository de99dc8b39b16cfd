from __future__ import annotations

from dataclasses import replace

from mathdl.theory.check import KINDS, Check, Refused
from mathdl.theory.derivation import Prose
from mathdl.theory.proposition import Proposition, missing_evidence


def nothing() -> None:
    """A check that passes."""


def refuse() -> None:
    raise Refused("a spoilt claim", 1, 2)


def check(kind: str, shows: str = "gradient") -> Check:
    return Check(kind, shows, f"{kind} of {shows}", nothing, refuse)


def proposition(*checks: Check, roles: tuple[str, ...] = ("gradient",), **fields: object) -> Proposition:
    return Proposition("an-id", "Title", "x = x", roles, (), evidence=checks, **fields)


def test_a_gradient_needs_generic_dimensions_the_code_and_numbers():
    assert missing_evidence(proposition(check("G"), check("C"), check("N"))) == []
    assert missing_evidence(proposition(check("G"), check("X"), check("N"))) == []
    assert len(missing_evidence(proposition(check("C")))) == 2
    assert missing_evidence(proposition(check("C"), check("N"), without_generic="it has no closed form")) == []


def test_evidence_for_the_value_is_none_for_the_gradient():
    forward = [check(kind, "forward") for kind in KINDS]
    assert len(missing_evidence(proposition(*forward))) == 3
    assert missing_evidence(proposition(*forward, roles=("forward",))) == []
    assert missing_evidence(proposition(check("N", "forward"), roles=("forward",))) == ["C or X of the forward formula"]


def test_what_is_not_smooth_needs_its_edges_and_a_convention():
    smooth = proposition(check("G"), check("C"), check("N"))
    assert missing_evidence(replace(smooth, smooth=False)) == [
        "E, as it is not smooth",
        "a convention, as it is not smooth",
    ]
    kinked = proposition(check("G"), check("C"), check("N"), check("E"), smooth=False, convention="0 at 0")
    assert missing_evidence(kinked) == []


def test_everything_needs_a_check():
    assert missing_evidence(proposition(roles=("other",))) == ["a check"]
    assert missing_evidence(proposition(check("G", "other"), roles=("other",))) == []


def test_kinds_come_in_one_order_and_prose_is_counted():
    found = proposition(check("N"), check("G"), check("C"), prose=(Prose("by induction over l"),))
    assert found.kinds == ("G", "C", "N")
    assert [prose.says for prose in found.unchecked] == ["by induction over l"]
