"""Trainer: minibatches {m} of instances (i), epoch after epoch, on any device.

    trainer = md.Trainer(net, loss="categorical_cross_entropy", optimizer=md.SGD(0.1, momentum=0.9), batch_size=64)
    history = trainer.fit(X, Y, epochs=10, validation_data=(Xv, Yv))

What a run resumes from is (θ, state, optimizer state, history, best epoch, epoch, {m}): randomness is addressed, so a
training that was stopped and resumed equals one that never stopped, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathdl import arrays, losses, optimizers
from mathdl.arrays import Array, Vector, to_host
from mathdl.data import Minibatches, Standardize, as_arrays
from mathdl.data.selection import is_on_file
from mathdl.data.source import Source
from mathdl.data.weights import ClassWeight
from mathdl.errors import DataError, MathdlError, OutOfMemoryError, UsageError, integer, unknown_name
from mathdl.losses import Loss
from mathdl.network import DTYPES, Network, Parameters
from mathdl.objective import Objective
from mathdl.optimizers import Optimizer
from mathdl.schedules import schedule
from mathdl.training.activations import Activations
from mathdl.training.callbacks import Best, Callback, EarlyStopping
from mathdl.training.diagnosis import diagnose
from mathdl.training.history import History, Row
from mathdl.training.interrupt import InterruptAfterMinibatch
from mathdl.training.model import Model, Rows
from mathdl.training.pace import Pace
from mathdl.training.prepared import Prepared, prepare
from mathdl.training.progress import Progress, progress
from mathdl.training.room import advice
from mathdl.training.step import EpochTable, Step, epoch_table, penalties, penalty

Order = Sequence[NDArray[np.int64]]
"""The rows of each minibatch {m} of an epoch."""


class Trainer:
    """Trains `network` under `loss`.

    `loss` and `optimizer` are names or objects; `device` is "auto", "cpu", "cuda" or "cuda:k"; `workers` (default: the
    cores that this process may use) never changes a bit of the result. `standardize` and `standardize_targets` learn
    mean and deviation on the training rows of the first `fit`. One trainer per thread.
    """

    def __init__(
        self,
        network: Network,
        loss: str | Loss = "categorical_cross_entropy",
        optimizer: str | Optimizer = "sgd",
        batch_size: int = 32,
        device: str = "auto",
        dtype: str = "float32",
        seed: int = 0,
        workers: int | None = None,
        shuffle: bool = True,
        standardize: bool = False,
        standardize_targets: bool = False,
    ) -> None:
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        if not isinstance(network, Network):
            raise UsageError(f"Trainer: expected a Network, got {network!r}")
        self.network = network
        self.loss = losses.loss(loss)
        self.optimizer = optimizers.optimizer(optimizer)
        self.batch_size = integer("batch_size", batch_size)
        self.device = device
        self.dtype = dtype
        self.seed = integer("seed", seed, least=0)
        self.workers = None if workers is None else integer("workers", workers)
        self.shuffle = shuffle
        self.standardize = standardize
        self.standardize_targets = standardize_targets
        if standardize_targets and self.loss.kind != "regression":
            raise UsageError(f"standardize_targets is for regression losses, not {type(self.loss).__name__}")
        Objective(network, self.loss)  # refuses a loss that the network does not fit
        self.reset()

    def reset(self) -> None:
        """Forget everything learnt: the next `fit` starts anew, from the seed."""
        self.epoch = 0
        """Epochs that have ended."""
        self.m = 0
        """Minibatches of the running epoch that have ended."""
        self.step = 0
        """Steps taken."""
        self.history = History()
        self.best: Best | None = None
        self.slots: Vector | None = None
        self.running_figures: NDArray[Any] = np.zeros((0, 0))
        """The figures of the minibatches of an epoch that has not ended."""
        self._model: Model | None = None
        self._seen: tuple[Rows, Order] | None = None
        self._prepared: Prepared | None = None

    # -- what has been learnt ------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The model as it is now. It shares θ with the trainer: training on changes it."""
        if self._model is None:
            raise UsageError("there is no model yet: call fit (or prepare) first")
        return self._model

    @property
    def params(self) -> Parameters:
        """θ and the state."""
        return self.model.params

    def predict(self, X: Any, batch_size: int | None = None) -> Array:
        """See `Model.predict`."""
        return self.model.predict(X, batch_size)

    def evaluate(self, X: Any, Y: Any, sample_weight: Any = None) -> dict[str, float]:
        """See `Model.evaluate`."""
        return self.model.evaluate(X, Y, sample_weight, self.workers)

    @property
    def minibatches(self) -> Sequence[tuple[NDArray[np.int64], Any, Any]]:
        """`minibatches[m]` is (rows, X, Y) of minibatch {m} of the latest epoch begun."""
        if self._seen is None:
            raise UsageError("no minibatch has been seen yet: call fit first")
        return _Minibatches(*self._seen)

    @property
    def A(self) -> Activations:
        """`A[l, m]` and `A[l, m, i]`: A[l]{m}(i) of the latest epoch begun, computed anew with the present θ."""
        return Activations(self.model, self.minibatches)

    def about_steps(self) -> str:
        """How the steps of the latest `fit` run: call by call, or as one program or CUDA graph, and of what."""
        if self._prepared is None:
            raise UsageError("no step has been run yet: call fit first")
        return next(iter(self._prepared.steps.values())).about()

    # -- training ------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        Y: Any,
        epochs: int = 1,
        *,
        validation_data: tuple[Any, Any] | tuple[Any, Any, Any] | None = None,
        sample_weight: Any = None,
        class_weight: ClassWeight | None = None,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callback] = (),
        verbose: bool | None = None,
    ) -> History:
        """Train for `epochs` more epochs; the history of all of them.

        X (n, …) and Y: arrays, lists or frames; a NumPy memory map is streamed, and so is what the device has no room
        for. Checked here, once: shapes, labels, finiteness (`DataError`, `ShapeError`). w = sample weight × class
        weight; `class_weight` is {class: weight} or "balanced". `validation_data` is (X, Y) or (X, Y, weights),
        evaluated after each epoch. Ctrl-C stops after the running minibatch, and the next `fit` goes on from there; a
        second Ctrl-C stops at once.
        Raises `NonFiniteError` with the address of the first non-finite number if J is not finite; θ is then as it was
        before that minibatch. `OutOfMemoryError` names the largest `batch_size` of which a step fits on the device.
        """
        last = self.epoch + integer("epochs", epochs, least=0)
        if validation_data is not None and len(validation_data) not in (2, 3):
            raise UsageError("validation_data must be (X, Y) or (X, Y, weights)")
        if early_stopping is not None:
            self._check_monitor(early_stopping, validates=validation_data is not None)
        rows = self._enter(X, Y, sample_weight, class_weight)
        source = self.model.source(rows, (X, Y, sample_weight))
        validation = None if validation_data is None else self._enter_validation(*validation_data)
        batches = Minibatches(source.n, self.batch_size, self.seed, self.shuffle)
        self._check_running_epoch(len(batches))
        if self.best is not None and self.history.stopped == "early stopping":
            self.best.waited = 0  # the patience begins anew
        self.history.stopped = None
        out_of_memory = ""
        try:
            self._run_epochs(source, rows, validation, batches, last, early_stopping, callbacks, verbose)
        except OutOfMemoryError as error:
            out_of_memory = str(error)  # and no more: the error holds the arrays of the step
        if out_of_memory:
            self._prepared = None
            raise OutOfMemoryError(f"{out_of_memory}. {advice(self, source)}")
        if early_stopping is not None and early_stopping.restore_best and self.history.stopped != "interrupted":
            self._restore_best()
        return self.history

    def prepare(self, X: Any, Y: Any, classes: Sequence[str] | None = None) -> None:
        """What `fit` does before its first step: check the data, draw θ, learn the standardization.

        For a checkpoint to be restored into (`restore_checkpoint`), or for θ to be assigned to. `classes` names the
        classes of the model.
        """
        self._enter(X, Y)
        if classes is not None:
            self.model.classes = tuple(classes)

    def _enter(self, X: Any, Y: Any, sample_weight: Any = None, class_weight: ClassWeight | None = None) -> Rows:
        """Data through the door, and a model that fits them. Data that are refused leave no trace."""
        X = as_arrays(X, dtype=self.dtype)[0]
        model = self._model or self._new_model(X)
        rows = model.rows(X, Y, sample_weight, class_weight)
        if self.loss.kind != "regression":
            losses.require_two_classes(rows.targets)
        if self._model is None:
            model.squeeze = rows.Y.ndim == 1 and self.loss.kind != "categorical"
            model.inputs = Standardize.learn(X if is_on_file(X) else to_host(X)) if self.standardize else None
            model.targets = Standardize.learn(rows.targets) if self.standardize_targets else None
            self._model, self.slots = model, _slots(self.optimizer, model.params)
        return rows

    def _enter_validation(self, X: Any, Y: Any, sample_weight: Any = None) -> tuple[Rows, Source]:
        try:
            rows = self.model.rows(as_arrays(X, dtype=self.dtype)[0], Y, sample_weight)
        except MathdlError as error:
            error.add_note("in validation_data")
            raise
        return rows, self.model.source(rows)

    def _check_monitor(self, stopping: EarlyStopping, validates: bool) -> None:
        if stopping.monitor.startswith("val_") and not validates:
            raise UsageError(f"early stopping looks at {stopping.monitor!r}: pass validation_data=(Xv, Yv)")
        figures = Objective(self.network, self.loss).figures
        stopping.check([prefix + name for prefix in ("", "val_") for name in figures])

    def _check_running_epoch(self, minibatches: int) -> None:
        """Raise `UsageError` unless an epoch that was interrupted can go on with so many minibatches."""
        if self.m and len(self.running_figures) != minibatches:
            raise UsageError(
                f"an epoch of {len(self.running_figures)} minibatches was interrupted after {self.m}, and these data "
                f"make {minibatches}: go on with the same data, or reset()"
            )

    def _new_model(self, X: Any) -> Model:
        shape = tuple(int(d) for d in X.shape[1:])
        params = self.network.initialize(shape, self.seed, arrays.device(self.device, X).name, self.dtype)
        return Model(self.network, params, self.loss)

    def _run_epochs(
        self,
        source: Source,
        rows: Rows,
        validation: tuple[Rows, Source] | None,
        batches: Minibatches,
        last: int,
        early_stopping: EarlyStopping | None,
        callbacks: Sequence[Callback],
        verbose: bool | None,
    ) -> None:
        """The epochs up to `last`, unless something stops them: `history.stopped` says what."""
        with ExitStack() as stack:
            stack.enter_context(self.params.device.active())
            prepared = self._prepared = prepare(self._prepared, self, source)
            for step in prepared.steps.values():
                stack.enter_context(step)
            pace = Pace()
            interrupt = stack.enter_context(InterruptAfterMinibatch())
            bar = stack.enter_context(progress(verbose, self.epoch, last, self.m, len(batches)))
            while self.epoch < last and self.history.stopped is None:
                order = batches.rows(self.epoch)
                self._seen = (rows, order)
                begun = perf_counter()
                if not self._run_epoch(prepared.steps, order, rows, pace, bar, interrupt):
                    self.history.stopped = "interrupted"
                    break
                row = self._end_epoch(rows, validation, order, begun)
                bar.epoch(row)
                if early_stopping is not None and self._is_over(early_stopping, row):
                    self.history.stopped = "early stopping"
                if any([callback(self, row) for callback in callbacks]):
                    self.history.stopped = self.history.stopped or "callback"
                if interrupt.asked:
                    self.history.stopped = self.history.stopped or "interrupted"

    def _run_epoch(
        self,
        steps: Mapping[int, Step],
        order: Order,
        data: Rows,
        pace: Pace,
        bar: Progress,
        interrupt: InterruptAfterMinibatch,
    ) -> bool:
        """Steps from {m} = `self.m` to the end of the epoch; False if interrupted before it."""
        table = self._table(next(iter(steps.values())), minibatch_totals(order, data.weights))
        runs = _runs([len(rows) for rows in order])
        for first, end in runs:
            steps[len(order[first])].begin(table.part(first, end), order[first:end])
        try:
            for first, end in runs:
                step = steps[len(order[first])]
                while self.m < end:
                    wanted = min(end - self.m, pace.steps)
                    done = pace.timed(step.run, self.m - first, wanted)
                    self.m += done
                    self.step += done
                    if done < wanted:
                        raise diagnose(step, self.epoch + 1, self.m, order[self.m])
                    bar.minibatches(self.epoch + 1, self.m, step.J)
                    if interrupt.asked and self.m < len(order):
                        return False
        finally:
            figures = [to_host(steps[len(order[first])].table.figures)[: end - first] for first, end in runs]
            self.running_figures = np.concatenate(figures)
        return True

    def _table(self, step: Step, totals: Sequence[float]) -> EpochTable:
        first, M = self.step - self.m, len(totals)
        rate = schedule(self.optimizer.learning_rate)
        seen = [row["val_loss"] for row in self.history if "val_loss" in row]
        factor = rate.factor_after(seen or [row["loss"] for row in self.history])
        rates = [factor * rate.at(first + m, self.epoch + m / M) for m in range(M)]
        table = epoch_table(step, totals, rates, first, self.seed, self.epoch)
        if self.m:  # an epoch that was interrupted goes on
            table.figures[...] = self.running_figures
        self._rate = rates[-1]
        return table

    def _end_epoch(self, rows: Rows, validation: tuple[Rows, Source] | None, order: Order, begun: float) -> Row:
        totals = np.array(minibatch_totals(order, rows.weights))
        means: list[float] = (totals @ self.running_figures.astype(np.float64) / totals.sum()).tolist()
        figures = self.model.named(means, rows)
        if validation is not None:
            found = self.model.figures(*validation, self.workers)
            figures |= {f"val_{name}": value for name, value in found.items()}
        if penalties(self.network, self.params):
            figures["penalty"] = penalty(self.network, self.params)
        self.epoch += 1
        self.m = 0
        row: Row = {"epoch": self.epoch, "step": self.step, **figures, "learning_rate": self._rate}
        row["seconds"] = perf_counter() - begun
        self.history.rows.append(row)
        return row

    def _is_over(self, stopping: EarlyStopping, row: Row) -> bool:
        value, best = stopping.value(row), self.best
        if best is None or best.monitor != stopping.monitor or stopping.improves(value, best.value):
            theta, state = np.array(to_host(self.params.vector)), np.array(to_host(self.params.state.vector))
            self.best = best = Best(stopping.monitor, value, self.epoch, theta, state)
        else:
            best.waited += 1
        return best.waited >= stopping.patience

    def _restore_best(self) -> None:
        if self.best is not None:
            params = self.params
            params.vector[...] = params.device.put(self.best.theta)
            params.state.vector[...] = params.device.put(self.best.state)


