"""Measure how far off exp, log, tanh … are on this machine, and compare with what the bounds of parity assume.

Errors are in units in the last place (ulp), against float64. Exit status 1 if a function is worse here than assumed:
then the bounds do not hold for this device.
"""

from __future__ import annotations

import argparse
import json
import platform
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mathdl.cli.arguments import number, one_of

if TYPE_CHECKING:
    from mathdl.arrays import Device
    from mathdl.parity.ulp import Measurement

NAME = "ulp"
HELP = "measure the errors of exp, log, tanh … that the bounds of parity assume"

FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt")
DTYPES = ("float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1 …")
    parser.add_argument("--function", action="append", type=one_of("function", FUNCTIONS), help="default: each")
    parser.add_argument(
        "--share",
        type=share,
        default=0.01,
        help="of all float32 numbers, in (0, 1], or all; default 0.01: every 101st in their order",
    )
    parser.add_argument("--dtype", type=one_of("dtype", DTYPES), default="float32", help="float32 (default) or float64")
    parser.add_argument("--store", type=Path, metavar="FILE", help="put what is found into a file like constants.json")
    parser.add_argument("--json", action="store_true", help="print the measurements as JSON")


def share(text: str) -> float:
    """A number in (0, 1]; "all" is 1."""
    value = 1.0 if text == "all" else number(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"expected all, or a number in (0, 1], got {text!r}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, store, and return 1 if a function is worse than assumed."""
    from mathdl import arrays
    from mathdl.parity import ulp

    device, stride = arrays.device(arguments.device), ulp.stride_of(arguments.share)
    names = arguments.function or FUNCTIONS
    with progress(len(names) * (ulp.ALL // stride)) as tick:
        found = [ulp.measure(name, device, arguments.dtype, stride, tick) for name in names]
    made_by = described(device)
    if arguments.json:
        print(json.dumps({**made_by, "functions": [as_json(each) for each in found]}, ensure_ascii=False, indent=2))
    else:
        say_what_was_found(found, made_by, stride)
    if arguments.store is not None:
        store(arguments.store, found, made_by)
    return 0 if all(each.holds for each in found) else 1


def as_json(found: Measurement) -> dict[str, Any]:
    """A measurement with what is assumed and whether that holds; an error of ∞ is the text "inf"."""
    ulp = found.ulp if found.ulp < float("inf") else "inf"
    return {**found._asdict(), "ulp": ulp, "assumed": found.bound, "holds": found.holds}


def say_what_was_found(found: list[Measurement], made_by: dict[str, str], stride: int) -> None:
    """The table, and what to do about a function that is worse than assumed."""
    from mathdl.cli.console import say, table

    rows = [
        [
            each.function,
            f"{each.ulp:.4f}",
            f"{each.at!r}",
            f"{each.inputs:,}",
            f"{each.bound:g}",
            f"{each.seconds:.1f} s",
            "ok" if each.holds else "WORSE",
        ]
        for each in found
    ]
    columns = ("function", "largest error (ulp)", "at x =", "inputs", "assumed", "time", "")
    table(columns, rows, right=columns[1:6])
    dtype = found[0].dtype
    which = "all of them" if stride == 1 else f"every {stride}th in the order of their bits"
    sample = which if dtype == "float32" else "drawn at random: the largest error of all numbers may be larger"
    say(f"{dtype} numbers, {sample} · {made_by['device']}: {made_by['library']}, {made_by['processor']}")
    worse = [each for each in found if not each.holds]
    if worse:
        names = ", ".join(each.function for each in worse)
        say(
            f"{names}: worse than the bounds of `mathdl parity` assume, so they do not hold on this device. Look for "
            "flags such as fast math or flush to zero, or another version of the library; if this is how accurate the "
            "device is, raise the constant: mathdl ulp --share all --store backends/mathdl_backends/rounding/"
            "constants.json in a clone",
            "bold red",
        )


def store(path: Path, found: list[Measurement], made_by: dict[str, str]) -> None:
    """Put the measurements into a file of the form of `constants.json`, and its bounds after them."""
    from mathdl.parity.ulp import stored

    document = json.loads(path.read_text(encoding="utf-8"))
    for each in found:
        stored(document["functions"], each, made_by)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def described(device: Device) -> dict[str, str]:
    """What computed: the device, its library with version, the processor and what NumPy uses of it."""
    package = {"cupy": "cupy", "strict": "array_api_strict"}.get(device.backend.NAME, "numpy")
    distribution = metadata.packages_distributions().get(package, [package])[0]
    return {
        "device": device.name,
        "library": f"{distribution} {metadata.version(distribution)}",
        "processor": f"{processor()} ({instructions()})",
    }


def instructions() -> str:
    """The widest instructions that NumPy uses here; which of its loops run, and how accurately, depends on them."""
    import numpy as np

    configuration: Any = np.show_config(mode="dicts")
    extensions = configuration["SIMD Extensions"]
    return str([*extensions.get("baseline", ["no vector instructions"]), *extensions.get("found", [])][-1])


def processor() -> str:
    """The processor, by the name that the system gives it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal; told how many inputs have been done."""
    import sys

    if not sys.stderr.isatty():
        yield lambda inputs: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=total)
        yield lambda inputs: bar.advance(task, inputs)
