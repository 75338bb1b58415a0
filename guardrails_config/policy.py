"""What the offline rails look for: plain functions on text and calls, without any library of rails.

Patterns for attempts to overrule the assistant, for access keys and for personal numbers; a check of a tool call against the
tools offered. They catch the plain forms in English, fast and without a network. They understand nothing: wordings that they do
not know pass. Knows nothing of turns, models or people.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

Stage = Literal["input", "tool_result", "output"]

MAX_ARGUMENT_CHARACTERS = 8_000
"""Longest arguments of one call, as JSON. Question texts are shorter; what is longer was made up or is an attack."""

_DETERMINERS = r"(?:\s+(?:all|any|every|everything|of|the|your|these|those|and|its))*"

# Talk about such sentences is welcome ("how does one get a model to …"), so the verbs must be addressed to the assistant.
_ORDERS = {
    "overrules instructions": (
        r"(?:(?<!\bto )(?<!ould )|(?<=you to )|(?<=want to ))\b(?:ignore|disregard|forget|bypass|override|overrule)"
        rf"{_DETERMINERS}\s+"
        r"(?:previous|prior|above|earlier|preceding|system|safety|original|initial)\b.{0,20}?"
        r"\b(?:instruct\w*|rules?|prompts?|guidelines?|directives?|polic(?:y|ies)|restrictions?|training|checks?)\b"
    ),
    "claims a special mode": (
        r"\byou(?: are|'re|r| will be| must be)(?: now)?(?: in| acting in| operating in| running in)? (?:the )?"
        r"(?:dan|developer|debug|admin|god|jailbreak|maintenance|unrestricted)(?: mode\b|\b(?=[.,!]))"
        r"|\b(?:enter|activate|enable|switch to|go into) (?:the )?(?:dan|god|jailbreak|jailbroken|unrestricted|unfiltered) mode\b"
    ),
    "claims to do anything": (
        r"\b(?:you|who|which|that) (?:can|could|will|may) do anything now\b|\bdan\b.{0,40}\bdo anything now\b"
    ),
    "asks for the hidden instructions": (
        r"\b(?:reveal|print|repeat|output|leak|dump)\b.{0,20}\b(?:your|the|all)\b.{0,15}"
        r"\b(?:system|initial|hidden|secret|original|developer)\b.{0,10}\b(?:prompts?|instructions?|messages?)\b"
        r"|\b(?:show|tell|give)\b.{0,12}\byour\b.{0,10}\b(?:system|initial|hidden|secret|original)\b.{0,10}\b(?:prompts?|instructions?)\b"
    ),
    "asks to drop all limits": (
        r"\byou (?:have|are|will|must|should|can) (?:\w+ ){0,4}(?:no|without|free of|free from|not bound by)"
        r" (?:any |all |your )?(?:\w+ )?(?:restrictions?|rules|filters?|guidelines|censorship|ethic\w*|morals?)\b"
        r"|\b(?:respond|answer|reply|act|behave)\s+(?:\w+\s+){0,3}(?:without|with no|free of|free from)\s+(?:any |all |your )?"
        r"(?:\w+ )?(?:restrictions?|filters?|guidelines|censorship|ethic\w*|morals?)\b"
    ),
    "casts the assistant as unfiltered": (
        r"\b(?:you are|you're|act as|become|pretend to be|pretend you are|roleplay as)\b.{0,25}"
        r"\b(?:unrestricted|uncensored|unfiltered|jailbroken|amoral)\b"
    ),
    "forbids refusing": (
        r"(?:^|[.,;:!]\s*|\band |\byou (?:\w+ ){0,2})(?:never|must not|will not|won't|cannot|can't|do not|don't|may not) "
        r"(?:ever )?refuse(?: (?:any|a|my|to)\b|[.,!]|$)"
    ),
    "deleting logs": (
        r"(?<!remind me to )(?<!how to )(?<!how do i )\b(?:delete|wipe|erase|clear|purge|destroy|shred)\b(?: \w+){0,2}? "
        r"(?:system|audit|security|access|server) logs?\b"
    ),
    # Only roles: a person may ask what <|im_start|> is, but none of these words belongs into a message.
    "control tokens of a chat template": (
        r"<\|\s*(?:system|assistant|tool|tools|start_header_id|im_start\|>\s*(?:system|assistant))\b|<<sys>>|\[/?inst\]\s"
    ),
}

# A tool's result is data: nothing in it should speak to the assistant at all.
_ORDERS_IN_DATA = {
    "addresses the assistant in a comment": r"<!--.{0,300}?\b(?:assistant|ai|chatbot|language model|llm)\b.{0,300}?-->",
    "gives the assistant orders": (
        r"\b(?:assistant|chatbot|language model|llm|ai)\b[:,]?\s*"
        r"(?:must|should|shall|has to|needs? to|is required to|will now|please|now)\s+(?:\w+\s+){0,2}?"
        r"(?:call|invoke|use|run|execute|forward|send|email|post|delete|reveal|ignore|tell|reply|respond|answer|transfer|add)\b"
    ),
    "hands the assistant new instructions": (
        r"\b(?:new|updated|additional|important|real|secret) (?:system )?instructions?\b.{0,20}\b(?:for|to) (?:the |you|your)?\s*"
        r"(?:assistant|ai|model|llm|chatbot)?|(?:^|\n)\s*(?:system|assistant)\s*:\s"
    ),
    "orders a call": (
        r"\b(?:you must|you should|please|now|immediately) (?:\w+ )?(?:call|invoke|execute) (?:the )?"
        r"[`'\"]?\w+[`'\"]? (?:tool|function)\b"
    ),
}

_FLAGS = re.IGNORECASE | re.DOTALL
_PERSON_PATTERNS = {reason: re.compile(pattern, _FLAGS) for reason, pattern in _ORDERS.items()}
_DATA_PATTERNS = {reason: re.compile(pattern, _FLAGS) for reason, pattern in (_ORDERS | _ORDERS_IN_DATA).items()}

_SECRET = re.compile(
    r"\bnvapi-[\w-]{20,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[oprsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bxox[abeprs]-[\w-]{10,}"
    r"|\bhf_[A-Za-z0-9]{30,}|\bAIza[\w-]{35}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"
    r"|-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY-----(?:.*?-----END (?:[A-Z]+ ){0,2}PRIVATE KEY-----)?",
    re.DOTALL,
)
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
# Only the lengths and first digits that cards have: a calculator's long results must not look like one.
_CARD = re.compile(
    r"(?<![\d.,])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d)(?:[ -]?\d{4}){3}|3[47]\d\d[ -]?\d{6}[ -]?\d{5})(?![.,]?\d)"
)

_QUOTE = re.compile(
    r"\b(?:phrases?|sentences?|words?|wording|prompts?|messages?|texts?|strings?|lines?|expressions?|means?|meaning|translate|spell|called|"
    r"like|as|does|is|says?|say|said|reading|with|titled|attacks?)\b[ :,]{0,3}"
    r"(?:\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|‘[^’\n]{1,200}’|(?<!\w)'[^'\n]{1,200}'(?!\w))",
    re.IGNORECASE,
)
_LEET = str.maketrans("013457@$!", "oieastasi")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")


def text_problem(text: str, stage: Stage) -> str | None:
    """Why a text may not pass at this stage, or None.

    input: orders against the assistant, access keys; a person's own numbers and addresses are theirs to give.
    tool_result: the same orders, and whatever else speaks to the assistant.
    output: access keys, social-security and card numbers.
    """
    if stage == "output":
        return _secret_problem(text) or _number_problem(text)
    if stage == "tool_result":
        return _order("\n".join(_strings(text)), _DATA_PATTERNS)
    # A sentence that is quoted as a sentence is talked about, not said.
    return _secret_problem(text) or _order(_QUOTE.sub(" ", text), _PERSON_PATTERNS)


def call_problem(call: dict[str, Any], allowed: dict[str, Any]) -> str | None:
    """Why a proposed call may not run, or None. call: OpenAI shape, arguments object or JSON text; allowed: name → schema."""
    # Name, length and schema, nothing more: the tools hand arguments to SQLite as bound parameters and the pages show them as
    # text, so that DROP TABLE or <script> in a reminder are only words, and a rail against them would only annoy.
    function = call.get("function", {})
    name, arguments = function.get("name"), function.get("arguments")
    if name not in allowed:
        return f"there is no tool {str(name)[:80]!r}; there are {', '.join(sorted(allowed)) or 'none'}"
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    if len(text) > MAX_ARGUMENT_CHARACTERS:
        return f"{name}: the arguments are longer than {MAX_ARGUMENT_CHARACTERS} characters"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return f"{name}: the arguments are not JSON"
    if not isinstance(value, dict):
        return f"{name}: the arguments are not an object"
    error = best_match(Draft202012Validator(allowed[name]).iter_errors(value))
    if error is None:
        return None
    where = "".join(f"{part}: " for part in error.absolute_path)
    return f"{name}: {where}{error.message[:200]}"


def without_secrets(text: str) -> str:
    """The text with every access key replaced: what may be stored of a message that the input rail will refuse."""
    return _SECRET.sub("[access key removed]", text)


def _strings(text: str) -> Iterator[str]:
    """Every text inside a JSON text, keys too, without JSON's escapes; or the text itself where it is no JSON."""
    try:
        pending = [json.loads(text)]
    except (ValueError, RecursionError):
        pending = [text]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += [*value.values(), *value.keys()]
        elif isinstance(value, list):
            pending += value


def _secret_problem(text: str) -> str | None:
    return "secret: access key" if _SECRET.search(text) else None


def _number_problem(text: str) -> str | None:
    if _SSN.search(text):
        return "personal data: social security number"
    if any(_luhn(match[0]) for match in _CARD.finditer(text)):
        return "personal data: card number"
    return None


def _luhn(number: str) -> bool:
    digits = [int(letter) for letter in number if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _order(text: str, patterns: dict[str, re.Pattern[str]]) -> str | None:
    """The first kind of order found in the text: past invisible letters, line breaks and digits that stand for letters."""
    plain = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("’", "'")
    spaced = re.sub(r"[ \t\r\n]+", " ", plain)
    for reason, pattern in patterns.items():
        if pattern.search(plain) or pattern.search(spaced) or pattern.search(spaced.translate(_LEET)):
            return f"prompt injection: {reason}" if reason != "deleting logs" else reason
    return None
