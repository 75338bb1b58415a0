"""The web app over HTTP: who may ask for what, what it tells, and how it starts, refuses to start and stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest

from chat_app.web import PAGES, READING_SECONDS
from flywheel.store import Store
from tests.chat_app.conftest import WebApp, free_port, start_web_app, stop_web_app
from tests.fakes import ScriptedNim
from tests.flywheel.feedback import finished_turn, saying

POLICY = {
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


@pytest.fixture(scope="module")
def named() -> Iterator[dict[str, str]]:
    """Services that are somebody else's, so that no local platform starts."""
    with ScriptedNim() as nim:
        yield {"NEMO_URL": nim.url, "NDS_URL": nim.url, "NIM_URL": nim.url}


@pytest.fixture(scope="module")
def app(named: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    running = start_web_app(tmp_path_factory.mktemp("web") / "home", **named)
    yield running
    stop_web_app(running)


@pytest.fixture
def client(app: WebApp) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, trust_env=False, timeout=20) as opened:
        yield opened


# what is served ------------------------------------------------------------------------------------------------------


def test_the_way_in(client: httpx.Client) -> None:
    for home in (client.get("/"), client.head("/")):
        assert (home.status_code, home.headers["location"]) == (307, "/chat/")
    assert client.get("/healthz").json() == {"web": True, "model": True, "loading": []}
    icon = client.get("/favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml" and icon.text.startswith("<svg xmlns=")


def test_feedback_leaves_by_the_form_of_the_pages(app: WebApp, client: httpx.Client) -> None:
    with closing(Store(app.home / "flywheel.db")) as store:
        turn = finished_turn(store, "How warm is it in Oslo?", saying("Warm."))
        store.rate("ann", turn.id, "down")
    for page in ("/review/", "/wheel/"):
        config = client.get(f"{page}config").json()
        (shown,) = [part["props"]["value"] for part in config["components"] if part["props"].get("elem_id") == "export-feedback"]
        left_empty = dict.fromkeys(re.findall(r'name="(\w+)"', shown), "")
        shapes = re.findall(r'value="(\w+)"', shown.partition("</select>")[0])
        assert len(left_empty) == 8 and len(shapes) == 5
        for shape in shapes:
            answer = client.get("/export/feedback", params=left_empty | {"shape": shape})
            assert answer.status_code == 200 and answer.headers["content-disposition"].startswith("attachment")
            assert ("Oslo" in answer.text) is (shape not in ("xlam", "dpo"))  # nothing was called, nothing corrected
        assert client.get("/export/feedback", params=left_empty | {"shape": "csv", "thumb": "up"}).text.count("\n") == 1


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", *(f"{page}/" for page in PAGES), "/chat/theme.css"])
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers[name] for name in POLICY} == POLICY
    policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == "'self'" and policy["frame-ancestors"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:" and policy["form-action"] == policy["base-uri"] == "'self'"
    assert "http" not in headers["content-security-policy"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_nothing_from_elsewhere(client: httpx.Client, page: str) -> None:
    text = client.get(f"{page}/").text
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?(https?:[^"\s>]+)', text)
    assert [address for address in fetched if not address.startswith(str(client.base_url))] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_handler_is_on_offer_as_an_api(client: httpx.Client, page: str) -> None:
    assert client.get(f"{page}/gradio_api/info").status_code == 404
    assert {event["api_visibility"] for event in client.get(f"{page}/config").json()["dependencies"]} <= {
        "private",
        "undocumented",
    }


# who may ask ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "169.254.169.254", "127.0.0.1.evil.example"])
def test_a_foreign_name_for_this_machine_is_refused(client: httpx.Client, host: str) -> None:
    for path in ("/", "/healthz", "/chat/", "/chat/gradio_api/info"):
        assert client.get(path, headers={"host": host}).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_names_are_served(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"host": f"{host}:{client.base_url.port}"}).status_code == 200


@pytest.mark.parametrize("path", ["queue/join", "upload", "cancel", "run/predict", "reset", "call/x"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_another_site_changes_nothing(client: httpx.Client, path: str, origin: str) -> None:
    answer = client.post(f"/chat/gradio_api/{path}", json={}, headers={"origin": origin})
    assert (answer.status_code, answer.text) == (403, "another site may not do this")
    assert "access-control-allow-origin" not in answer.headers


def test_another_site_reads_nothing(client: httpx.Client) -> None:
    evil = {"origin": "http://evil.example"}
    for path in ("/healthz", "/chat/", "/chat/config", "/review/gradio_api/info"):
        answer = client.get(path, headers=evil)
        assert "access-control-allow-origin" not in answer.headers, path
    asked = evil | {"access-control-request-method": "POST"}
    assert client.options("/chat/gradio_api/queue/join", headers=asked).status_code == 400


def test_our_own_page_may_ask(client: httpx.Client) -> None:
    for host in ("127.0.0.1", "localhost"):
        origin = f"http://{host}:{client.base_url.port}"
        answer = client.post("/chat/gradio_api/queue/join", json={}, headers={"origin": origin})
        assert answer.status_code == 422, "it got past the guard, to a complaint about its body"
        assert answer.headers["access-control-allow-origin"] == origin


# files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_no_route_gives_out_files(app: WebApp, client: httpx.Client, page: str) -> None:
    secret = app.home / "flywheel.db"
    assert secret.is_file()
    wanted = [secret, app.home / "runs.db", "/etc/passwd", "chat_app/settings.py", "../pyproject.toml", "pyproject.toml"]
    for path in wanted:
        for route in ("file=", "file/", "stream/", "proxy="):
            answer = client.get(f"{page}/gradio_api/{route}{path}")
            assert answer.status_code in (400, 403, 404, 405), (route, path, answer.status_code)
        for route in ("static/", "assets/", ""):
            for way in (f"{'..%2f' * 8}{path}", f"%2e%2e/%2e%2e/{path}"):
                assert client.get(f"{page}/{route}{way}").status_code in (400, 403, 404), (route, way)


@pytest.mark.parametrize("address", ["http://127.0.0.1:22/", "http://169.254.169.254/latest", "//evil.example/x"])
def test_no_route_fetches_or_leads_elsewhere(client: httpx.Client, address: str) -> None:
    for route in ("file=", "proxy="):
        answer = client.get(f"/chat/gradio_api/{route}{address}")
        assert answer.status_code in (400, 403, 404)


def test_an_upload_is_no_page(client: httpx.Client) -> None:
    uploaded = client.post("/wheel/gradio_api/upload", files={"files": ("x.html", b"<script>alert(1)</script>", "text/html")})
    (path,) = uploaded.json()
    answer = client.get(f"/wheel/gradio_api/file={path}")
    assert answer.status_code in (403, 404) or answer.headers["content-disposition"].startswith("attachment")


# events --------------------------------------------------------------------------------------------------------------


def test_an_event_begun_while_the_stream_closes_is_not_lost(client: httpx.Client) -> None:
    """The page opens a stream for it only if it has read, before the answer, that the last one is closed."""
    events = client.get("/review/config").json()["dependencies"]
    load = next(event["id"] for event in events if ["load"] == [target[1] for target in event["targets"]])
    event = {"data": [], "fn_index": load, "session_hash": "a-session"}
    for _ in range(3):
        assert client.post("/review/gradio_api/queue/join", json=event).status_code == 200
        stream = client.get("/review/gradio_api/queue/data", params={"session_hash": "a-session"}).text
        closed = time.monotonic()
        assert '"process_completed"' in stream and '"close_stream"' in stream.splitlines()[-2]
        assert client.post("/review/gradio_api/queue/join", json=event).status_code == 200
        assert time.monotonic() - closed > READING_SECONDS / 2
        assert '"success":true' in client.get("/review/gradio_api/queue/data", params={"session_hash": "a-session"}).text


# starting and stopping -----------------------------------------------------------------------------------------------


def start(home: Path, **settings: str) -> subprocess.Popen[str]:
    """Start the app with just these settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEMO", "NDS", "NIM", "CHAT"))}
    environment |= {"FLYWHEEL_HOME": str(home)} | settings
    command = [sys.executable, "-m", "chat_app"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def refused(home: Path, **settings: str) -> str:
    """What an app says that does not start."""
    with start(home, **settings) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said
    assert said.count("Error: ") == 1
    return said.partition("Error: ")[2].strip()


@pytest.mark.parametrize(
    "settings",
    [{"CHAT_HOST": "0.0.0.0", "CHAT_PUBLIC_URL": "http://chat.example.org"}, {"CHAT_PUBLIC_URL": "https://chat.example.org"}],
    ids=["host", "proxy"],
)
def test_others_are_not_served_while_nobody_could_sign_in(tmp_path: Path, settings: dict[str, str]) -> None:
    assert refused(tmp_path, CHAT_PORT=str(free_port()), **settings).endswith(
        "://chat.example.org can be reached by others, and nobody could sign in: "
        "add the first person with `flywheel people add NAME --role developer`, or set OIDC_ISSUER"
    )


def test_a_port_that_is_none(tmp_path: Path) -> None:
    assert refused(tmp_path, CHAT_PORT="70000") == "CHAT_PORT is '70000': give a number from 1 to 65535"


def test_a_port_that_is_taken(app: WebApp, tmp_path: Path) -> None:
    port = app.url.rpartition(":")[2]
    assert refused(tmp_path, CHAT_PORT=port) == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use; stop what uses it or set CHAT_PORT"
    )
    assert not (tmp_path / "platform.json").exists()


def test_a_state_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    home = tmp_path / "file" / "home"
    assert refused(home) == f"cannot use the state folder {str(home)!r}: Not a directory; set FLYWHEEL_HOME to a folder of yours"


def test_a_store_that_is_no_database(named: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "flywheel.db").write_text("This is a letter, not a database. " * 100, encoding="utf-8")
    said = refused(tmp_path, CHAT_PORT=str(free_port()), **named)
    assert "flywheel.db': file is not a database; check" in said


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=lambda ending: ending.name)
def test_it_stops_in_order_while_it_loads(tmp_path: Path, ending: signal.Signals) -> None:
    process = start(tmp_path / "home", CHAT_PORT=str(free_port()))
    assert process.stdout is not None
    with process:
        while "Loading" not in process.stdout.readline():
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        assert any("flywheel.local" in child.cmdline() for child in children)
        process.send_signal(ending)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()[-2:]) == (0, ["Stopping …", "Stopped."]), said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_a_second_app_on_the_same_state(app: WebApp, named: dict[str, str]) -> None:
    """Both serve; the turns that the first has under way are left to it; the first goes on when the second stops."""
    with closing(Store(app.home / "flywheel.db")) as store:
        done = finished_turn(store, "An old question", saying("Yes."), person="local")
        under_way = store.begin_turn(store.create_conversation("local"), "A long question", tools=[], model="m", context=[])
        second = start_web_app(app.home, **named)
        with httpx.Client(trust_env=False, timeout=20) as client:
            for one in (app, second):
                assert client.get(f"{one.url}/healthz").json()["web"] is True
            assert store.turn(under_way.id).status == "running"
            began = time.monotonic()
            stop_web_app(second)
            assert time.monotonic() - began < 20
            assert client.get(f"{app.url}/chat/").status_code == 200
        assert store.turn(done.id).answer == "Yes."
