"""`mathdl gradcheck`: descriptions, trained models and data; the exit status; what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mathdl as md
from mathdl.layers import ReLU, dense
from mathdl.theory import gradients
from mathdl.theory.gradients import check_gradients

SOFT = """
[[layers]]
kind = "Residual"
[[layers.layers]]
kind = "Dense"
width = 4
[[layers.layers]]
kind = "Tanh"
[[layers]]
kind = "Dense"
width = 3
"""


def rows(done):
    return json.loads(done.out)["rows"]


def test_a_description_at_random_numbers(mathdl):
    done = mathdl("gradcheck", "cnn", "--input-shape", "4,4,1", "--outputs", "3")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["l", "layer", "gradient", "duals", "≤", "differences", "≤", "verdict"]
    assert lines[1].split()[:3] == ["1", "Conv2D", "dA[0]"]
    assert lines[-2].split()[:5] == ["the", "network", "under", "CategoricalCrossEntropy", "dθ"]
    assert lines[-1] == f"all {len(lines) - 2} gradients agree with dual numbers and with differences"


@pytest.mark.parametrize(
    ("task", "loss"),
    [
        ("categorical", "CategoricalCrossEntropy"),
        ("binary", "BinaryCrossEntropy"),
        ("regression", "MeanSquaredError"),
        ("counts", "Poisson"),
    ],
)
def test_the_loss_fits_the_targets(mathdl, task, loss):
    done = mathdl("gradcheck", "flat.toml", "--input-shape", 5, "--outputs", 2, "--task", task, "--json")
    assert done.status == 0, done.out
    assert rows(done)[-2]["place"] == loss
    assert "Dropout, predicting" in {row["place"] for row in rows(done)}


def test_a_model_file_with_its_own_outputs(mathdl, tmp_path):
    (tmp_path / "soft.toml").write_text(SOFT)
    done = mathdl("gradcheck", "soft.toml", "--input-shape", 4, "--loss", "categorical_cross_entropy", "--json")
    assert done.status == 0, done.out
    assert [row["path"] for row in rows(done)][:4] == [[1, 1], [1, 1], [1, 1], [1, 2]]
    assert rows(done)[-2]["gradient"] == "dA[2]"  # logits: the network does not end in Softmax


@pytest.mark.parametrize("data", ["digits", "diabetes"])
def test_a_description_at_rows_of_data(mathdl, data):
    done = mathdl("gradcheck", "small.toml", "--data", data, "--batch-size", 3, "--directions", 1)
    assert done.status == 0, done.out + done.err


def test_rows_of_data_are_prepared_as_for_training(mathdl, monkeypatch):
    asked = {}

    def record(network, **options):
        asked.update(options)
        return check_gradients(network, **options)

    monkeypatch.setattr(gradients, "check_gradients", record)
    assert mathdl("gradcheck", "small.toml", "--data", "digits", "--batch-size", 3).status == 0
    assert asked["X"].shape == (3, 8, 8, 1)
    assert -5 < asked["X"].min() < 0  # standardized: the pixels are 0 … 16


def test_data_without_targets(train, mathdl):
    train()
    np.save("X.npy", np.zeros((5, 8, 8, 1)))
    done = mathdl("gradcheck", "run", "--data", "X.npy")
    assert done.status == 2
    assert "there are no targets for the loss" in done.err


def test_a_run_at_its_own_parameters(train, mathdl):
    train()
    for model in ("run", "run/model.safetensors"):
        for data in ((), ("--data", "digits")):
            done = mathdl("gradcheck", model, *data, "--json")
            assert done.status == 0, done.out + done.err
            assert {row["gradient"] for row in rows(done)} >= {"dA[0]", "dW[2]", "db[2]", "dθ"}


def test_a_wrong_gradient_is_status_1(mathdl, monkeypatch):
    original = dense.dense_backward
    spoilt = lambda *args: (lambda dA, grads: (dA, {**grads, "b": grads["b"] * 1.001}))(*original(*args))  # noqa: E731
    monkeypatch.setattr(dense, "dense_backward", spoilt)
    done = mathdl("gradcheck", "flat.toml", "--input-shape", 5, "--outputs", 2)
    assert done.status == 1
    assert done.out.splitlines()[-1].startswith("db[1] of layer l = 1, Dense is wrong; db[4] of layer l = 4, Dense")
    done = mathdl("gradcheck", "flat.toml", "--input-shape", 5, "--outputs", 2, "--json")
    assert done.status == 1
    assert json.loads(done.out)["ok"] is False
    assert [row["gradient"] for row in rows(done) if row["verdict"] == "WRONG"] == ["db[1]", "db[4]"]


def test_a_wrong_activation_is_status_1(mathdl, monkeypatch):
    monkeypatch.setattr(ReLU, "backward", lambda self, dA, cache, into, input_gradient=True: (dA, {}))
    done = mathdl("gradcheck", "flat.toml", "--input-shape", 5, "--outputs", 2)
    assert done.status == 1
    assert done.out.splitlines()[-1] == "dA[1] of layer l = 2, ReLU is wrong"


def test_the_seed_decides(mathdl):
    def ask(seed):
        return mathdl("gradcheck", "flat.toml", "--input-shape", 5, "--outputs", 2, "--seed", seed, "--json").out

    assert ask(1) == ask(1) != ask(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["mlp"], "say what comes in: --input-shape"),
        (["mlpp", "--input-shape", "3"], "unknown model 'mlpp'. Did you mean 'mlp'?"),
        (["no.toml", "--input-shape", "3"], "no such model file: no.toml"),
        (["mlp", "--input-shape", "3"], "--outputs"),
        (
            ["mlp", "--data", "digits", "--input-shape", "3"],
            "--input-shape does not go with this: the data decide that",
        ),
        (["mlp", "--data", "digitz"], "digitz"),
        (["mlp", "--input-shape", "3", "--outputs", "2", "--loss", "mse"], "unknown loss 'mse'"),
        (["cnn", "--input-shape", "3", "--outputs", "2"], "images p × q × k"),
        (["mlp", "--input-shape", "3", "--outputs", "2", "--batch-size", "0"], "expected an int ≥ 1"),
        (["mlp", "--input-shape", "3", "--outputs", "2", "--layers", "my.py"], "unknown option '--layers'"),
    ],
)
def test_wrong_usage_is_one_message_and_status_2(mathdl, options, message):
    done = mathdl("gradcheck", *options)
    assert done.status == 2
    assert message in done.err
    assert done.out == ""


def test_a_trained_model_decides_for_itself(train, mathdl):
    train()
    done = mathdl("gradcheck", "run", "--loss", "huber")
    assert done.status == 2
    assert "--loss does not go with this: a trained model says that itself" in done.err


def test_a_model_with_a_layer_of_ones_own_points_to_python(mathdl, tmp_path):
    class Mine(md.ReLU):
        pass

    network = md.Network([md.Dense(2), md.ReLU(), md.Dense(2), md.Softmax()])
    model = md.Model(network, network.initialize((3,)), md.CategoricalCrossEntropy())
    model.save(tmp_path / "mine.safetensors")
    data = (tmp_path / "mine.safetensors").read_bytes().replace(b'\\"kind\\": \\"ReLU\\"', b'\\"kind\\": \\"Mine\\"')
    (tmp_path / "mine.safetensors").write_bytes(data)
    done = mathdl("gradcheck", "mine.safetensors")
    assert done.status == 2
    assert "Mine" in done.err
    assert "md.load(path, layers=[MyLayer])" in done.err
    loaded = md.load(tmp_path / "mine.safetensors", layers=[Mine])
    assert md.check_gradients(loaded.network, loss=loaded.loss, params=loaded.params).ok
