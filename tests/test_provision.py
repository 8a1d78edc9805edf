"""A browser and a uWSGI are found where they are, else fetched, else what needs it is skipped: each way is really gone.

Nothing is downloaded: programs are scripts, and what Playwright would fetch is put where it looks for it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import provision
from tests.provision import NotHadError, chromium, of_the_run, uwsgi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def script(place: Path, *lines: str) -> str:
    """Write a program; return its path."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    place.chmod(0o755)
    return str(place)


def writing(place: Path) -> str:
    """Return what a script says to make a Chromium at a place."""
    return f"/bin/mkdir -p '{place.parent}' && /bin/cp /bin/true '{place}'"


@pytest.fixture(scope="module", name="playwrights")
def _playwrights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where Playwright looks for its own Chromium: a folder of this file, as asking it takes a while."""
    provision.place_of_playwright.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path_factory.mktemp("browsers")))
        yield provision.place_of_playwright()
    provision.place_of_playwright.cache_clear()


@pytest.fixture(name="path")
def _path(playwrights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of the PATH of a machine of root, on Debian, with no browser and no way out."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.rmtree(playwrights.parent, ignore_errors=True)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(provision.CHROMIUM_VARIABLE, raising=False)
    monkeypatch.setattr(provision, "DEBIAN", tmp_path)
    monkeypatch.setattr(provision, "PLAYWRIGHT", (script(folder / "playwright", "echo 'Error: away' >&2", "exit 1"),))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return folder


class TestAChromium:
    def test_the_variable_is_believed(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script(path / "chromium")
        monkeypatch.setenv(provision.CHROMIUM_VARIABLE, "/named")
        assert chromium() == "/named"

    @pytest.mark.parametrize("name", provision.CHROMIUMS)
    def test_one_on_the_path_comes_first(self, path: Path, playwrights: Path, name: str) -> None:
        script(playwrights)
        assert chromium() == str(playwrights)
        assert script(path / name) == chromium()

    def test_one_that_only_says_where_to_get_it_is_none(self, path: Path) -> None:
        script(path / "chromium-browser", "exit 1")
        assert script(path / "google-chrome") == chromium()

    def test_playwright_fetches_one(self, path: Path, playwrights: Path) -> None:
        script(path / "playwright", writing(playwrights))
        assert chromium() == str(playwrights)

    def test_apt_get_installs_one_where_playwright_cannot(self, path: Path) -> None:
        noted = path / "noted"
        script(path / "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {noted}', writing(path / "chromium"))
        assert chromium() == str(path / "chromium")
        assert noted.read_text().splitlines() == [
            "noninteractive update -qq",
            "noninteractive install -qq -y --no-install-recommends chromium",
        ]

    def test_apt_get_installs_one_where_that_of_playwright_lacks_libraries(self, path: Path, playwrights: Path) -> None:
        script(playwrights, "exit 127")
        script(path / "apt-get", writing(path / "chromium"))
        assert chromium() == str(path / "chromium")


class TestWhereNoneCanBeHad:
    def test_every_reason_is_said(self, path: Path, playwrights: Path) -> None:
        broken = script(playwrights, "exit 127")
        script(path / "playwright")
        script(path / "apt-get", "echo 'E: Unable to locate package chromium' >&2", "exit 100")
        with pytest.raises(NotHadError) as missing:
            chromium()
        assert str(missing.value) == (
            f"no Chromium could be had: {broken} does not start; apt-get failed (Unable to locate package chromium)"
        )

    def test_playwright_says_what_it_complained_about(self, path: Path) -> None:
        script(path / "apt-get", "exit 3")
        with pytest.raises(
            NotHadError, match=r"had: Playwright's download failed \(away\); apt-get failed \(exit code 3\)$"
        ):
            chromium()

    @pytest.mark.parametrize(("who", "debian"), [(1000, True), (0, False)])
    def test_apt_get_is_for_root_on_debian(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, who: int, *, debian: bool
    ) -> None:
        script(path / "apt-get", writing(path / "chromium"))
        monkeypatch.setattr("os.geteuid", lambda: who)
        if not debian:
            monkeypatch.setattr(provision, "DEBIAN", path / "nowhere")
        with pytest.raises(NotHadError, match=r"apt-get is for root on Debian$"):
            chromium()

    def test_a_program_that_is_not_there_is_a_reason(self, path: Path) -> None:
        (path / "playwright").unlink()
        with pytest.raises(NotHadError, match=r"Playwright's download failed \(.*No such file.*\); apt-get"):
            chromium()


class TestUwsgi:
    @pytest.fixture(autouse=True)
    def _none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(provision, "UWSGI", tmp_path / "uwsgi")
        monkeypatch.delenv(provision.UWSGI_VARIABLE, raising=False)

    def use_pip(self, tmp_path: Path, patch: pytest.MonkeyPatch, *lines: str) -> None:
        patch.setattr(provision, "PIP", (script(tmp_path / "pip", *lines),))

    def test_the_variable_is_believed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(provision.UWSGI_VARIABLE, "/named")
        assert uwsgi() == "/named"

    def test_one_that_is_there_is_taken(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use_pip(tmp_path, monkeypatch, "exit 1")
        assert uwsgi_at(tmp_path) == uwsgi()

    def test_a_wheel_is_fetched_into_a_folder_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = tmp_path / "uwsgi" / "bin" / "uwsgi"
        noted = tmp_path / "noted"
        self.use_pip(tmp_path, monkeypatch, f'echo "$*" >> {noted}', writing(place))
        assert uwsgi() == str(place)
        assert noted.read_text() == f"--upgrade --target {tmp_path / 'uwsgi'} --only-binary :all: pyuwsgi\n"

    def test_it_is_built_where_there_is_no_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = tmp_path / "uwsgi" / "bin" / "uwsgi"
        self.use_pip(tmp_path, monkeypatch, f'case "$*" in *pyuwsgi) exit 1;; *) {writing(place)};; esac')
        assert uwsgi() == str(place)

    def test_where_none_can_be_had_every_reason_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.use_pip(tmp_path, monkeypatch, "echo 'ERROR: no compiler' >&2", "exit 1")
        with pytest.raises(NotHadError) as missing:
            uwsgi()
        assert str(missing.value) == (
            "no uWSGI could be had: pip install pyuwsgi failed (no compiler); pip install uwsgi failed (no compiler)"
        )


def uwsgi_at(folder: Path) -> str:
    """Make a program where a uWSGI that was fetched would be."""
    return script(folder / "uwsgi" / "bin" / "uwsgi")


class TestOneRun:
    def test_all_its_processes_have_the_answer_of_the_first(self, path: Path, tmp_path: Path) -> None:
        first = script(path / "chromium")
        assert of_the_run(tmp_path, chromium) == first
        (path / "chromium").unlink()
        assert of_the_run(tmp_path, chromium) == first

    def test_what_could_not_be_had_is_not_tried_twice(self, path: Path, tmp_path: Path) -> None:
        with pytest.raises(NotHadError) as first:
            of_the_run(tmp_path, chromium)
        script(path / "chromium")
        with pytest.raises(NotHadError) as again:
            of_the_run(tmp_path, chromium)
        assert str(first.value) == str(again.value)
