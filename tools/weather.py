"""get_weather: the weather now or on a day, from open-meteo.com.

The only tool that needs a network, and only this one host is ever asked: https, no redirects, few seconds, few bytes. Knows no
forecast of its own; where the service cannot be reached it says so.
"""

from __future__ import annotations

import json
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.clock import CityName, DayText
from tools.days import read_day
from tools.places import City, find_city
from tools.sentences import number, on_day
from tools.tool import ToolContext, ToolError

if TYPE_CHECKING:
    import httpx

HOSTS = frozenset({"api.open-meteo.com"})
URL = "https://api.open-meteo.com/v1/forecast"
SECONDS = 4.0  # below the tool's own limit, so that a slow service is named as the cause
MAX_BYTES = 256 * 1024
DAYS_BACK, DAYS_AHEAD = 90, 15
_UNREACHABLE = "The weather service cannot be reached without a network connection. Try again when you are online."
_UNREADABLE = "The weather service gave an answer that I cannot read. Try again later."

_SKY = {
    0: "clear sky", 1: "mainly clear", 2: "partly cloudy", 3: "overcast", 45: "fog", 48: "freezing fog", 51: "light drizzle",
    53: "drizzle", 55: "heavy drizzle", 56: "light freezing drizzle", 57: "freezing drizzle", 61: "light rain", 63: "rain",
    65: "heavy rain", 66: "light freezing rain", 67: "freezing rain", 71: "light snow", 73: "snow", 75: "heavy snow",
    77: "snow grains", 80: "light showers", 81: "showers", 82: "violent showers", 85: "light snow showers", 86: "snow showers",
    95: "thunderstorm", 96: "thunderstorm with hail", 99: "thunderstorm with heavy hail",
}  # fmt: skip


class _Answer(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)


AnswerT = TypeVar("AnswerT", bound=_Answer)


class _Current(_Answer):
    time: Annotated[str, Field(pattern=r"^[0-9T:-]{10,16}$")]
    weather_code: int
    temperature_2m: float
    relative_humidity_2m: float
    wind_speed_10m: float


class _Daily(_Answer):
    time: Annotated[list[date], Field(min_length=1)]
    weather_code: Annotated[list[int | None], Field(min_length=1)]
    temperature_2m_max: Annotated[list[float | None], Field(min_length=1)]
    temperature_2m_min: Annotated[list[float | None], Field(min_length=1)]
    precipitation_sum: Annotated[list[float | None], Field(min_length=1)]


def get_weather(context: ToolContext, city: CityName, date: DayText | None = None) -> dict[str, Any]:
    """Get the weather in a city, now or on a day.

    Args:
        city: The city, such as Rome
        date: The day: YYYY-MM-DD, today, tomorrow or a weekday; now if left out
    """
    place = find_city(city)
    if date is None or date.strip().lower() == "now":
        return _now(place, context.transport)
    today = context.now().astimezone(ZoneInfo(place.zone)).date()
    day = read_day(date, today)
    if not today - timedelta(days=DAYS_BACK) <= day <= today + timedelta(days=DAYS_AHEAD):
        raise ToolError(f"There is weather from {DAYS_BACK} days back to {DAYS_AHEAD} days ahead, not for {day.isoformat()}.")
    return _on(place, day, context.transport)


def _now(place: City, transport: httpx.BaseTransport | None) -> dict[str, Any]:
    body = _ask(place, {"current": ",".join(name for name in _Current.model_fields if name != "time")}, transport)
    current = _read(_Current, body.get("current"))
    sky, heat = _SKY.get(current.weather_code, "unknown"), _degrees("temperature", current.temperature_2m)
    humidity, wind = round(current.relative_humidity_2m), round(current.wind_speed_10m)
    degrees = f"{heat['temperature_c']} °C ({heat['temperature_f']} °F)"
    return {
        "summary": _sentence(place, degrees, "now", sky, f"humidity {humidity}%", f"wind {wind} km/h"),
        "city": place.full_name,
        "weather": sky,
        **heat,
        "humidity_percent": humidity,
        "wind_km_per_h": wind,
        "time": current.time.replace("T", " "),
        "source": "open-meteo.com",
    }


