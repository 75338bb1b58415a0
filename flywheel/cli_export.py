"""The commands by which data leaves: examples, and feedback.

Knows how they are asked for and where they are written; what a row looks like is `rows`' and `feedback_shapes`'.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click

from flywheel.audit import Audit
from flywheel.cli_shell import Output, json_option, opened_state
from flywheel.errors import InputError
from flywheel.feedback import FeedbackReader, Selection
from flywheel.feedback_shapes import SHAPES, Shape, lines
from flywheel.ledger import Ledger
from flywheel.rows import to_nemo_eval, to_openai, to_xlam
from flywheel.store import ReviewVerdict

PERSON = "command line"
FORMATS: dict[str, Callable[[Any], dict[str, Any] | None]] = {"openai": to_openai, "xlam": to_xlam, "nemo-eval": to_nemo_eval}
EXAMPLES = "examples"


class _Export(click.Group):
    """A group whose first word may be left out: `export FILE` means `export examples FILE`."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        named = arguments and (arguments[0] in self.commands or arguments[0] in context.help_option_names)
        return super().parse_args(context, arguments if named or not arguments else [EXAMPLES, *arguments])


@click.group(cls=_Export)
def export() -> None:
    """Write examples or feedback to a file.

    `flywheel export FILE` is short for `flywheel export examples FILE`.

    Example: flywheel export feedback feedback.csv --shape csv
    """


@export.command(EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "shape", type=click.Choice(sorted(FORMATS)), required=True, help="The shape of the rows.")
@json_option
@click.pass_obj
def examples(output: Output, file: Path, shape: str) -> None:
    """Write all approved and imported examples to FILE, one JSON object a line.

    Example: flywheel export examples.jsonl --format openai
    """
    with opened_state() as (_, store):
        rows = [FORMATS[shape](example.row) for example in Ledger(store.database).examples()]
        Audit(store.database).record(PERSON, "export examples", shape=shape)
    fitting = [row for row in rows if row is not None]
    _write(file, (json.dumps(row, ensure_ascii=False) + "\n" for row in fitting))
    left_out = len(rows) - len(fitting)
    note = f"; {left_out} do not fit the shape {shape!r}" if left_out else ""
    output.result(
        {"file": str(file), "format": shape, "rows": len(fitting), "left_out": left_out},
        f"{len(fitting)} examples written to {file}{note}",
    )


@export.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--shape", type=click.Choice(list(SHAPES)), required=True, help="JSON Lines of a shape, or a table (csv).")
@click.option("--since", metavar="DATE", help="Turns from this moment on (UTC).")
@click.option("--until", metavar="DATE", help="Turns before this moment (UTC).")
@click.option("--thumb", type=click.Choice(["up", "down"]), help="Turns that somebody rated so.")
@click.option("--verdict", type=click.Choice(get_args(ReviewVerdict)), help="Turns whose last review says so.")
@click.option("--tool", metavar="NAME", help="Turns in which the model called this tool.")
@click.option("--model", metavar="ID", help="Turns that this model answered.")
@click.option("--person", metavar="NAME", help="Turns of this person.")
@json_option
@click.pass_obj
def feedback(output: Output, /, file: Path, shape: Shape, **chosen: Any) -> None:
    """Write what people said of the answers (ratings, reasons, comments, corrections, the conversation) to FILE.

    openai: messages and tools. xlam: query, tools, answers. intake: entries of NeMo Intake. dpo: the correction against what the
    model said. csv: a row a turn. FILE may be - for standard output.

    Example: flywheel export feedback feedback.csv --shape csv --thumb down
    """
    selection = Selection(**chosen)
    conditions = {name: value for name, value in selection.conditions().items() if name != "person"}
    if output.json and str(file) == "-":
        raise InputError("with --json standard output holds one object only: name a file")
    with opened_state() as (settings, store):
        Audit(store.database).record(PERSON, "export feedback", selection.person or "", shape=shape, **conditions)
        made = lines(FeedbackReader(store).select(selection), shape, settings.namespace)
        rows = _write(file, made) - (shape == "csv")
    told = f"{rows} rows written to {file}"
    if str(file) == "-":
        output.note(told)
    else:
        output.result({"file": str(file), "shape": shape, "rows": rows} | asdict(selection), told)


def _write(file: Path, lines: Iterable[str]) -> int:
    """Write as they come, `-` being standard output; returns how many. Raises InputError where that is not possible."""
    count = 0
    try:
        with click.open_file(str(file), "w", encoding="utf-8") as opened:
            for line in lines:
                opened.write(line)
                count += 1
    except OSError as error:
        raise InputError(f"cannot write {str(file)!r}: {error.strerror}; choose another place") from error
    return count
