"""`flywheel doctor`, as a shell sees it: with no services, the local platform, strangers and nobody at the addresses."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from click.testing import CliRunner

from flywheel import doctor
from flywheel.__main__ import main
from flywheel.history import RunRecords
from flywheel.promote import Model, Registry
from flywheel.settings import LOCAL_BASE_MODEL, NVIDIA_BASE_MODEL, Settings
from flywheel.store import Store
from tests.conftest import Platform
from tests.fakes import Reply, ScriptedServices

KEY = "nvapi-not-to-be-shown"
OURS = ("NEMO_URL", "NDS_URL", "NIM_URL", "NVIDIA_API_KEY", "NMS_NAMESPACE", "BASE_MODEL", "CUSTOMIZATION_CONFIG")
OURS += ("TEACHER_MODEL", "TEACHER_URL", "CONTENT_SAFETY_URL")
Found = dict[str, dict[str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that is not there yet, and no services named."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLYWHEEL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def named(monkeypatch: pytest.MonkeyPatch, nemo: str, nds: str, nim: str, **more: str) -> None:
    """Set the three addresses, and more."""
    for name, value in {"NEMO_URL": nemo, "NDS_URL": nds, "NIM_URL": nim, **more}.items():
        monkeypatch.setenv(name, value)


def examined(code: int) -> Found:
    """Run the command both ways, check exit code and agreement, and return the findings by topic."""
    result = CliRunner().invoke(main, ["doctor", "--json"])
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1 and KEY not in result.output
    value = json.loads(result.stdout)
    assert value["ok"] is (code == 0)
    assert all(finding["todo"] for finding in value["findings"] if finding["level"] != "ok"), value
    return {finding["topic"]: finding for finding in value["findings"]}


@contextmanager
def served(routes: dict[str, Reply]) -> Iterator[str]:
    """The address of services that answer these paths, and nothing else."""
    with ScriptedServices() as services:
        for path, reply in routes.items():
            services.on(f"GET {path}", reply)
        yield services.url


def listing(*entries: dict[str, Any]) -> Reply:
    """A page of a list."""
    return 200, {"object": "list", "data": list(entries)}


def production(**changes: Reply) -> dict[str, Reply]:
    """NVIDIA's services at one address, as far as they are looked at, with nothing of ours in them yet."""
    options = [{"training_type": "sft", "finetuning_type": "lora", "num_gpus": 1, "micro_batch_size": 1}]
    config = {"namespace": "meta", "name": "llama-3.2-1b-instruct@v1.0.0+80GB", "training_options": options}
    full = config | {"name": "llama-3.2-1b-instruct@v0", "training_options": [options[0] | {"finetuning_type": "all_weights"}]}
    model = {"id": "meta/llama-3.2-1b-instruct", "object": "model", "created": 0, "owned_by": "system"}
    routes = {
        "/v1/namespaces": listing({"id": "default"}),
        "/v1/customization/configs": (
            200,
            {"object": "list", "data": [full, config], "pagination": {"page": 1, "total_pages": 1}},
        ),
        "/v1/evaluation/jobs": listing(),
        "/v1/hf/api/datasets": (200, []),
        "/v1/health/ready": (200, {"message": "ready"}),
        "/v1/version": (200, {"release": "1.8.3", "api": "1.8.3"}),
        "/v1/models": listing(model),
        "/v1/deployment/model-deployments": listing({"namespace": "meta", "name": "x", "status_details": {"status": "pending"}}),
    }
    return routes | {f"/v1/{name.replace('_', '/')}": answer for name, answer in changes.items()}


def test_without_services_all_is_well_and_nothing_is_made(home: Path) -> None:
    found = examined(0)
    assert "make chat" in found["services"]["what"] and "not there yet" in found["state folder"]["what"]
    assert "nemo-microservices 1." in found["packages"]["what"]
    assert not home.exists()


def test_the_local_platform_answers_everywhere(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, *platform[:3], BASE_MODEL=LOCAL_BASE_MODEL, NMS_NAMESPACE="not-made-by-looking", NVIDIA_API_KEY=KEY)
    for _ in range(2):  # the first look has made nothing
        found = examined(0)
        for topic in ("Data Store", "Entity Store"):
            assert "is not there yet" in found[topic]["what"] and platform.nemo_url.rpartition("/")[0] in found[topic]["what"]
    assert f"{LOCAL_BASE_MODEL}@v1.0.0+cpu" in found["Customizer"]["what"]
    assert LOCAL_BASE_MODEL in found["NIM"]["what"]
    assert "kept there too" in found["Intake"]["what"]
    assert "is set" in found["API key"]["what"]


