"""The adapter to `eventsourcing`: its Application and ProjectionRunner work on our log, whatever store holds it.

The law of this room: **it alone imports the framework, and nothing imports it.** An application finds it through the
environment that the framework reads:

    env = {"PERSISTENCE_MODULE": "versioning.store.framework", "VERSIONING_URL": "sqlite:///models.db"}
    with Application[UUID](env) as app:
        model = app.repository.get(UUID(stream_of("default", "fraud")))
        model.record(decide(model, command, policy, now_us), meta)
        app.save(model)

What it saves is chained and stored as a registry would store it; a conflict is the framework's IntegrityError.
Snapshots and tracking have no place in our log: configure another module for the view of a projection.
"""

from __future__ import annotations

import collections
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast
from uuid import UUID

import attrs
from eventsourcing import persistence
from eventsourcing.persistence import ApplicationRecorder, Mapper, Notification, StoredEvent, Subscription

from versioning.aggregate import ModelAggregate
from versioning.errors import CorruptLogError, InvalidArgumentError, StoreError
from versioning.events import Event, Recorded
from versioning.limits import INTEGER_MAX
from versioning.store.contract import AppendConflict, Row
from versioning.store.format import decode, encode, link_of
from versioning.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from versioning.events import Meta
    from versioning.store.contract import LogRow, Store

BATCH_EVENTS: Final = 500
"""Rows read at once where they are picked by topic: as many as the framework's own subscriptions read."""
WAIT_S: Final = 1.0
"""Longest wait of a subscription before it looks at the log again."""
URL_VARIABLE: Final = "VERSIONING_URL"


# What an application loads and saves.


@attrs.frozen(eq=False)
class PendingEvent:
    """A fact that waits to be saved, with the row that it becomes."""

    event: Event
    row: Row

    @property
    def originator_id(self) -> UUID:
        """The stream, as the framework names it."""
        return UUID(self.row.stream)

    @property
    def originator_version(self) -> int:
        """The sequence, as the framework names it."""
        return self.row.sequence


class LoadedModel(ModelAggregate):
    """Everything known of one model name, as an application loads and saves it."""

    __slots__ = ("_pending",)

    def __init__(self, stream: str, workspace: str = "", model_name: str = "") -> None:
        """Start with nothing known and nothing to save."""
        super().__init__(stream, workspace, model_name)
        self._pending: list[PendingEvent] = []

    @property
    def id(self) -> UUID:
        """The stream, as the framework names it."""
        return UUID(self.stream)

    @property
    def version(self) -> int:
        """The sequence, as the framework names it."""
        return self.sequence

    def record(self, events: Sequence[Event], meta: Meta) -> None:
        """Apply the facts of one decision, and keep their rows until they are saved."""
        rows = encode(self.stream, self.sequence, self.link, events, meta, is_first=not self._pending)
        for event, row in zip(events, rows, strict=True):
            self.evolve(event, meta.actor)
            self.link = link_of(row.state)
            self._pending.append(PendingEvent(event, row))

    def collect_events(self) -> Sequence[PendingEvent]:
        """Return the facts that wait to be saved, each only once."""
        collected, self._pending = self._pending, []
        return collected


class RecordedEvent(Recorded):
    """A recorded fact with the names that the framework reads."""

    @property
    def originator_id(self) -> UUID:
        """The stream, as the framework names it."""
        return UUID(self.stream)

    @property
    def originator_version(self) -> int:
        """The sequence, as the framework names it."""
        return self.sequence

    def mutate(self, aggregate: LoadedModel | None) -> LoadedModel | None:
        """Apply this fact to what is known so far; the framework's repository folds a stream with it."""
        return project(aggregate, [self])


def project(state: LoadedModel | None, log: Iterable[RecordedEvent]) -> LoadedModel | None:
    """Fold the recorded facts of one stream.

    Faster than the framework's own projector, which checks each event against a protocol:
    `repository.get(…, projector_func=project)`.
    """
    for recorded in log:
        if state is None:
            state = LoadedModel(recorded.stream, recorded.workspace, recorded.model_name)
        state.evolve(recorded.event, recorded.actor)
        state.link = bytes.fromhex(recorded.chain)
    return state


