"""Given what happened, when something is asked for, then these facts: tests of rules that read like sentences.

The law of this room: pure. A story runs `rules.decide` and folds with `evolve`, without a registry, a store or the
machine's clock. A story never changes, so one story can be the beginning of many.

    given(deploy("a", publish=True), deploy("b")).when(promote("b")).then(
        "VersionPublished b, without claim", "VersionPromoted b requested, was a"
    )
    given(deploy("a"), deactivate("a")).when(promote("a")).refused("R8")
    given(deploy("a")).when(activate("a")).nothing_happened()
    given(deploy("a")).when(activate("a").keyed()).then("NothingChanged a, activate")

A story begins with what happened: commands (the builders below, or those of `versioning.commands`), plain events, or a
real `registry.history(name)`, to see what another policy would have done next. `when` also takes a function that is
called with the story and returns commands: the part of a service that decides.

**Versions** are named by the label that `deploy` gave them, or by their number.

**Facts** are compared as words: the name of the event, then any of the words that describe it, in any order. Words
that are left out are not compared, so `"VersionPromoted"`, `"VersionPromoted b"` and `"VersionPromoted b, requested,
was a"` all match the same fact. An event instead of words is compared exactly. The words are:

    VersionDeployed a 0.1.0, published with claim, activating     | draft, without claim, active
    VersionPublished a with claim                                 | without claim
    VersionPromoted b requested, was a                            | published, rollback, fallback, default, was none
    PrimaryCleared lost, was a                                    | requested, was none
    VersionDeactivated a · VersionActivationRequested a · VersionActivated a · VersionDeleted a · ModelDeleted
    VersionActivationFailed a "out of memory"
    NothingChanged a, activate                                    | publish, promote, deactivate, clear_primary

**The clock** starts at nine in the morning of 2026-01-01 UTC and advances by one second with each command;
`.at("10:20")` sets it. As in a registry, a command is refused where the last fact lies more than five minutes ahead of
it (R23); `given(…, clock_skew_max_s=None)` lifts that limit.

To add a builder for a new command: a function that returns a `Step`. For a new event: its words in `Story.tell`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time
from functools import cached_property
from typing import Final, NoReturn, TypeAlias, get_args

import attrs

from versioning.aggregate import Model, ModelAggregate, Version, evolve
from versioning.commands import (
    NAMES,
    Activate,
    ClearPrimary,
    Command,
    CompleteActivation,
    Deactivate,
    Delete,
    DeleteModel,
    Deploy,
    Expect,
    ExpectedPrimary,
    FailActivation,
    Promote,
    Publish,
    Rollback,
    VersionCommand,
)
from versioning.errors import VersioningError
from versioning.events import (
    EVENTS,
    ArtifactRef,
    Event,
    NothingChanged,
    PrimaryCleared,
    Recorded,
    Unneeded,
    VersionActivationFailed,
    VersionDeployed,
    VersionPromoted,
    VersionPublished,
    microseconds_of,
    moment_of,
)
from versioning.ids import activation_id_of, checked_activation_id, looks_like_id, stream_of
from versioning.limits import (
    CLOCK_SKEW_MAX_S,
    checked_clock_skew,
    checked_expectation,
    checked_failure,
    checked_flag,
    checked_metadata,
    checked_promote,
)
from versioning.numbers import checked_bump
from versioning.rules import Policy, clock_agrees, decide

DEFAULT_POLICY: Final = Policy()
FIRST_MOMENT: Final = datetime(2026, 1, 1, 9, tzinfo=UTC)
ONE_COMMAND_US: Final = 1_000_000
"""Microseconds by which a command advances the clock."""
ARTIFACT: Final = ArtifactRef("memory:model")

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|(?:was|with|without)\s+[^\s,():"]+|[^\s,():"]+')
_LABEL = re.compile(r"[A-Za-z_][\w-]*")
_KEPT_WORDS = frozenset({"was", "with", "without", "claim", "none", "draft", "published", "active", "activating"}) | {
    "requested",
    "rollback",
    "fallback",
    "default",
    "lost",
    *get_args(Unneeded),
}

Moment: TypeAlias = str | datetime
"""A time of the story's first day, such as `"10:20"`, or any aware datetime."""


