"""The Evaluator through NVIDIA's SDK: tasks, metrics, jobs and their results, live evaluation, configs and targets."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from contract_wire import Services, fresh_namespace
from endpoints import covers
from huggingface_hub import HfApi
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError, UnprocessableEntityError

from tests.fakes import Judge, NimReply
from tests.platform_rows import TEMPLATE, TOOL_CALLING, TOOLS, evaluation_rows, follow, upload

JOB = "nemo {} /v1/evaluation/jobs/{{job}}"
CREATE = "nemo POST /v1/evaluation/jobs"
ONE = "/{namespace}/{name}"
CRUD = [("POST", ""), ("GET", ""), ("GET", ONE), ("PATCH", ONE), ("DELETE", ONE)]


@pytest.fixture(scope="module")
def url(hub: HfApi, nemo: NeMoMicroservices) -> str:
    """Rows as the tutorials have them."""
    return upload(hub, nemo, fresh_namespace(), {"testing/rows.jsonl": evaluation_rows(6)})


@pytest.fixture
def target(services: Services) -> dict[str, Any]:
    return {"type": "model", "model": services.base_model}


def task(url: str, limit: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "type": "chat-completion",
        "dataset": {"files_url": f"{url}/testing/rows.jsonl", "limit": limit},
        "params": {"template": TEMPLATE},
        "metrics": {"tool-calling-accuracy": TOOL_CALLING},
        **changes,
    }


def config(*tasks: dict[str, Any], **params: Any) -> Any:
    names = ["custom-tool-calling", "another"]
    return {"type": "custom", "tasks": dict(zip(names, tasks, strict=False)), "params": {"max_tokens": 48, **params}}


def evaluate(nemo: NeMoMicroservices, config: Any, target: Any) -> Any:
    """A job that is over; its scores, metric by metric, where it was completed."""
    job = nemo.evaluation.jobs.create(config=config, target=target)
    over = follow(lambda: nemo.evaluation.jobs.retrieve(job.id), seconds=600, pause=0.05)[-1]
    assert over.status == "completed", over.status_details
    metrics = nemo.evaluation.jobs.results(job.id).tasks["custom-tool-calling"].metrics
    return {name: {score: found.value for score, found in metric.scores.items()} for name, metric in metrics.items()}


@covers(
    CREATE,
    JOB.format("GET"),
    JOB.format("GET") + "/status",
    JOB.format("GET") + "/results",
    JOB.format("GET") + "/download-results",
    JOB.format("GET") + "/logs",
    JOB.format("DELETE"),
    "nemo GET /v1/evaluation/jobs",
    "nemo GET /v1/evaluation/results/{result}",
)
def test_a_job_from_request_to_zip(nemo: NeMoMicroservices, url: str, target: Any, namespace: str, tmp_path: Path) -> None:
    job = nemo.evaluation.jobs.create(
        config=config(task(url, limit=6)), target=target, namespace=namespace, project="p", extra_body={"of_tomorrow": 1}
    )
    assert job.id[:5] == "eval-" and job.status == "created" and job.status_details.progress is None
    assert job.config.id.startswith("eval-config-") and job.target.id.startswith("eval-target-")
    dataset = job.config.tasks["custom-tool-calling"].dataset
    assert (dataset.version_id, dataset.files_url) == ("main", f"{url}/testing/rows.jsonl")

    seen = follow(lambda: nemo.evaluation.jobs.retrieve(job.id), seconds=600, pause=0.02)
    # NVIDIA's blueprint knows no other status.
    assert {one.status for one in seen} <= {"created", "running", "completed"}, seen[-1].status_details
    progress = [one.status_details.progress or 0.0 for one in seen]
    assert progress == sorted(progress) and progress[-1] == 100.0
    details = nemo.evaluation.jobs.status(job.id)
    assert (details.samples_processed, details.task_status) == (6, {"custom-tool-calling": "completed"})

    result = nemo.evaluation.jobs.results(job.id)
    scores = result.tasks["custom-tool-calling"].metrics["tool-calling-accuracy"].scores
    assert scores.keys() == {"function_name_accuracy", "function_name_and_args_accuracy"}
    for score in scores.values():
        assert 0 <= score.value <= 1 and (score.stats.count, score.stats.mean) == (6, score.value)
    assert nemo.evaluation.results.retrieve(result.id).job == job.id
    assert [one.id for one in nemo.evaluation.results.list(filter={"job_id": job.id})] == [result.id]
    nemo.evaluation.jobs.download_results(job.id).write_to_file(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert json.loads(archive.read("results.json"))["id"] == result.id
    logs = nemo.evaluation.jobs.with_raw_response.download_logs(job.id).read()
    assert zipfile.ZipFile(io.BytesIO(logs)).namelist()
    found = nemo.evaluation.jobs.list(filter={"namespace": namespace, "status": "completed"}, sort="-created_at")
    assert [one.id for one in found] == [job.id]
    nemo.evaluation.jobs.delete(job.id)
    with pytest.raises(NotFoundError):
        nemo.evaluation.jobs.retrieve(job.id)


@pytest.mark.usefixtures("local_home")  # the model answers on this machine
@covers("nemo POST /v1/evaluation/live")
@pytest.mark.parametrize(
    ("truth", "said", "scores"),
    [
        ([("a", {"n": 1}), ("b", {})], [("b", {}), ("a", {"n": 1})], (1, 1)),  # the order of calls plays no part
        ([("a", {"n": 1})], [("a", {"n": 2})], (1, 0)),
        ([("a", {"city": "Rome"})], [("a", {"city": "rome"})], (1, 0)),
        ([("a", {})], [], (0, 0)),
        ([("a", {})], "nonsense", (0, 0)),
    ],
)
def test_calls_are_compared_as_objects(nemo: NeMoMicroservices, truth: Any, said: Any, scores: Any) -> None:
    """Ground truth as objects, predictions as JSON strings; the rows come with the target."""
    said = [("a", said)] if isinstance(said, str) else [(name, json.dumps(value)) for name, value in said]
    expected = [{"function": {"name": name, "arguments": value}} for name, value in truth]
    row = {"messages": [{"role": "user", "content": "x"}], "tool_calls": expected}
    with Judge(NimReply(calls=tuple(said))) as model:
        rows = {"type": "chat-completion", "params": {"template": {"messages": TEMPLATE["messages"]}}}
        live = nemo.evaluation.live(
            config=config({**rows, "dataset": None, "metrics": {"m": TOOL_CALLING}}),
            target={"type": "model", "model": model.endpoint, "rows": [row]},
        )
    assert live.result is not None and live.result.tasks is not None, live.status_details
    found = live.result.tasks["custom-tool-calling"].metrics["m"].scores  # type: ignore[index]
    assert tuple(score.value for score in found.values()) == scores  # type: ignore[union-attr]


@pytest.mark.usefixtures("local_home")  # the model answers on this machine
@covers("nemo POST /v1/evaluation/live")
def test_what_a_row_does_not_have_is_not_asked(nemo: NeMoMicroservices) -> None:
    """NVIDIA's blueprint names fields that only some of its rows have."""
    whole = {"tools": TOOLS, "tool_choice": "required", "nvext": {"top_k": 1}}
    said: Any = {"messages": [{"role": "user", "content": "x"}]}
    template = {**TEMPLATE, "tool_choice": "{{ item.tool_choice }}", "nvext": "{{ item.nvext | tojson }}"}
    judged = {"m": {"type": "string-check", "params": {"check": ["{{ sample.output_text }}", "equals", "hi"]}}}
    with Judge(NimReply("hi")) as model:
        live = nemo.evaluation.live(
            config=config({"type": "chat-completion", "params": {"template": template}, "metrics": judged}, parallelism=1),
            target={"type": "model", "model": model.endpoint, "rows": [said, {**said, "tools": TOOLS}, said | whole]},
        )
        asked = [{key: body[key] for key in whole if key in body} for body in model.requests]
    assert live.status == "completed", live.status_details
    assert asked == [{}, {"tools": TOOLS}, whole]


