"""The command line: `main`, and a file per command.

A command is a module with `NAME`, `HELP`, `add_arguments(parser)` and `run(arguments) -> int`; it is imported when it
is called (or when help lists them all). Exit status: 0 done, 1 a check failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from mathdl import __version__
from mathdl.errors import MathdlError, NonFiniteError, OutOfMemoryError, UsageError, unknown_name

COMMANDS = (
    *("train", "evaluate", "predict", "summary"),
    *("gradcheck", "prove", "explain", "parity", "ulp"),
    *("notation", "doctor"),
)
"""The commands, in the order of help; each is `mathdl.cli.<name>`."""


class _Help(argparse.HelpFormatter):
    """Help with room for the names of options, and paragraphs that stay apart."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n\n".join(fill(paragraph, width, indent) for paragraph in text.split("\n\n"))


class _Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that raises `UsageError` where argparse would print its usage and exit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Help, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. `{self.prog} --help` lists what there is")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (`sys.argv` by default) and return the exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without × prints ? instead of failing
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse, after --help and --version
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("mathdl: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if "--debug" in argv:
            raise
        _report(error)
        return 1 if isinstance(error, NonFiniteError | OutOfMemoryError) or not _is_expected(error) else 2


def _run(argv: list[str]) -> int:
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    arguments, parser = _parse(argv, COMMANDS if name is None else (name,))
    if name is None:
        parser.print_help()
        return 0
    status: int = arguments.command.run(arguments)
    return status


def _parse(argv: list[str], names: Sequence[str]) -> tuple[argparse.Namespace, _Parser]:
    """Parse with the parsers of these commands only; an unknown option is met with the nearest known one."""
    parser = _Parser(prog="mathdl", description="Deep learning, derived: train, inspect and check neural networks.")
    parser.add_argument("--version", action="version", version=f"mathdl {__version__}")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG)
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    known = {"--debug", "--version"}
    for name in names:
        command = import_module(f"mathdl.cli.{name}")
        subparser = subparsers.add_parser(command.NAME, help=command.HELP, description=command.__doc__)
        subparser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=_DEBUG)
        subparser.set_defaults(command=command)
        command.add_arguments(subparser)
        known |= {option for option in subparser._option_string_actions if option.startswith("--")}
    arguments, rest = parser.parse_known_args(argv)
    options = [word.partition("=")[0] for word in rest if word.startswith("-")]
    if options:
        raise unknown_name("option", options[0], known)
    if rest:
        raise UsageError(f"unexpected argument {rest[0]!r}")
    return arguments, parser


_DEBUG = "show the traceback of an error"


def _is_expected(error: Exception) -> bool:
    return isinstance(error, MathdlError | OSError)


def _report(error: Exception) -> None:
    """One clear message on stderr: what was expected, what was found, what to do; then where."""
    from mathdl.cli.console import complain

    message = str(error)
    if isinstance(error, OSError) and not isinstance(error, MathdlError) and error.strerror:
        message = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif not _is_expected(error):
        message = f"{type(error).__name__}: {error}. This is a fault of mathdl; --debug shows where it happened"
    complain(message, getattr(error, "__notes__", ()))
