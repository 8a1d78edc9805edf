"""Which store a URL means, and what every store can do.

The law of this room: the registry, the views and the questions know a store by the protocols here and by nothing else,
so that they give the same answers on each. To add one: a room with a recorder, and its line in `open_store`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol, cast

from versioning.store import sqlite
from versioning.store.sqlite import open_recorder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from versioning.store.format import Among, KeptRow, LogRow, Row, TailRow, ViewPosition


class Snapshot(Protocol):
    """The log and the kept views as of one moment."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        """Give rows of these streams up to a position, in the order of streams and sequences, from behind a place."""

    def view_position(self, name: str) -> ViewPosition | None:
        """Say how far a kept view has come, if there is one."""

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        """Give the rows of these keys, those that are there."""

    def view_page(
        self, name: str, workspace: str, among: Among, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        """Give rows of a workspace behind a model's name and a key, in the order of both, by code points."""


class Waiter(Protocol):
    """What a follower waits with."""

    def wait(self, timeout_s: float) -> bool:
        """Say whether something may have been recorded since the last call; wait for it at most so long."""

    def close(self) -> None:
        """End it, also from another thread; a second time is fine."""


class Store(Protocol):
    """The log, the index of idempotency keys and the kept views."""

    path: Path | None
    """The file, where it is one: contents of artifacts lie beside it."""
    leaves_gaps: bool
    """Whether what was rolled back leaves positions without a row."""

    def append(self, rows: Sequence[Row]) -> range:
        """Record all rows or none; give their positions, or raise AppendConflict where somebody else was first."""

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        """Give the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first, `limit` at most."""

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Give the rows of several streams, each at its sequences after the one and up to the other, by streams."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Give the rows at the positions `after` < position <= `upto`, oldest first."""

    def head(self) -> int:
        """Give the position of the last row, 0 where there is none."""

    def find_key(self, stream: str, key: str) -> TailRow | None:
        """Give the first row of the append with this idempotency key, if there is one."""

    def now_us(self) -> int:
        """Give the time of those who share the store, in microseconds since 1970."""

    def notice_other_writer(self) -> None:
        """Take note that another connection writes."""

    def waiter(self) -> Waiter:
        """Give what a follower waits with."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Give the log and the kept views as of one moment, whatever is recorded meanwhile."""

    def write_view(
        self, name: str, expected_position: int, new_position: int, latest_us: int, rows: Sequence[KeptRow]
    ) -> bool:
        """Keep rows and the position that they make the view reach, together; False where that would mean waiting."""

    def swap_view(self, beside: str, name: str) -> None:
        """Let a view that was built under another name take this name."""

    def drop_view(self, name: str) -> None:
        """Keep nothing under this name any more."""

    def close(self) -> None:
        """End it, also from another thread; a second time is fine."""


def open_store(place: str | Path) -> Store:
    """Open the store that a URL or a path means; PostgreSQL's room is imported for its URLs only.

    Args:
        place: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host/database`,
            percent-decoded and with the options that `sqlite.py` and `postgres.py` name, or a Path to a SQLite file.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the store can't be opened.
        NewerFormatError: a newer release wrote it.
    """
    if isinstance(place, str):
        place = str.__str__(place)
    if is_postgres(place):
        return cast("Store", _postgres().PostgresRecorder.open(place))
    return open_recorder(place)


def holds_store(place: str | Path) -> bool:
    """Say whether `open_store` would find a store there, rather than make one; nothing is made.

    Raises:
        InvalidArgumentError: it has another form.
        StoreError: the database can't be reached.
        NewerFormatError: a newer release wrote it.
    """
    return bool(_postgres().holds_store(place)) if is_postgres(place) else sqlite.holds_store(place)


def is_postgres(place: str | Path) -> bool:
    """Say whether a place is the URL of a PostgreSQL database."""
    return isinstance(place, str) and place.startswith(("postgresql:", "postgres:"))


def _postgres() -> Any:  # noqa: ANN401 - a module of an extra
    return importlib.import_module("versioning.store.postgres")
