"""Where did a non-finite number come from? The answer is an address in the notation of the texts.

    J is NaN from epoch 3, minibatch {17}: first non-finite A[2]{17}(4) = +∞, dataset row 1203

Epochs count from 1, as in the history; m and i from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mathdl.arrays import Array, to_host
from mathdl.data import first_non_finite
from mathdl.errors import NonFiniteError
from mathdl.layers.chain import Path, chain_activations
from mathdl.notation import activation
from mathdl.plan import make_contexts
from mathdl.training.step import Step

_ADVICE = "θ is as it was before this minibatch. Try a smaller learning rate, or clip_norm= in the optimizer"


def diagnose(step: Step, epoch: int, m: int, rows: NDArray[np.int64]) -> NonFiniteError:
    """The error for a step on minibatch {m} whose J is not finite. Recomputes the forward pass, as in training."""
    J = float(to_host(step.J)[0])
    when = f"J is {_word(J)} from epoch {epoch}, minibatch {{{m}}}"
    return NonFiniteError(f"{when}: {_first_cause(step, m, rows)}. {_ADVICE}")


def _first_cause(step: Step, m: int, rows: NDArray[np.int64]) -> str:
    for name, W in step.params.items():
        at = first_non_finite(W)
        if at is not None:
            return f"{name} holds {_word(to_host(W)[at])} at {list(at)}"
    X, Y, _ = step.rows.take(0, step.plan.B)
    for place, A in _activations(step, X):
        at = first_non_finite(A)
        if at is not None:
            value = _word(to_host(A)[at])
            return f"first non-finite {activation(place, m, at[0])} = {value}, dataset row {rows[at[0]]}"
    losses = to_host(step.objective.instance_losses(A, Y))
    at = first_non_finite(losses)
    if at is not None:
        return f"every A is finite, and the loss of ({at[0]}) is {_word(losses[at])}, dataset row {rows[at[0]]}"
    return "every A and every loss is finite, and their weighted mean is not"


def _activations(step: Step, X: Array) -> Iterator[tuple[Path, Array]]:
    yield (0,), X
    contexts = make_contexts(
        step.objective.chain,
        step.plan.constants,
        step.params.state.tree,
        training=True,
        instances=step.plan.B,
        keys=step.drawn_keys(),
        is_frozen=step.objective.network.is_frozen,
    )
    yield from chain_activations(step.objective.chain, step.params.tree, X, contexts)


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "+∞" if value > 0 else "−∞"
