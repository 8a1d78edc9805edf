"""Run a projection of `eventsourcing` on the log of a registry, and save a decision through its Application.

You learn: which two settings lead the framework to our log, what a projection is handed, and how an application that
records facts by itself works beside a registry.
"""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.popo import POPOTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner

from versioning import ModelRegistry, Policy, VersionDeployed, VersionPromoted
from versioning.commands import Promote
from versioning.events import Meta
from versioning.ids import stream_of
from versioning.rules import decide

if TYPE_CHECKING:
    from eventsourcing.persistence import Tracking

    from versioning.store.framework import LoadedModel, RecordedEvent

NAME = "Recommender"


def main() -> None:
    """Let a registry, a projection and an application work on one log."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/models.db"
        env = {
            "PERSISTENCE_MODULE": "versioning.store.framework",
            "VERSIONING_URL": url,
            "PROMOTIONS_PERSISTENCE_MODULE": "eventsourcing.popo",  # where the projection keeps its view
        }
        with (
            ModelRegistry(url) as registry,
            ProjectionRunner(
                application_class=Application[UUID], projection_class=Promotions, view_class=PromotionsView, env=env
            ) as runner,
        ):
            first = registry.deploy("s3://models/1", model_name=NAME, publish=True, actor="ada")
            registry.deploy("s3://models/2", model_name=NAME, publish=True, actor="ada")
            save_a_decision(runner.app, first.version_id)

            print(f"the registry answers with {registry.resolve(NAME).number}")
            runner.wait(registry.position())
            for number, actor in runner.view.primaries:
                print(f"the projection saw {number} become primary, by {actor}")
            print(f"the chain holds: {registry.verify().ok}")


# The projection: a stock one, which is handed recorded facts.


class PromotionsView(POPOTrackingRecorder):
    """The view that it keeps."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.numbers: dict[str, str] = {}
        self.primaries: list[tuple[str, str | None]] = []


class Promotions(Projection[PromotionsView]):
    """Who made which version primary."""

    topics: ClassVar[tuple[str, ...]] = ("deployed.1", "promoted.1")  # type: ignore[misc]  # a variable of the framework

    def process_event(self, domain_event: RecordedEvent, tracking: Tracking) -> None:
        """Apply one fact, and remember its place in the log."""
        fact = domain_event.event
        if isinstance(fact, VersionDeployed):
            self.view.numbers[fact.version_id] = fact.number
        elif isinstance(fact, VersionPromoted):
            self.view.primaries.append((self.view.numbers[fact.version_id], domain_event.actor))
        self.view.insert_tracking(tracking)


# The application: it loads a model, decides by the rules of the registry, and saves.


def save_a_decision(app: Application[UUID], version_id: str) -> None:
    """Promote a version without a registry."""
    model: LoadedModel = app.repository.get(UUID(stream_of("default", NAME)))
    facts = decide(model, Promote(version_id), Policy(), time.time_ns() // 1_000)
    model.record(facts, Meta("default", NAME, model.generation, "nightly-job-17", actor="nightly job"))
    app.save(model)


if __name__ == "__main__":
    main()
