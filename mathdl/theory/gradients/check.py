"""`check_gradients`: every gradient of a layer, a loss or a network, checked on numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from mathdl.arrays import as_array, to_host
from mathdl.errors import MathdlError, UsageError, integer
from mathdl.layers.layer import Layer
from mathdl.losses import Loss
from mathdl.losses import loss as loss_called
from mathdl.network import Network, Parameters, as_shape
from mathdl.notation import flat_name
from mathdl.objective import Objective
from mathdl.theory.gradients.agreement import Examination
from mathdl.theory.gradients.report import AGREES, FOLLOWS, KINK, WRONG, GradientReport, Row
from mathdl.theory.gradients.subject import (
    THETA,
    Numbers,
    Setting,
    Subject,
    Targets,
    has_two_modes,
    of_layers,
    of_loss,
    of_network,
)

NETWORK = f"d{THETA}"
"""The gradient of the whole network."""

Checkable: TypeAlias = Network | Loss | Layer | Iterable[Layer]


def check_gradients(
    what: Checkable,
    input_shape: Sequence[int] | int | None = None,
    *,
    loss: str | Loss | None = None,
    X: Any = None,
    Y: Any = None,
    params: Parameters | None = None,
    batch_size: int = 4,
    directions: int = 3,
    seed: int = 0,
) -> GradientReport:
    """Check the backward of a layer, a list of layers, a network or a loss against its forward, in float64 on the CPU.

    Every layer is checked by itself, where it stands: dA[l-1] and the gradient of each parameter, those inside a
    `Residual` too; then the loss, and the whole network as it is trained. Dual numbers run through forward give the
    derivative along random `directions` to compare with, and central differences are a second witness
    (`mathdl.theory.gradients.agreement` derives how far each may be off). Layers run as while training; dropout and
    batch normalization are checked as they predict, too.

    `input_shape` is that of one instance (for a loss: of what the network puts out), and need not be given with `X`
    (n, …). `X` (standard normal), `Y` (drawn for the loss) and `params` (drawn, and moved off their start, so that no
    bias is 0) are where it is checked. What lies on a kink there (a maximum of equal entries) is checked a bit beside.

    Returns a `GradientReport`: `print` it, ask `report.ok`. Raises `UsageError` if forward does not run on dual
    numbers, and what the layers themselves raise, with the place.
    """
    batch_size, directions = integer("batch_size", batch_size), integer("directions", directions)
    rng = np.random.default_rng(seed)
    shape = _shape(what, input_shape, X)
    if not isinstance(what, Network) and isinstance(what, Loss):
        with np.errstate(all="ignore"):
            return _report(_loss_alone(loss_called(what), shape, X, Y, batch_size, rng), directions, rng)
    network = what if isinstance(what, Network) else Network([what] if isinstance(what, Layer) else what)
    theta = _point(network, shape, params, seed, rng)
    X = rng.standard_normal((batch_size, *shape)) if X is None else _numbers(network.check_shape(theta, X))
    chosen = None if loss is None else loss_called(loss)
    with np.errstate(all="ignore"):
        return _report(_subjects(network, theta, X, chosen, Y, seed, rng), directions, rng)


def _shape(what: Any, input_shape: Sequence[int] | int | None, X: Any) -> tuple[int, ...]:
    if input_shape is not None:
        return as_shape(input_shape)
    if X is not None:
        return tuple(int(d) for d in np.shape(to_host(as_array(X)))[1:])
    known = getattr(what, "input_shape", None)
    if known is None:
        raise UsageError("check_gradients: give the shape of one instance, such as (28, 28, 1), or X")
    return tuple(known)


def _numbers(X: Any) -> Numbers:
    return np.array(to_host(X), dtype=np.float64)


def _point(
    network: Network, shape: tuple[int, ...], params: Parameters | None, seed: int, rng: np.random.Generator
) -> Parameters:
    """θ in float64 on the CPU: a copy of `params`, or drawn."""
    if params is None:
        theta = network.initialize(shape, seed=seed, dtype="float64")
        for view in theta.values():
            view += 0.1 * (float(np.std(view)) or 1.0) * rng.standard_normal(view.shape)
        return theta
    theta = network.empty_parameters(shape, "cpu", "float64")
    theta.assign({**params, **params.state})
    return theta


# -- subjects ----------------------------------------------------------------------------------------------------------


def _subjects(
    network: Network, theta: Parameters, X: Numbers, loss: Loss | None, Y: Any, seed: int, rng: np.random.Generator
) -> list[Subject]:
    training = Setting(network, theta, len(X), seed, training=True)
    pairs = list(of_layers(network.chain, theta.tree, X, training))
    subjects = [subject for _, subject in pairs]
    if any(has_two_modes(layer) for layer, _ in pairs):
        predicting = Setting(network, theta, len(X), seed, training=False)
        again = of_layers(network.chain, theta.tree, X, predicting)
        subjects += [subject for layer, subject in again if layer.draws or layer.couples_instances]
    targets = None
    if loss is not None:
        objective = Objective(network, loss)
        targets = _targets(loss, Y, len(X), network.shapes(theta.input_shape)[-1], rng)
        A = X
        for l, layer in objective.chain.items():
            A = to_host(layer.forward(theta.tree[l], A.copy(), training.contexts(A)[l])[0])
        fused = loss if objective.depth == network.L else replace(loss, logits=True)  # type: ignore[type-var]
        subjects.append(of_loss(fused, flat_name("A", (objective.depth,)), np.array(A), targets))
    if theta.vector.shape[0]:
        subjects.append(of_network(network, theta, X, training, loss, targets))
    return subjects


def _loss_alone(
    loss: Loss, shape: tuple[int, ...], X: Any, Y: Any, batch_size: int, rng: np.random.Generator
) -> Iterable[Subject]:
    """A loss where P is drawn; cross-entropy with labels and with rows."""
    P = _outputs(loss, (batch_size, *shape), rng) if X is None else _numbers(X)
    if Y is None and loss.kind == "categorical":
        rows = rng.dirichlet(np.ones(shape[-1]), size=len(P))
        name = type(loss).__name__
        yield of_loss(loss, "A[L]", P, _targets(loss, None, len(P), shape, rng), f"{name} of labels")
        yield of_loss(loss, "A[L]", P, _targets(loss, rows, len(P), shape, rng), f"{name} of rows")
    else:
        yield of_loss(loss, "A[L]", P, _targets(loss, Y, len(P), shape, rng))


def _outputs(loss: Loss, shape: tuple[int, ...], rng: np.random.Generator) -> Numbers:
    """What a network that fits the loss might put out: probabilities, logits, positive numbers."""
    Z = rng.standard_normal(shape)
    if getattr(loss, "logits", False):
        return Z
    if loss.kind == "binary":
        return 1.0 / (1.0 + np.exp(-Z))
    P = np.exp(Z)
    return P / np.sum(P, axis=-1, keepdims=True) if loss.kind == "categorical" else P


def _targets(loss: Loss, Y: Any, n: int, outputs: tuple[int, ...], rng: np.random.Generator) -> Targets:
    """Y, or targets that fit the loss, and weights of the instances."""
    if Y is None and loss.kind == "categorical":
        Y = rng.integers(0, outputs[-1], n)
    elif Y is None and loss.kind == "binary":
        Y = rng.integers(0, 2, (n, *outputs))
    elif Y is None:
        Y = np.exp(rng.standard_normal((n, *outputs)))
    checked = loss.check_targets(to_host(as_array(Y)), outputs)
    if len(checked) != n:
        raise UsageError(f"check_gradients: X and Y must have as many rows · X has {n} · Y has {len(checked)}")
    labels = loss.kind == "categorical" and checked.ndim == 1
    return Targets(checked if labels else _numbers(checked), rng.uniform(0.5, 1.5, n), labels)


# -- the report --------------------------------------------------------------------------------------------------------


def _report(subjects: Iterable[Subject], directions: int, rng: np.random.Generator) -> GradientReport:
    rows: list[Row] = []
    for subject in subjects:
        try:
            rows += _examined(subject, directions, rng)
        except MathdlError:
            raise
        except Exception as error:
            wrong = next((row for row in rows if row.verdict == WRONG), None)
            if wrong is not None and not subject.path:  # of a wrong shape, say: the network cannot run with it
                rows.append(Row((), subject.place, f"d{subject.checked[0]}", None, None, WRONG))
                continue
            error.add_note(f"in {subject.place}, at layer l = {'.'.join(map(str, subject.path)) or 'L'}")
            raise
    return GradientReport(tuple(_explained(row, rows) for row in rows))


def _examined(subject: Subject, directions: int, rng: np.random.Generator) -> list[Row]:
    """The rows of a subject; where one is at a kink (a maximum of zeros that ReLU left), of a point beside it."""
    found = list(Examination(subject, rng).rows(directions))
    if all(row.verdict != KINK for row in found):
        return found
    again = Examination(subject.moved(rng), rng).rows(directions)
    return [row if row.verdict != AGREES else row._replace(note="beside a kink") for row in again]


def _explained(row: Row, rows: Sequence[Row]) -> Row:
    """A gradient that is wrong because one inside is; of the whole network, because any is."""
    if row.verdict != WRONG or (not row.path and row.gradient != NETWORK):
        return row
    inside = [r for r in rows if r.verdict == WRONG and r is not row and r.path[: len(row.path)] == row.path]
    inside = [r for r in inside if r.path != row.path or not row.path]
    return row._replace(verdict=FOLLOWS, note=f"from {inside[0].gradient}") if inside else row
