"""The Review page in Chromium: the queue, trying and approving what would have been right, and what is not approved."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flywheel.database import now
from flywheel.ledger import Ledger
from flywheel.proposals import Proposal, Proposals
from flywheel.review import ReviewDesk
from flywheel.store import Store, Turn
from tests.chat_app.conftest import WebApp, start_web_app, stop_web_app
from tests.chat_app.page_material import Open, calling, told
from tests.fakes import NimReply, ScriptedNim
from tests.flywheel.feedback import saying

SUM = ("calculate", {"expression": "12 * 3"})


@pytest.fixture(scope="module")
def app(nim: ScriptedNim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """With a teacher, and no turn drawn by chance for a second reviewer."""
    urls = {"NEMO_URL": nim.url, "NDS_URL": nim.url, "NIM_URL": nim.url, "TEACHER_URL": f"{nim.url}/v1"}
    home = tmp_path_factory.mktemp("review") / "home"
    home.mkdir(mode=0o700)
    (home / "policy.toml").write_text("[review]\nsecond_share = 0.0\n", encoding="utf-8")
    running = start_web_app(home, TEACHER_MODEL="<b>teacher</b>", **urls)
    yield running
    stop_web_app(running)


def choose_tool(page: Page, number: int, name: str) -> None:
    page.locator(f"#tool-{number} input").fill(name)
    page.keyboard.press("Enter")


def learned(store: Store, turn: Turn) -> list[tuple[str, dict[str, Any]]]:
    """The calls of the example that came of a turn."""
    review = store.latest_review(turn.id)
    assert review is not None and review.verdict == "approved" and review.example_id is not None
    return [(call.name, call.arguments) for call in Ledger(store.database).example(review.example_id).row.calls]


def test_the_queue_and_its_end(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    told(store, "thanked question", saying("Yes."), thumb="up")
    told(store, "praised question", saying("Yes."), thumb="up")
    told(store, "broken question", calling(("calculate", {"expression": "1/0"})), call_status="failed")
    told(store, "blamed question", calling(SUM), saying("36"), thumb="down", reasons=("wrong_tool", "other"))
    page = open_page(f"{app.url}/review/")
    rows = page.locator("#queue label")
    expect(rows).to_have_text([re.compile(word) for word in ("blamed", "broken", "praised", "thanked")])
    expect(rows.first).to_contain_text("thumb down: wrong tool, other")
    expect(page.locator("#about")).to_contain_text("Thumb down: wrong tool, other — “not <b>this</b>”")
    form = page.locator("#field-0-expression textarea")
    for number, (button, value) in enumerate([("#reject", "12 * 3"), ("#skip", "1/0"), ("#reject", ""), ("#skip", "")]):
        expect(rows).to_have_count(4 - number)
        expect(rows.first.locator("input")).to_be_checked()
        expect(form).to_have_value(value)
        expect(form).to_be_visible(visible=number < 2)  # what was praised was right as it was
        page.locator(button).click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    expect(page.locator("#approve")).to_be_hidden()
    page.get_by_label("Show decided turns too").check()
    rows.filter(has_text="blamed").click()
    expect(page.locator("#about")).to_contain_text("Already rejected by local")


def test_another_tool_is_tried_and_approved(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    told(store, "the next one", saying("Yes."), thumb="up")
    turn = told(store, "How many miles is 10 km?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#field-0-expression textarea")).to_have_value("12 * 3")
    choose_tool(page, 0, "convert_units")
    page.locator("#field-0-from_unit textarea").fill("km")
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text("'value' is needed; fill it in")
    expect(page.locator("#difference")).to_contain_text("calculate → convert_units")
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
    expect(page.locator("#tool-1 input")).to_have_value("calculate")
    choose_tool(page, 1, "local_time")
    page.locator("#field-1-city textarea").fill("Oslo")
    page.locator("#add-call").click()
    expect(page.locator("#tool-2 input")).to_have_value("calculate")
    choose_tool(page, 2, "find_ord")  # the beginning of a name is enough
    expect(page.locator("#field-2-status")).to_be_hidden()
    page.get_by_label("status", exact=True).first.check()
    expect(page.locator("#field-2-status select")).to_be_focused()
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
    expect(page.locator("#field-0-text")).to_be_hidden()
    page.get_by_label("These tool calls").check()
    expect(page.locator("#field-0-text textarea")).to_have_value("buy milk")
    page.locator("#try").click()
    expect(page.locator("#outcome")).to_contain_text('"would": "save this reminder"')


def test_undo_similar_turns_and_causes(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    other = told(store, "Who broke it?", calling(SUM), saying("36"), thumb="down")
    quiet = told(store, "how many miles is 10 KM", calling(SUM), saying("36"))
    turn = told(store, "How many miles is 10 km?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    choose_tool(page, 0, "local_time")
    page.locator("#field-0-city textarea").fill("Oslo")
    expect(page.locator("#difference")).to_contain_text("Oslo")
    page.locator("#approve").click()
    expect(page.locator("#similar")).to_contain_text("how many miles is 10 KM")
    page.locator("#apply-similar").click()
    expect(page.locator("#said")).to_contain_text("Stored for 1 more turn.")
    assert learned(store, turn) == learned(store, quiet) == [("local_time", {"city": "Oslo"})]
    page.locator("#undo").click()
    expect(page.locator("#said")).to_contain_text("Taken back")
    expect(page.locator("#turn")).to_contain_text("10 KM")
    expect(page.locator("#field-0-city textarea")).to_have_value("Oslo")  # what was written is there again
    page.locator("#reject").click()
    expect(page.locator("#turn")).to_contain_text("Who broke it?")
    page.get_by_label("a tool", exact=True).check()
    page.locator("#approve").click()
    expect(page.locator("#said")).to_contain_text("nothing is learned from it")
    made = store.latest_review(other.id)
    assert made is not None and (made.cause, made.example_id) == ("tool", None)


def test_a_turn_that_another_reviewer_takes_keeps_the_draft(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "What time is it?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    choose_tool(page, 0, "local_time")
    page.locator("#field-0-city textarea").fill("Oslo")
    desk.claims.take(turn.id, "rita", datetime.now(UTC) + timedelta(minutes=11))  # after this one's claim has ended
    page.locator("#approve").click()
    expect(page.locator("#outcome")).to_contain_text("rita is reviewing this turn until")
    expect(page.locator("#about")).to_contain_text("Being reviewed by rita until")
    desk.reject(turn.id, "rita")
    page.locator("#approve").click()
    expect(page.locator("#outcome")).to_contain_text("rita has decided on this turn meanwhile (rejected)")
    expect(page.locator("#about")).to_contain_text("Already rejected by rita")
    expect(page.locator("#field-0-city textarea")).to_have_value("Oslo")
    page.locator("#approve").click()
    expect(page.locator("#about")).to_contain_text("The queue is empty.")
    assert learned(store, turn) == [("local_time", {"city": "Oslo"})]


def test_a_teacher_suggests_and_the_reviewer_decides(
    app: WebApp, open_page: Open, store: Store, desk: ReviewDesk, nim: ScriptedNim
) -> None:
    second = told(store, "How far is 2 km?", calling(SUM), saying("36"), thumb="down")
    first = told(store, "How far is 1 km?", calling(SUM), saying("36"), thumb="down")
    page = open_page(f"{app.url}/review/")
    page.locator("#suggest").click()
    expect(page.locator("#outcome")).to_contain_text("the teacher '<b>teacher</b>' did not answer")
    for turn, value, by in ((first, 1, "<b>teacher</b>"), (second, 2, "<b>teacher</b>, changed")):
        arguments = {"value": value, "from_unit": "km", "to_unit": "miles"}
        nim.enqueue(NimReply(calls=(("convert_units", json.dumps(arguments)),)))
        expect(page.locator("#turn")).to_contain_text(turn.question)
        page.locator("#suggest").click()
        expect(page.locator("#outcome")).to_contain_text("Suggested by <b>teacher</b>: check it.")
        expect(page.locator("#difference")).to_contain_text("calculate → convert_units")
        assert store.latest_review(turn.id) is None
        if "changed" in by:
            page.locator("#field-0-to_unit textarea").fill("feet")
            arguments["to_unit"] = "feet"
        page.locator("#approve").click()
        expect(page.locator("#said")).to_contain_text("Stored.")
        made = store.latest_review(turn.id)
        assert made is not None and made.suggested_by == by
        assert learned(store, turn) == [("convert_units", arguments)]


def test_a_proposal_from_elsewhere_is_a_draft(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    turn = told(store, "What time is it in Oslo?", calling(SUM), saying("36"))
    call = {"type": "function", "function": {"name": "local_time", "arguments": {"city": "Oslo"}}}
    response = {"role": "assistant", "content": "", "tool_calls": [call]}
    said = Proposal("one", turn.id, "intake:<b>kim</b>", response, "a <b>clock</b>", now())
    Proposals(store.database).add(said)
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#about")).to_contain_text("a <b>clock</b>")
    page.get_by_role("button", name="Use the correction that intake:<b>kim</b> proposed").click()
    expect(page.locator("#outcome")).to_contain_text("Suggested by intake:<b>kim</b>: check it.")
    expect(page.locator("#field-0-city textarea")).to_have_value("Oslo")
    assert store.latest_review(turn.id) is None
    page.locator("#approve").click()
    expect(page.locator("#said")).to_contain_text("Stored.")
    made = store.latest_review(turn.id)
    assert made is not None and made.suggested_by == "intake:<b>kim</b>"
    assert learned(store, turn) == [("local_time", {"city": "Oslo"})]


@pytest.mark.slow
def test_twenty_corrections_by_keyboard_alone(app: WebApp, open_page: Open, store: Store, desk: ReviewDesk) -> None:
    """What the reviewer waits for: from choosing a tool until its fields are there, from approving until the next turn is."""
    turns = [told(store, f"How far are {n} steps?", calling(SUM), saying("36"), thumb="down") for n in range(20)]
    page = open_page(f"{app.url}/review/")
    expect(page.locator("#tool-0 input")).to_have_value("calculate")
    keys, waited = page.keyboard, []
    page.locator("#turn").get_by_text("How far are 19 steps?").wait_for()
    page.wait_for_function("window.reviewForm")
    for n in reversed(range(20)):
        keys.press("w")
        keys.insert_text("convert_u")
        began = time.perf_counter()
        keys.press("Enter")
        page.locator("#in-0-value:focus").wait_for()
        seconds = time.perf_counter() - began
        for text in (str(n + 1), "km", "miles"):
            keys.insert_text(text)
            keys.press("Tab")
        began = time.perf_counter()
        keys.press("Control+Enter")
        awaited = f"How far are {n - 1} steps?" if n else "The queue is empty."
        page.locator("#turn" if n else "#about").get_by_text(awaited).wait_for()
        if n:
            page.locator("#in-tool-0[data-was=calculate]").wait_for()
        waited.append(seconds + time.perf_counter() - began)
    mean = sum(waited) / len(waited)
    middle, longest = sorted(waited)[10], max(waited)
    print(f"20 corrections by keyboard: {mean:.2f} s of waiting each (median {middle:.2f} s, longest {longest:.2f} s)")
    made = store.latest_review(turns[4].id)  # its example may wait for a second reviewer
    assert made is not None and made.response_override is not None
    assert made.response_override["tool_calls"][0]["function"]["arguments"] == {"value": 5, "from_unit": "km", "to_unit": "miles"}
    keys.press("u")
    expect(page.locator("#said")).to_contain_text("Taken back")
    keys.press("?")
    expect(page.locator("#keys")).to_be_visible()
    assert mean < 1, waited
