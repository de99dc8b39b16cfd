"""Convolution: a window that moves over an image, and one dense layer for all that it sees.

The generic proofs are those of a sequence: one axis, with all sizes symbols. The code is held against the definition
with rows, columns, channels, groups, padding and dilation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import numpy as np
import sympy as sp

from mathdl import layers
from mathdl.arrays import device
from mathdl.theory import definitions
from mathdl.theory.chapters.convolution_cases import IMAGES, REAL_SIZES, SEQUENCES, SYMBOLIC, image
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.domains import integers
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import both_ways, exactly, gradients_of
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer
from mathdl.windows import Gather, fit, gather_table, patches

SECTION_6 = Source("Kasliwal", "section 6, convolutional layers", "headed")
SECTION_6_1 = Source("Kasliwal", "section 6.1, 1 × 1 convolution", "headed")

i, a = sp.Dummy("i", integer=True, nonnegative=True), sp.Dummy("a", integer=True, nonnegative=True)
u, c, e = sp.symbols("u c e", integer=True, nonnegative=True)
P = sp.Symbol("P", integer=True, nonnegative=True)
p, f, s, d, o = sp.symbols("p f s d p'", integer=True, positive=True)
X, W, G = (sp.IndexedBase(name, real=True) for name in "XWG")
b = sp.Symbol("b", real=True)

# ------------------------------------------------------------------------------------------------------------- sizes

reach = d * (f - 1) + 1
places = sp.ceiling(p / s)
least = (places - 1) * s + reach - p

SAME_SIZE = Derivation(
    (
        Step(
            sp.floor((least + p - reach) / s) + 1,
            "p' for the least padding, (⌈p / s⌉ − 1) s + d (f − 1) + 1 − p in all",
        ),
        Step(sp.floor(places - 1) + 1, "s cancels"),
        Step(places, "⌈p / s⌉ is an integer"),
    ),
    title='"same" padding leaves ⌈p / s⌉ places',
    shows="forward",
)

SIZES = tuple(product(range(1, 8), range(1, 4), range(1, 4), range(1, 4)))
"""(p, f, s, d) of every small axis."""


def count_places(p: int, f: int, s: int, sides: tuple[int, int], d: int) -> int:
    """How often the window fits, by trying place after place."""
    count = 0
    while count * s + d * (f - 1) < sides[0] + p + sides[1]:
        count += 1
    return count


def sizes() -> Iterator[tuple[str, Any, Any]]:
    for p, f, s, d in SIZES:
        for sides in product(range(3), range(3)):
            if definitions.window_size(p, f, s, sides, d):
                (found, _) = fit("a window", (p,), f, s, sides, d).output((p, 1))
                yield "p'", found, definitions.window_size(p, f, s, sides, d)
                yield "places", found, count_places(p, f, s, sides, d)
        same = fit("a window", (p,), f, s, "same", d)
        yield "same", same.padding[0], definitions.same_padding(p, f, s, d)
        yield "⌈p / s⌉", same.output((p, 1))[0], -(-p // s)


CONV_SIZE = Proposition(
    id="conv-size",
    title="How many places a window takes",
    statement=r"p' = \left\lfloor \frac{P_- + p + P_+ - d(f - 1) - 1}{s} \right\rfloor + 1; \qquad "
    r"\text{“same”: } P_- + P_+ = \max\bigl((\lceil p/s \rceil - 1)s + d(f - 1) + 1 - p,\; 0\bigr),\; "
    r"P_- = \left\lfloor \tfrac{P_- + P_+}{2} \right\rfloor,\; p' = \lceil p/s \rceil",
    roles=("forward",),
    sources=(SECTION_6, Source("Kasliwal", "section 7, pooling layers", "headed")),
    hypotheses=(
        Hypothesis(r"$p, f, s, d \ge 1$, $P_-, P_+ \ge 0$", "raises UsageError (tests/test_windows.py)"),
        Hypothesis(
            r"$d(f - 1) + 1 \le P_- + p + P_+$: the window fits", "raises ShapeError (tests/layers/test_conv2d.py)"
        ),
    ),
    derivations=(SAME_SIZE,),
    evidence=(
        exactly(
            "X",
            "forward",
            "sizes equal the definition's, and a count of places",
            ["p'", "places", "same", "⌈p / s⌉"],
            sizes,
        ),
    ),
)

# ----------------------------------------------------------------------------------------------------------- forward

FITS = Hypothesis(
    r"$X \in \mathbb R^{B \times p \times q \times k}$, $K \in \mathbb R^{f \times f' \times k/g \times k'}$, $b \in "
    r"\mathbb R^{k'}$; $g$ divides $k$ and $k'$; $X$ is 0 outside of its rows and columns",
    "raises ShapeError or UsageError (tests/layers/test_conv2d.py)",
)

CONV_FORWARD = Proposition(
    id="conv-forward",
    title="Convolution",
    statement=r"Z_{ij\delta} = b_\delta + \sum_{a,a',c} X_{is + ad - P,\; js' + a'd' - P',\; c}\, K_{aa'c\delta}",
    roles=("forward",),
    sources=(SECTION_6,),
    hypotheses=(FITS,),
    convention="K is not flipped: what the field calls a convolution is a correlation, the convolution with the "
    "flipped kernel. With g groups, c runs over the channels of the group of δ.",
    evidence=(
        code_values("Z equals the sums", *SYMBOLIC),
        integer_values("Z of every short sequence equals the sums", both_ways(SEQUENCES)),
        integer_values("Z of images equals the sums", both_ways(IMAGES)),
    ),
)


def seen() -> Iterator[tuple[str, Any, Any]]:
    """(what the gather table picks, what the window sees by definition); (Z, the dense layer of it)."""
    for kernel, stride, padding, dilation in (
        ((2, 3), (1, 1), ((1, 0), (0, 2)), (1, 1)),
        ((3, 2), (2, 1), ((0, 1), (1, 1)), (1, 2)),
        ((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ):
        rng = np.random.default_rng(0)
        A, W, b = integers(rng, (2, 4, 3, 2)), integers(rng, (*kernel, 2, 3)), integers(rng, (3,))
        window = fit("a window", (4, 3), kernel, stride, padding, dilation)
        found = patches(A, Gather(window, (4, 3), gather_table(window, (4, 3))))
        rows = [
            [A[n, u, v, c] if 0 <= u < 4 and 0 <= v < 3 else 0.0 for u, v in _taps(place, window) for c in range(2)]
            for n in range(2)
            for place in product(*map(range, window.output((4, 3))))
        ]
        yield "im2col", found.reshape(len(rows), -1), rows
        subject = image((4, 3, 2), kernel, stride, padding, dilation, channels=3, B=2)
        Z, _ = subject.forward(device("cpu"), {"A": A, "W": W, "b": b})
        yield "Z", Z.reshape(len(rows), 3), definitions.dense(rows, W.reshape(-1, 3).tolist(), b.tolist())


def _taps(place: tuple[int, ...], window: Any) -> Iterator[tuple[int, int]]:
    """The row and the column that each tap sees from a place."""
    for a in product(*map(range, window.kernel)):
        u, v = (
            place[axis] * window.stride[axis] + a[axis] * window.dilation[axis] - window.padding[axis][0]
            for axis in (0, 1)
        )
        yield u, v


IM2COL = Proposition(
    id="im2col",
    title="A convolution is a dense layer of what the window sees",
    statement=r"Z = \mathrm{im2col}(X)\,\mathrm{reshape}(K) + 1 b, \qquad "
    r"\mathrm{im2col}(X)_{(ij),(aa'c)} = X_{is + ad - P,\; js' + a'd' - P',\; c}",
    roles=("forward",),
    sources=(SECTION_6,),
    hypotheses=(FITS,),
    evidence=(exactly("X", "forward", "what the window sees, and the dense layer of it", ["im2col", "Z"], seen),),
)

# --------------------------------------------------------------------------------------------------------- gradients

z = sp.Sum(X[i * s + a * d - P] * W[a], (a, 0, f - 1)) + b
pairing = sp.Sum(G[i] * z, (i, 0, o - 1))
neighbours = sp.Sum(G[i] * sp.Sum(X[i * s + a - P] * W[a], (a, 0, f - 1)), (i, 0, o - 1))
tap = u + P - i * s

INPUT_GRADIENT = Derivation(
    (
        Step(sp.Derivative(pairing, X[u]), "the gradient of ⟨G, Z⟩ for the entry u of X"),
        Step(
            sp.Sum(G[i] * sp.Sum(sp.KroneckerDelta(u, i * s + a * d - P) * W[a], (a, 0, f - 1)), (i, 0, o - 1)),
            "Z is linear in X, and tap a of place i sees X at i s + a d − P",
        ),
    ),
    title="∇X of a sequence",
)
INPUT_GRADIENT_BY_TAP = Derivation(
    (
        Step(sp.Derivative(neighbours, X[u]), "the same where taps are neighbours, d = 1"),
        Step(
            sp.Sum(G[i] * sp.Piecewise((W[tap], (tap >= 0) & (tap <= f - 1)), (0, True)), (i, 0, o - 1)),
            "at most one tap of a place sees u: a = u + P − i s; at s = 1, G convolved with the flipped kernel",
        ),
    ),
    title="∇X of a sequence, by tap",
)
KERNEL_GRADIENT = Derivation(
    (
        Step(sp.Derivative(pairing.subs(f, c + 1 + e), W[c]), "the gradient of ⟨G, Z⟩ for the tap c < f = c + 1 + e"),
        Step(sp.Sum(G[i] * X[i * s + c * d - P], (i, 0, o - 1)), "Z is linear in K, and c is one of its taps"),
    ),
    title="∇K of a sequence",
)
BIAS_GRADIENT = Derivation(
    (
        Step(sp.Derivative(pairing, b), "the gradient of ⟨G, Z⟩ for b"),
        Step(sp.Sum(G[i], (i, 0, o - 1)), "b is added in every place"),
    ),
    title="∇b of a sequence",
)

INPUT_GRAD = Proposition(
    id="conv-input-grad",
    title="Gradient of a convolution for its input",
    statement=r"\nabla_{X_{uvc}} J = \sum_{i,j,\delta}\; \sum_{\substack{a,a':\; is + ad - P = u \\ "
    r"\phantom{a,a':\;} js' + a'd' - P' = v}} G_{ij\delta}\, K_{aa'c\delta}",
    roles=("gradient",),
    sources=(SECTION_6,),
    hypotheses=(FITS,),
    derivations=(INPUT_GRADIENT, INPUT_GRADIENT_BY_TAP),
    evidence=(
        code_gradients("dX is the derivative", *gradients_of("A", SYMBOLIC)),
        dual_gradients("dX at real sizes", *gradients_of("A", REAL_SIZES)),
        integer_gradients("dX of every short sequence", gradients_of("A", both_ways(SEQUENCES))),
        integer_gradients("dX of images", gradients_of("A", both_ways(IMAGES))),
    ),
)


def blocks() -> Iterator[tuple[str, Any, Any]]:
    """NumPy's kernels on minibatches that they cut into blocks, against the references."""
    for input, stride, k in (((16, 16), (1, 1), 8), ((20, 12), (2, 1), 3)):
        subject = image((*input, k), (3, 3), stride, ((1, 1), (0, 1)), channels=64, B=24)
        rng = np.random.default_rng(0)
        inputs = {name: integers(rng, shape) for name, shape in subject.shapes.items()}
        results = []
        for way in both_ways([subject]):
            value, cache = way.forward(device("cpu"), inputs)
            G = integers(np.random.default_rng(7), value.shape)
            results.append({"Z": value, **way.backward(G, cache)})
        for name, found in results[0].items():
            yield name, found, results[1][name]


