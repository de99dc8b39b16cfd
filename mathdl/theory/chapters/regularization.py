"""Residual layers, and dropout with the randomness that it draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from mathdl import random
from mathdl.arrays import Device
from mathdl.layers import Dense, Dropout, Residual, Tanh
from mathdl.layers.dropout import dropout_backward, dropout_forward
from mathdl.layers.layer import Context
from mathdl.primitive import reference_only
from mathdl.theory import definitions
from mathdl.theory.derivation import Derivation, Step
from mathdl.theory.domains import ZERO_OR_ONE
from mathdl.theory.evidence import code_gradients, code_values, dual_gradients, integer_gradients, integer_values
from mathdl.theory.exact import exactly
from mathdl.theory.proposition import Chapter, Hypothesis, Proposition, Source
from mathdl.theory.subject import Subject, of_layer

HE = Source("He, Zhang, Ren and Sun, Deep residual learning (2016)", "equations (1) and (2)", "ours")
SRIVASTAVA = Source("Srivastava and others, Dropout (2014)", "section 4, scaled while training", "ours")
SALMON = Source("Salmon and others, Parallel random numbers: as easy as 1, 2, 3 (2011)", "Philox4x32-10", "ours")

# ------------------------------------------------------------------------------------------------------------ residual


def _identity_shortcut(definitions: Any, x: Mapping[str, Any]) -> Any:
    return definitions.residual(definitions.dense(x["A"], x["W[1]"], x["b[1]"]), x["A"])


def _dense_shortcut(definitions: Any, x: Mapping[str, Any]) -> Any:
    body = definitions.dense(x["A"], x["W[1]"], x["b[1]"])
    return definitions.residual(body, definitions.dense(x["A"], x["W[2]"], x["b[2]"]))


BRANCHES = [
    of_layer(Residual([Dense(3)]), (3,), _identity_shortcut),
    of_layer(Residual([Dense(2)], shortcut=[Dense(2)]), (3,), _dense_shortcut),
]
DEEPER = of_layer(Residual([Dense(2), Tanh(), Dense(2)]), (2,), B=1)
"""A shortcut around layers that are not linear."""

n, m, l = sp.symbols("n m l", integer=True, positive=True)
X, F, S, G = (sp.MatrixSymbol(*symbol) for symbol in (("X", n, m), ("F", m, l), ("S", m, l), ("G", n, l)))
BRANCHES_ADD = Derivation(
    (
        Step(sp.Trace(G.T * (X * F + X * S)), "⟨G, F(X) + S(X)⟩, where F and S are the maps near X"),
        Step(sp.Trace((G * F.T + G * S.T).T * X), "so the gradient for X is the sum of the gradients of the branches"),
    ),
    title="the adjoint of a sum is the sum of the adjoints",
)

RESIDUAL = Proposition(
    id="residual",
    title="Residual layers",
    statement=r"A = F(X) + S(X), \qquad \nabla_X J = F'^\top(G) + S'^\top(G), \qquad S'^\top(G) = G "
    r"\text{ for the identity}",
    roles=("forward", "gradient"),
    sources=(HE,),
    hypotheses=(
        Hypothesis(
            r"$F$ and $S$ are differentiable at $X$ and give one shape",
            "raises ShapeError (tests/layers/test_residual.py)",
        ),
    ),
    derivations=(BRANCHES_ADD,),
    evidence=(
        code_values("A is the sum of the branches", *BRANCHES),
        integer_values("A is the sum of the branches, exactly", BRANCHES),
        code_gradients("gradients", *BRANCHES, DEEPER),
        integer_gradients("gradients, exactly", BRANCHES),
        dual_gradients("gradients at real sizes", of_layer(Residual([Dense(7), Tanh(), Dense(5)]), (5,), B=6)),
    ),
)

# ------------------------------------------------------------------------------------------------------------- dropout

RATE = Fraction(1, 4)


def masked(shape: tuple[int, ...]) -> Subject:
    """Dropout with a given mask: input "keep", of zeros and ones."""

    def forward(place: Device, inputs: Mapping[str, Any]) -> tuple[Any, Any]:
        keep = inputs["keep"] > 0
        return dropout_forward(inputs["A"], keep, rate=float(RATE)), keep

    def backward(dA: Any, keep: Any) -> dict[str, Any]:
        return {"A": dropout_backward(dA, keep, rate=float(RATE))}

    def definition(definitions: Any, x: Mapping[str, Any]) -> Any:
        return definitions.dropout(x["A"], [[bit != 0 for bit in row] for row in x["keep"]], RATE)

    return Subject(
        f"dropout of {shape}", dict.fromkeys(("A", "keep"), shape), forward, backward, definition, {"keep": ZERO_OR_ONE}
    )


rate = sp.Symbol("r", positive=True)
x = sp.Symbol("x", real=True)
EXPECTATION = Derivation(
    (
        Step(rate * 0 + (1 - rate) * x / (1 - rate), "E A over the bit: 0 with probability r, else x / (1 − r)"),
        Step(x, "1 − r cancels, r < 1"),
    ),
    title="the mean of A",
    shows="forward",
)
VARIANCE = Derivation(
    (
        Step((1 - rate) * (x / (1 - rate)) ** 2 - x**2, "E A² − (E A)²"),
        Step(x**2 * rate / (1 - rate), "the noise that dropout adds"),
    ),
    title="the variance of A",
    shows="forward",
)
k = sp.Symbol("k", real=True)
g = sp.Symbol("g", real=True)
MASK = Derivation(
    (
        Step(
            sp.Derivative(g * x * k / (1 - rate), x), "the gradient of ⟨g, x k / (1 − r)⟩, for the bit k that was drawn"
        ),
        Step(g * k / (1 - rate), "A is linear in x: backward multiplies by the same mask"),
    ),
    title="∇x",
)


def drawn() -> Iterator[tuple[str, Any, Any]]:
    """What the layer keeps while training: the words at or above ⌊r 2³²⌋; about 1 − r of them, within 5 deviations."""
    for rate in (0.0, 0.25, 0.5, 0.9):
        layer, X = Dropout(rate), np.ones((64, 50, 4))
        key = np.array(random.fold(1, "dropout", 2, 3, 4), dtype=np.uint32)
        A, _ = layer.forward({}, X, Context(training=True, key=key, instances=64))
        words = random.bits(key, 0, 64, 200).astype(np.uint64).reshape(X.shape)
        kept = words >= np.uint64(int(rate * 2**32))
        yield "A", A, definitions.dropout(X.tolist(), kept.tolist(), rate)
        allowed = 5 * (X.size * rate * (1 - rate)) ** 0.5
        yield "share", float(abs(np.count_nonzero(A) - (1 - rate) * X.size) <= allowed), 1.0
        A, _ = layer.forward({}, X, Context(training=False))
        yield "not training", A, X


DROPOUT = Proposition(
    id="dropout",
    title="Dropout",
    statement=r"A = \frac{X \odot K}{1 - r}, \quad \Pr[K = 0] = r: \qquad \mathbb E A = X, \quad "
    r"\operatorname{Var} A = \frac{r}{1 - r} X^2, \quad \nabla_X J = \frac{G \odot K}{1 - r}",
    roles=("forward", "gradient"),
    sources=(SRIVASTAVA,),
    hypotheses=(
        Hypothesis(r"$0 \le r < 1$", "raises UsageError (tests/layers/test_dropout.py)"),
        Hypothesis(
            r"the bits are independent, with $\Pr[K = 0] = \lfloor r 2^{32} \rfloor / 2^{32}$",
            "the generator: dropout-address",
        ),
    ),
    convention="Outside of training A = X.",
    derivations=(EXPECTATION, VARIANCE, MASK),
    evidence=(
        code_values("A for every mask", masked((1, 3))),
        code_gradients("dX for every mask", masked((1, 3))),
        dual_gradients("dX at real sizes", masked((8, 30))),
        exactly("X", "forward", "the layer's own masks", ["A", "share", "not training"], drawn),
    ),
)

# ---------------------------------------------------------------------------------------------------------- randomness

PUBLISHED = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
"""(counter, key, words): the test vectors that are published with Philox4x32-10."""


def addressed() -> Iterator[tuple[str, Any, Any]]:
    for counter, words, expected in PUBLISHED:
        yield "vectors", random.philox(counter, words), expected
    key = np.array(random.fold(7, "dropout", 1, 0, 5), dtype=np.uint32)
    whole = random.bits(key, 0, 12, 10)
    for how in (nullcontext, reference_only):  # as the backend makes the words, and without its kernels
        with how():
            for cut in range(13):
                parts = [random.bits(key, first, count, 10) for first, count in ((0, cut), (cut, 12 - cut))]
                yield "cut", np.concatenate(parts), whole
            yield "elements", random.bits(key, 0, 12, 7), whole[:, :7]
    addresses = [
        (seed, layer, epoch, m) for seed in range(3) for layer in range(3) for epoch in range(3) for m in range(3)
    ]
    keys = {random.fold(seed, "dropout", layer, epoch, m) for seed, layer, epoch, m in addresses}
    yield "addresses", len(keys), len(addresses)


ADDRESS = Proposition(
    id="dropout-address",
    title="Random bits have an address",
    statement=r"K_{(i),e} = \mathrm{Philox}\bigl(\text{seed}, [l], \text{epoch}, \{m\}\bigr)(i, e): \quad "
    r"\text{the bits of instances } i_0, i_0 + 1, \dots \text{ are rows of those of the whole minibatch, "
    r"however it is cut}",
    roles=("other",),
    sources=(SALMON,),
    hypotheses=(Hypothesis("seed and numbers in $[0, 2^{64})$", "raises UsageError (tests/test_random.py)"),),
    evidence=(
        exactly("X", "other", "published vectors; every cut", ["vectors", "cut", "elements", "addresses"], addressed),
    ),
)

CHAPTER = Chapter(
    "Residual layers and dropout",
    "A sum of branches, and a mask that is drawn anew for every minibatch.",
    (RESIDUAL, DROPOUT, ADDRESS),
)
