"""The tools that the chat offers its model. Each one really runs; most need no network.

`TOOLS` is the list, in the order in which people see it. Knows nothing of the chat, the model or the flywheel.
"""

from __future__ import annotations

from tools.arithmetic import calculate
from tools.clock import local_time, sun_times
from tools.currency import convert_currency, rates
from tools.holiday_calendar import public_holidays
from tools.places import cities
from tools.reminders import add_reminder, delete_reminder, list_reminders
from tools.shop import find_orders, order_status, request_return
from tools.tool import Tool, ToolArgumentError, ToolContext, ToolError, ToolResult
from tools.units import convert_units, units
from tools.weather import get_weather

__all__ = ["TOOLS", "Tool", "ToolArgumentError", "ToolContext", "ToolError", "ToolResult", "warm_up"]

TOOLS: dict[str, Tool] = {
    "calculate": Tool.of(
        calculate, title="Do sums, percentages, powers and roots", examples=("What is 15% of 80?", "Calculate 12 * (3 + 4)")
    ),
    "convert_units": Tool.of(
        convert_units,
        loads=units,
        title="Convert lengths, weights, temperatures and other units",
        examples=("Convert 10 km to miles", "How much is 72 fahrenheit in celsius?"),
    ),
    "convert_currency": Tool.of(
        convert_currency,
        loads=rates,
        title="Convert money at the European Central Bank's rates",
        examples=("Convert 100 euros to dollars", "How much is 50 GBP in JPY?"),
    ),
    "local_time": Tool.of(
        local_time,
        loads=cities,
        title="Tell the time in any city",
        examples=("What time is it in Tokyo?", "What time is it in Paris, Texas?"),
    ),
    "get_weather": Tool.of(
        get_weather,
        loads=cities,
        title="Look up the weather (needs a network connection)",
        examples=("What is the weather in Rome?", "Will it rain in Bergen tomorrow?"),
    ),
    "sun_times": Tool.of(
        sun_times,
        loads=cities,
        title="Tell when the sun rises and sets",
        examples=("When does the sun set in Oslo today?", "When is sunrise in Cape Town tomorrow?"),
    ),
    "public_holidays": Tool.of(
        public_holidays,
        title="List a country's public holidays",
        examples=("What is the next public holiday in France?", "List the public holidays of Japan in May"),
    ),
    "find_orders": Tool.of(
        find_orders, title="Find your orders in the shop", examples=("Which of my orders have shipped?", "Show my orders")
    ),
    "order_status": Tool.of(
        order_status, title="See where one of your orders is", examples=("Where is my order A1004?", "Has order A1006 been sent?")
    ),
    "request_return": Tool.of(
        request_return,
        writes=True,
        title="Send a delivered order back to the shop",
        examples=("I want to return order A1002, it does not fit", "Return order A1003, it is damaged"),
    ),
    "add_reminder": Tool.of(
        add_reminder,
        writes=True,
        title="Keep a reminder for you",
        examples=("Remind me to call Anna tomorrow at 15:30", "Add a reminder to buy milk"),
    ),
    "list_reminders": Tool.of(list_reminders, title="Show your reminders", examples=("What are my reminders?",)),
    "delete_reminder": Tool.of(
        delete_reminder, writes=True, title="Delete one of your reminders", examples=("Delete reminder 1", "Remove reminder 2")
    ),
}


def warm_up() -> None:
    """Load what the tools would otherwise load at first use, cities above all: some two seconds, for a background thread."""
    for tool in TOOLS.values():
        tool.load()
