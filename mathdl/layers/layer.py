"""What a layer is: the protocol that the network relies on, and the context that a forward pass hands down.

A layer is a frozen dataclass that holds configuration only, never arrays. Its mathematics stands beside it as two pure
functions, `<layer>_forward` and `<layer>_backward`. Inheriting `Layer` takes its defaults (no parameters, same shape
out as in); a class of one's own that inherits nothing must have every member named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, ClassVar, Protocol, runtime_checkable

from mathdl.arrays import Array, Shape, Tree, map_tree

Cache = Any
"""What `forward` keeps for `backward`: a NamedTuple (or one array), owned by the tape."""

NOTHING: Mapping[Any, Any] = {}
"""An empty tree: no parameters, no state, no views to write to."""


def same(x: Array) -> Array:
    """x: the sum over the whole minibatch, when the shard is the whole minibatch."""
    return x


@dataclass(frozen=True)
class Context:
    """What is not mathematics of A, for one layer and one shard of a minibatch."""

    training: bool = False
    state: Tree = field(default_factory=dict)
    """The layer's state that is not learnt by gradient, by name. Forward reads it and never writes it."""
    constants: Tree = field(default_factory=dict)
    """The layer's `constants(input)` as arrays on the device."""
    total: Callable[[Array], Array] = same
    """x ↦ Σ x over all shards of the minibatch, in a fixed order."""
    instances: int = 0
    """B, the number of instances in the whole minibatch."""
    key: Array = None
    """The address of randomness: two uint32 words folded from seed, [l], epoch and {m}; None outside of training."""
    first: int = 0
    """The index (i) of the shard's first instance in the minibatch."""
    inner: Mapping[int, Context] = field(default_factory=dict)
    """The contexts of the layers inside this one."""

    def seen_through(self, view: Callable[[Array], Array]) -> Context:
        """This context, with `view` of its arrays."""
        return replace(
            self,
            state=map_tree(view, self.state),
            constants=map_tree(view, self.constants),
            key=None if self.key is None else view(self.key),
            inner={l: context.seen_through(view) for l, context in self.inner.items()},
        )


@runtime_checkable
class Layer(Protocol):
    """A layer l: configuration, shapes, forward and backward."""

    couples_instances: ClassVar[bool] = False
    """True if A[l](i) depends on other instances of the minibatch (batch normalization)."""
    draws: ClassVar[bool] = False
    """True if forward uses `context.key` while training (dropout)."""
    propositions: ClassVar[tuple[str, ...]] = ()
    """The ids of the propositions that say what this layer computes."""

    @property
    def trainable(self) -> bool:
        """False keeps the layer's parameters and state still."""
        return True

    @property
    def l1(self) -> float:
        """λ₁ of the penalty λ₁ Σ |W|."""
        return 0.0

    @property
    def l2(self) -> float:
        """λ₂ of the penalty λ₂/2 Σ W²."""
        return 0.0

    @property
    def inner(self) -> Mapping[int, Layer]:
        """The layers inside this one, by their number."""
        return NOTHING

    def shapes(self, input: Shape) -> tuple[Shape, Tree]:
        """(shape of A[l], {parameter: shape}) for one instance of shape `input`; raises `ShapeError`."""
        return input, {}

    def initializers(self) -> Tree:
        """{parameter: initializer}; None means the default: He before a ReLU-like activation, Glorot otherwise."""
        return {}

    def fans(self, input: Shape) -> Tree:
        """{parameter: (fan-in, fan-out)} where they are not (rows, columns) of a matrix."""
        return {}

    def states(self, input: Shape) -> Tree:
        """{name: (shape, initial value)} of what is kept from step to step but not learnt by gradient."""
        return {}

    def constants(self, input: Shape) -> Tree:
        """{name: NumPy array} that forward needs on the device, a function of the geometry alone."""
        return {}

    def multiply_adds(self, input: Shape) -> int:
        """Multiply-adds of `forward` for one instance."""
        return 0

    def activations(self, input: Shape) -> int:
        """How many activations `forward` computes for one instance, with those of the layers inside."""
        return size(self.shapes(input)[0])

    def forward(self, params: Tree, A: Array, context: Context) -> tuple[Array, Cache]:
        """(A[l], cache). May not change A[l-1], which another cache may hold."""
        ...

    def backward(self, dA: Array, cache: Cache, into: Tree, input_gradient: bool = True) -> tuple[Array, Tree]:
        """(dA[l-1] or None, {parameter: gradient}).

        `into` holds the views in the flat gradient to write to; where it holds none, fresh arrays are returned.
        backward owns the dA that it is given, and may overwrite it.
        """
        ...

    def inner_activations(self, params: Tree, A: Array, context: Context) -> Iterator[tuple[tuple[int, ...], Array]]:
        """(path inside this layer, activations) of the layers inside, in the order in which they run."""
        yield from ()

    def new_state(self, state: Tree, cache: Cache) -> Tree:
        """{name: new value} of the state after this minibatch; the step commits it."""
        return {}


def size(shape: Shape) -> int:
    """n[l], the number of nodes of a layer whose activations have this shape: p·q·k for images."""
    return prod(shape)
