"""How a log leaves a store and enters another one: one file of lines, with the chain, checked on the way.

The law of this room: **the bytes of a row stay what they were**, so a chain that holds here holds there; and nothing is
recorded of a file that is not whole and right to its last line. What it holds is checked as if an enemy wrote it.

A file is NDJSON: what it is, the events in the order of the log, what the versions amounted to when it was written
(which `versioning.testing.assert_replays` compares with a replay), and how long it has to be.

    {"format":"model-versioning.log.1","workspace":"default","model_name":null,"position":7,"moment":"2026-01-01T…"}
    {"position":1,"stream":"…","sequence":1,"topic":"deployed.1","state":{"_chain":"…",…}}
    {"model":"churn","model_id":"mdl_…","number":"0.1.0","stage":"draft","status":"active","is_primary":false}
    {"events":1,"versions":1,"digest":"…"}

The contents of artifacts are not in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, NoReturn, TypeAlias, cast

import attrs
import msgspec

from versioning.aggregate import Model, ModelAggregate
from versioning.errors import (
    ConcurrencyError,
    CorruptLogError,
    InvalidArgumentError,
    InvalidInputError,
    NewerFormatError,
    StoreError,
    shown,
)
from versioning.events import Recorded, moment_of
from versioning.ids import stream_of
from versioning.limits import checked_key, checked_name, checked_workspace
from versioning.reading.replay import evolve_checked
from versioning.store.contract import INTEGER_MAX, AppendConflict, Row
from versioning.store.format import body_of, computed_link, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from versioning.audit.checkpoints import Progress
    from versioning.store.contract import LogRow, Store

FORMAT: Final = "model-versioning.log.1"
LINE_BYTES_MAX: Final = 262_144
"""About twice the longest event that R28 allows, with every character escaped."""
BATCH_EVENTS: Final = 500
"""How many events are read, compared or recorded at once."""
_FORM: Final = re.compile(r"model-versioning\.log\.[1-9][0-9]{0,8}")
_HINT: Final = "Nothing was imported. Export the log again, or compare the file with the one that was exported."

File: TypeAlias = str | Path | BinaryIO
"""A file by its path, or an open one: of bytes, and to read from, one that can be rewound."""


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


class Answer(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a version that is not deleted was when a file was written."""

    model: str
    model_id: str
    number: str
    stage: str
    status: str
    is_primary: bool


class _End(msgspec.Struct, forbid_unknown_fields=True):
    events: int
    versions: int
    digest: str
    """SHA-256 of all lines before this one."""


@attrs.frozen
class Transferred:
    """What was exported, checked or imported."""

    workspace: str
    model_name: str | None
    """None where it is the log of a whole workspace."""
    events: int
    """How many the file holds."""
    imported: int
    """How many of them were recorded just now; the others were there, or nothing was to be recorded."""
    answers: tuple[Answer, ...] = attrs.field(repr=False)
    """What the versions that were there amounted to when it was exported."""


class _Keyed(msgspec.Struct):
    """What of a state says whether its row has the idempotency key."""

    index: int = 0
    idempotency_key: str | None = None


_EVENT: Final = b'{"position":'
_END: Final = b'{"events":'
_encode: Final = msgspec.json.Encoder().encode
_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_key: Final = msgspec.json.Decoder(_Keyed).decode
_decoders: Final[dict[bytes, Callable[[bytes], _Event | Answer | _End]]] = {
    _EVENT: _decode_event,
    b'{"model":': msgspec.json.Decoder(Answer).decode,
    _END: msgspec.json.Decoder(_End).decode,
}
_decode_header: Final = msgspec.json.Decoder(_Header).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


# That it holds.


