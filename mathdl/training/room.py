"""How large a minibatch may be where the device has no memory left: found by trying."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import numpy as np

from mathdl.data.source import Source
from mathdl.errors import OutOfMemoryError
from mathdl.training.prepared import make_step
from mathdl.training.step import epoch_table

if TYPE_CHECKING:
    from mathdl.training.trainer import Trainer


def advice(trainer: Trainer, source: Source) -> str:
    """What to do about it: the largest batch_size of which a step fits, to an eighth.

    Forward and backward are run on as many rows, and θ is left alone.
    """
    failing = min(trainer.batch_size, source.n)
    if _fits(trainer, source, failing):
        return f"a step on {failing} instances fits by itself: free what else is on the device, or lower batch_size"
    fitting = failing // 2
    while fitting and not _fits(trainer, source, fitting):
        failing, fitting = fitting, fitting // 2
    if not fitting:
        return "not even a step on one instance fits"
    while failing - fitting > max(1, fitting // 8):
        middle = (fitting + failing) // 2
        if _fits(trainer, source, middle):
            fitting = middle
        else:
            failing = middle
    return f"a step on {fitting} instances was tried, and fits: set batch_size={fitting}"


def _fits(trainer: Trainer, source: Source, B: int) -> bool:
    gc.collect()  # a step that failed is a circle of references, and holds its memory until it is found
    try:
        with trainer.params.device.active(), make_step(trainer, source, B) as step:
            step.begin(epoch_table(step, [float(B)], [0.0], 0, trainer.seed, trainer.epoch), [np.arange(B)])
            step.attempt()
    except OutOfMemoryError:
        return False
    return True
