"""CuPy on host memory: what `mathdl_backends.cupy` takes of CuPy, cuBLAS and CUDA, so that whole trainings run on it.

Arrays are NumPy's, in a class of their own that is as strict as CuPy's: no array of the host beside them, and no number
read while a stream captures. Every kernel is a launch, `Machine.launches` has their names. While a stream captures,
launches are taken down and not made, and what they would write is rubbish; a graph makes them, in their order and on
the same memory. `ElementwiseKernel` compiles the body as C. What real kernels do is asked of a real GPU.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import array_api_compat.numpy as compat
import numpy as np
import pytest

import host_cudnn as cudnn
from host_blas import Library
from mathdl import arrays
from mathdl.primitive import PRIMITIVES

COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
C_TYPES = {
    "float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t", "int16": "int16_t",
    "int8": "int8_t", "uint64": "uint64_t", "uint32": "uint32_t", "uint16": "uint16_t", "uint8": "uint8_t",
    "bool": "_Bool",
}  # fmt: skip


class Machine:
    """What has been launched, and what is being captured."""

    launches: ClassVar[list[str]] = []
    taken: ClassVar[list[Callable[[], None]] | None] = None
    captured: ClassVar[list[str]] = []
    """The names of what was taken down."""
    kept: ClassVar[list[Any]] = []
    """Memory of captures: a graph writes to it for ever."""

    @classmethod
    def launch(cls, name: str, job: Callable[[], None]) -> None:
        cls.launches.append(name)
        if cls.taken is None:
            job()
        else:
            cls.taken.append(job)
            cls.captured.append(name)

    @classmethod
    def read(cls) -> None:
        if cls.taken is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: the current stream is capturing")


class HostDevice:
    id = 0

    def __enter__(self) -> HostDevice:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostDevice)

    def __hash__(self) -> int:
        return 0


class ndarray:
    """An array on the device; `host` is its memory."""

    __module__ = "cupy"
    __hash__ = None  # type: ignore[assignment]
    device = HostDevice()

    def __init__(self, host: Any) -> None:
        self.host = host

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        raise TypeError(f"numpy.{ufunc.__name__} of a CuPy array")

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.host.__array_interface__["data"][0], mem=self)

    @property
    def T(self) -> ndarray:
        return ndarray(self.host.T)

    def __len__(self) -> int:
        return len(self.host)

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, ndarray) and part.dtype == bool for part in parts):
            Machine.read()  # CuPy looks at masks
        parts = tuple(plain(part) for part in parts)
        return done("getitem", lambda A: A[parts if any(part is ... for part in parts) else (*parts, ...)], self)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, ndarray | bool | int | float | np.generic):
            raise TypeError(f"Unsupported type {type(value)}")
        key, value = plain(key), plain(value)
        Machine.launch("copy", lambda: self.host.__setitem__(key, value))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        return self if self.dtype == dtype and not copy else done("astype", lambda A: A.astype(dtype), self)

    def copy(self) -> ndarray:
        return done("copy", np.copy, self)

    def reshape(self, *shape: Any) -> ndarray:
        return done("reshape", np.reshape, self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: int) -> ndarray:
        return ndarray(self.host.transpose(*axes))

    def set(self, A: Any) -> None:
        Machine.read()
        self.host[...] = A

    def get(self) -> Any:
        Machine.read()
        return self.host.copy()


def _asked(name: str) -> Any:
    return property(lambda self: getattr(self.host, name))


def _read(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any) -> Any:
        Machine.read()
        return getattr(self.host, name)(*args)

    return method


def _operator(ufunc: np.ufunc, swapped: bool = False, in_place: bool = False) -> Callable[..., Any]:
    def method(self: ndarray, other: Any = None) -> Any:
        if getattr(other, "__array_ufunc__", 0) is None:
            return NotImplemented
        if ufunc.nin == 1:
            return done(ufunc.__name__, ufunc, self)
        if not isinstance(other, ndarray | bool | int | float | np.generic):
            return NotImplemented
        if not in_place:
            return done(ufunc.__name__, ufunc, *((other, self) if swapped else (self, other)))
        value = plain(other)

        def job() -> None:
            with np.errstate(all="ignore"):
                ufunc(self.host, value, out=self.host)

        Machine.launch(ufunc.__name__, job)
        return self

    return method


for _name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes", "flags"):
    setattr(ndarray, _name, _asked(_name))
for _name in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist"):
    setattr(ndarray, _name, _read(_name))
for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lshift": np.left_shift, "rshift": np.right_shift,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", _operator(_ufunc, swapped=True))
    setattr(ndarray, f"__i{_name}__", _operator(_ufunc, in_place=True))
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "neg": np.negative, "abs": np.abs, "invert": np.invert,
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _operator(_ufunc))


def plain(A: Any) -> Any:
    if isinstance(A, ndarray):
        return A.host
    assert not isinstance(A, np.ndarray), "an array of the host among CuPy's"
    if isinstance(A, tuple | list):
        return type(A)(map(plain, A))
    return A


def new(shape: Any, dtype: Any) -> ndarray:
    """Memory that holds rubbish."""
    dtype = np.dtype(dtype)
    made = ndarray(np.full(shape, np.nan if dtype.kind == "f" else 1, dtype))
    if Machine.taken is not None:
        Machine.kept.append(made)
    return made


def done(name: str, function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """What the function makes of arrays: a launch, unless it is a view of one."""
    given, keywords = plain(args), {key: plain(value) for key, value in keywords.items()}
    with np.errstate(all="ignore"):
        result = function(*given, **keywords)
    if not isinstance(result, np.ndarray | np.generic):
        return result
    for A, each in zip(given, args, strict=True):
        if A is result:
            return each
    sources = [A for A in given if isinstance(A, np.ndarray)]
    sources += [A for part in given if isinstance(part, tuple | list) for A in part if isinstance(A, np.ndarray)]
    if isinstance(result, np.ndarray) and any(np.may_share_memory(result, A) for A in sources):
        return ndarray(result)
    out = new(result.shape, result.dtype)

    def job() -> None:
        with np.errstate(all="ignore"):
            out.host[...] = function(*given, **keywords)

    Machine.launch(name, job)
    return out


def lifted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of array-api-compat, on arrays of the device."""

    @wraps(function)
    def call(*args: Any, device: Any = None, **keywords: Any) -> Any:
        if not isinstance(device, HostDevice | None):
            raise ValueError(f"Unsupported device {device!r}")
        if name == "empty":
            return new(args[0], keywords["dtype"])
        if name == "take":
            return done(name, lambda A, at, axis=None: np.take(A, at, axis=axis, mode="wrap"), *args, **keywords)
        return done(name, function, *args, **keywords)

    return call


