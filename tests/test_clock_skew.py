"""What if a clock is wrong (R23)? A command is not recorded behind an event that lies in its future."""

# ruff: noqa: ANN401 - what is refused is of any type

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests import cli_tools, registry_tools, stores
from tests.cli_tools import done, run
from tests.registry_tools import AWAITED, NAME, URI, deploy, nothing_recorded, refused, serving
from tests.stores import START, STORES, Clock, Store, facts
from versioning import (
    ClockError,
    IdempotencyConflictError,
    InvalidArgumentError,
    ModelRegistry,
    NothingToRollBackToError,
    PrimaryMovedError,
    StorageError,
    StoreError,
    Version,
    VersionDeletedError,
    VersionNotActiveError,
    VersionNotFoundError,
)
from versioning.audit.scan import AHEAD_MAX
from versioning.cli.doctor import examine
from versioning.store.opening import clock_skew_in, is_memory, with_clock_skew

if TYPE_CHECKING:
    from collections.abc import Callable

store = stores.store
shared_store = stores.shared_store
registry = registry_tools.registry
place = pytest.fixture(cli_tools.place.__wrapped__)  # type: ignore[attr-defined]  # not for every test of this file
HOUR = timedelta(hours=1)
LIMIT = timedelta(seconds=300)


def without_limit(url: str, limit: str = "none") -> str:
    return f"{url}{'&' if '?' in url else '?'}clock_skew_max_s={limit}"


def refusal(call: Callable[[], object]) -> ClockError:
    with pytest.raises(ClockError) as caught:
        call()
    return caught.value


@pytest.fixture
def fast(shared_store: Store) -> ModelRegistry:
    """A registry on a machine whose clock is two hours ahead."""
    return shared_store(clock=lambda: shared_store.clock.now + 2 * HOUR)


class TestAFastPromoteAndAnHonestStop:
    """One command came from a machine whose clock is two hours ahead."""

    @pytest.fixture
    def version(self, shared_store: Store, fast: ModelRegistry) -> Version:
        version = deploy(shared_store())
        shared_store.clock.tick(60)
        return fast.promote(version.version_id, actor="u-fast")

    def test_the_stop_is_refused_and_told_in_full_to_whoever_runs_the_machines(
        self, shared_store: Store, version: Version
    ) -> None:
        honest = shared_store()
        shared_store.clock.tick(3_600)
        with refused(honest, ClockError, "R23"):
            honest.deactivate(version.version_id, actor="u-honest")
        error = refusal(lambda: honest.deactivate(version.version_id))
        last = list(honest.history())[-1]
        assert (error.event_at, error.clock_at) == (last.timestamp, shared_store.clock.now)
        assert (error.position, error.actor) == (last.position, "u-fast")
        assert str(error).startswith(
            f"The last event of '{NAME}', at position {last.position}, recorded by 'u-fast', is of "
            "2026-01-01T11:01:00Z, but the clock of this command shows 2026-01-01T10:01:00Z: one of the two clocks is "
            "wrong. [R23] Find the machine whose clock is wrong"
        )
        assert "clock_skew_max_s=None" in error.hint

    def test_a_client_learns_nothing_of_that(self, shared_store: Store, version: Version) -> None:
        error = refusal(lambda: shared_store().deactivate(version.version_id))
        assert issubclass(ClockError, StorageError)
        told = error.to_dict()
        assert (told["status"], told["code"], told["rule"]) == (500, "clock", "R23")
        assert told.keys() == {"type", "title", "status", "detail", "code", "rule", "hint", "position"}
        assert not any(said in json.dumps(told) for said in ("2026", "u-fast", NAME, "clock_skew_max_s"))
        full = error.to_dict(cli_tools_words())
        assert (full["event_at"], full["clock_at"]) == ("2026-01-01T11:01:00Z", "2026-01-01T09:01:00Z")
        assert (full["actor"], full["position"]) == ("u-fast", error.position)

    @pytest.mark.parametrize("lifted", ["url", "argument", "higher"])
    def test_it_is_recorded_after_the_limit_was_lifted(
        self, shared_store: Store, version: Version, lifted: str
    ) -> None:
        url = without_limit(shared_store.url) if lifted == "url" else shared_store.url
        limit = {"url": 300, "argument": None, "higher": 7_200}[lifted]
        with ModelRegistry(url, clock=shared_store.clock, clock_skew_max_s=limit) as honest:
            assert honest.deactivate(version.version_id).status == "inactive"
            assert honest.activate(version.version_id).status == "active"
            log = list(honest.history())
        assert len({one.timestamp for one in log[1:]}) == 1  # they stand still
        shared_store.clock.tick(2 * 3_600 - 300)
        with shared_store() as honest:  # and go on when the clock has caught up, but for the limit
            honest.deactivate(version.version_id)
            shared_store.clock.tick(301)
            honest.activate(version.version_id)
            assert [one.timestamp for one in honest.history()][-1] == shared_store.clock.now

    def test_another_name_is_another_way_on(self, shared_store: Store, version: Version) -> None:
        assert version.is_primary
        honest = shared_store()
        assert deploy(honest, "another").deployed_at == shared_store.clock.now

    def test_another_process_that_knew_the_model_before_refuses_too(self, shared_store: Store) -> None:
        honest = shared_store()
        version = deploy(honest)
        shared_store(clock=lambda: shared_store.clock.now + 2 * HOUR).promote(version.version_id)
        with refused(honest, ClockError):
            honest.deactivate(version.version_id)


