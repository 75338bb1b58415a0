"""What a developer decides once for every run: one commented file, `policy.toml` in the state folder.

Written with its comments at the first start and never changed by us again. Every section is a frozen dataclass with defaults, so
that a file of an earlier version works in the next. Knows the sections' names and types; what they mean, their modules know.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from flywheel.canary import Policy as CanaryPolicy
from flywheel.caps import Caps
from flywheel.erase import Policy as ErasurePolicy
from flywheel.errors import InputError
from flywheel.gate import Policy as GatePolicy
from flywheel.promote import Policy as PromotionPolicy
from flywheel.retain import Policy as RetentionPolicy
from flywheel.review.policy import Policy as ReviewPolicy
from flywheel.schedule import Policy as SchedulePolicy
from flywheel.webhook import Policy as NotifyPolicy

FILE = "policy.toml"


@dataclass(frozen=True)
class Policy:
    """The whole file; every section says in its own module what it means."""

    gate: GatePolicy = field(default_factory=GatePolicy)
    promotion: PromotionPolicy = field(default_factory=PromotionPolicy)
    canary: CanaryPolicy = field(default_factory=CanaryPolicy)
    review: ReviewPolicy = field(default_factory=ReviewPolicy)
    caps: Caps = field(default_factory=Caps)
    schedule: SchedulePolicy = field(default_factory=SchedulePolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    erasure: ErasurePolicy = field(default_factory=ErasurePolicy)
    notify: NotifyPolicy = field(default_factory=NotifyPolicy)


def read_policy(home: Path) -> Policy:
    """The policy of a state folder, which gets the commented defaults if it has none. Raises InputError naming the fault."""
    path = home / FILE
    if not path.exists():
        path.write_text((files("flywheel") / FILE).read_text(encoding="utf-8"), encoding="utf-8")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from error
    sections = {part.name: part.default_factory for part in fields(Policy)}
    unknown = sorted(raw.keys() - sections.keys())
    if unknown:
        raise InputError(f"{path}: unknown section {unknown[0]!r}; known are {', '.join(sections)}")
    return Policy(**{name: _section(path, name, sections[name], given) for name, given in raw.items()})


def _section(path: Path, name: str, kind: Any, given: Any) -> Any:
    """One section with the file's values over the defaults; a value must have its default's type."""
    defaults = vars(kind())
    for key, value in given.items() if isinstance(given, dict) else [(name, given)]:
        if key not in defaults:
            raise InputError(f"{path}: unknown setting {key!r} in [{name}]; known are {', '.join(defaults)}")
        wanted = (int, float) if isinstance(defaults[key], float) else (type(defaults[key]),)
        if not isinstance(value, wanted) or isinstance(value, bool) is not isinstance(defaults[key], bool):
            raise InputError(f"{path}: {key} in [{name}] is {value!r}; give a value such as {defaults[key]!r}")
    try:
        return kind(**given)
    except ValueError as error:
        raise InputError(f"{path}: {error} (in [{name}])") from error
