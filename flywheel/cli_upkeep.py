"""The commands about what goes on by itself: the schedule and what is kept.

Knows how findings are told. When a run is due is `schedule`'s, what may go is `retain`'s.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

import click

from flywheel.cli_shell import Output, json_option, opened_state, running_services


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


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@click.pass_obj
def retain(output: Output, dry_run: bool) -> None:
    """Remove datasets' files, adapters and logs of runs older than the policy keeps; their records stay.

    The app does the same by itself after each run.

    Example: flywheel retain --dry-run
    """
    from flywheel.nemo import Nemo
    from flywheel.policy import read_policy
    from flywheel.retain import Retention

    with opened_state() as (settings, store):
        retention = Retention(settings, store, lambda: read_policy(settings.home).retention)
        leaving = retention.leaving()
        if leaving and not dry_run:
            with running_services(settings, output) as settings, closing(Nemo(settings)) as nemo:
                for run in leaving:
                    retention.remove(run, nemo)
    verb = "would go" if dry_run else "removed"
    lines = [f"{run.id}  {run.created_at[:16]}  {run.candidate or 'no model'}  {verb}" for run in leaving]
    output.result(
        {"dry_run": dry_run, "runs": [run.id for run in leaving]}, "\n".join(lines) or "No run is older than the policy keeps."
    )
