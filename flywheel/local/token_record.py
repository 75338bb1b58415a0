"""The probabilities of one answer's tokens, kept while it is written and told piece by piece beside its text.

Knows tokens, their bytes and the logits they were drawn from. Does not know how a token is drawn or where an answer ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flywheel.local.generation import TokenLogprob

if TYPE_CHECKING:
    import torch


class TokenRecord:
    """`alternatives` likeliest tokens are kept for each place; `written` gives a token's bytes."""

    def __init__(self, alternatives: int, written: Callable[[int], bytes]) -> None:
        self.tokens: list[TokenLogprob] = []
        self._alternatives = alternatives
        self._written = written
        self._told, self._told_bytes = 0, 0

    def take(self, token: int, logits: torch.Tensor) -> None:
        """The next token and the logits (vocabulary) that it was chosen from."""
        logprobs = logits.log_softmax(-1)
        values, places = logprobs.topk(self._alternatives)
        top = [(self._written(place), value) for place, value in zip(places.tolist(), values.tolist(), strict=True)]
        self.tokens.append(TokenLogprob(self._written(token), float(logprobs[token]), top))

    def certain(self, text: str) -> list[TokenLogprob]:
        """The tokens, not told before, that lie within an answer's beginning."""
        size, start = len(text.encode()), self._told
        while self._told < len(self.tokens) and self._told_bytes + len(self.tokens[self._told].token) <= size:
            self._told_bytes += len(self.tokens[self._told].token)
            self._told += 1
        return self.tokens[start : self._told]

    def cut(self, text: str) -> None:
        """The answer is only this beginning: forget the tokens behind it."""
        size, place = len(text.encode()), 0
        while place < len(self.tokens) and size > 0:
            size -= len(self.tokens[place].token)
            place += 1
        del self.tokens[max(place, self._told) :]

    def rest(self) -> list[TokenLogprob]:
        """The tokens that were not told yet."""
        start, self._told = self._told, len(self.tokens)
        return self.tokens[start:]
