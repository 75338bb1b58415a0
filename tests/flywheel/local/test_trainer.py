"""Training on a tiny random model: what it learns, what it saves, and how it goes on after it was stopped."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from trainer_jobs import make_job, points, rows, tiny_base, train, write_rows

from flywheel.local.checkpoint import read_checkpoint
from flywheel.local.customization import new_details, progressed
from flywheel.local.hyperparameters import Hyperparameters, warnings_about
from flywheel.local.job_folder import JobFolder, TrainingSpec, Unfit
from flywheel.local.lora import AnswerTraining
from flywheel.local.packing import TOKENS_AT_ONCE, Example
from flywheel.local.training import epoch_batches


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait by spinning make a tiny model slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model."""
    return tiny_base(tmp_path_factory.mktemp("base"))


def test_losses_of_a_seeded_run_stay_what_they_are(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base)
    assert train(folder)
    losses = [value for _, value in points(folder, "train_loss")]
    # bfloat16 or float32, as the processor allows: they differ by less than 0.005.
    assert losses == pytest.approx(
        [8.049, 7.987, 7.915, 7.885, 7.876, 7.862, 7.845, 7.800, 7.741, 7.697, 7.690, 7.689, 7.655, 7.638, 7.648], abs=0.01
    )
    plan = folder.events()[0]
    assert (plan["total_steps"], plan["steps_per_epoch"], plan["training_rows"], plan["validation_rows"]) == (15, 5, 20, 4)
    details = progressed(new_details(), folder.events())
    assert details["tokens"] % 3 == 0 and details["tokens"] > 3 * 20 * 10  # three times the same twenty rows
    assert details["cpu_seconds"] > 0


