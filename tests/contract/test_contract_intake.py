"""Intake through NVIDIA's SDK: apps and their tasks, entries with ratings and events, and their export."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints import covers
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError, UnprocessableEntityError

from tests.platform_rows import follow

APPS, ENTRIES = "/v1/intake/apps", "/v1/intake/entries"
APP = APPS + "/{namespace}/{name}"
TASKS = APPS + "/{namespace}/{app}/tasks"


def entry(namespace: str, **changes: Any) -> dict[str, Any]:
    """A turn of a chat, as it was asked and answered."""
    message = {"role": "assistant", "content": "Hi."}
    data = {
        "request": {"model": "meta/x", "messages": [{"role": "user", "content": "hello"}]},
        "response": {"choices": [{"message": message}]},
    }
    return {
        "context": {"app": f"{namespace}/chat", "task": "turn", "thread_id": "t1"},
        "data": data,
        "namespace": namespace,
    } | changes


@covers(
    f"nemo POST {APPS}", f"nemo GET {APPS}", f"nemo GET {APP}", f"nemo PATCH {APP}", f"nemo DELETE {APP}",
    f"nemo POST {TASKS}", f"nemo GET {TASKS}", f"nemo GET {TASKS}/{{task}}", f"nemo PATCH {TASKS}/{{task}}",
    f"nemo DELETE {TASKS}/{{task}}",
)  # fmt: skip
def test_apps_and_tasks(nemo: NeMoMicroservices, namespace: str) -> None:
    nemo.intake.apps.create(name="chat", namespace=namespace, description="d")
    with pytest.raises(ConflictError):
        nemo.intake.apps.create(name="chat", namespace=namespace)
    assert nemo.intake.apps.retrieve("chat", namespace=namespace).description == "d"
    assert nemo.intake.apps.update("chat", namespace=namespace, description="e").description == "e"
    assert [app.name for app in nemo.intake.apps.list(filter={"namespace": namespace})] == ["chat"]
    where: Any = {"namespace": namespace, "app_name": "chat"}
    nemo.intake.apps.tasks.create(name="turn", **where)
    assert nemo.intake.apps.tasks.retrieve("turn", **where).name == "turn"
    assert nemo.intake.apps.tasks.update("turn", description="f", **where).description == "f"
    assert [task.name for task in nemo.intake.apps.tasks.list("chat", namespace=namespace)] == ["turn"]
    nemo.intake.apps.tasks.delete("turn", **where)
    nemo.intake.apps.delete("chat", namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.intake.apps.retrieve("chat", namespace=namespace)


@covers(
    f"nemo POST {ENTRIES}", f"nemo GET {ENTRIES}/{{entry}}", f"nemo PATCH {ENTRIES}/{{entry}}",
    f"nemo DELETE {ENTRIES}/{{entry}}", f"nemo POST {ENTRIES}/{{entry}}/events",
    f"nemo DELETE {ENTRIES}/{{entry}}/events/{{event}}",
)  # fmt: skip
def test_an_entry_with_its_rating_and_events(nemo: NeMoMicroservices, namespace: str) -> None:
    identity = f"chatcmpl-{namespace}"
    made: Any = nemo.intake.entries.create(**entry(namespace, external_id=identity, user_rating={"thumb": "down"}))
    assert made.data.request.messages[0].content == "hello" and made.user_rating.thumb == "down"
    with pytest.raises(ConflictError):
        nemo.intake.entries.create(**entry(namespace, external_id=identity))
    assert nemo.intake.entries.retrieve(made.id).external_id == identity
    assert nemo.intake.entries.retrieve(f"external:{identity}").id == made.id
    better: Any = nemo.intake.entries.update(made.id, user_rating={"thumb": "down", "rewrite": "Hello!"})
    assert better.user_rating.rewrite == "Hello!"
    override = {"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]}
    events: Any = [
        {"event_type": "user_action", "action": "copied", "metadata": {"where": "page"}},
        {"event_type": "reviewer_annotation", "response_override": override},
    ]
    heard: Any = nemo.intake.entries.events.create(made.id, events=events)
    assert [event.event_type for event in heard.events] == ["user_action", "reviewer_annotation"]
    less: Any = nemo.intake.entries.events.delete(heard.events[0].id, entry_id=made.id)
    assert [event.event_type for event in less.events] == ["reviewer_annotation"]
    nemo.intake.entries.delete(made.id)
    with pytest.raises(NotFoundError):
        nemo.intake.entries.retrieve(made.id)


@covers(f"nemo GET {ENTRIES}")
def test_entries_are_found_by_what_was_said_of_them(nemo: NeMoMicroservices, namespace: str) -> None:
    plain = nemo.intake.entries.create(**entry(namespace)).id
    liked = nemo.intake.entries.create(**entry(namespace, user_rating={"thumb": "up"})).id
    rewritten = nemo.intake.entries.create(**entry(namespace, user_rating={"thumb": "down", "rewrite": "x", "opinion": "o"})).id

    def found(**conditions: Any) -> list[str | None]:
        wanted: Any = {"namespace": namespace, **conditions}
        return [one.id for one in nemo.intake.entries.list(filter=wanted, sort="created_at")]

    assert found() == [plain, liked, rewritten]
    assert found(has_thumb=True) == [liked, rewritten] and found(has_thumb=False) == [plain]
    assert found(has_rewrite=True) == found(has_opinion=True) == found(user_rating={"thumb": "down"}) == [rewritten]
    assert found(context={"app": f"{namespace}/chat", "task": "turn"}) == [plain, liked, rewritten]
    assert found(context={"thread_id": "other"}) == [] == found(has_events=True)


@covers("nemo POST /v1/intake/export/preview", "nemo POST /v1/intake/export/jobs", "nemo GET /v1/intake/export/jobs/{job}")
def test_export(nemo: NeMoMicroservices, namespace: str) -> None:
    for thumb in ("up", "down"):
        nemo.intake.entries.create(**entry(namespace, user_rating={"thumb": thumb}))
    config: Any = {"filters": {"namespace": namespace, "user_rating": {"thumb": "up"}}, "limit": 10}
    preview = nemo.intake.export.preview(config=config)
    assert preview.count == 1 == len(preview.data)
    job: Any = nemo.intake.export.jobs.create(config=config, namespace=namespace)
    over = follow(lambda: nemo.intake.export.jobs.retrieve(job.id))[-1]
    assert over.status == "completed" and over.output_file_url


@covers(f"nemo POST {ENTRIES}")
def test_a_rating_is_a_thumb_or_a_number(nemo: NeMoMicroservices, namespace: str) -> None:
    with pytest.raises(UnprocessableEntityError):
        nemo.intake.entries.create(**entry(namespace, user_rating={"thumb": "up", "rating": 5}))
