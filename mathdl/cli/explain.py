"""Explain a layer, a loss, a proposition or a whole model, in the notation of the texts.

LAYER is the name of a layer, loss, optimizer, schedule or initializer (Dense, CategoricalCrossEntropy, Adam …): its
propositions are printed. ID is a proposition (`mathdl prove` lists them): what it says, what it supposes, its
derivation, line by line as it is checked, and the evidence. MODEL is mlp, cnn, a TOML file, a run directory or a model
file: the network is walked forward and backward, with the shapes of a minibatch of B instances.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mathdl.architecture import written
from mathdl.arrays import Shape, flatten_tree
from mathdl.cli.arguments import one_of, positive, shape
from mathdl.cli.models import BUILT_IN, LOSSES_OF, TASKS
from mathdl.cli.summary import describe
from mathdl.errors import MissingExtraError, UsageError, unknown_name
from mathdl.notation import shape_text

if TYPE_CHECKING:
    from mathdl.losses import Loss
    from mathdl.network import Network
    from mathdl.theory.derivation import Derivation
    from mathdl.theory.proposition import Proposition

NAME = "explain"
HELP = "the formulas, shapes and derivations of a layer, a proposition or a whole model"

_WIDTH = 96


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("what", metavar="LAYER|ID|MODEL", help="Dense, softmax-cce, cnn, model.toml, runs/digits …")
    parser.add_argument("--input-shape", type=shape, help="of one instance, such as 784 or 28,28,1 (for a model)")
    parser.add_argument("--outputs", type=positive, help="nodes of the output layer, where the model leaves it open")
    task = f"what the targets are: {', '.join(TASKS)} (default: categorical)"
    parser.add_argument("--task", type=one_of("task", TASKS), default="categorical", help=task)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation."""
    from mathdl.cli.console import say

    what: str = arguments.what
    if what in BUILT_IN or Path(what).suffix in (".toml", ".safetensors") or Path(what).is_dir():
        found = _model(what, arguments)
    else:
        found = _theory(what)
    for line in found:
        say(line)
    return 0


# -- a layer, or a proposition -----------------------------------------------------------------------------------------


def _theory(what: str) -> Iterator[str]:
    if find_spec("sympy") is None:
        raise MissingExtraError('explain needs sympy for layers and propositions: pip install "mathdl[theory]"')
    from mathdl.theory.chapters import PROPOSITIONS
    from mathdl.theory.cover import covered_kinds

    kinds = {_name(kind): kind for kind in covered_kinds()}
    if what in PROPOSITIONS:
        yield from _proposition(PROPOSITIONS[what])
        return
    if what not in kinds:
        raise unknown_name("layer, proposition or model", what, [*kinds, *PROPOSITIONS, *BUILT_IN])
    kind: Any = kinds[what]
    yield from _wrapped(f"{what}: {_sentence(kind.__doc__ or '')}", "")
    for name in kind.propositions:
        yield ""
        yield from _proposition(PROPOSITIONS[name])


def _name(kind: Any) -> str:
    return str(kind.__name__)


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _proposition(proposition: Proposition) -> Iterator[str]:
    from mathdl.theory.check import KINDS
    from mathdl.theory.plain_text import plain_text, plain_words

    yield f"{proposition.title} ({proposition.id})"
    yield ""
    for piece in plain_text(proposition.statement).split("   "):
        yield from _wrapped(piece.strip().rstrip(","), "    ", "        ")
    yield ""
    for source in proposition.sources:
        place = ", ".join(filter(None, (source.text, source.place)))
        yield from _wrapped(f"source: {place} ({source.status})")
    for hypothesis in proposition.hypotheses:
        yield from _wrapped(f"supposed: {plain_words(hypothesis.says)}. Enforced: {plain_words(hypothesis.enforced)}")
    if proposition.convention:
        yield from _wrapped(f"convention: {plain_words(proposition.convention)}")
    for derivation in proposition.derivations:
        yield ""
        yield from _derivation(derivation)
    if proposition.without_generic:
        yield from _wrapped(f"not at generic dimensions: {plain_words(proposition.without_generic)}")
    for prose in proposition.prose:
        yield from _wrapped(f"not checked by a machine: {plain_words(prose.says)}")
    yield ""
    yield "  evidence:"
    for kind in proposition.kinds:
        said = [check.says for check in proposition.checks if check.kind == kind]
        yield from _wrapped(f"{kind}  {KINDS[kind]}: {'; '.join(said)}", "    ", "       ")


def _derivation(derivation: Derivation) -> Iterator[str]:
    """Line by line, as SymPy draws the objects that are checked."""
    import sympy as sp

    from mathdl.theory.derivation import Prose
    from mathdl.theory.plain_text import plain_words

    yield f"  {derivation.title}, by computer algebra:"
    sign = " "
    for line in derivation.lines:
        if isinstance(line, Prose):
            yield from _wrapped(f"not checked by a machine: {plain_words(line.says)}", "    ", "      ")
            continue
        drawn = sp.pretty(_readable(line.expression), use_unicode=True, num_columns=_WIDTH - 12).rstrip().splitlines()
        middle = (len(drawn) - 1) // 2
        yield ""
        for k, row in enumerate(drawn):
            yield f"    {sign if k == middle else ' '} {row.rstrip()}"
        if line.why:
            yield from _wrapped(plain_words(line.why), "          [", "           ", "]")
        sign = "="
    yield ""


