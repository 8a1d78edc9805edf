"""Where to go on reading: a log that was restored beneath a reader is noticed, and never passed over in silence."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_tools, registry_tools, stores
from tests.postgres_tools import execute
from tests.registry_tools import NAME, deploy, nothing_recorded, refused
from tests.stores import Store, in_threads, settings_of
from versioning import InvalidArgumentError, LogRewoundError, ModelRegistry, Recorded
from versioning.ids import Bookmark, bookmark_of, looks_like_id, parse_bookmark

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
server = postgres_tools.server
url = postgres_tools.url
raw = postgres_tools.raw

LINK = "0123456789abcdef" * 2


def cut_off(store: Store, after: int) -> None:
    """Do to the log what an older backup does: the rows behind a position are gone, and so are the kept views."""
    store.execute(f"DELETE FROM stored_events WHERE {store.kind.position}>?", after)
    store.execute("DELETE FROM kept_rows")
    store.execute("DELETE FROM kept_views")


def ask_behind(registry: ModelRegistry, after: int | str) -> dict[str, Callable[[], object]]:
    """Everything that reads on behind a place."""
    return {
        "follow": lambda: registry.follow(after=after),
        "history": lambda: registry.history(after=after),
        "history of a name": lambda: registry.history(NAME, after),
        "history of a past": lambda: registry.at(registry.position()).history(after=after),
        "rows": lambda: registry.rows(after=after),
        "cloud events": lambda: registry.cloud_events(after=after),
    }


class TestTheForm:
    def test_it_is_a_position_and_half_a_link_and_is_no_name(self) -> None:
        bookmark = bookmark_of(12, LINK + LINK)
        assert bookmark == f"pos_12_{LINK}"
        assert parse_bookmark(bookmark) == Bookmark(12, LINK)
        assert looks_like_id(bookmark)
        assert len(bookmark_of(2**63 - 1, LINK)) <= 64

    @pytest.mark.parametrize(
        "text",
        ["", "12", f"pos_0_{LINK}", f"pos_012_{LINK}", f"pos_12_{LINK[1:]}", f"pos_12_{LINK}\n", f"pos_1٢_{LINK}",
         f"pos_12_{LINK.upper()}", f"pos_{2**63}_{LINK}", f"pos_{'9' * 5_000}_{LINK}", f"mdl_{LINK}_1"],
    )  # fmt: skip
    def test_anything_else_is_refused(self, registry: ModelRegistry, text: str) -> None:
        deploy(registry)
        for ask in ask_behind(registry, text).values():
            with refused(registry, InvalidArgumentError):
                ask()

    def test_every_event_has_its_own(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry, publish=True)
        found = list(registry.history())
        assert [parse_bookmark(one.bookmark) for one in found] == [
            Bookmark(one.position, one.chain[:32]) for one in found
        ]


class TestReadingOn:
    """Behind a position or a bookmark comes what came after it."""

    def test_a_bookmark_is_as_good_as_its_position(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry, publish=True)
        found = list(registry.history())
        for place, one in enumerate(found, 1):
            for after in (one.position, one.bookmark):
                assert list(registry.history(after=after)) == list(registry.history(NAME, after)) == found[place:]
                assert [row["bookmark"] for row in registry.rows(after=after)] == [
                    each.bookmark for each in found[place:]
                ]
                with registry.follow(after=after) as follower:
                    assert follower.bookmark == one.bookmark
                    assert list(itertools.islice(follower, len(found) - place)) == found[place:]
                    assert follower.bookmark == found[-1].bookmark

    def test_a_follower_from_the_beginning_has_none_before_its_first_event(self, registry: ModelRegistry) -> None:
        with registry.follow() as follower:
            assert follower.bookmark is None
            version = deploy(registry)
            assert next(follower).bookmark == follower.bookmark == version.recorded[0].bookmark

    def test_what_lies_behind_the_end_is_refused_by_everything_that_asks(self, registry: ModelRegistry) -> None:
        for _ in range(3):
            deploy(registry)
        for after in (4, 99, f"pos_4_{LINK}"):
            for ask in ask_behind(registry, after).values():
                with nothing_recorded(registry), pytest.raises(LogRewoundError) as caught:
                    ask()
                place = after if isinstance(after, int) else 4
                assert (caught.value.position, caught.value.last_common) == (place, None)
        with refused(registry, LogRewoundError):
            registry.at(2).history(after=3)
        for ask_as_of in (lambda: registry.at(4), lambda: registry.diff(1, 4)):
            with refused(registry, InvalidArgumentError):
                ask_as_of()

    def test_a_bookmark_of_another_log_is_refused(self, registry: ModelRegistry) -> None:
        other = ModelRegistry("memory:")
        deploy(registry), deploy(other)
        (theirs,) = other.history()
        for ask in ask_behind(registry, theirs.bookmark).values():
            with nothing_recorded(registry), pytest.raises(LogRewoundError) as caught:
                ask()
            assert caught.value.to_dict()["status"] == 409

    def test_a_position_in_a_gap_of_postgresql_is_one(self, url: str, raw: psycopg.Connection[Any]) -> None:
        with ModelRegistry(url) as registry:
            deploy(registry)
            execute(raw, f"SELECT nextval('{settings_of(url).schema}.stored_positions')")
            deploy(registry)
            assert [one.position for one in registry.history()] == [1, 3]
            assert [one.position for one in registry.history(after=2)] == [3]
            with registry.follow(after=2) as follower:
                assert follower.bookmark is None
                assert next(follower).position == 3


class TestRestoredBeneath:
    """An older copy was restored beneath those who read, and the log has grown again or has not."""

    @pytest.mark.parametrize("grown", [0, 5, 15])
    def test_those_who_begin_again_are_told(self, shared_store: Store, grown: int) -> None:
        first = shared_store()
        for _ in range(20):
            deploy(first)
        bookmark = list(first.history())[-1].bookmark
        cut_off(shared_store, 10)
        registry = shared_store()
        for _ in range(grown):
            deploy(registry, "another")
        for ask in ask_behind(registry, bookmark).values():
            with nothing_recorded(registry), pytest.raises(LogRewoundError) as caught:
                ask()
            assert caught.value.position == 20

    @pytest.mark.parametrize("grown", [0, 5, 15])
    @pytest.mark.parametrize("is_waiting", [True, False])
    def test_those_who_follow_are_told_and_what_is_still_common(
        self, shared_store: Store, grown: int, is_waiting: bool
    ) -> None:
        first, seen = shared_store(), list[Recorded]()
        for _ in range(20):
            deploy(first)
        with first.follow(poll_s=0.01) as follower:
            seen.extend(itertools.islice(follower, 20))

            def restore() -> None:
                cut_off(shared_store, 10)
                registry = shared_store()
                for _ in range(grown):
                    deploy(registry, "another")

            def wait() -> None:
                with pytest.raises(LogRewoundError) as caught:
                    seen.append(next(follower))
                assert (caught.value.position, caught.value.last_common) == (20, 10)

            if is_waiting:
                in_threads(wait, restore)
            else:
                restore()
            wait()
            assert len(seen) == 20
            with pytest.raises(LogRewoundError):
                next(follower)

    def test_nothing_may_be_common_as_far_as_is_known(self, shared_store: Store) -> None:
        first = shared_store()
        for _ in range(3):
            deploy(first)
        with first.follow(after=2) as follower:
            cut_off(shared_store, 0)
            with pytest.raises(LogRewoundError, match="ends at position 0") as caught:
                next(follower)
            assert caught.value.last_common is None

    def test_a_bare_position_is_believed_from_where_the_follower_begins(self, shared_store: Store) -> None:
        first = shared_store()
        for _ in range(5):
            deploy(first)
        with first.follow(after=5) as follower:
            cut_off(shared_store, 3)
            registry = shared_store()
            for _ in range(4):
                deploy(registry, "another")
            with pytest.raises(LogRewoundError):
                next(follower)

    def test_in_a_gap_the_end_alone_tells(self, url: str, raw: psycopg.Connection[Any]) -> None:
        with ModelRegistry(url) as registry:
            deploy(registry)
            execute(raw, f"SELECT nextval('{settings_of(url).schema}.stored_positions')")
            deploy(registry)
            with registry.follow(after=2) as follower:
                execute(raw, f"DELETE FROM {settings_of(url).schema}.stored_events")
                with pytest.raises(LogRewoundError):
                    next(follower)
