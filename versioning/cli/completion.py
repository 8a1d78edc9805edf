"""What can be typed next? Names and numbers of models, from the store, for the shells that click knows.

The law of this room: **completion is quick, silent, and makes nothing.** Where a store is not there, is busy or broken,
there is nothing to offer; a name with a character that is not printable is not offered, since it would reach the
terminal as it is.

Bash breaks words at characters such as `@` and `:`, and puts nothing in quotes: it gets what stands behind the last
break, quoted. Click's own script does neither.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from typing import TYPE_CHECKING, Any, ClassVar, Final

from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

from versioning.cli.addresses import PRIMARY
from versioning.registry import ModelRegistry
from versioning.store.opening import holds_store

if TYPE_CHECKING:
    import click

OFFERED_MAX: Final = 200
"""How many names are offered at most."""
_KEPT: Final = ("@", "$")
"""What bash breaks a word at, and leaves at the beginning of the rest."""
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
    """Bash, with quotes, and with words that hold an `@`."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Take the line apart up to the cursor, as the shell does."""
        line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])].decode(errors="replace")
        words, typed = _split(line)
        self._typed = typed
        return words[1:], _unquoted(typed)

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Give what stands behind the last break in what was typed, quoted."""
        kind = "name" if item.type == "plain" and item.value.endswith("@") else item.type
        quoted = "".join(
            f"\\{one}" if one not in "@:=^~,+%/-._" and shlex.quote(one) != one else one for one in item.value
        )
        breaks = [one for one in os.environ.get("COMP_BREAKS", "") if one not in _QUOTES]
        last = max((self._typed.rfind(one) for one in breaks), default=-1)
        end = last if self._typed[last : last + 1] in _KEPT else last + 1
        return f"{kind},{quoted[end:] if quoted.startswith(self._typed[:end]) else quoted}"


def _split(line: str) -> tuple[list[str], str]:
    """Give the words before the one that is typed, and that one as it stands."""
    start = len(line)
    while start and (not line[start - 1].isspace() or (start > 1 and line[start - 2] == "\\")):
        start -= 1
    before = line[:start]
    try:
        return shlex.split(before), line[start:]
    except ValueError:  # inside quotes: it begins at the last one
        start = max(before.rfind('"'), before.rfind("'"))
        return shlex.split(before[:start]), line[start:]


def _unquoted(typed: str) -> str:
    """Give what a word means so far, where it may end inside quotes or behind a backslash."""
    if (len(typed) - len(typed.rstrip("\\"))) % 2:
        typed = typed[:-1]
    for closing in ("", '"'):
        with contextlib.suppress(ValueError):
            return "".join(shlex.split(typed + closing))
    return "".join(shlex.split(f"{typed}'"))


add_completion_class(BashComplete)


def names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models."""
    return [CompletionItem(name) for name in _names(context, incomplete)]


def addresses(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models with an @, and behind it the primary and the numbers."""
    name, at, _version = incomplete.rpartition("@")
    if at:
        return [CompletionItem(one) for one in _versions(context, name) if one.startswith(incomplete)]
    return [CompletionItem(f"{name}@") for name in _names(context, incomplete)]


def either(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Offer the names of models, and behind an @ their versions."""
    return addresses(context, parameter, incomplete) if "@" in incomplete else names(context, parameter, incomplete)


def _names(context: click.Context, incomplete: str) -> list[str]:
    try:
        with _opened(context) as registry:
            found = [model.name for model in registry.models()]
    except Exception:  # noqa: BLE001 - whatever it is, somebody is in the middle of a word
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
    given: Any = context.obj
    place = given.place
    if not holds_store(place):
        msg = "there is no store"
        raise LookupError(msg)
    return ModelRegistry(place, workspace=given.workspace)
