"""Where the contents of versions are, and how objects become bytes and objects again (R26, R27, R28).

The law of this room: **what is read is what was stored, and what is referred to is there.** A file is complete and on
disk before it has its name, contents are stored before the event that names them is recorded, the digest is looked at
before a byte is used, and only `collect` erases, nothing that was stored within a day.

To add a format: a class as `Serializer` says, and its place in `SERIALIZERS`. Its media type is in the events, so it is
never changed.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import itertools
import os
import pickle
import re
import secrets
import sys
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Protocol, TypeAlias, TypeGuard

import attrs

from versioning.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    ArtifactUntrustedError,
    InvalidArgumentError,
    StoreError,
    VersioningError,
    shown,
)
from versioning.events import ArtifactRef

if sys.platform != "win32":  # pragma: no branch - no such locks there: collect while nobody deploys
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import ModuleType

URI_CHARACTERS_MAX: Final = 2_000
MEDIA_TYPE_CHARACTERS_MAX: Final = 200
SIZE_BYTES_MAX: Final = 2**63 - 1
DAY_S: Final = 86_400

_CHUNK_BYTES: Final = 2**20
_PICKLE_PROTOCOL: Final = 5
"""Fixed, so that an object's digest does not depend on the release of Python."""
_SCHEME: Final = "sha256:"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def _refuse(
    argument: str, sentence: str, *, rule: str | None = None, hint: str = "", cause: Exception | None = None
) -> NoReturn:
    raise InvalidArgumentError(sentence, rule=rule, hint=hint, argument=argument) from cause


# Formats: how an object becomes bytes.


class Serializer(Protocol):
    """A format."""

    @property
    def name(self) -> str:
        """What callers say."""

    @property
    def media_type(self) -> str:
        """What the event keeps, and loading finds the format by."""

    @property
    def runs_code(self) -> bool:
        """Whether loading can run code that the contents hold, and so needs `trusted=True`."""

    def dumps(self, model: Any, /) -> bytes:  # noqa: ANN401 - a format may take some types only
        """Turn an object into bytes; whatever it raises means that it can't."""

    def loads(self, contents: bytes, /) -> object:
        """Turn bytes, whose digest has been looked at, into the object."""


AnySerializer: TypeAlias = str | Serializer
"""The name of a built-in format, or a caller's own."""


class PickleSerializer:
    """Python's own format: it takes almost any object, and loading it can run whatever its author wanted."""

    name = "pickle"
    media_type = "application/x-python-pickle"
    runs_code = True

    def dumps(self, model: object, /) -> bytes:
        return pickle.dumps(model, protocol=_PICKLE_PROTOCOL)

    def loads(self, contents: bytes, /) -> object:
        return pickle.loads(contents)  # noqa: S301 - load_artifact comes here with trusted=True only


@attrs.frozen
class SkopsSerializer:
    """The format of skops, for scikit-learn: only types that skops knows, or that are trusted by name, are built."""

    trusted_types: Sequence[str] = ()
    """Full names, as the error lists them."""

    name = "skops"
    media_type = "application/x-skops"
    runs_code = False

    def dumps(self, model: object, /) -> bytes:
        contents: bytes = _skops().dumps(model)
        return contents

    def loads(self, contents: bytes, /) -> object:
        skops = _skops()
        if types := sorted({*skops.get_untrusted_types(data=contents)}.difference(self.trusted_types)):
            msg = f"The artifact holds types that are not trusted: {', '.join(types)}."
            hint = "Look at each, and load with serializer=SkopsSerializer(trusted_types=[…]) if you trust them."
            raise ArtifactUntrustedError(msg, hint=hint, types=types)
        model: object = skops.loads(contents, trusted=list(self.trusted_types))
        return model


def _skops() -> ModuleType:
    try:
        return importlib.import_module("skops.io")
    except ImportError as error:
        hint = "Install it in this environment: pip install skops"
        _refuse("serializer", 'The serializer "skops" needs the package skops.', hint=hint, cause=error)


class BytesSerializer:
    """Contents as they are, and given back as bytes."""

    name = "bytes"
    media_type = "application/octet-stream"
    runs_code = False

    def dumps(self, model: bytes | bytearray | memoryview, /) -> bytes:
        return memoryview(model).tobytes()

    def loads(self, contents: bytes, /) -> bytes:
        return contents


