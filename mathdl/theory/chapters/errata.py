"""Errata and ambiguities of the two texts: what is printed wrong or left open, and what the library takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sympy as sp
from sympy.matrices.exceptions import ShapeError

from mathdl.arrays import device
from mathdl.layers import Conv1D
from mathdl.theory.chapters.symbols import m, n, z
from mathdl.theory.check import Check, Refused
from mathdl.theory.evidence import refuses
from mathdl.theory.proposition import Chapter, Proposition, Source
from mathdl.theory.subject import of_layer

A = sp.MatrixSymbol("A", n, m)
y, w = sp.MatrixSymbol("y", 1, 3), sp.MatrixSymbol("W", 1, 3)


def _says(claim: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Refused(claim, expected, found)


def fact(claim: str, kind: Any, holds: Callable[[], Any], right: Any, wrong: Any) -> Check:
    """The check that `holds()` is what is right; its control claims what is wrong."""
    return Check(kind, "other", claim, lambda: _says(claim, holds(), right), lambda: _says(claim, holds(), wrong))


ROW_LENGTH = Proposition(
    id="erratum-row-length",
    title="A row has as many entries as there are columns",
    statement=r"[A]_{i,:} = [a_{i,1}\ a_{i,2} \cdots a_{i,m}] \text{ for } A \in M_{n,m}",
    roles=("other",),
    sources=(Source("Jiang", "section 2, Definition 1: the last entry is printed as a_{i,n}", "ours"),),
    evidence=(fact("the row of an n × m matrix is 1 × m, not 1 × n", "G", lambda: A[0:1, :].shape, (1, m), (1, n)),),
)

PERCEPTRON_PRODUCT = Proposition(
    id="erratum-perceptron-product",
    title="The perceptron needs a transpose",
    statement=r"y, W \in M_{1,m}: \quad y W \text{ is not defined for } m \ne 1, \qquad y W^\top \in M_{1,1}",
    roles=("other",),
    sources=(Source("Jiang", "section 3, Definition 4: both are 1 × m; the operation is missing", "headed"),),
    evidence=(
        refuses("m = 3: y W is refused for its shapes, y Wᵀ is not", ShapeError, lambda: y * w, lambda: y * w.T),
    ),
)

SIGMA_POSITIVE = Proposition(
    id="erratum-sigma-positive",
    title="The derivation of the sigmoid divides by σ",
    statement=r"\sigma(z) > 0 \text{ for every real } z, \text{ so } e^{-z} = (1 - \sigma)/\sigma \text{ may be used}",
    roles=("other",),
    sources=(Source("Kasliwal", "section 3.1.1 uses it without saying so", "ours"),),
    evidence=(fact("σ(z) > 0 for every real z", "G", lambda: (1 / (1 + sp.exp(-z))).is_positive, True, False),),
)


def _convolved(flipped: bool) -> None:
    """The layer's value equals the sum with the kernel as it is, or (which must be refused) flipped."""
    X, W = np.array([3.0, 1.0, 4.0, 1.0, 5.0]).reshape(1, 5, 1), np.array([1.0, 2.0, 4.0]).reshape(3, 1, 1)
    kernel = W[::-1] if flipped else W
    expected = [float(np.sum(X[0, u : u + 3] * kernel[:, :, 0])) for u in range(3)]
    subject = of_layer(Conv1D(1, 3, bias=False), (5, 1), B=1)
    found, _ = subject.forward(device("cpu"), {"A": X, "W": W})
    _says("the sum of products, entry by entry", found[0, :, 0].tolist(), expected)


CORRELATION = Proposition(
    id="erratum-convolution",
    title="What the field calls convolution is correlation",
    statement=r"Z_u = \sum_a X_{u+a} W_a, \text{ without the flip } W_{f-1-a} \text{ of a convolution}",
    roles=("other",),
    sources=(Source("Kasliwal", "section 6 (headed: the text does not say which)", "headed"),),
    evidence=(
        Check(
            "X",
            "other",
            "the kernel is not flipped",
            partial(_convolved, flipped=False),
            partial(_convolved, flipped=True),
        ),
    ),
)

CHAPTER = Chapter(
    "Errata",
    "Where a check is possible, it stands below. The claim that must be refused is what is printed only for the "
    "length of a row; for the others, whose texts print no such formula, it is the mistaken reading. No check is "
    "possible of these: Jiang numbers two definitions 2 (the matrix product; data set and network), and quantifies "
    "over j for rows, where only i is free. In Jiang's Convention 1 a vector is a row, while the column [A]_{:,j} is "
    "printed as an n × 1 matrix. Kasliwal writes the transpose of a tensor with two sets of channels, of order 4, and "
    "does not define it, and writes p × q for the sizes of two layers.",
    (ROW_LENGTH, PERCEPTRON_PRODUCT, SIGMA_POSITIVE, CORRELATION),
)
