"""The bounds of whole layers, losses, optimizers and steps: what float32 machines compute stays within them.

The machines: NumPy with its kernels, NumPy without, and the `permuted` backend (other orders, correctly rounded
functions); and float64 from the same numbers, which is close to the exact result.
"""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl import arrays
from mathdl.architecture import KINDS
from mathdl.losses import LOSSES
from mathdl.optimizers import OPTIMIZERS
from mathdl.primitive import reference_only
from mathdl_backends import rounding
from support import context_for, nest, normal

ROUNDING, CPU, PERMUTED = (arrays.device(name) for name in ("rounding", "cpu", "permuted"))

SEQUENCE, IMAGE = (9, 4), (7, 6, 4)
CASES = [
    (md.Dense(7), (30,)),
    (md.Perceptron(md.Sigmoid()), (30,)),
    (md.Conv1D(5, 3, padding="same"), SEQUENCE),
    (md.Conv2D(6, 3, padding="same"), IMAGE),
    (md.Conv2D(6, 3, stride=2, dilation=2, padding=2, groups=2), IMAGE),
    (md.Conv2D(8, (2, 3), groups=4), IMAGE),
    (md.MaxPool1D(3, stride=2), SEQUENCE),
    (md.MaxPool2D(2), IMAGE),
    (md.MaxPool2D(3, stride=1, padding="same"), IMAGE),
    (md.AveragePool1D(3), SEQUENCE),
    (md.AveragePool2D(3, stride=2, padding=1), IMAGE),
    (md.GlobalAveragePool1D(), SEQUENCE),
    (md.GlobalAveragePool2D(), IMAGE),
    (md.GlobalMaxPool1D(), SEQUENCE),
    (md.GlobalMaxPool2D(), IMAGE),
    (md.Sigmoid(), (30,)),
    (md.Tanh(), (30,)),
    (md.ReLU(), (30,)),
    (md.LeakyReLU(0.1), (30,)),
    (md.ELU(0.7), (30,)),
    (md.Softplus(), (30,)),
    (md.SiLU(), (30,)),
    (md.GELU(), (30,)),
    (md.Softmax(), (10,)),
    (md.LogSoftmax(), (10,)),
    (md.Flatten(), IMAGE),
    (md.Reshape((6, 7, 4)), IMAGE),
    (md.Dropout(0.3), (30,)),
    (md.BatchNorm(), IMAGE),
    (md.LayerNorm(), (30,)),
    (md.Residual([md.Dense(30), md.ReLU(), md.Dense(30)]), (30,)),
]
NEVER_ROUNDED = (md.Flatten, md.Reshape, md.MaxPool1D, md.MaxPool2D, md.GlobalMaxPool1D, md.GlobalMaxPool2D, md.ReLU)
B = 16


def test_every_layer_has_a_case():
    assert {type(layer).__name__ for layer, _ in CASES} == set(KINDS)


def run(layer, input, device, X, dtype="float32"):
    """{name: array of the backend}: A, dX and the gradients of the parameters, for X as it is."""
    shapes = layer.shapes(input)[1]
    flat = {
        name: device.put(normal(*shape, seed=k + 5, dtype="float32") / 4, dtype)
        for k, (name, shape) in enumerate(arrays.flatten_tree(shapes).items())
    }
    key = device.put(np.array([1, 2], dtype=np.uint32))
    context = context_for(layer, input, device, training=True, instances=B, key=key)
    with np.errstate(all="ignore"):
        A, cache = layer.forward(nest(shapes, flat), X, context)
        dA = device.put(normal(*A.shape, seed=2, dtype="float32"), dtype)
        dX, grads = layer.backward(dA, cache, {}, True)
    return {"A": A, "dX": dX, **arrays.flatten_tree(grads)}


def machines(layer, input, X):
    """The same on machines that keep the hypotheses."""
    yield run(layer, input, CPU, X)
    with reference_only():
        yield run(layer, input, CPU, X)
    yield run(layer, input, PERMUTED, PERMUTED.put(X))
    yield run(layer, input, CPU, np.float64(X), "float64")