KERNEL_GRAD = Proposition(
    id="conv-kernel-grad",
    title="Gradients of a convolution for its kernel and bias",
    statement=r"\nabla_{K_{aa'c\delta}} J = \sum_{n,i,j} G_{nij\delta}\, X_{n,\, is + ad - P,\, js' + a'd' - P',\, c}, "
    r"\qquad \nabla_{b_\delta} J = \sum_{n,i,j} G_{nij\delta}",
    roles=("gradient",),
    sources=(SECTION_6,),
    hypotheses=(FITS,),
    derivations=(KERNEL_GRADIENT, BIAS_GRADIENT),
    evidence=(
        code_gradients("dK and db are the derivatives", *gradients_of("Wb", SYMBOLIC)),
        dual_gradients("dK and db at real sizes", *gradients_of("Wb", REAL_SIZES)),
        integer_gradients("dK and db of every short sequence", gradients_of("Wb", both_ways(SEQUENCES))),
        integer_gradients("dK and db of images", gradients_of("Wb", both_ways(IMAGES))),
        exactly("X", "gradient", "kernels that work in blocks equal the reference", ["Z", "A", "W", "b"], blocks),
    ),
)

# ------------------------------------------------------------------------------------------- one pixel, and many


def pixels(p: int, q: int, k: int, channels: int) -> Subject:
    """A 1 × 1 convolution, beside a dense layer of each pixel."""

    def definition(definitions: Any, x: Any) -> Any:
        return [[definitions.dense(row, x["W"][0][0], x["b"]) for row in image] for image in x["A"]]

    return of_layer(layers.Conv2D(channels, 1), (p, q, k), definition, B=2)


