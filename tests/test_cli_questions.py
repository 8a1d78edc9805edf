"""What does each question show, as text and as JSON, and what does it refuse?"""

from __future__ import annotations

import csv
import json
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import cli_tools
from tests.cli_tools import NAME, PLACE, URI, done, incident, opened, refused, run
from versioning.cli.rows import CHANGES, DESCRIBED, EXPLAINED, REPLAYED, USAGE
from versioning.output.explain import explain

place = cli_tools.place


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
        assert (told["primary"]["number"], told["active"], told["deleted_at"]) == ("0.1.0", ["0.1.0"], None)
        with opened() as registry:
            assert told == registry.model(NAME).to_dict()
            versions = [one.to_dict() for one in registry.versions(NAME)]
        assert done("ls", NAME, "--json").json == told["versions"] == versions

    def test_ls_takes_pages_and_shows_deleted_versions_where_asked(self) -> None:
        done("deploy", "a", URI)
        done("deploy", "z", URI)
        assert [line[0] for line in done("ls", "-n", "1").lines] == ["a"]
        assert [line[0] for line in done("ls", "--after", NAME).lines] == ["z"]
        done("delete", f"{NAME}@0.2.0", "--yes")
        assert [line[1] for line in done("ls", NAME).lines] == ["0.1.0"]
        assert [line[3] for line in done("ls", NAME, "--all").lines] == ["active", "deleted"]

    def test_ls_refuses_options_of_the_other_list(self) -> None:
        refused(run("ls", NAME, "-n", "1"), 2, "--limit is for the list of models", "leave NAME out")
        refused(run("ls", NAME, "--after", "a"), 2, "--after is for the list of models")
        refused(run("ls", "--all"), 2, "--all is for the list of versions", "add NAME")

    def test_every_question_answers_as_of_a_position_or_a_moment(self) -> None:
        moment = "2025-03-14T14:03:00Z"
        for when, primary in ((moment, "0.2.0"), ("5", "0.2.0"), ("2025-03-14T15:00:00+02:00", "0.1.0")):
            assert done("ls", "--as-of", when).lines[0][1] == primary
            assert done("ls", NAME, "--as-of", when).lines[0][0] == NAME
            assert done("show", f"{NAME}@primary", "--as-of", when, "--json").json["number"] == primary
            assert done("resolve", NAME, "--as-of", when).lines[0][1] == primary
            assert done("resolve", NAME, "--as-of", when, "--json").json["number"] == primary
        assert done("log", NAME, "--as-of", "5").lines[0][0] == "5"
        assert done("replay", NAME, "--as-of", "5").lines[-1][0] == "5"
        assert done("usage", "--month", "2025-03", "--as-of", "2", "--json").json["position"] == 2
        assert "position 5" in done("timeline", NAME, "--as-of", "5", "--svg").out

    @pytest.mark.parametrize("verb", ["ls", "show", "resolve", "log", "replay", "usage", "timeline"])
    def test_a_moment_without_a_time_zone_or_in_the_future_is_a_usage_error(self, verb: str) -> None:
        words = (verb, NAME) if verb in {"show", "resolve", "timeline"} else (verb,)
        refused(run(*words, "--as-of", "2025-03-14T14:03"), 2, "has no time zone", "Write 2026-01-31T14:03:00Z")
        refused(
            run(*words, "--as-of", "yesterday"), 2, "--as-of is not a moment", "for --as-of", "a position of the log"
        )
        refused(run(*words, "--as-of", "99"), 2, "[invalid-argument, R25]")
        said = ("the year 2025 or position 2025", "position:2025", "2025-01-31T14:03:00Z")
        refused(run(*words, "--as-of", "2025"), 2, *said)
        refused(run(*words, "--as-of", "position:2025"), 2, "ends at position 7")
        assert run(*words, "--as-of", "position:5").out == run(*words, "--as-of", "5").out

    def test_show_tells_all_of_a_model_or_a_version(self) -> None:
        version = dict(line for line in done("show", f"{NAME}@0.1.0").lines)
        assert (version["number"], version["is_primary"], version["deployed_by"]) == ("0.1.0", "yes", "u-17")
        assert version["allowed"] == "publish promote deactivate activate delete"
        told = done("show", f"{NAME}@0.1.0", "--json").json
        with opened() as registry:
            allowed = ["publish", "promote", "deactivate", "activate", "delete"]
            assert told == {**registry.version(f"{NAME}@0.1.0").to_dict(), "allowed": allowed}
            assert done("show", NAME, "--json").json == registry.model(NAME).to_dict()
        assert done("show", version["version_id"], "--nl").json["number"] == "0.1.0"
        assert done("show", version["version_id"], "--json").json == told
        refused(run("show", "frauds"), 3, "[model-not-found, R24]", "`ls` lists them")
        refused(run("show", f"{NAME}@1.x.y"), 3, "What follows the @ is no version")
        refused(run("show", f"{NAME}@{version['version_id']}"), 3, "What follows the @ is no version")
        refused(run("show", f"{NAME}@^0.1"), 3, "[version-not-found, R24]")
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
        bookmark = done("log", "--json").json[1]["bookmark"]
        for place in ("6", "position:6", bookmark):
            assert [row[0] for row in done("log", "--after", place).lines] == ["7"]
        refused(run("log", "--after", "8"), 1, "ends at position 7", "log-rewound")
        refused(run("log", "--after", "x"), 2, "no position and no bookmark", "versioning log --json")
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

    def test_log_gives_the_events_of_the_library_in_json_with_what_they_changed(self) -> None:
        told = done("log", NAME, "--json").json
        assert told[1]["sentence"] == "u-17 rolled back to 0.1.0 of fraud (was 0.2.0): ticket 4720"
        changed = [told[1][name] for name in ("number", "what", "before", "after", "role")]
        assert (changed, told[1]["timestamp"]) == (
            ["0.1.0", "primary", "0.2.0", "0.1.0", "primary"], "2025-03-14T14:21:00Z",
        )  # fmt: skip
        assert [told[0]["role"], told[-1]["before"], told[-1]["correlation_id"]] == [None, None, None]
        with opened() as registry:
            events = [one.to_dict() for one in registry.history(NAME)]
        assert [{name: one[name] for name in events[0]} for one in reversed(told)] == events
        assert [json.loads(line) for line in done("log", NAME, "--nl").out.splitlines()] == told
        header, _, row, *_ = csv.reader(done("log", NAME, "--csv").out.splitlines())
        assert dict(zip(header, row, strict=True))["previous_number"] == "0.2.0"

    def test_replay_tells_it_from_the_beginning(self) -> None:
        rows = done("replay", NAME).lines
        assert rows[0] == ["1", "2025-03-02T08:00:00Z", "", "", "u-17 deployed and published 0.1.0: AUC 0.91"]
        assert rows[4][2:4] == ["0.1.0", "0.2.0"]
        told = done("replay", "--json").json
        with opened() as registry:
            assert told == [one.to_dict() for one in registry.replay()]
        header, *_, row = csv.reader(done("replay", "--csv").out.splitlines())
        assert (header, row[6]) == (list(REPLAYED.columns), "0.1.0")
        done("delete", NAME, "--all", "--yes")
        assert (told[0]["before"], done("replay", "--json").json[-1]["after"]) == (None, None)
        *_, row = csv.reader(done("replay", "--csv").out.splitlines())
        assert row[6] == ""
        refused(run("replay", "nobody"), 3, "R24")

    def test_diff_compares_two_pasts(self) -> None:
        rows = done("diff", "2", "2025-03-14T14:03:00Z").lines
        assert rows[0][2:] == ["primary", "the primary of fraud was 0.1.0 and is 0.2.0"]
        with opened() as registry:
            assert done("diff", "5", "--json").json == registry.diff(5).to_dict()
        assert done("diff", "5", "--model", NAME).lines[0][2] == "primary"
        assert (done("diff", "7").out, done("diff", "7", "7", "--json").json["changes"]) == ("", [])
        refused(run("diff", "7", "1"), 2, "comes after the second")
        refused(run("diff", "1", "2025"), 2, "NOW could be the year 2025 or position 2025")
        assert done("diff", "position:5").out == done("diff", "5").out
        refused(run("diff", "x"), 2, "THEN is not a moment")
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
        march, april = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)
        with opened() as registry:
            assert told == registry.usage(march, april, NAME).to_dict()
        assert told["lines"][0]["hours"] == 712.0
        lines = [json.loads(line) for line in done("usage", "--month", "2025-03", "--nl").out.splitlines()]
        drawn = {"until": told["until"], "position": told["position"]}
        assert drawn == {"until": "2025-04-01T00:00:00Z", "position": 7}
        assert lines == [{**line, **drawn} for line in told["lines"]]
        period = ("--from", "2025-03-14T00:00:00Z", "--to", "2025-03-15T00:00:00+00:00")
        assert [row[5] for row in done("usage", *period).lines] == ["24.0000", "0.6333", "0.3833"]

    def test_a_bill_can_be_drawn_again_by_what_it_says(self) -> None:
        month = ("usage", NAME, "--month", "2025-03", "--json")
        first = done(*month, "--as-of", "4", "--until", "2025-03-14T13:58:00+00:00").json
        assert (first["position"], first["until"]) == (4, "2025-03-14T13:58:00Z")
        assert [line["closed_by"] for line in first["lines"]] == [None, 4]
        assert done(*month, "--as-of", str(first["position"]), "--until", first["until"]).json == first
        assert done(*month, "--as-of", "4").json != first
        refused(run(*month[:-1], "--until", "2025-02-01T00:00Z"), 2, "before its period", "R19")
        refused(run(*month[:-1], "--until", "2999-01-01T00:00Z"), 2, "in the future", "R19")
        refused(run(*month[:-1], "--until", "2025-03-02T00:00"), 2, "--until has no time zone", "R23")
        header, line, *_ = done(*month[:-1], "--csv").out.splitlines()
        assert header.endswith(",hours,until,position")
        assert line.endswith(",712.0000,2025-04-01T00:00:00Z,7")

    @pytest.mark.parametrize(
        ("named", "zone", "start", "end"),
        [
            ("2026-10", "Europe/Berlin", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"),
            ("2026-03", "Europe/Berlin", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            ("2026-12", "Asia/Kolkata", "2026-11-30T18:30:00Z", "2026-12-31T18:30:00Z"),
            # The clocks jump over the first midnight of October.
            ("2023-10", "America/Asuncion", "2023-10-01T04:00:00Z", "2023-11-01T03:00:00Z"),
            # They go through that of November twice.
            ("2015-11", "America/Havana", "2015-11-01T04:00:00Z", "2015-12-01T05:00:00Z"),
            ("2026-10", "UTC", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ],
    )
    def test_usage_knows_the_months_of_a_time_zone(self, named: str, zone: str, start: str, end: str) -> None:
        told = done("usage", "--month", named, "--tz", zone, "--json").json
        assert (told["start"], told["end"]) == (start, end)

    def test_this_month_is_that_of_the_time_zone(self) -> None:
        told = done("usage", "--as-of", "2025-03-31T22:30:00Z", "--tz", "Europe/Berlin", "--json").json
        assert (told["start"], told["end"]) == ("2025-03-31T22:00:00Z", "2025-04-30T22:00:00Z")
        start = datetime.fromisoformat(done("usage", "--tz", "Asia/Tokyo", "--json").json["start"])
        assert (start.hour, start.minute) == (15, 0)

    @pytest.mark.parametrize(
        "zone", ["Europe/Ber", "", "../etc/passwd", "/etc/passwd", "Europe", "\x00", "x" * 300, "🦄"]
    )
    def test_what_is_no_time_zone_is_refused(self, zone: str) -> None:
        refused(
            run("usage", "--month", "2026-10", "--tz", zone), 2, "--tz is not a time zone", "Europe/Berlin, for example"
        )
        refused(run("usage", "--tz", zone), 2, "--tz is not a time zone")

    def test_a_machine_without_time_zones_is_told_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in {"tzdata", *(name for name in sys.modules if name.startswith("tzdata."))}:
            monkeypatch.setitem(sys.modules, name, None)
        zoneinfo.reset_tzpath([])
        zoneinfo.ZoneInfo.clear_cache()
        try:
            refused(run("usage", "--month", "2026-10", "--tz", "Europe/Berlin"), 2, "pip install tzdata")
            assert done("usage", "--month", "2026-10", "--json").json["start"] == "2026-10-01T00:00:00Z"
        finally:
            zoneinfo.reset_tzpath()

    def test_a_time_zone_is_for_a_month(self) -> None:
        period = ("--from", "2025-03-14T00:00:00Z", "--to", "2025-03-15T00:00:00Z")
        refused(run("usage", *period, "--tz", "Europe/Berlin"), 2, "--tz is for a --month")
        refused(run("usage", "--month", "0001-01", "--tz", "Asia/Tokyo"), 2, "years 1 to 9999")

    def test_usage_is_of_this_month_where_none_is_named(self) -> None:
        told = done("usage", "--json").json
        start = datetime.fromisoformat(told["start"])
        assert start <= datetime.now(UTC)
        assert (start.day, start.hour, start.utcoffset()) == (1, 0, timedelta(0))
        assert done("usage", "--month", "2026-12", "--json").json["end"] == "2027-01-01T00:00:00Z"

    def test_usage_as_of_a_past_is_of_its_month(self) -> None:
        for when in ("2025-04-01T00:30:00+02:00", "5"):
            told = done("usage", "--as-of", when, "--json").json
            assert (told["start"], told["end"]) == ("2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z")
            assert told["lines"]
        assert done("usage", "--as-of", "0", "--json").json["start"] == done("usage", "--json").json["start"]
        assert done("usage", "--as-of", "5", "--month", "2025-02", "--json").json["lines"] == []

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

    def test_csv_and_lines_of_one_version_have_all_that_json_has(self) -> None:
        told = done("show", f"{NAME}@0.1.0", "--json").json
        assert json.loads(done("show", f"{NAME}@0.1.0", "--nl").out) == told
        header, row = csv.reader(done("show", f"{NAME}@0.1.0", "--csv").out.splitlines())
        cells = dict(zip(header, row, strict=True))
        assert (header, cells["artifact_uri"]) == (list(DESCRIBED.columns), told["artifact"]["uri"])
        assert cells["allowed"] == " ".join(told["allowed"])
        nested = {"artifact_uri", "artifact_digest", "artifact_size_bytes", "artifact_media_type", "role", "artifact"}
        assert cells.keys() ^ told.keys() == nested

    def test_explain_tells_rules_words_and_codes(self) -> None:
        assert done("explain", "r13").out.startswith("R13: ")
        assert "`ls` lists them." in done("explain", "model-not-found").out
        told = done("explain", "claim", "--json").json
        assert told == explain("claim").to_dict()
        assert list(told) == list(EXPLAINED.columns)
        assert (told["kind"], told["word"]) == ("word", "claim")
        assert json.loads(done("explain", "claim", "--nl").out) == told
        refused(run("explain", "clam"), 2, "Did you mean claim")
        listed = done("explain").lines
        assert {kind for kind, *_ in listed} == {"rule", "word", "error"}
        assert [word for _, word, _ in listed][:2] == ["R1", "R2"]
        assert done("explain", "--json").json[0]["word"] == "R1"

    def test_forms_exclude_each_other(self) -> None:
        assert "exclude each other" in json.loads(run("ls", "--csv", "--csv", "--nl").err)["detail"]

    def test_a_workspace_sees_itself_only(self) -> None:
        done("deploy", "theirs", URI, "--workspace", "other")
        assert [line[0] for line in done("ls").lines] == [NAME]
        assert [line[0] for line in done("--workspace", "other", "ls").lines] == ["theirs"]
        assert [line[0] for line in done("ls", VERSIONING_WORKSPACE="other").lines] == ["theirs"]
        assert [line[0] for line in done("ls", "--workspace", "default", VERSIONING_WORKSPACE="other").lines] == [NAME]
