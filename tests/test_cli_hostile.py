"""No control, escape or bidi character of the data reaches a terminal: in every field, of every verb, in every form."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click.testing
import pytest

from tests.cli_tools import Ran, run, terminal
from versioning import ModelRegistry, Policy
from versioning.cli import cli
from versioning.cli import tables as presentation

CONTROLS: Final = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
BIDI: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSEEN: Final = "\u200b\u200c\u200d\u2028\u2029\u2060\ufeff\U000e0001\U000e0041"
ATTACK: Final = "\x1b[2J\x1b]0;owned\x07\x1b[31m"
ANYTHING: Final = f"a{CONTROLS}{BIDI}{UNSEEN}{ATTACK}z"
UNCONTROLLED: Final = f"a{BIDI}{UNSEEN}[red]=cmd()z"
"""What names, actors, keys, workspaces and references may hold."""
FORBIDDEN: Final = frozenset(CONTROLS + BIDI + UNSEEN)
PLACE: Final = "sqlite:///models.db?durability=checkpoint"
KEY: Final[dict[str, Any]] = {"idempotency_key": UNCONTROLLED}
WHY: Final[dict[str, Any]] = {"actor": UNCONTROLLED, "reason": ANYTHING, "correlation_id": ANYTHING}
FORMS: Final = ("text", "terminal", "json", "nl", "csv")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every field holds whatever the library accepts there."""
    folder = tmp_path_factory.mktemp("hostile")
    awaited = Policy(activation="awaited")
    with ModelRegistry(folder / "models.db", workspace=UNCONTROLLED, policy=awaited) as registry:
        metadata = {ANYTHING: [ANYTHING, {ANYTHING: None}]}
        how: dict[str, Any] = {"model_name": UNCONTROLLED, "metadata": metadata, **WHY}
        first = registry.deploy(UNCONTROLLED, publish=True, **KEY, **how)
        registry.complete_activation(first.version_id, str(first.activation_id), **WHY)
        second = registry.deploy(UNCONTROLLED, publish=True, **how)
        registry.fail_activation(second.version_id, str(second.activation_id), error=ANYTHING, **WHY)
        registry.deploy(UNCONTROLLED, **how)
        registry.deploy(b"contents", **how)
        registry.checkpoint().write(folder / "then.json")
        registry.export(folder / "log.ndjson")
    return folder


