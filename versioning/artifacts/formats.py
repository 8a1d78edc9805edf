"""Formats: how an object becomes bytes, and bytes an object again (R26).

The law of this room: a format's media type is in the events, so it is never changed.

To add a format: a class as `Serializer` says, and its place in `BUILT_IN`.
"""

from __future__ import annotations

import difflib
import importlib
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeAlias, TypeGuard

import attrs

from versioning.errors import ArtifactUntrustedError, InvalidArgumentError, shown
from versioning.limits import has_controls, has_lone_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

MEDIA_TYPE_CHARACTERS_MAX: Final = 200
_PICKLE_PROTOCOL: Final = 5
"""Fixed, so that an object's digest does not depend on the release of Python."""


def refuse(
    argument: str, sentence: str, *, rule: str | None = None, hint: str = "", cause: Exception | None = None
) -> NoReturn:
    """Raise `InvalidArgumentError`."""
    raise InvalidArgumentError(sentence, rule=rule, hint=hint, argument=argument) from cause


class Serializer(Protocol):
    """A format."""

    @property
    def name(self) -> str:
        """What callers say."""

    @property
    def media_type(self) -> str:
        """What the event keeps, and loading finds the format by."""

    @property
    def runs_code(self) -> bool:
        """Whether loading can run code that the contents hold, and so needs `trusted=True`."""

    def dumps(self, model: Any, /) -> bytes:  # noqa: ANN401 - a format may take some types only
        """Turn an object into bytes; whatever it raises means that it can't."""

    def loads(self, contents: bytes, /) -> object:
        """Turn bytes, whose digest has been looked at, into the object."""


AnySerializer: TypeAlias = str | Serializer
"""The name of a built-in format, or a caller's own."""


class PickleSerializer:
    """Python's own format: it takes almost any object, and loading it can run whatever its author wanted."""

    name = "pickle"
    media_type = "application/x-python-pickle"
    runs_code = True

    def dumps(self, model: object, /) -> bytes:
        return pickle.dumps(model, protocol=_PICKLE_PROTOCOL)

    def loads(self, contents: bytes, /) -> object:
        return pickle.loads(contents)  # noqa: S301 - load_artifact comes here with trusted=True only


@attrs.frozen
class SkopsSerializer:
    """The format of skops, for scikit-learn: only types that skops knows, or that are trusted by name, are built."""

    trusted_types: Sequence[str] = ()
    """Full names, as the error lists them."""

    name = "skops"
    media_type = "application/x-skops"
    runs_code = False

    def dumps(self, model: object, /) -> bytes:
        contents: bytes = _skops().dumps(model)
        return contents

    def loads(self, contents: bytes, /) -> object:
        skops = _skops()
        if types := sorted({*skops.get_untrusted_types(data=contents)}.difference(self.trusted_types)):
            msg = f"The artifact holds types that are not trusted: {', '.join(types)}."
            hint = "Look at each, and load with {skops} if you trust them."
            raise ArtifactUntrustedError(msg, hint=hint, types=types)
        model: object = skops.loads(contents, trusted=list(self.trusted_types))
        return model


def _skops() -> ModuleType:
    try:
        return importlib.import_module("skops.io")
    except ImportError as error:
        hint = "Install it in this environment: pip install skops"
        refuse("serializer", 'The serializer "skops" needs the package skops.', hint=hint, cause=error)


class BytesSerializer:
    """Contents as they are, and given back as bytes."""

    name = "bytes"
    media_type = "application/octet-stream"
    runs_code = False

    def dumps(self, model: bytes | bytearray | memoryview, /) -> bytes:
        return memoryview(model).tobytes()

    def loads(self, contents: bytes, /) -> bytes:
        return contents


BUILT_IN: Final[tuple[Serializer, ...]] = (PickleSerializer(), SkopsSerializer(), BytesSerializer())
SERIALIZERS: Final[Mapping[str, Serializer]] = {known.name: known for known in BUILT_IN}


def checked_serializer(serializer: object, default: object = None) -> Serializer:
    """Give the format that a name or an object stands for; None stands for the default.

    Raises:
        InvalidArgumentError: neither a known name nor like a `Serializer`, or there is no default.
    """
    chosen = default if serializer is None else serializer
    chosen = str.__str__(chosen) if isinstance(chosen, str) else chosen
    hint = f"Use one of {', '.join(SERIALIZERS)}, or an object with name, media_type, runs_code, dumps and loads."
    if isinstance(chosen, str):
        if chosen in SERIALIZERS:
            return SERIALIZERS[chosen]
        if close := difflib.get_close_matches(chosen[:MEDIA_TYPE_CHARACTERS_MAX].lower(), SERIALIZERS, n=1):
            hint = f'Did you mean "{close[0]}"? {hint}'
        refuse("serializer", f"There is no serializer {shown(chosen)}.", hint=hint)
    if chosen is None:
        refuse("serializer", "An object needs a serializer, and there is no default.", hint=hint)
    if not _is_serializer(chosen):
        refuse("serializer", f"This is not a serializer: {shown(chosen)}.", hint=hint)
    return chosen


def _is_serializer(value: object) -> TypeGuard[Serializer]:
    thing: Any = value
    try:
        named = isinstance(thing.name, str) and text_problem(thing.media_type, MEDIA_TYPE_CHARACTERS_MAX) is None
        works = isinstance(thing.runs_code, bool) and callable(thing.dumps) and callable(thing.loads)
    except Exception:  # noqa: BLE001 - a caller's attributes can fail in any way, and then it is none
        return False
    return named and works and not isinstance(value, type)


def text_problem(text: object, characters_max: int) -> str | None:
    """Return what is wrong with a text that events keep, or None (R28)."""
    if not isinstance(text, str):
        return f"is text, not {type(text).__name__}"
    if len(text) > characters_max:
        return f"has {len(text)} characters, and {characters_max} is the most"
    if str.isascii(text) and str.isprintable(text):  # as most are: then there is nothing else to look for
        return None
    if has_lone_surrogates(text):
        return "has half of a surrogate pair"
    return "has control characters" if has_controls(text) else None
