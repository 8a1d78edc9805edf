"""What may stand on the command line besides the verb, and how does it end?

The law of this room: **whatever goes wrong is one sentence, a hint, and a code of one table**; nothing foreseeable ends
with a traceback. A question makes no store: only `deploy`, `import` and `migrate` do.

To add an option that several verbs have: a field of `Given`, its line here, and the tuples of those verbs in `cli.py`.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, cast

import attrs
import click
from click.shell_completion import shell_complete

from versioning.cli import completion
from versioning.cli.addresses import parse_point
from versioning.cli.tables import Look, Stage
from versioning.errors import (
    InvalidArgumentError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    StorageError,
    TryAgainError,
    VersioningError,
    shown,
)
from versioning.registry import ModelRegistry
from versioning.rules import Policy
from versioning.sentences import plain
from versioning.store.opening import holds_store, is_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from versioning.audit.diagnose import Kind
    from versioning.reading.questions import Questions
    from versioning.registry import Why

Decorator: TypeAlias = "Callable[[Any], Any]"

DONE, REFUSED, USAGE, NOT_FOUND, TRY_AGAIN, NOT_PROVEN, STORE = range(7)
INTERRUPTED: Final = 130
READER_GONE: Final = 141
FOUND: Final[dict[Kind, int]] = {
    "changed": 10,
    "swapped": 11,
    "missing": 12,
    "doubled": 13,
    "truncated": 14,
    "rewritten": 15,
    "unreadable": 16,
    "view": 17,
}
"""Exit code of `verify`, by the kind of its first finding."""
EXIT_CODES: Final[dict[int, str]] = {
    DONE: "done; of `verify`: nothing was found, and a checkpoint was compared",
    REFUSED: "refused: a rule forbids it now, or you said no",
    USAGE: "usage: a word or value can't be accepted",
    NOT_FOUND: "not found: store, model, version or contents",
    TRY_AGAIN: "try again: others were faster",
    NOT_PROVEN: "not proven: `verify` found nothing, but no checkpoint, or none by the key, vouches for it",
    STORE: "the store or a file can't do it; of `doctor`: something is wrong",
    **{code: f"`verify`: {kind}" for kind, code in FOUND.items()},
    INTERRUPTED: "interrupted",
    READER_GONE: "the reader of a pipe went away",
}
"""What the process ends with; `--help` and README show it."""
_BRANCHES: Final = (
    (RefusedError, REFUSED),
    (InvalidInputError, USAGE),
    (NotFoundError, NOT_FOUND),
    (TryAgainError, TRY_AGAIN),
    (StorageError, STORE),
)
_IN_OUR_WORDS: Final = {
    "models() lists": "`ls` lists",
    "versions(model_name) lists": "`ls NAME` lists",
    "Pass publish=True as well": "Say --publish as well",
    "promote can't be True without publish=True": "--promote can't stand without --publish",
    "Take one with checkpoint()": "Take one with `checkpoint`",
    "Pass checkpoint= as well": "Say --checkpoint as well",
}
"""Hints of the library that name its calls, and the verbs that do the same."""
_ESCAPED: Final = "backslashreplace"
_DEFAULT_PLACE: Final = "sqlite:///versioning.db"


class EndsWithError(Exception):
    """What there is to say was said; only the code is left."""

    def __init__(self, code: int) -> None:
        """Take what the process ends with."""
        super().__init__()
        self.exit_code = code


# What is given with every verb.


@attrs.define
class Given:
    """The options that several verbs have."""

    url: str | None = None
    workspace: str = "default"
    artifacts: str | None = None
    as_of: str | None = None
    look: Look = "text"
    actor: str | None = None
    reason: str | None = None
    idempotency_key: str | None = None
    correlation_id: str | None = None
    dry_run: bool = False
    activation: str = "instant"
    losing_primary: str = "fall_back"
    publishing_claims: bool = True

    @property
    def place(self) -> str:
        """Which store is meant."""
        return _DEFAULT_PLACE if self.url is None else self.url

    @property
    def why(self) -> Why:
        """What every command takes besides what it does."""
        return {
            "actor": self.actor,
            "reason": self.reason,
            "idempotency_key": self.idempotency_key,
            "correlation_id": self.correlation_id,
        }

    def stage(self) -> Stage:
        """Give where the answer appears."""
        return Stage(self.look)

    def open(self, *, makes: bool = False) -> ModelRegistry:
        """Open the registry.

        Args:
            makes: whether a store may be made where there is none; for a dry run, one in memory stands for it.

        Raises:
            NotFoundError: there is no store.
            InvalidArgumentError: one would be made in memory.
        """
        place, artifacts = self.place, self.artifacts
        if place == "memory:" and makes and not self.dry_run:
            msg = "A store in memory is gone as soon as this ends."
            raise InvalidArgumentError(msg, hint="Name a file with --url sqlite:///models.db.", argument="url")
        if (self.dry_run or not makes) and not holds_store(place):
            if not makes:
                raise no_store(place)
            place, artifacts = "memory:", artifacts or "versioning.db.artifacts"
        policy = Policy(
            activation=cast("Any", self.activation),
            losing_primary=cast("Any", self.losing_primary),
            publishing_claims=self.publishing_claims,
        )
        return ModelRegistry(place, workspace=self.workspace, policy=policy, artifacts=artifacts)

    def asked(self, registry: ModelRegistry) -> Questions:
        """Give what is asked: the present, or the past that --as-of names."""
        return registry if self.as_of is None else registry.at(parse_point(self.as_of, "as-of"))


def no_store(place: str) -> NotFoundError:
    """Say that there is no store; a URL that may hold a password is not repeated."""
    where = "at the URL of that PostgreSQL database and schema" if is_postgres(place) else f"at {shown(place)}"
    hint = "Look for a slip in --url or VERSIONING_URL; `migrate` or the first `deploy` makes a store."
    return NotFoundError(f"There is no store {where}.", hint=hint)


def _kept(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ANN401 - of any option
    """Keep an option in `Given`; one that is not given leaves what is there."""
    if value is not None and value is not False and parameter.name is not None:
        setattr(context.ensure_object(Given), parameter.name, value)


def _looks(context: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    if not value:
        return
    given = context.ensure_object(Given)
    if given.look not in {"text", parameter.name}:
        msg = f"--{parameter.name} and --{given.look} exclude each other."
        raise InvalidArgumentError(msg, hint="Ask for one form.", argument=parameter.name)
    given.look = cast("Look", parameter.name)


def _claims(context: click.Context, _: click.Parameter, value: bool | None) -> None:  # noqa: FBT001 - click calls it so
    if value is not None:
        context.ensure_object(Given).publishing_claims = value


def _option(*names: str, **how: Any) -> Decorator:  # noqa: ANN401 - whatever click takes
    return click.option(*names, **{"expose_value": False, "callback": _kept, **how})


PLACE: Final = (
    _option("--url", metavar="URL", help=f"Which store [env: VERSIONING_URL; default: {_DEFAULT_PLACE}]."),
    _option("--workspace", metavar="NAME", help="Whose models [env: VERSIONING_WORKSPACE; default: default]."),
    _option(
        "--artifacts",
        metavar="FOLDER",
        help="Where contents are kept [env: VERSIONING_ARTIFACTS; default: beside a SQLite file].",
    ),
)
PLACE_OF_ALL: Final = (
    _option("--url", metavar="URL", envvar="VERSIONING_URL", help="Which store."),
    _option("--workspace", metavar="NAME", envvar="VERSIONING_WORKSPACE", help="Whose models."),
    _option("--artifacts", metavar="FOLDER", envvar="VERSIONING_ARTIFACTS", help="Where contents are kept."),
)
JSON: Final = (_option("--json", "json", is_flag=True, callback=_looks, help="One JSON document."),)
FORMS: Final = (
    *JSON,
    _option("--nl", "nl", is_flag=True, callback=_looks, help="JSON, a line for each row."),
    _option("--csv", "csv", is_flag=True, callback=_looks, help="CSV that is safe in a spreadsheet."),
)
AS_OF: Final = (
    _option("--as-of", metavar="WHEN", help="As of a moment (2026-01-31T14:03Z) or a position of the log."),
)
DRY: Final = (_option("--dry-run", is_flag=True, help="Only show the events that would be recorded."),)
WHY: Final = (
    _option(
        "--actor",
        envvar="VERSIONING_ACTOR",
        show_envvar=True,
        help="Who; an opaque id, because it is kept for ever. Without it, nobody is recorded.",
    ),
    _option("--reason", help="Why, in words; kept for ever, so no personal data."),
    _option("--idempotency-key", metavar="KEY", help="The same key with the same command again records nothing (R21)."),
    _option("--correlation-id", metavar="ID", help="What it belongs to in your world."),
    *DRY,
)
_ACTIVATIONS: Final = click.Choice(["instant", "awaited"])
_LOSING: Final = click.Choice(["fall_back", "leave_none", "refuse"])
POLICY: Final = (
    _option(
        "--activation",
        type=_ACTIVATIONS,
        envvar="VERSIONING_ACTIVATION",
        show_envvar=True,
        help="Whether a version is active at once, or once complete-activation says so.",
    ),
    _option(
        "--losing-primary",
        type=_LOSING,
        envvar="VERSIONING_LOSING_PRIMARY",
        show_envvar=True,
        help="What follows when the primary goes.",
    ),
    _option(
        "--publishing-claims/--no-publishing-claims",
        default=None,
        callback=_claims,
        envvar="VERSIONING_PUBLISHING_CLAIMS",
        show_envvar=True,
        help="Whether publishing claims the primary role, where --promote doesn't say.",
    ),
)


# The whole, and its end.


class Cli(click.Group):
    """The command line: it ends with a code of the table, whatever happens."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:  # noqa: ANN401 - click's
        """Begin with nothing given."""
        return super().make_context(info_name, args, *rest, **{"obj": Given(), **extra})

    def main(  # type: ignore[override]  # click's has overloads for what is not asked for here
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **_: Any,  # noqa: ANN401 - what click's own tools pass
    ) -> NoReturn:
        """Run, and end the process."""
        words, name = list(sys.argv[1:] if args is None else args), prog_name or "versioning"
        variable = "_VERSIONING_COMPLETE"
        _open_streams()
        if instruction := os.environ.get(variable):
            sys.exit(shell_complete(self, {}, name, variable, instruction))
        code = _ended(self, words, name)
        sys.stderr.flush()
        sys.exit(code)


