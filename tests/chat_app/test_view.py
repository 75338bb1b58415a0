"""What the pages show, without a page: cards, thumbs, moments, and the Wheel page's HTML."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_app.ui import messages, times, wheel_view
from chat_app.ui.words import Words
from flywheel.canary import Canary
from flywheel.canary_evidence import Arms, Seen
from flywheel.history import STAGES, Run
from flywheel.ledger import Example
from flywheel.promote import Model, Promotion, Served
from flywheel.rows import Row
from flywheel.store import Rating
from tests.chat_app.view_material import EVIL, JSON, MOMENT, call, calling, turn

TRIAL = Canary(1, "new", "base", "run-1", 0.2, 50, 0.05, "running", "", MOMENT, None)
NOTHING_SEEN = Seen(Arms(0, 0), Arms(0, 0), Arms(0, 0))


class Reader(HTMLParser):
    """Tags and text of HTML as a browser takes them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs), attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_escaped(markup: str) -> None:
    reader = Reader(markup)
    assert not {"img", "script"} & {*reader.tags}, markup
    assert "alert(1)" in reader.text, "the text is to be shown, not dropped"


# messages ------------------------------------------------------------------------------------------------------------


@given(JSON)
def test_text_cannot_leave_its_fence(value: Any) -> None:
    head, *body, end = messages.fenced({"text": value}).split("\n")
    fence = head.removesuffix("json")
    assert head == f"{fence}json" and end == fence and set(fence) == {"`"} and len(fence) >= 3
    assert not any(fence in line for line in body)
    assert json.loads("\n".join(body)) == {"text": value}


def test_a_result_with_fences_and_one_that_does_not_end() -> None:
    for hostile in ("```\n# Out\n```", "`" * 40 + "\n<b>", "````json\n" * 3):
        lines = messages.fenced(hostile).split("\n")
        assert [line for line in lines if line.strip() == lines[-1]] == [lines[-1]]
    assert len(messages.fenced("x" * 100_000)) < messages.MAX_RESULT + 20


def test_a_card_tells_name_arguments_result_and_duration() -> None:
    card = messages.card(call(result={"temperature": 3}))
    assert card["metadata"] == {"title": "✓ get_weather · done", "id": "call-1", "status": "done", "duration": 1.5}
    assert '"city": "Oslo"' in card["content"] and '"temperature": 3' in card["content"] and "Error" not in card["content"]


@pytest.mark.parametrize(
    ("status", "words", "shown"),
    [
        ("proposed", "running", "pending"),
        ("awaiting", "waiting for you", "done"),
        ("refused", "refused", "done"),
        ("declined", "you said no", "done"),
        ("failed", "failed", "done"),
    ],
)
def test_a_card_tells_what_became_of_the_call(status: Any, words: str, shown: str) -> None:
    card = messages.card(call(status, error=None if shown == "pending" else "no such city", duration_ms=None))
    assert words in card["metadata"]["title"] and card["metadata"]["status"] == shown and "duration" not in card["metadata"]
    assert ("no such city" in card["content"]) is (shown == "done")


def test_a_question_is_no_markdown_and_an_answer_is() -> None:
    written = messages.question("2*3*4 <b>\n    `x` #1 \\ é 语")["content"]
    assert written == "2\\*3\\*4 \\<b\\>\n" + "\N{NO-BREAK SPACE}" * 4 + "\\`x\\` \\#1 \\\\ é 语"
    assert messages.answer("**2*3*4** is *24*, (1)*(2)")["content"] == "**2\\*3\\*4** is *24*, (1)\\*(2)"
    assert messages.answer("`2*3*4`")["content"] == "`2*3*4`"


def test_every_end_of_a_turn_can_be_rated() -> None:
    ends: dict[Any, str] = {"answered": "a", "failed": "a", "blocked": "a", "stopped": "a\n\n*Stopped.*", "running": "a"}
    for status, words in ends.items():
        assert messages.shown_turn(turn(status=status), [])[-1] == messages.answer(words)
    assert messages.shown_turn(turn(answer="", status="stopped"), [])[-1]["content"] == "*Stopped.*"
    assert messages.shown_turn(turn(answer="", status="failed"), [])[-1]["content"] == "*No answer.*"
    assert messages.shown_turn(turn(answer="", status="running"), [])[-1]["content"] == "…"
    waiting = messages.shown_turn(turn(answer="", status="awaiting"), [call("awaiting")])
    assert [message["role"] for message in waiting] == ["user", "assistant"]


