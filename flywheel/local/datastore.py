"""The Data Store over HTTP: namespaces, and the part of the Hugging Face API that huggingface_hub needs for files.

Knows the routes and bodies as huggingface_hub 1.33 sends and reads them. Knows neither commits nor disks: those are `repos`.
Uploads always travel inside the commit ("regular"): the client's other way, Xet, needs a service of its own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from flywheel.local.answers import EntryMissing, checked, refuse
from flywheel.local.commit_body import read_commit
from flywheel.local.repos import Commit, Repo, RepoFile, RepoKind, Repos, Taken, check_path

HOME_NAMESPACE = "default"
"""Where a repo goes that is created without a namespace, as the hub would put it under the person's own name."""

_SKIPS_WELL = (1, 33)
_PREFIX: dict[RepoKind, str] = {"datasets": "datasets/", "models": ""}


class NewNamespace(BaseModel):
    """Body of POST namespaces."""

    namespace: Annotated[str, StringConstraints(min_length=1)]


class NamedRepo(BaseModel):
    """Body of creating and deleting a repo; `type` is left out for a model."""

    name: str
    organization: str | None = None
    type: Literal["dataset", "model"] | None = None
    private: bool | None = None
    visibility: Literal["public", "private"] | None = None

    @property
    def place(self) -> tuple[RepoKind, str, str]:
        """Kind, namespace and name."""
        kind: RepoKind = "datasets" if self.type == "dataset" else "models"
        namespace, _, name = self.name.rpartition("/")
        return kind, self.organization or namespace or HOME_NAMESPACE, name


class Planned(BaseModel):
    """A file that a client is about to upload."""

    path: str


class Preupload(BaseModel):
    """Body of preupload."""

    files: Annotated[list[Planned], Field(max_length=10_000)]


def router(repos: Repos) -> APIRouter:
    """All routes of the Data Store, to be mounted where NDS_URL points."""
    routes = APIRouter()
    routes.include_router(_namespace_routes(repos), prefix="/v1/datastore")
    hub = APIRouter(prefix="/v1/hf")
    for part in (_repo_routes(repos), _look_routes(repos), _upload_routes(repos), _file_routes(repos)):
        hub.include_router(part)
    routes.include_router(hub)
    return routes


def _namespace_routes(repos: Repos) -> APIRouter:
    routes = APIRouter()

    @routes.post("/namespaces", status_code=201)
    @routes.post("/namespaces/", status_code=201, include_in_schema=False)
    async def create_namespace(request: Request) -> dict[str, str]:
        name = checked(NewNamespace, await _form_or_json(request)).namespace
        await run_in_threadpool(repos.create_namespace, name)
        return _namespace(name, repos.namespace_created_at(name) or "")

    @routes.get("/namespaces")
    @routes.get("/namespaces/", include_in_schema=False)
    def list_namespaces() -> dict[str, Any]:
        return {"object": "list", "data": [_namespace(*row) for row in repos.namespaces()]}

    @routes.get("/namespaces/{name}")
    def read_namespace(name: str) -> dict[str, str]:
        if created_at := repos.namespace_created_at(name):
            return _namespace(name, created_at)
        raise HTTPException(404, f"namespace {name!r} does not exist in the Data Store; create it first")

    @routes.delete("/namespaces/{name}")
    def delete_namespace(name: str) -> dict[str, str]:
        if not repos.delete_namespace(name):
            raise HTTPException(404, f"namespace {name!r} does not exist in the Data Store")
        return {"namespace": name, "message": "namespace was deleted"}

    return routes


def _repo_routes(repos: Repos) -> APIRouter:
    routes = APIRouter(prefix="/api")

    @routes.post("/repos/create")
    def create_repo(body: NamedRepo) -> Response:
        # Relative: a client that spells the host otherwise refuses a full address. With exist_ok it reads this on 409 too.
        kind, namespace, name = body.place
        where = {"url": f"{_PREFIX[kind]}{namespace}/{name}", "name": f"{namespace}/{name}"}
        try:
            repos.create(kind, namespace, name, private=bool(body.private or body.visibility == "private"))
        except Taken as error:
            return refuse(409, str(error), more=where)
        return JSONResponse(where)

    @routes.delete("/repos/delete")
    def delete_repo(body: NamedRepo) -> dict[str, str]:
        repos.delete(*body.place)
        return {"message": "repo was deleted"}

    @routes.post("/validate-yaml")
    def validate_yaml() -> dict[str, list[str]]:
        # Repo cards are stored as they are; nothing here reads their header.
        return {"errors": [], "warnings": []}

    @routes.get("/whoami-v2")
    def whoami() -> dict[str, Any]:
        return {"type": "user", "id": HOME_NAMESPACE, "name": HOME_NAMESPACE, "fullname": HOME_NAMESPACE, "orgs": []}

    @routes.get("/{kind}/{name}")
    def home_repo(kind: RepoKind, name: str) -> dict[str, Any]:
        return _repo_info(repos, repos.repo(kind, HOME_NAMESPACE, name), "main")

    @routes.get("/{kind}")
    def list_repos(kind: RepoKind, author: str | None = None, search: str = "", limit: int | None = None) -> list[dict[str, Any]]:
        found = [repo for repo in repos.repos(kind, author) if search.lower() in repo.full_name.lower()]
        return [_repo_head(repo, repos.resolve(repo)) for repo in found[: max(0, limit) if limit is not None else None]]

    return routes