def test_the_adapter_is_the_one_of_the_best_validation(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.local.training.SAVING_SHARE", math.inf)  # save at every step
    # A rate that overshoots: later epochs are worse than an earlier one.
    folder = make_job(tmp_path / "job", base, learning_rate=0.1, epochs=12)
    assert train(folder)
    checks = points(folder, "val_loss")
    assert [step for step, _ in checks] == list(range(4, 60, 5))
    best = min(value for _, value in checks)
    assert best < checks[-1][1]
    saved = load_file(folder.adapter / "adapter_model.safetensors")
    checkpoint = read_checkpoint(folder.checkpoint)
    assert checkpoint is not None and checkpoint.progress.best_loss == best
    kept = {name.replace(".default", ""): tensor for name, tensor in checkpoint.best.items()}
    assert kept.keys() == saved.keys() and all(torch.equal(kept[name], saved[name]) for name in saved)
    config = json.loads((folder.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["peft_type"], config["r"], config["base_model_name_or_path"]) == ("LORA", 16, "tests/tiny")


def test_a_stopped_job_goes_on_exactly_where_it_was(tmp_path: Path, base: Path) -> None:
    wanted = {"lora": {"adapter_dropout": 0.2}, "log_every_n_steps": 4}
    whole, parts = make_job(tmp_path / "a" / "job", base, **wanted), make_job(tmp_path / "b" / "job", base, **wanted)
    assert train(whole)
    assert not train(parts, steps=3)
    assert not train(parts, steps=4)
    assert train(parts)
    for event in ("train_loss", "val_loss"):
        assert points(parts, event) == points(whole, event)
    adapters = [load_file(folder.adapter / "adapter_model.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(tensor, adapters[1][name]) for name, tensor in adapters[0].items())


def test_steps_after_the_last_checkpoint_are_said_once(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, checkpoint_seconds=1e9)
    assert not train(folder, steps=3)
    for step in (3, 4):  # said by a child that was killed before it could save
        folder.say("step", step=step, epochs_completed=0)
    with (folder.path / "metrics.jsonl").open("a", encoding="utf-8") as torn:
        torn.write('{"event": "st')
    assert train(folder)
    assert [said["step"] for said in folder.events() if said["event"] == "step"] == list(range(15))


def test_padding_and_parts_change_no_loss(base: Path) -> None:
    wanted = Hyperparameters(finetuning_type="lora")
    lora = AnswerTraining(TrainingSpec(base_id="x", base_path=base, max_seq_length=512, hyperparameters=wanted))
    examples = [Example([1, *range(10, 10 + n)], [-100] * (n - 2) + [11, 12, 13]) for n in (5, 400, 17, 170, 33)]
    single = sum(lora.validate([example]) for example in examples) / len(examples)
    assert lora.validate(examples) == pytest.approx(single, abs=0.01)  # bfloat16 rounds
    assert 7 * 400 > TOKENS_AT_ONCE
    assert lora.validate(examples * 7) == pytest.approx(single, abs=0.01)


def preferences(count: int) -> list[dict[str, Any]]:
    """Questions that are to be answered by a word and not by another one."""
    prompt = [{"role": "system", "content": "be brief"}]
    return [
        {
            "prompt": [*prompt, {"role": "user", "content": f"question {i}"}],
            "chosen_response": "yes",
            "rejected_response": "no it is",
        }
        for i in range(count)
    ]


def make_preferences(path: Path, base: Path, **wanted: Any) -> JobFolder:
    folder = make_job(path, base, training_type="dpo", **wanted)
    write_rows(folder.data / "training" / "rows.jsonl", preferences(12))
    write_rows(folder.data / "validation" / "rows.jsonl", preferences(4))
    return folder


def test_preferences_raise_the_chosen_answer_over_the_rejected_one(tmp_path: Path, base: Path) -> None:
    folder = make_preferences(tmp_path / "job", base, epochs=4, dpo={"ref_policy_kl_penalty": 0.5})
    assert train(folder)
    losses = [value for _, value in points(folder, "train_loss")]
    # A fresh adapter is the reference itself: neither answer is preferred, and the loss is that of a coin.
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert losses[-1] < 0.4 < losses[0]
    assert points(folder, "val_loss")[-1][1] < 0.4


@pytest.mark.parametrize(
    ("dpo", "first"),
    [
        ({"preference_loss_weight": 2}, 2 * math.log(2)),
        ({"preference_loss_weight": 0, "sft_loss_weight": 1, "sft_average_log_probs": True}, math.log(3072)),  # a guess
        ({"preference_average_log_probs": True}, math.log(2)),
    ],
)
def test_weights_of_the_preference_loss(tmp_path: Path, base: Path, dpo: dict[str, Any], first: float) -> None:
    folder = make_preferences(tmp_path / "job", base, dpo=dpo, max_steps=1)
    assert train(folder)
    assert points(folder, "train_loss")[0][1] == pytest.approx(first, abs=0.1)


def test_a_stopped_job_on_preferences_goes_on_exactly_where_it_was(tmp_path: Path, base: Path) -> None:
    whole, parts = make_preferences(tmp_path / "a" / "job", base), make_preferences(tmp_path / "b" / "job", base)
    assert train(whole)
    assert not train(parts, steps=4)
    assert train(parts)
    assert points(parts, "train_loss") == points(whole, "train_loss")


def test_preferences_that_are_none_are_named(tmp_path: Path, base: Path) -> None:
    folder = make_preferences(tmp_path / "job", base)
    bad = [
        rows(1)[0],
        {"prompt": "x", "chosen_response": "a", "rejected_response": "a"},
        {**preferences(1)[0], "chosen_response": {}},
    ]
    write_rows(folder.data / "training" / "rows.jsonl", bad)
    with pytest.raises(Unfit) as raised:
        train(folder)
    reasons = str(raised.value).splitlines()[1:]
    assert ["needs 'prompt'" in reasons[0], "are the same" in reasons[1], "'chosen_response' must be a text" in reasons[2]] == [
        True
    ] * 3


def test_without_validation_rows_a_tenth_is_held_out(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, validation=0, epochs=1)
    assert train(folder)
    plan = folder.events()[0]
    assert (plan["training_rows"], plan["validation_rows"]) == (18, 2)
    assert plan["warnings"] == ["no validation rows: 2 of 20 training rows are held out instead"]


def test_max_steps_and_validation_within_an_epoch(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, max_steps=7, val_check_interval=2, log_every_n_steps=3)
    assert train(folder)
    assert [step for step, _ in points(folder, "val_loss")] == [1, 3, 6]
    assert [step for step, _ in points(folder, "train_loss")] == [2, 5, 6]


def test_rows_that_do_not_fit_are_left_out_and_counted(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, epochs=1)
    long = {"prompt": "word " * 600, "completion": "yes"}
    write_rows(folder.data / "training" / "long.jsonl", [long])
    assert train(folder)
    assert folder.events()[0]["warnings"] == ["1 of 21 training rows are longer than 512 tokens and left out"]


def test_target_modules_by_nemos_names(tmp_path: Path, base: Path) -> None:
    folder = make_job(tmp_path / "job", base, epochs=1, lora={"target_modules": ["linear_proj", "*.layers.0.*.q_proj"]})
    assert train(folder)
    names = load_file(folder.adapter / "adapter_model.safetensors")
    layers = {name.split(".lora_")[0].removeprefix("base_model.model.model.layers.") for name in names}
    assert layers == {"0.self_attn.o_proj", "1.self_attn.o_proj", "0.self_attn.q_proj"}
    with pytest.raises(Unfit, match="match no layer.*q_proj"):
        train(make_job(tmp_path / "other" / "job", base, lora={"target_modules": ["nonsense"]}))


def test_a_loss_that_is_no_number_is_a_reason(tmp_path: Path, base: Path) -> None:
    broken = tmp_path / "base"
    shutil.copytree(base, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(Unfit, match="loss became nan at step 0: lower learning_rate"):
        train(make_job(tmp_path / "job", broken))


def test_batches_hold_every_row_once() -> None:
    lengths = [5 + (i * 37) % 90 for i in range(101)]
    batches = epoch_batches(lengths, 8, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(101))
    assert len(batches) == 13
    assert batches == epoch_batches(lengths, 8, seed=1, epoch=0) != epoch_batches(lengths, 8, seed=1, epoch=1)


def test_learning_rate_rises_and_falls() -> None:
    wanted = Hyperparameters(finetuning_type="lora", learning_rate=1.0, warmup_steps=2, min_learning_rate=0.1)
    assert [round(wanted.learning_rate_at(step, 6), 3) for step in range(6)] == [0.5, 1.0, 1.0, 0.775, 0.55, 0.325]
    alone = Hyperparameters(finetuning_type="lora", learning_rate=1.0, warmup_steps=50)
    assert alone.learning_rate_at(0, 1) == 1.0


def test_what_is_not_honoured_is_named() -> None:
    wanted = Hyperparameters.model_validate(
        {"finetuning_type": "lora", "optimizer": None, "adam_beta1": 0.9, "lora": {"rank_magic": 3, "adapter_dim": 12}}
        | {"sft": {"hidden_dropout": 0.1, "attention_dropout": 0.0}, "dpo": {"max_grad_norm": 1}}
    )
    assert [warning["message"] for warning in warnings_about(wanted)] == [
        "'adam_beta1' is not honoured",
        "'dpo' is not honoured",
        "'lora.rank_magic' is not honoured",
        "'sft.hidden_dropout' is not honoured",
        "'lora.adapter_dim' is 12, which is no power of 2",
    ]


@pytest.mark.parametrize(("training_type", "warned"), [("sft", []), ("dpo", ["'sequence_packing_enabled' is not honoured"])])
def test_answers_are_packed_and_preferences_are_not(training_type: str, warned: list[str]) -> None:
    wanted = {"finetuning_type": "lora", "training_type": training_type, "sequence_packing_enabled": True}
    assert [warning["message"] for warning in warnings_about(Hyperparameters.model_validate(wanted))] == warned
