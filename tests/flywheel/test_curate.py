"""What trains, what checks and what examines."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from feedback import CLOCK, SUM, WEATHER, about, calling, example, row, saying, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE, VALIDATION_FILE, Curated, curate, digest_of, line_digest
from flywheel.errors import InputError
from flywheel.ledger import Example
from flywheel.rows import Row, question_key
from flywheel.sides import drawn_side

REPLAY = [row(about(n, "replay")) for n in range(150)]
OLD_SKILLS = [row(about(n, "old skill"), saying("words")) for n in range(10)]


def lines(made: Curated, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.files[path].splitlines()]


def questions(made: Curated, path: str) -> Counter[str]:
    return Counter([m["content"] for m in line["messages"] if m["role"] == "user"][-1] for line in lines(made, path))


def reasons(made: Curated) -> dict[str, str]:
    return {exclusion["id"]: exclusion["reason"] for exclusion in made.manifest["exclusions"]}


def test_ten_groups_of_a_kind_fall_in_the_promised_shares_and_which_is_drawn_by_the_key() -> None:
    drawn = {key: [drawn_side(key, "get_weather", n) for n in range(400)] for key in (b"one", b"two")}
    for sides in drawn.values():
        for begin in range(0, 400, 10):
            assert Counter(sides[begin : begin + 10]) == {"train": 7, "validation": 1, "holdout": 2}
        assert len({tuple(sides[begin : begin + 10]) for begin in range(0, 400, 10)}) > 20
    assert drawn[b"one"] != drawn[b"two"] != [drawn_side(b"two", "local_time", n) for n in range(400)]


def test_each_side_goes_into_its_file_in_the_shape_its_service_takes() -> None:
    both = calling(("local_time", {"city": "Oslo"}), ("get_weather", {"city": "Oslo"}))
    examples = [
        example(row("train me"), "train", name="t"),
        example(row("check me"), "validation", name="v"),
        example(row("examine me", both), "holdout", name="h"),
        example(row("say it", saying("hello")), "holdout", name="n"),
    ]
    made = curate(examples, [], OLD_SKILLS[:1], run_id="run-1")
    (trained,) = lines(made, TRAINING_FILE)
    assert trained["messages"][-1]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": {"city": "Oslo"}}
    assert questions(made, VALIDATION_FILE) == Counter(["check me"])
    examined = {line["key"]: line for line in lines(made, HOLDOUT_FILE)}
    assert [m["role"] for m in examined["h"]["messages"]] == ["user"]
    assert [call["function"]["name"] for call in examined["h"]["tool_calls"]] == ["local_time", "get_weather"]
    assert (examined["h"]["suite"], examined["h"]["tool"]) == ("holdout", "get_weather, local_time")
    assert (examined["n"]["tool"], examined["n"]["tool_calls"]) == ("no tool", [])
    assert examined[OLD_SKILLS[0].digest]["suite"] == "old_skills"
    assert made.splits == {"t": "train", "v": "validation", "h": "holdout", "n": "holdout"}


def test_what_is_examined_never_trains() -> None:
    examples = [
        example(row("Weather in Oslo?"), "holdout", name="exam"),
        example(row("weather in  OSLO"), "train", name="twin"),
        example(row(OLD_SKILLS[3].question + "!"), "train", name="old"),
        example(row("something else"), "train"),
    ]
    made = curate(examples, [*REPLAY, row("weather in oslo?"), row(OLD_SKILLS[4].question.upper())], OLD_SKILLS, run_id="run-1")
    assert "holdout" in reasons(made)["twin"] and "old skills" in reasons(made)["old"]
    assert made.splits["twin"] == made.splits["old"] == "excluded"
    learned = questions(made, TRAINING_FILE) + questions(made, VALIDATION_FILE)
    assert not {question_key(text) for text in learned} & {question_key(text) for text in questions(made, HOLDOUT_FILE)}
    assert made.manifest["overlap"] == 0


def test_the_newest_correction_stands_for_its_question() -> None:
    right, wrong = calling(("local_time", {"city": "Oslo"})), calling(("add", {"a": 1, "b": 2}))
    examples = [
        example(row("what time", wrong), source="correction", moment=1, name="first"),
        example(row("What time?", right), source="correction", moment=2, name="second"),
        example(row("what  time", wrong), source="thumb_up", moment=3, name="later thumb"),
        example(row("what time!", wrong), source="import", moment=4, name="later import"),
    ]
    made = curate(examples, [], [], run_id="run-1")
    assert made.splits == {"second": "train", "first": "excluded", "later thumb": "excluded", "later import": "excluded"}
    assert all("'second'" in reason for reason in reasons(made).values())
    assert {line["messages"][-1]["tool_calls"][0]["function"]["name"] for line in lines(made, TRAINING_FILE)} == {"local_time"}


def test_another_context_or_other_tools_make_another_question() -> None:
    before = ({"role": "user", "content": "weather in Rome"}, saying("sunny"))
    asked = [row("and tomorrow"), row("and tomorrow", context=before), row("and tomorrow", tools=[WEATHER])]
    assert [*curate([*map(example, asked)], [], [], run_id="run-1").splits.values()] == ["train"] * 3
    reordered = [example(row("and tomorrow")), example(row("and tomorrow", tools=[SUM, CLOCK, WEATHER]), moment=1)]
    assert sorted(curate(reordered, [], [], run_id="run-1").splits.values()) == ["excluded", "train"]


def test_a_correction_of_an_examined_question_corrects_the_exam() -> None:
    right = calling(("local_time", {"city": "Oslo"}))
    examples = [
        example(row("what time"), "holdout", name="stale"),
        example(row("what time", right), "train", "correction", moment=1, name="fix"),
        example(row("else"), "train"),
    ]
    made = curate(examples, [], [], run_id="run-1")
    assert made.splits["fix"] == "holdout" and made.splits["stale"] == "excluded"
    assert made.manifest["moved_to_holdout"] == ["fix"]
    (examined,) = lines(made, HOLDOUT_FILE)
    assert examined["tool"] == "local_time"


def test_a_correction_takes_its_question_out_of_the_old_skills() -> None:
    fix = example(row(OLD_SKILLS[3].question, calling(("local_time", {"city": "Oslo"}))), "train", "correction", name="fix")
    made = curate([fix], [], OLD_SKILLS, run_id="run-1")
    assert made.splits == {"fix": "train"} and made.manifest["old_skills"] == 9
    assert OLD_SKILLS[3].question not in questions(made, HOLDOUT_FILE)


def converting(kilometres: int) -> Row:
    """A question that is near to every other of these, with an answer of its own."""
    return row(f"{kilometres} km in miles please", calling(("add", {"a": kilometres, "b": 0})))


def test_questions_that_differ_in_a_value_stay_and_follow_the_oldest() -> None:
    near = [example(converting(n), "validation" if n == 10 else "train", moment=n, name=str(n)) for n in range(10, 14)]
    made = curate([*near, example(row("else"))], [], [], run_id="run-1")
    assert {name: made.splits[name] for name in ("10", "11", "12", "13")} == dict.fromkeys(("10", "11", "12", "13"), "validation")
    assert made.manifest["followed_older"] == ["13", "12", "11"]
    corrected = replace(near[2], source="correction")
    assert curate([*near[:2], corrected], [], [], run_id="run-1").splits == dict.fromkeys(("10", "11", "12"), "train")


def test_what_is_nearly_examined_never_trains() -> None:
    near = [example(converting(n), "train", name=str(n)) for n in (1, 2)]
    fix = example(converting(3), "train", "correction", name="fix")
    old = [converting(5)]
    made = curate(
        [*near, fix, example(converting(4), "holdout", name="exam"), example(row("else"))], [converting(6)], [], run_id="r"
    )
    assert (made.splits["1"], made.splits["2"], made.splits["fix"], made.splits["exam"]) == (
        "excluded",
        "excluded",
        "holdout",
        "holdout",
    )
    assert "nearly the same, stands in the holdout" in reasons(made)["1"] and made.manifest["moved_to_holdout"] == ["fix"]
    assert not any("km in miles" in asked for asked in questions(made, TRAINING_FILE) + questions(made, VALIDATION_FILE))
    assert made.manifest["overlaps"]["nearly the same in training and holdout"] == 0
    skilled = curate([*near, example(row("else"))], [converting(6)], old, run_id="run-1")
    assert "examines the old skills" in reasons(skilled)["1"] and skilled.manifest["old_skills"] == 1
    corrected = curate([fix], [], old, run_id="run-1")
    assert corrected.splits == {"fix": "train"} and corrected.manifest["old_skills"] == 0


def test_nearly_the_same_question_with_the_same_answer_is_one_row_unless_it_was_corrected() -> None:
    asked = [
        "What is the weather in Oslo today?",
        "what is the weather in Oslo today, please",
        "What's the weather in Oslo today?",
    ]
    examples = [example(row(text), moment=n, name=str(n)) for n, text in enumerate(asked)]
    made = curate(examples, [], [], run_id="run-1")
    assert made.splits == {"0": "excluded", "1": "excluded", "2": "train"} and "'2' stands for it" in reasons(made)["0"]
    for name in "01":
        corrected = [replace(one, source="correction") if one.id == name else one for one in examples]
        assert curate(corrected, [], [], run_id="run-1").splits == {
            one.id: "train" if one.id == name else "excluded" for one in examples
        }
    both = [replace(one, source="correction") for one in examples]
    assert set(curate(both, [], [], run_id="run-1").splits.values()) == {"train"}


def test_identifiers_of_rows_from_before_masking_are_masked_and_counted() -> None:
    examples = [
        example(row("mail ann@acme.org the weather"), name="old"),
        replace(example(row("mail person1@example.com the time"), name="new"), masked={"email": 2, "ip": 1}),
    ]
    made = curate(examples, [], [], run_id="run-1")
    assert b"acme" not in b"".join(made.files.values()) and made.manifest["masked"] == {"email": 3, "ip": 1}
    (digest,) = made.manifest["variants"]["old"]  # by which erasing finds the line
    assert digest in {line_digest(line) for line in lines(made, TRAINING_FILE)}
    strict = tool("get_weather", city="string")
    strict["function"]["parameters"]["properties"]["city"]["maxLength"] = 12
    unfit = row("ann@acme.org", calling(("get_weather", {"city": "ann@acme.org"})), [strict])
    made = curate([example(unfit, name="unfit"), example(row("else"))], [], [], run_id="run-1")
    assert "does not fit the tool's schema" in reasons(made)["unfit"]


def test_what_is_in_quarantine_waits() -> None:
    held = replace(example(row("held"), name="held"), held="a burst")
    made = curate([held, example(row("free"), name="free")], [], [], run_id="run-1")
    assert made.splits == {"held": "excluded", "free": "train"} and reasons(made)["held"] == "quarantined: a burst"
    assert made.manifest["quarantined"] == 1
    with pytest.raises(InputError, match="0 are left out, 1 are in quarantine"):
        curate([held], [], [], run_id="run-1")


def test_every_line_has_its_source() -> None:
    examples = [
        example(row("How warm is Oslo?"), source="correction", name="fix"),
        example(row("And Rome?", calling(("get_weather", {"city": "Rome"}))), name="import"),
        example(row("Is it late?"), "holdout", name="exam"),
        example(row("Who checks?"), "validation", name="check"),
    ]
    made = curate(examples, REPLAY, OLD_SKILLS[:2], run_id="run-1")
    sources = made.manifest["sources"]
    assert {path: len(names) for path, names in sources.items()} == {path: len(lines(made, path)) for path in made.files}
    assert Counter(sources[TRAINING_FILE]) == {"fix": 1, "import": 1, "variant of fix": 2, "replay": 80}
    assert sources[VALIDATION_FILE] == ["check"] + ["replay"] * 15
    assert sources[HOLDOUT_FILE] == ["exam", "old skills", "old skills"]
    at = sources[TRAINING_FILE].index("import")
    assert lines(made, TRAINING_FILE)[at]["messages"][0]["content"] == "And Rome?"


def test_what_could_not_be_balanced_is_said() -> None:
    clock = calling(("local_time", {"city": "Oslo"}))
    examples = [example(row(about(n)), "holdout" if n < 4 else "train") for n in range(20)]
    balanced = curate(examples, [], OLD_SKILLS, run_id="run-1").manifest
    assert balanced["unbalanced"] == {}
    examples += [example(row(about(n), clock), "train") for n in range(30, 41)]
    found = curate([*examples, example(row("late?", clock), "holdout")], [], OLD_SKILLS, run_id="run-1").manifest
    assert found["unbalanced"] == {"local_time": {"train": 11, "validation": 0, "holdout": 1}}
    assert any("local_time 1 of 12" in words for words in found["missing"])


def test_the_same_rows_make_the_same_files_whatever_the_run_the_ids_and_their_order() -> None:
    asked = [(row(about(n)), "import") for n in range(12)] + [(row("How warm is Oslo?"), "correction")]
    first = [example(one, source=source, name=f"a{n}") for n, (one, source) in enumerate(asked)]
    again = [example(one, source=source, name=f"b{n}") for n, (one, source) in enumerate(reversed(asked))]
    made = [curate(examples, REPLAY, [], run_id=f"run-{examples[0].id}").files for examples in (first, again)]
    assert made[0] == made[1]


def test_half_of_a_small_batch_is_replay() -> None:
    examples = [example(row(about(n))) for n in range(120)]
    made = curate(examples, [row(about(n, "replay")) for n in range(400)], [], run_id="run-1")
    assert made.manifest["replay_share"] == 0.5
    assert made.manifest["counts"]["source"]["train"] == {"import": 120, "replay": 120}
    assert questions(made, VALIDATION_FILE).total() == 20
    small = curate(examples[:3], REPLAY, [], run_id="run-1")
    assert small.manifest["counts"]["source"]["train"] == {"import": 3, "replay": 80}
    scarce = curate(examples, REPLAY[:30], [], run_id="run-1")
    assert scarce.manifest["counts"]["source"]["train"]["replay"] == 27


def test_few_corrections_come_with_variants_of_themselves() -> None:
    fix = example(row("How warm is Oslo?"), source="correction", name="fix")
    others = [example(row(about(n))) for n in range(200)] + [
        example(row("And Rome?", calling(("get_weather", {"city": "Rome"}))))
    ]
    made = curate([fix, *others], [], [], run_id="run-1")
    assert made.manifest["weights"]["correction"] == 3
    assert (made.manifest["augmentation"]["rows"], made.manifest["augmentation"]["of"]) == (2, 1)
    digests = made.manifest["variants"]["fix"]
    varied = [line for line in lines(made, TRAINING_FILE) if line_digest(line) in digests]
    assert len(varied) == len(set(digests)) == 2 and questions(made, TRAINING_FILE).total() == 204
    for line in varied:
        assert line["messages"][-1]["tool_calls"][0]["function"]["arguments"]["city"] in line["messages"][0]["content"]
        assert line["tools"] == fix.row.tools
    many = curate([example(row(about(n, "fix")), source="correction") for n in range(80)], [], [], run_id="run-1")
    assert many.manifest["weights"]["correction"] == 1 and questions(many, TRAINING_FILE).total() == 80
    assert many.manifest["variants"] == {} and many.manifest["augmentation"]["how"] == []


def test_no_variant_puts_one_persons_words_into_anothers() -> None:
    ann = replace(example(row("How warm is Oslo?"), source="correction", name="ann"), person="ann")
    rome = row("And Rome, how warm?", calling(("get_weather", {"city": "Rome"})))
    for person, expected in (("bob", {"Oslo"}), ("ann", {"Rome"}), (None, {"Rome"})):
        other = replace(example(rome, source="thumb_up", name="other"), person=person)
        made = curate([ann, other], [], [], run_id="run-1")
        varied = [line for line in lines(made, TRAINING_FILE) if line_digest(line) in made.manifest["variants"]["ann"]]
        cities = {line["messages"][-1]["tool_calls"][0]["function"]["arguments"]["city"] for line in varied}
        assert cities == expected


def test_no_variant_asks_what_is_examined_or_checked() -> None:
    rome = calling(("get_weather", {"city": "Rome"}))
    fix, trained = example(row("How warm is Oslo?"), source="correction", name="fix"), example(row("And Rome?", rome))
    free = curate([fix, trained], [], [], run_id="run-1")
    asked = next(each for each in questions(free, TRAINING_FILE) if "Rome" in each and each != "And Rome?")
    for held in ("holdout", "validation"):
        made = curate([fix, trained, example(row(asked, rome), held)], [], [], run_id="run-1")
        assert question_key(asked) not in {question_key(each) for each in questions(made, TRAINING_FILE)}
    examined = curate([fix, trained], [], [row(asked, rome)], run_id="run-1")
    assert question_key(asked) not in {question_key(each) for each in questions(examined, TRAINING_FILE)}


def test_the_same_input_gives_the_same_bytes_and_a_digest_that_anybody_can_check() -> None:
    examples = [example(row(about(n)), ("train", "validation", "holdout")[n % 3], name=str(n)) for n in range(60)]
    first, again = (curate(order, REPLAY, OLD_SKILLS, run_id="run-1") for order in (examples, examples[::-1]))
    assert first == again
    assert first.manifest["digest"] == digest_of(first.files)
    assert first.manifest["digest"] != curate(examples[1:], REPLAY, OLD_SKILLS, run_id="run-1").manifest["digest"]
    assert curate(examples, REPLAY, OLD_SKILLS, run_id="run-2").files[HOLDOUT_FILE] == first.files[HOLDOUT_FILE]
    for path, entry in first.manifest["files"].items():
        assert entry == {"rows": len(lines(first, path)), "sha256": hashlib.sha256(first.files[path]).hexdigest()}
    json.dumps(first.manifest)


def test_the_manifest_says_what_is_missing() -> None:
    bare = curate([example(row("q"))], REPLAY, [], run_id="run-1").manifest["missing"]
    assert [words.split(":")[0] for words in bare] == [
        "the holdout has 0 rows, so the gate cannot decide",
        "no rows examine the old skills, so forgetting would go unnoticed",
        "validation holds replay only, so its loss says nothing about the new examples",
    ]
    nothing = curate([example(row("q"))], [], OLD_SKILLS, run_id="run-1").manifest["missing"]
    assert "validation has 0 rows: import examples or approve more" in nothing
    examples = [example(row("q"), "train"), example(row("hi", saying("ho")), "holdout"), example(row("w"), "validation")]
    assert curate(examples, [], OLD_SKILLS, run_id="run-1").manifest["missing"] == [
        "trained, but not in the holdout: get_weather; import more examples of them"
    ]


def test_nothing_to_train_on_says_what_to_do() -> None:
    with pytest.raises(InputError, match="approve corrections in the review tab or import examples"):
        curate([], REPLAY, OLD_SKILLS, run_id="run-1")
    with pytest.raises(InputError, match="none of the 2 examples can train: 1 examine, 1 check"):
        curate([example(row("a"), "holdout"), example(row("b"), "validation")], REPLAY, OLD_SKILLS, run_id="run-1")


def test_separators_and_half_characters_in_a_question_do_not_break_a_file() -> None:
    made = curate([example(row("a\u2028b\x85c\ud800")), example(row("d\u2029"), "holdout")], [], [], run_id="run-1")
    for path in (TRAINING_FILE, HOLDOUT_FILE):
        assert len(made.files[path].decode().splitlines()) == 1


answers = st.sampled_from([calling(("get_weather", {"city": "Oslo"})), calling(("local_time", {"city": "Oslo"})), saying("no")])
texts = st.sampled_from([f"{word}{mark}" for word in "abcdefgh" for mark in ("", "?", " !")])
contexts = st.sampled_from([(), ({"role": "user", "content": "hi"}, saying("hello"))])
made_rows = st.builds(row, texts, answers, st.sampled_from([None, [WEATHER, CLOCK]]), contexts)
sides = st.sampled_from(["train", "validation", "holdout"])
sources = st.sampled_from(["correction", "thumb_up", "import"])
examples_of = st.lists(st.builds(example, made_rows, sides, sources, st.integers(0, 59)), max_size=25)


def _stands_for(kept: Example, dropped: Example) -> bool:
    newer = (kept.created_at, kept.id) > (dropped.created_at, dropped.id)
    return kept.source == "correction" and newer and kept.row.question_key == dropped.row.question_key


@settings(max_examples=100, deadline=None)
@given(examples_of, st.lists(made_rows, max_size=10), st.lists(made_rows, max_size=10))
def test_no_question_stands_on_two_sides_and_no_correction_is_lost(examples: list[Example], replay: Any, old: Any) -> None:
    try:
        made = curate(examples, replay, old, run_id="run-1")
    except InputError:
        return
    keys = [{question_key(text) for text in questions(made, path)} for path in (TRAINING_FILE, VALIDATION_FILE, HOLDOUT_FILE)]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert made.manifest["overlap"] == 0
    assert made.splits.keys() == {one.id for one in examples}
    kept = [one for one in examples if made.splits[one.id] != "excluded"]
    for dropped in examples:
        if made.splits[dropped.id] == "excluded":
            assert dropped.source != "correction" or any(_stands_for(one, dropped) for one in kept)
        elif dropped.side == "holdout":
            assert made.splits[dropped.id] == "holdout"
