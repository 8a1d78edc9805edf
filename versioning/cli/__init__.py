"""The command line: what each verb does, in the library's words.

The law of this room: **a verb is a call of the library, and nothing more.** What a word names is in `addresses.py`, how
an answer looks in `presentation.py`, the options that verbs share and how it ends in `calling.py`.

To add a verb: a function with its options here, and a test of its text, its JSON, its refusals and its exit code.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

import click

import versioning
from versioning.artifacts.formats import SERIALIZERS
from versioning.audit.checkpoints import Checkpoint
from versioning.cli.addresses import (
    artifact_named,
    explained,
    model_named,
    month_of,
    parse_address,
    parse_moment,
    parse_month,
    parse_point,
    version_named,
)
from versioning.cli.doctor import examine
from versioning.cli.options import (
    AS_OF,
    DONE,
    DRY,
    FORMS,
    FOUND,
    JSON,
    NOT_PROVEN,
    PLACE,
    PLACE_OF_ALL,
    POLICY,
    STORE,
    WHY,
    Cli,
    EndsWithError,
    Given,
    complete_addresses,
    complete_either,
    complete_names,
    exit_code_lines,
)
from versioning.cli.tables import (
    CHANGES,
    CHECKS,
    EVENTS,
    FINDINGS,
    MODELS,
    PREVIEWED,
    REPLAYED,
    USAGE,
    VERSIONS,
    Progress,
    change_row,
    event_row,
    hours,
    model_row,
    previewed_row,
    replayed_row,
    said,
    usage_row,
    version_row,
    whole,
)
from versioning.errors import InvalidArgumentError, ModelNotFoundError, RefusedError, VersionNotActiveError, shown
from versioning.events import Recorded, VersionPromoted
from versioning.ids import parse_model_id, parse_version_id, stream_of
from versioning.limits import checked_name
from versioning.output.cloudevents import cloud_event_of
from versioning.output.rows import flat_row
from versioning.reading.replay import transitions
from versioning.store.opening import holds_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from versioning.aggregate import Version
    from versioning.cli.options import Decorator
    from versioning.cli.tables import Row, Stage
    from versioning.events import Event
    from versioning.reading.questions import Questions
    from versioning.reading.replay import Transition
    from versioning.registry import ModelRegistry

TOLD_EVENTS: Final = 1_000
"""After how many events it is told how far reading has come."""
_METADATA_HINT: Final = """For example --metadata '{"auc": 0.91}'."""
NO_PRIMARY: Final = "none"
"""What --expected-primary says where there is to be none."""

_EPILOG: Final = "\n\n".join(
    [
        """Addresses: NAME, NAME@primary, NAME@1.2.0, a version_id or a model_id; resolve takes ranges too (NAME@^1.2).
The last @ counts; an @ at the end says that all before it is the name.""",
        """On a terminal answers are tables. In a pipe a row is a line, its cells separated by tabs, without a heading.
Data is on stdout, all the rest on stderr. NO_COLOR is heeded.""",
        'Shell completion: eval "$(_VERSIONING_COMPLETE=bash_source versioning)" (or zsh_source, fish_source).',
        "\b\nExit codes:\n" + "\n".join(exit_code_lines()),
    ]
)


@click.group(
    "versioning",
    cls=Cli,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(versioning.__version__, prog_name="versioning")
def cli() -> None:
    """The life of machine-learning model versions: deploy, publish, promote, roll back, ask, prove."""


for _one in reversed(PLACE_OF_ALL):
    cli = _one(cli)


def verb(*options: Decorator, name: str | None = None) -> Decorator:
    """Make a verb of a function that takes what was given, and its own arguments."""

    def decorate(function: Callable[..., None]) -> Any:  # noqa: ANN401 - click's
        decorated: Any = click.pass_obj(function)
        for option in reversed(options):
            decorated = option(decorated)
        return cli.command(name or function.__name__)(decorated)

    return decorate


class _File(click.Path):
    """The name of a file, which the shell completes; whether it can be one is for the library to say."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401, ARG002 - click's
        """Take any text."""
        return str(value)


