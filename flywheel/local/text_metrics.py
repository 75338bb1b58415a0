"""How near an answer's text is to the texts that were expected: bleu, rouge, f1 and exact match.

Pure: texts in, numbers out. The first two are computed by the libraries that papers report with (sacrebleu, rouge-score); f1 and
exact match compare words as SQuAD does. Knows neither templates nor where texts come from.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

TextMetric = Literal["bleu", "rouge", "f1", "em"]

BLEU_SENTENCE, BLEU_CORPUS = "sentence", "corpus"
"""bleu's two scores, 0 to 100: the mean over the answers, and the one over all answers' words together."""

_ROUGE = {"rouge1": "rouge_1_score", "rouge2": "rouge_2_score", "rouge3": "rouge_3_score", "rougeL": "rouge_L_score"}

SCORES: dict[TextMetric, tuple[str, ...]] = {
    "bleu": (BLEU_SENTENCE,),
    "rouge": tuple(_ROUGE.values()),
    "f1": ("f1_score",),
    "em": ("em_score",),
}
"""What each metric says of one answer. All but bleu's are 0 to 1."""


def text_scores(metric: TextMetric, candidate: str, references: Sequence[str]) -> dict[str, float]:
    """The scores of one text against what was expected; of several expected texts the nearest counts."""
    return _METRICS[metric](candidate, references)


def corpus_bleu(texts: Sequence[tuple[str, Sequence[str]]]) -> float:
    """BLEU, 0 to 100, over all answers together; `texts` are answers, each with its expected texts. 0 for no answers."""
    from sacrebleu.metrics.bleu import BLEU  # imported where it is used: most evaluations are of tool calls

    width = max((len(references) for _, references in texts), default=0)
    if not width:
        return 0.0
    # sacrebleu takes one list for each place among the references; None where an answer has fewer of them.
    places: Any = [[references[i] if i < len(references) else None for _, references in texts] for i in range(width)]
    return float(BLEU().corpus_score([candidate for candidate, _ in texts], places).score)


def _bleu(candidate: str, references: Sequence[str]) -> dict[str, float]:
    from sacrebleu.metrics.bleu import BLEU

    return {BLEU_SENTENCE: float(BLEU(effective_order=True).sentence_score(candidate, list(references)).score)}


def _rouge(candidate: str, references: Sequence[str]) -> dict[str, float]:
    best = _scorer().score_multi(list(references), candidate)
    return {name: float(best[kind].fmeasure) for kind, name in _ROUGE.items()}


@cache
def _scorer() -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(_ROUGE))


def _f1(candidate: str, references: Sequence[str]) -> dict[str, float]:
    return {"f1_score": max(_overlap(_words(candidate), _words(reference)) for reference in references)}


def _em(candidate: str, references: Sequence[str]) -> dict[str, float]:
    return {"em_score": max(float(_words(candidate) == _words(reference)) for reference in references)}


def _overlap(said: Sequence[str], expected: Sequence[str]) -> float:
    if not said or not expected:
        return float(said == expected)
    common = sum((Counter(said) & Counter(expected)).values())
    return 2 * common / (len(said) + len(expected))


def _words(text: str) -> list[str]:
    """The words that count: in small letters, without punctuation and articles."""
    plain = text.lower().translate(_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


_PUNCTUATION = str.maketrans("", "", string.punctuation)
_METRICS: dict[TextMetric, Callable[[str, Sequence[str]], dict[str, float]]] = {
    "bleu": _bleu,
    "rouge": _rouge,
    "f1": _f1,
    "em": _em,
}
