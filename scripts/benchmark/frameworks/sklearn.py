"""scikit-learn: MLPClassifier.partial_fit, an epoch a call."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier
from workloads import MOMENTUM, RATE, Burst, Place, Workload, rows_of


def training(workload: Workload, place: Place) -> Burst:
    """Multilayer perceptrons on a CPU, which is all that it has."""
    X, Y = rows_of(workload)
    model = MLPClassifier(
        workload.widths, solver="sgd", learning_rate_init=RATE, momentum=MOMENTUM, nesterovs_momentum=False,
        batch_size=workload.B, alpha=0.0,
    )  # fmt: skip
    model.partial_fit(X, Y, classes=np.arange(10))

    def burst(steps: int) -> None:
        for _ in range(max(1, steps // workload.minibatches)):
            model.partial_fit(X, Y)

    return burst
