"""`mathdl train`: what it takes, what it leaves, and that a run which was stopped ends as one that never was."""

from __future__ import annotations

import gzip
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mathdl import cli
from mathdl.cli import train as command
from mathdl.cli.config import Config
from mathdl.cli.task import SCHEDULES
from mathdl.data import load
from mathdl.losses import LOSSES
from mathdl.optimizers import OPTIMIZERS
from mathdl.training import pace
from mathdl.training.files import read_tensors
from mathdl.training.step import Step

FILES = ["config.toml", "metrics.jsonl", "model.safetensors", "run.json"]


RUN = Step.run


class Killed(BaseException):
    """As by kill -9: nothing is tidied up."""


@pytest.fixture
def at_step(monkeypatch):
    """Do something after the n-th step from now, once; the steps are counted in the list that it returns."""

    def arrange(n, act):
        steps: list[int] = []

        def counted(self, first, count):
            done = RUN(self, first, count)
            steps.append(done)
            if len(steps) == n:
                act()
            return done

        monkeypatch.setattr(pace, "_SECONDS", 0.0)  # one step at a time
        monkeypatch.setattr(Step, "run", counted)
        return steps

    return arrange


def interrupt():
    signal.raise_signal(signal.SIGINT)


def kill():
    raise Killed


def tensors(out="run"):
    return {name: A.tobytes() for name, A in read_tensors(Path(out) / "model.safetensors")[0].items()}


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


# -- what it leaves ----------------------------------------------------------------------------------------------------


def test_a_run_directory(train):
    train()
    assert sorted(file.name for file in Path("run").iterdir()) == FILES


def test_figures_of_classes(train, metrics):
    train()
    assert [list(row) for row in metrics()] == [
        ["epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"]
    ] * 2
    assert [(row["epoch"], row["step"]) for row in metrics()] == [(1, 10), (2, 20)]


def test_figures_of_numbers(train, metrics):
    train(data="diabetes", model="flat.toml")
    figures = ["loss", "mae", "rmse", "r2", "val_loss", "val_mae", "val_rmse", "val_r2"]
    assert list(metrics()[0]) == ["epoch", "step", *figures, "learning_rate", "seconds"]


def test_without_validation_rows(train, metrics):
    train("--validation", 0)
    assert [name for name in metrics()[0] if name.startswith("val_")] == []


def test_the_config_holds_what_was_decided(train):
    train("--seed", 7, "--optimizer", "sgd")
    text = Path("run/config.toml").read_text()
    for line in ("seed = 7", 'loss = "categorical_cross_entropy"', "momentum = 0.9", "learning_rate = 0.05"):
        assert line in text.splitlines()


def test_without_out(mathdl, tmp_path):
    for k in (1, 2):
        argv = ("train", "--model", "small.toml", "--epochs", 1, "--batch-size", 512)
        assert f"saved in runs/digits-small-{k}" in mathdl(*argv).out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits-small-1", "digits-small-2"]


def test_the_same_seed_gives_the_same_bits(train, report):
    for out, options in {"a": [], "b": ["--workers", 1], "c": ["--seed", 1]}.items():
        train(*options, out=out)
    assert tensors("a") == tensors("b") != tensors("c")
    assert report("a")["weights_sha256"] == report("b")["weights_sha256"] != report("c")["weights_sha256"]


# -- what it takes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule(train, metrics, schedule):
    train("--schedule", schedule, epochs=3)
    rates = [row["learning_rate"] for row in metrics()]
    falls = rates[0] > rates[1] > rates[2]
    assert falls if schedule not in ("constant", "plateau") else rates == [0.002] * 3


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_learns(train, metrics, optimizer):
    train("--optimizer", optimizer, "--batch-size", 32, epochs=4)
    assert metrics()[-1]["val_loss"] < 0.9 * metrics()[0]["val_loss"]


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"categorical_cross_entropy"}))
def test_every_loss_learns(train, metrics, loss):
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 3))
    means = np.exp(X[:, 0])
    Y = {"poisson": random.poisson(means), "binary_cross_entropy": (means > 1).astype(int)}.get(loss, means)
    np.savez("data.npz", X=X, Y=Y)
    options = ("--loss", loss, "--batch-size", 16, "--optimizer", "adam", "--learning-rate", 0.01)
    train(*options, data="data.npz", model="flat.toml", epochs=8)
    assert metrics()[-1]["val_loss"] < metrics()[0]["val_loss"]


def test_options_of_the_loss(train, metrics):
    for out, options in {"a": [], "b": ["--label-smoothing", 0.2], "c": ["--class-weight", "balanced"]}.items():
        train(*options, out=out)
    losses = [metrics(out)[-1]["loss"] for out in "abc"]
    assert len(set(losses)) == 3


