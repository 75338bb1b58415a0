"""The base model's recipe at work: rendering, a tiny run with pinned losses that goes on after a kill, and its examination."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

from flywheel.local.base import evaluate
from flywheel.local.base.data import Batch, Encoder, collate
from flywheel.local.base.learner import Learner, fresh_model, rate_at
from flywheel.local.base.recipe import Recipe
from flywheel.local.base.shards import Counters, read_checkpoint, write_checkpoint
from flywheel.local.base.tokenizer import SPECIAL, train_tokenizer
from flywheel.local.base.train import SHIPPED, Plan, train
from flywheel.local.base.turns import Sample, Turns
from flywheel.local.chat_format import ChatFormat

TINY = replace(
    Recipe(),
    hidden_size=64,
    layers=2,
    heads=1,
    feed_forward=128,
    batch_tokens=1200,
    pool_samples=6,
    warm_up_steps=2,
    checkpoint_minutes=0,
)
STEPS = 6
LOSSES = [8.029, 7.948, 7.909, 7.736, 7.634, 7.528]
"""What TINY's first steps lose. They change with the data and the recipe only: this file run as a program prints them."""


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(SHIPPED)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(SHIPPED, local_files_only=True)


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    turns = Turns(7)
    return [turns.sample() for _ in range(12)]


def run(out: Path, steps: int = STEPS) -> list[tuple[int, float]]:
    """Step numbers and losses of a tiny run up to this step; a shorter one is left as a kill would leave it."""
    told: list[tuple[int, float]] = []
    course = train(TINY, Plan(out, steps=STEPS, init=None, workers=0))
    for counters, loss in course:
        told.append((counters.step, loss))
        if counters.step == steps < STEPS:
            course.close()  # type: ignore[attr-defined]
            break
    return told


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, float]]]:
    out = tmp_path_factory.mktemp("trained")
    torch.set_num_threads(1)
    return out, run(out)


def test_every_turn_stands_behind_the_tools_as_the_template_renders_it(
    encoder: Encoder, tokenizer: Any, drawn: list[Sample]
) -> None:
    chat = ChatFormat(tokenizer, 2048)
    for sample in drawn:
        row = encoder.encode(sample)
        for number, turn in enumerate(sample.turns, 1):
            alone = [place for place, owner in enumerate(row.turn) if owner in (0, number)]
            rendered = tokenizer(chat.text(turn.messages, sample.tools, opened=False), add_special_tokens=False)["input_ids"]
            assert [row.ids[place] for place in alone] == rendered
            assert [row.positions[place] for place in alone] == list(range(len(rendered)))


def test_only_what_the_assistant_says_is_learned(encoder: Encoder, tokenizer: Any, drawn: list[Sample]) -> None:
    for sample in drawn:
        row = encoder.encode(sample)
        assert set(row.labels[: row.turn.index(1)]) == {-1}
        for number, turn in enumerate(sample.turns, 1):
            learned = [label for label, owner in zip(row.labels, row.turn, strict=True) if owner == number and label >= 0]
            assert tokenizer.decode(learned) == "".join(
                answer(message) for message in turn.messages if message["role"] == "assistant"
            )


def answer(message: dict[str, Any]) -> str:
    calls = [call["function"] for call in message.get("tool_calls", ())]
    made = [{"name": call["name"], "parameters": call["arguments"]} for call in calls]
    written = "\n".join(json.dumps(call, separators=(",", ":"), ensure_ascii=False) for call in made)
    return (written or message["content"]) + "<|end|>"


def test_turns_behind_one_list_of_tools_learn_as_if_each_were_alone(encoder: Encoder, drawn: list[Sample]) -> None:
    learner = Learner(fresh_model(TINY, SHIPPED), TINY, learning_rate=1e-3, device=torch.device("cpu"))
    together = collate([encoder.encode(sample) for sample in drawn[:3]])
    alone = [collate([encoder.encode(Sample(sample.tools, [turn]))]) for sample in drawn[:3] for turn in sample.turns]

    def total(batch: Batch) -> float:
        return float(learner.loss(batch).detach()) * int((batch.labels >= 0).sum())

    assert total(together) == pytest.approx(sum(map(total, alone)), rel=2e-3)


