"""Recorded tasks: run from the record they do what they did call by call; what cannot be recorded runs as before."""

from __future__ import annotations

import numpy as np
import pytest

from mathdl_backends.numpy import compiled, memory, recording, tasks
from mathdl_backends.numpy.namespace import namespace as xp
from mathdl_backends.numpy.programs import Pool
from mathdl_backends.numpy.recording import is_recording, leaves
from mathdl_backends.numpy.tasks import RecordedTask
from support import normal


@pytest.fixture(params=["calls", "programs"])
def pool(request, monkeypatch):
    """None, where a record is run call by call; a pool, where whatever can be is a program."""
    if request.param == "calls":
        yield None
        return
    monkeypatch.setattr(compiled, "_FEW_CALLS", 0)
    pool = Pool(2)
    pool.open()
    yield pool
    pool.close()


class Task:
    """A function of (A, G), A being other numbers at every run; it writes to G."""

    def __init__(self, function, A=None, G=None, pool=None):
        self.A = normal(4, 6) if A is None else A
        self.G = np.zeros(self.A.shape) if G is None else G
        self.calls = 0

        def make(view):
            A, G = view(self.A), view(self.G)

            def task():
                self.calls += 1
                return function(A, G)

            return task

        self.function = function
        self.record = RecordedTask(make, [self.G], pool)

    def run(self, steps=5):
        """Check each step against the function itself."""
        with np.errstate(all="ignore"):
            for seed in range(steps):
                self.A[...] = normal(*self.A.shape, seed=seed)
                start = self.G.copy()
                found = self.record()
                results, G = [np.array(A) for A in leaves(found)], self.G.copy()
                expected = [np.array(A) for A in leaves(self.function(self.A, start))]
                assert G.tobytes() == start.tobytes()
                for A, B in zip(results, expected, strict=True):
                    assert (A.tobytes(), A.shape, A.dtype) == (B.tobytes(), B.shape, B.dtype)
                assert recording.Recorded not in map(type, leaves(found))

    @property
    def is_replayed(self):
        return self.record.refused is None and self.record._next == "replay"


def update(A, G):
    G *= 0.5
    G += A
    return xp.sum(G)


def small_update(A, G):
    G *= 0.5
    G += A


def rows(A, G):
    G[1:3] = A[0:2] * 2
    G[0, :] = xp.max(A, axis=0)
    G[3, 2] = 7.0
    G[-1] += A[1, None, 0]
    return xp.mean(G, axis=1, keepdims=True)


def functions(A, G):
    B = xp.concat([A, xp.tanh(A)], axis=1)
    C = xp.where(B > 0, B, xp.exp(B))
    D = xp.permute_dims(xp.reshape(C, (4, 2, 6)), (1, 0, 2))
    E = xp.stack([D[0], D[1]], axis=2).sum(axis=2) + np.tile(A[0], 2)[:6]
    G[...] = E.std(axis=0) + E.clip(0, 1) + E.copy().ravel().reshape(4, 6) + np.cumsum(E, axis=1)
    return xp.argmax(G, axis=1, keepdims=True)


def constants(A, G):
    B = A * xp.arange(6, dtype=A.dtype) + xp.ones((6,)) - xp.arange(6) * 2 + xp.full((1,), 3.0)
    G += xp.astype(B > 0, A.dtype) * xp.minimum(xp.maximum(B, 0.0), 4.0)
    return xp.sqrt(xp.abs(G))


def picks(A, G):
    where = xp.argmax(A, axis=1)
    G += xp.take(A, where % 4, axis=0)
    return A[where % 4, where]


def products(A, G):
    G += A @ (A.T @ A) + xp.matmul(xp.ones((4, 4)), A)
    return A.dot(A.T)


def views(A, G):
    G.T[...] = A.T
    G[::2] += np.asarray(A)[::2]  # the memory is the task's
    return A.T.swapaxes(0, 1).transpose(1, 0)[None].squeeze(0)


def zeros(A, G):
    C = xp.zeros(A.shape)
    C[1:] = A[1:]
    return A + C


