"""Model files: what was saved is what is loaded, bit for bit; what is refused; a write that fails leaves no trace."""

from __future__ import annotations

import json
import os
import pickle
import stat
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import mathdl as md
from mathdl.architecture import KINDS
from mathdl.data import Standardize
from mathdl.errors import FileFormatError, MathdlError, UnknownNameError, UsageError
from mathdl.training import files
from mathdl.training.files import read_tensors, write_tensors, write_whole
from support import host, normal
from trainings import Scale, cnn, images, mlp, numbers, plain, vectors

X, Y = vectors()

EVERYTHING = md.Network(
    [
        md.Conv2D(4, 3, padding=((1, 0), (0, 1)), initializer=md.initializers.normal(0.1), l2=0.1), md.LeakyReLU(0.2),
        md.Residual([md.Conv2D(4, 3, padding="same", groups=2), md.BatchNorm(0.8), md.ELU(0.5)], [md.Conv2D(4, 1)]),
        md.LayerNorm(), md.MaxPool2D(2), md.AveragePool2D(2, 1, "same", count_padding=True), md.GELU(), md.Softplus(),
        md.Reshape((4, 4)), md.Conv1D(4, 3), md.SiLU(), md.MaxPool1D(2), md.AveragePool1D(1), md.Flatten(),
        md.Dropout(0.3), md.Dense(5, bias=False, trainable=False), md.Tanh(), md.Dense(3), md.Softmax(),
    ]
)  # fmt: skip


def model(net=None, shape=(6,), loss=None, **fields):
    net = plain() if net is None else net
    return md.Model(
        net, net.initialize(shape, seed=4), md.CategoricalCrossEntropy() if loss is None else loss, **fields
    )


def saved(tmp_path, **options):
    path = tmp_path / "model.safetensors"
    model(**options).save(path)
    return path


def forge(path, **metadata):
    """The same file with another header; None takes an entry out."""
    tensors, found = read_tensors(path)
    write_tensors(path, tensors, {k: v for k, v in {**found, **metadata}.items() if v is not None})


# ---- round trips -----------------------------------------------------------------------------------------------------


def test_every_layer_comes_back(tmp_path):
    data = normal(9, 6, 6, 2, dtype="float32")
    ours = model(EVERYTHING, (6, 6, 2), md.CategoricalCrossEntropy(label_smoothing=0.1))
    for name in ours.params.state:
        ours.params.state[name][...] = 0.5 + normal(*ours.params.state.shapes[name], dtype="float32") ** 2
    ours.save(tmp_path / "model.safetensors")
    theirs = md.load(tmp_path / "model.safetensors")
    assert theirs.network.layers == EVERYTHING.layers
    assert (theirs.loss, theirs.params.input_shape, theirs.params.dtype) == (ours.loss, (6, 6, 2), "float32")
    assert theirs.network.n == EVERYTHING.n
    np.testing.assert_array_equal(theirs.predict(data), ours.predict(data))


@pytest.mark.parametrize(("build", "data"), [(mlp, vectors()), (cnn, images())])
def test_a_trained_model_comes_back(tmp_path, backend, build, data):
    trainer = md.Trainer(build(), device=backend.name, standardize=True, batch_size=16)
    trainer.fit(*data, 2)
    trainer.model.save(tmp_path / "m")
    theirs = md.load(tmp_path / "m", device=backend.name)
    np.testing.assert_array_equal(theirs.predict(data[0]), trainer.predict(data[0]))
    assert theirs.evaluate(*data) == trainer.evaluate(*data)
    assert theirs.params.device == backend


def test_regression_comes_back(tmp_path):
    A, y = numbers()
    net = md.Network([md.Dense(1)])
    trainer = md.Trainer(
        net, md.Huber(2.0), device="cpu", standardize=True, standardize_targets=True, dtype="float64", batch_size=16
    )
    trainer.fit(A, y, 2)
    trainer.model.save(tmp_path / "m")
    theirs = md.load(tmp_path / "m")
    np.testing.assert_array_equal(theirs.predict(A), trainer.predict(A))
    assert theirs.predict(A).shape == y.shape
    assert (theirs.loss, theirs.params.dtype) == (md.Huber(2.0), "float64")
    assert theirs.evaluate(A, y) == trainer.evaluate(A, y)


