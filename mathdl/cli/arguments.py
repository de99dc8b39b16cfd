"""The types of arguments that several commands take; argparse prints what they raise."""

from __future__ import annotations

from argparse import ArgumentTypeError

from mathdl.arrays import Shape


def positive(text: str) -> int:
    """An int ≥ 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected an int ≥ 1, got {text!r}")
    return int(text)


def shape(text: str) -> Shape:
    """The shape of an instance: ``"28,28,1"`` or ``"28x28x1"`` → (28, 28, 1)."""
    return tuple(positive(part) for part in text.replace("x", ",").split(","))