def ratio(found, machine):
    """The largest |machine − value| / error; ∞ where an error of 0 is exceeded."""
    difference = np.abs(np.float64(arrays.to_host(machine)) - found.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.max(np.where(difference == 0, 0.0, difference / found.error))


@pytest.mark.parametrize(("layer", "input"), CASES, ids=lambda case: type(case).__name__)
def test_layers(layer, input):
    X = normal(B, *input, seed=1, dtype="float32")
    with rounding.analysis() as decisions:
        bounds = run(layer, input, ROUNDING, ROUNDING.put(X))
    worst = dict.fromkeys(bounds, 0.0)
    for machine in machines(layer, input, X):
        assert set(machine) == set(bounds)
        for name, found in bounds.items():
            worst[name] = max(worst[name], ratio(found, machine[name]))
    assert max(worst.values()) <= 1, worst
    assert decisions.ambiguous == 0
    for name, found in bounds.items():
        assert np.linalg.norm(found.error) < 2e-3 * np.linalg.norm(found.value), name
    if isinstance(layer, NEVER_ROUNDED):
        assert not np.any(bounds["A"].error)
    else:
        assert max(worst.values()) > 0.01, worst


@pytest.mark.parametrize(("layer", "input"), CASES, ids=lambda case: type(case).__name__)
def test_layers_on_inexact_inputs(layer, input):
    """Inputs anywhere in their balls give results in theirs, however ReLU and max pooling decide."""
    X, e = normal(B, *input, seed=1, dtype="float32"), 0.01
    bounds = run(layer, input, ROUNDING, rounding.array(X, e))
    worst = 0.0
    for seed in range(4):
        moved = X + np.float32(0.999 * e) * np.sign(normal(*X.shape, seed=seed + 9, dtype="float32"))
        machine = run(layer, input, CPU, moved)
        worst = max(worst, *(ratio(found, machine[name]) for name, found in bounds.items()))
    assert 0.05 < worst <= 1


# -- losses ----------------------------------------------------------------------------------------------------------

ROWS = np.float32(np.random.default_rng(4).dirichlet(np.ones(6), B))
LABELS = np.random.default_rng(5).integers(0, 6, B)
BINARY = np.float32(np.random.default_rng(6).integers(0, 2, (B, 6)))
NUMBERS = normal(B, 6, seed=7, dtype="float32")
PROBABILITIES = np.float32(np.random.default_rng(8).dirichlet(np.ones(6), B))
LOSS_CASES = [
    (md.CategoricalCrossEntropy(logits=True), NUMBERS, LABELS),
    (md.CategoricalCrossEntropy(logits=True), 30 * NUMBERS, ROWS),
    (md.CategoricalCrossEntropy(logits=True, label_smoothing=0.1), NUMBERS, LABELS),
    (md.CategoricalCrossEntropy(), PROBABILITIES, ROWS),
    (md.BinaryCrossEntropy(logits=True), 5 * NUMBERS, BINARY),
    (md.BinaryCrossEntropy(label_smoothing=0.2), PROBABILITIES, BINARY),
    (md.MeanSquaredError(), NUMBERS, normal(B, 6, seed=9, dtype="float32")),
    (md.MeanAbsoluteError(), NUMBERS, normal(B, 6, seed=9, dtype="float32")),
    (md.Huber(0.5), NUMBERS, normal(B, 6, seed=9, dtype="float32")),
    (md.Poisson(), np.abs(NUMBERS), np.float32(LABELS[:, None] + np.zeros((1, 6)))),
]


def test_every_loss_has_a_case():
    assert {type(loss) for loss, _, _ in LOSS_CASES} == set(LOSSES.values())


@pytest.mark.parametrize(("loss", "P", "Y"), LOSS_CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(loss, P, Y, weighted):
    weights = np.float32(np.random.default_rng(10).random(B)) if weighted else None

    def both(device, dtype):
        target = device.put(Y, dtype if Y.dtype.kind == "f" else None)
        J, cache = loss.forward(
            device.put(P, dtype), target, None if weights is None else device.put(weights, dtype), float(B)
        )
        return J, loss.backward(cache)

    with rounding.analysis() as decisions:
        bounds = both(ROUNDING, "float32")
    assert decisions.ambiguous == 0
    worst = 0.0
    for machine in (both(CPU, "float32"), both(PERMUTED, "float32"), both(CPU, "float64")):
        worst = max(worst, *(ratio(found, each) for found, each in zip(bounds, machine, strict=True)))
    assert 0.01 < worst <= 1
    for found in bounds:
        assert np.median(found.error) < 1e-4 * np.median(np.abs(found.value))


# -- optimizers and steps --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {}),
        ("sgd", {"momentum": 0.9, "weight_decay": 0.01}),
        ("sgd", {"momentum": 0.9, "nesterov": True, "clip_value": 0.8}),
        ("adam", {"clip_norm": 3.0}),
        ("adamw", {}),
        ("rmsprop", {}),
        ("rmsprop", {"momentum": 0.5}),
    ],
)
def test_optimizers(name, options):
    assert set(OPTIMIZERS) == {"sgd", "adam", "adamw", "rmsprop"}
    optimizer = OPTIMIZERS[name](learning_rate=0.01, **options)

    def steps(device, dtype):
        theta = device.put(normal(200, seed=1, dtype="float32"), dtype)
        slots = {slot: device.put(np.zeros(200), dtype) for slot in optimizer.slots}
        for step in range(3):
            G = device.put(normal(200, seed=step + 2, dtype="float32"), dtype)
            c = device.put(np.float32(optimizer.coefficients(step + 1, 0.01)), dtype)
            with np.errstate(all="ignore"):
                optimizer.clip(G)
                optimizer.update(theta, G, slots, c, True)
        return {"theta": theta, **slots}

    bounds = steps(ROUNDING, "float32")
    worst = 0.0
    for machine in (steps(CPU, "float32"), steps(PERMUTED, "float32"), steps(CPU, "float64")):
        worst = max(worst, *(ratio(bounds[each], machine[each]) for each in bounds))
    assert 0.05 < worst <= 1
    for found in bounds.values():
        assert np.median(found.error) < 1e-4 * np.median(np.abs(found.value))


