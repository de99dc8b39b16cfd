"""The workloads, by framework: each function returns `burst(steps)`, which runs that many training steps.

Every framework trains the same network on the same float32 numbers with SGD (rate 0.01, momentum 0.9), gathers each
minibatch from rows that lie in memory, and has finished its work when `burst` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Burst = Callable[[int], None]


@dataclass(frozen=True)
class Workload:
    """A network, an input shape, a batch size, and how many minibatches make an epoch."""

    network: str
    B: int
    input: tuple[int, ...]
    widths: tuple[int, ...]
    frameworks: tuple[str, ...]
    minibatches: int


MLP = ("mathdl", "torch", "torch-compile", "jax", "sklearn", "floor")
CNN = ("mathdl", "torch", "torch-channels-last", "jax", "floor")

WORKLOADS = {
    "small MLP 64-128-10, B=32": Workload("mlp", 32, (64,), (128,), MLP, 200),
    **{
        f"MLP 784-512-256-10, B={B}": Workload("mlp", B, (784,), (512, 256), MLP, max(16, 16384 // B))
        for B in (32, 128, 512, 2048)
    },
    "CNN 28×28×1, B=64": Workload("cnn", 64, (28, 28, 1), (), CNN, 16),
    "residual CNN 32×32×3, B=128": Workload("residual", 128, (32, 32, 3), (), CNN[:-1], 4),
}

_RATE, _MOMENTUM = 0.01, 0.9


def rows_of(workload: Workload) -> tuple[Any, Any]:
    """X (n, …) and labels Y (n,): an epoch."""
    rng = np.random.default_rng(0)
    n = workload.B * workload.minibatches
    return rng.standard_normal((n, *workload.input), dtype=np.float32), rng.integers(0, 10, n)


# -- mathdl ------------------------------------------------------------------------------------------------------------


def mathdl_network(workload: Workload) -> Any:
    """The network as mathdl layers."""
    import mathdl as md

    if workload.network == "mlp":
        hidden = [layer for width in workload.widths for layer in (md.Dense(width), md.ReLU())]
        return md.Network([*hidden, md.Dense(10), md.Softmax()])
    if workload.network == "cnn":
        return md.Network(
            [md.Conv2D(32, 3, padding="same"), md.ReLU(), md.MaxPool2D(2),
             md.Conv2D(64, 3, padding="same"), md.ReLU(), md.MaxPool2D(2),
             md.Flatten(), md.Dense(128), md.ReLU(), md.Dense(10), md.Softmax()]
        )  # fmt: skip

    def block(k: int) -> Any:
        conv = md.Conv2D(k, 3, padding="same")
        return md.Residual([conv, md.BatchNorm(), md.ReLU(), conv, md.BatchNorm()])

    return md.Network(
        [md.Conv2D(32, 3, padding="same"), md.BatchNorm(), md.ReLU(), block(32), md.ReLU(),
         md.Conv2D(64, 3, stride=2, padding=1), md.BatchNorm(), md.ReLU(), block(64), md.ReLU(),
         md.GlobalAveragePool2D(), md.Dense(10), md.Softmax()]
    )  # fmt: skip


def mathdl(workload: Workload) -> Burst:
    """`Trainer.fit`, as a user calls it: epochs of minibatches, loss and accuracy included."""
    import mathdl as md

    X, Y = rows_of(workload)
    optimizer = md.SGD(_RATE, momentum=_MOMENTUM)
    trainer = md.Trainer(mathdl_network(workload), optimizer=optimizer, batch_size=workload.B, device="cpu")

    def burst(steps: int) -> None:
        trainer.fit(X, Y, epochs=max(1, steps // workload.minibatches), verbose=False)

    return burst


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def torch_network(workload: Workload) -> Any:
    """The network as PyTorch modules (channels first)."""
    from torch import nn

    if workload.network == "mlp":
        widths = (*workload.input, *workload.widths)
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*hidden, nn.Linear(widths[-1], 10))
    if workload.network == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip

    class Block(nn.Module):
        def __init__(self, k: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(k, k, 3, padding=1), nn.BatchNorm2d(k), nn.ReLU(),
                nn.Conv2d(k, k, 3, padding=1), nn.BatchNorm2d(k),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            return x + self.body(x)

    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), Block(32), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(), Block(64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def torch(workload: Workload, compiled: bool = False, channels_last: bool = False) -> Burst:
    """Eager PyTorch, or torch.compile; CNNs also with channels last."""
    import torch as pt

    X, Y = rows_of(workload)
    inputs, labels = pt.tensor(X), pt.tensor(Y)
    network = torch_network(workload)
    if len(workload.input) == 3:
        inputs = inputs.permute(0, 3, 1, 2).contiguous()
    if channels_last:
        inputs, network = inputs.to(memory_format=pt.channels_last), network.to(memory_format=pt.channels_last)
    optimizer = pt.optim.SGD(network.parameters(), lr=_RATE, momentum=_MOMENTUM)
    rng = np.random.default_rng(1)

    def loss_of(x: Any, y: Any) -> Any:
        return pt.nn.functional.cross_entropy(network(x), y)

    loss = pt.compile(loss_of) if compiled else loss_of

    def burst(steps: int) -> None:
        order = pt.tensor(rng.permutation(len(Y)))
        for m in range(steps):
            rows = order[(m % workload.minibatches) * workload.B : (m % workload.minibatches + 1) * workload.B]
            optimizer.zero_grad()
            loss(inputs[rows], labels[rows]).backward()
            optimizer.step()

    return burst


# -- JAX ---------------------------------------------------------------------------------------------------------------


def jax(workload: Workload) -> Burst:
    """One jitted function for the whole step, gather included; parameters and velocities donated."""
    import jax as jx
    import jax.numpy as jnp

    X, Y = rows_of(workload)
    inputs, labels = jnp.asarray(X), jnp.asarray(Y)
    parameters, logits = _jax_network(workload)
    velocities = jx.tree.map(jnp.zeros_like, parameters)

    def loss(p: Any, x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jx.nn.log_softmax(logits(p, x)), y[:, None], axis=1))

    def step(p: Any, v: Any, rows: Any) -> Any:
        g = jx.grad(loss)(p, inputs[rows], labels[rows])
        v = jx.tree.map(lambda v, g: _MOMENTUM * v + g, v, g)
        return jx.tree.map(lambda p, v: p - _RATE * v, p, v), v

    jitted = jx.jit(step, donate_argnums=(0, 1))
    rng = np.random.default_rng(1)
    state = [parameters, velocities]

    def burst(steps: int) -> None:
        order = jnp.asarray(rng.permutation(len(Y)).reshape(workload.minibatches, workload.B))
        minibatches = [order[m] for m in range(workload.minibatches)]
        for m in range(steps):
            state[0], state[1] = jitted(state[0], state[1], minibatches[m % workload.minibatches])
        jx.block_until_ready(state)

    return burst


def _jax_network(workload: Workload) -> tuple[Any, Callable[[Any, Any], Any]]:
    import jax as jx
    import jax.numpy as jnp

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


# -- scikit-learn ------------------------------------------------------------------------------------------------------


def sklearn(workload: Workload) -> Burst:
    """MLPClassifier.partial_fit, an epoch a call."""
    from sklearn.neural_network import MLPClassifier

    X, Y = rows_of(workload)
    model = MLPClassifier(
        workload.widths, solver="sgd", learning_rate_init=_RATE, momentum=_MOMENTUM, nesterovs_momentum=False,
        batch_size=workload.B, alpha=0.0,
    )  # fmt: skip
    model.partial_fit(X, Y, classes=np.arange(10))

    def burst(steps: int) -> None:
        for _ in range(max(1, steps // workload.minibatches)):
            model.partial_fit(X, Y)

    return burst


# -- the floor ---------------------------------------------------------------------------------------------------------


def floor(workload: Workload) -> Burst:
    """What a step cannot do without: its matrix products, by `np.matmul(out=)` with a threaded BLAS and without the
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


FRAMEWORKS: dict[str, Callable[[Workload], Burst]] = {
    "mathdl": mathdl,
    "torch": torch,
    "torch-compile": lambda workload: torch(workload, compiled=True),
    "torch-channels-last": lambda workload: torch(workload, channels_last=True),
    "jax": jax,
    "sklearn": sklearn,
    "floor": floor,
}
