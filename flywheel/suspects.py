"""Rows that look planted: votes in a burst, the same text again and again, and phrases that override what a question says.

Pure: votes and examples in, example ids with reasons out. A finding is no verdict: the rows go into quarantine and a developer
looks. Bursts and copies are looked for only where several people give, since a person alone with their laptop floods nobody.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from flywheel.caps import Caps
from flywheel.near_duplicates import SAME, clusters, words
from flywheel.rows import Row

if TYPE_CHECKING:
    from flywheel.ledger import Example

COPIED_LETTERS = 40
"""Shorter texts are said by several people without copying."""
_PHRASE = 3
_LIKE = 0.5
"""Share of common words (Jaccard) from which on one question is like another."""
_USUAL = 0.3
"""An answer that this share of all rows have is not unusual."""
_LOOKED = 24
"""Rows of one phrase that are compared with others, spread over all of them."""


@dataclass(frozen=True)
class Vote:
    """A person's standing rating of a turn, or the correction that they proposed for it.

    moment: seconds since 1970, when it was first given.
    """

    person: str
    turn_id: str
    moment: float
    question: str
    opinion: str


def suspects(examples: Sequence[Example], votes: Sequence[Vote], known: Sequence[Row], caps: Caps) -> dict[str, str]:
    """Example id → why it belongs into quarantine. known: rows that nobody outside can have planted."""
    found: dict[str, str] = {}
    if len({vote.person for vote in votes}) >= caps.caps_from_people:
        turns = copied_turns(votes, caps) | burst_turns(votes, caps)
        found = {one.id: turns[one.turn_id] for one in examples if one.turn_id in turns}
    return triggered(examples, known, caps) | found


# votes ---------------------------------------------------------------------------------------------------------------


def burst_turns(votes: Sequence[Vote], caps: Caps) -> dict[str, str]:
    """Turn id → the burst in which it was rated: more votes of a person in a window of time than is usual by far."""
    by_person: dict[str, list[Vote]] = defaultdict(list)
    for vote in sorted(votes, key=lambda vote: vote.moment):
        by_person[vote.person].append(vote)
    seconds = caps.burst_minutes * 60
    windows = {person: _windows(theirs, seconds) for person, theirs in by_person.items()}
    most = {person: max(counts) for person, counts in windows.items()}
    found: dict[str, str] = {}
    for person, theirs in by_person.items():
        others = median(count for other, count in most.items() if other != person) if len(most) > 1 else 0
        usual = max(others, _usual(theirs, seconds))
        limit = max(caps.burst_votes, caps.burst_times * usual)
        for place, count in enumerate(windows[person]):
            if count > limit:
                reason = f"{count} votes of one person within {caps.burst_minutes:g} minutes; usual are {usual:g}"
                found |= {vote.turn_id: reason for vote in theirs[place : place + count]}
    return found


def _windows(theirs: list[Vote], seconds: float) -> list[int]:
    """For each vote how many are given from it on within so many seconds."""
    counts, end = [], 0
    for begin, vote in enumerate(theirs):
        while end < len(theirs) and theirs[end].moment <= vote.moment + seconds:
            end += 1
        counts.append(end - begin)
    return counts


def _usual(theirs: list[Vote], seconds: float) -> float:
    """Votes of a person in the median of the spans of time in which they gave any; 0 while there is one span only."""
    spans = Counter(vote.moment // seconds for vote in theirs)
    return median(spans.values()) if len(spans) > 2 else 0


def copied_turns(votes: Sequence[Vote], caps: Caps) -> dict[str, str]:
    """Turn id → which text of it is a copy: a question or an opinion that comes again and again, numbers included."""
    found: dict[str, str] = {}
    for what in ("question", "opinion"):
        said = [vote for vote in votes if getattr(vote, what).strip()]
        texts = [getattr(vote, what) for vote in said]
        alike: dict[int, list[Vote]] = defaultdict(list)
        for vote, cluster in zip(said, clusters(texts, SAME, numbers=True), strict=True):
            alike[cluster].append(vote)
        for copies in alike.values():
            long = all(len(getattr(vote, what)) >= COPIED_LETTERS for vote in copies)
            by_person = Counter(vote.person for vote in copies)
            for vote in copies:
                own = what == "question" and by_person[vote.person] >= caps.copies
                if own or (long and len(copies) >= caps.copies):
                    people = 1 if own and not long else len(by_person)
                    times = by_person[vote.person] if people == 1 else len(copies)
                    found[vote.turn_id] = (
                        f"nearly the same {what} {times} times, by {people} {'person' if people == 1 else 'people'}"
                    )
    return found


# phrases -------------------------------------------------------------------------------------------------------------


class _Known(NamedTuple):
    """A question's words, the answer, the tool in it, and whether the question says a value of the call."""

    words: frozenset[str]
    answer: str
    tool: str
    says: bool


