"""Check that a log that an earlier release wrote still means what it meant: for the tests of those who upgrade.

    registry.export("tests/log.ndjson")                 # once, with the release in use; keep the file

    def test_our_log_still_replays():                   # for ever, with each newer one
        assert_replays("tests/log.ndjson")

The law of this room: what counts is what the models amounted to when the file was written, not what this release makes
of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from versioning.audit.log_check import exported_versions
from versioning.audit.log_file import check_log
from versioning.errors import VersioningError
from versioning.registry import ModelRegistry
from versioning.testing.walks import DiscrepancyError, Laws

if TYPE_CHECKING:
    from versioning.audit.log_check import ExportedVersion
    from versioning.audit.log_file import File, LogFile


def assert_replays(file: File) -> LogFile:
    """Check that an exported log can be read, is whole, obeys the laws and amounts to what it did; return its summary.

    Args:
        file: what `export` wrote: a path, or a file that is open to read bytes.

    Raises:
        DiscrepancyError: an AssertionError: something differs; the message says which line, event or version.
    """
    try:
        told = check_log(file)
        with ModelRegistry("memory:", workspace=told.workspace, artifacts=None) as registry:
            registry.import_log(file)
            _obey(registry)
            _mean(registry, told.versions)
            registry.rebuild()
            _mean(registry, told.versions)
            for finding in registry.verify().findings:
                raise DiscrepancyError(finding.sentence)
    except VersioningError as error:
        msg = f"The log does not replay: {error}"
        raise DiscrepancyError(msg) from error
    return told


def _obey(registry: ModelRegistry) -> None:
    laws: dict[str, Laws] = {}
    for recorded in registry.history():
        laws.setdefault(recorded.stream, Laws()).take(recorded)


def _mean(registry: ModelRegistry, told: tuple[ExportedVersion, ...]) -> None:
    """Compare what the versions amount to now with what the file says."""
    then, now = (
        {(one.model_id, one.number): one for one in held} for held in (told, exported_versions(registry.models()))
    )
    for place in then.keys() | now.keys():
        was, is_now = then.get(place), now.get(place)
        if is_now != was:
            msg = f"What was exported as {was} is now {is_now}."
            raise DiscrepancyError(msg)
