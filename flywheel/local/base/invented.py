"""Invented tools and questions to them: the kind of rows that the small base model was trained on, its old skills.

A toolset has two to six tools with compact schemas; its turns are independent conversations: a call, a decline where no tool
fits, small talk, or a tool's result put into a sentence. Words come from vocabulary.json. Knows no models and no files of rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from flywheel.local.base.draw import Draw

Kind = Literal["call", "decline", "talk", "result"]
Message = dict[str, Any]

VOCABULARY: dict[str, Any] = json.loads(Path(__file__).with_name("vocabulary.json").read_text(encoding="utf-8"))


class Value(NamedTuple):
    """A value as a call carries it and as a person says it."""

    json: Any
    said: str


class Parameter(NamedTuple):
    """A parameter, how it is spoken of, and where its values come from."""

    name: str
    schema: dict[str, Any]
    required: bool
    phrases: list[str]
    value: Callable[[], Value]


class Tool(NamedTuple):
    """An invented tool: what it is called, what it does (verb) to what (noun)."""

    name: str
    description: str
    verb: str
    noun: str
    parameters: list[Parameter]

    def schema(self) -> dict[str, Any]:
        """The tool in OpenAI shape."""
        parameters: dict[str, Any] = {"type": "object", "properties": {p.name: p.schema for p in self.parameters}}
        if required := [p.name for p in self.parameters if p.required]:
            parameters["required"] = required
        return {"type": "function", "function": {"name": self.name, "description": self.description, "parameters": parameters}}


class Inventor:
    """Draws toolsets and turns from one seed."""

    def __init__(self, seed: int) -> None:
        self._draw = Draw(seed)
        self._values = Values(self._draw)

    def toolset(self, taken: set[str]) -> list[Tool]:
        """Two to six tools with names that are not taken, nor alike; at times two do different things to the same noun."""
        tools: list[Tool] = []
        size = self._draw.pick([2, 2, 3, 3, 4, 4, 5, 6])
        while len(tools) < size:
            like = tools[0] if len(tools) == 1 and self._draw.chance(0.3) else None
            tool = self._tool(like)
            names = {other.name.lower() for other in tools}
            pairs = {(other.verb, other.noun) for other in tools}
            if tool.name not in taken and tool.name.lower() not in names and (tool.verb, tool.noun) not in pairs:
                tools.append(tool)
        return self._draw.some(tools, size)

    def turn(self, tools: list[Tool], kind: Kind) -> list[Message]:
        """One conversation of this kind over the tools, ending in the assistant's message to learn."""
        if kind == "talk":
            topic = self._draw.pick(VOCABULARY["talk"])
            said, answer = self._draw.pick(topic["said"]), self._draw.pick(topic["answers"])
            said = said[0].upper() + said[1:] if self._draw.chance(0.5) else said
            return [_user(said + self._draw.pick(["", "", "?", "!", "."])), _assistant(answer)]
        if kind == "decline":
            other = self._tool()
            while other.noun in {tool.noun for tool in tools}:
                other = self._tool()
            return [_user(self._question(other)[0]), _assistant(self._draw.pick(VOCABULARY["declines"]))]
        tool = self._draw.pick(tools)
        question, arguments = self._question(tool)
        call = _assistant("", tool.name, arguments)
        if kind == "call":
            return [_user(question), call]
        result, sentence = self._result()
        return [_user(question), call, {"role": "tool", "content": result}, _assistant(sentence)]

    def _tool(self, like: Tool | None = None) -> Tool:
        domain = self._draw.pick(VOCABULARY["domains"])
        noun = like.noun if like else self._draw.pick(domain["nouns"])
        verb = self._draw.pick([verb for verb in VOCABULARY["verbs"] if not like or verb != like.verb])
        words = VOCABULARY["verbs"][verb]
        named = self._styled([self._draw.pick(words["names"]), *noun.split()], self._draw.pick([0, 0, 0, 1, 2, 3]))
        described = "" if self._draw.chance(0.1) else self._draw.pick(words["descriptions"]).format(n=noun)
        parameters: dict[str, Parameter] = {}
        for _ in range(self._draw.pick([0, 1, 1, 1, 2, 2, 2, 3])):
            parameter = self._parameter(domain["concepts"])
            if not any(parameter.phrases == other.phrases for other in parameters.values()):
                parameters.setdefault(parameter.name, parameter)
        return Tool(named, described, verb, noun, list(parameters.values()))

    def _parameter(self, concepts: list[str]) -> Parameter:
        draw, required = self._draw, self._draw.chance(0.65)
        kind = draw.pick(["concept"] * 5 + ["free"] * 2 + ["choice"] * 2 + ["switch"])
        if kind == "concept":
            concept = VOCABULARY["concepts"][draw.pick(concepts)]
            source, kind = concept["value"], concept["type"]
            if source == "date" and draw.chance(0.5):
                source, kind = "day", "string"  # said in words and kept in words: to JSON Schema that is no date
            value = self._values.drawer(source)
            return Parameter(draw.pick(concept["names"]), _schema(kind), required, concept["phrases"], value)
        if kind == "choice":
            choice = draw.pick(VOCABULARY["choices"])
            options = draw.some(choice["values"], len(choice["values"]))
            schema = {"type": "string", "enum": options}
            return Parameter(draw.pick(choice["names"]), schema, required, choice["phrases"], lambda: _option(draw.pick(options)))
        if kind == "switch":
            thing, on = draw.pick(VOCABULARY["switches"]), draw.chance(0.6)
            phrases = [f"with {thing}", f"including {thing}"] if on else [f"without {thing}", f"no {thing}"]
            name = draw.pick(["{}", "include_{}", "with_{}"]).format(thing)
            return Parameter(name, {"type": "boolean"}, required, phrases, lambda: Value(on, ""))
        source = draw.pick(["word", "phrase", "int", "num", "id"])
        words = [self._values.word() for _ in range(draw.pick([1, 1, 2]))]
        phrases = [phrase.replace("{n}", " ".join(words)) for phrase in VOCABULARY["free_phrases"]]
        schema = _schema({"int": "integer", "num": "number"}.get(source, "string"))
        return Parameter(self._styled(words, draw.pick([0, 0, 1])), schema, required, phrases, self._values.drawer(source))

    def _question(self, tool: Tool) -> tuple[str, dict[str, Any]]:
        """A question to the tool and the arguments that it gives; an optional one is left out half the time."""
        draw = self._draw
        asked = draw.pick(VOCABULARY["verbs"][tool.verb]["questions"]).format(n=tool.noun)
        arguments, phrases = {}, []
        for parameter in tool.parameters:
            if parameter.required or draw.chance(0.5):
                value, phrase = parameter.value(), draw.pick(parameter.phrases)
                said = json.dumps(value.json) if "$" in phrase else value.said
                arguments[parameter.name] = value.json
                phrases.append(phrase.format(v=said))
        joint = draw.pick([" ", " ", ", ", " and "])
        details = joint.join(draw.some(phrases, len(phrases)))
        opening, closing = draw.pick(VOCABULARY["openings"]), draw.pick(VOCABULARY["closings"])
        text = f"{opening}{asked} {details}".strip().replace(" : ", ": ") + closing
        return (text[0].upper() + text[1:] if draw.chance(0.45) else text), arguments

    def _result(self) -> tuple[str, str]:
        """A tool's result as JSON text and the sentence that reports it."""
        draw = self._draw
        if draw.chance(0.15):
            error = draw.pick(VOCABULARY["errors"])
            return _compact({"error": error}), f"Sorry, that did not work: {error}."
        if draw.chance(0.25):
            found = [self._values.draw(draw.pick(["word", "person", "city", "company"])).json for _ in range(draw.between(1, 4))]
            if len(found) == 1:
                return _compact({"results": found}), f"I found 1 result: {found[0]}."
            return _compact({"results": found}), f"I found {len(found)} results: {', '.join(found[:-1])} and {found[-1]}."
        kinds: dict[str, str] = VOCABULARY["result_kinds"]
        result = {key: self._values.draw(kinds[key]).json for key in draw.some(list(kinds), draw.pick([1, 2, 2, 3]))}
        told = [f"the {key} is {value}" for key, value in result.items()]
        sentence = f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]
        sentence = sentence[0].upper() + sentence[1:] + "."
        if draw.chance(0.3):
            return _compact({"status": "ok"} | result), f"Done. {sentence}"
        return _compact(result), sentence

    @staticmethod
    def _styled(words: list[str], style: int) -> str:
        """A name out of words: snake_case, camelCase, kebab-case or dotted."""
        if style == 1:
            return words[0] + "".join(word.capitalize() for word in words[1:])
        if style == 3 and len(words) > 1:
            return f"{words[0]}.{'_'.join(words[1:])}"
        return ("-" if style == 2 else "_").join(words)


