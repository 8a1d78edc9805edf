"""What the tests of the SQLite store share: a store in a file and one in memory, and a look behind it.

file = sqlite_tools.file
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from versioning.store.contract import KeptRow
from versioning.store.sqlite import SQLiteRecorder
from versioning.store.sqlite_connections import FileConnections

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "models.db"


@pytest.fixture
def file(path: Path) -> Iterator[SQLiteRecorder]:
    with contextlib.closing(SQLiteRecorder(path, timeout_s=0.05)) as recorder:
        yield recorder


@pytest.fixture(params=["file", "memory"])
def recorder(request: pytest.FixtureRequest, path: Path) -> Iterator[SQLiteRecorder]:
    place = path if request.param == "file" else None
    with contextlib.closing(SQLiteRecorder(place, timeout_s=0.05)) as recorder:
        yield recorder


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the same file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.05)) as connection:
        yield connection


def connections(recorder: SQLiteRecorder) -> FileConnections:
    found = recorder._connections
    assert isinstance(found, FileConnections)
    return found


def writer(recorder: SQLiteRecorder) -> sqlite3.Connection:
    found = connections(recorder)._writer
    assert found is not None
    return found


def kept(model_name: str, *, live: bool = True, workspace: str = "w", state: bytes = b"") -> KeptRow:
    return KeptRow(workspace, model_name, f"key of {model_name}", live, state)
