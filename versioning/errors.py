"""The errors, sorted by who has to act.

The law of this room: every error states in one sentence what is wrong. It carries a stable `code`, the number of the
rule behind it if there is one, and a `hint` that says what to do next. Its branch says who has to act:

- `InvalidInputError`: the caller. The argument can never be accepted.
- `NotFoundError`: the caller. Something that the call names does not exist.
- `RefusedError`: the caller. The rules forbid the command in the present state.
- `TryAgainError`: nobody. The same call may succeed in a moment.
- `StorageError`: the operator of the store, or of the artifacts folder.

A hint is data. It names a call by a placeholder, such as `{models}`, and each face words it: Python by `PYTHON` below,
a client of a service by `OUTSIDE`, the command line by a table of its own.

**A client of a service learns nothing of the machine:** `to_dict()` has no path of a file, no address of a server and
no call of Python. An error that could name one has a second sentence, `outside`, and the first stays in the log.

To add an error: write a class with a docstring, a `code` and a `hint_text`, and raise it. To add a placeholder: give it
words in every face. Tests compare the codes with the table in README.md and with the places that raise them, and the
placeholders with the faces.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_CHARACTERS_MAX = 120
"""Longest excerpt of a caller's value that an error repeats."""

PYTHON: Final[Mapping[str, str]] = {
    "adopt": "adopt_artifacts()",
    "artifacts": "artifacts=",
    "bookmark": "Recorded.bookmark",
    "blank": "Leave it out",
    "checkpoint": "checkpoint=",
    "clock": "clock=lambda: datetime.now(timezone.utc)",
    "literally": "or pass a pathlib.Path, which is taken literally",
    "migrate": "a ModelRegistry",
    "models": "models()",
    "no_clock_limit": "clock_skew_max_s=None, or ?clock_skew_max_s=none in the URL",
    "now": "datetime.now(timezone.utc)",
    "number": 'version("name@1.2.0")',
    "overwrite": "overwrite=True",
    "policy": 'Policy(losing_primary="refuse")',
    "predict": "predict(inputs)",
    "private_key": "Ed25519PrivateKey.generate()",
    "publish": "publish=True",
    "read_only": "read_only=True",
    "rebuild": "rebuild()",
    "restoring": 'explain("restoring")',
    "seen": 'its version_id, the Version, or an address such as "fraud@1.2.0"',
    "serializer": "serializer=",
    "skops": "serializer=SkopsSerializer(trusted_types=[…])",
    "stores": "memory:, sqlite:///relative.db, sqlite:////absolute.db, postgresql://user:password@host/database, or a "
    "pathlib.Path",
    "svg": 'format="svg"',
    "take_checkpoint": "checkpoint()",
    "ten_minutes": "timedelta(minutes=10)",
    "trusted": "trusted=True",
    "version": 'a version_id, a Version, or an address such as "fraud@1.2.0" or "fraud@primary"',
    "versions": "versions(model_name)",
    "views": "views()",
}
"""Words of the library for the placeholders that hints use."""
OUTSIDE: Final[Mapping[str, str]] = {
    "adopt": "adopting it",
    "artifacts": "the artifacts folder",
    "bookmark": "the bookmark of an event",
    "blank": "Leave it out",
    "checkpoint": "the checkpoint",
    "clock": "a clock that tells UTC",
    "literally": "as in every URL",
    "migrate": "a command",
    "models": "the list of models",
    "no_clock_limit": "clock_skew_max_s none",
    "now": "2026-01-31T14:03:00Z",
    "number": "name@1.2.0",
    "overwrite": "overwrite",
    "policy": "losing_primary refuse",
    "predict": "a method predict",
    "private_key": "a tool for Ed25519 keys",
    "publish": "publish",
    "read_only": "the wish to read only",
    "rebuild": "a rebuild",
    "restoring": "the page on restoring",
    "seen": 'its version_id, or an address such as "fraud@1.2.0"',
    "serializer": "a serializer",
    "skops": "the serializer skops and its trusted types",
    "stores": "the form that the documentation shows",
    "svg": "svg",
    "take_checkpoint": "the service that has the log",
    "ten_minutes": "10 minutes",
    "trusted": "that you trust it",
    "version": 'a version_id, or an address such as "fraud@1.2.0" or "fraud@primary"',
    "versions": "the list of versions",
    "views": "the state of the views",
}
"""Words for a client of a service, who sees neither Python nor the command line."""
_OUTSIDE_FACTS: Final = frozenset({"argument", "index", "line", "position", "uri"})
"""Facts that a client may see of an error whose sentence it may not."""
_PLACEHOLDER: Final = re.compile(r"\{\{|\{([a-z_]+)\}")


