"""The data sets that come with mathdl. Sources and licences are in DATASETS.md beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl.data.encoding import Encoding
from mathdl.data.table import Table


def digits() -> Table:
    """Handwritten digits: 1797 images of 8 × 8 × 1 pixels, integers 0 … 16 (uint8); labels 0 … 9.

    A pixel counts the dark points in a block of 4 × 4 of a bitmap of 32 × 32. Source: the test part of "Optical
    Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository,
    doi:10.24432/C50P49, licence CC BY 4.0.
    """
    X, Y = _arrays("digits")
    encoding = Encoding(target="digit", kind="classification")
    return Table(X, Y.astype(np.int64), encoding, "digits (embedded): 1797 images of 8 × 8 × 1, target 'digit'")


def diabetes() -> Table:
    """Progression of diabetes: 442 patients, 10 features as measured (not scaled), float64; a target of 25 … 346.

    Features: age in years, sex (1 or 2), body mass index, mean blood pressure, and six measurements of blood serum.
    The target measures how far the disease has gone a year later. Source: B. Efron, T. Hastie, I. Johnstone,
    R. Tibshirani, "Least Angle Regression", Annals of Statistics 32 (2004), 407–499.
    """
    X, Y = _arrays("diabetes")
    features = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    encoding = Encoding(features, target="progression", kind="regression")
    return Table(X, Y, encoding, "diabetes (embedded): 442 rows, 10 features, not scaled, target 'progression'")


EMBEDDED: dict[str, Callable[[], Table]] = {"digits": digits, "diabetes": diabetes}
"""Name → the function that reads the data set."""


def _arrays(name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.load(Path(__file__).with_name(f"{name}.npz"), allow_pickle=False) as archive:
        return archive["X"], archive["Y"]
