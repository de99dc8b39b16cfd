"""Addressed randomness: every random word is a pure function of its address, so it has the same bits everywhere.

The address is (seed, purpose, [l], epoch, {m}, (i), element), as far as it goes:

    a parameter of [l]  seed, "weights", l (or l.1 …), its name        element: row-major place in the array
    the order of rows   seed, "minibatches", epoch                     element: row
    a dropout mask      seed, "dropout", l (or l.1 …), epoch, {m}      (i), then element: place in A[l]{m}(i)
    a cut of the data   seed, "split", …                               element: row

A name counts as the bytes of its letters.

No generator is advanced: neither the order of evaluation nor the cut of a minibatch into shards can change a bit, and a
run that is resumed needs no state of randomness.

**Generator.** Philox4x32-10: a bijection of a counter of four 32-bit words under a key of two. Source: Salmon, Moraes,
Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11; its published test vectors are in the tests.

- `fold` makes a key of an address. It starts from the two halves of the seed; each number n of the address, t = 0 (the
  purpose), 1, 2, …, replaces the key by words 0 and 1 of Philox(counter = (n mod 2³², ⌊n / 2³²⌋, t, 1), key).
- Under the last key, element e of instance (i) is word e mod 4 of Philox(counter = (⌊e / 4⌋, i, 0, 0), key).
  The last word of the counter keeps the two uses apart.

**Floats** are made on the host in float64, with + − × ÷ √ and exact scaling by powers of two only, each rounded by
itself (IEEE 754): their bits are the same on every machine. Nothing here is fit for cryptography.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from operator import index
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mathdl.arrays import Array, namespace
from mathdl.errors import UsageError, unknown_name
from mathdl.primitive import primitive

Key: TypeAlias = tuple[int, int]
"""Two 32-bit words."""

PURPOSES = {"weights": 1, "minibatches": 2, "dropout": 3, "split": 4}
"""What randomness is for → its number in the address. Numbers are never used again: old runs must repeat."""

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
"""The constants of Philox4x32-10 (Salmon et al., section 3.3); the key grows by `KEY_STEPS` from round to round."""
LOW = 0xFFFFFFFF


def philox(counter: Sequence[Array], key: Sequence[Array]) -> tuple[Array, Array, Array, Array]:
    """Philox4x32-10 of four counter words under two key words, all below 2³²: uint64 arrays that broadcast, or ints.

    A round takes c to (⌊M₁c₂ / 2³²⌋ ⊕ c₁ ⊕ k₀, M₁c₂ mod 2³², ⌊M₀c₀ / 2³²⌋ ⊕ c₃ ⊕ k₁, M₀c₀ mod 2³²).
    """
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ (c1 ^ k0), p1 & LOW, (p0 >> 32) ^ (c3 ^ k1), p0 & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & LOW, (k1 + KEY_STEPS[1]) & LOW
    return c0, c1, c2, c3


@primitive
def bits(key: Array, first: int, instances: int, elements: int) -> Array:
    """Random words for the instances (first) … (first + instances − 1): uint32, shape (instances, elements).

    `key` is (2,) uint32 and decides backend and device. Word [i, e] depends on the key, first + i and e alone, so
    shards that are evaluated by themselves hold the rows of the whole.
    """
    xp = namespace(key)
    place = {"dtype": xp.uint64, "device": key.device}
    key = xp.reshape(xp.astype(key, xp.uint64), (2, 1, 1))
    i = xp.reshape(xp.arange(first, first + instances, **place), (instances, 1))
    block = xp.reshape(xp.arange(-(-elements // 4), **place), (1, -(-elements // 4)))
    zero = xp.zeros((1, 1), **place)
    words = xp.stack(philox((block, i, zero, zero), (key[0, ...], key[1, ...])), axis=2)
    return xp.reshape(xp.astype(words, xp.uint32), (instances, 4 * block.shape[1]))[:, :elements]


def fold(seed: int, purpose: str, *numbers: int) -> Key:
    """The key of the address (seed, purpose, *numbers), with seed and numbers in [0, 2⁶⁴).

    Raises `UsageError` outside of that range, `UnknownNameError` for a purpose that is not in `PURPOSES`.
    """
    if purpose not in PURPOSES:
        raise unknown_name("purpose of randomness", purpose, PURPOSES)
    seed = _word64("seed", seed)
    key: Key = seed & LOW, seed >> 32
    for t, n in enumerate((PURPOSES[purpose], *numbers)):
        n = _word64("a number of an address", n)
        key = philox((n & LOW, n >> 32, t, 1), key)[:2]  # on ints: arrays of one number would cost more than the rounds
    return key


def fold_many(seed: int, purpose: str, path: tuple[int, ...], epoch: int, m: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """The keys of the minibatches m: (len(m), 2), with row j = `fold(seed, purpose, *path, epoch, m[j])`."""
    m = np.asarray(m)
    if m.ndim != 1 or m.dtype.kind not in "iu" or (m.size and m.min() < 0):
        raise UsageError(f"fold_many: m must be a vector of integers ≥ 0, got {m.dtype} of shape {m.shape}")
    return _fold_step(fold(seed, purpose, *path, epoch), 2 + len(path), m.astype(np.uint64))


def words(key: Key, count: int) -> npt.NDArray[np.uint32]:
    """`count` random words under the key: those of instance (0)."""
    result: npt.NDArray[np.uint32] = bits(np.array(key, dtype=np.uint32), 0, 1, count)[0]
    return result


def uniform(key: Key, count: int) -> npt.NDArray[np.float64]:
    """`count` numbers k / 2⁵³ in [0, 1), k uniform on 0 … 2⁵³ − 1: the upper bits of two words each."""
    return (_words64(key, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(key: Key, count: int) -> npt.NDArray[np.float64]:
    """`count` standard normal numbers Φ⁻¹((k + ½) / 2⁵²), k uniform on 0 … 2⁵² − 1; their magnitude is below 8.2."""
    return normal_quantile(((_words64(key, count) >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)


def permutation(key: Key, n: int) -> npt.NDArray[np.int64]:
    """A random order of 0 … n − 1: that of n random 64-bit words; equal words stay in the order of their indices."""
    words = _words64(key, n)
    # Numbers are sorted several times as fast as indices: the index takes the place of a word's last bits.
    last = np.uint64((1 << n.bit_length()) - 1)
    numbers = np.sort((words & ~last) | np.arange(n, dtype=np.uint64))
    first_bits = numbers & ~last
    if np.any(first_bits[1:] == first_bits[:-1]):  # and those decide
        return np.argsort(words, kind="stable").astype(np.int64)
    return (numbers & last).astype(np.int64)


def normal_quantile(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Φ⁻¹(p) for 0 < p < 1, to about 1e-15 of its value.

    Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988),
    routine PPND16: a rational function of p − ½ in the middle, of √(−log min(p, 1 − p)) in the tails.
    """
    q = p - 0.5
    x = np.empty_like(p)
    middle = np.abs(q) <= 0.425
    r = q[middle]
    x[middle] = r * _ratio(_MIDDLE, 0.180625 - r * r)
    p, q = p[~middle], q[~middle]
    r = np.sqrt(-natural_log(np.minimum(p, 1.0 - p)))
    tail = np.where(r <= 5.0, _ratio(_TAIL, r - 1.6), _ratio(_FAR_TAIL, r - 5.0))
    x[~middle] = np.where(q < 0.0, -tail, tail)
    return x