PIXELS = [pixels(*sizes) for sizes in product((1, 3), (1, 2), (1, 3), (1, 2))]


def parameter_counts() -> Iterator[tuple[str, Any, Any]]:
    for k, channels in product(range(1, 5), range(1, 5)):
        shapes = layers.Conv2D(channels, 1).shapes((2, 3, k))[1]
        yield "parameters", sum(prod(shape) for shape in shapes.values()), k * channels + channels


POINT_SUM = Derivation(
    (
        Step(
            sp.Derivative(pairing.subs({f: 1, s: 1, P: 0, o: u + 1 + e}), X[u]), "the gradient of ⟨G, Z⟩ at a pixel u"
        ),
        Step(G[u] * W[0], "the window sees one pixel"),
    ),
    title="∇X of a point",
)

POINT = Proposition(
    id="1x1-conv",
    title="A 1 × 1 convolution is a dense layer for every pixel",
    statement=r"f = f' = s = 1,\; P = 0:\quad Z_{ij} = X_{ij}\, K_{11} + b, \qquad k k' + k' \text{ parameters}",
    roles=("forward", "gradient"),
    sources=(SECTION_6_1,),
    hypotheses=(FITS,),
    derivations=(POINT_SUM,),
    evidence=(
        code_gradients("gradients are the derivatives", pixels(2, 1, 2, 2)),
        dual_gradients("gradients at real sizes", pixels(7, 6, 5, 4)),
        integer_values("Z equals the dense layer of each pixel", PIXELS),
        integer_gradients("gradients equal those of the dense layer of each pixel", PIXELS),
        exactly("X", "other", "k k' + k' parameters", ["parameters"], parameter_counts),
    ),
)