# What is asked.


@attrs.frozen
class Step:
    """A command in the words of a story; called with the story, it returns the command."""

    words: str
    make: Callable[[Story], Command] = attrs.field(repr=False)
    label: str | None = None
    """Label of the version that it deploys."""
    moment: Moment | None = None
    actor: str | None = None
    reason: str | None = None
    has_key: bool = False
    """Whether it is asked for with an idempotency key of its own (R21)."""

    def __call__(self, story: Story) -> Command:
        return self.make(story)

    def at(self, moment: Moment) -> Step:
        """Return the same step, asked for at this moment."""
        return attrs.evolve(self, moment=moment)

    def by(self, actor: str, reason: str | None = None) -> Step:
        """Return the same step with who asks for it, and why."""
        return attrs.evolve(self, actor=actor, reason=reason)

    def keyed(self) -> Step:
        """Return the same step with an idempotency key that was never used, so that it is kept if nothing changes."""
        return attrs.evolve(self, has_key=True)


Asked: TypeAlias = Command | Step | Iterable[Command | Step] | None
Service: TypeAlias = Callable[["Story"], Asked]
"""A decision of your service: the commands that it gives when it sees a story."""


def deploy(
    label: str | None = None,
    *,
    bump: str = "MINOR",
    publish: bool = False,
    promote: bool | None = None,
    artifact: ArtifactRef = ARTIFACT,
    metadata: dict[str, object] | None = None,
) -> Step:
    """Deploy a version, and call it `label`; without a label it is named by its number.

    Raises:
        ValueError: the label is not one word, or is a word that describes facts.
    """
    if label is not None and (not _LABEL.fullmatch(label) or label in _KEPT_WORDS or label in _EVENT_NAMES):
        msg = f"A label is one word, and none that facts are told with, not {label!r}."
        raise ValueError(msg)

    def make(story: Story) -> Command:
        if label in story.labels.values():
            msg = f"Another version is called {label!r} already."
            raise ValueError(msg)
        publishes = checked_flag(publish, "publish")
        claims = checked_promote(promote, publish=publishes)
        token = f"{len(story.state.versions) + 1:08x}"
        return Deploy(artifact, token, checked_bump(bump), publishes, claims, checked_metadata(metadata))

    asked = [
        f"deploy {label or ''}".strip(),
        "" if bump == "MINOR" else bump,
        "publish" if publish else "",
        "" if promote is None else f"promote={promote}",
    ]
    return Step(", ".join(filter(None, asked)), make, label)


def publish(version: str, *, promote: bool | None = None) -> Step:
    """Publish a draft."""

    def make(story: Story) -> Command:
        return Publish(story.id(version), None if promote is None else checked_flag(promote, "promote"))

    return Step(f"publish {version}" + ("" if promote is None else f", promote={promote}"), make)


def promote(version: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING) -> Step:
    """Make a version primary."""
    words = f"promote {version}{_expecting(expected_primary)}"
    return Step(words, lambda story: Promote(story.id(version), story.expected(expected_primary)))


def rollback(*, expected_primary: ExpectedPrimary = Expect.ANYTHING) -> Step:
    """Go back to the primary before."""
    return Step(f"rollback{_expecting(expected_primary)}", lambda story: Rollback(story.expected(expected_primary)))


def deactivate(version: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING) -> Step:
    """Stop a version."""
    words = f"deactivate {version}{_expecting(expected_primary)}"
    return Step(words, lambda story: Deactivate(story.id(version), story.expected(expected_primary)))


def activate(version: str) -> Step:
    """Start a version again."""
    return Step(f"activate {version}", lambda story: Activate(story.id(version)))


