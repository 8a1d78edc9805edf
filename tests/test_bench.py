"""Every benchmark runs, at tiny sizes; what it measures is looked at elsewhere, and never asserted."""

from pathlib import Path

import pytest

from tests.bench.__main__ import BENCHMARKS, main
from tests.bench.growth import Curve, plot
from tests.bench.measure import Absent, Contender, Table, compare, exponent, interleaved
from tests.postgres_server import missing

pytestmark = pytest.mark.slow

ON_POSTGRES = {"growth", "processes", "views-pg"}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in ON_POSTGRES and (reason := missing()):
        pytest.skip(reason)
    assert main([name, "--tiny", "--svg", f"{tmp_path}/growth.svg"]) == 0
    assert f"== {name}: " in capsys.readouterr().out
    assert (tmp_path / "growth.svg").exists() == (name == "growth")


def test_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHMARKS)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])


def test_contenders_take_turns_and_another_one_begins_each_round() -> None:
    order: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        def go(number: int) -> float:
            order.append((name, number))
            return 1.0

        return Contender(name, go)

    results = interleaved([contender("a"), contender("b")], 2, 60)
    assert order == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert results == [[1.0, 1.0], [1.0, 1.0]]


def test_time_is_bounded() -> None:
    assert len(interleaved([Contender("a", float)], 1_000, 0)[0]) == 1


def test_a_table_says_how_many_times_as_fast_we_are_and_who_is_missing() -> None:
    ours, theirs = Contender("ours", lambda _: 2e-6), Contender("theirs", lambda _: 1e-6, 0.75)
    table = str(compare("a job", ours, [theirs, Absent("others", "not installed")], rounds=2, seconds_max=9))
    assert "0.50  0.50–0.50  ≥ 0.75   MISSED" in table
    assert "others  does not take part: not installed" in table


def test_an_exponent_is_the_power_of_the_growth() -> None:
    assert exponent([1, 10, 100], [3, 3, 3]) == pytest.approx(0)
    assert exponent([1, 10, 100], [2, 200, 20_000]) == pytest.approx(2)


def test_a_plot_is_an_svg_with_every_curve() -> None:
    drawn = plot(
        [Curve("models", "deploy", [1, 10], [1e-6, 1e-6], 0.2), Curve("threads", "resolve", [1, 2], [1e-6, 2e-6], 1)]
    )
    assert drawn.startswith("<svg")
    assert "deploy: exponent 0.00" in drawn
    assert "resolve: exponent 1.00" in drawn


def test_a_table_without_rows_is_its_title() -> None:
    assert str(Table("plotted", [""])).startswith("plotted")