def _open_streams() -> None:
    """See that there are streams, and that none fails for a character: a caller may have closed any of them."""
    for name, mode, errors in (("stdin", "r", "replace"), ("stdout", "w", _ESCAPED), ("stderr", "w", _ESCAPED)):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - lasts as long as we do
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # whoever stands something else there knows why
            stream.reconfigure(errors=errors)


def _ended(command: click.Command, words: list[str], name: str) -> int:
    """Run; give what the process ends with."""
    try:
        code = _run(command, words, name)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_stdout()
        return READER_GONE
    except OSError as error:  # at the last write: a full disk, for example
        _give_up_stdout()
        return _reported(_of_system(error), as_json=False)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    return code


def _give_up_stdout() -> None:
    """Let what is still to be written go nowhere, so that the end of the process says nothing about it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _run(command: click.Command, words: list[str], name: str) -> int:
    as_json = any(word in {"--json", "--nl"} for word in words)
    try:
        with command.make_context(name, list(words)) as context:
            command.invoke(context)
    except (click.exceptions.Exit, EndsWithError) as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return USAGE
    except click.UsageError as error:
        return _reported(_as_ours(error, name), as_json=as_json)
    except VersioningError as error:
        return _reported(error, as_json=as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _reported(_of_system(error), as_json=as_json)
    return DONE


def _as_ours(error: click.UsageError, name: str) -> InvalidArgumentError:
    path = error.ctx.command_path if error.ctx is not None else name
    sentence = error.format_message()
    return InvalidArgumentError(sentence, hint=f"`{path} --help` says what can stand there.")


def _of_system(error: OSError) -> StorageError:
    of = "" if error.filename is None else f" {shown(str(error.filename))}"
    msg = f"The file{of} can't be used: {error.strerror or shown(error)}."
    return StorageError(msg, hint="Look at its name, at the rights on its folder, and whether the disk has room.")


def _reported(error: VersioningError, *, as_json: bool) -> int:
    """Say what is wrong; give what the process ends with."""
    if as_json:
        Stage("json").problem(error.to_dict())
    else:
        rule = f", {error.rule}" if error.rule else ""
        lines = [f"Error: {error.sentence} [{error.code}{rule}]", *([f"Hint: {error.hint}"] if error.hint else [])]
        for line in lines:
            for python, ours in _IN_OUR_WORDS.items():
                line = line.replace(python, ours)  # noqa: PLW2901 - what is left to be replaced
            sys.stderr.write(f"{plain(line)}\n")
    return next((code for branch, code in _BRANCHES if isinstance(error, branch)), STORE)


def exit_code_lines() -> list[str]:
    """Give the table of exit codes, as `--help` shows it."""
    return [f"{code:>5}  {meaning}" for code, meaning in EXIT_CODES.items()]


complete_names, complete_addresses, complete_either = completion.names, completion.addresses, completion.either
