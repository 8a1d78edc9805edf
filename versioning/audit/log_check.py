"""Whether a log is one that this library wrote: what an export and an import ask of each of its events.

The law of this room: **the first event that is wrong ends it.** Nothing may leave or enter a store behind something
that does not follow. Each row is judged as `scan` judges those of a store for `verify`, which reports all that is
wrong.

So an event has to be the next one of its stream, continue the chain, follow from the state as the rules have it
(`laws`), and stand together with the rest of its append. Besides, it has to belong to the workspace and model that are
asked for, stand in the stream of its name, and have a key that no earlier one has (R21).

To add a check: a line in `LogCheck._problem` or, if `verify` is to make it too, in `ScannedStream.take`; and a forged
file in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from versioning.aggregate import Model, ModelAggregate
from versioning.audit.scan import AppendOrder, AppendRow, ScannedStream
from versioning.errors import (
    CorruptLogError,
    InvalidInputError,
    shown,
)
from versioning.events import Recorded, Value
from versioning.ids import stream_of
from versioning.limits import checked_key, checked_name, checked_workspace
from versioning.store.format import decode

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
        self._workspace = workspace
        self._model_name = model_name
        self._streams: dict[str, ScannedStream] = {}
        self._states: dict[str, ModelAggregate] = {}
        self._order = AppendOrder()
        self._keys: set[tuple[str, str]] = set()

    def add(self, row: LogRow) -> Recorded:
        """Check and fold the next event.

        Raises:
            CorruptLogError: it is not what this library writes, or does not follow.
            NewerFormatError: a newer release wrote it.
        """
        recorded = decode(*row)
        problem = self._problem(recorded, row)
        if problem is not None:
            msg = f"Event {recorded.sequence} of {shown(recorded.model_name)} {problem}."
            raise CorruptLogError(msg, position=recorded.position)
        return recorded

    def end(self) -> None:
        """Check that the log may end here.

        Raises:
            CorruptLogError: the last append is not complete.
        """
        if (last := self._order.open) is not None:
            name = self._streams[last.stream].name
            msg = f"Event {last.sequence} of {shown(name)} is not the last of its append."
            raise CorruptLogError(msg, position=last.position)

    def versions(self) -> list[ExportedVersion]:
        """Return the versions that are not deleted, in the order of names and numbers."""
        models = [state.model() for state in self._states.values() if state.exists]
        return exported_versions(sorted(models, key=lambda model: model.name))

    def _problem(self, recorded: Recorded, row: LogRow) -> str | None:
        """Return what is wrong with a readable event, or None."""
        if recorded.workspace != self._workspace or self._model_name not in {None, recorded.model_name}:
            return "belongs to another workspace or model"
        if recorded.stream not in self._streams:
            if problem := _misnamed(recorded):
                return problem
            self._begin(recorded)
        misfit = self._streams[recorded.stream].take(recorded, *row[3:])
        if misfit is not None:
            return misfit.said
        return self._out_of_order(recorded) or self._used(recorded)

    def _begin(self, recorded: Recorded) -> None:
        stream, workspace, name = recorded.stream, recorded.workspace, recorded.model_name
        state = self._states[stream] = ModelAggregate(stream, workspace, name)
        state.begin_folding()  # nobody else sees it
        self._streams[stream] = ScannedStream(workspace, name, state)

    def _out_of_order(self, recorded: Recorded) -> str | None:
        """Return what is wrong with an event's place in its append, or None."""
        if recorded.count == 1 and self._order.open is None:
            return None
        place = (recorded.position, recorded.stream, recorded.sequence)
        row = AppendRow(*place, recorded.command_id, recorded.index, recorded.count)
        return "stands apart from the rest of its append" if any(self._order.take(row)) else None

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


def _misnamed(recorded: Recorded) -> str | None:
    """Return what is wrong with the names in a stream's first event, or None."""
    try:
        name, workspace = checked_name(recorded.model_name), checked_workspace(recorded.workspace)
    except InvalidInputError as error:
        return f"has an impossible name: {error.sentence.removesuffix('.')}"
    if name != recorded.model_name or stream_of(workspace, name) != recorded.stream:
        return "stands in a stream that does not belong to its name"
    return None
