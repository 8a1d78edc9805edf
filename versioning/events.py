"""What happened: the facts that the log is made of, and the only truth.

The law of this room: **these classes and their fields are the storage format.** A class, once released, is never
renamed or changed; a new shape is a new topic and an upcaster (`persistence.py`). No validators here, because a rule
that is tightened later would make history unreadable: types are checked on reading, rules on writing.

To add an event: a class, and its line in `EVENTS`; the exhaustive maps and the golden bytes complain until it is known
everywhere. `at_us` is the moment of the fact, in microseconds since 1970 UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, TypeAlias
from uuid import UUID

import attrs

from versioning.ids import model_id_of

Cause: TypeAlias = Literal["published", "requested", "rollback", "fallback", "default"]
"""Why a version became primary (R12)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment_of(at_us: int) -> datetime:
    """Turn microseconds since 1970 into an aware moment in UTC."""
    return EPOCH + at_us * _MICROSECOND


def microseconds_of(moment: datetime) -> int:
    """Turn an aware moment into whole microseconds since 1970."""
    return (moment - EPOCH) // _MICROSECOND


EARLIEST_US = microseconds_of(datetime(1, 1, 1, tzinfo=UTC))
"""The first moment that a datetime can hold."""


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
    """A value that users get, and that can be written as JSON under the names of its attributes."""

    __slots__ = ()
    _MEMBERS: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that are written; without any, the fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return the value in JSON types: moments are RFC 3339 text in UTC, what is absent is None."""
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
    """Where a deployed artifact is; the rules never look inside."""

    uri: str
    """`sha256:<digest>` for contents in the artifacts folder, else whatever the caller's platform understands."""
    digest: str | None = None
    """SHA-256 of the contents, 64 hexadecimal digits."""
    size_bytes: int | None = None
    media_type: str | None = None


@attrs.frozen
class VersionDeployed(_Event):
    """A version was deployed; without an `activation_id` it is active at once (R14)."""

    version_id: str
    number: str
    artifact: ArtifactRef
    published: bool = False
    claims: bool = False
    """Whether publishing it claims the primary role (R7)."""
    activation_id: str | None = None
    metadata: str = "{}"
    """Canonical JSON."""
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionPublished(_Event):
    """A draft became a published version."""

    version_id: str
    claims: bool = False
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionPromoted(_Event):
    """A version became primary, or renewed its claim (R20: `previous` is then itself)."""

    version_id: str
    previous: str | None
    """The version_id that was primary before this append."""
    cause: Cause
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class PrimaryCleared(_Event):
    """The model is left without a primary."""

    previous: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class VersionDeactivated(_Event):
    """A version stopped, or a failed version's claim was withdrawn (R10)."""

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
    """A version became active; `activation_id` is the wait that it ends, if there was one."""

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
    """A version was deleted, for ever."""

    version_id: str
    at_us: int = attrs.field(kw_only=True)


@attrs.frozen
class ModelDeleted(_Event):
    """The last version is gone, and with it the model; its name is free."""

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
)

EVENTS: dict[str, type[Event]] = {
    "deployed.1": VersionDeployed,
    "published.1": VersionPublished,
    "promoted.1": VersionPromoted,
    "primary_cleared.1": PrimaryCleared,
    "deactivated.1": VersionDeactivated,
    "activation_requested.1": VersionActivationRequested,
    "activated.1": VersionActivated,
    "activation_failed.1": VersionActivationFailed,
    "deleted.1": VersionDeleted,
    "model_deleted.1": ModelDeleted,
}
"""The closed registry of topics: what is not here is never built, and nothing is ever imported by name."""

TOPICS: dict[type[Event], str] = {event: topic for topic, event in EVENTS.items()}


@attrs.frozen
class Meta:
    """What the events of one append share: whose they are, and who asked for them, why, and with what key."""

    workspace: str
    model_name: str
    generation: int
    command_id: str
    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    """SHA-256 of what was asked, 64 hexadecimal digits; kept where there is a key (R21)."""


@attrs.frozen(slots=False)  # making one with a __dict__ takes 0.7 µs, with slots 1.2
class Recorded(Value):
    """An event with its place in the log and all that R26 asks for: who, why, when, with what key and correlation."""

    position: int
    """Place in the whole log, counted from 1."""
    sequence: int
    """Place in the stream of its model name, counted from 1."""
    stream: str
    workspace: str
    model_name: str
    generation: int
    """Which life of the name, counted from 1."""
    event: Event
    actor: str | None = None
    reason: str | None = None
    correlation_id: str | None = None
    idempotency_key: str | None = None
    command_id: str = ""
    """One for all events of an append."""
    index: int = 0
    """Place in its append, counted from 0."""
    count: int = 1
    """How many events the append has."""
    chain: str = ""
    """SHA-256 over the link before it in its stream and all of this event, 64 hexadecimal digits."""

    def to_dict(self) -> dict[str, Any]:
        """Return who did what, when, why and where it stands, in JSON types; `facts` are the event's own fields."""
        facts = self.event.to_dict()
        return {
            "position": self.position,
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
    def event_id(self) -> str:
        """Unique for ever: the command's id and the place in its append."""
        return f"{self.command_id}.{self.index}"

    @property
    def originator_id(self) -> UUID:
        """The stream, as eventsourcing names it."""
        return UUID(self.stream)

    @property
    def originator_version(self) -> int:
        """The sequence, as eventsourcing names it."""
        return self.sequence

    @property
    def model_id(self) -> str:
        """The life of the name that it belongs to."""
        return model_id_of(self.stream, self.generation)

    @property
    def version_id(self) -> str | None:
        """The version that the event names, or None where it names the model only."""
        return getattr(self.event, "version_id", None)

    @property
    def timestamp(self) -> datetime:
        """When it happened, in UTC."""
        return moment_of(self.event.at_us)

    @property
    def ends_append(self) -> bool:
        """Whether it is the last of the facts that were recorded together."""
        return self.index == self.count - 1
