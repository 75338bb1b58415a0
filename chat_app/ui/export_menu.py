"""The line of links by which feedback is taken away as a file. Knows the shapes' names; the route is in `exports`."""

from __future__ import annotations

import gradio as gr

from flywheel.feedback_shapes import SHAPES

WORDS = {"csv": "CSV", "openai": "OpenAI", "xlam": "xLAM", "intake": "NeMo Intake", "dpo": "DPO pairs"}


def export_menu() -> gr.HTML:
    """One line: the feedback as a file of each shape."""
    links = " · ".join(f'<a href="/export/feedback?shape={shape}" download>{WORDS[shape]}</a>' for shape in SHAPES)
    return gr.HTML(f'<p class="muted">All feedback as a file: {links}</p>', padding=False, elem_id="export-feedback")
