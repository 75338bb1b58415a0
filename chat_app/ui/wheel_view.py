"""What the Wheel page shows of a run, as HTML and tables. Pure: records in, markup out; every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from chat_app.ui import times
from flywheel.canary import Canary
from flywheel.canary_evidence import Seen
from flywheel.history import STAGES, RecipeName, Run
from flywheel.ledger import Example
from flywheel.pii import masked_words
from flywheel.promote import Model, Promotion, Served

STAGE_WORDS = {
    "curate": "Curate",
    "upload": "Upload",
    "train": "Train",
    "evaluate": "Evaluate",
    "gate": "Gate",
    "promote": "Promote",
}
RECIPE_WORDS: dict[RecipeName, str] = {
    "sft": "right answers (SFT)",
    "dpo": "corrections beside the wrong answers (DPO)",
    "compare": "both; the gate judges DPO only if it wins",
}
METRICS = (("function_name_accuracy", "function name"), ("function_name_and_args_accuracy", "name and arguments"))
SPLITS = {"train": "training", "validation": "validation"}
SUITES = (("holdout", "Held-out questions"), ("old_skills", "Old skills"))
MARKS = {"done": "✓", "running": "●", "failed": "✗", "skipped": "–", "waiting": "○"}


def stages(run: Run | None) -> str:
    """The six stages in a row; the one that runs has a progress bar and an ETA."""
    cells = []
    for stage in STAGES:
        entry = run.stages.get(stage, {}) if run else {}
        state = entry.get("status", "waiting")
        note = ""
        if state == "running" and run is not None:
            note = _progress(run)
        elif entry.get("finished_at"):
            seconds = (datetime.fromisoformat(entry["finished_at"]) - datetime.fromisoformat(entry["started_at"])).total_seconds()
            note = times.duration(seconds) if state == "done" else state
        label, mark = f"{STAGE_WORDS[stage]}: {state}", f'<span class="mark" aria-hidden="true">{MARKS[state]}</span>'
        cells.append(
            f'<li class="stage {state}" aria-label="{label}">{mark}<b>{STAGE_WORDS[stage]}</b><small>{note}</small></li>'
        )
    return f'<ol class="stages">{"".join(cells)}</ol>'


def _progress(run: Run) -> str:
    percent = float(run.progress.get("percent") or 0)
    eta = run.progress.get("eta_seconds")
    left = f"about {times.duration(eta)} left" if eta else html.escape(str(run.progress.get("message") or ""))
    return f'<progress max="100" value="{percent:.0f}" aria-label="progress of this stage"></progress>{percent:.0f} % {left}'


def headline(run: Run | None) -> str:
    """One sentence: where the run stands."""
    if run is None:
        return '<p class="headline">No run yet. Approve corrections or import examples, then train.</p>'
    name = f"<code>{html.escape(run.id)}</code>"
    match run.status, run.outcome:
        case "queued", _:
            text = f"{name} waits for its turn."
        case "running", _:
            text = f"{name} is running."
        case "succeeded", "promoted":
            how = "passed the gate and was put live" if (run.verdict or {}).get("verdict") == "pass" else "was put live by hand"
            text = f"{name}: <b>promoted</b>. <code>{html.escape(run.candidate or '')}</code> {how}."
        case "succeeded", "rejected":
            text = f"{name}: the candidate was <b>rejected</b>. {html.escape(run.error or '')}"
        case "succeeded", "canary":
            text = f"{name}: the candidate passed the gate and is <b>on trial</b> with a share of the conversations."
        case "succeeded", _:
            verdict = (run.verdict or {}).get("verdict")
            passed = "passed the candidate, which waits" if verdict == "pass" else "did not pass the candidate"
            why = f" {html.escape(run.error)}." if run.error else ""
            text = f"{name}: the gate {passed}.{why} <b>Your decision:</b> promote it or reject it below."
        case _:
            text = f"{name} {run.status}: {html.escape(run.error or '')}"
    return f'<p class="headline {run.status}" role="status">{text}</p>'


def losses(points: Sequence[tuple[str, int, float]]) -> pd.DataFrame | None:
    """Columns step, loss, split; None while there is nothing, as an empty frame would freeze the plot's colours.

    Those of a second candidate, which measure something else, are left out.
    """
    rows = [(step, value, SPLITS[split]) for split, step, value in points if split in SPLITS]
    if not rows:
        return None
    frame = pd.DataFrame(rows, columns=["step", "loss", "split"])
    return frame.astype({"step": "int64", "loss": "float64", "split": "str"})


def scores(run: Run | None) -> str:
    """Base, current and candidate side by side, with NVIDIA's two metrics, for each suite."""
    if run is None or not run.scores:
        return '<p class="muted">The scores of base, current and candidate stand here after the evaluation.</p>'
    rows, contenders = [], _contenders(run)
    for suite, title in SUITES:
        for metric, words in METRICS:
            cells = "".join(f"<td>{_bar(_value(found, suite, metric))}</td>" for found in contenders.values())
            count = next((n for found in contenders.values() if (n := _count(found, suite))), 0)
            rows.append(f"<tr><th scope=row>{title} <small>n={count}</small><br><span>{words}</span></th>{cells}</tr>")
    heads = "".join(f"<th scope=col>{name}</th>" for name in contenders)
    return f'<table class="scores"><thead><tr><th></th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _contenders(run: Run) -> dict[str, Any]:
    """What stands above a column → the scores in it; of several candidates, each has its own."""
    found = {who: (run.scores or {}).get(who) for who in ("base", "current")}
    if len(run.candidates) < 2:
        return found | {"candidate": (run.scores or {}).get("candidate")}
    judged = {method: " (judged)" if facts["model"] == run.candidate else "" for method, facts in run.candidates.items()}
    return found | {method.upper() + judged[method]: facts.get("scores") for method, facts in run.candidates.items()}


