"""Examples, their sides, and where they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from feedback import about, calling, finished_turn, row, saying, tool
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flywheel.conversations import Conversations
from flywheel.errors import InputError, NotFound, StorageError
from flywheel.groups import CONFIDENT_CORRECTIONS
from flywheel.history import RunRecords
from flywheel.ledger import Ledger, Source
from flywheel.promote import Model, Registry
from flywheel.rows import Row
from flywheel.store import Message, Store, Turn


class Book(NamedTuple):
    """A store and the ledger on the same file."""

    store: Store
    ledger: Ledger

    def approve(self, turn: Turn, made: Row, source: Source = "correction", reviewer: str = "rita") -> str:
        """Add a turn's example with the review that goes with it."""
        example_id = self.ledger.add_approved(
            made, source, turn_id=turn.id, conversation_id=turn.conversation_id, person=turn.person, reviewer=reviewer
        )
        override: Message | None = made.messages[-1] if source == "correction" else None
        self.store.record_review(turn.id, reviewer, "approved", override, example_id)
        return example_id

    def withdraw(self, turn: Turn) -> None:
        """Take a turn's example back with the review that goes with it."""
        self.ledger.withdraw(turn.id)
        self.store.record_review(turn.id, "rita", "rejected")

    def take_in(self, *rows: Row) -> Any:
        """Import rows as from a file."""
        return self.ledger.add_import("rows.jsonl", "0" * 64, enumerate(rows, 1), [], "dev")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    store = Store(tmp_path / "flywheel.db")
    yield Book(store, Ledger(store.database))
    store.close()


def test_an_import_counts_what_was_there_and_keeps_its_problems(book: Book) -> None:
    book.take_in(row("a"))
    problems = [{"line": 3, "reason": "not JSON"}]
    report = book.ledger.add_import("more.jsonl", "1" * 64, [(1, row("a")), (2, row("b")), (4, row("b"))], problems, "dev")
    assert (report.accepted, report.known, report.problems) == (1, 2, problems)
    first, second = book.ledger.examples()
    assert (second.source, second.line, second.import_id, second.person) == ("import", 2, report.id, "dev")
    assert first.row == row("a") and first.group_id == f"question-{row('A?').question_key}"
    assert book.ledger.counts() == {"correction": 0, "thumb_up": 0, "import": 2, "new": 2}


def test_an_import_goes_in_whole_or_not_at_all(book: Book) -> None:
    def rows() -> Iterator[tuple[int, Row]]:
        yield 1, row("a")
        raise RuntimeError("the reader broke")

    with pytest.raises(RuntimeError):
        book.ledger.add_import("rows.jsonl", "0" * 64, rows(), [], "dev")
    assert book.ledger.examples() == []
    (pages,) = book.store.database.query("PRAGMA page_count")
    book.store.database.query(f"PRAGMA max_page_count = {pages['page_count'] + 5}")
    with pytest.raises(StorageError):
        book.take_in(*(row(f"{n} {'x' * 2000}") for n in range(200)))
    assert book.ledger.examples() == [] and book.store.database.query("SELECT * FROM groups") == []


def test_sides_are_decided_once_and_kept(book: Book, tmp_path: Path) -> None:
    rows = [row(about(n)) for n in range(400)]
    book.take_in(*rows)
    sides = {one.group_id: one.side for one in book.ledger.examples()}
    shares = Counter(sides.values())
    assert 230 < shares["train"] < 330 and 40 < shares["holdout"] < 125 and 10 < shares["validation"] < 75
    again = Store(tmp_path / "flywheel.db")
    other = Ledger(again.database)
    other.add_import("more.jsonl", "0" * 64, [(n, row(about(n).upper() + "?")) for n in range(400)], [], "dev")
    assert {one.group_id: one.side for one in other.examples()} == sides
    again.close()


def test_two_installations_split_by_keys_of_their_own(tmp_path: Path) -> None:
    sides = []
    for name in ("one", "two"):
        store = Store(tmp_path / f"{name}.db")
        ledger = Ledger(store.database)
        ledger.add_import("f", "0", [(n, row(about(n))) for n in range(60)], [], "dev")
        sides.append([one.side for one in sorted(ledger.examples(), key=lambda one: one.group_id)])
        store.close()
    assert sides[0] != sides[1]


def test_early_corrections_train_and_later_ones_are_split(book: Book) -> None:
    for number in range(CONFIDENT_CORRECTIONS + 60):
        book.approve(finished_turn(book.store, about(number), saying("no")), row(about(number)))
    sides = [one.side for one in book.ledger.examples()]
    assert set(sides[:CONFIDENT_CORRECTIONS]) == {"train"}
    assert len(set(sides[CONFIDENT_CORRECTIONS:])) > 1


