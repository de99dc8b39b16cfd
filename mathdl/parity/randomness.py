"""Randomness has an address, so its bits are the same everywhere: words, dropout masks, initial weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from mathdl import layers as md
from mathdl import random
from mathdl.arrays import Array
from mathdl.network import Network
from mathdl.parity.cases import Case
from mathdl.parity.compare import Reference
from mathdl.parity.layer_runs import run_layer
from mathdl.parity.sides import Side


def randomness(dtype: str, seed: int) -> Iterator[Case]:
    """Every case: integers, compared as such."""
    key = np.array(random.fold(seed, "dropout", 3, 1, 4), dtype=np.uint32)
    expected = {"words": np.asarray(random.bits.reference(key, 5, 7, 1001))}

    def words(side: Side) -> Mapping[str, Array]:
        return {"words": random.bits(side.put(key), 5, 7, 1001)}

    yield _case("bits", "7 instances from (5), 1001 words each", words, seed, expected)
    ones = np.ones((16, 257), dtype)

    def mask(side: Side) -> Mapping[str, Array]:
        return {"K": run_layer(md.Dropout(0.5), {}, ones, ones, side, seed=seed)["A"] > 0}

    yield _case("Dropout", "the mask of Dropout(0.5), B = 16", mask, seed)
    network = Network([md.Conv2D(4, 3), md.ReLU(), md.Flatten(), md.Dense(5)])

    def weights(side: Side) -> Mapping[str, Array]:
        return {"θ": network.initialize((6, 6, 2), seed, side.device.name, dtype).vector}

    yield _case("initialize", f"{len(network.layers)} layers, He and Glorot", weights, seed)


def _case(op: str, what: str, evaluate: object, seed: int, expected: Mapping[str, np.ndarray] | None = None) -> Case:
    references = None if expected is None else lambda: {n: Reference(v, 0.0, "exact") for n, v in expected.items()}
    return Case("randomness", op, what, evaluate, exact=True, references=references, seed=seed)  # type: ignore[arg-type]
