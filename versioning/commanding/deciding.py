"""How a request becomes facts: decide, append, and try again while others are faster. The one command path.

The law of this room: **no rule is decided here.** A command is decided on a state, and its events are appended behind
the very event that it was decided on, by its link, in one statement. A single command is a batch of one.

An attempt takes the states of a batch from the cache, decides each request in turn, and appends together what they
record. It reads as little as it can:

1. The first attempt trusts the cache. A single command whose model is not cached reads it. In a batch of many, a name
   that is not cached is assumed to be new; in any batch, a key is assumed to be unused. If an assumption is wrong, the
   append conflicts: the store refuses a second event at a sequence, an event that follows one which is not there (an
   older copy of the log was restored meanwhile), and a second use of a key. So it is with a key whose command finds
   nothing to do: that is recorded too (`NothingChanged`), right behind what it was found in.
2. A refusal, or the finding that there is nothing to do, is never returned from the cache alone. The attempt ends
   without an answer, and the next one *looks*: it reads the tail of each stream and the use of each key. What it then
   finds is final (R20, R21, R22).
3. After a conflict, the first event behind the expected one tells whether it was this very append, and only its
   reply was lost: then it carries the command's own random id. Otherwise somebody else was first: look, and decide
   again after a random pause, which grows. A batch of many is halved, since a smaller one has a better chance beside
   other writers.

Inside a batch, a request on a stream that an earlier request of the batch changes is decided on a fork of the state
with those changes. Nothing is applied to the cache before it is committed.
"""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from versioning.addresses import Address
from versioning.aggregate import NO_LINK
from versioning.commanding.requests import numbered
from versioning.errors import (
    ClockError,
    ConcurrencyError,
    IdempotencyConflictError,
    ModelNotFoundError,
    StoreError,
    VersioningError,
    shown,
)
from versioning.events import Meta, rfc3339
from versioning.processes import look
from versioning.reading.streams import StreamRef
from versioning.rules import clock_agrees, decide
from versioning.store.contract import AppendConflict
from versioning.store.format import decode, encode, link_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from versioning.aggregate import Model, ModelAggregate, Version
    from versioning.commanding.requests import Request
    from versioning.commands import Command
    from versioning.events import Event, Recorded
    from versioning.reading.streams import CachedStream, CachedStreams
    from versioning.rules import Policy
    from versioning.store.contract import Row
    from versioning.store.format import Fact

TRIES_MAX: Final = 64
"""Most times that a command is decided before it gives up (R22)."""
MANY: Final = "deploy_many"
_dice: Final = random.SystemRandom()  # forked processes must not draw the same pauses
PAUSE_S_MAX: Final = 0.05
"""Longest pause before it is decided again; pauses double, and are random, so that nobody starves."""
BATCH_REQUESTS: Final = 500
"""Most deployments in one transaction: with at most two events each, PostgreSQL records them beside other writers."""


class Effect:
    """What one call recorded; its facts are decoded from their rows only when somebody asks for them."""

    __slots__ = ("_appended", "_recorded", "repeated")

    def __init__(
        self,
        appended: tuple[Sequence[int], Sequence[Row], slice] | None = None,
        recorded: tuple[Recorded, ...] = (),
        *,
        repeated: bool = False,
    ) -> None:
        """Hold the positions and rows of an append and which of them are the call's own, or facts decoded already."""
        self._appended = appended
        self._recorded = recorded
        self.repeated = repeated
        """Whether the call only repeated an earlier one with the same key (R21)."""

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """Facts that the call recorded, in order."""
        if self._appended is not None:
            positions, rows, own = self._appended
            self._recorded = tuple(decode(at, *row[:4]) for at, row in zip(positions[own], rows[own], strict=True))
            self._appended = None
        return self._recorded


NOTHING: Final = Effect()
REPEATED: Final = Effect(repeated=True)


