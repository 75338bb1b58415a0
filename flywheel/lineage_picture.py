"""The lineage of a run as a picture: people, ratings, turns, rows, dataset, run, adapter, from left to right, as SVG.

Things of a kind are counted, not drawn one by one. Reads the store; draws boxes and lines, knows no page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flywheel.database import Database
from flywheel.errors import NotFound
from flywheel.lineage import STANDS_FOR

WIDTH, HEIGHT, GAP, ROW = 138, 58, 24, 76
SHOWN_PEOPLE = 4
SOURCES = {"correction": "correction", "thumb_up": "approved thumb up", "import": "imported row"}
INSIDE = "SELECT example_id FROM dataset_examples WHERE dataset_id = ?"
"""The run's own data set, which holds all that its other one does: that is made of the same examples."""
USED = """SELECT DISTINCT e.source, d.dataset_id FROM dataset_examples d JOIN datasets s ON s.id = d.dataset_id
    JOIN examples e ON e.id = d.example_id WHERE s.run_id = ? AND d.split != 'excluded' ORDER BY d.dataset_id"""
TURNS = f"SELECT turn_id FROM ({STANDS_FOR}) WHERE example_id IN ({INSIDE})"


class Box(NamedTuple):
    """One box: what it says in a few lines, the first of them large. near: ids of boxes to its right that came of it."""

    id: str
    lines: Sequence[str]
    near: Sequence[str]


Column = tuple[str, list[Box]]


def picture(database: Database, name: str) -> str:
    """The SVG of the run that this name stands for, or that made the model of this name. Raises NotFound."""
    run = database.first("SELECT id FROM runs WHERE id = ?1 UNION SELECT run_id FROM models WHERE id = ?1", (name,))
    if run is None:
        raise NotFound(f"no run and no trained model {name!r}: `flywheel runs` and `flywheel models` list them")
    return draw(columns(database, run["id"]))


def columns(database: Database, run_id: str) -> list[Column]:
    """What is drawn, from left to right; a kind of which there is nothing is left out."""
    found = [
        ("people", _people(database, run_id)),
        ("ratings", _ratings(database, run_id)),
        ("turns and files", [*_turns(database, run_id), *_imports(database, run_id)]),
        ("rows", _rows(database, run_id)),
        ("dataset", _dataset(database, run_id)),
        ("run", _run(database, run_id)),
        ("adapter", _model(database, run_id)),
    ]
    return [(title, boxes) for title, boxes in found if boxes]


def _people(database: Database, run_id: str) -> list[Box]:
    askers = f"SELECT person, count(*) AS n, 'turns' AS goes FROM turns WHERE id IN ({TURNS}) GROUP BY person"
    importers = (
        f"SELECT person, count(*) AS n, 'imports' AS goes FROM examples WHERE source = 'import' AND id IN ({INSIDE})"
        " GROUP BY person"
    )
    rows = database.query(f"{askers} UNION ALL {importers} ORDER BY n DESC, person", (run_id, run_id))
    rated = bool(_ratings(database, run_id))
    near: dict[str, list[str]] = {}
    told: dict[str, list[str]] = {}
    for row in rows:
        person = row["person"] or "nobody named"
        goes = ("ratings" if rated else "turns") if row["goes"] == "turns" else "imports"
        near.setdefault(person, []).append(goes)
        told.setdefault(person, []).append(_count(row["n"], "turn" if row["goes"] == "turns" else "row"))
    shown = [Box(f"person {person}", (person, *told[person]), near[person]) for person in [*near][:SHOWN_PEOPLE]]
    rest = [*near][SHOWN_PEOPLE:]
    if rest:
        shown.append(Box("others", (f"{len(rest)} more people",), sorted({goes for person in rest for goes in near[person]})))
    return shown


def _ratings(database: Database, run_id: str) -> list[Box]:
    sql = f"SELECT thumb, count(*) AS n, count(DISTINCT person) AS people FROM ratings WHERE turn_id IN ({TURNS})"
    rows = database.query(f"{sql} AND thumb IS NOT NULL GROUP BY thumb", (run_id,))
    found = {row["thumb"]: row for row in rows}
    lines = [f"{row['n']:,} {thumb} by {_count(row['people'], 'person', 'people')}" for thumb, row in sorted(found.items())]
    return [Box("ratings", lines, ["turns"])] if lines else []


def _turns(database: Database, run_id: str) -> list[Box]:
    sql = f"SELECT count(*) AS n, count(DISTINCT conversation_id) AS c FROM turns WHERE id IN ({TURNS})"
    row = database.first(sql, (run_id,)) or {"n": 0, "c": 0}
    near = [f"source {box}" for box in ("correction", "thumb_up")]
    return [Box("turns", (_count(row["n"], "turn"), f"in {_count(row['c'], 'conversation')}"), near)] if row["n"] else []


def _imports(database: Database, run_id: str) -> list[Box]:
    sql = f"SELECT count(*) AS n, count(DISTINCT import_id) AS files FROM examples WHERE source = 'import' AND id IN ({INSIDE})"
    row = database.first(sql, (run_id,)) or {"n": 0, "files": 0}
    return [Box("imports", (_count(row["files"], "file"),), ["source import"])] if row["n"] else []


