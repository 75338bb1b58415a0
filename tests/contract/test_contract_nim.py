"""NIM through openai's client, ChatNVIDIA, NVIDIAEmbeddings and NVIDIA's SDK: models, chat, tools, streams, texts, embeddings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from contract_wire import Services
from endpoints import covers
from langchain_nvidia_ai_endpoints import ChatNVIDIA, NVIDIAEmbeddings
from nemo_microservices import AsyncNeMoMicroservices, NeMoMicroservices
from nemo_microservices import NotFoundError as NeMoNotFound
from pydantic import BaseModel

CHAT = "nim POST /v1/chat/completions"
HELLO: Any = [{"role": "user", "content": "hello"}]
ASK: Any = [{"role": "user", "content": "What's the weather in Paris?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def asked(services: Services) -> dict[str, Any]:
    """A request that a tool call answers, always the same one."""
    return {"model": services.base_model, "messages": ASK, "tools": [WEATHER], "temperature": 0, "max_tokens": 256}


@pytest.fixture
def chat(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatNVIDIA]:
    """LangChain's client without a key: it sends a row of stars."""
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    yield ChatNVIDIA(base_url=f"{services.nim_url}/v1", model=services.base_model, temperature=0, max_completion_tokens=256)


def only_call(message: Any) -> tuple[str, Any]:
    (call,) = message.tool_calls
    assert call.id and call.type == "function" and isinstance(call.function.arguments, str)
    return call.function.name, json.loads(call.function.arguments)


@covers("nim GET /v1/models", "nim GET /v1/models/{model*}")
def test_models_base_first(openai_client: openai.OpenAI, nemo: NeMoMicroservices, services: Services) -> None:
    listed = openai_client.models.list().data
    assert [model.id for model in listed if getattr(model, "parent", None) is None][0] == services.base_model == listed[0].id
    assert openai_client.models.retrieve(services.base_model).id == services.base_model
    assert services.base_model in [model.id for model in nemo.inference.models.list().data]
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("no/such@v1")


@covers("nim GET /v1/health/ready", "nim GET /v1/health/live")
def test_health(http: httpx.Client, services: Services) -> None:
    assert [http.get(f"{services.nim_url}/v1/health/{state}").status_code for state in ("ready", "live")] == [200, 200]


@covers(CHAT)
@pytest.mark.parametrize("key", ["None", "**********", "", "nvapi-anything"])
def test_no_key_is_refused(http: httpx.Client, services: Services, key: str) -> None:
    body = {"model": services.base_model, "messages": HELLO, "max_tokens": 2}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    assert http.post(f"{services.nim_url}/v1/chat/completions", json=body, headers=headers).status_code == 200


@covers(CHAT)
def test_a_call_as_the_tutorials_ask_for_it(openai_client: openai.OpenAI, nemo: NeMoMicroservices, asked: Any) -> None:
    for client in (openai_client, nemo):
        reply = client.chat.completions.create(**{**asked, "tool_choice": "auto", "temperature": 0.1, "top_p": 0.7})
        (choice,) = reply.choices
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        assert only_call(choice.message) == ("get_weather", {"city": "Paris"})
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
        assert reply.object == "chat.completion" and reply.model == asked["model"]


@covers(CHAT)
def test_tool_choice_is_obeyed(openai_client: openai.OpenAI, asked: Any) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice, messages in (("required", HELLO), (named, HELLO)):
        reply = openai_client.chat.completions.create(**{**asked, "tool_choice": choice, "messages": messages})
        assert reply.choices[0].message.tool_calls[0].function.name == "get_weather"
    none = openai_client.chat.completions.create(**{**asked, "tool_choice": "none"})
    assert none.choices[0].message.tool_calls is None and none.choices[0].finish_reason in ("stop", "length")


