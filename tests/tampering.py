"""What somebody who can write the database may do to it behind the registry's back: eight kinds, on any row.

Each way is a function of a file that is open in `sqlite3`, its rows, and the index of one of them. It does its work and
says what an audit has to find: the position or positions of which one must be named, and whether the chains alone show
it; None where it can't be done to this row. A clever one makes the links anew (`relink`).

To add a way: a function with its kind in `WAYS`.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from versioning import ModelRegistry, Policy, VersioningError
from versioning.aggregate import NO_LINK
from versioning.events import EVENTS
from versioning.store.format import body_of, computed_link, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from versioning.audit.diagnose import Kind
    from versioning.audit.verify import Verification

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
FAR = 1_000_000
"""Behind every position and sequence."""


class Row(NamedTuple):
    position: int
    stream: str
    sequence: int
    topic: str
    state: bytes
    key: str | None


class Expected(NamedTuple):
    """What an audit has to find."""

    positions: frozenset[int]
    """One of them is named."""
    by_chains: bool
    """Whether it is found without a checkpoint."""
    kinds: frozenset[Kind] | None = None
    """What it may be called, where that is not only what it is."""


Changed = TypeVar("Changed")
Way: TypeAlias = "Callable[[sqlite3.Connection, list[Row], int], Expected | None]"


# A log to do it to.


def fill(registry: ModelRegistry, events: int, dice: random.Random, names: int = 3) -> None:
    """Record at least so many events of a few models: commands of all kinds, some with a key."""
    while registry.position() < events:
        name = f"model {dice.randrange(names)}"
        key = f"{dice.getrandbits(64):x}" if dice.random() < 0.2 else None
        why: dict[str, Any] = {"actor": "ada", "reason": "because", "idempotency_key": key}
        try:
            versions = registry.versions(name)
            version = dice.choice(versions)
            if version.activation_id is not None:
                registry.complete_activation(version.version_id, version.activation_id, **why)
            elif dice.random() < 0.3:
                registry.deploy("s3://models/1", model_name=name, publish=dice.random() < 0.6, **why)
            elif dice.random() < 0.1:
                registry.rollback(name, **why)
            else:
                command = dice.choice(["publish", "promote", "promote", "deactivate", "activate", "activate", "delete"])
                getattr(registry, command)(version.version_id, **why)
        except VersioningError:
            registry.deploy("s3://models/1", model_name=name, **why)


def make(path: Path, events: int = 200, seed: int = 1, names: int = 3, *, keep: bool = True) -> None:
    """Make a file with a log of its own, with its views kept."""
    dice = random.Random(seed)
    now = START

    def clock() -> datetime:
        nonlocal now
        now += timedelta(seconds=dice.randrange(100))
        return now

    policy = Policy(
        activation=dice.choice(["instant", "awaited"]), losing_primary=dice.choice(["fall_back", "leave_none"])
    )
    with ModelRegistry(f"sqlite:///{path}?durability=checkpoint", clock=clock, policy=policy) as registry:
        fill(registry, events, dice, names)
        if keep:
            registry.rebuild()


def rows_of(file: sqlite3.Connection) -> list[Row]:
    columns = "rowid, originator_id, originator_version, topic, state, idempotency_key"
    return [Row(*row) for row in file.execute(f"SELECT {columns} FROM stored_events ORDER BY rowid")]


# How it is tried.


class Trial:
    """A file with a log, a checkpoint of it that is kept elsewhere, and copies to tamper with."""

    def __init__(self, folder: Path, events: int = 200, seed: int = 1, names: int = 3) -> None:
        """Make the file."""
        self._source, self._copy = folder / "source.db", folder / "copy.db"
        make(self._source, events, seed, names)
        with contextlib.closing(sqlite3.connect(self._source)) as file:
            file.execute("PRAGMA journal_mode=DELETE")  # one file to copy
            self.rows = rows_of(file)
        with ModelRegistry(self._fresh()) as registry:
            self.checkpoint = registry.checkpoint()

    def _fresh(self) -> Path:
        for path in self._copy.parent.glob(f"{self._copy.name}-*"):
            path.unlink()
        shutil.copyfile(self._source, self._copy)
        return self._copy

    def change(self, do: Callable[[sqlite3.Connection], Changed]) -> Changed:
        """Tamper with a fresh copy."""
        with contextlib.closing(sqlite3.connect(self._fresh(), isolation_level=None)) as file:
            file.execute("PRAGMA synchronous=OFF")
            file.execute("BEGIN")
            expected = do(file)
            if file.in_transaction:
                file.execute("COMMIT")
        return expected

    def verify(self, *, checkpoint: bool) -> Verification:
        with ModelRegistry(f"sqlite:///{self._copy}?durability=checkpoint") as registry:
            return registry.verify(self.checkpoint if checkpoint else None)

    def _tamper(self, way: Way, index: int) -> Expected | None:
        return self.change(lambda file: way(file, self.rows, index))

    def misses(self, way: str, indexes: Iterable[int]) -> Iterator[str]:
        """Tamper with these rows in turn, and give what an audit does not find, name or place."""
        kind, do = WAYS[way]
        for index in indexes:
            expected = self._tamper(do, index)
            if expected is None:
                continue
            told = self.verify(checkpoint=True).findings
            alone = self.verify(checkpoint=False).findings
            about = f"{way}, row {index + 1}: {[finding.sentence for finding in told]}"
            if not told:
                yield f"not found: {about}"
            elif not any(finding.position in expected.positions for finding in told):
                yield f"not located: {about}"
            elif not any(finding.kind in (expected.kinds or {kind}) for finding in told):
                yield f"taken for something else: {about}"
            if bool(alone) != expected.by_chains:
                yield f"by chains alone {'' if alone else 'not '}found: {way}, row {index + 1}"


# What is told of a row.


def here(row: Row, *others: Row, by_chains: bool = True, kinds: tuple[Kind, ...] = ()) -> Expected:
    positions = frozenset({row.position, *(other.position for other in others)})
    return Expected(positions, by_chains, frozenset(kinds) or None)


def is_last(rows: list[Row], index: int) -> bool:
    """Say whether a row is the last of its stream."""
    return all(row.stream != rows[index].stream for row in rows[index + 1 :])


def next_of(rows: list[Row], index: int) -> Row | None:
    return next((row for row in rows[index + 1 :] if row.stream == rows[index].stream), None)


def goes_on(rows: list[Row], index: int) -> bool:
    """Say whether the row behind was recorded together with this one."""
    both = [decode(*row[:5]) for row in rows[index : index + 2]]
    return len(both) == 2 and both[0].command_id == both[1].command_id


# How it is done.


def set_state(file: sqlite3.Connection, row: Row, state: object) -> None:
    file.execute("UPDATE stored_events SET state=? WHERE rowid=?", (state, row.position))


def forged(row: Row) -> bytes:
    """Another reason: same length, same link."""
    return row.state.replace(b'"reason":"because"', b'"reason":"Because"')


def relinked(previous: bytes, row: Row, state: bytes, sequence: int | None = None) -> tuple[bytes, bytes]:
    """Give a state with a link that is right, and the link."""
    body = body_of(state)
    link = computed_link(previous, row.stream, row.sequence if sequence is None else sequence, row.topic, body)
    return b'{"_chain":"%b",%b' % (link.hex().encode(), body[1:]), link


def link_before(rows: list[Row], index: int) -> bytes:
    before = [row for row in rows[:index] if row.stream == rows[index].stream]
    return bytes.fromhex(before[-1].state[11:75].decode()) if before else NO_LINK


def relink_tail(file: sqlite3.Connection, rows: list[Row], index: int) -> None:
    """Make the links of a stream anew, from a row that was changed on."""
    link = link_before(rows, index)
    now = [row for row in rows_of(file) if row.stream == rows[index].stream and row.sequence >= rows[index].sequence]
    for row in sorted(now, key=lambda row: row.sequence):
        state, link = relinked(link, row, row.state)
        set_state(file, row, state)


def shift_positions(file: sqlite3.Connection, behind: int, by: int) -> None:
    file.execute("UPDATE stored_events SET rowid=-(rowid+?) WHERE rowid>?", (by, behind))
    file.execute("UPDATE stored_events SET rowid=-rowid WHERE rowid<0")


def shift_sequences(file: sqlite3.Connection, stream: str, behind: int, by: int) -> None:
    column = "originator_version"
    file.execute(
        f"UPDATE stored_events SET {column}=-({column}+?) WHERE originator_id=? AND {column}>?", (by, stream, behind)
    )
    file.execute(f"UPDATE stored_events SET {column}=-{column} WHERE {column}<0")


def insert(file: sqlite3.Connection, row: Row) -> None:
    columns = "rowid,originator_id,originator_version,topic,state,idempotency_key"
    file.execute(f"INSERT INTO stored_events ({columns}) VALUES (?,?,?,?,?,?)", row)


# Changed.


def reason_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    set_state(file, rows[index], forged(rows[index]))
    return here(rows[index])


def moment_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    set_state(file, row, row.state.replace(b'"at_us":1', b'"at_us":2'))
    return here(row)


def link_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    set_state(file, row, row.state[:11] + bytes(reversed(row.state[11:75])) + row.state[75:])
    return here(row)


def topic_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    topics = list(EVENTS)
    other = topics[(topics.index(row.topic) + 1) % len(topics)]
    file.execute("UPDATE stored_events SET topic=? WHERE rowid=?", (other, row.position))
    return here(row)


def sequence_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    file.execute("UPDATE stored_events SET originator_version=? WHERE rowid=?", (FAR, row.position))
    return here(row)


def stream_changed(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    file.execute("UPDATE stored_events SET originator_id=? WHERE rowid=?", (row.stream[::-1], row.position))
    return here(row)


def key_taken_away(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    if row.key is None:
        return None
    file.execute("UPDATE stored_events SET idempotency_key=NULL WHERE rowid=?", (row.position,))
    return here(row)


def changed_with_a_new_link(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """Only the row's own link is made anew: the next row of its stream does not follow."""
    file.execute("DELETE FROM kept_views")
    row, following = rows[index], next_of(rows, index)
    set_state(file, row, relinked(link_before(rows, index), row, forged(row))[0])
    return here(
        row,
        *([following] if following else []),
        by_chains=following is not None,
        kinds=("changed",) if following else ("rewritten",),
    )