def test_a_known_question_follows_its_twin(book: Book) -> None:
    for number in range(30):
        book.approve(finished_turn(book.store, about(number), saying("no")), row(about(number)))
    corrected = {one.row.question_key: one.side for one in book.ledger.examples()}
    book.take_in(*(row(about(number).upper() + " ?", saying("imported")) for number in range(30)))
    imported = [one for one in book.ledger.examples() if one.source == "import"]
    assert len(imported) == 30 and all(one.side == corrected[one.row.question_key] for one in imported)


def test_near_duplicates_follow_the_older_group_for_ever(book: Book, tmp_path: Path) -> None:
    book.take_in(*(row(f"{about(n)} {10 + n} km") for n in range(20)))
    older = {one.row.question.split()[1]: one.side for one in book.ledger.examples()}
    assert len({*older.values()}) > 1
    book.take_in(*(row(f"{about(n)} {50 + n} km, please") for n in range(20)))
    again = Store(tmp_path / "flywheel.db")  # another process, which has seen none of it
    Ledger(again.database).add_import("f", "0", [(n, row(f"{about(n)} {90 + n} km?")) for n in range(20)], [], "dev")
    again.close()
    found = book.ledger.examples()
    assert len(found) == 60 and all(one.side == older[one.row.question.split()[1]] for one in found)
    rules = book.store.database.query("SELECT DISTINCT rule FROM groups WHERE stratum IS NULL")
    assert [each["rule"] for each in rules] == ["with nearly the same question elsewhere"]


def test_every_kind_of_row_has_its_share_of_every_side(book: Book) -> None:
    clock, both = ("local_time", {"city": "Oslo"}), (("local_time", {"city": "Oslo"}), ("add", {"a": 1, "b": 2}))
    answers = {"no tool": saying("none can"), "local_time": calling(clock), "several calls": calling(*both)}
    book.take_in(*(row(about(n, kind), answer) for kind, answer in answers.items() for n in range(10)))
    sides = Counter((one.row.question.rsplit(" ", 1)[0], one.side) for one in book.ledger.examples())
    assert sides == {(kind, side): n for kind in answers for side, n in (("train", 7), ("validation", 1), ("holdout", 2))}


def test_identifiers_are_masked_on_write_and_counted(book: Book) -> None:
    report = book.take_in(row("mail ann@acme.org"), row("mail bob@acme.org"), row("ring +34 612 34 56 78"))
    assert (report.accepted, report.known, report.masked) == (2, 1, {"email": 1, "phone": 1})
    turn = finished_turn(book.store, "write to cy@acme.org", saying("no"))
    book.approve(turn, row("write to cy@acme.org", calling(("get_weather", {"city": "cy@acme.org"}))))
    questions = {one.row.question: one.masked for one in book.ledger.examples()}
    assert questions == {
        "mail person1@example.com": {"email": 1}, "ring +1 202-555-0101": {"phone": 1},
        "write to person1@example.com": {"email": 1},
    }  # fmt: skip
    assert book.store.turn(turn.id).question == "write to cy@acme.org"  # their own chat stays as they wrote it
    strict = tool("get_weather", city="string")
    strict["function"]["parameters"]["properties"]["city"]["maxLength"] = 12
    unfit = row("to cy@acme.org", calling(("get_weather", {"city": "cy@acme.org"})), [strict])
    with pytest.raises(InputError, match="e-mail addresses must be masked before training"):
        book.approve(turn, unfit)
    (problem,) = book.take_in(unfit).problems
    assert problem["line"] == 1 and "must be masked" in problem["reason"]


def test_all_turns_of_a_conversation_are_on_one_side(book: Book) -> None:
    for number in range(12):
        first = finished_turn(book.store, about(number, "first"), saying("a"))
        thread = book.store.conversation(first.conversation_id, "ann")
        second = finished_turn(book.store, about(number, "second"), saying("b"), conversation=thread)
        book.approve(first, row(about(number, "first")), "thumb_up")
        book.approve(second, row(about(number, "second")), "thumb_up")
    by_group: dict[str, set[str]] = {}
    for one in book.ledger.examples():
        by_group.setdefault(one.group_id, set()).add(one.side)
    assert len(by_group) == 12 and all(len(sides) == 1 for sides in by_group.values())


def test_a_newer_correction_of_a_turn_takes_the_older_ones_place(book: Book) -> None:
    turn = finished_turn(book.store, "q", saying("no"))
    first = book.approve(turn, row("q"))
    second = book.approve(turn, row("q", calling(("local_time", {"city": "Oslo"}))))
    assert [one.id for one in book.ledger.examples()] == [second]
    with pytest.raises(NotFound):
        book.ledger.example(first)
    assert book.approve(turn, row("q")) == first
    assert [one.id for one in book.ledger.examples()] == [first]
    book.withdraw(turn)
    assert book.ledger.examples() == [] and book.ledger.counts()["correction"] == 0


def test_an_approved_thumb_up_does_not_make_less_of_a_correction(book: Book) -> None:
    complaint, praise = (finished_turn(book.store, "q", saying("no"), person=person) for person in ("ann", "bob"))
    fix = book.approve(complaint, row("q"))
    assert book.approve(praise, row("q"), "thumb_up") == fix
    kept = book.ledger.example(fix)
    assert (kept.source, kept.person, kept.turn_id) == ("correction", "ann", complaint.id)


