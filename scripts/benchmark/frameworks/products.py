"""The floor of a CPU: what a step cannot do without."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from workloads import Burst, Place, Workload


def training(workload: Workload, place: Place) -> Burst:
    """A step's matrix products, by `np.matmul(out=)` with a threaded BLAS and without the
    first layer's input gradient, and one read and write of θ, velocity and gradient. Patches are gathered beforehand.
    """
    rng = np.random.default_rng(3)
    products = []
    parameters = 0
    for j, (rows, inner, columns) in enumerate(_products(workload)):
        A, W, D = (rng.standard_normal(s, dtype=np.float32) for s in ((rows, inner), (inner, columns), (rows, columns)))
        parameters += inner * columns
        products += [(A, W), (A.T, D)] + ([(D, W.T)] if j else [])
    outs = [np.empty((a.shape[0], b.shape[1]), dtype=np.float32) for a, b in products]
    theta, velocity, gradient = (rng.standard_normal(parameters, dtype=np.float32) for _ in range(3))

    def burst(steps: int) -> None:
        for _ in range(steps):
            for (a, b), out in zip(products, outs, strict=True):
                np.matmul(a, b, out=out)
            for v in (theta, velocity, gradient):
                np.negative(v, out=v)

    return burst


def _products(workload: Workload) -> list[tuple[int, int, int]]:
    B = workload.B
    if workload.network == "mlp":
        widths = (*workload.input, *workload.widths, 10)
        return [(B, a, b) for a, b in pairwise(widths)]
    return [(B * 784, 9, 32), (B * 196, 288, 64), (B, 3136, 128), (B, 128, 10)]
