"""A session is what the store needs, whatever the role and the database say; and who ends one is heard."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import select
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests import postgres_tools
from tests.postgres_server import PostgresServer
from tests.postgres_tools import schema_of
from tests.side_by_side import until
from tests.stores import OTHER, STREAM, positions, postgres_recorder, row, rows
from versioning.errors import StoreError
from versioning.store import postgres_connections as lines
from versioning.store.contract import KeptRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from versioning.store.postgres import PostgresRecorder
    from versioning.store.postgres_libpq import Connection

server = postgres_tools.server
url = postgres_tools.url
recorder = postgres_tools.recorder
raw = postgres_tools.raw

HOSTILE: Final = {
    "DateStyle": "'German, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kathmandu'",
    "array_nulls": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "exit_on_error": "on",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "'30ms'",
    "idle_session_timeout": "'300ms'",
    "jit": "on",
    "lock_timeout": "'1ms'",
    "plan_cache_mode": "force_generic_plan",
    "quote_all_identifiers": "on",
    "row_security": "on",
    "search_path": "'nowhere'",
    "standard_conforming_strings": "off",
    "statement_timeout": "'100ms'",
    "synchronous_commit": "off",
    "transaction_timeout": "'100ms'",
    "transform_null_equals": "on",
}
"""What a role could say to harm us."""
NEEDED: Final = {
    "client_encoding": "UTF8",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "exit_on_error": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "jit": "off",
    "lock_timeout": "300ms",
    "plan_cache_mode": "auto",
    "row_security": "off",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "statement_timeout": "30s",
    "synchronous_commit": "on",
    "transaction_timeout": "0",
}
"""What we need."""


@contextlib.contextmanager
def said_of_the_role(server: PostgresServer, settings: Mapping[str, str]) -> Iterator[list[str]]:
    """Let the role say so, as far as this release knows the settings; give their names."""
    known = {name for (name,) in server.admin("SELECT name FROM pg_settings")}
    names = [name for name in settings if name in known]
    try:
        server.admin(*(f"ALTER ROLE ada SET {name}={settings[name]}" for name in names))
        yield names
    finally:
        server.admin("ALTER ROLE ada RESET ALL")


def kept(number: int) -> KeptRow:
    return KeptRow("w", f"m{number}", f"k{number}", True, b"\\x5c", 1, 1, 1, 1)  # noqa: FBT003 - a column


@pytest.fixture
def connection(recorder: PostgresRecorder) -> Iterator[Connection]:
    """A connection of the store that is nobody else's."""
    connection = recorder._pool.connect(patient=False)
    yield connection
    connection.finish()


