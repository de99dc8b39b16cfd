"""A proposition: a statement, where it comes from, what it supposes, its derivation and its checks. All is data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from mathdl.theory.check import KINDS, Check, Kind, Role
from mathdl.theory.derivation import Derivation, Prose

Status: TypeAlias = Literal["stated", "headed", "ours"]
"""*stated*: the text has the statement. *headed*: it has a heading or a name for it, and no more. *ours*: neither."""


@dataclass(frozen=True)
class Source:
    """Where a statement comes from."""

    text: str
    """``"Jiang"``, ``"Kasliwal"``, or the authors of a paper."""
    place: str
    """Section, definition, equation."""
    status: Status


@dataclass(frozen=True)
class Hypothesis:
    """What a proposition supposes, and what becomes of it in the library."""

    says: str
    """In words, with LaTeX between dollars."""
    enforced: str
    """How: the error that is raised, the test that owns it, or ``"prose"`` where nothing enforces it."""


@dataclass(frozen=True)
class Proposition:
    """A statement about what the library computes."""

    id: str
    """Words with hyphens, as layers name it: ``"sigmoid-derivative"``."""
    title: str
    statement: str
    """LaTeX."""
    roles: tuple[Role, ...]
    sources: tuple[Source, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    prose: tuple[Prose, ...] = ()
    """Steps of the argument that stand outside of the derivations; no machine checks them."""
    evidence: tuple[Check, ...] = ()
    """The checks besides the derivations."""
    smooth: bool = True
    """False where the derivative does not exist everywhere: then `convention` says what is taken there."""
    convention: str = ""
    without_generic: str = ""
    """Why a gradient has no check at generic dimensions, where it has none."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """The derivations, as checks, and the other checks."""
        return (*(derivation.check for derivation in self.derivations), *self.evidence)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of evidence there are, in the order of `KINDS`."""
        found = {check.kind for check in self.checks}
        return tuple(kind for kind in KINDS if kind in found)

    @property
    def unchecked(self) -> tuple[Prose, ...]:
        """The steps that no machine checks."""
        inside = [line for derivation in self.derivations for line in derivation.lines if isinstance(line, Prose)]
        return (*inside, *self.prose)


@dataclass(frozen=True)
class Chapter:
    """Propositions that belong together."""

    title: str
    introduction: str
    propositions: tuple[Proposition, ...]


def missing_evidence(proposition: Proposition) -> list[str]:
    """What the rule of evidence asks for and the proposition does not have; empty if it satisfies the rule.

    A forward formula needs C or X. A gradient needs G (or the reason why there is none), C or X, and N. What is not
    smooth needs C, N and E, and says its convention. Everything needs a check.
    """
    shown = {(check.shows, check.kind) for check in proposition.checks}
    missing = []
    if not shown:
        missing.append("a check")
    if "forward" in proposition.roles and not {("forward", "C"), ("forward", "X")} & shown:
        missing.append("C or X of the forward formula")
    if "gradient" in proposition.roles:
        if ("gradient", "G") not in shown and not proposition.without_generic:
            missing.append("G of the gradient, or the reason why there is none")
        if not {("gradient", "C"), ("gradient", "X")} & shown:
            missing.append("C or X of the gradient")
        if ("gradient", "N") not in shown:
            missing.append("N of the gradient")
    if not proposition.smooth:
        missing += [f"{kind}, as it is not smooth" for kind in ("C", "N", "E") if kind not in proposition.kinds]
        if not proposition.convention:
            missing.append("a convention, as it is not smooth")
    return missing
