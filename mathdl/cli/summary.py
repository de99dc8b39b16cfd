"""Print the layers of a model: for each l its kind, A^[l] with its shape, n^[l], parameters, multiply-adds, memory.

Figures are for one instance; memory is that of A^[l]. What is inside a Residual is [l.1], [l.2] … and counted in its
line too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from mathdl.architecture import written
from mathdl.arrays import Shape, flatten_tree
from mathdl.cli.arguments import one_of, positive, shape
from mathdl.cli.models import TASKS, build
from mathdl.layers import Residual
from mathdl.layers.chain import Chain, numbered
from mathdl.layers.layer import Layer, size
from mathdl.notation import A_text

NAME = "summary"
HELP = "print the layers of a model: shapes, parameters, multiply-adds, memory"


class Line(NamedTuple):
    """A layer of the summary."""

    path: tuple[int, ...]
    layer: str
    shape: Shape
    parameters: int
    multiply_adds: int

    @property
    def nodes(self) -> int:
        """n[l]."""
        return size(self.shape)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="mlp, cnn, or a TOML file")
    parser.add_argument("--input-shape", required=True, type=shape, help="of one instance, such as 784 or 28,28,1")
    parser.add_argument("--outputs", type=positive, help="nodes of the output layer, where the model leaves it open")
    task = f"what the targets are: {', '.join(TASKS)} (default: categorical)"
    parser.add_argument("--task", type=one_of("task", TASKS), default="categorical", help=task)
    parser.add_argument("--batch-size", type=positive, metavar="B", help="also print the memory of such a minibatch")
    dtype = "float32, float64 (default: float32)"
    parser.add_argument("--dtype", type=one_of("dtype", ("float32", "float64")), default="float32", help=dtype)
    parser.add_argument("--json", action="store_true", help="print the lines as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the summary."""
    from mathdl.network import Network

    layers = build(arguments.model, arguments.input_shape, arguments.outputs, arguments.task)
    Network(layers).shapes(arguments.input_shape)  # an error here names the layer
    found = list(lines(numbered(layers), arguments.input_shape))
    width = 8 if arguments.dtype == "float64" else 4
    if arguments.json:
        print(json.dumps([line._asdict() | {"n": line.nodes, "bytes": width * line.nodes} for line in found]))
    else:
        _print(found, arguments.input_shape, width, arguments.batch_size)
    return 0


def lines(chain: Chain, input: Shape, path: tuple[int, ...] = ()) -> Iterator[Line]:
    """A line for each layer, each before those inside it."""
    for l, layer in chain.items():
        output, parameters = layer.shapes(input)
        here = (*path, l)
        yield Line(here, describe(layer), output, _count(parameters), layer.multiply_adds(input))
        if isinstance(layer, Residual):
            yield from lines(numbered(layer.layers), input, here)
            yield from lines(numbered(layer.shortcut, start=len(layer.layers) + 1), input, here)
        input = output


def describe(layer: Layer) -> str:
    """A layer as one writes it; what is inside a residual layer has lines of its own."""
    return "Residual(…)" if isinstance(layer, Residual) else written(layer)


def _count(parameters: Any) -> int:
    return sum(prod(shape) for shape in flatten_tree(parameters).values())


def _print(found: list[Line], input: Shape, width: int, B: int | None) -> None:
    from mathdl.cli.console import say, table

    outer = [line for line in found if len(line.path) == 1]
    parameters, multiply_adds = sum(line.parameters for line in outer), sum(line.multiply_adds for line in outer)
    activations = width * (size(input) + sum(line.nodes for line in outer))
    rows = [["0", "X", A_text(0, input), str(size(input)), "", "", memory(width * size(input))]]
    rows += [
        [
            ".".join(map(str, line.path)),
            "  " * (len(line.path) - 1) + line.layer,
            A_text(line.path, line.shape),
            f"{line.nodes:,}",
            f"{line.parameters:,}" if line.parameters else "",
            f"{line.multiply_adds:,}" if line.multiply_adds else "",
            memory(width * line.nodes),
        ]
        for line in found
    ]
    total = ["", f"L = {len(outer)}", "", "", f"{parameters:,}", f"{multiply_adds:,}", memory(activations)]
    figures = ("n^[l]", "parameters", "multiply-adds", "memory")
    table(("l", "layer", "A^[l]", *figures), rows, right=figures, total=total)
    if B is not None:
        theta = memory(width * parameters)
        say(f"B = {B}: activations {memory(B * activations)}, parameters {theta}, their gradient {theta}")


def memory(count: int) -> str:
    """A number of bytes in the largest binary unit that leaves a number ≥ 1."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
