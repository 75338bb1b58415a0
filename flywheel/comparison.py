"""Which of two candidates of one run is judged: the usual one, unless the other wins against it on the holdout.

Pure: scores in, decision and reason out. Knows the test; knows nothing of what the gate asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flywheel.gate_scores import HOLDOUT, Pairs, RowScore
from flywheel.gate_statistics import mcnemar


class Comparison(NamedTuple):
    """challenger: whether it is judged instead of the usual one. reason: in a sentence."""

    challenger: bool
    reason: str


def compare(usual: Sequence[RowScore], challenger: Sequence[RowScore], names: tuple[str, str], alpha: float) -> Comparison:
    """Let the challenger win if it gets significantly more whole calls of the holdout right (exact, paired, one-sided McNemar).

    names: what the two are called, the usual one first. Both must have been scored on the same rows.
    """
    theirs = {row.key: row for row in usual if row.suite == HOLDOUT}
    both = [(row, theirs[row.key]) for row in challenger if row.suite == HOLDOUT]
    pairs = Pairs.of(both, lambda row: row.name_and_args)
    p_value = mcnemar(pairs.won, pairs.lost)
    won = p_value < alpha
    known, other = names
    counted = f"{pairs.candidate} of {pairs.rows} whole calls right, {known} {pairs.current}; {pairs.won} won, {pairs.lost} lost"
    how = f"{other} {'wins' if won else 'does not win'} significantly on the holdout: {counted} (p = {p_value:.2g})"
    return Comparison(won, f"{how}; the gate judges {other if won else known}")
