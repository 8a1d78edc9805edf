"""A backup: a whole copy of a store in a file, taken while others write.

The law of this room: **a file of this name is a whole copy, or it is not there.** It is written beside, read from its
first row to its last, synced, and only then named. Nothing is ever replaced.

*What is copied.* One snapshot of the database: its log, its idempotency keys and its kept views, of all workspaces.
Writers are not stopped. The contents of artifacts are in a folder of their own, and are not copied.

*Leftovers.* A write-ahead log that lies at the place already would be taken for one of the copy, and SQLite would write
its pages over it. So such a place is refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from versioning.audit.checkpoints import Checkpoint, take_checkpoint
from versioning.audit.files import name_new, unwritable
from versioning.errors import InvalidArgumentError, VersioningError, shown
from versioning.events import Value
from versioning.store.format import decode
from versioning.store.opening import open_store
from versioning.store.sqlite_wal import COMPANIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from versioning.audit.checkpoints import Progress
    from versioning.store.contract import LogRow, Store


@attrs.frozen
class Backup(Value):
    """A copy of a store, and what it holds."""

    file: str
    """File of the copy, which is a SQLite store."""
    position: int
    """Position of the last row in it."""
    count: int
    """Number of rows in it."""
    bookmark: str | None
    """Bookmark of the last event in it; None where it has none, or one that can't be read."""
    checkpoint: Checkpoint = attrs.field(repr=False)
    """Checkpoint of the copy, for `verify`."""


def back_up(store: Store, file: object, now_us: int, progress: Progress | None = None) -> Backup:
    """Write a whole copy of a store to a new file, and read it again.

    Args:
        store: the store; others may write to it meanwhile.
        file: a path where nothing is yet.
        now_us: the present, in microseconds since 1970 UTC.
        progress: called with "backup", the pages written and all pages; then as `take_checkpoint` does.

    Raises:
        InvalidArgumentError: something is at this path, or the store is no file and no memory.
        CorruptLogError: a row of the copy can't be read.
        StoreError: the file can't be written.
    """
    with _written_beside(_checked(file), store.path) as (path, part):
        store.copy_to(part, progress)
        copy = open_store(part)
        try:
            checkpoint = take_checkpoint(copy, now_us, progress)
            bookmark = _bookmark(copy.log(checkpoint.position - 1, 1))
        finally:
            copy.close()
    return Backup(str(path), checkpoint.position, checkpoint.count, bookmark, checkpoint)


def _bookmark(rows: Sequence[LogRow]) -> str | None:
    """Return the bookmark of the last row; a row that can't be read is copied too, and is for `verify`."""
    try:
        return decode(*rows[-1]).bookmark if rows else None
    except VersioningError:
        return None


def _checked(file: object) -> Path:
    if isinstance(file, str | Path) and str(file):
        return Path(os.path.abspath(file))  # noqa: PTH100 - keeps links
    msg = f"file must be a path, not {shown(file)}."
    raise InvalidArgumentError(msg, hint="Name a new file.", outside="This is no path.", argument="file")


@contextlib.contextmanager
def _written_beside(path: Path, source: Path | None) -> Iterator[tuple[Path, Path]]:
    """Yield the path, and an empty file beside it that takes its name when the block ends without an error."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        for each in _names(path):
            _check_free(each)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, _mode(source)))
        try:
            yield path, part
            _sync(part)
            name_new(part, path, _check_free)
        finally:
            for each in _names(part):
                each.unlink(missing_ok=True)
        _sync(path.parent)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def _names(path: Path) -> list[Path]:
    """Return a file of SQLite, and the files that SQLite would look for beside it."""
    return [path, *(path.with_name(path.name + suffix) for suffix in COMPANIONS)]


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        msg = f"{shown(str(path))} exists already."
        hint = "Name another file, or move this one away first, together with its -wal and -shm."
        raise InvalidArgumentError(msg, hint=hint, outside="The file exists already.", argument="file")


def _mode(source: Path | None) -> int:
    """Return the rights of the copy: those of the original, which the process's umask may narrow."""
    return 0o666 if source is None else stat.S_IMODE(source.stat().st_mode) & 0o666


def _sync(path: Path) -> None:
    """Make what is in a file or a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
