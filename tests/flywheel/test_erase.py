"""Erasing a person: afterwards no byte under the state folder holds what they said, and everybody else's things are untouched."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from feedback import about, calling, finished_turn, row, saying
from wheel_turned import corrected_turn, holding, turn_wheel

from flywheel.__main__ import main
from flywheel.audit import Audit
from flywheel.erase import Eraser
from flywheel.errors import Conflict, InputError, StorageError
from flywheel.feedback import FeedbackReader, Selection
from flywheel.feedback_shapes import to_intake
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.promote import Registry
from flywheel.review import ReviewDesk
from flywheel.rows import to_nemo_eval
from flywheel.runs import request
from flywheel.settings import Settings
from flywheel.store import Store
from tests.conftest import fix_sides
from tools.reminders import add_reminder, list_reminders
from tools.tool import ToolContext

MARK = "zanzibar-4711"
QUESTION = f"How warm is {MARK} “today”?"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store in it, as the web app holds it."""
    opened = Store(settings.store_path)
    fix_sides(opened.database)
    Registry(opened.database).begin(settings.base_model)
    yield opened
    opened.close()


def context(home: Path, person: str) -> ToolContext:
    """The world in which a person's tools run."""
    return ToolContext(person=person, home=home, now=lambda: datetime(2026, 1, 5, tzinfo=UTC))


def say_it_everywhere(settings: Settings, store: Store) -> str:
    """Let ann leave the marker wherever a person can, and bob something of his beside it; returns the model that learned."""
    corrected_turn(store, "ann", QUESTION, calling(("get_weather", {"city": MARK})), f"no, {MARK} is warm")
    finished_turn(store, f"And {MARK}?", calling(("get_weather", {"city": MARK})), saying(f"{MARK} is cold"), person="ann")
    corrected_turn(store, "bob", "How warm is Bergen?", calling(("get_weather", {"city": "Bergen"})), "it is warmer")
    Ledger(store.database).add_import(
        "rows.jsonl", "0" * 64, [(n, row(about(n, "How warm is town"))) for n in range(20)], [], "ann"
    )
    for person, text in (("ann", f"call {MARK}"), ("bob", "call Bergen")):
        add_reminder(context(settings.home, person), text)
    model, _ = turn_wheel(settings, store)
    draft = settings.home / "datasets" / "run-0.draft" / "training"
    draft.mkdir(parents=True)
    (draft / "training.jsonl").write_bytes((settings.home / "datasets/run-1/training/training.jsonl").read_bytes())
    log = f"Platform is up\nWARNING cannot answer {QUESTION!r}\nsigned in: 'ann'\nsigned in: 'anna'\n"
    (settings.home / "platform.log").write_text(log, encoding="utf-8")
    return model


def copy_to_platform(settings: Settings, store: Store) -> None:
    """What the local platform keeps of a run: the data set's repo, an evaluation's rows, the data of a broken-off training."""
    from flywheel.local.evaluation_queue import write_results
    from flywheel.local.evaluation_run import Sample
    from flywheel.local.repos import Repos
    from flywheel.local.state import State

    home = settings.platform_home
    state = State(home)
    repos = Repos(state)
    ann = next(example for example in Ledger(store.database).examples() if example.row.question == QUESTION)
    run = settings.home / "datasets" / "run-1"
    files = {str(path.relative_to(run)): path for path in run.rglob("*.jsonl")}
    bare = (json.dumps(to_nemo_eval(ann.row), ensure_ascii=False) + "\n").encode()
    others = b'{"messages": [{"role": "user", "content": "How warm is Bergen?"}]}\n'
    for name, contents in {
        "run-1": files,
        "evaluation-a": {"testing/rows.jsonl": bare},
        "evaluation-b": {"rows.jsonl": others},
    }.items():
        repos.create("datasets", "flywheel", name)
        repos.commit("datasets", "flywheel", name, contents)
        body = {"files_url": f"hf://datasets/flywheel/{name}", "limit": None}
        state.create("dataset", "flywheel", name, body)
    for name, item in (("eval-a", to_nemo_eval(ann.row)), ("eval-b", json.loads(others))):
        folder = home / "evaluation" / name
        folder.mkdir(parents=True)
        write_results(folder, {"id": name}, [Sample(0, "task", item, None, {}, None, {})], "done\n")
    for feedback in FeedbackReader(store).select(Selection()):
        state.create("intake_entry", "flywheel", None, to_intake(feedback, "flywheel"))
    data = home / "customization" / "cust-a" / "data" / "training"
    data.mkdir(parents=True)
    (data / "training.jsonl").write_bytes((run / "training/training.jsonl").read_bytes())
    (home / "incoming" / "tmp1").write_bytes(bare[:-20])
    state.close()


