"""Model: predictions and figures on any kind of data, preprocessing inside, nothing that depends on how it is cut."""

from __future__ import annotations

import numpy as np
import pytest

import mathdl as md
from mathdl.data import Standardize, as_arrays
from mathdl.data.source import InMemory, Streamed
from mathdl.errors import DataError, ShapeError, UsageError
from mathdl.training import model as model_module
from mathdl.training.model import Rows, r2_from
from support import assert_close, host, lies_on, normal
from trainings import cnn, images, mlp, numbers, plain, vectors

X, Y = vectors()
WEIGHTS = np.linspace(0.0, 2.0, len(X))


def classifier(device="cpu", dtype="float64", build=mlp, shape=(6,), **fields):
    net = build()
    return md.Model(net, net.initialize(shape, device=device, dtype=dtype), md.CategoricalCrossEntropy(), **fields)


def regressor(device="cpu", d=1, **fields):
    net = md.Network([md.Dense(d)])
    params = net.initialize((5,), device=device, dtype="float64")
    return md.Model(net, params, md.MeanSquaredError(), **fields)


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_chunks_do_not_matter(backend, batch_size):
    model = classifier(backend.name)
    expected = host(model.network.forward(model.params, X)[0])
    assert_close(model.predict(X, batch_size), expected)
    assert_close(np.sum(model.predict(X, batch_size), axis=1), np.ones(50))


def test_predictions_of_a_cnn(backend):
    data, _ = images()
    model = classifier(backend.name, build=cnn, shape=(6, 6, 2))
    assert_close(model.predict(data, 5), host(model.network.forward(model.params, data)[0]))


@pytest.mark.parametrize("data", ["all", "few"])
def test_figures_do_not_depend_on_the_workers(monkeypatch, backend, data):
    monkeypatch.setattr(model_module, "_MOST_ROWS", 8)
    model = classifier(backend.name, dtype="float32")
    n = 50 if data == "all" else 5
    found = [model.evaluate(X[:n], Y[:n], WEIGHTS[:n], workers=workers) for workers in (1, 2, 3, 8)]
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize("chunk", [7, 1024])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_figures_of_classes(monkeypatch, backend, chunk, weights):
    monkeypatch.setattr(model_module, "_MOST_ROWS", chunk)
    model = classifier(backend.name)
    P = model.predict(X)
    loss = np.average(-np.log(P[np.arange(50), Y]), weights=weights)
    accuracy = md.metrics.accuracy(Y, P.argmax(axis=1), weights)
    assert model.evaluate(X, Y, weights) == pytest.approx({"loss": loss, "accuracy": accuracy})
    assert model.evaluate(X, np.eye(3)[Y], weights) == pytest.approx({"loss": loss, "accuracy": accuracy})


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS[:40]])
def test_figures_of_numbers(monkeypatch, backend, weights, standardized):
    monkeypatch.setattr(model_module, "_MOST_ROWS", 7)
    A, y = numbers()
    model = regressor(backend.name, squeeze=True, targets=Standardize.learn(y[:, None]) if standardized else None)
    P = model.predict(A)
    assert P.shape == y.shape
    deviation = model.targets.deviation[0] if standardized else 1.0
    expected = {
        "loss": np.average((P - y) ** 2, weights=weights) / deviation**2,
        "mae": md.metrics.mean_absolute_error(y, P, weights),
        "rmse": md.metrics.root_mean_squared_error(y, P, weights),
        "r2": md.metrics.r2(y, P, weights),
    }
    found = model.evaluate(A, y, weights)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-6)


def test_r2():
    def of(mse, Y, weights=None):
        return r2_from(mse, Rows(None, Y, np.asarray(Y, dtype=np.float64), weights))

    assert of(0.5, [[0.0], [2.0]]) == 0.5
    assert of(0.0, [[1.0], [1.0]]) == 1.0
    assert of(0.1, [[1.0], [1.0]]) == 0.0
    assert of(0.5, [[0.0], [2.0], [9.0]], np.array([1.0, 1.0, 0.0])) == 0.5
    Y2, P2 = normal(9, 2), normal(9, 2, seed=1)
    expected = 1 - np.sum((Y2 - P2) ** 2) / np.sum((Y2 - Y2.mean(axis=0)) ** 2)
    assert of(np.mean((Y2 - P2) ** 2), Y2) == pytest.approx(expected)


