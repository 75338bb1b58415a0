"""Values of every kind that a tool may ask for, as a call carries them (JSON) and as a person says them.

What is said is what is copied, save where a call has a form of its own: numbers said in words become digits, a clock time becomes
17:00, a date said with its year becomes 2026-05-03, half an hour becomes 30. "tomorrow" stays "tomorrow". Names, titles and texts
are put together from word lists and made-up words, so that nothing can be learned by heart. Knows no tools and no phrases, but
the words before and after a slot, to which what is said must fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from flywheel.local.base.draw import Draw
from flywheel.local.base.words import WORDS, Words

# After these a date or a time is said without a preposition of its own: "until Friday", "by 5 pm".
_PREPOSITIONS = frozenset(
    "on at by for from until till to before after since is of about around between and in the every this next last starting "
    "was or with as be it's per past through".split()
)
_MINUTES = {15: ("a quarter of an hour", "15 minutes"), 30: ("half an hour", "30 minutes"), 60: ("an hour", "one hour", "1 hour"),
            90: ("an hour and a half", "90 minutes"), 120: ("two hours", "2 hours"), 180: ("three hours", "3 hours")}  # fmt: skip
_CODES = (
    "@####", "@@-####", "####", "#####", "@@@-###", "######", "@###", "@@###", "####-@@", "@-##-##", "ORD-####", "INV-####",
    "REF####", "TX-####", "##@##", "@@@@#", "#####-#",
)  # fmt: skip
"""Forms of codes and order numbers: # is a digit, @ a letter."""
_NUMBER_KINDS = {"int": "integer", "small_int": "integer", "minutes": "integer", "float": "number", "money": "number",
                 "percent": "number"}  # fmt: skip


class Value(NamedTuple):
    """A value as a call carries it and as a person says it."""

    json: Any
    said: str


class Around(NamedTuple):
    """The text on both sides of a slot, and whether a currency is named elsewhere."""

    before: str = ""
    after: str = ""
    has_currency: bool = False

    @property
    def word_before(self) -> str:
        """The last word before, lower case; empty at the start of a sentence."""
        found = re.search(r"([\w']+)\W*$", self.before)
        return found[1].lower() if found and not re.search(r"[.!?:]\s*$", self.before) else ""


NOTHING_AROUND = Around()


