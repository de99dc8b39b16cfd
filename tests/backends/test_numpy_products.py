"""Products: the shape alone decides how a large one is cut, and the pieces make the product."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl_backends.numpy import products as module
from mathdl_backends.numpy.execution import ShardedExecution
from mathdl_backends.numpy.pieces import team
from mathdl_backends.numpy.products import MOST_PIECES, cut, matmul, matmul_into
from support import normal

DTYPES = ["float32", "float64"]


def one_by_one(task, count):
    for j in reversed(range(count)):
        task(j)


@pytest.fixture
def one_blas_thread():
    with ShardedExecution(1, 1, False):
        yield


@pytest.fixture
def pieces(monkeypatch):
    """Products from 100 multiply-adds a piece on are cut; the fixture lists the numbers of their pieces."""
    monkeypatch.setattr(module, "SMALLEST_PIECE", 100)
    cut.cache_clear()
    counts = []

    def run(task, count):
        counts.append(count)
        one_by_one(task, count)

    monkeypatch.setattr(team, "map", run)
    monkeypatch.setattr(team, "workers", MOST_PIECES)
    yield counts
    cut.cache_clear()


@given(
    rows=st.integers(1, 40),
    inner=st.integers(0, 40),
    columns=st.integers(1, 300),
    transposed=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from(DTYPES),
)
def test_pieces_make_the_product(rows, inner, columns, transposed, dtype):
    A = normal(inner, rows, dtype=dtype).T if transposed[0] else normal(rows, inner, dtype=dtype)
    B = normal(columns, inner, dtype=dtype).T if transposed[1] else normal(inner, columns, dtype=dtype)
    expected = A.astype(np.float64) @ B.astype(np.float64)
    out = np.full((rows, columns), np.nan, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALLEST_PIECE", 50)
        patch.setattr(team, "map", one_by_one)
        patch.setattr(team, "workers", MOST_PIECES)
        cut.cache_clear()
        found = matmul(A, B)
        assert matmul_into(A, B, out) is out
    cut.cache_clear()
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-4)
    np.testing.assert_array_equal(found, out)


@given(rows=st.integers(0, 2000), inner=st.integers(0, 2000), columns=st.integers(0, 2000))
def test_pieces_are_disjoint_and_cover_the_result(rows, inner, columns):
    parts = cut(rows, inner, columns)
    if parts is None:
        assert rows * inner * columns < 2 * module.SMALLEST_PIECE
        return
    assert 1 <= len(parts) <= MOST_PIECES
    seen = np.zeros((rows, columns), dtype=int)
    for piece in parts:
        assert seen[piece].size
        seen[piece] += 1
        assert piece[0].start % 16 == piece[1].start % 16 == 0
    assert np.all(seen == 1)


def test_rows_are_cut_unless_they_are_few():
    """What follows a product finds whole rows in the cache."""
    assert all(columns == slice(0, 10) for _, columns in cut(100_000, 100, 10))
    assert all(columns == slice(0, 400) for _, columns in cut(200, 1000, 400))
    assert all(rows == slice(0, 199) for rows, _ in cut(199, 1000, 400))
    assert all(rows == slice(0, 10) for rows, _ in cut(10, 100, 100_000))


def test_a_product_into_a_view_of_a_larger_array(pieces):
    A, B, out = normal(80, 10), normal(10, 30), np.zeros((82, 40))
    view = out[1:81, 5:35]
    assert matmul_into(A, B, view) is view
    np.testing.assert_allclose(view, A @ B, rtol=1e-12, atol=1e-14)
    view[...] = 0
    assert not out.any()
    assert pieces == [4]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(512, 300, 130), (300, 90, 70), (77, 300, 50), (130, 256, 10), (20, 500, 400)])
def test_the_number_of_workers_changes_no_bit(one_blas_thread, shape, transposed, dtype):
    rows, inner, columns = shape
    A = normal(inner, rows, dtype=dtype).T if transposed[0] else normal(rows, inner, dtype=dtype)
    B = normal(columns, inner, dtype=dtype).T if transposed[1] else normal(inner, columns, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SMALLEST_PIECE", 1000)
        patch.setattr(team, "map", one_by_one)
        cut.cache_clear()
        module.has_same_bits.cache_clear()
        found = []
        for workers in (1, 2, 3, 4, 8):
            patch.setattr(team, "workers", workers)
            found.append(matmul(A, B).tobytes())
    cut.cache_clear()
    module.has_same_bits.cache_clear()
    assert len(set(found)) == 1


def test_a_piece_for_each_worker_if_the_bits_are_the_same(monkeypatch):
    A, B = normal(512, 300, dtype="float32"), normal(300, 256, dtype="float32")
    for same in (True, False):
        monkeypatch.setattr(module, "has_same_bits", lambda shape, *_, same=same: same)
        for workers in (1, 2, 3, 4, 8):
            assert len(module.parts_of(A, B, workers)) == (workers if same else MOST_PIECES)
    few_rows, small = normal(16, 900), normal(64, 64)
    monkeypatch.setattr(module, "has_same_bits", lambda *_: pytest.fail("nothing to compare"))
    assert len(module.parts_of(few_rows, normal(900, 800), 2)) == MOST_PIECES  # cut by columns
    assert module.parts_of(small, small, 2) is None


def test_a_product_whose_rounding_depends_on_its_rows_is_noticed(monkeypatch):
    """Such as BLAS's routine for small matrices beside that for large ones."""
    cut.cache_clear()
    module.has_same_bits.cache_clear()
    args = (512, 300, 256), (True, True), "f", 2, 16
    matmul_of_numpy = np.matmul

    def other_above_200_rows(A, B, out):
        return matmul_of_numpy(A, B, out=out) if A.shape[0] < 200 else np.add(matmul_of_numpy(A, B), 1e-4, out=out)

    monkeypatch.setattr(np, "matmul", other_above_200_rows)
    assert not module.has_same_bits(*args)
    module.has_same_bits.cache_clear()


@pytest.mark.parametrize("unit", [16, 12])
def test_pieces_begin_where_blas_cuts(monkeypatch, unit):
    """Its routines take so many rows at a time, and those that are left over in another order."""
    cut.cache_clear()
    module.has_same_bits.cache_clear()

    def by_units(A, B, out):
        np.einsum("ij,jk->ik", A, B, out=out)
        out[len(A) // unit * unit :] *= np.float32(1 + 1e-6)

    monkeypatch.setattr(np, "matmul", by_units)
    A, B = normal(512, 300, dtype="float32"), normal(300, 256, dtype="float32")
    cuts = {workers: [rows.start for rows, _ in module.parts_of(A, B, workers)] for workers in (1, 2, 4)}
    monkeypatch.undo()
    module.has_same_bits.cache_clear()
    assert cuts == {1: [0], 2: [0, 256 // unit * unit], 4: [0, *(unit * (-(-512 // unit) * j // 4) for j in (1, 2, 3))]}


def test_without_a_team_a_product_is_made_in_one_go(monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_PIECE", 1)
    assert team.map is None
    A, B = normal(3, 4), normal(4, 5)
    np.testing.assert_array_equal(matmul(A, B), np.matmul(A, B))
    out = np.zeros((3, 5))
    assert matmul_into(A, B, out) is out
    np.testing.assert_array_equal(out, np.matmul(A, B))
