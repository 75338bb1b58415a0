"""Rows for jobs on a platform, made here, and their way into the Data Store and the Entity Store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from huggingface_hub import HfApi
from nemo_microservices import NeMoMicroservices

Rows = Sequence[Mapping[str, Any]]

CITIES = ("Paris", "Rome", "Lima", "Oslo", "Cairo", "Tokyo", "Berlin", "Madrid", "Delhi", "Boston", "Dallas", "Miami")
# As sloppy as the tutorials' own data: nothing is required, and a default that is not of its type.
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "default": 5}}},
        },
    }
    for name, description in (("get_weather", "Get the weather"), ("local_time", "Tell the time"))
]
TEMPLATE = {"messages": "{{ item.messages | tojson}}", "tools": "{{ item.tools | tojson }}", "tool_choice": "auto"}
TOOL_CALLING = {"type": "tool-calling", "params": {"tool_calls_ground_truth": "{{ item.tool_calls | tojson }}"}}


def training_rows(count: int) -> list[dict[str, Any]]:
    """Questions for the weather, each answered by a call, without ids, as the tutorials write them."""
    rows = []
    for i in range(count):
        city = CITIES[i % len(CITIES)]
        call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": city}}}
        question = {"role": "user", "content": f"is it {'hot' if i % 2 else 'cold'} in {city}"}
        rows.append({"messages": [question, {"role": "assistant", "content": "", "tool_calls": [call]}], "tools": TOOLS})
    return rows


def evaluation_rows(count: int) -> list[dict[str, Any]]:
    """The same questions without their answers, and the call that is right."""
    return [
        {"messages": row["messages"][:1], "tools": row["tools"], "tool_calls": row["messages"][-1]["tool_calls"]}
        for row in training_rows(count)
    ]


def preferences(count: int) -> list[dict[str, Any]]:
    """Questions with an answer that is liked and one that is not."""
    return [
        {"prompt": f"may I go to {CITIES[i % len(CITIES)]}?", "chosen_response": "Of course.", "rejected_response": "No way."}
        for i in range(count)
    ]


def upload(hub: HfApi, nemo: NeMoMicroservices, namespace: str, files: Mapping[str, Rows | bytes], name: str = "rows") -> str:
    """Put files into a new data set repo and enter the data set in the Entity Store; returns its files_url."""
    hub.create_repo(f"{namespace}/{name}", repo_type="dataset")
    for path, rows in files.items():
        content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        hub.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=f"{namespace}/{name}", repo_type="dataset")
    url = f"hf://datasets/{namespace}/{name}"
    nemo.datasets.create(name=name, namespace=namespace, files_url=url)
    return url


def follow(look: Callable[[], Any], seconds: float = 120, pause: float = 0.1) -> list[Any]:
    """Every different answer of `look`, something with a status, until that is one of an end."""
    seen: list[Any] = []
    deadline = time.monotonic() + seconds
    while not seen or seen[-1].status in ("created", "pending", "running"):
        assert time.monotonic() < deadline, seen[-1]
        found = look()
        if not seen or found != seen[-1]:
            seen.append(found)
        time.sleep(pause)
    return seen
