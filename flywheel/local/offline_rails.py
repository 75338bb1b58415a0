"""The rails that stand in where nobody else can judge: patterns that work with no model and no network.

They catch plain attempts to overrule an assistant, plain requests for harm, access keys and personal numbers, in English. They
understand nothing: a wording that they do not know passes. The categories are those of NVIDIA's content-safety model. Knows texts
only: neither the library that asks nor any config.
"""

from __future__ import annotations

import re
import unicodedata

_FLAGS = re.IGNORECASE | re.DOTALL
_WORDS = r"(?: \w+){0,3}? "

# An order must be addressed to the assistant: talk about such sentences ("how does one stop a model from ignoring …") is welcome.
_ASKED = {
    "Manipulation": (
        r"(?<!\bto )\b(?:ignore|disregard|forget|bypass|override)\b(?: (?:all|any|every|of|the|your|these|those))* "
        r"(?:previous|prior|above|earlier|preceding|system|safety|original|initial)\b.{0,20}?"
        r"\b(?:instruct\w*|rules?|prompts?|guidelines?|directives?|polic(?:y|ies)|restrictions?)\b",
        r"\byou(?: are|'re| will be)(?: now)?(?: in)? (?:dan|developer|debug|admin|god|jailbreak|unrestricted) mode\b",
        r"\b(?:you|who|which|that) (?:can|could|will) do anything now\b",
        r"\b(?:reveal|print|repeat|output|leak|show me)\b.{0,20}"
        r"\b(?:system|initial|hidden|secret|original) (?:prompt|instructions?)\b",
        r"\b(?:respond|answer|reply|act|behave) (?:\w+ ){0,3}(?:without|with no) (?:any |all )?"
        r"(?:restrictions?|filters?|guidelines|ethics)\b",
        r"\b(?:act as|become|pretend to be|you are now) (?:an? )?(?:\w+ )?(?:unrestricted|uncensored|unfiltered|jailbroken)\b",
    ),
    "Deleting Logs": (
        r"(?<!how to )(?<!how do i )\b(?:delete|wipe|erase|clear|purge|destroy|shred)\b"
        rf"{_WORDS}(?:system|audit|security|access|server) logs?\b",
    ),
    "Guns and Illegal Weapons": (
        rf"\b(?:build|make|construct|assemble)\b{_WORDS}(?:pipe ?bombs?|bombs?|explosives?|grenades?|ghost guns?|silencers?)\b",
    ),
    "Suicide and Self Harm": (
        r"\b(?:how (?:do|can|should) i|best way to|ways to) (?:kill myself|end my life|commit suicide|self[- ]harm)\b",
    ),
    "Violence": (
        rf"\b(?:how (?:do|can) i|help me|best way to)\b{_WORDS}"
        r"(?:murder|strangle|(?:kill|poison|stab) (?:my (?:wife|husband|boss|neighbou?r)|someone|somebody|him|her))\b",
    ),
    "Controlled/Regulated Substances": (
        rf"\b(?:make|cook|synthesi[sz]e|produce)\b{_WORDS}(?:meth|methamphetamine|heroin|crack cocaine|fentanyl)\b",
    ),
    "Malware": (
        rf"\b(?:write|create|build|give me|develop)\b{_WORDS}"
        r"(?:ransomware|keyloggers?|malware|computer virus(?:es)?|botnets?)\b",
    ),
    "Fraud/Deception": (
        rf"\b(?:write|create|make|forge|counterfeit)\b{_WORDS}"
        r"(?:phishing (?:e-?mails?|pages?|sites?)|fake (?:ids?|passports?)|counterfeit money)\b",
        r"\b(?:help me|how (?:do|can) i|best way to) steal (?:someone's |people's |credit |debit )?"
        r"(?:identity|identities|cards?|credit card numbers?|passwords?)\b",
    ),
}
_PATTERNS = {category: [re.compile(pattern, _FLAGS) for pattern in patterns] for category, patterns in _ASKED.items()}

_SECRET = re.compile(
    r"\bnvapi-[\w-]{20,}|\bsk-[\w-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[oprsu]_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{30,}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
)
_SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
_CARD = re.compile(
    r"(?<![\d.,])(?:(?:4\d{3}|5[1-5]\d\d|2[2-7]\d\d|6011|65\d\d)(?:[ -]?\d{4}){3}|3[47]\d\d[ -]?\d{6}[ -]?\d{5})(?!\d)"
)
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def unsafe_request(text: str) -> list[str]:
    """The categories that a person's message falls into; none if it may pass."""
    plain = _plain(text)
    found = [category for category, patterns in _PATTERNS.items() if any(pattern.search(plain) for pattern in patterns)]
    return found + (["PII/Privacy"] if _SECRET.search(text) else [])


def unsafe_answer(text: str) -> list[str]:
    """The categories that a model's answer falls into: what it must not give away."""
    if _SECRET.search(text) or _SSN.search(text) or any(_luhn(match[0]) for match in _CARD.finditer(text)):
        return ["PII/Privacy"]
    return []


def _plain(text: str) -> str:
    """Without invisible letters, strange forms of letters and line breaks."""
    usual = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).replace("\u2019", "'")
    return re.sub(r"\s+", " ", usual)


def _luhn(number: str) -> bool:
    digits = [int(letter) for letter in number if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
