"""Turns as what Gradio's Chatbot shows: the question, a card for each tool call, the answer. Pure.

One turn is one question and one group of assistant messages, so thumbs and turns pair up by position. Text from people, the
model and tools is data: it is fenced or left to the component's sanitiser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from chat_app.ui.words import ENGLISH, Words
from flywheel.store import Rating, ToolCall, Turn

Shown = dict[str, Any]
"""One message of gr.Chatbot."""

CALL_ICONS = {"done": "✓", "failed": "✗", "refused": "⛔", "declined": "—", "awaiting": "?", "proposed": "…"}
MAX_RESULT = 4000


def fenced(value: Any) -> str:
    """JSON in a code block that the text inside cannot leave."""
    text = json.dumps(value, indent=2, ensure_ascii=False)[:MAX_RESULT]
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}json\n{text}\n{fence}"


def readable(value: Any, words: Words = ENGLISH) -> str:
    """An argument as a person reads it: no braces, no quotes."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')}: {readable(part, words)}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(readable(part, words) for part in value)
    return words("yes" if value else "no") if isinstance(value, bool) else str(value)


def card(call: ToolCall, words: Words = ENGLISH) -> Shown:
    """The card of one call: name, arguments, result, duration."""
    parts = [f"**{words('arguments')}**", fenced(call.arguments)]
    if call.error is not None:
        parts += [f"**{words('error')}**", fenced(words.sentence(call.error))]
    elif call.result is not None:
        parts += [f"**{words('result')}**", fenced(call.result)]
    metadata: dict[str, Any] = {
        "title": f"{CALL_ICONS[call.status]} {call.name} · {words(call.status)}",
        "id": call.id,
        "status": "pending" if call.status == "proposed" else "done",
    }
    if call.duration_ms is not None:
        metadata["duration"] = call.duration_ms / 1000
    return {"role": "assistant", "content": "\n\n".join(parts), "metadata": metadata}


def question(text: str) -> Shown:
    """What the person said, to the letter: it is no Markdown."""
    plain = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
    indented = re.sub(r"(?m)^[ \t]+", lambda spaces: "\N{NO-BREAK SPACE}" * len(spaces[0]), plain)
    return {"role": "user", "content": indented}


def answer(text: str) -> Shown:
    """What the assistant says, as Markdown; in a sum like 2*3*4 the stars are no emphasis."""
    return {"role": "assistant", "content": text if "`" in text else re.sub(r"(?<=[\w)])\*(?=[\w(])", r"\\*", text)}


def shown_turn(turn: Turn, calls: Sequence[ToolCall], words: Words = ENGLISH) -> list[Shown]:
    """A stored turn; it always has at least one assistant message, so that it can be rated."""
    replies = [card(call, words) for call in calls]
    if turn.status == "awaiting":
        return [question(turn.question), *replies]
    text = words.sentence(turn.answer)
    if turn.status == "stopped":
        text = f"{text}\n\n*{words('stopped')}*".strip()
    elif not text:
        text = f"*{words('no_answer')}*" if turn.status != "running" else "…"
    return [question(turn.question), *replies, answer(text)]


def turn_at(turns: Sequence[tuple[Turn, Sequence[ToolCall]]], index: int) -> Turn | None:
    """The turn to which the shown message at this position belongs."""
    for turn, calls in turns:
        count = len(shown_turn(turn, calls))
        if index < count:
            return turn
        index -= count
    return None


def thumbs(turns: Sequence[Turn], ratings: dict[str, Rating]) -> list[str | None]:
    """The Chatbot's `feedback_value`: one entry for each turn."""
    words = {"up": "Like", "down": "Dislike", None: None}
    return [words[ratings[turn.id].thumb] if turn.id in ratings else None for turn in turns]
