"""A log that no command could have recorded: `verify` reports it and `import_log` refuses it, at the wrong event.

Each log here has a whole chain: only its events are wrong. To add a law: a log that breaks it with its last append.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from typing import TYPE_CHECKING, get_args

import attrs
import pytest
from hypothesis import given

from tests.registry_tools import NAME
from versioning import CorruptLogError, ModelRegistry, laws
from versioning.aggregate import NO_LINK
from versioning.audit.log_file import check_log
from versioning.commands import NAMES, CompleteActivation, FailActivation
from versioning.events import (
    ArtifactRef,
    Event,
    Meta,
    ModelDeleted,
    NothingChanged,
    PrimaryCleared,
    Unneeded,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeactivated,
    VersionDeleted,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
)
from versioning.ids import stream_of
from versioning.rules import NOTHING, TRANSITIONS
from versioning.store.format import encode, link_of
from versioning.testing import recorded, recorded_logs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from versioning import Recorded
    from versioning.store.contract import Row


@pytest.fixture
def registry() -> Iterator[ModelRegistry]:
    with ModelRegistry("memory:") as registry:
        yield registry


STREAM = stream_of("default", NAME)
A, B = (f"ver_{STREAM}_{ordinal}_00000000" for ordinal in (1, 2))
WAIT, OTHER_WAIT = f"act_{A[4:]}_1", f"act_{A[4:]}_2"

Append = tuple[Event, ...]


def deployed(
    version_id: str, number: str, *, published: bool = False, claims: bool = False, wait: str | None = None, at: int = 0
) -> Event:
    return VersionDeployed(version_id, number, ArtifactRef("s3://x"), published, claims, activation_id=wait, at_us=at)


DRAFT: Append = (deployed(A, "0.1.0"),)
PRIMARY: Append = (deployed(A, "0.1.0", published=True), VersionPromoted(A, None, "default", at_us=0))
SECOND: Append = (deployed(B, "0.2.0", published=True),)
STARTING: Append = (deployed(A, "0.1.0", wait=WAIT),)
STOPPED: Append = (VersionDeactivated(A, at_us=0),)
SECOND_PRIMARY: Append = (*SECOND, VersionPromoted(B, A, "published", at_us=0))
CLEARED: Append = (PrimaryCleared(A, "requested", at_us=0),)
UNCLAIMED: Append = (PrimaryCleared(None, "requested", at_us=0),)
GONE: Append = (VersionDeleted(A, at_us=0), ModelDeleted(at_us=0))


def kept(command: Unneeded, version_id: str | None = A) -> Append:
    return (NothingChanged(command, version_id, at_us=0),)


LAWS: dict[str, tuple[list[Append], str]] = {
    "time that goes back": ([DRAFT, (deployed(B, "0.2.0", at=-1),)], "is earlier than the one before it"),
    "a version that is deployed twice": ([DRAFT, (deployed(A, "0.2.0"),)], "was deployed before"),
    "a version of an earlier life": ([DRAFT, GONE, (deployed(A, "0.1.0"),)], "was deployed before"),
    "a number that falls": ([SECOND, (deployed(A, "0.1.9"),)], "is not above 0.2.0"),
    "a number that is given again": ([DRAFT, (deployed(B, "0.1.0"),)], "is not above 0.1.0"),
    "a number that falls as a number": ([(deployed(A, "0.10.0"),), (deployed(B, "0.9.0"),)], "is not above 0.10.0"),
    "a draft as primary": ([DRAFT, (VersionPromoted(A, None, "requested", at_us=0),)], "is active, draft"),
    "an inactive primary": (
        [SECOND, (VersionDeactivated(B, at_us=0),), (VersionPromoted(B, None, "requested", at_us=0),)],
        "is inactive, published",
    ),
    "a starting primary": (
        [(deployed(A, "0.1.0", published=True, wait=WAIT),), (VersionPromoted(A, None, "default", at_us=0),)],
        "is activating, published",
    ),
    "a deleted primary": (
        [PRIMARY, SECOND, (VersionDeleted(A, at_us=0), VersionPromoted(A, A, "requested", at_us=0))],
        "is about a version that was deleted",
    ),
    "another primary before": ([PRIMARY, SECOND, (VersionPromoted(B, None, "default", at_us=0),)], "another version"),
    "another primary that is lost": ([PRIMARY, SECOND, (PrimaryCleared(B, at_us=0),)], "another version"),
    "a deleted version that is stopped": ([DRAFT, SECOND, (VersionDeleted(A, at_us=0),), STOPPED], "was deleted"),
    "a version that is deleted twice": ([DRAFT, SECOND, *[(VersionDeleted(A, at_us=0),)] * 2], "was deleted"),
    "a version of a deleted model": ([DRAFT, GONE, (deployed(B, "0.1.0"),), STOPPED], "was deleted"),
    "a primary that is lost and still there": ([PRIMARY, (PrimaryCleared(A, at_us=0),)], "lost which was not"),
    "a primary that is lost where there was none": ([DRAFT, (PrimaryCleared(None, at_us=0),)], "lost which was not"),
    "a primary that is cleared beside others": (
        [PRIMARY, (*STOPPED, PrimaryCleared(A, "requested", at_us=0))],
        "beside other events",
    ),
    "a primary that is cleared twice": ([PRIMARY, CLEARED, UNCLAIMED], "cleared on request already"),
    "a default where it was cleared on request": (
        [PRIMARY, CLEARED, (VersionPromoted(A, None, "default", at_us=0),)],
        "cleared on request",
    ),
    "a key of a primary that was not cleared": ([PRIMARY, kept("clear_primary", None)], "clear_primary found all"),
    "a key of a cleared primary with a claim": (
        [PRIMARY, CLEARED, (deployed(B, "0.2.0", published=True, claims=True),), kept("clear_primary", None)],
        "clear_primary found all",
    ),
    "a key of a cleared primary and a version": ([PRIMARY, CLEARED, kept("clear_primary")], "no version that clear_p"),
    "a model that is not there": ([DRAFT, GONE, STOPPED], "not there"),
    "a model that is deleted twice": ([DRAFT, GONE, (ModelDeleted(at_us=0),)], "not there"),
    "a model deleted before its versions": ([DRAFT, (ModelDeleted(at_us=0),)], "has versions left"),
    "a model that outlives its versions": ([DRAFT, (VersionDeleted(A, at_us=0),)], "without a version"),
    "a version that is published twice": ([PRIMARY, (VersionPublished(A, at_us=0),)], "that is published"),
    "a start of what is active": ([DRAFT, (VersionActivationRequested(A, WAIT, at_us=0),)], "that is active"),
    "a start that nobody asked for": ([DRAFT, (VersionActivated(A, at_us=0),)], "that is active"),
    "a start of what is starting": ([STARTING, (VersionActivationRequested(A, OTHER_WAIT, at_us=0),)], "activating"),
    "an answer that is stale": ([STARTING, (VersionActivated(A, OTHER_WAIT, at_us=0),)], "another start"),
    "a failure that is stale": ([STARTING, (VersionActivationFailed(A, OTHER_WAIT, "", at_us=0),)], "another start"),
    "a failure of what was stopped": (
        [STARTING, STOPPED, (VersionActivationFailed(A, WAIT, "", at_us=0),)],
        "another start",
    ),
    "a key of a model that is not there": ([DRAFT, GONE, kept("activate")], "not there"),
    "a key of no version": ([DRAFT, kept("activate", None)], "no version that activate could find"),
    "a key of an unknown version": ([DRAFT, kept("activate", B)], "no version that activate could find"),
    "a key of a deleted version": ([DRAFT, SECOND, (VersionDeleted(A, at_us=0),), kept("activate")], "was deleted"),
    "a key of an earlier life": ([DRAFT, GONE, (deployed(B, "0.1.0"),), kept("activate")], "was deleted"),
    "a draft that is found published": ([DRAFT, kept("publish")], "publish found all as it asks"),
    "a draft that is found primary": ([DRAFT, kept("promote")], "promote found all as it asks"),
    "another primary that is found": ([PRIMARY, SECOND_PRIMARY, kept("promote")], "promote found all as it asks"),
    "a primary with a rival": (
        [PRIMARY, (deployed(B, "0.2.0", published=True, claims=True),), kept("promote")],
        "promote found all as it asks",
    ),
    "an active version that is found stopped": ([DRAFT, kept("deactivate")], "deactivate found all as it asks"),
    "a claim that is found withdrawn": (
        [
            (deployed(A, "0.1.0", published=True, claims=True, wait=WAIT),),
            (VersionActivationFailed(A, WAIT, "", at_us=0),),
            kept("deactivate"),
        ],
        "deactivate found all as it asks",
    ),
    "a stopped version that is found active": ([DRAFT, STOPPED, kept("activate")], "activate found all as it asks"),
    "a key that does not stand alone": ([DRAFT, (*STOPPED, *kept("deactivate"))], "does not stand alone"),
}


def written(log: list[Recorded]) -> list[Row]:
    """The rows of a log, with a whole chain."""
    rows: list[Row] = []
    append: list[Event] = []
    for one in log:
        append.append(one.event)
        if one.ends_append:
            key = one.idempotency_key
            fingerprint = None if key is None else "f" * 64
            meta = Meta(
                one.workspace, one.model_name, one.generation, one.command_id, None, None, None, key, fingerprint
            )
            link = link_of(rows[-1].state) if rows else NO_LINK
            rows += encode(one.stream, len(rows), link, append, meta, is_first=not rows)
            append = []
    return rows


def exported(rows: list[Row]) -> io.BytesIO:
    """The file that an export of these rows would be."""
    header = {"format": "model-versioning.log.1", "workspace": "default", "model_name": NAME, "position": len(rows)}
    lines = [json.dumps(header | {"moment": "2026-01-01T00:00:00+00:00"}, separators=(",", ":")).encode()]
    for position, row in enumerate(rows, 1):
        place = {"position": position, "stream": row.stream, "sequence": row.sequence, "topic": row.topic}
        lines.append(json.dumps(place, separators=(",", ":")).encode()[:-1] + b',"state":' + row.state + b"}")
    contents = b"".join(line + b"\n" for line in lines)
    end = {"events": len(rows), "versions": 0, "digest": hashlib.sha256(contents).hexdigest()}
    return io.BytesIO(contents + json.dumps(end, separators=(",", ":")).encode() + b"\n")


@pytest.mark.parametrize("what", LAWS)
def test_a_log_that_breaks_a_law(registry: ModelRegistry, what: str) -> None:
    appends, sentence = LAWS[what]
    rows = written(recorded(*appends, model_name=NAME))
    with pytest.raises(CorruptLogError, match=sentence) as refused:
        registry.import_log(exported(rows))
    assert (registry.position(), refused.value.to_dict()["line"]) == (0, len(rows) + 1)
    registry._store.append(rows)
    found = registry.verify().findings
    assert [(one.kind, one.position, one.sequence) for one in found] == [("rewritten", len(rows), len(rows))]
    assert sentence in found[0].sentence


@pytest.mark.parametrize("part", ["broken", "unended"])
def test_a_door_that_forgets_the_laws_would_be_noticed(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Planted bug: without the laws each of these logs is taken as one that the rules recorded."""
    monkeypatch.setattr(laws, part, lambda *_: None)
    forged = {what: exported(written(recorded(*appends, model_name=NAME))) for what, (appends, _) in LAWS.items()}
    taken = set()
    for what, file in forged.items():
        with contextlib.suppress(CorruptLogError):
            check_log(file)
            taken.add(what)
    ends = {"a model that outlives its versions"}
    assert taken == (ends if part == "unended" else LAWS.keys() - ends)


