"""The command line: help without imports, errors as one line, exit codes as promised."""

from __future__ import annotations

import argparse
import sys
from types import ModuleType

import pytest
from capstone import cli
from capstone.errors import CapstoneError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A command `probe` that takes one word and does what the word says."""
    module = ModuleType("probe_command")

    def run(options: argparse.Namespace, console: object) -> int:
        if options.word == "refuse":
            raise CapstoneError("plan.md: no heading")
        if options.word == "stop":
            raise KeyboardInterrupt
        return int(options.word)

    module.add_arguments = lambda parser: parser.add_argument("word")
    module.run = run
    monkeypatch.setitem(sys.modules, "probe_command", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("probe_command", "tries things"))
    return module


@pytest.mark.parametrize(("word", "code"), [("0", 0), ("1", 1), ("refuse", 2), ("stop", 130)])
def test_exit_codes(command, capsys, word: str, code: int) -> None:
    assert cli.main(["probe", word]) == code
    said = capsys.readouterr().err
    expected = {
        "refuse": "capstone probe: plan.md: no heading\n",
        "stop": "\ncapstone probe: stopped; what was written down is kept\n",
    }
    assert said == expected.get(word, "")


def test_help_lists_the_commands(command, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    assert "tries things" in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], ["nothing"]])
def test_no_command_and_an_unknown_one_are_refused(command, given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(given)
    assert ended.value.code == 2


def test_every_listed_command_can_be_imported_and_asked_for_help(capsys) -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0, name
