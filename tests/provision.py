"""What the tests need and pip does not bring: found where it is, else fetched, else the tests that need it are skipped.

A run in which something could not be had says so in words, in its last line, and fails where `CI` is set: see
tests/conftest.py.
"""

import fcntl
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.__main__ import VENV

CHROMIUM_VARIABLE: Final = "VERSIONING_TEST_CHROMIUM"
NO_BROWSER_VARIABLE: Final = "VERSIONING_TEST_NO_BROWSER"
PGBOUNCER_VARIABLE: Final = "VERSIONING_TEST_PGBOUNCER"
NO_PGBOUNCER_VARIABLE: Final = "VERSIONING_TEST_NO_PGBOUNCER"
NOT_HAD: Final = "could be had"
"""Stands in the reason of every test that is skipped because something could not be had."""
UWSGI_VARIABLE: Final = "VERSIONING_TEST_UWSGI"
NO_UWSGI_VARIABLE: Final = "VERSIONING_TEST_NO_UWSGI"
UWSGI: Final = VENV / f"uwsgi-{sys.version_info.major}.{sys.version_info.minor}"
"""Folder of the uWSGI that was fetched for this Python: `bin/uwsgi`, and what it imports."""

CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What Chromium is called on the PATH, by Debian, by others, and by its maker."""
START_S: Final = 60
"""How long a Chromium may take to say its version."""
FETCH_S: Final = 600
"""How long fetching one may take."""
PLAYWRIGHT: Final = (sys.executable, "-m", "playwright", "install", "--no-shell", "chromium")
DEBIAN: Final = Path("/etc/debian_version")
SBIN: Final = "/usr/sbin"
"""Where Debian keeps PgBouncer, and where the PATH of most users does not look."""


def apt(package: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that install a package of Debian."""
    install = ("apt-get", "install", "-qq", "-y", "--no-install-recommends", package)
    return ("apt-get", "update", "-qq"), install


PIP: Final = (sys.executable, "-m", "pip", "install", "-qq", "--no-deps")


class NotHadError(RuntimeError):
    """Something that the tests need could not be had; the message is the reason to skip them."""


def chromium() -> str:
    """Return the path of a Chromium that starts, or raise `NotHadError`."""
    if named := os.environ.get(CHROMIUM_VARIABLE):
        return named
    why: list[str] = []
    for look in (on_the_path, of_playwright, fetched_by_playwright, fetched_by_apt):
        for found in look(why):
            if starts(found):
                return found
            why.append(f"{found} does not start")
    msg = f"no Chromium {NOT_HAD}: {'; '.join(dict.fromkeys(why))}"
    raise NotHadError(msg)


def starts(program: str) -> bool:
    """Check that it is one: Ubuntu's says only where to get it, and one that was fetched may lack libraries."""
    environment = os.environ | {"PYTHONPATH": str(UWSGI)}
    options: Any = {"env": environment, "capture_output": True, "timeout": START_S}
    try:
        return subprocess.run([program, "--version"], check=False, **options).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def on_the_path(_: list[str]) -> Iterator[str]:
    yield from filter(None, map(shutil.which, CHROMIUMS))


@functools.cache
def place_of_playwright() -> Path:
    """Return where Playwright has its own Chromium, or would put it."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is no other

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def of_playwright(_: list[str]) -> Iterator[str]:
    if place_of_playwright().exists():
        yield str(place_of_playwright())


def fetched_by_playwright(why: list[str]) -> Iterator[str]:
    if carried_out("Playwright's download", PLAYWRIGHT, why):
        yield from of_playwright(why)


def fetched_by_apt(why: list[str]) -> Iterator[str]:
    if installed_by_apt("chromium", why):
        yield from on_the_path(why)


def installed_by_apt(package: str, why: list[str]) -> bool:
    if os.geteuid() != 0 or not DEBIAN.exists() or not shutil.which("apt-get"):
        why.append("apt-get is for root on Debian")
        return False
    return all(carried_out("apt-get", command, why) for command in apt(package))


def pgbouncer() -> str:
    """Return the path of a PgBouncer that starts, or raise `NotHadError`."""
    if named := os.environ.get(PGBOUNCER_VARIABLE):
        return named
    why: list[str] = []
    if (found := _pgbouncer_there()) is not None:
        return found
    if installed_by_apt("pgbouncer", why) and (found := _pgbouncer_there()) is not None:
        return found
    msg = f"no PgBouncer {NOT_HAD}: {'; '.join(why)}"
    raise NotHadError(msg)


def _pgbouncer_there() -> str | None:
    found = shutil.which("pgbouncer", path=os.pathsep.join((os.environ.get("PATH", ""), SBIN)))
    return found if found and starts(found) else None


def carried_out(name: str, command: Sequence[str], why: list[str]) -> bool:
    """Run a command; where it fails, add what it complained about first to the reasons."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "NO_COLOR": "1"}
    options: Any = {"env": environment, "stdin": subprocess.DEVNULL, "capture_output": True, "timeout": FETCH_S}
    try:
        done = subprocess.run(command, check=False, text=True, errors="replace", **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        why.append(f"{name} failed ({error})")
        return False
    if done.returncode:
        complaints = re.findall(r"^E(?:rror|RROR)?: *(.+)$", done.stderr, re.MULTILINE)
        why.append(f"{name} failed ({(complaints or [f'exit code {done.returncode}'])[0]})")
    return done.returncode == 0


def uwsgi() -> str:
    """Return the path of a uWSGI that serves with this Python, or raise `NotHadError`; `UWSGI` is its PYTHONPATH."""
    if named := os.environ.get(UWSGI_VARIABLE):
        return named
    program, why = str(UWSGI / "bin" / "uwsgi"), list[str]()
    ways = {"pip install pyuwsgi": ("--only-binary", ":all:", "pyuwsgi"), "pip install uwsgi": ("uwsgi",)}
    for way, options in ways.items():
        if starts(program):
            break
        carried_out(way, [*PIP, "--upgrade", "--target", str(UWSGI), *options], why)
    if not starts(program):
        msg = f"no uWSGI {NOT_HAD}: {'; '.join(why)}"
        raise NotHadError(msg)
    return program


def of_the_run(folder: Path, find: Callable[[], str]) -> str:
    """Return what `find` found for the first process of a run that asked; `folder` is one that the run shares."""
    with (folder / "provision").open("w") as lock, (folder / f"{find.__name__}.found").open("a+") as kept:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one for all: apt-get does not run twice at once
        kept.seek(0)
        path, why = json.loads(kept.read() or "[null, null]")
        if path is None and why is None:
            try:
                path = find()
            except NotHadError as missing:
                why = str(missing)
            kept.write(json.dumps([path, why]))
    if path is None:
        raise NotHadError(why)
    return str(path)
