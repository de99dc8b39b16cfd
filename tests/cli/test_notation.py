"""`mathdl notation` prints the glossary, whole."""

from __future__ import annotations

from mathdl import cli
from mathdl.notation import GLOSSARY


def test_every_entry_is_printed(capsys):
    assert cli.main(["notation"]) == 0
    out = capsys.readouterr().out
    assert all(part in out for entry in GLOSSARY for part in entry)
