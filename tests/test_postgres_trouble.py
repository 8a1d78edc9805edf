"""What goes wrong in PostgreSQL is an error in time, with a sentence, and without the password."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import threading
import time
import traceback
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

import psycopg
import pytest

from tests import postgres_server, postgres_tools
from tests.postgres_tools import execute, schema_of
from tests.stores import STREAM, positions, postgres_recorder, rows
from versioning.errors import StoreError
from versioning.store import postgres_connections as lines
from versioning.store import postgres_libpq as libpq
from versioning.store.postgres_errors import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy

SECRETS = (postgres_server.PASSWORD, "s3cr", "hunter2")


class TestTrouble:
    def everything_shown(self, error: BaseException) -> str:
        """All that a log, a page or a debugger could show of an error."""
        out = io.StringIO()
        traceback.print_exception(error, file=out)
        told = json.dumps(error.to_dict()) if isinstance(error, StoreError) else ""
        return out.getvalue() + repr(error) + told

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda url: url.replace("//ada:", "//ada:x"), "refused the user or the password"),
            (lambda url: url.replace("//ada:", "//nobody:"), "refused the user or the password"),
            (lambda url: url.replace("/models?", "/nothing?"), "'nothing' at 127.0.0.1 does not exist"),
            (lambda url: url.replace("127.0.0.1", "nowhere.invalid"), "can't be reached: "),
            (lambda url: url + "&sslmode=require", "can't be reached by TLS: "),
            (lambda url: url + "&sslmode=nonsense", "can't be reached by TLS: "),
        ],
    )
    def test_what_can_not_be_opened_is_said_without_the_password(
        self, server: PostgresServer, change: Callable[[str], str], expected: str
    ) -> None:
        with pytest.raises(StoreError, match=expected) as caught:
            postgres_recorder(change(server.fresh_url(tcp=True)))
        shown = self.everything_shown(caught.value)
        assert not [secret for secret in SECRETS if secret in shown]
        assert caught.value.hint

    def test_nothing_that_can_be_shown_holds_the_password(self, server: PostgresServer) -> None:
        with contextlib.closing(postgres_recorder(server.fresh_url(tcp=True))) as recorder:
            held = [recorder, vars(recorder), vars(recorder._pool), recorder._pool.settings]
            assert not [secret for secret in SECRETS if secret in repr(held)]

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ('connection to server failed: FATAL:  role "x" does not exist', "refused the user"),
            ('FATAL:  role "x" is not permitted to log in', "refused the user"),
            ('FATAL:  permission denied for database "x"', "does not allow this user"),
            ('FATAL:  too many connections for role "x"', "has no connection left"),
            ('FATAL:  too many connections for database "x"', "has no connection left"),
            ('FATAL:  database "x" does not exist', "does not exist"),
            ("FATAL:  sorry, too many clients already", "has no connection left"),
            ("FATAL:  the database system is starting up", "is starting or stopping"),
            ("server is in hot standby mode", "can only be read"),
            ("", "can't be reached"),
        ],
    )
    def test_what_libpq_says_while_connecting_is_understood(self, words: str, expected: str) -> None:
        assert expected in unreachable("The database", words).sentence

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            ("53100", "the disk is full"),
            ("53200", "out of memory"),
            ("58030", "can't be read or written"),
            ("XX001", "is damaged"),
            ("40001", "could not order"),
            ("25006", "can only be read"),
            ("42501", "does not allow this user"),
            ("P0001", r"failed: 'told'"),
        ],
    )
    def test_what_the_server_refuses_is_said_and_the_next_append_works(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any], state: str, expected: str
    ) -> None:
        schema = schema_of(recorder)
        execute(
            raw,
            f"CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE='{state}'; END $$",
        )
        execute(
            raw,
            f"CREATE TRIGGER refuse BEFORE INSERT ON {schema}.stored_events EXECUTE FUNCTION {schema}.refuse()",
        )
        with pytest.raises(StoreError, match=expected) as caught:
            recorder.append(rows(1))
        assert caught.value.facts["sqlstate"] == state
        execute(raw, f"DROP TRIGGER refuse ON {schema}.stored_events")
        recorder.append(rows(1))
        assert positions(recorder.log(0, 10)) == [recorder.head()]

    @pytest.mark.parametrize(
        ("severity", "state", "broken"), [("ERROR", "53200", False), ("FATAL", "57P01", True), ("PANIC", "XX000", True)]
    )
    def test_what_ends_the_connection_is_told_from_what_does_not(
        self, recorder: PostgresRecorder, severity: str, state: str, *, broken: bool
    ) -> None:
        fields = {"SEVERITY_NONLOCALIZED": severity, "SQLSTATE": state}
        told = types.SimpleNamespace(
            status=psycopg.pq.ExecStatus.FATAL_ERROR, error_field=lambda code: fields.get(code.name, "").encode()
        )
        with recorder._pool.use() as connection:
            with pytest.raises(StoreError):
                connection._rows(told)
            assert connection.is_broken == connection.was_lost == broken
        assert recorder.head() == 0

    def test_a_database_that_can_only_be_read_is_read(
        self, server: PostgresServer, url: str, recorder: PostgresRecorder
    ) -> None:
        recorder.append(rows(1))
        server.admin("ALTER ROLE ada SET default_transaction_read_only=on")
        try:
            with contextlib.closing(postgres_recorder(url)) as another:
                with pytest.raises(StoreError, match="can only be read"):
                    another.append(rows(1, after=1))
                assert another.head() == 1
        finally:
            server.admin("ALTER ROLE ada RESET default_transaction_read_only")

    def test_tables_that_are_gone_are_said(self, server: PostgresServer, recorder: PostgresRecorder) -> None:
        server.admin(f"DROP SCHEMA {schema_of(recorder)} CASCADE")
        with pytest.raises(StoreError, match="has no tables of ours any more"):
            recorder.head()

    def test_a_locked_table_is_an_error_in_time(self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]) -> None:
        execute(raw, "BEGIN")
        execute(raw, f"LOCK TABLE {schema_of(recorder)}.stored_events IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(StoreError, match="somebody else's lock"):
            recorder.append(rows(1))
        with pytest.raises(StoreError, match="somebody else's lock"):
            recorder.head()
        assert 0.6 <= time.monotonic() - started < 2
        raw.rollback()
        recorder.append(rows(1))

    def test_a_statement_that_takes_too_long_is_an_error_in_time(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        url = server.url(schema_of(recorder), statement_timeout_s=0.05)
        with contextlib.closing(postgres_recorder(url)) as hurried, hurried._pool.use() as connection:
            with pytest.raises(StoreError, match="took too long"):
                connection.ask_text("SELECT pg_sleep(5)")
            assert connection.is_idle

    def test_a_statement_that_is_cancelled_is_an_error_and_leaves_its_connection(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        with recorder._pool.use() as connection:
            ((pid,),) = connection.ask_text("SELECT pg_backend_pid()")
            timer = threading.Timer(0.1, server.admin, [f"SELECT pg_cancel_backend({pid})"])
            timer.start()
            with pytest.raises(StoreError, match="an administrator cancelled the statement"):
                connection.ask_text("SELECT pg_sleep(20)")
            timer.join()
            assert connection.is_idle
            assert connection.ask_text("SELECT pg_backend_pid()") == [(pid,)]

    def test_a_silent_server_is_an_error_in_time(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://u:hunter2@127.0.0.1:{silent.getsockname()[1]}/d?connect_timeout_s=0.2"
            started = time.monotonic()
            with pytest.raises(StoreError, match=r"did not answer within 0\.2 s"):
                postgres_recorder(url)
            assert 0.2 <= time.monotonic() - started < 1

    def test_a_server_that_becomes_silent_is_an_error_in_time(
        self, server: PostgresServer, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "GRACE_S", 0.1)
        with contextlib.closing(
            postgres_recorder(server.url(schema_of(recorder), statement_timeout_s=0.1, application_name="stopped"))
        ) as mine:
            (stopped,) = server.connections("stopped")
            os.kill(stopped, signal.SIGSTOP)
            try:
                started = time.monotonic()
                with pytest.raises(StoreError, match=r"did not answer within 0\.2 s"):
                    mine.tail(STREAM, 0)
                assert 0.2 <= time.monotonic() - started < 1
            finally:
                os.kill(stopped, signal.SIGCONT)
            assert mine.head() == 0

    def test_ctrl_c_ends_the_wait_for_an_answer_at_once(self, recorder: PostgresRecorder) -> None:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
        try:
            with recorder._pool.use() as connection:
                started = time.monotonic()
                timer.start()
                with pytest.raises(KeyboardInterrupt):
                    connection.ask_text("SELECT pg_sleep(20)")
                assert 0.1 <= time.monotonic() - started < 10
                assert connection.is_broken
                assert not connection.was_lost
        finally:
            timer.cancel()
            signal.signal(signal.SIGINT, handler)
        recorder.append(rows(1))
        assert recorder.head() == 1

    def test_a_keyboard_interrupt_leaves_no_half_used_connection(
        self, recorder: PostgresRecorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(libpq.Connection, "_wait", mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                recorder.head()
        recorder.append(rows(1))
        assert recorder.head() == 1
