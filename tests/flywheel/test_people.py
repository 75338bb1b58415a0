"""People, their roles and passwords, and the commands that change them; what of it is kept, and what erasing takes away."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from flywheel.__main__ import main
from flywheel.audit import Audit
from flywheel.erase import Eraser
from flywheel.errors import Conflict, InputError, NotFound
from flywheel.people import People, one_time_password
from flywheel.promote import Registry
from flywheel.sessions import ADDRESS_TRIES, Sessions
from flywheel.settings import Settings
from flywheel.store import Store
from tests.flywheel.feedback import finished_turn, saying

PASSWORD = "four quiet green boats"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.store_path)
    Registry(opened.database).begin(settings.base_model)
    yield opened
    opened.close()


@pytest.fixture
def people(store: Store) -> People:
    return People(store.database)


def run(*arguments: str, password: str = PASSWORD) -> Result:
    return CliRunner().invoke(main, ["people", *arguments], input=f"{password}\n")


# the store -----------------------------------------------------------------------------------------------------------


def test_a_password_is_kept_as_argon2_only(store: Store, people: People) -> None:
    people.add("Ann", ["end_user"], PASSWORD, by="test")
    (row,) = store.database.query("SELECT * FROM people")
    assert row["name"] == "ann" and row["password_hash"].startswith("$argon2id$") and PASSWORD not in str(row)
    account = people.verified(" ANN", PASSWORD)
    assert account is not None and account.roles == {"end_user"}
    assert people.verified("ann", PASSWORD + "x") is None and people.verified("bob", PASSWORD) is None


@pytest.mark.parametrize("name", ["", "local", "Local", "a b", "<b>", "erased-0123", "command-line", "x" * 65, "jos\u00e9", "-x"])
def test_a_name_that_is_none(people: People, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a name"):
        people.add(name, ["end_user"], PASSWORD, by="test")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaa", "ann-ann-ann-", "x" * 1001])
def test_a_password_that_is_none(people: People, password: str) -> None:
    with pytest.raises(InputError):
        people.add("ann-ann", ["end_user"], password, by="test")
    assert not people.any()


def test_a_name_is_one_person(people: People) -> None:
    people.add("ann", [], PASSWORD, by="test")
    with pytest.raises(Conflict, match="already"):
        people.add("ANN", [], PASSWORD, by="test")
    with pytest.raises(NotFound, match="no person 'bob'"):
        people.find("bob")


def test_one_time_passwords_are_good_passwords(people: People) -> None:
    made = {one_time_password() for _ in range(50)}
    assert len(made) == 50
    people.add("ann", ["end_user"], made.pop(), by="test", one_time=True)
    assert people.find("ann").one_time


def test_a_provider_s_person_is_known_by_sub_and_has_its_roles(store: Store, people: People) -> None:
    first = people.from_provider("https://id.example", "u-17", "Ann  Miller", ["reviewer"])
    assert first.name.startswith("ann-miller-") and first.display_name == "Ann Miller" and first.provider
    renamed = people.from_provider("https://id.example", "u-17", "Ann Jones", ["developer"])
    assert (renamed.name, renamed.display_name, renamed.roles) == (first.name, "Ann Jones", {"developer"})
    assert people.from_provider("https://id.example", "u-18", "Ann Miller", []).name != first.name
    assert people.from_provider("https://other.example", "u-17", "Ann Miller", []).name != first.name
    assert people.verified(first.name, "") is None
    with pytest.raises(Conflict, match="identity provider"):
        people.set_password(first.name, PASSWORD, by="test")
    people.disable(first.name, by="test")
    with pytest.raises(Conflict, match="disabled"):
        people.from_provider("https://id.example", "u-17", "Ann Jones", ["developer"])


def test_one_address_may_not_try_every_name(store: Store, people: People) -> None:
    people.add("ann", ["end_user"], PASSWORD, by="test")
    sessions = Sessions(store.database, people)
    with store.database.transaction():
        for number in range(ADDRESS_TRIES):
            row = {"who": sessions._hash("address 2001:db8:1:2::/64"), "failed_at": f"2999-01-01T00:00:{number % 60:02}+00:00"}
            store.database.insert("failed_sign_ins", row)
    with pytest.raises(Conflict, match="Too many failed tries"):
        sessions.sign_in("ann", PASSWORD, address="2001:db8:1:2:3:4:5:6", browser="")
    assert sessions.sign_in("ann", PASSWORD, address="2001:db8:1:3::1", browser="")


def test_reading_anothers_turn_is_noted_once_a_day(store: Store) -> None:
    turn, audit = finished_turn(store, "How warm is Oslo?", saying("9 degrees"), person="ann"), Audit(store.database)
    for reader in ("ann", "rita", "rita", "bob"):
        audit.record_reading(reader, turn.id)
    audit.record_reading("rita", "turn-unknown")
    assert [(entry.person, entry.action, entry.subject) for entry in audit.entries()] == [
        ("bob", "read turn", turn.id), ("rita", "read turn", turn.id),
    ]  # fmt: skip
    yesterday = "UPDATE audit SET created_at = '2026-01-01T00:00:00+00:00'"
    with pytest.raises(Exception, match="append-only"):
        store.database.execute(yesterday)


def test_erasing_takes_the_account_and_the_name(settings: Settings, store: Store, people: People) -> None:
    for name in ("ann", "bob"):
        people.add(name, ["developer"], PASSWORD, by="ann")
    sessions = Sessions(store.database, people)
    sessions.begin(people.find("ann"), "a browser of ann's")
    told = Eraser(settings, store).erase("ann")
    assert (told.counts["people"], told.counts["sessions"]) == (1, 1) and told.counts["names"] > 2
    assert [account.name for account in people.all()] == ["bob"] and sessions.of("ann") == []
    entries = Audit(store.database).entries()
    assert len(entries) == 3 and {entry.person for entry in entries} == {entries[0].person}
    assert entries[0].person.startswith("erased-") and {entry.subject for entry in entries} == {"", "bob", entries[0].person}
    assert people.add("ann", ["end_user"], PASSWORD, by="bob").name == "ann", "who comes back is somebody new"


# the commands --------------------------------------------------------------------------------------------------------


def test_from_nobody_to_a_team(settings: Settings, people: People) -> None:
    assert "no sign-in is asked for" in run("list").stdout
    added = run("add", "ann", "--password-stdin")
    assert added.exit_code == 0 and added.stdout == "ann may sign in now, as end_user.\n"
    assert "everybody must sign in" in added.stderr and "Nobody has the developer role yet" in added.stderr
    promoted = run("role", "ann", "developer", "reviewer")
    assert promoted.stdout == "ann is now reviewer, developer.\n" and promoted.stderr == ""
    second = run("add", "bob", "--role", "end_user", "--password-stdin", "--json")
    assert second.stderr == "" and json.loads(second.stdout)["roles"] == ["end_user"]
    assert "signed out everywhere" in run("disable", "bob").stdout
    assert json.loads(run("list", "--json").stdout)["people"][1]["disabled"] is True
    assert run("enable", "bob").exit_code == 0
    assert run("sign-out", "bob").stdout == "0 sign-ins of bob ended.\n"
    assert "Nobody has the developer role" in run("disable", "ann").stderr
    audit = json.loads(CliRunner().invoke(main, ["audit", "--json"]).stdout)["audit"]
    assert [entry["action"] for entry in audit][-2:] == ["set roles", "add person"]
    assert {entry["person"] for entry in audit} == {"command line"}
    assert "roles: developer, reviewer" in CliRunner().invoke(main, ["audit"]).stdout


def test_a_password_comes_from_standard_input_or_a_terminal_only(settings: Settings, people: People) -> None:
    run("add", "ann", "--password-stdin")
    changed = run("password", "ann", "--password-stdin", password="another good password")
    assert changed.exit_code == 0 and people.verified("ann", "another good password")
    asked = run("password", "ann")
    assert asked.exit_code == 1 and "no terminal to ask for the password at" in asked.output
    assert run("password", "ann", PASSWORD).exit_code == 2, "it cannot be an argument"
    assert "12 to 1000 characters" in run("password", "ann", "--password-stdin", password="short").output
    unknown = json.loads(run("role", "bob", "reviewer", "--json").stdout)
    assert unknown["kind"] == "NotFound"
