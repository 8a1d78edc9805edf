"""A right that one holder at a time has, as a lock on a file: between processes, registries and threads alike.

The law of this room: **the system takes the lock away from a holder that dies**, so that a dead one never looks like a
living one, and no pid, clock or container has to be compared.

The file stands beside the database, and is never the database itself: closing a second descriptor of that would end
the locks that SQLite holds on it. Its holder removes it. What a killed holder leaves is a file that nobody has locked,
and the next one takes it over. As a file can be removed between opening and locking it, a lock counts only if the name
still means the same file.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from typing import TYPE_CHECKING, Final

from versioning.errors import StoreError, shown
from versioning.processes import inherited_by

if sys.platform == "win32":  # pragma: no cover - the suite runs where there is flock
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

OPENED_MAX: Final = 100
"""Most times that a file is opened again because its holder removed it just then."""
_OPEN: Final = os.O_RDONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class FileLease:
    """A lock on a file, which ends with this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()
        inherited_by(self)
        _HELD.add(self)

    @classmethod
    def taken(cls, path: Path, mode: int) -> FileLease | None:
        """Lock a file, which is made with this mode if it is missing; return None if somebody has locked it.

        Raises:
            StoreError: the file can't be made.
        """
        for _ in range(OPENED_MAX):
            try:
                descriptor = os.open(path, _OPEN, mode)
            except OSError as error:
                msg = f"The file {shown(str(path))} can't be made: {error.strerror}."
                raise StoreError(msg, hint="Look at the rights on its folder.") from error
            try:
                if not _lock(descriptor):
                    os.close(descriptor)
                    return None
                if _is_named(descriptor, path):
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        return None

    def check(self) -> None:
        """Do nothing: it can't be lost."""

    def close(self) -> None:
        """Release it; a child only closes what it inherited, as the lock is its parent's."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._pid == os.getpid():
            with contextlib.suppress(OSError):  # Windows removes no open file: the next holder takes it over
                self._path.unlink()
            _unlock(descriptor)  # closing is not enough, if a child that was forked without our hook has it open
        os.close(descriptor)

    def begin_in_child(self) -> None:
        """Close what was inherited, so that the lock ends with the parent."""
        self.close()


_HELD: Final[weakref.WeakSet[FileLease]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lease in list(_HELD):
        lease.close()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":  # pragma: no cover - the suite runs where there is flock

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
