"""The verbs that record something: one for each command of the library.

The law of this room: **a command looks a version up once, and does what it does to that one.** With `NAME@primary`, the
version found is expected to be the primary still; if it moved meanwhile, the command is refused.

To add a command: a function with its options here, and its place in `VERBS`.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final, cast

import click

from versioning.artifacts.formats import SERIALIZERS
from versioning.cli.addresses import addressed, artifact_named, model_named, parse_address, version_named
from versioning.cli.completion import complete_names
from versioning.cli.options import COMMAND, EITHER, FILE, VERSION, YES, verb
from versioning.cli.rows import (
    EVENTS,
    MODELS,
    PREVIEWED,
    VERSIONS,
    flat,
    model_row,
    numbers_in,
    previewed_row,
    version_row,
    whole,
)
from versioning.errors import InvalidArgumentError, ModelNotFoundError, VersionNotActiveError, shown
from versioning.events import Recorded
from versioning.ids import parse_version_id, stream_of
from versioning.limits import checked_name
from versioning.reading.replay import transitions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from versioning.cli.given import Given
    from versioning.events import Event
    from versioning.reading.replay import Transition
    from versioning.registry import ModelRegistry

NO_PRIMARY: Final = "none"
"""Word of --expected-primary for a model without a primary."""
_METADATA_HINT: Final = """For example --metadata '{"auc": 0.91}'."""
_MODEL: Final = click.argument("name", shell_complete=complete_names)
_EXPECTED: Final = click.option(
    "--expected-primary",
    metavar="VERSION|none",
    help="Refuse if anything else is primary by now: a number, a version_id, or none (R22).",
)
_ACTIVATION: Final = click.argument("activation_id", required=False)


def _perform(given: Given, registry: ModelRegistry, command: str, name: str, *words: object, **facts: object) -> None:
    """Run a command and show what it recorded, or only show what it would record.

    What others recorded about the model at the same time is shown too.
    """
    stage = given.stage()
    arguments = {**facts, **given.why}
    if given.dry_run:
        events = getattr(registry.preview, command)(*words, **arguments)
        stage.rows(PREVIEWED, (previewed_row(step) for step in _previewed(given, registry, name, events)))
        return
    before = registry.position()
    became = getattr(registry, command)(*words, **arguments)
    steps = [step for step in transitions(registry.history(name)) if step.recorded.position > before]
    if not steps:
        stage.tell("Nothing changed, so nothing was recorded.")
    kind, row = (MODELS, model_row(became)) if command == "delete_model" else (VERSIONS, version_row(became))
    if stage.look != "text":
        stage.record(kind, row, recorded=[whole(EVENTS, flat(step, numbers_in(steps))) for step in steps])
        return
    if stage.is_terminal:
        stage.block(*([(f"{step.recorded.position}  {step.sentence}", "")] for step in steps))
    stage.rows(kind, [row])


def _previewed(given: Given, registry: ModelRegistry, name: str, events: tuple[Event, ...]) -> Iterator[Transition]:
    """Return what events that would be recorded would change."""
    name = checked_name(name)
    try:
        history = list(registry.history(name))
    except ModelNotFoundError:
        history = []
    stream = stream_of(registry.workspace, name)
    who = {key: given.why[key] for key in ("actor", "reason") if key in given.why}
    would_be = [
        Recorded(0, len(history) + index, stream, registry.workspace, name, 1, event, **who)
        for index, event in enumerate(events, start=1)
    ]
    return itertools.islice(transitions([*history, *would_be]), len(history), None)


def _on_version(given: Given, command: str, text: str, *words: object, **facts: object) -> None:
    """Run a command on the version that a word names; a primary that moves meanwhile is left alone."""
    with given.open() as registry, addressed(text):
        version = version_named(registry, text)
        if "expected_primary" in facts:
            expected = cast("str | None", facts.pop("expected_primary"))
            if expected is not None:
                facts["expected_primary"] = _expected(registry, version.model_name, expected)
            elif parse_address(text).is_primary:
                facts["expected_primary"] = version.version_id
        _perform(given, registry, command, version.model_name, version.version_id, *words, **facts)


def _expected(registry: ModelRegistry, name: str, text: str) -> str | None:
    if text == NO_PRIMARY:
        return None
    return text if parse_version_id(text) is not None else registry.version(f"{name}@{text}").version_id


def _metadata(text: str | None) -> object:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"metadata is not JSON: {shown(str(error))}."
        raise InvalidArgumentError(msg, hint=_METADATA_HINT, argument="metadata") from None
    if isinstance(found, dict):
        return found
    msg = "metadata is not a JSON object."
    raise InvalidArgumentError(msg, hint=_METADATA_HINT, argument="metadata")


@verb("Make a new version of a model")
@_MODEL
@click.argument("artifact", type=FILE)
@click.option(
    "--bump",
    metavar="MAJOR|MINOR|PATCH",
    default="MINOR",
    show_default=True,
    help="Part of the version number to increase (R2).",
)
@click.option("--publish/--no-publish", default=False, help="Publish it at once, or leave it a draft [default: draft].")
@click.option("--promote/--no-promote", default=None, help="Whether publishing claims the primary role (R7).")
@click.option("--reference", is_flag=True, help="Keep ARTIFACT as a reference, whatever it looks like.")
@click.option("--serializer", type=click.Choice(list(SERIALIZERS)), help="Format of the file, needed to load it.")
@click.option("--metadata", metavar="JSON", help="JSON object to keep with the version, up to 16,384 bytes.")
@COMMAND
def deploy(given: Given, name: str, artifact: str, *, reference: bool, metadata: str | None, **how: Any) -> None:  # noqa: ANN401 - options
    """Make a new version of NAME: a draft, unless --publish is given.

    ARTIFACT is an existing file, whose contents are kept, or a URI (scheme://…), of which only the reference is kept.
    Anything else is refused, unless --reference is given.

    The log keeps everything for ever: use opaque ids as actor, and no personal data in names, reasons and metadata.
    """
    source = artifact_named(artifact, is_reference=reference, name=name)
    model = model_named(name)
    facts = {"version_bump": how["bump"], "publish": how["publish"], "promote": how["promote"]}
    facts |= {"metadata": _metadata(metadata), "model_name": model}
    with given.open(makes=True) as registry:
        _perform(given, registry, "deploy", model, source, how["serializer"], **facts)


@verb("Publish a draft")
@VERSION
@click.option("--promote/--no-promote", default=None, help="Whether it claims the primary role (R7).")
@COMMAND
def publish(given: Given, address: str, *, promote: bool | None) -> None:
    """Publish a draft; it keeps its number."""
    _on_version(given, "publish", address, promote=promote)


@verb("Make an active version the primary")
@VERSION
@_EXPECTED
@COMMAND
def promote(given: Given, address: str, expected_primary: str | None) -> None:
    """Make an active version the primary; a draft is published first."""
    _on_version(given, "promote", address, expected_primary=expected_primary)


@verb("Go back to an earlier primary")
@_MODEL
@_EXPECTED
@COMMAND
def rollback(given: Given, name: str, expected_primary: str | None) -> None:
    """Go back to the most recent earlier primary that is still active."""
    model = model_named(name)
    with given.open() as registry, addressed(name):
        facts = {} if expected_primary is None else {"expected_primary": _expected(registry, model, expected_primary)}
        _perform(given, registry, "rollback", model, model, **facts)


@verb("Stop a version")
@VERSION
@_EXPECTED
@COMMAND
def deactivate(given: Given, address: str, expected_primary: str | None) -> None:
    """Stop a version at once. If it was the primary, the policy decides what follows."""
    _on_version(given, "deactivate", address, expected_primary=expected_primary)


@verb("Start an inactive version again")
@VERSION
@COMMAND
def activate(given: Given, address: str) -> None:
    """Start an inactive version again."""
    _on_version(given, "activate", address)


def _answer(given: Given, command: str, text: str, activation_id: str | None, **facts: object) -> None:
    with given.open() as registry, addressed(text):
        version = version_named(registry, text)
        answered = activation_id or version.activation_id
        if answered is None:
            msg = f"{version.number} of {shown(version.model_name)} is {version.status}, so no activation is pending."
            hint = "To answer an activation that may be over, write its ACTIVATION_ID too: that changes nothing."
            raise VersionNotActiveError(msg, rule="R15", hint=hint, version_id=version.version_id)
        _perform(given, registry, command, version.model_name, version.version_id, answered, **facts)


@verb("Report that a version is ready", name="complete-activation")
@VERSION
@_ACTIVATION
@COMMAND
def complete_activation(given: Given, address: str, activation_id: str | None) -> None:
    """Report that the serving environment of a version is ready.

    Without an ACTIVATION_ID it answers the activation that is pending now. With one, a late answer changes nothing.
    """
    _answer(given, "complete_activation", address, activation_id)


@verb("Report that a version failed to start", name="fail-activation")
@VERSION
@_ACTIVATION
@click.option("--error", required=True, help="What went wrong; kept for ever, cut after 8,000 characters.")
@COMMAND
def fail_activation(given: Given, address: str, activation_id: str | None, error: str) -> None:
    """Report that the serving environment of a version failed to start.

    Without an ACTIVATION_ID it answers the activation that is pending now. With one, a late answer changes nothing.
    """
    _answer(given, "fail_activation", address, activation_id, error=error)


@verb("Delete a version, or a whole model")
@EITHER
@click.option("--all", "everything", is_flag=True, help="Delete a whole MODEL with all its versions.")
@YES
@_EXPECTED
@COMMAND
def delete(given: Given, address: str, *, everything: bool, yes: bool, expected_primary: str | None) -> None:
    """Delete a version for ever; deleting the last one deletes its model.

    It asks for confirmation, unless --yes or --dry-run is given. A whole model is deleted only with --all.

    A deleted version no longer answers, and its number is never given to another version of the model. The facts stay
    in the log for ever: who deployed it, why, its name, its metadata and its artifact's digest. Only `collect` erases
    the contents of its artifact, and only if no other version has the same contents. So keep personal data out of
    names, reasons, actors and metadata: deleting does not erase it.
    """
    named = parse_address(address)
    if everything and (named.version is not None or expected_primary is not None):
        msg = "--all deletes a whole model, but a version or an expected primary is named."
        raise InvalidArgumentError(msg, hint="Leave --all out, or name only the model.", argument="all")
    if not everything and named.version is None:
        msg = f"{shown(address)} names a model, and a version is expected."
        hint = "Name a version as NAME@1.2.0, or add --all for the whole model."
        raise InvalidArgumentError(msg, hint=hint, argument="version_id")
    if not (yes or given.dry_run):
        _ask(given, address, everything=everything)
    if everything:
        model = model_named(address)
        with given.open() as registry, addressed(address):
            _perform(given, registry, "delete_model", model, model)
    else:
        _on_version(given, "delete", address, expected_primary=expected_primary)


def _ask(given: Given, text: str, *, everything: bool) -> None:
    """Show what would be recorded, and ask for confirmation.

    Raises:
        RefusedError: the answer is no.
        InvalidArgumentError: nobody can answer.
    """
    stage = given.stage()
    with given.open() as registry, addressed(text):
        if everything:
            name = model_named(text)
            what, events = f"all versions of {name}", registry.preview.delete_model(name, **given.why)
        else:
            version = version_named(registry, text)
            name = version.model_name
            what = f"{version.number} of {name}"
            events = registry.preview.delete(version.version_id, **given.why)
        sentences = [step.sentence for step in _previewed(given, registry, name, events)]
    stage.tell("This would be recorded:", *(f"  {sentence}" for sentence in sentences))
    stage.confirm(f"Delete {what} for ever?", "Nothing was deleted, as you said.")


VERBS: Final = (
    deploy, publish, promote, rollback, deactivate, activate, complete_activation, fail_activation, delete,
)  # fmt: skip
"""Verbs of this file, in the order of help."""
