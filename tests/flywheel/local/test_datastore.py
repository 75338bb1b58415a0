"""What the Data Store keeps and refuses, on a real port: hostile commits, full disks, web pages; and its files on disk."""

from __future__ import annotations

import base64
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from local_server import LocalServer, serve

from flywheel.local import datastore, guard
from flywheel.local.blobs import Blobs
from flywheel.local.repos import BadName, RepoMissing, Repos, Stale, check_name, check_path
from flywheel.local.state import State

REPO = "ns/rows"


@pytest.fixture
def repos(tmp_path: Path) -> Iterator[Repos]:
    state = State(tmp_path / "home")
    yield Repos(state)
    state.close()


@pytest.fixture
def store(repos: Repos) -> Iterator[LocalServer]:
    with serve({"/nds": [datastore.router(repos)]}) as server:
        yield server


@pytest.fixture
def hub(store: LocalServer) -> HfApi:
    api = HfApi(endpoint=store.url + "/nds/v1/hf")
    api.create_repo(REPO, repo_type="dataset")
    return api


def put(api: HfApi, path: str, content: bytes, **options: Any) -> str:
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=REPO, **({"repo_type": "dataset"} | options)).oid


def test_head_and_range(store: LocalServer, hub: HfApi) -> None:
    oid = put(hub, "a.txt", b"0123456789")
    address = f"{store.url}/nds/v1/hf/datasets/{REPO}/resolve/main/a.txt"
    head = httpx.head(address)
    assert (head.status_code, head.headers["content-length"], head.headers["x-repo-commit"], head.content) == (
        200,
        "10",
        oid,
        b"",
    )
    assert head.headers["etag"].strip('"') == hub.get_paths_info(REPO, ["a.txt"], repo_type="dataset")[0].blob_id
    part = httpx.get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert httpx.get(address, headers={"Range": "bytes=50-"}).status_code == 416
    assert httpx.get(address).headers["content-type"] == "application/octet-stream"


def test_repos_are_created_once_and_deleted_with_their_bytes(hub: HfApi, repos: Repos, tmp_path: Path) -> None:
    with pytest.raises(HfHubHTTPError, match="(?s)409.*already exists"):
        hub.create_repo(REPO, repo_type="dataset")
    hub.create_repo(REPO, repo_type="dataset", exist_ok=True)
    hub.create_repo("ns/other", repo_type="dataset")
    for repo in (REPO, "ns/other"):
        hub.upload_file(path_or_fileobj=b"shared", path_in_repo="s", repo_id=repo, repo_type="dataset")
    put(hub, "own", b"somebody's words")
    assert {entry.id for entry in hub.list_datasets(author="ns")} == {REPO, "ns/other"}
    hub.delete_repo(REPO, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        hub.delete_repo(REPO, repo_type="dataset")
    blobs = [path.read_bytes() for path in (tmp_path / "home" / "blobs").rglob("*") if path.is_file()]
    assert blobs == [b"shared"]
    assert repos.open_file("datasets", "ns", "other", "s") is not None


def test_a_repo_without_namespace_goes_to_the_home_namespace(hub: HfApi) -> None:
    assert hub.create_repo("mine", repo_type="dataset").repo_id == "default/mine"
    assert hub.repo_exists("mine", repo_type="dataset")


def test_namespaces_by_form_and_by_json(store: LocalServer) -> None:
    address = store.url + "/nds/v1/datastore/namespaces"
    made = httpx.post(address, data={"namespace": "a"})
    assert (made.status_code, made.json()["namespace"], made.json()["created_at"][-1]) == (201, "a", "Z")
    again = httpx.post(address, json={"namespace": "a"})
    assert (again.status_code, again.headers["x-should-retry"]) == (409, "false")
    assert httpx.post(address + "/", json={"namespace": "b"}).status_code == 201
    assert httpx.get(address + "/a").json() == made.json()
    assert [row["namespace"] for row in httpx.get(address + "/").json()["data"]] == ["a", "b"]
    assert httpx.delete(address + "/a").status_code == 200
    assert httpx.get(address + "/a").status_code == 404
    for body in ({}, {"namespace": ""}, {"namespace": "../x"}, ["a"]):
        assert httpx.post(address, json=body).status_code == 422


def test_a_namespace_with_repos_stays(store: LocalServer, hub: HfApi) -> None:
    refused = httpx.delete(store.url + "/nds/v1/datastore/namespaces/ns")
    assert (refused.status_code, refused.json()["detail"]) == (409, "namespace 'ns' still holds repos; delete them first")


HEADER = {"key": "header", "value": {"summary": "s"}}


def post_commit(store: LocalServer, *lines: object, revision: str = "main") -> httpx.Response:
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return httpx.post(f"{store.url}/nds/v1/hf/api/datasets/{REPO}/commit/{revision}", content=body)


def file_line(path: str, content: str = base64.b64encode(b"x").decode()) -> dict[str, Any]:
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}


@pytest.mark.parametrize(
    "line",
    [
        file_line("../../etc/passwd"),
        file_line("/etc/passwd"),
        file_line("a/./b"),
        file_line("a\\b"),
        file_line("a\x00b"),
        file_line(""),
        file_line("a" * 2000),
        file_line("a" * 300),
        file_line("good/below"),
        file_line("fine", "not base64!"),
        "not json",
        "[" * 10_000,
        '"text"',
        {"key": "file"},
        {"key": "file", "value": {"path": 3}},
        {"key": "lfsFile", "value": {"path": "x", "algo": "sha256", "oid": "0", "size": 1}},
        {"key": "deletedFile", "value": {"path": "../x"}},
    ],
    ids=lambda line: str(line)[:60],
)
def test_a_bad_line_refuses_the_whole_commit(store: LocalServer, hub: HfApi, tmp_path: Path, line: object) -> None:
    put(hub, "good", b"1")
    before = hub.dataset_info(REPO).sha
    answer = post_commit(store, HEADER, file_line("innocent"), line)
    assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)
    assert hub.dataset_info(REPO).sha == before
    assert list((tmp_path / "home" / "incoming").iterdir()) == []


