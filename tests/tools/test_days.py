"""Dates and times as people write them."""

from __future__ import annotations

from datetime import date, time

import pytest

from tools import ToolError
from tools.days import read_day, read_month, read_time

TUESDAY = date(2026, 11, 24)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-12-24", "2026-12-24"), ("2026-1-5", "2026-01-05"), ("today", "2026-11-24"), ("Tomorrow", "2026-11-25"),
        ("yesterday", "2026-11-23"),
        ("the day after tomorrow", "2026-11-26"), ("day after  tomorrow", "2026-11-26"), ("wednesday", "2026-11-25"),
        ("Tuesday", "2026-12-01"),
        ("on Friday", "2026-11-27"), ("next monday", "2026-11-30"), ("fri", "2026-11-27"), ("in 3 days", "2026-11-27"),
        ("in 2 weeks", "2026-12-08"),
        ("24 December", "2026-12-24"), ("December 24th", "2026-12-24"), ("Dec 24, 2027", "2027-12-24"),
        ("1st of March", "2027-03-01"),
        ("3 jan 2025", "2025-01-03"), ("29 February", "2028-02-29"), ("24 nov", "2026-11-24"),
    ],
)  # fmt: skip
def test_days(text: str, day: str) -> None:
    assert read_day(text, TUESDAY).isoformat() == day


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-13-01", "someday", "31 June", "", " ", "0000-01-01", "next week", "24", "t" * 99, "٣ may"]
)
def test_no_days(text: str) -> None:
    with pytest.raises(ToolError):
        read_day(text, TUESDAY)


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("15:30", time(15, 30)), ("3 pm", time(15)), ("3:30pm", time(15, 30)), ("12 am", time(0)), ("12 p.m.", time(12)),
        ("at 9", time(9)),
        ("noon", time(12)), ("midnight", time(0)), ("9 o'clock", time(9)), ("7.45", time(7, 45)), ("17h30", time(17, 30)),
    ],
)  # fmt: skip
def test_times(text: str, clock: time) -> None:
    assert read_time(text) == clock


@pytest.mark.parametrize("text", ["25:00", "12:60", "13 pm", "0 am", "soon", "", "٣:٣٠"])
def test_no_times(text: str) -> None:
    with pytest.raises(ToolError):
        read_time(text)


def test_months() -> None:
    assert [read_month(text) for text in ("May", "sept", "12", "jan.", " 3 ")] == [5, 9, 12, 1, 3]
    for text in ("13", "0", "ma", "summer", "²", ""):
        with pytest.raises(ToolError):
            read_month(text)