def test_arguments_are_readable() -> None:
    value = {"due_date": "Friday", "tags": ["a", {"b_c": True}], "n": 2.5}
    assert messages.readable(value) == "due date: Friday, tags: a; b c: yes, n: 2.5"
    assert messages.readable(False, Words("es")) == "no" and messages.readable("<b>") == "<b>"


TURNS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "stopped", "failed", "blocked", "awaiting"]),
        st.integers(0, 3),
        st.sampled_from(["up", "down", None, "unrated"]),
    ),
    max_size=6,
)


@given(TURNS)
def test_thumbs_and_turns_pair_up(drawn: list[tuple[Any, int, Any]]) -> None:
    turns, ratings = [], {}
    for number, (status, calls, thumb) in enumerate(drawn):
        made = turn(name=f"turn-{number}", status=status)
        turns.append((made, [call()] * max(calls, 1 if status == "awaiting" else 0)))
        if thumb != "unrated":
            ratings[made.id] = Rating(made.id, "ann", thumb, [], "", MOMENT, MOMENT)
    shown = [messages.shown_turn(made, calls) for made, calls in turns]
    position = 0
    for (made, _), group in zip(turns, shown, strict=True):
        for _ in group:
            assert messages.turn_at(turns, position) == made
            position += 1
    assert messages.turn_at(turns, position) is None

    # Gradio counts a thumb for each group of neighbouring assistant messages
    roles = "".join(message["role"][0] for group in shown for message in group)
    thumbs = messages.thumbs([made for made, _ in turns], ratings)
    assert len([group for group in roles.split("u") if group]) == len(thumbs)
    words = {"up": "Like", "down": "Dislike", None: None, "unrated": None}
    assert thumbs == [words[thumb] for _, _, thumb in drawn]


# times ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute"), (3599, "59 minutes"), (7200, "2 hours"), (86400 * 12, "12 days")],
)
def test_age(seconds: int, words: str) -> None:
    assert times.age(MOMENT, datetime.fromisoformat(MOMENT) + timedelta(seconds=seconds)) == words


def test_day_and_clock_are_local_time() -> None:
    then = datetime(2026, 3, 3, 12, tzinfo=UTC).astimezone()
    days = [times.day(then.isoformat(), then + timedelta(days=ahead)) for ahead in (0, 1, 6, 7)]
    assert days == ["today", "yesterday", "Tuesday", "3 March 2026"]
    assert times.clock(then.isoformat()) == f"3 Mar {then:%H:%M}"


def test_moments_in_spanish() -> None:
    then = datetime(2026, 3, 3, 12, tzinfo=UTC).astimezone()
    days = [times.day_es(then.isoformat(), then + timedelta(days=ahead)) for ahead in (0, 1, 6, 7)]
    assert days == ["de hoy", "de ayer", "del martes", "del 3 de marzo de 2026"]
    ages = [times.ago_es(then.isoformat(), then + timedelta(seconds=seconds)) for seconds in (5, 60, 7200, 86400 * 12)]
    assert ages == ["ahora mismo", "hace 1 minuto", "hace 2 horas", "hace 12 días"]
    assert times.clock_es(then.isoformat()) == f"3 mar {then:%H:%M}"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10.4, "10 s"), (59.7, "1 min 0 s"), (125, "2 min 5 s")]
)
def test_duration(seconds: float, words: str) -> None:
    assert times.duration(seconds) == words


# the Wheel page ------------------------------------------------------------------------------------------------------


def run(**changes: Any) -> Run:
    made = Run(
        id="run-1", requested_by="ann", created_at=MOMENT, finished_at=None, status="running", outcome=None, stages={},
        progress={}, job_id=None, candidate=None, current=None, scores=None, verdict=None, error=None,
    )  # fmt: skip
    return replace(made, **changes)


def suites(value: float, count: int) -> dict[str, Any]:
    metrics = {"function_name_accuracy": 1.0, "function_name_and_args_accuracy": value, "count": count}
    return {"suites": {"holdout": metrics}}


