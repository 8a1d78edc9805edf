"""Contents as a file of the caller's own: what `fetch` writes (R26).

The law of this room: **a name has the whole contents, or it is not there.** They are written in chunks under another
name in the same folder, and their digest is checked before they get the name that was asked for. Nothing is replaced
unless the caller says so, and then only a file, or the link itself where a link leads to one: writing through a link
would change a file that nobody named.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from versioning.artifacts.folder import digest_in_folder, sync
from versioning.artifacts.formats import refuse
from versioning.artifacts.loading import present
from versioning.errors import StoreError, shown
from versioning.limits import checked_flag

if TYPE_CHECKING:
    from collections.abc import Iterator

    from versioning.artifacts.folder import ArtifactFolder
    from versioning.events import ArtifactRef

_DEVICES: Final = Path("/dev")
"""Folder whose links are those of the system, such as `/dev/stdout`: no link there is replaced."""


def fetch(reference: ArtifactRef, folder: ArtifactFolder | None, path: object, *, overwrite: object = False) -> None:
    """Write the contents that a reference names to a file; they are held in memory chunk by chunk, and never loaded.

    Raises:
        ArtifactNotFoundError: the reference leads elsewhere, or the contents are gone.
        ArtifactDamagedError: they are not those that were deployed; no file was made.
        InvalidArgumentError: the path can't be accepted, or something is there already.
        StoreError: the folder can't be read, or the file can't be written.
    """
    target, replaces = _checked_path(path), checked_flag(overwrite, "overwrite")
    digest_in_folder(reference)
    folder = present(folder)
    with _explained(target):
        _check_free(target, replaces=replaces)
        draft = target.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            with draft.open("xb") as file:
                folder.copy(reference, file.write)
                file.flush()
                os.fsync(file.fileno())
            _name(draft, target, replaces=replaces)
        finally:
            draft.unlink(missing_ok=True)
        sync(target.parent)


def _checked_path(path: object) -> Path:
    text = str(path) if isinstance(path, Path) else path
    if not (isinstance(text, str) and text.strip() and "\0" not in text and _can_be_named(text)):
        outside = "The path of the file can't be accepted."
        refuse("path", f"path is the path of a file, not {shown(path)}.", hint="Name a file.", outside=outside)
    return Path(str.__str__(text))


def _can_be_named(text: str) -> bool:
    try:
        os.fsencode(str.__str__(text))
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _check_free(path: Path, *, replaces: bool) -> None:
    """Check that a path can be given to a file.

    Raises:
        InvalidArgumentError: something is there that may not be replaced.
    """
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return
    with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere can be replaced like one to a file
        found = path.stat().st_mode
    if not (stat.S_ISREG(found) or stat.S_ISLNK(found)) or (path.is_symlink() and path.parent.resolve() == _DEVICES):
        hint = "Choose another path; to write into a folder, add the name of the file."
        outside = "Something that is no file is there already."
        refuse("path", f"{shown(str(path))} is there already, and is no file.", hint=hint, outside=outside)
    if not replaces:
        _refuse_taken(path)


def _refuse_taken(path: Path) -> NoReturn:
    hint = "Choose another path, or pass {overwrite}."
    msg = f"The file {shown(str(path))} exists already."
    refuse("path", msg, hint=hint, outside="The file exists already.")


def _name(draft: Path, target: Path, *, replaces: bool) -> None:
    """Rename a file that is complete.

    Raises:
        InvalidArgumentError: it may not replace anything, and the name was given to something else by now.
    """
    if not replaces:
        try:
            os.link(draft, target)  # unlike a rename, it replaces nothing
        except FileExistsError:
            _refuse_taken(target)
        except OSError:  # not every file system has links
            _check_free(target, replaces=False)
        else:
            return
    draft.replace(target)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{shown(str(path))} can't be written: {error.strerror or shown(error)}."
        hint = "Check that its folder is there, that this process may write to it, and that the disk has room."
        raise StoreError(msg, hint=hint) from error
