"""Arguments become one frozen `Request`: checked once, before anything is looked up or recorded.

The law of this room: **a request holds what was asked for, as it was written.** The version that an address names is
found later, in the state on which the command is decided (R5); until then, a request only knows its stream.

What counts as the same command for an idempotency key (R21) is decided here and nowhere else: `Request.fingerprint`.

To add a command: a function here that returns its request, and the method of `calls.py` that calls it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict, cast

import attrs

from versioning.addresses import Address, Expected, expected_in, expected_of, target_of
from versioning.commands import (
    NAMES,
    Activate,
    ClearPrimary,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
    FailActivation,
    Promote,
    Publish,
    Rollback,
)
from versioning.errors import IdempotencyConflictError, VersioningError, shown
from versioning.ids import checked_activation_id, stream_in
from versioning.limits import (
    checked_actor,
    checked_correlation,
    checked_failure,
    checked_flag,
    checked_items,
    checked_key,
    checked_members,
    checked_metadata,
    checked_promote,
    checked_reason,
)
from versioning.numbers import checked_bump
from versioning.reading.streams import StreamRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.aggregate import ModelAggregate
    from versioning.artifacts.formats import Serializer
    from versioning.commands import VersionCommand
    from versioning.events import ArtifactRef
    from versioning.reading.streams import Streams


class Attribution(NamedTuple):
    """Who gives a command, why, with what key, and what it belongs to in the caller's system."""

    actor: str | None = None
    reason: str | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None


NOBODY: Final = Attribution()


def because(
    actor: str | None, reason: str | None, idempotency_key: str | None, correlation_id: str | None
) -> Attribution:
    """Check who gives a command, why, and with what key (R26, R28).

    Raises:
        InvalidArgumentError: one of them can't be accepted.
    """
    if actor is reason is idempotency_key is correlation_id is None:
        return NOBODY
    return Attribution(
        checked_actor(actor), checked_reason(reason), checked_key(idempotency_key), checked_correlation(correlation_id)
    )


class Request:
    """A command on its way: the stream that it is about, what is asked for, and why."""

    __slots__ = ("_fingerprint", "command", "expected", "ref", "target", "why")

    def __init__(
        self,
        ref: StreamRef,
        command: Command,
        why: Attribution,
        target: str | Address | None = None,
        expected: Expected = Expect.ANYTHING,
    ) -> None:
        """Hold what was asked for; a command on an address has no version_id until it is decided."""
        self.ref = ref
        self.command = command
        self.why = why
        self.target = target
        """Version as it was named; None for a command on a model."""
        self.expected = expected
        """Expected primary, as it was named."""
        self._fingerprint: str | None = None

    @property
    def name(self) -> str:
        """Name of the command, as users call it."""
        return NAMES[type(self.command)]

    @property
    def fingerprint(self) -> str:
        """What makes another command the same one, in 64 hexadecimal digits (R21). It is a part of the stored format.

        It covers the kind, the target as it was written, and every other argument after defaults and spelling; it does
        not cover actor, reason and correlation. An artifact counts by its digest, or by its reference if it has none.
        """
        if self._fingerprint is None:
            arguments = attrs.asdict(self.command, recurse=False)
            for name in ("token", "version_id", "expected_primary"):
                arguments.pop(name, None)
            if isinstance(self.command, Deploy):
                arguments["artifact"] = self.command.artifact.digest or self.command.artifact.uri
            if self.expected is not Expect.ANYTHING:
                arguments["expected_primary"] = _written(self.expected)
            asked = [self.name, self.ref.stream, _written(self.target), arguments]
            self._fingerprint = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._fingerprint

    def command_in(self, state: ModelAggregate) -> Command:
        """Return the command with its addresses found in the state that it is decided on (R5).

        Raises:
            NotFoundError: an address names nothing there.
        """
        command = self.command
        if isinstance(self.target, Address):
            command = attrs.evolve(cast("VersionCommand", command), version_id=self.target.find(state).version_id)
        if isinstance(self.expected, Address):
            command = attrs.evolve(cast("Promote", command), expected_primary=expected_in(state, self.expected))
        return command


def _written(named: Expected) -> str | None:
    return None if named is None else str(named)


# One function a command.


def deploy(  # noqa: PLR0917 - the arguments of the registry's deploy, in its order
    streams: Streams,
    model_name: object,
    version_bump: object,
    publish: object,
    promote: object,
    metadata: object,
    why: Attribution,
    store: Callable[[], ArtifactRef],
) -> Request:
    """Check the arguments of `deploy` (R1 to R3, R7, R28); contents are stored once all others are right."""
    ref = streams.ref(model_name)
    bump = checked_bump(version_bump)
    publishes = checked_flag(publish, "publish")
    claims = checked_promote(promote, publish=publishes)
    canonical = checked_metadata(metadata)
    return Request(ref, Deploy(store(), secrets.token_hex(4), bump, publishes, claims, canonical), why)


def publish(streams: Streams, version: object, promote: object, why: Attribution) -> Request:
    """Check the arguments of `publish` (R3, R7)."""
    target = target_of(version)
    claims = None if promote is None else checked_flag(promote, "promote")
    return _on_version(streams, Publish(_id(target), claims), target, why)


def promote(streams: Streams, version: object, expected_primary: object, why: Attribution) -> Request:
    """Check the arguments of `promote` (R8, R22)."""
    target, expected = target_of(version), expected_of(expected_primary)
    return _on_version(streams, Promote(_id(target), _plain(expected)), target, why, expected)


