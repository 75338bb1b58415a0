"""The Data Store as huggingface_hub meets it, at the version that is installed; see test_contract_wire for the older ones."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_wire import Services, Wire
from endpoints import covers
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

API = "nds {} /v1/hf/api/{{kind}}/{{namespace}}/{{name}}"
PREUPLOAD, COMMIT = API.format("POST") + "/preupload/{revision}", API.format("POST") + "/commit/{revision}"
TREE = API.format("GET") + "/tree/{revision}"
RESOLVE = "nds {} /v1/hf/datasets/{{namespace}}/{{name}}/resolve/{{revision}}/{{path*}}"
MODEL_RESOLVE = "nds {} /v1/hf/{{namespace}}/{{name}}/resolve/{{revision}}/{{path*}}"


@pytest.fixture
def repo(hub: HfApi, namespace: str) -> str:
    """A new data set repo."""
    assert hub.create_repo(f"{namespace}/rows", repo_type="dataset").repo_id == f"{namespace}/rows"
    return f"{namespace}/rows"


def put(hub: HfApi, repo: str, path: str, content: Any, **options: Any) -> Any:
    return hub.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=repo, **({"repo_type": "dataset"} | options))


def get(hub: HfApi, repo: str, path: str, folder: Path, **options: Any) -> bytes:
    options = {"repo_type": "dataset", "cache_dir": folder / "cache"} | options
    return Path(hf_hub_download(repo, path, endpoint=hub.endpoint, **options)).read_bytes()


@covers(
    "nds POST /v1/datastore/namespaces",
    "nds GET /v1/datastore/namespaces/{namespace}",
    "nds DELETE /v1/datastore/namespaces/{namespace}",
)
def test_a_namespace_by_form_and_by_json(http: httpx.Client, services: Services, namespace: str) -> None:
    address = f"{services.nds_url}/v1/datastore/namespaces"
    made = http.post(address, data={"namespace": namespace})
    assert made.status_code in (200, 201)
    assert http.post(address, json={"namespace": namespace}).status_code in (409, 422)
    read = http.get(f"{address}/{namespace}")
    assert (read.status_code in (200, 201), read.json()["namespace"]) == (True, namespace)
    assert {"created_at", "updated_at"} <= read.json().keys()
    assert http.delete(f"{address}/{namespace}").status_code in (200, 204)
    assert http.get(f"{address}/{namespace}").status_code == 404


@covers("nds GET /v1/datastore/namespaces")
def test_namespaces_are_listed(http: httpx.Client, services: Services, repo: str, local_home: Path) -> None:
    for address in ("/v1/datastore/namespaces", "/v1/datastore/namespaces/"):
        listed = http.get(services.nds_url + address).json()["data"]
        assert repo.partition("/")[0] in [row["namespace"] for row in listed]


@covers("nds POST /v1/hf/api/repos/create", "nds DELETE /v1/hf/api/repos/delete", "nds GET /v1/hf/api/{kind}/{namespace}/{name}")
def test_a_repo_is_made_once_and_goes_once(hub: HfApi, namespace: str) -> None:
    name = f"{namespace}/once"
    hub.create_repo(name, repo_type="dataset")
    with pytest.raises(HfHubHTTPError, match="409"):
        hub.create_repo(name, repo_type="dataset")
    assert hub.create_repo(name, repo_type="dataset", exist_ok=True).repo_id == name
    assert hub.repo_exists(name, repo_type="dataset") and not hub.repo_exists(name)
    hub.delete_repo(name, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        hub.delete_repo(name, repo_type="dataset")
    hub.delete_repo(name, repo_type="dataset", missing_ok=True)
    assert not hub.repo_exists(name, repo_type="dataset")


@covers(PREUPLOAD, COMMIT, RESOLVE.format("HEAD"), RESOLVE.format("GET"))
def test_a_second_upload_is_what_the_next_download_gets(hub: HfApi, repo: str, wire: Wire, tmp_path: Path) -> None:
    """Clients keep files by commit id: an id that stayed the same would bring back old bytes."""
    first = put(hub, repo, "a.txt", b"old")
    assert get(hub, repo, "a.txt", tmp_path) == b"old"
    second = put(hub, repo, "a.txt", io.BytesIO(b"new"))
    assert first.oid != second.oid and second.oid == hub.dataset_info(repo).sha
    assert get(hub, repo, "a.txt", tmp_path) == b"new"
    assert get(hub, repo, "a.txt", tmp_path, revision=first.oid) == b"old"
    assert not [request for request in wire.requests if "xet" in request or "/info/lfs/" in request]


@covers(PREUPLOAD, COMMIT)
def test_a_training_file_as_large_as_the_tutorials(hub: HfApi, repo: str, tmp_path: Path) -> None:
    content = os.urandom(3_030_000).hex().encode()
    (tmp_path / "training.jsonl").write_bytes(content)
    put(hub, repo, "training/training.jsonl", tmp_path / "training.jsonl")
    put(hub, repo, "training/again.jsonl", io.BytesIO(content))
    assert get(hub, repo, "training/training.jsonl", tmp_path) == content
    assert get(hub, repo, "training/again.jsonl", tmp_path) == content


@covers(PREUPLOAD, API.format("GET") + "/revision/{revision}", API.format("GET") + "/commits/{revision}")
def test_the_same_file_again_makes_no_commit(hub: HfApi, repo: str) -> None:
    first = put(hub, repo, "a.txt", b"same")
    assert put(hub, repo, "a.txt", b"same").oid == first.oid
    assert len(hub.list_repo_commits(repo, repo_type="dataset")) == 2


@covers(
    "nds POST /v1/hf/api/repos/create",
    MODEL_RESOLVE.format("HEAD"),
    MODEL_RESOLVE.format("GET"),
    "nds GET /v1/hf/api/{kind}",
)
def test_a_model_repo_is_no_data_set_repo(hub: HfApi, repo: str, namespace: str, tmp_path: Path) -> None:
    hub.create_repo(repo, private=True)
    commit = put(hub, repo, "weights", b"12345", repo_type="model")
    assert commit.repo_url.repo_type == "model" and commit.repo_url.repo_id == repo
    assert (hub.list_repo_files(repo), hub.list_repo_files(repo, repo_type="dataset")) == (["weights"], [])
    assert get(hub, repo, "weights", tmp_path, repo_type="model") == b"12345"
    assert [model.id for model in hub.list_models(author=namespace)] == [repo]
    assert [found.id for found in hub.list_datasets(author=namespace)] == [repo]


@covers(
    TREE,
    TREE + "/{path*}",
    API.format("POST") + "/paths-info/{revision}",
    API.format("GET") + "/refs",
    API.format("GET") + "/commits/{revision}",
    COMMIT,
)
def test_files_and_folders_are_listed_found_and_deleted(hub: HfApi, repo: str) -> None:
    names = ("training/a", "training/deep/b", "validation/c", "README.md")
    hub.create_commit(
        repo, [CommitOperationAdd(name, name.encode()) for name in names], commit_message="four", repo_type="dataset"
    )
    assert hub.list_repo_files(repo, repo_type="dataset") == sorted(names)
    assert [entry.path for entry in hub.list_repo_tree(repo, "training", repo_type="dataset")] == ["training/deep", "training/a"]
    found = hub.get_paths_info(repo, ["training/a", "validation", "absent"], repo_type="dataset")
    assert {(entry.path, type(entry).__name__) for entry in found} == {("validation", "RepoFolder"), ("training/a", "RepoFile")}
    hub.delete_folder("training", repo, repo_type="dataset")
    hub.delete_file("README.md", repo, repo_type="dataset")
    hub.create_commit(repo, [CommitOperationDelete("validation/", is_folder=True)], commit_message="none", repo_type="dataset")
    assert hub.list_repo_files(repo, repo_type="dataset") == []
    newest = hub.list_repo_commits(repo, repo_type="dataset")[0]
    assert (newest.title, newest.commit_id) == ("none", hub.list_repo_refs(repo, repo_type="dataset").branches[0].target_commit)


@covers("nds POST /v1/hf/api/validate-yaml", API.format("GET") + "/revision/{revision}", TREE)
def test_a_folder_with_a_card_comes_back_as_a_snapshot(hub: HfApi, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "training").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Rows\n", encoding="utf-8")
    (folder / "training" / "rows.jsonl").write_text("{}\n", encoding="utf-8")
    hub.upload_folder(folder_path=folder, repo_id=repo, repo_type="dataset")
    there = Path(snapshot_download(repo, repo_type="dataset", endpoint=hub.endpoint, cache_dir=tmp_path / "cache"))
    assert (there / "training" / "rows.jsonl").read_text(encoding="utf-8") == "{}\n"
    at_sha = snapshot_download(
        repo, repo_type="dataset", endpoint=hub.endpoint, cache_dir=tmp_path / "other", revision=hub.dataset_info(repo).sha
    )
    assert sorted(path.name for path in Path(at_sha).iterdir()) == ["README.md", "training"]


@covers(TREE + "/{path*}", RESOLVE.format("GET"))
def test_parts_of_a_file_through_the_file_system(hub: HfApi, repo: str) -> None:
    put(hub, repo, "training/a.txt", b"0123456789")
    files = HfFileSystem(endpoint=hub.endpoint, skip_instance_cache=True)
    assert files.ls(f"datasets/{repo}/training", detail=False) == [f"datasets/{repo}/training/a.txt"]
    with files.open(f"datasets/{repo}/training/a.txt", "rb") as file:
        file.seek(4)
        assert file.read(3) == b"456"
    files.rm(f"datasets/{repo}/training/a.txt")
    assert not files.exists(f"datasets/{repo}/training/a.txt")


@covers(RESOLVE.format("HEAD"), RESOLVE.format("GET"))
def test_head_and_range(hub: HfApi, http: httpx.Client, repo: str) -> None:
    oid = put(hub, repo, "a.txt", b"0123456789").oid
    address = f"{hub.endpoint}/datasets/{repo}/resolve/main/a.txt"
    head = http.head(address, headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.headers["content-length"], head.headers["x-repo-commit"]) == (200, "10", oid)
    assert head.headers["etag"] and "content-encoding" not in head.headers
    part = http.get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")


@covers(RESOLVE.format("HEAD"), TREE + "/{path*}")
def test_what_is_missing_is_named_by_its_kind(hub: HfApi, repo: str, namespace: str, tmp_path: Path) -> None:
    put(hub, repo, "a.txt", b"1")
    assert hub.file_exists(repo, "a.txt", repo_type="dataset") and not hub.file_exists(repo, "b.txt", repo_type="dataset")
    with pytest.raises(EntryNotFoundError):
        get(hub, repo, "b.txt", tmp_path)
    with pytest.raises(EntryNotFoundError):
        list(hub.list_repo_tree(repo, "absent", repo_type="dataset"))
    with pytest.raises(RevisionNotFoundError):
        hub.dataset_info(repo, revision="0" * 40)
    with pytest.raises(RepositoryNotFoundError):
        hub.list_repo_files(f"{namespace}/none")


@covers("nds GET /v1/hf/api/whoami-v2")
def test_everybody_is_somebody(hub: HfApi, local_home: Path) -> None:
    assert hub.whoami()["name"] == "default"
