"""What the tests of the PostgreSQL store share: a fresh schema, a store on it, somebody else's connection, a way that
can be cut.

    recorder = postgres_tools.recorder
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests import postgres_server
from tests.stores import OTHER, postgres_recorder
from versioning.store import postgres as room
from versioning.store.postgres_libpq import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder


@pytest.fixture
def server() -> PostgresServer:
    return postgres_server.server()


@pytest.fixture
def url(server: PostgresServer) -> str:
    """A schema that is not there yet; nobody waits long on it."""
    return server.fresh_url(lock_timeout_s=0.3)


@pytest.fixture
def recorder(url: str) -> Iterator[PostgresRecorder]:
    with contextlib.closing(postgres_recorder(url)) as recorder:
        yield recorder


@pytest.fixture
def raw(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection to the same database."""
    with contextlib.closing(server.connect()) as connection:
        yield connection


def schema_of(recorder: PostgresRecorder) -> str:
    return recorder._pool.settings.schema


def execute(connection: psycopg.Connection[Any], statement: str, *values: object) -> list[Any]:
    cursor = psycopg.RawCursor(connection)
    cursor.execute(statement.encode(), values)
    return cursor.fetchall() if cursor.description else []


def begin_append(raw: psycopg.Connection[Any], recorder: PostgresRecorder, sequence: int, stream: str = OTHER) -> None:
    """Append as another process does, and stop short of the commit."""
    execute(raw, "BEGIN")
    statement = room._statements(schema_of(recorder))["append"].decode().replace(OURS, "true")
    execute(raw, statement, stream, sequence, "deleted.1", b"{}", None, None)


class Proxy:
    """A way to the server that can be cut: at once, or instead of the next answer."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.loses_answers = False
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, recorder: PostgresRecorder, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        port = self._listening.getsockname()[1]
        through = self._server.url(schema_of(recorder), tcp=True, **options)
        return through.replace(f":{self._server.port}/", f":{port}/")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                there = socket.create_connection(("127.0.0.1", self._server.port))
                self._pairs.append((client, there))
                threading.Thread(target=self._carry, args=(client, there), daemon=True).start()

    def _carry(self, client: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):  # cut meanwhile
            while True:
                for ready in select.select([client, there], [], [])[0]:
                    data = ready.recv(65536)
                    if not data or (ready is there and self.loses_answers):
                        self.loses_answers = False
                        self.cut()
                        return
                    (there if ready is client else client).sendall(data)

    def cut(self) -> None:
        for one in itertools.chain.from_iterable(self._pairs):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._pairs.clear()

    def close(self) -> None:
        self._listening.close()
        self.cut()


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with contextlib.closing(Proxy(server)) as proxy:
        yield proxy
