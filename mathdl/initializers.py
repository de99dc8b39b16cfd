"""Initializers: the first values of parameters, float64 on the host, a pure function of a key.

They are made with + − × ÷ √ only, each rounded by itself, and every sum is taken in a stated order: no BLAS and no
library functions, whose bits differ from machine to machine. The same key gives the same bits on every machine.

With n_in the fan-in and n_out the fan-out: rows and columns of a matrix, f·f′·k and f·f′·k′ for a convolution:

    glorot_normal   N(0, 2 / (n_in + n_out))    glorot_uniform  U(−a, a), a = √(6 / (n_in + n_out))
    he_normal       N(0, 2 / n_in)              he_uniform      U(−a, a), a = √(6 / n_in)
    lecun_normal    N(0, 1 / n_in)              lecun_uniform   U(−a, a), a = √(3 / n_in)

The uniform distribution on (−a, a) has variance a²/3, so the two of a row have the same variance.
Propositions: glorot-variance, he-variance, lecun-variance, orthogonal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mathdl import random
from mathdl.arrays import Shape
from mathdl.errors import UsageError, unknown_name
from mathdl.random import Key

Values: TypeAlias = npt.NDArray[np.float64]


class Initializer(Protocol):
    """A function of shape, (fan-in, fan-out) and key: the same arguments give the same values."""

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        """The first values of a parameter of this shape."""
        ...


def _normal(deviation: float, shape: Shape, key: Key) -> Values:
    return (deviation * random.normal(key, prod(shape))).reshape(shape)


def _uniform(limit: float, shape: Shape, key: Key) -> Values:
    return (limit * (2.0 * random.uniform(key, prod(shape)) - 1.0)).reshape(shape)


def _check(name: str, low: float = -inf, **values: object) -> None:
    for argument, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < inf or value == -inf:
            bound = "" if low == -inf else f" ≥ {low:g}"
            raise UsageError(f"{name}: {argument} must be a finite number{bound}, got {value!r}")


@dataclass(frozen=True)
class zeros:
    """0 everywhere: the default of biases."""

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return np.zeros(shape)


@dataclass(frozen=True)
class constant:
    """`value` everywhere."""

    value: float

    def __post_init__(self) -> None:
        _check("constant", value=self.value)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class normal:
    """N(0, deviation²), whatever the fans."""

    deviation: float = 0.05

    def __post_init__(self) -> None:
        _check("normal", 0.0, deviation=self.deviation)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _normal(self.deviation, shape, key)


@dataclass(frozen=True)
class uniform:
    """U(−limit, limit), whatever the fans."""

    limit: float = 0.05

    def __post_init__(self) -> None:
        _check("uniform", 0.0, limit=self.limit)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _uniform(self.limit, shape, key)


@dataclass(frozen=True)
class glorot_normal:
    """N(0, 2 / (n_in + n_out)). Source: Glorot, Bengio, AISTATS 2010, equation 12."""

    propositions: ClassVar[tuple[str, ...]] = ("glorot-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _normal(sqrt(2.0 / sum(fans)), shape, key)


@dataclass(frozen=True)
class glorot_uniform:
    """U(−a, a) with a = √(6 / (n_in + n_out)). Source: Glorot, Bengio, AISTATS 2010, equation 16."""

    propositions: ClassVar[tuple[str, ...]] = ("glorot-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _uniform(sqrt(6.0 / sum(fans)), shape, key)


@dataclass(frozen=True)
class he_normal:
    """N(0, 2 / n_in), for ReLU-like activations. Source: He, Zhang, Ren, Sun, ICCV 2015, equation 10."""

    propositions: ClassVar[tuple[str, ...]] = ("he-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _normal(sqrt(2.0 / fans[0]), shape, key)


@dataclass(frozen=True)
class he_uniform:
    """U(−a, a) with a = √(6 / n_in): the variance of `he_normal`."""

    propositions: ClassVar[tuple[str, ...]] = ("he-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _uniform(sqrt(6.0 / fans[0]), shape, key)


@dataclass(frozen=True)
class lecun_normal:
    """N(0, 1 / n_in). Source: LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998, section 4.6."""

    propositions: ClassVar[tuple[str, ...]] = ("lecun-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _normal(sqrt(1.0 / fans[0]), shape, key)


@dataclass(frozen=True)
class lecun_uniform:
    """U(−a, a) with a = √(3 / n_in): the variance of `lecun_normal`."""

    propositions: ClassVar[tuple[str, ...]] = ("lecun-variance",)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        return _uniform(sqrt(3.0 / fans[0]), shape, key)


@dataclass(frozen=True)
class orthogonal:
    """gain · Q, where Q, as a matrix (all axes but the last, last), has orthonormal columns (rows, if it is wide).

    Q is uniformly distributed (Haar): a matrix of normal numbers, orthonormalised column by column (Gram–Schmidt, twice
    each: QᵀQ = I to rounding). Source: Saxe, McClelland, Ganguli, ICLR 2014, section 3.
    """

    gain: float = 1.0

    propositions: ClassVar[tuple[str, ...]] = ("orthogonal",)

    def __post_init__(self) -> None:
        _check("orthogonal", gain=self.gain)

    def __call__(self, shape: Shape, fans: tuple[int, int], key: Key) -> Values:
        if len(shape) < 2:
            raise UsageError(f"orthogonal needs a parameter with at least two axes, got shape {shape}")
        rows, columns = prod(shape[:-1]), shape[-1]
        tall = random.normal(key, prod(shape)).reshape(max(rows, columns), min(rows, columns))
        Q = _orthonormal_rows(np.ascontiguousarray(tall.T))
        return (self.gain * (Q.T if rows >= columns else Q)).reshape(shape)


def _orthonormal_rows(Q: Values) -> Values:
    """Orthonormalise the rows of Q, in place."""
    for j in range(len(Q)):
        for _ in range(2):
            Q[j] -= _sum_rows(_sum_rows((Q[:j] * Q[j]).T)[:, None] * Q[:j])
        Q[j] /= np.sqrt(_sum_rows(Q[j] * Q[j]))
    return Q


def _sum_rows(D: Values) -> Values:
    """Σ_i D[i], in the order of a binary tree: halves are added until one row is left."""
    while len(D) > 1:
        half = (len(D) + 1) // 2
        D = np.concatenate([D[: len(D) - half] + D[half:], D[len(D) - half : half]])
    return D[0] if len(D) else np.zeros(D.shape[1:])


INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    kind.__name__: kind
    for kind in (
        zeros, constant, normal, uniform, glorot_normal, glorot_uniform,
        he_normal, he_uniform, lecun_normal, lecun_uniform, orthogonal,
    )
}  # fmt: skip
"""Every initializer by name."""


def initializer(spec: str | Initializer) -> Initializer:
    """The initializer called `spec`, or `spec` itself if it is one. Raises `UnknownNameError`, `UsageError`."""
    if not isinstance(spec, str):
        if not callable(spec):
            raise UsageError(f"an initializer is a name or a function of (shape, fans, key), got {spec!r}")
        return spec
    if spec not in INITIALIZERS:
        raise unknown_name("initializer", spec, INITIALIZERS)
    if spec == "constant":
        raise UsageError("initializer 'constant' needs its value: write constant(value)")
    return INITIALIZERS[spec]()