def flywheel(*arguments: str, code: int = 0, typed: str | None = None) -> Result:
    """Run the command and check its exit code."""
    result = CliRunner().invoke(main, [*arguments], input=typed)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def erased(*arguments: str) -> dict[str, Any]:
    """What `flywheel erase ... --yes --json` prints."""
    value: dict[str, Any] = json.loads(flywheel("erase", *arguments, "--yes", "--json").stdout)
    return value


def test_no_byte_of_theirs_remains_and_all_of_the_others_does(settings: Settings, store: Store) -> None:
    model = say_it_everywhere(settings, store)
    copy_to_platform(settings, store)
    before = holding(settings.home, MARK)
    for place in ("flywheel.db", "reminders.db", "platform.log", "datasets/run-1/training/training.jsonl",
                  "datasets/run-0.draft/training/training.jsonl", "platform/evaluation/eval-a/rows.jsonl",
                  "platform/evaluation/eval-a/results.zip", "platform/customization/cust-a/data/training/training.jsonl",
                  "platform/incoming/tmp1", "platform/platform.db"):  # fmt: skip
        assert any(found.startswith(place) for found in before), (place, before)
    assert sum(found.startswith("platform/blobs/") for found in before) == 2

    with closing(sqlite3.connect(settings.home / "reminders.db")) as reminders:  # beside the web app's open connections
        assert reminders.execute("SELECT count(*) FROM reminders").fetchone() == (2,)
        report = erased("ann")
        assert holding(settings.home, MARK) == []
    counts = report["counts"]
    assert (counts["turns"], counts["ratings"], counts["reviews"], counts["examples"], counts["tool_calls"]) == (2, 1, 1, 1, 1)
    assert (counts["platform_copies"], counts["tool_rows"], counts["log_lines"]) == (5, 2, 2)
    assert report["models"] == [{"model": model, "rows": 1, "serves": True}] and report["remaining"] == []

    assert [found.row.question for found in Ledger(store.database).examples() if found.person == "bob"] == ["How warm is Bergen?"]
    assert Ledger(store.database).counts()["import"] == 20
    assert list_reminders(context(settings.home, "bob"))["reminders"][0]["text"] == "call Bergen"
    assert (settings.home / "platform.log").read_text() == "Platform is up\nsigned in: 'anna'\n"
    training = (settings.home / "datasets/run-1/training/training.jsonl").read_text()
    assert "Bergen" in training and "town" in training
    kept = holding(settings.platform_home, "Bergen")
    assert [place for place in kept if "blobs" not in place] == [
        "evaluation/eval-b/results.zip", "evaluation/eval-b/rows.jsonl", "platform.db",
    ]  # fmt: skip
    with closing(sqlite3.connect(settings.platform_home / "platform.db")) as platform:
        assert platform.execute("SELECT name FROM repos UNION SELECT name FROM entities WHERE kind = 'dataset'").fetchall() == [
            ("evaluation-b",)
        ]
    assert finished_turn(store, "Still here?", saying("Yes"), person="bob").answer == "Yes"


def test_masked_and_quarantined_rows_of_theirs_go_too(settings: Settings, store: Store) -> None:
    asked = f"Tell ann.{MARK}@acme.org how warm {MARK} is, at length"
    turn = corrected_turn(store, "ann", asked, calling(("get_weather", {"city": MARK})))
    corrected_turn(store, "bob", "How warm is Bergen?", calling(("get_weather", {"city": "Bergen"})))
    copy_of = corrected_turn(store, "ann", f"Is it late in {MARK}?", calling(("local_time", {"city": MARK})))
    store.database.execute("UPDATE examples SET held = ? WHERE turn_id = ?", (f"'{MARK}' stands in 6 rows", copy_of.id))
    _, made = turn_wheel(settings, store)
    kept = (settings.home / "datasets/run-1/training/training.jsonl").read_text()
    assert "acme" not in kept and "person1@example.com" in kept and made.manifest["quarantined"] == 1
    erased("ann")
    assert holding(settings.home, MARK) == [] and holding(settings.home, "person1@example.com") == []
    manifest = Ledger(store.database).dataset("run-1") or {}
    (path,) = (path for path in manifest["sources"] if path.startswith("training"))
    assert len(manifest["sources"][path]) == (settings.home / "datasets" / "run-1" / path).read_text().count("\n")
    assert manifest["exclusions"] == [] and turn.id not in json.dumps(manifest)