class Streams:
    """What the events so far amount to, and that each follows from those before it."""

    def __init__(self, workspace: str, model_name: str | None) -> None:
        """Start before the first event of a workspace, or of one name in it."""
        self.states: dict[str, ModelAggregate] = {}
        self._workspace = workspace
        self._model_name = model_name
        self._keys: set[tuple[str, str]] = set()
        self._last: Recorded | None = None

    def take(self, row: LogRow) -> Recorded:
        """Take in the next event.

        Raises:
            CorruptLogError: it is not what this library writes, or does not follow.
            NewerFormatError: a newer release wrote it.
        """
        recorded = decode(*row)
        state = self.states.get(recorded.stream) or self._begin(recorded)
        link = computed_link(state.link, recorded.stream, recorded.sequence, row[3], body_of(row[4]))
        problem = self._problem(recorded, state, link)
        if problem is not None:
            msg = f"Event {recorded.sequence} of {shown(recorded.model_name)} {problem}."
            raise CorruptLogError(msg, position=recorded.position)
        evolve_checked(state, recorded)
        state.link = link
        self._last = recorded
        return recorded

    def end(self) -> None:
        """See that nothing more has to come.

        Raises:
            CorruptLogError: the last append is not whole.
        """
        if self._last is not None and not self._last.ends_append:
            msg = f"Event {self._last.sequence} of {shown(self._last.model_name)} is not the last of its append."
            raise CorruptLogError(msg, position=self._last.position)

    def answers(self) -> list[Answer]:
        """Say what the versions that are there amount to, in the order of names and numbers."""
        models = [state.model() for state in self.states.values() if state.exists]
        return answers_of(sorted(models, key=lambda model: model.name))

    def _begin(self, recorded: Recorded) -> ModelAggregate:
        state = ModelAggregate(recorded.stream, recorded.workspace, recorded.model_name)
        self.states[recorded.stream] = state
        return state

    def _problem(self, recorded: Recorded, state: ModelAggregate, link: bytes) -> str | None:
        """Say what is wrong with an event that can be read, if anything."""
        if recorded.workspace != self._workspace or self._model_name not in {None, recorded.model_name}:
            return "belongs to another workspace or model"
        if state.sequence == 0 and (problem := _misnamed(recorded)):
            return problem
        if recorded.model_name != state.model_name or recorded.sequence != state.sequence + 1:
            return "is not the next one of its stream"
        if link.hex() != recorded.chain:
            return "is not what its link was made of"
        return self._out_of_step(recorded) or _out_of_time(recorded, state) or self._used(recorded)

    def _out_of_step(self, recorded: Recorded) -> str | None:
        last = self._last
        if last is None or last.ends_append:
            place = (recorded.stream, recorded.command_id, 0, recorded.count)
        else:
            place = (last.stream, last.command_id, last.index + 1, last.count)
        if (recorded.stream, recorded.command_id, recorded.index, recorded.count) != place:
            return "stands apart from what was recorded with it"
        return None

    def _used(self, recorded: Recorded) -> str | None:
        key = recorded.idempotency_key
        if key is None or recorded.index > 0:
            return None
        if (recorded.stream, key) in self._keys:
            return "has an idempotency key that another one has (R21)"
        self._keys.add((recorded.stream, key))
        try:
            checked_key(key)
        except InvalidInputError as error:
            return f"has no possible idempotency key: {error.sentence}"
        return None


def answers_of(models: Iterable[Model]) -> list[Answer]:
    """Say what the versions of models amount to, as a file keeps it."""
    return [
        Answer(one.model_name, one.model_id, one.number, one.stage, one.status, one.is_primary)
        for model in models
        for one in model.versions
    ]


def _out_of_time(recorded: Recorded, state: ModelAggregate) -> str | None:
    if recorded.event.at_us < state.last_at_us and state.sequence:
        return "lies before the one before it (R23)"
    if recorded.generation != state.generation + (not state.exists):
        return "belongs to another life of its name"
    return None


def _misnamed(recorded: Recorded) -> str | None:
    """Say what is wrong with the names of a stream's first event, if anything."""
    try:
        name, workspace = checked_name(recorded.model_name), checked_workspace(recorded.workspace)
    except InvalidInputError as error:
        return f"has no possible name: {error.sentence}"
    if name != recorded.model_name or stream_of(workspace, name) != recorded.stream:
        return "stands in a stream that is not the one of its name"
    return None


# Out.


class Going(NamedTuple):
    """What is exported."""

    workspace: str
    model_name: str | None
    position: int
    """Of the last row that counts."""
    moment_us: int


