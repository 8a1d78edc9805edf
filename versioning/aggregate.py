"""What is known of one model name: the fold of its stream.

The law of this room: **`evolve` never refuses**, reads no clock and knows no policy. Whatever the log says is so; what
is allowed stands in `rules.py`. A state change that no event names does not exist.

To add a fact to the state: a field here, and the branch of `evolve` that sets it; the laws of the test kit (live =
rebuilt = as of every prefix) run on it.
"""

from __future__ import annotations

import html
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import attrs
import semver

import versioning.events as happened
from versioning.events import EARLIEST_US, ArtifactRef, Event, Recorded, Value, moment_of
from versioning.ids import model_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    class Effect(Protocol):
        """What a command recorded, as the value that it returns tells it."""

        @property
        def recorded(self) -> tuple[Recorded, ...]: ...
        @property
        def repeated(self) -> bool: ...


Stage: TypeAlias = Literal["draft", "published"]
Status: TypeAlias = Literal["activating", "active", "inactive", "deleted"]

BILLABLE_STATUSES: frozenset[Status] = frozenset({"activating", "active"})
"""R18: neither inactive nor deleted versions count."""


@attrs.frozen(slots=False)  # a __dict__ makes the fold's copies about six times cheaper than slots do
class Version(Value):
    """A version as it is at one moment; frozen, so it can be kept and shared."""

    _MEMBERS: ClassVar[tuple[str, ...]] = (
        "version_id", "model_id", "workspace", "model_name", "number", "stage", "status", "is_primary", "is_billable",
        "artifact", "deployed_at", "deployed_by", "published_at", "activation_id", "waiting_since", "attempts",
        "failure", "metadata",
    )  # fmt: skip

    version_id: str
    model_id: str
    workspace: str
    model_name: str
    number: str
    """Semantic version, for example `0.1.0`."""
    stage: Stage
    status: Status
    is_primary: bool
    artifact: ArtifactRef
    deployed_at_us: int = attrs.field(repr=False)
    published_at_us: int | None = attrs.field(default=None, repr=False)
    deployed_by: str | None = None
    activation_id: str | None = None
    """Id to answer with while it is activating; None otherwise (R15)."""
    waiting_since_us: int | None = attrs.field(default=None, repr=False)
    """Start of the wait for its serving environment, while it is activating."""
    failure: str | None = None
    """Reason why its last start failed; None once it starts again."""
    metadata_json: str = attrs.field(default="{}", repr=False)
    attempts: int = attrs.field(default=0, repr=False)
    """Number of waits for a serving environment so far."""

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """Events that the command that returned this version recorded; none if a question returned it."""
        effect = self.__dict__.get("_effect")
        return () if effect is None else effect.recorded

    @property
    def repeated(self) -> bool:
        """Whether the command that returned this version only repeated an earlier one with the same key (R21)."""
        effect = self.__dict__.get("_effect")
        return effect is not None and effect.repeated

    def with_effect(self, effect: Effect) -> Version:
        """Return the same version with what a command recorded, which is not a part of its value."""
        copy = _copied(self)
        copy.__dict__["_effect"] = effect
        return copy

    @property
    def semver(self) -> semver.Version:
        """Number as a `semver.Version`, which can be compared."""
        return semver.Version.parse(self.number)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata that was deployed with it; a new copy each time."""
        copy: dict[str, Any] = json.loads(self.metadata_json)
        return copy

    @property
    def is_billable(self) -> bool:
        """Whether it is billed: active or activating (R18)."""
        return self.status in BILLABLE_STATUSES

    @property
    def is_serving(self) -> bool:
        """Whether it could be primary: active and published (R8)."""
        return self.status == "active" and self.stage == "published"

    @property
    def deployed_at(self) -> datetime:
        """Moment of its deployment, in UTC."""
        return moment_of(self.deployed_at_us)

    @property
    def waiting_since(self) -> datetime | None:
        """Start of the wait for its serving environment, in UTC; None if it is not activating."""
        return None if self.waiting_since_us is None else moment_of(self.waiting_since_us)

    @property
    def published_at(self) -> datetime | None:
        """Moment of its publication, in UTC; None for a draft."""
        return None if self.published_at_us is None else moment_of(self.published_at_us)


def _copied(version: Version) -> Version:
    """Return a version that may be changed before it is handed out."""
    copy = object.__new__(Version)
    object.__setattr__(copy, "__dict__", version.__dict__.copy())  # a third of the time of `__dict__.update`
    return copy


@attrs.frozen
class Model(Value):
    """A model as it is at one moment: one life of its name."""

    _MEMBERS: ClassVar[tuple[str, ...]] = (
        "name", "model_id", "workspace", "primary", "versions", "deployed_at", "deleted_at"
    )  # fmt: skip

    name: str
    model_id: str
    workspace: str
    versions: tuple[Version, ...]
    """Versions that are not deleted, in the order of their numbers."""
    primary: Version | None
    deployed_at: datetime
    """Moment of its first deployment, in UTC."""
    deleted_at: datetime | None = None
    _effect: Effect | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """Events that the command that returned this model recorded; none if a question returned it."""
        return () if self._effect is None else self._effect.recorded

    @property
    def repeated(self) -> bool:
        """Whether the command that returned this model only repeated an earlier one with the same key (R21)."""
        return self._effect is not None and self._effect.repeated

    @property
    def active(self) -> tuple[Version, ...]:
        """Active versions, in the order of their numbers."""
        return tuple(version for version in self.versions if version.status == "active")

    @property
    def billable(self) -> tuple[Version, ...]:
        """Versions that are billed, in the order of their numbers (R18)."""
        return tuple(version for version in self.versions if version.is_billable)

    def to_dict(self) -> dict[str, Any]:
        """Return the model in JSON types; `active` and `billable` are the numbers of those versions."""
        numbers = {"active": [one.number for one in self.active], "billable": [one.number for one in self.billable]}
        return {**super().to_dict(), **numbers}

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a table of the versions, and which one is primary."""
        rows = ""
        for version in self.versions:
            role, deployed = "primary" if version.is_primary else "", f"{version.deployed_at:%Y-%m-%d %H:%M:%S} UTC"
            cells = (version.number, version.stage, version.status, role, deployed)
            rows += f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
        heads = "".join(f'<th scope="col">{head}</th>' for head in ("Version", "Stage", "Status", "Role", "Deployed"))
        gone = "" if self.deleted_at is None else f", deleted {self.deleted_at:%Y-%m-%d %H:%M:%S} UTC"
        named = html.escape(repr(self.name)) + gone
        return f"<table><caption>{named}</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


