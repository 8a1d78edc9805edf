"""Which kinds of values does the command line show, and how is each written as JSON, and as cells?

The law of this room: **JSON is what `to_dict()` of the library's value says**: real numbers, nulls and
nested objects, under the names that Python uses. Cells of tables, pipes and CSV are texts of the same facts.

To add a kind: a `Kind` here, with a function that makes the cells of one value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import attrs

from versioning.aggregate import Model, Version
from versioning.events import as_json, rfc3339
from versioning.output.rows import flat_row
from versioning.projections import Usage, UsageLine
from versioning.reading.replay import Replayed, Transition, transitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.audit.verify import Finding
    from versioning.cli.doctor import Check
    from versioning.events import Recorded
    from versioning.output.explain import Explanation
    from versioning.reading.diff import Change

Row: TypeAlias = Mapping[str, Any]
Shown = TypeVar("Shown")
_to_dict: Final = operator.methodcaller("to_dict")


@attrs.frozen
class Kind(Generic[Shown]):
    """How values of one kind are shown."""

    columns: tuple[str, ...]
    """Columns of CSV: all of them."""
    shown: tuple[str, ...]
    """Columns of a table, and of lines in a pipe."""
    cells: Callable[[Shown], Row]
    """Function that returns the cell of each column."""
    to_dict: Callable[[Shown], dict[str, Any]] = _to_dict
    """Function that returns the value as JSON."""
    nothing: str = ""
    """Sentence for stderr when there is nothing to show."""

    def row(self, value: Shown) -> dict[str, Any]:
        """Return every cell of a value, in the order of the columns."""
        cells = self.cells(value)
        return {name: cells[name] for name in self.columns}


def _attributes(*names: str) -> Callable[[object], Row]:
    """Return a function that takes cells from the attributes of a value."""
    return lambda value: {name: getattr(value, name) for name in names}


# Versions and models.

_VERSION: Final = (
    "version_id", "model_id", "workspace", "model_name", "number", "stage", "status", "is_primary", "is_billable",
    "role", "artifact_uri", "artifact_digest", "artifact_size_bytes", "artifact_media_type", "deployed_at",
    "deployed_by", "published_at", "activation_id", "waiting_since", "attempts", "failure", "metadata",
)  # fmt: skip
_MODEL: Final = (
    "name", "model_id", "workspace", "primary", "primary_version_id", "active", "billable", "versions", "deployed_at",
    "deleted_at",
)  # fmt: skip


def _of_version(version: Version) -> Row:
    artifact = version.artifact
    return {
        **{name: getattr(version, name) for name in _VERSION if hasattr(version, name)},
        "role": "primary" if version.is_primary else None,
        "artifact_uri": artifact.uri,
        "artifact_digest": artifact.digest,
        "artifact_size_bytes": artifact.size_bytes,
        "artifact_media_type": artifact.media_type,
    }


def _of_model(model: Model) -> Row:
    """Return the cells of a model; versions are named by their numbers."""
    return {
        "name": model.name,
        "model_id": model.model_id,
        "workspace": model.workspace,
        "primary": None if model.primary is None else model.primary.number,
        "primary_version_id": None if model.primary is None else model.primary.version_id,
        "active": [version.number for version in model.active],
        "billable": [version.number for version in model.billable],
        "versions": [version.number for version in model.versions],
        "deployed_at": model.deployed_at,
        "deleted_at": model.deleted_at,
    }


VERSIONS: Final[Kind[Version]] = Kind(
    _VERSION,
    ("model_name", "number", "stage", "status", "role", "version_id", "activation_id"),
    _of_version,
    nothing="There are no versions.",
)
MODELS: Final[Kind[Model]] = Kind(
    _MODEL, ("name", "primary", "active", "billable", "model_id"), _of_model, nothing="There are no models."
)


@attrs.frozen
class Described:
    """A version, and the commands that would not be refused now."""

    version: Version
    allowed: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the version with the names of the commands."""
        return {**self.version.to_dict(), "allowed": list(self.allowed)}


DESCRIBED: Final[Kind[Described]] = Kind(
    (*_VERSION, "allowed"), (), lambda one: {**_of_version(one.version), "allowed": list(one.allowed)}
)


# What commands did, and would do.

Became = TypeVar("Became", Version, Model)


def _done(kind: Kind[Became]) -> Kind[Became]:
    """Return the kind of what a command returned: with what it recorded."""
    return Kind(
        (*kind.columns, "recorded", "repeated"),
        kind.shown,
        lambda one: {**kind.cells(one), "recorded": [fact.position for fact in one.recorded], "repeated": one.repeated},
        lambda one: {
            **one.to_dict(),
            "recorded": [fact.to_dict() for fact in one.recorded],
            "repeated": one.repeated,
        },
    )


CHANGED_VERSION: Final = _done(VERSIONS)
CHANGED_MODEL: Final = _done(MODELS)
_TURNED: Final = ("number", "what", "before", "after")
_turned: Final = operator.attrgetter(*_TURNED)


def _previewed(step: Transition) -> Row:
    return {
        "event": type(step.recorded.event).__name__,
        "model_name": step.recorded.model_name,
        **dict(zip(_TURNED, _turned(step), strict=True)),
        "sentence": step.sentence,
    }


PREVIEWED: Final[Kind[Transition]] = Kind(
    ("event", "model_name", *_TURNED, "sentence"),
    ("event", "model_name", *_TURNED),
    _previewed,
    lambda step: step.recorded.event.to_dict(),
    "Nothing would be recorded.",
)


