"""Whether anybody has touched the log: every row is read again, and what is found is located.

The law of this room: **what is reported is there, and what could not be proven is said in words.** Nothing is written,
nothing is repaired, and a log that nobody touched never gives a finding.

Found by the chains alone, and found only with a checkpoint that covers the row:

| kind | exit code | found by the chains and the kept views alone | found only with a checkpoint |
|---|---|---|---|
| changed | 10 | any row | its stream's last row, where its link was made anew |
| swapped | 11 | contents or sequences of any two rows, positions in a stream or an append | positions of two streams |
| missing | 12 | any row before another of its stream, or in SQLite of the log | its stream's last, others moved up |
| doubled | 13 | any row | its stream's last row, where its link was made anew |
| truncated | 14 | the end of an append, what a kept view has seen | any row |
| rewritten | 15 | a stream that is not the one of its name, an append that is not whole | any row |
| unreadable | 16 | any row | |
| view | 17 | any kept row of this workspace that a replay does not give | |

With a checkpoint, what was done to rows that no chain explains is located by the checkpoint's marks: to the row in logs
of up to 1,000 rows, else to a thousandth of the log.

What is found in rows of other workspaces is reported by position only (R27).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

import attrs

from versioning.aggregate import ModelAggregate
from versioning.audit.checkpoints import mark_of
from versioning.audit.diagnose import Fault, Kind, diagnose, is_stream
from versioning.audit.scan import Rereading
from versioning.errors import CorruptLogError, StoreError, shown
from versioning.reading.kept import pages_of
from versioning.reading.views import LEDGERS, MODELS, VIEWS, View
from versioning.sentences import plain
from versioning.store.contract import EVERY, INTEGER_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from versioning.audit.checkpoints import Checkpoint, Progress, Stop
    from versioning.store.contract import KeptRow, LogRow, Snapshot, Store, ViewPosition

EXIT_CODES: Final[dict[Kind, int]] = {
    "changed": 10,
    "swapped": 11,
    "missing": 12,
    "doubled": 13,
    "truncated": 14,
    "rewritten": 15,
    "unreadable": 16,
    "view": 17,
}
"""What a command line ends with."""
DIAGNOSED_MAX: Final = 100_000
"""How many rows of streams that do not hold are looked at one by one; of more, only the first fault is told."""
FINDINGS_MAX: Final = 1_000
SAID_MAX: Final = 10
"""How many positions a sentence names."""
DIFFERENT_MAX: Final = 20
"""How many rows of a kept view that differ are told one by one."""
CANDIDATES_MAX: Final = 1_000
"""How many rows behind the first that a checkpoint does not know are tried in its place."""
_NOT_UTF_8: Final = "holds a text that is not UTF-8"


@attrs.frozen
class Finding:
    """One thing that is wrong, and where."""

    kind: Kind
    sentence: str
    position: int | None = None
    """Where it stands in the log; of a row that is not there, where it stood or what it stood before, if known."""
    stream: str | None = None
    sequence: int | None = None
    model_name: str | None = None
    """Where it is known, and of this workspace."""

    @property
    def exit_code(self) -> int:
        """What a command line ends with where this is the first finding."""
        return EXIT_CODES[self.kind]


@attrs.frozen
class Verification:
    """What came of reading every row again."""

    position: int
    """Of the last row."""
    count: int
    """How many rows were read."""
    findings: tuple[Finding, ...]
    """In the order of their positions."""
    not_proven: tuple[str, ...]
    """In words, what may be so although nothing was found."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def exit_code(self) -> int:
        """What a command line ends with: 0, or that of the first finding."""
        return 0 if self.ok else self.findings[0].exit_code


