"""Lineage in both directions: from a model to people, from people to models, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner
from feedback import about, calling, finished_turn, row, saying
from hypothesis import given
from hypothesis import strategies as st
from wheel_turned import corrected_turn, turn_wheel

from flywheel.__main__ import main
from flywheel.errors import NotFound
from flywheel.ledger import Ledger
from flywheel.lineage import SHOWN, Lineage, Node
from flywheel.settings import Settings
from flywheel.store import Store
from tests.conftest import fix_sides


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store in it."""
    opened = Store(settings.store_path)
    fix_sides(opened.database)
    yield opened
    opened.close()


def below(node: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """Every node of a kind under this one, at any depth."""
    found = [each for child in node["children"] for each in below(child, kind)]
    return [child for child in node["children"] if child["kind"] == kind] + found


def test_a_model_leads_back_to_every_row_turn_rating_and_person(settings: Settings, store: Store) -> None:
    turn = corrected_turn(store, "ann", "How warm is Oslo?", calling(("get_weather", {"city": "Oslo"})), "far too cold")
    Ledger(store.database).add_import("rows.jsonl", "0" * 64, [(7, row("How warm is Rome?"))], [], "dora")
    model, made = turn_wheel(settings, store)

    tree = Lineage(store.database).of(model).to_dict()
    assert (tree["kind"], tree["serves_now"]) == ("model", True)
    (run,) = below(tree, "run")
    assert (run["id"], run["requested_by"]) == ("run-1", "rita")
    (dataset,) = below(tree, "dataset")
    assert dataset["id"] == made.manifest["digest"]
    assert [(source["id"], source["rows"]) for source in below(tree, "source")] == [("correction", 1), ("import", 1)]
    corrected, imported = below(tree, "example")
    assert corrected["side"] == made.splits[corrected["id"]] == "train" and corrected["question"] == "How warm is Oslo?"
    (asked,) = below(corrected, "turn")
    assert asked["id"] == turn.id
    (rating,) = below(asked, "rating")
    assert (rating["id"], rating["by"], rating["opinion"]) == ("down", "ann", "far too cold")
    assert [person["id"] for person in below(asked, "person")] == ["ann"]
    (origin,) = below(imported, "import")
    assert (origin["file"], origin["line"], origin["by"]) == ("rows.jsonl", 7, "dora")
    assert Lineage(store.database).of("local/tool-llama-5m").children == []


def test_a_turn_and_a_person_lead_to_the_models_that_learned_from_them(settings: Settings, store: Store) -> None:
    turn = corrected_turn(store, "ann", "How warm is Oslo?", calling(("get_weather", {"city": "Oslo"})))
    finished_turn(store, "Thanks", saying("You are welcome"), person="ann")
    finished_turn(store, "Hello", saying("Hello"), person="bob")
    Ledger(store.database).add_import("rows.jsonl", "0" * 64, [(1, row("How warm is Rome?"))], [], "dora")
    model, made = turn_wheel(settings, store)

    lineage = Lineage(store.database)
    tree = lineage.of(turn.id).to_dict()
    assert tree["answered_by"] == "local/tool-llama-5m"
    assert [person["id"] for person in below(tree, "person")] == ["ann"]
    (example,) = below(tree, "example")
    (dataset,) = below(example, "dataset")
    assert (dataset["id"], dataset["side"]) == (made.manifest["digest"], "train")
    assert [found["id"] for found in below(dataset, "model")] == [model]
    assert [(review["verdict"], review["by"], review["corrected"]) for review in below(tree, "review")] == [
        ("approved", "rita", True)
    ]

    ann, dora, rita, bob = (lineage.of(name).to_dict() for name in ("ann", "dora", "rita", "bob"))
    assert ann["turns"] == 2 and [found["id"] for found in below(ann, "model")] == [model]
    assert [found["id"] for found in below(dora, "model")] == [model] and below(dora, "import")[0]["rows"] == 1
    assert below(rita, "review")[0]["of_turn"] == turn.id
    assert bob["turns"] == 1 and not below(bob, "model")


def test_one_row_that_stands_for_two_turns_leads_to_both(settings: Settings, store: Store) -> None:
    answer = calling(("get_weather", {"city": "Oslo"}))
    turns = [corrected_turn(store, person, "How warm is Oslo?", answer) for person in ("ann", "bob")]
    model, _ = turn_wheel(settings, store)
    tree = Lineage(store.database).of(model).to_dict()
    assert len(below(tree, "example")) == 1
    assert [found["id"] for found in below(tree, "turn")] == [turn.id for turn in turns]
    assert all(below(Lineage(store.database).of(turn.id).to_dict(), "model") for turn in turns)


def test_three_thousand_rows_are_a_page_as_text_and_whole_as_json(settings: Settings, store: Store) -> None:
    rows = [(number, row(about(number, "town"))) for number in range(1, 3001)]
    Ledger(store.database).add_import("towns.jsonl", "0" * 64, rows, [], "dora")
    model, _ = turn_wheel(settings, store)
    store.close()

    text = CliRunner().invoke(main, ["lineage", model])
    assert text.exit_code == 0, text.output
    assert text.stdout.count("\n") < 30
    assert "source import: rows 3000" in text.stdout and f"... and {3000 - SHOWN:,} more" in text.stdout
    whole = CliRunner().invoke(main, ["lineage", model, "--json"])
    assert len(below(json.loads(whole.stdout), "example")) == 3000


def test_what_is_not_known_is_named_with_what_was_looked_for(settings: Settings) -> None:
    result = CliRunner().invoke(main, ["lineage", "nobody", "--json"])
    error = json.loads(result.stdout)
    assert result.exit_code == 1 and error["kind"] == "NotFound"
    assert "no model, turn or person 'nobody'" in error["error"]
    with pytest.raises(NotFound), closing(Store(settings.store_path)) as store:
        Lineage(store.database).of("")


def test_what_people_wrote_cannot_steer_a_terminal(store: Store) -> None:
    finished_turn(store, "\x1b[2Jgone\nperson root", saying("No"), person="ann")
    text = Lineage(store.database).of("ann").text()
    assert "\x1b" not in text and "[2Jgone person root" in text


NODES = st.recursive(
    st.builds(Node, st.just("turn"), st.text(st.characters(codec="utf-8"), max_size=8), st.just({})),
    lambda children: st.builds(Node, st.just("run"), st.just("r"), st.just({"rows": 1}), st.lists(children, max_size=12)),
    max_leaves=40,
)


@given(NODES)
def test_text_writes_out_at_most_so_many_and_counts_the_others(node: Node) -> None:
    def lines(each: Node) -> int:
        shown = each.children[:SHOWN]
        return 1 + sum(lines(child) for child in shown) + (len(each.children) > SHOWN)

    assert len(node.text().splitlines()) == lines(node)

    def nodes(each: dict[str, Any]) -> int:
        return 1 + sum(nodes(child) for child in each["children"])

    def all_of(each: Node) -> int:
        return 1 + sum(all_of(child) for child in each.children)

    assert nodes(node.to_dict()) == all_of(node)
