"""What the grammar lets a model write: the tools offered, arguments that their schemas allow, text otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from flywheel.local.call_form import Call, CallForm, call_form, parse
from flywheel.local.chat_format import ChatFormat, PromptError
from flywheel.local.grammar import Grammars

BASE = Path(__file__).parents[3] / "flywheel" / "local" / "base"
TOKENIZER: Any = AutoTokenizer.from_pretrained(BASE)
VOCABULARY = 3072
GRAMMARS = Grammars(TOKENIZER, VOCABULARY, [TOKENIZER.eos_token_id], CallForm())


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [tool("get_weather", city={"type": "string"}, days={"type": "integer", "minimum": 1, "maximum": 9}), tool("now")]


def allowed(matcher: Any, text: str) -> bool:
    """Whether the text is a whole message of the grammar."""
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    return bool(matcher.validate_tokens(ids) == len(ids) and matcher.consume_tokens(ids) and matcher.is_accepting())


OSLO = '{"name":"get_weather","parameters":{"city":"Oslo","days":3}}'
NOW = '{"name":"now","parameters":{}}'


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("It rains.", {"auto", "none"}),
        ("Two lines:\n{still text}", {"auto", "none"}),
        (OSLO, {"auto", "required", "get_weather"}),
        (NOW, {"auto", "required", "now"}),
        (f"{OSLO}\n{NOW}", {"auto", "required"}),
        ("\n".join([NOW] * 5), {"auto", "required", "now"}),
        ("\n".join([NOW] * 6), set()),
        (OSLO.replace("3", "10"), set()),
        (OSLO.replace('"Oslo"', "7"), set()),
        (OSLO.replace("}}", ',"more":1}}'), set()),
        (OSLO.replace(":", ": "), set()),
        ('{"name":"get_weather","parameters":{"days":3}}', set()),
        ('{"name":"rm_rf","parameters":{}}', set()),
        ("{hello}", set()),
        (" hello", set()),
    ],
)
def test_choice_decides_what_may_be_written(text: str, choices: set[str]) -> None:
    named = {name: {"type": "function", "function": {"name": name}} for name in ("get_weather", "now")}
    every: dict[str, Any] = {"auto": "auto", "none": "none", "required": "required", **named}
    assert {label for label, choice in every.items() if allowed(GRAMMARS.for_tools(TOOLS, choice), text)} == choices


def test_one_call_where_several_are_not_wanted() -> None:
    assert allowed(GRAMMARS.for_tools(TOOLS, several=False), NOW)
    assert not allowed(GRAMMARS.for_tools(TOOLS, several=False), f"{NOW}\n{NOW}")


def test_without_tools_text_is_free_but_holds_no_control_token() -> None:
    assert allowed(GRAMMARS.for_tools([]), "{}")
    matcher = GRAMMARS.for_tools([])
    assert matcher.validate_tokens([TOKENIZER.convert_tokens_to_ids("<|user|>")]) == 0


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(PromptError, match=r"names 'fly', which is not among the tools offered: \['get_weather', 'now'\]"):
        GRAMMARS.for_tools(TOOLS, {"type": "function", "function": {"name": "fly"}})
    with pytest.raises(PromptError, match="no tools are offered"):
        GRAMMARS.for_tools([], "required")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "float"}, "1.5", '"x"'),
        ({"type": "string", "format": "no-such-format"}, '"x"', "1"),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, "[1,1]", '["x"]'),
        ({"type": ["integer", "null"], "not": {"const": 3}}, "null", '"x"'),
        ({"type": "string", "default": 3}, '"x"', "3"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "if": {}}, "null", '"x"'),
        ({"enum": ["a", "b"], "dependentRequired": {}}, '"a"', '"c"'),
        ({"type": "object", "properties": {"k": {"type": "bool"}}, "required": ["gone"]}, '{"k":true}', '{"k":1}'),
        ({"type": "list"}, "[1]", "1"),
        ({"enum": []}, '"anything"', None),
        ({"type": None}, "1", None),
        ({"minimum": 5, "maximum": 1, "type": "integer"}, "7", None),
        (True, "1", None),
    ],
)
def test_sloppy_schemas_are_loosened_not_refused(schema: Any, good: str, bad: str | None) -> None:
    tools = [tool("f", x=schema)]
    assert allowed(GRAMMARS.for_tools(tools), f'{{"name":"f","parameters":{{"x":{good}}}}}')
    if bad is not None:
        assert not allowed(GRAMMARS.for_tools(tools), f'{{"name":"f","parameters":{{"x":{bad}}}}}')


def test_references_inside_a_schema_hold() -> None:
    schema = {
        "type": "object",
        "properties": {"u": {"$ref": "#/$defs/U"}},
        "required": ["u"],
        "$defs": {"U": {"enum": ["km", "mi"]}},
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    assert allowed(GRAMMARS.for_tools(tools), '{"name":"f","parameters":{"u":"km"}}')
    assert not allowed(GRAMMARS.for_tools(tools), '{"name":"f","parameters":{"u":"m"}}')


NAMES = st.text(min_size=1, max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["string", "integer", "array", "object"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "enum", "items", "anyOf", "properties"]), inner)
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(name=NAMES, parameter=NAMES, schema=VALUES)
def test_any_tool_makes_a_grammar(name: str, parameter: str, schema: Any) -> None:
    matcher = GRAMMARS.for_tools([tool(name, **{parameter: schema})], "required")
    assert not matcher.is_error()
    assert allowed(matcher, "") is False


def test_json_only() -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
    assert allowed(GRAMMARS.for_json(schema), '{"ok":true}')
    assert not allowed(GRAMMARS.for_json(schema), "yes")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (OSLO, (None, [Call("get_weather", {"city": "Oslo", "days": 3})])),
        (f"{NOW}\n{NOW}", (None, [Call("now", {}), Call("now", {})])),
        ('<tool_call>\n{"name": "f", "arguments": {"a": {"b": 1}}}\n</tool_call>', (None, [Call("f", {"a": {"b": 1}})])),
        (OSLO[:-2], (OSLO[:-2], [])),
        (f"{NOW}\n{OSLO[:9]}", (f"{NOW}\n{OSLO[:9]}", [])),
        ('{"name":"f","parameters":{"x":1e999}}', ('{"name":"f","parameters":{"x":1e999}}', [])),
        ('{"name":1,"parameters":{}}', ('{"name":1,"parameters":{}}', [])),
        ("{}", ("{}", [])),
    ],
)
def test_parse(text: str, expected: Any) -> None:
    assert parse(text) == expected


HERMES = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + (m.content or '') }}"
    "{% for c in m.tool_calls or [] %}{{ '' if loop.first else '\n' }}"
    """{{ '<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' }}{{ c.function.arguments | tojson }}"""
    "{{ '}\n</tool_call>' }}{% endfor %}{{ '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SINGLE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.tool_calls %}{% if m.tool_calls|length != 1 %}"
    "{{ raise_exception('one at a time') }}{% endif %}{% set c = m.tool_calls[0].function %}"
    """{{ '{"name": "' + c.name + '", "parameters": ' }}{{ c.arguments | tojson }}{{ '}' }}"""
    "{% else %}{{ m.content }}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
EXPECTED = {
    HERMES: CallForm('<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", "\n", ", ", ": "),
    SINGLE: CallForm('{"name": "', '", "parameters": ', "}", None, ", ", ": "),
    None: CallForm(),
}


@pytest.mark.parametrize("template", EXPECTED, ids=["hermes", "single call", "own"])
def test_calls_are_held_to_the_template_form(template: str | None) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(BASE)
    tokenizer.chat_template = template or tokenizer.chat_template
    chat = ChatFormat(tokenizer, 2048)
    form = call_form(chat)
    assert form == EXPECTED[template]
    arguments = {"city": 'O"slo', "days": 3}
    turns = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": arguments}}]},
    ]
    ids, labels = chat.supervised(turns, TOOLS)
    taught = tokenizer.decode([token for token in labels if token >= 0 and token != tokenizer.eos_token_id]).rstrip()
    assert allowed(Grammars(tokenizer, VOCABULARY, [tokenizer.eos_token_id], form).for_tools(TOOLS), taught)
    assert parse(taught) == (None, [Call("get_weather", arguments)])


def test_a_template_without_readable_calls_is_refused() -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(BASE)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(PromptError, match="writes tool calls in a form without"):
        call_form(ChatFormat(tokenizer, 2048))


def test_random_walks_through_the_grammar_are_valid_calls() -> None:
    import random

    import jsonschema
    import numpy

    schema = {
        "type": "object",
        "properties": {
            "unit": {"enum": ["km", "mi"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 6}, "maxItems": 2},
            "exact": {"type": "boolean"},
        },
        "required": ["unit", "days"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    draw = random.Random(7)
    for _ in range(200):
        matcher, ids = GRAMMARS.for_tools(tools, "required"), list[int]()
        while not matcher.is_stopped():
            mask = numpy.unpackbits(numpy.frombuffer(matcher.compute_bitmask(), dtype=numpy.uint8), bitorder="little")
            ids.append(draw.choice(numpy.flatnonzero(mask).tolist()))
            assert matcher.consume_token(ids[-1])
        content, calls = parse(TOKENIZER.decode(ids, skip_special_tokens=True))
        assert content is None and 1 <= len(calls) <= 5
        for made in calls:
            assert made.name == "f"
            jsonschema.validate(json.loads(json.dumps(made.arguments)), schema)
