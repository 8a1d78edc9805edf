"""What does each command show, what does it refuse, and what does it record?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests import cli_tools
from tests.cli_tools import NAME, URI, deployed, done, happened, opened, refused, run, terminal
from versioning import ConcurrencyError, ModelRegistry
from versioning.cli.tables import Stage

place = cli_tools.place


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
        assert [one["event"] for one in told["recorded"]] == ["VersionDeployed", "VersionPromoted"]
        assert (told["metadata"], told["is_primary"], told["artifact"]["uri"]) == ({"auc": 0.9}, True, URI)
        assert told["repeated"] is False
        with opened() as registry:
            events = [one.to_dict() for one in registry.history()]
            assert told == {**registry.version(f"{NAME}@0.1.0").to_dict(), "recorded": events, "repeated": False}

    def test_lines_have_what_json_has_and_csv_names_the_positions(self) -> None:
        told = json.loads(done("deploy", NAME, URI, "--publish", "--nl").out)
        assert [one["position"] for one in told["recorded"]] == [1, 2]
        header, row = csv.reader(done("deploy", NAME, URI, "--publish", "--csv").out.splitlines())
        assert (header[-2:], row[-2:]) == (["recorded", "repeated"], ["3 4", "False"])

    def test_a_key_that_was_used_before_is_told(self) -> None:
        words = ("deploy", NAME, URI, "--idempotency-key", "k")
        first = done(*words, "--json").json
        ran = done(*words)
        assert (ran.lines[0][1], ran.err.startswith("This idempotency key was used before")) == ("0.1.0", True)
        told = done(*words, "--json").json
        assert told == {**first, "recorded": [], "repeated": True}

    def test_a_key_of_a_model_that_was_deleted_since_is_told_so(self) -> None:
        words = ("deploy", NAME, URI, "--idempotency-key", "k")
        done(*words)
        assert "deleted since" not in run(*words).err
        done("deploy", NAME, URI)
        done("delete", f"{NAME}@0.1.0", "--yes")
        assert "The version was deleted since, so it does not serve." in run(*words).err
        gone = ("delete", NAME, "--all", "--yes", "--idempotency-key", "d")
        done(*gone)
        again = run(*words)
        assert (again.code, "The model was deleted since, so nothing of it serves." in again.err) == (0, True)
        assert "deleted since" not in run(*gone).err

    def test_with_a_key_the_same_words_are_the_same_command_whatever_moved(self) -> None:
        first, second = deployed("--publish"), deployed("--publish")
        words = ("deactivate", f"{NAME}@primary", "--idempotency-key", "k")
        assert done(*words, "--json").json["version_id"] == second
        assert done(*words, "--dry-run").lines == []
        told = done(*words, "--json").json
        assert (told["version_id"], told["status"], told["recorded"], told["repeated"]) == (
            second,
            "inactive",
            [],
            True,
        )
        gone = ("delete", f"{NAME}@0.1.0", "--yes", "--idempotency-key", "x")
        assert done(*gone, "--json").json["version_id"] == first
        done("delete", f"{NAME}@0.2.0", "--yes")
        assert done(*gone, "--json").json["repeated"] is True
        refused(run("deactivate", second, "--idempotency-key", "k"), 1, "[idempotency-conflict, R21]")

    def test_what_others_record_meanwhile_is_not_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        deployed()
        publish = ModelRegistry.publish

        def while_others_deploy(self: ModelRegistry, *words: Any, **how: Any) -> Any:
            with opened() as other:
                other.deploy(URI, model_name=NAME)
            return publish(self, *words, **how)

        monkeypatch.setattr(ModelRegistry, "publish", while_others_deploy)
        told = done("publish", f"{NAME}@0.1.0", "--json").json
        assert [one["event"] for one in told["recorded"]] == ["VersionPublished", "VersionPromoted"]

    def test_deploy_keeps_the_contents_of_a_file(self) -> None:
        Path("model.bin").write_bytes(b"weights")
        told = done("deploy", NAME, "model.bin", "--serializer", "bytes", "--json").json
        assert told["artifact"]["uri"] == f"sha256:{told['artifact']['digest']}"
        with opened() as registry:
            registry.publish(told["version_id"])
            assert registry.load(NAME, trusted=True) == b"weights"

    def test_fetch_gives_them_back_as_a_file(self) -> None:
        for contents in (b"first", b"second"):
            Path("model.bin").write_bytes(contents)
            done("deploy", NAME, "model.bin", "--publish")
        for place, address in enumerate([NAME, f"{NAME}@primary", f"{NAME}@0.1.0", f"{NAME}@<0.2"]):
            done("fetch", address, f"{place}.bin")
        assert [Path(f"{place}.bin").read_bytes() for place in range(4)] == [b"second", b"second", b"first", b"first"]
        done("fetch", NAME, "then.bin", "--as-of", "3")
        assert Path("then.bin").read_bytes() == b"first"
        refused(run("fetch", NAME, "0.bin"), 2, "exists already", "or pass --overwrite")
        said = done("fetch", f"{NAME}@0.1.0", "0.bin", "--overwrite")
        assert (said.out, said.err.startswith(f"0.bin has the contents of {NAME} 0.1.0, SHA-256 ")) == ("", True)
        told = done("fetch", NAME, "new.bin", "--json").json
        assert (told["path"], told["version"]["number"]) == ("new.bin", "0.2.0")
        assert done("fetch", told["version"]["version_id"], "by id.bin").code == 0

    def test_fetch_refuses_what_has_no_contents_and_what_is_no_file(self) -> None:
        deployed("--publish")
        refused(run("fetch", NAME, "x"), 3, "keeps only a reference", "[artifact-not-found, R26]")
        refused(run("fetch", f"{NAME}@9", "x"), 3, "What follows the @ is no version")
        refused(run("fetch", NAME, ""), 2, "path is the path of a file", "Name a file.")
        Path("model.bin").write_bytes(b"first")
        done("deploy", NAME, "model.bin", "--publish")
        refused(run("fetch", NAME, "."), 2, "is no file", "add the name of the file")
        refused(run("fetch", NAME, "no/x"), 6, "can't be written", "its folder is there")

    def test_deploy_takes_any_text_for_a_reference_where_it_is_told_so(self) -> None:
        Path("model.bin").write_bytes(b"weights")
        told = done("deploy", NAME, "model.bin", "--reference", "--json").json
        assert (told["artifact"]["uri"], told["artifact"]["digest"]) == ("model.bin", None)

    def test_deploy_refuses_what_is_neither_a_file_nor_a_uri_and_makes_no_store(self) -> None:
        Path("folder").mkdir()
        refused(run("deploy", NAME, "modle.bin"), 2, "neither an existing file nor a URI", "--reference")
        refused(run("deploy", NAME, "folder"), 2, "is a folder", "Pack it")
        refused(run("deploy", NAME, "x" * 5_000), 2, "can't be the name of a file")
        assert not Path("models.db").exists()

    @pytest.mark.parametrize("artifact", ["model.bin", URI])
    def test_deploy_says_that_its_words_were_swapped(self, artifact: str) -> None:
        Path("model.bin").write_bytes(b"weights")
        ran = run("deploy", artifact, "my fraud", "--publish")
        refused(ran, 2, f"'{artifact}' is the artifact, and stands in the place of the model's name")
        assert f"Hint: Swap the two: `versioning deploy 'my fraud' {artifact}`.\n" in ran.err
        refused(run("deploy", artifact, "x" * 5_000), 2, "Swap the two: `versioning deploy …")
        refused(run("deploy", "modle.bin", NAME), 2, "neither an existing file nor a URI", "After the model's name")
        assert not Path("models.db").exists()
        Path(NAME).write_bytes(b"weights")
        assert done("deploy", "model.bin", NAME).lines[0][0] == "model.bin"

    @pytest.mark.parametrize("text", ["{", "[1]", "NaN", '{"a": NaN}', "[" * 100_000, '"x"'])
    def test_deploy_refuses_metadata_that_is_no_json_object(self, text: str) -> None:
        refused(run("deploy", NAME, URI, "--metadata", text), 2, "metadata")

    def test_deploy_refuses_a_bump_that_is_none(self) -> None:
        refused(run("deploy", NAME, URI, "--bump", "micro"), 2, "[invalid-bump, R2]")

    def test_deploy_says_in_its_own_words_that_promote_needs_publish(self) -> None:
        refused(run("deploy", NAME, URI, "--promote"), 2, "promote needs publish", "Pass --publish as well")

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
        refused(run("promote", NAME), 2, "names no version: 'fraud'", "NAME@primary", "`ls NAME` lists them")
        refused(run("promote", f"{NAME}@^0.1"), 3, "has no version '^0.1'")
        refused(run("promote", f"{NAME}@9.9.9"), 3, "[version-not-found, R24]", "`ls NAME` lists")
        refused(run("rollback", f"{NAME}@0.1.0"), 2, "names a version, and a model is expected")
        refused(run("rollback", "frauds"), 3, "Did you mean 'fraud'?")

    def test_publish_without_a_claim(self) -> None:
        deployed("--publish")
        deployed()
        assert done("publish", f"{NAME}@0.2.0", "--no-promote").lines[0][4] == ""

    def test_what_is_so_already_is_told_and_ends_with_0(self) -> None:
        deployed("--publish")
        ran = done("publish", f"{NAME}@0.1.0")
        assert ran.err == "Nothing changed, so nothing was recorded.\n"
        assert done("publish", f"{NAME}@0.1.0", "--json").json["recorded"] == []

    def test_with_a_key_it_is_recorded_that_nothing_changed(self) -> None:
        deployed("--publish")
        words = ("promote", f"{NAME}@0.1.0", "--idempotency-key", "k")
        (preview,) = done(*words, "--dry-run", "--json").json
        assert (preview["event"], preview["command"]) == ("NothingChanged", "promote")
        ran = done(*words)
        assert ran.err == (
            "Nothing changed. The idempotency key was recorded, so the same command sent again changes nothing.\n"
        )
        deployed("--publish")
        again = done(*words, "--json").json
        assert (again["is_primary"], again["recorded"], again["repeated"]) == (False, [], True)
        (line,) = (line for line in done("log", NAME).lines if line[4] == "NothingChanged")
        assert line[3:8] == ["0.1.0", "NothingChanged", "nothing", "", ""]
        code, seen = terminal("log", NAME, "--oneline", VERSIONING_URL=cli_tools.PLACE, NO_COLOR="1", COLUMNS="200")
        assert (code, f"{NAME} 0.1.0 NothingChanged promote" in seen) == (0, True)

    def test_a_primary_that_is_cleared_on_purpose(self) -> None:
        version_id = deployed("--publish")
        refused(run("clear-primary", NAME, "--expected-primary", "none"), 1, "[primary-moved, R22]")
        told = done("clear-primary", NAME, "--expected-primary", "0.1.0", "--json").json
        assert (told["primary"], [one["facts"] for one in told["recorded"]]) == (
            None, [{"previous": version_id, "cause": "requested"}],
        )  # fmt: skip
        assert done("clear-primary", NAME).err == "Nothing changed, so nothing was recorded.\n"
        refused(run("resolve", NAME), 3, "[no-primary-version, R24]")
        refused(run("clear-primary", f"{NAME}@0.1.0"), 2, "names a version, and a model is expected")
        (line,) = (line for line in done("log", NAME).lines if line[4] == "PrimaryCleared")
        assert line[5:8] == ["primary", "0.1.0", ""]

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
        asked = ModelRegistry.version

        def moved_behind(self: ModelRegistry, version: Any) -> Any:
            found = asked(self, version)
            self.promote(first)
            return found

        monkeypatch.setattr(ModelRegistry, "version", moved_behind)
        refused(run("deactivate", f"{NAME}@primary"), 1, "[primary-moved, R22]")
        refused(run("delete", f"{NAME}@primary", "--yes", "--expected-primary", "0.2.0"), 1, "[primary-moved, R22]")
        assert done("deactivate", f"{NAME}@0.2.0").lines[0][1] == "0.2.0"

    def test_an_expected_primary_is_a_number_an_id_or_none(self) -> None:
        first = deployed("--publish")
        deployed("--publish")
        refused(run("promote", first, "--expected-primary", "none"), 1, "[primary-moved, R22]")
        refused(run("promote", first, "--expected-primary", first), 1, "[primary-moved, R22]")
        refused(run("promote", first, "--expected-primary", f"{NAME}@0.1.0"), 1, "[primary-moved, R22]")
        refused(run("rollback", NAME, "--expected-primary", "0.1.0"), 1, "[primary-moved, R22]")
        told = "Name the version that you saw by its number or its version_id"
        refused(run("rollback", NAME, "--expected-primary", "x"), 2, "not 'fraud@x'", told)
        refused(run("rollback", NAME, "--expected-primary", "9.9.9"), 3, "[version-not-found, R24]")
        assert done("rollback", NAME, "--expected-primary", "0.2.0").lines[0][1] == "0.1.0"

    def test_an_awaited_activation_is_answered_with_or_without_its_id(self) -> None:
        awaited = ("--activation", "awaited")
        told = done("deploy", NAME, URI, "--publish", *awaited, "--json").json
        assert (told["status"], told["activation_id"][:4]) == ("activating", "act_")
        assert done("complete-activation", f"{NAME}@0.1.0", told["activation_id"]).lines[0][3] == "active"
        refused(run("complete-activation", f"{NAME}@0.1.0"), 1, "so no activation is pending", "R15")
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

    @pytest.mark.parametrize("option", ["--actor", "--reason", "--idempotency-key", "--correlation-id"])
    def test_a_blank_one_asks_whether_a_variable_is_unset_and_records_nothing(self, option: str) -> None:
        for blank in ("", " "):
            told = run("deploy", "fraud", "s3://x", option, blank)
            assert told.code == 2
            assert told.err.splitlines()[:2] == [
                f"Error: {option[2:].replace('-', '_')} is blank. [invalid-argument, R28]",
                "Hint: Is a variable of the shell unset? Leave the option out if there is nothing to say.",
            ]
        assert done("ls").out == ""

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

    def test_what_was_shown_is_deleted_whatever_moves_while_it_asks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = deployed("--publish")
        deployed("--publish")

        def answered(*_: Any) -> None:
            with opened() as other:
                other.promote(first)

        monkeypatch.setattr(Stage, "confirm", answered)
        assert run("delete", f"{NAME}@primary").code == 1
        assert done("delete", f"{NAME}@0.2.0").lines[0][1] == "0.2.0"

    def test_where_nobody_answers_nothing_is_deleted(self) -> None:
        deployed()
        ran = run("delete", f"{NAME}@0.1.0", stdin="")
        assert ran.code == 2
        assert "Add --yes" in ran.err
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
        assert "Only `collect` erases the contents" in told
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
            (("clear-primary", NAME), ["PrimaryCleared"]),
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
        assert all({"event", "timestamp"} <= one.keys() for one in told)
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
