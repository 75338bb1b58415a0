"""NVIDIA's tool-calling tutorial from fine-tuning to guardrails: its calls, order and assertions, on a few rows of ours.

Namespaces, three files, a data set, a LoRA job with the tutorial's hyperparameters, the model in every list, a call through both
clients; two evaluations and their zip; a guardrail config that stops the unsafe message and lets the safe one through. The
tutorial waits up to 2400 s for the training and 600 s for each evaluation. As many rows as the tutorial has:

    CONTRACT_TUTORIAL_ROWS=3500 .venv/bin/python -m pytest tests/contract/test_contract_tutorial.py --durations 3
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_wire import Services
from endpoints import covers
from huggingface_hub import HfApi
from nemo_microservices import ConflictError, NeMoMicroservices
from openai import OpenAI
from test_contract_guardrails import CONTENT_SAFETY, SAFE, UNSAFE

from flywheel.local.base.turns import Turns
from tests.platform_rows import TEMPLATE, TOOL_CALLING, TOOLS

DATASET, MODEL = "xlam-ft-dataset", "llama-3.2-1b-xlam-run1@v1"
TRAINING_SECONDS, EVALUATION_SECONDS = 2400, 600
ROWS = int(os.environ.get("CONTRACT_TUTORIAL_ROWS", "48"))


def rows() -> Iterator[dict[str, Any]]:
    """Single calls without ids, each to a tool of its own list of tools, as in the tutorial's data."""
    turns = Turns(4711)
    while True:
        drawn = turns.sample("families", "call", 1)
        yield {"messages": drawn.turns[0].messages, "tools": drawn.tools}


