"""local_time and sun_times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]


def test_the_time_elsewhere(ask: Ask) -> None:
    assert ask("local_time", city="Tokyo") == {
        "summary": "It is 22:00 on Tuesday, 24 November 2026 in Tokyo, Japan.",
        "city": "Tokyo, Japan", "time": "22:00", "date": "2026-11-24",
        "weekday": "Tuesday", "time_zone": "Asia/Tokyo", "utc_offset": "+09:00",
    }  # fmt: skip
    assert ask("local_time", city="Auckland")["date"] == "2026-11-25"
    assert ask("local_time", city="paris, texas")["time"] == "07:00"
    assert ask("local_time", city="Kathmandu")["utc_offset"] == "+05:45"


@pytest.mark.parametrize(
    ("city", "day", "rise", "set_"),
    [  # almanac values, to within two minutes
        ("London", "2026-06-21", "04:43", "21:21"),
        ("New York", "2026-12-21", "07:16", "16:32"),
        ("Sydney", "2026-01-01", "05:48", "20:09"),
        ("Honolulu", "2026-03-20", "06:35", "18:43"),
        ("Auckland", "2026-06-21", "07:33", "17:11"),
        ("Apia", "2026-06-21", "06:50", "18:08"),
    ],
)
def test_the_sun(ask: Ask, city: str, day: str, rise: str, set_: str) -> None:
    answer = ask("sun_times", city=city, date=day)
    assert answer["date"] == day
    for key, expected in (("sunrise", rise), ("sunset", set_)):
        assert abs(minutes(answer[key]) - minutes(expected)) <= 2, (key, answer)


def minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def test_the_day_has_a_length_and_defaults_to_today_in_the_city(ask: Ask) -> None:
    answer = ask("sun_times", city="Oslo")
    assert answer["summary"] == "In Oslo, Norway the sun rises at 08:36 and sets at 15:30 on Tuesday, 24 November 2026."
    assert (answer["date"], answer["day_length"], answer["time_zone"]) == ("2026-11-24", "6 h 54 min", "Europe/Oslo")
    assert ask("sun_times", city="Oslo", date="tomorrow")["date"] == "2026-11-25"
    assert ask("sun_times", city="Oslo", date="friday")["date"] == "2026-11-27"


def test_where_the_sun_does_not_set_or_rise(ask: Ask) -> None:
    summer = ask("sun_times", city="Tromsø", date="2026-06-21")
    assert summer["note"] == "The sun does not set on this day."
    assert summer["summary"] == "In Tromsø, Norway the sun does not set on Sunday, 21 June 2026."
    winter = ask("sun_times", city="Tromsø", date="2026-12-21")
    assert winter["note"] == "The sun does not rise on this day."
    assert "sunrise" not in winter
    assert winter["summary"] == "In Tromsø, Norway the sun does not rise on Monday, 21 December 2026."


def test_the_sentence_tells_the_sun_in_the_order_of_the_day(ask: Ask) -> None:
    late = ask("sun_times", city="Reykjavik", date="2026-06-21")
    assert late["sunset"] < late["sunrise"]
    assert f"the sun sets at {late['sunset']} and rises at {late['sunrise']} on Sunday" in late["summary"]
    spring = ask("sun_times", city="Tromsø", date="2026-05-17")
    assert spring["summary"] == f"In Tromsø, Norway the sun rises at {spring['sunrise']} on Sunday, 17 May 2026."


def test_errors(refuse: Callable[..., str]) -> None:
    assert "no city" in refuse("local_time", city="Qxzzy")
    assert "no date" in refuse("sun_times", city="Oslo", date="someday")
    assert "1900 to 2100" in refuse("sun_times", city="Oslo", date="0001-01-01")
    assert "1900 to 2100" in refuse("sun_times", city="Oslo", date="9999-12-31")
    assert "argument 'city' is missing" in refuse("sun_times", date="today")