def cli_tools_words() -> Any:
    from versioning.cli.words import WORDS  # noqa: PLC0415 - for one test

    return WORDS


def test_a_fast_stop_is_recorded_and_reported(shared_store: Store, fast: ModelRegistry) -> None:
    """A clock that runs ahead can't be noticed by its own command."""
    honest = shared_store()
    version = serving(honest)
    shared_store.clock.tick(3_600)
    fast.deactivate(version.version_id, actor="u-fast")
    found = honest.verify()
    assert not found.ok
    assert [(one.kind, one.position) for one in found.findings] == [("ahead", n) for n in (3, 4)]
    assert found.findings[0].sentence == (
        f"At position 3, event 3 of {NAME} is of 2026-01-01T12:00:00Z, by u-fast, which lies too far ahead of now: "
        "some clock was wrong."
    )
    assert (found.findings[0].model_name, found.findings[0].sequence) == (NAME, 3)
    assert fast.verify().ok
    with ModelRegistry(without_limit(shared_store.url), clock=shared_store.clock) as lifted:
        assert lifted.verify().ok
    shared_store.clock.tick(2 * 3_600 - 300)
    assert honest.verify().ok


class TestTheLimit:
    def test_exactly_the_limit_passes(self, registry: ModelRegistry, store: Store) -> None:
        version = deploy(registry)
        store.clock.now -= LIMIT
        assert registry.publish(version.version_id).published_at == START
        store.clock.now -= timedelta(microseconds=1)
        with refused(registry, ClockError, "R23"):
            registry.deactivate(version.version_id)
        assert registry.verify().findings[0].kind == "ahead"
        store.clock.now += timedelta(microseconds=1)
        registry.deactivate(version.version_id)
        assert registry.verify().ok

    @pytest.mark.parametrize(("limit", "passes_s"), [(0, 0), (0.5, 0.5), (60, 60), (300, 300), (86_400.0, 86_400)])
    def test_it_is_in_seconds(self, store: Store, limit: float, passes_s: float) -> None:
        registry = store(clock_skew_max_s=limit)
        version = deploy(registry)
        store.clock.tick(-passes_s)
        registry.publish(version.version_id)
        store.clock.tick(-0.000_001)
        with refused(registry, ClockError):
            registry.deactivate(version.version_id)

    @pytest.mark.parametrize("limit", [-1, -0.1, float("nan"), float("inf"), 10**10, "300", "none", True, [], LIMIT])
    def test_it_is_a_number_of_seconds_or_none(self, limit: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="clock_skew_max_s must be 0 to") as caught:
            ModelRegistry("memory:", clock_skew_max_s=limit)
        assert (caught.value.rule, caught.value.facts["argument"]) == ("R23", "clock_skew_max_s")

    def test_what_the_url_says_counts_more_than_the_argument(self, store: Store) -> None:
        """Whoever runs the machines can lift it, whatever the program says."""
        store.url = without_limit(store.url)
        registry = store(clock_skew_max_s=1)
        version = deploy(registry)
        store.clock.tick(-(10**9))
        registry.publish(version.version_id)

    def test_every_url_can_say_it(self) -> None:
        seconds = "clock_skew_max_s=60"
        for url in ("memory:", "sqlite:///x.db", "postgresql://u:p@h/d"):
            assert clock_skew_in(url) is None
            assert clock_skew_in(f"{url}?{seconds}") == 60_000_000
            assert clock_skew_in(f"{url}?clock_skew_max_s=none") == 2**63 - 1
            assert with_clock_skew(f"{url}?timeout_s=1&{seconds}", "none") == f"{url}?timeout_s=1&clock_skew_max_s=none"
            assert with_clock_skew(url, "0.5") == f"{url}?clock_skew_max_s=0.5"
        assert is_memory(f"memory:?{seconds}")
        with ModelRegistry(f"memory:?{seconds}") as registry:
            assert deploy(registry).number == "0.1.0"


