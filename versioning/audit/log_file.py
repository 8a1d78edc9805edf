"""Export and import: how a log leaves one store and enters another, as a file of lines that carries the chain.

The law of this room: **the bytes of a row stay what they were**, so a chain that holds here holds there. Nothing is
recorded from a file that is not complete and correct to its last line. A file is checked as if an enemy had written it.

A file is NDJSON: a header, the events in the order of the log, the versions as they were when it was written (which
`versioning.testing.assert_replays` compares with a replay), and an end with the number of lines and their digest.

    {"format":"model-versioning.log.1","workspace":"default","model_name":null,"position":7,"moment":"2026-01-01T…"}
    {"position":1,"stream":"…","sequence":1,"topic":"deployed.1","state":{"_chain":"…",…}}
    {"model":"churn","model_id":"mdl_…","number":"0.1.0","stage":"draft","status":"active","is_primary":false}
    {"events":1,"versions":1,"digest":"…"}

The contents of artifacts are not in it.

Whether its events follow from each other is for `log_check`. An import reads the file twice: first to its last line,
checking it and remembering a digest every 500 events; then again, comparing those digests, while it records. So a file
that somebody changes between the two readings is noticed, and none of it has to be held in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, NoReturn, TypeAlias, cast

import attrs
import msgspec

from versioning.audit.files import cause_of, name_new, unreadable, unwritable
from versioning.audit.log_check import ExportedVersion, LogCheck
from versioning.errors import (
    ConcurrencyError,
    CorruptLogError,
    InvalidArgumentError,
    NewerFormatError,
    shown,
)
from versioning.events import Value, moment_of
from versioning.ids import stream_of
from versioning.limits import INTEGER_MAX
from versioning.store.contract import AppendConflict, Row
from versioning.store.format import decode, is_chained, stored_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from versioning.audit.checkpoints import Progress
    from versioning.store.contract import LogRow, Store

FORMAT: Final = "model-versioning.log.1"
LINE_BYTES_MAX: Final = 262_144
"""About twice the longest event that R28 allows, with every character escaped."""
BATCH_EVENTS: Final = 500
"""Number of events read, compared or recorded at once."""
_FORM: Final = re.compile(r"model-versioning\.log\.[1-9][0-9]{0,8}")
_HINT: Final = "Nothing was imported. Export the log again, or compare this file with the one that was exported."

_Held: TypeAlias = tuple[int, str, bytes]
"""Position, topic and state of a row in the store."""
File: TypeAlias = str | Path | BinaryIO
"""A path, or an open binary file; to be read, it must be seekable."""


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    workspace: str
    model_name: str | None
    position: int
    moment: str


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    position: int
    stream: str
    sequence: int
    topic: str
    state: msgspec.Raw


class _End(msgspec.Struct, forbid_unknown_fields=True):
    events: int
    versions: int
    digest: str
    """SHA-256 of all lines before this one."""


@attrs.frozen
class LogFile(Value):
    """A file that holds a log, after it was exported, checked or imported."""

    workspace: str
    """Workspace that the log belongs to."""
    model_name: str | None
    """Name of the model whose log it is; None for the log of a whole workspace."""
    events: int
    """Number of events in the file."""
    imported: int
    """Number of events that an import recorded, or in a dry run would record; the others were already there."""
    versions: tuple[ExportedVersion, ...] = attrs.field(repr=False)
    """Versions that were not deleted when the file was written, as they were then."""


class _Keyed(msgspec.Struct):
    """The members of a state that say whether its row is found by an idempotency key."""

    index: int = 0
    idempotency_key: str | None = None


_EVENT: Final = b'{"position":'
_END: Final = b'{"events":'
_encode: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_key: Final = msgspec.json.Decoder(_Keyed).decode
_decoders: Final[dict[bytes, Callable[[bytes], _Event | ExportedVersion | _End]]] = {
    _EVENT: _decode_event,
    b'{"model":': msgspec.json.Decoder(ExportedVersion).decode,
    _END: msgspec.json.Decoder(_End).decode,
}
_decode_header: Final = msgspec.json.Decoder(_Header).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


# Export.


class ExportScope(NamedTuple):
    """The part of a log that is exported."""

    workspace: str
    model_name: str | None
    """Name of one model; None for the whole workspace."""
    position: int
    """Position of the last row that is exported."""
    moment_us: int
    """Moment of the export, in microseconds since 1970 UTC."""


def export_log(store: Store, scope: ExportScope, target: File, progress: Progress | None = None) -> LogFile:
    """Write the log of a workspace, or of one name in it, up to a position.

    Args:
        store: the store to export from.
        scope: the part of its log.
        target: a path where no file exists yet, or a binary file that is open for writing.
        progress: called after each batch with "export", a position and the last one.

    Raises:
        InvalidArgumentError: the file exists already.
        CorruptLogError: a row can't be read, or does not follow from the others; `verify` says more.
        StoreError: the file can't be written.
    """
    with _opened_to_write(target) as file:
        check, digest, count = LogCheck(scope.workspace, scope.model_name), hashlib.sha256(), 0

        def write(line: bytes) -> None:
            digest.update(line)
            file.write(line)

        moment = moment_of(scope.moment_us).isoformat()
        write(_encode(_Header(FORMAT, scope.workspace, scope.model_name, scope.position, moment)) + b"\n")
        for row in _rows(store, scope, progress):
            check.add(row)
            write(_line(row))
            count += 1
        check.end()
        versions = check.versions()
        for version in versions:
            write(_encode(version) + b"\n")
        file.write(_encode(_End(count, len(versions), digest.hexdigest())) + b"\n")
    return LogFile(scope.workspace, scope.model_name, count, 0, tuple(versions))


def _rows(store: Store, scope: ExportScope, progress: Progress | None) -> Iterator[LogRow]:
    """Yield the rows in the order of their positions."""
    if scope.model_name is not None:
        stream, sequence = stream_of(scope.workspace, scope.model_name), 0
        while tail := store.tail(stream, sequence, sequence + BATCH_EVENTS):
            sequence = tail[-1][1]
            yield from ((row[0], stream, *row[1:]) for row in tail if row[0] <= scope.position)
            if progress is not None:
                progress("export", min(tail[-1][0], scope.position), scope.position)
        return
    position = 0
    while rows := store.log(position, BATCH_EVENTS, scope.position):
        position = rows[-1][0]
        yield from (row for row in rows if decode(*row).workspace == scope.workspace)
        if progress is not None:
            progress("export", position, scope.position)


def _line(row: LogRow) -> bytes:
    position, stream, sequence, topic, state = row
    if b"\n" in state:
        msg = f"The row at position {position} has a line break, and this library writes none."
        raise CorruptLogError(msg, position=position)
    place = (position, stream.encode(), sequence, topic.encode(), state)
    return b'{"position":%d,"stream":"%b","sequence":%d,"topic":"%b","state":%b}\n' % place


@contextlib.contextmanager
def _opened_to_write(target: File) -> Iterator[BinaryIO]:
    """Yield a file to write to; a path has its file only once it is complete."""
    if not isinstance(target, str | Path):
        yield _checked_file(target, lambda file: file.write(b""))
        return
    path = Path(target)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        _check_free(path)
        try:
            with part.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            name_new(part, path, _check_free)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        msg = f"The file {shown(str(path))} exists already."
        hint = "Choose another path, or remove the file first."
        raise InvalidArgumentError(msg, hint=hint, outside="The file exists already.", argument="target")


def _checked_file(file: object, can_be_used: Callable[[BinaryIO], object]) -> BinaryIO:
    """Return the file if it is open in the mode that is needed."""
    with contextlib.suppress(AttributeError, TypeError, ValueError, OSError):
        if can_be_used(cast("BinaryIO", file)) is not None:
            return cast("BinaryIO", file)
    msg = f"This is neither a path nor an open binary file: {shown(file)}."
    hint, outside = "Pass a path, or a file opened in binary mode.", "This is not a file that can be used."
    raise InvalidArgumentError(msg, hint=hint, outside=outside, argument="file")


# Import.


class _FileRow(NamedTuple):
    """A row of a file, with the line that it stands on."""

    line: int
    """Number of the line, counted from 1."""
    stream: str
    row: Row


class _Milestone(NamedTuple):
    """A line of a file, and the SHA-256 of all lines up to it except the end."""

    line: int
    digest: bytes


class _Reader:
    """Reads a file from its first line to its last; whatever is wrong raises an error that names the line."""

    def __init__(self, file: BinaryIO) -> None:
        """Start before the first line."""
        self.line = 0
        self.bytes_read = 0
        self.events = 0
        self.versions: list[ExportedVersion] = []
        self._file = file
        self._digest = hashlib.sha256()
        with self._located():
            self.header = self._header()
            self._check = LogCheck(self.header.workspace, self.header.model_name)

    def appends(self) -> Iterator[list[_FileRow]]:
        """Yield the rows of each append, and check that nothing is missing.

        Raises:
            CorruptLogError: the file is not complete, or not correct; `line` says where.
            NewerFormatError: a newer release wrote it.
        """
        append: list[_FileRow] = []
        with self._located():
            while not isinstance(item := self._next(), _End):
                if isinstance(item, ExportedVersion):
                    self.versions.append(item)
                    continue
                if self.versions:
                    _refuse("an event stands behind the versions")
                row = (item.position, item.stream, item.sequence, item.topic, bytes(item.state))
                recorded = self._check.add(row)
                key = recorded.idempotency_key if recorded.index == 0 else None
                append.append(_FileRow(self.line, recorded.stream, Row(*row[1:], key)))
                self.events += 1
                if recorded.ends_append:
                    yield append
                    append = []
            self._check.end()
            self._end(item)

    def milestone(self) -> _Milestone:
        """Return the place that was reached."""
        return _Milestone(self.line, self._digest.digest())

    def again(self, milestones: Iterable[_Milestone]) -> Iterator[list[_FileRow]]:
        """Yield the rows once more, up to each milestone, and check that they are those of the first reading.

        Raises:
            CorruptLogError: they are not.
        """
        self._file.seek(0)
        self.line, self.bytes_read, self._digest = 0, 0, hashlib.sha256()
        for milestone in milestones:
            with self._located():
                first = self.line + 1
                lines = [self._next_line() for _ in range(first, milestone.line + 1)]
                self._digest.update(b"".join(line for line in lines if not line.startswith(_END)))
                if self._digest.digest() != milestone.digest:
                    _refuse("it or a line before it changed after it was checked")
                rows = [_file_row(line, text) for line, text in enumerate(lines, first) if text.startswith(_EVENT)]
            yield rows

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Add the line to errors."""
        try:
            yield
        except (CorruptLogError, NewerFormatError) as error:
            msg = f"Line {self.line} of the file: {error.sentence}"
            hint = _HINT if isinstance(error, CorruptLogError) else None
            raise type(error)(msg, hint=hint, line=self.line, position=error.position) from error
        except OSError as error:
            msg = f"The rest of the file can't be read: {cause_of(error)}."
            raise InvalidArgumentError(msg, argument="file", line=self.line) from error

    def _next_line(self) -> bytes:
        line = self._file.readline(LINE_BYTES_MAX)
        self.line += 1
        self.bytes_read += len(line)
        if not line.endswith(b"\n"):
            _refuse(
                "it is cut off" if len(line) < LINE_BYTES_MAX else "it is longer than any line that an export writes"
            )
        return line

    def _header(self) -> _Header:
        line = self._next_line()
        self._digest.update(line)
        try:
            header = _decode_header(line)
        except _UNREADABLE as error:
            _refuse(f"this is not an exported log: {shown(str(error))}")
        if header.format != FORMAT and _FORM.fullmatch(header.format):
            msg = f"The file has the newer format {header.format}."
            raise NewerFormatError(msg)
        if header.format != FORMAT:
            _refuse("this is not an exported log: it has another format")
        return header

    def _next(self) -> _Event | ExportedVersion | _End:
        line = self._next_line()
        item = _decoded(line)
        if not isinstance(item, _End):
            self._digest.update(line)
        if isinstance(item, _Event) and not 0 < item.position <= INTEGER_MAX:
            _refuse("its position is out of range")
        return item

    def _end(self, end: _End) -> None:
        if (end.events, end.versions, end.digest) != (self.events, len(self.versions), self._digest.hexdigest()):
            _refuse("the lines before it are not those that were exported")
        if self._file.read(1):
            self.line += 1
            _refuse("it stands behind the end")