NO_LINK = bytes(32)
"""Link before the first event of a stream."""


class ModelAggregate:
    """Everything ever deployed under one name in one workspace, over all its lives.

    It is the state of one stream. It is mutable, and therefore private to its owner; the values that it hands out are
    frozen.
    """

    __slots__ = (
        "_own", "allocated", "by_number", "claims", "claims_made", "cleared", "cursor", "exists",
        "first_position", "generation", "highest", "last_at_us", "left", "link", "lives", "model_name", "position",
        "primary", "published", "sequence", "stream", "trail", "undone", "versions", "withheld", "workspace",
    )  # fmt: skip

    def __init__(self, stream: str, workspace: str = "", model_name: str = "") -> None:
        """Start with nothing known."""
        self.stream = stream
        self.workspace = workspace
        self.model_name = model_name
        self.sequence = 0
        """Sequence of the last event that was folded."""
        self.link = NO_LINK
        """Link of the last event that was folded."""
        self.last_at_us = EARLIEST_US
        self.first_position = 0
        self.position = 0
        """Position of the last event; like `first_position` it is set by a kept view only, as commands need neither."""
        self.generation = 0
        self.exists = False
        self.lives: list[tuple[int, int | None]] = []
        """Beginning and end of each life, in microseconds since 1970."""
        self.versions: dict[str, Version] = {}
        """Every version that was ever deployed, by version_id, in order."""
        self._own: set[str] | None = None
        """Versions that may be changed in place while many events are folded, as nobody else has seen them."""
        self._begin_life()

    def _begin_life(self) -> None:
        self.left: dict[str, None] = {}
        """Versions of this life that are not deleted, in the order of their numbers."""
        self.by_number: dict[str, str] = {}
        self.allocated: list[str] = []
        """All versions of this life, in the order of their numbers, so that a range is found by bisection."""
        self.highest: str | None = None
        """Highest number ever given in this life (R2)."""
        self.published: dict[str, None] = {}
        """Published versions that are not deleted, the latest publication last."""
        self.claims: dict[str, int] = {}
        """Claims on the primary role, the newest last (R7)."""
        self.claims_made = 0
        self.undone: set[str] = set()
        """Versions that were rolled back from and have not claimed the role since (R11)."""
        self.primary: str | None = None
        self.cleared = False
        """Whether the model has lost its primary, rather than never had one (R9)."""
        self.withheld = False
        """Whether it was cleared on request, so that only a claim gives the role again (R29)."""
        self.trail: list[str] = []
        """List of primaries that a rollback walks back along (R13)."""
        self.cursor = 0
        """Number of primaries in the list up to the current one, or the last one if there is none now."""

    # What the rules ask.

    @property
    def model_id(self) -> str:
        """Id of the present life, or of the last one."""
        return model_id_of(self.stream, self.generation)

    def claim_of(self, version_id: str | None) -> int:
        """Return when a version made its claim: a newer one is greater, and 0 is none (R7)."""
        return self.claims.get(version_id, 0) if version_id is not None else 0

    @property
    def newest_claim(self) -> str | None:
        """Version that holds the newest claim on the primary role (R7)."""
        return next(reversed(self.claims), None)

    def rollback_index(self) -> int | None:
        """Return the place in the list of primaries that a rollback would go to, or None (R13).

        Whether one is allowed is decided in `rules._rollback`; `_on_promoted` moves the place by the same count.
        """
        for index in range(self.cursor - (1 if self.primary is None else 2), -1, -1):
            entry = self.trail[index]
            if entry != self.primary and self.versions[entry].status == "active":
                return index
        return None

    # What users ask.

    def model(self, generation: int | None = None, effect: Effect | None = None) -> Model:
        """Return the present life of the name, or the one of a generation, with what a command recorded."""
        generation = generation or self.generation
        began_us, ended_us = self.lives[generation - 1]
        now = generation == self.generation
        return Model(
            name=self.model_name,
            model_id=model_id_of(self.stream, generation),
            workspace=self.workspace,
            versions=tuple(self.versions[version_id] for version_id in self.left) if now else (),
            primary=self.versions[self.primary] if now and self.primary is not None else None,
            deployed_at=moment_of(began_us),
            deleted_at=None if ended_us is None else moment_of(ended_us),
            effect=effect,
        )

    # The fold.

    def evolve(self, event: Event, actor: str | None = None) -> ModelAggregate:
        """Apply one event; return the same aggregate."""
        _EVOLVE[type(event)](self, event, actor)
        self.last_at_us = event.at_us
        self.sequence += 1
        return self

    def take(self, events: Iterable[Event], actor: str | None = None) -> None:
        """Apply events that were recorded together, copying each changed version only once."""
        self.begin_folding()
        for event in events:
            self.evolve(event, actor)
        self.end_folding()

    def fork(self) -> ModelAggregate:
        """Return an independent copy."""
        fork = object.__new__(ModelAggregate)
        for name in self.__slots__:
            value = getattr(self, name)
            setattr(fork, name, value.copy() if isinstance(value, dict | list | set) else value)
        return fork

    def begin_folding(self) -> None:
        """Fold in place until `end_folding`; nothing may be handed out in between."""
        self._own = set()

    def end_folding(self) -> None:
        """Stop folding in place: from here on, what is handed out never changes."""
        self._own = None

    def _change(self, version_id: str, **changes: object) -> None:
        now = self.versions[version_id]
        if self._own is None or version_id not in self._own:
            now = self.versions[version_id] = _copied(now)
            if self._own is not None:
                self._own.add(version_id)
        now.__dict__.update(changes)

    def _end_role(self, version_id: str) -> None:
        """R12: end the role of a version that is deactivated or deleted."""
        if self.primary == version_id:
            self.primary = None

    def _claim(self, version_id: str) -> None:
        self.claims.pop(version_id, None)
        self.claims_made += 1
        self.claims[version_id] = self.claims_made
        self.undone.discard(version_id)

    def _on_deployed(self, event: happened.VersionDeployed, actor: str | None) -> None:
        if not self.exists:
            self.exists = True
            self.generation += 1
            self.lives.append((event.at_us, None))
        version_id = event.version_id
        waits = event.activation_id is not None
        self.versions[version_id] = Version(  # by place, which is twice as fast as by name
            version_id,
            model_id_of(self.stream, self.generation),
            self.workspace,
            self.model_name,
            event.number,
            "published" if event.published else "draft",
            "activating" if waits else "active",
            False,  # noqa: FBT003 - is_primary
            event.artifact,
            event.at_us,
            event.at_us if event.published else None,
            actor,
            event.activation_id,
            event.at_us if waits else None,
            None,
            event.metadata,
            1 if waits else 0,
        )
        if self._own is not None:
            self._own.add(version_id)
        self.left[version_id] = None
        self.by_number[event.number] = version_id
        self.allocated.append(version_id)
        self.highest = event.number
        if event.published:
            self.published[version_id] = None
            if event.claims:
                self._claim(version_id)

    def _on_published(self, event: happened.VersionPublished, _actor: str | None) -> None:
        self._change(event.version_id, stage="published", published_at_us=event.at_us)
        self.published[event.version_id] = None
        if event.claims:
            self._claim(event.version_id)

    def _on_promoted(self, event: happened.VersionPromoted, _actor: str | None) -> None:
        version_id, before = event.version_id, self.primary
        if event.cause == "rollback":
            if before is not None:
                self.claims.pop(before, None)
                self.undone.add(before)
            index = self.cursor - (1 if before is None else 2)
            while self.trail[index] != version_id:
                index -= 1
            self.cursor = index + 1
        elif before != version_id:
            del self.trail[self.cursor :]
            self.trail.append(version_id)
            self.cursor = len(self.trail)
        if event.cause in {"requested", "rollback"}:
            self._claim(version_id)
        if before != version_id:
            if before is not None:
                self._change(before, is_primary=False)
            self._change(version_id, is_primary=True)
        self.primary = version_id
        self.cleared = self.withheld = False

    def _on_cleared(self, event: happened.PrimaryCleared, _actor: str | None) -> None:
        if event.cause == "requested":
            self.claims.clear()
            self.withheld = True
        if self.primary is not None:
            self._change(self.primary, is_primary=False)
            self.primary = None
        self.cleared = True

    def _on_deactivated(self, event: happened.VersionDeactivated, _actor: str | None) -> None:
        self._change(event.version_id, status="inactive", is_primary=False, activation_id=None, waiting_since_us=None)
        self.claims.pop(event.version_id, None)
        self._end_role(event.version_id)

    def _on_requested(self, event: happened.VersionActivationRequested, _actor: str | None) -> None:
        attempts = self.versions[event.version_id].attempts + 1
        self._change(
            event.version_id,
            status="activating",
            activation_id=event.activation_id,
            waiting_since_us=event.at_us,
            failure=None,
            attempts=attempts,
        )

    def _on_activated(self, event: happened.VersionActivated, _actor: str | None) -> None:
        self._change(event.version_id, status="active", activation_id=None, waiting_since_us=None, failure=None)

    def _on_failed(self, event: happened.VersionActivationFailed, _actor: str | None) -> None:
        self._change(
            event.version_id, status="inactive", activation_id=None, waiting_since_us=None, failure=event.error
        )

    def _on_deleted(self, event: happened.VersionDeleted, _actor: str | None) -> None:
        version_id = event.version_id
        self._change(version_id, status="deleted", is_primary=False, activation_id=None, waiting_since_us=None)
        for held in (self.left, self.published, self.claims):
            held.pop(version_id, None)
        self.undone.discard(version_id)
        self._end_role(version_id)

    def _on_model_deleted(self, event: happened.ModelDeleted, _actor: str | None) -> None:
        self.exists = False
        self.lives[-1] = (self.lives[-1][0], event.at_us)
        self._begin_life()

    def _on_nothing(self, _event: happened.NothingChanged, _actor: str | None) -> None:
        """R21: only the place and the moment of the last event move on."""