def leading_axes(A, G):
    G[0] = A[0:1] * 2
    G[1] = A[None, 1:2] + 1


def vectors(A, G):
    G[...] = A + xp.reshape(xp.matmul(A, A[0]), (4, 1))
    return xp.matmul(A[:, 0], A), xp.matmul(A[0], A[0])


def squares(A, G):
    """A mask that is both factors: no derivative of a ReLU."""
    mask = xp.astype(A > 0, A.dtype)
    G[...] = mask * mask


def views_that_outlive(A, G):
    B, C = A * 2, A * 3
    B, C = xp.reshape(B, (6, 4)), C.swapaxes(0, 1)[2:, :]
    D, E = A * 4, A * 5
    G += xp.reshape(B, (4, 6)) + D + E
    return C * 6


def numbers(A, G):
    """A threshold that is 0 at first: no ReLU."""
    return xp.maximum(A, xp.sum(xp.astype(A[2, 3:4] > 0, A.dtype)))


def handed_on(A, G):
    """The memory of a result that is needed no more is the next one's, and the next one is made earlier."""
    B = xp.matmul(A, A.T)
    C = xp.matmul(B, A[:, :3])
    del B
    D = xp.matmul(A * 2, A.T) * 3
    G[:, :3] += C
    return C + xp.matmul(D, A[:, 3:])


GOOD = [
    update, small_update, rows, functions, constants, picks, products, views, zeros, leading_axes, vectors, squares,
    numbers, handed_on, views_that_outlive,
]  # fmt: skip


@pytest.mark.parametrize("smallest", [0, 1 << 14])
@pytest.mark.parametrize("function", GOOD)
def test_the_record_does_what_the_calls_do(monkeypatch, pool, function, smallest):
    """Also where memory goes from one result to the next."""
    monkeypatch.setattr(memory, "_SMALL", smallest)
    task = Task(function, pool=pool)
    task.run()
    assert task.is_replayed
    # Recorded and tried. What answers is recorded twice: what it answers may not be placed anew.
    assert task.calls == (2 if pool is None or function in (small_update, squares) else 3)


def host_number(A, G):
    G *= float(A.sum())
    return A[0]


def host_item(A, G):
    return A * A[0, 0].item()


def branch(A, G):
    return A * 2 if A[0, 0] > 0 else A * 3


def mask(A, G):
    return xp.sum(A[A > 0])


def mask_written(A, G):
    G[A > 0] = 1
    return A[0]


def fresh_zeros(A, G):
    B = np.zeros_like(A, subok=False)
    C = np.zeros(A.shape)
    C[...] = A
    return A + C + B


def written_out(A, G):
    C = np.empty(A.shape)
    np.multiply(A, 2, out=C)
    return C


def numpy_inside(A, G):
    return A * np.asarray(A).cumsum(axis=1)


def without_its_hold(A, G):
    B = A * 2
    C = np.asarray(B)
    del B
    return C + A * 3


def plain_result(A, G):
    return np.asarray(A) * 2


def in_place(A, G):
    B = A * 1
    B.sort(axis=1)
    B.fill(2.0)
    return B


def out_by_name(A, G):
    B = A * 0
    np.concatenate([A[:2], A[2:]], out=B)
    np.clip(A, 0, 1, out=B)
    return B.round(1, out=B)


def where_option(A, G):
    return np.multiply(A, 2, out=G * 0, where=A > 0)


def outside(A, G):
    return np.nonzero(A)[0].sum() + np.unique(A.round()).size + A.tolist()[0][0]


def generator(A, G):
    return A * np.random.default_rng(A.view(np.ndarray).tobytes()[0]).standard_normal(A.shape)


def iterated(A, G):
    return A * max(float(a) for a in A.flat)


BAD = [
    host_number, host_item, branch, mask, mask_written, fresh_zeros, written_out, numpy_inside, without_its_hold,
     plain_result, in_place, where_option, outside, generator, iterated,
]  # fmt: skip


@pytest.mark.parametrize("function", BAD)
def test_what_cannot_be_recorded_runs_as_before(monkeypatch, pool, function):
    monkeypatch.setattr(memory, "_SMALL", 0)
    task = Task(function, pool=pool)
    task.run()
    assert not task.is_replayed
    assert task.record.refused is not None
    assert task.record.program is None


