"""How far off are exp, log, tanh … here? In units in the last place (ulp), over all float32 numbers or a share of them.

    error of f at x = |fl(f(x)) − f(x)| / ulp(f(x)),   ulp(y) = 2^(max(⌊log₂ |y|⌋, −126) − 23)

f(x) itself is NumPy's function in float64, whose own error of a few 2⁻⁵³ is some 10⁻⁸ of a float32 ulp. A result that
is NaN or infinite where f(x) is a number of float32's range, or the other way round, counts as an error of ∞.

The bounds of the `rounding` backend assume such errors (hypothesis H3); its `constants.json` holds them with where they
come from. The definition of ulp is Goldberg's; see Muller, On the definition of ulp(x), INRIA RR-5504 (2005).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, inf
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mathdl.arrays import Device, to_host
from mathdl.functions import erf
from mathdl_backends.rounding import constants

FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt")
"""The functions that layers, losses and optimizers call, beside + − × ÷."""

ALL = 2**32
"""float32 numbers, by their bits: NaNs and infinities too."""

_CHUNK = 2**17
_LARGEST = float(np.finfo(np.float32).max) * (1 + 2.0**-25)
"""Beyond it a result is rounded to infinity."""


class Measurement(NamedTuple):
    """The largest error of a function that was found, and where."""

    function: str
    ulp: float
    at: float
    inputs: int
    seconds: float

    @property
    def bound(self) -> float:
        """What the bounds assume."""
        return constants.ulps(self.function, "float32")

    @property
    def holds(self) -> bool:
        """Whether the function is no worse here than the bounds assume."""
        return self.ulp <= self.bound


def measure(
    name: str, device: Device, stride: int = 1, tick: Callable[[int], None] = lambda inputs: None
) -> Measurement:
    """The largest error of the function on the device, over every `stride`-th float32 number in the order of the bits.

    `tick` is told how many inputs have been done since it was last told.
    """
    f = evaluation(name, device)
    began, worst, at, inputs = perf_counter(), 0.0, 0.0, 0
    with np.errstate(all="ignore"):
        for x in numbers(stride):
            errors = ulp_errors(f(x), reference(name, x))
            where = int(np.argmax(errors))
            if errors[where] > worst:
                worst, at = float(errors[where]), float(x[where])
            inputs += x.size
            tick(x.size)
    return Measurement(name, worst, at, inputs, perf_counter() - began)


def numbers(stride: int) -> Iterator[npt.NDArray[np.float32]]:
    """Every `stride`-th float32 number, some at a time."""
    for start in range(0, ALL, stride * _CHUNK):
        bits = np.arange(start, min(start + stride * _CHUNK, ALL), stride, dtype=np.uint64)
        yield bits.astype(np.uint32).view(np.float32)


def stride_of(share: float) -> int:
    """The odd stride that takes about this share of all numbers: odd, so that the last bits take both values."""
    return 1 if share >= 1 else 2 * round(1 / share / 2) + 1


def evaluation(name: str, device: Device) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The function in float32 on the device, from and to the host."""
    f: Callable[[Any], Any] = erf if name == "erf" else getattr(device.namespace, name)

    def on_device(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with device.active():
            y: npt.NDArray[np.float32] = to_host(f(device.put(x)))
        return y

    return on_device


def reference(name: str, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """f(x) in float64."""
    f: Callable[[Any], Any] = erf if name == "erf" else getattr(np, name)
    y: npt.NDArray[np.float64] = f(x.astype(np.float64))
    return y


def ulp_errors(y: npt.NDArray[np.float32], exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """|y − exact| in units in the last place of float32 at `exact`; ∞ where just one of them is a number."""
    exponents = (exact.view(np.int64) >> 52) & 0x7FF
    np.maximum(exponents, 1023 - 126, out=exponents)
    np.subtract(2 * 1023 + 23, exponents, out=exponents)
    per_unit = (exponents << 52).view(np.float64)  # 2^(23 − exponent)
    errors = np.abs(y - exact)
    errors *= per_unit
    beyond = ~(np.abs(exact) <= _LARGEST)
    if beyond.any() or not np.isfinite(y).all():
        same = (y == exact.astype(np.float32)) | (np.isnan(y) & np.isnan(exact))
        errors = np.where(beyond | ~np.isfinite(y), np.where(same, 0.0, inf), errors)
    return errors


def bound_of(record: dict[str, Any]) -> float:
    """The constant that rests on a record of `constants.json`: the largest error, rounded up to a whole ulp.

    An error that is documented is one against the correctly rounded result, which is half an ulp off itself. An error
    of 0.5 at most is correct rounding, and stays it.
    """
    worst = max(
        *(float(each["ulp"]) for each in record["measured"]),
        *(float(each["ulp"]) + 0.5 for each in record["documented"]),
    )
    return 0.5 if worst <= 0.5 else float(ceil(worst))
