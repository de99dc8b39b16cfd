"""What a check is: a claim that runs, and a spoilt claim that it must refuse.

Every check has a **control**, the same check of a spoilt claim: a check that cannot refuse shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mathdl.errors import MathdlError

Kind: TypeAlias = Literal["G", "C", "X", "N", "E"]
"""The kind of evidence that a check is; `KINDS` says it in words."""

KINDS: Mapping[Kind, str] = {
    "G": "computer algebra at generic dimensions",
    "C": "the shipped code, run on symbols at small shapes",
    "X": "the shipped code, run on exact integers at every small shape, against the definition",
    "N": "the shipped code on numbers of real sizes: dual numbers, or an adjoint identity",
    "E": "edges: kinks, ties, infinities, and what is refused",
}

Role: TypeAlias = Literal["forward", "gradient", "other"]
"""What a proposition, or a check, is about: the value that a layer computes, its gradient, or something else."""


class Refused(MathdlError):
    """A claim that does not hold, or that the check cannot show: what was expected, and what was found."""

    def __init__(self, claim: str, expected: object, found: object) -> None:
        super().__init__(f"{claim}\n  expected  {expected}\n  found     {found}")
        self.claim, self.expected, self.found = claim, str(expected), str(found)


@dataclass(frozen=True)
class Check:
    """One piece of evidence. `run` returns where the claim holds, and raises `Refused` where it does not."""

    kind: Kind
    shows: Role
    says: str
    """What is claimed, in a few words."""
    run: Callable[[], None]
    control: Callable[[], None]
    """The same check of a spoilt claim: raises `Refused`, or else the check is worth nothing."""


def each_refused(*spoilt: Callable[[], None]) -> Callable[[], None]:
    """A control of several spoilt claims: it raises `Refused`, as a control must, only if each of them does."""

    def control() -> None:
        refusal: Refused | None = None
        for claim in spoilt:
            refusal = refusal_of(claim)
            if refusal is None:
                return
        if refusal is not None:
            raise refusal

    return control


def refusal_of(claim: Callable[[], None]) -> Refused | None:
    """What `claim` is refused with, or None if it is not. Any other error is a fault, and goes on its way."""
    try:
        claim()
    except Refused as refusal:
        return refusal
    return None
