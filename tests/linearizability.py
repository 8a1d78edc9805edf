"""Check whether some serial order explains what concurrent callers saw (R22).

This is the checker of Wing and Gong, with Lowe's memory of what was already ordered and the state then. It searches
depth first over the calls that could come next: a call can come next if no other call had returned before it began. A
call whose outcome is unknown (its process died, or its reply was lost) may have happened at any time after it began,
or never.

    linearizable(history, Register())
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

State = TypeVar("State")


@attrs.frozen
class Call:
    """One call of one caller: when it began and returned, what it asked for, and what it got."""

    asked: Any
    began: float
    returned: float | None = None
    """Moment of the return; None if the outcome is unknown."""
    got: Any = None


class SerialModel(Protocol[State]):
    """What the calls would do if they were made one after the other."""

    def initial(self) -> State:
        """Return the state before the first call."""

    def step(self, state: State, asked: Any) -> tuple[State, Any]:  # noqa: ANN401 - a model's own calls
        """Return the state after a call, and what the caller gets; the given state is not changed."""

    def key(self, state: State) -> Hashable:
        """Return what distinguishes a state from others."""


@attrs.frozen
class Verdict(Generic[State]):
    """Whether there is a serial order, and one of them."""

    ok: bool
    order: tuple[Call, ...] = ()
    """Longest explanation that was found."""
    stuck: tuple[Call, ...] = ()
    """Calls that the longest explanation can't place."""


def linearizable(history: Sequence[Call], model: SerialModel[State]) -> Verdict[State]:
    """Search for a serial order of the calls that explains every known outcome."""
    calls = sorted(history, key=lambda call: call.began)
    known = sum(1 << index for index, call in enumerate(calls) if call.returned is not None)
    seen: set[tuple[int, Hashable]] = set()
    best: tuple[int, ...] = ()
    stack: list[tuple[int, State, tuple[int, ...]]] = [(0, model.initial(), ())]
    while stack:
        done, state, order = stack.pop()
        if done & known == known:
            return Verdict(ok=True, order=tuple(calls[index] for index in order))
        if len(order) > len(best):
            best = order
        for index in reversed(_next(calls, done)):
            after, got = model.step(state, calls[index].asked)
            if calls[index].returned is not None and got != calls[index].got:
                continue
            place = (done | 1 << index, model.key(after))
            if place not in seen:
                seen.add(place)
                stack.append((place[0], after, (*order, index)))
    stuck = tuple(call for index, call in enumerate(calls) if index not in best and call.returned is not None)
    return Verdict(ok=False, order=tuple(calls[index] for index in best), stuck=stuck)


def _next(calls: Sequence[Call], done: int) -> list[int]:
    """Return the calls that could come next: those that began before any remaining call had returned."""
    left = [index for index in range(len(calls)) if not done >> index & 1]
    first_return = min(returned for index in left if (returned := calls[index].returned) is not None)
    return [index for index in left if calls[index].began <= first_return]


def linearizable_by_brute_force(history: Sequence[Call], model: SerialModel[State]) -> bool:
    """Try every subset of the unknown calls in every order: this checks the checker, with a handful of calls."""
    known = [call for call in history if call.returned is not None]
    unknown = [call for call in history if call.returned is None]
    subsets: Iterable[tuple[Call, ...]] = itertools.chain.from_iterable(
        itertools.combinations(unknown, size) for size in range(len(unknown) + 1)
    )
    return any(_explains(order, model) for subset in subsets for order in itertools.permutations([*known, *subset]))


def _explains(order: Sequence[Call], model: SerialModel[State]) -> bool:
    state = model.initial()
    for place, call in enumerate(order):
        if any(later.returned is not None and later.returned < call.began for later in order[place + 1 :]):
            return False
        state, got = model.step(state, call.asked)
        if call.returned is not None and got != call.got:
            return False
    return True