class Values:
    """Values of every kind that a parameter may take."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def drawer(self, kind: str) -> Callable[[], Value]:
        """A function that draws values of this kind."""
        return lambda: self.draw(kind)

    def draw(self, kind: str) -> Value:
        """One value of this kind."""
        if kind in ("int", "small", "float", "num"):
            return self._number(kind)
        if kind == "date":
            return self._date()
        if kind == "time":
            return self._time()
        if kind == "quoted":
            text = self._words(1, 5)
            return Value(text, self._draw.pick(["'{}'", '"{}"']).format(text))
        written = self._text(kind)
        return Value(written.lstrip("#"), written)

    def word(self) -> str:
        """A plain English word."""
        words: list[str] = VOCABULARY["words"]
        return self._draw.pick(words)

    def _words(self, low: int, high: int) -> str:
        text = " ".join(self.word() for _ in range(self._draw.between(low, high)))
        return text.capitalize() if self._draw.chance(0.3) else text

    def _text(self, kind: str) -> str:
        pick, first, last = self._draw.pick, VOCABULARY["first_names"], VOCABULARY["last_names"]
        match kind:
            case "word" | "phrase":
                return self._words(1, 1) if kind == "word" else self._words(2, 4)
            case "city" | "country" | "lang":
                return str(pick(VOCABULARY[{"city": "cities", "country": "countries", "lang": "languages"}[kind]]))
            case "day":
                return str(pick(["today", "tomorrow", "tonight", "next week", "next month", "this weekend", *VOCABULARY["days"]]))
            case "person":
                return pick([str(pick(first)), f"{pick(first)} {pick(last)}", f"Dr {pick(last)}"])
            case "company":
                return f"{pick(last)}{pick([' Ltd', ' Inc', ' Group', ' Labs', ''])}"
            case "id":
                letters = pick(["A", "B", "INV-", "ORD-", "REF-", "TX-", "#", ""])
                return letters + self._digits(2, 5)
            case "email":
                return f"{pick(first).lower()}{pick(['.', '_'])}{pick(last).lower()}@{pick(['example.com', 'mail.org'])}"
            case "url":
                return f"{pick(['https://', 'www.', ''])}{self.word()}{pick(['.com', '.org', '.io'])}"
            case "phone":
                return pick(["555-", "07"]) + self._digits(4, 7)
        raise ValueError(f"no values of kind {kind!r}")

    def _digits(self, low: int, high: int) -> str:
        return "".join(self._draw.pick("0123456789") for _ in range(self._draw.between(low, high)))

    def _number(self, kind: str) -> Value:
        if kind == "float" or (kind == "num" and self._draw.chance(0.5)):
            real = self._draw.real(0.1, 200, self._draw.pick([1, 2]))
            return Value(real, json.dumps(real))
        high = 12 if kind == "small" else self._draw.pick([20, 20, 999, 99999])
        number = self._draw.between(1, high)
        spoken = number <= 20 and self._draw.chance(0.3)
        return Value(number, VOCABULARY["number_words"][number] if spoken else str(number))

    def _date(self) -> Value:
        year, month, day_of_month = self._draw.between(2020, 2030), self._draw.between(1, 12), self._draw.between(1, 28)
        iso, name = f"{year}-{month:02d}-{day_of_month:02d}", VOCABULARY["months"][month - 1]
        return Value(iso, self._draw.pick([iso, f"{name} {day_of_month} {year}", f"{day_of_month} {name} {year}"]))

    def _time(self) -> Value:
        clock = f"{self._draw.between(0, 23):02d}:{self._draw.pick([0, 0, 15, 30, 45]):02d}"
        return Value(clock, clock)


def _option(name: str) -> Value:
    return Value(name, name.replace("_", " "))


def _schema(kind: str) -> dict[str, Any]:
    """The schema of a kind. A clock time is a plain string: JSON Schema's format "time" wants seconds and a time zone."""
    return {"type": "string", "format": kind} if kind == "date" else {"type": "string" if kind == "time" else kind}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str, tool: str = "", arguments: dict[str, Any] | None = None) -> Message:
    calls = [{"type": "function", "function": {"name": tool, "arguments": arguments}}] if tool else []
    return {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
