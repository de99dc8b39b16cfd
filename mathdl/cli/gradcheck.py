"""Check every gradient of a model: dual numbers against the backward that runs, and central differences as a witness.

A row for each layer and parameter, for the loss, and for the whole network: the error of the gradient along random
directions, beside what rounding (and for differences truncation) may come to. Exit status 1 if one disagrees.

MODEL is mlp, cnn, a TOML file, a model file or a run directory. Model files never execute code, so a layer of your own
is checked from Python: print(md.check_gradients(MyLayer(), input_shape)).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mathdl.cli.arguments import one_of, positive, seed, shape
from mathdl.cli.models import LOSSES_OF, TASKS

if TYPE_CHECKING:
    from mathdl.losses import Loss
    from mathdl.theory.gradients import GradientReport

NAME = "gradcheck"
HELP = "check every gradient of a model, by dual numbers and by differences"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", help="mlp, cnn, a TOML file, a model file or a run directory")
    where = "digits, diabetes, a file or a folder: check at rows of it (default: at random numbers)"
    parser.add_argument("--data", help=where)
    parser.add_argument("--target", metavar="COLUMN", help="the target among the columns of --data")
    parser.add_argument("--input-shape", type=shape, help="of one instance, such as 784 or 28,28,1; not with --data")
    parser.add_argument("--outputs", type=positive, help="nodes of the output layer, where the model leaves it open")
    task = f"what the targets are: {', '.join(TASKS)} (default: categorical); not with --data"
    parser.add_argument("--task", type=one_of("task", TASKS), help=task)
    parser.add_argument("--loss", help="the loss (default: the one that fits the targets)")
    parser.add_argument("--batch-size", type=positive, default=4, metavar="B", help="instances (default: 4)")
    parser.add_argument("--directions", type=positive, default=3, help="random directions for each row (default: 3)")
    parser.add_argument("--seed", type=seed, default=0, help="of weights, inputs and directions (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return 1 if a gradient disagrees."""
    from pathlib import Path

    from mathdl.cli.models import BUILT_IN
    from mathdl.errors import unknown_name

    is_description = arguments.model in BUILT_IN or Path(arguments.model).suffix == ".toml"
    if not is_description and not Path(arguments.model).exists():
        error = unknown_name("model", arguments.model, BUILT_IN)
        error.add_note("or the name of a TOML file, of a model file, or of a run directory")
        raise error
    report = _of_description(arguments) if is_description else _of_model(arguments)
    _print(report, arguments.json)
    return 0 if report.ok else 1


def _of_description(arguments: argparse.Namespace) -> GradientReport:
    """Of a model that is not trained: its θ is drawn."""
    from mathdl.cli.models import build
    from mathdl.errors import UsageError
    from mathdl.network import Network
    from mathdl.theory.gradients import check_gradients

    options = {"directions": arguments.directions, "seed": arguments.seed}
    if arguments.data is not None:
        _refuse(arguments, ("input_shape", "task", "outputs"), "the data decide that")
        return _at_rows(*_untrained(arguments), arguments, None)
    if arguments.input_shape is None:
        raise UsageError("say what comes in: --input-shape, such as 784 or 28,28,1; or --data")
    task = arguments.task or "categorical"
    network = Network(build(arguments.model, arguments.input_shape, arguments.outputs, task))
    loss = _loss(arguments.loss or LOSSES_OF[task], network)
    return check_gradients(network, arguments.input_shape, loss=loss, batch_size=arguments.batch_size, **options)


def _of_model(arguments: argparse.Namespace) -> GradientReport:
    """Of a model that is trained: at its θ."""
    from mathdl.cli.model_data import open_model, open_model_and_data
    from mathdl.theory.gradients import check_gradients

    _refuse(arguments, ("input_shape", "task", "outputs", "loss"), "a trained model says that itself")
    if arguments.data is None:
        model = open_model(arguments.model, "cpu")
        return check_gradients(
            model.network,
            model.params.input_shape,
            loss=model.loss,
            params=model.params,
            batch_size=arguments.batch_size,
            directions=arguments.directions,
            seed=arguments.seed,
        )
    asked = argparse.Namespace(
        run=arguments.model, data=arguments.data, target=arguments.target, part="all", device="cpu"
    )
    found = open_model_and_data(asked, part="all")
    return _at_rows(found.model, found.part.table, arguments, found.model.params)


def _untrained(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """(the model as `mathdl train` would begin with it, its rows to train on)."""
    from mathdl.cli.config import Config
    from mathdl.cli.task import make_task

    config = Config(
        data=arguments.data,
        target=arguments.target,
        model=arguments.model,
        loss=arguments.loss,
        seed=arguments.seed,
        device="cpu",
        dtype="float64",
    )
    task = make_task(config)
    return task.trainer.model, task.parts["train"].table


def _at_rows(model: Any, table: Any, arguments: argparse.Namespace, params: Any) -> GradientReport:
    """At the first rows of a table, prepared as for training."""
    from mathdl.arrays import to_host
    from mathdl.data import as_arrays
    from mathdl.errors import DataError
    from mathdl.theory.gradients import check_gradients

    if table.Y is None:
        raise DataError(f"{table.source}: there are no targets for the loss; say which they are with --target")
    X, Y = table.X[: arguments.batch_size], table.Y[: arguments.batch_size]
    rows = model.rows(as_arrays(X, dtype=model.params.dtype)[0], Y)
    return check_gradients(
        model.network,
        loss=model.loss,
        X=model.prepare(rows.X),
        Y=to_host(model.prepare_targets(rows.targets)),
        params=params,
        directions=arguments.directions,
        seed=arguments.seed,
    )


def _loss(name: str, network: Any) -> Loss:
    """The loss of that name; of logits where the network ends in neither of the layers that it pairs with."""
    from mathdl.losses import LOSSES
    from mathdl.losses import loss as loss_called

    found = loss_called(name)
    ends_in = type(network.layers[-1]).__name__
    if found.pairs_with and ends_in not in found.pairs_with:
        return LOSSES[name](logits=True)  # type: ignore[call-arg]
    return found


def _refuse(arguments: argparse.Namespace, options: tuple[str, ...], why: str) -> None:
    from mathdl.errors import UsageError

    for option in options:
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} does not go with this: {why}")


def _print(report: GradientReport, as_json: bool) -> None:
    import json

    from mathdl.cli.console import say, table
    from mathdl.theory.gradients.report import COLUMNS, FIGURES

    if as_json:
        print(json.dumps({"ok": report.ok, "rows": [row.to_dict() for row in report.rows]}, ensure_ascii=False))
        return
    table(COLUMNS, report.lines(), right=FIGURES)
    say(report.summary, "bold green" if report.ok else "bold red")
