"""A real PgBouncer in front of the server of the tests.

    with PgBouncer(server, provision.pgbouncer(), pool_mode="transaction") as pooler:
        registry = ModelRegistry(pooler.url(schema))

It runs as whoever runs the server, because it refuses root. Its files lie in the folder of the server, which goes with
it. It ends when this process ends.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg

from tests.postgres_server import DATABASE, PR_SET_PDEATHSIG, READY_S, USER, _die_with_parent, _free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

SETTINGS: Final = {
    "auth_type": "any",
    "admin_users": "pgbouncer",
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "server_login_retry": "0.1",
}
"""What it needs to run here; all else is as PgBouncer has it."""


class PgBouncer:
    """A pooler, running from here until `close`.

    Args:
        server: the server that is behind it.
        program: of PgBouncer.
        settings: of pgbouncer.ini.
    """

    def __init__(self, server: PostgresServer, program: str, **settings: str | int) -> None:
        """Start it."""
        self._server = server
        self.program = program
        self.port = _free_port()
        self.folder: Path = server.folder / f"pgbouncer-{self.port}"
        self.folder.mkdir()
        ini = "\n".join(
            f"{name} = {value}" for name, value in {**SETTINGS, "listen_port": self.port, **settings}.items()
        )
        place = f"host={server.folder} port={server.port}"
        databases = f"{DATABASE} = {place} user={USER}\npostgres = {place} user=postgres"
        (self.folder / "pgbouncer.ini").write_text(f"[databases]\n{databases}\n[pgbouncer]\n{ini}\n")
        # The kernel ends it with the *thread* that started it, so that thread lives as long as this object.
        self._starter = ThreadPoolExecutor(1, "pgbouncer")
        self._process = self._starter.submit(self._start, program).result()
        try:
            self._await()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, program: str) -> subprocess.Popen[bytes]:
        prctl = _die_with_parent()
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [program, "-q", self.folder / "pgbouncer.ini"],
                **self._server._who,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=None if prctl is None else lambda: prctl(PR_SET_PDEATHSIG, signal.SIGINT),  # noqa: PLW1509 - prctl only
                process_group=0,
            )

    def _await(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                msg = f"PgBouncer did not start: {self.log()[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.005)

    def log(self) -> str:
        """Give what it has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, schema: str, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        """Give the URL of a registry through it."""
        return self._server.url(schema, tcp=True, **options).replace(f":{self._server.port}/", f":{self.port}/")

    def connect(self, *, database: str = DATABASE, user: str = USER) -> psycopg.Connection[Any]:
        """Give the plain connection of an innocent client, each statement a transaction of its own."""
        place = f"host=127.0.0.1 port={self.port} user={user} dbname={database}"
        return psycopg.connect(place, autocommit=True, prepare_threshold=None)

    def set(self, name: str, value: str) -> None:
        """Change a setting while it runs."""
        with contextlib.closing(self.connect(database="pgbouncer", user="pgbouncer")) as console:
            done = console.pgconn.exec_(f"SET {name}='{value}'".encode())
            assert not done.error_message, done.error_message

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._starter.shutdown()
