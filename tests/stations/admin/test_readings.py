"""Readings for people: the line of other measurands and the geometry of the charts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stations.admin.readings import BOTTOM, HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, chart, summary, thinned

START = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)


def values(*amounts: float, step: timedelta = timedelta(minutes=10)) -> list[tuple[datetime, float]]:
    return [(START + step * number, amount) for number, amount in enumerate(amounts)]


def test_summary_leaves_out_what_has_a_column_of_its_own() -> None:
    sampled = [
        {"value": "1000"},
        {"value": "11000", "measurand": "Power.Active.Import", "unit": "W"},
        {"value": "3600", "measurand": "Power.Active.Import", "unit": "W", "phase": "L1"},
        {"value": "16", "measurand": "Current.Import", "unit": "A", "phase": "L1"},
        {"value": "34", "measurand": "SoC"},
    ]
    assert summary(sampled) == "Power.Active.Import L1 3600 W, Current.Import L1 16 A"


@pytest.mark.parametrize("odd", [None, "text", [None, 3], {}])
def test_summary_of_what_is_no_list_of_samples_is_empty(odd: object) -> None:
    assert summary(odd) == ""


@pytest.mark.parametrize("few", [[], values(1.0), [(START, 1.0), (START, 2.0)]])
def test_no_chart_without_two_instants(few: list[tuple[datetime, float]]) -> None:
    assert chart("Power", "kW", few) is None


def test_chart_fills_its_box_and_labels_round_numbers() -> None:
    drawn = chart("Power", "kW", values(0.0, 11.0, 5.5))
    assert drawn is not None
    assert [(point.x, point.y) for point in drawn.points] == [
        (LEFT, HEIGHT - BOTTOM),
        (LEFT + (WIDTH - LEFT - RIGHT) / 2, round(HEIGHT - BOTTOM - 11 / 15 * (HEIGHT - TOP - BOTTOM), 1)),
        (WIDTH - RIGHT, round(HEIGHT - BOTTOM - 5.5 / 15 * (HEIGHT - TOP - BOTTOM), 1)),
    ]
    assert [tick.label for tick in drawn.y_ticks] == ["0", "5", "10", "15"]
    assert [tick.label for tick in drawn.x_ticks] == ["12:10", "12:15", "12:20", "12:25"]
    assert drawn.line.startswith("M56.0,192.0 L")
    assert drawn.area.endswith(" Z")


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0.0, ["0", "1"]),
        (0.07, ["0.00", "0.02", "0.04", "0.06", "0.08"]),
        (1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (22.0, ["0", "5", "10", "15", "20", "25"]),
        (350.0, ["0", "100", "200", "300", "400"]),
    ],
)
def test_grid_is_round_for_every_size(highest: float, labels: list[str]) -> None:
    drawn = chart("Power", "kW", values(0.0, highest))
    assert drawn is not None
    assert [tick.label for tick in drawn.y_ticks] == labels


def test_negative_readings_stay_inside_the_box() -> None:
    drawn = chart("Power", "kW", values(-3.0, 2.0))
    assert drawn is not None
    assert max(point.y for point in drawn.points) == HEIGHT - BOTTOM


def test_days_long_chart_is_labelled_by_day() -> None:
    drawn = chart("Energy", "kWh", values(0.0, 1.0, step=timedelta(days=6)))
    assert drawn is not None
    assert [tick.label for tick in drawn.x_ticks] == ["02 Mar", "03 Mar", "04 Mar", "05 Mar", "06 Mar", "07 Mar"]


def test_long_series_is_thinned_and_keeps_its_ends() -> None:
    series = values(*map(float, range(4001)), step=timedelta(seconds=10))
    kept = thinned(series)
    assert len(kept) <= MAX_POINTS + 2
    assert (kept[0], kept[-1]) == (series[0], series[-1])
