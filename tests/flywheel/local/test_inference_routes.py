"""What NIM serves besides plain chat: text completions, probabilities, guided JSON under its other names, embeddings."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from clients import connect
from langchain_nvidia_ai_endpoints import NVIDIAEmbeddings
from nemo_microservices import NeMoMicroservices

from flywheel.local.base_model import SHIPPED_ID
from tests.conftest import Platform

HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 9}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def client(platform: Platform) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{platform.nim_url}/v1", api_key="None", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    with connect(platform) as client:
        yield client


def send(platform: Platform, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{platform.nim_url}/v1/{path}", json={"model": SHIPPED_ID, **body}, timeout=60, trust_env=False)


def test_a_prompt_is_gone_on_from_as_it_is(client: openai.OpenAI, nemo: NeMoMicroservices) -> None:
    made = client.completions.create(
        model=SHIPPED_ID, prompt="<|bos|><|user|>hello<|end|><|assistant|>", max_tokens=40, temperature=0
    )
    assert (made.object, made.id[:5], made.choices[0].finish_reason) == ("text_completion", "cmpl-", "stop")
    chat = client.chat.completions.create(model=SHIPPED_ID, messages=HELLO, temperature=0, max_tokens=40)
    assert made.choices[0].text == chat.choices[0].message.content != ""
    assert made.usage is not None and made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens
    ours = nemo.completions.create(model=SHIPPED_ID, prompt="The weather in", max_tokens=5, temperature=0)
    assert ours.choices[0].text and ours.usage.completion_tokens == 5
    short = client.completions.create(model=SHIPPED_ID, prompt="The weather in", temperature=0)
    assert short.usage is not None and short.usage.completion_tokens <= 16


def test_several_prompts_are_several_choices(client: openai.OpenAI) -> None:
    alone = [
        client.completions.create(model=SHIPPED_ID, prompt=text, max_tokens=6, temperature=0).choices[0].text
        for text in ("a", "What")
    ]
    together = client.completions.create(model=SHIPPED_ID, prompt=["a", "What"], max_tokens=6, temperature=0)
    assert [(choice.index, choice.text) for choice in together.choices] == list(enumerate(alone))
    tokens = client.completions.create(model=SHIPPED_ID, prompt=[[319, 2239]], max_tokens=6, temperature=0)
    assert len(tokens.choices) == 1


def test_text_streams(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=SHIPPED_ID, prompt=["What is", "Tell me"], max_tokens=8, temperature=0, logprobs=2)
    stream = client.completions.create(
        model=SHIPPED_ID,
        prompt=["What is", "Tell me"],
        max_tokens=8,
        temperature=0,
        logprobs=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)
    for choice in whole.choices:
        mine = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == choice.index]
        assert "".join(one.text for one in mine) == choice.text
        assert [one.finish_reason for one in mine if one.finish_reason] == [choice.finish_reason]
        told = [one.logprobs for one in mine if one.logprobs]
        assert choice.logprobs is not None
        assert [token for one in told for token in one.tokens or ()] == choice.logprobs.tokens
        assert [offset for one in told for offset in one.text_offset or ()] == choice.logprobs.text_offset
    assert last.choices == [] and last.usage == whole.usage


def test_text_logprobs(client: openai.OpenAI) -> None:
    (choice,) = client.completions.create(model=SHIPPED_ID, prompt="What is", max_tokens=8, temperature=0, logprobs=3).choices
    told = choice.logprobs
    assert told is not None and told.tokens and told.token_logprobs and told.top_logprobs and told.text_offset
    assert "".join(told.tokens) == choice.text
    assert len(told.tokens) == len(told.token_logprobs) == len(told.top_logprobs) == len(told.text_offset)
    for token, logprob, top, offset in zip(told.tokens, told.token_logprobs, told.top_logprobs, told.text_offset, strict=True):
        assert top[token] == logprob == max(top.values()) <= 0 and len(top) == 3
        assert choice.text[offset:].startswith(token)


def test_chat_logprobs(client: openai.OpenAI) -> None:
    (choice,) = client.chat.completions.create(
        model=SHIPPED_ID, messages=HELLO, temperature=0, max_tokens=40, logprobs=True, top_logprobs=2
    ).choices
    assert choice.logprobs is not None and choice.logprobs.content
    content = choice.logprobs.content
    assert b"".join(bytes(token.bytes or []) for token in content).decode() == choice.message.content
    for token in content:
        first, second = token.top_logprobs
        assert (first.token, first.logprob) == (token.token, token.logprob) and second.logprob <= first.logprob
        assert math.exp(first.logprob) + math.exp(second.logprob) <= 1.0001
    bare = client.chat.completions.create(model=SHIPPED_ID, messages=HELLO, temperature=0, max_tokens=4, logprobs=True).choices[0]
    assert bare.logprobs is not None and [token.top_logprobs for token in bare.logprobs.content or ()] == [[]] * 4
    off = client.chat.completions.create(model=SHIPPED_ID, messages=HELLO, temperature=0, max_tokens=4)
    assert off.choices[0].logprobs is None


@pytest.mark.parametrize("stop", [None, "help"])
def test_chat_logprobs_stream_with_their_text(client: openai.OpenAI, stop: str | None) -> None:
    asked: Any = {"model": SHIPPED_ID, "messages": HELLO, "temperature": 0, "max_tokens": 40, "logprobs": True, "stop": stop}
    (whole,) = client.chat.completions.create(**asked).choices
    text, tokens = "", []
    for chunk in client.chat.completions.create(**asked, stream=True):
        text += chunk.choices[0].delta.content or ""
        told = chunk.choices[0].logprobs
        tokens += told.content or [] if told else []
    assert text == whole.message.content
    assert whole.logprobs is not None and tokens == whole.logprobs.content
    assert "".join(token.token for token in tokens).startswith(text)


def test_calls_have_logprobs_too(client: openai.OpenAI) -> None:
    asked: Any = {"model": SHIPPED_ID, "messages": HELLO, "tools": [WEATHER], "tool_choice": "required", "temperature": 0}
    (whole,) = client.chat.completions.create(**asked, logprobs=True).choices
    assert whole.message.tool_calls and whole.logprobs is not None
    assert '"get_weather"' in "".join(token.token for token in whole.logprobs.content or ())
    with client.chat.completions.stream(**asked, logprobs=True) as stream:
        (streamed,) = stream.get_final_completion().choices
    assert streamed.logprobs is not None and streamed.logprobs.content == whole.logprobs.content
    assert streamed.message.tool_calls and len(streamed.message.tool_calls) == len(whole.message.tool_calls)


@pytest.mark.parametrize(
    "body",
    [
        {"guided_json": json.dumps(SCHEMA)},
        {"nvext": {"guided_json": SCHEMA}},
        {"nvext": {"guided_json": json.dumps(SCHEMA)}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
    ],
    ids=["text", "nvext", "nvext text", "response_format"],
)
@pytest.mark.parametrize("path", ["chat/completions", "completions"])
def test_json_by_schema_under_all_its_names(platform: Platform, path: str, body: dict[str, Any]) -> None:
    question = {"messages": HELLO} if path.startswith("chat") else {"prompt": "hello"}
    (choice,) = send(platform, path, max_tokens=40, **question, **body).json()["choices"]
    value = json.loads(choice["message"]["content"] if path.startswith("chat") else choice["text"])
    assert list(value) == ["n"] and value["n"] <= 9


def test_json_object(platform: Platform) -> None:
    body = {"prompt": "hello", "max_tokens": 30, "temperature": 0, "response_format": {"type": "json_object"}}
    assert send(platform, "completions", **body).json()["choices"][0]["text"].startswith("{")


def test_embeddings_are_near_for_like_texts(client: openai.OpenAI, nemo: NeMoMicroservices, platform: Platform) -> None:
    texts = ["What is the weather in Paris?", "What is the weather in Rome?", "Convert 5 miles to kilometers"]
    made = client.embeddings.create(model=SHIPPED_ID, input=texts)
    vectors = [one.embedding for one in made.data]
    assert [one.index for one in made.data] == [0, 1, 2] and {len(vector) for vector in vectors} == {256}
    assert all(math.isclose(sum(number * number for number in vector), 1, abs_tol=1e-4) for vector in vectors)
    assert made.usage.prompt_tokens == made.usage.total_tokens > 10

    def likeness(left: int, right: int) -> float:
        return sum(a * b for a, b in zip(vectors[left], vectors[right], strict=True))

    assert likeness(0, 1) > likeness(0, 2) + 0.05
    alone = nemo.embeddings.create(model=SHIPPED_ID, input=texts[0], extra_body={"input_type": "query"})
    assert alone.data[0].embedding == pytest.approx(vectors[0], abs=1e-5)
    few = send(platform, "embeddings", input=texts[0], dimensions=8).json()["data"][0]["embedding"]
    length = math.sqrt(sum(number * number for number in vectors[0][:8]))
    assert few == pytest.approx([number / length for number in vectors[0][:8]], abs=1e-5)
    packed = send(platform, "embeddings", input=texts[0], encoding_format="base64").json()["data"][0]["embedding"]
    assert struct.unpack("<256f", base64.b64decode(packed)) == pytest.approx(vectors[0], abs=1e-5)
    langchain = NVIDIAEmbeddings(model=SHIPPED_ID, base_url=f"{platform.nim_url}/v1")
    assert langchain.embed_query(texts[0]) == pytest.approx(vectors[0], abs=1e-5)
    assert len(langchain.embed_documents(texts)) == 3


def test_long_texts_are_cut_only_where_that_is_asked_for(platform: Platform) -> None:
    text = "mug " * 3000
    refused = send(platform, "embeddings", input=text)
    assert (refused.status_code, "limit is 2048" in refused.text) == (400, True)
    for truncate in ("START", "END"):
        assert send(platform, "embeddings", input=text, truncate=truncate).json()["usage"]["prompt_tokens"] == 2048


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("completions", {"prompt": ""}, 400, "empty"),
        ("completions", {"prompt": [5000]}, 400, "outside 0 to 3071"),
        ("completions", {"prompt": []}, 422, "at least 1"),
        ("completions", {"prompt": ["a", "b " * 5000]}, 400, "limit is"),
        ("completions", {"prompt": "a", "model": "meta/none"}, 404, "served are"),
        ("completions", {"prompt": "a", "logprobs": 21}, 422, "20"),
        ("completions", {}, 422, "Field required"),
        ("chat/completions", {"messages": HELLO, "logprobs": True, "top_logprobs": 21}, 422, "20"),
        ("chat/completions", {"messages": HELLO, "guided_json": "{"}, 422, "JSON"),
        ("embeddings", {"input": ""}, 400, "empty"),
        ("embeddings", {"input": "a", "dimensions": 257}, 422, "ask for fewer"),
        ("embeddings", {"input": "a", "model": "meta/none"}, 404, "served are"),
    ],
)
def test_errors_say_what_and_which(platform: Platform, path: str, body: dict[str, Any], status: int, why: str) -> None:
    answer = send(platform, path, **body)
    assert (answer.status_code, why in answer.text) == (status, True), answer.text
