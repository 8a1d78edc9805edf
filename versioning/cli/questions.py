"""The verbs that ask: what is there, what happened, what changed, what does it cost?

The law of this room: **a question records nothing, makes nothing, and can be asked about the past** with --as-of.

To add a question: a function with its options here, and its place in `VERBS`.
"""

from __future__ import annotations

import collections
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Final

import click

from versioning.cli.addresses import (
    addressed,
    model_named,
    month_of,
    parse_address,
    parse_moment,
    parse_month,
    parse_place,
    parse_point,
    parse_zone,
)
from versioning.cli.completion import complete_either, complete_names
from versioning.cli.options import AS_OF, EITHER, FILE, FORMS, JSON, PLACE, QUESTION, needs_file, verb
from versioning.cli.rows import (
    CHANGES,
    DESCRIBED,
    EVENTS,
    EXPLAINED,
    MODELS,
    REPLAYED,
    USAGE,
    VERSIONS,
    Billed,
    Described,
    Entry,
    drawn_up_to,
    numbers_in,
    rounded,
)
from versioning.cli.tables import watched
from versioning.cli.words import WORDS
from versioning.errors import InvalidArgumentError
from versioning.events import NothingChanged, VersionPromoted, rfc3339
from versioning.ids import parse_model_id
from versioning.numbers import exact_number
from versioning.output.explain import explain as explanation_of
from versioning.output.explain import subjects
from versioning.reading.replay import transitions
from versioning.resolving import PRIMARY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from versioning.aggregate import Version
    from versioning.answers import Answers
    from versioning.cli.given import Given
    from versioning.cli.tables import Stage
    from versioning.events import Recorded
    from versioning.reading.replay import Transition

_ABOUT: Final = click.argument("address", required=False, metavar="[VERSION|MODEL]", shell_complete=complete_either)


@verb("List models, or the versions of one")
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--all", "everything", is_flag=True, help="With NAME: show deleted versions too.")
@click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="Without NAME: show at most N models.")
@click.option("--after", metavar="NAME", help="Without NAME: show only models after this name.")
@QUESTION
def ls(given: Given, name: str | None, *, everything: bool, limit: int | None, after: str | None) -> None:
    """List the models, or the versions of NAME."""
    _refuse_pages(name, everything=everything, limit=limit, after=after)
    with given.open(asks=True) as registry:
        asked, stage = given.asked(registry), given.stage()
        if name is None:
            stage.rows(MODELS, asked.models(after, limit))
            return
        with addressed(name):
            versions = _versions_of(asked, model_named(name), everything=everything)
        stage.rows(VERSIONS, versions)


def _refuse_pages(name: str | None, *, everything: bool, limit: int | None, after: str | None) -> None:
    """Refuse options of the other list.

    Raises:
        InvalidArgumentError: --limit or --after with NAME, or --all without it.
    """
    option = "--all" if everything else None
    if name is not None:
        option = "--limit" if limit is not None else "--after" if after is not None else None
    if option is not None:
        is_of_models = name is not None
        msg = f"{option} is for the list of {'models, and NAME' if is_of_models else 'versions, and no NAME'} is given."
        hint = f"Leave {option} out, or {'leave NAME out' if is_of_models else 'add NAME'}."
        raise InvalidArgumentError(msg, hint=hint, argument=option.lstrip("-"))


def _versions_of(asked: Answers, name: str, *, everything: bool) -> tuple[Version, ...]:
    if parse_model_id(name) is not None:
        return asked.model(name).versions
    return asked.versions(name, include_deleted=everything)


@verb("Show everything about a model or a version")
@EITHER
@QUESTION
def show(given: Given, address: str) -> None:
    """Show everything that is known about a model or a version."""
    with given.open(asks=True) as registry, addressed(address):
        asked, stage = given.asked(registry), given.stage()
        if parse_address(address).version is None:
            stage.record(MODELS, asked.model(model_named(address)))
            return
        version = asked.version(address)
        stage.record(DESCRIBED, Described(version, asked.allowed(version)))


@verb("Show which version answers")
@EITHER
@QUESTION
def resolve(given: Given, address: str) -> None:
    """Show which version answers: the primary of NAME, the one with a number, or the highest of a range (NAME@^1.2)."""
    with given.open(asks=True) as registry, addressed(address):
        asked = given.asked(registry)
        named = parse_address(address)
        if named.name is None:
            found = asked.resolve(asked.version(address).model_name, named.version)
        else:
            found = asked.resolve(named.name, None if named.version == PRIMARY else named.version)
        given.stage().one(VERSIONS, found)


def _history(asked: Answers, address: str | None) -> tuple[Iterable[Recorded], Callable[[Recorded], bool], str | None]:
    """Return whole streams to fold, a test for the events asked for, and what the library calls their subject."""
    if address is None:
        return asked.history(), lambda _: True, None
    named = parse_address(address)
    if named.version is not None:
        version = asked.version(address)
        wanted = {one.position for one in asked.history(version.version_id)}
        return asked.history(version.model_name), lambda one: one.position in wanted, version.version_id
    name = model_named(address)
    if parse_model_id(name) is None:
        return asked.history(name), lambda _: True, name
    model = asked.model(name)
    return asked.history(model.name), lambda one: one.model_id == model.model_id, model.model_id


