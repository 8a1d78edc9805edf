"""What runs beside a test: other threads, and forked processes."""

from __future__ import annotations

import os
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Task:
    """Something that another thread does."""

    def __init__(self, task: Callable[[], Any]) -> None:
        self._task = task
        self._failure: BaseException | None = None
        self._answer: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer = self._task()
        except BaseException as failure:  # noqa: BLE001 - it is raised again below
            self._failure = failure

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Any:  # noqa: ANN401 - whatever the task gives
        self._thread.join(20)
        assert self.is_over, "it hangs"
        if self._failure is not None:
            raise self._failure
        return self._answer


def until(condition: Callable[[], Any], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.002)


def in_child(task: Callable[[], object]) -> int:
    """Fork, do something in the child, and end it at once; give its process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: that is what is tried here
        child = os.fork()
    if child == 0:  # pragma: no cover - coverage does not follow forks
        status = 1
        try:
            task()
            status = 0
        except BaseException:  # noqa: BLE001 - it must never come back into pytest
            traceback.print_exc()
        finally:
            os._exit(status)
    return child


def ended_well(*children: int) -> bool:
    return all(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in children)
