"""The platform as a process: how it starts, refuses, answers, keeps and stops; and how the HTTP of all services fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter, HTTPException
from huggingface_hub import HfApi
from local_server import serve
from nemo_microservices import NeMoMicroservices

from flywheel.local.base_model import SHIPPED_ID, SHIPPED_PATH, parse_base_model
from tests.conftest import Platform, start_platform, stop_platform

COMMAND = [sys.executable, "-m", "flywheel.local"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_process_is_all_services(platform: Platform) -> None:
    nemo = NeMoMicroservices(base_url=platform.nemo_url, inference_base_url=platform.nim_url)
    with nemo:
        assert nemo.inference.models.list().data[0].id == SHIPPED_ID
        reply = nemo.chat.completions.create(model=SHIPPED_ID, messages=[{"role": "user", "content": "Hello!"}], max_tokens=16)
        assert reply.choices[0].message.content
        nemo.namespaces.create(id="server-test")
        assert nemo.models.list(filter={"namespace": "server-test"}).data == []
    hub = HfApi(endpoint=platform.nds_url + "/v1/hf")
    hub.create_repo("server-test/rows", repo_type="dataset")
    assert hub.list_repo_files("server-test/rows", repo_type="dataset") == []
    assert httpx.get(platform.nim_url + "/v1/health/ready").status_code == 200


@pytest.mark.parametrize("depth", [99, 300, 900, 100_000])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/datasets", '{"files_url": "hf://datasets/a/b", "namespace": "deep", "custom_fields": %s}'),
        ("/v1/deployment/configs", '{"namespace": "deep", "custom_fields": %s}'),
        ("/v1/guardrail/configs", '{"namespace": "deep", "data": {"models": [], "custom_data": %s}}'),
        ("/v1/intake/export/preview", '{"config": {"filters": %s}}'),
    ],
)
def test_a_deep_body_is_refused_and_not_kept(platform: Platform, path: str, body: str, depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    headers = {"content-type": "application/json"}
    answer = httpx.post(platform.nemo_url + path, content=body % deep, headers=headers, timeout=30)
    assert answer.status_code in (400, 422)
    if depth < 1000:
        assert "nested more than 100 levels" in answer.text


def test_its_home_is_private(platform: Platform) -> None:
    assert platform.home.stat().st_mode & 0o777 == 0o700


def test_it_listens_on_loopback_only(platform: Platform) -> None:
    port = int(platform.nemo_url.rsplit(":", 1)[1].split("/")[0])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
    addresses = [fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")]
    assert addresses == [f"0100007F:{port:04X}"]


def test_a_second_platform_on_the_same_home_is_told_who_holds_it(platform: Platform) -> None:
    refused = run("--home", str(platform.home))
    assert refused.returncode == 1
    assert f"already runs as process {platform.process.pid}" in refused.stderr
    assert refused.stdout == ""


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = run("--home", str(tmp_path), "--port", str(port))
    assert (refused.returncode, f"cannot listen on port {port}" in refused.stderr) == (1, True)


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = run("--home", str(tmp_path / "file" / "home"))
    assert (refused.returncode, "cannot use the folder" in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)


@pytest.mark.slow
def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    first = start_platform(tmp_path / "home")
    hub = HfApi(endpoint=first.nds_url + "/v1/hf")
    hub.create_repo("ns/rows", repo_type="dataset")
    oid = hub.upload_file(path_or_fileobj=b"kept", path_in_repo="a.txt", repo_id="ns/rows", repo_type="dataset").oid
    made = httpx.post(first.nemo_url + "/v1/datasets", json={"name": "d", "files_url": "hf://datasets/ns/rows"}).json()
    seeds = httpx.get(first.nemo_url + "/v1/customization/configs").json()["data"]
    stop_platform(first)
    assert first.process.returncode == 0
    second = start_platform(tmp_path / "home")
    assert httpx.get(second.nemo_url + "/v1/datasets/default/d").json() == made
    assert httpx.get(second.nds_url + "/v1/hf/datasets/ns/rows/resolve/main/a.txt").text == "kept"
    assert HfApi(endpoint=second.nds_url + "/v1/hf").dataset_info("ns/rows").sha == oid
    assert "tool-llama-5m@v1.0.0+cpu" in [entity["name"] for entity in seeds]
    assert httpx.get(second.nemo_url + "/v1/customization/configs").json()["data"] == seeds
    assert httpx.get(second.nemo_url + "/v1/namespaces/default").status_code == 200
    stop_platform(second)


def test_it_answers_before_the_model_is_loaded_and_stops_at_any_time(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "--home", str(tmp_path / "home"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = f"http://127.0.0.1:{port}"
        wait_for(address + "/health")
        # The kernel takes the connection before the server does: by now it has answered once.
        ready = httpx.get(address + "/nim/v1/health/ready")
        assert (ready.status_code, "still loading" in ready.json()["detail"]) == (503, True)
        assert httpx.get(address + "/nemo/v1/namespaces/default").status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, log = process.communicate(timeout=20)
        assert time.monotonic() - began < 5
        assert (process.returncode, output, "Traceback" in log) == (0, "", False)
    assert not (tmp_path / "home" / "platform.pid").exists()


def wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(address, timeout=60).raise_for_status()
            return
        except httpx.ConnectError:
            time.sleep(0.05)
    raise AssertionError(f"{address} never answered")


@pytest.mark.slow
def test_people_get_lines_for_their_shell(tmp_path: Path) -> None:
    port = free_port()
    command = [*COMMAND, "--home", str(tmp_path / "home"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        process.terminate()
        assert process.wait(20) == 0
    assert lines == [f"export {name.upper()}_URL=http://127.0.0.1:{port}/{name}" for name in ("nemo", "nds", "nim")]


@pytest.mark.slow
@pytest.mark.parametrize("spoiled", ["model.safetensors", "config.json"])
def test_a_model_that_does_not_load_ends_the_process_with_the_reason(tmp_path: Path, spoiled: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(SHIPPED_PATH, broken, ignore=shutil.ignore_patterns("__pycache__"))
    config = json.loads((broken / "config.json").read_text(encoding="utf-8"))
    other = {"model.safetensors": b"\x00" * 64, "config.json": json.dumps({**config, "hidden_size": 128}).encode()}
    (broken / spoiled).write_bytes(other[spoiled])
    refused = run("--home", str(tmp_path / "home"), "--json", "--base-model", f"local/broken={broken}")
    assert (refused.returncode, refused.stdout) == (1, "")
    told = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert [("the model 'local/broken'" in line) for line in told] == [True]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "no *.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
        ("chat_template.jinja", "takes no tools"),
    ],
)
def test_a_base_model_folder_is_checked_first(tmp_path: Path, missing: str, reason: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED_PATH, folder, ignore=shutil.ignore_patterns(missing, "__pycache__"))
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")):
        parse_base_model(f"local/m={folder}")
    with pytest.raises(ValueError, match="is not ID=PATH"):
        parse_base_model(str(folder))


def test_a_template_inside_the_tokenizer_config_counts(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED_PATH, folder, ignore=shutil.ignore_patterns("chat_template.jinja", "__pycache__"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    for template in ("{% if tools %}{{ tools | tojson }}{% endif %}", [{"name": "tool_use", "template": "{{ tools }}"}]):
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}), encoding="utf-8")
        assert parse_base_model(f"meta/llama-3.2-1b-instruct={folder}").id == "meta/llama-3.2-1b-instruct"


def test_a_failure_inside_is_told_to_the_log_and_not_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    routes = APIRouter()

    @routes.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret of the inside")

    @routes.get("/conflict")
    def conflict() -> None:
        raise HTTPException(409, "taken", headers={"x-more": "1"})

    @routes.get("/gone")
    def gone() -> None:
        os.stat("/nowhere/at/all")

    with serve({"/x": [routes]}) as server:
        for path in ("broken", "gone"):
            answer = httpx.get(f"{server.url}/x/{path}")
            assert (answer.status_code, answer.json()["detail"]) == (500, "the platform failed at this request; its log says why")
        assert "a secret of the inside" in caplog.text
        assert "Traceback" in caplog.text
        answer = httpx.get(server.url + "/x/conflict")
        assert (answer.status_code, answer.json()["detail"]) == (409, "taken")
        assert (answer.headers["x-should-retry"], answer.headers["x-more"]) == ("false", "1")
