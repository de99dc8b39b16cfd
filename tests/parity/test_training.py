"""The user's network: states of a real training, its layers by themselves, whole updates from a common state."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.arrays import to_host
from mathdl.parity.checking import check
from mathdl.parity.faults import Fault
from mathdl.parity.network import network_cases
from mathdl.parity.rows import FAIL, PASS
from mathdl.parity.running import compared, open_pair, subject_of
from mathdl.parity.self_test import with_fault
from mathdl.parity.sides import open_side
from mathdl.parity.steps import backwards, run_step, step_case
from mathdl.parity.subject import EPOCHS, Subject, states

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 5, 5, 1)).astype("float32")
LABELS = RNG.integers(3, size=40)
CPU = open_side("cpu", "float32")


def subject(layers=None, loss=None, optimizer=None, Y=LABELS, **fields):
    layers = layers or [md.Conv2D(3, 3), md.ReLU(), md.MaxPool2D(2, stride=1), md.Flatten(), md.Dense(3), md.Softmax()]
    loss, optimizer = loss or md.CategoricalCrossEntropy(), optimizer or md.SGD(0.1, momentum=0.9)
    return Subject("net", md.Network(layers), loss, optimizer, X, Y, batch_size=8, seed=4, **fields)


NETWORKS = {
    "batch normalization": [md.Conv2D(3, 3), md.BatchNorm(), md.ReLU(), md.Flatten(), md.Dense(3), md.Softmax()],
    "dropout": [md.Flatten(), md.Dense(8), md.Tanh(), md.Dropout(0.5), md.Dense(3), md.LogSoftmax()],
    "residual": [md.Flatten(), md.Residual([md.Dense(25), md.GELU()]), md.LayerNorm(), md.Dense(3), md.Softmax()],
    "penalty": [md.Flatten(), md.Dense(8, l1=1e-3, l2=1e-2), md.SiLU(), md.Dense(3), md.Softmax()],
}


def test_states_are_those_of_the_trainer():
    of = subject()
    found = list(states(of, CPU))
    assert [state.label for state in found] == ["untrained", "after 5 steps", "after 15 steps"]
    trainer = md.Trainer(of.network, of.loss, of.optimizer, 8, "cpu", seed=4)
    trainer.fit(X, LABELS, EPOCHS[-1], verbose=False)
    np.testing.assert_array_equal(found[-1].theta, to_host(trainer.params.vector))
    np.testing.assert_array_equal(found[-1].slots["V"], to_host(trainer.slots["V"]))


def test_a_step_is_the_next_step_of_the_training():
    """From the state after one epoch, its first minibatches one by one: where the trainer is after the second epoch."""
    of = subject()
    second = list(states(of, CPU))[1]
    for m in range(5):
        state = second._replace(m=m)
        found = CPU.run(lambda side, state=state: run_step(of, state, side))
        theta = np.concatenate([found[name].ravel() for name in ("W[1]", "W[5]", "b[1]", "b[5]")])
        second = second._replace(theta=theta, step=second.step + 1, slots={"V": found["V"]})
    trainer = md.Trainer(of.network, of.loss, of.optimizer, 8, "cpu", seed=4)
    trainer.fit(X, LABELS, 2, verbose=False)
    np.testing.assert_array_equal(second.theta, to_host(trainer.params.vector))


def test_a_model_that_was_saved_is_a_state_too():
    trainer = md.Trainer(subject().network, optimizer=md.SGD(0.1, momentum=0.9), batch_size=8, device="cpu")
    trainer.fit(X, LABELS, 2, verbose=False)
    of = subject_of(trainer, X, LABELS)
    last = list(states(of, CPU))[-1]
    assert last.label == "as saved"
    np.testing.assert_array_equal(last.theta, to_host(trainer.params.vector))
    assert subject_of(md.Trainer(of.network, device="cpu"), X, LABELS).trained is None


@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("optimizer", [md.AdamW(0.01, weight_decay=0.1), md.SGD(0.1, clip_norm=0.5)], ids=repr)
def test_correct_sides_pass(layers, optimizer):
    of, pair = subject(layers, optimizer=optimizer), open_pair("cpu", "permuted")
    report = compared(pair, [of], ("step",))
    assert [(row.id, row.failures) for row in report.failures] == []
    rows = [row for state in states(of, CPU) for case in network_cases(of, state, CPU) for row in check(case, pair)]
    assert [(row.id, row.failures) for row in rows if row.verdict == FAIL] == []


def test_regression_too():
    Y = RNG.standard_normal((40, 2)).astype("float32")
    of = subject([md.Flatten(), md.Dense(4), md.Softplus(), md.Dense(2)], md.Huber(), Y=Y)
    assert compared(open_pair("cpu", "permuted"), [of], ("step", "ops"), real_sizes=False).failures == []


def test_rows_go_by_the_notation_in_the_order_of_a_step():
    of = subject()
    state = next(states(of, CPU))
    names = [row.tensor for case in network_cases(of, state, CPU) for row in check(case, open_pair("cpu", "strict"))]
    forward = ["A[1]", "A[2]", "A[3]", "A[4]", "A[5]", "A[6]", "J", "dP"]
    assert names == [
        *(*forward, "dA[5]", "dA[4]", "dW[5]", "db[5]"),
        *("dA[3]", "dA[2]", "dA[1]", "dA[0]", "dW[1]", "db[1]"),
    ]
    found = CPU.run(lambda side: run_step(of, state, side))
    assert list(found) == ["J", "dW[5]", "db[5]", "dW[1]", "db[1]", "W[1]", "W[5]", "b[1]", "b[5]", "V"]
    assert backwards(["W[1]", "W[3.1]", "b[3]"]) == ["W[3.1]", "b[3]", "W[1]"]


def test_the_first_difference_that_rounding_cannot_explain_is_named():
    """One gradient of one layer is off on b: the sentence names it, with its minibatch."""
    of = subject()
    pair = open_pair("cpu", "permuted")

    fault = Fault("x", "", {"sum_rows": "lambda healthy, D, into=None: healthy(D * 1.0001, into)"}, ())
    report = compared(with_fault(pair, fault), [of], ("ops", "step"), real_sizes=False)
    assert report.verdict == "FAIL"
    assert report.sentences[0].startswith(
        "first unexplained difference: db[5], minibatch {0} (net, untrained, [5] Dense"
    )


def test_decisions_within_the_bound_are_counted():
    """Where a ReLU stands on the edge, either way is right: the row warns and the bound allows for both."""
    layers = [md.Flatten(), md.Dense(8), md.ReLU(), md.Dense(3), md.Softmax()]
    of = subject(layers)
    state = next(states(of, CPU))
    theta = state.theta.copy()
    first = X[of.minibatch(state.epoch, state.m)[0]].ravel()
    theta[224:232] = -(first @ theta[:200].reshape(25, 8))  # the hidden layer's Z of an instance is 0, but for rounding
    rows = list(check(step_case(of, state._replace(theta=theta)), open_pair("cpu", "permuted")))
    assert rows[0].ambiguous > 0
    assert [row.failures for row in rows if row.verdict == FAIL] == []


def test_a_step_in_two_dtypes():
    report = compared(open_pair("cpu", "float64"), [subject()], ("step",))
    assert {row.verdict for row in report.rows} <= {PASS, "WARN"}
