"""What `--model` takes: a built-in model by name, or a TOML file.

    outputs = "auto"        # optional: the command appends Dense(outputs) and the activation that fits the targets

    [[layers]]
    kind = "Conv2D"
    channels = 32
    kernel = 3
    padding = "same"

    [[layers]]
    kind = "Residual"
    [[layers.layers]]       # what is inside: [2.1]
    kind = "ReLU"

The keys of a layer are the arguments of its constructor. Without `outputs = "auto"` the file holds the whole network.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from mathdl import layers as md
from mathdl.architecture import layers_from_dicts
from mathdl.arrays import Shape
from mathdl.errors import FileFormatError, MathdlError, UsageError, unknown_name
from mathdl.layers.layer import Layer
from mathdl.notation import shape_text

TASKS: Mapping[str, type[Layer] | None] = {
    "categorical": md.Softmax,
    "binary": md.Sigmoid,
    "regression": None,
    "counts": md.Softplus,
}
"""What the targets are (the `kind` of a loss; counts are those of Poisson) → the activation of the output layer."""

LOSSES_OF: Mapping[str, str] = {
    "categorical": "categorical_cross_entropy",
    "binary": "binary_cross_entropy",
    "regression": "mean_squared_error",
    "counts": "poisson",
}
"""What the targets are → the loss, where none is named."""


def mlp(input_shape: Shape) -> list[Layer]:
    """Two hidden layers, with a little dropout."""
    flatten: list[Layer] = [md.Flatten()] if len(input_shape) > 1 else []
    return [*flatten, md.Dense(256), md.ReLU(), md.Dropout(0.2), md.Dense(128), md.ReLU(), md.Dropout(0.2)]


def cnn(input_shape: Shape) -> list[Layer]:
    """Two convolutions, a pooling layer and a hidden layer, on images p × q × k."""
    if len(input_shape) != 3:
        raise UsageError(
            f"the model cnn takes images p × q × k, and an instance of the data is {shape_text(input_shape)}; "
            "use --model mlp"
        )
    convolutions = [md.Conv2D(32, 3, padding="same"), md.ReLU(), md.Conv2D(64, 3, padding="same"), md.ReLU()]
    return [*convolutions, md.MaxPool2D(2), md.Flatten(), md.Dense(128), md.ReLU(), md.Dropout(0.5)]


BUILT_IN: Mapping[str, Callable[[Shape], list[Layer]]] = {"mlp": mlp, "cnn": cnn}
"""The built-in models, without their output layer."""


def build(model: str, input_shape: Shape, outputs: int | None, task: str = "categorical") -> list[Layer]:
    """The layers of a model, output layer included.

    `outputs` (classes, or targets) and `task`, a key of `TASKS`, decide the output layer where the model leaves it
    open; `outputs=None` says that they are not known, and is refused then. Raises `FileFormatError`, `UsageError` and
    `UnknownNameError`, with the place in the file.
    """
    if model in BUILT_IN:
        return BUILT_IN[model](input_shape) + output_layers(model, outputs, task)
    path = Path(model)
    if not path.is_file():
        if path.suffix == ".toml":
            raise FileFormatError(f"no such model file: {model}")
        error = unknown_name("model", model, BUILT_IN)
        error.add_note("or the name of a TOML file that describes one")
        raise error
    layers, is_open = read_model(path)
    return layers + (output_layers(model, outputs, task) if is_open else [])


def output_layers(model: str, outputs: int | None, task: str) -> list[Layer]:
    """Dense(outputs), and the activation that fits the targets."""
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if outputs is None:
        raise UsageError(f"{model} leaves its output layer open: say how many nodes it has, with --outputs")
    activation = TASKS[task]
    return [md.Dense(outputs)] + ([activation()] if activation else [])


def read_model(path: Path) -> tuple[list[Layer], bool]:
    """(the layers of a TOML model file, whether its output layer is left open)."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not a TOML file: {error}") from None
    try:
        for key in content:
            if key not in ("layers", "outputs"):
                raise unknown_name("key", key, ("layers", "outputs"))
        if content.get("outputs", "auto") != "auto":
            raise FileFormatError(f'outputs can only be "auto", found {content["outputs"]!r}')
        if not content.get("layers"):
            raise FileFormatError("a model has at least one [[layers]], found none")
        return layers_from_dicts(content["layers"]), "outputs" in content
    except MathdlError as error:
        error.add_note(f"in the model file {path}")
        raise