class TestOnlyWhatWouldBeRecorded:
    """R22: input errors, the key, the address, `expected_*`, R20 and the rules come before the clock."""

    @pytest.fixture
    def late(self, store: Store) -> ModelRegistry:
        """A model with a primary, an inactive and a deleted version, and a clock that is an hour behind them."""
        registry = store()
        serving(registry, idempotency_key="first")
        for _ in range(2):
            deploy(registry)
        registry.deactivate(f"{NAME}@0.2.0", idempotency_key="stop")
        registry.delete(f"{NAME}@0.3.0")
        store.clock.tick(-3_600)
        return registry

    def test_what_is_so_already_succeeds(self, late: ModelRegistry) -> None:
        with nothing_recorded(late):
            assert late.publish(f"{NAME}@0.1.0").is_primary
            assert late.promote(f"{NAME}@primary").is_primary
            assert late.activate(f"{NAME}@0.1.0").status == "active"
            assert late.deactivate(f"{NAME}@0.2.0").status == "inactive"
            stale = late.version(f"{NAME}@0.2.0").version_id
            late.complete_activation(stale, f"act_{stale[4:]}_1")

    def test_a_repeat_with_its_key_is_answered(self, late: ModelRegistry) -> None:
        with nothing_recorded(late):
            assert deploy(late, publish=True, idempotency_key="first").repeated
            assert late.deactivate(f"{NAME}@0.2.0", idempotency_key="stop").repeated

    def test_other_refusals_come_first(self, late: ModelRegistry) -> None:
        with refused(late, InvalidArgumentError, "R7"):
            deploy(late, promote=True)
        with refused(late, IdempotencyConflictError, "R21"):
            deploy(late, idempotency_key="stop")
        with refused(late, VersionNotFoundError):
            late.promote(f"{NAME}@7.0.0")
        with refused(late, PrimaryMovedError, "R22"):
            late.deactivate(f"{NAME}@0.1.0", expected_primary=None)
        with refused(late, VersionNotActiveError, "R8"):
            late.promote(f"{NAME}@0.2.0")
        with refused(late, VersionDeletedError, "R17"):
            late.promote(f"{NAME}@0.3.0")
        with refused(late, NothingToRollBackToError, "R13"):
            late.rollback(NAME)

    def test_what_would_be_recorded_is_refused(self, late: ModelRegistry) -> None:
        for command in (
            lambda: deploy(late),
            lambda: deploy(late, idempotency_key="new"),
            lambda: late.deactivate(f"{NAME}@0.1.0"),
            lambda: late.activate(f"{NAME}@0.2.0"),
            lambda: late.delete(f"{NAME}@0.2.0"),
            lambda: late.delete_model(NAME),
            lambda: late.publish(f"{NAME}@0.1.0", idempotency_key="new"),  # it would record NothingChanged
        ):
            with refused(late, ClockError, "R23"):
                command()

    def test_a_refused_command_leaves_no_key(self, late: ModelRegistry, store: Store) -> None:
        refusal(lambda: deploy(late, idempotency_key="new"))
        store.clock.tick(3_600)
        assert not deploy(late, idempotency_key="new").repeated

    def test_a_preview_is_refused_in_the_same_words(self, late: ModelRegistry) -> None:
        asked = refusal(lambda: late.preview.delete_model(NAME))
        assert str(asked) == str(refusal(lambda: late.delete_model(NAME)))
        assert late.preview.publish(f"{NAME}@0.1.0") == ()

    def test_a_menu_offers_what_is_not_refused(self, late: ModelRegistry, store: Store) -> None:
        assert late.allowed(f"{NAME}@0.1.0") == ("publish", "promote", "activate")
        assert late.allowed(f"{NAME}@0.2.0") == ("deactivate",)
        assert late.at(late.position()).allowed(f"{NAME}@0.2.0") == ("deactivate", "activate", "delete")
        store.clock.tick(3_600)
        assert late.allowed(f"{NAME}@0.2.0") == ("deactivate", "activate", "delete")

    def test_of_many_deployments_the_batches_before_are_recorded(
        self, late: ModelRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("versioning.commanding.deciding.BATCH_REQUESTS", 2)
        many = [{"model_or_reference": URI, "model_name": name} for name in ("a", "b", "c", NAME, "d")]
        error = refusal(lambda: late.deploy_many(cast("Any", many)))
        assert (error.facts["index"], error.actor) == (3, None)
        assert str(error).startswith("Deployment 3: The last event of 'churn'")
        assert [model.name for model in late.models()] == ["a", "b", NAME]

    def test_a_batch_that_records_under_one_name_twice_is_of_one_moment(self, store: Store) -> None:
        registry = store()
        deploy(registry)
        store.clock.now -= LIMIT
        many = [{"model_or_reference": URI, "model_name": NAME}] * 3
        assert [one.deployed_at for one in registry.deploy_many(cast("Any", many))] == [START] * 3


def test_an_environment_that_waits_since_the_future_is_found(store: Store) -> None:
    registry = store(policy=AWAITED)
    waiting = deploy(registry)
    store.clock.tick(-7_200)
    assert registry.pending_activations() == (waiting,)
    assert registry.pending_activations(timedelta(seconds=1)) == ()
    store.clock.tick(7_201)
    assert registry.pending_activations(timedelta(seconds=1)) == (waiting,)


def test_history_that_a_wrong_clock_recorded_can_be_imported(store: Store) -> None:
    """A backup has to come back; verify says what is wrong with it."""
    with ModelRegistry("memory:", clock=lambda: START + 2 * HOUR) as source:
        deploy(source)
        source.export(file := io.BytesIO())
        file.seek(0)
    registry = store()
    assert registry.import_log(file).imported == 1
    assert [one.kind for one in registry.verify().findings] == ["ahead"]
    with refused(registry, ClockError):
        deploy(registry)


class TestVerify:
    def test_of_many_events_the_first_are_named_and_the_rest_counted(
        self, registry: ModelRegistry, store: Store
    ) -> None:
        for _ in range(AHEAD_MAX + 2):
            deploy(registry)
        store.clock.tick(-3_600)
        found = registry.verify().findings
        assert [one.position for one in found] == [*range(1, AHEAD_MAX + 1), AHEAD_MAX]
        assert found[-1].sentence == f"2 more events up to position {AHEAD_MAX + 2} lie too far ahead of now."

    def test_of_another_workspace_only_the_position_is_told(self, shared_store: Store) -> None:
        deploy(shared_store(workspace="theirs"), actor="u-theirs")
        ours = shared_store()
        shared_store.clock.tick(-3_600)
        (finding,) = ours.verify().findings
        assert finding.sentence == "At position 1, a row of another workspace is ahead."
        assert (finding.kind, finding.position, finding.model_name, finding.stream) == ("ahead", 1, None, None)


class TestOnTheCommandLine:
    """The command line has the machine's own clock, so the fast one is ahead of that."""

    @pytest.fixture(autouse=True)
    def fast(self, place: str) -> datetime:
        now = datetime.now(UTC) + 2 * HOUR
        with ModelRegistry(place, clock=lambda: now) as fast:
            fast.deploy(URI, model_name=NAME, publish=True, actor="u-fast")
        return now

    def test_a_command_is_refused_until_the_limit_is_lifted(self, place: str, fast: datetime) -> None:
        ran = run("deactivate", f"{NAME}@primary", "--actor", "u-1")
        cli_tools.refused(ran, 6, "at position 2, recorded by 'u-fast'", "[clock, R23]", "--clock-skew-max-s none")
        told = json.loads(run("deactivate", f"{NAME}@primary", "--json").err)
        assert (told["event_at"], told["actor"]) == (fast.isoformat().replace("+00:00", "Z"), "u-fast")
        cli_tools.refused(run("deactivate", f"{NAME}@primary", "--dry-run"), 6, "[clock, R23]")
        cli_tools.refused(run("deactivate", f"{NAME}@primary", "--clock-skew-max-s", "60"), 6, "[clock, R23]")
        assert done("show", f"{NAME}@0.1.0", "--json").json["allowed"] == ["publish", "promote", "activate"]
        done("deactivate", f"{NAME}@primary", "--clock-skew-max-s", "none")
        done("activate", f"{NAME}@0.1.0", "--clock-skew-max-s", "7201")
        done("delete", f"{NAME}@0.1.0", "--yes", "--url", without_limit(place))
        with ModelRegistry(place) as registry:
            assert {one.timestamp for one in registry.history()} == {fast}
            assert facts(registry.history())[-2:] == ["PrimaryCleared", "ModelDeleted"]

    def test_the_option_counts_more_than_the_url(self, place: str) -> None:
        ran = run("deactivate", f"{NAME}@primary", "--url", without_limit(place), "--clock-skew-max-s", "300")
        cli_tools.refused(ran, 6, "[clock, R23]")

    @pytest.mark.parametrize("text", ["", "None", "-1", "nan", "1e3", "5 minutes", "9999999999", "\uff11"])
    def test_it_is_seconds_or_none(self, text: str) -> None:
        for verb in (("deactivate", f"{NAME}@primary"), ("doctor",), ("verify",)):
            ran = run(*verb, f"--clock-skew-max-s={text}")
            cli_tools.refused(ran, 2, "--clock-skew-max-s is a time in seconds from 0 to", "or none")

    def test_verify_and_doctor_report_it(self, place: str, fast: datetime) -> None:
        ran = run("verify")
        assert (ran.code, [line[:2] for line in ran.lines]) == (18, [["ahead", "1"], ["ahead", "2"]])
        ran = run("doctor")
        (row,) = [row for row in ran.lines if row[1] == "clocks"]
        assert (ran.code, row[0]) == (6, "fail")
        moment = fast.isoformat().replace("+00:00", "Z")
        assert row[2] == (
            f"2 events lie ahead of now, the first at position 1 by u-fast, of {moment}. "
            f"Commands are refused on {NAME}."
        )
        for limit in ("none", "7201"):
            assert run("verify", "--clock-skew-max-s", limit).code == 5
            (row,) = [row for row in done("doctor", "--clock-skew-max-s", limit).lines if row[1] == "clocks"]
            said = (
                "No clock is doubted: clock_skew_max_s is none." if limit == "none" else "No event lies ahead of now."
            )
            assert row[:3] == ["ok", "clocks", said]
        assert run("verify", "--url", without_limit(place)).code == 5

    def test_tampering_comes_first(self, place: str) -> None:
        with ModelRegistry(place) as registry:
            deploy(registry, "a")
        stores._in_sqlite(place, "UPDATE stored_events SET topic='deleted.1' WHERE rowid=?", (3,))
        ran = run("verify")
        assert (ran.code, [line[0] for line in ran.lines]) == (10, ["ahead", "ahead", "changed"])

    def test_a_dry_run_on_no_store_takes_it_too(self) -> None:
        ran = done("deploy", "a", URI, "--dry-run", "--url", "memory:", "--clock-skew-max-s", "none")
        assert ran.lines[0][0] == "VersionDeployed"
        cli_tools.refused(run("deploy", "a", URI, "--url", "memory:?clock_skew_max_s=1"), 2, "is gone as soon as")


def test_doctor_names_some_of_many_models(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    now = datetime.now(UTC)
    with shared_store(clock=lambda: now + HOUR) as fast:
        deploy(fast, "one")
    (check,) = [one for one in examine(shared_store.url, "default") if one.about == "clocks"]
    assert check.sentence.startswith("1 event lies ahead of now, the first at position 1, of ")
    assert check.sentence.endswith(" Commands are refused on one.")
    assert check.hint == (
        "Correct the clock that was wrong. --clock-skew-max-s none lets commands on these models be recorded until "
        "then."
    )
    with ModelRegistry(shared_store.url, clock=lambda: now + HOUR) as fast:
        for number in range(6):
            deploy(fast, f"model {number}")
    (check,) = [one for one in examine(shared_store.url, "default") if one.about == "clocks"]
    assert check.sentence.endswith("Commands are refused on one, model 0, model 1, model 2, model 3 ….")


@pytest.mark.parametrize("shared_store", [kind for kind in STORES if kind.name == "postgresql"], ids=str, indirect=True)
def test_on_a_server_the_clock_is_the_server_s(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is wrong neither spoils a model on PostgreSQL, nor is refused there."""
    from versioning.store import postgres, postgres_connections  # noqa: PLC0415 - for PostgreSQL only

    right = postgres_connections.now_us
    for wrong_by_us in (7_200_000_000, -7_200_000_000):
        for module in (postgres, postgres_connections):
            monkeypatch.setattr(module, "now_us", lambda wrong_by_us=wrong_by_us: right() + wrong_by_us)
        with shared_store(clock=None) as registry:
            deploy(registry)
            assert registry.verify().ok
    with shared_store(clock=Clock(datetime.now(UTC) - HOUR)) as slow, pytest.raises(ClockError):
        deploy(slow)


def test_the_store_is_asked_who_recorded_the_last_event_and_may_fail(registry: ModelRegistry, store: Store) -> None:
    version = deploy(registry)
    store.clock.tick(-3_600)
    registry.close()
    with pytest.raises(StoreError):
        registry.publish(version.version_id)
