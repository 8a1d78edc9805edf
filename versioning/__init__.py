"""The life of machine-learning model versions, as an event-sourced log.

    import versioning

    versioning.deploy(my_model, model_name="My wonderful model", version_bump="MAJOR", publish=True)

`ModelRegistry` is the one object to hold; `deploy` here is its `deploy` on a default registry. The other names are what
its calls give, for annotations: `Model`, `Version`, `Usage`, `AsOf` of `at`, `History` of `history`, `Replayed` of
`replay`, `Difference` of `diff`, `Checkpoint` of `checkpoint`, `Verification` of `verify`, `LogFile` of `export`.
The test kit is `versioning.testing`, with the extra `testing`; the command line is `versioning`, with the extra `cli`.

The names are those of `versioning.public`, which is imported when the first of them is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from versioning.public import *  # noqa: F403 - the list of the names is there, and only there

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "__all__" or not name.startswith("_"):
        if importlib.util.find_spec(f"{__name__}.{name}"):  # a room, which may be on its way into `public`
            return importlib.import_module(f"{__name__}.{name}")
        public = importlib.import_module("versioning.public")
        if name in ("__all__", *public.__all__):
            return globals().setdefault(name, getattr(public, name))
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("versioning.public").__all__})
