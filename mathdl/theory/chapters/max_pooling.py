"""Max pooling: the largest of what a window sees, and who gets its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import inf, nan, prod
from typing import Any

import numpy as np

from mathdl import layers
from mathdl.arrays import Device, device, namespace
from mathdl.errors import ShapeError
from mathdl.layers.layer import Layer
from mathdl.theory import definitions
from mathdl.theory.derivation import Prose
from mathdl.theory.domains import ORDERED
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients
from mathdl.theory.exact import both_ways, exactly
from mathdl.theory.proposition import Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer

SECTION_7 = Source("Kasliwal", "section 7, pooling layers", "headed")
NO_PADDING = ((0, 0), (0, 0))

FITS = Hypothesis(
    r"$X \in \mathbb R^{B \times p \times q \times k}$; no window lies wholly in the padding",
    "raises ShapeError (tests/layers/test_max_pool.py, tests/layers/test_average_pool.py)",
)


def fits(p: int, f: int, s: int, sides: tuple[int, int]) -> bool:
    """Whether there is a window, and it sees an element wherever it stands."""
    return max(sides) < f <= sum(sides) + p


LARGE_MAXIMA = [
    of_layer(layers.MaxPool2D(3, 2, 1), (8, 9, 3)),
    of_layer(layers.MaxPool2D(2), (8, 9, 3)),
    of_layer(layers.GlobalMaxPool2D(), (8, 9, 3)),
]


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
    if all(map(fits, input, size, stride, sides))
]
"""Windows that overlap, tile, leave gaps, and see padding."""


def maxima(values: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]) -> Iterator[tuple[str, Any, Any]]:
    """(Z and dX of the layer, with kernels and without, those of the definition) for X of these values."""
    rng = np.random.default_rng(0)
    for input, size, stride, sides in MAXIMA:
        X = values(rng, (2, *input, 2))
        for way in both_ways([of_layer(layers.MaxPool2D(size, stride, sides), (*input, 2))]):
            Z, cache = way.forward(device("cpu"), {"A": X})
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
    Z, cache = subject.forward(device("cpu"), {"A": X})
    return Z, subject.backward(np.ones(Z.shape), cache)["A"]


def _is_refused(layer: Layer, input: tuple[int, ...]) -> bool:
    try:
        layer.shapes(input)
    except ShapeError:
        return True
    return False


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
