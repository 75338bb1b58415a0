"""The HTTP route by which feedback leaves: chosen by its query, streamed, for reviewers and developers only.

Every export stands in the audit log. Knows routes and roles. What is chosen is `feedback`'s, how it is written
`feedback_shapes`'.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BeforeValidator
from starlette.responses import StreamingResponse

from chat_app.guard import ENDED, reception
from chat_app.services import Services
from flywheel.errors import InputError
from flywheel.feedback import FeedbackReader, Selection
from flywheel.feedback_shapes import SHAPES, Shape, lines
from flywheel.people import Person
from flywheel.store import ReviewVerdict, Thumb

EMPTY = BeforeValidator(lambda text: text or None)
"""A field of the pages' form that was left empty chooses nothing."""
TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}


def asking(request: Request) -> Person:
    """The person behind a request. Answers 401 to nobody."""
    found = reception(request).person(request)
    if found is None:
        raise HTTPException(401, ENDED)
    return found


def exporter(person: Annotated[Person, Depends(asking)]) -> Person:
    """The person, if they may export: a reviewer or a developer. Answers 403 to others."""
    if not (person.may("developer") or person.may("reviewer")):
        raise HTTPException(403, "Your account may not export feedback; ask a developer.")
    return person


def router(services: Services) -> APIRouter:
    """GET /export/feedback."""
    routes, reader = APIRouter(), FeedbackReader(services.store)

    @routes.get("/export/feedback")
    def feedback(
        who: Annotated[Person, Depends(exporter)],
        shape: Shape,
        since: str | None = None,
        until: str | None = None,
        thumb: Annotated[Thumb | None, EMPTY] = None,
        verdict: Annotated[ReviewVerdict | None, EMPTY] = None,
        tool: str | None = None,
        model: str | None = None,
        person: str | None = None,
    ) -> StreamingResponse:
        try:
            selection = Selection(since, until, thumb, verdict, tool, model, person)
            chosen = {name: value for name, value in selection.conditions().items() if name != "person"}
        except InputError as error:
            raise HTTPException(422, str(error)) from error
        # Before the first row leaves: a stream that breaks off has shown what it has shown.
        services.audit.record(who.name, "export feedback", person or "", shape=shape, **chosen)
        ending = SHAPES[shape]
        name = {"content-disposition": f'attachment; filename="feedback-{shape}.{ending}"', "cache-control": "no-store"}
        namespace = services.settings.flywheel.namespace
        return StreamingResponse(lines(reader.select(selection), shape, namespace), media_type=TYPES[ending], headers=name)

    return routes
