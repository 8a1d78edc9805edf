"""A plugin for pytest: tests are run with a guard planted away, each with its own, and have to fail.

    python -m pytest -p tests.planted NODE…

runs those of `GUARDS` that are named. `test_planted_guards.py` runs all of them, and wants each to fail. Bugs in the
rules, the fold and the command path stand in `test_planted_bugs.py`, where the random walks have to find them.

To plant one: a line in `GUARDS`, with the test that has to notice that its guard is gone.
"""

import collections
import os
import re
import shutil
import types
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from versioning import Checkpoint, errors, limits, processes, registry, rules
from versioning.aggregate import ModelAggregate
from versioning.artifacts import fetching, formats, objects, owner
from versioning.artifacts import folder as artifacts
from versioning.audit import backup, log_file, scan
from versioning.cli import addresses, doctor, given
from versioning.commanding import deciding
from versioning.reading import bookmarks, follower, kept, questions, recent, streams
from versioning.reading.streams import CachedStream, CachedStreams
from versioning.store import (
    file_lease,
    postgres,
    postgres_connections,
    postgres_errors,
    postgres_gaps,
    postgres_libpq,
    recorder,
    sqlite,
    sqlite_connections,
    sqlite_reading,
    sqlite_wal,
)

Plant = Callable[[pytest.MonkeyPatch], None]


def names_of_main_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(formats, "_STARTED", ())


def objects_are_held_by_version_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(objects, "_named", lambda _: None)


def idle_objects_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(objects.ModelObjects, "_drop_idle", lambda *_: None)


def the_one_loaded_first_goes_first(patch: pytest.MonkeyPatch) -> None:
    class Ordered(collections.OrderedDict[Any, Any]):
        def move_to_end(self, key: object, last: bool = True) -> None:  # noqa: FBT002 - that of the standard library
            """Stay where it is."""

    patch.setattr(objects, "collections", types.SimpleNamespace(OrderedDict=Ordered))


def the_sequence_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres, "_check_sequence", lambda *_: None)


def blank_texts_pass(patch: pytest.MonkeyPatch) -> None:
    checked = limits.checked_text
    patch.setattr(limits, "checked_text", lambda *given, **how: checked(*given, **(how | {"blank": True})))


def outsiders_are_told_all(patch: pytest.MonkeyPatch) -> None:
    for kind in vars(errors).values():
        if isinstance(kind, type) and vars(kind).get("outside"):
            patch.setattr(kind, "outside", None)


def pasts_are_not_ordered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registry, "check_order", lambda *_: None)


def moments_are_compared_as_written(patch: pytest.MonkeyPatch) -> None:
    checked = limits.checked_moment

    def by_the_wall(moment: Any, argument: str) -> int:  # noqa: ANN401 - whatever was given
        checked(moment, argument)
        return checked(moment.replace(tzinfo=UTC), argument)

    patch.setattr(questions, "checked_moment", by_the_wall)


def years_are_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(addresses, "_YEAR", re.compile("never"))


def a_killed_holder_holds(patch: pytest.MonkeyPatch) -> None:
    taken = file_lease.FileLease.taken
    patch.setattr(file_lease.FileLease, "taken", lambda path, mode: None if path.exists() else taken(path, mode))


def a_lease_is_no_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(file_lease, "_lock", lambda _: True)


def a_removed_file_is_locked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(file_lease, "_is_named", lambda *_: True)


def a_child_gives_back_what_its_parent_has(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "getpid", lambda: 1)


def a_neighbour_is_a_process(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_connections.FileConnections, "means", lambda *_: False)


def whoever_reads_a_tail_has_a_neighbour(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_connections.FileConnections, "other_writers", lambda _: "Several processes")


def a_file_without_a_log_is_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_reading, "_is_still", lambda _: False)


def a_file_with_a_log_stands_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_reading, "_is_still", lambda _: True)


def a_change_is_not_looked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_reading.ReadingConnections, "check", lambda *_: None)


def a_connection_from_before_a_change_is_lent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_reading.ReadingConnections, "take_reader", sqlite_connections.FileConnections.take_reader)


def a_registry_that_reads_takes_commands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registry.ModelRegistry, "_check_writable", lambda _: None)


def a_view_is_kept_where_none_may_be(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kept.Views, "status", lambda self, view: (self.catch_up(view), self.status(view))[1])


