from __future__ import annotations

import pytest

from mathdl.theory.chapters import PROPOSITIONS
from mathdl.theory.cover import concerned, covered_kinds, imported_by


@pytest.mark.parametrize(
    ("module", "first"),
    [
        ("mathdl.layers.dense", "dense-forward"),
        ("mathdl.layers.dropout", "dropout"),
        ("mathdl.optimizers", "sgd"),
        ("mathdl.initializers", "glorot-variance"),
    ],
)
def test_a_module_concerns_first_what_its_classes_name(module, first):
    assert concerned([module], PROPOSITIONS)[0] == first


def test_a_module_concerns_what_its_importers_name():
    windows = set(concerned(["mathdl.windows"], PROPOSITIONS))
    assert {"conv-size", "conv-forward", "max-pool", "avg-pool"} <= windows
    assert not {"batch-norm-forward", "adam", "dropout"} & windows
    assert {"dense-backward", "conv-kernel-grad", "batch-norm-backward"} <= set(
        concerned(["mathdl.sums"], PROPOSITIONS)
    )


def test_what_no_class_names_concerns_every_module():
    assert "chain-rule-vjp" in concerned(["mathdl.layers.dense"], PROPOSITIONS)
    assert concerned(["mathdl.network"], PROPOSITIONS)[0] == "batch-linearity"
    assert "k-layer-forward" in concerned(["mathdl.network"], PROPOSITIONS)


def test_a_kernel_concerns_whom_its_primitive_concerns():
    assert concerned(["mathdl_backends.numpy.sums"], PROPOSITIONS) == concerned(["mathdl.sums"], PROPOSITIONS)
    assert "max-pool" in concerned(["mathdl_backends.numpy.windows"], PROPOSITIONS)


@pytest.mark.parametrize("module", ["mathdl.training.step", "mathdl_backends.numpy.execution"])
def test_what_no_class_answers_for_concerns_everything(module):
    assert set(concerned([module], PROPOSITIONS)) == set(PROPOSITIONS)


def test_imports_are_followed_to_their_end():
    assert {"mathdl.layers.conv2d", "mathdl.windows", "mathdl.errors"} <= imported_by("mathdl.layers.conv1d")
    assert "mathdl.layers.dense" not in imported_by("mathdl.layers.conv1d")


def test_every_kind_that_ships_is_asked():
    names = {kind.__name__ for kind in covered_kinds()}
    assert {"Dense", "Residual", "Huber", "Adam", "Cosine", "he_normal"} <= names