def test_stages_light_up() -> None:
    assert Reader(wheel_view.stages(None)).tags.count("li") == len(STAGES)
    done = {"status": "done", "started_at": MOMENT, "finished_at": "2026-11-24T14:07:05+00:00", "detail": {}}
    stages: Any = {"curate": done, "train": {"status": "running", "started_at": MOMENT, "detail": {}}}
    markup = wheel_view.stages(run(stages=stages, progress={"percent": 41.6, "eta_seconds": 75, "message": EVIL}))
    assert 'aria-label="Curate: done"' in markup and "2 min 5 s" in markup
    assert 'value="42"' in markup and "about 1 min 15 s left" in markup and 'aria-label="Gate: waiting"' in markup
    assert_escaped(wheel_view.stages(run(stages=stages, progress={"percent": 1, "message": EVIL})))
    ended = done | {"status": "failed"}
    assert "<small>failed</small>" in wheel_view.stages(run(stages={"train": ended}))


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        ("queued", None, "waits for its turn"),
        ("running", None, "is running"),
        ("succeeded", "promoted", "was put live by hand"),
        ("succeeded", "rejected", "rejected"),
        ("succeeded", "waiting", "Your decision"),
        ("failed", None, "failed: "),
        ("cancelled", None, "cancelled: "),
    ],
)
def test_the_headline_says_where_a_run_stands(status: Any, outcome: Any, words: str) -> None:
    markup = wheel_view.headline(run(status=status, outcome=outcome, error=EVIL, candidate=EVIL))
    assert words in Reader(markup).text and not {"img", "script"} & {*Reader(markup).tags}


@pytest.mark.parametrize(("verdict", "words"), [("pass", "passed the gate and was"), ("inconclusive", "was put live by hand")])
def test_the_headline_claims_no_pass_that_was_none(verdict: str, words: str) -> None:
    promoted = run(status="succeeded", outcome="promoted", candidate="m", verdict={"verdict": verdict, "reasons": []})
    assert words in Reader(wheel_view.headline(promoted)).text


def test_scores_stand_side_by_side() -> None:
    assert "after the evaluation" in wheel_view.scores(None)
    scores = {"base": suites(0.25, 8), "current": None, "candidate": suites(0.75, 8)}
    text = Reader(wheel_view.scores(run(scores=scores))).text
    assert "Held-out questions n=8" in text and "0.25–0.75" in text and "Old skills n=0" in text


def test_of_two_candidates_each_has_a_column_and_the_reason_stands_above_the_verdict() -> None:
    both: Any = {
        name: {"model": name, "scores": suites(value, 8), "reason": EVIL} for name, value in (("sft", 0.5), ("dpo", 0.75))
    }
    compared = run(scores={"base": suites(0.25, 8)}, candidates=both, candidate="dpo", verdict={"verdict": "pass", "reasons": []})
    text = Reader(wheel_view.scores(compared)).text
    assert "SFT" in text and "DPO (judged)" in text and "SFT (judged)" not in text and "0.25–0.500.75" in text
    verdict = Reader(wheel_view.verdict(compared))
    assert EVIL in verdict.text and not {"img", "script"} & {*verdict.tags}


def test_losses_have_a_fixed_shape() -> None:
    assert wheel_view.losses([]) is None
    frame = wheel_view.losses([("train", 1, 2.5), ("validation", 2, 2.25), ("dpo train", 1, 0.7)])
    assert frame is not None and frame.to_dict("list") == {
        "step": [1, 2], "loss": [2.5, 2.25], "split": ["training", "validation"],
    }  # fmt: skip


