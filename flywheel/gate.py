"""Whether a candidate may serve: its scores against the current model's, on the same rows, under a policy.

Pure: scores in, verdict and reasons out. The question is answered by an exact, paired, one-sided McNemar test on the rows
where the two models differ. Knows nothing of how rows were scored, nor of what is done with the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

VerdictName = Literal["pass", "fail", "inconclusive"]

HOLDOUT = "holdout"
OLD_SKILLS = "old_skills"


class RowScore(NamedTuple):
    """One model's result on one row.

    key: names the row, the same for every model. suite: "holdout" or "old_skills". tool: the expected tools, or "no tool".
    name, name_and_args: whether all the names, and all the names with their arguments, were right.
    """

    key: str
    suite: str
    tool: str
    name: bool
    name_and_args: bool


@dataclass(frozen=True)
class Accuracy:
    """NVIDIA's two metrics over `count` rows, each from 0 to 1; 0 where there are no rows."""

    count: int
    function_name_accuracy: float
    function_name_and_args_accuracy: float

    @classmethod
    def of(cls, rows: Sequence[RowScore]) -> Accuracy:
        """Both metrics over these rows."""
        count = max(len(rows), 1)
        return cls(len(rows), sum(row.name for row in rows) / count, sum(row.name_and_args for row in rows) / count)


