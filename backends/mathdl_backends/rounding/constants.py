"""The errors of elementary functions that the bounds assume (hypothesis H3), in units in the last place.

`constants.json` holds for each function and format the `bound`, and what it rests on: errors that were `measured`
(`mathdl ulp` measures them anew and says where a machine does worse) and errors that a vendor has `documented`.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

FILE = "constants.json"


@cache
def table() -> dict[str, dict[str, Any]]:
    """Function → format → {"bound", "measured", "documented"}."""
    text = resources.files("mathdl_backends.rounding").joinpath(FILE).read_text(encoding="utf-8")
    functions: dict[str, dict[str, Any]] = json.loads(text)["functions"]
    return functions


@cache
def ulps(name: str, dtype: str) -> float:
    """The most units in the last place that the function may be off by, in float32 or float64."""
    return float(table()[name][dtype]["bound"])
