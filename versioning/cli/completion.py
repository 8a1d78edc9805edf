"""What can be typed next? Names and numbers of models, from the store, for the shells that click knows.

The law of this room: **completion is quick, silent, and makes nothing.** Where the store is missing, busy or broken,
nothing is offered. A name with a character that is not printable is not offered either, because it would reach the
terminal as it is.

Bash needs a class of its own. It breaks words at the characters of COMP_WORDBREAKS, `@` and `:` among them, and puts
no quotes around what is offered. Click's script hands over the broken words, so that after `fraud@0.1` it asks for a
word after an `@`, and completes nothing; and a model called `x; rm -rf .` would be offered as two commands. Taking the
`@` out of COMP_WORDBREAKS would change the whole shell of the user. So this script hands over the line as it was typed,
and gets back what stands after the last break, quoted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, ClassVar, Final

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

from versioning.cli.given import Given
from versioning.resolving import PRIMARY

if TYPE_CHECKING:
    import click

    from versioning.registry import ModelRegistry

OFFERED_MAX: Final = 200
"""Largest number of names that are offered."""
_KEPT: Final = ("@", "$")
"""Characters at which bash breaks a word, and which begin the part that it replaces."""
_QUOTES: Final = "\"'\\ \t\n"

_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' line
    COMPREPLY=()
    for line in $(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_BREAKS="$COMP_WORDBREAKS" \\
            %(complete_var)s=bash_complete "$1" 2> /dev/null); do
        case "$line" in
            file,*) compopt -o default ;;
            dir,*) compopt -o dirnames ;;
            name,*) compopt -o nospace; COMPREPLY+=("${line#*,}") ;;
            *) COMPREPLY+=("${line#*,}") ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class BashComplete(ShellComplete):
    """Completion for bash, with quotes, and with words that contain an `@`."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Split the line up to the cursor, as the shell does."""
        line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])].decode(errors="replace")
        words, typed = _split(line)
        self._typed = typed
        return words[1:], _unquoted(typed)

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return the part after the last break in what was typed, quoted."""
        kind = "name" if item.type == "plain" and item.value.endswith("@") else item.type
        quoted = "".join(
            f"\\{one}" if one not in "@:=^~,+%/-._" and shlex.quote(one) != one else one for one in item.value
        )
        breaks = [one for one in os.environ.get("COMP_BREAKS", "") if one not in _QUOTES]
        last = max((self._typed.rfind(one) for one in breaks), default=-1)
        end = last if self._typed[last : last + 1] in _KEPT else last + 1
        return f"{kind},{quoted[end:] if quoted.startswith(self._typed[:end]) else quoted}"


def _split(line: str) -> tuple[list[str], str]:
    """Return the words before the one being typed, and that one as typed so far."""
    start = len(line)
    while start and (not line[start - 1].isspace() or (start > 1 and line[start - 2] == "\\")):
        start -= 1
    before = line[:start]
    try:
        return shlex.split(before), line[start:]
    except ValueError:  # inside quotes: the word begins at the last one
        start = max(before.rfind('"'), before.rfind("'"))
        return shlex.split(before[:start]), line[start:]


def _unquoted(typed: str) -> str:
    """Return what a word means so far; it may end inside quotes or after a backslash."""
    if (len(typed) - len(typed.rstrip("\\"))) % 2:
        typed = typed[:-1]
    for closing in ("", '"'):
        with contextlib.suppress(ValueError):
            return "".join(shlex.split(typed + closing))
    return "".join(shlex.split(f"{typed}'"))


add_completion_class(BashComplete)


def complete_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models."""
    return [CompletionItem(name) for name in _names(context, incomplete)]


def complete_addresses(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models with an @, and after the @ the primary and the numbers."""
    name, at, _version = incomplete.rpartition("@")
    if at:
        return [CompletionItem(one) for one in _versions(context, name) if one.startswith(incomplete)]
    return [CompletionItem(f"{name}@") for name in _names(context, incomplete)]


def complete_either(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models, and after an @ their versions."""
    complete = complete_addresses if "@" in incomplete else complete_names
    return complete(context, parameter, incomplete)


def _names(context: click.Context, incomplete: str) -> list[str]:
    try:
        with _opened(context) as registry:
            found = [model.name for model in registry.models()]
    except Exception:  # noqa: BLE001 - whatever fails, the user is in the middle of a word
        return []
    return [name for name in found if name.startswith(incomplete) and name.isprintable()][:OFFERED_MAX]


def _versions(context: click.Context, name: str) -> list[str]:
    try:
        with _opened(context) as registry:
            model = registry.model(name)
    except Exception:  # noqa: BLE001 - the same
        return []
    found = [version.number for version in reversed(model.versions)]
    offered = [f"{name}@{one}" for one in ([PRIMARY] if model.primary else []) + found]
    return offered[:OFFERED_MAX] if name.isprintable() else []


def _opened(context: click.Context) -> ModelRegistry:
    return Given.of(context).open(asks=True)
