"""What a correction changes, argument by argument: the same, changed, added or left out. Pure, but for its HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from chat_app.ui.forms import safe
from flywheel.store import Message

Change = Literal["same", "changed", "added", "left out"]
MISSING = object()


class Difference(NamedTuple):
    """One argument, by its path ("" = the whole call or text), before and after (MISSING: not there)."""

    call: str
    argument: str
    change: Change
    before: Any
    after: Any


def differences(said: Message, corrected: Message) -> list[Difference]:
    """From what the model said to what should have been; calls are paired in their order."""
    before, after = _calls(said), _calls(corrected)
    if not before and not after:
        return [_compared("answer", "", said.get("content") or "", corrected.get("content") or "")]
    found: list[Difference] = []
    for place in range(max(len(before), len(after))):
        old, new = (side[place] if place < len(side) else None for side in (before, after))
        if old and new and old[0] == new[0]:
            found += _arguments(new[0], old[1], new[1])
        elif new:
            found.append(Difference(new[0], "", "changed" if old else "added", old[0] if old else MISSING, new[0]))
            found += _arguments(new[0], {}, new[1])
        elif old:
            found.append(Difference(old[0], "", "left out", old[0], MISSING))
    return found


def _calls(message: Message) -> list[tuple[str, Any]]:
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]


def _arguments(name: str, before: Any, after: Any) -> list[Difference]:
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [_compared(name, key, old.get(key, MISSING), new.get(key, MISSING)) for key in dict.fromkeys((*old, *new))]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of what is no object; a list is compared as a whole unless it holds objects."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for place, part in enumerate(value, start=1):
            yield from _leaves(part, f"{path} {place}")
    else:
        yield path, value


def _compared(call: str, argument: str, before: Any, after: Any) -> Difference:
    if before is MISSING or after is MISSING:
        return Difference(call, argument, "added" if before is MISSING else "left out", before, after)
    same = before == after and isinstance(before, bool) == isinstance(after, bool)
    return Difference(call, argument, "same" if same else "changed", before, after)


def as_html(found: list[Difference]) -> str:
    """The differences as a table; nothing where all is the same."""
    if all(one.change == "same" for one in found):
        return '<p class="muted">The same as what the model said.</p>'
    rows = "".join(_row(one) for one in found)
    return f'<table class="difference" aria-label="Difference to what the model said"><tbody>{rows}</tbody></table>'


def _row(one: Difference) -> str:
    name = " · ".join(filter(None, (one.call, one.argument)))
    match one.change:
        case "changed":
            told = f"<del>{_shown(one.before)}</del> → <ins>{_shown(one.after)}</ins>"
        case "added":
            told = f"<ins>{_shown(one.after)}</ins>"
        case "left out":
            told = f"<del>{_shown(one.before)}</del>"
        case _:
            told = _shown(one.after)
    return (
        f'<tr class="{one.change.replace(" ", "-")}"><th scope="row">{safe(name)}</th><td>{one.change}</td><td>{told}</td></tr>'
    )


def _shown(value: Any) -> str:
    return safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