def ready(version: str, *, attempt: int | None = None, activation_id: str | None = None) -> Step:
    """Report that a version's environment is ready: for the newest wait, or the one with this number or id."""

    def make(story: Story) -> Command:
        return CompleteActivation(story.id(version), story.wait(version, attempt, activation_id))

    return Step(f"{version} is ready{_answering(attempt, activation_id)}", make)


def fails(
    version: str, error: str = "out of memory", *, attempt: int | None = None, activation_id: str | None = None
) -> Step:
    """Report that a version's environment did not start."""

    def make(story: Story) -> Command:
        wait = story.wait(version, attempt, activation_id)
        return FailActivation(story.id(version), wait, checked_failure(error))

    return Step(f"{version} fails to start{_answering(attempt, activation_id)}", make)


def delete(version: str, *, expected_primary: ExpectedPrimary = Expect.ANYTHING) -> Step:
    """Delete a version."""
    words = f"delete {version}{_expecting(expected_primary)}"
    return Step(words, lambda story: Delete(story.id(version), story.expected(expected_primary)))


def delete_model() -> Step:
    """Delete the model."""
    return Step("delete_model", lambda _story: DeleteModel())


def clear_primary(*, expected_primary: ExpectedPrimary = Expect.ANYTHING) -> Step:
    """Leave the model without a primary on purpose."""
    words = f"clear_primary{_expecting(expected_primary)}"
    return Step(words, lambda story: ClearPrimary(story.expected(expected_primary)))


# The story.


@attrs.frozen
class Chapter:
    """What was asked for at a moment, and what came of it."""

    words: str
    moment: datetime
    facts: tuple[Recorded, ...]
    error: VersioningError | None = None
    actor: str | None = None
    reason: str | None = None


