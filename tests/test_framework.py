"""The adapter to eventsourcing: its tests of recorders, its Application and its ProjectionRunner, on every store."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from unittest import mock
from uuid import UUID, uuid4

import pytest
from eventsourcing import persistence as framework
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import JSONTranscoder, Notification, StoredEvent
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore
from hypothesis import given as hypothesis_given
from hypothesis import settings

from tests import stores
from tests.postgres_server import server
from tests.stories import everything, stories
from versioning import Policy
from versioning.aggregate import NO_LINK
from versioning.commands import Deploy, Promote
from versioning.errors import CorruptLogError, InvalidArgumentError
from versioning.events import (
    ArtifactRef,
    Event,
    Meta,
    VersionDeactivated,
    VersionDeployed,
    VersionPromoted,
)
from versioning.ids import stream_of, version_id_of
from versioning.rules import decide
from versioning.store.format import decode, encode, link_of
from versioning.store.framework import (
    KeyedStoredEvent,
    LoadedModel,
    LogMapper,
    LogRecorder,
    RecordedEvent,
    project,
)
from versioning.store.opening import open_store
from versioning.testing import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventsourcing.persistence import Tracking

    from versioning import Recorded
    from versioning.store.contract import Store
    from versioning.testing import Story

with mock.patch.dict(sys.modules):
    # What ciphers need is not installed here, and the tests of recorders don't use one.
    sys.modules["eventsourcing.cipher"] = types.ModuleType("eventsourcing.cipher")
    sys.modules["eventsourcing.cipher"].AESCipher = None  # type: ignore[attr-defined]
    from eventsourcing.tests import persistence as framework_tests

ROOT = Path(__file__).resolve().parent.parent
NOON_US = 1_750_000_000_000_000
STREAM = stream_of("default", "fraud")
VERSION = version_id_of(STREAM, 1, "0badcafe")
A = VersionDeployed(VERSION, "0.1.0", ArtifactRef("s3://x/y"), published=True, claims=True, at_us=NOON_US)
B = VersionDeactivated(VERSION, at_us=NOON_US)
PROMOTED = VersionPromoted(VERSION, None, "published", at_us=NOON_US)

shared_store = stores.shared_store


def meta(key: str | None = None) -> Meta:
    return Meta("default", "fraud", 1, "0" * 32, actor="ada", idempotency_key=key)


@pytest.fixture(params=stores.STORES, ids=str)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(open_store(request.param.url(tmp_path))) as store:
        yield store


@pytest.fixture
def recorder(log: Store) -> LogRecorder:
    return LogRecorder(log)


def in_time(thread: threading.Thread) -> None:
    thread.join(20)
    assert not thread.is_alive()


# The framework's own tests of recorders.


class _AggregateRecorder(LogRecorder):
    """The framework has a recorder that knows no positions, and its test of one insists on that."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: object) -> Any:  # noqa: ANN401 - None
        super().insert_events(stored_events)


class _OnAStore:
    kind: type[LogRecorder] = LogRecorder

    def url(self, folder: str) -> str:
        raise NotImplementedError

    def create_recorder(self) -> Any:  # noqa: ANN401 - each of the framework's two classes wants its own
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)  # type: ignore[attr-defined]
        recorder = self.kind(open_store(self.url(folder.name)))
        self.addCleanup(recorder.store.close)  # type: ignore[attr-defined]
        return recorder

    def test_insert_subscribe(self) -> None:
        if self.kind is LogRecorder:
            self.optional_test_insert_subscribe()  # type: ignore[attr-defined]


class _OnMemory(_OnAStore):
    def url(self, folder: str) -> str:  # noqa: ARG002 - it has no file
        return "memory:"


class _OnFile(_OnAStore):
    def url(self, folder: str) -> str:
        return f"sqlite:///{folder}/models.db"


class _OnServer(_OnAStore):
    def url(self, folder: str) -> str:  # noqa: ARG002 - it has no file
        # Ten threads append a hundred events each time: on a busy machine a connection may take its time.
        return server().fresh_url(lock_timeout_s=60)


class TestAggregateRecorderOnMemory(_OnMemory, framework_tests.AggregateRecorderTestCase):
    kind = _AggregateRecorder


