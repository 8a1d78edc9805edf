"""What can go wrong, by who must act.

The law of this room: every error says in one sentence what is so, carries a stable `code`, the number of the rule in
the specification where there is one, and a `hint` that says what to do next. The branch says who must act:

- `InvalidInputError`: the caller, whose argument can't be accepted on any day.
- `NotFoundError`: the caller, who named what is not there.
- `RefusedError`: the caller, who asked for what the rules forbid in the present state.
- `TryAgainError`: nobody; the same call may succeed in a moment.
- `StorageError`: whoever runs the store, or the folder of artifacts.

To add one: a class with a docstring, a `code` and a `hint`, raised somewhere. A test compares the codes with the table
in ARCHITECTURE.md and with the places that raise them.
"""

from __future__ import annotations

from typing import Any, ClassVar

SHOWN_CHARACTERS_MAX = 120
"""How much of a caller's value an error repeats."""


def shown(value: object) -> str:
    """A caller's value as an error may repeat it: escaped, on one line, and cut."""
    try:
        text = ascii(value) if isinstance(value, str) else " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a value whose own repr fails still deserves a readable refusal
        text = f"<{type(value).__name__}>"
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


class VersioningError(Exception):
    """Anything that this library raises on purpose; catch it to catch all."""

    code: ClassVar[str] = "versioning"
    status: ClassVar[int] = 500
    """The HTTP status that a service would answer with."""
    rule: str | None = None
    hint: str = ""

    def __init__(self, sentence: str, *, rule: str | None = None, hint: str | None = None, **facts: object) -> None:
        """Take the sentence; `facts` become attributes and members of `to_dict()`."""
        super().__init__(sentence)
        self.sentence = sentence
        if rule is not None:
            self.rule = rule
        if hint:
            self.hint = hint
        self.facts = facts
        for name, value in facts.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        """The sentence, the rule and the hint, for somebody who is tired at night."""
        rule = f" [{self.rule}]" if self.rule else ""
        hint = f" {self.hint}" if self.hint else ""
        return f"{self.sentence}{rule}{hint}"

    def to_dict(self) -> dict[str, Any]:
        """Give the members of an RFC 9457 problem document, plus `code`, `rule`, `hint` and the error's own facts."""
        facts = {name: value for name, value in self.facts.items() if value is not None}
        return {
            "type": f"urn:model-versioning:error:{self.code}",
            "title": (type(self).__doc__ or "").split("\n", 1)[0].rstrip("."),
            "status": self.status,
            "detail": self.sentence,
            "code": self.code,
            "rule": self.rule,
            "hint": self.hint,
            **facts,
        }


# The caller's argument can't be accepted on any day.


class InvalidInputError(VersioningError):
    """An argument can't be accepted, whatever the state."""

    code = "invalid-input"
    status = 422


class InvalidNameError(InvalidInputError):
    """A model's name is not of the form that rule R4 asks for."""

    code = "invalid-name"
    rule = "R4"
    hint = "Use 1 to 256 characters, without control characters or white space at the ends."


class InvalidBumpError(InvalidInputError):
    """A version bump is none of the three words."""

    code = "invalid-bump"
    rule = "R2"
    hint = "Use MAJOR, MINOR or PATCH."


class InvalidArgumentError(InvalidInputError):
    """Any other argument that can't be accepted."""

    code = "invalid-argument"
    hint = "Correct the argument, and send the call again; nothing was recorded."


# The caller named what is not there.


class NotFoundError(VersioningError):
    """What was named is not there."""

    code = "not-found"
    status = 404


class ModelNotFoundError(NotFoundError):
    """There is no such model in this workspace."""

    code = "model-not-found"
    rule = "R24"
    hint = "Names are case-sensitive, and belong to one workspace; models() lists them."
    suggestions: tuple[str, ...] = ()
    """Names of models that are there and look alike."""


class VersionNotFoundError(NotFoundError):
    """There is no such version."""

    code = "version-not-found"
    rule = "R24"
    hint = "versions(model_name) lists what is there."


class NoPrimaryVersionError(NotFoundError):
    """The model has no primary version, so that nothing answers an invocation that names none."""

    code = "no-primary-version"
    rule = "R24"
    hint = "Publish or promote an active version, or name the version that you want."


class ArtifactNotFoundError(NotFoundError):
    """The contents of an artifact are not in the folder."""

    code = "artifact-not-found"
    rule = "R26"
    hint = "It was erased, or this registry looks at another artifacts folder than the one that deployed it."


# The rules forbid it in the present state.


class RefusedError(VersioningError):
    """A rule forbids the command in the present state; nothing was recorded."""

    code = "refused"
    status = 409


class VersionNotActiveError(RefusedError):
    """Only an active version can do what was asked."""

    code = "version-not-active"
    rule = "R8"
    hint = "Activate it first, and wait until it is active."


class VersionDeletedError(RefusedError):
    """The version was deleted, which is for ever."""

    code = "version-deleted"
    rule = "R17"
    hint = "Deploy it again: that makes a new version."


class PrimaryProtectedError(RefusedError):
    """The policy refuses to take the primary away while another version could serve."""

    code = "primary-protected"
    rule = "R11"
    hint = "Promote another version first."


class PrimaryMovedError(RefusedError):
    """Somebody moved the primary since the caller looked."""

    code = "primary-moved"
    rule = "R22"
    hint = "Look at the primary again, and decide again."
    expected: str | None = None
    actual: str | None = None


class NothingToRollBackToError(RefusedError):
    """No earlier primary is still active."""

    code = "nothing-to-roll-back-to"
    rule = "R13"
    hint = "Activate an earlier version, or promote the version that you want by its id."


class IdempotencyConflictError(RefusedError):
    """The idempotency key was used for another command."""

    code = "idempotency-conflict"
    rule = "R21"
    hint = "Use a fresh key for each thing that you want done, and the same key only to try that very thing again."


class ArtifactUntrustedError(RefusedError):
    """Loading this artifact can run code that it contains."""

    code = "artifact-untrusted"
    hint = "Pass trusted=True if you trust everybody who could deploy it, or deploy with a format that runs no code."


# Nobody must act; the same call may succeed in a moment.


class TryAgainError(VersioningError):
    """The same call may succeed in a moment."""

    code = "try-again"
    status = 503


class ConcurrencyError(TryAgainError):
    """Others changed the model faster than this command could be decided; nothing was recorded."""

    code = "concurrency"
    rule = "R22"
    hint = "Try again, best with an idempotency key."


# Whoever runs the store must act.


class StorageError(VersioningError):
    """The store, or the folder of artifacts, can't do what was asked."""

    code = "storage"


class StoreError(StorageError):
    """The database can't be reached, is locked, full or broken."""

    code = "store"
    status = 503
    hint = "Look at the database; with an idempotency key the same command can safely be sent again."


class CorruptLogError(StorageError):
    """A row of the log is not what this library wrote."""

    code = "corrupt-log"
    hint = "Nothing was imported or built from it. Keep a copy of the database and compare with a backup."
    position: int | None = None
    """Where the row stands in the whole log."""


class NewerFormatError(StorageError):
    """A newer release of this library wrote this."""

    code = "newer-format"
    hint = "Upgrade model-versioning in this process."
    position: int | None = None


class ArtifactDamagedError(StorageError):
    """The contents of an artifact are not those that were deployed."""

    code = "artifact-damaged"
    rule = "R26"
    hint = "Restore the file from a backup, or deploy the model again."
