"""Progress: quiet where there is no terminal; on one, a bar with epoch, loss, rate and time left, that finishes."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import pytest

import mathdl as md
from mathdl.training import progress as module
from mathdl.training.progress import progress
from trainings import plain, vectors

X, Y = vectors()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def a_terminal(monkeypatch):
    """stderr as a terminal. (To be called by the test itself: pytest sets stderr anew after its fixtures.)"""
    fake = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", fake)
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.0)
    return fake


def fit(**options):
    trainer = md.Trainer(plain(), batch_size=16, device="cpu")
    trainer.fit(X, Y, 3, validation_data=(X, Y), **options)
    return trainer


def lines(terminal):
    """What the bar showed, from refresh to refresh."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_quiet_without_a_terminal(capsys):
    fit()
    assert capsys.readouterr() == ("", "")


def test_quiet_on_request(monkeypatch):
    terminal = a_terminal(monkeypatch)
    fit(verbose=False)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("verbose", [True, None])
def test_a_bar_on_a_terminal(monkeypatch, verbose):
    terminal = a_terminal(monkeypatch)
    trainer = fit(verbose=verbose)
    shown = lines(terminal)
    assert shown[0].startswith("epoch 1/3")
    assert any(re.match(r"epoch 2/3 .* loss \d\.\d{4}", line) for line in shown)
    row = trainer.history[-1]
    figures = rf"loss {row['loss']:.4f}  val_accuracy {row['val_accuracy']:.4f}  rate 0.01"
    assert re.match(rf"epoch 3/3 ━+ {figures} +00:00 left$", shown[-1])


def test_a_bar_where_there_is_no_terminal(monkeypatch):
    """`verbose=True` into a file: the last state, once."""
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    fit(verbose=True)
    assert "epoch 3/3" in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_a_training_that_goes_on_begins_where_it_stopped(monkeypatch):
    terminal = a_terminal(monkeypatch)
    trainer = md.Trainer(plain(), batch_size=16, device="cpu")
    trainer.fit(X, Y, 2, verbose=False)
    trainer.fit(X, Y, 2, verbose=True)
    shown = lines(terminal)
    assert shown[0].startswith("epoch 3/4")
    assert shown[-1].startswith("epoch 4/4")


def test_the_bar_stops_when_the_training_does(monkeypatch):
    terminal = a_terminal(monkeypatch)

    def fail(trainer, row):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fit(verbose=True, callbacks=[fail])
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_J_is_read_only_when_it_is_shown(monkeypatch):
    terminal = a_terminal(monkeypatch)
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 1e9)

    class Unreadable:
        def __getitem__(self, index):
            raise AssertionError("read")

    with progress(True, 0, 1, 0, 3) as bar:
        bar._seen = module.perf_counter()
        bar.minibatches(1, 0, Unreadable())
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.0)
    with progress(True, 0, 1, 0, 3) as bar, pytest.raises(AssertionError, match="read"):
        bar.minibatches(1, 0, Unreadable())
    with progress(True, 0, 1, 0, 3) as bar:
        bar.minibatches(1, 0, np.array([0.25]))
    assert "loss 0.2500" in terminal.getvalue()
