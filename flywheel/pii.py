"""Identifiers of people in what trains: found by pattern and checksum, and put into readable placeholders of the same kind.

Masked are e-mail addresses, phone numbers, IBANs, card numbers, public IP addresses and keys, in every message and in the
arguments of calls; one value has one placeholder throughout a row, so that a call still repeats what the question says. What a
tool's own schema says is the developer's and stays. Names of people, postal addresses and the like have no pattern: they are not
found. Pure.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher

from flywheel.rows import Row

KIND_WORDS = {
    "email": "e-mail addresses", "phone": "phone numbers", "iban": "IBANs", "card": "card numbers",
    "ip": "IP addresses", "key": "keys",
}  # fmt: skip
"""What is masked: kind → words for people."""


def masked_words(counts: dict[str, int]) -> str:
    """How many of each kind, in words for people."""
    return ", ".join(f"{count} {KIND_WORDS[kind]}" for kind, count in counts.items())


_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]+\.)+[^\W\d_]{2,}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\d.,-])\d(?:[ -]?\d){12,18}(?![\d-]|[.,]\d)")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_KEYS = re.compile(
    r"(?<![\w-])(?:sk-(?:[a-z]+-)?[\w-]{16,}|nvapi-[\w-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_\w{16,}"
    r"|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})(?![\w-])"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+(?:-----END [A-Z ]*PRIVATE KEY-----)?"
)
_TOLD_KEY = re.compile(
    r"(?i)\b(?:api[ _-]?key|access[ _-]?token|token|secret|password|passwd|contraseña|bearer)[\"']?"
    r"(?:\s*[:=]\s*|\s+(?:is|es)\s+|\s+)[\"']?((?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[^\s\"',;]{7,}[^\s\"',;.?!])"
)
_SPOKEN_OF = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|whatsapp|sms|fax|call|ring|dial|teléfono|móvil|llama|telefon|handy)\b"
)
_REGIONS = ("US", "GB", "ES", "DE", "FR")
"""Where a number without a country's code is looked up, if the text speaks of phoning or writes it as only a phone number is."""
_GROUPED = re.compile(r"\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}")

_OURS_EMAIL = re.compile(r"(?i)@(?:[\w-]+\.)*example(?:\.(?:com|org|net))?$")
_OURS_PHONE = re.compile(r"1?20255501\d\d")
_OURS_IBAN = re.compile(r"GB\d\dTEST\d{14}")
_OURS_CARD = "400000000"
_OURS_KEY = "example-key-"


class Masked(NamedTuple):
    """A row without identifiers, and how many different ones of each kind it held."""

    row: Row
    counts: dict[str, int]


class _Found(NamedTuple):
    start: int
    end: int
    kind: str
    value: str


def mask(row: Row) -> Masked:
    """Put every identifier in the row's messages into a placeholder; a row without any comes back as it is. Idempotent."""
    texts = [text for text in _texts(row.messages) if _may_hold(text) and _find(text)]
    if not texts:
        return Masked(row, {})
    developers = json.dumps(row.tools, ensure_ascii=False)
    masks = _Masks(texts, developers)
    if not masks.placeholders:
        return Masked(row, {})
    messages = [_masked_message(message, masks) for message in row.messages]
    return Masked(Row(messages, row.tools), dict(sorted(masks.counts.items())))


def identifiers(text: str) -> list[tuple[str, str]]:
    """(kind, as it is written) of what would be masked in a text, in order."""
    return [(found.kind, text[found.start : found.end]) for found in _find(text)] if _may_hold(text) else []


def _may_hold(text: str) -> bool:
    """Cheap: whether a text can hold an identifier at all."""
    plain = "@" in text or ":" in text or sum(map(str.isdigit, text)) >= 4
    return plain or _KEYS.search(text) is not None or _TOLD_KEY.search(text) is not None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# finding -------------------------------------------------------------------------------------------------------------


