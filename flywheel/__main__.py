"""The `flywheel` command line: import, run, look, promote, evaluate, export.

Results go to standard output (`--json`: one JSON object and nothing else), notes and errors to standard error. Knows which
command calls what, and nothing else; errors become exit codes here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from flywheel import (
    cli_accounts,
    cli_export,
    cli_intake,
    cli_people,
    cli_quarantine,
    cli_review,
    cli_text,
    cli_upkeep,
)
from flywheel.cli_shell import Commands, Output, json_option, opened_state, running_services
from flywheel.doctor import doctor
from flywheel.errors import InputError, NotFound
from flywheel.history import RECIPES, RecipeName, Run, RunRecords
from flywheel.imports import import_everyday, import_file, import_hub
from flywheel.ledger import Ledger
from flywheel.promote import Registry
from flywheel.rows import read_rows
from flywheel.settings import Settings
from flywheel.store import Store

PERSON = "command line"


def _terminated(number: int, frame: Any) -> NoReturn:
    sys.exit(128 + number)


@click.group(cls=Commands)
@click.version_option(package_name="flywheel-chat")
def main() -> None:
    """A chatbot that learns from its ratings: the developer's side.

    Example: flywheel import examples.jsonl && flywheel run --wait
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _terminated)  # so that what was started is stopped in good order


@main.command()
@click.option("--home", type=click.Path(path_type=Path), help="State folder; default: the flywheel's own.")
@click.option("--port", default=8000, show_default=True, help="Port on 127.0.0.1; 0 = a free one.")
@click.option("--base-model", metavar="ID=PATH", help="Another base model: its id and its Hugging Face folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the three URLs as one JSON object when it is ready.")
def local(home: Path | None, port: int, base_model: str | None, as_json: bool) -> None:
    """Start the local platform: NeMo microservices on this machine, until Ctrl-C.

    Example: flywheel local --port 8000
    """
    home = home or Settings.from_environment().prepare().platform_home
    command = [sys.executable, "-m", "flywheel.local", "--home", str(home), "--port", str(port)]
    command += ["--base-model", base_model] if base_model else []
    os.execv(sys.executable, command + (["--json"] if as_json else []))


@main.command("import")
@click.argument("source")
@click.option("--split", default="train", show_default=True, help="Split of a hub data set.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows of a hub data set.")
@json_option
@click.pass_obj
def import_(output: Output, source: str, split: str, limit: int | None) -> None:
    """Take in examples from SOURCE: a file in xLAM shape or OpenAI messages JSONL, or a hub data set (owner/name).

    The word everyday stands for the questions that come with the chat. Good rows go in; every other is named with its line
    and reason.

    Example: flywheel import examples.jsonl
    """
    with opened_state() as (_, store):
        ledger, path = Ledger(store.database), Path(source)
        if source == "everyday" and not path.exists():
            report = import_everyday(ledger, person=PERSON)
        elif path.exists() or path.suffix in (".json", ".jsonl") or source.count("/") != 1:
            report = import_file(ledger, path, person=PERSON)
        else:
            report = import_hub(ledger, source, person=PERSON, split=split, limit=limit)
    output.result(asdict(report), cli_text.import_report(report))
    if report.problems and not report.accepted + report.known:
        sys.exit(1)


@main.command()
@click.option("--wait", is_flag=True, help="Work the run off and wait for its end, also without the web app.")
@click.option(
    "--recipe",
    type=click.Choice([*RECIPES]),
    default="sft",
    show_default=True,
    help="How it learns: from right answers (sft), from corrections beside the model's own wrong answers (dpo), or both ways, of "
    "which the gate judges DPO's model only where it wins on the holdout (compare).",
)
@json_option
@click.pass_obj
def run(output: Output, wait: bool, recipe: RecipeName) -> None:
    """Train, evaluate and, if the gate passes, promote the next model.

    A run that is under way already, or was when the machine went down, is carried on with --wait.

    Example: flywheel run --wait --json
    """
    from flywheel.runs import launcher_running, request

    with opened_state() as (settings, store):
        active = RunRecords(store.database).active() if wait else None
        if active:
            output.note(f"The run {active.id} is under way; carrying it on.")
        asked = active or request(store, PERSON, recipe)
        if wait:
            asked = _work_off(settings, store, asked, output)
        elif not launcher_running(settings):
            output.note("Nothing works runs off at the moment: it begins with `make chat` or `flywheel run --wait`.")
    output.result(cli_text.run_object(asked), cli_text.run_page(asked))
    if asked.status in ("failed", "cancelled"):
        sys.exit(1)


def _work_off(settings: Settings, store: Store, run: Run, output: Output) -> Run:
    """Wait for the end of a run, working it off here unless another process does."""
    from flywheel.runs import Wheel

    follower = cli_text.Follower(output.note)
    with running_services(settings, output) as settings, closing(Wheel(settings, store)) as wheel:
        wheel.launch()
        try:
            return follower.follow(RunRecords(store.database), run.id)
        except (KeyboardInterrupt, SystemExit):
            output.note(f"Stopping. The run {run.id} goes on with `flywheel run --wait` or `make chat`.")
            raise


@main.command()
@click.option("--limit", default=20, show_default=True, help="At most so many.")
@json_option
@click.pass_obj
def runs(output: Output, limit: int) -> None:
    """List the runs, newest first.

    Example: flywheel runs
    """
    with opened_state() as (_, store):
        found = RunRecords(store.database).runs(limit)
    output.result({"runs": [cli_text.run_object(each) for each in found]}, cli_text.run_list(found))


