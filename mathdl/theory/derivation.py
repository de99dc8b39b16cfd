"""Derivations: lines of which each equals the one before, and the check that they do.

A line is printed from the very object that is checked, so what is read cannot drift from what was verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mathdl.theory import sums
from mathdl.theory.check import Check, Role, each_refused
from mathdl.theory.equality import plus_one, require_equal


@dataclass(frozen=True)
class Step:
    """A line: a SymPy expression, equal to the step before it, and why."""

    expression: Any
    why: str = ""
    given: Mapping[Any, Any] = field(default_factory=dict)
    """What a hypothesis lets one replace in the step before: {Σ_k y_k: 1}. Without it the step must not hold."""


@dataclass(frozen=True)
class Prose:
    """A line that no machine checks. Every one is counted and shown."""

    says: str


@dataclass(frozen=True)
class Derivation:
    """A chain of equalities.

    `where` gives the abbreviations that the lines use: {σ: 1/(1 + e^(−z))}. They print as themselves, and are replaced
    by what they stand for before lines are compared.
    """

    lines: tuple[Step | Prose, ...]
    title: str = "derivation"
    where: Mapping[Any, Any] = field(default_factory=dict)
    shows: Role = "gradient"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The lines that are checked."""
        return tuple(line for line in self.lines if isinstance(line, Step))

    @property
    def check(self) -> Check:
        """Every step equals the one before.

        The control adds 1 to every step but the first, one at a time, and takes away what is `given`, where it is.
        """
        numbers = range(1, len(self.steps))
        spoilt = [partial(self._compare, number, plus_one) for number in numbers]
        spoilt += [partial(self._compare, number, given=False) for number in numbers if self.steps[number].given]

        def run() -> None:
            for number in numbers:
                self._compare(number)

        return Check(
            "G",
            self.shows,
            f"{self.title} ({len(numbers)} {'step' if len(numbers) == 1 else 'steps'})",
            run,
            each_refused(*spoilt),
        )

    def _compare(self, number: int, spoil: Callable[[Any], Any] = lambda line: line, given: bool = True) -> None:
        before, step = self.steps[number - 1 : number + 1]
        expected = self._unfolded(before.expression)
        if given and step.given:
            expected = sums.normal_form(expected)
            for left, right in step.given.items():
                expected = expected.subs(sums.normal_form(self._unfolded(left)), right)
        claim = f"{self.title}, step {number} ({step.why})"
        require_equal(spoil(self._unfolded(step.expression)), expected, claim)

    def _unfolded(self, expression: Any) -> Any:
        for short, long in self.where.items():
            expression = expression.subs(short, long)
        return expression
