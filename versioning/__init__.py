"""The life of machine-learning model versions, as an event-sourced log.

    import versioning

    versioning.deploy(my_model, model_name="My wonderful model", version_bump="MAJOR", publish=True)

`ModelRegistry` is the one object to hold; `deploy` here is its `deploy` on a default registry. The other names are what
its calls take and return: values such as `Model` and `Usage`, the events of the log, the errors. The test kit
is `versioning.testing`, with the extra `testing`; the command line is `versioning`, with the extra `cli`.

A name is imported from its room when it is first asked for. So a program that uses a part of the package, for example
the rules, does not pay for a database.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from versioning.aggregate import Model as Model
    from versioning.aggregate import ModelAggregate as ModelAggregate
    from versioning.aggregate import Version as Version
    from versioning.answers import AsOf as AsOf
    from versioning.answers import History as History
    from versioning.artifacts.formats import Serializer as Serializer
    from versioning.artifacts.formats import SkopsSerializer as SkopsSerializer
    from versioning.artifacts.objects import Collection as Collection
    from versioning.audit.backup import Backup as Backup
    from versioning.audit.checkpoints import Checkpoint as Checkpoint
    from versioning.audit.log_file import LogFile as LogFile
    from versioning.audit.verify import Finding as Finding
    from versioning.audit.verify import Verification as Verification
    from versioning.commanding.calls import Preview as Preview
    from versioning.commanding.requests import Deployment as Deployment
    from versioning.commands import Expect as Expect
    from versioning.defaults import default_registry as default_registry
    from versioning.defaults import deploy as deploy
    from versioning.errors import ArtifactDamagedError as ArtifactDamagedError
    from versioning.errors import ArtifactNotFoundError as ArtifactNotFoundError
    from versioning.errors import ArtifactsNotOwnedError as ArtifactsNotOwnedError
    from versioning.errors import ArtifactUntrustedError as ArtifactUntrustedError
    from versioning.errors import ClockError as ClockError
    from versioning.errors import ConcurrencyError as ConcurrencyError
    from versioning.errors import CorruptLogError as CorruptLogError
    from versioning.errors import IdempotencyConflictError as IdempotencyConflictError
    from versioning.errors import InvalidArgumentError as InvalidArgumentError
    from versioning.errors import InvalidBumpError as InvalidBumpError
    from versioning.errors import InvalidInputError as InvalidInputError
    from versioning.errors import InvalidNameError as InvalidNameError
    from versioning.errors import LogRewoundError as LogRewoundError
    from versioning.errors import ModelNotFoundError as ModelNotFoundError
    from versioning.errors import NewerFormatError as NewerFormatError
    from versioning.errors import NoPrimaryVersionError as NoPrimaryVersionError
    from versioning.errors import NotFoundError as NotFoundError
    from versioning.errors import NothingToRollBackToError as NothingToRollBackToError
    from versioning.errors import PrimaryMovedError as PrimaryMovedError
    from versioning.errors import PrimaryProtectedError as PrimaryProtectedError
    from versioning.errors import ReadOnlyError as ReadOnlyError
    from versioning.errors import RefusedError as RefusedError
    from versioning.errors import StorageError as StorageError
    from versioning.errors import StoreError as StoreError
    from versioning.errors import TryAgainError as TryAgainError
    from versioning.errors import VersionDeletedError as VersionDeletedError
    from versioning.errors import VersioningError as VersioningError
    from versioning.errors import VersionNotActiveError as VersionNotActiveError
    from versioning.errors import VersionNotFoundError as VersionNotFoundError
    from versioning.events import ArtifactRef as ArtifactRef
    from versioning.events import ModelDeleted as ModelDeleted
    from versioning.events import NothingChanged as NothingChanged
    from versioning.events import PrimaryCleared as PrimaryCleared
    from versioning.events import Recorded as Recorded
    from versioning.events import VersionActivated as VersionActivated
    from versioning.events import VersionActivationFailed as VersionActivationFailed
    from versioning.events import VersionActivationRequested as VersionActivationRequested
    from versioning.events import VersionDeactivated as VersionDeactivated
    from versioning.events import VersionDeleted as VersionDeleted
    from versioning.events import VersionDeployed as VersionDeployed
    from versioning.events import VersionPromoted as VersionPromoted
    from versioning.events import VersionPublished as VersionPublished
    from versioning.projections import ActiveVersions as ActiveVersions
    from versioning.projections import BillableVersions as BillableVersions
    from versioning.projections import PrimaryVersions as PrimaryVersions
    from versioning.projections import Usage as Usage
    from versioning.projections import UsageLedger as UsageLedger
    from versioning.projections import UsageLine as UsageLine
    from versioning.reading.diff import Change as Change
    from versioning.reading.diff import Difference as Difference
    from versioning.reading.follower import Follower as Follower
    from versioning.reading.kept import Skipped as Skipped
    from versioning.reading.kept import ViewStatus as ViewStatus
    from versioning.reading.replay import Replayed as Replayed
    from versioning.registry import ModelRegistry as ModelRegistry
    from versioning.rules import Policy as Policy

__version__ = "0.1.0"

_HOMES: Final = {
    "aggregate": "Model ModelAggregate Version",
    "answers": "AsOf History",
    "artifacts.formats": "Serializer SkopsSerializer",
    "audit.backup": "Backup",
    "artifacts.objects": "Collection",
    "audit.checkpoints": "Checkpoint",
    "audit.log_file": "LogFile",
    "audit.verify": "Finding Verification",
    "commanding.calls": "Preview",
    "commanding.requests": "Deployment",
    "commands": "Expect",
    "defaults": "default_registry deploy",
    "errors": (
        "ArtifactDamagedError ArtifactNotFoundError ArtifactUntrustedError ArtifactsNotOwnedError ClockError "
        "ConcurrencyError CorruptLogError IdempotencyConflictError InvalidArgumentError InvalidBumpError "
        "InvalidInputError InvalidNameError LogRewoundError ModelNotFoundError NewerFormatError "
        "NoPrimaryVersionError NotFoundError NothingToRollBackToError PrimaryMovedError PrimaryProtectedError "
        "ReadOnlyError RefusedError StorageError StoreError TryAgainError VersionDeletedError "
        "VersionNotActiveError VersionNotFoundError VersioningError"
    ),
    "events": (
        "ArtifactRef ModelDeleted NothingChanged PrimaryCleared Recorded VersionActivated VersionActivationFailed "
        "VersionActivationRequested VersionDeactivated VersionDeleted VersionDeployed VersionPromoted VersionPublished"
    ),
    "projections": "ActiveVersions BillableVersions PrimaryVersions Usage UsageLedger UsageLine",
    "reading.diff": "Change Difference",
    "reading.follower": "Follower",
    "reading.kept": "Skipped ViewStatus",
    "reading.replay": "Replayed",
    "registry": "ModelRegistry",
    "rules": "Policy",
}
"""The public names by their rooms; the type checker reads the list above, and a test compares the two."""
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - one list of the names, made from the homes


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has this name
    home = _HOME_OF.get(name)
    if home is not None:
        return globals().setdefault(name, getattr(importlib.import_module(f"{__name__}.{home}"), name))
    if not name.startswith("_") and importlib.util.find_spec(f"{__name__}.{name}"):  # a room, not imported yet
        return importlib.import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
