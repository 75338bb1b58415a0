"""Signing in over HTTP: what a wrong password hears, how long guessing goes on, what a session outlives, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from flywheel.sessions import IDLE, NAME_TRIES, WINDOW
from tests.chat_app.people_room import COOKIE, PASSWORD, Room, add_everybody, running
from tests.fakes import ScriptedNim

HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def nim() -> Iterator[ScriptedNim]:
    with ScriptedNim() as opened:
        yield opened


@pytest.fixture(scope="module")
def room(nim: ScriptedNim, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with running(tmp_path_factory.mktemp("sign-in") / "home", nim) as opened:
        add_everybody(opened.people)
        yield opened


def enter(client: httpx.Client, name: str, password: str = PASSWORD, **fields: str) -> httpx.Response:
    return client.post("/sign-in", data={"name": name, "password": password} | fields)


def later(room: Room, table: str, column: str, time: timedelta) -> None:
    """Let everything of a table have happened so much earlier."""
    moment = (datetime.now(UTC) - time).isoformat()
    room.services.store.database.execute(f"UPDATE {table} SET {column} = ?", (moment,))


# in and out ----------------------------------------------------------------------------------------------------------


def test_from_a_page_to_the_form_and_back(room: Room) -> None:
    with room.client() as client:
        sent = client.get("/chat/?x=1", headers=HTML)
        assert (sent.status_code, sent.headers["location"]) == (303, "/sign-in?next=/chat/%3Fx%3D1")
        form = client.get(sent.headers["location"], headers=HTML)
        assert 'value="/chat/?x=1"' in form.text and 'autocomplete="current-password"' in form.text
        entered = enter(client, "Una ", next="/chat/?x=1")
        assert (entered.status_code, entered.headers["location"]) == (303, "/chat/?x=1")
        cookie = entered.headers["set-cookie"].lower()
        assert cookie.startswith(COOKIE) and all(part in cookie for part in ("; httponly", "; samesite=lax", "; path=/"))
        assert "secure" not in cookie, "this address is not https"
        assert client.get("/chat/", headers=HTML).status_code == 200
        assert client.get("/").headers["location"] == "/chat/"
        assert client.post("/sign-out").headers["location"] == "/sign-in"
        assert client.get("/chat/", headers=HTML).status_code == 303


def test_a_session_ends_on_the_server_too(room: Room) -> None:
    with room.client("una") as client, room.client() as thief:
        thief.cookies.set(COOKIE, client.cookies[COOKIE])
        assert thief.get("/chat/config").status_code == 200
        client.post("/sign-out")
        assert thief.get("/chat/config").status_code == 401


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example", "x", "/sign-out"]
)
def test_the_way_on_leads_nowhere_else(room: Room, target: str) -> None:
    with room.client() as client:
        assert enter(client, "una", next=target).headers["location"] == "/"


def test_another_site_signs_nobody_in_or_out(room: Room) -> None:
    with room.client("una") as client:
        client.headers["origin"] = "https://evil.example"
        assert enter(client, "rita").status_code == client.post("/sign-out").status_code == 403
        assert client.get("/chat/config").status_code == 200


def test_the_cookie_of_an_https_address(nim: ScriptedNim, tmp_path: Path) -> None:
    with running(tmp_path / "home", nim, public_url="https://chat.example.org", secure_cookies=True) as room:
        room.people.add("una", {"end_user"}, PASSWORD, by="test")
        with room.client() as client:
            client.headers["host"] = "chat.example.org"
            entered = enter(client, "una")
            cookie = entered.headers["set-cookie"]
            assert cookie.startswith("__Host-flywheel_session=") and "; Secure" in cookie and "Domain" not in cookie
            signed_in = {"cookie": cookie.partition(";")[0], "x-forwarded-host": "evil.example"}
            assert client.get("/chat/config", headers=signed_in).json()["root"] == "https://chat.example.org/chat"
            ours = {"origin": "https://chat.example.org"}
            assert client.get("/healthz", headers=ours).headers["access-control-allow-origin"] == ours["origin"]
            assert client.post("/sign-out", headers={"origin": room.url}).status_code == 403
            assert client.get("/healthz", headers={"host": "other.example.org"}).status_code == 400


# wrong ---------------------------------------------------------------------------------------------------------------


def test_every_failure_reads_the_same(room: Room) -> None:
    room.people.disable("none", by="test")
    with room.client() as client:
        answers = [enter(client, *how) for how in (("una", "wrong"), ("nobody", "wrong"), ("none", PASSWORD), ("una", ""))]
    assert {answer.status_code for answer in answers} == {401}
    shown = {answer.text.partition('role="alert">')[2].partition("<")[0] for answer in answers}
    assert shown == {"The name or the password is wrong."}
    assert not any("set-cookie" in answer.headers for answer in answers)
    room.people.enable("none", by="test")


@pytest.mark.parametrize("name", ["dev", "no-such-person"])
def test_guessing_ends_and_the_lock_ends_too(room: Room, name: str) -> None:
    with room.client() as client:
        codes = [enter(client, name, f"guess number {number}").status_code for number in range(NAME_TRIES + 1)]
        assert codes == [401] * NAME_TRIES + [429]
        locked = enter(client, name)
        assert locked.status_code == 429 and "Too many failed tries. Try again in 15 minutes." in locked.text
        assert enter(client, "una").status_code == 303, "others are not kept out"
        later(room, "failed_sign_ins", "failed_at", WINDOW)
        assert enter(client, name).status_code == (303 if name == "dev" else 401)
    locks = [entry.subject for entry in room.services.audit.entries() if entry.action == "lock sign-in"]
    assert "no-such-person" not in locks and locks.count("dev") == 1


def test_nothing_that_was_typed_as_a_name_is_kept(room: Room) -> None:
    with room.client() as client:
        enter(client, "my-secret-password")
    assert "my-secret" not in str(room.services.store.database.query("SELECT * FROM failed_sign_ins"))


def test_a_form_that_is_none(room: Room) -> None:
    with room.client() as client:
        assert client.post("/sign-in", json={"name": "una", "password": PASSWORD}).status_code == 401
        assert client.post("/sign-in", content="name=una&password=" + "x" * 30_000).status_code == 401
        assert client.post("/sign-in").status_code == 401


# what a session outlives, and what ends it -----------------------------------------------------------------------------


def test_a_session_survives_a_restart(nim: ScriptedNim, tmp_path: Path) -> None:
    with running(tmp_path / "home", nim) as first:
        first.people.add("una", {"end_user"}, PASSWORD, by="test")
        with first.client() as client:
            token = enter(client, "una").cookies[COOKIE]
        assert token not in str(first.services.store.database.query("SELECT * FROM sessions")), "the store knows its hash only"
    with running(tmp_path / "home", nim) as second, second.client() as client:
        client.cookies.set(COOKIE, token)
        assert client.get("/chat/config").status_code == 200


@pytest.mark.parametrize("change", ["disable", "set_password", "sign_out", "idle", "expired"])
def test_what_ends_a_session(room: Room, change: str) -> None:
    with room.client("rita") as client:
        assert client.get("/review/config").status_code == 200
        if change == "disable":
            room.people.disable("rita", by="test")
            room.people.enable("rita", by="test")
        elif change == "set_password":
            room.people.set_password("rita", PASSWORD, by="test")
        elif change == "sign_out":
            assert room.people.sign_out("rita", by="test") == 1
        else:
            later(room, "sessions", *{"idle": ("last_seen", IDLE), "expired": ("expires_at", timedelta(0))}[change])
        assert client.get("/review/config").status_code == 401


def test_a_role_taken_away_counts_at_once(room: Room) -> None:
    with room.client("all") as client:
        assert client.get("/wheel/config").status_code == 200
        room.people.set_roles("all", ["end_user", "reviewer"], by="test")
        refused = client.get("/wheel/", headers=HTML)
        assert refused.status_code == 403 and "Your account may not train and promote. Ask dev for it." in refused.text
        assert client.get("/review/config").status_code == 200
    room.people.set_roles("all", ["end_user", "reviewer", "developer"], by="test")


# the account ---------------------------------------------------------------------------------------------------------


def test_a_one_time_password_is_good_for_one_thing(room: Room) -> None:
    room.people.add("new", ["end_user"], "one-time-pass-1234", by="dev", one_time=True)
    own = "a password of my own"
    with room.client() as client:
        enter(client, "new", "one-time-pass-1234")
        assert client.get("/chat/", headers=HTML).headers["location"] == "/account"
        assert client.get("/chat/config").status_code == 401
        assert "made for one use" in client.get("/account").text
        same = client.post("/account", data={"password": "one-time-pass-1234", "new": own, "again": own + "x"})
        assert same.status_code == 400 and "The two new passwords differ." in same.text
        short = client.post("/account", data={"password": "one-time-pass-1234", "new": "short", "again": "short"})
        assert "A password has 12 to 1000 characters" in short.text
        wrong = client.post("/account", data={"password": "x", "new": own, "again": own})
        assert "The present password is wrong." in wrong.text
        done = client.post("/account", data={"password": "one-time-pass-1234", "new": own, "again": own})
        assert "Your password is changed." in done.text
        assert client.get("/chat/config").status_code == 200


def test_one_ends_other_sessions_of_ones_own_only(room: Room) -> None:
    with room.client("una") as here, room.client("una") as there, room.client("rita") as hers:
        ids = {name: [session.id for session in room.sessions.of(name)] for name in ("una", "rita")}
        mine = room.sessions.find(here.cookies[COOKIE])
        assert mine is not None and mine.id in ids["una"]
        for victim in (*ids["rita"], *(one for one in ids["una"] if one != mine.id)):
            assert here.post("/account/session", data={"session": victim}).headers["location"] == "/account"
        codes = [client.get(path).status_code for client, path in ((here, "/chat/config"), (there, "/chat/config"))]
        assert codes == [200, 401] and hers.get("/review/config").status_code == 200
        here.post("/sign-out-everywhere")
        assert room.sessions.of("una") == []


# nobody defined ------------------------------------------------------------------------------------------------------


def test_the_local_person_until_people_exist(nim: ScriptedNim, tmp_path: Path) -> None:
    with running(tmp_path / "home", nim) as room, room.client() as client:
        for door in ("chat", "review", "wheel", "people"):
            assert client.get(f"/{door}/config").status_code == 200
        assert client.get("/sign-in").headers["location"] == "/"
        assert client.get("/chat/config", headers={"x-forwarded-for": "192.0.2.7"}).status_code == 401, (
            "a proxy may bring anybody"
        )
        room.people.add("una", ["end_user"], PASSWORD, by="test")
        assert client.get("/chat/config").status_code == 401
        assert client.get("/healthz").json() == {"web": True, "model": True, "loading": []}
