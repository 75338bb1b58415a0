"""How a request looks when a person types it: careless capitals and full stops, greetings, typos, a sentence more.

Works on templates before their slots are filled, so that a value is never touched. Knows no tools and no values.
"""

from __future__ import annotations

import re

from flywheel.local.base.draw import Draw

_SLOT = re.compile(r"(\{\w+\})")
_OPENINGS = (
    "hey, ", "hi, ", "hi! ", "hello, ", "ok, ", "ok so ", "please ", "quick one: ", "um, ", "so, ", "right, ", "hey there, ",
    "now ", "alright, ", "good morning, ", "one question: ", "excuse me, ",
)  # fmt: skip
_CLOSINGS = (
    " please", " please", " pls", " thanks", ", thanks", ", thank you", " thx", ", cheers", " now", " if you can", ", would you",
    " for me", " asap",
)  # fmt: skip
_BEFORE = (
    "I'm in a hurry.", "Sorry to bother you again.", "Long day today.", "I was just wondering.", "Next thing.", "Something else.",
    "My phone is about to die.", "I can't do it myself right now.", "I need your help.", "Got a minute?", "Okay, here we go.",
    "Hope you're well.", "Back again.", "I'm driving at the moment.", "Before I forget.", "Another thing.", "Let's see.",
    "I almost forgot.",
)  # fmt: skip
_AFTER = (
    "Thanks a lot!", "Thanks in advance.", "No rush.", "It's urgent.", "I'd really appreciate it.", "That's all.",
    "You're a star.", "Take your time.", "I hope that works.", "Let me know.", "My wife is asking.", "It matters to me.",
)  # fmt: skip


def as_typed(draw: Draw, template: str) -> str:
    """The template with the small differences between people."""
    text = template
    if draw.chance(0.07):
        text = _typo(draw, text)
    if draw.chance(0.25):
        text = _recased(draw, text)
    if draw.chance(0.22):
        text = text.rstrip("?.!") if draw.chance(0.6) else text.rstrip("?.! ") + draw.pick(["?", ".", "!", "??", "..."])
    if draw.chance(0.07) and not text.lower().startswith(("hey", "hi", "hello", "ok", "please", "can you")):
        text = draw.pick(_OPENINGS) + _lowered(text)
    if draw.chance(0.08) and "please" not in text.lower() and not text.endswith((".", "!", ":")):
        text = text.rstrip("?") + draw.pick(_CLOSINGS)
    if draw.chance(0.08):
        text = _two_sentences(draw, text)
    return text


def _two_sentences(draw: Draw, text: str) -> str:
    if draw.chance(0.5):
        return f"{draw.pick(_BEFORE)} {text[:1].upper() + text[1:]}"
    return f"{text if text.endswith(('.', '?', '!')) else text + '.'} {draw.pick(_AFTER)}"


def _lowered(text: str) -> str:
    return text if re.match(r"I\b|I'", text) else text[:1].lower() + text[1:]


def _recased(draw: Draw, text: str) -> str:
    """All words, but no slots, in lower case; or a capital at the start; now and then everything in capitals."""
    form = draw.pick(["lower", "capital", "capital", "upper"]) if draw.chance(0.2) else draw.pick(["lower", "capital"])
    if form == "capital":
        return text[:1].upper() + text[1:]
    change = str.lower if form == "lower" else str.upper
    return "".join(part if _SLOT.fullmatch(part) else change(part) for part in _SLOT.split(text))


def _typo(draw: Draw, text: str) -> str:
    """One letter of one word swapped, dropped or doubled."""
    words = [found for found in re.finditer(r"(?<![{\w'])[a-zA-Z]{4,}(?![\w'}])", text)]
    if not words:
        return text
    start, end = draw.pick(words).span()
    at = draw.between(start + 1, end - 2)
    swapped = [text[:at] + text[at + 1] + text[at] + text[at + 2 :], text[:at] + text[at + 1 :], text[:at] + text[at] + text[at:]]
    return draw.pick(swapped)
