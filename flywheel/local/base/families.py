"""The phrase bank and the tools drawn from it: how people ask for some nine hundred things that tools do.

`phrases/*.json` hold arrays of tool *families*. A family is one thing a tool can do, with many names, many descriptions and many
natural ways to ask:

    family        its name, once in all files
    names         at least five names for the tool; no query uses one as a name
    descriptions  at least four
    params        key -> {"names": [...], "kind": ..., "required": true, "descriptions": [...]}; kind is one of values.py's,
                  `enum` (with "values": {value: [ways to say it]}) or `bool` (with "true": [ways to say it], "false": [...])
    queries       requests with {key} slots, every required one among them. The words around a slot belong to the query
                  ("in {place}"), but dates and times bring their preposition along, and enums and bools say what is listed.
                  [query, {key: value}] is a request that implies a value without naming it
    followups     short requests that refer back to one before and change the slots they name
    missing       {"query": ..., "ask": ...}: a request without a required value, and the question back
    results       {"json": {...}, "say": [...]}: what the tool gives, with <kind> for values, and sentences with slots from it or
                  from the call

In shipped.json a family has a `tool` in place of names and descriptions: the very schema that the chat ships. alike.json lists
families that may not be offered side by side, since a request could mean either. Knows nothing of turns, toolsets and training.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.local.base.chat_values import ChatValues
from flywheel.local.base.draw import Draw
from flywheel.local.base.surface import as_typed
from flywheel.local.base.values import Around, Value, schema_of

FOLDER = Path(__file__).parent / "phrases"
SHIPPED = "chat_"  # begins the name of every family whose tool is the chat's own
_SLOT = re.compile(r"\{(\w+)\}")

Family = dict[str, Any]
Schema = dict[str, Any]


class Asked(NamedTuple):
    """A request, the arguments of the call that answers it, and how each value was said."""

    text: str
    arguments: dict[str, Any]
    said: dict[str, str]


@cache
def bank() -> dict[str, Family]:
    """Every family by its name, in a fixed order."""
    paths = [path for path in sorted(FOLDER.glob("*.json")) if path.name != "alike.json"]
    return {family["family"]: family for path in paths for family in json.loads(path.read_text(encoding="utf-8"))}


@cache
def alike() -> dict[str, frozenset[str]]:
    """For a family, those that a request for it could mean as well."""
    groups = [set(group.split()) for group in json.loads((FOLDER / "alike.json").read_text(encoding="utf-8"))]
    return {name: frozenset(set().union(*(group for group in groups if name in group)) - {name}) for name in bank()}


def held_out(name: str) -> bool:
    """Whether a family is kept for testing: about one in eight, by a hash of its name; the chat's own tools never are."""
    return not name.startswith(SHIPPED) and hashlib.sha256(name.encode()).digest()[-1] % 8 == 0


def siblings(name: str) -> list[str]:
    """Families that do something else to the same thing: reminder_create, reminder_list."""
    stem = name.split("_")[0]
    return [other for other in bank() if other != name and other.split("_")[0] == stem and stem != "chat"]


