"""Optimizers: steps against the texts' loops, slices, updates in place, nothing baked in, clipping, errors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathdl.errors import UnknownNameError, UsageError
from mathdl.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, RMSprop, optimizer
from mathdl.primitive import reference_only
from mathdl.schedules import Cosine
from mathdl.theory import definitions
from support import as_inside_a_step, assert_close, host, normal

CASES = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.8, weight_decay=0.1),
    SGD(momentum=0.9, nesterov=True),
    SGD(momentum=0.7, nesterov=True, weight_decay=0.2),
    Adam(),
    Adam(beta1=0.5, beta2=0.7, epsilon=0.1, weight_decay=0.3),
    Adam(beta1=0.0, beta2=0.0),
    AdamW(),
    AdamW(beta1=0.5, beta2=0.7, epsilon=0.1, weight_decay=0.3),
    RMSprop(),
    RMSprop(rho=0.5, epsilon=0.1, weight_decay=0.3),
    RMSprop(momentum=0.8, weight_decay=0.3),
]
RATES = (0.1, 0.03, 0.2, 0.05)
SIZE = 11


class Run:
    """θ and the state of an optimizer on a device, taken through steps."""

    def __init__(self, spec: Optimizer, backend, theta: np.ndarray) -> None:
        self.spec, self.backend = spec, backend
        self.theta = backend.put(theta.copy())
        self.state = {slot: backend.put(np.zeros_like(theta)) for slot in spec.slots}
        self.c = backend.put(np.zeros(len(spec.coefficients(1, 0.1)), dtype=theta.dtype))

    def step(self, t: int, rate: float, G: np.ndarray, decay: bool, cuts: tuple[int, ...] = ()) -> None:
        self.c[...] = self.backend.put(np.array(self.spec.coefficients(t, rate)), str(G.dtype))
        G = self.backend.put(G.copy())
        before = host(G).copy()
        edges = [0, *cuts, G.shape[0]]
        with as_inside_a_step(self.backend):
            for a, b in pairwise(edges):
                state = {slot: v[a:b] for slot, v in self.state.items()}
                self.spec.update(self.theta[a:b], G[a:b], state, self.c, decay)
        np.testing.assert_array_equal(host(G), before, err_msg="update only reads G")

    def arrays(self) -> list[np.ndarray]:
        return [host(self.theta), *(host(v) for v in self.state.values())]


def gradients(steps: int = len(RATES), dtype: str = "float64") -> list[np.ndarray]:
    return [normal(SIZE, seed=10 + t, dtype=dtype) for t in range(steps)]


def expected(spec: Optimizer, theta: np.ndarray, decay: bool) -> list[list[float]]:
    """[θ, *state] after the steps, by the definitions."""
    slots = [[0.0] * SIZE for _ in range(2)]
    values = theta.tolist()
    weight_decay = spec.weight_decay if decay else 0.0
    for t, (rate, g) in enumerate(zip(RATES, gradients(), strict=True), start=1):
        if isinstance(spec, SGD):
            values, slots[0] = definitions.sgd_step(
                values, g.tolist(), slots[0], rate, spec.momentum, spec.nesterov, weight_decay
            )
        elif isinstance(spec, RMSprop):
            values, *slots = definitions.rmsprop_step(
                values, g.tolist(), *slots, rate, spec.rho, spec.momentum, spec.epsilon, weight_decay
            )
        else:
            step = definitions.adam_step if isinstance(spec, Adam) else definitions.adamw_step
            values, *slots = step(
                values, g.tolist(), *slots, t, rate, spec.beta1, spec.beta2, spec.epsilon, weight_decay
            )
    return [values, *slots[: len(spec.slots)]]


@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize("spec", CASES, ids=repr)
def test_steps(backend, spec, decay):
    theta = normal(SIZE, seed=1)
    run = Run(spec, backend, theta)
    for t, (rate, G) in enumerate(zip(RATES, gradients(), strict=True), start=1):
        run.step(t, rate, G, decay)
    for actual, wanted in zip(run.arrays(), expected(spec, theta, decay), strict=True):
        assert_close(actual, wanted, rtol=1e-12)


@pytest.mark.parametrize("spec", CASES, ids=repr)
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(0, SIZE), max_size=3).map(sorted).map(tuple))
def test_slices_give_the_same_bits_as_the_whole(backend, spec, cuts):
    whole, cut = (Run(spec, backend, normal(SIZE, seed=1, dtype="float32")) for _ in range(2))
    for t, G in enumerate(gradients(2, "float32"), start=1):
        whole.step(t, 0.1, G, decay=True)
        cut.step(t, 0.1, G, decay=True, cuts=cuts)
    for a, b in zip(whole.arrays(), cut.arrays(), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spec", CASES, ids=repr)
def test_vectors_are_changed_in_place(backend, spec):
    run = Run(spec, backend, normal(SIZE, seed=1))
    views = [run.theta[2:7], *(v[2:7] for v in run.state.values())]
    before = [host(view).copy() for view in views]
    run.step(1, 0.1, gradients()[0], decay=True)
    for view, old, vector in zip(views, before, run.arrays(), strict=True):
        assert not np.any(host(view) == old)
        np.testing.assert_array_equal(host(view), vector[2:7])


@pytest.mark.parametrize("spec", CASES, ids=repr)
def test_a_step_reads_its_coefficients_from_the_device(backend, spec):
    """A recorded step is replayed with other coefficients: the same calls, c changed in place."""
    G = gradients()[0]
    runs = []
    for rate in (0.1, 0.01):
        run = Run(spec, backend, normal(SIZE, seed=1))
        run.c[...] = backend.put(np.array(spec.coefficients(1, rate)))
        with as_inside_a_step(backend):
            spec.update(run.theta, backend.put(G.copy()), run.state, run.c, False)
        runs.append(host(run.theta) - normal(SIZE, seed=1))
    np.testing.assert_allclose(runs[0], 10 * runs[1], rtol=1e-9)
    assert np.all(runs[0] != 0)


@pytest.mark.parametrize("spec", CASES, ids=repr)
def test_a_kernel_gives_the_bits_of_the_reference(backend, spec):
    theta = normal(100_003, dtype="float32")
    run, reference = Run(spec, backend, theta), Run(spec, backend, theta)
    G = normal(100_003, seed=2, dtype="float32")
    run.step(1, 0.1, G, decay=True)
    with reference_only():
        reference.step(1, 0.1, G, decay=True)
    for a, b in zip(run.arrays(), reference.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spec", [SGD(), Adam(), AdamW(), RMSprop()], ids=repr)
def test_the_first_coefficient_is_the_rate(spec):
    assert spec.coefficients(1, 0.25)[0] == 0.25
    assert all(type(number) is float for number in spec.coefficients(3, 0.25))


def test_adam_corrects_for_the_start_at_zero():
    rate, a, b = Adam(beta1=0.9, beta2=0.99).coefficients(2, 0.1)
    assert (rate, a, b) == pytest.approx((0.1, 0.1 / (1 - 0.81), 1 / (1 - 0.9801) ** 0.5))


def test_slots():
    assert SGD().slots == ()
    assert SGD(momentum=0.9).slots == ("V",)
    assert Adam().slots == AdamW().slots == ("M", "V")
    assert RMSprop().slots == ("S",)
    assert RMSprop(momentum=0.9).slots == ("S", "V")


@pytest.mark.parametrize("clip_value", [None, 0.5])
@pytest.mark.parametrize("clip_norm", [None, 0.25, 1000.0])
def test_clip(backend, clip_value, clip_norm):
    G = normal(SIZE)
    own = backend.put(G.copy())
    with as_inside_a_step(backend):
        SGD(clip_norm=clip_norm, clip_value=clip_value).clip(own)
    wanted = G.tolist()
    if clip_value is not None:
        wanted = definitions.clip_by_value(wanted, clip_value)
    if clip_norm is not None:
        wanted = definitions.clip_by_norm(wanted, clip_norm)
    assert_close(own, wanted, rtol=1e-14)
    if clip_value is None and clip_norm in (None, 1000.0):
        np.testing.assert_array_equal(host(own), G)


@pytest.mark.parametrize("spec", [SGD, Adam, AdamW, RMSprop])
def test_every_optimizer_clips(backend, spec):
    G = backend.put(np.array([3.0, 4.0], dtype="float32"))
    with as_inside_a_step(backend):
        spec(clip_norm=1.0).clip(G)
    assert_close(G, [0.6, 0.8], rtol=1e-6)
    assert host(G).dtype == np.float32


def test_clip_at_the_edges(backend):
    zero, broken = backend.put(np.zeros(3)), backend.put(np.array([1.0, np.nan, -9.0]))
    with as_inside_a_step(backend):
        SGD(clip_norm=1.0, clip_value=1.0).clip(zero)
        SGD(clip_value=2.0).clip(broken)
    np.testing.assert_array_equal(host(zero), np.zeros(3))
    np.testing.assert_array_equal(host(broken), [1.0, np.nan, -2.0])


def test_names():
    assert optimizer("sgd", momentum=0.9, learning_rate=0.1) == SGD(0.1, momentum=0.9)
    assert optimizer("adam", learning_rate=Cosine(0.1, 5)) == Adam(Cosine(0.1, 5))
    assert optimizer(AdamW()) == AdamW()
    assert {kind.__name__ for kind in OPTIMIZERS.values()} == {"SGD", "Adam", "AdamW", "RMSprop"}
    with pytest.raises(UnknownNameError, match=r"unknown optimizer 'adamm'.*'adam'"):
        optimizer("adamm")
    with pytest.raises(UnknownNameError, match=r"unknown option of sgd 'momentun'.*'momentum'"):
        optimizer("sgd", momentun=0.9)
    with pytest.raises(UsageError, match="a name with options, or an Optimizer without"):
        optimizer(SGD(), momentum=0.9)
    with pytest.raises(UsageError, match="got 3"):
        optimizer(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(-0.1), "Constant: rate must be a finite number ≥ 0, got -0.1"),
        (lambda: SGD(momentum=1.0), "SGD: momentum must lie in [0, 1), got 1.0"),
        (lambda: SGD(nesterov=True), "SGD: nesterov=True needs a momentum > 0, for example momentum=0.9"),
        (lambda: SGD(weight_decay=-1.0), "SGD: weight_decay must be a finite number ≥ 0, got -1.0"),
        (lambda: Adam(clip_norm=0.0), "Adam: clip_norm must be a finite number > 0, got 0.0"),
        (lambda: AdamW(clip_value=True), "AdamW: clip_value must be a finite number > 0, got True"),
        (lambda: Adam(beta2=1.0), "Adam: beta2 must lie in [0, 1), got 1.0"),
        (lambda: AdamW(beta1=-0.1), "AdamW: beta1 must lie in [0, 1), got -0.1"),
        (lambda: Adam(epsilon=0.0), "Adam: epsilon must be a finite number > 0, got 0.0"),
        (lambda: RMSprop(rho=1.5), "RMSprop: rho must lie in [0, 1), got 1.5"),
        (lambda: RMSprop(epsilon="1e-7"), "RMSprop: epsilon must be a finite number > 0, got '1e-7'"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == message
