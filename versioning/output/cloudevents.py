"""The log as CloudEvents 1.0, for a bus or a queue.

The law of this room: **the attributes hold ids only; whatever users wrote is in `data`.** An event is the same
CloudEvent every time, so a receiver that sees it twice can drop it by `source` and `id`.

To add an attribute: a line in `cloud_event_of`, with a name of lower-case letters and digits as the standard wants it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import attrs

from versioning.events import TOPICS, VersionDeployed

if TYPE_CHECKING:
    from versioning.events import Recorded
_TYPE: Final = "model-versioning"


def cloud_event_of(recorded: Recorded) -> dict[str, Any]:
    """Return an event as a CloudEvent 1.0 in JSON types; `source` and `id` together are unique for ever.

    `type` ends with the topic and its version. `subject` is the version_id, or the model_id if the event names no
    version. `sequence` sorts as text, and `partitionkey` keeps the events of a name together.
    """
    data = attrs.asdict(recorded.event)
    if isinstance(recorded.event, VersionDeployed):
        data["metadata"] = json.loads(recorded.event.metadata)
    about = {
        name: getattr(recorded, name)
        for name in (
            "position", "sequence", "workspace", "model_name", "model_id", "actor", "reason", "correlation_id",
            "idempotency_key", "command_id", "index", "count", "chain", "bookmark",
        )
    }  # fmt: skip
    return {
        "specversion": "1.0",
        "id": recorded.event_id,
        "source": f"urn:{_TYPE}:{recorded.model_id}",
        "type": f"{_TYPE}.{TOPICS[type(recorded.event)]}",
        "subject": recorded.version_id or recorded.model_id,
        "time": recorded.timestamp.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": f"{recorded.sequence:019}",
        "partitionkey": recorded.stream,
        "data": {**about, "event": type(recorded.event).__name__, **data},
    }
