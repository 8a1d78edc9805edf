"""How hard Hypothesis looks, the seed with which a run can be repeated, and what a run could not try.

`HYPOTHESIS_PROFILE` is `dev` (the default), `ci` or `nightly`. All tests of a run start from one seed, which its header
shows; `--hypothesis-seed` repeats it. The last line of a run says which tests were skipped and why.
"""

import collections
import os
import secrets
import sys
from collections.abc import Callable, Generator, Iterable

import pytest
from hypothesis import HealthCheck, settings

from tests import provision

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
SEED_VARIABLE = "VERSIONING_TEST_SEED"
"""How the workers of pytest-xdist, which are processes of their own, get the seed of the run."""

for name, max_examples in {"dev": 50, "ci": 200, "nightly": 2000}.items():
    settings.register_profile(
        name,
        # Left out, the parent is what Hypothesis itself chose for this machine: where CI is set, nothing random.
        settings.get_profile("default"),
        max_examples=max_examples,
        deadline=None,  # machines are shared: time is measured elsewhere
        derandomize=False,
        print_blob=True,
        suppress_health_check=[] if name == "dev" else [HealthCheck.too_slow],
    )
settings.load_profile(PROFILE)


@pytest.hookimpl(tryfirst=True)  # before Hypothesis's own plugin reads the option
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = os.environ.setdefault(SEED_VARIABLE, str(secrets.randbits(32)))


def pytest_report_header(config: pytest.Config) -> str:
    seed = config.option.hypothesis_seed
    return f"hypothesis seed: {seed}; to repeat: HYPOTHESIS_PROFILE={PROFILE} python3 tests --hypothesis-seed={seed}"


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a Chromium; where none can be had, the tests that ask for it are skipped."""
    return provided(tmp_path_factory, provision.NO_BROWSER_VARIABLE, provision.chromium)


@pytest.fixture(scope="session")
def pgbouncer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a PgBouncer; where none can be had, the tests that ask for it are skipped."""
    return provided(tmp_path_factory, provision.NO_PGBOUNCER_VARIABLE, provision.pgbouncer)


@pytest.fixture(scope="session")
def uwsgi(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a uWSGI; where none can be had, the tests that ask for it are skipped."""
    return provided(tmp_path_factory, provision.NO_UWSGI_VARIABLE, provision.uwsgi)


def provided(tmp_path_factory: pytest.TempPathFactory, unwanted: str, find: Callable[[], str]) -> str:
    """Return what was found for this run; where it is unwanted or can't be had, skip the test."""
    if os.environ.get(unwanted) == "1":
        pytest.skip(f"{unwanted}=1")
    folder = tmp_path_factory.getbasetemp()
    try:
        # The folder of a worker of pytest-xdist lies in that of the run.
        return provision.of_the_run(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder, find)
    except provision.NotHadError as missing:
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run what is marked `untraced` so; under xdist, pytest-cov's `no_cover` stops one of a worker's two tracers."""
    tracing = sys.gettrace()
    if item.get_closest_marker("untraced"):
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracing)


def reasons_of_skips(config: pytest.Config) -> list[str]:
    """Return the reason of each test that was skipped so far."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    return [each.longrepr[2].removeprefix("Skipped: ") for each in skipped]


def report(reasons: Iterable[str]) -> str:
    """Say in words which tests were not run and why."""
    counts = collections.Counter(reasons)
    return "; ".join(f"{count} test{'s' * (count > 1)}, because {reason}" for reason, count in counts.items()) + "."


def is_an_error(reasons: Iterable[str]) -> bool:
    """Check whether something could not be had where nobody looks at the last line."""
    return bool(os.environ.get("CI")) and any(provision.NOT_HAD in reason for reason in reasons)


@pytest.hookimpl(wrapper=True, trylast=True)  # inside that of pytest-cov, which judges the coverage
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    result = yield
    coverage = session.config.pluginmanager.get_plugin("_cov")
    if coverage and any(provision.NOT_HAD in reason for reason in reasons_of_skips(session.config)):
        coverage.options.cov_fail_under = 0  # what was not run covers nothing
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    if is_an_error(reasons_of_skips(session.config)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    reporter, reasons = config.pluginmanager.get_plugin("terminalreporter"), reasons_of_skips(config)
    if reporter and reasons:
        as_an_error = " (an error, as CI is set)" * is_an_error(reasons)
        reporter.write_line(f"Not run{as_an_error}: {report(reasons)}")
