"""A whole update, θ and state and all, from a common state: the bounds are carried through the network.

The further back a gradient lies the wider its bound; `network` therefore runs every layer by itself, on what side a put
into it. Trajectories are never compared: from a difference in the last bit they part, and that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mathdl.arrays import Array, flatten_tree
from mathdl.data.source import InMemory
from mathdl.notation import split_name
from mathdl.objective import Objective
from mathdl.optimizers import SGD
from mathdl.parity.cases import Case
from mathdl.parity.sides import Side
from mathdl.parity.subject import State, Subject
from mathdl.schedules import schedule
from mathdl.training.step import Step, epoch_table


def step_case(subject: Subject, state: State) -> Case:
    """The update that follows a state."""

    def evaluate(side: Side) -> Mapping[str, Array]:
        return run_step(subject, state, side)

    what = f"{subject.name}, {state.label}"
    names = list(flatten_tree(subject.network.parameter_shapes(subject.X.shape[1:])))
    ids = {"J": next(iter(subject.loss.propositions), ""), **{f"d{name}": "backprop" for name in backwards(names)}}
    if isinstance(subject.optimizer, SGD):
        ids |= dict.fromkeys((*names, *subject.optimizer.slots), "sgd")
    order = (state.step, 2 * subject.network.L + 3)
    return Case(
        "step",
        "update",
        what,
        evaluate,
        ids,
        seed=subject.seed,
        group=f"{subject.name} update",
        minibatch=state.m,
        order=order,
    )


def run_step(subject: Subject, state: State, side: Side) -> dict[str, Array]:
    """{"J", "dW[3]" … in the order of the backward recursion, "W[1]" …, the state, the slots} of one update."""
    network, optimizer = subject.network, subject.optimizer
    rows = subject.minibatch(state.epoch, state.m)
    input = tuple(int(d) for d in subject.X.shape[1:])
    params = network.empty_parameters(input, side.device.name, side.dtype)
    params.vector[...] = side.put(state.theta)
    params.state.vector[...] = side.put(state.state)
    slots = {name: side.put(slot) for name, slot in state.slots.items()}
    plan = network.plan(input, len(rows), side.dtype, side.device.name)
    source = InMemory(side.put(subject.X[: subject.rows]), side.put(subject.Y[: subject.rows]), None, side.device)
    step = Step(Objective(network, subject.loss), params, optimizer, slots, plan, source.minibatch(len(rows)), {})
    count = state.m + 1
    rates = [schedule(optimizer.learning_rate).at(state.step, float(state.epoch))] * count
    table = epoch_table(step, [float(len(rows))] * count, rates, state.step - state.m, subject.seed, state.epoch)
    with step:
        step.begin(table.part(state.m, count), [rows])
        step.run(0)
    gradients = step.gradients[0]
    return {
        "J": step.J,
        **{f"d{name}": gradients[name] for name in backwards(gradients)},
        **{name: params[name] for name in params},
        **{name: params.state[name] for name in params.state},
        **slots,
    }


def backwards(names: Iterable[str]) -> list[str]:
    """Parameters in the order in which their gradients are computed: the last layer first."""
    return sorted(names, key=lambda name: split_name(name)[1], reverse=True)
