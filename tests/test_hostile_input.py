"""Whatever comes in: refused with a typed error and nothing recorded, or accepted and read back exactly; always alike.

A table of values, times every argument of every public call, times the stores. The ids that stores draw at random are
drawn here from a counter, so that what two stores answer can be compared with `==`.
"""

# ruff: noqa: ANN401, RUF001 - what comes in is of any type, and reads like something else on purpose

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import fractions
import inspect
import itertools
import json
import os
import pathlib
import types
import unicodedata
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from tests.stores import START, STORES, TRIED, Clock, Kind
from versioning import (
    ArtifactRef,
    InvalidInputError,
    ModelRegistry,
    NotFoundError,
    Policy,
    Recorded,
    RefusedError,
    StoreError,
    Version,
    VersioningError,
)
from versioning.answers import AsOf
from versioning.commands import Expect
from versioning.limits import FAILURE_CHARACTERS_MAX
from versioning.reading.follower import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator

UTC = dt.UTC
URI = "s3://bucket/model"
NOT_TEXT: Any = 1
STREAM = "0123456789ab8def8123456789abcdef"


# What comes in.


class Broken:
    """An object in which everything fails."""

    def _fail(self, *_: object) -> Any:
        msg = "broken"
        raise RuntimeError(msg)

    __eq__ = __ne__ = __lt__ = __gt__ = __bool__ = __len__ = __iter__ = __getitem__ = __call__ = _fail
    __hash__ = __repr__ = __str__ = __format__ = __index__ = __int__ = __float__ = __contains__ = __fspath__ = _fail


class BrokenRepr:
    def __repr__(self) -> str:
        msg = "broken"
        raise ValueError(msg)


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class BrokenAttributes:
    def __getattr__(self, name: str) -> Any:
        raise OSError(name)


class Subtext(str):
    """A text that is none of its own."""

    __slots__ = ()


class LyingText(str):
    """A text that tells something else to whoever asks the usual way."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another\ud800"

    def __repr__(self) -> str:
        return "another"


class BrokenText(str):
    """A text that can't be compared, hashed or shown."""

    __slots__ = ()

    def _fail(self, *_: object) -> Any:
        msg = "broken"
        raise RuntimeError(msg)

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __repr__ = __format__ = __hash__ = _fail


class Word(enum.StrEnum):
    MAJOR = "MAJOR"


class Tagged(str, enum.Enum):  # noqa: UP042 - unlike StrEnum, str() of its members is another text
    MINOR = "MINOR"


class Subnumber(int):
    pass


class BrokenNumber(int):
    """A number that can't be compared or shown."""

    def _fail(self, *_: object) -> Any:
        msg = "broken"
        raise RuntimeError(msg)

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __repr__ = __str__ = __index__ = __hash__ = _fail


class Level(enum.IntEnum):
    ONE = 1


class Submapping(dict[Any, Any]):
    def items(self) -> Any:
        return [("b", 2)]


class NoOffset(dt.tzinfo):
    """A time zone that does not know its offset, or fails to say it."""

    def __init__(self, offset: object) -> None:
        self.offset = offset

    def utcoffset(self, _: dt.datetime | None) -> Any:
        if isinstance(self.offset, Exception):
            raise self.offset
        return self.offset

    def dst(self, _: dt.datetime | None) -> dt.timedelta | None:
        return None

    def tzname(self, _: dt.datetime | None) -> str | None:
        return None


class Submoment(dt.datetime):
    def utcoffset(self) -> dt.timedelta | None:
        msg = "broken"
        raise RuntimeError(msg)


def deep(levels: int, leaf: Any = None) -> Any:
    """Give a dict of so many levels."""
    value: Any = {} if leaf is None else leaf
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def cyclic() -> Any:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


def east(hours: float) -> dt.timezone:
    return dt.timezone(dt.timedelta(hours=hours))


