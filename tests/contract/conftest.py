"""The services that the contract is held against, and the official clients on them.

By default that is one local platform on a port of its own choosing. Against real NeMo microservices:

    NEMO_URL=http://nemo.test NDS_URL=http://data-store.test NIM_URL=http://nim.test \\
    BASE_MODEL=meta/llama-3.2-1b-instruct BASE_MODEL_VERSION=v1.0.0+80GB \\
    .venv/bin/python -m pytest tests/contract

All three URLs must be set, and their hosts may then be reached; everything is made in namespaces that begin with `contract-`.
Tests that look into the local platform's own promises (its state folder, its exact words) are skipped there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import huggingface_hub
import openai
import pytest
from contract_wire import Services, Wire, fresh_namespace
from endpoints import unmet
from huggingface_hub.utils._http import default_client_factory
from nemo_microservices import AsyncNeMoMicroservices, NeMoMicroservices

from tests import conftest as shared

URLS = ("NEMO_URL", "NDS_URL", "NIM_URL")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, for which pytest is strict."""
    config.addinivalue_line("markers", "covers(*endpoints): the endpoints that a test calls, as endpoints.py writes them")


@pytest.fixture(scope="session", autouse=True)
def hub_online() -> Iterator[None]:
    """Let the hub's client speak: the platform's own modules, where a test imports them first, tell it to stay offline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """Real services where all three URLs are set, else the session's local platform."""
    version = os.environ.get("BASE_MODEL_VERSION", "v1.0.0+80GB")
    if all(os.environ.get(name) for name in URLS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "connect", shared._connect)
            urls = [os.environ[name].rstrip("/") for name in URLS]
            base = os.environ.get("BASE_MODEL", "meta/llama-3.2-1b-instruct")
            yield Services(urls[0], urls[1], urls[2], base, version, None)
    else:
        platform = request.getfixturevalue("platform")
        urls = platform[:3]
        yield Services(*urls, base_model="local/tool-llama-5m", base_version=version, home=platform.home)


@pytest.fixture(scope="session")
def wire(services: Services) -> Wire:
    """What the clients sent so far."""
    return Wire(services)


@pytest.fixture(autouse=True)
def kept_promise(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that says it covers an endpoint has called it."""
    promised = [endpoint for mark in request.node.iter_markers("covers") for endpoint in mark.args]
    wire: Wire | None = request.getfixturevalue("wire") if promised else None
    before = len(wire.requests) if wire else 0
    yield
    assert wire is None or unmet(promised, wire.requests[before:]) == []


@pytest.fixture(scope="session")
def http(wire: Wire) -> Iterator[httpx.Client]:
    """For the routes that no official client has."""
    with wire.client() as client:
        yield client


@pytest.fixture(scope="session")
def nemo(services: Services, wire: Wire) -> Iterator[NeMoMicroservices]:
    """NVIDIA's SDK as the tutorials make it."""
    urls = {"base_url": services.nemo_url, "inference_base_url": services.nim_url}
    with NeMoMicroservices(**urls, http_client=wire.client()) as client:
        yield client


@pytest.fixture
def asynchronous(services: Services, wire: Wire) -> Callable[[], AsyncNeMoMicroservices]:
    """Makes the SDK's asynchronous client, inside a loop."""

    def make() -> AsyncNeMoMicroservices:
        transport = httpx.AsyncClient(event_hooks={"request": [wire.hear]}, timeout=120, trust_env=False)
        urls = {"base_url": services.nemo_url, "inference_base_url": services.nim_url}
        return AsyncNeMoMicroservices(**urls, http_client=transport)

    return make


@pytest.fixture(scope="session")
def hub(services: Services, wire: Wire) -> Iterator[huggingface_hub.HfApi]:
    """The Data Store's client."""

    def heard() -> httpx.Client:
        client = default_client_factory()
        client.event_hooks = {"request": [*client.event_hooks["request"], wire], "response": []}
        return client

    huggingface_hub.set_client_factory(heard)
    yield huggingface_hub.HfApi(endpoint=f"{services.nds_url}/v1/hf", token="unused")
    huggingface_hub.set_client_factory(default_client_factory)


@pytest.fixture(scope="session")
def openai_client(services: Services, wire: Wire) -> Iterator[openai.OpenAI]:
    """OpenAI's client on NIM, with the key that the tutorials pass."""
    with openai.OpenAI(base_url=f"{services.nim_url}/v1", api_key="None", http_client=wire.client()) as client:
        yield client


@pytest.fixture
def namespace() -> str:
    """A namespace that nobody else uses."""
    return fresh_namespace()


@pytest.fixture(scope="session")
def local_home(services: Services) -> Path:
    """The local platform's home; a test that asks for it is skipped against real services."""
    if services.home is None:
        pytest.skip("looks into the local platform")
    return services.home
