"""Whole trainings of the CuPy backend on host memory: the numbers of the CPU, the same bits captured, few kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

import mathdl as md
from every_layer import LAYERS
from host_cupy import COMPILER, Machine, on_the_host
from mathdl.arrays import namespace, to_host
from mathdl.cli import main
from mathdl.layers.layer import Layer
from mathdl.losses import LOSSES
from mathdl.schedules import Exponential

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")
RATE = Exponential(0.02, 0.8)


@pytest.fixture(params=[False, True], ids=["without cuDNN", "with cuDNN"])
def with_cudnn(request):
    return request.param


def trained(layers, X, Y, device, optimizer=None, loss="categorical_cross_entropy", fits=2, **fit):
    trainer = md.Trainer(md.Network(layers), loss=loss, optimizer=optimizer or md.SGD(RATE, momentum=0.9),
                         batch_size=8, device=device)  # fmt: skip
    for _ in range(fits):
        trainer.fit(X, Y, epochs=2, verbose=False, **fit)
    return trainer


def state(trainer):
    """All that a training leaves, on the host."""
    vectors = [trainer.params.vector, trainer.params.state.vector, *([trainer.slots.vector] if trainer.slots else [])]
    return [np.array(to_host(A)) for A in vectors]


def compared(monkeypatch, layers, X, Y, tolerance=2e-5, with_cudnn=False, **options):
    """Train on the CPU, captured, and call by call: (the captured trainer, the three states)."""
    there = state(trained(layers, X, Y, "cpu", **options))
    with on_the_host(with_cudnn):
        captured = trained(layers, X, Y, "cuda", **options)
        here, about = state(captured), captured.about_steps()
        predicted = to_host(captured.predict(X))
        monkeypatch.setenv("MATHDL_CUDA_GRAPHS", "0")
        eager = trained(layers, X, Y, "cuda", **options)
        monkeypatch.delenv("MATHDL_CUDA_GRAPHS")
        assert about.startswith("one CUDA graph of ")
        assert "each call a kernel" not in about
        assert eager.about_steps() == "call by call: MATHDL_CUDA_GRAPHS=0"
        for A, B, C in zip(here, state(eager), there, strict=True):
            np.testing.assert_array_equal(A, B)
            np.testing.assert_allclose(A, C, rtol=tolerance, atol=tolerance)
        assert captured.history["loss"] == eager.history["loss"]
        np.testing.assert_array_equal(predicted, to_host(eager.predict(X)))
    return captured


def rows(shape, n=43):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *shape)).astype("float32"), rng.integers(0, 3, n)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: repr(value) if isinstance(value, Layer) else "")
def test_every_layer(monkeypatch, layer, shape, with_cudnn):
    if with_cudnn and "Conv" not in repr(layer):
        pytest.skip("no convolution")
    X, Y = rows(shape)
    first = [md.Dense(int(np.prod(shape))), md.Reshape(shape)]  # so that the layer has a gradient to hand on
    layers = [*first, layer, md.Flatten(), md.Dense(3), md.Softmax()]
    compared(monkeypatch, layers, X.reshape(len(X), -1), Y, with_cudnn=with_cudnn)


@pytest.mark.parametrize(
    "optimizer",
    [md.SGD(RATE), md.SGD(RATE, momentum=0.9), md.SGD(RATE, momentum=0.9, nesterov=True),
     md.SGD(RATE, momentum=0.9, weight_decay=1e-2), md.SGD(RATE, momentum=0.9, clip_norm=0.1),
     md.SGD(RATE, clip_value=0.01), md.Adam(RATE), md.AdamW(RATE, weight_decay=0.1), md.RMSprop(RATE)],
    ids=repr,
)  # fmt: skip
def test_every_optimizer(monkeypatch, optimizer):
    X, Y = rows((5,))
    layers = [md.Dense(6, l1=1e-3), md.Tanh(), md.Dense(3, l2=1e-2), md.Softmax()]
    compared(monkeypatch, layers, X, Y, optimizer=optimizer, tolerance=2e-3 if "Adam" in repr(optimizer) else 2e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss(monkeypatch, name):
    X, labels = rows((5,))
    kind = LOSSES[name].kind
    Y = labels if kind == "categorical" else (labels > 0).astype(float) if kind == "binary" else X[:, :1] ** 2
    tail = {"categorical": [md.Dense(3), md.Softmax()], "binary": [md.Dense(1), md.Sigmoid()]}
    layers = [md.Dense(6), md.Tanh(), *tail.get(kind, [md.Dense(1), md.Softplus()])]
    compared(monkeypatch, layers, X, Y, loss=LOSSES[name]())


@pytest.mark.parametrize("smooth", [0.0, 0.1])
def test_weights_and_label_smoothing(monkeypatch, smooth):
    X, Y = rows((5,))
    weights = np.random.default_rng(1).random(len(X))
    loss = md.CategoricalCrossEntropy(label_smoothing=smooth)
    compared(monkeypatch, [md.Dense(3), md.Softmax()], X, Y, loss=loss, sample_weight=weights)


def test_many_classes(monkeypatch):
    X, Y = rows((5,))
    compared(monkeypatch, [md.Dense(200), md.Softmax()], X, Y * 60)


def test_float64(monkeypatch):
    X, Y = rows((6, 6, 1))
    layers = [md.Conv2D(2, 3), md.BatchNorm(), md.ReLU(), md.MaxPool2D(2), md.Flatten(), md.Dense(3), md.Softmax()]
    there = md.Trainer(md.Network(layers), batch_size=8, device="cpu", dtype="float64")
    there.fit(X, Y, epochs=3, verbose=False)
    with on_the_host(with_cudnn=True):
        here = md.Trainer(md.Network(layers), batch_size=8, device="cuda", dtype="float64")
        here.fit(X, Y, epochs=3, verbose=False)
        np.testing.assert_allclose(to_host(here.params.vector), there.params.vector, rtol=1e-10, atol=1e-12)


# -- how many kernels --------------------------------------------------------------------------------------------------

MLP = [md.Dense(16), md.ReLU(), md.Dense(12), md.ReLU(), md.Dense(3), md.Softmax()]
CNN = [md.Conv2D(8, 3, padding="same"), md.ReLU(), md.MaxPool2D(2), md.Conv2D(16, 3, padding="same"), md.ReLU(),
       md.MaxPool2D(2), md.Flatten(), md.Dense(3), md.Softmax()]  # fmt: skip
BLOCK = [md.Conv2D(8, 3, padding="same"), md.BatchNorm(), md.ReLU(), md.Conv2D(8, 3, padding="same"), md.BatchNorm()]
RESIDUAL = [md.Conv2D(8, 3, padding="same"), md.ReLU(), md.Residual(BLOCK), md.ReLU(), md.GlobalAveragePool2D(),
            md.Dense(3), md.Softmax()]  # fmt: skip
DROPOUT = [md.Dense(16), md.GELU(), md.Dropout(0.5), md.Dense(3), md.Softmax()]
NORMALIZED = [md.Dense(16), md.LayerNorm(), md.SiLU(), md.Dense(3), md.Softmax()]


def kernels_of_a_step(layers, shape, optimizer=None):
    """The kernels of a captured step, by name."""
    X, Y = rows(shape, n=8)
    with on_the_host(with_cudnn=True):
        trainer = trained(layers, X, Y, "cuda", optimizer, fits=1)
        trainer.fit(X, Y, epochs=2, verbose=False)  # the third step is captured
        nodes = int(trainer.about_steps().removeprefix("one CUDA graph of ").removesuffix(" nodes"))
        return Machine.captured[-nodes:]


@pytest.mark.parametrize(
    ("layers", "shape", "most"),
    [(MLP, (20,), 25), (CNN, (8, 8, 1), 38), (RESIDUAL, (8, 8, 3), 67), (DROPOUT, (20,), 20), (NORMALIZED, (20,), 23)],
    ids=["MLP", "CNN", "residual CNN", "dropout", "layer normalization"],
)
@pytest.mark.parametrize("optimizer", [md.SGD(0.1, momentum=0.9), md.Adam()], ids=["SGD", "Adam"])
def test_a_step_is_few_kernels(layers, shape, most, optimizer):
    names = kernels_of_a_step(layers, shape, optimizer)
    assert len(names) <= most, names


def test_what_the_kernels_of_an_mlp_are():
    """Bias and activation are one, so are loss and gradient of the last bias and the softmax; the update is one."""
    names = kernels_of_a_step(MLP, (20,))
    assert names.count("product") == 3 + 3 + 2 + 3, "forward, dW, dA, db"
    assert names.count("mathdl_add_maximum") == 2
    assert names.count("mathdl_greater_multiply") == 2
    assert names.count("mathdl_multiply_add_multiply_subtract") == 1
    assert sum("exp" in name for name in names) == 2
    assert "copy" not in names


def test_without_lazy_arrays_each_call_is_a_kernel(monkeypatch):
    X, Y = rows((20,), n=8)
    with on_the_host():
        lazily = trained(MLP, X, Y, "cuda")
        monkeypatch.setenv("MATHDL_LAZY", "0")
        plainly = trained(MLP, X, Y, "cuda")
        few, many = (int(each.about_steps().split()[-2]) for each in (lazily, plainly))
        assert few < 0.7 * many
        for A, B in zip(state(lazily), state(plainly), strict=True):
            np.testing.assert_allclose(A, B, rtol=2e-5, atol=2e-6)


# -- the whole of it ---------------------------------------------------------------------------------------------------


def test_digits_are_learnt_to_97_percent(capsys, tmp_path):
    options = ["--data", "digits", "--model", "mlp", "--epochs", "30", "--device", "cuda"]
    with on_the_host():
        assert main(["train", *options, "--out", str(tmp_path / "run")]) == 0
    found = re.search(r"accuracy (0\.\d+) \(359 rows that it never saw\)", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) >= 0.97


@pytest.mark.parametrize("cudnn", [False, True])
def test_it_differs_from_the_cpu_by_rounding_alone(capsys, cudnn):
    with on_the_host(with_cudnn=cudnn):
        assert main(["parity", "cnn" if cudnn else "mlp", "--b", "cuda"]) == 0
    assert "WARN: explained by rounding" in capsys.readouterr().out


# -- what is not array code --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OfCuPy(Layer):
    """A layer that asks for more than the array API: an attribute of CuPy's arrays."""

    factor: float = 2.0

    def forward(self, params, A, context):
        assert A.flags.c_contiguous
        return A * self.factor, None

    def backward(self, dA, cache, into, input_gradient=True):
        return dA * self.factor, {}