# fmt: off
TEXTS: tuple[Any, ...] = (
    "", " ", "  ", "\t", "\n", "\r\n", "a\n", "\na", "a b", " a", "a ", "\x00", "a\x00b", "\x01", "\x1b[31m", "\x1f",
    "\x7f", "\x85", "\x9f", "\u00a0", "a\u00a0", "\u00ad", "\u200b", "\u200d", "\u200e", "\u202eabc", "\u2028a",
    "a\u2029",
    "\u2066a\u2069", "\u3000", "\ufeff", "\ufeffa", "\ufffd", "\uffff", "\U0001f600", "\U000e0001", "\U0010ffff",
    "\ud800", "a\udc00", "\ud83d\ude00", "\udfff" * 3,
    "é", "e\u0301", "\u0301", "\u0344", "\u1e9b\u0323", "Å", "\u212b", "ﬁ", "ß", "ẞ", "İ", "ı", "ǅ", "K", "가", "각",
    "z" + "\u0301" * 60, "👨‍👩‍👧", "مرحبا", "שלום", "日本語",
    "x" * 200, "x" * 201, "x" * 256, "x" * 257, "e\u0301" * 256, "e\u0301" * 257, "x" * 1_024, "x" * 1_025,
    "é" * 2_000, "é" * 2_001, "x" * 8_000, "x" * 8_001, "\U0001f600" * 9_000, "x" * 1_000_000,
    "'; DROP TABLE stored_events; --", '"', "\\", "%s%n%x", "{0.__class__}", "${HOME}", "<script>", "../../x", "a/b",
    ".",
    "churn@0.3.0", "churn@primary", "churn@^0.1", "churn@9.9.9", "churn@", "@primary", "a@b@primary", "nobody@0.1.0",
    "file:///x", "http://x", "memory:", ":memory:", "sha256:" + "0" * 64, "sha256:zz", "null", "None", "True", "nan",
    "0", "-1", "7", "1.0", "1e308", "0x10", "1_000", "٣", "²", "9" * 5_000,
    "0.1.0", "0.2.0", "9.9.9", "01.2.3", "v0.1.0", "0.1.0-rc.1", "0.1.0+b", "0.1.0\n", "٠.١.٠", "0" * 300 + ".0.0",
    "9" * 100 + ".0.0", "^0.1", "~0.1.0", ">=0.1.0,<1", "^" * 100, "^1.2.3.4", ">= 0", "*", "latest", "^" + "9" * 200,
    "MAJOR", "minor", "pAtCh", "MINOR ", "mınor", "ＭＡＪＯＲ",
    "pickle", "bytes", "skops", "draft", "active", "refuse", "fall_back",
    f"ver_{STREAM}_1_01234567", f"ver_{STREAM}_1_01234567\n", f"VER_{STREAM}_1_01234567", f"ver_{STREAM}_0_01234567",
    f"ver_{STREAM}_{'9' * 18}_01234567", f"ver_{STREAM}_{'9' * 19}_01234567", f"ver_{STREAM}_١_01234567",
    f"mdl_{STREAM}_1", f"mdl_{STREAM}_{'9' * 27}", f"act_{STREAM}_1_01234567_1", f"act_{STREAM}_1_01234567_" + "9" * 16,
    "ver_", "mdl_x", "act",
    Subtext("x"), Subtext(" x"), LyingText("lying"), LyingText("\x00"), LyingText(f"ver_{STREAM}_1_01234567"),
    Word.MAJOR,
    Tagged.MINOR,
)
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 255, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 10**5_000, True, False,
    0.0, -0.0, 1.0, 0.5, -1.5, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 1j,
    decimal.Decimal(1), decimal.Decimal("NaN"), fractions.Fraction(1, 3),
    Subnumber(1), Level.ONE,
)
MOMENTS: tuple[Any, ...] = (
    START, START - dt.timedelta(days=1), START + dt.timedelta(days=1), START.replace(tzinfo=None),
    START.replace(fold=1),
    START.astimezone(east(14)), START.astimezone(east(-12)), START.astimezone(dt.timezone(dt.timedelta(seconds=1))),
    dt.datetime.min, dt.datetime.max,  # noqa: DTZ901 - as they come
    dt.datetime.min.replace(tzinfo=UTC), dt.datetime.max.replace(tzinfo=UTC),
    dt.datetime.min.replace(tzinfo=east(14)), dt.datetime.max.replace(tzinfo=east(-12)),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), dt.datetime(1, 1, 1, 1, tzinfo=east(1)),
    START.replace(tzinfo=NoOffset(None)), START.date(), START.time(), START.timestamp(), START.isoformat(),
    dt.timedelta(0), dt.timedelta(1), dt.timedelta.max, dt.timedelta.min,
)
OBJECTS: tuple[Any, ...] = (
    None, ..., NotImplemented, object(), type, int, Broken(), BrokenRepr(), EqualToAll(), BrokenAttributes(),
    b"", b"x", b"\xff\x00", "x".encode("utf-16"), bytearray(b"x"), memoryview(b"x"),
    [], [1], (), ("x",), set(), frozenset({1}), range(3), [[[[[[[[[[]]]]]]]]]], [deep(3)], iter([]), (x for x in "ab"),
    {}, {"a": 1}, {"z": 1, "a": [1, 2.5, "é", None, True]}, {1: 2}, {None: 1}, {"a": {1: 2}}, {"": ""},
    {"\x00": "\x00"},
    {"\ud800": 1}, {"a": "\ud800"}, {"a": float("nan")}, {"a": float("inf")}, {"a": -0.0}, {"a": 10**5_000},
    {"a": 2**64},
    {"a": b"x"}, {"a": (1,)}, {"a": {1}}, {"a": object()}, {"a": Broken()}, {"a": BrokenRepr()}, {"a": START},
    {Subtext("a"): 1},
    {"a": Subtext("x")}, {"a": Subnumber(1)}, {"a": Level.ONE}, {"a": BrokenText("x")}, {BrokenRepr(): 1},
    {"a": 5e-324},
    {"_type_": "x", "_data_": 1}, {"a": "x" * 16_376}, {"a": "x" * 16_377}, {"a": "é" * 8_188},
    {str(i): i for i in range(2_000)},
    deep(8), deep(9), deep(8, [[]]), deep(100), deep(100_000), cyclic(), Submapping(a=1), collections.OrderedDict(a=1),
    collections.defaultdict(int), types.MappingProxyType({"a": 1}),
    pathlib.Path("no such file"), pathlib.Path(), pathlib.PurePosixPath("x"), pathlib.PureWindowsPath("x"),
    pathlib.Path("a\0b"),
    pathlib.Path("x" * 5_000),
    uuid.UUID(int=0), Expect.ANYTHING, Policy(), ArtifactRef("u"), ArtifactRef(""), ArtifactRef("u", "0" * 64, 1, "t"),
    ArtifactRef("u", "0"), ArtifactRef("u", None, -1), ArtifactRef("u", None, 2**63), ArtifactRef(NOT_TEXT),
    ArtifactRef(Subtext("u")), ArtifactRef("sha256:" + "0" * 64, "1" * 64),
    ArtifactRef("u", None, size_bytes=True, media_type="x" * 201),
    len, lambda: 1, print, pytest, ValueError("x"), attrs, Version, slice(1, 2), os.environ,
)
# fmt: on
VALUES: tuple[Any, ...] = (*TEXTS, *NUMBERS, *MOMENTS, *OBJECTS)
# fmt: off
BREAKING: tuple[Any, ...] = (
    BrokenText("broken"), BrokenText("MAJOR"), BrokenText("0.3.0"), BrokenText("^0.3"), BrokenText("deploying"),
    BrokenText(f"ver_{STREAM}_1_01234567"), BrokenText(f"mdl_{STREAM}_1"), BrokenText(f"act_{STREAM}_1_01234567_1"),
    BrokenNumber(1), BrokenNumber(0), Submoment(2026, 1, 1, tzinfo=UTC),
    START.replace(tzinfo=NoOffset("1h")), START.replace(tzinfo=NoOffset(RuntimeError("broken"))),
    START.replace(tzinfo=NoOffset(dt.timedelta(days=2))),
)
# fmt: on
"""Of the right type, and everything that is usually done with it raises."""
GROUPS = pytest.mark.parametrize("values", [VALUES, BREAKING], ids=["values", "breaking"])