class ElementwiseKernel:
    """A kernel whose body is compiled as C; arrays that are not raw broadcast."""

    def __init__(self, inputs: str, outputs: str, body: str, name: str, options: Any = (), **_: Any) -> None:
        self.parameters = [part.split() for part in f"{inputs}, {outputs}".split(", ") if part]
        self.outputs, self.body, self.name, self.options = outputs.count(",") + 1, body, name, options

    def __call__(self, *args: Any, size: int | None = None, block_size: int = 128) -> Any:
        assert len(args) == len(self.parameters), self.name
        raw = [parameter[0] == "raw" for parameter in self.parameters]
        arrays_ = [plain(A) for A in args]
        if size is None:
            shape = np.broadcast_shapes(*[A.shape for A, r in zip(arrays_, raw, strict=True) if np.ndim(A) and not r])
        assert all(
            A.shape == shape for A, r in zip(arrays_[-self.outputs :], raw[-self.outputs :], strict=True) if not r
        )
        Machine.launch(self.name, lambda: self._run(arrays_, raw, shape if size is None else (size,), block_size))
        return args[-1]

    def _run(self, args: list[Any], raw: list[bool], shape: tuple[int, ...], block: int) -> None:
        letters, declared, given, before, after, back = {}, [], [], [], [], []
        for k, (parameter, A) in enumerate(zip(self.parameters, args, strict=True)):
            *_, kind, name = parameter
            is_output = k >= len(args) - self.outputs
            if not isinstance(A, np.ndarray):
                assert not is_output
                assert not raw[k], name
                A = np.asarray(A, kind)
            dtype = str(A.dtype)
            if len(kind) == 1:  # a letter stands for one type in all of a call
                assert letters.setdefault(kind, dtype) == dtype, name
            else:
                assert kind == dtype, (self.name, name, kind, dtype)
            full = A if raw[k] else np.broadcast_to(A, shape)
            copy = np.ascontiguousarray(full)
            if is_output and copy is not A:
                back.append((A, copy))
            given.append((copy, ctypes.c_void_p(copy.ctypes.data)))
            const = "" if is_output else "const "
            declared.append(f"{const}{C_TYPES[dtype]} *{name}{'' if raw[k] else '_'}")
            if not raw[k]:
                before.append(f"{const}{C_TYPES[dtype]} {name} = {name}_[i];")
                after += [f"{name}_[i] = {name};"] if is_output else []
        types = "".join(f"typedef {C_TYPES[dtype]} {letter};\n" for letter, dtype in letters.items())
        parameters = f"(ptrdiff_t size, {', '.join(declared)})"
        as_it_is = f"for (ptrdiff_t i = 0; i < size; i++) {{ {' '.join(before)}\n{self.body}\n{' '.join(after)} }}"
        run = compiled(
            "#include <stddef.h>\n#include <stdint.h>\n#include <stdbool.h>\n#include <tgmath.h>\n"
            f"#define __shared__ static\n#define __syncthreads()\n{types}"
            f"void is_c{parameters} {{ {as_it_is} }}\n"
            f"void run{parameters} {{\n{self._loop(' '.join(before), ' '.join(after), block)}\n}}\n"
        )
        run(ctypes.c_int64(int(np.prod(shape))), *[pointer for _, pointer in given])
        for A, copy in back:
            A[...] = copy.reshape(A.shape)

    def _loop(self, before: str, after: str, block: int) -> str:
        """The body for each i. Where threads wait for each other, all of a block come so far, one after the other."""
        if "__syncthreads();" not in self.body:
            return f"for (ptrdiff_t i = 0; i < size; i++) {{ {before}\n{self.body}\n{after} }}"
        assert not after
        prelude, phases = self.body.split("\n\n", 1)
        shared = "\n".join(line for line in prelude.splitlines() if line.startswith("__shared__"))
        own = "\n".join(line for line in prelude.splitlines() if not line.startswith("__shared__"))
        every = f"for (ptrdiff_t i = first; i < first + {block}; i++)"
        unused = "(void)row; (void)t; (void)m;"
        loops = [f"{every} {{ {before}\n{own}\n{unused}\n{part}\n}}" for part in phases.split("__syncthreads();")]
        text = "\n".join([f"for (ptrdiff_t first = 0; first < size; first += {block}) {{", *loops, "}"])
        return f"{shared}\n{text}"


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mathdl-kernels-"))


