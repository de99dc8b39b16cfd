"""How far off are exp, log, tanh … here? In units in the last place (ulp), over all float32 numbers or a share of them.

    error of f at x = |fl(f(x)) − f(x)| / ulp(f(x)),   ulp(y) = 2^(max(⌊log₂ |y|⌋, −126) − 23)

f(x) itself is NumPy's function in float64, whose own error of a few 2⁻⁵³ is some 10⁻⁸ of a float32 ulp. (Errors of
float64 are measured likewise against `long double`, where that has 64 bits, on a sample: there are too many numbers.)
A result that is NaN or infinite where f(x) is a number in range, or the other way round, counts as an error of ∞.

The bounds of the `rounding` backend assume such errors (hypothesis H3); its `constants.json` holds them with where they
come from. Source of the definition: Muller, On the definition of ulp(x), INRIA research report 5504 (2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mathdl.arrays import Device, to_host
from mathdl.errors import UsageError
from mathdl.functions import erf
from mathdl_backends.rounding import constants

FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt")
"""The functions that layers, losses and optimizers call, beside + − × ÷."""

ALL = 2**32
"""float32 numbers, by their bits: NaNs and infinities too."""

_CHUNK = 2**17
_WIDER: dict[str, type[Any]] = {"float32": np.float64, "float64": np.longdouble}


class Measurement(NamedTuple):
    """The largest error of a function that was found, and where."""

    function: str
    dtype: str
    ulp: float
    at: float
    inputs: int
    seconds: float

    @property
    def bound(self) -> float:
        """What the bounds assume."""
        return constants.ulps(self.function, self.dtype)

    @property
    def holds(self) -> bool:
        """Whether the function is no worse here than the bounds assume."""
        return self.ulp <= self.bound


def measure(
    name: str, device: Device, dtype: str = "float32", stride: int = 1, tick: Callable[[int], None] = lambda _: None
) -> Measurement:
    """The largest error of the function on the device, over every `stride`-th of the float32 numbers in their order.

    Of float64, over as many numbers, with bits drawn at random. `tick` is told how many inputs have been done since it
    was last told. Raises `UsageError` where `long double` is no wider than float64.
    """
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 63:
        raise UsageError("float64 is measured against a long double of 64 bits, which this machine does not have")
    began, worst, at, inputs = perf_counter(), 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for x in numbers(dtype, stride):
            errors = ulp_errors(evaluate(name, device, x), reference(name, x))
            where = int(np.argmax(errors))
            if errors[where] > worst:
                worst, at = float(errors[where]), float(x[where])
            inputs += x.size
            tick(x.size)
    return Measurement(name, dtype, worst, at, inputs, perf_counter() - began)


def numbers(dtype: str, stride: int) -> Iterator[npt.NDArray[Any]]:
    """Every `stride`-th float32 number, some at a time; or as many of float64, with random bits."""
    if dtype == "float64":
        random = np.random.default_rng(0)
        for _ in range(math.ceil(ALL / stride / _CHUNK)):
            yield random.integers(0, 2**64, _CHUNK, dtype=np.uint64).view(np.float64)
        return
    for start in range(0, ALL, stride * _CHUNK):
        bits = np.arange(start, min(start + stride * _CHUNK, ALL), stride, dtype=np.uint64)
        yield bits.astype(np.uint32).view(np.float32)


def stride_of(share: float) -> int:
    """The odd stride that takes about this share of all numbers: odd, so that the last bits take every value."""
    return 1 if share >= 1 else 2 * round(1 / share / 2) + 1


def evaluate(name: str, device: Device, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """f(x) in the dtype of x, on the device."""
    f: Callable[[Any], Any] = erf if name == "erf" else getattr(device.namespace, name)
    with device.active():
        y: npt.NDArray[Any] = to_host(f(device.put(x)))
    return y


def reference(name: str, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """f(x) in the next wider format."""
    wide = x.astype(_WIDER[x.dtype.name])
    if name != "erf":
        return np.asarray(getattr(np, name)(wide))
    return np.asarray(erf(wide)) if x.dtype == np.float32 else erf_by_series(wide)


def erf_by_series(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """erf(x) = 2/√π e^(−x²) Σₙ x (2x²)ⁿ / (1·3·5 ⋯ (2n + 1)) of `long double`, whose terms all have one sign.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6. From |x| = 6.5 on it is ±1 to 62 bits.
    """
    y = np.asarray(np.sign(x))
    inside = np.abs(x) < 6.5
    z = x[inside]
    squares = z * z
    term = z.copy()
    total = z.copy()
    for n in range(1, 260):
        term = term * (2 * squares / (2 * n + 1))
        total += term
    y[inside] = 2 / np.sqrt(4 * np.arctan(np.longdouble(1))) * np.exp(-squares) * total
    return y


def ulp_errors(y: npt.NDArray[Any], exact: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """|y − exact| in units in the last place of y's dtype at `exact`; ∞ where just one of them is a number in range."""
    errors = np.abs(y - exact)
    errors *= _per_ulp(exact) if y.dtype == np.float32 else np.ldexp(np.longdouble(1), 53 - _exponents(exact))
    odd = ~(np.isfinite(y) & np.isfinite(exact))
    if odd.any():
        same = (y == exact.astype(y.dtype)) | (np.isnan(y) & np.isnan(exact))
        errors = np.where(odd, np.where(same, 0.0, math.inf), errors)
    return np.asarray(errors, dtype=np.float64)


def _per_ulp(exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / ulp(exact) of float32, by the bits of float64, which is fast."""
    exponents = (exact.view(np.int64) >> 52) & 0x7FF
    np.maximum(exponents, 1023 - 126, out=exponents)
    np.subtract(2 * 1023 + 23, exponents, out=exponents)
    return (exponents << 52).view(np.float64)


def _exponents(exact: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """e with 2^(e−1) ≤ |exact| < 2^e, at least that of the normal numbers of float64."""
    return np.asarray(np.maximum(np.frexp(exact)[1], -1021))


def bound_of(record: dict[str, Any]) -> float:
    """The constant that rests on a record of `constants.json`: the largest error in it, rounded up to a whole ulp.

    One ulp is added where not all numbers were tried. What is documented is the distance to the correctly rounded
    result, which may be off by half an ulp itself. An error of 0.5 is correct rounding, and stays it.
    """
    measured = [float(each["ulp"]) + (each["inputs"] < ALL) for each in record["measured"] if each["ulp"] > 0.5]
    documented = [float(each["ulp"]) + 0.5 for each in record["documented"]]
    worst = max(measured + documented)
    return 0.5 if worst <= 0.5 else float(math.ceil(worst))


def stored(table: dict[str, Any], found: Measurement, made_by: dict[str, str]) -> None:
    """Put a measurement into the functions of `constants.json`, in the place of an earlier one made by the same."""
    record = table[found.function][found.dtype]
    entry = {**made_by, "ulp": math.ceil(1e4 * found.ulp) / 1e4, "at": found.at, "inputs": found.inputs}
    others = [each for each in record["measured"] if any(each[key] != value for key, value in made_by.items())]
    record["measured"] = [*others, entry]
    record["bound"] = bound_of(record)
