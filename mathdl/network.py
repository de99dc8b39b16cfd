"""Network: L layers, the forward tape, the backward recursion.

    A[0] = X,  A[l] = layer_l(A[l-1])                    forward; the tape keeps the caches
    dA[l-1], grads[l] = backward_l(dA[l], cache_l)       backward; the tape in reverse

Every element of `Network([...])` is a layer and counts in l (an activation is a layer, as in Jiang): l = 1 … L.
Source: Jiang, section 4 (k layers); Kasliwal, section 2 (A^{[l]{m}(i)}, n^{[l]}, L).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from zlib import crc32

from mathdl import arrays, random
from mathdl.arrays import Array, Device, Shape, Tree, Vector, as_array, concatenated, flatten_tree, to_host
from mathdl.data import Minibatches
from mathdl.data.selection import is_on_file
from mathdl.errors import MathdlError, ShapeError, StaleTapeError, UsageError, integer, unknown_name
from mathdl.initializers import Initializer, glorot_uniform, he_normal, initializer, zeros
from mathdl.layers.chain import (
    Chain,
    Path,
    chain_backward,
    chain_collect,
    chain_forward,
    chain_shapes,
    first_with_parameters,
    numbered,
    require_layers,
    sequence,
    walk,
)
from mathdl.layers.layer import Cache, Context, Layer, size
from mathdl.layers.residual import Residual
from mathdl.notation import split_name
from mathdl.plan import Plan, constants_on, drawing, make_contexts, make_plan

DTYPES = ("float32", "float64")
_RELU_LIKE = frozenset({"ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus"})
_OTHER_ACTIVATIONS = frozenset({"Sigmoid", "Tanh", "Softmax", "LogSoftmax"})


class Parameters(Vector):
    """The parameters of a network: a flat vector θ and its views `params["W[1]"]`; `state` is a vector of its own.

    `state` holds what is not learnt by gradient (``params.state["mean[3]"]``).
    """

    def __init__(self, shapes: Tree, state_shapes: Tree, input_shape: Shape, place: Device, dtype: str) -> None:
        xp = place.namespace
        with place.active():
            super().__init__(shapes, xp, getattr(xp, dtype), place.handle)
            self.state = Vector(state_shapes, xp, getattr(xp, dtype), place.handle)
        self.input_shape = input_shape
        self.device = place
        self.dtype = dtype

    def assign(self, values: Mapping[str, Any]) -> None:
        """Set parameters and state by name from arrays of any device. Raises on an unknown name or another shape."""
        pairs = []
        for name, value in values.items():
            owner: Vector = self if name in self else self.state
            if name not in owner:
                raise unknown_name("parameter", name, [*self, *self.state])
            value = as_array(value)
            if tuple(value.shape) != owner.shapes[name]:
                raise ShapeError(f"{name}: expected shape {owner.shapes[name]}, got {tuple(value.shape)}")
            pairs.append((owner[name], value))
        with self.device.active():
            for view, value in pairs:  # only now: values that are refused leave θ as it was
                view[...] = self.device.put(value, self.dtype)

    def seen_through(self, view: Callable[[Array], Array]) -> Self:
        twin = super().seen_through(view)
        twin.state = self.state.seen_through(view)
        return twin

    def copy(self) -> Parameters:
        """The same values in vectors of their own."""
        twin = Parameters(self.shape_tree, self.state.shape_tree, self.input_shape, self.device, self.dtype)
        with self.device.active():
            twin.vector[...] = self.vector
            twin.state.vector[...] = self.state.vector
        return twin


class Tape:
    """What `Network.forward` kept for `backward`: the caches by layer. Valid until the parameters change."""

    def __init__(self, caches: dict[int, Cache], params: Parameters, output: Array) -> None:
        self.caches = caches
        self.params = params
        self.output_shape = tuple(output.shape)
        self._checksum = crc32(to_host(params.vector))

    def check(self) -> None:
        """Raise `StaleTapeError` if the parameters have changed since, whoever wrote to them."""
        if crc32(to_host(self.params.vector)) != self._checksum:
            raise StaleTapeError(
                "the parameters have changed since this tape was recorded; call net.forward again, then net.backward"
            )


class Network:
    """The composition of `layers`, l = 1 … L.

    `input_shape` (the shape of one instance, A[0]) may be given here or to `initialize`; it fixes `n`.
    """

    def __init__(self, layers: Iterable[Layer], input_shape: Sequence[int] | int | None = None) -> None:
        self.layers = sequence(layers, "Network")
        self.L = len(self.layers)
        self.chain = numbered(self.layers)
        require_layers(self.chain, "layer l = ")
        self.frozen: frozenset[Path] = frozenset(path for path, layer in walk(self.chain) if not layer.trainable)
        self.input_shape: Shape | None = None
        self._declared: Shape | None = None
        if input_shape is not None:
            self._declared = self._fix(input_shape)

    def __repr__(self) -> str:
        return f"Network([{', '.join(map(repr, self.layers))}])"

    # -- shapes ------------------------------------------------------------------------------------------------------

    @property
    def n(self) -> tuple[int, ...]:
        """n[l], the number of nodes of layer l = 0 … L (p·q·k for images)."""
        if self.input_shape is None:
            raise UsageError("n[l] is not known yet: pass input_shape= to Network, or call initialize(input_shape)")
        return tuple(size(shape) for shape in self.shapes(self.input_shape))

    def shapes(self, input_shape: Sequence[int] | int) -> list[Shape]:
        """The shape of each A[l] for one instance, l = 0 … L. Raises `ShapeError` that names the layer."""
        input = as_shape(input_shape)
        with self._placed():
            return [input, *chain_shapes(self.chain, input)[0].values()]

    def parameter_shapes(self, input_shape: Sequence[int] | int) -> Tree:
        """{l: {parameter: shape}}, with the parameters of inner layers under their numbers."""
        with self._placed():
            return chain_shapes(self.chain, as_shape(input_shape))[1]

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """Add the place to an error that a layer raises."""
        try:
            yield
        except MathdlError as error:
            if error.layer_path:
                place = ".".join(map(str, error.layer_path))
                error.add_note(f"in layer l = {place}, {dict(walk(self.chain))[error.layer_path]!r}")
                error.layer_path = ()
            raise

    def _fix(self, input_shape: Sequence[int] | int) -> Shape:
        input = as_shape(input_shape)
        if self._declared not in (None, input):
            raise ShapeError(f"this Network was made for input_shape={self._declared}, got {input}")
        self.shapes(input)
        self.input_shape = input
        return input

    # -- parameters --------------------------------------------------------------------------------------------------

    def initialize(
        self, input_shape: Sequence[int] | int | None = None, seed: int = 0, device: str = "cpu", dtype: str = "float32"
    ) -> Parameters:
        """θ for inputs of this shape: weights drawn from (seed, [l]), the same bits on every device."""
        shape = self.input_shape if input_shape is None else input_shape
        if shape is None:
            raise UsageError(
                "initialize: the shape of one instance is not known; pass input_shape, e.g. (784,) or (28, 28, 1)"
            )
        input = self._fix(shape)
        params = self.empty_parameters(input, device, dtype)
        given = flatten_tree({l: layer.initializers() for l, layer in self.chain.items()})
        fans = flatten_tree(chain_collect(self.chain, input, lambda layer, shape: layer.fans(shape)))
        starts = flatten_tree(chain_collect(self.chain, input, lambda layer, shape: layer.states(shape)))
        before_relu, _ = feeding_relu(self.chain, {split_name(name)[1] for name in params if name.startswith("W")})
        with params.device.active():
            for name, shape in params.shapes.items():
                word, path = split_name(name)
                default = zeros() if word[0] != "W" else he_normal() if path in before_relu else glorot_uniform()
                draw = self._initializer(path, given.get(name) or default)
                key = random.fold(seed, "weights", *path, *word.encode())
                values = draw(shape, fans.get(name) or (*shape[:1], *shape[-1:]) or (1, 1), key)
                params[name][...] = params.device.put(values, dtype)
            for name, (_, start) in starts.items():
                params.state[name][...] = start
        return params

    def _initializer(self, path: Path, spec: str | Initializer) -> Initializer:
        with self._placed():
            try:
                return initializer(spec)
            except MathdlError as error:
                error.layer_path = path
                raise

    def empty_parameters(self, input_shape: Shape, device_name: str, dtype: str) -> Parameters:
        """Parameters of the right shapes, all zero."""
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        states = chain_collect(self.chain, input_shape, lambda layer, shape: layer.states(shape))
        place = arrays.device(device_name)
        return Parameters(self.parameter_shapes(input_shape), _first_of(states), input_shape, place, dtype)

    def freeze(self, *layers: int | str) -> None:
        """Keep the parameters and the state of these layers (l, or a path such as "3.1") still while training."""
        self.frozen |= {self.path(l) for l in layers}

    def unfreeze(self, *layers: int | str) -> None:
        """Undo `freeze`."""
        self.frozen -= {self.path(l) for l in layers}

    def path(self, layer: int | str | Path) -> Path:
        """The path of a layer as users write it: 3 or "3.1" → (3,) or (3, 1). Negative l count from the end."""
        try:
            path = layer if isinstance(layer, tuple) else tuple(int(part) for part in str(layer).split("."))
        except ValueError:
            path = ()
        if len(path) == 1 and path[0] < 0:
            path = (path[0] + self.L + 1,)
        if path not in dict(walk(self.chain)):
            raise UsageError(f"no layer {layer!r} in this network: l = 1 … {self.L}, or a path such as '3.1'")
        return path

    def is_frozen(self, path: Path) -> bool:
        """Whether the layer at `path`, or one that it is inside of, is frozen."""
        return any(path[:depth] in self.frozen for depth in range(1, len(path) + 1))

    @property
    def couples_instances(self) -> bool:
        """Whether any layer's output for one instance depends on the others."""
        return any(layer.couples_instances for _, layer in walk(self.chain))

    # -- forward and backward ----------------------------------------------------------------------------------------

    def plan(self, input_shape: Sequence[int] | int, B: int, dtype: str = "float32", device: str = "cpu") -> Plan:
        """Shapes checked, gather tables on the device, and the cut of a minibatch of B instances into shards."""
        place = arrays.device(device)
        with place.active(), self._placed():
            return make_plan(self.chain, as_shape(input_shape), B, dtype, place)

    def forward(
        self, params: Parameters, X: Array, training: bool = False, seed: int = 0, epoch: int = 0, m: int = 0
    ) -> tuple[Array, Tape]:
        """(A[L], tape) for instances X of shape (B, *input_shape).

        `training` runs dropout and batch normalization as in training; (seed, epoch, m) then address the dropout masks.
        """
        X = params.device.put(self.check_shape(params, X), params.dtype)
        with params.device.active(), self._placed():
            keys = {
                path: params.device.put(random.fold_many(seed, "dropout", path, epoch, [m])[0])
                for path in (drawing(self.chain) if training else ())
            }
            contexts = self.contexts(params, training=training, instances=X.shape[0], keys=keys)
            A, caches = chain_forward(self.chain, params.tree, X, contexts)
            return A, Tape(caches, params, A)

    def backward(self, dA: Array, tape: Tape, input_gradient: bool = True) -> tuple[Array, Parameters]:
        """(∂J/∂X or None, gradients by the names of the parameters) for dA = ∂J/∂A[L]."""
        tape.check()
        params = tape.params
        dA = params.device.put(as_array(dA), params.dtype)
        if tuple(dA.shape) != tape.output_shape:
            raise ShapeError(
                f"backward: dA has the shape of A[L] · expected {tape.output_shape} · got {tuple(dA.shape)}"
            )
        xp = params.device.namespace
        with params.device.active():
            grads = Parameters(params.shape_tree, {}, params.input_shape, params.device, params.dtype)
            own = xp.astype(dA, dA.dtype, copy=True)  # backward may overwrite what it is given
            first = 1 if input_gradient else first_with_parameters(params.shape_tree)
            dX, _ = chain_backward(self.chain, own, tape.caches, grads.tree, input_gradient, first)
        return dX, grads

    def predict(self, params: Parameters, X: Array, batch_size: int = 1024) -> Array:
        """A[L] for any number of instances: no tape, in chunks of `batch_size`. It lies where X lies."""
        X = self.check_shape(params, X)
        with params.device.active():
            contexts = self.contexts(params)
            parts = [
                self.run(params, params.device.put(X[rows, ...], params.dtype), contexts)
                for rows in Minibatches(max(X.shape[0], 1), batch_size)
            ]
            return arrays.device_of(X).put(concatenated(parts))

    def contexts(self, params: Parameters, **fields: Any) -> dict[int, Context]:
        """{l: context} on the device of `params`; `fields` as for `mathdl.plan.make_contexts`."""
        constants = constants_on(self.chain, params.input_shape, params.device)
        return make_contexts(self.chain, constants, params.state.tree, is_frozen=self.is_frozen, **fields)

    def run(self, params: Parameters, A: Array, contexts: Mapping[int, Context], layers: int | None = None) -> Array:
        """A[l] for l = `layers` (default L), keeping no caches."""
        for l in range(1, (self.L if layers is None else layers) + 1):
            A, _ = self.chain[l].forward(params.tree[l], A, contexts[l])
        return A

    def check_shape(self, params: Parameters, X: Array) -> Array:
        """X as an array, wherever it lies. Raises `ShapeError` unless it has the shape (B, *input_shape)."""
        X = X if is_on_file(X) else as_array(X)
        if len(X.shape) == 0 or tuple(X.shape[1:]) != params.input_shape:
            raise ShapeError(
                f"X (B, {', '.join(map(str, params.input_shape))}) expected · got X {tuple(X.shape)} "
                f"(axis 0 counts the instances; A[0] has shape {params.input_shape})"
            )
        return X


