"""Who may do what, over every HTTP route and every handler of every page: signed in as each role, and as nobody.

A page's door and the guard inside its handlers are tried each by itself, so that neither hides a hole in the other.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import BaseRoute

from chat_app import guard
from chat_app.doorkeeper import DOORS, OPEN
from chat_app.reception import Reception
from chat_app.services import Services
from chat_app.ui import frame
from chat_app.ui.words import ENGLISH
from chat_app.web import PAGES
from tests.chat_app.people_room import COOKIE, ROLES, Room, add_everybody, running
from tests.fakes import ScriptedNim

Clients = dict[str | None, httpx.Client]
PEOPLE = (None, *ROLES)
GUARDED = tuple(PAGES)
"""Pages whose handlers carry the guard."""
FOR_EVERYBODY = {"header.<locals>.fill"}
"""Shows the person's own name and doors."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with ScriptedNim() as nim, running(tmp_path_factory.mktemp("roles") / "home", nim) as opened:
        add_everybody(opened.people)
        yield opened


@pytest.fixture(scope="module")
def clients(room: Room) -> Iterator[Clients]:
    """A signed-in browser for everybody."""
    opened = {name: room.client(name) for name in PEOPLE}
    yield opened
    for client in opened.values():
        client.close()


def may(name: str | None, door: str) -> bool:
    return name is not None and DOORS[door] in ROLES[name]


