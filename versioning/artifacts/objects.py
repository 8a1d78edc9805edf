"""Model objects in this process: stored when deployed, loaded once to be invoked, dropped when no longer active.

The law of this room: **an object is held only while its version may answer**, and one that was loaded with trust is
never handed to a caller who gave none.
"""

from __future__ import annotations

import collections
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs

from versioning.artifacts.fetching import fetch
from versioning.artifacts.formats import SkopsSerializer, checked_serializer
from versioning.artifacts.loading import as_artifact, load_artifact, present
from versioning.errors import InvalidArgumentError, ModelNotFoundError, NotFoundError, RefusedError, shown
from versioning.events import Value
from versioning.limits import checked_flag, checked_limit
from versioning.processes import inherited_by, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from versioning.aggregate import Model, Version
    from versioning.artifacts.folder import ArtifactFolder
    from versioning.artifacts.formats import AnySerializer, Serializer
    from versioning.events import ArtifactRef

Digests: TypeAlias = "Callable[[], set[str]]"
HELD_MAX: Final = 32
"""Most model objects that are held, unless the caller says otherwise; the one invoked longest ago is dropped first."""
_Key: TypeAlias = tuple[str, str | int | None]
"""What shapes an object: its version, and the serializer that the caller chose."""


@attrs.frozen
class Collection(Value):
    """What was collected of a folder of contents: files that no version needs any more."""

    erased: tuple[str, ...]
    """Digests of the contents that were erased, or would be."""
    unknown: tuple[str, ...]
    """Digests of contents that stay, since this log never deployed them; only an adopted folder has some."""
    dry_run: bool
    """Whether nothing was erased."""


class _Held:
    """A model object that was loaded to be invoked, and the lock that makes it load once."""

    __slots__ = ("call", "is_harmless", "lock", "model_name", "serializer")

    def __init__(self, model_name: str, serializer: Serializer | None) -> None:
        self.lock = threading.Lock()
        self.model_name = model_name
        self.serializer = serializer
        """It stays alive as long as its id is part of a key."""
        self.call: Callable[[object], Any] | None = None
        """The object's `predict`, or the object itself; None until it was loaded and can be called."""
        self.is_harmless = False
        """Whether it was loaded without trust."""


