"""Several reviewers at one desk: claims, versions, second and third decisions, undo, causes, numbers, similar turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from feedback import calling, finished_turn, saying

from flywheel.__main__ import main
from flywheel.database import Database, now
from flywheel.errors import Conflict
from flywheel.ledger import Ledger
from flywheel.proposals import Proposal, Proposals
from flywheel.review import Filter, ReviewDesk
from flywheel.review.agreement import calls_f1, kappa
from flywheel.review.confidence import FEWEST, Confidence, Confidences, TokenChance
from flywheel.review.policy import Policy
from flywheel.review.similar import alike, carries_over
from flywheel.review.verdicts import Decided
from flywheel.settings import Settings
from flywheel.store import Store

OSLO = calling(("get_weather", {"city": "Oslo"}))
TIME = calling(("local_time", {"city": "Oslo"}))
ALONE = Policy(silent_share=0, second_share=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "flywheel.db")) as opened:
        yield opened


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store.database)


@pytest.fixture
def desk(store: Store, ledger: Ledger) -> ReviewDesk:
    """Where one decision is enough."""
    return ReviewDesk(store, ledger, ALONE)


@pytest.fixture
def pairs(store: Store, ledger: Ledger) -> ReviewDesk:
    """Where two decide on every turn; rita and rob are known."""
    made = ReviewDesk(store, ledger, Policy(silent_share=0, second_share=1))
    for name in ("rita", "rob"):
        store.record_review(finished_turn(store, "earlier", OSLO).id, name, "rejected")
    return made


def blamed(store: Store, question: str = "What time is it in Oslo?") -> str:
    turn = finished_turn(store, question, OSLO, saying("sunny"))
    store.rate("ann", turn.id, "down", ["wrong_tool"])
    return turn.id


# reasons -------------------------------------------------------------------------------------------------------------


def test_each_reason_is_told(store: Store, desk: ReviewDesk) -> None:
    finished_turn(store, "quiet", OSLO)
    wrong = finished_turn(store, "misfit", calling(("get_weather", {"town": "Oslo"})), call_status="refused")
    proposed, other = (finished_turn(store, text, OSLO) for text in ("proposed", "otherwise"))
    proposals = Proposals(store.database)
    first = Proposal("event-1", proposed.id, "intake:bob", TIME, "", now())
    proposals.add(first)
    store.database.insert(
        "second_looks", {"turn_id": other.id, "model": "old@v1", "response": "{}", "differs": 1, "created_at": ""}
    )
    assert [(item.question, item.reason) for item in desk.queue()] == [
        ("proposed", "somebody proposed a correction"),
        ("misfit", "tool call refused; 'get_weather' has no argument 'town'; it takes city"),
        ("otherwise", "old@v1 says otherwise"),
    ]
    assert desk.item(proposed.id).proposals == [first] and desk.item(wrong.id).cause == "model"
    desk.approve(proposed.id, "rita", TIME)
    proposals.add(Proposal("event-2", proposed.id, "intake:eve", OSLO, "", now()))  # a later proposal asks again
    assert "proposed" in [item.question for item in desk.queue()]


def test_the_sample_of_silent_turns_stays_the_same(store: Store, ledger: Ledger) -> None:
    turns = [finished_turn(store, str(number), OSLO).id for number in range(60)]
    few, all_ = (ReviewDesk(store, ledger, Policy(silent_share=share)) for share in (0.2, 1))
    drawn = {item.turn_id for item in few.queue()}
    assert 0 < len(drawn) < 40 and {next(iter(item.reasons)) for item in few.queue()} == {"sample"}
    for turn in turns:
        store.database.insert("review_stale", {"turn_id": turn}, ignore=True)
    assert {item.turn_id for item in few.queue()} == drawn
    for turn in turns:
        store.database.insert("review_stale", {"turn_id": turn}, ignore=True)
    assert len(all_.queue()) == 60


def test_a_model_is_unsure_by_its_own_measure(store: Store, desk: ReviewDesk) -> None:
    sure, told = Confidences(store.database), []
    for number in range(FEWEST + 10):
        turn = finished_turn(store, str(number), OSLO)
        unlikely, close = number == FEWEST + 5, number == FEWEST + 6
        sure.record(turn.id, turn.model, Confidence(-2.0 if unlikely else -0.1, 0.01 if close else 3.0 + number / 100, 9))
        told += [turn.id] if unlikely or close else []
    found = {item.turn_id: item.reason for item in desk.queue(Filter(reason="unsure"))}
    assert set(told) <= found.keys() and len(found) <= 4
    assert "mean log-probability -2.00" in found[told[0]] and "margin 0.01" in found[told[1]]


def test_confidence_is_what_the_tokens_say() -> None:
    made = Confidence.of([TokenChance(-0.1, -3.0), TokenChance(-0.3, -0.5), TokenChance(-0.2, None)])
    assert made is not None and made.tokens == 3
    assert (round(made.mean_logprob, 6), round(made.margin, 6)) == (-0.2, 0.2)
    assert Confidence.of([]) is None is Confidence.of([TokenChance(-0.1, None)])


def test_the_queue_is_filtered_and_sorted(store: Store, desk: ReviewDesk) -> None:
    first, second = blamed(store, "Where is 100% of Order_7?"), blamed(store, "What about order 17?")
    praised = finished_turn(store, "thanks for the order", TIME)
    store.rate("ann", praised.id, "up")
    found = lambda **how: [item.turn_id for item in desk.queue(Filter(**how))]  # noqa: E731
    assert found() == [second, first, praised.id] and found(sort="newest") == [praised.id, second, first]
    assert found(sort="oldest") == [first, second, praised.id]
    assert found(reason="thumb_up") == [praised.id] == found(tool="local_time") and found(tool="local") == []
    assert found(text="ORDER_7") == [first] == found(text="100%") and found(text="order 1") == [second]
    assert found(model="local/tool-llama-5m") == found() and found(model="else") == []
    assert desk.choices() == (["get_weather", "local_time"], ["local/tool-llama-5m"])


# claims and versions -------------------------------------------------------------------------------------------------


def test_a_turn_that_somebody_is_at_waits_for_them(store: Store, desk: ReviewDesk) -> None:
    turn = blamed(store)
    mine, theirs = desk.open(turn, "rita"), desk.open(turn, "rob")
    assert mine.claim and theirs.claim and (mine.claim.reviewer, theirs.claim.reviewer) == ("rita", "rita")
    (item,) = desk.queue(reviewer="rob")
    assert item.claimed_by == "rita" and item.claimed_until == mine.claim.until
    assert desk.queue(reviewer="rita")[0].claimed_by is None
    for decide in (lambda: desk.approve(turn, "rob", TIME), lambda: desk.reject(turn, "rob")):
        with pytest.raises(Conflict, match=r"rita is reviewing this turn until \d\d:\d\d"):
            decide()
    desk.approve(turn, "rita", TIME)
    assert desk.claims.holder(turn) is None


def test_a_claim_ends_by_itself_is_renewed_and_let_go(store: Store, desk: ReviewDesk) -> None:
    turn, other = blamed(store), blamed(store)
    at = datetime.now(UTC)
    later = [at + timedelta(minutes=minutes) for minutes in (8, 16, 30)]
    first = desk.claims.take(turn, "rita", at)
    assert desk.claims.take(turn, "rita", later[0]).since == first.since  # renewed: since when stays
    assert desk.claims.take(turn, "rob", later[1]).reviewer == "rita"
    assert desk.claims.take(turn, "rob", later[2]).reviewer == "rob"
    desk.claims.take(other, "rob", later[2])  # who opens another turn lets the last one go
    assert desk.claims.holder(turn, later[2]) is None


def test_no_decision_overwrites_one_that_was_not_seen(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = blamed(store)
    version = desk.item(turn, "rob").version
    kept = desk.approve(turn, "rita", TIME, version=desk.item(turn, "rita").version)
    with pytest.raises(Conflict, match=r"rita has decided on this turn meanwhile \(approved, with a correction\)"):
        desk.reject(turn, "rob", version=version)
    assert [example.id for example in ledger.examples()] == [kept]
    now = desk.item(turn, "rob")
    assert now.review and now.review.reviewer == "rita"
    desk.reject(turn, "rob", version=now.version)  # having seen it
    assert ledger.examples() == []


def test_the_time_a_correction_takes_is_that_since_opening(store: Store, desk: ReviewDesk) -> None:
    for seconds, turn in ((40, blamed(store)), (4000, blamed(store)), (20, blamed(store))):
        desk.claims.take(turn, "rita", datetime.now(UTC) - timedelta(seconds=seconds))
        desk.approve(turn, "rita", TIME)
    found = desk.statistics()
    assert found.corrections == 3 and found.seconds and 40 <= found.seconds < 42
    assert store.database.first("SELECT max(seconds) AS most FROM reviews") == {"most": 600}
    assert "A correction takes 4" in found.text() and "Only one reviewer is known" in found.text()


# undo ----------------------------------------------------------------------------------------------------------------


def test_decisions_are_taken_back_one_by_one(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    approved, rejected, skipped = (blamed(store, f"q{number}") for number in range(3))
    desk.approve(approved, "rita", TIME)
    desk.reject(rejected, "rita")
    desk.skip(skipped, "rita")
    assert desk.queue(reviewer="rita") == [] and [item.turn_id for item in desk.queue(reviewer="rob")] == [skipped]
    assert [desk.undo("rita") for _ in range(3)] == [skipped, rejected, approved]
    assert ledger.examples() == [] and len(desk.queue(reviewer="rita")) == 3
    with pytest.raises(Conflict, match="no decision of yours"):
        desk.undo("rita")
    again = desk.approve(approved, "rita", TIME)
    assert [example.id for example in ledger.examples()] == [again]
    assert [review.verdict for review in store.reviews(approved)] == ["approved", "withdrawn", "approved"]


def test_what_another_has_decided_since_is_not_taken_back(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = blamed(store)
    desk.reject(turn, "rita")
    desk.approve(turn, "rob", TIME)
    with pytest.raises(Conflict, match="no decision of yours"):
        desk.undo("rita")
    desk.undo("rob")  # and rita's rejection does not come back by itself
    assert ledger.examples() == [] and [item.turn_id for item in desk.queue()] == [turn]


# cause ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["tool", "rail", "other"])
def test_only_what_the_model_did_wrong_is_learned(store: Store, ledger: Ledger, desk: ReviewDesk, cause: Any) -> None:
    turn = blamed(store)
    assert desk.approve(turn, "rita", TIME, cause=cause) is None and ledger.examples() == [] == desk.queue()
    review = desk.item(turn).review
    assert review and (review.cause, review.response_override) == (cause, TIME)


def test_the_cause_is_guessed_from_the_reasons(store: Store, desk: ReviewDesk) -> None:
    broken = finished_turn(store, "broken", OSLO, call_status="failed")
    (call,) = store.calls(broken.id)
    store.save_call(replace(call, error="get_weather failed unexpectedly (KeyError). Try again or ask differently."))
    blocked = finished_turn(store, "blocked", status="blocked")
    assert [desk.item(turn).cause for turn in (broken.id, blocked.id, blamed(store))] == ["tool", "rail", "model"]
    store.rate("ann", broken.id, "down", ["wrong_tool"])
    assert desk.item(broken.id).cause == "model"


# two reviewers -------------------------------------------------------------------------------------------------------


def test_the_second_reviewer_does_not_see_the_first_and_their_agreement_counts(
    store: Store, ledger: Ledger, pairs: ReviewDesk
) -> None:
    turn = blamed(store)
    version = pairs.item(turn, "rob").version
    assert pairs.approve(turn, "rita", TIME) is None and ledger.examples() == []
    assert pairs.queue(reviewer="rita") == []
    (item,) = pairs.queue(reviewer="rob")
    hidden = pairs.item(turn, "rob")
    assert (item.verdict, hidden.review, hidden.others) == (None, None, [])
    assert pairs.approve(turn, "rob", TIME, version=version) is not None  # also if rob began before rita decided
    assert [example.reviewer for example in ledger.examples()] == ["rob"] and pairs.queue(reviewer="rosa") == []
    pairs.undo("rob")
    assert ledger.examples() == [] and pairs.item(turn).state == "second"


def test_where_two_disagree_a_third_decides(store: Store, ledger: Ledger, pairs: ReviewDesk) -> None:
    turn = blamed(store)
    pairs.approve(turn, "rita", TIME)
    pairs.reject(turn, "rob")
    assert ledger.examples() == [] and pairs.queue(reviewer="rita") == pairs.queue(reviewer="rob") == []
    (item,) = pairs.queue(reviewer="rosa")
    assert item.reason.startswith("two reviewers disagree")
    assert [review.reviewer for review in pairs.item(turn, "rosa").others] == ["rita", "rob"]
    made = pairs.approve(turn, "rosa", TIME)
    assert [example.id for example in ledger.examples()] == [made] and pairs.item(turn).state == "done"


def test_with_one_reviewer_nothing_goes_to_a_second(store: Store, ledger: Ledger) -> None:
    alone = ReviewDesk(store, ledger, Policy(second_share=1))
    turns = [blamed(store), blamed(store)]
    alone.open(turns[0], "rita")
    assert alone.approve(turns[0], "rita", TIME) is not None
    alone.open(turns[1], "rob")
    assert alone.approve(turns[1], "rob", TIME) is None  # now there are two


def test_agreement_is_measured(store: Store, pairs: ReviewDesk) -> None:
    both = [(TIME, TIME), (TIME, calling(("local_time", {"city": "Bergen"}))), (None, None), (None, TIME)]
    for mine, theirs in both:
        turn = blamed(store)
        pairs.approve(turn, "rita", mine)
        pairs.approve(turn, "rob", theirs)
    found = pairs.statistics()
    assert (found.pairs, found.pairs_with_calls, found.kappa) == (4, 4, 0.5)
    assert found.f1 == 2 * (2 + 1 + 2 + 0) / (4 * 2 * 2)
    assert "kappa 0.50" in found.text() and f"F1 {found.f1:.2f} (n = 4)" in found.text()


def test_kappa_and_f1_by_hand() -> None:
    def said(kind: Any, *calls: Any) -> Decided:
        return Decided(kind, list(calls))

    table = (
        [("right", "right")] * 20 + [("right", "rejected")] * 5 + [("rejected", "right")] * 10 + [("rejected", "rejected")] * 15
    )
    found = kappa([(said(one), said(other)) for one, other in table])
    assert found is not None and round(found, 6) == 0.4  # the textbook's example: (0.7 - 0.5) / (1 - 0.5)
    assert kappa([]) is None is kappa([(said("right"), said("right"))])
    assert calls_f1([(said("right"), said("right"))]) is None
    one, other = ("f", {"a": 1, "b": [2]}), ("f", {"a": 1, "b": [3]})
    assert calls_f1([(said("right", one), said("right", other))]) == 2 * 2 / 6


def test_the_numbers_on_the_command_line(settings: Settings) -> None:
    with closing(Store(settings.store_path)) as store:
        blamed(store)
    said = CliRunner().invoke(main, ["review", "stats", "--json"])
    assert said.exit_code == 0 and json.loads(said.stdout)["waiting"] == 1
    told = CliRunner().invoke(main, ["review", "stats"]).stdout
    assert "Only one reviewer is known" in told and "0 decisions; 1 turns wait." in told


# similar turns -------------------------------------------------------------------------------------------------------


def test_a_correction_is_offered_to_turns_that_asked_the_same(store: Store, ledger: Ledger, desk: ReviewDesk) -> None:
    turn = blamed(store, "What time is it in Oslo?")
    same, slip = (finished_turn(store, text, OSLO).id for text in ("what time is it in OSLO", "What tiem is it in Oslo?"))
    near = finished_turn(store, "What time is it in Bergen?", OSLO).id
    finished_turn(store, "What time is it in Oslo?", OSLO, tools=[])
    finished_turn(store, "Convert 3 miles to km", OSLO)
    desk.reject(finished_turn(store, "What time is it in Oslo?", OSLO).id, "rita")
    desk.approve(turn, "rita", TIME)
    assert [(one.turn_id, one.applies) for one in desk.similar(turn, TIME)] == [(same, True), (slip, True), (near, False)]
    made = [desk.approve(one.turn_id, "rita", TIME) for one in desk.similar(turn, TIME) if one.applies]
    assert len({*made}) == 2 and [one.turn_id for one in desk.similar(turn, TIME)] == [near]
    assert desk.undo("rita") == slip and len(ledger.examples()) == 2


@pytest.mark.parametrize(
    ("one", "other", "arguments", "expected"),
    [
        ("How many miles is 10 km?", "how many milse is 10 km", {"value": 10, "to_unit": "km"}, (True, True)),
        ("How many miles is 10 km?", "How many miles is 12 km?", {"value": 10}, (True, False)),
        ("Weather in Oslo today", "Weather in Oslo tomorrow", {"city": "Oslo"}, (True, False)),
        ("Weather in Oslo", "Weather in Olso", {"city": "Oslo"}, (True, False)),
        ("Weather in Oslo", "Remind me to call Anna", {"city": "Oslo"}, (False, False)),
        ("Weather in Oslo", "", {}, (False, False)),
    ],
)
def test_small_edits_carry_over_and_other_values_do_not(one: str, other: str, arguments: Any, expected: Any) -> None:
    assert (alike(one, other), carries_over(one, other, calling(("f", arguments)))) == expected


# data of an earlier version ------------------------------------------------------------------------------------------


def test_a_store_of_an_earlier_version_opens_with_its_turns_in_the_queue(tmp_path: Path) -> None:
    path = tmp_path / "flywheel.db"
    with closing(Store(path)) as store:
        turn = blamed(store)
        undo_migration(store.database)
    with closing(Store(path)) as again:
        desk = ReviewDesk(again, Ledger(again.database), ALONE)
        assert [item.turn_id for item in desk.queue()] == [turn]
        desk.approve(turn, "rita", TIME)
        assert desk.queue() == []


def undo_migration(database: Database) -> None:
    """Leave the file as it was before the desk's tables."""
    for row in database.query("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'review_stale_%'"):
        database.execute(f"DROP TRIGGER {row['name']}")
    for table in ("review_stale", "review_queue", "review_claims", "second_looks", "confidences"):
        database.execute(f"DROP TABLE {table}")
    database.execute("DROP INDEX reviews_reviewer")
    for column in ("cause", "suggested_by", "seconds", "provisional"):
        database.execute(f"ALTER TABLE reviews DROP COLUMN {column}")
    database.execute("DELETE FROM _sqlite_migrations WHERE name = 'm008_desk'")