def test_balanced_classes(train, mathdl, table):
    """Of two classes as 1 to 9, the rare one is predicted more often if it weighs as much as the other."""
    table(rows=300, target=lambda score: "rare" if score > 1.9 else "common")
    predicted = []
    for options in ([], ["--class-weight", "balanced"]):
        train(*options, data="table.csv", model="flat.toml", epochs=12, out=f"run{len(predicted)}")
        predicted.append(mathdl("predict", f"run{len(predicted)}").out.count(",rare,0."))
    assert predicted[0] < predicted[1]


def test_float64_and_no_standardization(train):
    train("--dtype", "float64", "--no-standardize", data="diabetes", model="flat.toml")
    arrays, metadata = read_tensors("run/model.safetensors")
    assert {A.dtype for A in arrays.values()} == {np.dtype("float64")}
    assert '"inputs": null' in metadata["model"]
    assert '"targets": null' in metadata["model"]


def idx(path, A):
    content = struct.pack(f">4B{A.ndim}I", 0, 0, 8, A.ndim, *A.shape) + A.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_idx_files(train, mathdl, report, tmp_path, suffix):
    digits = load("digits")
    for name, part in {"train": slice(0, 300), "t10k": slice(300, 360)}.items():
        idx(tmp_path / f"{name}-images-idx3-ubyte{suffix}", digits.X[part, :, :, 0])
        idx(tmp_path / f"{name}-labels-idx1-ubyte{suffix}", digits.Y[part])
    assert "--test is not used" in train("--batch-size", 16, data=".", epochs=12).out
    assert report()["rows"] == {"train": 270, "validation": 30, "test": 60}
    assert report()["test"]["accuracy"] > 0.5
    assert f"accuracy {report()['test']['accuracy']:.4f} (60 rows)" in mathdl("evaluate", "run").out


def test_a_folder_of_numpy_files(train, mathdl, report, tmp_path):
    digits = load("digits")
    np.save("X.npy", digits.X)
    np.save("Y.npy", digits.Y)
    train(data=".")
    figures = report()["test"]
    train(out="embedded")
    assert report("embedded")["test"] == figures
    assert mathdl("evaluate", "run").status == 0


