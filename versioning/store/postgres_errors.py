"""What went wrong in PostgreSQL, as an error with a sentence and a hint.

The law of this room: **whoever ended a connection said why, and that is told**: by our sentence where the reason is
known, and by the server's or libpq's own words always.

To add one: its line in `_SENTENCES`, by SQLSTATE or by the class of a SQLSTATE.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from versioning.errors import StoreError, shown, verbatim

_SENTENCES: Final = {
    "08": ("can't be reached", "Look whether the server is running, and at the network."),
    "08006": ("closed the connection", "Look whether the server is running, and at the network."),
    "22021": ("can't hold a text of this form", "Leave out NUL characters."),
    "08P01": (
        "ended the connection, or a pooler in front of it did",
        "Look at the log of the server, and of the pooler if there is one.",
    ),
    "25P03": ("ended a transaction that stood still for too long", "Try again; nothing of it was recorded."),
    "25P04": ("ended a transaction that took too long", "Look at transaction_timeout; nothing of it was recorded."),
    "25006": ("can only be read", "Name the primary server, or look at default_transaction_read_only."),
    "28": ("refused the user or the password", "Look at the user and the password in the URL, and at pg_hba.conf."),
    "3D": ("does not exist", "Make it with CREATE DATABASE, or name another one."),
    "3F": ("has no such schema any more", "Open the store again, which makes it."),
    "40": ("could not order what several clients did at once", "Try again."),
    "42501": ("does not allow this user what is needed", "Grant it, or let the owner run `migrate` first."),
    "42P01": ("has no tables of ours any more", "Open the store again, which makes them."),
    "53": ("is out of memory or of another resource", "Look at the server's log."),
    "53100": ("can't grow: the disk is full", "Make room; nothing was recorded."),
    "53300": ("has no connection left", "Raise max_connections, or let fewer processes connect."),
    "55P03": (
        "kept this waiting for somebody else's lock",
        "Try again; lock_timeout_s in the URL says how long to wait.",
    ),
    "57": ("is stopping or starting", "Try again in a moment."),
    "57014": (
        "took too long, or an administrator cancelled the statement",
        "Try again; statement_timeout_s in the URL says how long a statement may take.",
    ),
    "57P01": ("ended the connection: it is stopping, or an administrator ended it", "Try again in a moment."),
    "57P02": (
        "ended all connections, because one of its processes crashed",
        "Try again, and look at the server's log.",
    ),
    "57P03": ("is starting or stopping, and takes no connections yet", "Try again in a moment."),
    "57P04": ("is gone: somebody dropped the database", "Restore it, or name another one."),
    "57P05": ("ended a connection that was not used for long", "Try again."),
    "58": ("can't be read or written", "Look at the server's disk and at its log."),
    "XX": ("is damaged", "Keep a copy of it, look at the server's log, and restore a backup."),
}
"""Sentence and hint by SQLSTATE, or by the class of a SQLSTATE."""
_REACHED: Final = (
    (re.compile("too many (?:clients|connections)|remaining connection slots|no more connections allowed"), "53300"),
    (re.compile("password authentication failed|no password supplied"), "28P01"),
    (re.compile('no pg_hba.conf entry|role ".*" (?:does|is) not'), "28000"),
    (re.compile('database ".*" does not exist|no such database'), "3D000"),
    (re.compile("the database system is"), "57P03"),
    (re.compile("server is in hot standby mode"), "25006"),
    (re.compile("FATAL: .*permission denied"), "42501"),
)
"""SQLSTATEs by the server's words, which are all that libpq has while it connects."""
_PREFIXES: Final = re.compile("connection to server .*? failed: |FATAL: +")
_TLS: Final = re.compile(r"\b(?:ssl\w*|tls|certificate|private key file)\b", re.IGNORECASE)
"""libpq's words about what goes wrong before the server can say anything."""
_TLS_HINT: Final = (
    "Look at sslmode, sslrootcert, sslcert and sslkey in the URL, and at the server's certificate: who signed it, for "
    "which names, until when."
)


def store_error(where: str, state: str, message: str = "", constraint: str | None = None) -> StoreError:
    """Return what a SQLSTATE means; `where` names the database."""
    known = _SENTENCES.get(state) or _SENTENCES.get(state[:2])
    sentence, hint = known or (f"failed: {shown(message)}", None)
    return StoreError(f"{where} {sentence}.", hint=hint, sqlstate=state, constraint=constraint)