def a_standby_settles_by_locks(patch: pytest.MonkeyPatch) -> None:
    def settle(gaps: Any, connection: Any) -> Any:  # noqa: ANN401 - those of the room
        return connection.ask("settle", gaps._pool.settled, 0)[0][0]

    patch.setattr(postgres_gaps.Gaps, "_settle_standby", settle)


def decisions_are_positions(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(postgres.SQL, "settle_standby", postgres.SQL["settle_standby"].replace("WHERE latest_us>0", ""))


def no_object_is_named(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_errors.Rights, "grants", lambda *_: {})


def sessions_that_read_may_write(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_connections.Settings, "read_only", property(lambda _: False))


def an_idle_session_ends(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(postgres_connections._WANTED, "idle_session_timeout")


def roles_have_their_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_connections, "_WANTED", {})


def conflicts_may_end_a_session(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(postgres_connections._WANTED, "exit_on_error")


def policies_may_hide_rows(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(postgres_connections._WANTED, "row_security")


def every_setting_is_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_connections, "_value_of", lambda setting: f"'{setting}'")


def last_words_are_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_libpq.Connection, "_ended", lambda lost: postgres_errors.ended(lost._where, "08006"))


def tls_is_not_told_apart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_errors, "_TLS", re.compile("never"))


def poolers_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_connections, "_check_pooler", lambda *_: None)


def any_session_is_ours(patch: pytest.MonkeyPatch) -> None:
    prepare = postgres_libpq.Connection._prepare

    def unconditionally(connection: postgres_libpq.Connection, name: str) -> bytes:
        connection.ours = "true"
        return prepare(connection, name)

    patch.setattr(postgres_libpq.Connection, "_prepare", unconditionally)


def sessions_prepare_under_the_same_names(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "urandom", bytes)


def whoever_has_the_process_is_ended(patch: pytest.MonkeyPatch) -> None:
    end = postgres.SQL["end_session"].replace("query LIKE", "query IS NOT NULL OR ''=")
    patch.setitem(postgres.SQL, "end_session", end)


def places_are_believed_by_their_position(patch: pytest.MonkeyPatch) -> None:
    for room in (bookmarks, follower):
        patch.setattr(room, "follows", lambda *_: True)


def damaged_contents_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(artifacts, "_check", lambda *_: None)


def contents_are_held_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(artifacts, "_CHUNK_BYTES", -1)


def a_file_is_written_under_its_name(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "with_name", lambda path, _: path)


def whatever_is_there_is_replaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fetching, "_check_free", lambda *_, **__: None)


def a_name_is_given_by_renaming(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fetching, "_name", lambda draft, target, **_: draft.replace(target))


def drafts_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "unlink", lambda *_, **__: None)


def the_end_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    for room in (questions, follower):
        patch.setattr(room, "check_place", lambda *_: None)


def what_was_settled_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_gaps.Gaps, "_is_there", lambda *_: True)


def only_the_file_is_copied(patch: pytest.MonkeyPatch) -> None:
    def copied(snapshot: sqlite.Snapshot, file: Path, _: object) -> None:
        ((_, _, path),) = snapshot._connection.execute("PRAGMA database_list")  # type: ignore[union-attr]
        shutil.copyfile(path, file)

    patch.setattr(sqlite.Snapshot, "copy_to", copied)


def a_copy_is_of_many_moments(patch: pytest.MonkeyPatch) -> None:
    ask = sqlite.Snapshot.ask
    patch.setattr(sqlite.Snapshot, "ask", lambda one, name, *given: name == "head" or ask(one, name, *given))


def a_copy_is_not_read(patch: pytest.MonkeyPatch) -> None:
    nothing = Checkpoint(0, 0, "0" * 64, datetime(2026, 1, 1, tzinfo=UTC))
    patch.setattr(backup, "take_checkpoint", lambda *_: nothing)


def what_is_there_is_replaced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup, "_check_free", lambda _: None)


def an_export_is_named_by_renaming(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(log_file, "name_new", lambda part, path, _: part.replace(path))


def a_copy_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup, "_sync", lambda _: None)


def everybody_may_read_a_copy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup, "_mode", lambda _: 0o666)


def every_log_belongs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_wal, "_foreign", lambda _: None)


def no_file_is_younger_than_its_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_wal, "_is_younger", lambda *_: False)


def files_stand_still(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_wal, "_state", lambda *_: [])


