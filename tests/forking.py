"""Processes that are forked, by Python or as uWSGI does it, and a process that takes itself for a child."""

from __future__ import annotations

import ctypes
import os
import signal
import weakref
from typing import TYPE_CHECKING, Any, Final

import pytest

from versioning import processes

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S: Final = 20
"""How long a child may take before it is ended by a signal."""


def fork_in_c() -> int:
    """Fork as a server does that is written in C: no hook of Python runs."""
    pid: int = ctypes.PyDLL(None).fork()
    return pid


FORKS: Final = {"by Python": os.fork, "in C": fork_in_c}

each_fork = pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def started(task: Callable[[], object], fork: Callable[[], int] = os.fork) -> Callable[[], str]:
    """Fork, and run a task in the child; return a function that waits for what it answered or raised."""
    receive, send = os.pipe()
    pid = fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE_S)
        try:
            answer = str(task())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            answer = f"{type(error).__name__}: {error}"
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)

    def answered() -> str:
        with os.fdopen(receive) as answers:
            answer = answers.read()
        status = os.waitpid(pid, 0)[1]
        return answer if status == 0 else f"ended with status {status}"

    return answered


def answer_of_child(task: Callable[[], object], fork: Callable[[], int] = os.fork) -> str:
    """Fork, run a task in the child, and give what it answered or raised."""
    return started(task, fork)()


def become_a_child(patch: pytest.MonkeyPatch, *heirs: Any) -> None:  # noqa: ANN401 - whatever begins anew in a child
    """Let the next look find that this process is a child, which inherited these."""
    patch.setattr(processes, "_HEIRS", weakref.WeakSet(heirs))
    processes._BEGUN[0] = 0
