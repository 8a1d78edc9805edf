"""A sequence that is behind its log is noticed before an event is lost in an old gap; the hint has what mends it."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_tools
from tests.postgres_tools import execute, schema_of
from tests.registry_tools import NAME
from tests.stores import OTHER, postgres_recorder, rows, settings_of
from versioning import ModelRegistry
from versioning.cli.doctor import examine
from versioning.errors import StoreError
from versioning.store.postgres import migrate

if TYPE_CHECKING:
    import psycopg

    from tests.postgres_server import PostgresServer
    from versioning.store.postgres import PostgresRecorder

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw

BEHIND = "has a sequence stored_positions that is behind its log"


def mend(error: StoreError, raw: psycopg.Connection[Any]) -> None:
    """Run the statement that the hint names."""
    found = re.search(r"SELECT setval\(.*\)\)", error.hint)
    assert found is not None
    execute(raw, found[0])


def copied(url: str, raw: psycopg.Connection[Any], into: str) -> None:
    """Do what a restore of the data of the tables does: the rows come, the sequences do not."""
    source, target = (settings_of(one).schema for one in (url, into))
    migrate(settings_of(into))
    for table in ("stored_events", "kept_rows"):
        execute(raw, f"INSERT INTO {target}.{table} SELECT * FROM {source}.{table}")


def test_rows_that_were_restored_alone_are_noticed_and_mended(
    server: PostgresServer, url: str, raw: psycopg.Connection[Any]
) -> None:
    with ModelRegistry(url) as registry:
        for _ in range(3):
            registry.deploy("s3://a", model_name=NAME)
        held = registry.version(f"{NAME}@0.3.0")
    into = server.fresh_url()
    copied(url, raw, into)
    with pytest.raises(StoreError, match=BEHIND) as caught:
        ModelRegistry(into)
    checks = {one.about: one for one in examine(into, "default")}
    assert (checks["store"].verdict, checks["store"].hint) == ("fail", caught.value.hint)
    mend(caught.value, raw)
    with ModelRegistry(into) as registry:
        assert registry.version(f"{NAME}@0.3.0") == held
        assert [one.position for one in registry.deploy("s3://b", model_name=NAME).recorded] == [4]
        assert registry.verify().ok
    assert {one.verdict for one in examine(into, "default") if one.about == "store"} == {"ok"}


def test_a_process_that_was_open_meanwhile_is_told_too(
    recorder: PostgresRecorder, raw: psycopg.Connection[Any]
) -> None:
    recorder.append(rows(2))
    execute(raw, f"ALTER SEQUENCE {schema_of(recorder)}.stored_positions RESTART")
    with pytest.raises(StoreError, match=BEHIND) as caught:
        recorder.append(rows(1, stream=OTHER))
    mend(caught.value, raw)
    assert recorder.append(rows(1, stream=OTHER)) == range(3, 4)


@pytest.mark.parametrize(
    ("drawn", "is_behind"), [((3, True), False), ((4, False), False), ((2, True), True), ((3, False), True)]
)
def test_the_next_position_counts(
    url: str, recorder: PostgresRecorder, raw: psycopg.Connection[Any], drawn: tuple[int, bool], is_behind: bool
) -> None:
    recorder.append(rows(3))
    execute(raw, f"SELECT setval('{schema_of(recorder)}.stored_positions',{drawn[0]},{drawn[1]})")
    with pytest.raises(StoreError, match=BEHIND) if is_behind else contextlib.nullcontext():
        postgres_recorder(url).close()


@pytest.mark.parametrize(("right", "is_refused"), [("USAGE", True), ("SELECT", False), (None, False)])
def test_who_may_not_look_at_the_sequence_is_careful_and_who_only_reads_can_open(
    server: PostgresServer, url: str, recorder: PostgresRecorder, right: str | None, is_refused: bool
) -> None:
    schema = schema_of(recorder)
    recorder.append(rows(3))
    server.admin(f"SELECT setval('{schema}.stored_positions',4,false)")  # right, but only a closer look shows it
    server.admin("DROP ROLE IF EXISTS eve", "CREATE ROLE eve LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO eve")
    server.admin(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO eve")
    if right is not None:
        server.admin(f"GRANT {right} ON SEQUENCE {schema}.stored_positions TO eve")
    with pytest.raises(StoreError, match=BEHIND) if is_refused else contextlib.nullcontext():
        postgres_recorder(url.replace("//ada:", "//eve:")).close()
    server.admin("DROP OWNED BY eve", "DROP ROLE eve")
