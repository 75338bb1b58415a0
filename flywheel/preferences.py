"""Preferences: a reviewer's correction beside the model's own wrong answer, as the Customizer's DPO reads them.

Pure: a dataset and wrong answers in, a dataset of pairs out. The row is the 25.x Customizer's: {prompt, tools, chosen_response,
rejected_response}, where responses are text and a call is written as the base model writes it. Knows no loss and no job.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flywheel.curate import TRAINING_FILE, VALIDATION_FILE, Curated, digest_of, line_digest
from flywheel.errors import InputError
from flywheel.rows import Message, Row, to_nemo_train

if TYPE_CHECKING:
    from flywheel.ledger import Example

FILES = {"train": TRAINING_FILE, "validation": VALIDATION_FILE}
NO_WRONG_ANSWER = "there is no wrong answer of the model beside it, so nothing to prefer it to"


def with_preferences(made: Curated, examples: Sequence[Example], wrong: Mapping[str, Message], *, spaced: bool) -> Curated:
    """The same dataset and exam, but training on pairs; examples without a wrong answer are left out, and so is all replay.

    wrong: example id → what the model had said. spaced: whether the base writes its calls' JSON with spaces, as Llama does.
    Raises InputError if no pair is left to train on.
    """
    pairs: dict[str, dict[str, dict[str, Any]]] = {"train": {}, "validation": {}}
    for example in examples:
        split = made.splits.get(example.id, "excluded")
        found = preference(example.row, wrong[example.id], spaced=spaced) if example.id in wrong else None
        if split in pairs and found is not None:
            pairs[split][example.id] = found
    if not pairs["train"]:
        raise InputError("no correction that trains has a wrong answer of the model beside it: there is nothing to prefer; "
                         "train by the recipe sft")  # fmt: skip
    files = {path: content for path, content in made.files.items() if path not in FILES.values()}
    files |= {FILES[split]: _json_lines(found.values()) for split, found in pairs.items() if found}
    left_out = [id for id, split in made.splits.items() if split in pairs and id not in pairs[split]]
    return replace(made, files=files, manifest=_described(made, files, pairs, left_out),
                   splits=made.splits | dict.fromkeys(left_out, "excluded"))  # fmt: skip


def preference(row: Row, wrong: Message, *, spaced: bool) -> dict[str, Any] | None:
    """One pair; None where the two answers are the same, or the wrong one says nothing."""
    chosen, rejected = (_text(message, row, spaced) for message in (row.messages[-1], wrong))
    if not rejected.strip() or chosen == rejected:
        return None
    whole = to_nemo_train(row)
    prompt = {"prompt": whole["messages"][:-1]} | ({"tools": whole["tools"]} if whole.get("tools") else {})
    return prompt | {"chosen_response": chosen, "rejected_response": rejected}


def _text(message: Message, row: Row, spaced: bool) -> str:
    """An answer as the model writes it: words, or {"name": ..., "parameters": ...} a line, arguments in the schema's order."""
    calls = message.get("tool_calls") or []
    if not calls:
        return str(message.get("content") or "")
    order = {tool["function"]["name"]: list(tool["function"].get("parameters", {}).get("properties", {})) for tool in row.tools}
    separators = (", ", ": ") if spaced else (",", ":")
    return "\n".join(_call_text(call["function"], order, separators) for call in calls)


def _call_text(function: Mapping[str, Any], order: Mapping[str, list[str]], separators: tuple[str, str]) -> str:
    rank = {key: place for place, key in enumerate(order.get(function["name"], ()))}
    arguments = function["arguments"]
    ordered = {key: arguments[key] for key in sorted(arguments, key=lambda key: rank.get(key, len(rank)))}
    return json.dumps({"name": function["name"], "parameters": ordered}, ensure_ascii=False, separators=separators)


def _described(
    made: Curated, files: Mapping[str, bytes], pairs: Mapping[str, Mapping[str, Any]], left_out: Sequence[str]
) -> dict[str, Any]:
    """The manifest of what is left. `variants` names every pair's line, by which an erasure finds it."""
    counts = {split: len(found) for split, found in pairs.items()}
    splits = made.manifest["splits"] | counts
    return made.manifest | {
        "digest": digest_of(dict(files)),
        "files": {path: {"rows": content.count(b"\n"), "sha256": _sha256(content)} for path, content in files.items()},
        "preferences": counts,
        "splits": splits,
        "counts": made.manifest["counts"] | {"split": splits},
        "variants": {id: [line_digest(row)] for found in pairs.values() for id, row in found.items()},
        "augmentation": {"rows": 0, "of": 0, "how": []},
        "replay_share": 0.0,
        "exclusions": [*made.manifest["exclusions"], *({"id": id, "reason": NO_WRONG_ANSWER} for id in left_out)],
    }  # fmt: skip


def _json_lines(rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode("ascii")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
