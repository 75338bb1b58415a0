"""The form by which feedback is taken away as a file. Knows the shapes and what can be chosen; the route is in `exports`."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from flywheel.feedback_shapes import SHAPES

WORDS = {"csv": "CSV", "openai": "OpenAI", "xlam": "xLAM", "intake": "NeMo Intake", "dpo": "DPO pairs"}
THUMBS = {"": "any", "up": "up", "down": "down"}
VERDICTS = {"": "any", "approved": "approved", "rejected": "rejected"}


def export_menu() -> gr.HTML:
    """One form: which turns, in which shape. What is left empty chooses nothing."""
    chosen = _select("Shape", "shape", {shape: WORDS[shape] for shape in SHAPES})
    chosen += _input("From", "since", "date") + _input("Before", "until", "date")
    chosen += _select("Thumb", "thumb", THUMBS) + _select("Decision", "verdict", VERDICTS)
    chosen += _input("Tool", "tool") + _input("Model", "model") + _input("Person", "person")
    with gr.Accordion("Feedback as a file", open=False):
        return gr.HTML(
            f'<form action="/export/feedback">{chosen}<button>Download</button></form>', padding=False, elem_id="export-feedback"
        )


def _select(label: str, name: str, options: Mapping[str, str]) -> str:
    made = "".join(f'<option value="{value}">{words}</option>' for value, words in options.items())
    return f'<label>{label}<select name="{name}">{made}</select></label>'


def _input(label: str, name: str, kind: str = "text") -> str:
    return f'<label>{label}<input name="{name}" type="{kind}"></label>'
