"""Evaluation jobs through NVIDIA's SDK against the real platform, and the templates that make requests of rows."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import connect, fresh_namespace, post, upload
from nemo_microservices import ConflictError, NeMoMicroservices, NotFoundError

from flywheel.local.evaluation import Task
from flywheel.local.evaluation_task import request_body, scored
from flywheel.local.evaluator import Evaluator
from flywheel.local.repos import Repos
from flywheel.local.state import State
from flywheel.local.templates import TaskError
from tests.conftest import Platform
from tests.platform_rows import TOOLS, evaluation_rows

BASE = "local/tool-llama-5m"
TARGET = {"type": "model", "model": BASE}
TEMPLATE = {"messages": "{{ item.messages | tojson}}", "tools": "{{ item.tools | tojson }}", "tool_choice": "auto"}
METRIC = {"type": "tool-calling", "params": {"tool_calls_ground_truth": "{{ item.tool_calls | tojson }}"}}


def task(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "type": "chat-completion",
        "dataset": {"files_url": f"{url}/testing/rows.jsonl"},
        "params": {"template": TEMPLATE},
        "metrics": {"tool-calling-accuracy": METRIC},
        **changes,
    }


def config(url: str, params: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    limits = {"max_tokens": 48, **(params or {})}
    return {"type": "custom", "tasks": {"custom-tool-calling": task(url, **changes)}, "params": limits}


@pytest.fixture
def nemo(platform: Platform) -> Iterator[NeMoMicroservices]:
    with connect(platform) as client:
        yield client


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Six questions that a call answers, two that none does."""
    chat = {"messages": [{"role": "user", "content": "thanks, you are kind"}], "tools": TOOLS, "tool_calls": []}
    return [*evaluation_rows(6), chat, chat]


@pytest.fixture
def url(platform: Platform, rows: list[dict[str, Any]]) -> str:
    return upload(platform, fresh_namespace(), {"testing/rows.jsonl": rows})


def follow(nemo: NeMoMicroservices, job_id: str, seconds: float = 90) -> list[Any]:
    """Every different state of a job until it is over."""
    seen: list[Any] = []
    deadline = time.monotonic() + seconds
    while not seen or seen[-1].status in ("created", "pending", "running"):
        assert time.monotonic() < deadline, seen[-1]
        job = nemo.evaluation.jobs.retrieve(job_id)
        if not seen or job != seen[-1]:
            seen.append(job)
        time.sleep(0.02)
    return seen


def evaluate(nemo: NeMoMicroservices, config: Any, target: Any = TARGET) -> Any:
    """A job that is over."""
    return follow(nemo, nemo.evaluation.jobs.create(config=config, target=target).id)[-1]


def unpack(nemo: NeMoMicroservices, job_id: str) -> tuple[Any, list[Any]]:
    """results.json and the rows of rows.jsonl."""
    archive = zipfile.ZipFile(io.BytesIO(nemo.evaluation.jobs.download_results(job_id).read()))
    assert sorted(archive.namelist()) == ["results.json", "rows.jsonl"]
    lines = archive.read("rows.jsonl").decode().splitlines()
    return json.loads(archive.read("results.json")), [json.loads(line) for line in lines]


def test_scores_and_paired_rows(nemo: NeMoMicroservices, url: str, rows: list[dict[str, Any]]) -> None:
    created = nemo.evaluation.jobs.create(config=config(url), target=TARGET)
    assert created.status == "created" and created.status_details.progress is None
    assert created.config.id.startswith("eval-config-") and created.target.id.startswith("eval-target-")
    dataset = created.config.tasks["custom-tool-calling"].dataset
    assert dataset.id.startswith("dataset-") and dataset.version_id == "main"

    seen = follow(nemo, created.id)
    assert {job.status for job in seen} <= {"created", "running", "completed"}
    progress = [job.status_details.progress or 0.0 for job in seen]
    assert progress == sorted(progress) and progress[-1] == 100.0
    details = nemo.evaluation.jobs.status(created.id)
    assert details.samples_processed == 8 and details.task_status == {"custom-tool-calling": "completed"}

    result = nemo.evaluation.jobs.results(created.id)
    assert result.job == created.id and result.groups == {} and result.files_url is None
    scores = result.tasks["custom-tool-calling"].metrics["tool-calling-accuracy"].scores
    packed, lines = unpack(nemo, created.id)
    assert [line["index"] for line in lines] == list(range(8))
    assert [line["item"] for line in lines] == rows
    assert all(line["task"] == "custom-tool-calling" and line["error"] is None for line in lines)
    for name in ("function_name_accuracy", "function_name_and_args_accuracy"):
        values = [line["scores"][name] for line in lines]
        assert set(values) <= {0, 1}
        assert scores[name].value == pytest.approx(sum(values) / 8) == scores[name].stats.mean
        assert (scores[name].stats.count, scores[name].stats.sum) == (8, sum(values))
    for line in lines:
        called = [call["function"]["name"] for call in line["response"].get("tool_calls") or []]
        wanted = [call["function"]["name"] for call in line["item"]["tool_calls"]]
        assert line["scores"]["function_name_accuracy"] == int(called == wanted)
    assert packed["id"] == result.id
    assert nemo.evaluation.results.retrieve(result.id).tasks == result.tasks


