r"""How does an answer look: a table on a terminal, plain lines in a pipe, JSON, NDJSON, CSV?

The law of this room: **nothing that users wrote reaches a terminal as a control.** Every text goes through `printable`
or `json_text`: control, bidi and escape characters come out as their escapes (`\x1b`, `\u202e`), in every form, also in
a pipe, which may end on a terminal too. Data goes to stdout, all the rest to stderr.

In a pipe a row is a line, and its cells are separated by one tab, without a heading: `cut -f` and `awk -F'\t'` take
that. No cell holds a tab or a line break, since both are escaped. A cell that there is nothing in is empty.

Moments are UTC, in ISO 8601 with a Z. To add a kind of row: a `Kind` here, and what makes such rows.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

import attrs

from versioning.output.rows import csv_lines
from versioning.sentences import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import TextIO

    from versioning.aggregate import Model, Version
    from versioning.output.rows import Cell
    from versioning.projections import UsageLine
    from versioning.reading.diff import Change
    from versioning.reading.replay import Replayed, Transition

Look: TypeAlias = Literal["text", "json", "nl", "csv"]
Row: TypeAlias = Mapping[str, Any]

PROGRESS_AFTER_S: float = 1.0
"""What takes longer than this shows how far it has come."""
LISTED_MAX: Final = 6
"""How many values of a list a table shows."""


# Texts.


def printable(value: object) -> str:
    """Give a value as one line of printable characters; nothing is empty."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return said(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(printable(one) for one in value)
    return plain(value if isinstance(value, str) else json.dumps(value) if isinstance(value, dict) else str(value))


def said(moment: datetime) -> str:
    """Give a moment in UTC, in whole seconds where it is one."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def json_text(value: object, *, indent: int | None = None, is_ascii: bool = False) -> str:
    r"""Give a value as JSON in which every character that is not printable is an escape, such as `\u202e`."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent, default=_plainer)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def _plainer(value: object) -> object:
    return said(value) if isinstance(value, datetime) else str(value)


# What kinds of rows there are.


@attrs.frozen
class Kind:
    """What rows of one kind have."""

    columns: tuple[str, ...]
    """All that JSON and CSV show."""
    shown: tuple[str, ...]
    """What text shows of it."""
    nothing: str = ""
    """What is said on stderr where there are no rows."""


VERSIONS: Final = Kind(
    ("version_id", "model_id", "workspace", "model_name", "number", "stage", "status", "is_primary", "is_billable",
     "role", "artifact_uri", "artifact_digest", "artifact_size_bytes", "artifact_media_type", "deployed_at",
     "deployed_by", "published_at", "activation_id", "waiting_since", "failure", "metadata"),
    ("model_name", "number", "stage", "status", "role", "version_id", "activation_id"),
    "There are no versions.",
)  # fmt: skip
MODELS: Final = Kind(
    ("name", "model_id", "workspace", "primary", "primary_version_id", "active", "billable", "versions", "deployed_at",
     "deleted_at"),
    ("name", "primary", "active", "billable", "model_id"),
    "There are no models.",
)  # fmt: skip
EVENTS: Final = Kind(
    ("position", "timestamp", "workspace", "model_name", "model_id", "sequence", "event", "version_id", "number",
     "what", "before", "after", "role", "previous", "previous_number", "cause", "published", "claims", "activation_id",
     "error", "artifact_uri", "artifact_digest", "metadata", "actor", "reason", "correlation_id", "idempotency_key",
     "command_id", "sentence"),
    ("position", "timestamp", "model_name", "number", "event", "what", "before", "after", "role", "actor", "reason"),
    "There are no events.",
)  # fmt: skip
PREVIEWED: Final = Kind(
    ("event", "model_name", "number", "what", "before", "after", "sentence"),
    ("event", "model_name", "number", "what", "before", "after"),
    "Nothing would be recorded.",
)
REPLAYED: Final = Kind(
    ("position", "timestamp", "model_name", "event", "primary_before", "primary_after", "active_after",
     "billable_after", "sentence"),
    ("position", "timestamp", "primary_before", "primary_after", "sentence"),
    "There are no events.",
)  # fmt: skip
CHANGES: Final = Kind(
    ("model_name", "model_id", "version_id", "number", "what", "before", "after", "sentence"),
    ("model_name", "number", "what", "sentence"),
    "Nothing changed.",
)
USAGE: Final = Kind(
    ("workspace", "model_name", "model_id", "version_id", "number", "stage", "start", "end", "microseconds", "hours",
     "opened_by", "closed_by"),
    ("model_name", "number", "stage", "start", "end", "hours", "opened_by", "closed_by"),
    "Nothing was used.",
)  # fmt: skip
FINDINGS: Final = Kind(
    ("kind", "exit_code", "position", "model_name", "stream", "sequence", "sentence"),
    ("kind", "position", "model_name", "sentence"),
)
CHECKS: Final = Kind(("verdict", "about", "sentence", "hint"), ("verdict", "about", "sentence", "hint"))


