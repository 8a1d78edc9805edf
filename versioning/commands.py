"""What is asked for: one frozen value per command, named in the imperative.

The law of this room: a command holds everything needed to decide it, except the state, the policy and the moment. So
`rules.decide` stays a pure function. Arguments are checked before a command is built (`limits.py`).

To add one: a class, its line in `COMMANDS`, and its rows in `rules.TRANSITIONS`.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import attrs

from versioning.events import ArtifactRef

Bump: TypeAlias = Literal["MAJOR", "MINOR", "PATCH"]


class Expect(enum.Enum):
    """Default of `expected_primary`: expect nothing."""

    ANYTHING = "anything"


ExpectedPrimary: TypeAlias = str | Literal[Expect.ANYTHING] | None
"""A version_id, None to expect that there is no primary, or nothing expected (R22)."""


@attrs.frozen
class Deploy:
    """Record a new version of the name."""

    artifact: ArtifactRef
    token: str
    """32 random bits as 8 hexadecimal digits. They go into the version_id, so the rules need no randomness."""
    bump: Bump = "MINOR"
    publish: bool = False
    promote: bool | None = None
    metadata: str = "{}"


@attrs.frozen
class Publish:
    """Turn a draft into a published version."""

    version_id: str
    promote: bool | None = None


@attrs.frozen
class Promote:
    """Make a version primary."""

    version_id: str
    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Rollback:
    """Go back to the previous primary."""

    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Deactivate:
    """Stop a version immediately."""

    version_id: str
    expected_primary: ExpectedPrimary = Expect.ANYTHING


@attrs.frozen
class Activate:
    """Start a version again."""

    version_id: str


@attrs.frozen
class CompleteActivation:
    """Report that a version's serving environment is ready."""

    version_id: str
    activation_id: str


@attrs.frozen
class FailActivation:
    """Report that a version's serving environment did not start."""

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
    """Delete all remaining versions, and with them the model."""


@attrs.frozen
class ClearPrimary:
    """Leave the model without a primary on purpose."""

    expected_primary: ExpectedPrimary = Expect.ANYTHING


VersionCommand: TypeAlias = Publish | Promote | Deactivate | Activate | CompleteActivation | FailActivation | Delete
Command: TypeAlias = Deploy | Rollback | DeleteModel | ClearPrimary | VersionCommand

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
    "clear_primary": ClearPrimary,
}
"""Each command by the name that users call."""

NAMES: dict[type[Command], str] = {command: name for name, command in COMMANDS.items()}
