"""What is asked: one frozen value a command, in the imperative.

The law of this room: a command holds everything that deciding it needs besides the state, the policy and the moment, so
that `rules.decide` stays a pure function. Arguments are checked before a command is made (`limits.py`).
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import attrs

from versioning.events import ArtifactRef

Bump: TypeAlias = Literal["MAJOR", "MINOR", "PATCH"]


class Expect(enum.Enum):
    """What `expected_primary` is when it is left out."""

    ANYTHING = "anything"


ExpectedPrimary: TypeAlias = str | Literal[Expect.ANYTHING] | None
"""A version_id, None for "there is none", or nothing expected (R22)."""


@attrs.frozen
class Deploy:
    """Make a new version of the name."""

    artifact: ArtifactRef
    token: str
    """32 random bits, 8 hexadecimal digits: they go into the version_id, so that the rules need no randomness."""
    bump: Bump = "MINOR"
    publish: bool = False
    promote: bool | None = None
    metadata: str = "{}"


@attrs.frozen
class Publish:
    """Make a draft a published version."""

    version_id: str
    promote: bool | None = None


@attrs.frozen
class Promote:
    """Make a version primary."""

    version_id: str
    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Rollback:
    """Go back to the primary before."""

    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Deactivate:
    """Stop a version at once."""

    version_id: str
    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Activate:
    """Start a version again."""

    version_id: str


@attrs.frozen
class CompleteActivation:
    """Answer that a version's serving environment is ready."""

    version_id: str
    activation_id: str


@attrs.frozen
class FailActivation:
    """Answer that a version's serving environment did not start."""

    version_id: str
    activation_id: str
    error: str


@attrs.frozen
class Delete:
    """Delete a version for ever."""

    version_id: str
    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class DeleteModel:
    """Delete all versions that are left, and so the model."""


VersionCommand: TypeAlias = Publish | Promote | Deactivate | Activate | CompleteActivation | FailActivation | Delete
Command: TypeAlias = Deploy | Rollback | DeleteModel | VersionCommand

COMMANDS: dict[str, type[Command]] = {
    "deploy": Deploy,
    "publish": Publish,
    "promote": Promote,
    "rollback": Rollback,
    "deactivate": Deactivate,
    "activate": Activate,
    "complete_activation": CompleteActivation,
    "fail_activation": FailActivation,
    "delete": Delete,
    "delete_model": DeleteModel,
}
"""The commands by the names that users call them."""

NAMES: dict[type[Command], str] = {command: name for name, command in COMMANDS.items()}
