r"""How does an answer look: a table on a terminal, plain lines in a pipe, JSON, NDJSON, CSV?

The law of this room: **nothing that users wrote reaches a terminal as a control.** Every text goes through `printable`
or `json_text`: control, bidi and escape characters come out as their escapes (`\x1b`, `\u202e`), in every form, and
in a pipe too, because a pipe may end on a terminal. Data goes to stdout, everything else to stderr.

In a pipe, a row is a line of cells separated by one tab, without a heading, as `cut -f` and `awk -F'\t'` expect. No
cell contains a tab or a line break, because both are escaped. A cell without a value is empty.

Moments are UTC, in ISO 8601 with a Z. To add a form: an option in `options.py`, and a branch of `Stage.rows`.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import textwrap
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from versioning.errors import InvalidArgumentError, RefusedError
from versioning.events import rfc3339
from versioning.output.rows import csv_lines
from versioning.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import TextIO

    from versioning.cli.rows import Kind, Row, Shown
    from versioning.events import Recorded
    from versioning.output.rows import Cell

Look: TypeAlias = Literal["text", "json", "nl", "csv"]

PROGRESS_AFTER_S: float = 1.0
"""Longest time without a progress bar."""
LISTED_MAX: Final = 6
"""Largest number of values of a list that a table shows in full."""
TOLD_EVENTS: Final = 1_000
"""Number of events between two updates of the progress bar."""


# Texts.


def printable(value: object) -> str:
    """Return a value as one line of printable characters; None is the empty text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(printable(one) for one in value)
    return plain(value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else str(value))


