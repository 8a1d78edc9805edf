"""Embed the registry in a service that starts a serving environment for every version.

You learn how activation is awaited and answered, how a worker follows the log, and how a client can repeat a request
without doing it twice. Several threads share one registry, and errors become answers of an HTTP service.

Threads of the standard library stand in for your web server and your cluster.
"""

from __future__ import annotations

import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from versioning import (
    ModelRegistry,
    Policy,
    Version,
    VersionActivated,
    VersionActivationFailed,
    VersionActivationRequested,
    VersionDeployed,
    VersioningError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning import Follower

NAME = "Recommender"


def main() -> None:
    """Run the service for a moment."""
    with tempfile.TemporaryDirectory() as folder:
        policy = Policy(activation="awaited")
        with ModelRegistry(Path(folder, "models.db"), policy=policy) as registry:
            work = registry.follow(poll_s=0.05)
            worker = threading.Thread(target=start_environments, args=(registry, work))
            worker.start()
            try:
                serve(registry)
            finally:
                work.close()
                worker.join()


# The worker: it reads what was recorded, acts on it, and reports the outcome.


def start_environments(registry: ModelRegistry, work: Follower) -> None:
    """Start what waits to be started. After a crash it can begin at the first event: late answers change nothing."""
    for recorded in work:
        event = recorded.event
        if not isinstance(event, VersionDeployed | VersionActivationRequested):
            continue
        version = registry.version(event.version_id)
        if version.activation_id is None or version.activation_id != event.activation_id:
            continue  # nobody waits for it any more
        try:
            start(version)
        except MemoryError as error:
            why = f"{type(error).__name__}: {error}"
            registry.fail_activation(version, version.activation_id, error=why, actor="worker")
        else:
            registry.complete_activation(version, version.activation_id, actor="worker")


def start(version: Version) -> None:
    """Stand in for a cluster."""
    if version.metadata.get("memory_gb", 0) > 64:  # noqa: PLR2004 - a stand-in
        msg = "no node has that much"
        raise MemoryError(msg)


# The web server: each request is a call on the one registry, and each error knows its HTTP answer.


def respond(call: Callable[[], Version]) -> tuple[int, dict[str, Any]]:
    """Return an HTTP status and a JSON body; a refusal is a problem document as RFC 9457 describes.

    With a status of 503, a service sends `error.retry_after_s` as the header Retry-After. It logs the error itself,
    since what clients are told names no file and no server.
    """
    try:
        version = call()
    except VersioningError as error:
        return error.status, error.to_dict()
    return 200, {"version_id": version.version_id, "number": version.number, "status": version.status}


def serve(registry: ModelRegistry) -> None:
    """Answer some requests."""

    def deploy(uri: str, key: str, memory_gb: int) -> tuple[int, dict[str, Any]]:
        return respond(
            lambda: registry.deploy(
                uri, model_name=NAME, publish=True, metadata={"memory_gb": memory_gb}, actor="u-1", idempotency_key=key
            )
        )

    # An impatient client sends one request eight times, and eight threads handle it. It is done once.
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: deploy("s3://models/1", "request-1", 16), range(8)))
    print(f"8 times the same request: {sorted({(status, body['number']) for status, body in answers})}")
    wait(registry, answers[0][1]["version_id"])
    print(f"ready: {respond(lambda: registry.resolve(NAME))[1]['number']} answers")

    # The next one fails to start. No traffic moves, and the reason is kept.
    _, second = deploy("s3://models/2", "request-2", 1_000)
    failed = wait(registry, second["version_id"])
    print(f"{failed.number} is {failed.status}, {failed.failure}; {registry.resolve(NAME).number} answers")

    # The answer to a request that a rule refuses, and what a menu should offer instead.
    status, problem = respond(lambda: registry.promote(failed, actor="u-1"))
    print(f"promote {failed.number}: {status} {problem['code']} [{problem['rule']}] {problem['detail']}")
    print(f"allowed: {', '.join(registry.allowed(failed))}")

    # Two people look at the same page. The second one is told, instead of undoing what the first one did.
    third = wait(registry, deploy("s3://models/3", "request-3", 16)[1]["version_id"])
    seen = answers[0][1]["version_id"]
    status, problem = respond(lambda: registry.rollback(NAME, expected_primary=seen))
    print(f"roll back from what I see: {status} {problem['code']}; {third.number} answers")


def wait(registry: ModelRegistry, version_id: str) -> Version:
    """Wait for the answer to an activation, as a page that shows progress would."""
    with registry.follow(poll_s=0.05) as events:
        for recorded in events:
            answered = isinstance(recorded.event, VersionActivated | VersionActivationFailed)
            if answered and recorded.version_id == version_id:
                break
    return registry.version(version_id)


if __name__ == "__main__":
    main()
