"""Draw an exact bill for January for every model of a tenant, and the same bill again a year later.

You learn what counts as usage: active and activating versions, in microseconds, drafts on lines of their own. Every
line cites the events that open and close it, the days of a month add up to the month, and a bill can be drawn again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from versioning import ModelRegistry, Policy, Usage

MICROSECONDS_PER_HOUR = 3_600_000_000
CENTS_PER_HOUR = {"published": 12, "draft": 0}

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    """A clock that a story can set. Without one, a registry uses the clock of the machine."""

    def __init__(self) -> None:
        """Start before the period."""
        self.now = JANUARY - timedelta(days=3)

    def __call__(self) -> datetime:
        """Return the current moment."""
        return self.now


def main() -> None:
    """Let some weeks pass, draw the bill, and draw it again a year later."""
    clock = Clock()
    with ModelRegistry("memory:", workspace="acme", policy=Policy(activation="awaited"), clock=clock) as registry:
        some_weeks(registry, clock)
        bill = registry.usage(JANUARY, FEBRUARY)
        show(bill)

        days = [JANUARY + timedelta(days=day) for day in range(31)]
        parts = [registry.usage(day, day + timedelta(days=1)).total_microseconds for day in days]
        print(f"the 31 days add up: {sum(parts) == bill.total_microseconds}")

        running = registry.usage(FEBRUARY, MARCH)  # drawn on 2 February, and open lines count up to then

        clock.now += timedelta(days=365)
        registry.delete_model("Churn")
        again = registry.at(bill.position).usage(JANUARY, FEBRUARY, until=bill.until)
        print(f"a year later, the same: {again == bill}")
        again = registry.at(running.position).usage(FEBRUARY, MARCH, until=running.until)
        print(f"and that of a month that was running: {again == running}, {running.total_hours} hours")


def some_weeks(registry: ModelRegistry, clock: Clock) -> None:
    """Record what happened. A version counts from the moment at which its environment starts to come up."""
    churn = registry.deploy("s3://acme/churn/1", model_name="Churn", publish=True)  # 29 December
    clock.now += timedelta(minutes=4)
    registry.complete_activation(churn, churn.activation_id or "")

    clock.now = JANUARY + timedelta(days=5, hours=9)
    draft = registry.deploy("s3://acme/churn/2", model_name="Churn")
    clock.now += timedelta(minutes=3, microseconds=1)
    registry.complete_activation(draft, draft.activation_id or "")
    clock.now += timedelta(hours=2)
    registry.publish(draft)

    clock.now = JANUARY + timedelta(days=20)
    registry.deactivate(churn)
    fraud = registry.deploy("s3://acme/fraud/1", model_name="Fraud", publish=True)
    clock.now += timedelta(minutes=10)
    registry.fail_activation(fraud, fraud.activation_id or "", error="out of memory")

    clock.now = FEBRUARY + timedelta(days=1)


def show(bill: Usage) -> None:
    """Print the bill. Prices are the host's business, and so is rounding: once, at the end."""
    print(f"{'model':<8}{'version':<9}{'stage':<11}{'from':<13}{'to':<13}{'µs':>17}  {'events':<9}{'cents':>8}")
    total = Fraction(0)
    for line in bill.lines:
        cents = Fraction(line.microseconds, MICROSECONDS_PER_HOUR) * CENTS_PER_HOUR[line.stage]
        total += cents
        cited = f"{line.opened_by}–{line.closed_by or ''}"
        print(
            f"{line.model_name:<8}{line.number:<9}{line.stage:<11}{line.start:%d %b %H:%M} {line.end:%d %b %H:%M} "
            f"{line.microseconds:>17,}  {cited:<9}{float(cents):>8.2f}"
        )
    print(f"{'total':<54}{bill.total_microseconds:>17,}  {'':<9}{round(total):>8}")


if __name__ == "__main__":
    main()