def _look_routes(repos: Repos) -> APIRouter:
    routes = APIRouter(prefix="/api/{kind}/{namespace}/{name}")
    the_repo = Depends(repos.repo)

    @routes.get("")
    def repo_info(repo: Repo = the_repo) -> dict[str, Any]:
        return _repo_info(repos, repo, "main")

    @routes.get("/revision/{revision}")
    def revision_info(revision: str, repo: Repo = the_repo) -> dict[str, Any]:
        return _repo_info(repos, repo, revision)

    @routes.get("/tree/{revision}")
    def tree(revision: str, repo: Repo = the_repo, recursive: bool = False) -> list[dict[str, Any]]:
        return _tree(repos.files(repos.resolve(repo, revision)), "", recursive)

    @routes.get("/tree/{revision}/{folder:path}")
    def subtree(revision: str, folder: str, repo: Repo = the_repo, recursive: bool = False) -> list[dict[str, Any]]:
        return _tree(repos.files(repos.resolve(repo, revision)), folder.strip("/"), recursive)

    @routes.post("/paths-info/{revision}")
    async def paths_info(revision: str, request: Request, repo: Repo = the_repo) -> list[dict[str, Any]]:
        body = await _form_or_json(request)
        paths = body.get("paths", [])
        files = repos.files(repos.resolve(repo, revision))
        return _paths_info(files, [paths] if isinstance(paths, str) else [str(path) for path in paths])

    @routes.get("/refs")
    def refs(repo: Repo = the_repo) -> dict[str, Any]:
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repos.resolve(repo).oid}
        return {"branches": [main], "tags": [], "converts": []}

    @routes.get("/commits/{revision}")
    def commits(revision: str, repo: Repo = the_repo) -> list[dict[str, Any]]:
        newest = repos.resolve(repo, revision).number
        return [_commit(commit) for commit in repos.commits(repo) if commit.number <= newest]

    return routes


def _upload_routes(repos: Repos) -> APIRouter:
    routes = APIRouter(prefix="/api/{kind}/{namespace}/{name}")
    the_repo = Depends(repos.repo)

    @routes.post("/preupload/{revision}")
    def preupload(revision: str, body: Preupload, request: Request, repo: Repo = the_repo) -> dict[str, Any]:
        files = repos.files(repos.resolve(repo, revision)) if _may_skip(request.headers.get("user-agent", "")) else []
        there = {file.path: file.git_oid for file in files}
        return {"files": [_planned(check_path(file.path), there) for file in body.files]}

    @routes.post("/commit/{revision}")
    async def commit(revision: str, request: Request, repo: Repo = the_repo) -> dict[str, Any]:
        if revision != "main" or request.query_params.get("create_pr") in ("1", "true"):
            raise HTTPException(422, f"cannot commit to {revision[:120]!r}: commits go to 'main', without a pull request")
        plan = await read_commit(request.stream(), repos.blobs)
        try:
            done = await run_in_threadpool(
                repos.commit_staged,
                repo,
                plan.staged,
                title=plan.title,
                message=plan.message,
                deleted=plan.deleted,
                parent=plan.parent,
            )
        finally:
            repos.discard(plan.staged)
        # Relative, and never empty: huggingface_hub 1.33 raises on anything else, after the commit has happened.
        url = f"{_PREFIX[repo.kind]}{repo.full_name}/commit/{done.oid}"
        return {"success": True, "commitOid": done.oid, "commitUrl": url, "hookOutput": ""}

    return routes


