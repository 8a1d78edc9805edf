"""Do the servers that people use carry a registry that was opened before they forked? Each of them runs, for real.

A server opens its registry and makes workers. Clients ask it to deploy versions and then, whichever worker answers,
what is known of them. What was acknowledged has exactly one effect, every answer is right, no command is refused, and
the log is whole. Meanwhile another process opens and closes the store, as the command line does.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import http
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tests import provision
from tests.faults.arena import Arena, Ledger, Report, check_log
from versioning import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CLIENTS: Final = 8
"""More than a store on PostgreSQL has connections, so that some wait for others in one worker."""
START_S: Final = 60
"""How long a server may take to answer for the first time, and a client to do all."""
ANSWER_S: Final = 20
END_S: Final = 20
HURRIED: Final = {"connections": 1, "lock_timeout_s": 1, "statement_timeout_s": 1}
"""Options of a store on PostgreSQL on which a planted bug makes everybody wait."""
BUG_VARIABLE: Final = "VERSIONING_TEST_BUG"
APPLICATION: Final = "tests.faults.serving:application"


# The servers.


class Server(NamedTuple):
    """A server, and how commands reach it."""

    command: Callable[[Path, int], list[str]]
    """Makes its command line, from a folder of its own and the number of commands."""
    asks: Callable[[Path, int, Running], Iterator[Told]]
    """Gives so many commands, and what became of each."""


Told: TypeAlias = dict[str, Any]
"""What became of a command: its mark, the version, and whether all that is known of it `is_right`; or the `error`."""


class Running:
    """A server that was started here; it and all that it started are ended with it."""

    def __init__(self, command: Sequence[str], url: str, folder: Path, bug: str | None) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        self.environment = inherited | {
            "VERSIONING_URL": url,
            BUG_VARIABLE: bug or "",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(provision.UWSGI)]),
        }
        self.log = folder / "log"
        self.url = url
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def end(self) -> None:
        """End it in its own way; then whatever is left of its group."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class _Connection(http.client.HTTPConnection):
    """HTTP through a socket in a folder, so that no port is needed."""

    def __init__(self, place: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._place = place

    def connect(self) -> None:
        self.sock: Any = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(str(self._place))


def _request(place: Path, method: str, path: str) -> Told:
    with contextlib.closing(_Connection(place)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
    told: Told = json.loads(body) if answer.status == http.HTTPStatus.OK else {"error": body}
    return told


def _place(folder: Path) -> Path:
    return folder / "socket"


def _over_http(folder: Path, commands: int, running: Running) -> Iterator[Told]:
    place = _place(folder)
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            _request(place, "GET", "/unknown?")
            break
        assert time.monotonic() < deadline, f"it does not answer: {running.log.read_text()}"
        time.sleep(0.02)

    def do(number: int) -> Told:
        mark = f"request {number}"
        if number in {commands // 3, 2 * commands // 3}:
            with ModelRegistry(running.url) as registry:
                registry.models()
        try:
            told = _request(place, "POST", f"/m{number % 3}?{mark.replace(' ', '%20')}")
            return told if "error" in told else told | _request(place, "GET", f"/{told['version_id']}?{told['number']}")
        except (OSError, http.client.HTTPException) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        yield from clients.map(do, range(commands))


def _through_a_queue(folder: Path, commands: int, running: Running) -> Iterator[Told]:
    done, deadline = folder / "done", time.monotonic() + START_S
    while not done.exists() or len(told := done.read_text().splitlines()) < commands:
        assert time.monotonic() < deadline, f"not all is done: {running.log.read_text()}"
        time.sleep(0.02)
    yield from map(json.loads, told)


def _by_itself(_: Path, _commands: int, running: Running) -> Iterator[Told]:
    said = running.process.communicate(timeout=2 * START_S)[0]
    yield from map(json.loads, said.splitlines())


def _uwsgi(*options: str) -> Server:
    def command(folder: Path, _: int) -> list[str]:
        fixed = ["--module", APPLICATION, "--processes", "2", "--need-app", "--die-on-term", "--no-orphans"]
        return [provision.uwsgi(), "--home", sys.prefix, "--http-socket", str(_place(folder)), *fixed, *options]

    return Server(command, _over_http)


def _gunicorn(*options: str) -> Server:
    def command(folder: Path, _: int) -> list[str]:
        fixed = ["--bind", f"unix:{_place(folder)}", "--workers", "2", "--graceful-timeout", "3"]
        return [sys.executable, "-m", "gunicorn", *fixed, "--log-level", "warning", *options, APPLICATION]

    return Server(command, _over_http)


def _celery(folder: Path, commands: int) -> list[str]:
    return [sys.executable, "-m", "tests.faults.queueing", str(folder), str(commands)]


def _forking(how: str) -> Server:
    """Make a process that starts workers, which do all by themselves."""

    def command(_: Path, commands: int) -> list[str]:
        return [sys.executable, "-m", "tests.faults.forking", how, str(max(1, commands // 3))]

    return Server(command, _by_itself)


SERVERS: Final[dict[str, Server]] = {
    "uWSGI": _uwsgi("--master"),
    "uWSGI without a master": _uwsgi(),
    "uWSGI with threads": _uwsgi("--master", "--threads", "3"),
    "gunicorn sync": _gunicorn(),
    "gunicorn sync, preloaded": _gunicorn("--preload"),
    "gunicorn gthread, preloaded": _gunicorn("-k", "gthread", "--threads", "4", "--preload"),
    "gunicorn gevent": _gunicorn("-k", "gevent"),
    "gunicorn gevent, preloaded": _gunicorn("-k", "gevent", "--preload"),
    "Celery prefork": Server(_celery, _through_a_queue),
    "fork": _forking("fork"),
    "spawn": _forking("spawn"),
    "forkserver": _forking("forkserver"),
    "a fork in C": _forking("c"),
    "a fork in C, and the parent closes": _forking("c-closed"),
}


BUGGY: Final = {
    ("nobody looks", "sqlite"): ("a fork in C, and the parent closes", "effects"),
    ("locks are made too early", "postgresql"): ("gunicorn gevent, preloaded", "in use by other threads"),
}
"""Bugs that can be planted, by store: which server shows each, and what is found."""


# The runs.


def run(rounds: int, seed: int, store: str, bug: str | None = None, servers: Sequence[str] = tuple(SERVERS)) -> Report:
    """Give each server so many commands."""
    ledger = Ledger("servers", store, seed, bug)
    for name in servers:
        if ledger.is_over:
            break
        with Arena(store, HURRIED if bug and store == "postgresql" else None) as arena:
            _try(name, arena, rounds, bug, ledger)
    return ledger.report(rounds)


def _try(name: str, arena: Arena, commands: int, bug: str | None, ledger: Ledger) -> None:
    server = SERVERS[name]
    running = Running(server.command(arena.folder, commands), arena.url, arena.folder, bug)
    try:
        told = list(server.asks(arena.folder, commands, running))
    finally:
        running.end()
    marks, pids = [], set()
    for one in told:
        if "error" in one:
            ledger.find(f"{name}: {one['error']}")
        else:
            marks.append(one["mark"])
            pids.add(one["pid"])
            if not one["is_right"]:
                ledger.find(f"{name}: what is known of {one['mark']} is wrong")
    ledger.count("acknowledged", len(marks))
    ledger.count("workers", len(pids))
    if not told:
        ledger.find(f"{name} did nothing: {running.log.read_text()}")
    with ModelRegistry(arena.url) as registry:
        seen, wrong = check_log(registry)
        if not registry.verify().ok:
            ledger.find(f"{name}: verify finds something")
    ledger.find(*(f"{name}: {one}" for one in wrong))
    effects = list(seen.appends.values())
    ledger.find(*(f"{name}: {mark} has {effects.count(mark)} effects" for mark in marks if effects.count(mark) != 1))
