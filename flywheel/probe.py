"""What answers at the services' addresses, found by reading only: nothing is created and no model is asked.

Each look is one short request or two and ends in findings, whatever answers: a service, another program, an error, nobody. What a
run itself will ask (configs, models) is asked through its own client. Knows routes and what each reply means. Knows nothing of
the state folder.
"""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any, NamedTuple

import httpx

from flywheel.errors import PlatformError
from flywheel.findings import Finding
from flywheel.nemo import Nemo
from flywheel.settings import Settings
from flywheel.transport import Patience, PlatformAway, behind_proxy, spoken_to

HURRIED = Patience(connect=2.0, read=4.0, retries=0)
CATALOG_URL = "https://integrate.api.nvidia.com/v1"
"""Where NVIDIA's catalog answers, and so the teacher where no TEACHER_URL is set."""
MOST_NAMES = 6


class Answer(NamedTuple):
    """An HTTP status and the JSON that came with it, or None where it was no JSON."""

    status: int
    body: Any

    @property
    def page(self) -> bool:
        """Whether this is a page of a list, as every NeMo service gives it."""
        return self.status == 200 and isinstance(self.body, dict) and isinstance(self.body.get("data"), list)

    @property
    def data(self) -> list[dict[str, Any]]:
        """The entries of such a page."""
        return [entry for entry in self.body["data"] if isinstance(entry, dict)] if self.page else []


def ask(service: str, url: str, *, key: str = "") -> Answer:
    """What a GET gives. Raises PlatformAway where nobody answers in time, PlatformError where it is no address."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = httpx.Timeout(HURRIED.read, connect=HURRIED.connect)
    with spoken_to(service, url, "look at it"):
        try:
            response = httpx.get(
                url, headers=headers, timeout=timeout, follow_redirects=True, trust_env=behind_proxy(url), verify=_certificates()
            )
        except httpx.InvalidURL as error:
            raise ValueError(f"this is no address: {error}") from error
        try:
            return Answer(response.status_code, response.json())
        except ValueError:
            return Answer(response.status_code, None)


@cache
def _certificates() -> ssl.SSLContext:
    """Those that httpx trusts; reading them takes longer than most answers do."""
    return httpx.create_ssl_context()


def look_at_entity_store(settings: Settings) -> list[Finding]:
    """Whether namespaces can be listed, and whether ours is among them."""
    namespace, url = settings.namespace, f"{settings.nemo_url}".rstrip("/")
    answer = ask("Entity Store", f"{url}/v1/namespaces?page_size=1")
    if not answer.page:
        return [_stranger("Entity Store", "NEMO_URL", url, "/v1/namespaces", answer)]
    there = ask("Entity Store", f"{url}/v1/namespaces/{namespace}").status == 200
    known = "is there" if there else "is not there yet; the first run makes it"
    return [Finding("ok", "Entity Store", f"answers at {url}; the namespace {namespace!r} {known}")]


def look_at_customizer(settings: Settings, nemo: Nemo) -> list[Finding]:
    """Which customization configs can train the base model, which one a run would take, and whether its target is there."""
    url, base, wanted = f"{settings.nemo_url}".rstrip("/"), settings.base_model, settings.customization_config
    names = nemo.customization_configs()
    fitting = [name for name in names if name.partition("@")[0] == base]
    taken = wanted or next(iter(fitting), None)
    if taken in names:
        others = f"; others for it: {_names(n for n in fitting if n != taken)}" if len(fitting) > 1 else ""
        what = f"answers at {url}; a run trains {base!r} with the config {taken!r}{others}"
        return [Finding("ok", "Customizer", what), *_untrainable(url, base)]
    lacking = f"lists no config {wanted!r}" if wanted else f"has no LoRA config for {base!r}"
    todo = f"set CUSTOMIZATION_CONFIG or BASE_MODEL to one that is there: {_names(names)}"
    return [Finding("problem", "Customizer", f"answers at {url}, but {lacking}", todo), *_untrainable(url, base)]


def _untrainable(url: str, base: str) -> list[Finding]:
    """A warning where every customization target of the base model is switched off or not loaded; none where there is none."""
    targets = {
        f"{one.get('namespace')}/{one.get('name')}": one
        for one in ask("Customizer", f"{url}/v1/customization/targets?page_size=100").data
        if base in (one.get("base_model"), f"{one.get('namespace')}/{one.get('name')}".partition("@")[0])
    }
    if not targets or any(one.get("enabled") is not False and one.get("status") in (None, "ready") for one in targets.values()):
        return []
    name, first = next(iter(targets.items()))
    if first.get("enabled") is False:
        change = (
            f"curl -X PATCH {url}/v1/customization/targets/{name} -H 'Content-Type: application/json' -d '{{\"enabled\": true}}'"
        )
        return [Finding("warning", "target", f"the customization target {name!r} is not enabled", change)]
    todo = "wait until it is ready, or look at the Customizer's log"
    return [Finding("warning", "target", f"the customization target {name!r} is {first.get('status')}", todo)]


def look_at_evaluator(settings: Settings) -> list[Finding]:
    """Whether evaluation jobs can be listed."""
    url = f"{settings.nemo_url}".rstrip("/")
    answer = ask("Evaluator", f"{url}/v1/evaluation/jobs?page_size=1")
    if not answer.page:
        return [_stranger("Evaluator", "NEMO_URL", url, "/v1/evaluation/jobs", answer)]
    return [Finding("ok", "Evaluator", f"answers at {url}")]


def look_at_intake(settings: Settings) -> list[Finding]:
    """Whether the chat's feedback is kept at Intake too; a platform without one is as good."""
    url = f"{settings.nemo_url}".rstrip("/")
    answer = ask("Intake", f"{url}/v1/intake/entries?page_size=1")
    if answer.page:
        return [Finding("ok", "Intake", f"answers at {url}; ratings and corrections are kept there too, every minute")]
    if answer.status in (404, 405, 501):
        what = f"is not at {url}: feedback stays in the store; `flywheel export feedback FILE --shape intake` writes it"
        return [Finding("ok", "Intake", what)]
    return [_stranger("Intake", "NEMO_URL", url, "/v1/intake/entries", answer)._replace(level="warning")]


