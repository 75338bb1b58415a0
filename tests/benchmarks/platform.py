"""The local platform as its clients meet it, in one run: `python -m tests.benchmarks.platform`.

Starts `flywheel local` in a fresh folder and goes over HTTP only: an evaluation of 50 rows (NVIDIA's tutorial recorded 231 s for
one), an upload of 10,000 rows through the hub's client, 8 chat requests at once against one at a time, and two adapters asked in
turn against one of them. Every time stands beside its baseline. Does not judge what is answered.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import HfApi
from nemo_microservices import NeMoMicroservices

from flywheel.settings import LOCAL_BASE_MODEL
from tests.benchmarks import wheel
from tests.benchmarks.machine import facts, interleaved, milliseconds, note, ratio, table
from tests.benchmarks.questions import rows, schemas, turns

RECORDED_SECONDS = 231.0
"""NVIDIA's evaluation of 50 rows, as its tutorial shows it, on its own hardware."""
EVALUATED, UPLOADED, TOGETHER, TRAINED = 50, 10_000, 8, 64
NAMESPACE, DATASET = "benchmark", "rows"
TRAINING = {"training_type": "sft", "finetuning_type": "lora", "epochs": 1, "batch_size": 16, "lora": {"adapter_dim": 8}}

Line = tuple[str, str, str, str, str]
"""What, its time, the baseline, the baseline's time, the ratio."""


class Served:
    """A running platform and NVIDIA's clients of it."""

    def __init__(self, nemo_url: str, nds_url: str, nim_url: str) -> None:
        self.nemo = NeMoMicroservices(base_url=nemo_url, inference_base_url=nim_url, max_retries=0)
        self.hub = HfApi(endpoint=f"{nds_url}/v1/hf", token="unused")
        self._http = httpx.Client(base_url=nim_url, timeout=300, trust_env=False)
        self._questions = turns()

    def close(self) -> None:
        """Close what it opened."""
        self.nemo.close()
        self._http.close()

    def ask(self, model: str) -> None:
        """One new question with all tools on offer, answered by a call."""
        asked = [{"role": "user", "content": next(self._questions)[0]}]
        body = {"model": model, "messages": asked, "tools": schemas(), "tool_choice": "required", "max_tokens": 40}
        self._http.post("/v1/chat/completions", json=body).raise_for_status()

    def ask_all(self, models: Iterable[str], at_once: int = 1) -> None:
        """A question to each, so many at a time."""
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self.ask, models))

    def wait(self, look: Any) -> Any:
        """The job once it has ended well."""
        while (job := look()).status in ("created", "pending", "running"):
            time.sleep(0.2)
        assert job.status == "completed", job
        return job


@contextmanager
def platform(home: Path) -> Iterator[Served]:
    """`flywheel local`, ready to answer."""
    command, env = [sys.executable, "-m", "flywheel.local", "--home", str(home), "--port", "0", "--json"], wheel.environment(home)
    with (
        (home.parent / "platform.log").open("w") as log,
        wheel.started(command, env, stdout=subprocess.PIPE, stderr=log) as child,
    ):
        assert child.stdout is not None
        urls = json.loads(child.stdout.readline())
        served = Served(urls["nemo_url"], urls["nds_url"], urls["nim_url"])
        try:
            yield served
        finally:
            served.close()


def put(served: Served, files: dict[str, bytes], name: str) -> None:
    """Upload files as one commit to a new data set."""
    served.hub.create_repo(f"{NAMESPACE}/{name}", repo_type="dataset", exist_ok=True)
    for path, content in files.items():
        served.hub.upload_file(
            path_or_fileobj=io.BytesIO(content), path_in_repo=path, repo_id=f"{NAMESPACE}/{name}", repo_type="dataset"
        )


