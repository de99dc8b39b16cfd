"""Checkpoints: a training that was stopped, written, read by a new trainer and resumed is one that never stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mathdl as md
from mathdl.errors import FileFormatError, MathdlError, UsageError
from mathdl.schedules import Cosine, Plateau
from mathdl.training import pace
from mathdl.training import trainer as trainer_module
from mathdl.training.checkpoint import restore_checkpoint, save_checkpoint
from mathdl.training.files import read_tensors, write_tensors
from support import host
from trainings import cnn, images, mlp, numbers, result, vectors

X, Y = vectors()
FIT = {
    "sample_weight": np.linspace(0.5, 2.0, len(X)),
    "validation_data": vectors(20, seed=1),
    "early_stopping": md.EarlyStopping(patience=3),
}
OPTIMIZERS = {
    "plain": md.SGD(0.1),
    "momentum": md.SGD(0.1, momentum=0.9, clip_norm=1.0),
    "Adam": md.Adam(0.01),
    "plateau": md.RMSprop(Plateau(0.05, factor=0.5, patience=1), momentum=0.5),
    "cosine": md.AdamW(Cosine(0.01, 5)),
}


def make(optimizer=OPTIMIZERS["Adam"], build=mlp, **options):
    return md.Trainer(
        build(), **{"optimizer": optimizer, "batch_size": 16, "device": "cpu", "standardize": True, **options}
    )


def resumed(path, data=(X, Y), **options):
    trainer = make(**options)
    trainer.prepare(*data)
    restore_checkpoint(trainer, path)
    return trainer


class StopAt:
    """A progress that asks to stop after minibatch {m} of an epoch."""

    def __init__(self, monkeypatch, epoch, m):
        self.at = epoch, m
        monkeypatch.setattr(pace, "_SECONDS", 0.0)
        monkeypatch.setattr(trainer_module, "progress", lambda *args: self)
        monkeypatch.setattr(trainer_module, "InterruptAfterMinibatch", lambda: self)
        self.asked = False

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def minibatches(self, epoch, done, J):
        self.asked = self.asked or (epoch, done - 1) == self.at

    def epoch(self, row):
        pass


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_resumed_after_an_epoch(tmp_path, backend, optimizer):
    path = tmp_path / "checkpoint"

    def save(trainer, row):
        if row["epoch"] == 3:
            save_checkpoint(trainer, path)

    whole = make(optimizer, device=backend.name)
    whole.fit(X, Y, 6, callbacks=[save], **FIT)
    trainer = resumed(path, optimizer=optimizer, device=backend.name)
    assert (trainer.epoch, trainer.m, len(trainer.history)) == (3, 0, 3)
    trainer.fit(X, Y, 3, **FIT)
    assert result(trainer) == result(whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(("epoch", "m"), [(1, 0), (3, 2)])
def test_resumed_within_an_epoch(tmp_path, monkeypatch, optimizer, epoch, m):
    whole = make(optimizer)
    whole.fit(X, Y, 5, **FIT)
    stopped = make(optimizer)
    with monkeypatch.context() as patch:
        StopAt(patch, epoch, m)
        stopped.fit(X, Y, 5, **FIT)
    assert stopped.history.stopped == "interrupted"
    save_checkpoint(stopped, tmp_path / "checkpoint")
    trainer = resumed(tmp_path / "checkpoint", optimizer=optimizer)
    assert (trainer.epoch, trainer.m, trainer.history.stopped) == (epoch - 1, m + 1, "interrupted")
    assert result(trainer) == result(stopped)
    trainer.fit(X, Y, 6 - epoch, **FIT)
    assert result(trainer) == result(whole)


def test_a_cnn_before_its_first_epoch_has_ended(tmp_path, monkeypatch):
    data = images()
    whole = make(build=cnn, batch_size=5)
    whole.fit(*data, 2)
    stopped = make(build=cnn, batch_size=5)
    with monkeypatch.context() as patch:
        StopAt(patch, 1, 3)
        stopped.fit(*data, 2)
    save_checkpoint(stopped, tmp_path / "c")
    trainer = resumed(tmp_path / "c", data, build=cnn, batch_size=5)
    trainer.fit(*data, 2)
    assert result(trainer) == result(whole)


def test_regression(tmp_path):
    data, options = (
        numbers(),
        {"build": lambda: md.Network([md.Dense(1)]), "loss": "huber", "standardize_targets": True},
    )
    whole = make(**options)
    whole.fit(*data, 2)
    save_checkpoint(whole, tmp_path / "c")
    whole.fit(*data, 2)
    trainer = resumed(tmp_path / "c", data, **options)
    trainer.fit(*data, 2)
    assert result(trainer) == result(whole)
    np.testing.assert_array_equal(trainer.predict(data[0]), whole.predict(data[0]))


def test_best_is_restored_after_a_resume(tmp_path):
    """The best epoch lies before the checkpoint, and its θ comes back at the end."""
    fit = {"validation_data": vectors(20, seed=1), "early_stopping": md.EarlyStopping(patience=2)}
    path = tmp_path / "c"
    whole = make(md.SGD(2.0, momentum=0.9))
    whole.fit(X, Y, 50, callbacks=[lambda t, row: save_checkpoint(t, path) if t.best.waited == 1 else None], **fit)
    assert whole.history.stopped == "early stopping"
    trainer = resumed(path, optimizer=md.SGD(2.0, momentum=0.9))
    assert trainer.best.waited == 1
    trainer.fit(X, Y, 50, **fit)
    assert result(trainer) == result(whole)
    assert trainer.evaluate(*fit["validation_data"])["loss"] == min(whole.history["val_loss"])


def test_another_process_resumes(tmp_path):
    """Nothing that is needed hides in this process."""
    trainer = make()
    trainer.fit(X, Y, 2)
    save_checkpoint(trainer, tmp_path / "c")
    trainer.fit(X, Y, 2)
    code = f"""
