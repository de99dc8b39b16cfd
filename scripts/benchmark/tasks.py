"""What is measured beside steps: predictions of the small network, and digits learnt to 97 %.

Each function returns a burst, as in workloads.py: so many predictions, or trainings from the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from workloads import WORKLOADS, Burst, Place, rows_of

_SMALL = WORKLOADS["small MLP 64-128-10, B=32"]
_GOAL, _MOST_EPOCHS = 0.97, 100
_RATE, _MOMENTUM, _BATCH = 0.1, 0.9, 32


def repeated(once: Callable[[], Any]) -> Burst:
    """once(), as often as is asked for."""

    def burst(times: int) -> None:
        for _ in range(times):
            once()

    return burst


# -- probabilities of `rows` rows, from a NumPy array to a NumPy array -------------------------------------------------


def _rows(count: int) -> Any:
    return np.random.default_rng(0).standard_normal((count, *_SMALL.input), dtype=np.float32)


def predict_mathdl(count: int) -> Burst:
    """`Model.predict`, checks of its input included."""
    from frameworks.mathdl import network

    import mathdl as md

    trainer, X = md.Trainer(network(_SMALL), device="cpu"), _rows(count)
    trainer.prepare(*rows_of(_SMALL))
    return repeated(lambda: trainer.model.predict(X))


def predict_torch(count: int) -> Burst:
    """Eager PyTorch without gradients."""
    import torch as pt
    from frameworks.torch import network

    model, X = network(_SMALL).eval(), _rows(count)

    def once() -> None:
        with pt.inference_mode():
            pt.softmax(model(pt.from_numpy(X)), dim=1).numpy()

    return repeated(once)


def predict_jax(count: int) -> Burst:
    """One jitted function."""
    import jax as jx
    from frameworks.jax import network

    parameters, logits = network(_SMALL)
    jitted, X = jx.jit(lambda p, x: jx.nn.softmax(logits(p, x))), _rows(count)
    return repeated(lambda: np.asarray(jitted(parameters, X)))


def predict_sklearn(count: int) -> Burst:
    """`predict_proba`."""
    from sklearn.neural_network import MLPClassifier

    model, X = MLPClassifier(_SMALL.widths, max_iter=1), _rows(count)
    model.partial_fit(*rows_of(_SMALL), classes=np.arange(10))
    return repeated(lambda: model.predict_proba(X))


# -- digits, 64-128-10, SGD with momentum: until 97 % of the test rows are right after an epoch ------------------------


def digits() -> tuple[Any, Any, Any, Any]:
    """X, Y of 1437 rows to train on and of 360 to test, in [0, 1]."""
    from mathdl.data import load

    whole = load("digits")
    X, Y = (whole.X / 16).reshape(len(whole.Y), -1).astype(np.float32), whole.Y.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(Y))
    return X[order[360:]], Y[order[360:]], X[order[:360]], Y[order[:360]]


def _until_goal(epoch: Callable[[], float]) -> None:
    for _ in range(_MOST_EPOCHS):
        if epoch() >= _GOAL:
            return
    raise RuntimeError(f"{_GOAL:.0%} not reached in {_MOST_EPOCHS} epochs")


def learn_mathdl(place: Place) -> Burst:
    """`Trainer.fit`, an epoch at a time."""
    from frameworks.mathdl import network

    import mathdl as md

    X, Y, X_test, Y_test = digits()

    def once() -> None:
        optimizer = md.SGD(_RATE, momentum=_MOMENTUM)
        trainer = md.Trainer(network(_SMALL), optimizer=optimizer, batch_size=_BATCH, device=place.device)

        def epoch() -> float:
            trainer.fit(X, Y, verbose=False)
            return trainer.evaluate(X_test, Y_test)["accuracy"]

        _until_goal(epoch)

    return repeated(once)


def learn_torch(place: Place) -> Burst:
    """Eager PyTorch."""
    import torch as pt
    from frameworks.torch import network, take_place

    take_place(place)
    X, Y, X_test, Y_test = (pt.tensor(part, device=place.device) for part in digits())

    def once() -> None:
        model = network(_SMALL).to(place.device)
        optimizer = pt.optim.SGD(model.parameters(), lr=_RATE, momentum=_MOMENTUM)

        def epoch() -> float:
            for rows in pt.randperm(len(Y), device=place.device).split(_BATCH):
                optimizer.zero_grad()
                pt.nn.functional.cross_entropy(model(X[rows]), Y[rows]).backward()
                optimizer.step()
            with pt.inference_mode():
                return float((model(X_test).argmax(dim=1) == Y_test).float().mean())

        _until_goal(epoch)

    return repeated(once)


def learn_sklearn(place: Place) -> Burst:
    """`MLPClassifier.partial_fit`, an epoch a call."""
    from sklearn.neural_network import MLPClassifier

    X, Y, X_test, Y_test = digits()

    def once() -> None:
        model = MLPClassifier(_SMALL.widths, solver="sgd", learning_rate_init=_RATE, momentum=_MOMENTUM,
                              nesterovs_momentum=False, batch_size=_BATCH, alpha=0.0)  # fmt: skip

        def epoch() -> float:
            model.partial_fit(X, Y, classes=np.arange(10))
            return float(model.score(X_test, Y_test))

        _until_goal(epoch)

    return repeated(once)


_PREDICTIONS = {"mathdl": predict_mathdl, "torch": predict_torch, "jax": predict_jax, "sklearn": predict_sklearn}

TASKS: dict[str, dict[str, Callable[[Place], Burst]]] = {
    **{
        f"small MLP, {what} predicted": {name: (lambda place, f=f, n=n: f(n)) for name, f in _PREDICTIONS.items()}
        for what, n in (("1 row", 1), ("10,000 rows", 10_000))
    },
    "digits to 97 %": {"mathdl": learn_mathdl, "torch": learn_torch, "sklearn": learn_sklearn},
}
"""Name → module of the framework → what makes its burst on a device. Predictions are those of a CPU."""
