"""The chat model against a scripted server: streaming, calls, the wire's shape, and every way in which a server can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chat_app.model import ChatModel, ProposedCall, Reply
from chat_app.repetition import end_of_first
from flywheel.errors import PlatformError
from flywheel.promote import Registry
from flywheel.store import Store
from tests.fakes import NimReply, ScriptedNim

ASK = [{"role": "user", "content": "hello"}]
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Add.", "parameters": PARAMETERS}}]


@pytest.fixture
def nim() -> Iterator[ScriptedNim]:
    with ScriptedNim() as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    store = Store(tmp_path / "flywheel.db")
    registry = Registry(store.database)
    registry.begin("base")
    yield registry
    store.close()


def gather(url: str, registry: Registry, messages: list[dict[str, Any]] = ASK, **options: Any) -> tuple[list[str], Reply]:
    """All pieces of text, and the whole reply."""
    stream_options = {name: options.pop(name) for name in ("tool_choice",) if name in options}

    async def ask() -> tuple[list[str], Reply]:
        model = ChatModel(url, "", registry, **options)
        try:
            pieces = [piece async for piece in model.stream(messages, TOOLS, model="base", **stream_options)]
        finally:
            await model.aclose()
        assert isinstance(pieces[-1], Reply)
        return [piece for piece in pieces if isinstance(piece, str)], pieces[-1]

    return asyncio.run(ask())


def test_text_streams_and_is_whole_at_the_end(nim: ScriptedNim, registry: Registry) -> None:
    nim.enqueue("Hello, how are you?")
    pieces, reply = gather(nim.url, registry)
    assert len(pieces) > 1 and "".join(pieces) == reply.content == "Hello, how are you?"
    assert reply.calls == [] and reply.finish_reason == "stop"


def test_a_reply_that_repeats_itself_is_ended(nim: ScriptedNim, registry: Registry) -> None:
    said = "The time in Oslo is ten past four. "
    nim.enqueue(NimReply("Sure. " + said * 40, ending="hang"))
    pieces, reply = gather(nim.url, registry)
    assert reply.content == "Sure. " + said.strip() and reply.finish_reason == "stop"
    assert len("".join(pieces)) < 4 * len(said)
    assert nim.disconnected.wait(5), "the server's work ends too"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a b c d e f. " * 3, "a b c d e f."),
        ("Well, a b c d e f. a b c d e f. a b c d e f", None),  # the third time is not at its end yet
        ("ha " * 18, "ha ha ha ha ha ha"),
        ("No. No. No.", None),
        ("| --- | --- | " * 6, None),
        ("one two three four five 1. one two three four five 2. one two three four five 3.", None),
        ("a b c d e f.\n" * 2 + "And so on.", None),
    ],
)
def test_what_counts_as_repetition(text: str, kept: str | None) -> None:
    end = end_of_first(text)
    assert (None if end is None else text[:end]) == kept


def test_what_goes_over_the_wire(nim: ScriptedNim, registry: Registry) -> None:
    call: dict[str, Any] = {"id": "call-1", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "s": "é"}}}
    result: dict[str, Any] = {"role": "tool", "tool_call_id": "call-1", "content": "2"}
    history: list[dict[str, Any]] = [*ASK, {"role": "assistant", "content": "", "tool_calls": [call]}, result]
    nim.enqueue("2")
    gather(nim.url, registry, history, tool_choice="none")
    sent = nim.requests[0]
    assert sent["model"] == "base" and sent["tool_choice"] == "none" and sent["tools"] == TOOLS and sent["stream"] is True
    assert sent["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"a":1,"s":"é"}'
    assert sent["messages"][2]["tool_call_id"] == "call-1"
    assert call["function"]["arguments"] == {"a": 1, "s": "é"}, "the store's messages stay as they are"


@pytest.mark.parametrize(
    ("raw", "arguments"),
    [
        ('{"a": 1, "b": [2, null]}', {"a": 1, "b": [2, None]}),
        ("", {}),
        ('{"a": ', None),
        ("[1, 2]", None),
        ('"text"', None),
        ('{"a": NaN}', None),
        ('{"a": "\\ud800"}', None),
        ("[" * 5000, None),
        ('{"a": 1e999}', None),
    ],
    ids=["object", "empty", "cut", "list", "text", "nan", "half a character", "deep", "infinite"],
)
def test_arguments_become_an_object_or_stay_raw(nim: ScriptedNim, registry: Registry, raw: str, arguments: Any) -> None:
    nim.enqueue(NimReply(calls=(("add", raw),)))
    _, reply = gather(nim.url, registry)
    assert reply.calls == [ProposedCall("add", arguments, raw)]
    assert reply.finish_reason == "tool_calls"


def test_how_sure_the_model_is_comes_with_the_reply(nim: ScriptedNim, registry: Registry) -> None:
    nim.enqueue(NimReply(calls=(("add", "{}"),), chances=((-0.1, -2.1), (-0.3, -0.4))), "no chances told")
    _, reply = gather(nim.url, registry)
    assert reply.confidence is not None and reply.confidence.tokens == 2
    assert (round(reply.confidence.mean_logprob, 6), round(reply.confidence.margin, 6)) == (-0.2, 0.1)
    assert gather(nim.url, registry)[1].confidence is None
    assert [(sent["logprobs"], sent["top_logprobs"]) for sent in nim.requests] == [(True, 2)] * 2


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_tells_no_probabilities_is_asked_without(nim: ScriptedNim, registry: Registry, status: int) -> None:
    nim.answer_with(lambda body: NimReply(status=status, body="{}") if "logprobs" in body else NimReply("Hello."))

    async def ask_twice() -> list[Any]:
        model = ChatModel(nim.url, "", registry)
        replies = [[piece async for piece in model.stream(ASK, TOOLS, model="base")][-1] for _ in range(2)]
        await model.aclose()
        return replies

    assert [(reply.content, reply.confidence) for reply in asyncio.run(ask_twice())] == [("Hello.", None)] * 2
    assert ["logprobs" in sent for sent in nim.requests] == [True, False, False]


def test_several_calls_keep_their_order(nim: ScriptedNim, registry: Registry) -> None:
    nim.enqueue(NimReply(calls=(("add", '{"a":1}'), ("sub", '{"a":2}'))))
    _, reply = gather(nim.url, registry)
    assert [(call.name, call.arguments) for call in reply.calls] == [("add", {"a": 1}), ("sub", {"a": 2})]


@pytest.mark.parametrize(
    ("reply", "options", "sentence"),
    [
        (NimReply(status=404, body='{"detail": "no such model"}'), {}, r"'base' is not loaded .* roll back on the Wheel tab"),
        (NimReply(status=401, body="{}"), {}, "NVIDIA_API_KEY"),
        (NimReply(status=400, body="{}"), {}, r"refused the request \(400\)"),
        (NimReply("some text", ending="cut"), {}, "broke off in the middle"),
        (NimReply("some text", ending="unfinished"), {}, "no answer"),
        (NimReply("some text", ending="hang"), {"total_seconds": 0.5}, "too long"),
        (NimReply("late", pause_seconds=3), {"timeout_seconds": 0.2}, "too long"),
        (NimReply(body="<html>hello</html>"), {}, "no answer"),
        (NimReply(body="data: {not json\n\n"), {}, "no answer"),
        (NimReply(body='data: {"choices": [{"delta": 3}]}\n\n'), {}, "no answer"),
        (NimReply(body='data: {"choices": 7}\n\n'), {}, "no answer"),
        (NimReply(body='data: {"error": {"message": "out of memory"}}\n\n'), {}, "failed at this question"),
        (NimReply("x" * 60_000), {}, "no answer"),
    ],
    ids="404 401 400 cut unfinished drip silent html broken-json wrong-shape odder-shape error-event endless".split(),
)
def test_every_failure_is_a_sentence(
    nim: ScriptedNim, registry: Registry, reply: NimReply, options: dict[str, Any], sentence: str
) -> None:
    nim.enqueue(reply, reply)
    with pytest.raises(PlatformError, match=sentence):
        gather(nim.url, registry, **options)


def test_a_failing_server_is_asked_once_more(nim: ScriptedNim, registry: Registry) -> None:
    nim.enqueue(NimReply(status=503, body="{}"), "Here again.")
    assert gather(nim.url, registry)[1].content == "Here again."
    nim.enqueue(NimReply(status=503, body="{}"), NimReply(status=503, body="{}"))
    with pytest.raises(PlatformError, match="failed at this question"):
        gather(nim.url, registry)


def test_a_server_that_is_down(registry: Registry) -> None:
    with ScriptedNim() as nim:
        url = nim.url
    with pytest.raises(PlatformError, match="does not answer. It is being restarted"):
        gather(url, registry)


def test_leaving_early_ends_the_servers_work(nim: ScriptedNim, registry: Registry) -> None:
    nim.enqueue(NimReply("some text", ending="hang"))

    async def leave() -> None:
        model = ChatModel(nim.url, "", registry)
        stream = model.stream(ASK, TOOLS, model="base")
        assert await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(nim.disconnected.wait, 5)
        await model.aclose()

    asyncio.run(leave())


def test_the_served_model_is_the_registrys(registry: Registry) -> None:
    model = ChatModel("http://127.0.0.1:1", "", registry)
    assert model.serving("conv-1") == "base"