def json_text(value: object, *, indent: int | None = None, is_ascii: bool = False) -> str:
    r"""Return a value as JSON in which every character that is not printable is an escape, such as `\u202e`."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


# The forms.


class Stage:
    """Place where answers appear: stdout for data, stderr for everything else."""

    def __init__(self, look: Look = "text") -> None:
        """Inspect stdout: whether it is a terminal, and its encoding."""
        self.look = look
        self.is_terminal = sys.stdout.isatty()
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").replace("_", "")
        self._is_ascii = encoding != "utf8"
        self.arrow = "->" if self._is_ascii else "→"

    def write(self, text: str) -> None:
        """Write a line that is already safe."""
        sys.stdout.write(f"{text}\n")

    def paragraphs(self, text: str) -> None:
        """Write paragraphs of our own; on a terminal they are wrapped, except where they are indented."""
        width = shutil.get_terminal_size().columns if self.is_terminal else sys.maxsize
        parts = text.split("\n\n")
        self.write("\n\n".join(one if one.startswith(" ") else textwrap.fill(one, width) for one in parts))

    def tell(self, *sentences: str) -> None:
        """Write sentences beside the data."""
        for sentence in sentences:
            sys.stderr.write(f"{plain(sentence)}\n")

    def confirm(self, question: str, refused: str) -> None:
        """Ask a question, and go on only if the answer is yes.

        Raises:
            RefusedError: the answer is no.
            InvalidArgumentError: nobody can answer.
        """
        self.tell(f"{question} [y/N]")
        sys.stderr.flush()
        answer = sys.stdin.readline()
        if not answer:
            msg = "Nobody answered the question."
            raise InvalidArgumentError(msg, hint="Add --yes where nobody can answer.", argument="yes")
        if answer.strip().casefold() not in {"y", "yes"}:
            raise RefusedError(refused, hint="Nothing was changed.")

    def json(self, value: object, *, lines: bool = False) -> None:
        """Write one JSON document, or one line of many."""
        self.write(json_text(value, indent=None if lines else 2, is_ascii=self._is_ascii))

    def problem(self, value: object) -> None:
        """Write a problem document to stderr."""
        sys.stderr.write(json_text(value, is_ascii=True) + "\n")

    def rows(self, kind: Kind[Shown], values: Iterable[Shown], *, footer: str = "") -> None:
        """Write values in the form asked for, one by one as they arrive."""
        if self.look == "json":
            self.json([kind.to_dict(value) for value in values])
        elif self.look == "nl":
            for value in values:
                self.json(kind.to_dict(value), lines=True)
        elif self.look == "csv":
            sys.stdout.write(",".join(kind.columns) + "\n")
            for line in _without_header(csv_lines(map(_cells, map(kind.row, values)))):
                sys.stdout.write(line)
        elif self.is_terminal:
            self._table(kind, [kind.cells(value) for value in values], footer)
        else:
            for row in map(kind.cells, values):
                self.write("\t".join(printable(row[name]) for name in kind.shown))

    def one(self, kind: Kind[Shown], value: Shown) -> None:
        """Write one value; as text, as a table with one row."""
        if self.look == "json":
            self.json(kind.to_dict(value))
        else:
            self.rows(kind, [value])

    def record(self, kind: Kind[Shown], value: Shown) -> None:
        """Write one value; as text, with a line for each column."""
        if self.look != "text":
            self.one(kind, value)
            return
        cells = kind.row(value)
        width = max(len(name) for name in cells) + 2 if self.is_terminal else 0
        for name, cell in cells.items():
            self.write(f"{name:<{width}}{printable(cell)}".rstrip() if width else f"{name}\t{printable(cell)}")

    def _table(self, kind: Kind[Any], rows: Sequence[Row], footer: str) -> None:
        if not rows:
            self.tell(kind.nothing)
            return
        rich_table, rich_text = importlib.import_module("rich.table"), importlib.import_module("rich.text")
        table = rich_table.Table(box=None, pad_edge=False, header_style="bold")
        wide = [name for name in kind.shown if any(printable(row[name]) for row in rows)]
        for name in wide:
            is_number = name == "hours" or all(isinstance(row[name], int | None) for row in rows)
            justify = "right" if is_number else "left"
            table.add_column(name.replace("_", " "), overflow="fold", justify=justify)
        for row in rows:
            cells = ((name, printable(_shortened(row[name]))) for name in wide)
            table.add_row(*(rich_text.Text(cell, style=style_of(name, cell)) for name, cell in cells))
        drawing = console(sys.stdout)
        with drawing.capture() as drawn:
            drawing.print(table)
        self.write("\n".join(line.rstrip() for line in drawn.get().splitlines()))
        if footer:
            self.write(footer)

    def block(self, *lines: Sequence[tuple[str, str]]) -> None:
        """Write lines to a terminal; each consists of texts and their styles."""
        rich_text = importlib.import_module("rich.text")
        for line in lines:
            text = rich_text.Text.assemble(*((plain(one), style) for one, style in line))
            console(sys.stdout).print(text, soft_wrap=True)


def _shortened(value: object) -> object:
    """Shorten a long list to its ends, so that a table row stays short."""
    if isinstance(value, list) and len(value) > LISTED_MAX:
        return [*value[:2], "…", value[-1], f"({len(value)})"]
    return value


def _cells(row: Row) -> dict[str, Cell]:
    return {name: value if isinstance(value, str | int | float) else printable(value) for name, value in row.items()}


def _without_header(lines: Iterator[str]) -> Iterator[str]:
    next(lines, None)
    return lines


_STYLES: Final[Mapping[str, str]] = {
    "primary": "bold green", "activating": "yellow", "inactive": "dim", "deleted": "red", "draft": "dim",
    "warn": "yellow", "fail": "bold red", "ok": "green",
}  # fmt: skip


def style_of(column: str, cell: str) -> str:
    """Return the style of a cell; only words of ours have one, never what users wrote."""
    return _STYLES.get(cell, "") if column in {"role", "status", "stage", "verdict", "after"} else ""


def console(stream: TextIO) -> Any:  # noqa: ANN401 - a class of an extra, imported only for a terminal
    """Return what draws on a terminal, without colours and styles if NO_COLOR or a dumb terminal asks for that."""
    plainly = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    how = {"highlight": False, "markup": False, "emoji": False, "legacy_windows": False, "force_terminal": True}
    color: dict[str, Any] = {"color_system": None} if plainly else {}
    color["width"] = shutil.get_terminal_size().columns  # rich would take COLUMNS=0 for a width
    return importlib.import_module("rich.console").Console(file=stream, **how, **color)


class Progress:
    """Progress bar on a terminal's stderr, for whatever takes longer than a second."""

    def __init__(self) -> None:
        """Start the clock, and show nothing yet."""
        self._until_s = time.monotonic() + PROGRESS_AFTER_S
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps are finished."""
        if self._bar is None:
            if time.monotonic() < self._until_s or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
                return
            self._bar = importlib.import_module("rich.progress").Progress(console=console(sys.stderr), transient=True)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(plain(what), total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)


def watched(events: Iterable[Recorded], what: str, last: int) -> Iterator[Recorded]:
    """Yield events, and show how far the reading has come."""
    with Progress() as progress:
        for count, recorded in enumerate(events):
            if count % TOLD_EVENTS == 0:
                progress(what, recorded.position, last)
            yield recorded
