"""add_reminder, list_reminders, delete_reminder: notes with a day and a time, in home/reminders.db.

Each person sees only their own. Knows no alarm: it keeps reminders, it does not ring.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Annotated, Any

from pydantic import Field

from tools.clock import DayText
from tools.database import transaction
from tools.days import read_day, read_time
from tools.sentences import MAX_NAMED, counted, moment
from tools.tool import ToolContext, ToolError

MAX_KEPT = 200
BRIEF = 60
SHOWN = MAX_NAMED

# last_id outlives the reminders: a number once used never comes to mean another reminder.
_TABLES = """
CREATE TABLE IF NOT EXISTS people (person TEXT PRIMARY KEY, last_id INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reminders (
    person TEXT NOT NULL, reminder_id INTEGER NOT NULL, text TEXT NOT NULL, due TEXT, PRIMARY KEY (person, reminder_id)
) STRICT
"""


def add_reminder(
    context: ToolContext,
    text: Annotated[str, Field(min_length=1, max_length=150)],
    date: DayText | None = None,
    time: Annotated[str, Field(min_length=1, max_length=20)] | None = None,
) -> dict[str, Any]:
    """Save a reminder.

    Args:
        text: What to remember, such as call Anna
        date: The day: YYYY-MM-DD, today, tomorrow or a weekday
        time: The time of day, such as 15:30 or 3 pm
    """
    note = " ".join(text.split())
    if not note:
        raise ToolError("The reminder has no text. Say what to remember.")
    due = _due(date, time, context.now())
    with transaction(context, "reminders", _TABLES) as connection:
        (kept,) = connection.execute("SELECT count(*) FROM reminders WHERE person = ?", (context.person,)).fetchone()
        if kept >= MAX_KEPT:
            raise ToolError(f"You have {kept} reminders, which is all that fit. Delete one first.")
        (number,) = connection.execute(
            "INSERT INTO people VALUES (?, 1) ON CONFLICT (person) DO UPDATE SET last_id = last_id + 1 RETURNING last_id",
            (context.person,),
        ).fetchone()
        connection.execute("INSERT INTO reminders VALUES (?, ?, ?, ?)", (context.person, number, note, due))
    when = f", due {moment(due)}" if due else ""
    if context.dry_run:
        return {
            "summary": f"This would save the reminder “{note}”{when}.",
            "would": "save this reminder",
            **_shown(None, note, due),
        }
    return {"summary": f"I saved reminder {number}: “{note}”{when}.", "saved": True, **_shown(number, note, due)}


def list_reminders(context: ToolContext) -> dict[str, Any]:
    """List your reminders."""
    with transaction(context, "reminders", _TABLES) as connection:
        rows = connection.execute(
            "SELECT reminder_id, text, due FROM reminders WHERE person = ? ORDER BY due IS NULL, due, reminder_id",
            (context.person,),
        ).fetchall()
    more = {"not_shown": len(rows) - SHOWN} if len(rows) > SHOWN else {}
    return {"summary": _sentence(rows), "count": len(rows), "reminders": [_shown(*row) for row in rows[:SHOWN]], **more}


def _sentence(rows: list[tuple[int, str, str | None]]) -> str:
    start = f"You have {counted(len(rows), 'reminder')}"
    named = [f"{number}. {_brief(text)}{f' ({moment(due)})' if due else ''}" for number, text, due in rows[:SHOWN]]
    more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return f"{start}: {'; '.join(named + more)}." if rows else f"{start}."


def _brief(text: str) -> str:
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 1].rstrip()}…"


def delete_reminder(context: ToolContext, reminder_id: Annotated[int, Field(ge=1, le=10**9)]) -> dict[str, Any]:
    """Delete a reminder.

    Args:
        reminder_id: The reminder's number, as the list shows it
    """
    key = (context.person, reminder_id)
    with transaction(context, "reminders", _TABLES) as connection:
        gone = connection.execute(
            "DELETE FROM reminders WHERE person = ? AND reminder_id = ? RETURNING text, due", key
        ).fetchall()
        if not gone:
            raise ToolError(f"You have no reminder {reminder_id}. List your reminders to see their numbers.")
    outcome = {"would": "delete this reminder"} if context.dry_run else {"deleted": True}
    done = "This would delete" if context.dry_run else "I deleted"
    return {"summary": f"{done} reminder {reminder_id}: “{gone[0][0]}”.", **outcome, **_shown(reminder_id, *gone[0])}


def _due(day_text: str | None, time_text: str | None, now: datetime) -> str | None:
    """The moment as YYYY-MM-DD HH:MM or the day as YYYY-MM-DD, in the person's time. A time alone is the next such time."""
    if day_text is None and time_text is None:
        return None
    clock: time | None = read_time(time_text) if time_text else None
    if day_text is None:
        day = now.date() + timedelta(days=int(clock is not None and clock <= now.time()))
    else:
        day = read_day(day_text, now.date())
    if day < now.date() or (day == now.date() and clock is not None and clock <= now.time()):
        raise ToolError(f"{day.isoformat()}{f' {clock:%H:%M}' if clock else ''} is over. Choose a moment that is still to come.")
    return day.isoformat() if clock is None else f"{day.isoformat()} {clock:%H:%M}"


def _shown(number: int | None, text: str, due: str | None) -> dict[str, Any]:
    return {**({"id": number} if number else {}), "text": text, **({"due": due} if due else {})}
