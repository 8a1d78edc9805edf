"""The one object that users hold: it loads, decides, appends with optimistic concurrency, and answers.

The law of this room: no rule is decided here, and nothing is cached before it is committed. A command reads the cached
state, decides, and appends at the expected sequence in one statement; when somebody else was first, it reads the tail
and decides again. Before it refuses, or answers that there is nothing to do, it looks at the tail once more.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
import operator
import os
import random
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypedDict, Unpack, cast

import attrs

from versioning.aggregate import Model, ModelAggregate, Version
from versioning.artifacts.folder import ArtifactFolder
from versioning.artifacts.formats import Serializer, checked_serializer
from versioning.artifacts.loading import as_artifact, load_artifact
from versioning.audit.checkpoints import Checkpoint, given_checkpoints, take_checkpoint
from versioning.audit.log_file import ExportScope, LogFile, export_log, import_log
from versioning.audit.verify import Verification, verify
from versioning.commands import (
    COMMANDS,
    NAMES,
    Activate,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
    ExpectedPrimary,
    FailActivation,
    Promote,
    Publish,
    Rollback,
)
from versioning.errors import (
    ConcurrencyError,
    CorruptLogError,
    IdempotencyConflictError,
    InvalidArgumentError,
    ModelNotFoundError,
    StoreError,
    VersioningError,
    VersionNotFoundError,
    shown,
)
from versioning.events import Event, Meta, Recorded
from versioning.ids import checked_activation_id, checked_version_id
from versioning.limits import (
    SECONDS_MAX,
    checked_actor,
    checked_correlation,
    checked_expectation,
    checked_failure,
    checked_flag,
    checked_items,
    checked_key,
    checked_members,
    checked_metadata,
    checked_moment,
    checked_position,
    checked_progress,
    checked_promote,
    checked_reason,
    checked_seconds,
    checked_staleness,
    checked_workspace,
)
from versioning.numbers import checked_bump
from versioning.reading.diff import Difference, changes_between
from versioning.reading.kept import Skipped, Views
from versioning.reading.questions import Answer, AsOf, Questions, Target, cut_of
from versioning.reading.views import MODELS, NOW, VIEWS
from versioning.resolving import wanted_of
from versioning.rules import Policy, decide
from versioning.store.contract import INTEGER_MAX, AppendConflict
from versioning.store.format import decode, encode, fingerprint_of, link_of, read
from versioning.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime
    from types import TracebackType

    from versioning.audit.checkpoints import Key, Progress
    from versioning.audit.log_file import File
    from versioning.events import VersionDeployed
    from versioning.reading.kept import ViewStatus
    from versioning.store.contract import LogRow, Row, Store, TailRow, Waiter
    from versioning.store.format import Envelope

TRIES_MAX: Final = 64
"""How often a command is decided before it gives up (R22)."""
PAUSE_S_MAX: Final = 0.05
"""How long it waits at most before it is decided again; the pauses double, and are random, so that nobody starves."""
CACHED_MODELS_MAX: Final = 4_096
ANSWERS_MAX: Final = 64
"""How many numbers and ranges of one name are known by heart."""
FOLLOWED_EVENTS: Final = 1_000
"""How many events a follower reads at once."""
DEPLOYMENTS_AT_ONCE: Final = 500
"""How many deployments are recorded in one transaction: at most two events each, which PostgreSQL takes in beside other
writers."""


_TIMES: Final = frozenset({int, float})


class Why(TypedDict, total=False):
    """What every command takes besides what it does."""

    actor: str | None
    """Who; best an opaque id, because it is kept for ever."""
    reason: str | None
    """Why, in words; kept for ever."""
    idempotency_key: str | None
    """The same key with the same command again gives the first answer and records nothing (R21)."""
    correlation_id: str | None
    """What it belongs to in the caller's world."""


_WHY: Final = frozenset(Why.__annotations__)


class _Named(TypedDict):
    model_or_reference: object
    model_name: str


class Deployment(_Named, Why, total=False):
    """What `deploy_many` takes for each version: the arguments of `deploy`, of which the first two are needed."""

    serializer: str | Serializer | None
    version_bump: str
    publish: bool
    promote: bool | None
    metadata: dict[str, Any] | None


_TAKEN: Final = frozenset(Deployment.__annotations__)


@attrs.frozen
class Because:
    """A checked `Why`."""

    actor: str | None = None
    reason: str | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None


def _because(
    *,
    actor: str | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
    correlation_id: str | None = None,
) -> Because:
    return Because(
        checked_actor(actor), checked_reason(reason), checked_key(idempotency_key), checked_correlation(correlation_id)
    )


class Asked(NamedTuple):
    """A command on its way: about which stream, what, and why."""

    target: Target
    command: Command
    because: Because