def export_log(store: Store, going: Going, target: File, progress: Progress | None = None) -> Transferred:
    """Write the log of a workspace, or of one name in it, up to a position.

    Args:
        store: whose log.
        going: what of it.
        target: a path, where nothing is yet, or a file of bytes that is open for writing.
        progress: is called after each batch with "export", a position and the last one.

    Raises:
        InvalidArgumentError: there is a file already.
        CorruptLogError: a row can't be read, or does not follow from the others; `verify` says more.
        StoreError: the file can't be written.
    """
    with _opened_to_write(target) as file:
        streams, digest, count = Streams(going.workspace, going.model_name), hashlib.sha256(), 0

        def write(line: bytes) -> None:
            digest.update(line)
            file.write(line)

        moment = moment_of(going.moment_us).isoformat()
        write(_encode(_Header(FORMAT, going.workspace, going.model_name, going.position, moment)) + b"\n")
        for row in _rows(store, going, progress):
            streams.take(row)
            write(_line(row))
            count += 1
        streams.end()
        answers = streams.answers()
        for answer in answers:
            write(_encode(answer) + b"\n")
        file.write(_encode(_End(count, len(answers), digest.hexdigest())) + b"\n")
    return Transferred(going.workspace, going.model_name, count, 0, tuple(answers))


def _rows(store: Store, going: Going, progress: Progress | None) -> Iterator[LogRow]:
    """Give the rows in the order of their positions."""
    if going.model_name is not None:
        stream, sequence = stream_of(going.workspace, going.model_name), 0
        while tail := store.tail(stream, sequence, sequence + BATCH_EVENTS):
            sequence = tail[-1][1]
            yield from ((row[0], stream, *row[1:]) for row in tail if row[0] <= going.position)
            if progress is not None:
                progress("export", min(tail[-1][0], going.position), going.position)
        return
    position = 0
    while rows := store.log(position, BATCH_EVENTS, going.position):
        position = rows[-1][0]
        yield from (row for row in rows if decode(*row).workspace == going.workspace)
        if progress is not None:
            progress("export", position, going.position)


def _line(row: LogRow) -> bytes:
    position, stream, sequence, topic, state = row
    if b"\n" in state:
        msg = f"The row at position {position} has a line break where this library writes none."
        raise CorruptLogError(msg, position=position)
    place = (position, stream.encode(), sequence, topic.encode(), state)
    return b'{"position":%d,"stream":"%b","sequence":%d,"topic":"%b","state":%b}\n' % place


@contextlib.contextmanager
def _opened_to_write(target: File) -> Iterator[BinaryIO]:
    """Give a file to write to; one that is named is there when it is whole."""
    if not isinstance(target, str | Path):
        yield _checked_file(target, lambda file: file.write(b""))
        return
    path = Path(target)
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists():
            msg = f"There is a file {shown(str(path))} already."
            raise InvalidArgumentError(msg, hint="Name another one, or remove it first.", argument="target")
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        msg = f"{shown(str(path))} can't be written: {getattr(error, 'strerror', None) or shown(error)}."
        raise StoreError(msg, hint="Look at the rights on the folder, and whether the disk has room.") from error


def _checked_file(file: object, can_be_used: Callable[[BinaryIO], object]) -> BinaryIO:
    """Give an open file of bytes that can do what is wanted of it."""
    with contextlib.suppress(AttributeError, TypeError, ValueError, OSError):
        if can_be_used(cast("BinaryIO", file)) is not None:
            return cast("BinaryIO", file)
    msg = f"This is neither a path nor an open file of bytes: {shown(file)}."
    raise InvalidArgumentError(msg, hint="Pass a path, or a file opened in binary mode.", argument="file")


# In.


class _Taken(NamedTuple):
    """An event of a file, and the line that it stands on."""

    line: int
    stream: str
    row: Row


class _Mark(NamedTuple):
    """A line of a file, and the SHA-256 of all up to it but for the end."""

    line: int
    digest: bytes


