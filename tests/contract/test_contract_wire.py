"""The Data Store as older versions of huggingface_hub meet it: what they send was recorded by record_wire.py and is sent again.

What those versions read of each answer is checked; no version raised where the recording says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_wire import Services, fresh_namespace
from record_wire import NAMESPACE

TRACES = sorted(Path(__file__).parent.glob("wire_*.json"))
RAISED = {"create it again": "HfHubHTTPError", "delete what is gone": "RepositoryNotFoundError"}
"""The steps in which the client is to raise, and what."""

CONTENTS = {
    "download": b'{"a": 1}\n',
    "download the new one": b'{"a": 2}\n',
    "read a part": b'a": 2}\n',
    "download from it": b"12345",
}
LISTED = ["README.md", "t.txt", "training/a.jsonl", "validation/b.jsonl"]


def created(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    kind = "datasets/" if json.loads(request["body"]).get("type") == "dataset" else ""
    assert re.fullmatch(kind + r"[\w-]+/rows", reply.json()["url"])
    assert reply.status_code == 200 or reply.headers["x-should-retry"] == "false"


def planned(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    asked = [file["path"] for file in json.loads(request["body"])["files"]]
    found = reply.json()["files"]
    assert [(file["path"], file["uploadMode"], file["shouldIgnore"]) for file in found] == [
        (path, "regular", False) for path in asked
    ]
    # These versions raise when they leave out what is there already.
    assert not [file for file in found if "oid" in file]


def committed(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    said = reply.json()
    prefix = "datasets/" if "/datasets/" in request["path"] else ""
    assert said["success"] and re.fullmatch(r"[0-9a-f]{40}", said["commitOid"])
    assert re.fullmatch(prefix + r"[\w-]+/rows/commit/" + said["commitOid"], said["commitUrl"])


def looked(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    said = reply.json()
    assert re.fullmatch(r"[0-9a-f]{40}", said["sha"]) and said["id"].endswith("/rows") and said["private"] is False
    assert all(file["rfilename"] for file in said["siblings"])


def listed(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    assert "link" not in reply.headers
    for entry in reply.json():
        assert entry["type"] in ("file", "directory") and entry["oid"] and entry["size"] >= 0 and entry["path"]


def resolved(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    if reply.status_code == 404:
        assert reply.headers["x-error-code"] == "EntryNotFound"
        return
    assert reply.headers["etag"] and re.fullmatch(r"[0-9a-f]{40}", reply.headers["x-repo-commit"])
    assert int(reply.headers["content-length"]) > 0 and "content-encoding" not in reply.headers


def validated(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    assert reply.json() == {"errors": [], "warnings": []}


def referred(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    (branch,) = reply.json()["branches"]
    assert branch.keys() >= {"name", "ref", "targetCommit"} and reply.json()["converts"] == []


def remembered(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    assert all(commit.keys() >= {"id", "title", "message", "date", "authors"} for commit in reply.json())


def deleted(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    assert reply.status_code == 200 or reply.headers["x-error-code"] == "RepoNotFound"


def named(reply: httpx.Response, request: Mapping[str, Any]) -> None:
    assert [one["id"].partition("/")[2] for one in reply.json()] == ["rows"]


READ: list[tuple[str, Callable[[httpx.Response, Mapping[str, Any]], None]]] = [
    (r".*/api/repos/create", created),
    (r".*/api/repos/delete", deleted),
    (r".*/preupload/.*", planned),
    (r".*/commit/.*", committed),
    (r".*/api/validate-yaml", validated),
    (r".*/(tree|paths-info)/.*", listed),
    (r".*/resolve/.*", resolved),
    (r".*/refs", referred),
    (r".*/commits/.*", remembered),
    (r".*/api/datasets\?author=.*", named),
    (r".*/api/datasets/[\w-]+/rows(/revision/.*)?", looked),
]


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_what_an_older_version_sends_is_answered_as_it_reads_it(trace: Path, http: httpx.Client, services: Services) -> None:
    recorded = json.loads(trace.read_text(encoding="utf-8"))
    assert {step["step"]: step["raised"] for step in recorded["steps"] if "raised" in step} == RAISED
    namespace, sha, commits = fresh_namespace(), "", []
    for step in recorded["steps"]:
        for request in step["requests"]:
            path, body = (request[part].replace(NAMESPACE, namespace).replace("{sha}", sha) for part in ("path", "body"))
            address = services.nds_url + path
            reply = http.request(request["method"], address, headers=request["headers"], content=body.encode())
            assert reply.status_code == request["status"], (step["step"], reply.text)
            read = next(check for shape, check in READ if re.fullmatch(shape, path))
            read(reply, {**request, "path": path, "body": body})
            if read is committed:
                commits.append(reply.json()["commitOid"])
            if read is looked:
                sha = reply.json()["sha"]
                assert sha == commits[-1]
            if read is resolved and request["method"] == "GET" and step["step"] in CONTENTS:
                assert reply.content == CONTENTS[step["step"]]
            if step["step"] == "list the files":
                assert [entry["path"] for entry in reply.json() if entry["type"] == "file"] == LISTED
    assert len(commits) == len(set(commits)) == 8


def test_two_older_versions_were_recorded() -> None:
    assert [path.stem for path in TRACES] == ["wire_0_36_0", "wire_1_0_1"]