def test_what_else_the_file_tells(tmp_path):
    about = {"columns": ["a", "b"], "best": 0.5, "nested": {"none": None}}
    path = saved(
        tmp_path, classes=("cat", "dog", "ö"), about=about, inputs=Standardize.learn(normal(9, 6)), squeeze=True
    )
    found = md.load(path)
    assert (found.classes, found.about, found.squeeze) == (("cat", "dog", "ö"), about, True)
    assert found.inputs == Standardize.learn(normal(9, 6))
    assert found.targets is None
    again = tmp_path / "again"
    found.save(again)
    for before, after in zip(read_tensors(path), read_tensors(again), strict=True):
        assert {key: np.asarray(value).tobytes() for key, value in before.items()} == {
            key: np.asarray(value).tobytes() for key, value in after.items()
        }


def test_frozen_layers_are_frozen_again(tmp_path):
    net = md.Network([md.Dense(4, trainable=False), md.Residual([md.Dense(4)]), md.Dense(3), md.Softmax()])
    net.unfreeze(1)
    net.freeze("2.1")
    assert md.load(saved(tmp_path, net=net)).network.frozen == {(2, 1)}


def test_a_parameter_without_axes(tmp_path):
    @dataclass(frozen=True)
    class Shift(md.Layer):
        def shapes(self, input):
            return input, {"b": ()}

        def forward(self, params, A, context):
            return A + params["b"], None

        def backward(self, dA, cache, into, input_gradient=True):
            return dA, {"b": np.sum(dA)}

    path = saved(tmp_path, net=md.Network([Shift(), md.Softmax()]))
    assert md.load(path, layers=[Shift]).params["b[1]"].shape == ()


def test_the_file_is_safetensors_with_arrays_by_key(tmp_path):
    ours = model(mlp())
    ours.save(tmp_path / "m")
    found = load_file(tmp_path / "m")
    assert set(found) == {*ours.params, *ours.params.state}
    np.testing.assert_array_equal(found["W[1]"], ours.params["W[1]"])
    _, metadata = read_tensors(tmp_path / "m")
    assert metadata["format_version"] == "1"
    assert [layer["kind"] for layer in json.loads(metadata["architecture"])] == [type(l).__name__ for l in mlp().layers]


def test_nothing_is_pickled(tmp_path, monkeypatch):
    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, lambda *a, **k: pytest.fail("pickled"))
    path = saved(tmp_path)
    md.load(path)
    assert b"\x80\x04" not in path.read_bytes()[: 8 + int.from_bytes(path.read_bytes()[:8], "little")]


# ---- layers of one's own ---------------------------------------------------------------------------------------------


def test_layers_of_ones_own(tmp_path):
    net = md.Network([md.Dense(4), md.Residual([Scale()]), md.Dense(3), md.Softmax()])
    path = saved(tmp_path, net=net)
    theirs = md.load(path, layers=[Scale])
    np.testing.assert_array_equal(theirs.predict(X), model(net).predict(X))
    with pytest.raises(UnknownNameError, match=r"unknown layer 'Scale'") as caught:
        md.load(path)
    assert caught.value.__notes__[0] == "in layer l = 2.1"
    assert "md.load(path, layers=[MyLayer])" in caught.value.__notes__[1]


def test_a_layer_that_cannot_be_written_is_named(tmp_path):
    class Plain(md.Layer):
        def forward(self, params, A, context):
            return A, None

        def backward(self, dA, cache, into, input_gradient=True):
            return dA, {}

    with pytest.raises(UsageError, match="Plain must be a dataclass"):
        saved(tmp_path, net=md.Network([Plain(), md.Softmax()]))
    assert os.listdir(tmp_path) == []


# ---- what is refused -------------------------------------------------------------------------------------------------


def truncated(path):
    path.write_bytes(path.read_bytes()[:-5])


def halved(path):
    path.write_bytes(path.read_bytes()[:40])


def other(path):
    save_file({"x": np.zeros(3)}, path)


def zipped(path):
    with path.open("wb") as file:
        np.savez(file, W=np.zeros(3))


