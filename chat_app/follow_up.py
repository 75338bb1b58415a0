"""Whether a question leans on the one before it: "and in euros?", "what about Oslo?", "send it back".

A small model is misled by earlier turns that it does not need, and lost without the one that it does. So it sees one with such
questions only, and of that the question and the call: results and sentences mislead it too (tests/benchmarks/follow_ups.py has
the numbers). A rule of English words, the small model's language. Knows no models.
"""

from __future__ import annotations

import re

from flywheel.store import Message, Turn

MOST_WORDS = 9
"""A longer question says itself what it is about."""

_OPENS = re.compile(r"(and|or|but|also|then|now|plus|what about|how about|what if|(the )?same|again|instead)\b", re.IGNORECASE)
_SHORT = re.compile(r"(in|to|into|for|on|at|from) \S+( \S+)?$", re.IGNORECASE)
_POINTS = re.compile(r"\b(it|there|this one|those|them|the ones?|that(?=\W*$| (in|into|to|back|one)\b))\b", re.IGNORECASE)
_OWN_OBJECT = re.compile(r"\d|(?<=\s)(?!I\b)[A-Z]")


def leans_on_the_last(question: str) -> bool:
    """Whether the question is short and either opens as a continuation or points at a thing that it does not name."""
    question = question.strip()
    if len(question.split()) > MOST_WORDS:
        return False
    continues = _OPENS.match(question) or _SHORT.match(question)
    return bool(continues or (_POINTS.search(question) and not _OWN_OBJECT.search(question)))


def call_before(turns: list[Turn], question: str) -> list[Message]:
    """Question and calls of the turn before, where this question leans on it and it called something; else nothing."""
    if not turns or turns[-1].status != "answered" or not leans_on_the_last(question):
        return []
    calling = next((message for message in turns[-1].messages if message.get("tool_calls")), None)
    return [turns[-1].messages[0], calling | {"content": ""}] if calling else []