_FORMATS: Final[tuple[Serializer, ...]] = (PickleSerializer(), SkopsSerializer(), BytesSerializer())
SERIALIZERS: Final[Mapping[str, Serializer]] = {known.name: known for known in _FORMATS}


def checked_serializer(serializer: object, default: object = None) -> Serializer:
    """Give the format that a name or an object stands for; None stands for the default.

    Raises:
        InvalidArgumentError: neither a known name nor like a `Serializer`, or there is no default.
    """
    chosen = default if serializer is None else serializer
    chosen = str.__str__(chosen) if isinstance(chosen, str) else chosen
    hint = f"Use one of {', '.join(SERIALIZERS)}, or an object with name, media_type, runs_code, dumps and loads."
    if isinstance(chosen, str):
        if chosen in SERIALIZERS:
            return SERIALIZERS[chosen]
        if close := difflib.get_close_matches(chosen[:MEDIA_TYPE_CHARACTERS_MAX].lower(), SERIALIZERS, n=1):
            hint = f'Did you mean "{close[0]}"? {hint}'
        _refuse("serializer", f"There is no serializer {shown(chosen)}.", hint=hint)
    if chosen is None:
        _refuse("serializer", "An object needs a serializer, and there is no default.", hint=hint)
    if not _is_serializer(chosen):
        _refuse("serializer", f"This is not a serializer: {shown(chosen)}.", hint=hint)
    return chosen


def _is_serializer(value: object) -> TypeGuard[Serializer]:
    thing: Any = value
    try:
        named = isinstance(thing.name, str) and _problem(thing.media_type, MEDIA_TYPE_CHARACTERS_MAX) is None
        works = isinstance(thing.runs_code, bool) and callable(thing.dumps) and callable(thing.loads)
    except Exception:  # noqa: BLE001 - a caller's attributes can fail in any way, and then it is none
        return False
    return named and works and not isinstance(value, type)


# References: what the event keeps.


def checked_reference(reference: object) -> ArtifactRef:
    """Give a reference that can be kept and read back exactly (R28).

    `sha256:<digest>` names contents in the folder, so its digest is filled in: keys (R21) and `collect` go by it.

    Raises:
        InvalidArgumentError: neither text nor an `ArtifactRef`, or a part has another form.
    """
    if isinstance(reference, str):
        reference = ArtifactRef(str.__str__(reference))
        if _is_plain(reference.uri):
            return reference
    if not isinstance(reference, ArtifactRef):
        _bad_reference("A reference", f"is a URI as text or an ArtifactRef, not {type(reference).__name__}")
    uri, digest = reference.uri, reference.digest
    size_bytes, media_type = reference.size_bytes, reference.media_type
    if problem := _problem(uri, URI_CHARACTERS_MAX) or (None if uri.strip() else "is blank"):
        hint = "Text is taken as a URI; pass contents as bytes, and a file as a Path."
        _bad_reference("The artifact's uri", problem, hint)
    if not (digest is None or _is_digest(digest)):
        _bad_reference("The artifact's digest", f"is 64 lowercase hexadecimal digits, not {shown(digest)}")
    named = _digest_named_by(uri)
    if digest not in {None, named} and named is not None:
        _bad_reference("The artifact's digest", "is not the one that its uri names")
    if not (size_bytes is None or (type(size_bytes) is int and 0 <= size_bytes <= SIZE_BYTES_MAX)):
        _bad_reference("The artifact's size_bytes", f"is a whole number below 2**63, not {shown(size_bytes)}")
    if media_type is not None and (problem := _problem(media_type, MEDIA_TYPE_CHARACTERS_MAX)):
        _bad_reference("The artifact's media_type", problem)
    digest, media_type = (None if text is None else str.__str__(text) for text in (digest or named, media_type))
    return ArtifactRef(str.__str__(uri), digest, size_bytes, media_type)


def _is_plain(uri: str) -> bool:
    """Say whether a text is a URI as most are: printable ASCII that names no digest."""
    return (
        len(uri) <= URI_CHARACTERS_MAX
        and uri.isascii()
        and uri.isprintable()
        and not uri.isspace()
        and uri != ""
        and not uri.startswith(_SCHEME)
    )


def _bad_reference(part: str, problem: str, hint: str = "") -> NoReturn:
    _refuse("model_or_reference", f"{part} {problem}.", rule="R28", hint=hint)