@verb("Show what happened, newest first")
@_ABOUT
@click.option("--oneline", is_flag=True, help="Write one line for each event, on a terminal too.")
@click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="Show only the newest N events.")
@click.option("--after", metavar="PLACE", help="Show only what is behind a position or the bookmark of an event.")
@QUESTION
def log(given: Given, address: str | None, *, oneline: bool, limit: int | None, after: str | None) -> None:
    """Show what happened, newest first: what changed, who did it and why.

    `(primary)` marks the event that made the present primary the primary. For a version, every event that names it is
    shown.
    """
    with given.open(asks=True) as registry, addressed(address or ""):
        asked = given.asked(registry)
        events, is_asked, _ = _history(asked, address)
        newer = None if after is None else {one.position for one in asked.history(after=parse_place(after))}
        steps: collections.deque[Transition] = collections.deque(maxlen=limit)
        marks: dict[str, int | None] = {}
        numbers: dict[str, str] = {}
        last = registry.position()
        for step in transitions(watched(events, "log", last)):
            recorded = step.recorded
            if isinstance(recorded.event, VersionPromoted):
                marks[recorded.stream] = recorded.position
            elif step.primary is None:
                marks[recorded.stream] = None
            numbers.update(numbers_in([step]))
            if (newer is None or recorded.position in newer) and is_asked(recorded):
                steps.append(step)
    stage, newest = given.stage(), list(reversed(steps))
    roles = ["primary" if marks.get(step.recorded.stream) == step.recorded.position else None for step in newest]
    if stage.look != "text" or not stage.is_terminal or not newest:
        stage.rows(EVENTS, (Entry(step, numbers, role) for step, role in zip(newest, roles, strict=True)))
        return
    for step, role in zip(newest, roles, strict=True):
        _log_entry(stage, step, role, oneline=oneline)


def _log_entry(stage: Stage, step: Transition, role: str | None, *, oneline: bool) -> None:
    recorded = step.recorded
    head: list[tuple[str, str]] = [(f"{recorded.position}", "yellow"), (f" {rfc3339(recorded.timestamp)} ", "")]
    head += [(recorded.model_name, "bold"), (f" {step.number}" if step.number else "", "bold")]
    head += [(" (primary)" if role else "", "bold green"), (f" {type(recorded.event).__name__} ", "")]
    if isinstance(recorded.event, NothingChanged):
        head.append((recorded.event.command, ""))
    else:
        head.append((f"{step.what} {step.before or '–'} {stage.arrow} {step.after or '–'}", ""))
    why = (f" by {recorded.actor}" if recorded.actor else "") + (f": {recorded.reason}" if recorded.reason else "")
    if oneline:
        stage.block([*head, (why, "dim")])
    else:
        stage.block(head, [(f"    {step.sentence}", "")])


@verb("Tell what happened, oldest first")
@_ABOUT
@QUESTION
def replay(given: Given, address: str | None) -> None:
    """Tell what happened, oldest first, in sentences, with the primary before and after each event."""
    with given.open(asks=True) as registry, addressed(address or ""):
        asked = given.asked(registry)
        about = None if address is None else _history(asked, address)[2]
        given.stage().rows(REPLAYED, asked.replay(about))


@verb("Show what changed between two moments")
@click.argument("then")
@click.argument("now", required=False)
@click.option("--model", metavar="NAME", shell_complete=complete_names, help="Compare only this model.")
@PLACE
@FORMS
def diff(given: Given, then: str, now: str | None, model: str | None) -> None:
    """Show what changed from THEN to NOW: moments or positions. Without NOW, up to the end of the log."""
    with given.open(asks=True) as registry, addressed(model or ""):
        earlier, later = parse_point(then, "THEN"), None if now is None else parse_point(now, "NOW")
        found = registry.diff(earlier, later, None if model is None else model_named(model))
    stage = given.stage()
    if stage.look == "json":
        stage.json(found.to_dict())
    else:
        stage.rows(CHANGES, found.changes)


