"""The three pages in Chromium: what people do on them, and what they read when it cannot be done.

One app speaks to a model server that says what it was told to; a second one has the real local platform.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.promote import Model, Registry
from flywheel.review import ReviewDesk
from flywheel.store import Store, Turn
from tests.chat_app.conftest import WebApp, ask, start_web_app, stop_web_app
from tests.fakes import NimReply, ScriptedNim
from tests.flywheel.feedback import finished_turn, saying
from tools import TOOLS

SUM = ("calculate", {"expression": "12 * 3"})
REMIND = NimReply(calls=(("add_reminder", '{"text": "call Anna", "time": "9:00"}'),))
SCHEMAS = [tool.schema for tool in TOOLS.values()]
Open = Callable[..., Page]
FAULTS = Path(__file__).with_name("faults.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def nim() -> Iterator[ScriptedNim]:
    with ScriptedNim() as running:
        yield running


@pytest.fixture(scope="module")
def app(nim: ScriptedNim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The app, with a model server that says what it was told to."""
    urls = {"NEMO_URL": nim.url, "NDS_URL": nim.url, "NIM_URL": nim.url}
    running = start_web_app(tmp_path_factory.mktemp("pages") / "home", **urls)
    yield running
    stop_web_app(running)


@pytest.fixture
def store(app: WebApp) -> Iterator[Store]:
    """The app's own store, from outside."""
    with closing(Store(app.home / "flywheel.db")) as opened:
        yield opened


@pytest.fixture
def chat(app: WebApp, open_page: Open) -> Page:
    """The Chat page with a new conversation."""
    page = open_page(f"{app.url}/chat/")
    expect(page.locator("#box textarea")).to_be_enabled()
    page.locator("#new").dispatch_event("click")  # it stands in the sidebar, which is closed
    expect(page.get_by_text("Ask me something I have a tool for.")).to_be_visible()
    return page


def thumb(page: Page, name: str) -> Locator:
    return page.locator("#chatbot").get_by_role("button", name=name, exact=True)


def rest(page: Page) -> None:
    """Wait until the page takes the next question."""
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Send", exact=True).last).to_be_visible()


# Chat ----------------------------------------------------------------------------------------------------------------


