"""What does the command line call what a hint names?

The law of this room: **no answer on a terminal tells anybody to write Python.** Hints name calls by placeholders
(`versioning/errors.py`); here each has the words of a verb or an option. What only the library can do is named without
its call.

To add a placeholder: a line here, and one in `errors.PYTHON`; a test compares both with the hints of the package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS: Final[Mapping[str, str]] = {
    "adopt": "doctor --adopt-artifacts",
    "artifacts": "--artifacts",
    "bookmark": "versioning log --json",
    "blank": "Is a variable of the shell unset? Leave the option out",
    "checkpoint": "--checkpoint",
    "clock": "a clock that tells UTC",
    "literally": "as in every URL",
    "migrate": "`migrate`",
    "models": "`ls`",
    "no_clock_limit": "--clock-skew-max-s none",
    "now": "2026-01-31T14:03:00Z",
    "number": "NAME@1.2.0",
    "overwrite": "--overwrite",
    "policy": "--losing-primary refuse",
    "predict": "a method predict",
    "private_key": "`openssl genpkey -algorithm ed25519`",
    "publish": "--publish",
    "read_only": "the wish to read only",
    "rebuild": "`rebuild`",
    "restoring": "`explain restoring`",
    "seen": "its number or its version_id",
    "serializer": "--serializer",
    "skops": "the serializer skops and its trusted types, in Python,",
    "stores": "sqlite:///relative.db, sqlite:////absolute.db or postgresql://user:password@host/database",
    "svg": "--svg",
    "take_checkpoint": "`checkpoint`",
    "ten_minutes": "10 minutes",
    "trusted": "trust in Python",
    "version": "NAME@1.2.0, NAME@primary or a version_id",
    "versions": "`ls NAME`",
    "views": "`doctor`",
}
"""Words of the command line for the placeholders that hints use."""