def the_doctor_opens_whatever_is_there(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doctor, "foreign_log_at", lambda _: None)


def whoever_asks_owns_the_folder(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owner, "check", lambda folder, _: owner.read(folder))


def the_folder_sees_no_later_event(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(owner, "move_on", lambda *_: None)


def an_adopted_folder_is_like_any_other(patch: pytest.MonkeyPatch) -> None:
    adopt = owner.adopt
    patch.setattr(owner, "adopt", lambda folder, log, **_: adopt(folder, log, is_empty=True))


def the_folder_lies_beside_the_link(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registry, "folder_for", lambda given, store: given or f"{store}.artifacts")


def nobody_looks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(processes, "_BEGUN", [1])


def inherited_connections_are_closed_as_any(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_connections, "_hold_back", lambda *_: None)


def busy_threads_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sqlite_connections.FileConnections, "_was_busy", lambda _: False)


def connections_do_not_know_whose_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(postgres_connections.Pool, "abandon", lambda _: None)


def inherited_states_are_believed(patch: pytest.MonkeyPatch) -> None:
    begin = streams.CachedStreams.begin_in_child
    patch.setattr(
        streams.CachedStreams,
        "begin_in_child",
        lambda own: None if vars(own).get("_cached") is not None else begin(own),
    )


def the_limit_itself_is_refused(patch: pytest.MonkeyPatch) -> None:
    agrees = rules.clock_agrees
    patch.setattr(deciding, "clock_agrees", lambda state, now_us, limit_us: agrees(state, now_us, limit_us - 1))


def nothing_is_ahead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan.LogScan, "_note_ahead", lambda *_: None)


def urls_lift_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(registry, "clock_skew_in", lambda _: None)


def options_lift_no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(given, "with_clock_skew", lambda url, _: url)


def the_doctor_doubts_no_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doctor, "clock_skew_in", lambda _: limits.checked_clock_skew(None))


FETCH: Final = "tests/test_fetch.py::"
POOLERS: Final = "tests/test_postgres_poolers.py::"
SESSIONS: Final = "tests/test_postgres_sessions.py::"
ROLES: Final = f"{SESSIONS}TestWhateverTheRoleSays::"
MAIN: Final = "tests/test_artifacts.py::TestNamesOfMain::"
READ_ONLY: Final = "tests/test_read_only.py::"
RIGHTS: Final = "tests/test_read_only_postgres.py::"
LEASES: Final = "tests/test_leases.py::"
BENEATH: Final = "tests/test_bookmarks.py::TestRestoredBeneath::"
BACKUP: Final = "tests/test_backup.py::"
WAL: Final = "tests/test_foreign_wal.py::"
OWNER: Final = "tests/test_artifacts_owner.py"
HELD: Final = "tests/test_model_objects.py::TestModelObjects::"
DIFFERENCE: Final = "tests/test_audit_replay.py::TestDifference::"
FORKS: Final = "tests/test_sqlite_forks.py::TestForking::"
CLOCK: Final = "tests/test_clock_skew.py::"


def states_are_not_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CachedStreams, "shared", lambda _, stream: CachedStream(ModelAggregate(stream)))


def answers_go_into_children(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recent, "inherited_by", lambda _: None)


def an_import_tells_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CachedStreams, "catch_up_used", lambda *_: None)


def an_interrupt_forgets_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CachedStreams, "forget", lambda *_: None)


def a_kept_view_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        kept, "_behind", lambda snapshot, position, _, upto: snapshot.log(position, kept.REBUILD_EVENTS, upto)
    )


def holes_pass(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kept._Fold, "_check_joint", lambda *_: None)


def a_view_of_another_log_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(recorder, "_is_in_log", lambda *_: True)


RESTORED: Final = "tests/test_restored_logs.py::"

