"""The folder that holds the contents of versions, each file named by its digest (R26, R27).

The law of this room: **what is read is what was stored.** A file is complete and on disk before it gets its name. Its
digest is checked before a byte is handed out. Only `collect` erases, and nothing that was stored within the last day.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import secrets
import sys
import time
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import attrs

from versioning.artifacts import owner
from versioning.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    CorruptLogError,
    InvalidArgumentError,
    StoreError,
    shown,
)
from versioning.events import ArtifactRef

if sys.platform != "win32":  # pragma: no branch - Windows has no such locks: there, collect while nobody deploys
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DAY_S: Final = 86_400

_CHUNK_BYTES: Final = 2**20
SCHEME: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def checked_folder(artifacts: object) -> Path | None:
    """Return the folder that a registry was given for contents, if it was given one.

    Raises:
        InvalidArgumentError: it can be no path.
    """
    if artifacts is None or isinstance(artifacts, Path):
        return artifacts
    if isinstance(artifacts, str) and artifacts.strip() and "\0" not in artifacts:
        return Path(str.__str__(artifacts))
    msg = f"artifacts is the path of a folder, not {shown(artifacts)}."
    outside = "The path of the artifacts folder can't be accepted."
    raise InvalidArgumentError(msg, hint="Pass a Path, or none.", outside=outside, argument="artifacts")


def folder_for(given: Path | None, store: Path | None) -> Path | None:
    """Return the folder of contents: the one that was given, or else the one beside a SQLite file, links resolved.

    Args:
        given: what `checked_folder` returned.
        store: the file of the store, if it is one.
    """
    return given if given is not None or store is None else Path(f"{store.resolve()}.artifacts")


def is_digest(value: object) -> bool:
    """Return whether a value is a SHA-256 digest as 64 lowercase hexadecimal digits."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def digest_named_by(uri: str) -> str | None:
    """Return the digest in a URI of the form `sha256:<digest>`, or None for any other URI."""
    digest = uri.removeprefix(SCHEME)
    return digest if uri.startswith(SCHEME) and is_digest(digest) else None


def digest_in_folder(reference: ArtifactRef) -> str:
    """Return the digest under which the contents of a reference are kept in the folder.

    Raises:
        ArtifactNotFoundError: the reference leads elsewhere.
    """
    digest = digest_named_by(reference.uri)
    if digest is None:
        msg = f"This library keeps only a reference to this artifact: {shown(reference.uri)}."
        hint = "Fetch it from there. Contents are kept only where a Path, bytes or an object was deployed."
        raise ArtifactNotFoundError(msg, hint=hint, uri=reference.uri)
    return digest


def _absolute(path: Path) -> Path:
    return path.absolute()