# routes --------------------------------------------------------------------------------------------------------------


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method, path) of every route, those of mounted apps and of included routers too."""
    pending: list[tuple[str, BaseRoute]] = [("", route) for route in app.routes]
    while pending:
        before, route = pending.pop()
        path = before + getattr(route, "path", "")
        included = getattr(route, "original_router", None)  # FastAPI's way of including, since 0.165
        below = getattr(getattr(route, "app", None), "routes", None)
        if included is not None:
            pending += [(path + route.include_context.prefix, each) for each in included.routes]  # type: ignore[attr-defined]
        elif below:
            pending += [(path, each) for each in below]
        for method in getattr(route, "methods", None) or ():
            yield method, path


def filled(path: str) -> str:
    """A path with something in place of its parameters."""
    return "/".join("x" if "{" in part and "=" not in part else part.replace("{url_path:path}", "x") for part in path.split("/"))


def statuses(room: Room, asked: list[tuple[str | None, str, str]]) -> list[int]:
    """How the app answers each (person, method, path): whole, but without a socket, since there are thousands."""
    host = room.url.removeprefix("http://").encode()
    cookies = {name: [(b"cookie", f"{COOKIE}={room.token(name)}".encode())] if name else [] for name in PEOPLE}

    async def status(name: str | None, method: str, path: str) -> int:
        headers = [(b"host", host), *cookies[name]]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers, "root_path": ""}
        heard: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            heard.append(message)

        await asyncio.wait_for(room.app(scope | {"scheme": "http", "http_version": "1.1"}, receive, send), 20)
        return int(heard[0]["status"])

    async def all_of_them() -> list[int]:
        return [await status(*one) for one in asked]

    return asyncio.run(all_of_them())


def test_every_route_behind_a_door_is_closed_to_whoever_lacks_its_role(room: Room) -> None:
    found = {(method, filled(path).rstrip("/")) for method, path in routes(room.app)}
    assert len(found) > 150 and {path for _, path in found} >= {"/sign-in", "/chat/config", "/people/gradio_api/queue/join"}
    asked = [
        (name, method, path)
        for method, path in sorted(found)
        for door in DOORS
        if path.startswith(door)
        for name in PEOPLE
        if not may(name, door)
    ]
    wrong = [(one, got) for one, got in zip(asked, statuses(room, asked), strict=True) if got != (403 if one[0] else 401)]
    assert len(asked) > 600 and wrong == []


def test_every_other_route_is_open_by_name_or_asks_for_a_sign_in(room: Room) -> None:
    found = {(method, filled(path)) for method, path in routes(room.app)}
    asked = [(None, *one) for one in sorted(found) if one[1] not in OPEN and not one[1].startswith(tuple(DOORS))]
    assert ("GET", "/account") in [one[1:] for one in asked] and set(statuses(room, asked)) == {401}


@pytest.mark.parametrize("door", DOORS)
def test_of_gradio_s_routes_only_what_a_page_needs_is_there(clients: Clients, door: str) -> None:
    closed = [
        "token", "user", "login_check", "info", "openapi.json", "file=/etc/passwd", "file/x", "proxy=http://127.0.0.1", "reset",
        "call/train", "run/train", "api/train", "call/v2/train", "component_server", "process_recording", "vibe-edit",
        "vibe-code", "runs", "run-history/records", "stream/x", "dev/reload", "deep_link",
        "custom_component/x/client/component/style.css",
    ]  # fmt: skip
    closed += [] if door == "/wheel" else ["upload", "upload_progress?upload_id=x"]
    for path in (*(f"gradio_api/{path}" for path in closed), "monitoring", "monitoring/x", "login", "manifest.json", "pwa_icon"):
        for method in ("GET", "POST"):
            assert clients["all"].request(method, f"{door}/{path}").status_code == 404, (method, path)


def test_each_sees_the_doors_that_are_theirs(room: Room, clients: Clients) -> None:
    for name, client in clients.items():
        for door in DOORS:
            assert (client.get(f"{door}/config").status_code == 200) == may(name, door), (name, door)
        if name:
            person = room.people.find(name)
            bar = frame.bar("chat", guard.Person(name, person.roles), name, ENGLISH)
            assert [door for door in DOORS if f'href="{door}/"' in bar] == [door for door in DOORS if may(name, door)]


# handlers, from outside ----------------------------------------------------------------------------------------------


def event(number: int, tab: str) -> dict[str, Any]:
    return {"data": [None] * 12, "fn_index": number, "session_hash": tab, "event_data": None}


@pytest.mark.parametrize("door", PAGES)
def test_no_handler_is_reached_through_a_door_that_is_closed(room: Room, clients: Clients, door: str) -> None:
    """With the number of one's own page, and with that of somebody's who has it open."""
    load = next(number for number, one in room.blocks(door).fns.items() if one.fn and "fill" in str(one.fn))
    opened = clients["all"].post(f"{door}/gradio_api/run/predict", json=event(load, f"open-{door}") | {"data": []})
    assert opened.status_code == 200, opened.text
    for name in (name for name in PEOPLE if not may(name, door)):
        for number in room.blocks(door).fns:
            for way, tab in (("run/predict", f"mine-{door}"), ("queue/join", f"open-{door}")):
                answer = clients[name].post(f"{door}/gradio_api/{way}", json=event(number, tab))
                assert answer.status_code == (403 if name else 401), (name, number, way)


def test_nobody_enters_a_page_that_another_has_open(clients: Clients) -> None:
    """Both may chat; but what one is being told is not for the other."""
    asked = clients["una"].post("/chat/gradio_api/queue/join", json=event(0, "unas-page") | {"data": []})
    assert asked.status_code in (200, 422), asked.text
    other = clients["all"]
    for way in ("queue/join", "run/predict", "cancel"):
        assert other.post(f"/chat/gradio_api/{way}", json=event(0, "unas-page")).status_code == 403
    assert other.get("/chat/gradio_api/queue/data", params={"session_hash": "unas-page"}).status_code == 403
    assert other.get("/chat/gradio_api/queue/data?session_hash=mine&session_hash=unas-page").status_code == 403
    assert other.get("/chat/gradio_api/heartbeat/unas-page").status_code == 403
    with clients["una"].stream("GET", "/chat/gradio_api/heartbeat/unas-page") as own:
        assert own.status_code == 200


# handlers, from inside -----------------------------------------------------------------------------------------------


def reaches_nothing(function: Any) -> bool:
    """Whether a handler works on what the browser sent and nothing else: no object of ours, no closure, no name but `gr`."""
    if not inspect.isfunction(function):
        return False
    found = inspect.getclosurevars(function)
    return not found.nonlocals and set(found.globals) <= {"gr"}


def refuses(function: Any, request: gr.Request) -> bool:
    """Whether a handler raises the guard's refusal before anything else; it gets nothing but None, and the request."""
    found = inspect.signature(function).parameters.values()
    if not any("Request" in str(one.annotation) for one in found):
        return False
    given = [
        request if "Request" in str(one.annotation) else None
        for one in found
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    try:
        made = function(*given)
        if inspect.isasyncgen(made):
            asyncio.run(anext(made))  # type: ignore[arg-type]
        elif inspect.iscoroutine(made):
            asyncio.run(made)
        elif inspect.isgenerator(made):
            next(made)
    except gr.Error as error:
        return "Your sign-in has ended" in error.message or "Your account may not" in error.message
    return False


def asking(room: Room, name: str | None) -> gr.Request:
    """A request that came past the doorkeeper, and should not have."""
    headers = [(b"cookie", f"{COOKIE}={room.token(name)}".encode())] if name else []
    reception = Reception(room.services.settings, room.services.store.database)
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "state": {"reception": reception}}
    return gr.Request(Request(scope), username=name)


