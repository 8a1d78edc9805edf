"""Whether a log is one that this library wrote: what an export and an import ask of each of its events.

The law of this room: **the first event that is wrong ends it.** `scan` reads on and collects what it finds, because
`verify` reports all of it; here nothing may leave or enter a store after something that does not follow.

Each event has to belong to the workspace and model that are asked for, stand in the stream of its name, be the next
one there, continue the chain, stand together with the rest of its append, be no earlier than the event before it (R23),
belong to the right life of its name, have a key that no earlier one has (R21), and follow from the state (`laws`).

To add a check: a line in `LogCheck._problem`, with a forged file in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from versioning import laws
from versioning.aggregate import Model, ModelAggregate
from versioning.audit.scan import AppendRow
from versioning.errors import (
    CorruptLogError,
    InvalidInputError,
    shown,
)
from versioning.events import Recorded, Value
from versioning.ids import stream_of
from versioning.limits import checked_key, checked_name, checked_workspace
from versioning.store.format import body_of, computed_link, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from versioning.store.contract import LogRow


class ExportedVersion(msgspec.Struct, Value, forbid_unknown_fields=True, frozen=True):
    """A version that is not deleted, as it was when a file was written."""

    _MEMBERS: ClassVar[tuple[str, ...]] = ("model", "model_id", "number", "stage", "status", "is_primary")

    model: str
    model_id: str
    number: str
    stage: str
    status: str
    is_primary: bool


class LogCheck:
    """Checks that each event of a log follows from those before it, and knows the state that they fold to."""

    def __init__(self, workspace: str, model_name: str | None) -> None:
        """Start before the first event of a workspace, or of one name in it."""
        self.states: dict[str, ModelAggregate] = {}
        self._workspace = workspace
        self._model_name = model_name
        self._keys: set[tuple[str, str]] = set()
        self._open_append: AppendRow | None = None
        """Last event, if its append should go on."""

    def add(self, row: LogRow) -> Recorded:
        """Check and fold the next event.

        Raises:
            CorruptLogError: it is not what this library writes, or does not follow.
            NewerFormatError: a newer release wrote it.
        """
        recorded = decode(*row)
        state = self.states.get(recorded.stream) or self._begin(recorded)
        link = computed_link(state.link, recorded.stream, recorded.sequence, row[3], body_of(row[4]))
        problem = self._problem(recorded, state, link)
        if problem is not None:
            msg = f"Event {recorded.sequence} of {shown(recorded.model_name)} {problem}."
            raise CorruptLogError(msg, position=recorded.position)
        laws.apply(state, recorded)
        state.link = link
        return recorded

    def end(self) -> None:
        """Check that the log may end here.

        Raises:
            CorruptLogError: the last append is not complete.
        """
        if (last := self._open_append) is not None:
            name = self.states[last.stream].model_name
            msg = f"Event {last.sequence} of {shown(name)} is not the last of its append."
            raise CorruptLogError(msg, position=last.position)

    def versions(self) -> list[ExportedVersion]:
        """Return the versions that are not deleted, in the order of names and numbers."""
        models = [state.model() for state in self.states.values() if state.exists]
        return exported_versions(sorted(models, key=lambda model: model.name))

    def _begin(self, recorded: Recorded) -> ModelAggregate:
        state = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
        self.states[recorded.stream] = state
        return state

    def _problem(self, recorded: Recorded, state: ModelAggregate, link: bytes) -> str | None:
        """Return what is wrong with a readable event, or None."""
        if recorded.workspace != self._workspace or self._model_name not in {None, recorded.model_name}:
            return "belongs to another workspace or model"
        if state.sequence == 0 and (problem := _misnamed(recorded)):
            return problem
        if recorded.model_name != state.model_name or recorded.sequence != state.sequence + 1:
            return "is not the next one of its stream"
        if link.hex() != recorded.chain:
            return "is not what its link was made from"
        if (recorded.count > 1 or self._open_append is not None) and (problem := self._out_of_step(recorded)):
            return problem
        return _out_of_time(recorded, state) or self._used(recorded)

    def _out_of_step(self, recorded: Recorded) -> str | None:
        """Return what is wrong with an event's place in its append, or None."""
        before, index, count = self._open_append, recorded.index, recorded.count
        row = AppendRow(recorded.position, recorded.stream, recorded.sequence, recorded.command_id, index, count)
        if index != 0 if before is None else not (before.is_followed_by(row) and before.length == count):
            return "stands apart from the rest of its append"
        self._open_append = None if row.ends_append else row
        return None

    def _used(self, recorded: Recorded) -> str | None:
        """Return what is wrong with an event's idempotency key, or None."""
        key = recorded.idempotency_key
        if key is None or recorded.index > 0:
            return None
        if (recorded.stream, key) in self._keys:
            return "has the idempotency key of an earlier one (R21)"
        self._keys.add((recorded.stream, key))
        try:
            checked_key(key)
        except InvalidInputError as error:
            return f"has an impossible idempotency key: {error.sentence.removesuffix('.')}"
        return None


def exported_versions(models: Iterable[Model]) -> list[ExportedVersion]:
    """Return the versions of models as a file keeps them."""
    return [
        ExportedVersion(one.model_name, one.model_id, one.number, one.stage, one.status, one.is_primary)
        for model in models
        for one in model.versions
    ]


def _out_of_time(recorded: Recorded, state: ModelAggregate) -> str | None:
    if recorded.event.at_us < state.last_at_us and state.sequence:
        return "is earlier than the one before it (R23)"
    if recorded.generation != state.generation + (not state.exists):
        return "belongs to another life of its name"
    return None


def _misnamed(recorded: Recorded) -> str | None:
    """Return what is wrong with the names in a stream's first event, or None."""
    try:
        name, workspace = checked_name(recorded.model_name), checked_workspace(recorded.workspace)
    except InvalidInputError as error:
        return f"has an impossible name: {error.sentence.removesuffix('.')}"
    if name != recorded.model_name or stream_of(workspace, name) != recorded.stream:
        return "stands in a stream that does not belong to its name"
    return None
