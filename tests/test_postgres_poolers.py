"""A real PgBouncer on the way: sessions are used, and what gives each transaction another session is refused."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_tools
from tests.faults import poolers
from tests.pgbouncer import PgBouncer
from tests.postgres_tools import execute, schema_of
from tests.side_by_side import until
from tests.stores import OTHER, STREAM, positions, postgres_recorder, row, rows, settings_of
from versioning import ModelRegistry
from versioning.errors import StoreError
from versioning.store import postgres_connections as lines
from versioning.store.postgres import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw

REFUSED = "through a pooler that gives the statements of one client to several sessions"
LEFT = (
    "SELECT current_setting('search_path'),current_setting('lock_timeout'),current_setting('statement_timeout'),"
    "current_setting('jit'),(SELECT count(*) FROM pg_prepared_statements),"
    "(SELECT count(*) FROM pg_locks WHERE locktype='advisory' AND pid=pg_backend_pid()),"
    "(SELECT count(*) FROM pg_listening_channels())"
)
"""What a client finds in a session that others had before."""
ASKED = "SELECT pg_backend_pid()"


def nothing(pooler: PgBouncer) -> list[Any]:
    """Return what a client finds where nobody was."""
    with pooler.connect() as innocent:
        return execute(innocent, LEFT)


@pytest.fixture(name="transactions")
def _transactions(server: PostgresServer, pgbouncer: str) -> Iterator[PgBouncer]:
    with PgBouncer(server, pgbouncer, pool_mode="transaction") as pooler:
        yield pooler


@pytest.fixture(name="sessions")
def _sessions(server: PostgresServer, pgbouncer: str) -> Iterator[PgBouncer]:
    """As PgBouncer is when nothing is said."""
    with PgBouncer(server, pgbouncer) as pooler:
        yield pooler


@pytest.fixture(name="moved")
def _moved(transactions: PgBouncer, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresRecorder]:
    """A store whose connection has left the process that was set up for it, unnoticed so far: another client has it."""
    migrate(settings_of(url))
    monkeypatch.setattr(lines, "_check_pooler", lambda *_: None)
    with contextlib.closing(postgres_recorder(transactions.url(settings_of(url).schema))) as recorder:
        assert recorder.append(rows(1)) == range(1, 2)
        assert recorder.head() == 1
        assert len(recorder.tail(STREAM, 0)) == 1
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
        with transactions.connect() as innocent:
            execute(innocent, "BEGIN")
            ((pid,),) = execute(innocent, ASKED)
            assert pid == recorder._pool._idle[0].pid
            yield recorder


class TestOnOpening:
    @pytest.mark.parametrize(
        "settings",
        [
            {"pool_mode": "transaction"},
            {"pool_mode": "statement"},
            {"pool_mode": "transaction", "server_reset_query_always": 1},
            {"pool_mode": "transaction", "default_pool_size": 1, "ignore_startup_parameters": "extra_float_digits"},
        ],
    )
    def test_a_pooler_of_transactions_is_refused_and_nothing_is_left_in_it(
        self, server: PostgresServer, pgbouncer: str, settings: dict[str, str | int], url: str
    ) -> None:
        migrate(settings_of(url))
        with PgBouncer(server, pgbouncer, **settings) as pooler:
            before = nothing(pooler)
            for opening in (postgres_recorder, lambda url: migrate(settings_of(url)), ModelRegistry):
                with pytest.raises(StoreError, match=REFUSED) as caught:
                    opening(pooler.url(settings_of(url).schema))
                assert "pool_mode=session" in caught.value.hint
                assert "pool" not in str(caught.value.to_dict())
            assert nothing(pooler) == before == [('"$user", public', "0", "0", "on", 0, 0, 0)]

    def test_one_that_takes_turns_is_refused_too(self, server: PostgresServer, pgbouncer: str, url: str) -> None:
        with PgBouncer(server, pgbouncer, pool_mode="transaction", server_round_robin=1) as pooler:
            with pooler.connect() as one, pooler.connect() as other:
                assert execute(one, "BEGIN") == execute(other, "BEGIN") == []
                assert execute(one, ASKED) != execute(other, ASKED)
            through = pooler.url(settings_of(url).schema)
            with pytest.raises(StoreError, match=REFUSED):
                postgres_recorder(through)
            with pytest.raises(StoreError, match=REFUSED):  # also where it was not looked at
                lines.connect(settings_of(through), {}, lines.Clock(), is_known=True)

    def test_a_pooler_of_sessions_without_another_one_is_not_refused(
        self, server: PostgresServer, pgbouncer: str, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "SECOND_S", 0.1)
        with (
            PgBouncer(server, pgbouncer, default_pool_size=1) as pooler,
            contextlib.closing(postgres_recorder(pooler.url(settings_of(url).schema))) as recorder,
        ):
            assert recorder.append(rows(2)) == range(1, 3)


class TestSessions:
    def test_everything_works_and_followers_are_woken(self, sessions: PgBouncer, url: str) -> None:
        with contextlib.closing(postgres_recorder(sessions.url(settings_of(url).schema))) as recorder:
            waiter = recorder.waiter()
            waiter.wait(0.01)
            lease = recorder.lease("held")
            assert lease is not None
            assert recorder.lease("held") is None
            assert recorder.append([row(1, key="k")]) == range(1, 2)
            assert recorder.append(rows(3, OTHER)) == range(2, 5)
            until(lambda: waiter.wait(0.05))
            waiter.close()
            with recorder.snapshot() as snapshot:
                assert positions(snapshot.log(0, 10)) == [1, 2, 3, 4]
            assert recorder.write_view("v", 0, 4, 0, [])
            lease.close()

    def test_registries_share_it_with_others(self, sessions: PgBouncer, url: str) -> None:
        through = sessions.url(settings_of(url).schema)
        with sessions.connect() as innocent, ModelRegistry(through) as one, ModelRegistry(through) as other:
            threads = [
                threading.Thread(target=self.deploy, args=(registry, name))
                for registry in (one, other)
                for name in "ab"
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [len(other.versions(name)) for name in "ab"] == [10, 10]
            assert one.verify().ok
            assert execute(innocent, LEFT) == [('"$user", public', "0", "0", "on", 0, 0, 0)]

    def deploy(self, registry: ModelRegistry, name: str) -> None:
        for _ in range(5):
            registry.deploy("s3://model", model_name=name)

    def test_the_session_of_whoever_comes_next_is_not_ended(self, sessions: PgBouncer, url: str) -> None:
        with contextlib.closing(postgres_recorder(sessions.url(settings_of(url).schema))) as recorder:
            lost = recorder._pool.connect(patient=False)
            lost.ask("head")
            lost.finish()
            with contextlib.ExitStack() as stack:
                innocents: list[psycopg.Connection[Any]] = []

                def has_it() -> bool:
                    innocents.append(stack.enter_context(sessions.connect()))
                    return execute(innocents[-1], ASKED) == [(lost.pid,)]

                until(has_it)
                recorder._end(lost)
                assert execute(innocents[-1], ASKED) == [(lost.pid,)]

    def test_an_own_session_that_is_lost_is_ended(self, sessions: PgBouncer, url: str) -> None:
        with contextlib.closing(postgres_recorder(sessions.url(settings_of(url).schema))) as recorder:
            lost = recorder._pool.connect(patient=False)
            lost.run("BEGIN")
            recorder._end(lost)
            with pytest.raises(StoreError):
                lost.ask_text("SELECT 1")


class TestNoticedLater:
    """Others took in turns what served us while the store was opened, or the pooler changed its mode."""

    @pytest.mark.parametrize(
        "call",
        [
            lambda recorder: recorder.append(rows(1, after=1)),
            lambda recorder: recorder.append(rows(2, after=1)),
            lambda recorder: recorder.head(),
            lambda recorder: recorder.tail(STREAM, 0),
            lambda recorder: recorder.snapshot().__enter__(),
        ],
    )
    def test_the_store_ends_and_nothing_is_recorded(
        self, moved: PostgresRecorder, recorder: PostgresRecorder, call: Callable[[PostgresRecorder], object]
    ) -> None:
        with pytest.raises(StoreError, match=REFUSED):
            call(moved)
        with pytest.raises(StoreError, match=REFUSED):
            moved.append(rows(1, after=1))
        assert positions(recorder.log(0, 10)) == [1]

    @pytest.mark.parametrize(
        "call", [lambda recorder: recorder.lease("held"), lambda recorder: recorder._pool.connect(patient=False)]
    )
    def test_what_would_stay_in_a_session_is_not_begun(
        self,
        moved: PostgresRecorder,
        transactions: PgBouncer,
        monkeypatch: pytest.MonkeyPatch,
        call: Callable[[PostgresRecorder], object],
    ) -> None:
        monkeypatch.undo()
        with pytest.raises(StoreError, match=REFUSED):
            call(moved)
        assert nothing(transactions) == [('"$user", public', "0", "0", "on", 0, 0, 0)]

    def test_what_others_prepared_under_the_same_name_is_not_taken(
        self, transactions: PgBouncer, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two registries with schemas of their own, one process of the server between them."""
        monkeypatch.setattr(lines, "_check_pooler", lambda *_: None)
        schemas = settings_of(url).schema, settings_of(server.fresh_url()).schema
        with contextlib.ExitStack() as stack:
            one, other = (
                stack.enter_context(contextlib.closing(postgres_recorder(transactions.url(schema))))
                for schema in schemas
            )
            one.append(rows(3))
            other.append(rows(1))
            assert (one.head(), other.head()) == (3, 1)

    @pytest.mark.parametrize("count", [1, 2])
    def test_a_process_that_has_what_we_prepared_and_is_not_ours_records_nothing(
        self, server: PostgresServer, recorder: PostgresRecorder, count: int
    ) -> None:
        """PgBouncer prepares by itself since release 1.21 what a process lacks."""
        connection = recorder._pool.connect(patient=False)
        recorder._pool.give(connection)
        connection.ours = f"pg_backend_pid()={connection.pid + 1}"
        with pytest.raises(StoreError, match=REFUSED):
            recorder.append(rows(count))
        assert server.admin(f"SELECT count(*) FROM {schema_of(recorder)}.stored_events") == [(0,)]

    def test_a_session_in_which_others_let_commits_be_late_records_nothing(self, sessions: PgBouncer, url: str) -> None:
        with contextlib.closing(postgres_recorder(sessions.url(settings_of(url).schema))) as recorder:
            recorder.append(rows(1))
            with recorder._pool.use() as connection:
                connection.run("SET synchronous_commit=off")
            with pytest.raises(StoreError, match=REFUSED):
                recorder.append(rows(1, after=1))

    def test_a_snapshot_of_another_process_is_none(self, recorder: PostgresRecorder) -> None:
        with recorder.snapshot() as snapshot:
            assert snapshot.view_position("v") is None
        recorder._pool._idle[0].pid += 1
        with pytest.raises(StoreError, match=REFUSED), recorder.snapshot():
            pass


@pytest.mark.slow
@pytest.mark.untraced
class TestTheCampaign:
    """Its short form; the long one is `python3 tests campaign edges --only poolers`."""

    def test_nothing_is_found(self, pgbouncer: str, pytestconfig: pytest.Config) -> None:
        report = poolers.run(2, int(pytestconfig.option.hypothesis_seed), program=pgbouncer)
        assert report.ok, str(report)

    def test_a_planted_bug_is_found(self, pgbouncer: str) -> None:
        (bug,) = poolers.BUGS
        report = poolers.run(1, 0, bug=bug, program=pgbouncer)
        assert report.findings[0] == "a registry was opened through a pooler that does not keep to sessions"
        assert "something of ours: pg_catalog" in report.findings[1]
