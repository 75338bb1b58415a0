"""What pops up for the person: what was done, and what was refused. Gradio shows such texts as HTML, so they are escaped here.

Only a queued event can show them; of an unqueued one nobody hears more than a refusal. Knows no page.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from chat_app.ui.words import ENGLISH, Words
from flywheel.errors import FlywheelError

Result = TypeVar("Result")


def tell(text: str, seconds: float = 4) -> None:
    """Say what was done."""
    gr.Info(html.escape(text), duration=seconds)


def warn(text: str, title: str = "That did not work") -> None:
    """Say what did not work, and go on."""
    gr.Warning(html.escape(text), title=title)


def refusal(text: str, title: str = "That did not work") -> gr.Error:
    """To be raised: ends the event with this sentence."""
    return gr.Error(html.escape(text), print_exception=False, title=title)


def refused(action: Callable[[], Result], words: Words = ENGLISH) -> Result:
    """Run an action; what it refuses becomes the sentence that the person reads."""
    try:
        return action()
    except FlywheelError as error:
        raise refusal(words.sentence(str(error)), words("did_not_work")) from error
