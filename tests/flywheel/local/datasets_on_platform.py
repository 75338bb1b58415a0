"""Data sets for the tests of jobs: rows made here, uploaded as the real clients do it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from huggingface_hub import HfApi
from nemo_microservices import NeMoMicroservices

from tests.conftest import Platform

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    for name, description in (("get_weather", "Get the weather"), ("local_time", "Tell the time"))
]
CITIES = ("Paris", "Rome", "Lima", "Oslo", "Cairo", "Tokyo", "Berlin", "Madrid", "Delhi", "Boston", "Dallas", "Miami")

Rows = Sequence[Mapping[str, Any]]


def connect(platform: Platform) -> NeMoMicroservices:
    """NVIDIA's SDK on this platform, which does not try again what was refused."""
    return NeMoMicroservices(base_url=platform.nemo_url, inference_base_url=platform.nim_url, max_retries=0)


def training_rows(count: int) -> list[dict[str, Any]]:
    """Questions for the weather, each answered by a call."""
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


def fresh_namespace() -> str:
    """A namespace that no other test uses."""
    return f"ns-{uuid.uuid4().hex[:10]}"


def upload(platform: Platform, namespace: str, files: Mapping[str, Rows | bytes], name: str = "rows") -> str:
    """Put files into a new data set repo and enter the data set in the Entity Store; returns its files_url."""
    hub = HfApi(endpoint=f"{platform.nds_url}/v1/hf", token="unused")
    hub.create_repo(f"{namespace}/{name}", repo_type="dataset")
    for path, rows in files.items():
        content = rows if isinstance(rows, bytes) else "".join(json.dumps(row) + "\n" for row in rows).encode()
        hub.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=f"{namespace}/{name}", repo_type="dataset")
    url = f"hf://datasets/{namespace}/{name}"
    with connect(platform) as client:
        client.datasets.create(name=name, namespace=namespace, files_url=url)
    return url


def post(platform: Platform, path: str, body: Any) -> httpx.Response:
    """A bare POST to NEMO_URL."""
    return httpx.post(platform.nemo_url + path, json=body, timeout=30, trust_env=False)
