"""Schedules: the learning rate η as a function of time.

A schedule is stated in epochs, so it does not depend on the size of a minibatch: e = step / (steps per epoch), a
fraction, with steps counted from 0 over the whole training. Rates are Python floats, computed on the host in float64.
A schedule is a frozen record of numbers (and of a schedule): it can be written to a file, and it holds no state.
Propositions: schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, floor, inf, pi, pow
from typing import ClassVar, Protocol, runtime_checkable

from mathdl.errors import UsageError


@runtime_checkable
class Schedule(Protocol):
    """A learning rate over time: `at(step, epoch) * factor_after(validation losses so far)`."""

    propositions: ClassVar[tuple[str, ...]] = ("schedules",)
    """The ids of the propositions that say what the rate is."""

    def at(self, step: int, epoch: float) -> float:
        """η of step `step` = 0, 1, … of the whole training, at time `epoch` = step / (steps per epoch)."""
        ...

    def factor_after(self, history: Sequence[float]) -> float:
        """The factor on η after epochs with these validation losses; 1 but for `Plateau`."""
        return 1.0


@dataclass(frozen=True)
class Constant(Schedule):
    """η = rate."""

    rate: float

    def __post_init__(self) -> None:
        check_non_negative("Constant", rate=self.rate)

    def at(self, step: int, epoch: float) -> float:
        return self.rate


@dataclass(frozen=True)
class Step(Schedule):
    """η(e) = rate · factor^⌊e / every⌋: times `factor` after each `every` epochs.

    Source: ours; so named in PyTorch (StepLR) and used by He and others, "Deep residual learning", 2015.
    """

    rate: float
    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_non_negative("Step", rate=self.rate, factor=self.factor)
        check_positive("Step", every=self.every)

    def at(self, step: int, epoch: float) -> float:
        return self.rate * pow(self.factor, floor(epoch / self.every))


@dataclass(frozen=True)
class Exponential(Schedule):
    """η(e) = rate · factor^e: times `factor` each epoch, smoothly. Source: ours; so named in Keras and PyTorch."""

    rate: float
    factor: float

    def __post_init__(self) -> None:
        check_non_negative("Exponential", rate=self.rate, factor=self.factor)

    def at(self, step: int, epoch: float) -> float:
        return self.rate * pow(self.factor, epoch)


@dataclass(frozen=True)
class Inverse(Schedule):
    """η(e) = rate / (1 + decay · e).

    Source: Robbins, Monro, "A stochastic approximation method", 1951 (Σ η = ∞, Σ η² < ∞); as InverseTimeDecay in Keras.
    """

    rate: float
    decay: float

    def __post_init__(self) -> None:
        check_non_negative("Inverse", rate=self.rate, decay=self.decay)

    def at(self, step: int, epoch: float) -> float:
        return self.rate / (1.0 + self.decay * epoch)


@dataclass(frozen=True)
class Cosine(Schedule):
    """η(e) = final + (rate − final) (1 + cos(π min(e / epochs, 1))) / 2: from `rate` down to `final`, where it stays.

    Source: Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5.
    """

    rate: float
    epochs: float
    final: float = 0.0

    def __post_init__(self) -> None:
        check_non_negative("Cosine", rate=self.rate, final=self.final)
        check_positive("Cosine", epochs=self.epochs)

    def at(self, step: int, epoch: float) -> float:
        return self.final + (self.rate - self.final) * (1.0 + cos(pi * min(epoch / self.epochs, 1.0))) / 2.0


@dataclass(frozen=True)
class LinearWarmup(Schedule):
    """η(e) = η₀ (start + (1 − start) e / epochs) while e < epochs, with η₀ the first rate of `then`; then `then`.

    `then` is a rate or a schedule, whose clock starts when the warm-up ends; with `start` = 0 the first step has η = 0.
    Source: Goyal and others, "Accurate, large minibatch SGD", 2017, section 2.2.
    """

    epochs: float
    then: float | Schedule
    start: float = 0.0

    def __post_init__(self) -> None:
        check_positive("LinearWarmup", epochs=self.epochs)
        check_fraction("LinearWarmup", start=self.start)
        schedule(self.then)

    def at(self, step: int, epoch: float) -> float:
        then = schedule(self.then)
        if epoch < self.epochs:
            return then.at(0, 0.0) * (self.start + (1.0 - self.start) * epoch / self.epochs)
        return then.at(step - round(step * self.epochs / epoch), epoch - self.epochs)

    def factor_after(self, history: Sequence[float]) -> float:
        return schedule(self.then).factor_after(history)


@dataclass(frozen=True)
class Plateau(Schedule):
    """η = max(rate · factorᵏ, minimum), where k counts the plateaus of the validation loss.

    A plateau is `patience` epochs in a row without a loss below the best before them; a NaN is no improvement. After a
    plateau the count starts anew, the best loss stays. Source: ours; as Keras' ReduceLROnPlateau, without a threshold.
    """

    rate: float
    factor: float = 0.1
    patience: int = 5
    minimum: float = 0.0

    def __post_init__(self) -> None:
        check_positive("Plateau", rate=self.rate)
        check_fraction("Plateau", factor=self.factor)
        _check("Plateau", f"lie in [0, rate] = [0, {self.rate}]", lambda x: 0 <= x <= self.rate, minimum=self.minimum)
        _check("Plateau", "be an int ≥ 1", lambda x: isinstance(x, int) and x >= 1, patience=self.patience)

    def at(self, step: int, epoch: float) -> float:
        return self.rate

    def factor_after(self, history: Sequence[float]) -> float:
        best, waited, plateaus = inf, 0, 0
        for loss in history:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
            if waited == self.patience:
                plateaus, waited = plateaus + 1, 0
        return max(pow(self.factor, plateaus), self.minimum / self.rate)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse": Inverse,
    "cosine": Cosine,
    "linear_warmup": LinearWarmup,
    "plateau": Plateau,
}
"""Every schedule by name."""


def schedule(spec: float | Schedule) -> Schedule:
    """A number as a `Constant`, a schedule as itself. Raises `UsageError` for anything else."""
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return Constant(float(spec))
    if isinstance(spec, Schedule):
        return spec
    known = ", ".join(kind.__name__ for kind in SCHEDULES.values())
    raise UsageError(f"a learning rate must be a number ≥ 0 or a schedule ({known}), got {spec!r}")


def check_non_negative(owner: str, **values: float) -> None:
    """Raise `UsageError` unless every value is a finite number ≥ 0."""
    _check(owner, "be a finite number ≥ 0", lambda x: 0 <= x < inf, **values)


def check_positive(owner: str, **values: float) -> None:
    """Raise `UsageError` unless every value is a finite number > 0."""
    _check(owner, "be a finite number > 0", lambda x: 0 < x < inf, **values)


def check_fraction(owner: str, **values: float) -> None:
    """Raise `UsageError` unless every value lies in [0, 1)."""
    _check(owner, "lie in [0, 1)", lambda x: 0 <= x < 1, **values)


def _check(owner: str, rule: str, holds: Callable[[float], bool], **values: float) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
            raise UsageError(f"{owner}: {name} must {rule}, got {value!r}")