def worded(hint: str, words: Mapping[str, str]) -> str:
    """Return a hint with its placeholders in the words of one face; `{{` stands for a brace."""
    return _PLACEHOLDER.sub(lambda found: words.get(found[1], found[0]) if found[1] else "{", hint)


def verbatim(text: str) -> str:
    """Return a text for use inside a hint, so that no part of it counts as a placeholder."""
    return text.replace("{", "{{")


def shown(value: object) -> str:
    """Return a caller's value as an error may repeat it: escaped, on one line, and cut."""
    try:
        text = ascii(value) if isinstance(value, str) else " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a value whose own repr fails still deserves a readable refusal
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


class VersioningError(Exception):
    """Any error that this library raises on purpose; catch it to catch them all."""

    code: ClassVar[str] = "versioning"
    """Stable name of the kind of error, for programs to compare."""
    status: ClassVar[int] = 500
    """HTTP status that a service would answer with."""
    rule: str | None = None
    """Number of the rule behind the error, such as "R13"."""
    hint_text: str = ""
    """What to do next, with a `{placeholder}` for each call."""
    outside: str | None = None
    """Sentence for a client of a service, where `sentence` may name a file, a server or a library."""
    outside_hint: ClassVar[str | None] = None
    """What such a client can do next, where that is not what `hint_text` of the class says."""
    retry_after_s: ClassVar[int | None] = None
    """Seconds after which to try again, for the header Retry-After of an answer 503."""

    def __init__(
        self,
        sentence: str,
        *,
        rule: str | None = None,
        hint: str | None = None,
        outside: str | None = None,
        **facts: object,
    ) -> None:
        """Keep the sentence; `facts` become attributes and members of `to_dict()`."""
        super().__init__(sentence)
        self.sentence = sentence
        if rule is not None:
            self.rule = rule
        if hint:
            self.hint_text = hint
        if outside is not None:
            self.outside = outside
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        """Return the sentence, the rule and the hint."""
        rule = f" [{self.rule}]" if self.rule else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{self.sentence}{rule}{hint}"

    @property
    def hint(self) -> str:
        """What to do next, in Python's words."""
        return self.hint_in(PYTHON)

    def hint_in(self, words: Mapping[str, str]) -> str:
        """Return what to do next, in the words of another face."""
        return worded(self.hint_text, words)

    def to_dict(self, words: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the members of an RFC 9457 problem document, plus `code`, `rule`, `hint` and the error's own facts.

        It is fit for a client of a service: what names a file, a server or a library is only in the error itself, for
        the log. An error of status 503 has `retry_after_s`.

        Args:
            words: the words of a face whose users run the store themselves; for them it says all.
        """
        detail, hint, facts = self.sentence, self.hint_in(OUTSIDE if words is None else words), self.facts
        if words is None and self.outside is not None:
            detail, hint = self.outside, worded(self.outside_hint or type(self).hint_text, OUTSIDE)
            facts = {name: value for name, value in facts.items() if name in _OUTSIDE_FACTS}
        known = {"retry_after_s": self.retry_after_s, **facts}
        return {
            "type": f"urn:model-versioning:error:{self.code}",
            "title": (type(self).__doc__ or "").split("\n", 1)[0].rstrip("."),
            "status": self.status,
            "detail": detail,
            "code": self.code,
            "rule": self.rule,
            "hint": hint,
            **{name: _in_json(value) for name, value in known.items() if value is not None},
        }


def _in_json(fact: object) -> object:
    """Return a fact in JSON types; a moment as RFC 3339 text."""
    if isinstance(fact, datetime):
        return fact.isoformat().replace("+00:00", "Z")
    return list(fact) if isinstance(fact, tuple) else fact


# The argument can never be accepted.


class InvalidInputError(VersioningError):
    """An argument can never be accepted, whatever the state."""

    code = "invalid-input"
    status = 422


class InvalidNameError(InvalidInputError):
    """A model's name does not have the form that rule R4 asks for."""

    code = "invalid-name"
    rule = "R4"
    hint_text = "Use 1 to 256 characters, with no control characters and no white space at either end."


class InvalidBumpError(InvalidInputError):
    """A version bump is not one of the three words."""

    code = "invalid-bump"
    rule = "R2"
    hint_text = "Use MAJOR, MINOR or PATCH."


class InvalidArgumentError(InvalidInputError):
    """Some other argument can't be accepted."""

    code = "invalid-argument"
    hint_text = "Correct the argument and call again; nothing was recorded."


# Something that the call names does not exist.


class NotFoundError(VersioningError):
    """Something that the call names does not exist."""

    code = "not-found"
    status = 404


class ModelNotFoundError(NotFoundError):
    """This workspace has no such model."""

    code = "model-not-found"
    rule = "R24"
    hint_text = "Names are case-sensitive and belong to one workspace; {models} lists them."
    suggestions: tuple[str, ...] = ()
    """Names of existing models that look alike."""


class VersionNotFoundError(NotFoundError):
    """There is no such version."""

    code = "version-not-found"
    rule = "R24"
    hint_text = "{versions} lists those that exist."


class NoPrimaryVersionError(NotFoundError):
    """The model has no primary version, so nothing answers a call that names no version."""

    code = "no-primary-version"
    rule = "R24"
    hint_text = "Publish or promote an active version, or name the version you want."


class ArtifactNotFoundError(NotFoundError):
    """The contents of an artifact are missing from the artifacts folder."""

    code = "artifact-not-found"
    rule = "R26"
    hint_text = "They were erased, or this registry uses another artifacts folder than the one that deployed them."


# The rules forbid the command in the present state.


class RefusedError(VersioningError):
    """A rule forbids the command in the present state; nothing was recorded."""

    code = "refused"
    status = 409


class VersionNotActiveError(RefusedError):
    """The command needs an active version."""

    code = "version-not-active"
    rule = "R8"
    hint_text = "Activate it first, and wait until it is active."


class VersionDeletedError(RefusedError):
    """The version was deleted, and deletion is final."""

    code = "version-deleted"
    rule = "R17"
    hint_text = "Deploy it again, as a new version."


class PrimaryProtectedError(RefusedError):
    """The policy protects the primary while another version could take over."""

    code = "primary-protected"
    rule = "R11"
    hint_text = "Promote another version first."


class PrimaryMovedError(RefusedError):
    """The primary moved after the caller looked at it."""

    code = "primary-moved"
    rule = "R22"
    hint_text = "Look at the primary again, then decide again."
    expected: str | None = None
    actual: str | None = None


class NothingToRollBackToError(RefusedError):
    """No earlier primary is still active."""

    code = "nothing-to-roll-back-to"
    rule = "R13"
    hint_text = "Activate an earlier version, or promote the version you want."


class IdempotencyConflictError(RefusedError):
    """The idempotency key was already used for another command."""

    code = "idempotency-conflict"
    rule = "R21"
    hint_text = "Use a new key for each command, and repeat a key only to retry the same command."


class LogRewoundError(RefusedError):
    """The log does not have the event behind which it should be read: it is another, or an older copy was restored."""

    code = "log-rewound"
    hint_text = (
        "A backup was restored, or a server that lagged was promoted: whatever was read beyond the common part is no "
        "longer so. Go back to what it has, and read from there."
    )
    position: int | None = None
    """Position behind which the log should be read."""
    last_common: int | None = None
    """Last position of which is known that what was read there still stands there; None where none is known."""


class ArtifactUntrustedError(RefusedError):
    """Loading this artifact can run code that it contains."""

    code = "artifact-untrusted"
    hint_text = (
        "Pass {trusted} if you trust everyone who could have deployed it, or deploy in a format that runs no code."
    )


# Nobody has to act; the same call may succeed in a moment.


class TryAgainError(VersioningError):
    """The same call may succeed in a moment."""

    code = "try-again"
    status = 503
    retry_after_s = 1


class ConcurrencyError(TryAgainError):
    """Others kept changing the model while this command was decided; nothing was recorded."""

    code = "concurrency"
    rule = "R22"
    hint_text = "Try again, preferably with an idempotency key."


# The operator has to act.


class StorageError(VersioningError):
    """The store or the artifacts folder can't do what was asked."""

    code = "storage"
    outside = "The store or the artifacts folder can't do what was asked."
    outside_hint = "Whoever runs the service finds the details in its log."


class StoreError(StorageError):
    """The database is unreachable, locked, full or broken."""

    code = "store"
    status = 503
    retry_after_s = 5
    outside = "The database or the artifacts folder can't be used now."
    outside_hint = (
        "Try again in a moment. Whether a command was recorded may not be known: "
        "with an idempotency key it can safely be sent again."
    )
    hint_text = "Check the database. A command with an idempotency key can safely be sent again."


class ReadOnlyError(StorageError):
    """The store was opened to be read only, so nothing can be recorded or changed through it."""

    code = "read-only"
    status = 403
    outside = "The service only reads here."
    hint_text = "Open it without {read_only}, where it may be written to; nothing was recorded."


class CorruptLogError(StorageError):
    """A row of the log is not as this library wrote it."""

    code = "corrupt-log"
    outside = "A part of the log can't be read."
    hint_text = "Nothing was imported or built from it. Keep a copy of the database, and compare it with a backup."
    position: int | None = None
    """Position of the row in the log."""


class NewerFormatError(StorageError):
    """A newer release of this library wrote this row."""

    code = "newer-format"
    outside = "A newer release of this library wrote what was asked for."
    hint_text = "Upgrade model-versioning in this process."
    position: int | None = None


class ArtifactsNotOwnedError(StorageError):
    """The artifacts folder belongs to another store, or to a log that went another way, so nothing is erased there."""

    code = "artifacts-not-owned"
    outside = "The artifacts folder belongs to another store."
    rule = "R26"
    hint_text = (
        "If no other store needs what is in it, {adopt} makes it this store's own; then only contents that this very "
        "log deployed and deleted are erased."
    )


class ClockError(StorageError):
    """The model's last event lies in the future of this command's clock, so one of two clocks is wrong."""

    code = "clock"
    outside = "A clock of the service is wrong, so nothing was recorded."
    rule = "R23"
    hint_text = (
        "Find the machine whose clock is wrong, and correct it. If it was the one that recorded that event, go on with "
        "{no_clock_limit}: timestamps then stand still until the clock has caught up. Or use another name."
    )
    event_at: datetime
    """Timestamp of the model's last event, in UTC."""
    clock_at: datetime
    """What the clock of the command showed, in UTC."""
    position: int | None = None
    """Position of that event."""
    actor: str | None = None
    """Who recorded it, if somebody was named."""


class ArtifactDamagedError(StorageError):
    """The contents of an artifact differ from what was deployed."""

    code = "artifact-damaged"
    outside = "The contents of the artifact differ from what was deployed."
    rule = "R26"
    hint_text = "Restore the file from a backup, or deploy the model again."
