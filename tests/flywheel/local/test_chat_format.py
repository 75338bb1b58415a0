"""Rendering for training and for serving: one form, no forged turns, no crash on sloppy schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from flywheel.local.chat_format import IGNORED, ChatFormat, PromptError, PromptTooLong

BASE = Path(__file__).parents[3] / "flywheel" / "local" / "base"
TOKENIZER: Any = AutoTokenizer.from_pretrained(BASE)
CHAT = ChatFormat(TOKENIZER, 2048)
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather\n\n  of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"enum": ["c", "f"]},
                "day": {"type": "string", "format": "date"},
                "hours": {"type": ["null", "integer"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "extra": {"type": "object"},
            },
            "required": ["city"],
        },
    },
}
QUESTION = {"role": "user", "content": "Rain in Oslo?"}


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def test_renders_what_the_base_was_trained_on() -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call("get_weather", '{"unit": "c", "city": "Oslo"}')]},
        {"role": "tool", "tool_call_id": "1", "content": '{"rain":true}'},
        {"role": "assistant", "content": "Yes."},
    ]
    assert CHAT.text(turns, [WEATHER], opened=False) == (
        "<|bos|><|tools|>get_weather(city:str,unit?:c|f,day?:date,hours?:int,tags?:[str],extra?:obj) "
        "Get the weather of a city.<|end|>"
        "<|system|>Be brief.<|end|><|user|>Rain in Oslo?<|end|>"
        '<|assistant|>{"name":"get_weather","parameters":{"city":"Oslo","unit":"c"}}<|end|>'
        '<|tool|>{"rain":true}<|end|><|assistant|>Yes.<|end|>'
    )


def test_several_calls_stand_one_a_line() -> None:
    turn = {
        "role": "assistant",
        "content": "",
        "tool_calls": [call("get_weather", {"city": "Oslo"}), call("get_weather", {"city": "Rome"})],
    }
    text = CHAT.text([QUESTION, turn], [WEATHER], opened=False)
    assert text.endswith(
        '{"name":"get_weather","parameters":{"city":"Oslo"}}\n{"name":"get_weather","parameters":{"city":"Rome"}}<|end|>'
    )


def test_only_the_last_assistant_message_is_supervised() -> None:
    turns = [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Oslo"})]},
        {"role": "tool", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
    ]
    for length, answer in ((2, '{"name":"get_weather","parameters":{"city":"Oslo"}}<|end|>'), (4, "It rains.<|end|>")):
        ids, labels = CHAT.supervised(turns[:length], [WEATHER])
        prompt = CHAT.prompt(turns[: length - 1], [WEATHER])
        assert ids[: len(prompt)] == prompt
        assert labels[: len(prompt)] == [IGNORED] * len(prompt)
        assert labels[len(prompt) :] == ids[len(prompt) :]
        assert TOKENIZER.decode(ids[len(prompt) :]) == answer


def test_a_training_example_ends_with_the_assistant() -> None:
    with pytest.raises(PromptError, match="must end with an assistant message"):
        CHAT.supervised([QUESTION], [WEATHER])


def test_too_long_names_tokens_and_limit() -> None:
    with pytest.raises(PromptTooLong, match=r"takes \d+ tokens, but the limit is 20") as caught:
        ChatFormat(TOKENIZER, 20).prompt([{"role": "user", "content": "word " * 30}])
    assert (caught.value.tokens > 30, caught.value.limit) == (True, 20)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"role": "robot", "content": "x"}, "unknown message role 'robot'"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "type 'image_url'"),
        ({"role": "assistant", "tool_calls": [call("f", "{broken")]}, "arguments of the call to 'f' are not JSON"),
        ({"role": "assistant", "tool_calls": [call("f", "[1]")]}, "must be a JSON object"),
        ({"role": "assistant", "tool_calls": [call("f", "[" * 100_000)]}, "not JSON"),
        ({"role": "assistant", "tool_calls": ["f"]}, "a tool call needs a function with a name"),
    ],
)
def test_what_cannot_be_rendered_is_named(message: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError, match=reason):
        CHAT.prompt([message])


def test_content_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "Rain in "}, {"type": "text", "text": "Oslo?"}]
    assert CHAT.prompt([{"role": "user", "content": parts}]) == CHAT.prompt([QUESTION])


HOSTILE = st.lists(st.sampled_from([*CHAT.markers, "<|", "|>", "us", "er", "end", "<", ">", "|", "\n", "a"]), max_size=12).map(
    "".join
)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(HOSTILE, min_size=8, max_size=8), options=st.lists(HOSTILE, min_size=1, max_size=4))
def test_no_text_forges_a_turn(texts: list[str], options: list[str]) -> None:
    def tokens(texts: list[str], options: list[str]) -> list[int]:
        user, name, argument, result, tool, parameter, description, key = texts
        schema = {"type": "object", "properties": {"p" + parameter: {"enum": options}}}
        turns = [
            {"role": "user", "content": user},
            {"role": "assistant", "content": "", "tool_calls": [call("n" + name, {"k" + key: argument, "l": options})]},
            {"role": "tool", "content": result},
        ]
        offered = {"type": "function", "function": {"name": "t" + tool, "description": description, "parameters": schema}}
        special = set(TOKENIZER.all_special_ids)
        return [token for token in CHAT.prompt(turns, [offered]) if token in special]

    assert tokens(texts, options) == tokens(["x"] * 8, ["x"])


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["string", "integer", "array", "object", "float"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "enum", "items", "anyOf", "oneOf", "properties", "required", "default", "format", "description"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(schema=SCHEMAS, inner=SCHEMAS, description=SCHEMAS)
def test_no_schema_breaks_the_rendering(schema: Any, inner: Any, description: Any) -> None:
    parameters = {"type": "object", "properties": {"a": inner}, "required": inner}
    tools = [
        {"type": "function", "function": {"name": "one", "description": description, "parameters": schema}},
        {"type": "function", "function": {"name": "two", "parameters": parameters}},
    ]
    assert "two(a" in CHAT.text([QUESTION], tools, opened=True)
