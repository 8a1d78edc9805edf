"""Formats: how an object becomes bytes, and bytes become an object again (R26).

The law of this room: **a media type never changes.** The events keep it, and loading finds the format by it.

To add a format: a class with the members of `Serializer`, and an instance of it in `BUILT_IN`.
"""

from __future__ import annotations

import difflib
import importlib
import pickle
import pickletools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, TypeAlias, TypeGuard, cast

import attrs

from versioning.errors import ArtifactUntrustedError, InvalidArgumentError, shown
from versioning.limits import exact, text_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import ModuleType

MEDIA_TYPE_CHARACTERS_MAX: Final = 200
_PICKLE_PROTOCOL: Final = 5
"""Fixed, so that the digest of an object does not depend on the release of Python."""

_STARTED: Final = ("__main__", "__mp_main__")
"""Modules that are whatever program was started."""


def refuse(
    argument: str,
    sentence: str,
    *,
    rule: str | None = None,
    hint: str = "",
    outside: str | None = None,
    cause: Exception | None = None,
) -> NoReturn:
    """Raise `InvalidArgumentError`."""
    raise InvalidArgumentError(sentence, rule=rule, hint=hint, outside=outside, argument=argument) from cause


class Serializer(Protocol):
    """A format: it turns objects into bytes, and bytes into objects."""

    @property
    def name(self) -> str:
        """Name by which callers choose it."""

    @property
    def media_type(self) -> str:
        """Media type that the event keeps; loading finds the format by it."""

    @property
    def runs_code(self) -> bool:
        """Whether loading can run code from the contents, and so needs `trusted=True`."""

    def dumps(self, model: Any, /) -> bytes:  # noqa: ANN401 - a format may take some types only
        """Turn an object into bytes; any exception means that it can't."""

    def loads(self, contents: bytes, /) -> object:
        """Turn bytes whose digest was checked into the object; any exception means that it can't."""


AnySerializer: TypeAlias = str | Serializer
"""The name of a built-in format, or a format of the caller's own."""


class PickleSerializer:
    """Python's own format: it takes almost any object, and loading it can run any code that its author wanted."""

    name = "pickle"
    media_type = "application/x-python-pickle"
    runs_code = True

    def dumps(self, model: object, /) -> bytes:
        contents = pickle.dumps(model, protocol=_PICKLE_PROTOCOL)
        _refuse_names_of_main(_names_in_pickle(contents))
        return contents

    def loads(self, contents: bytes, /) -> object:
        return pickle.loads(contents)  # noqa: S301 - load_artifact comes here with trusted=True only


@attrs.frozen
class SkopsSerializer:
    """The format of skops, for scikit-learn: it builds only types that skops knows, or that are trusted by name."""

    trusted_types: Sequence[str] = ()
    """Full names of further types to build, as the error lists them."""

    name = "skops"
    media_type = "application/x-skops"
    runs_code = False

    def dumps(self, model: object, /) -> bytes:
        skops = _skops()
        contents: bytes = skops.dumps(model)
        _refuse_names_of_main(skops.get_untrusted_types(data=contents))
        return contents

    def loads(self, contents: bytes, /) -> object:
        skops = _skops()
        if types := sorted({*skops.get_untrusted_types(data=contents)}.difference(self.trusted_types)):
            msg = f"The artifact holds types that are not trusted: {', '.join(types)}."
            hint = "Check each of them; if you trust them, load with {skops}."
            raise ArtifactUntrustedError(msg, hint=hint, types=types)
        model: object = skops.loads(contents, trusted=list(self.trusted_types))
        return model


def _names_in_pickle(contents: bytes) -> Iterator[str]:
    """Yield the full names of what a pickle finds by its name, if one could be of a program that was started."""
    if not any(module.encode() in contents for module in _STARTED):
        return
    memo: list[object] = []
    before: object = None
    last: object = None
    for opcode, argument, _ in pickletools.genops(contents):
        if opcode.name == "MEMOIZE":
            memo.append(last)
        elif opcode.name == "STACK_GLOBAL":
            yield f"{before}.{last}"
            last = None
        elif opcode.name != "FRAME":
            is_again = opcode.name in {"BINGET", "LONG_BINGET"}
            before, last = last, (memo[cast("int", argument)] if is_again else argument)


def _refuse_names_of_main(names: Iterable[str]) -> None:
    """Refuse names of the program that was started: in another one, or once edited, they name something else."""
    for name in names:
        if name.partition(".")[0] in _STARTED:
            refuse(
                "model_or_reference",
                f"Only the name of {shown(name)} would be kept, and in another program it names something else.",
                hint="Define it in a module and import it, or use a serializer of your own that calls cloudpickle.",
            )


def _skops() -> ModuleType:
    try:
        return importlib.import_module("skops.io")
    except ImportError as error:
        hint = "Install it in this environment: pip install skops"
        outside = "This service has no serializer skops."
        refuse(
            "serializer",
            'The serializer "skops" needs the package skops.',
            hint=hint,
            outside=outside,
            cause=error,
        )


class BytesSerializer:
    """Contents as they are, returned as bytes."""

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
    """Return the format that a name or an object stands for; None stands for the default.

    Raises:
        InvalidArgumentError: it is neither a known name nor a `Serializer`, or there is no default.
    """
    chosen = default if serializer is None else serializer
    chosen = exact(chosen) if isinstance(chosen, str) else chosen
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
    except Exception:  # noqa: BLE001 - a caller's attributes can fail in any way; then it is not a serializer
        return False
    return named and works and not isinstance(value, type)
