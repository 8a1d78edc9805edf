"""The worked day of the specification, replayed through the command line alone.

Times of day are not compared: the command line has the system's clock, and no other can be set. All the rest is: what
each command records, or that it is refused, and what is primary, active and billing-eligible after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests import stores
from tests.cli_tools import NAME, URI, Ran, run
from tests.stories import ROWS

if TYPE_CHECKING:
    import pytest

    from tests.stores import Store

shared_store = stores.shared_store


class Day:
    """The versions of the day, by their letters."""

    def __init__(self, url: str) -> None:
        self.place = ("--url", url, "--json")
        self.known: dict[str, dict[str, Any]] = {}

    def do(self, words: str) -> Ran:
        """Run the command that a row of the table means."""
        match words.replace(",", "").replace("(draft)", "").split():
            case ["deploy", label, *rest]:
                bump = next((word for word in rest if word.isupper()), "MINOR")
                publish = ["--publish"] if "publish" in rest else []
                claim = ["--no-promote"] if "claim" in rest else []
                ran = self.run("deploy", NAME, f"{URI}/{label}", "--bump", bump, *publish, *claim)
                self.known[label] = ran.json
                return ran
            case [label, "is", "ready"]:
                return self.run("complete-activation", self.id_of(label), self.activation_of(label))
            case [label, "fails", "to", "start"]:
                return self.run("fail-activation", self.id_of(label), self.activation_of(label), "--error", "no room")
            case ["rollback"]:
                return self.run("rollback", NAME)
            case ["delete", label]:
                return self.run("delete", self.id_of(label), "--yes")
            case [verb, label, *_]:
                return self.run(verb, self.id_of(label))
        raise AssertionError(words)

    def run(self, *words: str) -> Ran:
        return run(*words, *self.place, VERSIONING_ACTIVATION="awaited", VERSIONING_ACTOR="u-1")

    def id_of(self, label: str) -> str:
        return str(self.known[label]["version_id"])

    def activation_of(self, label: str) -> str:
        return str(self.run("show", self.id_of(label)).json["activation_id"])

    def state(self) -> list[str]:
        """What is primary, active and billing-eligible, as the table writes it."""
        (model,) = self.run("ls").json or [{"primary": None, "active": [], "billable": []}]
        sets = [" ".join(model[name]) for name in ("active", "billable")]
        return [number_in(model["primary"]), *(one or "–" for one in sets)]


def number_in(primary: dict[str, str] | None) -> str:
    return "–" if primary is None else primary["number"]


def recorded(ran: Ran) -> str:
    """Return what a command recorded, as the table writes it."""
    if ran.code:
        assert ran.code == 1, ran
        return "refused"
    causes = [(one["event"], one["facts"].get("cause")) for one in ran.json["recorded"]]
    told = [event if cause in {None, "lost"} else f"{event} ({cause})" for event, cause in causes]
    return ", ".join(told) or "nothing"


def test_the_worked_day_through_the_command_line_alone(shared_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERSIONING_WORKSPACE", raising=False)
    day = Day(shared_store.url)
    states = []
    for _, words, records, *after in ROWS:
        assert recorded(day.do(words)) == records, words
        assert day.state() == after, words
        states.append((day.run("log", "-n", "1").json[0]["position"], after))
    for position, after in states:
        (model,) = day.run("ls", "--as-of", str(position)).json or [None]
        assert number_in(model and model["primary"]) == after[0]
    assert len(day.run("log", NAME).json) == sum(
        0 if records in {"nothing", "refused"} else len(records.split(", ")) for _, _, records, *_ in ROWS
    )
    assert day.run("checkpoint").code == 0
    assert run("verify", "--url", shared_store.url).code == 5
