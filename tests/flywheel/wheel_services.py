"""NVIDIA's services for runs that are killed: jobs that end at once, answers that are right by plan, and memory of what came.

Outlives the processes that are killed, as real services would. Every job that was created is kept, so that a second one shows.
"""

from __future__ import annotations

import io
import json
import threading
import zipfile
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from tests.fakes import Reply, ScriptedServices

METRICS = ("function_name_accuracy", "function_name_and_args_accuracy")
CONFIG = {"namespace": "local", "name": "tool-llama-5m@v1.0.0+cpu", "training_options": []}


class WheelServices(ScriptedServices):
    """Takes everything; `trained` and `evaluated` hold the jobs in the order in which they were created.

    held: "training", "evaluation": jobs of that kind go on until it is taken out. right: label of an evaluation → the share of
    rows (the first of them) that are right; of others none. failing: how output models end whose job fails. cancelled: job ids.
    """

    def __init__(self, base: str) -> None:
        super().__init__()
        self.trained: list[dict[str, Any]] = []
        self.evaluated: list[dict[str, Any]] = []
        self.held: set[str] = set()
        self.right: dict[str, float] = {"candidate": 1.0, "sft": 1.0, "dpo": 1.0}
        self.failing: tuple[str, ...] = ()
        self.cancelled: list[str] = []
        self._base = base
        self._files: set[str] = set()
        self._lock = threading.Lock()

    def reply(self, method: str, target: str, headers: Message, body: bytes) -> Reply:
        """The answer to one request."""
        address = urlsplit(target)
        service, _, path = address.path.lstrip("/").partition("/")
        with self._lock:
            if "page=2" in address.query.split("&"):
                return 200, {"data": []}
            if service == "nim":
                return 200, {"object": "list", "data": [_listed(name) for name in self._models()]}
            if service == "nds":
                return self._data_store(method, path, body)
            if path.startswith("v1/customization/"):
                return self._customizer(method, path, body)
            if path.startswith("v1/evaluation/"):
                return self._evaluator(method, path, body)
            return 200, {"id": "x", "name": "x", "namespace": "flywheel", "files_url": "hf://datasets/flywheel/x"}

    def _models(self) -> list[str]:
        return [self._base, *(job["output_model"] for job in self.trained)]

    def _data_store(self, method: str, path: str, body: bytes) -> Reply:
        if path.endswith("/preupload/main"):
            asked = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]]
            return 200, {"files": asked}
        if path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            self._files |= {line["value"]["path"] for line in lines if line["key"] == "file"}
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": "", "hookOutput": ""}
        if "/tree/main" in path:
            return 200, [{"type": "file", "oid": "0" * 40, "size": 1, "path": name} for name in sorted(self._files)]
        return 200, {"url": "datasets/flywheel/x", "namespace": "flywheel"}

    def _customizer(self, method: str, path: str, body: bytes) -> Reply:
        if path.endswith("/configs"):
            return 200, {"data": [CONFIG]}
        if path.endswith("/cancel"):
            self.cancelled.append(path.split("/")[-2])
            return 200, {}
        if path.endswith("/status"):
            job = self.trained[int(path.split("/")[-2].removeprefix("cust-"))]
            if job["output_model"].endswith(self.failing):
                return 200, {"status": "failed", "status_logs": [{"message": "out of memory"}]}
            points = [{"step": step, "value": 2.0 - step, "timestamp": "2026-01-01T00:00:00"} for step in (0, 1)]
            losses = {"keys": ["train_loss", "val_loss"], "metrics": {"train_loss": points, "val_loss": points[1:]}}
            going = {"status": "running", "percentage_done": 50.0, "metrics": losses}
            done = {"status": "completed", "percentage_done": 100.0, "epochs_completed": 2, "metrics": losses, "tokens": 1000}
            return 200, going if "training" in self.held else done
        if method == "POST":
            job = {"id": f"cust-{len(self.trained)}", "output_model": json.loads(body)["output_model"], "status": "completed"}
            self.trained.append(job)
            return 200, job
        return 200, {"data": self.trained[::-1]}

    def _evaluator(self, method: str, path: str, body: bytes) -> Reply:
        if method == "POST":
            asked = json.loads(body)
            (task,) = asked["config"]["tasks"].values()
            job = {"id": f"eval-{len(self.evaluated)}", "description": asked["description"], "status": "completed"}
            share = self.right.get(asked["description"].rpartition("/")[2], 0)
            job |= {"rows": task["dataset"]["limit"], "right": round(share * task["dataset"]["limit"])}
            self.evaluated.append(job)
            return 200, job
        part = path.removeprefix("v1/evaluation/jobs").strip("/").split("/")
        if not part[0]:
            return 200, {"data": self.evaluated[::-1]}
        job = self.evaluated[int(part[0].removeprefix("eval-"))]
        return 200, _rows(job) if part[1:] else job | ({"status": "running"} if "evaluation" in self.held else {})


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "x"}


def _rows(job: dict[str, Any]) -> bytes:
    """The results' archive: so many rows right, the others wrong."""
    lines = [json.dumps({"scores": dict.fromkeys(METRICS, int(row < job["right"]))}) for row in range(job["rows"])]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("rows.jsonl", "\n".join(lines))
    return archive.getvalue()