@dataclass(frozen=True)
class KeyedStoredEvent(StoredEvent):
    """A StoredEvent with the idempotency key that the store indexes, and the link of the row that it follows."""

    key: str | None = None
    follows: bytes | None = None


class LogMapper(Mapper[UUID]):
    """Maps facts to rows and back, with our closed list of topics and without a transcoder.

    Raises:
        InvalidArgumentError: a cipher or a compressor is configured; the stored format has neither.
    """

    def __init__(
        self,
        transcoder: object = None,  # noqa: ARG002 - the framework passes one, and the stored format needs none
        compressor: object = None,
        cipher: object = None,
    ) -> None:
        """Check what the framework's factory passes."""
        if compressor is not None or cipher is not None:
            msg = "Events can't be stored with a cipher or compressor of eventsourcing."
            raise InvalidArgumentError(msg, hint="Encrypt the disk or the file system instead.")

    def to_stored_event(self, domain_event: object) -> KeyedStoredEvent:
        """Return the row of a pending fact."""
        stream, sequence, topic, state, key, follows = cast("PendingEvent", domain_event).row
        return KeyedStoredEvent(UUID(stream), sequence, topic, state, key, follows)

    def to_domain_event(self, stored_event: StoredEvent) -> RecordedEvent:
        """Read a row; its position is 0 where only the stream is known."""
        position = stored_event.id if isinstance(stored_event, Notification) else 0
        stream = _stream_of(stored_event.originator_id)
        recorded = decode(position, stream, stored_event.originator_version, stored_event.topic, stored_event.state)
        return RecordedEvent(**vars(recorded))


def _stream_of(originator_id: UUID | str) -> str:
    """Return a stream as it is stored, from what the framework names it by."""
    return originator_id.hex if isinstance(originator_id, UUID) else originator_id


def _originator_of(stream: str) -> UUID | str:
    """Return a stream as the framework names it; a stream that is no UUID keeps its text."""
    try:
        return UUID(stream)
    except ValueError:
        return stream


# The store.


@contextlib.contextmanager
def _framework_errors() -> Iterator[None]:
    """Raise what callers of the framework's recorders expect, by the DB-API's name of the cause where it has one."""
    try:
        yield
    except (AppendConflict, StoreError, CorruptLogError) as error:
        default = persistence.IntegrityError if isinstance(error, AppendConflict) else persistence.OperationalError
        kind = getattr(persistence, type(error.__cause__).__name__, default)
        raise (kind if issubclass(kind, persistence.PersistenceError) else default)(str(error)) from error


