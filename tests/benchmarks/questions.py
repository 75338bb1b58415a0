"""Questions to the shipped tools, with the calls that answer them: the same ones at every run, made here from a few phrases.

Knows the tools' arguments. Does not say how good a model is: these rows measure time and memory only.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from tools import TOOLS

CITIES = ("Oslo", "Rome", "Tokyo", "Cape Town", "Lima", "Bergen", "Paris", "Quito", "Vienna", "Nairobi", "Porto")
UNITS = (("km", "miles"), ("kg", "pounds"), ("celsius", "fahrenheit"), ("liters", "gallons"), ("hours", "minutes"))
CURRENCIES = (("EUR", "USD"), ("GBP", "JPY"), ("dollars", "euros"), ("CHF", "SEK"), ("pounds", "yen"), ("NOK", "EUR"))
COUNTRIES = ("France", "Japan", "Norway", "Brazil", "Canada", "Spain", "Kenya")
CHORES = ("call Anna", "buy milk", "water the plants", "pay the rent", "book a dentist", "feed the cat", "send the report")

Turn = tuple[str, str, dict[str, Any]]
"""The question, the tool's name ("" where words are the answer), the call's arguments."""


def schemas() -> list[dict[str, Any]]:
    """The shipped tools, as the chat offers them."""
    return [tool.schema for tool in TOOLS.values()]


def rows(count: int) -> list[dict[str, Any]]:
    """Training rows {"messages", "tools"}: all tools on offer, a question, its call; every ninth answer is plain words."""
    offered = schemas()
    return [{"messages": _messages(turn), "tools": offered} for turn in islice(turns(), count)]


def turns() -> Iterator[Turn]:
    """Questions without end, the tools in turn. The lists are of different lengths, so that values meet in ever new pairs."""
    cities, units, currencies = cycle(CITIES), cycle(UNITS), cycle(CURRENCIES)
    countries, chores = cycle(COUNTRIES), cycle(CHORES)
    number = 7
    while True:
        number = number * 37 % 997
        city, (unit, wanted), (money, other) = next(cities), next(units), next(currencies)
        chore, order = next(chores), f"A{1000 + number}"
        yield f"Convert {number} {unit} to {wanted}", "convert_units", {"value": number, "from_unit": unit, "to_unit": wanted}
        yield f"What time is it in {city}?", "local_time", {"city": city}
        amounts = {"amount": number, "from_currency": money, "to_currency": other}
        yield f"How much is {number} {money} in {other}?", "convert_currency", amounts
        yield f"Remind me to {chore} tomorrow", "add_reminder", {"text": chore, "date": "tomorrow"}
        yield f"What is {number}% of 80?", "calculate", {"expression": f"{number}% of 80"}
        yield f"When does the sun set in {city}?", "sun_times", {"city": city}
        yield f"Where is my order {order}?", "order_status", {"order_id": order}
        country = next(countries)
        yield f"What is the next public holiday in {country}?", "public_holidays", {"country": country}
        yield f"Hello, I am {number} years old and come from {country}", "", {}


def _messages(turn: Turn) -> list[dict[str, Any]]:
    question, name, arguments = turn
    asked = {"role": "user", "content": question}
    if not name:
        return [asked, {"role": "assistant", "content": "Hello! What can I do for you?"}]
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return [asked, {"role": "assistant", "content": "", "tool_calls": [call]}]