def test_commits_go_to_main_and_on_top_of_the_parent_they_name(store: LocalServer, hub: HfApi) -> None:
    assert post_commit(store, HEADER, file_line("a"), revision="branch").status_code == 422
    first = put(hub, "a", b"1")
    put(hub, "a", b"2")
    stale = {"key": "header", "value": {"summary": "s", "parentCommit": first}}
    assert post_commit(store, stale, file_line("a")).status_code == 412
    assert [content.path for content in hub.get_paths_info(REPO, ["a"], repo_type="dataset")] == ["a"]


def test_a_full_disk_is_said_and_leaves_nothing(
    store: LocalServer, hub: HfApi, repos: Repos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hub.dataset_info(REPO).sha
    stage = repos.blobs.stage

    def second_finds_no_room(content: bytes | Path) -> Any:
        if content == b"second":
            raise OSError(errno.ENOSPC, "No space left on device")
        return stage(content)

    monkeypatch.setattr(repos.blobs, "stage", second_finds_no_room)
    lines = [file_line(name, base64.b64encode(name.encode()).decode()) for name in ("first", "second")]
    answer = post_commit(store, HEADER, *lines)
    assert (answer.status_code, "full" in answer.json()["detail"]) == (507, True)
    assert hub.dataset_info(REPO).sha == before
    assert list((tmp_path / "home" / "incoming").iterdir()) == []


def test_a_body_over_the_limit_is_refused_as_announced_and_as_it_comes(
    store: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_LIMIT", 2**20)
    put_too_much = [b"x" * 2**16] * 17
    address = f"{store.url}/nds/v1/datastore/namespaces"
    announced = httpx.post(address, content=b"".join(put_too_much))
    growing = httpx.post(address, content=iter(put_too_much), headers={"content-type": "application/json"})
    assert (announced.status_code, growing.status_code) == (413, 413)
    assert growing.json()["detail"] == "the body is over 1 MiB; send fewer or smaller files in one request"


def test_a_web_page_cannot_upload_or_read(store: LocalServer, hub: HfApi) -> None:
    before = hub.dataset_info(REPO).sha
    address = f"{store.url}/nds/v1/hf/api/datasets/{REPO}"
    body = "\n".join(map(json.dumps, (HEADER, file_line("training/poison.jsonl"))))
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    assert httpx.post(address + "/commit/main", content=body, headers=headers).status_code == 403
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 421
    assert hub.dataset_info(REPO).sha == before
    assert httpx.get(address.replace("127.0.0.1", "localhost")).status_code == 200


def test_files_without_http(repos: Repos, tmp_path: Path) -> None:
    repos.create("models", "ns", "m@v1")
    (tmp_path / "weights").write_bytes(b"123")
    oid = repos.commit("models", "ns", "m@v1", {"w": tmp_path / "weights", "deep/c": b"{}"}, "adapter")
    found = repos.open_file("models", "ns", "m@v1", "w")
    assert found is not None
    assert found.read_bytes() == b"123"
    assert [(file.path, file.size) for file in repos.list_files("models", "ns", "m@v1", oid)] == [("deep/c", 2), ("w", 3)]
    assert repos.open_file("models", "ns", "m@v1", "absent") is None
    assert repos.open_file("datasets", "ns", "m@v1", "w") is None
    with pytest.raises(RepoMissing):
        repos.commit("datasets", "ns", "none", {"a": b""})
    with pytest.raises(Stale):
        repos.commit_staged(repos.repo("models", "ns", "m@v1"), {}, title="t", parent="0" * 40)


def test_a_restart_keeps_commits_and_drops_half_uploads(tmp_path: Path) -> None:
    state = State(tmp_path)
    repos = Repos(state)
    repos.create("datasets", "ns", "d")
    oid = repos.commit("datasets", "ns", "d", {"a": b"1"})
    repos.blobs.stage(b"never committed")
    state.close()
    state = State(tmp_path)
    repos = Repos(state)
    assert repos.resolve(repos.repo("datasets", "ns", "d")).oid == oid
    assert [file.path for file in repos.list_files("datasets", "ns", "d")] == ["a"]
    assert list((tmp_path / "incoming").iterdir()) == []
    state.close()


def test_contents_are_private_and_stored_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    for _ in range(2):
        blobs.place(blobs.stage(b"same"))
    (placed,) = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert placed.stat().st_mode & 0o077 == 0
    shutil.rmtree(tmp_path / "incoming")
    with pytest.raises(FileNotFoundError):
        blobs.stage(b"no folder")


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a..b", "a/b", "a b", "ä", "a\n", "a.", "a" * 97])
def test_absurd_names_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


def test_usual_names_and_paths_pass() -> None:
    for name in ("a", "xlam-ft-dataset", "llama-3.2-1b@v1.0.0+cpu", "_x", "a" * 96):
        assert check_name(name) == name
    for path in ("a", "training/training.jsonl", "ünï cödé/データ.jsonl", "..a/b.."):
        assert check_path(path) == path