def asked(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its answer, and the calls that are right."""
    *asked, answer = row["messages"]
    return {"messages": asked, "tools": row["tools"], "tool_calls": answer["tool_calls"]}


SOURCE = rows()
FILES: dict[str, list[dict[str, Any]]] = {
    "training/training.jsonl": list(islice(SOURCE, ROWS)),
    "validation/validation.jsonl": list(islice(SOURCE, ROWS * 3 // 14)),
    "testing/xlam-test-single.jsonl": [asked(row) for row in islice(SOURCE, min(50, ROWS // 2))],
}


@covers(
    "nemo POST /v1/namespaces",
    "nds POST /v1/datastore/namespaces",
    "nemo POST /v1/datasets",
    "nemo POST /v1/customization/jobs",
    "nemo GET /v1/models/{namespace}/{name}",
    "nim GET /v1/models",
    "nemo POST /v1/evaluation/jobs",
    "nemo GET /v1/evaluation/jobs/{job}/download-results",
    "nemo POST /v1/guardrail/configs",
    "nemo POST /v1/guardrail/checks",
)
@pytest.mark.slow
@pytest.mark.timeout(TRAINING_SECONDS + 2 * EVALUATION_SECONDS)
def test_the_whole_tutorial(
    nemo: NeMoMicroservices,
    http: httpx.Client,
    hub: HfApi,
    openai_client: OpenAI,
    services: Services,
    namespace: str,
    tmp_path: Path,
) -> None:
    prepare(nemo, http, services, namespace)
    upload(nemo, hub, namespace, tmp_path)
    custom = fine_tune(nemo, http, services, namespace)
    infer(nemo, openai_client, custom)
    for model in (services.base_model, custom):
        evaluate(nemo, http, services, namespace, model, custom, tmp_path)
    guard(nemo, services, namespace, custom)
    # Used state: what the tutorial makes without leave to exist is refused the second time.
    with pytest.raises(ConflictError):
        nemo.datasets.create(name=DATASET, namespace=namespace, files_url="hf://datasets/x/y")
    with pytest.raises(ConflictError):
        nemo.guardrail.configs.create(name="toolcalling", namespace=namespace, data=CONTENT_SAFETY)


def prepare(nemo: NeMoMicroservices, http: httpx.Client, services: Services, namespace: str) -> None:
    """Both namespaces, made twice, as a reader makes them who starts over."""
    address = f"{services.nds_url}/v1/datastore/namespaces"
    for _ in range(2):
        try:
            nemo.namespaces.create(id=namespace)
        except Exception as error:
            assert "409" in str(error) or "422" in str(error)
        assert http.post(address, data={"namespace": namespace}).status_code in (200, 201, 409, 422)
    assert isinstance(http.get(f"{address}/{namespace}").json(), dict)
    found = nemo.namespaces.retrieve(namespace)
    assert found.id == namespace and found.created_at and found.description is None and found.project is None


def upload(nemo: NeMoMicroservices, hub: HfApi, namespace: str, folder: Path) -> None:
    """Three files by their paths, and the data set that names them."""
    repo = f"{namespace}/{DATASET}"
    hub.create_repo(repo, repo_type="dataset")
    for path, rows in FILES.items():
        file = folder / path.rpartition("/")[2]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        hub.upload_file(path_or_fileobj=str(file), path_in_repo=path, repo_id=repo, repo_type="dataset")
    url = f"hf://datasets/{repo}"
    nemo.datasets.create(name=DATASET, namespace=namespace, description="rows", files_url=url, project="tool_calling")
    assert nemo.datasets.retrieve(DATASET, namespace=namespace).files_url == url


def fine_tune(nemo: NeMoMicroservices, http: httpx.Client, services: Services, namespace: str) -> str:
    """The job with the tutorial's hyperparameters; returns the model's name, which is in every list."""
    job: Any = nemo.customization.jobs.create(
        config=services.config,
        dataset={"name": DATASET, "namespace": namespace},
        output_model=f"{namespace}/{MODEL}",
        hyperparameters={
            "training_type": "sft",
            "finetuning_type": "lora",
            "epochs": 2,
            "batch_size": 16,
            "learning_rate": 0.0001,
            "lora": {"adapter_dim": 32, "adapter_dropout": 0.1},
        },
    )
    custom: str = nemo.customization.jobs.retrieve(job.id).output_model or ""
    assert custom.count("/") == 1
    assert nemo.customization.jobs.status(job.id).percentage_done is not None

    deadline = time.monotonic() + TRAINING_SECONDS
    while (job := nemo.customization.jobs.retrieve(job.id)).status in ("pending", "created", "running"):
        assert time.monotonic() < deadline, job.status_details
        assert 0 <= job.status_details.percentage_done <= 100
        time.sleep(0.2)
    assert job.status == "completed", job.status_details

    listed = nemo.models.list(filter={"namespace": namespace}, sort="-created_at").data
    assert [(model.namespace, model.name, model.base_model) for model in listed] == [(namespace, MODEL, services.base_model)]
    assert listed[0].peft is not None and listed[0].peft.finetuning_type == "lora"
    artifact = nemo.models.retrieve(namespace=namespace, model_name=custom.partition("/")[2]).artifact
    assert artifact is not None and artifact.status == "upload_completed"
    assert custom in served(http, services)
    return custom


def served(http: httpx.Client, services: Services) -> list[str]:
    return [model["id"] for model in http.get(f"{services.nim_url}/v1/models").json()["data"]]


def infer(nemo: NeMoMicroservices, openai_client: OpenAI, custom: str) -> None:
    """One question through both clients."""
    row = FILES["testing/xlam-test-single.jsonl"][0]
    for client in (openai_client, nemo):
        reply: Any = client.chat.completions.create(
            model=custom, messages=row["messages"], tools=row["tools"], tool_choice="auto",
            temperature=0.1, top_p=0.7, max_tokens=512, stream=False,
        )  # fmt: skip
        for call in reply.choices[0].message.tool_calls or []:
            assert isinstance(json.loads(call.function.arguments), dict)


def evaluate(
    nemo: NeMoMicroservices, http: httpx.Client, services: Services, namespace: str, model: str, custom: str, folder: Path
) -> None:
    """One evaluation with the config sent along, its two scores and its zip."""
    assert custom in served(http, services)
    url = nemo.datasets.retrieve(DATASET, namespace=namespace).files_url
    task = {
        "type": "chat-completion",
        "dataset": {"files_url": f"{url}/testing/xlam-test-single.jsonl", "limit": 50},
        "params": {"template": TEMPLATE},
        "metrics": {"tool-calling-accuracy": TOOL_CALLING},
    }
    config: Any = {"type": "custom", "tasks": {"custom-tool-calling": task}}
    job: Any = nemo.evaluation.jobs.create(config=config, target={"type": "model", "model": model})
    deadline = time.monotonic() + EVALUATION_SECONDS
    while (job := nemo.evaluation.jobs.retrieve(job.id)).status in ("pending", "created", "running"):
        assert time.monotonic() < deadline, job.status_details
        assert job.status_details.progress is None or 0 <= job.status_details.progress <= 100
        time.sleep(0.2)
    results: Any = nemo.evaluation.jobs.results(job.id)
    scores = results.tasks["custom-tool-calling"].metrics["tool-calling-accuracy"].scores
    assert 0 <= scores["function_name_and_args_accuracy"].value <= scores["function_name_accuracy"].value <= 1
    nemo.evaluation.jobs.download_results(job.id).write_to_file(folder / "results.zip")
    assert (folder / "results.zip").stat().st_size > 0


def guard(nemo: NeMoMicroservices, services: Services, namespace: str, custom: str) -> None:
    """The unsafe message is blocked, and the safe one leads to a completion."""
    made = nemo.guardrail.configs.create(name="toolcalling", namespace=namespace, description="d", data=CONTENT_SAFETY)
    assert made.data is not None and isinstance(made.data.to_dict(), dict)
    listed = nemo.guardrail.configs.list(page=1, page_size=10, sort="-created_at").data
    assert "toolcalling" in [config.name for config in listed]

    def complete(text: str) -> Any:
        messages: Any = [{"role": "user", "content": text}]
        return nemo.chat.completions.create(
            model=custom, messages=messages, tools=TOOLS, tool_choice="auto", temperature=0.2, top_p=0.7, max_tokens=1024
        )

    def check(text: str) -> str:
        messages: Any = [{"role": "user", "content": text}]
        rails: Any = {"config_id": f"{namespace}/toolcalling"}
        wanted: Any = {"model": services.base_model, "temperature": 0.2, "top_p": 1}
        return nemo.guardrail.check(messages=messages, guardrails=rails, **wanted).status

    assert complete(UNSAFE).choices  # without rails the model says something
    assert check(UNSAFE) == "blocked"
    assert check(SAFE) == "success"
    assert complete(SAFE).choices