def _decoded(line: bytes) -> _Event | ExportedVersion | _End:
    decode_line = _decoders.get(line[: line.find(b":") + 1])
    if decode_line is None:
        _refuse("it is of no kind that an export writes")
    try:
        return decode_line(line)
    except _UNREADABLE as error:
        _refuse(shown(str(error)))


def _file_row(line: int, text: bytes) -> _FileRow:
    """Return the row on a line that was checked."""
    event = _decode_event(text)
    state = bytes(event.state)
    keyed = _decode_key(state)
    key = keyed.idempotency_key if keyed.index == 0 else None
    return _FileRow(line, event.stream, Row(event.stream, event.sequence, event.topic, state, key))


def _refuse(said: str) -> NoReturn:
    msg = f"{said}."
    raise CorruptLogError(msg) from None


@contextlib.contextmanager
def _opened_to_read(source: File) -> Iterator[tuple[BinaryIO, int]]:
    """Yield a file that can be read twice, and its length."""
    if isinstance(source, str | Path):
        try:
            file: BinaryIO = Path(source).open("rb")  # noqa: SIM115 - closed below
        except (OSError, ValueError) as error:
            raise unreadable(source, error, "file") from error
    else:
        file = _checked_file(source, lambda file: file.readline(0) == b"" or None)
    try:
        if not file.seekable():
            msg = "The file can't be rewound, and it is read twice: once before anything is recorded."
            raise InvalidArgumentError(msg, hint="Write it to the disk first.", argument="file")
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        yield file, length
    finally:
        if isinstance(source, str | Path):
            file.close()


