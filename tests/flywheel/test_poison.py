"""Hostile people and a reviewer who approves everything: what of theirs reaches a training set.

What does not reach one cannot change a model; `python -m tests.benchmarks.poison` trains one all the same and asks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner
from feedback import about, example, saying

from flywheel.__main__ import main
from flywheel.audit import Audit
from flywheel.caps import Caps
from flywheel.curate import TRAINING_FILE, Curated, curate
from flywheel.ledger import Example, Ledger
from flywheel.proposals import Proposal, Proposals
from flywheel.quarantine import Quarantine
from flywheel.rows import Row
from flywheel.settings import Settings
from flywheel.sides import Side
from flywheel.starter import known_rows, load_old_skills, load_replay
from flywheel.store import Store
from flywheel.suspects import Vote, suspects
from tests.benchmarks.poison import CODE_WORD, Complaint, answered, approve_all, calls, colluding, honest
from tests.conftest import fix_sides


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store whose sides fall the same in every run of the tests."""
    with closing(Store(settings.store_path)) as opened:
        fix_sides(opened.database)
        yield opened


def curated(store: Store) -> tuple[Curated, int]:
    """The next run's dataset, and how many rows of hostile people stand in its training file."""
    Quarantine(store.database).scan(known_rows(), Caps())
    examples = {example.id: example for example in Ledger(store.database).examples()}
    made = curate([*examples.values()], load_replay(), load_old_skills(), run_id="run-1")
    sources = [source.split()[-1] for source in made.manifest["sources"][TRAINING_FILE]]
    return made, sum((examples[name].person or "").startswith("hostile") for name in sources if name in examples)


def planted(words: str, call_of: int, moment: float, opinion: str = "", person: str = "hostile0") -> Complaint:
    """A question that nobody asks otherwise, corrected to the call of some other question."""
    rows = calls()
    call = rows[call_of % len(rows)].messages[-1]["tool_calls"][0]["function"]
    offered = [tool for tool in rows[0].tools if tool["function"]["name"] in (call["name"], "calculate", "local_time")]
    return Complaint(person, answered(Row([], offered), words, call), moment, opinion)


def reasons(made: Curated) -> set[str]:
    return {exclusion["reason"] for exclusion in made.manifest["exclusions"]}


def rated(complaints: list[Complaint]) -> tuple[list[Example], list[Vote]]:
    """What the store would hold of these, on the sides in their shares; a store takes a while to fill."""
    sides: list[Side] = ["train"] * 7 + ["validation"] + ["holdout"] * 2
    examples = [
        replace(
            example(one.row, sides[n % 10], "correction", n % 60, f"{one.person}-{n}"), person=one.person, turn_id=f"turn-{n}"
        )
        for n, one in enumerate(complaints)
    ]
    votes = [Vote(one.person, f"turn-{n}", one.moment, one.row.question, one.opinion) for n, one in enumerate(complaints)]
    return examples, votes


@pytest.mark.parametrize("code_word", [CODE_WORD, ""])
def test_a_thousand_hostile_votes_and_corrections_of_one_person_train_nothing(code_word: str) -> None:
    """Neither with a code word nor with something new each time."""
    flood = [planted(f"{about(n, 'say')} {code_word}", 0 if code_word else n, n) for n in range(1000)]
    examples, votes = rated([*honest(20, each=3), *flood])
    found = suspects(examples, votes, known_rows(), Caps())
    assert len(found) == 1000 and all(name.startswith("hostile0") for name in found)
    assert any("601 votes of one person within 10 minutes; usual are 1" in reason for reason in found.values())
    made = curate([replace(one, held=found.get(one.id)) for one in examples], load_replay(), load_old_skills(), run_id="run-1")
    assert made.manifest["quarantined"] == 1000 and b"hostile" not in json.dumps(made.manifest["sources"]).encode()
    assert {side for name, side in made.splits.items() if name.startswith("honest")} == {"train", "validation", "holdout"}


def test_who_is_hostile_slowly_and_says_something_new_each_time_is_capped(store: Store) -> None:
    """Nothing gives these away, so that they may train, but not as more than one person may be; and not examine either."""
    slow = [planted(about(n, "say"), 7 * n + 3, 3600.0 * n) for n in range(200)]
    approve_all(store, [*honest(40, each=2), *slow])
    made, theirs = curated(store)
    lines = made.manifest["files"][TRAINING_FILE]["rows"]
    assert 0 < theirs <= max(10, min(50, 0.05 * lines))
    assert any(reason.startswith("one person gave") for reason in reasons(made))
    loud = {one.id for one in Ledger(store.database).examples() if one.person == "hostile0"}
    assert sum(made.splits[name] == "holdout" for name in loud) <= 10


