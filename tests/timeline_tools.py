"""What the tests of the timeline share: histories, hostile texts, and looking into a drawing or a page."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from datetime import timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.stores import START, Clock
from versioning import (
    ModelRegistry,
    Policy,
)
from versioning.output.timeline.page import Timeline
from versioning.testing import (
    delete,
    deploy,
    given,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from versioning import Recorded
    from versioning.testing import Story as Told

NAME: Final = "Fraud"
HOUR_US: Final = 3_600 * 1_000_000
SVG: Final = "{http://www.w3.org/2000/svg}"
HOSTILE: Final = [
    "</script><script>window.pwned=1</script>",
    "</title></style><img src=x onerror=window.pwned=1>",
    "<!--<script>",
    "]]>&lt;&#60;svg onload=window.pwned=1>",
    '"\'` onfocus=window.pwned=1 autofocus x="',
    "javascript:window.pwned=1//${window.pwned=1}{{7*7}}",
    "\u202efed.cba\u202c \u2066x\u2069 \u200f \u2028\u2029\ufeff",
    "عربي שלום 🧪 é",
]
"""What a name or an actor may be."""
CONTROLS: Final = "".join(chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)])
"""What only a reason may hold besides."""


def drawn(log: Sequence[Recorded], until_us: int = 0, **more: Any) -> Timeline:  # noqa: ANN401 - the options of a Timeline
    return Timeline(log, until_us=until_us, position=log[-1].position, **more)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own drawing


def with_class(root: ET.Element, kind: str) -> list[ET.Element]:
    return [element for element in root.iter() if kind in element.get("class", "").split()]


def marks_of(root: ET.Element) -> list[ET.Element]:
    (group,) = with_class(root, "marks")
    return with_class(group, "mark")


@functools.cache
def many_versions(count: int) -> Told:
    """Each version becomes primary for an hour; every second one of the first half is deleted in the end."""
    return given(
        *(deploy(f"v{index}", publish=True).at(START + timedelta(hours=index)) for index in range(count)),
        *(delete(f"v{index}") for index in range(0, count // 2, 2)),
    )


class Elements(HTMLParser):
    """All elements of a page, with their attributes, and what its scripts and styles hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.texts: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self.inside = tag

    def handle_endtag(self, _tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.raw.get(self.inside, self.texts).append(data)


@pytest.fixture
def busy() -> Iterator[ModelRegistry]:
    """Two names in one log, so that positions have holes; starts, failures, gaps, two lives, appends of several."""
    clock = Clock()
    registry = ModelRegistry("memory:", clock=clock, policy=Policy(activation="awaited", losing_primary="leave_none"))

    def deployed(name: str, **options: Any) -> str:  # noqa: ANN401 - those of deploy
        clock.tick()
        version = registry.deploy("s3://x", model_name=name, actor="ada", **options)
        clock.tick()
        registry.complete_activation(version.version_id, version.activation_id or "", actor="orchestrator")
        return version.version_id

    first = deployed(NAME, publish=True)
    deployed("Other", publish=True)
    second = deployed(NAME)
    registry.promote(second, actor="raj", reason="beats it on AUC")
    deployed("Other")
    failing = registry.deploy("s3://x", model_name=NAME, version_bump="MAJOR", publish=True, actor="grace")
    clock.tick(86_400 * 20)
    registry.fail_activation(failing.version_id, failing.activation_id or "", error="MemoryError")
    registry.rollback(NAME, actor="on-call", reason="ticket 4720")
    clock.tick()
    registry.deactivate(first, actor="ops")
    deployed("Other", publish=True)
    registry.promote(second, actor="raj")
    registry.activate(first)
    registry.delete(second, actor="ops")
    registry.delete_model("Other")
    registry.delete_model(NAME, actor="ops", reason="over")
    clock.tick()
    deployed(NAME, publish=True)
    deployed("Other")
    yield registry
    registry.close()
