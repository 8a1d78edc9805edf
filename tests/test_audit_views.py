"""Whether a verification finds what is wrong with the kept views, and nothing where nothing is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given

from tests import registry_tools, stores
from tests.audit_tools import dice, forge, kinds, only
from tests.registry_tools import NAME, deploy, serving
from tests.tampering import fill
from versioning import InvalidArgumentError, ModelRegistry, StoreError
from versioning.audit import scan as scan_room
from versioning.audit import verify as audit_room
from versioning.projections import LEDGER_EVENTS, UsageLedger
from versioning.reading import kept as kept_room
from versioning.reading.views import LEDGERS, MODELS, VIEWS, View
from versioning.store.contract import EVERY
from versioning.testing import recorded_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stores import Store
    from versioning import Recorded

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry


class TestKeptViews:
    """The eighth kind: what is kept is not what a replay of the log gives."""

    @pytest.fixture
    def kept(self, shared_store: Store) -> ModelRegistry:
        registry = shared_store()
        fill(registry, 40, dice(3))
        registry.rebuild()
        return registry

    def rows(self, registry: ModelRegistry, view: View[Any]) -> list[Any]:
        with registry._store.snapshot() as snapshot:
            return snapshot.view_page(view.name, "default", EVERY)

    def set(self, store: Store, view: View[Any], key: str, column: str, value: object) -> None:
        of = "view=(SELECT view FROM kept_views WHERE name=?) AND key=?"
        store.execute(f"UPDATE kept_rows SET {column}=? WHERE {of}", value, view.name, key)

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
    def test_every_row_of_every_view(self, shared_store: Store, kept: ModelRegistry, view: View[Any]) -> None:
        rows = self.rows(kept, view)
        assert len(rows) > 2
        for row, other in zip(rows, [*rows[1:], rows[0]], strict=True):
            for column, value in (
                ("state", other.state), ("state", b"nothing"), ("live", not row.live), ("model_name", "another"),
            ):  # fmt: skip
                self.set(shared_store, view, row.key, column, value)
                finding = only(kept.verify().findings)
                assert (finding.kind, finding.model_name) == ("view", row.model_name)
                assert view.name in finding.sentence
                self.set(shared_store, view, row.key, column, getattr(row, column))
        assert kept.verify().ok

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
    def test_a_row_that_is_missing_or_of_nothing(
        self, shared_store: Store, kept: ModelRegistry, view: View[Any]
    ) -> None:
        row = self.rows(kept, view)[0]
        foreign = row.key.replace(row.key[6:12], "000000")
        self.set(shared_store, view, row.key, "key", foreign)
        found = [one.sentence for one in kept.verify().findings]
        assert len(found) == 2
        assert any("is missing" in said for said in found)

    def test_a_ledger_of_nothing(self, shared_store: Store, kept: ModelRegistry) -> None:
        row = self.rows(kept, LEDGERS)[0]
        self.set(shared_store, LEDGERS, row.key, "key", row.key[:-1] + "x")
        assert any("belongs to nothing in the log" in one.sentence for one in kept.verify().findings)

    def test_many_rows_that_differ_are_counted(
        self, shared_store: Store, kept: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_room, "DIFFERENT_MAX", 2)
        rows = self.rows(kept, LEDGERS)
        for row in rows:
            self.set(shared_store, LEDGERS, row.key, "live", not row.live)
        found = kept.verify().findings
        assert len(found) == 3
        assert found[-1].sentence == f"In the kept view {LEDGERS.name}, {len(rows) - 2} more rows differ."
        shared_store.execute("DELETE FROM kept_rows")
        assert len(kept.verify().findings) == 2 * 3

    def test_they_may_be_left_alone(self, shared_store: Store, kept: ModelRegistry) -> None:
        shared_store.execute("UPDATE kept_rows SET state=?", b"nothing")
        found = kept.verify(views=False)
        assert found.ok
        assert any("were not compared with a replay, as requested" in said for said in found.not_proven)
        with pytest.raises(InvalidArgumentError, match="views must be True or False"):
            kept.verify(views="no")  # type: ignore[arg-type]  # refused

    def test_pages_end_between_two_names(
        self, shared_store: Store, kept: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kept_room, "PAGE", 2)
        assert kept.verify().ok
        row = self.rows(kept, LEDGERS)[-1]
        self.set(shared_store, LEDGERS, row.key, "live", not row.live)
        assert only(kept.verify().findings).model_name == row.model_name

    def test_the_end_of_a_stream_that_a_view_has_seen(self, shared_store: Store) -> None:
        """On a store whose positions may have gaps, nothing else would tell."""
        registry = shared_store()
        deploy(registry), deploy(registry), deploy(registry, "other")
        registry.rebuild()
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=2")
        found = [one for one in registry.verify().findings if one.kind != "missing"]
        assert (found[0].kind, found[0].sequence, found[0].model_name) == ("truncated", 2, NAME)
        assert len(found) == 1

    def test_a_stream_of_which_a_view_alone_knows(self, shared_store: Store) -> None:
        registry = shared_store()
        deploy(registry), deploy(registry, "other")
        registry.rebuild()
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}=1")
        assert ("truncated", 1, NAME) in [
            (one.kind, one.sequence, one.model_name) for one in registry.verify().findings
        ]

    def test_a_view_that_is_ahead_of_the_log(self, shared_store: Store, kept: ModelRegistry) -> None:
        last = kept.position()
        shared_store.execute(f"DELETE FROM stored_events WHERE {shared_store.kind.position}={last}")
        found = kept.verify()
        assert {(one.kind, one.position) for one in found.findings if one.position} >= {("truncated", last)}
        assert sum("is ahead of the log" in said for said in found.not_proven) == len(VIEWS)

    def test_a_view_that_another_process_wrote_meanwhile_is_no_finding(
        self, shared_store: Store, kept: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its position may be one that the snapshot does not see yet."""
        shared_store.execute("UPDATE kept_views SET position=position+5")
        monkeypatch.setattr(kept._store, "head", lambda: 1_000)
        found = kept.verify()
        assert found.ok
        assert sum("is ahead of the log" in said for said in found.not_proven) == len(VIEWS)

    @pytest.mark.parametrize("column", ["position", "latest_us"])
    def test_how_far_it_has_come(self, shared_store: Store, kept: ModelRegistry, column: str) -> None:
        shared_store.execute(f"UPDATE kept_views SET {column}={column}-5")
        assert {one.kind for one in kept.verify().findings} >= {"view"}

    def test_a_view_that_can_not_be_read(self, kept: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> Iterator[Any]:
            msg = "The database has a kept view with a text that is not UTF-8."
            raise StoreError(msg)

        monkeypatch.setattr(audit_room, "pages_of", broken)
        assert {one.kind for one in kept.verify().findings} == {"view"}

    def test_the_order_in_which_a_set_is_kept_says_nothing(self, shared_store: Store) -> None:
        """What was rolled back from is a set, which is kept in any order."""
        registry = shared_store()
        for _ in range(4):
            serving(registry)
        registry.rollback(NAME), registry.rollback(NAME), registry.rollback(NAME)
        registry.rebuild()
        (row,) = self.rows(registry, MODELS)
        kept = msgspec.msgpack.decode(row.state)
        assert len(kept["undone"]) == 3
        for _ in range(3):
            kept["undone"] = [*kept["undone"][1:], kept["undone"][0]]
            self.set(shared_store, MODELS, row.key, "state", msgspec.msgpack.encode(kept))
            assert registry.verify().ok

    def test_views_of_other_workspaces_are_left_alone(self, shared_store: Store, kept: ModelRegistry) -> None:
        theirs = shared_store(workspace="theirs")
        deploy(theirs)
        kept.rebuild()
        shared_store.execute("UPDATE kept_rows SET state=? WHERE workspace='theirs'", b"nothing")
        assert kept.verify().ok
        assert {one.kind for one in theirs.verify().findings} == {"view"}

    def test_a_row_of_a_stream_that_does_not_hold_is_told_once(self, shared_store: Store, kept: ModelRegistry) -> None:
        row = kept._store.log(4, 1)[0]
        shared_store.change(5, state=row[4].replace(b'"at_us":1', b'"at_us":2'))
        assert kinds(kept) == [("changed", 5)]


def test_a_log_of_which_nothing_is_kept_is_judged_to_its_end(
    shared_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_room, "BATCH_EVENTS", 1)
    registry = shared_store()
    for _ in range(4):
        deploy(registry)
    forge(shared_store, registry, 4, b'"number":"0.4.0"', b'"number":"0.1.0"')
    assert kinds(registry) == [("rewritten", 4)]


@given(recorded_logs())
def test_no_ledger_takes_in_what_the_audit_keeps_from_it(log: list[Recorded]) -> None:
    ledger = UsageLedger()
    for one in log:
        before = copy.deepcopy(ledger.ledgers)
        ledger.evolve(one)
        assert type(one.event) in LEDGER_EVENTS or ledger.ledgers == before


def test_the_order_of_what_a_view_keeps_counts(registry: ModelRegistry) -> None:
    first, second = serving(registry), serving(registry)
    registry.promote(first.version_id)
    with registry._views.reading(MODELS) as reading:
        (state,) = reading.live("default")
    known = audit_room._comparable(state)
    state.claims = dict(reversed(state.claims.items()))
    assert audit_room._comparable(state) != known
    assert second.number == "0.2.0"
