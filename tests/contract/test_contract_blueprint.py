"""The codes and words that NVIDIA's data-flywheel blueprint insists on, with plain requests as it sends them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from contract_wire import Services
from endpoints import covers
from huggingface_hub import HfApi
from nemo_microservices import NeMoMicroservices

from tests.fakes import Judge, NimReply
from tests.platform_rows import TOOLS, follow, training_rows, upload


class Answer:
    """A reply's body whose keys are attributes, for `follow`."""

    def __init__(self, reply: httpx.Response) -> None:
        assert reply.status_code in (200, 201), reply.text
        self.body = reply.json()
        self.status = self.body["status"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Answer) and self.body == other.body


@pytest.fixture
def call(http: httpx.Client, services: Services) -> Iterator[Any]:
    """A request to NEMO_URL."""

    def call(method: str, path: str, body: Any = None) -> httpx.Response:
        return http.request(method, services.nemo_url + path, json=body)

    yield call


@covers("nemo POST /v1/namespaces", "nds POST /v1/datastore/namespaces", "nds DELETE /v1/hf/api/repos/delete")
def test_namespaces_and_repos(call: Any, http: httpx.Client, services: Services, hub: HfApi, namespace: str) -> None:
    for _ in range(2):
        assert call("POST", "/v1/namespaces", {"id": namespace}).status_code in (200, 201, 409, 422)
        made = http.post(f"{services.nds_url}/v1/datastore/namespaces", data={"namespace": namespace})
        assert made.status_code in (200, 201, 409, 422)
    hub.create_repo(f"{namespace}/rows", repo_type="dataset")
    named = {"name": "rows", "organization": namespace, "type": "dataset"}
    gone = http.request("DELETE", f"{services.nds_url}/v1/hf/api/repos/delete", json=named)
    assert gone.status_code in (200, 204)


@covers("nemo POST /v1/datasets", "nemo PATCH /v1/datasets/{namespace}/{name}", "nemo DELETE /v1/datasets/{namespace}/{name}")
def test_a_data_set_is_written_again(call: Any, namespace: str) -> None:
    body = {"name": "d", "namespace": namespace, "files_url": f"hf://datasets/{namespace}/d", "project": "p", "description": "x"}
    path = f"/v1/datasets/{namespace}/d"
    assert call("GET", path).status_code != 200
    assert call("POST", "/v1/datasets", body).status_code in (200, 201)
    assert call("PATCH", path, body).status_code in (200, 201)
    assert call("GET", path).json()["files_url"] == body["files_url"]
    # The SDK says that the body is JSON where there is none.
    assert call("DELETE", path).status_code in (200, 204)