def test_a_result_written_by_name():
    Task(out_by_name).run()


def test_numbers_that_change_between_the_first_steps_are_found():
    counter = iter(range(100))
    drawn = np.random.default_rng(0)
    for number in (lambda: next(counter), drawn.random):
        made = []

        def function(A, G, number=number, made=made):
            made.append(number())
            return A * made[-1]

        task = Task(function)
        for _ in range(4):
            found = np.array(task.record())
            np.testing.assert_array_equal(found, task.A * made[-1])
        assert not task.is_replayed


def test_a_state_of_its_own_is_not_recorded():
    """A layer that adds up what it saw: the sum comes from elsewhere from the second step on."""
    kept = {"sum": np.zeros((4, 6))}

    def function(A, G):
        kept["sum"] = kept["sum"] + A
        return kept["sum"] * 1

    task = Task(function)
    total = np.zeros((4, 6))
    for seed in range(4):
        task.A[...] = normal(4, 6, seed=seed)
        if seed > 0:  # the first run is recorded as far as it goes, and run again
            total = total + task.A
        found = np.array(task.record())
        if seed == 0:
            total = found
        np.testing.assert_array_equal(found, total)
    assert not task.is_replayed


def test_rows_outside_raise_as_they_do_call_by_call(pool):
    def function(A, G):
        return xp.take(A, xp.astype(xp.sum(A, axis=1), xp.int64), axis=0)

    A = np.zeros((3, 5))
    task = Task(function, A, pool=pool)
    for _ in range(3):
        task.record()
    assert task.is_replayed
    A[1] = 10
    with pytest.raises(IndexError):
        task.record()
    A[1] = [-1, 0, 0, 0, 0]
    np.testing.assert_array_equal(task.record(), function(A, None))


def test_errors_are_those_of_the_task_and_nothing_is_changed():
    def function(A, G):
        G += 1
        raise KeyError("its own")

    task = Task(function)
    for times in range(1, 3):
        with pytest.raises(KeyError, match="its own"):
            task.record()
        np.testing.assert_array_equal(task.G, np.full((4, 6), float(times)))
        assert not is_recording()


def test_an_interrupt_ends_the_recording():
    def function(A, G):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Task(function).record()
    assert not is_recording()


def test_a_task_inside_another_is_not_recorded():
    inner = Task(update)

    def function(A, G):
        inner.record()
        return A * 2

    outer = Task(function)
    outer.run()
    np.testing.assert_array_equal(inner.G != 0, True)


def test_a_record_has_a_budget(monkeypatch, pool):
    monkeypatch.setattr(tasks, "_MOST_BYTES", {False: 100, True: 100})
    task = Task(functions, pool=pool)
    task.run()
    assert not task.is_replayed
    assert "more than the record may hold" in task.record.refused


def test_a_record_that_is_more_than_a_program_has_a_budget_of_its_own(monkeypatch):
    """There, memory does not go from one result to the next."""
    monkeypatch.setattr(tasks, "_MOST_BYTES_APART", 100)
    monkeypatch.setattr(compiled, "_FEW_CALLS", 0)
    pool = Pool(1)
    pool.open()
    for function, refused in ((small_update, False), (rows, True)):
        task = Task(function, pool=pool)
        task.run()
        assert task.is_replayed is not refused
        assert (task.record.program is None) is refused
    pool.close()


def test_nothing_special_outside_of_a_recording():
    A = normal(3, 4).view(recording.Recorded)
    B = np.zeros((3, 4))
    np.copyto(B, A)
    A[A > 0] = 1.0
    assert float(A[0, 0]) == A.item(0) == A.tolist()[0][0]
    assert A.nonzero()[0].size
    assert bool(A[0, 0] == A[0, 0])
    np.testing.assert_array_equal(A.take(np.array([0]), 0), A[0:1])
    assert type(A.astype(np.float32)) is type(A + 1) is type(A.argmax(axis=0)) is np.ndarray
