"""Philox4x32-10, `fold` and the words of an instance once more, in plain Python integers: the independent twin."""

from __future__ import annotations

MASK = 2**32 - 1


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four words (Salmon, Moraes, Dror, Shaw, SC'11, section 3.3)."""
    a, b, c, d = counter
    k, l = key
    for r in range(10):
        high0, low0 = divmod(0xD2511F53 * a, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c, 2**32)
        a, b, c, d = (
            high1 ^ b ^ (k + r * 0x9E3779B9) & MASK,
            low1,
            high0 ^ d ^ (l + r * 0xBB67AE85) & MASK,
            low0,
        )
    return a, b, c, d


def fold(seed: int, numbers: list[int]) -> tuple[int, int]:
    """The key of an address whose purpose is already a number."""
    key = seed % 2**32, seed // 2**32
    for t, n in enumerate(numbers):
        key = philox((n % 2**32, n // 2**32, t, 1), key)[:2]
    return key


def word(key: tuple[int, int], i: int, element: int) -> int:
    """The word of element `element` of instance (i)."""
    return philox((element // 4, i, 0, 0), key)[element % 4]