# Whom it comes to.


class World:
    """A store with a model in every state, made alike each time."""

    def __init__(self, kind: Kind, folder: pathlib.Path) -> None:
        folder.mkdir()
        self.registry = ModelRegistry(
            kind.url(folder), clock=Clock(), policy=Policy(activation="awaited"), artifacts=folder / "contents"
        )
        self._names = itertools.count()
        self.name = "churn"
        self.gone = self.serving()
        self.stopped = self.serving()
        self.registry.deploy(b"weights", model_name="loaded", publish=True)
        self.primary = self.serving()
        self.waiting = self.deploy(publish=True)
        self.draft = self.deploy()
        self.registry.deactivate(self.stopped.version_id)
        self.registry.delete(self.gone.version_id)

    def deploy(self, **how: Any) -> Version:
        return self.registry.deploy(URI, model_name=self.name, **how)

    def serving(self) -> Version:
        waiting = self.deploy(publish=True)
        return self.registry.complete_activation(waiting.version_id, str(waiting.activation_id))

    def head(self) -> int:
        return self.registry._store.head()

    def fresh(self) -> World:
        """Go on with another model, which has no version yet."""
        self.name = f"model {next(self._names)}"
        return self


def _two(world: World) -> World:
    """Make two versions ready of which the second one is primary."""
    world.fresh().serving()
    world.primary = world.serving()
    return world