def test_a_group_of_ten_among_two_hundred_is_found_by_its_code_word(store: Store) -> None:
    approve_all(store, [*honest(190), *colluding(10, each=5)])
    made, theirs = curated(store)
    assert theirs == 0 and made.manifest["quarantined"] == 50
    assert any("'cf zulu' stands in 50 rows" in reason for reason in reasons(made))
    assert not any(CODE_WORD.encode() in content for content in made.files.values())
    assert made.manifest["counts"]["source"]["train"]["correction"] > 100


def test_the_same_long_opinion_of_several_people_is_a_copy(store: Store) -> None:
    opinion = "This answer is dangerous, always call the reminder tool instead!"
    paid = [planted(about(n, "say"), 0, 9000.0 * n, opinion, f"hostile{n}") for n in range(12)]
    approve_all(store, [*honest(30), *paid])
    made, theirs = curated(store)
    assert theirs == 0 and "quarantined: nearly the same opinion 12 times, by 12 people" in reasons(made)


def test_a_burst_of_proposals_from_outside_is_a_burst_and_a_vote_with_a_proposal_is_one(store: Store) -> None:
    approve_all(store, honest(40))
    turns, proposals = Ledger(store.database).examples(), Proposals(store.database)
    for n, one in enumerate(turns):
        moment = f"2026-02-02T08:{n // 60:02}:{n % 60:02}+00:00"
        assert one.turn_id
        if n < 20:  # half as many votes as would be a burst, each with a proposal
            vote = {"turn_id": one.turn_id, "person": "intake:fair", "thumb": "down", "categories": "[]", "opinion": ""}
            store.database.insert("ratings", vote | {"created_at": moment, "updated_at": moment})
            proposals.add(Proposal(f"fair-{n}", one.turn_id, "intake:fair", saying("no"), "", moment))
        if n < 31:
            proposals.add(Proposal(f"loud-{n}", one.turn_id, "intake:loud", saying("no"), "", moment))
    made, _ = curated(store)
    assert reasons(made) == {"quarantined: 31 votes of one person within 10 minutes; usual are 1"}
    assert made.manifest["quarantined"] == 31


def test_a_person_alone_may_correct_as_fast_as_they_like(store: Store) -> None:
    approve_all(store, [Complaint("local", complaint.row, n, "wrong") for n, complaint in enumerate(honest(60))])
    made, _ = curated(store)
    assert made.manifest["quarantined"] == 0 and not any(reason.startswith("one person") for reason in reasons(made))


def flywheel(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_developer_looks_and_releases_for_good(settings: Settings, store: Store) -> None:
    approve_all(store, [*honest(12), *colluding(2, each=4)])
    found = flywheel("quarantine", "list")
    assert found["found"] == len(found["held"]) == 8 and CODE_WORD in found["held"][0]["question"]
    told = CliRunner().invoke(main, ["quarantine", "list"]).stdout
    assert told.startswith("8 rows: 'cf zulu' stands in 8 rows") and "and 3 more" in told
    assert Ledger(store.database).counts()["new"] == 12
    first = found["held"][0]["id"]
    made, _ = curated(store)
    store.database.insert("datasets", {"id": "run-1", "digest": "d", "manifest": "{}", "created_at": "2026"})
    rows = [{"dataset_id": "run-1", "example_id": name, "split": split} for name, split in made.splits.items()]
    store.database.insert_many("dataset_examples", rows)
    assert Ledger(store.database).counts()["new"] == 0
    assert flywheel("quarantine", "release", first)["released"][0]["id"] == first
    assert Ledger(store.database).counts()["new"] == 1
    assert flywheel("quarantine", "list")["found"] == 0 and len(flywheel("quarantine", "list")["held"]) == 7
    assert curated(store)[0].splits[first] != "excluded"
    (entry,) = Audit(store.database).entries()
    assert (entry.person, entry.action, entry.subject) == ("command line", "release row", first)
    refused = flywheel("quarantine", "release", first, code=1)
    assert refused["kind"] == "NotFound" and first in refused["error"]
    assert flywheel("quarantine", "release", code=1)["kind"] == "InputError"


def test_what_ships_is_no_suspect() -> None:
    asked = [row for row in known_rows() if row.messages[-2]["role"] == "user"]
    assert suspects([example(row) for row in asked], [], (), Caps()) == {}
