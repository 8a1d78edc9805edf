"""The one object that users hold.

The law of this room: **signatures, docstrings, and one call each.** A command is a method of `commanding/calls.py`; it
becomes a request (`commanding/requests.py`) that is decided and recorded (`commanding/deciding.py`). A question is
answered by `reading/questions.py`, and by `answers.py` if it is drawn or formatted. What is written out here is opening
and closing, what only the present answers, the care of views and log, and model objects.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NoReturn, Self

from versioning.answers import Answers, AsOf
from versioning.artifacts.folder import ArtifactFolder, checked_folder, digest_named_by, folder_for
from versioning.artifacts.objects import HELD_MAX, Collection, ModelObjects
from versioning.audit.backup import Backup, back_up
from versioning.audit.checkpoints import Checkpoint, given_checkpoints, take_checkpoint
from versioning.audit.log_file import ExportScope, LogFile, export_log, import_log
from versioning.audit.verify import Verification, verify
from versioning.commanding import requests
from versioning.commanding.calls import Commands, Preview
from versioning.commanding.deciding import Deciding
from versioning.commands import Delete, Deploy
from versioning.errors import ModelNotFoundError, ReadOnlyError, shown
from versioning.events import ArtifactRef, VersionDeployed
from versioning.limits import (
    CLOCK_SKEW_MAX_S,
    checked_actor,
    checked_clock,
    checked_clock_skew,
    checked_flag,
    checked_moment,
    checked_place,
    checked_position,
    checked_progress,
    checked_reason,
    checked_seconds,
    checked_workspace,
)
from versioning.reading.bookmarks import LogMarks
from versioning.reading.diff import Difference, changes_between
from versioning.reading.follower import Follower
from versioning.reading.kept import Skipped, Views
from versioning.reading.questions import check_order, past_of
from versioning.reading.recent import RecentAnswers
from versioning.reading.streams import CachedStreams
from versioning.reading.views import VIEWS, Past
from versioning.rules import Policy, checked_policy
from versioning.store.opening import DEFAULT_URL, clock_skew_in, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from versioning.addresses import VersionNamed
    from versioning.aggregate import Model, Version
    from versioning.artifacts.formats import Serializer
    from versioning.audit.checkpoints import Key, Progress
    from versioning.audit.log_file import File
    from versioning.commanding.requests import Deployment, Request
    from versioning.reading.kept import ViewStatus
    from versioning.reading.questions import Questions
    from versioning.resolving import VersionWanted


class ModelRegistry(Commands["Version", "Model"], Answers):
    """The life of all models of one workspace, on one store; safe to share between threads.

    Args:
        url: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user:password@host/database`,
            or a Path to a SQLite file; without one, the environment's VERSIONING_URL, else `sqlite:///versioning.db`.
        workspace: the tenant; a registry sees only its own (R27).
        policy: the choices of your service; without one, the defaults.
        clock: returns the present as an aware datetime; without one, the machine's clock, or that of a PostgreSQL
            server.
        artifacts: the folder for contents; without one, a folder beside a SQLite file, and none for other stores.
        serializer: how model objects become bytes, unless `deploy` says otherwise.
        objects_max: most objects that `invoke` holds (None: all); the one invoked longest ago is dropped first.
        clock_skew_max_s: seconds by which a model's last event may lie ahead of the clock, before commands on it are
            refused (None: any number, R23). `?clock_skew_max_s=` in the URL, with seconds or `none`, wins over it.
        read_only: whether the store is only read: a file or a database that may not be written to, or a standby. It
            has to be there; nothing is made or kept, and commands are refused.

    Raises:
        InvalidArgumentError: an argument can't be accepted.
        StoreError: the store can't be opened.
        NewerFormatError: a newer release wrote to it.
    """

    def __init__(
        self,
        url: str | Path | None = None,
        *,
        workspace: str = "default",
        policy: Policy | None = None,
        clock: Callable[[], datetime] | None = None,
        artifacts: str | Path | None = None,
        serializer: str | Serializer | None = "pickle",
        objects_max: int | None = HELD_MAX,
        clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S,
        read_only: bool = False,
    ) -> None:
        """Open the store, and create its tables if they are missing, unless it is only read."""
        workspace, policy = checked_workspace(workspace), checked_policy(policy)
        self._clock = checked_clock(clock)
        self._objects = ModelObjects(None, serializer, objects_max)
        place = os.environ.get("VERSIONING_URL") or DEFAULT_URL if url is None else url
        folder, skew_max_us = checked_folder(artifacts), checked_clock_skew(clock_skew_max_s)
        self._store = open_store(place, read_only=checked_flag(read_only, "read_only"))
        said_us = clock_skew_in(place)
        self._skew_max_us = skew_max_us if said_us is None else said_us
        folder = folder_for(folder, self._store.path)
        self._objects.folder = None if folder is None else ArtifactFolder(folder, workspace, LogMarks(self._store))
        self._views = Views(self._store)
        self.closed = False
        self._use(workspace, policy)

    def _use(self, workspace: str, policy: Policy) -> None:
        """Begin with nothing in memory, in a workspace of the store."""
        self._streams: CachedStreams = CachedStreams(self._store, workspace, self._views)
        super().__init__(self._streams, policy, self._now, self._skew_max_us)
        self._deciding = Deciding(self._streams, policy, self._now, self._skew_max_us, lambda: self.closed)
        self._recent = RecentAnswers(self._streams)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<versioning.ModelRegistry {self._store} workspace={shown(self.workspace)}>"

    def __reduce__(self) -> NoReturn:
        msg = "A ModelRegistry can't be pickled: pass its URL, and open a registry where it is needed."
        raise TypeError(msg)

    def close(self) -> None:
        """Close the store; closing it twice is fine, any other call afterwards raises a StoreError."""
        self.closed = True
        self._recent.clear()
        self._store.close()

    def _now(self) -> int:
        return self._store.now_us() if self._clock is None else checked_moment(self._clock(), "clock")

    # Commands.

    def _check_writable(self) -> None:
        """Raise ReadOnlyError where the store is only read, before anything is looked at or stored."""
        if self._store.read_only:
            msg = "This registry was opened with read_only, so it takes no command."
            raise ReadOnlyError(msg)

    def _run(self, request: Request) -> Version:
        self._check_writable()
        version = self._deciding.run(request).version
        if isinstance(request.command, Deploy | Delete) and digest_named_by(version.artifact.uri) is not None:
            self._objects.after_change()
        return self._objects.after_command(version)

    def _run_on_model(self, request: Request) -> Model:
        self._check_writable()
        return self._objects.after_deletion(self._deciding.run(request).model)

    def _stored(self, model: object, serializer: str | Serializer | None) -> ArtifactRef:
        self._check_writable()
        return self._objects.store(model, serializer)

    def deploy_many(
        self,
        deployments: Iterable[Deployment],
        *,
        actor: str | None = None,
        reason: str | None = None,
        correlation_id: str | None = None,
        progress: Progress | None = None,
    ) -> tuple[Version, ...]:
        """Deploy many versions in order; return what `deploy` would have returned for each.

        They are recorded in batches of up to 500, each whole or not at all. If the process dies or an error is raised,
        the batches before are recorded and nothing else is. With an `idempotency_key` in each deployment, the same call
        can be repeated, and makes what is missing (R21).

        Args:
            deployments: mappings with the arguments of `deploy`; several may name one model.
            actor: the actor of deployments that name none.
            reason: the reason of deployments that name none.
            correlation_id: the correlation_id of deployments that name none.
            progress: called after each batch with "deploy", the number done, and the number of all.

        Raises:
            InvalidInputError: a deployment can't be accepted; `index` says which, counted from 0. Nothing was recorded.
                Contents of those before it may be in the folder until `collect_artifacts` erases them.
            IdempotencyConflictError: the key of the one at `index` was used for another command.
            ConcurrencyError: others changed the models faster than a batch could be decided.
        """
        self._check_writable()
        checked_progress(progress)
        common = {"actor": actor, "reason": reason, "correlation_id": correlation_id}
        asked = requests.deployments(self._streams, deployments, common, self._stored)
        try:
            return tuple(self._deciding.run_many(asked, progress))
        finally:
            self._objects.after_change()

    @property
    def preview(self) -> Preview:
        """Commands without their effect: `registry.preview.promote("fraud@1.2.0")` returns the events of `promote`.

        A repeat with its key returns no events. Whatever the command would raise, its preview raises.
        """
        return Preview(self._streams, self._deciding, functools.partial(self._objects.store, preview=True))

    # Questions that only the present answers.

    def resolve(
        self, model_name: str, version: VersionWanted = None, *, max_staleness_s: float | None = None
    ) -> Version:
        """Return the version to invoke: the primary, or the one that is named (R24).

        Args:
            model_name: the model to invoke.
            version: a number, a version_id, a Version, `@primary`, or a range such as `^1.2`; without it, the primary.
            max_staleness_s: how old the answer may be, in seconds. It may then come from memory, without what others
                recorded in that time; what this registry recorded is always included. By default, nothing is missing.

        Raises:
            NoPrimaryVersionError: the primary is wanted, and there is none.
            VersionNotFoundError: there is no such version, or none inside the range.
            VersionNotActiveError, VersionDeletedError: the version that was named exactly can't answer.
            ModelNotFoundError: there is no such model.
        """
        if max_staleness_s is None:
            return super().resolve(model_name, version)
        return self._recent.resolve(model_name, version, max_staleness_s)

    def at(self, moment_or_position: datetime | int) -> AsOf:
        """Return the registry as it was at a position or an aware moment: the same questions, answered as then (R25).

        The event at the position, or at the very moment, counts.

        Raises:
            InvalidArgumentError: a moment without a time zone, or one that lies in the future.
        """
        return self._as_of(self._past_of(moment_or_position))

    def _past_of(self, moment_or_position: object) -> Past:
        return past_of(moment_or_position, self._store, self._now(), self._views, self.workspace)

    def _as_of(self, past: Past) -> AsOf:
        return AsOf(self._streams.at(past), self.policy, self._now() if past.at_us is None else past.at_us)

    def diff(
        self, then: datetime | int, now: datetime | int | None = None, model_name: str | None = None
    ) -> Difference:
        """Return what changed from one position or moment to another, or to now: as values and as sentences.

        Args:
            then: the earlier position or moment.
            now: the later position or moment; without it, the last position.
            model_name: the model to compare; without it, all models of the workspace.

        Raises:
            InvalidArgumentError: they are in the wrong order (`then` has an event that `now` lacks), or in the future.
            ModelNotFoundError: there was never a model with this name.
        """
        if model_name is not None:
            self._streams.require_history(self._streams.ref(model_name))
        earlier = self._past_of(then)
        before = _models_of(self._as_of(earlier), model_name)
        later = Past(position=self.position()) if now is None else self._past_of(now)
        if now is not None:
            check_order(earlier, later, self._views, self.workspace)
        changes = changes_between(before, _models_of(self._as_of(later), model_name))
        return Difference(earlier.point, later.point, changes)

    def follow(self, after: int | str = 0, poll_s: float = 1.0) -> Follower:
        """Follow the log: return an endless iterator over events as they come; `close()` ends it.

        Args:
            after: the position, or better the bookmark, of the last event that was seen; the next ones are returned.
            poll_s: the most seconds to wait before looking again, if the store sends no signal.

        Raises:
            LogRewoundError: the log ends before that event, or has another one there: it was restored to an older copy.
                The follower itself raises it where that happens while it follows.
        """
        place, pause_s = checked_place(after, "after"), checked_seconds(poll_s, "poll_s")
        return Follower(self._store, self.workspace, place, pause_s)

    # The kept views.

    def views(self) -> tuple[ViewStatus, ...]:
        """Return how far each kept view is, and what stops it."""
        return tuple(self._views.status(view) for view in VIEWS)

    def skip(self, position: int, *, actor: str | None = None, reason: str | None = None) -> None:
        """Allow the views to pass over an event that they can't read or fold, for ever; `skipped` tells who and why.

        An event that they can fold still counts.

        Raises:
            InvalidArgumentError: there is no event at this position.
        """
        self._check_writable()
        place = checked_position(position, "position")
        self._views.skip(Skipped(place, self._now(), checked_actor(actor), checked_reason(reason)))

    def skipped(self) -> tuple[Skipped, ...]:
        """Return the events that the views pass over."""
        return self._views.skipped()

    def rebuild(self, progress: Progress | None = None) -> int:
        """Build all kept views anew from the log, and replace the present ones; return the position reached.

        Args:
            progress: called after each batch with the view's name, the position reached and the last of the log.

        Raises:
            ConcurrencyError: somebody else is rebuilding them.
        """
        self._check_writable()
        checked_progress(progress)
        return min(self._views.rebuild(view, progress) for view in VIEWS)

    # Proof: whether anybody has touched the log.

    def checkpoint(self, progress: Progress | None = None) -> Checkpoint:
        """Return a checkpoint of the whole log; keep it where nobody who can write to the database can reach it.

        Args:
            progress: called after each batch with "checkpoint", the position reached and the last of the log.
        """
        return take_checkpoint(self._store, self._now(), progress)

    def verify(
        self,
        checkpoint: Checkpoint | str | Path | Iterable[Checkpoint | str | Path] | None = None,
        *,
        public_key: Key | None = None,
        views: bool = True,
        progress: Progress | None = None,
    ) -> Verification:
        """Read every row again, and compare it with its chain, the kept views with a replay, and all with checkpoints.

        Nothing is changed. `.ok` is True if nothing was found, `.findings` says what was found and where, and
        `.not_proven` says what may be wrong all the same. An event that lies more than `clock_skew_max_s` ahead of now
        is found too (R23): a clock was wrong. While it runs, other threads wait for a memory store.

        Args:
            checkpoint: what `checkpoint` returned, the file that it was written to, or several of these.
            public_key: the Ed25519 key of signed checkpoints: PEM, a Path to it, or a key of `cryptography`.
            views: whether the kept views are compared, which takes longer than all the rest, and about 2 KB of memory
                for each version.
            progress: called after each batch with "verify", the position reached and the last of the log.

        Raises:
            InvalidArgumentError: something given is no checkpoint, or is not signed by this key.
        """
        return verify(
            self._store,
            self.workspace,
            given_checkpoints(checkpoint, public_key),
            is_signed=public_key is not None,
            with_views=checked_flag(views, "views"),
            progress=progress,
            believed_us=lambda: self._now() + self._skew_max_us,
        )

    def export(self, target: File, model_name: str | None = None, *, progress: Progress | None = None) -> LogFile:
        """Write the log of the workspace, or of all lives of one name, with its chain; `import_log` reads it.

        The contents of artifacts are not written.

        Args:
            target: a path that does not exist yet, or a file that is open to write bytes.
            model_name: the model to export; without it, the whole workspace.
            progress: called after each batch with "export", the position reached and the last one.

        Raises:
            ModelNotFoundError: there was never a model with this name.
            InvalidArgumentError: the file exists already.
            CorruptLogError: a row can't be read, or does not follow from those before it; `verify` says more.
            StoreError: the file can't be written.
        """
        name = None
        if model_name is not None:
            ref = self._streams.ref(model_name)
            name = ref.model_name
            self._streams.require_history(ref)
        scope = ExportScope(self.workspace, name, self._store.head(), self._now())
        return export_log(self._store, scope, target, progress)

    def backup(self, file: str | Path, *, progress: Progress | None = None) -> Backup:
        """Write a whole copy of the store to a new SQLite file, all workspaces included, while others go on writing.

        The copy is read again, synced, and only then named; its checkpoint says where it ends. A copy of the file by
        other means lacks what stands in the `-wal` beside it. The contents of artifacts are not copied.

        Args:
            file: a path where nothing is yet.
            progress: called with "backup", the pages written and all pages, then with "checkpoint", the position read
                and the last.

        Raises:
            InvalidArgumentError: something is at this path, or the store is a PostgreSQL database, which has pg_dump.
            CorruptLogError: the copy has a row that can't be read.
            StoreError: the file can't be written.
        """
        checked_progress(progress)
        return back_up(self._store, file, self._now(), progress)

    def import_log(self, source: File, *, progress: Progress | None = None, dry_run: bool = False) -> LogFile:
        """Record what `export` wrote from the same workspace, after checking it to its last line.

        Events that the store has already are passed over, so an interrupted import can be repeated.

        Args:
            source: a path, or a file that is open to read bytes and can be rewound.
            progress: called after each batch with "check", then "import", the bytes read and the bytes of the file.
            dry_run: whether to check only, and return how many events would be recorded.

        Raises:
            InvalidArgumentError: it can't be read, is from another workspace, or the store holds another history.
            CorruptLogError, NewerFormatError: it is incomplete or wrong; `line` says where. Nothing was recorded.
            ConcurrencyError: meanwhile, others recorded something under one of its names.
        """
        only_checks = checked_flag(dry_run, "dry_run")
        if not only_checks:
            self._check_writable()
        tell = self._streams.catch_up_used
        return import_log(self._store, self.workspace, source, progress, dry_run=only_checks, tell=tell)

    # Model objects.

    def load(
        self,
        model_name: str,
        version: VersionWanted = None,
        *,
        trusted: bool = False,
        serializer: str | Serializer | None = None,
    ) -> object:
        """Return the model object of the primary, or of the version that is named (R24); its digest is checked first.

        Args:
            model_name: the model to load.
            version: as in `resolve`; without it, the primary.
            trusted: needed for formats that can run code, such as pickle; pass it only if you trust the origin.
            serializer: your serializer, for a format that this library does not know.

        Raises:
            ArtifactUntrustedError: the format can run code, and `trusted` is not set.
            ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
            ArtifactDamagedError: the contents are not those that were deployed.
        """
        return self._objects.load(self.resolve(model_name, version), trusted=trusted, serializer=serializer)

    def fetch(self, version: VersionNamed, path: str | Path, overwrite: bool = False) -> Version:  # noqa: FBT001, FBT002 - promised so
        """Write the contents of a version to a file, and return the version; nothing is loaded, so no trust is needed.

        Memory holds no more than a chunk of them. They are written beside the path, and get its name when their digest
        was checked.

        Args:
            version: a version_id, an address such as `fraud@1.2.0` or `fraud@primary`, or a Version.
            path: the file to make.
            overwrite: whether to replace a file that is there, or a link to one (not what it leads to).

        Raises:
            InvalidArgumentError: something is there already that may not be replaced.
            ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
            ArtifactDamagedError: the contents are not those that were deployed; no file was made.
            StoreError: the file can't be written.
        """
        return self._objects.fetch(self.version(version), path, overwrite)

    def invoke(
        self,
        model_name: str,
        inputs: object,
        version: VersionWanted = None,
        *,
        trusted: bool = False,
        serializer: str | Serializer | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the model answers
        """Call the primary, or the version that is named, in this process: its `predict`, or the object itself.

        Its object is loaded once for each serializer, and dropped when the version is no longer active.

        Raises:
            InvalidArgumentError: the object has no `predict` and can't be called.
            VersioningError: whatever `resolve` and `load` raise.
        """
        resolve = functools.partial(self.resolve, model_name, version)
        return self._objects.invoke(resolve, inputs, trusted, serializer, self.active)

    def collect_artifacts(self, *, dry_run: bool = False) -> Collection:
        """Erase contents that are older than a day and belong to no version that is left (R26).

        The facts stay: the log still has the digest, size and format of what was erased, and names, reasons, actors and
        metadata. Copies elsewhere, such as backups, are not reached.

        Args:
            dry_run: whether to say only what would be erased.

        Raises:
            ArtifactsNotOwnedError: the folder belongs to another store, or has seen events that this copy lacks.
        """
        only_looks = checked_flag(dry_run, "dry_run")
        if not only_looks:
            self._check_writable()
        return self._objects.collect(self._referenced, self._deployed, dry_run=only_looks)

    def adopt_artifacts(self) -> None:
        """Make the artifacts folder this store's own, whoever had it before, such as a copy of this store.

        From then on `collect_artifacts` erases only contents that this very log deployed and deleted.

        Raises:
            InvalidArgumentError: this registry has no folder.
            StoreError: the folder can't be written.
        """
        self._check_writable()
        self._objects.adopt()

    def _deployed(self) -> set[str]:
        deployed = (one.event.artifact.digest for one in self.history() if isinstance(one.event, VersionDeployed))
        return {digest for digest in deployed if digest is not None}

    def _referenced(self) -> set[str]:
        versions = (version for model in self.models() for version in model.versions)
        return {version.artifact.digest for version in versions if version.artifact.digest is not None}


def _models_of(past: Questions, model_name: str | None) -> tuple[Model, ...]:
    if model_name is None:
        return past.models()
    try:
        return (past.model(model_name),)
    except ModelNotFoundError:
        return ()
