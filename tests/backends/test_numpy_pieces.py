"""Pieces: only the shape decides on them, they cover everything once, and whoever computes them, all are computed."""

from __future__ import annotations

from itertools import pairwise
from threading import Thread

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mathdl_backends.numpy.pieces import PIECE, each_piece, height, pieces, row_ranges, team


@given(rows=st.integers(1, 5000), columns=st.integers(1, 3 * PIECE))
def test_pieces_cover_the_result_once_and_in_order(rows, columns):
    parts = pieces(rows, columns)
    starts = [(r.start, c.start) for r, c in parts]
    assert starts == sorted(starts)
    assert sum((r.stop - r.start) * (c.stop - c.start) for r, c in parts) == rows * columns
    for (r, c), (next_r, next_c) in pairwise(parts):  # each begins where the one before it ends
        assert (r.stop, 0) == (next_r.start, c.start) if rows > 1 else c.stop == next_c.start
    for r, c in parts:
        assert r.stop - r.start == 1 or (r.stop - r.start) * columns <= PIECE
        assert c == slice(0, columns) or (rows == 1 and c.stop - c.start <= PIECE)


@given(rows=st.integers(2, 5000), columns=st.integers(1, PIECE))
def test_a_few_pieces_are_of_one_size(rows, columns):
    sizes = [r.stop - r.start for r, _ in pieces(rows, columns)]
    if len(row_ranges(rows, columns)) <= 4:
        assert len(sizes) in (1, 4) or rows < 9
        assert max(sizes) - min(sizes) < len(sizes)
    else:
        assert len(sizes) == len(row_ranges(rows, columns))


@given(rows=st.integers(0, 5000), columns=st.integers(1, 3 * PIECE))
def test_ranges_of_rows_are_as_high_as_a_piece_but_for_the_last(rows, columns):
    ranges = row_ranges(rows, columns)
    assert [i for part in ranges for i in range(part.start, part.stop)] == list(range(rows))
    assert all(part.stop - part.start == height(columns) for part in ranges[:-1])
    assert height(columns) == 1 or height(columns) * columns <= PIECE < (height(columns) + 1) * columns


def test_each_piece_is_run_once_by_the_team_if_there_is_one(monkeypatch):
    done = np.zeros(7, dtype=int)

    def task(j):
        done[j] += 1

    each_piece(task, 7)
    assert done.tolist() == [1] * 7
    asked = []
    monkeypatch.setattr(team, "map", lambda task, count: asked.append((task, count)))
    each_piece(task, 7)
    each_piece(task, 1)  # nothing to share
    each_piece(task, 0)
    assert asked == [(task, 7)]
    assert done.tolist() == [2, *[1] * 6]


def test_a_team_is_that_of_its_thread(monkeypatch):
    monkeypatch.setattr(team, "map", lambda task, count: None)
    seen = []
    thread = Thread(target=lambda: seen.append(team.map))
    thread.start()
    thread.join()
    assert seen == [None]
