"""How a log leaves a store and enters another, and how other tools read it."""

# ruff: noqa: ANN401 - lines of a file, and what is refused, are of any type

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from tests import registry_tools, stores
from tests.registry_tools import AWAITED, NAME, URI, deploy, serving
from tests.tampering import fill
from versioning import (
    ConcurrencyError,
    CorruptLogError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelRegistry,
    NewerFormatError,
    StoreError,
    VersioningError,
)
from versioning.aggregate import NO_LINK
from versioning.audit import log_file as transfer_room
from versioning.audit.log_file import LINE_BYTES_MAX, check_log
from versioning.audit.verify import Finding, Verifier
from versioning.events import VersionDeployed
from versioning.output.rows import FORMULA_OPENINGS, csv_lines, flat_row
from versioning.store.contract import AppendConflict
from versioning.store.format import body_of, computed_link
from versioning.testing import DiscrepancyError, assert_replays, recorded_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.stores import Store
    from versioning import Recorded

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


def filled(registry: ModelRegistry, events: int = 40, seed: int = 1) -> ModelRegistry:
    fill(registry, events, random.Random(seed))
    return registry


def exported(registry: ModelRegistry, model_name: str | None = None) -> io.BytesIO:
    file = io.BytesIO()
    registry.export(file, model_name)
    file.seek(0)
    return file


def rows(registry: ModelRegistry) -> list[tuple[Any, ...]]:
    """The rows of the log, byte for byte, without their positions."""
    return [row[1:] for row in registry._store.log(0, 10_000)]


@pytest.fixture
def source() -> Iterator[ModelRegistry]:
    """Another store, in memory, with a log."""
    with ModelRegistry("memory:") as registry:
        yield filled(registry)