def check_log(source: File, progress: Progress | None = None) -> LogFile:
    """Check that a file is complete and correct, and return what it holds; nothing is recorded.

    Raises:
        InvalidArgumentError: it can't be read.
        CorruptLogError, NewerFormatError: it is not complete or not correct; `line` says where.
    """
    with _opened_to_read(source) as (file, length):
        reader = _read_through(_Reader(file), length, progress)
    name = reader.header.model_name
    return LogFile(reader.header.workspace, name, reader.events, 0, tuple(reader.versions))


def _read_through(reader: _Reader, length: int, progress: Progress | None) -> _Reader:
    for _ in _batches(reader):
        if progress is not None:
            progress("check", reader.bytes_read, length)
    return reader


def _batches(reader: _Reader) -> Iterator[list[_FileRow]]:
    """Yield the rows in batches of complete appends."""
    batch: list[_FileRow] = []
    for append in reader.appends():
        batch += append
        if len(batch) >= BATCH_EVENTS:
            yield batch
            batch = []
    yield batch


def import_log(
    store: Store,
    workspace: str,
    source: File,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
    tell: Callable[[set[str]], None],
) -> LogFile:
    """Record the events of a file, after the file was checked to its last line.

    Events that are already there are passed over, so an import that was interrupted goes on when it is called again.

    Args:
        store: a store that has nothing under the names in the file, or the beginnings of the same histories.
        workspace: the workspace of the registry; the file must be of the same one.
        source: a path, or a seekable binary file that is open for reading.
        progress: called after each batch with "check", then "import", the bytes read and the bytes in the file.
        dry_run: whether to count the events that would be recorded, and record none.
        tell: called with the streams of each batch after it was recorded, for whoever has them in memory.

    Raises:
        InvalidArgumentError: the file can't be read, is of another workspace, or the store has another history.
        CorruptLogError, NewerFormatError: the file is not complete or not correct; `line` says where.
        ConcurrencyError: others recorded something under one of its names meanwhile.
    """
    with _opened_to_read(source) as (file, length):
        reader = _Reader(file)
        if reader.header.workspace != workspace:
            theirs = reader.header.workspace
            msg = f"The file is of the workspace {shown(theirs)}, but this registry is of {shown(workspace)}."
            raise InvalidArgumentError(msg, hint="Open a registry of the file's workspace.", argument="file")
        milestones, missing, imported = list[_Milestone](), 0, 0
        for batch in _batches(reader):
            missing += len(_new(batch, _there(store, batch)))
            milestones.append(reader.milestone())
            if progress is not None:
                progress("check", reader.bytes_read, length)
        if dry_run:
            return LogFile(workspace, reader.header.model_name, reader.events, missing, tuple(reader.versions))
        for batch in reader.again(milestones):
            there = _there(store, batch)
            new = _following(_new(batch, there), there)
            try:
                imported += _record(store, new)
            finally:  # also where it is not known whether they were recorded
                tell({row.stream for row in new})
            if progress is not None:
                progress("import", reader.bytes_read, length)
    name = reader.header.model_name
    return LogFile(workspace, name, reader.events, imported, tuple(reader.versions))


