"""Sources: the rows of a minibatch, in memory and streamed from a file, are the same; buffers that do not move."""

from __future__ import annotations

from threading import current_thread, main_thread

import numpy as np
import pytest

from mathdl.data.source import InMemory, Streamed
from mathdl.tables import take_rows
from support import as_inside_a_step, host, normal

N = 11


@pytest.fixture(params=["in memory", "streamed"])
def kind(request):
    return request.param


def source(kind, backend, tmp_path, weights=True, labels=True):
    X = normal(N, 3, 2, dtype="float32")
    Y = np.arange(N) % 4 if labels else normal(N, 2)
    w = np.linspace(0.5, 2.0, N, dtype="float32") if weights else None
    if kind == "in memory":
        put = None if w is None else backend.put(w)
        return InMemory(backend.put(X), backend.put(Y), put, backend), X, Y, w
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    return Streamed(mapped, Y, w, backend, backend.put, backend.put), X, Y, w


def load(minibatch, backend, rows):
    """The rows of one minibatch, as a step finds them."""
    minibatch.begin([np.array(rows)])
    minibatch.fetch(0)
    take_rows(backend.put(np.array([0])), *minibatch.tables)


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_minibatches(kind, backend, tmp_path, weights, labels):
    found, X, Y, w = source(kind, backend, tmp_path, weights, labels)
    assert found.n == N
    minibatch, at = found.minibatch(4, 2), backend.put(np.array([1]))
    for rows in (np.array([7, 2, 2, 10]), np.array([0, 1, 2, 3])):
        minibatch.begin([np.zeros(4, dtype=np.int64), rows])
        minibatch.fetch(1)
        with as_inside_a_step(backend):
            take_rows(at, *minibatch.tables)
            parts = [minibatch.take(0, 3), minibatch.take(3, 4)]
        for expected, got in zip((X, Y, w), zip(*parts, strict=True), strict=True):
            if expected is None:
                assert got == (None, None)
                continue
            assert got[0].dtype == backend.put(expected).dtype
            np.testing.assert_array_equal(np.concatenate([host(A) for A in got]), expected[rows])


@pytest.mark.parametrize("weights", [True, False])
def test_slices_are_in_the_order_of_the_data(kind, backend, tmp_path, weights):
    found, X, Y, w = source(kind, backend, tmp_path, weights)
    for first, end in ((0, 5), (5, 11), (10, 11)):
        for expected, got in zip((X, Y, w), found.slice(first, end), strict=True):
            if expected is None:
                assert got is None
            else:
                np.testing.assert_array_equal(host(got), expected[first:end])


def test_two_minibatches_of_one_source_do_not_disturb_each_other(kind, backend, tmp_path):
    found, X, _, _ = source(kind, backend, tmp_path)
    one, two = found.minibatch(2), found.minibatch(3)
    load(one, backend, [4, 5])
    load(two, backend, [0, 1, 2])
    np.testing.assert_array_equal(host(one.take(0, 2)[0]), X[4:6])
    np.testing.assert_array_equal(host(two.take(1, 3)[0]), X[1:3])


def test_rows_in_memory_are_read_through_a_buffer_that_stays(backend, tmp_path):
    found, X, _, _ = source("in memory", backend, tmp_path)
    minibatch = found.minibatch(2)
    load(minibatch, backend, [4, 5])
    buffer = minibatch._rows
    load(minibatch, backend, [6, 7])
    assert minibatch._rows is buffer
    np.testing.assert_array_equal(host(minibatch.take(0, 2)[0]), X[6:8])


@pytest.mark.parametrize("kind", ["streamed"])
def test_streamed_rows_are_read_through_buffers_that_stay(kind, backend, tmp_path):
    found, X, Y, w = source(kind, backend, tmp_path)
    minibatch = found.minibatch(2)
    before = minibatch.take(0, 2)
    load(minibatch, backend, [4, 5])
    load(minibatch, backend, [6, 7])
    for buffer, expected in zip(before, (X, Y, w), strict=True):
        np.testing.assert_array_equal(host(buffer), expected[6:8])


class Watched:
    """X of N rows, that says which rows were asked for, and by which thread."""

    shape = (N, 2)

    def __init__(self):
        self.asked = []

    def __getitem__(self, rows):
        self.asked.append((np.asarray(rows).tolist(), current_thread() is main_thread()))
        return np.arange(2 * N, dtype="float32").reshape(N, 2)[rows]


def watched(backend):
    file = Watched()
    streamed = Streamed(file, np.arange(N), None, backend, backend.put, backend.put)
    minibatch = streamed.minibatch(2)
    file.asked.clear()
    return file, minibatch


def test_the_next_minibatch_is_read_while_steps_run(backend):
    file, minibatch = watched(backend)
    minibatch.begin([np.array(rows) for rows in ([0, 1], [2, 3], [4, 5])])
    minibatch.fetch(0)
    minibatch._coming[1].result(60)
    assert file.asked == [([0, 1], True), ([2, 3], False)]
    np.testing.assert_array_equal(host(minibatch.take(0, 2)[1]), [0, 1])  # what steps read is left alone
    minibatch.fetch(1)
    minibatch.fetch(2)
    assert [rows for rows, _ in file.asked] == [[0, 1], [2, 3], [4, 5]]  # each once, and none after the last
    np.testing.assert_array_equal(host(minibatch.take(0, 2)[1]), [4, 5])


def test_minibatches_may_be_fetched_in_any_order(backend):
    _, minibatch = watched(backend)
    rows = [np.array([m, m + 1]) for m in range(4)]
    minibatch.begin(rows)
    for m in (2, 0, 1, 3, 3):
        minibatch.fetch(m)
        np.testing.assert_array_equal(host(minibatch.take(0, 2)[1]), rows[m])
    minibatch.begin(rows[::-1])
    minibatch.fetch(1)
    np.testing.assert_array_equal(host(minibatch.take(0, 2)[1]), rows[2])


def test_an_error_of_reading_is_raised_by_the_fetch(backend):
    class Broken(Watched):
        def __getitem__(self, rows):
            if 5 in rows:
                raise OSError("the disk is gone")
            return super().__getitem__(rows)

    minibatch = Streamed(Broken(), np.arange(N), None, backend, backend.put, backend.put).minibatch(2)
    minibatch.begin([np.array([0, 1]), np.array([4, 5])])
    minibatch.fetch(0)
    with pytest.raises(OSError, match="the disk is gone"):
        minibatch.fetch(1)


def test_a_file_is_read_in_its_order(tmp_path, backend):
    """Rows are asked of the file in increasing order, whatever the minibatch's."""
    asked = []

    class File:
        shape = (N, 2)

        def __getitem__(self, rows):
            asked.append(rows)
            return np.arange(2 * N, dtype="float32").reshape(N, 2)[rows]

    streamed = Streamed(File(), np.arange(N), None, backend, backend.put, backend.put)
    X, Y, _ = streamed.read(np.array([9, 0, 4]))
    assert asked[0].tolist() == [0, 4, 9]
    np.testing.assert_array_equal(host(X)[:, 0], [18, 0, 8])
    np.testing.assert_array_equal(host(Y), [9, 0, 4])
