"""The loss of labels as one expression, without a gather, and the figures of a step in one kernel."""

from __future__ import annotations

from typing import Any

from mathdl.primitive import PRIMITIVES, Kernel
from mathdl_backends.cupy.fusing import expressed
from mathdl_backends.cupy.lazy import expression_of, plain, store_all


def labels_terms(Z: Any, labels: Any) -> tuple[Any, Any, Any]:
    """(ℓ, E, T), on lazy arrays. What is no class has no loss: its ℓ is NaN."""
    xp, l = Z.own_namespace, Z.shape[1]
    S = Z - xp.max(Z, axis=1, keepdims=True)
    E = xp.exp(S)
    T = xp.sum(E, axis=1, keepdims=True)
    y = labels[:, None]
    picked = xp.sum(xp.where(y == xp.arange(l, dtype=labels.dtype), S, 0.0), axis=1, keepdims=True)
    return xp.where(xp.bitwise_and(y >= 0, y < l), xp.log(T) - picked, float("nan")), E, T


def labels_slopes(E: Any, T: Any, labels: Any, dlosses: Any) -> Any:
    """dZ, on lazy arrays."""
    return PRIMITIVES["categorical_cross_entropy_labels_slopes"].__wrapped__(E, T, labels, dlosses)


def put_numbers(row: Any, *numbers: Any) -> None:
    """row ← (the numbers). Sums of as many terms are one kernel."""
    pairs = [(expression_of(number), plain(row)[j : j + 1]) for j, number in enumerate(numbers)]
    for alike in {expression.reduced: None for expression, _ in pairs}:
        store_all([pair for pair in pairs if pair[0].reduced == alike])


KERNELS = {
    "put_numbers": Kernel(put_numbers),
    "categorical_cross_entropy_labels_terms": Kernel(expressed(labels_terms)),
    "categorical_cross_entropy_labels_slopes": Kernel(expressed(labels_slopes)),
}
