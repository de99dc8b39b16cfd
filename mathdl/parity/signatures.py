"""What a failing probe looks like: operands that were cut to fewer bits before they were multiplied.

In A I every entry of A comes back as the product took it, so it says to how many bits, and whether it was rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array
from mathdl.parity.checking import Pair
from mathdl.parity.probes import LENGTHS, full_significands
from mathdl.parity.sides import Side


class Signature(NamedTuple):
    """A format of lower precision that products of a side show."""

    side: str
    format: str
    lengths: tuple[int, ...]
    """The contraction lengths at which it was seen."""

    def __str__(self) -> str:
        n = self.lengths
        at = f"n = {n[0]}" if len(n) == 1 else f"n = {n[0]} … {n[-1]}"
        return f"{self.format} is on in {self.side} (its products return A I as {self.format} holds A, at {at})"


def signatures(pair: Pair) -> list[Signature]:
    """The formats that either side cuts its operands to; empty where products are exact, or wrong in another way."""
    found = []
    for name, side in (("a", pair.a), ("b", pair.b)):
        seen: dict[str, list[int]] = {}
        for n in LENGTHS if side.dtype == "float32" else ():
            format = cut_to(side, n)
            if format is not None:
                seen.setdefault(format, []).append(n)
        found += [Signature(name, format, tuple(lengths)) for format, lengths in seen.items()]
    return found


def cut_to(side: Side, n: int) -> str | None:
    """The format that A I shows at the contraction length n, or None."""
    for reach, format, cuts in _CUTS:
        A = full_significands("float32", 64, n, seed=(n,), reach=reach)
        I = np.eye(n, min(n, 128), dtype=np.float32)
        try:
            product = side.run(lambda side: _product(side, A, I))["A I"]  # noqa: B023
        except Exception:  # the probe has said so
            return None
        if any(np.array_equal(product, cut(A[:, : I.shape[1]])) for cut in cuts):
            return format
    return None


def _product(side: Side, A: NDArray[Any], I: NDArray[Any]) -> dict[str, Array]:
    return {"A I": side.device.namespace.matmul(side.put(A), side.put(I))}


def half(A: NDArray[Any]) -> NDArray[Any]:
    """A as float16 holds it."""
    with np.errstate(over="ignore"):
        return A.astype(np.float16).astype(A.dtype)


def rounded(A: NDArray[Any], bits: int) -> NDArray[Any]:
    """A with significands of so many bits, rounded to the nearest (ties to even)."""
    significand, exponent = np.frexp(A.astype(np.float64))
    return np.asarray(np.ldexp(np.rint(significand * 2.0**bits), exponent - bits), dtype=A.dtype)


def truncated(A: NDArray[Any], bits: int) -> NDArray[Any]:
    """A with significands of so many bits, the others dropped."""
    significand, exponent = np.frexp(A.astype(np.float64))
    return np.asarray(np.ldexp(np.trunc(significand * 2.0**bits), exponent - bits), dtype=A.dtype)


_CUTS: tuple[tuple[int, str, tuple[Callable[[NDArray[Any]], NDArray[Any]], ...]], ...] = (
    (20, "TF32", (lambda A: rounded(A, 11), lambda A: truncated(A, 11))),
    (20, "bfloat16", (lambda A: rounded(A, 8), lambda A: truncated(A, 8))),
    (8, "float16", (half,)),
)
"""The exponents that are probed (those of float16 reach from −14 to 15), the format, and what it makes of A. TF32 has
significands of 11 bits, bfloat16 of 8, both the exponents of float32."""
