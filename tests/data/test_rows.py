"""CSV files: delimiters, quotes, byte order marks, line ends; and what is refused, with the line."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathdl.data.rows import number, read_rows
from mathdl.errors import DataError, FileFormatError, UnknownNameError


@pytest.fixture(scope="session")
def write(tmp_path_factory):
    def write(text, name="people.csv"):
        path = tmp_path_factory.mktemp("csv") / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,y\n",
        "a;b\r\n1;x\r\n2;y",
        "\ufeffa\tb\n1\tx\n\n2\ty\n\n",
        '"a", "b"\n1 , x\n" 2","y"\n',
        "\n\na,b\n1,x\n2,y\n",
    ],
)
def test_the_same_rows_however_they_are_written(write, text):
    rows = read_rows(write(text))
    assert (rows.header, [list(row) for row in rows.cells]) == (("a", "b"), [["1", "x"], ["2", "y"]])
    assert (rows.numbers("a"), rows.column("b"), len(rows)) == ([1.0, 2.0], ["x", "y"], 2)
    assert rows.is_numeric("a")
    assert not rows.is_numeric("b")


field = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).map(str.strip).filter(bool)


@given(
    header=st.lists(field.map("column {}".format), min_size=1, max_size=5, unique=True),
    data=st.data(),
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_round_trip(write, header, data, delimiter, end):
    cells = data.draw(st.lists(st.lists(field, min_size=len(header), max_size=len(header)), min_size=1, max_size=5))
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *cells])
    rows = read_rows(write(file.getvalue()))
    assert rows.header == tuple(header)
    assert [list(row) for row in rows.cells] == cells


def test_quoted_fields_may_hold_delimiters_and_lines(write):
    rows = read_rows(write('name,size\n"a, ""b""\nc",1\nd,x\n'))
    assert rows.column("name") == ['a, "b"\nc', "d"]
    assert rows.place(1, "size") == "people.csv: row 1 (line 4), column 'size'"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a,b\n1,2\n3\n", FileFormatError, "people.csv, line 3: expected 2 fields as above, found 1"),
        ('a,b\n"1\n",2\n3,4,5\n', FileFormatError, "line 4: expected 2 fields as above, found 3"),
        ('a,b\n1,"2\n', FileFormatError, "line 2: not CSV, unexpected end of data"),
        ("", FileFormatError, "found an empty file"),
        ("\n\n", FileFormatError, "found an empty file"),
        ("a,b\n", DataError, "expected rows below the column names"),
        ("1,2\n3,4\n", FileFormatError, "expected column names in the first line, found numbers: 1, 2"),
        (",a\n0,1\n", FileFormatError, r"column 1 has no name.*index=False"),
        ("a,b,a\n1,2,3\n", FileFormatError, "two columns are called 'a'"),
        (b"a,b\n1,\xe9\n", FileFormatError, "expected text in UTF-8"),
    ],
)
def test_what_is_not_csv(write, text, error, message):
    with pytest.raises(error, match=message):
        read_rows(write(text))


def test_places(write):
    rows = read_rows(write("age,size\n1,\n\n2,big\n3,4\n4,5\nNA,inf\n"))
    with pytest.raises(DataError, match=r"people.csv: row 0 \(line 2\), column 'size': the value is missing. Fill"):
        rows.column("size")
    with pytest.raises(DataError, match=r"row 4 \(line 7\), column 'age': the value is missing \('NA'\)"):
        rows.numbers("age")
    with pytest.raises(UnknownNameError, match=r"unknown column of people.csv 'agee'\. Did you mean 'age'"):
        rows.column("agee")
    rows = read_rows(write("size,x\n1,1\n2,1\nbig,1\n"))
    with pytest.raises(DataError, match=r"row 2 \(line 4\), column 'size': expected a finite number, got 'big'.*cat"):
        rows.numbers("size")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        (" -2.5e3 ", -2500.0),
        (".5", 0.5),
        *((text, None) for text in ("1_000", "nan", "inf", "-Infinity", "", "x", "1,5", "1e999")),
    ],
)
def test_what_is_a_number(text, value):
    assert number(text) == value
