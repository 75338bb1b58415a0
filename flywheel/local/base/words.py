"""Words to make names, titles and texts of: lists in words.json, words that nobody has heard, and templates that join them.

Made-up words sound like some language, so that they are split into tokens as unknown names of people and places are. Knows no
kinds of values.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from flywheel.local.base.draw import Draw

WORDS: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))

_SLOT = re.compile(r"\{(\w+)\}")
_LISTS = {"n": "nouns", "a": "adjectives", "f": "foods", "gadget": "gadgets", "garment": "garments", "animal": "animals"}
_MODELS = ("{}", "{}0", "Pro {}", "Mini", "X{}", "Plus", "{}T")


class Words:
    """Draws words from one seed."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    @property
    def nouns(self) -> list[str]:
        """Plain nouns in the singular."""
        nouns: list[str] = WORDS["nouns"]
        return nouns

    def one(self, name: str) -> str:
        """One of the list of this name in words.json."""
        items: list[str] = WORDS[name]
        return self._draw.pick(items)

    def made_up(self) -> str:
        """A word that nobody has heard, in lower case."""
        starts, middles, ends = (str(part).split() for part in self._draw.pick(WORDS["sounds"]))
        middle = "".join(self._draw.pick(middles) for _ in range(self._draw.pick([0, 0, 1, 1, 1, 2])))
        return self._draw.pick(starts) + middle + self._draw.pick(ends)

    def person(self) -> str:
        """A first name, mostly with nothing more; a full name; or a title and a last name."""
        draw = self._draw
        first = self.made_up().capitalize() if draw.chance(0.15) else self.one("first_names")
        last = self.made_up().capitalize() if draw.chance(0.2) else self.one("last_names")
        titled = f"{draw.pick(['Dr', 'Mr', 'Ms', 'Prof.'])} {last}"
        return draw.pick([first, first, first, f"{first} {last}", f"{first} {last}", titled])

    def compose(self, template: str) -> str:
        """A template with its slots filled: {n} noun, {a} adjective, {x} made-up word, {p} person, {c} city, {f} food, {gadget},
        {garment}, {animal}, {d} a model's number. A capital slot gives a capital word."""
        return _SLOT.sub(lambda slot: self._word(slot[1]), template)

    def _word(self, slot: str) -> str:
        match slot:
            case "p":
                return self.person()
            case "c":
                return self.one("cities")
            case "d":
                return self._draw.pick(_MODELS).format(self._draw.between(1, 99))
            case "x" | "X":
                word = self.made_up()
            case _:
                word = self.one(_LISTS[slot.lower()])
        return word.capitalize() if slot.isupper() else word