_EVOLVE: dict[type[Event], Callable[[ModelAggregate, Any, str | None], None]] = {
    happened.VersionDeployed: ModelAggregate._on_deployed,  # noqa: SLF001 - the table is the class's own
    happened.VersionPublished: ModelAggregate._on_published,  # noqa: SLF001 - the same
    happened.VersionPromoted: ModelAggregate._on_promoted,  # noqa: SLF001 - the same
    happened.PrimaryCleared: ModelAggregate._on_cleared,  # noqa: SLF001 - the same
    happened.VersionDeactivated: ModelAggregate._on_deactivated,  # noqa: SLF001 - the same
    happened.VersionActivationRequested: ModelAggregate._on_requested,  # noqa: SLF001 - the same
    happened.VersionActivated: ModelAggregate._on_activated,  # noqa: SLF001 - the same
    happened.VersionActivationFailed: ModelAggregate._on_failed,  # noqa: SLF001 - the same
    happened.VersionDeleted: ModelAggregate._on_deleted,  # noqa: SLF001 - the same
    happened.ModelDeleted: ModelAggregate._on_model_deleted,  # noqa: SLF001 - the same
    happened.NothingChanged: ModelAggregate._on_nothing,  # noqa: SLF001 - the same
}


def evolve(state: ModelAggregate, event: Event, actor: str | None = None) -> ModelAggregate:
    """Apply one event, and return the state; it never refuses."""
    return state.evolve(event, actor)