class _Reader:
    """The reading of a file, from its first line to its last: whatever is wrong is an error that names the line."""

    def __init__(self, file: BinaryIO) -> None:
        """Start before the first line."""
        self.line = 0
        self.bytes_read = 0
        self.events = 0
        self.answers: list[Answer] = []
        self._file = file
        self._digest = hashlib.sha256()
        with self._located():
            self.header = self._header()
            self._streams = Streams(self.header.workspace, self.header.model_name)

    def appends(self) -> Iterator[list[_Taken]]:
        """Give the events, those that were recorded together at once, and see that nothing is missing.

        Raises:
            CorruptLogError: the file is not whole, or not right; `line` says where.
            NewerFormatError: a newer release wrote it.
        """
        append: list[_Taken] = []
        with self._located():
            while not isinstance(item := self._next(), _End):
                if isinstance(item, Answer):
                    self.answers.append(item)
                    continue
                if self.answers:
                    _refuse("an event stands behind what the versions amounted to")
                row = (item.position, item.stream, item.sequence, item.topic, bytes(item.state))
                recorded = self._streams.take(row)
                key = recorded.idempotency_key if recorded.index == 0 else None
                append.append(_Taken(self.line, recorded.stream, Row(*row[1:], key)))
                self.events += 1
                if recorded.ends_append:
                    yield append
                    append = []
            self._streams.end()
            self._end(item)

    def mark(self) -> _Mark:
        """Give the place that was reached."""
        return _Mark(self.line, self._digest.digest())

    def again(self, marks: Iterable[_Mark]) -> Iterator[list[_Taken]]:
        """Give the events once more, up to each mark: they were checked, and it is looked at that they are the same.

        Raises:
            CorruptLogError: they are others.
        """
        self._file.seek(0)
        self.line, self.bytes_read, self._digest = 0, 0, hashlib.sha256()
        for mark in marks:
            with self._located():
                first = self.line + 1
                lines = [self._take_line() for _ in range(first, mark.line + 1)]
                self._digest.update(b"".join(line for line in lines if not line.startswith(_END)))
                if self._digest.digest() != mark.digest:
                    _refuse("it or a line before it is not what it was when it was checked")
                taken = [_taken(line, row) for line, row in enumerate(lines, first) if row.startswith(_EVENT)]
            yield taken

    @contextlib.contextmanager
    def _located(self) -> Iterator[None]:
        """Say of what goes wrong on which line it was."""
        try:
            yield
        except (CorruptLogError, NewerFormatError) as error:
            msg = f"Line {self.line} of the file: {error.sentence}"
            hint = _HINT if isinstance(error, CorruptLogError) else None
            raise type(error)(msg, hint=hint, line=self.line, position=error.position) from error
        except OSError as error:
            msg = f"The file can't be read on: {error.strerror or shown(error)}."
            raise InvalidArgumentError(msg, argument="file", line=self.line) from error

    def _take_line(self) -> bytes:
        line = self._file.readline(LINE_BYTES_MAX)
        self.line += 1
        self.bytes_read += len(line)
        if not line.endswith(b"\n"):
            _refuse("it is cut off" if len(line) < LINE_BYTES_MAX else "it is longer than any that is exported")
        return line

    def _header(self) -> _Header:
        line = self._take_line()
        self._digest.update(line)
        try:
            header = _decode_header(line)
        except _UNREADABLE as error:
            _refuse(f"this is no exported log: {shown(str(error))}")
        if header.format != FORMAT and _FORM.fullmatch(header.format):
            msg = f"The file has the newer format {header.format}."
            raise NewerFormatError(msg)
        if header.format != FORMAT:
            _refuse("this is no exported log: it has another format")
        return header

    def _next(self) -> _Event | Answer | _End:
        line = self._take_line()
        item = _decoded(line)
        if not isinstance(item, _End):
            self._digest.update(line)
        if isinstance(item, _Event) and not 0 < item.position <= INTEGER_MAX:
            _refuse("its position is out of range")
        return item

    def _end(self, end: _End) -> None:
        if (end.events, end.versions, end.digest) != (self.events, len(self.answers), self._digest.hexdigest()):
            _refuse("the lines before it are not those that were exported")
        if self._file.read(1):
            self.line += 1
            _refuse("it stands behind the end")


def _decoded(line: bytes) -> _Event | Answer | _End:
    decode_line = _decoders.get(line[: line.find(b":") + 1])
    if decode_line is None:
        _refuse("it is of no kind that is exported")
    try:
        return decode_line(line)
    except _UNREADABLE as error:
        _refuse(shown(str(error)))


def _taken(line: int, text: bytes) -> _Taken:
    """Take an event of a line that was checked."""
    event = _decode_event(text)
    state = bytes(event.state)
    keyed = _decode_key(state)
    key = keyed.idempotency_key if keyed.index == 0 else None
    return _Taken(line, event.stream, Row(event.stream, event.sequence, event.topic, state, key))