from test_checkpoint import *
from pathlib import Path
t = resumed(Path({str(tmp_path / "c")!r}))
t.fit(X, Y, 2)
print(host(t.params.vector).tobytes().hex())
"""
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == host(trainer.params.vector).tobytes().hex()


def test_a_checkpoint_without_a_best_forgets_the_trainers(tmp_path):
    trainer = make()
    trainer.fit(X, Y, 1)
    save_checkpoint(trainer, tmp_path / "c")
    trainer.fit(X, Y, 1, early_stopping=md.EarlyStopping(monitor="loss"))
    assert trainer.best is not None
    restore_checkpoint(trainer, tmp_path / "c")
    assert (trainer.best, trainer.epoch) == (None, 1)


def test_infinite_figures_are_kept(tmp_path):
    trainer = make()
    trainer.fit(X, Y, 1)
    trainer.history.rows[0]["val_loss"] = float("nan")
    save_checkpoint(trainer, tmp_path / "c")
    assert np.isnan(resumed(tmp_path / "c").history["val_loss"][0])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"optimizer": md.Adam(0.02)}, "optimizer"),
        ({"optimizer": md.SGD(0.01)}, "optimizer"),
        ({"batch_size": 8}, "batch_size"),
        ({"seed": 1}, "seed"),
        ({"dtype": "float64"}, "dtype"),
        ({"shuffle": False}, "shuffle"),
        ({"standardize": False}, "standardize"),
        ({"loss": md.CategoricalCrossEntropy(label_smoothing=0.1)}, "loss"),
        ({"build": lambda: mlp(md.Tanh())}, "layers"),
        ({"build": lambda: md.Network([*mlp().layers[:3], md.Dropout(0.5), *mlp().layers[4:]])}, "layers"),
    ],
)
def test_another_training_is_refused(tmp_path, options, what):
    trainer = make()
    trainer.fit(X, Y, 1)
    save_checkpoint(trainer, tmp_path / "c")
    with pytest.raises(UsageError, match=f"written by a training with {what} = "):
        resumed(tmp_path / "c", **options)


def test_another_input_shape_is_refused(tmp_path):
    trainer = make()
    trainer.fit(X, Y, 1)
    save_checkpoint(trainer, tmp_path / "c")
    with pytest.raises(UsageError, match="with parameters = "):
        resumed(tmp_path / "c", (X[:, :4], Y))


def test_a_trainer_must_know_its_data(tmp_path):
    with pytest.raises(UsageError, match="call fit"):
        save_checkpoint(make(), tmp_path / "c")
    trainer = make()
    trainer.fit(X, Y, 1)
    save_checkpoint(trainer, tmp_path / "c")
    with pytest.raises(UsageError, match=r"call fit \(or prepare\)"):
        restore_checkpoint(make(), tmp_path / "c")


@pytest.mark.parametrize(
    "damage", ["model", "text", "none", "truncated", "another format", "no progress", "an array less"]
)
def test_what_is_not_a_checkpoint(tmp_path, damage):
    path, trainer = tmp_path / "c", make()
    trainer.fit(X, Y, 1)
    before = result(trainer)
    save_checkpoint(trainer, path)
    tensors, metadata = read_tensors(path)
    match damage:
        case "model":
            trainer.model.save(path)
        case "text":
            path.write_text("epoch = 3")
        case "none":
            path.unlink()
        case "truncated":
            path.write_bytes(path.read_bytes()[:-1])
        case "another format":
            write_tensors(path, tensors, {**metadata, "format": "mathdl checkpoint 9"})
        case "no progress":
            write_tensors(path, tensors, {"format": metadata["format"], "progress": "{}"})
        case "an array less":
            write_tensors(path, {k: v for k, v in tensors.items() if k != "slot:V"}, metadata)
    with pytest.raises(FileFormatError, match="c: ") as caught:
        restore_checkpoint(trainer, path)
    assert isinstance(caught.value, MathdlError)
    assert result(trainer) == before, "a checkpoint that is refused changes nothing"


def test_progress_is_readable(tmp_path):
    trainer = make()
    trainer.fit(X, Y, 2)
    save_checkpoint(trainer, tmp_path / "c")
    progress = json.loads(read_tensors(tmp_path / "c")[1]["progress"])
    assert (progress["epoch"], progress["step"], len(progress["history"])) == (2, 8, 2)
