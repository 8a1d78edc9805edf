"""Whose folder is it? Contents are erased only by the store that owns their folder.

The law of this room: **who erases, owns.** A folder bears the id of one store, and the last event of its log that the
folder has seen. Any store may read there and add to it, as contents are named by what they are. Another store is
refused when it wants to erase, and so is a copy of the store that lacks that event: an older backup, or a copy that
went its own way and does not know what the owner still needs.

A new folder belongs to the store that first keeps something in it. Each time that its owner deploys contents, or
deletes a version that has some, the event is moved on. A folder that has contents and bears no id belongs to nobody,
until it is adopted. An adoption gives the store one more id, which no copy has that was made before, and the folder
bears that. It may then hold contents of others: only those that the owner's own log deployed are ever erased.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import msgspec

from versioning.errors import ArtifactsNotOwnedError, StoreError
from versioning.ids import Bookmark

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "owner.json"
"""File in the folder that says whose it is."""


class Log(Protocol):
    """What has to be known of a log to say whether a folder is its own."""

    def ids(self) -> list[str]:
        """Return the ids of the store: its own first."""

    def add_id(self, new: str) -> None:
        """Add an id to those of the store."""

    def last(self) -> Bookmark:
        """Return the place of the last event."""

    def has(self, place: Bookmark) -> bool:
        """Return whether the log has the event of a place."""


@attrs.frozen
class Owner:
    """The store that owns a folder."""

    store: str
    place: Bookmark
    """Last event of its log that the folder has seen."""
    adopted: bool = False
    """Whether the folder had contents before it was this store's."""


class _Held(msgspec.Struct):
    """An owner, as the file has it."""

    store: str
    position: int
    link: str
    adopted: bool


def read(folder: Path) -> Owner | None:
    """Return the owner of a folder, None if it has none.

    Raises:
        StoreError: the file that says so can't be read.
    """
    try:
        held = msgspec.json.decode((folder / FILE).read_bytes(), type=_Held)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        msg = "The file that says whose the artifacts folder is can't be read."
        hint = "Restore it, or let {adopt} write it again."
        raise StoreError(msg, hint=hint, path=str(folder / FILE)) from error
    return Owner(held.store, Bookmark(held.position, held.link), held.adopted)


def write(folder: Path, owner: Owner) -> None:
    """Write the owner of a folder, all or nothing; only who holds the folder's lock does."""
    draft = folder / f"{FILE}.tmp"
    try:
        with draft.open("wb") as file:
            file.write(msgspec.json.encode(_Held(owner.store, *owner.place, owner.adopted)))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / FILE)
    finally:
        draft.unlink(missing_ok=True)


def claim(folder: Path, log: Log) -> None:
    """Make a folder the own of a log's store, unless it is somebody's."""
    if read(folder) is None:
        write(folder, Owner(log.ids()[0], log.last()))


def adopt(folder: Path, log: Log, *, is_empty: bool) -> None:
    """Make a folder the own of a log's store, whoever had it before."""
    new = secrets.token_hex(16)
    log.add_id(new)
    write(folder, Owner(new, log.last(), adopted=not is_empty))


def move_on(folder: Path, log: Log) -> None:
    """Note what the log of a folder's owner has by now; nothing, if the folder is somebody else's."""
    owner, last = read(folder), log.last()
    if owner is not None and owner.place != last and owner.store in log.ids() and log.has(owner.place):
        write(folder, attrs.evolve(owner, place=last))


def check(folder: Path, log: Log) -> Owner:
    """Return the owner of a folder, which has to be the store of a log.

    Raises:
        ArtifactsNotOwnedError: it is not.
        StoreError: the file that says so can't be read.
    """
    owner = read(folder)
    if owner is None:
        msg = "The artifacts folder has contents, and belongs to no store."
    elif owner.store not in log.ids():
        msg = "The artifacts folder belongs to another store."
    elif not log.has(owner.place):
        msg = "The artifacts folder has seen events that this copy of the store does not have."
    else:
        return owner
    raise ArtifactsNotOwnedError(msg, path=str(folder))
