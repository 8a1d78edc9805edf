"""What happened: the facts that the log is made of, and the only truth.

The law of this room: **these classes and their fields are the storage format.** Once released, a class is never renamed
or changed; a new shape is a new topic and an upcaster (`store/format.py`). There are no validators here, because a rule
that is tightened later would make history unreadable. Types are checked on reading, rules on writing.

To add an event: a class, and its line in `EVENTS`; the exhaustive maps and the golden bytes fail until it is known
everywhere. `at_us` is the moment of the event, in microseconds since 1970 UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import attrs

from versioning.ids import bookmark_of, model_id_of

Cause: TypeAlias = Literal["published", "requested", "rollback", "fallback", "default"]
"""Reason for a version to become primary (R12)."""
Loss: TypeAlias = Literal["lost", "requested"]
"""Reason for a model to be left without a primary (R12)."""
Unneeded: TypeAlias = Literal["publish", "promote", "deactivate", "activate", "clear_primary"]
"""Command that can find all as it asks (R20)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment_of(at_us: int) -> datetime:
    """Convert microseconds since 1970 to an aware moment in UTC."""
    return EPOCH + at_us * _MICROSECOND


def microseconds_of(moment: datetime) -> int:
    """Convert an aware moment to whole microseconds since 1970."""
    return (moment - EPOCH) // _MICROSECOND


EARLIEST_US = microseconds_of(datetime(1, 1, 1, tzinfo=UTC))
"""First moment that a datetime can represent."""


def rfc3339(moment: datetime) -> str:
    """Return an aware moment as RFC 3339 text in UTC, such as `2025-03-14T14:03:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_json(value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Return a value in JSON types: moments as RFC 3339 text, values of ours as objects, tuples as lists.

    Raises:
        TypeError: JSON has no form for it.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Value):
        return value.to_dict()
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(item) for item in value]
    msg = f"JSON has no form for a {type(value).__name__}."
    raise TypeError(msg)


class Value:
    """Base of the values that users get: they can be written as JSON under the names of their attributes."""

    __slots__ = ()
    _MEMBERS: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes to write; if empty, the fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return the value in JSON types: moments are RFC 3339 text in UTC, absent values are None."""
        names = self._MEMBERS or [field.name for field in attrs.fields(type(self))]  # type: ignore[arg-type]  # an attrs class
        return {name: as_json(getattr(self, name)) for name in names}


class _Event(Value):
    """What all events have in common."""

    __slots__ = ()
    at_us: int
    """Moment of the event, in microseconds since 1970 UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Return the event's name, its fields, and its moment as `timestamp`, in JSON types; metadata is an object."""
        fields = {field.name: as_json(getattr(self, field.name)) for field in attrs.fields(type(self))}  # type: ignore[arg-type]  # an attrs class
        if "metadata" in fields:
            fields["metadata"] = json.loads(fields["metadata"])
        del fields["at_us"]
        return {"event": type(self).__name__, **fields, "timestamp": rfc3339(moment_of(self.at_us))}


@attrs.frozen
class ArtifactRef(Value):
    """Reference to a deployed artifact; the rules never look inside."""

    uri: str
    """`sha256:<digest>` for contents in the artifacts folder, else any text that the caller's platform understands."""
    digest: str | None = None
    """SHA-256 of the contents as 64 hexadecimal digits."""
    size_bytes: int | None = None
    media_type: str | None = None


@attrs.frozen
class VersionDeployed(_Event):
    """A version was deployed; without an `activation_id` it is active immediately (R14)."""

    version_id: str
    number: str
    artifact: ArtifactRef
    published: bool = False
    claims: bool = False
    """Whether its publication claims the primary role (R7)."""
    activation_id: str | None = None
    metadata: str = "{}"
    """The caller's own facts as canonical JSON."""
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionPublished(_Event):
    """A draft became a published version."""

    version_id: str
    claims: bool = False
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionPromoted(_Event):
    """A version became primary, or the primary renewed its claim (R20: `previous` is then itself)."""

    version_id: str
    previous: str | None
    """version_id of the primary before this append, or None."""
    cause: Cause
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class PrimaryCleared(_Event):
    """The model is left without a primary: because it was lost (R11), or on purpose (R29)."""

    previous: str | None
    """version_id of the primary before this append, or None."""
    cause: Loss = "lost"
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionDeactivated(_Event):
    """A version was stopped, or the claim of a failed version was withdrawn (R10)."""

    version_id: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionActivationRequested(_Event):
    """A version's serving environment was asked to start again."""

    version_id: str
    activation_id: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionActivated(_Event):
    """A version became active; `activation_id` names the wait that this ends, if there was one."""

    version_id: str
    activation_id: str | None = None
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionActivationFailed(_Event):
    """A version's serving environment did not start."""

    version_id: str
    activation_id: str
    error: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionDeleted(_Event):
    """A version was deleted for ever."""

    version_id: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class ModelDeleted(_Event):
    """The last version was deleted, and with it the model; its name is free."""

    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class NothingChanged(_Event):
    """A command with an idempotency key found all as it asks, so only its key was recorded (R21)."""

    command: Unneeded
    """Name of the command, as users call it."""
    version_id: str | None
    """version_id that it was about, or None if it was about the model."""
    at_us: int = attrs.field(kw_only=True)


