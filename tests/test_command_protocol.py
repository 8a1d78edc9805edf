"""The command protocol, model-checked: every interleaving of three clients.

A client wants one effect. It looks for its idempotency key, reads the sequence, appends at the sequence that it has
read, and gets a reply: done, or conflict. A reply can be lost, once a client; then the protocol reads the tail for its
own command id. A client can crash, once, in any state; its caller sends the same command again, with the same key and a
new command id.

Breadth first, so the story of a violation is the shortest one.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

CLIENTS = 3
LOST_REPLIES_MAX = 1
CRASHES_MAX = 1


class Client(NamedTuple):
    at: str = "start"  # start, read, appended, unsure, done
    life: int = 0  # how often it was sent again; with the client, this is the command id
    sequence: int = 0
    outcome: str = ""
    lost: int = 0


class World(NamedTuple):
    clients: tuple[Client, ...]
    log: tuple[
        tuple[int, int], ...
    ] = ()  # (client, life) of each event: the client is its key, both are the command id


class Protocol(NamedTuple):
    looks_for_key: bool = True
    looks_for_own_command: bool = True
    expects_sequence: bool = True


def steps(world: World, protocol: Protocol) -> Iterator[tuple[str, World]]:
    for number, client in enumerate(world.clients):
        for name, changed, log in client_steps(number, client, world.log, protocol):
            clients = (*world.clients[:number], changed, *world.clients[number + 1 :])
            yield f"client {number} {name}", World(clients, log)


Step = tuple[str, Client, tuple[tuple[int, int], ...]]


def client_steps(number: int, client: Client, log: tuple[tuple[int, int], ...], protocol: Protocol) -> Iterator[Step]:
    mine = (number, client.life)
    if client.at == "start":
        if protocol.looks_for_key and any(key == number for key, _ in log):
            yield "finds its key", client._replace(at="done"), log
        else:
            yield "reads and decides", client._replace(at="read", sequence=len(log)), log
    elif client.at == "read":
        # The store holds the key's index and the sequence in one append: both are checked there.
        conflict = (protocol.expects_sequence and len(log) != client.sequence) or (
            protocol.looks_for_key and any(key == number for key, _ in log)
        )
        outcome = "conflict" if conflict else "done"
        yield f"appends: {outcome}", client._replace(at="appended", outcome=outcome), log if conflict else (*log, mine)
    elif client.at == "appended":
        yield f"hears {client.outcome}", client._replace(at="done" if client.outcome == "done" else "unsure"), log
        if client.lost < LOST_REPLIES_MAX:
            yield "hears nothing", client._replace(at="unsure", lost=client.lost + 1), log
    elif client.at == "unsure":
        if protocol.looks_for_own_command and mine in log:
            yield "finds its own command", client._replace(at="done"), log
        else:
            yield "tries again", client._replace(at="start"), log
    if client.at != "done" and client.life < CRASHES_MAX:
        yield "crashes and is sent again", Client(life=client.life + 1, lost=client.lost), log


def check(protocol: Protocol) -> tuple[int, list[str]]:
    """Give how many worlds there are, and the shortest story that ends in a violation, if there is one."""
    first = World(tuple(Client() for _ in range(CLIENTS)))
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        world = queue.popleft()
        effects = [sum(key == number for key, _ in world.log) for number in range(CLIENTS)]
        done_without = any(
            client.at == "done" and not count for client, count in zip(world.clients, effects, strict=True)
        )
        if max(effects) > 1 or done_without:
            return len(came_from), story(world, came_from)
        for name, after in steps(world, protocol):
            if after not in came_from:
                came_from[after] = (world, name)
                queue.append(after)
    return len(came_from), []


def story(world: World, came_from: dict[World, tuple[World, str] | None]) -> list[str]:
    told: list[str] = []
    while (before := came_from[world]) is not None:
        world, name = before
        told.append(name)
    return told[::-1]


def test_every_effect_happens_exactly_once() -> None:
    worlds, violation = check(Protocol())
    assert violation == []
    assert worlds > 10_000


def test_without_the_key_a_crash_after_the_append_deploys_twice() -> None:
    _, violation = check(Protocol(looks_for_key=False))
    assert violation == [
        "client 0 reads and decides",
        "client 0 appends: done",
        "client 0 crashes and is sent again",
        "client 0 reads and decides",
        "client 0 appends: done",
    ]


def test_without_key_and_own_command_a_lost_reply_deploys_twice() -> None:
    _, violation = check(Protocol(looks_for_key=False, looks_for_own_command=False))
    assert len(violation) == 5
    _, without_own_command = check(Protocol(looks_for_own_command=False))
    assert without_own_command == [], "the key alone is enough where there is one"
