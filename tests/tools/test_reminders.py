"""Reminders: kept, each person's own, and safe when many write at once or the disk is full."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import TOOLS, ToolContext

pytest_plugins = ("tool_fixtures",)

Ask = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]
ROOT = Path(__file__).parents[2]


def test_a_reminder_is_kept_and_listed_by_when_it_is_due(ask: Ask) -> None:
    assert ask("add_reminder", text=" call  Anna ", date="tomorrow", time="3:30 pm") == {
        "summary": "I saved reminder 1: “call Anna”, due Wednesday, 25 November 2026 at 15:30.",
        "saved": True, "id": 1, "text": "call Anna", "due": "2026-11-25 15:30",
    }  # fmt: skip
    assert ask("add_reminder", text="buy milk")["summary"] == "I saved reminder 2: “buy milk”."
    ask("add_reminder", text="pay rent", date="friday")
    ask("add_reminder", text="stretch", time="16:00")
    assert ask("list_reminders") == {
        "summary": "You have 4 reminders: 4. stretch (Tuesday, 24 November 2026 at 16:00); "
        "1. call Anna (Wednesday, 25 November 2026 at 15:30); 3. pay rent (Friday, 27 November 2026); 2. buy milk.",
        "count": 4,
        "reminders": [
            {"id": 4, "text": "stretch", "due": "2026-11-24 16:00"},
            {"id": 1, "text": "call Anna", "due": "2026-11-25 15:30"},
            {"id": 3, "text": "pay rent", "due": "2026-11-27"},
            {"id": 2, "text": "buy milk"},
        ],
    }


def test_a_time_that_is_over_today_means_tomorrow(ask: Ask) -> None:
    assert ask("add_reminder", text="run", time="9 am")["due"] == "2026-11-25 09:00"


def test_a_deleted_reminder_is_gone_and_its_number_is_not_used_again(ask: Ask, refuse: Refuse) -> None:
    ask("add_reminder", text="one")
    ask("add_reminder", text="two")
    assert ask("delete_reminder", reminder_id=2) == {
        "summary": "I deleted reminder 2: “two”.", "deleted": True, "id": 2, "text": "two",
    }  # fmt: skip
    assert "You have no reminder 2" in refuse("delete_reminder", reminder_id=2)
    assert ask("add_reminder", text="three")["id"] == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"text": "   "}, "has no text"),
        ({"text": "x", "date": "yesterday"}, "2026-11-23 is over"),
        ({"text": "x", "date": "today", "time": "13:00"}, "2026-11-24 13:00 is over"),
        ({"text": "x", "date": "someday"}, "no date"),
        ({"text": "x", "time": "25:00"}, "no time of day"),
        ({"text": "x" * 151}, "at most 150"),
        ({"text": ""}, "at least 1"),
        ({}, "'text' is missing"),
    ],
)
def test_errors(refuse: Refuse, ask: Ask, arguments: dict[str, Any], says: str) -> None:
    assert says in refuse("add_reminder", **arguments)
    assert ask("list_reminders")["count"] == 0


def test_a_person_sees_and_deletes_only_their_own(ask: Ask, refuse: Refuse, context: ToolContext) -> None:
    bob = dataclasses.replace(context, person="bob' OR '1'='1")
    ask("add_reminder", text="mine")
    assert ask("list_reminders", bob) == {"summary": "You have no reminders.", "count": 0, "reminders": []}
    assert "You have no reminder 1" in refuse("delete_reminder", bob, reminder_id=1)
    assert ask("add_reminder", bob, text="his")["id"] == 1
    ask("delete_reminder", bob, reminder_id=1)
    assert ask("list_reminders")["reminders"] == [{"id": 1, "text": "mine"}]


def test_a_dry_run_writes_nothing(ask: Ask, refuse: Refuse, context: ToolContext) -> None:
    dry = dataclasses.replace(context, dry_run=True)
    assert ask("add_reminder", dry, text="call", date="tomorrow") == {
        "summary": "This would save the reminder “call”, due Wednesday, 25 November 2026.",
        "would": "save this reminder", "text": "call", "due": "2026-11-25",
    }  # fmt: skip
    assert "has no text" in refuse("add_reminder", dry, text=" ")
    assert not context.home.exists()
    ask("add_reminder", text="stays")
    assert ask("delete_reminder", dry, reminder_id=1) == {
        "summary": "This would delete reminder 1: “stays”.", "would": "delete this reminder", "id": 1, "text": "stays",
    }  # fmt: skip
    assert "no reminder 7" in refuse("delete_reminder", dry, reminder_id=7)
    assert ask("add_reminder", text="second")["id"] == 2
    assert ask("list_reminders")["count"] == 2


def test_a_long_list_shows_the_first_and_counts_the_rest_and_has_an_end(ask: Ask, refuse: Refuse, context: ToolContext) -> None:
    ask("add_reminder", text="x" * 150)
    with sqlite3.connect(context.home / "reminders.db") as database:
        rows = [("ann", number, "😀" * 150, "2027-01-01") for number in range(2, 201)]
        database.executemany("INSERT INTO reminders VALUES (?, ?, ?, ?)", rows)
    database.close()
    answer = ask("list_reminders")
    assert (answer["count"], len(answer["reminders"]), answer["not_shown"]) == (200, 8, 192)
    smiles = f"{'😀' * 59}… (Friday, 1 January 2027)"
    assert answer["summary"].startswith(f"You have 200 reminders: 2. {smiles}; 3. {smiles}; ")
    assert answer["summary"].endswith(f"; 9. {smiles}; and 192 more.")
    assert "200 reminders, which is all that fit" in refuse("add_reminder", text="one more")


def test_only_the_owner_of_the_machine_account_may_read_the_files(ask: Ask, context: ToolContext) -> None:
    ask("add_reminder", text="secret")
    assert stat.S_IMODE(context.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((context.home / "reminders.db").stat().st_mode) == 0o600


def test_many_at_once_in_threads_and_processes_lose_nothing(context: ToolContext) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from tools import TOOLS, ToolContext\n"
        "async def main():\n"
        "    context = ToolContext('ann', Path(sys.argv[1]))\n"
        "    done = await asyncio.gather(*(TOOLS['add_reminder'].run({'text': f'note {i}'}, context) for i in range(15)))\n"
        "    assert [r.error for r in done] == [None] * 15, done\n"
        "asyncio.run(main())"
    )
    others = [subprocess.Popen([sys.executable, "-c", script, str(context.home)], cwd=ROOT) for _ in range(3)]

    async def mine() -> list[Any]:
        return await asyncio.gather(*(TOOLS["add_reminder"].run({"text": f"mine {i}"}, context) for i in range(15)))

    results = asyncio.run(mine())
    assert [result.error for result in results] == [None] * 15
    assert [other.wait(timeout=60) for other in others] == [0, 0, 0]
    with sqlite3.connect(context.home / "reminders.db") as database:
        numbers = [number for (number,) in database.execute("SELECT reminder_id FROM reminders ORDER BY 1")]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert numbers == list(range(1, 61))


def test_a_locked_store_is_given_up_before_the_tool_is(refuse: Refuse, ask: Ask, context: ToolContext) -> None:
    ask("add_reminder", text="first")
    other = sqlite3.connect(context.home / "reminders.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert (
        refuse("add_reminder", text="second") == "The store of the reminders is busy: try again in a moment. Nothing was changed."
    )
    other.execute("ROLLBACK")
    other.close()
    assert ask("list_reminders")["count"] == 1


def test_a_damaged_file_and_a_folder_that_cannot_be_are_clear_errors(refuse: Refuse, context: ToolContext) -> None:
    context.home.mkdir()
    (context.home / "reminders.db").write_bytes(b"this is no database, whatever its name says" * 50)
    assert "cannot be used: the disk may be full or read-only, or the file damaged" in refuse("list_reminders")
    blocked = dataclasses.replace(context, home=context.home / "reminders.db" / "below")
    assert "cannot be used" in refuse("add_reminder", blocked, text="x")


def test_a_full_disk_is_a_clear_error_and_loses_nothing(ask: Ask, context: ToolContext) -> None:
    ask("add_reminder", text="before")
    script = (
        "import asyncio, resource, sys; from pathlib import Path; from tools import TOOLS, ToolContext\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "result = asyncio.run(TOOLS['add_reminder'].run({'text': 'x' * 150}, ToolContext('ann', Path(sys.argv[1]))))\n"
        "print(result.error)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(context.home)], cwd=ROOT, capture_output=True, text=True)
    assert "the disk may be full" in done.stdout
    assert [reminder["text"] for reminder in ask("list_reminders")["reminders"]] == ["before"]
