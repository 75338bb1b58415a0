"""The Wheel page in Chromium, and all three pages together.

One app speaks to a model server that says what it was told to; a second one has the real local platform.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from flywheel.history import RunRecords
from flywheel.promote import Model, Registry
from flywheel.review import ReviewDesk
from flywheel.store import Store
from tests.chat_app.conftest import WebApp, ask
from tests.chat_app.page_material import REMIND, Open, calling, faults, thumb, told
from tests.fakes import ScriptedNim
from tests.flywheel.feedback import saying
from tools import TOOLS

# Wheel ---------------------------------------------------------------------------------------------------------------


def row(question: str, arguments: Any) -> str:
    call = {"type": "function", "function": {"name": "calculate", "arguments": json.dumps(arguments)}}
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return json.dumps({"messages": messages, "tools": [TOOLS["calculate"].schema]})


def test_files_are_imported_and_learned_from_by_the_chosen_recipe(
    app: WebApp, open_page: Open, store: Store, tmp_path: Path
) -> None:
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
    assert page.get_by_label("right answers (SFT)").is_checked()
    page.get_by_label("both; the gate judges DPO only if it wins").check()
    page.locator("#train").click()
    expect(page.locator("#headline")).to_contain_text("run-")
    page.get_by_role("button", name="History").click()
    expect(page.locator("#runs tbody td").nth(1)).to_have_text("compare")
    assert RunRecords(store.database).runs(1)[0].recipe == "compare"


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
    records.note(run.id, cost={"train": {"tokens": 145_000, "cpu_seconds": 211.5}, "evaluate": {"tokens": 5_000}})
    records.begin_stage(run.id, "gate")
    records.finish(run.id, "succeeded", outcome="waiting")
    (app.home / "policy.toml").write_text('[schedule]\ncron = "0 2 * * *"\nnew_rows = 50\n')
    registry.add(Model("flywheel/waiting@v1", "meta/llama-3.2-1b-instruct", run.id, "candidate", "2026-11-24T14:05:00+00:00"))
    page = open_page(f"{app.url}/wheel/")
    expect(page.locator("#headline")).to_contain_text("Your decision")
    expect(page.locator("#verdict")).to_contain_text("8 rows decide nothing")
    expect(page.locator("#scores")).to_contain_text("0.25")
    expect(page.locator("#cost")).to_contain_text("150,000 tokens, 212 CPU-seconds, GPU-seconds: not told. Gained: +0.0 points")
    expect(page.locator("#next-run")).to_contain_text("02:00. ")
    expect(page.locator("#next-run")).to_contain_text("of 50 new rows")
    expect(page.locator("#notices")).to_contain_text("run-waiting ended: the gate says inconclusive. It waits for your decision.")
    page.get_by_role("button", name="What it was trained on").click()
    expect(page.locator("#lineage svg.lineage")).to_have_attribute(
        "aria-label", re.compile("run: run-waiting waiting; adapter: waiting@v1")
    )
    page.locator("#seen").click()
    expect(page.locator("#seen")).to_be_hidden()
    (app.home / "policy.toml").write_text('[schedule]\ncron = "at <b>two</b>"\n')
    page.locator("#promote").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("promoting against the gate needs a reason")
    page.locator("#reason textarea, #reason input").fill("too few rows")
    page.locator("#reject").click()
    expect(page.locator("#headline")).to_contain_text("rejected by local: too few rows")
    expect(page.locator("#promote")).to_be_hidden()
    page.reload()
    expect(page.locator("#next-run")).to_contain_text("no run begins by itself: cron in [schedule] is 'at <b>two</b>'")
    expect(page.locator("#notices li")).to_have_count(1)  # what was read stays away, what happened since is there
    expect(page.locator("#notices")).to_contain_text("waiting@v1 was set aside: rejected by local: too few rows")
    (app.home / "policy.toml").unlink()


# every page ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_can_be_read_and_used(
    app: WebApp, open_page: Open, store: Store, nim: ScriptedNim, desk: ReviewDesk, width: int
) -> None:
    """Nothing is wider than the window, no text too faint, no button without a name or too small to hit; axe agrees."""
    window = {"color_scheme": "light", "viewport": {"width": width, "height": 840}}
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
    expect(review.locator("#suggest")).to_be_hidden()  # no teacher is named
    review.locator("#try").click()
    review.locator("#help").click()
    expect(review.locator("#outcome")).to_contain_text("local_time returned")
    records = RunRecords(store.database)
    records.finish(records.create(f"run-{width}", "local").id, "failed", error="the model server is gone")
    wheel = open_page(f"{app.url}/wheel/", **window)
    review.get_by_role("button", name="Feedback as a file").click()
    for name in ("Import examples", "What it was trained on", "History"):
        wheel.get_by_role("button", name=name).click()
    expect(wheel.locator("#notices")).to_contain_text("the model server is gone")
    expect(wheel.locator("#models")).to_contain_text("meta/llama")
    for page in (chat, review, wheel):
        assert faults(page, width) == {}, page.url


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
    expect(review.locator("#queue label")).to_contain_text([re.compile(r"thumb down.* · What is 15% of 80\?")])
    review.get_by_label("These tool calls").check()
    review.locator("#field-0-expression textarea").fill("80 * 15 / 100")
    review.locator("#approve").click()
    expect(review.get_by_text("Stored. It will train the next model.")).to_be_visible()
    wheel.reload()
    expect(wheel.locator("main")).to_contain_text("1 example (corrections 1")
