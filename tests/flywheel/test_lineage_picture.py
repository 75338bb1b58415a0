"""The lineage of a run as a picture: counted, connected, escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from feedback import calling, row
from wheel_turned import corrected_turn, turn_wheel

from flywheel.__main__ import main
from flywheel.errors import NotFound
from flywheel.history import RunRecords
from flywheel.ledger import Ledger
from flywheel.lineage_picture import columns, picture
from flywheel.settings import Settings
from flywheel.store import Store
from tests.conftest import fix_sides

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.store_path)
    fix_sides(opened.database)
    for number, person in enumerate(["ann", "<b>bob</b>", "cem", "dora", "eve", "ann"]):
        answer = calling(("get_weather", {"city": f"City {number}"}))
        corrected_turn(opened, person, f"How warm is City {number}?", answer)
    Ledger(opened.database).add_import("rows.jsonl", "0" * 64, [(n, row(f"How warm is {n}?")) for n in range(3)], [], "ann")
    yield opened
    opened.close()


def test_things_of_a_kind_are_counted_with_their_people(store: Store, settings: Settings) -> None:
    model, made = turn_wheel(settings, store)
    found = {box.id: box for _, boxes in columns(store.database, "run-1") for box in boxes}
    assert found["source correction"].lines[:2] == ("6 corrections", "by 5 people")
    assert found["source import"].lines[:2] == ("3 imported rows", "by 1 person")
    assert found["ratings"].lines == ["6 down by 5 people"]
    assert found["turns"].lines == ("6 turns", "in 6 conversations")
    assert found["person ann"].lines == ("ann", "3 rows", "2 turns")
    assert found["others"].lines == ("1 more people",)
    assert found["dataset run-1"].lines[0] == made.manifest["digest"][:12]
    assert found[f"model {model}"].lines[1] == "serves now"
    way = "person ann", "ratings", "turns", "source correction", "dataset run-1", "run", f"model {model}"
    assert all(there in found[here].near for here, there in zip(way, way[1:], strict=False))
    assert picture(store.database, model) == picture(store.database, "run-1")


def test_names_are_data(store: Store, settings: Settings) -> None:
    turn_wheel(settings, store)
    drawn = picture(store.database, "run-1")
    assert "<b>" not in drawn
    texts = [text.text for text in ElementTree.fromstring(drawn).iter(f"{SVG}text")]
    assert "<b>bob</b>" in texts and "people" in texts


def test_a_run_that_has_not_come_far_is_drawn_as_far_as_it_came(store: Store) -> None:
    RunRecords(store.database).create("run-2", "schedule")
    assert [title for title, _ in columns(store.database, "run-2")] == ["run"]
    with pytest.raises(NotFound, match="'nothing'"):
        picture(store.database, "nothing")


def test_the_command_draws_into_a_file(store: Store, settings: Settings, tmp_path: Path) -> None:
    model, _ = turn_wheel(settings, store)
    done = CliRunner().invoke(main, ["lineage", model, "--svg", str(tmp_path / "lineage.svg")])
    assert done.exit_code == 0, done.output
    assert ElementTree.parse(tmp_path / "lineage.svg").getroot().tag == f"{SVG}svg"
    assert "cannot write" in CliRunner().invoke(main, ["lineage", model, "--svg", str(tmp_path)]).output
