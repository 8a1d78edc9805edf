"""The command line: `cli`, made of the verbs in `commands.py`, `questions.py`, `proof.py` and `operating.py`.

The law of this wing: **a verb is a call of the library, and nothing more.** What a word names is in `addresses.py`,
what shared options say in `given.py` and `options.py`, how an answer looks in `tables.py`, and how a call ends in
`ending.py`.

To add a verb: a function with its options in one of the four, its place in that file's `VERBS`, and a test of its
text, its JSON, its refusals and its exit code.
"""

from __future__ import annotations

from typing import Final

import click

import versioning
from versioning.cli.commands import VERBS as COMMANDS
from versioning.cli.ending import Cli, exit_code_lines
from versioning.cli.operating import VERBS as OPERATING
from versioning.cli.options import PLACE_OF_ALL
from versioning.cli.proof import VERBS as PROOF
from versioning.cli.questions import VERBS as QUESTIONS

__all__ = ["cli"]

FIRST_STEPS: Final = (
    "versioning deploy fraud s3://models/7 --publish",
    "versioning deploy fraud s3://models/8 --publish --actor u-17",
    "versioning resolve fraud",
    "versioning rollback fraud --actor u-17 --reason 'ticket 4720'",
    "versioning log fraud",
)
"""Commands that `--help` shows; they work in this order, in an empty folder."""
_EPILOG: Final = "\n\n".join(
    [
        "\b\nFirst steps:\n" + "\n".join(f"  {line}" for line in FIRST_STEPS),
        """Addresses: NAME, NAME@primary, NAME@1.2.0, a version_id or a model_id; for `resolve` also NAME@^1.2.
The last @ counts; an @ at the end says that everything before it is the name.""",
        """An error names a rule or a code, such as R13 or store: `versioning explain R13` says what it means.""",
        """On a terminal, answers are tables. In a pipe, each row is a line of tab-separated cells without a heading.
Data goes to stdout, everything else to stderr. NO_COLOR is respected.""",
        'Shell completion: eval "$(_VERSIONING_COMPLETE=bash_source versioning)" (or zsh_source, fish_source).',
        "\b\nExit codes:\n" + "\n".join(exit_code_lines()),
    ]
)


@click.group(
    "versioning",
    cls=Cli,
    sections={
        "Commands": COMMANDS,
        "Questions": QUESTIONS,
        "Proof": PROOF,
        "Operating a store": OPERATING,
    },
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(versioning.__version__, prog_name="versioning")
@PLACE_OF_ALL
def cli(**_: str | None) -> None:
    """Deploy, publish, promote and roll back versions of machine-learning models.

    Ask which version answers, what happened and what it cost, today or on any earlier day, and prove that nobody
    changed the record.
    """