@pytest.fixture
def here(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("VERSIONING_URL", PLACE)
    monkeypatch.setenv("VERSIONING_WORKSPACE", UNCONTROLLED)
    monkeypatch.delenv("VERSIONING_ACTOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")  # so that every escape that is seen is one of the data
    monkeypatch.setenv("COLUMNS", "200")


FIRST, SECOND, THIRD = (f"{UNCONTROLLED}@0.{minor}.0" for minor in (1, 2, 3))
DRY: Final = ["--dry-run", "--actor", UNCONTROLLED, "--reason", ANYTHING, "--correlation-id", ANYTHING]
CALLS: Final[dict[str, list[str]]] = {
    "deploy": [
        "deploy",
        UNCONTROLLED,
        UNCONTROLLED,
        "--reference",
        "--metadata",
        json.dumps({ANYTHING: ANYTHING}),
        *DRY,
    ],
    "publish": ["publish", THIRD, *DRY],
    "promote": ["promote", FIRST, *DRY],
    "clear-primary": ["clear-primary", UNCONTROLLED, *DRY],
    "deactivate": ["deactivate", FIRST, *DRY],
    "activate": ["activate", SECOND, *DRY],
    "complete-activation": ["complete-activation", THIRD, *DRY],
    "fail-activation": ["fail-activation", THIRD, "--error", ANYTHING, *DRY],
    "delete": ["delete", FIRST, *DRY],
    "delete, asked": ["delete", FIRST],
    "ls": ["ls"],
    "ls of a model": ["ls", UNCONTROLLED, "--all"],
    "show of a model": ["show", UNCONTROLLED],
    "show of a version": ["show", SECOND],
    "resolve": ["resolve", UNCONTROLLED],
    "log": ["log"],
    "log, short": ["log", "--oneline"],
    "replay": ["replay", UNCONTROLLED],
    "diff": ["diff", "0"],
    "usage": ["usage"],
    "timeline": ["timeline", UNCONTROLLED],
    "fetch": ["fetch", f"{UNCONTROLLED}@0.4.0", UNCONTROLLED, "--overwrite"],
    "verify": ["verify", "--checkpoint", "then.json"],
    "checkpoint": ["checkpoint"],
    "backup": ["backup", f"copy{UNCONTROLLED}"],
    "cloud events": ["export", "--cloud-events"],
    "export of rows": ["export"],
    "import": ["import", "log.ndjson", "--dry-run"],
    "rebuild": ["rebuild", "--dry-run"],
    "migrate": ["migrate", "--dry-run"],
    "doctor": ["doctor"],
    "skip": ["skip", "1", *DRY[1:5]],
    "collect": ["collect", "--yes"],
    "explain": ["explain"],
    "explain one": ["explain", "R13"],
}
REFUSED: Final[dict[str, list[str]]] = {
    "a model that is not there": ["show", f"{UNCONTROLLED}x"],
    "a name with controls": ["deploy", ANYTHING, "s3://x"],
    "no artifact": ["deploy", UNCONTROLLED, ANYTHING],
    "no verb": [ANYTHING],
    "no word": ["explain", ANYTHING],
    "nothing to skip": ["skip", ANYTHING],
    "no option": ["ls", f"--{ANYTHING}"],
    "too many words": ["ls", UNCONTROLLED, ANYTHING],
    "no choice": ["deploy", "x", "s3://x", "--activation", ANYTHING],
    "no moment": ["ls", "--as-of", ANYTHING],
    "no month": ["usage", "--month", ANYTHING],
    "no metadata": ["deploy", "x", "s3://x", "--metadata", ANYTHING],
    "no store": ["ls", "--url", f"sqlite:///{UNCONTROLLED}"],
    "no url": ["ls", "--url", ANYTHING],
    "no checkpoint": ["verify", "--checkpoint", f"{UNCONTROLLED}"],
    "no such folder": ["fetch", f"{UNCONTROLLED}@0.4.0", f"no/{ANYTHING.replace(chr(0), '')}"],
    "no file": ["import", UNCONTROLLED],
    "no place for a backup": ["backup", f"no/{ANYTHING.replace(chr(0), '')}"],
    "no folder": ["timeline", UNCONTROLLED, "-o", f"no/{ANYTHING.replace(chr(0), '')}"],
    "a rule": ["promote", SECOND],
    "a model and a version": ["rollback", FIRST],
    "a key that was used": ["deploy", UNCONTROLLED, "s3://x", "--idempotency-key", UNCONTROLLED],
    "an activation": ["complete-activation", THIRD, ANYTHING],
}


def asked(words: list[str], form: str, monkeypatch: pytest.MonkeyPatch) -> Ran:
    if form == "terminal":
        monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda _: True, raising=False)
    return run(*words, *([] if form in {"text", "terminal"} else [f"--{form}"]), stdin="n\n")


def reached(ran: Ran, form: str) -> set[str]:
    """The characters that would reach the terminal and should not."""
    ours = {"\n", "\t"} if form == "text" else {"\n"}
    return (set(ran.out) & FORBIDDEN - ours) | (set(ran.err) & FORBIDDEN - {"\n"})


