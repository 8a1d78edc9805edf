"""How a fact becomes a row and a row a fact again: the stored format, final from the first day.

The law of this room: **nothing that a row names is imported or built.** Topics are a closed list, one function reads
every row, types are checked while reading, and a row that is not ours is an error that says where the row is.

A row is (stream, sequence, topic, state). The state is JSON with sorted keys. The envelope leaves out what equals its
default; the payload has every field:

    {"_chain":"<64 hex>","actor":…,"command_id":…,…,"payload":{…},"reason":…,"workspace":…}

The chain is the SHA-256 of the previous link of the stream (32 zero bytes before the first), the stream, the sequence,
the topic and the rest of the state, each as its length in bytes, a colon, and itself. It comes first, so the rest of
the state is a slice.

To change the shape of an event: a new class under a new topic in `events.EVENTS`, and the old topic's line in
`UPCASTERS`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeAlias, TypeVar, cast

import msgspec

from versioning.errors import CorruptLogError, NewerFormatError, shown
from versioning.events import (
    EVENTS,
    TOPICS,
    Event,
    Meta,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeployed,
    VersionPromoted,
)
from versioning.ids import is_stream, model_id_of
from versioning.limits import INTEGER_MAX
from versioning.store.contract import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from versioning.events import VersionDeactivated, VersionDeleted, VersionPublished
    from versioning.store.contract import TailRow

    _Place: TypeAlias = tuple[int, Any, Any, Any]
    """Position, stream, sequence and topic, of whatever type they are."""
    _Faults: TypeAlias = Callable[[Any, str], str | None]
    """Returns what is wrong with an event besides its types, or None."""
    _OfActivation: TypeAlias = VersionDeployed | VersionActivationRequested | VersionActivated | VersionActivationFailed
    _OfVersion: TypeAlias = _OfActivation | VersionPublished | VersionPromoted | VersionDeactivated | VersionDeleted

AT_US_MIN: Final = -62_135_596_800_000_000
AT_US_MAX: Final = 253_402_300_799_999_999
"""The moments that `datetime` can hold: the years 1 to 9999."""

_OPENING: Final = b'{"_chain":"'
_LINK_LENGTH: Final = 64
_LINK: Final = slice(len(_OPENING), len(_OPENING) + _LINK_LENGTH)
_REST: Final = _LINK.stop + 2
"""Where the rest of the state begins, behind the link and `",`."""
_HEX: Final = b"0123456789abcdef"
_known_stream: Final = functools.lru_cache(maxsize=4_096)(is_stream)
_is_newer: Final = re.compile(r"[1-9][0-9]{0,8}").fullmatch
_is_number: Final = re.compile(r"(?:0|[1-9][0-9]{0,80})(?:\.(?:0|[1-9][0-9]{0,80})){2}").fullmatch

Payload = TypeVar("Payload")
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=INTEGER_MAX)]


class Envelope(
    msgspec.Struct,
    Generic[Payload],
    kw_only=True,
    frozen=True,
    gc=False,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"chain": "_chain"},
):
    """A state: an event, and beside it whose it is, who asked for it, why, and with what key."""

    chain: str = ""
    actor: str | None = None
    command_id: str
    correlation_id: str | None = None
    count: Count = 1
    fingerprint: str | None = None
    generation: Count = 1
    idempotency_key: str | None = None
    index: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)] = 0
    model_name: str
    payload: Payload
    reason: str | None = None
    workspace: str


UPCASTERS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]] = {
    "primary_cleared.1": ("primary_cleared.2", lambda payload: {**payload, "cause": "lost"}),
}
"""For each older topic: the topic that follows it, and a function that makes its payload of the older one."""

_encode_body: Final = msgspec.json.Encoder(order="sorted").encode
_decode_old: Final = msgspec.json.Decoder(Envelope[dict[str, Any]]).decode
_skim: Final = msgspec.json.Decoder(msgspec.Raw).decode
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


# Writing.


def body_of(state: bytes) -> bytes:
    """Return what the link of a state covers: the rest of the state."""
    return b"{" + state[_REST:]


def link_of(state: bytes) -> bytes:
    """Return the link of a state that `encode` or `read` has seen, as 32 bytes."""
    return bytes.fromhex(state[_LINK].decode())


def stored_link(state: object) -> bytes:
    """Return the link of a state as it stands there; b"" of something that is no state."""
    return state[_LINK] if type(state) is bytes else b""


def carries(state: object, link: bytes) -> bool:
    """Return whether a state has this link."""
    return stored_link(state) == link.hex().encode()


def computed_link(previous: bytes, stream: str, sequence: int, topic: str, body: bytes) -> bytes:
    """Compute the link of a row from its content and the previous link of its stream."""
    place, number, name = stream.encode(), b"%d" % sequence, topic.encode()
    parts = (len(previous), previous, len(place), place, len(number), number, len(name), name, len(body), body)
    return hashlib.sha256(b"%d:%b%d:%b%d:%b%d:%b%d:%b" % parts).digest()


def is_chained(row: Row, link: bytes) -> bool:
    """Return whether a row was chained to one with this link, as the state of that one has it."""
    try:
        previous = bytes.fromhex(link.decode())
    except ValueError:
        return False
    return carries(row.state, computed_link(previous, row.stream, row.sequence, row.topic, body_of(row.state)))


def encode(
    stream: str, after: int, previous_link: bytes, events: Sequence[Event], meta: Meta, *, is_first: bool = True
) -> list[Row]:
    """Make the rows of one decision, which follow an event at the sequence `after` with the link `previous_link`.

    `is_first` says whether that event is in the store already, and not a part of the same append.
    """
    rows: list[Row] = []
    key, link, count = meta.idempotency_key, previous_link, len(events)
    follows = previous_link.hex().encode() if is_first and after else None
    for index, event in enumerate(events):
        sequence, topic = after + 1 + index, TOPICS[type(event)]
        body = _body(event, meta, index, count)
        link = computed_link(link, stream, sequence, topic, body)
        rows.append(Row(stream, sequence, topic, _state(link, body), None if index else key, follows))
        follows = None
    return rows


def _body(event: Event, meta: Meta, index: int, count: int) -> bytes:
    envelope = Envelope(
        actor=meta.actor,
        command_id=meta.command_id,
        correlation_id=meta.correlation_id,
        count=count,
        fingerprint=meta.fingerprint,
        generation=meta.generation,
        idempotency_key=meta.idempotency_key,
        index=index,
        model_name=meta.model_name,
        payload=event,
        reason=meta.reason,
        workspace=meta.workspace,
    )
    return _encode_body(envelope)


def _state(link: bytes, body: bytes) -> bytes:
    return b'%b%b",%b' % (_OPENING, link.hex().encode(), body[1:])


# Reading.


def decode(position: int, stream: str, sequence: int, topic: str, state: bytes) -> Recorded:
    """Read a row into its public form, which has all that R26 asks for.

    Raises:
        CorruptLogError: the row is not what this library writes.
        NewerFormatError: a newer release wrote it.
    """
    return _recorded(position, stream, sequence, read(position, stream, sequence, topic, state))


def _recorded(position: int, stream: str, sequence: int, envelope: Envelope[Event]) -> Recorded:
    return Recorded(
        position,
        sequence,
        stream,
        envelope.workspace,
        envelope.model_name,
        envelope.generation,
        envelope.payload,
        envelope.actor,
        envelope.reason,
        envelope.correlation_id,
        envelope.idempotency_key,
        envelope.command_id,
        envelope.index,
        envelope.count,
        envelope.chain,
    )


def read(position: int, stream: str, sequence: int, topic: str, state: bytes) -> Envelope[Event]:
    """Read a row. All reading goes through this one function; `decode` returns the same in its public form.

    The parts of a row may be of any type, because a column of SQLite holds whatever somebody put there.

    Raises:
        CorruptLogError: the row is not what this library writes.
        NewerFormatError: a newer release wrote it.
    """
    place = (position, stream, sequence, topic)
    if type(state) is not bytes:
        raise _corrupt(place, f"the state is of the type {type(state).__name__}")
    reader = _READERS.get(topic)
    try:
        if reader is None:
            envelope, faults = _read_older(place, state)
        else:
            decode_state, faults = reader
            envelope = decode_state(state)
        fault = faults(envelope.payload, stream)
    except _UNREADABLE as error:
        raise _corrupt(place, shown(str(error))) from None
    link = envelope.chain.encode()
    # One expression, because it runs for every row that is ever read.
    if (
        fault
        or type(sequence) is not int
        or not 1 <= sequence <= INTEGER_MAX
        or type(stream) is not str
        or not _known_stream(stream)
        or len(link) != _LINK_LENGTH
        or link.translate(None, _HEX)
        or not state.startswith(b'{"_chain":"%b",' % link)
        or envelope.index >= envelope.count
        or not AT_US_MIN <= envelope.payload.at_us <= AT_US_MAX
    ):
        raise _corrupt(place, fault or _fault_of_row(envelope, stream, sequence))
    return envelope


class Fact:
    """A row that was read: the event, its place, and its envelope. It is cheaper to make than `Recorded`."""

    __slots__ = ("envelope", "event", "position", "sequence", "stream")

    envelope: Envelope[Event]
    event: Event
    position: int
    sequence: int
    stream: str

    @property
    def workspace(self) -> str:
        return self.envelope.workspace

    @property
    def model_name(self) -> str:
        return self.envelope.model_name

    @property
    def model_id(self) -> str:
        return model_id_of(self.stream, self.envelope.generation)

    @property
    def generation(self) -> int:
        return self.envelope.generation

    @property
    def index(self) -> int:
        return self.envelope.index

    @property
    def idempotency_key(self) -> str | None:
        return self.envelope.idempotency_key

    @property
    def ends_append(self) -> bool:
        return self.envelope.index == self.envelope.count - 1

    @property
    def actor(self) -> str | None:
        return self.envelope.actor

    @property
    def chain(self) -> str:
        return self.envelope.chain

    @property
    def recorded(self) -> Recorded:
        """The same in the public form."""
        return _recorded(self.position, self.stream, self.sequence, self.envelope)


def facts_of(stream: str, rows: Iterable[TailRow]) -> Iterator[Fact]:
    """Read rows of one stream, in order.

    Raises:
        CorruptLogError, NewerFormatError: as `read`.
    """
    for position, sequence, topic, state in rows:
        fact = Fact()
        fact.envelope = envelope = read(position, stream, sequence, topic, state)
        fact.position, fact.stream, fact.sequence, fact.event = position, stream, sequence, envelope.payload
        yield fact


def _fault_of_row(envelope: Envelope[Event], stream: str, sequence: int) -> str:
    """Describe what is wrong with a row that `read` refuses, if its event itself is fine."""
    if type(sequence) is not int or not 1 <= sequence <= INTEGER_MAX:
        return "the sequence is not a whole number from 1"
    if type(stream) is not str or not _known_stream(stream):
        return "the stream is not 32 hexadecimal digits"
    if envelope.index >= envelope.count:
        return "its place in its append lies behind the end"
    if not AT_US_MIN <= envelope.payload.at_us <= AT_US_MAX:
        return "its moment lies outside the years 1 to 9999"
    return "it does not begin with its link"


def _read_older(place: _Place, state: bytes) -> tuple[Envelope[Event], _Faults]:
    """Read a row whose topic is no longer written, or was never ours."""
    topic = place[-1]
    if topic not in UPCASTERS:
        raise _unknown_topic(place)
    envelope = _decode_old(state)
    payload = envelope.payload
    try:
        while topic in UPCASTERS:
            topic, newer = UPCASTERS[topic]
            payload = newer(payload)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _corrupt(place, f"its payload has another shape: {shown(error)}") from error
    event = msgspec.convert(payload, EVENTS[topic])
    upcast = cast("Envelope[Event]", msgspec.structs.replace(envelope, payload=event))
    return upcast, _FAULTS.get(EVENTS[topic], _of_version)


def _unknown_topic(place: _Place) -> CorruptLogError | NewerFormatError:
    position, stream, sequence, topic = place
    base, _, number = topic.rpartition(".") if isinstance(topic, str) else ("", "", "")
    known = [int(ours.rpartition(".")[2]) for ours in (*EVENTS, *UPCASTERS) if ours.rpartition(".")[0] == base]
    if known and _is_newer(number) and int(number) > max(known):
        msg = f"Event {shown(sequence)} of the stream {shown(stream)} has the newer format {topic}."
        return NewerFormatError(msg, position=position)
    return _corrupt(place, "the topic is not one of ours")


def _corrupt(place: _Place, reason: str) -> CorruptLogError:
    position, stream, sequence, topic = place
    msg = (
        f"The row at position {position} (event {shown(sequence)} of the stream {shown(stream)}, topic {shown(topic)})"
        f" is not readable: {reason}."
    )
    return CorruptLogError(msg, position=position, reason=reason)


def _of_version(event: _OfVersion, stream: str) -> str | None:
    version_id = event.version_id
    if version_id[:36] == f"ver_{stream}":
        return None
    return "it names a version of another stream"


def _of_previous(event: VersionPromoted | PrimaryCleared, stream: str) -> str | None:
    previous = event.previous
    if previous is None or (previous[4:36] == stream and previous.startswith("ver_")):
        return None
    return "the primary before it is of another stream"


def _of_nothing(event: NothingChanged, stream: str) -> str | None:
    if event.version_id is None or event.version_id[:36] == f"ver_{stream}":
        return None
    return "it names a version of another stream"


def _of_promoted(event: VersionPromoted, stream: str) -> str | None:
    return _of_version(event, stream) or _of_previous(event, stream)


def _of_activation(event: _OfActivation, stream: str) -> str | None:
    if event.activation_id is None:
        return None if event.version_id[:36] == f"ver_{stream}" else _of_version(event, stream)
    if event.activation_id.startswith(f"act_{event.version_id[4:]}_"):
        return _of_version(event, stream)
    return "it names an activation of another version"


def _of_deployed(event: VersionDeployed, stream: str) -> str | None:
    size_bytes, metadata = event.artifact.size_bytes, event.metadata
    if size_bytes is not None and not 0 <= size_bytes <= INTEGER_MAX:
        return "the size of its artifact is out of range"
    if not _is_number(event.number):
        return "its number is not a semantic version of three parts"
    if metadata != "{}":
        _skim(metadata)
        if not metadata.startswith("{"):
            return "its metadata is not a JSON object"
    return _of_activation(event, stream)


def _of_model(_event: Event, _stream: str) -> None:
    return None


_FAULTS: Final[Mapping[type[Event], _Faults]] = {
    VersionDeployed: _of_deployed,
    VersionPromoted: _of_promoted,
    PrimaryCleared: _of_previous,
    VersionActivationRequested: _of_activation,
    VersionActivated: _of_activation,
    VersionActivationFailed: _of_activation,
    ModelDeleted: _of_model,
    NothingChanged: _of_nothing,
}
"""What is checked in an event besides its types. An event that is not listed must name a version of its stream."""

_READERS: Final[Mapping[Any, tuple[Callable[[bytes], Envelope[Event]], _Faults]]] = {
    topic: (msgspec.json.Decoder(Envelope[event]).decode, _FAULTS.get(event, _of_version))  # type: ignore[valid-type]
    for topic, event in EVENTS.items()
}