def role_of(version: Version) -> str:
    """Give the mark of the version that answers."""
    return "primary" if version.is_primary else ""


def version_row(version: Version) -> Row:
    """Give a version as a row."""
    artifact = version.artifact
    return {
        **{name: getattr(version, name) for name in VERSIONS.columns if hasattr(version, name)},
        "role": role_of(version),
        "artifact_uri": artifact.uri,
        "artifact_digest": artifact.digest,
        "artifact_size_bytes": artifact.size_bytes,
        "artifact_media_type": artifact.media_type,
    }


def model_row(model: Model) -> Row:
    """Give a model as a row; versions by their numbers."""
    return {
        "name": model.name,
        "model_id": model.model_id,
        "workspace": model.workspace,
        "primary": None if model.primary is None else model.primary.number,
        "primary_version_id": None if model.primary is None else model.primary.version_id,
        "active": [version.number for version in model.active],
        "billable": [version.number for version in model.billable],
        "versions": [version.number for version in model.versions],
        "deployed_at": model.deployed_at,
        "deleted_at": model.deleted_at,
    }


def event_row(flat: Row, step: Transition, role: str = "") -> Row:
    """Give an event as a row, with what it made of what."""
    return {**flat, "number": step.number, "what": step.what, "before": step.before, "after": step.after, "role": role}


def previewed_row(step: Transition) -> Row:
    """Give an event that would be recorded as a row."""
    return {
        "event": type(step.recorded.event).__name__,
        "model_name": step.recorded.model_name,
        "number": step.number,
        "what": step.what,
        "before": step.before,
        "after": step.after,
        "sentence": step.sentence,
    }


def replayed_row(step: Replayed) -> Row:
    """Give an event with what was so before and after it as a row."""
    primaries = [
        None if one is None or one.primary is None else one.primary.number for one in (step.before, step.after)
    ]
    after = None if step.after is None else model_row(step.after)
    return {
        "position": step.recorded.position,
        "timestamp": step.recorded.timestamp,
        "model_name": step.recorded.model_name,
        "event": type(step.recorded.event).__name__,
        "primary_before": primaries[0],
        "primary_after": primaries[1],
        "active_after": after["active"] if after else [],
        "billable_after": after["billable"] if after else [],
        "sentence": step.sentence,
    }


def change_row(change: Change) -> Row:
    """Give a change between two pasts as a row."""
    return {name: getattr(change, name) for name in CHANGES.columns}


def usage_row(line: UsageLine) -> Row:
    """Give a line of a bill as a row."""
    return {**attrs.asdict(line), "hours": hours(line.microseconds)}


def hours(microseconds: int) -> str:
    """Give a length in hours, to be read; the exact one is in microseconds."""
    return f"{microseconds / 3_600_000_000:.4f}"


# The looks.


