"""The Entity Store through NVIDIA's SDK: namespaces, projects, data sets, models, and the lists that all services share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, timedelta, timezone
from typing import Any

import nemo_microservices
import pytest
from contract_wire import Wire, fresh_namespace
from endpoints import covers
from nemo_microservices import AsyncNeMoMicroservices, NeMoMicroservices


def files(namespace: str) -> str:
    return f"hf://datasets/{namespace}/rows"


@covers(
    "nemo POST /v1/namespaces",
    "nemo GET /v1/namespaces",
    "nemo GET /v1/namespaces/{namespace}",
    "nemo PATCH /v1/namespaces/{namespace}",
    "nemo DELETE /v1/namespaces/{namespace}",
)
def test_a_namespace_from_birth_to_end(nemo: NeMoMicroservices, namespace: str) -> None:
    made = nemo.namespaces.create(id=namespace, description="d")
    assert (made.id, made.description, made.project, made.custom_fields) == (namespace, "d", None, {})
    assert nemo.namespaces.retrieve(namespace).created_at == made.created_at
    assert nemo.namespaces.update(namespace, project="p").project == "p"
    assert namespace in [found.id for found in nemo.namespaces.list(page_size=100)]
    assert nemo.namespaces.delete(namespace).id == namespace
    with pytest.raises(nemo_microservices.NotFoundError, match="Error code: 404"):
        nemo.namespaces.retrieve(namespace)


@covers("nemo POST /v1/namespaces")
def test_a_duplicate_is_refused_in_one_request(nemo: NeMoMicroservices, namespace: str, wire: Wire) -> None:
    """The SDK tries a conflict twice again unless it is told not to."""
    nemo.namespaces.create(id=namespace)
    before = len(wire.requests)
    with pytest.raises(nemo_microservices.ConflictError, match="Error code: 409"):
        nemo.namespaces.create(id=namespace)
    assert len(wire.requests) == before + 1


@covers(
    "nemo POST /v1/projects",
    "nemo GET /v1/projects",
    "nemo GET /v1/projects/{namespace}/{name}",
    "nemo PATCH /v1/projects/{namespace}/{name}",
    "nemo DELETE /v1/projects/{namespace}/{name}",
)
def test_a_project_from_birth_to_end(nemo: NeMoMicroservices, namespace: str) -> None:
    made = nemo.projects.create(name="p", namespace=namespace, description="d")
    assert nemo.projects.retrieve("p", namespace=namespace).id == made.id
    changed: Any = nemo.projects.update("p", namespace=namespace, description="e")  # the SDK gives it no type
    assert changed["description"] == "e"
    assert [found.name for found in nemo.projects.list(filter={"namespace": namespace})] == ["p"]
    assert nemo.projects.delete("p", namespace=namespace).id == made.id


@covers(
    "nemo POST /v1/datasets",
    "nemo GET /v1/datasets",
    "nemo GET /v1/datasets/{namespace}/{name}",
    "nemo PATCH /v1/datasets/{namespace}/{name}",
    "nemo DELETE /v1/datasets/{namespace}/{name}",
)
def test_a_data_set_keeps_its_files_url(nemo: NeMoMicroservices, namespace: str) -> None:
    body: Any = {"description": "d", "files_url": files(namespace), "project": "tool_calling"}
    made = nemo.datasets.create(name="rows", namespace=namespace, **body)
    assert made.id is not None and made.id.startswith("dataset-")
    assert nemo.datasets.retrieve("rows", namespace=namespace).files_url == files(namespace)
    # NVIDIA's blueprint PATCHes with the whole body that it created with.
    again = nemo.datasets.update(
        "rows", namespace=namespace, **{**body, "description": "e"}, extra_body={"name": "rows", "namespace": namespace}
    )
    assert (again.id, again.description, again.files_url) == (made.id, "e", files(namespace))
    assert [found.name for found in nemo.datasets.list(filter={"namespace": namespace, "project": "tool_calling"})] == ["rows"]
    assert nemo.datasets.delete("rows", namespace=namespace).id == made.id
    with pytest.raises(nemo_microservices.NotFoundError):
        nemo.datasets.retrieve("rows", namespace=namespace)


@covers(
    "nemo POST /v1/models",
    "nemo GET /v1/models",
    "nemo GET /v1/models/{namespace}/{name}",
    "nemo PATCH /v1/models/{namespace}/{name}",
    "nemo DELETE /v1/models/{namespace}/{name}",
)
def test_version_signs_survive_in_a_model_path(nemo: NeMoMicroservices, namespace: str, wire: Wire) -> None:
    name = "llama@v1.0.0+80GB"
    artifact: Any = {"files_url": f"hf://{namespace}/m", "status": "upload_completed", "backend_engine": "hugging_face"}
    prompt: Any = {"system_prompt": "be brief", "inference_params": {"temperature": 0.1}}
    nemo.models.create(name=name, namespace=namespace, artifact=artifact, peft={"finetuning_type": "lora"}, prompt=prompt)
    read = nemo.models.retrieve(name, namespace=namespace)
    assert wire.bodies[-1].url.raw_path.endswith(f"/v1/models/{namespace}/{name}".encode())
    assert read.artifact is not None and (read.name, read.artifact.status) == (name, "upload_completed")
    assert nemo.models.update(name, namespace=namespace, description="d").peft == read.peft
    assert [found.name for found in nemo.models.list(filter={"namespace": namespace})] == [name]
    nemo.models.delete(name, namespace=namespace)


@covers("nemo GET /v1/models")
def test_models_are_filtered_searched_and_sorted(nemo: NeMoMicroservices, namespace: str, wire: Wire) -> None:
    nemo.models.create(name="base", namespace=namespace)
    nemo.models.create(name="a@v1", namespace=namespace, base_model="meta/base", peft={"finetuning_type": "lora"}, project="p")
    nemo.models.create(
        name="b@v1", namespace=namespace, base_model={"name": "meta/base"}, peft={"finetuning_type": "lora_merged"}
    )

    def names(sort: Any = "name", search: Any = None, **conditions: Any) -> list[str | None]:
        found = nemo.models.list(sort=sort, filter={"namespace": namespace, **conditions}, search=search or {})
        return [row.name for row in found]

    assert names() == ["a@v1", "b@v1", "base"] == list(reversed(names("-name")))
    assert names("-created_at") == ["b@v1", "a@v1", "base"]
    assert names(base_model="meta/base") == names(base_model={"name": "meta/base"}) == ["a@v1", "b@v1"]
    assert (names(peft=True), names(peft={"finetuning_type": "lora"})) == (["a@v1", "b@v1"], ["a@v1"])
    assert (names(project="p"), names(created_at={"gte": "2999-01-01"})) == (["a@v1"], [])
    assert names(search={"name": ["a@", "bas"]}) == ["a@v1", "base"]
    assert "search%5Bname%5D=a%40%2Cbas" in str(wire.bodies[-1].url) or "search[name]=a@,bas" in str(wire.bodies[-1].url)


@covers("nemo GET /v1/datasets")
def test_dates_are_compared_in_any_zone_and_to_the_end_of_a_day(nemo: NeMoMicroservices, namespace: str) -> None:
    made = nemo.datasets.create(name="d", namespace=namespace, files_url=files(namespace), custom_fields={"team": "blue"})
    assert made.created_at is not None
    moment = made.created_at.replace(tzinfo=UTC)
    day, later, elsewhere = str(moment.date()), moment + timedelta(minutes=1), timezone(timedelta(hours=9))

    def found(**search: Any) -> int:
        return len(nemo.datasets.list(filter={"namespace": namespace}, search=search).data)

    assert found(created_at={"start": day, "end": day}) == 1
    assert found(created_at={"start": moment.astimezone(elsewhere), "end": later.astimezone(elsewhere)}) == 1
    assert found(created_at={"start": later.astimezone(elsewhere)}) == 0
    assert (found(custom_fields={"team": "blu"}), found(custom_fields={"team": "red"})) == (1, 0)


@covers("nemo GET /v1/datasets")
def test_lists_are_walked_to_the_empty_page(nemo: NeMoMicroservices, namespace: str) -> None:
    for number in range(7):
        nemo.datasets.create(name=f"d{number}", namespace=namespace, files_url=files(namespace))
    wanted: Any = {"filter": {"namespace": namespace}, "page_size": 3}
    assert [row.name for row in nemo.datasets.list(sort="name", **wanted)] == [f"d{number}" for number in range(7)]
    page = nemo.datasets.list(page=3, **wanted)
    assert page.pagination is not None
    counts = page.pagination.to_dict()
    assert counts == {"page": 3, "page_size": 3, "current_page_size": 1, "total_pages": 3, "total_results": 7}
    assert nemo.datasets.list(page=4, **wanted).data == []


@covers("nemo POST /v1/datasets", "nemo GET /v1/datasets", "nemo DELETE /v1/datasets/{namespace}/{name}")
def test_the_asynchronous_client(asynchronous: Callable[[], AsyncNeMoMicroservices]) -> None:
    async def walk() -> list[str | None]:
        namespace = fresh_namespace()
        async with asynchronous() as nemo:
            for number in range(3):
                await nemo.datasets.create(name=f"d{number}", namespace=namespace, files_url=files(namespace))
            names = [row.name async for row in nemo.datasets.list(filter={"namespace": namespace}, page_size=2, sort="name")]
            await nemo.datasets.delete("d0", namespace=namespace)
        return names

    assert asyncio.run(walk()) == ["d0", "d1", "d2"]


@covers("nemo POST /v1/datasets", "nemo POST /v1/models", "nemo POST /v1/projects", "nemo POST /v1/namespaces")
def test_unknown_fields_do_no_harm(nemo: NeMoMicroservices, namespace: str) -> None:
    more: Any = {"extra_body": {"custom_fields": None, "type_prefix": None, "of_tomorrow": {"deep": [1, None]}}}
    assert nemo.namespaces.create(id=namespace, **more).id == namespace
    made = [
        nemo.projects.create(name="x", namespace=namespace, **more),
        nemo.datasets.create(name="x", namespace=namespace, files_url=files(namespace), **more),
        nemo.models.create(name="x", namespace=namespace, **more),
    ]
    assert [(one.namespace, one.name) for one in made] == [(namespace, "x")] * 3


@covers("nemo POST /v1/datasets")
def test_a_bad_body_names_its_fields(nemo: NeMoMicroservices, namespace: str) -> None:
    with pytest.raises(nemo_microservices.UnprocessableEntityError) as raised:
        nemo.datasets.create(name="a/b", namespace=namespace, files_url=files(namespace))
    (problem,) = raised.value.body["detail"]  # type: ignore[index]
    assert problem["loc"][-1] == "name" and problem.keys() >= {"loc", "msg", "type"}