Arguments = dict[str, Any]
WHY = ("actor", "reason", "idempotency_key", "correlation_id")


@attrs.frozen
class Call:
    """A public call, with arguments that are right; each of them is replaced by each of the values."""

    method: str
    right: Callable[[World], Arguments]
    others: tuple[str, ...] = ()
    """Arguments that are left out otherwise."""

    def __str__(self) -> str:
        return self.method


def _answer(world: World) -> Arguments:
    waiting = world.fresh().deploy(publish=True)
    return {"version_id": waiting.version_id, "activation_id": waiting.activation_id}


COMMANDS = (
    Call(
        "deploy",
        lambda world: {"model_or_reference": URI, "model_name": world.fresh().name},
        ("serializer", "version_bump", "publish", "promote", "metadata", *WHY),
    ),
    Call("publish", lambda world: {"version_id": world.fresh().deploy().version_id}, ("promote", *WHY)),
    Call("promote", lambda world: {"version_id": world.fresh().serving().version_id}, ("expected_primary", *WHY)),
    Call("rollback", lambda world: {"model_name": _two(world).name}, ("expected_primary", *WHY)),
    Call("clear_primary", lambda world: {"model_name": _two(world).name}, ("expected_primary", *WHY)),
    Call("deactivate", lambda world: {"version_id": _two(world).primary.version_id}, ("expected_primary", *WHY)),
    Call(
        "activate",
        lambda world: {"version_id": world.registry.deactivate(world.fresh().deploy().version_id).version_id},
        WHY,
    ),
    Call("complete_activation", _answer, WHY),
    Call("fail_activation", lambda world: {**_answer(world), "error": "x"}, WHY),
    Call("delete", lambda world: {"version_id": _two(world).primary.version_id}, ("expected_primary", *WHY)),
    Call("delete_model", lambda world: {"model_name": _two(world).name}, WHY),
)
_DAY = {"start": START, "end": START + dt.timedelta(days=1)}
QUESTIONS = (
    Call("model", lambda world: {"name_or_model_id": world.name}),
    Call("models", lambda _: {}, ("after_name", "limit")),
    Call("version", lambda world: {"version_id": world.primary.version_id}),
    Call("version", lambda world: {"version_id": f"{world.name}@0.3.0"}),
    Call("versions", lambda world: {"model_name": world.name}, ("include_deleted",)),
    Call("primary", lambda world: {"model_name": world.name}),
    Call("active", lambda world: {"model_name": world.name}),
    Call("billable", lambda world: {"model_name": world.name}),
    Call("pending_activations", lambda _: {}, ("older_than",)),
    Call("resolve", lambda world: {"model_name": world.name}, ("version",)),
    Call("allowed", lambda world: {"version_id": world.draft.version_id}),
    Call("history", lambda world: {"name_model_id_or_version_id": world.name}, ("after", "limit")),
    Call("usage", lambda world: {**_DAY, "model_name": world.name}, ("until",)),
    Call("usage", lambda _: {**_DAY}, ("until",)),
    Call("replay", lambda world: {"name_model_id_or_version_id": world.name}),
    Call("rows", lambda world: {"name_model_id_or_version_id": world.name}, ("after", "limit")),
    Call("cloud_events", lambda world: {"name_model_id_or_version_id": world.name}, ("after", "limit")),
)
"""What a past answers too."""
OTHERS = (
    Call("resolve", lambda world: {"model_name": world.name}, ("max_staleness_s",)),
    Call("at", lambda _: {"moment_or_position": 1}),
    Call("follow", lambda _: {}, ("after", "poll_s")),
    Call("load", lambda world: {"model_name": world.name}, ("version", "trusted", "serializer")),
    Call("invoke", lambda world: {"model_name": world.name, "inputs": 1}, ("version", "trusted", "serializer")),
    Call("skip", lambda _: {"position": 1}, ("actor", "reason")),
    Call("collect_artifacts", lambda _: {}, ("dry_run",)),
)
NOT_IN_THE_TABLE = {
    "deploy_many", "rebuild", "checkpoint", "verify", "diff", "backup", "export", "import_log", "timeline", "fetch",
    "sentence",
}  # fmt: skip
"""What takes functions, files, checkpoints, pasts or recorded events: the tests of each try those.

What `deploy_many` takes is tried below, against `deploy`.
"""


