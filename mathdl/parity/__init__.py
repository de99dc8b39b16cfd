"""Parity: do two devices agree, as far as rounding allows? Against bounds that are derived, and probes that need none.

    report = md.parity(trainer, X, Y, a="cpu", b="cuda")
    print(report)

`sides` says what is compared, `cases` what is computed (`probes`, `ops`, `network`, `steps`, `special`, `randomness`),
`checking` and `compare` how it is judged, `rows` what a row holds, `report` and `table` what is said about it, and
`faults` and `self_test` how it is known that a fault would be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mathdl.errors import UsageError

if TYPE_CHECKING:
    from mathdl.parity.report import Report
    from mathdl.training.trainer import Trainer


def parity(
    trainer: Trainer | None = None,
    X: Any = None,
    Y: Any = None,
    *,
    a: str = "cpu",
    b: str = "cuda",
    suites: Sequence[str] | None = None,
    dtype: str | None = None,
    precision: str | None = None,
    flushes: bool = False,
    seed: int = 0,
) -> Report:
    """Whether two devices agree, as far as rounding allows: `print` the report, or ask its `verdict` and `rows`.

    `a`, `b`: "cpu", "cuda", "cuda:1", "strict", "permuted" (the CPU, with sums in another order) or "float64" (the CPU
    in float64). With a trainer and its data its network is compared too, layer by layer and in whole updates, in its
    dtype unless another is given. `suites`: some of "probes", "ops", "step", "special", "randomness" (default: all).
    `precision`: a format ("tf32", "bf16", "fp16") that the operands of float32 products may be rounded to. `flushes`:
    subnormal numbers may be taken for 0. Raises `DeviceError` or `MissingExtraError` for a device that cannot be used,
    `UnknownNameError` and `UsageError`.
    """
    # what compares is imported when it is asked for: those who train do not wait for it
    from mathdl.parity.rows import SUITES
    from mathdl.parity.running import compared, open_pair, subject_of

    subjects = []
    if trainer is not None:
        if X is None or Y is None:
            raise UsageError("parity: a trainer is compared on its data: give X and Y")
        subjects.append(subject_of(trainer, X, Y))
        dtype = trainer.dtype if dtype is None else dtype
    pair = open_pair(a, b, dtype or "float32", precision, flushes)
    return compared(pair, subjects, SUITES if suites is None else suites, seed)
