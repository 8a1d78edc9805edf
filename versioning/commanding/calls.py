"""The commands as users call them: signatures, docstrings, and one call each.

The law of this room: **who, why and the key are written out in each signature**, so that an editor completes them, and
a typing error names the method that was called. What becomes of a request is the business of whoever has the commands:
a registry records what it asks for, a preview only returns the events.

To add a command: its function in `requests.py`, and a method here.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from versioning.commanding import requests
from versioning.commanding.requests import because
from versioning.commands import Expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.addresses import VersionNamed
    from versioning.artifacts.formats import Serializer
    from versioning.commanding.deciding import Deciding
    from versioning.commanding.requests import Request
    from versioning.events import ArtifactRef, Event
    from versioning.reading.streams import CachedStreams

OnVersion = TypeVar("OnVersion")
"""What a command on a version returns: of a registry the Version, of a preview the events."""
OnModel = TypeVar("OnModel")
"""What a command on a whole model returns: of a registry the Model, of a preview the events."""


class Commands(ABC, Generic[OnVersion, OnModel]):
    """The commands on one version or one model."""

    _streams: CachedStreams

    @abstractmethod
    def _run(self, request: Request) -> OnVersion:
        """Do what a request on a version asks for."""

    @abstractmethod
    def _run_on_model(self, request: Request) -> OnModel:
        """Do what a request on a model asks for."""

    @abstractmethod
    def _stored(self, model: object, serializer: str | Serializer | None) -> ArtifactRef:
        """Return the reference of what is deployed; contents are kept by then."""

    def deploy(
        self,
        model_or_reference: object,
        serializer: str | Serializer | None = None,
        *,
        model_name: str,
        version_bump: str = "MINOR",
        publish: bool = False,
        promote: bool | None = None,
        metadata: dict[str, Any] | None = None,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Deploy a new version of a model; it is a draft unless `publish` is given (R1 to R3).

        Its number is 0.1.0, or the highest one ever given, bumped. The log is for ever: pass an opaque id as actor, and
        no personal data in names, reasons, keys and metadata.

        Args:
            model_or_reference: a URI as text, an ArtifactRef, or contents: a Path to a file, bytes, or a model object.
            serializer: how an object becomes bytes; without it, the registry's default.
            model_name: 1 to 256 characters, case-sensitive, fixed for ever (R4).
            version_bump: MAJOR, MINOR or PATCH, in any case.
            publish: whether it is published immediately.
            promote: whether publishing claims the primary role; without it, as the policy says (R7).
            metadata: JSON values, at most 16,384 bytes.
            actor: who gives the command, preferably an opaque id.
            reason: why, in words.
            idempotency_key: the same command with the same key again returns what it made the first time (R21).
            correlation_id: what the command belongs to in your system, for example a request.

        Raises:
            InvalidInputError: an argument can't be accepted; nothing was recorded or stored.
            IdempotencyConflictError: the key was used for another command.
        """
        store = functools.partial(self._stored, model_or_reference, serializer)
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(
            requests.deploy(self._streams, model_name, version_bump, publish, promote, metadata, why, store)
        )

    def publish(
        self,
        version_id: VersionNamed,
        *,
        promote: bool | None = None,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Publish a draft; it keeps its number and its id (R3).

        A published version stays as it is (R20). Publishing claims the primary role unless the policy says otherwise.

        Args:
            version_id: an active or activating draft: its id, an address such as `fraud@1.2.0`, or a Version (R5).
            promote: whether it claims the primary role; without it, as the policy says (R7).
            actor: who gives the command.
            reason: why, in words.
            idempotency_key: makes a repeat safe, as in `deploy` (R21).
            correlation_id: what the command belongs to, as in `deploy`.
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.publish(self._streams, version_id, promote, why))

    def promote(
        self,
        version_id: VersionNamed,
        *,
        expected_primary: VersionNamed | Expect | None = Expect.ANYTHING,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Make an active version primary; a draft is published first (R8).

        Raises:
            VersionNotActiveError: it is not active.
            PrimaryMovedError: another version than `expected_primary` is primary (R22).
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.promote(self._streams, version_id, expected_primary, why))

    def rollback(
        self,
        model_name: str,
        *,
        expected_primary: VersionNamed | Expect | None = Expect.ANYTHING,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Go back to the nearest earlier primary that is still active, as undo does, and return it (R13).

        Raises:
            NothingToRollBackToError: there is none.
            PrimaryMovedError: another version than `expected_primary` is primary (R22).
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.rollback(self._streams, model_name, expected_primary, why))

    def deactivate(
        self,
        version_id: VersionNamed,
        *,
        expected_primary: VersionNamed | Expect | None = Expect.ANYTHING,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Stop a version at once, whether it is active or activating (R16).

        Raises:
            PrimaryProtectedError: the policy keeps the primary while another version could serve (R11).
            PrimaryMovedError: another version than `expected_primary` is primary (R22).
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.deactivate(self._streams, version_id, expected_primary, why))

    def activate(
        self,
        version_id: VersionNamed,
        *,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Start an inactive version again (R14).

        If activation is awaited, the returned version has the `activation_id` to answer with.
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.activate(self._streams, version_id, why))

    def complete_activation(
        self,
        version_id: VersionNamed,
        activation_id: str,
        *,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Report that the serving environment is ready; a stale report changes nothing (R15)."""
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.complete_activation(self._streams, version_id, activation_id, why))

    def fail_activation(
        self,
        version_id: VersionNamed,
        activation_id: str,
        *,
        error: str,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Report that the serving environment did not start; a stale report changes nothing (R15)."""
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.fail_activation(self._streams, version_id, activation_id, error, why))

    def delete(
        self,
        version_id: VersionNamed,
        *,
        expected_primary: VersionNamed | Expect | None = Expect.ANYTHING,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnVersion:
        """Delete a version for ever; deleting the last one deletes its model (R17).

        The facts stay in the log: name, number and metadata, the artifact's digest, who, when and why. Only
        `collect_artifacts` erases contents, and only if no other version has the same. So deleting erases no personal
        data.

        Raises:
            PrimaryProtectedError: the policy keeps the primary while another version could serve (R11).
            PrimaryMovedError: another version than `expected_primary` is primary (R22).
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run(requests.delete(self._streams, version_id, expected_primary, why))

    def delete_model(
        self,
        model_name: str,
        *,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnModel:
        """Delete all remaining versions, and with them the model; its name is then free (R6)."""
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run_on_model(requests.delete_model(self._streams, model_name, why))

    def clear_primary(
        self,
        model_name: str,
        *,
        expected_primary: VersionNamed | Expect | None = Expect.ANYTHING,
        actor: str | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
    ) -> OnModel:
        """Leave a model without a primary on purpose, until a version claims the role again (R29).

        Every claim is withdrawn; the versions stay as they are. No policy gives the role to another version.

        Raises:
            PrimaryMovedError: another version than `expected_primary` is primary (R22).
        """
        why = because(actor, reason, idempotency_key, correlation_id)
        return self._run_on_model(requests.clear_primary(self._streams, model_name, expected_primary, why))


class Preview(Commands["tuple[Event, ...]", "tuple[Event, ...]"]):
    """The commands of a registry, without their effect: each returns the events that it would record now."""

    def __init__(
        self,
        streams: CachedStreams,
        deciding: Deciding,
        stored: Callable[[object, str | Serializer | None], ArtifactRef],
    ) -> None:
        """Decide as a registry does; `stored` returns a reference and keeps nothing."""
        self._streams = streams
        self._deciding = deciding
        self._refer = stored

    def _run(self, request: Request) -> tuple[Event, ...]:
        return tuple(self._deciding.preview(request))

    _run_on_model = _run

    def _stored(self, model: object, serializer: str | Serializer | None) -> ArtifactRef:
        return self._refer(model, serializer)
