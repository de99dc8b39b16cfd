"""One training step, in fixed buffers.

    for each shard: forward, loss, backward                the shards run by themselves, and write their part of ∂J/∂θ
    G = Σ shards, in their order                           then penalties, then clipping
    θ, V … = optimizer(θ, G, V …)                          unless J is not finite
    state = what the minibatch's statistics make of it

What changes from step to step (the rows, Σw, the learning rate, the keys of randomness) is computed on the host, for a
whole epoch at a time, and lies in tables that never move; a step reads them at a cursor, leaves its figures there, and
moves the cursor on. So a backend may run a step on threads, or record it once and replay it, and many steps in a row
without the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple

import numpy as np

from mathdl import random
from mathdl.arrays import Array, Tree, Vector, flatten_tree, map_tree, namespace
from mathdl.data.source import Minibatch
from mathdl.layers.chain import Path, walk
from mathdl.layers.layer import NOTHING, Cache
from mathdl.network import Network, Parameters
from mathdl.notation import split_name
from mathdl.objective import Objective, weighted_mean
from mathdl.optimizers import Optimizer
from mathdl.plan import Plan, drawing, make_contexts
from mathdl.tables import leave_row, put_numbers, take_rows


class Segment(NamedTuple):
    """A run of the flat vectors that the optimizer updates in one go."""

    where: slice
    decay: bool
    """Whether these are weights: weight decay acts on them."""


class Penalty(NamedTuple):
    """λ₁ Σ |W| + λ₂/2 Σ W² of one weight."""

    name: str
    l1: float
    l2: float


class EpochTable(NamedTuple):
    """What the steps of an epoch read, one row a minibatch; and where they leave their figures."""

    coefficients: Array
    """(M, 1 + …): Σw, then the optimizer's coefficients (learning rate, bias corrections)."""
    keys: Array
    """(M, layers that draw, 2) uint32."""
    figures: Array
    """(M, 1 + metrics): J, then each metric's weighted mean."""

    def part(self, first: int, end: int) -> EpochTable:
        """The minibatches first … end − 1."""
        return EpochTable(*(A[first:end, ...] for A in self))