class Stage:
    """Where answers appear: stdout for data, stderr for all the rest."""

    def __init__(self, look: Look = "text") -> None:
        """Look at what stdout and stderr are."""
        self.look = look
        self.is_terminal = sys.stdout.isatty()
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "").replace("_", "")
        self._is_ascii = encoding != "utf8"
        self.arrow = "->" if self._is_ascii else "→"

    def write(self, text: str) -> None:
        """Write a line that is safe already."""
        sys.stdout.write(f"{text}\n")

    def tell(self, *sentences: str) -> None:
        """Say something beside the data."""
        for sentence in sentences:
            sys.stderr.write(f"{plain(sentence)}\n")

    def json(self, value: object, *, lines: bool = False) -> None:
        """Write one JSON document, or one line of several."""
        self.write(json_text(value, indent=None if lines else 2, is_ascii=self._is_ascii))

    def problem(self, value: object) -> None:
        """Write JSON to stderr."""
        sys.stderr.write(json_text(value, is_ascii=True) + "\n")

    def rows(self, kind: Kind, rows: Iterable[Row], *, footer: str = "") -> None:
        """Write rows, in the form that was asked for; they come as they are taken."""
        if self.look == "json":
            self.json([whole(kind, row) for row in rows])
        elif self.look == "nl":
            for row in rows:
                self.json(whole(kind, row), lines=True)
        elif self.look == "csv":
            sys.stdout.write(",".join(kind.columns) + "\n")
            for line in _without_header(csv_lines(map(_cells, (whole(kind, row) for row in rows)))):
                sys.stdout.write(line)
        elif self.is_terminal:
            self._table(kind, list(rows), footer)
        else:
            for row in rows:
                self.write("\t".join(printable(row[name]) for name in kind.shown))

    def record(self, kind: Kind, row: Row, **more: object) -> None:
        """Write one thing, with all that is known of it."""
        if self.look in {"nl", "csv"}:
            self.rows(kind, [{**row, **more}])
        elif self.look == "json":
            self.json({**whole(kind, row), **more})
        else:
            given = {**whole(kind, row), **more}
            width = max(len(name) for name in given) + 2 if self.is_terminal else 0
            for name, value in given.items():
                self.write(f"{name:<{width}}{printable(value)}".rstrip() if width else f"{name}\t{printable(value)}")

    def _table(self, kind: Kind, rows: Sequence[Row], footer: str) -> None:
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
        """Write lines of a terminal, each of texts and their styles."""
        rich_text = importlib.import_module("rich.text")
        for line in lines:
            text = rich_text.Text.assemble(*((plain(one), style) for one, style in line))
            console(sys.stdout).print(text, soft_wrap=True)


def _shortened(value: object) -> object:
    """Say a long list by its ends, where a table would grow over many lines."""
    if isinstance(value, list) and len(value) > LISTED_MAX:
        return [*value[:2], "…", value[-1], f"({len(value)})"]
    return value


def whole(kind: Kind, row: Row) -> dict[str, Any]:
    """Give all that is known of a row, in the order of its kind."""
    return {name: row[name] for name in kind.columns}


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
    """Give the style of a cell: words of ours have one, whatever users wrote has none."""
    return _STYLES.get(cell, "") if column in {"role", "status", "stage", "verdict", "after"} else ""


def console(stream: TextIO) -> Any:  # noqa: ANN401 - of an extra that is imported where a terminal is
    """Give what draws on a terminal; without any colour or style where NO_COLOR or a dumb terminal says so."""
    plainly = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    how = {"highlight": False, "markup": False, "emoji": False, "legacy_windows": False, "force_terminal": True}
    color = {"color_system": None} if plainly else {}
    return importlib.import_module("rich.console").Console(file=stream, **how, **color)


class Progress:
    """Shows on a terminal's stderr how far something has come, once it takes longer than a second."""

    def __init__(self) -> None:
        """Show nothing yet."""
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
        """Take note of how far it has come."""
        if self._bar is None:
            if time.monotonic() < self._until_s or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
                return
            self._bar = importlib.import_module("rich.progress").Progress(console=console(sys.stderr), transient=True)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(plain(what), total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)