def test_limits_named_parts_and_string_check(nemo: NeMoMicroservices, url: str) -> None:
    namespace = fresh_namespace()
    role = "{{ sample.response.choices[0].message.role }}"
    check = {"type": "string-check", "params": {"check": [role, "equals", "assistant"]}}
    whole = config(url, dataset={"files_url": f"{url}/testing", "limit": 3}, metrics={"calls": METRIC, "role": check})
    nemo.evaluation.configs.create(**whole, namespace=namespace, name="mine")
    nemo.evaluation.targets.create(**TARGET, namespace=namespace, name="base")
    job = evaluate(nemo, f"{namespace}/mine", f"{namespace}/base")
    assert job.status == "completed", job.status_details
    assert (job.config.name, job.target.name) == ("mine", "base")
    metrics = nemo.evaluation.jobs.results(job.id).tasks["custom-tool-calling"].metrics
    assert metrics["role"].scores["string-check"].value == 1.0
    assert metrics["calls"].scores["function_name_accuracy"].stats.count == 3
    assert set(unpack(nemo, job.id)[1][0]["scores"]) == {
        "function_name_accuracy",
        "function_name_and_args_accuracy",
        "string-check",
    }


def test_two_tasks_and_an_endpoint_of_ones_own(platform: Platform, nemo: NeMoMicroservices, url: str) -> None:
    endpoint = {"url": f"{platform.nim_url}/v1/chat/completions", "model_id": BASE}
    tasks = {name: task(url, dataset={"files_url": f"{url}/testing/rows.jsonl", "limit": 2}) for name in ("one", "two")}
    whole = {"type": "custom", "tasks": tasks, "params": {"max_tokens": 8}}
    job = evaluate(nemo, whole, {"type": "model", "model": {"api_endpoint": endpoint}})
    assert job.status == "completed", job.status_details
    places = [(line["task"], line["index"]) for line in unpack(nemo, job.id)[1]]
    assert places == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
    assert set(nemo.evaluation.jobs.results(job.id).tasks) == {"one", "two"}


def test_a_row_that_the_model_cannot_take_scores_zero(platform: Platform, nemo: NeMoMicroservices) -> None:
    long = {"messages": [{"role": "user", "content": "word " * 3000}], "tools": TOOLS, "tool_calls": []}
    url = upload(platform, fresh_namespace(), {"testing/rows.jsonl": [*evaluation_rows(1), long]})
    job = evaluate(nemo, config(url))
    assert job.status == "completed"
    assert job.status_details.message == "Evaluation completed; 1 of 2 rows were refused and score 0"
    line = unpack(nemo, job.id)[1][1]
    assert line["response"] is None and "tokens" in line["error"]
    assert set(line["scores"].values()) == {0}


