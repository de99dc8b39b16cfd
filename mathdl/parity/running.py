"""`parity`: run the suites on two sides, and report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from mathdl.data import as_arrays
from mathdl.errors import unknown_name
from mathdl.network import Parameters
from mathdl.parity.cases import Case
from mathdl.parity.checking import Pair, check
from mathdl.parity.network import network_cases
from mathdl.parity.ops import ops
from mathdl.parity.probes import probes
from mathdl.parity.randomness import randomness
from mathdl.parity.report import Report
from mathdl.parity.rows import FAIL, SUITES, Row
from mathdl.parity.sides import Side, open_side
from mathdl.parity.signatures import signatures
from mathdl.parity.special import special
from mathdl.parity.steps import step_case
from mathdl.parity.subject import Subject, states
from mathdl.training.trainer import Trainer

PRECISIONS = ("tf32", "bf16", "fp16")
"""What `precision` takes."""


def open_pair(a: str, b: str, dtype: str = "float32", precision: str | None = None, flushes: bool = False) -> Pair:
    """The two sides, opened."""
    if precision is not None and precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    return Pair(open_side(a, dtype), open_side(b, dtype), precision, flushes)


def compared(
    pair: Pair,
    subjects: Sequence[Subject] = (),
    suites: Sequence[str] = SUITES,
    seed: int = 0,
    real_sizes: bool = True,
    watch: Callable[[Case], None] = lambda case: None,
) -> Report:
    """The report on some subjects; without `real_sizes` ops are run on small shapes alone. `watch` sees each case."""
    for suite in suites:
        if suite not in SUITES:
            raise unknown_name("suite", suite, SUITES)
    rows: list[Row] = []
    for case in cases(pair, subjects, suites, seed, real_sizes):
        watch(case)
        rows += check(case, pair)
    failing = any(row.verdict == FAIL and row.op in ("matmul", "sum_outer") for row in rows)
    found = signatures(pair) if failing or pair.precision else []
    return Report(pair, tuple(rows), tuple(suites), about(pair), tuple(found))


def cases(
    pair: Pair, subjects: Sequence[Subject], suites: Sequence[str], seed: int, real_sizes: bool = True
) -> Iterator[Case]:
    """The cases of some suites."""
    dtype = pair.inputs
    if "probes" in suites:
        yield from probes(dtype, seed)
    if "ops" in suites:
        yield from ops(dtype, seed, real_sizes)
    for given in subjects if {"ops", "step"} & set(suites) else ():
        subject, side = in_dtype(given, dtype), Side(pair.a.name, pair.a.device, dtype)
        for state in states(subject, side):
            if "ops" in suites:
                yield from network_cases(subject, state, side)
            if "step" in suites:
                yield step_case(subject, state)
    if "special" in suites:
        yield from special(dtype, pair.flushes)
    if "randomness" in suites:
        yield from randomness(dtype, seed)


def subject_of(trainer: Trainer, X: Any, Y: Any, name: str = "network", trained: Parameters | None = None) -> Subject:
    """The network of a trainer, on data as `fit` takes them; `trained`: θ of a training that has ended (by default the
    trainer's own, if it has trained)."""
    own = Trainer(
        trainer.network,
        trainer.loss,
        trainer.optimizer,
        trainer.batch_size,
        "cpu",
        trainer.dtype,
        trainer.seed,
        standardize=trainer.standardize,
        standardize_targets=trainer.standardize_targets,
    )
    own.prepare(X, Y)
    model = own.model
    rows = model.rows(as_arrays(X, dtype=own.dtype)[0], Y)
    return Subject(
        name,
        own.network,
        own.loss,
        own.optimizer,
        np.asarray(model.prepare(rows.X)),
        np.asarray(model.prepare_targets(rows.targets)),
        own.batch_size,
        own.seed,
        trainer.params if trained is None and trainer.step else trained,
    )


def in_dtype(subject: Subject, dtype: str) -> Subject:
    """The subject with its numbers in a dtype that both sides hold exactly."""
    Y = subject.Y.astype(dtype) if subject.Y.dtype.kind == "f" else subject.Y
    return replace(subject, X=subject.X.astype(dtype), Y=Y)


def about(pair: Pair) -> dict[str, str]:
    """Versions, and what each side's device says of itself."""
    from mathdl import __version__  # which imports this module

    found = {"mathdl": __version__, "Python": platform.python_version(), "NumPy": version("numpy")}
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            found["BLAS"] = f"{pool['internal_api']} {pool['version'] or ''}".strip()
    for side in (pair.a, pair.b):
        describe = getattr(side.device.backend, "about", None)
        found |= {} if describe is None else describe(side.device.handle)
    return found