def fingerprint(asked: Asked) -> str:
    """Say what was asked in 64 hexadecimal digits: kind, target, and every argument but actor, reason and correlation.

    An artifact counts by its digest, or by its reference where it has none (R21). This is part of the stored format.
    """
    command = attrs.asdict(asked.command, recurse=False)
    command.pop("token", None)
    if isinstance(asked.command, Deploy):
        command["artifact"] = asked.command.artifact.digest or asked.command.artifact.uri
    if command.get("expected_primary") is Expect.ANYTHING:
        del command["expected_primary"]
    text = json.dumps([NAMES[type(asked.command)], asked.target.stream, command], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Commands:
    """Every command, its arguments checked; what becomes of it is for two children, which do it or only preview it."""

    workspace: str
    policy: Policy
    _folder: ArtifactFolder | None
    _serializer: str | Serializer | None
    _dry: bool = False

    def _named(self, model_name: object) -> Target:
        raise NotImplementedError  # pragma: no cover - each child has its own

    def _do(self, asked: Asked) -> Version:
        raise NotImplementedError  # pragma: no cover - each child has its own

    def _do_model(self, asked: Asked) -> Model:
        raise NotImplementedError  # pragma: no cover - each child has its own

    def _on_version(self, command: Command, version_id: str, why: Why) -> Version:
        return self._do(Asked(Target(version_id[4:36]), command, _because(**why)))

    def deploy(
        self,
        model_or_reference: object,
        serializer: str | Serializer | None = None,
        *,
        model_name: str,
        version_bump: str = "MINOR",
        publish: bool = False,
        promote: bool | None = None,
        metadata: dict[str, Any] | None = None,
        **why: Unpack[Why],
    ) -> Version:
        """Make a new version of the name: 0.1.0, or the highest number bumped; a draft unless `publish` (R1 to R3).

        The log is for ever: pass opaque ids as actor, and no personal data in names, reasons, keys and metadata.

        Args:
            model_or_reference: a URI as text, an ArtifactRef, or contents: a Path to a file, bytes, or a model object.
            serializer: how an object becomes bytes; without one, the registry's default.
            model_name: 1 to 256 characters, case-sensitive, fixed for ever (R4).
            version_bump: MAJOR, MINOR or PATCH, in any case.
            publish: make it a production resource at once.
            promote: whether publishing claims the primary role; without it, as the policy says (R7).
            metadata: JSON values, 16,384 bytes at the most.
            why: actor, reason, idempotency_key, correlation_id.

        Raises:
            InvalidInputError: an argument can't be accepted; nothing was recorded or stored.
            IdempotencyConflictError: the key was used for another command.
        """
        asked = self._deployment(
            _because(**why),
            model_or_reference,
            serializer,
            model_name=model_name,
            version_bump=version_bump,
            publish=publish,
            promote=promote,
            metadata=metadata,
        )
        return self._do(asked)

    def _deployment(
        self,
        because: Because,
        model_or_reference: object,
        serializer: str | Serializer | None = None,
        *,
        model_name: str,
        version_bump: str = "MINOR",
        publish: bool = False,
        promote: bool | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Asked:
        """Check the arguments of `deploy`; contents are stored when all others are right."""
        target = self._named(model_name)
        bump = checked_bump(version_bump)
        publishes = checked_flag(publish, "publish")
        claims = checked_promote(promote, publish=publishes)
        canonical = checked_metadata(metadata)
        artifact = as_artifact(model_or_reference, serializer, self._serializer, self._folder, preview=self._dry)
        return Asked(target, Deploy(artifact, secrets.token_hex(4), bump, publishes, claims, canonical), because)

    def publish(self, version_id: str, *, promote: bool | None = None, **why: Unpack[Why]) -> Version:
        """Make a draft a published version; it keeps its number and its id (R3).

        Args:
            version_id: an active or activating draft; for a published version nothing happens (R20).
            promote: whether it claims the primary role; without it, as the policy says (R7).
            why: actor, reason, idempotency_key, correlation_id.
        """
        version_id = checked_version_id(version_id)
        command = Publish(version_id, None if promote is None else checked_flag(promote, "promote"))
        return self._on_version(command, version_id, why)

    def promote(
        self, version_id: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING, **why: Unpack[Why]
    ) -> Version:
        """Make an active version primary; a draft is published first (R8)."""
        version_id = checked_version_id(version_id)
        return self._on_version(Promote(version_id, checked_expectation(expected_primary)), version_id, why)

    def rollback(
        self, model_name: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING, **why: Unpack[Why]
    ) -> Version:
        """Go back to the nearest earlier primary that is still active, as undo does; give it (R13)."""
        command = Rollback(checked_expectation(expected_primary))
        return self._do(Asked(self._named(model_name), command, _because(**why)))

    def deactivate(
        self, version_id: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING, **why: Unpack[Why]
    ) -> Version:
        """Stop a version at once, whether it is active or activating (R16)."""
        version_id = checked_version_id(version_id)
        return self._on_version(Deactivate(version_id, checked_expectation(expected_primary)), version_id, why)

    def activate(self, version_id: str, **why: Unpack[Why]) -> Version:
        """Start an inactive version again; where activation is awaited, it has the `activation_id` to answer with."""
        version_id = checked_version_id(version_id)
        return self._on_version(Activate(version_id), version_id, why)

    def complete_activation(self, version_id: str, activation_id: str, **why: Unpack[Why]) -> Version:
        """Answer that the serving environment is ready; a stale answer changes nothing (R15)."""
        version_id = checked_version_id(version_id)
        command = CompleteActivation(version_id, checked_activation_id(activation_id))
        return self._on_version(command, version_id, why)

    def fail_activation(self, version_id: str, activation_id: str, *, error: str, **why: Unpack[Why]) -> Version:
        """Answer that the serving environment did not start; a stale answer changes nothing (R15)."""
        version_id = checked_version_id(version_id)
        command = FailActivation(version_id, checked_activation_id(activation_id), checked_failure(error))
        return self._on_version(command, version_id, why)

    def delete(
        self, version_id: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING, **why: Unpack[Why]
    ) -> Version:
        """Delete a version for ever; the last one takes its model along (R17).

        The facts stay in the log: its name, number and metadata, its artifact's digest, who, when and why. Its contents
        are erased by `collect_artifacts` only, where nothing else has the same. So deleting erases no personal data.
        """
        version_id = checked_version_id(version_id)
        return self._on_version(Delete(version_id, checked_expectation(expected_primary)), version_id, why)

    def delete_model(self, model_name: str, **why: Unpack[Why]) -> Model:
        """Delete all versions that are left, and so the model; its name is free then (R6)."""
        return self._do_model(Asked(self._named(model_name), DeleteModel(), _because(**why)))


class _Done(NamedTuple):
    """What a command made, changed, or found to be so already."""

    version_id: str | None
    """None for `delete_model`, which names no version."""
    generation: int
    """The life of the name."""


class _Decision(NamedTuple):
    """What a command comes to in one state."""

    events: tuple[Event, ...]
    refusal: VersioningError | None
    sequence: int
    link: bytes
    generation: int
    model_name: str


class _Live:
    """A cached aggregate and its lock, which is never held across a question to the store."""

    __slots__ = ("aggregate", "lock", "turn")

    def __init__(self, aggregate: ModelAggregate) -> None:
        self.aggregate = aggregate
        self.lock = threading.Lock()
        self.turn = threading.Lock()
        """Commands of this process on one model take turns: they would only conflict."""

    def take(self, after: int, appends: Iterable[tuple[Sequence[Event], str | None]], link: bytes) -> None:
        """Fold what was recorded behind a sequence, and by whom, if the aggregate is still there."""
        with self.lock:
            if self.aggregate.sequence == after:
                for events, actor in appends:
                    self.aggregate.take(events, actor)
                self.aggregate.link = link

    def take_in(self, rows: list[TailRow]) -> None:
        """Fold what was read behind a sequence that this aggregate had."""
        aggregate = self.aggregate
        stream, evolve = aggregate.stream, aggregate.evolve
        last: bytes | None = None
        with self.lock:
            if len(rows) > 1:
                aggregate.begin_folding()
            try:
                for position, sequence, topic, state in rows:
                    if sequence <= aggregate.sequence:
                        continue
                    if sequence != aggregate.sequence + 1:
                        msg = f"Event {aggregate.sequence + 1} of the stream {stream} is missing."
                        raise CorruptLogError(msg, position=position)
                    envelope = read(position, stream, sequence, topic, state)
                    if envelope.model_name != aggregate.model_name or envelope.workspace != aggregate.workspace:
                        self._name(envelope, position)
                    try:
                        evolve(envelope.payload, envelope.actor)
                    except (KeyError, IndexError) as error:
                        msg = f"Event {sequence} of the stream {stream} does not follow from those before it."
                        raise CorruptLogError(msg, position=position) from error
                    last = state
            finally:  # also where a row can't be read: the link is always that of the sequence
                aggregate.end_folding()
                if last is not None:
                    aggregate.link = link_of(last)

    def _name(self, envelope: Envelope[Event], position: int) -> None:
        """Take the name from the first event; no other one may name another model."""
        aggregate = self.aggregate
        if aggregate.sequence:
            msg = f"Event {aggregate.sequence + 1} of the stream {aggregate.stream} names another model."
            raise CorruptLogError(msg, position=position)
        aggregate.workspace, aggregate.model_name = envelope.workspace, envelope.model_name


class _Ahead:
    """What a stream will be when a batch is recorded; nobody else sees it before."""

    __slots__ = ("appends", "live", "sequence", "state")

    def __init__(self, stream: str, live: _Live | None) -> None:
        self.live = live if live is not None and live.aggregate.sequence else None
        """What the cache has of it; None where the name is new."""
        if self.live is None:
            self.state = ModelAggregate(stream)
        else:
            with self.live.lock:
                self.state = self.live.aggregate.fork()
        self.sequence = self.state.sequence
        """Of the last event before the batch."""
        self.appends: list[tuple[Sequence[Event], str | None]] = []
        """What each deployment records, and who asked for it."""


class _Batch:
    """Deployments that are recorded in one transaction."""

    def __init__(self, lives: dict[str, _Live], before: dict[tuple[str, str], TailRow], now_us: int) -> None:
        self.now_us = now_us
        self.rows: list[Row] = []
        self.versions: list[Version] = []
        """One for each deployment, as it is behind it."""
        self.aheads: dict[str, _Ahead] = {}
        self.command_id = ""
        """Of the first row."""
        self._lives = lives
        self._before = before
        self._made: dict[tuple[str, str], str] = {}

    def ahead(self, stream: str) -> _Ahead:
        ahead = self.aheads.get(stream)
        if ahead is None:
            ahead = self.aheads[stream] = _Ahead(stream, self._lives.get(stream))
        return ahead

    def made_before(self, asked: Asked) -> str | None:
        """R21: give the version that the same command with the same key made, in the batch or before it."""
        key = asked.because.idempotency_key
        if key is None:
            return None
        place = asked.target.stream, key
        if place in self._before:
            return _same_command(asked, self._before[place]).version_id
        return self._made.get(place)

    def add(self, asked: Asked, rows: list[Row], version_id: str, command_id: str) -> None:
        self.command_id = self.command_id or command_id
        self.rows += rows
        if asked.because.idempotency_key is not None:
            self._made[asked.target.stream, asked.because.idempotency_key] = version_id


@contextlib.contextmanager
def _in_turn(lives: Iterable[_Live]) -> Iterator[None]:
    """Wait until no other command of this process is about one of these, for a bounded time.

    They come in the order of their streams, so that nobody waits for each other.
    """
    deadline, held = time.monotonic() + PAUSE_S_MAX * TRIES_MAX, list[threading.Lock]()
    try:
        for live in lives:
            if live.turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
                held.append(live.turn)
        yield
    finally:
        for turn in held:
            turn.release()


def _same_command(asked: Asked, before: TailRow) -> Recorded:
    """Read the event that a key was used for, of the same command (R21).

    Raises:
        IdempotencyConflictError: it was another one.
    """
    position, sequence, topic, state = before
    recorded = decode(position, asked.target.stream, sequence, topic, state)
    if fingerprint_of(state) != fingerprint(asked):
        key = asked.because.idempotency_key
        msg = f"The idempotency key {shown(key)} was used at position {position} for another command."
        raise IdempotencyConflictError(msg, idempotency_key=key, position=position)
    return recorded


def _is_first_of(command_id: str, stream: str, rows: list[TailRow]) -> bool:
    """Say whether the first of these rows is what this command recorded."""
    return bool(rows) and decode(rows[0][0], stream, *rows[0][1:]).command_id == command_id


def _numbered(error: VersioningError, index: int) -> VersioningError:
    """Say of an error which of many deployments it is about."""
    msg = f"Deployment {index}: {error.sentence}"
    return type(error)(msg, rule=error.rule, hint=error.hint_text, **{**error.facts, "index": index})


class _Loaded:
    """A model object that was loaded to be invoked, and the lock under which that happens once."""

    __slots__ = ("is_harmless", "lock", "model")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: object = None
        self.is_harmless = False
        """Whether it is known to have been loaded without trust."""


class ModelRegistry(Questions, Commands):
    """The life of all models of one workspace, on one store; safe to share between threads.

    Args:
        url: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host/database`,
            or a Path to a SQLite file; without one, the environment's VERSIONING_URL, else `sqlite:///versioning.db`.
        workspace: the tenant; a registry sees its own only (R27).
        policy: what the host chooses.
        clock: gives the present as an aware datetime; without one, the machine's, or the clock of a PostgreSQL server.
        artifacts: the folder for contents; without one, beside a SQLite file, and none for `memory:`.
        serializer: how model objects become bytes where `deploy` doesn't say.

    Raises:
        InvalidArgumentError: an argument can't be accepted.
        StoreError: the store can't be opened.
        NewerFormatError: a newer release wrote it.
    """

    def __init__(
        self,
        url: str | Path | None = None,
        *,
        workspace: str = "default",
        policy: Policy | None = None,
        clock: Callable[[], datetime] | None = None,
        artifacts: str | Path | None = None,
        serializer: str | Serializer | None = "pickle",
    ) -> None:
        """Open the store, and make its tables where they are missing."""
        self.workspace = checked_workspace(workspace)
        self.policy = _checked_policy(policy)
        self._clock = _checked_clock(clock)
        self._serializer = None if serializer is None else checked_serializer(serializer)
        self._cut = NOW
        place = os.environ.get("VERSIONING_URL") or "sqlite:///versioning.db" if url is None else url
        folder = _checked_folder(artifacts)
        self._recorder = open_store(place)
        if folder is None and self._recorder.path is not None:
            folder = Path(f"{self._recorder.path}.artifacts")
        self._folder = None if folder is None else ArtifactFolder(folder, self.workspace)
        self._views = Views(self._recorder)
        self._cached: collections.OrderedDict[str, _Live] = collections.OrderedDict()
        self._cache_lock = threading.Lock()
        self._answers: dict[str, tuple[_Live, dict[str | None, tuple[Version, int, float]]]] = {}
        """By name, and by what of it was asked for: the version, the sequence and the time as of which it was right."""
        self._loaded: dict[str, _Loaded] = {}
        self.closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store; a second time is fine, any other call afterwards is a StoreError."""
        self.closed = True
        self._recorder.close()

    # The states.

    def _now_us(self) -> int:
        if self._clock is None:
            return self._recorder.now_us()
        return checked_moment(self._clock(), "clock")

    def _live(self, stream: str) -> tuple[_Live, bool]:
        """Give the cached aggregate, or one that is read now; and whether it is as of now."""
        with self._cache_lock:
            live = self._cached.get(stream)
            if live is not None:
                self._cached.move_to_end(stream)
                return live, False
        live = _Live(ModelAggregate(stream))

        def fold(state: ModelAggregate, rows: list[TailRow]) -> None:
            live.aggregate = state
            live.take_in(rows)

        if self._state_of(stream, NOW, fold).sequence:
            self._keep(live)
        return live, True

    def _keep(self, live: _Live) -> None:
        """Keep an aggregate that has a history; the first one of several stays."""
        if self._cached.get(live.aggregate.stream) is live:
            return
        with self._cache_lock:
            self._cached.setdefault(live.aggregate.stream, live)
            if len(self._cached) > CACHED_MODELS_MAX:
                self._cached.popitem(last=False)

    def _forget(self, stream: str) -> None:
        with self._cache_lock:
            self._cached.pop(stream, None)

    def _read_tail(self, live: _Live, after: int | None = None) -> list[TailRow]:
        """Take in what was recorded since, or behind a sequence, by whomever; give it."""
        stream = live.aggregate.stream
        rows = self._recorder.tail(stream, live.aggregate.sequence if after is None else after)
        if rows:
            self._take_tail(live, rows)
        return rows

    def _take_tail(self, live: _Live, rows: list[TailRow]) -> None:
        if live.aggregate.sequence:
            self._recorder.notice_other_writer()
        try:
            live.take_in(rows)
        except VersioningError:
            self._forget(live.aggregate.stream)
            raise
        self._keep(live)

    def _ask(self, stream: str, question: Callable[[ModelAggregate], Answer]) -> Answer:
        live, fresh = self._live(stream)
        if not fresh:
            self._read_tail(live)
        with live.lock:
            return question(live.aggregate)

    # Commands.

    def _do(self, asked: Asked) -> Version:
        live, (version_id, _) = self._execute(asked)
        assert version_id is not None  # noqa: S101 - only delete_model names no version, and it takes the other way
        with live.lock:
            version = live.aggregate.versions[version_id]
        if version.status != "active":
            self._loaded.pop(version_id, None)
        return version

    def _do_model(self, asked: Asked) -> Model:
        live, (_, generation) = self._execute(asked)
        with live.lock:
            return live.aggregate.model(generation)

    def _execute(self, asked: Asked) -> tuple[_Live, _Done]:
        """Decide and record, again and again while others are faster; give what was made or changed."""
        command_id = secrets.token_hex(16)
        live, fresh = self._live(asked.target.stream)
        turn = live.turn
        held = turn.acquire(timeout=PAUSE_S_MAX * TRIES_MAX)
        try:
            for tries in range(TRIES_MAX):
                if tries:
                    time.sleep(random.random() * min(PAUSE_S_MAX, 0.001 * 2**tries))  # noqa: S311 - no secret
                    live, fresh = self._live(asked.target.stream)
                done = self._try(asked, command_id, live, fresh=fresh)
                if done is not None:
                    return live, done
        finally:
            if held:
                turn.release()
        msg = f"Others changed the model faster than {NAMES[type(asked.command)]} could be decided, {TRIES_MAX} times."
        raise ConcurrencyError(msg)

    def _try(self, asked: Asked, command_id: str, live: _Live, *, fresh: bool) -> _Done | None:
        """Decide and record once; None when somebody else was first, and nothing was recorded."""
        decision = self._decide(asked, live)
        if (asked.because.idempotency_key is not None or not decision.events) and not fresh:
            self._read_tail(live)
            if live.aggregate.sequence != decision.sequence:
                decision = self._decide(asked, live)
        if before := self._with_same_key(asked, decision):
            return self._repeated(asked, before, live)
        if decision.refusal is not None:
            raise self._explained(decision.refusal)
        if not decision.events:
            return _Done(getattr(asked.command, "version_id", None), decision.generation)
        return self._record(asked, command_id, live, decision)

    def _record(self, asked: Asked, command_id: str, live: _Live, decision: _Decision) -> _Done | None:
        """Append what was decided; None when somebody else was first."""
        rows = self._encoded(asked, command_id, decision)
        made = getattr(decision.events[0], "version_id", None)
        done = _Done(None if isinstance(asked.command, DeleteModel) else made, decision.generation)
        try:
            self._recorder.append(rows)
        except AppendConflict:
            return done if self._was_recorded(live, decision.sequence, command_id) else None
        except StoreError as error:
            if self._was_recorded_after(error, lambda: self._was_recorded(live, decision.sequence, command_id)):
                return done
            raise
        live.take(decision.sequence, [(decision.events, asked.because.actor)], link_of(rows[-1].state))
        self._keep(live)
        return done

    def _encoded(self, asked: Asked, command_id: str, decision: _Decision) -> list[Row]:
        because = asked.because
        meta = Meta(
            self.workspace,
            decision.model_name,
            decision.generation,
            command_id,
            because.actor,
            because.reason,
            because.correlation_id,
            because.idempotency_key,
            None if because.idempotency_key is None else fingerprint(asked),
        )
        return encode(asked.target.stream, decision.sequence, decision.link, decision.events, meta)

    def _explained(self, refusal: VersioningError) -> VersioningError:
        """Say of a model that is not there which ones look alike."""
        return self._with_suggestions(refusal) if isinstance(refusal, ModelNotFoundError) else refusal

    def _decide(self, asked: Asked, live: _Live) -> _Decision:
        """Decide against the cached state; a refusal is kept until it is known that the state is as of now."""
        now_us = self._now_us()
        with live.lock:
            return self._decision(asked, live.aggregate, now_us)

    def _decision(self, asked: Asked, state: ModelAggregate, now_us: int) -> _Decision:
        target = asked.target
        events: tuple[Event, ...] = ()
        refusal: VersioningError | None = None
        if not state.sequence and target.name is not None:
            state.workspace, state.model_name = self.workspace, target.name
        try:
            if not self._is_ours(state, target) and target.name is None:
                version_id = getattr(asked.command, "version_id", "")
                msg = f"There is no version {version_id} in the workspace {shown(self.workspace)}."
                raise VersionNotFoundError(msg, version_id=version_id)
            events = decide(state, asked.command, self.policy, now_us)
        except VersioningError as error:
            refusal = error
        generation = state.generation if state.exists else state.generation + 1
        return _Decision(events, refusal, state.sequence, state.link, generation, state.model_name)

    def _with_same_key(self, asked: Asked, decision: _Decision) -> TailRow | None:
        """Find the command with this key; where the stream is another workspace's, none of its keys are told (R27)."""
        key = asked.because.idempotency_key
        if key is None or isinstance(decision.refusal, CorruptLogError | VersionNotFoundError):
            return None
        return self._recorder.find_key(asked.target.stream, key)

    def _repeated(self, asked: Asked, before: TailRow, live: _Live) -> _Done:
        """R21: give the version that the command with this key made or changed, if it was the same command."""
        recorded = _same_command(asked, before)
        with live.lock:
            known = live.aggregate.sequence >= recorded.sequence
        if not known:
            self._read_tail(live)
        version_id = None if isinstance(asked.command, DeleteModel) else recorded.version_id
        return _Done(version_id, recorded.generation)

    def _was_recorded(self, live: _Live, sequence: int, command_id: str) -> bool:
        """Say whether the append behind a sequence was this very command: its reply may have been lost."""
        return _is_first_of(command_id, live.aggregate.stream, self._read_tail(live, sequence))

    def _was_recorded_after(self, error: StoreError, was_recorded: Callable[[], bool]) -> bool:
        if self.closed:  # nothing was sent
            return False
        try:
            return was_recorded()
        except StoreError:
            hint = "Whether it was recorded is not known; with an idempotency key the same command can be sent again."
            raise StoreError(error.sentence, hint=hint) from error

    # Many deployments, in few transactions.

    def deploy_many(
        self,
        deployments: Iterable[Deployment],
        *,
        actor: str | None = None,
        reason: str | None = None,
        correlation_id: str | None = None,
        progress: Progress | None = None,
    ) -> tuple[Version, ...]:
        """Do what `deploy` does for each, in their order, and give what each of those calls would have given.

        They are recorded up to 500 at a time, each such batch whole or not at all. Where the process dies, or an error
        comes, the batches before are recorded and nothing else is; with an `idempotency_key` in each deployment, the
        same call can be made again, and makes what is missing (R21).

        Args:
            deployments: mappings with the arguments of `deploy`; one may name a model that another one names too.
            actor: of those that name none.
            reason: of those that name none.
            correlation_id: of those that name none.
            progress: is called after each batch with "deploy", and how many of how many are done.

        Raises:
            InvalidInputError: one of them can't be accepted, and `index` says which, counted from 0; nothing was
                recorded. Contents of those before it may be in the folder, until `collect_artifacts` erases them.
            IdempotencyConflictError: the key of the one at `index` was used for another command.
            ConcurrencyError: others changed the models faster than a batch could be decided.
        """
        checked_progress(progress)
        common = {"actor": actor, "reason": reason, "correlation_id": correlation_id}
        asked = self._checked_deployments(deployments, common)
        drawn = secrets.token_hex(16 * len(asked))
        ids = [drawn[place : place + 32] for place in range(0, len(drawn), 32)]
        made: list[Version] = []
        at_once, tries, looks = DEPLOYMENTS_AT_ONCE, 0, False
        while len(made) < len(asked):
            some = slice(len(made), min(len(made) + at_once, len(asked)))
            versions = self._try_many(asked[some], ids[some], some.start, looks=looks)
            if versions is not None:
                made += versions
                at_once, tries = DEPLOYMENTS_AT_ONCE, 0
                if progress is not None:
                    progress("deploy", len(made), len(asked))
                continue
            if looks:  # fewer have a better chance beside others
                at_once = max(1, (some.stop - some.start) // 2)
                tries += 1
                if tries == TRIES_MAX:
                    msg = f"Others changed the models faster than deploy_many could be decided, {TRIES_MAX} times."
                    raise ConcurrencyError(msg)
                time.sleep(random.random() * min(PAUSE_S_MAX, 0.001 * 2**tries))  # noqa: S311 - no secret
            looks = True
        return tuple(made)

    def _checked_deployments(self, deployments: object, common: dict[str, str | None]) -> list[Asked]:
        shared, asked = _because(**common), list[Asked]()
        keys: dict[tuple[str, str], str] = {}
        for index, given in enumerate(checked_items(deployments, "deployments")):
            try:
                how = checked_members(given, Deployment.__required_keys__, _TAKEN)
                because = shared
                if not _WHY.isdisjoint(how):
                    because = _because(**(common | {name: how.pop(name) for name in how.keys() & _WHY}))
                one = self._deployment(because, **how)
                key = one.because.idempotency_key
                if key is not None:
                    command = fingerprint(one)
                    if keys.setdefault((one.target.stream, key), command) != command:
                        msg = f"The idempotency key {shown(key)} is used for another command before it."
                        raise IdempotencyConflictError(msg, idempotency_key=key)
            except VersioningError as error:
                raise _numbered(error, index) from error
            asked.append(one)
        return asked

    def _try_many(self, asked: list[Asked], ids: list[str], first: int, *, looks: bool) -> list[Version] | None:
        """Decide and record a batch once; None when somebody else was first, and nothing was recorded.

        Unless it `looks`, it reads nothing: a name that is not in the cache is taken for new, and so is a key. Where
        that is wrong, the append conflicts.
        """
        lives = self._lives({one.target.stream for one in asked}, looks=looks)
        with _in_turn(lives.values()):
            before = self._used_keys(asked) if looks else {}
            if looks:  # behind the keys, so that what they were used for is in it
                self._read_tails(lives)
            batch = _Batch(lives, before, self._now_us())
            for index, (one, command_id) in enumerate(zip(asked, ids, strict=True), first):
                try:
                    batch.versions.append(self._decide_ahead(batch, one, command_id))
                except VersioningError as error:
                    raise _numbered(error, index) from error
            if not self._append_many(batch):
                return None
        for ahead in batch.aheads.values():
            self._take_ahead(ahead)
        return batch.versions

    def _lives(self, streams: set[str], *, looks: bool) -> dict[str, _Live]:
        """Give the cached aggregates in the order of their streams; if it looks, empty ones for the others."""
        lives = {}
        for stream in sorted(streams):
            live = self._cached.get(stream)
            if live is None and looks:
                live = _Live(ModelAggregate(stream))
            if live is not None:
                lives[stream] = live
        return lives

    def _read_tails(self, lives: dict[str, _Live]) -> None:
        spans = {stream: (live.aggregate.sequence, INTEGER_MAX) for stream, live in lives.items()}
        for stream, rows in itertools.groupby(self._recorder.ranges(spans), operator.itemgetter(1)):
            self._take_tail(lives[stream], [(row[0], *row[2:]) for row in rows])

    def _used_keys(self, asked: list[Asked]) -> dict[tuple[str, str], TailRow]:
        used = {}
        for stream, key in {(one.target.stream, one.because.idempotency_key) for one in asked}:
            if key is not None and (row := self._recorder.find_key(stream, key)):
                used[stream, key] = row
        return used

    def _decide_ahead(self, batch: _Batch, asked: Asked, command_id: str) -> Version:
        """Decide against what the stream will be when those before it in the batch are recorded too."""
        ahead = batch.ahead(asked.target.stream)
        state, because = ahead.state, asked.because
        decision = self._decision(asked, state, batch.now_us)
        if decision.refusal is not None:
            raise decision.refusal
        version_id = batch.made_before(asked)
        if version_id is None:
            rows = self._encoded(asked, command_id, decision)
            state.take(decision.events, because.actor)
            state.link = link_of(rows[-1].state)
            ahead.appends.append((decision.events, because.actor))
            version_id = cast("VersionDeployed", decision.events[0]).version_id
            batch.add(asked, rows, version_id, command_id)
        return state.versions[version_id]

    def _append_many(self, batch: _Batch) -> bool:
        """Append what was decided, if anything; False when somebody else was first."""
        try:
            self._recorder.append(batch.rows)
        except AppendConflict:
            return self._has_recorded(batch)
        except StoreError as error:
            if not self._was_recorded_after(error, lambda: self._has_recorded(batch)):
                raise
        return True

    def _has_recorded(self, batch: _Batch) -> bool:
        stream, sequence = batch.rows[0][:2]
        return _is_first_of(batch.command_id, stream, self._recorder.tail(stream, sequence - 1, sequence))

    def _take_ahead(self, ahead: _Ahead) -> None:
        """Keep what has been recorded."""
        if ahead.live is not None:
            ahead.live.take(ahead.sequence, ahead.appends, ahead.state.link)
        else:
            self._keep(_Live(ahead.state))

    # Questions that only the present answers.

    def preview(self, command: str, *args: object, **kwargs: object) -> tuple[Event, ...]:
        """Give the events that a command would record now, and record nothing: `preview("promote", version_id)`.

        Raises:
            InvalidArgumentError: there is no such command.
            VersioningError: whatever the command itself would raise.
        """
        name: object = command
        if not isinstance(name, str) or str.__str__(name) not in COMMANDS:
            msg = f"There is no command {shown(command)}."
            raise InvalidArgumentError(msg, hint=f"The commands are {', '.join(COMMANDS)}.", argument="command")
        preview = _Preview(self)
        getattr(preview, str.__str__(name))(*args, **kwargs)
        return preview.events

    def _preview(self, asked: Asked) -> tuple[Event, ...]:
        live, fresh = self._live(asked.target.stream)
        if not fresh:
            self._read_tail(live)
        decision = self._decide(asked, live)
        if before := self._with_same_key(asked, decision):
            self._repeated(asked, before, live)
            return ()
        if decision.refusal is not None:
            raise self._explained(decision.refusal)
        return decision.events

    def resolve(self, model_name: str, version: str | None = None, *, max_staleness_s: float | None = None) -> Version:
        """Give the version to invoke: the primary, or the one that a number, a version_id or a range names (R24).

        Args:
            model_name: whose.
            version: a number, a version_id or a range; without one, the primary.
            max_staleness_s: how old an answer may be, which then needs no look at the store: what others recorded in
                that time may be missing from it, what this registry recorded never is. Without it, nothing is missing.

        Raises:
            NoPrimaryVersionError: none is named, and there is no primary.
            VersionNotFoundError: there is no such version, or none inside the range.
            VersionNotActiveError, VersionDeletedError: the version that was named exactly can't answer.
            ModelNotFoundError: there is no such model.
        """
        if max_staleness_s is None:
            return super().resolve(model_name, version)
        try:
            live, answers = self._answers[model_name]
            answer, sequence, read_s = answers[version]
            state = live.aggregate
            if (
                type(max_staleness_s) in _TIMES
                and time.monotonic() - read_s <= max_staleness_s <= SECONDS_MAX
                and state.sequence == sequence
                and self._cached.get(state.stream) is live
                and not self.closed
            ):
                return answer
        except (KeyError, TypeError):  # not known, or not of a type that it could be known by
            pass
        return self._resolved(model_name, version, checked_staleness(max_staleness_s))

    def _resolved(self, model_name: str, version: str | None, max_staleness_s: float) -> Version:
        """Look at the store, and keep the answer together with what makes it old: a later event, and the time."""
        target, question = self._named(model_name), wanted_of(version).find
        read_s = time.monotonic()
        answer, sequence = self._ask_model(target, lambda state: (question(state), state.sequence))
        live = self._cached.get(target.stream)
        if live is not None and max_staleness_s > 0:
            if len(self._answers) >= CACHED_MODELS_MAX:
                self._answers.clear()
            known, answers = self._answers.get(model_name, (live, {}))
            if known is not live or len(answers) >= ANSWERS_MAX:
                answers = {}
            answers[version] = answer, sequence, read_s
            self._answers[model_name] = live, answers
        return answer

    def at(self, moment_or_position: datetime | int) -> AsOf:
        """Ask the same questions as of a position, or of an aware moment, both up to and including it (R25).

        Raises:
            InvalidArgumentError: a moment without a time zone, or one that lies in the future.
        """
        now_us = self._now_us()
        cut = cut_of(moment_or_position, self._recorder.head(), now_us, self._last_at_us)
        return AsOf(self, cut, now_us if cut.at_us is None else cut.at_us)

    def _last_at_us(self) -> int:
        """The latest timestamp in the workspace; clocks differ, so it need not be the last event's."""
        with self._views.reading(MODELS) as reading:
            return reading.latest_us(self.workspace)

    def follow(self, after: int = 0, poll_s: float = 1.0) -> Follower:
        """Give recorded events from behind a position, for ever, as they come; `close()` ends it.

        Args:
            after: the position of the last event that was seen.
            poll_s: how long to wait at most before looking again, where the store gives no sign.
        """
        return Follower(self, checked_position(after, "after"), checked_seconds(poll_s, "poll_s"))

    def views(self) -> tuple[ViewStatus, ...]:
        """Say how far the kept views are, and what stops them."""
        return tuple(self._views.status(view) for view in VIEWS)

    def skip(self, position: int, *, actor: str | None = None, reason: str | None = None) -> None:
        """Let the views pass over an event where they can't read or fold it, for ever; who and why is kept (`skipped`).

        An event that they can fold counts as before.

        Raises:
            InvalidArgumentError: there is no event at this position.
        """
        place = checked_position(position, "position")
        self._views.skip(Skipped(place, self._now_us(), checked_actor(actor), checked_reason(reason)))

    def skipped(self) -> tuple[Skipped, ...]:
        """Give the events that the views pass over."""
        return self._views.skipped()

    def rebuild(self, progress: Callable[[str, int, int], None] | None = None) -> int:
        """Build all kept views anew from the log, beside the present ones, and swap; give the position reached.

        Args:
            progress: is called after each batch with the view's name, the position reached and the last of the log.

        Raises:
            ConcurrencyError: another process does it just now.
        """
        checked_progress(progress)
        return min(self._views.rebuild(view, progress) for view in VIEWS)

    # Proof: whether anybody has touched the log, and what changed in it.

    def checkpoint(self, progress: Progress | None = None) -> Checkpoint:
        """Say what the whole log is now; keep it where whoever can write the database can't, and give it to `verify`.

        Args:
            progress: is called after each batch with "checkpoint", the position reached and the last of the log.
        """
        return take_checkpoint(self._recorder, self._now_us(), progress)

    def verify(
        self,
        checkpoint: Checkpoint | str | Path | Iterable[Checkpoint | str | Path] | None = None,
        *,
        public_key: Key | None = None,
        views: bool = True,
        progress: Progress | None = None,
    ) -> Verification:
        """Read every row again, and compare it with its chain, the kept views with a replay, and all with checkpoints.

        Nothing is changed. `.ok` says whether nothing was found, `.findings` what and where, and `.not_proven` in words
        what may be so although nothing was found. While it runs, a memory store stands still for other threads.

        Args:
            checkpoint: what `checkpoint` gave, the file that it was written to, or several of these.
            public_key: of Ed25519, where the checkpoints are signed: PEM, a Path to it, or a key of `cryptography`.
            views: whether the kept views are compared, which takes longer than all the rest, and about 2 KB of memory
                a version.
            progress: is called after each batch with "verify", the position reached and the last of the log.

        Raises:
            InvalidArgumentError: a checkpoint is none, or its signature is not by this key.
        """
        checkpoints = given_checkpoints(checkpoint, public_key)
        return verify(
            self._recorder,
            self.workspace,
            checkpoints,
            is_signed=public_key is not None,
            with_views=checked_flag(views, "views"),
            progress=progress,
        )

    def diff(
        self, then: datetime | int, now: datetime | int | None = None, model_name: str | None = None
    ) -> Difference:
        """Say what changed from one position or moment to another one, or to now: as values and as sentences.

        Args:
            then: the earlier one.
            now: the later one; without it, the last position.
            model_name: whose changes; without it, those of the workspace.

        Raises:
            InvalidArgumentError: they are in the wrong order, or lie in the future.
            ModelNotFoundError: there never was a model of this name.
        """
        if model_name is not None:
            self._require_history(self._named(model_name))
        later = self.position() if now is None else now
        before, after = self.at(then), self.at(later)
        if isinstance(then, int) == isinstance(later, int) and then > later:  # type: ignore[operator]  # both of one kind
            msg = "The first of the two lies behind the second."
            raise InvalidArgumentError(msg, rule="R25", hint="Swap then and now.", argument="then")
        changes = changes_between(_models_of(before, model_name), _models_of(after, model_name))
        return Difference(then, later, changes)

    def export(self, target: File, model_name: str | None = None, *, progress: Progress | None = None) -> LogFile:
        """Write the log of the workspace, or of all lives of one name, with its chain; `import_log` takes it in.

        The contents of artifacts are not written.

        Args:
            target: a path, where nothing is yet, or a file that is open to write bytes.
            model_name: whose log.
            progress: is called after each batch with "export", the position reached and the last one.

        Raises:
            ModelNotFoundError: there never was a model of this name.
            InvalidArgumentError: there is a file already.
            CorruptLogError: a row can't be read, or does not follow; `verify` says more.
            StoreError: the file can't be written.
        """
        name = None
        if model_name is not None:
            name = self._named(model_name).name
            self._require_history(self._named(model_name))
        scope = ExportScope(self.workspace, name, self._recorder.head(), self._now_us())
        return export_log(self._recorder, scope, target, progress)

    def import_log(self, source: File, *, progress: Progress | None = None, dry_run: bool = False) -> LogFile:
        """Record what `export` wrote, of the same workspace, after it was checked to its last line.

        What is there already is passed over, so that an import that was interrupted can be called again.

        Args:
            source: a path, or a file that is open to read bytes and can be rewound.
            progress: is called after each batch with "check", then "import", and how many bytes of how many were read.
            dry_run: whether to check only, and to say how many events would be recorded (`imported`).

        Raises:
            InvalidArgumentError: it can't be read, is of another workspace, or the store holds another history.
            CorruptLogError, NewerFormatError: it is not whole or not right; `line` says where. Nothing was recorded.
            ConcurrencyError: others recorded something under one of its names meanwhile.
        """
        only_checks = checked_flag(dry_run, "dry_run")
        return import_log(self._recorder, self.workspace, source, progress, dry_run=only_checks)

    # Model objects.

    def load(
        self,
        model_name: str,
        version: str | None = None,
        *,
        trusted: bool = False,
        serializer: str | Serializer | None = None,
    ) -> object:
        """Give the model object of the primary, or of the version asked for (R24); its digest is checked first.

        Args:
            model_name: whose.
            version: a number, a version_id or a range; without one, the primary.
            trusted: needed for formats that can run code, such as pickle: only for contents whose origin you trust.
            serializer: what turns the bytes into an object, where it is not one that this library knows.

        Raises:
            ArtifactUntrustedError: the format can run code, and `trusted` is not set.
            ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
            ArtifactDamagedError: the contents are not those that were deployed.
        """
        found = self.resolve(model_name, version)
        return self._load(found, trusted=trusted, serializer=serializer)

    def _load(self, version: Version, *, trusted: bool, serializer: str | Serializer | None) -> object:
        ours = (self._serializer,)
        return load_artifact(version.artifact, self._folder, trusted=trusted, serializers=ours, serializer=serializer)

    def invoke(
        self,
        model_name: str,
        inputs: object,
        version: str | None = None,
        *,
        trusted: bool = False,
        serializer: str | Serializer | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the model answers
        """Call the primary, or the version asked for, in this process: its `predict`, or the object itself.

        It is loaded once per version, and dropped when it is no longer active.

        Raises:
            InvalidArgumentError: the object has no `predict` and can't be called.
            VersioningError: whatever `resolve` and `load` raise.
        """
        found = self.resolve(model_name, version)
        model = self._model_object(found, trusted=checked_flag(trusted, "trusted"), serializer=serializer)
        call = getattr(model, "predict", model)
        if not callable(call):
            msg = f"{found.number} of {shown(model_name)} is a {type(model).__name__}, which can't be called."
            raise InvalidArgumentError(msg, hint="Deploy an object with {predict}, or a function.")
        return call(inputs)

    def _model_object(self, found: Version, *, trusted: bool, serializer: str | Serializer | None) -> object:
        self._drop_idle(found)
        held = self._loaded.setdefault(found.version_id, _Loaded())
        with held.lock:
            if held.model is None or not (trusted or held.is_harmless):
                held.model = self._load(found, trusted=trusted, serializer=serializer)
                held.is_harmless = not trusted
            return held.model

    def _drop_idle(self, found: Version) -> None:
        """Drop the objects of this model's versions that are no longer active."""
        stream = found.version_id[4:36]
        held = tuple(self._loaded)  # commands in other threads take theirs out
        idle = [version_id for version_id in held if version_id[4:36] == stream and version_id != found.version_id]
        if idle:
            active = {version.version_id for version in self.active(found.model_name)}
            for version_id in idle:
                if version_id not in active:
                    self._loaded.pop(version_id, None)

    def collect_artifacts(self) -> tuple[str, ...]:
        """Erase the contents that no undeleted version refers to and that are older than a day; the facts stay (R26).

        What is left behind: the log still says that there were contents, with their digest, size and format, and names,
        reasons, actors and metadata as they are; copies elsewhere, such as backups, are not reached. Gives the digests
        of what was erased.
        """
        if self._folder is None:
            return ()
        return tuple(self._folder.collect(self._referenced))

    def _referenced(self) -> set[str]:
        return {
            version.artifact.digest
            for model in self.models()
            for version in model.versions
            if version.artifact.digest is not None
        }


class _Preview(Commands):
    """The commands of a registry, without their effect."""

    _dry = True

    def __init__(self, registry: ModelRegistry) -> None:
        self.workspace = registry.workspace
        self.policy = registry.policy
        self.events: tuple[Event, ...] = ()
        self._registry = registry
        self._folder = registry._folder  # noqa: SLF001 - the preview of a registry is its own
        self._serializer = registry._serializer  # noqa: SLF001 - the same

    def _named(self, model_name: object) -> Target:
        return self._registry._named(model_name)  # noqa: SLF001 - the same

    def _do(self, asked: Asked) -> Version:
        self.events = self._registry._preview(asked)  # noqa: SLF001 - the same
        return cast("Version", None)

    def _do_model(self, asked: Asked) -> Model:
        return cast("Model", self._do(asked))


class Follower:
    """An endless iterator over the events of a workspace, oldest first: nothing missed, nothing twice."""

    def __init__(self, registry: ModelRegistry, after: int, poll_s: float) -> None:
        """Start behind a position."""
        self.position = after
        """Of the last event that was looked at: where another follower would go on."""
        self._workspace = registry.workspace
        self._recorder: Store = registry._recorder  # noqa: SLF001 - a follower reads its registry's log
        self._waiter: Waiter = self._recorder.waiter()
        self._poll_s = poll_s
        self._rows: collections.deque[LogRow] = collections.deque()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Recorded]:
        return self

    def __next__(self) -> Recorded:
        """Wait for the next event; after `close`, there is none."""
        while not self._closed:
            while self._rows:
                recorded = decode(*self._rows[0])  # a row that can't be read stays, and what lies before it has come
                self._rows.popleft()
                self.position = recorded.position
                if recorded.workspace == self._workspace:
                    return recorded
            self._rows.extend(self._recorder.log(self.position, FOLLOWED_EVENTS))
            if not self._rows:
                self._waiter.wait(self._poll_s)
        raise StopIteration

    def close(self) -> None:
        """End the iteration, also from another thread."""
        self._closed = True
        self._waiter.close()


def _models_of(past: Questions, model_name: str | None) -> tuple[Model, ...]:
    if model_name is None:
        return past.models()
    try:
        return (past.model(model_name),)
    except ModelNotFoundError:
        return ()


def _checked_policy(policy: object) -> Policy:
    if policy is None:
        return Policy()
    if isinstance(policy, Policy):
        return policy
    msg = f"policy is a Policy, not {shown(policy)}."
    raise InvalidArgumentError(msg, hint="For example {policy}.", argument="policy")


def _checked_clock(clock: object) -> Callable[[], datetime] | None:
    if clock is None or callable(clock):
        return cast("Callable[[], datetime] | None", clock)
    msg = f"clock is a function without arguments, not {shown(clock)}."
    hint = "Pass {clock}, or none."
    raise InvalidArgumentError(msg, rule="R23", hint=hint, argument="clock")


def _checked_folder(artifacts: object) -> Path | None:
    if artifacts is None or isinstance(artifacts, Path):
        return artifacts
    if isinstance(artifacts, str) and artifacts.strip() and "\0" not in artifacts:
        return Path(str.__str__(artifacts))
    msg = f"artifacts is the path of a folder, not {shown(artifacts)}."
    raise InvalidArgumentError(msg, hint="Pass a Path, or none.", argument="artifacts")
