"""What do the options say that several verbs share?

The law of this room: **a shared option means the same with every verb, and is read once**, into one frozen value. A
question makes no store: only `deploy`, `import` and `migrate` do; and it needs no right to write.

To add a shared option: its declaration in `options.py`, and its name and what reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import attrs

from versioning.cli.addresses import parse_point
from versioning.cli.tables import Look, Stage
from versioning.errors import InvalidArgumentError, NotFoundError, shown
from versioning.registry import ModelRegistry
from versioning.rules import Policy
from versioning.store.opening import (
    CLOCK_SKEW,
    CLOCK_SKEW_VALUES,
    DEFAULT_URL,
    access_to,
    is_memory,
    is_postgres,
    read_clock_skew,
    with_clock_skew,
)

if TYPE_CHECKING:
    import click

    from versioning.answers import Answers

_PREVIEWED: Final = "versioning.db.artifacts"
"""Folder for the contents of a preview in memory; it is never made."""
_FORMS: Final = ("json", "nl", "csv")
_WHY: Final = ("actor", "reason", "idempotency_key", "correlation_id")
_POLICY: Final = ("activation", "losing_primary", "publishing_claims")
SHARED: Final = frozenset({"url", "workspace", "artifacts", "as_of", "dry_run", CLOCK_SKEW, *_FORMS, *_WHY, *_POLICY})
"""Names of the options that `Given` holds."""


@attrs.frozen
class Given:
    """Values of the options that several verbs share."""

    place: str = DEFAULT_URL
    """URL of the store."""
    workspace: str = "default"
    """Workspace whose models are meant."""
    artifacts: str | None = None
    """Folder of the contents of artifacts, unless it stands beside a SQLite file."""
    as_of: str | None = None
    """Moment or position that a question asks about; None for now."""
    look: Look = "text"
    """Form of the answer."""
    why: Mapping[str, Any] = attrs.field(factory=dict)
    """Who, why, the idempotency key and the correlation id, under their names in the library."""
    dry_run: bool = False
    """Whether a command only shows what it would record."""
    policy: Policy = attrs.field(factory=Policy)
    """Policy that the command is decided by."""

    @classmethod
    def of(cls, context: click.Context) -> Given:
        """Return what the command line and the environment say; the verb's own options win over those before it."""
        values = {**context.params}
        for name, value in ({} if context.parent is None else context.parent.params).items():
            if values.get(name) is None:
                values[name] = value
        given = {name: value for name, value in values.items() if name in SHARED and value is not None}
        policy = {name: given[name] for name in _POLICY if name in given}
        return cls(
            **{name: given[name] for name in ("workspace", "artifacts", "as_of", "dry_run") if name in given},
            place=_placed(given.get("url", DEFAULT_URL), given.get(CLOCK_SKEW)),
            look=_look([name for name in _FORMS if given.get(name)]),
            why={name: given[name] for name in _WHY if name in given},
            policy=Policy(**policy),
        )

    def stage(self) -> Stage:
        """Return where the answer appears."""
        return Stage(self.look)

    def open(self, *, makes: bool = False, asks: bool = False) -> ModelRegistry:
        """Open the registry.

        Args:
            asks: whether nothing is recorded, so that the right to read is enough.
            makes: whether a missing store may be made; a dry run uses one in memory instead.

        Raises:
            NotFoundError: there is no store.
            InvalidArgumentError: the store would be made in memory.
        """
        place, artifacts = self.place, self.artifacts
        if is_memory(place) and makes and not self.dry_run:
            msg = "A store in memory is gone as soon as this command ends."
            raise InvalidArgumentError(msg, hint="Name a file with --url sqlite:///models.db.", argument="url")
        access = access_to(place) if self.dry_run or not makes else "write"
        if access is None:
            if not makes:
                raise no_store(place)
            place, artifacts = "memory:", artifacts or _PREVIEWED
        only_reads = access == "read" and (asks or self.dry_run)
        return ModelRegistry(
            place, workspace=self.workspace, policy=self.policy, artifacts=artifacts, read_only=only_reads
        )

    def asked(self, registry: ModelRegistry) -> Answers:
        """Return what answers questions: the present, or the past that --as-of names."""
        return registry if self.as_of is None else registry.at(parse_point(self.as_of, "--as-of"))


def _placed(url: str, clock_skew: str | None) -> str:
    """Return the URL with the limit that the command line names, which wins over the URL's own.

    Raises:
        InvalidArgumentError: it names none.
    """
    if clock_skew is None:
        return url
    try:
        read_clock_skew(clock_skew)
    except ValueError:
        msg = f"--clock-skew-max-s is {CLOCK_SKEW_VALUES}, not {shown(clock_skew)}."
        raise InvalidArgumentError(
            msg, rule="R23", hint="For example --clock-skew-max-s none.", argument=CLOCK_SKEW
        ) from None
    return with_clock_skew(url, clock_skew)


def no_store(place: str) -> NotFoundError:
    """Return the error for a missing store; a URL that may hold a password is not repeated."""
    where = "at the URL of that PostgreSQL database and schema" if is_postgres(place) else f"at {shown(place)}"
    hint = "Check --url and VERSIONING_URL for a typo; `migrate` or the first `deploy` makes a store."
    return NotFoundError(f"There is no store {where}.", hint=hint)


def _look(forms: list[str]) -> Look:
    if len(forms) > 1:
        msg = f"--{forms[0]} and --{forms[1]} exclude each other."
        raise InvalidArgumentError(msg, hint="Ask for one form.", argument=forms[1])
    return cast("Look", forms[0] if forms else "text")