@verb("Show what a period costs")
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--month", metavar="YYYY-MM", help="A month [default: this one, or that of --as-of].")
@click.option("--tz", "zone", metavar="ZONE", help="Time zone of the month, such as Europe/Berlin [default: UTC].")
@click.option("--from", "start", metavar="MOMENT", help="First moment of the period.")
@click.option("--to", "end", metavar="MOMENT", help="End of the period, which is not included.")
@click.option("--until", metavar="MOMENT", help="Count what is still open up to this moment [default: now].")
@QUESTION
def usage(
    given: Given, name: str | None, *, month: str | None, zone: str | None, start: str | None, end: str | None,
    until: str | None,
) -> None:  # fmt: skip
    """Show what was used in a period, for all models or for NAME: when, in which stage, and between which events.

    A bill says up to which moment and position it was drawn: with these as --until and --as-of, it can be drawn again.
    """
    if (month is not None and start is not None) or (start is None) != (end is None):
        msg = "A period is either a --month, or both --from and --to."
        raise InvalidArgumentError(msg, hint="For example --month 2026-01.", argument="month")
    if zone is not None and start is not None:
        msg = "--tz is for a --month: --from and --to have offsets of their own."
        raise InvalidArgumentError(msg, hint="Leave --tz out.", argument="tz")
    drawn = None if until is None else parse_moment(until, "--until")
    named, place = None, parse_zone(zone)
    if start is not None and end is not None:
        named = parse_moment(start, "--from"), parse_moment(end, "--to")
    elif month is not None:
        named = parse_month(month, place)
    with given.open(asks=True) as registry, addressed(name or ""):
        asked = given.asked(registry)
        start_and_end = named or _present_month(given, asked, place)
        found = asked.usage(*start_and_end, None if name is None else model_named(name), until=drawn)
    stage = given.stage()
    if stage.look == "json":
        stage.json(found.to_dict())
        return
    stages = ("published", "draft")
    sums = {one: sum(line.hours for line in found.lines if line.stage == one) for one in stages}
    parts = ", ".join(f"{one} {rounded(sums[one])}" for one in stages if sums[one])
    footer = f"total {rounded(found.total_hours)} hours ({parts}), {drawn_up_to(found)}"
    stage.rows(USAGE, (Billed(line, found) for line in found.lines), footer=footer)


def _present_month(given: Given, asked: Answers, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the month that a question without a period means: this one, or that of the past it asks about."""
    point = None if given.as_of is None else parse_point(given.as_of, "--as-of")
    if isinstance(point, int):
        last = collections.deque(asked.history(), maxlen=1)
        point = last[0].timestamp if last else None
    moment = datetime.now(zone) if point is None else point.astimezone(zone)
    return month_of(moment.year, moment.month, zone)


@verb("Draw the history of a model")
@click.argument("name", shell_complete=complete_either)
@click.option("-o", "--output", type=FILE, help="File to write to; an earlier drawing is replaced.")
@click.option("--svg", is_flag=True, help="Write only the drawing, as SVG.")
@AS_OF
@PLACE
@JSON
def timeline(given: Given, name: str, output: str | None, *, svg: bool) -> None:
    """Draw the history of a model into one HTML file that opens anywhere."""
    stage, form = given.stage(), "svg" if svg else "html"
    if stage.look == "text":
        needs_file(stage, output, f"timeline.{form}")
    with given.open(asks=True) as registry, addressed(name):
        asked = given.asked(registry)
        about = asked.version(name).model_id if parse_address(name).version is not None else model_named(name)
        drawn = asked.timeline(about, output, format="svg" if svg else "html")
    if stage.look == "json":
        stage.json({"format": form, "output": output, "drawing": drawn if output is None else None})
    elif output is None:
        stage.write(drawn)


@verb("Write the contents of a version to a file")
@EITHER
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there; of a link, the link itself.")
@AS_OF
@PLACE
@JSON
def fetch(given: Given, address: str, path: str, *, overwrite: bool) -> None:
    """Write the contents of a version to FILE: of the primary of NAME, of a number, or of the best of a range.

    Nothing is loaded, so nothing has to be trusted. The digest is checked before FILE has its name.
    """
    with given.open(asks=True) as registry, addressed(address):
        found = registry.fetch(_version_of(given.asked(registry), address), path, overwrite)
    stage = given.stage()
    if stage.look == "json":
        stage.json({"version": found.to_dict(), "path": path})
    else:
        stage.tell(f"{path} has the contents of {found.model_name} {found.number}, SHA-256 {found.artifact.digest}.")


def _version_of(asked: Answers, address: str) -> Version:
    """Return the version that an address names, whatever its status; of a range or a model, the one that answers."""
    named = parse_address(address)
    if named.name is None or exact_number(named.version or "") is not None:
        return asked.version(address)
    return asked.resolve(named.name, None if named.version == PRIMARY else named.version)


@verb("Explain a rule, a word or an error code")
@click.argument("word", required=False)
@FORMS
def explain(given: Given, word: str | None) -> None:
    """Explain a rule (R13), a word (claim) or an error code (primary-moved). Without WORD, list all of them."""
    stage = given.stage()
    if word is None:
        stage.rows(EXPLAINED, subjects(WORDS))
        return
    found = explanation_of(word, WORDS)
    if stage.look == "text":
        stage.paragraphs(str(found))
    else:
        stage.one(EXPLAINED, found)


VERBS: Final = (ls, show, log, replay, diff, resolve, usage, timeline, fetch, explain)
"""Verbs of this file, in the order of help."""
