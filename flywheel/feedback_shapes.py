"""The shapes in which feedback leaves: OpenAI messages, xLAM, NeMo Intake entries, preference pairs, and a table.

Where a reviewer corrected the model, the rows to learn from hold the correction in the place of what was said; what was said, and
by whom it was judged, stands beside it under `feedback`. Pure: data in, data out. Knows no store and no file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

from flywheel.feedback import Feedback
from flywheel.rows import Message, Row, openai_message, to_openai
from flywheel.rows import to_xlam as row_to_xlam
from flywheel.store import CATEGORIES, Rating

Shape = Literal["openai", "xlam", "intake", "dpo", "csv"]
SHAPES: dict[Shape, str] = {"openai": "jsonl", "xlam": "jsonl", "intake": "jsonl", "dpo": "jsonl", "csv": "csv"}
"""Shape → the ending of its files."""

TASK = "tool-call"
APPLICATION = "flywheel"
"""By which our own events at Intake are known."""

COLUMNS = (
    "turn_id", "conversation_id", "created_at", "person", "model", "status", "question", "called", "answer", "thumb",
    "categories", "opinion", "rated_at", "verdict", "reviewer", "reviewed_at", "correction",
)  # fmt: skip
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would run."""


def lines(found: Iterable[Feedback], shape: Shape, namespace: str) -> Iterator[str]:
    """The file's text, piece by piece; turns that do not fit the shape are left out."""
    if shape == "csv":
        yield _csv_line(COLUMNS)
        yield from (_csv_line(table_row(feedback)) for feedback in found)
        return
    convert = _converter(shape, namespace)
    rows = (convert(feedback) for feedback in found)
    yield from (json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row is not None)


def _converter(shape: Shape, namespace: str) -> Callable[[Feedback], dict[str, Any] | None]:
    if shape == "intake":
        return partial(to_intake, namespace=namespace)
    return {"openai": to_messages, "xlam": to_xlam, "dpo": to_preference}[shape]


# rows to learn from --------------------------------------------------------------------------------------------------


def to_messages(feedback: Feedback) -> dict[str, Any]:
    """{"messages", "tools", "feedback"}: the whole conversation, up to the correction where there is one."""
    turn = feedback.turn
    if feedback.correction:
        row = to_openai(_row(feedback, feedback.correction))
    else:
        before = to_openai(Row([*turn.context, feedback.said], turn.tools))["messages"][:-1]
        made = [openai_message(message, number) for number, message in enumerate(turn.messages, len(before))]
        row = {"messages": [*before, *made], "tools": turn.tools}
    return row | {"feedback": _judged(feedback)}


def to_xlam(feedback: Feedback) -> dict[str, Any] | None:
    """{"query", "tools", "answers", "feedback"}; None for a row that does not fit: no call, or a dialogue."""
    row = row_to_xlam(_row(feedback, feedback.correction or feedback.said))
    return row and row | {"feedback": _judged(feedback)}


def to_preference(feedback: Feedback) -> dict[str, Any] | None:
    """{"prompt", "chosen", "rejected", "tools"}: the correction against what the model said; None where nothing was corrected."""
    chosen, rejected = feedback.correction, feedback.said
    if chosen is None or _content(chosen) == _content(rejected):
        return None
    *prompt, good = to_openai(_row(feedback, chosen))["messages"]
    prompt = [{key: value for key, value in message.items() if key != "weight"} for message in prompt]
    bad = openai_message(rejected, len(prompt))
    return {"prompt": prompt, "chosen": [good], "rejected": [bad], "tools": feedback.turn.tools, "feedback": _judged(feedback)}


def _row(feedback: Feedback, answer: Message) -> Row:
    return Row(
        [*feedback.turn.context, {"role": "user", "content": feedback.turn.question}, _with_objects(answer)], feedback.turn.tools
    )


def _with_objects(message: Message) -> Message:
    """The answer alone, its calls' arguments as objects; what cannot be read as one stays as it is."""
    calls = [
        {"type": "function", "function": {**call["function"], "arguments": _read(call["function"]["arguments"])}}
        for call in message.get("tool_calls") or ()
    ]
    return {"role": "assistant", "content": message.get("content") or "", **({"tool_calls": calls} if calls else {})}


