"""What every store can do, and the rows that go in and out.

The law of this room: **the rest of the library knows a store by these protocols and by nothing else**, so that every
store gives the same answers; `test_store.py` holds them to it.

To add a store: a file with a recorder, its line in `opening.py`, and its line in the tests' STORES. One that speaks SQL
gets most of it from `recorder.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from versioning.limits import INTEGER_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

TailRow: TypeAlias = tuple[int, int, str, bytes]
"""Position, sequence, topic and state of a row of one stream."""
LogRow: TypeAlias = tuple[int, str, int, str, bytes]
"""Position, stream, sequence, topic and state of a row of any stream."""


class Row(NamedTuple):
    """A row to append."""

    stream: str
    sequence: int
    topic: str
    state: bytes
    key: str | None = None
    """Idempotency key, on the first row of an append that has one."""


class KeptRow(NamedTuple):
    """A row of a kept view."""

    workspace: str
    model_name: str
    key: str
    live: bool
    state: bytes
    first_position: int = 0
    first_us: int = 0
    """Moment of the first event that the row holds; `first_position` is its position."""
    last_position: int = 0
    last_us: int = 0
    """Moment of the last event that the row holds; `last_position` is its position."""


class RowFilter(NamedTuple):
    """Rows of a kept view that could be live at a point: started by then, and still live or changed since."""

    upto_position: int = INTEGER_MAX
    upto_us: int = INTEGER_MAX
    """Latest moment of the first event; `upto_position` is its latest position."""
    behind_position: int = INTEGER_MAX
    behind_us: int = INTEGER_MAX
    """Bounds for a row that is no longer live: its last event is later than one of these two."""


LIVE: Final = RowFilter()
EVERY: Final = RowFilter(behind_position=-1)
LAST_KEY: Final = "~"
"""Key behind every other, so that with a model's name it is the place behind all rows of the model."""


class ViewPosition(NamedTuple):
    """How far a kept view has read the log."""

    position: int
    latest_us: int
    """Latest timestamp among the events read."""


class StoreWarning(NamedTuple):
    """Something that an operator should know about a store."""

    about: str
    """What it is about: `store`, or the name of the database engine."""
    sentence: str
    hint: str


class AppendConflict(Exception):  # noqa: N818 - no error: somebody else was first, so the tail is read and decided again
    """The stream has an event at this sequence, or the idempotency key, already; nothing was recorded."""


class Snapshot(Protocol):
    """The log and the kept views as of one moment."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Return the rows at the positions `after` < position <= `upto`, oldest first."""

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        """Return rows of these streams up to a position, ordered by stream and sequence, from behind that pair."""

    def view_position(self, name: str) -> ViewPosition | None:
        """Return how far a kept view has read the log, or None if it is not there."""

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        """Return the rows with these keys, as far as they are there."""

    def view_page(
        self, name: str, workspace: str, among: RowFilter, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        """Return rows of a workspace from behind a model's name and key, ordered by both, by code points."""


class Waiter(Protocol):
    """What a follower waits with."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until something may have been recorded since the last call, and return whether that is so."""

    def close(self) -> None:
        """End it, also from another thread; calling it again does nothing."""


class Store(Protocol):
    """The log, the index of idempotency keys and the kept views."""

    path: Path | None
    """File of the store, where it is one: contents of artifacts lie beside it."""
    leaves_gaps: bool
    """Whether what was rolled back leaves positions without a row."""

    def append(self, rows: Sequence[Row]) -> range:
        """Record all rows or none, and return their positions.

        Raises:
            AppendConflict: somebody else was first, or the key was used; nothing was recorded.
            StoreError: anything else; whether it was recorded may not be known.
        """

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        """Return the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first."""

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Return rows of several streams, each from behind one sequence up to another, stream by stream."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Return the rows at the positions `after` < position <= `upto`, oldest first."""

    def head(self) -> int:
        """Return the position of the last row, 0 if there is none."""

    def find_key(self, stream: str, key: str) -> TailRow | None:
        """Return the first row of the append that has this idempotency key, if there is one."""

    def now_us(self) -> int:
        """Return the time of those who share the store, in microseconds since 1970."""

    def notice_other_writer(self) -> None:
        """Take note that another connection writes, in case that is worth a warning."""

    def warnings(self) -> tuple[StoreWarning, ...]:
        """Return what an operator should know about this store."""

    def waiter(self) -> Waiter:
        """Return what a follower waits with; it notices what is recorded from here on."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return the log and the kept views as of one moment, whatever is recorded meanwhile."""

    def write_view(
        self, name: str, expected_position: int, new_position: int, latest_us: int, rows: Sequence[KeptRow]
    ) -> bool:
        """Keep rows and the position that they bring the view to, both or neither, and return whether that was done.

        It is not done if it would mean waiting, or if the view is not at the expected position (0: it is not there).
        """

    def swap_view(self, beside: str, name: str) -> None:
        """Give a view that was built under another name this name; what had the name is dropped."""

    def drop_view(self, name: str) -> None:
        """Drop the view of this name, if there is one."""

    def close(self) -> None:
        """End it, also from another thread; calling it again does nothing, anything else is a StoreError."""