class Outcome:
    """What a request made, changed, or found to be so already."""

    __slots__ = ("_cached", "_version", "effect", "generation", "version_id")

    def __init__(self, cached: CachedStream, version_id: str | None, generation: int, effect: Effect = NOTHING) -> None:
        """Hold the id of the version, or the life of the name for a command on a model."""
        self._cached = cached
        self._version: Version | None = None
        self.version_id = version_id
        self.generation = generation
        self.effect = effect

    def settle(self, state: ModelAggregate) -> None:
        """Remember the version as it is in a state, before a later request of the same batch changes it."""
        self._version = state.versions.get(self.version_id or "")

    def settled(self, state: ModelAggregate) -> Self:
        """Return this outcome of a request that records nothing, as it is before the next one of the batch."""
        self.settle(state)
        return self

    @property
    def version(self) -> Version:
        """The version as it is after the request, with what the call recorded."""
        if self._version is None:
            with self._cached.lock:
                self.settle(self._cached.aggregate)
        if self._version is None:
            raise _taken_back()
        return self._version.with_effect(self.effect)

    @property
    def model(self) -> Model:
        """The model as it is after the request, with what the call recorded."""
        with self._cached.lock:
            if self._cached.aggregate.generation < self.generation:
                raise _taken_back()
            return self._cached.aggregate.model(self.generation, self.effect)


class _Moved(Exception):  # noqa: N818 - no error: the state was read anew meanwhile, so the batch is decided again
    """The state that a batch was planned on has changed under it."""


class _Append(NamedTuple):
    """Events that one request of a batch records."""

    outcome: Outcome
    command_id: str
    actor: str | None
    events: Sequence[Event]
    rows: slice
    """Place of its rows among those of the batch."""


class _Planned:
    """Events that a batch is going to record in one stream."""

    __slots__ = ("_fork", "_unsettled", "appends", "base", "cached", "is_final", "link", "used_keys")

    def __init__(self, cached: CachedStream, *, is_final: bool = False) -> None:
        self.cached = cached
        self.is_final = is_final
        """Whether the store was read in this attempt, so that a refusal is final."""
        self.used_keys: dict[str, Fact] = {}
        """First events of the appends that used a key of this batch before, by key."""
        self.appends: list[_Append] = []
        self.base = (0, NO_LINK)
        """Sequence and link of the last event before the batch."""
        self.link = b""
        """Link of the last planned row."""
        self._unsettled: _Append | None = None
        self._fork: ModelAggregate | None = None

    def state(self) -> ModelAggregate:
        """Return the state on which the next request is decided; the caller holds the stream's lock.

        Raises:
            _Moved: others recorded something since the first request of the batch was decided.
        """
        last = self._unsettled
        if last is not None:
            if self._fork is None:
                if self.cached.aggregate.link != self.base[1]:
                    raise _Moved
                self._fork = self.cached.aggregate.fork()
            self._fork.take(last.events, last.actor)
            self._fork.link = self.link
            last.outcome.settle(self._fork)
            self._unsettled = None
        return self.cached.aggregate if self._fork is None else self._fork

    def apply(self) -> None:
        """Apply to the cache what was recorded, unless it was read meanwhile."""
        last, fork = self._unsettled, self._fork
        with self.cached.lock:
            if self.cached.aggregate.link == self.base[1]:
                if fork is not None:
                    self.cached.aggregate = fork
                if last is not None:  # the fork has it already where a request that records nothing came after it
                    self.cached.aggregate.take(last.events, last.actor)
                    self.cached.aggregate.link = self.link
                    last.outcome.settle(self.cached.aggregate)

    def add(self, append: _Append, after: tuple[int, bytes], link: bytes) -> None:
        """Plan what a request records behind an event; `link` is that of its last row."""
        if not self.appends:
            self.base = after
        self.appends.append(append)
        self.link = link
        self._unsettled = append