class Values:
    """Draws values from one seed. Kinds: see `_DRAWN`, also `list:<kind>` and `object:{name: kind, ...}`."""

    def __init__(self, draw: Draw) -> None:
        self.words = Words(draw)
        self._draw = draw

    def draw(self, kind: str, around: Around = NOTHING_AROUND, form: str = "") -> Value:
        """One value of this kind. `form` "date" makes dates such as the schema's format asks. Raises ValueError."""
        if kind.startswith("list:"):
            return self._list(kind.removeprefix("list:"), around)
        if kind.startswith("object:"):
            return self._object(fields_of(kind))
        if kind == "date" and form == "date":
            return self._with_preposition(self._explicit_date(), around, "on")
        if kind not in _DRAWN:
            raise ValueError(f"no values of kind {kind!r}; there are {', '.join(sorted(_DRAWN))}")
        return _DRAWN[kind](self, around)

    # words

    def _one(self, name: str) -> str:
        return self.words.one(name)

    def _cased(self, text: str, chance: float = 0.08) -> str:
        """As typed in a hurry: at times all in lower case."""
        return text.lower() if self._draw.chance(chance) else text

    def _same(self, text: str) -> Value:
        return Value(text, text)

    def _city(self, around: Around = NOTHING_AROUND) -> Value:
        invented = self._draw.chance(0.3)
        name = self.words.made_up().capitalize() if invented else self._one("cities")
        if invented and self._draw.chance(0.2):
            name = f"{self._draw.pick(['San', 'New', 'Port', 'Bad', 'Saint', 'Upper', 'El', 'Nova', 'Fort'])} {name}"
        return self._same(self._cased(name, 0.12))

    def _country(self, around: Around = NOTHING_AROUND) -> Value:
        country = self._one("countries")
        if around.word_before in ("the", "visa") or around.after.startswith("'"):
            country = country.removeprefix("the ")
        return Value(country.removeprefix("the "), country)

    def _person(self, around: Around = NOTHING_AROUND) -> Value:
        if self._draw.chance(0.06) and not around.after.startswith("'") and around.word_before not in ("the", "my", "a", "dr"):
            return self._same(self._one("relatives"))
        return self._same(self._cased(self.words.person()))

    def _company(self, around: Around = NOTHING_AROUND) -> Value:
        draw = self._draw
        base = draw.pick(
            [
                self._one("companies"),
                self._one("last_names"),
                self.words.made_up().capitalize(),
                self.words.compose("{A} {N}"),
                self.words.compose("{N}{x}"),
            ]
        )
        if draw.chance(0.3):
            base += " " + self._one("company_ends")
        return self._same(self._cased(base))

    def _address(self, around: Around = NOTHING_AROUND) -> Value:
        draw = self._draw
        street = draw.pick([self.words.made_up().capitalize(), self.words.compose("{N}"), self._one("last_names")])
        text = f"{draw.between(1, 250)}{draw.pick(['', '', '', 'b', 'a'])} {street} {self._one('streets')}"
        if draw.chance(0.25):
            text += f", {self._one('cities')}"
        return self._same(self._cased(text))

    def _place(self, around: Around = NOTHING_AROUND) -> Value:
        text = self.words.compose(self._one("places"))
        return self._same(self._cased(text.removeprefix("the ") if around.word_before == "the" else text))

    def _email(self, around: Around = NOTHING_AROUND) -> Value:
        draw = self._draw
        name = re.sub(
            r"\W", "", self._draw.pick([self._one("first_names"), self._one("last_names"), self.words.made_up()]).lower()
        )
        if draw.chance(0.5):
            name += draw.pick([".", "_", "-", ""]) + re.sub(r"\W", "", self._one("last_names").lower())
        host = draw.pick(
            [
                "example.com",
                "example.org",
                f"{self.words.made_up()}.com",
                f"{self.words.made_up()}.io",
                f"mail.{self.words.made_up()}.net",
            ]
        )
        return self._same(f"{name}{draw.pick(['', '', str(draw.between(1, 99))])}@{host}")

    def _phone(self, around: Around = NOTHING_AROUND) -> Value:
        forms = [
            "555-####",
            "07### ######",
            "+44 20 #### ####",
            "(555) ###-####",
            "+49 ### #######",
            "0##########",
            "###-###-####",
            "+1 555 ### ####",
        ]
        return self._same(self._digits(self._draw.pick(forms)))

    def _url(self, around: Around = NOTHING_AROUND) -> Value:
        draw = self._draw
        start, end = draw.pick(["https://", "www.", "", "", "https://www."]), draw.pick([".com", ".org", ".io", ".net", ".dev"])
        host = f"{start}{self.words.made_up()}{end}"
        return self._same(host + (f"/{self._one('nouns')}" if draw.chance(0.3) else ""))

    def _digits(self, form: str) -> str:
        """Every # becomes a digit, every @ a capital letter."""
        letters = {"#": "0123456789", "@": "ABCDEFGHJKLMNPQRSTUVWXYZ"}
        return "".join(self._draw.pick(letters[sign]) if sign in letters else sign for sign in form)

    def _id_code(self, around: Around = NOTHING_AROUND) -> Value:
        code = self._digits(self._draw.pick(_CODES))
        if self._draw.chance(0.1):
            code = code.lower()
        hashed = self._draw.chance(0.08) and not around.before.endswith(("#", "-"))
        return Value(code, f"#{code}" if hashed else code)

    def _composed(self, name: str, case: float = 0.08) -> Value:
        return self._same(self._cased(self.words.compose(self._one(name)), case))

    def _text(self, around: Around = NOTHING_AROUND) -> Value:
        text = self.words.compose(self._one("tasks" if self._draw.chance(0.2) else "texts"))
        return self._same(text[0].upper() + text[1:] if self._draw.chance(0.15) else text)

    def _title(self, around: Around = NOTHING_AROUND) -> Value:
        text = self.words.compose(self._one(self._draw.pick(["titles", "titles", "tasks"])))
        if around.word_before in ("the", "my", "a", "an", "this"):
            text = re.sub(r"^(the|my) ", "", text, flags=re.IGNORECASE)
        return self._same(text)

    def _word(self, around: Around = NOTHING_AROUND) -> Value:
        return self._same(self._draw.pick([self.words.made_up(), self._one("nouns"), self._one("adjectives")]))

    def _unit(self, around: Around = NOTHING_AROUND) -> Value:
        listed: str = self._draw.pick(list(WORDS["units"].values()))
        return self._same(self._draw.pick(self._draw.pick(listed.split(", ")).split("|")))

    def _food(self, around: Around = NOTHING_AROUND) -> Value:
        food = self._one("foods")
        return self._same(self.words.compose("{a} " + food) if self._draw.chance(0.08) else food)

    # numbers

    def _number(self, value: float, around: Around, *, spoken: float = 0.0) -> Value:
        """A number, at times in words, but not where something that wants digits stands next to it."""
        whole = int(value) if float(value).is_integer() else value
        tight = re.match(r"[\w%°-]", around.after) or around.before.endswith(("$", "€", "£", "#", "-"))
        if isinstance(whole, int) and whole <= 20 and not tight and self._draw.chance(spoken):
            return Value(whole, WORDS["number_words"][whole])
        return Value(whole, str(whole))

    def _small_int(self, around: Around) -> Value:
        return self._number(self._draw.between(2, self._draw.pick([6, 12, 12, 30])), around, spoken=0.25)

    def _int(self, around: Around) -> Value:
        return self._number(self._draw.between(2, self._draw.pick([20, 99, 500, 2500])), around, spoken=0.15)

    def _float(self, around: Around) -> Value:
        draw = self._draw
        if draw.chance(0.5):
            return self._number(draw.real(0.1, draw.pick([5, 20, 200, 2000]), draw.pick([1, 1, 2])), around)
        return self._number(draw.between(1, draw.pick([12, 100, 1000])), around, spoken=0.1)

    def _money(self, around: Around) -> Value:
        draw = self._draw
        amount: float = draw.pick([draw.between(2, 60), 5 * draw.between(1, 60), 50 * draw.between(1, 60), draw.real(1, 200, 2)])
        value, said = self._number(amount, around)
        named = re.match(r"\s*(-|k\b|euro|dollar|pound|buck|usd|eur|gbp|yen|{)", around.after.lower()) or around.before.endswith(
            ("$", "€", "£")
        )
        if not named and not around.has_currency:
            unit = draw.pick(["dollars", "euros", "pounds", "bucks"])
            said = draw.pick([f"${said}", f"${said}", f"€{said}", f"£{said}", f"{said} {unit}", f"{said} {unit}", said])
        return Value(value, said)

    def _percent(self, around: Around) -> Value:
        value, said = self._number(self._draw.pick([self._draw.between(1, 100), 5 * self._draw.between(1, 20)]), around)
        if not re.match(r"\s*(%|per\s?cent|-)", around.after.lower()):
            said = self._draw.pick([f"{said}%", f"{said}%", f"{said} percent", f"{said} per cent"])
        return Value(value, said)

    def _minutes_value(self, around: Around) -> Value:
        draw = self._draw
        named = re.match(r"\s*-?\s*(min|m\b|hour)", around.after.lower())
        if not named and draw.chance(0.3):
            number = draw.pick(list(_MINUTES))
            said = draw.pick(_MINUTES[number])
            return Value(
                number, said.split(" ", 1)[1] if said.startswith(("a ", "an ")) and around.word_before in ("a", "an") else said
            )
        value, said = self._number(draw.pick([5 * draw.between(1, 18), draw.between(2, 59)]), around, spoken=0.12)
        return Value(value, said if named else said + draw.pick([" minutes", " minutes", " min", " mins"]))

    # days and times

    def _with_preposition(self, value: Value, around: Around, preposition: str) -> Value:
        """What is said brings its preposition along, unless one stands there already or the sentence begins here."""
        bare = not around.word_before or around.word_before in _PREPOSITIONS or around.before.endswith(("(", ", ", ": ", "/ "))
        return value if bare or self._draw.chance(0.25) else Value(value.json, f"{preposition} {value.said}")

    def _explicit_date(self) -> Value:
        year, month, day = self._draw.between(2024, 2030), self._draw.between(1, 12), self._draw.between(1, 28)
        iso, name = f"{year}-{month:02d}-{day:02d}", WORDS["months"][month - 1]
        forms = [
            iso, iso, f"{name} {day} {year}", f"{name} {day}, {year}", f"{day} {name} {year}", f"{name} {ordinal(day)} {year}",
            f"{ordinal(day)} {name} {year}", f"the {ordinal(day)} of {name} {year}",
        ]  # fmt: skip
        return Value(iso, self._draw.pick(forms))

    def _date(self, around: Around) -> Value:
        draw, form = self._draw, self._draw.between(1, 20)
        if form <= 5:
            return self._with_preposition(self._explicit_date(), around, "on")
        if form <= 8:
            name, day = self._one("months"), draw.between(1, 28)
            said = draw.pick([f"{name} {day}", f"{day} {name}", f"{name} {ordinal(day)}", f"{ordinal(day)} of {name}"])
            return self._with_preposition(self._same(self._cased(said)), around, "on")
        if form <= 12:
            return self._with_preposition(self._same(self._cased(self._one("days"))), around, "on")
        if form <= 14 and around.word_before not in ("next", "this", "last"):
            return self._same(f"{draw.pick(['next', 'next', 'this'])} {self._one('days')}")
        return self._same(self._one("bare_dates"))

    def _clock(self) -> Value:
        draw = self._draw
        hour, minute = draw.between(0, 23), draw.pick([0, 0, 0, 15, 30, 30, 45, 5 * draw.between(0, 11)])
        value, twelve, half = f"{hour:02d}:{minute:02d}", hour % 12 or 12, "am" if hour < 12 else "pm"
        if draw.chance(0.35):
            return Value(value, draw.pick([value, value, f"{hour}:{minute:02d}"]))
        if minute == 0 and draw.chance(0.12):
            part = "morning" if hour < 12 else "afternoon" if hour < 18 else "evening"
            return Value("12:00", "noon") if draw.chance(0.2) else Value(value, f"{twelve} in the {part}")
        exact = f"{twelve}" if minute == 0 else f"{twelve}:{minute:02d}"
        return Value(value, exact + draw.pick([half, f" {half}", half]))

    def _time(self, around: Around) -> Value:
        return self._with_preposition(self._clock(), around, "at")

    def _datetime(self, around: Around) -> Value:
        if self._draw.chance(0.35):
            date, time = self._explicit_date(), self._clock()
            return self._with_preposition(Value(f"{date.json}T{time.json}", f"{date.said} at {time.said}"), around, "on")
        day = self._draw.pick([self._one("days"), "tomorrow", "today", f"next {self._one('days')}", "tonight"])
        value = self._same(f"{day} at {self._clock().said}")
        return self._with_preposition(value, around, "on") if day in WORDS["days"] else value

    # several in one

    def _list(self, kind: str, around: Around) -> Value:
        count = (
            self._draw.pick([1, 2, 2, 2, 3, 3, 4])
            if around.word_before not in ("between", "compare")
            else self._draw.pick([2, 2, 3])
        )
        quiet = Around("and ") if kind in ("time", "date") else NOTHING_AROUND
        drawn = [self.draw(kind, quiet) for _ in range(count)]
        if kind in ("float", "int") or (kind == "time" and count == 1):
            drawn += [self.draw(kind, quiet) for _ in range(self._draw.between(1, 3))]
        said, last = [value.said for value in drawn], self._draw.pick([" and ", " and ", " and ", ", "])
        text = ", ".join(said[:-1]) + last + said[-1] if len(said) > 1 else said[0]
        return Value(
            [value.json for value in drawn], f"at {text}" if kind == "time" and around.word_before not in _PREPOSITIONS else text
        )

    def _object(self, fields: dict[str, str]) -> Value:
        """Every field is said with its name; a person's name speaks for itself."""
        drawn = {name: self.draw(kind, Around("is ")) for name, kind in fields.items()}
        words = {name: name.replace("_", " ") for name in fields}
        form = self._draw.pick(["{1} {0}", "{0} {1}", "{0}: {1}", "{0} {1}"])
        told = [value.said if fields[name] == "person" else form.format(words[name], value.said) for name, value in drawn.items()]
        last = self._draw.pick([", ", " and "])
        return Value({name: value.json for name, value in drawn.items()}, ", ".join(told[:-1]) + last + told[-1])


