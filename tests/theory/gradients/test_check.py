"""`check_gradients`: what ships agrees; a backward that is spoilt is refused, by the name of layer and parameter."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

import mathdl as md
from every_layer import LAYERS, LOSSES
from mathdl.arrays import namespace
from mathdl.cli.models import build
from mathdl.errors import ShapeError, UsageError
from mathdl.sums import sum_rows
from mathdl.theory.gradients.report import AGREES, FOLLOWS, WRONG

# -- what ships --------------------------------------------------------------------------------------------------------

LARGER = [
    (md.Conv2D(4, 3, padding="same"), (6, 6, 2)),
    (md.Conv2D(6, (3, 2), stride=2, padding=1, groups=3), (5, 6, 3)),
    (md.MaxPool2D(3, stride=2, padding="same"), (6, 7, 2)),
    (md.BatchNorm(), (3, 4, 2)),
    (md.LayerNorm(), (3, 1)),
    (md.GlobalMaxPool2D(), (4, 4, 3)),
    (md.Dense(30), (40,)),
]


@pytest.mark.parametrize(("layer", "shape"), [*LAYERS, *LARGER], ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("seed", range(2))
def test_every_shipped_layer_agrees(layer, shape, seed):
    report = md.check_gradients(layer, shape, seed=seed)
    assert report.ok, f"\n{report}"
    for row in report.rows:
        assert row.duals.tolerance < 1e-11, row  # LayerNorm of two channels, nearly constant, is the worst of all
        assert row.differences.tolerance < 1e-3, row


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("seed", range(2))
def test_every_shipped_loss_agrees(loss, seed):
    report = md.check_gradients(loss, (4,), seed=seed)
    assert report.ok, f"\n{report}"
    assert len(report.rows) == (2 if loss.kind == "categorical" else 1)


def test_a_network_of_everything_agrees():
    network = md.Network(
        [
            *(
                md.Conv2D(3, 3, padding="same"),
                md.BatchNorm(),
                md.ReLU(),
                md.MaxPool2D(2),
            ),  # a maximum of zeros: a kink
            *(md.Residual([md.Conv2D(3, 1), md.Dropout(0.3), md.ELU()]), md.Flatten(), md.Dense(4), md.Softmax()),
        ]
    )
    report = md.check_gradients(network, (4, 4, 1), loss="categorical_cross_entropy")
    assert report.ok, f"\n{report}"
    convolutions = [row.gradient for row in report.rows if row.place == "Conv2D"]
    assert convolutions == ["dA[0]", "dW[1]", "db[1]", "dA[4]", "dW[5.1]", "db[5.1]"]
    assert [row.path for row in report.rows if "predicting" in row.place] == [(2,), (2,), (2,), (5, 2)]
    assert [row.note for row in report.rows if row.place == "MaxPool2D"] == ["beside a kink"]
    assert [row.gradient for row in report.rows if not row.path] == ["dA[7]", "dθ"]
    assert report.rows[-1].place == "the network under CategoricalCrossEntropy"


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_built_in_models_agree_on_images_of_mnist(model):
    network = build(model, (28, 28, 1), 10)
    loss = "categorical_cross_entropy"
    report = md.check_gradients(network, (28, 28, 1), loss=loss, batch_size=2, directions=1)
    assert report.ok, f"\n{report}"


def test_a_trained_network_at_its_own_parameters_and_data():
    digits = md.data.load("digits")
    X, Y = digits.X[:60] / 16, digits.Y[:60]
    trainer = md.Trainer(md.Network([md.Flatten(), md.Dense(8), md.ReLU(), md.Dense(10), md.Softmax()]), batch_size=20)
    trainer.fit(X, Y, epochs=1)
    before = trainer.params.vector.copy()
    loss = "categorical_cross_entropy"
    report = md.check_gradients(trainer.network, loss=loss, X=X[:5], Y=Y[:5], params=trainer.params)
    assert report.ok, f"\n{report}"
    np.testing.assert_array_equal(trainer.params.vector, before)


def test_without_a_loss_the_network_is_checked_as_it_stands():
    report = md.check_gradients([md.Dense(3), md.Tanh()], 2)
    assert report.ok
    assert report.rows[-1].place == "the network"


# -- what is spoilt ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale(md.Layer):
    """A[l] = g ∘ A[l-1], with a backward that may be spoilt."""

    fault: str = ""

    def shapes(self, input):
        return input, {"g": input}

    def initializers(self):
        return {"g": md.initializers.constant(1.0)}

    def forward(self, params, A, context):
        xp, g = namespace(A), params["g"]
        match self.fault:
            case "numpy":
                g = g * np.sum(g)
            case "missing":
                g = g * xp.linalg.matrix_norm(g[None, :])
            case "host scalar":
                g = g * float(xp.sum(g))
            case "infinite":
                g = g / 0.0
        return A * g, (A, g)

    def backward(self, dA, cache, into, input_gradient=True):
        A, g = cache
        gradient = sum_rows(dA * A, into.get("g"))
        match self.fault:
            case "mean for sum":
                return dA * g, {"g": namespace(A).mean(dA * A, axis=0)}
            case "input":
                return dA, {"g": gradient}
            case "a part in 10¹²":
                return dA * g * (1 + 1e-12), {"g": gradient}
            case "none":
                return dA * g, {}
            case "shape":
                return dA * g, {"g": dA * A}
            case "in place":
                A *= 2.0
                return dA * g, {"g": gradient}
            case "into":
                if "g" in into:
                    into["g"][...] = 0.0
                return dA * g, {"g": gradient}
            case "NaN":
                return dA * g, {"g": gradient * np.nan}
        return dA * g, {"g": gradient}


FAULTS = {
    "mean for sum": ("dg[2.1]", ""),
    "input": ("dA[1]", ""),
    "a part in 10¹²": ("dA[1]", ""),
    "none": ("dg[2.1]", "backward returns none"),
    "shape": ("dg[2.1]", "its shape is (4, 3), expected (3,)"),
    "in place": ("dA[1]", "A[1] is changed in place, and other layers may hold it"),
    "into": ("dg[2.1]", "what backward leaves in `into` is not what it returns without"),
    "NaN": ("dg[2.1]", "it is not finite"),
}


def inside_a_residual(fault):
    return md.Network([md.Dense(3), md.Residual([Scale(fault), md.Tanh()]), md.Dense(2), md.Softmax()])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_backward_is_named(fault):
    gradient, note = FAULTS[fault]
    report = md.check_gradients(inside_a_residual(fault), 5, loss="categorical_cross_entropy")
    assert not report.ok
    assert [(row.path, row.place, row.gradient, row.note) for row in report.wrong] == [
        ((2, 1), "Scale", gradient, note)
    ]
    assert f"{gradient} of layer l = 2.1, Scale is wrong" == report.summary
    for row in report.rows:
        assert row.verdict in (AGREES, WRONG) or (row.verdict == FOLLOWS and row.note == f"from {gradient}")
        assert row.path in ((2, 1), (2,), ()) or row.verdict == AGREES


def test_the_same_layer_unspoilt_agrees():
    assert md.check_gradients(inside_a_residual(""), 5, loss="categorical_cross_entropy").ok


def test_differences_alone_would_see_it():
    report = md.check_gradients(Scale("mean for sum"), 3)
    (row,) = report.wrong
    assert row.differences.error > 0.1 > 1e-9 > row.differences.tolerance


def test_what_forward_gives_is_not_finite():
    report = md.check_gradients(Scale("infinite"), 3)
    assert {row.note for row in report.wrong} >= {"what forward gives is not finite"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("numpy", r"a NumPy function would lose the tangents.*xp\.sum, not np\.sum"),
        ("missing", r"does not differentiate xp\.linalg"),
        ("host scalar", r"a Python number of a dual number would lose its tangent"),
    ],
)
def test_a_forward_that_does_not_run_on_dual_numbers_is_one_message(fault, message):
    with pytest.raises(UsageError, match=rf"^layer l = 2\.1, Scale: forward does not run on dual numbers: .*{message}"):
        md.check_gradients(inside_a_residual(fault), 5)


def test_a_layer_that_fails_says_where():
    class Broken(md.ReLU):
        def backward(self, dA, cache, into, input_gradient=True):
            raise KeyError("mask")

    with pytest.raises(KeyError, match="mask") as error:
        md.check_gradients([md.Dense(2), Broken()], 3)
    assert error.value.__notes__ == ["in Broken, at layer l = 2"]


def spoilt(kind, name, change):
    """A shipped layer whose backward returns something else."""

    class Spoilt(kind):
        def backward(self, dA, cache, into, input_gradient=True):
            dX, grads = super().backward(dA, cache, into, input_gradient)
            if name == "A":
                return change(dX), grads
            return dX, {**grads, name: change(grads[name])}

    return Spoilt


MUTANTS = [
    (md.Dense, "W", (3,), (4,)),
    (md.Dense, "b", (3,), (4,)),
    (md.Conv2D, "A", (2, 3), (4, 4, 2)),
    (md.Conv2D, "W", (2, 3), (4, 4, 2)),
    (md.BatchNorm, "A", (), (3,)),
    (md.BatchNorm, "gamma", (), (3,)),
    (md.LayerNorm, "beta", (), (3,)),
    (md.MaxPool2D, "A", (2,), (4, 4, 2)),
    (md.Dropout, "A", (0.5,), (6,)),
    (md.Softmax, "A", (), (3,)),
    (md.GELU, "A", (), (3,)),
]


@pytest.mark.parametrize(("kind", "name", "arguments", "shape"), MUTANTS, ids=lambda value: str(value)[-20:])
def test_one_entry_that_is_a_little_off_is_found(kind, name, arguments, shape):
    def change(gradient):
        changed = gradient.copy()
        changed[(0,) * changed.ndim] = changed[(0,) * changed.ndim] * (1 + 1e-6) + 1e-9
        return changed

    report = md.check_gradients(spoilt(kind, name, change)(*arguments), shape)
    expected = "dA[0]" if name == "A" else f"d{name}[1]"
    assert {row.gradient for row in report.wrong} == {expected}


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_a_wrong_loss_is_found(loss):
    class Spoilt(type(loss)):
        def terms_backward(self, dlosses, cache):
            return super().terms_backward(dlosses, cache) * (1 + 1e-9)

    values = {field.name: getattr(loss, field.name) for field in fields(loss)}
    report = md.check_gradients(Spoilt(**values), (3,))
    assert {row.gradient for row in report.wrong} == {"dA[L]"}


def test_a_wrong_loss_is_not_blamed_on_layers():
    @dataclass(frozen=True)
    class Spoilt(md.MeanSquaredError):
        def terms_backward(self, dlosses, cache):
            return super().terms_backward(dlosses, cache) * 2.0

    report = md.check_gradients([md.Dense(2)], 3, loss=Spoilt())
    assert [row.place for row in report.wrong] == ["Spoilt"]
    assert report.rows[-1].verdict == FOLLOWS


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_the_shape_must_be_known():
    with pytest.raises(UsageError, match="give the shape of one instance"):
        md.check_gradients(md.Dense(2))
    assert md.check_gradients(md.Network([md.Dense(2)], input_shape=3)).ok
    assert md.check_gradients(md.Dense(2), X=np.ones((2, 3)) * [[1.0], [2.0]]).ok


def test_wrong_arguments():
    with pytest.raises(ShapeError):
        md.check_gradients(md.Dense(2), (3,), X=np.ones((2, 4)))
    with pytest.raises(UsageError, match="as many rows"):
        md.check_gradients(md.Dense(2), (3,), loss="mean_squared_error", X=np.ones((2, 3)), Y=np.ones((3, 2)))
    with pytest.raises(UsageError, match="directions must be an int ≥ 1"):
        md.check_gradients(md.Dense(2), (3,), directions=0)


def test_a_class_is_no_layer_and_no_loss():
    with pytest.raises(UsageError, match=r"got the class ReLU: write ReLU\(\)"):
        md.check_gradients(md.ReLU, 3)
    with pytest.raises(UsageError, match="a loss must be a name or an object"):
        md.check_gradients(md.Huber, 3)


def test_the_seed_decides():
    reports = [md.check_gradients(md.Dense(2), 3, seed=seed) for seed in (1, 1, 2)]
    assert reports[0] == reports[1] != reports[2]


def test_penalties_and_frozen_layers_do_not_matter():
    network = md.Network([replace(md.Dense(3), trainable=False, l2=0.5), md.BatchNorm(trainable=False), md.Dense(2)])
    assert md.check_gradients(network, 4, loss="mean_squared_error").ok