@dataclass(frozen=True)
class OfTheHost(Layer):
    """A layer that looks at a number."""

    def forward(self, params, A, context):
        return A * (2.0 if bool(namespace(A).sum(A) > 1e9) else 3.0), None

    def backward(self, dA, cache, into, input_gradient=True):
        return dA * 3.0, {}


def test_a_layer_that_lazy_arrays_are_not_enough_for_runs_on_cupys():
    X, Y = rows((5,))
    layers = [md.Dense(4), OfCuPy(), md.Dense(3), md.Softmax()]
    with on_the_host():
        trainer = trained(layers, X, Y, "cuda")
        about = trainer.about_steps()
        assert about.startswith("one CUDA graph of ")
        assert "each call a kernel: layer l = 2 (OfCuPy): AttributeError: 'Lazy' object has no attribute" in about
        by_array_code = trained([md.Dense(4), Scaled(), md.Dense(3), md.Softmax()], X, Y, "cuda")
        np.testing.assert_allclose(
            to_host(trainer.params.vector), to_host(by_array_code.params.vector), rtol=2e-5, atol=2e-6
        )


@dataclass(frozen=True)
class Scaled(Layer):
    """What `OfCuPy` does, as array code."""

    def forward(self, params, A, context):
        return A * 2.0, None

    def backward(self, dA, cache, into, input_gradient=True):
        return dA * 2.0, {}