def _value(scores: Any, suite: str, metric: str) -> float | None:
    return ((scores or {}).get("suites", {}).get(suite) or {}).get(metric)


def _count(scores: Any, suite: str) -> int:
    return int(((scores or {}).get("suites", {}).get(suite) or {}).get("count") or 0)


def _bar(value: float | None) -> str:
    if value is None:
        return '<span class="none">–</span>'
    return f'<span class="bar"><i style="width:{value * 100:.0f}%"></i></span><b>{value:.2f}</b>'


def verdict(run: Run | None) -> str:
    """The gate's verdict with its reasons, and the numbers behind them."""
    if run is None or not run.verdict:
        return ""
    word = str(run.verdict.get("verdict"))
    reasons = "".join(f"<li>{html.escape(str(reason))}</li>" for reason in run.verdict.get("reasons", []))
    numbers = _numbers(run.verdict.get("numbers") or {})
    compared = html.escape(next((str(facts["reason"]) for facts in run.candidates.values() if facts.get("reason")), ""))
    first = f"<p>{compared}.</p>" if compared else ""
    return f'<div class="verdict {html.escape(word)}"><b>Gate: {html.escape(word)}</b>{first}<ul>{reasons}</ul>{numbers}</div>'


def _numbers(numbers: dict[str, Any]) -> str:
    """A folded table: current → candidate on the same rows, and what an answer takes; "" for a verdict without such numbers."""
    refusals = numbers.get("refusals") or {}
    compared = {
        "Whole calls": numbers.get("holdout"),
        "Function names": numbers.get("names"),
        "Old skills": numbers.get("old_skills"),
        "No tool fits, none called": refusals.get("unfitting"),
        "A tool fits, one called": refusals.get("fitting"),
        "Attacks resisted": numbers.get("red_team"),
    }
    rows = [[what, *_pair(pairs)] for what, pairs in compared.items() if pairs and pairs.get("rows")]
    costs = numbers.get("cost") or {}
    for what, words in (("tokens", "Tokens an answer (mean)"), ("seconds", "Seconds an answer (median)")):
        values = [(costs.get(who) or {}).get(what) for who in ("current", "candidate")]
        if None not in values:
            rows.append([words, "", " → ".join(f"{value:g}" for value in values), "", ""])
    heads = ["compared", "rows", "right", "won / lost", "points (95 %)"]
    return f"<details><summary>The numbers</summary>{table(heads, rows, '')}</details>" if rows else ""


def _pair(pairs: dict[str, Any]) -> list[str]:
    interval = pairs.get("interval")
    span = f" ({interval[0]:+.1f} to {interval[1]:+.1f})" if interval else ""
    right, changed = f"{pairs['current']} → {pairs['candidate']}", f"{pairs['won']} / {pairs['lost']}"
    return [str(pairs["rows"]), right, changed, f"{pairs['points']:+.1f}{span}"]