class Audit:
    """What is found while the whole log is read once more, from one snapshot."""

    def __init__(self, store: Store, snapshot: Snapshot, workspace: str, checkpoints: Sequence[Checkpoint]) -> None:
        """Start before the first row."""
        stops = {one.position for one in checkpoints} | {mark[0] for one in checkpoints for mark in one.marks}
        self._store = store
        self._snapshot = snapshot
        self._workspace = workspace
        self._checkpoints = checkpoints
        self._log = Rereading(store, snapshot, workspace, stops)
        self._findings: list[Finding] = []
        self._left_out = 0
        self._seen: dict[str, tuple[int, str]] = {}
        """Of streams, up to which event a kept row has seen more than the log had up to there, and whose it is."""
        self._different: dict[str, list[tuple[str, Finding]]] = {}
        """Of each view, the rows that differ, and their streams."""
        self._not_proven: list[str] = []
        self._altered: set[int] = set()
        """Positions of what explains that the head is another one than a checkpoint has seen."""

    def run(self, *, is_signed: bool, with_views: bool, progress: Progress | None) -> Verification:
        """Read, compare, and say what was found."""
        log = self._log
        kept = [(view, self._snapshot.view_position(view.name)) for view in VIEWS if with_views]
        if not with_views:
            self._not_proven.append("The kept views were not compared with a replay, as was asked.")
        views = sorted(((view, at) for view, at in kept if at is not None), key=lambda one: one[1].position)
        log.keeps_views, log.keeps_ledgers = bool(views), any(view is LEDGERS for view, _ in views)
        for view, at in views:
            log.read_upto(at.position, progress)
            self._meet_view(view, at)
            log.keeps_ledgers &= view is not LEDGERS
        log.read_upto(INTEGER_MAX, progress)
        log.head.end()
        self._tell_views()
        self._find_faults()
        self._check_heads()
        self._word_scope(is_signed=is_signed)
        findings = sorted(self._findings, key=lambda one: (one.position is None, one.position or 0))
        return Verification(log.head.position, log.head.count, tuple(findings), tuple(self._not_proven))

    def _tell(self, finding: Finding) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(finding)
        else:
            self._left_out += 1

    def _report(self, fault: Fault) -> None:
        """Tell of a row; of one of another workspace, its position only (R27)."""
        kind, said, position, stream, sequence, alters = fault
        if position is not None and alters:
            self._altered.add(position)
        thread = None if stream is None else self._log.threads.get(stream)
        at = "" if position is None else f"At position {position}, "
        if thread is not None and not thread.is_ours:
            self._tell(Finding(kind, _sentence(f"{at}a row of another workspace is {kind}."), position))
            return
        name = None if thread is None else thread.name
        known = stream if is_stream(stream) else None
        number = sequence if type(sequence) is int else None  # a column of SQLite holds whatever somebody put there
        what = "a row" if number is None else f"event {number}"
        of = f" of {plain(name)}" if name is not None else f" of the stream {known}" if known else ""
        self._tell(Finding(kind, _sentence(f"{at}{what}{of} {said}."), position, known, number, name))

    # Kept views.

    def _meet_view(self, view: View[Any], at: ViewPosition) -> None:
        """Compare a kept view, now that as much was read as it holds."""
        log = self._log
        if log.position < at.position and not self._snapshot.log(log.position, 1, None):
            if self._store.head() < at.position:
                said = f"The kept view {view.name} has seen events up to position {at.position}, and the log ends at"
                self._tell(Finding("truncated", f"{said} {log.position}: its end was cut off.", log.position + 1))
            self._not_proven.append(f"The kept view {view.name} was not compared: it is ahead of the log.")
            return
        if at.latest_us != log.latest_us and not log.torn and not log.undecodable:
            said = f"The kept view {view.name} has another latest moment than the log up to position {at.position}."
            self._tell(Finding("view", said, at.position))
        expected = self._states(view)
        try:
            for page in pages_of(self._snapshot, view.name, self._workspace, EVERY):
                for row in page:
                    self._compare(view, at.position, row, expected.pop(row.key, None))
        except (StoreError, CorruptLogError) as error:
            self._tell(Finding("view", f"The kept view {view.name} can't be read: {error.sentence}", at.position))
            return
        for key in expected:
            self._differ(view, at.position, key, "is missing")

    def _states(self, view: View[Any]) -> dict[str, Any]:
        """Give what a replay makes of each stream of this workspace that holds."""
        threads = self._log.threads
        if view is MODELS:
            states = {one: thread.aggregate for one, thread in threads.items() if thread.aggregate is not None}
            for stream, state in states.items():
                thread = threads[stream]
                state.end_folding()
                state.link, state.first_position, state.position = thread.link, thread.first_position, thread.position
            return states
        return {one: ledger for one, ledger in self._log.ledgers.items() if threads[one[4:36]].aggregate is not None}

    def _compare(self, view: View[Any], position: int, row: KeptRow, state: Any) -> None:  # noqa: ANN401 - whatever the view keeps
        """Compare a kept row with what a replay gives; where the log itself is wrong, that is told already."""
        if state is not None and row == view.row(row.key, state):
            return
        stream = _stream_of(view, row.key)
        thread = self._log.threads.get(stream)
        if stream in self._log.torn or (thread is not None and thread.aggregate is None):
            return
        try:
            seen = view.read(row)
        except StoreError:
            self._differ(view, position, row.key, "is not readable")
            return
        if view is MODELS and seen.stream == stream and seen.sequence > (thread.sequence if thread else 0):
            self._seen[stream] = seen.sequence, row.model_name
        if state is None:
            self._differ(view, position, row.key, "is of nothing in the log")
        elif row._replace(state=b"") != view.row(row.key, state)._replace(state=b"") or _known(seen) != _known(state):
            self._differ(view, position, row.key, "is not what a replay of the log gives")

    def _differ(self, view: View[Any], position: int, key: str, said: str) -> None:
        stream = _stream_of(view, key)
        thread = self._log.threads.get(stream)
        of = shown(key) if thread is None else plain(thread.name) + ("" if key == stream else f" ({key})")
        place = (None, None, None) if thread is None else (stream, thread.sequence, thread.name)
        finding = Finding("view", f"In the kept view {view.name}, the row of {of} {said}.", position, *place)
        self._different.setdefault(view.name, []).append((stream, finding))

    def _tell_views(self) -> None:
        """Tell which kept rows differ; those of a stream whose end they have seen, and the log has not, as that."""
        for stream, (sequence, name) in self._seen.items():
            thread = self._log.threads.get(stream)
            number = thread.sequence + 1 if thread else 1
            if sequence >= number:
                said = f"Event {number} of {plain(name)}, which the kept view {MODELS.name} has seen, is not there"
                said += ": the end of its stream was cut off."
                self._tell(Finding("truncated", said, None, stream, number, name))
                self._log.torn.add(stream)
        for name, found in self._different.items():
            told = [finding for stream, finding in found if stream not in self._log.torn]
            for finding in told[:DIFFERENT_MAX]:
                self._tell(finding)
            if len(told) > DIFFERENT_MAX:
                said = f"In the kept view {name}, {len(told) - DIFFERENT_MAX:,} more rows differ."
                self._tell(Finding("view", said, told[0].position))

    # What the rows amount to.

    def _find_faults(self) -> None:
        """Say what was done to the streams that do not hold, and to the order of the log."""
        log = self._log
        for fault in log.faults:
            self._report(fault)
        told: set[int] = set()
        if log.torn:
            diagnosis = diagnose(self._looked_at(), [*log.gaps, *(range(one, one + 1) for one in log.undecodable)])
            told = diagnosis.gaps_told
            for fault in diagnosis.faults:
                if fault.kind == "missing" and fault.position in log.undecodable:
                    self._report(fault._replace(kind="unreadable", said=_NOT_UTF_8))
                else:
                    self._report(fault)
            if diagnosis.unproven:
                some = ", ".join(str(position) for position in diagnosis.unproven[:SAID_MAX])
                some += " …" if len(diagnosis.unproven) > SAID_MAX else ""
                said = f"What the rows at the positions {some} would be checked against is lost"
                self._not_proven.append(f"{said}, so they may have been changed too.")
        for position in log.undecodable:
            if position not in told:
                self._report(Fault("unreadable", _NOT_UTF_8, position, None, None))
        self._check_appends(told | set(log.undecodable))
        if not self._store.leaves_gaps:
            places = sorted(told)
            for gap in log.gaps:
                self._tell_gap(gap, places[bisect_left(places, gap.start) : bisect_left(places, gap.stop)])

    def _looked_at(self) -> Iterator[LogRow]:
        """Give the rows of the streams that do not hold; where they are too many, tell only where the rest breaks."""
        log, chosen, count = self._log, set[object](), 0
        known = sorted((one for one in log.torn if one in log.threads), key=lambda one: log.threads[str(one)].broke_at)
        for stream in [*known, *(log.torn - log.threads.keys())]:
            thread = log.threads.get(str(stream))
            count += thread.sequence if thread else 1
            if count <= DIAGNOSED_MAX:
                chosen.add(stream)
            elif thread is not None and thread.broke_at:
                self._report(
                    Fault("changed", "does not follow from the one before it", thread.broke_at, str(stream), None)
                )
        for position, stream in log.unreadable.items():
            if stream not in chosen:
                self._report(Fault("unreadable", "can't be read", position, None, None))
        return log.rows_of(chosen)

    def _check_appends(self, told: set[int]) -> None:
        """Say where an append does not stand in one piece; in streams that do not hold, that is told already."""
        log = self._log
        loose = {(one.stream, one.command_id, one.place): one for one in log.loose if one.stream not in log.torn}
        for part in [*log.parted, *([log.part] if log.part else [])]:
            place = part.position + 1
            if part.stream in log.torn or place in told:
                continue
            found = loose.pop((part.stream, part.command_id, part.place + 1), None)
            if found is not None:
                self._report(Fault("swapped", "stands in an append that it is no part of", place, None, None))
                self._report(Fault("swapped", "stands apart from what it was recorded with", *found[:3]))
            else:
                kind: Kind = "truncated" if part.position == log.position else "missing"
                said = "is not there, though it was recorded with the one before it"
                self._report(Fault(kind, said, place, part.stream, part.sequence + 1))
            told.add(place)
        for one in loose.values():
            self._report(Fault("rewritten", "goes on with an append that is not there", *one[:3]))

    def _tell_gap(self, gap: range, told: list[int]) -> None:
        """Tell of the positions without a row, but for those that are told already; a gap may be of any length."""
        for first, place in zip([gap.start, *(position + 1 for position in told)], [*told, gap.stop], strict=True):
            if first < place:
                upto = "" if first == place - 1 else f", and none is up to position {place - 1}"
                self._report(Fault("missing", f"is not there{upto}", first, None, None))

    # Checkpoints.

    def _check_heads(self) -> None:
        """Compare the log with what the checkpoints have seen."""
        head, proven = self._log.head, 0
        if self._checkpoints and head.position < self._checkpoints[-1].position:
            last = self._checkpoints[-1]
            until = f"a checkpoint of {last.moment.isoformat()} has seen position {last.position}"
            said = f"The log ends at position {head.position}, and {until}: its end was cut off."
            self._tell(Finding("truncated", said, head.position + 1))
        for checkpoint in self._checkpoints:
            split = self._split(checkpoint, proven)
            if split is not None:
                self._tell_split(checkpoint, *split)
                proven = split[0].position
                break
            places = (checkpoint.position, *(position for position, _ in checkpoint.marks))
            proven = max(place for place in (proven, *places) if place <= head.position)
        self._word_proven(proven)

    def _split(self, checkpoint: Checkpoint, proven: int) -> tuple[Stop, tuple[int, str]] | None:
        """Say up to where log and checkpoint are the same, and the first mark that is not; None where all are."""
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

    def _tell_split(self, checkpoint: Checkpoint, good: Stop, mark: tuple[int, str]) -> None:
        """Tell what lies behind the last mark that holds, up to the first one that does not."""
        high = mark[0]
        if any(good.position < position <= high for position in self._altered):
            return  # that explains it
        rows = self._snapshot.log(good.position, CANDIDATES_MAX, None)
        between = [row for row in rows if row[0] <= high]
        if not between or (len(between) < len(rows) and between[-1][0] != high):
            self._report(Fault("missing", "is not there, though a checkpoint has seen it", high, None, None))
            return
        position, stream, sequence = between[0][:3]
        if len(between) == 1:
            for row in rows[1:]:
                if good.followed_by(mark_of((high, *row[1:]))).startswith(mark[1]):
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
            said += ": rows were taken out, and others moved up" if fewer > 0 else ": rows were put in"
        if len(between) > 1:
            said = f"or one of the rows behind it up to position {high} {said}"
        self._report(Fault(kind, said, position, stream, sequence))

    # In words.

    def _word_proven(self, proven: int) -> None:
        """Say what the chains alone can't prove of the rows that no checkpoint covers."""
        behind = self._log.head.position > proven
        if self._checkpoints and not behind:
            return
        whose = f"Of the rows behind position {proven}" if self._checkpoints else "Without a checkpoint"
        self._not_proven.append(
            f"{whose} it is not proven that nobody recorded, changed or took out a row and made all later links of its"
            " stream anew, that no stream and not the log was cut at its end, and that rows of different streams stand"
            " in their order."
        )

    def _word_scope(self, *, is_signed: bool) -> None:
        """Say what was not looked at."""
        if self._left_out:
            self._not_proven.insert(0, f"{self._left_out:,} more findings are left out here.")
        if self._checkpoints and not is_signed:
            self._not_proven.append(
                "Whose checkpoint it is was not looked at, as no public key was given: it proves as much as the place"
                " where it was kept."
            )
        if any(not thread.is_ours for thread in self._log.threads.values()):
            self._not_proven.append("Of other workspaces, the chains were read, and the kept views were not.")
        if self._log.replayed_upto is not None:
            self._not_proven.append(
                f"Behind position {self._log.replayed_upto} the log was not replayed, as there was nothing to compare"
                " with: rebuild() shows whether its events follow from each other."
            )
        self._not_proven.append("The contents of artifacts were not read: load() compares them with their digests.")


