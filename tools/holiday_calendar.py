"""public_holidays: nationwide public holidays by the holidays package, offline.

Knows no holidays of regions, save those of the four parts of the United Kingdom.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import Field

from tools.days import MONTHS, read_month
from tools.places import Country, find_country
from tools.sentences import counted, listed, on_day
from tools.tool import ToolContext, ToolError

_WITH_THE = re.compile(r"^(?:United|Bahamas|Comoros|Gambia|Maldives|Netherlands|Philippines)|Islands|Republic|Territor|^DR ")


def public_holidays(
    context: ToolContext,
    country: Annotated[str, Field(min_length=1, max_length=60)],
    year: Annotated[int, Field(ge=1950, le=2100)] | None = None,
    month: Annotated[str, Field(min_length=1, max_length=20)] | None = None,
) -> dict[str, Any]:
    """List the public holidays of a country.

    Args:
        country: The country, such as France or JP
        year: The year; this year if left out
        month: A month such as May, or next for the next holiday
    """
    place = find_country(country)
    today = context.now().date()
    if month and month.strip().lower().removesuffix(" holiday").removeprefix("the ") == "next":
        return _next(place, today if year in (None, today.year) else date(year or today.year, 1, 1))
    asked = year or today.year
    days = _days(place, asked)
    answer: dict[str, Any] = {"country": place.name, "year": asked}
    if month:
        number = read_month(month)
        days = [(day, name) for day, name in days if day.month == number]
        answer["month"] = MONTHS[number - 1].capitalize()
    period = " ".join(str(answer[part]) for part in ("month", "year") if part in answer)
    return {"summary": _sentence(place, period, days), **answer, "holidays": [_shown(day, name) for day, name in days]}


def _sentence(place: Country, period: str, days: list[tuple[date, str]]) -> str:
    start = f"There {'is' if len(days) == 1 else 'are'} {counted(len(days), 'public holiday')} in {_said(place)} in {period}"
    return f"{start}: {listed([f'{name} ({day.day} {day:%B})' for day, name in days], len(days))}." if days else f"{start}."


def _said(place: Country) -> str:
    return f"the {place.name}" if _WITH_THE.search(place.name) else place.name


def _next(place: Country, today: date) -> dict[str, Any]:
    coming = [(day, name) for year in (today.year, today.year + 1) for day, name in _days(place, year) if day >= today]
    if not coming:
        raise ToolError(f"I know no coming public holiday of {place.name}.")
    day, name = coming[0]
    wait = (day - today) // timedelta(days=1)
    ahead = {0: "today", 1: "tomorrow"}.get(wait, f"in {wait} days")
    return {
        "summary": f"The next public holiday in {_said(place)} is {name} on {on_day(day)}, {ahead}.",
        "country": place.name,
        "next_holiday": _shown(day, name),
        "days_from_now": wait,
    }


def _shown(day: date, name: str) -> dict[str, str]:
    return {"date": day.isoformat(), "weekday": day.strftime("%A"), "name": name}


def _days(place: Country, year: int) -> list[tuple[date, str]]:
    """The year's holidays in order, with English names where the package has them. Raises ToolError for a country it lacks."""
    import holidays

    if place.code not in holidays.list_supported_countries():
        raise ToolError(f"I have no calendar of public holidays for {place.name}.")
    calendar = holidays.country_holidays(place.code, subdiv=place.part, years=year, language="en_US")
    if not calendar:
        raise ToolError(f"I know no public holidays of {place.name} in {year}. Ask for a year nearer to now.")
    return sorted((day, name) for day, name in calendar.items() if day.year == year)
