"""Every kernel of whole trainings, written out by the real CuPy and compiled by NVRTC: no GPU is needed for that.

Skipped unless both are there, and CUDA's headers:
pip install cupy-cuda13x nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl
"""

from __future__ import annotations

import ctypes
import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mathdl as md
from every_layer import LAYERS
from host_cupy import COMPILER, ElementwiseKernel, ndarray, on_the_host
from mathdl.arrays import to_host
from mathdl.losses import LOSSES

ARCHITECTURES = "sm_80", "sm_90"
ARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's kinds of arguments


def headers():
    """Folders of CuPy's and of CUDA's headers."""
    own = Path(find_spec("cupy").submodule_search_locations[0]) / "_core" / "include"
    yield from (own, own / "cupy", *(own / "cupy" / "_cccl" / name for name in ("thrust", "libcudacxx", "cub")))
    yield from Path(sysconfig.get_path("purelib")).glob("nvidia/*/include")
    if "CUDA_PATH" in os.environ:
        yield Path(os.environ["CUDA_PATH"]) / "include"


def nvrtc():
    """The library, or None."""
    wheels = Path(sysconfig.get_path("purelib")).glob("nvidia/*/lib/libnvrtc.so.*")
    for name in (*sorted(map(str, wheels)), "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


MISSING = (
    "no C compiler" if COMPILER is None
    else "no CuPy" if find_spec("cupy") is None
    else "no NVRTC" if nvrtc() is None
    else "no headers of CUDA" if not any((folder / "cuda_fp16.h").exists() for folder in headers())
    else None
)  # fmt: skip
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture(scope="module")
def launched():
    """{(inputs, outputs, body, name, whether it is raw): the forms of its arguments} of every kernel that runs."""
    found = {}
    init, call = ElementwiseKernel.__init__, ElementwiseKernel.__call__

    def make(self, inputs, outputs, body, name, options=(), **more):
        init(self, inputs, outputs, body, name, options, **more)
        self.source = (inputs, outputs, body, name, options)

    def run(self, *args, size=None, block_size=128):
        forms = tuple(
            (str(A.dtype), A.ndim, bool(A.flags.c_contiguous)) if isinstance(A, ndarray) else None for A in args
        )
        found[self.source, forms, size is not None] = self.parameters
        return call(self, *args, size=size, block_size=block_size)

    with pytest.MonkeyPatch.context() as patch, on_the_host(with_cudnn=True):
        patch.setattr(ElementwiseKernel, "__init__", make)
        patch.setattr(ElementwiseKernel, "__call__", run)
        train_everything()
    return found


def train_everything():
    X, Y = np.random.default_rng(0).standard_normal((20, 300)).astype("float32"), np.arange(20) % 3
    for dtype in ("float32", "float64"):
        for layer, shape in LAYERS:
            size = int(np.prod(shape))
            layers = [md.Dense(size), md.Reshape(shape), layer, md.Flatten(), md.Dense(3), md.Softmax()]
            trainer = md.Trainer(md.Network(layers), optimizer=md.Adam(), batch_size=8, device="cuda", dtype=dtype)
            trainer.fit(X, Y, epochs=1, verbose=False, sample_weight=1.0 + Y)
            to_host(trainer.predict(X))
    for name, loss in LOSSES.items():
        tail = [md.Dense(3), md.Softmax()] if loss.kind == "categorical" else [md.Dense(1), md.Sigmoid()]
        targets = Y if loss.kind == "categorical" else (Y > 0).astype(float)
        trainer = md.Trainer(md.Network(tail), loss=loss(), optimizer=md.RMSprop(), batch_size=8, device="cuda")
        trainer.fit(X, targets, epochs=1, verbose=False)
        assert name
    for optimizer in (md.SGD(), md.SGD(momentum=0.9, nesterov=True, weight_decay=0.1), md.AdamW(clip_norm=1.0)):
        trainer = md.Trainer(
            md.Network([md.Dense(2000), md.Softmax()]), optimizer=optimizer, batch_size=8, device="cuda"
        )
        trainer.fit(X, Y, epochs=1, verbose=False)


def code(source, forms, is_raw, parameters):
    """What CuPy hands to NVRTC."""
    import cupy
    from cupy._core import _carray, _kernel

    kernel = cupy.ElementwiseKernel(*source[:4])
    axes = max(form[1] for form in forms if form is not None)
    infos = []
    for form, (*_, kind, _) in zip(forms, parameters, strict=True):
        if form is None:
            infos.append(_kernel._ArgInfo(SCALAR, int, np.dtype(kind).type, 0, True, True))
            continue
        dtype, own_axes, contiguous = form
        n = own_axes if is_raw else axes  # arrays that are not raw broadcast
        flat = contiguous and n == own_axes
        infos.append(_kernel._ArgInfo(ARRAY, cupy.ndarray, np.dtype(dtype).type, n, flat, True))
    infos.append(_kernel._ArgInfo(INDEXER, _carray.Indexer, None, 1 if is_raw else axes, True, True))
    kinds = [None if form is None else np.dtype(form[0]).type for form in forms]
    count = len(kernel.in_params)
    *_, types = kernel._decide_params_type(tuple(kinds[:count]), tuple(kinds[count:]))
    return _kernel._get_elementwise_kernel_code(
        tuple(infos), types, kernel.params, kernel.operation, kernel.name, kernel.preamble
    )


def compiled(text, options):
    """(whether NVRTC takes it, what it says)."""
    library, program = nvrtc(), ctypes.c_void_p()
    includes = "".join(
        f"#include <cupy/{name}>\n" for name in ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")
    )
    source = (includes + text).encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", 0, None, None) == 0
    given = [option.encode() for option in options]
    status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return status == 0, log.value.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_kernel_is_cuda(launched, architecture):
    assert len(launched) > 100
    folders = [f"-I{folder}" for folder in headers()]
    for (source, forms, is_raw), parameters in launched.items():
        text = code(source, forms, is_raw, parameters)
        options = ["-std=c++17", f"--gpu-architecture={architecture}", "-DCUPY_JITIFY_MODE=0", *source[4], *folders]
        done, said = compiled(text, options)
        assert done, f"{source[3]}\n{text}\n{said}"


def test_what_is_no_cuda_is_seen(launched):
    folders = [f"-I{folder}" for folder in headers()]
    done, said = compiled("__global__ void f() { int a = 1; int a = 2; }", ["-std=c++17", *folders])
    assert not done
    assert "already been declared" in said
