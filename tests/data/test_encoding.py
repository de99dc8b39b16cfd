"""Encodings: learnt on one file and applied to others, with the place of what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.data import Encoding
from mathdl.data.encoding import choose_target
from mathdl.data.rows import Rows
from mathdl.errors import DataError, FileFormatError, UnknownNameError, UsageError


def rows_of(header, *cells):
    return Rows("f.csv", tuple(header.split()), [line.split() for line in cells], range(2, 2 + len(cells)))


PEOPLE = rows_of("age colour size kind", "31 red 1.5 cat", "25 blue 2 dog", "40 red 2.5 cat", "18 green 3 cat")


def test_categories_become_columns():
    encoding = Encoding.learn(PEOPLE, "kind")
    assert encoding == Encoding(
        ("age", "colour", "size"), {"colour": ("blue", "green", "red")}, "kind", ("cat", "dog"), "classification"
    )
    X, Y = encoding.encode(PEOPLE)
    assert encoding.features == ("age", "colour=blue", "colour=green", "colour=red", "size")
    assert X.tolist() == [[31, 0, 0, 1, 1.5], [25, 1, 0, 0, 2], [40, 0, 0, 1, 2.5], [18, 0, 1, 0, 3]]
    assert Y.tolist() == [0, 1, 0, 0]


def test_another_file_is_read_as_the_first_was():
    encoding = Encoding.from_dict(json.loads(json.dumps(Encoding.learn(PEOPLE, "kind").to_dict())))
    assert encoding == Encoding.learn(PEOPLE, "kind")
    X, Y = encoding.encode(rows_of("id size colour age", "a 2 green 7"))
    assert X.tolist() == [[7, 0, 1, 0, 2]]
    assert Y is None
    assert encoding.encode(rows_of("kind size colour age", "dog 2 green 7"))[1].tolist() == [1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            rows_of("age size", "1 2"),
            "f.csv: column 'colour' is missing. Expected the columns age, colour, size; found age, size",
        ),
        (
            rows_of("age colour size", "1 red 2", "1 pink 2"),
            r"row 1 \(line 3\), column 'colour': expected one of blue, green, red, got 'pink'",
        ),
        (
            rows_of("age colour size", "1 red 2", "old red 2"),
            r"row 1 \(line 3\), column 'age': expected a finite number, got 'old'",
        ),
        (
            rows_of("age colour size kind", "1 red 2 cow"),
            r"row 0 \(line 2\), column 'kind': expected one of the classes cat, dog, got 'cow'",
        ),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(other, message):
    with pytest.raises(DataError, match=message):
        Encoding.learn(PEOPLE, "kind").encode(other)


def test_numbers_as_categories():
    rows = rows_of("code y", "10 0.5", "7 1.5", "10 2.5")
    encoding = Encoding.learn(rows, "y", categorical=["code"])
    assert encoding.encode(rows)[0].tolist() == [[1, 0], [0, 1], [1, 0]]
    assert (encoding.categories, encoding.kind, encoding.classes) == ({"code": ("10", "7")}, "regression", None)
    with pytest.raises(UnknownNameError, match="Did you mean 'code'"):
        Encoding.learn(rows, "y", categorical=["cod"])


def test_targets_that_are_numbers():
    wine = rows_of("x y", "1 3", "2 1", "3 3", "4 1")
    assert Encoding.learn(wine, "y").classes == ("1", "3")
    assert Encoding.learn(wine, "y").encode(wine)[1].tolist() == [1, 0, 1, 0]
    assert Encoding.learn(wine, "y", "regression").encode(wine)[1].tolist() == [3, 1, 3, 1]
    binary = rows_of("x y", "1 0", "2 1.0", "3 0", "4 1")
    assert Encoding.learn(binary, "y").classes is None
    assert Encoding.learn(binary, "y").encode(binary)[1].tolist() == [0, 1, 0, 1]
    mixed = rows_of("x y", "1 0", "2 1", "3 a")
    assert Encoding.learn(mixed, "y", "classification").classes == ("0", "1", "a")
    for kind in (None, "regression"):
        with pytest.raises(DataError, match=r"row 2 \(line 4\), column 'y': expected a finite number, got 'a'"):
            Encoding.learn(mixed, "y", kind)


def test_too_many_categories():
    rows = rows_of("name y", *(f"n{i} {i}" for i in range(1001)))
    with pytest.raises(DataError, match="column 'name' has 1001 different texts in 1001 rows, at most 1000"):
        Encoding.learn(rows, "y")


def test_choice_of_the_target():
    assert choose_target(PEOPLE, None) == ("kind", "the last column")
    assert choose_target(PEOPLE, "age") == ("age", "as asked")
    assert choose_target(PEOPLE, 1) == ("colour", "column 1")
    assert choose_target(PEOPLE, -1) == ("kind", "column -1")
    assert choose_target(rows_of("Class y Label z", "1 2 3 4"), None) == ("Label", "by its name")
    assert choose_target(PEOPLE, None, may_be_absent=True) == (None, "")
    with pytest.raises(UnknownNameError, match=r"unknown column of f.csv 'sise'\. Did you mean 'size'"):
        choose_target(PEOPLE, "sise")
    with pytest.raises(UsageError, match="target must be a column 0 … 3, got 4"):
        choose_target(PEOPLE, 4)
    with pytest.raises(DataError, match="no column besides the target 'a'"):
        Encoding.learn(rows_of("a", "1"), "a")


def test_a_damaged_record():
    for record in ({}, {"columns": 3, "categories": {}, "target": None, "classes": None, "kind": None}):
        with pytest.raises(FileFormatError, match="not the record of an encoding"):
            Encoding.from_dict(record)


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("abc")), min_size=1))
def test_numbers_and_categories_come_back(values):
    rows = Rows("f.csv", ("x", "c"), [[repr(x), c] for x, c in values], range(2, 2 + len(values)))
    encoding = Encoding.learn(rows, None)
    X, Y = encoding.encode(rows)
    assert Y is None
    assert X[:, 0].tolist() == [x for x, _ in values]
    assert [encoding.categories["c"][j] for j in np.argmax(X[:, 1:], axis=1)] == [c for _, c in values]
    assert (X[:, 1:].sum(axis=1) == 1).all()
