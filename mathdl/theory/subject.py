"""What is checked: shipped code as a function of named arrays, on any backend.

A subject runs a layer's own `forward` and `backward`, or a loss's; nothing of them is repeated here. Beside it stands
its definition, which reads the same inputs as nested lists of plain numbers (`theory/definitions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from mathdl.arrays import Array, Device, Shape, flatten_tree, namespace
from mathdl.layers.chain import chain_backward, chain_forward, chain_shapes, numbered
from mathdl.layers.layer import NOTHING, Context, Layer
from mathdl.losses import Loss
from mathdl.notation import split_name
from mathdl.plan import constants_on, make_contexts
from mathdl.theory.domains import POSITIVE, REAL, Domain

Inputs: TypeAlias = Mapping[str, Array]
"""The inputs by name: what goes in, and the parameters by flat name."""
Definition: TypeAlias = Callable[[Any, Mapping[str, Any]], Any]
"""(the module `definitions`, the inputs as nested lists) → the output as nested lists."""


@dataclass(frozen=True)
class Subject:
    """Shipped code with the shapes of its inputs."""

    name: str
    shapes: Mapping[str, Shape]
    forward: Callable[[Device, Inputs], tuple[Array, Any]]
    """(device, inputs on it) → (output, cache)."""
    backward: Callable[[Array, Any], Inputs]
    """(gradient of the output, cache) → the gradients by the names of inputs. Inputs that it leaves out are fixed."""
    definition: Definition | None = None
    domains: Mapping[str, Domain] = field(default_factory=dict)
    """What the entries of an input may be; the real numbers where nothing is said."""
    is_cost: bool = False
    """Whether the output is a cost J, whose gradient is by itself: ∂J/∂J = 1."""

    def domain(self, name: str) -> Domain:
        """The domain of an input."""
        return self.domains.get(name, REAL)

    def defined(self, definitions: Any, inputs: Mapping[str, Any]) -> Any:
        """The definition's output for these nested lists, as an array of whatever its entries are."""
        assert self.definition is not None, f"{self.name} has no definition"
        value = self.definition(definitions, inputs)
        return value if isinstance(value, np.ndarray) else nested(value)


def of_layer(
    layer: Layer,
    input: Shape,
    definition: Definition | None = None,
    B: int = 2,
    domain: Domain = REAL,
    domains: Mapping[str, Domain] = NOTHING,
    **fields: Any,
) -> Subject:
    """A layer on B instances of shape `input`: inputs "A" and the layer's parameters; `fields` are of its context."""
    parameters = layer.shapes(input)[1]

    def forward(device: Device, inputs: Inputs) -> tuple[Array, Any]:
        return layer.forward(
            _tree(layer.shapes(input)[1], inputs), inputs["A"], _context(layer, input, B, device, fields)
        )

    def backward(dA: Array, cache: Any) -> Inputs:
        dX, gradients = layer.backward(namespace(dA).astype(dA, dA.dtype, copy=True), cache, NOTHING, True)
        return {"A": dX, **flatten_tree(gradients)}

    shapes = {"A": (B, *input), **flatten_tree(parameters)}
    return Subject(f"{layer!r} on {(B, *input)}", shapes, forward, backward, definition, {"A": domain, **domains})


def of_network(
    layers: Sequence[Layer], input: Shape, definition: Definition | None = None, B: int = 2, domain: Domain = REAL
) -> Subject:
    """A network on B instances of shape `input`, by the recursion that training uses: inputs "A", "W[1]", "b[1]" …"""
    chain = numbered(layers)
    parameters = chain_shapes(chain, input)[1]

    def forward(device: Device, inputs: Inputs) -> tuple[Array, Any]:
        contexts = make_contexts(chain, constants_on(chain, input, device), NOTHING, instances=B)
        return chain_forward(chain, _tree(parameters, inputs), inputs["A"], contexts)

    def backward(dA: Array, tape: Any) -> Inputs:
        dX, gradients = chain_backward(chain, dA, tape)
        return {"A": dX, **flatten_tree(gradients)}

    shapes = {"A": (B, *input), **flatten_tree(parameters)}
    return Subject(f"{list(layers)} on {(B, *input)}", shapes, forward, backward, definition, {"A": domain})


def of_loss(
    loss: Loss,
    outputs: int,
    definition: Definition | None = None,
    B: int = 2,
    domain: Domain = REAL,
    targets: Domain = REAL,
    weighted: bool = False,
    labels: bool = False,
) -> Subject:
    """A loss on B instances: inputs "P", "Y" (labels of shape (B,) if `labels`) and, if `weighted`, "w"."""

    def forward(device: Device, inputs: Inputs) -> tuple[Array, Any]:
        w = inputs.get("w")
        total = None if w is None else namespace(w).sum(w)  # an array: Σw is then computed where w lives
        return loss.forward(inputs["P"], inputs["Y"], w, total)

    def backward(dJ: Array, cache: Any) -> Inputs:
        return {"P": loss.backward(cache)}

    shapes = {"P": (B, outputs), "Y": (B,) if labels else (B, outputs)} | ({"w": (B,)} if weighted else {})
    name = f"{loss!r} on {(B, outputs)}"
    return Subject(
        name, shapes, forward, backward, definition, {"P": domain, "Y": targets, "w": POSITIVE}, is_cost=True
    )


def nested(values: Any) -> np.ndarray:
    """Nested lists as an array of objects, whatever stands in them."""
    shape: list[int] = []
    inner = values
    while isinstance(inner, list | tuple):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    array = np.empty(shape, dtype=object)
    for place in np.ndindex(*shape):
        entry = values
        for index in place:
            entry = entry[index]
        array[place] = entry
    return array


def _tree(shapes: Mapping[Any, Any], inputs: Inputs, path: tuple[int, ...] = ()) -> dict[Any, Any]:
    """The parameters among the inputs, in the form that the layer's `forward` takes."""
    by_place = {split_name(name): value for name, value in inputs.items()}
    return {
        key: _tree(value, inputs, (*path, key)) if isinstance(key, int) else by_place[key, path]
        for key, value in shapes.items()
    }


def _context(layer: Layer, input: Shape, B: int, device: Device, fields: Mapping[str, Any]) -> Context:
    chain = {1: layer}
    return make_contexts(chain, constants_on(chain, input, device), NOTHING, instances=B, **fields)[1]
