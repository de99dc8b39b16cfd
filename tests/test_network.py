"""Network: shapes, initial parameters, forward and backward, tapes, prediction in chunks, frozen layers, the errors."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mathdl as md
from mathdl import arrays
from mathdl.errors import DataError, MathdlError, ShapeError, StaleTapeError, UnknownNameError, UsageError
from mathdl.initializers import constant, he_normal
from mathdl.network import feeding_relu
from support import assert_close, check_gradient, host, lies_on, normal
from trainings import Bare, Scale, Unasked, cnn, mlp, plain

NETWORKS = {
    "mlp": (plain, (5,)),
    "cnn": (lambda: md.Network([md.Conv2D(3, 3, stride=2, padding=1), md.Tanh(), md.AveragePool2D(2), md.Flatten(),
                                md.Dense(2)]), (6, 6, 2)),
    "batch norm, dropout": (mlp, (5,)),
    "residual": (cnn, (6, 6, 2)),
    "shortcut at the start": (lambda: md.Network([md.Residual([md.Dense(4), md.Tanh()], shortcut=[md.Dense(4)]),
                                                  md.Dense(2)]), (3,)),
    "own layers": (lambda: md.Network([md.Dense(4), Scale(), Bare(), md.Residual([Scale(), Bare()]), md.Dense(2)]),
                   (3,)),
}  # fmt: skip


# ---- shapes ----------------------------------------------------------------------------------------------------------


def test_shapes_and_widths():
    net = cnn()
    assert net.shapes((6, 6, 2)) == [(6, 6, 2), (6, 6, 4), (6, 6, 4), (6, 6, 4), (3, 3, 4), (36,), (3,), (3,)]
    assert net.L == 7
    net.initialize((6, 6, 2))
    assert net.n == (72, 144, 144, 144, 36, 36, 3, 3)
    assert md.Network([md.Dense(3)], input_shape=4).n == (4, 3)


def test_widths_are_not_known_before_the_shape_is():
    net = plain()
    net.shapes((5,))
    net.plan((5,), 4)
    with pytest.raises(UsageError, match=r"n\[l\] is not known yet"):
        net.n  # noqa: B018
    with pytest.raises(UsageError, match="initialize: the shape of one instance is not known"):
        net.initialize()


def test_a_shape_that_is_refused_is_not_kept():
    net = plain()
    with pytest.raises(ShapeError):
        net.initialize((4, 4))
    with pytest.raises(UsageError, match="not known yet"):
        net.n  # noqa: B018


def test_a_shape_that_was_declared_stays():
    net = md.Network([md.Dense(2)], input_shape=(4,))
    assert net.initialize()["W[1]"].shape == (4, 2)
    with pytest.raises(ShapeError, match=r"made for input_shape=\(4,\), got \(5,\)"):
        net.initialize((5,))


@pytest.mark.parametrize(
    ("layers", "input", "place"),
    [
        ([md.Dense(4), md.ReLU(), md.Conv2D(2, 3)], (5,), r"in layer l = 3, Conv2D\(channels=2"),
        ([md.Flatten(), md.Residual([md.Dense(3), md.Reshape((2,))])], (2, 2), r"in layer l = 2\.2, Reshape"),
        ([md.Residual([md.Dense(3)], shortcut=[md.ReLU(), md.Conv1D(1, 1)])], (4,), r"in layer l = 1\.3, Conv1D"),
        ([md.Dense(4), md.Residual([md.Dense(3)])], (5,), r"in layer l = 2, Residual"),
    ],
)
@pytest.mark.parametrize("of", ["shapes", "initialize", "plan", "parameter_shapes"])
def test_errors_name_the_layer(layers, input, place, of):
    net = md.Network(layers)
    with pytest.raises(ShapeError) as caught:
        net.plan(input, 4) if of == "plan" else getattr(net, of)(input)
    assert len(caught.value.__notes__) == 1
    caught.match(place)


def test_input_shapes_may_come_from_numpy():
    net = md.Network([md.Dense(2)], input_shape=np.int64(3))
    assert [type(size) for size in net.input_shape] == [int]
    assert net.shapes(np.array([3])) == net.shapes((3,)) == [(3,), (2,)]


@pytest.mark.parametrize("shape", [(), 0, (3, 0), (2.0,), (True,), "3", (-1,)])
def test_input_shapes_are_positive_ints(shape):
    with pytest.raises(ShapeError, match="input_shape: expected ints ≥ 1"):
        plain().shapes(shape)


# ---- layers ----------------------------------------------------------------------------------------------------------


class Half(md.Layer):
    def forward(self, params, A, context):
        return A, None


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([md.Dense(3), md.ReLU], r"layer l = 2: expected a layer, got the class ReLU: write ReLU\(\)"),
        ([md.Dense(3), "ReLU"], "layer l = 2: expected a layer, got 'ReLU', which has no .*forward.*inherit md.Layer"),
        ([Half()], "layer l = 1: expected a layer, got .*, which has no backward: define it"),
        ([], "expected at least one"),
        (md.Dense(3), r"Network: expected a list of layers, got Dense\(width=3"),
        ([md.ReLU(), md.Dense(3, l1=-0.1)], "layer l = 2: l1 must be a finite number ≥ 0, got -0.1"),
        ([md.Conv2D(3, 3, l2=inf)], "layer l = 1: l2 must be a finite number ≥ 0, got inf"),
        ([md.Conv2D(3, 3, bias="no")], "layer l = 1: bias must be True or False, got 'no'"),
        ([md.BatchNorm(trainable=0)], "layer l = 1: trainable must be True or False, got 0"),
    ],
)
def test_what_is_no_list_of_layers(layers, message):
    with pytest.raises(UsageError, match=message):
        md.Network(layers)


def test_a_layer_that_lacks_a_member_is_told_which():
    class Almost(Bare):
        draws = property()

    with pytest.raises(UsageError, match=r"which has no draws: inherit md.Layer"):
        md.Network([Almost()])


def test_paths():
    net = cnn()
    assert [net.path(l) for l in (1, "3", "3.1", (3, 5), -1)] == [(1,), (3,), (3, 1), (3, 5), (7,)]
    for wrong in (0, 8, "3.6", "three", -8, "3.", 2.5):
        with pytest.raises(UsageError, match="no layer"):
            net.path(wrong)


def test_repr_reads_like_the_call():
    assert repr(md.Network([md.ReLU(), md.Dropout(0.5)])) == "Network([ReLU(), Dropout(rate=0.5)])"


# ---- initial parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", [mlp, cnn])
def test_the_same_bits_on_every_backend(backend, build, dtype):
    shape = (5,) if build is mlp else (6, 6, 2)
    params = build().initialize(shape, seed=3, device=backend.name, dtype=dtype)
    here = build().initialize(shape, seed=3, dtype=dtype)
    assert host(params.vector).tobytes() == here.vector.tobytes()
    assert host(params.state.vector).tobytes() == here.state.vector.tobytes()
    assert params.vector.dtype == getattr(backend.namespace, dtype)
    assert lies_on(params.vector, backend)


def test_float32_is_float64_rounded_once():
    twice = plain().initialize((5,), dtype="float64")
    np.testing.assert_array_equal(plain().initialize((5,)).vector, twice.vector.astype("float32"))


class Double(md.Layer):
    """Two weights of one shape: A W + A Wh."""

    def shapes(self, input):
        return input, {"W": 2 * input, "Wh": 2 * input}

    def forward(self, params, A, context):
        return A @ params["W"] + A @ params["Wh"], (A, params["W"] + params["Wh"])

    def backward(self, dA, cache, into, input_gradient=True):
        A, W = cache
        return dA @ W.T, {"W": A.T @ dA, "Wh": A.T @ dA}


def test_weights_know_their_place_and_nothing_else():
    one = md.Network([md.Dense(4), md.ReLU(), md.Dense(4), md.Tanh()]).initialize((4,), seed=1)
    more = md.Network([md.Dense(4), md.ReLU(), md.Dense(4), md.Tanh(), md.Dense(9)]).initialize((4,), seed=1)
    for name in one:
        np.testing.assert_array_equal(one[name], more[name])
    assert not np.array_equal(one["W[1]"], one["W[3]"])
    assert not np.array_equal(one["W[1]"], md.Network([md.Dense(4), md.ReLU()]).initialize((4,), seed=2)["W[1]"])
    other = md.Network([Double()]).initialize((4,), seed=1)
    assert not np.array_equal(other["W[1]"], other["Wh[1]"])
    inner = md.Network([md.ReLU(), md.Residual([md.Dense(4)], shortcut=[md.Dense(4)])]).initialize((4,), seed=1)
    assert not np.array_equal(inner["W[2.1]"], inner["W[2.2]"])


def test_weights_before_biases_and_the_starts():
    params = cnn().initialize((6, 6, 2))
    assert list(params) == [
        "W[1]",
        "W[3.1]",
        "W[3.5]",
        "W[6]",
        "b[1]",
        "b[3.1]",
        "gamma[3.2]",
        "beta[3.2]",
        "b[3.5]",
        "b[6]",
    ]
    assert list(params.state) == ["mean[3.2]", "variance[3.2]"]
    assert {name for name in params if not params[name].any()} == {"b[1]", "b[3.1]", "beta[3.2]", "b[3.5]", "b[6]"}
    assert params["gamma[3.2]"].tolist() == params.state["variance[3.2]"].tolist() == [1.0] * 4


HE, GLOROT = np.sqrt(2 / 400), np.sqrt(6 / 800) / np.sqrt(3)
D = md.Dense(400)


@pytest.mark.parametrize(
    ("layers", "deviations"),
    [
        ([D, md.ReLU()], {"W[1]": HE}),
        ([D, md.Tanh(), D], {"W[1]": GLOROT, "W[3]": GLOROT}),
        ([D, md.BatchNorm(), md.ReLU(), D], {"W[1]": HE, "W[4]": GLOROT}),
        ([D, md.Dropout(0.5), md.LayerNorm(), md.GELU()], {"W[1]": HE}),
        ([D, D, md.SiLU()], {"W[1]": GLOROT, "W[2]": HE}),
        ([md.Residual([D, md.ReLU(), D]), md.ReLU()], {"W[1.1]": HE, "W[1.3]": HE}),
        ([md.Residual([D], shortcut=[D]), md.ELU()], {"W[1.1]": HE, "W[1.2]": HE}),
        ([md.Residual([D], shortcut=[md.ReLU(), D])], {"W[1.1]": GLOROT, "W[1.3]": GLOROT}),
        ([D, md.Residual([md.ReLU(), D])], {"W[1]": HE, "W[2.2]": GLOROT}),
        ([D, md.Residual([md.Tanh()]), md.ReLU()], {"W[1]": HE}),
        ([md.Dense(400, initializer=constant(2.0)), md.ReLU()], {"W[1]": 0.0}),
    ],
)
def test_he_before_relu_and_glorot_otherwise(layers, deviations):
    params = md.Network(layers).initialize((400,))
    found = {name: float(np.std(params[name])) for name in params if name.startswith("W")}
    assert found == pytest.approx(deviations, rel=0.02)


def test_a_perceptron_holds_its_activation():
    def waiting(activation):
        net = md.Network([md.Perceptron(activation), md.ReLU()])
        return feeding_relu(net.chain, {(1,)})[0]

    assert waiting(md.ReLU()) == {(1,)}
    assert waiting(md.Sigmoid()) == set()


def test_fans_of_a_layer_of_ones_own():
    params = md.Network([Scale(), Bare()]).initialize((600,))
    assert float(np.std(params["Ws[1]"])) == pytest.approx(np.sqrt(2 / 1200), rel=0.1)
    assert params["b[2]"].tolist() == [0.5] * 600


class Number(md.Layer):
    """A number that is added: a parameter without axes, and no initializer."""

    def shapes(self, input):
        return input, {"b": (), "W": ()}

    def forward(self, params, A, context):
        return A * params["W"] + params["b"], A

    def backward(self, dA, cache, into, input_gradient=True):
        xp = arrays.namespace(dA)
        return dA, {"b": xp.sum(dA), "W": xp.sum(dA * cache)}


def test_an_initializer_may_be_a_name():
    named, made = (md.Network([md.Dense(3, initializer=how)]).initialize(4) for how in ("he_normal", he_normal()))
    np.testing.assert_array_equal(named["W[1]"], made["W[1]"])
    with pytest.raises(UnknownNameError, match=r"unknown initializer 'he_norml'\. Did you mean 'he_normal'") as caught:
        md.Network([md.ReLU(), md.Residual([md.Dense(4, initializer="he_norml")])]).initialize(4)
    assert "in layer l = 2.1, Dense(" in caught.value.__notes__[0]


def test_parameters_without_axes():
    params = md.Network([Number()]).initialize((4,))
    assert (params["b[1]"].shape, float(params["b[1]"])) == ((), 0.0)
    assert float(params["W[1]"]) != 0.0


def test_unknown_dtype_and_device():
    with pytest.raises(UnknownNameError, match=r"unknown dtype 'flot32'. Did you mean 'float32'"):
        plain().initialize((4,), dtype="flot32")
    with pytest.raises(UnknownNameError, match="unknown device 'gpu'"):
        plain().initialize((4,), device="gpu")


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "0"])
def test_seeds(seed):
    with pytest.raises(UsageError, match="seed must be an int"):
        plain().initialize((4,), seed=seed)


# ---- parameters ------------------------------------------------------------------------------------------------------


def test_assign(backend):
    params = mlp().initialize((5,), device=backend.name)
    W, mean = normal(5, 8), normal(8)
    params.assign({"W[1]": W, "mean[2]": mean.tolist()})
    np.testing.assert_array_equal(host(params["W[1]"]), W.astype("float32"))
    np.testing.assert_array_equal(host(params.state["mean[2]"]), mean.astype("float32"))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"W[2]": np.zeros(3)}, UnknownNameError, r"unknown parameter 'W\[2\]'"),
        ({"b[1]": np.zeros((8, 1))}, ShapeError, r"b\[1\]: expected shape \(8,\), got \(8, 1\)"),
        ({"b[1]": ["a"] * 8}, DataError, "expected numbers, got a list of"),
    ],
)
def test_assign_all_or_nothing(values, error, message):
    params = mlp().initialize((5,))
    before = params.copy()
    with pytest.raises(error, match=message):
        params.assign({"W[1]": np.ones((5, 8)), **values})
    np.testing.assert_array_equal(params.vector, before.vector)


def test_copies_share_nothing(backend):
    params = mlp().initialize((5,), device=backend.name)
    twin = params.copy()
    np.testing.assert_array_equal(host(twin.vector), host(params.vector))
    assert (list(twin), list(twin.state), twin.input_shape) == (list(params), list(params.state), (5,))
    twin["W[1]"][...] = 7.0
    twin.state["mean[2]"][...] = 7.0
    assert not (host(params.vector) == 7.0).any()
    assert not (host(params.state.vector) == 7.0).any()


# ---- forward and backward --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_of_a_whole_network(backend, name, training):
    build, shape = NETWORKS[name]
    net, X = build(), normal(4, *shape, seed=2)
    params = net.initialize(shape, seed=1, device=backend.name, dtype="float64")
    params.assign({key: host(params[key]) + 0.1 * normal(*params.shapes[key], seed=5) for key in params})
    if params.state:
        params.assign({key: 0.5 + normal(*params.state.shapes[key], seed=6) ** 2 for key in params.state})
    options = {"training": training, "seed": 7, "epoch": 2, "m": 3}
    A, tape = net.forward(params, X, **options)
    R = normal(*A.shape, seed=3)
    dX, grads = net.backward(R, tape)
    assert list(grads) == list(params)
    assert isinstance(grads, md.Parameters)
    assert net.backward(R, tape, input_gradient=False)[0] is None

    def f(inputs):
        other = params.copy()
        other.assign({key: value for key, value in inputs.items() if key != "X"})
        return float(np.sum(R * host(net.forward(other, inputs["X"], **options)[0])))

    values = {key: host(params[key]) for key in params}
    check_gradient(f, {**values, "X": X}, {**{key: host(grads[key]) for key in grads}, "X": host(dX)}, directions=1)
    for key, value in net.backward(R, tape, input_gradient=False)[1].items():
        np.testing.assert_array_equal(host(value), host(grads[key]))


def test_nothing_below_the_first_parameters_is_asked_for():
    net = md.Network([Unasked(), md.Dense(3)])
    _, tape = net.forward(net.initialize((4,)), normal(5, 4))
    dX, grads = net.backward(normal(5, 3), tape, input_gradient=False)
    assert dX is None
    assert grads["W[2]"].any()


def test_forward_and_backward_change_nothing_that_is_the_users(backend):
    net = md.Network([md.ReLU(), md.Dense(3), md.Tanh()])
    params = net.initialize((4,), device=backend.name)
    X, dA = backend.put(normal(5, 4), "float32"), backend.put(normal(5, 3), "float32")
    before = host(X).copy(), host(dA).copy(), host(params.vector).copy()
    _, tape = net.forward(params, X, training=True)
    net.backward(dA, tape)
    for old, new in zip(before, (X, dA, params.vector), strict=True):
        np.testing.assert_array_equal(old, host(new))


def test_dropout_is_addressed_by_seed_epoch_and_minibatch(backend):
    net = md.Network([md.Dropout(0.5)])
    params = net.initialize((64,), device=backend.name)
    X = np.ones((3, 64))

    def mask(**address):
        return host(net.forward(params, X, training=True, **address)[0]).tobytes()

    assert mask(seed=1, epoch=2, m=3) == mask(seed=1, epoch=2, m=3)
    assert len({mask(), mask(seed=1), mask(epoch=1), mask(m=1)}) == 4
    here = md.Network([md.Dropout(0.5)])
    assert mask(m=1) == here.forward(here.initialize((64,)), X, training=True, m=1)[0].tobytes()


def test_lists_and_integers_are_numbers():
    net = md.Network([md.Dense(2)])
    params = net.initialize((2,), dtype="float64")
    A, tape = net.forward(params, [[1, 2], [3, 4]])
    assert_close(A, np.array([[1.0, 2.0], [3.0, 4.0]]) @ params["W[1]"])
    dX, _ = net.backward([[1, 0], [0, 1]], tape)
    assert_close(dX, params["W[1]"].T)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((3, 4)), ShapeError, r"X \(B, 5\) expected · got X \(3, 4\)"),
        (np.zeros(5), ShapeError, r"got X \(5,\)"),
        (3.0, ShapeError, r"got X \(\)"),
        ([[1.0], [1.0, 2.0]], DataError, "got a list that cannot be made an array"),
        ([["a"] * 5], DataError, "expected numbers, got a list of <U1"),
        ([[None] * 5], DataError, "expected numbers, got a list of object"),
    ],
)
@pytest.mark.parametrize("of", ["forward", "predict"])
def test_inputs_that_do_not_fit(X, error, message, of):
    net = plain()
    params = net.initialize((5,))
    with pytest.raises(error, match=message):
        getattr(net, of)(params, X)


def test_dA_must_have_the_shape_of_the_output():
    net = plain()
    _, tape = net.forward(net.initialize((5,)), normal(4, 5))
    with pytest.raises(ShapeError, match=r"dA has the shape of A\[L\] · expected \(4, 3\) · got \(1, 3\)"):
        net.backward(normal(1, 3), tape)


# ---- tapes -----------------------------------------------------------------------------------------------------------


def train(net, params):
    del net
    trainer = md.Trainer(plain())
    trainer.prepare(normal(6, 5), [0, 1, 2, 0, 1, 2])
    trainer._model.params = params
    trainer.fit(normal(6, 5), [0, 1, 2, 0, 1, 2])


CHANGES = {
    "assign": lambda net, params: params.assign({"b[3]": [1.0, 0.0, 0.0]}),
    "one number": lambda net, params: params["W[1]"].__setitem__((0, 0), 5.0),
    "the vector": lambda net, params: params.vector.__imul__(1.5),
    "columns swapped": lambda net, params: params["W[1]"].__setitem__(..., host(params["W[1]"])[:, ::-1].copy()),
    "a sign": lambda net, params: params["W[1]"].__imul__(-1.0),
    "training": train,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stale_tape_is_refused(change):
    net = plain()
    params = net.initialize((5,))
    _, tape = net.forward(params, normal(4, 5))
    net.backward(normal(4, 3), tape)
    net.backward(normal(4, 3), tape)
    CHANGES[change](net, params)
    with pytest.raises(StaleTapeError, match=r"call net\.forward again"):
        net.backward(normal(4, 3), tape)


def test_a_tape_of_nan_is_not_stale():
    net = plain()
    params = net.initialize((5,))
    params["W[1]"][0, 0] = np.nan
    _, tape = net.forward(params, normal(4, 5))
    net.backward(normal(4, 3), tape)


# ---- prediction ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("build", [mlp, cnn])
def test_chunks_do_not_matter(backend, build, batch_size):
    net, shape = build(), (5,) if build is mlp else (6, 6, 2)
    params = net.initialize(shape, device=backend.name, dtype="float64")
    X = normal(7, *shape)
    assert_close(net.predict(params, X, batch_size), host(net.forward(params, X)[0]))


def test_predictions_lie_where_the_input_lies(backend):
    net = plain()
    for place in ("cpu", backend.name):
        params = net.initialize((5,), device=place)
        assert type(net.predict(params, normal(4, 5).tolist())) is np.ndarray
        assert type(net.predict(params, normal(4, 5))) is np.ndarray
        assert lies_on(net.predict(params, backend.put(normal(4, 5)), 3), backend)


def test_no_instances_have_no_predictions():
    net = plain()
    assert net.predict(net.initialize((5,)), np.zeros((0, 5))).shape == (0, 3)


@pytest.mark.parametrize("batch_size", [0, -1, 2.0])
def test_batch_size_of_predict(batch_size):
    net = plain()
    with pytest.raises(UsageError, match="batch_size must be an int ≥ 1"):
        net.predict(net.initialize((5,)), normal(3, 5), batch_size)


# ---- frozen layers ---------------------------------------------------------------------------------------------------


def test_freeze_and_unfreeze():
    net = md.Network([md.Dense(3, trainable=False), md.Residual([md.Dense(3), md.BatchNorm()], shortcut=[md.Dense(3)])])
    assert net.frozen == {(1,)}
    net.freeze(2, "2.2")
    assert all(map(net.is_frozen, [(1,), (2,), (2, 1), (2, 2), (2, 3)]))
    net.unfreeze(1, 2)
    assert [path for path in [(1,), (2,), (2, 1), (2, 2), (2, 3)] if net.is_frozen(path)] == [(2, 2)]
    with pytest.raises(UsageError, match=r"no layer '2\.4'"):
        net.freeze("2.4")


def test_a_frozen_batch_norm_runs_as_when_predicting(backend):
    net = md.Network([md.BatchNorm(), md.Dense(2)])
    params = net.initialize((3,), device=backend.name, dtype="float64")
    X = 5.0 + normal(6, 3)
    still = host(net.forward(params, X, training=False)[0])
    assert not np.allclose(host(net.forward(params, X, training=True)[0]), still)
    net.freeze(1)
    np.testing.assert_array_equal(host(net.forward(params, X, training=True)[0]), still)


@given(widths=st.lists(st.integers(1, 6), min_size=1, max_size=4), d=st.integers(1, 5))
def test_any_chain_of_dense_layers(widths, d):
    net = md.Network([md.Dense(width) for width in widths], input_shape=(d,))
    assert net.n == (d, *widths)
    params = net.initialize(dtype="float64")
    P = normal(3, d)
    for l in range(1, len(widths) + 1):
        P = P @ params[f"W[{l}]"] + params[f"b[{l}]"]
    assert_close(net.predict(params, normal(3, d)), P)


def test_every_error_of_a_network_is_one_of_mathdl():
    for act in (lambda: md.Network([1]), lambda: plain().initialize("x"), lambda: plain().path("x")):
        with pytest.raises(MathdlError):
            act()