def test_a_tiny_run_loses_what_it_always_lost(trained: tuple[Path, list[tuple[int, float]]]) -> None:
    assert [loss for _, loss in trained[1]] == pytest.approx(LOSSES, rel=2e-3)


def test_a_killed_run_goes_on_from_its_checkpoint_to_the_same_losses(
    trained: tuple[Path, list[tuple[int, float]]], tmp_path: Path
) -> None:
    before = run(tmp_path, steps=4)
    after = run(tmp_path)
    assert before[-1][0] == 4 and after[0][0] in (4, 5) and after[-1][0] == STEPS
    for step, loss in [*before, *after]:
        assert loss == pytest.approx(trained[1][step - 1][1], rel=1e-4)
    assert not list(tmp_path.glob("checkpoint*"))


def test_the_trained_folder_loads_and_has_the_shipped_tokenizer(trained: tuple[Path, list[tuple[int, float]]]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(trained[0], local_files_only=True, use_safetensors=True)
    assert model.dtype == torch.bfloat16 and model.config.hidden_size == TINY.hidden_size
    loaded: Any = AutoTokenizer.from_pretrained(trained[0], local_files_only=True)
    assert "<|tools|>" in loaded.chat_template and len(loaded) == model.config.vocab_size


def test_the_rate_warms_up_stays_and_falls() -> None:
    recipe = replace(Recipe(), warm_up_steps=10)
    assert rate_at(recipe, 0.0, 4) == pytest.approx(0.5)
    assert rate_at(recipe, 0.6, 500) == 1.0
    assert recipe.final_lr_share < rate_at(recipe, 0.9, 900) < 0.5
    assert rate_at(recipe, 1.0, 1000) == recipe.final_lr_share


def test_a_checkpoint_comes_in_pieces_of_less_than_16_mib(tmp_path: Path) -> None:
    state = {f"weight{number}": torch.full((1024, 1024), float(number)) for number in range(9)}  # 4 MiB each
    write_checkpoint(tmp_path, Counters(step=1), state)
    write_checkpoint(tmp_path, Counters(step=2, tokens=7, pool=3, place=1), state)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.safetensors")]
    assert len(sizes) == 3 and max(sizes) < 16 * 1024**2
    counters, read = read_checkpoint(tmp_path) or pytest.fail("no checkpoint")
    assert counters == Counters(step=2, tokens=7, pool=3, place=1)
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


def test_the_tokenizer_is_trained_as_the_shipped_one_was() -> None:
    made = json.loads(train_tokenizer(40, vocabulary=600).to_str())
    shipped = json.loads((SHIPPED / "tokenizer.json").read_text(encoding="utf-8"))
    assert [token["content"] for token in made["added_tokens"]] == list(SPECIAL)
    for part in ("added_tokens", "normalizer", "pre_tokenizer", "decoder"):
        assert made[part] == shipped[part]
    assert len(made["model"]["vocab"]) == 600


def test_the_examination_tells_a_share_for_every_set(trained: tuple[Path, list[tuple[int, float]]]) -> None:
    told = CliRunner().invoke(evaluate.main, ["--model", str(trained[0]), "--n", "1", "--json"], catch_exceptions=False)
    sets = [json.loads(line) for line in told.stdout.splitlines() if line.startswith("{")]
    assert told.exit_code == 0 and len(sets) == 8
    assert all(one["n"] == 1 and 0 <= one["full"]["share"] <= 1 for one in sets)
    assert "refused" in sets[0] and "refused" not in sets[-1]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print([round(loss, 3) for _, loss in run(Path(folder))])
