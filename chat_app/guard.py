"""The guard inside every handler: who is asking, and whether they may. A page's door asks too; neither trusts the other.

Knows people and roles; how somebody signed in, the reception knows, which every request carries with it.
"""

from __future__ import annotations

from typing import cast

import gradio as gr
from starlette.requests import HTTPConnection

from chat_app.reception import Reception
from chat_app.ui import toasts
from chat_app.ui.words import spoken_by
from flywheel.people import Person, Role

ENDED = "Your sign-in has ended; reload the page and sign in again."


def person(request: gr.Request, role: Role) -> Person:
    """Who sent the request. Raises a refusal where they are not signed in or lack the role."""
    found, words = signed_in(request), spoken_by(request)
    if found is None:
        raise toasts.refusal(words.sentence(ENDED), words("did_not_work"))
    if not found.may(role):
        raise toasts.refusal(words(f"may_not_{role}"), words("did_not_work"))
    return found


def signed_in(request: gr.Request) -> Person | None:
    """The person of this request as the store knows them now, or None."""
    connection = request.request
    if connection is None:
        return None
    found = reception(connection).person(connection)
    return found if found is not None and found.name == request.username else None


def display_name(request: gr.Request) -> str:
    """What they call themselves; nothing for nobody and for the local person."""
    session = reception(request.request).session(request.request) if request.request is not None else None
    return "" if session is None else session.display_name


def reception(connection: HTTPConnection) -> Reception:
    """The app's reception, which its doorkeeper gave the request to carry."""
    return cast(Reception, connection.state.reception)
