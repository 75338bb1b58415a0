"""The commands about NeMo Intake. Knows how a synchronisation is told; what it does is `intake`'s."""

from __future__ import annotations

import click

from flywheel.cli_shell import Output, json_option, opened_state, running_services
from flywheel.intake import IntakeSync

WAIT_SECONDS = 30.0


@click.group()
def intake() -> None:
    """Keep the chat's feedback at NeMo Intake, too.

    Example: flywheel intake sync
    """


@intake.command()
@json_option
@click.pass_obj
def sync(output: Output) -> None:
    """Tell Intake what people said here, and hear what was said there. The web app does so every minute.

    Example: flywheel intake sync
    """
    with opened_state() as (settings, store), running_services(settings, output) as settings:
        done = IntakeSync(settings, store).sync(WAIT_SECONDS)
    heard = f"{done.ratings} ratings and {done.proposals} proposed corrections came from there"
    text = f"{done.told} entries told to Intake, {done.deleted} deleted; {heard}."
    text += f" {done.refused} entries were refused (see above)." if done.refused else ""
    text += f" {done.left_out} words of others could not be used." if done.left_out else ""
    output.result(done.to_dict(), text)
