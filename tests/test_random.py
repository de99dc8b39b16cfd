"""Addressed randomness: published vectors, an independent twin, distributions, the same bits for every cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import philox_twin as twin
from mathdl import random
from mathdl.errors import UnknownNameError, UsageError
from support import as_inside_a_step, host

KEY = (0x0123ABCD, 0xFEDC5678)

# The known answers of Random123 (kat_vectors, philox4x32 with 10 rounds): counter, key, result.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

NORMALS = ["-0x1.0222f6c7bd8d6p+1", "-0x1.06824bd4baa1dp+0", "-0x1.50c015d94b56fp-2"]
UNIFORMS = ["0x1.66378ea634a00p-6", "0x1.387c7cf755b84p-3"]

word32 = st.integers(0, 2**32 - 1)
word64 = st.integers(0, 2**64 - 1)


def on(backend, *words: int):
    return backend.put(np.array(words, dtype=np.uint32))


def draw(backend, key, first, instances, elements):
    with as_inside_a_step(backend):
        B = random.bits(on(backend, *key), first, instances, elements)
    assert host(B).dtype == np.uint32
    assert host(B).shape == (instances, elements)
    return host(B)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_published_vectors(backend, counter, key, expected):
    xp = backend.namespace

    def words(numbers):
        return [xp.astype(on(backend, n), xp.uint64) for n in numbers]

    assert tuple(int(host(w)[0]) for w in random.philox(words(counter), words(key))) == expected
    assert twin.philox(counter, key) == expected


@given(k0=word32, k1=word32, first=st.integers(0, 2**32 - 9), instances=st.integers(1, 4), elements=st.integers(0, 11))
def test_bits_are_the_words_of_their_address(backend, k0, k1, first, instances, elements):
    B = draw(backend, (k0, k1), first, instances, elements)
    expected = [[twin.word((k0, k1), first + i, e) for e in range(elements)] for i in range(instances)]
    assert B.tolist() == expected


@given(cut=st.integers(0, 12), fewer=st.integers(1, 30))
def test_any_cut_gives_the_same_bits(backend, cut, fewer):
    whole = draw(backend, KEY, 5, 12, 30)
    parts = [draw(backend, KEY, 5, cut, 30), draw(backend, KEY, 5 + cut, 12 - cut, 30)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(draw(backend, KEY, 5, 12, fewer), whole[:, :fewer])


def test_bits_stay_on_their_device(backend):
    key = on(backend, *KEY)
    assert random.bits(key, 0, 2, 3).device == key.device
    np.testing.assert_array_equal(host(key), KEY)


def test_a_kernel_equals_the_reference(backend):
    for instances, elements in ((1, 1), (3, 4), (7, 13), (64, 129), (2, 40_000)):
        key = on(backend, *KEY)
        np.testing.assert_array_equal(
            host(random.bits(key, 9, instances, elements)), host(random.bits.reference(key, 9, instances, elements))
        )


@given(seed=word64, numbers=st.lists(word64, max_size=4))
def test_fold(seed, numbers):
    key = random.fold(seed, "dropout", *numbers)
    assert key == twin.fold(seed, [random.PURPOSES["dropout"], *numbers])
    assert all(type(word) is int for word in key)


@given(seed=word64, path=st.lists(st.integers(1, 99), min_size=1, max_size=3), epoch=st.integers(0, 10**6))
def test_fold_many_is_fold(seed, path, epoch):
    m = np.array([0, 1, 17, 2**33])
    keys = random.fold_many(seed, "dropout", tuple(path), epoch, m)
    assert keys.dtype == np.uint32
    assert [tuple(key) for key in keys.tolist()] == [
        random.fold(seed, "dropout", *path, epoch, number) for number in m.tolist()
    ]


def test_every_number_of_an_address_counts():
    addresses = [(0, "weights"), (1, "weights"), (2**32, "weights"), (0, "dropout"), (0, "weights", 0)]
    addresses += [(0, "weights", *n) for n in ((1,), (2**32,), (1, 0), (0, 1), (1, 1), (0, 0, 1), (87,), (98,))]
    assert len({random.fold(*address) for address in addresses}) == len(addresses)
    assert len(set(random.PURPOSES.values())) == len(random.PURPOSES)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "0", None])
def test_seed_must_be_a_64_bit_word(seed):
    with pytest.raises(UsageError, match=r"seed must be an int with 0 ≤ n < 2\*\*64"):
        random.fold(seed, "weights")


def test_seeds_of_numpy_are_taken():
    assert random.fold(np.uint64(2**64 - 1), "weights") == random.fold(2**64 - 1, "weights")


def test_numbers_must_be_64_bit_words():
    with pytest.raises(UsageError, match="a number of an address"):
        random.fold(0, "weights", -1)
    with pytest.raises(UsageError, match="fold_many: m must be a vector of integers ≥ 0"):
        random.fold_many(0, "dropout", (1,), 0, np.array([-1]))


def test_unknown_purpose():
    with pytest.raises(UnknownNameError, match=r"unknown purpose of randomness 'weight'\. Did you mean 'weights'"):
        random.fold(0, "weight")


def test_words_are_those_of_instance_0():
    np.testing.assert_array_equal(random.words(KEY, 9), [twin.word(KEY, 0, e) for e in range(9)])


def test_each_bit_is_balanced_and_independent_of_the_next_word():
    words = random.words(KEY, 100_000)
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    chi_square = np.sum((bits.sum(0) - 50_000.0) ** 2) / 25_000.0  # 32 binomial counts
    assert 10.0 < chi_square < 65.0
    both = (bits[:-1] == bits[1:]).sum(0)
    assert 10.0 < np.sum((both - 49_999.5) ** 2) / 25_000.0 < 65.0


def test_bytes_are_uniform_over_instances_and_elements():
    counts = np.bincount((random.bits(np.array(KEY, dtype=np.uint32), 0, 300, 301) & np.uint32(255)).ravel())
    assert 0.001 < stats.chisquare(counts).pvalue < 0.999


def test_uniform():
    u = random.uniform(KEY, 100_000)
    assert u.dtype == np.float64
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert 0.001 < stats.kstest(u, "uniform").pvalue < 0.999
    high, low = (twin.word(KEY, 0, e) for e in (0, 1))
    assert u[0] == ((high << 32 | low) >> 11) / 2**53


def test_normal():
    x = random.normal(KEY, 100_000)
    assert 0.001 < stats.kstest(x, "norm").pvalue < 0.999
    assert abs(x.mean()) < 4 / 100_000**0.5
    assert abs(x.var() - 1) < 4 * (2 / 100_000) ** 0.5
    assert abs(stats.kurtosis(x)) < 4 * (24 / 100_000) ** 0.5
    high, low = (twin.word(KEY, 0, e) for e in (0, 1))
    assert x[0] == pytest.approx(special.ndtri((((high << 32 | low) >> 12) + 0.5) / 2**52), rel=1e-13)


def test_normal_quantile():
    tails = 2.0 ** -np.arange(2, 54)
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 20_001), tails, 1 - tails[:-1], [0.075, 0.925]])
    np.testing.assert_allclose(random.normal_quantile(p), special.ndtri(p), rtol=1e-13, atol=1e-16)
    assert np.isfinite(random.normal_quantile(np.array([2.0**-53, 1 - 2.0**-53]))).all()


def test_natural_log():
    x = np.concatenate([np.exp(np.linspace(-700, 700, 10_001)), np.linspace(0.5, 2, 10_001), [5e-324, 1.7e308]])
    exact = np.log(x)
    assert np.max(np.abs(random.natural_log(x) - exact) / np.spacing(np.abs(exact))) <= 4
    assert random.natural_log(np.array([1.0]))[0] == 0.0


def test_bits_of_floats_are_pinned():
    """The same on every machine: these hexadecimal values may never change."""
    assert [float.hex(float(x)) for x in random.normal((1, 2), 3)] == NORMALS
    assert [float.hex(float(x)) for x in random.uniform((1, 2), 2)] == UNIFORMS


@given(n=st.integers(0, 200), k0=word32)
def test_permutation(n, k0):
    order = random.permutation((k0, 7), n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 1000, 1023, 1024])
@pytest.mark.parametrize("clash", ["none", "first bits", "whole words"])
def test_a_permutation_is_the_order_of_the_words(monkeypatch, n, clash):
    words = np.random.default_rng(n).integers(2**64, size=n, dtype=np.uint64)
    if clash == "first bits":
        words[0] = words[-1] ^ np.uint64(1)
    elif clash == "whole words":
        words[n // 3 :] = words[0]
    monkeypatch.setattr(random, "_words64", lambda key, count: words[:count])
    order = random.permutation((0, 0), n).tolist()
    assert order == sorted(range(n), key=lambda j: (int(words[j]), j))


def test_permutations_are_uniform():
    orders = [tuple(random.permutation(random.fold(0, "minibatches", epoch), 3).tolist()) for epoch in range(1200)]
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    assert 0.001 < stats.chisquare(counts).pvalue < 0.999
