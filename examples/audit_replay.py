"""Answer an auditor: which version answered when, who decided it, and does the log really say so?

You learn how to ask as of a moment and of a position, how to read the story of one version, and how to replay the log
into the projections of this library and into one of your own. The replay agrees with the answers at every step.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from versioning import ActiveVersions, ModelRegistry, PrimaryVersions, Recorded, VersionPromoted

NAME = "Credit risk"


class Decisions:
    """A projection of our own: how often each person moved the primary. Anything with `evolve` is one."""

    def __init__(self) -> None:
        """Start with an empty log."""
        self.counts: dict[str, int] = {}

    def evolve(self, recorded: Recorded) -> None:
        """Apply one event."""
        if isinstance(recorded.event, VersionPromoted):
            who = recorded.actor or "nobody"
            self.counts[who] = self.counts.get(who, 0) + 1


class Clock:
    """A clock that a story can set. Without one, a registry uses the clock of the machine."""

    def __init__(self) -> None:
        """Start on a Monday at nine."""
        self.now = datetime(2026, 1, 5, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the current moment."""
        return self.now

    def wait(self) -> None:
        """Let half an hour pass."""
        self.now += timedelta(minutes=30)


def main() -> None:
    """Let a day pass, then ask about it."""
    clock = Clock()
    with ModelRegistry("memory:", clock=clock) as registry:
        a_day(registry, clock)
        what_served_when(registry)
        one_version(registry)
        replay(registry)


def a_day(registry: ModelRegistry, clock: Clock) -> None:
    """Record what people did. Of the models themselves the log only knows where they are."""
    registry.deploy("s3://models/credit/1", model_name=NAME, publish=True, actor="u-17", reason="first release")
    clock.wait()
    second = registry.deploy("s3://models/credit/2", model_name=NAME, actor="u-23", reason="retrained on Q4")
    clock.wait()
    registry.publish(second, actor="u-17", reason="reviewed, ticket 4711")
    clock.wait()
    registry.rollback(NAME, actor="u-08", reason="too many refusals, ticket 4720")
    clock.wait()
    registry.promote(second, actor="u-17", reason="threshold corrected")
    clock.wait()
    registry.delete(second, actor="u-08", reason="data had to be erased")


def what_served_when(registry: ModelRegistry) -> None:
    """Ask the same questions as of then, and get the answers that were given then."""
    print("What answered at a quarter to eleven, and who decided it?")
    moment = datetime(2026, 1, 5, 10, 45, tzinfo=UTC)
    then = registry.at(moment)
    primary = then.resolve(NAME)
    decided = [one for one in then.history(primary.version_id) if isinstance(one.event, VersionPromoted)][-1]
    print(f"  {primary.number}, since {decided.timestamp:%H:%M}, by {decided.actor}: {decided.reason}")


def one_version(registry: ModelRegistry) -> None:
    """Read the story of a deleted version, including the events that name it as the previous primary."""
    print("The story of 0.2.0:")
    second = registry.versions(NAME, include_deleted=True)[1]
    for one in registry.history(second.version_id):
        cause = f" ({one.event.cause})" if isinstance(one.event, VersionPromoted) else ""
        number = registry.version(one.version_id or "").number
        print(f"  {one.timestamp:%H:%M} {type(one.event).__name__ + cause} {number}, {one.actor}: {one.reason}")


def replay(registry: ModelRegistry) -> None:
    """Fold the log from its first event, and compare with the answers of the registry as of every position."""
    primary, active, decisions = PrimaryVersions(), ActiveVersions(), Decisions()
    name = (registry.workspace, NAME)
    for recorded in registry.history():
        for projection in (primary, active, decisions):
            projection.evolve(recorded)
        then = registry.at(recorded.position)
        was = then.primary(NAME)
        assert primary.current.get(name) == (was and was.version_id)  # noqa: S101 - this is what the example shows
        assert active.current.get(name, ()) == tuple(one.version_id for one in then.active(NAME))  # noqa: S101 - as above
    print(f"Replayed {recorded.position} events: the same answers after each of them.")
    print(f"How often each person moved the primary: {decisions.counts}")


if __name__ == "__main__":
    main()
