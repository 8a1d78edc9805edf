"""Is what is kept of questions across models right, and does it lag unseen?"""

# ruff: noqa: ANN401 - what stands in for a method takes whatever that takes

from __future__ import annotations

import ast
import contextlib
import hashlib
import inspect
import sqlite3
import textwrap
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest

import versioning
from tests import registry_tools, stores
from tests.registry_tools import DAY, deploy, noted, refused
from tests.stores import START, Clock, Store, in_threads
from versioning import (
    ConcurrencyError,
    CorruptLogError,
    InvalidArgumentError,
    Model,
    ModelNotFoundError,
    ModelRegistry,
    StoreError,
    VersioningError,
    projections,
)
from versioning.aggregate import ModelAggregate, Version
from versioning.projections import LEDGER_EVENTS, Stretch
from versioning.reading import views as views_room
from versioning.reading.views import LEDGERS, MODELS, VIEWS
from versioning.store.contract import EVERY
from versioning.store.format import read

if TYPE_CHECKING:
    from pathlib import Path

    from versioning.reading.views import View

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


def _is_of_fold(name: str) -> bool:
    return name in {"__init__", "evolve", "begin_folding", "end_folding"} or (name[0] == "_" and name[1] != "_")


def kept(registry: ModelRegistry, view: View[Any] = MODELS) -> int:
    """Give the position up to which a view is kept."""
    with registry._store.snapshot() as snapshot:
        found = snapshot.view_position(view.name)
    return 0 if found is None else found.position


