"""`python3 tests campaign NAME`: what takes too long for the suite, and is run now and then; without a name, the list.

Each prints its seed and its figures, and how to repeat what failed; the exit code is 1 then. To add one: a function
that adds its arguments to a parser, one that runs with what was given and says whether all went well, and a line in
`CAMPAIGNS`.
"""

import argparse
import concurrent.futures
import functools
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests import audit_campaign
from tests.faults import (
    clocks,
    failing_calls,
    followers,
    forks,
    kills,
    linearizability,
    lost_replies,
    poolers,
    power_cuts,
    restarts,
    rewinds,
    rewound_followers,
    servers,
    view_kills,
    wal,
)
from tests.faults.arena import STORES
from tests.faults.arena import Report as FaultReport
from versioning.testing.walks import DiscrepancyError, Report, run

RAREST = 10
"""How many of the rarest branches are shown."""


class Campaign(NamedTuple):
    """What a name on the command line stands for."""

    about: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], bool]


def _walks_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--walks", type=int, default=100_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of all choices (default: a random one)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first walk (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="side by side (default: %(default)s)")
    parser.add_argument(
        "--chunk", type=int, default=500, help="walks between two lines of figures (default: %(default)s)"
    )
    parser.add_argument("--url", default="memory:", help="of the store (default: %(default)s)")


def _reports(given: argparse.Namespace, seed: int) -> Iterator[Report]:
    """Give the report of each chunk, as they come."""
    last = given.first + given.walks
    firsts = range(given.first, last, given.chunk)
    chunks = [(min(given.chunk, last - first), seed, first, given.url) for first in firsts]
    if given.processes == 1:
        yield from map(_chunk, chunks)
        return
    with concurrent.futures.ProcessPoolExecutor(given.processes) as pool:
        try:
            for done in concurrent.futures.as_completed([pool.submit(_chunk, chunk) for chunk in chunks]):
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(chunk: tuple[int, int, int, str]) -> Report:
    walks, seed, first, url = chunk
    return run(walks, seed, first=first, url=url)


def _walks(given: argparse.Namespace) -> bool:
    seed = secrets.randbits(32) if given.seed is None else given.seed
    report = Report(seed)
    print(f"seed {seed}", flush=True)
    try:
        for done in _reports(given, seed):
            report += done
            print(report, flush=True)
    except DiscrepancyError as error:
        print(error)
        print(f"or: python3 tests campaign walks --seed {seed} --first NUMBER --walks 1 --processes 1")
        return False
    rarest = sorted(report.outcomes.items(), key=lambda each: each[1])[:RAREST]
    print("rarest branches:", *(f"  {count:6} {branch} -> {came}" for (branch, came), count in rarest), sep="\n")
    return True


def _faults(
    about: str, run: Callable[[int, int, str], FaultReport], rounds: int, stores: Sequence[str] = STORES
) -> Campaign:
    """Make a campaign of what `tests/faults` plans: so many rounds on each store."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=rounds, help="how many (default: %(default)s)")
        parser.add_argument("--seed", type=int, default=None, help="of all choices (default: a random one)")
        parser.add_argument("--store", choices=stores, default=None, help="on which (default: all of them)")

    def go(given: argparse.Namespace) -> bool:
        seed = secrets.randbits(32) if given.seed is None else given.seed
        print(f"seed {seed}", flush=True)
        went_well = True
        for store in stores if given.store is None else (given.store,):
            report = run(given.rounds, seed, store)
            print(report, flush=True)
            went_well = went_well and report.ok
        return went_well

    return Campaign(about, add_arguments, go)


SQLITE, POSTGRESQL = STORES[:1], STORES[1:]

EDGES: list[tuple[str, Callable[[int, int], FaultReport]]] = [
    ("poolers", poolers.run),
    ("rewound-followers", lambda rounds, seed: rewound_followers.run(rounds, seed, "sqlite")),
    ("rewound-followers-postgresql", lambda rounds, seed: rewound_followers.run(rounds, seed, "postgresql")),
    ("servers", lambda rounds, seed: servers.run(rounds, seed, "sqlite")),
    ("servers-postgresql", lambda rounds, seed: servers.run(rounds, seed, "postgresql")),
    ("restored-file", functools.partial(rewinds.run, store="sqlite")),
    ("promoted-standby", functools.partial(rewinds.run, store="postgresql")),
]
"""What users meet at the edge, by title: a number of rounds and a seed, and what came of them."""


def _edges_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=50, help="how many of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of all choices (default: a random one)")
    titles = [title for title, _ in EDGES]
    parser.add_argument("--only", choices=titles, metavar="TITLE", help=f"one of: {', '.join(titles)}")


def _edges(given: argparse.Namespace) -> bool:
    seed = secrets.randbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    went_well = True
    for title, run_one in EDGES:
        if given.only in {None, title}:
            report = run_one(given.rounds, seed)
            print(report, flush=True)
            went_well = went_well and report.ok
    return went_well


CAMPAIGNS = {
    "walks": Campaign("a registry and the oracle go random ways side by side", _walks_arguments, _walks),
    "audit": Campaign(
        "every row is tampered with in every way, clean logs, and a million rows",
        audit_campaign.add_arguments,
        audit_campaign.run,
    ),
    "kills": _faults("processes and servers are killed while they append", kills.run, 300),
    "wal": _faults("a write-ahead log is cut or scribbled on", wal.run, 10_000, SQLITE),
    "power-cuts": _faults("the power goes at a random write", power_cuts.run, 1_000, SQLITE),
    "failing-calls": _faults("every call to the store fails, in every way", failing_calls.run, 1),
    "lost-replies": _faults("the reply of a commit is lost", lost_replies.run, 10_000),
    "linearizability": _faults("eight processes on one model, some of them killed", linearizability.run, 100),
    "followers": _faults("followers beside six writers; a round is an event", followers.run, 1_000_000),
    "view-kills": _faults("whoever keeps the views is killed", view_kills.run, 200),
    "clocks": _faults("clocks go back, and processes disagree", clocks.run, 10_000),
    "restarts": _faults("the server restarts, falls silent, ends connections", restarts.run, 30, POSTGRESQL),
    "edges": Campaign("where users meet it: restores, servers and tools of others", _edges_arguments, _edges),
    "forks": _faults("a registry in use is forked", forks.run, 200),
}


def main(arguments: Sequence[str]) -> int:
    """Run what the command line names; give the exit code."""
    parser = argparse.ArgumentParser(prog="python3 tests campaign", description="Long runs that look for mistakes.")
    names = parser.add_subparsers(dest="name")
    for name, campaign in CAMPAIGNS.items():
        campaign.add_arguments(names.add_parser(name, help=campaign.about, description=campaign.about))
    given = parser.parse_args(arguments)
    if given.name is None:
        print("\n".join(f"{name:15} {campaign.about}" for name, campaign in CAMPAIGNS.items()))
        return 0
    return 0 if CAMPAIGNS[given.name].run(given) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
