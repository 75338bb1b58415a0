"""The first token of an answer: between calls and words their whole probability decides, not the likeliest token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flywheel.local.call_form import CallForm
from flywheel.local.decoding import Decoder, Limits, Sampling
from flywheel.local.generation import Generation
from tests.flywheel.local.test_grammar import GRAMMARS, TOKENIZER, TOOLS, VOCABULARY

GREEDY = Sampling()
WORDS = ("I", "S", "N", "T", "A")


def first_token(call: float, words: float, *, choice: Any = "auto", sampling: Sampling = GREEDY) -> str:
    """What an answer begins with where a call has this probability, and words this one in equal shares."""
    logits = torch.full((VOCABULARY,), -30.0)
    shares = {'{"': call} | dict.fromkeys(WORDS, words / len(WORDS))
    for text, share in shares.items():
        (token,) = TOKENIZER(text, add_special_tokens=False)["input_ids"]
        logits[token] = torch.tensor(share).log()
    decoder = Decoder(
        Generation(1), TOKENIZER, GRAMMARS.for_tools(TOOLS, choice), model="m", calls=CallForm().opening,
        openers=GRAMMARS.openers, sampling=sampling, limits=Limits(9, frozenset()),
    )  # fmt: skip
    decoder.take(logits)
    return str(TOKENIZER.decode(decoder.tokens))


@pytest.mark.parametrize(("call", "words"), [(0.45, 0.55), (0.55, 0.45), (0.2, 0.8), (0.99, 0.01)])
def test_words_are_chosen_where_they_are_likelier_together(call: float, words: float) -> None:
    assert first_token(call, words) in (WORDS if words > call else ('{"',))


def test_a_call_that_is_required_is_made_and_one_that_is_forbidden_is_not() -> None:
    assert first_token(0.01, 0.99, choice="required").startswith("{")
    assert first_token(0.99, 0.01, choice="none") in WORDS


def test_with_a_temperature_the_probabilities_decide_by_themselves() -> None:
    begun = [first_token(0.45, 0.55, sampling=Sampling(1.0, seed=seed)) for seed in range(40)]
    assert 8 < begun.count('{"') < 28


def test_what_opens_a_call_opens_no_text() -> None:
    texts = [TOKENIZER.decode([token]) for token in GRAMMARS.openers]
    assert '{"' in texts and all(text.startswith("{") for text in texts)
