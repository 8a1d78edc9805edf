"""Checkpoints: what the whole log was at a moment, in one line that can be kept elsewhere and signed.

The law of this room: **a checkpoint proves as much as the place where it is kept.** Anyone who can write to the
database can recompute every link in it. They can't change a checkpoint that is kept on another machine, or one that is
signed with a key which they do not have.

The head is a running SHA-256 over all rows in the order of their positions. It covers the position, the stream, the
sequence and the link of each row, and the link covers the rest of the row. The marks are the first characters of the
heads at up to 1,000 places on the way. They show where a log was rewritten: to the row, in logs of up to 1,000 rows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import attrs
import msgspec

from versioning.aggregate import NO_LINK
from versioning.audit.files import unreadable, unwritable
from versioning.errors import InvalidArgumentError, NewerFormatError, shown
from versioning.events import Value, moment_of
from versioning.limits import INTEGER_MAX
from versioning.store.format import link_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from versioning.store.contract import LogRow, Store

    Progress: TypeAlias = Callable[[str, int, int], None]
    """Called after each batch with what is being done, how far it has come, and how far it will go."""

FORMAT: Final = "model-versioning.checkpoint.1"
MARKS_MAX: Final = 1_000
"""Number of places on the way at which a checkpoint keeps the beginning of the head."""
MARK_CHARACTERS: Final = 16
"""Number of hexadecimal digits kept of each of those heads."""
BATCH_EVENTS: Final = 5_000
"""Number of rows read at once."""
FILE_BYTES_MAX: Final = 200_000
"""About three times the size of a checkpoint with all its marks."""
_FORM: Final = re.compile(r"model-versioning\.checkpoint\.[1-9][0-9]{0,8}")
_HEX: Final = re.compile(r"[0-9a-f]+")
_ARGUMENT: Final = "checkpoint"

Key: TypeAlias = object
"""An Ed25519 key: PEM as bytes or text, a Path to a PEM file, or a key object of `cryptography`."""


class _Stored(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A checkpoint as it is stored."""

    format: str
    position: int
    count: int
    head: str
    moment: str
    marks: tuple[tuple[int, str], ...] = ()
    signature: str | None = None


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(_Stored).decode


