"""How does a call of the command line end?

The law of this room: **whatever goes wrong is one sentence, one hint, and one code of one table.** Nothing foreseeable
ends with a traceback: not a closed pipe, a full disk, a closed stdout, or Ctrl-C.

To add an exit code: a line in `EXIT_CODES`, and a row in the table of README.md. A test compares them.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
from click.shell_completion import shell_complete

from versioning.cli.tables import Stage
from versioning.cli.words import WORDS
from versioning.errors import (
    InvalidArgumentError,
    InvalidInputError,
    NotFoundError,
    RefusedError,
    StorageError,
    TryAgainError,
    VersioningError,
    shown,
    verbatim,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from versioning.audit.diagnose import Kind

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
    "ahead": 18,
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
"""Exit codes of the process and their meaning; `--help` and README.md show them."""
_BRANCHES: Final = (
    (RefusedError, REFUSED),
    (InvalidInputError, USAGE),
    (NotFoundError, NOT_FOUND),
    (TryAgainError, TRY_AGAIN),
    (StorageError, STORE),
)
_PLAIN: Final = frozenset({InvalidArgumentError.code, NotFoundError.code, RefusedError.code, StorageError.code})
"""Codes that say no more than the sentence does, so that nobody is sent to their explanation."""
_ESCAPED: Final = "backslashreplace"
_COMPLETE: Final = "_VERSIONING_COMPLETE"


class EndsWithError(Exception):
    """The answer was written; only the exit code is left."""

    def __init__(self, code: int) -> None:
        """Keep the exit code."""
        super().__init__()
        self.exit_code = code


class Cli(click.Group):
    """The command line; it ends with a code of the table, whatever happens."""

    def __init__(self, name: str, *, sections: Mapping[str, Sequence[click.Command]], **how: Any) -> None:  # noqa: ANN401 - click's
        """Take the verbs in sections, in the order in which help shows them."""
        super().__init__(name, [verb for verbs in sections.values() for verb in verbs], **how)
        self.sections = sections

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write a table of verbs for each section."""
        width = max(len(name) for name in self.commands)
        for heading, verbs in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{verb.name:<{width}}", str(verb.short_help)) for verb in verbs])

    def main(  # type: ignore[override]  # click's has overloads for what is not used here
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        **_: Any,  # noqa: ANN401 - what click's own tools pass
    ) -> NoReturn:
        """Run a verb, and end the process."""
        words, name = list(sys.argv[1:] if args is None else args), prog_name or "versioning"
        _open_streams()
        if instruction := os.environ.get(_COMPLETE):
            sys.exit(shell_complete(self, {}, name, _COMPLETE, instruction))
        code = _ended(self, words, name)
        sys.stderr.flush()
        sys.exit(code)


def exit_code_lines() -> list[str]:
    """Return the table of exit codes, as `--help` shows it."""
    return [f"{code:>5}  {meaning}" for code, meaning in EXIT_CODES.items()]


def _open_streams() -> None:
    """Open the standard streams that the caller closed, and make each accept any character."""
    for name, mode, errors in (("stdin", "r", "replace"), ("stdout", "w", _ESCAPED), ("stderr", "w", _ESCAPED)):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - lives as long as the process
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # anything else was put there on purpose
            stream.reconfigure(errors=errors)


def _ended(command: click.Command, words: list[str], name: str) -> int:
    """Run a verb; return the exit code."""
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
    """Discard what is still buffered for stdout, so that the end of the process does not fail on it."""
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
    return InvalidArgumentError(sentence, hint=f"See `{verbatim(path)} --help`.")


def _of_system(error: OSError) -> StorageError:
    of = "" if error.filename is None else f" {shown(str(error.filename))}"
    msg = f"The file{of} can't be used: {error.strerror or shown(error)}."
    return StorageError(msg, hint="Check its name, the permissions of its folder, and the free space on the disk.")


def _reported(error: VersioningError, *, as_json: bool) -> int:
    """Write what is wrong; return the exit code."""
    stage = Stage("json" if as_json else "text")
    if as_json:
        stage.problem(error.to_dict(WORDS))
    else:
        rule = f", {error.rule}" if error.rule else ""
        stage.tell(f"Error: {error.sentence} [{error.code}{rule}]")
        if hint := error.hint_in(WORDS):
            stage.tell(f"Hint: {hint}")
        if subject := error.rule or (None if error.code in _PLAIN else error.code):
            stage.tell(f"More: versioning explain {subject}")
    return next((code for branch, code in _BRANCHES if isinstance(error, branch)), STORE)