def test_a_correction_makes_more_of_an_imported_row(book: Book) -> None:
    book.take_in(row("q"))
    (before,) = book.ledger.examples()
    turn = finished_turn(book.store, "q", saying("no"))
    assert book.approve(turn, row("q")) == before.id
    after = book.ledger.example(before.id)
    assert (after.source, after.turn_id, after.import_id, after.side) == ("correction", turn.id, before.import_id, before.side)
    assert after.created_at > before.created_at  # the correction is as new as its approval


def test_a_row_that_two_turns_were_approved_for_outlives_the_withdrawal_of_one(book: Book) -> None:
    complaint, praise = (finished_turn(book.store, "q", saying("no"), person=person) for person in ("ann", "bob"))
    fix = book.approve(complaint, row("q"))
    book.approve(praise, row("q"), "thumb_up", reviewer="rob")
    book.withdraw(complaint)
    kept = book.ledger.example(fix)
    assert (kept.source, kept.turn_id, kept.person, kept.reviewer) == ("thumb_up", praise.id, "bob", "rob")
    book.withdraw(praise)
    assert book.ledger.examples() == []


def served_after_training(book: Book, splits: dict[str, str]) -> None:
    """A run trained on these examples and its model serves."""
    registry = Registry(book.store.database)
    registry.begin("base")
    RunRecords(book.store.database).create("run-1", "dev")
    book.ledger.save_dataset("run-1", "d1", {"overlap": 0}, splits)
    registry.add(Model("tuned", "base", "run-1", "candidate", "2026-01-01"))
    registry.promote("tuned", person="dev", reason="better")


def test_everybody_who_complained_hears_that_their_correction_is_live(book: Book) -> None:
    turns = [finished_turn(book.store, "q", saying("no"), person=person) for person in ("ann", "bob", "cy")]
    for turn in turns:
        book.store.rate(turn.person, turn.id, "up" if turn.person == "cy" else "down")
        fix = book.approve(turn, row("q"))
    examined = finished_turn(book.store, "other", saying("no"))
    book.store.rate("ann", examined.id, "down")
    exam = book.approve(examined, row("other"))
    assert book.ledger.live_corrections("ann") == []
    served_after_training(book, {fix: "train", exam: "holdout"})
    assert [(live.turn_id, live.model) for live in book.ledger.live_corrections("ann")] == [(turns[0].id, "tuned")]
    assert [live.turn_id for live in book.ledger.live_corrections("bob")] == [turns[1].id]
    assert book.ledger.live_corrections("cy") == []
    Conversations(book.store).set_aside(turns[0].id, "ann", "retried")
    assert len(book.ledger.live_corrections("ann")) == 1, "who asked again still hears of it"
    Conversations(book.store).delete(turns[1].conversation_id, "bob")
    assert book.ledger.live_corrections("bob") == [], "what was deleted is mentioned no more"
    Registry(book.store.database).roll_back(person="dev", reason="oops")
    assert book.ledger.live_corrections("ann") == []


def test_a_dataset_is_recorded_once_and_knows_its_examples(book: Book) -> None:
    turn = finished_turn(book.store, "q", saying("no"))
    book.take_in(row("a"), row("b"))
    ids = [one.id for one in book.ledger.examples()]
    fix = book.approve(turn, row("q"))
    assert book.ledger.dataset("run-1") is None
    for digest in ("d1", "d2"):
        book.ledger.save_dataset("run-1", digest, {"overlap": 0}, {ids[0]: "train", ids[1]: "holdout", fix: "train"})
    assert book.ledger.dataset("run-1") == {"overlap": 0, "digest": "d1"}
    assert [one.id for one in book.ledger.dataset_examples("run-1")] == [fix, ids[0]]
    assert [one.id for one in book.ledger.dataset_examples("run-1", "holdout")] == [ids[1]]
    book.take_in(row("c"))
    assert book.ledger.counts() == {"correction": 1, "thumb_up": 0, "import": 3, "new": 1}


questions = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "?", " please", " now, thanks"])), min_size=1, max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions, questions)
def test_whatever_is_added_every_stored_example_keeps_its_side(book: Book, imported: Any, approved: Any) -> None:
    """The book is the same for all that is tried, so that it grows from one to the next."""
    before = {one.id: (one.group_id, one.side) for one in book.ledger.examples()}
    book.take_in(*(row(f"{about(number)}{end}") for number, end in imported))
    thread = book.store.create_conversation("ann")
    for number, end in approved:
        turn = finished_turn(book.store, f"{about(number)}{end}", saying("a"), conversation=thread)
        book.approve(turn, row(turn.question), "thumb_up")
    after = {one.id: (one.group_id, one.side) for one in book.ledger.examples()}
    assert before.items() <= after.items()
    assert len({side for group, side in after.values() if group == thread.id}) <= 1