def _problem(text: object, characters_max: int) -> str | None:
    if not isinstance(text, str):
        return f"is text, not {type(text).__name__}"
    if len(text) > characters_max:
        return f"has {len(text)} characters, and {characters_max} is the most"
    if str.isascii(text) and str.isprintable(text):  # as most are: then there is nothing else to look for
        return None
    if _SURROGATES.search(text):
        return "has half of a surrogate pair"
    return "has control characters" if _CONTROLS.search(text) else None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _digest_named_by(uri: str) -> str | None:
    digest = uri.removeprefix(_SCHEME)
    return digest if uri.startswith(_SCHEME) and _is_digest(digest) else None


def _digest_in_folder(reference: ArtifactRef) -> str:
    digest = _digest_named_by(reference.uri)
    if digest is None:
        msg = f"This library keeps only a reference to this artifact: {shown(reference.uri)}."
        hint = "Fetch it from there; contents are kept where a Path, bytes or an object is deployed."
        raise ArtifactNotFoundError(msg, hint=hint, uri=reference.uri)
    return digest


# The folder: contents under the name of their digest.


def _absolute(path: Path) -> Path:
    return path.absolute()


@attrs.frozen
class ArtifactFolder:
    """The contents of one workspace: `<root>/<workspace>/<2 digits>/<62 digits>`, made at the first store.

    The workspace goes by its digest, so that no text leads out of the root or into another's folder (R27). Threads and
    processes may use one folder at once.
    """

    root: Path = attrs.field(converter=_absolute)
    workspace: str

    @property
    def path(self) -> Path:
        return self.root / hashlib.sha256(self.workspace.encode("utf-8", "surrogatepass")).hexdigest()

    def store(self, contents: bytes, media_type: str | None = None) -> ArtifactRef:
        """Keep contents; those that are here are as good as new afterwards, in age and in contents.

        Raises:
            StoreError: the folder can't be written.
        """
        reference = _summary([contents], media_type)
        digest = _digest_in_folder(reference)
        if not (self._is_intact(digest) and self._touch(digest)):
            self._write(iter([contents]), media_type)
        return reference

    def store_file(self, path: Path, media_type: str | None = None) -> ArtifactRef:
        """Keep the contents of a file of any size.

        Raises:
            InvalidArgumentError: it is not a file, or can't be read.
            StoreError: the folder can't be written.
        """
        return self._write(_chunks_of(path), media_type)

    def refresh(self, reference: ArtifactRef) -> None:
        """Keep what a reference names for another day at least, if it is here."""
        if digest := _digest_named_by(reference.uri):
            self._touch(digest)

    def read(self, reference: ArtifactRef) -> bytes:
        """Give contents, exactly those that were stored.

        Raises:
            ArtifactNotFoundError: they are not here.
            ArtifactDamagedError: their digest or size is another.
            StoreError: the folder can't be read.
        """
        digest = _digest_in_folder(reference)
        with self._explained("read"):
            try:
                contents = self._place(digest).read_bytes()
            except FileNotFoundError:
                msg = f"The contents {digest} are not in the artifacts folder."
                raise ArtifactNotFoundError(msg, uri=reference.uri) from None
        _check(reference, contents)
        return contents

    def look_at(self, digest: str) -> Literal["intact", "missing", "damaged"]:
        """Say how contents are, without holding them in memory."""
        if self._is_intact(digest):
            return "intact"
        return "damaged" if self._place(digest).exists() else "missing"

    def collect(
        self,
        referenced: Callable[[], AbstractSet[str]] | AbstractSet[str],
        *,
        older_than_s: float = DAY_S,
        now: float | None = None,
    ) -> list[str]:
        """Erase what is not referred to and not younger, and give its digests; drafts of dead processes go too.

        Safe beside deployments that take less than `older_than_s` from storing to recording: the age is reckoned from
        before `referenced` is asked, so that what is recorded after that is too young. `now` is in seconds since 1970.

        Raises:
            InvalidArgumentError: `referenced` is not a set of digests, so that everything might go.
            StoreError: the folder can't be tidied.
        """
        before = (time.time() if now is None else now) - older_than_s
        digests: Any = referenced() if callable(referenced) else referenced
        wrong = [one for one in digests if not _is_digest(one)] if isinstance(digests, AbstractSet) else [digests]
        if wrong:
            _refuse("referenced", f"What is referred to is a set of digests, not {shown(wrong[0])}.")
        with self._explained("tidied"):
            for draft in self.path.glob("*.tmp"):
                self._erase(draft, min(before, time.time() - DAY_S))
            named = [(path.parent.name + path.name, path) for path in sorted(self.path.glob("??/*"))]
            unused = [(digest, path) for digest, path in named if _is_digest(digest) and digest not in digests]
            return [digest for digest, path in unused if self._erase(path, before)]

    def _place(self, digest: str) -> Path:
        return self.path / digest[:2] / digest[2:]

    def _is_intact(self, digest: str) -> bool:
        try:
            with self._place(digest).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == digest
        except OSError:  # most often not there; if worse, writing will say so
            return False

    def _touch(self, digest: str) -> bool:
        """Make contents young; False when they are gone meanwhile, or belong to somebody else."""
        place = self._place(digest)
        try:
            with self._locked():
                os.utime(place)
            _sync(place.parent)  # whoever wrote it may not have come to this yet
        except OSError:
            return False
        return True

    def _write(self, chunks: Iterator[bytes], media_type: str | None) -> ArtifactRef:
        """Write a draft, and give it its name when it is complete and on disk."""
        first = next(chunks, b"")  # a file that can't be read is refused here, before anything is made
        with self._explained("written"):
            _make(self.path)
            draft = self.path / f"{secrets.token_hex(8)}.tmp"
            try:
                with draft.open("xb") as file:
                    reference = _summary(itertools.chain([first], chunks), media_type, file.write)
                    file.flush()
                    os.fsync(file.fileno())
                place = self._place(_digest_in_folder(reference))
                _make(place.parent)
                with self._locked():
                    os.utime(draft)
                    draft.replace(place)
                _sync(place.parent)
            finally:
                draft.unlink(missing_ok=True)
        return reference

    def _erase(self, path: Path, before: float) -> bool:
        """Erase a file unless somebody made it young meanwhile."""
        with self._locked(), contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime <= before:
                path.unlink()
                return True
        return False

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep threads and processes from touching and erasing at once; for microseconds, and not beyond our end."""
        with (self.path / ".lock").open("ab") as file:
            if sys.platform != "win32":  # pragma: no branch - see the import
                fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if sys.platform != "win32":  # pragma: no branch - see the import
                    fcntl.flock(file, fcntl.LOCK_UN)  # a process forked right now holds the file open for longer

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"The artifacts folder can't be {done}: {error.strerror or shown(error)}."
            hint = "Look whether the disk has room and this process may use the folder; then send the call again."
            raise StoreError(msg, hint=hint, path=str(self.path)) from error


def _check(reference: ArtifactRef, contents: bytes) -> None:
    found = _summary([contents], None)
    if found.uri != reference.uri or reference.digest not in {None, found.digest}:
        problem = f"have the digest {found.digest}"
    elif reference.size_bytes not in {None, found.size_bytes}:
        problem = f"have {found.size_bytes} bytes, not {reference.size_bytes}"
    else:
        return
    msg = f"The contents of {reference.uri} {problem}."
    raise ArtifactDamagedError(msg, uri=reference.uri)


def _summary(
    chunks: Iterable[bytes], media_type: str | None, write: Callable[[bytes], object] | None = None
) -> ArtifactRef:
    digest, size_bytes = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size_bytes += len(chunk)
        if write is not None:
            write(chunk)
    return ArtifactRef(_SCHEME + digest.hexdigest(), digest.hexdigest(), size_bytes, media_type)


def _chunks_of(path: Path) -> Iterator[bytes]:
    problem = "is not a file"  # folders, pipes and endless devices are none either
    try:
        if path.is_file():
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
            return
    except OSError as error:
        problem = f"can't be read: {error.strerror or shown(error)}"
    hint = "Pass the path of a file; pack a folder into one first. A place elsewhere is a URI, as text."
    _refuse("model_or_reference", f"{shown(str(path))} {problem}.", hint=hint)


def _make(folder: Path) -> None:
    """Make a folder that outlives a loss of power."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    if sys.platform != "win32":  # pragma: no branch - a folder can't be opened there
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# What the registry calls.


