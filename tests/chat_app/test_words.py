"""The page's words in both languages: none is missing, none has drifted from what says it, and each person gets theirs."""

from __future__ import annotations

import ast
import re
import string
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chat_app.ui.english import EN
from chat_app.ui.spanish import ES, REASONS, TITLES
from chat_app.ui.words import ENGLISH, SENTENCES, Words, spoken_by
from flywheel.store import CATEGORIES
from tools import TOOLS

ROOT = Path(__file__).parents[2]
SPANISH = Words("es")
SAYING = ("chat_app/model.py", "chat_app/progress.py", "chat_app/turn.py", "flywheel/store.py", "flywheel/conversations.py")
SIGNING_IN = ("flywheel/people.py", "flywheel/sessions.py", "chat_app/sign_in.py")


def places(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def texts(path: str, inside: type[ast.AST] = ast.Module) -> set[str]:
    """Every text in a module, or in its statements of a kind, with {} for each value that is put into it."""
    module = ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
    nodes = [node for outer in module if isinstance(outer, inside) for node in ast.walk(outer)]
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in joined for part in node.values}
    found = {"".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values) for node in joined}
    whole = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts]
    return found | {text for text in whole if isinstance(text, str)}


def request(accepted: str, **cookies: str) -> Any:
    return SimpleNamespace(headers={"accept-language": accepted}, cookies=cookies)


def test_both_languages_say_the_same_things() -> None:
    assert EN.keys() == ES.keys() and len(EN) > 40
    assert [key for key in EN if places(EN[key]) != places(ES[key])] == []
    assert TITLES.keys() == TOOLS.keys() and REASONS.keys() == CATEGORIES.keys()
    assert [english for english, spanish in SENTENCES.items() if not {*places(spanish)} <= {*places(english)}] == []


def test_every_sentence_is_one_that_is_said() -> None:
    said = set().union(
        *(
            texts(path)
            for path in (
                *SAYING,
                *SIGNING_IN,
                "guardrails_config/policy.py",
                "chat_app/guard.py",
                "chat_app/doorkeeper.py",
                "chat_app/oidc.py",
            )
        )
    )
    assert [sentence for sentence in SENTENCES if re.sub(r"\{\w+\}", "{}", sentence) not in said] == []


def test_every_error_of_the_model_server_and_every_refusal_has_its_spanish() -> None:
    opening = re.compile("The model server|The connection|The served|The safety|Your message|I cannot")
    said = {text for path in SAYING[:2] for text in texts(path) if opening.match(text) and "failed: " not in text}
    assert len(said) > 12
    assert [text for text in said if SPANISH.sentence(text.replace("{}", "7")) == text.replace("{}", "7")] == []


def test_what_signing_in_refuses_has_its_spanish() -> None:
    for_operators = re.compile("unknown role|there is no person")
    said = {
        text
        for path in SIGNING_IN
        for text in texts(path, ast.Raise)
        if " " in text.strip(", ") and not for_operators.match(text)
    }
    assert len(said) > 7
    assert [text for text in said if SPANISH.sentence(text.replace("{}", "7")) == text.replace("{}", "7")] == []


def test_every_word_is_there_and_used() -> None:
    """By its name, or by the beginning of it that a role or a page completes."""
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("chat_app/**/*.py"))
    asked = set(re.findall(r'\b(?:words|STATIC)\(f?["\']([a-z_]+)["\'{,)]', code))
    whole, begun = {key for key in asked if not key.endswith("_")}, tuple(key for key in asked if key.endswith("_"))
    assert whole - EN.keys() == set() and sorted(begun) == ["is_", "may_not_", "page_"]
    assert [key for key in EN if f'"{key}"' not in code and not key.startswith(begun)] == []


def test_sentences_inside_sentences() -> None:
    blocked = "I cannot help with this message (prompt injection: role play). Please ask in other words."
    assert SPANISH.sentence(blocked).startswith("No puedo ayudar con este mensaje (órdenes contra el asistente: role play).")
    broken = "The first sentence.\n\nThe model server is busy. Ask again in a moment."
    assert SPANISH.sentence(broken).startswith("The first sentence.\n\nEl servidor")
    assert SPANISH.sentence("It is {36} degrees.") == "It is {36} degrees." and ENGLISH.sentence(blocked) == blocked


def test_a_live_correction_is_told_in_both_languages() -> None:
    moment = datetime.now(UTC).isoformat()
    said = [words("live", day=words.day(moment), question="{q}") for words in (ENGLISH, SPANISH)]
    assert said == ["Your correction from today is live: “{q}”", "Tu corrección de hoy ya está en uso: «{q}»"]


@pytest.mark.parametrize(
    ("accepted", "cookies", "language"),
    [
        ("es-MX,es;q=0.9,en;q=0.8", {}, "es"),
        ("de-DE,de;q=0.9,es;q=0.5", {}, "es"),
        ("en-GB,es;q=0.9", {}, "en"),
        ("en-GB", {"language": "es"}, "es"),
        ("es", {"language": "en"}, "en"),
        ("es", {"language": "<b>"}, "es"),
        ("fr", {}, "en"),
        ("", {}, "en"),
    ],
)
def test_whose_language(accepted: str, cookies: dict[str, str], language: str) -> None:
    assert spoken_by(request(accepted, **cookies)).language == language
