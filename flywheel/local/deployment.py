"""Deployment Management: deployment configs and model deployments, as NVIDIA's clients call them.

Nothing is started here: the base model and its adapters are served from the moment they are there. A deployment of one of them is
`ready`; any other has failed and says why. Which of the two is looked up at every request, since adapters come and go. Knows what
the engine serves; no Kubernetes, no images, no other machine. Tokens and keys in a body are not kept: nothing here needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field, StringConstraints

from flywheel.local.answers import checked, deleted
from flywheel.local.engine import Engine
from flywheel.local.entities import Name, Named, Text, Url, changed, collection
from flywheel.local.listing import page_of
from flywheel.local.state import Entity, Exists, Missing, State

_KIND: Final = "model_deployment"
_PATH = "/v1/deployment/model-deployments"
_TAKEN = "model deployment already exists"
"""NVIDIA's data flywheel blueprint knows a duplicate by these words."""

Reference = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class NimDeployment(BaseModel):
    """How a cluster would run the model; kept and shown, of no effect on this machine."""

    image_name: Text
    image_tag: Text
    gpu: Annotated[int, Field(ge=0)]
    pvc_size: Text | None = None
    additional_envs: dict[str, str] | None = None
    disable_lora_support: bool | None = None
    namespace: Text | None = None


class ExternalEndpoint(BaseModel):
    """A model that is served elsewhere."""

    host_url: Url
    enabled_models: list[Text] | None = None


class NamedModel(BaseModel):
    """A model entity sent along, of which only the name counts."""

    namespace: Name = "default"
    name: Name


class DeploymentConfig(Named):
    """What to deploy, and how."""

    model: Reference | NamedModel | None = None
    nim_deployment: NimDeployment | None = None
    external_endpoint: ExternalEndpoint | None = None


class ModelDeployment(Named):
    """A deployment: `config` is the name of a deployment config, or one sent along."""

    config: Reference | DeploymentConfig
    models: list[Reference] = Field(default_factory=list, max_length=100)
    async_enabled: bool = False


class Deployment:
    """The routes under /v1/deployment, over what this engine serves at `nim_url`."""

    def __init__(self, state: State, engine: Engine, nim_url: str) -> None:
        self._state, self._engine, self._nim_url = state, engine, nim_url

    def router(self) -> APIRouter:
        """All routes."""
        routes = APIRouter(tags=["deployment"])
        one = _PATH + "/{namespace}/{name}"
        routes.include_router(collection(self._state, "deployment_config", "/v1/deployment/configs", DeploymentConfig))
        routes.add_api_route(_PATH, self._create, methods=["POST"])
        routes.add_api_route(_PATH, self._list, methods=["GET"])
        routes.add_api_route(one, self._read, methods=["GET"])
        routes.add_api_route(one, self._change, methods=["PATCH"])
        routes.add_api_route(one, self._delete, methods=["DELETE"])
        return routes

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        deployment = checked(ModelDeployment, body)
        self._config(deployment.config)
        try:
            return self._shown(
                self._state.create(_KIND, deployment.namespace, deployment.name, deployment.model_dump(mode="json"))
            )
        except Exists:
            raise HTTPException(409, f"{_TAKEN}: {deployment.namespace}/{deployment.name}; update or delete that one") from None

    def _list(self, request: Request) -> dict[str, Any]:
        return page_of(request, self._state, _KIND, self._shown)

    def _read(self, namespace: str, name: str) -> dict[str, Any]:
        return self._shown(self._present(namespace, name))

    def _change(self, namespace: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._state.transaction():
            whole = changed(ModelDeployment, self._present(namespace, name), body)
            self._config(whole["config"])
            return self._shown(self._state.update(_KIND, namespace, name, whole))

    def _delete(self, namespace: str, name: str) -> dict[str, str]:
        with self._state.transaction():
            deployment = self._present(namespace, name)
            self._state.delete(_KIND, namespace, name)
        return deleted(deployment["id"], f"model deployment {namespace}/{name}")

    def _present(self, namespace: str, name: str) -> Entity:
        deployment = self._state.get(_KIND, namespace, name)
        if deployment is None:
            raise Missing(f"model deployment '{namespace}/{name}' does not exist")
        return deployment

    def _config(self, config: Any) -> DeploymentConfig:
        """A deployment's config, whether it was named or sent along. Answers 404 where the name is unknown."""
        if not isinstance(config, str):
            return DeploymentConfig.model_validate(config)
        namespace, slash, name = config.partition("/")
        entity = self._state.get("deployment_config", *((namespace, name) if slash else ("default", config)))
        if entity is None:
            raise Missing(f"deployment config {config!r} does not exist; create it first or send it along")
        return DeploymentConfig.model_validate(entity)

    def _shown(self, deployment: Entity) -> dict[str, Any]:
        status, description, model = self._status(deployment)
        ready = status == "ready"
        return {
            **deployment,
            "url": self._nim_url,
            "deployed": ready,
            "models": deployment["models"] or ([model] if ready else []),
            "status_details": {"status": status, "description": description},
        }

    def _status(self, deployment: Mapping[str, Any]) -> tuple[str, str, str]:
        """The status, in words why, and the id of the model."""
        try:
            config = self._config(deployment["config"])
        except Missing as gone:
            return "failed", str(gone), ""
        model = (
            config.model
            if isinstance(config.model, str)
            else f"{config.model.namespace}/{config.model.name}"
            if config.model
            else ""
        )
        if config.external_endpoint is not None:
            where = config.external_endpoint.host_url
            return "failed", f"this platform passes no requests on to other servers; send them to {where} itself", model
        if not self._engine.ready:
            return "pending", "the platform is still loading its model", model
        if model in self._engine.models():
            return "ready", f"{model} is served at {self._nim_url}", model
        return "failed", _not_here(model, self._engine.models()), model


def _not_here(model: str, served: list[str]) -> str:
    return (
        f"{model or 'no model'!r} is not served here and cannot be fetched; served are: {', '.join(served)}. An adapter is "
        "served as soon as its customization job is completed; for another base model start it with --base-model ID=PATH"
    )
