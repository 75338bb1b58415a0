"""Whoever leaves, and whatever people did before: the one goes and the others keep all of theirs."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from feedback import calling, finished_turn, row, saying
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from wheel_turned import holding, turn_wheel

from flywheel.erase import Eraser
from flywheel.ledger import Ledger
from flywheel.review import ReviewDesk
from flywheel.settings import Settings
from flywheel.store import Store
from tests.conftest import fix_sides

PEOPLE = ("ann", "bob", "cleo")
CITIES = ("Oslo", "Rome", "Lima")
KINDS = ("down", "up", "correct", "approve")
DEEDS = st.lists(st.tuples(*map(st.sampled_from, (PEOPLE, CITIES, KINDS))), min_size=1, max_size=8)


@hypothesis_settings(max_examples=12, deadline=None)
@given(DEEDS, st.sampled_from(PEOPLE))
def test_whatever_people_did_one_goes_and_the_others_keep_all_of_theirs(deeds: list[tuple[str, str, str]], leaver: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder) / "home").prepare()
        with closing(Store(settings.store_path)) as store:
            fix_sides(store.database)
            desk = ReviewDesk(store, Ledger(store.database))
            for person, city, deed in deeds:
                call = calling(("get_weather", {"city": city}))
                turn = finished_turn(store, f"How warm is {city}?", call, saying(f"told {person}"), person=person)
                if deed in ("up", "down"):
                    store.rate(person, turn.id, deed, [], f"said by {person}")  # type: ignore[arg-type]
                else:
                    fixed = calling(("get_weather", {"city": city.upper()})) if deed == "correct" else None
                    desk.approve(turn.id, "rita", fixed)
            Ledger(store.database).add_import("rows.jsonl", "0" * 64, [(1, row("How warm is Cairo?"))], [], "dora")
            turn_wheel(settings, store)
            kept = _of_others(store, leaver)
            rows = _given_by_others(store, leaver)
            Eraser(settings, store).erase(leaver)
            assert _of_others(store, leaver) == kept
            assert rows <= {example.row.digest for example in Ledger(store.database).examples()}
            assert Eraser(settings, store).look(leaver).nothing
            assert store.database.query("PRAGMA foreign_key_check") == []
        for said in (f"told {leaver}", f"said by {leaver}"):
            assert holding(settings.home, said) == []


def _of_others(store: Store, leaver: str) -> list[list[dict[str, Any]]]:
    mine = "turn_id IN (SELECT id FROM turns WHERE person != ?)"
    wanted = ["conversations WHERE person != ?", "turns WHERE person != ?"]
    wanted += [f"{table} WHERE {mine}" for table in ("ratings", "reviews", "tool_calls")]
    return [store.database.query(f"SELECT * FROM {sql} ORDER BY 1, 2", (leaver,)) for sql in wanted]


def _given_by_others(store: Store, leaver: str) -> set[str]:
    """Digests of the standing rows that others' turns and imports gave."""
    sql = (
        "SELECT digest FROM examples e WHERE superseded_by IS NULL AND (import_id IS NOT NULL OR id IN"
        " (SELECT v.example_id FROM reviews v JOIN turns t ON t.id = v.turn_id WHERE t.person != ?))"
    )
    return {found["digest"] for found in store.database.query(sql, (leaver,))}
