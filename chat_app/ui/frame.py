"""What all pages share: the look, and the row of tabs that leads from one to the other. Knows no page's content."""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

TABS = (("Chat", "/chat/"), ("Review", "/review/"), ("Wheel", "/wheel/"))

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

FAVICON = WHEEL_ICON.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace("currentColor", "#0f766e")


def header(current: str) -> gr.HTML:
    """The row of tabs; `current` is the name of the page that shows it."""
    links = "".join(
        f'<a href="{path}"{" aria-current=page" if name == current else ""}>{html.escape(name)}</a>' for name, path in TABS
    )
    brand = f'<span class="brand">{WHEEL_ICON}Flywheel Chat</span>'
    who = '<span class="who" title="On this machine\'s own address there is no sign-in.">This machine · all roles</span>'
    return gr.HTML(
        f'<header id="top" class="on-{current.lower()}">{brand}<nav aria-label="Pages">{links}</nav>{who}</header>', padding=False
    )
