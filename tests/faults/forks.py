"""Does a registry that is open and in use survive forks, as behind gunicorn with preload?

A process opens a registry, and a thread of it records all the time. It forks two workers, which record and ask with the
registry that they inherited; each call of theirs works, or is a StoreError that says what to do. What was answered has
exactly one effect, the parent goes on, and the log is whole. Every other round forks in C, as uWSGI does.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, plant
from tests.forking import fork_in_c
from versioning import ModelRegistry, processes
from versioning.errors import StoreError
from versioning.store import postgres_connections, postgres_libpq
from versioning.store import sqlite_connections as connections

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS: Final = 2
COMMANDS: Final = 10
"""Of each worker."""
PARENT_COMMANDS: Final = 5
"""How many commands the parent must do after each fork."""
WORKER_S: Final = 8.0
BUGS: Final = ("shares its connections",)


def serve(talk: Talk, url: str, rounds: int, bug: str | None) -> None:
    """Fork while a thread records; say what the workers and the parent did."""
    warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
    with ModelRegistry(url) as registry:
        if bug is not None:  # nobody notices a fork, nor what others say on a connection
            plant(processes, _BEGUN=[1])
            connections._STORES.clear()
            postgres_connections._POOLS.clear()
            plant(postgres_libpq.Connection, is_alive=lambda _: True)
        with registry._store.snapshot(), registry._store.snapshot():
            pass  # now there are idle connections, which workers could inherit
        over, done = threading.Event(), list[str]()
        thread = threading.Thread(target=_record, args=(registry, over, done), daemon=True)
        thread.start()
        for count in range(rounds):
            _wait_until(lambda: len(done) > 1)
            gate, opening = os.pipe()
            fork = _fork_in_c if count % 2 else os.fork
            workers = [_fork(registry, f"worker {count}.{number}", gate, opening, fork) for number in range(WORKERS)]
            os.close(opening)  # now they begin
            os.close(gate)
            deadline = time.monotonic() + WORKER_S
            told = [_rest(line, pid, deadline) for pid, line in workers]
            for number, each in enumerate(told):
                talk.say(("worker", f"{count}.{number}", each))
            if any(len(each) < COMMANDS for each in told):
                break
            _wait_until(functools.partial(_has_more, done, len(done) + PARENT_COMMANDS, thread))
        over.set()
        thread.join(WORKER_S)
        talk.say(("parent", "", done))


def _has_more(done: list[str], count: int, thread: threading.Thread) -> bool:
    return len(done) >= count or not thread.is_alive()


def _record(registry: ModelRegistry, over: threading.Event, done: list[str]) -> None:
    count = 0
    while not over.is_set():
        mark = f"parent {count}"
        try:
            registry.deploy("s3://model", model_name="parent", publish=True, correlation_id=mark)
            registry.models()
            done.append(mark)
        except Exception as error:  # noqa: BLE001 - it is told
            done.append(f"{type(error).__name__}: {error}")
            return
        count += 1


def _fork_in_c() -> int:
    """Fork with no hook before it; Python is told in the child, without which it can't go on beside threads.

    Until it is told, it must not wait for a thread that asked for its turn: so nobody asks meanwhile.
    """
    turn_s = sys.getswitchinterval()
    sys.setswitchinterval(WORKER_S)
    time.sleep(2 * turn_s)
    pid = fork_in_c()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    sys.setswitchinterval(turn_s)
    return pid


def _fork(registry: ModelRegistry, mark: str, gate: int, opening: int, fork: Callable[[], int]) -> tuple[int, int]:
    """Start a worker, which begins when nobody can write to the gate any more; give its pid and where it talks."""
    line, theirs = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            os.close(opening)
            os.read(gate, 1)
            os.write(theirs, "\n".join(_work(registry, mark)).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    return pid, line


def _work(registry: ModelRegistry, mark: str) -> list[str]:
    told = []
    for count in range(COMMANDS):
        try:
            registry.deploy("s3://model", model_name="workers", publish=True, correlation_id=f"{mark}.{count}")
            registry.models()
            told.append(f"{mark}.{count}")
        except StoreError as error:
            told.append("refused" if "forked" in str(error) and error.hint else f"StoreError: {error}")
        except Exception as error:  # noqa: BLE001 - it is told
            told.append(f"{type(error).__name__}: {error}")
        if not told[-1].startswith((mark, "refused")):
            break
    return told


def _rest(line: int, pid: int, deadline: float) -> list[str]:
    """Give what a worker said, and see that it is over."""
    ended = False
    while not ended and time.monotonic() < deadline:
        ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        time.sleep(0.002)
    if not ended:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    said = b""
    while part := os.read(line, 1 << 16):
        said += part
    os.close(line)
    return said.decode().splitlines() if ended else ["it hangs"]


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WORKER_S
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.001)


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Fork so often."""
    ledger = Ledger("forks", store, seed, bug)
    options: dict[str, object] = {"durability": "checkpoint", "timeout_s": 2}
    if store == "postgresql":
        options = {"lock_timeout_s": 1, "statement_timeout_s": 1}
    marks: list[str] = []
    with Arena(store, options) as arena:
        said: list[Any] = list(arena.start(serve, rounds, bug).rest())
        for who, number, told in said:
            for each in told:
                ledger.count(f"{who}: refused" if each == "refused" else f"{who}: done")
                if each.startswith((who, "parent")):
                    marks.append(each)
                elif each != "refused":
                    ledger.find(f"{who} {number}: {each}")
            if who == "worker" and len(told) != COMMANDS:
                ledger.find(f"{who} {number} did {len(told)} of {COMMANDS} commands")
        if not said or said[-1][0] != "parent":
            ledger.find("the parent did not come to its end")
        with ModelRegistry(arena.url) as registry:
            seen, wrong = check_log(registry)
            registry.deploy("s3://model", model_name="after")
    ledger.find(*wrong)
    effects = list(seen.appends.values())
    ledger.find(*(f"{mark} has {effects.count(mark)} effects" for mark in marks if effects.count(mark) != 1))
    return ledger.report(rounds)
