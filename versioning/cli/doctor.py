"""What is wrong with this installation, or with a store? One line for each thing that was looked at.

The law of this room: **nothing is mended here, and every trouble comes with what to do about it.** No store is made;
the kept views catch up with the log, as they do with every question.

To add a check: a function that gives `Check`s, and its place in `examine`.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from versioning.artifacts.folder import ArtifactFolder
from versioning.errors import VersioningError, shown
from versioning.registry import ModelRegistry
from versioning.store.opening import holds_store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.audit.checkpoints import Progress
    from versioning.store.contract import Store

Verdict: TypeAlias = Literal["ok", "warn", "fail"]

PYTHON_MIN: Final = (3, 11)
WAITED_TOO_LONG: Final = timedelta(hours=1)
"""After this an activation that nobody answered is worth a look."""
NAMED_MAX: Final = 5
"""How many versions or contents one line names."""
_PACKAGES: Final = ("eventsourcing", "msgspec", "attrs", "semver")
_OPTIONAL: Final = {"psycopg": "postgres", "cryptography": "sign"}


@attrs.frozen
class Check:
    """One thing that was looked at."""

    verdict: Verdict
    about: str
    sentence: str
    hint: str = ""


def examine(
    place: str | Path, workspace: str, artifacts: str | Path | None = None, progress: Progress | None = None
) -> Iterator[Check]:
    """Look at the installation, at a store, and at the contents of a workspace's artifacts.

    Args:
        place: what `open_store` takes.
        workspace: whose models.
        artifacts: the folder of contents, where it is not beside a SQLite file.
        progress: is called after each of the contents that were compared with their digest.
    """
    yield from _installation()
    try:
        if not holds_store(place):
            hint = "Look for a slip in the URL; `migrate` or the first `deploy` makes a store."
            yield Check("fail", "store", "There is none at this place.", hint)
            return
        store = open_store(place)
    except VersioningError as error:
        yield _trouble("store", error)
        return
    try:
        yield from _store(store)
        with ModelRegistry(place, workspace=workspace, artifacts=artifacts) as registry:
            for look in (_views, _skipped, _pending):
                yield from _guarded(look, registry)
            folder = artifacts if store.path is None or artifacts is not None else f"{store.path}.artifacts"
            yield from _guarded(lambda one: _artifacts(one, folder, progress), registry)
    except VersioningError as error:
        yield _trouble("store", error)
    finally:
        store.close()


def _trouble(about: str, error: VersioningError) -> Check:
    return Check("fail", about, error.sentence, error.hint)


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
            yield Check("ok", extra, f"{name} is not installed, and needed for this extra only.")


def _store(store: Store) -> Iterator[Check]:
    warnings = {warning.about: warning for warning in store.warnings()}
    if store.path is not None and "sqlite" not in warnings:
        yield Check("ok", "sqlite", sqlite3.sqlite_version)
    kind = "PostgreSQL" if store.path is None else f"SQLite {shown(str(store.path))}"
    holds = f"{kind}, {store.head():,} positions"
    if "store" not in warnings:
        yield Check("ok", "store", f"{holds}, synced at each commit.")
    for about, warning in warnings.items():
        said = f"{holds}, {warning.sentence}" if about == "store" else warning.sentence
        yield Check("warn", about, said, warning.hint)


def _views(registry: ModelRegistry) -> Iterator[Check]:
    for view in registry.views():
        if view.problem is None:
            yield Check("ok", f"view {view.name}", f"holds the log up to position {view.position:,}.")
        else:
            said = f"stopped at position {view.stopped_by}: {view.problem}"
            hint = "Run `verify`; ModelRegistry.skip(position) lets the views pass over it, for ever."
            yield Check("fail", f"view {view.name}", said, hint)


def _skipped(registry: ModelRegistry) -> Iterator[Check]:
    for one in registry.skipped():
        said = f"The views pass over position {one.position}, as {one.actor or 'somebody'} said: {one.reason or '–'}"
        yield Check("warn", "skipped", said, "What that event did is in no answer about several models.")


def _pending(registry: ModelRegistry) -> Iterator[Check]:
    waiting, late = registry.pending_activations(), registry.pending_activations(WAITED_TOO_LONG)
    if not late:
        yield Check("ok", "activations", f"{len(waiting)} waited for, none longer than an hour.")
        return
    some = ", ".join(f"{one.number} of {one.model_name}" for one in late[:NAMED_MAX])
    more = " …" if len(late) > NAMED_MAX else ""
    hint = "Answer with complete-activation or fail-activation; `show` has the activation_id."
    yield Check("warn", "activations", f"{len(late)} waited for longer than an hour: {some}{more}", hint)


def _artifacts(registry: ModelRegistry, folder: str | Path | None, progress: Progress | None) -> Iterator[Check]:
    versions = [one for model in registry.models() for one in model.versions]
    kept = {one.artifact.digest: one for one in versions if one.artifact.uri.startswith("sha256:")}
    if not kept:
        yield Check("ok", "artifacts", f"No contents are kept here; {len(versions)} versions refer to elsewhere.")
        return
    if folder is None:
        hint = "Name it with --artifacts or VERSIONING_ARTIFACTS."
        yield Check("fail", "artifacts", f"{len(kept)} contents are referred to, and no folder is named.", hint)
        return
    place, found = ArtifactFolder(Path(folder), registry.workspace), dict[str, list[str]]()
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
        yield Check("ok", "artifacts", f"{len(kept)} contents are there, and what was deployed.")
