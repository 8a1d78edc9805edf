"""A PostgreSQL store is opened: whose schema it is, who may make tables, what the environment can't change."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests import postgres_tools
from tests.postgres_tools import execute, schema_of
from tests.stores import STREAM, postgres_recorder, row, rows, settings_of
from versioning.errors import NewerFormatError, StoreError
from versioning.store import postgres as room
from versioning.store import postgres_libpq as libpq
from versioning.store.postgres import PostgresRecorder, migrate

if TYPE_CHECKING:
    import psycopg

    from tests.postgres_server import PostgresServer

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw
proxy = postgres_tools.proxy


class TestOpening:
    def test_texts_that_are_ordered_are_ordered_by_code_points(
        self, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        found = execute(
            raw,
            "SELECT table_name,column_name FROM information_schema.columns "
            "WHERE table_schema=$1 AND collation_name='C'",
            schema_of(recorder),
        )
        assert set(found) >= {("kept_rows", "model_name"), ("kept_rows", "key"), ("stored_events", "originator_id")}

    def test_a_newer_releases_tables_are_left_alone(
        self, url: str, recorder: PostgresRecorder, raw: psycopg.Connection[Any]
    ) -> None:
        execute(raw, f"UPDATE {schema_of(recorder)}.schema_version SET version=2")
        for opening in (PostgresRecorder, migrate):
            with pytest.raises(NewerFormatError, match=r"version 2 in the schema .* knows version 1"):
                opening(settings_of(url))

    def test_tables_of_others_are_left_alone(self, url: str, raw: psycopg.Connection[Any]) -> None:
        schema = settings_of(url).schema
        execute(raw, f"CREATE SCHEMA {schema}")
        execute(raw, f"CREATE TABLE {schema}.stored_events (position bigint)")
        with pytest.raises(StoreError, match="has other tables in the schema"):
            postgres_recorder(url)
        execute(raw, f"DROP TABLE {schema}.stored_events")
        postgres_recorder(url).close()

    def test_a_name_of_a_schema_is_taken_literally(self, server: PostgresServer) -> None:
        for schema in ("""a"b'c$1{s}%s; DROP\\""", "Übung", "x" * 63):
            url = server.url(schema)
            with contextlib.closing(postgres_recorder(url)) as recorder:
                recorder.append(rows(2))
                assert recorder.head() == 2
            quoted = schema.replace('"', '""')
            assert server.admin(f'SELECT count(*) FROM "{quoted}".stored_events') == [(2,)]
            server.admin(f'DROP SCHEMA "{quoted}" CASCADE')

    def test_who_may_not_make_tables_can_use_those_that_the_owner_made(self, server: PostgresServer, url: str) -> None:
        server.admin("DROP ROLE IF EXISTS bob", "CREATE ROLE bob LOGIN")
        schema, his = settings_of(url).schema, url.replace("//ada:", "//bob:")
        with pytest.raises(StoreError, match="does not allow this user"):
            postgres_recorder(his)
        migrate(settings_of(url))
        migrate(settings_of(url))
        with pytest.raises(StoreError, match="does not allow the user 'bob' what is needed on the schema"):
            postgres_recorder(his)
        server.admin(
            f"GRANT USAGE ON SCHEMA {schema} TO bob",
            f"GRANT SELECT,INSERT,UPDATE,DELETE ON ALL TABLES IN SCHEMA {schema} TO bob",
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO bob",
        )
        with contextlib.closing(postgres_recorder(his)) as recorder:
            assert recorder.append(rows(2)) == range(1, 3)
            assert recorder.write_view("v", 0, 2, 0, [])
        server.admin("DROP OWNED BY bob", "DROP ROLE bob")

    def test_tables_that_somebody_makes_between_looking_and_locking_are_taken(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        migrate(settings_of(url))
        version = room._version
        found = mock.Mock(side_effect=[None, mock.DEFAULT], wraps=version)
        monkeypatch.setattr(room, "_version", found)
        migrate(settings_of(url))
        assert found.call_count == 2

    def test_a_failed_migration_leaves_nothing(self, server: PostgresServer, url: str) -> None:
        with (
            mock.patch.dict(room.SQL, create_trouble="SELECT 1/0"),
            pytest.raises(StoreError, match="division by zero"),
        ):
            migrate(settings_of(url))
        assert server.admin(f"SELECT count(*) FROM pg_namespace WHERE nspname='{settings_of(url).schema}'") == [(0,)]

    def test_a_connection_lost_while_tables_are_made_is_an_error(
        self, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(room, "_make_tables", lambda *_: server.terminate_backends())
        with pytest.raises(StoreError, match=r"ended the connection|closed the connection"):
            migrate(settings_of(url))

    def test_another_encoding_is_refused(self, server: PostgresServer) -> None:
        server.admin("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0", database="postgres")
        with pytest.raises(StoreError, match=r"is not UTF-8, but LATIN1"):
            postgres_recorder(server.url(database="latin"))
        server.terminate_backends()
        server.admin("DROP DATABASE latin", database="postgres")

    def test_commits_are_durable_whatever_the_database_says(self, server: PostgresServer, url: str) -> None:
        asked = "SELECT current_setting('synchronous_commit')"
        for given, found in (("off", "on"), ("local", "local")):
            server.admin(f"ALTER ROLE ada SET synchronous_commit={given}")
            with contextlib.closing(postgres_recorder(url)) as recorder, recorder._pool.use() as connection:
                assert connection.ask_text(asked) == [(found,)]
        server.admin("ALTER ROLE ada RESET synchronous_commit")

    def test_without_psycopg_it_is_said_what_to_install(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "psycopg", None)
        libpq.load_psycopg.cache_clear()
        with pytest.raises(StoreError, match=r"pip install .model-versioning\[postgres\]"):
            postgres_recorder(url)

    def test_environment_variables_do_not_change_what_the_url_says(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "PGHOST": "nowhere.invalid",
            "PGPORT": "1",
            "PGDATABASE": "nothing",
            "PGUSER": "nobody",
            "PGOPTIONS": "-c statement_timeout=1 -c no.such=1",
            "PGCLIENTENCODING": "LATIN1",
            "PGTARGETSESSIONATTRS": "standby",
            "PGCONNECT_TIMEOUT": "nonsense",
            "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        }.items():
            monkeypatch.setenv(name, value)
        with contextlib.closing(postgres_recorder(url)) as recorder:
            recorder.append([row(1, key="Ä")])
            assert recorder.find_key(STREAM, "Ä")
