"""What the tests of verification share: looking at findings, and forging rows together with their links."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.registry_tools import NAME
from versioning.aggregate import NO_LINK
from versioning.store.format import body_of, computed_link, link_of

if TYPE_CHECKING:
    from tests.stores import Store
    from versioning import ModelRegistry
    from versioning.audit.checkpoints import Checkpoint
    from versioning.audit.verify import Finding


def dice(seed: int = 1) -> random.Random:
    return random.Random(seed)


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


def kinds(registry: ModelRegistry, checkpoint: Checkpoint | None = None) -> list[tuple[str, int | None]]:
    return [(one.kind, one.position) for one in registry.verify(checkpoint).findings]


def stream(registry: ModelRegistry, name: str = NAME) -> str:
    return registry._streams.ref(name).stream


def relink(registry: ModelRegistry, sequence: int, topic: str, state: bytes) -> bytes:
    """Return a state with the link that it must have behind what stands before it now."""
    before = registry._store.tail(stream(registry), sequence - 2, sequence - 1)
    link = computed_link(
        link_of(before[0][3]) if before else NO_LINK, stream(registry), sequence, topic, body_of(state)
    )
    return b'{"_chain":"%b",%b' % (link.hex().encode(), body_of(state)[1:])


def forge(store: Store, registry: ModelRegistry, position: int, old: bytes, new: bytes) -> None:
    """Change a row, and make all links behind it in its stream anew."""
    for place, sequence, topic, state in registry._store.tail(stream(registry), 0):
        if place >= position:
            now = state.replace(old, new) if place == position else state
            store.change(place, state=relink(registry, sequence, topic, now))
