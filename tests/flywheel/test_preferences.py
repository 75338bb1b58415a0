"""Corrections beside the model's own wrong answers, as pairs that the Customizer trains on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from feedback import TOOLS, calling, example, finished_turn, row, saying
from transformers import AutoTokenizer
from wheel_turned import corrected_turn

from flywheel.curate import HOLDOUT_FILE, TRAINING_FILE, VALIDATION_FILE, curate, line_digest
from flywheel.erase import Eraser
from flywheel.errors import InputError
from flywheel.ledger import Ledger
from flywheel.local.base_model import SHIPPED_PATH
from flywheel.local.chat_format import ChatFormat
from flywheel.local.hyperparameters import Hyperparameters, warnings_about
from flywheel.local.preferences import read_preference
from flywheel.nemo import Nemo
from flywheel.preferences import NO_WRONG_ANSWER, preference, with_preferences
from flywheel.promote import Registry
from flywheel.runs import request
from flywheel.settings import LOCAL_BASE_MODEL, Settings
from flywheel.stages import Stages
from flywheel.store import Store
from flywheel.train import preference_recipe_for

RIGHT = calling(("get_weather", {"city": "Oslo"}))
WRONG = calling(("local_time", {"city": "Oslo"}))


def pairs(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = Store(settings.store_path)
    Registry(opened.database).begin(LOCAL_BASE_MODEL)
    yield opened
    opened.close()


def test_a_pair_is_the_question_with_both_answers_as_text() -> None:
    found = preference(row("Rain in Oslo?", RIGHT), WRONG, spaced=False)
    assert found == {
        "prompt": [{"role": "user", "content": "Rain in Oslo?"}],
        "tools": TOOLS,
        "chosen_response": '{"name":"get_weather","parameters":{"city":"Oslo"}}',
        "rejected_response": '{"name":"local_time","parameters":{"city":"Oslo"}}',
    }
    read = read_preference(json.dumps(found).encode(), "line 1")
    assert (read.chosen, read.rejected) == (found["chosen_response"], found["rejected_response"])
    words = preference(row("Hello", saying("Hi!")), RIGHT, spaced=True)
    assert words and words["chosen_response"] == "Hi!"
    assert words["rejected_response"] == '{"name": "get_weather", "parameters": {"city": "Oslo"}}'


def test_answers_that_do_not_differ_make_no_pair() -> None:
    assert preference(row("q", RIGHT), RIGHT, spaced=False) is None
    assert preference(row("q", RIGHT), saying(" "), spaced=False) is None
    first, second = calling(("add", {"a": 1, "b": 2})), calling(("add", {"b": 2, "a": 1}))
    assert preference(row("q", first), second, spaced=False) is None  # the order of arguments is no difference


def test_the_text_of_a_call_is_what_the_base_writes() -> None:
    chat = ChatFormat(AutoTokenizer.from_pretrained(SHIPPED_PATH, local_files_only=True), 4096)
    for right in (
        RIGHT,
        calling(("add", {"b": 2, "a": 1.5})),
        calling(("get_weather", {"city": "Łódź"}), ("add", {"a": 1, "b": 2})),
    ):
        made = row("q", right)
        found = preference(made, saying("no"), spaced=False)
        assert found
        text = {"role": "assistant", "content": found["chosen_response"]}
        assert chat.supervised([*made.messages[:-1], text], TOOLS) == chat.supervised(made.messages, TOOLS)


def test_only_corrections_with_a_wrong_answer_train_and_the_manifest_says_so() -> None:
    made = [example(row(f"question {n}"), name=f"fix-{n}", source="correction") for n in range(3)]
    made += [example(row("checked"), "validation", "correction", name="check"), example(row("other"), name="import")]
    plain = curate(made, [row("replayed")], [row("old")], run_id="run-1")
    wrong = {"fix-0": WRONG, "fix-1": saying("I do not know"), "check": WRONG}
    found = with_preferences(plain, made, wrong, spaced=False)
    assert [pair["rejected_response"] for pair in pairs(found.files[TRAINING_FILE])][1] == "I do not know"
    assert len(pairs(found.files[TRAINING_FILE])) == 2 and len(pairs(found.files[VALIDATION_FILE])) == 1
    assert found.files[HOLDOUT_FILE] == plain.files[HOLDOUT_FILE]
    assert (found.splits["fix-0"], found.splits["fix-2"], found.splits["import"]) == ("train", "excluded", "excluded")
    assert {"id": "fix-2", "reason": NO_WRONG_ANSWER} in found.manifest["exclusions"]
    assert found.manifest["preferences"] == {"train": 2, "validation": 1} and found.manifest["digest"] != plain.manifest["digest"]
    assert found.manifest["variants"]["fix-0"] == [line_digest(pairs(found.files[TRAINING_FILE])[0])]
    with pytest.raises(InputError, match="train by the recipe sft"):
        with_preferences(plain, made, {}, spaced=False)
    alone = with_preferences(plain, made, {"fix-0": WRONG}, spaced=False)
    assert VALIDATION_FILE not in alone.files and set(alone.manifest["files"]) == {TRAINING_FILE, HOLDOUT_FILE}


def test_a_dpo_run_pairs_what_the_model_said_and_an_erasure_finds_it(settings: Settings, store: Store) -> None:
    for number in range(3):
        corrected_turn(store, "ann", f"Will it rain in Oslo on day {number}?", RIGHT)
    corrected_turn(store, "bob", "Is it late in Oslo?", calling(("local_time", {"city": "Oslo"})))
    finished_turn(store, "not corrected", WRONG)
    run = request(store, "me", "dpo")
    nowhere = "http://127.0.0.1:9"
    nemo = Nemo(settings.with_urls(nowhere, nowhere, nowhere))
    asyncio.run(Stages(settings, store, nemo).curate(run.id))
    nemo.close()
    file = settings.home / "datasets" / run.id / TRAINING_FILE
    assert [pair["rejected_response"] for pair in pairs(file.read_bytes())] == ["I do not know"] * 4
    assert (Ledger(store.database).dataset(run.id) or {})["preferences"] == {"train": 4, "validation": 0}
    store.database.execute("UPDATE runs SET status = 'cancelled'")
    Eraser(settings, store).erase("ann")
    assert [pair["prompt"][0]["content"] for pair in pairs(file.read_bytes())] == ["Is it late in Oslo?"]


@pytest.mark.parametrize("base", [LOCAL_BASE_MODEL, "meta/llama-3.2-1b-instruct"])
def test_the_job_is_asked_for_in_the_customizers_words(base: str) -> None:
    asked = preference_recipe_for(base).hyperparameters()
    assert (asked["training_type"], asked["finetuning_type"]) == ("dpo", "lora") and asked["lora"]["adapter_dim"] >= 16
    checked = Hyperparameters.model_validate(asked)
    assert warnings_about(checked) == [] and checked.dpo and 0 < checked.dpo.ref_policy_kl_penalty <= 0.1
    assert asked["dpo"].keys() <= {"ref_policy_kl_penalty", "preference_loss_weight", "sft_loss_weight", "sft_average_log_probs"}
