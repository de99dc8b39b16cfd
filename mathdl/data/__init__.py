"""Sources of rows: embedded data sets, files, checks at the door, the cut into parts, minibatches {m}(i)."""

from __future__ import annotations

from mathdl.data.embedded import EMBEDDED, diabetes, digits
from mathdl.data.encoding import Encoding
from mathdl.data.inputs import as_arrays, first_non_finite
from mathdl.data.loading import load
from mathdl.data.minibatches import Minibatches
from mathdl.data.splitting import Split, split
from mathdl.data.standardize import Standardize
from mathdl.data.table import Table

__all__ = [
    "EMBEDDED",
    "Encoding",
    "Minibatches",
    "Split",
    "Standardize",
    "Table",
    "as_arrays",
    "diabetes",
    "digits",
    "first_non_finite",
    "load",
    "split",
]
