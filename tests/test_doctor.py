"""Does the doctor see what is wrong, and say what to do about it?"""

from __future__ import annotations

import importlib.metadata
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import stores
from tests.stores import Clock
from versioning import ModelRegistry, Policy, StoreError
from versioning.cli import doctor
from versioning.cli.doctor import Check, examine

if TYPE_CHECKING:
    from tests.stores import Store

store = stores.store
shared_store = stores.shared_store
PLACE = "sqlite:///models.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(about: str, place: str = PLACE, **how: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - as examine takes it
    checks = [one for one in examine(place, "default", **how) if one.about == about]
    assert all(one.hint for one in checks if one.verdict != "ok"), checks
    return [(one.verdict, one.sentence) for one in checks]


def made(**how: Any) -> ModelRegistry:  # noqa: ANN401 - whatever a registry takes
    return ModelRegistry(PLACE, **how)


def test_all_is_well_on_every_store(shared_store: Store) -> None:
    with shared_store() as registry:
        registry.deploy("s3://x", model_name="a")
    checks = list(examine(shared_store.url, "default"))
    assert [one for one in checks if one.verdict == "fail"] == []
    assert {"python", "packages", "store", "view models.2", "activations", "artifacts"} <= {one.about for one in checks}
    assert ("sqlite" in {one.about for one in checks}) is (shared_store.kind.name == "sqlite")


def test_a_store_that_is_not_there_is_not_made() -> None:
    assert found("store") == [("fail", "There is no store at this place.")]
    assert list(Path().iterdir()) == []


def test_what_is_no_store_at_all() -> None:
    Path("models.db").write_text("text " * 1_000, encoding="utf-8")
    ((verdict, said),) = found("store")
    assert (verdict, "is not an SQLite database" in said) == ("fail", True)


def test_a_url_that_is_none() -> None:
    assert found("store", "nonsense") == [("fail", "The URL of the store has no scheme.")]


def test_a_server_that_can_not_be_reached() -> None:
    ((verdict, _),) = found("store", "postgresql://u@127.0.0.1:1/x?connect_timeout_s=1")
    assert verdict == "fail"


def test_an_old_sqlite_and_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made().close()
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    assert found("sqlite")[0][0] == "warn"
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert found("sqlite")[0][0] == "ok"


def test_an_old_python_and_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON_MIN", (99, 0))
    assert found("python")[0][0] == "fail"
    version = importlib.metadata.version

    def without(name: str) -> str:
        if name == "psycopg":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert found("postgres") == [("ok", "psycopg is not installed; only this extra needs it.")]


def test_commands_that_a_loss_of_power_may_take() -> None:
    made().close()
    assert found("store")[0][0] == "ok"
    assert found("store", f"{PLACE}?durability=checkpoint")[0][0] == "warn"


def test_a_view_that_an_event_stops_and_one_that_was_told_to_pass_over_it() -> None:
    with made() as registry:
        registry.deploy("s3://x", model_name="a")
    with closing(sqlite3.connect("models.db", isolation_level=None)) as file:
        file.execute("UPDATE stored_events SET topic='unknown.1'")
    for view in ("models.2", "ledgers.1"):
        ((verdict, said),) = found(f"view {view}")
        assert (verdict, said.startswith("stopped at position 1: ")) == ("fail", True)
    assert found("log")[0][0] == "fail"
    with made() as registry:
        registry.skip(1, actor="u-1", reason="ticket 7")
        registry.skip(1)
    ((verdict, said),) = found("skipped")
    assert (verdict, said.startswith("The views skip position 1, as ")) == ("warn", True)
    assert found("view models.2")[0][0] == "ok"


def test_activations_that_nobody_answers() -> None:
    clock = Clock()
    with made(policy=Policy(activation="awaited"), clock=clock) as registry:
        for _ in range(6):
            registry.deploy("s3://x", model_name="a")
    ((verdict, said),) = found("activations")
    assert verdict == "warn"
    assert said == "6 pending for longer than an hour: 0.1.0 of a, 0.2.0 of a, 0.3.0 of a, 0.4.0 of a, 0.5.0 of a …"


def test_activations_that_have_just_begun() -> None:
    with made(policy=Policy(activation="awaited")) as registry:
        registry.deploy("s3://x", model_name="a")
    assert found("activations") == [("ok", "1 pending, none for longer than an hour.")]
    assert timedelta(minutes=1) < doctor.WAITED_TOO_LONG


def test_contents_that_are_missing_or_damaged() -> None:
    with made() as registry:
        kept = [registry.deploy(f"{number}".encode(), model_name="a") for number in range(8)]
    calls: list[tuple[str, int, int]] = []
    assert found("artifacts", progress=lambda *told: calls.append(told)) == [
        ("ok", "All contents are there, as they were deployed: 8.")
    ]
    assert calls[-1] == ("artifacts", 8, 8)
    files = {path.parent.name + path.name: path for path in Path("models.db.artifacts").glob("*/??/*")}
    for version in kept[:6]:
        files[str(version.artifact.digest)].unlink()
    files[str(kept[6].artifact.digest)].write_bytes(b"something else")
    missing, damaged = found("artifacts")
    assert missing == (
        "fail", "6 of 8 contents missing: 0.1.0 of a, 0.2.0 of a, 0.3.0 of a, 0.4.0 of a, 0.5.0 of a …",
    )  # fmt: skip
    assert damaged == ("fail", "1 of 8 contents damaged: 0.7.0 of a")
    assert found("artifacts", artifacts="elsewhere")[0][1].startswith("8 of 8 contents missing")


def test_contents_without_a_folder_that_is_named(shared_store: Store, tmp_path: Path) -> None:
    with shared_store(artifacts=tmp_path / "contents") as registry:
        registry.deploy(b"x", model_name="a")
    ((verdict, said),) = found("artifacts", shared_store.url)
    assert verdict == "fail"
    assert said.startswith(
        "Versions refer to contents (1)" if shared_store.kind.name == "postgresql" else "1 of 1 contents"
    )
    assert found("artifacts", shared_store.url, artifacts=tmp_path / "contents")[0][0] == "ok"


def test_a_store_that_fails_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    made().close()

    def failing(_: object) -> Check:
        msg = "It is gone."
        raise StoreError(msg)

    monkeypatch.setattr(doctor, "_store", failing)
    assert found("store") == [("fail", "It is gone.")]
