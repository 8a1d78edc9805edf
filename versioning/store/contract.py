"""What every store can do, and the rows that go in and out.

The law of this room: **the rest of the library knows a store by these protocols and by nothing else**, so that every
store gives the same answers; `test_store.py` holds them to it.

To add a store: a file with its recorder beside `sqlite.py` and `postgres.py`, its line in `opening.py`, and its line in
`tests/stores.py`; then `test_store.py` says what is missing. A store on SQL gets most of its methods from
`recorder.py`, and its statements stand in `sql/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from versioning.limits import INTEGER_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
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
    follows: bytes | None = None
    """Link, as a state holds it, of the row that must stand right before this one in the stream.

    It is None for the first row of a stream, and for a row that stands behind another one of the same append.
    """


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
"""Key that sorts behind every other; with a model's name it is the place behind all rows of the model."""


class ViewPosition(NamedTuple):
    """How far a kept view has read the log."""

    position: int
    latest_us: int
    """Latest timestamp among the events read."""
    link: bytes = b""
    """Link, as its state holds it, of the row at the position."""


class StoreWarning(NamedTuple):
    """Something that an operator should know about a store."""

    about: str
    """Subject of the warning: `store`, or the name of the database engine."""
    sentence: str
    hint: str


class AppendConflict(Exception):  # noqa: N818 - no error: somebody else was first, so the tail is read and decided again
    """Nothing was recorded: the stream does not end with the row that was to be followed, or has this key already."""


class Snapshot(Protocol):
    """The log and the kept views as of one moment."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Return the rows at the positions `after` < position <= `upto`, oldest first."""

    def tails(self, streams: Sequence[str], after: tuple[str, int], limit: int, upto: int | None) -> list[LogRow]:
        """Return rows of these streams up to a position, by stream and sequence, from behind such a pair."""

    def row(self, position: int) -> LogRow | None:
        """Return the row at a position, even if it is not settled yet, or None if there is none."""

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Return rows of several streams, each from behind one sequence up to another, stream by stream."""

    def view_position(self, name: str) -> ViewPosition | None:
        """Return how far a kept view has read the log, or None if it is not there."""

    def view_rows(self, name: str, keys: Sequence[str]) -> list[KeptRow]:
        """Return the rows with these keys; a key without a row is left out."""

    def view_page(
        self, name: str, workspace: str, among: RowFilter, after: tuple[str, str] = ("", ""), limit: int | None = None
    ) -> list[KeptRow]:
        """Return rows of a workspace from behind a model's name and key, ordered by both, by code points."""


class Waiter(Protocol):
    """What a follower waits with."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until something may have been recorded since the last call, and return whether that is so."""

    def close(self) -> None:
        """Stop waiting; any thread may call this, and again without effect."""


class Lease(Protocol):
    """A right that one holder at a time has. It ends with its holder, however that ends."""

    def check(self) -> None:
        """Raise StoreError if it was lost."""

    def close(self) -> None:
        """Release it."""


class Store(Protocol):
    """The log, the index of idempotency keys and the kept views."""

    path: Path | None
    """File of the store, or None if it is no file. Contents of artifacts lie beside it."""
    leaves_gaps: bool
    """Whether an append that is rolled back leaves positions without a row."""
    read_only: bool
    """Whether nothing is written: whatever would is a ReadOnlyError, and kept views stay as they are."""

    @property
    def lags(self) -> bool:
        """Return whether this is a copy that may be behind the log to which others append."""

    def append(self, rows: Sequence[Row]) -> range:
        """Record all rows or none, and return their positions; whether each row `follows` is part of the same step.

        Raises:
            AppendConflict: somebody else was first, what a row follows is not there, or the key was used.
            StoreError: anything else; whether it was recorded may not be known.
        """

    def tail(self, stream: str, after: int, upto: int | None = None, limit: int | None = None) -> list[TailRow]:
        """Return the rows of a stream at the sequences `after` < sequence <= `upto`, oldest first, `limit` at most."""

    def ranges(self, spans: Mapping[str, tuple[int, int]]) -> list[LogRow]:
        """Return rows of several streams, each from behind one sequence up to another, stream by stream."""

    def log(self, after: int, limit: int, upto: int | None = None) -> list[LogRow]:
        """Return the rows at the positions `after` < position <= `upto`, oldest first."""

    def ids(self) -> list[str]:
        """Return the ids of this store, each of 32 hexadecimal digits: its own, and one for each folder it adopted.

        Copies of a store have its ids.
        """

    def add_id(self, new: str) -> None:
        """Add an id to those of the store."""

    def head(self) -> int:
        """Return the position of the last row, 0 if there is none."""

    def find_key(self, stream: str, key: str) -> TailRow | None:
        """Return the first row of the append that has this idempotency key, if there is one."""

    def now_us(self) -> int:
        """Return the time that all who share the store agree on, in microseconds since 1970."""

    def notice_other_writer(self) -> None:
        """Note that another connection writes to the store; some engines log a warning."""

    def warnings(self) -> tuple[StoreWarning, ...]:
        """Return what an operator should know about this store."""

    def waiter(self) -> Waiter:
        """Return something for a follower to wait with. It notices what is recorded from here on."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Return the log and the kept views as of one moment, for a `with` block, whatever is recorded meanwhile."""

    def copy_to(self, file: Path, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Write all that the store holds, as of one moment, to an empty file, which is then a store.

        Args:
            file: the file; it is not synced.
            progress: called with "backup", how much is written, and how much there is.

        Raises:
            InvalidArgumentError: this engine has a tool of its own for that.
            StoreError: the file can't be written.
        """

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
        """Keep rows of a view and its new position, both or neither, and return whether that was done.

        It is not done if it would mean waiting, if the view is not at the expected position, or if the log does not
        have the row with this link at the new one. A view that is not there is at position 0.
        """

    def swap_view(self, beside: str, name: str) -> None:
        """Rename the view `beside` to `name`, in place of the view that had that name."""

    def drop_view(self, name: str) -> None:
        """Drop the view of this name, if there is one."""

    def lease(self, name: str) -> Lease | None:
        """Take the one right of this name; return None if somebody else has it, in this process or in another one."""

    def close(self) -> None:
        """Close the store; any thread may call this, and again without effect. Any other call is then a StoreError."""
