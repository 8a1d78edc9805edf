"""What is known of one name, now or as of a past: the one place where the rows of a stream become its state.

The law of this room: **nothing is cached before it is committed, and callers get facts, never rows.** `Streams`
folds a stream anew, up to a past; `CachedStreams` holds the present state of the names that were asked for last, and
reads only what was recorded since.

A cached state is believed by its link, and not by its sequence: a read of what was recorded since begins with the last
row that is known. If that row is not there any more, because an older copy of the log was restored or a standby took
over, the state is dropped and the stream is read anew. All who use a stream in one registry share one state
(`CachedStreams.shared`), however many others are cached, so nobody misses what another thread recorded.

A long stream is folded on top of its kept row in the view of models, rather than from its first event. A kept row is a
head start and never the truth: it counts only if the log's row at its sequence carries the very same link, which stands
for all events before it. If anything about it is odd, the stream is folded from the beginning.
"""

from __future__ import annotations

import collections
import contextlib
import difflib
import functools
import itertools
import operator
import threading
import weakref
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from versioning import laws
from versioning.aggregate import NO_LINK, ModelAggregate
from versioning.errors import (
    CorruptLogError,
    ModelNotFoundError,
    NewerFormatError,
    VersioningError,
    VersionNotFoundError,
    shown,
    verbatim,
)
from versioning.ids import stream_in, stream_of
from versioning.limits import INTEGER_MAX, checked_name
from versioning.processes import inherited_by, look
from versioning.reading.views import MODELS, PRESENT
from versioning.store.format import carries, decode, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from versioning.aggregate import Version
    from versioning.events import Recorded
    from versioning.reading.kept import Views
    from versioning.reading.views import Past
    from versioning.store.contract import Store, TailRow
    from versioning.store.format import Fact

Answer = TypeVar("Answer")

REFS_KEPT: Final = 4_096
"""Most names that are remembered with their streams: at most 4 KB each."""
CACHED_MODELS_MAX: Final = 4_096
"""Most states that are held in memory; the one that was asked for longest ago is dropped first."""
FIRST_EVENTS: Final = 100
"""Number of events in the first read; later reads are larger, because a reader that continues reads everything."""
FURTHER_EVENTS: Final = 10_000
"""Most events in one read."""
NAMES_COMPARED_MAX: Final = 2_000
"""Most names that are compared with one that was not found."""


class StreamRef(NamedTuple):
    """The stream that a question or a command is about, and how the caller named it."""

    stream: str
    model_name: str | None = None
    """Name of the model in NFC; None if the caller gave an id."""


@functools.lru_cache(maxsize=REFS_KEPT)
def _remembered(workspace: str, model_name: str) -> StreamRef:
    """Return the stream of a name; it is remembered, because the same names are asked for again and again."""
    name = checked_name(model_name)
    return StreamRef(stream_of(workspace, name), name)


