"""Optimizers: updates of θ in place, entry by entry, on slices of flat vectors.

    SGD       V ← μ V + G                     θ ← θ − η V        (Nesterov: θ ← θ − η (G + μ V))
    Adam      M ← β₁ M + (1 − β₁) G
              V ← β₂ V + (1 − β₂) G²          θ ← θ − η (M / (1 − β₁ᵗ)) / (√(V / (1 − β₂ᵗ)) + ε)
    AdamW     as Adam, after                  θ ← θ − η λ θ
    RMSprop   S ← ρ S + (1 − ρ) G²            θ ← θ − η G / (√S + ε)

With a weight decay λ, G is G + λ θ in all but AdamW (the gradient of J + λ/2 Σ W²; on weights only, never on biases and
normalization). The forms are PyTorch's: momentum is not scaled by the rate, ε stands outside of the root.
What changes from step to step is computed on the host in float64 (`coefficients`) and read from an array on the device,
so that a recorded step may be replayed; all other numbers are fixed when the optimizer is made.
Propositions: sgd, momentum, nesterov, adam, adamw, rmsprop, weight-decay, clipping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import sqrt
from typing import Any, ClassVar, Protocol, runtime_checkable

from mathdl.arrays import Array, namespace
from mathdl.errors import UsageError, unknown_name
from mathdl.primitive import pointwise
from mathdl.schedules import Schedule, check_fraction, check_non_negative, check_positive, schedule


@runtime_checkable
class Optimizer(Protocol):
    """An update rule: configuration only. Its state is the caller's, one flat vector a slot, 0 at the start."""

    propositions: ClassVar[tuple[str, ...]] = ()
    """The ids of the propositions that say what the rule does."""

    @property
    def learning_rate(self) -> float | Schedule:
        """η, or the schedule that it follows."""
        ...

    @property
    def clip_norm(self) -> float | None:
        """The largest Euclidean norm of the whole gradient; None: any."""
        return None

    @property
    def clip_value(self) -> float | None:
        """The largest magnitude of an entry of the gradient; None: any."""
        return None

    @property
    def weight_decay(self) -> float:
        """λ, on weights only."""
        return 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of the state vectors."""
        return ()

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        """What changes with the step (counted from 1): η first, then what the update makes of it and of the step."""
        return (rate,)

    def update(self, theta: Array, G: Array, state: Mapping[str, Array], c: Array, decay: bool) -> None:
        """One step, in place of `theta` and `state`; G is only read. All are slices of equal length, cut anywhere.

        `c` is a vector on the device that holds `coefficients`; `decay`: whether the slice is of weights.
        """
        ...

    def clip(self, G: Array) -> None:
        """Clip the whole gradient, in place: each entry to `clip_value`, then G ← G min(1, clip_norm / ‖G‖)."""
        xp = namespace(G)
        if self.clip_value is not None:
            G[...] = xp.minimum(xp.maximum(G, -self.clip_value), self.clip_value)
        if self.clip_norm is not None:
            G *= xp.minimum(self.clip_norm / xp.sqrt(xp.sum(G * G, axis=0, keepdims=True)), 1.0)


@pointwise
def sgd_step(xp: Any, theta: Array, G: Array, rate: Array) -> None:
    """θ ← θ − η G."""
    theta -= rate * G


@pointwise
def momentum_step(xp: Any, theta: Array, G: Array, V: Array, rate: Array, momentum: float) -> None:
    """V ← μ V + G; θ ← θ − η V."""
    V *= momentum
    V += G
    theta -= rate * V


@pointwise
def nesterov_step(xp: Any, theta: Array, G: Array, V: Array, rate: Array, momentum: float) -> None:
    """V ← μ V + G; θ ← θ − η (G + μ V)."""
    V *= momentum
    V += G
    theta -= rate * (momentum * V + G)


@pointwise
def adam_step(
    xp: Any, theta: Array, G: Array, M: Array, V: Array, a: Array, b: Array, beta1: float, beta2: float, epsilon: float
) -> None:
    """M ← β₁ M + (1 − β₁) G; V ← β₂ V + (1 − β₂) G²; θ ← θ − a M / (b √V + ε).

    a = η / (1 − β₁ᵗ) and b = 1 / √(1 − β₂ᵗ) correct M and V for their start at 0, without a pass over either.
    """
    M *= beta1
    M += (1.0 - beta1) * G
    V *= beta2
    V += (1.0 - beta2) * (G * G)
    theta -= a * M / (b * xp.sqrt(V) + epsilon)


@pointwise
def rmsprop_direction(xp: Any, G: Array, S: Array, rho: float, epsilon: float) -> Array:
    """S ← ρ S + (1 − ρ) G²; G / (√S + ε)."""
    S *= rho
    S += (1.0 - rho) * (G * G)
    return G / (xp.sqrt(S) + epsilon)


@pointwise
def with_decay(xp: Any, G: Array, theta: Array, weight_decay: float) -> Array:
    """G + λ θ."""
    return G + weight_decay * theta


@pointwise
def shrink(xp: Any, theta: Array, rate: Array, weight_decay: float) -> None:
    """θ ← θ − η λ θ. (θ ← (1 − η λ) θ would round η λ away in float32.)"""
    theta -= rate * weight_decay * theta


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum μ (`momentum`) in Polyak's or Nesterov's form.

    Source: Jiang, section 1 (named); the formulas are ours: Polyak, 1964; Sutskever and others, ICML 2013.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    propositions: ClassVar[tuple[str, ...]] = ("sgd", "momentum", "nesterov", "weight-decay", "clipping")

    def __post_init__(self) -> None:
        _check(self)
        check_fraction("SGD", momentum=self.momentum)
        if self.nesterov and self.momentum == 0.0:
            raise UsageError("SGD: nesterov=True needs a momentum > 0, for example momentum=0.9")

    @property
    def slots(self) -> tuple[str, ...]:
        return ("V",) if self.momentum else ()

    def update(self, theta: Array, G: Array, state: Mapping[str, Array], c: Array, decay: bool) -> None:
        if decay and self.weight_decay:
            G = with_decay(G, theta, self.weight_decay)
        if not self.momentum:
            sgd_step(theta, G, c[0:1])
        elif self.nesterov:
            nesterov_step(theta, G, state["V"], c[0:1], self.momentum)
        else:
            momentum_step(theta, G, state["V"], c[0:1], self.momentum)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square, both corrected for their start at 0.

    Source: Kingma, Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    propositions: ClassVar[tuple[str, ...]] = ("adam", "weight-decay", "clipping")

    def __post_init__(self) -> None:
        _check(self)
        check_fraction("Adam", beta1=self.beta1, beta2=self.beta2)
        check_positive("Adam", epsilon=self.epsilon)

    @property
    def slots(self) -> tuple[str, ...]:
        return "M", "V"

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        return _adam_coefficients(self, step, rate)

    def update(self, theta: Array, G: Array, state: Mapping[str, Array], c: Array, decay: bool) -> None:
        if decay and self.weight_decay:
            G = with_decay(G, theta, self.weight_decay)
        adam_step(theta, G, state["M"], state["V"], c[1:2], c[2:3], self.beta1, self.beta2, self.epsilon)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with a weight decay of its own: θ ← θ − η λ θ, which the running means do not see.

    Source: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2, the decay scaled by η.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float | None = None
    clip_value: float | None = None

    propositions: ClassVar[tuple[str, ...]] = ("adamw", "weight-decay", "clipping")

    def __post_init__(self) -> None:
        _check(self)
        check_fraction("AdamW", beta1=self.beta1, beta2=self.beta2)
        check_positive("AdamW", epsilon=self.epsilon)

    @property
    def slots(self) -> tuple[str, ...]:
        return "M", "V"

    def coefficients(self, step: int, rate: float) -> tuple[float, ...]:
        return _adam_coefficients(self, step, rate)

    def update(self, theta: Array, G: Array, state: Mapping[str, Array], c: Array, decay: bool) -> None:
        if decay and self.weight_decay:
            shrink(theta, c[0:1], self.weight_decay)
        adam_step(theta, G, state["M"], state["V"], c[1:2], c[2:3], self.beta1, self.beta2, self.epsilon)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: steps scaled by a running mean of the square of the gradient.

    With a momentum μ: V ← μ V + G / (√S + ε), θ ← θ − η V.
    Source: Tieleman, Hinton, "Lecture 6.5: RMSprop", Coursera, 2012; with momentum as in PyTorch.
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    propositions: ClassVar[tuple[str, ...]] = ("rmsprop", "weight-decay", "clipping")

    def __post_init__(self) -> None:
        _check(self)
        check_fraction("RMSprop", rho=self.rho, momentum=self.momentum)
        check_positive("RMSprop", epsilon=self.epsilon)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("S", "V") if self.momentum else ("S",)

    def update(self, theta: Array, G: Array, state: Mapping[str, Array], c: Array, decay: bool) -> None:
        if decay and self.weight_decay:
            G = with_decay(G, theta, self.weight_decay)
        D = rmsprop_direction(G, state["S"], self.rho, self.epsilon)
        if self.momentum:
            momentum_step(theta, D, state["V"], c[0:1], self.momentum)
        else:
            sgd_step(theta, D, c[0:1])


OPTIMIZERS: dict[str, Any] = {"sgd": SGD, "adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}
"""Every optimizer by name."""


def optimizer(spec: str | Optimizer, **options: Any) -> Optimizer:
    """The optimizer called `spec` with these options, or `spec` itself. Raises `UnknownNameError`, `UsageError`."""
    if not isinstance(spec, str):
        if options or not isinstance(spec, Optimizer):
            raise UsageError(f"an optimizer is a name with options, or an Optimizer without; got {spec!r}, {options}")
        return spec
    if spec not in OPTIMIZERS:
        raise unknown_name("optimizer", spec, OPTIMIZERS)
    known = [field.name for field in fields(OPTIMIZERS[spec])]
    for name in options:
        if name not in known:
            raise unknown_name(f"option of {spec}", name, known)
    made: Optimizer = OPTIMIZERS[spec](**options)
    return made


def _adam_coefficients(adam: Adam | AdamW, step: int, rate: float) -> tuple[float, ...]:
    return rate, rate / (1.0 - adam.beta1**step), 1.0 / sqrt(1.0 - adam.beta2**step)


def _check(optimizer: SGD | Adam | AdamW | RMSprop) -> None:
    schedule(optimizer.learning_rate)
    name, clips = type(optimizer).__name__, {"clip_norm": optimizer.clip_norm, "clip_value": optimizer.clip_value}
    check_non_negative(name, weight_decay=optimizer.weight_decay)
    check_positive(name, **{clip: most for clip, most in clips.items() if most is not None})