Event: TypeAlias = (
    VersionDeployed
    | VersionPublished
    | VersionPromoted
    | PrimaryCleared
    | VersionDeactivated
    | VersionActivationRequested
    | VersionActivated
    | VersionActivationFailed
    | VersionDeleted
    | ModelDeleted
    | NothingChanged
)

EVENTS: dict[str, type[Event]] = {
    "deployed.1": VersionDeployed,
    "published.1": VersionPublished,
    "promoted.1": VersionPromoted,
    "primary_cleared.2": PrimaryCleared,
    "deactivated.1": VersionDeactivated,
    "activation_requested.1": VersionActivationRequested,
    "activated.1": VersionActivated,
    "activation_failed.1": VersionActivationFailed,
    "deleted.1": VersionDeleted,
    "model_deleted.1": ModelDeleted,
    "nothing_changed.1": NothingChanged,
}
"""The closed registry of topics. Nothing else is ever built, and nothing is ever imported by name."""

TOPICS: dict[type[Event], str] = {event: topic for topic, event in EVENTS.items()}


class Meta(NamedTuple):
    """Facts shared by all events of one append: the model, and who asked for them, why, and with which key."""

    workspace: str
    model_name: str
    generation: int
    command_id: str
    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    """SHA-256 of what was asked for, as 64 hexadecimal digits; kept if there is a key (R21)."""


@attrs.frozen(slots=False)  # making one with a __dict__ takes 0.7 µs, with slots 1.2
class Recorded(Value):
    """An event with its place in the log, and who asked for it, why, when, and with which key and correlation (R26)."""

    position: int
    """Place in the whole log, counted from 1."""
    sequence: int
    """Place in the stream of its model name, counted from 1."""
    stream: str
    workspace: str
    model_name: str
    generation: int
    """Life of the name, counted from 1."""
    event: Event
    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    command_id: str = ""
    """Random id shared by all events of an append."""
    index: int = 0
    """Place in the append, counted from 0."""
    count: int = 1
    """Number of events in the append."""
    chain: str = ""
    """SHA-256 over the previous link of the stream and all of this event, as 64 hexadecimal digits."""

    def to_dict(self) -> dict[str, Any]:
        """Return who did what, when, why and where it stands, in JSON types; `facts` are the event's own fields."""
        facts = self.event.to_dict()
        return {
            "position": self.position,
            "bookmark": self.bookmark,
            "timestamp": facts.pop("timestamp"),
            "workspace": self.workspace,
            "model_name": self.model_name,
            "model_id": self.model_id,
            "version_id": self.version_id,
            "sequence": self.sequence,
            "event": facts.pop("event"),
            "facts": facts,
            "actor": self.actor,
            "reason": self.reason,
            "correlation_id": self.correlation_id,
            "idempotency_key": self.idempotency_key,
            "event_id": self.event_id,
        }

    @property
    def bookmark(self) -> str:
        """Place of the event in this very log, from which `follow` and `history` can go on."""
        return bookmark_of(self.position, self.chain)

    @property
    def event_id(self) -> str:
        """Id that is unique for ever: the command's id and the place in its append."""
        return f"{self.command_id}.{self.index}"

    @property
    def model_id(self) -> str:
        """Id of the model, which is one life of the name."""
        return model_id_of(self.stream, self.generation)

    @property
    def version_id(self) -> str | None:
        """Id of the version that the event is about, or None if it is about the model."""
        return getattr(self.event, "version_id", None)

    @property
    def timestamp(self) -> datetime:
        """Moment of the event, in UTC."""
        return moment_of(self.event.at_us)

    @property
    def ends_append(self) -> bool:
        """Whether it is the last of the events recorded together."""
        return self.index == self.count - 1
