"""Entries of Intake: one exchange with a model and what people say of it, in NVIDIA's shape; and which of them a request means.

Knows the fields of an entry and of its events, and how entries are chosen. Knows no route and no format of files.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator
from sqlite_utils import Database, Migrations

from flywheel.local.entities import Described, Name
from flywheel.local.matching import matches_filter
from flywheel.local.state import Entity, State, now

Word = Annotated[str, StringConstraints(min_length=1, max_length=512)]
LongText = Annotated[str, StringConstraints(max_length=100_000)]
Categories = Annotated[dict[Word, float | str], Field(max_length=64)]

migrations = Migrations("intake")


@migrations()
def m001_external_ids(db: Database) -> None:
    """An external id is one entry's alone, and quick to find."""
    db.execute(
        "CREATE UNIQUE INDEX entries_by_external_id ON entities (json_extract(body, '$.external_id')) WHERE kind = 'intake_entry'"
    )


@migrations()
def m002_changes(db: Database) -> None:
    """What was changed since a moment is asked for every minute."""
    db.execute("CREATE INDEX entities_by_change ON entities (kind, updated_at)")


class Context(BaseModel):
    """Where an entry comes from. `app` is `namespace/name`, or a name in the namespace `default`."""

    app: Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9_][A-Za-z0-9_.@+:-]*/)?[A-Za-z0-9_][A-Za-z0-9_.@+:-]*$")]
    task: Name
    session_id: Word | None = None
    thread_id: Word | None = None
    trace_id: Word | None = None
    user_id: Word | None = None
    created_at: str = Field(default_factory=now)

    @model_validator(mode="after")
    def _whole_name(self) -> Context:
        if "/" not in self.app:
            self.app = f"default/{self.app}"
        return self


class Spoken(BaseModel):
    """A message of any provider's shape."""

    model_config = ConfigDict(extra="allow")
    role: Literal["user", "system", "assistant", "developer", "tool", "function"]


class Asked(BaseModel):
    """What a model was sent, of any provider's shape."""

    model_config = ConfigDict(extra="allow")
    model: Word
    messages: Annotated[list[Spoken], Field(max_length=2000)]


class Answered(BaseModel):
    """What it answered, of any provider's shape."""

    model_config = ConfigDict(extra="allow")
    choices: Annotated[list[dict[str, Any]], Field(max_length=128)]


class Data(BaseModel):
    """One exchange."""

    request: Asked
    response: Answered


class Rating(BaseModel):
    """What somebody thinks of an answer: `thumb` or `rating`, and words; `rewrite` is what it should have been."""

    thumb: Literal["up", "down"] | None = None
    rating: float | None = None
    opinion: LongText | None = None
    rewrite: LongText | None = None
    chosen_index: Annotated[int, Field(ge=0)] | None = None
    categories: Categories | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Rating:
        if self.thumb is not None and self.rating is not None:
            raise ValueError("give either thumb or rating, not both")
        return self


class _Event(BaseModel):
    id: Word = Field(default_factory=lambda: f"event-{uuid.uuid4().hex}")
    created_at: str = Field(default_factory=now)
    created_by: dict[str, str] | None = None


class Feedback(Rating, _Event):
    """A rating as something that happened."""

    event_type: Literal["user_feedback"] = "user_feedback"


class Annotation(Rating, _Event):
    """A reviewer's word; `response_override` is the whole response that should have come, tool calls and all."""

    event_type: Literal["reviewer_annotation"] = "reviewer_annotation"
    response_override: dict[str, Any] | None = None


class Action(_Event):
    """Something that a person did with the answer."""

    event_type: Literal["user_action"] = "user_action"
    action: Word
    metadata: Annotated[dict[Word, str | list[str] | bool | float], Field(max_length=16)] | None = None


def event_type(event: Any) -> str | None:
    """An event's type; what bears none is told by what only one type has."""
    given = dict(event) if isinstance(event, Mapping | BaseModel) else {}
    kind = given.get("event_type") or ("user_action" if "action" in given else "user_feedback")
    return kind if isinstance(kind, str) else None


Event = Annotated[
    Annotated[Feedback, Tag("user_feedback")]
    | Annotated[Annotation, Tag("reviewer_annotation")]
    | Annotated[Action, Tag("user_action")],
    Discriminator(event_type),
]
Events = Annotated[list[Event], Field(max_length=1000)]


class Entry(Described):
    """An entry; `external_id` is the client's own name for it, such as the completion's id."""

    namespace: Name = "default"
    context: Context
    data: Data
    external_id: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    user_rating: Rating | None = None
    events: Events = Field(default_factory=list)


def chosen(
    state: State, filters: Mapping[str, Any], search: Mapping[str, Any] | None = None, sort: str = "-created_at"
) -> list[Entity]:
    """The entries that match, in order. Besides entries' own fields filters may name the context's (`app`, `task`, `thread_id`),
    `has_thumb`, `has_rating`, `has_opinion`, `has_rewrite` (in the rating or in a feedback event), `has_events`, and
    `longest_per_thread`: of each thread only the entry with the most messages.
    """
    wanted = {key: _joined(value) for key, value in filters.items() if key != "longest_per_thread" and value is not None}
    dates: dict[str, Any] = {key: wanted[key] for key in ("created_at", "updated_at") if key in wanted}
    rows, _ = state.list(
        "intake_entry", filter=dates, search={key: _joined(value) for key, value in (search or {}).items()}, sort=sort
    )
    rows = [row for row in rows if matches_filter({**row["context"], **row, **_presence(row)}, wanted)]
    return _longest(rows) if str(filters.get("longest_per_thread")).lower() == "true" else rows


def _joined(value: Any) -> Any:
    """A condition as it stands in a query."""
    if isinstance(value, Mapping):
        return {key: _joined(part) for key, part in value.items() if part is not None}
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _presence(entry: Entity) -> dict[str, bool]:
    said = [entry.get("user_rating") or {}, *(event for event in entry["events"] if event["event_type"] == "user_feedback")]
    names = ("thumb", "rating", "opinion", "rewrite")
    return {f"has_{name}": any(one.get(name) is not None for one in said) for name in names} | {
        "has_events": bool(entry["events"])
    }


def _longest(rows: Sequence[Entity]) -> list[Entity]:
    best: dict[tuple[str, str], Entity] = {}
    for row in rows:
        thread = (row["context"]["app"], row["context"]["thread_id"] or row["id"])
        if thread not in best or _length(row) > _length(best[thread]):
            best[thread] = row
    kept = {row["id"] for row in best.values()}
    return [row for row in rows if row["id"] in kept]


def _length(entry: Entity) -> int:
    return len(entry["data"]["request"]["messages"])
