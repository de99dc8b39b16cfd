"""Pooling and shape: the mean or the maximum of what a window sees, and the entries of an image as a vector.

The generic proofs are those of a sequence, as for convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import inf, nan, prod
from typing import Any

import numpy as np
import sympy as sp

from mathdl import layers
from mathdl.arrays import Device, device, namespace
from mathdl.errors import ShapeError
from mathdl.layers.layer import Layer
from mathdl.theory import definitions
from mathdl.theory.derivation import Derivation, Prose, Step
from mathdl.theory.domains import ORDERED
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import both_ways, exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer

SECTION_7 = Source("Kasliwal", "section 7, pooling layers", "headed")
UNDER_7 = Source("Kasliwal", "section 7, pooling layers", "ours")
Sides = tuple[tuple[int, int], tuple[int, int]]
NO_PADDING: Sides = ((0, 0), (0, 0))

i, a = sp.Dummy("i", integer=True, nonnegative=True), sp.Dummy("a", integer=True, nonnegative=True)
u, r = sp.symbols("u r", integer=True, nonnegative=True)
P = sp.Symbol("P", integer=True, nonnegative=True)
f, s, o, p = sp.symbols("f s p' p", integer=True, positive=True)
X, G, n = (sp.IndexedBase(name, real=True) for name in "XGn")

FITS = Hypothesis(
    r"$X \in \mathbb R^{B \times p \times q \times k}$; no window lies wholly in the padding",
    "raises ShapeError (tests/layers/test_max_pool.py, tests/layers/test_average_pool.py)",
)

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


def _fits(p: int, f: int, s: int, sides: tuple[int, int]) -> bool:
    """Whether there is a window, and it sees an element wherever it stands."""
    return max(sides) < f <= sum(sides) + p


AVERAGES = [
    average_1d(p, f, s, sides, count)
    for p, f, s, sides, count in product(
        range(1, 7), (1, 2, 4), range(1, 4), ((0, 0), (1, 0), (0, 1), (1, 1)), (False, True)
    )
    if _fits(p, f, s, sides) and (f < 4 or count or sides == (0, 0))
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
LARGE_MAXIMA = [
    of_layer(layers.MaxPool2D(3, 2, 1), (8, 9, 3)),
    of_layer(layers.MaxPool2D(2), (8, 9, 3)),
    of_layer(layers.GlobalMaxPool2D(), (8, 9, 3)),
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

# --------------------------------------------------------------------------------------------------------- max pooling


def of_row(layer: Layer, input: tuple[int, ...], definition: Callable[[Any, Any], Any], name: str) -> Subject:
    """A layer on one image whose entries stand in one row, so that they can be ordered: input "A" (1, p·q·k)."""
    whole = of_layer(layer, input, B=1)
    size = prod(input)

    def forward(place: Device, inputs: Any) -> Any:
        A = inputs["A"]
        return whole.forward(place, {"A": namespace(A).reshape(A, (1, *input))})

    def backward(dA: Any, cache: Any) -> Any:
        dX = whole.backward(dA, cache)["A"]
        return {"A": namespace(dX).reshape(dX, (1, size))}

    def of_lists(definitions: Any, x: Any) -> Any:
        return definition(definitions, _image(x["A"][0], input))

    return Subject(name, {"A": (1, size)}, forward, backward, of_lists, {"A": ORDERED})


def _image(entries: Any, input: tuple[int, ...]) -> Any:
    """[entries] in the shape (1, *input), as nested lists."""
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(1, *input).tolist()


ORDERS = [
    of_row(layers.MaxPool2D(2), (2, 2, 1), lambda d, A: d.max_pool2d(A, (2, 2), (2, 2)), "every order of 2 × 2"),
    of_row(layers.MaxPool1D(2, 1), (4, 1), lambda d, A: d.max_pool1d(A, 2, 1), "every order of 4, windows overlap"),
    of_row(layers.MaxPool1D(3, 1, 1), (3, 1), lambda d, A: d.max_pool1d(A, 3, 1, (1, 1)), "every order of 3, padded"),
    of_row(layers.GlobalMaxPool2D(), (2, 2, 1), lambda d, A: d.global_max_pool2d(A), "every order of 2 × 2, global"),
]

MAXIMA = [
    (input, size, stride, sides)
    for input, size, stride, sides in product(
        ((1, 1), (3, 4), (4, 4)), ((1, 1), (2, 2), (3, 2)), ((1, 1), (2, 2), (2, 3)), (NO_PADDING, ((1, 0), (0, 1)))
    )
    if all(map(_fits, input, size, stride, sides))
]
"""Windows that overlap, tile, leave gaps, and see padding."""


def maxima(values: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    """(Z and dX of the layer, with kernels and without, those of the definition) for X of these values."""
    rng = np.random.default_rng(0)
    for input, size, stride, sides in MAXIMA:
        X = values(rng, (2, *input, 2))
        for way in both_ways([of_layer(layers.MaxPool2D(size, stride, sides), (*input, 2))]):
            Z, cache = way.forward(_cpu(), {"A": X})
            G = rng.integers(-99, 99, Z.shape).astype(np.float64)
            yield "Z", Z, definitions.max_pool2d(X.tolist(), size, stride, sides)
            expected = definitions.max_pool2d_backward(X.tolist(), G.tolist(), size, stride, sides)
            yield "dX", way.backward(G, cache)["A"], expected


def with_ties(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """−2, −1, 0: most windows hold their maximum twice, and padding by 0 would beat it."""
    return rng.integers(-2, 1, shape).astype(np.float64)


def edges() -> Iterator[tuple[str, Any, Any]]:
    """Ties, padding, NaN and −∞, by hand."""
    zeros = np.zeros((1, 2, 2, 1))
    for ties in (layers.MaxPool2D(2), layers.GlobalMaxPool2D()):
        _, dX = _forward_backward(ties, zeros)
        yield "ties", dX.reshape(-1), [1.0, 0.0, 0.0, 0.0]
    Z, dX = _forward_backward(layers.MaxPool2D((1, 2), 1), np.zeros((1, 1, 3, 1)))
    yield "overlapping ties", dX.reshape(-1), [1.0, 1.0, 0.0]
    Z, _ = _forward_backward(layers.MaxPool2D(2, padding=1), -1.0 - zeros)
    yield "padding", Z.reshape(-1), [-1.0] * 4
    Z, _ = _forward_backward(layers.MaxPool2D((1, 2), 1), np.array([0.0, nan, 1.0, 2.0]).reshape(1, 1, 4, 1))
    yield "NaN", Z.reshape(-1), [nan, nan, 2.0]
    Z, _ = _forward_backward(layers.GlobalMaxPool2D(), np.array([0.0, nan, 1.0, 2.0]).reshape(1, 1, 4, 1))
    yield "NaN", Z.reshape(-1), [nan]
    Z, dX = _forward_backward(layers.MaxPool2D(2), zeros - inf)
    yield "−∞", Z.reshape(-1), [-inf]
    yield "−∞", dX.reshape(-1), [1.0, 0.0, 0.0, 0.0]
    for layer in (layers.MaxPool2D(2, padding=2), layers.AveragePool2D(2, padding=2)):
        yield "refused", float(_is_refused(layer, (2, 2, 1))), 1.0


def _forward_backward(layer: Layer, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Z, dX for a gradient of ones) of one image."""
    subject = of_layer(layer, X.shape[1:], B=X.shape[0])
    Z, cache = subject.forward(_cpu(), {"A": X})
    return Z, subject.backward(np.ones(Z.shape), cache)["A"]