def verify(
    store: Store,
    workspace: str,
    checkpoints: Sequence[Checkpoint] = (),
    *,
    is_signed: bool = False,
    with_views: bool = True,
    progress: Progress | None = None,
) -> Verification:
    """Read every row again, from one snapshot, and compare it with its chain, the kept views and checkpoints.

    Args:
        store: whose log.
        workspace: whose rows may be named.
        checkpoints: in the order of their positions.
        is_signed: whether the signatures of the checkpoints were checked.
        with_views: whether the kept views are compared.
        progress: is called after each batch.
    """
    with store.snapshot() as snapshot:
        audit = Audit(store, snapshot, workspace, checkpoints)
        return audit.run(is_signed=is_signed, with_views=with_views, progress=progress)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _stream_of(view: View[Any], key: str) -> str:
    """Say which stream a kept row is of: the views keep rows by stream, or by version_id."""
    return key if view is MODELS else key[4:36]


def _known(state: object) -> object:
    """Give what a kept state knows, to be compared; the order in which it is kept counts."""
    if not isinstance(state, ModelAggregate):
        return state
    held = {name: getattr(state, name) for name in ModelAggregate.__slots__ if name != "_pending"}
    return {name: list(one.items()) if isinstance(one, dict) else one for name, one in held.items()}