def natural_log(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log x for finite x > 0, within 4 units in the last place. A library's log differs from machine to machine.

    x = 2ᵉ m with √½ ≤ m < √2, s = (m − 1) / (m + 1): log x = e log 2 + 2 (s + s³/3 + s⁵/5 + …), cut after s²³.
    """
    m, e = np.frexp(x)
    small = m < sqrt(0.5)
    m, e = np.where(small, 2.0 * m, m), np.where(small, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    return e * 0.6931471805599453 + 2.0 * s * _polynomial([1.0 / (2 * k + 1) for k in range(12)], s * s)


def _word64(what: str, n: int) -> int:
    try:
        value = index(n)
    except TypeError:
        value = -1
    if isinstance(n, bool) or not 0 <= value < 2**64:
        raise UsageError(f"{what} must be an int with 0 ≤ n < 2**64, got {n!r}")
    return value


def _words64(key: Key, count: int) -> npt.NDArray[np.uint64]:
    pairs = words(key, 2 * count).astype(np.uint64)
    return (pairs[0::2] << np.uint64(32)) | pairs[1::2]


def _fold_step(key: Key, t: int, n: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    address = np.array([[t], [1], [key[0]], [key[1]]], dtype=np.uint64)
    folded = philox((n & np.uint64(LOW), n >> np.uint64(32), address[0], address[1]), (address[2], address[3]))
    return np.stack(folded[:2], axis=1).astype(np.uint32)


def _polynomial(coefficients: Sequence[float], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = value * x + c
    return value


def _ratio(
    coefficients: tuple[Sequence[float], Sequence[float]], x: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return _polynomial(coefficients[0], x) / _polynomial(coefficients[1], x)


_MIDDLE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR_TAIL = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip
