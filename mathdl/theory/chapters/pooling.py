"""Pooling and shape: the mean or the maximum of what a window sees, and the entries of an image as a vector.

The generic proofs are those of a sequence, as for convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from mathdl import layers
from mathdl.arrays import device
from mathdl.theory import definitions
from mathdl.theory.chapters.max_pooling import FITS, LARGE_MAXIMA, MAX_POOL, NO_PADDING, SECTION_7, fits
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import both_ways, exactly
from mathdl.theory.proposition import Chapter, Proposition, Source
from mathdl.theory.subject import Subject, of_layer

UNDER_7 = Source("Kasliwal", "section 7, pooling layers", "ours")
Sides = tuple[tuple[int, int], tuple[int, int]]

i, a = sp.Dummy("i", integer=True, nonnegative=True), sp.Dummy("a", integer=True, nonnegative=True)
u, r = sp.symbols("u r", integer=True, nonnegative=True)
P = sp.Symbol("P", integer=True, nonnegative=True)
f, s, o, p = sp.symbols("f s p' p", integer=True, positive=True)
X, G, n = (sp.IndexedBase(name, real=True) for name in "XGn")

# ------------------------------------------------------------------------------------------- layers and their meaning


def average(
    input: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: Sides = NO_PADDING,
    count: bool = False,
    k: int = 1,
) -> Subject:
    """Average pooling of images."""

    def definition(definitions: Any, x: Any) -> Any:
        return definitions.average_pool2d(x["A"], size, stride, padding, count)

    return of_layer(layers.AveragePool2D(size, stride, padding, count), (*input, k), definition, B=1)


def average_1d(p: int, size: int, stride: int, padding: tuple[int, int] = (0, 0), count: bool = False) -> Subject:
    """Average pooling of a sequence."""

    def definition(definitions: Any, x: Any) -> Any:
        return definitions.average_pool1d(x["A"], size, stride, padding, count)

    return of_layer(layers.AveragePool1D(size, stride, padding, count), (p, 2), definition, B=1)


AVERAGES = [
    average_1d(p, f, s, sides, count)
    for p, f, s, sides, count in product(
        range(1, 7), (1, 2, 4), range(1, 4), ((0, 0), (1, 0), (0, 1), (1, 1)), (False, True)
    )
    if fits(p, f, s, sides) and (f < 4 or count or sides == (0, 0))
] + [average((4, 5), (2, 2), (1, 2), ((1, 0), (0, 1)), count, k=2) for count in (False, True)]
"""Windows that see 1, 2 or 4 elements: dividing by a power of two is exact."""

SYMBOLIC_AVERAGES = [
    average_1d(4, 3, 1, (1, 1)),
    average_1d(4, 3, 2, (1, 1), True),
    average((3, 3), (3, 2), (1, 2), ((1, 1), (0, 1))),
]

LARGE_AVERAGES = [
    average((8, 9), (3, 3), (2, 1), ((1, 1), (1, 0)), k=3),
    average((8, 9), (3, 2), (1, 2), ((1, 1), (0, 0)), True, k=3),
]
GLOBAL = [
    of_layer(layers.GlobalAveragePool2D(), (2, 4, 2), lambda d, x: d.global_average_pool2d(x["A"])),
    of_layer(layers.GlobalAveragePool1D(), (4, 2), lambda d, x: d.global_average_pool1d(x["A"])),
    of_layer(layers.GlobalAveragePool2D(), (1, 1, 3), lambda d, x: d.global_average_pool2d(x["A"])),
]

# ----------------------------------------------------------------------------------------------------- average pooling

window_sum = sp.Sum(X[i * s + a - P], (a, 0, f - 1))
seen = sp.Piecewise((1, (u + P - i * s >= 0) & (u + P - i * s <= f - 1)), (0, True))
"""[the window in place i sees u]"""
AVERAGE_GRADIENT = Derivation(
    (
        Step(sp.Derivative(sp.Sum(G[i] * window_sum / n[i], (i, 0, o - 1)), X[u]), "the gradient of ⟨G, Z⟩ for X at u"),
        Step(
            sp.Sum(G[i] / n[i] * seen, (i, 0, o - 1)),
            "Z is linear in X, and the window in place i sees u once, or not at all",
        ),
    ),
    title="∇X of a sequence",
)

AVERAGE_POOL = Proposition(
    id="avg-pool",
    title="Average pooling",
    statement=r"Z_{ijc} = \frac{1}{n_{ij}} \sum_{a,a'} X_{is + a - P,\; js' + a' - P',\; c}, \qquad "
    r"\nabla_{X_{uvc}} J = \sum_{i,j:\ (u,v) \text{ in the window of } (i,j)} \frac{G_{ijc}}{n_{ij}}",
    roles=("forward", "gradient"),
    sources=(SECTION_7,),
    hypotheses=(FITS,),
    convention=r"$n_{ij}$ is the number of elements of X in the window; with `count_padding` it is $f f'$ everywhere.",
    derivations=(AVERAGE_GRADIENT,),
    evidence=(
        code_values("Z equals the means, also of 3", *SYMBOLIC_AVERAGES),
        code_gradients("dX is the derivative, also of 3", *SYMBOLIC_AVERAGES),
        dual_gradients("dX at real sizes", *LARGE_AVERAGES),
        integer_values("Z equals the means", both_ways(AVERAGES)),
        integer_gradients("dX equals that of the means", both_ways(AVERAGES)),
    ),
)

# ---------------------------------------------------------------------------------------------- overlap, global, shape

OVERLAP_GRADIENT = Derivation(
    (
        Step(
            sp.Derivative(sp.Sum(G[i] * window_sum, (i, 0, o - 1)), X[u]), "the gradient of ⟨G, window sums⟩ for X at u"
        ),
        Step(sp.Sum(G[i] * seen, (i, 0, o - 1)), "every window that sees u adds its own"),
    ),
    title="windows add",
)


def overlaps() -> Iterator[tuple[str, Any, Any]]:
    """dX of windows of ones: how many windows see each element, for the mean; and 3 windows with one maximum."""
    for p, f, s in product(range(1, 8), range(1, 5), range(1, 4)):
        if not fits(p, f, s, (0, 0)):
            continue
        starts = [place * s for place in range(definitions.window_size(p, f, s))]
        seen = [sum(start <= u < start + f for start in starts) for u in range(p)]
        subject = of_layer(layers.AveragePool1D(f, s, 0, True), (p, 1), B=1)
        for way in both_ways([subject]):
            Z, cache = way.forward(device("cpu"), {"A": np.zeros((1, p, 1))})
            yield "mean", way.backward(np.full(Z.shape, float(f)), cache)["A"].reshape(-1), seen
        u = starts[-1]
        peak = np.zeros((1, p, 1))
        peak[0, u, 0] = 1.0
        for way in both_ways([of_layer(layers.MaxPool1D(f, s), (p, 1), B=1)]):
            Z, cache = way.forward(device("cpu"), {"A": peak})
            yield "maximum", way.backward(np.ones(Z.shape), cache)["A"][0, u, 0], seen[u]


OVERLAP = Proposition(
    id="overlap",
    title="Where windows overlap, their gradients add",
    statement=r"\nabla_{X_u} J = \sum_{i:\ u \text{ in the window of } i} \nabla_{X_u} \langle G_i, Z_i \rangle",
    roles=("gradient",),
    sources=(UNDER_7,),
    hypotheses=(FITS,),
    derivations=(OVERLAP_GRADIENT,),
    evidence=(
        dual_gradients("dX of overlapping windows", LARGE_AVERAGES[0], LARGE_MAXIMA[0]),
        exactly("X", "gradient", "as many shares as windows", ["mean", "maximum"], overlaps),
    ),
)

q, k = sp.Symbol("q", integer=True, positive=True), sp.Dummy("k", integer=True, positive=True)
GLOBAL_GRADIENT = Derivation(
    (
        Step(sp.Derivative(sp.Symbol("G") * sp.Sum(X[k], (k, 1, q + r)) / (q + r), X[q]), "n = q + r, r ≥ 0"),
        Step(sp.Symbol("G") / (q + r), "Z is linear in X, and X at q is one of its terms"),
    ),
    title="∇X of a mean of n",
)

GLOBAL_AVERAGE = Proposition(
    id="gap",
    title="Global average pooling",
    statement=r"Z_c = \frac{1}{n} \sum_u X_{uc}, \qquad \nabla_{X_{uc}} J = \frac{G_c}{n}, \qquad n = pq",
    roles=("forward", "gradient"),
    sources=(SECTION_7,),
    derivations=(GLOBAL_GRADIENT,),
    evidence=(
        dual_gradients("dX at real sizes", *GLOBAL),
        integer_values("Z equals the mean", GLOBAL),
        integer_gradients("dX equals that of the mean", GLOBAL),
    ),
)

SHAPES = [
    of_layer(layers.Flatten(), input, lambda d, x: [d.flatten(image) for image in x["A"]])
    for input in ((3,), (2, 3), (2, 1, 3), (2, 2, 2, 2))
] + [
    of_layer(layers.Reshape((3, 4)), (2, 6), lambda d, x: np.array(x["A"]).reshape(2, 3, 4).tolist()),
]


def there_and_back() -> Iterator[tuple[str, Any, Any]]:
    """Flatten is one-to-one, and its adjoint is its inverse."""
    X = np.arange(48.0).reshape(2, 2, 3, 4)
    for layer in (layers.Flatten(), layers.Reshape((4, 6))):
        subject = of_layer(layer, X.shape[1:])
        A, cache = subject.forward(device("cpu"), {"A": X})
        yield "adjoint", subject.backward(A, cache)["A"], X
        yield "entries", sorted(A.reshape(-1)), sorted(X.reshape(-1))


FLATTEN = Proposition(
    id="flatten",
    title="Flatten and reshape",
    statement=r"A = \mathrm{vec}(X) \text{ in row-major order is a bijection, and its adjoint is its inverse}",
    roles=("forward", "gradient"),
    sources=(UNDER_7,),
    without_generic="the number of axes is not a number that computer algebra can leave open",
    evidence=(
        dual_gradients("dX has the entries of dA, at real sizes", *SHAPES),
        integer_values("A has the entries of X in row-major order", SHAPES),
        integer_gradients("dX has the entries of dA", SHAPES),
        exactly("X", "gradient", "the adjoint undoes it", ["adjoint", "entries"], there_and_back),
    ),
)

CHAPTER = Chapter(
    "Pooling and shape",
    "The derivations are those of a sequence with one channel, for all sizes.",
    (AVERAGE_POOL, MAX_POOL, OVERLAP, GLOBAL_AVERAGE, FLATTEN),
)