_FILE: Final = _File()
_VERSION: Final = click.argument("address", metavar="VERSION", shell_complete=complete_addresses)
_MODEL: Final = click.argument("name", shell_complete=complete_names)
_EXPECTED: Final = click.option(
    "--expected-primary",
    metavar="VERSION|none",
    help="Refuse where something else is primary by now: a number, a version_id, or none (R22).",
)


# Commands.


def _perform(given: Given, registry: ModelRegistry, command: str, name: str, *words: object, **facts: object) -> None:
    """Do it and show what became of it, or only show what would be recorded.

    As recorded counts what was recorded about the model since just before, also by others at the same time.
    """
    stage = given.stage()
    arguments = {**facts, **given.why}
    if given.dry_run:
        events = registry.preview(command, *words, **arguments)
        stage.rows(PREVIEWED, (previewed_row(step) for step in _previewed(given, registry, name, events)))
        return
    before = registry.position()
    became = getattr(registry, command)(*words, **arguments)
    steps = [step for step in transitions(registry.history(name)) if step.recorded.position > before]
    if not steps:
        stage.tell("It is so already: nothing was recorded.")
    kind, row = (MODELS, model_row(became)) if command == "delete_model" else (VERSIONS, version_row(became))
    if stage.look == "json":
        stage.record(kind, row, recorded=[whole(EVENTS, _flat(step, _numbers(steps))) for step in steps])
        return
    if stage.look == "text" and stage.is_terminal:
        stage.block(*([(f"{step.recorded.position}  {step.sentence}", "")] for step in steps))
    stage.rows(kind, [row])


def _previewed(given: Given, registry: ModelRegistry, name: str, events: tuple[Event, ...]) -> Iterator[Transition]:
    """Say of events that would be recorded what they would make of what."""
    name = checked_name(name)
    try:
        history = list(registry.history(name))
    except ModelNotFoundError:
        history = []
    stream = stream_of(registry.workspace, name)
    would_be = [
        Recorded(0, len(history) + index, stream, registry.workspace, name, 1, event, given.actor, given.reason)
        for index, event in enumerate(events, start=1)
    ]
    return itertools.islice(transitions([*history, *would_be]), len(history), None)


def _on_version(given: Given, command: str, text: str, *words: object, **facts: object) -> None:
    """Do something to the version that a word names; a primary that moves meanwhile is not touched."""
    with given.open() as registry, _addressed(text):
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
    return text if parse_version_id(text) is not None else registry.version(name, number=text).version_id


@contextlib.contextmanager
def _addressed(text: str) -> Iterator[None]:
    try:
        yield
    except ModelNotFoundError as error:
        raise explained(error, text) from None


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
    msg = "metadata is a JSON object."
    raise InvalidArgumentError(msg, hint=_METADATA_HINT, argument="metadata")


@verb(
    _MODEL,
    click.argument("artifact", type=_FILE),
    click.option(
        "--bump", metavar="MAJOR|MINOR|PATCH", default="MINOR", show_default=True, help="Which part rises (R2)."
    ),
    click.option("--publish/--no-publish", default=False, help="A production resource at once, or a draft [default]."),
    click.option("--promote/--no-promote", default=None, help="Whether publishing claims the primary role (R7)."),
    click.option("--reference", is_flag=True, help="Keep ARTIFACT as a reference, whatever it looks like."),
    click.option("--serializer", type=click.Choice(list(SERIALIZERS)), help="The format of the file, for loading it."),
    click.option("--metadata", metavar="JSON", help="An object to keep along with it, 16,384 bytes at most."),
    *WHY,
    *POLICY,
    *PLACE,
    *FORMS,
)
def deploy(given: Given, name: str, artifact: str, *, reference: bool, metadata: str | None, **how: Any) -> None:  # noqa: ANN401 - options
    """Make a new version of NAME: a draft, unless --publish.

    ARTIFACT is a file that is there, whose contents are kept, or a URI (scheme://…), of which only the reference is.
    Whatever else it is, is refused: --reference takes any text.

    The log is for ever: pass opaque ids as actor, and no personal data in names, reasons and metadata.
    """
    model = model_named(name)
    source = artifact_named(artifact, is_reference=reference)
    facts = {"version_bump": how["bump"], "publish": how["publish"], "promote": how["promote"]}
    facts |= {"metadata": _metadata(metadata), "model_name": model}
    with given.open(makes=True) as registry:
        _perform(given, registry, "deploy", model, source, how["serializer"], **facts)


