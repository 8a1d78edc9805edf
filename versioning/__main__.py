"""`python -m versioning` and the command `versioning`: the command line, or what to install for it."""

from __future__ import annotations

import importlib
import sys

HINT = 'The command line needs the extra cli: pip install "model-versioning[cli]"'
NOT_INSTALLED = 2
"""Exit code of a wrong call, as no store was asked for anything."""
INTERRUPTED = 130
"""Exit code after Ctrl-C while the command line is still being imported."""


def main() -> None:
    """Run the command line, if what it needs is installed."""
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
