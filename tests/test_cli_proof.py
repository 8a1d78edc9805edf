"""What do the verbs of proof show, and how do they end?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import cli_tools
from tests.cli_tools import NAME, PLACE, done, incident, opened, refused, run
from versioning import ModelRegistry
from versioning.cli import cli
from versioning.cli.rows import EVENTS, FINDINGS

place = cli_tools.place


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
            assert "were read again: 2 findings.\n" in ran.err
        told = run("verify", "--json").json
        assert (told["ok"], told["proven"], told["exit_code"]) == (False, False, 10)
        with opened() as registry:
            found = registry.verify().to_dict()
        assert {name: told[name] for name in found} == found
        assert [json.loads(line) for line in run("verify", "--nl").out.splitlines()] == told["findings"]
        assert run("verify", "--csv").out.splitlines()[0] == ",".join(FINDINGS.columns)

    def test_one_finding_is_counted_as_one(self) -> None:
        with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
            file.execute("UPDATE stored_events SET state=CAST(replace(state,'retrained','by hand') AS BLOB)")
        assert "were read again: 1 finding.\n" in run("verify").err

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
        refused(run("verify", "--public-key", "ours.pub"), 2, "Pass --checkpoint as well")
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
        assert [one["number"] for one in planned.pop("versions")] == ["0.1.0", "0.2.0"]
        assert planned == {"workspace": "default", "model_name": None, "events": 7, "imported": 7, "dry_run": True}
        assert not Path("there.db").exists()
        assert (
            done("import", "log.ndjson", *there).err == "7 of 7 events were recorded; the others were already there.\n"
        )
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
        assert rows[::-1] == [{**one, "role": None} for one in done("log", "--json").json]
        assert done("export", "--csv", "-o", "rows.csv").out == ""
        header, *lines = Path("rows.csv").read_text(encoding="utf-8").splitlines()
        assert (header, len(lines)) == (",".join(EVENTS.columns), 7)


class TestABackup:
    @pytest.fixture(autouse=True)
    def month(self) -> None:
        incident(PLACE).close()

    def test_it_is_a_store_that_its_checkpoint_vouches_for(self) -> None:
        ran = done("backup", "copy.db", "--checkpoint", "then.json")
        assert (ran.out, ran.err) == ("", "copy.db is a whole copy: 7 rows up to position 7, read again.\n")
        assert "nothing was found" in done("verify", "--url", "sqlite:///copy.db", "--checkpoint", "then.json").err
        assert done("ls", "--url", "sqlite:///copy.db").out == done("ls").out

    def test_it_says_where_it_ends(self) -> None:
        told = done("backup", "copy.db", "--json").json
        assert (told["file"], told["position"], told["count"]) == (str(Path("copy.db").absolute()), 7, 7)
        assert told["checkpoint"]["head"] == json.loads(done("checkpoint").out)["head"]

    def test_a_store_of_one_row_has_one_too(self) -> None:
        with ModelRegistry("sqlite:///one.db") as registry:
            registry.deploy("s3://x", model_name=NAME)
        assert "1 row up to position 1," in done("backup", "copy.db", "--url", "sqlite:///one.db").err

    def test_what_is_there_stays(self) -> None:
        done("backup", "copy.db")
        refused(run("backup", "copy.db"), 2, "exists already", "move this one away")
        refused(run("backup", "models.db"), 2, "exists already")

    def test_no_checkpoint_is_written_over_something_else(self) -> None:
        Path("mine.txt").write_text("mine", encoding="utf-8")
        assert run("backup", "copy.db", "--checkpoint", "mine.txt").code == 2
        assert not Path("copy.db").exists()
        assert Path("mine.txt").read_text(encoding="utf-8") == "mine"