@verb(
    _VERSION,
    click.option("--promote/--no-promote", default=None, help="Whether it claims the primary role (R7)."),
    *WHY,
    *POLICY,
    *PLACE,
    *FORMS,
)
def publish(given: Given, address: str, *, promote: bool | None) -> None:
    """Make a draft a published version; it keeps its number."""
    _on_version(given, "publish", address, promote=promote)


@verb(_VERSION, _EXPECTED, *WHY, *POLICY, *PLACE, *FORMS)
def promote(given: Given, address: str, expected_primary: str | None) -> None:
    """Make an active version primary; a draft is published first."""
    _on_version(given, "promote", address, expected_primary=expected_primary)


@verb(_MODEL, _EXPECTED, *WHY, *POLICY, *PLACE, *FORMS)
def rollback(given: Given, name: str, expected_primary: str | None) -> None:
    """Go back to the nearest earlier primary that is still active."""
    model = model_named(name)
    with given.open() as registry, _addressed(name):
        facts = {} if expected_primary is None else {"expected_primary": _expected(registry, model, expected_primary)}
        _perform(given, registry, "rollback", model, model, **facts)


@verb(_VERSION, _EXPECTED, *WHY, *POLICY, *PLACE, *FORMS)
def deactivate(given: Given, address: str, expected_primary: str | None) -> None:
    """Stop a version at once; of a primary, the policy says what follows."""
    _on_version(given, "deactivate", address, expected_primary=expected_primary)


@verb(_VERSION, *WHY, *POLICY, *PLACE, *FORMS)
def activate(given: Given, address: str) -> None:
    """Start an inactive version again."""
    _on_version(given, "activate", address)


_ACTIVATION: Final = click.argument("activation_id", required=False)


def _answer(given: Given, command: str, text: str, activation_id: str | None, **facts: object) -> None:
    with given.open() as registry, _addressed(text):
        version = version_named(registry, text)
        answered = activation_id or version.activation_id
        if answered is None:
            msg = f"{version.number} of {shown(version.model_name)} is {version.status}, so no answer is waited for."
            hint = "Give the ACTIVATION_ID too where you answer for a wait that may be over: that changes nothing."
            raise VersionNotActiveError(msg, rule="R15", hint=hint, version_id=version.version_id)
        _perform(given, registry, command, version.model_name, version.version_id, answered, **facts)


@verb(_VERSION, _ACTIVATION, *WHY, *POLICY, *PLACE, *FORMS, name="complete-activation")
def complete_activation(given: Given, address: str, activation_id: str | None) -> None:
    """Answer that the serving environment of a version is ready.

    Without an ACTIVATION_ID it answers the wait that is open now; with one, a late answer changes nothing.
    """
    _answer(given, "complete_activation", address, activation_id)


@verb(
    _VERSION,
    _ACTIVATION,
    click.option("--error", required=True, help="What went wrong; kept for ever, cut after 8,000 characters."),
    *WHY,
    *POLICY,
    *PLACE,
    *FORMS,
    name="fail-activation",
)
def fail_activation(given: Given, address: str, activation_id: str | None, error: str) -> None:
    """Answer that the serving environment of a version did not start.

    Without an ACTIVATION_ID it answers the wait that is open now; with one, a late answer changes nothing.
    """
    _answer(given, "fail_activation", address, activation_id, error=error)