def _on(place: City, day: date, transport: httpx.BaseTransport | None) -> dict[str, Any]:
    wanted = ",".join(name for name in _Daily.model_fields if name != "time")
    body = _ask(place, {"daily": wanted, "start_date": day.isoformat(), "end_date": day.isoformat()}, transport)
    daily = _read(_Daily, body.get("daily"))
    code, high, low = daily.weather_code[0], daily.temperature_2m_max[0], daily.temperature_2m_min[0]
    if daily.time[0] != day or code is None or high is None or low is None:
        raise ToolError(f"The weather service has no data for {place.name} on {day.isoformat()}.")
    sky, heat = _SKY.get(code, "unknown"), _degrees("high", high) | _degrees("low", low)
    rain = {} if daily.precipitation_sum[0] is None else {"rain_mm": round(daily.precipitation_sum[0], 1)}
    degrees = f"{heat['low_c']} to {heat['high_c']} °C ({heat['low_f']} to {heat['high_f']} °F)"
    wet = [f"{number(amount)} mm of rain" if amount else "no rain" for amount in rain.values()]
    return {
        "summary": _sentence(place, degrees, f"on {on_day(day)}", sky, *wet),
        "city": place.full_name,
        "date": day.isoformat(),
        "weather": sky,
        **heat,
        **rain,
        "source": "open-meteo.com",
    }


def _degrees(name: str, celsius: float) -> dict[str, int]:
    return {f"{name}_c": round(celsius), f"{name}_f": round(celsius * 9 / 5 + 32)}


def _sentence(place: City, degrees: str, when: str, *details: str) -> str:
    known = ", ".join(detail for detail in details if detail != "unknown")
    return f"In {place.full_name} it is {degrees} {when}{f': {known}' if known else ''}."


def _read(model: type[AnswerT], body: object) -> AnswerT:
    try:
        return model.model_validate(body)
    except ValidationError:
        raise ToolError(_UNREADABLE) from None


def _ask(place: City, query: dict[str, str], transport: httpx.BaseTransport | None) -> dict[str, Any]:
    """The service's answer about a place as a JSON object. Raises ToolError for every way in which there is none."""
    import httpx

    query |= {"latitude": f"{place.latitude:.4f}", "longitude": f"{place.longitude:.4f}", "timezone": place.zone}
    url = httpx.URL(URL, params=query)
    if url.scheme != "https" or url.host not in HOSTS:
        raise ToolError(f"The weather tool may not ask {url.host!r}.")
    try:
        with (
            httpx.Client(transport=transport, timeout=SECONDS, follow_redirects=False) as client,
            client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
        ):
            text = _body(response)
    except httpx.TimeoutException:
        raise ToolError("The weather service did not answer in time. Try again in a moment.") from None
    except httpx.ConnectError:
        raise ToolError(_UNREACHABLE) from None
    except httpx.HTTPError:
        raise ToolError("The connection to the weather service broke off. Try again in a moment.") from None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise ToolError(_UNREADABLE) from None
    if not isinstance(body, dict):
        raise ToolError(_UNREADABLE)
    return body


def _body(response: httpx.Response) -> bytes:
    """The body, within the limits of size and of time in total (httpx limits only each wait)."""
    if response.status_code == 429:
        raise ToolError("The weather service has been asked too often. Try again in a minute.")
    if response.status_code != 200:
        raise ToolError(f"The weather service answered with status {response.status_code}. Try again later.")
    end = time.monotonic() + SECONDS
    body = b""
    for part in response.iter_raw():
        body += part
        if len(body) > MAX_BYTES:
            raise ToolError(_UNREADABLE)
        if time.monotonic() > end:
            raise ToolError("The weather service did not answer in time. Try again in a moment.")
    return body
