"""Guardrail configs that lie as files in the Data Store: a folder with `config.yml`, perhaps in several YAML files.

Knows files, sizes and YAML. Code in the folder is refused, never read. What the config means is `rails_config`.
"""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]

from flywheel.local.dataset_url import parse_dataset_url
from flywheel.local.rails_config import LARGEST, RailsData
from flywheel.local.repos import RepoMissing, Repos, RevisionMissing

_CODE = (".co", ".py")


def load(repos: Repos, url: str) -> RailsData:
    """The config in the folder `hf://datasets/NAMESPACE/NAME[/FOLDER]`. Raises ValueError with what is wrong."""
    place = parse_dataset_url(url)
    try:
        files = repos.list_files("datasets", place.namespace, place.name, place.revision)
    except (RepoMissing, RevisionMissing) as error:
        raise ValueError(f"the files of the config are not there: {error}") from error
    folder = f"{place.path}/" if place.path else ""
    inside = [file for file in files if file.path.startswith(folder)]
    if code := [file.path for file in inside if file.path.endswith(_CODE)]:
        raise ValueError(f"{url!r} holds {', '.join(code[:5])}: Python and Colang of a config are not run here; take them away")
    texts = [file for file in inside if file.path.endswith((".yml", ".yaml"))]
    if not texts or sum(file.size for file in texts) > LARGEST:
        raise ValueError(f"{url!r} must hold YAML files, of {LARGEST // 2**10} KiB at most together, such as config.yml")
    whole: dict[str, Any] = {}
    for file in texts:
        _join(whole, _parsed(file.path, repos.blobs.path(file.sha256).read_text(encoding="utf-8")))
    return RailsData.model_validate(whole)


def _parsed(path: str, text: str) -> dict[str, Any]:
    try:
        # A few lines of anchors can stand for more than any memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError(f"{path!r} has YAML aliases; write out what they stand for")
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path!r} is no YAML: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path!r} is no mapping; see NeMo Guardrails' config.yml")
    return value


def _join(whole: dict[str, Any], more: dict[str, Any]) -> None:
    """Lists of one name are joined; of other values the first stays."""
    for key, value in more.items():
        if isinstance(whole.get(key), list) and isinstance(value, list):
            whole[key] = [*whole[key], *value]
        else:
            whole.setdefault(key, value)