@attrs.frozen
class Story:
    """What has happened so far under one name; it never changes, and each method returns another story."""

    policy: Policy
    stream: str
    workspace: str
    model_name: str
    chapters: tuple[Chapter, ...] = ()
    labels: dict[str, str] = attrs.Factory(dict)
    """Labels of versions, by version_id."""
    now_us: int = microseconds_of(FIRST_MOMENT)
    """Moment of the next command, in microseconds since 1970 UTC."""
    skew_max_us: int = checked_clock_skew(CLOCK_SKEW_MAX_S)
    """Microseconds by which the last fact may lie ahead of a command (R23)."""

    # What is so.

    @property
    def log(self) -> list[Recorded]:
        """Everything that was recorded, oldest first, to fold projections with."""
        return [fact for chapter in self.chapters for fact in chapter.facts]

    @cached_property
    def state(self) -> ModelAggregate:
        """State after the last chapter, for reading only."""
        state = ModelAggregate(self.stream, self.workspace, self.model_name)
        for fact in self.log:
            evolve(state, fact.event, fact.actor)
        return state

    @property
    def model(self) -> Model | None:
        """The model as a registry would show it; None if there is none."""
        return self.state.model() if self.state.exists else None

    @property
    def primary(self) -> str | None:
        """Label or number of the primary; None if there is none."""
        return None if self.state.primary is None else self.name(self.state.primary)

    @property
    def active(self) -> tuple[str, ...]:
        """Labels or numbers of the active versions, in the order of their numbers."""
        return tuple(self.name(version.version_id) for version in self._left if version.status == "active")

    @property
    def billable(self) -> tuple[str, ...]:
        """Labels or numbers of the billed versions, in the order of their numbers."""
        return tuple(self.name(version.version_id) for version in self._left if version.is_billable)

    @property
    def _left(self) -> list[Version]:
        return [self.state.versions[version_id] for version_id in self.state.left]

    def version(self, version: str) -> Version:
        """Return the version with this label, number or id."""
        return self.state.versions[self.id(version)]

    # How versions are spoken of.

    def id(self, version: str) -> str:
        """Return the version_id of a label or number; an id is returned as it is, even an unknown one.

        Raises:
            LookupError: nothing in the story has this name.
        """
        for version_id, label in self.labels.items():
            if label == version:
                return version_id
        if version in self.state.by_number:
            return self.state.by_number[version]
        for version_id, known in reversed(self.state.versions.items()):
            if version in {known.number, version_id}:
                return version_id
        if looks_like_id(version):
            return version
        there = ", ".join(f"{self.name(each.version_id)} ({each.number})" for each in self.state.versions.values())
        msg = f"Nothing in this story is called {version!r}; there is {there or 'nothing'}."
        raise LookupError(msg)

    def name(self, version_id: str | None) -> str:
        """Return the label of a version_id, or else its number, or else the id itself."""
        if version_id is None:
            return "none"
        known = self.state.versions.get(version_id)
        if version_id in self.labels or known is None:
            return self.labels.get(version_id, version_id)
        return known.number if self.id(known.number) == version_id else version_id

    def wait(self, version: str, attempt: int | None = None, activation_id: str | None = None) -> str:
        """Return the activation_id of a version's newest wait, or of one by its number; a given id is checked."""
        if activation_id is not None:
            return checked_activation_id(activation_id)
        version_id = self.id(version)
        known = self.state.versions.get(version_id)
        return activation_id_of(version_id, attempt or max(1, known.attempts if known is not None else 1))

    def expected(self, version: ExpectedPrimary) -> ExpectedPrimary:
        """Return `expected_primary` with the version_id in place of a label or number."""
        return checked_expectation(self.id(version) if isinstance(version, str) else version)

    # How it goes on.

    def given(self, *happened: Command | Step | Service | Event | Recorded) -> Story:
        """Return the story after more has happened.

        Raises:
            AssertionError: one of the commands is refused, so the story can't begin like this.
            ValueError: recorded events of another name.
        """
        __tracebackhide__ = True
        story = self
        for each in happened:
            if isinstance(each, Recorded):
                story = _remembering(story, each)
            elif isinstance(each, Event):
                story = _recording(story, "given", (each,), each.at_us)
            else:
                decision = story.when(each)
                if decision.error is not None:
                    decision.fail("given, and refused.")
                story = decision.after
        return story

    def under(self, policy: Policy) -> Story:
        """Continue under another policy."""
        return attrs.evolve(self, policy=policy)

    def at(self, moment: Moment) -> Story:
        """Continue at this moment, even an earlier one; the next command is given then."""
        if isinstance(moment, str):
            moment = datetime.combine(FIRST_MOMENT, time.fromisoformat(moment), UTC)
        return attrs.evolve(self, now_us=microseconds_of(moment))

    def when(self, asked: Command | Step | Service) -> Decision:
        """Ask for something: a command, or the commands that a function returns when it sees this story.

        If a function returns several commands, they are decided one after the other, up to the first that is refused.
        """
        if isinstance(asked, Command | Step):
            commands: Iterable[Command | Step] = (asked,)
        else:
            answer = asked(self)
            commands = () if answer is None else (answer,) if isinstance(answer, Command | Step) else answer
        story = self
        for command in commands:
            story = _deciding(story, command)
            if story.chapters[-1].error is not None:
                break
        return Decision(self, story)

    # How it is told.

    def tell(self, event: Event) -> str:
        """Return a fact in all its words."""
        said = [type(event).__name__]
        if getattr(event, "version_id", None) is not None:
            said.append(self.name(event.version_id))  # type: ignore[union-attr]  # it has one
        match event:
            case VersionDeployed():
                stage = f"published {_claiming(event.claims)}" if event.published else "draft"
                number = "" if event.number in said else event.number
                status = "active" if event.activation_id is None else "activating"
                said = [" ".join(filter(None, [*said, number])), stage, status]
                return ", ".join(said)
            case VersionPublished():
                said.append(_claiming(event.claims))
            case VersionPromoted():
                said += [f"{event.cause},", f"was {self.name(event.previous)}"]
            case PrimaryCleared():
                said += [f"{event.cause},", f"was {self.name(event.previous)}"]
            case NothingChanged():
                said.append(event.command)
            case VersionActivationFailed():
                said.append(json.dumps(event.error, ensure_ascii=False))
            case _:
                pass
        return " ".join(said)

    def __str__(self) -> str:
        """Return the whole story: when, who asked for what and why, what was recorded, and the primary after it."""
        lines = [f"{self.model_name} in {self.workspace}, under {self.policy}"]
        state = ModelAggregate(self.stream, self.workspace, self.model_name)
        for chapter in self.chapters:
            who = f" (by {chapter.actor}{f': {chapter.reason}' if chapter.reason else ''})" if chapter.actor else ""
            lines.append(f"  {chapter.moment.replace(tzinfo=None)}  {chapter.words}{who}")
            for fact in chapter.facts:
                evolve(state, fact.event, fact.actor)
                lines.append(f"      {self.tell(fact.event)}")
            if chapter.error is not None:
                lines.append(f"      refused, {type(chapter.error).__name__}: {chapter.error}")
            elif not chapter.facts:
                lines.append("      nothing happened")
            lines.append(f"      primary: {self.name(state.primary)}")
        return "\n".join(lines)


