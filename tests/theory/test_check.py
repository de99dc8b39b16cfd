from __future__ import annotations

import pytest

from mathdl.theory.check import Refused, each_refused, refusal_of


def nothing() -> None:
    """A claim that holds."""


def refuse() -> None:
    raise Refused("a spoilt claim", 1, 2)


def fail() -> None:
    raise TypeError("not a refusal")


def test_a_refusal_says_what_was_expected_and_what_was_found():
    with pytest.raises(Refused, match="dZ of ReLU\n  expected  0\n  found     1"):
        raise Refused("dZ of ReLU", 0, 1)


def test_a_control_of_several_claims_needs_every_one_refused():
    with pytest.raises(Refused):
        each_refused(refuse, refuse)()
    each_refused(refuse, nothing)()
    each_refused(nothing, refuse)()
    each_refused()()


def test_an_error_that_is_no_refusal_is_not_taken_for_one():
    assert refusal_of(refuse) is not None
    assert refusal_of(nothing) is None
    with pytest.raises(TypeError):
        refusal_of(fail)
    with pytest.raises(TypeError):
        each_refused(fail)()