@verb(
    click.argument("address", metavar="VERSION|MODEL", shell_complete=complete_either),
    click.option("--all", "everything", is_flag=True, help="Delete a whole MODEL: all its versions."),
    click.option("--yes", "-y", is_flag=True, help="Answer the question beforehand."),
    _EXPECTED,
    *WHY,
    *POLICY,
    *PLACE,
    *FORMS,
)
def delete(given: Given, address: str, *, everything: bool, yes: bool, expected_primary: str | None) -> None:
    """Delete a version for ever; the last one takes its model along.

    It asks before, unless --yes or --dry-run. A whole model goes with --all only.

    What is deleted no longer answers, and the model gives its number to no other version. The facts stay in the log
    for ever: who deployed it, why, its name, its metadata and its artifact's digest. The contents of its artifact are
    erased only by ModelRegistry.collect_artifacts(), and only where no other version has the same. So keep personal
    data out of names, reasons, actors and metadata: deleting does not erase it.
    """
    address_ = parse_address(address)
    if everything and (address_.version is not None or expected_primary is not None):
        msg = "--all deletes a whole model, and a version or an expected primary is named."
        raise InvalidArgumentError(msg, hint="Leave --all out, or name the model alone.", argument="all")
    if not everything and address_.version is None:
        msg = f"{shown(address)} names a model, and a version is asked for."
        hint = "Say which version, as NAME@1.2.0; or --all for the whole model."
        raise InvalidArgumentError(msg, hint=hint, argument="version_id")
    if not (yes or given.dry_run):
        _ask(given, address, everything=everything)
    if everything:
        model = model_named(address)
        with given.open() as registry, _addressed(address):
            _perform(given, registry, "delete_model", model, model)
    else:
        _on_version(given, "delete", address, expected_primary=expected_primary)


def _ask(given: Given, text: str, *, everything: bool) -> None:
    """Ask whether to delete, and say what would be recorded.

    Raises:
        RefusedError: no.
        InvalidArgumentError: nobody can answer.
    """
    stage = given.stage()
    with given.open() as registry, _addressed(text):
        if everything:
            name = model_named(text)
            what, events = f"all versions of {name}", registry.preview("delete_model", name, **given.why)
        else:
            version = version_named(registry, text)
            name = version.model_name
            what = f"{version.number} of {name}"
            events = registry.preview("delete", version.version_id, **given.why)
        sentences = [step.sentence for step in _previewed(given, registry, name, events)]
    stage.tell("This would be recorded:", *(f"  {sentence}" for sentence in sentences))
    stage.tell(f"Delete {what} for ever? [y/N]")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        msg = "Nobody answered whether to delete."
        raise InvalidArgumentError(msg, hint="Say --yes where nobody can answer.", argument="yes")
    if answer.strip().casefold() not in {"y", "yes"}:
        msg = "It was not deleted, as you said."
        raise RefusedError(msg, hint="Nothing was recorded.")


# Questions.


@verb(
    click.argument("name", required=False, shell_complete=complete_names),
    click.option("--all", "everything", is_flag=True, help="With NAME: deleted versions too."),
    click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="So many models at most."),
    click.option("--after", metavar="NAME", help="Models behind this name only."),
    *AS_OF,
    *PLACE,
    *FORMS,
)
def ls(given: Given, name: str | None, *, everything: bool, limit: int | None, after: str | None) -> None:
    """List the models, or the versions of NAME."""
    with given.open() as registry:
        asked, stage = given.asked(registry), given.stage()
        if name is None:
            stage.rows(MODELS, map(model_row, asked.models(after, limit)))
            return
        with _addressed(name):
            versions = _versions_of(asked, model_named(name), everything=everything)
        stage.rows(VERSIONS, map(version_row, versions))


def _versions_of(asked: Questions, name: str, *, everything: bool) -> tuple[Version, ...]:
    if parse_model_id(name) is not None:
        return asked.model(name).versions
    return asked.versions(name, include_deleted=everything)


_EITHER: Final = click.argument("address", metavar="VERSION|MODEL", shell_complete=complete_either)


@verb(_EITHER, *AS_OF, *PLACE, *FORMS)
def show(given: Given, address: str) -> None:
    """Show all that is known of a model, or of a version."""
    with given.open() as registry, _addressed(address):
        asked, stage = given.asked(registry), given.stage()
        if parse_address(address).version is None:
            stage.record(MODELS, model_row(asked.model(model_named(address))))
            return
        version = version_named(asked, address)
        stage.record(VERSIONS, version_row(version), allowed=list(asked.allowed(version.version_id)))


@verb(_EITHER, *AS_OF, *PLACE, *FORMS)
def resolve(given: Given, address: str) -> None:
    """Say which version answers: the primary of NAME, that of a number, or the highest of a range (NAME@^1.2)."""
    with given.open() as registry, _addressed(address):
        asked = given.asked(registry)
        named = parse_address(address)
        if named.name is None:
            found = asked.resolve(asked.version(address).model_name, named.version)
        else:
            found = asked.resolve(named.name, None if named.is_primary else named.version)
        given.stage().rows(VERSIONS, [version_row(found)])