@main.command()
@click.argument("run_id", metavar="RUN")
@json_option
@click.pass_obj
def show(output: Output, run_id: str) -> None:
    """Show a run: stages, scores, verdict, dataset.

    Example: flywheel show run-3f2a91bc07d1
    """
    with opened_state() as (_, store):
        found = RunRecords(store.database).run(run_id)
        dataset = Ledger(store.database).dataset(run_id)
        losses = RunRecords(store.database).losses(run_id)
    value = cli_text.run_object(found) | {"dataset": dataset, "losses": losses}
    output.result(value, cli_text.run_page(found))


@main.command()
@click.argument("run_id", metavar="RUN")
@json_option
@click.pass_obj
def cancel(output: Output, run_id: str) -> None:
    """End a run and its job; the model that serves goes on serving.

    Example: flywheel cancel run-3f2a91bc07d1
    """
    from flywheel.runs import Wheel

    with opened_state() as (settings, store):
        RunRecords(store.database).run(run_id)
        with running_services(settings, output) as settings, closing(Wheel(settings, store)) as wheel:
            wheel.cancel(run_id, PERSON)
    output.result({"run": run_id, "status": "cancelled"}, f"The run {run_id} is cancelled.")


@main.command()
@json_option
@click.pass_obj
def models(output: Output) -> None:
    """List the models, newest first, and say which one serves.

    Example: flywheel models
    """
    with opened_state() as (_, store):
        registry = Registry(store.database)
        served, known, moves = registry.served(), registry.models(), registry.promotions()
        canary = registry.canaries.latest()
        seen = registry.canaries.seen(canary) if canary else None
    value = {"served": asdict(served), "models": [asdict(m) for m in known], "promotions": [asdict(m) for m in moves]}
    trial = (
        asdict(canary) | {"seen": {name: arms._asdict() for name, arms in seen._asdict().items()}} if canary and seen else None
    )
    output.result(value | {"canary": trial}, cli_text.model_list(known, served, canary, seen))


@main.command()
@click.argument("model")
@click.option("--reason", default="", help="Why; it stays in the history. Against the gate's verdict, it must be given.")
@json_option
@click.pass_obj
def promote(output: Output, model: str, reason: str) -> None:
    """Let MODEL answer the chat from now on. NIM must list it.

    It takes a reason to overrule the gate, and the audit log keeps who did.

    Example: flywheel promote flywheel/tool-llama-5m-run-3f2a91bc07d1@v1 --reason "fixes the reminders"
    """
    from flywheel.runs import Wheel

    with opened_state() as (settings, store):
        registry = Registry(store.database)
        registry.model(model)
        with running_services(settings, output) as settings, closing(Wheel(settings, store)) as wheel:
            changed = wheel.promote(model, person=PERSON, reason=reason)
    output.result({"served": model, "changed": changed}, f"{model} serves now." if changed else f"{model} served already.")


@main.command()
@click.argument("model")
@click.option("--reason", required=True, help="Why; it stays in the run's record.")
@json_option
@click.pass_obj
def reject(output: Output, model: str, reason: str) -> None:
    """Set a candidate aside for good, also one that is on trial with a share of the conversations.

    Example: flywheel reject flywheel/tool-llama-5m-run-3f2a91bc07d1@v1 --reason "answers oddly"
    """
    with opened_state() as (_, store):
        Registry(store.database).reject(model, person=PERSON, reason=reason)
    output.result({"rejected": model}, f"{model} is rejected.")


@main.command()
@click.option("--reason", default="by hand", show_default=True, help="Why; it stays in the history.")
@json_option
@click.pass_obj
def rollback(output: Output, reason: str) -> None:
    """Let the model answer the chat that did so before the present one; a candidate on trial is taken back instead.

    Example: flywheel rollback --reason "people complain"
    """
    with opened_state() as (_, store):
        model = Registry(store.database).roll_back(person=PERSON, reason=reason)
    output.result({"served": model}, f"{model} serves again.")


@main.command()
@click.option("--model", required=True, help="Id of a model that NIM lists.")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Rows in xLAM, OpenAI or NeMo evaluation shape.")
@json_option
@click.pass_obj
def evaluate(output: Output, model: str, data: Path) -> None:
    """Score a model's tool calls on a file: NVIDIA's two metrics, the number of rows, and each tool by itself.

    Example: flywheel evaluate --model local/tool-llama-5m --data test.jsonl
    """
    from flywheel.evaluate import evaluate as evaluate_rows
    from flywheel.nemo import Nemo

    found = read_rows(data)
    if not found.rows:
        raise InputError(f"no row of {data.name!r} can be used; the first problem is in line {found.problems[0].line}: "
                         f"{found.problems[0].reason}")  # fmt: skip
    with opened_state() as (settings, _), running_services(settings, output) as settings, closing(Nemo(settings)) as nemo:
        listed = nemo.model_ids()
        if model not in listed:
            raise NotFound(f"NIM does not serve {model!r}; it serves {', '.join(listed)}")
        scores = evaluate_rows(nemo, model, [row for _, row in found.rows]).scores
    value = {"model": model, "problems": [problem._asdict() for problem in found.problems]} | scores.to_dict()
    output.result(value, cli_text.score_table(model, scores, len(found.problems)))


for command in (
    cli_export.export, cli_intake.intake, cli_people.lineage, cli_people.erase, cli_accounts.people, cli_accounts.audit,
    cli_review.review, cli_quarantine.quarantine, cli_upkeep.schedule, cli_upkeep.retain, doctor,
):  # fmt: skip
    main.add_command(command)

if __name__ == "__main__":
    main()