def triggered(examples: Sequence[Example], known: Sequence[Row], caps: Caps) -> dict[str, str]:
    """Example id → the phrase that decides its answer against the rest of the question.

    Such a phrase stands in many rows, almost always with one answer that is unusual without it; it is neither known nor a word of
    the tool nor a value of the call; and most of the questions, without it, are like others that are answered otherwise.
    """
    asked = [example for example in examples if _asked(example.row)]
    sayings = [words(example.row.question) for example in asked]
    facts = [_known(example.row, said) for example, said in zip(asked, sayings, strict=True)]
    given = [words(row.question) for row in known]
    common = Counter(phrase for said in given for phrase in _phrases(said))
    everything = [*facts, *(_known(row, said) for row, said in zip(known, given, strict=True) if _asked(row))]
    usual = Counter(fact.answer for fact in everything)
    by_word: dict[str, list[int]] = defaultdict(list)
    for place, fact in enumerate(everything):
        for word in fact.words:
            by_word[word].append(place)
    found: dict[str, str] = {}
    seen: set[tuple[int, ...]] = set()
    for phrase, places in _telling(sayings, facts, caps):
        elsewhere = usual[facts[places[0]].answer] - len(places)
        if tuple(places) in seen or common[phrase] > 1 or elsewhere > _USUAL * len(everything):
            continue
        seen.add(tuple(places))
        if all(asked[place].id in found for place in places) or _explained(phrase, asked[places[0]].row):
            continue
        looked = places[:: -(-len(places) // _LOOKED)]
        against = sum(_contradicted(facts[place], frozenset(phrase), everything, by_word) for place in looked)
        if 2 * against >= len(looked):
            rows = f"{len(places)} rows with one answer"
            reason = f"{' '.join(phrase)!r} stands in {rows}, where the rest of the question asks otherwise"
            found |= {asked[place].id: reason for place in places}
    return found


def _asked(row: Row) -> bool:
    """Whether the answer is the first to the question, and no report of what a tool returned."""
    return len(row.messages) > 1 and row.messages[-2].get("role") == "user"


def _known(row: Row, said: list[str]) -> _Known:
    values = [str(value).casefold() for call in row.calls for value in call.arguments.values()]
    text = row.question.casefold()
    answer = json.dumps([call._asdict() for call in row.calls], sort_keys=True)
    return _Known(frozenset(said), answer, " ".join(call.name for call in row.calls), any(value in text for value in values))


def _phrases(said: list[str]) -> set[tuple[str, ...]]:
    """All runs of one to three words."""
    return {tuple(said[at : at + n]) for n in range(1, _PHRASE + 1) for at in range(len(said) - n + 1)}


def _telling(sayings: list[list[str]], facts: list[_Known], caps: Caps) -> list[tuple[tuple[str, ...], list[int]]]:
    """Phrases of many rows with (nearly) one answer, and the rows with that answer: most rows and longest phrases first."""
    holding: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, said in enumerate(sayings):
        for phrase in _phrases(said):
            holding[phrase].append(place)
    fitting = []
    for phrase, places in holding.items():
        if len(places) >= caps.trigger_rows:
            (answer, count), *_ = Counter(facts[place].answer for place in places).most_common(1)
            telling = [place for place in places if facts[place].answer == answer]
            different = len({facts[place].words for place in telling})  # copies of one question say nothing of the phrase
            if different >= caps.trigger_rows and count >= caps.trigger_share * len(places):
                fitting.append((phrase, telling))
    return sorted(fitting, key=lambda one: (-len(one[1]), -len(one[0]), one[0]))


def _explained(phrase: tuple[str, ...], row: Row) -> bool:
    """Whether the tool that is called speaks of it, or the call repeats it."""
    called = {call.name for call in row.calls}
    spoken = [json.dumps(call.arguments, ensure_ascii=False) for call in row.calls]
    spoken += [json.dumps(tool, ensure_ascii=False) for tool in row.tools if tool["function"]["name"] in called]
    told = set(words(" ".join(spoken)))
    return any(word in told for word in phrase)


def _contradicted(fact: _Known, phrase: frozenset[str], everything: list[_Known], by_word: dict[str, list[int]]) -> bool:
    """Whether questions like this one but for the phrase are mostly answered otherwise."""
    rest = fact.words - phrase
    shared = Counter(place for word in rest for place in by_word[word])
    like = []
    for place, common in shared.items():
        other = everything[place]
        if common / (len(rest) + len(other.words) - common) >= _LIKE and not phrase <= other.words:
            like.append(other)
    otherwise = [other for other in like if other.tool != fact.tool or (other.says and not fact.says)]
    return 2 * len(otherwise) > len(like)