def _find(text: str) -> list[_Found]:
    """Identifiers in order, none within another; what is found first keeps its place."""
    found: list[_Found] = []
    for one in (*_keys(text), *_emails(text), *_ibans(text), *_ips(text), *_cards(text), *_phones(text)):
        if not any(one.start < other.end and other.start < one.end for other in found):
            found.append(one)
    return sorted(found)


def _keys(text: str) -> Iterator[_Found]:
    for match in _KEYS.finditer(text):
        yield _Found(*match.span(), "key", match[0])
    for match in _TOLD_KEY.finditer(text):
        if not match[1].startswith(_OURS_KEY) and "@" not in match[1]:
            yield _Found(*match.span(1), "key", match[1])


def _emails(text: str) -> Iterator[_Found]:
    for match in _EMAIL.finditer(text):
        if not _OURS_EMAIL.search(match[0]):
            yield _Found(*match.span(), "email", match[0].lower())


def _ibans(text: str) -> Iterator[_Found]:
    for match in _IBAN.finditer(text):
        plain = match[0].replace(" ", "").upper()
        # words may follow in the pattern's groups of four: the longest part with a right checksum is it
        for length in range(min(len(plain), 34), 14, -1):
            end = match.start() + _end_of(match[0], length)
            if _mod97(plain[:length]) == 1 and not text[end : end + 1].isalnum():
                if not _OURS_IBAN.fullmatch(plain[:length]):
                    yield _Found(match.start(), end, "iban", plain[:length])
                break


def _end_of(spaced: str, length: int) -> int:
    """Where the `length`th character that is no space ends."""
    places = [place for place, letter in enumerate(spaced, 1) if letter != " "]
    return places[length - 1]


def _mod97(plain: str) -> int:
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97


def _ips(text: str) -> Iterator[_Found]:
    for pattern in (_IPV4, _IPV6):
        for match in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                continue
            if address.is_global:  # addresses of documentation, of private networks and of the machine itself name nobody
                yield _Found(*match.span(), "ip", str(address))


def _cards(text: str) -> Iterator[_Found]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if digits[0] in "23456" and _luhn(digits) == 0 and not digits.startswith(_OURS_CARD) and len(set(digits)) > 1:
            yield _Found(*match.span(), "card", digits)


def _luhn(digits: str) -> int:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 if number > 9 else number for number in doubled) % 10


def _phones(text: str) -> Iterator[_Found]:
    if "+" in text or "00" in text:
        dialled = re.sub(r"(?<!\d)00(?=[1-9]\d{8})", " +", text)  # as long as before, so that places stay
        yield from (one._replace(start=one.start - (text[one.start] == "0")) for one in _phones_of(dialled, None))
    for match in _GROUPED.finditer(text):
        yield from (found._replace(start=found.start + match.start(), end=found.end + match.start())
                    for found in _phones_of(match[0], "US"))  # fmt: skip
    if _SPOKEN_OF.search(text):
        for region in _REGIONS:
            yield from _phones_of(text, region)


def _phones_of(text: str, region: str | None) -> Iterator[_Found]:
    for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
        value = phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164)
        plain = re.sub(r"\D", "", match.raw_string)
        if len(plain) >= 7 and not _OURS_PHONE.fullmatch(plain) and not _OURS_PHONE.fullmatch(value[1:]):
            yield _Found(match.start, match.end, "phone", value)


# masking -------------------------------------------------------------------------------------------------------------


