"""`python -m tests.faults.forking HOW COMMANDS`: a process with a registry in use starts workers, which use it too.

Each command of a worker is a line of JSON. `HOW` is `fork`, `spawn` or `forkserver`, as multiprocessing has them; `c`,
as uWSGI forks; or `c-closed`, where the parent closes its registry before the workers begin.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from tests.faults import serving
from tests.forking import fork_in_c

WORKERS = 2


def in_c(commands: int, *, closes: bool) -> None:
    gate, opening = os.pipe()
    for worker in range(WORKERS):
        if fork_in_c() == 0:
            os.close(opening)
            os.read(gate, 1)  # nobody writes: it ends when the parent has closed the other end
            serving.work(f"child {worker}", commands)
            os._exit(0)
    if closes:
        serving.registry.close()
    os.close(opening)
    for _ in range(WORKERS):
        os.wait()
    if not closes:
        serving.work("parent", commands)


def by_multiprocessing(how: str, commands: int) -> None:
    context: Any = multiprocessing.get_context(how)
    if how == "forkserver":
        context.set_forkserver_preload(["tests.faults.serving"])
    children = [context.Process(target=serving.work, args=(f"child {worker}", commands)) for worker in range(WORKERS)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    serving.work("parent", commands)


def main(how: str, commands: int) -> None:
    if how.startswith("c"):
        in_c(commands, closes=how == "c-closed")
    else:
        by_multiprocessing(how, commands)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
