"""Model objects in this process: stored when deployed, loaded once to be invoked, dropped when no longer active.

The law of this room: **an object is held only while its version may answer**, and one that was loaded with trust is
never handed to a caller who gave none.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from versioning.artifacts.formats import checked_serializer
from versioning.artifacts.loading import as_artifact, load_artifact
from versioning.errors import InvalidArgumentError, shown
from versioning.limits import checked_flag

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.aggregate import Version
    from versioning.artifacts.folder import ArtifactFolder
    from versioning.artifacts.formats import AnySerializer
    from versioning.events import ArtifactRef


class _Held:
    """A model object that was loaded to be invoked, and the lock that makes it load once."""

    __slots__ = ("is_harmless", "lock", "model")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: object = None
        self.is_harmless = False
        """Whether it was loaded without trust."""


class ModelObjects:
    """The model objects of a registry, and how they are stored, loaded and invoked."""

    def __init__(self, folder: ArtifactFolder | None, serializer: AnySerializer | None) -> None:
        """Keep contents in a folder, if there is one.

        Args:
            folder: the folder for contents, or None.
            serializer: how objects become bytes if the caller does not say.
        """
        self.folder = folder
        self.serializer = None if serializer is None else checked_serializer(serializer)
        self._held: dict[str, _Held] = {}

    def store(self, model: object, serializer: AnySerializer | None, *, preview: bool = False) -> ArtifactRef:
        """Return the reference that the event keeps; contents are stored first, unless it is a preview.

        Raises:
            InvalidArgumentError: the reference, the file, the object or the serializer can't be accepted.
            StoreError: the folder can't be written.
        """
        return as_artifact(model, serializer, self.serializer, self.folder, preview=preview)

    def load(self, version: Version, *, trusted: bool, serializer: AnySerializer | None) -> object:
        """Return the model object of a version; its digest is checked first.

        Raises:
            ArtifactUntrustedError: the format can run code, and `trusted` is not set.
            ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
            ArtifactDamagedError: the contents are not those that were deployed.
        """
        ours = (self.serializer,)
        return load_artifact(version.artifact, self.folder, trusted=trusted, serializers=ours, serializer=serializer)

    def invoke(
        self, version: Version, inputs: object, trusted: object, serializer: AnySerializer | None,
        active: Callable[[str], tuple[Version, ...]],
    ) -> Any:  # noqa: ANN401 - whatever the model answers  # fmt: skip
        """Call a version's object, or its `predict`; it is loaded once.

        Args:
            version: the version to call.
            inputs: what the object is called with.
            trusted: whether formats that can run code may be loaded.
            serializer: the caller's serializer, for a format that this library does not know.
            active: returns the active versions of a model, by its name.

        Raises:
            InvalidArgumentError: the object has no `predict` and can't be called.
        """
        model = self._model(version, trusted=checked_flag(trusted, "trusted"), serializer=serializer, active=active)
        call = getattr(model, "predict", model)
        if not callable(call):
            msg = f"{version.number} of {shown(version.model_name)} is a {type(model).__name__}, which can't be called."
            raise InvalidArgumentError(msg, hint="Deploy an object with {predict}, or a function.")
        return call(inputs)

    def _model(
        self,
        version: Version,
        *,
        trusted: bool,
        serializer: AnySerializer | None,
        active: Callable[[str], tuple[Version, ...]],
    ) -> object:
        self._drop_idle(version, active)
        held = self._held.setdefault(version.version_id, _Held())
        with held.lock:
            if held.model is None or not (trusted or held.is_harmless):
                held.model = self.load(version, trusted=trusted, serializer=serializer)
                held.is_harmless = not trusted
            return held.model

    def _drop_idle(self, version: Version, active: Callable[[str], tuple[Version, ...]]) -> None:
        """Drop the objects of this model's versions that are no longer active."""
        ours = version.model_id.rpartition("_")[0].replace("mdl_", "ver_", 1)
        held = tuple(self._held)  # commands in other threads take theirs out
        idle = [one for one in held if one.startswith(ours) and one != version.version_id]
        if idle:
            serving = {one.version_id for one in active(version.model_name)}
            for version_id in idle:
                if version_id not in serving:
                    self.drop(version_id)

    def drop(self, version_id: str) -> None:
        """Drop the object of a version, if it is held."""
        self._held.pop(version_id, None)

    def collect(self, referenced: Callable[[], set[str]]) -> tuple[str, ...]:
        """Erase contents that are not referred to and are older than a day; return their digests."""
        return () if self.folder is None else tuple(self.folder.collect(referenced))
