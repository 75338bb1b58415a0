"""Records what one version of huggingface_hub sends to a Data Store, for test_contract_wire to send again.

Not a test. Run it in a throw-away virtual environment that holds that version and nothing of ours, on a fresh local platform:

    python -m venv ../hub && ../hub/bin/pip install huggingface_hub==0.36.0
    .venv/bin/python -m flywheel.local --home ../hub/home --port 8700 &
    ../hub/bin/python tests/contract/record_wire.py http://127.0.0.1:8700/nds tests/contract/wire_0_36_0.json
"""

from __future__ import annotations

import io
import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download

NAMESPACE = "recorded-ns"
REPO = f"{NAMESPACE}/rows"
KEPT_HEADERS = ("content-type", "range", "user-agent")


class Recorder:
    """The requests of every step, with the status of their answers."""

    def __init__(self, nds_url: str) -> None:
        self.steps: list[dict[str, Any]] = []
        self._nds_url = nds_url
        self._requests: list[dict[str, Any]] = []
        if huggingface_hub.__version__.startswith("0."):
            self._listen_to_requests()
        else:
            self._listen_to_httpx()

    def step(self, name: str, act: Callable[[], Any]) -> None:
        """Do something with the client, and keep what it sent and what it raised."""
        self._requests = []
        raised = None
        try:
            act()
        except Exception as error:
            raised = type(error).__name__
        self.steps.append({"step": name, **({"raised": raised} if raised else {}), "requests": self._requests})

    def note(self, method: str, url: str, headers: Any, body: bytes | str | None, status: int) -> None:
        """Keep one exchange; commit ids differ from run to run and become `{sha}`."""
        text = body.decode() if isinstance(body, bytes) else body or ""
        kept = {name: headers[name] for name in KEPT_HEADERS if headers.get(name)}
        path = re.sub(r"\b[0-9a-f]{40}\b", "{sha}", url.removeprefix(self._nds_url))
        self._requests.append({"method": method, "path": path, "headers": kept, "body": text, "status": status})

    def _listen_to_requests(self) -> None:
        import requests  # the client of huggingface_hub before 1.0

        recorder = self

        class Adapter(requests.adapters.HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> Any:
                reply = super().send(request, *args, **options)
                recorder.note(request.method, request.url, request.headers, request.body, reply.status_code)
                return reply

        def backend() -> requests.Session:
            session = requests.Session()
            session.mount("http://", Adapter())
            return session

        huggingface_hub.configure_http_backend(backend)

    def _listen_to_httpx(self) -> None:
        import httpx

        def heard(reply: httpx.Response) -> None:
            request = reply.request
            self.note(request.method, str(request.url), request.headers, request.read(), reply.status_code)

        huggingface_hub.set_client_factory(lambda: httpx.Client(event_hooks={"response": [heard]}, follow_redirects=True))


def steps(recorder: Recorder, endpoint: str, folder: Path) -> None:
    """All that NVIDIA's tutorials and this application do with the client, and the rest of what people do."""
    api, step, data = HfApi(endpoint=endpoint, token="unused"), recorder.step, {"repo_type": "dataset"}

    def put(path: str, content: Any, **options: Any) -> None:
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=REPO, **{**data, **options})

    def get(path: str, cache: str, **options: Any) -> None:
        hf_hub_download(REPO, path, endpoint=endpoint, cache_dir=folder / cache, **{**data, **options})

    def part() -> None:
        with HfFileSystem(endpoint=endpoint, token="unused").open(f"datasets/{REPO}/training/a.jsonl", "rb") as file:
            file.seek(2)
            file.read(3)

    step("create a repo", lambda: api.create_repo(REPO, **data))
    step("create it again", lambda: api.create_repo(REPO, **data))
    step("create it again, exist_ok", lambda: api.create_repo(REPO, exist_ok=True, **data))
    step("upload bytes", lambda: put("training/a.jsonl", b'{"a": 1}\n'))
    step("download", lambda: get("training/a.jsonl", "data"))
    (folder / "b.jsonl").write_bytes(b'{"b": 1}\n')
    step("upload a file by its path", lambda: put("validation/b.jsonl", str(folder / "b.jsonl")))
    step("upload an open file", lambda: put("training/a.jsonl", io.BytesIO(b'{"a": 2}\n')))
    step("upload the same again", lambda: put("training/a.jsonl", b'{"a": 2}\n'))
    step("download the new one", lambda: get("training/a.jsonl", "data"))
    (folder / "f").mkdir()
    (folder / "f" / "README.md").write_text("---\nlicense: mit\n---\n# x\n", encoding="utf-8")
    (folder / "f" / "t.txt").write_text("t", encoding="utf-8")
    step("upload a folder", lambda: api.upload_folder(folder_path=folder / "f", repo_id=REPO, **data))
    step("list the files", lambda: api.list_repo_files(REPO, **data))
    step("look at the repo", lambda: api.dataset_info(REPO))
    step("look at paths", lambda: api.get_paths_info(REPO, ["training/a.jsonl", "validation"], **data))
    step("ask for a file that is there", lambda: api.file_exists(REPO, "t.txt", **data))
    step("ask for a file that is not", lambda: api.file_exists(REPO, "none.txt", **data))
    step("list the references", lambda: api.list_repo_refs(REPO, **data))
    step("list the commits", lambda: api.list_repo_commits(REPO, **data))
    step("take a snapshot", lambda: snapshot_download(REPO, endpoint=endpoint, cache_dir=folder / "snapshot", **data))
    step("read a part", part)
    step("delete a file", lambda: api.delete_file("t.txt", REPO, **data))
    step("delete a folder", lambda: api.delete_folder("validation", REPO, **data))
    step("list the data sets", lambda: list(api.list_datasets(author=NAMESPACE)))
    step("create a model repo", lambda: api.create_repo(REPO))
    step("upload to it", lambda: put("weights", b"12345", repo_type="model"))
    step("download from it", lambda: get("weights", "model", repo_type="model"))
    step("delete both", lambda: (api.delete_repo(REPO), api.delete_repo(REPO, **data)))
    step("delete what is gone", lambda: api.delete_repo(REPO, **data))


def main(nds_url: str, target: str) -> None:
    """Record everything into a JSON file, one step a line."""
    recorder = Recorder(nds_url)
    with tempfile.TemporaryDirectory() as folder:
        steps(recorder, f"{nds_url}/v1/hf", Path(folder))
    lines = ",\n".join(json.dumps(step) for step in recorder.steps)
    Path(target).write_text(f'{{"version": "{huggingface_hub.__version__}", "steps": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