class ModelObjects:
    """The model objects of a registry, and how they are stored, loaded and invoked."""

    def __init__(
        self, folder: ArtifactFolder | None, serializer: AnySerializer | None, held_max: object = HELD_MAX
    ) -> None:
        """Keep contents in a folder, if there is one.

        Args:
            folder: the folder for contents, or None.
            serializer: how objects become bytes if the caller does not say.
            held_max: most objects that are held; with 0, each call loads its own, and None means all.
        """
        self.held_max = checked_limit(held_max, "objects_max")
        self.folder = folder
        self.serializer = None if serializer is None else checked_serializer(serializer)
        self._held: collections.OrderedDict[_Key, _Held] = collections.OrderedDict()
        self._lock = threading.Lock()
        inherited_by(self)

    def begin_in_child(self) -> None:
        """Keep the objects that are loaded, which a child shares with its parent, under locks of this process."""
        self._lock = threading.Lock()
        self._held = self._held.copy()
        for key, held in list(self._held.items()):
            held.lock = threading.Lock()
            if held.call is None:
                del self._held[key]

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

    def fetch(self, version: Version, path: object, overwrite: object) -> Version:
        """Write the contents of a version to a file, and return the version.

        Raises:
            ArtifactNotFoundError: only a reference was deployed, or the contents are gone.
            ArtifactDamagedError: the contents are not those that were deployed.
            InvalidArgumentError: the path can't be accepted, or something is there already.
            StoreError: the folder can't be read, or the file can't be written.
        """
        fetch(version.artifact, self.folder, path, overwrite=overwrite)
        return version

    def invoke(
        self, resolve: Callable[[], Version], inputs: object, trusted: object, serializer: AnySerializer | None,
        active: Callable[[str], tuple[Version, ...]],
    ) -> Any:  # noqa: ANN401 - whatever the model answers  # fmt: skip
        """Call a version's object, or its `predict`; it is loaded once.

        Args:
            resolve: returns the version to call.
            inputs: what the object is called with.
            trusted: whether formats that can run code may be loaded.
            serializer: the caller's serializer, for a format that this library does not know.
            active: returns the active versions of a model, by its name.

        Raises:
            InvalidArgumentError: the object has no `predict` and can't be called.
            VersioningError: whatever `resolve` raises.
        """
        is_trusted = checked_flag(trusted, "trusted")
        chosen = None if serializer is None else checked_serializer(serializer)
        try:
            version = resolve()
        except (NotFoundError, RefusedError):
            self._drop_idle(active)
            raise
        return self._callable(version, is_trusted, chosen, active)(inputs)

    def _callable(
        self,
        version: Version,
        trusted: bool,  # noqa: FBT001 - private
        serializer: Serializer | None,
        active: Callable[[str], tuple[Version, ...]],
    ) -> Callable[[object], Any]:
        key = (version.version_id, _named(serializer))
        look()
        with self._lock:
            held = self._held.setdefault(key, _Held(version.model_name, serializer))
            self._held.move_to_end(key)
            while self.held_max is not None and len(self._held) > self.held_max:
                self._held.popitem(last=False)
        with held.lock:
            if held.call is None or not (trusted or held.is_harmless):
                self._drop_idle(active)
                try:
                    held.call = self._loaded(version, trusted, serializer)
                    held.is_harmless = not trusted
                finally:
                    if held.call is None:
                        self._drop([key])
            return held.call

    def _loaded(self, version: Version, trusted: bool, serializer: Serializer | None) -> Callable[[object], Any]:  # noqa: FBT001 - private
        model = self.load(version, trusted=trusted, serializer=serializer)
        call: Any = getattr(model, "predict", model)
        if not callable(call):
            msg = f"{version.number} of {shown(version.model_name)} is a {type(model).__name__}, which can't be called."
            raise InvalidArgumentError(msg, hint="Deploy an object with {predict}, or a function.")
        return cast("Callable[[object], Any]", call)

    def _drop_idle(self, active: Callable[[str], tuple[Version, ...]]) -> None:
        """Drop the objects of all versions that are no longer active, whoever changed that."""
        look()
        with self._lock:
            held = {key: one.model_name for key, one in self._held.items()}
        serving: set[str] = set()
        for model_name in set(held.values()):
            with contextlib.suppress(ModelNotFoundError):
                serving.update(version.version_id for version in active(model_name))
        self._drop(key for key in held if key[0] not in serving)

    def _drop(self, keys: Iterable[_Key]) -> None:
        with self._lock:
            for key in keys:
                self._held.pop(key, None)

    def after_command(self, version: Version) -> Version:
        """Return a version that a command left; its objects are dropped if it is no longer active."""
        if version.status != "active":
            self._drop_where(lambda key, _: key[0] == version.version_id)
        return version

    def after_change(self) -> None:
        """Note in the folder that the log has come further: versions were deployed or deleted."""
        if self.folder is not None:
            self.folder.move_on()

    def after_deletion(self, model: Model) -> Model:
        """Return a model that was deleted; the objects of its versions are dropped."""
        self.after_change()
        self._drop_where(lambda _, held: held.model_name == model.name)
        return model

    def _drop_where(self, is_wanted: Callable[[_Key, _Held], bool]) -> None:
        look()
        with self._lock:
            for key in [key for key, held in self._held.items() if is_wanted(key, held)]:
                del self._held[key]

    def adopt(self) -> None:
        """Make the folder the own of this registry's store.

        Raises:
            InvalidArgumentError: there is no folder.
            StoreError: it can't be written.
        """
        present(self.folder).adopt()

    def collect(self, referenced: Digests, deployed: Digests, *, dry_run: bool) -> Collection:
        """Erase contents that are not referred to and are older than a day.

        Args:
            referenced: returns the digests of versions that are left.
            deployed: returns the digests of all versions that were ever deployed.
            dry_run: whether to erase nothing.
        """
        if self.folder is None:
            return Collection((), (), dry_run)
        owner = self.folder.owned()
        only = deployed() if owner is not None and owner.adopted else None
        unused = self.folder.collect(referenced, dry_run=True) if only is not None else []
        erased = self.folder.collect(referenced, only=only, dry_run=dry_run)
        return Collection(tuple(erased), tuple(one for one in unused if one not in (only or ())), dry_run)


def _named(serializer: Serializer | None) -> str | int | None:
    """Return what tells a serializer from others: what one of skops trusts, or else which object it is."""
    if serializer is None:
        return None
    return repr(serializer) if type(serializer) is SkopsSerializer else id(serializer)