_ABOUT: Final = click.argument("address", required=False, metavar="[VERSION|MODEL]", shell_complete=complete_either)


def _history(
    asked: Questions, address: str | None
) -> tuple[Iterable[Recorded], Callable[[Recorded], bool], str | None]:
    """Give whole streams to fold, what says which of their events are asked for, and what the library calls that."""
    if address is None:
        return asked.history(), lambda _: True, None
    named = parse_address(address)
    if named.version is not None:
        version = version_named(asked, address)
        wanted = {one.position for one in asked.history(version.version_id)}
        return asked.history(version.model_name), lambda one: one.position in wanted, version.version_id
    name = model_named(address)
    if parse_model_id(name) is None:
        return asked.history(name), lambda _: True, name
    model = asked.model(name)
    return asked.history(model.name), lambda one: one.model_id == model.model_id, model.model_id


@verb(
    _ABOUT,
    click.option("--oneline", is_flag=True, help="A line for each event, on a terminal too."),
    click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="The newest so many only."),
    *AS_OF,
    *PLACE,
    *FORMS,
)
def log(given: Given, address: str | None, *, oneline: bool, limit: int | None) -> None:
    """Show what happened, newest first: what turned into what, by whom and why.

    `(primary)` marks the event that made the present primary what it is. Of a version, what names it is shown.
    """
    with given.open() as registry, _addressed(address or ""):
        events, is_asked, _ = _history(given.asked(registry), address)
        steps: collections.deque[Transition] = collections.deque(maxlen=limit)
        marks: dict[str, int | None] = {}
        numbers: dict[str, str] = {}
        last = registry.position()
        for step in transitions(_told(events, "log", last)):
            recorded = step.recorded
            if isinstance(recorded.event, VersionPromoted):
                marks[recorded.stream] = recorded.position
            elif step.primary is None:
                marks[recorded.stream] = None
            numbers.update(_numbers([step]))
            if is_asked(recorded):
                steps.append(step)
    stage, newest = given.stage(), list(reversed(steps))
    roles = ["primary" if marks.get(step.recorded.stream) == step.recorded.position else "" for step in newest]
    if stage.look != "text" or not stage.is_terminal or not newest:
        rows = (_flat(step, numbers, role) for step, role in zip(newest, roles, strict=True))
        stage.rows(EVENTS, rows)
        return
    for step, role in zip(newest, roles, strict=True):
        _log_entry(stage, step, role, oneline=oneline)


def _told(events: Iterable[Recorded], what: str, last: int) -> Iterator[Recorded]:
    """Show how far the reading of events has come, where it takes long."""
    with Progress() as progress:
        for count, recorded in enumerate(events):
            if count % TOLD_EVENTS == 0:
                progress(what, recorded.position, last)
            yield recorded


def _numbers(steps: Iterable[Transition]) -> dict[str, str]:
    return {str(step.recorded.version_id): step.number for step in steps if step.number is not None}


def _flat(step: Transition, numbers: Mapping[str, str], role: str = "") -> Row:
    return event_row(flat_row(step.recorded, numbers.get), step, role)


def _log_entry(stage: Stage, step: Transition, role: str, *, oneline: bool) -> None:
    recorded = step.recorded
    head: list[tuple[str, str]] = [(f"{recorded.position}", "yellow"), (f" {said(recorded.timestamp)} ", "")]
    head += [(recorded.model_name, "bold"), (f" {step.number}" if step.number else "", "bold")]
    head += [(" (primary)" if role else "", "bold green"), (f" {type(recorded.event).__name__} {step.what} ", "")]
    head += [(f"{step.before or '–'} {stage.arrow} {step.after or '–'}", "")]
    why = (f" by {recorded.actor}" if recorded.actor else "") + (f": {recorded.reason}" if recorded.reason else "")
    if oneline:
        stage.block([*head, (why, "dim")])
    else:
        stage.block(head, [(f"    {step.sentence}", "")])