@cache
def compiled(code: str) -> Any:
    """The function `run` of a C program; every warning is an error."""
    stem = _folder() / hashlib.sha256(code.encode()).hexdigest()[:16]
    stem.with_suffix(".c").write_text(code)
    options = ("-std=c11", "-O1", "-Wall", "-Werror", "-Wno-unused-variable", "-ffp-contract=off", "-shared", "-fPIC")
    command = [COMPILER, *options, str(stem.with_suffix(".c")), "-o", str(stem.with_suffix(".so")), "-lm"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr + code
    return ctypes.CDLL(str(stem.with_suffix(".so"))).run


class Stream:
    ptr = 17

    def __init__(self, non_blocking: bool = False) -> None:
        self.non_blocking = non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def synchronize(self) -> None:
        Machine.read()

    def begin_capture(self) -> None:
        assert self.non_blocking
        Machine.taken = []

    def end_capture(self) -> Graph:
        work, Machine.taken = Machine.taken, None
        assert work is not None
        return Graph(work)


class Graph:
    """Launches, to be made again and again."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work

    def upload(self) -> None:
        return None

    def launch(self, stream: Stream) -> None:
        for job in self.work:
            job()

    def debug_dot_str(self) -> str:
        return "\n".join(f'"graph_1_node_{j}"[label="kernel"];' for j in range(len(self.work)))


class OutOfMemoryError(MemoryError):
    pass


class BLAS(Library):
    """cuBLAS on host memory, whose products are launches."""

    def cublasGemmEx(self, *args: Any) -> int:
        Machine.launch("product", lambda: super(BLAS, self).cublasGemmEx(*args))
        return 0


class DNN(cudnn.Library):
    """cuDNN on host memory, whose products are launches."""

    def product(self, name: str, *args: Any) -> int:
        product = super().product
        Machine.launch(name, lambda: product(name, *args))
        return 0


@contextmanager
def _as_it_is(*_: Any) -> Iterator[None]:
    yield


def _lifted(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **keywords: Any) -> Any:
        return done(function.__name__, function, *args, **keywords)

    return call


def module() -> tuple[ModuleType, ModuleType]:
    """(cupy, array_api_compat.cupy)."""
    fake = ModuleType("cupy")
    fake.__spec__ = ModuleSpec("cupy", None)
    fake.__version__ = "14.2.0"
    fake.ndarray = ndarray
    fake._core = SimpleNamespace()
    fake.ElementwiseKernel = ElementwiseKernel
    fake.empty = lambda shape, dtype=float: new(shape, dtype)
    fake.empty_like = lambda A: new(A.shape, A.dtype)
    fake.zeros = lambda shape, dtype=float: done("zeros", np.zeros, shape, dtype)
    fake.ones = lambda shape, dtype=float: done("ones", np.ones, shape, dtype)
    fake.full = lambda shape, value, dtype=None: done("full", np.full, shape, value, dtype)
    fake.asarray = _from_host
    fake.asnumpy = lambda A: A.get() if isinstance(A, ndarray) else np.asarray(A)
    fake.ascontiguousarray = lambda A: A if A.flags.c_contiguous else done("copy", np.ascontiguousarray, A)
    for name in dir(np):
        if isinstance(getattr(np, name), np.ufunc):
            setattr(fake, name, _lifted(getattr(np, name)))
    fake.where = lambda *args: done("where", np.where, *args)
    fake.int64 = np.int64
    pool = SimpleNamespace(malloc="CuPy's", free_all_blocks=lambda: None)
    fake.get_default_memory_pool = lambda: pool
    fake.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1, getDeviceProperties=lambda index: {"name": b"host"}, runtimeGetVersion=lambda: 0,
            driverGetVersion=lambda: 0, CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}),
        ),
        Device=lambda index=0: HostDevice(),
        Stream=Stream,
        MemoryPool=lambda source: SimpleNamespace(malloc="its own", set_limit=lambda size: None),
        alloc=lambda size: SimpleNamespace(ptr=99),
        get_current_stream=Stream,
        using_allocator=_as_it_is,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
    )  # fmt: skip
    names = ModuleType("array_api_compat.cupy")
    for name in dir(compat):
        value = getattr(compat, name)
        if not name.startswith("_"):
            setattr(names, name, lifted(name, value) if callable(value) and not isinstance(value, type) else value)
    return fake, names


def _from_host(A: Any, dtype: Any = None) -> ndarray:
    Machine.read()
    return ndarray(np.array(A, dtype=dtype)) if not isinstance(A, ndarray) else A


@contextmanager
def on_the_host(with_cudnn: bool = False) -> Iterator[type[Machine]]:
    """CuPy is this module, CUDA is there, and a trainer of device "cuda" runs on host memory."""
    backend = arrays.backend("cupy")
    fake, names = module()
    loaded = "mathdl_backends.cupy.names"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "cupy", fake)
        patch.setitem(sys.modules, "array_api_compat.cupy", names)
        patch.delitem(sys.modules, loaded, raising=False)
        patch.setattr(backend.blas, "_library", BLAS)
        patch.setenv("MATHDL_CUDNN", "1" if with_cudnn else "0")
        library = DNN()
        patch.setattr(backend.cudnn, "_library", lambda: library)
        _forget(backend)
        Machine.launches, Machine.captured, Machine.taken, Machine.kept = [], [], None, []
        yield Machine
        sys.modules.pop(loaded, None)
    _forget(backend)


def _forget(backend: Any) -> None:
    cached = (
        backend._cupy, backend.why_unusable, backend._stream_aside, backend.blas._handle, backend.sums._ones,
        backend.elementwise.compiled, backend.fusing.generated.compiled, backend.cudnn.why_absent, backend.cudnn.plan,
        backend.cudnn._handle,
    )  # fmt: skip
    for each in cached:
        each.cache_clear()
    tables = [arrays._backend_of, arrays._namespace_of, arrays._name_of, *(each._runs for each in PRIMITIVES.values())]
    for table in tables:
        for kind in [kind for kind in table if kind is ndarray or kind is backend.fusing.Lazy]:
            del table[kind]