def rollback(streams: Streams, model_name: object, expected_primary: object, why: Attribution) -> Request:
    """Check the arguments of `rollback` (R13, R22)."""
    expected = expected_of(expected_primary)
    return Request(streams.ref(model_name), Rollback(_plain(expected)), why, None, expected)


def deactivate(streams: Streams, version: object, expected_primary: object, why: Attribution) -> Request:
    """Check the arguments of `deactivate` (R16, R22)."""
    target, expected = target_of(version), expected_of(expected_primary)
    return _on_version(streams, Deactivate(_id(target), _plain(expected)), target, why, expected)


def activate(streams: Streams, version: object, why: Attribution) -> Request:
    """Check the arguments of `activate` (R14)."""
    target = target_of(version)
    return _on_version(streams, Activate(_id(target)), target, why)


def complete_activation(streams: Streams, version: object, activation_id: object, why: Attribution) -> Request:
    """Check the arguments of `complete_activation` (R15)."""
    target = target_of(version)
    command = CompleteActivation(_id(target), checked_activation_id(activation_id))
    return _on_version(streams, command, target, why)


def fail_activation(
    streams: Streams, version: object, activation_id: object, error: object, why: Attribution
) -> Request:
    """Check the arguments of `fail_activation` (R15)."""
    target = target_of(version)
    command = FailActivation(_id(target), checked_activation_id(activation_id), checked_failure(error))
    return _on_version(streams, command, target, why)


def delete(streams: Streams, version: object, expected_primary: object, why: Attribution) -> Request:
    """Check the arguments of `delete` (R17, R22)."""
    target, expected = target_of(version), expected_of(expected_primary)
    return _on_version(streams, Delete(_id(target), _plain(expected)), target, why, expected)


def delete_model(streams: Streams, model_name: object, why: Attribution) -> Request:
    """Check the arguments of `delete_model` (R6)."""
    return Request(streams.ref(model_name), DeleteModel(), why)


def clear_primary(streams: Streams, model_name: object, expected_primary: object, why: Attribution) -> Request:
    """Check the arguments of `clear_primary` (R22, R29)."""
    expected = expected_of(expected_primary)
    return Request(streams.ref(model_name), ClearPrimary(_plain(expected)), why, None, expected)


def _on_version(
    streams: Streams,
    command: Command,
    target: str | Address,
    why: Attribution,
    expected: Expected = Expect.ANYTHING,
) -> Request:
    ref = StreamRef(stream_in(target)) if isinstance(target, str) else streams.ref(target.model_name)
    return Request(ref, command, why, target, expected)


def _id(target: str | Address) -> str:
    """Return the version_id, or an empty text for an address that is still to be found."""
    return target if isinstance(target, str) else ""


def _plain(expected: Expected) -> str | Expect | None:
    return None if isinstance(expected, Address) else expected


# Many deployments.


class _Needed(TypedDict):
    model_or_reference: object
    model_name: str


class Deployment(_Needed, total=False):
    """Arguments of one deployment for `deploy_many`: those of `deploy`; the first two are required."""

    serializer: str | Serializer | None
    version_bump: str
    publish: bool
    promote: bool | None
    metadata: dict[str, Any] | None
    actor: str | None
    reason: str | None
    idempotency_key: str | None
    correlation_id: str | None


_TAKEN: Final = frozenset(Deployment.__annotations__)
_WHY: Final = frozenset(Attribution._fields)
_DEFAULTS: Final = {"version_bump": "MINOR", "publish": False, "promote": None, "metadata": None}


def deployments(
    streams: Streams, items: object, common: dict[str, str | None], store: Callable[[object, Any], ArtifactRef]
) -> list[Request]:
    """Check the arguments of every deployment; an error names the `index` of its own.

    Args:
        streams: the streams of the registry.
        items: the mappings that `deploy_many` was given.
        common: actor, reason and correlation_id for deployments that name none.
        store: stores an object with a serializer, and returns its reference.

    Raises:
        InvalidInputError: a deployment can't be accepted.
        IdempotencyConflictError: a key is used for another deployment before it.
    """
    shared, requests = because(common["actor"], common["reason"], None, common["correlation_id"]), list[Request]()
    keys: dict[tuple[str, str], str] = {}
    for index, item in enumerate(checked_items(items, "deployments")):
        try:
            how = checked_members(item, Deployment.__required_keys__, _TAKEN)
            why = shared
            if not _WHY.isdisjoint(how):
                why = because(**(_nothing | common | {name: how.pop(name) for name in how.keys() & _WHY}))
            model, serializer = how.pop("model_or_reference"), how.pop("serializer", None)
            request = deploy(streams, why=why, store=lambda: store(model, serializer), **(_DEFAULTS | how))  # noqa: B023 - called at once
            if why.idempotency_key is not None:
                place = request.ref.stream, why.idempotency_key
                if keys.setdefault(place, request.fingerprint) != request.fingerprint:
                    msg = f"The idempotency key {shown(why.idempotency_key)} is used for another command before it."
                    raise IdempotencyConflictError(msg, idempotency_key=why.idempotency_key)
        except VersioningError as error:
            raise numbered(error, index) from error
        requests.append(request)
    return requests


_nothing: Final[dict[str, str | None]] = {"idempotency_key": None}


def numbered(error: VersioningError, index: int) -> VersioningError:
    """Return an error with the index of the deployment that it is about."""
    msg = f"Deployment {index}: {error.sentence}"
    outside = error.outside and f"Deployment {index}: {error.outside}"
    facts = {**error.facts, "index": index}
    return type(error)(msg, rule=error.rule, hint=error.hint_text, outside=outside, **facts)
