"""Tables and messages: aligned and complete away from a terminal, and never taken for markup."""

from __future__ import annotations

import sys

from mathdl.cli import console


def test_plain_table(capsys):
    console.table(("name", "count"), [("a", "1"), ("long [name]", "1,000")], right=("count",))
    assert capsys.readouterr().out == "name         count\na                1\nlong [name]  1,000\n"


def test_plain_table_is_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    console.table(("x",), [("y" * 200,)])
    assert "y" * 200 in capsys.readouterr().out


def test_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    console.table(("name", "count"), [("[a]", "1")], right=("count",), total=("sum", "2"))
    head, line, row, second_line, foot = (text.strip() for text in capsys.readouterr().out.split("\n") if text.strip())
    assert (head.split(), row.split(), foot.split()) == (["name", "count"], ["[a]", "1"], ["sum", "2"])
    assert set(line) == set(second_line) == {"─"}


def test_say_takes_no_markup(capsys):
    console.say("[bold]x[/bold] [/]")
    assert capsys.readouterr().out == "[bold]x[/bold] [/]\n"


def test_complaints_go_to_stderr(capsys):
    console.complain("no [/such] thing", ["in line 3"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "mathdl: no [/such] thing\n  in line 3\n"
