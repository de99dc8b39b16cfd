from __future__ import annotations

from mathdl.theory.chapters import PROPOSITIONS
from mathdl.theory.cover import covered_kinds
from mathdl.theory.page import PAGE, page


def test_the_page_is_that_of_the_propositions():
    assert PAGE.read_text(encoding="utf-8") == page(), "stale: run python -m mathdl.theory.page"


def test_every_proposition_has_its_anchor_once():
    text = page()
    assert all(text.count(f'<a id="{name}"></a>') == 1 for name in PROPOSITIONS)


def test_every_class_that_ships_stands_in_the_cover():
    _, cover = page().split("## What covers what")
    for kind in covered_kinds():
        assert f"`{kind.__name__}`" in cover
        assert all(f"[{name}](#{name})" in cover for name in getattr(kind, "propositions", ()))
