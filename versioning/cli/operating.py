"""The verbs for the operator of a store: make it, check it, and repair what can be derived from the log.

The law of this room: **the log stays what it is.** What these verbs change can be built from it again, and what they
erase is named before.

To add one: a function with its options here, and its place in `VERBS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from versioning.cli.doctor import examine
from versioning.cli.ending import STORE, EndsWithError
from versioning.cli.options import CLOCK, DRY, FORMS, JSON, PLACE, WHO, YES, verb
from versioning.cli.rows import CHECKS
from versioning.cli.tables import Progress
from versioning.errors import InvalidArgumentError
from versioning.store.opening import foreign_log_at, holds_store, is_postgres

if TYPE_CHECKING:
    from versioning.cli.given import Given


@verb("Build the kept views again")
@DRY
@PLACE
@JSON
def rebuild(given: Given) -> None:
    """Build the kept views again from the log, beside the present ones, and swap them. The log does not change."""
    stage = given.stage()
    with given.open() as registry, Progress() as progress:
        reached = registry.position() if given.dry_run else registry.rebuild(progress)
        names = [view.name for view in registry.views()]
    if stage.look == "json":
        stage.json({"views": names, "position": reached, "dry_run": given.dry_run})
    else:
        would = "would be" if given.dry_run else "were"
        stage.tell(f"{' and '.join(names)} {would} built again up to position {reached}; no event is recorded.")


@verb("Make a store, or update its tables")
@DRY
@PLACE
@JSON
def migrate(given: Given) -> None:
    """Make the store and its tables if they are missing, or bring them to the form of this release."""
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
        stage.tell("There is no store; it would be made." if given.dry_run else "The store was made.")


@verb("Check the installation and the store")
@click.option(
    "--adopt-artifacts",
    is_flag=True,
    help="First make the artifacts folder this store's own, if no other store needs what is in it.",
)
@CLOCK
@PLACE
@FORMS
def doctor(given: Given, *, adopt_artifacts: bool) -> None:
    """Check the installation, the store, its kept views and the contents of artifacts.

    Exit code 6 means that something is wrong; warnings end with 0. Nothing is repaired, but that --adopt-artifacts lets
    `collect` erase in a folder that came from elsewhere: only contents that this very log deployed and deleted.
    """
    stage = given.stage()
    if adopt_artifacts and foreign_log_at(given.place) is None:  # opening the store would take it in
        with given.open() as registry:
            registry.adopt_artifacts()
    with Progress() as progress:
        checks = list(examine(given.place, given.workspace, given.artifacts, progress))
    stage.rows(CHECKS, checks)
    if any(one.verdict == "fail" for one in checks):
        raise EndsWithError(STORE)


@verb("Make the kept views skip an event")
@click.argument("position", type=click.IntRange(min=1))
@WHO
@PLACE
@JSON
def skip(given: Given, position: int) -> None:
    """Make the kept views skip the event at POSITION if they can't read or apply it, for ever.

    `doctor` names the event that stops a view. The log stays as it is, and keeps who skipped it and why. An event that
    the views can apply counts as before.
    """
    with given.open() as registry:
        registry.skip(position, **given.why)
    stage = given.stage()
    if stage.look == "json":
        stage.json({"position": position, "actor": None, "reason": None, **given.why})
    else:
        stage.tell(f"The kept views skip position {position} from now on, if they can't apply it.")


@verb("Erase contents that no version needs")
@click.option("--dry-run", is_flag=True, help="Only show the digests of what would be erased.")
@YES
@PLACE
@JSON
def collect(given: Given, *, yes: bool) -> None:
    """Erase the contents of artifacts that no version refers to any more and that are older than a day.

    It asks for confirmation, unless --yes is given. The log keeps the digest, size and format of what is erased, and
    copies elsewhere, such as backups, are not reached.
    """
    stage = given.stage()
    with given.open() as registry:
        if given.artifacts is None and is_postgres(given.place):
            msg = "No folder of artifacts is named, so there is nothing to erase."
            raise InvalidArgumentError(
                msg, hint="Name it with --artifacts or VERSIONING_ARTIFACTS.", argument="artifacts"
            )
        if not (yes or given.dry_run):
            question = f"Erase for ever the contents that no version in workspace {registry.workspace} refers to?"
            stage.confirm(question, "Nothing was erased, as you said.")
        found = registry.collect_artifacts(dry_run=given.dry_run)
    if stage.look == "json":
        stage.json(found.to_dict())
    else:
        for digest in found.erased:
            stage.write(digest)
        stage.tell(f"Contents {'that would be erased' if found.dry_run else 'erased'}: {len(found.erased)}.")
        if found.unknown:
            stage.tell(
                f"Contents that stay, as this log never deployed them: {len(found.unknown)} (--json names them)."
            )


VERBS: Final = (migrate, doctor, rebuild, skip, collect)
"""Verbs of this file, in the order of help."""
