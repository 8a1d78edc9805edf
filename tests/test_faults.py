"""What really happens does no harm: kills, cuts, lost replies, restarts, forks and wrong clocks, in their short forms.

The long ones are `python3 tests campaign`; what each of them must show stands in `tests/faults`. Each finds the bugs
that are planted in it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.faults import (
    clocks,
    failing_calls,
    followers,
    forks,
    kills,
    linearizability,
    lost_replies,
    power_cuts,
    restarts,
    rewinds,
    rewound_followers,
    view_kills,
    wal,
)

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

SHORT: Final[list[tuple[ModuleType, str, int, dict[str, Any]]]] = [
    (kills, "sqlite", 30, {}),
    (kills, "postgresql", 30, {}),
    (wal, "sqlite", 100, {}),
    (power_cuts, "sqlite", 40, {}),
    (failing_calls, "sqlite", 1, {}),
    (failing_calls, "postgresql", 1, {"stride": 9}),
    (lost_replies, "sqlite", 200, {}),
    (lost_replies, "postgresql", 200, {}),
    (linearizability, "sqlite", 5, {}),
    (linearizability, "postgresql", 5, {}),
    (followers, "sqlite", 10_000, {}),
    (followers, "postgresql", 10_000, {}),
    (view_kills, "sqlite", 20, {}),
    (view_kills, "postgresql", 20, {}),
    (clocks, "sqlite", 200, {}),
    (clocks, "postgresql", 30, {}),
    (restarts, "postgresql", 2, {}),
    (rewound_followers, "sqlite", 5, {}),
    (rewound_followers, "postgresql", 5, {}),
    (rewinds, "sqlite", 3, {}),
    (rewinds, "postgresql", 1, {}),
    (forks, "sqlite", 4, {}),
    (forks, "postgresql", 4, {}),
]

PLANTED: Final = [
    (kills, "sqlite", 30, "acknowledges first", "acknowledged commands are lost"),
    (kills, "postgresql", 30, "acknowledges first", "acknowledged commands are lost"),
    (kills, "sqlite", 30, "appends row by row", "is torn"),
    (kills, "postgresql", 30, "appends row by row", "is torn"),
    (wal, "sqlite", 100, "appends row by row", "is torn"),
    (wal, "sqlite", 100, "forgets the log", "were whole"),
    (power_cuts, "sqlite", 40, "durability=checkpoint", "acknowledged commands are lost"),
    (failing_calls, "sqlite", 1, "does not look for its own command", "was recorded, but said"),
    (failing_calls, "sqlite", 1, "keeps its turn", "is stuck"),
    (failing_calls, "postgresql", 1, "does not look for its own command", "was recorded, but said"),
    (lost_replies, "sqlite", 200, "does not look for its own command", "effects"),
    (lost_replies, "postgresql", 200, "does not look for its own command", "effects"),
    (lost_replies, "sqlite", 200, "sends another key", "(key: key "),
    (lost_replies, "postgresql", 200, "sends another key", "(key: key "),
    (linearizability, "sqlite", 20, "appends without a sequence", "no serial order explains"),
    (linearizability, "postgresql", 20, "appends without a sequence", "no serial order explains"),
    (linearizability, "sqlite", 20, "answers from its cache", "no serial order explains"),
    (linearizability, "postgresql", 20, "answers from its cache", "no serial order explains"),
    (followers, "sqlite", 2_000, "skips to the head", "events missed"),
    (followers, "postgresql", 2_000, "passes over gaps", "events missed"),
    (view_kills, "sqlite", 20, "rows and position in two transactions", " at position "),
    (view_kills, "postgresql", 20, "rows and position in two transactions", " at position "),
    (clocks, "sqlite", 50, "believes its clock", "What differs"),
    (restarts, "postgresql", 1, "takes an error for an answer", "has 0 effects"),
    (restarts, "postgresql", 1, "waits without a deadline", " took "),
    (rewound_followers, "sqlite", 5, "believes a position", "the follower that "),
    (rewound_followers, "postgresql", 5, "believes a position", "the follower that "),
    (rewinds, "sqlite", 20, "follows a number", " comes behind "),
    (rewinds, "sqlite", 20, "believes what it remembers", "process "),
    (forks, "sqlite", 30, "shares its connections", "worker"),
    (forks, "postgresql", 5, "shares its connections", "worker"),
]


def _named(row: tuple[Any, ...]) -> str:
    return "-".join([row[0].__name__.rpartition(".")[2], row[1], *(each for each in row[3:4] if isinstance(each, str))])


@pytest.fixture
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of the run, which its header shows."""
    return int(pytestconfig.option.hypothesis_seed)


@pytest.mark.parametrize("short", SHORT, ids=_named)
def test_nothing_is_found(short: tuple[ModuleType, str, int, dict[str, Any]], seed: int) -> None:
    campaign, store, rounds, options = short
    report = campaign.run(rounds, seed, store, **options)
    sys.stdout.write(f"{report}\n")
    assert report.ok, str(report)


@pytest.mark.parametrize("planted", PLANTED, ids=_named)
def test_a_planted_bug_is_found(planted: tuple[ModuleType, str, int, str, str], seed: int) -> None:
    campaign, store, rounds, bug, finding = planted
    # Which trouble comes first: the server is away, or silent.
    seed = {"takes an error for an answer": 4, "waits without a deadline": 3}.get(bug, seed)
    report = campaign.run(rounds, seed, store, bug=bug)
    assert any(finding in each for each in report.findings), str(report)


def test_every_bug_that_can_be_planted_is() -> None:
    planted = {(campaign.__name__, bug) for campaign, _, _, bug, _ in PLANTED}
    campaigns = {campaign for campaign, *_ in SHORT}
    assert planted == {(campaign.__name__, bug) for campaign in campaigns for bug in campaign.BUGS}
