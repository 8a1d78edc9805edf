"""The verbs of proof: is the log untouched, and how does it get somewhere else?

The law of this room: **what is not proven is never called proven.** `verify` ends with 0 only if a checkpoint from
elsewhere vouches for the log.

To add one: a function with its options here, and its place in `VERBS`.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click

from versioning.audit.checkpoints import Checkpoint
from versioning.cli.addresses import addressed, model_named
from versioning.cli.completion import complete_names
from versioning.cli.ending import DONE, FOUND, NOT_PROVEN, EndsWithError
from versioning.cli.options import CLOCK, DRY, FILE, FORMS, JSON, PLACE, needs_file, verb
from versioning.cli.rows import EVENTS, FINDINGS, entries
from versioning.cli.tables import Progress, watched
from versioning.cli.words import WORDS
from versioning.errors import InvalidArgumentError, shown
from versioning.output.cloudevents import cloud_event_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from versioning.cli.given import Given
    from versioning.events import Recorded


@verb("Check that nobody tampered with the log")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=FILE,
    help="File that `checkpoint` wrote; may be given several times.",
)
@click.option("--public-key", type=FILE, help="Public key (Ed25519, PEM) that signed checkpoints are checked with.")
@click.option("--views/--no-views", default=True, help="Whether to compare kept views with a replay [default: yes].")
@CLOCK
@PLACE
@FORMS
def verify(given: Given, checkpoints: tuple[str, ...], public_key: str | None, *, views: bool) -> None:
    """Read every row again, and report whether anybody tampered with the log.

    Exit code 0 means that nothing was found, and a checkpoint was compared. 5 means that nothing was found, but nothing
    vouches for it either: no checkpoint covers any row, or its signature is not by the key. Anybody who can write to
    the database could have computed all links again. 10 to 17 name the first finding. 18 means that all that was found
    are events in the future: some clock was wrong.
    """
    stage = given.stage()
    given_ones = [Checkpoint.read(one) for one in checkpoints]
    key = None if public_key is None else Path(public_key)
    with given.open(asks=True) as registry, Progress() as progress:
        try:
            found = registry.verify(given_ones or None, public_key=key, views=views, progress=progress)
        except InvalidArgumentError as error:
            if error.facts.get("argument") != "checkpoint":
                raise
            if stage.look == "json":
                stage.problem(error.to_dict(WORDS))
            else:
                stage.tell(f"Not proven: {error.sentence}", f"Hint: {error.hint_in(WORDS)}")
            raise EndsWithError(NOT_PROVEN) from None
    proven = found.count == 0 or any(one.position for one in given_ones)
    kinds = sorted((one.kind for one in found.findings), key=lambda kind: kind == "ahead")
    code = FOUND[kinds[0]] if kinds else (DONE if proven else NOT_PROVEN)
    if stage.look == "json":
        stage.json({**found.to_dict(), "proven": found.ok and proven, "exit_code": code})
    else:
        if found.findings or stage.look != "text":
            stage.rows(FINDINGS, found.findings)
        findings = len(found.findings)
        state = "nothing was found" if not findings else "1 finding" if findings == 1 else f"{findings} findings"
        stage.tell(f"{found.count} rows up to position {found.position} were read again: {state}.")
        stage.tell(*(f"Not proven: {one}" for one in found.not_proven))
    if code:
        raise EndsWithError(code)


@verb("Take a checkpoint of the whole log")
@click.option("-o", "--output", type=FILE, help="File to write to, preferably on another machine.")
@click.option("--sign", "key", type=FILE, help="Private key (Ed25519, PEM) to sign with.")
@PLACE
@JSON
def checkpoint(given: Given, output: str | None, key: str | None) -> None:
    """Describe the whole log as it is now, in one line of JSON. Keep it elsewhere, and hand it to `verify` later."""
    with given.open(asks=True) as registry, Progress() as progress:
        taken = registry.checkpoint(progress)
    if key is not None:
        taken = taken.signed(Path(key))
    stage = given.stage()
    if output is None or stage.look == "json":
        stage.write(taken.to_json())
    if output is not None:
        taken.write(output)
        stage.tell(f"The checkpoint of {taken.count} rows is in {output}.")


@verb("Write a whole copy of the store to a file")
@click.argument("file", type=FILE)
@click.option("--checkpoint", "output", type=FILE, help="File for the copy's checkpoint, preferably elsewhere.")
@PLACE
@JSON
def backup(given: Given, file: str, output: str | None) -> None:
    """Write a whole copy of the store to FILE, a new SQLite store with all workspaces, while others go on writing.

    The contents of artifacts are not copied: copy their folder after this. `explain restoring` says how to go back. A
    PostgreSQL database has pg_dump for this.
    """
    if output is not None and Path(output).exists():
        Checkpoint.read(output)  # only another checkpoint is replaced
    with given.open(asks=True) as registry, Progress() as progress:
        done = registry.backup(file, progress=progress)
    if output is not None:
        done.checkpoint.write(output)
    stage = given.stage()
    if stage.look == "json":
        stage.json(done.to_dict())
    else:
        rows = "1 row" if done.count == 1 else f"{done.count} rows"
        stage.tell(f"{file} is a whole copy: {rows} up to position {done.position}, read again.")


@verb("Write the log to a file")
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("-o", "--output", type=FILE, help="New file to write to [default: stdout].")
@click.option("--cloud-events", is_flag=True, help="Write CloudEvents 1.0, one line of JSON for each event.")
@PLACE
@FORMS
def export(given: Given, name: str | None, output: str | None, *, cloud_events: bool) -> None:
    """Write the log of the workspace or of NAME, with its chain, so that `import` can read it.

    --cloud-events, --json, --nl and --csv are for other tools. The contents of artifacts are not written.
    """
    about, stage = None if name is None else model_named(name), given.stage()
    others = cloud_events or stage.look != "text"
    if cloud_events and stage.look != "text":
        msg = "--cloud-events is a form of its own, and excludes the others."
        raise InvalidArgumentError(msg, hint="Leave out --json, --nl and --csv.", argument="cloud-events")
    if not others:
        needs_file(stage, output, "log.ndjson")
    with given.open(asks=True) as registry, Progress() as progress, addressed(name or ""):
        if not others:
            target: str | BinaryIO = output if output is not None else sys.stdout.buffer
            done = registry.export(target, about, progress=progress)
            stage.tell(f"{done.events} events were exported.")
            return
        with _stdout_to(output):
            events: Iterable[Recorded] = registry.history(about)
            if output is not None or not stage.is_terminal:  # otherwise the rows themselves show how far it is
                events = watched(events, "export", registry.position())
            if cloud_events:
                for event in events:
                    stage.json(cloud_event_of(event), lines=True)
            else:
                stage.rows(EVENTS, entries(events))


@contextlib.contextmanager
def _stdout_to(output: str | None) -> Iterator[None]:
    """Redirect stdout to a new file, which is removed if that fails."""
    if output is None:
        yield
        return
    if Path(output).exists():
        msg = f"The file {shown(output)} already exists."
        raise InvalidArgumentError(msg, hint="Name another file, or remove this one first.", argument="output")
    with Path(output).open("x", encoding="utf-8", newline="\n") as file, contextlib.redirect_stdout(file):
        try:
            yield
        except BaseException:
            Path(output).unlink()
            raise


@verb("Import a log that export wrote", name="import")
@click.argument("file", type=FILE)
@DRY
@PLACE
@JSON
def import_(given: Given, file: str) -> None:
    """Record what `export` wrote, after checking it to its last line. FILE may be - for stdin.

    Events that are already recorded are skipped, so an interrupted import can be repeated.
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
        stage.json({**done.to_dict(), "dry_run": given.dry_run})
        return
    outcome = "would be recorded" if given.dry_run else "were recorded"
    stage.tell(f"{done.imported} of {done.events} events {outcome}; the others were already there.")


VERBS: Final = (verify, checkpoint, backup, export, import_)
"""Verbs of this file, in the order of help."""
