"""`python -m versioning` and the command `versioning`: the command line, or what to install for it."""

from __future__ import annotations

import importlib
import sys

HINT = 'The command line needs the extra cli: pip install "model-versioning[cli]"'
NOT_INSTALLED = 2
"""Ends with the code for a wrong call: nothing was asked of any store."""
INTERRUPTED = 130
"""By Ctrl-C, before the command line was there."""


def main() -> None:
    """Hand over to the command line, where what it needs is installed."""
    try:
        command = importlib.import_module("versioning.cli").cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"click", "rich"}:
            raise
        sys.stderr.write(f"{HINT}\n")
        sys.exit(NOT_INSTALLED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    command.main(prog_name="versioning")


if __name__ == "__main__":
    main()