def test_the_local_platform_of_the_state_folder_is_found_and_who_looks_after_it(platform: Platform, home: Path) -> None:
    def process(pid: int) -> dict[str, float]:
        return {"pid": pid, "began": psutil.Process(pid).create_time()}

    port = urlsplit(platform.nemo_url).port
    record = {"port": port, "platform": process(platform.process.pid), "owner": process(os.getpid())}
    Settings(home=home).prepare()
    (home / "platform.json").write_text(json.dumps(record))
    found = examined(0)
    assert f"process {platform.process.pid}; process {os.getpid()} looks after it" in found["services"]["what"]
    assert platform.nds_url in found["Data Store"]["what"]
    record["owner"] = {"pid": os.getpid(), "began": 1.0}  # another process that had this number
    (home / "platform.json").write_text(json.dumps(record))
    assert "nobody looks after it" in examined(0)["services"]["what"]
    record["platform"] = {"pid": platform.process.pid, "began": 1.0}
    (home / "platform.json").write_text(json.dumps(record))
    assert "not running" in examined(0)["services"]["what"]


def test_a_production_installation_as_the_reference_words_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(production(datastore_namespaces_flywheel=(201, {"namespace": "flywheel"}))) as url:
        named(monkeypatch, url, url, f"{url}/")
        found = examined(0)
    assert "release 1.8.3" in found["NIM"]["what"]
    assert "is not at" in found["Intake"]["what"] and "--shape intake" in found["Intake"]["what"]
    assert "'meta/llama-3.2-1b-instruct@v1.0.0+80GB'" in found["Customizer"]["what"]  # not @v0, which trains no LoRA
    assert "is there" in found["Data Store"]["what"]


def test_what_is_missing_in_production_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    store = Store(Settings(home=home).prepare().store_path)
    registry = Registry(store.database)
    registry.begin(NVIDIA_BASE_MODEL)
    registry.add(Model("flywheel/gone@v1", NVIDIA_BASE_MODEL, None, "candidate", "2026-01-01"))
    registry.promote("flywheel/gone@v1", person="somebody", reason="test")
    store.close()
    with served(production(models=listing({"id": "other/model", "object": "model", "created": 0, "owned_by": "x"}))) as url:
        named(monkeypatch, url, url, url, CUSTOMIZATION_CONFIG="meta/none@v1")
        found = examined(1)
    assert "'meta/llama-3.2-1b-instruct'; deployments: meta/x is pending" in found["base model"]["what"]
    assert "'flywheel/gone@v1'" in found["served model"]["what"] and "promote" in found["served model"]["todo"]
    assert "'meta/none@v1'" in found["Customizer"]["what"] and "80GB" in found["Customizer"]["todo"]


def test_a_target_that_cannot_be_trained_and_an_address_with_v1_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    target = {"namespace": "meta", "name": "llama-3.2-1b-instruct@2.0", "enabled": False, "status": "created"}
    with served(production(customization_targets=listing(target))) as url:
        named(monkeypatch, url, url, url)
        found = examined(0)
        assert "'meta/llama-3.2-1b-instruct@2.0' is not enabled" in found["target"]["what"]
        assert f"curl -X PATCH {url}/v1/customization/targets/meta/llama-3.2-1b-instruct@2.0" in found["target"]["todo"]
        named(monkeypatch, url, url, f"{url}/v1")
        assert "leave the /v1 of NIM_URL out" in examined(1)["NIM"]["todo"]
    loading = target | {"enabled": True, "status": "downloading"}
    with served(production(customization_targets=listing(loading, loading | {"name": "x", "base_model": "meta/x"}))) as url:
        named(monkeypatch, url, url, url)
        assert "is downloading" in examined(0)["target"]["what"]
    newer = loading | {"name": "llama-3.2-1b-instruct@2.1", "status": "ready"}
    with served(production(customization_targets=listing(loading, newer))) as url:
        named(monkeypatch, url, url, url)
        assert "target" not in examined(0)


def test_nim_that_is_loading_or_failing_is_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(production(health_ready=(503, {"message": "not ready"}), evaluation_jobs=(502, "bad gateway"))) as url:
        named(monkeypatch, url, url, url)
        found = examined(1)
    assert "not ready" in found["NIM"]["what"] and "HTTP 502" in found["Evaluator"]["what"]


@pytest.mark.parametrize("answer", ["<html>Welcome</html>", [1], "null", {"data": 7}, {"data": ["text", None]}])
def test_something_else_at_the_addresses_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    with served({route: (200, answer) for route in production()}) as url:
        named(monkeypatch, url, url, url)
        found = examined(1)
    assert "NDS_URL" in found["Data Store"]["todo"]
    assert {found[topic]["level"] for topic in ("Data Store", "Customizer")} == {"problem"}


