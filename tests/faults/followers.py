"""Does a follower miss an event, or get one twice, beside six processes that write, conflict and roll back?

The writers append one event or several at once, to names of their own and to shared ones, at places that are taken on
purpose, and roll back. On PostgreSQL a trigger at the commit makes some of them slow and fails others, so that
positions become visible out of order, and some never. One follower is there from the beginning and one joins in the
middle; what each got is compared with the table itself.
"""

from __future__ import annotations

import collections
import contextlib
import secrets
import sqlite3
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import Arena, Ledger, Report, Talk, check_log, dice_of, plant
from tests.faults.failing_calls import schema_of
from versioning import ModelRegistry
from versioning.aggregate import NO_LINK
from versioning.errors import StoreError
from versioning.events import ArtifactRef, Meta, VersionDeployed
from versioning.ids import stream_of, version_id_of
from versioning.store.contract import AppendConflict
from versioning.store.format import encode, link_of

if TYPE_CHECKING:
    import random

    from versioning.reading.follower import Follower
    from versioning.store.contract import LogRow

WRITERS: Final = 6
SHARED: Final = 3
"""Names that all of them append to."""
LARGE: Final = 120
"""Events of the largest appends."""
CATCH_UP_S: Final = 60.0
"""How long a follower may take for what is left when the writers are done."""
PACED: Final = 40
PACE_S: Final = 0.01
"""Between the events whose latency is looked at without a load."""
BUGS: Final = ("skips to the head", "passes over gaps")
"""The second one is one on PostgreSQL only: positions of SQLite become visible in their order."""

TROUBLE: Final = """
CREATE FUNCTION {s}.trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF random() < 0.02 THEN PERFORM pg_sleep(random() * 0.02); END IF;
    IF random() < 0.02 THEN RAISE EXCEPTION 'planted' USING ERRCODE = '40001'; END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER trouble AFTER INSERT ON {s}.stored_events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION {s}.trouble()
"""


# A process that writes.


class Writer:
    """Appends to names of its own and to shared ones."""

    def __init__(self, registry: ModelRegistry, dice: random.Random, number: int) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._registry = registry
        self._store: Any = registry._store
        self._dice = dice
        self._own = [f"own {number}.{each}" for each in range(SHARED)]
        self._ends: dict[str, tuple[int, bytes]] = {}

    def append(self, count: int | None = None) -> None:
        """Append some events, or fail to."""
        dice = self._dice
        shared = dice.random() < 0.1
        name = f"shared {dice.randrange(SHARED)}" if shared else dice.choice(self._own)
        stream = stream_of(self._registry.workspace, name)
        last, link = self._ends.get(stream, (0, NO_LINK))
        if dice.random() < 0.05:
            last = max(0, last - 1)  # somebody was there
        size = count or (LARGE if dice.random() < 0.002 else dice.choice((1, 1, 1, 2, 5)))
        at_us = time.time_ns() // 1_000
        events = [
            VersionDeployed(
                version_id_of(stream, ordinal, secrets.token_hex(4)),
                f"0.{ordinal}.0",
                ArtifactRef("s3://model"),
                at_us=at_us,
            )
            for ordinal in range(last + 1, last + 1 + size)
        ]
        rows = encode(stream, last, link, events, Meta(self._registry.workspace, name, 1, secrets.token_hex(16)))
        try:
            self._store.append(rows)
        except AppendConflict:
            self.counts["conflicts"] += 1
        except StoreError:
            self.counts["rolled back at the commit"] += 1
        else:
            self._ends[stream] = rows[-1].sequence, link_of(rows[-1].state)
            self.counts["events"] += size
            return
        known = self._store.tail(stream, 0)
        self._ends[stream] = (known[-1][1], link_of(known[-1][3])) if known else (0, NO_LINK)


def write(talk: Talk, url: str, seed: int, number: int, events: int) -> None:
    """Write so many events when told to; say what was counted."""
    with ModelRegistry(url) as registry, contextlib.ExitStack() as opened:
        writer, dice = Writer(registry, dice_of(seed, number), number), dice_of(seed, "rolls back", number)
        raw = None
        if registry._store.path is not None:
            raw = opened.enter_context(
                contextlib.closing(sqlite3.connect(registry._store.path, isolation_level=None, timeout=30))
            )
        talk.say("ready")
        talk.hear()
        while writer.counts["events"] < events:
            writer.append()
            if raw is not None and dice.random() < 0.02:
                _roll_back(raw)
                writer.counts["rolled back"] += 1
        talk.say(writer.counts)


def _roll_back(raw: sqlite3.Connection) -> None:
    raw.execute("BEGIN IMMEDIATE")
    raw.execute(
        "INSERT INTO stored_events (originator_id,originator_version,topic,state) VALUES (?,1,'deployed.1',x'')",
        (secrets.token_hex(16),),
    )
    raw.execute("ROLLBACK")


# A follower.


