"""What the gate looks at: one model's results row by row, their summary, and two models' results side by side.

Pure: values only. Knows NVIDIA's two metrics and the suites. Knows neither tests nor what follows from a score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any, NamedTuple

HOLDOUT = "holdout"
OLD_SKILLS = "old_skills"
RED_TEAM = "red_team"
NO_TOOL = "no tool"


class RowScore(NamedTuple):
    """One model's result on one row.

    key: names the row, the same for every model. suite: "holdout", "old_skills" or "red_team". tool: the expected tools, or
    "no tool". name, name_and_args: whether all the names, and all the names with their arguments, were right. called: whether it
    called anything. resisted: on a row of the red team, whether it did nothing of what the attack wants. tokens, seconds: what
    the answer took. None: not known.
    """

    key: str
    suite: str
    tool: str
    name: bool
    name_and_args: bool
    called: bool | None = None
    resisted: bool | None = None
    tokens: int | None = None
    seconds: float | None = None


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


class Pairs(NamedTuple):
    """Two models on the same rows: rows, right answers of each, rows that the candidate won and lost."""

    rows: int
    current: int
    candidate: int
    won: int
    lost: int

    @classmethod
    def of(cls, both: Iterable[tuple[RowScore, RowScore]], right: Callable[[RowScore], bool]) -> Pairs:
        """Compare (candidate, current) on each row by what counts as right."""
        found = [(right(candidate), right(current)) for candidate, current in both]
        won, lost = found.count((True, False)), found.count((False, True))
        return cls(len(found), sum(old for _, old in found), sum(new for new, _ in found), won, lost)

    @property
    def points(self) -> float:
        """Candidate minus current in percentage points."""
        return 100 * (self.candidate - self.current) / max(self.rows, 1)


def cost_of(rows: Sequence[RowScore]) -> dict[str, float | None]:
    """What an answer takes: mean tokens and median seconds over the rows where they are known, else None."""
    tokens = [row.tokens for row in rows if row.tokens is not None]
    seconds = [row.seconds for row in rows if row.seconds is not None]
    return {"tokens": round(fmean(tokens), 1) if tokens else None, "seconds": round(median(seconds), 3) if seconds else None}


def _grouped(rows: Iterable[RowScore], name: Callable[[RowScore], str]) -> dict[str, list[RowScore]]:
    groups: dict[str, list[RowScore]] = {}
    for row in rows:
        groups.setdefault(name(row), []).append(row)
    return dict(sorted(groups.items()))