def given(
    *happened: Command | Step | Service | Event | Recorded,
    policy: Policy = DEFAULT_POLICY,
    workspace: str = "default",
    model_name: str = "model",
    clock_skew_max_s: float | None = CLOCK_SKEW_MAX_S,
) -> Story:
    """Begin a story with what happened: commands, plain events, or the recorded events of one name.

    Raises:
        AssertionError: one of the commands is refused, so the story can't begin like this.
        ValueError: recorded events of several names.
    """
    __tracebackhide__ = True
    skew_max_us = checked_clock_skew(clock_skew_max_s)
    story = Story(policy, stream_of(workspace, model_name), workspace, model_name, skew_max_us=skew_max_us)
    return story.given(*happened)


@attrs.frozen
class Decision:
    """What came of a request; three endings check what should have come, and each returns the story after it."""

    before: Story
    after: Story

    @property
    def events(self) -> tuple[Event, ...]:
        """Events that were recorded."""
        return tuple(fact.event for chapter in self._chapters for fact in chapter.facts)

    @property
    def error(self) -> VersioningError | None:
        """Error of the refusal; None if nothing was refused."""
        return self._chapters[-1].error if self._chapters else None

    @property
    def _chapters(self) -> tuple[Chapter, ...]:
        return self.after.chapters[len(self.before.chapters) :]

    def then(self, first: str | Event, *more: str | Event) -> Story:
        """Check that exactly these facts were recorded, in this order.

        Raises:
            AssertionError: others were recorded, or none; the message tells the whole story.
        """
        __tracebackhide__ = True
        expected = (first, *more)
        held = [self._is(*pair) for pair in zip(expected, self.events, strict=False)]
        if self.error is not None or not all(held) or len(expected) != len(self.events):
            self.fail(
                "expected these facts.",
                *(each if isinstance(each, str) else self.after.tell(each) for each in expected),
            )
        return self.after

    def nothing_happened(self) -> Story:
        """Check that nothing was recorded and nothing was refused: it was so already, or came too late.

        Raises:
            AssertionError: something was; the message tells the whole story.
        """
        __tracebackhide__ = True
        if self.error is not None or self.events:
            self.fail("expected that nothing happens.")
        return self.after

    def refused(self, why: str | type[VersioningError]) -> Story:
        """Check that it was refused with this rule (`"R8"`), code (`"version-not-active"`) or class.

        Raises:
            AssertionError: it was not, or something was recorded; the message tells the whole story.
        """
        __tracebackhide__ = True
        error = self.error
        right = error is not None and (
            why in {error.rule, error.code} if isinstance(why, str) else isinstance(error, why)
        )
        if not right or self.events:
            self.fail(f"expected a refusal, {why if isinstance(why, str) else why.__name__}.")
        return self.after

    def fail(self, *expected: str) -> NoReturn:
        """Raise an AssertionError with what was expected and the whole story."""
        __tracebackhide__ = True
        got = [self.after.tell(event) for event in self.events]
        if self.error is not None:
            got.append(f"refused, {type(self.error).__name__}: {self.error}")
        asked = " · ".join(chapter.words for chapter in self._chapters) or "nothing was asked"
        wanted, got = ([f"      {each}" for each in lines] for lines in (expected[1:], got or ["nothing"]))
        raise AssertionError(
            "\n".join([f"{asked}: {expected[0]}", *wanted, "Got:", *got, "The story:", str(self.after)])
        )

    def _is(self, expected: str | Event, event: Event) -> bool:
        if not isinstance(expected, str):
            return expected == event
        said, told = _said(expected), _said(self.after.tell(event))
        return said[:1] == told[:1] and set(said) <= set(told)


