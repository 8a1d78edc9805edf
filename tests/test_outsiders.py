"""What does a client of a service learn from an error? Nothing of the machine: no path, no server, no Python.

The law of this room: every error here is raised by a real call. What clients are not told is still in the error itself,
for the log.
"""

from __future__ import annotations

import inspect
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Final

import pytest

from tests import postgres_tools, stores
from tests.registry_tools import NAME
from versioning import Deployment, ModelRegistry, VersioningError, errors
from versioning.cli.words import WORDS
from versioning.errors import OUTSIDE, PYTHON, ConcurrencyError, InvalidArgumentError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.postgres_server import PostgresServer

store = stores.store
server = postgres_tools.server
PRIVATE: Final = re.compile(r"/|127\.0\.0\.1|localhost|\w\(|pathlib|Traceback|[a-z]Error\b|pip install|sqlite|postgres")


def told(error: VersioningError) -> str:
    """All that a client reads of an error, but its type."""
    return json.dumps({name: value for name, value in error.to_dict().items() if name != "type"}, ensure_ascii=False)


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "models.db", tmp_path):
        with pytest.raises(StoreError) as caught:
            ModelRegistry(path)
        assert str(tmp_path) in str(caught.value)
        assert not PRIVATE.search(told(caught.value))


def test_a_database_that_is_locked_or_closed(tmp_path: Path) -> None:
    path = tmp_path / "models.db"
    registry = ModelRegistry(f"sqlite:///{path}?timeout_s=0.1")
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked") as locked:
        registry.deploy("s3://a", model_name=NAME)
    other.close()
    registry.close()
    with pytest.raises(StoreError, match="closed") as closed:
        registry.models()
    for error in (locked.value, closed.value):
        assert str(path) in str(error)
        assert not PRIVATE.search(told(error))
        assert error.to_dict()["retry_after_s"] == error.retry_after_s == 5


def test_a_server_that_cannot_be_reached(server: PostgresServer) -> None:
    url = server.fresh_url(tcp=True)
    for wrong in (url.replace("//ada:", "//nobody:"), url.replace("/models?", "/nothing?")):
        with pytest.raises(StoreError, match=r"127\.0\.0\.1") as caught:
            ModelRegistry(wrong)
        assert not PRIVATE.search(told(caught.value))
        assert "sqlstate" not in caught.value.to_dict()
        assert vars(caught.value)["sqlstate"]


def test_a_file_that_a_call_names(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with ModelRegistry("memory:") as registry, ModelRegistry("memory:", artifacts=tmp_path / "kept") as kept:
        registry.deploy("s3://a", model_name=NAME, publish=True)
        kept.deploy(b"contents", model_name=NAME)
        (tmp_path / "there").write_bytes(b"x" * 2**21)
        calls: list[Callable[[], object]] = [
            lambda: registry.deploy(missing, model_name=NAME),
            lambda: registry.deploy_many([Deployment(model_or_reference=missing, model_name=NAME)]),
            lambda: registry.import_log(missing),
            lambda: registry.export(tmp_path / "there"),
            lambda: registry.export(missing / "deeper"),
            lambda: registry.verify(missing),
            lambda: registry.verify(registry.checkpoint(), public_key=tmp_path / "there"),
            lambda: registry.timeline(NAME, path=tmp_path / "there"),
            lambda: registry.import_log(object()),  # type: ignore[arg-type]
            lambda: ModelRegistry(f"sqlite:{tmp_path}"),
            lambda: registry.load(NAME),
            lambda: registry.fetch(f"{NAME}@0.1.0", missing),
            lambda: kept.fetch(f"{NAME}@0.1.0", tmp_path / "there"),
            lambda: kept.fetch(f"{NAME}@0.1.0", tmp_path, overwrite=True),
            lambda: kept.fetch(f"{NAME}@0.1.0", missing / "deeper"),
            lambda: kept.fetch(f"{NAME}@0.1.0", "\0/tmp"),
        ]
        for call in calls:
            with pytest.raises(VersioningError) as caught:
                call()
            assert not PRIVATE.search(told(caught.value).replace("s3://a", ""))


def test_contents_that_a_serializer_cannot_read(tmp_path: Path) -> None:
    with ModelRegistry("memory:", artifacts=tmp_path) as registry:
        registry.deploy(b"no pickle", model_name=NAME, publish=True)
        with pytest.raises(InvalidArgumentError, match="Error") as caught:
            registry.load(NAME, serializer="pickle", trusted=True)
        assert caught.value.to_dict()["detail"] == "The serializer 'pickle' can't load the contents."


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with ModelRegistry("memory:", artifacts=tmp_path / "file" / "folder") as registry:
        with pytest.raises(StoreError) as caught:
            registry.deploy(b"contents", model_name=NAME)
        assert str(tmp_path) in vars(caught.value)["path"]
        assert "path" not in caught.value.to_dict()


ALL = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, VersioningError)]


@pytest.mark.parametrize("error", ALL)
def test_an_error_that_may_be_tried_again_says_when(error: type[VersioningError]) -> None:
    assert (error.retry_after_s is not None) == (error.status == 503) == ("retry_after_s" in error("So.").to_dict())


@pytest.mark.parametrize("error", ALL)
def test_what_classes_say_names_nothing_of_the_machine(error: type[VersioningError]) -> None:
    assert not PRIVATE.search(told(error("So it is.")))


def test_who_runs_the_store_is_told_all() -> None:
    error = StoreError("The database '/srv/models.db' is locked.", hint="Look at the rights.", path="/srv/models.db")
    for words in (PYTHON, WORDS):
        said = error.to_dict(words)
        assert (said["detail"], said["hint"], said["path"]) == (error.sentence, "Look at the rights.", "/srv/models.db")
    assert str(error) == "The database '/srv/models.db' is locked. Look at the rights."


def test_what_a_rule_says_is_told_whole() -> None:
    error = ConcurrencyError("Others were faster.")
    assert (error.to_dict()["detail"], error.to_dict()["retry_after_s"]) == (error.sentence, 1)
    assert error.to_dict()["hint"] == error.hint_in(OUTSIDE) == error.hint
