"""A queue of Celery in a folder, and its workers: `python -m tests.faults.queueing FOLDER COMMANDS`.

All commands are put into the queue before this process becomes the worker, since Celery's queue in a folder may read a
message while it is written, and lose it. Each command is a line of JSON in the file `done`. The registry is opened in
the parent of the workers, where they import `tests.faults.queued`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

from celery import Celery

FOLDER_VARIABLE: Final = "VERSIONING_TEST_QUEUE"
WORKER: Final = ("--app", "tests.faults.queued", "worker", "--pool", "prefork", "--concurrency", "2")
QUIET: Final = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")


def queue_in(folder: Path) -> Any:  # noqa: ANN401 - Celery has no types
    """Give the queue in a folder."""
    messages = folder / "messages"
    messages.mkdir(exist_ok=True)
    queue = Celery("tests", broker="filesystem://")
    queue.conf.broker_transport_options = {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(folder / "control"),
        "processed_folder": str(folder),
        "store_processed": True,
        "polling_interval": 0.02,
    }
    return queue


def main(folder: str, commands: int) -> None:
    """Put the commands into the queue, and become its worker."""
    queue = queue_in(Path(folder))
    for number in range(commands):
        queue.send_task("do", (f"m{number % 3}", f"task {number}"))
    os.environ[FOLDER_VARIABLE] = folder
    os.execv(sys.executable, [sys.executable, "-m", "celery", *WORKER, *QUIET])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