@verb(_ABOUT, *AS_OF, *PLACE, *FORMS)
def replay(given: Given, address: str | None) -> None:
    """Tell what happened, oldest first, in sentences, with the primary before and after each event."""
    with given.open() as registry, _addressed(address or ""):
        asked = given.asked(registry)
        about = None if address is None else _history(asked, address)[2]
        given.stage().rows(REPLAYED, map(replayed_row, asked.replay(about)))


@verb(
    click.argument("then"),
    click.argument("now", required=False),
    click.option("--model", metavar="NAME", shell_complete=complete_names, help="Of this model only."),
    *PLACE,
    *FORMS,
)
def diff(given: Given, then: str, now: str | None, model: str | None) -> None:
    """Say what changed from THEN to NOW: moments or positions; without NOW, to the end of the log."""
    with given.open() as registry, _addressed(model or ""):
        earlier, later = parse_point(then, "then"), None if now is None else parse_point(now, "now")
        found = registry.diff(earlier, later, None if model is None else model_named(model))
        given.stage().rows(CHANGES, map(change_row, found.changes))


@verb(
    click.argument("name", required=False, shell_complete=complete_names),
    click.option("--month", metavar="YYYY-MM", help="Of a month in UTC [default: this one]."),
    click.option("--from", "start", metavar="MOMENT", help="From a moment on."),
    click.option("--to", "end", metavar="MOMENT", help="Up to a moment, which is not included."),
    *AS_OF,
    *PLACE,
    *FORMS,
)
def usage(given: Given, name: str | None, month: str | None, start: str | None, end: str | None) -> None:
    """Say what was used in a period, of all models or of NAME: when, in which stage, by which events."""
    if (month is not None and start is not None) or (start is None) != (end is None):
        msg = "A period is a --month, or both --from and --to."
        raise InvalidArgumentError(msg, hint="For example --month 2026-01.", argument="month")
    now = datetime.now(UTC)
    if start is not None and end is not None:
        period = parse_moment(start, "from"), parse_moment(end, "to")
    else:
        period = month_of(now.year, now.month) if month is None else parse_month(month)
    with given.open() as registry, _addressed(name or ""):
        found = given.asked(registry).usage(*period, None if name is None else model_named(name))
    rows, stage = [usage_row(line) for line in found.lines], given.stage()
    if stage.look == "json":
        about = {"start": found.start, "end": found.end, "position": found.position}
        stage.json(
            {**about, "total_microseconds": found.total_microseconds, "lines": [whole(USAGE, row) for row in rows]}
        )
        return
    stages = ("published", "draft")
    sums = {one: sum(line.microseconds for line in found.lines if line.stage == one) for one in stages}
    parts = ", ".join(f"{one} {hours(sums[one])}" for one in stages if sums[one])
    stage.rows(
        USAGE, rows, footer=f"total {hours(found.total_microseconds)} hours ({parts}), as of position {found.position}"
    )


@verb(
    click.argument("name", shell_complete=complete_either),
    click.option("-o", "--output", type=_FILE, help="A file to write it to; what was there is replaced."),
    click.option("--svg", is_flag=True, help="The drawing alone, as SVG."),
    *AS_OF,
    *PLACE,
    *JSON,
)
def timeline(given: Given, name: str, output: str | None, *, svg: bool) -> None:
    """Draw the history of a model into one HTML file that opens anywhere."""
    stage, form = given.stage(), "svg" if svg else "html"
    if stage.look == "text":
        _needs_file(stage, output, f"timeline.{form}")
    with given.open() as registry, _addressed(name):
        asked = given.asked(registry)
        about = version_named(asked, name).model_id if parse_address(name).version is not None else model_named(name)
        drawn = asked.timeline(about, output, format="svg" if svg else "html")
    if stage.look == "json":
        stage.json({"format": form, "output": output, "drawing": drawn if output is None else None})
    elif output is None:
        stage.write(drawn)


def _needs_file(stage: Stage, output: str | None, example: str) -> None:
    if output is None and stage.is_terminal:
        msg = "This is for a file, and stdout is a terminal."
        raise InvalidArgumentError(msg, hint=f"Name one with -o {example}, or pipe it.", argument="output")


# Proof, and the way of a log.


