"""Does the write-ahead log that lies beside a SQLite file belong to it?

The law of this room: **no data is changed, and the database is opened through SQLite only**: to close its file in any
other way would drop the locks that this process holds on it. The write-ahead log bears no lock, so it is read as it is.

SQLite itself can't tell. A write-ahead log holds whole pages, checksums and a salt, but nothing about the file that it
continues. So when somebody copies a backup over the file and leaves the `-wal` of before, the next process that opens
the file takes those pages in. Then the restore is undone without a word, or pages of two times are mixed.

What gives a foreign log away, from certain to likely:

    its pages have another size              those of a log of this file have the file's size
    a page is neither in it nor in the file  whatever the log does not have was in the file before
    with it, the file's last event is lost   what was recorded stays
      or the database is damaged
    the file was written after it, and it    a file is written when it takes in the whole log, unless that is cut short
    has events that the file lacks           or a reader holds on to an older state; or when somebody copies it there

A file is read without its log as `immutable`, and together with it as `ro`, which takes nothing in. If one of the two
files changed meanwhile, the store is in use, and nothing is said.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from versioning.store.sqlite_connections import SQL
from versioning.store.sqlite_errors import primary_code

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from versioning.store.contract import LogRow

COMPANIONS: Final = ("-wal", "-shm", "-journal")
"""Ends of the names of the files that SQLite looks for beside a database."""
_HEADER: Final = struct.Struct(">4s4xI4xQ8x")
"""Magic, page size and salt in the header of a write-ahead log."""
_FRAME: Final = struct.Struct(">IIQ8x")
"""Number of a page, size of the database in pages if this ends a commit, and salt, before each page."""
_MAGIC: Final = frozenset({b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"})
_LINK_BYTES: Final = 80
"""Length of the beginning of a state that has its link."""
_COPIED: Final = (
    "If the file was copied here, as when a backup is restored, end all that use it, move the -wal and the -shm away, "
    "and look again; {restoring} says more. "
)
_CRASHED: Final = "If it was not, a process was killed: any other verb opens the store and takes the -wal in. "
_UNOPENED: Final = "The store was not opened now, because that takes the -wal in."


class ForeignLog(NamedTuple):
    """What speaks against a write-ahead log."""

    certain: bool
    """Whether it can't belong to the file, or only seems not to."""
    sentence: str
    hint: str


class _Log(NamedTuple):
    """The part of a write-ahead log that SQLite would take in."""

    page_bytes: int
    pages: frozenset[int]
    """Numbers of the pages in it."""
    pages_after: int
    """Size of the database after the last commit, in pages."""


def foreign_log(path: Path) -> ForeignLog | None:
    """Return what speaks against the write-ahead log beside a file, or None; ask before the file is opened to write."""
    wal = path.with_name(f"{path.name}-wal")
    try:
        before, is_younger = _state(path, wal), _is_younger(path.stat(), wal.stat())
        log = _read(wal)
        said = None if log is None else _judged(path, log, is_younger=is_younger)
        return said if _state(path, wal) == before else None
    except (OSError, sqlite3.Error):  # one of them is missing, or what is there can't be read: opening it says so
        return None


def _state(path: Path, wal: Path) -> list[tuple[int, int]]:
    """Return what changes when somebody writes to one of the two."""
    return [(each.st_mtime_ns, each.st_size) for each in (path.stat(), wal.stat())]


def _is_younger(file: os.stat_result, wal: os.stat_result) -> bool:
    """Return whether the file was written after its log.

    A tool that copies can set `st_mtime` to that of the original, but not `st_ctime`. SQLite as root sets the owner of
    each log that it opens, and so its `st_ctime`, as this look does.
    """
    return file.st_ctime_ns > wal.st_ctime_ns or file.st_mtime_ns > wal.st_mtime_ns


def _judged(path: Path, log: _Log, *, is_younger: bool) -> ForeignLog | None:
    with closing(_opened(path, "immutable=1")) as file:
        ((page_bytes,),) = file.execute("PRAGMA page_size")
        alone = file.execute(SQL["last_row"]).fetchone()
    if log.page_bytes != page_bytes:
        return _foreign(f"its pages have {log.page_bytes:,} bytes, and those of the file {page_bytes:,}")
    behind = range(path.stat().st_size // page_bytes + 1, log.pages_after + 1)
    if (missing := next((page for page in behind if page not in log.pages), None)) is not None:
        return _foreign(f"page {missing:,} is in neither")
    position = alone[0] if alone else 0
    with closing(_opened(path, "mode=ro")) as both:
        try:
            there = both.execute(SQL["log"], (position - 1, position, 1)).fetchone()
            end = both.execute(SQL["last_row"]).fetchone()
        except sqlite3.Error as error:
            if primary_code(error) != sqlite3.SQLITE_CORRUPT:
                raise
            return _foreign("with it, the database is damaged")
    if _link(there) != _link(alone):
        return _foreign(f"with it, the event of the file at position {position:,} is lost")
    more = (end[0] if end else 0) - position
    if is_younger and more > 0:
        said = f"The file was written after the -wal beside it, which has events that the file lacks: {more:,}."
        return ForeignLog(False, said, _COPIED + _CRASHED + _UNOPENED)  # noqa: FBT003 - the field has a name
    return None


def _link(row: LogRow | None) -> bytes | None:
    """Return the link of a row, which stands at its beginning: the end can be torn where a checkpoint was cut short."""
    state: object = None if row is None else row[4]
    return state[:_LINK_BYTES] if isinstance(state, bytes) else None


def _foreign(problem: str) -> ForeignLog:
    return ForeignLog(True, f"The -wal beside the file does not belong to it: {problem}.", _COPIED + _UNOPENED)  # noqa: FBT003 - the field has a name


def _opened(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)


def _read(wal: Path) -> _Log | None:
    """Return what SQLite would take in: whole commits of the log's own salt; None if there is nothing."""
    pages, committed, pages_after = set[int](), set[int](), 0
    with wal.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        magic, page_bytes, salt = _HEADER.unpack(header)
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            page, size, salt_of_frame = _FRAME.unpack(frame)
            if salt_of_frame != salt:
                break
            pages.add(page)
            if size:
                committed |= pages
                pages_after = size
            file.seek(page_bytes, 1)
    return _Log(page_bytes, frozenset(committed), pages_after) if magic in _MAGIC and committed else None
