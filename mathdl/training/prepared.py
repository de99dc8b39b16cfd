"""The steps of a `fit`, kept for the next one.

By the time that a step has run twice it has been recorded, or captured, and is fast. So a `fit` on the data of the one
before, with nothing else changed, goes on with its steps. What is not of mathdl (a layer, a loss, an optimizer of one's
own) may change in ways that nobody sees from outside: then every `fit` begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mathdl.arrays import Vector
from mathdl.data.source import Source
from mathdl.layers.chain import walk
from mathdl.training.step import Step

if TYPE_CHECKING:
    from mathdl.training.trainer import Trainer


class Prepared(NamedTuple):
    """Steps on minibatches of a source, by their size."""

    steps: Mapping[int, Step]
    source: Source
    given: tuple[Any, ...]
    """What they were made from, beside the source."""


def prepare(before: Prepared | None, trainer: Trainer, source: Source) -> Prepared:
    """A step for each size of minibatch of the source: those of before, if they were made from the same things."""
    model = trainer.model
    given = (
        trainer.batch_size, trainer.workers, trainer.optimizer, frozenset(trainer.network.frozen), model,
        model.params, model.objective, trainer.slots,
    )  # fmt: skip
    if before is not None and _are_ours(trainer) and _same(before.given, given) and before.source.refilled(source):
        return before
    return Prepared(_steps(trainer, source), source, given)


def make_step(trainer: Trainer, source: Source, B: int, M: int = 1, gradients: Sequence[Vector] = ()) -> Step:
    """A step on minibatches of B instances, M at most that follow one another."""
    model, params = trainer.model, trainer.params
    return Step(
        model.objective,
        params,
        trainer.optimizer,
        trainer.slots or {},
        trainer.network.plan(params.input_shape, B, trainer.dtype, params.device.name),
        source.minibatch(B, M),
        model.objective.metrics(model.target_scale()),
        trainer.workers,
        gradients,
        M,
    )


def _steps(trainer: Trainer, source: Source) -> dict[int, Step]:
    """The whole minibatches, and the last if it is short."""
    B = min(trainer.batch_size, source.n)
    steps = {B: make_step(trainer, source, B, source.n // B)}
    short = source.n % B
    return steps | ({short: make_step(trainer, source, short, 1, steps[B].gradients)} if short else {})


def _are_ours(trainer: Trainer) -> bool:
    """Whether layers, loss and optimizer are mathdl's own: frozen, and known by their fields."""
    parts = [*(layer for _, layer in walk(trainer.network.chain)), trainer.loss, trainer.optimizer]
    return all(type(part).__module__.startswith("mathdl.") for part in parts)


def _same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether each is the same object as the other; numbers and records are compared by value."""
    plain = (int, frozenset, type(None))
    return all(
        a is b or (isinstance(a, plain) and isinstance(b, plain) and a == b) for a, b in zip(some, others, strict=True)
    )
