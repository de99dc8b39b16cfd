"""Say what this machine offers and whether mathdl works on it.

Exit status 1 if something that mathdl needs is broken; what is merely not installed is listed, with how to get it. With
`--model` it trains a few steps of that model on a device, and says how its steps run there: as one program of compiled
code, as one CUDA graph of so many nodes, or call by call, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any, NamedTuple

from mathdl.cli.models import BUILT_IN, build

NAME = "doctor"
HELP = "what this machine offers, and whether mathdl works on it"

OK, ABSENT, BROKEN = "ok", "absent", "broken"

EXTRAS = {
    "array_api_strict": ("the strict backend", 'pip install "mathdl[test]"'),
    "sympy": ("the symbolic backend", 'pip install "mathdl[theory]"'),
}
"""Optional package → what it is for, and how to install it."""


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    status: str
    found: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--model", help=f"how a step of this model runs: {', '.join(BUILT_IN)} or a TOML file")
    parser.add_argument("--device", default="auto", help="the device of --model (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Look, print, and return 1 if something is broken."""
    from mathdl.cli.console import say, table

    findings = examine()
    if arguments.model is not None:
        findings.append(Finding(f"a step of {arguments.model}", OK, step_of(arguments.model, arguments.device)))
    broken = [finding.name for finding in findings if finding.status == BROKEN]
    if arguments.json:
        print(json.dumps([finding._asdict() for finding in findings], ensure_ascii=False, indent=2))
    else:
        table(("", "status", "found"), findings)
        say(f"broken: {', '.join(broken)}" if broken else "mathdl works here", "bold red" if broken else "bold green")
    return 1 if broken else 0


def examine() -> list[Finding]:
    """Every finding, in the order of printing."""
    required = {
        "mathdl": _mathdl,
        "NumPy": lambda: metadata.version("numpy"),
        "BLAS": _blas,
        "compiled steps": _compiled_steps,
        "array-api-compat": lambda: metadata.version("array-api-compat"),
        "safetensors": lambda: metadata.version("safetensors"),
        "self-check": _self_check,
    }
    findings = [
        Finding("Python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("cores", OK, str(usable_cores())),
    ]
    findings += [_look(name, look) for name, look in required.items()]
    findings += [_extra(name) for name in EXTRAS]
    return [*findings, *_cuda()]


def step_of(model: str, device: str) -> str:
    """How a step of a model runs on a device, on images of 8 × 8 and minibatches of 64."""
    import numpy as np

    from mathdl import Network, Trainer

    shape, classes, B = (8, 8, 1), 10, 64
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((4 * B, *shape)), np.arange(4 * B) % classes
    trainer = Trainer(Network(build(model, shape, classes)), batch_size=B, device=device)
    trainer.fit(X, Y, epochs=2, verbose=False)
    return f"{trainer.about_steps()} ({trainer.params.device.name})"


def usable_cores() -> int:
    """The cores that this process may run on, which a container or `taskset` may make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _look(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, OK, look())
    except Exception as error:
        return Finding(name, BROKEN, f"{type(error).__name__}: {error}")


def _mathdl() -> str:
    from mathdl import __version__

    return __version__


def _blas() -> str:
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))  # some builds load their BLAS at the first product
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not pools:
        return "one that threadpoolctl does not know: its threads cannot be limited"
    return ", ".join(
        f"{pool['internal_api']} {pool['version'] or ''} ({pool['num_threads']} threads)" for pool in pools
    )


def _compiled_steps() -> str:
    from mathdl_backends.numpy.programs import why_absent

    return why_absent() or "steps run as programs of compiled code"


def _self_check() -> str:
    """One dense layer, forward and backward in float64, against differences."""
    import numpy as np

    from mathdl.layers.dense import dense_backward, dense_forward

    draw = np.random.default_rng(0).standard_normal
    A, W, b, R = draw((5, 4)), draw((4, 3)), draw(3), draw((5, 3))
    _, grads = dense_backward(R.copy(), dense_forward(A, W, b)[1])
    step = 1e-3 * draw(W.shape)
    difference = np.sum(R * (dense_forward(A, W + step, b)[0] - dense_forward(A, W - step, b)[0])) / 2
    error = abs(difference - np.sum(grads["W"] * step))
    if not error < 1e-12:
        raise ArithmeticError(f"the gradient of a dense layer is off by {error:.1e}")
    return f"the gradient of a dense layer agrees with differences to {error:.0e}"


def _extra(name: str) -> Finding:
    purpose, how = EXTRAS[name]
    if find_spec(name) is None:
        return Finding(name, ABSENT, f"for {purpose}: {how}")
    versions = [metadata.version(package) for package in metadata.packages_distributions().get(name, [])[:1]]
    return Finding(name, OK, f"{' '.join(versions)} for {purpose}".strip())


def _cuda() -> list[Finding]:
    from mathdl import arrays

    backend: Any = arrays.backend("cupy")
    reason = backend.why_unusable()
    if reason is not None:
        return [Finding("CUDA", ABSENT, reason)]
    cudnn = backend.cudnn
    without = cudnn.why_absent()
    found = f"{cudnn.about()} for convolutions" if without is None else f"convolutions gather and multiply: {without}"
    return [Finding("CUDA", OK, "usable: --device cuda"), Finding("cuDNN", ABSENT if without else OK, found)]
