"""Lists over HTTP: the query of a list request, and one page of entities in the shape NVIDIA's clients walk.

Knows query strings and pages. Knows no kind of entity; what a filter means is `matching`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import HTTPException, Request

from flywheel.local.state import SORTS, Entity, Kind, State

LARGEST_PAGE = 1000
_DEFAULT_PAGE = 10
_NESTED = re.compile(r"(filter|search)((?:\[[^\[\]]+\]){1,4})")


def page_of(
    request: Request,
    state: State,
    kind: Kind,
    show: Callable[[Entity], Mapping[str, Any]] = dict,
    *,
    also: Mapping[str, Any] | None = None,
    filterable: Callable[[Entity], Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """One page of a kind's entities, as the request's `page`, `page_size`, `sort`, `filter[..]` and `search[..]` ask.

    show makes an entity what the client sees; also adds conditions to the filter; filterable is what filters may name of an
    entity besides its own keys. A page past the end is empty, since clients walk on until one is. Answers 422 to a query that
    cannot be meant.
    """
    page, size, sort, filters, search = page_query(request)
    wanted = {**filters, **(also or {})}
    rows, total = state.list(kind, filter=wanted, search=search, sort=sort, page=page, page_size=size, filterable=filterable)
    return page_body([show(row) for row in rows], total, page, size, sort)


class PageQuery(NamedTuple):
    """What a list request asks for."""

    page: int
    size: int
    sort: str
    filter: dict[str, Any]
    search: dict[str, Any]


def page_query(request: Request) -> PageQuery:
    """Read a list request's query. Answers 422 to one that cannot be meant."""
    page, size = _number(request, "page", 1, None), _number(request, "page_size", _DEFAULT_PAGE, LARGEST_PAGE)
    sort = request.query_params.get("sort") or "-created_at"
    if sort not in SORTS:
        raise HTTPException(422, f"cannot sort by {sort!r}; sort by one of {', '.join(SORTS)}")
    conditions = nested_query(request.query_params.multi_items())
    return PageQuery(page, size, sort, conditions["filter"], conditions["search"])


def page_body(rows: Sequence[Mapping[str, Any]], total: int, page: int, size: int, sort: str) -> dict[str, Any]:
    """The body of a list's answer: `rows` are page `page` of `total` rows, `size` to a page."""
    counts = {
        "page": page,
        "page_size": size,
        "current_page_size": len(rows),
        "total_pages": -(-total // size),
        "total_results": total,
    }
    return {"object": "list", "data": list(rows), "pagination": counts, "sort": sort}


def nested_query(items: Sequence[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """`filter[a][b]=c` as `{"filter": {"a": {"b": "c"}}, "search": {}}`; values of a repeated key are comma-joined."""
    found: dict[str, dict[str, Any]] = {"filter": {}, "search": {}}
    for key, value in items:
        if match := _NESTED.fullmatch(key):
            *folders, last = match[2][1:-1].split("][")
            place = found[match[1]]
            for folder in folders:
                place = place.setdefault(folder, {})
                if not isinstance(place, dict):
                    raise HTTPException(422, f"{key!r} asks both for a value and for a part of it; ask for one of them")
            if isinstance(place.get(last), dict):
                raise HTTPException(422, f"{key!r} asks both for a value and for a part of it; ask for one of them")
            place[last] = f"{place[last]},{value}" if last in place else value
        elif key.startswith(("filter[", "search[")):
            raise HTTPException(422, f"{key[:120]!r} cannot be read; write filter[name]=... or filter[name][part]=...")
    return found


def _number(request: Request, name: str, default: int, largest: int | None) -> int:
    text = request.query_params.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1 or (largest is not None and number > largest):
        bound = f" to {largest}" if largest else ""
        raise HTTPException(422, f"{name} is {text[:40]!r}; it must be a whole number from 1{bound}")
    return number
