"""The whole comparison: no false alarm over many seeds, suites on demand, a trainer of the user's, errors."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl import arrays
from mathdl.cli.models import output_layers
from mathdl.errors import DeviceError, MissingExtraError, UnknownNameError, UsageError
from mathdl.parity import subject
from mathdl.parity.faults import built_in
from mathdl.parity.rows import SUITES
from mathdl.parity.running import about, compared, open_pair, subject_of
from mathdl.parity.self_test import with_fault

MLP = [md.Flatten(), md.Dense(12), md.ReLU(), md.Dropout(0.2), md.Dense(8), md.ReLU(), md.Dropout(0.2)]
CNN = [
    *(md.Conv2D(4, 3, padding="same"), md.ReLU(), md.Conv2D(6, 3, padding="same"), md.ReLU()),
    *(md.MaxPool2D(2), md.Flatten(), md.Dense(8), md.ReLU(), md.Dropout(0.5)),
]
"""The built-in models mlp and cnn, narrow."""


def trained(layers, seed):
    """A subject that holds a trained network, with states from the untrained one on."""
    digits = md.data.load("digits")
    X, Y = digits.X[:96] / 16, digits.Y[:96]
    trainer = md.Trainer(
        md.Network([*layers, *output_layers("test", 10, "categorical")]),
        optimizer=md.AdamW(0.002, weight_decay=0.01),
        batch_size=16,
        device="cpu",
        seed=seed,
    )
    trainer.fit(X, Y, 5, verbose=False)
    return subject_of(trainer, X, Y, "mlp" if layers is MLP else "cnn")


@pytest.mark.parametrize("seed", range(20))
def test_no_false_alarm(seed, monkeypatch):
    """mlp and cnn, trained and untrained: correct sides never differ by more than rounding, whatever is drawn."""
    monkeypatch.setattr(subject, "EPOCHS", (0,))
    pair = open_pair("cpu", "permuted", "float32" if seed % 4 else "float64")
    suites = ("ops", "step") if seed % 2 else ("step",)
    report = compared(pair, [trained(MLP, seed), trained(CNN, seed)], suites, seed, real_sizes=False)
    assert report.failures == [], report.sentences
    assert {row.what for row in report.rows if row.suite == "step"} == {
        *("mlp, untrained", "mlp, as saved", "cnn, untrained", "cnn, as saved")
    }


def test_every_suite_and_every_state():
    report = compared(open_pair("cpu", "permuted"), [trained(MLP, 0)], real_sizes=False)
    assert {row.suite for row in report.rows} == set(SUITES)
    assert {row.what for row in report.rows if row.suite == "step"} == {
        *("mlp, untrained", "mlp, after 6 steps", "mlp, after 18 steps", "mlp, as saved")
    }
    assert report.blind == []
    assert len({row.id for row in report.rows}) == len(report.rows)


def test_the_steps_of_a_network_resolve_what_the_notes_say():
    """The bound of a whole step stays sharp at the end of the network and widens towards its beginning."""
    rows = [row for row in compared(open_pair("cpu", "permuted"), [trained(MLP, 0)], ("step",)).rows]
    resolves = {row.tensor: row.comparison.resolves for row in rows if "untrained" in row.what}
    assert resolves["dW[8]"] < resolves["dW[5]"] < resolves["dW[2]"]
    assert resolves["dW[8]"] < 1e-2


def test_tf32_on_one_side_fails_and_says_why():
    fault = next(fault for fault in built_in() if fault.name == "TF32")
    pair = with_fault(open_pair("cpu", "permuted"), fault)
    report = compared(pair, [trained(MLP, 0)], ("probes", "ops"), real_sizes=False)
    assert report.status == 1
    assert report.sentences[0].startswith("TF32 is on in b")
    assert report.sentences[1].startswith("first unexplained difference: A[2], minibatch {0}")
    pair = with_fault(open_pair("cpu", "permuted", precision="tf32"), fault)
    allowed = compared(pair, [], ("probes", "ops"), real_sizes=False)
    assert allowed.failures == []
    assert allowed.sentences[0].startswith("TF32 is on in b")


def test_md_parity():
    X, Y = np.random.default_rng(0).standard_normal((40, 6)), np.arange(40) % 3
    net = md.Network([md.Dense(5), md.Tanh(), md.Dense(3), md.Softmax()])
    trainer = md.Trainer(net, batch_size=10, device="cpu", dtype="float64")
    report = md.parity(trainer, X, Y, b="permuted", suites=("step",))
    assert (report.pair.a.dtype, report.verdict) == ("float64", "PASS")
    assert trainer.step == 0  # nothing was done to it
    assert "explained by rounding" in str(report)


def test_standardized_data_are_compared_as_the_steps_read_them():
    X = np.random.default_rng(0).standard_normal((40, 3)) * 1000
    trainer = md.Trainer(
        md.Network([md.Dense(1)]),
        "mean_squared_error",
        batch_size=8,
        device="cpu",
        standardize=True,
        standardize_targets=True,
    )
    found = subject_of(trainer, X, X[:, 0])
    np.testing.assert_allclose(np.std(found.X, axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.std(found.Y), 1.0, rtol=1e-5)


def test_errors():
    with pytest.raises(UnknownNameError, match="unknown suite 'probe'"):
        compared(open_pair("cpu", "permuted"), suites=("probe",))
    with pytest.raises(UnknownNameError, match="unknown precision 'fp8'"):
        open_pair("cpu", "permuted", precision="fp8")
    with pytest.raises(UsageError, match="give X and Y"):
        md.parity(md.Trainer(md.Network([md.Dense(1)]), "mean_squared_error"), b="permuted")
    if arrays.backend("cupy").why_unusable() is not None:
        with pytest.raises((DeviceError, MissingExtraError), match='device "cuda"'):
            md.parity()


def test_about_says_what_was_compared(monkeypatch):
    pair = open_pair("cpu", "permuted")
    assert {"mathdl", "Python", "NumPy"} <= set(about(pair))
    monkeypatch.setattr(pair.b.device.backend, "about", lambda handle: {"GPU": "a good one"}, raising=False)
    assert about(pair)["GPU"] == "a good one"
