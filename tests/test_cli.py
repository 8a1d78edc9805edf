"""What does each verb show, as text and as JSON, what does it refuse, and what does it end with?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import importlib
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import versioning.__main__
from tests import stores
from tests.cli_tools import NAME, URI, Ran, done, incident, run
from tests.stores import Store, facts
from versioning import ConcurrencyError, ModelRegistry
from versioning.cli import cli
from versioning.cli.options import EXIT_CODES, Given, exit_code_lines
from versioning.cli.tables import CHANGES, CHECKS, EVENTS, FINDINGS, MODELS, PREVIEWED, REPLAYED, USAGE, VERSIONS

shared_store = stores.shared_store
PLACE = "sqlite:///models.db?durability=checkpoint"
VERBS = [
    "deploy", "publish", "promote", "rollback", "deactivate", "activate", "complete-activation", "fail-activation",
    "delete", "ls", "show", "log", "replay", "diff", "resolve", "usage", "timeline", "verify", "checkpoint", "export",
    "import", "rebuild", "migrate", "doctor",
]  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of its own, and a store that VERSIONING_URL names and that is not there yet."""
    for name in [name for name in os.environ if name.startswith("VERSIONING_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSIONING_URL", PLACE)
    return PLACE


def opened(**how: Any) -> ModelRegistry:
    return ModelRegistry(PLACE, **how)


def happened() -> list[str]:
    with opened() as registry:
        return facts(registry.history())


def deployed(*words: str) -> str:
    """Deploy; give the version_id."""
    return str(done("deploy", NAME, URI, *words, "--json").json["version_id"])


def refused(ran: Ran, code: int, *said: str) -> None:
    """See an exit code, one sentence with its code and a hint on stderr, and nothing on stdout."""
    assert (ran.code, ran.out) == (code, ""), ran
    assert ran.err.startswith("Error: ")
    assert all(one in ran.err for one in said), ran.err
    assert "Hint: " in ran.err
    assert "Traceback" not in ran.err


class TestCommands:
    def test_deploy_gives_a_line_with_the_version(self) -> None:
        ran = done("deploy", NAME, URI, "--publish", "--actor", "u-1", "--reason", "first")
        ((name, number, stage, status, role, version_id, activation),) = ran.lines
        assert (name, number, stage, status, role, activation) == (NAME, "0.1.0", "published", "active", "primary", "")
        assert version_id.startswith("ver_")
        assert ran.err == ""
        with opened() as registry:
            assert {(one.actor, one.reason) for one in registry.history()} == {("u-1", "first")}

    def test_deploy_gives_json_with_what_was_recorded(self) -> None:
        told = done("deploy", NAME, URI, "--publish", "--metadata", '{"auc": 0.9}', "--json").json
        assert [*told][:-1] == list(VERSIONS.columns)
        assert [one["event"] for one in told["recorded"]] == ["VersionDeployed", "VersionPromoted"]
        assert (told["metadata"], told["is_primary"], told["artifact_uri"]) == ({"auc": 0.9}, True, URI)
        assert list(told["recorded"][0]) == list(EVENTS.columns)

    def test_deploy_keeps_the_contents_of_a_file(self) -> None:
        Path("model.bin").write_bytes(b"weights")
        told = done("deploy", NAME, "model.bin", "--serializer", "bytes", "--json").json
        assert told["artifact_uri"] == f"sha256:{told['artifact_digest']}"
        with opened() as registry:
            registry.publish(told["version_id"])
            assert registry.load(NAME, trusted=True) == b"weights"

    def test_deploy_takes_any_text_for_a_reference_where_it_is_told_so(self) -> None:
        Path("model.bin").write_bytes(b"weights")
        told = done("deploy", NAME, "model.bin", "--reference", "--json").json
        assert (told["artifact_uri"], told["artifact_digest"]) == ("model.bin", None)

    def test_deploy_refuses_what_is_neither_a_file_nor_a_uri_and_makes_no_store(self) -> None:
        Path("folder").mkdir()
        refused(run("deploy", NAME, "modle.bin"), 2, "neither a file that is there nor a URI", "--reference")
        refused(run("deploy", NAME, "folder"), 2, "is a folder", "Pack it")
        refused(run("deploy", NAME, "x" * 5_000), 2, "can't be the name of a file")
        assert not Path("models.db").exists()

    @pytest.mark.parametrize("text", ["{", "[1]", "NaN", '{"a": NaN}', "[" * 100_000, '"x"'])
    def test_deploy_refuses_metadata_that_is_no_json_object(self, text: str) -> None:
        refused(run("deploy", NAME, URI, "--metadata", text), 2, "metadata")

    def test_deploy_refuses_a_bump_that_is_none(self) -> None:
        refused(run("deploy", NAME, URI, "--bump", "micro"), 2, "[invalid-bump, R2]")

    def test_deploy_says_in_its_own_words_that_promote_needs_publish(self) -> None:
        refused(run("deploy", NAME, URI, "--promote"), 2, "--promote can't stand without --publish", "Say --publish")

    def test_the_library_s_words_for_an_unclaimed_publication(self) -> None:
        done("deploy", NAME, URI, "--publish", "--no-promote")
        done("deploy", NAME, URI, "--publish", "--no-promote")
        assert done("ls").lines[0][:2] == [NAME, "0.1.0"]

    def test_publish_promote_and_rollback_move_the_primary(self) -> None:
        deployed("--publish")
        deployed()
        assert done("publish", f"{NAME}@0.2.0").lines[0][1:5] == ["0.2.0", "published", "active", "primary"]
        assert done("rollback", NAME).lines[0][1] == "0.1.0"
        assert done("promote", f"{NAME}@0.2.0").lines[0][4] == "primary"
        refused(run("promote", NAME), 2, "names a model, and a version is asked for", "NAME@primary")
        refused(run("promote", f"{NAME}@^0.1"), 2, "is a range", "`resolve`")
        refused(run("promote", f"{NAME}@9.9.9"), 3, "[version-not-found, R24]", "`ls NAME` lists")
        refused(run("rollback", f"{NAME}@0.1.0"), 2, "names a version, and a model is asked for")
        refused(run("rollback", "frauds"), 3, "Did you mean 'fraud'?")

    def test_publish_without_a_claim(self) -> None:
        deployed("--publish")
        deployed()
        assert done("publish", f"{NAME}@0.2.0", "--no-promote").lines[0][4] == ""

    def test_what_is_so_already_is_told_and_ends_with_0(self) -> None:
        deployed("--publish")
        ran = done("publish", f"{NAME}@0.1.0")
        assert ran.err == "It is so already: nothing was recorded.\n"
        assert done("publish", f"{NAME}@0.1.0", "--json").json["recorded"] == []

    def test_deactivate_and_activate(self) -> None:
        version_id = deployed("--publish")
        assert done("deactivate", version_id).lines[0][3] == "inactive"
        refused(run("promote", version_id), 1, "[version-not-active, R8]")
        assert done("activate", version_id).lines[0][3] == "active"

    def test_the_primary_that_was_looked_up_is_expected_so_that_none_moves_meanwhile(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = deployed("--publish")
        deployed("--publish")
        asked = ModelRegistry.resolve

        def moved_behind(self: ModelRegistry, *words: Any) -> Any:
            found = asked(self, *words)
            self.promote(first)
            return found

        monkeypatch.setattr(ModelRegistry, "resolve", moved_behind)
        refused(run("deactivate", f"{NAME}@primary"), 1, "[primary-moved, R22]")

    def test_an_expected_primary_is_a_number_an_id_or_none(self) -> None:
        first = deployed("--publish")
        deployed("--publish")
        refused(run("promote", first, "--expected-primary", "none"), 1, "[primary-moved, R22]")
        refused(run("promote", first, "--expected-primary", first), 1, "[primary-moved, R22]")
        refused(run("rollback", NAME, "--expected-primary", "0.1.0"), 1, "[primary-moved, R22]")
        refused(run("rollback", NAME, "--expected-primary", "x"), 2, "not a semantic version")
        assert done("rollback", NAME, "--expected-primary", "0.2.0").lines[0][1] == "0.1.0"

    def test_an_awaited_activation_is_answered_with_or_without_its_id(self) -> None:
        awaited = ("--activation", "awaited")
        told = done("deploy", NAME, URI, "--publish", *awaited, "--json").json
        assert (told["status"], told["activation_id"][:4]) == ("activating", "act_")
        assert done("complete-activation", f"{NAME}@0.1.0", told["activation_id"]).lines[0][3] == "active"
        refused(run("complete-activation", f"{NAME}@0.1.0"), 1, "so no answer is waited for", "R15")
        stale = done("fail-activation", f"{NAME}@0.1.0", told["activation_id"], "--error", "late")
        assert "nothing was recorded" in stale.err
        done("deactivate", f"{NAME}@0.1.0")
        done("activate", f"{NAME}@0.1.0", *awaited)
        failed = done("fail-activation", f"{NAME}@0.1.0", "--error", "no room", "--json").json
        assert (failed["status"], failed["failure"]) == ("inactive", "no room")
        refused(run("complete-activation", f"{NAME}@0.1.0", "x"), 2, "[invalid-argument, R15]")
        refused(run("fail-activation", f"{NAME}@0.1.0"), 2, "--error", "`versioning fail-activation --help`")

    def test_the_policy_is_an_option_or_of_the_environment(self) -> None:
        deployed("--publish")
        deployed("--publish")
        refused(run("deactivate", f"{NAME}@primary", "--losing-primary", "refuse"), 1, "[primary-protected, R11]")
        refused(run("deactivate", f"{NAME}@primary", VERSIONING_LOSING_PRIMARY="refuse"), 1, "R11")
        assert done("deploy", NAME, URI, VERSIONING_ACTIVATION="awaited").lines[0][3] == "activating"
        assert done("deploy", NAME, URI, "--publish", "--no-publishing-claims").lines[0][4] == ""
        assert done("deploy", NAME, URI, "--publish", VERSIONING_PUBLISHING_CLAIMS="false").lines[0][4] == ""
        assert done("deploy", NAME, URI, "--publish", "--publishing-claims").lines[0][4] == "primary"
        refused(run("deploy", NAME, URI, "--activation", "later"), 2, "instant")

    def test_who_and_why_are_recorded_and_nobody_where_nobody_is_named(self) -> None:
        deployed("--actor", "u-1", "--reason", "r", "--idempotency-key", "k", "--correlation-id", "c")
        done("publish", f"{NAME}@0.1.0", VERSIONING_ACTOR="u-2")
        done("deactivate", f"{NAME}@0.1.0", USER="root", LOGNAME="root")
        with opened() as registry:
            first, published, _, deactivated = (one for one in registry.history() if "Cleared" not in str(one.event))
        assert (first.actor, first.reason, first.idempotency_key, first.correlation_id) == ("u-1", "r", "k", "c")
        assert (published.actor, deactivated.actor) == ("u-2", None)

    def test_an_idempotency_key_does_a_thing_once(self) -> None:
        first = deployed("--idempotency-key", "k")
        assert deployed("--idempotency-key", "k") == first
        refused(run("deploy", NAME, f"{URI}/2", "--idempotency-key", "k"), 1, "[idempotency-conflict, R21]")

    def test_others_that_are_faster_end_it_with_4(self, monkeypatch: pytest.MonkeyPatch) -> None:
        deployed("--publish")

        def never(*_: Any, **__: Any) -> None:
            msg = "Others were faster."
            raise ConcurrencyError(msg)

        monkeypatch.setattr(ModelRegistry, "rollback", never)
        refused(run("rollback", NAME), 4, "[concurrency, R22]")


class TestDelete:
    def test_it_asks_and_says_what_would_follow(self) -> None:
        deployed("--publish")
        deployed("--publish")
        ran = run("delete", f"{NAME}@0.2.0", stdin="n\n")
        assert (ran.code, ran.out) == (1, "")
        assert "somebody made 0.1.0 of fraud primary (was 0.2.0) as the fallback" in ran.err
        assert "Delete 0.2.0 of fraud for ever? [y/N]" in ran.err
        assert "[refused]" in ran.err
        assert "VersionDeleted" not in happened()
        assert done("delete", f"{NAME}@0.2.0", stdin="y\n").lines[0][3] == "deleted"
        assert happened()[-2:] == ["VersionDeleted", "VersionPromoted"]

    def test_where_nobody_answers_nothing_is_deleted(self) -> None:
        deployed()
        ran = run("delete", f"{NAME}@0.1.0", stdin="")
        assert ran.code == 2
        assert "Say --yes" in ran.err
        assert happened() == ["VersionDeployed"]

    def test_yes_answers_beforehand(self) -> None:
        deployed()
        assert done("delete", f"{NAME}@0.1.0", "--yes", "--json").json["status"] == "deleted"
        refused(run("activate", f"{NAME}@0.1.0"), 3, "[model-not-found, R24]")

    def test_what_is_refused_is_not_asked_about(self) -> None:
        version_id = deployed()
        deployed()
        done("delete", version_id, "-y")
        ran = run("delete", version_id, stdin="y\n")
        assert (ran.code, "[y/N]" in ran.err, "[version-deleted, R17]" in ran.err) == (1, False, True)

    def test_a_whole_model_goes_with_all_only(self) -> None:
        deployed("--publish")
        deployed()
        refused(run("delete", NAME, "--yes"), 2, "names a model", "--all for the whole model")
        refused(run("delete", f"{NAME}@0.1.0", "--all", "--yes"), 2, "--all deletes a whole model")
        refused(run("delete", NAME, "--all", "--yes", "--expected-primary", "none"), 2, "--all deletes a whole model")
        assert "all versions of fraud for ever?" in run("delete", NAME, "--all", stdin="\n").err
        assert [one["event"] for one in done("delete", NAME, "--all", "--dry-run", "--json").json][-1] == "ModelDeleted"
        gone = done("delete", NAME, "--all", "--yes", "--json").json
        assert (gone["name"], gone["versions"], gone["recorded"][-1]["event"]) == (NAME, [], "ModelDeleted")
        refused(run("delete", NAME, "--all", "--yes"), 3, "[model-not-found, R24]")

    def test_its_help_says_what_deleting_leaves_behind(self) -> None:
        told = " ".join(done("delete", "--help").out.split())
        assert "The facts stay in the log for ever" in told
        assert "collect_artifacts()" in told
        assert "personal data" in told


class TestDryRun:
    """On every command, and nothing is recorded, made or asked."""

    def test_of_a_first_deployment_without_a_store(self) -> None:
        Path("model.bin").write_bytes(b"weights")
        ran = done("deploy", NAME, "model.bin", "--publish", "--dry-run")
        assert ran.lines == [
            ["VersionDeployed", NAME, "0.1.0", "version", "", "published, active"],
            ["VersionPromoted", NAME, "0.1.0", "primary", "", "0.1.0"],
        ]
        assert sorted(path.name for path in Path().iterdir()) == ["model.bin"]

    @pytest.mark.parametrize(
        ("words", "events"),
        [
            (("deploy", NAME, URI, "--publish"), ["VersionDeployed", "VersionPromoted"]),
            (("publish", f"{NAME}@0.3.0"), ["VersionPublished", "VersionPromoted"]),
            (("promote", f"{NAME}@0.1.0"), ["VersionPromoted"]),
            (("rollback", NAME), ["VersionPromoted"]),
            (("deactivate", f"{NAME}@primary"), ["VersionDeactivated", "VersionPromoted"]),
            (("activate", f"{NAME}@0.4.0"), ["VersionActivated"]),
            (("complete-activation", f"{NAME}@0.5.0"), ["VersionActivated"]),
            (("fail-activation", f"{NAME}@0.5.0", "--error", "x"), ["VersionActivationFailed"]),
            (("delete", f"{NAME}@0.2.0"), ["VersionDeleted", "VersionPromoted"]),
            (("publish", f"{NAME}@0.1.0"), []),
        ],
        ids=str,
    )
    def test_of_every_command(self, words: tuple[str, ...], events: list[str]) -> None:
        deployed("--publish")
        deployed("--publish")
        deployed()
        done("deactivate", deployed())
        deployed("--activation", "awaited")
        before = happened()
        told = done(*words, "--dry-run", "--json").json
        assert [one["event"] for one in told] == events
        assert all(list(one) == list(PREVIEWED.columns) for one in told)
        assert happened() == before
        assert [line[0] for line in done(*words, "--dry-run").lines] == events

    def test_a_name_is_told_as_it_would_be_stored(self) -> None:
        assert done("deploy", "cafe\u0301", URI, "--dry-run").lines[0][1] == "caf\u00e9"
        done("deploy", "cafe\u0301", URI)
        assert done("deploy", "cafe\u0301", URI, "--dry-run").lines == [
            ["VersionDeployed", "caf\u00e9", "0.2.0", "version", "", "draft, active"]
        ]

    def test_a_refusal_is_a_refusal(self) -> None:
        refused(run("publish", f"{NAME}@0.1.0", "--dry-run"), 3, "There is no store")
        deployed()
        refused(run("rollback", NAME, "--dry-run"), 1, "R13")
        refused(run("rollback", "nobody", "--dry-run"), 3, "R24")


class TestQuestions:
    @pytest.fixture(autouse=True)
    def month(self) -> None:
        incident(PLACE).close()

    def test_ls_lists_models_and_versions(self) -> None:
        ((name, primary, active, billable, model_id),) = done("ls").lines
        assert (name, primary, active, billable) == (NAME, "0.1.0", "0.1.0", "0.1.0")
        assert model_id.startswith("mdl_")
        assert [line[1] for line in done("ls", NAME).lines] == ["0.1.0", "0.2.0"]
        assert [line[1] for line in done("ls", model_id).lines] == ["0.1.0", "0.2.0"]
        (told,) = done("ls", "--json").json
        assert list(told) == list(MODELS.columns)
        assert told["versions"] == ["0.1.0", "0.2.0"]
        assert [list(one) for one in done("ls", NAME, "--json").json] == [list(VERSIONS.columns)] * 2

    def test_ls_takes_pages_and_shows_deleted_versions_where_asked(self) -> None:
        done("deploy", "a", URI)
        done("deploy", "z", URI)
        assert [line[0] for line in done("ls", "-n", "1").lines] == ["a"]
        assert [line[0] for line in done("ls", "--after", NAME).lines] == ["z"]
        done("delete", f"{NAME}@0.2.0", "--yes")
        assert [line[1] for line in done("ls", NAME).lines] == ["0.1.0"]
        assert [line[3] for line in done("ls", NAME, "--all").lines] == ["active", "deleted"]

    def test_every_question_answers_as_of_a_position_or_a_moment(self) -> None:
        moment = "2025-03-14T14:03:00Z"
        for when, primary in ((moment, "0.2.0"), ("5", "0.2.0"), ("2025-03-14T15:00:00+02:00", "0.1.0")):
            assert done("ls", "--as-of", when).lines[0][1] == primary
            assert done("ls", NAME, "--as-of", when).lines[0][0] == NAME
            assert done("show", f"{NAME}@primary", "--as-of", when, "--json").json["number"] == primary
            assert done("resolve", NAME, "--as-of", when).lines[0][1] == primary
        assert done("log", NAME, "--as-of", "5").lines[0][0] == "5"
        assert done("replay", NAME, "--as-of", "5").lines[-1][0] == "5"
        assert done("usage", "--month", "2025-03", "--as-of", "2", "--json").json["position"] == 2
        assert "position 5" in done("timeline", NAME, "--as-of", "5", "--svg").out

    @pytest.mark.parametrize("verb", ["ls", "show", "resolve", "log", "replay", "usage", "timeline"])
    def test_a_moment_without_a_time_zone_or_in_the_future_is_a_usage_error(self, verb: str) -> None:
        words = (verb, NAME) if verb in {"show", "resolve", "timeline"} else (verb,)
        refused(run(*words, "--as-of", "2025-03-14T14:03"), 2, "has no time zone", "Write 2026-01-31T14:03:00Z")
        refused(run(*words, "--as-of", "yesterday"), 2, "is not a moment")
        refused(run(*words, "--as-of", "99"), 2, "[invalid-argument, R25]")

    def test_show_tells_all_of_a_model_or_a_version(self) -> None:
        version = dict(line for line in done("show", f"{NAME}@0.1.0").lines)
        assert (version["number"], version["is_primary"], version["deployed_by"]) == ("0.1.0", "yes", "u-17")
        assert version["allowed"] == "publish promote deactivate activate delete"
        told = done("show", f"{NAME}@0.1.0", "--json").json
        assert [*told] == [*VERSIONS.columns, "allowed"]
        assert done("show", NAME, "--json").json["primary"] == "0.1.0"
        assert done("show", version["version_id"], "--nl").json["number"] == "0.1.0"
        assert done("show", f"{NAME}@{version['version_id']}", "--json").json == told
        refused(run("show", "frauds"), 3, "[model-not-found, R24]", "`ls` lists them")
        refused(run("show", f"{NAME}@1.x.y"), 3, "What follows the @ is no version")
        refused(run("show", f"other@{version['version_id']}"), 3, "[version-not-found, R24]")
        refused(run("show"), 2, "Missing argument")

    def test_a_name_may_hold_an_at(self) -> None:
        done("deploy", "team@fraud", URI, "--publish")
        done("deploy", "fraud@0.1.0@", "s3://x")
        assert done("resolve", "team@fraud").lines[0][0] == "team@fraud"
        assert done("resolve", "team@fraud@0.1.0").lines[0][0] == "team@fraud"
        assert done("show", "fraud@0.1.0@", "--json").json["name"] == "fraud@0.1.0"

    def test_resolve_takes_names_numbers_ids_and_ranges(self) -> None:
        version_id = done("resolve", NAME).lines[0][5]
        for address in (f"{NAME}@primary", f"{NAME}@0.1.0", f"{NAME}@^0.1", f"{NAME}@>=0.1.0,<0.2", version_id):
            assert done("resolve", address).lines[0][5] == version_id
        refused(run("resolve", f"{NAME}@0.2.0"), 1, "[version-not-active, R24]")
        refused(run("resolve", f"{NAME}@^7"), 3, "[version-not-found, R24]")
        done("deploy", "draft", URI)
        refused(run("resolve", "draft"), 3, "[no-primary-version, R24]")

    def test_log_is_newest_first_and_says_what_turned_into_what(self) -> None:
        rows = done("log", NAME).lines
        assert [row[0] for row in rows] == [str(position) for position in range(len(rows), 0, -1)]
        told = [(row[3], row[4], row[5], row[6], row[7], row[8]) for row in rows]
        assert told == [
            ("0.2.0", "VersionDeactivated", "status", "active", "inactive", ""),
            ("0.1.0", "VersionPromoted", "primary", "0.2.0", "0.1.0", "primary"),
            ("0.2.0", "VersionPromoted", "primary", "0.1.0", "0.2.0", ""),
            ("0.2.0", "VersionPublished", "stage", "draft", "published", ""),
            ("0.2.0", "VersionDeployed", "version", "", "draft, active", ""),
            ("0.1.0", "VersionPromoted", "primary", "", "0.1.0", ""),
            ("0.1.0", "VersionDeployed", "version", "", "published, active", ""),
        ]
        assert rows[1][9:] == ["u-17", "ticket 4720"]
        assert [row[0] for row in done("log", "-n", "2").lines] == ["7", "6"]
        assert done("log", "--oneline").out == done("log").out

    def test_log_of_a_version_holds_what_names_it(self) -> None:
        assert [row[0] for row in done("log", f"{NAME}@0.2.0").lines] == ["7", "6", "5", "4", "3"]
        refused(run("log", "nobody"), 3, "[model-not-found, R24]")

    def test_log_of_a_life_of_a_name(self) -> None:
        model_id = done("show", NAME, "--json").json["model_id"]
        done("delete", NAME, "--all", "--yes")
        done("deploy", NAME, URI)
        assert [row[4] for row in done("log", model_id).lines][:2] == ["ModelDeleted", "PrimaryCleared"]
        assert done("log", model_id).lines[0][5:9] == ["model", "there", "deleted", ""]
        assert len(done("log", NAME).lines) == len(done("log", model_id).lines) + 1
        assert done("log", NAME).lines[1][8] == ""
        assert len(done("replay", model_id).lines) == len(done("log", model_id).lines)

    def test_log_gives_the_rows_of_the_library_in_json(self) -> None:
        told = done("log", NAME, "--json").json
        assert list(told[0]) == list(EVENTS.columns)
        assert told[1]["sentence"] == "u-17 rolled back to 0.1.0 of fraud (was 0.2.0): ticket 4720"
        assert (told[1]["previous_number"], told[1]["timestamp"]) == ("0.2.0", "2025-03-14T14:21:00Z")
        assert [json.loads(line) for line in done("log", NAME, "--nl").out.splitlines()] == told

    def test_replay_tells_it_from_the_beginning(self) -> None:
        rows = done("replay", NAME).lines
        assert rows[0] == ["1", "2025-03-02T08:00:00Z", "", "", "u-17 deployed and published 0.1.0: AUC 0.91"]
        assert rows[4][2:4] == ["0.1.0", "0.2.0"]
        told = done("replay", "--json").json
        assert list(told[0]) == list(REPLAYED.columns)
        assert told[-1]["active_after"] == ["0.1.0"]
        done("delete", NAME, "--all", "--yes")
        assert done("replay", "--json").json[-1]["active_after"] == []
        refused(run("replay", "nobody"), 3, "R24")

    def test_diff_compares_two_pasts(self) -> None:
        rows = done("diff", "2", "2025-03-14T14:03:00Z").lines
        assert rows[0][2:] == ["primary", "the primary of fraud was 0.1.0 and is 0.2.0"]
        assert list(done("diff", "5", "--json").json[0]) == list(CHANGES.columns)
        assert done("diff", "5", "--model", NAME).lines[0][2] == "primary"
        assert (done("diff", "7").out, done("diff", "7", "7", "--json").json) == ("", [])
        refused(run("diff", "7", "1"), 2, "lies behind the second")
        refused(run("diff", "x"), 2, "then is not a moment")
        refused(run("diff", "1", "--model", "nobody"), 3, "R24")

    def test_usage_says_what_a_month_costs(self) -> None:
        rows = done("usage", "--month", "2025-03").lines
        assert [row[:3] for row in rows] == [
            [NAME, "0.1.0", "published"],
            [NAME, "0.2.0", "draft"],
            [NAME, "0.2.0", "published"],
        ]
        assert [row[5:] for row in rows] == [["712.0000", "1", ""], ["0.6333", "3", "4"], ["0.3833", "4", "7"]]
        told = done("usage", NAME, "--month", "2025-03", "--json").json
        assert told["total_microseconds"] == sum(line["microseconds"] for line in told["lines"])
        assert list(told["lines"][0]) == list(USAGE.columns)
        period = ("--from", "2025-03-14T00:00:00Z", "--to", "2025-03-15T00:00:00+00:00")
        assert [row[5] for row in done("usage", *period).lines] == ["24.0000", "0.6333", "0.3833"]

    def test_usage_is_of_this_month_where_none_is_named(self) -> None:
        told = done("usage", "--json").json
        start = datetime.fromisoformat(told["start"])
        assert start <= datetime.now(UTC)
        assert (start.day, start.hour, start.utcoffset()) == (1, 0, timedelta(0))
        assert done("usage", "--month", "2026-12", "--json").json["end"] == "2027-01-01T00:00:00Z"

    def test_usage_refuses_what_is_no_period(self) -> None:
        refused(run("usage", "--month", "March"), 2, "month is not a month")
        refused(run("usage", "--month", "9999-12"), 2, "month is not a month")
        refused(run("usage", "--from", "2025-03-01T00:00Z"), 2, "both --from and --to")
        refused(run("usage", "--month", "2025-03", "--from", "2025-03-01T00:00Z"), 2, "both --from and --to")
        refused(run("usage", "--from", "2025-03-02T00:00Z", "--to", "2025-03-01T00:00Z"), 2, "R19")
        refused(run("usage", "nobody"), 3, "R24")

    def test_timeline_draws_to_stdout_or_into_a_file(self) -> None:
        assert done("timeline", NAME).out.startswith("<!doctype html>")
        assert done("timeline", f"{NAME}@0.1.0", "--svg", "-o", "x.svg").out == ""
        assert Path("x.svg").read_text(encoding="utf-8").startswith("<svg")
        assert done("timeline", NAME, "--json").json["drawing"].startswith("<!doctype html>")
        written = done("timeline", NAME, "--svg", "-o", "x.svg", "--json").json
        assert written == {"format": "svg", "output": "x.svg", "drawing": None}
        refused(run("timeline", NAME, "-o", "no/such/folder"), 6, "can't be used", "[storage]")
        refused(run("timeline", "nobody"), 3, "R24")

    def test_csv_has_a_header_where_there_are_no_rows_too(self) -> None:
        assert done("diff", "7", "--csv").out == ",".join(CHANGES.columns) + "\n"
        header, first, *_ = done("usage", "--month", "2025-03", "--csv").out.splitlines()
        assert header == ",".join(USAGE.columns)
        assert first.split(",")[4:9] == [
            "0.1.0", "published", "2025-03-02T08:00:00Z", "2025-04-01T00:00:00Z", "2563200000000",
        ]  # fmt: skip
        assert done("show", NAME, "--csv").out.startswith("name,model_id")

    def test_forms_exclude_each_other(self) -> None:
        assert "exclude each other" in json.loads(run("ls", "--csv", "--csv", "--nl").err)["detail"]

    def test_a_workspace_sees_itself_only(self) -> None:
        done("deploy", "theirs", URI, "--workspace", "other")
        assert [line[0] for line in done("ls").lines] == [NAME]
        assert [line[0] for line in done("--workspace", "other", "ls").lines] == ["theirs"]
        assert [line[0] for line in done("ls", VERSIONING_WORKSPACE="other").lines] == ["theirs"]
        assert [line[0] for line in done("ls", "--workspace", "default", VERSIONING_WORKSPACE="other").lines] == [NAME]


class TestProof:
    @pytest.fixture(autouse=True)
    def month(self) -> None:
        incident(PLACE).close()

    def test_without_a_checkpoint_it_is_not_proven(self) -> None:
        ran = run("verify")
        assert (ran.code, ran.out) == (5, "")
        assert ran.err.startswith("7 rows up to position 7 were read again: nothing was found.\nNot proven: Without a")
        told = run("verify", "--json")
        assert told.code == told.json["exit_code"] == 5
        assert (told.json["ok"], told.json["proven"], told.json["count"], told.json["findings"]) == (True, False, 7, [])

    def test_with_a_checkpoint_it_is(self) -> None:
        done("checkpoint", "-o", "then.json")
        ran = done("verify", "--checkpoint", "then.json", "--no-views")
        assert "as requested" in ran.err
        assert done("verify", "--checkpoint", "then.json", "--json").json["proven"] is True
        assert done("verify", "--checkpoint", "then.json", "--csv").out == ",".join(FINDINGS.columns) + "\n"
        Path("line.json").write_text(done("checkpoint").out, encoding="utf-8")
        assert done("checkpoint", "--json").json["count"] == 7
        assert done("checkpoint", "-o", "then.json", "--json").json["format"] == "model-versioning.checkpoint.1"
        done("verify", "--checkpoint", "then.json", "--checkpoint", "line.json")

    def test_a_checkpoint_of_nothing_proves_nothing(self) -> None:
        empty = ("--url", "sqlite:///empty.db")
        done("migrate", *empty)
        done("checkpoint", "-o", "empty.json", *empty)
        done("verify", *empty)
        assert run("verify", "--checkpoint", "empty.json").code == 5

    def test_a_finding_ends_it_with_its_code(self) -> None:
        done("checkpoint", "-o", "then.json")
        with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
            file.execute("UPDATE stored_events SET state=CAST(replace(state,'ticket 4711','ticket 9999') AS BLOB)")
        for words in ((), ("--checkpoint", "then.json")):
            ran = run("verify", *words)
            assert ran.code == 10
            assert ran.lines[0][:3] == ["changed", "4", NAME]
        told = run("verify", "--json").json
        assert (told["ok"], told["exit_code"], list(told["findings"][0])) == (False, 10, list(FINDINGS.columns))
        assert json.loads(run("verify", "--nl").out.splitlines()[0])["exit_code"] == 10

    def test_signatures(self) -> None:
        for name in ("ours", "theirs"):
            key = Ed25519PrivateKey.generate()
            pem = serialization.Encoding.PEM
            Path(f"{name}.key").write_bytes(
                key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            )
            Path(f"{name}.pub").write_bytes(
                key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
            )
        done("checkpoint", "--sign", "ours.key", "-o", "signed.json")
        done("checkpoint", "-o", "bare.json")
        done("verify", "--checkpoint", "signed.json", "--public-key", "ours.pub")
        for file, key_file in (("signed.json", "theirs.pub"), ("bare.json", "ours.pub")):
            ran = run("verify", "--checkpoint", file, "--public-key", key_file)
            assert (ran.code, ran.err.startswith("Not proven: The ")) == (5, True)
            told = run("verify", "--checkpoint", file, "--public-key", key_file, "--json")
            assert (told.code, json.loads(told.err)["argument"]) == (5, "checkpoint")
        refused(run("verify", "--checkpoint", "signed.json", "--public-key", "ours.key"), 2, "public_key")
        refused(run("verify", "--public-key", "ours.pub"), 2, "Say --checkpoint as well")
        refused(run("checkpoint", "--sign", "no.key"), 2, "can't be read")

    def test_what_is_no_checkpoint_is_a_usage_error(self) -> None:
        Path("no.json").write_text("{}", encoding="utf-8")
        refused(run("verify", "--checkpoint", "no.json"), 2, "This is not a checkpoint")
        refused(run("verify", "--checkpoint", "gone.json"), 2, "can't be read")
        refused(run("checkpoint", "-o", "no.json"), 2, "This is not a checkpoint")
        refused(run("checkpoint", "-o", "no/such.json"), 6, "can't be written")


class TestTheWayOfALog:
    @pytest.fixture(autouse=True)
    def month(self) -> None:
        incident(PLACE).close()

    def test_a_log_goes_from_store_to_store(self) -> None:
        ran = done("export", "-o", "log.ndjson")
        assert (ran.out, ran.err) == ("", "7 events were exported.\n")
        there = ("--url", "sqlite:///there.db")
        planned = done("import", "log.ndjson", "--dry-run", "--json", *there).json
        assert planned == {"workspace": "default", "model_name": None, "events": 7, "imported": 7, "dry_run": True}
        assert not Path("there.db").exists()
        assert done("import", "log.ndjson", *there).err == "7 of 7 events were recorded; the others were there.\n"
        assert done("import", "log.ndjson", "--dry-run", *there).err.startswith("0 of 7 events would be recorded")
        assert done("import", "log.ndjson", "--json", *there).json["imported"] == 0
        assert done("log", "--json", *there).json == done("log", "--json").json

    def test_through_a_pipe(self) -> None:
        exported = CliRunner().invoke(cli, ["export", NAME]).stdout_bytes
        there = ("--url", "sqlite:///there.db")
        assert done("import", "-", *there, stdin=exported).err.startswith("7 of 7")
        assert done("ls", *there).out == done("ls").out

    def test_what_is_refused(self) -> None:
        Path("log.ndjson").write_text("{}\n", encoding="utf-8")
        refused(run("import", "log.ndjson"), 6, "[corrupt-log]", "Line 1")
        refused(run("import", "gone.ndjson"), 2, "can't be read")
        refused(run("export", "-o", "log.ndjson"), 2, "already")
        refused(run("export", "nobody"), 3, "R24")
        refused(run("export", "--csv", "-o", "log.ndjson"), 2, "already")
        with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
            file.execute("UPDATE stored_events SET topic='x' WHERE rowid=7")
        refused(run("export", "--csv", "-o", "new.csv"), 6, "[corrupt-log]")
        assert not Path("new.csv").exists()
        refused(run("export", "--csv", "--cloud-events"), 2, "a form of its own")

    def test_other_tools_get_cloud_events_rows_and_csv(self) -> None:
        events = [json.loads(line) for line in done("export", "--cloud-events").out.splitlines()]
        assert (len(events), events[0]["specversion"], events[0]["type"]) == (7, "1.0", "model-versioning.deployed.1")
        rows = [json.loads(line) for line in done("export", NAME, "--nl").out.splitlines()]
        assert done("export", NAME, "--json").json == rows
        assert rows[::-1] == [{**one, "role": ""} for one in done("log", "--json").json]
        assert done("export", "--csv", "-o", "rows.csv").out == ""
        header, *lines = Path("rows.csv").read_text(encoding="utf-8").splitlines()
        assert (header, len(lines)) == (",".join(EVENTS.columns), 7)


class TestTheStore:
    @pytest.mark.parametrize(
        "words",
        [
            ("ls",), ("show", NAME), ("log",), ("replay",), ("diff", "0"), ("resolve", NAME), ("usage",), ("verify",),
            ("timeline", NAME), ("checkpoint",), ("export",), ("rebuild",), ("publish", f"{NAME}@0.1.0"),
            ("promote", f"{NAME}@0.1.0"), ("rollback", NAME), ("deactivate", f"{NAME}@0.1.0"),
            ("activate", f"{NAME}@0.1.0"), ("delete", f"{NAME}@0.1.0"), ("complete-activation", f"{NAME}@0.1.0"),
            ("fail-activation", f"{NAME}@0.1.0", "--error", "x"),
        ],
        ids=lambda words: words[0],
    )  # fmt: skip
    def test_what_needs_a_store_makes_none(self, words: tuple[str, ...]) -> None:
        refused(run(*words), 3, "There is no store at 'sqlite:///models.db", "a slip in --url")
        refused(run(*words, "--url", "memory:"), 3, "There is no store at 'memory:'")
        Path("empty.db").touch()
        refused(run(*words, "--url", "sqlite:///empty.db"), 3, "There is no store")
        assert [path.name for path in Path().iterdir()] == ["empty.db"]

    def test_the_url_is_an_option_of_the_verb_of_all_or_of_the_environment(self) -> None:
        done("migrate", "--url", "sqlite:///a.db", VERSIONING_URL="sqlite:///b.db")
        done("--url", "sqlite:///c.db", "migrate", VERSIONING_URL="sqlite:///b.db")
        done("migrate", VERSIONING_URL=None)
        assert sorted(path.name for path in Path().glob("*.db")) == ["a.db", "c.db", "versioning.db"]

    def test_nothing_is_recorded_in_a_memory_that_is_gone_at_once(self) -> None:
        for words in (("deploy", NAME, URI), ("migrate",), ("import", "log.ndjson")):
            refused(run(*words, "--url", "memory:"), 2, "is gone as soon as this ends", "--url sqlite:///")
        assert done("deploy", NAME, URI, "--url", "memory:", "--dry-run").lines[0][0] == "VersionDeployed"

    def test_a_url_of_another_form_is_a_usage_error(self) -> None:
        refused(run("ls", "--url", "sqlite://models.db"), 2, "begins with sqlite:///")
        refused(run("migrate", "--url", "models.db"), 2, "has no scheme")
        refused(run("ls", "--url", "mysql://x"), 2, "is not one of a store")

    def test_what_is_no_store_is_the_store_s_trouble(self) -> None:
        Path("text.db").write_text("no database " * 1_000, encoding="utf-8")
        refused(run("ls", "--url", "sqlite:///text.db"), 6, "is not an SQLite database", "[store]")

    def test_migrate_makes_it_and_says_so(self) -> None:
        assert done("migrate", "--dry-run").err == "There is no store: it would be made.\n"
        assert not Path("models.db").exists()
        assert done("migrate", "--json").json == {"made": True, "position": 0, "dry_run": False}
        assert "are those of this release, and hold the log up to position 0" in done("migrate").err
        assert done("migrate", "--dry-run", "--json").json == {"made": False, "position": 0, "dry_run": True}
        assert done("migrate", "--url", "sqlite:///b.db").err == "The store was made.\n"

    def test_rebuild_builds_the_views_anew(self) -> None:
        incident(PLACE).close()
        assert done("rebuild", "--dry-run").err.startswith(
            "models.1 and ledgers.1 would be built anew up to position 7"
        )
        assert done("rebuild").err.startswith("models.1 and ledgers.1 were built anew up to position 7")
        assert done("rebuild", "--json").json == {"views": ["models.1", "ledgers.1"], "position": 7, "dry_run": False}

    def test_doctor_says_that_all_is_well(self) -> None:
        incident(PLACE).close()
        rows = done("doctor", "--url", "sqlite:///models.db").lines
        verdicts = {row[1]: row[0] for row in rows}
        assert list(verdicts) == [
            "python", "packages", "postgres", "sign", "sqlite", "store", "view models.1", "view ledgers.1",
            "activations", "artifacts",
        ]  # fmt: skip
        assert set(verdicts.values()) <= {"ok", "warn"}
        assert list(done("doctor", "--json").json[0]) == list(CHECKS.columns)

    def test_doctor_ends_with_6_where_something_is_wrong(self) -> None:
        ran = run("doctor")
        assert ran.code == 6
        assert ran.lines[-1][:2] == ["fail", "store"]
        assert not Path("models.db").exists()


class TestTheWhole:
    def test_the_verbs_are_those_that_are_promised(self) -> None:
        assert sorted(cli.commands) == sorted(VERBS)

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_has_help_and_refuses_what_it_does_not_know(self, verb: str) -> None:
        assert done(verb, "--help").out.startswith(f"Usage: versioning {verb}")
        refused(run(verb, "--no-such"), 2, "No such option", f"`versioning {verb} --help`")

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
        assert len(exit_code_lines()) == len(EXIT_CODES) == 17

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
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Given, "open", interrupted)
        assert run("ls") == Ran(130, "", "\n")
        monkeypatch.setattr(importlib, "import_module", _failing(KeyboardInterrupt()))
        with pytest.raises(SystemExit) as ended:
            versioning.__main__.main()
        assert ended.value.code == 130

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


class TestOnEveryStore:
    def test_a_short_life(self, shared_store: Store) -> None:
        place = ("--url", shared_store.url)
        told = json.loads(run("ls", *place, "--json").err)
        assert (told["code"], shared_store.url in told["detail"]) == ("not-found", shared_store.kind.name == "sqlite")
        done("deploy", NAME, URI, "--publish", *place)
        done("deploy", NAME, URI, "--publish", *place)
        done("rollback", NAME, *place)
        assert done("ls", *place).lines[0][:2] == [NAME, "0.1.0"]
        assert [row[4] for row in done("log", *place).lines][:2] == ["VersionPromoted", "VersionPromoted"]
        done("checkpoint", "-o", "then.json", *place)
        done("verify", "--checkpoint", "then.json", *place)
        assert {row[0] for row in done("doctor", *place).lines} <= {"ok", "warn"}
        done("migrate", *place)
