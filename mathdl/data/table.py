"""A table: rows of data, with what is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from mathdl.data.encoding import Encoding
from mathdl.data.labels import Classes, Kind
from mathdl.data.selection import taken
from mathdl.errors import DataError


@dataclass(frozen=True, eq=False)
class Table:
    """n rows: instance (i) of the data is X[i], its target Y[i].

    Arrays keep the dtype of the file (uint8 images stay uint8); `as_arrays` casts them when they are trained on.
    """

    X: Any
    """(n, features) or, for images, (n, p, q, k). It stays in its file where that can be mapped."""
    Y: NDArray[Any] | None = None
    """Classes: int64 (n,), or rows on the simplex (n, l). Regression: (n,) or (n, d). None: there are no targets."""
    encoding: Encoding = field(default_factory=Encoding)
    """What must be remembered to read another file in the same way: `load(path, encoding=table.encoding)`."""
    source: str = ""
    """Where the rows are from, in words, and which column was taken as the target."""
    test: Table | None = None
    """The test part, where the data are published with one (MNIST)."""

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def kind(self) -> Kind | None:
        """What Y looks like: classification or regression. The loss decides what Y is; this is for defaults."""
        return self.encoding.kind

    @property
    def features(self) -> tuple[str, ...]:
        """A name for each column of X; empty for images and for arrays without names."""
        return self.encoding.features

    @property
    def target(self) -> str | None:
        """The name of what is predicted, if it has one."""
        return self.encoding.target

    @property
    def classes(self) -> Classes | None:
        """Label c stands for classes[c]; None: labels are the numbers themselves."""
        return self.encoding.classes

    @property
    def outputs(self) -> int:
        """The width of a last layer that fits Y: the number of classes l, or of targets d. Y None raises."""
        if self.Y is None:
            raise DataError(f"{self.source}: has no targets, so the number of outputs is not known")
        if self.Y.ndim > 1:
            return int(self.Y.shape[1])
        if self.kind == "regression":
            return 1
        return len(self.classes) if self.classes is not None else int(self.Y.max()) + 1

    def take(self, rows: NDArray[Any] | Sequence[int] | slice) -> Table:
        """The table of these rows, in this order, without its test part. X in a file stays there."""
        return replace(self, X=taken(self.X, rows), Y=None if self.Y is None else self.Y[rows], test=None)
