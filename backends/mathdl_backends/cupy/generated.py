"""CUDA kernels written for expressions: all of a `CuPy.ElementwiseKernel`'s text, and its arguments.

Every operation is rounded by itself (no multiply-add in one), in the order of the calls, so elementwise work has the
bits of CuPy's own kernels, one call after the other. Numbers are arguments: no kernel is compiled for new ones.

    elementwise    a thread for a number of the result; arrays broadcast
    rows           a group of threads for a row; each reduction of it is a phase: every thread goes through its part of
                   the row, then one adds up what they found, in a fixed order
    columns        Σ over rows: a thread for each of many parts of each column; the parts are added by a product
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from mathdl_backends.cupy.expressions import BY_UFUNC, C_TYPES, LEAVES, OF_FLOATS, REDUCTIONS, Expression, ordered

_BLOCK = 256
"""Threads of a block of the kernel of rows."""
_SHORT_ROW = 1024
"""Numbers up to which a row is for 32 threads, else for a whole block."""
_PARTS = 1 << 16
"""Sums over rows are made of about so many parts at least, if there are the numbers for it."""


_NOTHING: Mapping[int, str] = {}


class Source(NamedTuple):
    """A kernel as `cupy.ElementwiseKernel` takes it."""

    inputs: str
    outputs: str
    body: str
    name: str


class _Arguments:
    """The inputs of a kernel, each once: (as it declares them, what it is given)."""

    def __init__(self, raw: bool) -> None:
        self._raw = "raw " if raw else ""
        self._names: dict[Any, str] = {}
        self.declared: list[str] = []
        self.given: list[Any] = []

    def array(self, A: Any) -> str:
        return self._name(id(A), f"{self._raw}{A.dtype} a", A)

    def number(self, number: Any) -> str:
        return self._name((number.dtype, number.tobytes()), f"{number.dtype} n", number)

    def _name(self, key: Any, declaration: str, value: Any) -> str:
        if key not in self._names:
            declaration += str(len(self.declared))
            self._names[key] = declaration.split()[-1]
            self.declared.append(declaration)
            self.given.append(value)
        return self._names[key]


def _type(dtype: Any) -> str:
    return C_TYPES[np.dtype(dtype).name]


def _statements(
    expressions: Sequence[Expression],
    read: Callable[[Any], str],
    place: Callable[[int], str],
    arguments: _Arguments,
    known: Mapping[int, str] = _NOTHING,
    once: Callable[[Expression], bool] = lambda each: False,
) -> tuple[list[str], list[str], dict[int, str]]:
    """(statements that a thread makes once, and those for each number; {identity of an expression: its value's name}).

    `read(A)` is the number of an array, `place(n)` the index on a last axis of length n; `known` are reductions by
    name; `once` says what is the same for all numbers of a thread.
    """
    named, first, lines = dict(known), list[str](), list[str]()
    for each in ordered(expressions, without=known):
        if each.name == "number":
            named[id(each)] = arguments.number(each.args[0])
            continue
        if each.name == "array":
            text = read(each.args[0])
        elif each.name == "arange":
            start, step = map(arguments.number, each.args)
            text = f"{start} + {step} * ({_type(each.dtype)})({place(each.shape[-1])})"
        else:
            text = _text(each, [named[id(part)] for part in each.args])
        named[id(each)] = name = f"v{len(named)}"
        kind = _type(each.dtype)
        (first if once(each) else lines).append(f"const {kind} {name} = ({kind})({text});")
    return first, lines, named


def _text(each: Expression, operands: Sequence[str]) -> str:
    if each.name == "cast":
        return operands[0] if each.dtype.kind != "b" else f"{operands[0]} != 0"
    if each.name == "where":
        return "{} ? {} : {}".format(*operands)
    of_floats = each.args[0].dtype.kind == "f"
    if not of_floats and each.name in ("isnan", "isfinite"):
        return "0" if each.name == "isnan" else "1"
    pattern = OF_FLOATS.get(each.name) if of_floats else None
    return (pattern or BY_UFUNC[each.name]).format(*operands)


def _title(expressions: Sequence[Expression]) -> str:
    words = [each.name for each in ordered(expressions) if each.name not in (*LEAVES, "cast")]
    return "mathdl_" + ("_".join(words[:8]) or "copy")


@cache
def compiled(kernel: Source) -> Any:
    """The kernel. Not with --fmad=true, which rounds a product and a sum at once."""
    import cupy

    return cupy.ElementwiseKernel(*kernel, options=("--fmad=false",))


def compute(expressions: Sequence[Expression], into: Sequence[Any]) -> None:
    """into[j] ← expressions[j], all in one kernel; each reads no element that another writes elsewhere.

    Without reductions all have one shape; with reductions of rows each is of the rows' shape, or has one number for
    each row, or one for all.
    """
    if any(each.reduced is not None for each in expressions):
        _compute_rows(expressions, into)
    else:
        _compute_elements(expressions, into)


def _compute_elements(expressions: Sequence[Expression], into: Sequence[Any]) -> None:
    arguments = _Arguments(raw=False)
    _, lines, named = _statements(expressions, arguments.array, lambda n: f"i % {n}", arguments)
    for j, (each, A) in enumerate(zip(expressions, into, strict=True)):
        lines.append(f"z{j} = ({_type(A.dtype)}){named[id(each)]};")
    outputs = ", ".join(f"{A.dtype} z{j}" for j, A in enumerate(into))
    source = Source(", ".join(arguments.declared), outputs, "\n".join(lines), _title(expressions))
    compiled(source)(*arguments.given, *into)


# -- reductions --------------------------------------------------------------------------------------------------------


def _phase(name: str, kind: str, k: int) -> tuple[list[tuple[str, str, str]], str, str]:
    """([(type, variable, start)], how it goes on with the value `v` of entry j, how with what thread `u` has found)."""
    s, at = f"s{k}", f"p{k}"
    if name == "sum":
        return [(kind, s, "0")], f"{s}_ += v;", f"{s}[m] += {s}[u];"
    if name == "max":
        better = "{v} > {s} || {v} != {v}"
        go_on, join = better.format(v="v", s=f"{s}_"), better.format(v=f"{s}[u]", s=f"{s}[m]")
        return [(kind, s, "-1.0 / 0.0")], f"if ({go_on}) {s}_ = v;", f"if ({join}) {s}[m] = {s}[u];"
    first = f"v > {s}_ || (v != v && {s}_ == {s}_) || {at}_ < 0"
    larger = f"{s}[u] > {s}[m] || ({s}[u] != {s}[u] && {s}[m] == {s}[m])"
    earlier = f"({s}[u] == {s}[m] || ({s}[u] != {s}[u] && {s}[m] != {s}[m])) && {at}[u] < {at}[m]"
    join = f"if ({at}[u] >= 0 && ({at}[m] < 0 || {larger} || ({earlier}))) {{ {s}[m] = {s}[u]; {at}[m] = {at}[u]; }}"
    variables = [(kind, s, "0"), ("long long", at, "-1")]
    return variables, f"if ({first}) {{ {s}_ = v; {at}_ = j; }}", join


def _compute_rows(expressions: Sequence[Expression], into: Sequence[Any]) -> None:
    reduced = next(each.reduced for each in expressions if each.reduced is not None)
    assert reduced is not None
    lead, length = reduced.lead or (), reduced.length
    whole, rows = reduced.lead is None, prod(lead)
    threads = 32 if length <= _SHORT_ROW and not whole else _BLOCK
    arguments = _Arguments(raw=True)

    def read(A: Any) -> str:
        name = arguments.array(A)
        if A.size == 1:
            return f"{name}[0]"
        if whole or A.shape == (*lead, length):
            return f"{name}[row * length + j]"
        return f"{name}[row]" if A.shape == (*lead, 1) else f"{name}[j]"

    def once(each: Expression) -> bool:
        return length > 1 and (prod(each.shape) == 1 if whole or not each.shape else each.shape[-1] == 1)

    def statements(each: Expression) -> tuple[list[str], list[str], dict[int, str]]:
        return _statements([each], read, lambda n: "j" if n == length else "0", arguments, known, once)

    def each_entry(before: Sequence[str], entry: Sequence[str]) -> list[str]:
        loop = f"for (ptrdiff_t j = t; j < length; j += {threads}) {{"
        return ["if (row < rows) {", *before, loop, *entry, "}", "}"]

    prelude = [f"const ptrdiff_t row = i / {threads}, t = i % {threads}, m = i % {_BLOCK};"]
    phases, known, values = list[str](), dict[int, str](), list[str]()
    for k, each in enumerate(part for part in ordered(expressions) if part.name in REDUCTIONS):
        (inner,) = each.args
        kind = _type(inner.dtype)
        variables, go_on, join = _phase(each.name, kind, k)
        before, entry, named = statements(inner)
        starts = [f"{type_} {name}_ = {start};" for type_, name, start in variables]
        ends = [f"{name}[m] = {name}_;" for _, name, _ in variables]
        entry = [*entry, f"const {kind} v = {named[id(inner)]};", go_on]
        phases.append("\n".join(["{", *values, *starts, *each_entry(before, entry), *ends, "}"]))
        for count, apart in ((16, 1), (16, 16)) if threads == _BLOCK else ((32, 1),):
            others = f"for (ptrdiff_t u = m + {apart}; u < m + {count * apart}; u += {apart})"
            phases.append(f"if (t % {count * apart} == 0) {others} {{ {join} }}")
        prelude += [f"__shared__ {type_} {name}[{_BLOCK}];" for type_, name, _ in variables]
        known[id(each)] = f"r{k}"
        values.append(f"const {_type(each.dtype)} r{k} = {variables[-1][1]}[m - t];")
    last = ["{", *values]
    for k, (each, A) in enumerate(zip(expressions, into, strict=True)):
        before, entry, named = statements(each)
        value = f"({_type(A.dtype)}){named[id(each)]}"
        if not whole and each.shape == (*lead, length):
            last += ["{", *each_entry(before, [*entry, f"z{k}[row * length + j] = {value};"]), "}"]
        else:
            last += ["if (row < rows && t == 0) {", *before, *entry, f"z{k}[row] = {value};", "}"]
    phases.append("\n".join([*last, "}"]))
    body = "\n".join(prelude) + "\n\n" + "\n__syncthreads();\n".join(phases)
    outputs = ", ".join(f"raw {A.dtype} z{k}" for k, A in enumerate(into))
    declared = ", ".join([*arguments.declared, "int64 rows", "int64 length"])
    size = -(-rows * threads // _BLOCK) * _BLOCK
    kernel = compiled(Source(declared, outputs, body, _title(expressions)))
    kernel(*arguments.given, rows, length, *into, size=size, block_size=_BLOCK)


def column_sums(expression: Expression) -> Any:
    """Σ of each of many parts of the columns of an expression (R, k) without reductions: (parts, k).

    Part p has the rows p, p + parts, …: neighbouring threads read neighbouring numbers, however few columns there are.
    """
    R, k = expression.shape
    parts = part_count(R, k)
    arguments = _Arguments(raw=True)

    def read(A: Any) -> str:
        name = arguments.array(A)
        if A.size == 1:
            return f"{name}[0]"
        return f"{name}[{'e' if A.shape == (R, k) else 'e / columns' if A.shape == (R, 1) else 'i % columns'}]"

    first, lines, named = _statements(
        [expression],
        read,
        lambda n: "i % columns" if n == k else "0",
        arguments,
        once=lambda each: prod(each.shape[:-1]) == 1 < R,
    )
    kind, found = _type(expression.dtype), _empty((parts, k), expression.dtype)
    loop = "for (ptrdiff_t e = i; e < numbers; e += threads) {"
    body = [*first, f"{kind} sum = 0;", loop, *lines, f"sum += {named[id(expression)]};", "}", "z0[i] = sum;"]
    declared = ", ".join([*arguments.declared, "int64 columns", "int64 numbers", "int64 threads"])
    source = Source(declared, f"raw {expression.dtype} z0", "\n".join(body), _title([expression]) + "_columns")
    compiled(source)(*arguments.given, k, R * k, parts * k, found, size=parts * k)
    return found


def _empty(shape: tuple[int, ...], dtype: Any) -> Any:
    import cupy

    return cupy.empty(shape, dtype=dtype)


def part_count(R: int, k: int) -> int:
    """The parts that R rows of k numbers are cut into."""
    return min(R, max(1, -(-_PARTS // k)))
