"""The commands about reviewing: how far reviewers agree, and how long a correction takes.

Knows how numbers are told; what they mean, `review.agreement` knows.
"""

from __future__ import annotations

from dataclasses import asdict

import click

from flywheel.cli_shell import Output, json_option, opened_state
from flywheel.ledger import Ledger
from flywheel.policy import read_policy
from flywheel.review import ReviewDesk


@click.group()
def review() -> None:
    """Look at how reviewing goes.

    Example: flywheel review stats
    """


@review.command()
@json_option
@click.pass_obj
def stats(output: Output) -> None:
    """Show how far reviewers agree (kappa, F1), how long a correction takes, and how many turns wait.

    Example: flywheel review stats
    """
    with opened_state() as (settings, store):
        desk = ReviewDesk(store, Ledger(store.database), read_policy(settings.home).review)
        found, waiting = desk.statistics(), desk.waiting()
    text = f"{found.text()}\n{found.decisions} decisions; {waiting} turns wait."
    output.result(asdict(found) | {"waiting": waiting}, text)
