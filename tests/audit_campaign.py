"""The audit at length: every row of logs tampered with in every way, many clean logs, and how fast a long one is read.

python3 tests campaign audit                          # all three
python3 tests campaign audit --logs 0 --clean 0       # only how fast
"""

from __future__ import annotations

import random
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.filling import fill as fill_quickly
from tests.bench.filling import names
from tests.tampering import WAYS, Trial, fill
from versioning import ModelRegistry
from versioning.reading.views import VIEWS
from versioning.testing import POLICIES

if TYPE_CHECKING:
    import argparse

ROWS = 200
"""Of each log that is tampered with."""
EVENTS_A_MODEL = 30
"""Of a long log: ten versions, each deployed, published and promoted; models take turns."""
SECONDS_A_MILLION_MAX = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what can be chosen."""
    parser.add_argument("--logs", type=int, default=3, help="logs to tamper with, each row in each way (default: 3)")
    parser.add_argument("--clean", type=int, default=1_000, help="logs that nobody touched (default: 1000)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the long log, 0 for none (default: a million)")
    parser.add_argument("--seed", type=int, default=None, help="of all choices (default: a random one)")


def run(given: argparse.Namespace) -> bool:
    """Do it, print figures, and say whether all went well; of how fast, figures are all that is told."""
    seed = secrets.randbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    missed = sum(_tamper(seed + number, names=[3, 1, 25][number % 3]) for number in range(given.logs))
    alarms = sum(_look_at(seed + number) for number in range(given.clean))
    if given.clean:
        print(f"{given.clean} clean logs: {alarms} false alarms", flush=True)
    if given.rows:
        _time(given.rows)
    return missed == alarms == 0


def _tamper(seed: int, names: int) -> int:
    """Give how many changes to a log were not found, not named or not placed."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), ROWS, seed, names)
        for way, (kind, _) in WAYS.items():
            for one in trial.misses(way, range(len(trial.rows))):
                missed += 1
                print(one)
            print(f"  {kind:10} {way}: {missed} missed so far", flush=True)
    print(
        f"seed {seed}, {names} names: {len(WAYS)} ways on each of {len(trial.rows)} rows, {missed} missed", flush=True
    )
    return missed


def _look_at(seed: int) -> bool:
    """Say whether an audit finds anything in a log that nobody touched."""
    dice = random.Random(seed)
    with ModelRegistry("memory:", policy=dice.choice(POLICIES)) as registry:
        checkpoints = []
        for _ in range(dice.randrange(1, 4)):
            fill(registry, registry.position() + dice.randrange(30), dice, names=dice.choice([1, 3, 20]))
            if dice.random() < 0.5:
                registry._views.catch_up(dice.choice(VIEWS))
            checkpoints.append(registry.checkpoint())
        findings = registry.verify(checkpoints).findings
    for finding in findings:
        print(f"false alarm, seed {seed}: {finding.sentence}")
    return bool(findings)


def _time(rows: int) -> None:
    """Print how long the audit of a long log takes, with and without kept views, and of a tenth of it."""
    with tempfile.TemporaryDirectory() as folder:
        for count in (rows // 10, rows):
            with ModelRegistry(f"sqlite:///{folder}/{count}.db?durability=checkpoint") as registry:
                fill_quickly(registry._store, names(max(1, count // EVENTS_A_MODEL)), 10)
                _time_audits(registry)


def _time_audits(registry: ModelRegistry) -> None:
    last = registry.position()

    def timed(what: str) -> None:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        ok = registry.verify(checkpoint).ok
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        million_s = cpu_s / last * 1_000_000
        within = "within" if million_s < SECONDS_A_MILLION_MAX else "over"
        print(
            f"{last:9,} rows, {what}: {took_s:6.2f} s, {cpu_s:6.2f} s of them working"
            f" ({million_s:.1f} s a million, {within} {SECONDS_A_MILLION_MAX:g} s), {'ok' if ok else 'NOT OK'}",
            flush=True,
        )

    began_s = time.perf_counter()
    checkpoint = registry.checkpoint()
    print(f"{last:9,} rows, taking a checkpoint: {time.perf_counter() - began_s:6.2f} s", flush=True)
    timed("chains and checkpoint")
    registry.rebuild()
    timed("chains, checkpoint and kept views")
