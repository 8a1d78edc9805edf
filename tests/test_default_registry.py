"""Which registry does `versioning.deploy(...)` mean?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import versioning
from tests import stores
from tests.registry_tools import NAME, URI
from tests.stores import in_threads
from versioning import ModelRegistry, defaults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stores import Store

shared_store = stores.shared_store

ROOT = Path(versioning.__file__).resolve().parent.parent


class TestDefaultRegistry:
    """`versioning.deploy(...)`: module level, on the default registry, as the original product called it."""

    @pytest.fixture(autouse=True)
    def _alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(defaults, "_defaults", {})
        monkeypatch.delenv("VERSIONING_URL", raising=False)
        monkeypatch.chdir(tmp_path)
        yield
        for registry in defaults._defaults.values():
            registry.close()

    def test_it_is_a_file_in_the_current_folder(self, tmp_path: Path) -> None:
        version = versioning.deploy(
            {"weights": [1, 2]}, model_name="My wonderful model", version_bump="MAJOR", publish=True
        )
        assert (version.number, version.is_primary) == ("0.1.0", True)
        assert (tmp_path / "versioning.db").exists()
        with ModelRegistry() as registry:
            assert registry.primary("My wonderful model") == version
            assert registry.load("My wonderful model", trusted=True) == {"weights": [1, 2]}
            assert registry.load("My wonderful model", version.version_id, trusted=True) == {"weights": [1, 2]}

    def test_it_is_what_the_environment_says(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VERSIONING_URL", "sqlite:///other.db")
        version = versioning.deploy(URI, model_name=NAME, actor="ada", idempotency_key="k", metadata={"a": 1})
        assert not (tmp_path / "versioning.db").exists()
        with ModelRegistry("sqlite:///other.db") as registry:
            assert registry.version(version.version_id).deployed_by == "ada"
        with ModelRegistry() as registry:
            assert registry.version(version.version_id) == version
        monkeypatch.setenv("VERSIONING_URL", "")
        with ModelRegistry() as registry:
            assert registry.models() == ()
        assert (tmp_path / "versioning.db").exists()

    def test_the_environment_may_name_any_store(self, shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VERSIONING_URL", shared_store.url)
        version = versioning.deploy(URI, model_name=NAME)
        with shared_store() as registry:
            assert registry.version(version.version_id) == version

    def test_it_is_opened_once_and_another_one_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = versioning.default_registry()
        assert versioning.default_registry() is here
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert versioning.default_registry() is not here
        monkeypatch.chdir(tmp_path)
        assert versioning.default_registry() is here
        monkeypatch.setenv("VERSIONING_URL", "memory:")
        assert versioning.default_registry() is not here

    def test_eight_threads_open_it_once(self) -> None:
        found: list[ModelRegistry] = []
        in_threads(*[lambda: found.append(versioning.default_registry())] * 8)
        assert len(set(found)) == 1

    def test_a_script_that_does_not_close_it_ends_quietly(self, tmp_path: Path) -> None:
        program = "import versioning; versioning.deploy('s3://a', model_name='m', publish=True)"
        subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {program}"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip
        with ModelRegistry() as registry:
            assert registry.resolve("m").number == "0.1.0"
