"""The network that is compared, the data that it learns from, and states of a real training of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import to_host
from mathdl.data import Minibatches
from mathdl.losses import Loss
from mathdl.network import Network, Parameters
from mathdl.optimizers import Optimizer
from mathdl.parity.sides import Side
from mathdl.training.trainer import Trainer

MINIBATCHES = 16
"""The minibatches of an epoch of this training, at most: it takes the first rows only."""
EPOCHS = (0, 1, 3)
"""After how many epochs a state is taken."""


@dataclass(frozen=True)
class Subject:
    """A network under a loss and an optimizer, and rows in the form in which a step reads them."""

    name: str
    network: Network
    loss: Loss
    optimizer: Optimizer
    X: NDArray[Any]
    """(n, …), standardized if the training does that."""
    Y: NDArray[Any]
    batch_size: int = 32
    seed: int = 0
    trained: Parameters | None = None
    """θ and state of a training that has ended; None: there was none."""

    @property
    def rows(self) -> int:
        """How many rows are used."""
        return min(len(self.X), MINIBATCHES * self.batch_size)

    def minibatch(self, epoch: int, m: int) -> NDArray[np.int64]:
        """The rows of minibatch {m} of an epoch."""
        return Minibatches(self.rows, self.batch_size, self.seed).rows(epoch)[m]


class State(NamedTuple):
    """All that an update starts from, on the host."""

    label: str
    """``untrained``, ``after 16 steps``, ``as saved``."""
    epoch: int
    m: int
    """The minibatch {m} of that epoch which the update takes."""
    step: int
    """Steps taken so far."""
    theta: NDArray[Any]
    state: NDArray[Any]
    slots: Mapping[str, NDArray[Any]]


def states(subject: Subject, side: Side) -> Iterator[State]:
    """States of a training on this side, from the untrained one on; then the one that was saved, if any."""
    trainer = Trainer(
        subject.network,
        subject.loss,
        subject.optimizer,
        subject.batch_size,
        side.device.name,
        side.dtype,
        subject.seed,
    )
    X, Y = subject.X[: subject.rows], subject.Y[: subject.rows]
    trainer.prepare(X, Y)
    for k, epochs in enumerate(EPOCHS):
        trainer.fit(X, Y, epochs - trainer.epoch, verbose=False)
        label = f"after {trainer.step} steps" if trainer.step else "untrained"
        slots = {name: _copy(slot) for name, slot in (trainer.slots or {}).items()}
        m = k % len(Minibatches(subject.rows, subject.batch_size))
        params = trainer.params
        yield State(label, epochs, m, trainer.step, _copy(params.vector), _copy(params.state.vector), slots)
    if subject.trained is not None:
        theta, state = subject.trained.vector, subject.trained.state.vector
        zero = {name: np.zeros_like(_copy(theta)) for name in subject.optimizer.slots}
        yield State("as saved", 0, 0, 0, _copy(theta), _copy(state), zero)


def _copy(vector: Any) -> NDArray[Any]:
    return np.array(to_host(vector))