@attrs.frozen
class ArtifactFolder:
    """The contents of one workspace: `<root>/<workspace>/<2 digits>/<62 digits>`; the first `store` makes the folder.

    The folder of a workspace is named by a digest of the workspace's name, so that no name leads out of the root or
    into the folder of another (R27). Several threads and processes may use one folder at the same time.
    """

    root: Path = attrs.field(converter=_absolute)
    workspace: str
    log: owner.Log | None = attrs.field(default=None, eq=False, repr=False)
    """Log of the store that uses it; without one, nobody asks whose the folder is."""

    @property
    def path(self) -> Path:
        return self.root / hashlib.sha256(self.workspace.encode("utf-8", "surrogatepass")).hexdigest()

    def store(self, contents: bytes, media_type: str | None = None) -> ArtifactRef:
        """Keep contents; if they are here already, they are intact and young afterwards.

        Raises:
            StoreError: the folder can't be written.
        """
        reference = summary_of([contents], media_type)
        digest = digest_in_folder(reference)
        self._own()
        if not (self._is_intact(digest) and self._touch(digest)):
            self._write(iter([contents]), media_type)
        return reference

    def store_file(self, path: Path, media_type: str | None = None) -> ArtifactRef:
        """Keep the contents of a file of any size.

        Raises:
            InvalidArgumentError: it is not a file, or can't be read.
            StoreError: the folder can't be written.
        """
        chunks = chunks_of(path)
        first = next(chunks, b"")  # a file that can't be read is refused here, before any folder is made
        self._own()
        return self._write(itertools.chain([first], chunks), media_type)

    def refresh(self, reference: ArtifactRef) -> None:
        """Keep the contents that a reference names for at least another day, if they are here."""
        if digest := digest_named_by(reference.uri):
            self._touch(digest)

    def read(self, reference: ArtifactRef) -> bytes:
        """Return contents exactly as they were stored.

        Raises:
            ArtifactNotFoundError: they are not here.
            ArtifactDamagedError: they have another digest or size.
            StoreError: the folder can't be read.
        """
        with self._explained("read"), self._opened(reference) as file:
            contents = file.read()
        _check(reference, summary_of([contents], None))
        return contents

    def copy(self, reference: ArtifactRef, write: Callable[[bytes], object]) -> None:
        """Pass contents of any size to `write`, in chunks. They are as they were stored only if this returns.

        Raises:
            ArtifactNotFoundError: they are not here.
            ArtifactDamagedError: they have another digest or size.
            StoreError: the folder can't be read.
        """
        _check(reference, summary_of(self._chunks(reference), None, write))

    def look_at(self, digest: str) -> Literal["intact", "missing", "damaged"]:
        """Return the condition of contents, without holding them in memory."""
        if self._is_intact(digest):
            return "intact"
        return "damaged" if self._place(digest).exists() else "missing"

    def collect(
        self,
        referenced: Callable[[], AbstractSet[str]] | AbstractSet[str],
        *,
        older_than_s: float = DAY_S,
        now: float | None = None,
        only: AbstractSet[str] | None = None,
        dry_run: bool = False,
    ) -> list[str]:
        """Erase old contents that nothing refers to, and return their digests; drafts of dead processes go too.

        This is safe beside deployments that take less than `older_than_s` from storing to recording. Ages are counted
        from before `referenced` is called, so whatever is recorded after that call is too young to be erased.

        Args:
            referenced: the digests to keep, or a function that returns them.
            older_than_s: the age from which contents are erased, in seconds.
            now: the present moment, in seconds since 1970; without it, that of the system's clock.
            only: the digests that may be erased; without it, any.
            dry_run: whether to return the digests that would be erased, and erase none.

        Raises:
            InvalidArgumentError: `referenced` is not a set of digests, so everything might be erased.
            StoreError: the folder can't be tidied.
        """
        before = (time.time() if now is None else now) - older_than_s
        digests: Any = referenced() if callable(referenced) else referenced
        wrong = [one for one in digests if not is_digest(one)] if isinstance(digests, AbstractSet) else [digests]
        if wrong:
            msg = f"referenced must be a set of digests, not {shown(wrong[0])}."
            raise InvalidArgumentError(msg, argument="referenced")
        with self._explained("tidied"):
            for draft in [] if dry_run else self.path.glob("*.tmp"):
                self._erase(draft, min(before, time.time() - DAY_S))
            named = [(path.parent.name + path.name, path) for path in sorted(self.path.glob("??/*"))]
            unused = [(digest, path) for digest, path in named if is_digest(digest) and digest not in digests]
            among = [(digest, path) for digest, path in unused if only is None or digest in only]
            return [digest for digest, path in among if self._erase(path, before, dry_run=dry_run)]

    # Whose it is.

    def owned(self) -> owner.Owner | None:
        """Return whose it is, which has to be the store that uses it; None where there is nothing yet.

        Raises:
            ArtifactsNotOwnedError: it belongs to somebody else.
            StoreError: whose it is can't be read.
        """
        if self.log is None or not self._has_contents():
            return None
        return owner.check(self.path, self.log)

    def adopt(self) -> None:
        """Make it the own of the store that uses it, whoever had it before.

        Raises:
            StoreError: it can't be written.
        """
        assert self.log is not None  # noqa: S101 - only a registry adopts
        with self._explained("written"):
            _make(self.path)
            with self._locked():
                owner.adopt(self.path, self.log, is_empty=not self._has_contents())
            sync(self.path)

    def move_on(self) -> None:
        """Note what the log of the store that uses it has by now, if it is that store's own; a fault is no matter.

        What was recorded is recorded, and the next call notes all that this one could not.
        """
        if self.log is not None and self.path.is_dir():
            with contextlib.suppress(StoreError, CorruptLogError), self._explained("written"), self._locked():
                owner.move_on(self.path, self.log)

    def _own(self) -> None:
        """Make a new folder the own of the store that uses it."""
        if self.log is not None:
            with self._explained("written"):
                _make(self.path)
                with self._locked(), contextlib.suppress(StoreError):  # who can't read it adds to it all the same
                    if not self._has_contents():
                        owner.claim(self.path, self.log)

    def _has_contents(self) -> bool:
        return next(self.path.glob("??/*"), None) is not None

    def _place(self, digest: str) -> Path:
        return self.path / digest[:2] / digest[2:]

    def _opened(self, reference: ArtifactRef) -> BinaryIO:
        digest = digest_in_folder(reference)
        try:
            return self._place(digest).open("rb")
        except FileNotFoundError:
            msg = f"The contents {digest} are not in the artifacts folder."
            raise ArtifactNotFoundError(msg, uri=reference.uri) from None

    def _chunks(self, reference: ArtifactRef) -> Iterator[bytes]:
        with self._explained("read"), self._opened(reference) as file:  # what the taker of a chunk raises goes by
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    def _is_intact(self, digest: str) -> bool:
        try:
            with self._place(digest).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == digest
        except OSError:  # usually it is not there; if it is something worse, writing will say so
            return False

    def _touch(self, digest: str) -> bool:
        """Make contents young; return False if they are gone by now, or belong to somebody else."""
        place = self._place(digest)
        try:
            with self._locked():
                os.utime(place)
            sync(place.parent)  # the process that wrote it may not have got to this yet
        except OSError:
            return False
        return True

    def _write(self, chunks: Iterator[bytes], media_type: str | None) -> ArtifactRef:
        """Write a draft, and name it by its digest once it is complete and on disk."""
        with self._explained("written"):
            _make(self.path)
            draft = self.path / f"{secrets.token_hex(8)}.tmp"
            try:
                with draft.open("xb") as file:
                    reference = summary_of(chunks, media_type, file.write)
                    file.flush()
                    os.fsync(file.fileno())
                place = self._place(digest_in_folder(reference))
                _make(place.parent)
                with self._locked():
                    os.utime(draft)
                    draft.replace(place)
                sync(place.parent)
            finally:
                draft.unlink(missing_ok=True)
        return reference

    def _erase(self, path: Path, before: float, *, dry_run: bool = False) -> bool:
        """Erase a file unless somebody made it young by now; return whether it was erased, or would be."""
        with contextlib.suppress(FileNotFoundError):
            if dry_run:  # who may only read can't lock
                return path.stat().st_mtime <= before
            with self._locked():
                if path.stat().st_mtime <= before:
                    path.unlink()
                    return True
        return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others from touching or erasing meanwhile: for microseconds, never beyond the end of this process."""
        with (self.path / ".lock").open("ab") as file:
            if sys.platform != "win32":  # pragma: no branch - see the import
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if sys.platform != "win32":  # pragma: no branch - see the import
                    fcntl.flock(file, fcntl.LOCK_UN)  # a process forked meanwhile keeps the file open for longer

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"The artifacts folder can't be {done}: {error.strerror or shown(error)}."
            hint = "Check that the disk has room and that this process may use the folder; then try again."
            raise StoreError(msg, hint=hint, path=str(self.path)) from error


def _check(reference: ArtifactRef, found: ArtifactRef) -> None:
    if found.uri != reference.uri or reference.digest not in {None, found.digest}:
        problem = f"have the digest {found.digest}"
    elif reference.size_bytes not in {None, found.size_bytes}:
        problem = f"have {found.size_bytes} bytes, not {reference.size_bytes}"
    else:
        return
    msg = f"The contents of {reference.uri} {problem}."
    raise ArtifactDamagedError(msg, uri=reference.uri)


def summary_of(
    chunks: Iterable[bytes], media_type: str | None, write: Callable[[bytes], object] | None = None
) -> ArtifactRef:
    """Return the reference to contents that come in chunks, passing each chunk to `write` on the way."""
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size_bytes += len(chunk)
        if write is not None:
            write(chunk)
    return ArtifactRef(SCHEME + digest.hexdigest(), digest.hexdigest(), size_bytes, media_type)


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the contents of a file in chunks.

    Raises:
        InvalidArgumentError: it is not a file, or can't be read.
    """
    problem = "is not a file"  # nor are folders, pipes and endless devices
    try:
        if path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            return
    except OSError as error:
        problem = f"can't be read: {error.strerror or shown(error)}"
    hint = "Pass the path of a file; pack a folder into one file first. For a place elsewhere, pass its URI as text."
    msg = f"{shown(str(path))} {problem}."
    outside = "The file can't be read, or is not a file."
    raise InvalidArgumentError(msg, hint=hint, outside=outside, argument="model_or_reference")


def _make(folder: Path) -> None:
    """Make a folder that survives a loss of power."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    if sys.platform != "win32":  # pragma: no branch - a folder can't be opened there
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