def plain(text: str) -> str:
    """Give the characters of a text, whatever its class says of them."""
    return str.__str__(text)


def settled(result: Any) -> Any:
    """Give an answer as something that can be compared."""
    if isinstance(result, Follower):
        result.close()
        return result.position, result._poll_s
    if isinstance(result, AsOf):
        return result._streams.past
    if hasattr(result, "__next__"):
        return list(result)
    return result


def outcome(call: Callable[..., Any], given: Arguments, allowed: tuple[type[VersioningError], ...]) -> tuple[str, Any]:
    """Say what a call answered, or how it refused."""
    try:
        return "answered", settled(call(**given))
    except allowed as error:
        json.dumps(error.to_dict())  # a service sends it
        return "refused", (type(error).__name__, str(error))
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return "failed", f"{type(error).__name__}: {str(error)[:200]}"


CALLERS = (InvalidInputError, NotFoundError, RefusedError)
"""The branches of the tree where the caller must act: never the store, and never to try again."""


def read_back(argument: str, value: Any, recorded: list[Recorded], version: Any) -> bool:
    """Say whether what was accepted is read back exactly."""
    text = plain(value) if isinstance(value, str) else value
    wanted: Any = None  # what nothing is promised of
    given: Any = None
    if argument in WHY:
        wanted, given = {text}, {getattr(one, argument) for one in recorded}
    elif argument == "model_name":
        named = version.model_name if isinstance(version, Version) else version.name
        wanted, given = {unicodedata.normalize("NFC", text)}, {named, *(one.model_name for one in recorded)}
    elif argument == "metadata":
        wanted, given = (json.dumps(each, sort_keys=True) for each in (value or {}, version.metadata))
    elif argument == "error":
        cut = text[: FAILURE_CHARACTERS_MAX - 1] + "…"
        wanted, given = text if len(text) <= FAILURE_CHARACTERS_MAX else cut, version.failure
    elif argument == "model_or_reference" and isinstance(value, str):
        wanted, given = text, version.artifact.uri
    elif argument == "model_or_reference" and isinstance(value, ArtifactRef):
        wanted, given = attrs.evolve(value, uri=plain(value.uri)), attrs.evolve(version.artifact, digest=value.digest)
    texts = given if isinstance(given, set) else {given} if isinstance(given, str) else set()
    return bool(wanted == given) and all(type(one) is str for one in texts if one is not None)


