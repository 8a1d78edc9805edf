"""Whether an audit finds what was done to a log, and nothing where nothing was done.

What somebody can do to a file is in `tampering.py`; here each way is tried, on SQLite, and what PostgreSQL can be told
to do is done to both. All else runs on every store.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests import registry_tools, stores
from tests.audit_tools import dice, forge, kinds, only, relink, stream
from tests.registry_tools import deploy
from tests.tampering import FIRST, WAYS, Trial, fill, forged, rewritten, set_state
from versioning import ModelRegistry
from versioning.audit import checkpoints as checkpoint_room
from versioning.audit import diagnose as diagnosis_room
from versioning.audit import verify as audit_room
from versioning.audit.diagnose import FoundRow, StreamWalk
from versioning.audit.scan import LogScan
from versioning.audit.verify import Finding, Verifier
from versioning.cli.ending import FOUND
from versioning.reading.views import VIEWS
from versioning.store.format import decode
from versioning.testing import POLICIES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry

ROWS = 200
ALWAYS_SAID = 1
"""How many sentences there are of what is not proven, whatever is given: the contents of artifacts."""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(tmp_path_factory.mktemp("trial"), ROWS)


@pytest.fixture(scope="module")
def small_trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return Trial(tmp_path_factory.mktemp("small_trial"), 24, seed=7)


class TestTampering:
    """Eight kinds (the eighth is below, with the views): each row, each kind; found, named and placed."""

    @pytest.mark.untraced
    @pytest.mark.parametrize("way", FIRST)
    def test_the_plainest_way_of_each_kind_on_every_row(self, trial: Trial, way: str) -> None:
        assert list(trial.misses(way, range(len(trial.rows)))) == []

    @pytest.mark.untraced
    @pytest.mark.parametrize("way", WAYS)
    def test_every_way_on_some_rows(self, trial: Trial, way: str) -> None:
        last = len(trial.rows) - 1
        assert list(trial.misses(way, [0, 1, 2, *range(7, last - 2, 19), last - 2, last - 1, last])) == []

    @pytest.mark.parametrize("seed", range(2))
    def test_streams_of_one_event_or_of_all_events(self, tmp_path: Path, seed: int) -> None:
        trial = Trial(tmp_path, 15, seed, names=[1, 30][seed])
        assert [missed for way in WAYS for missed in trial.misses(way, range(0, len(trial.rows), 5))] == []

    def test_each_kind_has_an_exit_code_of_its_own(self) -> None:
        assert len(set(FOUND.values())) == len(FOUND) == 9
        assert {kind for kind, _ in WAYS.values()} | {"view", "ahead"} == set(FOUND)

    def test_two_rows_that_were_changed_are_two_findings(self, trial: Trial) -> None:
        def change(file: sqlite3.Connection) -> None:
            for way, index in (("reason changed", 50), ("state cut", 90)):
                WAYS[way][1](file, trial.rows, index)

        trial.change(change)
        assert [(one.kind, one.position) for one in trial.verify(checkpoint=True).findings] == [
            ("changed", 51),
            ("unreadable", 91),
        ]

    def test_neighbours_that_were_both_changed_are_both_told(self, trial: Trial) -> None:
        stream = trial.rows[100].stream
        near = [index for index, row in enumerate(trial.rows) if row.stream == stream][10:12]
        trial.change(lambda file: [WAYS["reason changed"][1](file, trial.rows, index) for index in near])
        found = trial.verify(checkpoint=False).findings
        assert [one.position for one in found] == [trial.rows[index].position for index in near]

    def test_a_block_that_was_taken_out_and_a_block_that_was_put_in(self, trial: Trial) -> None:
        """Many rows at once, and all behind them numbered anew."""
        stream = trial.rows[30].stream
        rows = [row for row in trial.rows if row.stream == stream]
        column = "originator_version"

        def take_out(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM kept_views")
            file.execute(f"DELETE FROM stored_events WHERE originator_id=? AND {column} BETWEEN 5 AND 7", (stream,))
            move = f"UPDATE stored_events SET {column}=?*({column}+?) WHERE originator_id=? AND {column}*?>7"
            file.execute(move, (-1, -3, stream, 1))
            file.execute(f"UPDATE stored_events SET {column}=-{column} WHERE {column}<0")

        trial.change(take_out)
        found = trial.verify(checkpoint=False).findings
        assert [(one.kind, one.sequence) for one in found if one.stream == stream] == [
            ("missing", 5),
            ("missing", 6),
            ("missing", 7),
        ]
        assert [one.position for one in found] == [row.position for row in rows[4:7]]

        def put_in(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM kept_views")
            file.execute(
                f"UPDATE stored_events SET {column}=-({column}+2) WHERE originator_id=? AND {column}>5", (stream,)
            )
            file.execute(f"UPDATE stored_events SET {column}=-{column} WHERE {column}<0")
            for sequence, copied in ((6, 2), (7, 3)):
                insert = "INSERT INTO stored_events (originator_id,originator_version,topic,state) VALUES (?,?,?,?)"
                row = rows[copied]
                file.execute(insert, (stream, sequence, row.topic, row.state))

        trial.change(put_in)
        found = trial.verify(checkpoint=False).findings
        assert [(one.kind, one.sequence) for one in found] == [("doubled", 6), ("doubled", 7)]

    def test_a_long_run_of_missing_events_is_told_once(self, tmp_path: Path) -> None:
        trial = Trial(tmp_path, 130, names=1)
        trial.change(lambda file: file.execute("DELETE FROM stored_events WHERE rowid BETWEEN 5 AND 120"))
        found = only(trial.verify(checkpoint=True).findings)
        assert (found.kind, found.position, found.sequence) == ("missing", 5, 5)
        assert "up to event 120" in found.sentence

    def test_a_whole_model_that_was_taken_out_is_missing(self, trial: Trial) -> None:
        """Of its events nothing is left but the gaps, and what a kept view has seen."""
        stream = next(row.stream for row in trial.rows if row.stream != trial.rows[-1].stream)
        gone = [row.position for row in trial.rows if row.stream == stream]
        trial.change(lambda file: file.execute("DELETE FROM stored_events WHERE originator_id=?", (stream,)))
        found = trial.verify(checkpoint=False).findings
        told = {one.position for one in found if one.kind == "missing"}
        assert told <= set(gone)
        assert min(gone) in told
        assert [one.sequence for one in found if one.kind == "truncated"] == [1]

    def test_contents_that_moved_over_others(self, trial: Trial) -> None:
        """Where they were is garbage, and what they lie on is lost."""
        rows = [row for row in trial.rows if row.stream == trial.rows[0].stream]

        def move(file: sqlite3.Connection) -> None:
            set_state(file, rows[4], b"{}")
            file.execute(
                "UPDATE stored_events SET topic=?, state=? WHERE rowid=?",
                (rows[4].topic, rows[4].state, rows[8].position),
            )

        trial.change(move)
        found = trial.verify(checkpoint=False).findings
        assert [(one.kind, one.sequence) for one in found] == [("swapped", 5), ("changed", 9)]

    def test_two_rows_of_a_stream_that_are_missing(self, trial: Trial) -> None:
        gone = [row for row in trial.rows if row.stream == trial.rows[0].stream][3:9:5]
        places = tuple(row.position for row in gone)
        trial.change(lambda file: file.execute("DELETE FROM stored_events WHERE rowid IN (?, ?)", places))
        found = trial.verify(checkpoint=True).findings
        assert [(one.kind, one.position, one.sequence) for one in found] == [
            ("missing", row.position, row.sequence) for row in gone
        ]

    def test_a_gap_behind_the_missing_rows(self, tmp_path: Path) -> None:
        """It is not taken for the place of one that stood before it."""
        trial = Trial(tmp_path, 20, names=1)

        def change(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM stored_events WHERE rowid=5")
            file.execute("UPDATE stored_events SET rowid=rowid-1 WHERE rowid BETWEEN 6 AND 12")

        trial.change(change)
        found = trial.verify(checkpoint=False).findings
        assert [(one.kind, one.position, one.sequence) for one in found] == [("missing", 5, 5), ("missing", 12, None)]
        assert "it stood before this row" in found[0].sentence

    def test_a_position_that_is_very_far_away(self, trial: Trial) -> None:
        """A gap may be longer than any memory."""
        far = 2**62
        trial.change(lambda file: file.execute(f"UPDATE stored_events SET rowid={far} WHERE rowid=200"))
        found = trial.verify(checkpoint=True).findings
        assert ("missing", 200) in [(one.kind, one.position) for one in found]
        assert any(f"so are all up to position {far - 1}" in one.sentence for one in found)

    def test_very_many_changed_rows_are_told_without_a_search_for_each(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(diagnosis_room, "SEARCHES_MAX", 5)
        trial = Trial(tmp_path, 60, names=2)

        def change(file: sqlite3.Connection) -> None:
            for row in trial.rows:
                set_state(file, row, forged(row))

        trial.change(change)
        found = trial.verify(checkpoint=False).findings
        assert [(one.kind, one.position) for one in found] == [("changed", row.position) for row in trial.rows]

    def test_a_decoy_does_not_hide_what_was_rewritten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a long log, the marks of a checkpoint are far from each other."""
        monkeypatch.setattr(checkpoint_room, "MARKS_MAX", 4)
        trial = Trial(tmp_path, 40, names=1)

        def change(file: sqlite3.Connection) -> None:
            rewritten(file, trial.rows, 35)
            set_state(file, trial.rows[34], forged(trial.rows[34]))

        trial.change(change)
        assert [position for position, _ in trial.checkpoint.marks][-1] == 30
        found = [(one.kind, one.position) for one in trial.verify(checkpoint=True).findings]
        assert found == [("rewritten", 31), ("changed", 35)]

    def test_garbage_under_a_name_that_is_none(self, trial: Trial) -> None:
        def spoil(file: sqlite3.Connection) -> None:
            set_state(file, trial.rows[20], b"{}")
            file.execute("UPDATE stored_events SET originator_id=? WHERE rowid=21", ("0" * 32,))
            file.execute("UPDATE stored_events SET originator_version=7 WHERE rowid=21")

        trial.change(spoil)
        found = trial.verify(checkpoint=False).findings
        assert sorted((one.kind, one.model_name is None) for one in found) == [("missing", False), ("unreadable", True)]

    def test_a_changed_row_before_very_many_others(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(diagnosis_room, "SHIFT_MAX", 1)
        assert list(trial.misses("link changed", [10])) == []


class TestPlantedBugs:
    """An audit that forgets something would be noticed here."""

    BUGS: tuple[tuple[Any, str, object, tuple[str, ...]], ...] = (
        (LogScan, "_note", lambda *_: None, ("reason changed",)),
        (LogScan, "_note_unreadable", lambda *_: None, ("state empty",)),
        (LogScan, "_check_key", lambda *_: None, ("key taken away",)),
        (LogScan, "_check_append", lambda *_: None, ("cut off", "positions swapped")),
        (Verifier, "_report_gap", lambda *_: None, ("row deleted",)),
        (Verifier, "_check_appends", lambda *_: None, ("cut off", "positions swapped")),
        (Verifier, "_check_heads", lambda *_: None, ("rewritten", "cut off")),
        (Verifier, "_divergence", lambda *_: None, ("rewritten",)),
        (Verifier, "_report_divergence", lambda *_: None, ("rewritten", "positions swapped")),
        (StreamWalk, "_stray", lambda *_: None, ("contents swapped", "sequence changed")),
        (StreamWalk, "_is_inserted", lambda *_: False, ("copied and all numbered anew",)),
        (StreamWalk, "_count_removed", lambda *_: 0, ("row deleted and all numbered anew",)),
        (StreamWalk, "_check_order", lambda *_: None, ("positions swapped",)),
        (StreamWalk, "_lose", lambda *_: None, ("row deleted", "row deleted and others moved up")),
        (FoundRow, "fits", lambda *_, **__: True, ("reason changed", "row deleted")),
    )

    @pytest.mark.parametrize("bug", BUGS, ids=[f"{room.__name__}.{part}" for room, part, *_ in BUGS])
    def test_what_is_forgotten_is_missed(
        self, small_trial: Trial, monkeypatch: pytest.MonkeyPatch, bug: tuple[Any, str, object, tuple[str, ...]]
    ) -> None:
        room, part, wrong, ways = bug
        monkeypatch.setattr(room, part, wrong)
        assert any(missed for way in ways for missed in small_trial.misses(way, range(len(small_trial.rows))))

    def test_without_them_nothing_is_missed(self, small_trial: Trial) -> None:
        ways = {way for *_, ways in self.BUGS for way in ways}
        missed = [one for way in sorted(ways) for one in small_trial.misses(way, range(len(small_trial.rows)))]
        assert missed == []


class TestWhereNothingWasDone:
    """A log that nobody touched never gives a finding."""

    @pytest.mark.parametrize("seed", range(12))
    def test_a_log_however_it_came_about(self, store: Store, seed: int) -> None:
        chances = dice(seed)
        registry = store(policy=chances.choice(POLICIES))
        checkpoints = []
        for _ in range(4):
            fill(registry, registry.position() + chances.randrange(25), chances, names=chances.choice([1, 5]))
            store.clock.tick(chances.choice([-60, 0, 60]))
            if chances.random() < 0.5:
                registry._views.catch_up(chances.choice(VIEWS))
            checkpoints.append(registry.checkpoint())
        assert registry.verify().findings == ()
        assert registry.verify(checkpoints).findings == ()

    def test_an_empty_log(self, registry: ModelRegistry) -> None:
        found = registry.verify(registry.checkpoint())
        assert (found.ok, found.position, found.count) == (True, 0, 0)

    def test_several_workspaces_and_processes(self, shared_store: Store) -> None:
        chances = dice()
        registries = [shared_store(workspace=workspace) for workspace in ("a", "b", "a")]
        for turn in range(6):
            fill(registries[turn % 3], registries[0].position() + 8, chances)
        registries[1].rebuild()
        checkpoint = registries[0].checkpoint()
        for registry in registries:
            assert registry.verify(checkpoint).findings == ()

    @pytest.mark.parametrize("shared_store", stores.WITH_GAPS, ids=str, indirect=True)
    def test_positions_that_a_rollback_left_out(self, shared_store: Store) -> None:
        registry = shared_store()
        for number in range(3):
            deploy(registry, f"model {number}")
            shared_store.execute("SELECT nextval('stored_positions')")
        checkpoint = registry.checkpoint()
        assert (checkpoint.position, checkpoint.count) == (5, 3)
        assert registry.verify(checkpoint).findings == ()

    def test_events_that_a_view_passes_over_are_still_told(self, shared_store: Store) -> None:
        registry = shared_store()
        deploy(registry), deploy(registry, "other")
        shared_store.change(1, topic="unknown.1")
        registry.skip(1, actor="ops", reason="a known accident")
        assert [model.name for model in registry.models()] == ["other"]
        registry.rebuild()
        assert kinds(registry) == [("unreadable", 1)]


class TestFindings:
    """What is found says where, of what model, and nothing of other workspaces (R27)."""

    def test_a_changed_row_on_every_store(self, shared_store: Store) -> None:
        registry = shared_store()
        fill(registry, 30, dice())
        row = registry._store.log(9, 1)[0]
        recorded = decode(*row)
        shared_store.change(row[0], state=row[4].replace(b'"actor":"ada"', b'"actor":"eve"'))
        found = registry.verify()
        finding = only(found.findings)
        assert (finding.kind, finding.position, finding.stream, finding.sequence, finding.model_name) == (
            ("changed", row[0], row[1], row[2], recorded.model_name)
        )
        assert finding.sentence == (
            f"At position {row[0]}, event {row[2]} of {recorded.model_name} is not what its link was made from."
        )
        assert (found.ok, FOUND[finding.kind]) == (False, 10)
        assert found.count == 30 or not shared_store.kind.gapless

    def test_what_is_left_to_check_against_is_said(self, shared_store: Store) -> None:
        registry = shared_store()
        for _ in range(3):
            deploy(registry)
        shared_store.change(2, state=b"{}")
        found = registry.verify()
        assert [(one.kind, one.position) for one in found.findings] == [("unreadable", 2)]
        assert any("At positions 3 nothing is left to check the rows against" in said for said in found.not_proven)

    def test_many_unproven_rows_are_not_all_named(self, shared_store: Store) -> None:
        registry = shared_store()
        for number in range(12):
            deploy(registry, f"model {number}"), deploy(registry, f"model {number}")
            shared_store.change(number * 2 + 1, state=b"{}")
        found = registry.verify()
        assert len(found.findings) == 12
        assert any("positions 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 … nothing" in said for said in found.not_proven)

    def test_the_last_row_of_a_stream(self, shared_store: Store) -> None:
        """Where positions have no gaps, its place shows; elsewhere a kept view or a checkpoint knows."""
        registry = shared_store()
        deploy(registry), deploy(registry), deploy(registry, "other")
        checkpoint = registry.checkpoint()
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=2")
        if shared_store.kind.gapless:
            assert kinds(registry) == [("missing", 2)]
            assert kinds(registry, checkpoint) == [("missing", 2)]
            assert only(registry.verify().findings).sentence == "At position 2, a row is missing."
        else:
            assert kinds(registry) == []
            assert kinds(registry, checkpoint) == [("missing", 2)]

    @pytest.mark.parametrize("shared_store", stores.GAPLESS, ids=str, indirect=True)
    def test_several_rows_at_the_end_of_streams(self, shared_store: Store) -> None:
        registry = shared_store()
        for name in "abcd":
            deploy(registry, name)
        shared_store.execute("DELETE FROM stored_events WHERE rowid IN (2, 3)")
        said = "At position 2, a row is missing, and so are all up to position 3."
        assert only(registry.verify().findings) == Finding("missing", said, 2)

    def test_rows_of_other_workspaces_are_told_by_position_only(self, shared_store: Store) -> None:
        theirs, ours = shared_store(workspace="theirs"), shared_store(workspace="ours")
        deploy(theirs, "their secret"), deploy(ours), deploy(theirs, "their secret")
        row = ours._store.log(0, 1)[0]
        shared_store.change(1, state=row[4].replace(b"s3://", b"S3://"))
        finding = only(ours.verify().findings)
        assert finding == Finding("changed", "At position 1, a row of another workspace is changed.", 1)
        assert only(theirs.verify().findings).model_name == "their secret"
        assert any("other workspaces" in said for said in ours.verify().not_proven)

    def test_a_stream_under_another_name(self, shared_store: Store) -> None:
        """With every link right: only the name itself tells."""
        registry = shared_store()
        deploy(registry), deploy(registry)
        for position, sequence, topic, state in registry._store.tail(stream(registry), 0):
            forged = state.replace(b'"model_name":"churn"', b'"model_name":"other"')
            shared_store.change(position, state=relink(registry, sequence, topic, forged))
        assert [(one.kind, one.sentence) for one in registry.verify().findings] == [
            ("rewritten", "At position 1, a row of other stands in a stream that does not belong to its model's name.")
        ]

    def test_an_event_that_names_another_model(self, shared_store: Store) -> None:
        registry = shared_store()
        for _ in range(3):
            deploy(registry)
        forge(shared_store, registry, 2, b'"model_name":"churn"', b'"model_name":"other"')
        assert kinds(registry) == [("rewritten", 2)]
        assert kinds(shared_store(workspace="others")) == [("rewritten", 2)]

    def test_a_part_of_an_append_that_is_not_there(self, shared_store: Store) -> None:
        """With every link right: what was recorded with it never was."""
        registry = shared_store()
        deploy(registry), deploy(registry)
        forge(shared_store, registry, 2, b'"model_name"', b'"count":2,"index":1,"model_name"')
        assert kinds(registry) == [("rewritten", 2)]

    def test_an_event_that_does_not_follow(self, shared_store: Store) -> None:
        registry = shared_store()
        version = deploy(registry)
        registry.publish(version.version_id, promote=False)
        forge(shared_store, registry, 2, version.version_id[-8:].encode(), b"00000000")
        assert kinds(registry) == [("unreadable", 2)]
        assert "does not follow" in only(registry.verify().findings).sentence

    def test_a_key_that_leads_to_another_row(self, shared_store: Store) -> None:
        """It would be taken for a retry of another command (R21)."""
        registry = shared_store()
        deploy(registry, idempotency_key="one"), deploy(registry, idempotency_key="two")
        shared_store.change(1, idempotency_key=None)
        shared_store.change(2, idempotency_key="one")
        assert kinds(registry) == [("changed", 1), ("changed", 2)]

    def test_findings_are_limited(self, shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit_room, "FINDINGS_MAX", 3)
        registry = shared_store()
        for number in range(5):
            deploy(registry, f"model {number}")
            shared_store.change(number + 1, state=b"{}")
        found = registry.verify()
        assert len(found.findings) == 3
        assert found.not_proven[0] == "2 more findings are left out here."

    def test_of_too_many_rows_the_first_of_a_stream_is_told(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_room, "DIAGNOSED_MAX", 2)
        registry = shared_store()
        for name in "aabbcd":
            deploy(registry, name)
        for position in (1, 3):
            row = registry._store.log(position - 1, 1)[0]
            shared_store.change(position, state=row[4].replace(b"s3://", b"S3://"))
        for position in (5, 6):
            shared_store.change(position, state=b"{}")
        assert kinds(registry) == [("changed", 1), ("changed", 3), ("unreadable", 5), ("unreadable", 6)]

    def test_its_progress_is_told(self, registry: ModelRegistry) -> None:
        fill(registry, 12, dice())
        registry.models()
        registry.rebuild()
        deploy(registry)
        calls: list[tuple[str, int, int]] = []
        head = registry.position()
        checkpoint = registry.checkpoint(progress=lambda *call: calls.append(call))
        registry.verify(checkpoint, progress=lambda *call: calls.append(call))
        assert calls[0] == ("checkpoint", head, head)
        assert calls[-1] == ("verify", head, head)
        assert {what for what, _, _ in calls} == {"checkpoint", "verify"}


class TestUndecodable:
    """SQLite keeps texts that are no UTF-8: the database itself can't give such a row."""

    @pytest.mark.parametrize("positions", [(1,), (2, 3), (1, 4, 6), (6,), (1, 2, 3, 4, 5, 6)])
    def test_each_is_found_and_the_others_are_read(self, tmp_path: Path, positions: tuple[int, ...]) -> None:
        path = tmp_path / "models.db"
        with ModelRegistry(path) as registry:
            for number in range(6):
                deploy(registry, f"model {number % 2}", idempotency_key=f"key {number}")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
                for position in positions:
                    file.execute("UPDATE stored_events SET topic=CAST(x'ff' AS TEXT) WHERE rowid=?", (position,))
            found = registry.verify()
            assert [(one.kind, one.position) for one in found.findings] == [("unreadable", one) for one in positions]
            assert found.count == 6

    def test_with_gaps_around_it(self, tmp_path: Path) -> None:
        path = tmp_path / "models.db"
        with ModelRegistry(path) as registry:
            for number in range(12):
                deploy(registry, f"model {number}")
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
                file.execute("UPDATE stored_events SET topic=CAST(x'ff' AS TEXT) WHERE rowid IN (4, 9)")
                file.execute("DELETE FROM stored_events WHERE rowid IN (3, 5, 7, 8)")
            assert kinds(registry) == [
                ("missing", 3), ("unreadable", 4), ("missing", 5), ("missing", 7), ("unreadable", 9),
            ]  # fmt: skip

    def test_a_key_that_leads_to_such_a_row(self, tmp_path: Path) -> None:
        path = tmp_path / "models.db"
        with ModelRegistry(path) as registry:
            for key in ("one", "two"):
                deploy(registry, idempotency_key=key)
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
                file.execute("UPDATE stored_events SET idempotency_key=NULL WHERE rowid=1")
                file.execute("UPDATE stored_events SET idempotency_key='one', topic=CAST(x'ff' AS TEXT) WHERE rowid=2")
            assert kinds(registry) == [("changed", 1), ("unreadable", 2)]

    def test_a_checkpoint_of_such_a_log_can_be_compared(self, tmp_path: Path) -> None:
        path = tmp_path / "models.db"
        with ModelRegistry(path) as registry:
            for _ in range(4):
                deploy(registry)
            checkpoint = registry.checkpoint()
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
                file.execute("UPDATE stored_events SET topic=CAST(x'ff' AS TEXT) WHERE rowid=4")
            assert kinds(registry, checkpoint) == [("unreadable", 4)]
