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

from mathdl import arrays
from mathdl.arrays import Array, Vector, is_array
from mathdl.data import Minibatches, Standardize
from mathdl.data.source import Source
from mathdl.errors import DataError, UsageError
from mathdl.losses import Loss, loss as loss_named, require_two_classes
from mathdl.network import Network, Parameters
from mathdl.optimizers import Optimizer, optimizer as optimizer_named
from mathdl.plan import Plan
from mathdl.schedules import schedule
from mathdl.training.activations import Activations
from mathdl.training.callbacks import Best, Callback, EarlyStopping
from mathdl.training.diagnosis import diagnose
from mathdl.training.history import History, Row
from mathdl.training.interrupt import InterruptAfterMinibatch
from mathdl.training.model import Model, checked_weights, class_weights, enter, r2_from, target_variance
from mathdl.training.progress import Progress, progress
from mathdl.training.step import EpochTable, Step, epoch_table, penalties, penalty


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
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise UsageError(f"batch_size must be an int ≥ 1, got {batch_size!r}")
        if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
            raise UsageError(f"workers must be an int ≥ 1 or None, got {workers!r}")
        self.network = network
        self.loss = loss_named(loss)
        self.optimizer = optimizer_named(optimizer)
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self.seed = seed
        self.workers = workers
        self.shuffle = shuffle
        self.standardize = standardize
        self.standardize_targets = standardize_targets
        if standardize_targets and self.loss.kind != "regression":
            raise UsageError(f"standardize_targets is for regression losses, not {type(self.loss).__name__}")
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
        self._data: tuple[Any, Any, Minibatches, int] | None = None

    # -- what has been learnt ------------------------------------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The model as it is now. It shares θ with the trainer: training on changes it."""
        if self._model is None:
            raise UsageError("nothing has been trained yet: call fit first")
        return self._model

    @property
    def params(self) -> Parameters:
        """θ and the state."""
        return self.model.params

    def predict(self, X: Any, batch_size: int = 1024) -> Array:
        """See `Model.predict`."""
        return self.model.predict(X, batch_size)

    def evaluate(self, X: Any, Y: Any, sample_weight: Any = None) -> dict[str, float]:
        """See `Model.evaluate`."""
        return self.model.evaluate(X, Y, sample_weight, self.workers)

    @property
    def minibatches(self) -> Sequence[tuple[NDArray[np.int64], Any, Any]]:
        """`minibatches[m]` is (rows, X, Y) of minibatch {m} of the latest epoch begun."""
        return _Minibatches(*self._seen())

    @property
    def A(self) -> Activations:
        """`A[l, m]` and `A[l, m, i]`: A[l]{m}(i) of the latest epoch begun, computed anew with the present θ."""
        return Activations(self.model, self.minibatches)

    def _seen(self) -> tuple[Any, Any, Minibatches, int]:
        if self._data is None:
            raise UsageError("no minibatch has been seen yet: call fit first")
        return self._data

    # -- training --------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        Y: Any,
        epochs: int = 1,
        *,
        validation_data: tuple[Any, Any] | tuple[Any, Any, Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callback] = (),
        verbose: bool | None = None,
    ) -> History:
        """Train for `epochs` more epochs; the history of all of them.

        X (n, …) and Y: arrays, lists or frames; a NumPy memory map is streamed. Checked here, once: shapes, labels,
        finiteness (`DataError`, `ShapeError`). w = sample weight × class weight. `validation_data` is (X, Y) or
        (X, Y, weights), evaluated after each epoch. Ctrl-C stops after the running minibatch; a second one at once.
        Raises `NonFiniteError` with the address of the first non-finite number if J is not finite; θ is then as it was
        before that minibatch.
        """
        if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 0:
            raise UsageError(f"epochs must be an int ≥ 0, got {epochs!r}")
        if early_stopping is not None and validation_data is None and early_stopping.monitor.startswith("val_"):
            raise UsageError(f"early stopping looks at {early_stopping.monitor!r}: pass validation_data=(Xv, Yv)")
        X, labels, weights = self._enter(X, Y, sample_weight, class_weight)
        model = self.model
        source = model.source(X, labels, weights)
        validation = None if validation_data is None else model.source(*validation_data)
        batches = Minibatches(source.n, self.batch_size, self.seed, self.shuffle)
        last = self.epoch + epochs
        self.history.stopped = None
        with ExitStack() as stack:
            stack.enter_context(self.params.device.active())
            steps = self._steps(source, stack)
            interrupt = stack.enter_context(InterruptAfterMinibatch())
            bar = stack.enter_context(progress(verbose, last, len(batches), self.epoch * len(batches) + self.m))
            while self.epoch < last and self.history.stopped is None:
                self._data = (X, labels, batches, self.epoch)
                begun = perf_counter()
                if not self._run_epoch(steps, batches, weights, bar, interrupt):
                    self.history.stopped = "interrupted"
                    break
                row = self._end_epoch(model, validation, labels, weights, batches, perf_counter() - begun)
                bar.epoch(row)
                if early_stopping is not None and self._is_over(early_stopping, row):
                    self.history.stopped = "early stopping"
                if any([callback(self, row) for callback in callbacks]):
                    self.history.stopped = self.history.stopped or "callback"
                if interrupt.asked:
                    self.history.stopped = self.history.stopped or "interrupted"
        if early_stopping is not None and early_stopping.restore_best and self.history.stopped != "interrupted":
            self._restore_best()
        return self.history

    def _enter(self, X: Any, Y: Any, sample_weight: Any, class_weight: Any) -> tuple[Any, Any, NDArray[Any] | None]:
        """Data through the door: checked X and Y, the weights, and a model that fits them."""
        X = enter(X, self.dtype)
        shape = tuple(int(d) for d in X.shape[1:])
        Y = arrays.to_host(Y) if is_array(Y) else np.asarray(Y)
        if self._model is None:
            params = self.network.initialize(shape, self.seed, self._place(X), self.dtype)
            self._model = Model(self.network, params, self.loss, squeeze=Y.ndim == 1 and self.loss.kind != "categorical")
        labels = self._model.check_targets(Y, X.shape[0])
        if self.loss.kind != "regression":
            require_two_classes(labels)
        if self.slots is None:
            self._model.inputs = Standardize.learn(arrays.to_host(X)) if self.standardize else None
            self._model.targets = Standardize.learn(labels) if self.standardize_targets else None
            self.slots = _slots(self.optimizer, self.params)
        weights = None
        if sample_weight is not None or class_weight is not None:
            weights = np.ones(X.shape[0]) if sample_weight is None else checked_weights(sample_weight, X.shape[0])
            if class_weight is not None:
                if self.loss.kind == "regression":
                    raise UsageError("class_weight is for classes; use sample_weight for regression")
                weights = weights * class_weights(class_weight, labels, self._model.classes)
        return X, labels, weights

    def _place(self, X: Any) -> str:
        return arrays.device(self.device, X).name

    def _steps(self, source: Source, stack: ExitStack) -> dict[int, Step]:
        """A step for each size of minibatch: the whole ones, and the last if it is short."""
        B = min(self.batch_size, source.n)
        sizes = [B] + ([source.n % B] if source.n % B else [])
        model, params = self.model, self.params
        scale = model.target_scale()
        metrics = model.objective.metrics(None if scale is None else params.device.put(scale, self.dtype))
        assert self.slots is not None
        steps: dict[int, Step] = {}
        for size in sizes:
            plan: Plan = self.network.plan(params.input_shape, size, self.dtype, params.device.name)
            gradients = steps[B].gradients if steps else ()
            step = Step(
                model.objective, params, self.optimizer, dict(self.slots), plan, source.minibatch(size), metrics,
                self.workers, gradients,
            )  # fmt: skip
            steps[size] = stack.enter_context(step)
        return steps

    def _run_epoch(
        self,
        steps: Mapping[int, Step],
        batches: Minibatches,
        weights: NDArray[Any] | None,
        bar: Progress,
        interrupt: InterruptAfterMinibatch,
    ) -> bool:
        """Steps from {m} = `self.m` to the end of the epoch; False if interrupted before it."""
        rows = batches.rows(self.epoch)
        totals = minibatch_totals(rows, weights)
        table = self._table(next(iter(steps.values())), totals, len(rows))
        try:
            for m in range(self.m, len(rows)):
                step = steps[len(rows[m])]
                step.load(table, m, rows[m])
                if not step.run():
                    raise diagnose(step, self.epoch + 1, m, rows[m])
                step.store(table, m)
                self.m += 1
                self.step += 1
                bar.minibatch(self.epoch + 1, m, step.J)
                if interrupt.asked and self.m < len(rows):
                    return False
        finally:
            self.running_figures = np.array(arrays.to_host(table.figures))
        return True

    def _table(self, step: Step, totals: Sequence[float], M: int) -> EpochTable:
        first = self.step - self.m
        rate = schedule(self.optimizer.learning_rate)
        column = "val_loss" if self.history.rows and "val_loss" in self.history.rows[0] else "loss"
        factor = rate.factor_after(self.history[column]) if self.history.rows else 1.0
        rates = [factor * rate.at(first + m, (first + m) / M) for m in range(M)]
        table = epoch_table(step, totals, rates, first, self.seed, self.epoch)
        if self.m:  # an epoch that was interrupted goes on
            table.figures[...] = self.params.device.put(self.running_figures, self.dtype)
        self._rate = rates[-1]
        return table

    def _end_epoch(
        self,
        model: Model,
        validation: Source | None,
        labels: NDArray[Any],
        weights: NDArray[Any] | None,
        batches: Minibatches,
        seconds: float,
    ) -> Row:
        totals = np.array(minibatch_totals(batches.rows(self.epoch), weights))
        means = (totals @ self.running_figures.astype(np.float64) / totals.sum()).tolist()
        figures = dict(zip(["loss", *model.objective.metrics()], means, strict=True))
        if "mse" in figures:
            figures["r2"] = r2_from(figures.pop("mse"), target_variance(labels, weights))
        begun = perf_counter()
        if validation is not None:
            figures |= {f"val_{name}": value for name, value in model.figures(validation, self.workers).items()}
        seconds += perf_counter() - begun
        self.epoch += 1
        self.m = 0
        row: Row = {"epoch": self.epoch, "step": self.step, **figures, "learning_rate": self._rate, "seconds": seconds}
        if penalties(self.network, self.params):
            row["penalty"] = penalty(self.network, self.params)
        self.history.rows.append(row)
        return row

    def _is_over(self, stopping: EarlyStopping, row: Row) -> bool:
        value = stopping.value(row)
        if self.best is None or stopping.improves(value, self.best.value):
            theta, state = arrays.to_host(self.params.vector), arrays.to_host(self.params.state.vector)
            self.best = Best(value, self.epoch, np.array(theta), np.array(state))
        return self.epoch - self.best.epoch >= stopping.patience

    def _restore_best(self) -> None:
        if self.best is not None:
            params = self.params
            params.vector[...] = params.device.put(self.best.theta)
            params.state.vector[...] = params.device.put(self.best.state)
            params.version += 1


def _slots(optimizer: Optimizer, params: Parameters) -> Vector:
    """The optimizer's state vectors, each the size of θ, zero at first."""
    shapes = {name: tuple(params.vector.shape) for name in optimizer.slots}
    with params.device.active():
        return Vector(shapes, params.device.namespace, params.vector.dtype, params.device.handle)


def minibatch_totals(rows: Sequence[NDArray[np.int64]], weights: NDArray[Any] | None) -> list[float]:
    """Σw of each minibatch. Raises `DataError` where it is 0: such a minibatch has no mean loss."""
    totals = [float(len(r)) if weights is None else float(np.sum(weights[r])) for r in rows]
    if 0.0 in totals:
        raise DataError(
            f"the weights of minibatch {{{totals.index(0.0)}}} sum to 0: leave rows of weight 0 out, or use a larger batch_size"
        )
    return totals


class _Minibatches(Sequence[tuple[NDArray[np.int64], Any, Any]]):
    def __init__(self, X: Any, Y: Any, batches: Minibatches, epoch: int) -> None:
        self._X, self._Y = X, Y
        self._rows = batches.rows(epoch)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, m: Any) -> Any:
        rows = self._rows[m]
        return rows, self._X[rows], self._Y[rows]