@covers("nemo POST /v1/evaluation/live")
def test_metrics_of_texts(nemo: NeMoMicroservices) -> None:
    """Rows that are there already are scored without a model."""
    rows = [
        {"said": "The cat sat on the mat.", "true": "the cat sat on the mat", "number": "3.05"},
        {"said": "A dog", "true": "the dog barks loudly today", "number": "none"},
    ]
    expected: Any = {"ground_truth": "{{ item.true }}", "candidate": "{{ item.said }}"}
    metrics: Any = {name: {"type": name, "params": expected} for name in ("rouge", "f1", "em")}
    metrics["bleu"] = {"type": "bleu", "params": {"references": ["{{ item.true }}"], "candidate": "{{ item.said | lower }}"}}
    metrics["check"] = {"type": "string-check", "params": {"check": ["{{ item.said | lower }}", "contains", "cat"]}}
    metrics["near"] = {
        "type": "number-check",
        "params": {"check": ["absolute difference", "{{ item.number }}", "3", "epsilon", 0.1]},
    }
    live = nemo.evaluation.live(config=config({"type": "data", "metrics": metrics}), target={"type": "rows", "rows": rows})
    assert live.status == "completed" and live.result is not None, live.status_details
    found = live.result.tasks["custom-tool-calling"].metrics  # type: ignore[index]
    values = {name: {score: round(one.value, 3) for score, one in metric.scores.items()} for name, metric in found.items()}  # type: ignore[union-attr]
    assert values["f1"] == {"f1_score": 0.7} and values["em"] == {"em_score": 0.5}  # 1 and 2 * 1 / (1 + 4)
    assert values["rouge"].keys() == {"rouge_1_score", "rouge_2_score", "rouge_3_score", "rouge_L_score"}
    assert values["rouge"]["rouge_1_score"] == round((1 + 2 * 1 / (2 + 5)) / 2, 3)
    assert values["bleu"].keys() == {"sentence", "corpus"} and 40 < values["bleu"]["sentence"] < 60
    assert (values["check"]["string-check"], values["near"]["number-check"]) == (0.5, 0.5)


