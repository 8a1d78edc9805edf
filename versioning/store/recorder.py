"""What stores on SQL share: how they are asked, how views are kept, how followers wait.

The law of this room: **a question is a name, and its statement stands in `sql/`**, under the same name for every
engine. What is the same for all engines is written here once. An engine adds `ask`, `spans` and `view_session`, and of
the contract `append`, `now_us`, `snapshot`, `waiter`, `close`, `path` and `leaves_gaps`.

To add a question: its statement in each file of `sql/`, and its method here and in `contract.py`.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol

from versioning.errors import ReadOnlyError, StoreError
from versioning.limits import INTEGER_MAX
from versioning.store import contract
from versioning.store.contract import LIVE, KeptRow, ViewPosition
from versioning.store.format import stored_link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from versioning.store.contract import LogRow, RowFilter, StoreWarning, TailRow


def statements(engine: str) -> dict[str, str]:
    """Return the statements of an engine by name, without their comments and without the semicolon at the end."""
    text = resources.files(__package__).joinpath("sql", f"{engine}.sql").read_text()
    _, *parts = re.split(r"^-- name: (\w+)\n(?:--.*\n)+", text, flags=re.MULTILINE)
    return {name: statement.strip().removesuffix(";") for name, statement in zip(parts[::2], parts[1::2], strict=True)}


class WouldWaitError(Exception):
    """Somebody else holds a lock, and the caller did not want to wait for it."""


class Session(Protocol):
    """A transaction that changes kept views."""

    def ask(self, name: str, *values: object) -> list[Any]:
        """Run a statement, and return its rows."""

    def keep(self, view: int, rows: Sequence[KeptRow]) -> None:
        """Keep rows of a view; of several with one key, the last one."""


class Snapshot(contract.Snapshot):
    """The log and the kept views as of one moment; an engine defines how they are asked."""

    def __init__(self, end: int = INTEGER_MAX) -> None:
        """Start; rows behind the position `end` are not seen."""
        self._end = end
        self._views: dict[str, tuple[int, int, int, bytes] | None] = {}

    @abstractmethod
    def ask(self, name: str, *values: object) -> list[Any]:
        """Run a statement that only reads, and return its rows.

        Raises:
            StoreError: the snapshot has ended, or anything else.
        """

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> object:
        """Return a list of texts in the form that statements take."""

    @abstractmethod
    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        """Return the values that the statement `ranges` takes."""

    def row(self, position: int) -> LogRow | None:
        rows: list[LogRow] = self.ask("log", position - 1, position, 1)
        return rows[0] if rows else None

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        return self.ask("ranges", *self.spans(spans))

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        if after >= self._end:
            return []
        return self.ask("log", after, self._end if upto is None else min(upto, self._end), limit)

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        end = self._end if upto is None else min(upto, self._end)
        return self.ask("tails", self.texts(streams), *after, end, limit)

    def _view(self, name: str) -> tuple[int, int, int, bytes] | None:
        if name not in self._views:
            found = self.ask("view", name)
            self._views[name] = found[0] if found else None
        return self._views[name]

    def view_position(self, name: str) -> ViewPosition | None:
        found = self._view(name)
        return None if found is None else ViewPosition(*found[1:])

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        found = self._view(name)
        if found is None or not keys:
            return []
        return _kept(self.ask("view_rows", found[0], self.texts(keys)))

    def view_page(
        self, name: str, workspace: str, among: RowFilter, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        found = self._view(name)
        if found is None:
            return []
        values = (found[0], workspace, *after, INTEGER_MAX if limit is None else limit, *among)
        if among[2:] == LIVE[2:]:
            return _kept(self.ask("page_live", *values[:7]))
        return _kept(self.ask("page", *values))


def snapshot_ended(where: str) -> StoreError:
    """Return the error of a snapshot that was asked after its end; `where` names the database."""
    return StoreError(f"{where} was asked through a snapshot that has ended.", hint="Take another one.")


def _kept(rows: list[Any]) -> list[KeptRow]:
    return [KeptRow._make(row) for row in rows]  # in SQLite live is 0 or 1, which is as good


class Waiter(contract.Waiter):
    """A waiter that looks again and again; an engine defines what it looks at and how it pauses."""

    def __init__(self) -> None:
        """Start."""
        self.closed = False

    @abstractmethod
    def look(self) -> bool:
        """Return whether something may have been recorded since the last look that said so."""

    @abstractmethod
    def pause(self, left_s: float) -> None:
        """Wait for a moment, at most this long, and return soon when the waiter is closed."""

    def wait(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self.closed:
            if self.look():
                return True
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self.pause(left_s)
        return False

    def close(self) -> None:
        self.closed = True


def read_only(where: str) -> ReadOnlyError:
    """Return the error of a store that is only read; `where` names the database."""
    return ReadOnlyError(f"{where} was opened with read_only, so nothing is written to it.")


class Recorder(contract.Store):
    """A store on SQL. Docstrings of its methods stand in `contract.py`."""

    read_only: bool = False

    @property
    def lags(self) -> bool:
        return False

    @abstractmethod
    def ask(self, name: str, *values: object) -> list[Any]:
        """Run a statement that only reads, and return its rows."""

    @abstractmethod
    def spans(self, spans: Mapping[str, tuple[int, int]]) -> Sequence[object]:
        """Return the values that the statement `ranges` takes."""

    @abstractmethod
    def view_session(self, *names: str, waits: bool) -> AbstractContextManager[Session]:
        """Return a transaction that alone changes the views of these names; it is committed unless the block raises.

        Raises:
            WouldWaitError: somebody else holds a lock, and `waits` is false.
        """

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        return self.ask(
            "tail", stream, after, INTEGER_MAX if upto is None else upto, INTEGER_MAX if limit is None else limit
        )

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        return self.ask("ranges", *self.spans(spans))

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        return self.ask("log", after, INTEGER_MAX if upto is None else upto, limit)

    def ids(self) -> list[str]:
        return [found for (found,) in self.ask("ids")]

    def add_id(self, new: str) -> None:
        with self.view_session("store_ids", waits=True) as session:
            session.ask("add_id", new)

    def head(self) -> int:
        position: int
        ((position,),) = self.ask("head")
        return position

    def find_key(self, stream: str, key: str) -> TailRow | None:
        rows: list[TailRow] = self.ask("find_key", stream, key)
        return rows[0] if rows else None

    def notice_other_writer(self) -> None:
        pass

    def warnings(self) -> tuple[StoreWarning, ...]:
        return ()

    def write_view(
        self,
        name: str,
        expected_position: int,
        new_position: int,
        latest_us: int,
        rows: Sequence[KeptRow],
        *,
        link: bytes = b"",
    ) -> bool:
        try:
            with self.view_session(name, waits=False) as session:
                found = session.ask("view", name)
                if (found[0][1] if found else 0) != expected_position:
                    return False
                if link and not _is_in_log(session, new_position, link):
                    return False
                if not found:
                    session.ask("new_view", name)
                    found = session.ask("view", name)
                view = found[0][0]
                if rows:
                    session.keep(view, rows)
                session.ask("move_view", view, new_position, latest_us, link)
        except WouldWaitError:
            return False
        return True

    def swap_view(self, beside: str, name: str) -> None:
        with self.view_session(beside, name, waits=True) as session:
            if session.ask("view", beside):
                _drop(session, name)
                session.ask("name_view", beside, name)

    def drop_view(self, name: str) -> None:
        with self.view_session(name, waits=True) as session:
            _drop(session, name)


def _is_in_log(session: Session, position: int, link: bytes) -> bool:
    """Return whether the log still has what was read: an older copy may have taken its place meanwhile."""
    rows = session.ask("log", position - 1, position, 1)
    return bool(rows) and stored_link(rows[0][-1]) == link


def _drop(session: Session, name: str) -> None:
    session.ask("drop_rows", name)
    session.ask("drop_view", name)
