"""The errors about files that callers name, for checkpoints and log files alike.

The law of this room: what the operating system says is repeated, and what to do about it is said beside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from versioning.errors import InvalidArgumentError, StoreError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def name_new(part: Path, path: Path, check_free: Callable[[Path], None]) -> None:
    """Name a file that is complete, unless something has the name by now: then `check_free` raises."""
    try:
        os.link(part, path)  # unlike a rename, it replaces nothing
    except OSError:  # something has the name, or the file system has no links
        check_free(path)
        part.rename(path)


def unreadable(path: str | Path, error: Exception, argument: str) -> InvalidArgumentError:
    """Return the error for a file that can't be read, which the caller named in an argument."""
    msg = f"{shown(str(path))} can't be read: {cause_of(error)}."
    return InvalidArgumentError(msg, outside="The file can't be read.", argument=argument)


def unwritable(path: str | Path, error: Exception) -> StoreError:
    """Return the error for a file that can't be written."""
    hint = "Check the permissions of the folder, and that the disk is not full."
    return StoreError(f"{shown(str(path))} can't be written: {cause_of(error)}.", hint=hint)


def cause_of(error: Exception) -> str:
    """Return what the operating system said, or else the error itself."""
    return getattr(error, "strerror", None) or shown(error)
