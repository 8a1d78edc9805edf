"""How does the framework's runner keep rows in PostgreSQL? Needs psycopg_pool, as all of its PostgreSQL does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import ProjectionRunner
from psycopg.sql import SQL

from tests.bench.catching_up import KEEP, RowsProjection
from tests.bench.contenders import Models

if TYPE_CHECKING:
    from eventsourcing.persistence import Tracking


class PostgresRows(PostgresTrackingRecorder):
    """The same."""

    def __init__(self, datastore: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the framework's
        super().__init__(datastore, **kwargs)
        made: Any = self.sql_create_statements
        made.append(SQL("CREATE TABLE IF NOT EXISTS bench_models (id TEXT PRIMARY KEY, versions INTEGER, facts TEXT)"))

    def keep(self, model_id: str, facts: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(KEEP.format("%s,1,%s", model="bench_models"), (model_id, facts))


class Running:
    def __init__(self, env: dict[str, str]) -> None:
        self.runner = ProjectionRunner(
            application_class=Models, projection_class=RowsProjection, view_class=PostgresRows, env=env
        )
        self.runner.__enter__()

    def close(self) -> None:
        self.runner.__exit__(None, None, None)