def look_at_data_store(settings: Settings) -> list[Finding]:
    """Whether the Data Store knows our namespace or, where it does not yet, lists data sets as the hub does."""
    namespace, url = settings.namespace, f"{settings.nds_url}".rstrip("/")
    own = ask("Data Store", f"{url}/v1/datastore/namespaces/{namespace}")
    if own.status in (200, 201) and isinstance(own.body, dict):  # NVIDIA's answers a GET with 201
        return [Finding("ok", "Data Store", f"answers at {url}; the namespace {namespace!r} is there")]
    hub = ask("Data Store", f"{url}/v1/hf/api/datasets?author={namespace}")
    if own.status == 404 and hub.status == 200 and _objects(hub.body):
        what = f"answers at {url}; the namespace {namespace!r} is not there yet; the first run makes it"
        return [Finding("ok", "Data Store", what)]
    return [_stranger("Data Store", "NDS_URL", url, "/v1/datastore/namespaces", own)]


def look_at_nim(settings: Settings, nemo: Nemo, serving: str) -> list[Finding]:
    """Whether NIM is ready, its version where it tells it, and whether the base model and the one that serves are listed."""
    url, base = f"{settings.nim_url}".rstrip("/"), settings.base_model
    ready = ask("NIM", f"{url}/v1/health/ready", key=settings.api_key)
    version = ask("NIM", f"{url}/v1/version", key=settings.api_key)
    release = version.body.get("release") if version.status == 200 and isinstance(version.body, dict) else None
    try:
        listed = nemo.model_ids()
    except PlatformAway as away:
        return [Finding("problem", "NIM", str(away), "wait if the model is still loading, else look at NIM's log")]
    named = f"answers at {url}{f', release {release}' if release else ''}; it serves {_names(listed)}"
    if ready.status == 503:
        return [Finding("problem", "NIM", f"{named}, but says it is not ready", "wait until it has loaded, or look at its log")]
    findings = [Finding("ok", "NIM", named)]
    if base not in listed:
        findings.append(Finding("problem", "base model", f"NIM does not list {base!r}{_deployments(settings)}",
                                "deploy it (README, “On NVIDIA NeMo microservices”), or set BASE_MODEL"))  # fmt: skip
    if serving not in (base, *listed):
        findings.append(Finding("problem", "served model", f"NIM does not list {serving!r}, which is to answer the chat",
                                "`flywheel promote` one that is listed, or `flywheel rollback`"))  # fmt: skip
    return findings