class TestWhateverTheRoleSays:
    def test_the_session_is_what_the_store_needs(self, server: PostgresServer, url: str) -> None:
        with said_of_the_role(server, HOSTILE) as names, contextlib.closing(postgres_recorder(url)) as recorder:
            assert {"idle_in_transaction_session_timeout", "synchronous_commit", "search_path"} < set(names)
            with recorder._pool.use() as connection:
                asked = ",".join(f"current_setting('{name}')" for name in names)
                found = dict(zip(names, connection.ask_text(f"SELECT {asked}")[0], strict=True))
        assert {name: found[name] for name in NEEDED if name in names} == {
            name: value for name, value in NEEDED.items() if name in names
        }

    def test_everything_works(self, server: PostgresServer) -> None:
        url = server.url("back\\slash'n\"quote")
        with said_of_the_role(server, HOSTILE), contextlib.closing(postgres_recorder(url)) as recorder:
            lease = recorder.lease("held")
            assert lease is not None
            assert recorder.append([row(1, key="Ä\\")]) == range(1, 2)
            assert recorder.append(rows(3, OTHER)) == range(2, 5)
            assert recorder.find_key(STREAM, "Ä\\")
            with recorder.snapshot() as snapshot:
                assert snapshot._connection is not None
                snapshot._connection.ask_text("SELECT pg_sleep(0.2)")  # longer than the role allows
                assert positions(snapshot.log(0, 10)) == [1, 2, 3, 4]
            assert recorder.write_view("v", 0, 4, 0, [kept(1), kept(2)])
            with recorder.snapshot() as snapshot:
                assert [one.state for one in snapshot.view_rows("v", ["k1", "k2"])] == [b"\\x5c"] * 2
            lease.check()
            lease.close()
        server.admin('DROP SCHEMA "back\\slash\'n""quote" CASCADE')

    def test_a_conflict_costs_no_connection(self, server: PostgresServer, url: str) -> None:
        with said_of_the_role(server, {"exit_on_error": "on"}), contextlib.closing(postgres_recorder(url)) as recorder:
            recorder.append([row(1, key="k")])
            with recorder._pool.use() as connection:
                with pytest.raises(StoreError):
                    connection.ask("append", *row(2, key="k"))
                assert connection.is_idle

    def test_a_row_that_a_policy_hides_is_an_error_and_no_hole(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        schema = schema_of(recorder)
        recorder.append(rows(2))
        server.admin(
            "DROP ROLE IF EXISTS carol",
            "CREATE ROLE carol LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO carol",
            f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO carol",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO carol",
            f"ALTER TABLE {schema}.stored_events ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY hides ON {schema}.stored_events USING (position<>1)",
        )
        with pytest.raises(StoreError, match="does not allow this user"):
            postgres_recorder(server.url(schema).replace("//ada:", "//carol:"))
        server.admin("DROP OWNED BY carol", "DROP ROLE carol")

    def test_a_setting_that_the_release_does_not_know_is_left_out(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "_WANTED", lines._WANTED | {"no_such_setting": "0"})
        with contextlib.closing(postgres_recorder(url)) as recorder:
            recorder.append(rows(1))

    def test_the_server_going_over_to_late_commits_changes_no_open_session(
        self, server: PostgresServer, recorder: PostgresRecorder
    ) -> None:
        recorder.append(rows(1))
        try:
            server.admin("ALTER SYSTEM SET synchronous_commit=off", "SELECT pg_reload_conf()")
            until(lambda: server.admin("SHOW synchronous_commit") == [("off",)])
            recorder.append(rows(1, OTHER))
        finally:
            server.admin("ALTER SYSTEM RESET synchronous_commit", "SELECT pg_reload_conf()")
            until(lambda: server.admin("SHOW synchronous_commit") == [("on",)])

    def test_a_database_closed_to_writers_stays_so(self, server: PostgresServer, url: str) -> None:
        """An administrator closes it so, before the server is moved."""
        postgres_recorder(url).close()
        with (
            said_of_the_role(server, {"default_transaction_read_only": "on"}),
            contextlib.closing(postgres_recorder(url)) as recorder,
            pytest.raises(StoreError, match="look at default_transaction_read_only"),
        ):
            recorder.append(rows(1))


class TestWhoEndsASession:
    """The server's words and the SQLSTATE are told, and nothing of them to a client of a service."""

    def told(self, error: StoreError) -> tuple[object, str]:
        assert error.hint
        assert "Look whether the server is running" not in error.hint
        outside = json.dumps(error.to_dict())
        assert not re.search(r"sqlstate|terminat|models|127\.0\.0\.1", outside)
        found = re.search(r"\((\w{5}): '(.*)'\)\.", error.sentence)
        assert found is not None, error.sentence
        assert error.facts["sqlstate"] == found[1]
        return found[1], found[2]

    @pytest.mark.parametrize("in_transaction", [False, True])
    def test_an_administrator_while_nothing_is_asked(
        self, server: PostgresServer, connection: Connection, *, in_transaction: bool
    ) -> None:
        if in_transaction:
            connection.run("BEGIN")
        server.terminate_backends([connection.pid])
        with pytest.raises(StoreError) as caught:
            connection.ask_text("SELECT 1")
        assert self.told(caught.value) == ("57P01", "terminating connection due to administrator command")
        assert connection.was_lost

    def test_an_administrator_while_a_statement_runs(self, server: PostgresServer, connection: Connection) -> None:
        timer = threading.Timer(0.05, server.admin, [f"SELECT pg_terminate_backend({connection.pid})"])
        timer.start()
        with pytest.raises(StoreError) as caught:
            connection.ask_text("SELECT pg_sleep(20)")
        timer.join()
        assert self.told(caught.value) == ("57P01", "terminating connection due to administrator command")

    def test_an_administrator_while_a_listener_listens(self, server: PostgresServer, connection: Connection) -> None:
        connection.run("LISTEN versioning_test")
        server.terminate_backends([connection.pid])
        with pytest.raises(StoreError) as caught:
            until(lambda: connection.heard(1))
        assert self.told(caught.value) == ("57P01", "terminating connection due to administrator command")

    @pytest.mark.parametrize(
        ("setting", "asked", "expected"),
        [
            ("idle_session_timeout", "SELECT 1", "57P05"),
            ("idle_in_transaction_session_timeout", "BEGIN", "25P03"),
            ("transaction_timeout", "BEGIN", "25P04"),
        ],
    )
    def test_a_time_limit(self, connection: Connection, setting: str, asked: str, expected: str) -> None:
        if not connection.ask_text(f"SELECT FROM pg_settings WHERE name='{setting}'"):
            assert connection.pg.server_version < 17_00_00
            return
        connection.run(f"SET {setting}='1ms'; {asked}")
        until(lambda: not connection.is_alive())
        with pytest.raises(StoreError) as caught:
            connection.ask_text("SELECT 1")
        state, words = self.told(caught.value)
        assert state == expected
        assert words.startswith("terminating connection due to ")

    def test_a_crash(self) -> None:
        with PostgresServer() as mine, contextlib.closing(postgres_recorder(mine.fresh_url())) as recorder:
            connection, other = (recorder._pool.connect(patient=False) for _ in range(2))
            os.kill(other.pid, signal.SIGKILL)
            until(lambda: not connection.is_alive())
            with pytest.raises(StoreError) as caught:
                connection.ask_text("SELECT 1")
            assert self.told(caught.value) == (
                "57P02",
                "terminating connection because of crash of another server process",
            )
            until(lambda: self.works(recorder))

    def works(self, recorder: PostgresRecorder) -> bool:
        try:
            return recorder.head() == 0
        except StoreError:
            return False

    def test_a_server_with_no_connection_left(self, server: PostgresServer, recorder: PostgresRecorder) -> None:
        server.admin("ALTER ROLE ada CONNECTION LIMIT 0")
        try:
            with pytest.raises(StoreError, match="has no connection left") as caught:
                recorder._pool.connect(patient=False)
        finally:
            server.admin("ALTER ROLE ada CONNECTION LIMIT -1")
        assert self.told(caught.value) == ("53300", 'too many connections for role "ada"')

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("//ada:", "//ada:x", ("28P01", 'password authentication failed for user "ada"')),
            ("/models?", "/nothing?", ("3D000", 'database "nothing" does not exist')),
        ],
    )
    def test_who_is_not_let_in(self, server: PostgresServer, old: str, new: str, expected: tuple[str, str]) -> None:
        with pytest.raises(StoreError) as caught:
            postgres_recorder(server.fresh_url(tcp=True).replace(old, new))
        assert self.told(caught.value) == expected