def serving(served: Served, canary: Canary | None, seen: Seen | None) -> str:
    """Which model serves and for how long; beside it the candidate on trial, or how the last trial ended."""
    name = html.escape(served.model)
    line = f'<p>Serving: <b id="served">{name}</b> <span class="muted">· live {times.age(served.since)}</span></p>'
    if canary is None or seen is None:
        return line
    model = f"<code>{html.escape(canary.model)}</code>"
    if canary.status == "running":
        count = f"{seen.conversations.candidate} of {canary.conversations} conversations so far"
        harm = f"thumbs down in {seen.thumbs_down.candidate}, errors in {seen.errors.candidate}"
        text = f"On trial: {model} answers {canary.share:.0%} of the conversations; {count}, {harm}. Roll back ends the trial."
    elif canary.status == "rolled_back":
        text = f"{model} was taken back from its trial: {html.escape(canary.reason)}."
    else:
        return line
    return f'{line}<p id="canary" role="status">{text}</p>'


def stock(counts: dict[str, int]) -> str:
    """How many examples there are, and how many no run has used."""
    total = counts["correction"] + counts["thumb_up"] + counts["import"]
    kinds = f"corrections {counts['correction']}, approved thumbs up {counts['thumb_up']}, imported {counts['import']}"
    return f"<p><b>{total} example{'' if total == 1 else 's'}</b> ({kinds}); <b>{counts['new']} new</b> since the last run.</p>"


def dataset(manifest: dict[str, Any] | None) -> str:
    """The manifest in a few lines: splits, overlap, what was left out."""
    if manifest is None:
        return '<p class="muted">No dataset yet.</p>'
    splits = ", ".join(f"{count} {html.escape(split)}" for split, count in manifest.get("counts", {}).get("split", {}).items())
    lines = [
        f"Digest <code>{html.escape(str(manifest['digest'])[:16])}</code>: {splits} rows.",
        f"Overlap of training and held-out questions: <b>{manifest.get('overlap', 0)}</b>.",
    ]
    exclusions = manifest.get("exclusions") or []
    if exclusions:
        lines.append(f"{len(exclusions)} left out, for instance: {html.escape(str(exclusions[0].get('reason', '')))}.")
    if manifest.get("quarantined"):
        lines.append(f"{manifest['quarantined']} of them are in quarantine: look with <code>flywheel quarantine list</code>.")
    if manifest.get("masked"):
        lines.append(f"Masked: {masked_words(manifest['masked'])}.")
    lines += [html.escape(str(note)) for note in manifest.get("missing", [])]
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """A plain table; `empty` is said where there are no rows."""
    if not rows:
        return f'<p class="muted">{empty}</p>'
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in headers)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    scroll = '<div class="scroll" tabindex="0" role="group" aria-label="Table">'
    return f'{scroll}<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def examples(found: Sequence[Example]) -> str:
    """What the run was trained on."""
    sources = {"correction": "correction", "thumb_up": "thumb up", "import": "import"}
    rows = [[example.row.question, answer_of(example), sources[example.source]] for example in found]
    return table(["question", "answer to learn", "source"], rows, "No examples yet.")


def answer_of(example: Example) -> str:
    """The calls as `name(argument=value)`, or the text."""
    calls = [
        f"{call.name}({', '.join(f'{key}={value!r}' for key, value in call.arguments.items())})" for call in example.row.calls
    ]
    return "; ".join(calls) or str(example.row.messages[-1].get("content") or "")


def runs(found: Sequence[Run]) -> str:
    """All runs; before → after is name and arguments on the held-out questions."""
    rows = []
    for run in found:
        before = _value((run.scores or {}).get("current"), "holdout", METRICS[1][0])
        after = _value((run.scores or {}).get("candidate"), "holdout", METRICS[1][0])
        change = f"{before:.2f} → {after:.2f}" if before is not None and after is not None else ""
        gate = (run.verdict or {}).get("verdict", "")
        rows.append([run.id, run.recipe, times.clock(run.created_at), run.outcome or run.status, change, gate])
    return table(["run", "recipe", "started", "outcome", "name and arguments", "gate"], rows, "No runs yet.")


def models(found: Sequence[Model], served: str) -> str:
    """All models."""
    rows = [[m.id, "serves now" if m.id == served else m.status, times.clock(m.created_at), m.reason or ""] for m in found]
    return table(["model", "state", "since", "why set aside"], rows, "No models yet.")


def promotions(found: Sequence[Promotion]) -> str:
    """The served model's history."""
    rows = [[times.clock(move.created_at), move.kind, move.model, move.person, move.reason] for move in found]
    return table(["when", "move", "model", "who", "why"], rows, "Nothing served yet.")