@verb(
    click.option(
        "--checkpoint",
        "checkpoints",
        multiple=True,
        type=_FILE,
        help="What `checkpoint` wrote; several are fine.",
    ),
    click.option("--public-key", type=_FILE, help="Of Ed25519, in PEM, where the checkpoints are signed."),
    click.option(
        "--views/--no-views", default=True, help="Whether kept views are compared with a replay [default: yes]."
    ),
    *PLACE,
    *FORMS,
)
def verify(given: Given, checkpoints: tuple[str, ...], public_key: str | None, *, views: bool) -> None:
    """Read every row again and say whether anybody touched the log.

    Ends with 0 where nothing was found and a checkpoint was compared; with 5 where nothing was found, but no checkpoint
    was given that covers anything, or its signature is not by the key: whoever can write the database could have made
    all links anew. With 10 to 17, by the first finding.
    """
    stage = given.stage()
    given_ones = [Checkpoint.read(one) for one in checkpoints]
    key = None if public_key is None else Path(public_key)
    with given.open() as registry, Progress() as progress:
        try:
            found = registry.verify(given_ones or None, public_key=key, views=views, progress=progress)
        except InvalidArgumentError as error:
            if error.facts.get("argument") != "checkpoint":
                raise
            if stage.look == "json":
                stage.problem(error.to_dict())
            else:
                stage.tell(f"Not proven: {error.sentence}", f"Hint: {error.hint}")
            raise EndsWithError(NOT_PROVEN) from None
    proven = found.count == 0 or any(one.position for one in given_ones)
    code = FOUND[found.findings[0].kind] if found.findings else (DONE if proven else NOT_PROVEN)
    told = [{**one.to_dict(), "exit_code": FOUND[one.kind]} for one in found.findings]
    rows = [{name: one[name] for name in FINDINGS.columns} for one in told]
    if stage.look == "json":
        about = {"ok": found.ok, "proven": found.ok and proven, "exit_code": code, "position": found.position}
        stage.json({**about, "count": found.count, "findings": rows, "not_proven": list(found.not_proven)})
    else:
        if rows or stage.look != "text":
            stage.rows(FINDINGS, rows)
        state = f"{len(rows)} findings" if rows else "nothing was found"
        stage.tell(f"{found.count} rows up to position {found.position} were read again: {state}.")
        stage.tell(*(f"Not proven: {one}" for one in found.not_proven))
    if code:
        raise EndsWithError(code)


@verb(
    click.option("-o", "--output", type=_FILE, help="A file to write it to, best on another machine."),
    click.option("--sign", "key", type=_FILE, help="Sign it with this private key of Ed25519, in PEM."),
    *PLACE,
    *JSON,
)
def checkpoint(given: Given, output: str | None, key: str | None) -> None:
    """Say what the whole log is now, in one line of JSON: keep it elsewhere, and give it to `verify`."""
    with given.open() as registry, Progress() as progress:
        taken = registry.checkpoint(progress)
    if key is not None:
        taken = taken.signed(Path(key))
    stage = given.stage()
    if output is None or stage.look == "json":
        stage.write(taken.to_json())
    if output is not None:
        taken.write(output)
        stage.tell(f"The checkpoint of {taken.count} rows is in {output}.")


@verb(
    click.argument("name", required=False, shell_complete=complete_names),
    click.option("-o", "--output", type=_FILE, help="A file, where nothing is yet; without it, stdout."),
    click.option("--cloud-events", is_flag=True, help="CloudEvents 1.0, a line of JSON for each event."),
    *PLACE,
    *FORMS,
)
def export(given: Given, name: str | None, output: str | None, *, cloud_events: bool) -> None:
    """Write the log of the workspace, or of NAME, with its chain; `import` takes it in.

    With --cloud-events, --json, --nl or --csv it is for other tools. The contents of artifacts are not written.
    """
    about, stage = None if name is None else model_named(name), given.stage()
    others = cloud_events or stage.look != "text"
    if cloud_events and stage.look != "text":
        msg = "--cloud-events is a form of its own."
        raise InvalidArgumentError(msg, hint="Leave --json, --nl and --csv out.", argument="cloud-events")
    if not others:
        _needs_file(stage, output, "log.ndjson")
    with given.open() as registry, Progress() as progress, _addressed(name or ""):
        if not others:
            target: str | BinaryIO = output if output is not None else sys.stdout.buffer
            done = registry.export(target, about, progress=progress)
            stage.tell(f"{done.events} events were exported.")
            return
        with _stdout_to(output):
            events: Iterable[Recorded] = registry.history(about)
            if output is not None or not stage.is_terminal:  # else the rows themselves show how far it has come
                events = _told(events, "export", registry.position())
            if cloud_events:
                for event in events:
                    stage.json(cloud_event_of(event), lines=True)
            else:
                rows = (event_row(_row, step) for step, _row in _steps(events))
                stage.rows(EVENTS, rows)


