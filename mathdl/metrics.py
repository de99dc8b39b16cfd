"""Figures of merit.

Two kinds. `…_per_instance(P, Y)` run inside a step, on arrays of any backend, and give a number for each instance, of
which the trainer takes the weighted mean. The others take whole sets on the host, and their arguments stand in
scikit-learn's order: what is true, then what was predicted.

Weights w (n,) count an instance w(i) times; None: once. Labels are integers in 0 … l−1.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from mathdl.arrays import Array, namespace
from mathdl.errors import DataError, UsageError, shape_mismatch

__all__ = [
    "absolute_error_per_instance",
    "accuracy",
    "accuracy_per_instance",
    "binary_accuracy_per_instance",
    "confusion_matrix",
    "f1",
    "mean_absolute_error",
    "precision",
    "r2",
    "recall",
    "root_mean_squared_error",
    "squared_error_per_instance",
    "top_k_accuracy",
]

Average: TypeAlias = Literal["macro"] | None
"""`"macro"`: the plain mean over all classes; None: one number for each class."""


# ---- inside a step -------------------------------------------------------------------------------------------------


def accuracy_per_instance(P: Array, Y: Array) -> Array:
    """[argmax_j P_ij = y_i]: 1 or 0 for each instance, (B,) in P's dtype; of equal P_ij the first counts.

    P (B, l): probabilities or logits. Y: labels (B,), or rows (B, l) whose largest entry is the label.
    """
    xp = namespace(P)
    labels = Y if Y.ndim == 1 else xp.argmax(Y, axis=1)
    return xp.astype(xp.argmax(P, axis=1) == labels, P.dtype)


def binary_accuracy_per_instance(P: Array, Y: Array, threshold: float = 0.5) -> Array:
    """1/l Σ_j [(P_ij > threshold) = (Y_ij = 1)], (B,) in P's dtype. P, Y (B, l). Of logits the threshold is 0."""
    xp = namespace(P)
    predicted, true = threshold < P, Y > 0.5
    return xp.mean(xp.astype(predicted == true, P.dtype), axis=1)


def absolute_error_per_instance(P: Array, Y: Array) -> Array:
    """1/d Σ_j |P_ij − Y_ij|, (B,). P, Y (B, d)."""
    xp = namespace(P)
    return xp.mean(xp.abs(P - Y), axis=1)


def squared_error_per_instance(P: Array, Y: Array) -> Array:
    """1/d Σ_j (P_ij − Y_ij)², (B,). P, Y (B, d)."""
    D = P - Y
    return namespace(P).mean(D * D, axis=1)


# ---- classification, on whole sets ---------------------------------------------------------------------------------


def accuracy(labels: Any, predicted: Any, weights: Any = None) -> float:
    """Σ w [y = ŷ] / Σ w. `labels` y, `predicted` ŷ (n,); or (n, l), where every output counts by itself."""
    labels, predicted = _same_shape("accuracy", labels, predicted)
    return _weighted_mean("accuracy", labels == predicted, weights)


def top_k_accuracy(P: Any, labels: Any, k: int = 5, weights: Any = None) -> float:
    """Σ w [P_iy is one of the k largest of row i] / Σ w. P (n, l), labels y (n,).

    Of equal P_ij the first count as larger, so k = 1 is `accuracy` of the argmax. Raises `UsageError` unless 1 ≤ k ≤ l.
    """
    P, labels = np.asarray(P), np.asarray(labels)
    if P.ndim != 2 or labels.shape != P.shape[:1]:
        raise shape_mismatch(
            "top_k_accuracy", "a label for each row of P", P=("(n, l)", P.shape), labels=("(n,)", labels.shape)
        )
    if not 1 <= k <= P.shape[1]:
        raise UsageError(f"top_k_accuracy: k must lie in 1 … {P.shape[1]}, the number of classes; got {k!r}")
    labels = _labels("top_k_accuracy", labels, P.shape[1])[:, np.newaxis]
    own = np.take_along_axis(P, labels, axis=1)
    larger, equal, earlier = own < P, own == P, np.arange(P.shape[1]) < labels
    before = larger | (equal & earlier)
    return _weighted_mean("top_k_accuracy", np.sum(before, axis=1) < k, weights)


def confusion_matrix(labels: Any, predicted: Any, classes: int, weights: Any = None) -> np.ndarray:
    """C_ab = Σ w [y = a] [ŷ = b], (classes, classes): rows are true, columns predicted. Integers without weights."""
    labels, predicted = _same_shape("confusion_matrix", labels, predicted)
    labels, predicted = _labels("confusion_matrix", labels, classes), _labels("confusion_matrix", predicted, classes)
    if weights is not None:
        weights = _weights("confusion_matrix", weights, len(labels))
    return np.bincount(labels * classes + predicted, weights, classes * classes).reshape(classes, classes)


