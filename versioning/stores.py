"""Which store a URL means, and what every store can do.

The law of this room: the registry, the views and the questions know a store by the protocols here and by nothing else,
so that they give the same answers on each. To add one: a room with a recorder, and its line in `open_store`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from versioning.sqlite import open_recorder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from versioning.persistence import KeptRow, LogRow, Row, TailRow, ViewPosition


class Snapshot(Protocol):
    """The log and the kept views as of one moment."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]: ...

    def view_position(self, name: str) -> ViewPosition | None: ...

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]: ...

    def view_page(
        self,
        name: str,
        workspace: str,
        after_model_name: str,
        limit: int | None,
        live_only: bool,  # noqa: FBT001 - one question
    ) -> list[KeptRow]: ...


class Waiter(Protocol):
    """What a follower waits with."""

    def wait(self, timeout_s: float) -> bool: ...

    def close(self) -> None: ...


class Store(Protocol):
    """The log, the index of idempotency keys and the kept views; each method says in `sqlite.py` what it promises."""

    path: Path | None
    """The file, where it is one: contents of artifacts lie beside it."""

    def append(self, rows: Sequence[Row]) -> range: ...

    def tail(self, stream: str, after: int, upto: int | None = None) -> list[TailRow]: ...

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]: ...

    def head(self) -> int: ...

    def find_key(self, stream: str, key: str) -> TailRow | None: ...

    def now_us(self) -> int: ...

    def notice_other_writer(self) -> None: ...

    def waiter(self) -> Waiter: ...

    def snapshot(self) -> AbstractContextManager[Snapshot]: ...

    def write_view(
        self, name: str, expected_position: int, new_position: int, latest_us: int, rows: Sequence[KeptRow]
    ) -> bool: ...

    def swap_view(self, beside: str, name: str) -> None: ...

    def drop_view(self, name: str) -> None: ...

    def close(self) -> None: ...


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
    if isinstance(place, str) and place.startswith(("postgresql:", "postgres:")):
        postgres = importlib.import_module("versioning.postgres")
        return cast("Store", postgres.PostgresRecorder.open(place))
    return open_recorder(place)
