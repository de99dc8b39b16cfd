"""Layers one after the other: the one recursion that a network and a residual layer both are.

    A[l] = layer_l(A[l-1])            l = 1 … L
    dA[l-1], grads[l] = backward_l(dA[l], cache_l)            l = L … 1

Layers are numbered from 1; what belongs to layer l (parameters, caches, gradients, contexts) is found under l.
Source: Kasliwal, section 2 (the l-1-th layer of activations is transformed to the l-th); the reverse recursion is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from mathdl.arrays import Array, Shape, Tree, flatten_tree
from mathdl.errors import MathdlError, UsageError
from mathdl.layers.layer import NOTHING, Cache, Context, Layer

Chain = Mapping[int, Layer]
"""{l: layer l}."""
Path = tuple[int, ...]
"""(3, 1) is the first layer inside layer 3."""

_MEMBERS = tuple(name for name in dir(Layer) if not name.startswith("_"))
_FORMULAS = "forward", "backward"
"""What every layer must define: `Layer` has no default for them."""


def numbered(layers: Sequence[Layer], start: int = 1) -> dict[int, Layer]:
    """The layers under their numbers l = start, start + 1, …"""
    return dict(enumerate(layers, start))


def sequence(layers: Iterable[Layer], owner: str) -> tuple[Layer, ...]:
    """The layers as a tuple. Raises `UsageError` unless they are at least one, in something like a list."""
    if not isinstance(layers, Iterable):
        raise UsageError(f"{owner}: expected a list of layers, got {layers!r}")
    if not (found := tuple(layers)):
        raise UsageError(f"{owner}: no layers; expected at least one")
    return found


def require_layers(chain: Chain, place: str) -> None:
    """Raise `UsageError` unless every element is a layer, with penalties and switches that make sense."""
    for l, layer in chain.items():
        if isinstance(layer, type):
            raise UsageError(f"{place}{l}: expected a layer, got the class {layer.__name__}: write {layer.__name__}()")
        missing = [name for name in _MEMBERS if not hasattr(layer, name)]
        missing += [name for name in _FORMULAS if getattr(type(layer), name, None) is getattr(Layer, name)]
        if missing:
            hint = "define it" if Layer in type(layer).__mro__ else "inherit md.Layer for the defaults"
            raise UsageError(f"{place}{l}: expected a layer, got {layer!r}, which has no {', '.join(missing)}: {hint}")
        for name, value in (("l1", layer.l1), ("l2", layer.l2)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < inf:
                raise UsageError(f"{place}{l}: {name} must be a finite number ≥ 0, got {value!r}")
        for name in ("bias", "trainable"):
            if not isinstance(value := getattr(layer, name, True), bool):
                raise UsageError(f"{place}{l}: {name} must be True or False, got {value!r}")


def chain_shapes(chain: Chain, input: Shape) -> tuple[dict[int, Shape], dict[int, Tree]]:
    """({l: shape of A[l]}, {l: parameter shapes}). An error gets the path of the layer that it came from."""
    outputs, parameters = {}, {}
    for l, layer in chain.items():
        try:
            input, parameters[l] = layer.shapes(input)
        except MathdlError as error:
            error.layer_path = (l, *error.layer_path)
            raise
        outputs[l] = input
    return outputs, parameters


def chain_collect(chain: Chain, input: Shape, of: Callable[[Layer, Shape], Any]) -> dict[int, Any]:
    """{l: of(layer l, shape of A[l-1])}."""
    collected = {}
    for l, layer in chain.items():
        collected[l] = of(layer, input)
        input, _ = layer.shapes(input)
    return collected


def chain_forward(
    chain: Chain, params: Tree, A: Array, contexts: Mapping[int, Context]
) -> tuple[Array, dict[int, Cache]]:
    """(A[L], tape): the tape holds the cache of every layer."""
    tape = {}
    for l, layer in chain.items():
        A, tape[l] = layer.forward(params[l], A, contexts[l])
    return A, tape


def chain_backward(
    chain: Chain,
    dA: Array,
    tape: Mapping[int, Cache],
    into: Tree = NOTHING,
    input_gradient: bool = True,
    first: int = 1,
) -> tuple[Array, dict[int, Tree]]:
    """(gradient for the input of the chain, or None; {l: gradients}), from the last layer on the tape down to `first`.

    Without `input_gradient`, layer `first` (the first whose parameters are learnt) is not asked for its dA.
    """
    first = max(first, next(iter(chain), 0))
    grads: dict[int, Tree] = {}
    for l in reversed(tape):
        if l < first:
            return None, grads
        views = into.get(l, NOTHING)
        dA, grads[l] = chain[l].backward(dA, tape[l], views, input_gradient or l > first)
        for name, gradient in grads[l].items():
            if name in views and views[name] is not gradient and not isinstance(name, int):
                views[name][...] = gradient  # a layer may leave `into` alone and return fresh arrays
    return dA, grads


def chain_activations(
    chain: Chain, params: Tree, A: Array, contexts: Mapping[int, Context], path: Path = ()
) -> Iterator[tuple[Path, Array]]:
    """(path, A[path]) of every layer in the order in which they run, those inside a layer before the layer itself."""
    for l, layer in chain.items():
        for inner, activations in layer.inner_activations(params[l], A, contexts[l]):
            yield (*path, l, *inner), activations
        A, _ = layer.forward(params[l], A, contexts[l])
        yield (*path, l), A


def walk(chain: Chain, path: Path = ()) -> Iterator[tuple[Path, Layer]]:
    """(path, layer) of every layer, each before the layers inside it: (3,) before (3, 1)."""
    for l, layer in chain.items():
        yield (*path, l), layer
        yield from walk(layer.inner, (*path, l))


def first_with_parameters(parameters: Mapping[int, Tree]) -> int:
    """The least l that has parameters (one more than the last l if none has)."""
    return next((l for l in parameters if flatten_tree(parameters[l])), max(parameters, default=0) + 1)