def directory(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "truncated": (truncated, "not a safetensors file"),
    "cut in its header": (halved, "not a safetensors file"),
    "empty": (lambda p: p.write_bytes(b""), "not a safetensors file"),
    "text": (lambda p: p.write_text("W = 3\n"), "not a safetensors file"),
    "zip": (zipped, "not a safetensors file"),
    "another safetensors": (other, "but not a model of mathdl"),
    "no file": (lambda p: p.unlink(), "no such file"),
    "a directory": (directory, "no such file"),
    "the future": (lambda p: forge(p, format_version="2"), "format version 2, this mathdl reads 1: update mathdl"),
    "no version": (lambda p: forge(p, format_version=None), "not a model of mathdl"),
    "no architecture": (lambda p: forge(p, architecture=None), "not a model of mathdl"),
    "no JSON": (lambda p: forge(p, model="{"), "the header is damaged"),
    "JSON of another kind": (lambda p: forge(p, model="[1]"), "the header is damaged"),
    "no loss": (lambda p: forge(p, model="{}"), "the header is damaged"),
    "architecture of another kind": (lambda p: forge(p, architecture="3"), "expected a list of layers"),
    "unknown layer": (
        lambda p: forge(p, architecture='[{"kind": "Dens"}]'),
        "unknown layer 'Dens'. Did you mean 'Dense'",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_files_that_are_refused(tmp_path, name):
    damage, message = DAMAGE[name]
    path = saved(tmp_path)
    damage(path)
    with pytest.raises(MathdlError, match=message) as caught:
        md.load(path)
    if name != "unknown layer":
        assert isinstance(caught.value, FileFormatError)
    if name != "architecture of another kind" and name != "unknown layer":
        caught.match("model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W[1]": None}, r"W\[1\]: expected \(6, 8\), found None"),
        ({"W[1]": np.zeros((6, 9), "float32")}, r"W\[1\]: expected \(6, 8\), found \(6, 9\)"),
        ({"W[9]": np.zeros(3, "float32")}, r"W\[9\]: expected None, found \(3,\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, change, message):
    path = saved(tmp_path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, {k: v for k, v in {**tensors, **change}.items() if v is not None}, metadata)
    with pytest.raises(FileFormatError, match=message):
        md.load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"input_shape": "six"}, {"input_shape": [0]}, {"dtype": "int8"}, {"inputs": {"mean": [1]}}, {"frozen": ["9"]},
        {"frozen": 3}, {"loss": {"kind": "eval"}}, {"loss": 3}, {"classes": 3}, {"about": 3},
    ],
)  # fmt: skip
def test_headers_that_are_wrong(tmp_path, change):
    path = saved(tmp_path)
    _, metadata = read_tensors(path)
    forge(path, model=json.dumps({**json.loads(metadata["model"]), **change}))
    with pytest.raises(MathdlError):
        md.load(path)


def test_tensors_of_a_dtype_that_numpy_lacks(tmp_path):
    header = json.dumps({"x": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "m"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(FileFormatError):
        md.load(path)


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, at):
    path = saved(tmp_path)
    old = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(files.os if at == "fsync" else files.Path, at, fail)
    with pytest.raises(OSError, match="disk full"):
        model(mlp()).save(path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["model.safetensors"]
    assert path.read_bytes() == old


def test_an_existing_file_is_replaced(tmp_path):
    path = saved(tmp_path)
    model(mlp()).save(str(path))
    assert md.load(str(path)).network.layers == mlp().layers
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_files_may_be_read_by_others(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "f", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("path", "message"), [("", "is a folder: give the name of a file"), ("no/where", "there is no folder .*no$")]
)
def test_where_no_file_can_be(tmp_path, path, message):
    with pytest.raises(UsageError, match=message):
        model(plain()).save(tmp_path / path)


def test_saving_copies(tmp_path, backend):
    ours = model(plain())
    ours.save(tmp_path / "m")
    theirs = md.load(tmp_path / "m", device=backend.name)
    ours.params.vector[...] = 0.0
    assert host(theirs.params.vector).any()
    theirs.params.vector[...] = 7.0
    assert not (md.load(tmp_path / "m").params.vector == 7.0).any()


def test_kinds_cover_the_network_above():
    inside = {type(layer) for layer in EVERYTHING.layers} | {type(l) for l in EVERYTHING.layers[2].inner.values()}
    left_out = {name for name, kind in KINDS.items() if kind not in inside}
    assert left_out == {
        "GlobalAveragePool1D", "GlobalAveragePool2D", "GlobalMaxPool1D", "GlobalMaxPool2D", "LogSoftmax", "Perceptron",
        "ReLU", "Sigmoid",
    }  # fmt: skip