class LogRecorder(ApplicationRecorder):
    """Any store of ours, as the framework's application recorder."""

    def __init__(self, store: Store) -> None:
        """Adapt an open store; whoever opened it closes it."""
        self.store = store

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:  # noqa: ANN401 - theirs
        """Record all events or none; return their positions."""
        if kwargs.get("tracking") is not None:
            _refuse("a tracking record beside events")
        rows = [
            Row(
                _stream_of(one.originator_id),
                one.originator_version,
                one.topic,
                one.state,
                getattr(one, "key", None),
                getattr(one, "follows", None),
            )
            for one in stored_events
        ]
        with _framework_errors():
            return list(self.store.append(rows))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return events of one stream; the last ones are found by reading the stream from its beginning."""
        stream = _stream_of(originator_id)
        with _framework_errors():
            rows = self.store.tail(stream, -INTEGER_MAX if gt is None else gt, lte, None if desc else limit)
        picked = rows[::-1][:limit] if desc else rows
        return [StoredEvent(_originator_of(stream), sequence, topic, state) for _, sequence, topic, state in picked]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events of the whole log; the store reads all of them, and those of other topics are left out here."""
        after = 0 if start is None else start - inclusive_of_start
        found: list[Notification] = []
        while len(found) < limit:
            batch = max(limit, BATCH_EVENTS) if topics else limit
            rows = self.read(after, batch, stop)
            found += notifications(rows, topics)
            if len(rows) < batch:
                break
            after = rows[-1][0]
        return found[:limit]

    def read(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Read the log, with the framework's errors."""
        with _framework_errors():
            return self.store.log(after, limit, upto)

    def max_notification_id(self) -> int | None:
        """Return the position of the last event, if there is one."""
        with _framework_errors():
            return self.store.head() or None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> LogSubscription:
        """Return all events behind a position, and then those that anybody records; end it with `stop`."""
        return LogSubscription(self, gt, topics)


def notifications(rows: Iterable[LogRow], topics: Sequence[str] = ()) -> Iterator[Notification]:
    """Return rows of the log as the framework names them; with topics, only those."""
    for position, stream, sequence, topic, state in rows:
        if not topics or topic in topics:
            yield Notification(_originator_of(stream), sequence, topic, state, position)


class LogSubscription(Subscription[LogRecorder]):
    """An endless iterator over the log, which waits as a follower of ours does."""

    def __init__(self, recorder: LogRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        """Begin behind a position, or with the first event."""
        super().__init__(recorder, gt, topics)
        with _framework_errors():
            self._waiter = recorder.store.waiter()
        self._after = gt or 0
        self._ready: collections.deque[Notification] = collections.deque()

    def __next__(self) -> Notification:
        """Return the next event, however long that takes.

        Raises:
            StopIteration: the subscription was stopped.
        """
        while not self._has_been_stopped:
            if self._ready:
                return self._ready.popleft()
            rows = self._recorder.read(self._after, BATCH_EVENTS)
            if rows:
                self._after = rows[-1][0]
                self._ready.extend(notifications(rows, self._topics))
            else:
                with _framework_errors():
                    self._waiter.wait(WAIT_S)
        raise StopIteration

    def stop(self) -> None:
        """End the iteration, also from another thread."""
        super().stop()
        self._waiter.close()


class Factory(persistence.InfrastructureFactory):
    """What the framework finds in this module: our store and our mapper."""

    def __init__(self, env: Any) -> None:  # noqa: ANN401 - theirs
        """Open nothing yet."""
        super().__init__(env)
        self._store: Store | None = None

    def mapper(self, transcoder: object = None, mapper_class: object = None) -> Any:  # noqa: ANN401, ARG002 - theirs; ours is the only one
        """Return our mapper; ciphers and compressors of the environment are refused."""
        return LogMapper(transcoder, compressor=self.compressor(), cipher=self.cipher())

    def application_recorder(self) -> LogRecorder:
        """Open the store of `VERSIONING_URL`, once.

        Raises:
            InfrastructureFactoryError: there is no such variable.
        """
        if self._store is None:
            url = self.env.get(URL_VARIABLE)
            if not url:
                msg = f"{URL_VARIABLE} names no store, for example sqlite:///models.db."
                raise persistence.InfrastructureFactoryError(msg)
            self._store = open_store(url)
        return LogRecorder(self._store)

    def aggregate_recorder(self, purpose: str = "events") -> NoReturn:
        """Refuse: there is one log, and it holds no snapshots."""
        _refuse(f"a separate recorder for {purpose}")

    def tracking_recorder(self, tracking_recorder_class: object = None) -> NoReturn:  # noqa: ARG002 - theirs
        """Refuse: the log keeps no place of a projection."""
        _refuse("the view of a projection")

    def process_recorder(self) -> NoReturn:
        """Refuse: the log keeps no place of a process."""
        _refuse("the events of a process application")

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()


def _refuse(what: str) -> NoReturn:
    msg = (
        f"The log of models can't hold {what}: set PERSISTENCE_MODULE of the projection or the process to another one."
    )
    raise persistence.NotSupportedError(msg)