class Streams:
    """The streams of one workspace, as of a past; each question folds its stream anew."""

    def __init__(self, store: Store, workspace: str, views: Views, past: Past = PRESENT) -> None:
        """Read from a store; long streams are folded on top of its kept rows."""
        self.store = store
        self.workspace = workspace
        self.views = views
        self.past = past

    # How a stream is named.

    def ref(self, model_name: object) -> StreamRef:
        """Return the stream of a model's name.

        Raises:
            InvalidNameError: no model can have this name (R4).
        """
        if type(model_name) is str:
            return _remembered(self.workspace, model_name)
        name = checked_name(model_name)
        return StreamRef(stream_of(self.workspace, name), name)

    # Its state.

    def ask(self, stream: str, question: Callable[[ModelAggregate], Answer]) -> Answer:
        """Return the answer to a question about the state of a stream, which must neither change nor keep the state."""
        return question(self.state(stream))

    def state(self, stream: str) -> ModelAggregate:
        """Read the state of a stream; a long one is folded on top of its kept row.

        Raises:
            CorruptLogError, NewerFormatError: an event can't be read, or does not follow.
        """
        rows = self.store.tail(stream, 0, None, FIRST_EVENTS)
        if len(rows) == FIRST_EVENTS:
            state = self.views.kept_model(stream, self.past)
            if state is not None and 0 < state.sequence <= INTEGER_MAX:
                behind = self.store.tail(stream, state.sequence - 1)
                if behind and _ends_with(state, stream, behind[0]):
                    with contextlib.suppress(VersioningError):
                        laws.fold(state, self._facts(stream, behind[1:]))
                        return state
            rows += self.store.tail(stream, rows[-1][1])
        state = ModelAggregate(stream)
        laws.fold(state, self._facts(stream, rows))
        return state

    def _facts(self, stream: str, rows: Iterable[TailRow]) -> Iterator[Fact]:
        facts, past = facts_of(stream, rows), self.past
        if past is PRESENT:
            return facts
        return (fact for fact in facts if past.holds(fact.position, fact.event.at_us))

    def is_ours(self, state: ModelAggregate, ref: StreamRef) -> bool:
        """Return whether the stream has a history in this workspace (R27).

        Raises:
            CorruptLogError: it holds another model, whose name would have the same digest.
        """
        if not state.sequence or (ref.model_name is None and state.workspace != self.workspace):
            return False
        if (state.workspace, state.model_name) != (self.workspace, ref.model_name or state.model_name):
            msg = f"The stream of {shown(ref.model_name)} holds another model: two names have the same digest."
            raise CorruptLogError(msg, stream=ref.stream)
        return True

    def ask_model(self, ref: StreamRef, question: Callable[[ModelAggregate], Answer]) -> Answer:
        """Return the answer to a question about an existing model.

        Raises:
            ModelNotFoundError: there is no such model; the error suggests names that look alike.
        """

        def ask(state: ModelAggregate) -> Answer:
            if not (self.is_ours(state, ref) and state.exists):
                raise self.no_model(ref)
            return question(state)

        try:
            return self.ask(ref.stream, ask)
        except ModelNotFoundError as error:
            raise self.with_suggestions(error) from None

    def ask_version(self, version_id: str, question: Callable[[ModelAggregate, Version], Answer]) -> Answer:
        """Return the answer to a question about a version of this workspace, deleted or not.

        Raises:
            VersionNotFoundError: it was never deployed here.
        """
        ref = StreamRef(stream_in(version_id))

        def ask(state: ModelAggregate) -> Answer:
            version = state.versions.get(version_id) if self.is_ours(state, ref) else None
            if version is None:
                raise self.no_version(version_id)
            return question(state, version)

        return self.ask(ref.stream, ask)

    def require_history(self, ref: StreamRef) -> None:
        """Check that there was ever a model with this name.

        Raises:
            ModelNotFoundError: there never was one.
        """
        if not self.ask(ref.stream, lambda state: self.is_ours(state, ref)):
            raise self.with_suggestions(self.no_model(ref))

    # What is not there.

    def no_model(self, ref: StreamRef) -> ModelNotFoundError:
        """Return the error for a model that is not there."""
        msg = f"There is no model {shown(ref.model_name)} in the workspace {shown(self.workspace)}."
        return ModelNotFoundError(msg, model_name=ref.model_name)

    def no_version(self, version_id: str) -> VersionNotFoundError:
        """Return the error for a version that is not there."""
        msg = f"There is no version {version_id} in the workspace {shown(self.workspace)}."
        return VersionNotFoundError(msg, version_id=version_id)

    def with_suggestions(self, error: ModelNotFoundError) -> ModelNotFoundError:
        """Return the error with the names that look alike, if they can be read."""
        name = str(error.facts["model_name"])
        try:
            with self.views.reading(MODELS, self.past) as reading:
                names = reading.names(self.workspace, NAMES_COMPARED_MAX)
        except VersioningError:  # a trouble elsewhere in the log must not hide this answer
            return error
        known = {known.casefold(): known for known in names}
        alike = tuple(known[found] for found in difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.7))
        if not alike:
            return error
        meant = " or ".join(verbatim(shown(found)) for found in alike)
        hint = f"Did you mean {meant}? {ModelNotFoundError.hint_text}"
        return ModelNotFoundError(error.sentence, model_name=name, hint=hint, suggestions=alike)

    # Its events.

    def recorded(self, stream: str, past: Past | None = None) -> Iterator[Recorded]:
        """Read the events of a stream, oldest first, up to this past or another one."""
        upto = self.past if past is None else past
        for fact in facts_of(stream, self.store.tail(stream, 0)):
            if upto.holds(fact.position, fact.event.at_us):
                yield fact.recorded

    def fact(self, stream: str, sequence: int) -> Fact:
        """Return the event of a stream with a sequence that is there."""
        return next(facts_of(stream, self.store.tail(stream, sequence - 1, sequence)))

    def log(self, after: int) -> Iterator[Recorded]:
        """Read the events of the workspace after a position, oldest first."""
        past, most = self.past, FIRST_EVENTS
        while rows := self.store.log(after, most, past.position):
            after, most = rows[-1][0], min(most * 4, FURTHER_EVENTS)
            for row in rows:
                recorded = decode(*row)
                if recorded.workspace == self.workspace and past.holds(recorded.position, recorded.event.at_us):
                    yield recorded

    def position(self) -> int:
        """Return the position of the last event of the log that counts; 0 if there is none."""
        head = self.store.head()
        return head if self.past.position is None else min(head, self.past.position)

    def find_key(self, stream: str, key: str) -> Fact | None:
        """Return the first event of the append with an idempotency key, or None (R21)."""
        row = self.store.find_key(stream, key)
        return None if row is None else next(facts_of(stream, [row]))


