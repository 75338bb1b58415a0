"""Records of a JSON Lines file or a JSON array, each with the line on which it begins.

Knows JSON and files; does not know what a record means. A record that cannot be used is named, never fatal; a file that cannot be
read at all is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.errors import InputError

MAX_FILE_BYTES = 200_000_000
MAX_RECORD_CHARS = 1_000_000
MAX_DEPTH = 40
MAX_INTEGER = 2**63 - 1

_SPACE = re.compile(r"[ \t\r\n]*")


class Record(NamedTuple):
    """One JSON value and the line it begins on (from 1); `reason` says why there is none, `place` names an array's element."""

    line: int
    value: Any
    reason: str | None = None
    place: str = ""


def read_records(path: Path) -> list[Record]:
    """Read every record of a JSONL file or a JSON array, in order.

    Raises InputError for what is no readable file, is over 200 MB, is empty, is not UTF-8, or holds no JSON at all.
    """
    text = _read_text(path)
    if (whole := _printed_object(text)) is not None:
        return [whole]
    records = list(_array_records(text) if text.lstrip(" \t\r\n").startswith("[") else _line_records(text))
    if records and all(record.reason is not None and record.reason.startswith("not JSON") for record in records):
        first = records[0]
        raise InputError(f"{path.name!r} cannot be read: line {first.line} is {first.reason}. Give JSON Lines or a JSON array.")
    return records


def unusable(value: Any) -> str | None:
    """Why a parsed value may not be stored (too deep, a number or a text that JSON cannot carry), or None."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels"
        if isinstance(item, dict):
            pending.extend((part, depth + 1) for pair in item.items() for part in pair)
        elif isinstance(item, list):
            pending.extend((part, depth + 1) for part in item)
        elif isinstance(item, float) and not math.isfinite(item):
            return "a number is not finite"
        elif isinstance(item, int) and abs(item) > MAX_INTEGER:
            return "a whole number is beyond 64 bits; write it as text"
        elif isinstance(item, str) and not _encodable(item):
            return "a text holds half a character (a lone surrogate)"
    return None


def parse(text: str) -> tuple[Any, str | None]:
    """(value, None) of one JSON text, or (None, why it cannot be used)."""
    if len(text) > MAX_RECORD_CHARS:
        return None, f"longer than {MAX_RECORD_CHARS:,} characters"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return None, f"not JSON ({error.msg}, column {error.colno})"
    except (ValueError, RecursionError) as error:
        return None, f"cannot be read ({str(error)[:80]})"
    reason = unusable(value)
    return (None, reason) if reason else (value, None)


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise InputError(f"{path.name!r} is a folder; give a file in xLAM shape or OpenAI messages JSONL")
        if not path.is_file():
            raise InputError(f"there is no file {str(path)!r}; check the path")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path.name!r} is larger than {MAX_FILE_BYTES // 1_000_000} MB; split it")
    if b"\0" in data:
        raise InputError(f"{path.name!r} is not text (it holds zero bytes); save it as UTF-8 JSON Lines")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path.name!r} is not UTF-8 (line {line}, byte {error.start}); save it as UTF-8") from error
    if not text.strip():
        raise InputError(f"{path.name!r} is empty; nothing to import")
    return text


def _line_records(text: str) -> Iterator[Record]:
    """One record a line; only the line feed ends a line, since a JSON text may hold other separators."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield Record(number, *parse(line.strip()))


def _array_records(text: str) -> Iterator[Record]:
    """The elements of one JSON array. After a syntax error the rest cannot be told apart: it is named once, and reading ends."""
    decoder = json.JSONDecoder()
    position, line, counted, element = _skip(text, text.index("[") + 1), 1, 0, 0
    while position < len(text) and text[position] != "]":
        line, counted, element = line + text.count("\n", counted, position), position, element + 1
        try:
            _, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:80]
            yield Record(line, None, f"not JSON from here on ({message}); the rest was not read")
            return
        yield Record(line, *parse(text[position:end]), f"element {element}: ")
        position = _skip(text, end)
        if position < len(text) and text[position] == ",":
            position = _skip(text, position + 1)
        elif position >= len(text) or text[position] != "]":
            break
    line += text.count("\n", counted, position)
    if position >= len(text):
        yield Record(line, None, "not JSON: the array does not end; the file is cut off")
    elif text[position] != "]" or _skip(text, position + 1) < len(text):
        yield Record(line, None, "not JSON from here on (a comma or the end was expected); the rest was not read")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _printed_object(text: str) -> Record | None:
    """The whole text as one record, where it is a single object printed over several lines."""
    first, newline, _ = text.strip().partition("\n")
    if not newline or not first.startswith("{") or parse(first)[1] is None:
        return None
    value, reason = parse(text.strip())
    return Record(1, value) if reason is None else None
