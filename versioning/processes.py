"""Which process this is: what a parent opened, locked or was just changing is not its child's.

The law of this room: **a child uses nothing of its parent's that only one process can use, whoever forked it.** Hooks
of `os.register_at_fork` are not enough, because servers such as uWSGI fork in C, and no hook runs then.

*The look.* Whoever takes a connection, a lock or a state that a thread may have been changing calls `look` first. The
first look in a child tells every `Heir` to begin anew; nobody else gets on meanwhile. So a lock that another thread of
the parent held at that moment blocks nobody, and locks and queues are made where they are first used, after a server
has put gevent's in their place.

*Its price.* Asking for the pid is a system call: 0.04 to 0.4 µs, by machine. Linux has a cheaper sign: a page of memory
that it empties in every child (`MADV_WIPEONFORK`). To read a byte of it takes 0.04 µs, and it can't be deceived by a
pid that was used before. Where that is missing, the pid is asked for.

To add one: a class with `begin_in_child`, which calls `inherited_by(self)` when it is made, and `look()` where
something is taken from it. `begin_in_child` may run twice.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from typing import Final, Protocol

_WIPED_IN_CHILD: Final = 18
"""The advice MADV_WIPEONFORK of Linux 4.14 and later, which Python has no name for."""


class Heir(Protocol):
    """Something that a child inherits and can't use as it is."""

    def begin_in_child(self) -> None:
        """Begin anew in this process. It must not look, because that is what is going on."""


class Pid:
    """The sign of a process by its pid: `sign[0]` is true in the process that set it last."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, _: int) -> bool:
        return os.getpid() == self._pid

    def __setitem__(self, _: int, is_set: int) -> None:
        self._pid = os.getpid() if is_set else 0


def sign_of(page: type[mmap.mmap] = mmap.mmap) -> mmap.mmap | Pid:
    """Return something whose item 0 is true in this process from now on, and false in every child."""
    sign: mmap.mmap | Pid
    try:
        sign = page(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        sign.madvise(_WIPED_IN_CHILD)
    except (AttributeError, OSError, ValueError):  # another system, or an older Linux
        sign = Pid()
    sign[0] = 1
    return sign


_BEGUN: Final = sign_of()
"""Whether this process has begun: false until the first look of a child is over."""
_HEIRS: Final[weakref.WeakSet[Heir]] = weakref.WeakSet()
_gates: Final[dict[int, threading.RLock]] = {}
"""Lock of the first look, by process; one that was inherited might be held by a thread of the parent."""


def inherited_by(heir: Heir) -> None:
    """Remember something that has to begin anew in every child of this process."""
    look()
    _HEIRS.add(heir)


def look() -> None:
    """Begin anew, if this is a child that has not done so yet."""
    if not _BEGUN[0]:
        _begin()


def _begin() -> None:
    with _gates.setdefault(os.getpid(), threading.RLock()):
        if not _BEGUN[0]:
            for heir in list(_HEIRS):
                heir.begin_in_child()
            _BEGUN[0] = 1