class Deciding:
    """The command path of one registry."""

    def __init__(
        self,
        streams: CachedStreams,
        policy: Policy,
        now_us: Callable[[], int],
        skew_max_us: int,
        is_closed: Callable[[], bool],
    ) -> None:
        """Decide on cached streams.

        Args:
            streams: the streams of the registry.
            policy: the registry's policy.
            now_us: returns the present, in microseconds since 1970.
            skew_max_us: how far the last event of a stream may lie ahead of it.
            is_closed: returns whether the store was closed, so that nothing more can be sent to it.
        """
        self._streams = streams
        self._policy = policy
        self._now_us = now_us
        self._skew_max_us = skew_max_us
        self._is_closed = is_closed

    def run(self, request: Request) -> Outcome:
        """Decide one request, and record its events.

        Raises:
            VersioningError: it was refused, or could not be recorded.
        """
        outcomes = self._settled([request], [secrets.token_hex(16)])
        if outcomes is None:
            raise _too_slow(request.name)
        return outcomes[0]

    def run_many(
        self, requests: Sequence[Request], progress: Callable[[str, int, int], None] | None = None
    ) -> list[Version]:
        """Decide and record deployments in order, in as few appends as possible; return their versions.

        Args:
            requests: the deployments.
            progress: called after each batch with "deploy", the number done, and the number of all.

        Raises:
            VersioningError: one was refused, and `index` says which; the batches before it are recorded.
        """
        drawn = secrets.token_hex(16 * len(requests))
        ids = [drawn[place : place + 32] for place in range(0, len(drawn), 32)]
        versions: list[Version] = []
        at_once, tries = BATCH_REQUESTS, 0
        while len(versions) < len(requests):
            some = slice(len(versions), min(len(versions) + at_once, len(requests)))
            outcomes = self._settled(requests[some], ids[some], some.start, looks=tries > 0)
            if outcomes is not None:
                versions += [outcome.version for outcome in outcomes]
                at_once, tries = BATCH_REQUESTS, 0
                if progress is not None:
                    progress("deploy", len(versions), len(requests))
                continue
            at_once = max(1, (some.stop - some.start) // 2)
            tries += 1
            if tries == TRIES_MAX:
                raise _too_slow(MANY)
            _pause(tries)
        return versions

    def preview(self, request: Request) -> Sequence[Event]:
        """Decide one request as of now, and return its events without recording them; a repeated one has none.

        Raises:
            VersioningError: whatever the command itself would raise.
        """
        stream = request.ref.stream
        believed = self._believed([request], is_single=True)
        planned = believed[stream] if believed[stream].is_final else self._looked([request], believed)[stream]
        self._plan(planned, request, "", self._now_us(), [])
        return planned.appends[0].events if planned.appends else ()

    # One batch.

    def _settled(
        self, batch: Sequence[Request], ids: Sequence[str], first: int | None = None, *, looks: bool = False
    ) -> list[Outcome] | None:
        """Decide and record a batch, in several attempts; return None if others were faster each time.

        Args:
            batch: the requests.
            ids: a random id for each command.
            first: the index of the first deployment of many; None for a single command.
            looks: whether the first attempt looks at the store already.
        """
        planned = self._believed(batch, is_single=first is None)
        turns = _take_turns(planned)
        try:
            for tries in range(int(looks), TRIES_MAX if first is None else 2):
                if tries > 1:
                    _pause(tries)
                if tries:
                    planned = self._looked(batch, planned)
                outcomes = self._attempt(batch, ids, planned, first)
                if outcomes is not None:
                    return outcomes
        finally:
            for turn in turns:
                turn.release()
        return None

    def _believed(self, batch: Sequence[Request], *, is_single: bool) -> dict[str, _Planned]:
        """Plan on what is in memory; what would be a refusal is looked at again in the next attempt.

        In a batch of many, a name that is not cached is taken for new.
        """
        if is_single:
            request = batch[0]
            stream = request.ref.stream
            cached, is_fresh = self._streams.current(stream)
            return {stream: _Planned(cached, is_final=is_fresh and request.why.idempotency_key is None)}
        look()
        streams = sorted({request.ref.stream for request in batch})
        return {stream: _Planned(self._streams.shared(stream)) for stream in streams}

    def _looked(self, batch: Sequence[Request], believed: dict[str, _Planned]) -> dict[str, _Planned]:
        """Plan on what the store holds now: the use of each key, then the tail of each stream, which includes it."""
        planned = {stream: _Planned(one.cached, is_final=True) for stream, one in believed.items()}
        for stream, key in {(request.ref.stream, request.why.idempotency_key) for request in batch}:
            if key is not None and (used := self._streams.find_key(stream, key)):
                planned[stream].used_keys[key] = used
        if len(planned) == 1:
            self._streams.catch_up(next(iter(planned.values())).cached)
        else:
            self._streams.catch_up_all({stream: one.cached for stream, one in planned.items()})
        return planned

    def _attempt(
        self, batch: Sequence[Request], ids: Sequence[str], planned: dict[str, _Planned], first: int | None
    ) -> list[Outcome] | None:
        """Decide and record a batch once; return None if nothing was recorded and the store has to be looked at."""
        rows: list[Row] = []
        outcomes: list[Outcome] = []
        now_us = self._now_us()
        for index, request in enumerate(batch):
            try:
                outcome = self._plan(planned[request.ref.stream], request, ids[index], now_us, rows)
            except _Moved:
                return None
            except VersioningError as error:
                if first is None:
                    raise
                raise numbered(error, first + index) from error
            if outcome is None:
                return None
            outcomes.append(outcome)
        if rows and not self._append(rows, planned):
            return None
        return outcomes

    def _plan(
        self, planned: _Planned, request: Request, command_id: str, now_us: int, rows: list[Row]
    ) -> Outcome | None:
        """Decide one request on what is planned before it, and plan its rows; None if the store has to be looked at.

        The order is that of R22: the key (R21), the address (R5), what is expected of the primary, the rules, the clock
        (R23).
        """
        ref, why, cached = request.ref, request.why, planned.cached
        refusal: VersioningError | None = None
        command: Command = request.command
        events: Sequence[Event] = ()
        with cached.lock:
            state = planned.state()
            if not state.sequence and ref.model_name is not None:
                state.workspace, state.model_name = self._streams.workspace, ref.model_name
            try:
                is_ours = self._streams.is_ours(state, ref)
                if is_ours and why.idempotency_key is not None:
                    used = planned.used_keys.get(why.idempotency_key)
                    if used is not None:
                        return _repeated(request, used, cached).settled(state)
                    for append in planned.appends:
                        if rows[append.rows.start].key == why.idempotency_key:
                            first = append.outcome
                            return Outcome(cached, first.version_id, first.generation, REPEATED).settled(state)
                command, events = self._decided(request, state, now_us, is_ours=is_ours)
            except VersioningError as error:
                refusal = error
            sequence, link, name = state.sequence, state.link, state.model_name
            generation = state.generation if state.exists else state.generation + 1
        if not events:
            if not planned.is_final:
                return None
            if refusal is not None:
                raise self._explained(refusal, ref.stream, sequence)
            with cached.lock:
                return Outcome(cached, getattr(command, "version_id", None), generation).settled(state)
        key = why.idempotency_key
        fingerprint = None if key is None else request.fingerprint
        meta = Meta(
            self._streams.workspace, name, generation, command_id, why.actor, why.reason, why.correlation_id, key,
            fingerprint,
        )  # fmt: skip
        own = encode(ref.stream, sequence, link, events, meta, is_first=not planned.appends)
        outcome = Outcome(cached, getattr(events[0], "version_id", None), generation)
        place = slice(len(rows), len(rows) + len(own))
        planned.add(_Append(outcome, command_id, why.actor, events, place), (sequence, link), link_of(own[-1].state))
        rows += own
        return outcome

    def _decided(
        self, request: Request, state: ModelAggregate, now_us: int, *, is_ours: bool
    ) -> tuple[Command, tuple[Event, ...]]:
        """Return the command with its addresses found, and what it records in a state."""
        if not is_ours and request.ref.model_name is None:
            raise self._streams.no_version(getattr(request.command, "version_id", ""))
        if not state.exists:
            for address in (request.target, request.expected):
                if isinstance(address, Address):
                    raise self._streams.no_model(StreamRef(request.ref.stream, address.model_name))
        command = request.command_in(state)
        has_key = request.why.idempotency_key is not None
        events = decide(state, command, self._policy, now_us, has_key=has_key)
        if events:
            clock_agrees(state, now_us, self._skew_max_us)
        return command, events

    def _explained(self, refusal: VersioningError, stream: str, sequence: int) -> VersioningError:
        """Return a refusal with what only the store knows: the names that look alike, or who recorded the last event.

        Args:
            refusal: the refusal.
            stream: the stream that it is about.
            sequence: the last sequence of the state that it was decided on.
        """
        if isinstance(refusal, ModelNotFoundError):
            return self._streams.with_suggestions(refusal)
        if isinstance(refusal, ClockError):
            last = self._streams.fact(stream, sequence)
            by = "" if last.envelope.actor is None else f", recorded by {shown(last.envelope.actor)}"
            msg = (
                f"The last event of {shown(last.model_name)}, at position {last.position}{by}, is of "
                f"{rfc3339(refusal.event_at)}, but the clock of this command shows {rfc3339(refusal.clock_at)}: "
                "one of the two clocks is wrong."
            )
            return ClockError(
                msg,
                event_at=refusal.event_at,
                clock_at=refusal.clock_at,
                position=last.position,
                actor=last.envelope.actor,
            )
        return refusal

    def _append(self, rows: list[Row], planned: dict[str, _Planned]) -> bool:
        """Record what was planned, all or nothing; return False if somebody else was first.

        Raises:
            StoreError: it was not recorded, or that can't be known.
        """
        try:
            positions = self._streams.store.append(rows)
            self._apply(positions, rows, planned)
        except AppendConflict:
            return self._was_recorded(planned)
        except StoreError as error:
            return self._found_out(error, planned)
        except BaseException:  # an interrupt: whether it is recorded, and how far it was applied, only the log knows
            for one in planned.values():
                self._streams.forget(one.cached)
            raise
        return True

    def _apply(self, positions: range, rows: list[Row], planned: dict[str, _Planned]) -> None:
        """Apply to the cache what was recorded."""
        for one in planned.values():
            if one.appends:
                for append in one.appends:
                    append.outcome.effect = Effect((positions, rows, append.rows))
                one.apply()
                self._streams.keep(one.cached)

    def _found_out(self, error: StoreError, planned: dict[str, _Planned]) -> bool:
        """Return True if the append was recorded although the store failed; otherwise raise the error."""
        if self._is_closed():  # nothing was sent
            raise error
        try:
            if self._was_recorded(planned):
                return True
        except StoreError:
            hint = "Whether it was recorded is not known; with an idempotency key the same command can be sent again."
            raise StoreError(error.sentence, hint=hint) from error
        raise error

    def _was_recorded(self, planned: dict[str, _Planned]) -> bool:
        """Return whether the first row behind the expected one is this very append, whose reply was lost.

        What was recorded is applied to the cache, whoever recorded it.
        """
        changed = [one for one in planned.values() if one.appends]
        for place, one in enumerate(changed):
            facts = self._streams.catch_up(one.cached, one.base)
            if place == 0 and not (facts and facts[0].envelope.command_id == one.appends[0].command_id):
                return False
            for append in one.appends:
                own = tuple(fact.recorded for fact in facts if fact.envelope.command_id == append.command_id)
                append.outcome.effect = Effect(recorded=own)
        return True


def _repeated(request: Request, used: Fact, cached: CachedStream) -> Outcome:
    """Return what the command with this key made or changed, if it was the same command (R21).

    Raises:
        IdempotencyConflictError: it was another one.
    """
    if used.envelope.fingerprint != request.fingerprint:
        key = request.why.idempotency_key
        msg = f"The idempotency key {shown(key)} was used at position {used.position} for another command."
        raise IdempotencyConflictError(msg, idempotency_key=key, position=used.position)
    return Outcome(cached, getattr(used.event, "version_id", None), used.envelope.generation, REPEATED)


def _take_turns(planned: dict[str, _Planned]) -> list[threading.Lock]:
    """Wait until no other command of this process runs on one of these, for a bounded time; return the held locks.

    They are taken in the order of their streams, so that no two commands wait for each other.
    """
    held: list[threading.Lock] = []
    deadline = 0.0
    try:
        for one in planned.values():
            turn = one.cached.turn
            if not turn.acquire(blocking=False):
                deadline = deadline or time.monotonic() + PAUSE_S_MAX * TRIES_MAX
                if not turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
                    continue
            held.append(turn)
    except BaseException:
        for turn in held:
            turn.release()
        raise
    return held


def _pause(tries: int) -> None:
    time.sleep(_dice.random() * min(PAUSE_S_MAX, 0.001 * 2**tries))


def _taken_back() -> StoreError:
    msg = "What the command recorded is not in the log any more: meanwhile an older copy took its place."
    return StoreError(msg, hint="Look whether the command is still wanted, and give it again.")


def _too_slow(name: str) -> ConcurrencyError:
    return ConcurrencyError(f"Others changed the model faster than {name} could be decided, {TRIES_MAX} times.")