@covers(
    "nemo POST /v1/customization/jobs",
    "nemo POST /v1/customizations/{job}/cancel",
    "nemo GET /v1/customization/jobs/{job}/status",
)
def test_a_customization(call: Any, services: Services, hub: HfApi, nemo: NeMoMicroservices, namespace: str) -> None:
    upload(hub, nemo, namespace, {"training/a.jsonl": training_rows(6)})
    name = f"{services.base_model.rpartition('/')[2]}@v1.0.0+dfw"
    option = {"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}
    config = {"name": name, "namespace": namespace, "target": f"{services.base_model}@2.0", "max_seq_length": 512,
              "training_options": [option], "training_precision": "bf16"}  # fmt: skip
    assert [call("POST", "/v1/customization/configs", config).status_code for _ in range(2)] == [200, 409]
    hyperparameters = {"training_type": "sft", "finetuning_type": "lora", "epochs": 900, "batch_size": 4, "learning_rate": 1e-4,
                       "lora": {"adapter_dim": 8, "adapter_dropout": 0.1}}  # fmt: skip
    job = call("POST", "/v1/customization/jobs", {
        "name": f"of-{services.base_model}", "config": f"{namespace}/{name}", "output_model": f"{namespace}/customized",
        "dataset": {"name": "rows", "namespace": namespace}, "hyperparameters": hyperparameters,
    })  # fmt: skip
    assert job.status_code == 200
    identity = job.json()["id"]
    assert job.json()["output_model"] == f"{namespace}/customized@{identity}"
    status = call("GET", f"/v1/customization/jobs/{identity}/status")
    assert status.status_code == 200
    assert status.json().keys() >= {"status", "percentage_done", "epochs_completed", "steps_completed", "status_logs"}
    assert call("POST", f"/v1/customizations/{identity}/cancel").status_code in (200, 204)
    model = f"/v1/models/{namespace}/customized@{identity}"
    assert call("GET", model).status_code == 200
    assert call("DELETE", model).status_code in (200, 204)
    assert call("DELETE", f"/v1/customization/configs/{namespace}/{name}").status_code == 200


def record(question: str) -> dict[str, Any]:
    """A logged exchange as the blueprint keeps it: whole request, whole response."""
    calls = [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]
    request = {"messages": [{"role": "user", "content": question}], "tools": TOOLS}
    return {"request": request, "response": {"choices": [{"message": {"role": "assistant", "content": "", "tool_calls": calls}}]}}


@pytest.mark.usefixtures("local_home")  # the judge answers on this machine
@covers("nemo POST /v1/evaluation/jobs", "nemo GET /v1/evaluation/jobs/{job}/results", "nemo DELETE /v1/evaluation/jobs/{job}")
def test_its_two_evaluations(call: Any, services: Services, hub: HfApi, nemo: NeMoMicroservices, namespace: str) -> None:
    url = upload(hub, nemo, namespace, {"eval_data.jsonl": [record("weather in Paris"), record("is it hot in Paris")]})
    dataset = {"files_url": f"{url}/eval_data.jsonl", "limit": 100}
    messages = "{{ item.request.messages | tojson }}"
    truth = "{{ item.response.choices[0].message.tool_calls | tojson }}"
    asked = "Expected: " + truth + " got: {{ sample.response.choices[0].message.tool_calls | tojson }} {{ sample.output_text }}"

    def judged(judge: Any, score: str, pattern: str) -> dict[str, Any]:
        template = {"messages": [{"role": "user", "content": asked}]}
        scores = {score: {"type": "int", "parser": {"type": "regex", "pattern": pattern}}}
        return {"type": "llm-judge", "params": {"model": judge, "template": template, "scores": scores}}

    with Judge(NimReply("RATING: 10")) as judge:
        tools = {
            "messages": messages,
            "tools": "{{ item.request.tools | tojson }}",
            "tool_choice": "required",
        }
        tasks = {
            "custom-tool-calling": {
                "type": "chat-completion",
                "dataset": dataset,
                "params": {"template": tools},
                "metrics": {
                    "tool-calling-accuracy": {
                        "type": "tool-calling",
                        "params": {"tool_calls_ground_truth": truth, "model": judge.endpoint},
                    },
                    "correctness": judged(judge.endpoint, "rating", r"RATING:\s*(\d+)"),
                },
            },
            "llm-as-judge": {
                "type": "chat-completion",
                "dataset": dataset,
                "params": {"template": {"messages": messages}},
                "metrics": {"llm-judge": judged(judge.endpoint, "similarity", r"(\d)")},
            },
        }
        config = {"type": "custom", "name": "of-it", "tasks": tasks, "params": {"max_tokens": 48}}
        job = call(
            "POST",
            "/v1/evaluation/jobs",
            {"namespace": namespace, "config": config, "target": {"type": "model", "model": services.base_model}},
        )
        assert job.status_code in (200, 201)
        identity = job.json()["id"]
        seen = follow(lambda: Answer(call("GET", f"/v1/evaluation/jobs/{identity}")), seconds=600, pause=0.02)
    assert {one.status for one in seen} <= {"created", "running", "completed"} and seen[-1].status == "completed"
    results = call("GET", f"/v1/evaluation/jobs/{identity}/results")
    assert results.status_code == 200
    metrics = {name: task["metrics"] for name, task in results.json()["tasks"].items()}
    assert metrics["custom-tool-calling"]["correctness"]["scores"]["rating"]["value"] == 10
    assert metrics["llm-as-judge"]["llm-judge"]["scores"]["similarity"]["value"] == 1
    assert metrics["custom-tool-calling"]["tool-calling-accuracy"]["scores"]["function_name_accuracy"]["value"] > 0
    assert call("DELETE", f"/v1/evaluation/jobs/{identity}").status_code in (200, 204)


@covers("nim POST /v1/embeddings")
def test_its_embeddings(http: httpx.Client, services: Services) -> None:
    body = {"model": services.base_model, "input": [f"text {i}" for i in range(32)], "input_type": "query"}
    reply = http.post(f"{services.nim_url}/v1/embeddings", json=body)
    assert reply.status_code == 200 and len(reply.json()["data"]) == 32
    assert all(len(one["embedding"]) == len(reply.json()["data"][0]["embedding"]) for one in reply.json()["data"])