class Step:
    """Steps on up to M minibatches of `plan.B` instances, taken from `rows`; a context manager, open for as long."""

    def __init__(
        self,
        objective: Objective,
        params: Parameters,
        optimizer: Optimizer,
        slots: Mapping[str, Array],
        plan: Plan,
        rows: Minibatch,
        metrics: Mapping[str, Callable[[Array, Array], Array]],
        workers: int | None = None,
        gradients: Sequence[Vector] = (),
        M: int = 1,
    ) -> None:
        self.objective = objective
        self.params = params
        self.optimizer = optimizer
        self.slots = dict(slots)
        self.plan = plan
        self.rows = rows
        self.metrics = metrics
        network, device, shards = objective.network, params.device, len(plan.cuts)
        xp, like = device.namespace, {"dtype": params.vector.dtype, "device": device.handle}
        with device.active():
            self.coefficients = xp.zeros((1 + coefficient_count(optimizer),), **like)
            self.figures = xp.zeros((1 + len(metrics),), **like)
            self.J = self.figures[0:1]
            self.total = self.coefficients[0:1]
            draws = drawing(objective.chain)
            self.keys = xp.zeros((len(draws), 2), dtype=xp.uint32, device=device.handle)
            self.cursor = xp.zeros((1,), dtype=xp.int64, device=device.handle)
            self.table = EpochTable(
                xp.zeros((M, *self.coefficients.shape), **like),
                xp.zeros((M, *self.keys.shape), dtype=xp.uint32, device=device.handle),
                xp.zeros((M, *self.figures.shape), **like),
            )
            self.new_state = Vector(params.state.shape_tree, xp, **like)
            """What the state becomes if the update is made."""
            self._key_of = {path: self.keys[j, :] for j, path in enumerate(draws)}
            more = max(0, shards - len(gradients))  # steps of two sizes share these: they never run at once
            self.gradients = [*gradients, *(Vector(params.shape_tree, xp, **like) for _ in range(more))]
            self.execution = device.backend.execution(device.handle, workers, shards, network.couples_instances)
            self.contexts = [
                make_contexts(
                    objective.chain,
                    plan.constants,
                    params.state.tree,
                    training=True,
                    instances=plan.B,
                    first=first,
                    keys=self._key_of,
                    total=self.execution.total(shard, shards),
                    is_frozen=network.is_frozen,
                )
                for shard, (first, _) in enumerate(plan.cuts)
            ]
        self.first = objective.first_learnt(params)
        self.clips = optimizer.clip_norm is not None or optimizer.clip_value is not None
        self.segments = segments(network, params, bool(optimizer.weight_decay))
        self.penalties = penalties(network, params)
        self.still = [where for name, where in params.slices.items() if network.is_frozen(split_name(name)[1])]
        self.stateful = [l for l in objective.chain if flatten_tree(params.state.tree.get(l, NOTHING))]
        self._shards: list[Callable[[], _Part]] = []
        self._parts = copy(self)._tasks()
        self._run: Callable[[int], int] = partial(self.execution.run, *self._parts, self.J)

    def __enter__(self) -> Step:
        self.execution.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.execution.__exit__(*error)

    def begin(self, table: EpochTable, rows: Sequence[np.ndarray]) -> None:
        """Steps are now on these minibatches, M at most: their table, on the host, and their rows."""
        for into, values in zip(self.table, table, strict=True):
            into[: values.shape[0], ...] = self.params.device.put(values)
        self.rows.begin(rows)

    def run(self, first: int, count: int = 1) -> int:
        """Steps on the minibatches first … first + count − 1: how many were made.

        Fewer than `count`: J of the next is not finite, `figures` has it, and nothing was updated.
        """
        self.cursor[...] = self.params.device.put(np.array([first]))
        if self.rows.ahead:
            return self._run(count)
        for done in range(count):
            self.rows.fetch(first + done)
            if not self._run(1):
                return done
        return count

    def attempt(self) -> None:
        """Forward and backward on the first minibatch, and no update: to see whether there is the memory for it."""
        self.rows.fetch(0)
        self._parts[0]()

    def about(self) -> str:
        """How steps run by now: call by call, or as one program or graph, and of how many parts."""
        how: str = self.execution.about(*self._parts)
        return how

    def drawn_keys(self) -> Mapping[Path, Array]:
        """The key of each layer that draws random numbers, for the minibatch that is loaded."""
        return self._key_of

    # -- the parts of a step ------------------------------------------------------------------------------------------

    def _tasks(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """The gradient, and what follows it, in the form that the execution runs again and again."""
        recorded, G = self.execution.recorded, self.gradients[0].vector
        if len(self.plan.cuts) > 1:
            self._shards = [
                recorded(partial(self._shard, shard), [self.gradients[shard].vector])
                for shard in range(len(self.plan.cuts))
            ]
            return self._forward_and_backward, self._finish
        gradient_writes = [G, self.figures, self.new_state.vector]
        state = [self.params.vector, self.params.state.vector, *self.slots.values()]
        return (
            recorded(lambda view: self.seen_through(view)._forward_and_backward, gradient_writes),
            recorded(lambda view: self.seen_through(view)._finish, [*state, G, self.table.figures, self.cursor]),
        )

    def _shard(self, shard: int, view: Callable[[Array], Array]) -> Callable[[], _Part]:
        return partial(self.seen_through(view)._gradient, shard)

    def seen_through(self, view: Callable[[Array], Array]) -> Step:
        """This step, on `view` of its arrays."""
        twin = copy(self)
        twin.params = self.params.seen_through(view)
        twin.gradients = [gradient.seen_through(view) for gradient in self.gradients]
        twin.slots = map_tree(view, self.slots)
        twin.new_state = self.new_state.seen_through(view)
        for name in ("coefficients", "total", "figures", "keys", "cursor"):
            setattr(twin, name, view(getattr(self, name)))
        twin.table = EpochTable(*map(view, self.table))
        twin.contexts = [{l: context.seen_through(view) for l, context in each.items()} for each in self.contexts]
        twin.rows = self.rows.seen_through(view)
        return twin

    def _forward_and_backward(self) -> None:
        self._load()
        parts = self.execution.map(lambda j: self._shards[j](), len(self._shards)) or [self._gradient(0)]
        put_numbers(
            self.figures, *(_sum(of_shards) for of_shards in zip(*(part.figures for part in parts), strict=True))
        )
        self._make_new_state(parts[0].tape)

    def _finish(self) -> None:
        self._update()
        if self.stateful:
            self.params.state.vector[...] = self.new_state.vector
        leave_row(self.cursor, self.table.figures, self.figures)

    def _load(self) -> None:
        keys = [(self.table.keys, self.keys)] if self.keys.shape[0] else []
        take_rows(self.cursor, (self.table.coefficients, self.coefficients), *keys, *self.rows.tables)

    def _gradient(self, shard: int) -> _Part:
        first, end = self.plan.cuts[shard]
        X, Y, weights = self.rows.take(first, end)
        J, A, tape = self.objective.gradient(
            self.params, self.contexts[shard], X, Y, weights, self.total, self.gradients[shard].tree, self.first
        )
        figures = [J, *(weighted_mean(metric(A, Y), weights, self.total) for metric in self.metrics.values())]
        return _Part(figures, {l: tape[l] for l in self.stateful})

    def _update(self) -> None:
        size = self.params.vector.shape[0]
        if self.penalties or self.clips:
            self.execution.spread(self._add_shards, size)
            self._add_penalties()
            self._clip()
            self.execution.spread(self._update_slice, size)
        else:
            self.execution.spread(self._add_shards_and_update, size)

    def _add_shards(self, where: slice) -> None:
        G = self.gradients[0].vector[where]
        for other in self.gradients[1 : len(self.plan.cuts)]:
            G += other.vector[where]

    def _add_penalties(self) -> None:
        for name, l1, l2 in self.penalties:
            W, G = self.params[name], self.gradients[0][name]
            if l2:
                G += l2 * W
            if l1:
                G += l1 * namespace(W).sign(W)

    def _clip(self) -> None:
        G = self.gradients[0].vector
        for where in self.still:
            G[where] = 0.0  # what is not learnt does not count in the norm
        self.optimizer.clip(G)

    def _update_slice(self, where: slice) -> None:
        G, theta = self.gradients[0].vector, self.params.vector
        c = self.coefficients[1:]
        for segment, decay in self.segments:
            part = slice(max(where.start, segment.start), min(where.stop, segment.stop))
            if part.start < part.stop:
                slots = {name: slot[part] for name, slot in self.slots.items()}
                self.optimizer.update(theta[part], G[part], slots, c, decay)

    def _add_shards_and_update(self, where: slice) -> None:
        self._add_shards(where)
        self._update_slice(where)

    def _make_new_state(self, tape: Mapping[int, Cache]) -> None:
        if not self.stateful:
            return
        network, new, state = self.objective.network, self.new_state, self.params.state
        new.vector[...] = state.vector
        for l in self.stateful:
            _assign(new.tree[l], network.chain[l].new_state(state.tree[l], tape[l]), (l,), network)


class _Part(NamedTuple):
    figures: list[Array]
    tape: dict[int, Cache]


def _sum(numbers: Sequence[Array]) -> Array:
    """The sum, from the first to the last."""
    first, *others = numbers
    for number in others:
        first = first + number
    return first


def _assign(state: Tree, new: Tree, path: Path, network: Network) -> None:
    if network.is_frozen(path):
        return
    for name, value in new.items():
        if isinstance(name, int):
            _assign(state[name], value, (*path, name), network)
        else:
            state[name][...] = value


def coefficient_count(optimizer: Optimizer) -> int:
    """How many numbers an optimizer's update reads anew at each step."""
    return len(optimizer.coefficients(1, 0.0))


def segments(network: Network, params: Parameters, decays: bool) -> list[Segment]:
    """The longest runs of the flat vector that are learnt; where weights decay, they lie apart from the rest."""
    runs: list[Segment] = []
    for name, where in params.slices.items():
        if network.is_frozen(split_name(name)[1]):
            continue
        decay = decays and name.startswith("W")
        if runs and runs[-1].where.stop == where.start and runs[-1].decay == decay:
            runs[-1] = Segment(slice(runs[-1].where.start, where.stop), decay)
        else:
            runs.append(Segment(where, decay))
    return runs


def penalties(network: Network, params: Parameters) -> list[Penalty]:
    """The penalties of the layers that are learnt."""
    layers, found = dict(walk(network.chain)), []
    for name in params:
        path = split_name(name)[1]
        l1, l2 = layers[path].l1, layers[path].l2
        if name.startswith("W") and (l1 or l2) and not network.is_frozen(path):
            found.append(Penalty(name, l1, l2))
    return found


def penalty(network: Network, params: Parameters) -> float:
    """Σ λ₁ |W| + λ₂/2 W² over the weights that have a penalty. Read on the host."""
    xp = params.device.namespace
    value = 0.0
    for name, l1, l2 in penalties(network, params):
        W = params[name]
        value += l1 * float(xp.sum(xp.abs(W))) + 0.5 * l2 * float(xp.sum(W * W))
    return value


def epoch_table(
    step: Step,
    totals: Sequence[float],
    rates: Sequence[float],
    first_step: int,
    seed: int,
    epoch: int,
) -> EpochTable:
    """The table of an epoch, on the host: Σw of each minibatch, the optimizer's coefficients, the keys of dropout."""
    M, dtype = len(totals), step.params.dtype
    coefficients = np.empty((M, step.coefficients.shape[0]))
    coefficients[:, 0] = totals
    coefficients[:, 1:] = [step.optimizer.coefficients(first_step + m + 1, rate) for m, rate in enumerate(rates)]
    draws = drawing(step.objective.chain)
    keys = np.empty((M, len(draws), 2), dtype=np.uint32)
    for j, path in enumerate(draws):
        keys[:, j, :] = random.fold_many(seed, "dropout", path, epoch, np.arange(M))
    return EpochTable(coefficients.astype(dtype), keys, np.zeros((M, step.figures.shape[0]), dtype=dtype))