@pytest.mark.usefixtures("local_home")  # the judge answers on this machine
@covers("nemo POST /v1/evaluation/live")
def test_a_judge_gives_numbers(nemo: NeMoMicroservices, services: Services, target: Any) -> None:
    rows = [{"request": {"messages": [{"role": "user", "content": "hello"}]}, "said": "hi"}]
    prompt = "Q: {{ item.request.messages[-1].content }} A: {{ sample.output_text }} {{ item.said }}"
    ratings: Any = {
        "rating": {"type": "int", "parser": {"type": "regex", "pattern": r"RATING:\s*(\d+)"}},
        "similarity": {"type": "int", "parser": {"type": "regex", "pattern": r"(\d)"}},
        "sure": {"type": "float", "parser": {"type": "json", "json_path": "sure"}},
        "absent": {"type": "int", "parser": {"type": "regex", "pattern": "NONE: (.*)"}},
    }
    with Judge(NimReply('RATING: 10 {"sure": 0.5}')) as judge:
        params = {
            "model": judge.endpoint,
            "template": {"messages": [{"role": "system", "content": "Rate."}, {"role": "user", "content": prompt}]},
            "scores": ratings,
        }
        asked = {"type": "chat-completion", "params": {"template": {"messages": "{{ item.request.messages | tojson }}"}}}
        live = nemo.evaluation.live(
            config=config({**asked, "metrics": {"correctness": {"type": "llm-judge", "params": params}}}, max_tokens=4),
            target={**target, "rows": rows},
        )
        assert live.result is not None, live.status_details
        asked_of = judge.requests[0]["messages"]
    assert asked_of[1]["content"].startswith("Q: hello A: ") and asked_of[1]["content"].endswith(" hi")
    scores = live.result.tasks["custom-tool-calling"].metrics["correctness"].scores  # type: ignore[index]
    assert scores is not None and {name: score.value for name, score in scores.items()} == {
        "rating": 10.0,
        "similarity": 1.0,  # one digit, as NVIDIA's blueprint reads it
        "sure": 0.5,
        "absent": 0.0,
    }
    assert scores["absent"].stats is not None and scores["absent"].stats.nan_count == 1


