"""The types of arguments that several commands take; argparse prints what they raise."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Collection
from math import isfinite, nan

from mathdl.arrays import Shape
from mathdl.errors import unknown_name


def one_of(what: str, known: Collection[str]) -> Callable[[str], str]:
    """The type of an argument that is one of these names; another one is met with the nearest of them."""

    def checked(text: str) -> str:
        if text not in known:
            raise ArgumentTypeError(str(unknown_name(what, text, known)))
        return text

    return checked


def positive(text: str) -> int:
    """An int ≥ 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected an int ≥ 1, got {text!r}")
    return int(text)


def shape(text: str) -> Shape:
    """The shape of an instance: ``"28,28,1"`` or ``"28x28x1"`` → (28, 28, 1)."""
    return tuple(positive(part) for part in text.replace("x", ",").split(","))


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def fraction(text: str) -> float:
    """A number in [0, 1)."""
    if not 0 <= number(text) < 1:
        raise ArgumentTypeError(f"expected a number in [0, 1), got {text!r}")
    return number(text)


def positive_number(text: str) -> float:
    """A number > 0."""
    if number(text) <= 0:
        raise ArgumentTypeError(f"expected a number > 0, got {text!r}")
    return number(text)


def non_negative_number(text: str) -> float:
    """A number ≥ 0."""
    if number(text) < 0:
        raise ArgumentTypeError(f"expected a number ≥ 0, got {text!r}")
    return number(text)


def seed(text: str) -> int:
    """An int in [0, 2⁶⁴)."""
    if not text.isdecimal() or int(text) >= 2**64:
        raise ArgumentTypeError(f"expected an int in [0, 2^64), got {text!r}")
    return int(text)