def _is_refused(layer: Layer, input: tuple[int, ...]) -> bool:
    try:
        layer.shapes(input)
    except ShapeError:
        return True
    return False


def _cpu() -> Device:
    return device("cpu")


MAX_POOL = Proposition(
    id="max-pool",
    title="Max pooling",
    statement=r"Z_{ijc} = \max_{a,a'} X_{is + a - P,\; js' + a' - P',\; c}, \qquad "
    r"\nabla_{X_{uvc}} J = \sum_{i,j:\ (u,v) = \operatorname{argmax}_{ijc}} G_{ijc}",
    roles=("forward", "gradient"),
    sources=(SECTION_7,),
    hypotheses=(
        FITS,
        Hypothesis("the gradient: every window has one largest element", "prose; ties have a convention"),
    ),
    without_generic="a maximum has no closed form; every order of small windows is tried instead",
    smooth=False,
    convention="Of several largest elements the first in row-major order gets the gradient. Padding is −∞. A NaN in a "
    "window is its maximum; which element gets the gradient is then not said.",
    prose=(Prose("Where the largest element is unique, it stays the largest nearby, so Z is that element there."),),
    evidence=(
        code_values("Z equals the maxima, in every order", *ORDERS),
        code_gradients("dX is the derivative, in every order", *ORDERS),
        dual_gradients("dX at real sizes", *LARGE_MAXIMA),
        exactly("X", "forward", "Z equals the maxima, with many ties", ["Z", "dX"], lambda: maxima(with_ties)),
        exactly("X", "gradient", "dX goes to the first of the largest", ["Z", "dX"], lambda: maxima(with_ties)),
        exactly(
            "E",
            "gradient",
            "ties, padding, NaN, −∞, and what is refused",
            ["ties", "overlapping ties", "padding", "NaN", "−∞", "refused"],
            edges,
        ),
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
        if not _fits(p, f, s, (0, 0)):
            continue
        starts = [place * s for place in range(definitions.window_size(p, f, s))]
        seen = [sum(start <= u < start + f for start in starts) for u in range(p)]
        subject = of_layer(layers.AveragePool1D(f, s, 0, True), (p, 1), B=1)
        for way in both_ways([subject]):
            Z, cache = way.forward(_cpu(), {"A": np.zeros((1, p, 1))})
            yield "mean", way.backward(np.full(Z.shape, float(f)), cache)["A"].reshape(-1), seen
        u = starts[-1]
        peak = np.zeros((1, p, 1))
        peak[0, u, 0] = 1.0
        for way in both_ways([of_layer(layers.MaxPool1D(f, s), (p, 1), B=1)]):
            Z, cache = way.forward(_cpu(), {"A": peak})
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
        A, cache = subject.forward(_cpu(), {"A": X})
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
