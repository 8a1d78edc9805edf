"""What a checkpoint proves, how it is kept, and who vouches for it."""

# ruff: noqa: ANN401 - what is refused is of any type, and so are keys

from __future__ import annotations

import hashlib
import json
import random
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from tests import registry_tools, stores
from tests.registry_tools import deploy
from tests.stores import START
from tests.tampering import fill
from versioning import InvalidArgumentError, ModelRegistry, NewerFormatError, StoreError, VersioningError
from versioning.aggregate import NO_LINK
from versioning.audit import checkpoints as checkpoint_room
from versioning.audit import verify as audit_room
from versioning.audit.checkpoints import FILE_BYTES_MAX, MARKS_MAX, Checkpoint
from versioning.store.contract import Row
from versioning.store.format import body_of, computed_link

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry

HEAD = "ab" * 32
STREAM = "0" * 32
LINKS = ((1, "00" * 32), (2, "11" * 32))
PLAIN = Checkpoint(3, 3, HEAD, START, ((1, "01" * 8), (2, "02" * 8)))


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def pem(key: Any) -> bytes:
    secret: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret


def public_pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


class TestWhatItIs:
    def test_position_head_and_moment(self, store: Store) -> None:
        registry = store()
        fill(registry, 20, random.Random(1))
        checkpoint = registry.checkpoint()
        assert checkpoint.position == registry.position()
        assert checkpoint.moment == START
        assert len(checkpoint.head) == 64
        assert registry.checkpoint() == checkpoint
        deploy(registry)
        assert registry.checkpoint().head != checkpoint.head

    def test_the_head_is_part_of_the_stored_format(self, store: Store) -> None:
        """Another release, another store, another program: the same rows have the same head."""
        registry = store()
        registry._store.append(
            [Row(STREAM, sequence, "deployed.1", b'{"_chain":"%b","x":1}' % link.encode()) for sequence, link in LINKS]
        )
        rows = "".join(f"{sequence} {STREAM} {sequence} {link}\n" for sequence, link in LINKS)
        assert registry.checkpoint().head == hashlib.sha256(rows.encode()).hexdigest()

    def test_a_row_that_carries_no_link_counts_with_all_that_it_has(self, shared_store: Store) -> None:
        registry = shared_store()
        deploy(registry)
        heads = [registry.checkpoint().head]
        for state in (b"{}", b"[]", b""):
            shared_store.change(1, state=state)
            heads.append(registry.checkpoint().head)
        assert len(set(heads)) == 4

    def test_marks_are_at_every_row_or_a_thousandth_of_the_log(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = store()
        fill(registry, 30, random.Random(2))
        positions = [recorded.position for recorded in registry.history()]
        assert [position for position, _ in registry.checkpoint().marks] == positions[:-1]
        monkeypatch.setattr(checkpoint_room, "MARKS_MAX", 7)
        monkeypatch.setattr(checkpoint_room, "BATCH_EVENTS", 4)
        marks = registry.checkpoint().marks
        assert 4 <= len(marks) <= 7
        assert registry.verify(registry.checkpoint()).ok

    def test_a_later_one_goes_on_from_an_earlier_one(self, registry: ModelRegistry) -> None:
        taken = []
        for _ in range(3):
            deploy(registry)
            taken.append(registry.checkpoint())
        assert taken[2].marks == tuple((one.position, one.head[:16]) for one in taken[:2])


class TestKeeping:
    def test_it_is_read_back_as_it_was_written(self, registry: ModelRegistry, tmp_path: Path) -> None:
        fill(registry, 12, random.Random(3))
        checkpoint = registry.checkpoint()
        file = tmp_path / "checkpoint.json"
        checkpoint.write(file)
        assert Checkpoint.read(file) == checkpoint == Checkpoint.read(str(file))
        assert registry.verify(file).ok
        assert registry.verify(str(file)).ok
        assert json.loads(file.read_text())["position"] == checkpoint.position
        checkpoint.write(file)  # where a checkpoint is, a newer one may be written

    def test_no_other_file_is_written_over(self, tmp_path: Path) -> None:
        file = tmp_path / "models.db"
        file.write_text("precious")
        with pytest.raises(InvalidArgumentError, match="not a checkpoint"):
            PLAIN.write(file)
        assert file.read_text() == "precious"

    def test_a_place_that_can_not_be_written_or_read(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="can't be written"):
            PLAIN.write(tmp_path / "nowhere" / "checkpoint.json")
        with pytest.raises(InvalidArgumentError, match="can't be read"):
            Checkpoint.read(tmp_path / "nowhere.json")
        with pytest.raises(InvalidArgumentError, match="can't be read"):
            Checkpoint.read("\0")
        (tmp_path / "long.json").write_bytes(b" " * (FILE_BYTES_MAX + 1))
        with pytest.raises(InvalidArgumentError, match="too long"):
            Checkpoint.read(tmp_path / "long.json")

    def test_the_largest_is_far_from_the_limit(self) -> None:
        marks = tuple((2**63 - 1 - MARKS_MAX + mark, "ab" * 8) for mark in range(MARKS_MAX))
        largest = Checkpoint(2**63 - 1, 2**63 - 1, HEAD, START, marks, "ab" * 64)
        assert len(largest.to_json()) < FILE_BYTES_MAX / 3
        assert Checkpoint.from_json(largest.to_json()) == largest

    HOSTILE: ClassVar[dict[str, Callable[[dict[str, Any]], object]]] = {
        "another format": lambda one: one.update(format="model-versioning.log.1"),
        "no format": lambda one: one.pop("format"),
        "a position of text": lambda one: one.update(position="3"),
        "a negative position": lambda one: one.update(position=-1, count=-1),
        "a huge position": lambda one: one.update(position=2**63),
        "a fraction": lambda one: one.update(position=3.5),
        "more rows than positions": lambda one: one.update(count=4),
        "a short head": lambda one: one.update(head="ab"),
        "a head in capitals": lambda one: one.update(head=HEAD.upper()),
        "a head of other letters": lambda one: one.update(head="xy" * 32),
        "a short signature": lambda one: one.update(signature="ab"),
        "marks out of order": lambda one: one.update(marks=[[2, "01" * 8], [1, "02" * 8]]),
        "a mark at 0": lambda one: one.update(marks=[[0, "01" * 8]]),
        "a mark at the end": lambda one: one.update(marks=[[3, "01" * 8]]),
        "a mark behind the end": lambda one: one.update(marks=[[4, "01" * 8]]),
        "a mark that is none": lambda one: one.update(marks=[[1, "01"]]),
        "too many marks": lambda one: one.update(position=9_999, marks=[[mark + 1, "01" * 8] for mark in range(1_001)]),
        "no moment": lambda one: one.update(moment=""),
        "a moment without a time zone": lambda one: one.update(moment="2026-01-01T09:00:00"),
        "a moment out of the calendar": lambda one: one.update(moment="0001-01-01T00:00:00+14:00"),
        "something more": lambda one: one.update(extra=1),
    }  # fmt: skip

    @pytest.mark.parametrize("what", HOSTILE)
    def test_what_is_no_checkpoint_is_refused(self, what: str) -> None:
        stored = json.loads(PLAIN.to_json())
        self.HOSTILE[what](stored)
        with pytest.raises(InvalidArgumentError, match="not a checkpoint") as caught:
            Checkpoint.from_json(json.dumps(stored))
        assert caught.value.to_dict()["argument"] == "checkpoint"

    def test_a_newer_format(self) -> None:
        with pytest.raises(NewerFormatError, match=r"newer format model-versioning\.checkpoint\.2"):
            Checkpoint.from_json(PLAIN.to_json().replace("checkpoint.1", "checkpoint.2"))

    @given(st.binary() | st.text())
    def test_any_bytes_are_a_checkpoint_or_refused(self, contents: str | bytes) -> None:
        with pytest.raises(VersioningError):
            Checkpoint.from_json(contents)

    @given(st.data())
    def test_a_checkpoint_with_other_bytes_is_another_one_or_refused(self, data: st.DataObject) -> None:
        contents = bytearray(PLAIN.to_json().encode())
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = Checkpoint.from_json(bytes(contents))
        except VersioningError:
            return
        assert (found == PLAIN) == (json.loads(contents) == json.loads(PLAIN.to_json())) or found.moment == PLAIN.moment


class TestSigning:
    def test_a_signature_is_checked(self, registry: ModelRegistry, key: Ed25519PrivateKey, tmp_path: Path) -> None:
        deploy(registry)
        (tmp_path / "secret.pem").write_bytes(pem(key))
        (tmp_path / "public.pem").write_bytes(public_pem(key))
        for secret, public in (
            (key, key.public_key()),
            (pem(key), public_pem(key)),
            (pem(key).decode(), public_pem(key).decode()),
            (tmp_path / "secret.pem", tmp_path / "public.pem"),
        ):
            signed = registry.checkpoint().signed(secret)
            assert signed.signature
            signed.write(tmp_path / "checkpoint.json")
            found = registry.verify(tmp_path / "checkpoint.json", public_key=public)
            assert found.ok
            assert len(found.not_proven) == 1, found.not_proven

    def test_without_a_key_it_is_said_that_nobody_looked(self, registry: ModelRegistry, key: Ed25519PrivateKey) -> None:
        deploy(registry)
        assert any("public key" in said for said in registry.verify(registry.checkpoint().signed(key)).not_proven)

    def test_another_key_or_another_checkpoint_is_refused(
        self, registry: ModelRegistry, key: Ed25519PrivateKey
    ) -> None:
        deploy(registry)
        signed = registry.checkpoint().signed(key)
        other = Ed25519PrivateKey.generate()
        with pytest.raises(InvalidArgumentError, match="not signed with this key"):
            registry.verify(signed, public_key=other.public_key())
        for changed in (
            {"position": 5}, {"count": 0}, {"head": HEAD}, {"moment": START.replace(year=2027)},
            {"marks": ((1, "ab" * 8),)}, {"signature": "00" * 64},
        ):  # fmt: skip
            with pytest.raises(InvalidArgumentError, match="not signed with this key"):
                attrs.evolve(signed, **changed).check_signature(key.public_key())
        with pytest.raises(InvalidArgumentError, match="not signed"):
            registry.verify(registry.checkpoint(), public_key=key.public_key())

    def test_what_is_no_key_is_refused_and_not_repeated(self, key: Ed25519PrivateKey, tmp_path: Path) -> None:
        locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        other_kind = pem(X25519PrivateKey.generate())
        for secret in (locked, other_kind, public_pem(key), b"", "", "hush\ud800", None, 7, key.public_key()):
            with pytest.raises(InvalidArgumentError, match="not an Ed25519 private key") as caught:
                PLAIN.signed(secret)
            assert "hush" not in str(caught.value)
        for public in (pem(key), b"", None, key):
            with pytest.raises(InvalidArgumentError, match="not an Ed25519 public key"):
                PLAIN.signed(key).check_signature(public)
        with pytest.raises(InvalidArgumentError, match="can't be read"):
            PLAIN.signed(tmp_path / "nowhere.pem")

    def test_without_cryptography_it_is_said_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checkpoint_room._ed25519.cache_clear()
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
        with pytest.raises(InvalidArgumentError, match=r"model-versioning\[sign\]"):
            PLAIN.signed(b"")
        checkpoint_room._ed25519.cache_clear()

    def test_a_key_needs_a_checkpoint(self, registry: ModelRegistry, key: Ed25519PrivateKey) -> None:
        with pytest.raises(InvalidArgumentError, match="public_key"):
            registry.verify(public_key=key.public_key())


class TestComparing:
    @pytest.mark.parametrize("given", [7, b"x", object, [7], [None], [[]]], ids=repr)
    def test_what_is_handed_over_is_looked_at(self, registry: ModelRegistry, given: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            registry.verify(given)

    def test_what_is_not_covered_is_said(self, registry: ModelRegistry) -> None:
        deploy(registry)
        checkpoint = registry.checkpoint()
        assert not any("not proven" in said for said in registry.verify(checkpoint).not_proven)
        deploy(registry)
        assert any(
            said.startswith("For the rows after position 1, three things are not proven: that nobody")
            for said in registry.verify(checkpoint).not_proven
        )
        assert any(
            said.startswith("Without a checkpoint, three things are not proven")
            for said in registry.verify().not_proven
        )

    def test_every_digit_of_the_head_counts(self, registry: ModelRegistry) -> None:
        """Marks are beginnings of heads; the head itself is compared as a whole."""
        for _ in range(3):
            deploy(registry)
        checkpoint = registry.checkpoint()
        for place in (0, 15, 16, 63):
            digit = "0" if checkpoint.head[place] != "0" else "1"
            other = attrs.evolve(checkpoint, head=checkpoint.head[:place] + digit + checkpoint.head[place + 1 :])
            assert [(one.kind, one.position) for one in registry.verify(other).findings] == [("rewritten", 3)]

    def test_what_lies_behind_the_first_difference_is_not_proven(self, shared_store: Store) -> None:
        registry = shared_store()
        taken = []
        for number in range(4):
            deploy(registry, f"model {number}")
            taken.append(registry.checkpoint())
        rewrite(shared_store, registry, "model 1")
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=4")
        found = registry.verify(taken)
        assert [(one.kind, one.position) for one in found.findings] == [("rewritten", 2), ("truncated", 4)]
        assert any(said.startswith("For the rows after position 1,") for said in found.not_proven)

    def test_a_log_that_was_cut_off(self, shared_store: Store) -> None:
        registry = shared_store()
        for _ in range(6):
            deploy(registry)
        checkpoints = [registry.checkpoint()]
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}>3")
        found = registry.verify(checkpoints[0])
        assert [(one.kind, one.position) for one in found.findings] == [("truncated", 4)]
        assert not any("behind position" in said for said in found.not_proven), "the marks prove what is left"

    def test_everything_was_cut_off(self, shared_store: Store) -> None:
        registry = shared_store()
        deploy(registry)
        checkpoint = registry.checkpoint()
        shared_store.execute("DELETE FROM stored_events")
        assert [(one.kind, one.position) for one in registry.verify(checkpoint).findings] == [("truncated", 1)]

    def test_a_checkpoint_without_marks_still_proves(self, shared_store: Store) -> None:
        """Between the checkpoints before it and itself, it can't say where."""
        registry = shared_store()
        taken = []
        for number in range(6):
            deploy(registry, f"model {number}")
            taken.append(attrs.evolve(registry.checkpoint(), marks=()))
        rewrite(shared_store, registry, "model 3")
        found = registry.verify(taken[5])
        assert [(one.kind, one.position) for one in found.findings] == [("rewritten", 1)]
        assert "or a later row up to position 6" in found.findings[0].sentence
        found = registry.verify([taken[5], taken[1], taken[4]])
        assert [(one.kind, one.position) for one in found.findings] == [("rewritten", 3)]
        assert any(said.startswith("For the rows after position 2") for said in found.not_proven)
        assert registry.verify(taken[:3]).ok

    def test_rows_that_were_put_in_with_all_their_links(self, shared_store: Store) -> None:
        registry = shared_store()
        for number in range(3):
            deploy(registry, f"model {number}")
        checkpoint = attrs.evolve(registry.checkpoint(), marks=())
        position = shared_store.kind.position
        shared_store.execute(f"UPDATE stored_events SET {position}=4 WHERE {position}=3")
        shared_store.execute("DELETE FROM kept_views")
        other = ModelRegistry("memory:", clock=shared_store.clock)
        deploy(other, "model 7")
        row = other._store.log(0, 1)[0]
        shared_store.execute(
            f"INSERT INTO stored_events ({position},originator_id,originator_version,topic,state) VALUES (3,?,?,?,?)",
            *row[1:],
        )
        found = registry.verify(attrs.evolve(checkpoint, position=4))
        assert [(one.kind, one.position) for one in found.findings] == [("doubled", 1)]
        assert "rows were inserted" in found.findings[0].sentence
        other.close()

    def test_a_mark_that_is_gone_among_others(self, shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkpoint_room, "MARKS_MAX", 3)
        registry = shared_store()
        for number in range(9):
            deploy(registry, f"model {number}")
        checkpoint = registry.checkpoint()
        assert [position for position, _ in checkpoint.marks] == [3, 6]
        position = shared_store.kind.position
        shared_store.execute(f"UPDATE stored_events SET {position}=5 WHERE {position}=100")
        shared_store.execute(f"DELETE FROM stored_events WHERE {position}=6")
        assert ("missing", 6) in [(one.kind, one.position) for one in registry.verify(checkpoint).findings]

    def test_rows_of_two_streams_that_changed_places_far_apart(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = shared_store()
        for number in range(6):
            deploy(registry, f"model {number}")
        checkpoint = registry.checkpoint()
        position = shared_store.kind.position
        for old, new in ((2, 99), (5, 2), (99, 5)):
            shared_store.execute(f"UPDATE stored_events SET {position}={new} WHERE {position}={old}")
        assert [(one.kind, one.position) for one in registry.verify(checkpoint).findings] == [
            ("swapped", 2),
            ("swapped", 5),
        ]
        monkeypatch.setattr(audit_room, "CANDIDATES_MAX", 2)
        assert [(one.kind, one.position) for one in registry.verify(checkpoint).findings] == [("rewritten", 2)]


def rewrite(store: Store, registry: ModelRegistry, name: str) -> None:
    """Let the only event of a model say something else, with the right link."""
    stream = registry._streams.ref(name).stream
    ((position, sequence, topic, state),) = registry._store.tail(stream, 0)
    body = body_of(state.replace(b"s3://", b"S3://"))
    link = computed_link(NO_LINK, stream, sequence, topic, body)
    store.change(position, state=b'{"_chain":"%b",%b' % (link.hex().encode(), body[1:]))
