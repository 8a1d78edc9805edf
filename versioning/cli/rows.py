"""Which kinds of rows are there, and what is in them?

The law of this room: **a row is a dict with every column of its kind**, so that JSON, CSV and tables show the same
facts under the same names.

To add a kind of row: a `Kind` here, and a function that makes such rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from versioning.output.rows import flat_row
from versioning.reading.replay import transitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.aggregate import Model, Version
    from versioning.events import Recorded
    from versioning.projections import UsageLine
    from versioning.reading.diff import Change
    from versioning.reading.replay import Replayed, Transition

Row: TypeAlias = Mapping[str, Any]


@attrs.frozen
class Kind:
    """Columns of one kind of row."""

    columns: tuple[str, ...]
    """Columns that JSON and CSV show: all of them."""
    shown: tuple[str, ...]
    """Columns that text shows."""
    nothing: str = ""
    """Sentence for stderr when there are no rows."""


VERSIONS: Final = Kind(
    ("version_id", "model_id", "workspace", "model_name", "number", "stage", "status", "is_primary", "is_billable",
     "role", "artifact_uri", "artifact_digest", "artifact_size_bytes", "artifact_media_type", "deployed_at",
     "deployed_by", "published_at", "activation_id", "waiting_since", "failure", "metadata"),
    ("model_name", "number", "stage", "status", "role", "version_id", "activation_id"),
    "There are no versions.",
)  # fmt: skip
MODELS: Final = Kind(
    ("name", "model_id", "workspace", "primary", "primary_version_id", "active", "billable", "versions", "deployed_at",
     "deleted_at"),
    ("name", "primary", "active", "billable", "model_id"),
    "There are no models.",
)  # fmt: skip
EVENTS: Final = Kind(
    ("position", "timestamp", "workspace", "model_name", "model_id", "sequence", "event", "version_id", "number",
     "what", "before", "after", "role", "previous", "previous_number", "cause", "published", "claims", "activation_id",
     "error", "artifact_uri", "artifact_digest", "metadata", "actor", "reason", "correlation_id", "idempotency_key",
     "command_id", "sentence"),
    ("position", "timestamp", "model_name", "number", "event", "what", "before", "after", "role", "actor", "reason"),
    "There are no events.",
)  # fmt: skip
PREVIEWED: Final = Kind(
    ("event", "model_name", "number", "what", "before", "after", "sentence"),
    ("event", "model_name", "number", "what", "before", "after"),
    "Nothing would be recorded.",
)
REPLAYED: Final = Kind(
    ("position", "timestamp", "model_name", "event", "primary_before", "primary_after", "active_after",
     "billable_after", "sentence"),
    ("position", "timestamp", "primary_before", "primary_after", "sentence"),
    "There are no events.",
)  # fmt: skip
CHANGES: Final = Kind(
    ("model_name", "model_id", "version_id", "number", "what", "before", "after", "sentence"),
    ("model_name", "number", "what", "sentence"),
    "Nothing changed.",
)
USAGE: Final = Kind(
    ("workspace", "model_name", "model_id", "version_id", "number", "stage", "start", "end", "microseconds", "hours",
     "opened_by", "closed_by"),
    ("model_name", "number", "stage", "start", "end", "hours", "opened_by", "closed_by"),
    "Nothing was used.",
)  # fmt: skip
FINDINGS: Final = Kind(
    ("kind", "exit_code", "position", "model_name", "stream", "sequence", "sentence"),
    ("kind", "position", "model_name", "sentence"),
)
EXPLAINED: Final = Kind(("kind", "word", "title", "text", "example", "what_to_do", "see"), ("kind", "word", "title"))
CHECKS: Final = Kind(("verdict", "about", "sentence", "hint"), ("verdict", "about", "sentence", "hint"))


def role_of(version: Version) -> str:
    """Return the mark of the version that answers, or nothing."""
    return "primary" if version.is_primary else ""


def version_row(version: Version) -> Row:
    """Return a version as a row."""
    artifact = version.artifact
    return {
        **{name: getattr(version, name) for name in VERSIONS.columns if hasattr(version, name)},
        "role": role_of(version),
        "artifact_uri": artifact.uri,
        "artifact_digest": artifact.digest,
        "artifact_size_bytes": artifact.size_bytes,
        "artifact_media_type": artifact.media_type,
    }


def model_row(model: Model) -> Row:
    """Return a model as a row; versions are given by their numbers."""
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


def event_row(flat: Row, step: Transition, role: str = "") -> Row:
    """Return an event as a row, with what it changed."""
    return {**flat, "number": step.number, "what": step.what, "before": step.before, "after": step.after, "role": role}


def previewed_row(step: Transition) -> Row:
    """Return an event that would be recorded as a row."""
    return {
        "event": type(step.recorded.event).__name__,
        "model_name": step.recorded.model_name,
        "number": step.number,
        "what": step.what,
        "before": step.before,
        "after": step.after,
        "sentence": step.sentence,
    }


def replayed_row(step: Replayed) -> Row:
    """Return an event as a row, with the state before and after it."""
    primaries = [
        None if one is None or one.primary is None else one.primary.number for one in (step.before, step.after)
    ]
    after = None if step.after is None else model_row(step.after)
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


def change_row(change: Change) -> Row:
    """Return a change between two pasts as a row."""
    return {name: getattr(change, name) for name in CHANGES.columns}


def usage_row(line: UsageLine) -> Row:
    """Return a line of a bill as a row."""
    return {**attrs.asdict(line), "hours": hours(line.microseconds)}


def hours(microseconds: int) -> str:
    """Return a length in hours, for people; the exact one is in microseconds."""
    return f"{microseconds / 3_600_000_000:.4f}"


def whole(kind: Kind, row: Row) -> dict[str, Any]:
    """Return every column of a row, in the order of its kind."""
    return {name: row[name] for name in kind.columns}


def numbers_in(steps: Iterable[Transition]) -> dict[str, str]:
    """Return the numbers of the versions that these steps are about, by version_id."""
    return {str(step.recorded.version_id): step.number for step in steps if step.number is not None}


def flat(step: Transition, numbers: Mapping[str, str], role: str = "") -> Row:
    """Return an event as a row that names other versions by their numbers too."""
    return event_row(flat_row(step.recorded, numbers.get), step, role)


def event_rows(events: Iterable[Recorded]) -> Iterator[Row]:
    """Yield a row for each event of whole streams, oldest first."""
    numbers: dict[str, str] = {}
    for step in transitions(events):
        numbers.update(numbers_in([step]))
        yield flat(step, numbers)
