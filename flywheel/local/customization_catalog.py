"""What a customization job may name: configs with their targets, data sets with training files; seeded with the base model.

Answers 404 or 422, in words, where a name leads nowhere. Knows no job and no process.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from safetensors import safe_open

from flywheel.local.answers import checked
from flywheel.local.customization import Config, Reference, Target
from flywheel.local.dataset_url import DatasetUrl, parse_dataset_url, pinned, split_files
from flywheel.local.hyperparameters import Hyperparameters
from flywheel.local.repos import RepoMissing, Repos, RevisionMissing
from flywheel.local.state import Entity, Kind, State

TRAINABLE = (("sft", "lora"), ("dpo", "lora"))
"""Training and finetuning types that can be done here."""
CONFIG_VERSIONS = ("v1.0.0+80GB", "v1.0.0+cpu")
"""The base's configs: the one that NVIDIA's notebooks ask for, and ours, which as the newest stands first in a list."""
TARGET_VERSION = "2.0"
LONGEST_ROW = 4096


class Catalog:
    """Configs, targets and data sets of one platform, whose only trainable model is `base_id`."""

    def __init__(self, state: State, repos: Repos, base_id: str, base_path: Path) -> None:
        """Write down the base's target and configs where they lack."""
        self._state, self._repos, self._base_id = state, repos, base_id
        shape = json.loads((base_path / "config.json").read_text(encoding="utf-8"))
        self.longest_row = min(int(shape.get("max_position_embeddings", LONGEST_ROW)), LONGEST_ROW)
        namespace, _, name = base_id.partition("/")
        self._seed_target(namespace, f"{name}@{TARGET_VERSION}", base_path)
        for version in CONFIG_VERSIONS:
            self._seed_config(namespace, f"{name}@{version}", f"{base_id}@{TARGET_VERSION}")

    def config(self, named: str | Config | Reference) -> Entity:
        """The customization config, named or sent along; its target is known and is the base model."""
        if isinstance(named, Config):
            sent = named.model_dump(mode="json")
            self._check_target(sent)
            return sent
        reference = Reference.read(named)
        config = self._found("customization_config", reference)
        if config is None:
            known = ", ".join(f"{one['namespace']}/{one['name']}" for one in self._state.list("customization_config")[0])
            raise HTTPException(404, f"customization config {str(reference)!r} does not exist; there are {known}")
        self._check_target(config)
        return config

    def option(self, config: Entity, wanted: Hyperparameters) -> dict[str, Any]:
        """The config's training option that the hyperparameters ask for, and which can be done here."""
        pair = (wanted.training_type, wanted.finetuning_type)
        options: list[dict[str, Any]] = config["training_options"]
        found = next((one for one in options if (one["training_type"], one["finetuning_type"]) == pair), None)
        if found is None:
            offered = ", ".join(f"{one['training_type']} with {one['finetuning_type']}" for one in options)
            raise HTTPException(422, f"the config does not train {pair[0]} with {pair[1]}; it offers {offered}")
        if pair not in TRAINABLE:
            able = " or ".join(f"{training} with {finetuning}" for training, finetuning in TRAINABLE)
            raise HTTPException(422, f"the local Customizer cannot train {pair[0]} with {pair[1]}, only {able}")
        return found

    def dataset(self, named: str | Reference) -> tuple[str, DatasetUrl]:
        """How the data set is shown, and its files as they are now; there are some to train on."""
        reference = Reference.read(named)
        entity = self._found("dataset", reference) if reference.name else {"files_url": reference.files_url}
        if entity is None or not entity["files_url"]:
            raise HTTPException(404, f"dataset {str(reference)!r} does not exist; create it in the Entity Store first")
        try:
            url = pinned(self._repos, parse_dataset_url(entity["files_url"]))
            files = split_files(self._repos, url, "training")
        except (RepoMissing, RevisionMissing) as error:
            raise HTTPException(404, f"Dataset {reference} is not present on datastore: {error}") from None
        except ValueError as error:
            raise HTTPException(422, f"dataset {str(reference)!r}: {error}") from None
        if not files:
            raise HTTPException(422, f"dataset {str(reference)!r} has no training files; upload JSONL files into training/")
        return str(reference), url

    def filterable(self, config: Entity) -> dict[str, Any]:
        """What filters may name of a config besides its own keys: how it trains, and its target."""
        options = config["training_options"]
        try:
            reference = _target_of(config)
        except RequestValidationError:  # of no use to a job, but there to be listed
            reference = Reference()
        target = self._found("customization_target", reference) or {}
        return {
            "training_type": [one["training_type"] for one in options],
            "finetuning_type": [one["finetuning_type"] for one in options],
            "target_name": [str(reference), reference.name],
            "target_base_model": target.get("base_model"),
            "target_enabled": target.get("enabled"),
        }

    def _check_target(self, config: Entity) -> None:
        reference = _target_of(config)
        target = self._found("customization_target", reference)
        if target is None:
            raise HTTPException(404, f"customization target {str(reference)!r} of the config does not exist; create it first")
        if not target["enabled"]:
            raise HTTPException(422, f'customization target {str(reference)!r} is not enabled; PATCH it with {{"enabled": true}}')
        base = target["base_model"] or _named_after(target).partition("@")[0]
        if base != self._base_id:
            raise HTTPException(422, f"the config trains {base!r}, but only {self._base_id!r} can be trained here")

    def _found(self, kind: Kind, reference: Reference) -> Entity | None:
        return self._state.get(kind, reference.namespace, reference.name or "")

    def _seed_target(self, namespace: str, name: str, base_path: Path) -> None:
        if self._state.get("customization_target", namespace, name) is None:
            target = Target(
                namespace=namespace,
                name=name,
                base_model=self._base_id,
                model_path=str(base_path),
                num_parameters=_count_parameters(base_path),
                precision="bf16-mixed",
            )
            self._state.create("customization_target", namespace, name, target.model_dump(mode="json"))

    def _seed_config(self, namespace: str, name: str, target: str) -> None:
        options = [
            {"training_type": training, "finetuning_type": finetuning, "num_gpus": 0, "micro_batch_size": 1}
            for training, finetuning in TRAINABLE
        ]
        body = {"namespace": namespace, "name": name, "target": target, "training_options": options}
        config = Config.model_validate({**body, "max_seq_length": self.longest_row}).model_dump(mode="json")
        there = self._state.get("customization_config", namespace, name)
        if there is None:
            self._state.create("customization_config", namespace, name, config)
        elif len(there["training_options"]) == 1:  # written by a version that knew one way to train
            self._state.update("customization_config", namespace, name, {"training_options": config["training_options"]})


def _target_of(config: Entity) -> Reference:
    named = config["target"] or _named_after(config)
    return Reference.read(named if isinstance(named, str) else checked(Reference, named))


def _named_after(entity: Entity) -> str:
    """The target that a config without one means: its own name, at the version that targets here have."""
    model = f"{entity['namespace']}/{str(entity['name']).partition('@')[0]}"
    return f"{model}@{TARGET_VERSION}"


def _count_parameters(folder: Path) -> int:
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            total += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())
    return total
