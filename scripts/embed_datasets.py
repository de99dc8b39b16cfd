"""Make the embedded data sets, mathdl/data/digits.npz and mathdl/data/diabetes.npz, from scikit-learn's copies.

    python scripts/embed_datasets.py

The files come out the same byte for byte for the same values (for one version of zlib).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes, load_digits

DATA = Path(__file__).resolve().parent.parent / "mathdl" / "data"


def main() -> None:
    """Write both files and print their sizes."""
    digits, diabetes = load_digits(), load_diabetes(scaled=False)
    sets = {
        "digits": (digits.images[..., np.newaxis].astype(np.uint8), digits.target.astype(np.uint8)),
        "diabetes": (diabetes.data.astype(np.float64), diabetes.target.astype(np.float64)),
    }
    for name, (X, Y) in sets.items():
        path = DATA / f"{name}.npz"
        np.savez_compressed(path, X=X, Y=Y)
        print(f"{path.name}: X {X.shape} {X.dtype}, Y {Y.shape} {Y.dtype}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