@covers("nemo POST /v1/evaluation/live")
def test_a_served_model_judges_and_completes(nemo: NeMoMicroservices, services: Services, target: Any) -> None:
    judge = {
        "model": services.base_model,
        "template": {"messages": [{"role": "user", "content": "Rate: {{ sample.output_text }}"}], "max_tokens": 4},
        "scores": {"rating": {"type": "int", "parser": {"type": "regex", "pattern": r"(\d+)"}}},
    }
    tasks = {"type": "completion", "params": {"template": {"prompt": "Say {{ item.word }}", "max_tokens": 4}}}
    live = nemo.evaluation.live(
        config=config({**tasks, "metrics": {"m": {"type": "llm-judge", "params": judge}}}),
        target={**target, "rows": [{"word": "hello"}]},
    )
    assert live.status == "completed", live.status_details
    assert live.result.tasks["custom-tool-calling"].metrics["m"].scores["rating"].stats.count in (0, 1)  # type: ignore


@covers(
    *(f"nemo {method} /v1/evaluation/configs{path}" for method, path in CRUD),
    *(f"nemo {method} /v1/evaluation/targets{path}" for method, path in CRUD),
    CREATE,
)
def test_configs_and_targets_by_name(nemo: NeMoMicroservices, url: str, target: Any, namespace: str) -> None:
    named = nemo.evaluation.configs.create(**config(task(url)), name="mine", namespace=namespace)
    nemo.evaluation.targets.create(**target, name="base", namespace=namespace)
    with pytest.raises(ConflictError):
        nemo.evaluation.configs.create(**config(task(url)), name="mine", namespace=namespace)
    assert nemo.evaluation.configs.retrieve("mine", namespace=namespace).id == named.id
    assert nemo.evaluation.configs.update("mine", path_namespace=namespace, description="d").description == "d"
    assert nemo.evaluation.targets.update("base", namespace=namespace, description="d").description == "d"
    assert [one.name for one in nemo.evaluation.configs.list(filter={"namespace": namespace})] == ["mine"]
    assert [one.name for one in nemo.evaluation.targets.list(filter={"namespace": namespace})] == ["base"]
    job = nemo.evaluation.jobs.create(config=f"{namespace}/mine", target=f"{namespace}/base")
    assert (job.config.id, job.target.name) == (named.id, "base")
    assert follow(lambda: nemo.evaluation.jobs.retrieve(job.id), seconds=600)[-1].status == "completed"
    found = nemo.evaluation.jobs.list(filter={"config": f"{namespace}/mine", "target": f"{namespace}/base"})
    assert [one.id for one in found] == [job.id]
    # What was shown may be sent back, its nulls included.
    shown: Any = [
        nemo.evaluation.configs.retrieve("mine", namespace=namespace),
        nemo.evaluation.targets.retrieve("base", namespace=namespace),
    ]
    again = nemo.evaluation.jobs.create(config=shown[0].to_dict(), target=shown[1].to_dict())
    assert (again.config.id, again.target.id) == (shown[0].id, shown[1].id)
    nemo.evaluation.jobs.cancel(again.id)
    nemo.evaluation.configs.delete("mine", namespace=namespace)
    nemo.evaluation.targets.delete("base", namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.evaluation.targets.retrieve("base", namespace=namespace)
    with pytest.raises(NotFoundError):
        nemo.evaluation.jobs.create(config=f"{namespace}/mine", target=target)


@covers(
    *(f"nemo {method} /v1/evaluation/results{path}" for method, path in
      [("POST", ""), ("GET", ""), ("GET", "/{result}"), ("PATCH", "/{result}"), ("DELETE", "/{result}")])
)  # fmt: skip
def test_results_that_a_client_writes_down(nemo: NeMoMicroservices, namespace: str) -> None:
    result = nemo.evaluation.results.create(job="eval-x", tasks={}, namespace=namespace)
    assert nemo.evaluation.results.retrieve(str(result.id)).job == "eval-x"
    assert nemo.evaluation.results.update(str(result.id), description="by hand").description == "by hand"
    assert [found.id for found in nemo.evaluation.results.list(filter={"namespace": namespace})] == [result.id]
    nemo.evaluation.results.delete(str(result.id))
    with pytest.raises(NotFoundError):
        nemo.evaluation.results.retrieve(str(result.id))


@covers(CREATE, JOB.format("POST") + "/cancel")
def test_cancel(nemo: NeMoMicroservices, url: str, target: Any) -> None:
    long = {**target, "rows": evaluation_rows(400)}
    job = nemo.evaluation.jobs.create(config=config({**task(url), "dataset": None}, parallelism=1), target=long)
    nemo.evaluation.jobs.cancel(job.id)
    assert follow(lambda: nemo.evaluation.jobs.retrieve(job.id))[-1].status in ("cancelled", "cancelling")
    with pytest.raises((ConflictError, UnprocessableEntityError)):
        nemo.evaluation.jobs.cancel(job.id)


@covers(CREATE, JOB.format("GET") + "/results")
def test_what_is_missing_is_the_reason(nemo: NeMoMicroservices, url: str, target: Any, namespace: str) -> None:
    gone = f"hf://datasets/{namespace}/gone"
    away: Any = {"type": "model", "model": {"api_endpoint": {"url": "http://127.0.0.1:9/v1", "model_id": "x"}}}
    cases = [
        (config(task(gone)), target, "is not present on datastore"),
        (config(task(url)), {"type": "model", "model": "no/such@v1"}, "no/such@v1"),
        (config(task(url), max_retries=0), away, "unreachable"),
    ]
    for whole, whom, reason in cases:
        job = nemo.evaluation.jobs.create(config=whole, target=whom)
        over = follow(lambda job=job: nemo.evaluation.jobs.retrieve(job.id))[-1]  # type: ignore[misc]
        assert over.status == "failed" and reason in over.status_details.message, over.status_details
        with pytest.raises(NotFoundError):
            nemo.evaluation.jobs.results(job.id)


@covers(CREATE)
@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"m": {"type": "llm-judge", "params": {}}}},
        {"metrics": {"m": {"type": "bleu", "params": {}}}},
        {"metrics": {"m": {"type": "of-tomorrow", "params": {}}}},
        {"metrics": {}},
        {"params": {"template": {}}},
        {"type": "completion"},
        {"type": "retriever"},
    ],
)
def test_what_cannot_be_run_is_refused(nemo: NeMoMicroservices, url: str, target: Any, changes: dict[str, Any]) -> None:
    with pytest.raises(UnprocessableEntityError):
        nemo.evaluation.jobs.create(config=config(task(url, **changes)), target=target)


@covers("nemo POST /v1/evaluation/live")
@pytest.mark.parametrize(
    "template",
    ["{{ ''.__class__.__mro__ }}", "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{% include '/etc/passwd' %}"],
)
def test_templates_stay_in_their_sandbox(nemo: NeMoMicroservices, target: Any, template: str) -> None:
    asked = {"type": "chat-completion", "params": {"template": {"messages": template}}, "metrics": {"m": TOOL_CALLING}}
    live = nemo.evaluation.live(config=config(asked), target={**target, "rows": evaluation_rows(1)})
    assert live.status == "failed" and live.status_details is not None and "template" in str(live.status_details.message)
