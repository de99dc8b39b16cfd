from __future__ import annotations

from pathlib import Path

import pytest

from mathdl.errors import FileFormatError, UsageError
from mathdl.theory.mutants import Edit, Mutant, read_mutants, spoilt_sources

ONE = '[[mutants]]\nname = "a"\nbreaks = "b"\nedits = [{ module = "mathdl.sums", old = "axis=0", new = "axis=1" }]\n'


def read(tmp_path: Path, text: str) -> tuple[Mutant, ...]:
    path = tmp_path / "mutants.toml"
    path.write_text(text, encoding="utf-8")
    return read_mutants(path)


@pytest.mark.parametrize("mutant", read_mutants(), ids=lambda mutant: mutant.name)
def test_every_mutant_that_ships_applies_and_still_is_python(mutant):
    for module, source in spoilt_sources(mutant).items():
        compile(source, module, "exec")
    assert mutant.breaks
    assert all(edit.old != edit.new for edit in mutant.edits)


def test_a_file_of_ones_own(tmp_path):
    (mutant,) = read(tmp_path, ONE + 'expected = "dense-backward"\n')
    assert mutant == Mutant("a", "b", (Edit("mathdl.sums", "axis=0", "axis=1"),), "dense-backward")
    assert mutant.modules == ("mathdl.sums",)
    assert "sum(D, axis=1)" in spoilt_sources(mutant)["mathdl.sums"]


def test_edits_apply_one_after_the_other():
    edits = (Edit("mathdl.sums", "axis=0", "axis=1"), Edit("mathdl.sums", "axis=1", "axis=2"))
    assert "axis=2" in spoilt_sources(Mutant("a", "b", edits))["mathdl.sums"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a TOML file"),
        ("", "expected tables \\[\\[mutants\\]\\] and nothing else, got none"),
        ("other = 1\n" + ONE, "expected tables \\[\\[mutants\\]\\] and nothing else, got other, mutants"),
        (ONE + ONE, "two mutants are called 'a'"),
        ('[[mutants]]\nname = "a"\nedits = []', "mutant 1: breaks must be a string, it is missing"),
        ('[[mutants]]\nname = 1\nbreaks = "b"\nedits = []', "mutant 1: name must be a string, got 1"),
        ('[[mutants]]\nname = "a"\nbreaks = "b"\nedits = []', "mutant 1 \\(a\\): edits is empty"),
        (
            '[[mutants]]\nname = "a"\nbreaks = "b"\nedits = [1]',
            "mutant 1 \\(a\\): expected { module, old, new }, got 1",
        ),
        (ONE.replace("old", "odl"), "mutant 1 \\(a\\): old must be a string, it is missing"),
        (ONE + "more = 1", "mutant 1: unknown field 'more'; expected name, breaks, edits, expected"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    with pytest.raises(FileFormatError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("mathdl.sums", "no such text", ""), "mutant a: .* exactly once in mathdl.sums, found 0 times"),
        (Edit("mathdl.sums", "into", "onto"), "found 1[0-9] times: 'into'"),
        (Edit("os.path", "a", "b"), "'os.path' is not a module of mathdl or mathdl_backends"),
        (Edit("mathdl.nothing", "a", "b"), "there is no module 'mathdl.nothing'"),
        (Edit("mathdl.no.thing", "a", "b"), "there is no module 'mathdl.no.thing'"),
    ],
)
def test_an_edit_that_does_not_apply_names_the_mutant(edit, message):
    with pytest.raises(UsageError, match=message):
        spoilt_sources(Mutant("a", "b", (edit,)))