def test_what_they_did_for_others_stays_without_their_name(settings: Settings, store: Store) -> None:
    corrected_turn(store, "bob", "How warm is Bergen?", calling(("get_weather", {"city": "Bergen"})))
    model, _ = turn_wheel(settings, store)
    RunRecords(store.database).create("run-2", "rita")
    RunRecords(store.database).finish("run-2", "cancelled", error="cancelled by rita")
    report = erased("rita")
    assert holding(settings.home, "rita") == []
    assert report["counts"]["names"] == 6 and not report["counts"]["examples"] and not report["models"]
    (example,) = Ledger(store.database).examples()
    assert example.reviewer is not None and example.reviewer.startswith("erased-")
    assert RunRecords(store.database).run("run-2").error == f"cancelled by {example.reviewer}"
    assert Registry(store.database).model(model).erased_rows == 0


def test_a_row_that_others_gave_too_is_handed_over(settings: Settings, store: Store) -> None:
    answer = calling(("get_weather", {"city": "Oslo"}))
    _, bobs = (corrected_turn(store, person, "How warm is Oslo?", answer) for person in ("ann", "bob"))
    ledger = Ledger(store.database)
    ledger.add_import("rows.jsonl", "0" * 64, [(3, row("How warm is Rome?"))], [], "dora")
    same = finished_turn(store, "How warm is Rome?", calling(("get_weather", {"city": "Oslo"})), person="ann")
    ReviewDesk(store, ledger).approve(same.id, "rita", None)
    model, _ = turn_wheel(settings, store)

    report = erased("ann")
    assert (report["counts"]["turns"], report["counts"]["examples"], report["models"]) == (2, 0, [])
    given_by = {example.row.question: example for example in ledger.examples()}
    oslo, rome = given_by["How warm is Oslo?"], given_by["How warm is Rome?"]
    assert (oslo.turn_id, oslo.person, oslo.source) == (bobs.id, "bob", "correction")
    assert (rome.turn_id, rome.person, rome.reviewer, rome.source, rome.line) == (None, "dora", None, "import", 3)
    assert Registry(store.database).model(model).erased_rows == 0


def test_a_model_that_learned_from_them_is_marked_and_a_clean_training_is_possible(settings: Settings, store: Store) -> None:
    model = say_it_everywhere(settings, store)
    with pytest.raises(InputError, match="nothing new to learn"):
        request(store, "dora")
    told = flywheel("erase", "ann", "--yes").stdout
    assert f"{model} learned from 1 of the rows and serves now" in told
    assert "flywheel run" in told and "flywheel rollback" in told
    assert "1 of its rows erased since" in flywheel("models").stdout
    assert Registry(store.database).served().model == model  # a developer decides
    tree = json.loads(flywheel("lineage", model, "--json").stdout)
    assert tree["learned_from_rows_erased_since"] == 1
    assert tree["children"][0]["children"][0]["rows_erased_since"] == 1
    assert request(store, "dora").status == "queued"  # though nothing was approved since the last run


def test_a_model_that_learned_from_them_is_taken_down_where_the_policy_says_so(settings: Settings, store: Store) -> None:
    model = say_it_everywhere(settings, store)
    (settings.home / "policy.toml").write_text("[erasure]\ntake_down = true\n")
    told = flywheel("erase", "ann", "--yes").stdout
    registry = Registry(store.database)
    assert f"was taken down: {settings.base_model} serves now" in told and "until you change that" not in told
    assert registry.served().model == settings.base_model
    assert (registry.promotions()[0].kind, registry.promotions()[0].person) == ("rollback", "flywheel")
    assert Audit(store.database).entries()[0].subject == model
    assert registry.take_down() is None  # what serves now is clean


def test_a_tombstone_remains_and_erasing_again_finds_nothing(settings: Settings, store: Store) -> None:
    say_it_everywhere(settings, store)
    counts = erased("ann")["counts"]
    again = erased("ann")
    assert not again["erased"] and not any(again["counts"].values())
    assert "Nothing of 'ann' is stored" in flywheel("erase", "ann", "--yes").stdout
    assert "Nothing of 'nobody' is stored" in flywheel("erase", "nobody").stdout
    (tombstone,) = store.database.query("SELECT * FROM erasures")
    assert json.loads(tombstone["report"])["counts"] == counts and tombstone["finished_at"]
    assert len(tombstone["person_hash"]) == 64 and "ann" not in str(tombstone)
    assert json.loads(flywheel("lineage", "ann", "--json", code=1).stdout)["kind"] == "NotFound"


