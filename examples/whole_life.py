"""The main job: two real models of handwritten digits go through a whole life under one name.

You learn how each command changes the version that answers by default, and how two formats of contents differ. In the
end the log knows who did what and why, what was primary at any moment, and what was used, in microseconds.

It leaves `models.db`, `models.db.artifacts` and a picture, `timeline.html`, in the current folder. The story ends with
the deletion of the model, so the next run begins a new life of the name, again at 0.1.0. If a run was interrupted, the
next one carries on.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from versioning import (
    ArtifactUntrustedError,
    ModelNotFoundError,
    ModelRegistry,
    Recorded,
    Version,
    VersionDeletedError,
    VersionDeployed,
    VersioningError,
    VersionNotActiveError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "Handwritten digits"


def main() -> None:
    """Tell the story."""
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.25, random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000)).fit(train_x, train_y)
    kernel = SVC(gamma=0.001).fit(train_x, train_y)
    print(f"Trained a LogisticRegression and an SVC on {len(train_x)} images; {len(test_x)} are left for testing.")

    with ModelRegistry("sqlite:///models.db") as registry:
        Story(registry, test_x, test_y).tell(linear, kernel)


class Story:
    """One life of the name, told as it happens."""

    def __init__(self, registry: ModelRegistry, test_x: Any, test_y: Any) -> None:  # noqa: ANN401 - numpy arrays, and numpy is no dependency of ours
        """Begin it now."""
        self.registry = registry
        self.test_x = test_x
        self.test_y = test_y
        self.began = datetime.now(UTC)

    def tell(self, linear: object, kernel: object) -> None:
        """Tell all of it."""
        first, second = self.deploy(linear, kernel)
        self.move_the_primary(first, second)
        self.stop_and_start(second)
        self.delete(first, second)
        self.look_back(first.model_id)

    def deploy(self, linear: object, kernel: object) -> tuple[Version, Version]:
        """Deploy two models in two formats under one name."""
        registry = self.registry

        chapter("Two models under one name")
        first = registry.deploy(linear, model_name=NAME, publish=True, actor="ada", reason="first try")
        print(f"{first.number} is {first.stage}, {first.status}, primary: {first.is_primary}")
        second = registry.deploy(
            kernel,
            serializer="skops",
            model_name=NAME,
            version_bump="MAJOR",
            metadata={"gamma": 0.001},
            actor="grace",
            reason="a support vector machine",
        )
        print(f"{second.number} is a {second.stage}, {second.status}, primary: {second.is_primary}")

        chapter("Ask them")
        # Writing a pickle is harmless, but loading one runs what it contains. skops builds only types that it knows.
        refused(ArtifactUntrustedError, lambda: registry.invoke(NAME, self.test_x))
        self.ask("by default", trusted=True)
        self.ask(f"by number, {second.number}", second.number)
        return first, second

    def move_the_primary(self, first: Version, second: Version) -> None:
        """Publish, promote, roll back."""
        registry = self.registry

        chapter("Publish, promote, roll back")
        registry.publish(second, actor="grace", reason="more accurate")
        self.show("published", second)
        registry.promote(first, actor="ada", reason="the new one is slow")
        self.show("promoted", first)
        registry.rollback(NAME, actor="grace", reason="it is not")
        self.show("rolled back")

    def stop_and_start(self, second: Version) -> None:
        """Show what follows when the primary goes, and when it comes back."""
        registry = self.registry

        chapter("Deactivate the primary, and start it again")
        registry.deactivate(second, actor="ops", reason="maintenance of its node")
        self.show("deactivated", second)
        refused(VersionNotActiveError, lambda: registry.invoke(NAME, self.test_x, second.number))
        registry.activate(second, actor="ops")
        self.show("activated", second)
        print("   (a version that comes back takes no traffic from a primary that works)")

    def delete(self, first: Version, second: Version) -> None:
        """Delete one version after the other; the last one takes the model with it."""
        registry = self.registry

        chapter("Delete, one after the other")
        registry.delete(first, actor="ada", reason="superseded")
        self.show("deleted", first)
        refused(VersionDeletedError, lambda: registry.promote(first))
        for left in registry.versions(NAME):  # the second one, and what an interrupted run left
            registry.delete(left, actor="ada", reason="the project ended")
            print(f"deleted {left.number}")
        refused(ModelNotFoundError, lambda: registry.resolve(NAME))
        print(f"{second.version_id} can still be looked at: {registry.version(second).status}")

    def look_back(self, model_id: str) -> None:
        """Ask the log about all of it."""
        registry = self.registry

        chapter("The history of this life")
        history = list(registry.history(model_id))
        numbers = {one.event.version_id: one.event.number for one in history if isinstance(one.event, VersionDeployed)}
        for recorded in history:
            print(told(recorded, numbers))

        chapter("What was primary when")
        # Any moment can be asked about; the interesting ones are those at which something happened.
        before: str | None = None
        for recorded in history:
            was = primary_at(registry, recorded.timestamp)
            if was != before:
                print(f"{recorded.timestamp:%H:%M:%S.%f} UTC  {was or 'none'}")
            before = was

        chapter("What was used")
        usage = registry.usage(self.began, datetime.now(UTC), NAME)
        for line in usage.lines:
            cited = f"events {line.opened_by} to {line.closed_by}"
            print(f"{line.number:<7}{line.stage:<10}{line.microseconds:>12,} µs  {cited}")
        print(f"{'':<17}{usage.total_microseconds:>12,} µs  as of position {usage.position}")

        registry.timeline(NAME, "timeline.html")

    def ask(self, how: str, version: str | None = None, *, trusted: bool = False) -> None:
        """Invoke a version on the images that no model has seen."""
        found = self.registry.invoke(NAME, self.test_x, version, trusted=trusted)
        print(f"{how}: {(found == self.test_y).mean():.1%} of {len(self.test_y)} images are right")

    def show(self, done: str, version: Version | None = None) -> None:
        """Print which version answers now."""
        number = f" {version.number}" if version is not None else ""
        print(f"{done}{number}: the primary is {self.registry.resolve(NAME).number}")


def chapter(title: str) -> None:
    """Print the heading of a chapter."""
    print(f"\n-- {title}")


def refused(kind: type[VersioningError], call: Callable[[], object]) -> None:
    """Check that a call is refused, and print what the library says."""
    try:
        call()
    except kind as error:
        print(f"refused: {error}")
    else:
        msg = f"This should have been refused with {kind.__name__}."
        raise AssertionError(msg)


def primary_at(registry: ModelRegistry, moment: datetime) -> str | None:
    """Return the number of the primary at a moment, or None if there was no primary or no model."""
    try:
        version = registry.at(moment).primary(NAME)
    except ModelNotFoundError:
        return None
    return None if version is None else version.number


def told(recorded: Recorded, numbers: dict[str, str]) -> str:
    """Describe an event on one line."""
    event = recorded.event
    cause = f" ({event.cause})" if hasattr(event, "cause") else ""
    which = numbers.get(recorded.version_id or "", "")
    why = f"{recorded.actor}: {recorded.reason}" if recorded.reason else recorded.actor
    return f"{recorded.position:>4}  {type(event).__name__ + cause:<28}{which:<7}{why or ''}"


if __name__ == "__main__":
    main()
