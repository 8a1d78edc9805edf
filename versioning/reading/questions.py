"""Questions to a registry, as of now, of a position or of a moment: the same questions, the same answers (R25).

The law of this room: **nothing here records anything.** `Questions` knows how each answer is made. The streams that it
is given know where the states come from: the present or a past.

To add a question: a method here; it can then be asked of the present and of every past.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from versioning.addresses import target_of
from versioning.aggregate import Model, ModelAggregate, Version
from versioning.commands import (
    NAMES,
    Activate,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    FailActivation,
    Promote,
    Publish,
)
from versioning.errors import ClockError, InvalidArgumentError, ModelNotFoundError, RefusedError, shown
from versioning.ids import model_id_of, parse_model_id, parse_version_id, stream_in
from versioning.limits import (
    INTEGER_MAX,
    checked_flag,
    checked_limit,
    checked_moment,
    checked_name,
    checked_place,
    checked_position,
)
from versioning.projections import Usage, UsageLedger, draw_usage
from versioning.reading.bookmarks import check_place, lagging
from versioning.reading.replay import Replayed, replayed
from versioning.reading.streams import StreamRef
from versioning.reading.views import LEDGERS, MODELS, PRESENT, Past
from versioning.resolving import wanted_of
from versioning.rules import Policy, clock_agrees, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.addresses import VersionNamed
    from versioning.events import Recorded
    from versioning.reading.kept import Views
    from versioning.reading.streams import Streams
    from versioning.resolving import VersionWanted
    from versioning.store.contract import Store


class Questions:
    """Every question, answered from the streams that it is given."""

    def __init__(
        self, streams: Streams, policy: Policy, now_us: Callable[[], int], skew_max_us: int = INTEGER_MAX
    ) -> None:
        """Answer from streams.

        Args:
            streams: the streams of the present or of a past.
            policy: the policy that `allowed` decides by.
            now_us: returns the moment up to which open usage is counted, in microseconds since 1970.
            skew_max_us: how far the last event may lie ahead of it for a command to be allowed; in a past nobody knows
                what the clocks showed.
        """
        self.workspace = streams.workspace
        self.policy = policy
        self._streams = streams
        self._now_us = now_us
        self._skew_max_us = skew_max_us

    # Models and versions.

    def model(self, name_or_model_id: str) -> Model:
        """Return a model by its name, or by its model_id, which finds deleted models too.

        Raises:
            ModelNotFoundError: there is no such model.
            InvalidNameError: no model can have this name.
        """
        address = parse_model_id(name_or_model_id)
        if address is None:
            return self._streams.ask_model(self._streams.ref(name_or_model_id), ModelAggregate.model)

        def ask(state: ModelAggregate) -> Model:
            if self._streams.is_ours(state, StreamRef(address.stream)) and address.generation <= state.generation:
                return state.model(address.generation)
            model_id = model_id_of(*address)
            msg = f"There is no model {model_id} in the workspace {shown(self.workspace)}."
            raise ModelNotFoundError(msg, model_id=model_id)

        return self._streams.ask(address.stream, ask)

    def models(self, after_name: str | None = None, limit: int | None = None) -> tuple[Model, ...]:
        """Return the models of the workspace in the order of their names.

        Args:
            after_name: the last name of the page before; the models after it are returned.
            limit: the most models to return; without it, all.
        """
        behind = "" if after_name is None else checked_name(after_name)
        with self._streams.views.reading(MODELS, self._streams.past) as reading:
            return tuple(
                state.model() for state in reading.live(self.workspace, after=behind, limit=checked_limit(limit))
            )

    def version(self, version_id: VersionNamed) -> Version:
        """Return a version by its id or its address (R5), deleted or not, as it is now.

        Args:
            version_id: a version_id, an address such as `fraud@1.2.0` or `fraud@primary`, or a Version.

        Raises:
            VersionNotFoundError: it was never deployed here.
            ModelNotFoundError: there is no model with the name in the address.
            NoPrimaryVersionError: the model in a `@primary` address has no primary.
        """
        target = target_of(version_id)
        if isinstance(target, str):
            return self._streams.ask_version(target, lambda _, version: version)
        return self._streams.ask_model(self._streams.ref(target.model_name), target.find)

    def versions(self, model_name: str, include_deleted: bool = False) -> tuple[Version, ...]:  # noqa: FBT001, FBT002 - promised so
        """Return the versions of a model in the order of their numbers.

        Raises:
            ModelNotFoundError: there is no such model.
        """
        everything = checked_flag(include_deleted, "include_deleted")

        def ask(state: ModelAggregate) -> tuple[Version, ...]:
            wanted = state.by_number.values() if everything else state.left
            return tuple(state.versions[version_id] for version_id in wanted)

        return self._streams.ask_model(self._streams.ref(model_name), ask)

    def primary(self, model_name: str) -> Version | None:
        """Return the primary version of a model, or None if it has none.

        Raises:
            ModelNotFoundError: there is no such model.
        """
        return self._streams.ask_model(
            self._streams.ref(model_name),
            lambda state: None if state.primary is None else state.versions[state.primary],
        )

    def active(self, model_name: str | None = None) -> tuple[Version, ...]:
        """Return the active versions of a model, or of all models, in the order of names and numbers."""
        return tuple(version for model in self._models_of(model_name) for version in model.active)

    def billable(self, model_name: str | None = None) -> tuple[Version, ...]:
        """Return the billed versions of a model, or of all models, in the order of names and numbers (R18)."""
        return tuple(version for model in self._models_of(model_name) for version in model.billable)

    def _models_of(self, model_name: str | None) -> tuple[Model, ...]:
        if model_name is None:
            return self.models()
        return (self._streams.ask_model(self._streams.ref(model_name), ModelAggregate.model),)

    def pending_activations(self, older_than: timedelta = timedelta(0)) -> tuple[Version, ...]:
        """Return all versions that wait for their serving environment, in the order of names and numbers.

        A service that died while starting one finds it here, with the `activation_id` to answer with (R14).

        Args:
            older_than: the shortest wait to return. One that began in the future of this clock counts as just begun.
        """
        age: object = older_than
        if not isinstance(age, timedelta):
            msg = f"older_than is a timedelta, not {shown(older_than)}."
            raise InvalidArgumentError(msg, hint="For example {ten_minutes}.", argument="older_than")
        now_us, age_us = self._now_us(), age // timedelta(microseconds=1)
        versions = (version for model in self.models() for version in model.versions)
        return tuple(
            one
            for one in versions
            if one.waiting_since_us is not None and max(0, now_us - one.waiting_since_us) >= age_us
        )

    def resolve(self, model_name: str, version: VersionWanted = None) -> Version:
        """Return the version to invoke: the primary, or the one that is named (R24).

        Args:
            model_name: the model to invoke.
            version: a number, a version_id, a Version, `@primary`, or a range such as `^1.2`; without it, the primary.

        Raises:
            NoPrimaryVersionError: the primary is wanted, and there is none.
            VersionNotFoundError: there is no such version, or none inside the range.
            VersionNotActiveError, VersionDeletedError: the version that was named exactly can't answer.
            ModelNotFoundError: there is no such model.
        """
        return self._streams.ask_model(self._streams.ref(model_name), wanted_of(version).find)

    def allowed(self, version_id: VersionNamed) -> tuple[str, ...]:
        """Return the commands on a version that would not be refused now, for a menu.

        Answers to an activation are offered only while the version waits for one. Where a clock is wrong (R23), only
        what records nothing is left.
        """
        now_us = self._now_us()

        def ask(state: ModelAggregate, version: Version) -> tuple[str, ...]:
            ours = version.version_id
            commands: list[Command] = [Publish(ours), Promote(ours), Deactivate(ours), Activate(ours), Delete(ours)]
            if version.activation_id is not None:
                commands.append(CompleteActivation(ours, version.activation_id))
                commands.append(FailActivation(ours, version.activation_id, ""))
            return tuple(NAMES[type(command)] for command in commands if self._would_do(state, command, now_us))

        target = target_of(version_id)
        if isinstance(target, str):
            return self._streams.ask_version(target, ask)
        return self._streams.ask_model(
            self._streams.ref(target.model_name), lambda state: ask(state, target.find(state))
        )

    def _would_do(self, state: ModelAggregate, command: Command, now_us: int) -> bool:
        try:
            if decide(state, command, self.policy, now_us):
                clock_agrees(state, now_us, self._skew_max_us)
        except (RefusedError, ClockError):
            return False
        return True

    # The log, and what it amounts to.

    def history(
        self, name_model_id_or_version_id: str | None = None, after: int | str = 0, limit: int | None = None
    ) -> Iterator[Recorded]:
        """Return the recorded events after a position, oldest first (R26).

        The model or version is looked up immediately; the events are read as they are taken.

        Args:
            name_model_id_or_version_id: a model's name (all its lives), a model_id, or a version_id (with the events
                that name it as `previous`); without it, the whole workspace.
            after: the position, or better the bookmark, of the last event that was seen.
            limit: the most events to return; without it, all.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
            LogRewoundError: the log ends before that event, or has another one there.
        """
        behind, most = self._behind(after), checked_limit(limit)
        about = name_model_id_or_version_id
        events = self._streams.log(behind) if about is None else self._events_of(about)()
        return itertools.islice((one for one in events if one.position > behind), most)

    def _behind(self, after: object) -> int:
        """Return the position of a place in the log, which has to be there."""
        place = checked_place(after, "after")
        if place.position:
            check_place(self._streams.store, place, self.position())
        return place.position

    def _events_of(self, about: str) -> Callable[[], Iterator[Recorded]]:
        """Look up what a history is about, and return a function that reads its events."""
        streams = self._streams
        if (address := parse_model_id(about)) is not None:
            model = self.model(about)
            return lambda: (one for one in streams.recorded(address.stream) if one.model_id == model.model_id)
        if (version := parse_version_id(about)) is not None:
            named = self.version(about).version_id
            return lambda: (one for one in streams.recorded(version.stream) if named in _versions_in(one))
        ref = streams.ref(about)
        streams.require_history(ref)
        return lambda: streams.recorded(ref.stream)

    def usage(
        self, start: datetime, end: datetime, model_name: str | None = None, *, until: datetime | None = None
    ) -> Usage:
        """Return the usage in `[start, end)`: of the workspace, or of all lives of a name (R19).

        A bill can be drawn again at any time: `at(bill.position).usage(start, end, until=bill.until)` is the same.

        Args:
            start: the first moment of the period.
            end: its end, which is not included.
            model_name: the model; without it, all models of the workspace.
            until: the moment up to which what is still open is counted, if that is before `end`; without it, now.

        Raises:
            InvalidArgumentError: a moment without a time zone, an end or `until` before the start, or an `until` that
                lies in the future.
            ModelNotFoundError: there was never a model with this name.
        """
        start_us, end_us = checked_moment(start, "start"), checked_moment(end, "end")
        if end_us < start_us:
            msg = "The period ends before it starts."
            raise InvalidArgumentError(msg, rule="R19", hint="Swap start and end.", argument="end")
        until_us = self._now_us() if until is None else self._checked_until(until, start_us)
        streams = self._streams
        if model_name is None:
            with streams.views.reading(LEDGERS, streams.past) as reading:
                ledgers = reading.within(self.workspace, start_us, end_us)
                return draw_usage(ledgers, start_us, end_us, until_us, reading.position)
        ref = streams.ref(model_name)
        streams.require_history(ref)
        position = self.position()
        ledger = UsageLedger().fold(streams.recorded(ref.stream, Past(position, streams.past.at_us)))
        return draw_usage(ledger.ledgers.values(), start_us, end_us, until_us, position)

    def _checked_until(self, until: datetime, start_us: int) -> int:
        """Return the moment up to which a bill counts; its own start is none of the future, as nothing lies between."""
        until_us = checked_moment(until, "until")
        if until_us < start_us:
            msg = "The bill is drawn up to a moment before its period starts."
            raise InvalidArgumentError(msg, rule="R19", hint="Pass the until of the bill.", argument="until")
        streams = self._streams
        if until_us > start_us and _is_future(until_us, self._now_us(), streams.views, self.workspace, streams.past):
            msg = "The bill is drawn up to a moment in the future, and nobody knows what is used until then."
            raise InvalidArgumentError(msg, rule="R19", hint="Pass the until of the bill, or none.", argument="until")
        return until_us

    def replay(self, name_model_id_or_version_id: str | None = None) -> Iterator[Replayed]:
        """Return each event with the model before and after it, and a sentence such as "raj promoted 1.0.0 to primary".

        Args:
            name_model_id_or_version_id: what the events are about, as in `history`; without it, the whole workspace, in
                sentences that name the model.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there never was one.
        """
        about = name_model_id_or_version_id
        if about is None:
            return replayed(self._streams.log(0), lambda _: True, named=True)
        asked = {recorded.position for recorded in self._events_of(about)()}
        address = parse_model_id(about) or parse_version_id(about)
        stream = self._streams.ref(about).stream if address is None else address.stream
        return replayed(self._streams.recorded(stream), lambda recorded: recorded.position in asked, named=False)

    def position(self) -> int:
        """Return the position of the last event of the log that counts; 0 if there is none."""
        return self._streams.position()

    def _numbers(self) -> Callable[[str], str | None]:
        """Return a function that knows the number of every version of this workspace, and remembers what it read."""
        known: dict[str, str] = {}
        streams = self._streams

        def ask(state: ModelAggregate) -> dict[str, str]:
            ours = streams.is_ours(state, StreamRef(state.stream))
            return {one.version_id: one.number for one in state.versions.values()} if ours else {}

        def number_of(version_id: str) -> str | None:
            if version_id not in known:
                known.update(streams.ask(stream_in(version_id), ask))
            return known.get(version_id)

        return number_of


def _versions_in(recorded: Recorded) -> tuple[str | None, str | None]:
    """Return the versions that an event is about: the one that it names, and the former primary (R26)."""
    return recorded.version_id, getattr(recorded.event, "previous", None)


def past_of(moment_or_position: object, store: Store, now_us: int, views: Views, workspace: str) -> Past:
    """Return the past that `at` was given (R25).

    Args:
        moment_or_position: an aware datetime, or a position.
        store: the store whose last event is the end.
        now_us: the present, in microseconds since 1970.
        views: the views of the store, which know the latest timestamp of a workspace.
        workspace: the workspace that is asked about.

    Raises:
        InvalidArgumentError: a moment without a time zone, or anything that lies in the future.
        ConcurrencyError: a position that a standby has not reached.
    """
    if isinstance(moment_or_position, int):
        position, head = checked_position(moment_or_position, "moment_or_position"), store.head()
        if position > head and store.lags:
            raise lagging(position, head)
        if position > head:
            msg = f"The log ends at position {head}, so nothing is known as of {position}."
            raise InvalidArgumentError(msg, rule="R25", hint="Ask as of a position up to the last.")
        return Past(position=position)
    if not isinstance(moment_or_position, datetime):
        msg = f"moment_or_position is an aware datetime or a position, not {shown(moment_or_position)}."
        raise InvalidArgumentError(msg, rule="R25", hint="For example {now}, or 14.", argument="moment_or_position")
    at_us = checked_moment(moment_or_position, "moment_or_position")
    if _is_future(at_us, now_us, views, workspace):
        msg = "The moment lies in the future, so nothing is known as of then."
        raise InvalidArgumentError(msg, rule="R25", hint="Ask as of now or earlier.")
    return Past(at_us=at_us)


def _is_future(at_us: int, now_us: int, views: Views, workspace: str, past: Past = PRESENT) -> bool:
    """Return whether a moment lies later than now and than all that was recorded in the workspace (R25)."""
    if at_us <= now_us:
        return False
    with views.reading(MODELS, past) as reading:  # clocks differ, so the latest timestamp need not be the last event's
        return at_us > reading.latest_us(workspace)


def check_order(then: Past, now: Past, views: Views, workspace: str) -> None:
    """Check that a past has no event that a later one lacks; each ends at a position or at a moment (R25).

    Raises:
        InvalidArgumentError: it has one.
    """
    hint = "Swap then and now."
    if then.position is not None and now.position is not None:
        is_late = then.position > now.position
    elif then.at_us is not None and now.at_us is not None:
        is_late = then.at_us > now.at_us
    else:
        with views.reading(MODELS, then) as reading:
            last = reading.latest_position(workspace), reading.latest_us(workspace)
        is_late = not now.holds(*last)
        hint += " If clocks ran apart, each can have an event that the other lacks: then name two positions."
    if is_late:
        msg = "The first of the two comes after the second."
        raise InvalidArgumentError(msg, rule="R25", hint=hint, argument="then")
