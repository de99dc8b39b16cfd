"""Checkpoints: all that a training resumes from, in one safetensors file.

θ, the state, the optimizer's state, the best epoch's θ, the figures of the running epoch, the history, epoch and {m}.
Randomness needs no entry: it is addressed by the seed, the epoch and {m}.
"""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from mathdl.architecture import record_to_dict
from mathdl.arrays import Array, to_host
from mathdl.errors import FileFormatError, UsageError
from mathdl.layers.chain import walk
from mathdl.training.callbacks import Best
from mathdl.training.files import read_tensors, write_tensors
from mathdl.training.history import History
from mathdl.training.trainer import Trainer

_FORMAT = "mathdl checkpoint 1"


def save_checkpoint(trainer: Trainer, path: Any) -> None:
    """Write what `trainer` needs to go on, whole or not at all."""
    tensors = {name: to_host(vector) for name, vector in _vectors(trainer).items()}
    tensors["running_figures"] = trainer.running_figures
    if trainer.best is not None:
        tensors |= {"best:theta": trainer.best.theta, "best:state": trainer.best.state}
    progress = {
        "epoch": trainer.epoch,
        "m": trainer.m,
        "step": trainer.step,
        "history": trainer.history.rows,
        "stopped": trainer.history.stopped,
        "best": None if trainer.best is None else trainer.best.figures(),
        "run": _identity(trainer),
    }
    metadata = {"format": _FORMAT, "progress": json.dumps(progress)}
    write_tensors(path, {name: np.ascontiguousarray(A) for name, A in tensors.items()}, metadata)


def restore_checkpoint(trainer: Trainer, path: Any) -> None:
    """Put `trainer` where the checkpoint was written: `fit` on the same data then goes on bit for bit.

    The trainer must have the same network, loss, optimizer, batch size, dtype and seed, else `UsageError`; it must know
    its data (`trainer.prepare(X, Y)`). Raises `FileFormatError` if the file is not a checkpoint. A checkpoint that is
    refused changes nothing.
    """
    vectors, ours = _vectors(trainer), json.loads(json.dumps(_identity(trainer)))
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise FileFormatError(f"{path}: not a checkpoint of this mathdl (expected {_FORMAT!r})")
    try:
        progress = json.loads(metadata["progress"])
        theirs = progress["run"]
        found = {name: tensors[name] for name in vectors} if theirs == ours else {}
        epoch, m, step, figures = progress["epoch"], progress["m"], progress["step"], tensors["running_figures"]
        history, best = History(progress["history"]), progress["best"]
        history.stopped = progress["stopped"]
        best = best and Best(**best, theta=tensors["best:theta"], state=tensors["best:state"])
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: the checkpoint is damaged ({type(error).__name__}: {error})") from error
    for name in ours:
        if theirs.get(name) != ours[name]:
            raise UsageError(
                f"{path} was written by a training with {name} = {theirs.get(name)}, this one has {ours[name]}"
            )
    device = trainer.params.device
    with device.active():
        for name, vector in vectors.items():
            vector[...] = device.put(found[name])
    trainer.epoch, trainer.m, trainer.step, trainer.running_figures = epoch, m, step, figures
    trainer.history, trainer.best = history, best


def _vectors(trainer: Trainer) -> dict[str, Array]:
    """What an update changes, on the device."""
    slots = {f"slot:{name}": slot for name, slot in (trainer.slots or {}).items()}
    return {"theta": trainer.params.vector, "state": trainer.params.state.vector, **slots}


def _identity(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "layers": {
            ".".join(map(str, path)): repr(layer) if is_dataclass(layer) else type(layer).__name__
            for path, layer in walk(trainer.network.chain)
            if not layer.inner
        },
        "parameters": {name: list(shape) for name, shape in trainer.params.shapes.items()},
        "optimizer": record_to_dict(trainer.optimizer),
        "loss": record_to_dict(trainer.loss),
        "batch_size": trainer.batch_size,
        "dtype": trainer.dtype,
        "seed": trainer.seed,
        "shuffle": trainer.shuffle,
        "standardize": [trainer.standardize, trainer.standardize_targets],
    }