def feeding_relu(
    chain: Chain, weighted: set[Path], path: Path = (), waiting: frozenset[Path] = frozenset()
) -> tuple[frozenset[Path], frozenset[Path]]:
    """(paths whose next activation is ReLU-like, paths whose next activation is still to come).

    Of the paths `weighted`, those of layers with weights. What stands between (normalization, pooling, dropout) does
    not count. What goes into a residual layer goes into both of its chains; what comes out of both comes out of it.
    """
    found: frozenset[Path] = frozenset()
    for l, layer in chain.items():
        place = (*path, l)
        if isinstance(layer, Residual):
            starts, ends = waiting, frozenset[Path]()
            for part in (numbered(layer.layers), numbered(layer.shortcut, start=len(layer.layers) + 1)):
                inside, waiting = feeding_relu(part, weighted, place, starts)
                found, ends = found | inside, ends | waiting
            waiting = ends
            continue
        if place in weighted:
            waiting = frozenset({place})
        kind = type(getattr(layer, "activation", layer)).__name__  # a perceptron holds its activation
        if kind in _RELU_LIKE:
            found |= waiting
        if kind in _RELU_LIKE | _OTHER_ACTIVATIONS:
            waiting = frozenset()
    return found, waiting


def as_shape(shape: Sequence[int] | int) -> Shape:
    """A shape as a tuple of ints ≥ 1; an int is a vector's."""
    try:
        dims = tuple(integer("a size", d) for d in (shape if isinstance(shape, Iterable) else (shape,)))
    except UsageError:
        dims = ()
    if not dims:
        raise ShapeError(f"input_shape: expected ints ≥ 1 such as (784,) or (28, 28, 1), got {shape!r}")
    return dims


def _first_of(states: Tree) -> Tree:
    """{name: (shape, start)} as {name: shape}, through the levels of a tree."""
    return {key: _first_of(value) if isinstance(key, int) else value[0] for key, value in states.items()}