def test_a_layer_that_looks_at_a_number_is_named_and_runs_call_by_call():
    X, Y = rows((5,))
    with on_the_host():
        with pytest.warns(RuntimeWarning, match=r"layer l = 2 \(OfTheHost\).*Inside a step nothing may be"):
            trainer = trained([md.Dense(4), OfTheHost(), md.Dense(3), md.Softmax()], X, Y, "cuda")
        assert "call by call: layer l = 2 (OfTheHost)" in trainer.about_steps()


@dataclass(frozen=True)
class HalfWay(md.SGD):
    """An update that asks for more than the array API after it has written."""

    def update(self, theta, G, state, c, decay):
        super().update(theta, G, state, c, decay)
        assert theta.flags.c_contiguous


def test_an_update_that_fails_half_way_on_lazy_arrays_leaves_no_trace():
    X, Y = rows((5,))
    layers = [md.Dense(4), md.Tanh(), md.Dense(3), md.Softmax()]
    with on_the_host():
        halfway, whole = (trained(layers, X, Y, "cuda", kind(0.1, momentum=0.9)) for kind in (HalfWay, md.SGD))
        assert "each call a kernel: AttributeError" in halfway.about_steps()
        for A, B in zip(state(halfway), state(whole), strict=True):
            np.testing.assert_allclose(A, B, rtol=2e-5, atol=2e-6)


class Broken(Scaled):
    def forward(self, params, A, context):
        raise KeyError("mine")


def test_a_layer_that_fails_on_all_arrays_fails():
    X, Y = rows((5,))
    with on_the_host(), pytest.raises(KeyError, match="mine"):
        trained([md.Dense(4), Broken(), md.Dense(3), md.Softmax()], X, Y, "cuda")
