"""The Chat page in Chromium: what people do on it, and what they read when it cannot be done.

The model server says what it was told to.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from playwright.sync_api import Page, expect

from flywheel.conversations import Conversations
from flywheel.store import Store
from tests.benchmarks import people
from tests.chat_app.conftest import WebApp, ask
from tests.chat_app.page_material import REMIND, Open, calling, thumb, told
from tests.chat_app.red_team import MARKUP
from tests.fakes import NimReply, ScriptedNim
from tests.flywheel.feedback import saying
from tools import TOOLS


@pytest.fixture
def chat(app: WebApp, open_page: Open) -> Page:
    """The Chat page with a new conversation."""
    page = open_page(f"{app.url}/chat/")
    expect(page.locator("#box textarea")).to_be_enabled()
    page.locator("#new").dispatch_event("click")  # it stands in the sidebar, which is closed
    expect(page.get_by_text("Ask me something I have a tool for.")).to_be_visible()
    return page


def rest(page: Page) -> None:
    """Wait until the page takes the next question."""
    expect(page.get_by_role("button", name="Stop", exact=True)).to_have_count(0)
    expect(page.get_by_role("button", name="Send", exact=True).last).to_be_visible()


def test_an_answer_with_a_card_for_its_call(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(NimReply(calls=(("calculate", '{"expression": "12 * 3"}'),)), "It is **36**.")
    ask(chat, "What is twelve times three?")
    chat.locator("#chatbot").get_by_role("button", name=re.compile(r"calculate · done \(\d+(\.\d+)?m?s\)")).click()
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


def test_conversations_are_found_taken_up_renamed_and_deleted(chat: Page, nim: ScriptedNim, store: Store) -> None:
    nim.enqueue("Blue.", "Seven.", "Still blue.")
    ask(chat, "The colour of the sky, please")
    chat.get_by_role("button", name="Toggle Sidebar").click()
    chat.locator("#new").click()
    expect(chat.locator("#chatbot")).not_to_contain_text("Blue.")
    ask(chat, "The number of dwarves, please")
    expect(chat.locator("#chatbot")).to_contain_text("Seven.")
    listed = chat.locator("#conversations label")
    chat.locator("#search textarea, #search input").press_sequentially("blue")
    expect(listed).to_have_text(["The colour of the sky, please"])
    listed.first.click()
    expect(chat.locator("#chatbot")).to_contain_text("Blue.")
    expect(chat.locator("#chatbot")).not_to_contain_text("Seven.")
    ask(chat, "Sure?")
    expect(chat.locator("#chatbot")).to_contain_text("Still blue.")
    assert [message["content"] for message in nim.requests[-1]["messages"] if message["role"] != "system"] == [
        "The colour of the sky, please", "Blue.", "Sure?",
    ]  # fmt: skip

    chat.locator("#rename").click()
    title = chat.locator("#renaming textarea, #renaming input").first
    expect(title).to_have_value("The colour of the sky, please")
    title.fill("<b>Sky</b> & colours")
    chat.locator("#renaming").get_by_role("button", name="Save").first.click()
    expect(listed).to_have_text(["<b>Sky</b> & colours"])
    chat.locator("#delete").click()
    expect(chat.locator("#deleting").first).to_contain_text("Delete “<b>Sky</b> & colours”? It disappears for you. Your ratings")
    chat.get_by_role("button", name="Keep it").click()
    expect(chat.get_by_role("button", name="Yes, delete it")).to_be_hidden()
    chat.locator("#delete").click()
    chat.get_by_role("button", name="Yes, delete it").click()
    expect(chat.get_by_text("Deleted.", exact=True)).to_be_visible()
    expect(chat.locator("#chatbot")).not_to_contain_text("blue")
    assert "Sky" not in str(store.conversations("local"))


def test_the_open_conversation_is_restored_on_reload(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue("Older.", "Newer.")
    ask(chat, "An older one")
    chat.get_by_role("button", name="Toggle Sidebar").click()
    chat.locator("#new").click()
    expect(chat.locator("#chatbot")).not_to_contain_text("Older.")
    ask(chat, "A newer one")
    before = chat.evaluate("localStorage.conversation")
    chat.locator("#conversations label", has_text="An older one").first.click()
    expect(chat.locator("#chatbot")).to_contain_text("Older.")
    chat.wait_for_function("before => localStorage.conversation !== before", arg=before)
    chat.reload()
    expect(chat.locator("#chatbot")).to_contain_text("Older.")


def test_a_question_is_asked_again_changed_and_taken_back(chat: Page, nim: ScriptedNim, store: Store) -> None:
    nim.enqueue("Three?", "Four.", "Nine.", REMIND, "I will.")
    ask(chat, "Two & two?")
    thumb(chat, "Dislike").click()
    expect(chat.get_by_text("What was wrong?")).to_be_visible()
    chat.locator("#retry").click()
    expect(chat.locator("#chatbot")).to_contain_text("Four.")
    expect(chat.locator("#chatbot")).not_to_contain_text("Three?")
    rest(chat)
    chat.locator("#edit").click()
    box = chat.locator("#box textarea")
    expect(box).to_have_value("Two & two?")
    expect(chat.locator("#waiting[role=status]")).to_contain_text("You are changing your last question.")
    box.fill("Three & six?")
    box.press("Enter")
    expect(chat.locator("#chatbot")).to_contain_text("Nine.")
    expect(chat.locator("#chatbot .user")).to_have_text(["Three & six?"])
    rest(chat)
    ask(chat, "Remind me to call Anna")
    chat.locator("#confirm-yes").click()
    expect(chat.locator("#chatbot")).to_contain_text("I will.")
    rest(chat)
    chat.locator("#undo").click()
    expect(chat.locator("#chatbot .user")).to_have_text(["Three & six?"])
    expect(chat.locator("#waiting")).to_contain_text(f"What was already done stays done: {TOOLS['add_reminder'].title}.")
    expect(box).to_have_value("Remind me to call Anna")
    thumbs = "(SELECT thumb FROM ratings WHERE turn_id = t.id) AS thumb"
    rows = store.database.query(f"SELECT set_aside, {thumbs} FROM turns t ORDER BY created_at DESC LIMIT 4")
    kept = [(row["set_aside"], row["thumb"]) for row in rows]
    assert kept == [("undone", None), (None, None), ("edited", None), ("retried", "down")]


def test_a_long_wait_is_told(chat: Page, nim: ScriptedNim) -> None:
    nim.enqueue(NimReply("At last.", pause_seconds=3))
    chat.locator("#box textarea").fill("Slowly, please")
    chat.keyboard.press("Enter")
    expect(chat.locator("#waiting")).to_have_text(re.compile(r"Waiting for the model · \d s"))
    expect(chat.locator("#chatbot")).to_contain_text("At last.")
    expect(chat.locator("#waiting")).to_have_text("")
    rest(chat)


def test_the_page_in_spanish(app: WebApp, open_page: Open, nim: ScriptedNim, store: Store) -> None:
    page = open_page(f"{app.url}/chat/", viewport={"width": 390, "height": 840})
    page.get_by_role("button", name="Toggle Sidebar").click()
    page.get_by_role("button", name="Español").click()
    expect(page.locator("#new")).to_have_text("Nueva conversación")
    expect(page.locator("html")).to_have_attribute("lang", "es")
    page.get_by_role("button", name="Abrir o cerrar las conversaciones").click()
    page.locator("#new").click()
    page.get_by_role("button", name="Lo que sé hacer").click()
    nim.enqueue(*[NimReply(status=500, body="{}")] * 2)
    page.get_by_role("button", name=re.compile("Hacer sumas")).click()
    expect(page.locator("#chatbot")).to_contain_text("El servidor del modelo falló con esta pregunta.")
    expect(page.locator("#chatbot .user")).to_have_text([TOOLS["calculate"].examples[0]])
    expect(page.get_by_role("button", name="Enviar", exact=True).last).to_be_visible()
    page.get_by_role("button", name="No me gusta", exact=True).click()
    page.get_by_label("argumentos equivocados").check()
    page.locator("#why-send").click()
    expect(page.get_by_text("Gracias. Lo verá un revisor")).to_be_visible()
    turn = store.turns(store.conversations("local")[0].id)[-1]
    assert store.turn_ratings(turn.id)[0].categories == ["wrong_arguments"]
    assert "The model server failed" in turn.answer, "what is stored is one language"


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
    expect(chat.locator("#chatbot")).to_contain_text('"text": "call Anna"')


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
    nim.enqueue("".join(f"Line {number}.\n\n" for number in range(60)), "The last line.")
    ask(chat, "A long answer, please")
    log = chat.locator("#chatbot [role=log]")
    log.evaluate("log => log.scrollTo(0, 0)")
    ask(chat, "And a short one")
    expect(chat.get_by_text("The last line.")).to_be_in_viewport()


def test_ten_people_at_once_do_not_wait_for_each_other(app: WebApp, nim: ScriptedNim) -> None:
    nim.answer_with(lambda _: people.streamed(2))
    try:
        took = people.visits(app.url, 10)
    finally:
        nim.answer_with(None)
    assert len(took) == 10 and min(took) >= 2
    assert max(took) - min(took) < 9, "one after the other the last would end 18 seconds after the first"


def test_no_markup_renders_in_any_field(app: WebApp, open_page: Open, nim: ScriptedNim, store: Store) -> None:
    """`open_page` sees to it that no script fails and nothing is fetched from elsewhere."""
    evil = "\n\n".join(MARKUP)
    turn = told(store, evil, calling(("find_orders", {"product": evil})), saying(evil), thumb="down")
    store.rate("local", turn.id, "down", ["other"], evil)
    (made,) = store.calls(turn.id)
    store.save_call(replace(made, result={"summary": evil, "orders": [{evil: evil}]}))
    Conversations(store).rename(turn.conversation_id, "local", MARKUP[0])
    chat = open_page(f"{app.url}/chat/")
    chat.get_by_role("button", name="Toggle Sidebar").click()
    chat.locator("#conversations label").first.click()
    expect(chat.locator("#chatbot .user").first).to_contain_text(MARKUP[0])
    chat.locator("#chatbot").get_by_role("button", name="find_orders").click()
    chat.locator("#delete").click()
    expect(chat.locator("#deleting").first).to_contain_text(f"Delete “{MARKUP[0]}”?")
    nim.enqueue(NimReply(calls=(("add_reminder", json.dumps({"text": MARKUP[0], "time": "9:00"})),)))
    ask(chat, "Remind me")
    expect(chat.locator("#confirm").first).to_contain_text(MARKUP[0])
    review = open_page(f"{app.url}/review/")
    expect(review.locator("#turn")).to_contain_text("onerror=hacked=1")
    for page in (chat, review):
        unharmed(page)


def unharmed(page: Page) -> None:
    """No script of the red team's ran, and none of its elements stands in the page."""
    assert page.evaluate("window.hacked") is None
    made = "img[src=x], img[onerror], svg[onload], iframe, [onfocus], [onerror], a[href^='javascript:']"
    assert page.locator(made).count() == 0, [element.evaluate("e => e.outerHTML") for element in page.locator(made).all()]
