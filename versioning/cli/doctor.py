"""What is wrong with this installation, or with a store? One line for each thing that was checked.

The law of this room: **nothing is repaired here, and every problem comes with what to do about it.** No store is made.
The kept views catch up with the log, as they do with every question.

To add a check: a function that yields `Check`s, and its place in `examine`.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from versioning.artifacts.folder import ArtifactFolder, checked_folder, folder_for
from versioning.cli.words import WORDS
from versioning.errors import ArtifactsNotOwnedError, VersioningError, shown, worded
from versioning.events import Value, microseconds_of, rfc3339
from versioning.limits import CLOCK_SKEW_MAX_S, INTEGER_MAX, checked_clock_skew
from versioning.reading.bookmarks import LogMarks
from versioning.reading.kept import Views
from versioning.reading.views import MODELS
from versioning.registry import ModelRegistry
from versioning.store.opening import access_to, clock_skew_in, foreign_log_at, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from versioning.audit.checkpoints import Progress
    from versioning.store.contract import Store

Verdict: TypeAlias = Literal["ok", "warn", "fail"]

PYTHON_MIN: Final = (3, 11)
WAITED_TOO_LONG: Final = timedelta(hours=1)
"""Longest time that an activation may stay unanswered without a warning."""
NAMED_MAX: Final = 5
"""Largest number of versions or contents that one line names."""
_PACKAGES: Final = ("eventsourcing", "msgspec", "attrs", "semver")
_OPTIONAL: Final = {"psycopg": "postgres", "cryptography": "sign"}


@attrs.frozen
class Check(Value):
    """Result of one check."""

    verdict: Verdict
    about: str
    sentence: str
    hint: str = ""


def examine(
    place: str | Path, workspace: str, artifacts: str | Path | None = None, progress: Progress | None = None
) -> Iterator[Check]:
    """Check the installation, a store, and the contents of a workspace's artifacts.

    Args:
        place: the store, as `open_store` takes it.
        workspace: the workspace of the models.
        artifacts: the folder of contents, unless it stands beside a SQLite file.
        progress: called after the contents of each artifact were compared with their digest.
    """
    yield from _installation()
    try:
        access = access_to(place)
        if access is None:
            hint = "Check the URL for a typo; `migrate` or the first `deploy` makes a store."
            yield Check("fail", "store", "There is no store at this place.", hint)
            return
        if (foreign := foreign_log_at(place)) is not None:
            hint = worded(foreign.hint, WORDS)
            yield Check("fail" if foreign.certain else "warn", "wal", foreign.sentence, hint)
            return  # opening the store would take it in
        only_reads = access == "read"
        store = open_store(place, read_only=only_reads)
    except VersioningError as error:
        yield _trouble("store", error)
        return
    try:
        if only_reads and store.path is None and not store.lags:  # what an opening would be refused for is not hidden
            open_store(place).close()
        yield from _store(store)
        with ModelRegistry(place, workspace=workspace, artifacts=artifacts, read_only=only_reads) as registry:
            for look in (_views, _skipped, _pending):
                yield from _guarded(look, registry)
            skew_us = clock_skew_in(place)
            yield from _guarded(lambda one: _clocks(one, store, skew_us), registry)
            folder = folder_for(checked_folder(artifacts), store.path)
            yield from _guarded(lambda one: _artifacts(one, LogMarks(store), folder, progress), registry)
    except VersioningError as error:
        yield _trouble("store", error)
    finally:
        store.close()


def _trouble(about: str, error: VersioningError) -> Check:
    return Check("fail", about, error.sentence, error.hint_in(WORDS))


def _guarded(look: Callable[[ModelRegistry], Iterator[Check]], registry: ModelRegistry) -> Iterator[Check]:
    try:
        yield from look(registry)
    except VersioningError as error:
        yield _trouble("log", error)


def _installation() -> Iterator[Check]:
    here, wanted = platform.python_version(), ".".join(map(str, PYTHON_MIN))
    fits = sys.version_info >= PYTHON_MIN
    yield Check("ok" if fits else "fail", "python", here, "" if fits else f"Use Python {wanted} or newer.")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    yield Check("ok", "packages", versions)
    for name, extra in _OPTIONAL.items():
        try:
            yield Check("ok", extra, f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Check("ok", extra, f"{name} is not installed; only this extra needs it.")


def _store(store: Store) -> Iterator[Check]:
    kind = "PostgreSQL" if store.path is None else f"SQLite {shown(str(store.path))}"
    holds = f"{kind}, {store.head():,} positions"
    checks = {} if store.path is None else {"sqlite": Check("ok", "sqlite", sqlite3.sqlite_version)}
    checks["store"] = Check("ok", "store", f"{holds}, synced at each commit.")
    if store.read_only:
        which = "is a standby, which may lag" if store.lags else "may only be read here"
        checks["store"] = Check("ok", "store", f"{holds}, {which}: views are kept elsewhere.")
    for about, sentence, hint in store.warnings():
        said = f"{holds}, {sentence}" if about == "store" else sentence
        checks[about] = Check("warn", about, said, worded(hint, WORDS))
    yield from checks.values()


def _views(registry: ModelRegistry) -> Iterator[Check]:
    for view in registry.views():
        if view.problem is None and view.behind:
            yield Check("ok", f"view {view.name}", f"is kept up to position {view.position:,}; {view.behind:,} follow.")
        elif view.problem is None:
            yield Check("ok", f"view {view.name}", f"holds the log up to position {view.position:,}.")
        else:
            said = f"stopped at position {view.stopped_by}: {view.problem}"
            hint = "Run `verify`; `skip POSITION` makes the views skip the event, for ever."
            yield Check("fail", f"view {view.name}", said, hint)


def _skipped(registry: ModelRegistry) -> Iterator[Check]:
    for one in registry.skipped():
        said = f"The views skip position {one.position}, as {one.actor or 'somebody'} decided: {one.reason or '–'}"
        yield Check("warn", "skipped", said, "No answer about several models includes what that event did.")


def _pending(registry: ModelRegistry) -> Iterator[Check]:
    waiting, late = registry.pending_activations(), registry.pending_activations(WAITED_TOO_LONG)
    if not late:
        yield Check("ok", "activations", f"{len(waiting)} pending, none for longer than an hour.")
        return
    some = ", ".join(f"{one.number} of {one.model_name}" for one in late[:NAMED_MAX])
    more = " …" if len(late) > NAMED_MAX else ""
    hint = "Answer them with `complete-activation` or `fail-activation`; `show` has the activation_id."
    yield Check("warn", "activations", f"{len(late)} pending for longer than an hour: {some}{more}", hint)


def _clocks(registry: ModelRegistry, store: Store, skew_us: int | None) -> Iterator[Check]:
    """Look for events that lie ahead of now by more than clocks may differ (R23)."""
    if skew_us is None:
        skew_us = checked_clock_skew(CLOCK_SKEW_MAX_S)
    with Views(store).reading(MODELS) as reading:
        latest_us = reading.latest_us(registry.workspace)
    believed_us = store.now_us() + skew_us
    if latest_us <= believed_us:
        no_limit = skew_us == INTEGER_MAX
        said = "No clock is doubted: clock_skew_max_s is none." if no_limit else "No event lies ahead of now."
        yield Check("ok", "clocks", said)
        return
    ahead = [one for one in registry.history() if microseconds_of(one.timestamp) > believed_us]
    first, names = ahead[0], list(dict.fromkeys(one.model_name for one in ahead))
    some = ", ".join(names[:NAMED_MAX]) + (" …" if len(names) > NAMED_MAX else "")
    by = "" if first.actor is None else f" by {first.actor}"
    what = "1 event lies" if len(ahead) == 1 else f"{len(ahead)} events lie"
    said = f"{what} ahead of now, the first at position {first.position}{by}, of {rfc3339(first.timestamp)}"
    hint = "Correct the clock that was wrong. {no_clock_limit} lets commands on these models be recorded until then."
    yield Check("fail", "clocks", f"{said}. Commands are refused on {some}.", worded(hint, WORDS))


def _owner(folder: ArtifactFolder) -> Iterator[Check]:
    try:
        folder.owned()
    except ArtifactsNotOwnedError as error:
        yield Check("warn", "artifacts", f"Nothing is erased: {error.sentence}", error.hint_in(WORDS))


def _artifacts(
    registry: ModelRegistry, log: LogMarks, folder: Path | None, progress: Progress | None
) -> Iterator[Check]:
    versions = [one for model in registry.models() for one in model.versions]
    kept = {one.artifact.digest: one for one in versions if one.artifact.uri.startswith("sha256:")}
    if not kept:
        yield Check(
            "ok", "artifacts", f"No contents are kept here. Versions that refer to other places: {len(versions)}."
        )
        return
    if folder is None:
        hint = "Name it with --artifacts or VERSIONING_ARTIFACTS."
        yield Check("fail", "artifacts", f"Versions refer to contents ({len(kept)}), but no folder is named.", hint)
        return
    place, found = ArtifactFolder(folder, registry.workspace), dict[str, list[str]]()
    yield from _owner(attrs.evolve(place, log=log))
    for count, (digest, version) in enumerate(kept.items(), start=1):
        found.setdefault(place.look_at(str(digest)), []).append(f"{version.number} of {version.model_name}")
        if progress is not None:
            progress("artifacts", count, len(kept))
    for state in ("missing", "damaged"):
        named = found.get(state, [])
        if named:
            said = f"{len(named)} of {len(kept)} contents {state}: {', '.join(named[:NAMED_MAX])}"
            more = " …" if len(named) > NAMED_MAX else ""
            yield Check(
                "fail", "artifacts", said + more, "Restore the folder from a backup, or deploy the model again."
            )
    if set(found) == {"intact"}:
        yield Check("ok", "artifacts", f"All contents are there, as they were deployed: {len(kept)}.")
