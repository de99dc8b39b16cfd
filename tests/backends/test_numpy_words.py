"""Random words in compiled code: those of the twin, and of the reference, however they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import philox_twin as twin
from compiling import check, cut_finely, everything_compiled, kinds, sizes  # noqa: F401
from mathdl import random
from mathdl.layers.dropout import dropout_forward
from mathdl.primitive import reference_only
from mathdl_backends.numpy import native
from mathdl_backends.numpy.namespace import namespace as xp

word = st.integers(0, 2**32 - 1)
keys = st.tuples(word, word).map(lambda key: np.array(key, dtype=np.uint32))


@given(key=keys, first=st.sampled_from([0, 1, 2**32 - 40]), instances=st.integers(0, 40), elements=st.integers(0, 150))
def test_words_are_those_of_the_twin_and_of_the_reference(key, first, instances, elements):
    found = random.bits(key, first, instances, elements)
    with reference_only():
        reference = random.bits(key, first, instances, elements)
    assert found.dtype == reference.dtype == np.uint32
    np.testing.assert_array_equal(found, reference)
    for i, e in {(0, 0), (instances // 2, elements // 2), (instances - 1, elements - 1)}:
        if 0 <= i < instances and 0 <= e < elements:
            assert found[i, e] == twin.word(tuple(key.tolist()), first + i, e)


@pytest.mark.usefixtures("everything_compiled")
@given(key=keys, first=st.integers(0, 5), instances=st.integers(1, 40), elements=st.integers(1, 150), size=sizes)
def test_words_of_a_step_are_one_op(key, first, instances, elements, size):
    A, out = np.ones((instances, elements), np.float32), np.zeros((instances, elements), np.float32)

    def function(key, A, out):
        keep = random.bits(key, first, *A.shape) >= 2**31
        out[...] = dropout_forward(A, xp.reshape(keep, A.shape), rate=0.5)

    with cut_finely(size):
        found = check(function, key, A, out)
    assert ["RANDOM_WORDS"] in found
    assert len([kind for kind in kinds(found) if kind == "LOOP"]) == 1, "no pass over integers but the comparison"


def test_who_makes_the_words_and_why(monkeypatch):
    key = np.array([1, 2], dtype=np.uint32)
    assert random.bits.explain(key, 0, 1, 1) == "numpy kernel"
    wide = key.astype(np.uint64)
    assert random.bits.explain(wide, 0, 1, 1) == "reference: numpy declined, a key of shape (2,) and dtype uint64"
    np.testing.assert_array_equal(random.bits(wide, 0, 3, 5), random.bits(key, 0, 3, 5))
    expected = random.bits(key, 0, 3, 5)
    monkeypatch.setattr(native, "loaded", lambda: None)
    assert "declined, absent" in random.bits.explain(key, 0, 1, 1)
    np.testing.assert_array_equal(random.bits(key, 0, 3, 5), expected)