@covers(CHAT)
def test_the_stream_of_a_call(openai_client: openai.OpenAI, asked: Any) -> None:
    chunks = list(openai_client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert (deltas[0].role, deltas[0].content) == ("assistant", "")
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert calls[0].id and calls[0].function.name == "get_weather" and {call.index for call in calls} == {0}
    assert json.loads("".join(call.function.arguments or "" for call in calls)) == {"city": "Paris"}
    assert chunks[-2].choices[0].finish_reason == "tool_calls"
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0
    with openai_client.chat.completions.stream(**asked) as stream:
        (choice,) = stream.get_final_completion().choices
    assert only_call(choice.message) == ("get_weather", {"city": "Paris"})


@covers(CHAT)
def test_the_stream_of_a_text_through_the_sdk(
    nemo: NeMoMicroservices, asynchronous: Callable[[], AsyncNeMoMicroservices], services: Services
) -> None:
    wanted: Any = {"model": services.base_model, "messages": HELLO, "temperature": 0, "max_tokens": 24}
    whole = nemo.chat.completions.create(**wanted).choices[0].message.content
    pieces = [
        chunk.choices[0].delta.content or "" for chunk in nemo.chat.completions.create(**wanted, stream=True) if chunk.choices
    ]
    assert "".join(pieces) == whole and len(pieces) > 2

    async def walk() -> str:
        async with asynchronous() as client:
            stream = await client.chat.completions.create(**wanted, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert asyncio.run(walk()) == whole


def test_chat_nvidia_with_tools_and_streams(chat: ChatNVIDIA) -> None:
    bound = chat.bind_tools([WEATHER])
    call = {"name": "get_weather", "args": {"city": "Paris"}}
    (found,) = bound.invoke("What's the weather in Paris?").tool_calls
    assert {key: found[key] for key in call} == call
    gathered: Any = None
    for chunk in bound.stream("What's the weather in Paris?"):
        gathered = chunk if gathered is None else gathered + chunk
    (found,) = gathered.tool_calls
    assert {key: found[key] for key in call} == call
    assert gathered.usage_metadata["total_tokens"] > 0
    assert chat.invoke("hello").content == "".join(chunk.content for chunk in chat.stream("hello"))

    async def ask() -> Any:
        return await bound.ainvoke("What's the weather in Paris?")

    assert asyncio.run(ask()).tool_calls[0]["args"] == {"city": "Paris"}


def test_chat_nvidia_finds_the_base_model_by_itself(services: Services) -> None:
    with pytest.warns(UserWarning, match="Default model is set as"):
        found = ChatNVIDIA(base_url=services.nim_url, max_completion_tokens=4)
        assert found.invoke("hello").response_metadata["model_name"] == services.base_model


class City(BaseModel):
    """A place."""

    city: str


def test_chat_nvidia_with_structured_output(chat: ChatNVIDIA) -> None:
    with pytest.warns(UserWarning, match="not known to support structured output"):
        structured = chat.with_structured_output(City)
    assert isinstance(structured.invoke("Paris"), City)


@covers(CHAT)
@pytest.mark.parametrize("form", ["response_format", "guided_json", "nvext"])
def test_json_by_schema(openai_client: openai.OpenAI, services: Services, form: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}},
        "required": ["n"],
        "additionalProperties": False,
    }
    fields: Any = {
        "response_format": {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}},
        "guided_json": {"extra_body": {"guided_json": schema}},
        "nvext": {"extra_body": {"nvext": {"guided_json": schema}}},
    }[form]
    reply = openai_client.chat.completions.create(model=services.base_model, messages=HELLO, max_tokens=40, **fields)
    assert json.loads(reply.choices[0].message.content or "").keys() == {"n"}


@covers(CHAT)
def test_log_probabilities(openai_client: openai.OpenAI, services: Services) -> None:
    reply = openai_client.chat.completions.create(
        model=services.base_model, messages=HELLO, max_tokens=3, temperature=0, logprobs=True, top_logprobs=2
    )
    assert reply.choices[0].logprobs is not None
    tokens = reply.choices[0].logprobs.content or []
    assert "".join(token.token for token in tokens) == reply.choices[0].message.content
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 2
        assert token.logprob == max(one.logprob for one in token.top_logprobs)


@covers(CHAT)
def test_unknown_fields_do_no_harm_and_unknown_models_are_named(
    openai_client: openai.OpenAI, nemo: NeMoMicroservices, services: Services
) -> None:
    more = {"nvext": {"x": 1}, "ignore_eos": False, "top_k": 3, "chat_template_kwargs": {"thinking": False}}
    openai_client.chat.completions.create(model=services.base_model, messages=HELLO, max_tokens=2, extra_body=more)
    with pytest.raises(openai.NotFoundError, match="no/such"):
        openai_client.chat.completions.create(model="no/such@v1", messages=HELLO)
    with pytest.raises(NeMoNotFound):
        nemo.chat.completions.create(model="no/such@v1", messages=HELLO)


@covers(CHAT)
def test_no_share_of_the_likeliest_is_the_likeliest(openai_client: openai.OpenAI, services: Services) -> None:
    wanted: Any = {"model": services.base_model, "messages": HELLO, "max_tokens": 6}
    greedy = openai_client.chat.completions.create(**wanted, temperature=0)
    least = openai_client.chat.completions.create(**wanted, temperature=2, top_p=0)
    assert greedy.choices[0].message.content == least.choices[0].message.content


@covers("nim POST /v1/completions")
def test_text_completions(openai_client: openai.OpenAI, nemo: NeMoMicroservices, services: Services) -> None:
    wanted: Any = {"model": services.base_model, "prompt": "The weather", "max_tokens": 8, "temperature": 0}
    whole = openai_client.completions.create(**wanted)
    assert whole.object == "text_completion" and whole.choices[0].finish_reason in ("stop", "length")
    assert nemo.completions.create(**wanted).choices[0].text == whole.choices[0].text
    pieces = [chunk.choices[0].text for chunk in openai_client.completions.create(**wanted, stream=True) if chunk.choices]
    assert "".join(pieces) == whole.choices[0].text
    with pytest.raises(openai.NotFoundError):
        openai_client.completions.create(**{**wanted, "model": "no/such@v1"})


@covers("nim POST /v1/embeddings")
def test_embeddings(openai_client: openai.OpenAI, nemo: NeMoMicroservices, services: Services) -> None:
    texts = ["the weather in Paris", "the weather in Rome"]
    wanted: Any = {"model": services.base_model, "input": texts}
    found = openai_client.embeddings.create(**wanted, extra_body={"input_type": "passage", "truncate": "END"}).data
    assert [one.index for one in found] == [0, 1] and len(found[0].embedding) == len(found[1].embedding) > 8
    through_sdk = nemo.embeddings.create(**wanted, input_type="query").data  # type: ignore[call-arg]
    assert len(through_sdk[0].embedding) == len(found[0].embedding)


def test_nvidia_embeddings(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NVIDIA_API_KEY", raising=False)
    client = NVIDIAEmbeddings(base_url=f"{services.nim_url}/v1", model=services.base_model)
    passages = client.embed_documents(["the weather in Paris", "a dog"])
    assert len(passages) == 2 and len(client.embed_query("weather")) == len(passages[0])