_DRAWN: dict[str, Callable[[Values, Around], Value]] = {
    "city": Values._city, "country": Values._country, "address": Values._address, "place": Values._place,
    "person": Values._person, "company": Values._company, "email": Values._email, "phone": Values._phone,
    "url": Values._url, "date": Values._date, "time": Values._time, "datetime": Values._datetime,
    "minutes": Values._minutes_value, "int": Values._int,
    "small_int": Values._small_int, "float": Values._float, "money": Values._money, "percent": Values._percent,
    "id_code": Values._id_code, "text": Values._text, "title": Values._title, "food": Values._food,
    "topic": lambda values, around: values._composed("topics"),
    "product": lambda values, around: values._composed("products"),
    "language": lambda values, around: values._same(values._cased(values._one("languages"))),
    "currency": lambda values, around: values._same(values._one("currencies")),
    "word": Values._word, "unit": Values._unit,
}  # fmt: skip
KINDS = frozenset(_DRAWN)


def fields_of(kind: str) -> dict[str, str]:
    """The fields of `object:{name: kind, ...}`."""
    inner = kind.removeprefix("object:").strip("{}")
    return {name.strip(): field.strip() for name, field in (pair.split(":") for pair in inner.split(","))}


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of values of this kind."""
    if kind.startswith("list:"):
        return {"type": "array", "items": schema_of(kind.removeprefix("list:"))}
    if kind.startswith("object:"):
        fields = fields_of(kind)
        return {
            "type": "object",
            "properties": {name: schema_of(field) for name, field in fields.items()},
            "required": list(fields),
        }
    return {"type": _NUMBER_KINDS.get(kind, "string")}


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
