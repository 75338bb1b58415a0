"""The inference routes over HTTP, as OpenAI's own client and plain requests meet them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI

from flywheel.local.engine import Engine
from flywheel.local.nim import router

BASE_PATH = Path(__file__).parents[3] / "flywheel" / "local" / "base"
BASE = "local/tool-llama-5m"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK: Any = [{"role": "user", "content": "What's the weather in Paris?"}]
HELLO: Any = [{"role": "user", "content": "hello"}]
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 100_000}


@pytest.fixture(scope="module")
def nim_url() -> Iterator[str]:
    engine = Engine(BASE, BASE_PATH, max_batch=2, threads=1)
    app = FastAPI()
    app.include_router(router(engine), prefix="/nim")
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    engine.wait_ready(60)
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/nim"
    server.should_exit = True
    thread.join(10)
    engine.close()


@pytest.fixture(scope="module")
def client(nim_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{nim_url}/v1", api_key="None", max_retries=0) as client:
        yield client


def post(nim_url: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{nim_url}/v1/chat/completions", json={"model": BASE, "messages": HELLO, **body}, timeout=60)


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.model_dump(exclude_none=True) | {"created": 0} == {
        "id": BASE,
        "object": "model",
        "created": 0,
        "owned_by": "system",
        "root": BASE,
        "max_model_len": 2048,
        "permission": [],
    }
    assert client.models.retrieve(BASE).id == BASE
    with pytest.raises(openai.NotFoundError, match=f"served are: {BASE}"):
        client.models.retrieve("meta/other@v1")


def test_health(nim_url: str) -> None:
    assert httpx.get(f"{nim_url}/v1/health/live").status_code == 200
    assert httpx.get(f"{nim_url}/v1/health/ready").json()["status"] == "ready"


def test_calls_a_tool(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=BASE, messages=ASK, tools=[WEATHER], tool_choice="auto", temperature=0.1, top_p=0.7, max_tokens=512
    )
    (choice,) = reply.choices
    assert (choice.finish_reason, choice.message.content, choice.message.role) == ("tool_calls", None, "assistant")
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function" and call.id.startswith("chatcmpl-tool-")
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 30


def test_goes_on_after_the_tool(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model=BASE, messages=ASK, tools=[WEATHER], temperature=0).choices[0].message
    assert first.tool_calls
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": '{"temperature": 4}'}
    turns: Any = [*ASK, first.model_dump(exclude_none=True), result]
    second = client.chat.completions.create(model=BASE, messages=turns, tools=[WEATHER], tool_choice="none", temperature=0)
    assert second.choices[0].message.content and second.choices[0].message.tool_calls is None


def test_text_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=BASE, messages=HELLO, temperature=0)
    stream = client.chat.completions.create(
        model=BASE, messages=HELLO, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len(texts) > 4
    assert "".join(texts) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_calls_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model=BASE, messages=ASK, tools=[WEATHER], temperature=0) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert [(call.function.name, call.function.arguments) for call in choice.message.tool_calls] == [
        ("get_weather", '{"city": "Paris"}')
    ]


def test_stream_is_exactly_what_a_nim_sends(nim_url: str) -> None:
    reply = post(nim_url, messages=ASK, tools=[WEATHER], stream=True, temperature=0)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = reply.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    choices = [json.loads(event.removeprefix("data: "))["choices"][0] for event in events]
    identity = choices[1]["delta"]["tool_calls"][0].pop("id")
    assert identity.startswith("chatcmpl-tool-")
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"tool_calls": [{"index": 0, "type": "function", "function": {"name": "get_weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Paris"}'}}]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "tool_calls"]


def test_a_named_tool_is_called(client: openai.OpenAI) -> None:
    other: Any = {"type": "function", "function": {"name": "clock", "parameters": {}}}
    named: Any = {"type": "function", "function": {"name": "clock"}}
    reply = client.chat.completions.create(model=BASE, messages=ASK, tools=[WEATHER, other], tool_choice=named, temperature=0)
    calls = reply.choices[0].message.tool_calls or []
    assert {call.function.name for call in calls if call.type == "function"} == {"clock"}


@pytest.mark.parametrize("field", ["response_format", "guided_json"])
def test_json_by_schema(nim_url: str, field: str) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}},
        "required": ["n"],
        "additionalProperties": False,
    }
    value = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}} if field == "response_format" else schema
    content = post(nim_url, max_tokens=40, **{field: value}).json()["choices"][0]["message"]["content"]
    assert list(json.loads(content)) == ["n"] and json.loads(content)["n"] <= 9


def test_limits_and_stop(nim_url: str) -> None:
    short = post(nim_url, temperature=0, max_tokens=90, max_completion_tokens=3).json()
    assert (short["usage"]["completion_tokens"], short["choices"][0]["finish_reason"]) == (3, "length")
    whole = post(nim_url, temperature=0).json()["choices"][0]["message"]["content"]
    cut = post(nim_url, temperature=0, stop=whole[3:6]).json()["choices"][0]["message"]["content"]
    assert cut == whole[: whole.index(whole[3:6])]


def test_unknown_fields_and_tokens_are_accepted(nim_url: str) -> None:
    body = {"model": BASE, "messages": HELLO, "nvext": {"x": 1}, "ignore_eos": False, "top_k": 3, "user": "me", "stream": None}
    headers = {"Authorization": "Bearer **********"}
    assert httpx.post(f"{nim_url}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"model": "ns/none@v1"}, 404, f"the model 'ns/none@v1' does not exist here; served are: {BASE}"),
        ({"messages": [{"role": "user", "content": "word " * 2100}]}, 400, "but the limit is 2048"),
        ({"messages": [{"role": "alien", "content": ""}]}, 400, "unknown message role 'alien'"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}}, 400, "tool_choice names 'x'"),
        ({"tool_choice": "required"}, 400, "no tools are offered"),
        ({"messages": []}, 422, "at least 1 item"),
        ({"messages": "hello"}, 422, "valid list"),
        ({"temperature": -1}, 422, "greater than or equal to 0"),
        ({"max_tokens": 0}, 422, "greater than or equal to 1"),
        ({"n": 2}, 422, "Input should be 1"),
        ({"tools": [{"type": "function"}]}, 422, "Field required"),
    ],
)
def test_errors_say_what_and_which(nim_url: str, body: dict[str, Any], status: int, text: str) -> None:
    reply = post(nim_url, **body)
    assert reply.status_code == status
    assert text in json.dumps(reply.json()["detail"], ensure_ascii=False)
    if status != 422:
        assert reply.json()["error"]["message"] == reply.json()["detail"]


@pytest.mark.parametrize("depth", [60, 300, 5000])
def test_deep_schemas_do_no_harm(nim_url: str, depth: int) -> None:
    text = json.dumps({"model": BASE, "messages": HELLO, "max_tokens": 4, "tools": []})
    schema = '{"properties":{"a":' * depth + "{}" + "}}" * depth
    tool = f'{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}'
    reply = httpx.post(f"{nim_url}/v1/chat/completions", content=text.replace("[]", f"[{tool}]"), timeout=60)
    assert reply.status_code in (200, 400, 422)
    assert post(nim_url, max_tokens=2).status_code == 200


def test_who_hangs_up_makes_room(nim_url: str) -> None:
    body = {"model": BASE, "messages": HELLO, "guided_json": ENDLESS, "stream": True}
    for _ in range(2):  # both places of the batch
        with httpx.stream("POST", f"{nim_url}/v1/chat/completions", json=body, timeout=60) as reply:
            next(reply.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{nim_url}/v1/chat/completions", json={**body, "stream": False}, timeout=0.5)
    started = time.monotonic()
    assert post(nim_url).status_code == 200
    assert time.monotonic() - started < 4


def test_not_ready_is_said() -> None:
    engine = Engine(BASE, BASE_PATH / "nothing-here", threads=1)
    app = FastAPI()
    app.include_router(router(engine))
    from fastapi.testclient import TestClient

    with TestClient(app) as client:
        reply = client.get("/v1/health/ready")
        assert reply.status_code == 503
        assert BASE in reply.json()["detail"]
        assert client.get("/v1/health/live").status_code == 200
        assert client.get("/v1/models").json()["data"][0]["id"] == BASE
    engine.close()
