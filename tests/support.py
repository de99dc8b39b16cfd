"""What tests share: arrays on a device, comparison, and the gradient check that detects kinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mathdl import arrays
from mathdl.arrays import Device
from mathdl.layers.layer import Context
from mathdl.notation import flat_name

Array = Any


def normal(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    """Standard normal numbers, the same at every call."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def host(A: Array) -> np.ndarray:
    """A as a NumPy array, whatever it is."""
    return np.asarray(arrays.to_host(A)) if arrays.is_array(A) else np.asarray(A)


def assert_close(actual: Array, expected: Any, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Same shape, and equal up to rounding (float64 by default)."""
    actual, expected = host(actual), np.asarray(expected, dtype=np.float64)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def lies_on(A: Array, device: Device) -> bool:
    """Whether A lives on the device, by whatever name ("cuda" is "cuda:0")."""
    found = arrays.device_of(A)
    return found.backend is device.backend and bool(found.handle == device.handle)


@contextmanager
def as_inside_a_step(device: Device):
    """Errors if the code asks for a host scalar on strict; floating-point warnings off, as in a step."""
    with np.errstate(all="ignore"):
        if device.backend.NAME == "strict":
            with device.backend.forbid_host_scalars():
                yield
        else:
            yield


def put_tree(tree: Mapping[Any, Any], device: Device) -> dict[Any, Any]:
    return {
        key: put_tree(value, device) if isinstance(value, Mapping) else device.put(np.asarray(value))
        for key, value in tree.items()
    }


def context_for(layer: Any, input: tuple[int, ...], device: Device, **fields: Any) -> Context:
    """A context with the layer's constants on the device (and its initial state, unless given); so for those inside."""
    state = fields.pop("state", None)
    if state is None:
        state = put_tree(_filled(layer.states(input)), device)
    return _context(layer, put_tree(layer.constants(input), device), state, {"instances": 0, **fields})


def _filled(states: Mapping[Any, Any]) -> dict[Any, Any]:
    return {
        name: _filled(value) if isinstance(value, Mapping) else np.full(value[0], value[1], dtype=np.float64)
        for name, value in states.items()
    }


def _context(layer: Any, constants: Mapping[Any, Any], state: Mapping[Any, Any], fields: Mapping[str, Any]) -> Context:
    inner = {l: _context(each, constants.get(l, {}), state.get(l, {}), fields) for l, each in layer.inner.items()}
    return Context(constants=constants, state=state, inner=inner, **fields)


def nest(tree: Mapping[Any, Any], flat: Mapping[str, Any], path: tuple[int, ...] = ()) -> dict[Any, Any]:
    """The values of `flat` (by flat name: "W[1]") in the form of `tree`: the reverse of `flatten_tree`."""
    return {
        key: nest(value, flat, (*path, key)) if isinstance(key, int) else flat[flat_name(key, path)]
        for key, value in tree.items()
    }


def run_layer(
    layer: Any, params: Mapping[str, Any], X: np.ndarray, device: Device, dA: np.ndarray | None = None, **fields: Any
) -> tuple[np.ndarray, np.ndarray | None, dict[str, np.ndarray]]:
    """(A, dX, grads) of one layer on the device, from and to NumPy; dA None gives (A, None, {})."""
    fields.setdefault("instances", X.shape[0])
    context = context_for(layer, X.shape[1:], device, **fields)
    own = put_tree(params, device)
    with as_inside_a_step(device):
        A, cache = layer.forward(own, device.put(X), context)
        assert A.dtype == device.put(X).dtype, f"dtype {A.dtype}"
        if dA is None:
            return host(A), None, {}
        dX, grads = layer.backward(device.put(np.array(dA)), cache, {}, True)
    return host(A), host(dX), {name: host(g) for name, g in arrays.flatten_tree(grads).items()}


def check_gradient(
    f: Callable[[Mapping[str, np.ndarray]], float],
    inputs: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    seed: int = 0,
    directions: int = 3,
    rtol: float = 1e-6,
) -> None:
    """Check ⟨gradient, d⟩ against a five-point difference of f along random directions d, for each input by itself.

    A kink between the five points shows as a disagreement of the differences at steps h and h/2; such a direction is
    drawn again, and a function that has a kink everywhere fails.
    """
    assert set(gradients) >= set(inputs), f"no gradient of {set(inputs) - set(gradients)}"
    rng = np.random.default_rng(seed)
    noise = 100 * np.finfo(np.float64).eps * max(1.0, abs(float(f(inputs)))) / 5e-4  # of the finer difference
    for name, x in inputs.items():
        assert gradients[name].shape == x.shape, f"gradient of {name}: {gradients[name].shape}, expected {x.shape}"
        for _ in range(directions):
            for _attempt in range(20):
                d = rng.standard_normal(x.shape)
                d /= max(np.linalg.norm(d), 1e-300)

                def along(t: float, name: str = name, x: np.ndarray = x, d: np.ndarray = d) -> float:
                    return float(f({**inputs, name: x + t * d}))

                coarse, fine = _five_point(along, 1e-3), _five_point(along, 5e-4)
                scale = max(abs(coarse), abs(fine), float(np.linalg.norm(gradients[name])), 1e-6)
                if abs(coarse - fine) <= 0.1 * rtol * scale + noise:
                    break
            else:
                raise AssertionError(f"{name}: a kink (or noise) in every direction")
            exact = float(np.sum(gradients[name] * d))
            assert abs(exact - fine) <= rtol * scale + noise, f"{name}: gradient · d = {exact!r}, difference {fine!r}"


def _five_point(f: Callable[[float], float], h: float) -> float:
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


def check_layer_gradient(
    layer: Any, params: Mapping[str, np.ndarray], X: np.ndarray, device: Device, seed: int = 0, **fields: Any
) -> None:
    """Check dX and every parameter gradient of a layer: f = ⟨R, A⟩ for a random R; and that `into` gets the same."""
    A, _, _ = run_layer(layer, params, X, device, **fields)
    R = normal(*A.shape, seed=seed + 1)
    _, dX, grads = run_layer(layer, params, X, device, dA=R, **fields)

    def f(inputs: Mapping[str, np.ndarray]) -> float:
        return float(np.sum(R * run_layer(layer, nest(params, inputs), inputs["X"], device, **fields)[0]))

    check_gradient(f, {**arrays.flatten_tree(params), "X": X}, {**grads, "X": dX}, seed=seed)
    _check_into(layer, params, X, R, grads, device, **fields)


def _check_into(
    layer: Any,
    params: Mapping[str, np.ndarray],
    X: np.ndarray,
    R: np.ndarray,
    grads: Mapping[str, np.ndarray],
    device: Device,
    **fields: Any,
) -> None:
    fields.setdefault("instances", X.shape[0])
    into = {name: device.put(np.full_like(value, np.nan)) for name, value in arrays.flatten_tree(params).items()}
    with as_inside_a_step(device):
        context = context_for(layer, X.shape[1:], device, **fields)
        _, cache = layer.forward(put_tree(params, device), device.put(X), context)
        layer.backward(device.put(np.array(R)), cache, nest(params, into), False)
    for name, view in into.items():
        np.testing.assert_allclose(host(view), grads[name], rtol=1e-12, atol=1e-12, err_msg=f"into[{name!r}]")


def run_loss(
    loss: Any,
    P: np.ndarray,
    Y: np.ndarray,
    device: Device,
    weights: np.ndarray | None = None,
    total: float | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(J, dP) of a loss on the device, from and to NumPy, as inside a step: total defaults to Σw, a Python float."""
    if total is None:
        total = float(len(P) if weights is None else np.sum(weights))
    own = [None if A is None else device.put(np.array(A)) for A in (P, Y, weights)]
    with as_inside_a_step(device):
        J, cache = loss.forward(*own, device.put(total) if isinstance(total, np.ndarray) else total)
        dP = loss.backward(cache)
    assert (J.shape, J.dtype) == ((), own[0].dtype), f"J: shape {J.shape}, dtype {J.dtype}"
    assert (dP.shape, dP.dtype) == (own[0].shape, own[0].dtype), f"dP: shape {dP.shape}, dtype {dP.dtype}"
    for before, after in zip((P, Y, weights), own, strict=True):
        assert before is None or np.array_equal(before, host(after), equal_nan=True), "an input was changed"
    return host(J), host(dP)


def check_loss(loss: Any, P: np.ndarray, Y: np.ndarray, device: Device) -> None:
    """What every loss owes: dP is the gradient of J; weights count instances; shards add up; float32 stays float32."""
    weights = np.random.default_rng(len(P)).integers(0, 4, len(P)).astype(np.float64)
    weights[0] = 2.0
    J, dP = run_loss(loss, P, Y, device, weights)
    check_gradient(lambda inputs: float(run_loss(loss, inputs["P"], Y, device, weights)[0]), {"P": P}, {"P": dP})

    times = weights.astype(int)
    assert_close(J, run_loss(loss, np.repeat(P, times, axis=0), np.repeat(Y, times, axis=0), device)[0])
    own = device.put(P), device.put(Y)
    losses = loss.instance_losses(*own)
    assert_close(losses, [run_loss(loss, P[i : i + 1], Y[i : i + 1], device)[0] for i in range(len(P))])
    assert_close(loss.forward(*own)[0], np.mean(host(losses)))
    assert_close(loss.forward(*own, device.put(weights))[0], J)

    for total in (float(np.sum(weights)), np.full((1,), np.sum(weights)), np.full((), np.sum(weights))):
        cut = len(P) // 2
        shards = [
            run_loss(loss, P[rows], Y[rows], device, weights[rows], total) for rows in (slice(cut), slice(cut, None))
        ]
        assert_close(shards[0][0] + shards[1][0], J)
        assert_close(np.concatenate([shards[0][1], shards[1][1]]), dP)
        plain = [run_loss(loss, P[rows], Y[rows], device, None, total) for rows in (slice(cut), slice(cut, None))]
        assert_close(plain[0][0] + plain[1][0], np.sum(host(losses)) / np.sum(weights))

    small = Y if Y.dtype.kind == "i" else Y.astype(np.float32)
    J32, dP32 = run_loss(loss, P.astype(np.float32), small, device, weights, np.float64(np.sum(weights)))
    assert_close(J32, J, rtol=1e-4, atol=1e-5)
    assert_close(dP32, dP, rtol=1e-3, atol=1e-5)
