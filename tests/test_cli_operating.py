"""Which store is meant, what does it take to make one, and does each verb work on every kind?"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import cli_tools, stores
from tests.cli_tools import NAME, PLACE, URI, done, incident, refused, run
from versioning.cli.rows import CHECKS

if TYPE_CHECKING:
    from tests.stores import Store

place = cli_tools.place
shared_store = stores.shared_store


class TestTheStore:
    @pytest.mark.parametrize(
        "words",
        [
            ("ls",), ("show", NAME), ("log",), ("replay",), ("diff", "0"), ("resolve", NAME), ("usage",), ("verify",),
            ("timeline", NAME), ("checkpoint",), ("export",), ("rebuild",), ("publish", f"{NAME}@0.1.0"),
            ("promote", f"{NAME}@0.1.0"), ("rollback", NAME), ("clear-primary", NAME), ("deactivate", f"{NAME}@0.1.0"),
            ("activate", f"{NAME}@0.1.0"), ("delete", f"{NAME}@0.1.0"), ("complete-activation", f"{NAME}@0.1.0"),
            ("fail-activation", f"{NAME}@0.1.0", "--error", "x"),
        ],
        ids=lambda words: words[0],
    )  # fmt: skip
    def test_what_needs_a_store_makes_none(self, words: tuple[str, ...]) -> None:
        refused(run(*words), 3, "There is no store at 'sqlite:///models.db", "Check --url and VERSIONING_URL")
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
            refused(run(*words, "--url", "memory:"), 2, "is gone as soon as this command ends", "--url sqlite:///")
        assert done("deploy", NAME, URI, "--url", "memory:", "--dry-run").lines[0][0] == "VersionDeployed"

    def test_a_url_of_another_form_is_a_usage_error(self) -> None:
        refused(run("ls", "--url", "sqlite://models.db"), 2, "begins with sqlite:///")
        refused(run("migrate", "--url", "models.db"), 2, "has no scheme")
        refused(run("ls", "--url", "sqlite:///a%b.db"), 2, "Write % as %25, as in every URL")
        refused(run("ls", "--url", "sqlite:///a#b.db"), 2, "Write it as %23, as in every URL")
        refused(run("ls", "--url", "mysql://x"), 2, "is not one of a store")

    def test_what_is_no_store_is_the_store_s_trouble(self) -> None:
        Path("text.db").write_text("no database " * 1_000, encoding="utf-8")
        refused(run("ls", "--url", "sqlite:///text.db"), 6, "is not an SQLite database", "[store]")

    def test_migrate_makes_it_and_says_so(self) -> None:
        assert done("migrate", "--dry-run").err == "There is no store; it would be made.\n"
        assert not Path("models.db").exists()
        assert done("migrate", "--json").json == {"made": True, "position": 0, "dry_run": False}
        assert "are those of this release, and hold the log up to position 0" in done("migrate").err
        assert done("migrate", "--dry-run", "--json").json == {"made": False, "position": 0, "dry_run": True}
        assert done("migrate", "--url", "sqlite:///b.db").err == "The store was made.\n"

    def test_rebuild_builds_the_views_anew(self) -> None:
        incident(PLACE).close()
        assert done("rebuild", "--dry-run").err.startswith(
            "models.2 and ledgers.1 would be built again up to position 7"
        )
        assert done("rebuild").err.startswith("models.2 and ledgers.1 were built again up to position 7")
        assert done("rebuild", "--json").json == {"views": ["models.2", "ledgers.1"], "position": 7, "dry_run": False}

    def test_skip_lets_the_views_pass_over_an_event(self) -> None:
        done("deploy", NAME, URI)
        with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
            file.execute("UPDATE stored_events SET topic='unknown.1'")
        refused(run("ls"), 6, "[corrupt-log]")
        stopped = [row for row in run("doctor").lines if row[1] == "view models.2"]
        assert (stopped[0][0], "`skip POSITION`" in stopped[0][3]) == ("fail", True)
        assert done("skip", "1", "--actor", "u-1").err.startswith("The kept views skip position 1 from now on")
        assert done("ls").out == ""
        told = done("skip", "1", "--reason", "ticket 7", "--json").json
        assert told == {"position": 1, "actor": None, "reason": "ticket 7"}
        refused(run("skip", "99"), 2, "There is no event at position 99", "`doctor` names the event")
        refused(run("skip", "0"), 2, "0 is not in the range")

    def test_collect_erases_what_no_version_needs(self) -> None:
        for contents in (b"a", b"b"):
            Path("model.bin").write_bytes(contents)
            done("deploy", NAME, "model.bin")
        done("delete", f"{NAME}@0.1.0", "--yes")
        assert done("collect", "--yes", "--json").json == {"erased": [], "unknown": [], "dry_run": False}
        for path in Path("models.db.artifacts").rglob("*"):
            os.utime(path, (0, 0))
        ran = run("collect", stdin="n\n")
        assert (ran.code, "Nothing was erased, as you said" in ran.err) == (1, True)
        ran = done("collect", "--url", "sqlite:///models.db", stdin="y\n")
        assert (len(ran.lines), "Contents erased: 1." in ran.err) == (1, True)
        assert done("collect", "--yes").err == "Contents erased: 0.\n"

    def test_doctor_says_that_all_is_well(self) -> None:
        incident(PLACE).close()
        rows = done("doctor", "--url", "sqlite:///models.db").lines
        verdicts = {row[1]: row[0] for row in rows}
        assert list(verdicts) == [
            "python", "packages", "postgres", "sign", "sqlite", "store", "view models.2", "view ledgers.1",
            "activations", "clocks", "artifacts",
        ]  # fmt: skip
        assert set(verdicts.values()) <= {"ok", "warn"}
        assert list(done("doctor", "--json").json[0]) == list(CHECKS.columns)

    def test_doctor_ends_with_6_where_something_is_wrong(self) -> None:
        ran = run("doctor")
        assert ran.code == 6
        assert ran.lines[-1][:2] == ["fail", "store"]
        assert not Path("models.db").exists()


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
        collected = run("collect", "--yes", *place)
        assert ("No folder of artifacts is named" in collected.err) is (shared_store.kind.name == "postgresql")
        assert done("collect", "--yes", "--artifacts", "contents", *place).err == "Contents erased: 0.\n"
        done("migrate", *place)
