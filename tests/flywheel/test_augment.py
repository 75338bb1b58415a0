"""Variants of a row ask for the same thing: what the call says, the question says, and nothing else of the row changes."""

from __future__ import annotations

import re
from datetime import date

from feedback import TOOLS, calling, row, saying, tool
from hypothesis import given
from hypothesis import strategies as st

from flywheel.augment import values_of, variants
from flywheel.rows import Row, check_row

CONVERT = tool("convert", amount="number", unit="string", code="string")


def convert(question: str, amount: float, unit: str, code: str = "A-17") -> Row:
    return row(question, calling(("convert", {"amount": amount, "unit": unit, "code": code})), [CONVERT])


def test_values_that_are_said_and_called_change_together() -> None:
    asked = convert("How many Miles is 12 klicks, for order A-17?", 12, "klicks")
    others = [convert("Give me 3 furlongs for B-22", 3, "furlongs", "B-22"), convert("5 chains, C-9", 5, "chains", "C-9")]
    made = variants(asked, 20, values_of([asked, *others]), seed="s")
    assert len(made) == 20 and len({each.digest for each in made}) == 20
    said = [each.calls[0].arguments for each in made]
    assert {arguments["unit"] for arguments in said} == {"furlongs", "chains"}
    assert len({arguments["amount"] for arguments in said}) > 5 and all(arguments["amount"] >= 10 for arguments in said)
    assert all(re.fullmatch(r"A-[1-9]\d", arguments["code"]) for arguments in said)
    for each in made:
        arguments = each.calls[0].arguments
        assert f" {arguments['amount']} {arguments['unit']}" in each.question and arguments["code"] in each.question
        assert check_row(each) == [] and each.tools == asked.tools


def test_a_lone_text_stays_and_a_number_keeps_its_form() -> None:
    asked = convert("is 2.50 klicks far, A-17?", 2.5, "klicks")
    for each in variants(convert("is 2.5 klicks far, A-17?", 2.5, "klicks"), 8, values_of([asked]), seed="s"):
        assert each.calls[0].arguments["unit"] == "klicks" and re.search(r"\d\.\d klicks", each.question)
    assert all(each.calls[0].arguments["amount"] == 2.5 for each in variants(asked, 8, {}, seed="s"))  # said in another form


def test_days_stay_days_and_years_stay_near() -> None:
    asked = convert("2026-05-03 in 1987 for X9", 1987, "2026-05-03", "X9")
    for each in variants(asked, 12, {}, seed="s"):
        arguments = each.calls[0].arguments
        assert date.fromisoformat(arguments["unit"]).year == 2026 and 1900 <= arguments["amount"] < 2000


def test_what_stands_elsewhere_or_twice_is_not_swapped() -> None:
    pool = {("get_weather", "city"): ["Rome", "Bern"]}
    for asked in (
        row("Oslo or Oslo?"),
        row("How warm is Oslo?", context=({"role": "user", "content": "I am in Oslo"}, saying("Nice"))),
        row("How warm is it there?"),
    ):
        assert {each.calls[0].arguments["city"] for each in variants(asked, 6, pool, seed="s")} <= {"Oslo"}
    assert {each.calls[0].arguments["city"] for each in variants(row("Is Oslo warm?"), 9, pool, seed="s")} == {"Rome", "Bern"}


def test_a_conversation_before_and_an_answer_in_words_stay() -> None:
    before = ({"role": "user", "content": "Hi"}, saying("Hello"))
    for each in variants(row("Who are you really?", saying("A model"), context=before), 5, {}, seed="s"):
        assert each.messages[:2] == [*before] and each.messages[-1] == saying("A model")


def test_the_same_seed_gives_the_same_variants() -> None:
    first, again, other = (variants(row("How warm is Oslo?"), 4, {}, seed=seed) for seed in ("a", "a", "b"))
    assert first == again != other


@given(st.text(max_size=60), st.text(min_size=1, max_size=12), st.integers(-(10**6), 10**6))
def test_whatever_is_asked_variants_are_sound_rows(words: str, city: str, number: int) -> None:
    asked = Row(
        [
            {"role": "user", "content": f"x {words} {city} {number}"},
            calling(("get_weather", {"city": city}), ("add", {"a": number, "b": 1})),
        ],
        TOOLS,
    )
    for each in variants(asked, 3, {("get_weather", "city"): ["Rome", "\\1 (", "\U0001f600"]}, seed="s"):
        assert check_row(each) == [] and each.question.strip()
