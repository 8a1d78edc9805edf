"""Verification: whether anybody has touched the log, and where.

The law of this room: **what is reported is there, and what could not be proven is said in words.** Nothing is written,
nothing is repaired, and a log that nobody touched never gives a finding.

`Verifier` scans the log once (`scan`), comparing each kept view at the position up to which it has come. Streams that
are broken are handed to `diagnose`, and checkpoints are compared with the heads that the scan remembered. What finds
which kind:

| kind | the chains and the kept views alone | only a checkpoint that covers the row |
|---|---|---|
| changed | any row | its stream's last row, where its link was made anew |
| swapped | contents or sequences of any two rows, positions in a stream or an append | positions of two streams |
| missing | any row before another of its stream, or in SQLite of the log | its stream's last, others moved up |
| doubled | any row | its stream's last row, where its link was made anew |
| truncated | the end of an append, what a kept view has seen | any row |
| rewritten | a stream that does not belong to its name, an append that is not whole, what breaks a rule | any row |
| unreadable | any row | |
| view | any kept row of this workspace that a replay does not give | |
| ahead | any event that lies further ahead of now than clocks may differ (R23) | |

The last one is no tampering: some clock was wrong. It is reported behind all that is.

Rows that no chain explains are located by the marks of a checkpoint: to the row in logs of up to 1,000 rows, in longer
ones to a thousandth of the log.

Findings in other workspaces are reported by position only (R27).

To add a kind of finding: a name in `Kind`, an exit code in the command line, and a way to tamper in the tests.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from versioning.aggregate import ModelAggregate
from versioning.audit.checkpoints import head_line
from versioning.audit.diagnose import Fault, Kind, diagnose
from versioning.audit.scan import LogScan
from versioning.errors import CorruptLogError, StoreError, shown
from versioning.events import Value, moment_of, rfc3339
from versioning.ids import is_stream, stream_in
from versioning.limits import INTEGER_MAX
from versioning.reading.kept import pages_of
from versioning.reading.views import LEDGERS, MODELS, VIEWS, View
from versioning.sentences import plain
from versioning.store.contract import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from versioning.audit.checkpoints import Checkpoint, Progress, Stop
    from versioning.store.contract import KeptRow, LogRow, Snapshot, Store, ViewPosition

DIAGNOSED_MAX: Final = 100_000
"""Number of rows in broken streams that are diagnosed one by one; beyond it, only the first fault is reported."""
FINDINGS_MAX: Final = 1_000
"""Number of findings in a report; of more, only their number is reported."""
SAID_MAX: Final = 10
"""Number of positions that a sentence names."""
DIFFERENT_MAX: Final = 20
"""Number of differing rows of a kept view that are reported one by one."""
CANDIDATES_MAX: Final = 1_000
"""Number of rows that are tried in the place of the first one that a checkpoint does not know."""
_NOT_UTF_8: Final = "contains text that is not UTF-8"


@attrs.frozen
class Finding(Value):
    """One thing that is wrong with the log, and where."""

    kind: Kind
    """What was done: one of nine words, such as "changed" or "missing"."""
    sentence: str
    """The finding in words."""
    position: int | None = None
    """Position of the row; for a missing row, where it stood or the row that it stood before, if known."""
    stream: str | None = None
    """Stream of the row, if known and in this workspace."""
    sequence: int | None = None
    """Sequence of the row in its stream, if known."""
    model_name: str | None = None
    """Name of the model, if known and in this workspace."""


@attrs.frozen
class Verification(Value):
    """The result of reading every row again."""

    position: int
    """Position of the last row read."""
    count: int
    """Number of rows read."""
    findings: tuple[Finding, ...]
    """Everything that was found, in the order of positions."""
    not_proven: tuple[str, ...]
    """Sentences about what may still be wrong although it was not found."""

    _MEMBERS: ClassVar[tuple[str, ...]] = ("ok", "position", "count", "findings", "not_proven")

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


class Verifier:
    """One verification: scans the log from one snapshot and collects what it finds."""

    def __init__(
        self,
        store: Store,
        snapshot: Snapshot,
        workspace: str,
        checkpoints: Sequence[Checkpoint],
        believed_us: int = INTEGER_MAX,
    ) -> None:
        """Start before the first row; what is later than `believed_us` is reported."""
        stops = {one.position for one in checkpoints} | {mark[0] for one in checkpoints for mark in one.marks}
        self._store = store
        self._snapshot = snapshot
        self._workspace = workspace
        self._checkpoints = checkpoints
        self._log = LogScan(store, snapshot, workspace, stops, believed_us)
        self._findings: list[Finding] = []
        self._left_out = 0
        self._seen_further: dict[str, tuple[int, str]] = {}
        """Streams that a kept row knows further than the log does: the last sequence seen, and the model's name."""
        self._different: dict[str, list[tuple[str, Finding]]] = {}
        """Differing rows of each kept view, with their streams."""
        self._not_proven: list[str] = []
        self._altered: set[int] = set()
        """Positions of faults that explain why the head is not the one that a checkpoint has seen."""

    def run(self, *, is_signed: bool, with_views: bool, progress: Progress | None) -> Verification:
        """Scan, compare, and return what was found."""
        log = self._log
        kept = [(view, self._snapshot.view_position(view.name)) for view in VIEWS if with_views]
        if not with_views:
            self._not_proven.append("The kept views were not compared with a replay, as requested.")
        views = sorted(((view, at) for view, at in kept if at is not None), key=lambda one: one[1].position)
        log.keeps_ledgers = any(view is LEDGERS for view, _ in views)
        for view, at in views:
            log.read_upto(at.position, progress)
            self._check_view(view, at)
            log.keeps_ledgers &= view is not LEDGERS
        log.read_upto(INTEGER_MAX, progress)
        log.head.end()
        self._report_views()
        self._find_faults()
        self._check_heads()
        self._report_ahead()
        self._note_unchecked(is_signed=is_signed)
        findings = sorted(self._findings, key=lambda one: (one.position is None, one.position or 0))
        return Verification(log.head.position, log.head.count, tuple(findings), tuple(self._not_proven))

    def _add(self, finding: Finding) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)
        else:
            self._left_out += 1

    def _report(self, fault: Fault) -> None:
        """Add a finding about a row; about one of another workspace, its position only (R27)."""
        kind, said, position, stream, sequence, alters = fault
        if position is not None and alters:
            self._altered.add(position)
        scanned = None if stream is None else self._log.streams.get(stream)
        at = "" if position is None else f"At position {position}, "
        if scanned is not None and not scanned.is_ours:
            self._add(Finding(kind, _sentence(f"{at}a row of another workspace is {kind}."), position))
            return
        name = None if scanned is None else scanned.name
        known = stream if is_stream(stream) else None
        number = sequence if type(sequence) is int else None  # a column of SQLite holds whatever somebody put there
        what = "a row" if number is None else f"event {number}"
        of = f" of {plain(name)}" if name is not None else f" of the stream {known}" if known else ""
        self._add(Finding(kind, _sentence(f"{at}{what}{of} {said}."), position, known, number, name))

    # Kept views.

    def _check_view(self, view: View[Any], at: ViewPosition) -> None:
        """Compare a kept view, now that the scan has reached its position."""
        log = self._log
        if log.position < at.position and not self._snapshot.log(log.position, 1, None):
            if self._store.head() < at.position:
                said = f"The kept view {view.name} has seen events up to position {at.position}, but the log ends at"
                self._add(Finding("truncated", f"{said} {log.position}: its end was cut off.", log.position + 1))
            self._not_proven.append(f"The kept view {view.name} was not compared: it is ahead of the log.")
            return
        if at.latest_us != log.latest_us and not log.broken and not log.undecodable:
            said = (
                f"The latest moment in the kept view {view.name} is not that of the log up to position {at.position}."
            )
            self._add(Finding("view", said, at.position))
        expected = self._states(view)
        try:
            for page in pages_of(self._snapshot, view.name, self._workspace, EVERY):
                for row in page:
                    self._compare(view, at.position, row, expected.pop(row.key, None))
        except (StoreError, CorruptLogError) as error:
            self._add(Finding("view", f"The kept view {view.name} can't be read: {error.sentence}", at.position))
            return
        for key in expected:
            self._differ(view, at.position, key, "is missing")

    def _states(self, view: View[Any]) -> dict[str, Any]:
        """Return what a replay gives for each key of a view, in the streams of this workspace that are not broken."""
        streams = self._log.streams
        if view is MODELS:
            states = {one: scanned.state for one, scanned in streams.items() if scanned.state is not None}
            for stream, state in states.items():
                scanned = streams[stream]
                state.end_folding()
                state.link, state.first_position, state.position = (
                    scanned.link,
                    scanned.first_position,
                    scanned.position,
                )
            return states
        return {
            one: ledger for one, ledger in self._log.ledgers.items() if streams[_stream_of(view, one)].state is not None
        }

    def _compare(self, view: View[Any], position: int, row: KeptRow, state: Any) -> None:  # noqa: ANN401 - whatever the view keeps
        """Compare a kept row with what a replay gives; where the log itself is wrong, that is reported instead."""
        if state is not None and row == view.row(row.key, state):
            return
        stream = _stream_of(view, row.key)
        scanned = self._log.streams.get(stream)
        if stream in self._log.broken or (scanned is not None and scanned.state is None):
            return
        try:
            seen = view.read(row)
        except StoreError:
            self._differ(view, position, row.key, "can't be read")
            return
        if view is MODELS and seen.stream == stream and seen.sequence > (scanned.sequence if scanned else 0):
            self._seen_further[stream] = seen.sequence, row.model_name
        if state is None:
            self._differ(view, position, row.key, "belongs to nothing in the log")
        elif not _is_same(view, row, seen, state):
            self._differ(view, position, row.key, "is not what a replay of the log gives")

    def _differ(self, view: View[Any], position: int, key: str, said: str) -> None:
        stream = _stream_of(view, key)
        scanned = self._log.streams.get(stream)
        of = shown(key) if scanned is None else plain(scanned.name) + ("" if key == stream else f" ({key})")
        place = (None, None, None) if scanned is None else (stream, scanned.sequence, scanned.name)
        finding = Finding("view", f"In the kept view {view.name}, the row of {of} {said}.", position, *place)
        self._different.setdefault(view.name, []).append((stream, finding))

    def _report_views(self) -> None:
        """Report the kept rows that differ; where a kept row has seen a later event, the log was cut off."""
        for stream, (sequence, name) in self._seen_further.items():
            scanned = self._log.streams.get(stream)
            number = scanned.sequence + 1 if scanned else 1
            if sequence >= number:
                said = f"Event {number} of {plain(name)} is missing, although the kept view {MODELS.name} has seen it"
                said += ": the end of its stream was cut off."
                self._add(Finding("truncated", said, None, stream, number, name))
                self._log.broken.add(stream)
        for name, found in self._different.items():
            reported = [finding for stream, finding in found if stream not in self._log.broken]
            for finding in reported[:DIFFERENT_MAX]:
                self._add(finding)
            if len(reported) > DIFFERENT_MAX:
                said = f"In the kept view {name}, {len(reported) - DIFFERENT_MAX:,} more rows differ."
                self._add(Finding("view", said, reported[0].position))

    # What the rows show.

    def _find_faults(self) -> None:
        """Report what was done to broken streams, and to the order of the log."""
        log = self._log
        for fault in log.faults:
            self._report(fault)
        reported: set[int] = set()
        if log.broken:
            diagnosis = diagnose(
                self._rows_to_diagnose(), [*log.gaps, *(range(one, one + 1) for one in log.undecodable)]
            )
            reported = diagnosis.gaps_reported
            for fault in diagnosis.faults:
                if fault.kind == "missing" and fault.position in log.undecodable:
                    self._report(fault._replace(kind="unreadable", said=_NOT_UTF_8))
                else:
                    self._report(fault)
            if diagnosis.unproven:
                some = ", ".join(str(position) for position in diagnosis.unproven[:SAID_MAX])
                some += " …" if len(diagnosis.unproven) > SAID_MAX else ""
                self._not_proven.append(
                    f"At positions {some} nothing is left to check the rows against: they may have been changed too."
                )
        for position in log.undecodable:
            if position not in reported:
                self._report(Fault("unreadable", _NOT_UTF_8, position, None, None))
        self._check_appends(reported | set(log.undecodable))
        if not self._store.leaves_gaps:
            places = sorted(reported)
            for gap in log.gaps:
                self._report_gap(gap, places[bisect_left(places, gap.start) : bisect_left(places, gap.stop)])

    def _rows_to_diagnose(self) -> Iterator[LogRow]:
        """Return the rows of broken streams; where there are too many, report only where the others break."""
        log, chosen, count = self._log, set[object](), 0
        known = sorted(
            (one for one in log.broken if one in log.streams), key=lambda one: log.streams[str(one)].broke_at
        )
        for stream in [*known, *(log.broken - log.streams.keys())]:
            scanned = log.streams.get(str(stream))
            count += scanned.sequence if scanned else 1
            if count <= DIAGNOSED_MAX:
                chosen.add(stream)
            elif scanned is not None and scanned.broke_at:
                self._report(
                    Fault("changed", "does not follow from the one before it", scanned.broke_at, str(stream), None)
                )
        for position, stream in log.unreadable.items():
            if stream not in chosen:
                self._report(Fault("unreadable", "can't be read", position, None, None))
        return log.rows_of(chosen)

    def _check_appends(self, reported: set[int]) -> None:
        """Report appends that do not stand in one piece; in broken streams, that is reported already."""
        log = self._log
        orphaned = {
            (one.stream, one.command_id, one.place): one for one in log.orphaned if one.stream not in log.broken
        }
        for row in [*log.unfinished, *([log.order.open] if log.order.open else [])]:
            place = row.position + 1
            if row.stream in log.broken or place in reported:
                continue
            found = orphaned.pop((row.stream, row.command_id, row.place + 1), None)
            if found is not None:
                self._report(
                    Fault("swapped", "stands in the middle of an append that it does not belong to", place, None, None)
                )
                self._report(Fault("swapped", "stands apart from the rest of its append", *found[:3]))
            else:
                kind: Kind = "truncated" if row.position == log.position else "missing"
                said = "is missing, although it was recorded together with the one before it"
                self._report(Fault(kind, said, place, row.stream, row.sequence + 1))
            reported.add(place)
        for one in orphaned.values():
            self._report(Fault("rewritten", "continues an append that is not there", *one[:3]))

    def _report_gap(self, gap: range, reported: list[int]) -> None:
        """Report positions without a row, except those that are reported already; a gap may be of any length."""
        for first, place in zip(
            [gap.start, *(position + 1 for position in reported)], [*reported, gap.stop], strict=True
        ):
            if first < place:
                upto = "" if first == place - 1 else f", and so are all up to position {place - 1}"
                self._report(Fault("missing", f"is missing{upto}", first, None, None))

    def _report_ahead(self) -> None:
        """Report events that lie too far ahead of now, which says that some clock was wrong (R23)."""
        log, reported = self._log, {one.position for one in self._findings}
        for position, stream, sequence, at_us, actor in log.ahead:
            if position in reported:
                continue
            by = "" if actor is None else f", by {plain(actor)}"
            said = f"is of {rfc3339(moment_of(at_us))}{by}, which lies too far ahead of now: some clock was wrong"
            self._report(Fault("ahead", said, position, stream, sequence, alters=False))
        if log.ahead_unkept:
            said = f"{log.ahead_unkept:,} more events up to position {log.ahead_upto} lie too far ahead of now."
            self._add(Finding("ahead", said, log.ahead[-1].position))

    # Checkpoints.

    def _check_heads(self) -> None:
        """Compare the heads of the log with those in the checkpoints."""
        head, proven = self._log.head, 0
        if self._checkpoints and head.position < self._checkpoints[-1].position:
            last = self._checkpoints[-1]
            until = f"a checkpoint of {last.moment.isoformat()} has seen position {last.position}"
            said = f"The log ends at position {head.position}, but {until}: its end was cut off."
            self._add(Finding("truncated", said, head.position + 1))
        for checkpoint in self._checkpoints:
            divergence = self._divergence(checkpoint, proven)
            if divergence is not None:
                self._report_divergence(checkpoint, *divergence)
                proven = divergence[0].position
                break
            places = (checkpoint.position, *(position for position, _ in checkpoint.marks))
            proven = max(place for place in (proven, *places) if place <= head.position)
        self._note_uncovered(proven)

    def _divergence(self, checkpoint: Checkpoint, proven: int) -> tuple[Stop, tuple[int, str]] | None:
        """Return where log and checkpoint last agree, and the first mark that differs; None where they agree."""
        stops = self._log.head.stops
        whole = (checkpoint.position, checkpoint.head)
        if checkpoint.position <= self._log.head.position and stops[checkpoint.position].head == checkpoint.head:
            return None
        good = stops.get(proven, self._log.head.start)
        for mark in [*checkpoint.marks, whole]:
            if good.position < mark[0] <= self._log.head.position:
                stop = stops[mark[0]]
                if stop.position != mark[0] or not stop.head.startswith(mark[1]):
                    return good, mark
                good = stop
        return None

    def _report_divergence(self, checkpoint: Checkpoint, good: Stop, mark: tuple[int, str]) -> None:
        """Report what lies between the last mark that agrees and the first one that does not."""
        high = mark[0]
        if any(good.position < position <= high for position in self._altered):
            return  # that explains it
        rows = self._snapshot.log(good.position, CANDIDATES_MAX, None)
        between = [row for row in rows if row[0] <= high]
        if not between or (len(between) < len(rows) and between[-1][0] != high):
            self._report(Fault("missing", "is missing, although a checkpoint has seen it", high, None, None))
            return
        position, stream, sequence = between[0][:3]
        if len(between) == 1:
            for row in rows[1:]:
                if good.head_with(head_line((high, *row[1:]))).startswith(mark[1]):
                    self._report(
                        Fault("swapped", "stands where a checkpoint has seen another row", position, stream, sequence)
                    )
                    self._report(Fault("swapped", f"stood at position {high} when a checkpoint was taken", *row[:3]))
                    return
        fewer = checkpoint.count - self._log.head.stops[checkpoint.position].count
        kind: Kind = "rewritten"
        said = "is not what a checkpoint has seen there"
        if fewer and checkpoint.position <= self._log.head.position:
            kind = "missing" if fewer > 0 else "doubled"
            said += ": rows were removed, and others moved up" if fewer > 0 else ": rows were inserted"
        if len(between) > 1:
            said = f"or a later row up to position {high} {said}"
        self._report(Fault(kind, said, position, stream, sequence))

    # In words.

    def _note_uncovered(self, proven: int) -> None:
        """Add what the chains alone can't prove about rows that no checkpoint covers."""
        behind = self._log.head.position > proven
        if self._checkpoints and not behind:
            return
        whose = f"For the rows after position {proven}" if self._checkpoints else "Without a checkpoint"
        self._not_proven.append(
            f"{whose}, three things are not proven: that nobody added, changed or removed a row and then recomputed all"
            " later links of its stream; that neither a stream nor the log was cut off at its end; and that rows of"
            " different streams stand in their original order."
        )

    def _note_unchecked(self, *, is_signed: bool) -> None:
        """Add what was not checked."""
        if self._left_out:
            self._not_proven.insert(0, f"{self._left_out:,} more findings are left out here.")
        if self._checkpoints and not is_signed:
            self._not_proven.append(
                "The signature of the checkpoint was not checked, because no public key was given: it proves as much as"
                " the place where it was kept."
            )
        if any(not scanned.is_ours for scanned in self._log.streams.values()):
            self._not_proven.append("In other workspaces, only the chains were checked, not the kept views.")
        self._not_proven.append(
            "The contents of artifacts were not read: loading them compares them with their digests."
        )