class FamilyTool:
    """A tool drawn from a family, and requests to it."""

    def __init__(self, name: str, draw: Draw, values: ChatValues) -> None:
        self.key = name
        self.family = bank()[name]
        self._draw = draw
        self._values = values
        self._params: dict[str, dict[str, Any]] = self.family["params"]
        self._name_of = {key: key for key in self._params}
        self._form: dict[str, str] = {}
        self.schema: Schema = self.family["tool"] if "tool" in self.family else self._drawn_schema(kept=0.6)
        self._queries = self._usable()
        if not self._queries:  # every request needs an optional parameter that was left out
            self._params = self.family["params"]
            self.schema = self._drawn_schema(kept=1.0)
            self._queries = self._usable()

    @property
    def name(self) -> str:
        """What the tool is called in a call."""
        return str(self.schema["function"]["name"])

    def ask(self) -> Asked:
        """A request and its arguments."""
        return self._asked(self._draw.pick(self._queries))

    def ask_as(self, way: str | list[Any]) -> Asked | None:
        """The same in one of the family's ways to ask; None where it names a parameter that this tool was drawn without."""
        return self._asked(way) if way in self._queries else None

    def _asked(self, way: str | list[Any]) -> Asked:
        text, implied = (way, {}) if isinstance(way, str) else (way[0], way[1])
        return self._filled(as_typed(self._draw, text), implied)

    def follow_up(self, before: Asked) -> Asked | None:
        """A request that refers back to the one before; its call repeats the arguments that it does not change."""
        fitting = [text for text in self.family["followups"] if _SLOT.search(text) and self._fits(text, complete=False)]
        if not fitting:
            return None
        asked = self._filled(as_typed(self._draw, self._draw.pick(fitting)), {})
        return Asked(asked.text, self._ordered(before.arguments | asked.arguments), before.said | asked.said)

    def incomplete(self) -> tuple[str, str] | None:
        """A request without a required value, and the question that asks for it."""
        fitting = [case for case in self.family["missing"] if self._fits(case["query"], complete=False)]
        if not fitting:
            return None
        case = self._draw.pick(fitting)
        asked = self._filled(as_typed(self._draw, case["query"]), {})
        if not set(_SLOT.findall(case["ask"])) <= set(asked.said):
            return None
        return asked.text, _SLOT.sub(lambda slot: asked.said[slot[1]], case["ask"])

    def result(self, asked: Asked) -> tuple[str, str] | None:
        """What the tool might give for this request, as compact JSON, and a sentence that tells it."""
        case = self._draw.pick(self.family["results"])
        given = self._result_value(case["json"])
        known = {key: _told(value) for key, value in given.items() if not isinstance(value, list | dict)}
        known |= {key: said for key, said in asked.said.items() if key not in known}
        sayings = [text for text in case["say"] if set(_SLOT.findall(text)) <= set(known)]
        if not sayings:
            return None
        sentence = _SLOT.sub(lambda slot: known[slot[1]], self._draw.pick(sayings))
        return json.dumps(given, ensure_ascii=False, separators=(",", ":")), sentence[:1].upper() + sentence[1:]

    # the tool

    def _drawn_schema(self, kept: float) -> Schema:
        """The tool under one of its names, with an optional parameter at this probability."""
        draw = self._draw
        style = draw.pick(["", "", "", "snake", "camel", "dotted", "kebab"])
        keys = [key for key, param in self._params.items() if param["required"] or draw.chance(kept)]
        if draw.chance(0.4):
            keys = draw.some(keys, len(keys))
        params = {key: self._params[key] for key in keys}
        properties: dict[str, Any] = {}
        for key in keys:
            name = restyled(draw.pick(params[key]["names"]), "camel" if style == "camel" else "")
            if name in properties:
                name = key
            self._name_of[key] = name
            properties[name] = self._property(key, params[key])
        self._params = params
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if required := [self._name_of[key] for key in keys if params[key]["required"]]:
            parameters["required"] = required
        described = "" if draw.chance(0.08) else draw.pick(self.family["descriptions"])
        function = {"name": restyled(draw.pick(self.family["names"]), style), "description": described, "parameters": parameters}
        return {"type": "function", "function": function}

    def _property(self, key: str, param: dict[str, Any]) -> Schema:
        kind = param["kind"]
        described = {"description": self._draw.pick(param["descriptions"])}
        if kind == "bool":
            return {"type": "boolean"} | described
        if kind == "enum":
            options = list(param["values"])
            if self._draw.chance(0.3):
                options = self._draw.some(options, len(options))
            return {"type": "string", "enum": options} | described
        if kind == "date" and self._draw.chance(0.2):
            self._form[key] = "date"
            return {"type": "string", "format": "date"} | described
        return schema_of(kind) | described

    # what is said

    def _usable(self) -> list[str | list[Any]]:
        queries: list[str | list[Any]] = self.family["queries"]
        return [query for query in queries if self._fits(query if isinstance(query, str) else query[0])]

    def _fits(self, text: str, *, complete: bool = True) -> bool:
        """Whether the tool has every slot of the text and, unless it may be incomplete, the text every required one."""
        slots = set(_SLOT.findall(text))
        needed = {key for key, param in self._params.items() if param.get("required")} if complete else set()
        return needed <= slots <= set(self._params)

    def _filled(self, text: str, implied: dict[str, Any]) -> Asked:
        self._values.begin()
        drawn: dict[str, Value] = {}
        said, place = "", 0
        has_currency = any(self._params[slot]["kind"] == "currency" for slot in _SLOT.findall(text))
        for slot in _SLOT.finditer(text):
            said += text[place : slot.start()]
            place, key = slot.end(), slot[1]
            if key not in drawn:
                drawn[key] = self._value(key, Around(said, text[place:], has_currency))
            said += drawn[key].said
        said = tidied(said + text[place:])
        arguments = {self._name_of[key]: value.json for key, value in drawn.items()} | implied
        return Asked(said, self._ordered(arguments), {key: value.said for key, value in drawn.items()})

    def _value(self, key: str, around: Around) -> Value:
        param = self._params[key]
        if param["kind"] == "enum":
            option = self._draw.pick(list(param["values"]))
            return Value(option, str(self._draw.pick(param["values"][option])))
        if param["kind"] == "bool":
            answer = bool(param["true"]) if not param["false"] else self._draw.chance(0.6)
            return Value(answer, self._draw.pick(param["true" if answer else "false"]))
        return self._values.draw(param["kind"], around, self._form.get(key, ""))

    def _ordered(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {name: arguments[name] for name in self.schema["function"]["parameters"]["properties"] if name in arguments}

    def _result_value(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {key: self._result_value(value) for key, value in template.items()}
        if isinstance(template, list):
            return [self._result_value(value) for value in template]
        if isinstance(template, str) and (kind := re.fullmatch(r"<(\w+)>", template)):
            return self._values.draw(kind[1], Around("is ")).json
        return template


def tidied(text: str) -> str:
    """Single spaces, and none before a full stop or a comma."""
    return re.sub(r"\s+([,.?!])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,")


def restyled(name: str, style: str) -> str:
    """A name in snake_case, camelCase, kebab-case or with a dot after its first word; as it is for any other style."""
    words: list[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    if not words or style not in ("snake", "camel", "kebab", "dotted"):
        return name
    low = [word.lower() for word in words]
    if style == "camel":
        return low[0] + "".join(word.capitalize() for word in low[1:])
    if style == "dotted" and len(low) > 1:
        return f"{low[0]}.{'_'.join(low[1:])}"
    return ("-" if style == "kebab" else "_").join(low)


def _told(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
