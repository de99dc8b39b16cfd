"""Evaluate the model of a run on data: loss and metrics; for classes precision, recall, F1 and the confusion matrix.

Without --data, or with the data of the run itself, the rows are the test rows of the run, cut by its seed, and the
figures are those that run.json holds. Any other data are evaluated as a whole.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "evaluate"
HELP = "evaluate the model of a run on data"

_LARGEST_MATRIX = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from mathdl.cli import model_data

    model_data.add_arguments(parser, part="test")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the figures."""
    import json

    from mathdl.cli.classes import class_names, is_one_class_of_several, predicted_labels
    from mathdl.cli.console import say
    from mathdl.cli.model_data import open_model_and_data
    from mathdl.cli.report import figures_text
    from mathdl.errors import DataError

    model, part, source = open_model_and_data(arguments, part="test")
    X, Y = part.table.X, part.table.Y
    if Y is None:
        raise DataError(f"{source}: there are no targets to compare with; say which they are with --target")
    figures = model.evaluate(X, Y)
    if arguments.json:
        print(json.dumps({"rows": len(part), **figures}))
        return 0
    say(source)
    say(f"{figures_text(figures)} ({len(part)} rows)", "bold")
    if is_one_class_of_several(model) and Y.ndim == 1:
        _class_tables(class_names(model), Y.astype("int64"), predicted_labels(model.predict(X)))
    return 0


def _class_tables(names: list[str], labels: NDArray[Any], predicted: NDArray[Any]) -> None:
    """Precision, recall and F1 of each class, and the confusion matrix where it fits."""
    import numpy as np

    from mathdl.cli.console import say, table
    from mathdl.metrics import confusion_matrix, f1, precision, recall

    count = len(names)
    rows = np.bincount(labels, minlength=count)
    scores = [np.asarray(score(labels, predicted, count, average=None)) for score in (precision, recall, f1)]
    lines = [[name, str(rows[c]), *(f"{score[c]:.4f}" for score in scores)] for c, name in enumerate(names)]
    figures = ["rows", "precision", "recall", "F1"]
    say("")
    table(["class", *figures], lines, right=figures)
    if count <= _LARGEST_MATRIX:
        matrix = confusion_matrix(labels, predicted, count)
        say("")
        table(["is \\ predicted", *names], [[name, *map(str, matrix[c])] for c, name in enumerate(names)], right=names)