class TestExportAndImport:
    @pytest.mark.parametrize("seed", range(3))
    def test_a_log_arrives_byte_for_byte_on_any_store(self, store: Store, seed: int) -> None:
        with ModelRegistry("memory:", policy=AWAITED) as source:
            filled(source, 30, seed)
            there = store(policy=AWAITED, clock=None)
            done = there.import_log(exported(source))
            assert (done.events, done.imported, done.workspace, done.model_name) == (
                source.position(), source.position(), "default", None,
            )  # fmt: skip
            assert rows(there) == rows(source)
            assert there.models() == source.models()
            assert there.verify().ok
            assert exported(there).getvalue().split(b"\n")[1:-2] == exported(source).getvalue().split(b"\n")[1:-2]

    def test_from_any_store(self, store: Store) -> None:
        registry = filled(store())
        with ModelRegistry("memory:") as there:
            assert there.import_log(exported(registry)).imported == len(rows(registry))
            assert rows(there) == rows(registry)

    def test_to_a_file_and_from_it(self, source: ModelRegistry, registry: ModelRegistry, tmp_path: Path) -> None:
        folder = tmp_path / "logs"
        folder.mkdir()
        for path in (folder / "log 1.ndjson", str(folder / "log 2.ndjson")):
            assert source.export(path).events == source.position()
            assert registry.import_log(path).events == source.position()
            assert check_log(path).versions == source.export(f"{path} again").versions
        assert len(list(folder.iterdir())) == 4

    def test_one_model_with_all_its_lives(self, source: ModelRegistry, registry: ModelRegistry) -> None:
        source.delete_model("model 1")
        serving(source, "model 1")
        done = registry.import_log(exported(source, "model 1"))
        assert done.model_name == "model 1"
        assert done.imported == len(list(source.history("model 1")))
        assert [one.event for one in registry.history()] == [one.event for one in source.history("model 1")]
        assert [model.name for model in registry.models()] == ["model 1"]
        registry.import_log(exported(source))
        assert registry.models() == source.models()

    def test_the_workspace_of_the_registry_only(self, shared_store: Store) -> None:
        ours, theirs = shared_store(), shared_store(workspace="theirs")
        deploy(ours), deploy(theirs, "secret"), deploy(ours)
        contents = exported(ours).getvalue()
        assert b"secret" not in contents
        with pytest.raises(ModelNotFoundError):
            ours.export(io.BytesIO(), "secret")
        with pytest.raises(InvalidArgumentError, match="of the workspace 'default'"):
            theirs.import_log(io.BytesIO(contents))

    def test_an_empty_log(self, store: Store) -> None:
        registry = store()
        file = exported(registry)
        assert registry.import_log(file).events == 0
        assert assert_replays(file).events == 0

    def test_the_longest_events_that_there_can_be(self, store: Store) -> None:
        with ModelRegistry("memory:", policy=AWAITED) as source:
            why: dict[str, Any] = dict.fromkeys(("actor", "idempotency_key", "correlation_id"), "😀" * 200)
            version = source.deploy(
                "u" * 2_000, model_name="\U0001f600" * 256, metadata={"q": '"' * 8_180}, reason="\x01" * 2_000, **why
            )
            source.fail_activation(version.version_id, str(version.activation_id), error="\x01" * 8_000)
            file = exported(source)
            assert max(map(len, file.getvalue().splitlines())) < LINE_BYTES_MAX / 2
            there = store()
            there.import_log(file)
            assert there.models() == source.models()

    def test_the_same_history_goes_on(self, shared_store: Store) -> None:
        """What is there already is passed over, and the registry that imports needs no new start."""
        there = shared_store(clock=None)
        with ModelRegistry("memory:") as source:
            for events in (5, 10, 10, 25):
                filled(source, events, events)
                before = there.position() and len(rows(there))
                assert there.import_log(exported(source)).imported == len(rows(source)) - before
                assert there.models() == source.models()
            version = there.models()[0].versions[0]
            there.deploy(URI, model_name=version.model_name)
            assert there.import_log(exported(source)).imported == 0

    def test_an_import_that_was_interrupted_goes_on(
        self, source: ModelRegistry, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry = store(clock=None)
        monkeypatch.setattr(transfer_room, "BATCH_EVENTS", 5)
        append = registry._store.append
        appended: list[int] = []

        def fail(batch: Any) -> range:
            if len(appended) == 3:
                msg = "The database is gone."
                raise StoreError(msg)
            appended.append(len(batch))
            return append(batch)

        monkeypatch.setattr(registry._store, "append", fail)
        file = exported(source)
        with pytest.raises(StoreError):
            registry.import_log(file)
        there = len(rows(registry))
        assert sum(appended) == there < source.position()
        monkeypatch.setattr(registry._store, "append", append)
        assert registry.import_log(file).imported == source.position() - there
        assert rows(registry) == rows(source)
        assert registry.verify().ok

    def test_a_dry_run_says_what_would_be_recorded_and_records_nothing(
        self, source: ModelRegistry, store: Store
    ) -> None:
        registry, file = store(), exported(source)
        planned = registry.import_log(file, dry_run=True)
        assert (planned.events, planned.imported, registry.position()) == (source.position(), source.position(), 0)
        assert registry.import_log(file) == planned
        assert registry.import_log(file, dry_run=True).imported == 0
        with pytest.raises(InvalidArgumentError, match="dry_run"):
            registry.import_log(file, dry_run=1)  # type: ignore[arg-type]  # that is what is refused

    def test_progress_is_told(self, source: ModelRegistry, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer_room, "BATCH_EVENTS", 10)
        calls: list[tuple[str, int, int]] = []

        def note(*call: Any) -> None:
            calls.append(call)

        file = io.BytesIO()
        source.export(file, progress=note)
        source.export(io.BytesIO(), "model 1", progress=note)
        check_log(file, note)
        store().import_log(file, progress=note)
        size = len(file.getvalue())
        assert {what for what, _, _ in calls} == {"export", "check", "import"}
        assert all(done <= total for _, done, total in calls)
        assert calls[-1] == ("import", size, size)
        assert max(done for what, done, _ in calls if what == "export") == source.position()

    def test_another_history_is_refused_before_anything_is_recorded(self, source: ModelRegistry, store: Store) -> None:
        registry = store()
        deploy(registry, "model 2")
        with pytest.raises(InvalidArgumentError, match="has another event at position 1") as caught:
            registry.import_log(exported(source))
        assert caught.value.to_dict()["line"] > 1
        assert registry.position() == 1

    def test_somebody_who_records_meanwhile(
        self, source: ModelRegistry, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def conflict(_: object) -> range:
            raise AppendConflict

        monkeypatch.setattr(registry._store, "append", conflict)
        with pytest.raises(ConcurrencyError, match="while it was imported"):
            registry.import_log(exported(source))

    def test_a_file_that_is_there_is_not_written_over(self, source: ModelRegistry, tmp_path: Path) -> None:
        path = tmp_path / "models.db"
        path.write_text("precious")
        with pytest.raises(InvalidArgumentError, match="already"):
            source.export(path)
        assert path.read_text() == "precious"
        for nowhere in (tmp_path / "no folder" / "log", "\0"):
            with pytest.raises(StoreError, match="can't be written"):
                source.export(nowhere)
            with pytest.raises(InvalidArgumentError, match="can't be read"):
                source.import_log(nowhere)

    def test_nor_is_a_link_or_what_others_keep_beside_it_or_what_appears_meanwhile(
        self, source: ModelRegistry, tmp_path: Path
    ) -> None:
        def meanwhile(*_: object) -> None:
            (tmp_path / "late").write_bytes(b"of somebody else")

        (tmp_path / "link").symlink_to("nowhere")
        (tmp_path / "log.part").write_bytes(b"of somebody else")
        with pytest.raises(InvalidArgumentError, match="exists already"):
            source.export(tmp_path / "link")
        with pytest.raises(InvalidArgumentError, match="exists already"):
            source.export(tmp_path / "late", progress=meanwhile)
        source.export(tmp_path / "log")
        assert {path.name for path in tmp_path.iterdir()} == {"late", "link", "log", "log.part"}
        assert [(tmp_path / name).read_bytes() for name in ("late", "log.part")] == [b"of somebody else"] * 2

    def test_what_is_no_file_of_bytes_is_refused(self, source: ModelRegistry) -> None:
        closed = io.BytesIO()
        closed.close()
        for file in (7, None, io.StringIO(), closed, object()):
            with pytest.raises(InvalidArgumentError, match="open binary file"):
                source.export(file)  # type: ignore[arg-type]  # refused
            with pytest.raises(InvalidArgumentError, match="open binary file"):
                source.import_log(file)  # type: ignore[arg-type]  # refused

    def test_what_can_not_be_read_twice_is_refused(self, registry: ModelRegistry) -> None:
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        with pytest.raises(InvalidArgumentError, match="rewound"):
            registry.import_log(Pipe())

    @pytest.mark.parametrize("how", ["another event", "cut off"])
    def test_nothing_is_recorded_of_a_file_that_changes_after_it_was_checked(
        self, source: ModelRegistry, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.setattr(transfer_room, "BATCH_EVENTS", 10)
        contents = exported(source).getvalue()
        line = contents.splitlines(keepends=True)[15]
        change = line.replace(b"published.1", b"published.2") if how == "another event" else b""

        class Changing(io.BytesIO):
            def seek(self, offset: int, whence: int = 0, /) -> int:
                if self.tell() == len(contents) and offset == 0 and whence == 0 and checked:
                    self.truncate(super().seek(0))
                    super().write(contents.replace(line, line.replace(b"actor", b"Actor") if change else b""))
                return super().seek(offset, whence)

        checked: list[int] = []
        with pytest.raises(CorruptLogError, match="changed after it was checked" if change else "line"):
            registry.import_log(Changing(contents), progress=lambda _, read, __: checked.append(read))
        assert registry.position() <= 15

    def test_a_disk_that_fails_while_it_is_read(self, source: ModelRegistry, registry: ModelRegistry) -> None:
        class Disk(io.BytesIO):
            reads = 0

            def readline(self, size: int | None = -1, /) -> bytes:
                self.reads += size != 0
                if self.reads == 3:
                    raise OSError(5, "Input/output error")
                return super().readline(size)

        with pytest.raises(InvalidArgumentError, match="Input/output error") as caught:
            registry.import_log(Disk(exported(source).getvalue()))
        assert caught.value.to_dict()["line"] == 2

    def test_a_disk_that_fails_while_it_is_written_leaves_nothing(
        self, source: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        with pytest.raises(StoreError, match="No space left"):
            source.export(tmp_path / "log")
        assert list(tmp_path.iterdir()) == []

    def test_a_log_that_does_not_hold_is_not_exported(self, shared_store: Store, tmp_path: Path) -> None:
        registry = shared_store()
        deploy(registry), deploy(registry)
        state = registry._store.log(1, 1)[0][4]
        for wrong, match in (
            (state.replace(b"s3://", b"S3://"), "not what its link was made from"),
            (b"{}", "not readable"),
            (state.replace(b',"payload"', b'\n,"payload"'), "link was made from"),
        ):
            shared_store.change(2, state=wrong)
            with pytest.raises(CorruptLogError, match=match):
                registry.export(tmp_path / "log")
        body = body_of(state.replace(b',"payload"', b'\n,"payload"'))
        link = computed_link(
            bytes.fromhex(registry._store.log(0, 1)[0][4][11:75].decode()), stream(registry), 2, "deployed.1", body
        )
        shared_store.change(2, state=b'{"_chain":"%b",%b' % (link.hex().encode(), body[1:]))
        with pytest.raises(CorruptLogError, match="line break"):
            registry.export(tmp_path / "log")
        assert list(tmp_path.glob("log*")) == []


def stream(registry: ModelRegistry, name: str = NAME) -> str:
    return registry._streams.ref(name).stream


class Forger:
    """Changes a file as an enemy would who knows the format: what is wrong is not the digest at the end."""

    def __init__(self, source: ModelRegistry) -> None:
        self.lines = exported(source).getvalue().splitlines(keepends=True)

    def event(self, number: int) -> dict[str, Any]:
        """Give the event on a line, its state as text."""
        line = self.lines[number]
        state = line[line.index(b'"state":') + 8 : -2]
        place: dict[str, Any] = json.loads(line[: line.index(b'"state":') - 1] + b"}")
        return place | {"state": state.decode()}

    def put(self, number: int, event: dict[str, Any]) -> None:
        head = json.dumps({name: value for name, value in event.items() if name != "state"}, separators=(",", ":"))
        self.lines[number] = f'{head[:-1]},"state":{event["state"]}}}\n'.encode()

    def change(self, number: int, old: str, new: str) -> None:
        """Change a state, and make all links behind it in its stream anew."""
        place = self.event(number)
        link = NO_LINK
        for index in range(1, len(self.lines)):
            if not self.lines[index].startswith(b'{"position"'):
                break
            event = self.event(index)
            if event["stream"] == place["stream"]:
                state = event["state"].replace(old, new) if index == number else event["state"]
                body = body_of(state.encode())
                link = computed_link(link, event["stream"], event["sequence"], event["topic"], body)
                self.put(index, event | {"state": f'{{"_chain":"{link.hex()}",{body[1:].decode()}'})

    def file(self) -> io.BytesIO:
        """Give the file with the right end."""
        lines = self.lines[:-1]
        events = sum(line.startswith(b'{"position"') for line in lines)
        versions = sum(line.startswith(b'{"model"') for line in lines)
        digest = hashlib.sha256(b"".join(lines)).hexdigest()
        end = json.dumps({"events": events, "versions": versions, "digest": digest}, separators=(",", ":"))
        return io.BytesIO(b"".join([*lines, end.encode(), b"\n"]))


def instead(number: int, old: bytes, new: bytes) -> Callable[[list[bytes]], object]:
    """Let one line say something else."""

    def change(lines: list[bytes]) -> None:
        lines[number] = lines[number].replace(old, new)

    return change


class TestHostileFiles:
    """Whatever is wrong is a typed error that names the line, and nothing is recorded."""

    @pytest.fixture
    def forger(self) -> Iterator[Forger]:
        with ModelRegistry("memory:") as source:
            serving(source, idempotency_key="one", actor="ada")
            deploy(source, idempotency_key="two")
            deploy(source, "other")
            yield Forger(source)

    def refused(self, registry: ModelRegistry, file: io.BytesIO, line: int, match: str | None = None) -> None:
        with pytest.raises((CorruptLogError, NewerFormatError), match=match) as caught:
            registry.import_log(file)
        assert caught.value.to_dict()["line"] == line
        assert f"Line {line} of the file" in caught.value.sentence
        assert registry.position() == 0

    def test_as_it_was_it_is_taken(self, forger: Forger, registry: ModelRegistry) -> None:
        assert registry.import_log(forger.file()).imported == 4

    CHANGES: ClassVar[dict[str, tuple[int, str, str, str]]] = {
        "another workspace": (2, '"workspace":"default"', '"workspace":"other"', "another workspace"),
        "another name": (3, '"model_name":"churn"', '"model_name":"chum"', "names another model"),
        "another command": (2, '"command_id":"', '"command_id":"x', "stands apart"),
        "an append that begins in the middle": (
            3,
            '"fingerprint"',
            '"index":1,"count":2,"fingerprint"',
            "stands apart",
        ),
        "an append that does not end": (4, '"model_name"', '"count":2,"model_name"', "not the last of its append"),
        "a moment before the last": (3, '"at_us":1', '"at_us":-1', "R23"),
        "another life": (3, '"model_name"', '"generation":2,"model_name"', "another life"),
        "a key that was used": (3, '"idempotency_key":"two"', '"idempotency_key":"one"', "R21"),
        "a key that can't be": (3, '"idempotency_key":"two"', '"idempotency_key":" "', "impossible idempotency key"),
    }

    @pytest.mark.parametrize("what", CHANGES)
    def test_a_forged_event(self, forger: Forger, registry: ModelRegistry, what: str) -> None:
        number, old, new, match = self.CHANGES[what]
        line = 9 if what == "an append that does not end" else number + 1
        forger.change(number, old, new)
        self.refused(registry, forger.file(), line, match)

    def test_an_event_of_a_version_that_is_not_there(self, forger: Forger, registry: ModelRegistry) -> None:
        number = int(forger.event(2)["state"].split("_1_")[1][:8], 16)
        forger.change(2, f"{number:08x}", f"{number ^ 1:08x}")
        self.refused(registry, forger.file(), 3, "does not follow")

    @pytest.mark.parametrize("name", [" churn", "", "a\\u0000b", "ver_0123456789ab8def8123456789abcdef_1_01234567"])
    def test_a_name_that_no_model_can_have(self, forger: Forger, registry: ModelRegistry, name: str) -> None:
        forger.change(1, '"model_name":"churn"', f'"model_name":"{name}"')
        self.refused(registry, forger.file(), 2, "impossible name")

    def test_a_stream_that_is_not_the_one_of_its_name(self, forger: Forger, registry: ModelRegistry) -> None:
        forger.change(1, '"model_name":"churn"', '"model_name":"chum"')
        self.refused(registry, forger.file(), 2, "does not belong to its name")

    def test_events_that_are_not_next(self, forger: Forger, registry: ModelRegistry) -> None:
        del forger.lines[1]
        self.refused(registry, forger.file(), 2)

    def test_an_event_twice(self, forger: Forger, registry: ModelRegistry) -> None:
        forger.lines.insert(4, forger.lines[3])
        self.refused(registry, forger.file(), 5, "next one of its stream")

    def test_an_append_with_a_gap_in_it(self, forger: Forger, registry: ModelRegistry) -> None:
        """Rows that were recorded together have neighbouring positions."""
        forger.lines[2] = forger.lines[2].replace(b'"position":2', b'"position":9')
        self.refused(registry, forger.file(), 3, "stands apart")

    def test_an_append_that_is_said_to_be_longer(self, forger: Forger, registry: ModelRegistry) -> None:
        forger.change(2, '"count":2', '"count":3')
        self.refused(registry, forger.file(), 3, "stands apart")

    def test_a_model_that_the_file_is_not_of(self, registry: ModelRegistry, forger: Forger) -> None:
        forger.lines[0] = forger.lines[0].replace(b'"model_name":null', b'"model_name":"other"')
        self.refused(registry, forger.file(), 2, "another workspace or model")

    LINES: ClassVar[dict[str, tuple[Callable[[list[bytes]], object], int, str]]] = {
        "nothing": (lambda lines: lines.clear(), 1, "cut off"),
        "no header": (lambda lines: lines.pop(0), 1, "not an exported log"),
        "another format": (instead(0, b"log.1", b"log.x"), 1, "another format"),
        "a newer format": (instead(0, b"log.1", b"log.2"), 1, "newer format"),
        "no end": (lambda lines: lines.pop(), 9, "cut off"),
        "half a line": (lambda lines: lines.__setitem__(-1, lines[-1][:-5]), 9, "cut off"),
        "a long line": (lambda lines: lines.insert(2, b" " * LINE_BYTES_MAX), 3, "longer than any"),
        "an empty line": (lambda lines: lines.insert(2, b"\n"), 3, "no kind"),
        "another object": (lambda lines: lines.insert(2, b'{"positions":1}\n'), 3, "no kind"),
        "too little of an event": (lambda lines: lines.insert(2, b'{"position":1}\n'), 3, "required field"),
        "deep JSON": (lambda lines: lines.insert(2, b'{"position":' + b"[" * 100_000 + b"\n"), 3, "Line 3"),
        "an event behind the versions": (lambda lines: lines.insert(5, lines.pop(4)), 6, "behind"),
        "a version less": (lambda lines: lines.pop(5), 8, "not those that were exported"),
        "an event less": (lambda lines: lines.pop(4), 8, "not those that were exported"),
        "something behind the end": (lambda lines: lines.append(b"\n"), 10, "behind the end"),
        "a position of 0": (instead(1, b'"position":1', b'"position":0'), 2, "range"),
        "an unknown topic": (instead(1, b"deployed.1", b"os.system"), 2, "not readable"),
        "a newer topic": (instead(1, b"deployed.1", b"deployed.9"), 2, "newer format"),
        "another reason": (instead(1, b'"ada"', b'"eve"'), 2, "link was made from"),
    }  # fmt: skip

    @pytest.mark.parametrize("what", LINES)
    def test_lines_that_are_not_as_they_were(self, forger: Forger, registry: ModelRegistry, what: str) -> None:
        change, line, match = self.LINES[what]
        change(forger.lines)
        self.refused(registry, io.BytesIO(b"".join(forger.lines)), line, match)

    @given(data=st.data())
    def test_any_other_byte_is_noticed(self, data: st.DataObject) -> None:
        with ModelRegistry("memory:") as source, ModelRegistry("memory:") as there:
            serving(source), deploy(source)
            contents = bytearray(exported(source).getvalue())
            place = data.draw(st.integers(0, len(contents) - 1))
            contents[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != contents[place]))
            with pytest.raises(VersioningError) as caught:
                there.import_log(io.BytesIO(contents))
            assert isinstance(caught.value, CorruptLogError | NewerFormatError | InvalidArgumentError)
            assert there.position() == 0

    @given(st.binary(max_size=200))
    def test_any_bytes_at_all_are_refused(self, contents: bytes) -> None:
        with pytest.raises(CorruptLogError) as caught:
            check_log(io.BytesIO(contents))
        assert caught.value.to_dict()["line"] >= 1


class TestUpgrades:
    """`assert_replays`: the file means what it meant."""

    def test_a_file_replays(self, store: Store, tmp_path: Path) -> None:
        registry = filled(store(policy=AWAITED), 50, 3)
        registry.export(tmp_path / "log.ndjson")
        assert assert_replays(tmp_path / "log.ndjson").events == len(rows(registry))

    def test_an_answer_that_is_another_one(self, source: ModelRegistry) -> None:
        forger = Forger(source)
        place = next(index for index, line in enumerate(forger.lines) if line.startswith(b'{"model"'))
        line = forger.lines[place]
        was, other = (b"true", b"false") if line.endswith(b"true}\n") else (b"false", b"true")
        forger.lines[place] = line.replace(was, other)
        with pytest.raises(DiscrepancyError, match="exported as ExportedVersion"):
            assert_replays(forger.file())
        del forger.lines[place]
        with pytest.raises(AssertionError, match="exported as None"):
            assert_replays(forger.file())

    def test_a_law_that_is_broken(self) -> None:
        with ModelRegistry("memory:") as source:
            serving(source), deploy(source)
            forger = Forger(source)
        forger.change(3, '"number":"0.2.0"', '"number":"0.1.0"')
        with pytest.raises(DiscrepancyError, match=r"a number that is not above 0\.1\.0"):
            assert_replays(forger.file())

    def test_a_file_that_can_not_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match="does not replay"):
            assert_replays(tmp_path / "nowhere")

    def test_a_view_that_is_not_what_a_replay_gives(
        self, source: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = exported(source)
        finding = Finding("view", "In the kept view models.2, the row of model 1 is missing.")
        monkeypatch.setattr(Verifier, "_note_unchecked", lambda self, **_: self._add(finding))
        with pytest.raises(DiscrepancyError, match="the row of model 1 is missing"):
            assert_replays(file)


class TestCloudEvents:
    """CloudEvents 1.0, as the SDK sees them."""

    @given(recorded_logs(model_names=("one", "zwei\u202e")))
    def test_the_sdk_takes_every_event(self, log: list[Recorded]) -> None:
        from versioning.output.cloudevents import cloud_event_of  # noqa: PLC0415 - of this test alone

        for one in log:
            event = JSONFormat().read(CloudEvent, json.dumps(cloud_event_of(one)))
            assert (event.get_id(), event.get_specversion()) == (one.event_id, "1.0")
            assert event.get_time() == one.timestamp
            assert event.get_subject() == one.version_id or one.version_id is None
            data: Any = event.get_data()
            assert (data["event"], data["at_us"]) == (type(one.event).__name__, one.event.at_us)
            if isinstance(one.event, VersionDeployed):
                assert data["metadata"] == json.loads(one.event.metadata)
            assert all(len(name) <= 20 for name in event.get_attributes())
            assert all(str(value).isprintable() for value in event.get_attributes().values())

    def test_they_go_through_http(self, registry: ModelRegistry) -> None:
        serving(registry, actor="ada", reason="line\nbreak")
        for one in registry.cloud_events(NAME):
            event = JSONFormat().read(CloudEvent, json.dumps(one))
            message = to_structured_event(event)
            back = from_http_event(HTTPMessage(message.headers, message.body))
            assert back.get_data() == event.get_data()

    def test_id_and_source_are_unique_and_sequences_sort(self, registry: ModelRegistry) -> None:
        filled(registry)
        events = list(registry.cloud_events())
        assert len({(event["id"], event["source"]) for event in events}) == len(events)
        by_stream: dict[str, list[str]] = {}
        for event in events:
            by_stream.setdefault(event["partitionkey"], []).append(event["sequence"])
        assert all(found == sorted(found) for found in by_stream.values())
        assert len(list(registry.cloud_events(after=5, limit=3))) == 3


class TestFlatRows:
    """Rows that pandas and polars take as they are, and CSV that is safe to open."""

    def test_every_row_has_the_same_columns_of_the_same_types(self, store: Store) -> None:
        registry = filled(store(policy=AWAITED), 60)
        found = list(registry.rows())
        assert len(found) == len(rows(registry))
        types = [{name: type(value) for name, value in row.items()} for row in found]
        assert all(one == types[0] for one in types)
        assert set(types[0].values()) == {int, str, bool, datetime}
        assert len({row["event"] for row in found}) > 6
        assert [row["sentence"] for row in found] == [one.sentence for one in registry.replay()]

    def test_what_they_say(self, registry: ModelRegistry) -> None:
        first, second = serving(registry, actor="ada", reason="r", metadata={"auc": 1}), deploy(registry)
        registry.promote(second.version_id)
        (promoted,) = registry.rows(NAME, after=registry.position() - 1)
        assert promoted | {"timestamp": "", "command_id": "", "bookmark": "", "position": 0, "sequence": 0} == {
            "position": 0, "timestamp": "", "workspace": "default", "model_name": NAME, "model_id": first.model_id,
            "sequence": 0, "event": "VersionPromoted", "version_id": second.version_id, "number": "0.2.0",
            "previous": first.version_id, "previous_number": "0.1.0", "cause": "requested", "command": "",
            "published": False, "claims": False, "activation_id": "", "error": "", "artifact_uri": "",
            "artifact_digest": "", "metadata": "{}", "actor": "", "reason": "", "correlation_id": "",
            "idempotency_key": "", "command_id": "", "bookmark": "",
            "sentence": "somebody promoted 0.2.0 of churn to primary (was 0.1.0)",
        }  # fmt: skip
        (deployed,) = registry.rows(limit=1)
        assert (deployed["metadata"], deployed["artifact_uri"], deployed["published"]) == ('{"auc":1}', URI, True)

    def test_a_version_that_is_not_known_has_no_number(self, registry: ModelRegistry) -> None:
        deploy(registry)
        (event,) = registry.history()
        assert flat_row(event, lambda _: None)["number"] == ""
        assert flat_row(attrs.evolve(event), lambda _: "1.0.0")["number"] == "1.0.0"

    @given(st.lists(st.text(), min_size=1, max_size=4))
    def test_no_cell_is_a_formula_or_holds_what_is_not_printable(self, texts: list[str]) -> None:
        lines = list(csv_lines([{f"column {place}": text for place, text in enumerate(texts)}]))
        assert len(lines) == 2
        (cells,) = csv.reader([lines[1]])
        for text, cell in zip(texts, cells, strict=True):
            assert cell.isprintable()
            assert not cell.lstrip().startswith(FORMULA_OPENINGS)
            assert cell.removeprefix("'") == text or not text.isprintable() or text.startswith("'")

    @pytest.mark.parametrize(
        "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", " =1+1", "\r=1", "\uff1d1", '=cmd|"/c calc"!A0']
    )
    def test_formulas_are_defused(self, registry: ModelRegistry, text: str) -> None:
        deploy(registry, actor=text.strip(), reason=text)
        table = list(csv.DictReader(io.StringIO("".join(csv_lines(registry.rows())))))
        assert table[0]["actor"].startswith("'")
        assert not table[0]["reason"].lstrip().startswith(FORMULA_OPENINGS)

    def test_other_values(self) -> None:
        moment = datetime(2026, 1, 1)  # noqa: DTZ001 - whatever it is
        assert list(csv_lines([{"a": None, "b": -5, "c": 0.5, "d": True, "e": moment, "f": 'x,"y"'}])) == [
            "a,b,c,d,e,f\n",
            ',-5,0.5,True,2026-01-01T00:00:00,"x,""y"""\n',
        ]
        assert list(csv_lines([])) == []
        assert list(csv_lines([{"a": 1}, {"a": 2}])) == ["a\n", "1\n", "2\n"]

    def test_they_are_read_as_of_a_past(self, registry: ModelRegistry) -> None:
        deploy(registry), deploy(registry)
        assert [row["number"] for row in registry.at(1).rows()] == ["0.1.0"]
