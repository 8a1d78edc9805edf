"""What does a word on the command line name?"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from versioning import InvalidArgumentError, ModelNotFoundError
from versioning.cli.addresses import (
    Address,
    artifact_named,
    explained,
    model_named,
    parse_address,
    parse_moment,
    parse_month,
    parse_point,
    parse_zone,
)

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "ver_0123456789ab8def8123456789abcdef_1_01234567"
MODEL = "mdl_0123456789ab8def8123456789abcdef_1"


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("fraud", "fraud", None),
        ("fraud@primary", "fraud", "primary"),
        ("fraud@1.2.0", "fraud", "1.2.0"),
        ("fraud@1.2.0-rc1", "fraud", "1.2.0-rc1"),
        ("fraud@^1.2", "fraud", "^1.2"),
        ("fraud@>=1.2.0,<2.0.0", "fraud", ">=1.2.0,<2.0.0"),
        (f"fraud@{VERSION}", f"fraud@{VERSION}", None),
        (VERSION, None, VERSION),
        (MODEL, MODEL, None),
        (f"{MODEL}@0.1.0", MODEL, "0.1.0"),
        ("team@fraud", "team@fraud", None),
        ("team@fraud@primary", "team@fraud", "primary"),
        ("fraud@1.2.0@", "fraud@1.2.0", None),
        ("fraud@", "fraud", None),
        ("fraud@@", "fraud@", None),
        ("fraud@Primary", "fraud@Primary", None),
        ("@primary", "", "primary"),
        ("@", "", None),
        ("", "", None),
        ("a\n@primary", "a\n", "primary"),
    ],
)
def test_the_last_at_counts_where_a_version_follows(text: str, name: str | None, version: str | None) -> None:
    assert parse_address(text) == Address(name, version)


def test_a_model_is_named_by_its_name_alone() -> None:
    assert model_named("team@fraud") == "team@fraud"
    for text in ("fraud@1.2.0", VERSION):
        with pytest.raises(InvalidArgumentError, match="names a version"):
            model_named(text)


def test_a_name_with_an_at_that_is_not_there_is_explained() -> None:
    error = ModelNotFoundError("There is none.", model_name="x")
    assert explained(error, "fraud@1.x").hint.startswith("What follows the @ is no version")
    assert explained(error, "fraud@1.x").facts == {"model_name": "x"}
    assert explained(error, "fraud") is explained(error, "fraud@1.2.0") is explained(error, "fraud@") is error


def test_moments_are_aware_and_positions_are_whole_numbers() -> None:
    assert parse_moment("2026-01-31T14:03Z", "at") == datetime(2026, 1, 31, 14, 3, tzinfo=UTC)
    assert parse_moment("2026-01-31T14:03:00.5+01:00", "at") == datetime(2026, 1, 31, 13, 3, 0, 500_000, tzinfo=UTC)
    assert (parse_point("7", "at"), parse_point("0", "at")) == (7, 0)
    for text in ("", "x", "-1", "1.5", "2026-01-31", "2026-01-31T14:03", "\uff17", "9" * 20):
        with pytest.raises(InvalidArgumentError, match="at "):
            parse_point(text, "at")


def test_months_follow_each_other() -> None:
    assert parse_month("2026-12", UTC) == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert parse_month("2026-01", UTC)[1] == datetime(2026, 2, 1, tzinfo=UTC)
    for text in ("2026-13", "2026-00", "0000-01", "9999-01", "2026-1", "2026", "\uff12026-01"):
        with pytest.raises(InvalidArgumentError, match="not a month"):
            parse_month(text, UTC)
    for zone in map(parse_zone, (None, "Europe/Berlin", "America/Asuncion", "America/Havana", "Africa/Monrovia")):
        months = [parse_month(f"{year}-{month:02}", zone) for year in (1972, 2015, 2023) for month in range(1, 13)]
        for before, after in itertools.pairwise(months):
            if before[1].year == after[0].year:
                assert before[1].astimezone(UTC) == after[0].astimezone(UTC)
        for start, _ in months:
            last = start.astimezone(UTC) - timedelta(microseconds=1)
            assert (last.astimezone(zone).month, start.astimezone(UTC).astimezone(zone).month) == (
                start.month - 1 or 12,
                start.month,
            )


def test_an_artifact_is_a_file_that_is_there_or_a_uri(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"x")
    assert artifact_named(str(file), is_reference=False) == file
    for uri in ("s3://bucket/model", "file:///x", "sha256:" + "0" * 64):
        assert artifact_named(uri, is_reference=False) == uri
    assert artifact_named(str(file), is_reference=True) == str(file)
    for text in ("", "gone.bin", str(tmp_path), "C:x", "s3:/x", "a\0b", "x" * 5_000, "sha256:0"):
        with pytest.raises(InvalidArgumentError):
            artifact_named(text, is_reference=False)