def lines(found: Iterable[dict[str, Any]]) -> bytes:
    """JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in found).encode()


def upload(served: Served, folder: Path, count: int) -> Line:
    """Many rows to the Data Store, against the same bytes written to this disk."""
    content = lines(rows(count))

    def write() -> None:
        with (folder / "plain").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    sent = milliseconds(partial(put, served, {"training/training.jsonl": content}, "many"))
    what = f"upload of {count:,} rows ({len(content) / 1e6:.0f} MB)"
    return _line(what, sent, "the same bytes to the disk", milliseconds(write))


def evaluate(served: Served, count: int) -> Line:
    """An evaluation job of tool calls, from its creation to its result."""
    made = [
        {"messages": row["messages"][:1], "tools": row["tools"], "tool_calls": row["messages"][-1].get("tool_calls", [])}
        for row in rows(count)
    ]
    put(served, {"testing/rows.jsonl": lines(made)}, "testing")
    template = {"messages": "{{ item.messages | tojson }}", "tools": "{{ item.tools | tojson }}", "tool_choice": "auto"}
    metric = {"type": "tool-calling", "params": {"tool_calls_ground_truth": "{{ item.tool_calls | tojson }}"}}
    task = {"type": "chat-completion", "params": {"template": template}, "metrics": {"m": metric},
            "dataset": {"files_url": f"hf://datasets/{NAMESPACE}/testing/testing/rows.jsonl", "limit": count}}  # fmt: skip

    def whole() -> None:
        config: Any = {"type": "custom", "tasks": {"t": task}}
        job = served.nemo.evaluation.jobs.create(config=config, target={"type": "model", "model": LOCAL_BASE_MODEL})
        served.wait(lambda: served.nemo.evaluation.jobs.retrieve(str(job.id)))

    return _line(f"evaluation of {count} rows", milliseconds(whole), "NVIDIA's, as recorded", RECORDED_SECONDS * 1000)


def train(served: Served, number: int) -> str:
    """A small adapter; returns its model's id."""
    output = f"{NAMESPACE}/adapter-{number}@v1"
    made: Any = served.nemo.customization.jobs.create(
        config=f"{LOCAL_BASE_MODEL}@v1.0.0+cpu", dataset={"name": DATASET, "namespace": NAMESPACE}, output_model=output,
        hyperparameters={**TRAINING, "learning_rate": 1e-4 * (number + 1)},  # type: ignore[typeddict-item]
    )  # fmt: skip
    served.wait(lambda: served.nemo.customization.jobs.retrieve(made.id))
    return output


def adapters(served: Served) -> list[str]:
    """Two of them, one after the other."""
    put(served, {"training/training.jsonl": lines(rows(TRAINED)), "validation/v.jsonl": lines(islice(rows(TRAINED), 8))}, DATASET)
    served.nemo.datasets.create(name=DATASET, namespace=NAMESPACE, files_url=f"hf://datasets/{NAMESPACE}/{DATASET}")
    return [train(served, number) for number in range(2)]


def chats(served: Served, models: list[str], repeats: int) -> list[Line]:
    """Requests at once and one at a time; one adapter, and two in turn."""
    first, second = models
    served.ask_all([LOCAL_BASE_MODEL, *models] * 2)  # grammar and prompts' beginnings are known then
    found = interleaved(
        {
            "serial": lambda: served.ask_all([LOCAL_BASE_MODEL] * TOGETHER),
            "together": lambda: served.ask_all([LOCAL_BASE_MODEL] * TOGETHER, TOGETHER),
            "same": lambda: served.ask_all([first] * TOGETHER),
            "turns": lambda: served.ask_all([first, second] * (TOGETHER // 2)),
        },
        repeats,
    )
    return [
        _line(f"{TOGETHER} chat requests at once", found["together"], "one at a time", found["serial"]),
        _line(f"{TOGETHER} chat requests, the adapter switched each time", found["turns"], "to one adapter", found["same"]),
    ]


def _line(what: str, taken: float, other: str, baseline: float) -> Line:
    return what, f"{taken / 1000:.2f} s", other, f"{baseline / 1000:.2f} s", ratio(taken, baseline)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the local platform as its clients meet it.")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of the chat requests, of which the median is shown")
    parser.add_argument("--rows", type=int, default=UPLOADED, help="rows of the upload")
    options = parser.parse_args()
    machine = facts()
    with tempfile.TemporaryDirectory() as folder, platform(Path(folder) / "home") as served:
        note("uploading ...")
        found = [upload(served, Path(folder), options.rows)]
        note("evaluating ...")
        found.insert(0, evaluate(served, EVALUATED))
        note("training two adapters ...")
        models = adapters(served)
        note("asking ...")
        found += chats(served, models, options.repeats)
    print(f"{machine}\n\n{table(['what', 'time', 'baseline', 'its time', 'ratio'], found)}")


if __name__ == "__main__":
    main()
