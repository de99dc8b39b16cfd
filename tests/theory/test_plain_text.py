"""LaTeX as a line of text: fractions keep their meaning, indices their braces, and no formula loses a part."""

from __future__ import annotations

import pytest

from mathdl.errors import UsageError
from mathdl.theory.chapters import PROPOSITIONS
from mathdl.theory.plain_text import plain_text, plain_words


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{\partial p_i}{\partial z_j} = p_i (\delta_{ij} - p_j)", "∂ pᵢ/∂ zⱼ = pᵢ (δᵢⱼ − pⱼ)"),
        (r"\frac{1}{1 + e^{-z}}", "1/(1 + e⁻ᶻ)"),
        (r"\frac{a + b}{c}", "(a + b)/c"),
        (r"\tfrac12 (x - y)^2", "½ (x − y)²"),
        (r"\sqrt{2\pi}, \sqrt n", "√(2π), √n"),
        (r"A^{[l]}, W^\top, x', \nabla_W J", "A^{[l]}, Wᵀ, x′, ∇_W J"),
        (r"a \text{ for one-hot } b", "a for one-hot b"),
        (r"x, \qquad y", "x,   y"),
        (r"x \in \mathbb R^{n}", "x ∈ ℝⁿ"),
        (r"\|G\| \le \lfloor c \rfloor", "‖G‖ ≤ ⌊ c ⌋"),
    ],
)
def test_formulas(latex, text):
    assert plain_text(latex) == text


def test_words_around_formulas():
    assert plain_words(r"for $x \ge 0$ and $y$") == "for x ≥ 0 and y"


@pytest.mark.parametrize("latex", [r"\unheard{x}", r"x^", r"\frac{1}"])
def test_what_it_cannot_read_is_refused(latex):
    with pytest.raises(UsageError):
        plain_text(latex)


@pytest.mark.parametrize("name", sorted(PROPOSITIONS))
def test_every_proposition_has_a_text(name):
    proposition = PROPOSITIONS[name]
    text = plain_text(proposition.statement)
    assert text
    assert "\\" not in text
    words = [proposition.convention]
    words += [text for hypothesis in proposition.hypotheses for text in (hypothesis.says, hypothesis.enforced)]
    assert not any("$" in plain_words(each) for each in words)
