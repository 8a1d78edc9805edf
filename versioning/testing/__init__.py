"""The test kit: what tests a policy, a service or a store of your own against the rules; needs the extra `testing`.

`given` tells a story and says what must come of it; `Oracle` knows the rules a second time, from SPEC alone.
"""

from versioning.testing.given import (
    Chapter,
    Decision,
    Step,
    Story,
    activate,
    deactivate,
    delete,
    delete_model,
    deploy,
    fails,
    given,
    merged,
    promote,
    publish,
    ready,
    recorded,
    rollback,
)
from versioning.testing.oracle import Fact, Oracle, Outcome

__all__ = [
    "Chapter",
    "Decision",
    "Fact",
    "Oracle",
    "Outcome",
    "Step",
    "Story",
    "activate",
    "deactivate",
    "delete",
    "delete_model",
    "deploy",
    "fails",
    "given",
    "merged",
    "promote",
    "publish",
    "ready",
    "recorded",
    "rollback",
]
