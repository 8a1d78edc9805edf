"""The test kit: test a policy, a service or a store of your own against the rules. It needs the extra `testing`.

- `given` tells a story and checks what comes of it.
- `Oracle` knows the rules a second time, written from their text alone.
- `run` and `RegistryMachine` look for stories in which a registry and the oracle differ.
- `Laws` checks what holds of every log.
- Strategies such as `recorded_logs` make what this library accepts and returns, for Hypothesis.
- `assert_replays` checks that an exported log still means what it meant.
"""

from versioning.testing.given import (
    Chapter,
    Decision,
    Step,
    Story,
    activate,
    clear_primary,
    deactivate,
    delete,
    delete_model,
    deploy,
    fails,
    given,
    promote,
    publish,
    ready,
    rollback,
)
from versioning.testing.machine import RegistryMachine
from versioning.testing.oracle import ANY, Fact, Oracle, Outcome
from versioning.testing.plain_events import merged, recorded
from versioning.testing.strategies import bumps, commands, histories, metadata, names, policies, recorded_logs
from versioning.testing.upgrade import assert_replays
from versioning.testing.walks import (
    FORKED,
    POLICIES,
    UNKNOWN,
    DiscrepancyError,
    Laws,
    Move,
    Report,
    Walk,
    World,
    plan,
    play,
    run,
    shrunk,
)

__all__ = [
    "ANY",
    "FORKED",
    "POLICIES",
    "UNKNOWN",
    "Chapter",
    "Decision",
    "DiscrepancyError",
    "Fact",
    "Laws",
    "Move",
    "Oracle",
    "Outcome",
    "RegistryMachine",
    "Report",
    "Step",
    "Story",
    "Walk",
    "World",
    "activate",
    "assert_replays",
    "bumps",
    "clear_primary",
    "commands",
    "deactivate",
    "delete",
    "delete_model",
    "deploy",
    "fails",
    "given",
    "histories",
    "merged",
    "metadata",
    "names",
    "plan",
    "play",
    "policies",
    "promote",
    "publish",
    "ready",
    "recorded",
    "recorded_logs",
    "rollback",
    "run",
    "shrunk",
]
