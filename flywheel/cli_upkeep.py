"""The commands about what goes on by itself: the schedule and what is kept.

Knows how findings are told. When a run is due is `schedule`'s, what may go is `retain`'s.
"""

from __future__ import annotations

from dataclasses import asdict

import click

from flywheel.cli_shell import Output, json_option, opened_state


@click.command()
@json_option
@click.pass_obj
def schedule(output: Output) -> None:
    """Say when the next run begins by itself, and why.

    Example: flywheel schedule
    """
    from flywheel.runs import launcher_running, schedule_of

    with opened_state() as (settings, store):
        outlook = schedule_of(settings, store).outlook()
        working = launcher_running(settings)
    begins = outlook.begins.isoformat() if outlook.begins else None
    output.result(asdict(outlook) | {"begins": begins, "working": working}, outlook.words())
    if not working:
        output.note("Nothing works runs off at the moment: that is done while `make chat` runs.")
