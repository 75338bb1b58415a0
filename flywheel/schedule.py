"""When the wheel turns by itself: at times, after so many new rows, and not in quiet hours.

Times are this machine's local times. Knows the policy, the clock and the records; starts nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from cronsim import CronSim, CronSimError

from flywheel.database import Database
from flywheel.errors import Conflict, InputError
from flywheel.history import Run, RunRecords

Cause = Literal["schedule", "threshold"]
Quiet = tuple[time, time]

NEW_ROWS = """SELECT count(*) AS n FROM examples e WHERE superseded_by IS NULL AND (held IS NULL OR released)
    AND created_at > coalesce((SELECT max(created_at) FROM runs), '')
    AND NOT EXISTS (SELECT 1 FROM dataset_examples d WHERE d.example_id = e.id)"""
"""Rows of a run that failed are not counted again: it would be tried for ever. Rows in quarantine train nothing."""


@dataclass(frozen=True)
class Policy:
    """cron: five fields, "" = never. new_rows: so many since the last run begin one, 0 = never. quiet_hours: "08:00-18:00"."""

    cron: str = ""
    new_rows: int = 0
    quiet_hours: str = ""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time that cron names after a moment, or None without cron. Raises InputError naming the fault."""
        if not self.cron:
            return None
        try:
            if len(self.cron.split()) != 5:
                raise CronSimError("five fields are needed: minute, hour, day, month, weekday")
            # In local time without its zone: what the clocks skip comes an hour later, what they repeat comes the first time.
            found = next(CronSim(self.cron, moment.astimezone().replace(tzinfo=None)))
            first, second = (datetime.fromtimestamp(found.replace(fold=fold).timestamp(), UTC) for fold in (0, 1))
            return first if first > moment else second
        except (CronSimError, StopIteration) as error:
            hint = 'give for example "0 2 * * *"'
            raise InputError(f"cron in [schedule] is {self.cron!r}: {error or 'no such day'}; {hint}") from error

    def quiet(self) -> Quiet | None:
        """Begin and end of the quiet hours, or None. Raises InputError."""
        if not self.quiet_hours:
            return None
        found = re.fullmatch(r"(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)", self.quiet_hours.strip())
        try:
            begin, end = map(time.fromisoformat, (part.zfill(5) for part in found.groups())) if found else (time(), time())
        except ValueError:
            begin = end = time()
        if begin == end:
            raise InputError(f'quiet_hours in [schedule] is {self.quiet_hours!r}; give two times such as "08:00-18:00"')
        return begin, end


def after_quiet(quiet: Quiet | None, moment: datetime) -> datetime:
    """The moment itself, or the end of the quiet hours in which it falls."""
    if quiet is None:
        return moment
    local = moment.astimezone()
    begin, end = quiet
    now = local.time()
    inside = begin <= now < end if begin < end else now >= begin or now < end
    if not inside:
        return moment
    day = local.date() + timedelta(days=1 if begin > end and now >= begin else 0)
    return datetime.combine(day, end).astimezone()


@dataclass(frozen=True)
class Outlook:
    """What comes next. due: why a run is due now. begins: when the next run does, by the clock.

    new_rows: rows that no run has used; wanted: how many begin one (0 = that is off). problem: why nothing can be scheduled.
    """

    due: Cause | None = None
    begins: datetime | None = None
    new_rows: int = 0
    wanted: int = 0
    problem: str | None = None

    def words(self, moment: datetime | None = None) -> str:
        """In a sentence or two."""
        if self.problem:
            return f"No run begins by itself: {self.problem}."
        moment = moment or datetime.now(UTC)
        parts = []
        if self.due and self.begins and self.begins > moment:
            parts.append(f"A run is due and begins after the quiet hours: {said(self.begins, moment)}.")
        elif self.due:
            parts.append("A run is due.")
        elif self.begins:
            parts.append(f"Next run: {said(self.begins, moment)}.")
        if self.wanted:
            parts.append(f"{self.new_rows} of {self.wanted} new rows.")
        return " ".join(parts) or "Runs begin by hand; policy.toml in the state folder can say when they begin by themselves."


def said(when: datetime, moment: datetime) -> str:
    """As people say it: "today 14:00", "tonight 02:00", "tomorrow 09:30", "Tuesday 1 December 02:00"."""
    local, today = when.astimezone(), moment.astimezone().date()
    days = (local.date() - today).days
    if (days == 0 and local.hour >= 18) or (days == 1 and local.hour < 5):
        return f"tonight {local:%H:%M}"
    day = {0: "today", 1: "tomorrow"}.get(days, f"{local:%A} {local.day} {local:%B}")
    return f"{day} {local:%H:%M}"


class Schedule:
    """The schedule of one installation. policy: reads the present policy, or raises InputError.

    scan: puts new rows that look planted into quarantine, so that a flood of them begins no run.
    """

    def __init__(self, database: Database, policy: Callable[[], Policy], scan: Callable[[], object] = lambda: None) -> None:
        self._database = database
        self._policy = policy
        self._scan = scan
        self._records = RunRecords(database)

    def outlook(self, moment: datetime | None = None) -> Outlook:
        """What comes next; a policy that cannot be used is said, not raised."""
        moment = moment or datetime.now(UTC)
        try:
            policy = self._policy()
            quiet, next_time = policy.quiet(), policy.next_after(moment)
            passed = policy.next_after(self._seen(policy, moment))
        except InputError as error:
            return Outlook(problem=str(error))
        found = self._database.first(NEW_ROWS) if policy.new_rows > 0 else None
        new_rows = found["n"] if found else 0
        due: Cause | None = None
        if passed and passed <= moment:
            due = "schedule"
        elif 0 < policy.new_rows <= new_rows:
            due = "threshold"
        begins = moment if due else next_time
        return Outlook(due, after_quiet(quiet, begins) if begins else None, new_rows, policy.new_rows)

    def begin_due(self, ask: Callable[[Cause], Run], moment: datetime | None = None) -> Run | None:
        """Ask for the run that is due, unless it must wait. A time at which there is nothing new to learn passes by."""
        moment = moment or datetime.now(UTC)
        outlook = self.outlook(moment)
        if outlook.problem:
            return None
        self._remember(self._policy(), moment, anew=False)
        if outlook.due is None or outlook.begins != moment or self._records.active():
            return None
        if outlook.due == "threshold":
            self._scan()
            if self.outlook(moment).due is None:
                return None
        try:
            with self._database.transaction():
                self._remember(self._policy(), moment, anew=True)
                return ask(outlook.due)
        except Conflict:  # somebody else was quicker; it stays due
            return None
        except InputError:
            self._remember(self._policy(), moment, anew=True)
            return None

    def _seen(self, policy: Policy, moment: datetime) -> datetime:
        """Up to when this cron's times were seen to; a cron that was just written has nothing to catch up on."""
        found = self._database.first("SELECT seen_at FROM schedule WHERE cron = ?", (policy.cron,))
        return datetime.fromisoformat(found["seen_at"]) if found else moment

    def _remember(self, policy: Policy, moment: datetime, *, anew: bool) -> None:
        """Note up to when the times of this cron were seen to. anew: also where it is noted already."""
        if anew or self._database.first("SELECT 1 FROM schedule WHERE cron = ?", (policy.cron,)) is None:
            row = {"one": 1, "cron": policy.cron, "seen_at": moment.astimezone(UTC).isoformat()}
            self._database.upsert("schedule", row, ("one",))
