"""The default registry, for scripts and notebooks: one for each VERSIONING_URL and current folder.

The law of this room: nothing is opened before the first call.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import threading
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from versioning.registry import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.aggregate import Version

Arguments = ParamSpec("Arguments")

_defaults: dict[tuple[str | None, str], ModelRegistry] = {}
_locks: dict[int, threading.Lock] = {}
"""Lock of each process, because an inherited one might be held by a thread of the parent."""


def default_registry() -> ModelRegistry:
    """Return the registry at VERSIONING_URL, else at `sqlite:///versioning.db` in the current folder; opened once."""
    place = (os.environ.get("VERSIONING_URL"), os.getcwd())  # noqa: PTH109 - the text is what is compared
    with _locks.setdefault(os.getpid(), threading.Lock()):
        registry = _defaults.get(place)
        if registry is None or registry.closed:
            registry = _defaults[place] = ModelRegistry()
            atexit.register(registry.close)
        return registry


def _on_default(
    command: Callable[Concatenate[ModelRegistry, Arguments], Version],
) -> Callable[Arguments, Version]:
    """Return a command of the registry as a function on the default registry: the same arguments."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Version:
        return command(default_registry(), *args, **kwargs)

    signature = inspect.signature(command)
    run.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]  # what inspect and editors read
    return run


deploy = _on_default(ModelRegistry.deploy)
