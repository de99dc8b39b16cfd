"""cuBLAS on host memory.

`Library.cublasGemmEx` reads nothing but its arguments, and multiplies with SciPy's BLAS, which stores by columns
as well.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager

import numpy as np
from scipy.linalg import blas as by_scipy

CODES = {0: np.float32, 1: np.float64, 2: np.float16}


def memory(pointer, count, dtype):
    """The numbers that begin at an address."""
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(pointer.value), dtype=dtype)


def matrix(pointer, rows, columns, leading, dtype):
    """The matrix by columns that begins at an address: a view."""
    assert leading >= max(rows, 1), "CUBLAS_STATUS_INVALID_VALUE"
    flat = memory(pointer, leading * (columns - 1) + rows, dtype)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (flat.itemsize, leading * flat.itemsize))


def number(reference):
    return reference._obj.value


class Library:
    """cuBLAS on host memory; `calls` are (compute type, stream) of its products, `order` the calls of its settings."""

    def __init__(self):
        self.calls, self.order, self.stream, self.status = [], [], None, 0
        self.allocator, self.allocated = "of a step", []
        """The current allocator, and those that the workspaces were taken from."""

    @contextmanager
    def using_allocator(self, malloc):
        before, self.allocator = self.allocator, malloc
        yield
        self.allocator = before

    def cublasCreate_v2(self, handle):
        self.order.append("create")
        return self.status

    def cublasSetStream_v2(self, handle, stream):
        self.order.append("stream")
        self.stream = stream.value
        return 0

    def cublasSetWorkspace_v2(self, handle, pointer, size):
        assert size.value == 32 << 20
        self.order.append("workspace")
        return 0

    def cublasGemmEx(
        self, handle, ta, tb, m, n, k, alpha, A, ka, lda, B, kb, ldb, beta, C, kc, ldc, compute, algorithm
    ):
        if self.status:
            return self.status
        dtype = CODES[ka]
        assert ka == kb == kc
        assert min(m, n, k) > 0
        a = matrix(A, *((k, m) if ta else (m, k)), lda, dtype)
        b = matrix(B, *((n, k) if tb else (k, n)), ldb, dtype)
        c = matrix(C, m, n, ldc, dtype)
        assert (number(alpha), number(beta)) == (1.0, 0.0)
        wide = np.float64 if dtype is np.float64 else np.float32
        gemm = by_scipy.dgemm if wide is np.float64 else by_scipy.sgemm
        c[...] = gemm(1.0, a.astype(wide), b.astype(wide), trans_a=ta, trans_b=tb)
        self.calls.append((compute, self.stream))
        return 0
