"""What the Review page shows of a turn, as HTML: who said what of it, who is at it, what a try returned, the keys. Pure."""

from __future__ import annotations

import json
from typing import Any

from chat_app.ui import messages, times
from chat_app.ui.forms import safe
from flywheel.review import QueueItem, ReviewItem
from flywheel.review.claims import local_clock
from flywheel.store import CATEGORIES, Review

HELP = {
    "a": "approve", "n": "next: leave this turn to somebody else", "w": "wrong tool: choose another",
    "e": "edit: the first field", "t": "try the call", "r": "reject: nothing to learn", "u": "undo my last decision",
    "s": "apply to the similar turns", "?": "these keys", "Esc": "leave a field", "Ctrl+Enter": "approve from within a field",
}  # fmt: skip


def help_text() -> str:
    """The keys."""
    rows = "".join(f'<tr><th scope="row" class="key">{key}</th><td>{words}</td></tr>' for key, words in HELP.items())
    return f'<table id="keys" class="difference" aria-label="Keys" hidden>{rows}</table>'


def line(item: QueueItem) -> str:
    """A turn in the queue: why it is there, what was asked, what was called, when, and who else is at it."""
    held = f" · being reviewed by {item.claimed_by}" if item.claimed_by else ""
    return f"{item.reason} · {item.question[:90]} → {item.called} · {times.clock(item.created_at)}{held}"


def context_of(item: ReviewItem) -> list[messages.Shown]:
    """The earlier messages that the model saw, without the tools' part."""
    texts = [message for message in item.turn.context if message.get("content") and message["role"] in ("user", "assistant")]
    show = {"user": messages.question, "assistant": messages.answer}
    return [show[message["role"]](str(message["content"])) for message in texts]


def about(item: ReviewItem, reviewer: str) -> str:
    """Why the turn is here, who rated it and how, who proposed what, what was decided before, and who else is at it."""
    lines = [f"Answered by <code>{safe(item.turn.model)}</code>, {times.clock(item.turn.created_at)}."]
    if item.reasons:
        lines.append(f"Here because: {safe('; '.join(item.reasons.values()))}.")
    for rating in item.ratings:
        reasons = ", ".join(CATEGORIES.get(name, name) for name in rating.categories)
        words = f"Thumb {rating.thumb}" + (f": {safe(reasons)}" if reasons else "")
        lines.append(f"<b>{words}</b>" + (f" — “{safe(rating.opinion)}”" if rating.opinion else ""))
    for proposal in item.proposals:
        said = f" — “{safe(proposal.opinion)}”" if proposal.opinion else ""
        lines.append(f"<b>{safe(proposal.person)} proposed a correction</b>{said}")
    if item.review is not None:
        lines.append(f"Already {_decision(item.review)}, {times.clock(item.review.created_at)}.")
    if item.others:
        lines.append("Two reviewers disagree; you decide: " + "; ".join(map(_decision, item.others)) + ".")
    shown = "".join(f"<p>{text}</p>" for text in lines)
    if item.claim is not None and item.claim.reviewer != reviewer:
        until = local_clock(item.claim.until)
        shown += f'<p class="locked" role="alert">Being reviewed by {safe(item.claim.reviewer)} until {until}.</p>'
    return shown


def _decision(review: Review) -> str:
    calls = [call["function"] for call in (review.response_override or {}).get("tool_calls") or ()]
    text = "; ".join(f"{call['name']} {json.dumps(call['arguments'], ensure_ascii=False)}" for call in calls)
    words = text or (review.response_override or {}).get("content") or ""
    corrected = f" with <code>{safe(words[:300])}</code>" if words else ""
    return f"{review.verdict} by {safe(review.reviewer)}{corrected}"


def outcomes(found: list[tuple[str, Any, str | None]]) -> str:
    """What the tried calls returned: (name, result, error) of each."""
    if not found:
        return '<p class="tried">No tool is called; there is nothing to run.</p>'
    parts = []
    for name, content, error in found:
        text = error if error is not None else json.dumps(content, indent=1, ensure_ascii=False)
        state = "failed" if error is not None else "ok"
        head = f"<b>{safe(name)}</b> {'returned an error' if error is not None else 'returned'}"
        parts.append(f'<div class="tried {state}">{head}<pre>{safe(text)}</pre></div>')
    return "".join(parts)


def problem(text: str) -> str:
    """Something that keeps the reviewer from going on."""
    return f'<p class="problem" role="alert">{safe(text)}</p>'