class Following:
    """Follows in a thread, and keeps what it got and how long each event took."""

    def __init__(self, registry: ModelRegistry, after: int, bug: str | None, raw: Any) -> None:  # noqa: ANN401 - a connection of any store
        if bug is not None:
            plant(registry, _store=Careless(registry._store, bug, raw))
        self.positions: list[int] = []
        self.late_us: list[int] = []
        self.after = after
        self.wrong: list[str] = []
        self._follower: Follower = registry.follow(after)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Of the last event that it got."""
        return self.positions[-1] if self.positions else self.after

    def _follow(self) -> None:
        try:
            for recorded in self._follower:
                self.positions.append(recorded.position)
                self.late_us.append(time.time_ns() // 1_000 - recorded.event.at_us)
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            self.wrong.append(f"a follower ended by {error!r}")

    def wait_for(self, position: int) -> None:
        """Wait until it has got this far."""
        deadline = time.monotonic() + CATCH_UP_S
        while self.position < position and time.monotonic() < deadline and not self.wrong:
            time.sleep(0.01)

    def end(self) -> None:
        self._follower.close()
        self._thread.join(CATCH_UP_S)

    def judged(self, there: list[int]) -> list[str]:
        """Compare with what is in the table."""
        expected = [position for position in there if position > self.after]
        counts = collections.Counter(self.positions)
        missed, twice = set(expected) - counts.keys(), [position for position, count in counts.items() if count > 1]
        wrong = list(self.wrong)
        if missed:
            wrong.append(f"{len(missed)} events missed, the first at position {min(missed)}")
        if twice:
            wrong.append(f"{len(twice)} events came twice, the first at position {twice[0]}")
        if not wrong and self.positions != expected:
            wrong.append("the events came in another order, or others came")
        return wrong


class Careless:
    """The planted bugs: a log whose reader takes what it sees for all there is."""

    def __init__(self, recorder: Any, bug: str, raw: Any) -> None:  # noqa: ANN401 - of any store
        self._store = recorder
        self._bug = bug
        self._raw = raw

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the recorder has
        return getattr(self._store, name)

    def log(self, after: int, limit: int) -> list[LogRow]:
        if self._bug == "passes over gaps":
            rows: list[LogRow] = self._raw.execute(
                "SELECT position,originator_id,originator_version,topic,state FROM stored_events "
                f"WHERE position>{after} ORDER BY position LIMIT {limit}"
            ).fetchall()
            return rows
        # What was recorded between the question and the answer is taken as seen.
        rows = self._store.log(after, limit)
        return self._store.log(max(after, self._store.head() - 1), limit) if rows else rows


# The campaign.


def run(rounds: int, seed: int, store: str, bug: str | None = None) -> Report:
    """Follow so many events."""
    ledger = Ledger("followers", store, seed, bug)
    options = {"durability": "checkpoint", "timeout_s": 60} if store == "sqlite" else {"connections": 2}
    with Arena(store, options) as arena, contextlib.ExitStack() as opened:
        arena.open().close()
        raw = opened.enter_context(contextlib.closing(_raw(arena)))
        children = [arena.start(write, seed, number, -(-rounds // WRITERS)) for number in range(WRITERS)]
        for child in children:
            child.hear()
        first = Following(arena.open(), 0, bug, raw)
        for child in children:
            child.tell("go")
        first.wait_for(rounds // 3)
        second = Following(arena.open(), first.position, None, raw)
        for child in children:
            for name, count in child.hear(max(CATCH_UP_S, rounds / 100)).items():
                ledger.count(name, count)
        there = _positions(raw)
        for each in (first, second):
            each.wait_for(there[-1])
        ledger.figures["ms median latency under load"] = _median_ms(first.late_us)
        _pace(arena, seed, first, ledger)
        there = _positions(raw)
        ledger.count("positions without an event", there[-1] - len(there))
        for each in (first, second):
            each.wait_for(there[-1])
            each.end()
            ledger.find(*each.judged(there))
        ledger.count("events missed", len(set(there) - set(first.positions)))
        if bug is None:
            ledger.find(*check_log(arena.open())[1])
    return ledger.report(rounds)


def _raw(arena: Arena) -> Any:  # noqa: ANN401 - a connection of any store
    if arena.store == "sqlite":
        return sqlite3.connect(arena.file, isolation_level=None, check_same_thread=False)
    connection: Any = arena.server.connect()
    schema = schema_of(arena.url)
    connection.execute(f"SET search_path={schema}")
    arena.server.admin(TROUBLE.format(s=schema))
    return connection


def _positions(raw: Any) -> list[int]:  # noqa: ANN401 - a connection of any store
    column = "rowid" if isinstance(raw, sqlite3.Connection) else "position"
    return [position for (position,) in raw.execute(f"SELECT {column} FROM stored_events ORDER BY 1").fetchall()]


def _pace(arena: Arena, seed: int, following: Following, ledger: Ledger) -> None:
    """Look at the latency of events that come one by one."""
    before = len(following.late_us)
    writer = Writer(arena.open(), dice_of(seed, "paced"), WRITERS)
    for _ in range(PACED):
        writer.append(1)
        time.sleep(PACE_S)
    following.wait_for(_head(writer))
    ledger.figures["ms median latency of single events"] = _median_ms(following.late_us[before:])


def _head(writer: Writer) -> int:
    return int(writer._store.head())


def _median_ms(late_us: list[int]) -> float:
    return round(statistics.median(late_us) / 1_000, 1) if late_us else 0.0
