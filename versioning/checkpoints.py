"""What the whole log was at a moment, in one line that can be kept elsewhere, and who vouches for it.

The law of this room: **a checkpoint proves as much as the place where it is kept**. Whoever can write the database can
make every link in it anew; a checkpoint on another machine, or signed with a key that is not there, is what they can't.

The head is a running SHA-256 over all rows in the order of their positions: of each, position, stream, sequence and
chain link, and each link covers all the rest of its row. The marks are the beginnings of the heads at up to 1,000 rows
on the way, so that where a log was rewritten can be told: to the row in logs of up to 1,000 rows.
"""

from __future__ import annotations

import bisect
import hashlib
import importlib
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

import attrs
import msgspec

from versioning.errors import InvalidArgumentError, NewerFormatError, StorageError, shown
from versioning.persistence import carried_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from versioning.persistence import LogRow

FORMAT: Final = "model-versioning.checkpoint."
VERSION: Final = 1
MARKS_MAX: Final = 1_000
MARK_CHARACTERS: Final = 16
FILE_BYTES_MAX: Final = 1_000_000
_POSITION_MAX: Final = 2**63 - 1
_is_head: Final = re.compile(r"[0-9a-f]{64}").fullmatch
_is_mark: Final = re.compile(r"[0-9a-f]{16}").fullmatch
_is_signature: Final = re.compile(r"[0-9a-f]{128}").fullmatch
_is_format: Final = re.compile(r"[1-9][0-9]{0,8}").fullmatch

Key: TypeAlias = object
"""A key of Ed25519: PEM as bytes or text, a Path to a PEM file, or a key object of `cryptography`."""
