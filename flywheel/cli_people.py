"""The commands about what people said and what became of it: lineage and erase.

Knows how findings are told. What is looked up is `lineage`'s, what is taken out `erase`'s.
"""

from __future__ import annotations

from pathlib import Path

import click

from flywheel.cli_shell import Output, json_option, opened_state
from flywheel.erase import Eraser, Erasure
from flywheel.errors import InputError
from flywheel.lineage import Lineage
from flywheel.lineage_picture import picture
from flywheel.policy import read_policy

WORDS = {
    "conversations": "conversations", "turns": "turns", "tool_calls": "tool calls", "ratings": "ratings",
    "reviews": "reviews of their turns", "examples": "examples made of their turns",
    "names": "places where their name is replaced (reviews, imports, runs, promotions and audit lines of theirs stay)",
    "people": "account", "sessions": "sign-ins",
    "proposals": "corrections that others proposed for their turns", "intake_entries": "entries at Intake",
    "dataset_rows": "rows in kept dataset files", "platform_copies": "copies in the local platform",
    "tool_rows": "rows kept by tools (reminders, orders)", "log_lines": "log lines",
}  # fmt: skip


@click.command()
@click.argument("name", metavar="MODEL|TURN|PERSON")
@click.option("--svg", type=click.Path(path_type=Path), help="Also draw a model's lineage into this file.")
@json_option
@click.pass_obj
def lineage(output: Output, name: str, svg: Path | None) -> None:
    """Show where a model comes from, or what became of a turn or of all that a person said.

    Example: flywheel lineage flywheel/tool-llama-5m-run-3f2a91bc07d1@v1
    """
    with opened_state() as (_, store):
        found = Lineage(store.database).of(name)
        if svg is not None:
            try:
                svg.write_text(picture(store.database, name), encoding="utf-8")
            except OSError as error:
                raise InputError(f"cannot write {str(svg)!r}: {error.strerror}; choose another place") from error
    output.result(found.to_dict(), found.text())


@click.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="Do not ask; it cannot be undone.")
@json_option
@click.pass_obj
def erase(output: Output, person: str, yes: bool) -> None:
    """Take PERSON out of everything that is kept: words, ratings, examples, datasets, copies, tools' rows, logs.

    Says first what there is, and asks. Models that learned from their rows are marked; what serves is yours to change, unless
    policy.toml says that it goes at once. May be repeated, and must be after an interruption.

    Example: flywheel erase ann
    """
    with opened_state() as (settings, store):
        eraser = Eraser(settings, store, policy=read_policy(settings.home).erasure)
        if not yes:
            if output.json:
                raise InputError(
                    f"erasing {person!r} cannot be undone: say so with --yes; without --json it shows first what there is"
                )
            found = eraser.look(person)
            if not found.nothing:
                output.note(f"Of {person!r} this would be erased:\n{_listed(found)}")
                click.confirm("Erase it for good?", abort=True, err=True)
        done = eraser.erase(person)
    output.result(done.to_dict() | {"erased": not done.nothing}, _told(done))


def _listed(found: Erasure) -> str:
    lines = [f"  {found.counts[name]:>6,} {words}" for name, words in WORDS.items() if found.counts.get(name)]
    lines += [f"  {m.model} learned from {m.rows} of the rows{' and serves now' if m.serves else ''}" for m in found.models]
    return "\n".join(lines)


def _told(done: Erasure) -> str:
    if done.nothing:
        return f"Nothing of {done.person!r} is stored."
    lines = [f"Erased of {done.person!r}:", _listed(done)]
    if done.models:
        lines.append("These models are marked in `flywheel models`. `flywheel run` trains one without the rows.")
    if done.instead:
        lines.append(f"The one that served was taken down: {done.instead} serves now.")
    elif any(learner.serves for learner in done.models):
        lines.append(
            "One of them serves until you change that: `flywheel rollback`, or `flywheel promote` a model that is clean."
        )
    if done.remaining:
        lines += ["Copies remain at services, which must be asked to delete them:", *(f"  {url}" for url in done.remaining)]
    return "\n".join(lines)
