"""Which entities a list request means: `filter[...]` and `search[...]`, as the NeMo services read them.

Knows nested dictionaries of words only: neither the query string they came from nor the table the entities lie in.

- A filter's word holds where the entity's value is that word; comma-joined words hold where one of them does.
- `true` and `false` also ask whether the value is there at all (`filter[peft]=true`: customised models).
- A name stands for a reference: `filter[base_model]=x` finds both `"base_model": "x"` and `"base_model": {"name": "x"}`.
- Of a value that is a list, one entry is enough.
- `gte`, `lte`, `gt`, `lt`, `eq`, `neq`, `start` and `end` compare dates and numbers. A bare day is all of it: `end` includes it.
- Search finds words within values, in either case of letters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

_DAY = len("2025-01-31")
# A value, and the first and last that the bound stands for: they differ where it is a day.
_COMPARE: dict[str, Callable[[Any, Any, Any], bool]] = {
    "gte": lambda value, first, last: value >= first,
    "start": lambda value, first, last: value >= first,
    "lte": lambda value, first, last: value <= last,
    "end": lambda value, first, last: value <= last,
    "gt": lambda value, first, last: value > last,
    "lt": lambda value, first, last: value < first,
    "eq": lambda value, first, last: first <= value <= last,
    "neq": lambda value, first, last: not first <= value <= last,
}

# A job shows these in its parts, but clients filter by the bare name.
_PARTS = ("hyperparameters", "config_snapshot")


def matches_filter(entity: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether every key of `wanted` holds for the entity. A key that the entity does not have never holds, except as `false`."""
    return all(_holds(_value(entity, key), condition, key) for key, condition in wanted.items())


def matches_search(entity: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether for every key of `wanted` one of its words is part of the entity's value."""
    return all(_found(_value(entity, key), condition) for key, condition in wanted.items())


@lru_cache(maxsize=256)
def date_span(bound: str) -> tuple[str, str]:
    """The first and the last moment that a date stands for, written as the services write theirs; other texts as they are."""
    try:
        date = datetime.fromisoformat(bound)
        naive = date.astimezone(UTC).replace(tzinfo=None) if date.tzinfo else date
    except (ValueError, OverflowError):
        return bound, bound
    end = naive.replace(hour=23, minute=59, second=59, microsecond=999_999) if len(bound) == _DAY else naive
    return naive.isoformat(timespec="microseconds"), end.isoformat(timespec="microseconds")


def _value(entity: Mapping[str, Any], key: str) -> Any:
    if key in entity:
        return entity[key]
    parts = [entity.get(part) for part in _PARTS]
    return next((part[key] for part in parts if isinstance(part, Mapping) and key in part), None)


def _holds(value: Any, condition: Any, key: str) -> bool:
    if not isinstance(condition, Mapping):
        return any(_is(value, word, key) for word in str(condition).split(","))
    if _is_range(condition):
        return _in_range(value, condition)
    # A reference is either an object with the keys asked for, or a plain name.
    nested = value if isinstance(value, Mapping) else {"name": value}
    return value is not None and matches_filter(nested, condition)


def _is(value: Any, word: str, key: str) -> bool:
    low = word.lower()
    if isinstance(value, list):
        return any(_is(one, word, key) for one in value)
    if isinstance(value, bool):
        return low == str(value).lower()
    if isinstance(value, Mapping):
        return low == "true" or word in _names(value)
    if value is None:
        return low == "false"
    if _is_number(word) and isinstance(value, int | float):
        return float(word) == value
    # A plain reference `ns/name` is also found by its name alone, as an object of that name is.
    return word == str(value) or (key in ("dataset", "target", "config") and str(value).endswith("/" + word))


def _names(reference: Mapping[str, Any]) -> tuple[str, ...]:
    name = str(reference.get("name", ""))
    return (name, f"{reference.get('namespace')}/{name}", str(reference.get("model", "")))


def _found(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping):
        return matches_search(value, condition) if isinstance(value, Mapping) else _in_range(value, condition)
    return value is not None and any(word.lower() in str(value).lower() for word in str(condition).split(","))


def _is_range(condition: Mapping[str, Any]) -> bool:
    return bool(condition) and set(condition) <= set(_COMPARE)


def _in_range(value: Any, condition: Mapping[str, Any]) -> bool:
    return all(_compares(value, bound, _COMPARE.get(name)) for name, bound in condition.items())


def _compares(value: Any, bound: Any, compare: Callable[[Any, Any, Any], bool] | None) -> bool:
    if value is None or compare is None:
        return False
    if isinstance(value, int | float):
        return _is_number(bound) and compare(float(value), float(bound), float(bound))
    # Dates are naive ISO: their order is that of their letters.
    return compare(str(value), *date_span(str(bound)))


def _is_number(word: Any) -> bool:
    try:
        float(word)
    except (TypeError, ValueError):
        return False
    return True
