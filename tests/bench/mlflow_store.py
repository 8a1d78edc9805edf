"""How do we compare with what model teams really use? Against MLflow's registry with its SQLite store."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from tests.bench.contenders import METADATA_DICT, NOT_INSTALLED, has
from tests.bench.filling import ACTOR, ARTIFACT, REASON
from tests.bench.measure import OURS, Absent, Benchmark, Contender, compare, each
from versioning import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.bench.measure import Run, Table

NAME, ALIAS = "fraud", "primary"
TAGS = {key: str(value) for key, value in METADATA_DICT.items()}


class Mlflow:
    """Its client, as its users call it."""

    def __init__(self, path: object) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra, and a large one

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._client: Any = MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}")
        self._client.create_registered_model(NAME)
        self._last = ""

    def create(self) -> None:
        self._last = self._client.create_model_version(NAME, ARTIFACT, tags=TAGS).version

    def alias(self) -> None:
        self._client.set_registered_model_alias(NAME, ALIAS, self._last)

    def resolve(self) -> None:
        self._client.get_model_version_by_alias(NAME, ALIAS)


class Deployer:
    """The same with us, actor and reason on top; the role of the primary is the alias."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._last = ""

    def create(self) -> None:
        version = self._registry.deploy(ARTIFACT, model_name=NAME, metadata=METADATA_DICT, actor=ACTOR, reason=REASON)
        self._last = version.version_id

    def alias(self) -> None:
        self._registry.promote(self._last, actor=ACTOR, reason=REASON)

    def resolve(self) -> None:
        self._registry.resolve(NAME)


def _mlflow(run: Run) -> Iterator[Table]:
    ours = Deployer(run.open(ModelRegistry(run.folder / "ours.db")))
    theirs = Mlflow(run.folder / "mlflow.db") if has("mlflow") and has("sqlalchemy") and has("alembic") else None
    rounds, seconds_max = run.pick(1, 8, 30), run.pick(1.0, 6.0, 25.0)
    for verb, target, count in (("create", 12, 100), ("alias", None, 10), ("resolve", 150, 20)):
        title = f"{verb} {'a version' if verb == 'create' else 'of an alias' if verb == 'resolve' else 'set'}, SQLite"
        few = run.pick(2, count, count)
        other = (
            Absent("MLflow", NOT_INSTALLED) if theirs is None else Contender("MLflow", _turn(theirs, verb, few), target)
        )
        yield compare(title, Contender(OURS, _turn(ours, verb, few)), [other], rounds=rounds, seconds_max=seconds_max)


def _turn(who: Mlflow | Deployer, verb: str, count: int) -> Callable[[int], float]:
    def go(number: int) -> float:
        if verb == "alias":
            who.create()  # so that there is something to move it to
            return each(1, who.alias)
        if verb == "resolve" and number == 0:
            who.create()
            who.alias()
        return each(count, getattr(who, verb))

    return go


BENCHMARKS = {"mlflow": Benchmark("the registry of MLflow on SQLite", _mlflow)}
