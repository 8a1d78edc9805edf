"""Which store a URL means, and what every store can do.

The law of this room: the registry, the views and the questions know a store by the protocols here and by nothing else,
so that they give the same answers on each. To add one: a room with a recorder, and its line in `open_store`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from versioning.store import sqlite
from versioning.store.sqlite import open_recorder

if TYPE_CHECKING:
    from pathlib import Path

    from versioning.store.contract import Store


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
