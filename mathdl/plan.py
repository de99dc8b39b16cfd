"""What a network on this input shape, batch, dtype and device needs, apart from arithmetic: tables, contexts, the cut.

**The cut.** A minibatch is cut into S shards of instances; each runs forward and backward by itself, and their
gradients are added in the order of the shards (J is a weighted sum over instances, so its gradient is the sum of the
shards'). S ∈ {1, 2, 4} is the one of least estimated time on a nominal machine of four cores, whatever the machine at
hand, so that a result never depends on how many cores computed it:

    T(1) = B (f / 400 GF/s + e / 10 GB/s)
    T(S) = B (f / 100 GF/s + e / 10 GB/s) / S + S (0.5 ns · P + 100 µs)

with f the floating-point operations and e the bytes of elementwise work an instance takes, and P the parameters.
S > 1 shares out the shards among the worker threads, products and elementwise work alike, and pays for a gradient and a
hand-off each. S = 1 shares out the pieces of large products, four at most; elementwise work then runs on one core.
Either way BLAS runs on one thread, 100 GF/s. A backend that shares out every call of a step by itself (NumPy's programs
of compiled code, a GPU) asks for S = 1 by its `MAX_SHARDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from mathdl.arrays import Array, Device, Shape, Tree, device, flatten_tree
from mathdl.errors import UsageError
from mathdl.layers.chain import Chain, Path, chain_collect, chain_shapes, walk
from mathdl.layers.layer import NOTHING, Context, same, size

_SHARDS = (1, 2, 4)
_BYTES_AN_ACTIVATION = 8  # one float32 written and read again


@dataclass(frozen=True)
class Plan:
    """What stays the same from step to step."""

    shapes: tuple[Shape, ...]
    """The shape of each A[l] for one instance, l = 0 … L."""
    B: int
    dtype: str
    device: Device
    constants: Tree
    """{l: {name: array on the device}}: gather tables."""
    cuts: tuple[tuple[int, int], ...]
    """(first, end) of each shard's instances in the minibatch."""
    multiply_adds: int
    """Multiply-adds of forward for one instance."""


def make_plan(chain: Chain, input: Shape, B: int, dtype: str, place: Device) -> Plan:
    """The plan of a chain of layers on minibatches of B instances of shape `input`."""
    if B < 1:
        raise UsageError(f"a minibatch has at least one instance, got B = {B}")
    outputs, parameters = chain_shapes(chain, input)
    multiply_adds = sum(chain_collect(chain, input, lambda layer, shape: layer.multiply_adds(shape)).values())
    activations = size(input) + sum(chain_collect(chain, input, lambda layer, shape: layer.activations(shape)).values())
    shards = shard_count(
        B,
        flops=6.0 * multiply_adds,  # a multiply and an add, for A, dA and dW
        bytes=float(_BYTES_AN_ACTIVATION * activations),
        parameters=sum(size(shape) for shape in flatten_tree(parameters).values()),
        most=place.backend.MAX_SHARDS,
    )
    return Plan(
        (input, *outputs.values()), B, dtype, place, constants_on(chain, input, place), cut(B, shards), multiply_adds
    )


def shard_count(B: int, flops: float, bytes: float, parameters: int, most: int = 4) -> int:
    """S: the number of shards with the least nominal time; ties go to the fewest."""

    def time(S: int) -> float:
        if S == 1:
            return B * (flops / 400e9 + bytes / 10e9)
        return B * (flops / 100e9 + bytes / 10e9) / S + S * (0.5e-9 * parameters + 100e-6)

    possible = min(B, most)
    return min((S for S in _SHARDS if possible >= S), key=time)


def cut(B: int, shards: int) -> tuple[tuple[int, int], ...]:
    """B instances in `shards` runs whose lengths differ by one at most, the longer first."""
    short, extra = divmod(B, shards)
    ends = [k * short + min(k, extra) for k in range(shards + 1)]
    return tuple(pairwise(ends))


def constants_on(chain: Chain, input: Shape, place: Device) -> Tree:
    """{l: constants of layer l} as arrays on the device; made once for a layer, a shape and a device."""
    return chain_collect(chain, input, lambda layer, shape: _constants(layer, shape, place))


def _constants(layer: Any, shape: Shape, place: Device) -> Tree:
    try:
        return _remembered_constants(layer, shape, place.name)
    except TypeError:  # a layer of one's own that cannot be hashed
        return _put(layer.constants(shape), place)


@lru_cache(maxsize=256)
def _remembered_constants(layer: Any, shape: Shape, device_name: str) -> Tree:
    return _put(layer.constants(shape), device(device_name))


def _put(tree: Tree, place: Device) -> Tree:
    return {key: _put(value, place) if isinstance(value, Mapping) else place.put(value) for key, value in tree.items()}


def drawing(chain: Chain) -> list[Path]:
    """The paths of the layers that draw random numbers while training."""
    return [path for path, layer in walk(chain) if layer.draws]


def make_contexts(
    chain: Chain,
    constants: Tree,
    state: Tree,
    *,
    training: bool = False,
    instances: int = 0,
    first: int = 0,
    keys: Mapping[Path, Array] = NOTHING,
    total: Callable[[Array], Array] = same,
    is_frozen: Callable[[Path], bool] = lambda path: False,
    path: Path = (),
) -> dict[int, Context]:
    """{l: context} for one shard: the instances `first` … of a minibatch of `instances`.

    A frozen layer runs as it does when predicting, so its state stays still.
    """
    contexts: dict[int, Context] = {}
    for l, layer in chain.items():
        place = (*path, l)
        inner = make_contexts(
            layer.inner,
            constants.get(l, NOTHING),
            state.get(l, NOTHING),
            training=training,
            instances=instances,
            first=first,
            keys=keys,
            total=total,
            is_frozen=is_frozen,
            path=place,
        )
        contexts[l] = Context(
            training=training and not is_frozen(place),
            state=state.get(l, NOTHING),
            constants=constants.get(l, NOTHING),
            total=total,
            instances=instances,
            key=keys.get(place),
            first=first,
            inner=inner,
        )
    return contexts