def test_preprocessing_is_inside(backend):
    A, y = numbers()
    inputs, targets = Standardize.learn(10.0 * A + 3.0), Standardize.learn(y[:, None])
    raw = regressor(backend.name)
    model = regressor(backend.name, inputs=inputs, targets=targets)
    assert_close(
        model.predict(10.0 * A + 3.0), targets.invert(raw.predict(inputs.apply(10.0 * A + 3.0, "float64"))), rtol=1e-9
    )


def test_squeeze_takes_a_single_output_only():
    A, y = numbers()
    assert regressor(squeeze=True).predict(A).shape == y.shape
    assert regressor(squeeze=False).predict(A).shape == (40, 1)
    assert regressor(squeeze=True, d=2).predict(A).shape == (40, 2)


def test_answers_lie_where_the_question_lay(backend):
    for device in ("cpu", backend.name):
        model = classifier(device)
        assert type(model.predict(X.tolist())) is np.ndarray
        assert type(model.predict(X)) is np.ndarray
        assert lies_on(model.predict(backend.put(X), 20), backend)


def test_predictions_have_the_models_dtype(backend):
    for dtype in ("float32", "float64"):
        assert classifier(backend.name, dtype).predict(X.astype("int16")).dtype == np.dtype(dtype)


def test_rows_and_sources(tmp_path, backend):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = classifier(backend.name, inputs=Standardize.learn(X))
    found = []
    for A, kind in ((X, InMemory), (mapped, Streamed)):
        rows = model.rows(as_arrays(A, dtype="float64")[0], Y, WEIGHTS, {0: 2.0})
        np.testing.assert_array_equal(rows.weights, WEIGHTS * np.where(Y == 0, 2.0, 1.0))
        source = model.source(rows)
        assert type(source) is kind
        found.append([host(part) for part in source.slice(3, 9)])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert_close(found[0][0], Standardize.learn(X).apply(X[3:9], "float64"))


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: m.predict(np.zeros((3, 5))), ShapeError, r"X \(B, 6\) expected · got X \(3, 5\)"),
        (lambda m: m.predict(np.zeros(6)), DataError, "axis of rows and one of features"),
        (lambda m: m.predict([[np.nan] * 6]), DataError, r"X\[0, 0\] is nan"),
        (lambda m: m.predict(np.zeros((0, 6))), DataError, "X is empty"),
        (lambda m: m.predict(X, batch_size=0), UsageError, "batch_size must be an int ≥ 1"),
        (lambda m: m.evaluate(X, Y[:3]), DataError, "X has 50 · Y has 3"),
        (lambda m: m.evaluate(X, Y, np.zeros(50)), DataError, "the weights sum to 0"),
        (lambda m: m.evaluate(X, Y, np.ones(3)), DataError, "one weight for each of 50 rows"),
        (lambda m: m.evaluate(X, Y + 1), DataError, "expected a label"),
    ],
)
def test_what_is_refused(act, error, message):
    with pytest.raises(error, match=message):
        act(classifier())


def test_a_loss_that_does_not_fit():
    net = md.Network([md.Dense(3)])
    with pytest.raises(UsageError, match="end it in Softmax"):
        md.Model(net, net.initialize((4,)), md.CategoricalCrossEntropy())


def test_a_model_follows_its_parameters():
    model = classifier(build=plain)
    before = model.predict(X)
    model.params["b[3]"][...] = [5.0, 0.0, 0.0]
    assert not np.allclose(model.predict(X), before)
    model.params = plain().initialize((6,), seed=1, dtype="float64")
    assert_close(model.predict(X), plain().predict(model.params, X))