def look_at_teacher(settings: Settings) -> list[Finding]:
    """Whether the model that may suggest corrections can be asked."""
    model, url = settings.teacher_model, _v1(settings.teacher_url or CATALOG_URL)
    answer = ask("teacher", f"{url}/models", key=settings.api_key)
    if answer.status in (401, 403):
        return [Finding("warning", "teacher", f"{url} refuses us (HTTP {answer.status})", "set NVIDIA_API_KEY to a key for it")]
    listed = [entry.get("id") for entry in answer.data]
    if not answer.page:
        return [Finding("warning", "teacher", f"{url}/models gives HTTP {answer.status} and no models", "check TEACHER_URL")]
    if model not in listed:
        return [Finding("warning", "teacher", f"{url} does not list {model!r}", f"set TEACHER_MODEL to one of {_names(listed)}")]
    return [Finding("ok", "teacher", f"{model!r} is listed at {url}")]


def look_at_content_safety(settings: Settings) -> list[Finding]:
    """Whether the content-safety NIM that the rails ask is there."""
    url = _v1(f"{settings.content_safety_url}")
    answer = ask("content-safety NIM", f"{url}/models", key=settings.api_key)
    if answer.page:
        listed = _names(entry.get("id") for entry in answer.data)
        return [Finding("ok", "content safety", f"answers at {url}; it serves {listed}")]
    return [Finding("problem", "content safety", f"{url}/models gives HTTP {answer.status} and no models",
                    "check CONTENT_SAFETY_URL, or unset it to use the offline rails only")]  # fmt: skip


def _deployments(settings: Settings) -> str:
    """What Deployment Management says of its deployments, as the end of a sentence; nothing where it is not there."""
    try:
        answer = ask("Deployment Management", f"{settings.nemo_url}".rstrip("/") + "/v1/deployment/model-deployments")
    except PlatformError:
        return ""
    states = [f"{entry.get('namespace')}/{entry.get('name')} is {(entry.get('status_details') or {}).get('status')}"
              for entry in answer.data]  # fmt: skip
    return f"; deployments: {_names(states)}" if answer.page else ""


def _stranger(service: str, variable: str, url: str, route: str, answer: Answer) -> Finding:
    """Something answers, and it is not the service."""
    if answer.status >= 500:
        what, todo = f"answers at {url} with HTTP {answer.status}", "look at its log, or wait if it is starting"
    elif answer.status in (401, 403):
        what, todo = f"{url} refuses us (HTTP {answer.status})", f"check {variable}; we send no credentials to this service"
    else:
        kind = " and no JSON" if answer.body is None else " and JSON of another shape" if answer.status == 200 else ""
        what = f"{url}{route} gives HTTP {answer.status}{kind}: something else answers there"
        todo = f"check {variable}"
    return Finding("problem", service, what, todo)


def _objects(body: Any) -> bool:
    return isinstance(body, list) and all(isinstance(entry, dict) for entry in body)


def _v1(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1") + "/v1"


def _names(names: Any) -> str:
    """The first few names, and how many more there are."""
    found = [str(name) for name in names]
    more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + more if found else "none"