def moved() -> Iterator[tuple[str, Any, Any]]:
    for (f, s, d), t in product(product((1, 2, 3), (1, 2), (1, 2)), (1, 2)):
        subject = image((9, 8, 2), (f, 2), (s, s), dilation=(d, 1))
        inputs = {name: integers(np.random.default_rng(0), shape) for name, shape in subject.shapes.items()}
        shifted = {**inputs, "A": np.concatenate([inputs["A"][:, t * s :], inputs["A"][:, : t * s]], axis=1)}
        Z, S = (subject.forward(device("cpu"), each)[0] for each in (inputs, shifted))
        yield "moved", S[:, : Z.shape[1] - t], Z[:, t:]


EQUIVARIANCE = Proposition(
    id="conv-equivariance",
    title="Convolution commutes with translation",
    statement=r"(\tau X)_u = X_{u + ts} \;\Rightarrow\; Z(\tau X)_i = Z(X)_{i + t}",
    roles=("other",),
    sources=(SECTION_6,),
    hypotheses=(Hypothesis(r"the windows in $i$ and $i + t$ see no padding", "prose"),),
    evidence=(exactly("X", "other", "a moved image gives a moved result", ["moved"], moved),),
)

CHAPTER = Chapter(
    "Convolution",
    "Outside of the image X is 0. Indices count from 0. The derivations are those of a sequence with one channel, for "
    "all sizes; of rows and columns, channels and groups the sums are the same, one for each axis.",
    (CONV_SIZE, CONV_FORWARD, IM2COL, INPUT_GRAD, KERNEL_GRAD, POINT, EQUIVARIANCE),
)
