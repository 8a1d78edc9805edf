"""The checker of concurrent histories is right: on known histories, and against brute force on random ones."""

import random

import pytest

from tests.linearizability import Call, linearizable, linearizable_by_brute_force


class Register:
    """A number that is written, read, and compared and set."""

    def initial(self) -> int:
        return 0

    def step(self, state: int, asked: tuple[str, int, int]) -> tuple[int, object]:
        kind, old, new = asked
        if kind == "read":
            return state, state
        if kind == "write":
            return new, None
        return (new, True) if state == old else (state, False)

    def key(self, state: int) -> int:
        return state


class ForgetfulRegister(Register):
    """A planted bug: two states can't be told apart."""

    def key(self, state: int) -> int:
        return state * 0


def test_a_read_that_overlaps_a_write_may_see_it_or_not() -> None:
    for seen in (0, 1):
        history = [Call(("write", 0, 1), 0, 10), Call(("read", 0, 0), 5, 6, seen)]
        assert linearizable(history, Register()).ok


def test_a_read_after_a_write_sees_it() -> None:
    verdict = linearizable([Call(("write", 0, 1), 0, 1), Call(("read", 0, 0), 2, 3, 0)], Register())
    assert not verdict.ok
    assert [call.asked[0] for call in verdict.stuck] == ["read"]


def test_a_lost_call_may_have_happened_later_or_never() -> None:
    lost = Call(("write", 0, 7), 0)
    assert linearizable([lost, Call(("read", 0, 0), 5, 6, 7)], Register()).ok
    assert linearizable([lost, Call(("read", 0, 0), 5, 6, 0)], Register()).ok
    assert not linearizable([lost, Call(("read", 0, 0), 5, 6, 7), Call(("read", 0, 0), 7, 8, 0)], Register()).ok


def test_two_winners_of_one_compare_and_set_are_no_order() -> None:
    history = [Call(("cas", 0, 1), 0, 10, got=True), Call(("cas", 0, 2), 0, 10, got=True)]
    assert not linearizable(history, Register()).ok


def random_history(dice: random.Random) -> list[Call]:
    """A history of a real register, with overlapping calls, lost replies, and sometimes a wrong answer."""
    state, calls, model = 0, [], Register()
    for began in range(dice.randrange(1, 7)):
        kind = dice.choice(["read", "write", "cas"])
        asked = (kind, dice.randrange(3), dice.randrange(3))
        happened = began + dice.random() * 3
        calls.append((happened, began, asked))
    history = []
    for happened, began, asked in sorted(calls):
        after, got = model.step(state, asked)
        lost = dice.random() < 0.2
        if lost and dice.random() < 0.5:
            history.append(Call(asked, began))
            continue
        state = after
        if dice.random() < 0.15:
            got = dice.choice([0, 1, 2, None, True, False])
        history.append(Call(asked, began, None if lost else happened + dice.random() * 3, got))
    return history


@pytest.mark.parametrize("seed", range(300))
def test_it_agrees_with_brute_force(seed: int) -> None:
    history = random_history(random.Random(seed))
    assert linearizable(history, Register()).ok == linearizable_by_brute_force(history, Register())


def test_the_comparison_can_fail() -> None:
    writes = [Call(("write", 0, 1), 0, 10), Call(("write", 0, 2), 0, 10)]
    histories = [[*writes, Call(("read", 0, 0), 11, 12, seen)] for seen in (1, 2)]
    assert all(linearizable_by_brute_force(history, Register()) for history in histories)
    assert not all(linearizable(history, ForgetfulRegister()).ok for history in histories)
