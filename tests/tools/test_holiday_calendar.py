"""public_holidays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import holidays
import pytest

from tools.places import find_country

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]


def test_a_year_has_its_holidays_in_order_and_in_english(ask: Ask) -> None:
    answer = ask("public_holidays", country="France", year=2025)
    assert (answer["country"], answer["year"]) == ("France", 2025)
    assert {"date": "2025-07-14", "weekday": "Monday", "name": "National Day"} in answer["holidays"]
    assert len(answer["holidays"]) == 11
    assert answer["holidays"] == sorted(answer["holidays"], key=lambda day: day["date"])


def test_this_year_one_month_and_the_next_one(ask: Ask) -> None:
    assert ask("public_holidays", country="de")["year"] == 2026
    may = ask("public_holidays", country="Japan", month="may")
    assert (may["month"], [day["date"] for day in may["holidays"]]) == (
        "May",
        ["2026-05-03", "2026-05-04", "2026-05-05", "2026-05-06"],
    )
    assert ask("public_holidays", country="Japan", month="12")["holidays"] == []
    assert ask("public_holidays", country="USA", month="next") == {
        "summary": "The next public holiday in the United States is Thanksgiving Day on Thursday, 26 November 2026, in 2 days.",
        "country": "United States",
        "next_holiday": {"date": "2026-11-26", "weekday": "Thursday", "name": "Thanksgiving Day"},
        "days_from_now": 2,
    }


def test_the_next_one_may_be_in_the_next_year(ask: Ask) -> None:
    assert ask("public_holidays", country="Japan", month="the next")["next_holiday"]["date"] == "2027-01-01"
    assert ask("public_holidays", country="France", month="next", year=2030)["next_holiday"]["date"] == "2030-01-01"


def test_the_sentence_names_the_first_and_counts_the_rest(ask: Ask) -> None:
    year = ask("public_holidays", country="France", year=2025)["summary"]
    assert year.startswith("There are 11 public holidays in France in 2025: New Year's Day (1 January), Easter Monday (")
    assert year.endswith(", Assumption Day (15 August) and 3 more.")
    assert ask("public_holidays", country="Iceland", month="June")["summary"] == (
        "There is 1 public holiday in Iceland in June 2026: National Day (17 June)."
    )
    assert ask("public_holidays", country="Japan", month="12")["summary"] == (
        "There are no public holidays in Japan in December 2026."
    )
    for year_of_new, ahead in ((2026, "in 38 days"), (2030, "today")):
        said = ask("public_holidays", country="Japan", month="next", year=year_of_new)["summary"]
        assert said.startswith("The next public holiday in Japan is New Year's Day on ") and said.endswith(f", {ahead}.")


def test_parts_of_the_united_kingdom_differ(ask: Ask) -> None:
    names = {part: {day["name"] for day in ask("public_holidays", country=part)["holidays"]} for part in ("England", "Scotland")}
    assert "Saint Andrew's Day" in names["Scotland"] - names["England"]


def test_the_countries_of_the_world_answer(call: Callable[..., Any]) -> None:
    codes = sorted(holidays.list_supported_countries(include_aliases=False))
    answers = [call("public_holidays", country=code, year=2026) for code in codes if find_country(code).code == code]
    assert sum(answer.error is None for answer in answers) > 190
    assert all("I know no public holidays of" in answer.error for answer in answers if answer.error), "uninhabited islands"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"country": "Narnia"}, "no country"),
        ({"country": "Franze"}, "Did you mean France"),
        ({"country": "France", "month": "summer"}, "no month"),
        ({"country": "France", "year": 1800}, "argument 'year'"),
        ({"country": "France", "year": "2026"}, "argument 'year'"),
        ({"country": "Bouvet Island"}, "Bouvet Island"),
    ],
)
def test_errors(refuse: Callable[..., str], arguments: dict[str, Any], says: str) -> None:
    assert says in refuse("public_holidays", **arguments)