class TestViews:
    """A kept view may lag, an answer never does."""

    @pytest.fixture
    def small(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
        """Give a registry whose views are written back when more than 5 events are behind, 4 at once."""
        monkeypatch.setattr("versioning.reading.kept.REBUILD_EVENTS", 4)
        monkeypatch.setattr("versioning.reading.streams.FURTHER_EVENTS", 3)
        registry = store()
        registry._views._batch_events = 5
        return registry

    @staticmethod
    def _agree(registry: ModelRegistry) -> None:
        """See that the answers across models are those of the models, and those of the log."""
        names = sorted({recorded.model_name for recorded in registry.history()})
        models = []
        for name in names:
            with contextlib.suppress(ModelNotFoundError):
                models.append(registry.model(name))
        assert list(registry.models()) == models
        assert registry.active() == tuple(version for model in models for version in model.active)
        assert registry.billable() == tuple(version for model in models for version in model.billable)
        day = START - DAY, START + DAY
        parts = [line for name in names for line in registry.usage(*day, name).lines]
        ledger = versioning.UsageLedger().fold(registry.history())
        us = [int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) for moment in day]
        assert list(registry.usage(*day).lines) == parts
        assert registry.usage(*day) == ledger.usage(us[0], us[1], registry._now_us())

    def test_answers_are_right_whatever_is_behind(self, small: ModelRegistry, store: Store) -> None:
        for step in range(40):
            version = deploy(small, "abcde"[step % 5], publish=step % 2 == 0)
            store.clock.tick()
            if step % 3 == 0:
                small.deactivate(version.version_id)
            if step % 7 == 0:
                small.delete_model("abcde"[step % 4 % 5] if step % 2 else "abcde"[step % 5])
            self._agree(small)
        assert kept(small) > 0
        assert kept(small, LEDGERS) > 0

    def test_a_backlog_longer_than_a_batch(self, small: ModelRegistry, store: Store) -> None:
        for step in range(60):
            deploy(small, "abc"[step % 3], publish=True)
            store.clock.tick()
        assert kept(small) == 0
        self._agree(small)
        assert kept(small) == kept(small, LEDGERS) == 120

    def test_it_is_written_back_only_when_a_batch_is_behind(self, small: ModelRegistry) -> None:
        for _ in range(5):
            deploy(small)
        assert len(small.models()) == 1
        assert kept(small) == 0
        deploy(small)
        assert len(small.models()[0].versions) == 6
        assert kept(small) == 6
        deploy(small)
        assert len(small.models()[0].versions) == 7
        assert kept(small) == 6

    def test_a_reading_folds_only_what_was_recorded_since_the_last_one(
        self, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "abc":
            deploy(registry, name)
        folded: list[Any] = []
        monkeypatch.setattr("versioning.reading.kept.read", noted(folded, read))
        counts = []
        for _ in range(2):
            for _ in range(2):
                registry.models()
                registry.usage(START, START + DAY)
                counts.append(len(folded))
                folded.clear()
            deploy(registry, "b")
        assert counts == [6, 0, 2, 0]
        assert kept(registry) == 0

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
    def test_what_a_reading_gave_never_changes(self, registry: ModelRegistry, store: Store, view: View[Any]) -> None:
        version = deploy(registry, "a", publish=True)
        deploy(registry, "b")
        with registry._views.reading(view) as reading:
            states = list(reading.within("default", 0, 2**60))
        before = [view.dump(state) for state in states]
        store.clock.tick()
        registry.deactivate(version.version_id)
        deploy(registry, "a", publish=True)
        registry.delete_model("a")
        with registry._views.reading(view) as reading:
            after = [view.dump(state) for state in reading.within("default", 0, 2**60)]
        assert [view.dump(state) for state in states] == before
        assert after[-1] == before[-1]
        assert after != before

    def test_what_is_kept_serves_other_registries_and_the_next_start(
        self, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = shared_store()
        first._views._batch_events = 0
        for name in "abc":
            deploy(first, name, publish=True)
        whole = first.models()
        with shared_store() as second:
            folded: list[Any] = []
            monkeypatch.setattr("versioning.reading.kept.read", noted(folded, read))
            assert second.models() == whole
            assert folded == []
            deploy(second, "d")
            assert second.models()[:3] == whole
            assert [row[0] for row in folded] == [7]

    def test_in_sqlite_a_locked_writer_neither_blocks_nor_breaks_a_read(self, tmp_path: Path) -> None:
        file = tmp_path / "models.db"
        with ModelRegistry(f"sqlite:///{file}?timeout_s=30", clock=Clock()) as registry:
            registry._views._batch_events = 0
            for name in "abc":
                deploy(registry, name, publish=True)
            other = sqlite3.connect(file, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            in_threads(lambda: self._agree(registry))
            assert kept(registry) == 0
            assert registry.at(2).models()
            assert registry.version("a@0.1.0").is_primary
            other.execute("ROLLBACK")
            other.close()
            self._agree(registry)
            assert kept(registry) == 6

    def test_in_sqlite_a_locked_writer_is_a_store_error_to_a_command(self, tmp_path: Path) -> None:
        file = tmp_path / "models.db"
        with ModelRegistry(f"sqlite:///{file}?timeout_s=0.01") as registry:
            deploy(registry)
            with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with refused(registry, StoreError):
                    deploy(registry)
                other.execute("ROLLBACK")
            assert deploy(registry).number == "0.2.0"

    def test_rebuild_builds_anew_beside_and_swaps(self, small: ModelRegistry, store: Store) -> None:
        for step in range(20):
            deploy(small, "abc"[step % 3], publish=True)
            store.clock.tick()
        before = small.models(), small.usage(START, START + DAY)
        with small._store.snapshot() as snapshot:
            rows = {view.name: snapshot.view_page(view.name, "default", EVERY) for view in VIEWS}
        assert small.rebuild() == 40
        assert (small.models(), small.usage(START, START + DAY)) == before
        with small._store.snapshot() as snapshot:
            again = {view.name: snapshot.view_page(view.name, "default", EVERY) for view in VIEWS}
        for name, kept_rows in rows.items():
            assert {row.key: row for row in again[name]} == {row.key: row for row in kept_rows}
        self._agree(small)

    def test_rebuild_with_nothing_recorded_or_kept(self, registry: ModelRegistry) -> None:
        assert registry.rebuild() == 0
        deploy(registry)
        assert registry.rebuild() == 1
        assert kept(registry) == kept(registry, LEDGERS) == 1
        self._agree(registry)

    def test_rebuild_beside_writers_and_readers(self, small: ModelRegistry) -> None:
        def write() -> None:
            for _ in range(15):
                deploy(small, publish=True)

        def read() -> None:
            last = 0
            for _ in range(20):
                found = sum(len(model.versions) for model in small.models())
                assert found >= last
                last = found

        in_threads(write, read, small.rebuild)
        self._agree(small)

    def test_rebuild_says_how_far_it_is(self, small: ModelRegistry) -> None:
        for _ in range(6):
            deploy(small)
        told: list[tuple[str, int, int]] = []
        small.rebuild(progress=lambda name, position, head: told.append((name, position, head)))
        assert told == [(view.name, position, 6) for view in VIEWS for position in (4, 6)]

    @pytest.mark.parametrize("progress", [1, "print", {}], ids=repr)
    def test_what_is_told_how_far_it_is_is_a_function(self, registry: ModelRegistry, progress: Any) -> None:
        with refused(registry, InvalidArgumentError):
            registry.rebuild(progress)

    def test_only_one_rebuilds_at_a_time(self, shared_store: Store) -> None:
        first, second = shared_store(), shared_store()
        deploy(first)
        first._views._batch_events = 0
        seen: list[str] = []

        def meanwhile(*_: object) -> None:
            with pytest.raises(ConcurrencyError) as caught:
                second.rebuild()
            seen.append(caught.value.sentence)
            assert len(second.models()) == 1

        assert first.rebuild(meanwhile) == 1
        assert seen == ["The kept views of this store are being built anew by somebody else."] * len(VIEWS)
        assert second.rebuild() == 1

    def test_it_tries_again_while_the_store_is_busy_and_then_gives_up(
        self, small: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(6):
            deploy(small)
        right = small.models()
        monkeypatch.setattr("versioning.reading.kept.WRITES_TRIED_MAX", 3)
        monkeypatch.setattr("versioning.reading.kept.WRITE_PAUSE_S", 0)
        write, busy = small._store.write_view, [0]

        def sometimes(name: str, *given: Any, **how: Any) -> bool:
            busy[0] -= 1
            return busy[0] < 0 and write(name, *given, **how)

        monkeypatch.setattr(small._store, "write_view", sometimes)
        busy[0] = 2
        assert small.rebuild() == 6
        busy[0] = 2
        small.skip(1)
        assert [one.position for one in small.skipped()] == [1]
        busy[0] = 1_000
        with pytest.raises(StoreError, match="too busy"):
            small.rebuild()
        with pytest.raises(StoreError):
            small.skip(2)
        monkeypatch.setattr(
            small._store,
            "write_view",
            lambda name, *given, **how: not name.endswith("+rebuild") and write(name, *given, **how),
        )
        with pytest.raises(StoreError, match="too busy"):
            small.rebuild()
        monkeypatch.undo()
        assert small.models() == right
        assert small.rebuild() == 6

    def test_rebuild_mends_what_was_kept_wrongly(self, shared_store: Store) -> None:
        registry = shared_store()
        registry._views._batch_events = 0
        for name in "abc":
            deploy(registry, name)
        shared_store.clock.tick()
        right = registry.models(), registry.usage(START, START + DAY)
        shared_store.execute("UPDATE kept_rows SET state=?", b"\0")
        for question in (registry.models, registry.active, lambda: registry.usage(START, START + DAY)):
            with pytest.raises(VersioningError):
                question()
        assert registry.model("a") == right[0][0]
        registry.rebuild()
        assert (registry.models(), registry.usage(START, START + DAY)) == right


class TestColdStart:
    """A long model is read from where its kept row has come to, where the log goes on from exactly there."""

    @pytest.fixture
    def log(self, shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> ModelRegistry:
        """Give a registry in which a model of four events is long, and is kept."""
        monkeypatch.setattr("versioning.reading.streams.FIRST_EVENTS", 3)
        registry = shared_store()
        for _ in range(2):
            deploy(registry, "m", publish=True)
        registry.views()
        return registry

    @staticmethod
    def _read(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> tuple[Model, int]:
        """Give the model, read anew, and how many of its rows were folded."""
        folded: list[Any] = []
        evolve = ModelAggregate.evolve
        registry._streams._cached.clear()
        with monkeypatch.context() as patch:
            patch.setattr(ModelAggregate, "evolve", noted(folded, evolve))
            model = (registry if at is None else registry.at(at)).model("m")
        return model, len(folded)

    @staticmethod
    def _set(store: Store, registry: ModelRegistry, **changes: object) -> None:
        """Change what the kept row says."""
        with registry._store.snapshot() as snapshot:
            (row,) = snapshot.view_page(MODELS.name, "default", EVERY)
        state = msgspec.msgpack.encode(msgspec.msgpack.decode(row.state) | changes)
        store.execute("UPDATE kept_rows SET state=? WHERE key=?", state, row.key)

    def test_only_what_lies_behind_the_kept_row_is_folded(
        self, log: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self._read(log, monkeypatch)[1] == 0
        deploy(log, "m")
        whole = log.model("m")
        head = log.position()
        assert self._read(log, monkeypatch) == self._read(log, monkeypatch, head) == (whole, 1)
        assert self._read(log, monkeypatch, head - 1)[1] == 0
        assert self._read(log, monkeypatch, head - 2)[1] == 3  # the kept row holds something later
        assert deploy(log, "m").number == "0.4.0"
        assert log.verify().ok

    ODD: ClassVar[dict[str, dict[str, object]]] = {
        "link": {"link": bytes(32)},
        "sequence behind the log": {"sequence": 9},
        "sequence before the log": {"sequence": 0},
        "sequence beyond all": {"sequence": 2**63},
        "earlier sequence": {"sequence": 3},
        "name": {"model_name": "n"},
        "workspace": {"workspace": "w"},
        "stream": {"stream": "0" * 32},
        "not readable": {"sequence": "four"},
        "does not go on": {"versions": []},
    }
    """What a kept row may say that it should not."""

    @pytest.mark.parametrize("odd", ODD)
    def test_where_anything_is_odd_the_log_alone_counts(
        self, log: ModelRegistry, shared_store: Store, odd: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = log.versions("m")[-1]
        log.deactivate(version.version_id)
        right, head = log.model("m"), log.position()
        self._set(shared_store, log, **self.ODD[odd])
        for at in (None, head):
            model, folded = self._read(log, monkeypatch, at)
            assert model == right
            assert folded >= 6  # all of it, and what was tried in vain

    def test_a_last_event_that_can_not_be_read_is_an_error_as_without_views(
        self, log: ModelRegistry, shared_store: Store
    ) -> None:
        head = log.position()
        shared_store.change(head, topic="x")
        log._streams._cached.clear()
        for past in (log, log.at(head)):
            with pytest.raises(CorruptLogError) as caught:
                past.model("m")
            assert caught.value.position == head

    def test_a_kept_row_that_has_passed_over_an_event_is_no_start(
        self, log: ModelRegistry, shared_store: Store
    ) -> None:
        shared_store.change(3, topic="x")
        shared_store.execute("DELETE FROM kept_views")
        while (stopped := log.views()[0].stopped_by) is not None:
            log.skip(stopped)
        deploy(log, "m")
        log.views()
        log._streams._cached.clear()
        with pytest.raises(CorruptLogError) as caught:
            log.model("m")
        assert caught.value.position == 3
        assert len(log.models()[0].versions) == 2

    def _restored(self, log: ModelRegistry, store: Store) -> tuple[Model, Model]:
        """Let the log go another way behind its second event; give the model that it has, and the one that was kept."""
        before = log.model("m")
        store.execute(f"DELETE FROM stored_events WHERE {store.kind.position}>2")
        log._streams._cached.clear()
        for _ in range(2):
            deploy(log, "m")
        now = log.model("m")
        log._streams._cached.clear()
        return now, before

    def test_a_kept_row_of_another_history_is_not_believed(self, log: ModelRegistry, shared_store: Store) -> None:
        now, before = self._restored(log, shared_store)
        assert log.model("m") == now != before
        assert deploy(log, "m").number == "0.4.0"

    def test_without_the_link_it_would_be_believed(
        self, log: ModelRegistry, shared_store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now, before = self._restored(log, shared_store)
        monkeypatch.setattr("versioning.reading.streams._ends_with", lambda *_: True)
        assert log.model("m") == before != now


FOLDS: dict[str, list[Any]] = {
    "models": [
        Version,
        *(one for name, one in vars(ModelAggregate).items() if inspect.isfunction(one) and _is_of_fold(name)),
        views_room._Kept,
        views_room.dump_aggregate,
        views_room.load_aggregate,
        views_room._evolve_model,
        views_room._span_of_model,
    ],
    "ledgers": [
        Stretch,
        projections.VersionLedger,
        vars(projections.VersionLedger)["is_open"].fget,
        projections.evolve_ledger,
        projections._close,
        views_room._span_of_ledger,
    ],
}
"""What decides what a kept row holds."""

FROZEN = {
    "models.1": "9802165876ff4ec2",
    "models.2": "b7943b82504fb1ae",
    "ledgers.1": "637b74e2fcba9854",
}
"""Of each view that was ever kept, the digest of that code."""


def code_of(one: Any) -> str:
    """Give code without its docstrings and comments, however it is laid out; of a class, its fields."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(one)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            dropped = ast.FunctionDef if isinstance(node, ast.ClassDef) else ()
            body[:] = [line for line in body if not isinstance(line, dropped) and not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def digest_of(view: View[Any]) -> str:
    """Say in 16 digits what code keeps a view."""
    code = [code_of(one) for one in FOLDS[view.name.partition(".")[0]]]
    seen = sorted(kind.__name__ for kind in LEDGER_EVENTS) if view is LEDGERS else []
    return hashlib.sha256("\n".join([*code, *seen]).encode()).hexdigest()[:16]


class TestCodeOfViews:
    """What is kept is named with the version of its code: no release reads rows that another fold has left."""

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
    def test_who_changes_a_fold_raises_the_number(self, view: View[Any]) -> None:
        assert digest_of(view) == FROZEN.get(view.name), (
            f"The code that decides what {view.name} keeps is another one. If it keeps anything else than before, "
            "raise the number in its name; either way, freeze the new digest."
        )

    def test_words_and_layout_change_no_digest_and_code_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = digest_of(MODELS)
        source = inspect.getsource
        for old, new, same in (
            ('."""\n', ' now."""\n', True),
            (", ", ",  ", True),
            ("sequence += 1", "sequence += 2", False),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(inspect, "getsource", lambda one, old=old, new=new: source(one).replace(old, new))
                assert (digest_of(MODELS) == before) is same