def _read(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def _content(message: Message) -> tuple[Any, ...]:
    """What an answer says, whatever ids its calls bear."""
    calls = _with_objects(message).get("tool_calls", [])
    return (*(json.dumps(call["function"], sort_keys=True) for call in calls), *([] if calls else [message.get("content") or ""]))


def _judged(feedback: Feedback) -> dict[str, Any]:
    """Who said what of the turn."""
    turn, review = feedback.turn, feedback.review
    ratings = [
        {"person": r.person, "thumb": r.thumb, "categories": r.categories, "opinion": r.opinion, "at": r.updated_at}
        for r in feedback.ratings
    ]
    known = {
        "turn": turn.id,
        "conversation": turn.conversation_id,
        "person": turn.person,
        "model": turn.model,
        "at": turn.created_at,
    }
    decided = review and {"reviewer": review.reviewer, "verdict": review.verdict, "at": review.created_at}
    return known | {"said": openai_message(feedback.said, 0), "ratings": ratings, "review": decided}


# Intake --------------------------------------------------------------------------------------------------------------


def to_intake(feedback: Feedback, namespace: str) -> dict[str, Any]:
    """The body of an Intake entry; `external_id` is the turn's id. What came later in the turn is in `custom_fields`."""
    turn = feedback.turn
    messages = [openai_message(message, number) for number, message in enumerate([*turn.context, *turn.messages[:1]])]
    request = {"model": turn.model, "messages": messages, **({"tools": turn.tools} if turn.tools else {})}
    rest = [openai_message(message, number) for number, message in enumerate(turn.messages[1:], len(messages))]
    entry: dict[str, Any] = {
        "external_id": turn.id,
        "namespace": namespace,
        "context": {
            "app": f"{namespace}/chat", "task": TASK, "thread_id": turn.conversation_id, "user_id": turn.person,
            "created_at": turn.created_at,
        },
        "data": {"request": request, "response": _response(feedback.said, len(messages))},
        "custom_fields": {"status": turn.status, "answer": turn.answer, "messages": rest},
        "events": review_events(feedback) + [_event(rating) for rating in feedback.ratings if rating.person != turn.person],
    }  # fmt: skip
    return entry | ({"user_rating": _rating(feedback.own)} if feedback.own else {})


def user_rating(feedback: Feedback) -> dict[str, Any]:
    """The rating by the person who asked, in Intake's words; {} where there is none."""
    return _rating(feedback.own) if feedback.own else {}


def review_events(feedback: Feedback) -> list[dict[str, Any]]:
    """The review that counts as an Intake event, or nothing where none was decided."""
    review = feedback.review
    if review is None or review.verdict == "skipped":
        return []
    event: dict[str, Any] = {
        "event_type": "reviewer_annotation",
        "thumb": "up" if review.verdict == "approved" and feedback.correction is None else "down",
        "created_by": {"application": APPLICATION, "user": review.reviewer},
        "created_at": review.created_at,
    }
    if feedback.correction:
        event["response_override"] = _response(feedback.correction, len(feedback.turn.context) + 1)
        if not feedback.correction.get("tool_calls"):
            event["rewrite"] = feedback.correction["content"]
    return [event]


def _event(rating: Rating) -> dict[str, Any]:
    return {
        "event_type": "user_feedback", **_rating(rating), "created_at": rating.updated_at,
        "created_by": {"application": APPLICATION, "user": rating.person},
    }  # fmt: skip


def _rating(rating: Rating) -> dict[str, Any]:
    words = {name: CATEGORIES.get(name, name) for name in rating.categories}
    return {
        "thumb": rating.thumb,
        **({"categories": words} if words else {}),
        **({"opinion": rating.opinion} if rating.opinion else {}),
    }


def _response(message: Message, number: int) -> dict[str, Any]:
    made = openai_message(message, number)
    reason = "tool_calls" if made.get("tool_calls") else "stop"
    return {"choices": [{"index": 0, "message": made, "finish_reason": reason}]}


# the table -----------------------------------------------------------------------------------------------------------


def table_row(feedback: Feedback) -> list[str]:
    """One turn as the cells of COLUMNS; the rating is that of the person who asked, else the newest."""
    turn, review = feedback.turn, feedback.review
    rating = feedback.own or (feedback.ratings[-1] if feedback.ratings else None)
    rated = [rating.thumb or "", ", ".join(rating.categories), rating.opinion, rating.updated_at] if rating else [""] * 4
    correction = _written(feedback.correction) if feedback.correction else ""
    reviewed = [review.verdict, review.reviewer, review.created_at] if review else [""] * 3
    known = [turn.id, turn.conversation_id, turn.created_at, turn.person, turn.model, turn.status, turn.question]
    return [*known, _called(feedback.said), turn.answer, *rated, *reviewed, correction]


def _called(message: Message) -> str:
    return "; ".join(
        f"{call['function']['name']}({json.dumps(_read(call['function']['arguments']), ensure_ascii=False)})"
        for call in message.get("tool_calls") or ()
    )


def _written(message: Message) -> str:
    return _called(message) or str(message.get("content") or "")


def _csv_line(cells: Iterable[str]) -> str:
    file = io.StringIO()
    csv.writer(file).writerow([f"'{cell}" if cell.startswith(RISKY) else cell for cell in cells])
    return file.getvalue()
