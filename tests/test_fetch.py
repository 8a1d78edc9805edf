"""The contents of a version as a file: whole or not there, and never in the place of something else (R26)."""

from __future__ import annotations

import errno
import operator
import os
import stat
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import stores
from tests.artifact_tools import Evil, files_of_at_most, place_of
from tests.registry_tools import NAME, URI, nothing_recorded, refused
from versioning import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    InvalidArgumentError,
    InvalidInputError,
    ModelRegistry,
    NoPrimaryVersionError,
    StoreError,
    Version,
    VersionNotFoundError,
)
from versioning.artifacts import fetching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stores import Store

store = stores.store

CONTENTS = b"the weights of a model"
LARGE_BYTES = 32 * 2**20
HELD_MAX_BYTES = 8 * 2**20


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[ModelRegistry]:
    with ModelRegistry("memory:", artifacts=tmp_path / "contents") as opened:
        yield opened


@pytest.fixture
def version(registry: ModelRegistry) -> Version:
    return registry.deploy(CONTENTS, model_name=NAME, publish=True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder for what is fetched."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def in_folder(registry: ModelRegistry, version: Version) -> Path:
    folder = registry._objects.folder
    assert folder is not None
    return place_of(folder, version.artifact.digest)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class TestWhatIsFetched:
    """On every store; how a file is written has nothing to do with the store."""

    @pytest.fixture
    def registry(self, store: Store, tmp_path: Path) -> ModelRegistry:
        return store(artifacts=tmp_path / "contents")

    def test_a_version_is_named_as_everywhere(self, registry: ModelRegistry, version: Version, out: Path) -> None:
        names: list[str | Version] = [version, version.version_id, f"{NAME}@0.1.0", f"{NAME}@primary"]
        with nothing_recorded(registry):
            for place, name in enumerate(names):
                assert registry.fetch(name, out / str(place)) == version
        assert [path.read_bytes() for path in out.iterdir()] == [CONTENTS] * len(names)

    def test_a_path_is_text_too(
        self, registry: ModelRegistry, version: Version, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(out)
        registry.fetch(version, "model.bin")
        registry.fetch(version, str(out / "again.bin"))
        assert names_in(out) == ["again.bin", "model.bin"]

    def test_whatever_the_status_is_as_long_as_the_contents_are_there(
        self, registry: ModelRegistry, version: Version, out: Path
    ) -> None:
        registry.deactivate(version)
        registry.fetch(version, out / "inactive")
        registry.delete(version)
        registry.fetch(version, out / "deleted")
        os.utime(in_folder(registry, version), (0, 0))
        registry.collect_artifacts()
        with refused(registry, ArtifactNotFoundError, "R26"):
            registry.fetch(version, out / "collected")
        assert names_in(out) == ["deleted", "inactive"]

    def test_nothing_is_loaded(self, registry: ModelRegistry, out: Path, tmp_path: Path) -> None:
        mark = tmp_path / "loaded"
        registry.fetch(registry.deploy(Evil(mark), model_name=NAME), out / "model")
        assert (out / "model").stat().st_size > 0
        assert not mark.exists()

    def test_a_reference_leads_elsewhere(self, registry: ModelRegistry, out: Path) -> None:
        elsewhere = registry.deploy(URI, model_name=NAME)
        with refused(registry, ArtifactNotFoundError, "R26"):
            registry.fetch(elsewhere, out / "model")

    def test_a_registry_without_a_folder_has_no_contents(self, out: Path) -> None:
        with ModelRegistry("memory:") as registry:
            elsewhere = registry.deploy(URI, model_name=NAME)
            here = registry.deploy(f"sha256:{'a' * 64}", model_name=NAME)
            with refused(registry, ArtifactNotFoundError):
                registry.fetch(elsewhere, out / "model")
            with refused(registry, InvalidArgumentError):
                registry.fetch(here, out / "model")
        assert names_in(out) == []

    def test_what_is_not_there_is_not_found(self, registry: ModelRegistry, out: Path) -> None:
        registry.deploy(CONTENTS, model_name=NAME, publish=True)
        with refused(registry, VersionNotFoundError):
            registry.fetch(f"{NAME}@9.0.0", out / "model")
        registry.deploy(CONTENTS, model_name="draft")
        with refused(registry, NoPrimaryVersionError):
            registry.fetch("draft@primary", out / "model")
        with refused(registry, InvalidArgumentError, "R5"):
            registry.fetch(NAME, out / "model")

    def test_an_empty_file_is_one_too(self, registry: ModelRegistry, out: Path) -> None:
        registry.fetch(registry.deploy(b"", model_name=NAME), out / "model")
        assert (out / "model").read_bytes() == b""


class TestWholeOrNotThere:
    interruptions = pytest.mark.parametrize(
        "at", [(os, "fsync"), (os, "link"), (Path, "replace")], ids=operator.itemgetter(1)
    )

    @pytest.mark.parametrize("damage", [b"", CONTENTS[:-1], CONTENTS + b"!", CONTENTS[::-1]])
    def test_damaged_contents_get_no_name(
        self, registry: ModelRegistry, version: Version, out: Path, damage: bytes
    ) -> None:
        (out / "before").write_bytes(b"before")
        in_folder(registry, version).write_bytes(damage)
        for path in (out / "model", out / "before"):
            with refused(registry, ArtifactDamagedError, "R26"):
                registry.fetch(version, path, overwrite=True)
        assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("before", b"before")]

    def test_until_all_is_on_disk_the_name_is_not_there(
        self, registry: ModelRegistry, version: Version, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, bool]] = []
        fsync = os.fsync

        def noted(descriptor: int) -> None:
            fsync(descriptor)
            seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (out / "model").exists()))

        monkeypatch.setattr(os, "fsync", noted)
        registry.fetch(version, out / "model")
        assert seen == [(False, False), (True, True)]

    @interruptions
    def test_an_interruption_leaves_nothing(
        self,
        registry: ModelRegistry,
        version: Version,
        out: Path,
        monkeypatch: pytest.MonkeyPatch,
        at: tuple[object, str],
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(*at, interrupted)
        with pytest.raises(KeyboardInterrupt):
            registry.fetch(version, out / "model", overwrite="replace" in at)
        monkeypatch.undo()
        assert names_in(out) == []

    def test_a_full_disk_leaves_nothing(self, registry: ModelRegistry, out: Path) -> None:
        version = registry.deploy(bytes(100_000), model_name=NAME)
        with files_of_at_most(4_096), pytest.raises(StoreError, match=os.strerror(errno.EFBIG)) as full:
            registry.fetch(version, out / "model")
        assert "room" in full.value.hint
        assert names_in(out) == []

    def test_a_folder_of_contents_that_can_not_be_read_says_so(
        self, registry: ModelRegistry, version: Version, out: Path
    ) -> None:
        in_folder(registry, version).unlink()
        in_folder(registry, version).mkdir()
        with pytest.raises(StoreError, match="The artifacts folder can't be read"):
            registry.fetch(version, out / "model")
        assert names_in(out) == []

    def test_memory_holds_a_chunk_however_large_they_are(self, tmp_path: Path) -> None:
        source, target = tmp_path / "model", tmp_path / "fetched"
        with source.open("wb") as file:
            file.truncate(LARGE_BYTES)
        with ModelRegistry("memory:", artifacts=tmp_path / "contents") as registry:
            calls: list[Callable[[], object]] = [
                lambda: registry.preview.deploy(source, model_name=NAME),
                lambda: registry.deploy(source, model_name=NAME),
                lambda: registry.deploy(source, model_name=NAME),
                lambda: registry.fetch(f"{NAME}@0.1.0", target),
            ]
            for call in calls:
                tracemalloc.start()
                call()
                held_bytes = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert held_bytes < HELD_MAX_BYTES
        assert target.stat().st_size == LARGE_BYTES


class TestWhatIsThereAlready:
    def test_nothing_is_replaced(self, registry: ModelRegistry, version: Version, out: Path) -> None:
        (out / "file").write_bytes(b"before")
        (out / "link").symlink_to("file")
        (out / "to nowhere").symlink_to("nowhere")
        for name in ("file", "link", "to nowhere"):
            with refused(registry, InvalidArgumentError):
                registry.fetch(version, out / name)
        assert names_in(out) == ["file", "link", "to nowhere"]
        assert (out / "file").read_bytes() == b"before"

    @pytest.mark.parametrize("links", [True, False])
    def test_nor_is_what_appears_meanwhile(
        self,
        registry: ModelRegistry,
        version: Version,
        out: Path,
        monkeypatch: pytest.MonkeyPatch,
        links: bool,
    ) -> None:
        fsync, link = os.fsync, os.link

        def slow(descriptor: int) -> None:
            fsync(descriptor)
            (out / "model").write_bytes(b"of somebody else")

        def linked(draft: Path, target: Path) -> None:
            if not links:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            link(draft, target)

        monkeypatch.setattr(os, "link", linked)
        registry.fetch(version, out / "first")
        monkeypatch.setattr(os, "fsync", slow)
        with refused(registry, InvalidArgumentError):
            registry.fetch(version, out / "model")
        monkeypatch.undo()
        assert [(out / name).read_bytes() for name in names_in(out)] == [CONTENTS, b"of somebody else"]

    def test_a_file_is_replaced_where_that_is_said_and_of_a_link_the_link_itself(
        self, registry: ModelRegistry, version: Version, out: Path
    ) -> None:
        (out / "file").write_bytes(b"before")
        (out / "link").symlink_to("file")
        (out / "to nowhere").symlink_to("nowhere")
        for name in ("link", "to nowhere"):
            registry.fetch(version, out / name, overwrite=True)
            assert not (out / name).is_symlink()
            assert (out / name).read_bytes() == CONTENTS
        assert (out / "file").read_bytes() == b"before"
        registry.fetch(version, out / "file", overwrite=True)
        registry.fetch(version, out / "new", overwrite=True)
        assert [path.read_bytes() for path in out.iterdir()] == [CONTENTS] * 4

    def test_what_is_no_file_is_never_replaced(
        self, registry: ModelRegistry, version: Version, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (out / "folder").mkdir()
        os.mkfifo(out / "pipe")
        (out / "to a folder").symlink_to("folder")
        (out / "to a device").symlink_to(os.devnull)
        (out / "devices").mkdir()
        (out / "devices" / "stdout").symlink_to("/proc/self/exe")
        monkeypatch.setattr(fetching, "_DEVICES", out / "devices")
        names = ["folder", "pipe", "to a folder", "to a device", "devices/stdout", ".", "..", "folder/"]
        for name in names:
            for overwrite in (False, True):
                with refused(registry, InvalidArgumentError):
                    registry.fetch(version, out / name, overwrite)
        assert len(names_in(out)) == 5
        assert (out / "devices" / "stdout").is_symlink()
        assert names_in(out / "folder") == []

    def test_a_folder_that_is_not_there_is_not_made(self, registry: ModelRegistry, version: Version, out: Path) -> None:
        (out / "file").touch()
        for path in (out / "no" / "model", out / "file" / "model", out / ("n" * 300)):
            with pytest.raises(StoreError, match="can't be written"):
                registry.fetch(version, path)
        assert names_in(out) == ["file"]

    def test_others_may_read_what_the_umask_lets_them(
        self, registry: ModelRegistry, version: Version, out: Path
    ) -> None:
        for umask, mode in ((0o022, 0o644), (0o002, 0o664), (0o077, 0o600)):
            before = os.umask(umask)
            try:
                registry.fetch(version, out / oct(umask))
            finally:
                os.umask(before)
            assert stat.S_IMODE((out / oct(umask)).stat().st_mode) == mode


class TestWhatIsNoPath:
    @pytest.mark.parametrize("path", [None, 7, b"model", "", " ", "a\0b", "a\ud800", Path("a\0b"), ["model"], object()])
    def test_it_is_refused(
        self, registry: ModelRegistry, version: Version, out: Path, monkeypatch: pytest.MonkeyPatch, path: object
    ) -> None:
        monkeypatch.chdir(out)
        with refused(registry, InvalidArgumentError):
            registry.fetch(version, path)  # type: ignore[arg-type]
        assert names_in(out) == []

    @pytest.mark.parametrize("overwrite", [None, 1, "yes", []])
    def test_overwrite_is_yes_or_no(
        self, registry: ModelRegistry, version: Version, out: Path, overwrite: object
    ) -> None:
        with refused(registry, InvalidArgumentError):
            registry.fetch(version, out / "model", overwrite)  # type: ignore[arg-type]
        assert names_in(out) == []

    @pytest.mark.parametrize("named", [None, 7, "", "@", "@1.0.0", b"x", object()])
    def test_a_version_is_named(self, registry: ModelRegistry, version: Version, out: Path, named: object) -> None:
        assert version.is_primary
        with pytest.raises(InvalidInputError):
            registry.fetch(named, out / "model")  # type: ignore[arg-type]
