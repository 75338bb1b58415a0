"""Intake: apps, their tasks and entries, as NVIDIA's clients call them. People's feedback comes in here and goes out as rows.

Knows the routes. What an entry is stands in `intake_entries`, how entries leave in `intake_export`. An entry brings its app and
task along: what is not there yet is made, what is there is never changed by an entry.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from flywheel.local import intake_export
from flywheel.local.answers import checked
from flywheel.local.entities import Named, changed
from flywheel.local.intake_entries import Entry, Events, chosen, migrations
from flywheel.local.listing import page_body, page_of, page_query
from flywheel.local.repos import Repos
from flywheel.local.state import Entity, Exists, Missing, State

_APPS, _ENTRIES = "/v1/intake/apps", "/v1/intake/entries"
_APP = _APPS + "/{namespace}/{app_name}"
_TASK = _APP + "/tasks/{task_name}"
_EXTERNAL = "external:"


class App(Named):
    """An application that talks to models; `locked` keeps what stands here from being changed by entries."""

    locked: bool = False


class NewEvents(BaseModel):
    """The body that adds events."""

    events: Events


def router(state: State, repos: Repos) -> APIRouter:
    """All routes under /v1/intake."""
    with state.transaction() as db:
        migrations.apply(db)
    routes = APIRouter(tags=["intake"])
    for part in (_app_routes(state), _task_routes(state), _event_routes(state), _entry_routes(state)):
        routes.include_router(part)
    routes.include_router(intake_export.router(state, repos))
    return routes


def _app_routes(state: State) -> APIRouter:
    routes = APIRouter()

    @routes.post(_APPS)
    def create(body: dict[str, Any]) -> Entity:
        whole = checked(App, body).model_dump(mode="json")
        return state.create("intake_app", whole["namespace"], whole["name"], whole)

    @routes.get(_APPS)
    def list_page(request: Request) -> dict[str, Any]:
        return page_of(request, state, "intake_app")

    @routes.get(_APP)
    def read(namespace: str, app_name: str) -> Entity:
        return _app(state, namespace, app_name)

    @routes.patch(_APP)
    def change(namespace: str, app_name: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            whole = changed(App, _app(state, namespace, app_name), body)
            return state.update("intake_app", namespace, app_name, whole)

    @routes.delete(_APP, status_code=204, response_class=Response)
    def delete(namespace: str, app_name: str) -> None:
        """With its tasks; its entries stay."""
        with state.transaction():
            state.delete_by_id("intake_app", _app(state, namespace, app_name)["id"])
            for task in state.list("intake_task", filter={"app": f"{namespace}/{app_name}"})[0]:
                state.delete_by_id("intake_task", task["id"])

    return routes


def _task_routes(state: State) -> APIRouter:
    # Two apps may have a task of one name: a task is written down in its app as if that were its namespace.
    routes = APIRouter()

    @routes.post(_APP + "/tasks")
    def create(namespace: str, app_name: str, body: dict[str, Any]) -> Entity:
        task = checked(App, {**body, "namespace": namespace})
        with state.transaction():
            _app(state, namespace, app_name)
            return _shown(
                state.create("intake_task", f"{namespace}/{app_name}", task.name, _task_body(task, namespace, app_name))
            )

    @routes.get(_APP + "/tasks")
    def list_page(namespace: str, app_name: str, request: Request) -> dict[str, Any]:
        _app(state, namespace, app_name)
        return page_of(request, state, "intake_task", _shown, also={"app": f"{namespace}/{app_name}"})

    @routes.get(_TASK)
    def read(namespace: str, app_name: str, task_name: str) -> Entity:
        return _shown(_task(state, namespace, app_name, task_name))

    @routes.patch(_TASK)
    def change(namespace: str, app_name: str, task_name: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            whole = changed(App, _shown(_task(state, namespace, app_name, task_name)), body)
            return _shown(state.update("intake_task", f"{namespace}/{app_name}", task_name, whole))

    @routes.delete(_TASK, status_code=204, response_class=Response)
    def delete(namespace: str, app_name: str, task_name: str) -> None:
        with state.transaction():
            state.delete_by_id("intake_task", _task(state, namespace, app_name, task_name)["id"])

    return routes


def _entry_routes(state: State) -> APIRouter:
    # An id from elsewhere may hold a slash.
    routes, one = APIRouter(), _ENTRIES + "/{entry_id:path}"

    @routes.post(_ENTRIES)
    def create(body: dict[str, Any]) -> Entity:
        entry = checked(Entry, body)
        with state.transaction():
            if entry.external_id is not None and _by_external_id(state, entry.external_id):
                raise Exists(f"an entry with the external_id {entry.external_id!r} already exists; add events to it or change it")
            _enter(state, entry)
            return _shown_entry(state.create("intake_entry", entry.namespace, None, entry.model_dump(mode="json")))

    @routes.get(_ENTRIES)
    def list_page(request: Request) -> dict[str, Any]:
        page, size, sort, filters, search = page_query(request)
        rows = chosen(state, filters, search, sort)
        return page_body(list(map(_shown_entry, rows[(page - 1) * size : page * size])), len(rows), page, size, sort)

    @routes.get(one)
    def read(entry_id: str) -> Entity:
        return _shown_entry(_entry(state, entry_id))

    @routes.patch(one)
    def change(entry_id: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            entry = _entry(state, entry_id)
            whole = changed(Entry, entry, {"external_id": entry["external_id"], **body})
            if whole["external_id"] != entry["external_id"] and _by_external_id(state, whole["external_id"]):
                raise Exists(f"an entry with the external_id {whole['external_id']!r} already exists; take another one")
            _enter(state, Entry.model_validate(whole))
            return _shown_entry(state.update_by_id("intake_entry", entry["id"], whole))

    @routes.delete(one, status_code=204, response_class=Response)
    def delete(entry_id: str) -> None:
        with state.transaction():
            state.delete_by_id("intake_entry", _entry(state, entry_id)["id"])

    return routes


def _event_routes(state: State) -> APIRouter:
    routes, path = APIRouter(), _ENTRIES + "/{entry_id:path}/events"

    @routes.post(path)
    def add(entry_id: str, body: dict[str, Any]) -> Entity:
        events = checked(NewEvents, body).model_dump(mode="json")["events"]
        with state.transaction():
            entry = _entry(state, entry_id)
            whole = changed(Entry, entry, {"events": [*entry["events"], *events]})
            return _shown_entry(state.update_by_id("intake_entry", entry["id"], whole))

    @routes.delete(path + "/{event_id}")
    def delete(entry_id: str, event_id: str) -> Entity:
        with state.transaction():
            entry = _entry(state, entry_id)
            kept = [event for event in entry["events"] if event["id"] != event_id]
            if len(kept) == len(entry["events"]):
                raise Missing(f"entry {entry_id!r} has no event {event_id!r}")
            return _shown_entry(state.update_by_id("intake_entry", entry["id"], {"events": kept}))

    return routes


def _enter(state: State, entry: Entry) -> None:
    """Make the entry's app and task where they are not there yet."""
    namespace, _, app_name = entry.context.app.partition("/")
    with suppress(Exists):
        state.create("intake_app", namespace, app_name, App(namespace=namespace, name=app_name).model_dump(mode="json"))
    task = App(namespace=namespace, name=entry.context.task)
    with suppress(Exists):
        state.create("intake_task", entry.context.app, task.name, _task_body(task, namespace, app_name))


