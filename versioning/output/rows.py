"""The log as flat rows for data frames, and as CSV for a spreadsheet.

The law of this room: **what comes out is safe where it is opened.** Every row has the same columns, each of one type,
and no value is missing. A cell of CSV is never a formula, and shows no control or bidi character.

Moments are aware UTC. To add a column: a line in `flat_row`, with a value for every event.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from versioning.events import NothingChanged, PrimaryCleared, VersionActivationFailed, VersionDeployed, VersionPromoted
from versioning.sentences import plain, sentence_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from versioning.events import Recorded

Scalar: TypeAlias = str | int | bool | datetime
Cell: TypeAlias = Scalar | float | None

FORMULA_OPENINGS: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - the wide ones are what is meant
"""Characters that make a spreadsheet read a text as a formula, even after white space."""


def flat_row(recorded: Recorded, number_of: Callable[[str], str | None]) -> dict[str, Scalar]:
    """Return an event as one row: all rows have the same columns, each of one type; an absent text is empty."""
    event = recorded.event
    deployed = event if isinstance(event, VersionDeployed) else None
    previous, version_id = getattr(event, "previous", None) or "", recorded.version_id or ""
    return {
        "position": recorded.position,
        "timestamp": recorded.timestamp,
        "workspace": recorded.workspace,
        "model_name": recorded.model_name,
        "model_id": recorded.model_id,
        "sequence": recorded.sequence,
        "event": type(event).__name__,
        "version_id": version_id,
        "number": (number_of(version_id) or "") if version_id else "",
        "previous": previous,
        "previous_number": (number_of(previous) or "") if previous else "",
        "cause": event.cause if isinstance(event, VersionPromoted | PrimaryCleared) else "",
        "command": event.command if isinstance(event, NothingChanged) else "",
        "published": getattr(event, "published", False),
        "claims": getattr(event, "claims", False),
        "activation_id": getattr(event, "activation_id", None) or "",
        "error": event.error if isinstance(event, VersionActivationFailed) else "",
        "artifact_uri": deployed.artifact.uri if deployed else "",
        "artifact_digest": (deployed.artifact.digest or "") if deployed else "",
        "metadata": deployed.metadata if deployed else "{}",
        "actor": recorded.actor or "",
        "reason": recorded.reason or "",
        "correlation_id": recorded.correlation_id or "",
        "idempotency_key": recorded.idempotency_key or "",
        "command_id": recorded.command_id,
        "bookmark": recorded.bookmark,
        "sentence": sentence_of(recorded, number_of, named=True),
    }


def csv_lines(rows: Iterable[Mapping[str, Cell]]) -> Iterator[str]:
    """Return flat rows as the lines of a CSV file that is safe to open in a spreadsheet, the header first.

    All rows must have the same columns. A text that a spreadsheet would read as a formula gets an apostrophe in front,
    and unprintable characters become their escapes.
    """
    header: list[str] | None = None
    for row in rows:
        if header is None:
            header = list(row)
            yield _line(header)
        yield _line(row[name] for name in header)


def _line(cells: Iterable[Cell]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return line.getvalue()


def _cell(cell: Cell) -> str:
    if isinstance(cell, datetime):
        return cell.isoformat()
    if not isinstance(cell, str):
        return "" if cell is None else str(cell)
    text = plain(cell)
    return f"'{text}" if text.lstrip().startswith(FORMULA_OPENINGS) else text
