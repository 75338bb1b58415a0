"""Whether a question leans on the one before it: "and in euros?", "what about Oslo?", "send it back".

A small model is misled by earlier turns that it does not need, and lost without those that it does: so it sees them with such
questions only. A rule of English words, the small model's language. Knows neither models nor turns.
"""

from __future__ import annotations

import re

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
