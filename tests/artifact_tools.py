"""What the tests of artifacts share: contents, formats, a folder, and looking into it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from versioning.artifacts.folder import ArtifactFolder
from versioning.artifacts.formats import PickleSerializer
from versioning.artifacts.loading import as_artifact, load_artifact
from versioning.errors import (
    ArtifactDamagedError,
    InvalidArgumentError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.artifacts.formats import AnySerializer
    from versioning.events import ArtifactRef

MODEL = Fraction(1, 3)
"""An object that pickle takes, and that skops takes and does not trust."""
CONTENTS = b"the contents of a model"
DIGEST = hashlib.sha256(CONTENTS).hexdigest()
OTHER_DIGEST = hashlib.sha256(b"others").hexdigest()
LONG_AGO_S = 1_000_000_000.0

utime = os.utime  # a planted bug takes it from the library


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "artifacts", "default")


def place_of(folder: ArtifactFolder, digest: str | None) -> Path:
    assert digest is not None
    return folder.path / digest[:2] / digest[2:]


def kept_in(folder: ArtifactFolder) -> list[str]:
    return sorted(path.parent.name + path.name for path in folder.path.glob("??/*"))


def drafts_in(folder: ArtifactFolder) -> list[Path]:
    return list(folder.path.glob("*.tmp"))


def make_old(path: Path) -> None:
    utime(path, (LONG_AGO_S, LONG_AGO_S))


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Make the system itself refuse what is beyond, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def deployed(
    model: object, folder: ArtifactFolder | None, serializer: AnySerializer | None = None, **options: bool
) -> ArtifactRef:
    return as_artifact(model, serializer, "pickle", folder, **options)


def refusal_of(call: Callable[[], object]) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as refused:
        call()
    assert str(refused.value).isprintable()
    return refused.value


@attrs.frozen
class Upper:
    """A format of a caller's own, for text in capitals."""

    name: str = "upper"
    media_type: str = "text/upper"
    runs_code: bool = False

    def dumps(self, model: Note, /) -> bytes:
        return model.text.upper().encode()

    def loads(self, contents: bytes, /) -> object:
        return contents.decode()


@attrs.frozen
class Note:
    text: str


class Evil:
    """Loading its pickle makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def damage_is_noticed_before_anything_is_loaded(folder: ArtifactFolder) -> None:
    mark = folder.root / "loaded"
    good, evil = PickleSerializer().dumps(MODEL), PickleSerializer().dumps(Evil(mark))
    reference = folder.store(good, PickleSerializer.media_type)
    short, turned = good[:-1], bytes([*good[:-1], good[-1] ^ 1])
    for damaged in (evil, b"", short, turned):
        place_of(folder, reference.digest).write_bytes(damaged)
        with pytest.raises(ArtifactDamagedError):
            load_artifact(reference, folder, trusted=True)
    assert not mark.exists()
