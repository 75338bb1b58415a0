"""Moments and durations in words. Knows ISO 8601 strings in UTC, nothing else."""

from __future__ import annotations

from datetime import datetime

WEEKDAYS_ES = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")
MONTHS_ES = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()


def age(moment: str, now: datetime | None = None) -> str:
    """How long ago: "just now", "5 minutes", "3 hours", "12 days"."""
    then = datetime.fromisoformat(moment)
    seconds = ((now or datetime.now(then.tzinfo)) - then).total_seconds()
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "just now"


def ago(moment: str) -> str:
    """As `age`, in a sentence: "just now", "5 minutes ago"."""
    words = age(moment)
    return words if words == "just now" else f"{words} ago"


def day(moment: str, now: datetime | None = None) -> str:
    """When, as one would say it: "today", "yesterday", "Tuesday" within a week, else "3 March 2026"."""
    then = datetime.fromisoformat(moment).astimezone()
    days = ((now or datetime.now(then.tzinfo)).date() - then.date()).days
    if days == 0:
        return "today"
    if days == 1:
        return "yesterday"
    return then.strftime("%A") if days < 7 else f"{then.day} {then:%B %Y}"


def clock(moment: str) -> str:
    """Local date and time: "24 Nov 14:05"."""
    then = datetime.fromisoformat(moment).astimezone()
    return f"{then.day} {then:%b %H:%M}"


def duration(seconds: float) -> str:
    """As "0.3 s", "45 s" or "2 min 5 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ago_es(moment: str, now: datetime | None = None) -> str:
    """As `ago`, in Spanish: "ahora mismo", "hace 5 minutos"."""
    count, _, unit = age(moment, now).partition(" ")
    if not count.isdigit():
        return "ahora mismo"
    singular, plural = {"day": ("día", "días"), "hour": ("hora", "horas"), "minute": ("minuto", "minutos")}[unit.rstrip("s")]
    return f"hace {count} {singular if count == '1' else plural}"


def day_es(moment: str, now: datetime | None = None) -> str:
    """As `day`, in Spanish and with its preposition: "de hoy", "de ayer", "del martes", "del 3 de marzo de 2026"."""
    english = day(moment, now)
    if english in ("today", "yesterday"):
        return "de hoy" if english == "today" else "de ayer"
    then = datetime.fromisoformat(moment).astimezone()
    if " " in english:
        return f"del {then.day} de {MONTHS_ES[then.month - 1]} de {then.year}"
    return f"del {WEEKDAYS_ES[then.weekday()]}"


def clock_es(moment: str) -> str:
    """As `clock`, in Spanish: "24 nov 14:05"."""
    then = datetime.fromisoformat(moment).astimezone()
    return f"{then.day} {MONTHS_ES[then.month - 1][:3]} {then:%H:%M}"
