"""What a training says, and run.json."""

from __future__ import annotations

import platform
from importlib.metadata import version

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mathdl as md
from mathdl.cli.hashes import data_hash, weights_hash
from mathdl.cli.report import epochs_text, figures_text
from mathdl.data import load


def test_what_is_said(train):
    lines = train().out.splitlines()
    assert lines[:2] == [
        "digits (embedded): 1797 images of 8 × 8 × 1, target 'digit'",
        "rows: 1258 train, 180 validation, 359 test (seed 0)",
    ]
    assert lines[2] == "small.toml: L = 6, 1,210 parameters, float32, on cpu, 2 epochs"
    assert lines[3].startswith("trained 2 epochs in ")
    assert lines[4].startswith("test: loss ")
    assert lines[4].endswith(" (359 rows that it never saw)")
    assert lines[5] == "saved in run"
    assert len(lines) == 6


def test_run_json(train, report):
    train("--seed", 3)
    found, model = report(), md.load("run/model.safetensors")
    assert found.pop("versions") == {
        "mathdl": md.__version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "array-api-compat", "safetensors", "threadpoolctl")},
    }
    assert found.pop("seconds") > 0
    assert set(found.pop("test")) == {"loss", "accuracy"}
    assert found.pop("network") == [repr(layer) for layer in model.network.layers]
    assert found == {
        "ended": True,
        "seed": 3,
        "device": "cpu",
        "machine": f"{platform.machine()}, {platform.system()}",
        "rows": {"train": 1258, "validation": 180, "test": 359},
        "data_sha256": data_hash(load("digits")),
        "epochs": 2,
        "stopped": None,
        "model_of_epoch": 2,
        "weights_sha256": weights_hash(model.params),
    }


def test_the_saved_model_tells_what_it_was_trained_on(train):
    train()
    about = md.load("run/model.safetensors").about
    assert about["config"]["data"] == "digits"
    assert about["encoding"]["target"] == "digit"
    assert about["data_sha256"] == data_hash(load("digits"))


def test_the_test_figures_are_those_of_the_saved_model_on_rows_it_never_saw(train, report):
    from mathdl.cli.config import Config
    from mathdl.cli.parts import cut

    train(data="diabetes", model="flat.toml")
    rows = cut(load("diabetes"), Config())["test"].table
    P = md.load("run/model.safetensors").predict(rows.X)
    r2 = 1 - np.mean((P - rows.Y) ** 2) / np.var(rows.Y)
    assert_allclose(report()["test"]["r2"], r2, rtol=1e-5)


def test_early_stopping_tells_which_epoch_the_model_is_of(train, report, metrics):
    done = train("--patience", 1, "--learning-rate", 0.3, "--schedule", "constant", epochs=30)
    losses = [row["val_loss"] for row in metrics()]
    best = int(np.argmin(losses)) + 1
    assert best < len(losses) < 30
    assert (report()["model_of_epoch"], report()["epochs"], report()["stopped"]) == (best, best + 1, "early stopping")
    assert f"the model is that of epoch {best}, the best" in done.out


def test_without_test_rows(train, report):
    assert "test:" not in train("--test", 0).out
    assert report()["test"] == {}


def test_data_with_a_test_part_of_their_own(train, report):
    X, Y = md.data.digits().X, md.data.digits().Y
    np.savez("own.npz", X=X[:300], Y=Y[:300], X_test=X[300:350], Y_test=Y[300:350])
    done = train(data="own.npz")
    own = "the test rows are the data's own, --test is not used"
    assert f"rows: 270 train, 30 validation, 50 test (seed 0; {own})" in done.out
    P = md.load("run/model.safetensors").predict(X[300:350])
    assert report()["test"]["accuracy"] == pytest.approx(np.mean(P.argmax(axis=1) == Y[300:350]))


def test_texts():
    assert figures_text({"loss": 0.06123, "accuracy": 1.0}) == "loss 0.0612, accuracy 1.0000"
    assert [epochs_text(n) for n in (1, 2)] == ["1 epoch", "2 epochs"]
