"""What a developer decides about reviewing: shares and quantiles. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """The section [review] of the policy file.

    silent_share: of the turns that nobody rated and in which nothing went wrong, the share that is looked at all the same.
    unsure_share: the share of a model's answers that counts as unsure, the least sure first. second_share: of the turns, the
    share on which two reviewers decide. second_look_share: of the turns, the share that the previous model answers too when the
    machine is idle.
    """

    silent_share: float = 0.05
    unsure_share: float = 0.05
    second_share: float = 0.1
    second_look_share: float = 0.1