def _steps(events: Iterable[Recorded]) -> Iterator[tuple[Transition, Row]]:
    numbers: dict[str, str] = {}
    for step in transitions(events):
        numbers.update(_numbers([step]))
        yield step, flat_row(step.recorded, numbers.get)


@contextlib.contextmanager
def _stdout_to(output: str | None) -> Iterator[None]:
    """Let stdout go to a new file, which is gone where that fails."""
    if output is None:
        yield
        return
    if Path(output).exists():
        msg = f"There is a file {shown(output)} already."
        raise InvalidArgumentError(msg, hint="Name another one, or remove it first.", argument="output")
    with Path(output).open("x", encoding="utf-8", newline="\n") as file, contextlib.redirect_stdout(file):
        try:
            yield
        except BaseException:
            Path(output).unlink()
            raise


@verb(click.argument("file", type=_FILE), *DRY, *PLACE, *JSON, name="import")
def import_(given: Given, file: str) -> None:
    """Record what `export` wrote, after it was checked to its last line; FILE may be - for stdin.

    What is there already is passed over, so an import that was interrupted can be called again.
    """
    with contextlib.ExitStack() as opened:
        source: str | BinaryIO = file
        if file == "-":
            source = opened.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(sys.stdin.buffer, source)
            source.seek(0)
        registry = opened.enter_context(given.open(makes=True))
        progress = opened.enter_context(Progress())
        done = registry.import_log(source, progress=progress, dry_run=given.dry_run)
    stage = given.stage()
    if stage.look == "json":
        about = {"workspace": done.workspace, "model_name": done.model_name, "events": done.events}
        stage.json({**about, "imported": done.imported, "dry_run": given.dry_run})
        return
    verb_ = "would be recorded" if given.dry_run else "were recorded"
    stage.tell(f"{done.imported} of {done.events} events {verb_}; the others were there.")


# The store.


@verb(*DRY, *PLACE, *JSON)
def rebuild(given: Given) -> None:
    """Build the kept views anew from the log, beside the present ones, and swap. Events stay what they are."""
    stage = given.stage()
    with given.open() as registry, Progress() as progress:
        reached = registry.position() if given.dry_run else registry.rebuild(progress)
        names = [view.name for view in registry.views()]
    if stage.look == "json":
        stage.json({"views": names, "position": reached, "dry_run": given.dry_run})
    else:
        would = "would be" if given.dry_run else "were"
        stage.tell(f"{' and '.join(names)} {would} built anew up to position {reached}; no event is recorded.")


@verb(*DRY, *PLACE, *JSON)
def migrate(given: Given) -> None:
    """Make the store and its tables where they are missing, or bring them to the form of this release."""
    was_there = holds_store(given.place)
    position = 0
    if was_there or not given.dry_run:
        with given.open(makes=True) as registry:
            position = registry.position()
    stage = given.stage()
    if stage.look == "json":
        stage.json({"made": not (was_there or given.dry_run), "position": position, "dry_run": given.dry_run})
    elif was_there:
        stage.tell(f"The tables are those of this release, and hold the log up to position {position}.")
    else:
        stage.tell("There is no store: it would be made." if given.dry_run else "The store was made.")


@verb(*PLACE, *FORMS)
def doctor(given: Given) -> None:
    """Look at the installation, the store, its kept views and the contents: a line each.

    Ends with 6 where something is wrong; warnings end with 0.
    """
    stage = given.stage()
    with Progress() as progress:
        checks = list(examine(given.place, given.workspace, given.artifacts, progress))
    stage.rows(CHECKS, [{name: getattr(one, name) for name in CHECKS.columns} for one in checks])
    if any(one.verdict == "fail" for one in checks):
        raise EndsWithError(STORE)