def test_a_column_of_numbers_that_are_categories(train):
    lines = ["zip,size,price"] + [f"{1000 + i % 3},{i},{(i % 3) * 10 + i / 10}" for i in range(40)]
    Path("homes.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "4 features" in train("--categorical", "zip", "--target", "price", data="homes.csv", model="flat.toml").out


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "argument --epochs: expected an int ≥ 1, got '0'"),
        (["--seed", "-1"], "argument --seed: expected an int in [0, 2^64), got '-1'"),
        (["--test", "1"], "argument --test: expected a number in [0, 1), got '1'"),
        (["--learning-rate", "nan"], "argument --learning-rate: expected a number, got 'nan'"),
        (["--weight-decay", "-1"], "argument --weight-decay: expected a number ≥ 0, got '-1'"),
        (["--dtype", "float23"], "unknown dtype 'float23'. Did you mean 'float32'?"),
        (["--class-weight", "balance"], "unknown class weight 'balance'. Did you mean 'balanced'?"),
        (["--clip-norm", "0"], "argument --clip-norm: expected a number > 0, got '0'"),
        (["--batchsize", "3"], "unknown option '--batchsize'. Did you mean '--batch-size'?"),
        (["--data", "digit"], "Did you mean 'digits'?"),
        (["--loss", "binary_cross_entropy"], "is for two classes"),
        (["--out", "small.toml"], "small.toml exists already: give another --out"),
        (["--out", "small.toml", "--data", "digit"], "small.toml exists already"),  # said before data are read
        (["--out", "small.toml/run"], "Not a directory"),
        (["--resume"], "--resume: say which run to go on with, --out RUN_DIR"),
        (["--resume", "--out", "nowhere"], "nowhere: no such run directory"),
        (["--resume", "--out", "."], "not a run directory"),
    ],
)
def test_wrong_usage_leaves_nothing(mathdl, tmp_path, options, message):
    before = sorted(tmp_path.rglob("*"))
    done = mathdl("train", *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif("cupy" in sys.modules, reason="CuPy is there")
def test_a_missing_extra_is_named(mathdl, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    done = mathdl("train", "--device", "cuda")
    assert done.status == 2
    assert 'pip install "mathdl[cuda' in done.err
    assert not (tmp_path / "runs").exists()


def test_a_training_that_fails_in_its_first_epoch_leaves_nothing(mathdl, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 3)) * 1e30
    np.savez("data.npz", X=X, Y=X[:, 0])
    argv = ("--data", "data.npz", "--model", "flat.toml", "--no-standardize", "--out", "a/run")
    done = mathdl("train", *argv)
    assert done.status == 1
    assert "J is" in done.err
    assert "rows are counted among the 28 training rows" in done.err
    assert not (tmp_path / "a").exists()


def test_a_training_that_fails_later_keeps_its_figures(train, mathdl, metrics, at_step):
    def fail():
        raise OSError(28, "No space left on device", "checkpoint.safetensors")

    at_step(15, fail)
    done = mathdl("train", "--model", "small.toml", "--epochs", 3, "--batch-size", 128, "--out", "run")
    assert (done.status, done.err) == (2, "mathdl: No space left on device: checkpoint.safetensors\n")
    assert len(metrics()) == 1


def test_an_existing_run_is_left_alone(train, mathdl, report):
    train()
    before = report()
    done = mathdl("train", "--model", "small.toml", "--out", "run")
    assert done.status == 2
    assert "run exists already" in done.err
    assert report() == before


# -- stopped and resumed -----------------------------------------------------------------------------------------------

HARD = ("--patience", 2, "--schedule", "plateau", "--learning-rate", 0.1, "--clip-norm", 1.0)
"""With dropout (in the model), early stopping, and a schedule that looks back."""


@pytest.fixture
def never_stopped(train, metrics):
    """A training, its bits and its figures."""
    train(*HARD, epochs=30, out="whole")
    return tensors("whole"), without_seconds(metrics("whole"))


@pytest.fixture
def stopped(mathdl, at_step):
    """The same training, stopped after the n-th step."""

    def run(n, act):
        at_step(n, act)
        argv = ("--model", "small.toml", "--epochs", 30, "--batch-size", 128, "--out", "run")
        return mathdl("train", *argv, *HARD)

    return run


@pytest.mark.parametrize(
    ("step", "place"),
    [
        (1, "in epoch 1, after minibatch {0}"),
        (10, "after epoch 1"),
        (37, "in epoch 4, after minibatch {6}"),
    ],
)
def test_ctrl_c_and_resume(never_stopped, stopped, mathdl, metrics, at_step, step, place):
    done = stopped(step, interrupt)
    assert done.status == command.INTERRUPTED
    assert done.out.splitlines()[-2:] == [f"interrupted {place}", "to go on: mathdl train --out run --resume"]
    steps = at_step(10**9, interrupt)
    assert mathdl("train", "--out", "run", "--resume").status == 0
    assert step + len(steps) == never_stopped[1][-1]["step"]
    assert (tensors(), without_seconds(metrics())) == never_stopped
    assert sorted(file.name for file in Path("run").iterdir()) == FILES


def test_stopped_again_and_again(never_stopped, stopped, mathdl, metrics, at_step):
    stopped(5, interrupt)
    for n in (3, 17):
        at_step(n, interrupt)
        assert mathdl("train", "--out", "run", "--resume").status == command.INTERRUPTED
    assert mathdl("train", "--out", "run", "--resume").status == 0
    assert (tensors(), without_seconds(metrics())) == never_stopped


@pytest.mark.parametrize("seconds", [0.0, 1e9])
@pytest.mark.parametrize("step", [1, 25])
def test_killed_and_resumed(never_stopped, stopped, mathdl, metrics, monkeypatch, at_step, step, seconds):
    """From the last checkpoint, or from the start where there is none; metrics.jsonl has each epoch once."""
    monkeypatch.setattr(command, "SECONDS_BETWEEN_CHECKPOINTS", seconds)
    with pytest.raises(Killed):
        stopped(step, kill)
    with Path("run/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "step": 30}\n{"epoch": 4, "st')  # lines after the last checkpoint, one half written
    saved = 20 if seconds == 0.0 and step > 10 else 0
    assert Path("run/checkpoint.safetensors").exists() == (saved > 0)
    steps = at_step(10**9, kill)
    assert mathdl("train", "--out", "run", "--resume").status == 0
    assert saved + len(steps) == never_stopped[1][-1]["step"]
    assert (tensors(), without_seconds(metrics())) == never_stopped


def test_killed_after_its_last_epoch(never_stopped, stopped, mathdl, report, metrics, monkeypatch):
    """A training that early stopping has ended is not trained any further."""
    assert 4 < len(never_stopped[1]) < 30
    monkeypatch.setattr(command, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as context:
        context.setattr("mathdl.cli.report.finish", lambda task, directory: kill())
        with pytest.raises(Killed):
            stopped(10**9, kill)
    assert mathdl("train", "--out", "run", "--resume").status == 0
    assert (tensors(), without_seconds(metrics())) == never_stopped
    assert report()["stopped"] == "early stopping"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_signals_to_the_process(train, mathdl, metrics, number):
    argv = ["train", "--model", "small.toml", "--epochs", "30", "--batch-size", "16", "--out"]
    code = (
        "import sys; from mathdl.cli import main, train; "
        f"train.SECONDS_BETWEEN_CHECKPOINTS = 0.05; sys.exit(main({[*argv, 'run']}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = Path("run/metrics.jsonl")
    while process.poll() is None and not (lines.exists() and lines.read_text().count("\n") > 4):
        time.sleep(0.005)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == (command.INTERRUPTED if number == signal.SIGINT else -number), error
    assert b"Traceback" not in error
    assert len(metrics()) < 30
    assert mathdl("train", "--out", "run", "--resume").status == 0
    assert mathdl(*argv, "whole").status == 0
    assert tensors() == tensors("whole")
    assert without_seconds(metrics()) == without_seconds(metrics("whole"))


def test_a_run_that_has_ended_is_not_resumed(train, mathdl, report):
    train()
    before = report()
    done = mathdl("train", "--out", "run", "--resume")
    assert done.status == 2
    assert "this run has ended, there is nothing to resume" in done.err
    assert report() == before


def test_options_are_those_of_the_run(stopped, mathdl):
    stopped(1, interrupt)
    done = mathdl("train", "--out", "run", "--resume", "--epochs", 50)
    assert done.status == 2
    assert "--epochs cannot be given anew" in done.err
    assert (
        mathdl("train", "--out", "run", "--resume", "--workers", 1, "--device", "cpu", "--data", "digits").status == 0
    )


def test_a_run_in_the_way_says_how_to_go_on(stopped, mathdl):
    stopped(1, interrupt)
    done = mathdl("train", "--model", "small.toml", "--out", "run")
    assert done.status == 2
    assert "To go on with it: mathdl train --out run --resume" in done.err


def refusal(mathdl):
    """What a run that cannot be resumed says."""
    done = mathdl("train", "--out", "run", "--resume")
    assert done.status == 2
    return done.err


def test_the_data_must_be_the_same(mathdl, table, at_step):
    at_step(1, interrupt)
    argv = ("--data", table(), "--model", "flat.toml", "--batch-size", 8, "--out", "run")
    assert mathdl("train", *argv).status == command.INTERRUPTED
    table(rows=61)
    error = refusal(mathdl)
    assert "the data (table.csv) are no longer those that the run was started with" in error


def test_the_model_must_be_the_same(stopped, mathdl):
    """Also where its parameters have the same shapes."""
    stopped(1, interrupt)
    model = Path("small.toml")
    model.write_text(model.read_text().replace("ReLU", "Tanh"))
    error = refusal(mathdl)
    assert "the model (small.toml) is no longer the one that the run was started with" in error


def test_a_config_that_was_damaged(stopped, mathdl):
    stopped(1, interrupt)
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace("epochs = 30", 'epochs = "many"'))
    error = refusal(mathdl)
    assert "option epochs: expected an int, found 'many'" in error
    assert f"in {config}" in error


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def help_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["train", "--help"]) == 0
    return capsys.readouterr().out


def entry(text, option):
    """What help says about an option, on one line."""
    (found,) = re.findall(rf"^  {option}\b(.*?)(?=^  -|^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return " ".join(found.split())


def test_help_tells_the_defaults(help_text):
    for sgd, cnn in [(False, False), (True, False), (False, True)]:
        config = Config(optimizer="sgd" if sgd else "adamw", model="cnn" if cnn else "mlp").with_defaults(True, 1000)
        assert str(config.epochs) in entry(help_text, "--epochs")
        assert str(config.learning_rate) in entry(help_text, "--learning-rate")
        assert f"(default: {config.momentum:g})" in entry(help_text, "--momentum")
    assert config.weight_decay == 0.0
    for name in (
        "data",
        "validation",
        "test",
        "model",
        "batch_size",
        "optimizer",
        "schedule",
        "device",
        "dtype",
        "seed",
    ):
        default = f"default: {getattr(Config, name)}"
        assert default in entry(help_text, f"--{name.replace('_', '-')}")
    for name in ("label_smoothing", "warmup"):
        assert f"default: {getattr(Config, name):g}" in entry(help_text, f"--{name.replace('_', '-')}")


@pytest.mark.parametrize(
    ("option", "known"), [("--loss", LOSSES), ("--optimizer", OPTIMIZERS), ("--schedule", SCHEDULES)]
)
def test_help_lists_every_name(help_text, option, known):
    assert [name for name in known if name not in entry(help_text, option)] == []


def test_help_has_every_option_and_fits_a_terminal(help_text):
    assert [line for line in help_text.splitlines() if len(line) > 80] == []
    options = {name.replace("_", "-") for name in Config().to_dict() | Config.__dataclass_fields__}
    assert [name for name in options if not entry(help_text, f"--{name}")] == []