def test_it_shows_first_what_there_is_and_asks(settings: Settings, store: Store) -> None:
    say_it_everywhere(settings, store)
    asked = flywheel("erase", "ann", code=1, typed="n\n")
    assert "2 turns" in asked.stderr and "1 examples made of their turns" in asked.stderr and "Erase it for good?" in asked.stderr
    assert "flywheel.db" in " ".join(holding(settings.home, MARK))
    refused = json.loads(flywheel("erase", "ann", "--json", code=1).stdout)
    assert refused["kind"] == "InputError" and "--yes" in refused["error"]
    assert store.database.query("SELECT * FROM erasures") == []
    assert "Erased of 'ann'" in flywheel("erase", "ann", typed="y\n").stdout
    assert holding(settings.home, MARK) == []


def test_not_while_a_run_is_under_way(settings: Settings, store: Store) -> None:
    corrected_turn(store, "ann", QUESTION, calling(("get_weather", {"city": MARK})))
    run = request(store, "dora")
    error = json.loads(flywheel("erase", "ann", "--yes", "--json", code=1).stdout)
    assert error["kind"] == "Conflict" and run.id in error["error"]
    asked = flywheel("erase", "ann", code=1)
    assert run.id in asked.stderr and "Erase it for good?" not in asked.stderr
    with pytest.raises(Conflict):
        Eraser(settings, store).erase("ann")
    RunRecords(store.database).finish(run.id, "cancelled")
    assert erased("ann")["erased"]


def test_copies_at_foreign_services_are_named(settings: Settings, store: Store) -> None:
    say_it_everywhere(settings, store)
    remote = settings.with_urls("https://nemo.example", "https://nds.example/", "https://nim.example")
    assert Eraser(remote, store).erase("ann").remaining == ["https://nds.example/v1/hf/datasets/flywheel/run-1"]


def test_what_cannot_be_opened_is_named_and_the_rest_goes_at_the_next_try(settings: Settings, store: Store) -> None:
    say_it_everywhere(settings, store)
    broken = settings.home / "shop.db"
    broken.write_bytes(b"no database" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Eraser(settings, store).erase("ann")
    broken.unlink()
    assert erased("ann")["erased"]
    assert holding(settings.home, MARK) == []


def test_who_is_reading_keeps_old_pages_and_the_next_try_ends_it(settings: Settings, store: Store) -> None:
    model = say_it_everywhere(settings, store)
    with closing(sqlite3.connect(settings.store_path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM turns").fetchone()
        with pytest.raises(StorageError, match="reading"):
            Eraser(settings, store, patience=0.2).erase("ann")
        assert Eraser(settings, store).look("ann").nothing
        assert holding(settings.home, MARK) != []
        assert store.database.query("SELECT * FROM erasures WHERE finished_at IS NULL")
        reader.execute("COMMIT")
        told = Eraser(settings, store).erase("ann")  # beside a connection that is open and idle
        assert told.counts["turns"] == 2 and [learner.model for learner in told.models] == [model]
        assert holding(settings.home, MARK) == []
        assert not store.database.query("SELECT * FROM erasures WHERE finished_at IS NULL")
        assert reader.execute("SELECT DISTINCT person FROM turns").fetchall() == [("bob",)]


def gone_from_files(settings: Settings, store: Store) -> bool:
    """Whether the kept training file was rewritten."""
    return MARK not in (settings.home / "datasets/run-1/training/training.jsonl").read_text(encoding="utf-8")


def gone_from_records(settings: Settings, store: Store) -> bool:
    """Whether their turns are no longer in the database."""
    return store.database.first("SELECT 1 FROM turns WHERE person = 'ann'") is None


@pytest.mark.parametrize("reached", [gone_from_files, gone_from_records])
def test_killed_in_the_middle_and_repeated(settings: Settings, store: Store, reached: Callable[[Settings, Store], bool]) -> None:
    say_it_everywhere(settings, store)
    command = [sys.executable, "-m", "flywheel", "erase", "ann", "--yes"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not reached(settings, store) and time.monotonic() < deadline:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
    erased("ann")
    assert holding(settings.home, MARK) == []
    assert not erased("ann")["erased"]
    (tombstone,) = store.database.query("SELECT * FROM erasures")
    assert tombstone["finished_at"] and json.loads(tombstone["report"])["counts"]["turns"] == 2
    assert store.database.query("SELECT erased_rows FROM models WHERE run_id = 'run-1'") == [{"erased_rows": 1}]
