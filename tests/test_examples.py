"""Every example runs, shows what its docstring promises, and leaves behind what it says it does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from examples import (
    audit_replay,
    billing_report,
    embed_in_a_service,
    property_test_your_rules,
    quickstart,
    use_with_eventsourcing,
    whole_life,
)
from versioning import ModelNotFoundError, ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeAlias

    Runner: TypeAlias = Callable[[Callable[[], None]], str]


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run an example in an empty folder and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VERSIONING_URL", raising=False)

    def run(main: Callable[[], None]) -> str:
        main()
        return capsys.readouterr().out

    return run


def test_whole_life_tells_every_command_and_begins_a_new_life_when_run_again(run: Runner, tmp_path: Path) -> None:
    first = run(whole_life.main)
    again = run(whole_life.main)

    for told in (first, again):
        assert "0.1.0 is published, active, primary: True" in told
        assert "1.0.0 is a draft, active, primary: False" in told
        accuracies = [float(percent) for percent in re.findall(r"([\d.]+)% of 450 images are right", told)]
        assert len(accuracies) == 2
        assert min(accuracies) > 90
        primaries = re.findall(r"the primary is (\S+)", told)
        assert primaries == ["1.0.0", "0.1.0", "1.0.0", "0.1.0", "0.1.0", "1.0.0"]
        assert len(re.findall(r"^refused: ", told, re.MULTILINE)) == 4
        assert re.findall(r"UTC  (\S+)", told) == ["0.1.0", "1.0.0", "0.1.0", "1.0.0", "0.1.0", "1.0.0", "none"]
        used = [int(us.replace(",", "")) for us in re.findall(r"([\d,]+) µs", told)]
        assert sum(used[:-1]) == used[-1] > 0
    causes = ["published", "published", "requested", "rollback", "fallback", "fallback"]
    assert re.findall(r"VersionPromoted \((\w+)\)", first) == causes
    assert re.search(r"^ +1  VersionDeployed", first, re.MULTILINE)
    assert re.search(r"^ +16  VersionDeployed", again, re.MULTILINE)

    assert {path.name for path in tmp_path.iterdir()} >= {"models.db", "models.db.artifacts"}
    with ModelRegistry(tmp_path / "models.db") as registry:
        assert registry.models() == ()
        assert len({recorded.model_id for recorded in registry.history(whole_life.NAME)}) == 2


def test_whole_life_goes_on_with_what_an_interrupted_run_left(run: Runner, tmp_path: Path) -> None:
    with ModelRegistry(tmp_path / "models.db") as registry:
        registry.deploy(b"left", model_name=whole_life.NAME, publish=True)

    told = run(whole_life.main)

    assert "0.2.0 is published, active, primary: True" in told
    assert "1.0.0 is a draft" in told
    with ModelRegistry(tmp_path / "models.db") as registry, pytest.raises(ModelNotFoundError):
        registry.model(whole_life.NAME)


def test_quickstart(run: Runner, tmp_path: Path) -> None:
    told = run(quickstart.main).splitlines()
    assert told[:4] == ["0.1.0 published active", "HELLO", "1.0.0 hello", "0.1.0"]
    assert told[-1] == "5 VersionPromoted they can't hear us"
    assert list(tmp_path.iterdir()) == []


def test_audit_replay(run: Runner, tmp_path: Path) -> None:
    told = run(audit_replay.main)
    assert "0.1.0, since 10:30, by u-08: too many refusals, ticket 4720" in told
    assert "11:30 VersionDeleted 0.2.0, u-08: data had to be erased" in told
    assert "11:30 VersionPromoted (fallback) 0.1.0" in told
    assert "Replayed 9 events: the same answers after each of them." in told
    assert list(tmp_path.iterdir()) == []


def test_billing_report(run: Runner, tmp_path: Path) -> None:
    told = run(billing_report.main)
    lines = [int(us.replace(",", "")) for us in re.findall(r"\s(\d[\d,]{6,})\s", told)]
    assert len(lines) == 5
    assert sum(lines[:-1]) == lines[-1] == 3_942_600_000_000
    assert re.search(r"0\.2\.0 +draft .* 7,380,000,001 .* 0\.00$", told, re.MULTILINE)
    assert "the 31 days add up: True" in told
    assert "a year later, the same: True" in told
    assert "and that of a month that was running: True, 24.0 hours" in told
    assert list(tmp_path.iterdir()) == []


def test_embed_in_a_service(run: Runner, tmp_path: Path) -> None:
    told = run(embed_in_a_service.main).splitlines()
    assert told == [
        "8 times the same request: [(200, '0.1.0')]",
        "ready: 0.1.0 answers",
        "0.2.0 is inactive, MemoryError: no node has that much; 0.1.0 answers",
        "promote 0.2.0: 409 version-not-active [R8] 0.2.0 of 'Recommender' is inactive, so promote is refused.",
        "allowed: publish, deactivate, activate, delete",
        "roll back from what I see: 409 primary-moved; 0.3.0 answers",
    ]
    assert list(tmp_path.iterdir()) == []


def test_property_test_your_rules_finds_the_shortest_story(run: Runner, tmp_path: Path) -> None:
    told = run(property_test_your_rules.main)
    assert "Traffic moved from 0.2.0 to 0.1.0 by itself." in told
    assert told.count("      primary: ") == 3
    assert "VersionPromoted 0.1.0 fallback, was 0.2.0" in told
    assert "losing_primary=leave_none: the rule holds" in told
    assert list(tmp_path.iterdir()) == []


def test_use_with_eventsourcing(run: Runner, tmp_path: Path) -> None:
    assert run(use_with_eventsourcing.main).splitlines() == [
        "the registry answers with 0.1.0",
        "the projection saw 0.1.0 become primary, by ada",
        "the projection saw 0.2.0 become primary, by ada",
        "the projection saw 0.1.0 become primary, by nightly job",
        "the chain holds: True",
    ]
    assert list(tmp_path.iterdir()) == []
