"""Deployment Management through NVIDIA's SDK, and as NVIDIA's data flywheel blueprint calls it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import nemo_microservices
import pytest
from clients import connect, fresh_namespace, post
from nemo_microservices import NeMoMicroservices

from flywheel.local.base_model import SHIPPED_ID
from tests.conftest import Platform

PATH = "/v1/deployment/model-deployments"
NIM: Any = {"image_name": "nvcr.io/nim/meta/llama-3.2-1b-instruct", "image_tag": "1.8.3", "gpu": 1, "pvc_size": "25Gi"}


@pytest.fixture(scope="module")
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    with connect(platform) as client:
        yield client


def test_what_is_served_is_ready(nemo: NeMoMicroservices, platform: Platform) -> None:
    ns = fresh_namespace()
    config = nemo.deployment.configs.create(name="base", namespace=ns, model=SHIPPED_ID, nim_deployment=NIM)
    assert config.nim_deployment is not None and config.nim_deployment.image_tag == "1.8.3"
    deployments = nemo.deployment.model_deployments
    made = deployments.create(name="base", namespace=ns, config=f"{ns}/base", hf_token="hf_secret")
    assert (made.status_details.status, made.deployed, made.models) == ("ready", True, [SHIPPED_ID])
    assert made.url == platform.nim_url
    assert "hf_secret" not in httpx.get(f"{platform.nemo_url}{PATH}/{ns}/base").text
    assert deployments.retrieve("base", namespace=ns).config == f"{ns}/base"
    assert [one.name for one in deployments.list(filter={"namespace": ns})] == ["base"]


def test_what_is_not_served_has_failed_and_says_why(nemo: NeMoMicroservices) -> None:
    ns = fresh_namespace()
    elsewhere: Any = {"host_url": "https://models.example", "api_key": "nvapi-secret"}
    configs: dict[str, tuple[Any, str]] = {
        "other": ({"model": "meta/llama-3.1-8b-instruct", "nim_deployment": NIM}, f"served are: {SHIPPED_ID}"),
        "object": ({"model": {"namespace": "meta", "name": "x"}}, "'meta/x' is not served here"),
        "empty": ({}, "'no model' is not served here"),
        "external": ({"model": SHIPPED_ID, "external_endpoint": elsewhere}, "send them to https://models.example itself"),
    }
    for name, (config, why) in configs.items():
        made = nemo.deployment.model_deployments.create(name=name, namespace=ns, config=config)
        assert (made.status_details.status, made.deployed) == ("failed", False)
        assert why in (made.status_details.description or ""), name
    shown = nemo.deployment.model_deployments.retrieve("external", namespace=ns)
    assert "nvapi-secret" not in shown.model_dump_json()
    changed = nemo.deployment.model_deployments.update("other", namespace=ns, config={"model": SHIPPED_ID})
    assert changed.status_details.status == "ready"


def test_a_deployment_follows_its_config(nemo: NeMoMicroservices) -> None:
    ns = fresh_namespace()
    nemo.deployment.configs.create(name="c", namespace=ns, model="meta/none")
    made = nemo.deployment.model_deployments.create(name="d", namespace=ns, config=f"{ns}/c")
    assert made.status_details.status == "failed"
    nemo.deployment.configs.update("c", namespace=ns, model=SHIPPED_ID)
    assert nemo.deployment.model_deployments.retrieve("d", namespace=ns).status_details.status == "ready"
    nemo.deployment.configs.delete("c", namespace=ns)
    assert "does not exist" in (nemo.deployment.model_deployments.retrieve("d", namespace=ns).status_details.description or "")


def test_the_blueprint_deploys_twice_and_shuts_down(platform: Platform) -> None:
    ns = fresh_namespace()
    body = {"name": "local-tool-llama-5m", "namespace": ns, "config": {"model": SHIPPED_ID, "nim_deployment": NIM}}
    assert post(platform, PATH, body).status_code == 200
    again = post(platform, PATH, body)
    assert (again.status_code, again.headers["x-should-retry"]) == (409, "false")
    assert "model deployment already exists" in again.text
    one = f"{platform.nemo_url}{PATH}/{ns}/local-tool-llama-5m"
    assert httpx.get(one).json()["status_details"]["status"] == "ready"
    assert httpx.delete(one).json()["message"] == f"model deployment {ns}/local-tool-llama-5m was deleted"
    assert (httpx.get(one).status_code, httpx.delete(one).status_code) == (404, 404)


def test_what_cannot_be_meant_is_refused(nemo: NeMoMicroservices, platform: Platform) -> None:
    with pytest.raises(nemo_microservices.NotFoundError, match="create it first or send it along"):
        nemo.deployment.model_deployments.create(config="nobody/nothing")
    assert post(platform, PATH, {}).status_code == 422
    assert post(platform, PATH, {"config": {"model": 5}}).status_code == 422
    assert post(platform, "/v1/deployment/configs", {"nim_deployment": {"gpu": 1}}).status_code == 422
