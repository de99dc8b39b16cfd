"""Predict with the model of a run, and write a table: a line a row, CSV.

For classes: row, the predicted class, and the probability of each class. For numbers: row and the prediction, in the
units of the targets. Rows count from 0 in the data. Where the data hold targets, they stand in columns of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mathdl.training.model import Model

NAME = "predict"
HELP = "predict with the model of a run, and write a CSV table"

Columns = dict[str, Iterable[str]]
"""The columns of the table, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from mathdl.cli import model_data

    model_data.add_arguments(parser, part="all")
    parser.add_argument("--out", metavar="FILE", help="the CSV file to write (default: print)")


def run(arguments: argparse.Namespace) -> int:
    """Write the predictions."""
    import csv
    import io
    from pathlib import Path

    from mathdl.cli.console import say
    from mathdl.cli.model_data import open_model_and_data
    from mathdl.training.files import check_writable, write_whole

    if arguments.out is not None:
        check_writable(Path(arguments.out))  # before the work, not after it
    model, part, source = open_model_and_data(arguments, part="all")
    columns: Columns = {"row": map(str, part.rows), **_predictions(model, model.predict(part.table.X))}
    if part.table.Y is not None:
        columns |= _targets(model, part.table.Y)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    if arguments.out is None:
        print(text.getvalue(), end="")
    else:
        write_whole(arguments.out, text.getvalue().encode())
        say(source)
        say(f"{len(part)} predictions in {arguments.out}")
    return 0


def _predictions(model: Model, P: NDArray[Any]) -> Columns:
    from mathdl.cli.classes import class_names, is_one_class_of_several, predicted_labels

    if model.loss.kind == "regression":
        return _numbered("predicted", P)
    if not is_one_class_of_several(model):
        return {**_numbered("predicted", (P > 0.5).astype(int)), **_numbered("p", P)}
    names = class_names(model)
    chosen = [names[label] for label in predicted_labels(P)]
    if P.ndim == 1:  # one node: the probability of the second class
        return {"predicted": chosen, f"p({names[1]})": map(str, P)}
    return {"predicted": chosen, **{f"p({name})": map(str, P[:, c]) for c, name in enumerate(names)}}


def _targets(model: Model, Y: NDArray[Any]) -> Columns:
    from mathdl.cli.classes import class_names, is_one_class_of_several

    if not is_one_class_of_several(model) or Y.ndim > 1:
        return _numbered("target", Y)
    names = dict(enumerate(class_names(model)))
    return {"target": [names.get(int(label), str(label)) for label in Y]}


def _numbered(name: str, A: NDArray[Any]) -> Columns:
    """One column `name`, or `name_0`, `name_1` …, of numbers in the shortest form that gives their bits back."""
    if A.ndim == 1 or A.shape[1] == 1:
        return {name: map(str, A.reshape(-1))}
    return {f"{name}_{j}": map(str, A[:, j]) for j in range(A.shape[1])}