# Swapped.


def contents_swapped(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row, other = rows[index], rows[(index + 37) % len(rows)]
    for one, two in ((row, other), (other, row)):
        file.execute("UPDATE stored_events SET topic=?, state=? WHERE rowid=?", (two.topic, two.state, one.position))
    return here(row)


def states_swapped(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row, other = rows[index], rows[index - 1]
    set_state(file, row, other.state)
    set_state(file, other, row.state)
    return here(row)


def sequences_swapped(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    others = [other for other in rows if other.stream == row.stream and other is not row]
    if not others:
        return None
    other = others[index % len(others)]
    for position, sequence in (
        (row.position, FAR),
        (other.position, row.sequence),
        (row.position, other.sequence),
    ):
        file.execute("UPDATE stored_events SET originator_version=? WHERE rowid=?", (sequence, position))
    return here(row)


def positions_swapped(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The row and the one behind it change places in the log."""
    file.execute("DELETE FROM kept_views")
    if index + 1 == len(rows):
        return None
    row, other = rows[index], rows[index + 1]
    for position, new in ((row.position, FAR), (other.position, row.position), (FAR, other.position)):
        file.execute("UPDATE stored_events SET rowid=? WHERE rowid=?", (new, position))
    torn = (index and goes_on(rows, index - 1)) or goes_on(rows, index) or goes_on(rows, index + 1)
    return here(row, other, by_chains=row.stream == other.stream or bool(torn))


# Missing.


def row_deleted(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    if index + 1 == len(rows):
        return None
    file.execute("DELETE FROM kept_views")
    file.execute("DELETE FROM stored_events WHERE rowid=?", (rows[index].position,))
    return here(rows[index])


def row_deleted_and_others_moved_up(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """Positions without a gap again; the sequence stays missing."""
    if index + 1 == len(rows):
        return None
    row = rows[index]
    file.execute("DELETE FROM kept_views")
    file.execute("DELETE FROM stored_events WHERE rowid=?", (row.position,))
    shift_positions(file, row.position, -1)
    following = next_of(rows, index)
    near = [rows[index + 1]] if following is None else [following._replace(position=following.position - 1), following]
    torn = index and goes_on(rows, index - 1)
    # Of the last of a stream only the head knows; and an append that was cut off there looks as if the log was.
    kinds: tuple[Kind, ...] = ("missing",) if following else ("missing", "rewritten", "truncated")
    return here(row, *near, by_chains=following is not None or bool(torn), kinds=kinds)


def row_deleted_and_all_numbered_anew(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    if index + 1 == len(rows):
        return None
    row, following = rows[index], next_of(rows, index)
    file.execute("DELETE FROM kept_views")
    file.execute("DELETE FROM stored_events WHERE rowid=?", (row.position,))
    shift_positions(file, row.position, -1)
    shift_sequences(file, row.stream, row.sequence, -1)
    near = [] if following is None else [following._replace(position=following.position - 1)]
    torn = index and goes_on(rows, index - 1)
    later = sum(other.stream == row.stream for other in rows[index + 1 :])
    kinds: tuple[Kind, ...] = ("missing",) if later > 1 else ("missing", "rewritten", "truncated")
    if later == 1:
        kinds = ("changed",)  # the last row of a stream is then no event of it, and nothing tells what it was
    return here(row, *near, by_chains=following is not None or bool(torn), kinds=kinds)


# Doubled.


def copied_to_the_end(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    sequence = max(other.sequence for other in rows if other.stream == row.stream) + 1
    copy = row._replace(position=rows[-1].position + 1, sequence=sequence, key=None)
    insert(file, copy)
    return here(copy)


def copied_and_all_numbered_anew(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The copy stands behind the row, and what was there moved down."""
    row = rows[index]
    shift_positions(file, row.position, 1)
    shift_sequences(file, row.stream, row.sequence, 1)
    copy = row._replace(position=row.position + 1, sequence=row.sequence + 1, key=None)
    insert(file, copy)
    return here(copy)


def copied_over_another(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    row = rows[index]
    others = [other for other in rows if other.stream == row.stream and other is not row]
    if not others:
        return None
    other = others[index % len(others)]
    file.execute("UPDATE stored_events SET topic=?, state=? WHERE rowid=?", (other.topic, other.state, row.position))
    return here(row)


def doubled_where_nothing_is_unique(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The table is made anew without its constraints, and the row is there twice."""
    row = rows[index]
    file.executescript(
        """
        CREATE TABLE kept AS SELECT rowid AS position, * FROM stored_events;
        DROP TABLE stored_events;
        CREATE TABLE stored_events (rowid INTEGER PRIMARY KEY, originator_id TEXT NOT NULL,
            originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL, idempotency_key TEXT);
        INSERT INTO stored_events SELECT position, originator_id, originator_version, topic, state, idempotency_key
            FROM kept;
        DROP TABLE kept;
        """
    )
    copy = row._replace(position=rows[-1].position + 1, key=None)
    insert(file, copy)
    return here(copy)


# Truncated and rewritten.


def cut_off(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The row and all behind it are gone, and so are the views, which have seen them."""
    file.execute("DELETE FROM stored_events WHERE rowid>=?", (rows[index].position,))
    file.execute("DELETE FROM kept_views")
    return here(rows[index], by_chains=bool(index) and goes_on(rows, index - 1))


def rewritten(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The row says something else, and all links behind it in its stream are made anew."""
    set_state(file, rows[index], forged(rows[index]))
    relink_tail(file, rows, index)
    file.execute("DELETE FROM kept_views")
    return here(rows[index], by_chains=False)


def replaced_by_another_history(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """The stream ends before the row, and another event stands there, with the right link."""
    row = rows[index]
    file.execute("DELETE FROM stored_events WHERE originator_id=? AND originator_version>?", (row.stream, row.sequence))
    set_state(file, row, relinked(link_before(rows, index), row, forged(row))[0])
    for place, position in enumerate(
        position for (position,) in file.execute("SELECT rowid FROM stored_events ORDER BY rowid").fetchall()
    ):
        file.execute("UPDATE stored_events SET rowid=? WHERE rowid=?", (place + 1, position))
    file.execute("DELETE FROM kept_views")
    torn = [
        other
        for place, other in enumerate(rows)
        if other.stream == row.stream and other.sequence <= row.sequence and goes_on(rows, place)
    ]
    return here(row, by_chains=bool(torn) and torn[-1].sequence == row.sequence)


# Unreadable.


def state_of(state: object) -> Way:
    def way(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
        if not state:
            file.execute("DELETE FROM kept_views")
        set_state(file, rows[index], state)
        return here(rows[index])

    return way


def state_cut(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    set_state(file, rows[index], rows[index].state[:-9])
    return here(rows[index])


def topic_of_nobody(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    file.execute("UPDATE stored_events SET topic='os:system' WHERE rowid=?", (rows[index].position,))
    return here(rows[index])


def topic_not_utf_8(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    file.execute("UPDATE stored_events SET topic=CAST(x'ff' AS TEXT) WHERE rowid=?", (rows[index].position,))
    return here(rows[index])


def stream_of_nobody(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    file.execute("UPDATE stored_events SET originator_id='' WHERE rowid=?", (rows[index].position,))
    return here(rows[index])


def sequence_of_text(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    file.execute("UPDATE stored_events SET originator_version='one' WHERE rowid=?", (rows[index].position,))
    return here(rows[index])


def payload_of_another_shape(file: sqlite3.Connection, rows: list[Row], index: int) -> Expected | None:
    """With all links made anew: only reading shows it."""
    row = rows[index]
    set_state(file, row, row.state.replace(b'"at_us":', b'"at_us":null,"was_us":'))
    relink_tail(file, rows, index)
    return here(row)


_KINDS: dict[Kind, tuple[Way, ...]] = {
    "changed": (
        reason_changed,
        moment_changed,
        link_changed,
        topic_changed,
        sequence_changed,
        stream_changed,
        key_taken_away,
        changed_with_a_new_link,
    ),
    "swapped": (contents_swapped, states_swapped, sequences_swapped, positions_swapped),
    "missing": (row_deleted, row_deleted_and_others_moved_up, row_deleted_and_all_numbered_anew),
    "doubled": (
        copied_to_the_end,
        copied_and_all_numbered_anew,
        copied_over_another,
        doubled_where_nothing_is_unique,
    ),
    "truncated": (cut_off,),
    "rewritten": (rewritten, replaced_by_another_history),
    "unreadable": (
        state_cut,
        topic_of_nobody,
        topic_not_utf_8,
        stream_of_nobody,
        sequence_of_text,
        payload_of_another_shape,
    ),
}
WAYS: dict[str, tuple[Kind, Way]] = {
    way.__name__.replace("_", " "): (kind, way) for kind, ways in _KINDS.items() for way in ways
}
for shown, state in {"empty": b"", "text": "{}", "number": 7, "zeroes": bytes(500), "braces": b"{}"}.items():
    WAYS[f"state {shown}"] = ("unreadable", state_of(state))
FIRST = tuple(ways[0].__name__.replace("_", " ") for ways in _KINDS.values())
"""One way of each kind."""