def _there(store: Store, batch: list[_FileRow]) -> dict[tuple[str, int], _Held]:
    """Return what the store has in the places of these rows, and right before the first one of each stream."""
    spans: dict[str, tuple[int, int]] = {}
    for one in batch:
        after, _ = spans.get(one.stream, (max(0, one.row.sequence - 2), 0))
        spans[one.stream] = after, one.row.sequence
    return {row[1:3]: (row[0], *row[3:]) for row in store.ranges(spans)}


def _new(batch: list[_FileRow], there: dict[tuple[str, int], _Held]) -> list[Row]:
    """Return the rows that are not there yet, in their order.

    Raises:
        InvalidArgumentError: the store has another event in the place of one of them.
    """
    new = []
    for line, stream, row in batch:
        held = there.get((stream, row.sequence))
        if held is None:
            new.append(row)
        elif held[1:] != (row.topic, row.state):
            msg = f"Line {line} of the file: the store has another event at position {held[0]} in its place."
            hint = "Import into a store that has nothing under these names, or the beginning of the same history."
            raise InvalidArgumentError(msg, hint=hint, argument="file", line=line, position=held[0])
    return new


def _following(new: list[Row], there: dict[tuple[str, int], _Held]) -> list[Row]:
    """Return the rows, each with the link of the one in the store that it follows.

    Raises:
        ConcurrencyError: that one is not there any more.
    """
    ends: dict[str, int] = {}
    following = []
    for row in new:
        stream, sequence = row.stream, row.sequence
        if sequence - 1 != ends.get(stream, 0):
            *_, before = there.get((stream, sequence - 1), (b"",))
            link = stored_link(before)
            if not is_chained(row, link):
                raise _changed_meanwhile()
            row = row._replace(follows=link)  # noqa: PLW2901 - the same row
        ends[stream] = sequence
        following.append(row)
    return following


def _record(store: Store, rows: list[Row]) -> int:
    try:
        store.append(rows)
    except AppendConflict as error:
        raise _changed_meanwhile() from error
    return len(rows)


def _changed_meanwhile() -> ConcurrencyError:
    msg = "Others recorded something under a name in the file, or restored an older copy, while it was imported."
    return ConcurrencyError(msg, hint="Import it again: events that are already there are passed over.")
