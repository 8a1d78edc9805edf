"""The folder in which contents are kept: stored, read, erased, by many processes at once (R26, R27)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import artifact_tools
from tests.artifact_tools import (
    CONTENTS,
    DIGEST,
    LONG_AGO_S,
    OTHER_DIGEST,
    damage_is_noticed_before_anything_is_loaded,
    deployed,
    drafts_in,
    files_of_at_most,
    kept_in,
    make_old,
    place_of,
    refusal_of,
    utime,
)
from versioning.artifacts import folder as artifacts
from versioning.artifacts.folder import DAY_S, ArtifactFolder
from versioning.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    InvalidArgumentError,
    StoreError,
)
from versioning.events import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

folder = artifact_tools.folder


class TestTheFolder:
    def test_it_is_made_at_the_first_store(self, folder: ArtifactFolder) -> None:
        assert folder.collect(set()) == []
        folder.refresh(ArtifactRef(f"sha256:{DIGEST}"))
        assert not folder.root.exists()
        folder.store(CONTENTS)
        assert kept_in(folder) == [DIGEST]

    def test_it_stays_where_it_was_when_the_process_moves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = ArtifactFolder(Path("relative"), "default")
        reference = folder.store(CONTENTS)
        monkeypatch.chdir("/")
        assert folder.read(reference) == CONTENTS

    def test_the_same_contents_are_kept_once(self, folder: ArtifactFolder, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        assert folder.store(CONTENTS) == folder.store(CONTENTS) == folder.store_file(tmp_path / "model")
        assert (kept_in(folder), drafts_in(folder)) == ([DIGEST], [])

    def test_contents_that_are_there_are_not_written_again(self, folder: ArtifactFolder) -> None:
        reference = folder.store(CONTENTS)
        before = place_of(folder, reference.digest).stat().st_ino
        folder.store(CONTENTS)
        assert place_of(folder, reference.digest).stat().st_ino == before

    @pytest.mark.parametrize("damage", [b"", CONTENTS[:-1], CONTENTS + b"!", CONTENTS[::-1]])
    def test_storing_again_repairs_a_damaged_file(self, folder: ArtifactFolder, damage: bytes, tmp_path: Path) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        again: list[Callable[[], ArtifactRef]] = [
            lambda: folder.store(CONTENTS),
            lambda: folder.store_file(tmp_path / "model"),
        ]
        for store in again:
            reference = store()
            place_of(folder, reference.digest).write_bytes(damage)
            store()
            assert folder.read(reference) == CONTENTS

    def test_the_file_is_on_disk_before_it_has_its_name_and_the_name_before_the_answer(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, list[str]]] = []
        fsync = os.fsync

        def recorded(descriptor: int) -> None:
            fsync(descriptor)
            seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), kept_in(folder)))

        monkeypatch.setattr(os, "fsync", recorded)
        folder.store(CONTENTS)
        assert seen[-3:] == [(False, []), (True, []), (True, [DIGEST])]
        assert all(is_folder for is_folder, _ in seen[:-3])
        folder.store(CONTENTS)
        assert seen[-2:] == [(True, [DIGEST])] * 2

    def test_others_may_read_what_the_umask_lets_them(self, folder: ArtifactFolder) -> None:
        umask = os.umask(0o022)
        try:
            reference = folder.store(CONTENTS)
        finally:
            os.umask(umask)
        assert stat.S_IMODE(place_of(folder, reference.digest).stat().st_mode) == 0o644

    def test_on_a_full_disk_it_says_so_and_leaves_nothing(self, folder: ArtifactFolder) -> None:
        folder.store(b"small")
        with files_of_at_most(4_096), pytest.raises(StoreError, match=os.strerror(errno.EFBIG)) as full:
            folder.store(bytes(100_000))
        assert "room" in full.value.hint
        assert (len(kept_in(folder)), drafts_in(folder)) == (1, [])

    def test_a_folder_that_can_not_be_made_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        folder.root.write_text("in the way")
        with pytest.raises(StoreError, match="can't be written"):
            folder.store(CONTENTS)

    def test_a_folder_that_can_not_be_read_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        reference = folder.store(CONTENTS)
        folder.path.rename(folder.root / "moved")
        folder.path.write_text("in the way")
        with pytest.raises(StoreError, match="can't be read"):
            folder.read(reference)

    def test_a_folder_that_can_not_be_tidied_is_an_error_of_the_store(self, folder: ArtifactFolder) -> None:
        (folder.path / "folder.tmp").mkdir(parents=True)
        make_old(folder.path / "folder.tmp")
        with pytest.raises(StoreError, match="can't be tidied"):
            folder.collect(set())


class TestWorkspaces:
    HOSTILE = (
        "",
        ".",
        "..",
        "../..",
        "/",
        "/etc",
        "a\0b",
        "a/b",
        "A",
        "a",
        "é",
        "e\u0301",
        "😀" * 200,
        "\ud800",
        "nul",
    )

    def test_no_workspace_leads_out_of_the_root(self, tmp_path: Path) -> None:
        for workspace in self.HOSTILE:
            folder = ArtifactFolder(tmp_path / "root", workspace)
            folder.store(CONTENTS)
            assert folder.path.parent == tmp_path / "root"
        assert [path.name for path in tmp_path.iterdir()] == ["root"]

    def test_no_two_share_a_folder_even_where_case_does_not_count(self, tmp_path: Path) -> None:
        names = {ArtifactFolder(tmp_path, workspace).path.name.lower() for workspace in self.HOSTILE}
        assert len(names) == len(self.HOSTILE)

    def test_how_contents_are_can_be_looked_at(self, tmp_path: Path) -> None:
        folder = ArtifactFolder(tmp_path, "default")
        digest = str(folder.store(b"x").digest)
        assert (folder.look_at(digest), folder.look_at("0" * 64)) == ("intact", "missing")
        (folder.path / digest[:2] / digest[2:]).write_bytes(b"y")
        assert folder.look_at(digest) == "damaged"
        assert ArtifactFolder(tmp_path, "other").look_at(digest) == "missing"

    def test_one_never_reads_refreshes_or_collects_anothers(self, tmp_path: Path) -> None:
        ours, theirs = ArtifactFolder(tmp_path, "ours"), ArtifactFolder(tmp_path, "theirs")
        reference = theirs.store(CONTENTS)
        make_old(place_of(theirs, DIGEST))
        ours.refresh(reference)
        with pytest.raises(ArtifactNotFoundError):
            ours.read(reference)
        assert ours.collect(set()) == []
        assert theirs.read(reference) == CONTENTS
        assert theirs.collect(set()) == [DIGEST]


class TestCollecting:
    def test_what_nobody_refers_to_is_erased_and_named(self, folder: ArtifactFolder) -> None:
        for contents in (CONTENTS, b"others", b"more"):
            make_old(place_of(folder, folder.store(contents).digest))
        more = hashlib.sha256(b"more").hexdigest()
        assert folder.collect({OTHER_DIGEST}) == sorted([DIGEST, more])
        assert kept_in(folder) == [OTHER_DIGEST]
        assert folder.collect(frozenset) == [OTHER_DIGEST]
        assert folder.collect(set()) == []

    @pytest.mark.parametrize(("age_s", "erased"), [(DAY_S - 1, []), (DAY_S, [DIGEST]), (-DAY_S, [])])
    def test_nothing_younger_than_a_day_is_erased(self, folder: ArtifactFolder, age_s: int, erased: list[str]) -> None:
        folder.store(CONTENTS)
        utime(place_of(folder, DIGEST), (LONG_AGO_S, LONG_AGO_S - age_s))
        assert folder.collect(set(), now=LONG_AGO_S) == erased

    def test_another_age_can_be_asked_for(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        utime(place_of(folder, DIGEST), (LONG_AGO_S, LONG_AGO_S))
        assert folder.collect(set(), now=LONG_AGO_S + 9, older_than_s=10) == []
        assert folder.collect(set(), now=LONG_AGO_S + 10, older_than_s=10) == [DIGEST]

    @pytest.mark.parametrize("by", ["bytes", "file", "uri", "reference"])
    def test_deploying_again_keeps_contents_for_another_day(
        self, folder: ArtifactFolder, tmp_path: Path, by: str
    ) -> None:
        (tmp_path / "model").write_bytes(CONTENTS)
        reference = deployed(CONTENTS, folder)
        make_old(place_of(folder, DIGEST))
        deployed(
            {"bytes": CONTENTS, "file": tmp_path / "model", "uri": reference.uri, "reference": reference}[by], folder
        )
        assert folder.collect(set()) == []

    def test_a_preview_does_not(self, folder: ArtifactFolder) -> None:
        reference = deployed(CONTENTS, folder)
        make_old(place_of(folder, DIGEST))
        deployed(reference, folder, preview=True)
        assert folder.collect(set()) == [DIGEST]

    def test_what_is_stored_while_the_references_are_read_stays(self, folder: ArtifactFolder) -> None:
        what_is_stored_while_the_references_are_read_stays(folder)

    def test_what_grows_a_day_old_while_the_references_are_read_stays(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        present = [LONG_AGO_S + DAY_S - 1, LONG_AGO_S + DAY_S + 1]
        monkeypatch.setattr(time, "time", lambda: present[0])
        assert folder.collect(lambda: {hashlib.sha256(str(present.pop(0)).encode()).hexdigest()}) == []
        assert folder.collect(set()) == [DIGEST]

    def test_what_takes_a_day_to_store_is_young_when_it_has_its_name(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(_: int) -> None:
            for draft in drafts_in(folder):
                make_old(draft)

        monkeypatch.setattr(os, "fsync", slow)
        folder.store(CONTENTS)
        assert folder.collect(set()) == []

    def test_what_is_stored_while_it_waits_for_its_turn_stays(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        locked = ArtifactFolder._locked

        def late(folder: ArtifactFolder) -> contextlib.AbstractContextManager[None]:
            utime(place_of(folder, DIGEST))
            return locked(folder)

        monkeypatch.setattr(ArtifactFolder, "_locked", late)
        assert folder.collect(set()) == []
        assert kept_in(folder) == [DIGEST]

    @pytest.mark.parametrize("by", ["look", "touch"])
    def test_contents_erased_while_they_are_stored_again_are_written_anew(
        self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch, by: str
    ) -> None:
        reference = folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        is_intact = ArtifactFolder._is_intact

        def slow(folder: ArtifactFolder, digest: str) -> bool:
            erased_before = by == "look" and folder.collect(set())
            found = is_intact(folder, digest)
            assert erased_before or folder.collect(set())
            return found

        monkeypatch.setattr(ArtifactFolder, "_is_intact", slow)
        folder.store(CONTENTS)
        assert folder.read(reference) == CONTENTS

    def test_what_another_collector_erased_first_is_not_named(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        place = place_of(folder, DIGEST)
        make_old(place)
        assert folder._erase(place, LONG_AGO_S)
        assert not folder._erase(place, LONG_AGO_S)

    @pytest.mark.parametrize(
        "referenced",
        [[], None, "", DIGEST, [DIGEST], {f"sha256:{DIGEST}"}, {DIGEST.upper()}, {None}, list, lambda: {7}],
    )
    def test_what_is_not_a_set_of_digests_is_refused_because_everything_would_go(
        self, folder: ArtifactFolder, referenced: object
    ) -> None:
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        assert "set of digests" in refusal_of(lambda: folder.collect(referenced)).sentence  # type: ignore[arg-type]
        assert kept_in(folder) == [DIGEST]

    def test_files_of_others_are_left_alone(self, folder: ArtifactFolder) -> None:
        folder.store(CONTENTS)
        strangers = [folder.path / "ab" / "readme.txt", folder.path / "readme.txt", folder.path / "zz" / ("a" * 62)]
        for path in [*strangers, place_of(folder, DIGEST)]:
            path.parent.mkdir(exist_ok=True)
            path.touch()
            make_old(path)
        assert folder.collect(set()) == [DIGEST]
        assert all(path.exists() for path in strangers)


class TestProcesses:
    def test_of_a_process_that_dies_before_the_end_nothing_can_be_seen_and_a_day_later_nothing_is_left(
        self, folder: ArtifactFolder
    ) -> None:
        killed = multiprocessing.get_context("spawn").Process(target=store_and_die, args=(folder,))
        killed.start()
        killed.join(30)
        assert killed.exitcode == -signal.SIGKILL
        assert kept_in(folder) == []
        folder.collect(set(), older_than_s=0)  # others may still be writing theirs
        [draft] = drafts_in(folder)
        make_old(draft)
        folder.collect(set())
        assert drafts_in(folder) == []
        assert folder.read(folder.store(CONTENTS)) == CONTENTS

    def test_one_at_a_time_touches_or_erases_and_a_process_forked_meanwhile_holds_nobody_up(
        self, folder: ArtifactFolder
    ) -> None:
        folder.store(CONTENTS)
        with (folder.path / ".lock").open("rb") as other, contextlib.ExitStack() as stack:
            with folder._locked():
                held = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
                same = [one for one in held if one != other.fileno() and leads_to(one, folder.path / ".lock")]
                stack.callback(os.close, os.dup(same[0]))  # as a fork has it
                with pytest.raises(BlockingIOError):
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_name_is_given_made_young_and_taken_away_under_the_lock_only(
        self, folder: ArtifactFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done: list[str] = []

        def watched(owner: object, name: str) -> None:
            real = getattr(owner, name)

            def under_the_lock(path: Path, *rest: object, **options: object) -> object:
                if name != "unlink" or path.suffix != ".tmp":
                    with (folder.path / ".lock").open("rb") as other, pytest.raises(BlockingIOError):
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    done.append(name)
                return real(path, *rest, **options)

            monkeypatch.setattr(owner, name, under_the_lock)

        for owner, name in [(os, "utime"), (Path, "replace"), (Path, "unlink")]:
            watched(owner, name)
        (tmp_path / "model").write_bytes(CONTENTS)
        folder.store_file(tmp_path / "model")
        folder.store(CONTENTS)
        make_old(place_of(folder, DIGEST))
        folder.collect(set())
        assert done == ["utime", "replace", "utime", "unlink"]

    def test_while_two_store_and_a_third_collects_nothing_that_is_referred_to_is_ever_missing(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "references").mkdir()
        spawn = multiprocessing.get_context("spawn")
        counts: list[SimpleQueue[int]] = [spawn.SimpleQueue() for _ in range(3)]
        ready = spawn.Barrier(3)
        processes = [
            spawn.Process(target=role, args=(tmp_path, ready, count))
            for role, count in zip([deploy_and_delete, deploy_and_delete, age_and_collect], counts, strict=True)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert all(count.get() > 0 for count in counts)  # all had something to do


class TestThatTheseTestsWouldNotice:
    """Each breaks the library in one place, and one of the tests above must fail."""

    def test_a_missing_look_at_the_digest(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(artifacts, "_check", lambda *_: None)
        with pytest.raises(pytest.fail.Exception):
            damage_is_noticed_before_anything_is_loaded(folder)

    def test_a_look_at_the_size_alone(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(artifacts.hashlib, "sha256", lambda *_: Constant())  # type: ignore[attr-defined]
        with pytest.raises(InvalidArgumentError, match="can't load"):
            damage_is_noticed_before_anything_is_loaded(folder)

    def test_a_store_that_does_not_make_young(self, folder: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "utime", lambda *_: None)
        with pytest.raises(AssertionError):
            what_is_stored_while_the_references_are_read_stays(folder)


class TestDamage:
    def test_it_is_noticed_before_anything_is_loaded(self, folder: ArtifactFolder) -> None:
        damage_is_noticed_before_anything_is_loaded(folder)

    @pytest.mark.parametrize(
        "reference", [ArtifactRef(f"sha256:{DIGEST}", OTHER_DIGEST), ArtifactRef(f"sha256:{DIGEST}", DIGEST, 22)]
    )
    def test_an_event_that_tells_another_digest_or_size_is_damage_too(
        self, folder: ArtifactFolder, reference: ArtifactRef
    ) -> None:
        folder.store(CONTENTS)
        with pytest.raises(ArtifactDamagedError, match="backup"):
            folder.read(reference)


class Constant:
    """A digest that is always the same."""

    def update(self, contents: bytes) -> None:
        pass

    def hexdigest(self) -> str:
        return DIGEST


def what_is_stored_while_the_references_are_read_stays(folder: ArtifactFolder) -> None:
    folder.store(CONTENTS)
    make_old(place_of(folder, DIGEST))

    def referenced() -> set[str]:
        folder.store(CONTENTS)
        return set()

    assert folder.collect(referenced) == []
    assert kept_in(folder) == [DIGEST]


def leads_to(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


# What the processes above do.

SECONDS = 1.0


def store_and_die(folder: ArtifactFolder) -> None:
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]
    folder.store(CONTENTS)


def deploy_and_delete(root: Path, ready: Barrier, count: SimpleQueue[int]) -> None:
    """Store contents that others store too, refer to them, read them, and refer to them no more."""
    folder, rounds = ArtifactFolder(root / "artifacts", "default"), 0
    ready.wait(30)
    until = time.monotonic() + SECONDS
    with (root / "gate").open("ab") as gate:
        while time.monotonic() < until:
            contents = f"model {rounds % 3}".encode()
            fcntl.flock(gate, fcntl.LOCK_SH)  # a day does not pass between storing and recording
            reference = folder.store(contents)
            record = root / "references" / f"{reference.digest}.{os.getpid()}"
            record.touch()
            fcntl.flock(gate, fcntl.LOCK_UN)
            for _ in range(3):
                assert folder.read(reference) == contents
            record.unlink()
            rounds += 1
    count.put(rounds)


def age_and_collect(root: Path, ready: Barrier, count: SimpleQueue[int]) -> None:
    """Let a day pass in a moment, and erase what nobody refers to."""
    folder, erased = ArtifactFolder(root / "artifacts", "default"), 0
    ready.wait(30)
    until = time.monotonic() + SECONDS
    with (root / "gate").open("ab") as gate:
        while time.monotonic() < until:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for path in folder.path.glob("??/*"):
                make_old(path)
            fcntl.flock(gate, fcntl.LOCK_UN)
            erased += len(folder.collect(lambda: {path.stem for path in (root / "references").iterdir()}))
    count.put(erased)
