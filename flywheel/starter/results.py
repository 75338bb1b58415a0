"""What the chat's own tools gave, put into the sentence that a person reads: rows that go on after a call.

tool_results.json holds questions with their calls and what the real tools made of them, frozen; the sentences take their values
from there and from the call, and add none. Knows the tools by their results' keys only, and runs none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flywheel.rows import Row, ToolSchema

TOOL_RESULTS = Path(__file__).with_name("tool_results.json")
DECLINED = "the person declined"
"""The error that stands for a call which its person did not agree to."""

# Tool, a key that its result must have, sentence: the first that fits is said.
_SENTENCES = (
    ("calculate", "result", "{asked[expression]} is {result}."),
    ("convert_units", "result", "{asked[value]} {asked[from_unit]} is {result} {asked[to_unit]}."),
    ("convert_currency", "result", "{amount} {from_currency} is {result} {to_currency} at the rate of {rate_date}."),
    ("local_time", "time", "In {city} it is {time} on {weekday}, {date}."),
    ("get_weather", "temperature_c", "In {city}: {weather}, {temperature_c} °C, wind {wind_km_per_h} km/h."),
    ("get_weather", "rain_mm", "In {city} on {date}: {weather}, {high_c} °C, rain {rain_mm} mm."),
    ("sun_times", "note", "In {city} on {date}: {note}"),
    ("sun_times", "sunrise", "In {city} on {date} the sun rises at {sunrise} and sets at {sunset}."),
    ("order_status", "expected", "Order {order_id} ({product}) is {status}, expected on {expected}."),
    ("order_status", "delivered", "Order {order_id} ({product}) is {status}; it arrived on {delivered}."),
    ("order_status", "status", "Order {order_id} ({product}) is {status}."),
    ("request_return", "status", "Order {order_id} ({product}) is {status}. Send it back by {send_back_by}."),
    ("add_reminder", "due", "Saved reminder {id}: {text}, due {due}."),
    ("add_reminder", "saved", "Saved reminder {id}: {text}."),
    ("delete_reminder", "deleted", "Deleted reminder {id}: {text}."),
)


def result_rows(tools: list[ToolSchema]) -> list[Row]:
    """A row for every frozen result; `tools`, in OpenAI shape, are offered by all of them."""
    return [Row(_conversation(case), tools) for case in json.loads(TOOL_RESULTS.read_text(encoding="utf-8"))]


def _conversation(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Question, call, result and sentence; the result as the chat writes it, in compact JSON."""
    call, found = case["call"], case["result"]
    return [
        {"role": "user", "content": case["question"]},
        {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]},
        {"role": "tool", "content": json.dumps(found, ensure_ascii=False, separators=(",", ":"))},
        {"role": "assistant", "content": sentence(call["name"], call["arguments"], found)},
    ]


def sentence(name: str, asked: dict[str, Any], found: dict[str, Any]) -> str:
    """What the chat should say after this call and result. Raises ValueError for a result of a shape that it does not know."""
    if "error" in found:
        return "All right, I did not do that." if found["error"] == DECLINED else f"Sorry, that did not work: {found['error']}"
    if "orders" in found:
        return _counted(found, "orders", [f"{one['order_id']} {one['product']} ({one['status']})" for one in found["orders"]])
    if "reminders" in found:
        return _counted(found, "reminders", [f"{one['id']} {one['text']}{_due(one)}" for one in found["reminders"]])
    if "next_holiday" in found:
        coming = found["next_holiday"]
        return f"The next public holiday in {found['country']} is {coming['name']} on {coming['weekday']}, {coming['date']}."
    if "holidays" in found:
        when = f"{found['month']} {found['year']}" if "month" in found else str(found["year"])
        days = [f"{day['name']} on {day['date']}" for day in found["holidays"]]
        if not days:
            return f"There are no public holidays in {found['country']} in {when}."
        return f"Public holidays in {found['country']} in {when}: {_joined(days)}."
    for tool, key, words in _SENTENCES:
        if tool == name and key in found:
            return words.format(asked=asked, **found)
    raise ValueError(f"no sentence for a result of {name!r} with {', '.join(found)}; add one to {Path(__file__).name}")


def _counted(found: dict[str, Any], what: str, parts: list[str]) -> str:
    if not parts:
        return f"You have no {what}." if what == "reminders" else f"I found no such {what}."
    return f"You have {found['count']} {what if found['count'] > 1 else what[:-1]}: {_joined(parts)}."


def _due(reminder: dict[str, Any]) -> str:
    return f" ({reminder['due']})" if "due" in reminder else ""


def _joined(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
