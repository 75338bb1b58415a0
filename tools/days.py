"""Dates and times of day as people write them: ISO, today, tomorrow, a weekday, 24 December, 3 pm.

Knows no calendar of holidays and no time zones: the caller says what day it is now.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta

from tools.tool import ToolError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_NEAR = {"today": 0, "tonight": 0, "now": 0, "tomorrow": 1, "day after tomorrow": 2, "yesterday": -1}
_DAY_FIRST = re.compile(r"(\d{1,2})(?:st|nd|rd|th)? (?:of )?([a-z]{3,9})\.?,?(?: (\d{4}))?")
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.? (\d{1,2})(?:st|nd|rd|th)?,?(?: (\d{4}))?")
_CLOCK = re.compile(r"(\d{1,2})(?:[:.h](\d{2}))?\s*(a\.?m\.?|p\.?m\.?)?(?: ?o'?clock)?")


def read_day(text: str, today: date) -> date:
    """The day that the text means, seen from `today`. A weekday is the next one after today. Raises ToolError."""
    words = " ".join(text.lower().split())
    words = re.sub(r"^(on|the|this|next|coming|in) (?!\d+ (day|week))", "", words)
    words = re.sub(r"^(the|this|next) ", "", words)
    if words in _NEAR:
        return today + timedelta(days=_NEAR[words])
    if weekday := _prefixed(words, WEEKDAYS):
        return today + timedelta(days=(weekday - 1 - today.weekday() - 1) % 7 + 1)
    try:
        if ahead := re.fullmatch(r"in (\d{1,3}) (day|week)s?", words):
            return today + timedelta(days=int(ahead[1]) * (7 if ahead[2] == "week" else 1))
        if iso := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", words):
            return date(int(iso[1]), int(iso[2]), int(iso[3]))
        if named := _named(words, today):
            return named
    except (ValueError, OverflowError):
        raise ToolError(f"There is no day {text[:40]!r} in the calendar.") from None
    raise ToolError(f"{text[:40]!r} is no date that I can read. Use YYYY-MM-DD, today, tomorrow or a weekday.")


def read_month(text: str) -> int:
    """The month 1-12 that the text names, by number or English name. Raises ToolError."""
    words = text.strip().lower()
    if words.isdecimal() and words.isascii() and len(words) <= 2 and 1 <= int(words) <= 12:
        return int(words)
    if month := _prefixed(words, MONTHS):
        return month
    raise ToolError(f"{text[:40]!r} is no month. Use its English name or 1 to 12.")


def read_time(text: str) -> time:
    """The time of day that the text means: 15:30, 3 pm, noon. Raises ToolError."""
    words = " ".join(text.lower().removeprefix("at ").split())
    named = {"noon": 12, "midday": 12, "midnight": 0, "morning": 9, "afternoon": 15, "evening": 19}
    if words in named:
        return time(named[words])
    if (clock := _CLOCK.fullmatch(words)) and words.isascii():
        hour, minute, half = int(clock[1]), int(clock[2] or 0), (clock[3] or "")[:1]
        if half and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half == "p" else 0)
        elif half:
            hour = 24
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise ToolError(f"{text[:40]!r} is no time of day that I can read. Use HH:MM, such as 15:30, or 3 pm.")


def _prefixed(words: str, names: tuple[str, ...]) -> int:
    """1-based place of the name that the words are or begin (three letters or more); 0 for none."""
    word = words.removesuffix(".")
    return next((i for i, name in enumerate(names, 1) if len(word) >= 3 and name.startswith(word)), 0)


def _named(words: str, today: date) -> date | None:
    """24 December, December 24th, 24 Dec 2026. Without a year: the next such day."""
    if not words.isascii():
        return None
    if found := _DAY_FIRST.fullmatch(words):
        day, name, year = found.groups()
    elif found := _MONTH_FIRST.fullmatch(words):
        name, day, year = found.groups()
    else:
        return None
    month = _prefixed(name, MONTHS)
    if not month:
        return None
    if year:
        return date(int(year), month, int(day))
    if (month, int(day)) == (2, 29):
        return next(date(y, 2, 29) for y in range(today.year, today.year + 9) if _has_leap_day(y) and date(y, 2, 29) >= today)
    this_year = date(today.year, month, int(day))
    return this_year if this_year >= today else this_year.replace(year=today.year + 1)


def _has_leap_day(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
