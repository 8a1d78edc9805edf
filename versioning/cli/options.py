"""Which options do several verbs share, and what makes a verb?

The law of this room: **a verb is declared with the groups of options that it takes.** Its function gets what they say
as one frozen `Given`, and its own arguments beside it.

To add a shared option: its line in a group below, and what reads it in `given.py`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from versioning.cli.completion import complete_addresses, complete_either
from versioning.cli.given import SHARED, Given
from versioning.errors import InvalidArgumentError, verbatim
from versioning.limits import CLOCK_SKEW_MAX_S
from versioning.store.opening import DEFAULT_URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from versioning.cli.tables import Stage

Verb: TypeAlias = "Callable[..., None]"
Decorator: TypeAlias = "Callable[[Verb], Verb]"


def group(*options: Decorator) -> Decorator:
    """Return one decorator for several options, shown in the order given."""

    def decorate(function: Verb) -> Verb:
        return functools.reduce(lambda decorated, option: option(decorated), reversed(options), function)

    return decorate


def verb(short_help: str, *, name: str | None = None) -> Callable[[Verb], click.Command]:
    """Return a decorator that makes a verb of a function.

    The function gets `Given`, and the verb's own arguments by name.

    Args:
        short_help: the verb's line in `versioning --help`; at most 45 characters fit there.
        name: the word on the command line, where it is not the function's name.
    """

    def decorate(function: Verb) -> click.Command:
        @functools.wraps(function)
        def call(**values: Any) -> None:  # noqa: ANN401 - whatever click read
            own = {key: value for key, value in values.items() if key not in SHARED}
            function(Given.of(click.get_current_context()), **own)

        return click.command(name or function.__name__, short_help=short_help)(call)

    return decorate


PLACE: Final = group(
    click.option("--url", metavar="URL", help=f"Store to use [env var: VERSIONING_URL; default: {DEFAULT_URL}]."),
    click.option(
        "--workspace", metavar="NAME", help="Workspace of the models [env var: VERSIONING_WORKSPACE; default: default]."
    ),
    click.option(
        "--artifacts",
        metavar="FOLDER",
        help="Folder for the contents of artifacts [env var: VERSIONING_ARTIFACTS; default: beside a SQLite file].",
    ),
)
PLACE_OF_ALL: Final = group(
    click.option("--url", metavar="URL", envvar="VERSIONING_URL", help="Store to use."),
    click.option("--workspace", metavar="NAME", envvar="VERSIONING_WORKSPACE", help="Workspace of the models."),
    click.option(
        "--artifacts", metavar="FOLDER", envvar="VERSIONING_ARTIFACTS", help="Folder for the contents of artifacts."
    ),
)
JSON: Final = click.option("--json", "json", is_flag=True, help="Answer with one JSON document.")
FORMS: Final = group(
    JSON,
    click.option("--nl", "nl", is_flag=True, help="Answer with JSON, one line for each row."),
    click.option("--csv", "csv", is_flag=True, help="Answer with CSV that is safe in a spreadsheet."),
)
AS_OF: Final = click.option(
    "--as-of",
    metavar="WHEN",
    help="Ask about the past: a moment (2026-01-31T14:03Z) or a position of the log (42 or position:42).",
)
CLOCK: Final = click.option(
    "--clock-skew-max-s",
    metavar="SECONDS|none",
    help=f"Seconds by which an event may lie ahead of the clock [default: as in the URL, else {CLOCK_SKEW_MAX_S}].",
)
DRY: Final = click.option("--dry-run", is_flag=True, help="Only show the events that would be recorded.")
YES: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
WHO: Final = group(
    click.option(
        "--actor",
        envvar="VERSIONING_ACTOR",
        show_envvar=True,
        help="Who is responsible: an opaque id, because it is kept for ever. Without it, nobody is recorded.",
    ),
    click.option("--reason", help="Why, in words. It is kept for ever, so use no personal data."),
)
_WHY_OPTIONS: Final = group(
    WHO,
    click.option(
        "--idempotency-key", metavar="KEY", help="Record the same command under the same key only once (R21)."
    ),
    click.option("--correlation-id", metavar="ID", help="Id of the request, ticket or job in your own systems."),
)
_POLICY_OPTIONS: Final = group(
    click.option(
        "--activation",
        type=click.Choice(["instant", "awaited"]),
        envvar="VERSIONING_ACTIVATION",
        show_envvar=True,
        help="Whether a version is active at once, or after `complete-activation`.",
    ),
    click.option(
        "--losing-primary",
        type=click.Choice(["fall_back", "leave_none", "refuse"]),
        envvar="VERSIONING_LOSING_PRIMARY",
        show_envvar=True,
        help="What happens when a model loses its primary.",
    ),
    click.option(
        "--publishing-claims/--no-publishing-claims",
        default=None,
        envvar="VERSIONING_PUBLISHING_CLAIMS",
        show_envvar=True,
        help="Whether publishing claims the primary role when --promote is left out.",
    ),
)
COMMAND: Final = group(_WHY_OPTIONS, DRY, _POLICY_OPTIONS, CLOCK, PLACE, FORMS)
"""Options of every command."""
QUESTION: Final = group(AS_OF, PLACE, FORMS)
"""Options of every question that can be asked about the past."""
VERSION: Final = click.argument("address", metavar="VERSION", shell_complete=complete_addresses)
EITHER: Final = click.argument("address", metavar="VERSION|MODEL", shell_complete=complete_either)


class _File(click.Path):
    """A file name that the shell completes; the library says whether the file can be used."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401, ARG002 - click's
        """Accept any text."""
        return str(value)


FILE: Final = _File()


def needs_file(stage: Stage, output: str | None, example: str) -> None:
    """Refuse to write a file's contents to a terminal.

    Raises:
        InvalidArgumentError: no file is named, and stdout is a terminal.
    """
    if output is None and stage.is_terminal:
        msg = "This is for a file, and stdout is a terminal."
        raise InvalidArgumentError(msg, hint=f"Name a file with -o {verbatim(example)}, or pipe it.", argument="output")