def test_what_is_missing_is_the_reason(platform: Platform, nemo: NeMoMicroservices, url: str) -> None:
    gone = url.rsplit("/", 1)[0] + "/gone"
    unreachable = {"type": "model", "model": {"api_endpoint": {"url": "http://127.0.0.1:9/v1", "model_id": "x"}}}
    quick = {"max_retries": 0, "request_timeout": 5}
    cases = [
        (config(gone), TARGET, f"Dataset {gone}/testing/rows.jsonl is not present on datastore"),
        (config(url, dataset={"files_url": f"{url}/testing/no.jsonl"}), TARGET, "is not present on datastore"),
        (config(url, dataset="no/such"), TARGET, "Dataset no/such does not exist in the Entity Store"),
        (config(url, dataset={"files_url": "/etc/passwd"}), TARGET, "is not the address of a data set"),
        (config(url), {"type": "model", "model": "no/such@v1"}, "the model 'no/such@v1' cannot be asked"),
        (config(url, params=quick), unreachable, "http://127.0.0.1:9/v1/chat/completions is unreachable: ConnectError"),
    ]
    for whole, target, reason in cases:
        job = evaluate(nemo, whole, target)
        assert job.status == "failed"
        assert reason in str(job.status_details.message), job.status_details
        assert job.status_details.task_status == {"custom-tool-calling": "failed"}
        with pytest.raises(NotFoundError, match="has no results: it is failed"):
            nemo.evaluation.jobs.results(job.id)
    for changes in ({"config": "no/such"}, {"target": "no/such"}):
        reply = post(platform, "/v1/evaluation/jobs", {"config": config(url), "target": TARGET, **changes})
        assert reply.status_code == 404 and "'no/such' does not exist" in reply.json()["detail"]
    assert nemo.evaluation.jobs.download_logs(job.id)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"{}\nnonsense\n", "testing/rows.jsonl:2: not JSON"),
        (b"[]\n", "testing/rows.jsonl:1: a row must be a JSON object"),
        (b"\n", "holds no rows"),
        (json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode(), "row 1: .*tool_calls_ground_truth.*no attribute"),
        (json.dumps({"tool_calls": []}).encode(), "row 1: the template of 'messages' must render to a JSON list"),
        (json.dumps({"messages": [], "tool_calls": [{"nameless": 1}]}).encode(), "row 1: the ground truth .* cannot be read"),
    ],
)
def test_rows_that_cannot_be_evaluated(platform: Platform, nemo: NeMoMicroservices, lines: bytes, reason: str) -> None:
    job = evaluate(nemo, config(upload(platform, fresh_namespace(), {"testing/rows.jsonl": lines})))
    assert job.status == "failed"
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(job.status_details.message)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "mmlu"}, "type"),
        ({"tasks": {}}, "tasks"),
        ({"tasks": {"t": {**task("hf://datasets/a/b"), "metrics": {"m": {"type": "llm-judge", "params": {}}}}}}, "llm-judge"),
        ({"tasks": {"t": {**task("hf://datasets/a/b"), "params": {"template": {}}}}}, "messages"),
        ({"params": {"parallelism": 0}}, "parallelism"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(platform: Platform, change: dict[str, Any], field: str) -> None:
    whole = {**config("hf://datasets/a/b"), **change}
    reply = post(platform, "/v1/evaluation/jobs", {"config": whole, "target": TARGET})
    assert reply.status_code == 422 and field in reply.text


def test_cancel_and_delete(platform: Platform, nemo: NeMoMicroservices) -> None:
    url = upload(platform, fresh_namespace(), {"testing/rows.jsonl": evaluation_rows(400)})
    running = nemo.evaluation.jobs.create(config=config(url, params={"parallelism": 1}), target=TARGET)
    waiting = nemo.evaluation.jobs.create(config=config(url), target=TARGET)
    assert nemo.evaluation.jobs.retrieve(waiting.id).status == "created"
    for job in (waiting, running):
        nemo.evaluation.jobs.cancel(job.id)
        assert nemo.evaluation.jobs.retrieve(job.id).status == "cancelled"
    with pytest.raises(ConflictError):
        nemo.evaluation.jobs.cancel(running.id)
    done = evaluate(nemo, config(url, dataset={"files_url": url + "/testing/rows.jsonl", "limit": 1}))
    assert done.status == "completed"
    for job in (done, running):
        reply = httpx.delete(f"{platform.nemo_url}/v1/evaluation/jobs/{job.id}", trust_env=False)
        assert reply.status_code == 204 and reply.content == b""
        with pytest.raises(NotFoundError):
            nemo.evaluation.jobs.retrieve(job.id)
    assert not (platform.home / "evaluation" / done.id).exists()
    with pytest.raises(NotFoundError):
        nemo.evaluation.results.retrieve(str(done.result))


def test_live(platform: Platform, nemo: NeMoMicroservices, url: str) -> None:
    before = nemo.evaluation.jobs.list().data
    short = {"files_url": f"{url}/testing/rows.jsonl", "limit": 1}
    live = nemo.evaluation.live(config=config(url, dataset=short), target=TARGET)
    assert live.status == "completed" and live.result is not None
    assert set(live.result.tasks["custom-tool-calling"].metrics) == {"tool-calling-accuracy"}
    failed = nemo.evaluation.live(config=config(url), target={"type": "model", "model": "no/such"})
    assert failed.status == "failed" and "no/such" in failed.status_details.message
    assert nemo.evaluation.jobs.list().data == before


def test_a_job_that_a_stop_interrupted_is_run_again(platform: Platform, tmp_path: Path) -> None:
    """A second platform's state, whose evaluator asks the first one's models."""
    state = State(tmp_path)
    repos = Repos(state)
    repos.create("datasets", "ns", "rows")
    lines = "".join(json.dumps(row) + "\n" for row in evaluation_rows(3))
    repos.commit("datasets", "ns", "rows", {"testing/rows.jsonl": lines.encode()})
    stale = {"message": None, "progress": 66.0, "samples_processed": 2, "task_status": {"custom-tool-calling": "running"}}
    body = {"config": config("hf://datasets/ns/rows"), "target": TARGET, "result": None}
    job = state.create("evaluation_job", "default", None, {**body, "status": "running", "status_details": stale})

    async def run() -> None:
        evaluator = Evaluator(state, repos, platform.nim_url)
        await evaluator.start()
        async with asyncio.timeout(60):
            while (found := state.get_by_id("evaluation_job", job["id"])) and found["status"] == "running":
                await asyncio.sleep(0.05)
        await evaluator.stop()

    asyncio.run(run())
    found = state.get_by_id("evaluation_job", job["id"])
    assert found is not None and found["status"] == "completed", found
    assert found["status_details"]["samples_processed"] == 3
    assert [result["job"] for result in state.list("evaluation_result")[0]] == [job["id"]]
    state.close()


def make_task(template: dict[str, Any] | None = None, truth: str = "{{ item.calls | tojson }}") -> Task:
    metric = {"type": "tool-calling", "params": {"tool_calls_ground_truth": truth}}
    return Task.model_validate(task("hf://datasets/a/b", params={"template": template or TEMPLATE}, metrics={"m": metric}))


def test_a_row_becomes_a_request() -> None:
    row = {"messages": [{"role": "user", "content": "</script> é {{ 1 }}"}], "tools": TOOLS}
    assert request_body(make_task(), row) == {"messages": row["messages"], "tools": TOOLS, "tool_choice": "auto"}
    assert request_body(make_task(), {"messages": row["messages"]}) == {"messages": row["messages"]}
    said = [{"role": "user", "content": "say {{ item.word }}"}]
    parts = {"messages": said, "temperature": 0.5, "choice": "{{ item.pick | tojson }}"}
    assert request_body(make_task(parts), {"word": "hi", "pick": {"a": 1}}) == {
        "messages": [{"role": "user", "content": "say hi"}],
        "temperature": 0.5,
        "choice": {"a": 1},
    }


@pytest.mark.parametrize(
    "template",
    [
        "{{ item.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ item.messages.append(1) }}",
        "{{ range(10 ** 9) | list }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 'x'.center(10 ** 9) }}",
        "{{ 'x' | center(10 ** 9) }}",
        "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in item.messages recursive %}{{ loop(item.messages) }}{{ loop(item.messages) }}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% set ns = namespace(x='x') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% for x in %}",
        "{% set a = 'x' %}" + "{% set a = a ~ a %}" * 40 + "{{ a | length }}",
        "{% set a = 'x' %}" + "{% set a = a + a %}" * 40 + "{{ a }}",
        "{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
        "{% set a = 'x' %}" + "{% set a = a | replace('x', 'xxxxxxxxxxxxxxxx') %}" * 12 + "{{ a }}",
        "{% set a = 'xxxxxxxx' %}" + "{% set a = a.join(a) %}" * 12 + "{{ a }}",
        "{% set a %}{% for i in range(999) %}{% for j in range(999) %}xxxxxxxxxx{% endfor %}{% endfor %}{% endset %}{{ a }}",
        "{{ 1 / 0 }}",
        "{{ item.messages }}",
    ],
)
def test_templates_cannot_leave_their_sandbox(template: str) -> None:
    with pytest.raises(TaskError, match="template of 'messages'"):
        request_body(make_task({"messages": template}), {"messages": ["x"]})


def test_no_answer_scores_zero_even_where_no_call_is_right() -> None:
    silent = {"choices": [{"message": {"content": "no"}}]}
    assert scored(make_task(), {"calls": []}, silent)["m"] == {
        "function_name_accuracy": 1.0,
        "function_name_and_args_accuracy": 1.0,
    }
    assert set(scored(make_task(), {"calls": []}, None)["m"].values()) == {0.0}
