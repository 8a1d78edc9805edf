"""The command line as a whole: verbs, help, exit codes, errors and streams."""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import importlib
import io
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

import versioning.__main__
from tests import cli_tools
from tests.cli_tools import NAME, URI, Ran, deployed, done, refused, run
from versioning import RefusedError
from versioning.cli import FIRST_STEPS, cli
from versioning.cli.ending import EXIT_CODES, exit_code_lines
from versioning.cli.given import Given

place = cli_tools.place
VERBS = [
    "deploy", "publish", "promote", "rollback", "clear-primary", "deactivate", "activate", "complete-activation",
    "fail-activation",
    "delete", "ls", "show", "log", "replay", "diff", "resolve", "usage", "timeline", "verify", "checkpoint", "export",
    "import", "rebuild", "migrate", "doctor", "explain", "skip", "collect", "backup", "fetch",
]  # fmt: skip


class TestTheWhole:
    def test_the_verbs_are_those_that_are_promised(self) -> None:
        assert sorted(cli.commands) == sorted(VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_help_and_refuses_what_it_does_not_know(self, verb: str) -> None:
        assert done(verb, "--help").out.startswith(f"Usage: versioning {verb}")
        assert "..." not in done(verb, "--help", COLUMNS="80").out
        refused(run(verb, "--no-such"), 2, "No such option", f"`versioning {verb} --help`")

    @pytest.mark.parametrize("width", ["80", "200"])
    def test_no_verb_is_cut_in_help(self, width: str) -> None:
        shown = done("--help", COLUMNS=width).out
        assert [name for name, one in cli.commands.items() if f"  {name} " not in shown or not one.short_help] == []
        assert [one.short_help for one in cli.commands.values() if len(str(one.short_help)) > 45] == []
        assert [one.short_help for one in cli.commands.values() if f"{one.short_help}\n" not in shown] == []
        assert [line for line in shown.splitlines() if line.endswith("...")] == [
            "Usage: versioning [OPTIONS] COMMAND [ARGS]..."
        ]

    def test_help_has_the_verbs_by_subject(self) -> None:
        shown = done("--help").out
        headings = ["Commands:", "Questions:", "Proof:", "Operating a store:"]
        assert [line for line in shown.splitlines() if line in headings] == headings

    def test_the_first_steps_of_help_work_as_they_stand_there(self) -> None:
        shown = done("--help", COLUMNS="80").out
        assert [line for line in FIRST_STEPS if f"  {line}\n" not in shown] == []
        answers = [done(*shlex.split(line)[1:]).lines for line in FIRST_STEPS]
        assert [lines[0][1] for lines in answers[:-1]] == ["0.1.0", "0.2.0", "0.2.0", "0.1.0"]
        assert [row[4] for row in answers[-1]][:2] == ["VersionPromoted", "VersionPromoted"]

    def test_an_error_says_where_to_read_more(self) -> None:
        deployed()
        assert run("rollback", NAME).err.splitlines()[-1] == "More: versioning explain R13"
        done("explain", "R13")
        assert "More: " not in run("ls", "--no-such").err
        Path("text.db").write_text("no database " * 1_000, encoding="utf-8")
        assert run("ls", "--url", "sqlite:///text.db").err.splitlines()[-1] == "More: versioning explain store"
        done("explain", "store")

    def test_without_a_verb_there_is_help_and_2(self) -> None:
        ran = run()
        assert (ran.code, ran.out, "Exit codes:" in ran.err) == (2, "", True)

    def test_an_unknown_verb_is_a_usage_error(self) -> None:
        refused(run("depoly"), 2, "No such command 'depoly'")

    def test_the_version(self) -> None:
        assert done("--version").out == f"versioning, version {versioning.__version__}\n"

    def test_with_json_an_error_is_a_problem_document(self) -> None:
        ran = run("ls", "--json")
        told = json.loads(ran.err)
        assert (ran.code, ran.out, told["code"], told["status"]) == (3, "", "not-found", 404)
        assert json.loads(run("ls", "--nl", "--no-such").err)["code"] == "invalid-argument"

    def test_help_shows_the_exit_codes(self) -> None:  # and that README does, test_readme.py says
        shown = done("--help").out
        assert [line for line in exit_code_lines() if line not in shown] == []
        assert len(exit_code_lines()) == len(EXIT_CODES) == 18

    def test_without_the_extra_it_says_in_one_line_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for missing in ("click", "rich.table"):
            monkeypatch.setattr(importlib, "import_module", _failing(ModuleNotFoundError(name=missing)))
            with pytest.raises(SystemExit) as ended:
                versioning.__main__.main()
            assert (ended.value.code, capsys.readouterr().err) == (2, f"{versioning.__main__.HINT}\n")
        monkeypatch.setattr(importlib, "import_module", _failing(ModuleNotFoundError(name="msgspec")))
        with pytest.raises(ModuleNotFoundError):
            versioning.__main__.main()

    def test_with_the_extra_it_hands_over(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["x", "--version"])
        with pytest.raises(SystemExit) as ended:
            versioning.__main__.main()
        assert (ended.value.code, capsys.readouterr().out[:10]) == (0, "versioning")

    def test_ctrl_c_ends_it_with_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Given, "open", interrupted)
        assert run("ls") == Ran(130, "", "\n")
        monkeypatch.setattr(importlib, "import_module", _failing(KeyboardInterrupt()))
        with pytest.raises(SystemExit) as ended:
            versioning.__main__.main()
        assert ended.value.code == 130

    def test_an_error_without_a_hint_is_told_without_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuses(*_: Any, **__: Any) -> None:
            msg = "It can't be."
            raise RefusedError(msg)

        monkeypatch.setattr(Given, "open", refuses)
        assert run("ls") == Ran(1, "", "Error: It can't be. [refused]\n")

    def test_where_stdout_is_not_utf_8_json_is_ascii_and_text_is_escaped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done("deploy", "modèle", URI, "--publish")
        for words, seen in ((("ls", "--json"), b'"mod\\u00e8le"'), (("ls",), b"mod\\xe8le\t")):
            written = io.BytesIO()
            monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
            with pytest.raises(SystemExit):
                cli.main(list(words))
            assert seen in written.getvalue()


def _failing(error: BaseException) -> Any:
    def import_module(_: str) -> None:
        raise error

    return import_module