class TestAggregateRecorderOnAFile(_OnFile, framework_tests.AggregateRecorderTestCase):
    kind = _AggregateRecorder


class TestAggregateRecorderOnAServer(_OnServer, framework_tests.AggregateRecorderTestCase):
    kind = _AggregateRecorder


class TestApplicationRecorderOnMemory(_OnMemory, framework_tests.ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestApplicationRecorderOnAFile(_OnFile, framework_tests.ApplicationRecorderTestCase[LogRecorder]):
    pass


class TestApplicationRecorderOnAServer(_OnServer, framework_tests.ApplicationRecorderTestCase[LogRecorder]):
    pass


# What they leave out.


class TestRecorder:
    def test_a_key_that_comes_the_frameworks_way_is_indexed(self, recorder: LogRecorder) -> None:
        assert recorder.insert_events([KeyedStoredEvent(UUID(STREAM), 1, "deleted.1", b"{}", "key")]) == [1]
        assert recorder.store.find_key(STREAM, "key") == (1, 1, "deleted.1", b"{}")
        with pytest.raises(framework.IntegrityError):
            recorder.insert_events([KeyedStoredEvent(UUID(STREAM), 2, "deleted.1", b"{}", "key")])

    def test_streams_that_are_no_uuids_are_given_back_as_they_are(self, recorder: LogRecorder) -> None:
        event = StoredEvent("snapshots of x", 1, "t", b"")
        recorder.insert_events([event])
        assert recorder.select_events("snapshots of x") == [event]
        assert recorder.select_notifications(None, 1)[0].originator_id == "snapshots of x"

    def test_the_last_events_come_first_if_asked_so(self, recorder: LogRecorder) -> None:
        recorder.insert_events([StoredEvent(UUID(STREAM), sequence, "t", b"") for sequence in (1, 2, 3, 4)])

        def found(**how: Any) -> list[int]:  # noqa: ANN401 - of the method's own
            return [one.originator_version for one in recorder.select_events(UUID(STREAM), desc=True, **how)]

        assert found() == [4, 3, 2, 1]
        assert found(limit=2) == [4, 3]
        assert found(gt=1, lte=3, limit=1) == [3]

    def test_topics_are_picked_out_of_many_rows(self, recorder: LogRecorder) -> None:
        topics = ["picked" if place % 600 == 599 else "other" for place in range(1_300)]
        recorder.insert_events([StoredEvent(UUID(STREAM), place, topic, b"") for place, topic in enumerate(topics, 1)])
        assert [one.id for one in recorder.select_notifications(None, 10, topics=["picked"])] == [600, 1_200]
        assert [one.id for one in recorder.select_notifications(1, 1, topics=["picked"])] == [600]
        assert [one.id for one in recorder.select_notifications(601, 9, 1_199, topics=["picked"])] == []

    def test_what_goes_wrong_is_one_of_the_frameworks_errors(self, recorder: LogRecorder) -> None:
        event = StoredEvent(UUID(STREAM), 1, "deleted.1", b"{}")
        recorder.insert_events([event])
        with pytest.raises(framework.IntegrityError):
            recorder.insert_events([event])
        recorder.store.close()
        for question in (
            lambda: recorder.insert_events([event]),
            lambda: recorder.select_events(uuid4()),
            lambda: recorder.select_notifications(None, 1),
            recorder.max_notification_id,
            recorder.subscribe,
        ):
            with pytest.raises(framework.OperationalError, match="is closed"):
                question()

    def test_what_goes_wrong_in_a_file_has_the_name_that_sqlite_gives_it(self, tmp_path: Path) -> None:
        def event(state: Any) -> StoredEvent:  # noqa: ANN401 - of any type
            return StoredEvent(uuid4(), 1, "t", state)

        path = tmp_path / "models.db"
        with (
            contextlib.closing(open_store(path)) as file,
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw,
        ):
            recorder = LogRecorder(file)
            with pytest.raises(framework.IntegrityError):
                recorder.insert_events([event(None)])
            with pytest.raises(framework.PersistenceError):
                recorder.insert_events([event(object())])
            raw.execute("INSERT INTO stored_events VALUES (1, 'x', 1, CAST(x'ff' AS TEXT), x'', NULL)")
            with pytest.raises(framework.OperationalError, match="UTF-8"):
                recorder.select_events("x")
        with (
            contextlib.closing(open_store(f"sqlite:///{path}?timeout_s=0.05")) as hasty,
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw,
        ):
            raw.execute("BEGIN IMMEDIATE")
            with pytest.raises(framework.OperationalError, match="locked"):
                LogRecorder(hasty).insert_events([event(b"")])

    def test_an_event_is_not_recorded_without_the_tracking_that_belongs_to_it(self, recorder: LogRecorder) -> None:
        event = StoredEvent(UUID(STREAM), 1, "deleted.1", b"{}")
        with pytest.raises(framework.NotSupportedError, match="tracking record"):
            recorder.insert_events([event], tracking=framework.Tracking("upstream", 1))
        assert recorder.max_notification_id() is None

    def test_the_frameworks_own_recorder_reads_our_file(self, tmp_path: Path) -> None:
        path = tmp_path / "models.db"
        events: list[Event] = [A, B]
        written = encode(STREAM, 0, NO_LINK, events, meta())
        with contextlib.closing(open_store(path)) as file:
            file.append(written)
            theirs = SQLiteApplicationRecorder(SQLiteDatastore(str(path)))
            with contextlib.closing(theirs.datastore):
                found = theirs.select_notifications(start=None, limit=10)
                stored = theirs.select_events(UUID(STREAM))
                assert theirs.max_notification_id() == 2
            assert [(one.id, one.originator_id, one.state) for one in found] == [
                (1, UUID(STREAM), written[0].state),
                (2, UUID(STREAM), written[1].state),
            ]
            assert stored == LogRecorder(file).select_events(UUID(STREAM))
        assert [decode(0, STREAM, one.originator_version, one.topic, one.state).event for one in stored] == events


class TestSubscription:
    def test_it_waits_for_what_others_record_and_ends_when_it_is_stopped(self, recorder: LogRecorder) -> None:
        subscription = recorder.subscribe(topics=["picked"])
        found: list[int] = []
        second = threading.Event()

        def read() -> None:
            for notification in subscription:
                found.append(notification.id)
                if len(found) == 2:
                    second.set()

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        for sequence, topic in enumerate(("picked", "other", "picked"), 1):
            recorder.insert_events([StoredEvent(UUID(STREAM), sequence, topic, b"")])
        assert second.wait(20)
        subscription.stop()
        in_time(thread)
        assert found == [1, 3]

    def test_a_store_that_is_closed_meanwhile_is_one_of_the_frameworks_errors(self, recorder: LogRecorder) -> None:
        with recorder.subscribe() as subscription:
            recorder.store.close()
            with pytest.raises(framework.OperationalError, match="is closed"):
                next(subscription)


class TestMapper:
    def pending(self) -> Sequence[Any]:
        model = LoadedModel(STREAM, "default", "fraud")
        model.record([A, PROMOTED], meta("key-1"))
        model.record([B], meta())
        return model.collect_events()

    def test_it_writes_the_rows_that_a_registry_writes(self) -> None:
        stored = [LogMapper(JSONTranscoder()).to_stored_event(one) for one in self.pending()]
        first = encode(STREAM, 0, NO_LINK, [A, PROMOTED], meta("key-1"))
        rows = first + encode(STREAM, 2, link_of(first[-1].state), [B], meta(), is_first=False)
        assert stored == [KeyedStoredEvent(UUID(STREAM), *row[1:]) for row in rows]
        assert [one.key for one in stored] == ["key-1", None, None]

    def test_it_reads_what_it_wrote(self) -> None:
        mapper = LogMapper()
        read_back = [mapper.to_domain_event(mapper.to_stored_event(one)) for one in self.pending()]
        assert [one.event for one in read_back] == [A, PROMOTED, B]
        assert [(one.position, one.originator_id, one.originator_version) for one in read_back] == [
            (0, UUID(STREAM), sequence) for sequence in (1, 2, 3)
        ]

    def test_a_notification_tells_its_position(self) -> None:
        (row,) = encode(STREAM, 0, NO_LINK, [A], meta())
        read_back = LogMapper().to_domain_event(Notification(row.stream, row.sequence, row.topic, row.state, 12))
        assert read_back.position == 12
        assert read_back.to_dict() == decode(12, *row[:4]).to_dict()

    def test_it_reads_no_row_that_is_not_ours(self) -> None:
        with pytest.raises(CorruptLogError):
            LogMapper().to_domain_event(StoredEvent(UUID(STREAM), 1, "eventsourcing.domain:Snapshot", b"{}"))

    @pytest.mark.parametrize("option", ["compressor", "cipher"])
    def test_ciphers_and_compressors_are_refused(self, option: str) -> None:
        with pytest.raises(InvalidArgumentError, match="cipher or compressor"):
            LogMapper(**{option: object()})


class TestLoadedModel:
    def test_recorded_facts_wait_in_order_and_are_chained(self) -> None:
        model = LoadedModel(STREAM, "default", "fraud")
        model.record([A, PROMOTED], meta())
        model.record([B], meta())
        pending = model.collect_events()
        assert [each.event for each in pending] == [A, PROMOTED, B]
        read_back = [decode(0, *each.row[:4]) for each in pending]
        assert [(each.index, each.count) for each in read_back] == [(0, 2), (1, 2), (0, 1)]
        assert [each.row.sequence for each in pending] == [1, 2, 3]
        assert {each.originator_id for each in pending} == {model.id} == {UUID(model.stream)}
        assert pending[2].originator_version == model.version == 3
        assert model.link == link_of(pending[2].row.state)

    def test_recording_folds_and_tells_who(self) -> None:
        model = LoadedModel(STREAM)
        model.record([A], meta())
        assert model.versions[VERSION].deployed_by == "ada"

    def test_what_is_collected_is_collected_once(self) -> None:
        model = LoadedModel(STREAM)
        assert model.collect_events() == []
        model.record([A], meta())
        assert len(model.collect_events()) == 1
        assert model.collect_events() == []

    def test_after_loading_the_next_fact_is_chained_to_the_last_link(self) -> None:
        (fact,) = recorded(A)
        link = bytes.fromhex("ab" * 32)
        model = project(None, [RecordedEvent(**vars(fact) | {"chain": link.hex()})])
        assert model is not None
        model.record([B], meta())
        assert model.collect_events()[0].row == encode(model.stream, 1, link, [B], meta())[0]

    @hypothesis_given(stories())
    @settings(max_examples=20)
    def test_projecting_is_folding_at_once_or_in_parts_or_one_by_one(self, story: Story) -> None:
        log = [RecordedEvent(**vars(fact) | {"chain": "00" * 32}) for fact in story.log]
        half = len(log) // 2
        model = project(project(None, log[:half]), log[half:])
        assert (model is None) == (log == [])
        one_by_one: LoadedModel | None = None
        for fact in log:
            one_by_one = fact.mutate(one_by_one)
        if model is not None and one_by_one is not None:
            assert everything(model) == everything(story.state) == everything(one_by_one)

    def test_nothing_projected_is_nothing_known(self) -> None:
        assert project(None, []) is None


# Somebody's application, which the framework's environment leads here.


def env(url: str) -> dict[str, str]:
    return {"PERSISTENCE_MODULE": "versioning.store.framework", "VERSIONING_URL": url}


class Promotions(POPOTrackingRecorder):
    """Somebody's view: how often each version became primary."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def count(self, version_id: str, tracking: Tracking) -> None:
        self.insert_tracking(tracking)
        self.counts[version_id] = self.counts.get(version_id, 0) + 1


class CountPromotions(Projection[Promotions]):
    topics: ClassVar[tuple[str, ...]] = ("promoted.1",)  # type: ignore[misc]  # the framework declares a variable

    def process_event(self, domain_event: Recorded, tracking: Tracking) -> None:
        self.view.count(str(domain_event.version_id), tracking)


class TestApplication:
    def test_it_goes_on_where_a_registry_stopped(self, shared_store: stores.Store) -> None:
        with shared_store() as registry, Application[UUID](env(shared_store.url)) as app:
            first = registry.deploy("s3://models/1", model_name="fraud", publish=True, actor="ada")
            second = registry.deploy("s3://models/2", model_name="fraud", publish=True, actor="ada")

            model: LoadedModel = app.repository.get(UUID(STREAM), projector_func=project)
            assert (model.primary, model.link) == (second.version_id, app.repository.get(UUID(STREAM)).link)
            model.record(decide(model, Promote(first.version_id), Policy(), NOON_US), meta())
            app.save(model)

            assert registry.primary("fraud") == registry.version(first.version_id)
            event = list(registry.history("fraud"))[-1].event
            assert (type(event).__name__, getattr(event, "previous", None)) == ("VersionPromoted", second.version_id)
            assert registry.verify().ok

    def test_a_new_model_with_several_events_and_a_key_is_chained_like_any_other(
        self, shared_store: stores.Store
    ) -> None:
        with Application[UUID](env(shared_store.url)) as app:
            with pytest.raises(AggregateNotFoundError):
                app.repository.get(UUID(STREAM))
            model = LoadedModel(STREAM, "default", "fraud")
            command = Deploy(ArtifactRef("s3://models/1"), "00c0ffee", publish=True)
            model.record(decide(model, command, Policy(), NOON_US), meta("deploy-1"))
            app.save(model)

            assert isinstance(app.recorder, LogRecorder)
            assert app.recorder.store.find_key(STREAM, "deploy-1") is not None
            again: LoadedModel = app.repository.get(UUID(STREAM))
            assert (again.primary, again.link) == (model.primary, model.link)
        with shared_store() as registry:
            assert registry.resolve("fraud").number == "0.1.0"
            assert registry.verify().ok

    def test_of_two_who_decided_on_the_same_state_one_is_told(self, shared_store: stores.Store) -> None:
        with shared_store() as registry, Application[UUID](env(shared_store.url)) as app:
            first = registry.deploy("s3://models/1", model_name="fraud", publish=True)
            registry.deploy("s3://models/2", model_name="fraud", publish=True)
            model: LoadedModel = app.repository.get(UUID(STREAM))
            model.record(decide(model, Promote(first.version_id), Policy(), NOON_US), meta())
            registry.promote(first.version_id)
            with pytest.raises(framework.IntegrityError):
                app.save(model)
            assert len(list(registry.history("fraud"))) == 5

    def test_a_projection_runs_on_what_a_registry_records(self, shared_store: stores.Store) -> None:
        with shared_store() as registry:
            first = registry.deploy("s3://models/1", model_name="fraud", publish=True)
            runner = ProjectionRunner(
                application_class=Application[UUID],
                projection_class=CountPromotions,
                view_class=Promotions,
                env=env(shared_store.url) | {"COUNTPROMOTIONS_PERSISTENCE_MODULE": "eventsourcing.popo"},
            )
            with runner:
                second = registry.deploy("s3://models/2", model_name="fraud", publish=True)
                registry.promote(first.version_id)
                runner.wait(registry.position(), timeout=20)
                assert runner.view.counts == {first.version_id: 2, second.version_id: 1}

    def test_without_a_url_it_says_which_variable_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("VERSIONING_URL", raising=False)
        with pytest.raises(framework.InfrastructureFactoryError, match="VERSIONING_URL"):
            Application[UUID]({"PERSISTENCE_MODULE": "versioning.store.framework"})

    def test_its_recorders_are_of_one_store(self) -> None:
        factory: Any = framework.InfrastructureFactory.construct(env("memory:"))
        factory.application_recorder().insert_events([])
        assert factory.application_recorder().max_notification_id() is None
        store = factory._store
        factory.application_recorder()
        assert factory._store is store
        factory.close()

    def test_what_the_log_can_not_hold_is_refused(self) -> None:
        factory = framework.InfrastructureFactory.construct(env("memory:"))
        factory.close()  # nothing was opened
        for make in (factory.aggregate_recorder, factory.tracking_recorder, factory.process_recorder):
            with pytest.raises(framework.NotSupportedError, match="PERSISTENCE_MODULE"):
                make()


@pytest.mark.parametrize("used", ["versioning.ModelRegistry('memory:')", "versioning.store.postgres"])
def test_nothing_else_imports_the_framework(used: str) -> None:
    code = (
        f"import sys, versioning, versioning.store.postgres, versioning.testing; {used}; "
        "print([name for name in sys.modules if name.startswith('eventsourcing')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert shown.stdout.strip() == "[]"
