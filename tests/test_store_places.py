"""Which store a place means: a URL with its options, or a Path; and what no error repeats of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.sqlite_tools import writer
from tests.stores import rows, settings_of
from versioning.errors import InvalidArgumentError
from versioning.ids import stream_of
from versioning.store.opening import location_of, open_store
from versioning.store.sqlite import SQLiteRecorder


class TestFiles:
    @pytest.mark.parametrize(
        ("place", "durability", "timeout_ms"),
        [
            ("sqlite:///x.db", 2, 5_000),
            ("sqlite:///x.db?", 2, 5_000),
            ("sqlite:///x.db?durability=commit", 2, 5_000),
            ("sqlite:///x.db?durability=checkpoint&timeout_s=0.25", 1, 250),
            ("sqlite:///x.db?timeout_s=86400", 2, 86_400_000),
        ],
    )
    def test_a_url_of_a_file_has_options(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, durability: int, timeout_ms: int
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with contextlib.closing(open_store(place)) as recorder:
            assert isinstance(recorder, SQLiteRecorder)
            assert recorder.path == tmp_path / "x.db"
            assert writer(recorder).execute("PRAGMA synchronous").fetchone() == (durability,)
            assert writer(recorder).execute("PRAGMA busy_timeout").fetchone() == (timeout_ms,)

    def test_a_memory_has_no_path(self) -> None:
        with contextlib.closing(open_store("memory:")) as recorder:
            assert recorder.path is None

    @pytest.mark.parametrize(
        "place",
        [
            "",
            " ",
            "models.db",
            "/abs/models.db",
            "memory",
            "memory:x",
            "memory:?timeout_s=1",
            "memory:?clock_skew_max_s=",
            "memory:?clock_skew_max_s=-1",
            "memory:?clock_skew_max_s=None",
            "memory:?clock_skew_max_s=1e3",
            "memory:?clock_skew_max_s=1000000001",
            "memory:?clock_skew_max_s=1&clock_skew_max_s=none",
            "memory://?clock_skew_max_s=1",
            "sqlite:///x.db?clock_skew_max_s=nan",
            "postgresql://h/d?clock_skew_max_s=inf",
            "MEMORY:",
            "sqlite:",
            "sqlite:x.db",
            "sqlite://x.db",
            "sqlite://user:secret@host/x.db",
            "sqlite:///",
            "sqlite:///?timeout_s=1",
            "sqlite:///:memory:",
            "sqlite:///%3Amemory%3A",
            "sqlite:///a#b",
            "sqlite:///a%",
            "sqlite:///a%zz",
            "sqlite:///a%00b",
            "sqlite:///a\0b",
            "sqlite:///a%ff",
            "sqlite:///a\ud800",
            "sqlite:///a?timeout_s=%ff",
            "sqlite:///a?timeout_s=0",
            "sqlite:///a?timeout_s=-1",
            "sqlite:///a?timeout_s=nan",
            "sqlite:///a?timeout_s=1e3",
            "sqlite:///a?timeout_s=86401",
            "sqlite:///a?timeout_s=1&timeout_s=1",
            "sqlite:///a?durability=none",
            "sqlite:///a?durability=",
            "sqlite:///a?password=secret",
            "sqlite:///a?mode=memory",
            "sqlite:///a?&",
            "mysql://user:secret@host/db",
            "user:secret@host",
            "file:///x.db",
            "\ud800:secret",
            "\0",
            ":" * 10_000,
            None,
            7,
            b"memory:",
            Path("a\0b"),
            Path("a\ud800"),
        ],
    )
    def test_another_form_is_refused_and_no_password_is_shown(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        place: Any,  # noqa: ANN401 - of any type
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(InvalidArgumentError) as caught:
            open_store(place)
        assert "secret" not in f"{caught.value} {caught.value.to_dict()}"
        assert caught.value.hint
        assert len(str(caught.value)) < 500
        assert str(caught.value).encode()
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing was made

    @pytest.mark.parametrize(
        "name",
        ["a?b.db", "a?mode=memory", "a#b", "a%20b", "a b", "größe", ":memory:", "file:x", "'q\"", "a&b;c", "%", "\n"],
    )
    def test_a_path_is_taken_literally(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        places: list[Path | str] = [tmp_path / name, Path(name), f"sqlite:///{tmp_path}/{quote(name)}"]
        if name != ":memory:":  # as a relative URL it is refused
            places.append(f"sqlite:///{quote(name)}")
        monkeypatch.chdir(tmp_path)
        for count, place in enumerate(places, 1):
            with contextlib.closing(open_store(place)) as recorder:
                monkeypatch.chdir("/")  # what was relative stays where it was
                assert recorder.append(rows(1, stream_of("", str(count))))[-1] == count
                assert recorder.head() == count
                assert recorder.path == tmp_path / name
                monkeypatch.chdir(tmp_path)
            assert os.listdir(tmp_path) == [name]  # noqa: PTH208 - names, whatever a path makes of them


class TestDatabases:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("postgresql://h/d", {"host": "h", "dbname": "d"}),
            ("postgres://h:1234/d", {"host": "h", "port": "1234", "dbname": "d"}),
            ("postgresql://u:p%40%2F%3A%25@h/d", {"user": "u", "password": "p@/:%"}),
            ("postgresql://u:a:b@c@h/d", {"user": "u", "password": "a:b@c", "host": "h"}),
            ("postgresql://[::1]:5432/d", {"host": "::1", "port": "5432"}),
            ("postgresql:///d?host=%2Frun%2Fx&sslmode=disable", {"host": "/run/x", "sslmode": "disable"}),
            ("postgresql://u:it's%20%5C@h/d", {"password": "it's \\"}),
        ],
    )
    def test_all_parts_are_percent_decoded(self, url: str, expected: dict[str, str]) -> None:
        settings = settings_of(url)
        given = psycopg.conninfo.conninfo_to_dict(settings.conninfo.text)
        assert {name: given[name] for name in expected} == expected
        assert settings.schema == "versioning"
        assert (settings.connections, settings.connect_timeout_s) == (3, 5.0)

    def test_there_are_options(self) -> None:
        options = "schema=a%20b&connections=7&connect_timeout_s=1.5&lock_timeout_s=2&statement_timeout_s=0.25"
        settings = settings_of(f"postgresql://h/d?{options}&application_name=mine")
        assert settings[2:] == ("a b", 7, 1.5, 2.0, 0.25, False)
        assert "application_name='mine'" in settings.conninfo.text

    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("postgresql:h/d", "begins with postgresql://"),
            ("mysql://h/d", "is not one of a store"),
            ("postgresql://h", "names no database"),
            ("postgresql://h/", "names no database"),
            ("postgresql://h/d/e", "where none can be"),
            ("postgresql://h/d#x", "where none can be"),
            ("postgresql://u:hunter2/x@h/d", "where none can be"),
            ("postgresql://u:hun?ter2@h/d", "where none can be"),
            ("postgresql://u:hunter2#@h/d", "where none can be"),
            ("postgresql://u:hunter2?schema=x", "no host and port"),
            ("postgresql://u:hunter2/d", "no host and port"),
            ("postgresql://h:123456/d", "no host and port"),
            ("postgresql://h,i/d", "no host and port"),
            ("postgresql://h/d%", "not percent-encoded"),
            ("postgresql://h/%FF", "not percent-encoded"),
            ("postgresql://h/d%00", "not percent-encoded"),
            ("postgresql://u:%0Ahunter2@h/d", "not percent-encoded"),
            ("postgresql://h/d?host=i", "names the host twice"),
            ("postgresql://h/d?schema=", "the option schema"),
            ("postgresql://h/d?schema", "the option schema"),
            ("postgresql://h/d?schemas=x", "the option schemas"),
            ("postgresql://h/d?options=-c%20x", "the option options"),
            ("postgresql://h/d?password=hunter2", "the option password"),
            ("postgresql://h/d?HUNTER2=x", "has an option, which is not known"),
            ("postgresql://h/d?&", "has an option, which is not known"),
            ("postgresql://h/d?schema=a&schema=b", "given twice"),
            ("postgresql://h/d?schema=pg_x", "does not begin with pg_"),
            ("postgresql://h/d?schema=information_schema", "does not begin with pg_"),
            ("postgresql://h/d?schema=" + "%C3%9C" * 32, "at most 63 bytes"),
            *(
                ("postgresql://h/d?lock_timeout_s=" + text, "is a time in seconds")
                for text in ("0", "-1", "1e3", "86401")
            ),
            *(("postgresql://h/d?connections=" + text, "is a number from 1 to 999") for text in ("0", "x", "1000")),
        ],
    )
    def test_another_form_is_refused_and_no_password_is_shown(self, url: str, expected: str) -> None:
        with pytest.raises(InvalidArgumentError, match=expected) as caught:
            location_of(url)
        assert not any(secret in str(caught.value).lower() for secret in ("hunter2", "ter2", "hun"))
        assert caught.value.facts == {"argument": "url"}
