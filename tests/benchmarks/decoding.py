"""One token step under the microscope: with the grammar and without, with our adapters and with peft's `adapter_names`.

Part of the serving benchmark. Drives the engine's own batch and decoder without the engine's thread. Knows no requests.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from flywheel.local.adapters import Adapter, AdapterBank, read_adapter
from flywheel.local.base_model import SHIPPED_PATH
from flywheel.local.batch import Batch
from flywheel.local.call_form import call_form
from flywheel.local.chat_format import ChatFormat
from flywheel.local.decoding import Decoder, Limits, Sampling, end_tokens
from flywheel.local.generation import Generation
from flywheel.local.grammar import Grammars
from flywheel.train import LOCAL_RECIPE
from tests.benchmarks.machine import milliseconds
from tests.benchmarks.questions import schemas

STEPS = 30
QUESTION = [{"role": "user", "content": "I want to return order A1002, it does not fit"}]
TOOL = {"type": "function", "function": {"name": "request_return"}}
SPREAD = 0.02
"""Of the adapters' random matrices: enough to change what the model says."""


def base_model() -> Any:
    """A fresh copy of the base, as the engine loads it."""
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model: Any = AutoModelForCausalLM.from_pretrained(SHIPPED_PATH, dtype=torch.float32, local_files_only=True)
    return model.eval()


def make_adapters(folder: Path, count: int) -> dict[str, Path]:
    """Different adapters of the shape that a run trains, written by peft: name → folder."""
    recipe = LOCAL_RECIPE
    config = LoraConfig(r=recipe.adapter_dim, lora_alpha=recipe.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that has a new spelling
        model = get_peft_model(base_model(), config)
    found = {f"adapter-{number}": folder / str(number) for number in range(count)}
    for seed, place in enumerate(found.values()):
        torch.manual_seed(seed)
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=SPREAD)
        model.save_pretrained(str(place))
    return found


class Greedy:
    """The likeliest token each time: no grammar, no text. What is left of a decoder when everything is taken away."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.finished = False

    def take(self, logits: torch.Tensor) -> None:
        """Choose the next token from the logits (vocabulary)."""
        self.tokens.append(int(logits.argmax()))


Writer = Greedy | Decoder


class PeftServed:
    """peft's own way to serve several adapters in one batch, in the place of both the model and the bank."""

    def __init__(self, folders: dict[str, Path]) -> None:
        first, *others = folders
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self._model = PeftModel.from_pretrained(base_model(), folders[first], adapter_name=first).eval()
            for name in others:
                self._model.load_adapter(folders[name], adapter_name=name)
        self._names: list[str] = []
        self.forward = self._model.get_base_model().forward  # its arguments are looked at

    def __call__(self, **inputs: Any) -> Any:
        return self._model(adapter_names=self._names, **inputs)

    def route(self, adapters: Sequence[Adapter | None]) -> None:
        """Say who answers each row of the coming forward passes."""
        self._names = ["__base__" if adapter is None else adapter.model_id for adapter in adapters]


class Setting:
    """The prompt, the decoders' parts, and the adapters as the bank takes them."""

    def __init__(self, folders: dict[str, Path]) -> None:
        tokenizer: Any = AutoTokenizer.from_pretrained(SHIPPED_PATH, local_files_only=True)
        self.model = base_model()
        self.bank = AdapterBank(self.model)
        self.adapters = [read_adapter(name, folder, self.model) for name, folder in folders.items()]
        for adapter in self.adapters:
            self.bank.prepare(adapter)
        chat = ChatFormat(tokenizer, self.model.config.max_position_embeddings)
        self.prompt = chat.prompt(QUESTION, schemas())
        self._tokenizer, self._form = tokenizer, call_form(chat)
        self._ends = end_tokens(tokenizer, self.model.generation_config)
        self._grammars = Grammars(tokenizer, self.model.config.vocab_size, self._ends, self._form)

    def guided(self) -> Decoder:
        """The engine's decoder under the grammar of one tool."""
        return Decoder(
            Generation(len(self.prompt)),
            self._tokenizer,
            self._grammars.for_tools(schemas(), TOOL, several=False),
            model="base",
            calls=self._form.opening,
            sampling=Sampling(),
            limits=Limits(STEPS, frozenset(self._ends)),
        )


Steps = tuple[float, list[list[int]]]
"""Milliseconds per step, and the tokens of each row."""


def write(batch: Batch[Writer], prompt: list[int], adapters: Sequence[Adapter | None], writer: Callable[[], Writer]) -> Steps:
    """Answer the prompt in as many rows as there are adapters; reading it is not measured."""
    for adapter in adapters:
        item = writer()
        logits, layers = batch.read(prompt, adapter)
        item.take(logits)
        batch.join(item, adapter, layers)
    writers, steps = list(batch.items), 0

    def to_the_end() -> None:
        nonlocal steps
        while steps < STEPS and not any(item.finished for item in writers):
            for item, row in zip(writers, batch.step([item.tokens[-1] for item in writers]), strict=True):
                item.take(row)
            steps += 1

    taken = milliseconds(to_the_end)
    batch.leave(lambda item: True)
    return taken / max(steps, 1), [item.tokens for item in writers]


def compare(folders: dict[str, Path], threads: int, repeats: int) -> tuple[list[tuple[str, float, str, float]], float]:
    """Results as (what, milliseconds per step, baseline, its milliseconds), and the share of tokens on which peft agrees."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        setting = Setting(folders)
        peft: Any = PeftServed(folders)  # in the place of both a model and its adapters
        ours: Batch[Any] = Batch(setting.model, setting.bank)
        theirs: Batch[Any] = Batch(peft, peft)
        eight, prompt = setting.adapters, setting.prompt
        ways: dict[str, Callable[[], Steps]] = {
            "guided 1": lambda: write(ours, prompt, [None], setting.guided),
            "bare 1": lambda: write(ours, prompt, [None], Greedy),
            "guided": lambda: write(ours, prompt, [None] * len(eight), setting.guided),
            "bare": lambda: write(ours, prompt, [None] * len(eight), Greedy),
            "adapters": lambda: write(ours, prompt, eight, Greedy),
            "peft": lambda: write(theirs, prompt, eight, Greedy),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        written: dict[str, list[list[int]]] = {}
        for _ in range(repeats + 1):
            for name, way in ways.items():
                ms, written[name] = way()
                taken[name].append(ms)
    found = {name: median(times[1:]) for name, times in taken.items()}  # the first time warms up
    rows = f"{len(eight)} rows"
    return [
        ("a step of 1 row, guided by the grammar", found["guided 1"], "likeliest token only", found["bare 1"]),
        (f"a step of {rows}, guided by the grammar", found["guided"], "likeliest token only", found["bare"]),
        (f"a step of {rows}, {len(eight)} adapters", found["adapters"], "no adapters", found["bare"]),
        (f"a step of {rows}, {len(eight)} adapters", found["adapters"], "peft's adapter_names", found["peft"]),
    ], _agreement(written["adapters"], written["peft"])


def _agreement(ours: list[list[int]], theirs: list[list[int]]) -> float:
    """The share of equal tokens; the rows of both stand in the same order, that of their adapters."""
    pairs = [(a, b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)]
    return sum(a == b for a, b in pairs) / len(pairs)
