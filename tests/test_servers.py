"""The servers that people use carry a registry that was opened before they forked: each runs for a moment, for real.

The long form is `python3 tests campaign edges`; what each must show stands in `tests/faults/servers.py`.
"""

from __future__ import annotations

import sys
from typing import Final

import pytest

from tests import provision
from tests.faults.arena import STORES
from tests.faults.servers import BUGGY, SERVERS, run

pytestmark = [pytest.mark.slow, pytest.mark.untraced]

COMMANDS: Final = 18
EVERYWHERE: Final = {"uWSGI", "gunicorn gevent, preloaded"}
"""Servers that are tried on both stores; the others take turns."""
LEFT_OUT: Final = {"uWSGI without a master", "uWSGI with threads"}
"""Servers that only the campaign tries."""
TRIED: Final = [
    (name, store)
    for place, name in enumerate(sorted(SERVERS.keys() - LEFT_OUT))
    for store in (STORES if name in EVERYWHERE else STORES[place % 2 : place % 2 + 1])
]


@pytest.fixture(autouse=True)
def _uwsgi_where_it_is_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "uWSGI" in request.node.name:
        monkeypatch.setenv(provision.UWSGI_VARIABLE, request.getfixturevalue("uwsgi"))


@pytest.mark.parametrize(("name", "store"), TRIED)
def test_nothing_is_lost_and_nothing_is_wrong(name: str, store: str) -> None:
    report = run(COMMANDS, 0, store, servers=[name])
    sys.stdout.write(f"{report}\n")
    assert report.ok, str(report)


@pytest.mark.parametrize(("bug", "store"), BUGGY)
def test_a_planted_bug_is_found(bug: str, store: str) -> None:
    name, finding = BUGGY[bug, store]
    report = run(COMMANDS // 2, 0, store, bug=bug, servers=[name])
    assert any(finding in each for each in report.findings), str(report)
