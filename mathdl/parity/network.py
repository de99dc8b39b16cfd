"""Every layer of the user's network, and its loss, by itself: on what side a put into it, in a state of the training.

Both sides take the same bits, so the bound is that of one layer. The first row that fails, in the order in which a step
computes, is the first difference that rounding cannot explain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathdl import random
from mathdl.architecture import written
from mathdl.arrays import Array, Tree, flatten_tree, to_host
from mathdl.layers.layer import Cache, Layer
from mathdl.notation import flat_name, split_name
from mathdl.objective import Objective
from mathdl.parity.cases import Case, draw, kind, propositions
from mathdl.parity.layer_runs import Address, Values, run_layer, run_loss
from mathdl.parity.sides import Side
from mathdl.parity.subject import State, Subject
from mathdl.plan import drawing


class Passed(NamedTuple):
    """What went into the layers of a network, and into its loss."""

    A: dict[int, NDArray[Any]]
    """A[l-1], by l; what the loss takes under L + 1."""
    dA: dict[int, NDArray[Any]]  # noqa: N815
    """dA[l], by l."""


def network_cases(subject: Subject, state: State, side: Side) -> Iterator[Case]:
    """Forward through the layers, the loss, and back again: each a case, in the order in which a step computes."""
    objective = Objective(subject.network, subject.loss)
    with side.running():
        A, dA = passed(subject, objective, state, side)
    parameters, kept = _by_layer(subject, state, side)
    L = subject.network.L
    if objective.depth < L:  # the last layer, which the step has fused with its loss
        dA[L] = draw(side.dtype, *A[L].shape, seed=(subject.seed, L))
    backward = []
    for l, layer in subject.network.chain.items():
        forward, back = _layer_cases(
            subject, state, layer, Address(l, state.epoch, state.m), A[l], dA[l], parameters[l], kept[l]
        )
        backward.append(back)
        yield forward
    Y = subject.Y[subject.minibatch(state.epoch, state.m)]
    P, loss = A[objective.depth + 1], objective.step_loss

    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_loss(loss, P, Y, None, side)

    yield Case(
        "ops",
        kind(loss),
        f"{subject.name}, {state.label}",
        evaluate,
        propositions(loss, ("J", "dP")),
        seed=subject.seed,
        group=f"{subject.name} {kind(loss)}",
        minibatch=state.m,
        order=(state.step, L + 1),
    )
    yield from reversed(backward)


def passed(subject: Subject, objective: Objective, state: State, side: Side) -> Passed:
    """One pass forward and backward on this side, with what each layer got."""
    network, rows = subject.network, subject.minibatch(state.epoch, state.m)
    input = tuple(int(d) for d in subject.X.shape[1:])
    params = network.empty_parameters(input, side.device.name, side.dtype)
    params.vector[...], params.state.vector[...] = side.put(state.theta), side.put(state.state)
    keys = {
        path: side.device.put(random.fold_many(subject.seed, "dropout", path, state.epoch, [state.m])[0])
        for path in drawing(objective.chain)
    }
    contexts = network.contexts(params, training=True, instances=len(rows), keys=keys)
    A, inputs, gradients = side.put(subject.X[rows]), dict[int, NDArray[Any]](), dict[int, NDArray[Any]]()
    tape: dict[int, Cache] = {}
    for l, layer in objective.chain.items():
        inputs[l] = _host(A)
        A, tape[l] = layer.forward(params.tree[l], A, contexts[l])
    inputs[objective.depth + 1] = _host(A)
    _, cache = objective.step_loss.forward(A, side.put(subject.Y[rows]), None, float(len(rows)))
    dA = objective.step_loss.backward(cache)
    for l in sorted(tape, reverse=True):
        gradients[l] = _host(dA)
        dA, _ = objective.chain[l].backward(dA, tape[l], {}, True)
    return Passed(inputs, gradients)


def _layer_cases(
    subject: Subject,
    state: State,
    layer: Layer,
    at: Address,
    X: NDArray[Any],
    dA: NDArray[Any],
    parameters: Values,
    kept: Values,
) -> tuple[Case, Case]:
    """(forward, backward) of one layer."""
    path, L = (at.l,), subject.network.L
    names = {"A": flat_name("A", path), "dX": flat_name("dA", (at.l - 1,))}
    for parameter in parameters:
        word, inner = split_name(parameter)
        names[f"d{parameter}"] = flat_name(f"d{word}", (*path, *inner))
    ids = {names[result]: id for result, id in propositions(layer, names).items()}

    def case(order: int, *results: str) -> Case:
        gradient = None if results == ("A",) else dA

        def evaluate(side: Side) -> Mapping[str, Array]:
            found = run_layer(layer, parameters, X, gradient, side, True, kept or None, subject.seed, at)
            return {names[result]: found[result] for result in results}

        return Case(
            "ops",
            kind(layer),
            f"{subject.name}, {state.label}, [{at.l}] {written(layer)}",
            evaluate,
            {names[result]: ids[names[result]] for result in results},
            seed=subject.seed,
            group=f"{subject.name} [{at.l}] {kind(layer)}",
            minibatch=state.m,
            order=(state.step, order),
        )

    return case(at.l, "A"), case(2 * L + 2 - at.l, *(result for result in names if result != "A"))


def _by_layer(subject: Subject, state: State, side: Side) -> tuple[dict[int, Values], dict[int, Values]]:
    """θ and the state by layer: l → {"W": …}, with the path inside the layer, as in {"W[1]": …}."""
    input = tuple(int(d) for d in subject.X.shape[1:])
    params = subject.network.empty_parameters(input, "cpu", side.dtype)
    params.vector[...], params.state.vector[...] = state.theta, state.state
    return _copied(params.tree), _copied(params.state.tree)


def _copied(tree: Tree) -> dict[int, Values]:
    return {l: {name: np.array(value) for name, value in flatten_tree(part).items()} for l, part in tree.items()}


def _host(A: Array) -> NDArray[Any]:
    return np.array(to_host(A))
