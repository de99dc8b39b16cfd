"""The LaTeX of statements as a line of Unicode text, for a terminal: the part of LaTeX that the propositions use.

    \\frac{\\partial p_i}{\\partial z_j} = p_i (\\delta_{ij} - p_j)        ∂pᵢ/∂zⱼ = pᵢ (δᵢⱼ - pⱼ)

What has no Unicode letter as an index or exponent keeps its braces: A^{[l]}, J_{\\text{train}}. Raises `UsageError` on
a command that it does not know, so that no part of a formula can be lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mathdl.errors import UsageError

_SYMBOLS = {
    "nabla": "∇", "partial": "∂", "sum": "Σ", "prod": "Π", "sqrt": "√", "times": "×", "cdot": "·", "circ": "∘",
    "odot": "∘", "oslash": "⊘", "in": "∈", "le": "≤", "ge": "≥", "ne": "≠", "leftarrow": "←", "Rightarrow": "⇒",
    "iff": "⇔", "to": "→", "langle": "⟨", "rangle": "⟩", "lfloor": "⌊", "rfloor": "⌋", "lceil": "⌈", "rceil": "⌉",
    "dots": "…", "cdots": "⋯", "ell": "ℓ", "top": "ᵀ", "infty": "∞", "|": "‖", "{": "{", "}": "}", "pm": "±",
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "epsilon": "ε", "eta": "η",
    "theta": "θ", "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "varphi": "φ", "Phi": "Φ", "Delta": "Δ", "Sigma": "Σ",
}  # fmt: skip
_NAMES = frozenset({"log", "ln", "exp", "max", "min", "tanh", "cos", "sin", "Pr", "arg"})
_WIDE = "\u2003"
_SPACES = {",": " ", ";": " ", ":": " ", " ": " ", "quad": _WIDE, "qquad": _WIDE, "!": "", "\\": "; "}
_NOTHING = frozenset({"left", "right", "bigl", "bigr", "Bigl", "Bigr", "displaystyle"})
_PLAIN = frozenset({"text", "mathrm", "operatorname", "mathbf"})
_DOUBLE = {"R": "ℝ", "N": "\u2115", "E": "\U0001d53c", "1": "𝟙", "Z": "\u2124"}
_LOW = dict(zip("0123456789+-=()aehijklmnoprstuvxβγρφ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩ", strict=True))
_HIGH = dict(
    zip("0123456789+-=()abcdefghijklmnoprstuvwxyzTᵀ", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᵀᵀ", strict=True)
)
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)


def plain_text(latex: str) -> str:
    """A formula."""
    spaced = re.sub(r" +", " ", _Reader(latex).group(""))
    return re.sub(rf" ?{_WIDE} ?", "   ", spaced).strip()


def plain_words(text: str) -> str:
    """Words with formulas between dollars."""
    pieces = text.split("$")
    return "".join(plain_text(piece) if k % 2 else piece for k, piece in enumerate(pieces))


class _Reader:
    """Reads the tokens of a formula from left to right."""

    def __init__(self, latex: str) -> None:
        self._latex = latex
        self._tokens = _TOKEN.findall(latex)
        self._place = 0

    def group(self, end: str) -> str:
        """Everything up to the token `end`, or to the end of the formula."""
        return "".join(self._until(end))

    def _until(self, end: str) -> Iterator[str]:
        while self._place < len(self._tokens):
            token = self._tokens[self._place]
            self._place += 1
            if token == end:
                return
            yield self._read(token)

    def _read(self, token: str) -> str:
        if token == "{":
            return self.group("}")
        if token in ("^", "_"):
            return _raised(self._argument(), _HIGH if token == "^" else _LOW, token)
        if token == "'":
            return "′"
        if token == "-":
            return "−"
        if token == "&":
            return " "
        if token.isspace():
            return " "
        return self._command(token[1:]) if token[0] == "\\" else token

    def _argument(self) -> str:
        """What a command takes next: a group, or one token."""
        while self._place < len(self._tokens) and self._tokens[self._place].isspace():
            self._place += 1
        if self._place == len(self._tokens):
            raise UsageError(f"a formula ends too early: {self._latex}")
        token = self._tokens[self._place]
        self._place += 1
        return self._read(token)

    def _command(self, name: str) -> str:
        if name in ("frac", "tfrac", "dfrac"):
            above, below = self._argument(), self._argument()
            if (above, below) == ("1", "2"):
                return "½"
            return f"{_enclosed(above)}/{_enclosed(below)}"
        if name == "sqrt":
            content = self._argument()
            return f"√{content}" if len(content) == 1 else f"√({content})"
        if name == "bar":
            return f"{self._argument()}\u0304"
        if name == "mathbb":
            letter = self._argument()
            return _DOUBLE.get(letter, letter)
        if name in _PLAIN:
            return self._argument().replace("−", "-")
        if name == "substack":
            return self._argument()
        if name == "phantom":
            self._argument()
            return ""
        if name in ("begin", "end"):
            kind = self._argument()
            return {"cases": "{ ", "bmatrix": "["}.get(kind, "") if name == "begin" else "]" * (kind == "bmatrix")
        if name in _NAMES:
            return name
        if name in _SYMBOLS:
            return _SYMBOLS[name]
        if name in _SPACES:
            return _SPACES[name]
        if name in _NOTHING:
            return ""
        raise UsageError(f"no text for \\{name} in the formula {self._latex}")


def _raised(content: str, letters: dict[str, str], mark: str) -> str:
    """An index or exponent in Unicode's small letters, if it has all of them."""
    content = content.strip()
    small = content.replace("−", "-").replace(" ", "")
    if content == "ᵀ" or content == "′":
        return content
    if small and all(letter in letters for letter in small):
        return "".join(letters[letter] for letter in small)
    return f"{mark}{content}" if len(content) == 1 else f"{mark}{{{content}}}"


def _enclosed(content: str) -> str:
    """Brackets around what would be read otherwise beside a stroke."""
    content = content.strip()
    inside = re.sub(r"\([^()]*\)|\{[^{}]*\}|∂ ", "", content)
    return f"({content})" if re.search(r"[\s+−=/·]", inside) else content
