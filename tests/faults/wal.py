"""Is a SQLite file whose write-ahead log was cut or scribbled on an exact prefix of whole commits?

A registry records, with checkpoints in between, and file and log are copied while it is open. Each copy is damaged at a
random byte of the log, and opened: what is there must be exactly the commits that lie before the damage, and the next
command works. What lies before the damage is read off the log's own frames: 24 bytes and a page each, the last one of a
commit saying how large the database is then.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from tests.faults.arena import Arena, Ledger, Report, check_log, dice_of, plant, rows_of
from tests.faults.kills import append_wide, row_by_row
from versioning import ModelRegistry
from versioning.store.contract import LogRow

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from versioning.store.contract import Row

HEADER_BYTES: Final = 32
FRAME_HEADER_BYTES: Final = 24
DAMAGES_A_HISTORY: Final = 25
"""How many copies of one file are damaged."""
COMMANDS: Final = 20
BUGS: Final = ("appends row by row", "forgets the log")


@attrs.frozen
class Live:
    """A file and its log as they were while they were in use, and what was in them."""

    file: bytes
    wal: bytes
    rows: tuple[LogRow, ...]
    page_bytes: int
    commits: tuple[tuple[int, int], ...]
    """Where each commit ends in the log, and how many rows there were then."""
    before: int
    """How many rows lie in the file itself."""


class Damage(NamedTuple):
    """What was done to the log."""

    wal: bytes
    told: str
    whole_bytes: int
    """How far it is what it was."""


def ends_of_commits(wal: bytes) -> list[int]:
    """Give where the commits of a log end; what is left of an earlier log has other salts, and does not count."""
    page_bytes, salts = struct.unpack(">I", wal[8:12])[0], wal[16:24]
    ends = []
    step = FRAME_HEADER_BYTES + page_bytes
    for begin in range(HEADER_BYTES, len(wal) - step + 1, step):
        if wal[begin + 8 : begin + 16] != salts:
            break
        if wal[begin + 4 : begin + 8] != bytes(4):
            ends.append(begin + step)
    return ends


def record(folder: Path, dice: random.Random, bug: str | None) -> Live:
    """Make a file with a history, and copy it while it is open."""
    file = folder / "live.db"
    for suffix in ("", "-wal", "-shm"):
        (folder / f"live.db{suffix}").unlink(missing_ok=True)
    wal = folder / "live.db-wal"
    url = f"sqlite:///{file}?durability=checkpoint"
    rows_at: dict[int, int] = {}
    with ModelRegistry(url) as registry:
        whole = registry._store.append
        append = row_by_row(whole) if bug == "appends row by row" else whole

        def watched(rows: Sequence[Row]) -> range:
            positions = append(rows)
            rows_at[ends_of_commits(wal.read_bytes())[-1]] = positions[-1]
            return positions

        plant(registry._store, append=watched)
        before, checkpoint_at = 0, dice.randrange(COMMANDS)
        for count in range(COMMANDS):
            if count == checkpoint_at:
                # What is recorded from here on overwrites the log from its beginning, and old frames lie behind it.
                with contextlib.closing(sqlite3.connect(file)) as other:
                    other.execute("PRAGMA wal_checkpoint(RESTART)")
                before = registry.position()
                rows_at.clear()
            _do_something(registry, dice, count)
        rows = tuple(rows_of(registry))
        content, log = file.read_bytes(), wal.read_bytes()
    ends = ends_of_commits(log)
    # The commits of kept views add no rows.
    counted = list(itertools.accumulate((rows_at.get(end, 0) for end in ends), max))
    return Live(content, log, rows, struct.unpack(">I", log[8:12])[0], tuple(zip(ends, counted, strict=True)), before)


def _do_something(registry: ModelRegistry, dice: random.Random, count: int) -> None:
    what = dice.random()
    if what < 0.1:
        append_wide(registry, f"wide {count}", str(count))
    elif what < 0.2:
        registry.views()  # keeps what it folds
        registry.deploy("s3://model", model_name="viewed")
    else:
        version = registry.deploy("s3://model", model_name=dice.choice("abc"), publish=dice.random() < 0.7)
        if what < 0.3:
            registry.deactivate(version.version_id)


def damage(live: Live, dice: random.Random) -> Damage:
    """Cut the log at a random byte, or overwrite some there."""
    place = dice.randrange(len(live.wal) + 1)
    if dice.random() < 0.5:
        return Damage(live.wal[:place], f"cut at byte {place}", place)
    some = dice.randbytes(dice.choice((1, 8, 512, 5_000)))[: len(live.wal) - place]
    scribbled = live.wal[:place] + some + live.wal[place + len(some) :]
    changed = (at for at, (one, other) in enumerate(zip(live.wal, scribbled, strict=True)) if one != other)
    return Damage(scribbled, f"{len(some)} bytes scribbled at byte {place}", next(changed, len(live.wal)))


def expected_rows(live: Live, done: Damage) -> int:
    """Say how many rows must be left: those of the commits that lie before the damage."""
    if done.whole_bytes < HEADER_BYTES:
        return live.before
    return max([live.before, *(rows for end, rows in live.commits if end <= done.whole_bytes)])


def run(rounds: int, seed: int, store: str = "sqlite", bug: str | None = None) -> Report:
    """Damage so many copies."""
    ledger, dice = Ledger("wal", store, seed, bug), dice_of(seed)
    with Arena(store, {"durability": "checkpoint"}, in_memory=True) as arena:
        live = record(arena.folder, dice, bug)
        for count in range(rounds):
            if count % DAMAGES_A_HISTORY == DAMAGES_A_HISTORY - 1:
                live = record(arena.folder, dice, bug)
            done = damage(live, dice)
            arena.file.write_bytes(live.file)
            arena.file.with_name("models.db-wal").write_bytes(b"" if bug == "forgets the log" else done.wal)
            _look(arena, ledger, live, done)
            for suffix in ("", "-wal", "-shm"):
                arena.file.with_name(f"models.db{suffix}").unlink(missing_ok=True)
            if ledger.is_over:
                break
    return ledger.report(rounds)


def _look(arena: Arena, ledger: Ledger, live: Live, done: Damage) -> None:
    ledger.count("cuts" if done.told.startswith("cut") else "scribbles")
    with ModelRegistry(arena.url) as registry:
        rows = tuple(rows_of(registry))
        expected = expected_rows(live, done)
        ledger.count("with all rows" if len(rows) == len(live.rows) else "with a part of them")
        if rows != live.rows[: len(rows)]:
            ledger.find(f"{done.told}: the rows are no prefix")
        elif len(rows) != expected:
            ledger.find(f"{done.told}: {len(rows)} rows are left of {len(live.rows)}, and {expected} were whole")
        _, wrong = check_log(registry)
        ledger.find(*(f"{done.told}: {each}" for each in wrong))
        if not wrong:
            made = registry.deploy("s3://model", model_name="a", publish=True)
            models = {model.name: model for model in registry.models()}
            if models["a"] != registry.model("a") or made.version_id not in {
                one.version_id for one in models["a"].versions
            }:
                ledger.find(f"{done.told}: the registry does not work")