def as_artifact(
    model: object,
    serializer: AnySerializer | None,
    default: AnySerializer | None,
    folder: ArtifactFolder | None,
    *,
    preview: bool = False,
) -> ArtifactRef:
    """Give the reference that the event keeps; contents are stored first, unless it is a preview.

    Text and `ArtifactRef` are references, and a serializer does nothing to them. A `Path` is a file, whose format the
    serializer names. Bytes are contents as they are, unless a serializer is given. Anything else becomes bytes by the
    serializer, or by the default.

    Raises:
        InvalidArgumentError: the reference, the file, the object or the serializer can't be accepted.
        StoreError: the folder can't be written.
    """
    given = None if serializer is None else checked_serializer(serializer)
    if isinstance(model, str | ArtifactRef):
        reference = checked_reference(model)
        if folder is not None and not preview:
            folder.refresh(reference)
        return reference
    if model is None:
        hint = "Pass a model object, bytes, a Path to a file, or a URI."
        _refuse("model_or_reference", "There is nothing to deploy: None is no model.", hint=hint)
    folder = _present(folder)
    if isinstance(model, Path):
        media_type = (given or SERIALIZERS["bytes"]).media_type
        return _summary(_chunks_of(model), media_type) if preview else folder.store_file(model, media_type)
    raw = isinstance(model, bytes | bytearray | memoryview)
    given = given or checked_serializer("bytes" if raw else default)
    contents = _dumped(given, model)
    return _summary([contents], given.media_type) if preview else folder.store(contents, given.media_type)


