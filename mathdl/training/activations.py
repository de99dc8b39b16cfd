"""`trainer.A[l, m, i]` is A[l]{m}(i): the activations of layer l for instance (i) of minibatch {m}."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from mathdl.arrays import Array, device_of
from mathdl.errors import UsageError
from mathdl.layers.chain import Path, chain_activations
from mathdl.training.model import Model


class Activations:
    """Computes A[l]{m}(i) anew, as when predicting; l is an int or a path: 3, "3.1" or (3, 1).

    A[0] is the input as the network sees it (standardized). The result is of the kind and on the device of the data.
    """

    def __init__(self, model: Model, minibatches: Sequence[Any]) -> None:
        self._model = model
        self._minibatches = minibatches

    def __getitem__(self, address: Any) -> Array:
        if not isinstance(address, tuple) or len(address) not in (2, 3):
            raise UsageError(f"write A[l, m] or A[l, m, i]; got A[{address!r}]")
        l, m, *instance = address
        if not isinstance(m, Integral) or not -len(self._minibatches) <= int(m) < len(self._minibatches):
            raise UsageError(f"no minibatch {{{m}}}: m = 0 … {len(self._minibatches) - 1}")
        _, X, _ = self._minibatches[int(m)]
        with self._model.params.device.active():
            A = device_of(X).put(self._at(l, self._model.prepare(X)))
        return A[instance[0], ...] if instance else A

    def _at(self, l: int | str | Path, X: Array) -> Array:
        if l in (0, "0", (0,)):
            return X
        network, params = self._model.network, self._model.params
        path = network.path(l)
        for place, A in chain_activations(network.chain, params.tree, X, network.contexts(params)):
            if place == path:
                return A
        raise UsageError(f"layer {l!r} was not run")