def _app(state: State, namespace: str, name: str) -> Entity:
    app = state.get("intake_app", namespace, name)
    if app is None:
        raise Missing(f"app '{namespace}/{name}' does not exist")
    return app


def _task(state: State, namespace: str, app_name: str, name: str) -> Entity:
    task = state.get("intake_task", f"{namespace}/{app_name}", name)
    if task is None:
        raise Missing(f"app '{namespace}/{app_name}' has no task {name!r}")
    return task


def _entry(state: State, identity: str) -> Entity:
    """The entry of that id, or of the external id behind `external:`."""
    external = identity.removeprefix(_EXTERNAL)
    entry = _by_external_id(state, external) if external != identity else state.get_by_id("intake_entry", identity)
    if entry is None:
        raise Missing(f"entry {identity!r} does not exist")
    return entry


def _by_external_id(state: State, external_id: str) -> Entity | None:
    query = "SELECT id FROM entities WHERE kind = 'intake_entry' AND json_extract(body, '$.external_id') = ?"
    with state.transaction() as db:
        found = db.execute(query, (external_id,)).fetchone()
    return state.get_by_id("intake_entry", found[0]) if found else None


def _task_body(task: App, namespace: str, app_name: str) -> dict[str, Any]:
    return {**task.model_dump(mode="json"), "app": f"{namespace}/{app_name}"}


def _shown(task: Entity) -> Entity:
    return {**task, "namespace": task["app"].partition("/")[0]}


def _shown_entry(entry: Entity) -> Entity:
    return {key: value for key, value in entry.items() if key != "name"}
