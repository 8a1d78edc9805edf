"""What every store can do, and the rows that go in and out.

The law of this room: the rest of the library knows a store by these protocols and by nothing else, so that every store
gives the same answers. To add a store: a file with a recorder, its line in
`opening.py`, and its line in the tests' STORES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

INTEGER_MAX: Final = 2**63 - 1

TailRow: TypeAlias = tuple[int, int, str, bytes]
"""Position, sequence, topic and state of a row of one stream."""
LogRow: TypeAlias = tuple[int, str, int, str, bytes]
"""Position, stream, sequence, topic and state."""


class Row(NamedTuple):
    """What is appended."""

    stream: str
    sequence: int
    topic: str
    state: bytes
    key: str | None = None
    """The idempotency key, on the first row of an append that has one."""


class KeptRow(NamedTuple):
    """A row of a kept view."""

    workspace: str
    model_name: str
    key: str
    live: bool
    state: bytes
    first_position: int = 0
    first_us: int = 0
    """Of the first event that it holds: its position and its moment."""
    last_position: int = 0
    last_us: int = 0
    """Of the last one."""


class Among(NamedTuple):
    """Which rows of a kept view a question needs: those that begin early enough, and are live or go on late enough."""

    upto_position: int = INTEGER_MAX
    upto_us: int = INTEGER_MAX
    """The first event lies up to here."""
    behind_position: int = INTEGER_MAX
    behind_us: int = INTEGER_MAX
    """Of a row that is not live, the last event lies behind the one or the other."""


LIVE: Final = Among()
EVERY: Final = Among(behind_position=-1)
LAST_KEY: Final = "~"
"""Behind every key, so that with a model's name it is the place behind all rows of the model."""


class ViewPosition(NamedTuple):
    """How far a kept view has come."""

    position: int
    latest_us: int
    """The latest timestamp that it has seen."""


class AppendConflict(Exception):  # noqa: N818 - no error: somebody else was first, so the tail is read and decided again
    """The stream has an event at this sequence, or the idempotency key, already; nothing was recorded."""


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
