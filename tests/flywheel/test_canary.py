"""A candidate on trial: which conversations it answers, what is counted, and what follows; all of it from the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from feedback import calling, finished_turn, saying

from flywheel.audit import Audit
from flywheel.canary import Policy
from flywheel.canary_evidence import Arms
from flywheel.database import now
from flywheel.errors import InputError
from flywheel.history import RunRecords
from flywheel.policy import read_policy
from flywheel.promote import Model, Registry
from flywheel.store import Store

TRIED = Policy(share=0.3, conversations=12)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with a run whose candidate passed the gate."""
    opened = Store(tmp_path / "flywheel.db")
    registry, records = Registry(opened.database), RunRecords(opened.database)
    registry.begin("base")
    for name in ("new", "newer"):
        records.create(f"run-{name}", "dev")
        records.note(f"run-{name}", candidate=name, current="base", verdict={"verdict": "pass", "reasons": ["better"]})
        records.finish(f"run-{name}", "succeeded", outcome="canary")
        registry.add(Model(name, "base", f"run-{name}", "candidate", now()))
    yield opened
    opened.close()


@pytest.fixture
def registry(store: Store) -> Registry:
    """With the candidate on trial."""
    made = Registry(store.database)
    made.begin_canary("new", "run-new", TRIED)
    return made


def talk(store: Store, *, down: bool = False, trouble: bool = False, turns: int = 1) -> str:
    """A conversation as the chat has it; returns the model that answered."""
    conversation = store.create_conversation("ann")
    model = Registry(store.database).serving(conversation.id)
    for number in range(turns):
        answer = calling(("get_weather", {"city": "Oslo"}))
        status = "failed" if trouble else "done"
        turn = finished_turn(store, f"q{number}", answer, saying("a"), conversation=conversation, call_status=status, model=model)
        if down:
            store.rate("ann", turn.id, "down", [], "")
    return model


def test_a_conversation_stays_with_its_model_and_the_share_holds(store: Store, registry: Registry) -> None:
    names = [f"conv-{number}" for number in range(2000)]
    first = [registry.serving(name) for name in names]
    assert first == [Registry(store.database).serving(name) for name in names]
    assert 520 < first.count("new") < 680 and set(first) == {"new", "base"}
    assert registry.served().model == "base"


def test_a_conversation_counts_once_and_by_its_worst_turn(store: Store, registry: Registry) -> None:
    said = [talk(store, down=number % 2 == 0, trouble=number % 3 == 0, turns=3) for number in range(24)]
    canary = registry.canaries.running()
    assert canary is not None
    seen = registry.canaries.seen(canary)
    assert seen.conversations == (said.count("new"), said.count("base"))
    for counted, every in ((seen.thumbs_down, 2), (seen.errors, 3)):
        bad = said[::every]
        assert counted == Arms(bad.count("new"), bad.count("base"))


def test_what_was_said_before_the_trial_does_not_count(store: Store) -> None:
    talk(store, down=True)
    registry = Registry(store.database)
    registry.begin_canary("new", "run-new", TRIED)
    canary = registry.canaries.running()
    assert canary and sum(sum(arms) for arms in registry.canaries.seen(canary)) == 0


def test_a_harmful_candidate_is_taken_back_with_the_reason(store: Store, registry: Registry) -> None:
    ended = None
    for _ in range(200):
        bad = registry.serving((conversation := store.create_conversation("ann")).id) == "new"
        model = "new" if bad else "base"
        turn = finished_turn(store, "q", saying("a"), conversation=conversation, model=model)
        if bad:
            store.rate("ann", turn.id, "down", [], "")
        if ended := Registry(store.database).decide_canary():  # after every turn, as if restarted each time
            break
    assert ended and registry.served().model == "base" and registry.model("new").status == "rejected"
    run = RunRecords(store.database).run("run-new")
    assert run.outcome == "rejected" and str(run.error).startswith(
        "taken back by the canary: significantly more thumbs down: in "
    )
    latest = registry.canaries.latest()
    assert latest and latest.status == "rolled_back" and latest.reason in str(run.error)
    assert registry.serving("conv-1") == "base" and registry.decide_canary() is None
    assert [entry.action for entry in Audit(store.database).entries()] == ["take back model", "begin canary"]


def test_a_harmless_one_answers_everybody_after_enough_conversations(store: Store, registry: Registry) -> None:
    while registry.canaries.running():
        talk(store)
        registry.decide_canary()
    canary = registry.canaries.latest()
    assert canary and canary.status == "promoted" and registry.canaries.seen(canary).conversations.candidate == 12
    assert registry.served().model == "new" and RunRecords(store.database).run("run-new").outcome == "promoted"
    move = registry.promotions()[0]
    assert (move.person, move.run_id) == ("flywheel", "run-new") and move.reason.startswith(
        "canary: 12 conversations without harm"
    )


def test_rolling_back_during_a_trial_ends_the_trial_and_nothing_else(store: Store, registry: Registry) -> None:
    assert registry.roll_back(person="dev", reason="odd answers") == "base"
    assert registry.canaries.running() is None and registry.model("new").status == "rejected"
    assert RunRecords(store.database).run("run-new").error == "rejected by dev: odd answers"
    with pytest.raises(InputError, match="'new' is rejected: give a reason"):
        registry.promote("new", person="dev", reason=" ")


def test_a_developer_may_end_the_trial_by_promoting(store: Store, registry: Registry) -> None:
    assert registry.promote("new", person="dev", reason="")
    latest, run = registry.canaries.latest(), RunRecords(store.database).run("run-new")
    assert latest and latest.status == "promoted" and (run.outcome, run.error) == ("promoted", None)


def test_another_model_put_live_or_tried_leaves_the_decision_to_a_developer(store: Store, registry: Registry) -> None:
    registry.begin_canary("newer", "run-newer", TRIED)
    run, running = RunRecords(store.database).run("run-new"), registry.canaries.running()
    assert running and running.model == "newer" and run.outcome == "waiting" and "is tried instead" in str(run.error)
    registry.promote("new", person="dev", reason="it was good")
    assert registry.canaries.running() is None and RunRecords(store.database).run("run-newer").outcome == "waiting"


def test_the_policy_file_says_how_and_refuses_what_cannot_be(tmp_path: Path) -> None:
    assert read_policy(tmp_path).canary == Policy() and read_policy(tmp_path).promotion.automatic
    (tmp_path / "policy.toml").write_text("[canary]\nshare = 1.5\n")
    with pytest.raises(InputError, match="share is 1.5; give a share"):
        read_policy(tmp_path)
