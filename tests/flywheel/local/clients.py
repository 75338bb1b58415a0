"""NVIDIA's SDK, the hub's client and a bare POST on the session's platform."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import httpx
from huggingface_hub import HfApi
from nemo_microservices import NeMoMicroservices

from tests import platform_rows
from tests.conftest import Platform


def connect(platform: Platform) -> NeMoMicroservices:
    """NVIDIA's SDK on this platform, which does not try again what was refused."""
    return NeMoMicroservices(base_url=platform.nemo_url, inference_base_url=platform.nim_url, max_retries=0)


def fresh_namespace() -> str:
    """A namespace that no other test uses."""
    return f"ns-{uuid.uuid4().hex[:10]}"


def upload(platform: Platform, namespace: str, files: Mapping[str, platform_rows.Rows | bytes], name: str = "rows") -> str:
    """Put files into a new data set of this platform; returns its files_url."""
    with connect(platform) as nemo:
        return platform_rows.upload(HfApi(endpoint=f"{platform.nds_url}/v1/hf", token="unused"), nemo, namespace, files, name)


def post(platform: Platform, path: str, body: Any) -> httpx.Response:
    """A bare POST to NEMO_URL."""
    return httpx.post(platform.nemo_url + path, json=body, timeout=30, trust_env=False)
