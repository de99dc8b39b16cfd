"""`mathdl explain`: layers and propositions with their derivations, models walked forward and backward."""

from __future__ import annotations

import pytest

import mathdl as md
from mathdl import cli
from mathdl.cli import explain
from mathdl.cli.prove import covered
from mathdl.theory.chapters import PROPOSITIONS


def printed(capsys, *argv):
    assert cli.main(["explain", *argv]) == 0
    return capsys.readouterr().out


def test_a_proposition(capsys):
    out = printed(capsys, "sigmoid-derivative")
    assert "dσ/dz = σ(1 − σ)" in out
    assert "source: Kasliwal, section 3.1, equations (1) and (2), derived in 3.1.1 (stated)" in out
    assert "Kasliwal 3.1.1, line by line, by computer algebra:" in out
    assert "(1 - σ(z))⋅σ(z)" in out
    assert out.index("[the chain rule]") < out.index("[σ cancels]")
    assert "G  computer algebra at generic dimensions: " in out


@pytest.mark.parametrize("name", sorted(PROPOSITIONS))
def test_every_proposition_can_be_told(name, capsys):
    out = printed(capsys, name)
    assert out.startswith(f"{PROPOSITIONS[name].title} ({name})")
    for kind in PROPOSITIONS[name].kinds:
        assert f"    {kind}  " in out


def test_a_layer_is_told_by_its_propositions(capsys):
    out = printed(capsys, "Dense")
    assert out.startswith("Dense: A dense layer of `width` nodes")
    for name in covered()["Dense"]:
        assert f"({name})" in out


@pytest.mark.parametrize("name", sorted(covered()))
def test_every_class_is_told_within_the_width_of_a_terminal(name, capsys):
    assert max(map(len, printed(capsys, name).splitlines())) <= 100


def test_a_model_forward_and_backward(capsys):
    out = printed(capsys, "cnn", "--input-shape", "28,28,1", "--outputs", "10")
    lines = [line.strip() for line in out.splitlines()]
    assert "A[1] (B, 28, 28, 32) · W[1] 3 × 3 × 1 × 32 · b[1] 32" in lines
    assert lines.count("A = max(Z, 0)") == 1
    assert lines.count("as in layer 2") == 2
    backward = [line for line in lines[lines.index("BACKWARD") :] if line.startswith("l = ")]
    assert backward[0].startswith("l = 10  Dense(10): dA[9] (B, 128), dW[10], db[10]")
    assert backward[-1].endswith(": dW[1], db[1]")
    assert "Softmax() and the cost are one step" in out


def test_a_residual_network_and_one_without_a_pair(capsys, tmp_path):
    path = tmp_path / "model.toml"
    path.write_text(
        """
[[layers]]
kind = "Residual"
[[layers.layers]]
kind = "Dense"
width = 3
[[layers]]
kind = "Dense"
width = 2
""",
        encoding="utf-8",
    )
    out = printed(capsys, str(path), "--input-shape", "3", "--task", "regression")
    assert "W[1.1] 3 × 3" in out
    assert "dA[2] (B, 2), from the cost" in out
    assert "l = 1   Residual(…): dW[1.1], db[1.1]" in out


def test_a_saved_model_with_a_layer_that_is_told_by_its_class(capsys, tmp_path):
    trainer = md.Trainer(md.Network([md.Dense(2), md.Softmax()]), device="cpu")
    digits = md.data.load("digits")
    trainer.fit(digits.X[:20].reshape(20, -1), digits.Y[:20] % 2, verbose=False)
    trainer.model.save(tmp_path / "model.safetensors")
    assert "A[1] (B, 2) · W[1] 64 × 2 · b[1] 2" in printed(capsys, str(tmp_path / "model.safetensors"))


def test_formulas_of_a_class_of_ones_own():
    class Own:
        """Twice.

        A = 2 Z        dZ = 2 dA
        """

    assert explain.formulas(Own()) == ["A = 2 Z", "dZ = 2 dA"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["Dens"], "unknown layer, proposition or model 'Dens'. Did you mean 'Dense'?"),
        (["cnn"], "give --input-shape, such as 28,28,1"),
        (["cnn", "--input-shape", "28,28,1"], "say how many nodes it has, with --outputs"),
    ],
)
def test_wrong_usage(argv, message, capsys):
    assert cli.main(["explain", *argv]) == 2
    assert message in capsys.readouterr().err


def test_without_sympy_models_are_told_and_the_extra_is_named_for_the_rest(monkeypatch, capsys):
    monkeypatch.setattr(explain, "find_spec", lambda name: None)
    assert "FORWARD" in printed(capsys, "mlp", "--input-shape", "64", "--outputs", "10")
    assert cli.main(["explain", "Dense"]) == 2
    assert 'pip install "mathdl[theory]"' in capsys.readouterr().err
