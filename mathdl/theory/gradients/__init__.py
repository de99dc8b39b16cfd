"""Gradients, checked on numbers: the backward that ships, or one's own, against dual numbers and differences."""

from mathdl.theory.gradients.check import check_gradients as check_gradients
from mathdl.theory.gradients.report import GradientReport as GradientReport
from mathdl.theory.gradients.report import Row as Row

__all__ = ["GradientReport", "Row", "check_gradients"]
