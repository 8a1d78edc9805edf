"""What went wrong in SQLite, as an error with a sentence and a hint.

To add one: its line in `_SENTENCES`, and in `LOST` if the connection is of no use afterwards.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from versioning.errors import StoreError, shown
from versioning.store.contract import AppendConflict

BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SENTENCES: Final = {
    sqlite3.SQLITE_BUSY: ("is locked by another process or connection", "Try again, or look who holds it."),
    sqlite3.SQLITE_LOCKED: ("is locked by another connection", "Try again, or look who holds it."),
    sqlite3.SQLITE_FULL: ("can't grow: the disk is full", "Make room; nothing was recorded."),
    sqlite3.SQLITE_READONLY: ("can't be written to", "Look at the rights on the file and on its folder."),
    sqlite3.SQLITE_IOERR: ("can't be read or written", "Look at the disk and at the system's log."),
    sqlite3.SQLITE_CORRUPT: ("is damaged", "Keep a copy of the file and restore a backup."),
    sqlite3.SQLITE_NOTADB: ("is not an SQLite database", "Name another file."),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "Look at the rights on the file and on its folder."),
}
LOST: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)
"""Codes after which the connection is closed and another one opened."""


def primary_code(error: BaseException | None) -> int:
    """Return SQLite's primary code for an error, or 0 if the error is not SQLite's."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def store_error(error: sqlite3.Error, where: str) -> StoreError:
    """Return what SQLite's error means; `where` names the database."""
    sentence, hint = _SENTENCES.get(primary_code(error), (f"failed: {shown(str(error))}", None))
    return StoreError(f"{where} {sentence}.", hint=hint)


def forked(where: str) -> StoreError:
    """Return the error of a store that can't be used in this child of another process."""
    msg = f"{where} was in use while this process was forked, so it can't be used here."
    hint = "Fork before it is opened, or while no thread reads or writes; what is in memory can't be shared at all."
    return StoreError(msg, hint=hint)


def closed(where: str) -> StoreError:
    """Return the error of a store that was closed."""
    return StoreError(f"{where} is closed.", hint="Open it again.")


def held_up(where: str, timeout_s: float) -> StoreError:
    """Return the error of a connection that another thread did not give back in time."""
    return StoreError(f"{where} is in use by another thread for more than {timeout_s:g} s.", hint="Try again.")


def told(error: sqlite3.Error, where: str) -> AppendConflict | StoreError:
    """Return what SQLite's error about a write means: somebody else was first, or the database failed."""
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return AppendConflict("Somebody else was first.")
    if code == sqlite3.SQLITE_CONSTRAINT_NOTNULL and str(error).endswith(".originator_id"):  # see `append` in the SQL
        return AppendConflict("The row that it follows is not there.")
    return store_error(error, where)