def unguarded(room: Room, blocks: gr.Blocks, door: str, fns: Any = None) -> list[str]:
    """The handlers that let somebody in who may not."""
    wrong = [name for name in PEOPLE if not may(name, door)]
    handlers = {getattr(one.renderable, "fn", one.fn) for one in (fns or blocks.fns).values() if one.fn}
    return sorted(
        handler.__qualname__
        for handler in handlers
        if handler.__qualname__ not in FOR_EVERYBODY and not reaches_nothing(handler)
        if not all(refuses(handler, asking(room, name)) for name in wrong)
    )


@pytest.mark.parametrize("door", GUARDED)
def test_every_handler_has_its_guard(room: Room, door: str) -> None:
    assert len(room.blocks(door).fns) > 5
    assert unguarded(room, room.blocks(door), door) == []


def test_a_handler_without_a_guard_would_be_found(room: Room) -> None:
    """Among them one of a hidden tab and one made at render time: Gradio keeps neither from anybody."""
    services = room.services

    async def build() -> gr.Blocks:  # in a loop, where Gradio makes its locks
        with gr.Blocks() as blocks:
            box = gr.Textbox()

            def good(text: str, request: gr.Request) -> str:
                return guard.person(request, "developer").name

            def no_request(text: str) -> str:
                return services.registry.served().model

            def no_guard(text: str, request: gr.Request) -> str:
                return services.registry.served().model

            async def wrong_role(text: str, request: gr.Request) -> str:
                return guard.person(request, "end_user").name

            async def too_late(text: str, request: gr.Request) -> Any:
                yield services.registry.served().model
                guard.person(request, "developer")

            box.submit(good, box, box)
            box.submit(lambda: gr.Textbox(value=""), None, box)
            for bad in (no_request, no_guard, wrong_role, too_late):
                with gr.Tab("hidden", visible=False):
                    gr.Button().click(bad, box, box)

            @gr.render(inputs=box)
            def rendered(text: str) -> None:
                gr.Button().click(no_request, box, box)

        return blocks

    found = [name.rpartition(".")[2] for name in unguarded(room, asyncio.run(build()), "/wheel")]
    assert found == ["no_guard", "no_request", "rendered", "too_late", "wrong_role"]


def rendering(services: Services) -> gr.Blocks:
    """A developer's page that makes two handlers in the session of whoever opens it; one lacks the guard."""
    with gr.Blocks() as blocks:
        frame.header("wheel")
        box = gr.Textbox()

        @gr.render()
        def made(request: gr.Request) -> None:
            guard.person(request, "developer")

            def guarded(request: gr.Request) -> str:
                return guard.person(request, "developer").name

            def open_to_all(request: gr.Request) -> str:
                return services.registry.served().model

            gr.Button().click(guarded, None, box)
            gr.Button().click(open_to_all, None, box)

    return blocks


def test_a_handler_made_at_render_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives in the session that made it; the session's number opens it to nobody else, and its guard is looked for there."""
    monkeypatch.setitem(PAGES, "/wheel", rendering)
    with ScriptedNim() as nim, running(tmp_path / "home", nim) as room:
        add_everybody(room.people)
        blocks, tab = room.blocks("/wheel"), "the-developers-page"
        render = next(number for number, one in blocks.fns.items() if one.renderable)
        with room.client("dev") as dev:
            way = "/wheel/gradio_api/queue"
            assert dev.post(f"{way}/join", json=event(render, tab) | {"data": []}).status_code == 200
            assert '"success":true' in dev.get(f"{way}/data", params={"session_hash": tab}).text
            fns = room.page("/wheel").state_holder[tab].blocks_config.fns
            made = {number: one for number, one in fns.items() if number not in blocks.fns}
            assert [one.fn.__name__ for one in made.values()] == ["guarded", "open_to_all"]
            assert dev.post(f"{way}/join", json=event(next(iter(made)), tab) | {"data": []}).status_code == 200
        for name in (None, "una", "rita", "none"):
            with room.client(name) as other:
                for number in made:
                    for call in ("queue/join", "run/predict"):
                        answer = other.post(f"/wheel/gradio_api/{call}", json=event(number, tab) | {"data": []})
                        assert answer.status_code == (403 if name else 401), (name, number, call)
        with room.client("all") as second:
            answer = second.post("/wheel/gradio_api/run/predict", json=event(next(iter(made)), tab) | {"data": []})
            assert answer.status_code == 403, "another developer has a page of their own"
        assert [name.rpartition(".")[2] for name in unguarded(room, blocks, "/wheel", made)] == ["open_to_all"]