def test_addresses_that_do_not_answer_are_each_named_and_nothing_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DEADLINE_SECONDS", 1.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:  # takes connections, never answers
        quiet = f"http://127.0.0.1:{silent.getsockname()[1]}"
        named(monkeypatch, "http://127.0.0.1:9", quiet, quiet, TEACHER_MODEL="t", TEACHER_URL="http://127.0.0.1:9")
        begun = time.monotonic()
        found = examined(1)
    assert time.monotonic() - begun < 5
    assert "Connection refused" in found["Customizer"]["what"] and "http://127.0.0.1:9" in found["Entity Store"]["what"]
    assert "within 2 s" in found["Data Store"]["what"] and "within 2 s" in found["NIM"]["what"]
    assert found["teacher"]["level"] == "warning" and "Connection refused" in found["teacher"]["what"]


def test_teacher_and_content_safety_are_asked_where_they_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with served({"/v1/models": listing({"id": "big/teacher"})}) as url:
        more = {"TEACHER_MODEL": "big/teacher", "TEACHER_URL": url, "CONTENT_SAFETY_URL": f"{url}/v1"}
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        found = examined(0)
        assert found["teacher"]["level"] == found["content safety"]["level"] == "ok"
        monkeypatch.setenv("TEACHER_MODEL", "no/such")
        monkeypatch.setenv("CONTENT_SAFETY_URL", f"{url}/elsewhere")
        found = examined(1)
    assert "big/teacher" in found["teacher"]["todo"] and found["teacher"]["level"] == "warning"
    assert found["content safety"]["level"] == "problem"


def test_secrets_are_not_shown_even_where_a_service_repeats_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServices() as services:
        services.on("GET /v1/models", lambda headers: (400, {"detail": f"not with {headers['Authorization']}"}))
        services.on("GET /v1/health/ready", (200, {}))
        locked = services.url.replace("http://", "http://me:pass-word@")
        named(monkeypatch, locked, locked, services.url, NVIDIA_API_KEY=KEY)
        result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1 and "Bearer ***" in result.output and "***@127.0.0.1" in result.output
    assert KEY not in result.output and "pass-word" not in result.output
    monkeypatch.setenv("NIM_URL", "http://me:pass-word@[bad")
    result = CliRunner().invoke(main, ["doctor"])
    assert "is no address" in result.output and "pass-word" not in result.output


def test_settings_that_cannot_be_used_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEMO_URL", "http://127.0.0.1:9")
    assert "NDS_URL and NIM_URL not set" in examined(1)["settings"]["what"]
    named(monkeypatch, "nemo.test", "ftp://x", "http://127.0.0.1:9")
    found = examined(1)
    assert "'nemo.test'" in found["NEMO_URL"]["what"] and "NDS_URL" in found and "NIM_URL" not in found


def test_the_state_folder_is_read_and_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Settings(home=home).prepare().store_path)
    Registry(store.database).begin(LOCAL_BASE_MODEL)
    Registry(store.database).add(Model("flywheel/x@v1", LOCAL_BASE_MODEL, None, "candidate", "2026-01-01"))
    Registry(store.database).promote("flywheel/x@v1", person="somebody", reason="test")
    RunRecords(store.database).create("run-1", "somebody")
    found = examined(0)
    assert "mode 0700" in found["state folder"]["what"] and "flywheel/x@v1" in found["served model"]["what"]
    assert "run-1 is queued" in found["runs"]["what"] and found["runs"]["level"] == "warning"
    store.close()
    monkeypatch.setenv("BASE_MODEL", "another/base")
    assert "another/base takes its place" in examined(0)["served model"]["what"]
    home.chmod(0o755)
    assert found["store"]["level"] == "ok" and "schema m0" in found["store"]["what"]
    assert "chmod 700" in examined(0)["state folder"]["todo"]
    assert home.stat().st_mode & 0o777 == 0o755


def test_a_state_folder_that_cannot_be_is_a_finding(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("a file")
    assert "is no folder" in examined(1)["state folder"]["what"]
    monkeypatch.setenv("FLYWHEEL_HOME", str(home.parent / ("x" * 300)))
    assert "cannot be looked at" in examined(1)["state folder"]["what"]


def test_a_store_of_another_version_or_no_store_at_all(home: Path) -> None:
    path = Settings(home=home).prepare().store_path
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM _sqlite_migrations WHERE name LIKE 'm003%'")
    assert "1 migrations are applied at the next start" in examined(0)["store"]["what"]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO _sqlite_migrations VALUES (99, 'flywheel', 'm999_later', 'then')")
    assert "m999_later" in examined(1)["store"]["what"]
    path.write_bytes(b"this is no database, but it is long enough to look like one" * 20)
    assert "cannot be read" in examined(1)["store"]["what"]
