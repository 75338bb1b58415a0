"""Invented tools over invented domains: a verb, a noun and some parameters, put together by chance, and requests to them.

Where the phrase bank teaches how people ask for everyday things, this teaches that a tool may be about anything: thousands of
nouns, some of them made up, nested and listed parameters, options and switches. Words are in domains.json. Knows nothing of
turns.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.local.base.chat_values import ChatValues
from flywheel.local.base.draw import Draw
from flywheel.local.base.families import Asked, Schema, restyled, tidied
from flywheel.local.base.surface import as_typed
from flywheel.local.base.values import Around, Value, schema_of

DOMAINS: dict[str, Any] = json.loads(Path(__file__).with_name("domains.json").read_text(encoding="utf-8"))
_RESULT_KINDS = {
    "price": "float", "total": "float", "name": "person", "owner": "person", "date": "date", "time": "time", "count": "int",
    "score": "int", "city": "city", "status": "word", "id": "id_code", "balance": "float", "level": "int", "distance": "float",
    "rating": "int", "color": "word", "duration": "int", "size": "int", "title": "title", "temperature": "int",
}  # fmt: skip
_FREE_PHRASES = (
    "with {} {{v}}", "where the {} is {{v}}", "{} set to {{v}}", "{} {{v}}", "and the {} is {{v}}",
    "using {{v}} as {}", "{}: {{v}}",
)  # fmt: skip
_ALIKE_VERBS = [set(group.split()) for group in DOMAINS["alike_verbs"]]


class Parameter(NamedTuple):
    """A parameter: its schema, the ways to mention it, the question that asks for it, and how its values are drawn."""

    name: str
    schema: Schema
    required: bool
    phrases: list[str]
    ask: str
    draw: Callable[[Around], Value]


def noun_held_out(noun: str) -> bool:
    """Whether a noun is kept for testing: about one in eight, by a hash of it."""
    return hashlib.sha256(noun.encode()).digest()[-1] % 8 == 0


class DomainTool:
    """A tool about a noun, and requests to it. `held_out` takes a noun for testing; `like` gives its noun another verb."""

    def __init__(self, draw: Draw, values: ChatValues, *, held_out: bool = False, like: DomainTool | None = None) -> None:
        self._draw = draw
        self._values = values
        self.noun: str = like.noun if like else self._drawn_noun(held_out)
        verbs = [verb for verb in DOMAINS["verbs"] if not like or not same_meaning(verb, like.verb)]
        self.verb: str = draw.pick(verbs)
        self.key = f"domain:{self.noun}:{self.verb}"
        self._words = DOMAINS["verbs"][self.verb]
        self._parameters = self._drawn_parameters()
        self.schema = self._drawn_schema()

    @property
    def name(self) -> str:
        """What the tool is called in a call."""
        return str(self.schema["function"]["name"])

    def ask(self) -> Asked:
        """A request and its arguments; an optional one is left out half the time."""
        return self._asked([one for one in self._parameters if one.required or self._draw.chance(0.5)])

    def follow_up(self, before: Asked) -> Asked | None:
        """A request that refers back to the one before and changes one value."""
        told = [one for one in self._parameters if one.name in before.arguments and one.phrases[0]]
        if not told:
            return None
        one = self._draw.pick(told)
        opening = self._draw.pick(["and ", "and ", "what about ", "now ", "the same ", "how about ", "do it again ", "now one "])
        phrase = self._draw.pick(one.phrases)
        value = one.draw(Around(opening + phrase.split("{v}")[0], phrase.split("{v}")[-1]))
        text = as_typed(self._draw, opening + phrase).replace("{v}", value.said)
        return Asked(tidied(text), before.arguments | {one.name: value.json}, before.said | {one.name: value.said})

    def incomplete(self) -> tuple[str, str] | None:
        """A request without a required value, and the question that asks for it."""
        needed = [one for one in self._parameters if one.required and one.ask]
        if not needed:
            return None
        absent = self._draw.pick(needed)
        return self._asked([one for one in self._parameters if one.required and one is not absent]).text, absent.ask

    def result(self, asked: Asked) -> tuple[str, str] | None:
        """What the tool might give, as compact JSON, and a sentence that tells it."""
        draw = self._draw
        keys = draw.some(list(_RESULT_KINDS), draw.pick([1, 1, 2, 2, 3]))
        given = {key: self._values.draw(_RESULT_KINDS[key], Around("is ")).json for key in keys}
        noun = f"the {self.noun}"
        told = [f"the {key} is {value}" for key, value in given.items()]
        forms = [", ".join(told[:-1]) + " and " + told[-1] if len(told) > 1 else told[0]]
        if len(told) == 1:
            forms += [f"the {keys[0]} of {noun} is {given[keys[0]]}", f"for {noun}, {told[0]}"]
        sentence = draw.pick(forms)
        ok = draw.chance(0.25)
        text = json.dumps(({"ok": True} | given) if ok else given, ensure_ascii=False, separators=(",", ":"))
        return text, ("Done. " if ok else "") + sentence[:1].upper() + sentence[1:] + "."

    # the tool

    def _drawn_noun(self, held_out: bool) -> str:
        draw = self._draw
        if draw.chance(0.3):
            rest = [word for word in self._values.words.nouns if noun_held_out(word) == held_out]
            first = draw.pick([self._values.words.made_up(), self._values.words.one("adjectives"), draw.pick(rest)])
            return f"{first} {draw.pick(rest)}"
        nouns: list[str] = [noun for noun in DOMAINS["nouns"] if noun_held_out(noun) == held_out]
        return draw.pick(nouns)

    def _drawn_schema(self) -> Schema:
        draw, words = self._draw, self._words
        noun = "_".join(re.findall(r"[a-z0-9]+", self.noun.replace("'s", "").lower()))
        name = restyled(f"{draw.pick(words['names'])}_{noun}", draw.pick(["snake", "snake", "snake", "camel", "dotted", "kebab"]))
        if draw.chance(0.04):
            name = f"{self._values.words.made_up()}{draw.pick(['', '_tool', '_2', '_api'])}"
        described = "" if draw.chance(0.08) and noun in name else draw.pick(words["descriptions"]).replace("{n}", self.noun)
        properties = {one.name: one.schema for one in self._parameters}
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if required := [one.name for one in self._parameters if one.required]:
            parameters["required"] = required
        return {"type": "function", "function": {"name": name, "description": described, "parameters": parameters}}

    def _drawn_parameters(self) -> list[Parameter]:
        drawn: dict[str, Parameter] = {}
        taken: set[str] = set()
        for _ in range(self._draw.pick([0, 1, 1, 1, 2, 2, 2, 3, 3, 4])):
            one, group = self._parameter()
            if one.name not in drawn and group not in taken:
                drawn[one.name] = one
                taken.add(group)
        return list(drawn.values())

    def _parameter(self) -> tuple[Parameter, str]:
        """A parameter, and the name of what it means: a tool has each meaning once."""
        draw, required = self._draw, self._draw.chance(0.6)
        sort = draw.pick(["concept"] * 7 + ["choice"] * 2 + ["switch", "free"])
        if sort == "concept":
            concept = draw.pick(DOMAINS["concepts"])
            kind = concept["kind"]
            drawn = Parameter(
                draw.pick(concept["names"]), schema_of(kind), required, concept["phrases"], concept["ask"], self._drawer(kind)
            )
            return drawn, concept["phrases"][0].split("{v}")[0] + kind
        if sort == "choice":
            choice = draw.pick(DOMAINS["choices"])
            options = draw.some(list(choice["values"]), draw.between(2, len(choice["values"])))
            schema = {"type": "string", "enum": options}
            value = self._option(options, choice["values"])
            return Parameter(draw.pick(choice["names"]), schema, required, choice["phrases"], "", value), choice["names"][0]
        if sort == "switch":
            switch, on = draw.pick(DOMAINS["switches"]), draw.chance(0.6)
            phrases = switch["true" if on else "false"]
            name = draw.pick(switch["names"])
            return Parameter(name, {"type": "boolean"}, required, phrases, "", lambda _: Value(on, "")), phrases[0]
        return self._free(required)

    def _free(self, required: bool) -> tuple[Parameter, str]:
        """A parameter that is called by any word, and mentioned by its name."""
        draw = self._draw
        kind = draw.pick(["word", "topic", "int", "float", "id_code", "small_int"])
        word = draw.pick([self._values.words.made_up(), draw.pick(self._values.words.nouns), draw.pick(self._values.words.nouns)])
        phrases = [text.format(word) for text in _FREE_PHRASES]
        return Parameter(word, schema_of(kind), required, phrases, f"What is the {word}?", self._drawer(kind)), word

    def _drawer(self, kind: str) -> Callable[[Around], Value]:
        return lambda around: self._values.draw(kind, around)

    def _option(self, options: list[str], said: dict[str, str]) -> Callable[[Around], Value]:
        def draw(_: Around) -> Value:
            option = self._draw.pick(options)
            return Value(option, said[option])

        return draw

    # what is said

    def _asked(self, mentioned: list[Parameter]) -> Asked:
        draw = self._draw
        asked = draw.pick(self._words["questions"]).replace("{n}", self.noun)
        order = draw.some(mentioned, len(mentioned))
        first = order[:1] if len(order) > 1 and draw.chance(0.12) else []
        joint = draw.pick([" ", " ", " ", ", ", " and "])
        slots = {f"v{place}": one for place, one in enumerate(order)}
        told = [draw.pick(one.phrases).replace("{v}", f"{{v{place}}}") for place, one in enumerate(order)]
        text = f"{told[0]}, {asked} {joint.join(told[1:])}" if first else f"{asked} {joint.join(told)}"
        text = as_typed(draw, text.strip().replace(" : ", ": "))
        said, place, arguments, spoken = "", 0, {}, {}
        for slot in re.finditer(r"\{(v\d)\}", text):
            said += text[place : slot.start()]
            place, one = slot.end(), slots[slot[1]]
            value = one.draw(Around(said, text[place:]))
            said += value.said
            arguments[one.name], spoken[one.name] = value.json, value.said
        for one in order:  # a switch is said by its phrase
            if one.name not in arguments:
                arguments[one.name] = one.draw(Around()).json
        ordered = {one.name: arguments[one.name] for one in self._parameters if one.name in arguments}
        return Asked(tidied(said + text[place:]), ordered, spoken)


def same_meaning(verb: str, other: str) -> bool:
    """Whether a request with one verb could be meant for the other."""
    return verb == other or any({verb, other} <= group for group in _ALIKE_VERBS)
