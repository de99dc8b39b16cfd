"""Objective: a network and a loss on a minibatch, J(θ) and ∂J/∂θ.

    J = Σ_i w(i) ℓ(A[L](i), Y(i)) / Σ_i w(i)

**Pairing.** A network that ends in Softmax (or LogSoftmax) with categorical cross-entropy, or in Sigmoid with binary
cross-entropy, is run without its last layer, and the loss in its fused form, of logits: the same J, stable, and its
gradient is P − Y (proposition softmax-cce). `outputs` still gives the probabilities.

Propositions: batch-linearity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from mathdl import layers, metrics
from mathdl.arrays import Array, Shape, Tree, namespace
from mathdl.errors import UsageError
from mathdl.layers.chain import Chain, chain_backward, chain_forward
from mathdl.layers.layer import NOTHING, Cache, Context, Layer
from mathdl.layers.sigmoid import Sigmoid
from mathdl.layers.softmax import Softmax
from mathdl.losses import Loss
from mathdl.network import Network, Parameters
from mathdl.notation import split_name

Metric = Callable[[Array, Array], Array]
"""(what the objective's layers put out, Y) → one number for each instance."""

_OUTPUT_OF_LOGITS: dict[str, Layer] = {"categorical": Softmax(), "binary": Sigmoid()}


class Objective:
    """J of `network` under `loss`; raises `UsageError` for a pair that makes no sense."""

    propositions: ClassVar[tuple[str, ...]] = ("batch-linearity",)

    def __init__(self, network: Network, loss: Loss) -> None:
        last = network.layers[-1]
        logits = getattr(loss, "logits", False)
        # the layers themselves, and no namesake of one's own
        paired = any(type(last) is getattr(layers, name, None) for name in loss.pairs_with)
        if paired and logits:
            raise UsageError(f"{loss!r} takes logits, but the network ends in {last!r}: leave out one of the two")
        if loss.pairs_with and not paired and not logits:
            raise UsageError(
                f"{type(loss).__name__} takes probabilities, but the network ends in {last!r}: "
                f"end it in {' or '.join(loss.pairs_with)}, or pass logits=True to the loss"
            )
        self.network = network
        self.loss = loss
        self.depth = network.L - 1 if paired else network.L
        """The layers that are run: all, or all but the one that the loss is fused with."""
        self.chain: Chain = {l: network.chain[l] for l in range(1, self.depth + 1)}
        self.step_loss: Loss = replace(loss, logits=True) if paired else loss  # type: ignore[type-var]
        """The loss in the form in which a step computes it."""
        self._tail: Layer | None = last if paired else _OUTPUT_OF_LOGITS[loss.kind] if logits else None

    def gradient(
        self,
        params: Parameters,
        contexts: Mapping[int, Context],
        X: Array,
        Y: Array,
        weights: Array | None,
        total: Array | float | None,
        into: Tree = NOTHING,
        first: int = 1,
    ) -> tuple[Array, Array, dict[int, Cache]]:
        """(J, A, tape) for a shard; its part of ∂J/∂θ is written to `into`, from the last layer down to `first`."""
        A, tape = chain_forward(self.chain, params.tree, X, contexts)
        J, cache = self.step_loss.forward(A, Y, weights, total)
        chain_backward(self.chain, self.step_loss.backward(cache), tape, into, False, first)
        return J, A, tape

    def instance_losses(self, A: Array, Y: Array) -> Array:
        """ℓ(i) for each instance, of what the objective's layers put out."""
        return self.step_loss.instance_losses(A, Y)

    def forward(self, params: Parameters, X: Array, contexts: Mapping[int, Context]) -> Array:
        """What the objective's layers put out: logits where the loss is fused."""
        return self.network.run(params, X, contexts, self.depth)

    def outputs(self, A: Array) -> Array:
        """What the network puts out (probabilities), from what the objective's layers put out."""
        return A if self._tail is None else self._tail.forward(NOTHING, A, Context())[0]

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of an instance's output."""
        return self.network.shapes(input_shape)[-1]

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of what training reports: the loss, and what the metrics come to."""
        return ("loss", "mae", "rmse", "r2") if self.loss.kind == "regression" else ("loss", "accuracy")

    def metrics(self, scale: Array | None = None) -> dict[str, Metric]:
        """The figures that training reports beside the loss, by the kind of target.

        `scale` (1, d) undoes the standardization of regression targets.
        """
        if self.loss.kind == "categorical":
            return {"accuracy": metrics.accuracy_per_instance}
        if self.loss.kind == "binary":
            threshold = 0.0 if self._tail is not None else 0.5
            return {"accuracy": lambda A, Y: metrics.binary_accuracy_per_instance(A, Y, threshold)}
        return {
            "mae": lambda A, Y: metrics.absolute_error_per_instance(*_scaled(A, Y, scale)),
            "mse": lambda A, Y: metrics.squared_error_per_instance(*_scaled(A, Y, scale)),
        }

    def first_learnt(self, params: Parameters) -> int:
        """The least l with parameters that are not frozen: the recursion stops there, and it computes no dA."""
        paths = [split_name(name)[1] for name in params]
        learnt = [path[0] for path in paths if not self.network.is_frozen(path)]
        if not learnt:
            raise UsageError("nothing to learn: every layer of this network is frozen or has no parameters")
        return min(learnt)


def _scaled(A: Array, Y: Array, scale: Array | None) -> tuple[Array, Array]:
    return (A, Y) if scale is None else (A * scale, Y * scale)


def weighted_mean(values: Array, weights: Array | None, total: Array | float) -> Array:
    """Σ_i w(i) v(i) / total."""
    xp: Any = namespace(values)
    return xp.sum(values if weights is None else values * weights) / total
