"""Feedback as files: what stands in each shape, which turns a filter means, and the memory that many of them take."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from feedback import calling, finished_turn, saying

from flywheel.__main__ import main
from flywheel.audit import Audit
from flywheel.errors import InputError
from flywheel.feedback import FeedbackReader, Selection
from flywheel.feedback_shapes import Shape, lines
from flywheel.ledger import Ledger
from flywheel.review import ReviewDesk
from flywheel.rows import read_rows
from flywheel.settings import Settings
from flywheel.store import Store

OSLO, ROME = calling(("get_weather", {"city": "Oslo"})), calling(("get_weather", {"city": "Rome"}))
BEFORE = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."})
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(Store(settings.store_path)) as opened:
        yield opened


@pytest.fixture
def turns(store: Store) -> dict[str, str]:
    """A liked turn, one that was corrected, one whose words were corrected, a rejected one, and one that nobody looked at."""
    desk = ReviewDesk(store, Ledger(store.database))
    liked = finished_turn(store, "Is it warm in Oslo?", OSLO, RESULT, saying("It is sunny in Oslo."), context=BEFORE)
    store.rate("ann", liked.id, "up", [], "=HYPERLINK(1)")
    fixed = finished_turn(store, "Is it warm in Rome?", OSLO, saying("It is sunny in Oslo."), person="bob")
    store.rate("bob", fixed.id, "down", ["wrong_arguments"], "I said Rome, «really»\nyes")
    desk.approve(fixed.id, "rita", ROME)
    worded = finished_turn(store, "@thanks", saying("What?"))
    desk.approve(worded.id, "rita", saying("You are welcome."))
    rejected = finished_turn(store, "Is it warm?", calling(("local_time", {"city": "Oslo"})), saying("No"))
    desk.reject(rejected.id, "rita")
    finished_turn(store, "Unseen", saying("Yes"))
    return {"liked": liked.id, "fixed": fixed.id, "worded": worded.id, "rejected": rejected.id}


def written(store: Store, shape: Shape, **chosen: Any) -> str:
    return "".join(lines(FeedbackReader(store).select(Selection(**chosen)), shape, "ns"))


def rows(store: Store, shape: Shape, **chosen: Any) -> list[Any]:
    return [json.loads(line) for line in written(store, shape, **chosen).splitlines()]


def called(message: dict[str, Any]) -> Any:
    return json.loads(message["tool_calls"][0]["function"]["arguments"])


def test_openai_messages_hold_the_whole_conversation_or_end_in_the_correction(store: Store, turns: dict[str, str]) -> None:
    liked, fixed, worded, rejected = rows(store, "openai")
    assert [message["role"] for message in liked["messages"]] == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert liked["messages"][1]["weight"] == 0 and "weight" not in liked["messages"][3]
    assert called(liked["messages"][3]) == {"city": "Oslo"} and liked["feedback"]["ratings"][0]["opinion"] == "=HYPERLINK(1)"
    assert called(fixed["messages"][-1]) == {"city": "Rome"} and called(fixed["feedback"]["said"]) == {"city": "Oslo"}
    assert fixed["feedback"]["review"]["reviewer"] == "rita" and fixed["feedback"]["person"] == "bob"
    assert fixed["feedback"]["ratings"][0]["categories"] == ["wrong_arguments"]
    assert worded["messages"][-1]["content"] == "You are welcome." and rejected["feedback"]["review"]["verdict"] == "rejected"
    assert fixed["tools"] == liked["tools"] and len(fixed["tools"]) == 3


def test_xlam_and_preference_pairs_hold_what_fits_them(store: Store, turns: dict[str, str]) -> None:
    found = {row["feedback"]["turn"]: json.loads(row["answers"]) for row in rows(store, "xlam")}
    assert found.keys() == {turns["fixed"], turns["rejected"]}  # a dialogue and words do not fit
    assert found[turns["fixed"]] == [{"name": "get_weather", "arguments": {"city": "Rome"}}]
    fixed, worded = rows(store, "dpo")
    assert fixed["prompt"] == [{"role": "user", "content": "Is it warm in Rome?"}] and len(fixed["tools"]) == 3
    assert (called(fixed["chosen"][0]), called(fixed["rejected"][0])) == ({"city": "Rome"}, {"city": "Oslo"})
    assert (worded["chosen"][0]["content"], worded["rejected"][0]["content"]) == ("You are welcome.", "What?")


def test_what_leaves_as_openai_or_xlam_can_be_imported(store: Store, turns: dict[str, str], tmp_path: Path) -> None:
    for shape, count in (("openai", 4), ("xlam", 2)):
        file = tmp_path / f"{shape}.jsonl"
        file.write_text(written(store, shape), encoding="utf-8")  # type: ignore[arg-type]
        found = read_rows(file)
        assert (len(found.rows), found.problems) == (count, [])
        assert {row.question: row.calls for _, row in found.rows}["Is it warm in Rome?"][0].arguments == {"city": "Rome"}


def test_intake_entries_are_what_intake_takes(store: Store, turns: dict[str, str]) -> None:
    from flywheel.local.intake_entries import Entry

    entries = [Entry.model_validate(row) for row in rows(store, "intake")]
    assert [entry.external_id for entry in entries] == list(turns.values())
    assert [event.event_type for entry in entries for event in entry.events] == ["reviewer_annotation"] * 3


def test_the_table_is_safe_to_open(store: Store, turns: dict[str, str]) -> None:
    head, *cells = csv.reader(io.StringIO(written(store, "csv"), newline=""))
    table = {row[0]: dict(zip(head, row, strict=True)) for row in cells}
    assert list(table) == list(turns.values())
    assert table[turns["liked"]]["opinion"] == "'=HYPERLINK(1)" and table[turns["worded"]]["question"] == "'@thanks"
    fixed = table[turns["fixed"]]
    assert fixed["opinion"] == "I said Rome, «really»\nyes" and fixed["correction"] == 'get_weather({"city": "Rome"})'
    assert (fixed["thumb"], fixed["verdict"], table[turns["rejected"]]["thumb"]) == ("down", "approved", "")


@pytest.mark.parametrize(
    "chosen, names",
    [
        ({"thumb": "down"}, "fixed"), ({"verdict": "rejected"}, "rejected"), ({"tool": "get_weather"}, "liked fixed"),
        ({"person": "bob"}, "fixed"), ({"model": "none"}, ""), ({"until": "2020-01-01"}, ""),
        ({"since": "2020-01-01T10:00+02:00", "person": "ann", "verdict": "approved"}, "worded"),
    ],
)  # fmt: skip
def test_filters(store: Store, turns: dict[str, str], chosen: dict[str, Any], names: str) -> None:
    found = [feedback.turn.id for feedback in FeedbackReader(store).select(Selection(**chosen))]
    assert found == [turns[name] for name in names.split()]


def test_a_date_that_is_none_is_named(store: Store) -> None:
    with pytest.raises(InputError, match="'yesterday' is no date"):
        written(store, "csv", since="yesterday")


def test_many_turns_take_no_more_memory_than_few(store: Store) -> None:
    turn = finished_turn(store, "How warm is it? " * 60, OSLO, saying("Warm. " * 100))
    store.rate("ann", turn.id, "up")
    copies = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
    moment = "printf('2026-01-01T00:00:%09.6f', i / 100)"
    columns = "conversation_id, person, question, context, tools, model, status, messages, answer, verdicts, timings"
    with store.database.transaction():
        store.database.execute(
            f"INSERT INTO turns (id, position, created_at, finished_at, {columns}) {copies}"
            f" SELECT 'turn-' || i, i + 1, {moment}, '2026', {columns} FROM n, turns WHERE id = ?",
            (turn.id,),
        )
        store.database.execute("INSERT INTO ratings SELECT id, person, 'up', '[]', '', created_at, created_at FROM turns WHERE"
                               " id != ?", (turn.id,))  # fmt: skip
    tracemalloc.start()
    size = sum(len(line) for line in lines(FeedbackReader(store).select(Selection()), "openai", "ns"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 2_500_000 and peak < 1_000_000, (size, peak)


def flywheel(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_the_command(store: Store, turns: dict[str, str], tmp_path: Path) -> None:
    told = json.loads(flywheel("feedback", tmp_path / "out.csv", "--shape", "csv", "--person", "bob", "--json").stdout)
    assert (told["rows"], told["person"]) == (1, "bob") and "I said Rome" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    piped = flywheel("feedback", "-", "--shape", "dpo", "--thumb", "down")
    assert json.loads(piped.stdout)["chosen"] and "1 rows written" in piped.stderr
    assert "name a file" in json.loads(flywheel("feedback", "-", "--shape", "dpo", "--json", code=1).stdout)["error"]
    assert "cannot write" in flywheel("feedback", tmp_path, "--shape", "dpo", code=1).stderr
    assert "2 examples written" in flywheel(tmp_path / "examples.jsonl", "--format", "openai").stdout  # without its first word
    assert "2 examples written" in flywheel("examples", tmp_path / "examples.jsonl", "--format", "openai").stdout
    assert "feedback" in flywheel("--help").stdout
    entries = [(entry.person, entry.action, entry.subject, entry.detail) for entry in Audit(store.database).entries()]
    assert entries[-1] == ("command line", "export feedback", "bob", {"shape": "csv"})
    assert entries[-2][3] == {"shape": "dpo", "thumb": "down"}
