"""The stored format: golden bytes, round trips, rows that are not ours, other releases."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any, get_args

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from versioning.aggregate import NO_LINK
from versioning.errors import CorruptLogError, NewerFormatError
from versioning.events import (
    EVENTS,
    ArtifactRef,
    Cause,
    Event,
    Loss,
    Meta,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    Unneeded,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeactivated,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
)
from versioning.ids import activation_id_of, stream_of, version_id_of
from versioning.store import format as persistence
from versioning.store.contract import Row
from versioning.store.format import AT_US_MAX, AT_US_MIN, body_of, computed_link, decode, encode, link_of, read

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "Größe L"
STREAM = stream_of("default", NAME)
OTHER = stream_of("default", "another")
VERSION = version_id_of(STREAM, 1, "0badcafe")
SECOND = version_id_of(STREAM, 2, "deadbeef")
STRANGER = version_id_of(OTHER, 1, "0badcafe")
WAIT = activation_id_of(VERSION, 1)
AT = 1_767_258_000_000_000
PLAIN = Meta("default", NAME, 1, "c" * 32)
FULL = Meta("default", NAME, 2, "d" * 32, "ada", 'so "it" is\n', "ticket 7", "key-1", "f" * 64)

SHAPES: list[tuple[Event, Meta]] = [
    (
        VersionDeployed(
            VERSION,
            "0.1.0",
            ArtifactRef("sha256:" + "a" * 64, "a" * 64, 12, "application/x"),
            published=True,
            claims=True,
            activation_id=WAIT,
            metadata='{"ü":1.5}',
            at_us=AT,
        ),
        FULL,
    ),
    (VersionDeployed(VERSION, "0.1.0", ArtifactRef("s3://x/y"), at_us=AT), PLAIN),
    (VersionPublished(VERSION, claims=True, at_us=AT), PLAIN),
    (VersionPublished(VERSION, at_us=AT), PLAIN),
    (VersionPromoted(VERSION, SECOND, "requested", at_us=AT), PLAIN),
    (VersionPromoted(VERSION, None, "published", at_us=AT), PLAIN),
    (PrimaryCleared(VERSION, at_us=AT), PLAIN),
    (VersionDeactivated(VERSION, at_us=AT), PLAIN),
    (VersionActivationRequested(VERSION, WAIT, at_us=AT), PLAIN),
    (VersionActivated(VERSION, WAIT, at_us=AT), PLAIN),
    (VersionActivated(VERSION, at_us=AT), PLAIN),
    (VersionActivationFailed(VERSION, WAIT, "no\tmemory", at_us=AT), PLAIN),
    (VersionDeleted(VERSION, at_us=AT), PLAIN),
    (ModelDeleted(at_us=AT), PLAIN),
    (NothingChanged("promote", VERSION, at_us=AT), FULL),
    (NothingChanged("activate", None, at_us=AT), PLAIN),
    (PrimaryCleared(VERSION, "requested", at_us=AT), PLAIN),
    (PrimaryCleared(None, "lost", at_us=AT), PLAIN),
]
"""Every event, with every field set and with every default, one behind the other in one stream."""

GOLDEN: list[tuple[str, bytes]] = [
    (
        "deployed.1",
        (
            b'{"_chain":"2d8c01f97c26aa5c015bf42b5fc0d15c081f5afaf8811cd467c748f8f8bf0199",'
            b'"actor":"ada","command_id":"dddddddddddddddddddddddddddddddd",'
            b'"correlation_id":"ticket 7",'
            b'"fingerprint":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",'
            b'"generation":2,"idempotency_key":"key-1","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"activation_id":"act_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe_1",'
            b'"artifact":{"digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",'
            b'"media_type":"application/x","size_bytes":12,'
            b'"uri":"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},'
            b'"at_us":1767258000000000,"claims":true,"metadata":"{\\"\xc3\xbc\\":1.5}",'
            b'"number":"0.1.0","published":true,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"reason":"so \\"it\\" is\\n","workspace":"default"}'
        ),
    ),
    (
        "deployed.1",
        (
            b'{"_chain":"89093d93540ca0a99e617d912d5186cebc2bc7c55b85cace42b4d973cc4405c8",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"activation_id":null,'
            b'"artifact":{"digest":null,"media_type":null,"size_bytes":null,'
            b'"uri":"s3://x/y"},"at_us":1767258000000000,"claims":false,'
            b'"metadata":"{}","number":"0.1.0","published":false,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "published.1",
        (
            b'{"_chain":"e6aad6991307924ab141874dcedb6aedfe9a026988c7fbc652ea6f7aceb2a3c3",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"claims":true,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "published.1",
        (
            b'{"_chain":"e0dddddcfbe95b6991db576b42da3db0b94121c1c972884df4f44921c276ab26",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"claims":false,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "promoted.1",
        (
            b'{"_chain":"0fc8c17fd5ee286987e08a32abd31fff3954c44222bcc88079106ce42412a6d6",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"cause":"requested",'
            b'"previous":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_2_deadbeef",'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "promoted.1",
        (
            b'{"_chain":"1daa9156435e54f3a1a823cdffbc30d7f7dee371b07a9ee98878930f9ac996bd",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"cause":"published","previous":null,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "primary_cleared.1",
        (
            b'{"_chain":"79acdc3bf690751bf3bffa657e1dba3018da5bfa6fb22350546327d7e4488c1c",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"previous":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "deactivated.1",
        (
            b'{"_chain":"293c25000a0bfd831239e2121f9a3a74480c3d5554e6b10e985b35f297911a8e",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "activation_requested.1",
        (
            b'{"_chain":"080a9f7e4b6315e45086b68b3900875a0ca0df1b7d449d392701091a2819b9d2",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"activation_id":"act_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe_1",'
            b'"at_us":1767258000000000,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "activated.1",
        (
            b'{"_chain":"353420371ce540af55ef58d935c9599e19292ba3ab27314a24d104c24d5f8a42",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"activation_id":"act_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe_1",'
            b'"at_us":1767258000000000,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "activated.1",
        (
            b'{"_chain":"200246cc8a9f0b51c4f4e4cf8c7c063e76d88970c6708fb792cfdf1c3f1c7732",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"activation_id":null,'
            b'"at_us":1767258000000000,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "activation_failed.1",
        (
            b'{"_chain":"f7179c14c3ad005b7c0bfc6991302c1ce9f89750a22b2c314f74756212aa5e73",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"activation_id":"act_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe_1",'
            b'"at_us":1767258000000000,"error":"no\\tmemory",'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "deleted.1",
        (
            b'{"_chain":"9521626f5d5a972a93b323788706f97563e6168a7c35a624fa70ed9186e80d81",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "model_deleted.1",
        (
            b'{"_chain":"ef9acb7ba3d17a3fb11928ed1e7f4a2d2afafc85b99adc1b0ec1e8b491769458",'
            b'"command_id":"cccccccccccccccccccccccccccccccc",'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "nothing_changed.1",
        (
            b'{"_chain":"4e7c25fc8e27bb0426a2b09677177f59c070ef91d3343f04f858a833ef851f79",'
            b'"actor":"ada","command_id":"dddddddddddddddddddddddddddddddd",'
            b'"correlation_id":"ticket 7",'
            b'"fingerprint":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",'
            b'"generation":2,"idempotency_key":"key-1","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"at_us":1767258000000000,"command":"promote",'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"reason":"so \\"it\\" is\\n","workspace":"default"}'
        ),
    ),
    (
        "nothing_changed.1",
        (
            b'{"_chain":"d5c778dca4559f41b9399c1ae3d9a8bae77235b5aa48aa0cc2328f8749abce42",'
            b'"command_id":"cccccccccccccccccccccccccccccccc","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"at_us":1767258000000000,"command":"activate",'
            b'"version_id":null},"workspace":"default"}'
        ),
    ),
    (
        "primary_cleared.2",
        (
            b'{"_chain":"8f917ae24c9d1762cc0258bd836e72d6ffc6aa604421ea1c2c7c49f86cd3761f",'
            b'"command_id":"cccccccccccccccccccccccccccccccc","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"at_us":1767258000000000,"cause":"requested",'
            b'"previous":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"workspace":"default"}'
        ),
    ),
    (
        "primary_cleared.2",
        (
            b'{"_chain":"87f09592efc1c736b5048d31c715fd845ea50bf4299f08622661619e668cb2bd",'
            b'"command_id":"cccccccccccccccccccccccccccccccc","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"at_us":1767258000000000,"cause":"lost","previous":null},'
            b'"workspace":"default"}'
        ),
    ),
]
"""Never change a line of these: such rows are in databases."""

GOLDEN_APPEND: list[tuple[str, bytes]] = [
    (
        "published.1",
        (
            b'{"_chain":"2c17d3bca55e945d9acbefb2c3c5b2a26819ddf59e50fdb39b7dcdb089b8cabf",'
            b'"actor":"ada","command_id":"dddddddddddddddddddddddddddddddd",'
            b'"correlation_id":"ticket 7","count":2,'
            b'"fingerprint":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",'
            b'"generation":2,"idempotency_key":"key-1","model_name":"Gr\xc3\xb6\xc3\x9fe L",'
            b'"payload":{"at_us":1767258000000000,"claims":true,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"reason":"so \\"it\\" is\\n","workspace":"default"}'
        ),
    ),
    (
        "promoted.1",
        (
            b'{"_chain":"96123b9605c6323b500da88d05d2785181f45b9909bb711c4bc5a193c50602c6",'
            b'"actor":"ada","command_id":"dddddddddddddddddddddddddddddddd",'
            b'"correlation_id":"ticket 7","count":2,'
            b'"fingerprint":"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",'
            b'"generation":2,"idempotency_key":"key-1","index":1,'
            b'"model_name":"Gr\xc3\xb6\xc3\x9fe L","payload":{"at_us":1767258000000000,'
            b'"cause":"published","previous":null,'
            b'"version_id":"ver_db2d8f1a9a1c8e28b45579c8e0278c37_1_0badcafe"},'
            b'"reason":"so \\"it\\" is\\n","workspace":"default"}'
        ),
    ),
]
"""Two events of one append: which of how many."""

ROWS = [Row(STREAM, sequence, topic, state) for sequence, (topic, state) in enumerate(GOLDEN, 1)]
PROMOTED = ROWS[4]


def read_row(state: Any, *, topic: Any = "promoted.1", stream: Any = STREAM, sequence: Any = 5) -> Recorded:  # noqa: ANN401 - a row may be of any type
    return decode(77, stream, sequence, topic, state)


def rechained(state: bytes, old: bytes, new: bytes) -> bytes:
    """Change a state and make its link anew, as somebody would who hides the change."""
    assert old in state
    body = body_of(state).replace(old, new)
    link = computed_link(NO_LINK, STREAM, 5, "promoted.1", body)
    return b'{"_chain":"' + link.hex().encode() + b'",' + body[1:]


def refused(state: Any, **row: Any) -> str:  # noqa: ANN401 - a row may be of any type
    """Read a row that is not ours; give the reason, after looking that the row is named."""
    with pytest.raises(CorruptLogError) as caught:
        read_row(state, **row)
    assert caught.value.position == 77
    assert "position 77" in caught.value.sentence
    assert str(caught.value).isprintable()
    return str(caught.value.facts["reason"])


class TestTheStoredFormat:
    def test_every_event_is_among_the_golden_rows_with_its_defaults_and_without(self) -> None:
        assert {topic for topic, _ in GOLDEN} == set(EVENTS) | set(persistence.UPCASTERS)
        for kind in EVENTS.values():
            shapes = [event for event, _ in SHAPES if type(event) is kind]
            for field in attrs.fields(kind):
                values = {repr(getattr(shape, field.name)) for shape in shapes}
                assert len(values) > 1 or field.default is attrs.NOTHING

    def test_events_are_written_in_exactly_these_bytes(self) -> None:
        link, written = NO_LINK, []
        for after, ((event, meta), golden) in enumerate(zip(SHAPES, GOLDEN, strict=True)):
            topic, state = golden
            if topic not in persistence.UPCASTERS:  # else an older release wrote it
                ((_, _, topic, state, _, _),) = encode(STREAM, after, link, [event], meta)
            link = link_of(state)
            written.append((topic, state))
        assert written == GOLDEN

    @pytest.mark.parametrize("index", range(len(GOLDEN)))
    def test_these_bytes_are_read_as_the_events_that_they_were(self, index: int) -> None:
        event, meta = SHAPES[index]
        row = ROWS[index]
        recorded = decode(100 + index, *row[:4])
        assert recorded.event == event
        assert (
            Meta(
                recorded.workspace,
                recorded.model_name,
                recorded.generation,
                recorded.command_id,
                recorded.actor,
                recorded.reason,
                recorded.correlation_id,
                recorded.idempotency_key,
                read(100 + index, *row[:4]).fingerprint,
            )
            == meta
        )
        assert (recorded.position, recorded.sequence, recorded.stream) == (100 + index, index + 1, STREAM)
        assert (recorded.index, recorded.count, recorded.chain) == (0, 1, link_of(row.state).hex())

    def test_the_events_of_an_append_say_which_of_how_many_they_are(self) -> None:
        events: list[Event] = [
            VersionPublished(VERSION, claims=True, at_us=AT),
            VersionPromoted(VERSION, None, "published", at_us=AT),
        ]
        rows = encode(STREAM, 0, NO_LINK, events, FULL)
        assert [(row.topic, row.state) for row in rows] == GOLDEN_APPEND
        assert [(row.sequence, row.key) for row in rows] == [(1, "key-1"), (2, None)]
        read_back = [decode(0, *row[:4]) for row in rows]
        assert [(one.index, one.count) for one in read_back] == [(0, 2), (1, 2)]
        assert [one.event for one in read_back] == events

    def test_keys_are_sorted_at_every_depth_behind_the_chain(self) -> None:
        def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
            names = [name for name, _ in items]
            assert names == sorted(names)
            return dict(items)

        for _, state in GOLDEN + GOLDEN_APPEND:
            json.loads(state, object_pairs_hook=pairs)

    def test_the_link_is_made_over_everything_before_and_in_the_row(self) -> None:
        previous = NO_LINK
        for row in ROWS:
            body = b"{" + row.state[77:]
            assert body == body_of(row.state)
            parts = (previous, row.stream.encode(), str(row.sequence).encode(), row.topic.encode(), body)
            text = b"".join(str(len(part)).encode() + b":" + part for part in parts)
            previous = hashlib.sha256(text).digest()
            assert link_of(row.state) == previous == bytes.fromhex(json.loads(row.state)["_chain"])

    @given(
        st.builds(
            Meta,
            st.text(max_size=200),
            st.text(max_size=256),
            st.integers(1, 2**63 - 1),
            st.text(max_size=40),
            *[st.none() | st.text(max_size=200)] * 5,
        ),
        st.text(max_size=100),
        st.integers(AT_US_MIN, AT_US_MAX),
    )
    def test_what_is_written_is_read_back_exactly(self, meta: Meta, text: str, at_us: int) -> None:
        events: list[Event] = [
            VersionDeployed(VERSION, "1.0.0", ArtifactRef(text, text, 2**63 - 1, text), at_us=at_us),
            VersionActivationFailed(VERSION, WAIT, text, at_us=at_us),
        ]
        rows = encode(STREAM, 2**62, NO_LINK, events, meta)
        assert [decode(1, *row[:4]).event for row in rows] == events
        envelope = read(1, *rows[1][:4])
        for field in Meta._fields:
            assert getattr(envelope, field) == getattr(meta, field)

    @pytest.mark.parametrize("cause", get_args(Cause))
    def test_every_cause_is_read_back(self, cause: Cause) -> None:
        event = VersionPromoted(VERSION, None, cause, at_us=AT)
        (row,) = encode(STREAM, 0, NO_LINK, [event], PLAIN)
        assert decode(1, *row[:4]).event == event

    @pytest.mark.parametrize("cause", get_args(Loss))
    def test_every_reason_for_no_primary_is_read_back(self, cause: Loss) -> None:
        event = PrimaryCleared(VERSION, cause, at_us=AT)
        (row,) = encode(STREAM, 0, NO_LINK, [event], PLAIN)
        assert decode(1, *row[:4]).event == event

    @pytest.mark.parametrize("command", get_args(Unneeded))
    def test_every_command_that_changed_nothing_is_read_back(self, command: Unneeded) -> None:
        event = NothingChanged(command, VERSION, at_us=AT)
        (row,) = encode(STREAM, 0, NO_LINK, [event], FULL)
        assert decode(1, *row[:4]).event == event


class TestARowThatIsNotOurs:
    """Whatever somebody writes into the table: an error that says where, and nothing imported or built."""

    @pytest.mark.parametrize("state", [None, "", "{}", 1, 1.5, bytearray(PROMOTED.state), PROMOTED.state.decode()])
    def test_a_state_of_another_type(self, state: object) -> None:
        assert "the state is of the type" in refused(state)

    @pytest.mark.parametrize("sequence", [None, "5", b"5", 5.0, 0, -1, 2**63, True])
    def test_a_sequence_that_is_none(self, sequence: object) -> None:
        assert refused(PROMOTED.state, sequence=sequence) == "the sequence is not a whole number from 1"

    @pytest.mark.parametrize("stream", [None, 7, STREAM.encode(), "", STREAM + "0"])
    def test_a_stream_that_is_none(self, stream: object) -> None:
        refused(PROMOTED.state, stream=stream)
        assert refused(ROWS[-1].state, topic="model_deleted.1", stream=stream) == (
            "the stream is not 32 hexadecimal digits"
        )

    @pytest.mark.parametrize("stream", ["x" * 32, STREAM.upper(), STREAM[:31] + "\n"])
    def test_a_stream_that_only_looks_like_one(self, stream: str) -> None:
        state = PROMOTED.state.replace(STREAM.encode(), json.dumps(stream)[1:-1].encode())
        assert refused(state, stream=stream) == "the stream is not 32 hexadecimal digits"

    @pytest.mark.parametrize(
        "topic",
        [
            None,
            1,
            1.5,
            b"promoted.1",
            "",
            "promoted",
            "promoted.",
            "promoted.0",
            "promoted.01",
            "promoted.1 ",
            "promoted.-2",
            "promoted.\u0662",
            "promoted.9999999999",
            "demoted.1",
            "demoted.2",
            ".2",
            "eventsourcing.domain:Snapshot",
            "os:system",
            "versioning.events:VersionPromoted",
        ],
    )
    def test_a_topic_that_is_not_on_the_list(self, topic: object) -> None:
        before = set(sys.modules)
        assert refused(PROMOTED.state, topic=topic) == "the topic is not one of ours"
        assert set(sys.modules) == before

    @pytest.mark.parametrize(
        "state",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b"\x80\x04.",
            b"\xef\xbb\xbf" + PROMOTED.state,
            PROMOTED.state[:-1],
            PROMOTED.state + b"{}",
            b"[" * 100_000,
            PROMOTED.state.replace(b'"workspace"', b'"workspaces"'),
            rechained(PROMOTED.state, b'"payload"', b'"_type_":"os:system","payload"'),
            rechained(PROMOTED.state, b'"workspace":"default"', b'"workspace":null'),
            rechained(PROMOTED.state, b'"command_id":', b'"actor":7,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"count":0,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"count":1.0,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"count":true,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"generation":9223372036854775808,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"index":-1,"command_id":'),
            rechained(PROMOTED.state, b'"command_id":', b'"index":1e3,"command_id":'),
            rechained(PROMOTED.state, b'"cause":"requested"', b'"cause":"bribed"'),
            rechained(PROMOTED.state, b'"cause":"requested",', b""),
            rechained(PROMOTED.state, str(AT).encode(), b"1.5"),
            rechained(PROMOTED.state, str(AT).encode(), b"NaN"),
            rechained(PROMOTED.state, str(AT).encode(), b'"' + str(AT).encode() + b'"'),
            rechained(PROMOTED.state, str(AT).encode(), b"9" * 10_000),
            rechained(PROMOTED.state, b"default", b"\\ud800"),
            rechained(PROMOTED.state, b"default", b"\\udc00\\ud800"),
            rechained(PROMOTED.state, b"default", b"\xed\xa0\x80"),
            rechained(PROMOTED.state, b"default", b"\xff"),
            rechained(PROMOTED.state, b"default", b"a\nb"),
            rechained(PROMOTED.state, b'"payload":', b'"payload":' + b'{"a":' * 100_000),
            rechained(PROMOTED.state, b'"cause"', b'"more":' + b"[" * 100_000 + b"]" * 100_000 + b',"cause"'),
        ],
    )
    def test_a_state_that_is_not_the_json_of_one(self, state: bytes) -> None:
        refused(state)

    @pytest.mark.parametrize(
        "state",
        [
            b'{"command_id":' + PROMOTED.state.partition(b'"command_id":')[2],
            PROMOTED.state.replace(b'{"_chain"', b'{ "_chain"'),
            PROMOTED.state.replace(b'","command_id"', b'" ,"command_id"'),
            PROMOTED.state[:11] + PROMOTED.state[11:75].upper() + PROMOTED.state[75:],
            PROMOTED.state[:11] + PROMOTED.state[12:],
            PROMOTED.state[:11] + b"0" + PROMOTED.state[11:],
            PROMOTED.state[:11] + b"x" * 64 + PROMOTED.state[75:],
            PROMOTED.state[:11] + b"\\u0061" + PROMOTED.state[12:],
            PROMOTED.state[:-1] + b',"_chain":"' + b"a" * 64 + b'"}',
            b'{"_chain":"","command_id":' + PROMOTED.state.partition(b'"command_id":')[2],
        ],
    )
    def test_a_state_that_does_not_begin_with_its_link(self, state: bytes) -> None:
        assert refused(state) == "it does not begin with its link"

    @pytest.mark.parametrize("at_us", [10**40, AT_US_MAX + 1, AT_US_MIN - 1, -(10**17)])
    def test_a_moment_outside_the_calendar(self, at_us: int) -> None:
        state = rechained(PROMOTED.state, str(AT).encode(), str(at_us).encode())
        assert refused(state) == "its moment lies outside the years 1 to 9999"

    def test_a_place_behind_the_end_of_its_append(self) -> None:
        state = rechained(PROMOTED.state, b'"command_id":', b'"count":2,"index":2,"command_id":')
        assert refused(state) == "its place in its append lies behind the end"

    @pytest.mark.parametrize("index", range(len(GOLDEN)))
    def test_an_event_in_the_stream_of_another_model(self, index: int) -> None:
        row = ROWS[index]
        unnamed = (b'"version_id":null', b'{"at_us":1767258000000000,"cause":"lost","previous":null}')
        names_none = row.topic == "model_deleted.1" or any(part in row.state for part in unnamed)
        if not names_none:  # where no version is named, the chain tells
            refused(row.state, topic=row.topic, stream=OTHER)

    @pytest.mark.parametrize("version_id", ["", "ver_", STREAM, f"mdl_{STREAM}_1", f"VER_{STREAM}_1_0badcafe"])
    def test_an_event_that_names_no_version(self, version_id: str) -> None:
        event = VersionDeleted(version_id, at_us=AT)
        (row,) = encode(STREAM, 4, NO_LINK, [event], PLAIN)
        assert refused(row.state, topic="deleted.1") == "it names a version of another stream"

    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (VersionPromoted(VERSION, OTHER, "requested", at_us=AT), "the primary before it is of another stream"),
            (
                PrimaryCleared(version_id_of(OTHER, 1, "0badcafe"), at_us=AT),
                "the primary before it is of another stream",
            ),
            (VersionActivated(SECOND, WAIT, at_us=AT), "it names an activation of another version"),
            (NothingChanged("publish", STRANGER, at_us=AT), "it names a version of another stream"),
            (VersionActivationRequested(VERSION, "act_", at_us=AT), "it names an activation of another version"),
            (
                VersionActivationFailed(STRANGER, WAIT, "", at_us=AT),
                "it names an activation of another version",
            ),
        ],
    )
    def test_an_event_that_names_another_models_things(self, event: Event, reason: str) -> None:
        (row,) = encode(STREAM, 4, NO_LINK, [event], PLAIN)
        assert refused(row.state, topic=row.topic) == reason

    @pytest.mark.parametrize("number", ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-a", "٣.0.0", "9" * 5_000])
    def test_a_number_that_is_none(self, number: str) -> None:
        event = VersionDeployed(VERSION, number, ArtifactRef("s3://x"), at_us=AT)
        (row,) = encode(STREAM, 4, NO_LINK, [event], PLAIN)
        assert refused(row.state, topic=row.topic) == "its number is not a semantic version of three parts"

    @pytest.mark.parametrize("size_bytes", [-1, 2**63])
    def test_a_size_that_is_none(self, size_bytes: int) -> None:
        event = VersionDeployed(VERSION, "0.1.0", ArtifactRef("s3://x", size_bytes=size_bytes), at_us=AT)
        (row,) = encode(STREAM, 4, NO_LINK, [event], PLAIN)
        assert refused(row.state, topic=row.topic) == "the size of its artifact is out of range"

    @pytest.mark.parametrize("metadata", ["", "[]", "{", "{}{}", '{"a":NaN}', '{"a":' * 50_000, "null"])
    def test_metadata_that_is_no_object(self, metadata: str) -> None:
        event = VersionDeployed(VERSION, "0.1.0", ArtifactRef("s3://x"), metadata=metadata, at_us=AT)
        (row,) = encode(STREAM, 4, NO_LINK, [event], PLAIN)
        refused(row.state, topic=row.topic)

    @given(st.data())
    def test_one_byte_that_was_changed_is_refused_or_breaks_the_chain(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(PROMOTED.state) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != PROMOTED.state[place]))
        state = PROMOTED.state[:place] + bytes([byte]) + PROMOTED.state[place + 1 :]
        previous = link_of(ROWS[3].state)
        try:
            read_row(state)
        except CorruptLogError:
            return
        assert computed_link(previous, STREAM, 5, "promoted.1", body_of(state)) != link_of(state)


class TestOlderAndNewerFormats:
    @pytest.fixture
    def older(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], bytes]:
        """As if promotions had been `promoted.0` and then `raised.1` once, with other names for their fields."""

        def first(payload: dict[str, Any]) -> dict[str, Any]:
            return {"who": payload["v"], "before": payload["p"], "at_us": payload["t"]}

        def second(payload: dict[str, Any]) -> dict[str, Any]:
            version_id, previous = payload["who"], payload["before"]
            return {"version_id": version_id, "previous": previous, "cause": "requested", "at_us": payload["at_us"]}

        monkeypatch.setitem(persistence.UPCASTERS, "promoted.0", ("raised.1", first))
        monkeypatch.setitem(persistence.UPCASTERS, "raised.1", ("promoted.1", second))

        def state(payload: bytes) -> bytes:
            head, _, rest = PROMOTED.state.partition(b'"payload":')
            return head + b'"payload":' + payload + rest[rest.index(b"}") + 1 :]

        return state

    @pytest.mark.parametrize(
        ("topic", "payload"),
        [
            ("promoted.0", {"v": VERSION, "p": SECOND, "t": AT}),
            ("raised.1", {"who": VERSION, "before": SECOND, "at_us": AT}),
        ],
    )
    def test_an_older_event_is_read_as_todays(
        self, older: Callable[[bytes], bytes], topic: str, payload: dict[str, Any]
    ) -> None:
        recorded = read_row(older(json.dumps(payload).encode()), topic=topic)
        assert recorded == read_row(PROMOTED.state)

    @pytest.mark.parametrize(
        "payload",
        [
            b"{}",
            b"[]",
            b"null",
            b'{"v":7,"p":null,"t":1}',
            b'{"v":"ver_","p":null,"t":1}',
            b'{"v":null,"p":null,"t":1.5}',
            b"{",
        ],
    )
    def test_an_older_event_that_is_not_ours(self, older: Callable[[bytes], bytes], payload: bytes) -> None:
        refused(older(payload), topic="promoted.0")

    def test_todays_events_are_looked_at_after_they_were_made_from_older_ones(
        self, older: Callable[[bytes], bytes]
    ) -> None:
        payload = json.dumps({"v": VERSION, "p": OTHER, "t": AT}).encode()
        assert refused(older(payload), topic="promoted.0") == "the primary before it is of another stream"

    @pytest.mark.parametrize("topic", ["promoted.2", "promoted.100", "raised.2"])
    @pytest.mark.usefixtures("older")
    def test_a_higher_number_of_a_known_topic_is_a_newer_releases(self, topic: str) -> None:
        with pytest.raises(NewerFormatError, match="Upgrade") as caught:
            read_row(PROMOTED.state, topic=topic)
        assert caught.value.position == 77

    def test_a_fact_that_no_older_release_knows_needs_a_new_topic(self) -> None:
        """The envelope is closed: a release that adds to it must not be read by halves."""
        refused(rechained(PROMOTED.state, b'"command_id":', b'"approved_by":"eve","command_id":'))


def test_the_fingerprint_of_a_command_without_a_key_is_none() -> None:
    assert read(1, *PROMOTED[:4]).fingerprint is None


def test_msgspec_leaves_no_default_of_an_event_out() -> None:
    """What the golden bytes rest on: the payload has every field, so that a changed default changes no history."""
    for (event, _), (topic, state) in zip(SHAPES, GOLDEN, strict=True):
        payload = json.loads(state)["payload"]
        if topic not in persistence.UPCASTERS:
            assert set(payload) == {field.name for field in attrs.fields(type(event))}
            assert msgspec.to_builtins(event) == payload