@dataclass(frozen=True)
class Scores:
    """A model's scores in short. overall and tools: the holdout rows; suites: each suite by its name."""

    overall: Accuracy
    tools: dict[str, Accuracy] = field(default_factory=dict)
    suites: dict[str, Accuracy] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Sequence[RowScore]) -> Scores:
        """Sum up row by row results."""
        holdout = [row for row in rows if row.suite == HOLDOUT]
        by_tool, by_suite = _grouped(holdout, lambda row: row.tool), _grouped(rows, lambda row: row.suite)
        return cls(
            Accuracy.of(holdout),
            {tool: Accuracy.of(part) for tool, part in by_tool.items()},
            {suite: Accuracy.of(part) for suite, part in by_suite.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON: {count, function_name_accuracy, function_name_and_args_accuracy, tools: {...}, suites: {...}}."""
        tools, suites = ({name: asdict(part) for name, part in parts.items()} for parts in (self.tools, self.suites))
        return asdict(self.overall) | {"tools": tools, "suites": suites}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Scores:
        """The Scores that `to_dict` wrote."""
        tools, suites = ({name: Accuracy(**part) for name, part in raw[parts].items()} for parts in ("tools", "suites"))
        return cls(Accuracy(**{name: value for name, value in raw.items() if name not in ("tools", "suites")}), tools, suites)


@dataclass(frozen=True)
class Policy:
    """What the gate asks for.

    alpha: the chance, at most, that a candidate which is no better passes. old_skills_margin: percentage points that the old
    skills may lose. tool_rows: holdout rows from which on a tool is judged by itself.
    """

    alpha: float = 0.05
    old_skills_margin: float = 10.0  # of 80 rows, chance alone moves five or six points; a closer look needs a larger exam
    tool_rows: int = 20


@dataclass(frozen=True)
class Verdict:
    """pass, fail or inconclusive; the reasons in words for a developer; the numbers behind them, ready for JSON."""

    verdict: VerdictName
    reasons: list[str]
    numbers: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """JSON: {verdict, reasons, numbers}."""
        return asdict(self)


class Pairs(NamedTuple):
    """Two models on the same rows: rows, right answers of each, rows that the candidate won and lost."""

    rows: int
    current: int
    candidate: int
    won: int
    lost: int

    @property
    def points(self) -> float:
        """Candidate minus current in percentage points."""
        return 100 * (self.candidate - self.current) / max(self.rows, 1)


def mcnemar(won: int, lost: int) -> float:
    """Exact one-sided p-value: how likely are at least `won` of the won + lost rows if the two models are equally good."""
    total = won + lost
    ways = term = math.comb(total, won)
    for wins in range(won, total):
        term = term * (total - wins) // (wins + 1)
        ways += term
    return ways / (1 << total)


def wins_needed(lost: int, alpha: float) -> int:
    """The fewest rows that a candidate must win to be significantly better, if it loses `lost` rows."""
    won = lost + 1
    while mcnemar(won, lost) >= alpha:
        won += 1
    return won


def decide(candidate: Sequence[RowScore], current: Sequence[RowScore], policy: Policy = Policy()) -> Verdict:
    """Judge a candidate by its whole calls (name and arguments), row by row, against the current model.

    pass: significantly better on the holdout, old skills kept, no tool significantly worse. fail: significantly worse, or old
    skills lost, or a tool significantly worse. inconclusive: everything else, also where the two were scored on other rows.
    """
    mine, theirs = ({(row.suite, row.key): row for row in rows} for rows in (candidate, current))
    strangers = len(mine.keys() ^ theirs.keys())
    if strangers or len(mine) < len(candidate) or len(theirs) < len(current):
        reason = f"the two models were not scored once each on the same rows ({strangers} differ): evaluate both again"
        return Verdict("inconclusive", [reason], {"rows_that_differ": strangers})
    both = [(row, theirs[place]) for place, row in mine.items()]
    holdout = _pairs(pair for pair in both if pair[0].suite == HOLDOUT)
    old = _pairs(pair for pair in both if pair[0].suite == OLD_SKILLS)
    tools = {
        tool: _pairs(pair for pair in both if pair[0].suite == HOLDOUT and pair[0].tool == tool)
        for tool in sorted({row.tool for row in candidate if row.suite == HOLDOUT})
    }
    numbers = {
        "holdout": _numbers(holdout) | {"smallest_visible_points": _smallest_points(holdout.rows, policy)},
        "old_skills": _numbers(old),
        "tools": {tool: _numbers(pairs) for tool, pairs in tools.items()},
        "policy": asdict(policy),
    }
    faults = _faults(holdout, old, tools, policy)
    if faults:
        return Verdict("fail", faults, numbers)
    if mcnemar(holdout.won, holdout.lost) < policy.alpha:
        return Verdict("pass", [_compared("better", holdout), _kept(old)], numbers)
    return Verdict("inconclusive", [*_undecided(holdout, policy), _kept(old)], numbers)


def _grouped(rows: Iterable[RowScore], name: Callable[[RowScore], str]) -> dict[str, list[RowScore]]:
    groups: dict[str, list[RowScore]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return dict(sorted(groups.items()))


def _pairs(both: Iterable[tuple[RowScore, RowScore]]) -> Pairs:
    right = [(candidate.name_and_args, current.name_and_args) for candidate, current in both]
    won, lost = right.count((True, False)), right.count((False, True))
    return Pairs(len(right), sum(old for _, old in right), sum(new for new, _ in right), won, lost)


def _numbers(pairs: Pairs) -> dict[str, Any]:
    return pairs._asdict() | {
        "points": pairs.points,
        "p_better": mcnemar(pairs.won, pairs.lost),
        "p_worse": mcnemar(pairs.lost, pairs.won),
    }


def _faults(holdout: Pairs, old: Pairs, tools: Mapping[str, Pairs], policy: Policy) -> list[str]:
    """Why the candidate must not serve."""
    faults = []
    if mcnemar(holdout.lost, holdout.won) < policy.alpha:
        faults.append(_compared("worse", holdout))
    if 100 * (old.current - old.candidate) > policy.old_skills_margin * old.rows:
        faults.append(
            f"old skills were lost: {_share(old.candidate, old.rows)} right, before {_share(old.current, old.rows)}; "
            f"at most {policy.old_skills_margin:g} points may go"
        )
    for tool, pairs in tools.items():
        if pairs.rows >= policy.tool_rows and mcnemar(pairs.lost, pairs.won) < policy.alpha:
            faults.append(f"{tool!r} got significantly worse: {_versus(pairs)}")
    return faults


def _undecided(holdout: Pairs, policy: Policy) -> list[str]:
    """Why the rows at hand do not decide, and which effect they could have shown."""
    if holdout.rows == 0:
        return ["there are no holdout rows to compare the two on: import examples or approve more"]
    needed = wins_needed(0, policy.alpha)
    reasons = [f"no significant difference on the holdout: {_versus(holdout)}"]
    wrong = holdout.rows - holdout.current
    if holdout.rows < needed:
        reasons.append(f"{holdout.rows} rows can show no difference of any size, {needed} are the least: import more examples")
    elif wrong < needed:
        reasons.append(
            f"the current model is wrong on only {wrong} of {holdout.rows} rows, and a candidate must win at least {needed}: "
            "add examples of what it still gets wrong"
        )
    else:
        smallest = _smallest_points(holdout.rows, policy)
        reasons.append(
            f"the smallest gain that {holdout.rows} rows can show is {smallest:.1f} points ({needed} rows won and none lost); "
            f"with {holdout.lost} lost it takes {wins_needed(holdout.lost, policy.alpha)} won"
        )
    return reasons


def _smallest_points(rows: int, policy: Policy) -> float | None:
    """The smallest difference, in percentage points, that could be significant on so many rows; None if none could."""
    needed = wins_needed(0, policy.alpha)
    return 100 * needed / rows if rows >= needed else None


def _compared(word: str, holdout: Pairs) -> str:
    p_value = mcnemar(max(holdout.won, holdout.lost), min(holdout.won, holdout.lost))
    return f"the candidate is significantly {word} on the holdout: {_versus(holdout)} (p = {p_value:.2g})"


def _versus(pairs: Pairs) -> str:
    return (
        f"{_share(pairs.candidate, pairs.rows)} whole calls right, the current model {_share(pairs.current, pairs.rows)}; "
        f"{pairs.won} rows won, {pairs.lost} lost"
    )


def _kept(old: Pairs) -> str:
    if old.rows == 0:
        return "old skills were not examined: no rows for it"
    return f"old skills are kept: {_share(old.candidate, old.rows)} right, before {_share(old.current, old.rows)}"


def _share(right: int, rows: int) -> str:
    return f"{right} of {rows} ({100 * right / rows:.1f} %)"
