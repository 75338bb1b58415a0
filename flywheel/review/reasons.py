"""Why a turn should be looked at, from what is known of it. Pure: facts in, reasons out; nothing is read or written here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from flywheel.store import CATEGORIES, Cause, ToolSchema
from flywheel.tool_schemas import argument_problems, tool_name

Reason = Literal[
    "tie", "thumb_down", "proposal", "tool_error", "schema", "rail", "failed", "disagreement", "unsure", "thumb_up", "sample"
]
RANKS: Mapping[Reason, int] = {
    "tie": 0,
    "thumb_down": 0,
    "proposal": 1,
    "tool_error": 2,
    "schema": 2,
    "rail": 2,
    "failed": 2,
    "disagreement": 3,
    "unsure": 4,
    "thumb_up": 5,
    "sample": 6,
}
"""How urgent each is; 0 comes first."""
LABELS: Mapping[Reason, str] = {
    "tie": "two reviewers disagree",
    "thumb_down": "thumb down",
    "proposal": "somebody proposed a correction",
    "tool_error": "a tool call failed or was refused",
    "schema": "a call does not fit its schema",
    "rail": "a rail stopped it",
    "failed": "the turn failed",
    "disagreement": "the previous model says otherwise",
    "unsure": "the model was unsure",
    "thumb_up": "thumb up",
    "sample": "not rated: a random sample",
}
QUIET = 9
"""The rank of a turn without a reason."""
OF_A_TOOL = ("failed unexpectedly", "took longer than", "cannot be reached", "does not answer", "no longer there")
"""What a tool's error says where the tool broke, and not the call."""


@dataclass
class Facts:
    """What is known of a finished turn. calls, ratings: rows of those tables. proposed: whether somebody proposed a
    correction. tools: JSON.

    unsure: in words what makes it so. second_look: the other model that said otherwise. drawn: whether its lot fell on it.
    """

    status: str
    verdicts: list[dict[str, Any]]
    tools: str
    calls: list[dict[str, Any]] = field(default_factory=list)
    ratings: list[dict[str, Any]] = field(default_factory=list)
    proposed: bool = False
    unsure: str | None = None
    second_look: str | None = None
    drawn: bool = False
    tie: bool = False


def reasons_for(facts: Facts) -> dict[Reason, str]:
    """Reason → words, the most urgent first; empty where nothing calls for a look."""
    found = _by_people(facts) | _by_course(facts)
    if facts.tie:
        found["tie"] = LABELS["tie"]
    if facts.second_look:
        found["disagreement"] = f"{facts.second_look} says otherwise"
    if facts.unsure:
        found["unsure"] = facts.unsure
    if not found and facts.drawn:
        found["sample"] = LABELS["sample"]
    return {reason: found[reason] for reason in RANKS if reason in found}


def _by_people(facts: Facts) -> dict[Reason, str]:
    found: dict[Reason, str] = {}
    thumbs = {rating["thumb"] for rating in facts.ratings}
    if "down" in thumbs:
        named = {name for rating in facts.ratings if rating["thumb"] == "down" for name in json.loads(rating["categories"])}
        words = ", ".join(text for name, text in CATEGORIES.items() if name in named)
        found["thumb_down"] = f"thumb down: {words}" if words else "thumb down"
    if "up" in thumbs:
        found["thumb_up"] = "thumb up"
    if facts.proposed:
        found["proposal"] = LABELS["proposal"]
    return found


def _by_course(facts: Facts) -> dict[Reason, str]:
    """What went wrong on the way of the turn itself."""
    found: dict[Reason, str] = {}
    trouble = next((call["status"] for call in facts.calls if call["status"] in ("failed", "refused")), None)
    if trouble:
        found["tool_error"] = f"tool call {trouble}"
    if problem := _misfit(facts):
        found["schema"] = problem
    if facts.status == "blocked" or any(verdict.get("outcome") == "blocked" for verdict in facts.verdicts):
        found["rail"] = "blocked by a rail"
    if facts.status == "failed" and not trouble:
        found["failed"] = "the turn failed"
    return found


def _misfit(facts: Facts) -> str | None:
    """The first call that does not fit the schema which the model saw, in words."""
    if not facts.calls:
        return None
    offered = _offered(facts.tools)
    for call in facts.calls:
        name = call["name"]
        if name not in offered:
            return f"calls {name[:60]!r}, which was not on offer"
        if str(call["error"] or "").startswith("the arguments are no JSON object"):
            return f"the arguments of {name!r} are no JSON object"
        if problems := argument_problems(offered[name], json.loads(call["arguments"])):
            return problems[0][:120]
    return None


@lru_cache(maxsize=64)
def _offered(tools: str) -> dict[str, ToolSchema]:
    """Name → tool; most turns see the same ones."""
    return {tool_name(tool): tool for tool in json.loads(tools)}


def likely_cause(reasons: Mapping[Reason, str], errors: list[str]) -> Cause:
    """Where the fault lies, as far as the reasons tell. errors: of the turn's calls."""
    if "thumb_down" in reasons or "proposal" in reasons or "schema" in reasons:
        return "model"
    if "rail" in reasons:
        return "rail"
    if any(sign in error for error in errors for sign in OF_A_TOOL):
        return "tool"
    return "other" if "failed" in reasons else "model"
