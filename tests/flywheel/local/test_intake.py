"""Intake through NVIDIA's SDK: feedback written in NVIDIA's shape, found again, and exported to what trains and evaluates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import nemo_microservices
import pytest
from clients import connect, fresh_namespace, post
from nemo_microservices import AsyncNeMoMicroservices, NeMoMicroservices

from tests.conftest import Platform

CALL: Any = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    with connect(platform) as client:
        yield client


@pytest.fixture
def ns() -> str:
    return fresh_namespace()


def exchange(question: str = "hello", answer: str = "hi", turns: int = 1, **request: Any) -> Any:
    messages = [{"role": "user", "content": question}] * turns
    choices = [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}]
    return {"request": {"model": "m", "messages": messages, "temperature": 0.2, **request}, "response": {"choices": choices}}


def test_an_entry_brings_its_app_and_task_along(nemo: NeMoMicroservices, ns: str) -> None:
    intake = nemo.intake
    made = intake.entries.create(
        namespace=ns,
        context={"app": f"{ns}/chat", "task": "tool-call", "thread_id": "t1", "user_id": "ann"},
        data=exchange(tools=TOOLS),
        external_id=f"chatcmpl-{ns}",
        user_rating={"thumb": "down", "opinion": "rude", "categories": {"tone": "bad", "accuracy": 2}},
    )
    assert made.id is not None and made.id.startswith("entry-")
    assert intake.apps.retrieve("chat", namespace=ns).locked is False
    assert intake.apps.tasks.retrieve("tool-call", namespace=ns, app_name="chat").app == f"{ns}/chat"
    for name in (made.id, f"external:chatcmpl-{ns}"):
        entry = intake.entries.retrieve(name)
        assert entry == made
        assert entry.user_rating is not None and entry.user_rating.categories == {"tone": "bad", "accuracy": 2}
        assert entry.data.request.model_dump()["tools"] == TOOLS
    with pytest.raises(nemo_microservices.ConflictError, match="external_id"):
        intake.entries.create(
            context={"app": f"{ns}/chat", "task": "x"}, data=exchange(), external_id=f"chatcmpl-{ns}", namespace=ns
        )
    changed = intake.entries.update(made.id, user_rating={"rating": 4.5, "rewrite": "Hello!"})
    assert changed.user_rating is not None and (changed.user_rating.rating, changed.user_rating.thumb) == (4.5, None)
    assert changed.context == made.context
    intake.entries.delete(f"external:chatcmpl-{ns}")
    with pytest.raises(nemo_microservices.NotFoundError):
        intake.entries.retrieve(made.id)


def test_events_come_and_go(nemo: NeMoMicroservices, ns: str) -> None:
    entry = nemo.intake.entries.create(namespace=ns, context={"app": f"{ns}/a", "task": "chat"}, data=exchange())
    assert entry.id is not None
    grown = nemo.intake.entries.events.create(
        entry.id,
        events=[
            {"event_type": "user_feedback", "thumb": "up", "created_by": {"user": "ann"}},
            {"event_type": "user_action", "action": "code_copied", "metadata": {"n": 3, "tags": ["a", "b"], "ok": True}},
            {"event_type": "reviewer_annotation", "response_override": {"choices": [{"message": {"tool_calls": [CALL]}}]}},
        ],
    )
    assert grown.events is not None
    assert [event.event_type for event in grown.events] == ["user_feedback", "user_action", "reviewer_annotation"]
    ids = [event.id for event in grown.events]
    assert all(ids) and len(set(ids)) == 3
    kept = nemo.intake.entries.events.delete(str(ids[1]), entry_id=entry.id)
    assert kept.events is not None and [event.id for event in kept.events] == [ids[0], ids[2]]
    with pytest.raises(nemo_microservices.NotFoundError, match="has no event"):
        nemo.intake.entries.events.delete("event-none", entry_id=entry.id)


def test_lists_find_what_their_filters_say(nemo: NeMoMicroservices, ns: str) -> None:
    def enter(name: str, turns: int = 1, app: str = "a", **more: Any) -> None:
        context: Any = {"app": f"{ns}/{app}", "task": "chat", "user_id": name[0], **more.pop("context", {})}
        nemo.intake.entries.create(namespace=ns, external_id=f"{ns}/{name}", context=context, data=exchange(turns=turns), **more)

    enter("short", 1, context={"thread_id": "t"}, user_rating={"thumb": "up"})
    enter("long", 3, context={"thread_id": "t"}, user_rating={"thumb": "down", "rewrite": "better"})
    enter("alone", 2, user_rating={"rating": 3, "opinion": "so so"})
    enter("bare", 1, app="b", events=[{"event_type": "user_feedback", "thumb": "up"}])

    def found(**filters: Any) -> list[str]:
        listed = nemo.intake.entries.list(filter={"namespace": ns, **filters}, sort="created_at", page_size=2)
        return [str(entry.external_id).split("/")[1] for entry in listed]

    assert found() == ["short", "long", "alone", "bare"]
    assert found(longest_per_thread=True) == ["long", "alone", "bare"]
    assert found(has_thumb=True) == ["short", "long", "bare"]
    assert found(has_rating=True) == found(has_opinion=True) == ["alone"]
    assert found(has_rewrite=True) == ["long"]
    assert found(has_events=False) == ["short", "long", "alone"]
    assert found(user_rating={"thumb": "down"}) == ["long"]
    assert found(context={"app": f"{ns}/b"}) == ["bare"]
    assert found(context={"thread_id": "t", "user_id": "s"}) == ["short"]
    assert found(external_id=f"{ns}/alone") == ["alone"]
    (long,) = nemo.intake.entries.list(filter={"namespace": ns, "external_id": f"{ns}/long"})
    nemo.intake.entries.update(str(long.id), description="changed")
    (bare,) = nemo.intake.entries.list(filter={"namespace": ns, "external_id": f"{ns}/bare"})
    assert found(updated_at={"gte": f"{bare.updated_at:%Y-%m-%dT%H:%M:%S.%f}"}) == ["long", "bare"]
    assert found(updated_at={"gte": "2999-01-01"}) == []
    assert [one.external_id for one in nemo.intake.entries.list(search={"external_id": [f"{ns}/alo", f"{ns}/ba"]})] == [
        f"{ns}/bare",
        f"{ns}/alone",
    ]
    assert nemo.intake.entries.retrieve(f"external:{ns}/bare").external_id == f"{ns}/bare"


def test_apps_and_tasks(nemo: NeMoMicroservices, ns: str) -> None:
    apps = nemo.intake.apps
    apps.create(name="one", namespace=ns, description="first", locked=True)
    apps.create(name="two", namespace=ns)
    with pytest.raises(nemo_microservices.ConflictError):
        apps.create(name="one", namespace=ns)
    assert [app.name for app in apps.list(filter={"namespace": ns}, sort="name")] == ["one", "two"]
    assert apps.update("one", namespace=ns, description="changed").description == "changed"
    for app in ("one", "two"):
        apps.tasks.create(app, namespace=ns, name="chat", description=app)
    assert apps.tasks.retrieve("chat", namespace=ns, app_name="two").description == "two"
    assert [(task.namespace, task.app) for task in apps.tasks.list("one", namespace=ns)] == [(ns, f"{ns}/one")]
    assert apps.tasks.update("chat", namespace=ns, app_name="one", locked=True).locked is True
    apps.tasks.delete("chat", namespace=ns, app_name="one")
    assert list(apps.tasks.list("one", namespace=ns)) == []
    apps.delete("two", namespace=ns)
    for gone in (lambda: apps.retrieve("two", namespace=ns), lambda: apps.tasks.list("two", namespace=ns)):
        with pytest.raises(nemo_microservices.NotFoundError):
            gone()
    nemo.intake.entries.create(context={"app": f"{ns}/one", "task": "chat"}, data=exchange())
    assert apps.retrieve("one", namespace=ns).description == "changed"


def test_export_prefers_what_a_reviewer_said(nemo: NeMoMicroservices, platform: Platform, ns: str) -> None:
    context: Any = {"app": f"{ns}/a", "task": "chat"}
    override: Any = {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}}]}
    nemo.intake.entries.create(namespace=ns, context=context, data=exchange("plain", "fine"))
    nemo.intake.entries.create(
        namespace=ns, context=context, data=exchange("say", "wrong"), user_rating={"thumb": "down", "rewrite": "right"}
    )
    nemo.intake.entries.create(
        namespace=ns,
        context=context,
        data=exchange("weather", "dunno", tools=TOOLS),
        events=[{"event_type": "reviewer_annotation", "rewrite": "no", "response_override": override}],
    )

    def rows(form: str, **options: Any) -> list[Any]:
        config: Any = {"filters": {"app": f"{ns}/a"}, "format_options": {"row_transformation": form, **options}}
        preview = nemo.intake.export.preview(config=config)
        assert preview.count == len(preview.data)
        return preview.data

    chat = rows("chat")
    assert [row["messages"][-1]["content"] for row in chat] == ["fine", "right", ""]
    assert chat[2]["messages"][-1]["tool_calls"][0]["function"]["arguments"] == {"city": "Rome"}
    assert (chat[2]["tools"], "tools" in chat[0]) == (TOOLS, False)
    assert [row["messages"][-1]["content"] for row in rows("chat", use_response_override=False)] == ["fine", "wrong", "dunno"]
    assert rows("request_response")[2]["response"] == override
    assert rows("dpo")[0] == {
        "prompt": [{"role": "user", "content": "say"}],
        "chosen_response": "right",
        "rejected_response": "wrong",
    }
    assert [row["data"]["response"]["choices"][0]["message"]["content"] for row in rows("none")] == ["fine", "wrong", "dunno"]

    url = f"hf://datasets/{ns}/rows/training/training.jsonl"
    job = nemo.intake.export.jobs.create(
        config={"filters": {"namespace": ns}, "limit": 2, "format_options": {"row_transformation": "chat"}}, output_file_url=url
    )
    assert (job.status, job.output_file_url) == ("completed", url)
    assert job.status_details is not None and job.status_details.entries_count == 2
    assert nemo.intake.export.jobs.retrieve(str(job.id)) == job
    text = httpx.get(f"{platform.nds_url}/v1/hf/datasets/{ns}/rows/resolve/main/training/training.jsonl").text
    assert [json.loads(line) for line in text.splitlines()] == chat[:2]


@pytest.mark.parametrize("url", ["file:///etc/cron.d/x", "hf://datasets/ns/name", "hf://datasets/ns/name/../../x", "s3://b/x"])
def test_export_writes_nowhere_but_into_the_data_store(nemo: NeMoMicroservices, url: str) -> None:
    job = nemo.intake.export.jobs.create(config={}, output_file_url=url)
    assert job.status == "failed" and job.status_details is not None and job.status_details.error_message


def test_what_cannot_be_meant_is_refused(platform: Platform) -> None:
    whole = {"context": {"app": "a", "task": "t"}, "data": exchange()}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"context": {"app": "a/b/c", "task": "t"}}, "pattern"),
        ({"data": {"request": {"model": "m", "messages": [{"role": "alien"}]}, "response": {"choices": []}}}, "'user'"),
        ({"user_rating": {"thumb": "up", "rating": 1}}, "either thumb or rating"),
        ({"events": [{"event_type": "nonsense"}]}, "event_type"),
        ({"events": [{"event_type": ["user_action"]}]}, "events"),
        ({"events": [{"event_type": "user_action"}]}, "action"),
    ]
    for part, text in wrong:
        answer = post(platform, "/v1/intake/entries", {**whole, **part})
        assert answer.status_code == 422 and text in answer.text, answer.text
    made = post(platform, "/v1/intake/entries", {**whole, "unknown": 1})
    assert (made.status_code, made.json()["context"]["app"], "unknown" in made.json()) == (200, "default/a", False)
    assert (
        post(platform, "/v1/intake/export/preview", {"config": {"format_options": {"row_transformation": "x"}}}).status_code
        == 422
    )
    assert post(platform, "/v1/intake/apps/nobody/none/tasks", {"name": "t"}).status_code == 404


def test_async_client(platform: Platform, ns: str) -> None:
    async def enter_and_list() -> None:
        async with AsyncNeMoMicroservices(base_url=platform.nemo_url, max_retries=0) as client:
            made = await client.intake.entries.create(namespace=ns, context={"app": f"{ns}/a", "task": "t"}, data=exchange())
            assert [entry.id async for entry in client.intake.entries.list(filter={"namespace": ns})] == [made.id]

    asyncio.run(enter_and_list())