def takes(words: list[str], form: str) -> bool:
    """Whether a verb has a form."""
    json_only = words[0] in {
        "timeline",
        "fetch",
        "checkpoint",
        "backup",
        "import",
        "rebuild",
        "migrate",
        "skip",
        "collect",
    }
    if words[0] == "export":
        return form in ({"text", "terminal"} if "--cloud-events" in words else {"json", "nl", "csv"})
    return form in ({"text", "terminal", "json"} if json_only else FORMS) and (words[0], form) != (
        "timeline",
        "terminal",
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("call", CALLS)
def test_what_a_verb_says_is_printable(call: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = CALLS[call]
    if not takes(words, form):
        assert form in {"text", "terminal"} or run(*words, f"--{form}").code == 2
        return
    if call == "backup":
        Path(words[1]).unlink(missing_ok=True)
    ran = asked(words, form, monkeypatch)
    assert reached(ran, form) == set()
    assert ran.code == (1 if call == "delete, asked" else 0), ran
    assert ran.out or ran.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("call", REFUSED)
def test_what_a_refusal_says_is_printable(call: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = asked(REFUSED[call], form, monkeypatch)
    assert reached(ran, form) == set()
    assert ran.code in {1, 2, 3, 6}, ran
    assert ran.err


def test_every_verb_is_asked() -> None:
    asked_for = {words[0] for words in (*CALLS.values(), *REFUSED.values())}
    assert set(cli.commands) - asked_for == set()


@pytest.mark.usefixtures("here")
def test_json_holds_the_very_texts_as_escapes() -> None:
    (told,) = [one for one in run("log", "--json").json if one["event"] == "VersionActivationFailed"]
    assert (told["model_name"], told["facts"]["error"], told["reason"], told["actor"]) == (
        UNCONTROLLED, ANYTHING, ANYTHING, UNCONTROLLED,
    )  # fmt: skip
    assert run("show", FIRST, "--json").json["metadata"] == {ANYTHING: [ANYTHING, {ANYTHING: None}]}


@pytest.mark.usefixtures("here")
def test_csv_is_no_formula() -> None:
    assert not re.search(r'(^|,)"?[=+\-@]', run("log", "--csv").out, re.MULTILINE)


@pytest.mark.usefixtures("here")
def test_a_log_is_not_exported_to_a_terminal_since_its_bytes_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = asked(["export"], "terminal", monkeypatch)
    assert (ran.code, ran.out, "-o log.ndjson" in ran.err) == (2, "", True)
    assert asked(["timeline", UNCONTROLLED], "terminal", monkeypatch).code == 2


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", [["log"], ["ls"], ["show", SECOND], ["doctor"]], ids=lambda words: str(words[0]))
def test_on_a_real_terminal_too(words: list[str]) -> None:
    _, seen = terminal(
        *words, cwd=Path(), NO_COLOR="1", VERSIONING_URL=PLACE, VERSIONING_WORKSPACE=UNCONTROLLED, COLUMNS="200"
    )
    assert set(seen) & FORBIDDEN == {"\n"}


def test_what_is_found_in_a_log_that_somebody_wrote_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSIONING_URL", "sqlite:///models.db")
    monkeypatch.delenv("VERSIONING_WORKSPACE", raising=False)
    with ModelRegistry("sqlite:///models.db") as registry:
        for name in ("a", "b", "c", "d"):
            registry.deploy("s3://x", model_name=name)
    with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
        for column, position in (("originator_id", 1), ("topic", 2), ("state", 3)):
            file.execute(f"UPDATE stored_events SET {column}=? WHERE rowid=?", (ANYTHING.replace("\0", ""), position))
    Path("log.ndjson").write_text(f'{{"format":"{ANYTHING}"}}\n', encoding="utf-8", newline="")
    for words in (["verify"], ["doctor"], ["log"], ["ls"], ["show", "b"], ["rebuild"], ["import", "log.ndjson"]):
        for form in ("text", "json"):
            ran = asked(words, form, monkeypatch)
            assert reached(ran, form) == set(), words
            assert ran.code, words


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("room", "what"), [("plain", "text"), ("plain", "terminal"), ("json_text", "json")])
def test_without_the_room_that_makes_texts_printable_these_tests_fail(
    room: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(value: object, **_: object) -> str:
        return str(value) if room == "plain" else json.dumps(value, ensure_ascii=False, default=str)

    monkeypatch.setattr(presentation, room, careless)
    found = reached(asked(["show", SECOND], what, monkeypatch), what)
    assert found >= set(BIDI)