def _slots(optimizer: Optimizer, params: Parameters) -> Vector:
    """The optimizer's state vectors, each the size of θ, zero at first."""
    shapes = {name: tuple(params.vector.shape) for name in optimizer.slots}
    with params.device.active():
        return Vector(shapes, params.device.namespace, params.vector.dtype, params.device.handle)


def minibatch_totals(rows: Order, weights: NDArray[Any] | None) -> list[float]:
    """Σw of each minibatch. Raises `DataError` where it is 0: such a minibatch has no mean loss."""
    totals = [float(len(r)) if weights is None else float(np.sum(weights[r])) for r in rows]
    if 0.0 in totals:
        raise DataError(
            f"the weights of minibatch {{{totals.index(0.0)}}} sum to 0: leave rows of weight 0 out, "
            "or use a larger batch_size"
        )
    return totals


def _runs(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(first, end) of the minibatches of one size: the whole ones, and the last if it is short."""
    M = len(sizes)
    return [(0, M)] if sizes[-1] == sizes[0] else [(0, M - 1), (M - 1, M)]


class _Minibatches(Sequence[tuple[NDArray[np.int64], Any, Any]]):
    def __init__(self, data: Rows, order: Order) -> None:
        self._data = data
        self._rows = order

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, m: Any) -> Any:
        if isinstance(m, slice):
            return [self[k] for k in range(*m.indices(len(self)))]
        rows, X = self._rows[m], self._data.X
        if not isinstance(X, np.ndarray) and not is_on_file(X):
            return rows, arrays.namespace(X).take(X, arrays.device_of(X).put(rows), axis=0), self._data.Y[rows]
        return rows, np.asarray(X[rows]), self._data.Y[rows]
