"""The frame of the command line: exit status, help, errors with the nearest match and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mathdl
from mathdl import cli
from mathdl.errors import DataError, NonFiniteError


def run_with(monkeypatch, act, *options):
    """The exit status of a command whose `run` is `act`."""
    command = SimpleNamespace(NAME="doctor", HELP="", __doc__="", add_arguments=lambda parser: None, run=act)
    monkeypatch.setattr(cli, "import_module", lambda name: command)
    return cli.main(["doctor", *options])


def raiser(error):
    def act(arguments):
        raise error

    return act


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mathdl {mathdl.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_help_lists_the_commands(argv, capsys):
    assert cli.main(argv) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert cli.main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: mathdl {name}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["summry"], "unknown command 'summry'. Did you mean 'summary'?"),
        (["doctor", "--jsn"], "unknown option '--jsn'. Did you mean '--json'?"),
        (["doctor", "--js"], "unknown option '--js'"),
        (["--versio"], "unknown option '--versio'. Did you mean '--version'?"),
        (["notation", "all"], "unexpected argument 'all'"),
        (["summary", "mlp"], "required: --input-shape"),
        (["summary", "mlp", "--input-shape", "28,q"], "expected an int ≥ 1, got 'q'"),
    ],
)
def test_wrong_usage(argv, message, capsys):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_a_mathdl_error_is_a_message_and_its_notes(monkeypatch, capsys):
    error = DataError("column [red] has no number [/]")
    error.add_note("in row 3")
    assert run_with(monkeypatch, raiser(error)) == 2
    assert capsys.readouterr().err == "mathdl: column [red] has no number [/]\n  in row 3\n"


def test_a_check_that_failed_is_1(monkeypatch):
    assert run_with(monkeypatch, raiser(NonFiniteError("J is NaN"))) == 1
    assert run_with(monkeypatch, lambda arguments: 1) == 1


def test_a_missing_file_is_named(monkeypatch, capsys):
    assert run_with(monkeypatch, lambda arguments: Path("nowhere.csv").read_text()) == 2
    assert capsys.readouterr().err == "mathdl: No such file or directory: nowhere.csv\n"


def test_a_fault_of_our_own_says_so(monkeypatch, capsys):
    assert run_with(monkeypatch, raiser(KeyError("x"))) == 1
    assert "KeyError: 'x'" in capsys.readouterr().err


def test_debug_shows_the_traceback(monkeypatch):
    with pytest.raises(DataError, match="empty"):
        run_with(monkeypatch, raiser(DataError("empty")), "--debug")


def test_ctrl_c_is_130(monkeypatch, capsys):
    assert run_with(monkeypatch, raiser(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "mathdl: interrupted\n"


def test_a_reader_that_has_seen_enough():
    """`mathdl notation | head -0` ends quietly."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mathdl", "notation"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, error = process.communicate(timeout=60)
    assert error == b""
    assert process.returncode == 0


def test_a_terminal_without_unicode():
    done = subprocess.run(
        [sys.executable, "-m", "mathdl", "notation"],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"?J/?X" in done.stdout
