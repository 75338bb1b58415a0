"""The guard inside every handler: who is asking, and whether they may. A page's mount asks too; neither trusts the other.

Knows people and roles; knows nothing of how somebody signed in.
"""

from __future__ import annotations

import gradio as gr

from chat_app.ui import toasts
from flywheel.people import LOCAL, LOCAL_PERSON, Person, Role

WORDS: dict[Role, str] = {"end_user": "chat", "reviewer": "review", "developer": "train and promote"}


def person(request: gr.Request, role: Role) -> Person:
    """Who sent the request. Raises a refusal where they are not signed in or lack the role."""
    found = signed_in(request)
    if found is None:
        raise toasts.refusal("Your sign-in has ended; reload the page and sign in again.")
    if not found.may(role):
        raise toasts.refusal(f"Your account may not {WORDS[role]}.")
    return found


def signed_in(request: gr.Request) -> Person | None:
    """The person of this request, or None."""
    return LOCAL_PERSON if request.username == LOCAL else None