def _ends_with(state: ModelAggregate, stream: str, row: TailRow) -> bool:
    """Return whether a row of the log is the last event that a kept state holds; its link stands for all before it."""
    try:
        (fact,) = facts_of(stream, [row])
    except (CorruptLogError, NewerFormatError):
        return False
    there = (fact.sequence, fact.chain, fact.workspace, fact.model_name)
    return there == (state.sequence, state.link.hex(), state.workspace, state.model_name) and state.stream == stream


class CachedStream:
    """The state of a stream, and its lock, which is never held across a question to the store."""

    __slots__ = ("__weakref__", "aggregate", "lock", "turn")

    def __init__(self, aggregate: ModelAggregate) -> None:
        """Hold a state that nobody else changes."""
        self.aggregate = aggregate
        self.lock = threading.Lock()
        self.turn = threading.Lock()
        """Lock of the command that runs on this model: several in one process would only conflict."""

    def apply(self, link: bytes, facts: list[Fact]) -> bool:
        """Fold facts that follow the event with a link, but for those that the state holds already.

        Return False, and fold nothing, if the state has been replaced by one that is not as far as these facts.
        """
        with self.lock:
            held = self.aggregate
            if held.link != link:
                chain = held.link.hex()
                known = [place for place, fact in enumerate(facts, 1) if fact.chain == chain]
                if not known:
                    return held.sequence >= facts[-1].sequence
                facts = facts[known[0] :]
            laws.fold(held, facts)
            return True


def _end_of(state: ModelAggregate) -> tuple[int, bytes]:
    """Return the sequence and the link of the last event that a state holds, without its lock.

    Where a command is just being applied to it, they may not belong together. The row there has another link then, so
    the stream is read anew, for nothing.
    """
    link = state.link  # the last that a command changes
    return state.sequence, link


