"""Jobs for the trainer on a tiny random model: rows, folders, and a loop that stops when it is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from flywheel.local.base_model import SHIPPED_PATH
from flywheel.local.hyperparameters import Hyperparameters
from flywheel.local.job_folder import JobFolder, TrainingSpec
from flywheel.local.training import Training

TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": dict.fromkeys("ab", {"type": "integer"})}},
}


def tiny_base(folder: Path) -> Path:
    """Put a random Llama of two layers with the shipped tokenizer and chat template into a folder."""
    torch.manual_seed(7)
    shape = LlamaConfig(
        vocab_size=3072, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=6,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(SHIPPED_PATH / name, folder / name)
    return folder


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Sums of different lengths, asked for in words."""
    found = []
    for i in range(start, start + count):
        call = {"type": "function", "function": {"name": "add", "arguments": {"a": i, "b": i * 7}}}
        question = {"role": "user", "content": f"what is {i} and {i * 7}" + " please" * (i % 5)}
        found.append({"messages": [question, {"role": "assistant", "content": "", "tool_calls": [call]}], "tools": [TOOL]})
    return found


def write_rows(path: Path, lines: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def make_job(path: Path, base: Path, *, checkpoint_seconds: float = 0.0, validation: int = 4, **wanted: Any) -> JobFolder:
    """A job of 20 training rows whose checkpoint is due after every step."""
    folder = JobFolder(path)
    write_rows(folder.data / "training" / "rows.jsonl", rows(20))
    (folder.data / "validation").mkdir()
    if validation:
        write_rows(folder.data / "validation" / "rows.jsonl", rows(validation, start=50))
    defaults = {"finetuning_type": "lora", "epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "log_every_n_steps": 1}
    chosen = Hyperparameters.model_validate({**defaults, **wanted})
    spec = TrainingSpec(base_id="tests/tiny", base_path=base, max_seq_length=512, hyperparameters=chosen)
    folder.write_spec(spec.model_copy(update={"checkpoint_seconds": checkpoint_seconds}))
    return folder


class StopAfter:
    """Asks to stop once it has been asked that many times, that is after as many steps."""

    def __init__(self, steps: int = 10**9) -> None:
        self.left = steps

    def begin_training(self) -> None:
        """Nothing to prepare."""

    def asked(self) -> bool:
        self.left -= 1
        return self.left <= 0


def train(folder: JobFolder, steps: int = 10**9) -> bool:
    spec = folder.spec()
    assert spec is not None
    return Training(folder, spec).run(StopAfter(steps))


def points(folder: JobFolder, event: str) -> list[tuple[int, float]]:
    return [(said["step"], said["value"]) for said in folder.events() if said["event"] == event]
