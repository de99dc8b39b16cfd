"""JAX: one jitted function for the whole step, or `lax.scan` over the steps of an epoch; the gather included."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax as jx
import jax.numpy as jnp
import numpy as np
from workloads import MOMENTUM, RATE, Burst, Place, Workload, rows_of


def network(workload: Workload) -> tuple[Any, Callable[[Any, Any], Any]]:
    """(parameters, logits(parameters, x)), channels last."""
    rng = np.random.default_rng(2)

    def draw(*shape: int) -> Any:
        return jnp.asarray(rng.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[:-1])))

    def conv(x: Any, W: Any, stride: int = 1) -> Any:
        return jx.lax.conv_general_dilated(
            x, W, (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        return (x - mean) / jnp.sqrt(variance + 1e-5) * gamma + beta

    if workload.network == "mlp":
        widths = (*workload.input, *workload.widths, 10)
        parameters: Any = [(draw(a, b), jnp.zeros(b)) for a, b in pairwise(widths)]

        def mlp(p: Any, x: Any) -> Any:
            for W, b in p[:-1]:
                x = jx.nn.relu(x @ W + b)
            return x @ p[-1][0] + p[-1][1]

        return parameters, mlp
    if workload.network == "cnn":
        shapes = [(3, 3, 1, 32), (3, 3, 32, 64), (3136, 128), (128, 10)]
        parameters = [(draw(*shape), jnp.zeros(shape[-1])) for shape in shapes]

        def pool(x: Any) -> Any:
            return jx.lax.reduce_window(x, -jnp.inf, jx.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

        def cnn(p: Any, x: Any) -> Any:
            for W, b in p[:2]:
                x = pool(jx.nn.relu(conv(x, W) + b))
            x = jx.nn.relu(x.reshape(x.shape[0], -1) @ p[2][0] + p[2][1])
            return x @ p[3][0] + p[3][1]

        return parameters, cnn
    shapes = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 32), (3, 3, 32, 64), (3, 3, 64, 64), (3, 3, 64, 64)]
    parameters = [(draw(*s), jnp.zeros(s[-1]), jnp.ones(s[-1]), jnp.zeros(s[-1])) for s in shapes]
    parameters.append((draw(64, 10), jnp.zeros(10)))

    def residual(p: Any, x: Any) -> Any:
        def layer(j: int, x: Any, stride: int = 1) -> Any:
            W, b, gamma, beta = p[j]
            return norm(conv(x, W, stride) + b, gamma, beta)

        x = jx.nn.relu(layer(0, x))
        x = jx.nn.relu(x + layer(2, jx.nn.relu(layer(1, x))))
        x = jx.nn.relu(layer(3, x, stride=2))
        x = jx.nn.relu(x + layer(5, jx.nn.relu(layer(4, x))))
        return jnp.mean(x, (1, 2)) @ p[6][0] + p[6][1]

    return parameters, residual


def training(workload: Workload, place: Place, scan: bool = False) -> Burst:
    """Parameters and velocities are donated: they are updated in place."""
    take_place(place)
    X, Y = rows_of(workload)
    inputs, labels = jnp.asarray(X), jnp.asarray(Y)
    parameters, logits = network(workload)
    state = (parameters, jx.tree.map(jnp.zeros_like, parameters))

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jx.nn.log_softmax(logits(p, x)), y[:, None], axis=1))

    def step(state: Any, inputs: Any, labels: Any, rows: Any) -> Any:
        p, v = state
        g = jx.grad(loss)(p, inputs[rows], labels[rows])
        v = jx.tree.map(lambda v, g: MOMENTUM * v + g, v, g)
        return jx.tree.map(lambda p, v: p - RATE * v, p, v), v

    def epoch(state: Any, inputs: Any, labels: Any, order: Any) -> Any:
        return jx.lax.scan(lambda state, rows: (step(state, inputs, labels, rows), None), state, order)[0]

    jitted = jx.jit(epoch if scan else step, donate_argnums=0)
    rng = np.random.default_rng(1)

    def burst(steps: int) -> None:
        nonlocal state
        order = jnp.asarray(rng.permutation(len(Y)).reshape(workload.minibatches, workload.B))
        if scan:
            for _ in range(max(1, steps // workload.minibatches)):
                state = jitted(state, inputs, labels, order)
        else:
            minibatches = [order[m] for m in range(workload.minibatches)]
            for m in range(steps):
                state = jitted(state, inputs, labels, minibatches[m % workload.minibatches])
        jx.block_until_ready(state)

    return burst


def take_place(place: Place) -> None:
    """Arrays live on the device, and its products are formed as `place` says."""
    jx.config.update("jax_default_device", jx.devices("cuda" if place.on_gpu else "cpu")[place.index])
    if place.on_gpu:  # where JAX takes TF32 unless it is told otherwise
        jx.config.update("jax_default_matmul_precision", None if place.precision == "TF32" else "highest")


def product(A: Any, B: Any, place: Place) -> Any:
    """A jitted `jnp.matmul`."""
    take_place(place)
    return np.asarray(jx.jit(jnp.matmul)(jnp.asarray(A), jnp.asarray(B)))
