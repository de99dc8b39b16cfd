"""IDX files, written by hand: values, types, gzip and memory maps; what is cut short or damaged, with both sizes."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.data.idx import images_in, is_idx, labels_beside, read_idx, with_channel
from mathdl.errors import DataError, FileFormatError

LETTERS = {0x08: "B", 0x09: "b", 0x0B: "h", 0x0C: "i", 0x0D: "f", 0x0E: "d"}


def idx(kind, shape, values):
    return struct.pack(f">BBBB{len(shape)}I{len(values)}{LETTERS[kind]}", 0, 0, kind, len(shape), *shape, *values)


IMAGES = idx(0x08, (2, 3, 2), range(12))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


@given(
    kind=st.sampled_from(sorted(LETTERS)),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    packed=st.booleans(),
    data=st.data(),
)
def test_values_of_every_type(folder, kind, shape, packed, data):
    entries = int(np.prod(shape))
    low, high = {"B": (0, 255), "b": (-128, 127)}.get(LETTERS[kind], (-30000, 30000))
    values = data.draw(st.lists(st.integers(low, high), min_size=entries, max_size=entries))
    path = folder / ("data-idx9-any.gz" if packed else "data-idx9-any")
    content = idx(kind, shape, values)
    path.write_bytes(gzip.compress(content) if packed else content)
    array = read_idx(path)
    assert array.shape == tuple(shape)
    assert array.reshape(-1).tolist() == values
    assert isinstance(array, np.memmap) is not packed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (IMAGES[:-1], r"expected 28 bytes \(16 of header, 2 × 3 × 2 entries of 1\), found 27$"),
        (IMAGES + b"\0", r"expected 28 bytes .*, found 29$"),
        (IMAGES[:10], "expected a header of 16 bytes, found 10"),
        (IMAGES[:3], "expected an IDX file, which begins 00 00, type, number of axes; found 00 00 08"),
        (b"", "expected an IDX file.*found nothing"),
        (b"\x89PNG\r\n", "found 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\1\0", "found 00 00 07 01"),
        (b"\0\0\x08\x00\0", "found 00 00 08 00"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_idx(path)
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(content))
    if content:
        with pytest.raises(FileFormatError, match=message):
            read_idx(packed)


def test_damaged_gzip(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    noise = np.random.default_rng(0).integers(0, 256, 10_000, dtype=np.uint8)
    content = gzip.compress(idx(0x08, (100, 10, 10), noise.tolist()))
    path.write_bytes(content[:5000])
    with pytest.raises(FileFormatError, match=r"expected 10016 bytes .*, found \d+ and then a broken gzip stream"):
        read_idx(path)
    path.write_bytes(content[:-8] + bytes(8))
    with pytest.raises(FileFormatError, match=r"found the 10016 bytes expected and then a broken gzip stream: CRC"):
        read_idx(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(FileFormatError, match=r"a gzipped IDX file, found 0 bytes and then .*Not a gzipped file"):
        read_idx(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="found 0 bytes"):
        read_idx(path)


def test_empty(tmp_path):
    (tmp_path / "a-idx1-ubyte").write_bytes(idx(0x08, (0,), []))
    with pytest.raises(DataError, match=r"is empty, its shape is \(0,\)"):
        read_idx(tmp_path / "a-idx1-ubyte")


def test_names(tmp_path):
    images = tmp_path / "emnist-train-images-idx3-ubyte.gz"
    assert is_idx(images)
    assert is_idx(tmp_path / "t10k-labels.idx1-ubyte")
    assert not is_idx(tmp_path / "idx.csv")
    assert labels_beside(images) is None
    for name in ("emnist-train-labels-idx1-ubyte", "emnist-train-labels-idx1-ubyte.gz"):
        labels = tmp_path / name
        labels.touch()
        assert labels_beside(images) == labels
        labels.unlink()
    assert labels_beside(tmp_path / "pictures-idx3-ubyte") is None
    for name in ("a-images-idx3-ubyte", "a-images-idx3-ubyte.gz", "b-images-idx3-ubyte.gz", "a-labels-idx1-ubyte"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["a-images-idx3-ubyte", "b-images-idx3-ubyte.gz"]


def test_channel_axis():
    assert with_channel(np.zeros((5, 4, 3))).shape == (5, 4, 3, 1)
    assert with_channel(np.zeros((5, 4, 3, 2))).shape == (5, 4, 3, 2)
    assert with_channel(np.zeros((5, 4))).shape == (5, 4)
