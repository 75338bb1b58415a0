"""The commands about rows that look planted: look at them, let them go.

Knows how findings are told. What is suspect `suspects` decides, what is kept `quarantine`.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby

import click

from flywheel.cli_shell import Output, json_option, opened_state
from flywheel.errors import InputError
from flywheel.policy import read_policy
from flywheel.quarantine import HeldRow, Quarantine
from flywheel.starter import known_rows

PERSON = "command line"
SHOWN = 5


@click.group()
def quarantine() -> None:
    """Rows that look planted are kept and not used until they are released.

    Example: flywheel quarantine list
    """


@quarantine.command("list")
@json_option
@click.pass_obj
def list_(output: Output) -> None:
    """Look for rows that look planted, and show all that are in quarantine, with the reason.

    Example: flywheel quarantine list
    """
    with opened_state() as (settings, store):
        kept = Quarantine(store.database)
        found = kept.scan(known_rows(), read_policy(settings.home).caps)
        held = kept.held()
    output.result({"found": found, "held": [asdict(row) for row in held]}, _told(held))


@quarantine.command()
@click.argument("row_ids", metavar="ID...", nargs=-1)
@json_option
@click.pass_obj
def release(output: Output, row_ids: tuple[str, ...]) -> None:
    """Let the rows with these ids be used from the next run on. They are not held again.

    Example: flywheel quarantine release example-3f2a91bc07d1
    """
    if not row_ids:
        raise InputError("name the rows to release; `flywheel quarantine list` shows their ids")
    with opened_state() as (_, store):
        released = [Quarantine(store.database).release(row_id, PERSON) for row_id in row_ids]
    output.result({"released": [asdict(row) for row in released]}, f"{len(released)} released; the next run may use them.")


def _told(held: list[HeldRow]) -> str:
    if not held:
        return "Nothing is in quarantine."
    lines = []
    for reason, together in groupby(held, key=lambda row: row.reason):
        rows = [*together]
        lines.append(f"{len(rows)} rows: {reason}")
        lines += [f"  {row.id}  {row.person or '-'}  {row.question[:80]!r}" for row in rows[:SHOWN]]
        lines += [f"  and {len(rows) - SHOWN} more (--json lists all)"] if len(rows) > SHOWN else []
    return "\n".join(lines)