def precision(
    labels: Any, predicted: Any, classes: int, average: Average = "macro", weights: Any = None
) -> float | np.ndarray:
    """C_aa / Σ_b C_ba: the share of those predicted as a that are a. 0/0 = 0 (scikit-learn's `zero_division=0`)."""
    C = confusion_matrix(labels, predicted, classes, weights)
    return _averaged(_quotient(np.diag(C), np.sum(C, axis=0)), average)


def recall(
    labels: Any, predicted: Any, classes: int, average: Average = "macro", weights: Any = None
) -> float | np.ndarray:
    """C_aa / Σ_b C_ab: the share of those that are a that are predicted as a. 0/0 = 0."""
    C = confusion_matrix(labels, predicted, classes, weights)
    return _averaged(_quotient(np.diag(C), np.sum(C, axis=1)), average)


def f1(
    labels: Any, predicted: Any, classes: int, average: Average = "macro", weights: Any = None
) -> float | np.ndarray:
    """2 C_aa / (Σ_b C_ab + Σ_b C_ba): the harmonic mean of precision and recall of each class a. 0/0 = 0."""
    C = confusion_matrix(labels, predicted, classes, weights)
    return _averaged(_quotient(2 * np.diag(C), np.sum(C, axis=0) + np.sum(C, axis=1)), average)


# ---- regression, on whole sets -------------------------------------------------------------------------------------


def mean_absolute_error(Y: Any, P: Any, weights: Any = None) -> float:
    """Σ w |y − p| / Σ w, averaged over outputs. Y, P (n,) or (n, d)."""
    Y, P = _same_shape("mean_absolute_error", Y, P, np.float64)
    return _weighted_mean("mean_absolute_error", np.abs(Y - P), weights)


def root_mean_squared_error(Y: Any, P: Any, weights: Any = None) -> float:
    """√(Σ w (y − p)² / Σ w) of each output, averaged over outputs, as scikit-learn does. Y, P (n,) or (n, d)."""
    Y, P = _same_shape("root_mean_squared_error", Y, P, np.float64)
    w = _weights("root_mean_squared_error", weights, len(Y))
    return float(np.mean(np.sqrt(np.average((Y - P) ** 2, axis=0, weights=w))))


def r2(Y: Any, P: Any, weights: Any = None) -> float:
    """1 − Σ w (y − p)² / Σ w (y − ȳ)² of each output, ȳ = Σ w y / Σ w, averaged over outputs. Y, P (n,) or (n, d).

    An output whose y are all equal counts 1 if p = y everywhere, else 0. One instance has no variance: NaN. All as in
    scikit-learn.
    """
    Y, P = _same_shape("r2", Y, P, np.float64)
    if len(Y) == 1:
        return float("nan")
    w = _weights("r2", weights, len(Y))
    error = np.average((Y - P) ** 2, axis=0, weights=w)
    spread = np.average((Y - np.average(Y, axis=0, weights=w)) ** 2, axis=0, weights=w)
    ratio = np.divide(error, spread, out=np.where(error == 0, 0.0, 1.0), where=spread != 0)
    return float(np.mean(1.0 - ratio))


def _same_shape(place: str, true: Any, predicted: Any, dtype: type | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (n,) or (n, d), cast to `dtype` if given; raises unless they have the same shape and n > 0."""
    true, predicted = np.asarray(true, dtype), np.asarray(predicted, dtype)
    if true.shape != predicted.shape or true.ndim not in (1, 2):
        raise shape_mismatch(
            place, "both sides must have the same shape", true=("(n,)", true.shape), predicted=("(n,)", predicted.shape)
        )
    if len(true) == 0:
        raise DataError(f"{place}: there are no instances")
    return true, predicted


def _labels(place: str, labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels as int64; raises unless all are whole numbers in 0 … classes−1."""
    wrong = np.flatnonzero(~np.isin(labels, np.arange(classes)))
    if wrong.size:
        row = wrong[0]
        raise DataError(f"{place}: row {row} is {labels[row]}, expected a label in 0 … {classes - 1}")
    return labels.astype(np.int64)


def _weights(place: str, weights: Any, n: int) -> np.ndarray:
    """Weights (n,) as float64, ones if None; raises unless they sum to more than 0."""
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,):
        raise shape_mismatch(place, "a weight for each instance", weights=("(n,)", w.shape), instances=("(n,)", (n,)))
    if not np.sum(w) > 0:
        raise DataError(f"{place}: the weights sum to {np.sum(w):g}, expected a sum > 0")
    return w


def _weighted_mean(place: str, values: np.ndarray, weights: Any) -> float:
    """Σ w(i) v(i) / Σ w of values (n,), or (n, d) averaged over d."""
    each = values if values.ndim == 1 else np.mean(values, axis=1)
    return float(np.average(each, weights=_weights(place, weights, len(each))))


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, with 0/0 = 0."""
    quotient = np.zeros(a.shape)
    np.divide(a, b, out=quotient, where=b != 0)
    return quotient


def _averaged(values: np.ndarray, average: Average) -> float | np.ndarray:
    if average not in ("macro", None):
        raise UsageError(f"average must be 'macro' or None, got {average!r}")
    return values if average is None else float(np.mean(values))
