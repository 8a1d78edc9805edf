"""Replay, sentences and differences: what happened, in words, and what was so before and after."""

from __future__ import annotations

import random
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import registry_tools, stores
from tests.registry_tools import AWAITED, NAME, URI, deploy, serving
from tests.tampering import fill
from versioning import (
    CorruptLogError,
    InvalidArgumentError,
    ModelNotFoundError,
    ModelRegistry,
    Policy,
    Recorded,
    VersionNotFoundError,
)
from versioning.events import (
    EVENTS,
    NothingChanged,
    PrimaryCleared,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionPromoted,
)
from versioning.reading.diff import Difference
from versioning.sentences import _SENTENCES, plain, sentence_of
from versioning.testing import recorded, recorded_logs

if TYPE_CHECKING:
    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
awaited = registry_tools.awaited

V1, V2 = "ver_0123456789ab8def8123456789abcdef_1_01234567", "ver_0123456789ab8def8123456789abcdef_2_01234567"


def said(registry: ModelRegistry, name: str = NAME) -> list[str]:
    return [one.sentence for one in registry.replay(name)]


class TestSentences:
    """One English sentence an event."""

    def test_each_event_has_one(self) -> None:
        assert set(_SENTENCES) == set(EVENTS.values())

    def test_the_sentence_of_the_issue(self, registry: ModelRegistry) -> None:
        serving(registry, version_bump="MINOR")
        serving(registry)
        third = deploy(registry, version_bump="MAJOR", actor="ada")
        registry.promote(third.version_id, actor="raj", reason="beats it on AUC")
        assert said(registry)[-1] == "raj promoted 1.0.0 to primary (was 0.2.0): beats it on AUC"

    def test_a_whole_life(self, registry: ModelRegistry) -> None:
        why: dict[str, Any] = {"actor": "ada", "reason": "new data"}
        first = registry.deploy(URI, model_name=NAME, publish=True, **why)
        second = registry.deploy(URI, model_name=NAME, actor="raj")
        registry.publish(second.version_id, promote=False)
        registry.promote(second.version_id, actor="raj")
        registry.rollback(NAME, actor="eve", reason="it is slow")
        registry.deactivate(first.version_id, actor="eve")
        registry.activate(first.version_id, actor="eve")
        registry.delete(second.version_id, actor="raj")
        registry.delete(first.version_id, actor="raj")
        assert said(registry) == [
            "ada deployed and published 0.1.0: new data",
            "ada made 0.1.0 primary (was none) because it was published: new data",
            "raj deployed 0.2.0 as a draft",
            "somebody published 0.2.0 without claiming the primary role",
            "raj promoted 0.2.0 to primary (was 0.1.0)",
            "eve rolled back to 0.1.0 (was 0.2.0): it is slow",
            "eve deactivated 0.1.0",
            "eve made 0.2.0 primary (was 0.1.0) as the fallback",
            "eve activated 0.1.0",
            "raj deleted 0.2.0",
            "raj made 0.1.0 primary (was 0.2.0) as the fallback",
            "raj deleted 0.1.0",
            "raj left the model without a primary (was 0.1.0)",
            "raj deleted the model with its last version",
        ]

    def test_a_slow_start_and_a_renewed_claim(self, awaited: ModelRegistry) -> None:
        first = serving(awaited)
        second = deploy(awaited, publish=True)
        awaited.promote(first.version_id, actor="raj")
        assert second.activation_id
        awaited.fail_activation(second.version_id, second.activation_id, error="out of\nmemory", actor="host")
        awaited.activate(second.version_id)
        third = deploy(awaited, publish=True, promote=False)
        awaited.fail_activation(third.version_id, str(third.activation_id), error="  ")
        assert said(awaited)[2:] == [
            "somebody made 0.1.0 primary (was none) because it was published",
            "somebody deployed and published 0.2.0; it is starting",
            "raj renewed the claim of 0.1.0, the primary",
            "host reported that 0.2.0 did not start (out of\\nmemory)",
            "somebody asked 0.2.0 to start again",
            "somebody deployed and published 0.3.0 without claiming the primary role; it is starting",
            "somebody reported that 0.3.0 did not start",
        ]
        assert said(awaited)[1] == "somebody reported that 0.1.0 is ready"

    def test_what_changed_nothing(self, registry: ModelRegistry) -> None:
        version = serving(registry)
        for number, command in enumerate(("publish", "promote", "activate")):
            getattr(registry, command)(version.version_id, actor="raj", reason="again", idempotency_key=f"k{number}")
        assert said(registry)[2:] == [
            "raj asked to publish 0.1.0, which changed nothing: again",
            "raj asked to promote 0.1.0, which changed nothing: again",
            "raj asked to activate 0.1.0, which changed nothing: again",
        ]
        *_, last = registry.replay()
        assert last.before == last.after == registry.model(NAME)
        assert registry.diff(2).changes == ()

    def test_of_several_models_each_is_named(self, registry: ModelRegistry) -> None:
        serving(registry)
        other = serving(registry, "other")
        serving(registry, "other")
        registry.delete_model("other", actor="ada")
        assert [one.sentence for one in registry.replay()][4:] == [
            "somebody deployed and published 0.2.0 of other",
            "somebody made 0.2.0 of other primary (was 0.1.0) because it was published",
            "ada deleted 0.1.0 of other",
            "ada deleted 0.2.0 of other",
            "ada left other without a primary (was 0.2.0)",
            "ada deleted other with its last version",
        ]
        assert (
            registry.sentence(next(iter(registry.history(other.version_id)))) == "somebody deployed and published 0.1.0"
        )

    def test_by_default_and_by_nobody(self) -> None:
        """The causes that a whole life does not come to, and a version that is not known."""
        (default,) = recorded(VersionPromoted(V1, None, "default", at_us=0), actor=" ")
        assert sentence_of(default, lambda _: "0.1.0") == (
            "somebody made 0.1.0 primary (was none) because there was no other"
        )
        (kept,) = recorded(NothingChanged("promote", None, at_us=0))
        assert sentence_of(kept, lambda _: None) == "somebody asked to promote the model, which changed nothing"
        (withheld,) = recorded(PrimaryCleared(None, "requested", at_us=0))
        said_of = sentence_of(withheld, lambda _: None)
        assert said_of == "somebody left the model without a primary on purpose (was none)"
        (cleared,) = recorded(PrimaryCleared(V1, at_us=0), actor="ada")
        assert sentence_of(cleared, lambda _: None) == f"ada left the model without a primary (was {V1})"

    def test_what_the_registry_is_asked_of_another_workspace_stays_its_id(self, shared_store: Store) -> None:
        theirs, ours = shared_store(workspace="theirs"), shared_store(workspace="ours")
        version = deploy(theirs)
        event = next(iter(theirs.history()))
        assert ours.sentence(event) == f"somebody deployed {version.version_id} as a draft"
        assert theirs.sentence(event, named=True) == "somebody deployed 0.1.0 of churn as a draft"

    @given(st.text())
    def test_any_text_comes_out_printable(self, text: str) -> None:
        shown = plain(text)
        assert shown.isprintable()
        assert all(unicodedata.category(one) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} for one in shown)
        assert plain(shown) == shown
        assert (shown == text) == text.isprintable()

    @pytest.mark.parametrize(
        "code", [*range(0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0x61C, 0xFEFF, 0xE0041]
    )
    def test_control_and_bidi_characters_are_shown_as_escapes(self, code: int) -> None:
        text = f"a{chr(code)}b"
        assert plain(text) == text if 0x20 <= code < 0x7F else plain(text).startswith("a\\")
        (failed,) = recorded(
            VersionActivationFailed(V1, f"act_{V1[4:]}_1", text, at_us=0), model_name=f"m{chr(code)}", actor=text
        )
        sentence = sentence_of(failed, lambda _: text, named=True)
        assert sentence.isprintable()
        assert sentence_of(failed, lambda _: None).isprintable()

    @given(recorded_logs(model_names=("one", "two")))
    def test_every_event_of_any_log_has_its_sentence(self, log: list[Recorded]) -> None:
        for one in log:
            sentence = sentence_of(one, lambda _: "1.2.3", named=True)
            assert sentence.isprintable()
            assert one.model_name in sentence
            assert "1.2.3" in sentence or one.version_id is None


class TestReplay:
    """Each event with what was so before and after it."""

    @pytest.mark.parametrize("seed", range(3))
    def test_before_and_after_are_what_is_answered_as_of_there(self, store: Store, seed: int) -> None:
        registry = store(policy=[AWAITED, Policy(), Policy(losing_primary="leave_none")][seed])
        fill(registry, 25, random.Random(seed), names=2)
        for one in registry.replay():
            position, name = one.recorded.position, one.recorded.model_name
            for model, place in ((one.before, position - 1), (one.after, position)):
                try:
                    assert registry.at(place).model(name) == model
                except ModelNotFoundError:
                    assert model is None

    def test_of_a_name_a_model_and_a_version(self, registry: ModelRegistry) -> None:
        first = serving(registry)
        registry.delete_model(NAME)
        second, third = serving(registry), deploy(registry)
        registry.promote(third.version_id)
        deploy(registry, "other")
        for about in (NAME, first.model_id, second.model_id, second.version_id, third.version_id, None):
            assert [one.recorded for one in registry.replay(about)] == list(registry.history(about))
        last = list(registry.replay(second.version_id))[-1]
        assert last.sentence == "somebody promoted 0.2.0 to primary (was 0.1.0)"
        assert last.before is not None
        assert last.before.primary is not None
        assert last.before.primary.number == "0.1.0"

    def test_as_of_a_past(self, registry: ModelRegistry) -> None:
        serving(registry)
        position = registry.position()
        serving(registry)
        assert len(list(registry.at(position).replay(NAME))) == position == 2

    def test_what_is_not_there_is_refused_at_once(self, registry: ModelRegistry) -> None:
        for missing in (NAME, "mdl_" + V1[4:36] + "_1"):
            with pytest.raises(ModelNotFoundError):
                registry.replay(missing)
        with pytest.raises(VersionNotFoundError):
            registry.replay(V1)

    def test_an_event_that_does_not_follow_is_told(self, registry: ModelRegistry) -> None:
        log = recorded(VersionActivated(V2, at_us=0))
        from versioning.reading.replay import replayed  # noqa: PLC0415 - of this test alone

        with pytest.raises(CorruptLogError, match="position 1 does not follow"):
            list(replayed(log, lambda _: True, named=False))
        assert registry.position() == 0


class TestDifference:
    """What changed between two pasts."""

    def test_of_one_model(self, registry: ModelRegistry) -> None:
        first, second = serving(registry), deploy(registry)
        then = registry.position()
        registry.promote(second.version_id)
        registry.deactivate(first.version_id)
        third = deploy(registry)
        deploy(registry, "other")
        found = registry.diff(then, model_name=NAME)
        assert found.sentences == (
            "the primary of churn was 0.1.0 and is 0.2.0",
            "0.1.0 of churn was active and is inactive",
            "0.2.0 of churn was draft and is published",
            "0.3.0 of churn is new: draft, active",
        )
        assert [(one.what, one.before, one.after, one.number) for one in found.changes] == [
            ("primary", "0.1.0", "0.2.0", None),
            ("status", "active", "inactive", "0.1.0"),
            ("stage", "draft", "published", "0.2.0"),
            ("version", None, third.version_id, "0.3.0"),
        ]
        assert found == Difference(then, registry.position(), found.changes)
        assert [one.version_id for one in found.changes] == [
            None,
            first.version_id,
            second.version_id,
            third.version_id,
        ]

    def test_of_the_workspace(self, registry: ModelRegistry) -> None:
        old = serving(registry)
        registry.deploy(URI, model_name="steady")
        then = registry.position()
        registry.delete_model(NAME)
        serving(registry, "another\u202e", actor="ada")
        again = deploy(registry)
        registry.delete(deploy(registry, "steady").version_id)
        found = registry.diff(then)
        assert found.sentences == (
            "another\\u202e is new",
            "the primary of another\\u202e was none and is 0.1.0",
            "0.1.0 of another\\u202e is new: published, active",
            "churn was deleted",
            "the primary of churn was 0.1.0 and is none",
            "0.1.0 of churn was deleted",
            "churn is new",
            "0.1.0 of churn is new: draft, active",
        )
        assert {one.model_id for one in found.changes} >= {old.model_id, again.model_id}

    def test_a_failure_and_its_end(self, awaited: ModelRegistry) -> None:
        version = deploy(awaited)
        then = awaited.position()
        awaited.fail_activation(version.version_id, str(version.activation_id), error="out of\nmemory")
        assert awaited.diff(then, model_name=NAME).sentences == (
            "0.1.0 of churn was activating and is inactive",
            "0.1.0 of churn did not start (out of\\nmemory)",
        )
        then = awaited.position()
        awaited.activate(version.version_id)
        assert awaited.diff(then).sentences == (
            "0.1.0 of churn was inactive and is activating",
            "0.1.0 of churn no longer has a failed start",
        )

    def test_between_moments(self, store: Store) -> None:
        registry = store()
        moments: list[datetime] = []
        for _ in range(3):
            moments.append(store.clock.tick())
            deploy(registry)
        assert registry.diff(moments[0], moments[1]).sentences == ("0.2.0 of churn is new: draft, active",)
        assert registry.diff(moments[0]).sentences == registry.diff(1, moments[2]).sentences
        assert registry.diff(moments[2], 3).changes == ()
        assert registry.diff(moments[0], moments[0]).changes == ()
        assert registry.diff(0, 0).changes == ()

    def test_a_model_that_was_not_there_yet_is_new(self, registry: ModelRegistry) -> None:
        deploy(registry)
        assert registry.diff(0, model_name=NAME).changes == registry.diff(0).changes
        assert registry.diff(0, model_name=NAME).changes[0].what == "model"

    def test_the_wrong_way_round_or_in_the_future(self, store: Store) -> None:
        registry = store()
        first = store.clock.tick()
        deploy(registry), deploy(registry)
        second = store.clock.tick()
        for then, now in ((2, 1), (second, first)):
            with pytest.raises(InvalidArgumentError, match="comes after"):
                registry.diff(then, now)
        with pytest.raises(InvalidArgumentError, match="ends at position 2"):
            registry.diff(0, 3)
        with pytest.raises(InvalidArgumentError):
            registry.diff("yesterday")  # type: ignore[arg-type]  # refused

    def test_moments_of_a_repeated_hour_are_in_the_order_of_time(self) -> None:
        berlin = ZoneInfo("Europe/Berlin")
        first = datetime(2026, 10, 25, 2, 50, tzinfo=berlin)
        second = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=berlin)  # 20 minutes later, by a clock that was set back
        clock = iter([first, second])
        registry = ModelRegistry("memory:", clock=lambda: next(clock, second))
        deploy(registry), deploy(registry)
        found = registry.diff(first, second)
        assert found.sentences == ("0.2.0 of churn is new: draft, active",)
        assert (found.then, found.now) == (first.astimezone(UTC), second.astimezone(UTC))
        assert (found.then.tzinfo, found.now.tzinfo) == (UTC, UTC)  # type: ignore[union-attr]  # two moments
        with pytest.raises(InvalidArgumentError, match="comes after"):
            registry.diff(second, first)

    def test_a_position_and_a_moment_are_ordered_too(self, store: Store) -> None:
        registry = store()
        moments = [store.clock.tick()]
        for _ in range(3):
            moments.append(store.clock.tick())
            deploy(registry)
        for then, now in ((2, moments[1]), (moments[2], 1), (3, moments[0]), (moments[3], 0)):
            with pytest.raises(InvalidArgumentError, match="comes after") as refused:
                registry.diff(then, now)
            assert "name two positions" in refused.value.hint
        for place in range(4):
            assert registry.diff(place, moments[3]).changes == registry.diff(place, 3).changes
            assert registry.diff(moments[place], 3).changes == registry.diff(place, 3).changes
            assert registry.diff(place, moments[place]).changes == registry.diff(moments[place], place).changes == ()
        assert registry.diff(moments[3]).changes == ()
        assert ModelRegistry("memory:").diff(0, datetime(1960, 1, 1, tzinfo=UTC)).changes == ()

    def test_where_clocks_ran_apart_a_position_and_a_moment_may_have_no_order(self) -> None:
        fast, slow = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (12, 9))
        clock = iter([fast, slow])
        registry = ModelRegistry("memory:", clock=lambda: next(clock, fast))
        registry.deploy(URI, model_name="ahead")
        registry.deploy(URI, model_name="behind")
        for then, now in ((1, slow), (slow, 1)):
            with pytest.raises(InvalidArgumentError, match="comes after"):
                registry.diff(then, now)
        assert registry.diff(slow, 2).sentences[0] == "ahead is new"

    def test_of_a_model_that_never_was(self, registry: ModelRegistry) -> None:
        with pytest.raises(ModelNotFoundError):
            registry.diff(0, model_name=NAME)

    @pytest.mark.parametrize("seed", range(4))
    def test_what_was_and_what_changed_are_what_is(self, store: Store, seed: int) -> None:
        registry = store(policy=[AWAITED, Policy()][seed % 2])
        chances = random.Random(seed)
        fill(registry, 30, chances)
        for _ in range(5):
            then, now = sorted(chances.sample(range(registry.position() + 1), 2))
            known = facts_of(registry, then)
            for change in registry.diff(then, now).changes:
                key = (change.model_id, change.version_id, change.what)
                assert known.get(key) == change.before
                known[key] = change.after
                if change.what == "version":
                    known |= dict.fromkeys(
                        [key for key in known if key[1] == change.version_id and change.after is None]
                    )
                    version = registry.at(now).version(change.version_id or "")
                    known |= {
                        (*key[:2], what): getattr(version, what)
                        for what in ("stage", "status", "failure")
                        if change.after
                    }
            assert {key: value for key, value in known.items() if value is not None} == facts_of(registry, now)


def facts_of(registry: ModelRegistry, position: int) -> dict[tuple[str, str | None, str], str | None]:
    """What a difference may be about, as of a position."""
    found: dict[tuple[str, str | None, str], str | None] = {}
    for model in registry.at(position).models():
        found[model.model_id, None, "model"] = model.model_id
        found[model.model_id, None, "primary"] = model.primary.number if model.primary else None
        for version in model.versions:
            found[model.model_id, version.version_id, "version"] = version.version_id
            for what in ("stage", "status", "failure"):
                found[model.model_id, version.version_id, what] = getattr(version, what)
    return {key: value for key, value in found.items() if value is not None}


def test_an_activation_that_is_asked_for_is_said() -> None:
    (asked,) = recorded(VersionActivationRequested(V1, f"act_{V1[4:]}_1", at_us=0), actor="ada")
    assert sentence_of(asked, lambda _: "0.1.0") == "ada asked 0.1.0 to start again"