def load_artifact(
    reference: ArtifactRef,
    folder: ArtifactFolder | None,
    *,
    trusted: bool = False,
    serializers: Iterable[AnySerializer | None] = (),
    serializer: AnySerializer | None = None,
) -> object:
    """Give the object that was deployed.

    The format is `serializer`, or else the first of `serializers` and the built-in ones that has the media type.

    Raises:
        ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
        ArtifactUntrustedError: the format can run code, and `trusted` is not set; nothing was read.
        ArtifactDamagedError: the contents are not those that were deployed; nothing was loaded.
        InvalidArgumentError: no format has the media type, or it can't load the contents.
    """
    if not isinstance(trusted, bool):
        _refuse("trusted", f"trusted is True or False, not {shown(trusted)}.")
    known = [checked_serializer(one) for one in serializers if one is not None]
    matching = [one for one in (*known, *_FORMATS) if one.media_type == reference.media_type]
    _digest_in_folder(reference)
    folder = _present(folder)
    if serializer is None and not matching:
        hint = 'Pass serializer= with the one that does; "bytes" gives the contents as they are.'
        _refuse("serializer", f"No serializer has the media type {shown(reference.media_type)}.", hint=hint)
    chosen = checked_serializer(serializer, *matching[:1])
    if chosen.runs_code and not trusted:
        msg = f"Loading with the serializer {shown(chosen.name)} can run code that the artifact holds."
        raise ArtifactUntrustedError(msg, uri=reference.uri)
    contents = folder.read(reference)
    with _calling(chosen, "serializer", "load the contents"):
        return chosen.loads(contents)


def _dumped(serializer: Serializer, model: object) -> bytes:
    with _calling(serializer, "model_or_reference", f"write a {type(model).__name__}"):
        contents: object = serializer.dumps(model)
    if not isinstance(contents, bytes):
        problem = f"The serializer {shown(serializer.name)} made {type(contents).__name__}, not bytes."
        _refuse("serializer", problem)
    return contents


@contextlib.contextmanager
def _calling(serializer: Serializer, argument: str, deed: str) -> Iterator[None]:
    try:
        yield
    except VersioningError:
        raise
    except Exception as error:  # noqa: BLE001 - what formats and objects raise has no end, and is told as the cause
        hint = "Use the serializer that fits, where the object's modules are; or bytes, or a Path to a file."
        problem = f"The serializer {shown(serializer.name)} can't {deed}: {shown(error)}."
        _refuse(argument, problem, hint=hint, cause=error)


def _present(folder: ArtifactFolder | None) -> ArtifactFolder:
    if folder is None:
        hint = "Open the registry with artifacts= and a folder, or deploy a URI."
        _refuse("artifacts", "This registry has no folder for the contents of artifacts.", hint=hint)
    return folder
