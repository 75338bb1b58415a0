"""Nobody is more of a training set than the policy allows, and a laptop's one person loses nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from feedback import about, example, row
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.caps import Caps, excess
from flywheel.curate import TRAINING_FILE, curate
from flywheel.ledger import Example


def given_by(people: dict[str, int], source: str = "correction") -> list[Example]:
    """So many examples of each person, one a second in turn."""
    turns = [(person, n) for person, count in people.items() for n in range(count)]
    return [
        replace(example(row(about(n, person)), "train", source, moment=n % 60, name=f"{person}-{n}"), person=person)  # type: ignore[arg-type]
        for person, n in turns
    ]


def test_four_people_are_not_capped_and_imports_are_nobodys() -> None:
    assert excess(given_by({"ann": 500, "bob": 1, "cy": 1, "dan": 1}), Caps()) is None
    imported = given_by({f"p{n}": 1 for n in range(4)}) + given_by({"dev": 500}, "import")
    assert excess(imported, Caps()) is None


def test_one_loud_person_among_many_keeps_the_newest_and_no_more_than_the_others_allow() -> None:
    people = {"loud": 55} | {f"p{n}": 10 for n in range(29)}
    found = excess(given_by(people), Caps())
    assert found is not None and found.limit == 15 and len(found.reasons) == 40
    assert {name.split("-")[0] for name in found.reasons} == {"loud"}
    assert "loud-54" not in found.reasons and "loud-0" in found.reasons
    assert found.reasons["loud-0"] == "one person gave 55 rows of this kind; at most 15 of theirs are used"
    examined = excess(given_by(people), Caps(), newest=False)
    assert examined is not None and "loud-54" in examined.reasons and "loud-0" not in examined.reasons


def test_a_few_people_share_equally_and_small_sets_are_left_alone() -> None:
    assert (excess(given_by({name: 20 for name in "abcde"}), Caps()) or pytest.fail()).reasons == {}
    small = excess(given_by({name: 9 for name in "abcde"}), Caps())
    assert small is not None and small.limit >= 10 and small.reasons == {}


PEOPLE = st.dictionaries(st.sampled_from([f"p{n}" for n in range(30)]), st.integers(1, 90), max_size=30)


@settings(max_examples=60, deadline=None)
@given(PEOPLE, st.integers(0, 200), st.integers(1, 3), st.integers(0, 100))
def test_the_caps_hold_for_any_people(people: dict[str, int], imports: int, weight: int, replay: int) -> None:
    caps = Caps()
    examples = given_by(people) + given_by({"dev": imports}, "import")
    found = excess(examples, caps, weight=weight, beside=lambda rows: min(rows, replay))
    if found is None:
        assert len(people) < caps.caps_from_people
        return
    kept = [one for one in examples if one.id not in found.reasons]
    theirs = Counter({one.person: 0 for one in kept})
    for one in kept:
        theirs[one.person] += weight if one.source == "correction" else 1
    del theirs["dev"]
    total = imports + sum(theirs.values())
    share = max(caps.person_share, 100 / len(people)) / 100
    allowed = max(caps.person_floor, min(caps.person_rows, share * (total + min(total, replay))) + weight)
    assert all(rows <= allowed for rows in theirs.values()) and max(theirs.values(), default=0) <= caps.person_rows
    assert {person for person in people} == set(theirs)  # nobody loses all


def test_the_curated_set_holds_what_one_person_may_be() -> None:
    people = {"loud": 300} | {f"p{n}": 2 for n in range(40)}
    made = curate(given_by(people), [], [], run_id="run-1")
    sources = Counter(source.split()[-1].split("-")[0] for source in made.manifest["sources"][TRAINING_FILE])
    assert sources["loud"] <= 10 and sources.total() == sources["loud"] + 80
    assert sum("one person gave 300 rows" in one["reason"] for one in made.manifest["exclusions"]) == 290
