"""The base model that a platform serves and trains: its id and the Hugging Face folder it lies in.

Knows what such a folder must hold to be tried at all. Does not load it; what only the weights can tell, the engine says.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

SHIPPED_ID = "local/tool-llama-5m"
SHIPPED_PATH = Path(__file__).parent / "base"

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Templates are Jinja with extensions of transformers' own: this asks only whether one looks at `tools` inside a tag.
_TAKES_TOOLS = re.compile(r"\{[{%][^{}]*\btools\b")


class BaseModel(NamedTuple):
    """`id` as clients name it, `namespace/name`; `path` is the folder."""

    id: str
    path: Path


def parse_base_model(text: str) -> BaseModel:
    """Read `namespace/name=/path/to/folder` and check the folder. Raises ValueError with what is wrong and what to do."""
    identity, equals, path = text.partition("=")
    if not equals or not _ID.fullmatch(identity):
        raise ValueError(f"{text!r} is not ID=PATH; write for example meta/llama-3.2-1b-instruct=/models/llama-3.2-1b")
    folder = Path(path).expanduser().absolute()
    _check_folder(folder)
    return BaseModel(identity, folder)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ValueError(f"{str(folder)!r} has no config.json; give the folder of a Hugging Face causal language model")
    if not any(folder.glob("*.safetensors")):
        raise ValueError(f"{str(folder)!r} has no *.safetensors; other weight files can carry code and are not loaded")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise ValueError(f"{str(folder)!r} has no tokenizer.json; save the model's tokenizer into the folder")
    if not any(_TAKES_TOOLS.search(template) for template in _templates(folder)):
        raise ValueError(
            f"the chat template in {str(folder)!r} takes no tools; choose an instruction-tuned model that calls tools"
        )


def _templates(folder: Path) -> list[str]:
    found = [path.read_text(encoding="utf-8") for path in folder.rglob("*.jinja")]
    config = folder / "tokenizer_config.json"
    named = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    if isinstance(named, str):
        return [*found, named]
    # Older folders hold several templates by name.
    return found + [str(entry.get("template")) for entry in named or []]