# The log.


@attrs.frozen
class Entry:
    """An event with what it changed."""

    step: Transition
    numbers: Mapping[str, str]
    """Numbers of versions by version_id: at least of those that the event names."""
    role: str | None = None
    """`primary` for the event that made the present primary the primary."""

    def to_dict(self) -> dict[str, Any]:
        """Return the event with what it changed, and the sentence about it."""
        step = self.step
        turned = dict(zip(_TURNED, _turned(step), strict=True))
        return {**step.recorded.to_dict(), **turned, "role": self.role, "sentence": step.sentence}


def _of_entry(entry: Entry) -> Row:
    turned = dict(zip(_TURNED, _turned(entry.step), strict=True))
    return {**flat_row(entry.step.recorded, entry.numbers.get), **turned, "role": entry.role}


EVENTS: Final[Kind[Entry]] = Kind(
    ("position", "timestamp", "workspace", "model_name", "model_id", "sequence", "event", "version_id", "number",
     "what", "before", "after", "role", "previous", "previous_number", "cause", "command", "published", "claims",
     "activation_id",
     "error", "artifact_uri", "artifact_digest", "metadata", "actor", "reason", "correlation_id", "idempotency_key",
     "command_id", "bookmark", "sentence"),
    ("position", "timestamp", "model_name", "number", "event", "what", "before", "after", "role", "actor", "reason"),
    _of_entry,
    nothing="There are no events.",
)  # fmt: skip


def entries(events: Iterable[Recorded]) -> Iterator[Entry]:
    """Yield the events of whole streams with what they changed, oldest first."""
    numbers: dict[str, str] = {}
    for step in transitions(events):
        numbers.update(numbers_in([step]))
        yield Entry(step, numbers)


def numbers_in(steps: Iterable[Transition]) -> dict[str, str]:
    """Return the numbers of the versions that these steps are about, by version_id."""
    return {str(step.recorded.version_id): step.number for step in steps if step.number is not None}


def _replayed(step: Replayed) -> Row:
    """Return the cells of an event, with the state before and after it."""
    primaries = [
        None if one is None or one.primary is None else one.primary.number for one in (step.before, step.after)
    ]
    after = None if step.after is None else _of_model(step.after)
    return {
        "position": step.recorded.position,
        "timestamp": step.recorded.timestamp,
        "model_name": step.recorded.model_name,
        "event": type(step.recorded.event).__name__,
        "primary_before": primaries[0],
        "primary_after": primaries[1],
        "active_after": after["active"] if after else [],
        "billable_after": after["billable"] if after else [],
        "sentence": step.sentence,
    }


REPLAYED: Final[Kind[Replayed]] = Kind(
    ("position", "timestamp", "model_name", "event", "primary_before", "primary_after", "active_after",
     "billable_after", "sentence"),
    ("position", "timestamp", "primary_before", "primary_after", "sentence"),
    _replayed,
    nothing="There are no events.",
)  # fmt: skip


# What questions return besides.

_CHANGE: Final = ("model_name", "model_id", "version_id", "number", "what", "before", "after", "sentence")
CHANGES: Final[Kind[Change]] = Kind(
    _CHANGE, ("model_name", "number", "what", "sentence"), _attributes(*_CHANGE), nothing="Nothing changed."
)
_USAGE: Final = (
    "workspace", "model_name", "model_id", "version_id", "number", "stage", "start", "end", "microseconds",
    "opened_by", "closed_by",
)  # fmt: skip
_line: Final = _attributes(*_USAGE)


@attrs.frozen
class Billed:
    """A line with the bill that it is on, so that a line alone says what it takes to draw it again."""

    line: UsageLine
    usage: Usage

    @property
    def drawn(self) -> dict[str, Any]:
        """Moment and position that the bill was drawn up to."""
        return {"until": self.usage.until, "position": self.usage.position}

    def to_dict(self) -> dict[str, Any]:
        """Return the line in JSON types, with what the bill was drawn up to."""
        return {**self.line.to_dict(), **as_json(self.drawn)}


USAGE: Final[Kind[Billed]] = Kind(
    (*_USAGE, "hours", "until", "position"),
    ("model_name", "number", "stage", "start", "end", "hours", "opened_by", "closed_by"),
    lambda billed: {**_line(billed.line), "hours": rounded(billed.line.hours), **billed.drawn},
    nothing="Nothing was used.",
)


def drawn_up_to(usage: Usage) -> str:
    """Return what a bill was drawn up to, in words."""
    return f"drawn up to {rfc3339(usage.until)} and position {usage.position}"


_FINDING: Final = ("kind", "sentence", "position", "stream", "sequence", "model_name")
FINDINGS: Final[Kind[Finding]] = Kind(
    _FINDING, ("kind", "position", "model_name", "sentence"), _attributes(*_FINDING), nothing="Nothing was found."
)
_CHECK: Final = ("verdict", "about", "sentence", "hint")
CHECKS: Final[Kind[Check]] = Kind(_CHECK, _CHECK, _attributes(*_CHECK))
_EXPLANATION: Final = ("kind", "word", "title", "text", "example", "what_to_do", "see")
EXPLAINED: Final[Kind[Explanation]] = Kind(_EXPLANATION, ("kind", "word", "title"), _attributes(*_EXPLANATION))


def rounded(hours: float) -> str:
    """Return a length in hours, for people; the exact one is in microseconds."""
    return f"{hours:.4f}"
