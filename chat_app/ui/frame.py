"""What all pages share: the look, and the row of tabs that leads from one to the other; each person sees those that are theirs.

Knows no page's content.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import Context

from chat_app import guard
from chat_app.ui.words import ENGLISH, Labels, Words, spoken_by
from flywheel.people import LOCAL, Person, Role

TABS: tuple[tuple[str, str, Role], ...] = (
    ("chat", "/chat/", "end_user"),
    ("review", "/review/", "reviewer"),
    ("wheel", "/wheel/", "developer"),
    ("people", "/people/", "developer"),
)

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
THEME = gr.themes.Default(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="md",
    font=FONT,
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
).set(  # Gradio's own shades of these are too faint to read (WCAG asks for 4.5:1)
    color_accent="*primary_700",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_label_text_color="*neutral_600",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
)

LANGUAGE, NAMES = (
    f"<script>{Path(__file__).with_name(name).read_text(encoding='utf-8')}</script>" for name in ("language.js", "names.js")
)

HEAD = f'<meta name="color-scheme" content="light dark">{LANGUAGE}{NAMES}'

CSS = Path(__file__).with_name("style.css")

WHEEL_ICON = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" aria-hidden="true">'
    '<path d="M20 12a8 8 0 1 1-2.6-5.9"/><path d="M20.5 3.5v4h-4"/></svg>'
)

LOADING: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

FAVICON = WHEEL_ICON.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace("currentColor", "#0f766e")


def header(current: str) -> None:
    """The row of tabs, filled for whoever opens the page, in their language; `current` is the name of the page that shows it."""
    shown = gr.HTML(bar(current, None, "", ENGLISH), padding=False)

    def fill(request: gr.Request) -> str:
        return bar(current, guard.signed_in(request), guard.display_name(request), spoken_by(request))

    blocks = Context.root_block
    assert blocks is not None, "a header stands in a page"
    blocks.load(fill, None, shown, **LOADING)


def labels(blocks: gr.Blocks, role: Role) -> None:
    """Put the page's labels into the language that its person chose, where it is not their browser's. To be called last."""
    found = Labels(blocks)

    def relabel(request: gr.Request) -> list[Any]:
        guard.person(request, role)
        return found.spoken(spoken_by(request))

    blocks.load(relabel, None, found.components, **LOADING)


def bar(current: str, person: Person | None, display_name: str, words: Words) -> str:
    """The row's HTML; for nobody without tabs."""
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if name == current else ""}>{words(f"page_{name}")}</a>'
        for name, path, role in TABS
        if person is not None and person.may(role)
    )
    brand = f'<span class="brand">{WHEEL_ICON}Flywheel Chat</span>'
    local = person is not None and person.name == LOCAL
    who = "" if person is None else f"<span>{words('local_person')}</span>" if local else _account(display_name, words)
    nav = f'<nav aria-label="{words("pages")}">{links}</nav>'
    return f'<header id="top" class="on-{current}" lang="{words.language}">{brand}{nav}<div class="who">{who}</div></header>'


def _account(display_name: str, words: Words) -> str:
    out = f'<form method="post" action="/sign-out"><button>{words("sign_out")}</button></form>'
    return f'<a href="/account">{html.escape(display_name)}</a>{out}'
