"""What only a process shows: pipes, signals, terminals, colours, and what a shell completes."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import runpy
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from tests.cli_tools import NAME, ROOT, URI, environment, incident, process, run, terminal
from versioning import ModelRegistry
from versioning.cli import cli, completion
from versioning.cli import tables as presentation
from versioning.cli.tables import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = "sqlite:///models.db"


@pytest.fixture(autouse=True)
def month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The month of the incident, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSIONING_URL", URL)
    monkeypatch.delenv("VERSIONING_WORKSPACE", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    incident(URL).close()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process believe that it writes to a terminal."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")


class TestPipes:
    def test_data_is_on_stdout_and_the_rest_on_stderr(self) -> None:
        ran = process("verify", VERSIONING_URL=URL)
        assert (ran.code, ran.out) == (5, "")
        assert "7 rows up to position 7" in ran.err
        ran = process("ls", VERSIONING_URL=URL)
        assert (ran.code, ran.err, ran.out.count("\t")) == (0, "", 4)

    def test_a_reader_that_goes_away_ends_it_quietly(self) -> None:
        with ModelRegistry(URL) as registry:
            for _ in range(400):
                registry.deploy(URI, model_name="many", reason="r" * 200)
        command = [sys.executable, "-m", "versioning", "log"]
        env = environment(VERSIONING_URL=URL)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            assert running.stdout.readline().startswith(b"407\t")
            running.stdout.close()
            assert running.wait(60) == 141
            assert running.stderr.read() == b""

    @pytest.mark.parametrize("buffering", [0, -1])
    def test_so_it_is_at_the_first_write_and_at_the_last(self, buffering: int, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        unbuffered: Any = os.fdopen(writing, "wb", buffering)
        with io.TextIOWrapper(unbuffered, encoding="utf-8", write_through=True) as stdout:
            monkeypatch.setattr(sys, "stdout", stdout)
            with pytest.raises(SystemExit) as ended:
                cli.main(["log"])
        assert ended.value.code == 141

    def test_a_full_disk_is_told(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        with Path("/dev/full").open("w", encoding="utf-8") as full:
            monkeypatch.setattr(sys, "stdout", full)
            with pytest.raises(SystemExit) as ended:
                cli.main(["ls"])
        assert (ended.value.code, "No space left" in capsys.readouterr().err) == (6, True)
        command = f"{sys.executable} -m versioning ls > /dev/full"
        ran = subprocess.run(  # noqa: S602 - our own words
            command, shell=True, capture_output=True, text=True, env=environment(VERSIONING_URL=URL), check=False
        )
        assert (ran.returncode, "Traceback" in ran.stderr) == (6, False)

    def test_streams_that_are_closed_are_none_to_fail_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("stdin", "stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        for words, code in ((["ls"], 0), (["delete", f"{NAME}@0.2.0"], 2), (["nonsense"], 2)):
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
            assert ended.value.code == code
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        assert run("delete", f"{NAME}@0.2.0", stdin=b"\xff\n").code == 1

    def test_the_module_runs_as_the_command_does(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delitem(sys.modules, "versioning.__main__", raising=False)
        monkeypatch.setattr(sys, "argv", ["versioning", "ls"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("versioning", run_name="__main__")
        assert (ended.value.code, capsys.readouterr().out[:5]) == (0, NAME)

    def test_ctrl_c_ends_it_with_130_and_without_a_traceback(self) -> None:
        listening = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # or a job of a
        listening += "runpy.run_module('versioning', run_name='__main__')"  # shell's background would not be told
        command = [sys.executable, "-c", listening, "delete", f"{NAME}@0.2.0"]
        how: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, env=environment(VERSIONING_URL=URL), **how) as running:
            assert running.stderr is not None
            assert running.stdin is not None
            seen = b""
            while b"[y/N]" not in seen:  # then it waits for an answer
                seen += os.read(running.stderr.fileno(), 4_096)
            for _ in range(100):  # one that comes just before it begins to wait is not noticed by Python
                running.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    assert running.wait(0.5) == 130
                    break
            assert running.returncode == 130
            assert b"Traceback" not in running.stderr.read()

    def test_an_error_is_a_sentence_and_a_code(self) -> None:
        ran = process("ls", "--url", "sqlite:///no.db")
        assert (ran.code, ran.out, ran.err.splitlines()[0]) == (
            3, "", "Error: There is no store at 'sqlite:///no.db'. [not-found]",
        )  # fmt: skip
        assert not Path("no.db").exists()

    def test_a_url_without_anything_in_it_is_not_the_default_store(self) -> None:
        ran = process("deploy", "oops", "s3://x", "--url", "")
        assert (ran.code, "has no scheme" in ran.err) == (2, True)

    @pytest.mark.parametrize("form", ["--json", "--nl", "--csv"])
    def test_a_file_that_is_there_is_not_written_over(self, form: str) -> None:
        Path("there").touch()
        ran = process("export", form, "-o", "there", VERSIONING_URL=URL)
        assert (ran.code, "already" in ran.err, Path("there").read_bytes()) == (2, True, b"")

    def test_words_that_are_not_utf_8_are_refused(self) -> None:
        command = [sys.executable.encode(), b"-m", b"versioning", b"deploy", b"a\xff", b"s3://x"]
        ran = subprocess.run(command, capture_output=True, env=environment(VERSIONING_URL=URL), check=False)
        assert (ran.returncode, b"half of a surrogate pair" in ran.stderr) == (2, True)

    def test_without_the_extra_one_line_says_what_to_install(self, tmp_path: Path) -> None:
        (tmp_path / "click.py").write_text("raise ModuleNotFoundError(name='click')", encoding="utf-8")
        command = [sys.executable, "-m", "versioning", "ls"]
        env = environment() | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        ran = subprocess.run(command, capture_output=True, env=env, check=False, text=True)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr == 'The command line needs the extra cli: pip install "model-versioning[cli]"\n'

    def test_the_warning_about_old_sqlite_stays_on_stderr(self) -> None:
        assert process("log", "-n", "1", VERSIONING_URL=URL).out.count("\n") == 1


class TestTerminals:
    def test_a_table_has_a_heading_and_colours(self) -> None:
        code, seen = terminal("ls", NAME, VERSIONING_URL=URL)
        assert code == 0
        assert "model name" in seen.splitlines()[0]
        assert "\x1b[1;32mprimary\x1b[0m" in seen

    @pytest.mark.parametrize("how", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
    def test_no_color_and_a_dumb_terminal_mean_no_escape_at_all(self, how: dict[str, Any]) -> None:
        for words in (["ls"], ["log"], ["log", "--oneline"], ["doctor"], ["usage"], ["show", NAME]):
            _, seen = terminal(*words, VERSIONING_URL=URL, **how)
            assert "\x1b" not in seen

    def test_a_terminal_that_knows_no_width_gets_a_table_too(self) -> None:
        code, seen = terminal("ls", VERSIONING_URL=URL, COLUMNS="0", NO_COLOR="1")
        assert (code, [line.split()[0] for line in seen.splitlines()[1:]][:1]) == (0, [NAME])
        code, seen = terminal("explain", "R13", COLUMNS="60")
        assert (code, max(len(line) for line in seen.splitlines() if not line.startswith(" ")) <= 60) == (0, True)

    @pytest.mark.usefixtures("shown")
    def test_log_names_the_command_that_found_all_as_it_asked(self) -> None:
        with ModelRegistry(URL) as registry:
            registry.promote(f"{NAME}@primary", idempotency_key="k")
        ran = run("log", "--oneline", "-n", "1", "--url", URL)
        assert "NothingChanged promote" in ran.out.replace("\x1b[0m", "")

    def test_log_has_arrows_and_marks_the_primary(self) -> None:
        code, seen = terminal("log", NAME, VERSIONING_URL=URL, NO_COLOR="1")
        assert (code, seen.splitlines()[2:4]) == (0, [
            "6 2025-03-14T14:21:00Z fraud 0.1.0 (primary) VersionPromoted primary 0.2.0 → 0.1.0",
            "    u-17 rolled back to 0.1.0 of fraud (was 0.2.0): ticket 4720",
        ])  # fmt: skip
        assert seen.count("(primary)") == 1
        _, seen = terminal("log", "--oneline", VERSIONING_URL=URL, NO_COLOR="1")
        assert seen.splitlines()[1:3] == [
            "6 2025-03-14T14:21:00Z fraud 0.1.0 (primary) VersionPromoted primary 0.2.0 → 0.1.0 by u-17: ticket 4720",
            "5 2025-03-14T13:58:00Z fraud 0.2.0 VersionPromoted primary 0.1.0 → 0.2.0 by u-08: ticket 4711",
        ]

    @pytest.mark.usefixtures("shown")
    def test_what_primary_means_is_shown_before_it_is_changed(self) -> None:
        ran = run("deactivate", f"{NAME}@primary", NO_COLOR="1")
        assert (ran.code, ran.err.startswith("fraud@primary is 0.1.0, ver_")) == (0, True)
        assert ran.out.splitlines()[0] == "8  somebody deactivated 0.1.0 of fraud"

    def test_delete_asks_on_a_terminal(self) -> None:
        code, seen = terminal("delete", f"{NAME}@0.2.0", typed=b"yes\n", VERSIONING_URL=URL, NO_COLOR="1")
        told = ["This would be recorded:", "for ever? [y/N]", "8  somebody deleted 0.2.0 of fraud"]
        assert (code, [one for one in told if one not in seen]) == (0, [])

    def test_a_log_or_a_picture_is_not_written_to_a_terminal(self) -> None:
        for words in (["export"], ["timeline", NAME]):
            code, seen = terminal(*words, VERSIONING_URL=URL)
            assert (code, "stdout is a terminal" in seen) == (2, True)

    @pytest.mark.usefixtures("shown")
    def test_tables_say_where_there_is_nothing(self) -> None:
        assert run("ls", "--workspace", "other").err == "There are no models.\n"
        assert run("log", "--workspace", "other").err == "There are no events.\n"
        ran = run("deploy", NAME, URI, "--actor", "u-1")
        assert "8  u-1 deployed 0.3.0 of fraud as a draft\n" in ran.out
        assert run("deactivate", f"{NAME}@0.2.0").err == "Nothing changed, so nothing was recorded.\n"
        assert "model name" in run("ls", NAME).out
        assert "(primary)" in run("log", NAME).out
        assert run("log", "--oneline", "-n", "1").out.count("\n") == 1
        assert "total " in (bill := run("usage", "--month", "2025-03").out)
        assert bill.endswith("), drawn up to 2025-04-01T00:00:00Z and position 8\n")
        assert "version_id           ver_" in run("show", f"{NAME}@0.1.0").out

    @pytest.mark.usefixtures("shown")
    def test_a_long_list_is_told_by_its_ends(self) -> None:
        for _ in range(5):
            run("deploy", NAME, URI)
        assert "0.1.0 0.3.0 0.4.0 0.5.0 0.6.0 0.7.0  " in run("ls").out
        run("deploy", NAME, URI)
        assert "0.1.0 0.3.0 … 0.8.0 (7)  " in run("ls").out

    @pytest.mark.usefixtures("shown")
    def test_what_takes_long_shows_how_far_it_has_come(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "verify" not in run("verify").err.split("rows")[0]
        monkeypatch.setattr(presentation, "PROGRESS_AFTER_S", -1.0)
        for words, seen in (
            (("verify",), "verify"),
            (("checkpoint", "-o", "then.json"), "checkpoint"),
            (("rebuild",), "models.2"),
            (("export", "-o", "log.ndjson"), "export"),
            (("import", "log.ndjson"), "check"),
            (("log",), "log"),
            (("export", "--csv", "-o", "rows.csv"), "export"),
        ):
            ran = run(*words)
            assert seen in ran.err.split("rows")[0], words
            assert "%" in ran.err
            assert "%" not in ran.out
        assert "%" not in run("export", "--csv").err
        progress = Progress()
        assert run("verify", "--json").json["count"] == 7
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        with progress:
            progress("twice", 1, 2)
            progress("twice", 2, 2)
        assert len(progress._tasks) == 1
        monkeypatch.setenv("TERM", "dumb")
        assert "%" not in run("verify").err

    def test_in_a_pipe_no_progress_is_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presentation, "PROGRESS_AFTER_S", -1.0)
        assert "%" not in run("verify").err
        with Progress() as progress:
            progress("x", 1, 2)


class TestCompletion:
    def completed(self, words: list[str], incomplete: str, shell: str = "zsh") -> list[str]:
        """What a shell gets for a word, as click's own protocol tells it."""
        env = {"_VERSIONING_COMPLETE": f"{shell}_complete", "COMP_CWORD": str(len(words) + 1)}
        env["COMP_WORDS"] = " ".join(["versioning", *words, incomplete])
        return run(**env).out.splitlines()[1::3]

    def test_verbs_options_and_choices(self) -> None:
        assert self.completed([], "depl") == ["deploy"]
        assert "--as-of" in self.completed(["ls"], "--as")
        assert self.completed(["deploy", "--activation"], "a") == ["awaited"]

    def test_names_and_numbers_come_from_the_store(self) -> None:
        with ModelRegistry(URL) as registry:
            registry.deploy(URI, model_name="fresh")
        assert self.completed(["rollback"], "fr") == ["fraud", "fresh"]
        assert self.completed(["promote"], "fra") == ["fraud@"]
        assert self.completed(["promote"], "fraud@") == ["fraud@primary", "fraud@0.2.0", "fraud@0.1.0"]
        assert self.completed(["show"], "fraud@0.1") == ["fraud@0.1.0"]
        assert self.completed(["show"], "fre") == ["fresh"]
        assert self.completed(["promote"], "fresh@") == ["fresh@0.1.0"]
        assert self.completed(["promote"], "nobody@") == []

    def test_the_place_that_the_line_names_counts(self) -> None:
        with ModelRegistry("sqlite:///other.db", workspace="w") as registry:
            registry.deploy(URI, model_name="elsewhere")
        assert self.completed(["--url", "sqlite:///other.db", "ls", "--workspace", "w"], "") == ["elsewhere"]

    def test_it_makes_nothing_and_says_nothing_where_there_is_no_store(self) -> None:
        for url in ("sqlite:///gone.db", "nonsense", "postgresql://nobody@127.0.0.1:1/x?connect_timeout_s=1"):
            ran = run(
                _VERSIONING_COMPLETE="zsh_complete", COMP_WORDS="versioning rollback ", COMP_CWORD="2",
                VERSIONING_URL=url,
            )  # fmt: skip
            assert (ran.code, ran.out.strip(), ran.err) == (0, "", "")
            assert self.completed(["--url", url, "promote"], "x@") == []
        assert not Path("gone.db").exists()

    def test_a_name_that_would_play_tricks_is_not_offered(self) -> None:
        with ModelRegistry(URL) as registry:
            registry.deploy(URI, model_name="fr\u202eaud")
        assert self.completed(["rollback"], "fr") == ["fraud"]
        assert self.completed(["show"], "fr\u202eaud@") == []

    def test_an_unknown_shell_is_refused(self) -> None:
        assert run(_VERSIONING_COMPLETE="tcsh_source").code == 1

    def test_bash_gets_the_rest_of_a_word_quoted(self) -> None:
        with ModelRegistry(URL) as registry:
            for name in ("My wonderful model", "it's; rm -rf", "a:b"):
                registry.deploy(URI, model_name=name)
        breaks = " \t\n\"'@><=;|&(:"
        for line, offered in (
            ("versioning rollback My", ["plain,My\\ wonderful\\ model"]),
            ("versioning rollback My\\ wond", ["plain,My\\ wonderful\\ model"]),
            ("versioning rollback 'My wond", ["plain,My\\ wonderful\\ model"]),
            ('versioning rollback "My wond', ["plain,My\\ wonderful\\ model"]),
            ("versioning rollback it", ["plain,it\\'s\\;\\ rm\\ -rf"]),
            ("versioning rollback a:", ["plain,b"]),
            ("versioning promote fra", ["name,fraud@"]),
            ("versioning promote fraud@0.1", ["plain,@0.1.0"]),
            ("versioning timeline -o ", ["file,"]),
            ("versioning show fraud@0.1.0 --as-of ", [""]),
        ):
            env = {"_VERSIONING_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_BREAKS": breaks}
            assert run(**env, COMP_POINT=str(len(line))).out.splitlines() == offered, line
        assert [completion._unquoted(typed) for typed in ("a\\", "a\\\\", "'a\"b", '"a b')] == [
            "a",
            "a\\",
            'a"b',
            "a b",
        ]

    def test_a_store_that_is_there_is_opened_as_given(self) -> None:
        context = click.Context(cli)
        context.params["url"] = URL
        assert [item.value for item in completion.complete_names(context, cli.params[0], "f")] == [NAME]

    @pytest.fixture
    def shell(self, tmp_path: Path) -> Iterator[tuple[int, int]]:
        """A bash on a terminal, with the script of the completion; its terminal, and its process."""
        folder = tmp_path / "bin"
        folder.mkdir()
        script = folder / "versioning"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m versioning "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        env = environment(VERSIONING_URL=URL, TERM="dumb", PS1="$ ", INPUTRC=os.devnull)
        env["PATH"] = f"{folder}{os.pathsep}{env['PATH']}"
        process_id, descriptor = pty.fork()
        if process_id == 0:  # pragma: no cover - another program from here on
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], env)  # noqa: S606, S607 - the user's own bash
        yield descriptor, process_id
        os.close(descriptor)
        os.kill(process_id, signal.SIGKILL)
        os.waitpid(process_id, 0)

    def test_in_a_real_bash(self, shell: tuple[int, int]) -> None:
        descriptor, _ = shell

        def typed(text: bytes, until: bytes) -> bytes:
            os.write(descriptor, text)
            seen, end = b"", time.monotonic() + 60
            while until not in seen:
                ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
                assert ready, seen
                seen += os.read(descriptor, 4_096)
            return seen

        typed(b'bind "set enable-bracketed-paste off"; bind "set bell-style none"\n', b"none")
        typed(b'eval "$(_VERSIONING_COMPLETE=bash_source versioning)"; echo rea""dy\n', b"ready")
        typed(b"versioning resolve fraud@0.1\t", b"0.1.0 ")
        typed(b"\n", b"published")
        typed(b"versioning promote fra\t", b"fraud@")