def _rows(database: Database, run_id: str) -> list[Box]:
    sql = (
        "SELECT e.source, d.split, count(*) AS n FROM dataset_examples d"
        " JOIN examples e ON e.id = d.example_id WHERE d.dataset_id = ? GROUP BY e.source, d.split ORDER BY n DESC"
    )
    by_source: dict[str, list[tuple[str, int]]] = {}
    for row in database.query(sql, (run_id,)):
        by_source.setdefault(row["source"], []).append((row["split"], row["n"]))
    counted = f"SELECT source, count(DISTINCT person) AS people FROM examples WHERE id IN ({INSIDE}) GROUP BY source"
    used: dict[str, list[str]] = {}
    for row in database.query(USED, (run_id,)):
        used.setdefault(row["source"], []).append(f"dataset {row['dataset_id']}")
    people = {row["source"]: row["people"] for row in database.query(counted, (run_id,))}
    boxes = [
        Box(f"source {source}",
            (f"{_count(sum(n for _, n in by_source[source]), words)}", f"by {_count(people[source], 'person', 'people')}",
             ", ".join(f"{n} {split}" for split, n in by_source[source])), used.get(source, []))
        for source, words in SOURCES.items() if source in by_source
    ]  # fmt: skip
    replayed = sum(counts.get("replay", 0) for counts in _manifest(database, run_id).get("counts", {}).get("source", {}).values())
    return [*boxes, Box("replay", (_count(replayed, "replay row"),), [f"dataset {run_id}"])] if replayed else boxes


def _dataset(database: Database, run_id: str) -> list[Box]:
    boxes = []
    for row in database.query("SELECT id, digest FROM datasets WHERE run_id = ? ORDER BY id", (run_id,)):
        splits = _manifest(database, row["id"]).get("splits", {})
        lines = [f"{count} {split.replace('_', ' ')}" for split, count in splits.items()]
        boxes.append(Box(f"dataset {row['id']}", (row["digest"][:12], *lines[:2]), ["run"]))
    return boxes


def _run(database: Database, run_id: str) -> list[Box]:
    row = database.first("SELECT requested_by, status, outcome FROM runs WHERE id = ?", (run_id,))
    if row is None:
        return []
    near = [f"model {model['id']}" for model in database.query("SELECT id FROM models WHERE run_id = ?", (run_id,))]
    return [Box("run", (run_id, row["outcome"] or row["status"], f"asked for by {row['requested_by']}"), near)]


def _model(database: Database, run_id: str) -> list[Box]:
    sql = (
        "SELECT m.id, m.status, m.erased_rows, m.dataset_id, s.model FROM models m LEFT JOIN served s ON s.model = m.id"
        " WHERE m.run_id = ? ORDER BY m.id"
    )
    boxes = []
    for row in database.query(sql, (run_id,)):
        erased = [f"{row['erased_rows']} of its rows erased since"] if row["erased_rows"] else []
        second = row["dataset_id"].removeprefix(run_id).strip("-").upper()
        state = "serves now" if row["model"] else row["status"]
        said = row["id"].rpartition("/")[2], f"{second}: {state}" if second else state, *erased
        boxes.append(Box(f"model {row['id']}", said, []))
    return boxes


def _manifest(database: Database, run_id: str) -> dict[str, Any]:
    row = database.first("SELECT manifest FROM datasets WHERE id = ?", (run_id,))
    manifest: dict[str, Any] = json.loads(row["manifest"]) if row else {}
    return manifest


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


# drawing -------------------------------------------------------------------------------------------------------------


def draw(found: Sequence[Column]) -> str:
    """The columns as SVG, escaped; colours are the page's own, so that it is readable in the dark too."""
    tallest = max((len(boxes) for _, boxes in found), default=1)
    width, height = len(found) * (WIDTH + GAP) - GAP + 4, 26 + tallest * ROW
    places = {
        box.id: (2 + column * (WIDTH + GAP), 24 + round((tallest - len(boxes)) * ROW / 2) + row * ROW)
        for column, (_, boxes) in enumerate(found)
        for row, box in enumerate(boxes)
    }
    said = "; ".join(f"{title}: {', '.join(' '.join(box.lines[:2]) for box in boxes)}" for title, boxes in found)
    return "".join(
        [
            f'<svg class="lineage" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' role="img" aria-label="{html.escape(said)}" font-family="sans-serif" font-size="11" fill="currentColor">',
            *_lines(found, places),
            *_titles(found),
            *(_drawn(box, places[box.id]) for _, boxes in found for box in boxes),
            "</svg>",
        ]
    )


def _lines(found: Sequence[Column], places: dict[str, tuple[int, int]]) -> Iterable[str]:
    for _, boxes in found:
        for box in boxes:
            for other in box.near:
                if other in places:
                    (x, y), (to_x, to_y) = places[box.id], places[other]
                    a, b, middle = (x + WIDTH, y + HEIGHT // 2), (to_x, to_y + HEIGHT // 2), (x + WIDTH + to_x) // 2
                    path = f"M{a[0]} {a[1]} C{middle} {a[1]} {middle} {b[1]} {b[0]} {b[1]}"
                    yield f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".35"/>'


def _titles(found: Sequence[Column]) -> Iterable[str]:
    for column, (title, _) in enumerate(found):
        yield f'<text x="{2 + column * (WIDTH + GAP)}" y="12" opacity=".65">{html.escape(title)}</text>'


def _drawn(box: Box, place: tuple[int, int]) -> str:
    x, y = place
    rect = (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="none" stroke="currentColor" stroke-opacity=".5"/>'
    )
    weights = ("bold", "normal", "normal")
    texts = "".join(
        f'<text x="{x + 8}" y="{y + 18 + 15 * line}" font-weight="{weight}">{html.escape(_fit(text))}</text>'
        for line, (text, weight) in enumerate(zip(box.lines, weights, strict=False))
    )
    return f"<g><title>{html.escape(' · '.join(box.lines))}</title>{rect}{texts}</g>"


def _fit(text: str) -> str:
    """As much as a box holds; the whole stands in the box's title."""
    words = "".join(letter if letter.isprintable() else " " for letter in text)
    return words if len(words) <= 22 else f"{words[:21]}…"