def test_every_text_on_the_wheel_page_is_escaped() -> None:
    row = Row([{"role": "user", "content": EVIL}, calling((EVIL, {EVIL: EVIL}))], [])
    example = Example("e", row, "import", "g", "train", None, None, None, None, None, MOMENT)
    manifest = {
        "digest": EVIL, "counts": {"split": {EVIL: 3}}, "overlap": 0, "exclusions": [{"reason": EVIL}], "missing": [EVIL],
    }  # fmt: skip
    evil = run(id=EVIL, status="failed", error=EVIL, verdict={"verdict": EVIL, "reasons": [EVIL]})
    for markup in (
        wheel_view.headline(evil),
        wheel_view.verdict(evil),
        wheel_view.dataset(manifest),
        wheel_view.examples([example]),
        wheel_view.runs([evil]),
        wheel_view.serving(Served(EVIL, MOMENT), replace(TRIAL, model=EVIL, reason=EVIL, status="rolled_back"), NOTHING_SEEN),
        wheel_view.serving(Served(EVIL, MOMENT), replace(TRIAL, model=EVIL), NOTHING_SEEN),
        wheel_view.models([Model(EVIL, "base", EVIL, "candidate", MOMENT)], "other"),
        wheel_view.promotions([Promotion(1, EVIL, None, "promote", EVIL, EVIL, None, MOMENT)]),
    ):
        assert_escaped(markup)


def test_nothing_yet_is_said_in_words() -> None:
    empty = [wheel_view.headline(None), wheel_view.dataset(None), wheel_view.examples([]), wheel_view.runs([])]
    empty += [wheel_view.models([], ""), wheel_view.promotions([])]
    assert all(" yet" in Reader(markup).text for markup in empty)
    assert wheel_view.verdict(None) == ""


def test_the_verdict_shows_both_models_on_the_same_rows() -> None:
    pairs = {"rows": 40, "current": 20, "candidate": 30, "won": 12, "lost": 2, "points": 25.0}
    numbers = {
        "holdout": pairs | {"interval": [10.0, 40.0]}, "red_team": pairs | {"rows": 0}, "refusals": {"unfitting": pairs},
        "cost": {"current": {"tokens": 12.5, "seconds": None}, "candidate": {"tokens": 14.0, "seconds": 0.2}},
    }  # fmt: skip
    text = Reader(wheel_view.verdict(run(verdict={"verdict": "pass", "reasons": [], "numbers": numbers}))).text
    assert "Whole calls4020 → 3012 / 2+25.0 (+10.0 to +40.0)" in text
    assert "none called40" in text and "12.5 → 14" in text
    assert "Attacks" not in text and "Seconds" not in text


def test_a_candidate_on_trial_stands_beside_the_served_model_with_what_was_seen() -> None:
    seen = Seen(Arms(12, 40), Arms(1, 4), Arms(2, 3))
    text = Reader(wheel_view.serving(Served("base", MOMENT), TRIAL, seen)).text
    assert "On trial: new answers 20% of the conversations; 12 of 50 conversations so far, thumbs down in 1, errors in 2." in text
    back = Reader(wheel_view.serving(Served("base", MOMENT), replace(TRIAL, status="rolled_back", reason="harm"), seen)).text
    assert "new was taken back from its trial: harm." in back
    assert "trial" not in wheel_view.serving(Served("new", MOMENT), replace(TRIAL, status="promoted"), seen)
    assert "on trial" in wheel_view.headline(run(status="succeeded", outcome="canary", verdict={"verdict": "pass"}))
    waits = wheel_view.headline(run(status="succeeded", outcome="waiting", verdict={"verdict": "pass"}))
    assert "passed the candidate, which waits" in waits and "Your decision" in waits


def test_stock_and_history_count() -> None:
    text = Reader(wheel_view.stock({"correction": 2, "thumb_up": 1, "import": 30, "new": 4})).text
    assert text.startswith("33 examples (corrections 2, approved thumbs up 1, imported 30)") and "4 new" in text
    ended = run(status="succeeded", outcome="promoted", scores={"current": suites(0.5, 4), "candidate": suites(0.75, 4)})
    assert "0.50 → 0.75" in wheel_view.runs([ended])


def test_a_dataset_says_what_was_masked_and_what_waits_in_quarantine() -> None:
    manifest = {
        "digest": "d" * 64, "counts": {"split": {"train": 3}}, "overlap": 0, "exclusions": [{"reason": "quarantined: a burst"}],
        "quarantined": 1, "masked": {"email": 2}, "missing": [],
    }  # fmt: skip
    text = Reader(wheel_view.dataset(manifest)).text
    assert "1 of them are in quarantine" in text and "flywheel quarantine list" in text and "Masked: 2 e-mail addresses." in text
