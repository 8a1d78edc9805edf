"""What does `import versioning` give? All public names, and `deploy` on a default registry.

The package imports this room when the first of the names is asked for, so that whoever uses a part of it, the rules for
example, does not pay for a database.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, Unpack

from versioning.aggregate import Model, ModelAggregate, Version
from versioning.audit.checkpoints import Checkpoint
from versioning.audit.log_file import LogFile
from versioning.audit.verify import Finding, Verification
from versioning.errors import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    ArtifactUntrustedError,
    ConcurrencyError,
    CorruptLogError,
    IdempotencyConflictError,
    InvalidArgumentError,
    InvalidBumpError,
    InvalidInputError,
    InvalidNameError,
    ModelNotFoundError,
    NewerFormatError,
    NoPrimaryVersionError,
    NotFoundError,
    NothingToRollBackToError,
    PrimaryMovedError,
    PrimaryProtectedError,
    RefusedError,
    StorageError,
    StoreError,
    TryAgainError,
    VersionDeletedError,
    VersioningError,
    VersionNotActiveError,
    VersionNotFoundError,
)
from versioning.events import ArtifactRef, Recorded
from versioning.projections import ActiveVersions, BillableVersions, PrimaryVersions, Usage, UsageLedger, UsageLine
from versioning.reading.diff import Change, Difference
from versioning.reading.questions import AsOf, History
from versioning.reading.replay import Replayed
from versioning.registry import Deployment, ModelRegistry
from versioning.rules import Policy

if TYPE_CHECKING:
    from versioning.artifacts.formats import Serializer
    from versioning.registry import Why

__all__ = [
    "ActiveVersions",
    "ArtifactDamagedError",
    "ArtifactNotFoundError",
    "ArtifactRef",
    "ArtifactUntrustedError",
    "AsOf",
    "BillableVersions",
    "Change",
    "Checkpoint",
    "ConcurrencyError",
    "CorruptLogError",
    "Deployment",
    "Difference",
    "Finding",
    "History",
    "IdempotencyConflictError",
    "InvalidArgumentError",
    "InvalidBumpError",
    "InvalidInputError",
    "InvalidNameError",
    "LogFile",
    "Model",
    "ModelAggregate",
    "ModelNotFoundError",
    "ModelRegistry",
    "NewerFormatError",
    "NoPrimaryVersionError",
    "NotFoundError",
    "NothingToRollBackToError",
    "Policy",
    "PrimaryMovedError",
    "PrimaryProtectedError",
    "PrimaryVersions",
    "Recorded",
    "RefusedError",
    "Replayed",
    "StorageError",
    "StoreError",
    "TryAgainError",
    "Usage",
    "UsageLedger",
    "UsageLine",
    "Verification",
    "Version",
    "VersionDeletedError",
    "VersionNotActiveError",
    "VersionNotFoundError",
    "VersioningError",
    "default_registry",
    "deploy",
]

_defaults: dict[tuple[str | None, str], ModelRegistry] = {}
_defaults_lock = threading.Lock()


def default_registry() -> ModelRegistry:
    """Give the registry at VERSIONING_URL, else at `sqlite:///versioning.db` in the current folder; opened once."""
    place = (os.environ.get("VERSIONING_URL"), os.getcwd())  # noqa: PTH109 - the text is what is compared
    with _defaults_lock:
        registry = _defaults.get(place)
        if registry is None or registry.closed:
            registry = _defaults[place] = ModelRegistry()
            atexit.register(registry.close)
        return registry


def deploy(
    model_or_reference: object,
    serializer: str | Serializer | None = None,
    *,
    model_name: str,
    version_bump: str = "MINOR",
    publish: bool = False,
    promote: bool | None = None,
    metadata: dict[str, Any] | None = None,
    **why: Unpack[Why],
) -> Version:
    """Deploy on the default registry, as `ModelRegistry.deploy` does; an object without a serializer is pickled."""
    return default_registry().deploy(
        model_or_reference,
        serializer,
        model_name=model_name,
        version_bump=version_bump,
        publish=publish,
        promote=promote,
        metadata=metadata,
        **why,
    )