@attrs.frozen
class Checkpoint(Value):
    """What the whole log was, up to a position."""

    position: int
    """Position of the last row covered."""
    count: int
    """Number of rows up to `position`; smaller than `position` where rolled-back appends left gaps."""
    head: str
    """Running SHA-256 over all rows up to `position`, as 64 hexadecimal digits."""
    moment: datetime
    """Moment at which it was taken, in UTC."""
    marks: tuple[tuple[int, str], ...] = attrs.field(default=(), repr=False)
    """Positions on the way, each with the first 16 digits of the head up to it."""
    signature: str | None = attrs.field(default=None, repr=False)
    """Ed25519 signature over all the rest, as 128 hexadecimal digits; None where it is not signed."""

    def to_json(self) -> str:
        """Return it as one line of JSON, which `from_json` and `verify` read."""
        return self._encoded(self.signature).decode()

    def _encoded(self, signature: str | None) -> bytes:
        moment = self.moment.astimezone(UTC).isoformat()
        return _encode(_Stored(FORMAT, self.position, self.count, self.head, moment, self.marks, signature))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the checkpoint that `to_json` wrote.

        Raises:
            InvalidArgumentError: it is not a checkpoint.
            NewerFormatError: a newer release wrote it.
        """
        try:
            stored = _decode(text)
            moment = datetime.fromisoformat(stored.moment)
            utc = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
            msg = f"This is not a checkpoint: {shown(error)}."
            raise _refused(msg) from None
        if stored.format != FORMAT and _FORM.fullmatch(stored.format):
            msg = f"The checkpoint has the newer format {stored.format}."
            raise NewerFormatError(msg)
        problem = _problem_of(stored, moment)
        if problem:
            msg = f"This is not a checkpoint: {problem}."
            raise _refused(msg)
        return cls(stored.position, stored.count, stored.head, utc, stored.marks, stored.signature)

    def write(self, file: str | Path) -> None:
        """Write it to a file. Keep that file where those who can write to the database can't.

        An older checkpoint is replaced.

        Raises:
            InvalidArgumentError: the file exists and is not a checkpoint.
            StoreError: the file can't be written.
        """
        if Path(file).exists():
            type(self).read(file)  # only another checkpoint is replaced
        try:
            Path(file).write_text(self.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            raise unwritable(file, error) from error

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """Return the checkpoint in a file that `write` wrote.

        Raises:
            InvalidArgumentError: the file can't be read, or is not a checkpoint.
            NewerFormatError: a newer release wrote it.
        """
        return cls.from_json(_contents(Path(file), _ARGUMENT))

    def signed(self, private_key: Key) -> Self:
        """Return the same checkpoint with a signature. Needs the extra `sign`.

        Args:
            private_key: an Ed25519 key: PEM without a password, a Path to it, or a key object of `cryptography`.

        Raises:
            InvalidArgumentError: it is not such a key, or `cryptography` is not installed.
        """
        key = _key(private_key, "private")
        return attrs.evolve(self, signature=key.sign(self._encoded(None)).hex())

    def check_signature(self, public_key: Key) -> None:
        """Check that the holder of the private key signed exactly this checkpoint. Needs the extra `sign`.

        Raises:
            InvalidArgumentError: it is not signed, or not by this key; or this is not an Ed25519 public key.
        """
        key = _key(public_key, "public")
        if self.signature is None:
            msg = "The checkpoint is not signed."
            raise _refused(msg)
        try:
            key.verify(bytes.fromhex(self.signature), self._encoded(None))
        except importlib.import_module("cryptography.exceptions").InvalidSignature:
            msg = "The checkpoint was not signed with this key, or was changed since."
            raise _refused(msg, "Ask the person who gave you this checkpoint, through another channel.") from None


def _refused(sentence: str, hint: str = "Take one with {take_checkpoint}, and keep it.") -> InvalidArgumentError:
    return InvalidArgumentError(sentence, hint=hint, argument=_ARGUMENT)


def _problem_of(stored: _Stored, moment: datetime) -> str | None:
    """Return what is wrong with a checkpoint whose types are right, or None."""
    places = [0, *(position for position, _ in stored.marks), stored.position] if stored.marks else []
    texts = [
        (stored.head, 64),
        (stored.signature or "0" * 128, 128),
        *((text, MARK_CHARACTERS) for _, text in stored.marks),
    ]
    if stored.format != FORMAT:
        return f"its format is {shown(stored.format)}"
    if not 0 <= stored.count <= stored.position <= INTEGER_MAX:
        return "its position or its count is out of range"
    if len(stored.marks) > MARKS_MAX or any(place >= later for place, later in pairwise(places)):
        return "its marks are not in order"
    if any(len(text) != length or not _HEX.fullmatch(text) for text, length in texts):
        return "a head, mark or signature is not in lowercase hexadecimal digits"
    if moment.utcoffset() is None:
        return "its moment has no time zone"
    return None


def _contents(path: Path, argument: str) -> bytes:
    try:
        with path.open("rb") as file:
            contents = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise unreadable(path, error, argument) from error
    if len(contents) > FILE_BYTES_MAX:
        msg = f"{shown(str(path))} is too long to be a {argument.replace('_', ' ')}."
        raise InvalidArgumentError(msg, outside="The file is too long.", argument=argument)
    return contents


@functools.cache
def _ed25519() -> Any:  # noqa: ANN401 - a module of an extra
    try:
        return importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
    except ImportError as error:
        msg = "Signatures need cryptography, which is not installed."
        hint, outside = 'pip install "model-versioning[sign]"', "This service can't check signatures."
        raise InvalidArgumentError(msg, hint=hint, outside=outside) from error


def _key(given: Key, kind: str) -> Any:  # noqa: ANN401 - a key of an extra
    """Return a private or public Ed25519 key; what was given is never repeated in an error."""
    wanted = getattr(_ed25519(), f"Ed25519{kind.capitalize()}Key")
    argument = f"{kind}_key"
    found: object = given
    if isinstance(given, Path):
        found = _contents(given, argument)
    if isinstance(found, str):
        found = found.encode(errors="replace")
    if isinstance(found, bytes):
        serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
        load: Callable[..., object] = getattr(serialization, f"load_pem_{kind}_key")
        try:
            found = load(found, None) if kind == "private" else load(found)
        except (ValueError, TypeError, importlib.import_module("cryptography.exceptions").UnsupportedAlgorithm):
            found = None
    if not isinstance(found, wanted):
        msg = f"{argument} is not an Ed25519 {kind} key in PEM, without a password."
        hint = f"Make a pair with {{private_key}}, and pass the {kind} key."
        raise InvalidArgumentError(msg, hint=hint, argument=argument)
    return found


# The head.


class Stop:
    """The head up to a position on the way."""

    __slots__ = ("_hash", "count", "position")

    def __init__(self, position: int, count: int, running: Any) -> None:  # noqa: ANN401 - hashlib's types have no name
        self.position = position
        """Position of the last row up to there."""
        self.count = count
        self._hash = running

    @property
    def head(self) -> str:
        return str(self._hash.hexdigest())

    def head_with(self, line: str) -> str:
        """Return the head that one more row would give."""
        running = self._hash.copy()
        running.update(line.encode())
        return str(running.hexdigest())


class RunningHead:
    """The head of a log that is read from its first row; remembers what it was at the stops."""

    def __init__(self, stops: Iterable[int] = ()) -> None:
        """Start before the first row."""
        self.position = 0
        self.count = 0
        self._hash = hashlib.sha256()
        self.start = self._stop()
        self.stops: dict[int, Stop] = {}
        """Head at each stop that was passed."""
        self._next = sorted(set(stops), reverse=True)

    @property
    def head(self) -> str:
        """The head up to here."""
        return self._hash.hexdigest()

    def _stop(self) -> Stop:
        return Stop(self.position, self.count, self._hash.copy())

    def extend(self, positions: Sequence[int], lines: Sequence[str]) -> None:
        """Add the next rows: their positions, in order, and what `head_line` returns for each."""
        done = 0
        while self._next and positions and self._next[-1] < positions[-1]:
            stop = self._next.pop()
            upto = done
            while positions[upto] <= stop:
                upto += 1
            self._update(positions[done:upto], lines[done:upto])
            self.stops[stop] = self._stop()
            done = upto
        self._update(positions[done:], lines[done:])

    def _update(self, positions: Sequence[int], lines: Sequence[str]) -> None:
        if positions:
            self._hash.update("".join(lines).encode(errors="surrogatepass"))
            self.position = positions[-1]
            self.count += len(positions)

    def end(self) -> None:
        """Pass the stops that lie at the end of the log or behind it."""
        while self._next:
            self.stops[self._next.pop()] = self._stop()


def head_line(row: LogRow) -> str:
    """Return what the head covers of a row; for a row without a link, everything it has."""
    position, stream, sequence, _, state = row
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        link = link_of(state)
        if len(link) == len(NO_LINK):
            return f"{position} {stream} {sequence} {link.hex()}\n"
    return f"{position} !{row!a}\n"


# Taking them, and reading what a caller hands over.


def take_checkpoint(store: Store, now_us: int, progress: Progress | None = None) -> Checkpoint:
    """Read the whole log and return what it is; whether it holds is for `verify`.

    Raises:
        CorruptLogError: the database itself can't return a row.
    """
    last = store.head()
    step = max(1, -(-last // MARKS_MAX))
    head, position = RunningHead(range(step, last, step)), 0
    while rows := store.log(position, BATCH_EVENTS, last):
        position = rows[-1][0]
        head.extend([row[0] for row in rows], [head_line(row) for row in rows])
        if progress is not None:
            progress("checkpoint", position, last)
    marks = {stop.position: stop.head[:MARK_CHARACTERS] for stop in head.stops.values() if 0 < stop.position < position}
    return Checkpoint(head.position, head.count, head.head, moment_of(now_us), tuple(sorted(marks.items())))


def given_checkpoints(given: object, public_key: Key | None) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that a caller handed over, read from files where needed, in the order of positions.

    Raises:
        InvalidArgumentError: one is not a checkpoint, or was not signed with the key.
    """
    alone = given is None or isinstance(given, Checkpoint | str | Path) or not isinstance(given, Iterable)
    handed: list[object] = [given] if alone else list(given)  # type: ignore[call-overload]  # an Iterable, see above
    if given is None:
        if public_key is not None:
            msg = "public_key checks the signature of a checkpoint, but no checkpoint is given."
            raise InvalidArgumentError(msg, hint="Pass {checkpoint} as well.", argument="public_key")
        return ()
    checkpoints = []
    for one in handed:
        checkpoint = Checkpoint.read(one) if isinstance(one, str | Path) else one
        if not isinstance(checkpoint, Checkpoint):
            msg = f"checkpoint must be a Checkpoint, the path of one, or several of these, not {shown(given)}."
            raise InvalidArgumentError(msg, hint="Take one with {take_checkpoint}.", argument="checkpoint")
        if public_key is not None:
            checkpoint.check_signature(public_key)
        checkpoints.append(checkpoint)
    return tuple(sorted(checkpoints, key=lambda one: one.position))