def test_an_answer_with_a_card_for_its_call(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(NimReply(calls=(("calculate", '{"expression": "12 * 3"}'),)), "It is **36**.")
    ask(chat, "What is twelve times three?")
    card = chat.locator("#chatbot").get_by_role("button", name=re.compile("calculate · done"))
    expect(card).to_contain_text(re.compile(r"\(\d+(\.\d+)?m?s\)"))
    card.click()
    expect(chat.locator("#chatbot")).to_contain_text('"expression": "12 * 3"')
    expect(chat.locator("#chatbot")).to_contain_text('"result": 36')
    expect(chat.locator("#chatbot strong", has_text="36")).to_be_visible()
    expect(chat.locator("#served")).to_have_text("meta/llama-3.2-1b-instruct")


def test_an_example_is_asked_by_a_click(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue("Twelve.")
    chat.get_by_role("button", name="Select example 1").click()
    expect(chat.locator("#chatbot")).to_contain_text("Twelve.")
    expect(chat.locator("#chatbot")).to_contain_text(TOOLS["calculate"].examples[0])
    rest(chat)


def test_stop_keeps_what_was_said(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(NimReply("The first sentence. The second sentence. And a thi", ending="hang"), "Fine.")
    chat.locator("#box textarea").fill("Tell me a story")
    chat.keyboard.press("Enter")
    expect(chat.locator("#chatbot")).to_contain_text("The first sentence.")
    chat.get_by_role("button", name="Stop", exact=True).click()
    expect(chat.locator("#chatbot")).to_contain_text("Stopped.")
    expect(chat.locator("#chatbot")).to_contain_text("The first sentence.")
    rest(chat)
    chat.reload()
    expect(chat.locator("#chatbot")).to_contain_text("Stopped.")
    ask(chat, "And now?")
    expect(chat.locator("#chatbot")).to_contain_text("Fine.")


def test_a_thumb_down_with_its_reasons_lasts_until_it_is_withdrawn(chat: Page, nim: ScriptedNim, store: Store) -> None:
    nim.enqueue("One answer.", "Another answer.")
    ask(chat, "First?")
    ask(chat, "Second?")
    thumb(chat, "Dislike").first.click()
    chat.get_by_label("bad answer").check()
    chat.get_by_label("Comment").fill("It should be two.")
    chat.locator("#why-send").click()
    expect(chat.get_by_text("A reviewer will see it")).to_be_visible()
    expect(chat.get_by_text("What was wrong?")).to_be_hidden()
    conversation = store.conversations("local")[0].id
    turns = store.turns(conversation)
    rating = store.ratings(conversation, "local")[turns[0].id]
    assert (rating.thumb, rating.categories, rating.opinion) == ("down", ["bad_answer"], "It should be two.")

    chat.reload()
    expect(thumb(chat, "Disliked")).to_have_count(1)
    expect(thumb(chat, "Dislike")).to_have_count(1)
    thumb(chat, "Disliked").click()  # the same thumb again takes it back
    expect(chat.get_by_text("Your rating is withdrawn.")).to_be_visible()
    thumb(chat, "Dislike").last.click()
    chat.locator("#why-withdraw").click()
    expect(chat.get_by_text("What was wrong?")).to_be_hidden()
    expect(thumb(chat, "Disliked")).to_have_count(0)
    chat.reload()
    expect(thumb(chat, "Dislike")).to_have_count(2)
    assert store.ratings(conversation, "local") == {}


def test_a_thumb_up(chat: Page, nim: ScriptedNim, store: Store) -> None:
    nim.enqueue("Good.")
    ask(chat, "How?")
    thumb(chat, "Like").click()
    expect(chat.get_by_text("Thank you, noted.")).to_be_visible()
    chat.reload()
    expect(thumb(chat, "Liked")).to_have_count(1)
    conversation = store.conversations("local")[0].id
    assert [rating.thumb for rating in store.ratings(conversation, "local").values()] == ["up"]


def test_an_old_conversation_is_taken_up_again(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue("Blue.", "Seven.", "Still blue.")
    ask(chat, "The colour of the sky, please")
    chat.get_by_role("button", name="Toggle Sidebar").click()
    chat.locator("#new").click()
    expect(chat.locator("#chatbot")).not_to_contain_text("Blue.")
    ask(chat, "The number of dwarves, please")
    expect(chat.locator("#chatbot")).to_contain_text("Seven.")
    chat.get_by_label("The colour of the sky, please").check()
    expect(chat.locator("#chatbot")).to_contain_text("Blue.")
    expect(chat.locator("#chatbot")).not_to_contain_text("Seven.")
    ask(chat, "Sure?")
    expect(chat.locator("#chatbot")).to_contain_text("Still blue.")
    assert [message["content"] for message in nim.requests[-1]["messages"] if message["role"] != "system"] == [
        "The colour of the sky, please", "Blue.", "Sure?",
    ]  # fmt: skip


def test_a_call_that_writes_is_asked_about_first(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(REMIND, "Then not.")
    ask(chat, "Remind me to call Anna")
    panel = chat.locator("#confirm").first
    expect(panel).to_contain_text(f"{TOOLS['add_reminder'].title}?")
    expect(panel).to_contain_text("call Anna")
    chat.reload()  # the question outlives the page
    expect(panel).to_contain_text("call Anna")
    chat.locator("#confirm-no").click()
    expect(chat.locator("#chatbot")).to_contain_text("add_reminder · you said no")
    expect(chat.locator("#chatbot")).to_contain_text("Then not.")
    expect(panel).to_be_hidden()

    nim.enqueue(REMIND, "It is noted.", NimReply(calls=(("list_reminders", "{}"),)), "You have one.")
    ask(chat, "Remind me all the same")
    chat.locator("#confirm-yes").click()
    expect(chat.locator("#chatbot")).to_contain_text("add_reminder · done")
    expect(chat.locator("#chatbot")).to_contain_text("It is noted.")
    ask(chat, "Which reminders do I have?")
    chat.get_by_role("button", name=re.compile("list_reminders · done")).click()
    expect(chat.locator("#chatbot")).to_contain_text('"count": 1')


def test_what_a_model_writes_is_no_page(chat: Page, nim: ScriptedNim) -> None:
    """`open_page` sees to it that nothing is fetched from elsewhere."""
    chat.on("dialog", lambda dialog: pytest.fail(dialog.message))
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script> ![a](http://example.com/a.png) Done."
    nim.enqueue(NimReply(calls=(("calculate", json.dumps({"expression": "```\n" + hostile})),)), hostile)
    chat.locator("#box textarea").fill(hostile)
    chat.keyboard.press("Enter")
    expect(chat.locator("#chatbot .bot")).to_contain_text("Done.")
    expect(chat.locator("#chatbot .user")).to_have_text(hostile)
    rest(chat)
    chat.locator("#chatbot").get_by_role("button", name=re.compile("calculate")).click()
    expect(chat.locator("#chatbot pre, #chatbot code").first).to_contain_text("onerror=alert(1)")


def test_a_failing_model_server_is_a_sentence(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(*[NimReply(status=500, body="{}")] * 2)
    ask(chat, "Anything?")
    expect(chat.locator("#chatbot")).to_contain_text("The model server failed at this question. Ask again in a moment.")


def test_who_asks_is_shown_the_end(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue("A line.\n\n" * 60, "The last line.")
    ask(chat, "A long answer, please")
    log = chat.locator("#chatbot [role=log]")
    log.evaluate("log => log.scrollTo(0, 0)")
    ask(chat, "And a short one")
    expect(chat.get_by_text("The last line.")).to_be_in_viewport()


# Review --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk(store: Store) -> ReviewDesk:
    """The review desk with nothing left to decide."""
    opened = ReviewDesk(store, Ledger(store.database))
    for item in opened.queue():
        opened.skip(item.turn_id, "test")
    return opened


def calling(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """An assistant message with tool calls, as a turn stores it."""
    made = [
        {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def told(store: Store, question: str, *replies: Any, thumb: Any = None, reasons: tuple[str, ...] = (), **how: Any) -> Turn:
    """A turn that ended, with its rating."""
    turn = finished_turn(store, question, *replies, person="local", tools=SCHEMAS, **how)
    if thumb:
        store.rate("local", turn.id, thumb, [*reasons], "not <b>this</b>")
    return turn


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


# Wheel ---------------------------------------------------------------------------------------------------------------


def row(question: str, arguments: Any) -> str:
    call = {"type": "function", "function": {"name": "calculate", "arguments": json.dumps(arguments)}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return json.dumps({"messages": messages, "tools": [TOOLS["calculate"].schema]})


def test_files_are_imported(app: WebApp, open_page: Open, tmp_path: Path) -> None:
    good = [row(f"What is {number} and {number}?", {"expression": f"{number} + {number}"}) for number in range(3)]
    (tmp_path / "good.jsonl").write_text("\n".join(good), encoding="utf-8")
    bad = [good[0], row("What is one?", {"sum": 1}), "{", row("What is five?", {"expression": "5"})]
    (tmp_path / "<b>bad.jsonl").write_text("\n".join(bad), encoding="utf-8")
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\0\0\xff")
    page = open_page(f"{app.url}/wheel/")
    page.get_by_role("button", name="Import examples").click()
    file, report = page.locator("#import-file input[type=file]"), page.locator("#import-report")

    file.set_input_files(tmp_path / "good.jsonl")
    expect(report).to_contain_text("good.jsonl: 3 examples imported.")
    expect(page.locator("main")).to_contain_text("imported 3)")
    page.get_by_label("Clear").click()
    file.set_input_files(tmp_path / "<b>bad.jsonl")
    expect(report).to_contain_text("1 example imported, 1 known before.")
    expect(report).to_contain_text(re.compile("line 2: .*expression"))
    expect(report).to_contain_text("line 3: not JSON")
    page.get_by_label("Clear").click()
    file.set_input_files(tmp_path / "picture.json")
    expect(page.get_by_test_id("toast-body")).to_contain_text("'picture.json' is not text")


def test_there_is_nothing_to_roll_back_to_and_then_there_is(app: WebApp, open_page: Open, store: Store) -> None:
    page = open_page(f"{app.url}/wheel/")
    expect(page.locator("#served")).to_have_text("meta/llama-3.2-1b-instruct")
    page.locator("#rollback").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("there is nothing to roll back to")
    registry = Registry(store.database)
    registry.add(Model("flywheel/next@v1", "meta/llama-3.2-1b-instruct", None, "candidate", "2026-11-24T14:05:00+00:00"))
    registry.promote("flywheel/next@v1", person="local", reason="a test <b>says</b> so")
    page.reload()
    expect(page.locator("#served")).to_have_text("flywheel/next@v1")
    page.locator("#rollback").click()
    expect(page.locator("#served")).to_have_text("meta/llama-3.2-1b-instruct")
    expect(page.get_by_text("meta/llama-3.2-1b-instruct serves again.")).to_be_visible()
    page.get_by_role("button", name="History").click()
    expect(page.locator("#moves")).to_contain_text("rolled back on the Wheel page")
    expect(page.locator("#moves")).to_contain_text("a test <b>says</b> so")
    expect(page.locator("#models")).to_contain_text("flywheel/next@v1")


def test_a_run_is_watched_cancelled_and_looked_back_on(app: WebApp, open_page: Open, store: Store) -> None:
    records = RunRecords(store.database)
    run = records.create("run-watched", "local")
    records.begin_stage(run.id, "curate")
    records.progress(run.id, 40, 75, "")
    page = open_page(f"{app.url}/wheel/")
    expect(page.locator("#headline")).to_contain_text("run-watched is running")
    expect(page.get_by_label("Curate: running")).to_contain_text("40 % about 1 min 15 s left")
    expect(page.locator("#train")).to_be_disabled()
    records.end_stage(run.id, "curate", {})
    records.begin_stage(run.id, "upload")
    records.add_losses(run.id, [("train", step, 2.0 - step / 10) for step in range(9)] + [("validation", 8, 1.4)])
    expect(page.get_by_label("Curate: done")).to_be_visible()  # by itself: the page looks once a second
    expect(page.locator("#loss path.mark-line, #loss .mark-line path").first).to_be_visible()
    page.locator("#cancel").click()
    expect(page.locator("#headline")).to_contain_text("run-watched cancelled: cancelled by local")
    expect(page.locator("#cancel")).to_be_hidden()
    expect(page.locator("#train")).to_be_enabled()
    page.get_by_role("button", name="History").click()
    expect(page.locator("#runs")).to_contain_text("run-watched")


def test_a_run_that_waits_for_a_decision(app: WebApp, open_page: Open, store: Store) -> None:
    records, registry = RunRecords(store.database), Registry(store.database)
    run = records.create("run-waiting", "local")
    scores = {"suites": {"holdout": {"function_name_accuracy": 0.5, "function_name_and_args_accuracy": 0.25, "count": 8}}}
    records.note(run.id, candidate="flywheel/waiting@v1", scores={"base": scores, "current": scores, "candidate": scores})
    records.note(run.id, verdict={"verdict": "inconclusive", "reasons": ["8 rows decide nothing"]})
    records.begin_stage(run.id, "gate")
    records.finish(run.id, "succeeded", outcome="waiting")
    registry.add(Model("flywheel/waiting@v1", "meta/llama-3.2-1b-instruct", run.id, "candidate", "2026-11-24T14:05:00+00:00"))
    page = open_page(f"{app.url}/wheel/")
    expect(page.locator("#headline")).to_contain_text("Your decision")
    expect(page.locator("#verdict")).to_contain_text("8 rows decide nothing")
    expect(page.locator("#scores")).to_contain_text("0.25")
    page.locator("#promote").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("promoting against the gate needs a reason")
    page.locator("#reason textarea, #reason input").fill("too few rows")
    page.locator("#reject").click()
    expect(page.locator("#headline")).to_contain_text("rejected by local: too few rows")
    expect(page.locator("#promote")).to_be_hidden()


# every page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_pages_can_be_read_and_used(
    app: WebApp, open_page: Open, store: Store, nim: ScriptedNim, desk: ReviewDesk, scheme: str, width: int
) -> None:
    """Nothing is wider than the window, no text too faint, no button without a name or too small to hit."""
    window = {"color_scheme": scheme, "viewport": {"width": width, "height": 840}}
    told(store, "What time is it?", calling(("local_time", {"city": "Oslo"})), saying("Noon. `12:00`"), thumb="down")
    nim.enqueue(REMIND)
    chat = open_page(f"{app.url}/chat/", **window)
    ask(chat, "Remind me")
    thumb(chat, "Dislike").last.click()
    chat.locator("#chatbot").get_by_role("button", name=re.compile("local_time")).click()
    expect(chat.locator("#chatbot")).to_contain_text('"city"')
    expect(chat.get_by_text("What was wrong?")).to_be_visible()
    chat.get_by_role("button", name="What I can do").click()
    review = open_page(f"{app.url}/review/", **window)
    review.locator("#try").click()
    review.get_by_role("button", name="As JSON").click()
    expect(review.locator("#outcome")).to_contain_text("local_time returned")
    wheel = open_page(f"{app.url}/wheel/", **window)
    for name in ("Import examples", "What it was trained on", "History"):
        wheel.get_by_role("button", name=name).click()
    expect(wheel.locator("#models")).to_contain_text("meta/llama")
    for page in (chat, review, wheel):
        assert page.evaluate(FAULTS) == [], page.url
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url


# with the real local platform ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_pages_with_the_real_platform(web_app: WebApp, open_page: Open) -> None:
    wheel = open_page(f"{web_app.url}/wheel/")
    wheel.locator("#train").click()
    expect(wheel.get_by_test_id("toast-body")).to_contain_text("there are no examples to learn from")
    expect(wheel.locator("#headline")).to_contain_text("No run yet")
    chat = open_page(f"{web_app.url}/chat/")
    expect(chat.locator("#served")).to_have_text("local/tool-llama-5m")
    ask(chat, "What is 15% of 80?")
    answer = chat.locator("#chatbot .bot .prose").last
    expect(answer).to_have_text(re.compile(r"\w+"))
    thumb(chat, "Dislike").click()
    review = open_page(f"{web_app.url}/review/")
    expect(review.locator("#queue label")).to_contain_text(["thumb down · What is 15% of 80?"])
    review.get_by_label("These tool calls").check()
    review.locator("#field-0-expression textarea").fill("80 * 15 / 100")
    review.locator("#approve").click()
    expect(review.get_by_text("Stored. It will train the next model.")).to_be_visible()
    wheel.reload()
    expect(wheel.locator("main")).to_contain_text("1 example (corrections 1")