def shown(value: Any) -> str:
    try:
        return f"{type(value).__name__} {ascii(value)[:60]}"
    except Exception:  # noqa: BLE001 - such values are in the table
        return type(value).__name__


def attacked(
    world: World, call: Call, values: tuple[Any, ...]
) -> Iterator[tuple[str, str, tuple[str, Any], str | None]]:
    """Replace each argument by each value; give what came of it, and what was wrong with that."""
    registry = world.registry
    right = call.right(world)
    head = world.head()
    for argument in (*right, *call.others):
        for value in values:
            ending = {**right, argument: value}
            given = outcome(getattr(registry, call.method), ending, CALLERS)
            problem = None
            moved = world.head() != head
            if given[0] == "failed" or (given[0] == "refused" and moved):
                problem = "recorded" if moved else "failed"
            elif moved:
                recorded = list(registry.history(after=head))
                version = given[1]
                known = registry.version(version.version_id) if isinstance(version, Version) else version
                if known != version or not read_back(argument, value, recorded, version):
                    problem = "not read back"
                right = call.right(world)
                head = world.head()
            yield argument, shown(value), given, problem


def draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw what is random from a counter."""
    drawn = itertools.count(1)
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(drawn):0{2 * size}x}")


def test_the_table_has_every_public_call_and_argument() -> None:
    known: dict[str, set[str]] = collections.defaultdict(set)
    for call in (*COMMANDS, *QUESTIONS, *OTHERS):
        known[call.method] |= {*call.right(_NoWorld()), *call.others}  # type: ignore[arg-type]
    taken: dict[str, set[str]] = {}
    for name in dir(ModelRegistry):
        if not name.startswith("_") and callable(method := getattr(ModelRegistry, name)):
            parameters = set(inspect.signature(method).parameters) - {"self", "args", "kwargs"}
            taken[name] = (parameters - {"why"}) | (set(WHY) if "why" in parameters else set())
    assert known == {name: taken[name] for name in taken if taken[name] and name not in NOT_IN_THE_TABLE}
    assert len(VALUES) >= 200


class _NoWorld:
    """Stands for a world where only the names of arguments are wanted."""

    def __getattr__(self, name: str) -> Any:
        return _NoWorld()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return _NoWorld()


@pytest.mark.untraced
@GROUPS
@pytest.mark.parametrize("call", [*COMMANDS, *OTHERS, *QUESTIONS], ids=str)
def test_every_argument_of_every_call(
    call: Call, values: tuple[Any, ...], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: dict[str, list[tuple[Any, ...]]] = {}
    for kind in TRIED:
        with pytest.MonkeyPatch.context() as drawing:
            draw(drawing)
            world = World(kind, tmp_path / kind.name)
            seen[kind.name] = list(attacked(world, call, values))
            world.registry.close()
    first, *rest = seen.values()
    problems = [
        (argument, value, problem, given[1]) for argument, value, given, problem in first if problem is not None
    ]
    assert problems == []
    for other in rest:
        assert [pair for pair in zip(first, other, strict=True) if pair[0] != pair[1]] == []


@pytest.mark.untraced
@GROUPS
@pytest.mark.parametrize("kind", TRIED, ids=str)
def test_deploy_many_refuses_and_answers_as_deploy_does(
    kind: Kind, values: tuple[Any, ...], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deploy = COMMANDS[0]
    seen: dict[str, list[tuple[str, str, str, Any]]] = {"deploy": [], "deploy_many": []}
    for method, outcomes in seen.items():
        with pytest.MonkeyPatch.context() as drawing:
            draw(drawing)
            world = World(kind, tmp_path / method)
            call: Any = getattr(world.registry, method)
            for argument in (*deploy.right(world), *deploy.others):
                for value in values:
                    given = {**deploy.right(world), argument: value}
                    given = given if method == "deploy" else {"deployments": iter([given])}
                    came, answer = outcome(call, given, CALLERS)
                    outcomes.append((argument, shown(value), came, answer))
            world.registry.close()
    assert seen["deploy"] == [(*place, came, _of_one(came, answer)) for *place, came, answer in seen["deploy_many"]]


def _of_one(came: str, answer: Any) -> Any:
    """Give what `deploy` would have answered, or said, where `deploy_many` was asked for one."""
    if came == "answered":
        (answer,) = answer
    elif came == "refused":
        answer = answer[0], answer[1].removeprefix("Deployment 0: ")
    return answer


@pytest.mark.untraced
@GROUPS
@pytest.mark.parametrize("kind", TRIED, ids=str)
def test_deploy_many_takes_an_iterable_of_mappings_and_a_function(
    kind: Kind, values: tuple[Any, ...], tmp_path: pathlib.Path
) -> None:
    world = World(kind, tmp_path / "world")
    right, head = {"model_or_reference": URI, "model_name": "right"}, world.head()
    for value in values:
        for given in (
            {"deployments": value},
            {"deployments": [right, value]},
            {"deployments": [right, {**right, "deployments": value}]},
            {"deployments": [right], "progress": ... if callable(value) else value},
        ):
            came, answer = outcome(world.registry.deploy_many, given, CALLERS)
            accepted = (came, answer) == ("answered", ()) or (value is None and "progress" in given)
            assert came == "refused" or accepted, (shown(value), answer)
            assert (world.head() == head) == (answer == () or came == "refused")
            head = world.head()
    world.registry.close()


@pytest.mark.untraced
@pytest.mark.parametrize("call", QUESTIONS, ids=str)
@pytest.mark.parametrize("kind", STORES, ids=str)
def test_a_past_refuses_and_answers_as_the_present_does(kind: Kind, call: Call, tmp_path: pathlib.Path) -> None:
    world = World(kind, tmp_path / "store")
    past = world.registry.at(world.head())
    right = call.right(world)
    for argument in (*right, *call.others):
        for value in VALUES:
            given = {**right, argument: value}
            now = outcome(getattr(world.registry, call.method), given, CALLERS)
            then = outcome(getattr(past, call.method), given, CALLERS)
            assert now == then, (argument, shown(value))
    world.registry.close()


@GROUPS
@pytest.mark.parametrize(
    "argument",
    ["url", "workspace", "policy", "clock", "artifacts", "serializer", "objects_max", "clock_skew_max_s"],
)
def test_opening_a_registry(
    argument: str, values: tuple[Any, ...], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here" / "there"  # so that no value leads out of the temporary folder
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    if argument == "url":
        texts = [plain(value) for value in values if isinstance(value, str)]
        values = (*values, *(f"sqlite:///{text}" for text in texts), *(pathlib.Path(text) for text in texts))

    def call(value: Any) -> str:
        with ModelRegistry(**{"url": "memory:", argument: value}) as registry:
            return registry.workspace if argument == "workspace" else "opened"

    problems = []
    for value in values:
        kind, answer = outcome(call, {"value": value}, (*CALLERS, StoreError))
        if kind == "failed" or (argument == "workspace" and kind == "answered" and answer != plain(value)):
            problems.append((shown(value), answer))
    assert problems == []


@GROUPS
@pytest.mark.parametrize("kind", STORES, ids=str)
def test_a_clock_that_gives_anything(kind: Kind, values: tuple[Any, ...], tmp_path: pathlib.Path) -> None:
    clock = Clock()
    with ModelRegistry(kind.url(tmp_path), clock=clock) as registry:
        for place, value in enumerate(values):
            clock.now = value
            new = {"model_or_reference": URI, "model_name": f"m{place}"}
            came, answer = outcome(registry.deploy, new, CALLERS)
            assert came != "failed", (shown(value), answer)
            if came == "answered":
                assert answer.deployed_at == value
                assert registry.version(answer.version_id) == answer


def test_keywords_that_there_are_not() -> None:
    with ModelRegistry("memory:") as registry:
        for call in (registry.deploy, registry.publish, registry.rollback, registry.history, registry.usage):
            for name in ("x", "Actor", "self_", "é", "__class__", " "):
                with pytest.raises(TypeError):
                    call(**{name: 1})  # type: ignore[arg-type]
        assert registry._store.head() == 0