def _file_routes(repos: Repos) -> APIRouter:
    routes = APIRouter()

    def serve(kind: RepoKind, namespace: str, name: str, revision: str, path: str) -> Response:
        commit = repos.resolve(repos.repo(kind, namespace, name), revision)
        file = next((file for file in repos.files(commit) if file.path == path), None)
        if file is None:
            raise EntryMissing(f"repo {namespace + '/' + name!r} has no file {path[:300]!r} at revision {revision!r}")
        headers = {
            "ETag": f'"{file.git_oid}"',
            "X-Repo-Commit": commit.oid,
            # What a stranger uploaded is never shown as a page of this address.
            "X-Content-Type-Options": "nosniff",
        }
        shown = path.rsplit("/", 1)[-1]
        return FileResponse(repos.blobs.path(file.sha256), headers=headers, media_type="application/octet-stream", filename=shown)

    # GET and HEAD, each by its name: FastAPI answers HEAD only where it is named.
    @routes.get("/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}")
    @routes.head("/{kind}/{namespace}/{name}/resolve/{revision}/{path:path}")
    def kind_file(kind: RepoKind, namespace: str, name: str, revision: str, path: str) -> Response:
        return serve(kind, namespace, name, revision, path)

    @routes.get("/{namespace}/{name}/resolve/{revision}/{path:path}")
    @routes.head("/{namespace}/{name}/resolve/{revision}/{path:path}")
    def model_file(namespace: str, name: str, revision: str, path: str) -> Response:
        return serve("models", namespace, name, revision, path)

    return routes


async def _form_or_json(request: Request) -> dict[str, Any]:
    """The body of a request that clients send either way; a field that comes several times is a list."""
    if "json" in request.headers.get("content-type", ""):
        try:
            body = await request.json()
        except ValueError:
            raise HTTPException(422, "the body is not JSON; send a JSON object or a form") from None
        if not isinstance(body, dict):
            raise HTTPException(422, "the body must be a JSON object or a form")
        return body
    async with request.form(max_fields=10_000, max_files=0) as form:
        fields = {key: form.getlist(key) for key in form}
    return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


def _namespace(name: str, created_at: str) -> dict[str, str]:
    stamp = created_at.split(".")[0] + "Z"
    return {"namespace": name, "created_at": stamp, "updated_at": stamp}


def _repo_head(repo: Repo, head: Commit) -> dict[str, Any]:
    return {
        "id": repo.full_name,
        "author": repo.namespace,
        "sha": head.oid,
        "private": repo.private,
        "createdAt": _date(repo.created_at),
        "lastModified": _date(head.created_at),
        "tags": [],
    }


def _repo_info(repos: Repos, repo: Repo, revision: str) -> dict[str, Any]:
    commit = repos.resolve(repo, revision)
    siblings = [{"rfilename": file.path, "size": file.size, "blobId": file.git_oid} for file in repos.files(commit)]
    return {**_repo_head(repo, commit), "siblings": siblings}


def _commit(commit: Commit) -> dict[str, Any]:
    return {"id": commit.oid, "title": commit.title, "message": commit.message, "date": _date(commit.created_at), "authors": []}


def _date(stamp: str) -> str:
    # The hub writes milliseconds and a Z, and its client parses nothing else.
    return stamp[:23] + "Z"


def _may_skip(user_agent: str) -> bool:
    """Whether the client may leave out a file that is there already: of the versions tried, 0.36 and 1.0 raise when they do."""
    version = re.search(r"hf_hub/(\d+)\.(\d+)", user_agent)
    return version is not None and (int(version[1]), int(version[2])) >= _SKIPS_WELL


def _planned(path: str, there: dict[str, str]) -> dict[str, Any]:
    plan = {"path": path, "uploadMode": "regular", "shouldIgnore": False}
    return {**plan, "oid": there[path]} if path in there else plan


def _file(file: RepoFile) -> dict[str, Any]:
    return {"type": "file", "oid": file.git_oid, "size": file.size, "path": file.path}


def _folder(path: str) -> dict[str, Any]:
    # Folders are no objects of their own here; the client only wants an id-like text.
    return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}


def _folders(files: list[RepoFile]) -> set[str]:
    return {file.path[:at] for file in files for at, letter in enumerate(file.path) if letter == "/"}


def _tree(files: list[RepoFile], folder: str, recursive: bool) -> list[dict[str, Any]]:
    if folder and folder not in _folders(files):
        raise EntryMissing(f"there is no folder {folder[:300]!r} at this revision")
    start = f"{folder}/" if folder else ""
    entries = [_folder(path) for path in sorted(_folders(files))] + [_file(file) for file in files]
    inside = [entry for entry in entries if entry["path"].startswith(start)]
    return [entry for entry in inside if recursive or "/" not in entry["path"].removeprefix(start)]


def _paths_info(files: list[RepoFile], paths: list[str]) -> list[dict[str, Any]]:
    wanted = {path.strip("/") for path in paths}
    found = [_folder(path) for path in sorted(_folders(files) & wanted)]
    return found + [_file(file) for file in files if file.path in wanted]
