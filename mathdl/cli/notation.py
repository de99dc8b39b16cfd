"""Print the notation: how the mathematics is written, what it is called in Python, and what it means."""

from __future__ import annotations

import argparse

from mathdl.notation import GLOSSARY

NAME = "notation"
HELP = "print the notation of the library"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Print the glossary."""
    from mathdl.cli.console import table

    table(("written", "in code", "meaning"), GLOSSARY)
    return 0