NETWORKS = {
    "mlp": ([md.Dense(32), md.ReLU(), md.LayerNorm(), md.Dense(16), md.GELU(), md.Dense(4), md.Softmax()], (20,)),
    "cnn": (
        [
            *(md.Conv2D(8, 3, padding="same"), md.BatchNorm(), md.ReLU(), md.MaxPool2D(2)),
            *(md.Dropout(0.2), md.Flatten(), md.Dense(4), md.Softmax()),
        ],
        (8, 8, 2),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_step_of_the_trainer(name):
    layers, input = NETWORKS[name]
    X, Y = normal(24, *input, dtype="float32"), np.random.default_rng(0).integers(0, 4, 24)

    def step(device):
        trainer = md.Trainer(md.Network(layers), optimizer=md.SGD(0.1, momentum=0.9), batch_size=24, device=device)
        start = arrays.to_host(trainer.network.initialize(input, device=device).vector)
        trainer.fit(X, Y, epochs=1)
        assert np.any(arrays.to_host(trainer.params.vector) != start)
        return {"theta": trainer.params.vector, "state": trainer.params.state.vector}

    with rounding.analysis() as decisions:
        bounds = step("rounding")
    assert decisions.taken > 300
    for machine in (step("cpu"), step("permuted")):
        assert all(ratio(bounds[each], machine[each]) <= 1 for each in bounds if bounds[each].size)
    assert np.linalg.norm(bounds["theta"].error) < 2e-3 * np.linalg.norm(bounds["theta"].value)
