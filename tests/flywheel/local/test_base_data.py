"""The base model's training data: a sound phrase bank, calls that fit their tools, and nothing of the tests in training."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from flywheel import starter
from flywheel.local.base.chat_values import CHAT_KINDS, ChatValues
from flywheel.local.base.domains import DOMAINS, DomainTool, noun_held_out
from flywheel.local.base.draw import Draw
from flywheel.local.base.families import SHIPPED, FamilyTool, alike, bank, held_out
from flywheel.local.base.toolsets import Tool, Toolsets
from flywheel.local.base.turns import SHARES, Kind, Sample, Turns
from flywheel.local.base.values import KINDS, fields_of

EVERYDAY = Path(starter.__file__).parent
SLOT = re.compile(r"\{(\w+)\}")


def slots(text: str) -> set[str]:
    return set(SLOT.findall(text))


def asked(family: dict[str, Any]) -> list[str]:
    return [query if isinstance(query, str) else query[0] for query in family["queries"]]


def samples(seed: int, count: int, *, test: bool = False) -> Iterator[Sample]:
    turns = Turns(seed, test=test)
    return (turns.sample() for _ in range(count))


def tools(seed: int, count: int, *, test: bool = False) -> Iterator[Tool]:
    """Every tool that is offered, and for every toolset one that is asked for without being offered."""
    toolsets = Toolsets(Draw(seed), seed, test=test)
    for _ in range(count):
        drawn = toolsets.draw()
        yield from [*drawn, toolsets.stranger(drawn)]


def check_kind(kind: str) -> None:
    if kind.startswith("object:"):
        assert set(fields_of(kind).values()) <= KINDS
    else:
        assert kind.removeprefix("list:") in KINDS | CHAT_KINDS | {"enum", "bool"}


def check_params(family: dict[str, Any]) -> None:
    for param in family["params"].values():
        check_kind(param["kind"])
        if param["kind"] == "enum":
            assert param["values"] and all(param["values"].values())
        if param["kind"] == "bool":
            assert param["true"] and "false" in param
        if "tool" not in family:
            assert param["names"] and param["descriptions"] and isinstance(param["required"], bool)


def test_the_bank_holds_what_the_readme_counts_on() -> None:
    families = bank()
    assert len(families) > 600 and sum(len(family["queries"]) for family in families.values()) > 14_000
    assert len(families) / 10 <= sum(map(held_out, families)) <= len(families) / 6
    assert all(name in families for group in alike().values() for name in group)


@pytest.mark.parametrize("name", sorted(bank()))
def test_a_family_is_well_formed(name: str) -> None:
    family = bank()[name]
    params = family["params"]
    required = {key for key, param in params.items() if param.get("required")}
    if "tool" in family:
        schema = family["tool"]["function"]["parameters"]
        assert set(params) == set(schema["properties"])
        required = set(schema["required"])
    else:
        assert len(family["names"]) >= 5 and len(family["descriptions"]) >= 4
    check_params(family)
    queries = asked(family)
    assert len(queries) == len(set(queries)) >= (40 if "tool" in family else 16)
    assert [text for text in queries if not required <= slots(text) <= set(params)] == []
    short = [*family["followups"], *(case["query"] for case in family["missing"])]
    assert [text for text in short if not slots(text) <= set(params)] == []
    for result in family["results"]:
        assert [text for text in result["say"] if not slots(text) <= set(params) | set(result["json"])] == []


def test_the_chats_own_tools_are_those_that_it_ships() -> None:
    in_bank = [family["tool"] for name, family in bank().items() if name.startswith(SHIPPED)]
    assert in_bank == starter.shipped_tools()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("test", [False, True], ids=["training", "test"])
def test_every_call_fits_the_schema_of_an_offered_tool(seed: int, test: bool) -> None:
    checked = 0
    for sample in samples(seed, 120, test=test):
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in sample.tools}
        assert len(schemas) == len(sample.tools)
        for message in (message for turn in sample.turns for message in turn.messages):
            for call in message.get("tool_calls", ()):
                jsonschema.validate(
                    call["function"]["arguments"], schemas[call["function"]["name"]] | {"additionalProperties": False}
                )
                checked += 1
    assert checked > 250


def test_text_arguments_are_said_in_the_conversation() -> None:
    """A value that stands nowhere in the question cannot be learned; only times, dates and options have forms of their own, and a
    few requests imply a value."""
    checked = 0
    implying = [query for family in bank().values() for query in family["queries"] if not isinstance(query, str)]
    implied = {value for _, values in implying for value in values.values()}
    for sample in samples(11, 150):
        options = {option for tool in sample.tools for option in enums(tool["function"]["parameters"]["properties"])}
        for turn in sample.turns:
            said = " ".join(message["content"] for message in turn.messages if message["role"] == "user")
            for value in texts([message.get("tool_calls", []) for message in turn.messages]):
                own_form = value in options | implied or re.fullmatch(r"(\d{4}-\d\d-\d\d)?T?(\d\d:\d\d)?", value)
                assert own_form or value in said, (value, said)
                checked += 1
    assert checked > 300


def enums(properties: dict[str, Any]) -> Iterator[str]:
    for schema in properties.values():
        yield from schema.get("enum", ())


def texts(calls: list[list[dict[str, Any]]]) -> Iterator[str]:
    """Every text among the arguments."""

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from inside(item)

    for made in calls:
        for call in made:
            yield from inside(call["function"]["arguments"])


def test_training_never_draws_what_is_held_out_and_tests_ask_for_nothing_else() -> None:
    drawn = list(tools(21, 400))
    families = {tool.key for tool in drawn if isinstance(tool, FamilyTool)}
    assert len(families) > 200 and [name for name in families if held_out(name)] == []
    nouns = {tool.noun for tool in drawn if isinstance(tool, DomainTool)}
    assert len(nouns) > 100 and [noun for noun in nouns if noun in DOMAINS["nouns"] and noun_held_out(noun)] == []
    unseen = [tool for tool in tools(22, 60, test=True) if isinstance(tool, DomainTool)]
    assert unseen and [tool.noun for tool in unseen if tool.noun in DOMAINS["nouns"] and not noun_held_out(tool.noun)] == []


def test_no_toolset_offers_two_tools_for_one_request() -> None:
    toolsets = Toolsets(Draw(31), 31)
    for _ in range(150):
        keys = [tool.key for tool in toolsets.draw()]
        assert not any(other in alike().get(key, ()) for key in keys for other in keys)


def plain(text: str) -> str:
    """A phrase without its slots' names, punctuation and capitals."""
    return " ".join(re.sub(r"[^a-z0-9{} ]", "", SLOT.sub("{}", text.lower())).split())


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def test_no_phrase_of_the_everyday_questions_is_trained_on() -> None:
    phrases = json.loads((EVERYDAY / "everyday_phrases.json").read_text(encoding="utf-8"))
    talk = json.loads((EVERYDAY / "everyday_talk.json").read_text(encoding="utf-8"))
    tested = {plain(text) for part in (phrases, talk["out_of_scope"], talk["missing"]) for text in strings(part)}
    tested = {text for text in tested if len(re.findall(r"[a-z]+", text)) > 2}  # anybody says "tell me" and a name
    trained = [text for family in bank().values() for text in asked(family) + family["followups"]]
    trained += [case["query"] for family in bank().values() for case in family["missing"]] + DOMAINS["general"]
    assert len(tested) > 200 and [text for text in trained if plain(text) in tested] == []


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    assert list(samples(5, 30)) == list(samples(5, 30))
    assert next(samples(5, 1)) != next(samples(6, 1))


def test_the_kinds_of_turns_come_in_their_shares() -> None:
    counts: Counter[Kind] = Counter(turn.kind for sample in samples(41, 500) for turn in sample.turns)
    assert set(counts) == set(SHARES)
    for kind, share in SHARES.items():
        assert 0.4 * share <= 100 * counts[kind] / counts.total() <= 1.6 * share


def test_a_request_to_convert_has_units_that_fit_each_other_after_one_that_named_only_one() -> None:
    draw = Draw(3)
    values = ChatValues(draw)
    tool = FamilyTool("chat_convert_units", draw, values)
    distances = {"km", "miles", "meters"}
    for _ in range(60):
        values.draw("from_unit")  # a partner is left waiting
        arguments = tool.ask().arguments
        if arguments["from_unit"] in distances:
            assert arguments["to_unit"] not in {"kg", "celsius", "GB", "hours", "psi", "liters"}
