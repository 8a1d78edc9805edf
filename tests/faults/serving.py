"""A small service on a registry that is opened where this module is imported: in the parent of the workers, where a
server loads its application before it forks.

    POST /MODEL?MARK           deploys a version, and says which
    GET /VERSION_ID?NUMBER     says whether what is known of a version is right

An answer of 200 is JSON; any other is the error in words.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from tests.faults.arena import plant
from versioning import ModelRegistry, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BUG_VARIABLE: Final = "VERSIONING_TEST_BUG"

if os.environ.get(BUG_VARIABLE) == "nobody looks":
    plant(processes, _BEGUN=[1])
if os.environ.get(BUG_VARIABLE) == "locks are made too early":
    os.register_at_fork(after_in_child=processes.look)

registry = ModelRegistry()
with contextlib.closing(registry.follow()) as _follower:  # now there are connections of every kind
    registry.deploy("s3://model", model_name="first", publish=True)
    next(_follower)
    registry.models()


def deployed(model_name: str, mark: str) -> dict[str, Any]:
    """Deploy a version; give what a client needs to ask for it again."""
    version = registry.deploy("s3://model", model_name=model_name, publish=True, correlation_id=mark)
    return {"mark": mark, "version_id": version.version_id, "number": version.number, "pid": os.getpid()}


def known(version_id: str, number: str) -> dict[str, Any]:
    """Look a version up by itself, with its model, and in the list of all models; say whether all of it is right."""
    version = registry.version(version_id)
    model = registry.model(version.model_name)
    is_of_model = version_id in {one.version_id for one in model.versions}
    is_listed = model.model_id in {one.model_id for one in registry.models()}
    return {"is_right": version.number == number and is_of_model and is_listed}


def do(model_name: str, mark: str, line: int = 1) -> None:
    """Deploy a version, ask for it, and write what became of that as a line of JSON."""
    try:
        told = deployed(model_name, mark)
        told |= known(told["version_id"], told["number"])
    except Exception as error:  # noqa: BLE001 - whoever reads the lines judges
        told = {"mark": mark, "error": f"{type(error).__name__}: {error}"}
    os.write(line, f"{json.dumps(told)}\n".encode())  # whole, beside those of others


def work(worker: str, commands: int) -> None:
    """Do so many commands."""
    for number in range(commands):
        do(f"m{number % 3}", f"{worker}.{number}")


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer one request, as WSGI has it."""
    name = environ["PATH_INFO"].removeprefix("/")
    answer = deployed if environ["REQUEST_METHOD"] == "POST" else known
    try:
        said = answer(name, environ["QUERY_STRING"])
        status, body = "200 OK", json.dumps(said).encode()
    except Exception as error:  # noqa: BLE001 - the client judges
        status, body = "500 Internal Server Error", f"{type(error).__name__}: {error}".encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
