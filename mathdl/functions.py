"""Special functions that the array API standard does not have.

    erf(z) = 2/√π ∫₀ᶻ e^(−t²) dt

For |z| ≤ 1 an odd rational function, z T(z²)/U(z²); beyond, 1 − erfc(|z|) with erfc(y) = e^(−y²) P(y)/Q(y).
Source: T, U: S. L. Moshier, Methods and Programs for Mathematical Functions (Ellis Horwood, 1989), the Cephes library;
P, Q: W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969).
"""

from __future__ import annotations

from mathdl.arrays import Array, namespace
from mathdl.primitive import primitive

T = (9.60497373987051638749, 90.0260197203842689217, 2232.00534594684319226, 7003.32514112805075473,
     55592.3013010394962768)  # fmt: skip
U = (1.0, 33.5617141647503099647, 521.357949780152679795, 4594.32382970980127987, 22629.0000613890934246,
     49267.3942608635921086)  # fmt: skip
P = (2.15311535474403846e-8, 0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131,
     881.952221241769090, 1712.04761263407058, 2051.07837782607147, 1230.33935479799725)  # fmt: skip
Q = (1.0, 15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
     4362.61909014324716, 3439.36767414372164, 1230.33935480374942)  # fmt: skip


@primitive
def erf(Z: Array) -> Array:
    """erf(Z), entry by entry, within 3 units in the last place (`mathdl ulp`); same shape and dtype; NaN stays NaN."""
    xp = namespace(Z)
    Y = xp.abs(Z)
    near = xp.minimum(Y, 1.0)
    far = xp.minimum(xp.maximum(Y, 1.0), 6.0)  # in float64, erf is 1 from 5.93 on
    squares = near * near
    inside = near * (_polynomial(T, squares) / _polynomial(U, squares))
    outside = 1.0 - xp.exp(-far * far) * (_polynomial(P, far) / _polynomial(Q, far))
    return xp.sign(Z) * xp.where(Y <= 1.0, inside, outside)


def _polynomial(coefficients: tuple[float, ...], X: Array) -> Array:
    """Σ cᵢ X^(d−i), by Horner's rule."""
    first, second, *rest = coefficients
    value = first * X + second
    for c in rest:
        value *= X
        value += c
    return value
