"""Train the tokenizer: `python -m flywheel.local.base.tokenizer --out DIR`. Settings are those of the shipped one.

A byte-level BPE that splits whitespace, single digits, runs of letters and runs of punctuation first, so that a word has the
same tokens in a question, in a schema and in JSON: copying is then the same tokens again. The shipped tokenizer learned from an
earlier generator's turns, so that a new one has other merges; weights go with the tokenizer that they were trained with. Knows no
model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from flywheel.local.base.turns import Sample, Turns

VOCABULARY = 3072
SPECIAL = ("<|pad|>", "<|bos|>", "<|tools|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>", "<|system|>")
"""In the order of their ids, from 0."""
PIECES = r"\p{Lu}?\p{Ll}+|\p{Lu}+|\d|\s|[^\s\p{L}\d]+"
_FOLDER = Path(__file__).parent


def train_tokenizer(samples: int, seed: int = 777, vocabulary: int = VOCABULARY) -> Tokenizer:
    """A tokenizer from so many samples of the training data; the same seed gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(samples, seed), trainer)
    return tokenizer


def texts(samples: int, seed: int) -> Iterator[str]:
    """Everything that a model reads in so many samples: names, parameters and descriptions of tools, questions, answers."""
    turns = Turns(seed)
    for _ in range(samples):
        yield from _of_sample(turns.sample())


def _of_sample(sample: Sample) -> Iterator[str]:
    for tool in sample.tools:
        function: dict[str, Any] = tool["function"]
        parameters = [
            f"{name}:{'|'.join(schema.get('enum', ['str']))}" for name, schema in function["parameters"]["properties"].items()
        ]
        yield f"{function['name']}({','.join(parameters)}) {function['description']}"
    for message in (message for turn in sample.turns for message in turn.messages):
        yield message["content"]
        for call in message.get("tool_calls", ()):
            function = call["function"]
            yield json.dumps(
                {"name": function["name"], "parameters": function["arguments"]}, ensure_ascii=False, separators=(",", ":")
            )


@click.command(help=__doc__.split("Knows")[0] if __doc__ else None)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder that tokenizer.json and its files go to.")
@click.option("--samples", default=6000, show_default=True, help="How many samples to learn from.")
def main(out: Path, samples: int) -> None:
    """The command."""
    out.mkdir(parents=True, exist_ok=True)
    train_tokenizer(samples).save(str(out / "tokenizer.json"))
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(_FOLDER / name, out / name)
    print(f"the tokenizer is in {out}")


if __name__ == "__main__":
    main()
