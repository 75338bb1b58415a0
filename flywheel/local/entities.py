"""The Entity Store: namespaces, projects, data sets and models, kept as they are sent.

Knows the shape of those four kinds and their routes. Knows neither files nor weights: `files_url` is a word that comes back
unchanged, and what happens to an adapter when its model is deleted is for whoever passes `model_deleted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from flywheel.local.answers import checked, deleted
from flywheel.local.listing import page_of
from flywheel.local.state import Entity, Kind, Missing, State

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+:-]*$", max_length=255)]
"""A name that can stand in a path: letters, digits and `_ . @ + : -`."""
Text = Annotated[str, StringConstraints(max_length=10_000)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


class NullIsUnset(BaseModel):
    """A body in which a field that is null is one that was not sent: clients send back what they were shown."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: item for key, item in value.items() if item is not None or key not in cls.model_fields}


class Described(NullIsUnset):
    """What every entity may say of itself."""

    description: Text | None = None
    project: Text | None = None
    custom_fields: dict[str, Any] = Field(default_factory=dict)
    ownership: dict[str, Any] | None = None


class Named(Described):
    """An entity known by namespace and name; without a name it is named after its id."""

    namespace: Name = "default"
    name: Name | None = None


class Namespace(Described):
    """A namespace, whose id is its name."""

    id: Name | None = None


class Project(Named):
    """A project."""


class Dataset(Named):
    """A data set: a name for files that lie elsewhere, usually `hf://datasets/<namespace>/<name>` in the Data Store."""

    files_url: Url
    format: Text | None = None
    split: Text | None = None
    limit: int | None = None
    hf_endpoint: Url | None = None


class Artifact(BaseModel):
    """A model's files and how far they have come."""

    model_config = ConfigDict(extra="allow")
    files_url: Text
    status: Literal["created", "upload_failed", "upload_completed"]


class Peft(BaseModel):
    """How a model was customised."""

    model_config = ConfigDict(extra="allow")
    finetuning_type: Literal["lora", "lora_merged", "all_weights"]


class Model(Named):
    """A model; its name carries its version, for example `tool-llama-5m-run-1@v1`."""

    model_config = ConfigDict(protected_namespaces=())
    base_model: Text | dict[str, Any] | None = None
    artifact: Artifact | None = None
    peft: Peft | None = None
    spec: dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    api_endpoint: dict[str, Any] | None = None
    guardrails: dict[str, Any] | None = None
    model_providers: list[str] | None = None


def router(state: State, model_deleted: Callable[[Entity], None] | None = None) -> APIRouter:
    """All routes of the Entity Store. model_deleted is called with a model that was just deleted over HTTP."""
    routes = APIRouter()
    routes.include_router(_namespace_routes(state))
    routes.include_router(collection(state, "project", "/v1/projects", Project))
    routes.include_router(collection(state, "dataset", "/v1/datasets", Dataset))
    routes.include_router(collection(state, "model", "/v1/models", Model, model_deleted))
    return routes


def collection(
    state: State,
    kind: Kind,
    path: str,
    model: type[Named],
    after_delete: Callable[[Entity], None] | None = None,
    amended: Callable[[Entity, dict[str, Any]], dict[str, Any]] | None = None,
    filterable: Callable[[Entity], Mapping[str, Any]] | None = None,
) -> APIRouter:
    """Create, list, read, change and delete entities of one kind under `path`; bodies are checked and completed by `model`.

    amended makes of an entity and the body of a PATCH the keys to replace, where a client may also say them otherwise; filterable
    is what filters may name of an entity besides its own keys.
    """
    routes = APIRouter(tags=[kind])

    @routes.post(path)
    def create(body: dict[str, Any]) -> Entity:
        whole = checked(model, body).model_dump(mode="json")
        return state.create(kind, whole["namespace"], whole["name"], whole)

    @routes.get(path)
    def list_page(request: Request) -> dict[str, Any]:
        return page_of(request, state, kind, filterable=filterable)

    @routes.get(path + "/{namespace}/{name}")
    def read(namespace: str, name: str) -> Entity:
        return _present(state.get(kind, namespace, name), kind, f"{namespace}/{name}")

    @routes.patch(path + "/{namespace}/{name}")
    def change(namespace: str, name: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            entity = _present(state.get(kind, namespace, name), kind, f"{namespace}/{name}")
            return state.update(kind, namespace, name, changed(model, entity, amended(entity, body) if amended else body))

    @routes.delete(path + "/{namespace}/{name}")
    def delete(namespace: str, name: str) -> dict[str, str]:
        with state.transaction():
            entity = _present(state.get(kind, namespace, name), kind, f"{namespace}/{name}")
            state.delete(kind, namespace, name)
        if after_delete:
            after_delete(entity)
        return deleted(entity["id"], f"{kind} {namespace}/{name}")

    return routes


def changed(model: type[BaseModel], entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    """The entity with the keys of a PATCH body replaced, checked as a whole.

    Clients send namespace and name along: they must be the entity's own.
    """
    for key in ("id", "namespace", "name"):
        if key in body and body[key] != entity[key]:
            raise HTTPException(422, f"{key} is {entity[key]!r} and cannot be changed; create another one and delete this")
    return checked(model, {**entity, **body}).model_dump(mode="json")


def _namespace_routes(state: State) -> APIRouter:
    routes = APIRouter(prefix="/v1/namespaces", tags=["namespace"])

    @routes.post("")
    def create(body: dict[str, Any]) -> Entity:
        whole = checked(Namespace, body).model_dump(mode="json")
        return _shown(state.create("namespace", "", whole["id"], whole))

    @routes.get("")
    def list_page(request: Request) -> dict[str, Any]:
        return page_of(request, state, "namespace", _shown)

    @routes.get("/{name}")
    def read(name: str) -> Entity:
        return _shown(_present(state.get("namespace", "", name), "namespace", name))

    @routes.patch("/{name}")
    def change(name: str, body: dict[str, Any]) -> Entity:
        with state.transaction():
            entity = _present(state.get("namespace", "", name), "namespace", name)
            return _shown(state.update("namespace", "", name, changed(Namespace, entity, body)))

    @routes.delete("/{name}")
    def delete(name: str) -> dict[str, str]:
        if not state.delete("namespace", "", name):
            raise Missing(f"namespace {name!r} does not exist")
        return deleted(name, f"namespace {name}")

    return routes


def _shown(namespace: Entity) -> Entity:
    return {key: value for key, value in namespace.items() if key not in ("namespace", "name")}


def _present(entity: Entity | None, kind: Kind, shown: str) -> Entity:
    if entity is None:
        raise Missing(f"{kind} {shown!r} does not exist")
    return entity
