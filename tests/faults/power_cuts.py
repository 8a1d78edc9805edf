"""Is anything that was acknowledged lost when the power goes, on a disk that keeps its promises?

A kill can't tell `synchronous=FULL` from NORMAL: the system still has what was written. So SQLite's way to the disk is
watched, by a VFS of ours in front of its own: what a file held at its last sync survives a power cut, and of every
512 bytes written since, one or the other, at random. The cut comes at a random write; a registry on what survived must
have all that was acknowledged, in whole appends. `durability=checkpoint`, which is allowed to lose the last commits, is
the planted bug. The syncs of each command are counted too.
"""

from __future__ import annotations

import _sqlite3
import collections
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of
from tests.faults.kills import commands
from versioning import ModelRegistry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.kills import Mark

SECTOR_BYTES: Final = 512
CUTS_A_PROCESS: Final = 10
COMMANDS_MAX: Final = 400
CHECKPOINT_PAGES: Final = 20
"""After how many pages of the log SQLite writes them into the file: often, so that cuts fall there too."""
PLAIN_COMMANDS: Final = 20
"""How many commands' syncs are counted."""
BUGS: Final = ("durability=checkpoint",)

OK: Final = 0


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3."""

    _fields_ = [
        ("version", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("close", "read", "write", "truncate", "sync", "file_size")),
        *((f"further_{place}", ctypes.c_void_p) for place in range(12)),
    ]


class _File(ctypes.Structure):
    """sqlite3_file."""

    _fields_ = [("methods", ctypes.POINTER(_Methods))]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("version", ctypes.c_int),
        ("file_bytes", ctypes.c_int),
        ("path_max", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("open", ctypes.c_void_p),
        *((f"further_{place}", ctypes.c_void_p) for place in range(15)),
    ]


_Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_File), ctypes.c_int, ctypes.c_void_p
)
_Write = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong)
_Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Disk:
    """What SQLite of this process writes and syncs, from here on; can't be taken away again."""

    def __init__(self, before_write: Callable[[], None]) -> None:
        """Stand before SQLite's own way; `before_write` is called before each write."""
        self.syncs: collections.Counter[str] = collections.Counter()
        self.synced: dict[str, bytes] = {}
        """What each file held when it was last synced."""
        self._before_write = before_write
        self._paths: dict[int, str] = {}
        self._kept: list[Any] = []
        library = ctypes.CDLL(_sqlite3.__file__)  # and so the library that Python uses
        library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
        self._real = library.sqlite3_vfs_find(None)
        vfs = _Vfs.from_buffer_copy(self._real.contents)
        vfs.name = b"watched"
        self._open = _Open(self._real.contents.open)
        opens = _Open(self._opened)
        vfs.open = ctypes.cast(opens, ctypes.c_void_p)
        self._kept += [vfs, opens]
        assert library.sqlite3_vfs_register(ctypes.byref(vfs), 1) == OK

    def _opened(self, _: int, name: int, file: Any, flags: int, out: int) -> int:  # noqa: ANN401 - a pointer
        code: int = self._open(ctypes.addressof(self._real.contents), name, file, flags, out)
        if code == OK and name:
            self._paths[ctypes.addressof(file.contents)] = ctypes.string_at(name).decode()
            real = file.contents.methods.contents
            methods = _Methods.from_buffer_copy(real)
            write, sync = _Write(real.write), _Sync(real.sync)

            def written(one: int, content: int, count: int, at: int) -> int:
                self._before_write()
                return int(write(one, content, count, at))

            def synced(one: int, how: int) -> int:
                done = int(sync(one, how))
                path = self._paths[one]
                self.syncs["log" if path.endswith("-wal") else "file"] += 1
                self.synced[path] = Path(path).read_bytes()
                return done

            callbacks = _Write(written), _Sync(synced)
            methods.write, methods.sync = (ctypes.cast(each, ctypes.c_void_p) for each in callbacks)
            file.contents.methods = ctypes.pointer(methods)
            self._kept += [methods, callbacks]
        return code

    def survivors(self, path: Path, dice: random.Random) -> bytes:
        """Give what a file holds after a power cut now."""
        now, then = path.read_bytes() if path.exists() else b"", self.synced.get(str(path), b"")
        if dice.random() < 0.5:
            return then
        length = dice.choice((len(then), len(now), dice.randint(0, len(now))))
        parts = [
            (then if dice.random() < 0.5 else now)[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0")
            if then[at : at + SECTOR_BYTES] != now[at : at + SECTOR_BYTES]
            else now[at : at + SECTOR_BYTES]
            for at in range(0, max(len(now), len(then)), SECTOR_BYTES)
        ]
        return b"".join(parts)[: max(length, len(then))]


def record(talk: Talk, url: str, path: str, seed: int, number: int) -> None:
    """Record, with cuts at random writes; tell of each what survived it and what was acknowledged."""
    dice = dice_of(seed, number)
    file, wal = Path(path), Path(f"{path}-wal")
    acknowledged: list[str] = []
    left = [0]  # no cut before the file is there: how it came about is not the question
    cuts = [0]

    def before_write() -> None:
        left[0] -= 1
        if left[0] == 0:
            talk.say((disk.survivors(file, dice), disk.survivors(wal, dice), list(acknowledged)))
            cuts[0], left[0] = cuts[0] + 1, dice.randrange(1, 100)

    disk = Disk(before_write)
    with ModelRegistry(url) as registry:
        disk.synced = {str(one): one.read_bytes() for one in (file, wal) if one.exists()}
        left[0] = dice.randrange(1, 100)
        recorder: Any = registry._store
        writer = recorder._connections._writer
        writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
        story = commands(registry, dice, str(number))
        command: Mark = next(story)
        for count in range(COMMANDS_MAX):
            if cuts[0] >= CUTS_A_PROCESS:
                break
            mark = f"{number}.{count}"
            version = command(mark)
            acknowledged.append(mark)
            command = story.send(version)
        before = disk.syncs.copy()
        for _ in range(PLAIN_COMMANDS):
            registry.deploy("s3://model", model_name="counted")
        (synchronous,) = writer.execute("PRAGMA synchronous").fetchone()
        talk.say((synchronous, dict(disk.syncs - before)))


def run(rounds: int, seed: int, store: str = "sqlite", bug: str | None = None) -> Report:
    """Cut the power so often."""
    ledger = Ledger("power cuts", store, seed, bug)
    for number in range(-(-rounds // CUTS_A_PROCESS)):
        with Arena(store, {"durability": "commit" if bug is None else "checkpoint"}) as arena:
            child = arena.start(record, str(arena.file), seed, number)
            for said in child.rest():
                if len(said) == 2:
                    _count(ledger, *said)
                elif not ledger.is_over:
                    ledger.count("cuts")
                    ledger.find(*_look(arena.folder / "survived.db", ledger, *said))
        if ledger.is_over:
            break
    return ledger.report(rounds)


def _count(ledger: Ledger, synchronous: int, syncs: dict[str, int]) -> None:
    ledger.count("commands counted", PLAIN_COMMANDS)
    ledger.count("syncs of the log", syncs.get("log", 0))
    if synchronous != 2:
        ledger.find(f"PRAGMA synchronous is {synchronous}, and not FULL")
    if syncs.get("log", 0) < PLAIN_COMMANDS:
        ledger.find(f"{PLAIN_COMMANDS} commands made {syncs} syncs")


def _look(file: Path, ledger: Ledger, content: bytes, log: bytes, acknowledged: list[str]) -> list[str]:
    for suffix in ("-wal", "-shm"):
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
    file.write_bytes(content)
    file.with_name(f"{file.name}-wal").write_bytes(log)
    with ModelRegistry(file) as registry:
        seen, wrong = check_log(registry)
        registry.deploy("s3://model", model_name="after")
    lost = set(acknowledged) - set(seen.appends.values())
    ledger.count("acknowledged", len(acknowledged))
    ledger.count("surviving without an acknowledgement", len(seen.appends) - len(acknowledged) + len(lost))
    return wrong + ([f"{len(lost)} of {len(acknowledged)} acknowledged commands are lost"] if lost else [])