def test_a_key_of_two_commands(registry: ModelRegistry) -> None:
    meta = Meta("default", NAME, 1, "x", idempotency_key="k")
    first = encode(STREAM, 0, NO_LINK, DRAFT, meta)
    second = encode(STREAM, 1, link_of(first[0].state), STOPPED, meta, is_first=False)
    with pytest.raises(CorruptLogError, match=r"idempotency key of an earlier one \(R21\)"):
        registry.import_log(exported(first + second))
    registry._store.append([*first, second[0]._replace(key=None)])  # the store itself refuses it with its key
    assert [(one.kind, one.position) for one in registry.verify().findings] == [("changed", 2)]


def test_what_keeps_a_key_has_one(registry: ModelRegistry) -> None:
    leads = written(recorded(DRAFT, (*kept("activate"), *STOPPED), model_name=NAME))
    with pytest.raises(CorruptLogError, match="does not stand alone") as refused:
        check_log(exported(leads))
    assert refused.value.to_dict()["line"] == 3
    log = recorded(DRAFT, kept("activate"), model_name=NAME)
    whole, keyless = written(log), written([attrs.evolve(one, idempotency_key=None) for one in log])
    assert check_log(exported(whole)).events == 2
    with pytest.raises(CorruptLogError, match="keeps no idempotency key"):
        registry.import_log(exported(keyless))
    registry._store.append(keyless)
    assert [(one.kind, one.position) for one in registry.verify().findings] == [("rewritten", 2)]


def test_the_laws_know_every_command_that_can_be_unneeded() -> None:
    answers = {CompleteActivation, FailActivation}
    nothing = {row.command for row in TRANSITIONS if row.records == NOTHING} - answers
    on_versions = {NAMES[command] for command in nothing}
    assert set(get_args(Unneeded)) - {"clear_primary"} == set(laws._FOUND_SO) == on_versions


def test_another_life_of_a_name_is_told_by_verify_too(registry: ModelRegistry) -> None:
    registry._store.append(encode(STREAM, 0, NO_LINK, DRAFT, Meta("default", NAME, 2, "x")))
    assert [(one.kind, one.position) for one in registry.verify().findings] == [("rewritten", 1)]


@given(recorded_logs(model_names=(NAME,)))
def test_a_log_of_any_policy_is_taken(log: list[Recorded]) -> None:
    assert check_log(exported(written(log))).events == len(log)
