"""One answer's next token, again and again: guided by a grammar, greedy or sampled, and turned into text that may be shown.

Takes logits, gives tokens and finally a `Completion`. Knows where an answer ends (end-of-turn token, stop text, token limit);
does not know the model, the batch it sits in, or who reads the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flywheel.local.call_form import parse
from flywheel.local.generation import Completion, FinishReason, Generation
from flywheel.local.token_record import TokenRecord

if TYPE_CHECKING:
    import torch


_LEAST = 1e-9
"""Of the likeliest tokens: the first one is always kept."""


class Sampling(NamedTuple):
    """How a token is drawn: `temperature` 0 is greedy, `top_p` keeps the likeliest up to that sum, `seed` None is random."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None


class Limits(NamedTuple):
    """Where an answer ends: after `tokens` tokens, at one of the tokens `ends`, or before one of the texts `stop`."""

    tokens: int
    ends: frozenset[int]
    stop: tuple[str, ...] = ()


class Decoder:
    """Writes one answer into a `Generation`. `matcher` is llguidance's; `calls` is how a tool call begins, or None.

    `record` keeps the tokens' probabilities where the request asked for them.
    """

    def __init__(
        self,
        generation: Generation,
        tokenizer: Any,
        matcher: Any,
        *,
        model: str,
        calls: str | None,
        sampling: Sampling,
        limits: Limits,
        record: TokenRecord | None = None,
    ) -> None:
        self.generation = generation
        self.finished = False
        self.tokens: list[int] = []
        self._tokenizer = tokenizer
        self._matcher = matcher
        self._model = model
        self._calls = calls
        self._sampling = sampling
        self._limits = limits
        self._record = record
        self._random: torch.Generator | None = None
        self._shown = 0
        self._logprobs = 0.0

    def take(self, logits: torch.Tensor) -> None:
        """Choose the next token from the logits (vocabulary), show what text became certain, and finish where the answer ends."""
        token = self._choose(logits)
        self._logprobs += float(logits[token] - logits.logsumexp(-1))
        self.tokens.append(token)
        self._matcher.consume_token(token)
        if self._record and token not in self._limits.ends:
            self._record.take(token, logits)
        if token in self._limits.ends or self._matcher.is_stopped():
            self._finish("stop")
            return
        text = self._text()
        if (stop := self._stopped_at(text)) is not None:
            self._finish("stop", text[:stop])
        elif len(self.tokens) >= self._limits.tokens:
            self._finish("length")
        else:
            self._show(text, self._certain(text))

    def _choose(self, logits: torch.Tensor) -> int:
        import numpy
        import torch

        bits = numpy.unpackbits(numpy.frombuffer(self._matcher.compute_bitmask(), dtype=numpy.uint8), bitorder="little")
        scores = logits.masked_fill(~torch.from_numpy(bits[: len(logits)].astype(bool)), float("-inf"))
        if self._sampling.temperature == 0:
            return int(scores.argmax())
        if self._random is None:
            self._random = torch.Generator()
            self._random.manual_seed(self._sampling.seed) if self._sampling.seed is not None else self._random.seed()
        probabilities, order = (scores / self._sampling.temperature).softmax(-1).sort(descending=True)
        probabilities[probabilities.cumsum(-1) - probabilities >= self._sampling.top_p] = 0
        return int(order[torch.multinomial(probabilities, 1, generator=self._random)])

    def _text(self) -> str:
        text: str = self._tokenizer.decode(self.tokens, skip_special_tokens=True)
        return text

    def _stopped_at(self, text: str) -> int | None:
        if self._is_call(text):
            return None
        found = [place for stop in self._limits.stop if (place := text.find(stop)) >= 0]
        return min(found, default=None)

    def _is_call(self, text: str) -> bool:
        return self._calls is not None and text[:1] == self._calls[0]

    def _certain(self, text: str) -> int:
        """How many characters can change no more; a call, half a character and what may become a stop text are held back."""
        if self._is_call(text):
            return 0
        held = max((len(stop) for stop in self._limits.stop), default=1) - 1
        return len(text.rstrip("\ufffd")) - held

    def _show(self, text: str, end: int) -> None:
        if end > self._shown:
            self.generation.add(text[self._shown : end], self._record.certain(text[:end]) if self._record else ())
            self._shown = end

    def _finish(self, reason: FinishReason, text: str | None = None) -> None:
        if text is not None and self._record:
            self._record.cut(text)
        text = self._text() if text is None else text
        content, calls = parse(text) if self._is_call(text) else (text, [])
        if content is not None:
            self._show(content, len(content))
        if self._record and (rest := self._record.rest()):
            self.generation.add("", rest)
        self.finished = True
        self.generation.finish(
            Completion(
                model=self._model,
                content=content,
                tool_calls=calls,
                finish_reason="tool_calls" if calls else reason,
                prompt_tokens=self.generation.prompt_tokens,
                completion_tokens=len(self.tokens),
                mean_logprob=self._logprobs / len(self.tokens),
                tokens=self._record.tokens if self._record else (),
            )
        )


def sampling_for(temperature: float | None, top_p: float | None, seed: int | None, defaults: Any) -> Sampling:
    """The request's numbers, or where it gives none, those of the model's `generation_config`: greedy unless that samples."""
    usual = (defaults.temperature if defaults.do_sample else 0.0) if temperature is None else temperature
    share = (defaults.top_p if defaults.do_sample else 1.0) if top_p is None else max(top_p, _LEAST)
    return Sampling(0.0 if usual is None else usual, 1.0 if share is None else share, seed)


def end_tokens(tokenizer: Any, defaults: Any) -> Sequence[int]:
    """Every token that ends a turn, the tokenizer's own first."""
    listed = defaults.eos_token_id if isinstance(defaults.eos_token_id, list) else [defaults.eos_token_id]
    return list(dict.fromkeys(token for token in [tokenizer.eos_token_id, *listed] if token is not None))