class CachedStreams(Streams):
    """The streams of one workspace as they are now; recently used states stay in memory."""

    def __init__(self, store: Store, workspace: str, views: Views) -> None:
        """Begin with an empty cache."""
        super().__init__(store, workspace, views)
        self.begin_in_child()
        inherited_by(self)

    def begin_in_child(self) -> None:
        """Begin with nothing in memory: a thread of the parent may just have been changing what is."""
        self._cached: collections.OrderedDict[str, CachedStream] = collections.OrderedDict()
        self._shared: weakref.WeakValueDictionary[str, CachedStream] = weakref.WeakValueDictionary()
        """States that are cached or that somebody still uses."""
        self._lock = threading.Lock()

    def at(self, past: Past) -> Streams:
        """Return the same streams as of a past."""
        return Streams(self.store, self.workspace, self.views, past)

    def ask(self, stream: str, question: Callable[[ModelAggregate], Answer]) -> Answer:
        """Put a question to the state of a stream as it is now."""
        cached, is_fresh = self.current(stream)
        if not is_fresh:
            self.catch_up(cached)
        with cached.lock:
            return question(cached.aggregate)

    def current(self, stream: str) -> tuple[CachedStream, bool]:
        """Return the state of a stream, cached or else read now, and whether it was read now."""
        look()
        with self._lock:
            cached = self._cached.get(stream)
            if cached is not None:
                self._cached.move_to_end(stream)
                return cached, False
        cached = self.shared(stream)
        is_fresh = cached.aggregate.link == NO_LINK and self._read_anew(cached, NO_LINK)
        if cached.aggregate.sequence:
            self.keep(cached)
        return cached, is_fresh

    def shared(self, stream: str) -> CachedStream:
        """Return the one state of a stream that all share; where nobody uses it, it is empty, and nothing is read."""
        with self._lock:
            cached = self._shared.get(stream)
            if cached is None:
                cached = self._shared[stream] = CachedStream(ModelAggregate(stream))
            return cached

    def keep(self, cached: CachedStream) -> None:
        """Cache a state that has a history."""
        stream = cached.aggregate.stream
        if self._cached.get(stream) is cached:
            return
        with self._lock:
            self._cached[stream] = cached
            if len(self._cached) > CACHED_MODELS_MAX:
                self._cached.popitem(last=False)

    def forget(self, cached: CachedStream) -> None:
        """Drop the state of a stream that may be half applied, also for who holds it, so that it is read anew."""
        stream = cached.aggregate.stream
        with self._lock:
            self._cached.pop(stream, None)
        with cached.lock:
            cached.aggregate = ModelAggregate(stream, cached.aggregate.workspace, cached.aggregate.model_name)

    def catch_up(self, cached: CachedStream, after: tuple[int, bytes] | None = None) -> list[Fact]:
        """Apply and return what anybody recorded since, or after the event with a sequence and link.

        If that event is not in the log any more, the state is read anew, and nothing is returned.

        Raises:
            CorruptLogError, NewerFormatError: an event can't be read, or does not follow; the state is forgotten.
        """
        aggregate = cached.aggregate
        sequence, link = _end_of(aggregate) if after is None else after
        rows = self.store.tail(aggregate.stream, sequence - 1 if sequence else 0)
        return self._apply(cached, sequence, link, rows)

    def catch_up_all(self, many: dict[str, CachedStream]) -> None:
        """Apply to each state what anybody recorded since, all of it read in one statement."""
        ends = {stream: _end_of(cached.aggregate) for stream, cached in many.items()}
        spans = {stream: (max(0, sequence - 1), INTEGER_MAX) for stream, (sequence, _) in ends.items()}
        by_stream = itertools.groupby(self.store.ranges(spans), operator.itemgetter(1))
        found = {stream: [(row[0], *row[2:]) for row in rows] for stream, rows in by_stream}
        for stream, cached in many.items():
            self._apply(cached, *ends[stream], found.get(stream, []))

    def catch_up_used(self, streams: Iterable[str]) -> None:
        """Catch up with those of these streams whose state is in memory."""
        with self._lock:
            used = {stream: self._shared.get(stream) for stream in streams}
        self.catch_up_all({stream: cached for stream, cached in used.items() if cached is not None})

    def _apply(self, cached: CachedStream, sequence: int, link: bytes, rows: list[TailRow]) -> list[Fact]:
        """Apply the rows behind a known event; it is the first of them, unless its sequence is 0."""
        if sequence:
            if not rows or not carries(rows[0][-1], link):
                self._read_anew(cached, link)
                return []
            del rows[0]
        if not rows:
            return []
        if sequence:
            self.store.notice_other_writer()
        try:
            facts = list(facts_of(cached.aggregate.stream, rows))
            is_applied = cached.apply(link, facts)
        except BaseException:  # an interrupt may come between an event and its number
            self.forget(cached)
            raise
        if not is_applied:
            self._read_anew(cached, cached.aggregate.link)
        self.keep(cached)
        return facts

    def _read_anew(self, cached: CachedStream, link: bytes) -> bool:
        """Replace a state that ends with a link by what the log holds now; return False if others were faster."""
        try:
            state = self.state(cached.aggregate.stream)
        except BaseException:
            self.forget(cached)
            raise
        with cached.lock:
            is_still_there = cached.aggregate.link == link
            if is_still_there and (state.sequence or link != NO_LINK):  # a command may be planned on an empty one
                cached.aggregate = state
        return is_still_there