GUARDS: Final[dict[str, Plant]] = {
    "tests/test_postgres_gaps.py::TestGaps::"
    "test_where_positions_are_given_again_what_was_settled_is_not_believed[log]": what_was_settled_is_believed,
    f"{RESTORED}TestAViewThatHoldsWhatTheLogDoesNot::test_it_stops_until_it_is_rebuilt": a_kept_view_is_believed,
    "tests/test_store.py::TestKeptViews::test_nothing_is_kept_of_a_log_that_is_not_there_any_more": (
        a_view_of_another_log_is_kept
    ),
    f"{RESTORED}TestAHole::test_a_missing_event_stops_every_view": holes_pass,
    f"{RESTORED}TestAHole::test_it_is_noticed_where_the_view_goes_on": holes_pass,
    f"{RESTORED}TestAHole::test_another_predecessor_is_noticed": holes_pass,
    f"{RESTORED}TestRecentAnswers::test_a_child_of_the_process": answers_go_into_children,
    f"{RESTORED}TestRecentAnswers::test_an_import": an_import_tells_nobody,
    f"{RESTORED}TestRecentAnswers::test_an_import_that_fails_behind_its_first_batch": an_import_tells_nobody,
    f"{RESTORED}TestRecentAnswers::test_a_command_that_is_interrupted_behind_its_commit": an_interrupt_forgets_nothing,
    f"{RESTORED}TestStatesAreShared::test_who_reads_first_is_who_the_others_share_with": states_are_not_shared,
    f"{BACKUP}TestItIsWhole::test_what_is_only_in_the_write_ahead_log_is_in_it": only_the_file_is_copied,
    f"{BACKUP}TestItIsWhole::test_what_is_recorded_while_it_runs_does_not_make_it_begin_again": (
        a_copy_is_of_many_moments
    ),
    f"{BACKUP}TestItIsWhole::test_it_survives_a_loss_of_power": a_copy_is_not_synced,
    f"{BACKUP}TestItIsWhole::test_nobody_may_read_it_who_may_not_read_the_original": everybody_may_read_a_copy,
    f"{BACKUP}TestItFailsAsAWhole::test_a_copy_that_can_not_be_read_is_none": a_copy_is_not_read,
    f"{BACKUP}TestNothingIsReplaced::"
    "test_a_place_that_is_taken_or_has_a_leftover_is_refused": what_is_there_is_replaced,
    f"{BACKUP}TestNothingIsReplaced::test_so_is_what_somebody_puts_there_meanwhile": what_is_there_is_replaced,
    f"{WAL}TestALogThatDoesNot::test_a_restored_file_whose_log_goes_on_is_only_likely": no_file_is_younger_than_its_log,
    f"{WAL}TestALogThatDoesNot::test_a_file_to_which_the_log_lacks_pages": every_log_belongs,
    f"{WAL}TestALogThatDoesNot::test_a_log_that_is_older_than_the_file": every_log_belongs,
    f"{WAL}TestALogThatDoesNot::test_a_log_with_which_the_database_is_damaged": every_log_belongs,
    f"{WAL}TestALogThatDoesNot::test_a_log_of_another_size_of_pages": every_log_belongs,
    f"{WAL}TestNothingIsSaid::test_of_files_that_change_meanwhile": files_stand_still,
    f"{WAL}TestTheDoctor::test_it_warns_and_leaves_all_as_it_is": the_doctor_opens_whatever_is_there,
    f"{CLOCK}TestTheLimit::test_exactly_the_limit_passes[memory]": the_limit_itself_is_refused,
    f"{CLOCK}test_a_fast_stop_is_recorded_and_reported[sqlite]": nothing_is_ahead,
    f"{CLOCK}TestTheLimit::test_what_the_url_says_counts_more_than_the_argument[memory]": urls_lift_no_limit,
    f"{CLOCK}TestOnTheCommandLine::test_a_command_is_refused_until_the_limit_is_lifted": options_lift_no_limit,
    f"{CLOCK}test_doctor_names_some_of_many_models[sqlite]": the_doctor_doubts_no_clock,
    f"{MAIN}test_it_is_refused[__main__-pickle]": names_of_main_pass,
    f"{MAIN}test_it_is_refused[__mp_main__-skops]": names_of_main_pass,
    f"{MAIN}test_so_is_one_inside_another_or_named_a_second_time[__main__]": names_of_main_pass,
    f"{HELD}test_a_call_with_a_wrong_serializer_changes_no_later_call[memory]": objects_are_held_by_version_alone,
    f"{HELD}test_it_is_dropped_when_it_is_no_longer_active[sqlite]": idle_objects_stay,
    f"{HELD}test_it_is_dropped_when_its_model_is_deleted_here_or_elsewhere[sqlite]": idle_objects_stay,
    f"{HELD}test_so_many_are_held_and_the_one_invoked_longest_ago_goes_first[memory]": the_one_loaded_first_goes_first,
    "tests/test_postgres_sequence.py::test_rows_that_were_restored_alone_are_noticed_and_mended": (
        the_sequence_is_not_looked_at
    ),
    "tests/test_outsiders.py::test_a_database_that_cannot_be_opened": outsiders_are_told_all,
    "tests/test_bookmarks.py::TestReadingOn::test_a_bookmark_of_another_log_is_refused[memory]": (
        places_are_believed_by_their_position
    ),
    f"{BENEATH}test_those_who_begin_again_are_told[sqlite-15]": places_are_believed_by_their_position,
    f"{BENEATH}test_those_who_follow_are_told_and_what_is_still_common[sqlite-False-15]": (
        places_are_believed_by_their_position
    ),
    "tests/test_bookmarks.py::TestReadingOn::"
    "test_what_lies_behind_the_end_is_refused_by_everything_that_asks[memory]": the_end_is_not_looked_at,
    f"{OWNER}::TestTheOwner::test_another_store_reads_and_adds_and_erases_nothing": whoever_asks_owns_the_folder,
    f"{OWNER}::TestCopies::test_an_older_copy_erases_nothing": whoever_asks_owns_the_folder,
    f"{OWNER}::TestCopies::test_what_was_the_last_to_happen_counts": the_folder_sees_no_later_event,
    f"{OWNER}::TestCopies::test_a_restored_store_adopts_the_folder_and_erases_only_what_it_knows": (
        an_adopted_folder_is_like_any_other
    ),
    f"{OWNER}::test_a_database_has_one_folder_however_it_is_named": the_folder_lies_beside_the_link,
    f"{FETCH}TestWholeOrNotThere::test_damaged_contents_get_no_name": damaged_contents_pass,
    f"{FETCH}TestWholeOrNotThere::test_until_all_is_on_disk_the_name_is_not_there": a_file_is_written_under_its_name,
    f"{FETCH}TestWholeOrNotThere::test_an_interruption_leaves_nothing": drafts_stay,
    f"{FETCH}TestWholeOrNotThere::test_memory_holds_a_chunk_however_large_they_are": contents_are_held_whole,
    f"{FETCH}TestWhatIsThereAlready::test_nor_is_what_appears_meanwhile": a_name_is_given_by_renaming,
    f"{FETCH}TestWhatIsThereAlready::test_what_is_no_file_is_never_replaced": whatever_is_there_is_replaced,
    "tests/test_audit_transfer.py::TestExportAndImport::"
    "test_nor_is_a_link_or_what_others_keep_beside_it_or_what_appears_meanwhile": an_export_is_named_by_renaming,
    "tests/test_limits.py::TestR28Texts::test_it_is_not_blank": blank_texts_pass,
    f"{DIFFERENCE}test_moments_of_a_repeated_hour_are_in_the_order_of_time": moments_are_compared_as_written,
    f"{DIFFERENCE}test_a_position_and_a_moment_are_ordered_too[memory]": pasts_are_not_ordered,
    "tests/test_cli_questions.py::TestQuestions::"
    "test_a_moment_without_a_time_zone_or_in_the_future_is_a_usage_error": years_are_positions,
    f"{READ_ONLY}TestAFile::test_it_answers_every_question_and_nothing_is_made[alone]": a_file_without_a_log_is_shared,
    f"{READ_ONLY}TestAFile::test_it_answers_every_question_and_nothing_is_made[with a log that a killed writer left]": (
        a_file_with_a_log_stands_still
    ),
    f"{READ_ONLY}TestAFile::"
    "test_what_changes_while_it_is_read_is_an_error_and_is_read_anew_afterwards": a_change_is_not_looked_for,
    f"{READ_ONLY}TestAFile::"
    "test_a_connection_that_was_lent_when_it_changed_is_not_lent_again": a_connection_from_before_a_change_is_lent,
    f"{READ_ONLY}TestWhatChangesSomething::"
    "test_each_call_is_refused_and_leaves_nothing": a_registry_that_reads_takes_commands,
    f"{READ_ONLY}TestWhatChangesSomething::"
    "test_kept_views_are_used_and_stay_as_they_are": a_view_is_kept_where_none_may_be,
    f"{RIGHTS}TestAStandby::test_it_stops_before_a_gap_until_that_is_settled": a_standby_settles_by_locks,
    f"{RIGHTS}TestAStandby::test_what_was_passed_over_is_no_place_in_the_log": decisions_are_positions,
    f"{RIGHTS}TestTheRightsThatREADMENames::test_an_auditor_needs_each": no_object_is_named,
    f"{RIGHTS}TestTheRightsThatREADMENames::"
    "test_the_server_refuses_writes_of_its_own_accord": sessions_that_read_may_write,
    f"{LEASES}TestARebuild::test_one_that_was_killed_keeps_nobody_off[sqlite]": a_killed_holder_holds,
    f"{LEASES}TestARebuild::test_one_that_goes_on_refuses_another_process_until_it_is_done[sqlite]": a_lease_is_no_lock,
    f"{LEASES}TestALease::test_a_session_that_may_not_be_idle_for_long_keeps_it": an_idle_session_ends,
    f"{ROLES}test_the_session_is_what_the_store_needs": roles_have_their_way,
    f"{ROLES}test_everything_works": roles_have_their_way,
    f"{ROLES}test_a_conflict_costs_no_connection": conflicts_may_end_a_session,
    f"{ROLES}test_a_row_that_a_policy_hides_is_an_error_and_no_hole": policies_may_hide_rows,
    f"{ROLES}test_a_setting_that_the_release_does_not_know_is_left_out": (every_setting_is_known),
    f"{SESSIONS}TestWhoEndsASession::test_an_administrator_while_a_listener_listens": last_words_are_lost,
    f"{SESSIONS}TestTls::test_what_is_wrong_is_said[localhost-9-another-certificate verify failed]": (
        tls_is_not_told_apart
    ),
    f"{POOLERS}TestOnOpening::test_a_pooler_of_transactions_is_refused_and_nothing_is_left_in_it[settings0]": (
        poolers_are_not_looked_at
    ),
    f"{POOLERS}TestNoticedLater::test_a_process_that_has_what_we_prepared_and_is_not_ours_records_nothing": (
        any_session_is_ours
    ),
    f"{POOLERS}TestNoticedLater::test_a_session_in_which_others_let_commits_be_late_records_nothing": (
        any_session_is_ours
    ),
    f"{POOLERS}TestNoticedLater::test_what_others_prepared_under_the_same_name_is_not_taken": (
        sessions_prepare_under_the_same_names
    ),
    f"{POOLERS}TestSessions::test_the_session_of_whoever_comes_next_is_not_ended": whoever_has_the_process_is_ended,
    f"{LEASES}TestTheFile::test_a_lock_on_a_file_that_was_removed_is_none": a_removed_file_is_locked,
    f"{LEASES}TestTheFile::test_a_child_neither_keeps_it_nor_gives_it_back": a_child_gives_back_what_its_parent_has,
    f"{LEASES}TestTheWarningOfSeveralWriters::"
    "test_the_threads_of_one_registry_are_one_writer": whoever_reads_a_tail_has_a_neighbour,
    f"{LEASES}TestTheWarningOfSeveralWriters::"
    "test_two_registries_of_one_process_are_not_several_processes": a_neighbour_is_a_process,
    "tests/test_postgres_connections.py::TestForking::"
    "test_parent_and_child_go_on_with_connections_of_their_own[in C]": nobody_looks,
    "tests/test_processes.py::TestAChild::"
    "test_locks_that_threads_of_the_parent_held_block_nobody[sqlite-in C]": inherited_states_are_believed,
    f"{FORKS}test_a_child_in_c_leaves_the_log_of_others_alone": inherited_connections_are_closed_as_any,
    f"{FORKS}test_a_child_of_a_process_that_was_busy_is_refused_and_the_parent_goes_on[in C]": (
        busy_threads_are_overlooked
    ),
    "tests/test_postgres_connections.py::TestForking::"
    "test_a_connection_in_use_during_the_fork_is_the_parents": connections_do_not_know_whose_they_are,
    "tests/test_postgres_connections.py::TestForking::"
    "test_a_child_that_leaves_a_block_of_its_parent_ends_nothing[in C]": nobody_looks,
}
"""What is planted in a test, or in each of its instances where the name has no brackets."""


def planted_in(item: pytest.Item) -> Plant | None:
    """Return what is planted in a test."""
    return GUARDS.get(item.nodeid, GUARDS.get(item.nodeid.partition("[")[0]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if planted_in(item) is None:
            msg = f"No guard is planted away in {item.nodeid}."
            raise pytest.UsageError(msg)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    plant = planted_in(item)
    assert plant is not None
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        return (yield)