# TLS.


def certificate(folder: Path, name: str, *, signed_by: str | None = None, days: int = 9) -> str:
    """Make a certificate for a name and its key; return its path. An authority signs itself."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = signed_by or name
    signer = key
    if signed_by is not None:
        found = serialization.load_pem_private_key((folder / f"{signed_by}.key").read_bytes(), None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        signer = found
    subject, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, authority))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return str(folder / f"{name}.crt")


class TlsServer:
    """The server of the tests behind real TLS, whether its programs were built with it or not."""

    def __init__(self, server: PostgresServer, certificate: str) -> None:
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, certificate.replace(".crt", ".key"))
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, **options: Any) -> str:  # noqa: ANN401 - text and numbers
        port = self._listening.getsockname()[1]
        return self._server.fresh_url(tcp=True, **options).replace(
            f"127.0.0.1:{self._server.port}/", f"localhost:{port}/"
        )

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listening.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            assert len(client.recv(8)) == 8  # the question whether there is TLS
            client.sendall(b"S")
            with (
                self._context.wrap_socket(client, server_side=True) as near,
                socket.create_connection(("127.0.0.1", self._server.port)) as far,
            ):
                while True:
                    ready = [near] if near.pending() else select.select([near, far], [], [])[0]
                    for one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        (far if one is near else near).sendall(data)

    def close(self) -> None:
        self._listening.close()


class TestTls:
    @pytest.mark.parametrize(
        ("name", "days", "authority", "words"),
        [
            ("localhost", 9, "authority", ""),
            ("localhost", 9, "another", "certificate verify failed"),
            ("localhost", -1, "authority", "certificate verify failed"),
            ("elsewhere", 9, "authority", 'server certificate for "elsewhere" does not match host name "localhost"'),
            ("localhost", 9, "missing", "root certificate file"),
        ],
    )
    def test_what_is_wrong_is_said(  # noqa: PLR0917 - pytest passes them by name
        self, server: PostgresServer, tmp_path: Path, name: str, days: int, authority: str, words: str
    ) -> None:
        certificate(tmp_path, "authority")
        certificate(tmp_path, "another")
        mine = certificate(tmp_path, name, signed_by="authority", days=days)
        with contextlib.closing(TlsServer(server, mine)) as behind:
            url = behind.url(sslmode="verify-full", sslrootcert=tmp_path / f"{authority}.crt")
            if not words:
                with contextlib.closing(postgres_recorder(url)) as recorder:
                    assert recorder.append(rows(2)) == range(1, 3)
                    assert recorder._pool._idle[0].pg.ssl_in_use
                return
            with pytest.raises(StoreError, match="can't be reached by TLS: ") as caught:
                postgres_recorder(url)
        assert words in caught.value.sentence
        assert "sslrootcert" in caught.value.hint
        assert str(tmp_path) not in json.dumps(caught.value.to_dict())

    def test_a_server_without_tls(self, server: PostgresServer) -> None:
        with pytest.raises(StoreError, match="by TLS: 'server does not support SSL, but SSL was required'"):
            postgres_recorder(server.fresh_url(tcp=True, sslmode="require"))
