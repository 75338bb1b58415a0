"""TOOLS: what the model and the person are told about the tools."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tools import TOOLS, Tool, ToolContext

pytest_plugins = ("tool_fixtures",)

EVERY = pytest.mark.parametrize("tool", TOOLS.values(), ids=str)


def test_the_tools_and_their_order() -> None:
    assert list(TOOLS) == [
        "calculate", "convert_units", "convert_currency", "local_time", "get_weather", "sun_times", "public_holidays",
        "find_orders", "order_status", "request_return", "add_reminder", "list_reminders", "delete_reminder",
    ]  # fmt: skip
    assert [name for name, tool in TOOLS.items() if tool.name != name] == []
    assert {name for name, tool in TOOLS.items() if tool.writes} == {"request_return", "add_reminder", "delete_reminder"}


def test_a_model_reads_short_signatures() -> None:
    """As the base model's chat template renders them: the snapshot that a change of any tool must change."""
    kinds = {"string": "str", "integer": "int", "number": "num"}
    lines = []
    for tool in TOOLS.values():
        parts = [
            f"{name}{'' if name in tool.parameters['required'] else '?'}:{'|'.join(part.get('enum', [])) or kinds[part['type']]}"
            for name, part in tool.parameters["properties"].items()
        ]
        lines.append(f"{tool.name}({','.join(parts)}) {tool.description}")
    assert lines == [
        "calculate(expression:str) Work out an arithmetic expression.",
        "convert_units(value:num,from_unit:str,to_unit:str) Convert a value from one unit to another.",
        "convert_currency(amount:num,from_currency:str,to_currency:str) Convert an amount of money to another currency.",
        "local_time(city:str) Tell the current time and date in a city.",
        "get_weather(city:str,date?:str) Get the weather in a city, now or on a day.",
        "sun_times(city:str,date?:str) Tell when the sun rises and sets in a city.",
        "public_holidays(country:str,year?:int,month?:str) List the public holidays of a country.",
        "find_orders(status?:processing|shipped|delivered|cancelled|returning,product?:str) List your shop orders.",
        "order_status(order_id:str) Tell where an order is.",
        "request_return(order_id:str,reason:damaged|wrong_item|does_not_fit|not_needed|other) Send an order back to the shop.",
        "add_reminder(text:str,date?:str,time?:str) Save a reminder.",
        "list_reminders() List your reminders.",
        "delete_reminder(reminder_id:int) Delete a reminder.",
    ]


@EVERY
def test_schemas_are_valid_closed_and_flat(tool: Tool) -> None:
    schema = tool.schema["function"]["parameters"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert json.loads(json.dumps(tool.schema)) == tool.schema
    for name, part in schema["properties"].items():
        assert part["type"] in ("string", "integer", "number", "boolean"), name
        assert 5 < len(part["description"]) < 90, name
        assert not {"anyOf", "title", "$ref"} & set(part), name


SUCCEEDS: dict[str, dict[str, Any]] = {
    "calculate": {"expression": "15% of 80"},
    "convert_units": {"value": 10, "from_unit": "km", "to_unit": "miles"},
    "convert_currency": {"amount": 100, "from_currency": "EUR", "to_currency": "USD"},
    "local_time": {"city": "Tokyo"},
    "get_weather": {"city": "Rome"},
    "sun_times": {"city": "Oslo"},
    "public_holidays": {"country": "France", "month": "next"},
    "find_orders": {},
    "order_status": {"order_id": "A1004"},
    "request_return": {"order_id": "A1002", "reason": "damaged"},
    "add_reminder": {"text": "buy milk"},
    "list_reminders": {},
    "delete_reminder": {"reminder_id": 1},
}


@EVERY
@pytest.mark.parametrize("dry_run", [False, True])
def test_every_success_has_a_summary_for_people(
    tool: Tool, dry_run: bool, ask: Callable[..., dict[str, Any]], context: ToolContext
) -> None:
    ask("add_reminder", text="to be deleted")
    answer = ask(tool.name, dataclasses.replace(context, dry_run=dry_run), **SUCCEEDS[tool.name])
    assert next(iter(answer)) == "summary"
    assert answer["summary"].startswith("This would ") == (tool.writes and dry_run)
    assert answer["summary"].endswith(".") and "\n" not in answer["summary"] and 10 < len(answer["summary"]) < 400


@EVERY
def test_people_read_a_title_and_examples(tool: Tool) -> None:
    assert 10 < len(tool.title) < 70
    assert len(tool.description) < 60
    assert 1 <= len(tool.examples) <= 2
    assert all(5 < len(example) < 80 for example in tool.examples)


def test_no_two_tools_offer_the_same_example() -> None:
    examples = [example for tool in TOOLS.values() for example in tool.examples]
    assert len(set(examples)) == len(examples)


def test_importing_the_tools_is_quick_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, time; start = time.process_time(); import tools; spent = time.process_time() - start;"
        "heavy = {'pint', 'holidays', 'astral', 'currency_converter', 'reverse_geocode', 'scipy', 'numpy', 'httpx', 'pandas'};"
        "print(spent, sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True).stdout
    seconds, loaded = out.split(" ", 1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 0.5
