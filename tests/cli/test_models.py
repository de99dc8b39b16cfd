"""Built-in models and model files: what they mean, and what they may not say."""

from __future__ import annotations

import pytest

from mathdl import layers as md
from mathdl.cli.models import BUILT_IN, build
from mathdl.errors import FileFormatError, UnknownNameError, UsageError
from mathdl.initializers import he_uniform
from mathdl.network import Network

DENSE = '[[layers]]\nkind = "Dense"\nwidth = 8\n'


@pytest.fixture
def model(tmp_path):
    """Write a model file and give its name."""

    def write(text):
        path = tmp_path / "model.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.mark.parametrize("input_shape", [(64,), (8, 8, 1), (28, 28, 3)])
def test_mlp(input_shape):
    assert Network(build("mlp", input_shape, 10)).shapes(input_shape)[-1] == (10,)


@pytest.mark.parametrize("input_shape", [(8, 8, 1), (28, 28, 3)])
def test_cnn(input_shape):
    assert Network(build("cnn", input_shape, 10)).shapes(input_shape)[-1] == (10,)


def test_cnn_needs_images():
    with pytest.raises(
        UsageError, match="cnn takes images p × q × k, and an instance of the data is 64; use --model mlp"
    ):
        build("cnn", (64,), 10)


@pytest.mark.parametrize(
    ("task", "last"),
    [
        ("categorical", [md.Dense(3), md.Softmax()]),
        ("binary", [md.Dense(3), md.Sigmoid()]),
        ("regression", [md.Dense(3)]),
        ("counts", [md.Dense(3), md.Softplus()]),
    ],
)
@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_output_layers_fit_the_task(name, task, last):
    assert build(name, (8, 8, 1), 3, task)[-len(last) :] == last


def test_a_complete_file(model):
    assert build(model(DENSE), (4,), None) == [md.Dense(8)]


def test_a_file_that_leaves_its_output_layer_open(model):
    text = 'outputs = "auto"\n' + DENSE
    assert build(model(text), (4,), 3) == [md.Dense(8), md.Dense(3), md.Softmax()]
    with pytest.raises(UsageError, match="--outputs"):
        build(model(text), (4,), None)


def test_everything_a_file_can_say(model):
    text = """
    [[layers]]
    kind = "Conv2D"
    channels = 4
    kernel = [3, 3]
    padding = [[0, 1], [1, 0]]
    initializer = {kind = "he_uniform"}

    [[layers]]
    kind = "Residual"
    [[layers.layers]]
    kind = "Dense"
    width = 4
    [[layers.layers]]
    kind = "LeakyReLU"
    [[layers.shortcut]]
    kind = "Dense"
    width = 4
    """
    assert build(model(text), (8, 8, 1), None) == [
        md.Conv2D(4, (3, 3), padding=((0, 1), (1, 0)), initializer=he_uniform()),
        md.Residual([md.Dense(4), md.LeakyReLU()], shortcut=[md.Dense(4)]),
    ]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[[layers]\n", FileFormatError, "is not a TOML file"),
        (b"\xff\xfe", FileFormatError, "is not a TOML file"),
        ("", FileFormatError, r"at least one \[\[layers\]\]"),
        ("layers = 3", FileFormatError, "expected a list of layers, found 3"),
        ('layer = "x"\n' + DENSE, UnknownNameError, "unknown key 'layer'. Did you mean 'layers'?"),
        ("outputs = 10\n" + DENSE, FileFormatError, 'outputs can only be "auto", found 10'),
        (DENSE + '[[layers]]\nkind = "Sofmax"', UnknownNameError, "Did you mean 'Softmax'?"),
        (DENSE + "widht = 3", UnknownNameError, "unknown argument of Dense 'widht'. Did you mean 'width'?"),
    ],
)
def test_what_a_file_may_not_say(model, text, error, message):
    with pytest.raises(error, match=message) as caught:
        build(model(text), (4,), 3)
    assert "model.toml" in str(caught.value) + " ".join(getattr(caught.value, "__notes__", []))


def test_errors_in_a_file_name_the_layer(model):
    with pytest.raises(UnknownNameError, match="in layer l = 2\nin the model file"):
        build(model(DENSE + '[[layers]]\nkind = "Sofmax"'), (4,), 3)


def test_unknown_names():
    with pytest.raises(
        UnknownNameError, match=r"unknown model 'mpl'\. Did you mean 'mlp'.*\nor the name of a TOML file"
    ):
        build("mpl", (4,), 3)
    with pytest.raises(FileFormatError, match=r"no such model file: nowhere\.toml"):
        build("nowhere.toml", (4,), 3)
    with pytest.raises(UnknownNameError, match=r"unknown task 'binry'\. Did you mean 'binary'\?"):
        build("mlp", (4,), 3, "binry")
