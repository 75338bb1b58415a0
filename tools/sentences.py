"""Numbers, days and lists as a sentence for people has them: 1,234.57, Friday, 27 November 2026, a, b and 3 more.

Knows no tools: each one writes its own `summary`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime

MAX_NAMED = 8
"""So many things a sentence lists by name; it counts the rest."""


def number(value: float, decimals: int = 2) -> str:
    """The value with at most so many decimals (of a fraction below 1: so many digits and one more), thousands set apart."""
    size = abs(value)
    if size and not 1e-6 <= size < 1e15:
        digits, exponent = f"{value:.{decimals + 1}e}".split("e")
        return f"{_plain(digits)} × 10^{int(exponent)}"
    if isinstance(value, int):
        return f"{value:,}"
    places = decimals if size >= 1 or not size else decimals - math.floor(math.log10(size))
    return _plain(f"{value:,.{places}f}")


def _plain(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def on_day(day: date) -> str:
    """Friday, 27 November 2026."""
    return f"{day:%A}, {calendar_day(day)}"


def calendar_day(day: date) -> str:
    """27 November 2026."""
    return f"{day.day} {day:%B} {day.year}"


def moment(text: str) -> str:
    """YYYY-MM-DD or YYYY-MM-DD HH:MM as Friday, 27 November 2026 at 15:30."""
    when = datetime.fromisoformat(text)
    return on_day(when) + (f" at {when:%H:%M}" if len(text) > len("YYYY-MM-DD") else "")


def listed(parts: Sequence[str], total: int) -> str:
    """a, b and c; or the first of them, and how many of the total (of which `parts` may be the beginning) go unnamed."""
    named = list(parts[:MAX_NAMED])
    if total > len(named):
        named.append(f"{total - len(named)} more")
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def counted(count: int, noun: str) -> str:
    """no orders, 1 order, 2 orders."""
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