class _Masks:
    """The placeholders of one row: value → what stands for it, numbered in order of appearance."""

    def __init__(self, texts: list[str], developers: str) -> None:
        self.counts: Counter[str] = Counter()
        self.placeholders: dict[tuple[str, str], Callable[[str], str]] = {}
        self._forms: dict[str, Callable[[str], str]] = {}
        taken = "\n".join(texts)
        for text in texts:
            for found in _find(text):
                written, key = text[found.start : found.end], (found.kind, found.value)
                if key in self.placeholders or written in developers:
                    continue
                number = next(n for n in range(1, 10_000) if n > self.counts[found.kind] and not _stands(found.kind, n, taken))
                self.counts[found.kind] += 1
                self.placeholders[key] = _PLACEHOLDERS[found.kind](number)
                bare = {re.sub(r"\D", "", written), re.sub(r"\D", "", found.value)}
                forms = {"phone": bare, "card": bare, "key": {written}}.get(found.kind, set())
                self._forms |= {form: self.placeholders[key] for form in forms}

    def text(self, text: str) -> str:
        """The text with placeholders; what was an identifier elsewhere in the row is one here too."""
        parts, place = [], 0
        for found in [*_find(text)] if _may_hold(text) else []:
            fill = self.placeholders.get((found.kind, found.value))
            if fill is not None:
                parts += [text[place : found.start], fill(text[found.start : found.end])]
                place = found.end
        masked = "".join([*parts, text[place:]])
        for form, fill in self._forms.items():
            masked = re.sub(rf"(?<![\w.]){re.escape(form)}(?!\w|\.\d)", lambda match, fill=fill: fill(match[0]), masked)  # type: ignore[misc]
        return masked

    def value(self, value: Any) -> Any:
        """A call's argument, and all that is in it."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int) and not isinstance(value, bool) and str(value) in self._forms:
            return int(self._forms[str(value)](str(value)))
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list) else value


def _masked_message(message: dict[str, Any], masks: _Masks) -> dict[str, Any]:
    masked = message | {"content": masks.value(message.get("content"))}
    if message.get("tool_calls"):
        masked["tool_calls"] = [
            call | {"function": call["function"] | {"arguments": masks.value(call["function"]["arguments"])}}
            for call in message["tool_calls"]
        ]
    return masked


def _stands(kind: str, number: int, text: str) -> bool:
    """Whether the placeholder is in the row already, where it may stand for something else."""
    return kind in ("email", "key") and _PLACEHOLDERS[kind](number)("") in text


def _email(number: int) -> Callable[[str], str]:
    return lambda written: f"person{number}@example.com"


def _key(number: int) -> Callable[[str], str]:
    return lambda written: f"{_OURS_KEY}{number}"


def _phone(number: int) -> Callable[[str], str]:
    """A number of the range that is reserved for fiction, with country and with gaps where the one it stands for has them."""
    last = f"01{number % 100:02d}"

    def filled(written: str) -> str:
        gaps = re.search(r"\d\D+\d", written) is not None
        if written.startswith(("+", "00")):
            return f"+1 202-555-{last}" if gaps else f"+1202555{last}"
        return f"202-555-{last}" if gaps else f"202555{last}"

    return filled


def _iban(number: int) -> Callable[[str], str]:
    """British in form, of a bank that does not exist."""
    account = f"TEST{number:014d}"
    plain = f"GB{98 - _mod97('GB00' + account):02d}{account}"
    grouped = " ".join(plain[place : place + 4] for place in range(0, len(plain), 4))
    return lambda written: grouped if " " in written else plain


def _card(number: int) -> Callable[[str], str]:
    """A number that payment services give out for tests, as long and with the gaps of the one it stands for."""

    def filled(written: str) -> str:
        length = sum(map(str.isdigit, written))
        body = f"{_OURS_CARD}{number:0{length - len(_OURS_CARD) - 1}d}"
        digits = iter(body + str(-_luhn(body + "0") % 10))
        return re.sub(r"\d", lambda match: next(digits), written)

    return filled


def _ip(number: int) -> Callable[[str], str]:
    """An address that is reserved for documentation."""
    return lambda written: f"2001:db8::{number:x}" if ":" in written else f"192.0.2.{number % 256}"


_PLACEHOLDERS: dict[str, Callable[[int], Callable[[str], str]]] = {
    "email": _email, "phone": _phone, "iban": _iban, "card": _card, "ip": _ip, "key": _key,
}  # fmt: skip
