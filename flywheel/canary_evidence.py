"""Whether a candidate that answers a share of the conversations does harm: a test that may be looked at after every turn.

Pure: counts in, decision out. Knows neither the store nor models.

The formula. Every conversation is the candidate's with chance s, the share, by a keyed hash that knows nothing of what will
happen in it. If the candidate is no worse than the current model, each conversation that turns bad is therefore the candidate's
with chance s at most. Against this stands every chance p > s; the likelihood ratio of p to s after n bad conversations, k of them
the candidate's, is (p/s)^k ((1-p)/(1-s))^(n-k). Under the null hypothesis it is a supermartingale that begins at 1, and so is its
mean over an even grid of p between s and 1, the evidence E. By Ville's inequality E ever reaches 1/alpha with chance alpha at
most, so that one may look as often as one likes and stop at any time.

The sources: mixtures of likelihood ratios, Robbins, "Statistical methods related to the law of the iterated logarithm" (1970);
counts of events in randomly assigned groups, Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022).
Conditioning on bad conversations makes it hold whatever the rates are, however they drift and however late a thumb comes, as long
as a conversation counts once. A thumb that is taken back leaves the counts: the guarantee is for what stays.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

GRID = 50


class Arms(NamedTuple):
    """How many conversations: the candidate's and the current model's."""

    candidate: int
    current: int


class Seen(NamedTuple):
    """What has been seen: all conversations, those with a thumb down, and those with a tool's error or a failed turn."""

    conversations: Arms
    thumbs_down: Arms
    errors: Arms


class Decision(NamedTuple):
    """What follows: the candidate takes over, or is taken back; and why, in words."""

    status: Literal["promoted", "rolled_back"]
    reason: str


@lru_cache(maxsize=4096)
def evidence(bad: Arms, share: float) -> float:
    """The logarithm of E; 0 where nothing was seen. share: the candidate's chance of a conversation, between 0 and 1."""
    logs = []
    for place in range(GRID):
        chance = share + (1 - share) * (place + 0.5) / GRID
        logs.append(
            bad.candidate * (math.log(chance) - math.log(share))
            + bad.current * (math.log1p(-chance) - math.log1p(-share))
        )  # fmt: skip
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / GRID)


def judge(seen: Seen, *, share: float, conversations: int, alpha: float) -> Decision | None:
    """The decision, if there is one yet. alpha: the chance, at most, that a candidate which does no harm is taken back.

    Each of the two kinds of harm has half of alpha. conversations: how many of the candidate's without harm are enough.
    """
    for what, bad in (("thumbs down", seen.thumbs_down), ("errors", seen.errors)):
        if evidence(bad, share) >= math.log(2 / alpha):
            return Decision("rolled_back", f"significantly more {what}: {_rates(bad, seen)}")
    if seen.conversations.candidate < conversations:
        return None
    reason = f"{seen.conversations.candidate} conversations without harm: "
    return Decision("promoted", f"{reason}thumbs down {_rates(seen.thumbs_down, seen)}; errors {_rates(seen.errors, seen)}")


def _rates(bad: Arms, seen: Seen) -> str:
    return (
        f"in {bad.candidate} of its {seen.conversations.candidate} conversations, "
        f"with the current model in {bad.current} of {seen.conversations.current}"
    )
