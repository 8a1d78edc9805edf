"""Whose artifacts folder is it? Only the store that owns a folder erases there, and only while its log is the one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import stores
from tests.artifact_tools import make_old
from tests.cli_tools import done, refused, run
from tests.registry_tools import NAME
from versioning import ArtifactsNotOwnedError, InvalidArgumentError, ModelRegistry, StoreError
from versioning.artifacts import owner
from versioning.artifacts.owner import FILE
from versioning.ids import Bookmark

if TYPE_CHECKING:
    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "contents"


def deploy(registry: ModelRegistry, contents: bytes) -> str:
    """Deploy contents, and return their digest."""
    return str(registry.deploy(contents, model_name=NAME).artifact.digest)


def deploy_and_delete(registry: ModelRegistry, contents: bytes) -> str:
    version = registry.deploy(contents, model_name=NAME)
    registry.delete(version.version_id)
    return str(version.artifact.digest)


def a_day_later(folder: Path) -> None:
    for path in folder.rglob("??/*"):
        make_old(path)


def held_in(folder: Path) -> set[str]:
    return {path.parent.name + path.name for path in folder.rglob("??/*")}


def refuses(registry: ModelRegistry, sentence: str) -> None:
    for dry_run in (True, False):
        with pytest.raises(ArtifactsNotOwnedError, match=sentence):
            registry.collect_artifacts(dry_run=dry_run)


def test_it_is_on_disk_before_it_has_its_name_and_an_interruption_leaves_the_one_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    folder.mkdir()
    before = owner.Owner("a", Bookmark(1, "b"))
    owner.write(folder, before)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        owner.write(folder, owner.Owner("a", Bookmark(2, "c")))
    assert (owner.read(folder), [path.name for path in folder.iterdir()]) == (before, [FILE])


class TestTheOwner:
    """The store that first keeps something in a folder owns it; others read and add."""

    def test_another_store_reads_and_adds_and_erases_nothing(self, tmp_path: Path, folder: Path) -> None:
        first = ModelRegistry(tmp_path / "first.db", artifacts=folder)
        second = ModelRegistry(tmp_path / "second.db", artifacts=folder)
        ours, theirs, both = deploy(first, b"first"), deploy(second, b"second"), deploy(first, b"both")
        assert deploy(second, b"both") == both
        left = deploy_and_delete(first, b"left")
        a_day_later(folder)
        refuses(second, "belongs to another store")
        assert second.load(NAME, "0.2.0") == b"both"
        assert first.collect_artifacts().erased == tuple(sorted([theirs, left]))  # nothing here knows of theirs
        assert held_in(folder) == {ours, both}

    def test_it_goes_with_its_log_wherever_that_is(self, shared_store: Store, folder: Path) -> None:
        first, second = shared_store(artifacts=folder), shared_store(artifacts=folder)
        gone = deploy_and_delete(first, b"gone")
        deploy(second, b"kept")
        a_day_later(folder)
        assert second.collect_artifacts(dry_run=True).to_dict() == {"erased": [gone], "unknown": [], "dry_run": True}
        assert gone in held_in(folder)
        assert second.collect_artifacts().to_dict() == {"erased": [gone], "unknown": [], "dry_run": False}
        assert first.collect_artifacts().erased == ()

    def test_each_workspace_of_a_store_has_its_own(self, tmp_path: Path, folder: Path) -> None:
        acme = ModelRegistry(tmp_path / "models.db", artifacts=folder, workspace="acme")
        umbrella = ModelRegistry(tmp_path / "models.db", artifacts=folder, workspace="umbrella")
        other = ModelRegistry(tmp_path / "other.db", artifacts=folder, workspace="initech")
        kept = [deploy(registry, b"all have it") for registry in (acme, umbrella, other)]
        deploy_and_delete(acme, b"gone")
        a_day_later(folder)
        assert len(acme.collect_artifacts().erased) == 1
        assert umbrella.collect_artifacts().erased == other.collect_artifacts().erased == ()
        assert held_in(folder) == set(kept)

    def test_a_memory_is_a_store_of_its_own(self, folder: Path) -> None:
        with ModelRegistry("memory:", artifacts=folder) as first:
            deploy(first, b"first")
        refuses(ModelRegistry("memory:", artifacts=folder), "belongs to another store")

    def test_a_folder_without_contents_is_nobodys(self, store: Store, folder: Path) -> None:
        registry = store(artifacts=folder)
        registry.deploy("s3://elsewhere", model_name=NAME)
        registry.preview.deploy(b"x", model_name=NAME)
        assert registry.collect_artifacts().erased == ()
        assert not folder.exists()

    def test_a_file_that_can_not_be_read_keeps_nobody_from_adding(self, store: Store, folder: Path) -> None:
        registry = store(artifacts=folder)
        deploy(registry, b"first")
        (file,) = folder.rglob(FILE)
        for damage in (b"", b"[]", b'{"store":1,"position":0,"link":"","adopted":false}', b"\xff"):
            file.write_bytes(damage)
            deploy(registry, damage)
            with pytest.raises(StoreError, match="whose the artifacts folder is"):
                registry.collect_artifacts()
        registry.adopt_artifacts()
        assert registry.collect_artifacts().erased == ()

    def test_a_folder_that_can_not_be_marked_any_more_fails_no_command_that_is_recorded(
        self, store: Store, folder: Path
    ) -> None:
        registry = store(artifacts=folder)
        deploy(registry, b"first")
        (lock,) = folder.rglob(".lock")
        lock.unlink()
        lock.mkdir()
        assert registry.delete(f"{NAME}@0.1.0").status == "deleted"
        registry.deploy("s3://elsewhere", model_name=NAME)
        assert registry.delete_model(NAME).versions == ()


class TestCopies:
    """A copy of a store has its id. It owns the folder only while it knows all that the folder has seen."""

    @staticmethod
    def copied(source: Path, target: Path) -> None:
        with (
            contextlib.closing(sqlite3.connect(source)) as there,
            contextlib.closing(sqlite3.connect(target)) as here,
        ):
            there.backup(here)

    def test_an_older_copy_erases_nothing(self, tmp_path: Path, folder: Path) -> None:
        with ModelRegistry(tmp_path / "models.db", artifacts=folder) as registry:
            deploy(registry, b"first")
            self.copied(tmp_path / "models.db", tmp_path / "copy.db")
            later = [deploy(registry, b"second"), deploy(registry, b"third")]
            a_day_later(folder)
            copy = ModelRegistry(tmp_path / "copy.db", artifacts=folder)
            assert copy._store.ids() == registry._store.ids()
            refuses(copy, "has seen events that this copy of the store does not have")
            deploy(copy, b"of the copy")  # it may add, and the folder stays with the other
            refuses(copy, "has seen events")
            assert registry.collect_artifacts().erased == ()
            assert set(later) <= held_in(folder)

    def test_of_two_that_went_their_own_ways_the_first_to_add_owns_it(self, tmp_path: Path, folder: Path) -> None:
        with ModelRegistry(tmp_path / "models.db", artifacts=folder) as registry:
            deploy(registry, b"first")
        self.copied(tmp_path / "models.db", tmp_path / "copy.db")
        original, copy = (ModelRegistry(tmp_path / name, artifacts=folder) for name in ("models.db", "copy.db"))
        for registry in (copy, original):  # both have seen what the folder has: nothing is known yet
            registry.deploy("s3://elsewhere", model_name=NAME)
            assert registry.collect_artifacts().erased == ()
        deploy(copy, b"of the copy")
        deploy(original, b"of the original")
        assert copy.collect_artifacts().erased == ()
        refuses(original, "has seen events")

    def test_a_restored_store_adopts_the_folder_and_erases_only_what_it_knows(
        self, tmp_path: Path, folder: Path
    ) -> None:
        with ModelRegistry(tmp_path / "models.db", artifacts=folder) as registry:
            gone = deploy_and_delete(registry, b"gone")
            self.copied(tmp_path / "models.db", tmp_path / "copy.db")
            lost = deploy(registry, b"lost")
            deploy(registry, b"lost too")
        with ModelRegistry(tmp_path / "copy.db", artifacts=folder) as copy:
            a_day_later(folder)
            refuses(copy, "has seen events")
            copy.adopt_artifacts()
            found = copy.collect_artifacts()
            assert (found.erased, lost in found.unknown, len(found.unknown)) == ((gone,), True, 2)
            assert lost in held_in(folder)
            deploy(copy, b"more")
            assert copy.collect_artifacts().unknown == found.unknown
        with ModelRegistry(tmp_path / "models.db", artifacts=folder) as registry:
            refuses(registry, "belongs to another store")

    @pytest.mark.parametrize("by", ["deploying", "deleting", "deleting the model", "many"])
    def test_what_was_the_last_to_happen_counts(self, tmp_path: Path, folder: Path, by: str) -> None:
        with ModelRegistry(tmp_path / "models.db", artifacts=folder) as registry:
            deploy(registry, b"first")
            deploy(registry, b"second")
            self.copied(tmp_path / "models.db", tmp_path / "copy.db")
            if by == "deploying":
                deploy(registry, b"third")
            elif by == "deleting":
                registry.delete(f"{NAME}@0.1.0")
            elif by == "many":
                registry.deploy_many([{"model_or_reference": b"third", "model_name": NAME}])
            else:
                registry.delete_model(NAME)
        with ModelRegistry(tmp_path / "copy.db", artifacts=folder) as copy:
            refuses(copy, "has seen events")


class TestTheOldForm:
    """Contents without a word whose they are belong to nobody."""

    def test_nothing_is_erased_until_it_is_adopted(self, store: Store, folder: Path) -> None:
        registry = store(artifacts=folder)
        gone, kept = deploy_and_delete(registry, b"gone"), deploy(registry, b"kept")
        (file,) = folder.rglob(FILE)
        file.unlink()
        a_day_later(folder)
        refuses(registry, "belongs to no store")
        deploy(registry, b"more")
        refuses(registry, "belongs to no store")
        registry.adopt_artifacts()
        assert registry.collect_artifacts().erased == (gone,)
        assert kept in held_in(folder)

    def test_without_a_folder_there_is_nothing_to_adopt(self) -> None:
        with ModelRegistry("memory:") as registry, pytest.raises(InvalidArgumentError, match="has no folder"):
            registry.adopt_artifacts()

    def test_an_empty_folder_can_be_adopted_beforehand(self, store: Store, folder: Path) -> None:
        registry = store(artifacts=folder)
        registry.adopt_artifacts()
        gone = deploy_and_delete(registry, b"gone")
        a_day_later(folder)
        assert registry.collect_artifacts().erased == (gone,)


def test_a_database_has_one_folder_however_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "models.db")
    with ModelRegistry(tmp_path / "real" / "models.db") as registry:
        deploy(registry, b"first")
    with ModelRegistry(tmp_path / "link.db") as linked:
        assert linked.load(NAME, "0.1.0", trusted=True) == b"first"
        deploy(linked, b"second")
    assert [path.name for path in tmp_path.glob("*.artifacts")] == []
    with ModelRegistry(tmp_path / "real" / "models.db") as registry:
        assert registry.load(NAME, "0.2.0", trusted=True) == b"second"


def test_every_store_has_an_id(store: Store) -> None:
    (first,) = store()._store.ids()
    (second,), (third,) = (ModelRegistry("memory:")._store.ids() for _ in range(2))
    assert len({first, second, third}) == 3
    assert len(bytes.fromhex(first)) == 16


def test_a_store_that_is_opened_again_has_its_id_and_one_for_each_folder_that_it_adopted(
    shared_store: Store, folder: Path
) -> None:
    first = shared_store(artifacts=folder)
    (own,) = first._store.ids()
    first.adopt_artifacts()
    again = shared_store()._store.ids()
    assert again == first._store.ids()
    assert (again[0], len(set(again))) == (own, 2)


class TestTheCommandLine:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with ModelRegistry("sqlite:///models.db") as registry:
            self.gone = deploy_and_delete(registry, b"gone")
            deploy(registry, b"kept")
        a_day_later(Path("models.db.artifacts"))

    def test_a_dry_run_asks_nothing_and_erases_nothing(self) -> None:
        place = ("--url", "sqlite:///models.db")
        ran = done("collect", "--dry-run", *place)
        assert (ran.lines, "Contents that would be erased: 1." in ran.err) == ([[self.gone]], True)
        assert done("collect", "--yes", "--json", *place).json == {
            "erased": [self.gone], "unknown": [], "dry_run": False
        }  # fmt: skip

    def test_doctor_says_whose_it_is_and_adopts_it(self) -> None:
        shutil.move("models.db.artifacts", "moved")
        place: Any = ("--url", "sqlite:///models.db", "--artifacts", "moved")
        (file,) = Path("moved").rglob(FILE)
        file.unlink()
        refused(run("collect", "--yes", *place), 6, "belongs to no store", "doctor --adopt-artifacts")
        rows = [row for row in done("doctor", *place).lines if row[1] == "artifacts"]
        assert [row[0] for row in rows] == ["warn", "ok"]
        rows = [row for row in done("doctor", "--adopt-artifacts", *place).lines if row[1] == "artifacts"]
        assert [row[0] for row in rows] == ["ok"]
        other = Path("moved").joinpath(*Path(file).relative_to("moved").parts[:1], "ab")
        other.mkdir()
        (other / hashlib.sha256(b"x").hexdigest()[2:]).write_bytes(b"x")
        os.utime(other / hashlib.sha256(b"x").hexdigest()[2:], (0, 0))
        ran = done("collect", "--yes", *place)
        assert ran.lines == [[self.gone]]
        assert "Contents that stay, as this log never deployed them: 1" in ran.err
