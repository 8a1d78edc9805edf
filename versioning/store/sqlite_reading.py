"""The connections to a SQLite file that is only read: an auditor's copy, a file of others, a medium that is sealed.

The law of this room: **nothing is made, not even beside the file, unless what lies there demands it.**

*With a write-ahead log beside the file,* SQLite reads it in its mode `ro`: with the locks and the index (`-shm`) that a
living writer and its readers share, or with an index of its own where the file may not be written and no writer is
there. Only if the index is missing SQLite has to make one; where the folder can't be written, that is an error which
says so.

*Without one,* nobody has the file open: a writer makes the log when it comes, and removes it when the last one goes.
SQLite in mode `ro` would now make both files itself and leave them behind, as the reader's, where the next writer might
not be allowed to write to them; and in a folder that can't be written it reads nothing at all. So the file is read as
one that does not change (`immutable=1`), without locks. Whether it did change is looked at afterwards, in what the
system says of the files: an answer counts only if they still are as they were when the connection was opened. If they
are not, that one question is an error, and the next one opens the file anew.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from versioning.errors import StoreError, shown
from versioning.store.recorder import read_only
from versioning.store.sqlite_connections import FileConnections, check_tables
from versioning.store.sqlite_errors import primary_code, store_error

if TYPE_CHECKING:
    from pathlib import Path

Stamp: TypeAlias = "tuple[tuple[int, int, int, int] | None, ...]"
"""What the system says of the file and those beside it: device, number, size and moment of the last change of each."""

_BESIDE: Final = ("", "-wal", "-shm", "-journal")


def _stamp(path: Path) -> Stamp:
    found: list[tuple[int, int, int, int] | None] = []
    for suffix in _BESIDE:
        try:
            status = (path if not suffix else path.with_name(path.name + suffix)).stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _is_still(stamp: Stamp) -> bool:
    """Return whether nobody has the file open to write it: no log, or an empty one that was left without its index."""
    _, wal, shm, journal = stamp
    return journal is None and (wal is None or (wal[2] == 0 and shm is None))


class ReadingConnections(FileConnections):
    """The connections to one file that is only read."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        """Look whether the file holds our tables; nothing is made.

        Raises:
            StoreError: it is not there, can't be read, or has no tables of ours, or those of an older release.
            NewerFormatError: a newer release wrote it.
        """
        self._opened: dict[sqlite3.Connection, Stamp] = {}
        """Connections to a file that stands still, each with what was so when it was opened."""
        super().__init__(path, timeout_s, "commit")

    def _create(self) -> None:
        if not self._path.is_file():
            msg = f"There is no file {shown(str(self._path))} to read."
            raise StoreError(msg, hint="Check the URL for a typo: nothing is made with {read_only}.")
        try:
            connection = self._connect("ro")
            try:
                check_tables(connection, self.where)
                self.check(connection)
            finally:
                self._forget(connection)
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> StoreError:
        _, wal, shm, _ = _stamp(self._path)
        if primary_code(error) == sqlite3.SQLITE_CANTOPEN and wal is not None and shm is None:
            msg = f"{self.where} has a write-ahead log beside it, but no -shm, and none can be made in its folder."
            hint = "Copy the file and its -wal to a folder that you may write to, and read the copy."
            return StoreError(msg, hint=hint)
        return store_error(error, self.where)

    def _connect(self, mode: str) -> sqlite3.Connection:  # noqa: ARG002 - there is one way to read
        stamp = _stamp(self._path)
        connection = super()._connect("ro&immutable=1" if _is_still(stamp) else "ro")
        if _is_still(stamp):
            self._opened[connection] = stamp
        return connection

    def _forget(self, connection: sqlite3.Connection) -> None:
        self._opened.pop(connection, None)
        connection.close()

    def check(self, connection: sqlite3.Connection) -> None:
        stamp = self._opened.get(connection)
        if stamp is not None and stamp != _stamp(self._path):
            msg = f"{self.where} was changed while it was read without a lock, as nobody had it open."
            raise StoreError(msg, hint="Try again.")

    def take_reader(self) -> sqlite3.Connection:
        connection = super().take_reader()
        stamp = self._opened.get(connection)
        if stamp is None or stamp == _stamp(self._path):
            return connection
        self.give_reader(connection, broken=True)
        return self.take_reader()

    def give_reader(self, connection: sqlite3.Connection, *, broken: bool = False) -> None:
        if broken:
            self._opened.pop(connection, None)
        super().give_reader(connection, broken=broken)

    def version(self) -> object:
        stamp = _stamp(self._path)
        if not _is_still(stamp):
            return super().version()
        with self._watching:
            self._check_open()
            self._close_watch()
        return stamp

    def take_writer(self) -> NoReturn:
        raise read_only(self.where)

    def try_writer(self) -> NoReturn:
        raise read_only(self.where)
