"""The notation of the texts as data: the glossary, addresses such as A[2]{17}(4), and how a shape prints.

The code takes Kasliwal's indices (section 2) and sizes by words; a sample is a row (Jiang, Convention 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Entry(NamedTuple):
    """A line of the glossary."""

    written: str
    """As the texts (and the documentation) write it."""
    in_code: str
    """The same in Python."""
    meaning: str


GLOSSARY = (
    Entry("A^{[l]{m}(i)}", "trainer.A[l, m, i]", "activations of layer l, for instance i of minibatch m; A^{[0]} = X"),
    Entry("l", "l", "the number of a layer, 1 … L; every element of Network([…]) counts; [3.1] lies inside layer 3"),
    Entry("m", "m", "the number of a minibatch within its epoch, from 0"),
    Entry("i", "i", "the number of an instance within its minibatch, from 0; axis 0 of every array of instances"),
    Entry("L", "net.L", "depth, the number of layers"),
    Entry("n^{[l]}", "net.n[l]", "width of layer l, its number of nodes: p·q·k for images; n^{[0]} of the input"),
    Entry("p × q × k (× k₂)", "axes 1, 2, 3 (, 4)", "rows, columns, channels (a second channel axis); channels last"),
    Entry(
        "W^{[l]}, b^{[l]}", 'params["W[l]"], params["b[l]"]', "parameters of layer l; a sample is a row: Z = A W + b"
    ),
    Entry("Z^{[l]}", "Z", "what an activation is applied to"),
    Entry("X, Y, P", "X, Y, P", "input, targets, and what the network puts out for them: P = A^{[L]}"),
    Entry(
        "ℓ(i), w(i), J", "instance_losses, weights, J", "loss and weight of instance i; cost J = Σ w(i) ℓ(i) / Σ w(i)"
    ),
    Entry("∂J/∂X", "dX", "gradient of the cost: the shape of X, always, everywhere"),
    Entry("θ", "params.vector", "all parameters as one flat vector"),
    Entry("B", "B", "number of instances in this minibatch"),
    Entry("f, s, P, d", "kernel, stride, padding, dilation", "geometry of a window"),
)
"""The notation of the library, line by line."""


def flat_name(name: str, path: tuple[int, ...]) -> str:
    """("W", (3, 1)) → ``"W[3.1]"``; an empty path gives the bare name."""
    return f"{name}[{'.'.join(map(str, path))}]" if path else name


def split_name(flat: str) -> tuple[str, tuple[int, ...]]:
    """``"W[3.1]"`` → ("W", (3, 1)): what `flat_name` was given."""
    name, _, place = flat.removesuffix("]").partition("[")
    return name, tuple(map(int, place.split("."))) if place else ()


def activation(l: int | tuple[int, ...], m: int | None = None, i: int | None = None, name: str = "A") -> str:
    """(2, 17, 4) → ``"A[2]{17}(4)"``: the address of an activation, as errors and diagnosis write it.

    l is a number or a path, ``(3, 1)`` for [3.1]; an index that is None is left out.
    """
    path = l if isinstance(l, tuple) else (l,)
    minibatch = "" if m is None else f"{{{m}}}"
    instance = "" if i is None else f"({i})"
    return flat_name(name, path) + minibatch + instance


def shape_text(shape: Sequence[int]) -> str:
    """(28, 28, 1) → ``"28 × 28 × 1"``; (784,) → ``"784"``; an empty shape, one number an instance, is ``"1"``."""
    return " × ".join(map(str, shape)) or "1"


def A_text(l: int | tuple[int, ...], shape: Sequence[int]) -> str:
    """(1, (28, 28, 32)) → ``"A^[1] 28 × 28 × 32"``: an activation with its shape, as `mathdl summary` writes it."""
    return f"{flat_name('A^', l if isinstance(l, tuple) else (l,))} {shape_text(shape)}"
