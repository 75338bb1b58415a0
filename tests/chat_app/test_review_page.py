"""The Review page in Chromium: the queue, trying and approving what would have been right, and what is not approved."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from flywheel.ledger import Ledger
from flywheel.review import ReviewDesk
from flywheel.store import Store, Turn
from tests.chat_app.conftest import WebApp
from tests.chat_app.page_material import Open, calling, told
from tests.flywheel.feedback import saying

SUM = ("calculate", {"expression": "12 * 3"})


def choose_tool(page: Page, number: int, name: str) -> None:
    page.locator(f"#tool-{number} input").click()
    page.get_by_role("option", name=name, exact=True).click()


def write_json(page: Page, text: str) -> None:
    page.locator("#raw .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)
    expect(page.locator("#raw .cm-content")).to_contain_text(text[:20])
    page.locator("#use-raw").click()


def learned(store: Store, turn: Turn) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the example that came of a turn."""
    review = store.latest_review(turn.id)
    assert review is not None and review.verdict == "approved" and review.example_id is not None
    return [(call.name, call.arguments) for call in Ledger(store.database).example(review.example_id).row.calls]


def test_the_queue_and_its_end(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    told(store, "unrated question", saying("Yes."))
    told(store, "praised question", saying("Yes."), thumb="up")
    told(store, "broken question", calling(("calculate", {"expression": "1/0"})), call_status="failed")
    told(store, "blamed question", calling(SUM), saying("36"), thumb="down", reasons=("wrong_tool", "other"))
    page = open_page(f"{app.url}/review/")
    rows = page.locator("#queue label")
    expect(rows).to_have_text([re.compile(word) for word in ("blamed", "broken", "praised", "unrated")])
    expect(rows.first).to_contain_text("thumb down: wrong tool, other")
    expect(page.locator("#about")).to_contain_text("Thumb down: wrong tool, other — “not <b>this</b>”")
    form = page.locator("#field-0-expression textarea")
    for number, (button, values) in enumerate([("#reject", ["12 * 3"]), ("#skip", ["1/0"]), ("#reject", []), ("#skip", [""])]):
        expect(rows).to_have_count(4 - number)
        expect(rows.first.locator("input")).to_be_checked()
        expect(form).to_have_count(len(values))
        for value in values:
            expect(form).to_have_value(value)
        page.locator(button).click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    expect(page.locator("#approve")).to_be_hidden()
    page.get_by_label("Show decided turns too").check()
    rows.filter(has_text="blamed").click()
    expect(page.locator("#about")).to_contain_text("Already rejected by local")


def test_another_tool_is_tried_and_approved(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    told(store, "the next one", saying("Yes."))
    turn = told(store, "How many miles is 10 km?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#field-0-expression textarea")).to_have_value("12 * 3")
    choose_tool(page, 0, "convert_units")
    page.locator("#field-0-from_unit textarea").fill("km")
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text("'value' is needed; fill it in")
    page.locator("#field-0-value input").fill("10")
    page.locator("#field-0-to_unit textarea").fill("miles")
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text("6.21")
    page.locator("#approve").click()
    expect(page.get_by_text("Stored. It will train the next model.")).to_be_visible()
    expect(page.locator("#turn")).to_contain_text("the next one")
    assert learned(store, turn) == [("convert_units", {"value": 10, "from_unit": "km", "to_unit": "miles"})]


def test_several_calls(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "Sums, and a clock", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    page.locator("#field-0-expression textarea").fill("2 + 2")
    page.locator("#add-call").click()
    choose_tool(page, 1, "local_time")
    page.locator("#field-1-city textarea").fill("Oslo")
    page.locator("#add-call").click()
    page.locator("#tool-2 input").fill("find_orders")  # by keyboard
    page.keyboard.press("Enter")
    expect(page.locator("#field-2-status")).to_be_visible()
    expect(page.locator("#field-0-expression textarea")).to_have_value("2 + 2")  # what was typed is still there
    expect(page.locator("#field-1-city textarea")).to_have_value("Oslo")
    page.get_by_role("button", name="Remove this call").last.click()
    expect(page.locator("#tool-2")).to_have_count(0)
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text('"result": 4')
    expect(page.locator("#outcome")).to_contain_text("local_time returned")
    page.locator("#approve").click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    assert learned(store, turn) == [("calculate", {"expression": "2 + 2"}), ("local_time", {"city": "Oslo"})]


def test_calls_as_json(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "What time is it?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    page.get_by_role("button", name="As JSON").click()
    write_json(page, '[{"name": "local_time", "arguments": {"city": "Oslo"')
    expect(page.get_by_test_id("toast-body")).to_contain_text("this is not JSON")
    page.get_by_test_id("toast-close").click()
    write_json(page, '[{"name": "<img src=x>", "arguments": {}}]')
    expect(page.get_by_test_id("toast-body")).to_contain_text("the model saw no tool '<img src=x>'")
    write_json(page, '[{"name": "local_time", "arguments": {"city": "Oslo"}}]')
    expect(page.locator("#field-0-city textarea")).to_have_value("Oslo")
    page.locator("#approve").click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    assert learned(store, turn) == [("local_time", {"city": "Oslo"})]


def test_words_instead_of_a_call(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "Good morning", calling(SUM), saying(""), thumb="down", reasons=("unneeded_call",))
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#field-0-expression")).to_be_visible()
    page.get_by_label("No tool: these words").check()
    page.locator("#answer-text textarea").fill(" ")
    page.locator("#approve").click()
    expect(page.locator("#outcome")).to_contain_text("write the words that would have been right")
    page.locator("#answer-text textarea").fill("Good morning to you.")
    page.locator("#approve").click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    review = store.latest_review(turn.id)
    assert review is not None and review.response_override == {"role": "assistant", "content": "Good morning to you."}


def test_a_call_that_fails_is_approved_only_on_purpose(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "One by zero?", calling(("calculate", {"expression": "1/0"})), saying("?"), thumb="up")
    page = open_page(f"{app.url}/review/")
    expect(page.get_by_label("The model was right")).to_be_checked()  # as it was praised
    page.locator("#approve").click()
    expect(page.locator("#outcome")).to_contain_text("divides by zero")
    expect(page.locator("#outcome")).to_contain_text("Press Approve again")
    assert store.latest_review(turn.id) is None
    page.locator("#approve").click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    assert learned(store, turn) == [("calculate", {"expression": "1/0"})]


def test_trying_a_call_that_writes_writes_nothing(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    told(store, "Note it", calling(("add_reminder", {"text": "buy milk"})), saying("Noted."), thumb="up")
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#field-0-text")).to_have_count(0)
    page.get_by_label("These tool calls").check()
    expect(page.locator("#field-0-text textarea")).to_have_value("buy milk")
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text('"would": "save this reminder"')
