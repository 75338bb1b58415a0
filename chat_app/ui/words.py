"""Which language a person reads, English or Spanish, and what the pages say in it (english.py, spanish.py).

Labels that stand still are translated in the browser (`STATIC`), the rest here. What lies below the pages speaks English, and so
do the store and the small model: `Words.sentence` knows its sentences and says them in Spanish. What a tool or the model said
stays as it was said. The Review and Wheel pages, for colleagues, are English but for their head.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gradio as gr
from starlette.requests import HTTPConnection

from chat_app.ui import times
from chat_app.ui.english import EN
from chat_app.ui.spanish import ES, REASONS, TITLES
from flywheel.store import CATEGORIES
from tools.tool import Tool

Language = Literal["en", "es"]
_KEY = re.compile(r'__i18n__.*"key": "(\w+)"')

COOKIE = "language"
"""Set by the switch (language.js); without it the browser's own preference counts."""

SWITCH = (
    '<p id="languages"><button type="button" lang="en" data-language="en">English</button>'
    '<button type="button" lang="es" data-language="es">Español</button></p>'
)

SENTENCES: dict[str, str] = json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))
"""What lies below the pages says, English → Spanish. {places} hold names, numbers, or another sentence of the list."""

STATIC = gr.I18n(en=EN, es=ES)
"""To be given to the page's mount; `STATIC("new")` is a label that the browser puts into its own language, see also `Labels`."""


@dataclass(frozen=True)
class Words:
    """The pages' words in one language."""

    language: Language

    def __call__(self, key: str, **values: object) -> str:
        """The word or sentence of that key, with values in its places."""
        return (ES if self.language == "es" else EN)[key].format(**values)

    def title(self, tool: Tool) -> str:
        """What a tool does, in one line."""
        return TITLES.get(tool.name, tool.title) if self.language == "es" else tool.title

    def reasons(self) -> list[tuple[str, str]]:
        """The reasons for a thumb down: (words, stored name)."""
        return [(REASONS[name] if self.language == "es" else words, name) for name, words in CATEGORIES.items()]

    def sentence(self, text: str) -> str:
        """One of the app's own sentences in this language, also below an answer that broke off; any other text as it is."""
        if self.language == "en":
            return text
        said, gap, last = text.rpartition("\n\n")
        return said + gap + _in_spanish(last)

    def age(self, moment: str) -> str:
        """Since when: "5 minutes", "hace 5 minutos", and for what is young "just now"."""
        return times.age(moment) if self.language == "en" else times.ago_es(moment)

    def ago(self, moment: str) -> str:
        """How long ago: "5 minutes ago", "just now"."""
        return times.ago(moment) if self.language == "en" else times.ago_es(moment)

    def clock(self, moment: str) -> str:
        """Local date and time, as `times.clock`."""
        return times.clock(moment) if self.language == "en" else times.clock_es(moment)

    def day(self, moment: str) -> str:
        """When, as `times.day`."""
        return times.day(moment) if self.language == "en" else times.day_es(moment)


ENGLISH = Words("en")


class Labels:
    """All labels of a page that `STATIC` made, for a person who chose another language than their browser's."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self._keys: dict[Any, dict[str, str]] = {}
        for block in blocks.blocks.values():
            found = {name: _KEY.search(str(getattr(block, name, ""))) for name in ("value", "label", "placeholder")}
            if keys := {name: match[1] for name, match in found.items() if match}:
                self._keys[block] = keys

    @property
    def components(self) -> list[Any]:
        """Those that have such labels."""
        return list(self._keys)

    def spoken(self, words: Words) -> list[Any]:
        """Their updates."""
        said: list[dict[str, Any]] = [{name: words(key) for name, key in keys.items()} for keys in self._keys.values()]
        return [gr.update(**each) for each in said]


def spoken_by(request: gr.Request | HTTPConnection) -> Words:
    """The words for who sent the request: their choice, else what their browser prefers of the two, else English."""
    chosen = (request.cookies or {}).get(COOKIE)
    preferred = [part.split(";")[0].strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    language = next((each for each in (chosen, *preferred) if each in ("en", "es")), "en")
    return Words("es" if language == "es" else "en")


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(sentence)), re.DOTALL)


_PATTERNS = [(_pattern(english), spanish) for english, spanish in SENTENCES.items()]


def _in_spanish(text: str) -> str:
    for pattern, spanish in _PATTERNS:
        if match := pattern.fullmatch(text):
            return spanish.format(**{name: _in_spanish(value) for name, value in match.groupdict().items()})
    return text
