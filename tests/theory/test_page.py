from __future__ import annotations

from mathdl.theory.chapters import PROPOSITIONS
from mathdl.theory.page import PAGE, page


def test_the_page_is_that_of_the_propositions():
    assert PAGE.read_text(encoding="utf-8") == page(), "stale: run python -m mathdl.theory.page"


def test_every_proposition_has_its_anchor_once():
    assert all(page().count(f'<a id="{name}"></a>') == 1 for name in PROPOSITIONS)