def verify(
    store: Store,
    workspace: str,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    is_signed: bool = False,
    with_views: bool = True,
    progress: Progress | None = None,
    believed_us: Callable[[], int] = lambda: INTEGER_MAX,
) -> Verification:
    """Read every row again, from one snapshot, and compare the log with its chains, the kept views and checkpoints.

    Args:
        store: the store to read.
        workspace: the workspace whose rows may be named in findings.
        checkpoints: the checkpoints to compare with, in the order of their positions.
        is_signed: whether the signatures of the checkpoints were checked.
        with_views: whether the kept views are compared.
        progress: called after each batch.
        believed_us: returns the latest moment that an event may have now; what is later is reported (R23).
    """
    with store.snapshot() as snapshot:  # the moment is asked for behind it: nothing in it is later than that by itself
        verifier = Verifier(store, snapshot, workspace, checkpoints, believed_us())
        return verifier.run(is_signed=is_signed, with_views=with_views, progress=progress)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _stream_of(view: View[Any], key: str) -> str:
    """Return the stream that a kept row belongs to: the views keep rows by stream, or by version_id."""
    return key if view is MODELS else stream_in(key)


def _is_same(view: View[Any], row: KeptRow, kept: object, state: Any) -> bool:  # noqa: ANN401 - whatever the view keeps
    """Return whether a kept row says what a replay gives, in whatever order the parts of a set were written."""
    columns = view.row(row.key, state)._replace(state=b"")
    return row._replace(state=b"") == columns and _comparable(kept) == _comparable(state)


def _comparable(state: object) -> object:
    """Return what a kept state knows, in a form that can be compared; the order in which it is kept counts."""
    if not isinstance(state, ModelAggregate):
        return state
    held = {name: getattr(state, name) for name in ModelAggregate.__slots__ if name != "_pending"}
    return {name: list(one.items()) if isinstance(one, dict) else one for name, one in held.items()}