def _readable(expression: Any) -> Any:
    """The expression with the names that a reader knows: k for SymPy's mark _k, φ(Z) for its LaTeX."""
    import sympy as sp

    names = {dummy: sp.Symbol(dummy.name) for dummy in expression.atoms(sp.Dummy)}
    for symbol in expression.atoms(sp.MatrixSymbol):
        name = symbol.name.replace("\\varphi", "φ").removeprefix("{").removesuffix("}")
        if name != symbol.name:
            names[symbol] = sp.MatrixSymbol(name, *symbol.shape)
    return expression.xreplace(names)


def _wrapped(text: str, first: str = "  ", other: str = "    ", end: str = "") -> list[str]:
    return wrap(text + end, _WIDTH, initial_indent=first, subsequent_indent=other, break_long_words=False)


# -- a model -----------------------------------------------------------------------------------------------------------


def _model(what: str, arguments: argparse.Namespace) -> Iterator[str]:
    from mathdl.cli.model_data import open_model
    from mathdl.cli.models import build
    from mathdl.losses import loss
    from mathdl.network import Network

    path = Path(what)
    if path.is_dir() or path.suffix == ".safetensors":
        model = open_model(what, "cpu")
        yield from walked(model.network, model.params.input_shape, model.loss)
        return
    if arguments.input_shape is None:
        raise UsageError(f"the shapes of {what} follow from those of its input: give --input-shape, such as 28,28,1")
    layers = build(what, arguments.input_shape, arguments.outputs, arguments.task)
    yield from walked(Network(layers), arguments.input_shape, loss(LOSSES_OF[arguments.task]))


def walked(network: Network, input_shape: Shape, loss: Loss) -> Iterator[str]:
    """The network in the notation of the texts, forward and backward, in minibatches of B instances."""
    from mathdl.objective import Objective

    objective = Objective(network, loss)
    shapes, L = network.shapes(input_shape), network.L
    parameters = network.parameter_shapes(input_shape)
    yield f"L = {L} layers. Arrays hold the B instances of a minibatch {{m}}; a sample is a row."
    yield ""
    yield f"FORWARD    A[0] = X {_of(shapes[0])}"
    told: dict[str, int] = {}
    for l, layer in network.chain.items():
        yield ""
        yield f"l = {l}".ljust(8) + describe(layer)
        yield from _told(layer, l, told)
        own = [f"{name} {_shape_of(shape)}" for name, shape in flatten_tree({l: parameters[l]}).items()]
        yield f"        A[{l}] {_of(shapes[l])}" + (f" · {' · '.join(own)}" if own else "")
    yield ""
    yield f"COST   {written(loss)}"
    yield from _told(loss, 0, told)
    yield "        J = Σ_i w(i) ℓ(i) / Σ_i w(i)"
    yield ""
    yield "BACKWARD"
    yield ""
    if objective.depth < L:
        yield f"        {written(network.layers[-1])} and the cost are one step, stable and with the gradient above:"
        yield f"        dA[{L - 1}] {_of(shapes[L - 1])}, of the logits"
    else:
        yield f"        dA[{L}] {_of(shapes[L])}, from the cost"
    first = min((l for l in network.chain if flatten_tree(parameters[l])), default=L + 1)
    for l in range(objective.depth, 0, -1):
        names = [f"d{name}" for name in flatten_tree({l: parameters[l]})]
        input_gradient = [f"dA[{l - 1}] {_of(shapes[l - 1])}"] if l > first else []
        if l >= first:
            yield f"l = {l}".ljust(8) + f"{describe(network.chain[l])}: {', '.join([*input_gradient, *names])}"
    yield ""
    yield f"Below layer {first} nothing is learnt, so dA[{first - 1}] is not computed."
    kinds = ", ".join(dict.fromkeys(_name(type(layer)) for layer in (*network.layers, loss)))
    yield from _wrapped(
        f"The propositions behind a layer, with their derivations: mathdl explain NAME ({kinds})", "", ""
    )


def formulas(what: Any) -> list[str]:
    """The formulas of a layer or loss: the first lines that stand apart in the text at the head of its module.

    Of a class of one's own, those of its docstring.
    """
    module = sys.modules[type(what).__module__]
    own = type(what).__module__.partition(".")[0] != "mathdl"
    text = inspect.cleandoc((type(what).__doc__ if own else module.__doc__) or "")
    blocks = re.findall(r"(?:^ {4,}.*\n?)+", text, flags=re.MULTILINE)
    lines = blocks[0].splitlines() if blocks else [line for line in text.splitlines() if " = " in line]
    return [formula for line in lines for formula in re.split(r" {4,}", line.strip())]


def _told(what: Any, l: int, told: dict[str, int]) -> Iterator[str]:
    """The formulas, once for each kind."""
    kind = _name(type(what))
    if kind in told:
        yield f"        as in layer {told[kind]}"
        return
    told[kind] = l
    yield from (f"        {line}" for line in formulas(what))


def _of(shape: Shape) -> str:
    return f"({', '.join(map(str, ('B', *shape)))})"


def _shape_of(shape: Shape) -> str:
    return shape_text(shape)
