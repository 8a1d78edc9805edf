"""A state machine for Hypothesis that looks for the shortest story in which a registry and the oracle differ.

The law of this room: every rule is one call that a user could make. After each of them, the registry is compared with
the oracle and with the laws of `walks`. Subclass it to look for stories that break a rule of your own:

    from hypothesis.stateful import invariant
    from versioning import Policy
    from versioning.testing import RegistryMachine

    class Answering(RegistryMachine):
        policy = Policy(losing_primary="refuse")
        clear_primary = None  # a command that this service never gives

        @invariant()
        def somebody_answers(self):
            if self.model and any(version.is_serving for version in self.model.versions):
                assert self.model.primary is not None

    TestAnswering = Answering.TestCase  # pytest and unittest run it

Under `refuse` this holds; under `leave_none`, Hypothesis shows how two deployments and a deactivation break it.

To add a rule: a method with `@rule` that calls `do`. Versions that were deployed are drawn from
`RegistryMachine.versions`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, multiple, precondition, rule

from versioning.testing.oracle import ANY, Expected
from versioning.testing.strategies import bumps, policies
from versioning.testing.walks import FORKED, UNKNOWN, Move, World

if TYPE_CHECKING:
    from versioning.aggregate import Model
    from versioning.events import Recorded
    from versioning.registry import ModelRegistry
    from versioning.rules import Policy
    from versioning.testing.oracle import Oracle

_claims = st.sampled_from([None, True, False])
_keys = st.sampled_from([None, None, None, "k0", "k1"])
_processes = st.sampled_from([0, 0, 0, 1])


class RegistryMachine(RuleBasedStateMachine):
    """Random commands on one name, after each of which the registry is compared with the oracle.

    Set `policy` and `url` in a subclass, and add rules and invariants, which can use the properties below.
    """

    policy: ClassVar[Policy | None] = None
    """Policy of the registry; if it is None, Hypothesis chooses one."""
    url: ClassVar[str] = "memory:"
    """URL of the store; on a store that is kept, every story has a workspace of its own."""

    versions: ClassVar[Bundle[int]] = Bundle("versions")
    """Versions that were deployed, by index."""
    expectations: ClassVar[st.SearchStrategy[Expected]] = st.just(ANY) | st.none() | versions
    """Values for `expected_primary`."""

    world: World

    def __init__(self) -> None:
        """Start with nothing open."""
        super().__init__()
        self._holds = True

    @property
    def registry(self) -> ModelRegistry:
        """Registry under test; its model is called `model_name`."""
        return self.world.registry(self.world.places[0].workspace)

    @property
    def model_name(self) -> str:
        """Name that all commands are about."""
        return self.world.places[0].name

    @property
    def model(self) -> Model | None:
        """Model as the registry showed it after the last command; None if there is none."""
        return self.world.places[0].laws.model

    @property
    def log(self) -> list[Recorded]:
        """Everything that was recorded so far."""
        return self.world.places[0].log

    @property
    def oracle(self) -> Oracle:
        """Oracle that says what should be so."""
        return self.world.places[0].oracle

    def do(self, what: str, version: int = 0, **how: Any) -> None:  # noqa: ANN401 - the fields of a Move
        """Run a command, and compare."""
        self.play(Move(what, version, **how))

    def play(self, move: Move) -> None:
        """Run the command of a move, and compare."""
        self._holds = False
        self.world.play(move)
        self._holds = True

    @initialize(policy=st.runner().flatmap(lambda machine: st.just(machine.policy) if machine.policy else policies()))
    def open(self, policy: Policy) -> None:
        """Open a fresh store."""
        self.world = World(policy, url=self.url, kept=3)

    @rule(target=versions, bump=bumps(), publish=st.booleans(), promote=_claims, key=_keys, process=_processes)
    def deploy(
        self, *, bump: str, publish: bool, promote: bool | None, key: str | None, process: int
    ) -> int | MultipleResults[int]:
        """Deploy a version; it is called by its index from then on."""
        deployed = self.world.places[0].judge.ordinals
        index = len(deployed)
        self.do("deploy", index, bump=bump, publish=publish, promote=promote, key=key, process=process)
        return index if index in deployed else multiple()

    @rule(version=versions, promote=_claims, key=_keys, process=_processes)
    def publish(self, *, version: int, promote: bool | None, key: str | None, process: int) -> None:
        """Publish a version."""
        self.do("publish", version, promote=promote, key=key, process=process, looks=process == 0)

    @rule(version=versions, expected=expectations, key=_keys, process=_processes)
    def promote(self, version: int, expected: Expected, key: str | None, process: int) -> None:
        """Make a version primary."""
        self.do("promote", version, expected=expected, key=key, process=process, looks=process == 0)

    @rule(expected=expectations, key=_keys, process=_processes)
    def rollback(self, expected: Expected, key: str | None, process: int) -> None:
        """Go back to the primary before."""
        self.do("rollback", expected=expected, key=key, process=process)

    @rule(version=versions, expected=expectations, key=_keys, process=_processes)
    def deactivate(self, version: int, expected: Expected, key: str | None, process: int) -> None:
        """Stop a version."""
        self.do("deactivate", version, expected=expected, key=key, process=process)

    @rule(version=versions, key=_keys, process=_processes)
    def activate(self, version: int, key: str | None, process: int) -> None:
        """Start a version again."""
        self.do("activate", version, key=key, process=process, looks=process == 0)

    @rule(version=versions, starts=st.booleans(), late=st.sampled_from([0, 0, 0, 1]), key=_keys, process=_processes)
    def answer(self, *, version: int, starts: bool, late: int, key: str | None, process: int) -> None:
        """Answer a version's newest wait, or the one before it: it is ready, or it did not start."""
        newest = self.oracle.versions[self.world.places[0].judge.ordinals[version]].attempt
        what = "complete_activation" if starts else "fail_activation"
        self.do(what, version, attempt=max(1, newest - late), key=key, process=process)

    @rule(version=versions, expected=expectations, key=_keys, process=_processes)
    def delete(self, version: int, expected: Expected, key: str | None, process: int) -> None:
        """Delete a version."""
        self.do("delete", version, expected=expected, key=key, process=process, looks=process == 0)

    @rule(key=_keys, process=_processes)
    def delete_model(self, key: str | None, process: int) -> None:
        """Delete the model."""
        self.do("delete_model", key=key, process=process)

    @rule(expected=expectations, key=_keys, process=_processes)
    def clear_primary(self, expected: Expected, key: str | None, process: int) -> None:
        """Leave the model without a primary on purpose."""
        self.do("clear_primary", expected=expected, key=key, process=process)

    @precondition(lambda machine: machine.world.played)
    @rule(back=st.integers(0, 5), process=_processes)
    def ask_again(self, back: int, process: int) -> None:
        """Run an earlier command once more; with its key, if it has one, the first answer is returned."""
        played = self.world.played
        move = played[max(0, len(played) - 1 - back)].move
        self.play(attrs.evolve(move, process=process))

    @rule(what=st.sampled_from(["publish", "promote", "delete"]), version=st.sampled_from([UNKNOWN, FORKED]))
    def ask_for_an_unknown_version(self, what: str, version: int) -> None:
        """Run a command on a version that was never deployed here."""
        self.do(what, version)

    @rule(passes_us=st.sampled_from([1, 1_000_000, 86_400_000_000, -60_000_000, -300_000_001]))
    def pass_time(self, passes_us: int) -> None:
        """Move the clock forward or back."""
        self.world.clock.now_us += passes_us

    def teardown(self) -> None:
        """Compare the whole history, if every command did as it should, and close the store."""
        world = getattr(self, "world", None)
        if world is not None:
            try:
                if self._holds:
                    world.finish(random.Random(len(world.played)))  # noqa: S311 - keeps no secret
            finally:
                world.close()
