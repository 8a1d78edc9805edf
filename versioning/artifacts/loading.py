"""How whatever is deployed becomes a reference, and a reference becomes an object again (R26, R27, R28).

The law of this room: **what an event refers to is there.** Contents are stored before the event that names them is
recorded, and their digest is checked before a byte of them is used.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from versioning.artifacts.folder import (
    SCHEME,
    ArtifactFolder,
    chunks_of,
    digest_in_folder,
    digest_named_by,
    is_digest,
    summary_of,
)
from versioning.artifacts.formats import (
    BUILT_IN,
    MEDIA_TYPE_CHARACTERS_MAX,
    SERIALIZERS,
    checked_serializer,
    refuse,
)
from versioning.errors import ArtifactUntrustedError, VersioningError, shown
from versioning.events import ArtifactRef
from versioning.limits import INTEGER_MAX, exact, is_plain, text_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.artifacts.formats import AnySerializer, Serializer

URI_CHARACTERS_MAX: Final = 2_000


# References, which events keep.


def checked_reference(reference: object) -> ArtifactRef:
    """Return a reference in a form that is read back exactly (R28).

    The URI `sha256:<digest>` names contents in the folder; its digest is filled in, because keys (R21) and `collect` go
    by the digest.

    Raises:
        InvalidArgumentError: it is neither text nor an `ArtifactRef`, or a part of it is malformed.
    """
    if isinstance(reference, str):
        reference = ArtifactRef(str.__str__(reference))
        if _is_ordinary(reference.uri):
            return reference
    if not isinstance(reference, ArtifactRef):
        _bad_reference("A reference", f"must be a URI as text or an ArtifactRef, not {type(reference).__name__}")
    texts: Any = [exact(text) for text in (reference.uri, reference.digest, reference.media_type)]
    uri, digest, media_type = texts
    size_bytes = reference.size_bytes
    if problem := text_problem(uri, URI_CHARACTERS_MAX, blank=False):
        hint = "Text is taken as a URI; pass contents as bytes, and a file as a Path."
        _bad_reference("The artifact's uri", problem, hint)
    if not (digest is None or is_digest(digest)):
        _bad_reference("The artifact's digest", f"must be 64 lowercase hexadecimal digits, not {shown(digest)}")
    named = digest_named_by(uri)
    if digest not in {None, named} and named is not None:
        _bad_reference("The artifact's digest", "is not the one that its uri names")
    if not (size_bytes is None or (type(size_bytes) is int and 0 <= size_bytes <= INTEGER_MAX)):
        _bad_reference("The artifact's size_bytes", f"must be a whole number below 2**63, not {shown(size_bytes)}")
    if media_type is not None and (problem := text_problem(media_type, MEDIA_TYPE_CHARACTERS_MAX)):
        _bad_reference("The artifact's media_type", problem)
    return ArtifactRef(uri, digest or named, size_bytes, media_type)


def _is_ordinary(uri: str) -> bool:
    """Return whether a URI is as most are: printable ASCII that names no digest, so that nothing is left to check."""
    return (
        len(uri) <= URI_CHARACTERS_MAX
        and is_plain(uri)
        and not uri.isspace()
        and uri != ""
        and not uri.startswith(SCHEME)
    )


def _bad_reference(part: str, problem: str, hint: str = "") -> NoReturn:
    refuse("model_or_reference", f"{part} {problem}.", rule="R28", hint=hint)


# Storing and loading.


def as_artifact(
    model: object,
    serializer: AnySerializer | None,
    default: AnySerializer | None,
    folder: ArtifactFolder | None,
    *,
    preview: bool = False,
) -> ArtifactRef:
    """Return the reference that the event keeps; contents are stored first, except for a preview.

    Text and an `ArtifactRef` are references already, and a serializer does nothing to them. A `Path` is a file, and the
    serializer names its format. Bytes are contents as they are, unless a serializer is given. Anything else is turned
    into bytes by the serializer, or by the default one.

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
        refuse("model_or_reference", "There is nothing to deploy: None is not a model.", hint=hint)
    folder = present(folder)
    if isinstance(model, Path):
        media_type = (given or SERIALIZERS["bytes"]).media_type
        return summary_of(chunks_of(model), media_type) if preview else folder.store_file(model, media_type)
    raw = isinstance(model, bytes | bytearray | memoryview)
    given = given or checked_serializer("bytes" if raw else default)
    contents = _dumped(given, model)
    return summary_of([contents], given.media_type) if preview else folder.store(contents, given.media_type)


def load_artifact(
    reference: ArtifactRef,
    folder: ArtifactFolder | None,
    *,
    trusted: bool = False,
    serializers: Iterable[AnySerializer | None] = (),
    serializer: AnySerializer | None = None,
) -> object:
    """Return the object that was deployed.

    Args:
        reference: the reference that the event keeps.
        folder: the folder that holds the contents.
        trusted: whether formats that can run code may load them.
        serializers: further formats, which are looked through before the built-in ones for the media type.
        serializer: the format to use, whatever the media type is.

    Raises:
        ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
        ArtifactUntrustedError: the format can run code, and `trusted` is not set; nothing was read.
        ArtifactDamagedError: the contents are not those that were deployed; nothing was loaded.
        InvalidArgumentError: no format has the media type, or the format can't load the contents.
    """
    if not isinstance(trusted, bool):
        refuse("trusted", f"trusted must be True or False, not {shown(trusted)}.")
    known = [checked_serializer(one) for one in serializers if one is not None]
    matching = [one for one in (*known, *BUILT_IN) if one.media_type == reference.media_type]
    digest_in_folder(reference)
    folder = present(folder)
    if serializer is None and not matching:
        hint = 'Pass {serializer} with a format that has it; "bytes" returns the contents as they are.'
        refuse("serializer", f"No serializer has the media type {shown(reference.media_type)}.", hint=hint)
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
        refuse("serializer", problem)
    return contents


@contextlib.contextmanager
def _calling(serializer: Serializer, argument: str, deed: str) -> Iterator[None]:
    try:
        yield
    except VersioningError:
        raise
    except Exception as error:  # noqa: BLE001 - formats and objects can raise anything; it becomes the cause
        hint = "Use a serializer that fits, where the object's modules can be imported; or pass bytes, or a Path."
        problem = f"The serializer {shown(serializer.name)} can't {deed}: {shown(error)}."
        outside = f"The serializer {shown(serializer.name)} can't {deed}."
        refuse(argument, problem, hint=hint, outside=outside, cause=error)


def present(folder: ArtifactFolder | None) -> ArtifactFolder:
    """Return the folder of a registry, which has to have one.

    Raises:
        InvalidArgumentError: it has none.
    """
    if folder is None:
        hint = "Name a folder with {artifacts}, or deploy a URI."
        refuse("artifacts", "This registry has no folder for the contents of artifacts.", hint=hint)
    return folder