def ended(where: str, state: str, words: str = "") -> StoreError:
    """Return the error of a connection that was ended or refused, with the words of whoever did."""
    sentence, hint = _SENTENCES.get(state) or _SENTENCES.get(state[:2]) or _SENTENCES["08006"]
    told = f" ({state}: {shown(words)})" if words else ""
    return StoreError(f"{where} {sentence}{told}.", hint=hint, sqlstate=state)


def pooled(where: str) -> StoreError:
    """Return the error of a pooler that does not keep to a session."""
    msg = (
        f"{where} is reached through a pooler that gives the statements of one client to several sessions of the "
        "server, as PgBouncer does with pool_mode=transaction or statement. What is promised here needs a session."
    )
    hint = "Set pool_mode=session for this database in the pooler, or name the server's own host and port in the URL."
    return StoreError(msg, hint=hint)


def closed(where: str) -> StoreError:
    """Return the error of a store that was closed."""
    return StoreError(f"{where} is closed.", hint="Open it again.")


def forked(where: str) -> StoreError:
    """Return the error of a connection that belongs to the parent of this process."""
    msg = f"{where} was being asked when this process was forked, and the connection belongs to the parent process."
    return StoreError(msg, hint="Ask again: this process then opens a connection of its own.")


def unreachable(where: str, message: str) -> StoreError:
    """Return what libpq's words about a connection that was not made mean."""
    told = " ".join(message.split())
    words = _PREFIXES.split(told)[-1]
    for known, state in _REACHED:
        if known.search(told):
            return ended(where, state, words)
    sentence, hint = _SENTENCES["08"]
    if _TLS.search(told):
        sentence, hint = "can't be reached by TLS", _TLS_HINT
    return StoreError(f"{where} {sentence}: {shown(words)}.", hint=hint, sqlstate="08001")


def silent(where: str, seconds: float) -> StoreError:
    """Return the error of a server that did not answer in time."""
    return StoreError(f"{where} did not answer within {seconds:g} s.", hint=_SENTENCES["08"][1])


# What a user may not do.

_GRANTS: Final = {
    "schema_version": ("SELECT", "SELECT"),
    "stored_events": ("SELECT", "SELECT, INSERT"),
    "stored_positions": ("", "USAGE"),
    "store_ids": ("SELECT", "SELECT"),
    "kept_views": ("SELECT", "SELECT, INSERT, UPDATE, DELETE"),
    "kept_rows": ("SELECT", "SELECT, INSERT, UPDATE, DELETE"),
}
"""Least rights on each of our tables, and on the sequence: to read, and to write too."""


class Rights(NamedTuple):
    """The rights that a store needs."""

    schema: str
    read_only: bool

    def grants(self, role: str) -> dict[str, str]:
        """Return the statements that grant a role what it needs, and no more, by what they are about."""
        place, who = quoted(self.schema), quoted(role)
        found = {self.schema: f"GRANT USAGE ON SCHEMA {place} TO {who};"}
        for name, (to_read, to_write) in _GRANTS.items():
            if rights := to_read if self.read_only else to_write:
                kind = "SEQUENCE " if name == "stored_positions" else ""
                found[name] = f"GRANT {rights} ON {kind}{place}.{name} TO {who};"
        return found

    def denied(self, where: str, message: str, role: str) -> StoreError:
        """Return the error of a user who lacks a right; the server's words, in whatever language, name the object."""
        for name, grant in sorted(self.grants(role).items(), key=lambda one: one[0] == self.schema):
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message):
                kind = "schema" if name == self.schema else "sequence" if name == "stored_positions" else "table"
                msg = f"{where} does not allow the user {shown(role)} what is needed on the {kind} {shown(name)}."
                hint = f"Let its owner run: {verbatim(grant)}"
                return StoreError(msg, hint=hint, sqlstate="42501", object=name)
        error = store_error(where, "42501")
        sentence = f"{error.sentence[:-1]}: {shown(message)}."
        return StoreError(sentence, hint=error.hint_text, sqlstate="42501")


def quoted(name: str) -> str:
    """Return a name as SQL takes it literally."""
    return '"' + name.replace('"', '""') + '"'
