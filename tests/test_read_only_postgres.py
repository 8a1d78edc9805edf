"""Which rights does a PostgreSQL database have to give, and what does a standby answer?"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres_server, postgres_tools
from tests.postgres_server import DATABASE, PostgresServer
from tests.postgres_tools import begin_append, execute, schema_of
from tests.reading_tools import answers, told
from tests.registry_tools import deploy
from tests.side_by_side import until
from tests.stores import OTHER, positions, row, rows, settings_of
from versioning import (
    ConcurrencyError,
    InvalidArgumentError,
    LogRewoundError,
    ModelRegistry,
    NewerFormatError,
    ReadOnlyError,
    StoreError,
)
from versioning.reading.views import VIEWS
from versioning.store.opening import access_to, location_of
from versioning.store.postgres import PostgresRecorder
from versioning.store.postgres_connections import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    Raw = psycopg.Connection[Any]

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
GRANTS = re.findall(r"^GRANT .*;$", README, re.MULTILINE)
"""What README says to grant."""
TO_WRITE = [grant for grant in GRANTS if grant.endswith(" TO service;")]
TO_READ = [grant for grant in GRANTS if grant.endswith(" TO auditor;")]


class Roles:
    """Two roles without any right, on a store of the owner."""

    def __init__(self, server: PostgresServer, url: str, contents: Path) -> None:
        self.server = server
        self.contents = contents
        self.schema = settings_of(url).schema
        self.owner = url
        with ModelRegistry(url, artifacts=contents) as registry:
            registry.deploy(b"contents", model_name="m", publish=True)
            self.kept = [view.position for view in registry.views()]
            deploy(registry, "m")
        self.names = {name: f"{name}_{self.schema}" for name in ("service", "auditor")}
        server.admin(*[f"CREATE ROLE {name} LOGIN" for name in self.names.values()])

    def run(self, statement: str) -> None:
        """Run a statement of README on this store and these roles."""
        for name, real in self.names.items():
            statement = re.sub(rf"\b{name}\b", real, statement)
        self.server.admin(re.sub(r"\bversioning(?=\.| TO| FROM)", self.schema, statement))

    def url(self, name: str) -> str:
        return re.sub(r"//[^@]*@", f"//{self.names[name]}@", self.owner)

    def close(self) -> None:
        for name in self.names.values():
            self.server.admin(f"DROP OWNED BY {name}", f"DROP ROLE {name}", database=DATABASE)


@pytest.fixture
def roles(server: PostgresServer, url: str, tmp_path: Path) -> Iterator[Roles]:
    with contextlib.closing(Roles(server, url, tmp_path / "contents")) as roles:
        yield roles


def work(url: str, contents: Path) -> None:
    """Do everything that a service and its operator do."""
    with ModelRegistry(url, artifacts=contents) as registry:
        registry._views._batch_events = 0
        version = deploy(registry, "m", publish=True)
        registry.deploy_many([{"model_or_reference": "s3://m", "model_name": "n"} for _ in range(2)])
        registry.deactivate(version.version_id, idempotency_key=version.version_id)
        registry.models()
        registry.collect_artifacts()
        assert registry.rebuild() == registry.position()
        assert [view.behind for view in registry.views()] == [0] * len(VIEWS)
        assert registry.verify().ok
        with registry.follow() as follower:
            assert next(follower).position == 1


def audit(url: str, contents: Path) -> None:
    """Ask what touches every table."""
    with ModelRegistry(url, artifacts=contents, read_only=True) as registry:
        registry.models()
        registry.collect_artifacts(dry_run=True)


def single_rights(grants: list[str]) -> list[str]:
    """Split grants into those of one right on one object."""
    found = []
    for grant in grants:
        rights, objects, who = re.fullmatch(r"GRANT (.+) ON (.+) TO (\w+);", grant).groups()  # type: ignore[union-attr]
        kind = re.match(r"(?:SCHEMA |SEQUENCE )?", objects)[0]  # type: ignore[index]
        found += [
            f"GRANT {right} ON {kind}{one} TO {who}"
            for right in rights.split(", ")
            for one in objects.removeprefix(kind).split(", ")
        ]
    return found


class TestTheRightsThatREADMENames:
    """Are enough, and none can be left out; the error names the object and the statement that grants it."""

    def test_a_service_needs_no_other(self, roles: Roles) -> None:
        for grant in TO_WRITE:
            roles.run(grant)
        assert access_to(roles.url("service")) == "write"
        work(roles.url("service"), roles.contents)

    @pytest.mark.parametrize("right", single_rights(TO_WRITE))
    def test_a_service_needs_each(self, roles: Roles, right: str) -> None:
        for grant in TO_WRITE:
            roles.run(grant)
        roles.run(right.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        name = right.split()[-3].removeprefix("versioning.").replace("versioning", roles.schema)
        with pytest.raises(StoreError, match=f"does not allow the user '{roles.names['service']}'") as caught:
            work(roles.url("service"), roles.contents)
        assert f"'{name}'" in caught.value.sentence
        assert caught.value.facts["object"] == name
        mend = caught.value.hint.removeprefix("Let its owner run: ")
        assert mend.startswith("GRANT ")
        roles.server.admin(mend)
        work(roles.url("service"), roles.contents)

    def test_an_auditor_needs_no_other_and_keeps_nothing(self, roles: Roles) -> None:
        for grant in TO_READ:
            roles.run(grant)
        auditor = roles.url("auditor")
        with ModelRegistry(auditor, read_only=True) as registry:
            assert len(answers(registry)) > 10
            assert [view.position for view in registry.views()] == roles.kept
            with registry.follow() as follower:
                assert next(follower).position == 1
            with pytest.raises(ReadOnlyError):
                registry.rebuild()
        assert access_to(auditor) == "read"
        said = told("ls", "--url", auditor) + told("doctor", "--url", auditor, "--artifacts", str(roles.contents))
        assert said.count("exit 0") == 2
        assert "may only be read here" in said

    @pytest.mark.parametrize("right", single_rights(TO_READ))
    def test_an_auditor_needs_each(self, roles: Roles, right: str) -> None:
        for grant in TO_READ:
            roles.run(grant)
        roles.run(right.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        with pytest.raises(StoreError) as caught:
            audit(roles.url("auditor"), roles.contents)
        wanted = right.replace("versioning", f'"{roles.schema}"').replace("auditor", f'"{roles.names["auditor"]}"')
        assert caught.value.hint == f"Let its owner run: {wanted};"

    def test_what_is_no_object_of_ours_is_named_in_the_words_of_the_server(self, roles: Roles) -> None:
        elsewhere = re.sub(r"schema=[^&]*", "schema=elsewhere", roles.url("service"))
        with pytest.raises(StoreError, match=r"permission denied for database models.*`?migrate`? first") as caught:
            ModelRegistry(elsewhere)
        assert caught.value.facts["sqlstate"] == "42501"

    def test_a_role_that_may_write_in_read_only_transactions_alone_reads(self, roles: Roles) -> None:
        for grant in TO_WRITE:
            roles.run(grant)
        roles.server.admin(f"ALTER ROLE {roles.names['service']} SET default_transaction_read_only=on")
        assert access_to(roles.url("service")) == "read"

    def test_the_server_refuses_writes_of_its_own_accord(self, roles: Roles) -> None:
        with ModelRegistry(roles.owner, read_only=True) as registry:
            store = registry._store
            assert isinstance(store, PostgresRecorder)
            with store._pool.use() as connection, pytest.raises(StoreError, match="can only be read"):
                connection.ask("new_view", "v")


class TestTablesThatAreNotThere:
    """Nothing is made, and the error says what is missing."""

    def test_no_schema(self, url: str, server: PostgresServer) -> None:
        with pytest.raises(StoreError, match="has no tables of ours in the schema"):
            ModelRegistry(url, read_only=True)
        schema = settings_of(url).schema
        assert server.admin(f"SELECT count(*) FROM pg_namespace WHERE nspname='{schema}'") == [(0,)]

    @pytest.mark.parametrize(("version", "kind"), [(99, NewerFormatError), (0, StoreError)])
    def test_those_of_another_release(self, url: str, version: int, kind: type[Exception], raw: Raw) -> None:
        ModelRegistry(url).close()
        execute(raw, f"UPDATE {settings_of(url).schema}.schema_version SET version={version}")
        with pytest.raises(kind, match="release"):
            ModelRegistry(url, read_only=True)
        with pytest.raises(kind, match="release"):
            ModelRegistry(url)

    def test_a_sequence_behind_the_log_hinders_nobody_who_reads(
        self, recorder: PostgresRecorder, url: str, raw: Raw
    ) -> None:
        with ModelRegistry(url) as registry:
            for _ in range(3):
                deploy(registry, "m")
        execute(raw, f"SELECT setval('{schema_of(recorder)}.stored_positions',1)")
        with pytest.raises(StoreError, match="behind its log"):
            ModelRegistry(url)
        with ModelRegistry(url, read_only=True) as registry:
            assert registry.position() == 3
        assert access_to(url) == "read"
        assert "exit 0" in told("ls", "--url", url)
        assert "exit 6" in told("doctor", "--url", url)


@pytest.fixture(scope="module")
def standby() -> Iterator[PostgresServer]:
    with PostgresServer(standby_of=postgres_server.server()) as standby:
        yield standby


@pytest.fixture
def there(standby: PostgresServer, url: str) -> str:
    """The same schema on the standby."""
    return standby.url(settings_of(url).schema, lock_timeout_s=0.3)


def reading(url: str) -> contextlib.closing[PostgresRecorder]:
    location = location_of(url, read_only=True)
    assert isinstance(location, Settings)
    return contextlib.closing(PostgresRecorder(location))


def replayed(server: PostgresServer, standby: PostgresServer) -> None:
    """Wait until the standby has what the server has."""
    ((position,),) = server.admin("SELECT pg_current_wal_lsn()::text")
    until(lambda: standby.admin(f"SELECT pg_last_wal_replay_lsn()>='{position}'::pg_lsn") == [(True,)])


class TestAStandby:
    """Answers every question, behind the primary server, and never passes over what may still come."""

    def test_it_answers_every_question(
        self, server: PostgresServer, standby: PostgresServer, url: str, there: str
    ) -> None:
        with ModelRegistry(url) as writer:
            for _ in range(3):
                deploy(writer, "m", publish=True)
            replayed(server, standby)
            with ModelRegistry(there, read_only=True) as reader:
                assert reader.models() == writer.models()
                assert list(reader.history()) == list(writer.history())
                assert len(answers(reader)) > 10
                deploy(writer, "m")
                with pytest.raises(ReadOnlyError):
                    deploy(reader, "m")
                with pytest.raises(ReadOnlyError, match="standby"):
                    reader.follow()
                with pytest.raises(ConcurrencyError, match="has reached position"):
                    reader.at(1_000)
                with pytest.raises(ConcurrencyError, match="has reached position"):
                    list(reader.history(after=1_000))
                with pytest.raises(LogRewoundError):
                    list(reader.at(2).history(after=3))
                with pytest.raises(InvalidArgumentError):
                    writer.at(1_000)

    def test_the_command_line_asks_it_by_itself(
        self, server: PostgresServer, standby: PostgresServer, url: str, there: str
    ) -> None:
        with ModelRegistry(url) as writer:
            deploy(writer, "m")
        replayed(server, standby)
        assert access_to(there) == "read"
        said = (
            told("ls", "--url", there)
            + told("doctor", "--url", there)
            + told("promote", "m@0.1.0", "--dry-run", "--url", there)
        )
        assert said.count("exit 0") == 3
        assert "is a standby, which may lag" in said
        assert "can only be read" in told("promote", "m@0.1.0", "--url", there)
        with pytest.raises(StoreError, match="can only be read"):
            ModelRegistry(there)

    @pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
    def test_it_stops_before_a_gap_until_that_is_settled(  # noqa: PLR0917 - what it stands on
        self,
        server: PostgresServer,
        standby: PostgresServer,
        recorder: PostgresRecorder,
        raw: Raw,
        there: str,
        ends: str,
    ) -> None:
        recorder.append(rows(2))
        begin_append(raw, recorder, 1)
        recorder.append([row(3)])
        replayed(server, standby)
        with reading(there) as reader:
            assert reader.lags
            for _ in range(2):
                assert reader.head() == 2
                assert positions(reader.log(0, 10)) == [1, 2]
                assert positions(reader.log(0, 10, 4)) == [1, 2]
                with reader.snapshot() as snapshot:
                    assert positions(snapshot.log(0, 10)) == [1, 2]
            execute(raw, ends)
            recorder.append([row(2, OTHER) if ends == "COMMIT" else row(1, OTHER)])
            replayed(server, standby)
            assert reader.head() == (5 if ends == "COMMIT" else 2)
            assert recorder.write_view("v", 0, recorder.head(), 1, [])  # as when somebody asked there
            replayed(server, standby)
            assert reader.head() == 5
            assert positions(reader.log(0, 10)) == ([1, 2, 3, 4, 5] if ends == "COMMIT" else [1, 2, 4, 5])

    def test_what_was_passed_over_is_no_place_in_the_log(
        self, server: PostgresServer, standby: PostgresServer, recorder: PostgresRecorder, raw: Raw, there: str
    ) -> None:
        recorder.append(rows(2))
        begin_append(raw, recorder, 1)
        recorder.append([row(3)])
        assert recorder.write_view("skipped.1", 0, 9, 0, [])  # counts decisions, and has no moment
        replayed(server, standby)
        with reading(there) as reader:
            assert reader.head() == 2
        execute(raw, "ROLLBACK")
