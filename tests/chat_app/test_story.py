"""The whole loop as three people live it, on real parts: ask, rate, correct, import, train, promoted, ask again.

Real browser, real web app, real local platform: the adapter is trained while the test watches.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from flywheel.store import Store
from tests.chat_app.conftest import WebApp
from tests.conftest import fix_sides
from tools import TOOLS

QUESTION = "How many miles is 10 klicks?"
"""A klick is a kilometre to some people, and to no model that was not told."""
UNITS = {"klicks": "km", "miles": "miles", "feet": "feet", "metres": "metres", "yards": "yards"}
"""How people say a unit, and what the tool calls it."""
CITIES = "Tokyo Paris Oslo Lima Cairo Rome Madrid Berlin Vienna Athens Dublin Lisbon Prague Sydney Toronto Boston".split()
WAYS = ("How many {b} is {v} {a}?", "how many {b} are {v} {a}", "Convert {v} {a} to {b}", "{v} {a} in {b}")


def example(question: str, name: str, arguments: dict[str, object]) -> str:
    """One row of OpenAI messages, offering what the chat offers."""
    call = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return json.dumps({"messages": messages, "tools": [tool.schema for tool in TOOLS.values()]})


def examples(count: int) -> list[str]:
    """Questions with klicks in them, and some about the time, none of them the one of the story."""
    chance, rows = random.Random(7), {}
    while len(rows) < count:
        a, b = chance.choice([("klicks", chance.choice(list(UNITS)[1:])), (chance.choice(list(UNITS)[1:]), "klicks")])
        value = chance.choice([chance.randint(2, 99), round(chance.uniform(1, 90), 1)])
        question = chance.choice(WAYS).format(v=value, a=a, b=b)
        if question != QUESTION:
            arguments = {"value": value, "from_unit": UNITS[a], "to_unit": UNITS[b]}
            rows[question] = example(question, "convert_units", arguments)
    for city in CITIES:
        rows[f"What time is it in {city}?"] = example(f"What time is it in {city}?", "local_time", {"city": city})
    return list(rows.values())


def ask(page: Page, question: str) -> None:
    """Ask and wait for the end of the answer."""
    page.locator("#box textarea").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("#chatbot").get_by_text(question).last).to_be_visible()
    expect(page.locator("#box .stop-button")).to_have_count(0)
    expect(page.locator("#box .submit-button")).to_be_visible()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_correction_becomes_the_next_model(web_app: WebApp, open_page: Callable[..., Page], tmp_path: Path) -> None:
    store = Store(web_app.home / "flywheel.db")
    fix_sides(store.database)
    store.close()

    # somebody asks, and the tool does not know the unit
    chat = open_page(f"{web_app.url}/chat/")
    ask(chat, QUESTION)
    expect(chat.locator("#chatbot")).not_to_contain_text("6.21")
    chat.get_by_role("button", name="Dislike", exact=True).click()
    chat.get_by_label("wrong arguments").check()
    chat.get_by_label("Comment").fill("a klick is a kilometre")
    chat.locator("#why-send").click()
    expect(chat.get_by_text("A reviewer will see it")).to_be_visible()
    chat.reload()
    expect(chat.get_by_role("button", name="Disliked")).to_be_visible()

    # a reviewer corrects the call in a form, tries it and approves it
    review = open_page(f"{web_app.url}/review/")
    expect(review.locator("#about")).to_contain_text("wrong arguments")
    expect(review.locator("#about")).to_contain_text("a klick is a kilometre")
    expect(review.locator("#tool-0 input")).to_have_value("convert_units")
    expect(review.locator("#field-0-value input")).to_have_value("10")
    expect(review.locator("#field-0-to_unit textarea")).to_have_value("miles")
    review.locator("#field-0-from_unit textarea").fill("km")
    review.locator("#try").click()
    expect(review.locator("#outcome")).to_contain_text("6.21")
    review.locator("#approve").click()
    expect(review.get_by_text("It will train the next model")).to_be_visible()

    # a developer imports further examples, one of them broken, and turns the wheel
    file = tmp_path / "units.jsonl"
    file.write_text("\n".join([*examples(74), '{"messages": "nonsense"}']) + "\n", encoding="utf-8")
    wheel = open_page(f"{web_app.url}/wheel/")
    wheel.get_by_role("button", name="Import examples").click()
    wheel.locator("#import-file input[type=file]").set_input_files(file)
    expect(wheel.locator("#import-report")).to_contain_text("90 examples imported")
    expect(wheel.locator("#import-report")).to_contain_text("line 91")
    wheel.locator("#train").click()
    for stage in ("Curate", "Upload", "Train", "Evaluate", "Gate", "Promote"):
        expect(wheel.get_by_label(f"{stage}: done")).to_be_visible(timeout=600_000)
    expect(wheel.locator("#headline")).to_contain_text("promoted")
    expect(wheel.locator("#verdict")).to_contain_text("Gate: pass")
    expect(wheel.locator("#scores")).to_contain_text("candidate")
    expect(wheel.locator("#served")).to_contain_text("flywheel/tool-llama-5m-run-")

    # the same question is answered right, and the person reads that their correction is live
    again = open_page(f"{web_app.url}/chat/")
    expect(again.locator(".notice")).to_contain_text("Your correction from today is live")
    expect(again.locator("#served")).to_contain_text("flywheel/tool-llama-5m-run-")
    ask(again, QUESTION)
    expect(again.locator("#chatbot")).to_contain_text("convert_units")
    expect(again.locator("#chatbot")).to_contain_text("6.21")
