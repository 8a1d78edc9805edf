"""The verbs that record something: one for each command of the library.

The law of this room: **a command looks a version up once, and does what it does to that one.** With `NAME@primary`, the
version found is expected to be the primary still; if the primary moved meanwhile, the command is refused. A command
with an idempotency key is sent as it was written instead, so that the same words again are the same command.

To add a command: a function with its options here, and its place in `VERBS`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import attrs
import click

from versioning.addresses import Address, target_of
from versioning.aggregate import Model
from versioning.artifacts.formats import SERIALIZERS
from versioning.cli.addresses import addressed, artifact_named, model_named, parse_address
from versioning.cli.completion import complete_names
from versioning.cli.options import COMMAND, EITHER, FILE, VERSION, YES, verb
from versioning.cli.rows import CHANGED_MODEL, CHANGED_VERSION, PREVIEWED
from versioning.errors import InvalidArgumentError, ModelNotFoundError, VersionNotActiveError, shown
from versioning.events import NothingChanged, Recorded
from versioning.ids import is_version_id, stream_of
from versioning.limits import checked_name
from versioning.reading.replay import transitions
from versioning.resolving import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from versioning.aggregate import Version
    from versioning.cli.given import Given
    from versioning.cli.tables import Stage
    from versioning.commanding.calls import Preview
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
    help="Refuse if another version is primary by now: a number, a version_id, or none (R22).",
)
_ACTIVATION: Final = click.argument("activation_id", required=False)


Act: TypeAlias = "Callable[[ModelRegistry | Preview], Version | Model | tuple[Event, ...]]"
"""One command, to be done or only previewed."""


def _perform(given: Given, registry: ModelRegistry, name: str, act: Act, *, deletes: bool = False) -> None:
    """Run a command and show what it recorded, or only show what it would record."""
    stage = given.stage()
    if given.dry_run:
        stage.rows(PREVIEWED, _previewed(given, registry, name, act))
        return
    became = cast("Version | Model", act(registry))
    if became.repeated:
        stage.tell("This idempotency key was used before, so nothing was recorded.")
        if not deletes:
            _tell_of_deletion(stage, registry, became)
    elif not became.recorded:
        stage.tell("Nothing changed, so nothing was recorded.")
    elif isinstance(became.recorded[0].event, NothingChanged):
        stage.tell("Nothing changed. The idempotency key was recorded, so the same command sent again changes nothing.")
    if stage.look == "text" and stage.is_terminal:
        stage.block(*([(f"{one.position}  {registry.sentence(one, named=True)}", "")] for one in became.recorded))
    if isinstance(became, Model):
        stage.one(CHANGED_MODEL, became)
    else:
        stage.one(CHANGED_VERSION, became)


def _tell_of_deletion(stage: Stage, registry: ModelRegistry, became: Version | Model) -> None:
    """Report that what an earlier command made or changed was deleted since."""
    if registry.model(became.model_id).deleted_at is not None:
        stage.tell("The model was deleted since, so nothing of it serves.")
    elif not isinstance(became, Model) and became.status == "deleted":
        stage.tell("The version was deleted since, so it does not serve.")


def _previewed(given: Given, registry: ModelRegistry, name: str, act: Act) -> Iterator[Transition]:
    """Return the events that would be recorded, with what they would change."""
    events, name = cast("tuple[Event, ...]", act(registry.preview)), checked_name(name)
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


@attrs.frozen
class _Target:
    """What a command on a version is sent with."""

    model_name: str
    version: str
    """The version_id, so that the command is about this version whatever happens meanwhile; or the address."""
    expected: Mapping[str, str | None]
    """What the primary is expected to be: as asked for, or else the version that @primary named."""
    shown: str = ""
    """The version in words, if it was looked up."""


def _target(
    given: Given, registry: ModelRegistry, address: str, expected_primary: str | None = None, *, asks: bool = False
) -> _Target:
    """Look up once what an address names, unless a repeat must find the address as it was written (R21).

    Args:
        given: the shared options.
        registry: where to look.
        address: what the caller wrote.
        expected_primary: what the caller wrote, if anything.
        asks: whether the user will be asked about the version that is found, so that no other may be meant.
    """
    target = target_of(address)
    if isinstance(target, Address) and "idempotency_key" in given.why and not asks:
        return _Target(target.model_name, address, _expected(target.model_name, expected_primary))
    version = registry.version(address)
    expected, stage = _expected(version.model_name, expected_primary), given.stage()
    if isinstance(target, Address) and target.word == PRIMARY:
        expected = expected or {"expected_primary": version.version_id}
        if stage.is_terminal:
            stage.tell(f"{address} is {version.number}, {version.version_id}.")
    return _Target(version.model_name, version.version_id, expected, f"{version.number} of {version.model_name}")


def _perform_on(
    given: Given,
    address: str,
    act: Callable[[ModelRegistry | Preview, _Target], Version | tuple[Event, ...]],
    expected_primary: str | None = None,
) -> None:
    """Look a version up once, and run a command on it or only show what it would record."""
    with given.open() as registry:
        target = _target(given, registry, address, expected_primary)
        _perform(given, registry, target.model_name, lambda to: act(to, target))


def _answer(
    given: Given,
    address: str,
    activation_id: str | None,
    act: Callable[[ModelRegistry | Preview, _Target, str], Version | tuple[Event, ...]],
) -> None:
    """Answer an activation of a version: the one that is given, or the one that is pending now."""
    with given.open() as registry:
        target = _target(given, registry, address)
        answered = _pending(registry, target.version, activation_id)
        _perform(given, registry, target.model_name, lambda to: act(to, target, answered))


def _expected(name: str, text: str | None) -> Mapping[str, str | None]:
    """Return the argument of the library that --expected-primary stands for."""
    if text is None:
        return {}
    if text == NO_PRIMARY:
        return {"expected_primary": None}
    is_whole = "@" in text or is_version_id(text)
    return {"expected_primary": text if is_whole else f"{name}@{text}"}


def _metadata(text: str | None) -> dict[str, Any] | None:
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


@verb("Deploy a new version of a model")
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
    """Deploy a new version of NAME: a draft, unless --publish is given.

    ARTIFACT is an existing file, whose contents are kept, or a URI (scheme://…), of which only the reference is kept.
    Anything else is refused, unless --reference is given.

    The log keeps everything for ever: use opaque ids as actor, and no personal data in names, reasons and metadata.
    """
    source = artifact_named(artifact, is_reference=reference, name=name)
    model = model_named(name)
    facts = {"version_bump": how["bump"], "publish": how["publish"], "promote": how["promote"]}
    facts |= {"metadata": _metadata(metadata), "model_name": model, **given.why}
    with given.open(makes=True) as registry:
        _perform(given, registry, model, lambda to: to.deploy(source, how["serializer"], **facts))


@verb("Publish a draft")
@VERSION
@click.option("--promote/--no-promote", default=None, help="Whether it claims the primary role (R7).")
@COMMAND
def publish(given: Given, address: str, *, promote: bool | None) -> None:
    """Publish a draft; it keeps its number."""
    _perform_on(given, address, lambda to, target: to.publish(target.version, promote=promote, **given.why))


@verb("Make an active version the primary")
@VERSION
@_EXPECTED
@COMMAND
def promote(given: Given, address: str, expected_primary: str | None) -> None:
    """Make an active version the primary; a draft is published first."""
    _perform_on(
        given,
        address,
        lambda to, target: to.promote(target.version, **target.expected, **given.why),
        expected_primary,
    )


@verb("Go back to an earlier primary")
@_MODEL
@_EXPECTED
@COMMAND
def rollback(given: Given, name: str, expected_primary: str | None) -> None:
    """Go back to the most recent earlier primary that is still active."""
    model = model_named(name)
    with given.open() as registry, addressed(name):
        expected = _expected(model, expected_primary)
        _perform(given, registry, model, lambda to: to.rollback(model, **expected, **given.why))


@verb("Leave a model without a primary", name="clear-primary")
@_MODEL
@_EXPECTED
@COMMAND
def clear_primary(given: Given, name: str, expected_primary: str | None) -> None:
    """Leave a model without a primary on purpose.

    Its versions stay as they are, and no policy gives the role to another one. `publish`, `promote` or `rollback` gives
    it again.
    """
    model = model_named(name)
    with given.open() as registry, addressed(name):
        expected = _expected(model, expected_primary)
        _perform(given, registry, model, lambda to: to.clear_primary(model, **expected, **given.why))


@verb("Stop a version")
@VERSION
@_EXPECTED
@COMMAND
def deactivate(given: Given, address: str, expected_primary: str | None) -> None:
    """Stop a version at once. If it was the primary, the policy decides what follows."""
    _perform_on(
        given,
        address,
        lambda to, target: to.deactivate(target.version, **target.expected, **given.why),
        expected_primary,
    )


@verb("Start an inactive version again")
@VERSION
@COMMAND
def activate(given: Given, address: str) -> None:
    """Start an inactive version again."""
    _perform_on(given, address, lambda to, target: to.activate(target.version, **given.why))


def _pending(registry: ModelRegistry, named: str, activation_id: str | None) -> str:
    """Return the activation to answer: the one that is given, or the one that is pending now.

    Raises:
        VersionNotActiveError: none is given, and none is pending.
    """
    if activation_id is not None:
        return activation_id
    version = registry.version(named)
    if version.activation_id is None:
        msg = f"{version.number} of {shown(version.model_name)} is {version.status}, so no activation is pending."
        hint = "To answer an activation that may be over, write its ACTIVATION_ID too: that changes nothing."
        raise VersionNotActiveError(msg, rule="R15", hint=hint, version_id=version.version_id)
    return version.activation_id


@verb("Report that a version is ready", name="complete-activation")
@VERSION
@_ACTIVATION
@COMMAND
def complete_activation(given: Given, address: str, activation_id: str | None) -> None:
    """Report that the serving environment of a version is ready.

    Without an ACTIVATION_ID it answers the activation that is pending now. With one, a late answer changes nothing.
    """
    _answer(
        given,
        address,
        activation_id,
        lambda to, target, answered: to.complete_activation(target.version, answered, **given.why),
    )


@verb("Report that a version failed to start", name="fail-activation")
@VERSION
@_ACTIVATION
@click.option("--error", required=True, help="What went wrong; kept for ever, cut after 8,000 characters.")
@COMMAND
def fail_activation(given: Given, address: str, activation_id: str | None, error: str) -> None:
    """Report that the serving environment of a version failed to start.

    Without an ACTIVATION_ID it answers the activation that is pending now. With one, a late answer changes nothing.
    """
    _answer(
        given,
        address,
        activation_id,
        lambda to, target, answered: to.fail_activation(target.version, answered, error=error, **given.why),
    )


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
    asks = not (yes or given.dry_run)
    with given.open() as registry, addressed(address):
        act: Act
        if everything:
            name = model_named(address)
            what, act = f"all versions of {name}", lambda to: to.delete_model(name, **given.why)
        else:
            target = _target(given, registry, address, expected_primary, asks=asks)
            name, what = target.model_name, target.shown
            act = lambda to: to.delete(target.version, **target.expected, **given.why)  # noqa: E731 - one of two
        if asks:
            sentences = [step.sentence for step in _previewed(given, registry, name, act)]
            given.stage().tell("This would be recorded:", *(f"  {sentence}" for sentence in sentences))
            given.stage().confirm(f"Delete {what} for ever?", "Nothing was deleted, as you said.")
        _perform(given, registry, name, act, deletes=True)


VERBS: Final = (
    deploy, publish, promote, rollback, clear_primary, deactivate, activate, complete_activation, fail_activation,
    delete,
)  # fmt: skip
"""Verbs of this file, in the order of help."""