def _said(text: str) -> list[str]:
    return [" ".join(word.split()) for word in _WORD.findall(text)]


_EVENT_NAMES = frozenset(event.__name__ for event in EVENTS.values())


def _deciding(story: Story, asked: Command | Step) -> Story:
    step = asked if isinstance(asked, Step) else Step(_words(story, asked), lambda _story: asked)
    if step.moment is not None:
        story = story.at(step.moment)
    try:
        events = decide(story.state, step(story), story.policy, story.now_us, has_key=step.has_key)
        if events:
            clock_agrees(story.state, story.now_us, story.skew_max_us)
    except VersioningError as error:
        return _recording(story, step.words, (), story.now_us, step, error=error)
    after = _recording(story, step.words, events, story.now_us, step)
    if step.label is None:
        return after
    made = next(event.version_id for event in events if isinstance(event, VersionDeployed))
    return attrs.evolve(after, labels={**after.labels, made: step.label})


def _words(story: Story, command: Command) -> str:
    name = NAMES[type(command)]
    return f"{name} {story.name(command.version_id)}" if isinstance(command, VersionCommand) else name


def _recording(
    story: Story,
    words: str,
    events: Sequence[Event],
    now_us: int,
    step: Step | None = None,
    *,
    error: VersioningError | None = None,
) -> Story:
    actor, reason = (None, None) if step is None else (step.actor, step.reason)
    has_key = step is not None and step.has_key
    state, log = story.state, story.log
    position = log[-1].position if log else 0
    begins = not state.exists and any(isinstance(event, VersionDeployed) for event in events)
    facts = tuple(
        Recorded(
            position=position + index + 1,
            sequence=state.sequence + index + 1,
            stream=story.stream,
            workspace=story.workspace,
            model_name=story.model_name,
            generation=state.generation + begins,
            event=event,
            actor=actor,
            reason=reason,
            idempotency_key=f"key {state.sequence + 1}" if has_key or isinstance(event, NothingChanged) else None,
            command_id=f"{story.stream}.{state.sequence + 1}",
            index=index,
            count=len(events),
        )
        for index, event in enumerate(events)
    )
    chapter = Chapter(words, moment_of(now_us), facts, error, actor, reason)
    return attrs.evolve(story, chapters=(*story.chapters, chapter), now_us=now_us + ONE_COMMAND_US)


def _remembering(story: Story, fact: Recorded) -> Story:
    if not story.chapters:
        story = attrs.evolve(story, stream=fact.stream, workspace=fact.workspace, model_name=fact.model_name)
    elif fact.stream != story.stream:
        msg = f"A story is of one name: {story.model_name!r}, not {fact.model_name!r}."
        raise ValueError(msg)
    chapter = Chapter("given", fact.timestamp, (fact,), actor=fact.actor, reason=fact.reason)
    return attrs.evolve(story, chapters=(*story.chapters, chapter), now_us=fact.event.at_us + ONE_COMMAND_US)


def _claiming(claims: bool) -> str:  # noqa: FBT001 - the event's own field
    return "with claim" if claims else "without claim"


def _expecting(primary: ExpectedPrimary) -> str:
    return "" if primary is Expect.ANYTHING else f", expecting {primary or 'none'} to be primary"


def _answering(attempt: int | None, activation_id: str | None) -> str:
    answered = activation_id or (attempt and f"wait {attempt}")
    return f", answering {answered}" if answered else ""