def _refuse(said: str) -> NoReturn:
    msg = f"{said}."
    raise CorruptLogError(msg) from None


@contextlib.contextmanager
def _opened_to_read(source: File) -> Iterator[tuple[BinaryIO, int]]:
    """Give a file that can be read twice, and its length."""
    if isinstance(source, str | Path):
        try:
            file: BinaryIO = Path(source).open("rb")  # noqa: SIM115 - closed below
        except (OSError, ValueError) as error:
            msg = f"{shown(str(source))} can't be read: {getattr(error, 'strerror', None) or shown(error)}."
            raise InvalidArgumentError(msg, argument="file") from error
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


def check_log(source: File, progress: Progress | None = None) -> Transferred:
    """See that a file is whole and right, and say what it holds; nothing is recorded anywhere.

    Raises:
        InvalidArgumentError: it can't be read.
        CorruptLogError, NewerFormatError: it is not whole or not right; `line` says where.
    """
    with _opened_to_read(source) as (file, length):
        reader = _read_through(_Reader(file), length, progress)
    name = reader.header.model_name
    return Transferred(reader.header.workspace, name, reader.events, 0, tuple(reader.answers))


def _read_through(reader: _Reader, length: int, progress: Progress | None) -> _Reader:
    for _ in _batches(reader):
        if progress is not None:
            progress("check", reader.bytes_read, length)
    return reader


def _batches(reader: _Reader) -> Iterator[list[_Taken]]:
    """Give the events in batches of whole appends."""
    batch: list[_Taken] = []
    for append in reader.appends():
        batch += append
        if len(batch) >= BATCH_EVENTS:
            yield batch
            batch = []
    yield batch


def import_log(
    store: Store, workspace: str, source: File, progress: Progress | None = None, *, dry_run: bool = False
) -> Transferred:
    """Record what a file holds; the file is checked to its last line before.

    What is there already is passed over, so that an import that was interrupted goes on when it is called again.

    Args:
        store: which has nothing under the names of the file, or the beginnings of the same histories.
        workspace: that of the registry; the file must be of the same.
        source: a path, or a file of bytes that is open for reading and can be rewound.
        progress: is called after each batch with "check" and then "import", and how many bytes of how many were read.
        dry_run: whether only to say how many events would be recorded.

    Raises:
        InvalidArgumentError: the file can't be read, is of another workspace, or the store has another history.
        CorruptLogError, NewerFormatError: the file is not whole or not right; `line` says where.
        ConcurrencyError: others recorded something under one of its names meanwhile.
    """
    with _opened_to_read(source) as (file, length):
        reader = _Reader(file)
        if reader.header.workspace != workspace:
            theirs = reader.header.workspace
            msg = f"The file is of the workspace {shown(theirs)}, and this registry of {shown(workspace)}."
            raise InvalidArgumentError(msg, hint="Open a registry of the file's workspace.", argument="file")
        marks, missing, imported = list[_Mark](), 0, 0
        for batch in _batches(reader):
            missing += len(_new(store, batch))
            marks.append(reader.mark())
            if progress is not None:
                progress("check", reader.bytes_read, length)
        if dry_run:
            return Transferred(workspace, reader.header.model_name, reader.events, missing, tuple(reader.answers))
        for batch in reader.again(marks):
            imported += _record(store, _new(store, batch))
            if progress is not None:
                progress("import", reader.bytes_read, length)
    name = reader.header.model_name
    return Transferred(workspace, name, reader.events, imported, tuple(reader.answers))


def _new(store: Store, batch: list[_Taken]) -> list[Row]:
    """Give the rows that are not there yet, in their order.

    Raises:
        InvalidArgumentError: the store has another event in the place of one.
    """
    spans: dict[str, tuple[int, int]] = {}
    for one in batch:
        after, _ = spans.get(one.stream, (one.row.sequence - 1, 0))
        spans[one.stream] = after, one.row.sequence
    there = {row[1:3]: (row[0], *row[3:]) for row in store.ranges(spans)}
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


def _record(store: Store, rows: list[Row]) -> int:
    try:
        store.append(rows)
    except AppendConflict as error:
        msg = "Others recorded something under a name of the file while it was imported."
        raise ConcurrencyError(msg, hint="Import it again: what is there already is passed over.") from error
    return len(rows)
