"""What all pages share: the look, and the row of tabs that leads from one to the other; each person sees those that are theirs.

Knows no page's content.
"""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr
from gradio.context import Context

from chat_app import guard
from flywheel.people import LOCAL, Person, Role

TABS: tuple[tuple[str, str, Role], ...] = (
    ("Chat", "/chat/", "end_user"),
    ("Review", "/review/", "reviewer"),
    ("Wheel", "/wheel/", "developer"),
    ("People", "/people/", "developer"),
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

SCRIPTS = "".join(
    f"<script>{Path(__file__).with_name(name).read_text(encoding='utf-8')}</script>" for name in ("language.js", "names.js")
)

HEAD = f'<meta name="color-scheme" content="light dark">{SCRIPTS}'

CSS = Path(__file__).with_name("style.css")

WHEEL_ICON = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" aria-hidden="true">'
    '<path d="M20 12a8 8 0 1 1-2.6-5.9"/><path d="M20.5 3.5v4h-4"/></svg>'
)

LOCAL_LINE = "<span>One local person: no sign-in on this machine</span>"

FAVICON = WHEEL_ICON.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace("currentColor", "#0f766e")


def header(current: str) -> None:
    """The row of tabs, filled for whoever opens the page; `current` is the name of the page that shows it."""
    shown = gr.HTML(bar(current, None, ""), padding=False)

    def fill(request: gr.Request) -> str:
        return bar(current, guard.signed_in(request), guard.display_name(request))

    blocks = Context.root_block
    assert blocks is not None, "a header stands in a page"
    blocks.load(fill, None, shown, api_visibility="private", show_progress="hidden", queue=False)


def bar(current: str, person: Person | None, display_name: str) -> str:
    """The row's HTML; for nobody without tabs."""
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if name == current else ""}>{html.escape(name)}</a>'
        for name, path, role in TABS
        if person is not None and person.may(role)
    )
    brand = f'<span class="brand">{WHEEL_ICON}Flywheel Chat</span>'
    who = "" if person is None else LOCAL_LINE if person.name == LOCAL else _account(display_name)
    nav = f'<nav aria-label="Pages">{links}</nav>'
    return f'<header id="top" class="on-{current.lower()}">{brand}{nav}<div class="who">{who}</div></header>'


def _account(display_name: str) -> str:
    out = '<form method="post" action="/sign-out"><button>Sign out</button></form>'
    return f'<a href="/account">{html.escape(display_name)}</a>{out}'
