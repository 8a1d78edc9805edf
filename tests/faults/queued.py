"""What Celery's workers do: the registry is opened in their parent, which loads this module (see `queueing.py`)."""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults import serving
from tests.faults.queueing import FOLDER_VARIABLE, queue_in

FOLDER = Path(os.environ[FOLDER_VARIABLE])
app = queue_in(FOLDER)


def do(model_name: str, mark: str) -> None:
    line = os.open(FOLDER / "done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        serving.do(model_name, mark, line)
    finally:
        os.close(line)


app.task(name="do", ignore_result=True)(do)
