"""Checkpoints: all that a training resumes from, in one safetensors file.

θ, the state, the optimizer's state, the best epoch's θ, the figures of the running epoch, the history, epoch and {m}.
Randomness needs no entry: it is addressed by the seed, the epoch and {m}.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mathdl.architecture import record_to_dict
from mathdl.arrays import to_host
from mathdl.errors import FileFormatError, UsageError
from mathdl.training.callbacks import Best
from mathdl.training.files import read_tensors, write_tensors
from mathdl.training.history import History
from mathdl.training.trainer import Trainer

_FORMAT = "mathdl checkpoint 1"


def save_checkpoint(trainer: Trainer, path: Any) -> None:
    """Write what `trainer` needs to go on, whole or not at all."""
    params, slots = trainer.params, trainer.slots or {}
    tensors = {
        "theta": to_host(params.vector),
        "state": to_host(params.state.vector),
        "running_figures": trainer.running_figures,
        **{f"slot:{name}": to_host(slot) for name, slot in slots.items()},
    }
    if trainer.best is not None:
        tensors |= {"best:theta": trainer.best.theta, "best:state": trainer.best.state}
    progress = {
        "epoch": trainer.epoch,
        "m": trainer.m,
        "step": trainer.step,
        "history": trainer.history.rows,
        "best": None if trainer.best is None else trainer.best.figures(),
        "run": _identity(trainer),
    }
    metadata = {"format": _FORMAT, "progress": json.dumps(progress)}
    write_tensors(path, {name: np.ascontiguousarray(A) for name, A in tensors.items()}, metadata)


def restore_checkpoint(trainer: Trainer, path: Any) -> None:
    """Put `trainer` where the checkpoint was written: `fit` on the same data then goes on bit for bit.

    The trainer must have the same network, optimizer, batch size, dtype and seed, else `UsageError`; it must know its
    data's shape (`trainer.prepare(X, Y)`). Raises `FileFormatError` if the file is not a checkpoint.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise FileFormatError(f"{path}: not a checkpoint of this mathdl (expected {_FORMAT!r})")
    progress = json.loads(metadata["progress"])
    for name, ours in _identity(trainer).items():
        theirs = progress["run"].get(name)
        if theirs != json.loads(json.dumps(ours)):
            raise UsageError(f"{path} was written by a training with {name} = {theirs}, this one has {ours}")
    params = trainer.params
    params.vector[...] = params.device.put(tensors["theta"])
    params.state.vector[...] = params.device.put(tensors["state"])
    params.version += 1
    assert trainer.slots is not None
    for name, slot in trainer.slots.items():
        slot[...] = params.device.put(tensors[f"slot:{name}"])
    trainer.running_figures = tensors["running_figures"]
    trainer.epoch, trainer.m, trainer.step = progress["epoch"], progress["m"], progress["step"]
    trainer.history = History(progress["history"])
    best = progress["best"]
    if best is not None:
        trainer.best = Best(best["value"], best["epoch"], tensors["best:theta"], tensors["best:state"])


def _identity(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "parameters": {name: list(shape) for name, shape in trainer.params.shapes.items()},
        "optimizer": record_to_dict(trainer.optimizer),
        "loss": record_to_dict(trainer.loss),
        "batch_size": trainer.batch_size,
        "dtype": trainer.dtype,
        "seed": trainer.seed,
        "shuffle": trainer.shuffle,
    }
