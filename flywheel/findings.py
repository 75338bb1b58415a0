"""What `flywheel doctor` finds: one finding a line, each with its weight and with what to do.

Knows how findings are kept and shown. Knows nothing of what is looked at.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]
_WIDTH = 130


class Finding(NamedTuple):
    """topic: what was looked at. what: what was found there. todo: what to do, empty where nothing is to be done."""

    level: Level
    topic: str
    what: str
    todo: str = ""


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether there is no problem among them; warnings are none."""
    return all(finding.level != "problem" for finding in findings)


def page(findings: Sequence[Finding]) -> str:
    """The findings for a person, with a last line that sums them up."""
    lines = []
    for finding in findings:
        beginning = f"{finding.level:<8} {finding.topic:<16} "
        indent = " " * len(beginning)
        lines.append(_wrapped(beginning + finding.what, indent))
        if finding.todo:
            lines.append(_wrapped(f"{indent}→ {finding.todo}", f"{indent}  "))
    count = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warning")}
    problems = f"{count['problem']} problem{'s' * (count['problem'] != 1)}"
    return "\n".join([*lines, f"{problems}, {count['warning']} warning{'s' * (count['warning'] != 1)}"])


def _wrapped(text: str, indent: str) -> str:
    """Lines of a readable width; paths and addresses stay whole, so that they can be copied."""
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
