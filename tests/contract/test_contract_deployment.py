"""Deployment Management through NVIDIA's SDK, and as NVIDIA's blueprint calls it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from contract_wire import Services
from endpoints import covers
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError

from tests.platform_rows import follow

ONE = "/{namespace}/{name}"
CRUD = [("POST", ""), ("GET", ""), ("GET", ONE), ("PATCH", ONE), ("DELETE", ONE)]


@pytest.fixture
def body(services: Services, namespace: str) -> dict[str, Any]:
    """A deployment of the base model, as the blueprint writes it."""
    nim = {"image_name": "nvcr.io/nim/meta/llama", "image_tag": "1.8.3", "pvc_size": "25Gi", "gpu": 1, "additional_envs": {}}
    return {
        "name": services.base_model.replace("/", "-"),
        "namespace": namespace,
        "config": {"model": services.base_model, "nim_deployment": nim},
    }


@pytest.mark.usefixtures("local_home")  # elsewhere this would take a GPU
@covers(*(f"nemo {method} /v1/deployment/model-deployments{path}" for method, path in CRUD))
def test_a_deployment_from_birth_to_end(nemo: NeMoMicroservices, body: dict[str, Any], namespace: str) -> None:
    made = nemo.deployment.model_deployments.create(**body)
    assert made.url and made.config is not None

    def look() -> Any:
        return nemo.deployment.model_deployments.retrieve(body["name"], namespace=namespace).status_details

    assert follow(look)[-1].status == "ready"
    with pytest.raises(ConflictError, match="model deployment already exists"):
        nemo.deployment.model_deployments.create(**body)
    changed = nemo.deployment.model_deployments.update(body["name"], namespace=namespace, description="d")
    assert changed.description == "d"
    listed = nemo.deployment.model_deployments.list(filter={"namespace": namespace})  # type: ignore[typeddict-unknown-key]
    assert [one.name for one in listed] == [body["name"]]
    nemo.deployment.model_deployments.delete(body["name"], namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.deployment.model_deployments.retrieve(body["name"], namespace=namespace)


@pytest.mark.usefixtures("local_home")  # elsewhere this would take a GPU
@covers("nemo POST /v1/deployment/model-deployments", "nemo DELETE /v1/deployment/model-deployments/{namespace}/{name}")
def test_the_blueprints_words(http: httpx.Client, services: Services, body: dict[str, Any]) -> None:
    address = f"{services.nemo_url}/v1/deployment/model-deployments"
    assert http.post(address, json=body).status_code in (200, 201)
    assert "model deployment already exists" in http.post(address, json=body).text
    gone = http.delete(f"{address}/{body['namespace']}/{body['name']}")
    assert gone.status_code == 200 and isinstance(gone.json(), dict)


@covers(*(f"nemo {method} /v1/deployment/configs{path}" for method, path in CRUD))
def test_configs(nemo: NeMoMicroservices, services: Services, body: dict[str, Any], namespace: str) -> None:
    made = nemo.deployment.configs.create(name="config", namespace=namespace, **body["config"])
    assert made.nim_deployment is not None and made.nim_deployment.gpu == 1
    assert nemo.deployment.configs.retrieve("config", namespace=namespace).model == services.base_model
    assert nemo.deployment.configs.update("config", namespace=namespace, description="d").description == "d"
    assert [one.name for one in nemo.deployment.configs.list(filter={"namespace": namespace})] == ["config"]
    nemo.deployment.configs.delete("config", namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.deployment.configs.retrieve("config", namespace=namespace)
