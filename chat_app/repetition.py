"""Where a text begins to say the same thing over and over, as small models do until they are stopped. Pure."""

from __future__ import annotations

import re

LEAST_WORDS = 6
TIMES = 3

_WORD = re.compile(r"\S+")


def end_of_first(text: str) -> int | None:
    """Where to cut a text that ends with the same words three times in a row, at least six of them: after the first time.

    None where it does not. Rules and tables repeat signs: words without a letter or digit among them are no repetition.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    words = [text[start:end] for start, end in spans]
    for length in range(LEAST_WORDS, len(words) // TIMES + 1):
        last = words[-length:]
        if last != words[-2 * length : -length] or last != words[-3 * length : -2 * length]:
            continue
        if any(letter.isalnum() for word in last for letter in word):
            first = len(words) - TIMES * length
            while first and words[first - 1] == words[first - 1 + length]:  # the text may break off inside the last time
                first -= 1
            return spans[first + length - 1][1]
    return None
