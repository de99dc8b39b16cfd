"""The machine whose rounding is bounded: its formats, its products, γ_n, and the decisions it may take either way.

Hypotheses, of every bound of this backend:

    H1  fl(a op b) = (a op b)(1 + δ) + η for + − × ÷ √, |δ| ≤ u, and the result exactly where it is a number of the
        format; a multiplication and an addition may be fused. |η| ≤ `tiny`, and η = 0 for + and − unless the machine
        flushes small numbers to zero
    H2  a sum, a mean or a matrix product is some tree over its terms: any order, any blocking, any number of threads
    H3  exp, log, tanh … are off by at most as many units in the last place as `constants.json` says
    H4  nothing overflows and nothing is NaN; where it may, the bound is ∞

Not covered: products that are not such trees (Winograd, Strassen, FFT, float32 emulated in other formats); a kernel
that adds in another order what a layer writes out as a chain of +; functions of "fast math".

Source: Higham, Accuracy and Stability of Numerical Algorithms (2nd ed., 2002), chapters 2 to 4; for products of rounded
inputs Blanchard, Higham, Lopez, Mary, Pranesh, SIAM J. Sci. Comput. 42 (2020); for γ̃_n Higham and Mary, SIAM J. Sci.
Comput. 41 (2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import expm1, inf, sqrt
from typing import Any, NamedTuple

import numpy as np

from mathdl.errors import UsageError, unknown_name

U64 = 2.0**-53
"""The unit roundoff of float64, in which the values themselves are evaluated: one machine more."""


class Format(NamedTuple):
    """A floating-point format: unit roundoff u, half its least subnormal number, its least normal and largest one."""

    name: str
    u: float
    tiny: float
    normal: float
    largest: float


FORMATS = {
    "float32": Format("float32", 2.0**-24, 2.0**-150, 2.0**-126, float(np.finfo(np.float32).max)),
    "float64": Format("float64", 2.0**-53, 2.0**-1074, 2.0**-1022, float(np.finfo(np.float64).max)),
}

PRODUCTS = {
    "tf32": Format("tf32", 2.0**-10, 2.0**-126, 2.0**-126, FORMATS["float32"].largest),
    "bf16": Format("bf16", 2.0**-8, 2.0**-126, 2.0**-126, FORMATS["float32"].largest),
    "fp16": Format("fp16", 2.0**-11, 2.0**-25, 2.0**-14, 65504.0),
}
"""Formats that the operands of matrix products of float32 may be rounded to, with sums in float32. u of TF32 is that of
truncation (2⁻¹¹ if it rounds); subnormal numbers of TF32 and bfloat16 may be flushed to zero."""


@dataclass(frozen=True)
class Machine:
    """What is modelled. `products`: None, or a name of `PRODUCTS`; `sigmas`: λ of γ̃_n, None for γ_n."""

    products: str | None = None
    sigmas: float | None = None
    flushes: bool = False

    def __post_init__(self) -> None:
        if self.products is not None and self.products not in PRODUCTS:
            raise unknown_name("format of products", self.products, PRODUCTS)
        if self.sigmas is not None and not self.sigmas > 0:
            raise UsageError(f"sigmas must be a number > 0 (λ of the probabilistic bound), got {self.sigmas!r}")

    def gamma(self, n: int, u: float) -> float:
        """γ_n = n u / (1 − n u); with λ the probabilistic γ̃_n(λ) = exp(λ √n u + n u² / (1 − u)) − 1, if it is less.

        γ̃_n(λ) holds with probability 1 − 2n exp(−λ² (1 − u)² / 2) for errors that are independent and of mean 0.
        """
        least = n * u / (1.0 - n * u) if n * u < 1.0 else inf
        if self.sigmas is not None and n > 1:
            exponent = self.sigmas * sqrt(n) * u + n * u * u / (1.0 - u)
            least = min(least, expm1(exponent) if exponent < 1.0 else inf)
        return least


@dataclass
class Decisions:
    """How many comparisons, signs and argmaxima of inexact numbers were taken, and how many a machine may take
    otherwise."""

    taken: int = 0
    ambiguous: int = 0

    def count(self, doubtful: Any) -> None:
        """Add an array of decisions, True where it is doubtful."""
        self.taken += doubtful.size
        self.ambiguous += int(np.count_nonzero(doubtful))


_analysis: ContextVar[tuple[Machine, Decisions] | None] = ContextVar("analysis", default=None)


@contextmanager
def analysis(products: str | None = None, sigmas: float | None = None, flushes: bool = False) -> Iterator[Decisions]:
    """Bound this machine's errors in this context, and count its ambiguous decisions:

        with analysis(sigmas=1.0) as decisions:
            ...
        decisions.ambiguous

    `products`: operands of float32 matrix products are rounded to "tf32", "bf16" or "fp16". `sigmas`: λ; sums and
    products take the probabilistic γ̃_n(λ). `flushes`: subnormal numbers may be taken for zero. Outside of any such
    context: None, None, False. Raises `UnknownNameError`, `UsageError`.
    """
    decisions = Decisions()
    token = _analysis.set((Machine(products, sigmas, flushes), decisions))
    try:
        yield decisions
    finally:
        _analysis.reset(token)


def machine() -> Machine:
    """The machine that is modelled at present."""
    found = _analysis.get()
    return Machine() if found is None else found[0]


def decide(doubtful: Any) -> None:
    """Count an array of decisions, True where it is doubtful, if anybody counts."""
    found = _analysis.get()
    if found is not None:
        found[1].count(doubtful)
