"""local_time and sun_times: the clock and the sun at a city, worked out on this machine.

Knows no weather and no network; the sun is that of a flat horizon at sea level.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field

from tools.days import read_day
from tools.places import City, find_city
from tools.sentences import on_day
from tools.tool import ToolContext, ToolError

CityName = Annotated[str, Field(min_length=1, max_length=80)]
DayText = Annotated[str, Field(min_length=1, max_length=40)]


def local_time(context: ToolContext, city: CityName) -> dict[str, Any]:
    """Tell the current time and date in a city.

    Args:
        city: The city, such as Tokyo or Paris, Texas
    """
    place = find_city(city)
    moment = context.now().astimezone(ZoneInfo(place.zone))
    offset = moment.strftime("%z")
    return {
        "summary": f"It is {moment:%H:%M} on {on_day(moment)} in {place.full_name}.",
        "city": place.full_name,
        "time": moment.strftime("%H:%M"),
        "date": moment.date().isoformat(),
        "weekday": moment.strftime("%A"),
        "time_zone": place.zone,
        "utc_offset": f"{offset[:3]}:{offset[3:5]}",
    }


def sun_times(context: ToolContext, city: CityName, date: DayText | None = None) -> dict[str, Any]:
    """Tell when the sun rises and sets in a city.

    Args:
        city: The city, such as Oslo
        date: The day: YYYY-MM-DD, today, tomorrow or a weekday; today if left out
    """
    place = find_city(city)
    zone = ZoneInfo(place.zone)
    day = read_day(date or "today", context.now().astimezone(zone).date())
    if not 1900 <= day.year <= 2100:
        raise ToolError(f"The sun's times are known for 1900 to 2100, not for {day.isoformat()}.")
    rise, set_ = _event("sunrise", place, day, zone), _event("sunset", place, day, zone)
    events = sorted((moment, verb) for moment, verb in ((rise, "rises"), (set_, "sets")) if moment)
    said = [f"{verb} at {_minute(moment)}" for moment, verb in events]
    never = "does not set" if not said and _noon_elevation(place, day, zone) > 0 else "does not rise"
    answer: dict[str, Any] = {
        "summary": f"In {place.full_name} the sun {' and '.join(said) or never} on {on_day(day)}.",
        "city": place.full_name,
        "date": day.isoformat(),
    }
    if rise:
        answer["sunrise"] = _minute(rise)
    if set_:
        answer["sunset"] = _minute(set_)
    if rise and set_ and rise < set_:
        hours, minutes = divmod(round((set_ - rise).total_seconds() / 60), 60)
        answer["day_length"] = f"{hours} h {minutes} min"
    if not rise and not set_:
        answer["note"] = f"The sun {never} on this day."
    return answer | {"time_zone": place.zone}


def _event(name: str, place: City, day: date, zone: tzinfo) -> datetime | None:
    """The sunrise or sunset that falls on the local day, or None where there is none.

    astral finds the event of a UTC day, which far from Greenwich may be the neighbour of the local day: look at all three.
    """
    from astral import Observer
    from astral.sun import sunrise, sunset

    find = {"sunrise": sunrise, "sunset": sunset}[name]
    for offset in (0, -1, 1):
        try:
            moment: datetime = find(Observer(place.latitude, place.longitude), day + timedelta(days=offset), tzinfo=zone)
        except (ValueError, OverflowError):
            continue
        if moment.date() == day:
            return moment
    return None


def _noon_elevation(place: City, day: date, zone: tzinfo) -> float:
    from astral import Observer
    from astral.sun import elevation, noon

    observer = Observer(place.latitude, place.longitude)
    return float(elevation(observer, noon(observer, day, tzinfo=zone)))


def _minute(moment: datetime) -> str:
    return (moment + timedelta(seconds=30)).strftime("%H:%M")
